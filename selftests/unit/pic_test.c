// SPDX-License-Identifier: GPL-2.0
/*
 * The pair of 8259As: programs of port accesses, lines going high and low, and acknowledges, and the trace that they must
 * leave.
 */
#include "../../module/irq/pic.h"
#include "irq_script.h"

static struct pic pic;
static struct kvm_pic_state blob;
static int lower_on_ack;

static void op_output(void *ctx, bool level)
{
	(void)ctx;
	note("INT:%u", level);
}

static void op_acked(void *ctx, unsigned int line)
{
	(void)ctx;
	note("end:%u", line);
	if ((int)line == lower_on_ack)
		pic_set_irq(&pic, line, 0, false);
}

static void op_masked(void *ctx, unsigned int line, bool masked)
{
	(void)ctx;
	note("%s:%u", masked ? "mask" : "unmask", line);
}

static const struct pic_ops ops = { .output = op_output, .acked = op_acked, .masked = op_masked };

/* Steps. */

static void out(u64 port, u64 value, u64 c)
{
	(void)c;
	pic_port_write(&pic, port, value);
}

static void in(u64 port, u64 b, u64 c)
{
	(void)b;
	(void)c;
	note("%02x", pic_port_read(&pic, port));
}

static void line(u64 line, u64 level, u64 source)
{
	note("%d", pic_set_irq(&pic, line, source, level));
}

/* A pulse, of which only the first answer is noted. */
static void pulse(u64 line, u64 b, u64 c)
{
	(void)b;
	(void)c;
	note("%d", pic_set_irq(&pic, line, 0, true));
	pic_set_irq(&pic, line, 0, false);
}

static void inta(u64 a, u64 b, u64 c)
{
	(void)a;
	(void)b;
	(void)c;
	note("=%02x", pic_read_irq(&pic));
}

static void clear_source(u64 source, u64 b, u64 c)
{
	(void)b;
	(void)c;
	pic_clear_source(&pic, source);
}

static void reset(u64 a, u64 b, u64 c)
{
	(void)a;
	(void)b;
	(void)c;
	pic_reset(&pic);
}

static void get(u64 chip, u64 b, u64 c)
{
	(void)b;
	(void)c;
	pic_get_state(&pic, chip, &blob);
}

static void set(u64 chip, u64 b, u64 c)
{
	(void)b;
	(void)c;
	pic_set_state(&pic, chip, &blob);
}

static void fill(u64 byte, u64 b, u64 c)
{
	(void)b;
	(void)c;
	memset(&blob, (int)byte, sizeof(blob));
}

static void show(u64 a, u64 b, u64 c)
{
	(void)a;
	(void)b;
	(void)c;
	note("base:%x:prio:%x:elcr:%x:%x:init:%u:aeoi:%u", blob.irq_base, blob.priority_add, blob.elcr, blob.elcr_mask,
	     blob.init_state, blob.auto_eoi);
}

static void set_lower_on_ack(u64 line, u64 b, u64 c)
{
	(void)b;
	(void)c;
	lower_on_ack = (int)line;
}

#define OUT(port, value)            \
	{                           \
		out, port, value, 0 \
	}
#define IN(port)               \
	{                      \
		in, port, 0, 0 \
	}
#define UP(n)                 \
	{                     \
		line, n, 1, 0 \
	}
#define DOWN(n)               \
	{                     \
		line, n, 0, 0 \
	}
#define PULSE(n)               \
	{                      \
		pulse, n, 0, 0 \
	}
#define INTA                  \
	{                     \
		inta, 0, 0, 0 \
	}

/* As every PC initializes them: vectors 0x08 and 0x70; the last byte is ICW4. */
#define INIT_MASTER(icw4) OUT(0x20, 0x11), OUT(0x21, 0x08), OUT(0x21, 0x04), OUT(0x21, icw4)
#define INIT_SLAVE(icw4) OUT(0xa0, 0x11), OUT(0xa1, 0x70), OUT(0xa1, 0x02), OUT(0xa1, icw4)
#define INIT INIT_MASTER(1), INIT_SLAVE(1)
#define EOI OUT(0x20, 0x20)
#define EOI_SLAVE OUT(0xa0, 0x20)

