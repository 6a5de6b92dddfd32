// SPDX-License-Identifier: GPL-2.0
#include <linux/mm.h>
#include <linux/slab.h>

#include "coalesced.h"
#include "vm.h"

/* As many as devices on a bus of KVM's. */
#define MAX_ZONES 1000

struct coalesced_zones {
	struct rcu_head rcu;
	unsigned int nr;
	struct kvm_coalesced_mmio_zone zone[];
};

static bool contains(const struct kvm_coalesced_mmio_zone *zone, bool pio, u64 address, u32 len)
{
	u64 offset = address - zone->addr;

	return zone->pio == pio && address >= zone->addr && offset <= zone->size && len <= zone->size - offset;
}

/* -- the guest writes -------------------------------------------------------------------------------------------- */

static bool in_zone(struct coalesced *coalesced, bool pio, u64 address, unsigned int len)
{
	const struct coalesced_zones *zones;
	bool found = false;
	unsigned int i;

	rcu_read_lock();
	zones = rcu_dereference(coalesced->zones);
	for (i = 0; zones && i < zones->nr && !found; i++)
		found = contains(&zones->zone[i], pio, address, len);
	rcu_read_unlock();
	return found;
}

/* One entry stays empty, so that a full ring and an empty one are told apart. */
static bool put(struct kvm_coalesced_mmio_ring *ring, bool pio, u64 address, unsigned int len, const void *data)
{
	u32 last = READ_ONCE(ring->last), next = last + 1 == KVM_COALESCED_MMIO_MAX ? 0 : last + 1;
	struct kvm_coalesced_mmio *entry;

	if (last >= KVM_COALESCED_MMIO_MAX || next == READ_ONCE(ring->first))
		return false;
	entry = &ring->coalesced_mmio[last];
	entry->phys_addr = address;
	entry->len = len;
	entry->pio = pio;
	memcpy(entry->data, data, len);
	/* A thread of the client that reads the ring while the guest runs sees whole entries. */
	smp_store_release(&ring->last, next);
	return true;
}

bool coalesced_put(struct coalesced *coalesced, bool pio, u64 address, unsigned int len, const void *data)
{
	bool done;

	if (!in_zone(coalesced, pio, address, len))
		return false;
	raw_spin_lock(&coalesced->lock);
	done = put(coalesced->ring, pio, address, len, data);
	raw_spin_unlock(&coalesced->lock);
	return done;
}

/* -- zones; vm->lock held ---------------------------------------------------------------------------------------- */

static struct coalesced_zones *zones_of(struct vm *vm)
{
	return rcu_dereference_protected(vm->coalesced.zones, lockdep_is_held(&vm->lock));
}

static int add(struct vm *vm, const struct kvm_coalesced_mmio_zone *zone)
{
	struct coalesced_zones *old = zones_of(vm), *new;
	unsigned int nr = old ? old->nr : 0;

	if (nr == MAX_ZONES)
		return -ENOSPC;
	new = kvmalloc(struct_size(new, zone, nr + 1), GFP_KERNEL_ACCOUNT);
	if (!new)
		return -ENOMEM;
	if (old)
		memcpy(new->zone, old->zone, nr * sizeof(*zone));
	new->zone[nr] = *zone;
	new->nr = nr + 1;
	rcu_assign_pointer(vm->coalesced.zones, new);
	if (old)
		kvfree_rcu(old, rcu);
	return 0;
}

/* All zones that the given one is in. When this returns no write goes from them into the ring any more. */
static int remove(struct vm *vm, const struct kvm_coalesced_mmio_zone *zone)
{
	struct coalesced_zones *old = zones_of(vm), *new;
	unsigned int i, nr = old ? old->nr : 0;

	if (!nr)
		return 0;
	new = kvmalloc(struct_size(new, zone, nr), GFP_KERNEL_ACCOUNT);
	if (!new)
		return -ENOMEM;
	new->nr = 0;
	for (i = 0; i < nr; i++)
		if (!contains(&old->zone[i], zone->pio, zone->addr, zone->size))
			new->zone[new->nr++] = old->zone[i];
	if (!new->nr) {
		kvfree(new);
		new = NULL;
	}
	rcu_assign_pointer(vm->coalesced.zones, new);
	synchronize_rcu_expedited();
	kvfree(old);
	return 0;
}

static int change(struct vm *vm, const struct kvm_coalesced_mmio_zone *zone,
		  int (*how)(struct vm *, const struct kvm_coalesced_mmio_zone *))
{
	int r;

	if (zone->pio > 1)
		return -EINVAL;
	mutex_lock(&vm->lock);
	r = how(vm, zone);
	mutex_unlock(&vm->lock);
	return r;
}

int coalesced_register(struct vm *vm, const struct kvm_coalesced_mmio_zone *zone)
{
	return change(vm, zone, add);
}

int coalesced_unregister(struct vm *vm, const struct kvm_coalesced_mmio_zone *zone)
{
	return change(vm, zone, remove);
}

/* -- lifetime ---------------------------------------------------------------------------------------------------- */

int coalesced_create(struct coalesced *coalesced)
{
	raw_spin_lock_init(&coalesced->lock);
	coalesced->ring = (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	return coalesced->ring ? 0 : -ENOMEM;
}

/* A mapping of the client's may keep the page longer. */
void coalesced_destroy(struct coalesced *coalesced)
{
	kvfree(rcu_dereference_protected(coalesced->zones, true));
	free_page((unsigned long)coalesced->ring);
}
