// SPDX-License-Identifier: GPL-2.0
/*
 * The interrupt controllers against models of them that are as plain as can be: random steps, and after each one the two
 * must agree. Now and then the steps are wild: any register, any value, any state from the client.
 *
 * irq_fuzz [COUNT [SEED]]: COUNT steps a chip, a sixteenth of it where two threads meet.
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../module/irq/ioapic.h"
#include "../../module/irq/lapic.h"
#include "../../module/irq/pic.h"
#include "../../module/irq/pit.h"

#define DEFAULT_COUNT 1000000

static u64 random_state;
static u64 steps;
static unsigned int test;
static const char *test_name;

static u64 random64(void)
{
	u64 z = random_state += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

static unsigned int below(unsigned int n)
{
	return (random64() >> 32) * n >> 32;
}

static bool one_in(unsigned int n)
{
	return !below(n);
}

/* The first disagreement ends the run: what comes after it says nothing. */
static void differ(const char *what, u64 got, u64 want)
{
	printf("# step %llu: %s: got %llx, want %llx\n", (unsigned long long)steps, what, (unsigned long long)got,
	       (unsigned long long)want);
	printf("not ok %u %s\n", test, test_name);
	exit(1);
}

static void check(const char *what, u64 got, u64 want)
{
	if (got != want)
		differ(what, got, want);
}

static void random_bytes(void *p, size_t size)
{
	u8 *bytes = p;

	while (size--)
		*bytes++ = random64();
}

/* -- local APIC -------------------------------------------------------------------------------------------------- */

static struct {
	struct lapic lapic;
	_Alignas(4096) u8 regs[4096];
	u64 now, deadline;
	bool armed;
	u64 eois[2]; /* reported: edge-, level-triggered */
} la;

/* The plain model: a flag a vector. */
static struct {
	bool irr[256], isr[256], tmr[256];
	u8 tpr;
} lm;

static void la_send(void *ctx, const struct apic_message *msg)
{
	(void)ctx;
	if (msg->delivery_mode <= APIC_DELIVER_LOWEST && msg->vector < 16)
		differ("illegal vector sent", msg->vector, 16);
}

static void la_eoi(void *ctx, u8 vector, enum apic_trig_mode trigger)
{
	(void)ctx;
	(void)vector;
	la.eois[trigger]++;
}

static void la_event(void *ctx)
{
	(void)ctx;
}

static void la_sipi(void *ctx, u8 vector)
{
	(void)ctx;
	(void)vector;
}

static void la_arm_ns(void *ctx, u64 deadline)
{
	(void)ctx;
	if (deadline < la.now)
		differ("armed in the past", deadline, la.now);
	la.deadline = deadline;
	la.armed = true;
}

static void la_arm_tsc(void *ctx, u64 deadline)
{
	(void)ctx;
	(void)deadline;
	la.deadline = la.now + below(1000);
	la.armed = true;
}

static void la_cancel(void *ctx)
{
	(void)ctx;
	la.armed = false;
}

static u64 la_now(void *ctx)
{
	(void)ctx;
	return la.now;
}

static const struct lapic_ops la_ops = {
	.send = la_send,
	.eoi = la_eoi,
	.nmi = la_event,
	.smi = la_event,
	.init = la_event,
	.sipi = la_sipi,
	.timer_arm_ns = la_arm_ns,
	.timer_arm_tsc = la_arm_tsc,
	.timer_cancel = la_cancel,
	.now_ns = la_now,
};

static bool blob_bit(const struct kvm_lapic_state *s, u32 base, unsigned int vector)
{
	return (u8)s->regs[base + vector / 32 * 16 + vector % 32 / 8] >> vector % 8 & 1;
}

/* After wild steps the model follows what the client would see. */
static void lm_follow(void)
{
	struct kvm_lapic_state s;
	unsigned int v;

	lapic_get_state(&la.lapic, &s);
	for (v = 0; v < 256; v++) {
		lm.irr[v] = blob_bit(&s, LAPIC_IRR, v);
		lm.isr[v] = blob_bit(&s, LAPIC_ISR, v);
		lm.tmr[v] = blob_bit(&s, LAPIC_TMR, v);
		/* A request below 16 is only a client's, and never delivered. */
		if (v < 16 && (lm.isr[v] || lm.tmr[v]))
			differ("vector below 16", v, 16);
	}
	lm.tpr = s.regs[LAPIC_TPR];
}

static int lm_highest(const bool *flags)
{
	int v = 255;

	while (v >= 0 && !flags[v])
		v--;
	return v;
}

static u8 lm_ppr(void)
{
	int isr = lm_highest(lm.isr);
	u8 class = isr < 0 ? 0 : isr & 0xf0;

	return lm.tpr >> 4 >= class >> 4 ? lm.tpr : class;
}

static int lm_deliverable(void)
{
	int v = lm_highest(lm.irr);

	return la.lapic.mode != LAPIC_OFF && v >= 0 && v >> 4 > lm_ppr() >> 4 ? v : -1;
}

static void lm_check(void)
{
	check("highest", lapic_highest_irq(&la.lapic), lm_deliverable());
	check("request", lapic_highest_request(&la.lapic), lm_highest(lm.irr));
	check("in service", lapic_highest_in_service(&la.lapic), lm_highest(lm.isr));
	check("PPR", lapic_priority(&la.lapic), lm_ppr());
}

