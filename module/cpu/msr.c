// SPDX-License-Identifier: GPL-2.0
/*
 * Model-specific registers. Most are a field of struct vcpu with a rule for what may be written: rows of a table.
 * The others have functions. Source: SDM volume 4; APM volume 2, appendix A.
 */
#include <linux/kernel.h>
#include <linux/nospec.h>

#include <asm/msr-index.h>
#include <asm/kvm_para.h>
#include <asm/mtrr.h>

#include "../emulate.h"
#include "../irq/irqchip.h"
#include "../smm.h"
#include "../vm.h"
#include "control.h"
#include "cpuid.h"
#include "fpu.h"
#include "mce.h"
#include "msr.h"
#include "paravirt.h"
#include "tsc.h"

#define X2APIC_FIRST 0x800
#define X2APIC_LAST 0x8ff
#define PAT_RESET 0x0007040600070406ull
#define MTRR_VARIABLE_RANGES 8
#define MTRR_CAP (MTRR_VARIABLE_RANGES | BIT_ULL(8) | BIT_ULL(10)) /* fixed ranges, write combining */
#define MISC_ENABLE_RESET MSR_IA32_MISC_ENABLE_FAST_STRING
#define PATCH_LEVEL_AMD 0x01000065ull
#define PATCH_LEVEL_INTEL (1ull << 32)

/* -- what may be written ----------------------------------------------------------------------------------------- */

static bool any(struct vcpu *vcpu, u64 value)
{
	return true;
}

static bool low_32(struct vcpu *vcpu, u64 value)
{
	return !(value >> 32);
}

static bool canonical(struct vcpu *vcpu, u64 value)
{
	unsigned int width = vcpu->cr4 & X86_CR4_LA57 ? 57 : 48;

	return (u64)((s64)(value << (64 - width)) >> (64 - width)) == value;
}

/* Eight memory types. SDM volume 3, "IA32_PAT MSR". */
static bool memory_types(struct vcpu *vcpu, u64 value)
{
	/* UC, WC, WT, WP, WB, UC-: 0, 1, 4, 5, 6, 7. */
	const unsigned int valid = BIT(0) | BIT(1) | BIT(4) | BIT(5) | BIT(6) | BIT(7);
	unsigned int i;

	for (i = 0; i < 64; i += 8)
		if (((value >> i) & 0xff) > 7 || !(valid & BIT((value >> i) & 0xff)))
			return false;
	return true;
}

/* The types that MTRRs know: all of PAT's but UC-. */
static bool valid_mtrr_type(u8 type)
{
	return type <= 6 && type != 2 && type != 3;
}

static bool mtrr_fixed(struct vcpu *vcpu, u64 value)
{
	unsigned int i;

	for (i = 0; i < 64; i += 8)
		if (!valid_mtrr_type(value >> i))
			return false;
	return true;
}

static bool mtrr_default(struct vcpu *vcpu, u64 value)
{
	return !(value & ~0xcffull) && valid_mtrr_type(value);
}

static bool mtrr_base(struct vcpu *vcpu, u64 value)
{
	return !(value & (GENMASK_ULL(63, vcpu->maxphyaddr) | 0xf00)) && valid_mtrr_type(value);
}

static bool mtrr_mask(struct vcpu *vcpu, u64 value)
{
	return !(value & (GENMASK_ULL(63, vcpu->maxphyaddr) | 0x7ff));
}

static bool nothing(struct vcpu *vcpu, u64 value)
{
	return false;
}

static bool zero(struct vcpu *vcpu, u64 value)
{
	return !value;
}

/**
 * struct msr_field - an MSR that is a field of struct vcpu
 * @index: the MSR's number
 * @offset: of the field
 * @state: its group, 0 if it is always known
 * @may_write: whether a guest may write the value
 * @listed: worth saving by a client
 */
