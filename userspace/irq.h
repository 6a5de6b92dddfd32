/* SPDX-License-Identifier: GPL-2.0 */
#ifndef PITH_IRQ_H
#define PITH_IRQ_H

#include "util.h"

struct vm;

#define IRQ_COM1 4
#define IRQ_SCI 9
/* I/O APIC inputs from here on are the PCI slots'; dsdt.asl says so too. */
#define IRQ_PCI_BASE 16
#define IRQ_PCI_COUNT 8

void irq_set_line(struct vm *vm, unsigned int gsi, bool level);
void irq_set_intx(struct vm *vm, unsigned int slot, bool level);
void irq_send_msi(struct vm *vm, u64 addr, u32 data);

#endif
