// SPDX-License-Identifier: GPL-2.0
/*
 * VMX on and off on a CPU. Source: SDM volume 3, "Enabling and Entering VMX Operation", "Restrictions on VMX
 * Operation".
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cpu.h>
#include <linux/namei.h>
#include <linux/path.h>
#include <linux/percpu.h>
#include <linux/reboot.h>
#include <asm/msr.h>
#include <asm/reboot.h>
#include <asm/tlbflush.h>

#include "insns.h"
#include "vmx.h"

DEFINE_PER_CPU(bool, vmx_on);
static DEFINE_PER_CPU(struct vmcs *, vmxon_region);

/*
 * For a crash: the next kernel must find memory as the CPU sees it, and CPUs that INIT can reach, which VMX in root
 * operation blocks. Any CPU, any context, and nothing of this kernel's is needed any more.
 */
static void emergency_off(void)
{
	if (!this_cpu_read(vmx_on))
		return;
	vmcs_save_all_here();
	this_cpu_write(vmx_on, false);
	vmxoff();
	cr4_clear_bits(X86_CR4_VMXE);
}

/*
 * Loaded, it may take VMX at any time, and has the one hook for crashes that the kernel gives. Its name in sysfs is all
 * that tells of it.
 */
static bool kvm_intel_loaded(void)
{
	struct path path;

	if (kern_path("/sys/module/kvm_intel", 0, &path))
		return false;
	path_put(&path);
	return true;
}

static void note_foreign_vmx(void *found)
{
	if (native_read_cr4() & X86_CR4_VMXE)
		WRITE_ONCE(*(bool *)found, true);
}

static bool another_hypervisor(void)
{
	bool found = kvm_intel_loaded();

	on_each_cpu(note_foreign_vmx, &found, 1);
	return found;
}

static void free_regions(void)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		if (per_cpu(vmxon_region, cpu))
			vmcs_free(per_cpu(vmxon_region, cpu));
		per_cpu(vmxon_region, cpu) = NULL;
	}
}

void vmx_cpus_teardown(void)
{
	cpu_emergency_unregister_virt_callback(emergency_off);
	free_regions();
}

/** vmx_cpus_setup - a VMXON region for each CPU; -EBUSY with a sentence where VMX is in use already */
int vmx_cpus_setup(void)
{
	int cpu;

	if (another_hypervisor()) {
		pr_err("another hypervisor module (kvm_intel?) holds VMX: remove it with rmmod\n");
		return -EBUSY;
	}
	for_each_possible_cpu(cpu) {
		vmcs_list_init(cpu);
		per_cpu(vmxon_region, cpu) = vmcs_alloc(cpu);
		if (!per_cpu(vmxon_region, cpu)) {
			free_regions();
			return -ENOMEM;
		}
	}
	cpu_emergency_register_virt_callback(emergency_off);
	return 0;
}

/* Firmware may leave the choice to us. */
static bool allow_vmxon(void)
{
	u64 control, wanted = FEAT_CTL_LOCKED | FEAT_CTL_VMX_ENABLED_OUTSIDE_SMX;

	if (rdmsrl_safe(MSR_IA32_FEAT_CTL, &control))
		return false;
	if (!(control & FEAT_CTL_LOCKED))
		return !wrmsrl_safe(MSR_IA32_FEAT_CTL, control | wanted);
	return control & FEAT_CTL_VMX_ENABLED_OUTSIDE_SMX;
}

int vmx_cpu_on(void)
{
	u64 basic;

	if (native_read_cr4() & X86_CR4_VMXE)
		return -EBUSY;
	rdmsrl(MSR_IA32_VMX_BASIC, basic);
	if (vmx_basic_vmcs_revision_id(basic) != vmx_capabilities.revision || !allow_vmxon())
		return -EIO;
	cr4_set_bits(X86_CR4_VMXE);
	if (!vmxon(__pa(this_cpu_read(vmxon_region)))) {
		cr4_clear_bits(X86_CR4_VMXE);
		return -EIO;
	}
	this_cpu_write(vmx_on, true);
	switch_msrs_read_host();
	vmx_flush_all_here();
	return 0;
}

void vmx_cpu_off(void)
{
	if (!this_cpu_read(vmx_on))
		return;
	switch_msrs_load_host();
	vmcs_clear_all_here();
	this_cpu_write(vmx_on, false);
	vmxoff();
	cr4_clear_bits(X86_CR4_VMXE);
}
