// SPDX-License-Identifier: GPL-2.0
/* Source: KVM's api.rst, "KVM_SET_GUEST_DEBUG", "KVM_EXIT_DEBUG". */
#include "../backend.h"
#include "../emulate.h"
#include "control.h"
#include "guest_debug.h"

static void inject(struct vcpu *vcpu, u32 control)
{
	if (control & KVM_GUESTDBG_INJECT_DB)
		vcpu->event = (struct event){ .type = EVENT_EXCEPTION, .vector = VECTOR_DB };
	else
		/* The guest's own INT3, which the debugger does not want: it is at RIP. */
		vcpu->event = (struct event){ .type = EVENT_SOFT_EXCEPTION, .vector = VECTOR_BP, .insn_len = 1 };
	vcpu_request(vcpu, REQ_EVENT);
}

int guest_debug_set(struct vcpu *vcpu, const struct kvm_guest_debug *debug)
{
	u32 control = debug->control;

	if (control & (KVM_GUESTDBG_INJECT_DB | KVM_GUESTDBG_INJECT_BP)) {
		if (vcpu->event.type == EVENT_EXCEPTION || vcpu->event.type == EVENT_SOFT_EXCEPTION)
			return -EBUSY;
		inject(vcpu, control);
	}
	/* Registers are the guest's own again; guest_debug_begin() sets TF anew if it is still wanted. */
	vcpu_touch(vcpu, STATE_DR | STATE_RFLAGS);
	if (vcpu->guest_debug.control & KVM_GUESTDBG_SINGLESTEP)
		vcpu->regs.rflags &= ~RFLAGS_TF;
	vcpu_take_request(vcpu, REQ_DEBUG);
	vcpu->guest_debug.control = control & KVM_GUESTDBG_ENABLE ? control : 0;
	if (control & KVM_GUESTDBG_USE_HW_BP) {
		memcpy(vcpu->guest_debug.dr, debug->arch.debugreg, sizeof(vcpu->guest_debug.dr));
		vcpu->guest_debug.dr7 = (debug->arch.debugreg[7] & DR7_WRITABLE) | DR7_FIXED;
	}
	/* Interrupts held back may come now. */
	vcpu_request(vcpu, REQ_EVENT);
	backend.set_intercepts(vcpu);
	return 0;
}

void guest_debug_begin(struct vcpu *vcpu)
{
	if (!(vcpu->guest_debug.control & KVM_GUESTDBG_SINGLESTEP))
		return;
	vcpu_touch(vcpu, STATE_RFLAGS | STATE_SHADOW);
	vcpu->regs.rflags |= RFLAGS_TF;
	/* The step over STI or MOV SS has been told already; a shadow with TF would say that it is still to be. */
	vcpu->shadow &= ~(SHADOW_STI | SHADOW_MOV_SS);
}

enum next guest_debug_exit(struct vcpu *vcpu, u8 vector, u64 dr6)
{
	struct kvm_debug_exit_arch *arch = &vcpu->run->debug.arch;

	vcpu_know(vcpu, STATE_SEGMENTS);
	vcpu->run->exit_reason = KVM_EXIT_DEBUG;
	*arch = (struct kvm_debug_exit_arch){
		.exception = vector,
		.pc = vcpu_rip(vcpu),
		.dr6 = dr6 | DR6_FIXED,
		.dr7 = guest_debug_dr7(vcpu),
	};
	if (!vcpu_long_mode(vcpu))
		arch->pc = (u32)(arch->pc + vcpu->segment[SEG_CS].base);
	return NEXT_USER;
}

enum next guest_debug_stepped(struct vcpu *vcpu)
{
	return guest_debug_exit(vcpu, VECTOR_DB, DR6_BS);
}