struct msr_field {
	u32 index;
	u32 offset;
	u32 state;
	bool (*may_write)(struct vcpu *vcpu, u64 value);
	bool listed;
};

#define FIELD(msr_index, field, group, rule)                                                                   \
	{                                                                                                      \
		.index = msr_index, .offset = offsetof(struct vcpu, field), .state = group, .may_write = rule, \
		.listed = true                                                                                 \
	}

static const struct msr_field fields[] = {
	FIELD(MSR_STAR, msr.star, STATE_SYSCALL, any),
	FIELD(MSR_LSTAR, msr.lstar, STATE_SYSCALL, canonical),
	FIELD(MSR_CSTAR, msr.cstar, STATE_SYSCALL, canonical),
	FIELD(MSR_SYSCALL_MASK, msr.sfmask, STATE_SYSCALL, low_32),
	FIELD(MSR_KERNEL_GS_BASE, msr.kernel_gs_base, STATE_SYSCALL, canonical),
	FIELD(MSR_FS_BASE, segment[SEG_FS].base, STATE_SEGMENT(SEG_FS), canonical),
	FIELD(MSR_GS_BASE, segment[SEG_GS].base, STATE_SEGMENT(SEG_GS), canonical),
	FIELD(MSR_IA32_SYSENTER_CS, msr.sysenter_cs, STATE_SYSENTER, low_32),
	FIELD(MSR_IA32_SYSENTER_ESP, msr.sysenter_esp, STATE_SYSENTER, canonical),
	FIELD(MSR_IA32_SYSENTER_EIP, msr.sysenter_eip, STATE_SYSENTER, canonical),
	FIELD(MSR_IA32_CR_PAT, msr.pat, STATE_PAT, memory_types),
	FIELD(MSR_IA32_MISC_ENABLE, msr.misc_enable, 0, any),
	FIELD(MSR_MTRRdefType, msr.mtrr_def_type, 0, mtrr_default),
	FIELD(MSR_IA32_MCG_CAP, msr.mcg_cap, 0, nothing),
	FIELD(MSR_IA32_MCG_STATUS, msr.mcg_status, 0, low_32),
	FIELD(MSR_IA32_DEBUGCTLMSR, msr.debugctl, 0, zero),
	FIELD(MSR_IA32_POWER_CTL, msr.power_ctl, 0, any),
	FIELD(MSR_SMI_COUNT, msr.smi_count, 0, nothing),
};

/* MTRRs, which are many and alike. */
static const u32 mtrr_fixed_msrs[] = {
	MSR_MTRRfix64K_00000, MSR_MTRRfix16K_80000, MSR_MTRRfix16K_A0000, MSR_MTRRfix4K_C0000,
	MSR_MTRRfix4K_C8000,  MSR_MTRRfix4K_D0000,  MSR_MTRRfix4K_D8000,  MSR_MTRRfix4K_E0000,
	MSR_MTRRfix4K_E8000,  MSR_MTRRfix4K_F0000,  MSR_MTRRfix4K_F8000,
};

static bool find_mtrr(u32 index, struct msr_field *field)
{
	unsigned int i;

	if (index >= MTRRphysBase_MSR(0) && index <= MTRRphysMask_MSR(MTRR_VARIABLE_RANGES - 1)) {
		i = array_index_nospec(index - MTRRphysBase_MSR(0), MTRR_VARIABLE_RANGES * 2);
		*field = (struct msr_field){ .index = index,
					     .offset = offsetof(struct vcpu, msr.mtrr_var) + i * sizeof(u64),
					     .may_write = index & 1 ? mtrr_mask : mtrr_base };
		return true;
	}
	for (i = 0; i < ARRAY_SIZE(mtrr_fixed_msrs); i++) {
		if (mtrr_fixed_msrs[i] != index)
			continue;
		*field = (struct msr_field){ .index = index,
					     .offset = offsetof(struct vcpu, msr.mtrr_fixed) + i * sizeof(u64),
					     .may_write = mtrr_fixed };
		return true;
	}
	return false;
}