static bool la_accepting(void)
{
	return la.lapic.mode != LAPIC_OFF && la.regs[LAPIC_SVR + 1] & 1;
}

static u8 some_vector(void)
{
	return one_in(2) ? 0x40 + below(8) * 0x11 : random64();
}

static void step_accept(void)
{
	u8 vector = some_vector();
	bool level = one_in(3);
	int want = LAPIC_REFUSED;

	if (la_accepting() && vector >= 16) {
		want = lm.irr[vector] ? LAPIC_MERGED : LAPIC_ACCEPTED;
		lm.irr[vector] = true;
		lm.tmr[vector] = level;
	}
	check("accept", lapic_accept(&la.lapic, below(2), vector, true, level), want);
	if (want == LAPIC_REFUSED)
		lm_follow(); /* the error interrupt */
}

static void step_ack(void)
{
	int want = lm_deliverable();

	check("ack", lapic_ack(&la.lapic), want);
	if (want < 0)
		return;
	lm.irr[want] = false;
	lm.isr[want] = true;
}

static void do_eoi(void)
{
	u32 zero = 0;

	if (la.lapic.mode == LAPIC_X2APIC)
		check("EOI", lapic_msr_write(&la.lapic, X2APIC_MSR(LAPIC_EOI), 0), 0);
	else
		lapic_mmio_write(&la.lapic, LAPIC_EOI, &zero, sizeof(zero));
}

static void step_eoi(void)
{
	int v = lm_highest(lm.isr);
	u64 before = la.eois[1];

	do_eoi();
	check("EOI broadcast", la.eois[1] - before, v >= 0 && lm.tmr[v] && !(la.regs[LAPIC_SVR + 1] & 0x10) ? 1 : 0);
	if (v >= 0)
		lm.isr[v] = false;
}

static void step_self_ipi(void)
{
	u8 vector = 16 + below(240);
	bool icr = one_in(2);

	if (la.lapic.mode != LAPIC_X2APIC)
		return;
	check("self-IPI",
	      lapic_msr_write(&la.lapic, icr ? X2APIC_MSR(LAPIC_ICR) : X2APIC_MSR(LAPIC_SELF_IPI),
			      icr ? 0x40000 | vector : vector),
	      0);
	if (la_accepting()) {
		lm.irr[vector] = true;
		lm.tmr[vector] = false;
	}
}

static void step_tpr(void)
{
	lm.tpr = one_in(2) ? 0 : below(16) << 4;
	lapic_set_cr8(&la.lapic, lm.tpr >> 4);
}

static void step_timer(void)
{
	la.now += below(one_in(8) ? 10000000 : 1000);
	if (la.armed && la.deadline <= la.now) {
		la.armed = false;
		lapic_timer_expired(&la.lapic);
		if (la.armed && !la.lapic.tsc_deadline && la.deadline <= la.now)
			differ("rearmed in the past", la.deadline, la.now);
	}
	lm_follow();
}

/* What a guest may do to registers; the count never exceeds what it began with. */
static void step_wild_register(void)
{
	u64 value = one_in(2) ? random64() : random64() & random64() & 0xf00ff;
	u32 offset = below(64) << 4 | (one_in(8) ? below(16) : 0);
	u32 count = 0, initial = 0;
	u8 buffer[8];
	u64 msr;

	if (la.lapic.mode == LAPIC_X2APIC) {
		lapic_msr_write(&la.lapic, X2APIC_MSR(offset), value);
		lapic_msr_read(&la.lapic, X2APIC_MSR(offset), &msr);
	} else if (la.lapic.mode == LAPIC_XAPIC) {
		lapic_mmio_write(&la.lapic, offset, &value, 1 << below(4));
		lapic_mmio_read(&la.lapic, offset, buffer, 1 << below(4));
		lapic_mmio_read(&la.lapic, LAPIC_TMICT, &initial, 4);
		lapic_mmio_read(&la.lapic, LAPIC_TMCCT, &count, 4);
		if (count > initial)
			differ("current count", count, initial);
	}
	lapic_set_tsc_deadline(&la.lapic, one_in(4) ? 0 : random64());
	lm_follow();
}

static void step_enable(void)
{
	u32 svr = one_in(8) ? random64() : 0x1ff;

	if (la.lapic.mode == LAPIC_X2APIC)
		lapic_msr_write(&la.lapic, X2APIC_MSR(LAPIC_SVR), svr & 0x3ff);
	else
		lapic_mmio_write(&la.lapic, LAPIC_SVR, &svr, sizeof(svr));
}

static void step_mode(void)
{
	static const u64 modes[] = { 0, APIC_BASE_X2APIC, APIC_BASE_ENABLE, APIC_BASE_ENABLE | APIC_BASE_X2APIC };

	lapic_set_base(&la.lapic, APIC_BASE_DEFAULT | modes[below(4)], one_in(2));
	if (one_in(16))
		lapic_reset(&la.lapic, one_in(2));
	lm_follow();
	step_enable();
}

/* Hostile state; and what comes out goes in again and comes out the same, once it has been fitted to the features. */
static void step_state(void)
{
	struct kvm_lapic_state a, b;

	if (one_in(4)) {
		random_bytes(&a, sizeof(a));
		lapic_set_state(&la.lapic, &a);
	}
	lapic_get_state(&la.lapic, &a);
	lapic_set_state(&la.lapic, &a);
	lapic_get_state(&la.lapic, &a);
	check("set own state", lapic_set_state(&la.lapic, &a), 0);
	lapic_get_state(&la.lapic, &b);
	check("state again", memcmp(&a, &b, sizeof(a)), 0);
	lm_follow();
	step_enable();
}

