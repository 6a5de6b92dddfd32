// SPDX-License-Identifier: GPL-2.0
/*
 * CPUID. A guest may see a feature if the host has it (or pith provides it) and a guest's use of it works here; the
 * table below says which. A bit that is not in it is not offered, however new the CPU.
 * Source: SDM volume 2, "CPUID"; APM volume 3, "Obtaining Processor Information Via the CPUID Instruction".
 */
#include <linux/kvm_para.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include <asm/cpufeature.h>
#include <asm/processor.h>

#include "../backend.h"
#include "../irq/irqchip.h"
#include "cpuid.h"
#include "fpu.h"
#include "paravirt.h"

#define XSAVE_LEAF 0xd
#define XSAVE_LEGACY_SIZE 576
#define TILE_LEAF 0x1d
#define TMUL_LEAF 0x1e
/* Of a component's ECX. */
#define COMPONENT_ALIGNED BIT(1) /* to 64 bytes in the compacted format */
#define COMPONENT_XFD BIT(2)	 /* IA32_XFD can disable it */

/* The bit of a feature word, without its word. */
#define F(name) BIT((X86_FEATURE_##name) & 31)

/**
 * struct cpuid_rule - what of one leaf is passed on
 * @function: the leaf
 * @index: the subleaf
 * @indexed: the subleaf counts
 * @pass: registers that are the host's as they are (sizes, names, cache geometry): a bit of enum cpuid_regs_idx each
 * @allow: bits of the host's that a guest may see, of registers not in @pass
 * @add: bits that pith provides whatever the host has
 */
struct cpuid_rule {
	u32 function;
	u32 index;
	u8 pass;
	bool indexed;
	u32 allow[4];
	u32 add[4];
};

#define PASS_ALL 0xf

static const struct cpuid_rule rules[] = {
	{ .function = 0, .pass = PASS_ALL },
	{
		.function = 1,
		.pass = BIT(CPUID_EAX) | BIT(CPUID_EBX),
		.allow[CPUID_EDX] = F(FPU) | F(VME) | F(DE) | F(PSE) | F(TSC) | F(MSR) | F(PAE) | F(MCE) | F(CX8) |
				    F(APIC) | F(SEP) | F(MTRR) | F(PGE) | F(MCA) | F(CMOV) | F(PAT) | F(PSE36) |
				    F(CLFLUSH) | F(MMX) | F(FXSR) | F(XMM) | F(XMM2) | F(SELFSNOOP),
		.allow[CPUID_ECX] = F(XMM3) | F(PCLMULQDQ) | F(SSSE3) | F(FMA) | F(CX16) | F(PCID) | F(XMM4_1) |
				    F(XMM4_2) | F(MOVBE) | F(POPCNT) | F(AES) | F(XSAVE) | F(AVX) | F(F16C) | F(RDRAND),
		.add[CPUID_ECX] = F(X2APIC) | F(HYPERVISOR),
	},
	{ .function = 2, .pass = PASS_ALL },
	{ .function = 4, .index = 0, .indexed = true, .pass = PASS_ALL },
	{ .function = 4, .index = 1, .indexed = true, .pass = PASS_ALL },
	{ .function = 4, .index = 2, .indexed = true, .pass = PASS_ALL },
	{ .function = 4, .index = 3, .indexed = true, .pass = PASS_ALL },
	{ .function = 6, .add[CPUID_EAX] = BIT(2) /* ARAT: the APIC timer runs in every C-state */ },
	{
		.function = 7,
		.indexed = true,
		.allow[CPUID_EBX] = F(FSGSBASE) | F(BMI1) | F(AVX2) | F(SMEP) | F(BMI2) | F(ERMS) | F(INVPCID) |
				    F(RDSEED) | F(ADX) | F(SMAP) | F(CLFLUSHOPT) | F(CLWB) | F(SHA_NI) | F(AVX512F) |
				    F(AVX512DQ) | F(AVX512IFMA) | F(AVX512PF) | F(AVX512ER) | F(AVX512CD) |
				    F(AVX512BW) | F(AVX512VL),
		.add[CPUID_EBX] = F(TSC_ADJUST),
		.allow[CPUID_ECX] = F(AVX512VBMI) | F(PKU) | F(AVX512_VBMI2) | F(GFNI) | F(VAES) | F(VPCLMULQDQ) |
				    F(AVX512_VNNI) | F(AVX512_BITALG) | F(AVX512_VPOPCNTDQ) | F(RDPID) | F(CLDEMOTE) |
				    F(MOVDIRI) | F(MOVDIR64B) | F(LA57),
		.allow[CPUID_EDX] = F(AVX512_4VNNIW) | F(AVX512_4FMAPS) | F(FSRM) | F(AVX512_VP2INTERSECT) |
				    F(SERIALIZE) | F(AMX_BF16) | F(AMX_TILE) | F(AMX_INT8),
	},
	{ .function = 0xb, .index = 0, .indexed = true, .pass = PASS_ALL },
	{ .function = 0xb, .index = 1, .indexed = true, .pass = PASS_ALL },
	{ .function = TILE_LEAF, .index = 0, .indexed = true, .pass = PASS_ALL },
	{ .function = TILE_LEAF, .index = 1, .indexed = true, .pass = PASS_ALL },
	{ .function = TMUL_LEAF, .index = 0, .indexed = true, .pass = BIT(CPUID_EBX) },
	{ .function = 0x80000000, .pass = PASS_ALL },
	{
		.function = 0x80000001,
		.pass = BIT(CPUID_EAX) | BIT(CPUID_EBX),
		.allow[CPUID_EDX] = F(FPU) | F(VME) | F(DE) | F(PSE) | F(TSC) | F(MSR) | F(PAE) | F(MCE) | F(CX8) |
				    F(APIC) | F(SYSCALL) | F(MTRR) | F(PGE) | F(MCA) | F(CMOV) | F(PAT) | F(PSE36) |
				    F(NX) | F(MMXEXT) | F(MMX) | F(FXSR) | F(FXSR_OPT) | F(GBPAGES) | F(RDTSCP) |
				    F(LM) | F(3DNOWEXT) | F(3DNOW),
		.allow[CPUID_ECX] = F(LAHF_LM) | F(CMP_LEGACY) | F(CR8_LEGACY) | F(ABM) | F(SSE4A) | F(MISALIGNSSE) |
				    F(3DNOWPREFETCH) | F(XOP) | F(FMA4) | F(TBM),
	},
	{ .function = 0x80000002, .pass = PASS_ALL },
	{ .function = 0x80000003, .pass = PASS_ALL },
	{ .function = 0x80000004, .pass = PASS_ALL },
	{ .function = 0x80000005, .pass = PASS_ALL },
	{ .function = 0x80000006, .pass = PASS_ALL },
	{ .function = 0x80000007, .allow[CPUID_EDX] = BIT(8) /* invariant TSC */ },
	{
		.function = 0x80000008,
		.pass = BIT(CPUID_EAX),
		.allow[CPUID_EBX] = F(CLZERO) | F(XSAVEERPTR) | F(WBNOINVD),
	},
};