static bool find_field(u32 index, struct msr_field *field)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(fields); i++) {
		if (fields[i].index == index) {
			*field = fields[i];
			return true;
		}
	}
	return find_mtrr(index, field);
}

/* -- MSRs with functions ----------------------------------------------------------------------------------------- */

/* What of the host's DE_CFG a guest may rely on. */
static u64 host_decfg(void)
{
	return boot_cpu_has(X86_FEATURE_LFENCE_RDTSC) ? MSR_AMD64_DE_CFG_LFENCE_SERIALIZE : 0;
}

static int read_tsc(struct vcpu *vcpu, u32 index, u64 *value, enum msr_origin origin)
{
	*value = tsc_read(vcpu);
	return 0;
}

/* A guest that writes its TSC moves IA32_TSC_ADJUST by as much. SDM volume 3, "Time-Stamp Counter Adjustment". */
static int write_tsc(struct vcpu *vcpu, u32 index, u64 value, enum msr_origin origin)
{
	u64 delta = value - tsc_read(vcpu);

	if (origin == MSR_HOST) {
		tsc_write_host(vcpu, value);
		return 0;
	}
	tsc_move(vcpu, delta);
	vcpu->msr.tsc_adjust += delta;
	return 0;
}

static int read_tsc_adjust(struct vcpu *vcpu, u32 index, u64 *value, enum msr_origin origin)
{
	*value = vcpu->msr.tsc_adjust;
	return 0;
}

static int write_tsc_adjust(struct vcpu *vcpu, u32 index, u64 value, enum msr_origin origin)
{
	if (origin == MSR_GUEST)
		tsc_move(vcpu, value - vcpu->msr.tsc_adjust);
	vcpu->msr.tsc_adjust = value;
	return 0;
}

static int read_paravirt(struct vcpu *vcpu, u32 index, u64 *value, enum msr_origin origin)
{
	return pv_read_msr(vcpu, index, value);
}

static int write_paravirt(struct vcpu *vcpu, u32 index, u64 value, enum msr_origin origin)
{
	return pv_write_msr(vcpu, index, value);
}

static int read_efer(struct vcpu *vcpu, u32 index, u64 *value, enum msr_origin origin)
{
	vcpu_know(vcpu, STATE_EFER);
	*value = vcpu->efer;
	return 0;
}

static int write_efer(struct vcpu *vcpu, u32 index, u64 value, enum msr_origin origin)
{
	return control_set_efer(vcpu, value, origin == MSR_HOST);
}

static int read_apic(struct vcpu *vcpu, u32 index, u64 *value, enum msr_origin origin)
{
	return irq_msr_read(vcpu, index, value, origin == MSR_HOST);
}

static int write_apic(struct vcpu *vcpu, u32 index, u64 value, enum msr_origin origin)
{
	return irq_msr_write(vcpu, index, value, origin == MSR_HOST);
}

static bool intel_guest(struct vcpu *vcpu)
{
	const struct kvm_cpuid_entry2 *e = cpuid_find(vcpu, 0, 0);

	return e && e->ebx == 0x756e6547; /* Genu */
}

/* RDTSCP or RDPID make TSC_AUX a register of the guest's. */
static bool has_tsc_aux(struct vcpu *vcpu)
{
	return cpuid_has(vcpu, 0x80000001, 0, CPUID_EDX, X86_FEATURE_RDTSCP & 31) ||
	       cpuid_has(vcpu, 7, 0, CPUID_ECX, X86_FEATURE_RDPID & 31);
}

static int read_tsc_aux(struct vcpu *vcpu, u32 index, u64 *value, enum msr_origin origin)
{
	if (origin == MSR_GUEST && !has_tsc_aux(vcpu))
		return -EINVAL;
	vcpu_know(vcpu, STATE_SYSCALL);
	*value = vcpu->msr.tsc_aux;
	return 0;
}

