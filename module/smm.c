// SPDX-License-Identifier: GPL-2.0
/*
 * See smm.h. Source: SDM volume 3, chapter "System Management Mode"; APM volume 2, "System-Management Mode". The hardware
 * keeps its own for the host: to a guest all of it is software's doing, between two entries.
 */
#include "smm.h"

#include "backend.h"
#include "cpu/control.h"
#include "cpu/cpuid.h"
#include "cpu/state.h"
#include "emulate.h"
#include "exit.h"

#define REVISION_WIDE 0x20064 /* SMBASE can be moved; AMD64's area */
#define REVISION_NARROW 0x20000

static bool wide(struct vcpu *vcpu)
{
	return cpuid_has(vcpu, 0x80000001, 0, CPUID_EDX, X86_FEATURE_LM & 31);
}

/* Another address space: nothing that was cached of the one before counts, and this one may have changed meanwhile. */
static void set_mode(struct vcpu *vcpu, bool active)
{
	vcpu->as_id = active ? MEMORY_AS_SMM : MEMORY_AS_NORMAL;
	fetch_forget(vcpu);
	backend.set_memory_root(vcpu);
	vcpu_request(vcpu, REQ_TLB_FLUSH);
}

void smm_interrupt(struct vcpu *vcpu)
{
	set_bit(PENDING_SMI, &vcpu->pending_signals);
	vcpu_request(vcpu, REQ_SMI);
}

/* -- the way in --------------------------------------------------------------------------------------------------- */

static void get_state(struct vcpu *vcpu, struct smram_state *state)
{
	struct kvm_debugregs debugregs;

	state_get_regs(vcpu, &state->regs);
	state_get_sregs(vcpu, &state->sregs);
	/* What is pending is no register's business. */
	memset(state->sregs.interrupt_bitmap, 0, sizeof(state->sregs.interrupt_bitmap));
	state_get_debugregs(vcpu, &debugregs);
	state->dr6 = debugregs.dr6;
	state->dr7 = debugregs.dr7;
}

static bool set_state(struct vcpu *vcpu, const struct smram_state *state)
{
	struct kvm_debugregs debugregs;

	state_get_debugregs(vcpu, &debugregs);
	debugregs.dr6 = state->dr6;
	debugregs.dr7 = state->dr7;
	if (state_set_sregs(vcpu, &state->sregs) || state_set_debugregs(vcpu, &debugregs))
		return false;
	state_set_regs(vcpu, &state->regs);
	return true;
}

static struct kvm_segment handler_segment(u64 base)
{
	return (struct kvm_segment){
		.selector = base >> 4, .base = base, .limit = ~0u, .type = 3, .present = 1, .s = 1, .g = 1
	};
}

/*
 * The handler's registers. SDM volume 3, "SMI Handler Execution Environment", table "Processor Register Initialization in
 * SMM".
 */
static void set_handler_state(struct vcpu *vcpu, struct smram_state *state)
{
	struct kvm_sregs *sregs = &state->sregs;

	state->regs.rip = SMRAM_ENTRY;
	state->regs.rflags = RFLAGS_FIXED;
	state->dr7 = DR7_FIXED;
	sregs->cr0 &= ~(u64)(X86_CR0_PE | X86_CR0_EM | X86_CR0_TS | X86_CR0_PG);
	sregs->cr4 = 0;
	sregs->efer = 0;
	sregs->idt = (struct kvm_dtable){};
	sregs->cs = handler_segment(vcpu->smm.base);
	sregs->ds = sregs->es = sregs->fs = sregs->gs = sregs->ss = handler_segment(0);
	if (!set_state(vcpu, state))
		vcpu_request(vcpu, REQ_TRIPLE_FAULT);
}

static void enter(struct vcpu *vcpu)
{
	struct smram_state state = { .smbase = vcpu->smm.base };
	u8 *area = vcpu->smm.area;

	memset(area, 0, SMRAM_SAVE_SIZE);
	state.revision = wide(vcpu) ? REVISION_WIDE : REVISION_NARROW;
	get_state(vcpu, &state);
	smram_save(area, wide(vcpu), &state);
	set_mode(vcpu, true);
	/* Where no memory is, the state is lost, as on a PC. */
	vcpu_write(vcpu, vcpu->smm.base + SMRAM_SAVE_AREA, area, SMRAM_SAVE_SIZE);
	vcpu_touch(vcpu, STATE_SHADOW);
	vcpu->smm.in_nmi = vcpu->shadow & SHADOW_NMI;
	vcpu->shadow = SHADOW_NMI;
	vcpu->msr.smi_count++;
	set_handler_state(vcpu, &state);
}

