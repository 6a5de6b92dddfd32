// SPDX-License-Identifier: GPL-2.0
/*
 * APIC virtualization: the CPU takes the local APIC's register page as its virtual-APIC page, answers for registers
 * from it, delivers the interrupts that it finds requested there, and ends them. Source: SDM volume 3, "APIC
 * Virtualization and Virtual Interrupts".
 */
#include <linux/build_bug.h>
#include <linux/moduleparam.h>
#include <linux/slab.h>
#include <linux/smp.h>

#include "vmx.h"
#include "../compat.h"
#include "../irq/irqchip.h"

static bool tpr_shadow = true;
module_param(tpr_shadow, bool, 0444);
MODULE_PARM_DESC(tpr_shadow, "Intel: guests with a local APIC in the module access CR8 without an exit");

static bool apicv = true;
module_param(apicv, bool, 0444);
MODULE_PARM_DESC(apicv, "Intel: the CPU delivers and ends their interrupts by itself, where it can");

/* All of it or nothing: no CPU has half. */
#define APICV                                                                              \
	(SECONDARY_EXEC_VIRTUALIZE_APIC_ACCESSES | SECONDARY_EXEC_VIRTUALIZE_X2APIC_MODE | \
	 SECONDARY_EXEC_APIC_REGISTER_VIRT | SECONDARY_EXEC_VIRTUAL_INTR_DELIVERY)

/** apicv_setup - whether it is used, once the CPU's capabilities are known */
void apicv_setup(void)
{
	struct vmx_capabilities *caps = &vmx_capabilities;

	apicv = apicv && tpr_shadow && (caps->secondary & APICV) == APICV;
	if (apicv && COMPAT_POSTED_VECTOR && (caps->pin & PIN_BASED_POSTED_INTR) &&
	    (caps->exit & VM_EXIT_ACK_INTR_ON_EXIT))
		return;
	caps->pin &= ~PIN_BASED_POSTED_INTR;
	caps->exit &= ~VM_EXIT_ACK_INTR_ON_EXIT;
}

/** apicv_vcpu_create - the same for a new vCPU, before its VMCS is filled. 0 or -ENOMEM. */
int apicv_vcpu_create(struct vcpu *vcpu)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);

	/* Aligned to its size, as kmalloc() has it of powers of two. */
	static_assert(sizeof(*vmx->posted) == 64);
	vcpu->tpr_shadow = vcpu->lapic && tpr_shadow;
	if (!vcpu->lapic || !apicv)
		return 0;
	if (!irq_access_page(vcpu->vm))
		return -ENOMEM;
	if (vmx_capabilities.pin & PIN_BASED_POSTED_INTR) {
		vmx->posted = kzalloc(sizeof(*vmx->posted), GFP_KERNEL_ACCOUNT);
		if (!vmx->posted)
			return -ENOMEM;
	}
	irq_virtualize_delivery(vcpu, vmx->posted ? vmx->posted->requests : NULL);
	return 0;
}

void apicv_vcpu_destroy(struct vcpu *vcpu)
{
	kfree(to_vmx(vcpu)->posted);
}

/**
 * apicv_controls_off - which secondary controls a local APIC does not want now
 * @vcpu: that it is of, or that has none
 * Registers are answered for as MSRs or in the APIC-access page, as the mode has them; the CPU refuses to do both.
 * Where the page is not in the tables nobody gets there.
 */
u32 apicv_controls_off(const struct vcpu *vcpu)
{
	if (!vcpu->virtual_delivery)
		return APICV;
	return irq_is_x2apic(vcpu) ? SECONDARY_EXEC_VIRTUALIZE_APIC_ACCESSES : SECONDARY_EXEC_VIRTUALIZE_X2APIC_MODE;
}

/* -- posted interrupts ------------------------------------------------------------------------------------------- */

#define OUTSTANDING_NOTIFICATION 0

/** apicv_write_controls - a new VMCS's pin-based controls, and what they and APICv take */
void apicv_write_controls(const struct vmx_vcpu *vmx)
{
	u32 pin = vmx_capabilities.pin;

	if (vmx->vcpu->virtual_delivery)
		vmcs_write64(APIC_ACCESS_ADDR, page_to_phys(irq_access_page(vmx->vcpu->vm)));
	if (vmx->posted) {
		vmcs_write16(POSTED_INTR_NV, COMPAT_POSTED_VECTOR);
		vmcs_write64(POSTED_INTR_DESC_ADDR, __pa(vmx->posted));
	} else {
		pin &= ~PIN_BASED_POSTED_INTR;
	}
	vmcs_write32(PIN_BASED_VM_EXEC_CONTROL, pin);
}

/*
 * The request was there before the notification is outstanding, and that before the mode is looked at. So a vCPU in
 * guest mode gets the interrupt, also one that is only just being entered; or it has left already, the host gets it,
 * and the next entry finds the notification outstanding. One that sleeps is to be woken each time: it may be deaf to
 * the first.
 * Source: SDM volume 3, "Posted-Interrupt Processing".
 */
bool vmx_notify(struct vcpu *vcpu)
{
	bool outstanding = test_and_set_bit(OUTSTANDING_NOTIFICATION, &to_vmx(vcpu)->posted->control);
	int cpu, self;

	if (READ_ONCE(vcpu->mode) != IN_GUEST)
		return false;
	if (outstanding)
		return true;
	self = get_cpu();
	cpu = READ_ONCE(vcpu->cpu);
	if (cpu >= 0 && cpu != self)
		compat_send_posted(cpu);
	put_cpu();
	return true;
}

/** apicv_take_posted - a notification is outstanding that the CPU did not see. Interrupts off, before an entry. */
void apicv_take_posted(struct vcpu *vcpu)
{
	clear_bit(OUTSTANDING_NOTIFICATION, &to_vmx(vcpu)->posted->control);
	/* Whoever finds it set does not notify again: what he posted before is seen below. */
	smp_mb__after_atomic();
	irq_update_status(vcpu);
}

/* -- the status -------------------------------------------------------------------------------------------------- */

/* RVI and SVI. Source: SDM volume 3, "Guest Non-Register State". */
void vmx_set_interrupt_status(struct vcpu *vcpu, u8 requested, u8 in_service)
{
	vmcs_write16(GUEST_INTR_STATUS, in_service << 8 | requested);
}

void vmx_set_eoi_exits(struct vcpu *vcpu, const u32 bitmap[8])
{
	vmcs_get(to_vmx(vcpu));
	vmcs_write64(EOI_EXIT_BITMAP0, bitmap[0] | (u64)bitmap[1] << 32);
	vmcs_write64(EOI_EXIT_BITMAP1, bitmap[2] | (u64)bitmap[3] << 32);
	vmcs_write64(EOI_EXIT_BITMAP2, bitmap[4] | (u64)bitmap[5] << 32);
	vmcs_write64(EOI_EXIT_BITMAP3, bitmap[6] | (u64)bitmap[7] << 32);
	vmcs_put();
}