static int write_tsc_aux(struct vcpu *vcpu, u32 index, u64 value, enum msr_origin origin)
{
	if ((origin == MSR_GUEST && !has_tsc_aux(vcpu)) || value >> 32)
		return -EINVAL;
	vcpu_touch(vcpu, STATE_SYSCALL);
	vcpu->msr.tsc_aux = value;
	return 0;
}

/* The microcode's revision: a guest's write of 0 before CPUID is how Intel says to ask for it. */
static int read_patch_level(struct vcpu *vcpu, u32 index, u64 *value, enum msr_origin origin)
{
	*value = vcpu->msr.bios_sign ?: intel_guest(vcpu) ? PATCH_LEVEL_INTEL : PATCH_LEVEL_AMD;
	return 0;
}

static int write_patch_level(struct vcpu *vcpu, u32 index, u64 value, enum msr_origin origin)
{
	if (origin == MSR_HOST)
		vcpu->msr.bios_sign = value;
	return 0;
}

static int read_smbase(struct vcpu *vcpu, u32 index, u64 *value, enum msr_origin origin)
{
	if (origin == MSR_GUEST && !vcpu_in_smm(vcpu))
		return -EINVAL;
	*value = vcpu->smm.base;
	return 0;
}

static int write_smbase(struct vcpu *vcpu, u32 index, u64 value, enum msr_origin origin)
{
	if (origin == MSR_GUEST)
		return -EINVAL;
	vcpu->smm.base = value;
	return 0;
}

static int read_platform_info(struct vcpu *vcpu, u32 index, u64 *value, enum msr_origin origin)
{
	if (origin == MSR_GUEST && READ_ONCE(vcpu->vm->no_platform_info))
		return -EINVAL;
	*value = vcpu->msr.platform_info;
	return 0;
}

static int write_platform_info(struct vcpu *vcpu, u32 index, u64 value, enum msr_origin origin)
{
	if (origin == MSR_GUEST || (vcpu->msr.misc_features_enables & ~value & MSR_PLATFORM_INFO_CPUID_FAULT))
		return -EINVAL;
	vcpu->msr.platform_info = value;
	return 0;
}

static int read_misc_features(struct vcpu *vcpu, u32 index, u64 *value, enum msr_origin origin)
{
	*value = vcpu->msr.misc_features_enables;
	return 0;
}

/* CPUID faulting, where the platform says that there is such a thing. SDM volume 3, "CPUID Faulting". */
static int write_misc_features(struct vcpu *vcpu, u32 index, u64 value, enum msr_origin origin)
{
	if (value & ~(u64)MSR_MISC_FEATURES_ENABLES_CPUID_FAULT)
		return -EINVAL;
	if (value && !(vcpu->msr.platform_info & MSR_PLATFORM_INFO_CPUID_FAULT))
		return -EINVAL;
	vcpu->msr.misc_features_enables = value;
	return 0;
}

static int read_decfg(struct vcpu *vcpu, u32 index, u64 *value, enum msr_origin origin)
{
	*value = vcpu->msr.decfg;
	return 0;
}

/* Whether LFENCE serializes is the client's to say, of what the host has. APM volume 3, "LFENCE". */
static int write_decfg(struct vcpu *vcpu, u32 index, u64 value, enum msr_origin origin)
{
	if ((value & ~host_decfg()) || (origin == MSR_GUEST && value != vcpu->msr.decfg))
		return -EINVAL;
	vcpu->msr.decfg = value;
	return 0;
}

/* IA32_XSS: there is no component that it would enable. */
static int read_xss(struct vcpu *vcpu, u32 index, u64 *value, enum msr_origin origin)
{
	if (origin == MSR_GUEST && !cpuid_has_xsaves(vcpu))
		return -EINVAL;
	*value = 0;
	return 0;
}

