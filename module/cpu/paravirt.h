/* SPDX-License-Identifier: GPL-2.0 */
/* The paravirtual features of KVM's CPUID leaves and MSRs. Source: Documentation/virt/kvm/x86/{cpuid,msr}.rst. */
#ifndef PITH_CPU_PARAVIRT_H
#define PITH_CPU_PARAVIRT_H

#include <asm/kvm_para.h>

#include "../vcpu.h"

/** pv_has - whether the guest may use a KVM_FEATURE_*: always, unless the client wants CPUID to decide */
bool pv_has(struct vcpu *vcpu, unsigned int feature);

/** pv_is_msr - one of the MSRs below. A guest's write may store into guest memory: not in a slice. */
bool pv_is_msr(u32 index);

/** pv_read_msr, pv_write_msr - Return: 0, or -EINVAL: #GP(0). Writes may sleep. */
int pv_read_msr(struct vcpu *vcpu, u32 index, u64 *value);
int pv_write_msr(struct vcpu *vcpu, u32 index, u64 value);

/* The second half of pv_scheduled_in(). */
void pv_add_delay(struct vcpu *vcpu);

/**
 * pv_scheduled_in - before the guest runs on: it is told for how long it had no CPU, and that it has one again; a TLB
 * flush that others left for it is asked for. Not in a slice; may sleep.
 */
static inline void pv_scheduled_in(struct vcpu *vcpu)
{
	if (unlikely(vcpu->pv.steal_time & KVM_MSR_ENABLED))
		pv_add_delay(vcpu);
}

/** pv_preempted - the guest wants to run on but the thread has to give its CPU away. Preemption off or on, not in a slice. */
void pv_preempted(struct vcpu *vcpu);

/** pv_features - KVM_FEATURE_* that a guest can have */
u32 pv_features(void);

/** pv_reset - at RESET and INIT: the guest's pages are no longer written to */
void pv_reset(struct vcpu *vcpu);

#endif