static u32 *entry_register(struct kvm_cpuid_entry2 *e, enum cpuid_regs_idx reg)
{
	return (u32 *[]){ &e->eax, &e->ebx, &e->ecx, &e->edx }[reg];
}

static u32 host_max(u32 base)
{
	return cpuid_eax(base);
}

/* A leaf beyond the host's last one reads as something else there: leave it out. */
static bool host_has_leaf(u32 function)
{
	return function <= host_max(function & 0x80000000);
}

/* Whether a rule's leaf is told at all. */
static bool has_leaf(const struct cpuid_rule *rule)
{
	if (rule->function == TILE_LEAF || rule->function == TMUL_LEAF)
		return fpu_supports_tiles();
	return host_has_leaf(rule->function) || memchr_inv(rule->add, 0, sizeof(rule->add));
}

/*
 * The kernel may have turned off a feature that CPUID still reports (clearcpuid=, mitigations); what it does not use
 * guests do not get. Only for words that the kernel keeps.
 */
static u32 kernel_mask(u32 function, enum cpuid_regs_idx reg, u32 host)
{
	static const struct {
		u32 function;
		enum cpuid_regs_idx reg;
		int word;
	} kept[] = {
		{ 1, CPUID_EDX, CPUID_1_EDX },
		{ 1, CPUID_ECX, CPUID_1_ECX },
		{ 7, CPUID_EBX, CPUID_7_0_EBX },
		{ 7, CPUID_ECX, CPUID_7_ECX },
		{ 7, CPUID_EDX, CPUID_7_EDX },
		{ XSAVE_LEAF, CPUID_EAX, CPUID_D_1_EAX },
		{ 0x80000001, CPUID_ECX, CPUID_8000_0001_ECX },
		{ 0x80000008, CPUID_EBX, CPUID_8000_0008_EBX },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(kept); i++)
		if (kept[i].function == function && kept[i].reg == reg)
			return host & boot_cpu_data.x86_capability[kept[i].word];
	return host;
}

