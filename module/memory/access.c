// SPDX-License-Identifier: GPL-2.0
/*
 * The module's own accesses to guest memory: by the client's address, through the client's page tables, as if the
 * client did them. The host's page-fault handler does all the rest.
 */
#include <linux/sched.h>
#include <linux/srcu.h>
#include <linux/uaccess.h>

#include "../vcpu.h"
#include "internal.h"

/* Of guest memory: an address, in an address space. */
struct guest_address {
	struct vm *vm;
	unsigned int as_id;
	u64 gpa;
};

static struct guest_address in_vm(struct vm *vm, u64 gpa)
{
	return (struct guest_address){ .vm = vm, .gpa = gpa };
}

static struct guest_address seen_by(struct vcpu *vcpu, u64 gpa)
{
	return (struct guest_address){ .vm = vcpu->vm, .as_id = vcpu->as_id, .gpa = gpa };
}

static u64 address_gfn(const struct guest_address *address)
{
	return as_gfn(address->as_id, address->gpa);
}

/* A slot that the guest may use now. */
static const struct slot *usable_slot(const struct guest_address *address, bool write)
{
	struct memory *m = &address->vm->memory;
	const struct slot *slot = slots_find(srcu_dereference(m->slots, &m->srcu), address_gfn(address));

	if (!slot || READ_ONCE(slot->retired) || (write && (slot->flags & KVM_MEM_READONLY)))
		return NULL;
	return slot;
}

static unsigned long host_address(const struct slot *slot, const struct guest_address *address)
{
	return slot_address(slot, address_gfn(address)) + offset_in_page(address->gpa);
}

/* -- copies ------------------------------------------------------------------------------------------------------- */

/* Other CPUs must not see half of a page-table entry or of a ring's index: plain copies make no such promise. */
#define READ_ONE(type, to, from)                                         \
	({                                                               \
		type one;                                                \
		int failed = get_user(one, (const type __user *)(from)); \
		if (!failed)                                             \
			memcpy(to, &one, sizeof(one));                   \
		failed;                                                  \
	})
#define WRITE_ONE(type, to, from)                   \
	({                                          \
		type one;                           \
		memcpy(&one, from, sizeof(one));    \
		put_user(one, (type __user *)(to)); \
	})

static bool copy_in(void *to, unsigned long from, size_t len)
{
	switch (IS_ALIGNED(from, len) ? len : 0) {
	case 2:
		return READ_ONE(u16, to, from);
	case 4:
		return READ_ONE(u32, to, from);
	case 8:
		return READ_ONE(u64, to, from);
	}
	return copy_from_user(to, (const void __user *)from, len);
}

static bool copy_out(unsigned long to, const void *from, size_t len)
{
	switch (IS_ALIGNED(to, len) ? len : 0) {
	case 2:
		return WRITE_ONE(u16, to, from);
	case 4:
		return WRITE_ONE(u32, to, from);
	case 8:
		return WRITE_ONE(u64, to, from);
	}
	return copy_to_user((void __user *)to, from, len);
}

/* The part of an access that lies in one page. */
static bool read_part(const struct guest_address *address, void *buf, size_t len)
{
	const struct slot *slot = usable_slot(address, false);

	return slot && !copy_in(buf, host_address(slot, address), len);
}

static bool write_part(const struct guest_address *address, const void *buf, size_t len)
{
	const struct slot *slot = usable_slot(address, true);
	bool failed;

	if (!slot)
		return false;
	failed = copy_out(host_address(slot, address), buf, len);
	/* Some of it may have been written before it failed. */
	slot_mark_dirty(slot, address_gfn(address));
	return !failed;
}

static size_t part_length(u64 gpa, size_t len)
{
	return min_t(size_t, len, PAGE_SIZE - offset_in_page(gpa));
}

/*
 * The slots are looked at throughout: when an ioctl that moves or deletes a slot returns, no access by the old one is
 * still under way.
 */
static int read_at(struct guest_address address, void *buf, size_t len)
{
	struct memory *m = &address.vm->memory;
	bool ok = current->mm == address.vm->mm;
	size_t part;
	int idx;

	idx = srcu_read_lock(&m->srcu);
	for (; len && ok; address.gpa += part, buf += part, len -= part) {
		part = part_length(address.gpa, len);
		ok = read_part(&address, buf, part);
	}
	srcu_read_unlock(&m->srcu, idx);
	return ok ? 0 : -EFAULT;
}

