// SPDX-License-Identifier: GPL-2.0
/*
 * Hardware task switches. VMX leaves them to the hypervisor, always; SVM does not.
 *
 * Up to the point where the old task's state is saved whatever fails is an exception of the old task, and nothing has
 * changed. From there on it is one of the new task. Source: SDM volume 3, "Task Management".
 */
#include "cpu/control.h"
#include "emulate.h"
#include "exit.h"
#include "task_switch.h"

/* The parts of a descriptor. SDM, "Segment Descriptors", "TSS Descriptor". */
#define DESCRIPTOR_BUSY BIT_ULL(41)
#define DESCRIPTOR_ACCESSED BIT_ULL(40)
#define TYPE_BUSY 2
#define TYPE_TSS32 8
#define TYPE_TSS_MASK 0x5 /* the type's bits that are the same in every TSS */
#define TYPE_TSS 0x1
#define TYPE_LDT 2
#define TYPE_CODE 8
#define TYPE_CONFORMING 4
#define TYPE_WRITABLE 2 /* of data; of code: readable */

#define SELECTOR_RPL 3
#define SELECTOR_LDT 4
#define SELECTOR_INDEX 0xfff8

#define TSS16_LIMIT 0x2b
#define TSS32_LIMIT 0x67
#define TSS32_CR3 28
#define TSS32_DYNAMIC 32 /* EIP, EFLAGS, eight registers, six selectors; then LDTR */
#define TSS16_DYNAMIC 14 /* the same without FS and GS */
#define TSS32_TRAP 100

/* What a TSS keeps of a task. */
struct task {
	u32 cr3, eip, eflags, gpr[8];
	u16 selector[6], ldt;
	bool trap;
};

/* A switch under way. @result: INSN_DONE as long as nothing stands in the way; else @exception says what. */
struct task_switch_state {
	struct vcpu *vcpu;
	enum task_switch how;
	enum insn_result result;
	struct exception exception;
	u16 selector;
	u64 descriptor;
	struct kvm_segment tss;
};

static bool is_wide(const struct kvm_segment *tss)
{
	return tss->type & TYPE_TSS32;
}

static bool goes_on(const struct task_switch_state *s)
{
	return s->result == INSN_DONE;
}

static void fail(struct task_switch_state *s, u8 vector, u16 selector)
{
	s->result = INSN_EXCEPTION;
	s->exception = (struct exception){ .vector = vector,
					   .has_error = true,
					   .error = selector & (SELECTOR_INDEX | SELECTOR_LDT) };
}

static void read(struct task_switch_state *s, u64 linear, void *buf, unsigned int size)
{
	if (goes_on(s))
		s->result = emulate_system_read(s->vcpu, (u32)linear, buf, size, &s->exception);
}

static void write(struct task_switch_state *s, u64 linear, const void *buf, unsigned int size)
{
	if (goes_on(s))
		s->result = emulate_system_write(s->vcpu, (u32)linear, buf, size, &s->exception);
}

/* -- descriptors ------------------------------------------------------------------------------------------------- */

static struct kvm_segment unpack(u16 selector, u64 descriptor)
{
	struct kvm_segment segment = {
		.selector = selector,
		.base = (descriptor >> 16 & 0xffffff) | (descriptor >> 56 & 0xff) << 24,
		.limit = (descriptor & 0xffff) | (descriptor >> 48 & 0xf) << 16,
		.type = descriptor >> 40 & 0xf,
		.s = descriptor >> 44 & 1,
		.dpl = descriptor >> 45 & 3,
		.present = descriptor >> 47 & 1,
		.avl = descriptor >> 52 & 1,
		.db = descriptor >> 54 & 1,
		.g = descriptor >> 55 & 1,
	};

	if (segment.g)
		segment.limit = segment.limit << 12 | 0xfff;
	return segment;
}