static void step_config(void)
{
	struct lapic_config config = {
		.base_reserved = GENMASK_ULL(63, 46),
		.x2apic = !one_in(8),
		.tsc_deadline = one_in(2),
		.directed_eoi = one_in(2),
		.cmci = one_in(2),
		.bsp = one_in(2),
		.virtual_wire = one_in(2),
		.x2apic_format = one_in(2),
		.pmi_masks = one_in(2),
	};

	lapic_configure(&la.lapic, &config);
}

static void step_local(void)
{
	static const u16 entries[] = { LAPIC_LVT_LINT0, LAPIC_LVT_LINT1, LAPIC_LVT_PMC, LAPIC_LVT_THERMAL,
				       LAPIC_LVT_CMCI };

	lapic_local_interrupt(&la.lapic, entries[below(ARRAY_SIZE(entries))]);
	lapic_accepts_pic(&la.lapic);
	lapic_matches(&la.lapic, random64() & 0xff, below(2));
	lm_follow();
}

static void lapic_step(void)
{
	static void (*const common[])(void) = { step_accept, step_accept, step_ack, step_ack,
						step_eoi,    step_eoi,	  step_tpr };
	static void (*const rare[])(void) = { step_self_ipi, step_timer, step_wild_register, step_local,
					      step_wild_register };

	if (!one_in(16))
		common[below(ARRAY_SIZE(common))]();
	else if (!one_in(32))
		rare[below(ARRAY_SIZE(rare))]();
	else if (one_in(2))
		step_mode();
	else if (one_in(8))
		step_config();
	else
		step_state();
	lm_check();
}

static void lapic_begin(void)
{
	struct lapic_config config = { .x2apic = true, .tsc_deadline = true };

	lapic_init(&la.lapic, la.regs, 5, &config, &la_ops, NULL);
	step_enable();
	lm_follow();
}

/* -- local APIC, with a sender on another CPU ------------------------------------------------------------------- */

/* Rounds of a few interrupts each: what a round lost is missed at its end, not made good by the next one. */
static struct {
	unsigned int round, done; /* begun, finished by the sender */
	u64 accepted;
} race;

static void *race_sender(void *seed)
{
	u64 state = (u64)(uintptr_t)seed;
	unsigned int round = 0, i;

	for (;;) {
		while (__atomic_load_n(&race.round, __ATOMIC_ACQUIRE) == round)
			sched_yield();
		round = race.round;
		if (round == ~0u)
			return NULL;
		for (i = 0; i < 4; i++) {
			state = state * 6364136223846793005ull + 1442695040888963407ull;
			race.accepted += lapic_accept(&la.lapic, APIC_DELIVER_FIXED, 0x40 + (state >> 60) * 0x0b, true,
						      state >> 59 & 1) == LAPIC_ACCEPTED;
		}
		__atomic_store_n(&race.done, round, __ATOMIC_RELEASE);
	}
}

static pthread_t race_thread;

static void race_begin(void)
{
	lapic_begin();
	race.round = race.done = 0;
	if (pthread_create(&race_thread, NULL, race_sender, (void *)(uintptr_t)random64()))
		differ("thread", 0, 1);
}

static u64 race_take(void)
{
	u64 taken = lapic_ack(&la.lapic) >= 0;

	lapic_eoi(&la.lapic);
	return taken;
}

static void race_step(void)
{
	u64 taken = 0;

	race.accepted = 0;
	__atomic_store_n(&race.round, race.round + 1, __ATOMIC_RELEASE);
	while (__atomic_load_n(&race.done, __ATOMIC_ACQUIRE) != race.round)
		taken += race_take();
	while (lapic_highest_irq(&la.lapic) >= 0)
		taken += race_take();
	check("taken once", taken, race.accepted);
}

static void race_end(void)
{
	__atomic_store_n(&race.round, ~0u, __ATOMIC_RELEASE);
	pthread_join(race_thread, NULL);
}

static void no_end(void)
{
}

/* -- I/O APIC, with two local APICs at its end ----------------------------------------------------------------- */

#define CPUS 2

static struct {
	struct ioapic ioapic;
	struct lapic lapic[CPUS];
	_Alignas(4096) u8 regs[CPUS][4096];
	bool wild; /* the registers hold anything: nothing is expected but that nothing breaks */
	bool defer;
	u32 acked;
} io;

/* Every pin has a vector of its own, the higher the pin the higher the priority. */
static struct {
	u64 sources[IOAPIC_PINS];
	bool level[IOAPIC_PINS], masked[IOAPIC_PINS];
	u32 edges[IOAPIC_PINS]; /* sent, less those merged */
	u32 taken[IOAPIC_PINS]; /* by CPUs */
} im;

static u8 im_vector(unsigned int pin)
{
	return 0x20 + pin * 8;
}

