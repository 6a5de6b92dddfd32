// SPDX-License-Identifier: GPL-2.0
/*
 * Interrupts on their way: messages to the vCPUs they are for, and from the controllers into the run loop.
 * Source: SDM volume 3, "Advanced Programmable Interrupt Controller (APIC)".
 */
#include <linux/nospec.h>

#include "internal.h"

#define LVT_DELIVERY_MODE GENMASK(10, 8)

/*
 * Brings a message to one vCPU; whether it took it. A request that was pending already has had its kick. A refused one
 * gets one, too: the local APIC may have an error interrupt to tell of it ("Error Handling": received illegal vector).
 */
static bool accept(struct vcpu *vcpu, const struct apic_message *msg)
{
	int answer = lapic_accept(vcpu->lapic, msg->delivery_mode, msg->vector, msg->level, msg->trig_mode);

	if (answer != LAPIC_MERGED) {
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

/*
 * Whose APIC ID is this? Guests change IDs and modes at any time, so the map holds but a hint, which is checked. The
 * first vCPU that matches is as good as any: two with the same ID are the guest's mistake.
 */
static struct vcpu *vcpu_of_apic_id(struct vm *vm, u32 id)
{
	struct vcpu *vcpu;
	unsigned int i;
	u8 *hint;

	if (id >= VM_MAX_VCPU_IDS)
		return NULL;
	hint = &vm->irqchip->vcpu_hint[array_index_nospec(id, VM_MAX_VCPU_IDS)];
	i = READ_ONCE(*hint);
	if (likely(i < vm_nr_vcpus(vm) && lapic_matches(vm->vcpus[i]->lapic, id, APIC_DEST_PHYSICAL)))
		return vm->vcpus[i];
	vm_for_each_vcpu(vm, vcpu, i) {
		if (lapic_matches(vcpu->lapic, id, APIC_DEST_PHYSICAL)) {
			WRITE_ONCE(*hint, i);
			return vcpu;
		}
	}
	return NULL;
}

static bool software_enabled(const struct lapic *lapic)
{
	return READ_ONCE(*(u32 *)(lapic->regs + LAPIC_SVR)) & APIC_SVR_ENABLE;
}

/*
 * Of the destinations the one with the lowest processor priority. Among equals the vector decides, so that interrupts
 * spread over CPUs while each stays with one. "Lowest Priority Delivery Mode".
 */
static struct vcpu *lowest_priority(struct vm *vm, struct vcpu *source, const struct apic_message *msg)
{
	unsigned int nr = vm_nr_vcpus(vm);
	struct vcpu *lowest = NULL;
	unsigned int i;

	for (i = 0; i < nr; i++) {
		struct vcpu *vcpu = vm->vcpus[(i + msg->vector) % nr];

		if (!is_destination(vcpu, source, msg) || !software_enabled(vcpu->lapic))
			continue;
		if (!lowest || lapic_priority(vcpu->lapic) < lapic_priority(lowest->lapic))
			lowest = vcpu;
	}
	return lowest;
}

static int deliver_all(struct vm *vm, struct vcpu *source, const struct apic_message *msg)
{
	struct vcpu *vcpu;
	unsigned int i;
	int takers = 0;

	vm_for_each_vcpu(vm, vcpu, i)
		if (is_destination(vcpu, source, msg))
			takers += accept(vcpu, msg);
	return takers;
}

int irq_deliver(struct vm *vm, struct vcpu *source, const struct apic_message *msg)
{
	bool physical = msg->dest_mode == APIC_DEST_PHYSICAL;
	struct vcpu *vcpu;

	if (msg->shorthand == APIC_SHORTHAND_NONE && physical && !is_broadcast(msg))
		vcpu = vcpu_of_apic_id(vm, msg->dest);
	else if (msg->delivery_mode == APIC_DELIVER_LOWEST && !(physical && is_broadcast(msg)))
		vcpu = lowest_priority(vm, source, msg);
	else
		return deliver_all(vm, source, msg);
	return vcpu ? accept(vcpu, msg) : 0;
}

int irq_deliver_device(struct vm *vm, struct apic_message msg)
{
	if (msg.dest == APIC_DEST_BROADCAST_XAPIC && !(vm->x2apic_api & KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK))
		msg.dest = APIC_DEST_BROADCAST;
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

static bool pic_waits(struct vcpu *vcpu)
{
	return unlikely(pic_output(&vcpu->vm->irqchip->pic)) && lapic_accepts_pic(vcpu->lapic);
}

bool irq_waits(struct vcpu *vcpu)
{
	if (unlikely(vcpu->user_interrupt >= 0))
		return true;
	if (!vcpu->lapic)
		return false;
	return pic_waits(vcpu) || lapic_highest_irq(vcpu->lapic) >= 0;
}

/* Another vCPU may have been faster: then there is nothing to acknowledge any more. */
static int take_from_pic(struct irqchip *chip)
{
	unsigned long flags = irqchip_lock(chip);
	int vector = pic_output(&chip->pic) ? pic_read_irq(&chip->pic) : -1;

	irqchip_unlock(chip, flags);
	return vector;
}

static int take_user_interrupt(struct vcpu *vcpu)
{
	int vector = vcpu->user_interrupt;

	vcpu->user_interrupt = -1;
	return vector;
}

int irq_take(struct vcpu *vcpu)
{
	int vector = -1;

	if (!vcpu->lapic || unlikely(vcpu->user_interrupt >= 0))
		return take_user_interrupt(vcpu);
	if (pic_waits(vcpu))
		vector = take_from_pic(vcpu->vm->irqchip);
	return vector >= 0 ? vector : vcpu_lapic_take(vcpu);
}