/* Where a selector's descriptor is; @vector is raised if it lies beyond its table. */
static u64 descriptor_address(struct task_switch_state *s, u16 selector, u8 vector)
{
	const struct kvm_segment *ldt = &s->vcpu->segment[SEG_LDTR];
	bool local = selector & SELECTOR_LDT;
	u32 limit = local ? ldt->limit : s->vcpu->gdt.limit;

	if ((local && ldt->unusable) || (selector | 7u) > limit)
		fail(s, vector, selector);
	return (local ? ldt->base : s->vcpu->gdt.base) + (selector & SELECTOR_INDEX);
}

static u64 read_descriptor(struct task_switch_state *s, u16 selector, u8 vector)
{
	u64 descriptor = 0, address = descriptor_address(s, selector, vector);

	read(s, address, &descriptor, sizeof(descriptor));
	return descriptor;
}

static void write_descriptor(struct task_switch_state *s, u16 selector, u64 descriptor)
{
	write(s, descriptor_address(s, selector, VECTOR_TS), &descriptor, sizeof(descriptor));
}

/* -- the two TSSs ------------------------------------------------------------------------------------------------ */

/* Checks the new TSS. An IRET goes back to a busy one, all others to one that is not. */
static void find_tss(struct task_switch_state *s)
{
	u8 vector = s->how == TASK_IRET ? VECTOR_TS : VECTOR_GP;

	if (!(s->selector & SELECTOR_INDEX) || (s->selector & SELECTOR_LDT))
		fail(s, vector, s->selector);
	s->descriptor = read_descriptor(s, s->selector, vector);
	s->tss = unpack(s->selector, s->descriptor);
	if (!goes_on(s))
		return;
	if (s->tss.s || (s->tss.type & TYPE_TSS_MASK) != TYPE_TSS ||
	    !(s->tss.type & TYPE_BUSY) != (s->how != TASK_IRET))
		fail(s, vector, s->selector);
	else if (!s->tss.present)
		fail(s, VECTOR_NP, s->selector);
	else if (s->tss.limit < (is_wide(&s->tss) ? TSS32_LIMIT : TSS16_LIMIT))
		fail(s, VECTOR_TS, s->selector);
}

static void save_wide(struct task_switch_state *s, const struct task *task)
{
	u32 image[16] = { task->eip, task->eflags };
	unsigned int i;

	memcpy(&image[2], task->gpr, sizeof(task->gpr));
	for (i = 0; i < 6; i++)
		image[10 + i] = task->selector[i];
	write(s, s->vcpu->segment[SEG_TR].base + TSS32_DYNAMIC, image, sizeof(image));
}

static void save_narrow(struct task_switch_state *s, const struct task *task)
{
	u16 image[14] = { task->eip, task->eflags };
	unsigned int i;

	for (i = 0; i < 8; i++)
		image[2 + i] = task->gpr[i];
	memcpy(&image[10], task->selector, 4 * sizeof(u16));
	write(s, s->vcpu->segment[SEG_TR].base + TSS16_DYNAMIC, image, sizeof(image));
}

static void save_old(struct task_switch_state *s, unsigned int length)
{
	struct vcpu *vcpu = s->vcpu;
	struct task task = { .eip = vcpu->regs.rip + length, .eflags = vcpu->regs.rflags };
	unsigned int i;

	if (s->how == TASK_IRET)
		task.eflags &= ~(u32)RFLAGS_NT;
	for (i = 0; i < 8; i++)
		task.gpr[i] = vcpu->regs.gpr[i];
	for (i = 0; i < 6; i++)
		task.selector[i] = vcpu->segment[i].selector;
	if (is_wide(&vcpu->segment[SEG_TR]))
		save_wide(s, &task);
	else
		save_narrow(s, &task);
}

