// SPDX-License-Identifier: GPL-2.0
/*
 * VMCS regions and which CPU they are active on. A VMCS may be active on one CPU only, which may hold parts of it that
 * memory does not have; VMCLEAR brings it back into memory. Source: SDM volume 3, "Software Use of Virtual-Machine
 * Control Structures".
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/smp.h>
#include <linux/topology.h>
#include <asm/nospec-branch.h>

#include "insns.h"
#include "vmx.h"
#include "../vm.h"

static DEFINE_PER_CPU(struct vmx_vcpu *, current_vmx);
static DEFINE_PER_CPU(struct list_head, active_list);

struct vmcs *vmcs_alloc(int cpu)
{
	struct page *page = alloc_pages_node(cpu_to_node(cpu), GFP_KERNEL_ACCOUNT | __GFP_ZERO, 0);
	struct vmcs *vmcs;

	if (!page)
		return NULL;
	vmcs = page_address(page);
	vmcs->revision = vmx_capabilities.revision;
	return vmcs;
}

void vmcs_free(struct vmcs *vmcs)
{
	free_page((unsigned long)vmcs);
}

/* A broken invariant of ours: it ends the VM. Where VMX is off, for a reboot, there is nothing to be said. */
static void vmcs_access_failed(const char *access, unsigned long field, unsigned long value)
{
	struct vmx_vcpu *vmx = this_cpu_read(current_vmx);
	unsigned long error = 0;

	if (!vmx || !this_cpu_read(vmx_on))
		return;
	if (field != VM_INSTRUCTION_ERROR)
		error = vmcs_read32(VM_INSTRUCTION_ERROR);
	vm_bug(vmx->vcpu->vm, "%s of VMCS field %#lx (value %#lx) failed, VM-instruction error %lu", access, field,
	       value, error);
}

noinline void vmcs_read_failed(unsigned long field)
{
	vmcs_access_failed("VMREAD", field, 0);
}

noinline void vmcs_write_failed(unsigned long field, unsigned long value)
{
	vmcs_access_failed("VMWRITE", field, value);
}

/* Interrupts off. */
static void vmcs_clear_here(struct vmx_vcpu *vmx)
{
	vmclear(__pa(vmx->vmcs));
	list_del(&vmx->active);
	if (this_cpu_read(current_vmx) == vmx)
		this_cpu_write(current_vmx, NULL);
	vmx->launched = false;
	/* Pairs with smp_rmb() in vmcs_load(): whoever sees that it is active nowhere may activate it elsewhere. */
	smp_wmb();
	WRITE_ONCE(vmx->cpu, -1);
}

static void vmcs_clear_ipi(void *arg)
{
	struct vmx_vcpu *vmx = arg;

	if (vmx->cpu == smp_processor_id())
		vmcs_clear_here(vmx);
}

/**
 * vmcs_unload - makes a VMCS active nowhere
 * @vmx: whose
 * Context: interrupts on; the vCPU's mutex is held or nobody else knows it.
 */
void vmcs_unload(struct vmx_vcpu *vmx)
{
	int cpu = READ_ONCE(vmx->cpu);

	/* A CPU that is offline cleared it when it went. */
	if (cpu >= 0)
		smp_call_function_single(cpu, vmcs_clear_ipi, vmx, 1);
}

/* Takes a VMCS that is active nowhere. Interrupts off. */
static void vmcs_activate_here(struct vmx_vcpu *vmx)
{
	/* Pairs with smp_wmb() in vmcs_clear_here(). */
	smp_rmb();
	vmclear(__pa(vmx->vmcs));
	list_add(&vmx->active, this_cpu_ptr(&active_list));
	vmx->cpu = smp_processor_id();
}

/**
 * vmcs_load - makes a vCPU's VMCS the current one of this CPU
 * @vmx: whose
 * Context: preemption off, interrupts on, VMX on.
 */
void vmcs_load(struct vmx_vcpu *vmx)
{
	unsigned long flags;

	if (likely(this_cpu_read(current_vmx) == vmx))
		return;
	if (vmx->cpu != smp_processor_id()) {
		vmcs_unload(vmx);
		local_irq_save(flags);
		vmcs_activate_here(vmx);
		local_irq_restore(flags);
	}
	this_cpu_write(current_vmx, vmx);
	if (!vmptrld(__pa(vmx->vmcs)))
		vm_bug(vmx->vcpu->vm, "VMPTRLD failed");
	/* What branches the CPU learned from another vCPU is not for this one. */
	indirect_branch_prediction_barrier();
}

/**
 * vmcs_save_all_here - brings what this CPU holds of any VMCS into memory, and no more
 * Context: any, even an NMI of a crash in the middle of what stands above: the list is whole at each step.
 */
void vmcs_save_all_here(void)
{
	struct vmx_vcpu *vmx;

	list_for_each_entry(vmx, this_cpu_ptr(&active_list), active)
		vmclear(__pa(vmx->vmcs));
}

/** vmcs_clear_all_here - before VMX goes off on this CPU. Interrupts off. */
void vmcs_clear_all_here(void)
{
	struct vmx_vcpu *vmx, *next;

	list_for_each_entry_safe(vmx, next, this_cpu_ptr(&active_list), active)
		vmcs_clear_here(vmx);
}

void vmcs_list_init(int cpu)
{
	INIT_LIST_HEAD(per_cpu_ptr(&active_list, cpu));
}

/**
 * vmcs_get - a vCPU's VMCS for accesses outside of a slice, until vmcs_put(); inside, nothing but a nesting
 * @vmx: whose
 * Context: the vCPU's mutex is held. Sleeps where this CPU is just going offline, until the scheduler moves us.
 */
void vmcs_get(struct vmx_vcpu *vmx)
{
	preempt_disable();
	while (unlikely(!this_cpu_read(vmx_on))) {
		preempt_enable();
		schedule_timeout_uninterruptible(1);
		preempt_disable();
	}
	vmcs_load(vmx);
}

void vmcs_put(void)
{
	preempt_enable();
}
