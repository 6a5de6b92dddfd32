// SPDX-License-Identifier: GPL-2.0
/*
 * Where a GSI (global system interrupt, the client's number of an interrupt) goes: to pins of the chips, or out as a
 * message. A table is never changed: a new one takes its place, and the old one is freed when nobody looks into it.
 */
#include <linux/mm.h>
#include <linux/nospec.h>
#include <linux/slab.h>

#include "internal.h"

#define NO_GSI (-1)

/**
 * struct route - where one GSI goes
 * @type: KVM_IRQ_ROUTING_IRQCHIP, KVM_IRQ_ROUTING_MSI, or 0: nowhere
 * @chips: which of KVM_IRQCHIP_PIC_MASTER to KVM_IRQCHIP_IOAPIC have a pin of it, a bit each
 * @pin: indexed likewise; of the PICs it is the line of the pair
 * @msi: the message
 */
struct route {
	u32 type;
	union {
		struct {
			u8 chips;
			u8 pin[KVM_NR_IRQCHIPS];
		};
		struct {
			u32 address_lo;
			u32 address_hi;
			u32 data;
		} msi;
	};
};

/**
 * struct routing - the routes of all GSIs, and the way back
 * @ioapic_gsi: of each pin: the GSI routed to it, or NO_GSI
 * @pic_gsi: of each line: likewise
 * @nr: length of @routes
 * @routes: indexed by GSI
 */
struct routing {
	s16 ioapic_gsi[IOAPIC_PINS];
	s16 pic_gsi[PIC_LINES];
	u32 nr;
	struct route routes[];
};

/* -- lookups; in chip->srcu ---------------------------------------------------------------------------------- */

static const struct routing *routing_of(struct irqchip *chip)
{
	return srcu_dereference(chip->routing, &chip->srcu);
}

static const struct route *find_route(struct irqchip *chip, u32 gsi)
{
	static const struct route nowhere;
	const struct routing *routing = routing_of(chip);

	return gsi < routing->nr ? &routing->routes[array_index_nospec(gsi, routing->nr)] : &nowhere;
}

int routing_ioapic_gsi(struct irqchip *chip, unsigned int pin)
{
	int idx = srcu_read_lock(&chip->srcu);
	int gsi = routing_of(chip)->ioapic_gsi[pin];

	srcu_read_unlock(&chip->srcu, idx);
	return gsi;
}

u32 routing_ioapic_pins(struct irqchip *chip, u32 gsi)
{
	int idx = srcu_read_lock(&chip->srcu);
	const struct route *route = find_route(chip, gsi);
	u32 pins = 0;

	if (route->type == KVM_IRQ_ROUTING_IRQCHIP && route->chips & BIT(KVM_IRQCHIP_IOAPIC))
		pins = BIT(route->pin[KVM_IRQCHIP_IOAPIC]);
	srcu_read_unlock(&chip->srcu, idx);
	return pins;
}

int routing_pic_gsi(struct irqchip *chip, unsigned int line)
{
	int idx = srcu_read_lock(&chip->srcu);
	int gsi = routing_of(chip)->pic_gsi[line];

	srcu_read_unlock(&chip->srcu, idx);
	return gsi;
}

/* -- messages ---------------------------------------------------------------------------------------------------- */

/* With 32-bit IDs the upper half of the address has bits 31-8 of the ID. Source: KVM's api.rst, KVM_CAP_X2APIC_API. */
static bool msi_is_valid(const struct vm *vm, u32 address_hi)
{
	return !(vm->x2apic_api & KVM_X2APIC_API_USE_32BIT_IDS) || !(address_hi & 0xff);
}

/* SDM volume 3, "Message Address Register Format" and "Message Data Register Format". */
static struct apic_message msi_message(const struct vm *vm, u32 address_lo, u32 address_hi, u32 data)
{
	bool redirection_hint = address_lo & BIT(3);
	struct apic_message msg = {
		.dest = address_lo >> 12 & 0xff,
		.dest_mode = address_lo & BIT(2) ? APIC_DEST_LOGICAL : APIC_DEST_PHYSICAL,
		.vector = data & 0xff,
		.delivery_mode = data >> 8 & 7,
		.trig_mode = data & BIT(15) ? APIC_TRIGGER_LEVEL : APIC_TRIGGER_EDGE,
		.level = true,
	};

	if (vm->x2apic_api & KVM_X2APIC_API_USE_32BIT_IDS)
		msg.dest |= address_hi & ~0xffu;
	/* The hint asks for the one CPU of lowest priority among the destinations. */
	if (redirection_hint && msg.delivery_mode == APIC_DELIVER_FIXED)
		msg.delivery_mode = APIC_DELIVER_LOWEST;
	return msg;
}

static int send_msi(struct vm *vm, u32 address_lo, u32 address_hi, u32 data)
{
	if (!msi_is_valid(vm, address_hi))
		return -EINVAL;
	return irq_deliver_device(vm, msi_message(vm, address_lo, address_hi, data));
}

