// SPDX-License-Identifier: GPL-2.0
/*
 * KVM_ENABLE_CAP on a VM: the capabilities that a client switches on. One that needs no switching on is in extension.c
 * alone; one of this table is in both.
 */
#include <linux/kernel.h>
#include <linux/kvm.h>

#include "extension.h"
#include "irq/irqchip.h"
#include "vm.h"

/* @enable: vm->lock is held; returns 0 or an errno, KVM's. */
static const struct {
	u32 cap;
	int (*enable)(struct vm *vm, const u64 args[4]);
} capabilities[] = {
	{ KVM_CAP_SPLIT_IRQCHIP, irqchip_create_split },
	{ KVM_CAP_X2APIC_API, irq_x2apic_api },
	{ KVM_CAP_MAX_VCPU_ID, vm_limit_vcpu_ids },
	{ KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, memory_manual_protect },
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
