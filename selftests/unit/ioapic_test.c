// SPDX-License-Identifier: GPL-2.0
/*
 * The I/O APIC: programs of register accesses, pins going high and low, and EOIs, and the trace that they must leave.
 */
#include "../../module/irq/ioapic.h"
#include "irq_script.h"

static struct ioapic ioapic;
static struct kvm_ioapic_state blob;
static int cpus;
static int lower_on_ack;

static int op_deliver(void *ctx, const struct apic_message *m)
{
	(void)ctx;
	note("msg:%02x:%02x:m%u:%s:%s", m->dest, m->vector, m->delivery_mode,
	     m->dest_mode == APIC_DEST_LOGICAL ? "log" : "phys", m->trig_mode == APIC_TRIGGER_LEVEL ? "level" : "edge");
	return cpus;
}

static void op_acked(void *ctx, unsigned int pin)
{
	(void)ctx;
	note("ack:%u", pin);
	if ((int)pin == lower_on_ack)
		ioapic_set_irq(&ioapic, pin, 0, false, false);
}

static void op_masked(void *ctx, unsigned int pin, bool masked)
{
	(void)ctx;
	note("%s:%u", masked ? "mask" : "unmask", pin);
}

static void op_defer(void *ctx)
{
	(void)ctx;
	note("defer");
}

static const struct ioapic_ops ops = {
	.deliver = op_deliver,
	.acked = op_acked,
	.masked = op_masked,
	.defer = op_defer,
};

/* Steps. */

static void write(u64 reg, u64 value, u64 len)
{
	ioapic_mmio_write(&ioapic, IOAPIC_REGSEL, &reg, len);
	ioapic_mmio_write(&ioapic, IOAPIC_WINDOW, &value, len);
}

static void read(u64 reg, u64 b, u64 c)
{
	u64 value = 0;

	(void)b;
	(void)c;
	ioapic_mmio_write(&ioapic, IOAPIC_REGSEL, &reg, 4);
	ioapic_mmio_read(&ioapic, IOAPIC_WINDOW, &value, 4);
	note("%llx", (unsigned long long)value);
}

static void access_mmio(u64 offset, u64 value, u64 len)
{
	ioapic_mmio_write(&ioapic, offset, &value, len);
	value = 0;
	ioapic_mmio_read(&ioapic, offset, &value, len);
	note("%llx", (unsigned long long)value);
}

static void entry(u64 pin, u64 value, u64 c)
{
	(void)c;
	write(IOAPIC_REG_ENTRY + 2 * pin + 1, value >> 32, 4);
	write(IOAPIC_REG_ENTRY + 2 * pin, value, 4);
}

static void pin(u64 pin, u64 level, u64 source)
{
	note("%d", ioapic_set_irq(&ioapic, pin, source, level, false));
}

static void report(u64 pin, u64 level, u64 source)
{
	note("%d", ioapic_set_irq(&ioapic, pin, source, level, true));
}

static void clear_source(u64 source, u64 b, u64 c)
{
	(void)b;
	(void)c;
	ioapic_clear_source(&ioapic, source);
}

static void eoi(u64 vector, u64 trigger, u64 c)
{
	(void)c;
	ioapic_eoi(&ioapic, vector, trigger);
}

/* @count EOIs in a row, without their traces. */
static void storm(u64 vector, u64 count, u64 c)
{
	(void)c;
	while (count--) {
		ioapic_eoi(&ioapic, vector, APIC_TRIGGER_LEVEL);
		trace[0] = 0;
	}
}

static void deferred(u64 a, u64 b, u64 c)
{
	(void)a;
	(void)b;
	(void)c;
	ioapic_deferred(&ioapic);
}

static void set_cpus(u64 n, u64 b, u64 c)
{
	(void)b;
	(void)c;
	cpus = (int)n;
}

static void set_lower_on_ack(u64 pin, u64 b, u64 c)
{
	(void)b;
	(void)c;
	lower_on_ack = (int)pin;
}

