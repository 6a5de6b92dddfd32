// SPDX-License-Identifier: GPL-2.0
/*
 * The 8254: programs of port accesses and of time that passes, and the trace that they must leave.
 */
#include "../../module/irq/pit.h"
#include "irq_script.h"

static struct pit pit;
static struct kvm_pit_state2 blob;
static u64 now, deadline;
static bool armed;

static void op_irq(void *ctx, bool level)
{
	(void)ctx;
	if (level)
		note("tick");
}

static void op_timer_arm(void *ctx, u64 when)
{
	(void)ctx;
	deadline = when;
	armed = true;
}

static void op_timer_cancel(void *ctx)
{
	(void)ctx;
	note("cancel");
	armed = false;
}

static u64 op_now_ns(void *ctx)
{
	(void)ctx;
	return now;
}

static const struct pit_ops ops = {
	.irq = op_irq,
	.timer_arm = op_timer_arm,
	.timer_cancel = op_timer_cancel,
	.now_ns = op_now_ns,
};

/* Steps. */

static void out(u64 port, u64 value, u64 c)
{
	(void)c;
	pit_port_write(&pit, port, value);
}

static void in(u64 port, u64 b, u64 c)
{
	(void)b;
	(void)c;
	note("%02x", pit_port_read(&pit, port));
}

/* A count through a port, both bytes. */
static void out_word(u64 port, u64 value, u64 c)
{
	(void)c;
	pit_port_write(&pit, port, value);
	pit_port_write(&pit, port, value >> 8);
}

static void in_word(u64 port, u64 b, u64 c)
{
	u8 low = pit_port_read(&pit, port);

	(void)b;
	(void)c;
	note("%x", pit_port_read(&pit, port) << 8 | low);
}

/* Pass @ticks of the PIT's clock; the host's timer fires on time. */
static void pass(u64 ticks, u64 b, u64 c)
{
	u64 until = now + (ticks * 1000000000ull + PIT_HZ - 1) / PIT_HZ;

	(void)b;
	(void)c;
	while (armed && deadline <= until) {
		now = deadline;
		armed = false;
		pit_timer_expired(&pit);
	}
	now = until;
}

/* The same while the host sleeps. */
static void oversleep(u64 ticks, u64 b, u64 c)
{
	(void)b;
	(void)c;
	now += (ticks * 1000000000ull + PIT_HZ - 1) / PIT_HZ;
	armed = false;
	pit_timer_expired(&pit);
}

static void acked(u64 count, u64 b, u64 c)
{
	(void)b;
	(void)c;
	while (count--)
		pit_acked(&pit);
}

static void forget(u64 a, u64 b, u64 c)
{
	(void)a;
	(void)b;
	(void)c;
	pit_forget_pending(&pit);
}

static void reinject(u64 on, u64 b, u64 c)
{
	(void)b;
	(void)c;
	pit_set_reinject(&pit, on);
}

static void when(u64 a, u64 b, u64 c)
{
	(void)a;
	(void)b;
	(void)c;
	if (armed)
		note("+%llu", (unsigned long long)(deadline - now));
	else
		note("idle");
}

static void reset(u64 a, u64 b, u64 c)
{
	(void)a;
	(void)b;
	(void)c;
	pit_reset(&pit);
}

static void get(u64 a, u64 b, u64 c)
{
	(void)a;
	(void)b;
	(void)c;
	pit_get_state(&pit, &blob);
}

static void set(u64 a, u64 b, u64 c)
{
	int error = pit_set_state(&pit, &blob);

	(void)a;
	(void)b;
	(void)c;
	if (error)
		note("%d", error);
}

static void fill(u64 byte, u64 b, u64 c)
{
	(void)b;
	(void)c;
	memset(&blob, (int)byte, sizeof(blob));
}

static void set_flags(u64 flags, u64 b, u64 c)
{
	(void)b;
	(void)c;
	blob.flags = flags;
}

static void set_counts(u64 count, u64 b, u64 c)
{
	int i;

	(void)b;
	(void)c;
	for (i = 0; i < 3; i++)
		blob.channels[i].count = count;
}

static void show(u64 i, u64 b, u64 c)
{
	const struct kvm_pit_channel_state *s = &blob.channels[i];

	(void)b;
	(void)c;
	note("count:%u:mode:%u:rw:%u:gate:%u:flags:%x", s->count, s->mode, s->rw_mode, s->gate, blob.flags);
}

#define OUT(port, value)            \
	{                           \
		out, port, value, 0 \
	}
#define IN(port)               \
	{                      \
		in, port, 0, 0 \
	}
#define OUTW(port, value)                \
	{                                \
		out_word, port, value, 0 \
	}
#define INW(port)                   \
	{                           \
		in_word, port, 0, 0 \
	}