static void apply_rule(const struct cpuid_rule *rule, struct kvm_cpuid_entry2 *e)
{
	enum cpuid_regs_idx reg;

	*e = (struct kvm_cpuid_entry2){ .function = rule->function, .index = rule->index };
	if (rule->indexed)
		e->flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
	if (host_has_leaf(rule->function))
		cpuid_count(rule->function, rule->index, &e->eax, &e->ebx, &e->ecx, &e->edx);
	for (reg = CPUID_EAX; reg <= CPUID_EDX; reg++) {
		u32 *value = entry_register(e, reg);

		if (rule->pass & BIT(reg))
			continue;
		*value = kernel_mask(rule->function, reg, *value & rule->allow[reg]) | rule->add[reg];
	}
}

/* What a rule cannot say. */
static void adjust(struct kvm_cpuid_entry2 *e)
{
	switch (e->function) {
	case 0:
		e->eax = min_t(u32, e->eax, fpu_supports_tiles() ? TMUL_LEAF : XSAVE_LEAF);
		break;
	case 1:
		/* The initial APIC id and the processor count are the client's to fill. */
		e->ebx &= GENMASK(15, 8);
		break;
	case 2:
		/* One read tells it all. */
		e->eax = (e->eax & ~0xffu) | 1;
		break;
	case 4:
		e->eax &= GENMASK(9, 0);
		break;
	case 0xb:
		/* One thread: the client says otherwise. */
		e->eax = e->edx = 0;
		e->ebx = 0;
		e->ecx = e->index;
		break;
	case 7:
		e->eax = 0;
		if (!(fpu_supported_xcr0() & BIT(9)))
			e->ecx &= ~F(PKU);
		if (!fpu_supports_tiles())
			e->edx &= ~(F(AMX_BF16) | F(AMX_TILE) | F(AMX_INT8));
		break;
	case TILE_LEAF:
		/* One palette. */
		if (!e->index)
			e->eax = min(e->eax, 1u);
		break;
	case 0x80000000:
		e->eax = min(e->eax, 0x80000008u);
		break;
	case 0x80000008:
		/* Of EAX: physical and linear address width. */
		e->eax &= GENMASK(15, 0);
		e->ecx = e->edx = 0;
		break;
	}
}

static const struct kvm_cpuid_entry2 *find(const struct kvm_cpuid_entry2 *entries, int nr, u32 function, u32 index)
{
	const struct kvm_cpuid_entry2 *e;

	for (e = entries; e < entries + nr; e++)
		if (e->function == function && (!(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) || e->index == index))
			return e;
	return NULL;
}

/*
 * Bytes that XSAVE writes with these components enabled, or XSAVEC and XSAVES, which put one after the other. SDM volume 1,
 * "Standard Format of an XSAVE Area", "Compacted Format of an XSAVE Area".
 */
static u32 xsave_size(const struct kvm_cpuid_entry2 *entries, int nr, u64 components, bool compacted)
{
	const struct kvm_cpuid_entry2 *e;
	u32 size = XSAVE_LEGACY_SIZE;
	int i;

	for (i = 2; i < 63; i++) {
		e = components & BIT_ULL(i) ? find(entries, nr, XSAVE_LEAF, i) : NULL;
		if (e && compacted)
			size = (e->ecx & COMPONENT_ALIGNED ? ALIGN(size, 64) : size) + e->eax;
		else if (e)
			size = max(size, e->eax + e->ebx);
	}
	return size;
}

/* Of subleaf 1, where the size of the compacted form is told only if there is one. */
static bool has_compacted_form(const struct kvm_cpuid_entry2 *e)
{
	return e && (e->eax & (F(XSAVEC) | F(XSAVES)));
}

/* The forms of XSAVE. There is no component that IA32_XSS would enable. */
static void xsave_forms(struct kvm_cpuid_entry2 *e)
{
	e->eax &= F(XSAVEOPT) | F(XSAVEC) | F(XGETBV1) | (backend.has_xsaves ? F(XSAVES) : 0) |
		  (fpu_supports_tiles() ? F(XFD) : 0);
	e->eax = kernel_mask(XSAVE_LEAF, CPUID_EAX, e->eax);
	e->ecx = e->edx = 0;
}

