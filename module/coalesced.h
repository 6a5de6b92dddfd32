/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Coalesced writes: in zones that the client names, a guest's writes are put into a ring, a page that the client has
 * mapped, and it looks at them when it comes out of KVM_RUN the next time for another reason.
 * Source: KVM's api.rst, "KVM_REGISTER_COALESCED_MMIO".
 */
#ifndef PITH_COALESCED_H
#define PITH_COALESCED_H

#include <linux/kvm.h>
#include <linux/rcupdate.h>
#include <linux/spinlock.h>

struct vm;
struct coalesced_zones;

/**
 * struct coalesced - the ring and the zones of a VM
 * @ring: shared with the client: never trusted
 * @lock: whoever puts a write into the ring
 * @zones: NULL: none. Replaced as a whole, under vm->lock.
 */
struct coalesced {
	struct kvm_coalesced_mmio_ring *ring;
	raw_spinlock_t lock;
	struct coalesced_zones __rcu *zones;
};

int coalesced_create(struct coalesced *coalesced);
void coalesced_destroy(struct coalesced *coalesced);

/* KVM_REGISTER_COALESCED_MMIO, KVM_UNREGISTER_COALESCED_MMIO */
int coalesced_register(struct vm *vm, const struct kvm_coalesced_mmio_zone *zone);
int coalesced_unregister(struct vm *vm, const struct kvm_coalesced_mmio_zone *zone);

/* The second half of coalesced_write(). */
bool coalesced_put(struct coalesced *coalesced, bool pio, u64 address, unsigned int len, const void *data);

/**
 * coalesced_write - a guest's write
 * @pio: @address is a port
 * @len: up to 8
 * Return: whether the ring took it; otherwise it is the client's at once. The vCPU's thread, in a slice or not.
 */
static inline bool coalesced_write(struct coalesced *coalesced, bool pio, u64 address, unsigned int len,
				   const void *data)
{
	return unlikely(rcu_access_pointer(coalesced->zones)) && coalesced_put(coalesced, pio, address, len, data);
}

#endif