static void load_wide(struct task_switch_state *s, struct task *task)
{
	u32 image[18], trap;
	unsigned int i;

	read(s, s->tss.base + TSS32_CR3, image, sizeof(image));
	read(s, s->tss.base + TSS32_TRAP, &trap, sizeof(trap));
	if (!goes_on(s))
		return;
	*task = (struct task){
		.cr3 = image[0], .eip = image[1], .eflags = image[2], .ldt = image[17], .trap = trap & 1
	};
	memcpy(task->gpr, &image[3], sizeof(task->gpr));
	for (i = 0; i < 6; i++)
		task->selector[i] = image[11 + i];
}

/* The upper halves of the registers are undefined; ones are what CPUs have in them. */
static void load_narrow(struct task_switch_state *s, struct task *task)
{
	u16 image[15];
	unsigned int i;

	read(s, s->tss.base + TSS16_DYNAMIC, image, sizeof(image));
	if (!goes_on(s))
		return;
	*task = (struct task){ .eip = image[0], .eflags = image[1], .ldt = image[14] };
	for (i = 0; i < 8; i++)
		task->gpr[i] = 0xffff0000 | image[2 + i];
	memcpy(task->selector, &image[10], 4 * sizeof(u16));
}

/* The chain of tasks: who is busy, and whom an IRET goes back to. The last that can fail in the old task. */
static void link(struct task_switch_state *s, struct task *task)
{
	u16 old = s->vcpu->segment[SEG_TR].selector;
	bool nests = s->how == TASK_CALL || s->how == TASK_GATE;

	if (nests) {
		write(s, s->tss.base, &old, sizeof(old));
		task->eflags |= RFLAGS_NT;
	} else {
		write_descriptor(s, old, read_descriptor(s, old, VECTOR_TS) & ~DESCRIPTOR_BUSY);
	}
	if (s->how != TASK_IRET)
		write_descriptor(s, s->selector, s->descriptor | DESCRIPTOR_BUSY);
}

/* -- the new task ------------------------------------------------------------------------------------------------ */

/* An exception of the new task may come before its CS is loaded, and no CPU can be entered without a CS. */
static struct kvm_segment unloaded_code(u16 selector)
{
	return (struct kvm_segment){ .selector = selector,
				     .limit = ~0u,
				     .type = TYPE_CODE | 3,
				     .s = 1,
				     .dpl = selector & SELECTOR_RPL,
				     .present = 1,
				     .db = 1,
				     .g = 1 };
}

static void load_registers(struct task_switch_state *s, const struct task *task)
{
	struct vcpu *vcpu = s->vcpu;
	unsigned int i;

	for (i = 0; i < 8; i++)
		vcpu->regs.gpr[i] = task->gpr[i];
	vcpu->regs.rip = task->eip;
	vcpu->regs.rflags =
		(task->eflags & (RFLAGS_ARITH | RFLAGS_TF | RFLAGS_IF | RFLAGS_DF | RFLAGS_IOPL | RFLAGS_NT |
				 RFLAGS_RF | RFLAGS_VM | RFLAGS_AC | RFLAGS_VIF | RFLAGS_VIP | RFLAGS_ID)) |
		RFLAGS_FIXED;
	vcpu->cr0 |= X86_CR0_TS;
	vcpu->dr7 &= ~(u64)DR7_LOCAL;
	vcpu->segment[SEG_TR] = s->tss;
	vcpu->segment[SEG_TR].type |= TYPE_BUSY;
	for (i = 0; i < 6; i++)
		vcpu->segment[i] = (struct kvm_segment){ .selector = task->selector[i], .unusable = 1 };
	vcpu->segment[SEG_CS] = unloaded_code(task->selector[SEG_CS]);
	vcpu->segment[SEG_SS].dpl = task->selector[SEG_CS] & SELECTOR_RPL;
	vcpu->segment[SEG_LDTR] = (struct kvm_segment){ .selector = task->ldt, .unusable = 1 };
	if (is_wide(&s->tss) && (vcpu->cr0 & X86_CR0_PG) && control_write(vcpu, 3, task->cr3))
		fail(s, VECTOR_TS, s->selector);
}

