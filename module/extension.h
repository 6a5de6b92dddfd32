/* SPDX-License-Identifier: GPL-2.0 */
#ifndef PITH_EXTENSION_H
#define PITH_EXTENSION_H

#include <linux/types.h>

/** extension_value - KVM_CHECK_EXTENSION: 0 for what is not there; else 1, or how much of it there is */
int extension_value(unsigned long extension);

/** extension_disable_exits - what KVM_CAP_X86_DISABLE_EXITS takes: KVM_X86_DISABLE_EXITS_* */
u64 extension_disable_exits(void);

struct vm;
struct vcpu;
struct kvm_enable_cap;

/** vm_enable_cap - KVM_ENABLE_CAP on a VM: 0, -EINVAL for what cannot be switched on, or the capability's own errno */
int vm_enable_cap(struct vm *vm, const struct kvm_enable_cap *cap);

/** vcpu_enable_cap - the same on a vCPU; its mutex is held */
int vcpu_enable_cap(struct vcpu *vcpu, const struct kvm_enable_cap *cap);

#endif
