/* SPDX-License-Identifier: GPL-2.0 */
#ifndef PITH_PCI_H
#define PITH_PCI_H

#include <pthread.h>

#include "util.h"

#define PCI_CONFIG_SIZE 256
#define PCI_NR_BARS 6

struct pci_device;
struct vm;

/* A window to a device's registers. The callbacks hold the device's lock. */
struct pci_bar {
	u32 size; /* a power of two; zero: there is no such window */
	bool io;
	unsigned int width; /* as in struct region */
	u64 (*read)(struct pci_device *dev, u64 offset, unsigned int len);
	void (*write)(struct pci_device *dev, u64 offset, unsigned int len, u64 value);
	void (*moved)(struct pci_bar *bar); /* optional: after @mapped or @base has changed */
	struct pci_device *dev;
	bool mapped;
	u32 base;
};

/* MSI-X: the table and the pending bits, one page that the device shows in a BAR. */
#define MSIX_MAX_VECTORS 8
#define MSIX_PAGE_SIZE 4096
#define MSIX_PBA_OFFSET 2048

struct msix {
	u8 capability; /* where in the configuration space; zero: there is none */
	unsigned int nr_vectors;
	u32 table[MSIX_MAX_VECTORS][4];
	u64 pending;
};

struct pci_device {
	pthread_mutex_t lock; /* of everything about the device */
	struct vm *vm;
	unsigned int slot;
	u8 config[PCI_CONFIG_SIZE];
	u8 writable[PCI_CONFIG_SIZE]; /* the bits of @config that the guest may change */
	u8 last_capability, next_capability;
	struct pci_bar bars[PCI_NR_BARS];
	struct msix msix;
	bool intx;
	/* Optional: the guest is about to read, or has written, this part of the configuration space. */
	void (*config_read)(struct pci_device *dev, unsigned int offset, unsigned int len);
	void (*config_written)(struct pci_device *dev, unsigned int offset, unsigned int len);
};

/* Base class, subclass, programming interface. */
#define PCI_HOST_BRIDGE 0x060000
#define PCI_MASS_STORAGE 0x018000

struct pci_id {
	u16 vendor, device, subsystem_vendor, subsystem;
	u8 revision;
	u32 class;
};

void pci_init(struct vm *vm);
void pci_device_init(struct pci_device *dev, struct vm *vm, const struct pci_id *id);
u8 pci_add_capability(struct pci_device *dev, u8 id, const void *body, u8 size);
void pci_plug(struct pci_device *dev);
void pci_set_intx(struct pci_device *dev, bool level);

void msix_init(struct pci_device *dev, unsigned int nr_vectors, unsigned int bar, u32 offset);
bool msix_enabled(const struct pci_device *dev);
u64 msix_read(struct pci_device *dev, u64 offset);
void msix_write(struct pci_device *dev, u64 offset, u32 value);
void msix_raise(struct pci_device *dev, unsigned int vector);
void msix_send_pending(struct pci_device *dev);

#endif