/* Leaf 0Dh: the components that pith switches; sizes are given for all of them and follow XCR0 at run time. */
static int xsave_leaves(struct kvm_cpuid_entry2 *entries, int max)
{
	u64 xcr0 = fpu_permitted_xcr0();
	int i, nr = 0;

	for (i = 0; i < 63; i++) {
		struct kvm_cpuid_entry2 *e = &entries[nr];

		if (i >= 2 && !(xcr0 & BIT_ULL(i)))
			continue;
		if (nr == max)
			return -E2BIG;
		nr++;
		*e = (struct kvm_cpuid_entry2){ .function = XSAVE_LEAF,
						.index = i,
						.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX };
		cpuid_count(XSAVE_LEAF, i, &e->eax, &e->ebx, &e->ecx, &e->edx);
		e->ecx &= COMPONENT_ALIGNED | COMPONENT_XFD;
		e->edx = 0;
	}
	entries[0].eax = xcr0;
	entries[0].edx = xcr0 >> 32;
	entries[0].ebx = entries[0].ecx = xsave_size(entries, nr, xcr0, false);
	xsave_forms(&entries[1]);
	entries[1].ebx = has_compacted_form(&entries[1]) ? xsave_size(entries, nr, xcr0, true) : 0;
	return nr;
}

/* The hypervisor's own leaves. Source: Documentation/virt/kvm/x86/cpuid.rst */
static int hypervisor_leaves(struct kvm_cpuid_entry2 *entries, int max)
{
	static const u32 signature[3] = { 0x4b4d564b, 0x564b4d56, 0x4d }; /* KVMKVMKVM */

	if (max < 2)
		return -E2BIG;
	entries[0] = (struct kvm_cpuid_entry2){ .function = KVM_CPUID_SIGNATURE,
						.eax = KVM_CPUID_FEATURES,
						.ebx = signature[0],
						.ecx = signature[1],
						.edx = signature[2] };
	entries[1] = (struct kvm_cpuid_entry2){ .function = KVM_CPUID_FEATURES, .eax = pv_features() };
	return 2;
}

int cpuid_supported(struct kvm_cpuid_entry2 *entries, int max)
{
	int (*const more[])(struct kvm_cpuid_entry2 *, int) = { xsave_leaves, hypervisor_leaves };
	unsigned int i;
	int r, nr = 0;

	for (i = 0; i < ARRAY_SIZE(rules); i++) {
		if (!has_leaf(&rules[i]))
			continue;
		if (nr == max)
			return -E2BIG;
		apply_rule(&rules[i], &entries[nr]);
		adjust(&entries[nr++]);
	}
	for (i = 0; i < ARRAY_SIZE(more); i++) {
		r = more[i](entries + nr, max - nr);
		if (r < 0)
			return r;
		nr += r;
	}
	return nr;
}

/* -- a vCPU's ---------------------------------------------------------------------------------------------------- */

const struct kvm_cpuid_entry2 *cpuid_find(const struct vcpu *vcpu, u32 function, u32 index)
{
	return find(vcpu->cpuid, vcpu->nr_cpuid, function, index);
}

bool cpuid_has(const struct vcpu *vcpu, u32 function, u32 index, enum cpuid_regs_idx reg, unsigned int bit)
{
	const struct kvm_cpuid_entry2 *e = cpuid_find(vcpu, function, index);

	return e && (*entry_register((struct kvm_cpuid_entry2 *)e, reg) & BIT(bit));
}

bool cpuid_has_xsaves(const struct vcpu *vcpu)
{
	return cpuid_has(vcpu, XSAVE_LEAF, 1, CPUID_EAX, X86_FEATURE_XSAVES & 31);
}

bool cpuid_has_xfd(const struct vcpu *vcpu)
{
	return cpuid_has(vcpu, XSAVE_LEAF, 1, CPUID_EAX, X86_FEATURE_XFD & 31);
}

/* The components that leaf 0Dh grants. */
static u64 granted_xcr0(const struct kvm_cpuid_entry2 *entries, int nr)
{
	const struct kvm_cpuid_entry2 *e = find(entries, nr, XSAVE_LEAF, 0);

	return e ? e->eax | (u64)e->edx << 32 : 0;
}

