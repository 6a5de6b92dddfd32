// SPDX-License-Identifier: GPL-2.0
/* The VMCS as the rules see it, and what the capability MSRs say of this CPU. */
#include <asm/apicdef.h>
#include <asm/msr.h>
#include <asm/processor.h>
#include <asm/processor-flags.h>

#include "rules.h"
#include "vmx.h"
#include "../irq/irqchip.h"

#define SAME(name, encoding, parts) static_assert((name) == (encoding));
VMX_RULE_FIELDS(SAME)
VMX_OTHER_FIELDS(SAME)
#undef SAME

static const u32 capability_msrs[] = {
	[RANGE_PIN] = MSR_IA32_VMX_TRUE_PINBASED_CTLS,	  [RANGE_PRIMARY] = MSR_IA32_VMX_TRUE_PROCBASED_CTLS,
	[RANGE_SECONDARY] = MSR_IA32_VMX_PROCBASED_CTLS2, [RANGE_EXIT] = MSR_IA32_VMX_TRUE_EXIT_CTLS,
	[RANGE_ENTRY] = MSR_IA32_VMX_TRUE_ENTRY_CTLS,
};

static void set_range(struct check_view *view, unsigned int range, u64 must, u64 may)
{
	view->range[range].must = must;
	view->range[range].may = may;
}

/* 64 bits, each of which may be 1. Source: SDM volume 3, "Tertiary Processor-Based VM-Execution Controls". */
#define IA32_VMX_PROCBASED_CTLS3 0x492
#define PRIMARY_TERTIARY BIT(17)

/*
 * The counters that there are, each with an enable bit, and the bit of the performance metrics. Source: SDM volume 2,
 * "CPUID", leaf 0Ah; volume 4, IA32_PERF_GLOBAL_CTRL.
 */
#define LEAF_COUNTERS 10
#define FIXED_COUNTERS 32
#define METRICS BIT_ULL(48)
#define CAPABILITY_METRICS BIT_ULL(15)

static u64 counter_enables(void)
{
	u32 general, fixed_bitmap, edx, unused;
	u64 capabilities, enables;

	if (boot_cpu_data.cpuid_level < LEAF_COUNTERS)
		return 0;
	cpuid(LEAF_COUNTERS, &general, &unused, &fixed_bitmap, &edx);
	enables = GENMASK_ULL(general >> 8 & 0xff, 0) >> 1;
	enables |= (GENMASK_ULL(edx & 0x1f, 0) >> 1 | fixed_bitmap) << FIXED_COUNTERS;
	if (boot_cpu_has(X86_FEATURE_PDCM)) {
		rdmsrl(MSR_IA32_PERF_CAPABILITIES, capabilities);
		enables |= capabilities & CAPABILITY_METRICS ? METRICS : 0;
	}
	return enables;
}

static void read_ranges(struct check_view *view)
{
	const struct vmx_capabilities *caps = &vmx_capabilities;
	u32 must, may;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(capability_msrs); i++) {
		rdmsr(capability_msrs[i], must, may);
		set_range(view, i, must, may);
	}
	if (view->range[RANGE_PRIMARY].may & PRIMARY_TERTIARY)
		rdmsrl(IA32_VMX_PROCBASED_CTLS3, view->range[RANGE_TERTIARY].may);
	set_range(view, RANGE_CR0, caps->cr0_fixed0, caps->cr0_fixed1);
	set_range(view, RANGE_CR4, caps->cr4_fixed0, caps->cr4_fixed1);
	set_range(view, RANGE_COUNTERS, 0, counter_enables());
	set_range(view, RANGE_EFER, 0, EFER_SCE | EFER_LME | EFER_LMA | EFER_NX);
}

/* Source: SDM volume 3, appendix "VMX Capability Reporting Facility". */
#define BASIC_ANY_ERROR_CODE BIT_ULL(56)
#define MISC_HALTS BIT_ULL(6)
#define MISC_SHUTS_DOWN BIT_ULL(7)
#define MISC_WAITS_FOR_SIPI BIT_ULL(8)
#define MISC_LENGTH_0 BIT_ULL(30)

static u64 cpu_facts(void)
{
	u64 basic, misc, facts = 0;

	rdmsrl(MSR_IA32_VMX_BASIC, basic);
	rdmsrl(MSR_IA32_VMX_MISC, misc);
	if (vmx_capabilities.ept & VMX_EPT_AD_BIT)
		facts |= CPU_EPT_ACCESSED_DIRTY;
	if (vmx_capabilities.ept & VMX_EPTP_UC_BIT)
		facts |= CPU_EPT_UNCACHEABLE;
	if (!(basic & BASIC_ANY_ERROR_CODE))
		facts |= CPU_CHECKS_ERROR_CODE;
	if (misc & MISC_LENGTH_0)
		facts |= CPU_TAKES_LENGTH_0;
	if (misc & MISC_HALTS)
		facts |= CPU_HALTS;
	if (misc & MISC_SHUTS_DOWN)
		facts |= CPU_SHUTS_DOWN;
	if (misc & MISC_WAITS_FOR_SIPI)
		facts |= CPU_WAITS_FOR_SIPI;
	return facts;
}

/* A part of the VM-entry MSR-load area that has a number as if it were a field, or NULL. */
static u64 *msr_load(struct vmx_vcpu *vmx, u32 number)
{
	u32 i = number - VMX_MSR_LOAD_FIELD;

	return number < VMX_MSR_LOAD_FIELD ? NULL : &vmx->msr_loads[i % VMX_MSR_LOADS][i / VMX_MSR_LOADS];
}

static u64 read_value(struct vmx_vcpu *vmx, u32 number)
{
	const u64 *load = msr_load(vmx, number);

	return load ? *load : vmcs_read_if_there(number);
}

void vmx_read_values(struct vcpu *vcpu, const struct check_field *fields, unsigned int nr, u64 *values)
{
	unsigned int i;

	vmcs_get(to_vmx(vcpu));
	for (i = 0; i < nr; i++)
		values[i] = read_value(to_vmx(vcpu), fields[i].number);
	vmcs_put();
}

void vmx_read_fields(struct vcpu *vcpu, struct check_view *view)
{
	read_ranges(view);
	view->facts = cpu_facts();
	view->physical_bits = boot_cpu_data.x86_phys_bits;
	view->linear_bits = boot_cpu_has(X86_FEATURE_LA57) ? 57 : 48;
	if (vcpu->tpr_shadow)
		view->virtual_tpr = *((const u8 *)irq_apic_page(vcpu) + APIC_TASKPRI) >> 4;
	vmx_read_values(vcpu, vmx_checks.fields, vmx_checks.nr_fields, view->value);
}

/*
 * What a slice writes of the host's state only when it changes may have been for another CPU: after an undo it is
 * written anew.
 */
void vmx_write_field(struct vcpu *vcpu, unsigned int index, u64 value, bool undo)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);
	u32 number = vmx_checks.fields[index].number;
	u64 *load = msr_load(vmx, number);

	vmcs_get(vmx);
	if (load)
		*load = value;
	else
		vmcs_write_any(number, value);
	if (undo) {
		vmx->host.cpu = -1;
		vmx->host.cr3 = vmx->host.cr4 = vmx->host.fs_base = ~0ul;
	}
	vmcs_put();
}
