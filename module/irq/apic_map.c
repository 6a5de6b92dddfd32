// SPDX-License-Identifier: GPL-2.0
/*
 * Destinations of interrupt messages. Source: SDM volume 3, "Determining IPI Destination" and "Determining IPI
 * Destination in x2APIC Mode".
 */
#include "apic_map.h"

#define DFR_MODEL_FLAT 0xf
#define DFR_MODEL_CLUSTER 0
#define CLUSTER_SIZE 4 /* an xAPIC's */
#define X2APIC_CLUSTER_SIZE 16

static u32 reg(const struct lapic *lapic, u32 offset)
{
	return READ_ONCE(*(u32 *)(lapic->regs + offset));
}

/* An ID of its own beats one that the guest wrote, or what is left of a long one in eight bits. */
static void add_physical(struct apic_map *map, const struct lapic *lapic, u8 mode, u16 number)
{
	u32 xapic_id = reg(lapic, LAPIC_ID) >> 24;

	if ((mode == LAPIC_X2APIC || lapic->id > 0xff) && lapic->id < map->nr_ids)
		map->physical[lapic->id] = number + 1;
	if (mode == LAPIC_XAPIC && !map->physical[xapic_id])
		map->physical[xapic_id] = number + 1;
}

/* Two for one bit, or one with more than one: legal, and too rare for a map. */
static void add_bit(struct apic_map *map, unsigned int base, u8 bits, u16 number)
{
	unsigned int slot = base + __ffs(bits);

	if (bits & (bits - 1) || map->logical[slot])
		map->logical_mode = APIC_MAP_MIXED;
	else
		map->logical[slot] = number + 1;
}

static u8 logical_format(const struct lapic *lapic, u8 mode)
{
	if (mode == LAPIC_X2APIC)
		return APIC_MAP_X2APIC;
	switch (reg(lapic, LAPIC_DFR) >> 28) {
	case DFR_MODEL_FLAT:
		return APIC_MAP_FLAT;
	case DFR_MODEL_CLUSTER:
		return APIC_MAP_CLUSTER;
	default:
		return APIC_MAP_MIXED;
	}
}

static void add_logical(struct apic_map *map, const struct lapic *lapic, u8 mode, u16 number)
{
	u8 format = logical_format(lapic, mode), ldr = reg(lapic, LAPIC_LDR) >> 24;

	if (map->logical_mode == APIC_MAP_NONE)
		map->logical_mode = format;
	else if (map->logical_mode != format)
		map->logical_mode = APIC_MAP_MIXED;
	if (map->logical_mode == APIC_MAP_FLAT && ldr)
		add_bit(map, 0, ldr, number);
	else if (map->logical_mode == APIC_MAP_CLUSTER && ldr & 0xf)
		add_bit(map, (ldr >> 4) * CLUSTER_SIZE, ldr & 0xf, number);
}

/* One that is disabled by software takes no part in a map for fixed and lowest-priority interrupts: it refuses them. */
void apic_map_add(struct apic_map *map, const struct lapic *lapic, u16 number)
{
	u8 mode = READ_ONCE(lapic->mode);

	if (mode == LAPIC_OFF)
		return;
	add_physical(map, lapic, mode, number);
	if (reg(lapic, LAPIC_SVR) & APIC_SVR_ENABLE)
		add_logical(map, lapic, mode, number);
}

static int find_physical(const struct apic_map *map, u32 id, u16 *found)
{
	if (id >= map->nr_ids)
		return 0;
	id = array_index_nospec(id, map->nr_ids);
	*found = map->physical[id] - 1;
	return !!map->physical[id];
}

/* The bits of a cluster stand for as many neighbours in a table. */
static int find_bits(const u16 *table, u32 size, u32 first, u32 bits, u16 *found)
{
	int nr = 0;

	for (; bits; bits &= bits - 1) {
		u32 i = first + __ffs(bits);

		if (i >= size)
			break;
		i = array_index_nospec(i, size);
		if (table[i])
			found[nr++] = table[i] - 1;
	}
	return nr;
}

/* To x2APICs 0xff is but the first half of the first cluster. */
static int find_logical(const struct apic_map *map, u32 dest, u16 *found)
{
	if (map->logical_mode == APIC_MAP_X2APIC)
		/* Made of the ID: "Deriving Logical x2APIC ID from the Local x2APIC ID". */
		return find_bits(map->physical, map->nr_ids, (dest >> 16) * X2APIC_CLUSTER_SIZE, dest & 0xffff, found);
	if (map->logical_mode == APIC_MAP_MIXED || dest == APIC_DEST_BROADCAST_XAPIC)
		return -1;
	if (map->logical_mode == APIC_MAP_NONE || dest > 0xff)
		return 0;
	if (map->logical_mode == APIC_MAP_FLAT)
		return find_bits(map->logical, APIC_MAP_LOGICAL_SIZE, 0, dest, found);
	return find_bits(map->logical, APIC_MAP_LOGICAL_SIZE, (dest >> 4) * CLUSTER_SIZE, dest & 0xf, found);
}

int apic_map_find(const struct apic_map *map, const struct apic_message *msg, u16 found[APIC_MAP_MAX_FOUND])
{
	if (msg->dest == APIC_DEST_BROADCAST)
		return -1;
	if (msg->dest_mode == APIC_DEST_PHYSICAL)
		return msg->dest == APIC_DEST_BROADCAST_XAPIC ? -1 : find_physical(map, msg->dest, found);
	return msg->delivery_mode > APIC_DELIVER_LOWEST ? -1 : find_logical(map, msg->dest, found);
}
