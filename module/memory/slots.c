// SPDX-License-Identifier: GPL-2.0
/*
 * Slots: which range of the client's address space stands at which guest-physical address. Looked up by the guest's
 * address (faults, emulation), by the host's (MMU notifier) and by number (ioctls); changed seldom, one at a time, by
 * copying the whole set.
 */
#include <linux/slab.h>
#include <linux/srcu.h>
#include <linux/uaccess.h>

#include "internal.h"

/* KVM's limit: page numbers within a slot fit into an int. */
#define SLOT_MAX_PAGES ((1ul << 31) - 1)

/* -- the set ------------------------------------------------------------------------------------------------------ */

struct slots *slots_alloc(unsigned int nr)
{
	size_t order_size = nr * sizeof(struct slot *);
	struct slots *slots;
	unsigned int i;
	void *room;

	slots = kvmalloc(sizeof(*slots) + NR_SLOT_ORDERS * order_size + nr * sizeof(unsigned long), GFP_KERNEL_ACCOUNT);
	if (!slots)
		return NULL;
	slots->nr = nr;
	slots->hint = 0;
	room = slots + 1;
	for (i = 0; i < NR_SLOT_ORDERS; i++, room += order_size)
		slots->sorted[i] = room;
	slots->host_end = room;
	return slots;
}

static u64 slot_key(const struct slot *slot, enum slot_order order)
{
	switch (order) {
	case BY_GFN:
		return slot->gfn;
	case BY_HOST:
		return slot->host;
	default:
		return slot->id;
	}
}

