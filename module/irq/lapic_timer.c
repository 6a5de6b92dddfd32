// SPDX-License-Identifier: GPL-2.0
/*
 * The host's timer behind a local APIC's: it asks the vCPU to look, which then calls the model. A TSC deadline becomes
 * a host time by the TSC's rate, or where the CPU can watch it by itself, while the guest runs, a deadline of the host's TSC.
 */
#include <linux/ktime.h>
#include <linux/math64.h>
#include <asm/tsc.h>

#include "../backend.h"
#include "../cpu/tsc.h"
#include "internal.h"

/* The host's timer is set to so much before a TSC deadline at the most: see struct vcpu_lapic. As KVM's bound. */
#define ADVANCE_MAX_NS 5000

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
	vcpu->deadline = 0;
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

static void watch(struct vcpu *vcpu, u64 ns)
{
	vcpu->deadline = rdtsc() + mul_u64_u32_div(ns, tsc_khz, NSEC_PER_MSEC);
}

static void arm_tsc(struct vcpu *vcpu, u64 deadline, bool cpu_watches)
{
	struct vcpu_lapic *v = vcpu_lapic(vcpu);
	u64 now, left;

	lapic_timer_cancel(vcpu);
	v->tsc_deadline = deadline;
	now = tsc_read(vcpu);
	left = deadline > now ? tsc_to_ns(vcpu, deadline - now) : 0;
	if (left <= v->advance_ns)
		vcpu_request(vcpu, REQ_TIMER);
	else if (cpu_watches)
		watch(vcpu, left - v->advance_ns);
	else
		hrtimer_start(&v->timer, ns_to_ktime(left - v->advance_ns), HRTIMER_MODE_REL_PINNED_HARD);
}

/* In MWAIT, if the guest does that by itself, the CPU's may stand still. */
void lapic_timer_arm_tsc(void *ctx, u64 deadline)
{
	struct vcpu *vcpu = ctx;
	bool sleeps_inside = READ_ONCE(vcpu->vm->disabled_exits) & KVM_X86_DISABLE_EXITS_MWAIT;

	arm_tsc(vcpu, deadline, backend.watches_deadline && !sleeps_inside);
}

void irq_timer_sleep(struct vcpu *vcpu)
{
	if (vcpu->deadline)
		arm_tsc(vcpu, vcpu_lapic(vcpu)->tsc_deadline, false);
}

/* More than the advance is left where the host's clock, which is steered, has run ahead of the TSC. */
static void answer_timer(struct vcpu *vcpu)
{
	struct vcpu_lapic *v = vcpu_lapic(vcpu);
	u64 now = tsc_read(vcpu);

	if (v->tsc_deadline > now && tsc_to_ns(vcpu, v->tsc_deadline - now) > ADVANCE_MAX_NS) {
		lapic_timer_arm_tsc(vcpu, v->tsc_deadline);
		return;
	}
	vcpu->awaited_tsc = v->tsc_deadline;
	v->tsc_deadline = 0;
	vcpu->deadline = 0;
	lapic_timer_expired(&v->lapic);
	irq_look(vcpu);
}

/*
 * How much of an error is made good at once. A late interrupt is what the guest feels, an early one is waited for: so the
 * advance comes to rest where most are early.
 */
#define LATE_PART 4
#define EARLY_PART 64

/* A wait for the CPU is no part of the way: what is later by more ticks than these does not count. As KVM's bound. */
#define LATE_MAX_TICKS 10000

/* A deadline that is far away stems from before the TSC was set. */
void irq_timer_wait(struct vcpu *vcpu)
{
	struct vcpu_lapic *v = vcpu_lapic(vcpu);
	u64 now = tsc_read(vcpu), deadline = vcpu->awaited_tsc;
	u64 off_ns = tsc_to_ns(vcpu, now > deadline ? now - deadline : deadline - now);

	vcpu->awaited_tsc = 0;
	if (now > deadline ? now - deadline > LATE_MAX_TICKS : off_ns > ADVANCE_MAX_NS)
		return;
	if (now > deadline)
		v->advance_ns = min_t(u32, v->advance_ns + off_ns / LATE_PART, ADVANCE_MAX_NS);
	else
		v->advance_ns -= min_t(u32, off_ns / EARLY_PART, v->advance_ns);
	while (tsc_read(vcpu) < deadline)
		cpu_relax();
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
