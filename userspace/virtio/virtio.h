/* SPDX-License-Identifier: GPL-2.0 */
#ifndef PITH_VIRTIO_H
#define PITH_VIRTIO_H

#include <linux/virtio_ring.h>
#include <sys/uio.h>

#include "../memory.h"
#include "../util.h"

#define VIRTQ_MAX_SIZE 256

/* A split virtqueue as the device sees it. */
struct virtq {
	/* What the driver has set; no longer changed once @enabled. */
	u16 size;
	u16 vector;
	u64 desc_gpa, avail_gpa, used_gpa;
	bool enabled;
	bool event_idx;

	/* Where the rings are in this process, and how far the device has got. */
	const struct memory *memory;
	const struct vring_desc *desc;
	const struct vring_avail *avail;
	struct vring_used *used;
	const u16 *used_event;
	u16 *avail_event;
	u16 avail_idx;
	u16 used_idx;
	u16 signalled_idx; /* @used_idx when the driver was last interrupted, or spared */
};

/* A request: buffers in guest memory, first those that the device reads, then those that it writes. */
struct virtq_chain {
	u16 head;
	unsigned int nr_out, nr_in;
	struct iovec iov[VIRTQ_MAX_SIZE];
};

enum virtq_result { VIRTQ_EMPTY, VIRTQ_CHAIN, VIRTQ_BROKEN };

bool virtq_start(struct virtq *vq, const struct memory *memory);
enum virtq_result virtq_pop(struct virtq *vq, struct virtq_chain *chain);
void virtq_push(struct virtq *vq, u16 head, u32 written);
bool virtq_wait(struct virtq *vq);
bool virtq_must_interrupt(struct virtq *vq);

#endif
