// SPDX-License-Identifier: GPL-2.0
/*
 * The map of destinations: who it finds, by examples of the manual's formats; and that of whom it does not find nobody
 * would have taken the message, by random local APICs that are asked one by one.
 */
#include <stdlib.h>

#include "../../module/irq/apic_map.h"
#include "irq_script.h"

#define MAX_APICS 40
#define MAX_IDS 700
#define ROUNDS 20000

static struct lapic apics[MAX_APICS];
static u8 pages[MAX_APICS][4096] __attribute__((aligned(4096)));
static unsigned int nr_apics;

static struct apic_map *map;

static void op_nothing(void *ctx)
{
}

static const struct lapic_ops ops = { .timer_cancel = op_nothing };
static const struct lapic_config config = { .x2apic = true };

static void setup(void)
{
	nr_apics = 0;
}

static void write(struct lapic *lapic, u32 offset, u32 value)
{
	lapic_mmio_write(lapic, offset, &value, sizeof(value));
}

static struct lapic *add(u32 id)
{
	struct lapic *lapic = &apics[nr_apics];

	lapic_init(lapic, pages[nr_apics++], id, &config, &ops, NULL);
	return lapic;
}

static void enable_x2apic(struct lapic *lapic)
{
	lapic_set_base(lapic, lapic->base | APIC_BASE_X2APIC, false);
}

static void make_map(void)
{
	u32 nr_ids = 0;
	unsigned int i;

	for (i = 0; i < nr_apics; i++)
		nr_ids = max(nr_ids, apic_map_ids(&apics[i]));
	free(map);
	map = calloc(1, sizeof(*map) + nr_ids * sizeof(map->physical[0]));
	map->nr_ids = nr_ids;
	for (i = 0; i < nr_apics; i++)
		apic_map_add(map, &apics[i], i);
}

/* Steps. */

/* Enabled by software, in xAPIC mode, with logical ID and model. */
static void xapic(u64 id, u64 ldr, u64 dfr)
{
	struct lapic *lapic = add(id);

	write(lapic, LAPIC_SVR, 0x1ff);
	write(lapic, LAPIC_LDR, ldr << 24);
	write(lapic, LAPIC_DFR, dfr << 28);
}

static void xapic_of_id(u64 id, u64 written, u64 c)
{
	xapic(id, 0, 0xf);
	write(&apics[nr_apics - 1], LAPIC_ID, written << 24);
}

static void x2apic(u64 first, u64 nr, u64 c)
{
	for (; nr; nr--) {
		struct lapic *lapic = add(first++);

		write(lapic, LAPIC_SVR, 0x1ff);
		enable_x2apic(lapic);
	}
}

static void disabled(u64 id, u64 in_x2apic, u64 c)
{
	struct lapic *lapic = add(id);

	if (in_x2apic)
		enable_x2apic(lapic);
}

static void off(u64 id, u64 b, u64 c)
{
	struct lapic *lapic = add(id);

	lapic_set_base(lapic, 0, true);
}

static void find(u64 dest, u64 dest_mode, u64 delivery_mode)
{
	const struct apic_message msg = { .dest = dest, .dest_mode = dest_mode, .delivery_mode = delivery_mode };
	u16 found[APIC_MAP_MAX_FOUND];
	int nr, i;

	make_map();
	nr = apic_map_find(map, &msg, found);
	note(nr < 0 ? "all" : nr ? "found" : "nobody");
	for (i = 0; i < nr; i++)
		note("%u", apics[found[i]].id);
}

/* -- whoever is not found would not have taken it ------------------------------------------------------------------- */

static u64 state;

static u32 random_below(u32 limit)
{
	state = state * 6364136223846793005ull + 1442695040888963407ull;
	return (state >> 33) % limit;
}

/* Mostly a guest with one format, sometimes one without sense. */
static void random_apics(void)
{
	u32 kind = random_below(4), id = random_below(300);
	unsigned int nr = 1 + random_below(MAX_APICS), i;

	for (i = 0; i < nr; i++, id += 1 + random_below(10)) {
		u32 what = kind == 3 ? random_below(5) : kind;

		if (what == 0)
			x2apic(id, 1, 0);
		else if (what == 1)
			xapic(id, 1 << random_below(8), 0xf);
		else if (what == 2)
			xapic(id, random_below(16) << 4 | 1 << random_below(4), 0);
		else if (what == 3)
			xapic_of_id(id, random_below(256), 0);
		else
			disabled(id, random_below(2), 0);
	}
}

static struct apic_message random_message(void)
{
	static const u32 deliveries[] = { APIC_DELIVER_FIXED, APIC_DELIVER_FIXED, APIC_DELIVER_LOWEST,
					  APIC_DELIVER_NMI };
	struct apic_message msg = {
		.dest_mode = random_below(2),
		.delivery_mode = deliveries[random_below(4)],
		.dest = random_below(4) ? random_below(256) : random_below(MAX_IDS),
	};

	if (!random_below(3))
		msg.dest = random_below(MAX_IDS / 16) << 16 | random_below(0x10000);
	return msg;
}

static bool has(const u16 *found, int nr, unsigned int number)
{
	while (nr-- > 0)
		if (found[nr] == number)
			return true;
	return false;
}

