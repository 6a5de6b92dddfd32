// SPDX-License-Identifier: GPL-2.0
/*
 * The dirty log: a bit for each page of a slot that was written to since its bit was last asked for. While a slot is
 * logged its pages are mapped one by one, and read-only until their first write.
 *
 * Taking bits and protecting their pages is one step for faults (see install() in fault.c), so a page that is writable
 * has its bit set, always. CPUs may go on writing by cached translations until the flush at the end; they write to
 * pages that are reported now, and the client reads those after that.
 *
 * Where the CPU keeps a log by itself, of the pages whose dirty bits it sets, that bit stands for the right to write. What
 * a vCPU has logged is in the bitmap when it has left guest mode; so a client that asks makes all of them leave it once.
 */
#include <linux/bitmap.h>
#include <linux/sched.h>
#include <linux/srcu.h>
#include <linux/uaccess.h>

#include "../vcpu.h"
#include "internal.h"

#define STRETCH 64 /* words taken at a time: how long faults have to wait */

/*
 * Takes what @bits wants of a word of the log, and makes the pages that were in it fault at the next write. True: a
 * flush is due.
 */
static bool take_word(struct memory *m, const struct slot *slot, unsigned long word, unsigned long *bits)
{
	bool flush = false;
	unsigned int bit;

	if (*bits)
		*bits &= atomic_long_fetch_andnot(*bits, (atomic_long_t *)&slot->dirty[word]);
	for_each_set_bit(bit, bits, BITS_PER_LONG)
		flush |= tables_protect(m, slot->gfn + word * BITS_PER_LONG + bit);
	return flush;
}

/* @bits: what is wanted of each word, and afterwards what was there of it. */
static bool take_stretch(struct memory *m, const struct slot *slot, unsigned long first, unsigned int nr,
			 unsigned long *bits)
{
	bool flush = false;
	unsigned int i;

	bitmap_and(bits, bits, &slot->dirty[first], nr * BITS_PER_LONG);
	if (bitmap_empty(bits, nr * BITS_PER_LONG))
		return false;
	write_lock(&m->lock);
	for (i = 0; i < nr; i++)
		flush |= take_word(m, slot, first + i, &bits[i]);
	write_unlock(&m->lock);
	return flush;
}

void memory_mark_dirty(struct vcpu *vcpu, u64 gpa)
{
	struct memory *m = &vcpu->vm->memory;
	u64 gfn = as_gfn(vcpu->as_id, gpa);
	const struct slot *slot;
	int idx;

	idx = srcu_read_lock(&m->srcu);
	slot = slots_find(srcu_dereference(m->slots, &m->srcu), gfn);
	if (slot)
		slot_mark_dirty(slot, gfn);
	srcu_read_unlock(&m->srcu, idx);
}

/* The client did not get these: they stay in the log. */
static void put_back(const struct slot *slot, unsigned long first, unsigned int nr, const unsigned long *bits)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		atomic_long_or(bits[i], (atomic_long_t *)&slot->dirty[first + i]);
}

static void wait_for_flush(struct vm *vm, bool due)
{
	if (due)
		vm_request_all(vm, REQ_TLB_FLUSH);
}

static int take_log(struct vm *vm, const struct slot *slot, unsigned long __user *to)
{
	unsigned long bits[STRETCH], words = BITS_TO_LONGS(slot->npages), first;
	bool flush = false;
	unsigned int nr;
	int r = 0;

	for (first = 0; !r && first < words; first += nr) {
		nr = min_t(unsigned long, STRETCH, words - first);
		memset(bits, 0xff, nr * sizeof(*bits));
		flush |= take_stretch(&vm->memory, slot, first, nr, bits);
		if (copy_to_user(to + first, bits, nr * sizeof(*bits))) {
			put_back(slot, first, nr, bits);
			r = -EFAULT;
		}
		cond_resched();
	}
	wait_for_flush(vm, flush);
	return r;
}

/* The client says later what it wants to have taken. */
static int copy_log(const struct slot *slot, void __user *to)
{
	return copy_to_user(to, slot->dirty, BITS_TO_LONGS(slot->npages) * sizeof(long)) ? -EFAULT : 0;
}

/* What the client wants to have taken is its to say, in a bitmap that begins at page @first. */
static int clear_log(struct vm *vm, const struct slot *slot, u64 first, u64 npages, const unsigned long __user *from)
{
	unsigned long bits[STRETCH], words = BITS_TO_LONGS(npages), word;
	bool flush = false;
	unsigned int nr;
	int r = 0;

	for (word = 0; !r && word < words; word += nr) {
		nr = min_t(unsigned long, STRETCH, words - word);
		if (copy_from_user(bits, from + word, nr * sizeof(*bits)))
			r = -EFAULT;
		else
			flush |= take_stretch(&vm->memory, slot, first / BITS_PER_LONG + word, nr, bits);
		cond_resched();
	}
	wait_for_flush(vm, flush);
	return r;
}

/* The log of a slot, or an ERR_PTR with KVM's errno. Under slots_lock, which also keeps the slot. */
static const struct slot *logged_slot(struct memory *m, u32 id)
{
	const struct slot *slot;

	if (!slot_id_is_valid(id))
		return ERR_PTR(-EINVAL);
	slot = xa_load(&m->slot_ids, id);
	return slot && slot->dirty ? slot : ERR_PTR(-ENOENT);
}

int memory_get_dirty_log(struct vm *vm, const struct kvm_dirty_log *log)
{
	struct memory *m = &vm->memory;
	const struct slot *slot;
	int r;

	mutex_lock(&m->slots_lock);
	slot = logged_slot(m, log->slot);
	if (!IS_ERR(slot) && m->format->logs_dirty)
		vm_request_all(vm, REQ_KICK);
	if (IS_ERR(slot))
		r = PTR_ERR(slot);
	else if (m->manual_protect)
		r = copy_log(slot, log->dirty_bitmap);
	else
		r = take_log(vm, slot, log->dirty_bitmap);
	mutex_unlock(&m->slots_lock);
	return r;
}

/* Whole words, but at the slot's end. */
static bool range_is_sane(const struct slot *slot, const struct kvm_clear_dirty_log *log)
{
	u64 rest = slot->npages - log->first_page;

	return log->first_page <= slot->npages && log->num_pages <= rest &&
	       (log->num_pages == rest || !(log->num_pages % BITS_PER_LONG));
}

int memory_clear_dirty_log(struct vm *vm, const struct kvm_clear_dirty_log *log)
{
	struct memory *m = &vm->memory;
	const struct slot *slot;
	int r;

	if (log->first_page % BITS_PER_LONG)
		return -EINVAL;
	mutex_lock(&m->slots_lock);
	slot = logged_slot(m, log->slot);
	if (IS_ERR(slot))
		r = PTR_ERR(slot);
	else if (!range_is_sane(slot, log))
		r = -EINVAL;
	else
		r = clear_log(vm, slot, log->first_page, log->num_pages, log->dirty_bitmap);
	mutex_unlock(&m->slots_lock);
	return r;
}

int memory_manual_protect(struct vm *vm, const u64 args[4])
{
	if (args[0] & ~(u64)MEMORY_MANUAL_PROTECT_FLAGS || args[0] == KVM_DIRTY_LOG_INITIALLY_SET)
		return -EINVAL;
	WRITE_ONCE(vm->memory.manual_protect, args[0]);
	return 0;
}
