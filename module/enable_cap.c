// SPDX-License-Identifier: GPL-2.0
/*
 * KVM_ENABLE_CAP on a VM: the capabilities that a client switches on. One that needs no switching on is in extension.c
 * alone; one of this table is in both.
 */
#include <linux/kernel.h>
#include <linux/kvm.h>

#include "cpu/msr_filter.h"
#include "extension.h"
#include "irq/irqchip.h"
#include "vcpu.h"
#include "vm.h"

/* The quirks of KVM's that are pith's too: what has them off does as the hardware does. */
static int disable_quirks(struct vm *vm, const u64 args[4])
{
	if (args[0] & ~(u64)VM_QUIRKS)
		return -EINVAL;
	vm->disabled_quirks = args[0];
	return 0;
}

static int platform_info(struct vm *vm, const u64 args[4])
{
	vm->no_platform_info = !args[0];
	return 0;
}

/* What a guest that has its CPUs to itself may execute: it waits on them as it likes. */
static int disable_exits(struct vm *vm, const u64 args[4])
{
	if (args[0] & ~extension_disable_exits())
		return -EINVAL;
	vm->disabled_exits |= args[0];
	vm_request_all(vm, REQ_INTERCEPTS);
	return 0;
}

static int triple_fault_event(struct vm *vm, const u64 args[4])
{
	vm->triple_fault_event = args[0];
	return 0;
}

static int exit_on_emulation_failure(struct vm *vm, const u64 args[4])
{
	if (args[0] & ~1ull)
		return -EINVAL;
	vm->exit_on_emulation_failure = args[0];
	return 0;
}

/* @enable: vm->lock is held; returns 0 or an errno, KVM's. */
static const struct {
	u32 cap;
	int (*enable)(struct vm *vm, const u64 args[4]);
} capabilities[] = {
	{ KVM_CAP_SPLIT_IRQCHIP, irqchip_create_split },
	{ KVM_CAP_X2APIC_API, irq_x2apic_api },
	{ KVM_CAP_MAX_VCPU_ID, vm_limit_vcpu_ids },
	{ KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, memory_manual_protect },
	{ KVM_CAP_X86_USER_SPACE_MSR, msr_user_space },
	{ KVM_CAP_DISABLE_QUIRKS2, disable_quirks },
	{ KVM_CAP_MSR_PLATFORM_INFO, platform_info },
	{ KVM_CAP_HALT_POLL, halt_poll_set_limit },
	{ KVM_CAP_X86_DISABLE_EXITS, disable_exits },
	{ KVM_CAP_X86_TRIPLE_FAULT_EVENT, triple_fault_event },
	{ KVM_CAP_EXIT_ON_EMULATION_FAILURE, exit_on_emulation_failure },
	{ KVM_CAP_VM_DISABLE_NX_HUGE_PAGES, memory_disable_nx_huge_pages },
};

int vm_enable_cap(struct vm *vm, const struct kvm_enable_cap *cap)
{
	unsigned int i;
	int r = -EINVAL;

	if (cap->flags)
		return -EINVAL;
	mutex_lock(&vm->lock);
	for (i = 0; i < ARRAY_SIZE(capabilities); i++)
		if (capabilities[i].cap == cap->cap)
			r = capabilities[i].enable(vm, cap->args);
	mutex_unlock(&vm->lock);
	return r;
}

int vcpu_enable_cap(struct vcpu *vcpu, const struct kvm_enable_cap *cap)
{
	if (cap->flags || cap->cap != KVM_CAP_ENFORCE_PV_FEATURE_CPUID)
		return -EINVAL;
	vcpu->pv.enforce_cpuid = cap->args[0];
	return 0;
}
