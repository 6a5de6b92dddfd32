// SPDX-License-Identifier: GPL-2.0
#include "corpus.h"

#include <string.h>
#include <sys/mman.h>

#define NR_RECORDS 16384u

struct corpus {
	u32 record_size;
	u32 taken; /* places, from the first on; goes on behind the last one */
	bool filled[NR_RECORDS];
	u8 records[];
};

struct corpus *corpus_create(u32 record_size)
{
	size_t size = sizeof(struct corpus) + (size_t)NR_RECORDS * record_size;
	struct corpus *corpus;

	/* What is not written to takes no memory. */
	corpus = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (corpus == MAP_FAILED)
		die("memory for the corpus");
	corpus->record_size = record_size;
	return corpus;
}

void corpus_keep(struct corpus *corpus, const void *record)
{
	u32 place;

	if (__atomic_load_n(&corpus->taken, __ATOMIC_RELAXED) >= NR_RECORDS)
		return;
	place = __atomic_fetch_add(&corpus->taken, 1, __ATOMIC_RELAXED);
	if (place >= NR_RECORDS)
		return;
	memcpy(corpus->records + (size_t)place * corpus->record_size, record, corpus->record_size);
	__atomic_store_n(&corpus->filled[place], true, __ATOMIC_RELEASE);
}

u32 corpus_count(const struct corpus *corpus)
{
	u32 taken = __atomic_load_n(&corpus->taken, __ATOMIC_RELAXED);

	return taken < NR_RECORDS ? taken : NR_RECORDS;
}

const void *corpus_pick(const struct corpus *corpus, u64 random)
{
	u32 place, count = corpus_count(corpus);

	if (!count)
		return NULL;
	place = random % count;
	if (!__atomic_load_n(&corpus->filled[place], __ATOMIC_ACQUIRE))
		return NULL;
	return corpus->records + (size_t)place * corpus->record_size;
}
