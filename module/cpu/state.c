// SPDX-License-Identifier: GPL-2.0
/* Register state in and out, and the states that RESET, INIT and SIPI leave. */
#include <asm/processor-flags.h>

#include "../backend.h"
#include "../emulate.h"
#include "../irq/irqchip.h"
#include "../memory/walk.h"
#include "../smm.h"
#include "control.h"
#include "cpuid.h"
#include "fpu.h"
#include "msr.h"
#include "paravirt.h"
#include "state.h"

/* -- reset ------------------------------------------------------------------------------------------------------- */

/* Segment types. SDM volume 3, "Code- and Data-Segment Descriptor Types", "System Descriptor Types". */
#define TYPE_DATA 3  /* read/write, accessed */
#define TYPE_CODE 11 /* execute/read, accessed */
#define TYPE_LDT 2
#define TYPE_TSS_BUSY 11

static struct kvm_segment reset_segment(u8 type, bool system)
{
	return (struct kvm_segment){ .limit = 0xffff, .type = type, .present = 1, .s = !system };
}

static void reset_segments(struct vcpu *vcpu)
{
	enum segment i;

	for (i = SEG_ES; i <= SEG_GS; i++)
		vcpu->segment[i] = reset_segment(TYPE_DATA, false);
	vcpu->segment[SEG_CS] = reset_segment(TYPE_CODE, false);
	vcpu->segment[SEG_CS].selector = 0xf000;
	vcpu->segment[SEG_CS].base = 0xffff0000;
	vcpu->segment[SEG_LDTR] = reset_segment(TYPE_LDT, true);
	vcpu->segment[SEG_TR] = reset_segment(TYPE_TSS_BUSY, true);
	vcpu->gdt = (struct kvm_dtable){ .limit = 0xffff };
	vcpu->idt = (struct kvm_dtable){ .limit = 0xffff };
}

/* EDX tells which CPU this is: leaf 1's EAX. */
static u32 reset_edx(struct vcpu *vcpu)
{
	const struct kvm_cpuid_entry2 *e = cpuid_find(vcpu, 1, 0);

	return e ? e->eax : 0x600;
}

/**
 * vcpu_reset - RESET, or INIT
 * @vcpu: not in a slice
 * @init: INIT, which leaves FPU, MSRs and the caching bits of CR0 alone
 * Source: SDM volume 3, "Processor State After Reset", table "IA-32 and Intel 64 Processor States Following Power-up,
 * Reset, or INIT".
 */
void vcpu_reset(struct vcpu *vcpu, bool init)
{
	u64 cr0 = X86_CR0_ET | X86_CR0_NW | X86_CR0_CD;

	if (init) {
		vcpu_know(vcpu, STATE_ALL);
		cr0 = X86_CR0_ET | (vcpu->cr0 & (X86_CR0_NW | X86_CR0_CD));
	} else {
		fpu_reset(vcpu);
		msr_reset(vcpu);
	}
	memset(&vcpu->regs, 0, sizeof(vcpu->regs));
	vcpu->regs.gpr[REG_RDX] = reset_edx(vcpu);
	vcpu->regs.rip = 0xfff0;
	vcpu->regs.rflags = RFLAGS_FIXED;
	vcpu->cr0 = cr0;
	vcpu->cr2 = vcpu->cr3 = vcpu->cr4 = vcpu->efer = 0;
	reset_segments(vcpu);
	memset(vcpu->dr, 0, sizeof(vcpu->dr));
	vcpu->dr6 = DR6_FIXED;
	vcpu->dr7 = DR7_FIXED;
	vcpu->shadow = 0;
	vcpu->event.type = EVENT_NONE;
	vcpu->nmi_pending = 0;
	vcpu->user_interrupt = vcpu->extint = -1;
	vcpu->known = STATE_ALL;
	vcpu->changed = STATE_ALL;
	vcpu_request(vcpu, REQ_EVENT);
	vcpu_request(vcpu, REQ_GUEST_TLB_FLUSH);
	pv_reset(vcpu);
	irq_vcpu_reset(vcpu, init);
	smm_reset(vcpu, init);
}

void vcpu_start_at(struct vcpu *vcpu, u32 vector)
{
	vcpu_touch(vcpu, STATE_SEGMENT(SEG_CS));
	vcpu->segment[SEG_CS].selector = vector << 8;
	vcpu->segment[SEG_CS].base = vector << 12;
	vcpu_set_rip(vcpu, 0);
}

