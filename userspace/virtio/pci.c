// SPDX-License-Identifier: GPL-2.0
/*
 * Virtio over PCI: how a driver finds, configures, notifies and resets a device, and is interrupted by it.
 * Source: Virtual I/O Device (VIRTIO) Version 1.2, chapters 2.1, 3 and 4.1.
 *
 * The notification register is an I/O port: a port access says by itself what it is, where a store to memory has to be
 * decoded.
 */
#include "pci.h"

#include <errno.h>
#include <linux/kvm.h>
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>

#include "../irq.h"
#include "../vm.h"

#define VIRTIO_VENDOR 0x1af4
#define VIRTIO_DEVICE_BASE 0x1040
#define VIRTIO_REVISION 1

/* The other bit of the ISR status; linux/virtio_pci.h only has VIRTIO_PCI_ISR_CONFIG. */
#define VIRTIO_PCI_ISR_QUEUE 1

enum { BAR_REGISTERS, BAR_NOTIFY };

/* The registers' BAR. */
#define COMMON_OFFSET 0x000
#define ISR_OFFSET 0x100
#define CONFIG_OFFSET 0x200
#define MSIX_OFFSET 0x1000
#define REGISTERS_SIZE 0x2000

#define NOTIFY_SIZE 4

#define FIELD(name) offsetof(struct virtio_pci_common_cfg, name)

static struct virtio_device *to_virtio(struct pci_device *pci)
{
	return container_of(pci, struct virtio_device, pci);
}

static void interrupt(struct virtio_device *dev, u8 isr, u16 vector)
{
	if (msix_enabled(&dev->pci)) {
		msix_raise(&dev->pci, vector);
		return;
	}
	dev->isr |= isr;
	pci_set_intx(&dev->pci, true);
}

static void need_reset(struct virtio_device *dev)
{
	dev->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	if (dev->status & VIRTIO_CONFIG_S_DRIVER_OK)
		interrupt(dev, VIRTIO_PCI_ISR_CONFIG, dev->config_vector);
}

static void init_driver_state(struct virtio_device *dev)
{
	dev->driver_features = 0;
	dev->feature_select = dev->driver_feature_select = 0;
	dev->config_vector = VIRTIO_MSI_NO_VECTOR;
	dev->queue_select = 0;
	dev->isr = 0;
	for (unsigned int i = 0; i < dev->type->nr_queues; i++)
		dev->queues[i] = (struct virtq){ .size = VIRTQ_MAX_SIZE, .vector = VIRTIO_MSI_NO_VECTOR };
}

/*
 * The driver may use its memory for something else afterwards: waits for the request that is in the works. What another
 * vCPU writes in the meantime is lost.
 */
static void reset(struct virtio_device *dev)
{
	dev->status = 0;
	dev->resetting = true;
	while (dev->busy)
		pthread_cond_wait(&dev->idle, &dev->pci.lock);
	dev->resetting = false;
	init_driver_state(dev);
	pci_set_intx(&dev->pci, false);
}

static void write_status(struct virtio_device *dev, u8 status)
{
	if (!status) {
		reset(dev);
		return;
	}
	/* The driver sees by a FEATURES_OK that does not stay that the device cannot work like that. */
	if (dev->driver_features & ~dev->features || !(dev->driver_features & 1ull << VIRTIO_F_VERSION_1))
		status &= ~VIRTIO_CONFIG_S_FEATURES_OK;
	dev->status |= status;
}

static void write_features(struct virtio_device *dev, u32 value)
{
	unsigned int shift = 32 * dev->driver_feature_select;

	if (dev->driver_feature_select > 1 || dev->status & VIRTIO_CONFIG_S_FEATURES_OK)
		return;
	dev->driver_features = (dev->driver_features & ~(0xffffffffull << shift)) | (u64)value << shift;
}

static void enable_queue(struct virtio_device *dev, struct virtq *vq)
{
	vq->event_idx = dev->driver_features & 1ull << VIRTIO_RING_F_EVENT_IDX;
	if (!virtq_start(vq, &dev->pci.vm->memory))
		need_reset(dev);
}

/* The halves of three addresses, one behind the other. */
static void write_address(struct virtq *vq, u64 offset, u32 value)
{
	u64 *const addresses[] = { &vq->desc_gpa, &vq->avail_gpa, &vq->used_gpa };

	offset -= FIELD(queue_desc_lo);
	if (offset % sizeof(value) == 0)
		memcpy((u8 *)addresses[offset / sizeof(u64)] + offset % sizeof(u64), &value, sizeof(value));
}