static int io_deliver(void *ctx, const struct apic_message *msg)
{
	int cpu, result, took = 0;

	(void)ctx;
	for (cpu = 0; cpu < CPUS; cpu++) {
		if (!lapic_matches(&io.lapic[cpu], msg->dest, msg->dest_mode))
			continue;
		result = lapic_accept(&io.lapic[cpu], msg->delivery_mode, msg->vector, msg->level, msg->trig_mode);
		took += result != LAPIC_REFUSED;
		if (!io.wild && result == LAPIC_ACCEPTED)
			im.edges[(msg->vector - 0x20) / 8]++;
	}
	return took;
}

static void io_acked(void *ctx, unsigned int pin)
{
	(void)ctx;
	io.acked |= BIT(pin);
}

static void io_defer(void *ctx)
{
	(void)ctx;
	io.defer = true;
}

static const struct ioapic_ops io_ops = { .deliver = io_deliver, .acked = io_acked, .defer = io_defer };

static void io_eoi(void *ctx, u8 vector, enum apic_trig_mode trigger)
{
	(void)ctx;
	ioapic_eoi(&io.ioapic, vector, trigger);
}

static const struct lapic_ops io_lapic_ops = {
	.send = la_send,
	.eoi = io_eoi,
	.nmi = la_event,
	.smi = la_event,
	.init = la_event,
	.sipi = la_sipi,
	.timer_cancel = la_cancel,
	.now_ns = la_now,
};

static void io_write(u32 reg, u32 value)
{
	ioapic_mmio_write(&io.ioapic, IOAPIC_REGSEL, &reg, sizeof(reg));
	ioapic_mmio_write(&io.ioapic, IOAPIC_WINDOW, &value, sizeof(value));
}

static bool io_remote_irr(unsigned int pin)
{
	return io.ioapic.entries[pin] & IOAPIC_ENTRY_REMOTE_IRR;
}

static void io_program(unsigned int pin)
{
	im.masked[pin] = one_in(4);
	io_write(IOAPIC_REG_ENTRY + 2 * pin, im_vector(pin) | (im.level[pin] ? IOAPIC_ENTRY_LEVEL : 0) |
						     (im.masked[pin] ? IOAPIC_ENTRY_MASKED : 0));
}

/* An edge is delivered if it rises while not masked; a level stands as long as the pin is high. */
static void io_line(unsigned int pin)
{
	unsigned int source = below(2) * 63;
	bool high = one_in(2);
	bool was = im.sources[pin];
	u32 before = im.edges[pin];
	bool pending = lapic_highest_request(&io.lapic[pin % CPUS]) >= 0 &&
		       io.regs[pin % CPUS][LAPIC_IRR + im_vector(pin) / 32 * 16 + im_vector(pin) % 32 / 8] & 1;
	bool remote = io_remote_irr(pin);
	bool expect;

	im.sources[pin] = high ? im.sources[pin] | BIT_ULL(source) : im.sources[pin] & ~BIT_ULL(source);
	ioapic_set_irq(&io.ioapic, pin, source, high, false);
	expect = im.sources[pin] && !im.masked[pin] && !pending && (im.level[pin] ? !remote : !was);
	check(im.level[pin] ? "level sent" : "edge sent", im.edges[pin] - before, expect);
}

static void io_cpu(unsigned int cpu)
{
	struct lapic *lapic = &io.lapic[cpu];
	int highest = lapic_highest_in_service(lapic);
	int vector;

	if (one_in(2)) {
		vector = lapic_ack(lapic);
		if (vector < 0 || io.wild)
			return;
		if (highest >= 0 && vector >> 4 <= highest >> 4)
			differ("priority", vector, highest);
		im.taken[(vector - 0x20) / 8]++;
	} else {
		io.acked = 0;
		lapic_eoi(lapic);
		if (highest >= 0 && !io.wild && im.level[(highest - 0x20) / 8])
			check("acknowledge", io.acked, BIT((highest - 0x20) / 8));
	}
}

/* A level that is high and may interrupt does so: remote IRR says that it is under way, or the CPU has it. */
static void im_check(void)
{
	unsigned int pin;

	for (pin = 0; pin < IOAPIC_PINS; pin++) {
		struct lapic *lapic = &io.lapic[pin % CPUS];

		if (im.level[pin] && im.sources[pin] && !im.masked[pin] && !io.ioapic.deferred)
			check("remote IRR of a high pin", io_remote_irr(pin), 1);
		if (im.level[pin])
			check("remote IRR means in flight", io_remote_irr(pin),
			      lapic_level_in_flight(lapic, im_vector(pin)));
		check("taken once", im.edges[pin] - im.taken[pin] <= 1, 1);
	}
}

static void io_tame_step(void)
{
	unsigned int pin = below(IOAPIC_PINS);

	if (one_in(16))
		io_program(pin);
	else if (one_in(2))
		io_line(pin);
	else
		io_cpu(below(CPUS));
	if (io.defer) {
		io.defer = false;
		ioapic_deferred(&io.ioapic);
	}
	if (one_in(16))
		im_check();
}

static void io_wild_state(void)
{
	struct kvm_ioapic_state a, b;

	random_bytes(&a, sizeof(a));
	ioapic_set_state(&io.ioapic, &a);
	ioapic_get_state(&io.ioapic, &a);
	if (a.irr >> IOAPIC_PINS || a.id > 15)
		differ("reserved bits", a.irr, a.id);
	ioapic_set_state(&io.ioapic, &a);
	ioapic_get_state(&io.ioapic, &b);
	check("base", b.base_address, a.base_address);
}

