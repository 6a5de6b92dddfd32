/* SPDX-License-Identifier: GPL-2.0 */
/*
 * kvmclock: a clock that a guest computes from its TSC and three numbers that the hypervisor left in a page, without an
 * exit. Source: Documentation/virt/kvm/x86/msr.rst, "MSR_KVM_SYSTEM_TIME_NEW".
 */
#ifndef PITH_CPU_CLOCK_H
#define PITH_CPU_CLOCK_H

#include "../vcpu.h"

/** clock_supported - whether the host's TSC is good enough to give guests a clock made of it alone */
bool clock_supported(void);

/** clock_is_msr - the four MSRs of kvmclock. A guest's write stores into guest memory: not in a slice. */
bool clock_is_msr(u32 index);

/** clock_read_msr, clock_write_msr - Return: 0, or -EINVAL: #GP(0). Writes may sleep. */
int clock_read_msr(struct vcpu *vcpu, u32 index, u64 *value);
int clock_write_msr(struct vcpu *vcpu, u32 index, u64 value);

/** clock_update - writes the vCPU's page anew: its TSC offset changed. May sleep. */
void clock_update(struct vcpu *vcpu);

#endif
