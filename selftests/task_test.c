// SPDX-License-Identifier: GPL-2.0
/*
 * task_test - hardware task switches: by JMP, CALL, IRET and task gates. Source: SDM volume 3, "Task Management".
 */
#include <stddef.h>
#include <string.h>

#include "guest.h"

#define OLD_TSS GUEST_TSS
#define NEW_TSS GUEST_DATA
#define SEL_NEW SEL_FREE
#define SEL_LDT (SEL_FREE + 8)
#define NEW_CODE (GUEST_CODE + 0x100)
#define NEW_STACK 0xf000u
#define BUSY 0x200u /* of a descriptor's upper half */
#define ATTR_TSS32 0x0089
#define ATTR_TSS16 0x0081
#define ATTR_LDT 0x0082
#define TASK_GATE 0x85
#define EXIT_PORT 0x80
#define FAR 0x1000

struct tss32 {
	u32 link, stacks[6], cr3, eip, eflags, gpr[8], segment[6], ldt;
	u16 trap, io_map;
};

struct tss16 {
	u16 link, stacks[6], ip, flags, gpr[8], segment[4], ldt;
};

enum { AX, CX, DX, BX, SP, BP, SI, DI };
enum { ES, CS, SS, DS, FS, GS };

static struct tss32 *tss(struct guest *g, u32 address)
{
	return (struct tss32 *)(g->memory + address);
}

static u32 descriptor_high(struct guest *g, u16 selector)
{
	u32 high;

	memcpy(&high, g->memory + GUEST_GDT + selector + 4, sizeof(high));
	return high;
}

/* It has no exceptions of the new task, and pushes no error code there. */
static void skip_on_qemu(void)
{
	if (emulated_by_qemu())
		skip("QEMU's task switches lack it");
}

/* A guest in a task of its own, and another one to switch to. */
static struct guest *two_tasks(enum guest_mode mode)
{
	struct guest *g = guest_create(mode);
	struct kvm_sregs s = guest_sregs(g);
	struct tss32 *new = tss(g, NEW_TSS);
	unsigned int i;

	guest_set_gdt(g, SEL_TSS, descriptor(OLD_TSS, sizeof(*new) - 1, ATTR_TSS32 | 2));
	guest_set_gdt(g, SEL_NEW, descriptor(NEW_TSS, sizeof(*new) - 1, ATTR_TSS32));
	s.tr = (struct kvm_segment){
		.selector = SEL_TSS, .base = OLD_TSS, .limit = sizeof(*new) - 1, .type = 11, .present = 1
	};
	guest_set_sregs(g, &s);
	memset(new, 0, sizeof(*new));
	new->cr3 = s.cr3;
	new->eip = NEW_CODE;
	new->eflags = RFLAGS_FIXED | RFLAGS_CF;
	for (i = 0; i < 8; i++)
		new->gpr[i] = 0x11110000 + i;
	new->gpr[SP] = NEW_STACK;
	for (i = 0; i < 6; i++)
		new->segment[i] = SEL_DS32;
	new->segment[CS] = SEL_CS32;
	return g;
}

static void new_task_runs(struct guest *g, struct code code)
{
	memcpy(g->memory + NEW_CODE, code.start, code.end - code.start);
}

/* The state that a task is left with, and that of the one that runs. */
static void expect_switched(struct guest *g, u32 old_eip, bool nested)
{
	const struct tss32 *old = tss(g, OLD_TSS);
	struct kvm_sregs s = guest_sregs(g);

	expect_eq(old->eip, old_eip);
	expect_eq(old->gpr[BX], 0x1234);
	expect_eq(old->segment[CS], SEL_CS32);
	expect_eq(s.tr.selector, SEL_NEW);
	expect_eq(s.tr.base, NEW_TSS);
	expect_eq(s.tr.type, 11);
	expect_eq(s.cr0 & CR0_TS, CR0_TS);
	expect_eq(s.cs.selector, SEL_CS32);
	expect_eq(s.ss.limit, 0xffffffff);
	expect_eq(!!(descriptor_high(g, SEL_NEW) & BUSY), true);
	expect_eq(!!(descriptor_high(g, SEL_TSS) & BUSY), nested);
	expect_eq(!!(g->regs.rflags & RFLAGS_NT), nested);
	if (nested)
		expect_eq(tss(g, NEW_TSS)->link & 0xffff, SEL_TSS);
}