static void version(u64 value, u64 b, u64 c)
{
	(void)b;
	(void)c;
	ioapic.version = value;
}

static void reset(u64 a, u64 b, u64 c)
{
	(void)a;
	(void)b;
	(void)c;
	ioapic_reset(&ioapic);
}

static void get(u64 a, u64 b, u64 c)
{
	(void)a;
	(void)b;
	(void)c;
	ioapic_get_state(&ioapic, &blob);
	note("irr:%x", blob.irr);
}

static void set(u64 a, u64 b, u64 c)
{
	(void)a;
	(void)b;
	(void)c;
	ioapic_set_state(&ioapic, &blob);
}

static void fill(u64 byte, u64 b, u64 c)
{
	(void)b;
	(void)c;
	memset(&blob, (int)byte, sizeof(blob));
}

static u64 lapic_now(void *ctx)
{
	(void)ctx;
	return 0;
}

/* Which vectors a local APIC of ID 1 has to report; @vector is in flight there, level-triggered. */
static void exits(u64 acked_pins, u64 vector, u64 c)
{
	static const struct lapic_ops lapic_ops = { .now_ns = lapic_now };
	static const struct lapic_config config;
	static _Alignas(4096) u8 regs[4096];
	struct lapic lapic;
	u32 bitmap[8] = { 0 };
	u32 svr = 0x1ff;
	int i;

	(void)c;
	lapic_init(&lapic, regs, 1, &config, &lapic_ops, NULL);
	lapic_mmio_write(&lapic, LAPIC_SVR, &svr, sizeof(svr));
	lapic_accept(&lapic, APIC_DELIVER_FIXED, vector, true, APIC_TRIGGER_LEVEL);
	ioapic_eoi_exits(&ioapic, &lapic, acked_pins, bitmap);
	for (i = 0; i < 256; i++)
		if (bitmap[i / 32] >> i % 32 & 1)
			note("exit:%02x", i);
}

#define EDGE(dest, vector) ((u64)(dest) << 56 | (vector))
#define LEVEL(dest, vector) ((u64)(dest) << 56 | IOAPIC_ENTRY_LEVEL | (vector))
#define MASKED IOAPIC_ENTRY_MASKED
#define ENTRY(pin, value)            \
	{                            \
		entry, pin, value, 0 \
	}
#define R(reg)                  \
	{                       \
		read, reg, 0, 0 \
	}
#define W(reg, value)                \
	{                            \
		write, reg, value, 4 \
	}
#define LOW(n) (IOAPIC_REG_ENTRY + 2 * (n))
#define HIGH(n) (IOAPIC_REG_ENTRY + 2 * (n) + 1)
#define UP(n)                \
	{                    \
		pin, n, 1, 0 \
	}
#define DOWN(n)              \
	{                    \
		pin, n, 0, 0 \
	}
#define EOI(vector)                                \
	{                                          \
		eoi, vector, APIC_TRIGGER_LEVEL, 0 \
	}
#define EOI_EDGE(vector)                          \
	{                                         \
		eoi, vector, APIC_TRIGGER_EDGE, 0 \
	}
#define CPUS(n)                   \
	{                         \
		set_cpus, n, 0, 0 \
	}