static int write_xss(struct vcpu *vcpu, u32 index, u64 value, enum msr_origin origin)
{
	return value || (origin == MSR_GUEST && !cpuid_has_xsaves(vcpu)) ? -EINVAL : 0;
}

/* IA32_XFD and IA32_XFD_ERR. */
static int read_xfd(struct vcpu *vcpu, u32 index, u64 *value, enum msr_origin origin)
{
	if (origin == MSR_GUEST && !cpuid_has_xfd(vcpu))
		return -EINVAL;
	*value = fpu_get_xfd(vcpu, index);
	return 0;
}

static int write_xfd(struct vcpu *vcpu, u32 index, u64 value, enum msr_origin origin)
{
	if (origin == MSR_GUEST && !cpuid_has_xfd(vcpu))
		return -EINVAL;
	return fpu_set_xfd(vcpu, index, value);
}

static int read_zero(struct vcpu *vcpu, u32 index, u64 *value, enum msr_origin origin)
{
	*value = 0;
	return 0;
}

/* Knobs of the machine that guests turn without looking: the write is taken and does nothing. */
static int write_ignored(struct vcpu *vcpu, u32 index, u64 value, enum msr_origin origin)
{
	return 0;
}

static int write_zero(struct vcpu *vcpu, u32 index, u64 value, enum msr_origin origin)
{
	return value ? -EINVAL : 0;
}

static int read_mtrr_cap(struct vcpu *vcpu, u32 index, u64 *value, enum msr_origin origin)
{
	*value = MTRR_CAP;
	return 0;
}

static int write_refused(struct vcpu *vcpu, u32 index, u64 value, enum msr_origin origin)
{
	return -EINVAL;
}

/**
 * struct msr_range - MSRs with functions
 * @first: lowest number
 * @last: highest number
 * @read: what RDMSR gives, or -EINVAL
 * @write: what WRMSR does, or -EINVAL
 * @listed: worth saving by a client
 */
struct msr_range {
	u32 first, last;
	int (*read)(struct vcpu *vcpu, u32 index, u64 *value, enum msr_origin origin);
	int (*write)(struct vcpu *vcpu, u32 index, u64 value, enum msr_origin origin);
	bool listed;
};

