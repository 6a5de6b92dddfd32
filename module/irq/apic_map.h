/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Who may be meant by a message's destination, found without asking each local APIC. A map is made of all local APICs
 * of a VM at once and never changes; when one of them changes what it answers to, a new map takes its place.
 *
 * Needs no kernel.
 */
#ifndef PITH_IRQ_APIC_MAP_H
#define PITH_IRQ_APIC_MAP_H

#include "lapic.h"

/* What a logical destination names at the most: the CPUs of an x2APIC cluster. */
#define APIC_MAP_MAX_FOUND 16

#define APIC_MAP_LOGICAL_SIZE 64

/**
 * struct apic_map - local APICs, numbered as the maker likes, by destination
 * @nr_ids: physical destinations from here on are nobody's
 * @logical_mode: whether all local APICs that take part in logical destinations have one format, and which
 * @logical: xAPIC formats: the number plus one, or 0, of a bit in the flat model, or of a cluster's four bits
 * @physical: by APIC ID: the number plus one, or 0
 */
struct apic_map {
	u32 nr_ids;
	enum { APIC_MAP_NONE, APIC_MAP_FLAT, APIC_MAP_CLUSTER, APIC_MAP_X2APIC, APIC_MAP_MIXED } logical_mode;
	u16 logical[APIC_MAP_LOGICAL_SIZE];
	u16 physical[];
};

/**
 * apic_map_ids() - how many IDs a map must have to hold a local APIC
 * @lapic: any context
 */
static inline u32 apic_map_ids(const struct lapic *lapic)
{
	/* In xAPIC mode the guest may give itself any of 256. */
	return max_t(u32, lapic->id, 0xff) + 1;
}

/**
 * apic_map_add() - puts a local APIC into a map that is being made
 * @map: zeroed but for @nr_ids
 * @lapic: any context
 * @number: less than 65535
 */
void apic_map_add(struct apic_map *map, const struct lapic *lapic, u16 number);

/**
 * apic_map_find() - who may be meant
 * @map: whole
 * @msg: the message, without a shorthand
 * @found: the numbers of those that lapic_matches() has yet to be asked for
 *
 * Return: how many they are; -1: that of a broadcast, and of what the map does not know, is every local APIC. Of several
 * with the same physical ID, which is the guest's mistake, one is found.
 */
int apic_map_find(const struct apic_map *map, const struct apic_message *msg, u16 found[APIC_MAP_MAX_FOUND]);

#endif
