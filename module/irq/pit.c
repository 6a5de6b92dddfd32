// SPDX-License-Identifier: GPL-2.0
/*
 * The 8254. Source: Intel 8254 datasheet.
 *
 * Nothing counts here: a counter is the time at which it started, and its value and its output follow from the time that
 * it is now. Where the datasheet has a new count of mode 3 begin at the end of the half-cycle, it begins at the end of
 * the cycle.
 */
#include "pit.h"

#define NSEC_PER_SEC_U64 1000000000ull
#define SPEAKER_CHANNEL 2

/* Control word. */
#define CONTROL_BCD BIT(0)
#define CONTROL_READ_BACK 3
#define READ_BACK_NO_COUNT BIT(5)
#define READ_BACK_NO_STATUS BIT(4)

#define STATUS_OUT BIT(7)
#define STATUS_NULL_COUNT BIT(6)

/* Port 0x61. */
#define SPEAKER_GATE BIT(0)
#define SPEAKER_DATA BIT(1)
#define SPEAKER_REFRESH BIT(4)
#define SPEAKER_OUT BIT(5)
#define REFRESH_SHIFT 14

/* How bytes of a count come and go: kvm_pit_channel_state's rw_mode, read_state, write_state and count_latched. */
enum { RW_NONE, RW_LSB, RW_MSB, RW_WORD, RW_WORD_MSB };

#define MODE_NONE 0xff
#define NR_MODES 6

/* What tells the modes apart: the count is reloaded at its end; a rising gate starts it, and a low one stops nothing. */
static const struct {
	bool periodic;
	bool triggered;
} modes[NR_MODES] = {
	[1] = { .triggered = true },
	[2] = { .periodic = true },
	[3] = { .periodic = true },
	[5] = { .triggered = true },
};

static bool periodic(const struct pit_channel *ch)
{
	return ch->state.mode < NR_MODES && modes[ch->state.mode].periodic;
}

static bool triggered(const struct pit_channel *ch)
{
	return ch->state.mode < NR_MODES && modes[ch->state.mode].triggered;
}

static u64 now_ns(struct pit *pit)
{
	return pit->ops->now_ns(pit->ctx);
}

static u64 ns_to_ticks(u64 ns)
{
	return mul_u64_u64_div_u64(ns, PIT_HZ, NSEC_PER_SEC_U64);
}

/* The first nanosecond at which @ticks are over. */
static u64 ticks_to_ns(u64 ticks)
{
	u64 ns = mul_u64_u64_div_u64(ticks, NSEC_PER_SEC_U64, PIT_HZ);

	return ns_to_ticks(ns) < ticks ? ns + 1 : ns;
}

/* Counts. */

static u32 modulus(const struct pit_channel *ch)
{
	return ch->state.bcd ? 10000 : 0x10000;
}

static u32 from_bcd(u32 bcd)
{
	return (bcd >> 12) * 1000 + (bcd >> 8 & 0xf) * 100 + (bcd >> 4 & 0xf) * 10 + (bcd & 0xf);
}

static u32 to_bcd(u32 n)
{
	return n / 1000 % 10 << 12 | n / 100 % 10 << 8 | n / 10 % 10 << 4 | n % 10;
}

static bool stopped(const struct pit_channel *ch)
{
	return !ch->state.gate && !triggered(ch);
}

static u64 elapsed_ticks(const struct pit_channel *ch, u64 now)
{
	u64 end = stopped(ch) ? ch->stopped_ns : now;

	return end > ch->start_ns ? ns_to_ticks(end - ch->start_ns) : 0;
}

static u32 phase(const struct pit_channel *ch, u64 now)
{
	u64 ticks = elapsed_ticks(ch, now);

	return ticks - div_u64(ticks, ch->state.count) * ch->state.count;
}

/* Mode 3 is high for the longer half of an odd count. */
static u32 high_half(const struct pit_channel *ch)
{
	return (ch->state.count + 1) / 2;
}

static void start(struct pit_channel *ch, u64 now)
{
	if (ch->next_count)
		ch->state.count = ch->next_count;
	ch->next_count = 0;
	ch->running = true;
	ch->start_ns = now;
	ch->stopped_ns = now;
	ch->state.count_load_time = now;
}

/* A count that was written while a period ran is loaded at the end of it. */
static void load_pending(struct pit_channel *ch, u64 now)
{
	if (ch->next_count && periodic(ch) && elapsed_ticks(ch, now) >= ch->next_ticks)
		start(ch, ch->start_ns + ticks_to_ns(ch->next_ticks));
}

/* Mode 3 counts by two, twice a period. */
static u32 square_wave_count(const struct pit_channel *ch, u64 now)
{
	u32 ticks = phase(ch, now);
	u32 even = ch->state.count & ~1u;

	return even - 2 * (ticks < high_half(ch) ? ticks : ticks - high_half(ch));
}

