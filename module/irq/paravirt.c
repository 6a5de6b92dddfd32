// SPDX-License-Identifier: GPL-2.0
/* Interrupts, paravirtual: an EOI without an exit, and many IPIs by one. Source: x86/msr.rst, x86/hypercalls.rst. */
#include <linux/kvm_para.h>
#include <linux/uaccess.h>

#include <asm/kvm_para.h>

#include "../emulate.h"
#include "internal.h"

/* -- MSR_KVM_PV_EOI_EN ------------------------------------------------------------------------------------------- */

static u64 eoi_gpa(const struct vcpu *vcpu)
{
	return vcpu->pv.eoi & ~(u64)KVM_MSR_ENABLED;
}

/* REQ_PV_EOI stands as long as the offer does: it is withdrawn before another interrupt is taken. */
void irq_pv_eoi_offer(struct vcpu *vcpu)
{
	static const u8 enabled = KVM_PV_EOI_ENABLED;
	bool written;

	if (likely(!(vcpu->pv.eoi & KVM_MSR_ENABLED)) || !vcpu->lapic || !lapic_eoi_is_private(vcpu->lapic))
		return;
	pagefault_disable();
	written = !guest_write(vcpu->vm, eoi_gpa(vcpu), &enabled, sizeof(enabled));
	pagefault_enable();
	if (written)
		vcpu_request(vcpu, REQ_PV_EOI);
}

/* Whether the guest has ended its interrupt; if not, the offer is withdrawn, or kept. Return: 0 or -EFAULT. */
static int look(struct vcpu *vcpu, bool keep, bool *ended)
{
	static const u8 disabled = KVM_PV_EOI_DISABLED;
	u8 enabled;

	/* INIT has ended all interrupts, and switched this off. */
	*ended = false;
	if (!(vcpu->pv.eoi & KVM_MSR_ENABLED))
		return 0;
	if (guest_read(vcpu->vm, eoi_gpa(vcpu), &enabled, sizeof(enabled)))
		return -EFAULT;
	*ended = !(enabled & KVM_PV_EOI_ENABLED);
	return *ended || keep ? 0 : guest_write(vcpu->vm, eoi_gpa(vcpu), &disabled, sizeof(disabled));
}

static void finish(struct vcpu *vcpu, bool keep, bool ended)
{
	if (keep && !ended)
		return;
	clear_bit(REQ_PV_EOI, &vcpu->requests);
	if (!ended)
		return;
	lapic_eoi(vcpu->lapic);
	irq_look(vcpu);
}

void irq_pv_eoi_sync(struct vcpu *vcpu, bool keep)
{
	bool ended;

	if (likely(!test_bit(REQ_PV_EOI, &vcpu->requests)))
		return;
	/* If the memory is gone: better an interrupt that has ended too early than one that never does. */
	if (look(vcpu, keep, &ended))
		ended = true;
	finish(vcpu, keep, ended);
}

bool irq_pv_eoi_sync_atomic(struct vcpu *vcpu, bool keep)
{
	bool ended;
	int r;

	if (likely(!test_bit(REQ_PV_EOI, &vcpu->requests)))
		return true;
	pagefault_disable();
	r = look(vcpu, keep, &ended);
	pagefault_enable();
	if (!r)
		finish(vcpu, keep, ended);
	return !r;
}

/* -- KVM_HC_SEND_IPI --------------------------------------------------------------------------------------------- */

#define ICR_VECTOR 0xff
#define ICR_NOT_TAKEN (BIT(11) | GENMASK(19, 18)) /* destination mode, shorthand */

static int send_word(struct vcpu *vcpu, unsigned long word, u32 first, struct apic_message *msg)
{
	unsigned int bit;
	int takers = 0;

	for_each_set_bit(bit, &word, BITS_PER_LONG) {
		if (first + bit >= VM_MAX_VCPU_IDS)
			break;
		msg->dest = first + bit;
		takers += irq_deliver(vcpu->vm, vcpu, msg);
	}
	return takers;
}

long irq_pv_send_ipi(struct vcpu *vcpu, u64 low, u64 high, u32 first, u64 icr)
{
	struct apic_message msg = {
		.vector = icr & ICR_VECTOR,
		.delivery_mode = icr >> 8 & 7,
		.dest_mode = APIC_DEST_PHYSICAL,
		.trig_mode = APIC_TRIGGER_EDGE,
		.level = true,
	};
	long takers;

	if (icr & ICR_NOT_TAKEN)
		return -KVM_EINVAL;
	if (!vcpu->lapic)
		return -KVM_EOPNOTSUPP;
	if (first >= VM_MAX_VCPU_IDS || msg.delivery_mode == APIC_DELIVER_REMOTE_READ ||
	    msg.delivery_mode == APIC_DELIVER_EXTINT)
		return 0;
	takers = send_word(vcpu, low, first, &msg);
	return takers + send_word(vcpu, high, first + (vcpu_long_mode(vcpu) ? 64 : 32), &msg);
}