static void io_wild_step(void)
{
	u32 bitmap[8] = { 0 };
	u8 buffer[8];
	u64 value = random64();

	switch (below(8)) {
	case 0:
		io_write(random64(), random64() & random64());
		break;
	case 1:
		ioapic_mmio_write(&io.ioapic, below(IOAPIC_SIZE), &value, 1 << below(4));
		break;
	case 2:
		ioapic_mmio_read(&io.ioapic, below(2) * 16, buffer, 1 << below(4));
		break;
	case 3:
		io_cpu(below(CPUS));
		break;
	case 4:
		ioapic_eoi(&io.ioapic, random64(), below(2));
		break;
	case 5:
		ioapic_eoi_exits(&io.ioapic, &io.lapic[0], random64(), bitmap);
		break;
	default:
		ioapic_set_irq(&io.ioapic, below(IOAPIC_PINS), below(64), one_in(2), one_in(2));
	}
	if (one_in(256))
		io_wild_state();
}

static void ioapic_begin(void)
{
	static const struct lapic_config config;
	u32 svr = 0x1ff;
	unsigned int i;

	memset(&im, 0, sizeof(im));
	ioapic_init(&io.ioapic, &io_ops, NULL);
	for (i = 0; i < CPUS; i++) {
		lapic_init(&io.lapic[i], io.regs[i], i, &config, &io_lapic_ops, NULL);
		lapic_mmio_write(&io.lapic[i], LAPIC_SVR, &svr, sizeof(svr));
	}
	for (i = 0; i < IOAPIC_PINS; i++) {
		im.level[i] = one_in(2);
		io_write(IOAPIC_REG_ENTRY + 2 * i + 1, i % CPUS << 24);
		io_program(i);
	}
}

static void ioapic_step(void)
{
	if (steps % 4096 == 0) {
		io.wild = one_in(4);
		ioapic_begin();
	}
	if (io.wild)
		io_wild_step();
	else
		io_tame_step();
}

/* -- PIC --------------------------------------------------------------------------------------------------------- */

static struct {
	struct pic pic;
	bool output;
	u32 ended; /* lines */
} pi;

/* The plain model: a list of inputs in the order of their priority, and a flag for everything. */
struct chip {
	int order[8];
	bool irr[8], isr[8], imr[8], elcr[8];
	int base, expect; /* the ICW that comes next, or 0 */
	bool icw4, auto_eoi, rotate, nested, special_mask, read_isr, poll;
};

static struct chip pm[2];
static u64 pm_sources[16];
static u32 pm_ended;

static void pi_output(void *ctx, bool level)
{
	(void)ctx;
	check("output changes", level, !pi.output);
	pi.output = level;
}

static void pi_acked(void *ctx, unsigned int line)
{
	(void)ctx;
	pi.ended |= BIT(line);
}

static const struct pic_ops pi_ops = { .output = pi_output, .acked = pi_acked };

static void pm_order(struct chip *c, int lowest)
{
	int i;

	for (i = 0; i < 8; i++)
		c->order[i] = (lowest + 1 + i) % 8;
}

static int pm_pick(int n)
{
	struct chip *c = &pm[n];
	int i;

	if (n == 0)
		c->irr[2] = pm_pick(1) >= 0;
	for (i = 0; i < 8; i++) {
		int irq = c->order[i];
		bool serving = c->isr[irq] && !(c->special_mask && c->imr[irq]);

		if (serving && !(n == 0 && irq == 2 && c->nested))
			return -1;
		if (c->irr[irq] && !c->imr[irq])
			return irq;
		if (serving)
			return -1;
	}
	return -1;
}

static void pm_ack(int n, int irq)
{
	struct chip *c = &pm[n];

	if (!c->elcr[irq])
		c->irr[irq] = false;
	if (!c->auto_eoi) {
		c->isr[irq] = true;
		return;
	}
	pm_ended |= BIT(n * 8 + irq);
	if (c->rotate)
		pm_order(c, irq);
}

static u8 pm_inta(void)
{
	int irq = pm_pick(0), n = 0;

	if (irq >= 0)
		pm_ack(0, irq);
	if (irq == 2) {
		n = 1;
		irq = pm_pick(1);
		if (irq >= 0)
			pm_ack(1, irq);
	}
	return pm[n].base + (irq < 0 ? 7 : irq);
}

static void pm_end(int n, int irq)
{
	if (pm[n].isr[irq])
		pm_ended |= BIT(n * 8 + irq);
	pm[n].isr[irq] = false;
}

static int pm_in_service(int n)
{
	struct chip *c = &pm[n];
	int i;

	for (i = 0; i < 8; i++)
		if (c->isr[c->order[i]] && !(c->special_mask && c->imr[c->order[i]]))
			return c->order[i];
	return -1;
}

static void pm_ocw2(int n, u8 value)
{
	struct chip *c = &pm[n];
	int level = value & 7, top = pm_in_service(n);

	switch (value >> 5) {
	case 0: /* rotate in automatic EOI mode: clear, set */
	case 4:
		c->rotate = value >> 7;
		break;
	case 1: /* non-specific EOI; with rotation */
	case 5:
		if (top < 0)
			break;
		if (value >> 7)
			pm_order(c, top);
		pm_end(n, top);
		break;
	case 3: /* specific EOI; with rotation */
	case 7:
		if (value >> 7)
			pm_order(c, level);
		pm_end(n, level);
		break;
	case 6: /* set priority */
		pm_order(c, level);
		break;
	}
}

