// SPDX-License-Identifier: GPL-2.0
/*
 * The MMU notifier: the host tells what it is about to do with the client's mappings, and the second-stage tables
 * follow before it does.
 *
 * Between invalidate_range_start() and _end() the host changes its page tables; a fault may see either state of them,
 * so none is installed in the range. That holds whether or not a slot covers the range when it starts: a slot that is
 * created in the meantime must not let a fault in. Changes of single entries (change_pte, as KSM and copy-on-write do
 * it) stand between such a pair as well: the page is simply faulted in again.
 * Source: the kernel's Documentation/mm/mmu_notifier.rst and the comments in linux/mmu_notifier.h.
 */
#include "../vcpu.h"
#include "internal.h"

static struct vm *notifier_vm(struct mmu_notifier *notifier)
{
	return container_of(notifier, struct vm, memory.notifier);
}

/* Does something to the pages [gfn, end). Returns what it has found. */
typedef bool (*range_action)(struct vm *vm, u64 gfn, u64 end, bool may_sleep);

static bool act_on_slot(struct vm *vm, const struct slot *slot, unsigned long start, unsigned long end,
			range_action action, bool may_sleep)
{
	start = max(start, slot->host) - slot->host;
	end = min(end, slot_host_end(slot)) - slot->host;
	return action(vm, slot->gfn + (start >> PAGE_SHIFT), slot->gfn + (PAGE_ALIGN(end) >> PAGE_SHIFT), may_sleep);
}

static bool act_on_host_range(struct vm *vm, unsigned long start, unsigned long end, range_action action,
			      bool may_sleep)
{
	struct memory *m = &vm->memory;
	struct slots *slots;
	struct slot *slot;
	bool found = false;
	int idx;

	idx = srcu_read_lock(&m->srcu);
	slots = srcu_dereference(m->slots, &m->srcu);
	for (slot = slots_first(slots, BY_HOST, start, end - 1); slot;
	     slot = slots_next(slots, BY_HOST, slot, start, end - 1))
		found |= act_on_slot(vm, slot, start, end, action, may_sleep);
	srcu_read_unlock(&m->srcu, idx);
	return found;
}

/* -- invalidation ------------------------------------------------------------------------------------------------- */

/* Ranges that overlap in time are taken as one that covers them all, until the last of them has ended. */
static void begin_invalidation(struct memory *m, unsigned long start, unsigned long end)
{
	write_lock(&m->lock);
	if (m->invalidate_active++) {
		m->invalidate_start = min(m->invalidate_start, start);
		m->invalidate_end = max(m->invalidate_end, end);
	} else {
		m->invalidate_start = start;
		m->invalidate_end = end;
	}
	write_unlock(&m->lock);
}

static int invalidate_range_start(struct mmu_notifier *notifier, const struct mmu_notifier_range *range)
{
	struct vm *vm = notifier_vm(notifier);

	/*
	 * First the announcement, then the look at the slots: a fault that is installed before the announcement has
	 * found its slot before, and so do we.
	 */
	begin_invalidation(&vm->memory, range->start, range->end);
	act_on_host_range(vm, range->start, range->end, memory_unmap, mmu_notifier_range_blockable(range));
	return 0;
}

static void invalidate_range_end(struct mmu_notifier *notifier, const struct mmu_notifier_range *range)
{
	struct memory *m = &notifier_vm(notifier)->memory;

	/* Both at once: a fault that looked at the host's tables in the meantime sees one of the two. */
	write_lock(&m->lock);
	WRITE_ONCE(m->invalidate_seq, m->invalidate_seq + 1);
	m->invalidate_active--;
	write_unlock(&m->lock);
}

/* The process is at its end: no thread of it is left to run a vCPU. */
static void release(struct mmu_notifier *notifier, struct mm_struct *mm)
{
	memory_unmap(notifier_vm(notifier), 0, U64_MAX, true);
}

/* -- aging -------------------------------------------------------------------------------------------------------- */

static bool test_range(struct vm *vm, u64 gfn, u64 end, bool may_sleep)
{
	struct memory *m = &vm->memory;
	bool young;

	read_lock(&m->lock);
	young = tables_age(m, gfn, end, false);
	read_unlock(&m->lock);
	return young;
}

/* Without accessed bits to clear, the next access is noticed by its fault. */
static bool age_range(struct vm *vm, u64 gfn, u64 end, bool may_sleep)
{
	struct memory *m = &vm->memory;
	bool young;

	if (!m->format->accessed)
		return memory_unmap(vm, gfn, end, may_sleep);
	read_lock(&m->lock);
	young = tables_age(m, gfn, end, true);
	read_unlock(&m->lock);
	return young;
}

static int test_young(struct mmu_notifier *notifier, struct mm_struct *mm, unsigned long address)
{
	return act_on_host_range(notifier_vm(notifier), address, address + 1, test_range, false);
}

/* May leave accesses unnoticed for as long as a CPU has the translation cached. */
static int clear_young(struct mmu_notifier *notifier, struct mm_struct *mm, unsigned long start, unsigned long end)
{
	return act_on_host_range(notifier_vm(notifier), start, end, age_range, false);
}

static int clear_flush_young(struct mmu_notifier *notifier, struct mm_struct *mm, unsigned long start,
			     unsigned long end)
{
	int young = clear_young(notifier, mm, start, end);

	if (young)
		vm_request_all(notifier_vm(notifier), REQ_TLB_FLUSH);
	return young;
}

const struct mmu_notifier_ops memory_notifier_ops = {
	.invalidate_range_start = invalidate_range_start,
	.invalidate_range_end = invalidate_range_end,
	.release = release,
	.clear_flush_young = clear_flush_young,
	.clear_young = clear_young,
	.test_young = test_young,
};
