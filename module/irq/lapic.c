// SPDX-License-Identifier: GPL-2.0
/*
 * The local APIC. Source: SDM volume 3, "Advanced Programmable Interrupt Controller (APIC)"; sections are cited by
 * title.
 */
#include "lapic.h"

#define LVT_VECTOR GENMASK(7, 0)
#define LVT_DELIVERY_MODE GENMASK(10, 8)
#define LVT_STATUS BIT(12)
#define LVT_POLARITY BIT(13)
#define LVT_REMOTE_IRR BIT(14)
#define LVT_LEVEL BIT(15)
#define LVT_TIMER_MODE GENMASK(18, 17)
#define LVT_TIMER_MODE_SHIFT 17

/* LVT_TIMER_MODE; the reserved mode counts as TSC-deadline. */
#define TIMER_PERIODIC 1
#define TIMER_TSC_DEADLINE 2

#define ICR_LOGICAL BIT(11)
#define ICR_STATUS BIT(12)
#define ICR_ASSERT BIT(14)
#define ICR_LEVEL BIT(15)
#define ICR_SHORTHAND_SHIFT 18
#define ICR_SELF (APIC_SHORTHAND_SELF << ICR_SHORTHAND_SHIFT)
#define X2APIC_ICR_RESERVED (GENMASK_ULL(31, 20) | GENMASK_ULL(17, 16) | BIT_ULL(13))

/* ESR. SDM, "Error Handling". */
#define ERROR_SEND_VECTOR 5
#define ERROR_RECEIVE_VECTOR 6
#define ERROR_ILLEGAL_REGISTER 7

#define FIRST_VECTOR 16
#define VECTOR_WORDS 8
#define VERSION_INTEGRATED 0x14
#define VERSION_DIRECTED_EOI BIT(24)
#define DFR_MODEL_FLAT 0xf
#define APIC_BASE_RESERVED (GENMASK_ULL(7, 0) | BIT_ULL(9))
#define REGISTER_STEP 0x10

/* Who may do what with a register. */
#define XR BIT(0)
#define XW BIT(1)
#define X2R BIT(2)
#define X2W BIT(3)
#define READ_ANY (XR | X2R)
#define WRITE_ANY (XW | X2W)
#define ANY (READ_ANY | WRITE_ANY)

/**
 * struct lapic_register - what is special about a register
 * @access: XR to X2W
 * @bits: that it has; in x2APIC mode a write of others is #GP
 * @ignored: read-only bits, which may be written
 * @written: what a write does when the value is in the page
 */
struct lapic_register {
	u8 access;
	u32 bits;
	u32 ignored;
	void (*written)(struct lapic *lapic);
};

static __always_inline u32 reg(const struct lapic *lapic, u32 offset)
{
	return READ_ONCE(*(u32 *)(lapic->regs + offset));
}

static __always_inline void set_reg(struct lapic *lapic, u32 offset, u32 value)
{
	WRITE_ONCE(*(u32 *)(lapic->regs + offset), value);
}

/*
 * Vectors: 256 bits in eight registers, 32 bits each. Registers are 16 bytes apart, which leaves room for the
 * unsigned long that atomic bit operations want.
 */

static __always_inline u8 *vector_word(const struct lapic *lapic, unsigned long base, u8 vector)
{
	return lapic->regs + base + (vector & ~31ul) * REGISTER_STEP / 32;
}

static __always_inline u32 vector_bits(const struct lapic *lapic, unsigned long base, u8 vector)
{
	return READ_ONCE(*(u32 *)vector_word(lapic, base, vector));
}

static __always_inline bool test_vector(const struct lapic *lapic, unsigned long base, u8 vector)
{
	return vector_bits(lapic, base, vector) >> (vector & 31) & 1;
}

static __always_inline unsigned long *atomic_word(const struct lapic *lapic, unsigned long base, u8 vector)
{
	return (unsigned long *)vector_word(lapic, base, vector);
}

static int highest_vector(const struct lapic *lapic, u32 base)
{
	int word;

	for (word = VECTOR_WORDS - 1; word >= 0; word--) {
		u32 bits = reg(lapic, base + word * REGISTER_STEP);

		if (bits)
			return word * 32 + fls(bits) - 1;
	}
	return -1;
}

#define IRR_WORD(n) reg(lapic, LAPIC_IRR + REGISTER_STEP * (n))

static __always_inline bool any_request(const struct lapic *lapic)
{
	return IRR_WORD(0) | IRR_WORD(1) | IRR_WORD(2) | IRR_WORD(3) | IRR_WORD(4) | IRR_WORD(5) | IRR_WORD(6) |
	       IRR_WORD(7);
}

static void count_in_service(struct lapic *lapic)
{
	unsigned int word;

	lapic->isr_count = 0;
	for (word = 0; word < VECTOR_WORDS; word++)
		lapic->isr_count += hweight32(reg(lapic, LAPIC_ISR + word * REGISTER_STEP));
	lapic->isr_highest = highest_vector(lapic, LAPIC_ISR);
}

/* SDM, "Task and Processor Priorities". */
static void update_ppr(struct lapic *lapic)
{
	u32 tpr = reg(lapic, LAPIC_TPR);
	u32 in_service = lapic->isr_count ? lapic->isr_highest & 0xf0 : 0;

	set_reg(lapic, LAPIC_PPR, (tpr & 0xf0) >= in_service ? tpr : in_service);
}

/* Hardware may have written TPR behind the model's back, with virtual-interrupt delivery ISR as well. */
static void catch_up(struct lapic *lapic)
{
	if (lapic->virtual_delivery)
		count_in_service(lapic);
	update_ppr(lapic);
}

/* The interrupt is above the processor priority, or it would not be taken: that is its class now. */
static __always_inline void begin_service(struct lapic *lapic, u8 vector)
{
	u32 *word = (u32 *)vector_word(lapic, LAPIC_ISR, vector);

	WRITE_ONCE(*word, *word | BIT(vector & 31));
	lapic->isr_count++;
	lapic->isr_highest = vector;
	set_reg(lapic, LAPIC_PPR, vector & 0xf0);
}

