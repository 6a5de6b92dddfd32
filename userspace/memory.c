// SPDX-License-Identifier: GPL-2.0
/*
 * Guest memory: anonymous memory of this process, and the one way from a guest-physical address to it.
 */
#include "memory.h"

#include <sys/mman.h>

/* A range can only be mapped by 2 MiB pages if its host address is as aligned as its guest-physical one. */
#define HUGE_PAGE (2 * MIB)

/**
 * memory_init - give the guest its RAM
 * @memory: filled in; the RAM is zero
 * @size: bytes of RAM, a multiple of the page size
 */
void memory_init(struct memory *memory, u64 size)
{
	u64 low = min(size, MEMORY_HOLE_START);
	u8 *host = mmap(NULL, size + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
			0);

	if (host == MAP_FAILED)
		die("cannot reserve %llu MiB for the guest: try a smaller --mem", size / MIB);
	host = (u8 *)ALIGN_UP((uintptr_t)host, HUGE_PAGE);

	/* Both only advise: small pages do as well, and so does a core dump with the guest in it. */
	madvise(host, size, MADV_HUGEPAGE);
	madvise(host, size, MADV_DONTDUMP);

	memory->ranges[0] = (struct memory_range){ .gpa = 0, .size = low, .host = host };
	memory->ranges[1] = (struct memory_range){ .gpa = MEMORY_HOLE_END, .size = size - low, .host = host + low };
	memory->nr_ranges = size > low ? 2 : 1;
}

/**
 * memory_at - the host address of a piece of guest RAM
 * @memory: the guest's
 * @gpa: where the piece begins; any value, the guest may have chosen it
 * @size: its bytes; any value
 *
 * Return: the address, or NULL where the piece is not wholly within one range of RAM.
 */
void *memory_at(const struct memory *memory, u64 gpa, u64 size)
{
	for (unsigned int i = 0; i < memory->nr_ranges; i++) {
		const struct memory_range *range = &memory->ranges[i];
		u64 offset = gpa - range->gpa;

		if (gpa >= range->gpa && offset <= range->size && size <= range->size - offset)
			return range->host + offset;
	}
	return NULL;
}
