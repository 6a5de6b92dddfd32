// SPDX-License-Identifier: GPL-2.0
/* Source: SDM volume 3, "Machine-Check Architecture"; KVM's api.rst, "KVM_X86_SETUP_MCE", "KVM_X86_SET_MCE". */
#include <asm/mce.h>
#include <asm/msr-index.h>
#include <asm/processor-flags.h>

#include "../backend.h"
#include "../irq/irqchip.h"
#include "mce.h"

/* The registers of a bank, in the order of their MSRs. */
enum { CTL, STATUS, ADDR, MISC };

static unsigned int nr_banks(const struct vcpu *vcpu)
{
	return vcpu->msr.mcg_cap & MCG_BANKCNT_MASK;
}

u64 mce_supported_cap(void)
{
	return MCE_CAP_SUPPORTED | backend.mcg_cap;
}

int mce_set_cap(struct vcpu *vcpu, u64 cap)
{
	unsigned int i, banks = cap & MCG_BANKCNT_MASK;

	if (!banks || banks > MCE_MAX_BANKS || (cap & ~(mce_supported_cap() | MCG_BANKCNT_MASK | MCG_EXT_CNT_MASK)))
		return -EINVAL;
	vcpu->msr.mcg_cap = cap;
	if (cap & MCG_CTL_P)
		vcpu->mcg_ctl = ~0ull;
	for (i = 0; i < banks; i++)
		vcpu->mce[i][CTL] = ~0ull;
	memset(vcpu->mci_ctl2, 0, sizeof(vcpu->mci_ctl2));
	irq_features_changed(vcpu);
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

/* UCNA: nothing uses the data yet. SDM, "UCR Error Classification". */
static bool needs_no_action(const struct kvm_x86_mce *mce)
{
	const u64 bits = MCI_STATUS_UC | MCI_STATUS_PCC | MCI_STATUS_S | MCI_STATUS_AR;

	return !mce->mcg_status && (mce->status & bits) == MCI_STATUS_UC;
}

/* It stands in the bank whatever is turned off; IA32_MCG_STATUS is about #MC alone. */
static void uncorrected_no_action(struct vcpu *vcpu, unsigned int i, const struct kvm_x86_mce *mce)
{
	fill(vcpu->mce[i], mce);
	if (vcpu->mci_ctl2[i] & MCI_CTL2_CMCI_EN)
		irq_cmci(vcpu);
}

int mce_set(struct vcpu *vcpu, const struct kvm_x86_mce *mce)
{
	unsigned int i = array_index_nospec(mce->bank, MCE_MAX_BANKS);
	u64 *bank = vcpu->mce[i];

	if (mce->bank >= nr_banks(vcpu) || !(mce->status & MCI_STATUS_VAL))
		return -EINVAL;
	if (needs_no_action(mce)) {
		uncorrected_no_action(vcpu, i, mce);
	} else if (mce->status & MCI_STATUS_UC) {
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

/* The register of a bank; NULL: the guest has none such. Without CMCI clients may read and write zeros. */
static u64 *ctl2_register(struct vcpu *vcpu, u32 index, bool harmless)
{
	u32 i = index - MSR_IA32_MC0_CTL2;

	if (i >= nr_banks(vcpu) || !(harmless || (vcpu->msr.mcg_cap & MCG_CMCI_P)))
		return NULL;
	return &vcpu->mci_ctl2[array_index_nospec(i, MCE_MAX_BANKS)];
}

int mce_read_ctl2(struct vcpu *vcpu, u32 index, u64 *value, enum msr_origin origin)
{
	const u64 *reg = ctl2_register(vcpu, index, origin == MSR_HOST);

	if (!reg)
		return -EINVAL;
	*value = *reg;
	return 0;
}

int mce_write_ctl2(struct vcpu *vcpu, u32 index, u64 value, enum msr_origin origin)
{
	u64 *reg = ctl2_register(vcpu, index, origin == MSR_HOST && !value);

	if (!reg || (value & ~(u64)(MCI_CTL2_CMCI_EN | MCI_CTL2_CMCI_THRESHOLD_MASK)))
		return -EINVAL;
	*reg = value;
	return 0;
}
