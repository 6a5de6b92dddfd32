// SPDX-License-Identifier: GPL-2.0
/*
 * What a CPU must have, and what it may have, as data: a machine that lacks something is refused with a sentence that
 * names it. Source: SDM volume 3, appendix "VMX Capability Reporting Facility".
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cpu.h>
#include <asm/cpufeature.h>
#include <asm/msr.h>
#include <asm/processor.h>

#include "vmx.h"
#include "../compat.h"
#include "../memory/memory.h"

struct vmx_capabilities vmx_capabilities;

enum need {
	ALWAYS,	       /* required, and on in every VMCS */
	AT_TIMES,      /* required, turned on when it is wanted */
	WHERE_PRESENT, /* used if the CPU has it */
	NEVER,	       /* it must be possible to leave it off */
};

struct control {
	u32 bit;
	enum need need;
	const char *name;
};

static const struct control pin_controls[] = {
	{ PIN_BASED_EXT_INTR_MASK, ALWAYS, "external-interrupt exiting" },
	{ PIN_BASED_NMI_EXITING, ALWAYS, "NMI exiting" },
	{ PIN_BASED_VIRTUAL_NMIS, ALWAYS, "virtual NMIs" },
	{ PIN_BASED_VMX_PREEMPTION_TIMER, WHERE_PRESENT, "activate VMX-preemption timer" },
	{ PIN_BASED_POSTED_INTR, WHERE_PRESENT, "process posted interrupts" },
	{},
};

static const struct control primary_controls[] = {
	{ CPU_BASED_INTR_WINDOW_EXITING, AT_TIMES, "interrupt-window exiting" },
	{ CPU_BASED_NMI_WINDOW_EXITING, AT_TIMES, "NMI-window exiting" },
	{ CPU_BASED_USE_TSC_OFFSETTING, ALWAYS, "use TSC offsetting" },
	{ CPU_BASED_HLT_EXITING, ALWAYS, "HLT exiting" },
	{ CPU_BASED_MWAIT_EXITING, ALWAYS, "MWAIT exiting" },
	{ CPU_BASED_MONITOR_EXITING, ALWAYS, "MONITOR exiting" },
	{ CPU_BASED_RDPMC_EXITING, ALWAYS, "RDPMC exiting" },
	{ CPU_BASED_CR8_LOAD_EXITING, ALWAYS, "CR8-load exiting" },
	{ CPU_BASED_CR8_STORE_EXITING, ALWAYS, "CR8-store exiting" },
	{ CPU_BASED_TPR_SHADOW, AT_TIMES, "use TPR shadow" },
	{ CPU_BASED_MOV_DR_EXITING, ALWAYS, "MOV-DR exiting" },
	{ CPU_BASED_UNCOND_IO_EXITING, ALWAYS, "unconditional I/O exiting" },
	{ CPU_BASED_USE_MSR_BITMAPS, ALWAYS, "use MSR bitmaps" },
	{ CPU_BASED_ACTIVATE_SECONDARY_CONTROLS, ALWAYS, "activate secondary controls" },
	{ CPU_BASED_CR3_LOAD_EXITING, NEVER, "CR3-load exiting" },
	{ CPU_BASED_CR3_STORE_EXITING, NEVER, "CR3-store exiting" },
	{ CPU_BASED_INVLPG_EXITING, NEVER, "INVLPG exiting" },
	{ CPU_BASED_RDTSC_EXITING, NEVER, "RDTSC exiting" },
	{},
};

static const struct control secondary_controls[] = {
	{ SECONDARY_EXEC_ENABLE_EPT, ALWAYS, "enable EPT" },
	{ SECONDARY_EXEC_UNRESTRICTED_GUEST, ALWAYS, "unrestricted guest" },
	{ SECONDARY_EXEC_ENABLE_VPID, ALWAYS, "enable VPID" },
	{ SECONDARY_EXEC_WBINVD_EXITING, WHERE_PRESENT, "WBINVD exiting" },
	{ SECONDARY_EXEC_ENABLE_RDTSCP, WHERE_PRESENT, "enable RDTSCP" },
	{ SECONDARY_EXEC_ENABLE_INVPCID, WHERE_PRESENT, "enable INVPCID" },
	{ SECONDARY_EXEC_XSAVES, WHERE_PRESENT, "enable XSAVES/XRSTORS" },
	{ SECONDARY_EXEC_PAUSE_LOOP_EXITING, WHERE_PRESENT, "PAUSE-loop exiting" },
	{ SECONDARY_EXEC_ENABLE_PML, WHERE_PRESENT, "enable PML" },
	{ SECONDARY_EXEC_TSC_SCALING, WHERE_PRESENT, "use TSC scaling" },
	{ SECONDARY_EXEC_VIRTUALIZE_APIC_ACCESSES, WHERE_PRESENT, "virtualize APIC accesses" },
	{ SECONDARY_EXEC_VIRTUALIZE_X2APIC_MODE, WHERE_PRESENT, "virtualize x2APIC mode" },
	{ SECONDARY_EXEC_APIC_REGISTER_VIRT, WHERE_PRESENT, "APIC-register virtualization" },
	{ SECONDARY_EXEC_VIRTUAL_INTR_DELIVERY, WHERE_PRESENT, "virtual-interrupt delivery" },
	{},
};