int vcpu_cpl(struct vcpu *vcpu)
{
	vcpu_know(vcpu, STATE_EFER | STATE_MODE);
	if (vcpu->efer & EFER_LMA)
		return vcpu->segment[SEG_SS].dpl;
	vcpu_know(vcpu, STATE_RFLAGS);
	if (!(vcpu->cr0 & X86_CR0_PE))
		return 0;
	return vcpu->regs.rflags & RFLAGS_VM ? 3 : vcpu->segment[SEG_SS].dpl;
}

bool vcpu_long_mode(struct vcpu *vcpu)
{
	return vcpu_insn_mode(vcpu) == INSN_MODE_64;
}

void vcpu_read_state(struct vcpu *vcpu, u32 missing)
{
	backend.read_state(vcpu, missing);
}

/* -- general registers ------------------------------------------------------------------------------------------- */

/* struct kvm_regs has them in the order rax rbx rcx rdx rsi rdi rsp rbp r8 .. r15. */
static const u8 abi_order[NR_GPRS] = {
	REG_RAX, REG_RBX, REG_RCX, REG_RDX, REG_RSI, REG_RDI, REG_RSP, REG_RBP,
	REG_R8,	 REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
};

void state_get_regs(struct vcpu *vcpu, struct kvm_regs *regs)
{
	u64 *abi = (u64 *)regs;
	unsigned int i;

	vcpu_know(vcpu, STATE_RIP | STATE_RSP | STATE_RFLAGS);
	for (i = 0; i < NR_GPRS; i++)
		abi[i] = vcpu->regs.gpr[abi_order[i]];
	regs->rip = vcpu->regs.rip;
	regs->rflags = vcpu->regs.rflags;
	if (vcpu->guest_debug.control & KVM_GUESTDBG_SINGLESTEP)
		regs->rflags &= ~RFLAGS_TF;
}

void state_set_regs(struct vcpu *vcpu, const struct kvm_regs *regs)
{
	const u64 *abi = (const u64 *)regs;
	unsigned int i;

	for (i = 0; i < NR_GPRS; i++)
		vcpu->regs.gpr[abi_order[i]] = abi[i];
	vcpu->regs.rip = regs->rip;
	/* Bits that RFLAGS does not have would make the entry fail. */
	vcpu->regs.rflags =
		(regs->rflags & (RFLAGS_ARITH | RFLAGS_TF | RFLAGS_IF | RFLAGS_DF | RFLAGS_IOPL | RFLAGS_NT |
				 RFLAGS_RF | RFLAGS_VM | RFLAGS_AC | RFLAGS_VIF | RFLAGS_VIP | RFLAGS_ID)) |
		RFLAGS_FIXED;
	vcpu->known |= STATE_RIP | STATE_RSP | STATE_RFLAGS;
	vcpu->changed |= STATE_RIP | STATE_RSP | STATE_RFLAGS;
	/* As KVM does: a client that sets registers gives up an exception not delivered yet. */
	if (vcpu->event.type == EVENT_EXCEPTION && !vcpu->event.reinjected)
		vcpu->event.type = EVENT_NONE;
	vcpu_request(vcpu, REQ_EVENT);
}

/* -- system registers -------------------------------------------------------------------------------------------- */

/* Where struct kvm_sregs has each segment. */
static const u16 sregs_segment[NR_SEGMENTS] = {
	[SEG_ES] = offsetof(struct kvm_sregs, es), [SEG_CS] = offsetof(struct kvm_sregs, cs),
	[SEG_SS] = offsetof(struct kvm_sregs, ss), [SEG_DS] = offsetof(struct kvm_sregs, ds),
	[SEG_FS] = offsetof(struct kvm_sregs, fs), [SEG_GS] = offsetof(struct kvm_sregs, gs),
	[SEG_TR] = offsetof(struct kvm_sregs, tr), [SEG_LDTR] = offsetof(struct kvm_sregs, ldt),
};