/* Mostly it was the only one, and the task priority is all that is left. */
static __always_inline void end_service(struct lapic *lapic, u8 vector)
{
	u32 *word = (u32 *)vector_word(lapic, LAPIC_ISR, vector);

	WRITE_ONCE(*word, *word & ~BIT(vector & 31));
	if (likely(!--lapic->isr_count)) {
		set_reg(lapic, LAPIC_PPR, reg(lapic, LAPIC_TPR));
		return;
	}
	lapic->isr_highest = highest_vector(lapic, LAPIC_ISR);
	update_ppr(lapic);
}

/*
 * Only the first error since the last write to ESR interrupts: that write re-arms it. (SDM, "Error Handling".) So an
 * error entry whose own vector is illegal comes to rest here, too.
 */
static void report_error(struct lapic *lapic, int error)
{
	bool armed = !READ_ONCE(lapic->errors);

	set_bit(error, &lapic->errors);
	if (armed)
		lapic_local_interrupt(lapic, LAPIC_LVT_ERROR);
}

/* Receiving. */

static void set_trigger(struct lapic *lapic, u8 vector, u8 trig_mode)
{
	if (trig_mode == APIC_TRIGGER_LEVEL)
		set_bit(vector & 31, atomic_word(lapic, LAPIC_TMR, vector));
	else
		clear_bit(vector & 31, atomic_word(lapic, LAPIC_TMR, vector));
}

/*
 * With virtual-interrupt delivery IRR is the hardware's while the guest runs; what comes waits beside it. Source: SDM,
 * "Software Access to Related Structures" in the chapter on VMCSs.
 */

static unsigned long incoming_word(const struct lapic *lapic, unsigned int word)
{
	return READ_ONCE(lapic->incoming[word]) | (lapic->posted ? READ_ONCE(lapic->posted[word]) : 0);
}

static int highest_incoming(const struct lapic *lapic)
{
	int word;

	for (word = LAPIC_INBOX_WORDS - 1; word >= 0; word--) {
		unsigned long bits = incoming_word(lapic, word);

		if (bits)
			return word * 64 + fls64(bits) - 1;
	}
	return -1;
}

bool lapic_has_incoming(const struct lapic *lapic)
{
	return highest_incoming(lapic) >= 0;
}

static void add_requests(struct lapic *lapic, u32 offset, u32 bits)
{
	set_reg(lapic, LAPIC_IRR + offset, reg(lapic, LAPIC_IRR + offset) | bits);
}

static unsigned long take_incoming(struct lapic *lapic, unsigned int word)
{
	unsigned long bits;

	if (!incoming_word(lapic, word))
		return 0;
	bits = xchg(&lapic->incoming[word], 0);
	return lapic->posted ? bits | xchg(&lapic->posted[word], 0) : bits;
}

void lapic_collect(struct lapic *lapic)
{
	unsigned int word;

	for (word = 0; word < LAPIC_INBOX_WORDS; word++) {
		unsigned long bits = take_incoming(lapic, word);

		if (!bits)
			continue;
		add_requests(lapic, 2 * word * REGISTER_STEP, bits);
		add_requests(lapic, (2 * word + 1) * REGISTER_STEP, bits >> 32);
	}
}

static void drop_incoming(struct lapic *lapic)
{
	unsigned int word;

	for (word = 0; word < LAPIC_INBOX_WORDS; word++)
		take_incoming(lapic, word);
}

static int accept_incoming(struct lapic *lapic, u8 vector)
{
	unsigned long *inbox = READ_ONCE(lapic->inbox);

	if (test_and_set_bit(vector % 64, &inbox[vector / 64]))
		return LAPIC_MERGED;
	return inbox == lapic->posted ? LAPIC_POSTED : LAPIC_ACCEPTED;
}

/* The request is visible before irr_pending says that there is one; lapic_ack() does it the other way round. */
static __always_inline int accept_fixed(struct lapic *lapic, u8 vector, u8 trig_mode)
{
	if (unlikely(!READ_ONCE(lapic->accepting)))
		return LAPIC_REFUSED;
	if (unlikely(vector < FIRST_VECTOR)) {
		report_error(lapic, ERROR_RECEIVE_VECTOR);
		return LAPIC_REFUSED;
	}
	if (unlikely(test_vector(lapic, LAPIC_TMR, vector) != trig_mode))
		set_trigger(lapic, vector, trig_mode);
	if (lapic->virtual_delivery)
		return accept_incoming(lapic, vector);
	if (test_and_set_bit(vector & 31, atomic_word(lapic, LAPIC_IRR, vector)))
		return LAPIC_MERGED;
	WRITE_ONCE(lapic->irr_pending, true);
	return LAPIC_ACCEPTED;
}

/* Software-disabled or not: SDM, "Local APIC State After It Has Been Software Disabled". */
static int accept_special(struct lapic *lapic, u8 delivery_mode, u8 vector)
{
	const struct lapic_ops *ops = lapic->ops;

	if (READ_ONCE(lapic->mode) == LAPIC_OFF)
		return LAPIC_REFUSED;
	switch (delivery_mode) {
	case APIC_DELIVER_SMI:
		ops->smi(lapic->ctx);
		return LAPIC_ACCEPTED;
	case APIC_DELIVER_NMI:
		ops->nmi(lapic->ctx);
		return LAPIC_ACCEPTED;
	case APIC_DELIVER_INIT:
		ops->init(lapic->ctx);
		return LAPIC_ACCEPTED;
	case APIC_DELIVER_STARTUP:
		ops->sipi(lapic->ctx, vector);
		return LAPIC_ACCEPTED;
	default:
		return LAPIC_REFUSED;
	}
}

int lapic_accept(struct lapic *lapic, u8 delivery_mode, u8 vector, bool level, u8 trig_mode)
{
	trig_mode &= 1;
	if (unlikely(trig_mode == APIC_TRIGGER_LEVEL && !level))
		return LAPIC_REFUSED;
	if (likely(delivery_mode <= APIC_DELIVER_LOWEST))
		return accept_fixed(lapic, vector, trig_mode);
	return accept_special(lapic, delivery_mode, vector);
}

