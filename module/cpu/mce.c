// SPDX-License-Identifier: GPL-2.0
/* Source: SDM volume 3, "Machine-Check Architecture"; KVM's api.rst, "KVM_X86_SETUP_MCE", "KVM_X86_SET_MCE". */
#include <asm/mce.h>
#include <asm/msr-index.h>
#include <asm/processor-flags.h>

#include "mce.h"

/* The registers of a bank, in the order of their MSRs. */
enum { CTL, STATUS, ADDR, MISC };

static unsigned int nr_banks(const struct vcpu *vcpu)
{
	return vcpu->msr.mcg_cap & MCG_BANKCNT_MASK;
}

int mce_set_cap(struct vcpu *vcpu, u64 cap)
{
	unsigned int i, banks = cap & MCG_BANKCNT_MASK;

	if (!banks || banks > MCE_MAX_BANKS || (cap & ~(u64)(MCE_CAP_SUPPORTED | MCG_BANKCNT_MASK | MCG_EXT_CNT_MASK)))
		return -EINVAL;
	vcpu->msr.mcg_cap = cap;
	if (cap & MCG_CTL_P)
		vcpu->mcg_ctl = ~0ull;
	for (i = 0; i < banks; i++)
		vcpu->mce[i][CTL] = ~0ull;
	return 0;
}

/* An uncorrected error counts for nothing where the guest has turned its report off. */
static bool reported(const struct vcpu *vcpu, const u64 *bank)
{
	return !((vcpu->msr.mcg_cap & MCG_CTL_P) && vcpu->mcg_ctl != ~0ull) && bank[CTL] == ~0ull;
}

static void fill(u64 *bank, const struct kvm_x86_mce *mce)
{
	u64 overflow = bank[STATUS] & MCI_STATUS_VAL ? MCI_STATUS_OVER : 0;

	bank[STATUS] = mce->status | overflow;
	bank[ADDR] = mce->addr;
	bank[MISC] = mce->misc;
}

static void uncorrected(struct vcpu *vcpu, u64 *bank, const struct kvm_x86_mce *mce)
{
	static const struct exception machine_check = { .vector = VECTOR_MC };

	vcpu_know(vcpu, STATE_CR4);
	/* A second one while the first is handled, or one that nobody handles. SDM, "IA32_MCG_STATUS MSR", "CR4.MCE". */
	if ((vcpu->msr.mcg_status & MCG_STATUS_MCIP) || !(vcpu->cr4 & X86_CR4_MCE)) {
		vcpu_request(vcpu, REQ_TRIPLE_FAULT);
		return;
	}
	fill(bank, mce);
	vcpu->msr.mcg_status = mce->mcg_status;
	vcpu_raise(vcpu, &machine_check);
}

int mce_set(struct vcpu *vcpu, const struct kvm_x86_mce *mce)
{
	u64 *bank;

	if (mce->bank >= nr_banks(vcpu) || !(mce->status & MCI_STATUS_VAL))
		return -EINVAL;
	bank = vcpu->mce[array_index_nospec(mce->bank, MCE_MAX_BANKS)];
	if (mce->status & MCI_STATUS_UC) {
		if (reported(vcpu, bank))
			uncorrected(vcpu, bank, mce);
	} else if ((bank[STATUS] & MCI_STATUS_VAL) && (bank[STATUS] & MCI_STATUS_UC)) {
		/* A corrected error does not take the place of an uncorrected one. */
		bank[STATUS] |= MCI_STATUS_OVER;
	} else {
		fill(bank, mce);
	}
	return 0;
}

/* The register of a bank; NULL: the guest has none such. */
static u64 *bank_register(struct vcpu *vcpu, u32 index)
{
	u32 i = index - MSR_IA32_MC0_CTL;

	if (i / 4 >= nr_banks(vcpu))
		return NULL;
	return &vcpu->mce[array_index_nospec(i / 4, MCE_MAX_BANKS)][i % 4];
}

int mce_read_msr(struct vcpu *vcpu, u32 index, u64 *value, enum msr_origin origin)
{
	const u64 *reg = &vcpu->mcg_ctl;

	if (index != MSR_IA32_MCG_CTL)
		reg = bank_register(vcpu, index);
	else if (!(vcpu->msr.mcg_cap & MCG_CTL_P) && origin == MSR_GUEST)
		return -EINVAL;
	if (!reg)
		return -EINVAL;
	*value = *reg;
	return 0;
}

static int write_mcg_ctl(struct vcpu *vcpu, u64 value, enum msr_origin origin)
{
	if (!(vcpu->msr.mcg_cap & MCG_CTL_P) && (value || origin == MSR_GUEST))
		return -EINVAL;
	if (value && value != ~0ull)
		return -EINVAL;
	vcpu->mcg_ctl = value;
	return 0;
}

/* All or nothing; but Linux clears bit 10 of bank 4 on AMD's K8, and bit 0 of Intel's bank 0, and KVM lets it. */
static bool ctl_valid(u64 value)
{
	return !value || (value | BIT_ULL(10) | BIT_ULL(0)) == ~0ull;
}

int mce_write_msr(struct vcpu *vcpu, u32 index, u64 value, enum msr_origin origin)
{
	u32 which = (index - MSR_IA32_MC0_CTL) % 4;
	u64 *reg;

	if (index == MSR_IA32_MCG_CTL)
		return write_mcg_ctl(vcpu, value, origin);
	reg = bank_register(vcpu, index);
	if (!reg || (which == CTL && !ctl_valid(value)))
		return -EINVAL;
	/* Software clears a status and writes nothing else. SDM, "IA32_MCi_STATUS MSRs". */
	if (which == STATUS && value && origin == MSR_GUEST)
		return -EINVAL;
	*reg = value;
	return 0;
}
