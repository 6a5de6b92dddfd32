// SPDX-License-Identifier: GPL-2.0
/*
 * Events into an AMD guest. Source: APM volume 2, "Event Injection", "Interrupt and Local APIC Support".
 *
 * SVM here has no NMI window and does not say when an NMI handler ends, so both are found by intercepting IRET and by
 * letting the guest make one step with TF set: the step over the IRET, or over the instruction in an interrupt shadow.
 */
#include "../cpu/control.h"
#include "../exit.h"
#include "svm.h"

/* -- injection --------------------------------------------------------------------------------------------------- */

static const u32 event_types[] = {
	[EVENT_INTERRUPT] = SVM_EVTINJ_TYPE_INTR,
	[EVENT_NMI] = SVM_EVTINJ_TYPE_NMI,
	[EVENT_EXCEPTION] = SVM_EVTINJ_TYPE_EXEPT,
	[EVENT_SOFT_EXCEPTION] = SVM_EVTINJ_TYPE_EXEPT,
};

/* Part of the state that a client may have changed as well: the write before the next entry brings both in. */
static void block_nmis(struct vcpu *vcpu, bool block)
{
	vcpu_touch(vcpu, STATE_SHADOW);
	vcpu->shadow &= ~SHADOW_NMI;
	if (block)
		vcpu->shadow |= SHADOW_NMI;
}

void svm_inject(struct vcpu *vcpu)
{
	struct vmcb_control_area *control = &to_vmcb(vcpu)->control;
	const struct event *event = &vcpu->event;
	struct svm *svm = to_svm(vcpu);

	control->event_inj = event->vector | event_types[event->type] | SVM_EVTINJ_VALID;
	if (event->has_error) {
		control->event_inj |= SVM_EVTINJ_VALID_ERR;
		control->event_inj_err = event->error;
	}
	if (event->type == EVENT_NMI)
		block_nmis(vcpu, true);
	/* The CPU pushes RIP as it finds it, where INT3 pushes that of the next instruction. */
	if (event->type == EVENT_SOFT_EXCEPTION) {
		svm->soft_exit = vcpu->stat.exits + 1;
		svm->soft_len = event->insn_len;
		vcpu_set_rip(vcpu, vcpu_rip(vcpu) + event->insn_len);
	}
	vcpu->event.type = EVENT_NONE;
}

/*
 * An event whose delivery the exit cut off comes back into the slot. Software interrupts and INT3, INTO do not: RIP is
 * still at their instruction, which the guest executes again; but not if we injected them.
 */
void svm_requeue(struct vcpu *vcpu)
{
	struct vmcb_control_area *control = &to_vmcb(vcpu)->control;
	struct svm *svm = to_svm(vcpu);
	u32 info = control->exit_int_info;
	struct event event = { .vector = info & SVM_EXITINTINFO_VEC_MASK, .reinjected = true };

	if (!(info & SVM_EXITINTINFO_VALID))
		return;
	switch (info & SVM_EXITINTINFO_TYPE_MASK) {
	case SVM_EXITINTINFO_TYPE_INTR:
		event.type = EVENT_INTERRUPT;
		break;
	case SVM_EXITINTINFO_TYPE_NMI:
		event.type = EVENT_NMI;
		block_nmis(vcpu, false);
		break;
	case SVM_EXITINTINFO_TYPE_EXEPT:
		event.type = EVENT_EXCEPTION;
		if (event.vector == VECTOR_BP || event.vector == VECTOR_OF) {
			if (vcpu->stat.exits != svm->soft_exit)
				return;
			event.type = EVENT_SOFT_EXCEPTION;
			event.insn_len = svm->soft_len;
			vcpu_set_rip(vcpu, vcpu_rip(vcpu) - svm->soft_len);
		}
		event.has_error = info & SVM_EXITINTINFO_VALID_ERR;
		event.error = control->exit_int_info_err;
		break;
	default:
		return;
	}
	vcpu->event = event;
	vcpu_request(vcpu, REQ_EVENT);
}

/* -- windows ----------------------------------------------------------------------------------------------------- */

static void set_interrupt_window(struct vmcb *vmcb, bool on)
{
	/* A virtual interrupt that is never delivered: its intercept comes first, as soon as the guest could take it. */
	svm_set_intercept(vmcb, INTERCEPT_VINTR, on);
	vmcb->control.int_ctl &= ~(V_IRQ_MASK | V_INTR_PRIO_MASK | V_IGN_TPR_MASK);
	if (on)
		vmcb->control.int_ctl |= V_IRQ_MASK | V_IGN_TPR_MASK;
}

static void begin_step(struct vcpu *vcpu)
{
	struct svm *svm = to_svm(vcpu);

	vcpu_know(vcpu, STATE_RFLAGS | STATE_RIP);
	svm->stepping = true;
	svm->step_rip = vcpu->regs.rip;
	svm->step_tf = vcpu->regs.rflags & RFLAGS_TF;
	svm->own_step = !svm->step_tf;
	vcpu->regs.rflags |= RFLAGS_TF;
	vcpu->changed |= STATE_RFLAGS;
}

void svm_set_windows(struct vcpu *vcpu, bool interrupt, bool nmi)
{
	struct svm *svm = to_svm(vcpu);

	set_interrupt_window(svm->vmcb, interrupt);
	if (!nmi || svm->stepping)
		return;
	/* With NMIs blocked, by the client too, the IRET intercept tells; only an interrupt shadow is to be stepped out of. */
	vcpu_know(vcpu, STATE_SHADOW);
	if (!(vcpu->shadow & SHADOW_NMI))
		begin_step(vcpu);
}

enum next svm_exit_vintr(struct vcpu *vcpu)
{
	set_interrupt_window(to_vmcb(vcpu), false);
	return exit_interrupt_window(vcpu);
}

/* IRET is about to be executed: NMIs are unblocked after it, so step over it. */
enum next svm_exit_iret(struct vcpu *vcpu)
{
	struct svm *svm = to_svm(vcpu);

	svm_set_intercept(svm->vmcb, INTERCEPT_IRET, false);
	svm->iret_pending = true;
	if (!svm->stepping)
		begin_step(vcpu);
	return NEXT_ENTER;
}

/*
 * Any exit ends a step, whether it was made or not; if not, it is begun again where it is still wanted. IRET loads TF from
 * the stack, so that after it the flag is the guest's own.
 */
void svm_end_step(struct vcpu *vcpu)
{
	struct svm *svm = to_svm(vcpu);
	bool moved;

	vcpu_know(vcpu, STATE_RFLAGS | STATE_RIP);
	moved = vcpu->regs.rip != svm->step_rip;
	svm->stepping = false;
	if (svm->vmcb->control.exit_code != SVM_EXIT_EXCP_BASE + VECTOR_DB)
		svm->own_step = false;
	if (!svm->step_tf && !(moved && svm->iret_pending)) {
		vcpu->regs.rflags &= ~RFLAGS_TF;
		vcpu->changed |= STATE_RFLAGS;
	}
	if (svm->iret_pending) {
		svm->iret_pending = false;
		/* Not executed yet, if it faulted on the way or was interrupted: wait for it again. */
		block_nmis(vcpu, !moved);
	}
	vcpu_request(vcpu, REQ_EVENT);
}
