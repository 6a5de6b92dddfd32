// SPDX-License-Identifier: GPL-2.0
/* A guest's TSC. Source: KVM's api.rst, "KVM_SET_TSC_KHZ"; devices/vcpu.rst, "KVM_VCPU_TSC_OFFSET". */
#include <asm/tsc.h>

#include "../irq/irqchip.h"
#include "../vm.h"
#include "clock.h"
#include "tsc.h"

/* A rate that is so near to the host's is the host's: what clients measure and pass on is not exact. */
#define TOLERANCE_PPM 250

static u64 one(void)
{
	return 1ull << backend.tsc_ratio_bits;
}

u32 tsc_rate(const struct vcpu *vcpu)
{
	return vcpu->tsc_catches_up || vcpu->tsc_ratio != one() ? vcpu->tsc_khz : tsc_khz;
}

/*
 * A guest that was promised a faster TSC than the host has, where the CPU cannot scale, gets its ticks late: at each
 * entry the offset grows by what is missing. Its TSC was tsc_base when the host's was tsc_base_host, and has run at the
 * promised rate since.
 */
static u64 promised(const struct vcpu *vcpu, u64 host_tsc)
{
	bool before = host_tsc < vcpu->tsc_base_host;
	u64 ticks = before ? vcpu->tsc_base_host - host_tsc : host_tsc - vcpu->tsc_base_host;

	ticks = mul_u64_u64_div_u64(ticks, vcpu->tsc_khz, tsc_khz);
	return before ? vcpu->tsc_base - ticks : vcpu->tsc_base + ticks;
}

void tsc_catch_up(struct vcpu *vcpu)
{
	u64 now = rdtsc(), missing = promised(vcpu, now) - (now + vcpu->tsc_offset);

	if ((s64)missing <= 0)
		return;
	vcpu->tsc_offset += missing;
	vcpu->changed |= STATE_TSC;
}

u64 tsc_at(const struct vcpu *vcpu, u64 host_tsc)
{
	if (unlikely(vcpu->tsc_catches_up))
		return promised(vcpu, host_tsc);
	return tsc_scale(vcpu, host_tsc) + vcpu->tsc_offset;
}

u64 tsc_read(struct vcpu *vcpu)
{
	if (unlikely(vcpu->tsc_catches_up))
		tsc_catch_up(vcpu);
	return tsc_scale(vcpu, rdtsc()) + vcpu->tsc_offset;
}

/* -- all changes ------------------------------------------------------------------------------------------------- */

static void set_offset(struct vcpu *vcpu, u64 offset)
{
	vcpu->tsc_offset = offset;
	vcpu->tsc_base_host = rdtsc();
	vcpu->tsc_base = tsc_scale(vcpu, vcpu->tsc_base_host) + offset;
	vcpu->changed |= STATE_TSC;
	irq_tsc_changed(vcpu);
	clock_tsc_changed(vcpu);
}

void tsc_move(struct vcpu *vcpu, u64 delta)
{
	mutex_lock(&vcpu->vm->clock.lock);
	set_offset(vcpu, vcpu->tsc_offset + delta);
	mutex_unlock(&vcpu->vm->clock.lock);
}

/* Remembers a write, for the next one to be compared with. */
static void written(struct vcpu *vcpu, u64 offset, u64 value)
{
	struct vm_clock *clock = &vcpu->vm->clock;

	clock->tsc_offset = offset;
	clock->written_khz = vcpu->tsc_khz;
	clock->written_value = value;
	clock->written_at = rdtsc();
	set_offset(vcpu, offset);
}

/*
 * Whether a client's write means the TSC of the vCPU before: its value would be within a second of that, or it is 0, as
 * a vCPU's is that has just been made.
 */
static bool joins(const struct vcpu *vcpu, u64 value)
{
	const struct vm_clock *clock = &vcpu->vm->clock;
	u64 second = vcpu->tsc_khz * 1000ull, expected;

	if (vcpu->tsc_khz != clock->written_khz)
		return false;
	expected = clock->written_value + tsc_scale(vcpu, rdtsc() - clock->written_at);
	return !value || (value < expected + second && value + second > expected);
}

void tsc_write_host(struct vcpu *vcpu, u64 value)
{
	struct vm_clock *clock = &vcpu->vm->clock;

	mutex_lock(&clock->lock);
	if (joins(vcpu, value))
		written(vcpu, clock->tsc_offset, value);
	else
		written(vcpu, value - tsc_scale(vcpu, rdtsc()), value);
	mutex_unlock(&clock->lock);
}

void tsc_set_offset(struct vcpu *vcpu, u64 offset)
{
	mutex_lock(&vcpu->vm->clock.lock);
	written(vcpu, offset, tsc_scale(vcpu, rdtsc()) + offset);
	mutex_unlock(&vcpu->vm->clock.lock);
}

/* -- the rate ---------------------------------------------------------------------------------------------------- */

bool tsc_khz_valid(u32 khz)
{
	/* As in KVM: a rate is an int. Where the CPU scales, the ratio has a largest value, too. */
	return !backend.tsc_ratio_bits ||
	       khz < min_t(u64, S32_MAX, mul_u64_u64_shr(tsc_khz, backend.tsc_ratio_max, backend.tsc_ratio_bits));
}

static bool is_host_rate(u32 khz)
{
	u64 tolerance = (u64)tsc_khz * TOLERANCE_PPM / 1000000;

	return khz >= tsc_khz - tolerance && khz <= tsc_khz + tolerance;
}

/* The offset stays as it is: so vCPUs that get the same rate one after the other keep the same TSC. */
static void set_rate(struct vcpu *vcpu, u32 khz, u64 ratio, bool catches_up)
{
	mutex_lock(&vcpu->vm->clock.lock);
	vcpu->tsc_khz = khz;
	vcpu->tsc_ratio = ratio;
	vcpu->tsc_catches_up = catches_up;
	if (catches_up)
		vcpu_request(vcpu, REQ_TSC_CATCH_UP);
	else
		clear_bit(REQ_TSC_CATCH_UP, &vcpu->requests);
	set_offset(vcpu, vcpu->tsc_offset);
	mutex_unlock(&vcpu->vm->clock.lock);
}

int tsc_set_khz(struct vcpu *vcpu, u32 khz)
{
	u64 ratio;

	if (!tsc_khz_valid(khz))
		return -EINVAL;
	khz = khz ?: tsc_khz;
	if (!backend.tsc_ratio_bits && khz < tsc_khz && !is_host_rate(khz))
		return -EINVAL;
	if (!backend.tsc_ratio_bits || is_host_rate(khz)) {
		set_rate(vcpu, khz, one(), !is_host_rate(khz));
		return 0;
	}
	ratio = mul_u64_u64_div_u64(one(), khz, tsc_khz);
	if (!ratio || ratio >= backend.tsc_ratio_max)
		return -EINVAL;
	set_rate(vcpu, khz, ratio, false);
	return 0;
}

void tsc_create(struct vcpu *vcpu)
{
	vcpu->tsc_ratio = one();
	if (tsc_set_khz(vcpu, READ_ONCE(vcpu->vm->clock.tsc_khz)))
		vcpu->tsc_khz = tsc_khz;
	tsc_write_host(vcpu, 0);
}