void routing_eoi_exits(struct irqchip *chip, const struct lapic *lapic, u32 bitmap[8])
{
	int idx = srcu_read_lock(&chip->srcu);
	const struct routing *routing = routing_of(chip);
	u32 gsi, nr = min(chip->client_pins, routing->nr);

	for (gsi = 0; gsi < nr; gsi++) {
		const struct route *route = &routing->routes[gsi];
		struct apic_message msg =
			msi_message(chip->vm, route->msi.address_lo, route->msi.address_hi, route->msi.data);

		if (route->type == KVM_IRQ_ROUTING_MSI && msg.trig_mode == APIC_TRIGGER_LEVEL &&
		    lapic_matches(lapic, irq_device_dest(chip->vm, msg.dest), msg.dest_mode))
			bitmap[msg.vector >> 5] |= BIT(msg.vector & 31);
	}
	srcu_read_unlock(&chip->srcu, idx);
}

int irq_signal_msi(struct vm *vm, const struct kvm_msi *msi)
{
	if (!vm_irqchip(vm) || msi->flags & ~KVM_MSI_VALID_DEVID)
		return -EINVAL;
	return send_msi(vm, msi->address_lo, msi->address_hi, msi->data);
}

/* -- driving ----------------------------------------------------------------------------------------------------- */

static int drive_pin(struct irqchip *chip, unsigned int which, unsigned int pin, enum irq_source source, bool level,
		     bool report)
{
	if (which == KVM_IRQCHIP_IOAPIC)
		return ioapic_set_irq(&chip->ioapic, pin, source, level, report);
	return pic_set_irq(&chip->pic, pin, source, level);
}

/*
 * Which of the chips the guest listens to is not known: each gets the interrupt, and the guest has masked the other.
 * Locked. Answers add up; one that ignores it does not count.
 */
static int drive_pins(struct irqchip *chip, const struct route *route, enum irq_source source, bool level, bool report)
{
	unsigned int which;
	int sum = -1;

	for (which = 0; which < KVM_NR_IRQCHIPS; which++) {
		int answer = -1;

		if (route->chips & BIT(which))
			answer = drive_pin(chip, which, route->pin[which], source, level, report);
		if (answer >= 0)
			sum = max(sum, 0) + answer;
	}
	return sum;
}

static int drive_route(struct irqchip *chip, const struct route *route, enum irq_source source, bool level, bool report)
{
	unsigned long flags;
	int answer;

	if (route->type == KVM_IRQ_ROUTING_MSI)
		return level ? send_msi(chip->vm, route->msi.address_lo, route->msi.address_hi, route->msi.data) : -1;
	if (route->type != KVM_IRQ_ROUTING_IRQCHIP)
		return -1;
	flags = irqchip_lock(chip);
	answer = drive_pins(chip, route, source, level, report);
	irqchip_unlock(chip, flags);
	return answer;
}

int routing_drive(struct irqchip *chip, u32 gsi, enum irq_source source, bool level, bool report)
{
	int idx = srcu_read_lock(&chip->srcu);
	int answer = drive_route(chip, find_route(chip, gsi), source, level, report);

	srcu_read_unlock(&chip->srcu, idx);
	return answer;
}

void routing_pulse(struct irqchip *chip, u32 gsi)
{
	int idx = srcu_read_lock(&chip->srcu);
	const struct route *route = find_route(chip, gsi);

	drive_route(chip, route, IRQ_SOURCE_CLIENT, true, false);
	if (route->type == KVM_IRQ_ROUTING_IRQCHIP)
		drive_route(chip, route, IRQ_SOURCE_CLIENT, false, false);
	srcu_read_unlock(&chip->srcu, idx);
}

void routing_drive_locked(struct irqchip *chip, u32 gsi, enum irq_source source, bool level)
{
	int idx = srcu_read_lock(&chip->srcu);
	const struct route *route = find_route(chip, gsi);

	if (route->type == KVM_IRQ_ROUTING_IRQCHIP)
		drive_pins(chip, route, source, level, false);
	else if (route->type == KVM_IRQ_ROUTING_MSI && level)
		send_msi(chip->vm, route->msi.address_lo, route->msi.address_hi, route->msi.data);
	srcu_read_unlock(&chip->srcu, idx);
}

static int line(struct vm *vm, struct kvm_irq_level *level, bool report)
{
	struct irqchip *chip = vm_irqchip(vm);

	if (!chip)
		return -ENXIO;
	level->status = routing_drive(chip, level->irq, IRQ_SOURCE_CLIENT, level->level, report);
	return 0;
}

int irq_line(struct vm *vm, struct kvm_irq_level *level)
{
	return line(vm, level, false);
}

int irq_line_status(struct vm *vm, struct kvm_irq_level *level)
{
	return line(vm, level, true);
}

/* -- tables ------------------------------------------------------------------------------------------------------ */

static struct routing *routing_alloc(u32 nr)
{
	struct routing *routing = kvzalloc(struct_size(routing, routes, nr), GFP_KERNEL_ACCOUNT);