static void pm_icw1(int n, u8 value)
{
	struct chip *c = &pm[n];
	int i;

	for (i = 0; i < 8; i++) {
		if (c->isr[i] || (c->irr[i] && !c->elcr[i]))
			pm_ended |= BIT(n * 8 + i);
		c->irr[i] &= c->elcr[i];
		c->isr[i] = false;
		c->imr[i] = false;
	}
	pm_order(c, 7);
	c->expect = 2;
	c->icw4 = value & 1;
	c->special_mask = c->read_isr = c->poll = c->rotate = false;
	if (!c->icw4)
		c->nested = c->auto_eoi = false;
}

static void pm_data(int n, u8 value)
{
	struct chip *c = &pm[n];
	int i;

	if (c->expect == 2)
		c->base = value & 0xf8;
	if (c->expect == 4) {
		c->nested = value & 0x10;
		c->auto_eoi = value & 2;
	}
	if (c->expect == 0)
		for (i = 0; i < 8; i++)
			c->imr[i] = value >> i & 1;
	c->expect = c->expect == 2 ? 3 : c->expect == 3 && c->icw4 ? 4 : 0;
}

static void pm_command(int n, u8 value)
{
	struct chip *c = &pm[n];

	if (value & 0x10) {
		pm_icw1(n, value);
	} else if (value & 8) {
		c->poll = value & 4;
		if (value & 2)
			c->read_isr = value & 1;
		if (value & 0x40)
			c->special_mask = value & 0x20;
	} else {
		pm_ocw2(n, value);
	}
}

static void pm_elcr(int n, u8 value)
{
	static const u8 possible[2] = { 0xf8, 0xde };
	int i;

	for (i = 0; i < 8; i++) {
		bool level = value & possible[n] & BIT(i);

		if (level && !pm[n].elcr[i])
			pm[n].irr[i] = pm_sources[n * 8 + i];
		pm[n].elcr[i] = level;
	}
}

static u8 pm_flags(const bool *flags)
{
	u8 bits = 0;
	int i;

	for (i = 0; i < 8; i++)
		bits |= flags[i] << i;
	return bits;
}

static u8 pm_read(u16 port)
{
	int n = port >> 8 ? port & 1 : port >> 7;
	struct chip *c = &pm[n];
	int irq;

	if (port >> 8)
		return pm_flags(c->elcr);
	if (c->poll) {
		c->poll = false;
		irq = pm_pick(n);
		if (irq < 0)
			return 0;
		pm_ack(n, irq);
		return 0x80 | irq;
	}
	if (port & 1)
		return pm_flags(c->imr);
	pm_pick(0);
	return pm_flags(c->read_isr ? c->isr : c->irr);
}

static const u16 pic_ports[] = { 0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1 };

/* Mostly the words that leave the chips able to interrupt. */
static void pi_write(void)
{
	u16 port = pic_ports[below(one_in(16) ? 6 : 4)];
	int n = port >> 8 ? port & 1 : port >> 7;
	u8 value = random64();

	if (!(port >> 8) && !(port & 1) && !one_in(8))
		value &= one_in(4) ? 0x6f : 0xe7;
	if (!(port >> 8) && port & 1 && one_in(2))
		value &= random64();
	pic_port_write(&pi.pic, port, value);
	if (port >> 8)
		pm_elcr(n, value);
	else if (port & 1)
		pm_data(n, value);
	else
		pm_command(n, value);
}

static void pi_line(void)
{
	unsigned int line = below(16), source = below(2) * 63;
	struct chip *c = &pm[line / 8];
	bool was = pm_sources[line], high = one_in(2), pending;
	int irq = line % 8, want = PIC_IGNORED;

	pending = c->irr[irq];
	if (line != 2) {
		pm_sources[line] = high ? pm_sources[line] | BIT_ULL(source) : pm_sources[line] & ~BIT_ULL(source);
		if (pm_sources[line] && (c->elcr[irq] || !was))
			c->irr[irq] = true;
		else if (!pm_sources[line] && c->elcr[irq])
			c->irr[irq] = false;
		if (!c->imr[irq])
			want = !pm_sources[line] || (c->irr[irq] && !pending) ? PIC_DELIVERED : PIC_COALESCED;
	}
	check("line", pic_set_irq(&pi.pic, line, source, high), want);
}

static void pi_state(void)
{
	struct kvm_pic_state a, b;
	int n = below(2);

	pic_get_state(&pi.pic, n, &a);
	pic_set_state(&pi.pic, n, &a);
	pic_get_state(&pi.pic, n, &b);
	check("state again", memcmp(&a, &b, sizeof(a)), 0);
}

static void pic_begin(void)
{
	int n;

	memset(pm, 0, sizeof(pm));
	memset(pm_sources, 0, sizeof(pm_sources));
	pi.output = false;
	pm_order(&pm[0], 7);
	pm_order(&pm[1], 7);
	pic_init(&pi.pic, &pi_ops, NULL);
	if (!one_in(4))
		return;
	for (n = 0; n < 2; n++) {
		struct kvm_pic_state wild;

		random_bytes(&wild, sizeof(wild));
		pic_set_state(&pi.pic, n, &wild);
		pic_read_irq(&pi.pic);
	}
	pi.output = false;
	pic_init(&pi.pic, &pi_ops, NULL);
}

