// SPDX-License-Identifier: GPL-2.0
/*
 * PCI bus 0: the host bridge with configuration mechanism #1, configuration spaces, and address decoding.
 * Source: PCI Local Bus Specification 3.0, chapters 3.2.2.3 and 6.
 */
#include "pci.h"

#include <linux/pci_regs.h>
#include <string.h>

#include "irq.h"
#include "power.h"
#include "vm.h"

#define CONFIG_PORT 0xcf8
#define CONFIG_DATA 4 /* offset of CONFIG_DATA to CONFIG_ADDRESS */
#define CONFIG_ENABLE (1u << 31)

/* Where the runner, in a firmware's place, puts the BARs; within the windows that dsdt.asl gives the root bridge. */
#define BAR_MEMORY_BASE 0xc0000000u
#define BAR_IO_BASE 0x1000u

#define NR_SLOTS 32

struct pci_host {
	struct vm *vm;
	pthread_mutex_t lock;
	u32 address;
	u8 reset;
	unsigned int nr_devices;
	struct pci_device *devices[NR_SLOTS];
	u32 free_memory, free_io;
};

static struct pci_host host = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.free_memory = BAR_MEMORY_BASE,
	.free_io = BAR_IO_BASE,
};

static u16 get16(const u8 *config)
{
	return config[0] | config[1] << 8;
}

static u32 get32(const u8 *config)
{
	return get16(config) | (u32)get16(config + 2) << 16;
}

static void put(u8 *config, u32 value, unsigned int len)
{
	memcpy(config, &value, len);
}

static u64 bar_read(void *opaque, u64 offset, unsigned int len)
{
	struct pci_bar *bar = opaque;
	u64 value;

	pthread_mutex_lock(&bar->dev->lock);
	value = bar->read(bar->dev, offset, len);
	pthread_mutex_unlock(&bar->dev->lock);
	return value;
}

static void bar_write(void *opaque, u64 offset, unsigned int len, u64 value)
{
	struct pci_bar *bar = opaque;

	pthread_mutex_lock(&bar->dev->lock);
	bar->write(bar->dev, offset, len, value);
	pthread_mutex_unlock(&bar->dev->lock);
}

static void unmap_bar(struct pci_bar *bar, struct bus *bus)
{
	bus_remove(bus, bar->base);
	bar->mapped = false;
	if (bar->moved)
		bar->moved(bar);
}

static void map_bar(struct pci_bar *bar, struct bus *bus, u32 base)
{
	struct region region = {
		.base = base,
		.size = bar->size,
		.width = bar->width,
		.read = bar_read,
		.write = bar_write,
		.dev = bar,
	};

	bar->base = base;
	bar->mapped = bus_add(bus, &region);
	if (bar->mapped && bar->moved)
		bar->moved(bar);
}

/* Lets a BAR answer where, and only if, its configuration space says now. */
static void update_bar(struct pci_device *dev, unsigned int index)
{
	struct pci_bar *bar = &dev->bars[index];
	struct bus *bus = bar->io ? &dev->vm->pio : &dev->vm->mmio;
	u32 base = get32(dev->config + PCI_BASE_ADDRESS_0 + 4 * index) & -bar->size;
	u16 decodes = get16(dev->config + PCI_COMMAND) & (bar->io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY);

	if (!bar->size || (bar->mapped && decodes && bar->base == base))
		return;
	if (bar->mapped)
		unmap_bar(bar, bus);
	if (decodes)
		map_bar(bar, bus, base);
}

static void update_intx(struct pci_device *dev)
{
	u16 command = get16(dev->config + PCI_COMMAND);

	dev->config[PCI_STATUS] &= ~PCI_STATUS_INTERRUPT;
	dev->config[PCI_STATUS] |= dev->intx ? PCI_STATUS_INTERRUPT : 0;
	irq_set_intx(dev->vm, dev->slot, dev->intx && !(command & PCI_COMMAND_INTX_DISABLE));
}

static void config_write(struct pci_device *dev, unsigned int offset, unsigned int len, u32 value)
{
	u16 command = get16(dev->config + PCI_COMMAND);

	for (unsigned int i = 0; i < len; i++) {
		u8 mask = dev->writable[offset + i];

		dev->config[offset + i] = (dev->config[offset + i] & ~mask) | (value >> 8 * i & mask);
	}
	for (unsigned int i = 0; i < PCI_NR_BARS; i++)
		update_bar(dev, i);
	if ((command ^ get16(dev->config + PCI_COMMAND)) & PCI_COMMAND_INTX_DISABLE)
		update_intx(dev);
	msix_send_pending(dev);
	if (dev->config_written)
		dev->config_written(dev, offset, len);
}

static u32 config_read(struct pci_device *dev, unsigned int offset, unsigned int len)
{
	u32 value = 0;

	if (dev->config_read)
		dev->config_read(dev, offset, len);
	memcpy(&value, dev->config + offset, len);
	return value;
}

/* The device that CONFIG_ADDRESS points to, and where in its configuration space; NULL if there is none. */
static struct pci_device *addressed(u64 port_offset, unsigned int *offset)
{
	unsigned int bus = host.address >> 16 & 0xff, slot = host.address >> 11 & 0x1f,
		     function = host.address >> 8 & 7;

	*offset = (host.address & 0xfc) + port_offset - CONFIG_DATA;
	return host.address & CONFIG_ENABLE && !bus && !function ? host.devices[slot] : NULL;
}