/* LINT0 and LINT1 count as edge-triggered whatever their entry says: nothing of a PC drives them otherwise. */
int lapic_local_interrupt(struct lapic *lapic, u32 lvt)
{
	u32 entry = reg(lapic, lvt);
	int accepted;

	if (entry & APIC_LVT_MASKED)
		return LAPIC_REFUSED;
	accepted = lapic_accept(lapic, (entry & LVT_DELIVERY_MODE) >> 8, entry & LVT_VECTOR, true, APIC_TRIGGER_EDGE);
	/* SDM, "Generating an Interrupt on Counter Overflow": the handler must unmask. */
	if (lvt == LAPIC_LVT_PMC && accepted != LAPIC_REFUSED && lapic->config.pmi_masks)
		set_bit(16, (unsigned long *)(lapic->regs + LAPIC_LVT_PMC));
	return accepted;
}

bool lapic_accepts_pic(const struct lapic *lapic)
{
	u32 lint0 = reg(lapic, LAPIC_LVT_LINT0);

	if (READ_ONCE(lapic->mode) == LAPIC_OFF)
		return true;
	return !(lint0 & APIC_LVT_MASKED) && (lint0 & LVT_DELIVERY_MODE) >> 8 == APIC_DELIVER_EXTINT;
}

/* SDM, "Logical Destination Mode" and "Logical Destination Mode in x2APIC Mode". */
static bool matches_logical(const struct lapic *lapic, u32 dest, bool x2apic)
{
	u32 ldr = reg(lapic, LAPIC_LDR);

	if (x2apic)
		return ldr >> 16 == dest >> 16 && (ldr & dest & 0xffff);
	if (dest > 0xff)
		return false;
	ldr >>= 24;
	switch (reg(lapic, LAPIC_DFR) >> 28) {
	case DFR_MODEL_FLAT:
		return ldr & dest;
	case 0: /* cluster */
		return ldr >> 4 == dest >> 4 && (ldr & dest & 0xf);
	default:
		return false;
	}
}

bool lapic_matches(const struct lapic *lapic, u32 dest, u8 dest_mode)
{
	u8 mode = READ_ONCE(lapic->mode);

	if (mode == LAPIC_OFF)
		return false;
	if (dest == APIC_DEST_BROADCAST || (mode == LAPIC_XAPIC && dest == APIC_DEST_BROADCAST_XAPIC))
		return true;
	if (dest_mode == APIC_DEST_LOGICAL)
		return matches_logical(lapic, dest, mode == LAPIC_X2APIC);
	/* An ID that an xAPIC cannot have reaches a CPU whose local APIC is still to be switched to x2APIC mode. */
	if (mode == LAPIC_X2APIC || dest > 0xff)
		return dest == lapic->id;
	return dest == reg(lapic, LAPIC_ID) >> 24;
}

/* To the CPU. */

int lapic_highest_request(const struct lapic *lapic)
{
	return highest_vector(lapic, LAPIC_IRR);
}

int lapic_highest_in_service(const struct lapic *lapic)
{
	return highest_vector(lapic, LAPIC_ISR);
}

bool lapic_level_in_flight(const struct lapic *lapic, u8 vector)
{
	return test_vector(lapic, LAPIC_TMR, vector) &&
	       (test_vector(lapic, LAPIC_IRR, vector) || test_vector(lapic, LAPIC_ISR, vector) ||
		incoming_word(lapic, vector / 64) >> vector % 64 & 1);
}

int lapic_search_irq(struct lapic *lapic)
{
	int vector = highest_vector(lapic, LAPIC_IRR);

	if (lapic->virtual_delivery)
		vector = max(vector, highest_incoming(lapic));
	if (vector < 0 || unlikely(lapic->mode == LAPIC_OFF))
		return -1;
	catch_up(lapic);
	return (vector & 0xf0) > (int)(reg(lapic, LAPIC_PPR) & 0xf0) ? vector : -1;
}

/*
 * irr_pending is false before IRR is looked at, with the barrier of clear_bit() between: a request that comes after the
 * look sets it again.
 */
int lapic_ack(struct lapic *lapic)
{
	int vector = lapic_highest_irq(lapic);

	if (vector < 0)
		return -1;
	WRITE_ONCE(lapic->irr_pending, false);
	clear_bit(vector & 31, atomic_word(lapic, LAPIC_IRR, vector));
	if (any_request(lapic))
		WRITE_ONCE(lapic->irr_pending, true);
	begin_service(lapic, vector);
	return vector;
}

static __always_inline bool eoi_reported(const struct lapic *lapic, u8 vector)
{
	return (vector_bits(lapic, LAPIC_TMR, vector) | lapic->eoi_exit[vector >> 5]) >> (vector & 31) & 1;
}

bool lapic_eoi_is_private(const struct lapic *lapic)
{
	return lapic->isr_count == 1 && !READ_ONCE(lapic->irr_pending) && !eoi_reported(lapic, lapic->isr_highest);
}

/* SDM, "Signaling Interrupt Servicing Completion": software may have taken the broadcast upon itself. */
void lapic_eoi_virtualized(struct lapic *lapic, u8 vector)
{
	bool level = test_vector(lapic, LAPIC_TMR, vector);

	if (level && reg(lapic, LAPIC_SVR) & APIC_SVR_DIRECTED_EOI)
		return;
	lapic->ops->eoi(lapic->ctx, vector, level ? APIC_TRIGGER_LEVEL : APIC_TRIGGER_EDGE);
}

static __always_inline void end_of_interrupt(struct lapic *lapic)
{
	u8 vector;

	if (unlikely(lapic->virtual_delivery))
		count_in_service(lapic);
	vector = lapic->isr_highest;
	if (unlikely(!lapic->isr_count))
		return;
	end_service(lapic, vector);
	if (unlikely(eoi_reported(lapic, vector)))
		lapic_eoi_virtualized(lapic, vector);
}