static u16 valid_vector(struct virtio_device *dev, u16 vector)
{
	return vector < dev->pci.msix.nr_vectors ? vector : VIRTIO_MSI_NO_VECTOR;
}

static void write_queue(struct virtio_device *dev, struct virtq *vq, u64 offset, u32 value)
{
	switch (offset) {
	case FIELD(queue_size):
		if (value && value <= VIRTQ_MAX_SIZE && !(value & (value - 1)))
			vq->size = value;
		break;
	case FIELD(queue_desc_lo)... FIELD(queue_used_hi):
		write_address(vq, offset, value);
		break;
	case FIELD(queue_enable):
		if (value == 1)
			enable_queue(dev, vq);
		break;
	}
}

static struct virtq *selected_queue(struct virtio_device *dev)
{
	return dev->queue_select < dev->type->nr_queues ? &dev->queues[dev->queue_select] : NULL;
}

static void write_common(struct virtio_device *dev, u64 offset, u32 value)
{
	struct virtq *vq = selected_queue(dev);

	if (dev->resetting)
		return;
	switch (offset) {
	case FIELD(device_feature_select):
		dev->feature_select = value;
		break;
	case FIELD(guest_feature_select):
		dev->driver_feature_select = value;
		break;
	case FIELD(guest_feature):
		write_features(dev, value);
		break;
	case FIELD(msix_config):
		dev->config_vector = valid_vector(dev, value);
		break;
	case FIELD(device_status):
		write_status(dev, value);
		break;
	case FIELD(queue_select):
		dev->queue_select = value;
		break;
	case FIELD(queue_msix_vector):
		if (vq)
			vq->vector = valid_vector(dev, value);
		break;
	default:
		/* The addresses of a queue in use stay as they were checked. */
		if (vq && !vq->enabled)
			write_queue(dev, vq, offset, value);
	}
}

static u32 features_word(u64 features, u32 select)
{
	return select > 1 ? 0 : features >> 32 * select;
}

static u32 read_common(struct virtio_device *dev, u64 offset, unsigned int len)
{
	static const struct virtq none;
	const struct virtq *vq = selected_queue(dev) ?: &none;
	struct virtio_pci_common_cfg cfg = {
		.device_feature_select = dev->feature_select,
		.device_feature = features_word(dev->features, dev->feature_select),
		.guest_feature_select = dev->driver_feature_select,
		.guest_feature = features_word(dev->driver_features, dev->driver_feature_select),
		.msix_config = dev->config_vector,
		.num_queues = dev->type->nr_queues,
		.device_status = dev->status,
		.queue_select = dev->queue_select,
		.queue_size = vq->size,
		.queue_msix_vector = vq->vector,
		.queue_enable = vq->enabled,
		.queue_desc_lo = vq->desc_gpa,
		.queue_desc_hi = vq->desc_gpa >> 32,
		.queue_avail_lo = vq->avail_gpa,
		.queue_avail_hi = vq->avail_gpa >> 32,
		.queue_used_lo = vq->used_gpa,
		.queue_used_hi = vq->used_gpa >> 32,
	};
	u32 value = 0;

	memcpy(&value, (u8 *)&cfg + offset, len);
	return value;
}

static u32 read_isr(struct virtio_device *dev)
{
	u8 isr = dev->isr;

	dev->isr = 0;
	pci_set_intx(&dev->pci, false);
	return isr;
}

static bool within(u64 offset, unsigned int len, u64 start, u64 size)
{
	return offset >= start && offset - start + len <= size;
}

static u64 registers_read(struct pci_device *pci, u64 offset, unsigned int len)
{
	struct virtio_device *dev = to_virtio(pci);
	u32 value = 0;

	if (within(offset, len, COMMON_OFFSET, sizeof(struct virtio_pci_common_cfg)))
		return read_common(dev, offset - COMMON_OFFSET, len);
	if (offset == ISR_OFFSET)
		return read_isr(dev);
	if (within(offset, len, CONFIG_OFFSET, dev->config_size))
		memcpy(&value, (u8 *)dev->config + offset - CONFIG_OFFSET, len);
	else if (within(offset, len, MSIX_OFFSET, MSIX_PAGE_SIZE) && len == 4 && offset % 4 == 0)
		value = msix_read(pci, offset - MSIX_OFFSET);
	return value;
}

