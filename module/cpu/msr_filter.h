/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Which MSRs a client keeps to itself (KVM_X86_SET_MSR_FILTER), and which accesses that fail it wants to answer
 * (KVM_CAP_X86_USER_SPACE_MSR).
 */
#ifndef PITH_CPU_MSR_FILTER_H
#define PITH_CPU_MSR_FILTER_H

#include <linux/kvm.h>
#include <linux/rcupdate.h>

#include "../vcpu.h"
#include "../vm.h"

/** msr_filter_set - KVM_X86_SET_MSR_FILTER. vm->lock is held. Return: 0, -EINVAL, -EFAULT, -ENOMEM. May sleep. */
int msr_filter_set(struct vm *vm, const struct kvm_msr_filter *user);
void msr_filter_destroy(struct vm *vm);

bool msr_filter_looks_up(struct vm *vm, u32 index, u32 access);

/** msr_filter_allows - whether a guest's access goes to the module. @access: KVM_MSR_FILTER_READ or _WRITE */
static inline bool msr_filter_allows(struct vm *vm, u32 index, u32 access)
{
	return likely(!rcu_access_pointer(vm->msr_filter)) || msr_filter_looks_up(vm, index, access);
}

/** msr_user_space - KVM_CAP_X86_USER_SPACE_MSR. vm->lock is held. Return: 0 or -EINVAL. */
int msr_user_space(struct vm *vm, const u64 args[4]);

/**
 * msr_refused - the end of a guest's access that failed: the client's to answer if it asked for such, else #GP(0)
 * @error: -EINVAL (what the MSR does not take), -ENOENT (there is no such MSR), -EPERM (filtered)
 */
enum next msr_refused(struct vcpu *vcpu, int error, bool write);

#endif