static u64 host_read(void *opaque, u64 offset, unsigned int len)
{
	struct pci_device *dev = NULL;
	unsigned int config_offset;
	u64 value = ~0ull;

	pthread_mutex_lock(&host.lock);
	if (offset == 0 && len == 4)
		value = host.address;
	else if (offset == RESET_PORT - CONFIG_PORT && len == 1)
		value = host.reset;
	else if (offset >= CONFIG_DATA)
		dev = addressed(offset, &config_offset);
	pthread_mutex_unlock(&host.lock);

	if (dev) {
		pthread_mutex_lock(&dev->lock);
		value = config_read(dev, config_offset, len);
		pthread_mutex_unlock(&dev->lock);
	}
	return value;
}

/* Source: Intel PCH data sheets, "Reset Control Register". */
static void write_reset(u8 value)
{
	host.reset = value & ~RESET_CPU;
	if (value & RESET_CPU)
		vm_stop(host.vm, STATUS_OK);
}

static void host_write(void *opaque, u64 offset, unsigned int len, u64 value)
{
	struct pci_device *dev = NULL;
	unsigned int config_offset;

	pthread_mutex_lock(&host.lock);
	if (offset == 0 && len == 4)
		host.address = value;
	else if (offset == RESET_PORT - CONFIG_PORT && len == 1)
		write_reset(value);
	else if (offset >= CONFIG_DATA)
		dev = addressed(offset, &config_offset);
	pthread_mutex_unlock(&host.lock);

	if (dev) {
		pthread_mutex_lock(&dev->lock);
		config_write(dev, config_offset, len, value);
		pthread_mutex_unlock(&dev->lock);
	}
}

/**
 * pci_init - put the host bridge on the board
 * @vm: the machine
 */
void pci_init(struct vm *vm)
{
	static const struct pci_id id = { .vendor = 0x8086, .device = 0x0d57, .class = PCI_HOST_BRIDGE };
	static struct pci_device bridge;
	struct region region = {
		.base = CONFIG_PORT,
		.size = 8,
		.width = 4,
		.read = host_read,
		.write = host_write,
	};

	host.vm = vm;
	bus_add(&vm->pio, &region);
	pci_device_init(&bridge, vm, &id);
	pci_plug(&bridge);
}

/**
 * pci_device_init - give a device its configuration space
 * @dev: zeroed
 * @vm: the machine
 * @id: who the device says it is
 */
void pci_device_init(struct pci_device *dev, struct vm *vm, const struct pci_id *id)
{
	pthread_mutex_init(&dev->lock, NULL);
	dev->vm = vm;
	dev->next_capability = PCI_STD_HEADER_SIZEOF;
	put(dev->config + PCI_VENDOR_ID, id->vendor, 2);
	put(dev->config + PCI_DEVICE_ID, id->device, 2);
	put(dev->config + PCI_CLASS_REVISION, id->class << 8 | id->revision, 4);
	put(dev->config + PCI_SUBSYSTEM_VENDOR_ID, id->subsystem_vendor, 2);
	put(dev->config + PCI_SUBSYSTEM_ID, id->subsystem, 2);
	put(dev->writable + PCI_COMMAND,
	    PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE, 2);
	dev->writable[PCI_CACHE_LINE_SIZE] = 0xff;
	dev->writable[PCI_INTERRUPT_LINE] = 0xff;
}

/**
 * pci_add_capability - append to a device's capability list
 * @dev: the device
 * @id: PCI_CAP_ID_*
 * @body: the capability from its third byte on
 * @size: bytes of @body
 *
 * Return: where in the configuration space the capability begins.
 */
u8 pci_add_capability(struct pci_device *dev, u8 id, const void *body, u8 size)
{
	u8 offset = dev->next_capability;

	dev->config[dev->last_capability ? dev->last_capability + PCI_CAP_LIST_NEXT : PCI_CAPABILITY_LIST] = offset;
	dev->config[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
	dev->config[offset + PCI_CAP_LIST_ID] = id;
	memcpy(dev->config + offset + PCI_CAP_FLAGS, body, size);
	dev->last_capability = offset;
	dev->next_capability = ALIGN_UP(offset + PCI_CAP_FLAGS + size, 4);
	return offset;
}

static void place_bar(struct pci_device *dev, unsigned int index)
{
	struct pci_bar *bar = &dev->bars[index];
	u32 *free = bar->io ? &host.free_io : &host.free_memory;
	u32 base = ALIGN_UP(*free, bar->size);

	bar->dev = dev;
	*free = base + bar->size;
	put(dev->config + PCI_BASE_ADDRESS_0 + 4 * index, base | (bar->io ? PCI_BASE_ADDRESS_SPACE_IO : 0), 4);
	put(dev->writable + PCI_BASE_ADDRESS_0 + 4 * index, -bar->size, 4);
}

/**
 * pci_plug - put a device on the bus
 * @dev: ready to use
 */
void pci_plug(struct pci_device *dev)
{
	if (host.nr_devices == NR_SLOTS)
		die("there are more devices than the %d slots of the PCI bus", NR_SLOTS);
	dev->slot = host.nr_devices++;
	host.devices[dev->slot] = dev;
	if (dev->slot) {
		dev->config[PCI_INTERRUPT_PIN] = 1;
		dev->config[PCI_INTERRUPT_LINE] = IRQ_PCI_BASE + dev->slot % IRQ_PCI_COUNT;
	}
	for (unsigned int i = 0; i < PCI_NR_BARS; i++) {
		if (dev->bars[i].size)
			place_bar(dev, i);
	}
}

/**
 * pci_set_intx - set the level of a device's INTA#
 * @dev: the device, locked
 * @level: asserted or not
 */
void pci_set_intx(struct pci_device *dev, bool level)
{
	if (level == dev->intx)
		return;
	dev->intx = level;
	update_intx(dev);
}