static bool takes(const struct lapic *lapic, const struct apic_message *msg)
{
	return lapic_matches(lapic, msg->dest, msg->dest_mode) &&
	       (lapic->accepting || msg->delivery_mode > APIC_DELIVER_LOWEST);
}

/* Of several with one physical ID one is enough. */
static bool misses_none(const struct apic_message *msg)
{
	unsigned int takers = 0, missed = 0, i;
	u16 found[APIC_MAP_MAX_FOUND];
	int nr = apic_map_find(map, msg, found);

	for (i = 0; i < nr_apics && nr >= 0; i++) {
		takers += takes(&apics[i], msg);
		missed += takes(&apics[i], msg) && !has(found, nr, i);
	}
	return !missed || (msg->dest_mode == APIC_DEST_PHYSICAL && missed < takers);
}

static void random_rounds(u64 a, u64 b, u64 c)
{
	unsigned int i, j, wrong = 0;

	for (i = 0; i < ROUNDS / 100; i++) {
		nr_apics = 0;
		random_apics();
		make_map();
		for (j = 0; j < 100; j++) {
			struct apic_message msg = random_message();

			wrong += !misses_none(&msg);
		}
	}
	note("%u wrong", wrong);
}

#define PHYSICAL(id)                                             \
	{                                                        \
		find, id, APIC_DEST_PHYSICAL, APIC_DELIVER_FIXED \
	}
#define LOGICAL(dest)                                             \
	{                                                         \
		find, dest, APIC_DEST_LOGICAL, APIC_DELIVER_FIXED \
	}

static const struct program programs[] = {
	{ "xAPIC, by ID", { { xapic, 3, 0, 0xf }, { xapic, 7, 0, 0xf }, PHYSICAL(7), PHYSICAL(4) }, "found 7 nobody" },
	{ "an ID that the guest wrote", { { xapic_of_id, 3, 9, 0 }, PHYSICAL(9), PHYSICAL(3) }, "found 3 nobody" },
	{ "an x2APIC is not reached by what an xAPIC calls itself",
	  { { xapic_of_id, 1, 2, 0 }, { x2apic, 2, 1, 0 }, PHYSICAL(2) },
	  "found 2" },
	{ "a long ID, before and after x2APIC mode",
	  { { xapic, 0x123, 0, 0xf }, { x2apic, 0x200, 1, 0 }, PHYSICAL(0x123), PHYSICAL(0x23), PHYSICAL(0x200) },
	  "found 291 found 291 found 512" },
	{ "IDs beyond all", { { x2apic, 0x1ff, 1, 0 }, PHYSICAL(0x200), PHYSICAL(0xfffffffe) }, "nobody nobody" },
	{ "broadcasts",
	  { { x2apic, 0, 2, 0 }, PHYSICAL(0xffffffff), PHYSICAL(0xff), LOGICAL(0xffffffff) },
	  "all all all" },
	{ "the flat model",
	  { { xapic, 0, 1, 0xf },
	    { xapic, 1, 2, 0xf },
	    { xapic, 2, 0x80, 0xf },
	    LOGICAL(0x83),
	    LOGICAL(4),
	    LOGICAL(0x180) },
	  "found 0 1 2 nobody nobody" },
	{ "the flat model, everybody", { { xapic, 0, 1, 0xf }, LOGICAL(0xff) }, "all" },
	{ "the cluster model",
	  { { xapic, 0, 0x11, 0 },
	    { xapic, 1, 0x12, 0 },
	    { xapic, 2, 0x21, 0 },
	    LOGICAL(0x13),
	    LOGICAL(0x21),
	    LOGICAL(0x31) },
	  "found 0 1 found 2 nobody" },
	{ "x2APIC clusters",
	  { { x2apic, 0, 40, 0 }, LOGICAL(0x00020081), LOGICAL(0x00010000), LOGICAL(0xff), LOGICAL(0xffff0001) },
	  "found 32 39 nobody found 0 1 2 3 4 5 6 7 nobody" },
	{ "a whole x2APIC cluster",
	  { { x2apic, 16, 16, 0 }, LOGICAL(0x0001ffff) },
	  "found 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31" },
	{ "two for one bit", { { xapic, 0, 1, 0xf }, { xapic, 1, 1, 0xf }, LOGICAL(1) }, "all" },
	{ "one with two bits", { { xapic, 0, 3, 0xf }, LOGICAL(1) }, "all" },
	{ "two models", { { xapic, 0, 1, 0xf }, { xapic, 1, 0x11, 0 }, LOGICAL(1) }, "all" },
	{ "two modes", { { xapic, 0, 1, 0xf }, { x2apic, 1, 1, 0 }, LOGICAL(1) }, "all" },
	{ "the disabled do not count among formats",
	  { { disabled, 0, 0, 0 }, { x2apic, 1, 1, 0 }, LOGICAL(2), PHYSICAL(0) },
	  "found 1 found 0" },
	{ "but may be meant by an NMI",
	  { { disabled, 0, 1, 0 }, { find, 1, APIC_DEST_LOGICAL, APIC_DELIVER_NMI } },
	  "all" },
	{ "one that is off", { { off, 3, 0, 0 }, PHYSICAL(3), LOGICAL(1) }, "nobody nobody" },
	{ "who is not found would not have taken it", { { random_rounds, 0, 0, 0 } }, "0 wrong" },
};

int main(void)
{
	return run_programs(programs, ARRAY_SIZE(programs), setup);
}