void state_get_sregs(struct vcpu *vcpu, struct kvm_sregs *sregs)
{
	enum segment i;

	vcpu_know(vcpu, STATE_ALL);
	memset(sregs, 0, sizeof(*sregs));
	for (i = SEG_ES; i < NR_SEGMENTS; i++)
		*(struct kvm_segment *)((void *)sregs + sregs_segment[i]) = vcpu->segment[i];
	sregs->gdt = vcpu->gdt;
	sregs->idt = vcpu->idt;
	sregs->cr0 = vcpu->cr0;
	sregs->cr2 = vcpu->cr2;
	sregs->cr3 = vcpu->cr3;
	sregs->cr4 = vcpu->cr4;
	sregs->cr8 = irq_get_cr8(vcpu);
	sregs->efer = vcpu->efer;
	sregs->apic_base = vcpu->msr.apic_base;
	if (vcpu->event.type == EVENT_INTERRUPT)
		__set_bit(vcpu->event.vector, (unsigned long *)sregs->interrupt_bitmap);
	else if (vcpu->user_interrupt >= 0)
		__set_bit(vcpu->user_interrupt, (unsigned long *)sregs->interrupt_bitmap);
}

/* The PDPTEs of PAE paging are part of the CPU's state but not of the ABI: read again from where CR3 points. */
static int reload_pdptrs(struct vcpu *vcpu)
{
	if (!control_uses_pdptrs(vcpu->cr0, vcpu->cr4, vcpu->efer))
		return 0;
	/* Memory that is not there yet is no reason to refuse registers. */
	if (control_load_pdptrs(vcpu, vcpu->cr3)) {
		memset(vcpu->pdptrs, 0, sizeof(vcpu->pdptrs));
		vcpu->changed |= STATE_PDPTRS;
	}
	return 0;
}

int state_set_sregs(struct vcpu *vcpu, const struct kvm_sregs *sregs)
{
	unsigned long vector = find_first_bit((unsigned long *)sregs->interrupt_bitmap, KVM_NR_INTERRUPTS);
	enum segment i;
	int r;

	if (!control_valid(vcpu, sregs->cr0, sregs->cr3, sregs->cr4, sregs->efer))
		return -EINVAL;
	if (!(sregs->efer & EFER_LMA) && sregs->cs.l)
		return -EINVAL;
	if (sregs->apic_base != vcpu->msr.apic_base) {
		r = irq_msr_write(vcpu, MSR_IA32_APICBASE, sregs->apic_base, true);
		if (r)
			return -EINVAL;
	}
	vcpu_touch(vcpu, STATE_ALL);
	for (i = SEG_ES; i < NR_SEGMENTS; i++) {
		vcpu->segment[i] = *(struct kvm_segment *)((void *)sregs + sregs_segment[i]);
		vcpu->segment[i].unusable |= !vcpu->segment[i].present;
	}
	vcpu->gdt = sregs->gdt;
	vcpu->idt = sregs->idt;
	vcpu->cr0 = sregs->cr0 | X86_CR0_ET;
	vcpu->cr2 = sregs->cr2;
	vcpu->cr3 = sregs->cr3;
	vcpu->cr4 = sregs->cr4;
	vcpu->efer = sregs->efer;
	irq_set_cr8(vcpu, sregs->cr8 & 0xf);
	if (vector < KVM_NR_INTERRUPTS)
		vcpu->event = (struct event){ .type = EVENT_INTERRUPT, .vector = vector };
	vcpu_request(vcpu, REQ_EVENT);
	vcpu_request(vcpu, REQ_GUEST_TLB_FLUSH);
	/* Older clients start a boot CPU at its reset vector without saying that it may run. */
	return reload_pdptrs(vcpu);
}

/* The registers come first in both structs, laid out alike. */
#define SREGS_COMMON offsetof(struct kvm_sregs, interrupt_bitmap)

void state_get_sregs2(struct vcpu *vcpu, struct kvm_sregs2 *sregs2)
{
	struct kvm_sregs sregs;

	static_assert(SREGS_COMMON == offsetof(struct kvm_sregs2, flags));
	state_get_sregs(vcpu, &sregs);
	memset(sregs2, 0, sizeof(*sregs2));
	memcpy(sregs2, &sregs, SREGS_COMMON);
	if (!control_uses_pdptrs(vcpu->cr0, vcpu->cr4, vcpu->efer))
		return;
	memcpy(sregs2->pdptrs, vcpu->pdptrs, sizeof(sregs2->pdptrs));
	sregs2->flags = KVM_SREGS2_FLAGS_PDPTRS_VALID;
}

