// SPDX-License-Identifier: GPL-2.0
/* ioeventfds: a guest's write to an address or port that signals an eventfd, and needs no exit to the client. */
#include <linux/eventfd.h>
#include <linux/hashtable.h>
#include <linux/log2.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/srcu.h>

#include "../compat.h"
#include "internal.h"

#define IOEVENTFD_FLAGS (KVM_IOEVENTFD_FLAG_DATAMATCH | KVM_IOEVENTFD_FLAG_PIO | KVM_IOEVENTFD_FLAG_DEASSIGN)
#define IOEVENTFD_MAX 4096

/**
 * struct ioeventfd - a write that signals an eventfd
 * @node: in ioeventfds->by_address
 * @eventfd: to be signalled
 * @address: guest-physical, or a port
 * @datamatch: the value that must be written, unless @wildcard
 * @len: bytes of the write; 0: any
 * @pio: a port
 * @wildcard: any value will do
 */
struct ioeventfd {
	struct hlist_node node;
	struct eventfd_ctx *eventfd;
	u64 address;
	u64 datamatch;
	u32 len;
	bool pio;
	bool wildcard;
};

/**
 * struct ioeventfds - those of a VM; vm->lock orders changes
 * @srcu: of readers
 * @by_address: the ioeventfds
 * @nr: how many; a write may have to look at all of them, and shall not take long
 */
struct ioeventfds {
	struct srcu_struct srcu;
	DECLARE_HASHTABLE(by_address, 6);
	unsigned int nr;
};

/* -- the guest writes -------------------------------------------------------------------------------------------- */

static bool matches(const struct ioeventfd *p, bool pio, u64 address, unsigned int len, u64 value)
{
	if (p->address != address || p->pio != pio)
		return false;
	return !p->len || (p->len == len && (p->wildcard || p->datamatch == value));
}

bool ioeventfd_signal(struct ioeventfds *all, bool pio, u64 address, unsigned int len, u64 value)
{
	struct ioeventfd *p;
	bool hit = false;
	int idx;

	idx = srcu_read_lock(&all->srcu);
	hash_for_each_possible_rcu(all->by_address, p, node, address, srcu_read_lock_held(&all->srcu)) {
		if (!matches(p, pio, address, len, value))
			continue;
		compat_eventfd_signal(p->eventfd);
		hit = true;
		break;
	}
	srcu_read_unlock(&all->srcu, idx);
	return hit;
}

/* -- KVM_IOEVENTFD ----------------------------------------------------------------------------------------------- */

static void ioeventfd_free(struct ioeventfd *p)
{
	eventfd_ctx_put(p->eventfd);
	kfree(p);
}

static struct ioeventfd *ioeventfd_create(const struct kvm_ioeventfd *args)
{
	struct eventfd_ctx *eventfd = eventfd_ctx_fdget(args->fd);
	struct ioeventfd *p;

	if (IS_ERR(eventfd))
		return ERR_CAST(eventfd);
	p = kzalloc(sizeof(*p), GFP_KERNEL_ACCOUNT);
	if (!p) {
		eventfd_ctx_put(eventfd);
		return ERR_PTR(-ENOMEM);
	}
	p->eventfd = eventfd;
	p->address = args->addr;
	p->len = args->len;
	p->pio = args->flags & KVM_IOEVENTFD_FLAG_PIO;
	p->wildcard = !(args->flags & KVM_IOEVENTFD_FLAG_DATAMATCH);
	p->datamatch = p->wildcard ? 0 : args->datamatch;
	return p;
}

/* Whether some write would be for both. */
static bool collides(const struct ioeventfd *p, const struct ioeventfd *q)
{
	if (p->address != q->address || p->pio != q->pio)
		return false;
	if (!p->len || !q->len)
		return true;
	return p->len == q->len && (p->wildcard || q->wildcard || p->datamatch == q->datamatch);
}

static int add(struct ioeventfds *all, struct ioeventfd *new)
{
	struct ioeventfd *p;

	if (all->nr == IOEVENTFD_MAX)
		return -ENOSPC;
	hash_for_each_possible(all->by_address, p, node, new->address)
		if (collides(p, new))
			return -EEXIST;
	hash_add_rcu(all->by_address, &new->node, new->address);
	all->nr++;
	return 0;
}

/* Made when it is first needed: most guests' writes find that there is none. */
static struct ioeventfds *ioeventfds_create(struct vm *vm)
{
	struct ioeventfds *all = kzalloc(sizeof(*all), GFP_KERNEL_ACCOUNT);

	if (!all || init_srcu_struct(&all->srcu)) {
		kfree(all);
		return NULL;
	}
	hash_init(all->by_address);
	/* Pairs with the load in ioeventfd_write(). */
	smp_store_release(&vm->ioeventfds, all);
	return all;
}

static bool is_valid(const struct kvm_ioeventfd *args)
{
	bool datamatch = args->flags & KVM_IOEVENTFD_FLAG_DATAMATCH;

	if (args->flags & ~IOEVENTFD_FLAGS || args->addr + args->len < args->addr)
		return false;
	return args->len ? args->len <= sizeof(u64) && is_power_of_2(args->len) : !datamatch;
}

static int assign(struct vm *vm, const struct kvm_ioeventfd *args)
{
	struct ioeventfd *p;
	int error = -ENOMEM;

	if (!is_valid(args))
		return -EINVAL;
	p = ioeventfd_create(args);
	if (IS_ERR(p))
		return PTR_ERR(p);
	mutex_lock(&vm->lock);
	if (vm->ioeventfds || ioeventfds_create(vm))
		error = add(vm->ioeventfds, p);
	mutex_unlock(&vm->lock);
	if (error)
		ioeventfd_free(p);
	return error;
}

/* What was assigned by the same words. */
static struct ioeventfd *find(struct ioeventfds *all, const struct ioeventfd *key)
{
	struct ioeventfd *p;

	hash_for_each_possible(all->by_address, p, node, key->address)
		if (p->eventfd == key->eventfd && p->address == key->address && p->pio == key->pio &&
		    p->len == key->len && p->wildcard == key->wildcard && p->datamatch == key->datamatch)
			return p;
	return NULL;
}

/* When this returns no write signals the eventfd any more: the client looks at its count for the last time. */
static int remove(struct ioeventfds *all, const struct ioeventfd *key)
{
	struct ioeventfd *p = all ? find(all, key) : NULL;

	if (!p)
		return -ENOENT;
	hash_del_rcu(&p->node);
	all->nr--;
	synchronize_srcu_expedited(&all->srcu);
	ioeventfd_free(p);
	return 0;
}

static int deassign(struct vm *vm, const struct kvm_ioeventfd *args)
{
	struct ioeventfd *key = ioeventfd_create(args);
	int error;

	if (IS_ERR(key))
		return PTR_ERR(key);
	mutex_lock(&vm->lock);
	error = remove(vm->ioeventfds, key);
	mutex_unlock(&vm->lock);
	ioeventfd_free(key);
	return error;
}

int ioeventfd(struct vm *vm, const struct kvm_ioeventfd *args)
{
	return args->flags & KVM_IOEVENTFD_FLAG_DEASSIGN ? deassign(vm, args) : assign(vm, args);
}

void ioeventfds_destroy(struct vm *vm)
{
	struct ioeventfds *all = vm->ioeventfds;
	struct hlist_node *next;
	struct ioeventfd *p;
	int bucket;

	if (!all)
		return;
	hash_for_each_safe(all->by_address, bucket, next, p, node)
		ioeventfd_free(p);
	cleanup_srcu_struct(&all->srcu);
	vm->ioeventfds = NULL;
	kfree(all);
}
