// SPDX-License-Identifier: GPL-2.0
/*
 * The ways to the interrupt controllers' registers: the guest's by port and by memory, the client's by ioctl.
 */
#include <linux/mm.h>

#include "internal.h"

/* -- the guest --------------------------------------------------------------------------------------------------- */

static bool is_pit_port(const struct irqchip *chip, u16 port)
{
	return irqchip_has_pit(chip) && (pit_claims(port) || (port == PIT_PORT_SPEAKER && chip->has_speaker));
}

static bool is_port(const struct irqchip *chip, u16 port)
{
	return irqchip_whole(chip) && (pic_claims(port) || is_pit_port(chip, port));
}

/*
 * Registers are bytes. A wider access to the PIC means nothing; of one to the PIT the lowest byte counts, as in KVM.
 * Apart from the callers: ports of the client are the many, and pay for no more than the question whose they are.
 */
static noinline void read_port(struct irqchip *chip, u16 port, unsigned int size, u32 *value)
{
	unsigned long flags = irqchip_lock(chip);

	if (!pic_claims(port))
		*value = pit_port_read(&chip->pit, port);
	else
		*value = size == 1 ? pic_port_read(&chip->pic, port) : 0;
	irqchip_unlock(chip, flags);
}

static noinline void write_port(struct irqchip *chip, u16 port, unsigned int size, u32 value)
{
	unsigned long flags = irqchip_lock(chip);

	if (!pic_claims(port))
		pit_port_write(&chip->pit, port, value);
	else if (size == 1)
		pic_port_write(&chip->pic, port, value);
	irqchip_unlock(chip, flags);
}

bool irq_pio_read(struct vcpu *vcpu, u16 port, unsigned int size, u32 *value)
{
	struct irqchip *chip = vcpu->vm->irqchip;

	if (!is_port(chip, port))
		return false;
	read_port(chip, port, size, value);
	return true;
}

bool irq_pio_write(struct vcpu *vcpu, u16 port, unsigned int size, u32 value)
{
	struct irqchip *chip = vcpu->vm->irqchip;

	if (!is_port(chip, port))
		return false;
	write_port(chip, port, size, value);
	return true;
}

/* Instructions that cross pages come in pieces of any length: of those no register takes note. */
static bool is_register_size(unsigned int len)
{
	return len <= sizeof(u64) && is_power_of_2(len);
}

static void ioapic_read(struct irqchip *chip, u64 gpa, unsigned int len, void *data)
{
	unsigned long flags = irqchip_lock(chip);

	ioapic_mmio_read(&chip->ioapic, gpa - chip->ioapic.base, data, len);
	irqchip_unlock(chip, flags);
}

static void ioapic_write(struct irqchip *chip, u64 gpa, unsigned int len, const void *data)
{
	unsigned long flags = irqchip_lock(chip);

	ioapic_mmio_write(&chip->ioapic, gpa - chip->ioapic.base, data, len);
	irqchip_unlock(chip, flags);
}

/* At the address of a local APIC that is off or in x2APIC mode nobody answers, not even the client, as in KVM. */
static bool is_lapic_page(const struct lapic *lapic, u64 gpa)
{
	return gpa >> PAGE_SHIFT == lapic->base >> PAGE_SHIFT;
}

static bool is_ioapic(const struct irqchip *chip, u64 gpa)
{
	return !chip->split && ioapic_claims(&chip->ioapic, gpa);
}

static bool is_register(struct vcpu *vcpu, u64 gpa)
{
	const struct irqchip *chip = vcpu->vm->irqchip;

	return chip && (is_lapic_page(vcpu->lapic, gpa) || is_ioapic(chip, gpa));
}

/* Apart from the callers, like ports: registers of the client's devices are the many. */
static noinline void read_register(struct vcpu *vcpu, u64 gpa, unsigned int len, void *data)
{
	struct irqchip *chip = vcpu->vm->irqchip;

	memset(data, 0xff, len);
	if (!is_register_size(len))
		return;
	irq_pv_eoi_sync_atomic(vcpu, true);
	if (unlikely(test_bit(REQ_VAPIC, &vcpu->requests)))
		irq_vapic_read(vcpu);
	if (lapic_claims(vcpu->lapic, gpa))
		lapic_mmio_read(vcpu->lapic, offset_in_page(gpa), data, len);
	else if (is_ioapic(chip, gpa))
		ioapic_read(chip, gpa, len, data);
}

