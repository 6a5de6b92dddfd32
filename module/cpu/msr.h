/* SPDX-License-Identifier: GPL-2.0 */
/* Model-specific registers: a table of those that a guest has. Any other is #GP(0), for RDMSR and WRMSR alike. */
#ifndef PITH_CPU_MSR_H
#define PITH_CPU_MSR_H

#include <linux/kvm.h>
#include <asm/kvm_para.h>
#include <asm/msr-index.h>

#include "../vcpu.h"
#include "paravirt.h"

/* Who asks: the guest by RDMSR and WRMSR, or the client by ioctl, which may also set what is read-only to guests. */
enum msr_origin { MSR_GUEST, MSR_HOST };

/**
 * msr_read, msr_write - one MSR. In a slice or not.
 * Return: 0; or #GP(0), nothing changed: -EINVAL, -ENOENT if there is no such MSR.
 */
int msr_read(struct vcpu *vcpu, u32 index, u64 *value, enum msr_origin origin);
int msr_write(struct vcpu *vcpu, u32 index, u64 value, enum msr_origin origin);

/**
 * msr_write_sleeps - whether a guest's write cannot be answered in a slice
 * The TSC is the business of all vCPUs, and paravirtual MSRs are addresses to store to: locks, and guest memory. Asked
 * at each WRMSR that exits: those that guests write often lie in between.
 */
static inline bool msr_write_sleeps(u32 index)
{
	if (index > MSR_IA32_TSC_ADJUST && index < MSR_KVM_WALL_CLOCK_NEW)
		return false;
	return index == MSR_IA32_TSC || index == MSR_IA32_TSC_ADJUST || pv_is_msr(index);
}

/** msr_list - the MSRs that a client has to save (KVM_GET_MSR_INDEX_LIST). Return: how many there are. */
unsigned int msr_list(u32 *indices, unsigned int max);

/** msr_feature_list, msr_feature_read - MSRs that tell what of this host a guest can be given. As the above. */
unsigned int msr_feature_list(u32 *indices, unsigned int max);
int msr_feature_read(u32 index, u64 *value);

void msr_reset(struct vcpu *vcpu);

#endif