int state_set_sregs2(struct vcpu *vcpu, const struct kvm_sregs2 *sregs2)
{
	struct kvm_sregs sregs = {};
	int r;

	if (sregs2->flags & ~(u64)KVM_SREGS2_FLAGS_PDPTRS_VALID)
		return -EINVAL;
	if (sregs2->flags && !control_uses_pdptrs(sregs2->cr0, sregs2->cr4, sregs2->efer))
		return -EINVAL;
	memcpy(&sregs, sregs2, SREGS_COMMON);
	r = state_set_sregs(vcpu, &sregs);
	if (r || !sregs2->flags)
		return r;
	return control_set_pdptrs(vcpu, sregs2->pdptrs);
}

void state_translate(struct vcpu *vcpu, struct kvm_translation *translation)
{
	struct exception exception;
	u64 gpa;

	translation->valid = vcpu_translate(vcpu, translation->linear_address, 0, &gpa, &exception) == WALK_OK;
	translation->physical_address = translation->valid ? gpa : ~0ull;
	translation->writeable = 1;
	translation->usermode = 0;
}

/* -- registers in struct kvm_run --------------------------------------------------------------------------------- */

static int sync_sregs(struct vcpu *vcpu)
{
	struct kvm_sregs sregs = vcpu->run->s.regs.sregs;

	return state_set_sregs(vcpu, &sregs);
}

static int sync_events(struct vcpu *vcpu)
{
	struct kvm_vcpu_events events = vcpu->run->s.regs.events;

	return state_set_events(vcpu, &events);
}

int state_sync_in(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	u64 dirty = READ_ONCE(run->kvm_dirty_regs);
	struct kvm_regs regs;

	if ((dirty | READ_ONCE(run->kvm_valid_regs)) & ~(u64)KVM_SYNC_X86_VALID_FIELDS)
		return -EINVAL;
	if (dirty & KVM_SYNC_X86_REGS) {
		regs = run->s.regs.regs;
		state_set_regs(vcpu, &regs);
	}
	if ((dirty & KVM_SYNC_X86_SREGS) && sync_sregs(vcpu))
		return -EINVAL;
	if ((dirty & KVM_SYNC_X86_EVENTS) && sync_events(vcpu))
		return -EINVAL;
	run->kvm_dirty_regs = 0;
	return 0;
}

void state_sync_out(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	u64 wanted = READ_ONCE(run->kvm_valid_regs);

	if (wanted & KVM_SYNC_X86_REGS)
		state_get_regs(vcpu, &run->s.regs.regs);
	if (wanted & KVM_SYNC_X86_SREGS)
		state_get_sregs(vcpu, &run->s.regs.sregs);
	if (wanted & KVM_SYNC_X86_EVENTS)
		state_get_events(vcpu, &run->s.regs.events);
}

/* -- debug registers --------------------------------------------------------------------------------------------- */

void state_get_debugregs(struct vcpu *vcpu, struct kvm_debugregs *regs)
{
	vcpu_know(vcpu, STATE_DR);
	memset(regs, 0, sizeof(*regs));
	memcpy(regs->db, vcpu->dr, sizeof(regs->db));
	regs->dr6 = vcpu->dr6;
	regs->dr7 = vcpu->dr7;
}

int state_set_debugregs(struct vcpu *vcpu, const struct kvm_debugregs *regs)
{
	if (regs->flags || (regs->dr6 >> 32) || (regs->dr7 >> 32))
		return -EINVAL;
	vcpu_touch(vcpu, STATE_DR);
	memcpy(vcpu->dr, regs->db, sizeof(regs->db));
	vcpu->dr6 = (regs->dr6 & DR6_WRITABLE) | DR6_FIXED;
	vcpu->dr7 = (regs->dr7 & DR7_WRITABLE) | DR7_FIXED;
	return 0;
}

/* -- events ------------------------------------------------------------------------------------------------------ */

