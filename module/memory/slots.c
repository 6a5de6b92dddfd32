// SPDX-License-Identifier: GPL-2.0
/*
 * Slots: which range of the client's address space stands at which guest-physical address. Looked up by the guest's
 * address (faults, emulation), by the host's (MMU notifier) and by number (ioctls); changed seldom, one at a time. The
 * set exists twice: readers see one, the other is changed and takes its place, and then the first is changed as well.
 */
#include <linux/bitmap.h>
#include <linux/slab.h>
#include <linux/srcu.h>
#include <linux/uaccess.h>

#include "internal.h"

/* KVM's limit: page numbers within a slot fit into an int. */
#define SLOT_MAX_PAGES ((1ul << 31) - 1)

#define FIRST_CAPACITY 16

/* -- the set ------------------------------------------------------------------------------------------------------ */

static struct slots *slots_alloc(unsigned int capacity)
{
	size_t order_size = capacity * sizeof(struct slot *);
	struct slots *slots;
	unsigned int i;
	void *room;

	slots = kvmalloc(sizeof(*slots) + NR_SLOT_ORDERS * order_size + capacity * sizeof(unsigned long),
			 GFP_KERNEL_ACCOUNT);
	if (!slots)
		return NULL;
	slots->nr = 0;
	slots->hint = 0;
	slots->capacity = capacity;
	room = slots + 1;
	for (i = 0; i < NR_SLOT_ORDERS; i++, room += order_size)
		slots->sorted[i] = room;
	slots->host_end = room;
	return slots;
}

static struct slots *slots_copy(const struct slots *from, unsigned int capacity)
{
	struct slots *to = slots_alloc(capacity);
	unsigned int i;