static void load_ldt(struct task_switch_state *s, u16 selector)
{
	struct kvm_segment ldt;

	if (!goes_on(s) || !(selector & SELECTOR_INDEX))
		return;
	if (selector & SELECTOR_LDT)
		fail(s, VECTOR_TS, selector);
	ldt = unpack(selector, read_descriptor(s, selector, VECTOR_TS));
	if (!goes_on(s))
		return;
	if (ldt.s || ldt.type != TYPE_LDT || !ldt.present)
		fail(s, VECTOR_TS, selector);
	else
		s->vcpu->segment[SEG_LDTR] = ldt;
}

static bool code_allowed(const struct kvm_segment *code, u8 rpl)
{
	if (!(code->type & TYPE_CODE))
		return false;
	return code->type & TYPE_CONFORMING ? code->dpl <= rpl : code->dpl == rpl;
}

static bool stack_allowed(const struct kvm_segment *stack, u8 rpl, u8 cpl)
{
	return !(stack->type & TYPE_CODE) && (stack->type & TYPE_WRITABLE) && stack->dpl == cpl && rpl == cpl;
}

static bool data_allowed(const struct kvm_segment *data, u8 rpl, u8 cpl)
{
	if (!(data->type & TYPE_CODE))
		return data->dpl >= max(rpl, cpl);
	return (data->type & TYPE_WRITABLE) && ((data->type & TYPE_CONFORMING) || data->dpl >= max(rpl, cpl));
}

static bool segment_allowed(enum segment seg, const struct kvm_segment *segment, u8 cpl)
{
	u8 rpl = segment->selector & SELECTOR_RPL;

	if (!segment->s)
		return false;
	if (seg == SEG_CS)
		return code_allowed(segment, rpl);
	return seg == SEG_SS ? stack_allowed(segment, rpl, cpl) : data_allowed(segment, rpl, cpl);
}

/* SDM, "Exception Conditions Checked During a Task Switch". */
static void load_segment(struct task_switch_state *s, enum segment seg, u8 cpl)
{
	u16 selector = s->vcpu->segment[seg].selector;
	struct kvm_segment segment;
	u64 descriptor;

	if (!goes_on(s))
		return;
	if (!(selector & (SELECTOR_INDEX | SELECTOR_LDT))) {
		if (seg == SEG_CS || seg == SEG_SS)
			fail(s, VECTOR_TS, selector);
		return;
	}
	descriptor = read_descriptor(s, selector, VECTOR_TS);
	segment = unpack(selector, descriptor);
	if (!goes_on(s))
		return;
	if (!segment_allowed(seg, &segment, cpl))
		fail(s, VECTOR_TS, selector);
	else if (!segment.present)
		fail(s, seg == SEG_SS ? VECTOR_SS : VECTOR_NP, selector);
	if (goes_on(s) && !(descriptor & DESCRIPTOR_ACCESSED))
		write_descriptor(s, selector, descriptor | DESCRIPTOR_ACCESSED);
	segment.type |= 1;
	if (goes_on(s))
		s->vcpu->segment[seg] = segment;
}

/* Virtual-8086 mode: a segment is where its selector says. */
static void load_real_segments(struct vcpu *vcpu)
{
	enum segment seg;

	for (seg = SEG_ES; seg <= SEG_GS; seg++) {
		u16 selector = vcpu->segment[seg].selector;

		vcpu->segment[seg] = (struct kvm_segment){ .selector = selector,
							   .base = selector << 4,
							   .limit = 0xffff,
							   .type = 3,
							   .s = 1,
							   .dpl = 3,
							   .present = 1 };
	}
}

