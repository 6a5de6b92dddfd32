/* SPDX-License-Identifier: GPL-2.0 */
#ifndef PITH_VIRTIO_PCI_H
#define PITH_VIRTIO_PCI_H

#include <pthread.h>

#include "../pci.h"
#include "virtio.h"

#define VIRTIO_MAX_QUEUES 1

/* What kind of device it is. */
struct virtio_type {
	u16 id; /* VIRTIO_ID_* */
	u32 pci_class;
	unsigned int nr_queues;
};

struct virtio_device {
	struct pci_device pci; /* its lock is the device's */
	const struct virtio_type *type;
	const void *config; /* the device-specific configuration, read-only */
	u32 config_size;
	u64 features; /* offered */

	/* The driver's. */
	u64 driver_features;
	u32 feature_select, driver_feature_select;
	u16 config_vector;
	u16 queue_select;
	u8 status;
	u8 isr;
	struct virtq queues[VIRTIO_MAX_QUEUES];

	int kick_fd; /* an eventfd: the driver notified the device */
	bool busy;   /* a request is in the works, and its buffers are in use */
	bool resetting;
	bool complained; /* the user has heard once that the driver is broken */
	pthread_cond_t idle;
	u8 window; /* where the capability VIRTIO_PCI_CAP_PCI_CFG is */
};

void virtio_init(struct virtio_device *dev, struct vm *vm, const struct virtio_type *type);
void virtio_serve(struct virtio_device *dev, struct virtq *vq,
		  u32 (*request)(struct virtio_device *dev, struct virtq_chain *chain));

#endif