	if (!to)
		return NULL;
	to->nr = from->nr;
	for (i = 0; i < NR_SLOT_ORDERS; i++)
		memcpy(to->sorted[i], from->sorted[i], from->nr * sizeof(struct slot *));
	memcpy(to->host_end, from->host_end, from->nr * sizeof(unsigned long));
	return to;
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

static void update_host_ends(struct slots *slots, unsigned int first)
{
	unsigned int i;

	for (i = first; i < slots->nr; i++)
		slots->host_end[i] = max(i ? slots->host_end[i - 1] : 0, slot_host_end(slots->sorted[BY_HOST][i]));
}

static void slots_insert(struct slots *slots, struct slot *slot)
{
	unsigned int order, at, host_at = 0;
	struct slot **sorted;

	for (order = 0; order < NR_SLOT_ORDERS; order++) {
		sorted = slots->sorted[order];
		at = slots_position(slots, order, slot_key(slot, order));
		memmove(&sorted[at + 1], &sorted[at], (slots->nr - at) * sizeof(*sorted));
		sorted[at] = slot;
		if (order == BY_HOST)
			host_at = at;
	}
	slots->nr++;
	update_host_ends(slots, host_at);
}

static void slots_remove(struct slots *slots, const struct slot *slot)
{
	unsigned int order, at, host_at = 0;
	struct slot **sorted;

	for (order = 0; order < NR_SLOT_ORDERS; order++) {
		sorted = slots->sorted[order];
		at = slots_position(slots, order, slot_key(slot, order));
		while (sorted[at] != slot) /* several may be at the same host address */
			at++;
		memmove(&sorted[at], &sorted[at + 1], (slots->nr - at - 1) * sizeof(*sorted));
		if (order == BY_HOST)
			host_at = at;
	}
	slots->nr--;
	update_host_ends(slots, host_at);
}

/* Puts @new in the place of @old; either may be NULL. */
static void slots_exchange(struct slots *slots, const struct slot *old, struct slot *new)
{
	if (old)
		slots_remove(slots, old);
	if (new)
		slots_insert(slots, new);
}

/* -- the two copies of the set: one that is published, one that may be changed ------------------------------------ */

static struct slots *published(struct memory *m)
{
	return rcu_dereference_protected(m->slots, lockdep_is_held(&m->slots_lock));
}

/* When it returns nobody looks at the copy that was the published one, nor at a slot that is in that one alone. */
static void publish(struct memory *m)
{
	struct slots *old = published(m);

	rcu_assign_pointer(m->slots, m->spare_slots);
	synchronize_srcu_expedited(&m->srcu);
	m->spare_slots = old;
}

/* Both copies, equal now, get room for one more slot. Only the unpublished one can be put in a larger place. */
static int make_room(struct memory *m)
{
	unsigned int nr = m->spare_slots->nr;
	struct slots *larger;

	for (;;) {
		if (m->spare_slots->capacity == nr) {
			larger = slots_copy(m->spare_slots, 2 * nr);
			if (!larger)
				return -ENOMEM;
			kvfree(m->spare_slots);
			m->spare_slots = larger;
		}
		if (published(m)->capacity > nr)
			return 0;
		publish(m);
	}
}

static void slot_free(struct slot *slot)
{
	kvfree(slot->dirty);
	kfree(slot);
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

	if ((region->flags & ~(KVM_MEM_LOG_DIRTY_PAGES | KVM_MEM_READONLY)) || region->slot >= MEMORY_MAX_SLOTS)
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

/* A client that takes the log by itself may want all pages to be in it at first. */
static bool initially_set(const struct memory *m)
{
	return READ_ONCE(m->manual_protect) & KVM_DIRTY_LOG_INITIALLY_SET;
}

/* A slot's log goes with it when it is moved. */
static struct slot *slot_create(const struct memory *m, const struct kvm_userspace_memory_region *region,
				const struct slot *old)
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
	if (old && old->dirty) {
		slot->dirty = old->dirty;
		return slot;
	}
	slot->dirty = kvcalloc(BITS_TO_LONGS(slot->npages), sizeof(long), GFP_KERNEL_ACCOUNT);
	if (!slot->dirty) {
		kfree(slot);
		return NULL;
	}
	if (initially_set(m))
		bitmap_set(slot->dirty, 0, slot->npages);
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

static bool has_log(const struct slot *slot)
{
	return slot && slot->dirty;
}

/* Whether a log begins that has all pages in it. */
static bool log_is_full(const struct slot *old, const struct slot *new)
{
	return new->dirty && !old->dirty &&bitmap_full(new->dirty, new->npages);
}

static void unmap_slot(struct vm *vm, const struct slot *slot)
{
	memory_unmap(vm, slot->gfn, slot->gfn + slot->npages, true);
}

/*
 * Puts @new in the place of @old; either may be NULL.
 *
 * A slot that goes from its place must not vanish while entries for it exist, for the MMU notifier finds them by the
 * slot: so it is retired first (no new entries), then its entries are removed, then it goes. A slot that stays in its
 * place with other flags is exchanged first; its entries are removed afterwards, to come again as the new flags ask:
 * one by one for a log, large when the log ends. Both ways faults that know the old slot find invalidate_seq grown. A log
 * in which all pages are lets the entries be: they are protected as the client takes the pages out of it. vCPUs look
 * after what the CPU logs from before the first such slot is there until the last one's entries are gone.
 */
static int replace_slot(struct vm *vm, struct slot *old, struct slot *new)
{
	struct memory *m = &vm->memory;
	bool goes = old && (!new || new->gfn != old->gfn), had_log = has_log(old);
	int r = new ? make_room(m) : 0;

	if (r) {
		slot_free_beside(new, old);
		return r;
	}
	if (goes) {
		WRITE_ONCE(old->retired, true);
		unmap_slot(vm, old);
	}
	WRITE_ONCE(m->nr_logged, m->nr_logged + has_log(new));
	slots_exchange(m->spare_slots, old, new);
	/* Afterwards nobody reads or writes guest memory by the old slot any more, or marks pages in its log. */
	publish(m);
	slots_exchange(m->spare_slots, old, new);
	if (old && !goes)
		memory_unmap(vm, old->gfn, old->gfn + (log_is_full(old, new) ? 0 : old->npages), true);
	WRITE_ONCE(m->nr_logged, m->nr_logged - had_log);
	slot_free_beside(old, new);
	return 0;
}

static int change_slot(struct vm *vm, const struct kvm_userspace_memory_region *region)
{
	const struct slots *slots = published(&vm->memory);
	struct slot *old = slots_find_id(slots, region->slot), *new;
	u64 gfn = region->guest_phys_addr >> PAGE_SHIFT, npages = region->memory_size >> PAGE_SHIFT;

	if (!npages)
		return old ? replace_slot(vm, old, NULL) : -EINVAL;
	if (old) {
		if (region->userspace_addr != old->host || npages != old->npages ||
		    ((region->flags ^ old->flags) & KVM_MEM_READONLY))
			return -EINVAL;
		if (gfn == old->gfn && region->flags == old->flags)
			return 0;
	}
	if (overlaps(slots, gfn, npages, old))
		return -EEXIST;
	new = slot_create(&vm->memory, region, old);
	return new ? replace_slot(vm, old, new) : -ENOMEM;
}

int memory_set_slot(struct vm *vm, const struct kvm_userspace_memory_region *region)
{
	struct memory *m = &vm->memory;
	int r;

	if (!region_is_sane(m, region))
		return -EINVAL;
	mutex_lock(&m->slots_lock);
	r = change_slot(vm, region);
	mutex_unlock(&m->slots_lock);
	return r;
}

#define MIN_MMU_PAGES 64

int memory_set_nr_mmu_pages(struct vm *vm, unsigned long nr)
{
	if (nr < MIN_MMU_PAGES)
		return -EINVAL;
	WRITE_ONCE(vm->memory.nr_mmu_pages, nr);
	return 0;
}

/* KVM's default: a fiftieth of the guest's memory. */
unsigned long memory_get_nr_mmu_pages(struct vm *vm)
{
	struct memory *m = &vm->memory;
	const struct slots *slots;
	unsigned int i;
	u64 npages = 0;

	if (READ_ONCE(m->nr_mmu_pages))
		return m->nr_mmu_pages;
	mutex_lock(&m->slots_lock);
	slots = published(m);
	for (i = 0; i < slots->nr; i++)
		npages += slots->sorted[BY_ID][i]->npages;
	mutex_unlock(&m->slots_lock);
	return max_t(u64, npages / 50, MIN_MMU_PAGES);
}

/* -- a VM's memory from its beginning to its end ------------------------------------------------------------------ */

static void free_slots(struct memory *m)
{
	struct slots *slots = rcu_dereference_protected(m->slots, true);
	unsigned int i;

	for (i = 0; slots && i < slots->nr; i++)
		slot_free(slots->sorted[BY_ID][i]);
	kvfree(slots);
	kvfree(m->spare_slots);
}

static int alloc_slots(struct memory *m)
{
	RCU_INIT_POINTER(m->slots, slots_alloc(FIRST_CAPACITY));
	m->spare_slots = slots_alloc(FIRST_CAPACITY);
	return rcu_access_pointer(m->slots) && m->spare_slots ? 0 : -ENOMEM;
}

int memory_init(struct vm *vm, const struct table_format *format)
{
	struct memory *m = &vm->memory;
	int r;

	m->format = format;
	m->notifier.ops = &memory_notifier_ops;
	mutex_init(&m->slots_lock);
	rwlock_init(&m->lock);
	r = alloc_slots(m);
	if (r)
		goto free_slots;
	r = tables_init(m);
	if (r)
		goto free_slots;
	r = init_srcu_struct(&m->srcu);
	if (r)
		goto free_tables;
	r = mmu_notifier_register(&m->notifier, vm->mm);
	if (r)
		goto free_srcu;
	shrink_add(m);
	return 0;

free_srcu:
	cleanup_srcu_struct(&m->srcu);
free_tables:
	tables_free(m);
free_slots:
	free_slots(m);
	return r;
}

void memory_destroy(struct vm *vm)
{
	struct memory *m = &vm->memory;

	shrink_remove(m);
	mmu_notifier_unregister(&m->notifier, vm->mm);
	tables_free(m);
	free_slots(m);
	cleanup_srcu_struct(&m->srcu);
}
