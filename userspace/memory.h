/* SPDX-License-Identifier: GPL-2.0 */
#ifndef PITH_MEMORY_H
#define PITH_MEMORY_H

#include "util.h"

/* RAM ends here and goes on at 4 GiB: in between are the PCI window, the I/O APIC and the local APICs. */
#define MEMORY_HOLE_START (3 * GIB)
#define MEMORY_HOLE_END (4 * GIB)

struct memory_range {
	u64 gpa;
	u64 size;
	u8 *host;
};

struct memory {
	unsigned int nr_ranges;
	struct memory_range ranges[2];
};

void memory_init(struct memory *memory, u64 size);
void *memory_at(const struct memory *memory, u64 gpa, u64 size);

#endif