void lapic_eoi(struct lapic *lapic)
{
	end_of_interrupt(lapic);
}

void lapic_set_eoi_exits(struct lapic *lapic, const u32 bitmap[8])
{
	memcpy(lapic->eoi_exit, bitmap, sizeof(lapic->eoi_exit));
}

void lapic_set_tpr(struct lapic *lapic, u8 tpr)
{
	set_reg(lapic, LAPIC_TPR, tpr);
	update_ppr(lapic);
}

void lapic_set_cr8(struct lapic *lapic, u8 cr8)
{
	lapic_set_tpr(lapic, cr8 << 4);
}

u8 lapic_tpr_threshold(const struct lapic *lapic)
{
	int class = lapic->irr_pending ? highest_vector(lapic, LAPIC_IRR) >> 4 : -1;

	return class > 0 && class <= lapic_cr8(lapic) ? class : 0;
}

/* The timer. SDM, "APIC Timer". Its bus clock is 1 GHz, so that a tick divided by one is a nanosecond. */

static void update_divide(struct lapic *lapic)
{
	u32 tdcr = reg(lapic, LAPIC_TDCR);

	lapic->divide_shift = ((tdcr & 3) + (tdcr >> 1 & 4) + 1) & 7;
}

static u64 timer_period(const struct lapic *lapic)
{
	u64 period = (u64)reg(lapic, LAPIC_TMICT) << lapic->divide_shift;

	return lapic->timer_mode == TIMER_PERIODIC ? max_t(u64, period, lapic->config.min_period_ns) : period;
}

static void stop_timer(struct lapic *lapic)
{
	if (lapic->timer_running)
		lapic->ops->timer_cancel(lapic->ctx);
	lapic->timer_running = false;
}

/* Let the counter reach zero after @left. */
static void run_timer(struct lapic *lapic, u64 left)
{
	lapic->target_ns = lapic->ops->now_ns(lapic->ctx) + left;
	lapic->timer_running = true;
	lapic->ops->timer_arm_ns(lapic->ctx, lapic->target_ns);
}

static bool timer_counts(const struct lapic *lapic)
{
	return lapic->timer_running && !(lapic->timer_mode & TIMER_TSC_DEADLINE);
}

/* The host may be late, and a periodic counter has then gone round. */
static u64 timer_left(const struct lapic *lapic)
{
	u64 now = lapic->ops->now_ns(lapic->ctx);
	u64 late, period;

	if (now < lapic->target_ns)
		return lapic->target_ns - now;
	if (lapic->timer_mode != TIMER_PERIODIC)
		return 0;
	late = now - lapic->target_ns;
	period = timer_period(lapic);
	return period - (late - div64_u64(late, period) * period);
}

/* A period that was made longer does not show in the count. */
static u32 current_count(const struct lapic *lapic)
{
	if (!timer_counts(lapic))
		return 0;
	return min_t(u64, timer_left(lapic) >> lapic->divide_shift, reg(lapic, LAPIC_TMICT));
}

static void written_tmict(struct lapic *lapic)
{
	if (lapic->timer_mode & TIMER_TSC_DEADLINE)
		set_reg(lapic, LAPIC_TMICT, 0);
	else if (reg(lapic, LAPIC_TMICT))
		run_timer(lapic, timer_period(lapic));
	else
		stop_timer(lapic);
}

/* The count goes on from where it is, at the new pace. */
static void written_tdcr(struct lapic *lapic)
{
	u64 count = timer_counts(lapic) ? timer_left(lapic) >> lapic->divide_shift : 0;

	update_divide(lapic);
	if (timer_counts(lapic))
		run_timer(lapic, count << lapic->divide_shift);
}

/* Between TSC-deadline mode and the others the timer is disarmed. SDM, "TSC-Deadline Mode". */
static void set_timer_mode(struct lapic *lapic, u8 mode)
{
	if ((mode ^ lapic->timer_mode) & TIMER_TSC_DEADLINE) {
		stop_timer(lapic);
		lapic->tsc_deadline = 0;
		set_reg(lapic, LAPIC_TMICT, 0);
	}
	lapic->timer_mode = mode;
}

u64 lapic_tsc_deadline(const struct lapic *lapic)
{
	return lapic->tsc_deadline;
}

void lapic_set_tsc_deadline(struct lapic *lapic, u64 deadline)
{
	if (unlikely(!(lapic->timer_mode & TIMER_TSC_DEADLINE)))
		return;
	lapic->tsc_deadline = deadline;
	if (unlikely(!deadline)) {
		stop_timer(lapic);
		return;
	}
	lapic->timer_running = true;
	lapic->ops->timer_arm_tsc(lapic->ctx, deadline);
}

/* Periods that the host slept through are one interrupt: IRR has but one bit. */
static void next_period(struct lapic *lapic)
{
	u64 now = lapic->ops->now_ns(lapic->ctx);
	u64 period = timer_period(lapic);
	u64 missed = now > lapic->target_ns ? div64_u64(now - lapic->target_ns, period) : 0;

	lapic->target_ns += (missed + 1) * period;
	lapic->ops->timer_arm_ns(lapic->ctx, lapic->target_ns);
}

void lapic_timer_expired(struct lapic *lapic)
{
	if (!lapic->timer_running)
		return;
	if (lapic->timer_mode == TIMER_PERIODIC) {
		next_period(lapic);
	} else {
		lapic->timer_running = false;
		lapic->tsc_deadline = 0;
	}
	lapic_local_interrupt(lapic, LAPIC_LVT_TIMER);
}

/* Sending. SDM, "Issuing Interprocessor Interrupts". */