#define PASS(ticks)               \
	{                         \
		pass, ticks, 0, 0 \
	}
#define ACKED                  \
	{                      \
		acked, 1, 0, 0 \
	}
#define WHEN                  \
	{                     \
		when, 0, 0, 0 \
	}

/* Control words, two bytes a count. */
#define MODE(channel, mode) OUT(0x43, (channel) << 6 | 0x30 | (mode) << 1)
#define MODE_BCD(channel, mode) OUT(0x43, (channel) << 6 | 0x31 | (mode) << 1)
#define LATCH(channel) OUT(0x43, (channel) << 6)
#define STATUS(channel) OUT(0x43, 0xe0 | 2 << (channel)), IN(0x40 + (channel))
#define GATE(on) OUT(0x61, on)

static const struct program programs[] = {
	/* Reading counts. */
	{ "mode 2 counts down and around",
	  { MODE(1, 2), OUTW(0x41, 1000), INW(0x41), PASS(1), INW(0x41), PASS(998), INW(0x41), PASS(1), INW(0x41) },
	  "3e8 3e7 1 3e8" },
	{ "mode 3 by two, even",
	  { MODE(1, 3), OUTW(0x41, 1000), INW(0x41), PASS(1), INW(0x41), PASS(499), INW(0x41), PASS(499), INW(0x41) },
	  "3e8 3e6 3e8 2" },
	{ "mode 3 by two, odd",
	  { MODE(1, 3), OUTW(0x41, 5), INW(0x41), PASS(1), INW(0x41), PASS(1), INW(0x41), PASS(1), INW(0x41), PASS(1),
	    INW(0x41), PASS(1), INW(0x41) },
	  "4 2 0 4 2 4" },
	{ "mode 0 goes on below zero",
	  { MODE(1, 0), OUTW(0x41, 3), PASS(2), INW(0x41), PASS(1), INW(0x41), PASS(1), INW(0x41) },
	  "1 0 ffff" },
	{ "a count of zero is 65536",
	  { MODE(1, 2), OUTW(0x41, 0), INW(0x41), PASS(1), INW(0x41), PASS(65535), INW(0x41) },
	  "0 ffff 0" },
	{ "BCD",
	  { MODE_BCD(1, 2), OUTW(0x41, 0x1000), PASS(1), INW(0x41), PASS(998), INW(0x41), PASS(1), INW(0x41) },
	  "999 1 1000" },
	{ "BCD of zero is 10000",
	  { MODE_BCD(1, 0), OUTW(0x41, 0), INW(0x41), PASS(1), INW(0x41), PASS(9999), INW(0x41), PASS(1), INW(0x41) },
	  "0 9999 0 9999" },
	{ "one byte of a count: low, high",
	  { OUT(0x43, 0x54), OUT(0x41, 0x80), PASS(1), IN(0x41), IN(0x41), OUT(0x43, 0x64), OUT(0x41, 0x80), PASS(1),
	    IN(0x41), IN(0x41) },
	  "7f 7f 7f 7f" },
	{ "a latched count stays till it is read",
	  { MODE(1, 2), OUTW(0x41, 1000), LATCH(1), PASS(500), LATCH(1), IN(0x41), PASS(10), IN(0x41), INW(0x41) },
	  "e8 03 1ea" },
	{ "a control word drops what is latched",
	  { MODE(1, 2), OUTW(0x41, 1000), LATCH(1), MODE(1, 2), OUTW(0x41, 500), INW(0x41) },
	  "1f4" },
	{ "read-back latches several",
	  { MODE(0, 2), OUTW(0x40, 1000), MODE(1, 2), OUTW(0x41, 2000), PASS(10), OUT(0x43, 0xd6), PASS(100), INW(0x40),
	    INW(0x41), INW(0x41) },
	  "3de 7c6 762" },
	{ "read-back of status, then count",
	  { MODE(1, 2), OUTW(0x41, 1000), OUT(0x43, 0xc4), PASS(5), IN(0x41), INW(0x41), INW(0x41) },
	  "b4 3e8 3e3" },
	{ "the control port reads as nothing", { IN(0x43) }, "00" },

	/* Status: OUT, null count, access, mode, BCD. */
	{ "status in mode 0",
	  { MODE(1, 0), STATUS(1), OUTW(0x41, 10), STATUS(1), PASS(9), STATUS(1), PASS(1), STATUS(1), PASS(70000),
	    STATUS(1) },
	  "70 30 30 b0 b0" },
	{ "status in mode 2",
	  { MODE(1, 2), STATUS(1), OUTW(0x41, 10), STATUS(1), PASS(9), STATUS(1), PASS(1), STATUS(1) },
	  "f4 b4 34 b4" },
	{ "status in mode 3, odd",
	  { MODE(1, 3), OUTW(0x41, 5), STATUS(1), PASS(2), STATUS(1), PASS(1), STATUS(1), PASS(2), STATUS(1) },
	  "b6 b6 36 b6" },
	{ "status in mode 4",
	  { MODE(1, 4), OUTW(0x41, 5), PASS(4), STATUS(1), PASS(1), STATUS(1), PASS(1), STATUS(1) },
	  "b8 38 b8" },
	{ "modes 6 and 7 are 2 and 3", { MODE(1, 6), STATUS(1), MODE(1, 7), STATUS(1) }, "f4 f6" },
	{ "half a count in mode 0 stops it",
	  { MODE(1, 0), OUTW(0x41, 10), OUT(0x41, 20), PASS(50), STATUS(1), OUT(0x41, 0), PASS(20), STATUS(1) },
	  "70 b0" },
	{ "a new count waits for the end of the period",
	  { MODE(1, 2), OUTW(0x41, 1000), PASS(2100), OUTW(0x41, 500), STATUS(1), INW(0x41), PASS(899), INW(0x41),
	    PASS(1), STATUS(1), INW(0x41), PASS(499), INW(0x41) },
	  "f4 384 1 b4 1f4 1" },

	/* The gate. */
	{ "mode 0: the gate holds the count",
	  { MODE(2, 0), OUTW(0x42, 10), PASS(5), INW(0x42), GATE(1), PASS(4), INW(0x42), GATE(0), PASS(100), INW(0x42),
	    STATUS(2), GATE(1), PASS(6), STATUS(2) },
	  "a 6 6 30 b0" },
	{ "mode 1: the gate starts it, and again",
	  { MODE(2, 1), OUTW(0x42, 10), STATUS(2), PASS(5), GATE(1), STATUS(2), PASS(5), GATE(0), PASS(4), STATUS(2),
	    GATE(1), PASS(9), STATUS(2), PASS(1), STATUS(2) },
	  "f2 32 32 32 b2" },
	{ "mode 1: a new count waits for the gate",
	  { MODE(2, 1), OUTW(0x42, 10), GATE(1), OUTW(0x42, 20), PASS(10), STATUS(2), GATE(0), GATE(1), PASS(19),
	    STATUS(2), PASS(1), STATUS(2) },
	  "f2 32 b2" },
	{ "mode 2: the gate reloads",
	  { MODE(2, 2), GATE(1), OUTW(0x42, 10), PASS(4), INW(0x42), GATE(0), PASS(3), INW(0x42), GATE(1), INW(0x42) },
	  "6 6 a" },
	{ "mode 3: a low gate sets OUT",
	  { MODE(2, 3), GATE(1), OUTW(0x42, 10), PASS(6), STATUS(2), GATE(0), STATUS(2) },
	  "36 b6" },
	{ "mode 5: a strobe after the trigger",
	  { MODE(2, 5), OUTW(0x42, 10), PASS(20), STATUS(2), GATE(1), PASS(10), STATUS(2), PASS(1), STATUS(2) },
	  "fa 3a ba" },
	{ "port 0x61",
	  { IN(0x61), GATE(3), IN(0x61), GATE(2), IN(0x61), MODE(2, 0), IN(0x61), PASS(20), IN(0x61) },
	  "30 33 32 12 02" },

	/* IRQ 0. */
	{ "mode 0 is one tick",
	  { MODE(0, 0), OUTW(0x40, 1000), WHEN, PASS(999), PASS(1), PASS(100000), WHEN },
	  "+838096 tick idle" },
	{ "mode 4 as well", { MODE(0, 4), OUTW(0x40, 1000), PASS(1000), ACKED, PASS(100000) }, "tick" },
	{ "modes 1 and 5 never tick",
	  { MODE(0, 1), OUTW(0x40, 1000), WHEN, MODE(0, 5), OUTW(0x40, 1000), WHEN },
	  "idle idle" },
	{ "mode 2 ticks on",
	  { MODE(0, 2), OUTW(0x40, 1000), PASS(1000), ACKED, PASS(1000), ACKED, PASS(999), WHEN },
	  "tick tick +836" },
	{ "no drift: a second is a second",
	  { { reinject, 0, 0, 0 }, MODE(0, 3), OUTW(0x40, 59659), PASS(20 * 59659), WHEN },
	  "tick tick tick tick tick tick tick tick tick tick tick tick tick tick tick tick tick tick tick tick +49999917" },
	{ "the period has a floor",
	  { { reinject, 0, 0, 0 }, MODE(0, 2), OUTW(0x40, 1), WHEN, PASS(1), WHEN, PASS(239), WHEN },
	  "+839 tick +200304 tick +200304" },
	{ "a control word stops the ticks",
	  { MODE(0, 2), OUTW(0x40, 1000), MODE(0, 2), PASS(5000), WHEN },
	  "cancel idle" },
	{ "a new count, new ticks, at the end of the period",
	  { { reinject, 0, 0, 0 },
	    MODE(0, 2),
	    OUTW(0x40, 1000),
	    PASS(500),
	    OUTW(0x40, 2000),
	    PASS(500),
	    PASS(1999),
	    PASS(1) },
	  "tick tick" },

	/* Reinjection. */
	{ "ticks that are too early are sent later",
	  { MODE(0, 2), OUTW(0x40, 1000), PASS(3000), ACKED, ACKED, ACKED, ACKED },
	  "tick tick tick" },
	{ "or dropped",
	  { { reinject, 0, 0, 0 }, MODE(0, 2), OUTW(0x40, 1000), PASS(3000), { acked, 4, 0, 0 } },
	  "tick tick tick" },
	{ "ticks that the host overslept are sent",
	  { MODE(0, 2), OUTW(0x40, 1000), { oversleep, 3500, 0, 0 }, { acked, 5, 0, 0 }, WHEN },
	  "tick tick tick +419048" },
	{ "or not",
	  { { reinject, 0, 0, 0 }, MODE(0, 2), OUTW(0x40, 1000), { oversleep, 3500, 0, 0 }, { acked, 5, 0, 0 } },
	  "tick" },
	{ "a mask forgets them",
	  { MODE(0, 2), OUTW(0x40, 1000), PASS(3000), { forget, 0, 0, 0 }, PASS(1000), { acked, 3, 0, 0 } },
	  "tick tick" },
	{ "an acknowledge out of the blue", { ACKED, WHEN }, "idle" },

	/* State. */
	{ "reset",
	  { MODE(0, 2), OUTW(0x40, 1000), GATE(3), { reset, 0, 0, 0 }, WHEN, IN(0x61), INW(0x40) },
	  "cancel idle 30 0" },
	{ "state survives, counts start anew",
	  { MODE(0, 2),
	    OUTW(0x40, 1000),
	    GATE(3),
	    PASS(300),
	    { get, 0, 0, 0 },
	    { show, 0, 0, 0 },
	    { show, 2, 0, 0 },
	    { reset, 0, 0, 0 },
	    { set, 0, 0, 0 },
	    INW(0x40),
	    PASS(1000),
	    IN(0x61) },
	  "count:1000:mode:2:rw:3:gate:1:flags:2 count:65536:mode:255:rw:0:gate:1:flags:2 cancel 3e8 tick 33" },
	{ "as at power-up: nothing runs", { { get, 0, 0, 0 }, { set, 0, 0, 0 }, WHEN }, "idle" },
	{ "the HPET in its place",
	  { MODE(0, 2),
	    OUTW(0x40, 1000),
	    { get, 0, 0, 0 },
	    { set_flags, KVM_PIT_FLAGS_HPET_LEGACY, 0, 0 },
	    { set, 0, 0, 0 },
	    PASS(5000),
	    OUTW(0x40, 1000),
	    WHEN,
	    { set_flags, 0, 0, 0 },
	    { set, 0, 0, 0 },
	    WHEN },
	  "cancel idle +838096" },
	{ "unknown flags",
	  { MODE(0, 2),
	    { fill, 0, 0, 0 },
	    { set_flags, 4, 0, 0 },
	    { set, 0, 0, 0 },
	    { get, 0, 0, 0 },
	    { show, 0, 0, 0 } },
	  "-22 count:65536:mode:2:rw:3:gate:1:flags:0" },
	{ "a count that is too large", { { set_counts, 65537, 0, 0 }, { set, 0, 0, 0 } }, "-22" },
	{ "a blob of ones",
	  { { fill, 0xff, 0, 0 },
	    { set_flags, 2, 0, 0 },
	    { set_counts, 65536, 0, 0 },
	    { set, 0, 0, 0 },
	    { get, 0, 0, 0 },
	    { show, 2, 0, 0 },
	    IN(0x40),
	    IN(0x40),
	    IN(0x40),
	    WHEN },
	  "count:65536:mode:255:rw:3:gate:1:flags:2 ff ff ff idle" },
	{ "a blob of zeros",
	  { { fill, 0, 0, 0 }, { set, 0, 0, 0 }, { get, 0, 0, 0 }, { show, 0, 0, 0 }, INW(0x40), WHEN },
	  "count:65536:mode:0:rw:0:gate:1:flags:0 0 +54925402" },
};

static void setup(void)
{
	now = 1000000;
	armed = false;
	memset(&blob, 0, sizeof(blob));
	pit_init(&pit, &ops, NULL);
}

int main(void)
{
	return run_programs(programs, ARRAY_SIZE(programs), setup);
}
