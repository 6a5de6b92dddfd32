/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A debugger in the client: KVM_SET_GUEST_DEBUG. While it uses hardware breakpoints the CPU holds its debug registers
 * and not the guest's, which stay in struct vcpu; while it steps, TF is set behind the guest's back.
 */
#ifndef PITH_CPU_GUEST_DEBUG_H
#define PITH_CPU_GUEST_DEBUG_H

#include <linux/kvm.h>

#include "../vcpu.h"

#define GUEST_DEBUG_CONTROL                                                                                \
	(KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP | KVM_GUESTDBG_USE_HW_BP | KVM_GUESTDBG_USE_SW_BP | \
	 KVM_GUESTDBG_INJECT_BP | KVM_GUESTDBG_INJECT_DB | KVM_GUESTDBG_BLOCKIRQ)

/** guest_debug_set - KVM_SET_GUEST_DEBUG. Return: 0, or -EBUSY: an exception waits where one is to be injected. */
int guest_debug_set(struct vcpu *vcpu, const struct kvm_guest_debug *debug);

/** guest_debug_begin - at KVM_RUN: each instruction is to be the last */
void guest_debug_begin(struct vcpu *vcpu);

/**
 * guest_debug_exit - KVM_EXIT_DEBUG
 * @vector: #DB or #BP
 * @dr6: what of DR6 the debugger is told
 */
enum next guest_debug_exit(struct vcpu *vcpu, u8 vector, u64 dr6);

/** guest_debug_stepped - the same, for a step over an instruction that was executed by software */
enum next guest_debug_stepped(struct vcpu *vcpu);

/* #DB is the debugger's. */
static inline bool guest_debug_takes_db(const struct vcpu *vcpu)
{
	return vcpu->guest_debug.control & (KVM_GUESTDBG_SINGLESTEP | KVM_GUESTDBG_USE_HW_BP);
}

/* The debug registers that the CPU is to have while the guest runs. */
static inline const u64 *guest_debug_dr(const struct vcpu *vcpu)
{
	return vcpu->guest_debug.control & KVM_GUESTDBG_USE_HW_BP ? vcpu->guest_debug.dr : vcpu->dr;
}

static inline u64 guest_debug_dr7(const struct vcpu *vcpu)
{
	return vcpu->guest_debug.control & KVM_GUESTDBG_USE_HW_BP ? vcpu->guest_debug.dr7 : vcpu->dr7;
}

#endif
