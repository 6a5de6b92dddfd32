/* SPDX-License-Identifier: GPL-2.0 */
/* What the files of memory/ share. */
#ifndef PITH_MEMORY_INTERNAL_H
#define PITH_MEMORY_INTERNAL_H

#include <linux/bitops.h>
#include <linux/interval_tree.h>
#include <linux/mm.h>
#include <linux/nospec.h>

#include "../vm.h"
#include "memory.h"

/* -- slots.c ---------------------------------------------------------------------------------------------------- */

struct slot {
	u64 gfn, npages;
	unsigned long host; /* the client's address, checked by access_ok() */
	u32 flags;
	u32 id;		      /* the upper half: of the address space */
	bool retired;	      /* being moved or deleted: not for the guest any more, but still for the notifier */
	unsigned long *dirty; /* bit per page, NULL when writes are not logged */
};

/* Of a gfn the number of its address space. Physical addresses have 52 bits at most. */
#define AS_SHIFT (52 - PAGE_SHIFT)
#define AS_MASK (BIT_ULL(AS_SHIFT) - 1)
#define NO_GFN U64_MAX

/* Guests and clients choose the address: what is beyond all physical ones is no page of any address space. */
static inline u64 as_gfn(unsigned int as_id, u64 gpa)
{
	u64 gfn = gpa >> PAGE_SHIFT;

	return gfn >> AS_SHIFT ? NO_GFN : (u64)as_id << AS_SHIFT | gfn;
}

static inline bool slot_id_is_valid(u32 id)
{
	return (u16)id < MEMORY_MAX_SLOTS && id >> 16 < MEMORY_ADDRESS_SPACES;
}

static inline bool slot_holds(const struct slot *slot, u64 gfn)
{
	return gfn - slot->gfn < slot->npages;
}

static inline unsigned long slot_host_end(const struct slot *slot)
{
	return slot->host + (slot->npages << PAGE_SHIFT);
}

/* The client's address of a page. A guest chooses the gfn: the CPU must not speculate past the slot's end with it. */
static inline unsigned long slot_address(const struct slot *slot, u64 gfn)
{
	return slot->host + (array_index_nospec(gfn - slot->gfn, slot->npages) << PAGE_SHIFT);
}

/* After the write, not before: whoever takes the bit out of the log must find the page changed. */
static inline void slot_mark_dirty(const struct slot *slot, u64 gfn)
{
	if (slot->dirty)
		set_bit(gfn - slot->gfn, slot->dirty);
}

/*
 * The slots of a set that hold any of the guest pages, or host addresses, from @first to @last; NULL: no more. Under m->srcu
 * or m->slots_lock.
 */
struct slot *slots_first(struct slots *slots, enum slot_order order, u64 first, u64 last);
struct slot *slots_next(struct slots *slots, enum slot_order order, struct slot *slot, u64 first, u64 last);

struct slot *slots_find(struct slots *slots, u64 gfn);

/* -- tables.c --------------------------------------------------------------------------------------------------- */

#define TABLE_BITS 9 /* of a gfn, per level */

static inline u64 level_pages(unsigned int level)
{
	return 1ull << TABLE_BITS * (level - 1);
}

/* What a fault wants the tables to say. */
struct mapping {
	u64 gfn, pfn;	    /* of the page that was touched; the leaf may cover more */
	unsigned int level; /* the highest level for the leaf */
	bool write, exec;   /* what the access was */
	bool writable;	    /* what to grant */
	bool clean;	    /* the CPU is to set the dirty bit, and to log that */
	bool uncached;
	bool large_no_exec;	/* a leaf above the lowest level is not for code */
	unsigned int broken_up; /* for code: the level that the leaf would have otherwise */
};

/* Of a leaf. */
static inline bool leaf_is_executable(const struct table_format *format, u64 leaf)
{
	return format->exec ? leaf & format->exec : !(leaf & format->no_exec);
}

int tables_init(struct memory *m);

/* No CPU and nobody else uses them any more. */
void tables_free(struct memory *m);

u64 *table_alloc(void);

/**
 * tables_map - enters a leaf, with the tables above it
 * @spare: a table page to be used where one is missing; NULL when used up
 * Context: m->lock held for reading. Returns 0; -EAGAIN when a spare page is needed; -EEXIST when something else stands
 * there, which has to be removed first.
 */
int tables_map(struct memory *m, const struct mapping *map, u64 **spare);

/* The leaf that maps a page, and its level; or 0, and the level at which there is none. Stale as soon as it is told. */
u64 tables_find(struct memory *m, u64 gfn, unsigned int *level);

/* The first page from @gfn on whose GiB has tables of its own. */
#define NO_TABLES U64_MAX
u64 tables_next(struct memory *m, u64 gfn);

/*
 * The first place from @gfn on where tables stand for a leaf that was broken up for code, and the level of that leaf; or
 * NO_TABLES. May sleep.
 */
u64 tables_next_broken_up(struct memory *m, u64 gfn, unsigned int *level);

/*
 * Whether a page of the range was accessed; forgets it when told so, which only formats with accessed bits can. The
 * lock is held.
 */
bool tables_age(struct memory *m, u64 gfn, u64 end, bool clear);

/*
 * Takes the right to write from a page, or the dirty bit where the CPU logs its coming; whether it was there. The lock is
 * held for writing; the caller flushes.
 */
bool tables_protect(struct memory *m, u64 gfn);

/**
 * memory_unmap - removes all entries for a range of pages; no vCPU uses them any more when it returns
 * @end: the gfn behind the range
 * @may_sleep: whether the caller can
 * Faults that looked at slots or host memory before it began will not be installed. Returns whether there was anything.
 */
bool memory_unmap(struct vm *vm, u64 gfn, u64 end, bool may_sleep);

/* -- shrink.c --------------------------------------------------------------------------------------------------- */

/* From here to there the shrinker may take table pages away. */
void shrink_add(struct memory *m);
void shrink_remove(struct memory *m);

/* For all VMs' memories. They stay while @action runs, which allocates nothing. May sleep. */
void memories_for_each(void (*action)(struct memory *m));

/* -- nx_huge.c -------------------------------------------------------------------------------------------------- */

void nx_huge_init(struct memory *m);
void nx_huge_destroy(struct memory *m);

/* Whether code needs small pages. After a change of that everything is unmapped. */
bool nx_huge_applies(const struct memory *m);

/* A table was entered in place of a leaf that is not for code. Context: any. */
void nx_huge_broken_up(struct memory *m);

/* -- notifier.c ------------------------------------------------------------------------------------------------- */

extern const struct mmu_notifier_ops memory_notifier_ops;

#endif
