// SPDX-License-Identifier: GPL-2.0
/*
 * Interrupts on their way: messages to the vCPUs they are for, and from the controllers into the run loop.
 * Source: SDM volume 3, "Advanced Programmable Interrupt Controller (APIC)".
 */
#include <linux/mm.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>

#include "../backend.h"
#include "internal.h"

#define LVT_DELIVERY_MODE GENMASK(10, 8)

/*
 * Brings a message to one vCPU; whether it took it. A request that was pending already has had its kick. A refused one
 * gets one, too: the local APIC may have an error interrupt to tell of it ("Error Handling": received illegal vector).
 * A posted one is found by the next entry; the vCPU may only have to be woken for that.
 */
static bool accept(struct vcpu *vcpu, const struct apic_message *msg)
{
	int answer = lapic_accept(vcpu->lapic, msg->delivery_mode, msg->vector, msg->level, msg->trig_mode);

	if (answer == LAPIC_POSTED) {
		if (!backend.notify(vcpu))
			vcpu_kick(vcpu);
	} else if (answer != LAPIC_MERGED) {
		vcpu_request(vcpu, REQ_EVENT);
		vcpu_kick(vcpu);
	}
	return answer != LAPIC_REFUSED;
}

/* -- destinations ------------------------------------------------------------------------------------------------ */

static bool is_destination(struct vcpu *vcpu, struct vcpu *source, const struct apic_message *msg)
{
	switch (msg->shorthand) {
	case APIC_SHORTHAND_SELF:
		return vcpu == source;
	case APIC_SHORTHAND_ALL:
		return READ_ONCE(vcpu->lapic->mode) != LAPIC_OFF;
	case APIC_SHORTHAND_OTHERS:
		return vcpu != source && READ_ONCE(vcpu->lapic->mode) != LAPIC_OFF;
	default:
		return lapic_matches(vcpu->lapic, msg->dest, msg->dest_mode);
	}
}

static bool is_broadcast(const struct apic_message *msg)
{
	return msg->dest == APIC_DEST_BROADCAST || msg->dest == APIC_DEST_BROADCAST_XAPIC;
}

static bool software_enabled(const struct lapic *lapic)
{
	return READ_ONCE(*(u32 *)(lapic->regs + LAPIC_SVR)) & APIC_SVR_ENABLE;
}

/* -- the map of destinations ------------------------------------------------------------------------------------- */

static bool is_fresh(struct vm *vm, const struct destinations *d)
{
	return d && d->seq == atomic_read(&vm->irqchip->destinations_seq) && d->nr_vcpus == vm_nr_vcpus(vm);
}

/* Without memory the old map stays, which is known to be stale. */
static struct destinations *make_map(struct vm *vm, unsigned int seq)
{
	unsigned int nr = vm_nr_vcpus(vm), i;
	struct destinations *d;
	u32 nr_ids = 0;

	for (i = 0; i < nr; i++)
		nr_ids = max(nr_ids, apic_map_ids(vm->vcpus[i]->lapic));
	d = kvzalloc(struct_size(d, map.physical, nr_ids), GFP_KERNEL_ACCOUNT);
	if (!d)
		return NULL;
	d->seq = seq;
	d->nr_vcpus = nr;
	d->map.nr_ids = nr_ids;
	for (i = 0; i < nr; i++)
		apic_map_add(&d->map, vm->vcpus[i]->lapic, i);
	return d;
}

static bool all_at_default_address(struct vm *vm)
{
	struct vcpu *vcpu;
	unsigned int i;

	vm_for_each_vcpu(vm, vcpu, i)
		if (!lapic_claims(vcpu->lapic, APIC_BASE_DEFAULT))
			return false;
	return true;
}

/*
 * All vCPUs have the same second-stage tables. So the access page is there for all or for none: one whose local APIC is
 * off, elsewhere or in x2APIC mode must not find it there.
 */
