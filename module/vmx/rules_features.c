// SPDX-License-Identifier: GPL-2.0
/*
 * See rules.h: the rules of what pith's guests do not have, but a client can break, or a later pith: tertiary controls,
 * Intel PT, CET, protection keys for supervisor pages, MPX, enclaves, performance counters, last branch records, user
 * interrupts. Source: SDM volume 3, chapter "VM Entries".
 */
#include "rules.h"

#define PRIMARY_TERTIARY BIT_ULL(17)
#define PRIMARY_SECONDARY BIT_ULL(31)
#define SECONDARY_EPT BIT_ULL(1)
#define SECONDARY_PT BIT_ULL(24) /* Intel PT uses guest-physical addresses */
#define EXIT_CLEAR_RTIT BIT_ULL(25)
#define EXIT_LOAD_PERF BIT_ULL(12)
#define ENTRY_LOAD_PERF BIT_ULL(13)
#define ENTRY_LOAD_RTIT BIT_ULL(18)
#define ENTRY_LOAD_UINV BIT_ULL(19)
#define ENTRY_LOAD_LBR BIT_ULL(21)
#define SHADOW_MOV_SS BIT_ULL(1)
#define SHADOW_ENCLAVE BIT_ULL(4)
#define CR0_WP BIT_ULL(16)
#define CR4_CET BIT_ULL(23)
#define S_CET_RESERVED GENMASK_ULL(9, 6)
#define S_CET_SUPPRESS BIT_ULL(10)
#define S_CET_TRACKER BIT_ULL(11)
#define BNDCFGS_RESERVED GENMASK_ULL(11, 2)
#define LBR_RESERVED (GENMASK_ULL(15, 4) | GENMASK_ULL(63, 23))
#define HIGH_HALF GENMASK_ULL(63, 32)

/* Bits that are reserved whatever CPUID says. Source: SDM volume 3, "IA32_RTIT_CTL MSR". */
#define RTIT_RESERVED (BIT_ULL(18) | BIT_ULL(23) | GENMASK_ULL(30, 28) | GENMASK_ULL(54, 48) | GENMASK_ULL(63, 57))

static bool pt_in_guest(const struct check_view *view)
{
	return (view->value[F_CPU_BASED_VM_EXEC_CONTROL] & PRIMARY_SECONDARY) &&
	       (view->value[F_SECONDARY_VM_EXEC_CONTROL] & SECONDARY_PT);
}

static bool tertiary_allowed(const struct check_view *view, u64 value, u64 range, unsigned int instance)
{
	return !(view->value[F_CPU_BASED_VM_EXEC_CONTROL] & PRIMARY_TERTIARY) ||
	       check_in_range(view, value, range, instance);
}

static bool ones_for_pt(const struct check_view *view, u64 value, u64 bits, unsigned int instance)
{
	return !pt_in_guest(view) || check_ones(view, value, bits, instance);
}

static bool host_wp_for_cet(const struct check_view *view, u64 cr0, u64 unused, unsigned int instance)
{
	return !(view->value[F_HOST_CR4] & CR4_CET) || (cr0 & CR0_WP);
}

static bool host_counters(const struct check_view *view, u64 value, u64 unused, unsigned int instance)
{
	return !(view->value[F_VM_EXIT_CONTROLS] & EXIT_LOAD_PERF) ||
	       check_in_range(view, value, RANGE_COUNTERS, instance);
}

static bool guest_counters(const struct check_view *view, u64 value, u64 unused, unsigned int instance)
{
	return !(view->value[F_VM_ENTRY_CONTROLS] & ENTRY_LOAD_PERF) ||
	       check_in_range(view, value, RANGE_COUNTERS, instance);
}

static bool last_branches(const struct check_view *view, u64 value, u64 reserved, unsigned int instance)
{
	return !(view->value[F_VM_ENTRY_CONTROLS] & ENTRY_LOAD_LBR) || !(value & reserved);
}

static bool user_interrupt_vector(const struct check_view *view, u64 value, u64 most, unsigned int instance)
{
	return !(view->value[F_VM_ENTRY_CONTROLS] & ENTRY_LOAD_UINV) || value <= most;
}

static bool not_both(const struct check_view *view, u64 value, u64 bits, unsigned int instance)
{
	return (value & bits) != bits;
}

/* The linear address in the upper bits of a register whose lower bits are flags. */
static bool canonical_page(const struct check_view *view, u64 value, u64 unused, unsigned int instance)
{
	return check_canonical(view, value & ~GENMASK_ULL(11, 0), 0, instance);
}