/* A level-triggered IPI is sent as an edge when asserted, and not at all when de-asserted: "Valid ICR combinations". */
static void send_ipi(struct lapic *lapic, u32 icr, u32 dest)
{
	struct apic_message msg = {
		.dest = dest,
		.vector = icr & LVT_VECTOR,
		.delivery_mode = (icr & LVT_DELIVERY_MODE) >> 8,
		.dest_mode = icr & ICR_LOGICAL ? APIC_DEST_LOGICAL : APIC_DEST_PHYSICAL,
		.shorthand = icr >> ICR_SHORTHAND_SHIFT & 3,
		.trig_mode = APIC_TRIGGER_EDGE,
		.level = true,
	};

	if (icr & ICR_LEVEL && !(icr & ICR_ASSERT))
		return;
	if (msg.delivery_mode == APIC_DELIVER_REMOTE_READ || msg.delivery_mode == APIC_DELIVER_EXTINT)
		return;
	if (msg.delivery_mode <= APIC_DELIVER_LOWEST && msg.vector < FIRST_VECTOR)
		report_error(lapic, ERROR_SEND_VECTOR);
	else if (msg.shorthand == APIC_SHORTHAND_SELF)
		lapic_accept(lapic, msg.delivery_mode, msg.vector, msg.level, msg.trig_mode);
	else
		lapic->ops->send(lapic->ctx, &msg);
}

static void self_ipi(struct lapic *lapic, u8 vector)
{
	if (likely(vector >= FIRST_VECTOR))
		accept_fixed(lapic, vector, APIC_TRIGGER_EDGE);
	else
		report_error(lapic, ERROR_SEND_VECTOR);
}

/* In x2APIC mode ICR is one register of 64 bits, in the page as well. */
static __always_inline u64 *x2apic_icr(const struct lapic *lapic)
{
	return (u64 *)(lapic->regs + LAPIC_ICR);
}

static __always_inline int write_x2apic_icr(struct lapic *lapic, u64 value)
{
	if (unlikely(value & X2APIC_ICR_RESERVED))
		return -EINVAL;
	*x2apic_icr(lapic) = value & ~ICR_STATUS;
	if ((value & ~(LVT_VECTOR | ICR_STATUS | ICR_ASSERT)) == ICR_SELF)
		self_ipi(lapic, value & LVT_VECTOR);
	else
		send_ipi(lapic, value, value >> 32);
	return 0;
}

/* What writing a register does. */

static void dest_changed(struct lapic *lapic)
{
	if (lapic->ops->dest_changed)
		lapic->ops->dest_changed(lapic->ctx);
}

static void tpr_accessed(struct lapic *lapic, bool write)
{
	if (lapic->ops->tpr_accessed)
		lapic->ops->tpr_accessed(lapic->ctx, write);
}

static void written_tpr(struct lapic *lapic)
{
	update_ppr(lapic);
	tpr_accessed(lapic, true);
}

static void written_dfr(struct lapic *lapic)
{
	set_reg(lapic, LAPIC_DFR, reg(lapic, LAPIC_DFR) | GENMASK(27, 0));
	dest_changed(lapic);
}

static void written_self_ipi(struct lapic *lapic)
{
	self_ipi(lapic, reg(lapic, LAPIC_SELF_IPI));
}

/* The write shows what was detected since the last one. SDM, "Error Handling". */
static void written_esr(struct lapic *lapic)
{
	set_reg(lapic, LAPIC_ESR, xchg(&lapic->errors, 0));
}

static void written_icr(struct lapic *lapic)
{
	send_ipi(lapic, reg(lapic, LAPIC_ICR), reg(lapic, LAPIC_ICR2) >> 24);
}

static bool software_enabled(const struct lapic *lapic)
{
	return reg(lapic, LAPIC_SVR) & APIC_SVR_ENABLE;
}

static void update_accepting(struct lapic *lapic)
{
	WRITE_ONCE(lapic->accepting, lapic->mode != LAPIC_OFF && software_enabled(lapic));
}

/* The CMCI entry, which not all have, comes first. */
static void mask_lvt(struct lapic *lapic)
{
	static const u16 entries[] = { LAPIC_LVT_CMCI,	LAPIC_LVT_TIMER, LAPIC_LVT_THERMAL, LAPIC_LVT_PMC,
				       LAPIC_LVT_LINT0, LAPIC_LVT_LINT1, LAPIC_LVT_ERROR };
	unsigned int i;

	for (i = lapic->config.cmci ? 0 : 1; i < ARRAY_SIZE(entries); i++)
		set_reg(lapic, entries[i], reg(lapic, entries[i]) | APIC_LVT_MASKED);
}

/* SDM, "Local APIC State After It Has Been Software Disabled": entries are masked, and stay so. */
static void written_lvt(struct lapic *lapic)
{
	if (!software_enabled(lapic))
		mask_lvt(lapic);
}

static void written_lvt_timer(struct lapic *lapic)
{
	written_lvt(lapic);
	set_timer_mode(lapic, (reg(lapic, LAPIC_LVT_TIMER) & LVT_TIMER_MODE) >> LVT_TIMER_MODE_SHIFT);
}

/* The same value again changes no destination: kernels write it more than once. */
static void written_svr(struct lapic *lapic)
{
	bool accepted = lapic->accepting;

	written_lvt(lapic);
	update_accepting(lapic);
	if (lapic->accepting != accepted)
		dest_changed(lapic);
}

#define LVT_BITS (LVT_VECTOR | LVT_DELIVERY_MODE | APIC_LVT_MASKED)
#define LINT_BITS (LVT_BITS | LVT_POLARITY | LVT_LEVEL)
#define LINT_IGNORED (LVT_STATUS | LVT_REMOTE_IRR)

/*
 * ID and LDR are listed as the xAPIC's; in x2APIC mode they cannot be written. ISR, TMR and IRR have no vectors below
 * 16. ICR keeps its reserved bits in xAPIC mode, as KVM's does; x2APIC mode has a way of its own to it. APR and RRR are
 * there for readers: they read as zero.
 */