static const struct program programs[] = {
	/* Registers. */
	{ "power-up values", { R(0), R(1), R(2), R(LOW(0)), R(HIGH(0)), R(LOW(23)) }, "0 170011 0 10000 0 10000" },
	{ "ID has four bits", { W(0, ~0u), R(0), R(2) }, "f000000 f000000" },
	{ "version is read-only", { W(1, 0), R(1) }, "170011" },
	{ "registers that are not",
	  { R(3), R(0xf), R(0x40), R(0xff), W(0x40, 0), W(5, 0) },
	  "ffffffff ffffffff ffffffff ffffffff" },
	{ "an entry's reserved and read-only bits",
	  { ENTRY(3, ~0ull), R(LOW(3)), R(HIGH(3)) },
	  "1afff ff000000"
	  "" },
	{ "byte-wide access",
	  { { write, LOW(4), 0x35, 1 },
	    R(LOW(4)),
	    { access_mmio, IOAPIC_REGSEL, 0x101, 2 },
	    { access_mmio, IOAPIC_REGSEL, 1, 8 },
	    { access_mmio, 0x20, 5, 4 } },
	  "unmask:4 35 1 1 0" },

	/* Edges. */
	{ "an edge is one message",
	  { ENTRY(3, EDGE(1, 0x33)), UP(3), UP(3), DOWN(3), UP(3) },
	  "unmask:3 msg:01:33:m0:phys:edge 1 0 1 msg:01:33:m0:phys:edge 1" },
	{ "an edge while masked is lost",
	  { UP(3), ENTRY(3, EDGE(1, 0x33)), UP(3), DOWN(3), UP(3) },
	  "-1 unmask:3 0 1 msg:01:33:m0:phys:edge 1" },
	{ "the EOI of an edge changes nothing",
	  { ENTRY(3, EDGE(1, 0x33)), UP(3), EOI_EDGE(0x33), DOWN(3), UP(3) },
	  "unmask:3 msg:01:33:m0:phys:edge 1 ack:3 1 msg:01:33:m0:phys:edge 1" },
	{ "a pin is the OR of its sources",
	  { ENTRY(3, EDGE(1, 0x33)),
	    { pin, 3, 1, 5 },
	    { pin, 3, 1, 63 },
	    { pin, 3, 0, 5 },
	    { pin, 3, 1, 0 },
	    { pin, 3, 0, 0 },
	    { pin, 3, 0, 63 },
	    { pin, 3, 1, 1 } },
	  "unmask:3 msg:01:33:m0:phys:edge 1 0 0 0 0 1 msg:01:33:m0:phys:edge 1" },
	{ "a source goes away",
	  { ENTRY(3, LEVEL(1, 0x33)), UP(3), { clear_source, 0, 0, 0 }, EOI(0x33) },
	  "unmask:3 msg:01:33:m0:phys:level 1 ack:3" },
	{ "delivery modes, logical destination, polarity",
	  { ENTRY(1, EDGE(0x0f, 0x900) | IOAPIC_ENTRY_POLARITY), UP(1), ENTRY(2, EDGE(1, 0x700)), UP(2),
	    ENTRY(4, EDGE(1, 0x400)), UP(4) },
	  "unmask:1 msg:0f:00:m1:log:edge 1 unmask:2 msg:01:00:m7:phys:edge 1 unmask:4 msg:01:00:m4:phys:edge 1" },

	/* Levels. */
	{ "a level sets remote IRR, its EOI clears it",
	  { ENTRY(9, LEVEL(2, 0x59)), UP(9), R(LOW(9)), UP(9), DOWN(9), EOI(0x59), R(LOW(9)), UP(9) },
	  "unmask:9 msg:02:59:m0:phys:level 1 c059 -1 1 ack:9 8059 msg:02:59:m0:phys:level 1" },
	{ "still high at its EOI: again",
	  { ENTRY(9, LEVEL(2, 0x59)), UP(9), EOI(0x59), DOWN(9), EOI(0x59), EOI(0x59) },
	  "unmask:9 msg:02:59:m0:phys:level 1 ack:9 msg:02:59:m0:phys:level 1 ack:9 ack:9" },
	{ "lowered in the acknowledge: not again",
	  { ENTRY(9, LEVEL(2, 0x59)), UP(9), { set_lower_on_ack, 9, 0, 0 }, EOI(0x59) },
	  "unmask:9 msg:02:59:m0:phys:level 1 ack:9" },
	{ "a level while masked interrupts when unmasked",
	  { ENTRY(9, MASKED | LEVEL(2, 0x59)), UP(9), ENTRY(9, LEVEL(2, 0x59)) },
	  "-1 unmask:9 msg:02:59:m0:phys:level" },
	{ "unless it went low",
	  { ENTRY(9, MASKED | LEVEL(2, 0x59)), UP(9), DOWN(9), ENTRY(9, LEVEL(2, 0x59)) },
	  "-1 1 unmask:9" },
	{ "nobody took it: no remote IRR",
	  { CPUS(0), ENTRY(9, LEVEL(2, 0x59)), UP(9), R(LOW(9)), CPUS(1), UP(9), R(LOW(9)) },
	  "unmask:9 msg:02:59:m0:phys:level 0 8059 msg:02:59:m0:phys:level 1 c059" },
	{ "remote IRR is not written",
	  { ENTRY(9, LEVEL(2, 0x59)), UP(9), W(LOW(9), 0x8059), R(LOW(9)), W(LOW(9), 0x1c059), R(LOW(9)) },
	  "unmask:9 msg:02:59:m0:phys:level 1 c059 mask:9 1c059" },
	{ "edge and back again clears it",
	  { ENTRY(9, LEVEL(2, 0x59)), UP(9), W(LOW(9), 0x10059), R(LOW(9)), W(LOW(9), 0x8059) },
	  "unmask:9 msg:02:59:m0:phys:level 1 mask:9 10059 unmask:9 msg:02:59:m0:phys:level" },
	{ "EOI while masked: again when unmasked",
	  { ENTRY(9, LEVEL(2, 0x59)), UP(9), W(LOW(9), 0x18059), EOI(0x59), W(LOW(9), 0x8059) },
	  "unmask:9 msg:02:59:m0:phys:level 1 mask:9 ack:9 unmask:9 msg:02:59:m0:phys:level" },
	{ "two pins, one vector",
	  { ENTRY(9, LEVEL(2, 0x59)), ENTRY(10, LEVEL(2, 0x59)), UP(9), UP(10), DOWN(9), EOI(0x59) },
	  "unmask:9 unmask:10 msg:02:59:m0:phys:level 1 msg:02:59:m0:phys:level 1 1 ack:9 ack:10 msg:02:59:m0:phys:level" },
	{ "an edge's EOI leaves a level alone",
	  { ENTRY(9, LEVEL(2, 0x59)), UP(9), EOI_EDGE(0x59), R(LOW(9)) },
	  "unmask:9 msg:02:59:m0:phys:level 1 ack:9 c059" },
	{ "no EOI register in version 0x11",
	  { ENTRY(9, LEVEL(2, 0x59)), UP(9), { access_mmio, IOAPIC_EOI, 0x59, 4 }, R(LOW(9)) },
	  "unmask:9 msg:02:59:m0:phys:level 1 0 c059" },
	{ "but in version 0x20",
	  { { version, IOAPIC_VERSION_EOI, 0, 0 },
	    R(1),
	    ENTRY(9, LEVEL(2, 0x59)),
	    UP(9),
	    DOWN(9),
	    { access_mmio, IOAPIC_EOI, 0x59, 4 },
	    R(LOW(9)) },
	  "170020 unmask:9 msg:02:59:m0:phys:level 1 1 ack:9 0 8059" },
	{ "a storm is put off",
	  { ENTRY(9, LEVEL(2, 0x59)),
	    UP(9),
	    { storm, 0x59, 9999, 0 },
	    EOI(0x59),
	    R(LOW(9)),
	    { deferred, 0, 0, 0 },
	    { deferred, 0, 0, 0 },
	    EOI(0x59) },
	  "ack:9 defer 8059 msg:02:59:m0:phys:level ack:9 msg:02:59:m0:phys:level" },
	{ "one that has ended is not sent",
	  { ENTRY(9, LEVEL(2, 0x59)), UP(9), { storm, 0x59, 9999, 0 }, EOI(0x59), DOWN(9), { deferred, 0, 0, 0 } },
	  "ack:9 defer 1" },

	/* The RTC. */
	{ "RTC: coalesced until all CPUs have ended it",
	  { CPUS(2),
	    ENTRY(8, EDGE(0xff, 0x38)),
	    { report, 8, 1, 0 },
	    { report, 8, 0, 0 },
	    { report, 8, 1, 0 },
	    { report, 8, 0, 0 },
	    EOI_EDGE(0x38),
	    { report, 8, 1, 0 },
	    EOI_EDGE(0x38),
	    { report, 8, 1, 0 } },
	  "unmask:8 msg:ff:38:m0:phys:edge 2 1 0 1 ack:8 0 ack:8 msg:ff:38:m0:phys:edge 2" },
	{ "RTC: who does not ask for the answer is not held back",
	  { ENTRY(8, EDGE(1, 0x38)), { report, 8, 1, 0 }, DOWN(8), UP(8) },
	  "unmask:8 msg:01:38:m0:phys:edge 1 1 msg:01:38:m0:phys:edge 1" },
	{ "RTC: reprogramming forgets",
	  { ENTRY(8, EDGE(1, 0x38)), { report, 8, 1, 0 }, DOWN(8), ENTRY(8, EDGE(1, 0x39)), { report, 8, 1, 0 } },
	  "unmask:8 msg:01:38:m0:phys:edge 1 1 msg:01:39:m0:phys:edge 1" },

	/* EOI exits. */
	{ "EOI exits",
	  { ENTRY(1, EDGE(1, 0x31)),
	    ENTRY(2, EDGE(1, 0x32)),
	    ENTRY(8, EDGE(1, 0x38)),
	    ENTRY(9, LEVEL(1, 0x39)),
	    ENTRY(10, LEVEL(2, 0x3a)),
	    ENTRY(11, EDGE(2, 0x3b)),
	    { exits, BIT(2), 0x3b, 0 } },
	  "unmask:1 unmask:2 unmask:8 unmask:9 unmask:10 unmask:11 exit:32 exit:38 exit:39 exit:3b" },

	/* State. */
	{ "reset masks, lines stay",
	  { ENTRY(9, LEVEL(2, 0x59)), UP(9), { reset, 0, 0, 0 }, R(LOW(9)), ENTRY(9, LEVEL(2, 0x59)) },
	  "unmask:9 msg:02:59:m0:phys:level 1 10000 unmask:9 msg:02:59:m0:phys:level" },
	{ "state survives",
	  { ENTRY(9, LEVEL(2, 0x59)),
	    UP(9),
	    ENTRY(3, EDGE(2, 0x53)),
	    UP(3),
	    { get, 0, 0, 0 },
	    { reset, 0, 0, 0 },
	    { set, 0, 0, 0 },
	    R(LOW(9)),
	    EOI(0x59),
	    R(LOW(3)) },
	  "unmask:9 msg:02:59:m0:phys:level 1 unmask:3 msg:02:53:m0:phys:edge 1 irr:200 c059 ack:9 msg:02:59:m0:phys:level 53" },
	{ "a request in the state is sent",
	  { ENTRY(9, MASKED | LEVEL(2, 0x59)), UP(9), { get, 0, 0, 0 }, { set, 0, 0, 0 }, W(LOW(9), 0x8059) },
	  "-1 irr:200 unmask:9 msg:02:59:m0:phys:level" },
	{ "a blob of ones",
	  { { fill, 0xff, 0, 0 }, { set, 0, 0, 0 }, R(0), R(LOW(0)), R(HIGH(0)), { get, 0, 0, 0 } },
	  "f000000 1efff ff000000 irr:ffffff" },
	{ "a blob of zeros",
	  { UP(5), { fill, 0, 0, 0 }, { set, 0, 0, 0 }, R(0), R(LOW(0)), { get, 0, 0, 0 } },
	  "-1 0 0 irr:0" },
};

static void setup(void)
{
	cpus = 1;
	lower_on_ack = -1;
	ioapic_init(&ioapic, &ops, NULL);
}

int main(void)
{
	return run_programs(programs, ARRAY_SIZE(programs), setup);
}