/* Counting goes on below zero in the modes that do not reload. */
static u32 current_count(const struct pit_channel *ch, u64 now)
{
	u32 m = modulus(ch);
	u64 ticks;

	if (!ch->running)
		return ch->state.count % m;
	if (ch->state.mode == 3)
		return square_wave_count(ch, now) % m;
	if (ch->state.mode == 2)
		return (ch->state.count - phase(ch, now)) % m;
	ticks = elapsed_ticks(ch, now);
	return (ch->state.count + m - (u32)(ticks - div_u64(ticks, m) * m)) % m;
}

static bool current_out(const struct pit_channel *ch, u64 now)
{
	if (!ch->running)
		return ch->state.mode != 0;
	switch (ch->state.mode) {
	case 0:
	case 1:
		return elapsed_ticks(ch, now) >= ch->state.count;
	case 2:
		return !ch->state.gate || phase(ch, now) != ch->state.count - 1;
	case 3:
		return !ch->state.gate || phase(ch, now) < high_half(ch);
	default:
		return elapsed_ticks(ch, now) != ch->state.count;
	}
}

static void set_gate(struct pit_channel *ch, bool gate, u64 now)
{
	bool rising = gate && !ch->state.gate;

	if (!gate && ch->state.gate)
		ch->stopped_ns = now;
	ch->state.gate = gate;
	if (!rising)
		return;
	if (triggered(ch) ? ch->running || ch->next_count : ch->running && periodic(ch))
		start(ch, now);
	else
		ch->start_ns += now - ch->stopped_ns;
}

/* IRQ 0. */

static void disarm(struct pit *pit)
{
	if (pit->armed)
		pit->ops->timer_cancel(pit->ctx);
	pit->armed = false;
}

static void arm(struct pit *pit, u64 deadline)
{
	pit->deadline_ns = deadline;
	pit->armed = true;
	pit->ops->timer_arm(pit->ctx, deadline);
}

/* Counter 0 has begun. Its gate is tied high: the modes that a gate triggers never begin. */
static void arm_first(struct pit *pit)
{
	struct pit_channel *ch = &pit->channel[0];

	disarm(pit);
	if (ch->running && !triggered(ch) && !(pit->flags & KVM_PIT_FLAGS_HPET_LEGACY))
		arm(pit, ch->start_ns + ticks_to_ns(ch->state.count));
}

/*
 * At the first end of a period after now; or at one later, if the last was less than the least period ago. Reckoned
 * from the start of the count, so that rounding does not add up.
 */
static void arm_next(struct pit *pit, u64 now)
{
	struct pit_channel *ch = &pit->channel[0];
	u64 after = max(now, pit->deadline_ns);
	u64 periods;

	load_pending(ch, now);
	if (ticks_to_ns(ch->state.count) < pit->min_period_ns)
		after = max(now, pit->deadline_ns + pit->min_period_ns);
	periods = div_u64(ns_to_ticks(after - ch->start_ns), ch->state.count) + 1;
	arm(pit, ch->start_ns + ticks_to_ns(periods * ch->state.count));
}

/* Ends of periods from the deadline to now. Of those below the least period none are made up for. */
static u64 ticks_due(struct pit *pit, u64 now)
{
	struct pit_channel *ch = &pit->channel[0];
	u64 period = ticks_to_ns(ch->state.count);

	if (!periodic(ch) || period < pit->min_period_ns || now < pit->deadline_ns)
		return 1;
	return 1 + div64_u64(now - pit->deadline_ns, period);
}

static void pulse(struct pit *pit)
{
	pit->acked = false;
	pit->ops->irq(pit->ctx, true);
	pit->ops->irq(pit->ctx, false);
}

static void keep(struct pit *pit, u64 ticks)
{
	if (pit->reinject)
		pit->pending = min_t(u64, pit->pending + ticks, ~0u);
}

void pit_timer_expired(struct pit *pit)
{
	u64 now = now_ns(pit);
	u64 due;

	if (!pit->armed)
		return;
	due = ticks_due(pit, now);
	pit->armed = false;
	if (periodic(&pit->channel[0]))
		arm_next(pit, now);
	if (pit->reinject && !pit->acked) {
		keep(pit, due);
		return;
	}
	keep(pit, due - 1);
	pulse(pit);
}

void pit_acked(struct pit *pit)
{
	pit->acked = true;
	if (!pit->pending)
		return;
	pit->pending--;
	pulse(pit);
}

void pit_forget_pending(struct pit *pit)
{
	pit->pending = 0;
	pit->acked = true;
}

void pit_set_reinject(struct pit *pit, bool reinject)
{
	pit->reinject = reinject;
	pit_forget_pending(pit);
}

/* Ports. */

