// SPDX-License-Identifier: GPL-2.0
/*
 * The dirty log: a bit for each page of a slot that was written to since its bit was last asked for. While a slot is
 * logged its pages are mapped one by one, and read-only until their first write.
 *
 * Taking bits and protecting their pages is one step for faults (see install() in fault.c), so a page that is writable
 * has its bit set, always. CPUs may go on writing by cached translations until the flush at the end; they write to
 * pages that are reported now, and the client reads those after that.
 */
#include <linux/bitmap.h>
#include <linux/sched.h>
#include <linux/uaccess.h>

#include "../vcpu.h"
#include "internal.h"

#define STRETCH 64 /* words taken at a time: how long faults have to wait */

/* Takes a word of the log and makes its pages fault at the next write. True: a flush is due. */
static bool take_word(struct memory *m, const struct slot *slot, unsigned long word, unsigned long *bits)
{
	bool flush = false;
	unsigned int bit;

	*bits = slot->dirty[word] ? xchg(&slot->dirty[word], 0) : 0;
	for_each_set_bit(bit, bits, BITS_PER_LONG)
		flush |= tables_protect(m, slot->gfn + word * BITS_PER_LONG + bit);
	return flush;
}

static bool take_stretch(struct memory *m, const struct slot *slot, unsigned long first, unsigned int nr,
			 unsigned long *bits)
{
	bool flush = false;
	unsigned int i;

	if (bitmap_empty(&slot->dirty[first], nr * BITS_PER_LONG)) {
		memset(bits, 0, nr * sizeof(*bits));
		return false;
	}
	write_lock(&m->lock);
	for (i = 0; i < nr; i++)
		flush |= take_word(m, slot, first + i, &bits[i]);
	write_unlock(&m->lock);
	return flush;
}

/* The client did not get these: they stay in the log. */
static void put_back(const struct slot *slot, unsigned long first, unsigned int nr, const unsigned long *bits)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		atomic_long_or(bits[i], (atomic_long_t *)&slot->dirty[first + i]);
}

static int take_log(struct vm *vm, const struct slot *slot, unsigned long __user *to)
{
	unsigned long bits[STRETCH], words = BITS_TO_LONGS(slot->npages), first;
	bool flush = false;
	unsigned int nr;
	int r = 0;

	for (first = 0; !r && first < words; first += nr) {
		nr = min_t(unsigned long, STRETCH, words - first);
		flush |= take_stretch(&vm->memory, slot, first, nr, bits);
		if (copy_to_user(to + first, bits, nr * sizeof(*bits))) {
			put_back(slot, first, nr, bits);
			r = -EFAULT;
		}
		cond_resched();
	}
	if (flush)
		vm_request_all(vm, REQ_TLB_FLUSH);
	return r;
}

int memory_get_dirty_log(struct vm *vm, const struct kvm_dirty_log *log)
{
	struct memory *m = &vm->memory;
	const struct slot *slot;
	int r = -ENOENT;

	if (log->slot >= MEMORY_MAX_SLOTS)
		return -EINVAL;
	mutex_lock(&m->slots_lock);
	slot = slots_find_id(rcu_dereference_protected(m->slots, lockdep_is_held(&m->slots_lock)), log->slot);
	if (slot && slot->dirty)
		r = take_log(vm, slot, log->dirty_bitmap);
	mutex_unlock(&m->slots_lock);
	return r;
}