static void update_access_page(struct vm *vm)
{
	struct page *page = vm->irqchip->access_page;
	struct page *wanted = page && all_at_default_address(vm) ? page : NULL;

	if (wanted != vm->memory.overlay)
		memory_set_overlay(vm, APIC_BASE_DEFAULT >> PAGE_SHIFT, wanted);
}

/* What changes while the map is made makes it stale: its number is older then. */
void irq_map_destinations(struct vm *vm)
{
	struct irqchip *chip = vm->irqchip;
	struct destinations *old, *new = NULL;

	mutex_lock(&chip->config_lock);
	old = rcu_dereference_protected(chip->destinations, lockdep_is_held(&chip->config_lock));
	if (!is_fresh(vm, old)) {
		new = make_map(vm, atomic_read_acquire(&chip->destinations_seq));
		update_access_page(vm);
	}
	if (new) {
		rcu_assign_pointer(chip->destinations, new);
		if (old)
			kvfree_rcu(old, rcu);
	}
	mutex_unlock(&chip->config_lock);
}

/* The vCPUs that may be meant, by index; -1: all of them. */
static int find(struct vm *vm, const struct apic_message *msg, u16 *found)
{
	const struct destinations *d;
	int nr = -1;

	if (msg->shorthand != APIC_SHORTHAND_NONE)
		return -1;
	rcu_read_lock();
	d = rcu_dereference(vm->irqchip->destinations);
	if (likely(is_fresh(vm, d)))
		nr = apic_map_find(&d->map, msg, found);
	rcu_read_unlock();
	return nr;
}

/* -- delivery ---------------------------------------------------------------------------------------------------- */

/**
 * struct candidates - the vCPUs among which a message's destinations are
 * @nr: how many
 * @found: their indices, or NULL: the first @nr
 */
struct candidates {
	unsigned int nr;
	const u16 *found;
};

static struct vcpu *candidate(struct vm *vm, const struct candidates *c, unsigned int i)
{
	return vm->vcpus[c->found ? c->found[i] : i];
}

/*
 * Of the destinations the one with the lowest processor priority. Among equals the vector decides, so that interrupts
 * spread over CPUs while each stays with one. "Lowest Priority Delivery Mode".
 */
static int deliver_lowest(struct vm *vm, struct vcpu *source, const struct apic_message *msg,
			  const struct candidates *c)
{
	struct vcpu *lowest = NULL;
	unsigned int i;

	for (i = 0; i < c->nr; i++) {
		struct vcpu *vcpu = candidate(vm, c, (i + msg->vector) % c->nr);

		if (!is_destination(vcpu, source, msg) || !software_enabled(vcpu->lapic))
			continue;
		if (!lowest || lapic_priority(vcpu->lapic) < lapic_priority(lowest->lapic))
			lowest = vcpu;
	}
	return lowest ? accept(lowest, msg) : 0;
}

static int deliver_all(struct vm *vm, struct vcpu *source, const struct apic_message *msg, const struct candidates *c)
{
	unsigned int i;
	int takers = 0;

	for (i = 0; i < c->nr; i++) {
		struct vcpu *vcpu = candidate(vm, c, i);

		if (is_destination(vcpu, source, msg))
			takers += accept(vcpu, msg);
	}
	return takers;
}

/* Arbitration among all is not for a physical broadcast: everybody takes it. */
static bool is_arbitrated(const struct apic_message *msg)
{
	return msg->delivery_mode == APIC_DELIVER_LOWEST &&
	       !(msg->dest_mode == APIC_DEST_PHYSICAL && is_broadcast(msg));
}

int irq_deliver(struct vm *vm, struct vcpu *source, const struct apic_message *msg)
{
	u16 found[APIC_MAP_MAX_FOUND];
	int nr = find(vm, msg, found);
	struct candidates c = {
		.nr = nr < 0 ? vm_nr_vcpus(vm) : nr,
		.found = nr < 0 ? NULL : found,
	};

	return is_arbitrated(msg) ? deliver_lowest(vm, source, msg, &c) : deliver_all(vm, source, msg, &c);
}