static void jump(void)
{
	static const enum guest_mode where[] = { MODE_PROT32, MODE_PAGED32, MODE_PAE };
	const struct code code = CODE32("ljmp $0x58, $0");
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(where); i++) {
		struct guest *g = two_tasks(where[i]);

		context("%s", guest_mode_name[where[i]]);
		new_task_runs(g, CODE32("out %al, $0x80"));
		guest_load(g, code);
		g->regs.rbx = 0x1234;
		guest_start(g);
		if (expect_exit(g, KVM_EXIT_IO)) {
			expect_switched(g, GUEST_CODE + 7, false);
			expect_eq(g->regs.rax, 0x11110000);
			expect_eq(g->regs.rdi, 0x11110007);
			expect_eq(g->regs.rsp, NEW_STACK);
			expect_eq(g->regs.rflags & RFLAGS_ARITH, RFLAGS_CF);
		}
		guest_destroy(g);
	}
}

static void call_and_return(void)
{
	const struct code code = CODE32("lcall $0x58, $0; out %al, $0x80");
	struct guest *g = two_tasks(MODE_PROT32);

	new_task_runs(g, CODE32("out %al, $0x80; mov $0x77, %ecx; iret; out %al, $0x80"));
	guest_load(g, code);
	g->regs.rbx = 0x1234;
	g->regs.rcx = 0x99;
	guest_start(g);
	if (!expect_exit(g, KVM_EXIT_IO))
		return;
	expect_switched(g, GUEST_CODE + 7, true);
	guest_run(g);
	if (!expect_exit(g, KVM_EXIT_IO))
		return;
	expect_eq(g->regs.rip, GUEST_CODE + 7);
	expect_eq(g->regs.rcx, 0x99);
	expect_eq(g->regs.rbx, 0x1234);
	expect_eq(g->regs.rflags & RFLAGS_NT, 0);
	expect_eq(guest_sregs(g).tr.selector, SEL_TSS);
	expect_eq(!!(descriptor_high(g, SEL_NEW) & BUSY), false);
	expect_eq(!!(descriptor_high(g, SEL_TSS) & BUSY), true);
	expect_eq(tss(g, NEW_TSS)->eip, NEW_CODE + 8);
	expect_eq(tss(g, NEW_TSS)->gpr[CX], 0x77);
	expect_eq(tss(g, NEW_TSS)->eflags & RFLAGS_NT, 0);
}

static void gate(void)
{
	const struct {
		const char *name;
		struct code code;
		u8 vector, length; /* of what goes before the saved EIP */
	} rows[] = {
		{ "#UD", CODE32("ud2"), VECTOR_UD, 0 },
		{ "INT", CODE32("int $0x70"), 0x70, 2 },
		{ "INT3", CODE32("int3"), VECTOR_BP, 1 },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct guest *g = two_tasks(MODE_PROT32);

		context("%s", rows[i].name);
		guest_set_gate(g, rows[i].vector, SEL_NEW, TASK_GATE);
		new_task_runs(g, CODE32("out %al, $0x80"));
		guest_load(g, rows[i].code);
		g->regs.rbx = 0x1234;
		guest_start(g);
		if (expect_exit(g, KVM_EXIT_IO)) {
			expect_switched(g, GUEST_CODE + rows[i].length, true);
			expect_eq(g->regs.rsp, NEW_STACK);
		}
		guest_destroy(g);
	}
}

/* The error code is on the new task's stack. */
static void gate_with_error(void)
{
	const struct code code = CODE32("mov $0x1f8, %eax; mov %eax, %ds");
	struct guest *g = two_tasks(MODE_PROT32);

	skip_on_qemu();
	guest_set_gate(g, VECTOR_GP, SEL_NEW, TASK_GATE);
	new_task_runs(g, CODE32("mov (%esp), %edx; out %al, $0x80"));
	guest_load(g, code);
	g->regs.rbx = 0x1234;
	guest_start(g);
	if (!expect_exit(g, KVM_EXIT_IO))
		return;
	expect_switched(g, GUEST_CODE + 5, true);
	expect_eq(g->regs.rsp, NEW_STACK - 4);
	expect_eq(g->regs.rdx, 0x1f8);
}

/* A task of a 286: half of the registers. */
static void narrow(void)
{
	struct guest *g = two_tasks(MODE_PROT32);
	struct tss16 new = { .ip = NEW_CODE,
			     .flags = RFLAGS_FIXED | RFLAGS_CF,
			     .segment = { SEL_DS32, SEL_CS32, SEL_DS32, SEL_DS32 } };
	unsigned int i;

	for (i = 0; i < 8; i++)
		new.gpr[i] = 0x2200 + i;
	memcpy(g->memory + NEW_TSS, &new, sizeof(new));
	guest_set_gdt(g, SEL_NEW, descriptor(NEW_TSS, sizeof(new) - 1, ATTR_TSS16));
	new_task_runs(g, CODE32("out %al, $0x80"));
	guest_load(g, CODE32("ljmp $0x58, $0"));
	guest_start(g);
	if (!expect_exit(g, KVM_EXIT_IO))
		return;
	expect_eq(g->regs.rip, NEW_CODE);
	expect_eq(g->regs.rax & 0xffff, 0x2200);
	expect_eq(g->regs.rdi & 0xffff, 0x2207);
	expect_eq(guest_sregs(g).tr.type, 3);
	expect_eq(guest_sregs(g).fs.selector, 0);
}