static void registers_write(struct pci_device *pci, u64 offset, unsigned int len, u64 value)
{
	if (within(offset, len, COMMON_OFFSET, sizeof(struct virtio_pci_common_cfg)))
		write_common(to_virtio(pci), offset - COMMON_OFFSET, value);
	else if (within(offset, len, MSIX_OFFSET, MSIX_PAGE_SIZE) && len == 4 && offset % 4 == 0)
		msix_write(pci, offset - MSIX_OFFSET, value);
}

static u64 notify_read(struct pci_device *pci, u64 offset, unsigned int len)
{
	return 0;
}

static void notify_write(struct pci_device *pci, u64 offset, unsigned int len, u64 value)
{
	eventfd_write(to_virtio(pci)->kick_fd, 1);
}

/* Where it can, the kernel writes the eventfd itself, and the vCPU does not leave it. */
static void notify_moved(struct pci_bar *bar)
{
	struct kvm_ioeventfd ioeventfd = {
		.addr = bar->base,
		.len = 2,
		.fd = to_virtio(bar->dev)->kick_fd,
		.flags = KVM_IOEVENTFD_FLAG_PIO | (bar->mapped ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN),
	};

	if (bar->dev->vm->has_ioeventfd)
		ioctl(bar->dev->vm->fd, KVM_IOEVENTFD, &ioeventfd);
}

/*
 * The register that the window in the configuration space shows, if this access is to the window and what it asks for
 * is a register. Otherwise NULL.
 */
static struct pci_bar *window_target(struct pci_device *pci, unsigned int offset, unsigned int len,
				     struct virtio_pci_cap *cap)
{
	unsigned int window = to_virtio(pci)->window, data = window + sizeof(*cap);
	struct pci_bar *bar;

	if (offset >= data + 4 || data >= offset + len)
		return NULL;
	memcpy(cap, pci->config + window, sizeof(*cap));
	if (cap->bar > BAR_NOTIFY || (cap->length != 1 && cap->length != 2 && cap->length != 4))
		return NULL;
	bar = &pci->bars[cap->bar];
	return cap->offset % cap->length == 0 && within(cap->offset, cap->length, 0, bar->size) ? bar : NULL;
}

static void window_read(struct pci_device *pci, unsigned int offset, unsigned int len)
{
	struct virtio_pci_cap cap;
	struct pci_bar *bar = window_target(pci, offset, len, &cap);
	u32 value;

	if (!bar)
		return;
	value = bar->read(pci, cap.offset, cap.length);
	memcpy(pci->config + to_virtio(pci)->window + sizeof(cap), &value, cap.length);
}

static void window_written(struct pci_device *pci, unsigned int offset, unsigned int len)
{
	struct virtio_pci_cap cap;
	struct pci_bar *bar = window_target(pci, offset, len, &cap);
	u32 value = 0;

	if (!bar)
		return;
	memcpy(&value, pci->config + to_virtio(pci)->window + sizeof(cap), cap.length);
	bar->write(pci, cap.offset, cap.length, value);
}

/* @size: of the capability's structure in linux/virtio_pci.h, of which all beyond the common part is zero at first. */
static u8 add_capability(struct virtio_device *dev, u8 type, u8 bar, u32 offset, u32 length, u8 size)
{
	union {
		struct virtio_pci_cap cap;
		u8 bytes[sizeof(struct virtio_pci_cfg_cap)];
	} body = { .cap = { .cap_len = size, .cfg_type = type, .bar = bar, .offset = offset, .length = length } };

	return pci_add_capability(&dev->pci, PCI_CAP_ID_VNDR, body.bytes + PCI_CAP_FLAGS, size - PCI_CAP_FLAGS);
}

static void add_capabilities(struct virtio_device *dev)
{
	const u8 size = sizeof(struct virtio_pci_cap);

	add_capability(dev, VIRTIO_PCI_CAP_COMMON_CFG, BAR_REGISTERS, COMMON_OFFSET,
		       sizeof(struct virtio_pci_common_cfg), size);
	add_capability(dev, VIRTIO_PCI_CAP_ISR_CFG, BAR_REGISTERS, ISR_OFFSET, 1, size);
	add_capability(dev, VIRTIO_PCI_CAP_DEVICE_CFG, BAR_REGISTERS, CONFIG_OFFSET, dev->config_size, size);
	/* With a multiplier of zero all queues share the one register. */
	add_capability(dev, VIRTIO_PCI_CAP_NOTIFY_CFG, BAR_NOTIFY, 0, NOTIFY_SIZE,
		       sizeof(struct virtio_pci_notify_cap));

	dev->window = add_capability(dev, VIRTIO_PCI_CAP_PCI_CFG, 0, 0, 0, sizeof(struct virtio_pci_cfg_cap));
	dev->pci.writable[dev->window + offsetof(struct virtio_pci_cap, bar)] = 0xff;
	memset(dev->pci.writable + dev->window + offsetof(struct virtio_pci_cap, offset), 0xff,
	       sizeof(struct virtio_pci_cfg_cap) - offsetof(struct virtio_pci_cap, offset));

	if (dev->pci.vm->has_msi)
		msix_init(&dev->pci, dev->type->nr_queues + 1, BAR_REGISTERS, MSIX_OFFSET);
}