/* CR4 bits that are reserved unless the guest was given the feature. */
static const struct {
	u64 cr4;
	u32 function;
	enum cpuid_regs_idx reg;
	int feature;
} cr4_features[] = {
	{ X86_CR4_OSXSAVE, 1, CPUID_ECX, X86_FEATURE_XSAVE },	  { X86_CR4_PCIDE, 1, CPUID_ECX, X86_FEATURE_PCID },
	{ X86_CR4_FSGSBASE, 7, CPUID_EBX, X86_FEATURE_FSGSBASE }, { X86_CR4_SMEP, 7, CPUID_EBX, X86_FEATURE_SMEP },
	{ X86_CR4_SMAP, 7, CPUID_EBX, X86_FEATURE_SMAP },	  { X86_CR4_PKE, 7, CPUID_ECX, X86_FEATURE_PKU },
	{ X86_CR4_LA57, 7, CPUID_ECX, X86_FEATURE_LA57 },	  { X86_CR4_UMIP, 7, CPUID_ECX, X86_FEATURE_UMIP },
};

/* What every 64-bit CPU has, whatever a client leaves out of CPUID. */
#define CR4_ALWAYS                                                                                        \
	(X86_CR4_VME | X86_CR4_PVI | X86_CR4_TSD | X86_CR4_DE | X86_CR4_PSE | X86_CR4_PAE | X86_CR4_MCE | \
	 X86_CR4_PGE | X86_CR4_PCE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT)

/* Whether a guest can be given a feature here. */
static bool offered(u32 function, enum cpuid_regs_idx reg, int feature)
{
	struct kvm_cpuid_entry2 e;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(rules); i++) {
		if (rules[i].function != function)
			continue;
		apply_rule(&rules[i], &e);
		adjust(&e);
		return *entry_register(&e, reg) & BIT(feature & 31);
	}
	return false;
}

/* As long as a client has not said what the guest has, CR4 takes all that there is. */
static bool grants(struct vcpu *vcpu, u32 function, enum cpuid_regs_idx reg, int feature)
{
	if (!vcpu->nr_cpuid)
		return offered(function, reg, feature);
	return cpuid_has(vcpu, function, 0, reg, feature & 31);
}

static void derive_cr4(struct vcpu *vcpu)
{
	u64 allowed = CR4_ALWAYS;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cr4_features); i++)
		if (grants(vcpu, cr4_features[i].function, cr4_features[i].reg, cr4_features[i].feature))
			allowed |= cr4_features[i].cr4;
	vcpu->cr4_reserved = ~allowed;
}

static void derive_efer(struct vcpu *vcpu)
{
	u64 allowed = EFER_SCE;

	if (!vcpu->nr_cpuid || cpuid_has(vcpu, 0x80000001, 0, CPUID_EDX, X86_FEATURE_LM & 31))
		allowed |= EFER_LME;
	if (!vcpu->nr_cpuid || cpuid_has(vcpu, 0x80000001, 0, CPUID_EDX, X86_FEATURE_NX & 31))
		allowed |= EFER_NX;
	if (cpuid_has(vcpu, 0x80000001, 0, CPUID_EDX, X86_FEATURE_FXSR_OPT & 31))
		allowed |= EFER_FFXSR;
	vcpu->efer_allowed = allowed;
}

static void derive(struct vcpu *vcpu, u64 xcr0)
{
	const struct kvm_cpuid_entry2 *e;

	e = cpuid_find(vcpu, 0x80000000, 0);
	vcpu->maxphyaddr = 36;
	if (e && e->eax >= 0x80000008) {
		e = cpuid_find(vcpu, 0x80000008, 0);
		if (e)
			vcpu->maxphyaddr = clamp_t(u32, e->eax & 0xff, 32, 52);
	}
	vcpu->supported_xcr0 = xcr0 & fpu_supported_xcr0();
	derive_cr4(vcpu);
	derive_efer(vcpu);
}

/* A leaf above the highest of its range reads as the highest basic one on Intel, as zero on AMD. SDM, "CPUID". */
static const struct kvm_cpuid_entry2 *out_of_range(struct vcpu *vcpu, u32 function, u32 index)
{
	const struct kvm_cpuid_entry2 *first = cpuid_find(vcpu, 0, 0);
	static const u32 intel = 0x756e6547; /* EBX of leaf 0: Genu */
	u32 range = function & 0xffff0000;

	if (!first || first->ebx != intel)
		return NULL;
	if (range) {
		const struct kvm_cpuid_entry2 *top = cpuid_find(vcpu, range, 0);

		if (top && function <= top->eax)
			return NULL;
	} else if (function <= first->eax) {
		return NULL;
	}
	return cpuid_find(vcpu, first->eax, index);
}