static const struct lapic_register registers[LAPIC_REGS_SIZE / REGISTER_STEP] = {
	[LAPIC_ID >> 4] = { READ_ANY | XW, GENMASK(31, 24), 0, dest_changed },
	[LAPIC_VERSION >> 4] = { READ_ANY, ~0u, 0, NULL },
	[LAPIC_TPR >> 4] = { ANY, GENMASK(7, 0), 0, written_tpr },
	[LAPIC_APR >> 4] = { XR, 0, 0, NULL },
	[LAPIC_PPR >> 4] = { READ_ANY, GENMASK(7, 0), 0, NULL },
	[LAPIC_EOI >> 4] = { WRITE_ANY, 0, 0, lapic_eoi },
	[LAPIC_RRR >> 4] = { XR, 0, 0, NULL },
	[LAPIC_LDR >> 4] = { READ_ANY | XW, GENMASK(31, 24), 0, dest_changed },
	[LAPIC_DFR >> 4] = { XR | XW, ~0u, 0, written_dfr },
	[LAPIC_SVR >> 4] = { ANY, GENMASK(9, 0) | APIC_SVR_DIRECTED_EOI, 0, written_svr },
	[LAPIC_ISR >> 4] = { READ_ANY, GENMASK(31, 16), 0, NULL },
	[(LAPIC_ISR >> 4) + 1 ...(LAPIC_ISR >> 4) + 7] = { READ_ANY, ~0u, 0, NULL },
	[LAPIC_TMR >> 4] = { READ_ANY, GENMASK(31, 16), 0, NULL },
	[(LAPIC_TMR >> 4) + 1 ...(LAPIC_TMR >> 4) + 7] = { READ_ANY, ~0u, 0, NULL },
	[LAPIC_IRR >> 4 ...(LAPIC_IRR >> 4) + 7] = { READ_ANY, ~0u, 0, NULL },
	[LAPIC_ESR >> 4] = { ANY, GENMASK(7, 0), 0, written_esr },
	[LAPIC_LVT_CMCI >> 4] = { ANY, LVT_BITS, LVT_STATUS, written_lvt },
	[LAPIC_ICR >> 4] = { READ_ANY | XW, (u32)~ICR_STATUS, ICR_STATUS, written_icr },
	[LAPIC_ICR2 >> 4] = { XR | XW, GENMASK(31, 24), 0, NULL },
	[LAPIC_LVT_TIMER >> 4] = { ANY, LVT_VECTOR | APIC_LVT_MASKED | LVT_TIMER_MODE, LVT_STATUS, written_lvt_timer },
	[LAPIC_LVT_THERMAL >> 4] = { ANY, LVT_BITS, LVT_STATUS, written_lvt },
	[LAPIC_LVT_PMC >> 4] = { ANY, LVT_BITS, LVT_STATUS, written_lvt },
	[LAPIC_LVT_LINT0 >> 4] = { ANY, LINT_BITS, LINT_IGNORED, written_lvt },
	[LAPIC_LVT_LINT1 >> 4] = { ANY, LINT_BITS, LINT_IGNORED, written_lvt },
	[LAPIC_LVT_ERROR >> 4] = { ANY, LVT_VECTOR | APIC_LVT_MASKED, LVT_STATUS, written_lvt },
	[LAPIC_TMICT >> 4] = { ANY, ~0u, 0, written_tmict },
	[LAPIC_TMCCT >> 4] = { READ_ANY, ~0u, 0, NULL },
	[LAPIC_TDCR >> 4] = { ANY, BIT(0) | BIT(1) | BIT(3), 0, written_tdcr },
	[LAPIC_SELF_IPI >> 4] = { X2W, GENMASK(7, 0), 0, written_self_ipi },
};

/* NULL if @offset is no register, or not for @xapic or @x2apic, whichever mode this is. */
static const struct lapic_register *find_register(const struct lapic *lapic, u32 offset, u8 xapic, u8 x2apic)
{
	u8 access = lapic->mode == LAPIC_X2APIC ? x2apic : xapic;

	if (offset >= LAPIC_REGS_SIZE || !(registers[offset >> 4].access & access))
		return NULL;
	if (offset == LAPIC_LVT_CMCI && !lapic->config.cmci)
		return NULL;
	return &registers[offset >> 4];
}

static u32 register_bits(const struct lapic *lapic, u32 offset)
{
	u32 bits = registers[offset >> 4].bits;

	if (offset == LAPIC_SVR && !lapic->config.directed_eoi)
		bits &= ~APIC_SVR_DIRECTED_EOI;
	if (offset == LAPIC_LVT_TIMER && !lapic->config.tsc_deadline)
		bits &= ~(TIMER_TSC_DEADLINE << LVT_TIMER_MODE_SHIFT);
	if (offset == LAPIC_LVT_CMCI && !lapic->config.cmci)
		bits = 0;
	return bits;
}

static u32 read_register(struct lapic *lapic, u32 offset)
{
	if (offset == LAPIC_PPR)
		catch_up(lapic);
	if (offset == LAPIC_TPR)
		tpr_accessed(lapic, false);
	return offset == LAPIC_TMCCT ? current_count(lapic) : reg(lapic, offset);
}

static void write_register(struct lapic *lapic, u32 offset, u32 value)
{
	set_reg(lapic, offset, value & register_bits(lapic, offset));
	if (registers[offset >> 4].written)
		registers[offset >> 4].written(lapic);
}

/* xAPIC. SDM, "Local APIC Register Address Map". */

void lapic_mmio_read(struct lapic *lapic, u32 offset, void *data, unsigned int len)
{
	u32 byte = offset & (REGISTER_STEP - 1);
	u32 value;

	offset -= byte;
	memset(data, 0, len);
	if (!find_register(lapic, offset, XR, 0)) {
		if (!find_register(lapic, offset, XW, 0))
			report_error(lapic, ERROR_ILLEGAL_REGISTER);
		return;
	}
	if (byte + len > sizeof(value))
		return;
	value = read_register(lapic, offset);
	memcpy(data, (u8 *)&value + byte, len);
}

void lapic_mmio_write(struct lapic *lapic, u32 offset, const void *data, unsigned int len)
{
	u32 value;

	if (len != sizeof(value) || offset % REGISTER_STEP)
		return;
	memcpy(&value, data, sizeof(value));
	if (find_register(lapic, offset, XW, 0))
		write_register(lapic, offset, value);
	else if (!find_register(lapic, offset, XR, 0))
		report_error(lapic, ERROR_ILLEGAL_REGISTER);
}