static void pic_step(void)
{
	u16 port;

	if (steps % 1024 == 0)
		pic_begin();
	pi.ended = pm_ended = 0;
	if (one_in(256)) {
		pi_state();
	} else if (one_in(8)) {
		port = pic_ports[below(6)];
		check("read", pic_port_read(&pi.pic, port), pm_read(port));
	} else if (one_in(3)) {
		pi_line();
	} else if (one_in(2)) {
		check("vector", pic_read_irq(&pi.pic), pm_inta());
	} else {
		pi_write();
	}
	check("output", pic_output(&pi.pic), pm_pick(0) >= 0);
	check("output told", pi.output, pic_output(&pi.pic));
	check("ended", pi.ended, pm_ended);
}

/* -- PIT --------------------------------------------------------------------------------------------------------- */

static struct {
	struct pit pit;
	u64 now, deadline;
	bool armed;
	u32 ticks_sent;
} pt;

/* The plain model: a counter that is clocked. */
struct counter {
	int mode, access;
	bool bcd, gate, held, loaded, running, out; /* held: by the gate, after it was loaded */
	u32 count, next, value, age;		    /* age: clocks since loading */
};

static struct counter tm[3];
static u64 tm_clock;
static u32 tm_due; /* rising OUT of counter 0 */

static void pt_irq(void *ctx, bool level)
{
	(void)ctx;
	pt.ticks_sent += level;
}

static void pt_arm(void *ctx, u64 deadline)
{
	(void)ctx;
	pt.deadline = deadline;
	pt.armed = true;
}

static void pt_cancel(void *ctx)
{
	(void)ctx;
	pt.armed = false;
}

static u64 pt_now(void *ctx)
{
	(void)ctx;
	return pt.now;
}

static const struct pit_ops pt_ops = {
	.irq = pt_irq, .timer_arm = pt_arm, .timer_cancel = pt_cancel, .now_ns = pt_now
};

static u32 tm_modulus(const struct counter *c)
{
	return c->bcd ? 10000 : 65536;
}

static bool tm_by_gate(const struct counter *c)
{
	return c->mode == 1 || c->mode == 5;
}

static bool tm_periodic(const struct counter *c)
{
	return c->mode == 2 || c->mode == 3;
}

static void tm_restart(struct counter *c)
{
	if (c->next)
		c->count = c->next;
	c->next = 0;
	c->running = true;
	c->held = false;
	c->age = 0;
	c->value = c->mode == 3 ? c->count & ~1u : c->count;
	c->out = c->mode != 0 && c->mode != 1;
}

static void tm_clock_one(struct counter *c)
{
	u32 half = (c->count + 1) / 2;

	if (!c->running || (!c->gate && !tm_by_gate(c)))
		return;
	c->age++;
	if (tm_periodic(c) && c->age == c->count) {
		tm_restart(c);
		return;
	}
	c->value = (c->value + tm_modulus(c) - (c->mode == 3 ? 2 : 1)) % tm_modulus(c);
	if (c->mode == 3 && c->age == half)
		c->value = c->count & ~1u;
	if (c->mode == 3)
		c->out = c->age < half;
	else if (c->mode == 2)
		c->out = c->age != c->count - 1;
	else if (c->mode == 0 || c->mode == 1)
		c->out = c->age >= c->count || c->out;
	else
		c->out = c->age != c->count;
}

static void tm_load(struct counter *c, u32 count)
{
	c->loaded = true;
	if (c->running && (tm_periodic(c) || tm_by_gate(c))) {
		c->next = count;
		return;
	}
	c->next = 0;
	c->count = count;
	if (!tm_by_gate(c))
		tm_restart(c);
}

static void tm_gate(struct counter *c, bool gate)
{
	bool rising = gate && !c->gate;

	if (!gate && c->gate)
		c->held = true;
	c->gate = gate;
	if (rising && ((tm_by_gate(c) && c->loaded) || (c->running && tm_periodic(c))))
		tm_restart(c);
}

/* Clocks begin at whole ticks; what is only looked at is looked at in the middle of one. */
static void pt_set_time(bool middle)
{
	pt.now = (u64)(((unsigned __int128)tm_clock * 1000000000 + PIT_HZ - 1) / PIT_HZ) + (middle ? 400 : 0);
}

static u32 tm_count_byte(u32 count, bool bcd)
{
	return bcd ? count / 1000 % 10 << 12 | count / 100 % 10 << 8 | count / 10 % 10 << 4 | count % 10
		   : count & 0xffff;
}

static void tm_observe(int i)
{
	struct counter *c = &tm[i];
	u32 value;
	u8 status, low, high;

	pt_set_time(true);
	pit_port_write(&pt.pit, 0x43, 0xc0 | 2 << i);
	status = pit_port_read(&pt.pit, 0x40 + i);
	low = pit_port_read(&pt.pit, 0x40 + i);
	if (c->mode < 0)
		return;
	high = c->access == 3 ? pit_port_read(&pt.pit, 0x40 + i) : 0;
	check("status", status,
	      (c->running ? !c->gate && tm_periodic(c) ? 1 : c->out : c->mode != 0) << 7 |
		      (!c->running || c->next) << 6 | c->access << 4 | c->mode << 1 | c->bcd);
	if (!c->running)
		return;
	value = tm_count_byte(c->value % tm_modulus(c), c->bcd);
	if (c->access == 3)
		check("count", high << 8 | low, value);
	else
		check("byte of count", low, c->access == 1 ? value & 0xff : value >> 8);
}

