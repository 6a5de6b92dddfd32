// SPDX-License-Identifier: GPL-2.0
#include "kcov.h"

#include <fcntl.h>
#include <linux/kcov.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define DEVICE "/sys/kernel/debug/kcov"

/* The first one says how many follow. Longer traces, of a KVM_RUN with many exits, are cut off. */
#define TRACE_WORDS 16384u

/* A module lies in one piece, and it has less than 4 MiB of code: so many bits of an address tell. */
#define NR_BITS (1u << 22)

struct coverage {
	u64 calls;
	u64 blocks[NR_BITS / 64];
	u64 edges[NR_BITS / 64];
};

struct coverage *coverage_create(void)
{
	void *coverage;

	if (access(DEVICE, R_OK | W_OK))
		return NULL;
	coverage = mmap(NULL, sizeof(struct coverage), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (coverage == MAP_FAILED)
		die("memory for the coverage");
	return coverage;
}

static u32 count_bits(const u64 *bits)
{
	u32 i, count = 0;

	for (i = 0; i < NR_BITS / 64; i++)
		count += __builtin_popcountll(bits[i]);
	return count;
}

void coverage_count(const struct coverage *coverage, u64 *calls, u32 *blocks, u32 *edges)
{
	*calls = coverage->calls;
	*blocks = count_bits(coverage->blocks);
	*edges = count_bits(coverage->edges);
}

u64 *trace_open(void)
{
	int fd = open(DEVICE, O_RDWR);
	u64 *trace;

	if (fd < 0 || ioctl(fd, KCOV_INIT_TRACE, TRACE_WORDS))
		die("KCOV_INIT_TRACE");
	trace = mmap(NULL, TRACE_WORDS * sizeof(u64), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (trace == MAP_FAILED || ioctl(fd, KCOV_ENABLE, KCOV_TRACE_PC))
		die("KCOV_ENABLE");
	return trace;
}

void trace_begin(u64 *trace)
{
	if (trace)
		__atomic_store_n(trace, 0, __ATOMIC_RELAXED);
}

/* Most are known: so they are only read. */
static bool set_bit(u64 *bits, u32 nr)
{
	u64 *word = &bits[nr / 64], bit = 1ull << nr % 64;

	if (__atomic_load_n(word, __ATOMIC_RELAXED) & bit)
		return false;
	return !(__atomic_fetch_or(word, bit, __ATOMIC_RELAXED) & bit);
}

bool trace_end(u64 *trace, struct coverage *coverage)
{
	u32 block, previous = 0;
	bool is_new = false;
	u64 i, nr;

	if (!trace)
		return false;
	nr = __atomic_load_n(trace, __ATOMIC_RELAXED);
	for (i = 1; i <= nr; i++) {
		block = trace[i] % NR_BITS;
		is_new |= set_bit(coverage->blocks, block);
		is_new |= set_bit(coverage->edges, (block ^ previous * 2654435761u) % NR_BITS);
		previous = block;
	}
	__atomic_fetch_add(&coverage->calls, 1, __ATOMIC_RELAXED);
	return is_new;
}