void lapic_written(struct lapic *lapic, u32 offset)
{
	offset -= offset % REGISTER_STEP;
	if (find_register(lapic, offset, XW, X2W))
		write_register(lapic, offset, reg(lapic, offset));
}

/* x2APIC. SDM, "x2APIC Register Address Space" and "Reserved Bit Checking". */

int lapic_msr_read(struct lapic *lapic, u32 msr, u64 *value)
{
	u32 offset = (msr - X2APIC_MSR_FIRST) * REGISTER_STEP;

	if (lapic->mode != LAPIC_X2APIC || !find_register(lapic, offset, 0, X2R))
		return -EINVAL;
	*value = offset == LAPIC_ICR ? *x2apic_icr(lapic) : read_register(lapic, offset);
	return 0;
}

/* Only zero may be written to EOI and ESR. A bit for what this local APIC lacks is no reason for #GP in SVR. */
static bool reserved_bits_set(const struct lapic *lapic, u32 offset, u64 value)
{
	const struct lapic_register *r = &registers[offset >> 4];

	if (offset == LAPIC_ESR)
		return value;
	if (offset == LAPIC_SVR)
		return value & ~(u64)r->bits;
	return value & ~(u64)(register_bits(lapic, offset) | r->ignored);
}

static int write_x2apic(struct lapic *lapic, u32 offset, u64 value)
{
	if (!find_register(lapic, offset, 0, X2W) || reserved_bits_set(lapic, offset, value))
		return -EINVAL;
	write_register(lapic, offset, value);
	return 0;
}

int lapic_msr_write(struct lapic *lapic, u32 msr, u64 value)
{
	if (unlikely(lapic->mode != LAPIC_X2APIC))
		return -EINVAL;
	if (msr == X2APIC_MSR(LAPIC_EOI) && !value) {
		end_of_interrupt(lapic);
		return 0;
	}
	if (msr == X2APIC_MSR(LAPIC_ICR))
		return write_x2apic_icr(lapic, value);
	if (msr == X2APIC_MSR(LAPIC_SELF_IPI) && value <= LVT_VECTOR) {
		self_ipi(lapic, value);
		return 0;
	}
	return write_x2apic(lapic, (msr - X2APIC_MSR_FIRST) * REGISTER_STEP, value);
}

/* Modes. SDM, "x2APIC State Transitions". */

/* SDM, "Deriving Logical x2APIC ID from the Local x2APIC ID". */
static u32 x2apic_ldr(u32 id)
{
	return id >> 4 << 16 | 1u << (id & 0xf);
}

static void set_ids(struct lapic *lapic)
{
	bool x2apic = lapic->mode == LAPIC_X2APIC;

	set_reg(lapic, LAPIC_ID, x2apic ? lapic->id : lapic->id << 24);
	set_reg(lapic, LAPIC_LDR, x2apic ? x2apic_ldr(lapic->id) : 0);
}

static void set_version(struct lapic *lapic)
{
	u32 last_entry = lapic->config.cmci ? 6 : 5;

	set_reg(lapic, LAPIC_VERSION,
		VERSION_INTEGRATED | last_entry << 16 | (lapic->config.directed_eoi ? VERSION_DIRECTED_EOI : 0));
}

/* SDM, "Local APIC State After Power-Up or Reset". */
static void reset_registers(struct lapic *lapic)
{
	const struct lapic_config *config = &lapic->config;
	u32 offset;

	stop_timer(lapic);
	lapic->timer_mode = 0;
	lapic->tsc_deadline = 0;
	xchg(&lapic->errors, 0);
	/* The ID stays: by it a SIPI finds the CPU that is answering an INIT. */
	for (offset = 0; offset < LAPIC_REGS_SIZE; offset += sizeof(u32))
		if (offset != LAPIC_ID)
			set_reg(lapic, offset, 0);
	set_reg(lapic, LAPIC_DFR, ~0u);
	set_reg(lapic, LAPIC_SVR, 0xff);
	update_divide(lapic);
	mask_lvt(lapic);
	if (config->bsp && config->virtual_wire)
		set_reg(lapic, LAPIC_LVT_LINT0, APIC_DELIVER_EXTINT << 8);
	set_version(lapic);
	set_ids(lapic);
	drop_incoming(lapic);
	lapic_resync(lapic);
}

void lapic_resync(struct lapic *lapic)
{
	count_in_service(lapic);
	update_ppr(lapic);
	update_accepting(lapic);
	xchg(&lapic->irr_pending, lapic->virtual_delivery);
	if (any_request(lapic))
		WRITE_ONCE(lapic->irr_pending, true);
}

void lapic_allow_posting(struct lapic *lapic, bool allowed)
{
	WRITE_ONCE(lapic->inbox, allowed && lapic->posted ? lapic->posted : lapic->incoming);
}

void lapic_virtualize_delivery(struct lapic *lapic, unsigned long *posted)
{
	lapic->posted = posted;
	lapic_allow_posting(lapic, false);
	lapic->virtual_delivery = true;
	lapic_resync(lapic);
}

static void set_mode(struct lapic *lapic, enum lapic_mode mode)
{
	WRITE_ONCE(lapic->mode, mode);
	set_ids(lapic);
	*x2apic_icr(lapic) = reg(lapic, LAPIC_ICR);
	set_reg(lapic, LAPIC_ICR2, 0);
	update_accepting(lapic);
}

void lapic_reset(struct lapic *lapic, bool init)
{
	if (!init) {
		lapic->base = APIC_BASE_DEFAULT | APIC_BASE_ENABLE | (lapic->config.bsp ? APIC_BASE_BSP : 0);
		WRITE_ONCE(lapic->mode, LAPIC_XAPIC);
	}
	reset_registers(lapic);
	dest_changed(lapic);
}

void lapic_configure(struct lapic *lapic, const struct lapic_config *config)
{
	if (config->cmci && !lapic->config.cmci)
		set_reg(lapic, LAPIC_LVT_CMCI, APIC_LVT_MASKED);
	lapic->config = *config;
	if (!config->min_period_ns)
		lapic->config.min_period_ns = LAPIC_MIN_PERIOD_NS;
	set_version(lapic);
}