static void tm_program(int i)
{
	struct counter *c = &tm[i];
	int mode = below(8);

	c->access = one_in(4) ? 1 + below(2) : 3;
	c->mode = mode > 5 ? mode - 4 : mode;
	c->bcd = one_in(4);
	c->running = c->loaded = false;
	c->next = 0;
	c->out = c->mode != 0;
	pit_port_write(&pt.pit, 0x43, i << 6 | c->access << 4 | mode << 1 | c->bcd);
}

static u8 bcd_byte(u32 n)
{
	return n / 10 % 10 << 4 | n % 10;
}

/* Small counts, for something to happen; but mode 2 and 3 have no count of one. */
static void tm_write(int i)
{
	struct counter *c = &tm[i];
	u32 count = one_in(32) ? 0 : 2 + below(one_in(4) ? 90 : 20);
	u32 bytes = c->bcd ? bcd_byte(count) : count;

	if (c->mode < 0)
		return;
	/* A new count at the very end of a period may come before or after it. */
	pt_set_time(c->running && tm_periodic(c));
	if (c->access != 2)
		pit_port_write(&pt.pit, 0x40 + i, bytes);
	else
		count = count ? c->bcd ? bytes / 16 * 1000 + bytes % 16 * 100 : bytes << 8 : 0;
	if (c->access == 2)
		pit_port_write(&pt.pit, 0x40 + i, bytes);
	if (c->access == 3)
		pit_port_write(&pt.pit, 0x40 + i, 0);
	tm_load(c, count ? count : tm_modulus(c));
}

static bool tm_level_modes_held(const struct counter *c)
{
	return c->held && !tm_by_gate(c) && !tm_periodic(c);
}

static void tm_set_gate(void)
{
	bool gate = one_in(2);

	/* A count that goes on does so at the point of the clock at which it was held. */
	pt_set_time(gate ? tm_level_modes_held(&tm[2]) : true);
	pit_port_write(&pt.pit, 0x61, gate);
	tm_gate(&tm[2], gate);
}

static void pt_advance(unsigned int clocks)
{
	while (clocks--) {
		int i;

		tm_clock++;
		for (i = 0; i < 3; i++)
			tm_clock_one(&tm[i]);
		pt_set_time(true);
		if (tm[0].running && !tm_by_gate(&tm[0]) && tm[0].age == (tm_periodic(&tm[0]) ? 0 : tm[0].count))
			tm_due++;
		if (pt.armed && pt.deadline <= pt.now) {
			pt.armed = false;
			pit_timer_expired(&pt.pit);
		}
	}
}

static void pit_begin(void)
{
	struct kvm_pit_state2 wild;
	int i;

	pt.armed = false;
	pit_init(&pt.pit, &pt_ops, NULL);
	random_bytes(&wild, sizeof(wild));
	wild.flags &= 3;
	for (i = 0; i < 3; i++)
		wild.channels[i].count &= 0xffff;
	pit_set_state(&pt.pit, &wild);
	for (i = 0; i < 16; i++)
		pit_port_read(&pt.pit, 0x40 + below(4));
	pt.armed = false;
	pit_init(&pt.pit, &pt_ops, NULL);
	pt.pit.min_period_ns = 0;
	pit_set_reinject(&pt.pit, false);
	pt.ticks_sent = tm_due = 0;
	memset(tm, 0, sizeof(tm));
	for (i = 0; i < 3; i++) {
		tm[i].mode = -1;
		tm[i].gate = i != 2;
	}
}

static void pit_step(void)
{
	int i = below(3);

	if (steps % 256 == 0)
		pit_begin();
	pt_set_time(false);
	if (one_in(16))
		tm_program(i);
	else if (one_in(8))
		tm_write(i);
	else if (one_in(8))
		tm_set_gate();
	else
		pt_advance(below(8));
	tm_observe(below(3));
	check("ticks", pt.ticks_sent, tm_due);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*begin)(void);
		void (*step)(void);
		void (*end)(void);
		unsigned int cost; /* of a step, in steps of the others */
	} chips[] = {
		{ "local APIC", lapic_begin, lapic_step, no_end, 1 },
		{ "local APIC and another CPU", race_begin, race_step, race_end, 16 },
		{ "I/O APIC", ioapic_begin, ioapic_step, no_end, 1 },
		{ "PIC", pic_begin, pic_step, no_end, 1 },
		{ "PIT", pit_begin, pit_step, no_end, 1 },
	};
	u64 count = argc > 1 ? strtoull(argv[1], NULL, 0) : DEFAULT_COUNT;
	u64 seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;

	printf("TAP version 13\n1..%zu\n# seed %llu\n", ARRAY_SIZE(chips), (unsigned long long)seed);
	for (test = 1; test <= ARRAY_SIZE(chips); test++) {
		random_state = seed;
		test_name = chips[test - 1].name;
		chips[test - 1].begin();
		for (steps = 0; steps < count / chips[test - 1].cost; steps++)
			chips[test - 1].step();
		chips[test - 1].end();
		printf("ok %u %s: %llu steps\n", test, test_name, (unsigned long long)steps);
	}
	return 0;
}
