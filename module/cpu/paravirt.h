/* SPDX-License-Identifier: GPL-2.0 */
/* The paravirtual features of KVM's CPUID leaves and MSRs. Source: Documentation/virt/kvm/x86/{cpuid,msr}.rst. */
#ifndef PITH_CPU_PARAVIRT_H
#define PITH_CPU_PARAVIRT_H

#include "../vcpu.h"

/** pv_has - whether the guest may use a KVM_FEATURE_*: always, unless the client wants CPUID to decide */
bool pv_has(struct vcpu *vcpu, unsigned int feature);

/** pv_is_msr - one of the MSRs below. A guest's write may store into guest memory: not in a slice. */
bool pv_is_msr(u32 index);

/** pv_read_msr, pv_write_msr - Return: 0, or -EINVAL: #GP(0). Writes may sleep. */
int pv_read_msr(struct vcpu *vcpu, u32 index, u64 *value);
int pv_write_msr(struct vcpu *vcpu, u32 index, u64 value);

/** pv_reset - at RESET and INIT: the guest's pages are no longer written to */
void pv_reset(struct vcpu *vcpu);

#endif
