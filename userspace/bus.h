/* SPDX-License-Identifier: GPL-2.0 */
#ifndef PITH_BUS_H
#define PITH_BUS_H

#include <pthread.h>

#include "util.h"

/* A device's registers. An access wider than @width reaches the device as several, lowest address first. */
struct region {
	u64 base;
	u64 size;
	unsigned int width;
	u64 (*read)(void *dev, u64 offset, unsigned int len);
	void (*write)(void *dev, u64 offset, unsigned int len, u64 value);
	void *dev;
};

/* The regions of one address space, I/O ports or memory, sorted by address. */
struct bus {
	pthread_mutex_t lock;
	unsigned int nr_regions;
	struct region regions[64];
};

void bus_init(struct bus *bus);
bool bus_add(struct bus *bus, const struct region *region);
void bus_remove(struct bus *bus, u64 base);
void bus_access(struct bus *bus, u64 addr, void *data, unsigned int len, bool write);

#endif
