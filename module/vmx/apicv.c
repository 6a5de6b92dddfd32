// SPDX-License-Identifier: GPL-2.0
/*
 * APIC virtualization: the CPU takes the local APIC's register page as its virtual-APIC page, answers for registers from it,
 * delivers the interrupts that it finds requested there, and ends them. Source: SDM volume 3, "APIC Virtualization and
 * Virtual Interrupts".
 */
#include <linux/moduleparam.h>

#include "vmx.h"
#include "../irq/irqchip.h"

static bool tpr_shadow = true;
module_param(tpr_shadow, bool, 0444);
MODULE_PARM_DESC(tpr_shadow, "Intel: guests with a local APIC in the module access CR8 without an exit");

static bool apicv = true;
module_param(apicv, bool, 0444);
MODULE_PARM_DESC(apicv, "Intel: the CPU delivers and ends their interrupts by itself, where it can");

/* All of it or nothing: no CPU has half. */
#define APICV                                                                        \
	(SECONDARY_EXEC_VIRTUALIZE_X2APIC_MODE | SECONDARY_EXEC_APIC_REGISTER_VIRT | \
	 SECONDARY_EXEC_VIRTUAL_INTR_DELIVERY)

/** apicv_setup - whether it is used, once the CPU's capabilities are known */
void apicv_setup(void)
{
	apicv = apicv && tpr_shadow && (vmx_capabilities.secondary & APICV) == APICV;
}

/** apicv_vcpu_create - the same for a new vCPU, before its VMCS is filled */
void apicv_vcpu_create(struct vcpu *vcpu)
{
	vcpu->tpr_shadow = vcpu->lapic && tpr_shadow;
	if (vcpu->lapic && apicv)
		irq_virtualize_delivery(vcpu);
}

/**
 * apicv_controls_off - which secondary controls a local APIC does not want now
 * @vcpu: that it is of, or that has none
 * In xAPIC mode the MSRs would be answered for, which are not there then.
 */
u32 apicv_controls_off(const struct vcpu *vcpu)
{
	if (!vcpu->virtual_delivery)
		return APICV;
	return irq_is_x2apic(vcpu) ? 0 : SECONDARY_EXEC_VIRTUALIZE_X2APIC_MODE;
}

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
