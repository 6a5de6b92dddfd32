// SPDX-License-Identifier: GPL-2.0
/*
 * When the host is short of memory, table pages go back to it: what stands in them comes again by faults. The VMs take
 * turns, and each time it is the tables of one GiB of guest memory, so that a guest that runs loses little at once.
 */
#include <linux/list.h>
#include <linux/mutex.h>

#include "../compat.h"
#include "internal.h"

static LIST_HEAD(memories);
static DEFINE_MUTEX(memories_lock); /* keeps those in the list alive; under it nothing is allocated */

static unsigned long count_tables(struct shrinker *shrinker, struct shrink_control *control)
{
	unsigned long nr = 0;
	struct memory *m;

	if (!mutex_trylock(&memories_lock))
		return 0;
	list_for_each_entry(m, &memories, all)
		nr += atomic_long_read(&m->nr_tables) - MEMORY_ADDRESS_SPACES; /* the roots stay */
	mutex_unlock(&memories_lock);
	return nr;
}

/* The next GiB that has tables. */
static void shrink_one(struct memory *m)
{
	u64 gfn = tables_next(m, m->shrunk_to);

	if (gfn == NO_TABLES)
		gfn = tables_next(m, 0);
	if (gfn == NO_TABLES)
		return;
	m->shrunk_to = round_down(gfn, level_pages(3)) + level_pages(3);
	memory_unmap(container_of(m, struct vm, memory), m->shrunk_to - level_pages(3), m->shrunk_to, true);
}

static unsigned long shrink_tables(struct shrinker *shrinker, struct shrink_control *control)
{
	unsigned long freed = 0, before;
	struct memory *m, *next;
	LIST_HEAD(done);

	if (!mutex_trylock(&memories_lock))
		return SHRINK_STOP;
	list_for_each_entry_safe(m, next, &memories, all) {
		if (freed >= control->nr_to_scan)
			break;
		before = atomic_long_read(&m->nr_tables);
		shrink_one(m);
		freed += max_t(long, before - atomic_long_read(&m->nr_tables), 0);
		list_move_tail(&m->all, &done);
	}
	list_splice_tail(&done, &memories);
	mutex_unlock(&memories_lock);
	return freed ?: SHRINK_STOP;
}

void shrink_add(struct memory *m)
{
	mutex_lock(&memories_lock);
	list_add_tail(&m->all, &memories);
	mutex_unlock(&memories_lock);
}

void shrink_remove(struct memory *m)
{
	mutex_lock(&memories_lock);
	list_del(&m->all);
	mutex_unlock(&memories_lock);
}

void memories_for_each(void (*action)(struct memory *m))
{
	struct memory *m;

	mutex_lock(&memories_lock);
	list_for_each_entry(m, &memories, all)
		action(m);
	mutex_unlock(&memories_lock);
}

static struct shrinker *shrinker;

int __init memory_setup(void)
{
	shrinker = compat_shrinker_register(count_tables, shrink_tables);
	return shrinker ? 0 : -ENOMEM;
}

void memory_teardown(void)
{
	compat_shrinker_free(shrinker);
}