static const struct msr_range ranges[] = {
	{ MSR_IA32_TSC_DEADLINE, MSR_IA32_TSC_DEADLINE, read_apic, write_apic, true },
	{ X2APIC_FIRST, X2APIC_LAST, read_apic, write_apic },
	{ MSR_EFER, MSR_EFER, read_efer, write_efer, true },
	{ MSR_IA32_TSC, MSR_IA32_TSC, read_tsc, write_tsc, true },
	{ MSR_IA32_TSC_ADJUST, MSR_IA32_TSC_ADJUST, read_tsc_adjust, write_tsc_adjust, true },
	{ MSR_IA32_APICBASE, MSR_IA32_APICBASE, read_apic, write_apic, true },
	{ MSR_IA32_SMBASE, MSR_IA32_SMBASE, read_smbase, write_smbase, true },
	{ MSR_TSC_AUX, MSR_TSC_AUX, read_tsc_aux, write_tsc_aux, true },
	{ MSR_IA32_UCODE_REV, MSR_IA32_UCODE_REV, read_patch_level, write_patch_level, true },
	{ MSR_KVM_WALL_CLOCK, MSR_KVM_WALL_CLOCK, read_paravirt, write_paravirt, true },
	{ MSR_KVM_SYSTEM_TIME, MSR_KVM_SYSTEM_TIME, read_paravirt, write_paravirt, true },
	{ MSR_KVM_WALL_CLOCK_NEW, MSR_KVM_WALL_CLOCK_NEW, read_paravirt, write_paravirt, true },
	{ MSR_KVM_SYSTEM_TIME_NEW, MSR_KVM_SYSTEM_TIME_NEW, read_paravirt, write_paravirt, true },
	{ MSR_KVM_STEAL_TIME, MSR_KVM_STEAL_TIME, read_paravirt, write_paravirt, true },
	{ MSR_KVM_PV_EOI_EN, MSR_KVM_PV_EOI_EN, read_paravirt, write_paravirt, true },
	{ MSR_KVM_POLL_CONTROL, MSR_KVM_POLL_CONTROL, read_paravirt, write_paravirt, true },
	{ MSR_IA32_XSS, MSR_IA32_XSS, read_xss, write_xss },
	{ MSR_MTRRcap, MSR_MTRRcap, read_mtrr_cap, write_refused },
	{ MSR_IA32_PLATFORM_ID, MSR_IA32_PLATFORM_ID, read_zero, write_refused },
	{ MSR_IA32_EBL_CR_POWERON, MSR_IA32_EBL_CR_POWERON, read_zero, write_ignored },
	{ MSR_PLATFORM_INFO, MSR_PLATFORM_INFO, read_platform_info, write_platform_info, true },
	{ MSR_MISC_FEATURES_ENABLES, MSR_MISC_FEATURES_ENABLES, read_misc_features, write_misc_features, true },
	{ MSR_AMD64_DE_CFG, MSR_AMD64_DE_CFG, read_decfg, write_decfg },
	{ MSR_AMD64_PATCH_LOADER, MSR_AMD64_PATCH_LOADER, read_zero, write_ignored },
	{ MSR_AMD64_SYSCFG, MSR_AMD64_SYSCFG, read_zero, write_ignored },
	{ MSR_K7_HWCR, MSR_K7_HWCR, read_zero, write_ignored },
	{ MSR_K8_TSEG_ADDR, MSR_K8_TSEG_MASK, read_zero, write_ignored },
	{ MSR_K8_INT_PENDING_MSG, MSR_K8_INT_PENDING_MSG, read_zero, write_ignored },
	{ MSR_FAM10H_MMIO_CONF_BASE, MSR_FAM10H_MMIO_CONF_BASE, read_zero, write_ignored },
	{ MSR_AMD64_NB_CFG, MSR_AMD64_NB_CFG, read_zero, write_ignored },
	{ MSR_AMD64_BU_CFG2, MSR_AMD64_BU_CFG2, read_zero, write_ignored },
	{ MSR_AMD64_IBSFETCHCTL, MSR_AMD64_IBSFETCHCTL, read_zero, write_zero },
	{ MSR_AMD64_DC_CFG, MSR_AMD64_DC_CFG, read_zero, write_ignored },
	{ MSR_F15H_EX_CFG, MSR_F15H_EX_CFG, read_zero, write_ignored },
	{ MSR_K7_EVNTSEL0, MSR_K7_PERFCTR3, read_zero, write_zero },
	{ MSR_IA32_MCG_CTL, MSR_IA32_MCG_CTL, mce_read_msr, mce_write_msr, true },
	{ MSR_IA32_MC0_CTL, MSR_IA32_MC0_CTL + 4 * MCE_MAX_BANKS - 1, mce_read_msr, mce_write_msr },
	{ MSR_IA32_MC0_CTL2, MSR_IA32_MC0_CTL2 + MCE_MAX_BANKS - 1, mce_read_ctl2, mce_write_ctl2 },
	{ MSR_IA32_BBL_CR_CTL, MSR_IA32_BBL_CR_CTL3, read_zero, write_ignored },
	{ MSR_DRAM_ENERGY_STATUS, MSR_DRAM_ENERGY_STATUS, read_zero, write_refused },
	{ MSR_RAPL_POWER_UNIT, MSR_RAPL_POWER_UNIT, read_zero, write_refused },
	{ MSR_PP0_ENERGY_STATUS, MSR_PP0_ENERGY_STATUS, read_zero, write_refused },
	{ MSR_PP1_ENERGY_STATUS, MSR_PP1_ENERGY_STATUS, read_zero, write_refused },
	{ MSR_PKG_ENERGY_STATUS, MSR_PKG_ENERGY_STATUS, read_zero, write_refused },
	{ MSR_IA32_LASTBRANCHFROMIP, MSR_IA32_LASTINTTOIP, read_zero, write_refused },
	{ MSR_IA32_XFD, MSR_IA32_XFD_ERR, read_xfd, write_xfd },
};

