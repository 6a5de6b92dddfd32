// SPDX-License-Identifier: GPL-2.0
/*
 * Which device answers at an address.
 */
#include "bus.h"

#include <string.h>

/* The first region that ends above an address; nr_regions if none does. */
static unsigned int find(const struct bus *bus, u64 addr)
{
	unsigned int low = 0, high = bus->nr_regions;

	while (low < high) {
		unsigned int middle = (low + high) / 2;
		const struct region *region = &bus->regions[middle];

		if (addr >= region->base && addr - region->base >= region->size)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

void bus_init(struct bus *bus)
{
	pthread_mutex_init(&bus->lock, NULL);
}

/**
 * bus_add - let a device answer at an address
 * @bus: the address space
 * @region: the device's registers, copied
 *
 * A guest that moves one device over another gets the one that was there first, so nothing here is an error.
 *
 * Return: whether the region is there now.
 */
bool bus_add(struct bus *bus, const struct region *region)
{
	struct region *place;
	bool free;

	pthread_mutex_lock(&bus->lock);
	place = &bus->regions[find(bus, region->base)];
	free = bus->nr_regions < ARRAY_SIZE(bus->regions);
	if (place < bus->regions + bus->nr_regions)
		free = free && place->base >= region->base && place->base - region->base >= region->size;
	if (free) {
		memmove(place + 1, place, (char *)(bus->regions + bus->nr_regions) - (char *)place);
		*place = *region;
		bus->nr_regions++;
	}
	pthread_mutex_unlock(&bus->lock);
	return free;
}

/**
 * bus_remove - take the region away that begins at an address
 * @bus: the address space
 * @base: what bus_add() was given
 */
void bus_remove(struct bus *bus, u64 base)
{
	struct region *place;

	pthread_mutex_lock(&bus->lock);
	place = &bus->regions[find(bus, base)];
	bus->nr_regions--;
	memmove(place, place + 1, (char *)(bus->regions + bus->nr_regions) - (char *)place);
	pthread_mutex_unlock(&bus->lock);
}

/* Copies the region out, so that a device may change the table from within its own callback. */
static bool lookup(struct bus *bus, u64 addr, unsigned int len, struct region *region)
{
	unsigned int i;
	bool found;

	pthread_mutex_lock(&bus->lock);
	i = find(bus, addr);
	found = i < bus->nr_regions && addr >= bus->regions[i].base &&
		len <= bus->regions[i].size - (addr - bus->regions[i].base);
	if (found)
		*region = bus->regions[i];
	pthread_mutex_unlock(&bus->lock);
	return found;
}

/**
 * bus_access - carry out one load or store of the guest
 * @bus: the address space
 * @addr: where
 * @data: @len bytes, stored from or loaded into
 * @len: 1 to 8
 * @write: a store
 *
 * Where nobody answers, a load gives all ones and a store is lost, as on a PC.
 */
void bus_access(struct bus *bus, u64 addr, void *data, unsigned int len, bool write)
{
	struct region region;
	unsigned int step;

	if (!lookup(bus, addr, len, &region)) {
		if (!write)
			memset(data, 0xff, len);
		return;
	}
	step = min(len, region.width);
	for (unsigned int i = 0; i < len; i += step) {
		u64 value = 0;

		if (write) {
			memcpy(&value, (char *)data + i, step);
			region.write(region.dev, addr - region.base + i, step, value);
		} else {
			value = region.read(region.dev, addr - region.base + i, step);
			memcpy((char *)data + i, &value, step);
		}
	}
}