/* The privilege level is that of the new CS, and is in force before anything of the new task is looked at. */
static void load_segments(struct task_switch_state *s)
{
	static const enum segment order[] = { SEG_CS, SEG_SS, SEG_DS, SEG_ES, SEG_FS, SEG_GS };
	struct vcpu *vcpu = s->vcpu;
	u8 cpl = vcpu->segment[SEG_CS].selector & SELECTOR_RPL;
	unsigned int i;

	if (vcpu->regs.rflags & RFLAGS_VM) {
		load_real_segments(vcpu);
		return;
	}
	for (i = 0; i < ARRAY_SIZE(order); i++)
		load_segment(s, order[i], cpl);
}

/* The error code of what came through the gate, on the new task's stack. */
static void push_error(struct task_switch_state *s, u32 error)
{
	struct vcpu *vcpu = s->vcpu;
	unsigned int size = is_wide(&s->tss) ? 4 : 2;
	u32 mask = vcpu->segment[SEG_SS].db ? ~0u : 0xffff;
	u32 sp = (vcpu->regs.gpr[REG_RSP] - size) & mask;
	u64 linear;

	if (!goes_on(s))
		return;
	s->result = emulate_linear(vcpu, SEG_SS, sp, size, true, &linear, &s->exception);
	if (goes_on(s))
		s->result = emulate_copy_out(vcpu, linear, &error, size, &s->exception);
	if (goes_on(s))
		vcpu->regs.gpr[REG_RSP] = (vcpu->regs.gpr[REG_RSP] & ~(u64)mask) | sp;
}

static void enter_task(struct task_switch_state *s, const struct task *task, const struct event *event)
{
	struct vcpu *vcpu = s->vcpu;

	load_registers(s, task);
	load_ldt(s, task->ldt);
	if (goes_on(s))
		load_segments(s);
	if (event->type != EVENT_NONE && event->has_error)
		push_error(s, event->error);
	if (goes_on(s) && vcpu->regs.rip > vcpu->segment[SEG_CS].limit)
		fail(s, VECTOR_GP, 0);
	if (goes_on(s) && task->trap) {
		s->result = INSN_EXCEPTION;
		s->exception = (struct exception){ .vector = VECTOR_DB, .payload = DR6_BT };
	}
}

/* NMIs are blocked while one is handled, by a task as well; an IRET ends that however it is executed. */
static void note_nmi(struct vcpu *vcpu, enum task_switch how, const struct event *event)
{
	vcpu->shadow &= ~(SHADOW_STI | SHADOW_MOV_SS);
	if (how == TASK_IRET)
		vcpu->shadow &= ~SHADOW_NMI;
	if (event->type == EVENT_NMI)
		vcpu->shadow |= SHADOW_NMI;
}

static enum next conclude(struct task_switch_state *s)
{
	switch (s->result) {
	case INSN_DONE:
		return NEXT_ENTER;
	case INSN_EXCEPTION:
		vcpu_raise(s->vcpu, &s->exception);
		return NEXT_ENTER;
	default:
		return exit_emulation_failure(s->vcpu, NULL, 0);
	}
}

enum next exit_task_switch(struct vcpu *vcpu, u16 selector, enum task_switch how, unsigned int length)
{
	struct task_switch_state s = { .vcpu = vcpu, .how = how, .result = INSN_DONE, .selector = selector };
	struct event event = vcpu->event;
	struct task task;

	if (vcpu->in_slice)
		return NEXT_SLOW;
	vcpu_touch(vcpu, STATE_RIP | STATE_RSP | STATE_RFLAGS | STATE_CR0 | STATE_CR3 | STATE_SEGMENTS | STATE_TABLES |
				 STATE_DR | STATE_SHADOW);
	find_tss(&s);
	if (goes_on(&s) && is_wide(&s.tss))
		load_wide(&s, &task);
	else if (goes_on(&s))
		load_narrow(&s, &task);
	save_old(&s, length);
	link(&s, &task);
	if (!goes_on(&s))
		return conclude(&s);
	vcpu->event.type = EVENT_NONE;
	note_nmi(vcpu, how, &event);
	enter_task(&s, &task, &event);
	return conclude(&s);
}
