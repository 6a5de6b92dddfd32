// SPDX-License-Identifier: GPL-2.0
/*
 * The second-stage tables, of four levels, top (4) to bottom (1). An entry is 0, or a table of the next level, or a
 * leaf. See struct memory for who may change what.
 *
 * Tables are removed only by who holds the lock for writing, when no fault is walking them, and freed after the vCPUs
 * have flushed, when no CPU is. So nothing else has to keep them alive.
 * Source: SDM volume 3, "The Extended Page Table Mechanism (EPT)"; APM volume 2, "Nested Paging".
 */
#include <linux/list.h>
#include <linux/sched.h>

#include "../vcpu.h"
#include "internal.h"

#define ENTRY_ADDRESS GENMASK_ULL(51, 12)
#define TABLE_ENTRIES (1u << TABLE_BITS)

/*
 * Of an entry that points to a table: a leaf would be here if it could be for code. CPUs ignore the bit. Source: SDM
 * volume 3, "EPT Translation Mechanism"; APM volume 2, "4-Kbyte Page Translation" of long mode.
 */
#define BROKEN_UP BIT_ULL(52)

static unsigned int table_index(u64 gfn, unsigned int level)
{
	return (gfn & AS_MASK) >> TABLE_BITS * (level - 1) & (TABLE_ENTRIES - 1);
}

static u64 *root_of(const struct memory *m, u64 gfn)
{
	return m->root[gfn >> AS_SHIFT];
}

/* Of an entry that is not 0. In the lowest level that bit has another meaning. */
static bool is_leaf(const struct memory *m, u64 entry, unsigned int level)
{
	return level == 1 || (entry & m->format->large);
}

static u64 *next_table(const struct memory *m, u64 entry)
{
	/* The format's own bits may be address bits to others: memory encryption. */
	return __va(entry & ENTRY_ADDRESS & ~m->format->table);
}

