/* SPDX-License-Identifier: GPL-2.0 */
/*
 * System-management mode: an interrupt that the guest's kernel does not see takes the vCPU to a handler in memory of its own,
 * until that executes RSM.
 */
#ifndef PITH_SMM_H
#define PITH_SMM_H

#include "memory/memory.h"
#include "vcpu.h"

#define SMM_RESET_BASE 0x30000

/** smm_interrupt - an SMI for this vCPU; it has to be kicked as well. Any context. */
void smm_interrupt(struct vcpu *vcpu);

static inline bool vcpu_in_smm(const struct vcpu *vcpu)
{
	return vcpu->as_id == MEMORY_AS_SMM;
}

/* In the mode, or about to be. */
static inline bool smm_is_near(const struct vcpu *vcpu)
{
	return vcpu_in_smm(vcpu) || test_bit(PENDING_SMI, &vcpu->pending_signals);
}

/** smm_answer - enters the mode if that was asked for and nothing is in the way. Own context, outside of a slice. */
void smm_answer(struct vcpu *vcpu);

/** smm_reset - RESET or INIT ends the mode. Outside of a slice. */
void smm_reset(struct vcpu *vcpu, bool init);

/** exit_rsm - RSM: back to what was interrupted; outside of the mode #UD */
enum next exit_rsm(struct vcpu *vcpu);

/*
 * smm_get_events, smm_set_events - the mode's part of KVM_GET_VCPU_EVENTS and KVM_SET_VCPU_EVENTS. smm_events_valid: a vCPU
 * that waits for SIPI is not in the mode. The mutex is held.
 */
void smm_get_events(struct vcpu *vcpu, struct kvm_vcpu_events *events);
bool smm_events_valid(const struct vcpu *vcpu, const struct kvm_vcpu_events *events);
void smm_set_events(struct vcpu *vcpu, const struct kvm_vcpu_events *events);

#endif