#define RESERVED "reserved bits are 0"
#define NOT_BOTH "SUPPRESS and TRACKER are not both 1"
#define CANONICAL "the address is canonical"
#define ALIGNED "bits 1:0 are 0"

const struct check_rule vmx_feature_execution_rules[] = {
	{ F_TERTIARY_VM_EXEC_CONTROL, 0, false, "no bit is 1 that the capability MSR does not allow", tertiary_allowed,
	  RANGE_TERTIARY },
	{ F_SECONDARY_VM_EXEC_CONTROL, 0, false, "guest-physical addresses of Intel PT need EPT", ones_for_pt,
	  SECONDARY_EPT },
};

const struct check_rule vmx_feature_exit_rules[] = {
	{ F_VM_EXIT_CONTROLS, 0, false,
	  "guest-physical addresses of Intel PT need IA32_RTIT_CTL to be cleared by exits", ones_for_pt,
	  EXIT_CLEAR_RTIT },
};

const struct check_rule vmx_feature_entry_rules[] = {
	{ F_VM_ENTRY_CONTROLS, 0, false, "guest-physical addresses of Intel PT need IA32_RTIT_CTL to be loaded",
	  ones_for_pt, ENTRY_LOAD_RTIT },
};

const struct check_rule vmx_feature_host_rules[] = {
	{ F_HOST_CR0, 0, false, "CR4.CET needs CR0.WP", host_wp_for_cet },
	{ F_HOST_PKRS, 0, false, "bits 63:32 are 0", check_zero, HIGH_HALF, VMX_HOST_PKRS },
	{ F_HOST_S_CET, 0, false, RESERVED, check_zero, S_CET_RESERVED, VMX_HOST_CET },
	{ F_HOST_S_CET, 0, false, NOT_BOTH, not_both, S_CET_SUPPRESS | S_CET_TRACKER, VMX_HOST_CET },
	{ F_HOST_S_CET, BIT(0) | BIT(2), false, CANONICAL, canonical_page, 0, VMX_HOST_CET },
	{ F_HOST_SSP, 0, false, ALIGNED, check_zero, 3, VMX_HOST_CET },
	{ F_HOST_IA32_PERF_GLOBAL_CTRL, 0, false, RESERVED, host_counters },
};

const struct check_rule vmx_feature_host_size_rules[] = {
	{ F_HOST_SSP, 0, false, CANONICAL, check_canonical, 0, VMX_HOST_CET },
};

const struct check_rule vmx_feature_guest_rules[] = {
	{ F_GUEST_BNDCFGS, 0, false, RESERVED, check_zero, BNDCFGS_RESERVED, VMX_LOADS_BNDCFGS },
	{ F_GUEST_BNDCFGS, 0, false, CANONICAL, canonical_page, 0, VMX_LOADS_BNDCFGS },
	{ F_GUEST_IA32_RTIT_CTL, 0, false, RESERVED, check_zero, RTIT_RESERVED, VMX_LOADS_RTIT },
	{ F_GUEST_PKRS, 0, false, "bits 63:32 are 0", check_zero, HIGH_HALF, VMX_LOADS_PKRS },
	{ F_GUEST_S_CET, 0, false, RESERVED, check_zero, S_CET_RESERVED, VMX_LOADS_CET },
	{ F_GUEST_S_CET, 0, false, NOT_BOTH, not_both, S_CET_SUPPRESS | S_CET_TRACKER, VMX_LOADS_CET },
	{ F_GUEST_S_CET, 0, false, CANONICAL, canonical_page, 0, VMX_LOADS_CET },
	{ F_GUEST_INTR_SSP_TABLE, 0, false, CANONICAL, check_canonical, 0, VMX_LOADS_CET },
	{ F_GUEST_IA32_PERF_GLOBAL_CTRL, 0, false, RESERVED, guest_counters },
	{ F_GUEST_IA32_LBR_CTL, 0, false, RESERVED, last_branches, LBR_RESERVED },
};

const struct check_rule vmx_feature_ssp_rules[] = {
	{ F_GUEST_SSP, 0, false, ALIGNED, check_zero, 3, VMX_LOADS_CET },
	{ F_GUEST_SSP, 0, false, "bits beyond the linear-address width are alike", check_sign_extended, 0,
	  VMX_LOADS_CET },
};

const struct check_rule vmx_feature_state_rules[] = {
	{ F_GUEST_INTERRUPTIBILITY_INFO, 0, false, "MOV SS does not block where an enclave was interrupted", not_both,
	  SHADOW_MOV_SS | SHADOW_ENCLAVE },
	{ F_GUEST_UINV, 0, false, "the vector of user interrupts is at most 255", user_interrupt_vector, 255 },
};