static noinline void write_register(struct vcpu *vcpu, u64 gpa, unsigned int len, const void *data)
{
	struct irqchip *chip = vcpu->vm->irqchip;

	if (!is_register_size(len))
		return;
	if (lapic_claims(vcpu->lapic, gpa)) {
		lapic_mmio_write(vcpu->lapic, offset_in_page(gpa), data, len);
		irq_look(vcpu);
	} else if (is_ioapic(chip, gpa)) {
		ioapic_write(chip, gpa, len, data);
	}
}

bool irq_mmio_read(struct vcpu *vcpu, u64 gpa, unsigned int len, void *data)
{
	if (!is_register(vcpu, gpa))
		return false;
	read_register(vcpu, gpa, len, data);
	return true;
}

bool irq_mmio_write(struct vcpu *vcpu, u64 gpa, unsigned int len, const void *data)
{
	if (!is_register(vcpu, gpa))
		return false;
	write_register(vcpu, gpa, len, data);
	return true;
}

/* -- the client -------------------------------------------------------------------------------------------------- */

static int get_chip(struct irqchip *chip, struct kvm_irqchip *state)
{
	switch (state->chip_id) {
	case KVM_IRQCHIP_PIC_MASTER:
		pic_get_state(&chip->pic, PIC_MASTER, &state->chip.pic);
		return 0;
	case KVM_IRQCHIP_PIC_SLAVE:
		pic_get_state(&chip->pic, PIC_SLAVE, &state->chip.pic);
		return 0;
	case KVM_IRQCHIP_IOAPIC:
		ioapic_get_state(&chip->ioapic, &state->chip.ioapic);
		return 0;
	default:
		return -EINVAL;
	}
}

static int set_chip(struct irqchip *chip, const struct kvm_irqchip *state)
{
	switch (state->chip_id) {
	case KVM_IRQCHIP_PIC_MASTER:
		pic_set_state(&chip->pic, PIC_MASTER, &state->chip.pic);
		return 0;
	case KVM_IRQCHIP_PIC_SLAVE:
		pic_set_state(&chip->pic, PIC_SLAVE, &state->chip.pic);
		return 0;
	case KVM_IRQCHIP_IOAPIC:
		ioapic_set_state(&chip->ioapic, &state->chip.ioapic);
		return 0;
	default:
		return -EINVAL;
	}
}

int irqchip_get(struct vm *vm, struct kvm_irqchip *state)
{
	struct irqchip *chip = vm_irqchip(vm);
	unsigned long flags;
	int error;

	if (!irqchip_whole(chip))
		return -ENXIO;
	flags = irqchip_lock(chip);
	error = get_chip(chip, state);
	irqchip_unlock(chip, flags);
	return error;
}

int irqchip_set(struct vm *vm, const struct kvm_irqchip *state)
{
	struct irqchip *chip = vm_irqchip(vm);
	unsigned long flags;
	int error;

	if (!irqchip_whole(chip))
		return -ENXIO;
	flags = irqchip_lock(chip);
	error = set_chip(chip, state);
	irqchip_unlock(chip, flags);
	return error;
}

int irqchip_get_pit(struct vm *vm, struct kvm_pit_state2 *state)
{
	struct irqchip *chip = vm_irqchip(vm);
	unsigned long flags;

	if (!irqchip_has_pit(chip))
		return -ENXIO;
	flags = irqchip_lock(chip);
	pit_get_state(&chip->pit, state);
	irqchip_unlock(chip, flags);
	return 0;
}

int irqchip_set_pit(struct vm *vm, const struct kvm_pit_state2 *state)
{
	struct irqchip *chip = vm_irqchip(vm);
	unsigned long flags;
	int error;

	if (!irqchip_has_pit(chip))
		return -ENXIO;
	flags = irqchip_lock(chip);
	error = pit_set_state(&chip->pit, state);
	irqchip_unlock(chip, flags);
	return error;
}

int irqchip_reinject(struct vm *vm, const struct kvm_reinject_control *control)
{
	struct irqchip *chip = vm_irqchip(vm);
	unsigned long flags;

	if (!irqchip_has_pit(chip))
		return -ENXIO;
	flags = irqchip_lock(chip);
	pit_set_reinject(&chip->pit, control->pit_reinject);
	irqchip_unlock(chip, flags);
	return 0;
}

/* What is there now and what comes later both take note: the client may ask for this before it makes the chips. */
int irq_x2apic_api(struct vm *vm, const u64 args[4])
{
	if (args[0] & ~(u64)IRQ_X2APIC_API_FLAGS)
		return -EINVAL;
	WRITE_ONCE(vm->x2apic_api, vm->x2apic_api | args[0]);
	return 0;
}