static const struct control exit_controls[] = {
	{ VM_EXIT_HOST_ADDR_SPACE_SIZE, ALWAYS, "host address-space size" },
	{ VM_EXIT_LOAD_IA32_EFER, ALWAYS, "load IA32_EFER (VM-exit control)" },
	{ VM_EXIT_LOAD_IA32_PAT, ALWAYS, "load IA32_PAT (VM-exit control)" },
	{ VM_EXIT_ACK_INTR_ON_EXIT, WHERE_PRESENT, "acknowledge interrupt on exit" },
	{},
};

static const struct control entry_controls[] = {
	{ VM_ENTRY_IA32E_MODE, AT_TIMES, "IA-32e mode guest" },
	{ VM_ENTRY_LOAD_DEBUG_CONTROLS, ALWAYS, "load debug controls" },
	{ VM_ENTRY_LOAD_IA32_EFER, ALWAYS, "load IA32_EFER (VM-entry control)" },
	{ VM_ENTRY_LOAD_IA32_PAT, ALWAYS, "load IA32_PAT (VM-entry control)" },
	{},
};

static const struct control_field {
	u32 msr;
	const struct control *controls;
	u32 *value;
} control_fields[] = {
	{ MSR_IA32_VMX_TRUE_PINBASED_CTLS, pin_controls, &vmx_capabilities.pin },
	{ MSR_IA32_VMX_TRUE_PROCBASED_CTLS, primary_controls, &vmx_capabilities.primary },
	{ MSR_IA32_VMX_PROCBASED_CTLS2, secondary_controls, &vmx_capabilities.secondary },
	{ MSR_IA32_VMX_TRUE_EXIT_CTLS, exit_controls, &vmx_capabilities.exit },
	{ MSR_IA32_VMX_TRUE_ENTRY_CTLS, entry_controls, &vmx_capabilities.entry },
};

static const struct control ept_features[] = {
	{ VMX_EPT_PAGE_WALK_4_BIT, ALWAYS, "EPT with four levels" },
	{ VMX_EPTP_WB_BIT, ALWAYS, "EPT tables in write-back memory" },
	{ VMX_EPT_INVEPT_BIT, ALWAYS, "INVEPT" },
	{ VMX_EPT_EXTENT_GLOBAL_BIT, ALWAYS, "all-context INVEPT" },
	{},
};

static const struct control vpid_features[] = {
	{ VMX_VPID_INVVPID_BIT, ALWAYS, "INVVPID" },
	{ VMX_VPID_EXTENT_GLOBAL_CONTEXT_BIT, ALWAYS, "all-context INVVPID" },
	{},
};

static int refuse(const char *name)
{
	pr_err("this CPU lacks the VMX feature \"%s\": a CPU with EPT and unrestricted guest is needed\n", name);
	return -EOPNOTSUPP;
}

static bool satisfies(const struct control *control, u32 must, u32 may)
{
	if (control->need == NEVER)
		return !(must & control->bit);
	return control->need == WHERE_PRESENT || (may & control->bit);
}

/*
 * The low half of a capability MSR has the bits that must be 1, the high half those that may be 1.
 * Source: SDM volume 3, "VM-Execution Controls", "VM-Exit Controls", "VM-Entry Controls" in that appendix.
 */
static int find_controls(const struct control_field *field)
{
	const struct control *control;
	u32 must, may;

	rdmsr(field->msr, must, may);
	*field->value = must;
	for (control = field->controls; control->name; control++) {
		if (!satisfies(control, must, may))
			return refuse(control->name);
		if (control->need == ALWAYS || control->need == WHERE_PRESENT)
			*field->value |= control->bit & may;
	}
	return 0;
}

static int find_features(u32 present, const struct control *feature)
{
	for (; feature->name; feature++) {
		if (!(present & feature->bit))
			return refuse(feature->name);
	}
	return 0;
}

