/* SPDX-License-Identifier: GPL-2.0 */
#ifndef PITH_POWER_H
#define PITH_POWER_H

#include "util.h"

struct vm;

/* ACPI's fixed hardware: the registers that the FADT names. */
#define PM1A_EVENT_PORT 0x600
#define PM1A_EVENT_SIZE 4
#define PM1A_CONTROL_PORT 0x604
#define PM1A_CONTROL_SIZE 2

/* The reset control register; its address is one of PCI's configuration ports. */
#define RESET_PORT 0xcf9
#define RESET_CPU 0x04
#define RESET_SYSTEM 0x02

void power_init(struct vm *vm);

#endif