void state_get_events(struct vcpu *vcpu, struct kvm_vcpu_events *events)
{
	const struct event *event = &vcpu->event;

	vcpu_know(vcpu, STATE_SHADOW);
	memset(events, 0, sizeof(*events));
	if (event->type == EVENT_EXCEPTION || event->type == EVENT_SOFT_EXCEPTION) {
		events->exception.injected = 1;
		events->exception.nr = event->vector;
		events->exception.has_error_code = event->has_error;
		events->exception.error_code = event->error;
	}
	if (event->type == EVENT_INTERRUPT || event->type == EVENT_SOFT_INTERRUPT) {
		events->interrupt.injected = 1;
		events->interrupt.nr = event->vector;
		events->interrupt.soft = event->type == EVENT_SOFT_INTERRUPT;
	} else if (vcpu->user_interrupt >= 0) {
		events->interrupt.injected = 1;
		events->interrupt.nr = vcpu->user_interrupt;
	}
	if (vcpu->shadow & SHADOW_STI)
		events->interrupt.shadow |= KVM_X86_SHADOW_INT_STI;
	if (vcpu->shadow & SHADOW_MOV_SS)
		events->interrupt.shadow |= KVM_X86_SHADOW_INT_MOV_SS;
	events->nmi.injected = event->type == EVENT_NMI;
	events->nmi.pending = vcpu_pending_nmis(vcpu);
	events->nmi.masked = !!(vcpu->shadow & SHADOW_NMI);
	events->sipi_vector = vcpu->sipi_vector;
	events->flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
	smm_get_events(vcpu, events);
	if (vcpu->vm->triple_fault_event) {
		events->triple_fault.pending = test_bit(REQ_TRIPLE_FAULT, &vcpu->requests);
		events->flags |= KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
	}
}

#define EVENTS_FLAGS                                                                                      \
	(KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SIPI_VECTOR | KVM_VCPUEVENT_VALID_SHADOW | \
	 KVM_VCPUEVENT_VALID_SMM)

static bool events_valid(const struct vcpu *vcpu, const struct kvm_vcpu_events *events)
{
	u32 flags = EVENTS_FLAGS | (vcpu->vm->triple_fault_event ? KVM_VCPUEVENT_VALID_TRIPLE_FAULT : 0);

	if ((events->flags & ~flags) || !smm_events_valid(vcpu, events))
		return false;
	/* Vector 2 is the NMI's, which has fields of its own. */
	return !events->exception.injected || (events->exception.nr <= 31 && events->exception.nr != VECTOR_NMI);
}

int state_set_events(struct vcpu *vcpu, const struct kvm_vcpu_events *events)
{
	if (!events_valid(vcpu, events))
		return -EINVAL;
	vcpu_touch(vcpu, STATE_SHADOW);
	vcpu->event.type = EVENT_NONE;
	if (events->exception.injected)
		vcpu->event = (struct event){ .type = EVENT_EXCEPTION,
					      .vector = events->exception.nr,
					      .has_error = events->exception.has_error_code,
					      .error = events->exception.error_code,
					      .reinjected = true };
	else if (events->nmi.injected)
		vcpu->event = (struct event){ .type = EVENT_NMI, .vector = VECTOR_NMI, .reinjected = true };
	else if (events->interrupt.injected)
		vcpu->event = (struct event){ .type = EVENT_INTERRUPT, .vector = events->interrupt.nr };
	vcpu->shadow &= ~SHADOW_NMI;
	if (events->nmi.masked)
		vcpu->shadow |= SHADOW_NMI;
	if (events->flags & KVM_VCPUEVENT_VALID_SHADOW) {
		vcpu->shadow &= ~(SHADOW_STI | SHADOW_MOV_SS);
		if (events->interrupt.shadow & KVM_X86_SHADOW_INT_STI)
			vcpu->shadow |= SHADOW_STI;
		if (events->interrupt.shadow & KVM_X86_SHADOW_INT_MOV_SS)
			vcpu->shadow |= SHADOW_MOV_SS;
	}
	if (events->flags & KVM_VCPUEVENT_VALID_NMI_PENDING)
		vcpu->nmi_pending = min_t(u8, events->nmi.pending, 2);
	if (events->flags & KVM_VCPUEVENT_VALID_SIPI_VECTOR)
		vcpu->sipi_vector = events->sipi_vector;
	if (events->flags & KVM_VCPUEVENT_VALID_TRIPLE_FAULT)
		assign_bit(REQ_TRIPLE_FAULT, &vcpu->requests, events->triple_fault.pending);
	smm_set_events(vcpu, events);
	vcpu_request(vcpu, REQ_EVENT);
	return 0;
}