/**
 * virtio_init - put a virtio device on the PCI bus
 * @dev: zeroed, but for its configuration and the features of its type
 * @vm: the machine
 * @type: what kind of device it is
 */
void virtio_init(struct virtio_device *dev, struct vm *vm, const struct virtio_type *type)
{
	const struct pci_id id = {
		.vendor = VIRTIO_VENDOR,
		.device = VIRTIO_DEVICE_BASE + type->id,
		.subsystem_vendor = VIRTIO_VENDOR,
		.subsystem = VIRTIO_DEVICE_BASE + type->id,
		.revision = VIRTIO_REVISION,
		.class = type->pci_class,
	};

	dev->type = type;
	dev->features |=
		1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_EVENT_IDX | 1ull << VIRTIO_RING_F_INDIRECT_DESC;
	dev->kick_fd = must(eventfd(0, EFD_CLOEXEC), "create an eventfd");
	pthread_cond_init(&dev->idle, NULL);
	init_driver_state(dev);

	pci_device_init(&dev->pci, vm, &id);
	dev->pci.bars[BAR_REGISTERS] = (struct pci_bar){
		.size = REGISTERS_SIZE,
		.width = 4,
		.read = registers_read,
		.write = registers_write,
	};
	dev->pci.bars[BAR_NOTIFY] = (struct pci_bar){
		.size = NOTIFY_SIZE,
		.io = true,
		.width = 4,
		.read = notify_read,
		.write = notify_write,
		.moved = notify_moved,
	};
	dev->pci.config_read = window_read;
	dev->pci.config_written = window_written;
	add_capabilities(dev);
	pci_plug(&dev->pci);
}

static bool ready(const struct virtio_device *dev, const struct virtq *vq)
{
	return dev->status & VIRTIO_CONFIG_S_DRIVER_OK && !(dev->status & VIRTIO_CONFIG_S_NEEDS_RESET) && vq->enabled;
}

static void complain(struct virtio_device *dev)
{
	if (!dev->complained)
		error("the guest broke the queue of PCI device %u, which does nothing more until the guest resets it",
		      dev->pci.slot);
	dev->complained = true;
}

/* Takes a request, if there is one. Without one, the driver has been asked for a notification. */
static bool take(struct virtio_device *dev, struct virtq *vq, struct virtq_chain *chain)
{
	while (ready(dev, vq)) {
		switch (virtq_pop(vq, chain)) {
		case VIRTQ_CHAIN:
			return true;
		case VIRTQ_BROKEN:
			complain(dev);
			need_reset(dev);
			return false;
		case VIRTQ_EMPTY:
			if (virtq_wait(vq))
				return false;
		}
	}
	return false;
}

/**
 * virtio_serve - carry out what is in a queue, until it is empty
 * @dev: the device
 * @vq: one of its queues
 * @request: carries one request out, with the device unlocked; returns how many bytes it wrote to the chain's buffers
 *
 * One interrupt tells of all of them. The driver cannot wait for it in vain: it has no more requests than the queue has
 * room for.
 */
void virtio_serve(struct virtio_device *dev, struct virtq *vq,
		  u32 (*request)(struct virtio_device *dev, struct virtq_chain *chain))
{
	struct virtq_chain chain;

	pthread_mutex_lock(&dev->pci.lock);
	while (take(dev, vq, &chain)) {
		u32 written;

		dev->busy = true;
		pthread_mutex_unlock(&dev->pci.lock);
		written = request(dev, &chain);
		pthread_mutex_lock(&dev->pci.lock);
		dev->busy = false;
		pthread_cond_broadcast(&dev->idle);
		if (vq->enabled)
			virtq_push(vq, chain.head, written);
	}
	if (vq->enabled && virtq_must_interrupt(vq))
		interrupt(dev, VIRTIO_PCI_ISR_QUEUE, vq->vector);
	pthread_mutex_unlock(&dev->pci.lock);
}
