/* SPDX-License-Identifier: GPL-2.0 */
/* CPUID: what a guest may be given (a table), and what it was given by its client. */
#ifndef PITH_CPU_CPUID_H
#define PITH_CPU_CPUID_H

#include <linux/kvm.h>

#include <asm/processor.h>

#include "../vcpu.h"

#define CPUID_MAX_ENTRIES 256

/**
 * cpuid_supported - fills what this host and pith can give a guest (KVM_GET_SUPPORTED_CPUID)
 * @entries: room for @max. Return: how many, or -E2BIG. May sleep.
 */
int cpuid_supported(struct kvm_cpuid_entry2 *entries, int max);

/**
 * cpuid_set - gives a vCPU its CPUID (KVM_SET_CPUID2); takes over @entries (kvmalloc'd) on success
 * Return: 0; -EINVAL: other than before, after the vCPU has run; -EPERM, -ENOMEM: as fpu_enable().
 */
int cpuid_set(struct vcpu *vcpu, struct kvm_cpuid_entry2 *entries, int nr);

/** cpuid_get - the entry @i that the client set, with the bits that follow the vCPU's state as they are now */
void cpuid_get(struct vcpu *vcpu, int i, struct kvm_cpuid_entry2 *entry);

/** cpuid_execute - the instruction: answers into @gpr, indexed by enum gpr */
void cpuid_execute(struct vcpu *vcpu, u32 function, u32 index, u64 *gpr);

const struct kvm_cpuid_entry2 *cpuid_find(const struct vcpu *vcpu, u32 function, u32 index);

/** cpuid_has - whether the guest was given a feature bit */
bool cpuid_has(const struct vcpu *vcpu, u32 function, u32 index, enum cpuid_regs_idx reg, unsigned int bit);

/** cpuid_has_xsaves - whether it was given XSAVES, and with it IA32_XSS */
bool cpuid_has_xsaves(const struct vcpu *vcpu);

/** cpuid_has_xfd - whether it was given IA32_XFD and IA32_XFD_ERR */
bool cpuid_has_xfd(const struct vcpu *vcpu);

#endif