static int write_at(struct guest_address address, const void *buf, size_t len)
{
	struct memory *m = &address.vm->memory;
	bool ok = current->mm == address.vm->mm;
	size_t part;
	int idx;

	idx = srcu_read_lock(&m->srcu);
	for (; len && ok; address.gpa += part, buf += part, len -= part) {
		part = part_length(address.gpa, len);
		ok = write_part(&address, buf, part);
	}
	srcu_read_unlock(&m->srcu, idx);
	return ok ? 0 : -EFAULT;
}

int guest_read(struct vm *vm, u64 gpa, void *buf, size_t len)
{
	return read_at(in_vm(vm, gpa), buf, len);
}

int guest_write(struct vm *vm, u64 gpa, const void *buf, size_t len)
{
	return write_at(in_vm(vm, gpa), buf, len);
}

int vcpu_read(struct vcpu *vcpu, u64 gpa, void *buf, size_t len)
{
	return read_at(seen_by(vcpu, gpa), buf, len);
}

int vcpu_write(struct vcpu *vcpu, u64 gpa, const void *buf, size_t len)
{
	return write_at(seen_by(vcpu, gpa), buf, len);
}

int vcpu_read_atomic(struct vcpu *vcpu, u64 gpa, void *buf, size_t len)
{
	int r;

	pagefault_disable();
	r = vcpu_read(vcpu, gpa, buf, len);
	pagefault_enable();
	return r;
}

/* -- compare and exchange ----------------------------------------------------------------------------------------- */

static int cmpxchg_host(unsigned long address, unsigned int size, u64 *old, u64 new)
{
	u32 old32 = *old;
	int r;

	if (size == sizeof(u64))
		return __try_cmpxchg_user((u64 __user *)address, old, new, failed64);
	r = __try_cmpxchg_user((u32 __user *)address, &old32, new, failed32);
	*old = old32;
	return r;
}

static int cmpxchg_at(struct guest_address address, unsigned int size, u64 *old, u64 new)
{
	struct memory *m = &address.vm->memory;
	const struct slot *slot;
	int idx, r = -EFAULT;

	if (current->mm != address.vm->mm || (size != sizeof(u32) && size != sizeof(u64)) ||
	    !IS_ALIGNED(address.gpa, size))
		return -EFAULT;
	idx = srcu_read_lock(&m->srcu);
	slot = usable_slot(&address, true);
	if (slot)
		r = cmpxchg_host(host_address(slot, &address), size, old, new);
	if (!r)
		slot_mark_dirty(slot, address_gfn(&address));
	srcu_read_unlock(&m->srcu, idx);
	return r;
}

int guest_cmpxchg(struct vm *vm, u64 gpa, unsigned int size, u64 *old, u64 new)
{
	return cmpxchg_at(in_vm(vm, gpa), size, old, new);
}

int vcpu_cmpxchg(struct vcpu *vcpu, u64 gpa, unsigned int size, u64 *old, u64 new)
{
	return cmpxchg_at(seen_by(vcpu, gpa), size, old, new);
}

/* -- where it is --------------------------------------------------------------------------------------------------- */

unsigned long guest_host_address(struct vcpu *vcpu, u64 gpa)
{
	struct guest_address address = seen_by(vcpu, gpa);
	struct memory *m = &vcpu->vm->memory;
	const struct slot *slot;
	unsigned long host;
	int idx;

	idx = srcu_read_lock(&m->srcu);
	slot = usable_slot(&address, false);
	host = slot ? host_address(slot, &address) : 0;
	srcu_read_unlock(&m->srcu, idx);
	return host;
}

bool memory_is_mmio(struct vcpu *vcpu, u64 gpa, bool write)
{
	struct guest_address address = seen_by(vcpu, gpa);
	struct memory *m = &vcpu->vm->memory;
	bool mmio;
	int idx;

	idx = srcu_read_lock(&m->srcu);
	mmio = !usable_slot(&address, write);
	srcu_read_unlock(&m->srcu, idx);
	return mmio;
}
