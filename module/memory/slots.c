// SPDX-License-Identifier: GPL-2.0
/*
 * Slots: which range of the client's address space stands at which guest-physical address. Looked up by the guest's
 * address (faults, emulation), by the host's (MMU notifier) and by number (ioctls); changed seldom, one at a time. The
 * trees that readers walk exist twice: they see one set of them, the other is changed and takes its place, and then the
 * first is changed as well. Each slot has nodes for both, so a change allocates nothing that could be missing halfway.
 */
#include <linux/bitmap.h>
#include <linux/slab.h>
#include <linux/srcu.h>
#include <linux/uaccess.h>

#include "internal.h"

/* KVM's limit: page numbers within a slot fit into an int. */
#define SLOT_MAX_PAGES ((1ul << 31) - 1)

/* -- the set ------------------------------------------------------------------------------------------------------ */

/* A slot with its nodes in both sets; faults take the first part with them. */
struct placed_slot {
	struct slot slot;
	struct interval_tree_node node[NR_SLOT_SETS][NR_SLOT_ORDERS];
};

static struct interval_tree_node *slot_node(const struct slots *slots, struct slot *slot, enum slot_order order)
{
	return &container_of(slot, struct placed_slot, slot)->node[slots->index][order];
}

static struct slot *node_slot(const struct slots *slots, struct interval_tree_node *node, enum slot_order order)
{
	return node ? &container_of(node, struct placed_slot, node[slots->index][order])->slot : NULL;
}

struct slot *slots_first(struct slots *slots, enum slot_order order, u64 first, u64 last)
{
	return node_slot(slots, interval_tree_iter_first(&slots->tree[order], first, last), order);
}

struct slot *slots_next(struct slots *slots, enum slot_order order, struct slot *slot, u64 first, u64 last)
{
	return node_slot(slots, interval_tree_iter_next(slot_node(slots, slot, order), first, last), order);
}

/* The slot at a guest page, or NULL. Neighbouring lookups mostly hit the same one; the hint may be anybody's. */
struct slot *slots_find(struct slots *slots, u64 gfn)
{
	struct slot *slot = READ_ONCE(slots->hint);

	if (slot && slot_holds(slot, gfn))
		return slot;
	slot = slots_first(slots, BY_GFN, gfn, gfn);
	if (slot)
		WRITE_ONCE(slots->hint, slot);
	return slot;
}

static void slots_insert(struct slots *slots, struct slot *slot)
{
	struct interval_tree_node *node;
	unsigned int order;

	for (order = 0; order < NR_SLOT_ORDERS; order++) {
		node = slot_node(slots, slot, order);
		node->start = order == BY_GFN ? slot->gfn : slot->host;
		node->last = order == BY_GFN ? slot->gfn + slot->npages - 1 : slot_host_end(slot) - 1;
		interval_tree_insert(node, &slots->tree[order]);
	}
}

static void slots_remove(struct slots *slots, struct slot *slot)
{
	unsigned int order;

	for (order = 0; order < NR_SLOT_ORDERS; order++)
		interval_tree_remove(slot_node(slots, slot, order), &slots->tree[order]);
}

/* -- the two sets: one that is published, one that may be changed ------------------------------------------------- */

static struct slots *published(struct memory *m)
{
	return rcu_dereference_protected(m->slots, lockdep_is_held(&m->slots_lock));
}

/* In the set that nobody looks at. Puts @new in the place of @old; either may be NULL. */
static void exchange_unpublished(struct memory *m, struct slot *old, struct slot *new)
{
	struct slots *slots = &m->slot_sets[!published(m)->index];

	slots->hint = NULL;
	if (old)
		slots_remove(slots, old);
	if (new)
		slots_insert(slots, new);
}

/*
 * When it returns nobody looks at the set that was the published one, nor at a slot that is in that one alone; nor is what
 * somebody did not find in it taken for granted any more.
 */
static void publish_other(struct memory *m)
{
	rcu_assign_pointer(m->slots, &m->slot_sets[!published(m)->index]);
	write_lock(&m->lock);
	WRITE_ONCE(m->invalidate_seq, m->invalidate_seq + 1);
	write_unlock(&m->lock);
	synchronize_srcu_expedited(&m->srcu);
}

static void exchange_slots(struct memory *m, struct slot *old, struct slot *new)
{
	exchange_unpublished(m, old, new);
	publish_other(m);
	exchange_unpublished(m, old, new);
}

static void slot_free(struct slot *slot)
{
	kvfree(slot->dirty);
	kfree(container_of(slot, struct placed_slot, slot));
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

	if (region->flags & ~(KVM_MEM_LOG_DIRTY_PAGES | KVM_MEM_READONLY))
		return false;
	if (!slot_id_is_valid(region->slot))
		return false;
	if (!PAGE_ALIGNED(gpa) || !PAGE_ALIGNED(size) || !PAGE_ALIGNED(host))
		return false;
	if (host != untagged || !access_ok((void __user *)host, size) || size >> PAGE_SHIFT > SLOT_MAX_PAGES)
		return false;
	return gpa + size >= gpa && (!size || gpa + size <= gpa_limit(m));
}

static u64 region_gfn(const struct kvm_userspace_memory_region *region)
{
	return as_gfn(region->slot >> 16, region->guest_phys_addr);
}

