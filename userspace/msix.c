// SPDX-License-Identifier: GPL-2.0
/*
 * MSI-X. Source: PCI Local Bus Specification 3.0, chapter 6.8.2.
 */
#include <linux/pci_regs.h>
#include <string.h>

#include "irq.h"
#include "pci.h"

enum { ENTRY_ADDR_LOW, ENTRY_ADDR_HIGH, ENTRY_DATA, ENTRY_CONTROL };

static u16 flags(const struct pci_device *dev)
{
	u16 value;

	memcpy(&value, dev->config + dev->msix.capability + PCI_MSIX_FLAGS, sizeof(value));
	return value;
}

static bool masked(const struct pci_device *dev, unsigned int vector)
{
	return flags(dev) & PCI_MSIX_FLAGS_MASKALL ||
	       dev->msix.table[vector][ENTRY_CONTROL] & PCI_MSIX_ENTRY_CTRL_MASKBIT;
}

/**
 * msix_init - let a device have MSI-X
 * @dev: the device
 * @nr_vectors: its vectors, at most MSIX_MAX_VECTORS
 * @bar: which BAR shows the table and the pending bits
 * @offset: where in that BAR; MSIX_PAGE_SIZE bytes
 */
void msix_init(struct pci_device *dev, unsigned int nr_vectors, unsigned int bar, u32 offset)
{
	struct {
		u16 flags;
		u32 table;
		u32 pba;
	} __attribute__((packed)) body = { nr_vectors - 1, offset | bar, (offset + MSIX_PBA_OFFSET) | bar };
	struct msix *msix = &dev->msix;

	msix->nr_vectors = nr_vectors;
	for (unsigned int i = 0; i < nr_vectors; i++)
		msix->table[i][ENTRY_CONTROL] = PCI_MSIX_ENTRY_CTRL_MASKBIT;
	msix->capability = pci_add_capability(dev, PCI_CAP_ID_MSIX, &body, sizeof(body));
	dev->writable[msix->capability + PCI_MSIX_FLAGS + 1] = (PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL) >> 8;
}

/**
 * msix_enabled - whether the guest has chosen MSI-X over INTA#
 * @dev: the device, locked
 */
bool msix_enabled(const struct pci_device *dev)
{
	return dev->msix.capability && flags(dev) & PCI_MSIX_FLAGS_ENABLE;
}

/**
 * msix_read - read four bytes of the MSI-X page
 * @dev: the device, locked
 * @offset: into the page, a multiple of four
 */
u64 msix_read(struct pci_device *dev, u64 offset)
{
	struct msix *msix = &dev->msix;

	if (offset < msix->nr_vectors * sizeof(msix->table[0]))
		return msix->table[offset / 16][offset / 4 % 4];
	return offset == MSIX_PBA_OFFSET ? msix->pending : 0;
}

/**
 * msix_write - write four bytes of the MSI-X page
 * @dev: the device, locked
 * @offset: into the page, a multiple of four
 * @value: what to write
 */
void msix_write(struct pci_device *dev, u64 offset, u32 value)
{
	struct msix *msix = &dev->msix;

	if (offset >= msix->nr_vectors * sizeof(msix->table[0]))
		return;
	msix->table[offset / 16][offset / 4 % 4] = value;
	msix_send_pending(dev);
}

/**
 * msix_raise - send a vector's message, or keep it pending while it is masked
 * @dev: the device, locked, with MSI-X enabled
 * @vector: any value; one that does not exist is ignored
 */
void msix_raise(struct pci_device *dev, unsigned int vector)
{
	struct msix *msix = &dev->msix;
	u32 *entry;

	if (vector >= msix->nr_vectors)
		return;
	msix->pending |= 1ull << vector;
	if (masked(dev, vector))
		return;
	msix->pending &= ~(1ull << vector);
	entry = msix->table[vector];
	irq_send_msi(dev->vm, (u64)entry[ENTRY_ADDR_HIGH] << 32 | entry[ENTRY_ADDR_LOW], entry[ENTRY_DATA]);
}

/**
 * msix_send_pending - send what waits, if the guest has just let it
 * @dev: the device, locked
 */
void msix_send_pending(struct pci_device *dev)
{
	if (!msix_enabled(dev))
		return;
	for (unsigned int i = 0; i < dev->msix.nr_vectors; i++) {
		if (dev->msix.pending & 1ull << i)
			msix_raise(dev, i);
	}
}