/* The kernel hides VMX where the firmware locked it away, so the CPU itself is asked. */
static int find_vmx(void)
{
	u64 feature_control;

	if (!(cpuid_ecx(1) & BIT(X86_FEATURE_VMX & 31))) {
		pr_err("this CPU has no VMX: an Intel CPU with VT-x is needed, or in a guest nested virtualization\n");
		return -EOPNOTSUPP;
	}
	if (rdmsrl_safe(MSR_IA32_FEAT_CTL, &feature_control))
		feature_control = 0;
	if ((feature_control & FEAT_CTL_LOCKED) && !(feature_control & FEAT_CTL_VMX_ENABLED_OUTSIDE_SMX)) {
		pr_err("VMX is disabled by the firmware: enable Intel VT-x in the BIOS setup\n");
		return -EOPNOTSUPP;
	}
	if (compat_host_uses_fred()) {
		pr_err("the kernel uses FRED, by which NMIs of guests cannot be passed on: boot it with fred=off\n");
		return -EOPNOTSUPP;
	}
	return 0;
}

static int find_basic(void)
{
	u64 basic;

	rdmsrl(MSR_IA32_VMX_BASIC, basic);
	vmx_capabilities.revision = vmx_basic_vmcs_revision_id(basic);
	if (!(basic & VMX_BASIC_TRUE_CTLS))
		return refuse("true controls");
	if (vmx_basic_vmcs_size(basic) > PAGE_SIZE)
		return refuse("VMCS of at most a page");
	return 0;
}

static int find_ept_and_vpid(void)
{
	int err;

	rdmsr(MSR_IA32_VMX_EPT_VPID_CAP, vmx_capabilities.ept, vmx_capabilities.vpid);
	err = find_features(vmx_capabilities.ept, ept_features);
	if (err)
		return err;
	return find_features(vmx_capabilities.vpid, vpid_features);
}

/**
 * vmx_find_capabilities - fills vmx_capabilities, or refuses the machine with one sentence in the log
 * Returns 0 or -EOPNOTSUPP.
 */
int vmx_find_capabilities(void)
{
	int i, err;

	err = find_vmx();
	if (!err)
		err = find_basic();
	for (i = 0; !err && i < ARRAY_SIZE(control_fields); i++)
		err = find_controls(&control_fields[i]);
	if (!err)
		err = find_ept_and_vpid();
	if (err)
		return err;
	pml_choose();
	rdmsrl(MSR_IA32_VMX_CR0_FIXED0, vmx_capabilities.cr0_fixed0);
	rdmsrl(MSR_IA32_VMX_CR0_FIXED1, vmx_capabilities.cr0_fixed1);
	rdmsrl(MSR_IA32_VMX_CR4_FIXED0, vmx_capabilities.cr4_fixed0);
	rdmsrl(MSR_IA32_VMX_CR4_FIXED1, vmx_capabilities.cr4_fixed1);
	return 0;
}

/**
 * vmx_tables - how EPT spells second-stage entries
 * Guest memory is write-back whatever the guest's PAT says, as the host's own mapping of it is. Source: SDM volume 3,
 * "EPT Translation Mechanism" and "EPT and Memory Typing".
 */
const struct table_format *vmx_tables(void)
{
	static struct table_format format = {
		.read = VMX_EPT_READABLE_MASK,
		.write = VMX_EPT_WRITABLE_MASK,
		.exec = VMX_EPT_EXECUTABLE_MASK,
		.large = BIT_ULL(7),
		.table = VMX_EPT_RWX_MASK,
		.leaf = VMX_EPTP_MT_WB << VMX_EPT_MT_EPTE_SHIFT | VMX_EPT_IPAT_BIT,
		.leaf_uncached = VMX_EPTP_MT_UC << VMX_EPT_MT_EPTE_SHIFT | VMX_EPT_IPAT_BIT,
		.levels = 4,
		.largest = 1,
	};

	if (vmx_capabilities.ept & VMX_EPT_2MB_PAGE_BIT)
		format.largest = vmx_capabilities.ept & VMX_EPT_1GB_PAGE_BIT ? 3 : 2;
	if (vmx_capabilities.ept & VMX_EPT_AD_BIT) {
		format.accessed = VMX_EPT_ACCESS_BIT;
		format.dirty = VMX_EPT_DIRTY_BIT;
	}
	format.logs_dirty = vmx_capabilities.secondary & SECONDARY_EXEC_ENABLE_PML;
	return &format;
}
