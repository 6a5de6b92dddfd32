// SPDX-License-Identifier: GPL-2.0
/*
 * The host's timer behind a local APIC's: it asks the vCPU to look, which then calls the model. A TSC deadline becomes
 * a host time by the TSC's rate.
 */
#include <linux/ktime.h>
#include <linux/math64.h>

#include "../cpu/tsc.h"
#include "internal.h"

#define FAR_AWAY_MS (KTIME_MAX / 4 / NSEC_PER_MSEC)

static enum hrtimer_restart timer_function(struct hrtimer *timer)
{
	struct vcpu *vcpu = container_of(timer, struct vcpu_lapic, timer)->vcpu;

	vcpu_request(vcpu, REQ_TIMER);
	vcpu_kick(vcpu);
	return HRTIMER_NORESTART;
}

/* An expiry that was not answered yet is forgotten with the rest. */
void lapic_timer_cancel(void *ctx)
{
	struct vcpu *vcpu = ctx;
	struct vcpu_lapic *v = vcpu_lapic(vcpu);

	hrtimer_cancel(&v->timer);
	vcpu_take_request(vcpu, REQ_TIMER);
	v->tsc_deadline = 0;
}

u64 lapic_timer_now(void *ctx)
{
	return ktime_get_ns();
}

/* A deadline that has passed needs no host timer. */
void lapic_timer_arm_ns(void *ctx, u64 deadline)
{
	struct vcpu *vcpu = ctx;

	lapic_timer_cancel(vcpu);
	if (deadline <= ktime_get_ns())
		vcpu_request(vcpu, REQ_TIMER);
	else
		hrtimer_start(&vcpu_lapic(vcpu)->timer, ns_to_ktime(deadline), HRTIMER_MODE_ABS_PINNED_HARD);
}

/* TSC ticks in nanoseconds, rounded up. What is farther away than 73 years is not told apart. */
static u64 tsc_to_ns(const struct vcpu *vcpu, u64 ticks)
{
	u32 khz = tsc_rate(vcpu);

	if (ticks / FAR_AWAY_MS >= khz)
		return FAR_AWAY_MS * NSEC_PER_MSEC;
	return mul_u64_u32_div(ticks, NSEC_PER_MSEC, khz) + 1;
}

void lapic_timer_arm_tsc(void *ctx, u64 deadline)
{
	struct vcpu *vcpu = ctx;
	struct vcpu_lapic *v = vcpu_lapic(vcpu);
	u64 now;

	lapic_timer_cancel(vcpu);
	v->tsc_deadline = deadline;
	now = tsc_read(vcpu);
	if (deadline <= now)
		vcpu_request(vcpu, REQ_TIMER);
	else
		hrtimer_start(&v->timer, ns_to_ktime(tsc_to_ns(vcpu, deadline - now)), HRTIMER_MODE_REL_PINNED_HARD);
}

/* The host's clock is steered and may run ahead of the TSC. A guest's interrupt never comes before its deadline. */
static void answer_timer(struct vcpu *vcpu)
{
	struct vcpu_lapic *v = vcpu_lapic(vcpu);

	if (v->tsc_deadline > tsc_read(vcpu)) {
		lapic_timer_arm_tsc(vcpu, v->tsc_deadline);
		return;
	}
	v->tsc_deadline = 0;
	lapic_timer_expired(&v->lapic);
	irq_look(vcpu);
}

/*
 * The run loop asks this on its way into the guest. A deadline that passes meanwhile is answered as well: its request
 * would wait until the next exit.
 */
void irq_timer_expired(struct vcpu *vcpu)
{
	do {
		answer_timer(vcpu);
	} while (vcpu_take_request(vcpu, REQ_TIMER));
}

void lapic_timer_init(struct vcpu_lapic *v)
{
	hrtimer_init(&v->timer, CLOCK_MONOTONIC, HRTIMER_MODE_ABS_PINNED_HARD);
	v->timer.function = timer_function;
}

void irq_tsc_changed(struct vcpu *vcpu)
{
	if (vcpu->lapic && vcpu_lapic(vcpu)->tsc_deadline)
		lapic_timer_arm_tsc(vcpu, vcpu_lapic(vcpu)->tsc_deadline);
}