void smm_answer(struct vcpu *vcpu)
{
	/* After what is being delivered; and who waits for SIPI goes on waiting. */
	if (!test_bit(REQ_SMI, &vcpu->requests) || vcpu->event.type != EVENT_NONE ||
	    vcpu->mp_state != KVM_MP_STATE_RUNNABLE)
		return;
	vcpu_take_request(vcpu, REQ_SMI);
	/* In the mode it waits for the end of it. */
	if (!vcpu_in_smm(vcpu) && test_and_clear_bit(PENDING_SMI, &vcpu->pending_signals))
		enter(vcpu);
}

/* -- and out ------------------------------------------------------------------------------------------------------ */

/* What the mode has held up. */
static void let_in(struct vcpu *vcpu)
{
	if (test_bit(PENDING_SMI, &vcpu->pending_signals))
		vcpu_request(vcpu, REQ_SMI);
	if (test_bit(PENDING_INIT, &vcpu->pending_signals))
		vcpu_request(vcpu, REQ_INIT_SIPI);
	vcpu_request(vcpu, REQ_EVENT);
}

/*
 * The handler may have changed it as it likes: what is no valid state ends in shutdown. APM volume 2, "Exiting SMM
 * (RSM)".
 */
static bool leave(struct vcpu *vcpu)
{
	struct smram_state state = {};
	u8 *area = vcpu->smm.area;
	bool long_mode;

	if (vcpu_read(vcpu, vcpu->smm.base + SMRAM_SAVE_AREA, area, SMRAM_SAVE_SIZE))
		return false;
	get_state(vcpu, &state);
	smram_load(area, wide(vcpu), &state);
	set_mode(vcpu, false);
	vcpu_touch(vcpu, STATE_SHADOW);
	vcpu->shadow = vcpu->smm.in_nmi ? SHADOW_NMI : 0;
	vcpu->smm.base = state.smbase;
	/* LMA is no bit that can be set: the CPU does. */
	long_mode = (state.sregs.efer & EFER_LME) && (state.sregs.cr0 & X86_CR0_PG);
	state.sregs.efer = (state.sregs.efer & ~(u64)EFER_LMA) | (long_mode ? EFER_LMA : 0);
	return set_state(vcpu, &state);
}

enum next exit_rsm(struct vcpu *vcpu)
{
	if (!vcpu_in_smm(vcpu))
		return exit_undefined(vcpu);
	if (vcpu->in_slice)
		return NEXT_SLOW;
	if (!leave(vcpu))
		vcpu_request(vcpu, REQ_TRIPLE_FAULT);
	let_in(vcpu);
	return NEXT_ENTER;
}

void smm_reset(struct vcpu *vcpu, bool init)
{
	clear_bit(PENDING_SMI, &vcpu->pending_signals);
	vcpu->msr.smi_count = 0;
	if (!init)
		vcpu->smm.base = SMM_RESET_BASE;
	if (vcpu_in_smm(vcpu))
		set_mode(vcpu, false);
}

/* -- the client --------------------------------------------------------------------------------------------------- */

void smm_get_events(struct vcpu *vcpu, struct kvm_vcpu_events *events)
{
	events->smi.smm = vcpu_in_smm(vcpu);
	events->smi.pending = test_bit(PENDING_SMI, &vcpu->pending_signals);
	events->smi.smm_inside_nmi = vcpu_in_smm(vcpu) && vcpu->smm.in_nmi;
	events->smi.latched_init = vcpu->lapic && test_bit(PENDING_INIT, &vcpu->pending_signals);
	events->flags |= KVM_VCPUEVENT_VALID_SMM;
}

bool smm_events_valid(const struct vcpu *vcpu, const struct kvm_vcpu_events *events)
{
	return !(events->flags & KVM_VCPUEVENT_VALID_SMM) || !(events->smi.smm || events->smi.pending) ||
	       vcpu->mp_state != KVM_MP_STATE_INIT_RECEIVED;
}

void smm_set_events(struct vcpu *vcpu, const struct kvm_vcpu_events *events)
{
	if (!(events->flags & KVM_VCPUEVENT_VALID_SMM))
		return;
	if (vcpu_in_smm(vcpu) != !!events->smi.smm)
		set_mode(vcpu, events->smi.smm);
	assign_bit(PENDING_SMI, &vcpu->pending_signals, events->smi.pending);
	if (!events->smi.smm) {
		let_in(vcpu);
		return;
	}
	vcpu->smm.in_nmi = events->smi.smm_inside_nmi;
	if (vcpu->lapic)
		assign_bit(PENDING_INIT, &vcpu->pending_signals, events->smi.latched_init);
}
