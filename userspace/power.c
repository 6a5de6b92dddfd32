// SPDX-License-Identifier: GPL-2.0
/*
 * How a guest ends: ACPI's soft off, and the keyboard controller's reset line, all there is of that controller.
 * (The third way, the reset control register, is in pci.c, since its port is one of PCI's.)
 */
#include "power.h"

#include "vm.h"

#define I8042_COMMAND_PORT 0x64
#define I8042_PULSE_RESET 0xfe

/* ACPI 6, "PM1 Control Registers" and "PM1 Event Grouping" */
#define PM1_SCI_EN (1 << 0)
#define PM1_SLP_TYP(control) ((control) >> 10 & 7)
#define PM1_SLP_EN (1 << 13)
#define PM1_ENABLE 2 /* offset of the enable register in the event block */

/* What \_S5 in dsdt.asl says. */
#define SLP_TYP_S5 5

struct power {
	struct vm *vm;
	u16 enable;
};

/* There are no fixed events: the status is always clear, the enable bits are only kept. */
static u64 event_read(void *dev, u64 offset, unsigned int len)
{
	struct power *power = dev;

	return offset == PM1_ENABLE ? power->enable : 0;
}

static void event_write(void *dev, u64 offset, unsigned int len, u64 value)
{
	struct power *power = dev;

	if (offset == PM1_ENABLE)
		power->enable = value;
}

static u64 control_read(void *dev, u64 offset, unsigned int len)
{
	return PM1_SCI_EN;
}

static void control_write(void *dev, u64 offset, unsigned int len, u64 value)
{
	struct power *power = dev;

	if (value & PM1_SLP_EN && PM1_SLP_TYP(value) == SLP_TYP_S5)
		vm_stop(power->vm, STATUS_OK);
}

/* Status: both buffers empty, nothing to wait for. */
static u64 i8042_read(void *dev, u64 offset, unsigned int len)
{
	return 0;
}

static void i8042_write(void *dev, u64 offset, unsigned int len, u64 value)
{
	struct power *power = dev;

	if (value == I8042_PULSE_RESET)
		vm_stop(power->vm, STATUS_OK);
}

/**
 * power_init - put the power management registers on the board
 * @vm: the machine
 */
void power_init(struct vm *vm)
{
	static struct power power;
	static const struct region regions[] = {
		{ PM1A_EVENT_PORT, PM1A_EVENT_SIZE, 2, event_read, event_write, &power },
		{ PM1A_CONTROL_PORT, PM1A_CONTROL_SIZE, 2, control_read, control_write, &power },
		{ I8042_COMMAND_PORT, 1, 1, i8042_read, i8042_write, &power },
	};

	power.vm = vm;
	for (unsigned int i = 0; i < ARRAY_SIZE(regions); i++)
		bus_add(&vm->pio, &regions[i]);
}