static const struct program programs[] = {
	/* Fully nested. */
	{ "vectors",
	  { INIT, PULSE(0), INTA, EOI, PULSE(7), INTA, EOI, PULSE(8), INTA, EOI_SLAVE, EOI, PULSE(15), INTA },
	  "INT:1 1 INT:0 =08 end:0 INT:1 1 INT:0 =0f end:7 INT:1 1 INT:0 =70 end:8 end:2 INT:1 1 INT:0 =77" },
	{ "vectors are multiples of eight",
	  { OUT(0x20, 0x11), OUT(0x21, 0x35), OUT(0x21, 4), OUT(0x21, 1), PULSE(1), INTA },
	  "INT:1 1 INT:0 =31" },
	{ "the order is that of lines",
	  { INIT, PULSE(5), PULSE(3), PULSE(4), INTA, EOI, INTA, EOI, INTA, EOI },
	  "INT:1 1 1 1 INT:0 =0b end:3 INT:1 INT:0 =0c end:4 INT:1 INT:0 =0d end:5" },
	{ "a higher one nests, a lower one waits",
	  { INIT, PULSE(4), INTA, PULSE(5), PULSE(1), INTA, EOI, EOI, INTA },
	  "INT:1 1 INT:0 =0c 1 INT:1 1 INT:0 =09 end:1 end:4 INT:1 INT:0 =0d" },
	{ "the slave's lines come in the master's place 2",
	  { INIT, PULSE(3), PULSE(12), PULSE(1), INTA, EOI, INTA, EOI_SLAVE, EOI, INTA },
	  "INT:1 1 1 1 INT:0 =09 end:1 INT:1 INT:0 =74 end:12 end:2 INT:1 INT:0 =0b" },
	{ "spurious", { INIT, INTA, IN(0x20) }, "=0f 00" },
	{ "a level that went away is spurious",
	  { INIT, OUT(0x4d0, 0x20), UP(5), DOWN(5), INTA },
	  "INT:1 1 INT:0 1 =0f" },
	{ "a request is one request",
	  { INIT, PULSE(4), PULSE(4), INTA, PULSE(4), EOI, INTA, EOI },
	  "INT:1 1 0 INT:0 =0c 1 end:4 INT:1 INT:0 =0c end:4" },
	{ "an EOI with nothing in service", { INIT, EOI, OUT(0x20, 0x63), PULSE(3), INTA }, "INT:1 1 INT:0 =0b" },
	{ "the second of the slave's follows when the master is free",
	  { INIT, PULSE(9), PULSE(8), INTA, EOI, EOI_SLAVE, INTA, EOI_SLAVE, EOI },
	  "INT:1 1 1 INT:0 =70 end:2 end:8 INT:1 INT:0 =71 end:9 end:2" },

	/* Masks, lines, ELCR. */
	{ "masks",
	  { INIT, OUT(0x21, 0xfb), OUT(0xa1, 0xff), IN(0x21), IN(0xa1), PULSE(3), PULSE(8), OUT(0xa1, 0xfe), INTA },
	  "mask:0 mask:1 mask:3 mask:4 mask:5 mask:6 mask:7 mask:8 mask:9 mask:10 mask:11 mask:12 mask:13 mask:14 mask:15 "
	  "fb ff -1 -1 unmask:8 INT:1 INT:0 =70" },
	{ "masking the cascade",
	  { INIT, OUT(0x21, 4), PULSE(8), OUT(0x21, 0), INTA },
	  "mask:2 1 unmask:2 INT:1 INT:0 =70" },
	{ "the cascade is nobody's line", { INIT, UP(2) }, "-1" },
	{ "edge: high is not enough",
	  { INIT, UP(4), INTA, EOI, UP(4), DOWN(4), UP(4) },
	  "INT:1 1 INT:0 =0c end:4 0 1 INT:1 1" },
	{ "level: high is",
	  { INIT, OUT(0x4d0, 0x10), UP(4), INTA, EOI, INTA, DOWN(4), EOI },
	  "INT:1 1 INT:0 =0c end:4 INT:1 INT:0 =0c 1 end:4" },
	{ "level, lowered when ended",
	  { INIT, OUT(0x4d1, 0x04), { set_lower_on_ack, 10, 0, 0 }, UP(10), INTA, EOI_SLAVE, EOI },
	  "INT:1 1 INT:0 =72 end:10 end:2" },
	{ "a line is the OR of its sources",
	  { INIT, OUT(0x4d0, 0x10), { line, 4, 1, 3 }, { line, 4, 1, 40 }, { line, 4, 0, 3 }, { line, 4, 0, 40 } },
	  "INT:1 1 0 0 INT:0 1" },
	{ "a source goes away",
	  { INIT, OUT(0x4d0, 0x10), { line, 4, 1, 3 }, { clear_source, 3, 0, 0 } },
	  "INT:1 1 INT:0" },
	{ "ELCR has not all bits", { OUT(0x4d0, 0xff), OUT(0x4d1, 0xff), IN(0x4d0), IN(0x4d1) }, "f8 de" },
	{ "a line made level-triggered while high",
	  { INIT, UP(4), INTA, EOI, OUT(0x4d0, 0x10) },
	  "INT:1 1 INT:0 =0c end:4 INT:1" },

	/* Initialization. */
	{ "ICW1 forgets",
	  { INIT, OUT(0x21, 1), PULSE(4), PULSE(5), INTA, OUT(0x20, 0x11), IN(0x21), IN(0x20), OUT(0x20, 0x0b),
	    IN(0x20) },
	  "mask:0 INT:1 1 1 INT:0 =0c end:4 end:5 00 00 00" },
	{ "a line that is high at ICW1 must go low first",
	  { UP(4), INIT, UP(4), DOWN(4), UP(4) },
	  "INT:1 1 end:4 INT:0 0 1 INT:1 1" },
	{ "without ICW4",
	  { INIT_MASTER(3), OUT(0x20, 0x10), OUT(0x21, 0x20), OUT(0x21, 4), OUT(0x21, 0xf0), IN(0x21), PULSE(0), INTA,
	    OUT(0x20, 0x0b), IN(0x20) },
	  "mask:4 mask:5 mask:6 mask:7 f0 INT:1 1 INT:0 =20 01" },

	/* Modes. */
	{ "automatic EOI",
	  { INIT_MASTER(3), PULSE(4), INTA, OUT(0x20, 0x0b), IN(0x20), PULSE(4), INTA },
	  "INT:1 1 end:4 INT:0 =0c 00 INT:1 1 end:4 INT:0 =0c" },
	{ "automatic EOI of the slave: the next one follows",
	  { INIT_MASTER(3), INIT_SLAVE(3), PULSE(9), PULSE(8), INTA, INTA },
	  "INT:1 1 1 end:2 end:8 =70 end:2 end:9 INT:0 =71" },
	{ "rotate on non-specific EOI",
	  { INIT, PULSE(3), INTA, OUT(0x20, 0xa0), PULSE(3), PULSE(4), PULSE(5), INTA, EOI, INTA, EOI, INTA },
	  "INT:1 1 INT:0 =0b end:3 INT:1 1 1 1 INT:0 =0c end:4 INT:1 INT:0 =0d end:5 INT:1 INT:0 =0b" },
	{ "rotate on specific EOI",
	  { INIT, PULSE(3), INTA, OUT(0x20, 0xe3), PULSE(3), PULSE(4), INTA },
	  "INT:1 1 INT:0 =0b end:3 INT:1 1 1 INT:0 =0c" },
	{ "set priority",
	  { INIT, OUT(0x20, 0xc4), PULSE(4), PULSE(0), PULSE(5), INTA, EOI, INTA, EOI, INTA },
	  "INT:1 1 1 1 INT:0 =0d end:5 INT:1 INT:0 =08 end:0 INT:1 INT:0 =0c" },
	{ "rotate in automatic EOI",
	  { INIT_MASTER(3), OUT(0x20, 0x80), PULSE(0), INTA, PULSE(0), PULSE(1), INTA, INTA, OUT(0x20, 0x00) },
	  "INT:1 1 end:0 INT:0 =08 INT:1 1 1 end:1 =09 end:0 INT:0 =08" },
	{ "specific EOI",
	  { INIT, PULSE(4), INTA, PULSE(1), INTA, OUT(0x20, 0x64), OUT(0x20, 0x0b), IN(0x20) },
	  "INT:1 1 INT:0 =0c INT:1 1 INT:0 =09 end:4 02" },
	{ "special mask: lower ones come through a masked one in service",
	  { INIT, PULSE(3), INTA, PULSE(5), OUT(0x21, 0x08), OUT(0x20, 0x68), INTA, EOI, OUT(0x20, 0x0b), IN(0x20),
	    OUT(0x20, 0x48), EOI },
	  "INT:1 1 INT:0 =0b 1 mask:3 INT:1 INT:0 =0d end:5 08 end:3" },
	{ "special fully nested: the slave's higher ones come through",
	  { INIT_MASTER(0x11), INIT_SLAVE(1), PULSE(12), INTA, PULSE(9), INTA, PULSE(3) },
	  "INT:1 1 INT:0 =74 INT:1 1 INT:0 =71 1" },
	{ "fully nested: they do not",
	  { INIT, PULSE(12), INTA, PULSE(9), EOI, INTA },
	  "INT:1 1 INT:0 =74 1 end:2 INT:1 INT:0 =71" },

	/* Reads. */
	{ "IRR and ISR",
	  { INIT, PULSE(4), PULSE(5), IN(0x20), INTA, IN(0x20), OUT(0x20, 0x0b), IN(0x20), OUT(0x20, 0x0a), IN(0x20) },
	  "INT:1 1 1 30 INT:0 =0c 20 10 20" },
	{ "poll",
	  { INIT, PULSE(4), OUT(0x20, 0x0c), IN(0x20), OUT(0x20, 0x0b), IN(0x20), OUT(0x20, 0x0c), IN(0x20),
	    OUT(0x20, 0x0a), IN(0x20) },
	  "INT:1 1 INT:0 84 10 00 00" },
	{ "poll through the mask port",
	  { INIT, PULSE(4), OUT(0x20, 0x0c), IN(0x21), IN(0x21) },
	  "INT:1 1 INT:0 84 00" },
	{ "poll of the slave", { INIT, PULSE(9), OUT(0xa0, 0x0c), IN(0xa0) }, "INT:1 1 INT:0 81" },

	/* State. */
	{ "reset", { INIT, OUT(0x21, 2), UP(4), { reset, 0, 0, 0 }, IN(0x21), UP(4) }, "mask:1 INT:1 1 INT:0 00 0" },
	{ "state survives",
	  { INIT, PULSE(4), PULSE(5), INTA, { get, 0, 0, 0 }, { reset, 0, 0, 0 }, { set, 0, 0, 0 }, EOI, INTA },
	  "INT:1 1 1 INT:0 =0c end:4 INT:1 INT:0 =0d" },
	{ "the slave's as well",
	  { INIT, PULSE(12), { get, 1, 0, 0 }, INIT_SLAVE(1), { set, 1, 0, 0 }, INTA },
	  "INT:1 1 end:12 INT:0 INT:1 INT:0 =74" },
	{ "blobs of ones",
	  { { fill, 0xff, 0, 0 },
	    { set, 0, 0, 0 },
	    { set, 1, 0, 0 },
	    { get, 0, 0, 0 },
	    { show, 0, 0, 0 },
	    { get, 1, 0, 0 },
	    { show, 0, 0, 0 },
	    INTA },
	  "base:f8:prio:7:elcr:f8:f8:init:3:aeoi:1 base:f8:prio:7:elcr:de:de:init:3:aeoi:1 =ff" },
	{ "blobs of zeros", { INIT, PULSE(1), { fill, 0, 0, 0 }, { set, 0, 0, 0 }, INTA }, "INT:1 1 INT:0 =07" },
};

static void setup(void)
{
	lower_on_ack = -1;
	pic_init(&pic, &ops, NULL);
}

int main(void)
{
	return run_programs(programs, ARRAY_SIZE(programs), setup);
}