static bool overlaps(struct slots *slots, u64 gfn, u64 npages, const struct slot *except)
{
	u64 last = gfn + npages - 1;
	struct slot *slot = slots_first(slots, BY_GFN, gfn, last);

	if (slot && slot == except)
		slot = slots_next(slots, BY_GFN, slot, gfn, last);
	return slot;
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
	struct placed_slot *placed = kzalloc(sizeof(*placed), GFP_KERNEL_ACCOUNT);
	struct slot *slot;

	if (!placed)
		return NULL;
	slot = &placed->slot;
	slot->gfn = region_gfn(region);
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
		kfree(placed);
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
	return has_log(new) && !has_log(old) && bitmap_full(new->dirty, new->npages);
}

static void unmap_slot(struct vm *vm, const struct slot *slot)
{
	memory_unmap(vm, slot->gfn, slot->gfn + slot->npages, true);
}

/*
 * A new slot is where the overlay may be mapped. Pairs with memory_fault(), which looks for both the other way round.
 */
static bool covers_overlay(const struct memory *m, const struct slot *slot)
{
	smp_mb();
	return READ_ONCE(m->overlay) && m->overlay_gfn - slot->gfn < slot->npages;
}

/*
 * Puts @new in the place of @old; either may be NULL.
 *
 * A slot that goes from its place must not vanish while entries for it exist, for the MMU notifier finds them by the
 * slot: so it is retired first (no new entries), then its entries are removed, then it goes. A slot that stays in its
 * place with other flags is exchanged first; its entries are removed afterwards, to come again as the new flags ask:
 * one by one for a log, large when the log ends. Both ways faults that know the old slot find invalidate_seq grown. A
 * log in which all pages are lets the entries be: they are protected as the client takes the pages out of it. vCPUs
 * look after what the CPU logs from before the first such slot is there until the last one's entries are gone.
 */
static void replace_slot(struct vm *vm, struct slot *old, struct slot *new)
{
	struct memory *m = &vm->memory;
	bool goes = old && (!new || new->gfn != old->gfn), had_log = has_log(old);

	if (goes) {
		WRITE_ONCE(old->retired, true);
		unmap_slot(vm, old);
	}
	WRITE_ONCE(m->nr_logged, m->nr_logged + has_log(new));
	/* Afterwards nobody reads or writes guest memory by the old slot any more, or marks pages in its log. */
	exchange_slots(m, old, new);
	if (old && !goes)
		memory_unmap(vm, old->gfn, old->gfn + (log_is_full(old, new) ? 0 : old->npages), true);
	else if (new &&covers_overlay(m, new))
		memory_unmap(vm, m->overlay_gfn, m->overlay_gfn + 1, true);
	WRITE_ONCE(m->nr_logged, m->nr_logged - had_log);
	slot_free_beside(old, new);
}

static int delete_slot(struct vm *vm, struct slot *old)
{
	if (!old)
		return -EINVAL;
	xa_erase(&vm->memory.slot_ids, old->id);
	replace_slot(vm, old, NULL);
	return 0;
}

static int place_slot(struct vm *vm, const struct kvm_userspace_memory_region *region, struct slot *old)
{
	struct memory *m = &vm->memory;
	struct slot *new = slot_create(m, region, old);
	int r;

	if (!new)
		return -ENOMEM;
	r = xa_err(xa_store(&m->slot_ids, new->id, new, GFP_KERNEL));
	if (r)
		slot_free_beside(new, old);
	else
		replace_slot(vm, old, new);
	return r;
}

static int change_slot(struct vm *vm, const struct kvm_userspace_memory_region *region)
{
	struct memory *m = &vm->memory;
	struct slot *old = xa_load(&m->slot_ids, region->slot);
	u64 gfn = region_gfn(region), npages = region->memory_size >> PAGE_SHIFT;

	if (!npages)
		return delete_slot(vm, old);
	if (old) {
		if (region->userspace_addr != old->host || npages != old->npages ||
		    ((region->flags ^ old->flags) & KVM_MEM_READONLY))
			return -EINVAL;
		if (gfn == old->gfn && region->flags == old->flags)
			return 0;
	}
	if (overlaps(published(m), gfn, npages, old))
		return -EEXIST;
	return place_slot(vm, region, old);
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
	const struct slot *slot;
	unsigned long id;
	u64 npages = 0;

	if (READ_ONCE(m->nr_mmu_pages))
		return m->nr_mmu_pages;
	mutex_lock(&m->slots_lock);
	xa_for_each(&m->slot_ids, id, slot)
		npages += slot->npages;
	mutex_unlock(&m->slots_lock);
	return max_t(u64, npages / 50, MIN_MMU_PAGES);
}

/* -- a VM's memory from its beginning to its end ------------------------------------------------------------------ */

static void free_slots(struct memory *m)
{
	struct slot *slot;
	unsigned long id;

	xa_for_each(&m->slot_ids, id, slot)
		slot_free(slot);
	xa_destroy(&m->slot_ids);
}

static void init_slots(struct memory *m)
{
	mutex_init(&m->slots_lock);
	xa_init_flags(&m->slot_ids, XA_FLAGS_ACCOUNT);
	/* All zeroes, a set is empty. */
	m->slot_sets[1].index = 1;
	RCU_INIT_POINTER(m->slots, &m->slot_sets[0]);
}

int memory_init(struct vm *vm, const struct table_format *format)
{
	struct memory *m = &vm->memory;
	int r;

	m->format = format;
	m->notifier.ops = &memory_notifier_ops;
	rwlock_init(&m->lock);
	init_slots(m);
	nx_huge_init(m);
	r = tables_init(m);
	if (r)
		return r;
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
	return r;
}

void memory_destroy(struct vm *vm)
{
	struct memory *m = &vm->memory;

	shrink_remove(m);
	nx_huge_destroy(m);
	mmu_notifier_unregister(&m->notifier, vm->mm);
	tables_free(m);
	free_slots(m);
	cleanup_srcu_struct(&m->srcu);
}