void lapic_init(struct lapic *lapic, u8 *regs, u32 id, const struct lapic_config *config, const struct lapic_ops *ops,
		void *ctx)
{
	*lapic = (struct lapic){ .regs = regs, .id = id, .ops = ops, .ctx = ctx };
	lapic_configure(lapic, config);
	lapic_reset(lapic, false);
}

/* -1: x2APIC mode without being enabled, which does not exist. */
static int mode_of_base(u64 base)
{
	switch (base & (APIC_BASE_ENABLE | APIC_BASE_X2APIC)) {
	case 0:
		return LAPIC_OFF;
	case APIC_BASE_ENABLE:
		return LAPIC_XAPIC;
	case APIC_BASE_ENABLE | APIC_BASE_X2APIC:
		return LAPIC_X2APIC;
	default:
		return -1;
	}
}

static bool mode_reachable(u8 from, int to)
{
	static const u8 next[] = {
		[LAPIC_OFF] = BIT(LAPIC_OFF) | BIT(LAPIC_XAPIC),
		[LAPIC_XAPIC] = BIT(LAPIC_OFF) | BIT(LAPIC_XAPIC) | BIT(LAPIC_X2APIC),
		[LAPIC_X2APIC] = BIT(LAPIC_OFF) | BIT(LAPIC_X2APIC),
	};

	return next[from] >> to & 1;
}

int lapic_set_base(struct lapic *lapic, u64 value, bool host)
{
	u64 reserved = APIC_BASE_RESERVED | lapic->config.base_reserved | (lapic->config.x2apic ? 0 : APIC_BASE_X2APIC);
	bool moved = value >> 12 != lapic->base >> 12;
	int mode = mode_of_base(value);

	if (value & reserved || mode < 0 || (!host && !mode_reachable(lapic->mode, mode)))
		return -EINVAL;
	lapic->base = value;
	if (mode == lapic->mode && !moved)
		return 0;
	if (mode != lapic->mode)
		set_mode(lapic, mode);
	if (mode == LAPIC_OFF && !host)
		reset_registers(lapic);
	dest_changed(lapic);
	return 0;
}

/* State for the client. */

static u32 blob_reg(const struct kvm_lapic_state *state, u32 offset)
{
	u32 value;

	memcpy(&value, state->regs + offset, sizeof(value));
	return value;
}

static void set_blob_reg(struct kvm_lapic_state *state, u32 offset, u32 value)
{
	memcpy(state->regs + offset, &value, sizeof(value));
}

/* A count that is about to end is kept at one tick, for zero means that it has ended. */
static u32 saved_count(const struct lapic *lapic)
{
	return timer_counts(lapic) ? max_t(u32, current_count(lapic), 1) : 0;
}

/* In the client's format the x2APIC ICR is split as the xAPIC's is, and the ID sits in the upper byte if it asks so. */
void lapic_get_state(struct lapic *lapic, struct kvm_lapic_state *state)
{
	lapic_collect(lapic);
	catch_up(lapic);
	memcpy(state->regs, lapic->regs, sizeof(state->regs));
	set_blob_reg(state, LAPIC_TMCCT, saved_count(lapic));
	if (lapic->mode != LAPIC_X2APIC)
		return;
	set_blob_reg(state, LAPIC_ICR2, *x2apic_icr(lapic) >> 32);
	set_blob_reg(state, LAPIC_ICR + sizeof(u32), 0);
	if (!lapic->config.x2apic_format)
		set_blob_reg(state, LAPIC_ID, lapic->id << 24);
}

static void restart_timer(struct lapic *lapic, u32 count)
{
	u64 period = timer_period(lapic);
	u64 left = (u64)count << lapic->divide_shift;

	if (lapic->timer_mode & TIMER_TSC_DEADLINE)
		lapic_set_tsc_deadline(lapic, lapic->tsc_deadline);
	else if (reg(lapic, LAPIC_TMICT) && left)
		run_timer(lapic, min(left, period));
	else if (reg(lapic, LAPIC_TMICT) && lapic->timer_mode == TIMER_PERIODIC)
		run_timer(lapic, period);
}

/* Own the values that software cannot choose, whatever the blob says. */
static void repair_registers(struct lapic *lapic, const struct kvm_lapic_state *state)
{
	bool x2apic = lapic->mode == LAPIC_X2APIC;

	set_version(lapic);
	set_reg(lapic, LAPIC_TMCCT, 0);
	set_reg(lapic, LAPIC_DFR, reg(lapic, LAPIC_DFR) | GENMASK(27, 0));
	if (x2apic) {
		set_ids(lapic);
		*x2apic_icr(lapic) = reg(lapic, LAPIC_ICR) | (u64)blob_reg(state, LAPIC_ICR2) << 32;
		set_reg(lapic, LAPIC_ICR2, 0);
	}
	if (!software_enabled(lapic))
		mask_lvt(lapic);
}

int lapic_set_state(struct lapic *lapic, const struct kvm_lapic_state *state)
{
	u32 offset;

	if (lapic->mode == LAPIC_X2APIC && lapic->config.x2apic_format && blob_reg(state, LAPIC_ID) != lapic->id)
		return -EINVAL;
	stop_timer(lapic);
	drop_incoming(lapic);
	for (offset = 0; offset < LAPIC_REGS_SIZE; offset += REGISTER_STEP)
		set_reg(lapic, offset, blob_reg(state, offset) & register_bits(lapic, offset));
	repair_registers(lapic, state);
	lapic_resync(lapic);
	lapic->timer_mode = (reg(lapic, LAPIC_LVT_TIMER) & LVT_TIMER_MODE) >> LVT_TIMER_MODE_SHIFT;
	if (!(lapic->timer_mode & TIMER_TSC_DEADLINE))
		lapic->tsc_deadline = 0;
	update_divide(lapic);
	restart_timer(lapic, blob_reg(state, LAPIC_TMCCT));
	dest_changed(lapic);
	return 0;
}