int irq_deliver_device(struct vm *vm, struct apic_message msg)
{
	msg.dest = irq_device_dest(vm, msg.dest);
	return irq_deliver(vm, NULL, &msg);
}

/* -- pins of local APICs ----------------------------------------------------------------------------------------- */

static bool lint0_is_nmi(const struct lapic *lapic)
{
	u32 lint0 = READ_ONCE(*(u32 *)(lapic->regs + LAPIC_LVT_LINT0));

	return (lint0 & (APIC_LVT_MASKED | LVT_DELIVERY_MODE)) == APIC_DELIVER_NMI << 8;
}

void irq_deliver_lint0_nmi(struct vm *vm)
{
	struct vcpu *vcpu;
	unsigned int i;

	vm_for_each_vcpu(vm, vcpu, i) {
		if (!lint0_is_nmi(vcpu->lapic) || lapic_local_interrupt(vcpu->lapic, LAPIC_LVT_LINT0) == LAPIC_REFUSED)
			continue;
		vcpu_request(vcpu, REQ_EVENT);
		vcpu_kick(vcpu);
	}
}

void irq_kick_pic_takers(struct vm *vm)
{
	struct vcpu *vcpu;
	unsigned int i;

	vm_for_each_vcpu(vm, vcpu, i) {
		if (!lapic_accepts_pic(vcpu->lapic))
			continue;
		vcpu_request(vcpu, REQ_EVENT);
		vcpu_kick(vcpu);
	}
}

/* -- into the run loop ------------------------------------------------------------------------------------------- */

/* The PIC is here or in the client, never both. */
static bool pic_waits(struct vcpu *vcpu)
{
	return unlikely(vcpu->extint >= 0 || pic_output(&vcpu->vm->irqchip->pic)) && lapic_accepts_pic(vcpu->lapic);
}

bool irq_takes_from_client(struct vcpu *vcpu)
{
	if (vcpu->user_interrupt >= 0)
		return false;
	return !vcpu->lapic || (vcpu->extint < 0 && lapic_accepts_pic(vcpu->lapic));
}

int irq_from_client(struct vcpu *vcpu, u8 vector)
{
	if (!vcpu->vm->pic_in_client)
		return -ENXIO;
	if (vcpu->lapic && vcpu->extint >= 0)
		return -EEXIST;
	if (vcpu->lapic)
		vcpu->extint = vector;
	else
		vcpu->user_interrupt = vector;
	vcpu_request(vcpu, REQ_EVENT);
	return 0;
}

bool irq_waits(struct vcpu *vcpu)
{
	if (unlikely(vcpu->user_interrupt >= 0))
		return true;
	if (!vcpu->lapic)
		return false;
	return pic_waits(vcpu) || lapic_highest_irq(vcpu->lapic) >= 0;
}

bool irq_wants_window(struct vcpu *vcpu)
{
	if (!vcpu->virtual_delivery)
		return irq_waits(vcpu);
	return vcpu->user_interrupt >= 0 || pic_waits(vcpu);
}

/* Another vCPU may have been faster: then there is nothing to acknowledge any more. */
static int take_from_pic(struct irqchip *chip)
{
	unsigned long flags = irqchip_lock(chip);
	int vector = pic_output(&chip->pic) ? pic_read_irq(&chip->pic) : -1;

	irqchip_unlock(chip, flags);
	return vector;
}

static int take_once(s16 *interrupt)
{
	int vector = *interrupt;

	*interrupt = -1;
	return vector;
}

int irq_take(struct vcpu *vcpu)
{
	int vector = -1;

	if (!vcpu->lapic || unlikely(vcpu->user_interrupt >= 0))
		return take_once(&vcpu->user_interrupt);
	if (pic_waits(vcpu))
		vector = vcpu->extint >= 0 ? take_once(&vcpu->extint) : take_from_pic(vcpu->vm->irqchip);
	return vector >= 0 || vcpu->virtual_delivery ? vector : vcpu_lapic_take(vcpu);
}
