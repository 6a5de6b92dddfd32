// SPDX-License-Identifier: GPL-2.0
/*
 * The module's own accesses to guest memory: by the client's address, through the client's page tables, as if the
 * client did them. The host's page-fault handler does all the rest.
 */
#include <linux/sched.h>
#include <linux/srcu.h>
#include <linux/uaccess.h>

#include "internal.h"

/* A slot that the guest may use now. */
static const struct slot *usable_slot(struct memory *m, u64 gpa, bool write)
{
	const struct slot *slot = slots_find(srcu_dereference(m->slots, &m->srcu), gpa >> PAGE_SHIFT);

	if (!slot || READ_ONCE(slot->retired) || (write && (slot->flags & KVM_MEM_READONLY)))
		return NULL;
	return slot;
}

static unsigned long host_address(const struct slot *slot, u64 gpa)
{
	return slot_address(slot, gpa >> PAGE_SHIFT) + offset_in_page(gpa);
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
static bool read_part(struct memory *m, u64 gpa, void *buf, size_t len)
{
	const struct slot *slot = usable_slot(m, gpa, false);

	return slot && !copy_in(buf, host_address(slot, gpa), len);
}

static bool write_part(struct memory *m, u64 gpa, const void *buf, size_t len)
{
	const struct slot *slot = usable_slot(m, gpa, true);
	bool failed;

	if (!slot)
		return false;
	failed = copy_out(host_address(slot, gpa), buf, len);
	/* Some of it may have been written before it failed. */
	slot_mark_dirty(slot, gpa >> PAGE_SHIFT);
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
int guest_read(struct vm *vm, u64 gpa, void *buf, size_t len)
{
	struct memory *m = &vm->memory;
	bool ok = current->mm == vm->mm;
	size_t part;
	int idx;

	idx = srcu_read_lock(&m->srcu);
	for (; len && ok; gpa += part, buf += part, len -= part) {
		part = part_length(gpa, len);
		ok = read_part(m, gpa, buf, part);
	}
	srcu_read_unlock(&m->srcu, idx);
	return ok ? 0 : -EFAULT;
}

int guest_write(struct vm *vm, u64 gpa, const void *buf, size_t len)
{
	struct memory *m = &vm->memory;
	bool ok = current->mm == vm->mm;
	size_t part;
	int idx;

	idx = srcu_read_lock(&m->srcu);
	for (; len && ok; gpa += part, buf += part, len -= part) {
		part = part_length(gpa, len);
		ok = write_part(m, gpa, buf, part);
	}
	srcu_read_unlock(&m->srcu, idx);
	return ok ? 0 : -EFAULT;
}

int guest_read_atomic(struct vm *vm, u64 gpa, void *buf, size_t len)
{
	int r;

	pagefault_disable();
	r = guest_read(vm, gpa, buf, len);
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

int guest_cmpxchg(struct vm *vm, u64 gpa, unsigned int size, u64 *old, u64 new)
{
	struct memory *m = &vm->memory;
	const struct slot *slot;
	int idx, r = -EFAULT;

	if (current->mm != vm->mm || (size != sizeof(u32) && size != sizeof(u64)) || !IS_ALIGNED(gpa, size))
		return -EFAULT;
	idx = srcu_read_lock(&m->srcu);
	slot = usable_slot(m, gpa, true);
	if (slot)
		r = cmpxchg_host(host_address(slot, gpa), size, old, new);
	if (!r)
		slot_mark_dirty(slot, gpa >> PAGE_SHIFT);
	srcu_read_unlock(&m->srcu, idx);
	return r;
}

unsigned long guest_host_address(struct vm *vm, u64 gpa)
{
	struct memory *m = &vm->memory;
	const struct slot *slot;
	unsigned long host;
	int idx;

	idx = srcu_read_lock(&m->srcu);
	slot = usable_slot(m, gpa, false);
	host = slot ? host_address(slot, gpa) : 0;
	srcu_read_unlock(&m->srcu, idx);
	return host;
}

bool memory_is_mmio(struct vm *vm, u64 gpa, bool write)
{
	struct memory *m = &vm->memory;
	bool mmio;
	int idx;

	idx = srcu_read_lock(&m->srcu);
	mmio = !usable_slot(m, gpa, write);
	srcu_read_unlock(&m->srcu, idx);
	return mmio;
}