static void load_count(struct pit *pit, struct pit_channel *ch, u32 value)
{
	u64 now = now_ns(pit);
	u32 count = ch->state.bcd ? from_bcd(value) : value;

	if (ch->state.mode >= NR_MODES)
		return;
	if (!count)
		count = modulus(ch);
	load_pending(ch, now);
	if (ch->running && (periodic(ch) || triggered(ch))) {
		ch->next_count = count;
		ch->next_ticks = elapsed_ticks(ch, now) - phase(ch, now) + ch->state.count;
		return;
	}
	ch->state.count = count;
	if (triggered(ch))
		ch->next_count = count;
	else
		start(ch, now);
	if (ch == &pit->channel[0])
		arm_first(pit);
}

/* In mode 0 the first byte of two stops the count. */
static void write_count(struct pit *pit, struct pit_channel *ch, u8 value)
{
	switch (ch->state.write_state) {
	case RW_LSB:
		load_count(pit, ch, value);
		break;
	case RW_MSB:
		load_count(pit, ch, value << 8);
		break;
	case RW_WORD:
		ch->state.write_latch = value;
		ch->state.write_state = RW_WORD_MSB;
		if (ch->state.mode == 0)
			ch->running = false;
		break;
	case RW_WORD_MSB:
		ch->state.write_state = RW_WORD;
		load_count(pit, ch, value << 8 | ch->state.write_latch);
		break;
	}
	if (ch == &pit->channel[0] && !ch->running)
		disarm(pit);
}

static u32 readable_count(const struct pit_channel *ch, u64 now)
{
	u32 count = current_count(ch, now);

	return ch->state.bcd ? to_bcd(count) : count;
}

static void latch_count(struct pit_channel *ch, u64 now)
{
	if (ch->state.count_latched)
		return;
	ch->state.latched_count = readable_count(ch, now);
	ch->state.count_latched = ch->state.rw_mode;
}

static void latch_status(struct pit_channel *ch, u64 now)
{
	if (ch->state.status_latched)
		return;
	ch->state.status = (current_out(ch, now) ? STATUS_OUT : 0) |
			   (!ch->running || ch->next_count ? STATUS_NULL_COUNT : 0) | ch->state.rw_mode << 4 |
			   (ch->state.mode & 7) << 1 | ch->state.bcd;
	ch->state.status_latched = 1;
}

static void read_back(struct pit *pit, u8 control, u64 now)
{
	unsigned int i;

	for (i = 0; i < PIT_CHANNELS; i++) {
		struct pit_channel *ch = &pit->channel[i];

		if (!(control & BIT(i + 1)))
			continue;
		load_pending(ch, now);
		if (!(control & READ_BACK_NO_COUNT))
			latch_count(ch, now);
		if (!(control & READ_BACK_NO_STATUS))
			latch_status(ch, now);
	}
}

/* Modes 6 and 7 are modes 2 and 3 again. */
static void program(struct pit *pit, struct pit_channel *ch, u8 control)
{
	struct kvm_pit_channel_state *s = &ch->state;
	u8 mode = control >> 1 & 7;

	s->rw_mode = control >> 4 & 3;
	s->read_state = s->rw_mode;
	s->write_state = s->rw_mode;
	s->mode = mode < NR_MODES ? mode : mode - 4;
	s->bcd = control & CONTROL_BCD;
	s->count_latched = RW_NONE;
	s->status_latched = 0;
	ch->next_count = 0;
	ch->running = false;
	if (ch == &pit->channel[0])
		disarm(pit);
}

static void write_control(struct pit *pit, u8 control)
{
	unsigned int select = control >> 6;
	u64 now = now_ns(pit);

	if (select == CONTROL_READ_BACK) {
		read_back(pit, control, now);
	} else if (control >> 4 & 3) {
		program(pit, &pit->channel[select], control);
	} else {
		load_pending(&pit->channel[select], now);
		latch_count(&pit->channel[select], now);
	}
}

static u8 read_latched(struct pit_channel *ch)
{
	u8 which = ch->state.count_latched;

	ch->state.count_latched = which == RW_WORD ? RW_MSB : RW_NONE;
	return which == RW_MSB ? ch->state.latched_count >> 8 : ch->state.latched_count;
}

static u8 read_live(struct pit_channel *ch, u64 now)
{
	u32 count = readable_count(ch, now);

	switch (ch->state.read_state) {
	case RW_MSB:
		return count >> 8;
	case RW_WORD:
		ch->state.read_state = RW_WORD_MSB;
		return count;
	case RW_WORD_MSB:
		ch->state.read_state = RW_WORD;
		return count >> 8;
	default:
		return count;
	}
}

static u8 read_counter(struct pit *pit, struct pit_channel *ch)
{
	u64 now = now_ns(pit);

	if (ch->state.status_latched) {
		ch->state.status_latched = 0;
		return ch->state.status;
	}
	if (ch->state.count_latched)
		return read_latched(ch);
	load_pending(ch, now);
	return read_live(ch, now);
}

