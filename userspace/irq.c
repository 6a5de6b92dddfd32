// SPDX-License-Identifier: GPL-2.0
/*
 * Interrupts on their way from a device of the runner to the interrupt controllers in the kernel.
 *
 * KVM_SIGNAL_MSI costs one system call, and so would a write to an irqfd: the latter pays off only for devices that are
 * in the kernel too.
 */
#include "irq.h"

#include <errno.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vm.h"

/**
 * irq_set_line - set the level of an interrupt line
 * @vm: the machine
 * @gsi: the line
 * @level: asserted or not
 */
void irq_set_line(struct vm *vm, unsigned int gsi, bool level)
{
	struct kvm_irq_level line = { .irq = gsi, .level = level };

	if (ioctl(vm->fd, KVM_IRQ_LINE, &line) < 0) {
		error("cannot set interrupt line %u: %s", gsi, strerror(errno));
		vm_stop(vm, STATUS_ERROR);
	}
}

/**
 * irq_set_intx - set the level of a PCI slot's INTA#
 * @vm: the machine
 * @slot: device number on bus 0
 * @level: asserted or not
 *
 * Slots share lines: a line is asserted while any of its slots asserts it.
 */
void irq_set_intx(struct vm *vm, unsigned int slot, bool level)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static u32 asserted[IRQ_PCI_COUNT];
	unsigned int line = slot % IRQ_PCI_COUNT;

	pthread_mutex_lock(&lock);
	if (level)
		asserted[line] |= 1u << slot;
	else
		asserted[line] &= ~(1u << slot);
	irq_set_line(vm, IRQ_PCI_BASE + line, asserted[line]);
	pthread_mutex_unlock(&lock);
}

/**
 * irq_send_msi - send a message-signalled interrupt
 * @vm: the machine
 * @addr: the message's address, of the guest's choice
 * @data: its data, of the guest's choice
 *
 * A message that goes nowhere is the guest's own loss, so the result is nobody's concern.
 */
void irq_send_msi(struct vm *vm, u64 addr, u32 data)
{
	struct kvm_msi msi = { .address_lo = addr, .address_hi = addr >> 32, .data = data };

	ioctl(vm->fd, KVM_SIGNAL_MSI, &msi);
}