	if (!routing)
		return NULL;
	routing->nr = nr;
	memset(routing->ioapic_gsi, NO_GSI, sizeof(routing->ioapic_gsi));
	memset(routing->pic_gsi, NO_GSI, sizeof(routing->pic_gsi));
	return routing;
}

/* A GSI may have one pin of each chip. */
static int add_pin(struct routing *routing, u32 gsi, u32 which, u32 pin)
{
	struct route *route = &routing->routes[gsi];
	bool ioapic = which == KVM_IRQCHIP_IOAPIC;

	if (which >= KVM_NR_IRQCHIPS || pin >= (ioapic ? IOAPIC_PINS : PIC_LINES / NR_PICS))
		return -EINVAL;
	if (route->type == KVM_IRQ_ROUTING_MSI || route->chips & BIT(which))
		return -EINVAL;
	if (which == KVM_IRQCHIP_PIC_SLAVE)
		pin += PIC_LINES / NR_PICS;
	if (ioapic)
		routing->ioapic_gsi[pin] = gsi;
	else
		routing->pic_gsi[pin] = gsi;
	route->type = KVM_IRQ_ROUTING_IRQCHIP;
	route->chips |= BIT(which);
	route->pin[which] = pin;
	return 0;
}

static int add_msi(struct vm *vm, struct routing *routing, u32 gsi, const struct kvm_irq_routing_msi *msi)
{
	struct route *route = &routing->routes[gsi];

	if (route->type || !msi_is_valid(vm, msi->address_hi))
		return -EINVAL;
	route->type = KVM_IRQ_ROUTING_MSI;
	route->msi.address_lo = msi->address_lo;
	route->msi.address_hi = msi->address_hi;
	route->msi.data = msi->data;
	return 0;
}

/* In the split model there are no pins. */
static int add_route(struct vm *vm, struct routing *routing, const struct kvm_irq_routing_entry *entry)
{
	u32 gsi = array_index_nospec(entry->gsi, routing->nr);

	switch (entry->type) {
	case KVM_IRQ_ROUTING_IRQCHIP:
		if (entry->flags || vm->irqchip->split)
			return -EINVAL;
		return add_pin(routing, gsi, entry->u.irqchip.irqchip, entry->u.irqchip.pin);
	case KVM_IRQ_ROUTING_MSI:
		if (entry->flags & ~KVM_MSI_VALID_DEVID)
			return -EINVAL;
		return add_msi(vm, routing, gsi, &entry->u.msi);
	default:
		return -EINVAL;
	}
}

static struct routing *routing_build(struct vm *vm, const struct kvm_irq_routing_entry *entries, u32 nr)
{
	struct routing *routing;
	u32 i, last = 0;
	int error;

	for (i = 0; i < nr; i++) {
		if (entries[i].gsi >= IRQ_MAX_ROUTES)
			return ERR_PTR(-EINVAL);
		last = max(last, entries[i].gsi);
	}
	routing = routing_alloc(last + 1);
	if (!routing)
		return ERR_PTR(-ENOMEM);
	for (i = 0; i < nr; i++) {
		error = add_route(vm, routing, &entries[i]);
		if (error) {
			kvfree(routing);
			return ERR_PTR(error);
		}
	}
	return routing;
}

int irq_set_routing(struct vm *vm, const struct kvm_irq_routing_entry *entries, u32 nr, u32 flags)
{
	struct irqchip *chip = vm_irqchip(vm);
	struct routing *new, *old;
	unsigned long irqflags;

	if (!chip || flags || nr > IRQ_MAX_ROUTES)
		return -EINVAL;
	new = routing_build(vm, entries, nr);
	if (IS_ERR(new))
		return PTR_ERR(new);
	mutex_lock(&chip->config_lock);
	old = rcu_replace_pointer(chip->routing, new, lockdep_is_held(&chip->config_lock));
	irqflags = irqchip_lock(chip);
	irqchip_eoi_exits_stale(chip);
	irqchip_unlock(chip, irqflags);
	mutex_unlock(&chip->config_lock);
	/* The client may rely on no interrupt coming by an old route when this returns. */
	synchronize_srcu_expedited(&chip->srcu);
	kvfree(old);
	return 0;
}

/* As KVM has it: no routes in the split model, else GSIs 0 to 15 at pins of both, the rest at the I/O APIC's; clients that want pin 2 for GSI 0 say so. */
int routing_create(struct irqchip *chip)
{
	u32 gsi, pins = chip->split ? 0 : IOAPIC_PINS;
	struct routing *routing = routing_alloc(pins);

	if (!routing)
		return -ENOMEM;
	for (gsi = 0; gsi < pins; gsi++) {
		add_pin(routing, gsi, KVM_IRQCHIP_IOAPIC, gsi);
		if (gsi < PIC_LINES)
			add_pin(routing, gsi, gsi / 8 ? KVM_IRQCHIP_PIC_SLAVE : KVM_IRQCHIP_PIC_MASTER, gsi % 8);
	}
	RCU_INIT_POINTER(chip->routing, routing);
	return 0;
}

void routing_destroy(struct irqchip *chip)
{
	kvfree(rcu_dereference_protected(chip->routing, true));
}
