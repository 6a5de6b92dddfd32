/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A guest's TSC: the host's, times a ratio, plus an offset. All vCPUs of a VM start with the same TSC, and clients that
 * write it one vCPU after the other, as they do after a migration, get the same again.
 */
#ifndef PITH_CPU_TSC_H
#define PITH_CPU_TSC_H

#include <linux/math64.h>

#include <asm/msr.h>

#include "../backend.h"

/* Host TSC ticks as the guest counts them. */
static inline u64 tsc_scale(const struct vcpu *vcpu, u64 ticks)
{
	return mul_u64_u64_shr(ticks, vcpu->tsc_ratio, backend.tsc_ratio_bits);
}

/** tsc_read - the guest's TSC now. Context: the vCPU's own, in a slice or not. */
u64 tsc_read(struct vcpu *vcpu);

/** tsc_at - what the guest's TSC was, or will be, when the host's is @host_tsc */
u64 tsc_at(const struct vcpu *vcpu, u64 host_tsc);

/** tsc_rate - the kHz that the guest's TSC really has: the host's, within a tolerance, or what the client has set */
u32 tsc_rate(const struct vcpu *vcpu);

/** tsc_catch_up - moves on the TSC of a guest that was promised a faster one than the host has (REQ_TSC_CATCH_UP) */
void tsc_catch_up(struct vcpu *vcpu);

/*
 * The others: vcpu->mutex is held, or the vCPU is not published yet; not in a slice. They take vm->clock.lock.
 */

/** tsc_create - gives a new vCPU the TSC of its VM */
void tsc_create(struct vcpu *vcpu);

/** tsc_write_guest - the guest moves its TSC by so much, and IA32_TSC_ADJUST with it or by it */
void tsc_move(struct vcpu *vcpu, u64 delta);

/** tsc_write_host - the client writes the TSC: a value near that of the write before joins the vCPU to that one's TSC */
void tsc_write_host(struct vcpu *vcpu, u64 value);

/** tsc_set_offset - KVM_VCPU_TSC_OFFSET */
void tsc_set_offset(struct vcpu *vcpu, u64 offset);

/** tsc_set_khz - KVM_SET_TSC_KHZ, on a vCPU. 0 or -EINVAL: this host cannot do it. */
int tsc_set_khz(struct vcpu *vcpu, u32 khz);

/** tsc_khz_valid - whether KVM_SET_TSC_KHZ takes the value, on a VM or on a vCPU */
bool tsc_khz_valid(u32 khz);

#endif