u64 *table_alloc(void)
{
	return (u64 *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
}

static void table_free(struct memory *m, u64 *table)
{
	free_page((unsigned long)table);
	atomic_long_dec(&m->nr_tables);
}

/* -- adding, under the lock for reading -------------------------------------------------------------------------- */

static u64 make_leaf(const struct table_format *format, const struct mapping *map, unsigned int level)
{
	u64 leaf = (map->pfn & ~(level_pages(level) - 1)) << PAGE_SHIFT;

	leaf |= map->uncached ? format->leaf_uncached : format->leaf;
	leaf |= format->read | format->accessed;
	leaf |= map->large_no_exec && level > 1 ? format->no_exec : format->exec;
	if (map->writable)
		leaf |= format->write | (map->clean ? 0 : format->dirty);
	if (level > 1)
		leaf |= format->large;
	return leaf;
}

/* The zeroes of the new table are visible before it is: cmpxchg is a barrier. */
static void add_table(struct memory *m, u64 *entry, u64 **spare, bool broken_up)
{
	if (cmpxchg(entry, 0, __pa(*spare) | m->format->table | (broken_up ? BROKEN_UP : 0)))
		return;
	*spare = NULL;
	atomic_long_inc(&m->nr_tables);
	if (broken_up)
		nx_huge_broken_up(m);
}

static bool leaf_suffices(const struct table_format *format, u64 leaf, const struct mapping *map)
{
	return (!map->write || (leaf & format->write)) && (!map->exec || leaf_is_executable(format, leaf));
}

/* -EAGAIN: the entry is not @old any more. Another fault was there first, or the CPU set a bit. */
static int set_leaf(struct memory *m, u64 *entry, u64 old, unsigned int level, const struct mapping *map)
{
	u64 new = make_leaf(m->format, map, level);

	if (old && ((old ^ new) & ENTRY_ADDRESS))
		return -EEXIST;
	if (old && leaf_suffices(m->format, old, map))
		return 0;
	/* More rights for one page of a large leaf: for code, or the host has split it and must have said so. */
	if (level > map->level)
		return -EEXIST;
	return cmpxchg(entry, old, new) == old ? 0 : -EAGAIN;
}

int tables_map(struct memory *m, const struct mapping *map, u64 **spare)
{
	unsigned int level = m->format->levels;
	u64 *table = root_of(m, map->gfn), *entry, old;
	int r = -EAGAIN;

	while (r == -EAGAIN) {
		entry = &table[table_index(map->gfn, level)];
		old = READ_ONCE(*entry);
		if (old && !is_leaf(m, old, level)) {
			/* Also where the leaf should be: smaller leaves do as well. */
			table = next_table(m, old);
			level--;
		} else if (!old && level > map->level) {
			if (!*spare)
				return -EAGAIN;
			add_table(m, entry, spare, level <= map->broken_up);
		} else {
			r = set_leaf(m, entry, old, level, map);
		}
	}
	return r;
}

/* -- looking and marking, under the lock ------------------------------------------------------------------------- */

/* Where the walk for a page ends: at a leaf, or at nothing (value 0). */
struct place {
	u64 *entry, value;
	unsigned int level;
};

/* Ends at the level @lowest, too, and at a table that has the mark. */
static struct place find_above(const struct memory *m, u64 gfn, unsigned int lowest, u64 mark)
{
	struct place place = { .level = m->format->levels };
	u64 *table = root_of(m, gfn);

	for (;; place.level--) {
		place.entry = &table[table_index(gfn, place.level)];
		place.value = READ_ONCE(*place.entry);
		if (!place.value || place.level == lowest || (place.value & mark) ||
		    is_leaf(m, place.value, place.level))
			return place;
		table = next_table(m, place.value);
	}
}

static struct place find(const struct memory *m, u64 gfn)
{
	return find_above(m, gfn, 1, 0);
}

u64 tables_find(struct memory *m, u64 gfn, unsigned int *level)
{
	struct place place;

	read_lock(&m->lock);
	place = find(m, gfn);
	read_unlock(&m->lock);
	*level = place.level;
	return place.value;
}

/* Where the pages of an address space begin, and where they and the tables for them end. */
static u64 as_begin(unsigned int as_id)
{
	return (u64)as_id << AS_SHIFT;
}

static u64 as_end(const struct memory *m, unsigned int as_id)
{
	return as_begin(as_id) + min(level_pages(m->format->levels + 1), AS_MASK + 1);
}

static u64 next_of_as(struct memory *m, u64 gfn, u64 end)
{
	unsigned int level = 0;

	for (; gfn < end; gfn = (gfn | (level_pages(level) - 1)) + 1) {
		level = find(m, gfn).level;
		if (level < 3)
			return gfn;
	}
	return NO_TABLES;
}

u64 tables_next(struct memory *m, u64 gfn)
{
	u64 next = NO_TABLES;
	unsigned int i;

	read_lock(&m->lock);
	for (i = gfn >> AS_SHIFT; next == NO_TABLES && i < MEMORY_ADDRESS_SPACES; i++)
		next = next_of_as(m, max(gfn, as_begin(i)), as_end(m, i));
	read_unlock(&m->lock);
	return next;
}

/* What is in the lowest level is no table. */
static u64 next_marked(struct memory *m, u64 gfn, u64 end, unsigned int *level)
{
	struct place place;

	for (; gfn < end; gfn = (gfn | (level_pages(place.level) - 1)) + 1) {
		place = find_above(m, gfn, 2, BROKEN_UP);
		*level = place.level;
		if (place.value & BROKEN_UP)
			return round_down(gfn, level_pages(place.level));
	}
	return NO_TABLES;
}

/* The lock is held for no longer than one GiB takes. */
u64 tables_next_broken_up(struct memory *m, u64 gfn, unsigned int *level)
{
	u64 found = NO_TABLES, end;

	for (gfn = tables_next(m, gfn); gfn != NO_TABLES && found == NO_TABLES; gfn = tables_next(m, end)) {
		end = round_down(gfn, level_pages(3)) + level_pages(3);
		read_lock(&m->lock);
		found = next_marked(m, gfn, end, level);
		read_unlock(&m->lock);
		cond_resched();
	}
	return found;
}

static void count_leaves(const struct memory *m, const u64 *table, unsigned int level, u64 nr[MEMORY_LEAF_LEVELS])
{
	unsigned int i;
	u64 value;

	for (i = 0; i < TABLE_ENTRIES; i++) {
		value = READ_ONCE(table[i]);
		if (value && is_leaf(m, value, level))
			nr[level - 1]++;
		else if (value)
			count_leaves(m, next_table(m, value), level - 1, nr);
	}
}

/* The lock is held for no longer than one GiB takes. */
static void count_leaves_of_as(struct memory *m, unsigned int as_id, u64 nr[MEMORY_LEAF_LEVELS])
{
	u64 gfn = as_begin(as_id), end = as_end(m, as_id);
	struct place place;

	for (; gfn < end; gfn += level_pages(place.level)) {
		read_lock(&m->lock);
		place = find_above(m, gfn, 3, 0);
		if (place.value && is_leaf(m, place.value, 3))
			nr[2]++;
		else if (place.value)
			count_leaves(m, next_table(m, place.value), 2, nr);
		read_unlock(&m->lock);
		cond_resched();
	}
}

void memory_count_leaves(struct memory *m)
{
	u64 nr[MEMORY_LEAF_LEVELS] = {};
	unsigned int i;

	for (i = 0; i < MEMORY_ADDRESS_SPACES; i++)
		count_leaves_of_as(m, i, nr);
	for (i = 0; i < MEMORY_LEAF_LEVELS; i++)
		WRITE_ONCE(m->nr_leaves[i], nr[i]);
}

/* CPUs set bits in entries at any time: atomic. */
static void clear_bits(u64 *entry, u64 bits)
{
	atomic64_andnot(bits, (atomic64_t *)entry);
}

bool tables_age(struct memory *m, u64 gfn, u64 end, bool clear)
{
	/* Where the CPU keeps no accessed bit, what is mapped counts as accessed. */
	u64 young = m->format->accessed ?: m->format->read;
	bool was_young = false;
	struct place place;

	for (; gfn < end; gfn = (gfn | (level_pages(place.level) - 1)) + 1) {
		place = find(m, gfn);
		if (!(place.value & young))
			continue;
		was_young = true;
		if (clear)
			clear_bits(place.entry, young);
	}
	return was_young;
}

bool tables_protect(struct memory *m, u64 gfn)
{
	struct place place = find(m, gfn);
	/* Of a large page the CPU would log one address and no more. */
	u64 bit = m->format->logs_dirty && place.level == 1 ? m->format->dirty : m->format->write;

	if (!(place.value & bit))
		return false;
	clear_bits(place.entry, bit);
	return true;
}

/* -- removing, under the lock for writing ------------------------------------------------------------------------ */

static bool table_is_empty(const u64 *table)
{
	return !memchr_inv(table, 0, PAGE_SIZE);
}

static void count_out_table(struct memory *m, u64 entry)
{
	if (entry & BROKEN_UP)
		atomic64_dec(&m->nr_broken_up);
}

/*
 * Takes an entry out. A table that hung there is kept whole on @dead, with its level: CPUs may be walking it until they
 * have flushed. (Its page struct is nobody else's.)
 */
static void remove_entry(struct memory *m, u64 *entry, unsigned int level, struct list_head *dead)
{
	u64 value = xchg(entry, 0);
	struct page *page;

	if (is_leaf(m, value, level))
		return;
	count_out_table(m, value);
	page = virt_to_page(next_table(m, value));
	set_page_private(page, level - 1);
	list_add(&page->lru, dead);
}

/*
 * Removes what @table, which begins at page @base, has for the pages from @gfn up to @end. A table that lies within the
 * range goes as a whole, one that has become empty too: so the work is bounded by a few tables, whatever the range is,
 * and no sequence of mappings leaves tables behind. Recursion is as deep as the tables.
 */
static unsigned long unmap_table(struct memory *m, u64 *table, unsigned int level, u64 base, u64 gfn, u64 end,
				 struct list_head *dead)
{
	u64 pages = level_pages(level), first = max(base, round_down(gfn, pages));
	u64 last = min(end, base + pages * TABLE_ENTRIES), at, value, *entry, *child;
	unsigned long removed = 0, below;

	for (at = first; at < last; at += pages) {
		entry = &table[table_index(at, level)];
		value = *entry;
		if (!value)
			continue;
		if (is_leaf(m, value, level) || (at >= gfn && at + pages <= end)) {
			remove_entry(m, entry, level, dead);
			removed++;
			continue;
		}
		child = next_table(m, value);
		below = unmap_table(m, child, level - 1, at, gfn, end, dead);
		if (below && table_is_empty(child))
			remove_entry(m, entry, level, dead);
		removed += below;
	}
	return removed;
}

/* Nobody reaches these tables any more, neither from the root nor by what a CPU has cached. */
static void free_tables(struct memory *m, u64 *table, unsigned int level, bool may_sleep)
{
	unsigned int i;

	for (i = 0; level > 1 && i < TABLE_ENTRIES; i++) {
		if (!table[i] || is_leaf(m, table[i], level))
			continue;
		count_out_table(m, table[i]);
		free_tables(m, next_table(m, table[i]), level - 1, may_sleep);
	}
	table_free(m, table);
	if (may_sleep)
		cond_resched();
}

bool memory_unmap(struct vm *vm, u64 gfn, u64 end, bool may_sleep)
{
	struct memory *m = &vm->memory;
	struct page *page, *next;
	unsigned long removed = 0;
	unsigned int i;
	LIST_HEAD(dead);

	write_lock(&m->lock);
	WRITE_ONCE(m->invalidate_seq, m->invalidate_seq + 1);
	for (i = 0; i < MEMORY_ADDRESS_SPACES; i++)
		removed +=
			unmap_table(m, m->root[i], m->format->levels, as_begin(i), gfn, min(end, as_end(m, i)), &dead);
	if (removed)
		vm_request_all(vm, REQ_TLB_FLUSH);
	write_unlock(&m->lock);

	atomic64_add(removed, &m->nr_unmapped);
	list_for_each_entry_safe(page, next, &dead, lru)
		free_tables(m, page_address(page), page_private(page), may_sleep);
	return removed;
}

int tables_init(struct memory *m)
{
	unsigned int i;

	for (i = 0; i < MEMORY_ADDRESS_SPACES; i++) {
		m->root[i] = table_alloc();
		if (!m->root[i]) {
			tables_free(m);
			return -ENOMEM;
		}
		atomic_long_inc(&m->nr_tables);
	}
	return 0;
}

void tables_free(struct memory *m)
{
	unsigned int i;

	for (i = 0; i < MEMORY_ADDRESS_SPACES && m->root[i]; i++)
		free_tables(m, m->root[i], m->format->levels, true);
}