static const struct msr_range *find_range(u32 index)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(ranges); i++)
		if (index >= ranges[i].first && index <= ranges[i].last)
			return &ranges[i];
	return NULL;
}

int msr_read(struct vcpu *vcpu, u32 index, u64 *value, enum msr_origin origin)
{
	const struct msr_range *range = find_range(index);
	struct msr_field field;

	if (range)
		return range->read(vcpu, index, value, origin);
	if (!find_field(index, &field))
		return -ENOENT;
	vcpu_know(vcpu, field.state);
	*value = *(u64 *)((void *)vcpu + field.offset);
	return 0;
}

int msr_write(struct vcpu *vcpu, u32 index, u64 value, enum msr_origin origin)
{
	const struct msr_range *range = find_range(index);
	struct msr_field field;

	if (range)
		return range->write(vcpu, index, value, origin);
	if (!find_field(index, &field))
		return -ENOENT;
	if (!field.may_write(vcpu, value) && !(origin == MSR_HOST && field.may_write == nothing))
		return -EINVAL;
	vcpu_touch(vcpu, field.state);
	*(u64 *)((void *)vcpu + field.offset) = value;
	return 0;
}

static void list_one(u32 *indices, unsigned int max, unsigned int *nr, u32 index)
{
	if (*nr < max)
		indices[*nr] = index;
	(*nr)++;
}

unsigned int msr_list(u32 *indices, unsigned int max)
{
	unsigned int i, nr = 0;

	for (i = 0; i < ARRAY_SIZE(fields); i++)
		if (fields[i].listed)
			list_one(indices, max, &nr, fields[i].index);
	for (i = 0; i < ARRAY_SIZE(ranges); i++)
		if (ranges[i].listed)
			list_one(indices, max, &nr, ranges[i].first);
	for (i = MSR_IA32_XFD; i <= MSR_IA32_XFD_ERR && fpu_supports_tiles(); i++)
		list_one(indices, max, &nr, i);
	for (i = 0; i < ARRAY_SIZE(mtrr_fixed_msrs); i++)
		list_one(indices, max, &nr, mtrr_fixed_msrs[i]);
	for (i = 0; i < MTRR_VARIABLE_RANGES * 2; i++)
		list_one(indices, max, &nr, MTRRphysBase_MSR(0) + i);
	return nr;
}

unsigned int msr_feature_list(u32 *indices, unsigned int max)
{
	unsigned int nr = 0;

	list_one(indices, max, &nr, MSR_IA32_UCODE_REV);
	if (host_decfg())
		list_one(indices, max, &nr, MSR_AMD64_DE_CFG);
	return nr;
}

int msr_feature_read(u32 index, u64 *value)
{
	switch (index) {
	case MSR_IA32_UCODE_REV:
		return rdmsrl_safe(index, value);
	case MSR_AMD64_DE_CFG:
		*value = host_decfg();
		return 0;
	}
	return -ENOENT;
}

void msr_reset(struct vcpu *vcpu)
{
	u64 apic_base = vcpu->msr.apic_base;

	memset(&vcpu->msr, 0, sizeof(vcpu->msr));
	vcpu->msr.apic_base = apic_base;
	vcpu->msr.pat = PAT_RESET;
	vcpu->msr.misc_enable = MISC_ENABLE_RESET;
	vcpu->msr.platform_info = MSR_PLATFORM_INFO_CPUID_FAULT;
	vcpu->msr.mcg_cap = MCE_MAX_BANKS;
}