unsigned int slots_position(const struct slots *slots, enum slot_order order, u64 key)
{
	unsigned int low = 0, high = slots->nr, middle;

	while (low < high) {
		middle = low + (high - low) / 2;
		if (slot_key(slots->sorted[order][middle], order) < key)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* The slot at a guest page, or NULL. Neighbouring lookups mostly hit the same one; the hint may be anybody's. */
struct slot *slots_find(struct slots *slots, u64 gfn)
{
	struct slot **sorted = slots->sorted[BY_GFN];
	unsigned int i = READ_ONCE(slots->hint);

	if (i < slots->nr && slot_holds(sorted[i], gfn))
		return sorted[i];
	i = slots_position(slots, BY_GFN, gfn + 1);
	if (!i || !slot_holds(sorted[i - 1], gfn))
		return NULL;
	WRITE_ONCE(slots->hint, i - 1);
	return sorted[i - 1];
}

struct slot *slots_find_id(const struct slots *slots, u32 id)
{
	unsigned int i = slots_position(slots, BY_ID, id);

	return i < slots->nr && slots->sorted[BY_ID][i]->id == id ? slots->sorted[BY_ID][i] : NULL;
}

/* Copies one order, without @old and with @new (either may be NULL). Returns the first place that differs. */
static unsigned int copy_order(struct slots *to, const struct slots *from, enum slot_order order,
			       const struct slot *old, struct slot *new)
{
	struct slot **source = from->sorted[order], **target = to->sorted[order];
	unsigned int in = new ? slots_position(from, order, slot_key(new, order)) : from->nr;
	unsigned int first = in, i;

	for (i = 0; i < from->nr; i++) {
		if (i == in && new)
			*target++ = new;
		if (source[i] != old)
			*target++ = source[i];
		else
			first = min(first, i);
	}
	if (i == in && new)
		*target = new;
	return first;
}

static struct slots *copy_slots(const struct slots *from, const struct slot *old, struct slot *new)
{
	struct slots *to = slots_alloc(from->nr - !!old + !!new);
	unsigned int i;

	if (!to)
		return NULL;
	copy_order(to, from, BY_GFN, old, new);
	copy_order(to, from, BY_ID, old, new);
	i = copy_order(to, from, BY_HOST, old, new);
	memcpy(to->host_end, from->host_end, i * sizeof(*to->host_end));
	for (; i < to->nr; i++)
		to->host_end[i] = max(i ? to->host_end[i - 1] : 0, slot_host_end(to->sorted[BY_HOST][i]));
	return to;
}

static void slot_free(struct slot *slot)
{
	kvfree(slot->dirty);
	kfree(slot);
}

void slots_free(struct slots *slots)
{
	unsigned int i;

	for (i = 0; i < slots->nr; i++)
		slot_free(slots->sorted[BY_ID][i]);
	kvfree(slots);
}

/* -- KVM_SET_USER_MEMORY_REGION ----------------------------------------------------------------------------------- */

/* Where guest-physical addresses end: the tables reach that far, and so does the CPU. */
static u64 gpa_limit(const struct memory *m)
{
	return 1ull << min(PAGE_SHIFT + TABLE_BITS * m->format->levels, (unsigned int)boot_cpu_data.x86_phys_bits);
}

/* What can be said of a wish without looking at the slots there are. The upper half of the number: address spaces. */
static bool region_is_sane(const struct memory *m, const struct kvm_userspace_memory_region *region)
{
	u64 gpa = region->guest_phys_addr, size = region->memory_size, host = region->userspace_addr;
	u64 untagged = untagged_addr(host);

	if ((region->flags & ~(KVM_MEM_LOG_DIRTY_PAGES | KVM_MEM_READONLY)) || region->slot >= MEMORY_SLOTS)
		return false;
	if (!PAGE_ALIGNED(gpa) || !PAGE_ALIGNED(size) || !PAGE_ALIGNED(host))
		return false;
	if (host != untagged || !access_ok((void __user *)host, size) || size >> PAGE_SHIFT > SLOT_MAX_PAGES)
		return false;
	return gpa + size >= gpa && (!size || gpa + size <= gpa_limit(m));
}

static bool overlaps(const struct slots *slots, u64 gfn, u64 npages, const struct slot *except)
{
	unsigned int i = slots_position(slots, BY_GFN, gfn + npages);
	const struct slot *slot;

	while (i--) {
		slot = slots->sorted[BY_GFN][i];
		if (slot->gfn + slot->npages <= gfn)
			break;
		if (slot != except)
			return true;
	}
	return false;
}

/* A slot's log goes with it when it is moved. */
static struct slot *slot_create(const struct kvm_userspace_memory_region *region, const struct slot *old)
{
	struct slot *slot = kzalloc(sizeof(*slot), GFP_KERNEL_ACCOUNT);

	if (!slot)
		return NULL;
	slot->gfn = region->guest_phys_addr >> PAGE_SHIFT;
	slot->npages = region->memory_size >> PAGE_SHIFT;
	slot->host = region->userspace_addr;
	slot->flags = region->flags;
	slot->id = region->slot;
	if (!(slot->flags & KVM_MEM_LOG_DIRTY_PAGES))
		return slot;
	slot->dirty = old && old->dirty ? old->dirty
					: kvcalloc(BITS_TO_LONGS(slot->npages), sizeof(long), GFP_KERNEL_ACCOUNT);
	if (!slot->dirty) {
		kfree(slot);
		return NULL;
	}
	return slot;
}

/* Frees one of two slots, but not a log that the other has. */
static void slot_free_beside(struct slot *slot, const struct slot *other)
{
	if (!slot)
		return;
	if (other && slot->dirty == other->dirty)
		slot->dirty = NULL;
	slot_free(slot);
}

static void unmap_slot(struct vm *vm, const struct slot *slot)
{
	memory_unmap(vm, slot->gfn, slot->gfn + slot->npages, true);
}

/*
 * Puts @new in the place of @old; either may be NULL.
 *
 * A slot that goes from its place must not vanish while entries for it exist, for the MMU notifier finds them by the slot:
 * so it is retired first (no new entries), then its entries are removed, then it goes. A slot that stays in its place
 * with other flags is exchanged first; its entries are removed afterwards, to come again as the new flags ask: one by
 * one for a log, large when the log ends. Both ways faults that know the old slot find invalidate_seq grown.
 */
static int replace_slot(struct vm *vm, struct slots *slots, struct slot *old, struct slot *new)
{
	struct memory *m = &vm->memory;
	bool goes = old && (!new || new->gfn != old->gfn);
	struct slots *next;

	next = copy_slots(slots, old, new);
	if (!next) {
		slot_free_beside(new, old);
		return -ENOMEM;
	}
	if (goes) {
		WRITE_ONCE(old->retired, true);
		unmap_slot(vm, old);
	}
	rcu_assign_pointer(m->slots, next);
	/* Now nobody reads or writes guest memory by the old slot any more, or marks pages in its log. */
	synchronize_srcu_expedited(&m->srcu);
	if (old && !goes)
		unmap_slot(vm, old);
	slot_free_beside(old, new);
	kvfree(slots);
	return 0;
}

static int change_slot(struct vm *vm, struct slots *slots, const struct kvm_userspace_memory_region *region)
{
	struct slot *old = slots_find_id(slots, region->slot), *new;
	u64 gfn = region->guest_phys_addr >> PAGE_SHIFT, npages = region->memory_size >> PAGE_SHIFT;

	if (!npages)
		return old ? replace_slot(vm, slots, old, NULL) : -EINVAL;
	if (old) {
		if (region->userspace_addr != old->host || npages != old->npages ||
		    ((region->flags ^ old->flags) & KVM_MEM_READONLY))
			return -EINVAL;
		if (gfn == old->gfn && region->flags == old->flags)
			return 0;
	}
	if (overlaps(slots, gfn, npages, old))
		return -EEXIST;
	new = slot_create(region, old);
	return new ? replace_slot(vm, slots, old, new) : -ENOMEM;
}

int memory_set_slot(struct vm *vm, const struct kvm_userspace_memory_region *region)
{
	struct memory *m = &vm->memory;
	int r;

	if (!region_is_sane(m, region))
		return -EINVAL;
	mutex_lock(&m->slots_lock);
	r = change_slot(vm, rcu_dereference_protected(m->slots, lockdep_is_held(&m->slots_lock)), region);
	mutex_unlock(&m->slots_lock);
	return r;
}

/* -- a VM's memory from its beginning to its end ------------------------------------------------------------------ */

int memory_init(struct vm *vm, const struct table_format *format)
{
	struct memory *m = &vm->memory;
	struct slots *slots;
	int r = -ENOMEM;

	m->format = format;
	m->notifier.ops = &memory_notifier_ops;
	mutex_init(&m->slots_lock);
	rwlock_init(&m->lock);
	slots = slots_alloc(0);
	if (!slots)
		return r;
	RCU_INIT_POINTER(m->slots, slots);
	m->root = table_alloc();
	if (!m->root)
		goto free_slots;
	atomic_long_set(&m->nr_tables, 1);
	r = init_srcu_struct(&m->srcu);
	if (r)
		goto free_root;
	r = mmu_notifier_register(&m->notifier, vm->mm);
	if (r)
		goto free_srcu;
	return 0;

free_srcu:
	cleanup_srcu_struct(&m->srcu);
free_root:
	tables_free_all(m);
free_slots:
	slots_free(slots);
	return r;
}

void memory_destroy(struct vm *vm)
{
	struct memory *m = &vm->memory;

	mmu_notifier_unregister(&m->notifier, vm->mm);
	tables_free_all(m);
	slots_free(rcu_dereference_protected(m->slots, true));
	cleanup_srcu_struct(&m->srcu);
}
