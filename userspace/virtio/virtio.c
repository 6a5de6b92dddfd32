// SPDX-License-Identifier: GPL-2.0
/*
 * The device side of a split virtqueue. Source: Virtual I/O Device (VIRTIO) Version 1.2, chapter 2.7.
 *
 * The rings are in memory that the guest goes on writing to. So everything is read from there once, and checked after
 * that; and a driver that breaks a rule gets nothing more of its device until it resets it.
 */
#include "virtio.h"

#include <string.h>

#define load(field) __atomic_load_n(&(field), __ATOMIC_RELAXED)
#define store(field, value) __atomic_store_n(&(field), value, __ATOMIC_RELAXED)

/* Where a chain's descriptors are: the queue's own table, or an indirect one. */
struct table {
	const u8 *base;
	unsigned int size;
};

static void *ring(const struct virtq *vq, u64 gpa, u64 size, u64 alignment)
{
	return gpa % alignment ? NULL : memory_at(vq->memory, gpa, size);
}

/**
 * virtq_start - begin to use the rings that the driver has set up
 * @vq: its size, addresses and event_idx are set
 * @memory: the guest's
 *
 * Return: whether the rings are in guest memory, aligned as they must be.
 */
bool virtq_start(struct virtq *vq, const struct memory *memory)
{
	vq->memory = memory;
	/* Behind each ring is one more number, the event index of the other side. */
	vq->desc = ring(vq, vq->desc_gpa, sizeof(struct vring_desc) * vq->size, VRING_DESC_ALIGN_SIZE);
	vq->avail = ring(vq, vq->avail_gpa, sizeof(struct vring_avail) + sizeof(u16) * (vq->size + 1),
			 VRING_AVAIL_ALIGN_SIZE);
	vq->used = ring(vq, vq->used_gpa,
			sizeof(struct vring_used) + sizeof(struct vring_used_elem) * vq->size + sizeof(u16),
			VRING_USED_ALIGN_SIZE);
	vq->avail_idx = vq->used_idx = vq->signalled_idx = 0;
	if (!vq->desc || !vq->avail || !vq->used)
		return false;
	vq->used_event = &vq->avail->ring[vq->size];
	vq->avail_event = (u16 *)&vq->used->ring[vq->size];
	vq->enabled = true;
	return true;
}

/* A guest may put an indirect table at any address. After the fence the copy is all there is. */
static struct vring_desc fetch(const struct table *table, unsigned int index)
{
	struct vring_desc desc;

	memcpy(&desc, table->base + index * sizeof(desc), sizeof(desc));
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	return desc;
}

/* Makes @table the indirect table that @desc refers to. */
static bool enter_indirect(const struct virtq *vq, const struct vring_desc *desc, struct table *table)
{
	if (desc->flags & VRING_DESC_F_NEXT || !desc->len || desc->len % sizeof(struct vring_desc))
		return false;
	table->size = desc->len / sizeof(struct vring_desc);
	table->base = memory_at(vq->memory, desc->addr, desc->len);
	return table->base;
}

static bool add_buffer(const struct virtq *vq, struct virtq_chain *chain, const struct vring_desc *desc)
{
	void *host = memory_at(vq->memory, desc->addr, desc->len);
	bool write = desc->flags & VRING_DESC_F_WRITE;
	unsigned int n = chain->nr_out + chain->nr_in;

	if (!desc->len)
		return true;
	if (!host || n == VIRTQ_MAX_SIZE || (chain->nr_in && !write))
		return false;
	chain->iov[n] = (struct iovec){ host, desc->len };
	if (write)
		chain->nr_in++;
	else
		chain->nr_out++;
	return true;
}

/* An indirect table ends a chain. A chain of more descriptors than a queue may have probably bites its own tail. */
static bool walk(const struct virtq *vq, struct virtq_chain *chain)
{
	struct table table = { (const u8 *)vq->desc, vq->size };
	unsigned int index = chain->head;
	bool indirect = false;

	for (unsigned int seen = 0; seen <= VIRTQ_MAX_SIZE; seen++) {
		struct vring_desc desc;

		if (index >= table.size)
			return false;
		desc = fetch(&table, index);
		if (desc.flags & VRING_DESC_F_INDIRECT) {
			if (indirect || !enter_indirect(vq, &desc, &table))
				return false;
			indirect = true;
			index = 0;
			continue;
		}
		if (!add_buffer(vq, chain, &desc))
			return false;
		if (!(desc.flags & VRING_DESC_F_NEXT))
			return true;
		index = desc.next;
	}
	return false;
}

/**
 * virtq_pop - take the next request
 * @vq: a started queue
 * @chain: filled in
 *
 * Return: VIRTQ_CHAIN, VIRTQ_EMPTY, or VIRTQ_BROKEN where the driver broke a rule of the specification.
 */
enum virtq_result virtq_pop(struct virtq *vq, struct virtq_chain *chain)
{
	u16 available = __atomic_load_n(&vq->avail->idx, __ATOMIC_ACQUIRE) - vq->avail_idx;

	if (!available)
		return VIRTQ_EMPTY;
	if (available > vq->size)
		return VIRTQ_BROKEN;
	chain->head = load(vq->avail->ring[vq->avail_idx % vq->size]);
	chain->nr_out = chain->nr_in = 0;
	vq->avail_idx++;
	return walk(vq, chain) ? VIRTQ_CHAIN : VIRTQ_BROKEN;
}

/**
 * virtq_push - give a request back to the driver
 * @vq: the queue it is from
 * @head: of its chain
 * @written: how many bytes of its buffers were written, from the first on
 */
void virtq_push(struct virtq *vq, u16 head, u32 written)
{
	struct vring_used_elem *elem = &vq->used->ring[vq->used_idx % vq->size];

	store(elem->id, head);
	store(elem->len, written);
	__atomic_store_n(&vq->used->idx, ++vq->used_idx, __ATOMIC_RELEASE);
}

/**
 * virtq_wait - ask the driver for a notification, before the device goes to sleep on an empty queue
 * @vq: the queue
 *
 * A driver is asked only here, so it does not notify a device that is at work.
 *
 * Return: false if there is a request after all, that came in before the driver could see that it should notify.
 */
bool virtq_wait(struct virtq *vq)
{
	if (vq->event_idx)
		store(*vq->avail_event, vq->avail_idx);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return load(vq->avail->idx) == vq->avail_idx;
}

/**
 * virtq_must_interrupt - whether the driver wants to hear of what was given back since this was last asked
 * @vq: the queue
 */
bool virtq_must_interrupt(struct virtq *vq)
{
	u16 old = vq->signalled_idx;

	vq->signalled_idx = vq->used_idx;
	if (old == vq->used_idx)
		return false;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (vq->event_idx)
		return vring_need_event(load(*vq->used_event), vq->used_idx, old);
	return !(load(vq->avail->flags) & VRING_AVAIL_F_NO_INTERRUPT);
}
