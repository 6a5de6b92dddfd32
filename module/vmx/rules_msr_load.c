// SPDX-License-Identifier: GPL-2.0
/*
 * See rules.h: the entries of the VM-entry MSR-load area. The CPU loads one after the other; it tells the number of the
 * first that it does not take, not why. Source: SDM volume 3, "Loading MSRs"; what WRMSR takes: volume 4.
 */
#include "rules.h"

#define INDEX_FS_BASE 0xc0000100
#define INDEX_GS_BASE 0xc0000101
#define INDEX_SMM_MONITOR_CTL 0x9b
#define INDEX_SMBASE 0x9e
#define INDEX_PAT 0x277
#define INDEX_EFER 0xc0000080
#define X2APIC_BLOCK 8 /* bits 31:8 of the index */

static const u32 addresses[] = {
	0x175,	    0x176,	/* IA32_SYSENTER_ESP, _EIP */
	0xc0000082, 0xc0000083, /* IA32_LSTAR, IA32_CSTAR */
	0xc0000102,		/* IA32_KERNEL_GS_BASE */
};

static bool is_loaded(const struct check_view *view, unsigned int entry)
{
	return entry < view->value[F_VM_ENTRY_MSR_LOAD_COUNT];
}

static bool no_segment_base(const struct check_view *view, u64 index, u64 unused, unsigned int entry)
{
	return !is_loaded(view, entry) || ((u32)index != INDEX_FS_BASE && (u32)index != INDEX_GS_BASE);
}

static bool no_x2apic(const struct check_view *view, u64 index, u64 unused, unsigned int entry)
{
	return !is_loaded(view, entry) || (u32)index >> 8 != X2APIC_BLOCK;
}

static bool not_of_smm(const struct check_view *view, u64 index, u64 unused, unsigned int entry)
{
	return !is_loaded(view, entry) || ((u32)index != INDEX_SMM_MONITOR_CTL && (u32)index != INDEX_SMBASE);
}

static bool high_half_0(const struct check_view *view, u64 index, u64 unused, unsigned int entry)
{
	return !is_loaded(view, entry) || !(index >> 32);
}

static bool is_address(u32 msr)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(addresses); i++)
		if (addresses[i] == msr)
			return true;
	return false;
}

static bool written(const struct check_view *view, u64 value, u64 unused, unsigned int entry)
{
	u32 msr = view->value[F_VM_ENTRY_MSR_LOAD_INDEX0 + entry];

	if (!is_loaded(view, entry))
		return true;
	if (msr == INDEX_PAT)
		return check_pat(view, value, 0, entry);
	if (msr == INDEX_EFER)
		return check_in_range(view, value, RANGE_EFER, entry);
	return !is_address(msr) || check_canonical(view, value, 0, entry);
}

#define ALL GENMASK(VMX_MSR_LOADS - 1, 0)

const struct check_rule vmx_msr_load_rules[] = {
	{ F_VM_ENTRY_MSR_LOAD_INDEX0, ALL, false,
	  "FS_BASE and GS_BASE are fields of the VMCS, and not loaded from here", no_segment_base },
	{ F_VM_ENTRY_MSR_LOAD_INDEX0, ALL, false, "no MSR of the x2APIC (0x800 to 0x8ff) is loaded", no_x2apic },
	{ F_VM_ENTRY_MSR_LOAD_INDEX0, ALL, false, "outside of SMM no MSR of it is loaded", not_of_smm },
	{ F_VM_ENTRY_MSR_LOAD_INDEX0, ALL, false, "bits 63:32 of the entry are 0", high_half_0 },
	{ F_VM_ENTRY_MSR_LOAD_VALUE0, ALL, false, "the value is one that WRMSR takes for the MSR", written },
};