static u8 read_speaker(struct pit *pit)
{
	struct pit_channel *ch = &pit->channel[SPEAKER_CHANNEL];
	u64 now = now_ns(pit);

	load_pending(ch, now);
	return (ch->state.gate ? SPEAKER_GATE : 0) | (pit->flags & KVM_PIT_FLAGS_SPEAKER_DATA_ON ? SPEAKER_DATA : 0) |
	       (now >> REFRESH_SHIFT & 1 ? SPEAKER_REFRESH : 0) | (current_out(ch, now) ? SPEAKER_OUT : 0);
}

static void write_speaker(struct pit *pit, u8 value)
{
	struct pit_channel *ch = &pit->channel[SPEAKER_CHANNEL];
	u64 now = now_ns(pit);

	if (value & SPEAKER_DATA)
		pit->flags |= KVM_PIT_FLAGS_SPEAKER_DATA_ON;
	else
		pit->flags &= ~KVM_PIT_FLAGS_SPEAKER_DATA_ON;
	load_pending(ch, now);
	set_gate(ch, value & SPEAKER_GATE, now);
}

u8 pit_port_read(struct pit *pit, u16 port)
{
	if (port == PIT_PORT_SPEAKER)
		return read_speaker(pit);
	if (port == PIT_PORT_CONTROL)
		return 0;
	return read_counter(pit, &pit->channel[port - PIT_PORT_COUNTERS]);
}

void pit_port_write(struct pit *pit, u16 port, u8 value)
{
	if (port == PIT_PORT_SPEAKER)
		write_speaker(pit, value);
	else if (port == PIT_PORT_CONTROL)
		write_control(pit, value);
	else
		write_count(pit, &pit->channel[port - PIT_PORT_COUNTERS], value);
}

/* Lifetime and state. */

void pit_reset(struct pit *pit)
{
	unsigned int i;

	disarm(pit);
	pit->flags = 0;
	pit_forget_pending(pit);
	for (i = 0; i < PIT_CHANNELS; i++)
		pit->channel[i] = (struct pit_channel){
			.state = { .count = 0x10000, .mode = MODE_NONE, .gate = i != SPEAKER_CHANNEL },
		};
}

void pit_init(struct pit *pit, const struct pit_ops *ops, void *ctx)
{
	*pit = (struct pit){ .ops = ops, .ctx = ctx, .reinject = true, .min_period_ns = PIT_MIN_PERIOD_NS };
	pit_reset(pit);
}

void pit_get_state(struct pit *pit, struct kvm_pit_state2 *state)
{
	u64 now = now_ns(pit);
	unsigned int i;

	*state = (struct kvm_pit_state2){ .flags = pit->flags };
	for (i = 0; i < PIT_CHANNELS; i++) {
		load_pending(&pit->channel[i], now);
		state->channels[i] = pit->channel[i].state;
	}
}

/* A count runs again unless it was never written, or waits for a gate to rise. */
static void set_channel(struct pit_channel *ch, const struct kvm_pit_channel_state *s, bool gated, u64 now)
{
	*ch = (struct pit_channel){
		.state = {
			.count = s->count,
			.latched_count = s->latched_count,
			.count_latched = s->count_latched & RW_WORD,
			.status_latched = !!s->status_latched,
			.status = s->status,
			.read_state = s->read_state <= RW_WORD_MSB ? s->read_state : RW_NONE,
			.write_state = s->write_state <= RW_WORD_MSB ? s->write_state : RW_NONE,
			.write_latch = s->write_latch,
			.rw_mode = s->rw_mode & RW_WORD,
			.mode = s->mode < NR_MODES ? s->mode : MODE_NONE,
			.bcd = !!s->bcd,
			.gate = !gated || s->gate,
		},
	};
	if (!ch->state.count)
		ch->state.count = modulus(ch);
	if (triggered(ch))
		ch->next_count = ch->state.count;
	else if (ch->state.mode != MODE_NONE)
		start(ch, now);
}

int pit_set_state(struct pit *pit, const struct kvm_pit_state2 *state)
{
	u64 now = now_ns(pit);
	unsigned int i;

	if (state->flags & ~(KVM_PIT_FLAGS_HPET_LEGACY | KVM_PIT_FLAGS_SPEAKER_DATA_ON))
		return -EINVAL;
	for (i = 0; i < PIT_CHANNELS; i++)
		if (state->channels[i].count > 0x10000)
			return -EINVAL;
	pit->flags = state->flags;
	for (i = 0; i < PIT_CHANNELS; i++)
		set_channel(&pit->channel[i], &state->channels[i], i == SPEAKER_CHANNEL, now);
	pit_forget_pending(pit);
	arm_first(pit);
	return 0;
}