/* Bits that mirror the vCPU's own state. */
static void add_state(struct vcpu *vcpu, u32 function, u32 index, u64 *gpr)
{
	if (function == 1) {
		gpr[REG_RCX] &= ~(u64)F(OSXSAVE);
		if (vcpu->cr4 & X86_CR4_OSXSAVE)
			gpr[REG_RCX] |= F(OSXSAVE);
		if (!(vcpu->msr.apic_base & MSR_IA32_APICBASE_ENABLE))
			gpr[REG_RDX] &= ~(u64)F(APIC);
		if (READ_ONCE(vcpu->vm->disabled_quirks) & KVM_X86_QUIRK_MISC_ENABLE_NO_MWAIT) {
			gpr[REG_RCX] &= ~(u64)F(MWAIT);
			if (vcpu->msr.misc_enable & MSR_IA32_MISC_ENABLE_MWAIT)
				gpr[REG_RCX] |= F(MWAIT);
		}
	} else if (function == 7 && index == 0) {
		gpr[REG_RCX] &= ~(u64)F(OSPKE);
		if (vcpu->cr4 & X86_CR4_PKE)
			gpr[REG_RCX] |= F(OSPKE);
	} else if (function == XSAVE_LEAF && index == 0) {
		gpr[REG_RBX] = xsave_size(vcpu->cpuid, vcpu->nr_cpuid, vcpu->xcr0, false);
	} else if (function == XSAVE_LEAF && index == 1 && has_compacted_form(cpuid_find(vcpu, XSAVE_LEAF, 1))) {
		gpr[REG_RBX] = xsave_size(vcpu->cpuid, vcpu->nr_cpuid, vcpu->xcr0, true);
	}
}

static void update_entry(struct vcpu *vcpu, struct kvm_cpuid_entry2 *entry)
{
	u64 gpr[REG_RBX + 1] = { [REG_RBX] = entry->ebx, [REG_RCX] = entry->ecx, [REG_RDX] = entry->edx };

	add_state(vcpu, entry->function, entry->index, gpr);
	entry->ebx = gpr[REG_RBX];
	entry->ecx = gpr[REG_RCX];
	entry->edx = gpr[REG_RDX];
}

void cpuid_get(struct vcpu *vcpu, int i, struct kvm_cpuid_entry2 *entry)
{
	*entry = vcpu->cpuid[i];
	update_entry(vcpu, entry);
}

static bool same_cpuid(struct vcpu *vcpu, struct kvm_cpuid_entry2 *entries, int nr)
{
	struct kvm_cpuid_entry2 mine;
	int i;

	if (nr != vcpu->nr_cpuid)
		return false;
	for (i = 0; i < nr; i++) {
		cpuid_get(vcpu, i, &mine);
		update_entry(vcpu, &entries[i]);
		if (memcmp(&mine, &entries[i], offsetof(struct kvm_cpuid_entry2, padding)))
			return false;
	}
	return true;
}

int cpuid_set(struct vcpu *vcpu, struct kvm_cpuid_entry2 *entries, int nr)
{
	u64 xcr0;
	int r;

	/* What a guest has seen of its CPU does not change any more. */
	if (vcpu->last_cpu >= 0) {
		if (!same_cpuid(vcpu, entries, nr))
			return -EINVAL;
		kvfree(entries);
		return 0;
	}
	xcr0 = granted_xcr0(entries, nr);
	r = fpu_enable(vcpu, xcr0);
	if (r)
		return r;
	kvfree(vcpu->cpuid);
	vcpu->cpuid = entries;
	vcpu->nr_cpuid = nr;
	derive(vcpu, xcr0);
	irq_features_changed(vcpu);
	backend.set_intercepts(vcpu);
	return 0;
}

void cpuid_execute(struct vcpu *vcpu, u32 function, u32 index, u64 *gpr)
{
	const struct kvm_cpuid_entry2 *e = cpuid_find(vcpu, function, index);

	if (!e)
		e = out_of_range(vcpu, function, index);
	gpr[REG_RAX] = e ? e->eax : 0;
	gpr[REG_RBX] = e ? e->ebx : 0;
	gpr[REG_RCX] = e ? e->ecx : 0;
	gpr[REG_RDX] = e ? e->edx : 0;
	if (e)
		add_state(vcpu, function, index, gpr);
	else if (function == 0xb) {
		/* Beyond the last level: its number, and the APIC id, are still told. */
		gpr[REG_RCX] = index & 0xff;
		gpr[REG_RDX] = vcpu->id;
	}
}