/* Segments by way of the new task's LDT. */
static void local_table(void)
{
	struct guest *g = two_tasks(MODE_PROT32);
	struct kvm_sregs s;
	u64 data = descriptor(0x20000, 0xfffff, 0xc093);

	skip_on_qemu();
	memcpy(g->memory + GUEST_FREE, &data, sizeof(data));
	guest_set_gdt(g, SEL_LDT, descriptor(GUEST_FREE, 15, ATTR_LDT));
	tss(g, NEW_TSS)->ldt = SEL_LDT;
	tss(g, NEW_TSS)->segment[ES] = 4;
	new_task_runs(g, CODE32("out %al, $0x80"));
	guest_load(g, CODE32("ljmp $0x58, $0"));
	guest_start(g);
	if (!expect_exit(g, KVM_EXIT_IO))
		return;
	s = guest_sregs(g);
	expect_eq(s.ldt.selector, SEL_LDT);
	expect_eq(s.ldt.base, GUEST_FREE);
	expect_eq(s.es.selector, 4);
	expect_eq(s.es.base, 0x20000);
}

/* What is found wrong before the switch is an exception of the old task, which has not changed. */
static void refused(void)
{
	const struct {
		const char *name;
		u16 limit, attributes;
		u8 vector;
	} rows[] = {
		{ "not present", sizeof(struct tss32) - 1, ATTR_TSS32 & ~0x80, VECTOR_NP },
		{ "too short", sizeof(struct tss32) - 2, ATTR_TSS32, VECTOR_TS },
		{ "busy", sizeof(struct tss32) - 1, ATTR_TSS32 | 2, VECTOR_GP },
	};
	const struct code code = CODE32("nop; ljmp $0x58, $0");
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct guest *g = two_tasks(MODE_PROT32);

		context("%s", rows[i].name);
		guest_set_gdt(g, SEL_NEW, descriptor(NEW_TSS, rows[i].limit, rows[i].attributes));
		guest_load(g, code);
		guest_start(g);
		expect_trap(g, rows[i].vector, SEL_NEW, 1);
		expect_eq(guest_sregs(g).tr.selector, SEL_TSS);
		guest_destroy(g);
	}
}

/* What is found wrong in the new task's segments is an exception of the new task. */
static void bad_segment(void)
{
	struct guest *g = two_tasks(MODE_PROT32);

	skip_on_qemu();
	tss(g, NEW_TSS)->segment[DS] = 0x1f8;
	guest_load(g, CODE32("ljmp $0x58, $0"));
	guest_start(g);
	expect_trap(g, VECTOR_TS, 0x1f8, NEW_CODE - GUEST_CODE);
	expect_eq(guest_sregs(g).tr.selector, SEL_NEW);
}

/*
 * A selector has bits that mean something else in what other exits tell: this one's bit 12 has NMIs blocked by an IRET.
 */
static void far_selector(void)
{
	struct guest *g = two_tasks(MODE_PROT32);
	struct kvm_sregs s = guest_sregs(g);
	struct kvm_vcpu_events events;
	unsigned int i;

	s.gdt.base -= FAR;
	s.gdt.limit += FAR;
	guest_set_sregs(g, &s);
	for (i = 0; i < 6; i++)
		tss(g, NEW_TSS)->segment[i] += FAR;
	new_task_runs(g, CODE32("out %al, $0x80"));
	guest_load(g, CODE32("ljmp $0x1058, $0"));
	guest_start(g);
	expect_exit(g, KVM_EXIT_IO);
	expect_eq(guest_sregs(g).tr.selector, FAR + SEL_NEW);
	expect_errno(ioctl(g->vcpu, KVM_GET_VCPU_EVENTS, &events), 0);
	expect_eq(events.nmi.masked, 0);
}

static const struct test tests[] = {
	{ "JMP to a task", jump },
	{ "CALL of a task, and IRET", call_and_return },
	{ "task gates", gate },
	{ "a task gate, and an error code", gate_with_error },
	{ "a 16-bit task", narrow },
	{ "a task's LDT", local_table },
	{ "refused", refused },
	{ "a bad segment", bad_segment },
	{ "a far selector", far_selector },
};

KTAP_MAIN(tests)
