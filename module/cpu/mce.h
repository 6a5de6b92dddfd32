/* SPDX-License-Identifier: GPL-2.0 */
/* Machine checks of a guest's: banks that its client fills (KVM_X86_SET_MCE), never the host's. */
#ifndef PITH_CPU_MCE_H
#define PITH_CPU_MCE_H

#include <linux/kvm.h>

#include "../vcpu.h"
#include "msr.h"

/* On all vendors: this many banks, IA32_MCG_CTL, software error recovery. */
#define MCE_CAP_SUPPORTED (MCE_MAX_BANKS | MCG_CTL_P | MCG_SER_P)

/** mce_supported_cap - KVM_X86_GET_MCE_CAP_SUPPORTED: what mce_set_cap() takes */
u64 mce_supported_cap(void);

/** mce_set_cap - KVM_X86_SETUP_MCE. Own context. Return: 0 or -EINVAL. */
int mce_set_cap(struct vcpu *vcpu, u64 cap);

/**
 * mce_set - KVM_X86_SET_MCE: an error in a bank, and what tells the guest of it: #MC if it is uncorrected and asks for
 * action, the local APIC's CMCI if it asks for none. Own context. Return: 0 or -EINVAL.
 */
int mce_set(struct vcpu *vcpu, const struct kvm_x86_mce *mce);

/* IA32_MCG_CTL and the banks' registers. As msr_read(), msr_write(). */
int mce_read_msr(struct vcpu *vcpu, u32 index, u64 *value, enum msr_origin origin);
int mce_write_msr(struct vcpu *vcpu, u32 index, u64 value, enum msr_origin origin);

/* IA32_MCi_CTL2: whether CMCI tells of a bank's errors. As msr_read(), msr_write(). */
int mce_read_ctl2(struct vcpu *vcpu, u32 index, u64 *value, enum msr_origin origin);
int mce_write_ctl2(struct vcpu *vcpu, u32 index, u64 value, enum msr_origin origin);

#endif
