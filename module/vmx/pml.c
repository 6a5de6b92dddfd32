// SPDX-License-Identifier: GPL-2.0
/*
 * Page-modification logging: the CPU writes down the address of each page whose EPT dirty flag it sets, in a page of the
 * vCPU's, from the last entry to the first, and exits when that is full. Leaves outside of logged slots have the flag
 * from the start, so nothing is written while there are none. Source: SDM volume 3, "Page-Modification Logging".
 */
#include <linux/gfp.h>
#include <linux/module.h>

#include "vmx.h"
#include "../vm.h"

static bool pml = true;
module_param(pml, bool, 0444);
MODULE_PARM_DESC(pml, "let Intel CPUs keep the dirty log by page-modification logging");

/** pml_choose - whether it is used: it needs the EPT's dirty flags */
void pml_choose(void)
{
	pml = pml && (vmx_capabilities.secondary & SECONDARY_EXEC_ENABLE_PML) &&
	      (vmx_capabilities.ept & VMX_EPT_AD_BIT);
	if (!pml)
		vmx_capabilities.secondary &= ~SECONDARY_EXEC_ENABLE_PML;
}

/** pml_alloc - a log for a new vCPU, if they have logs. 0 or -ENOMEM. The vCPU's destruction frees it. */
int pml_alloc(struct vmx_vcpu *vmx)
{
	if (pml)
		vmx->pml = (u64 *)__get_free_page(GFP_KERNEL_ACCOUNT);
	return pml && !vmx->pml ? -ENOMEM : 0;
}

/** pml_drain - takes what was logged, and begins anew. The VMCS is loaded. Any context. */
void pml_drain(struct vcpu *vcpu)
{
	const struct vmx_vcpu *vmx = to_vmx(vcpu);
	/* The field has the entry to be written next; behind entry 0 it wraps. */
	u16 i = vmcs_read16(GUEST_PML_INDEX) + 1;

	if (i == PML_ENTRIES)
		return;
	for (; i < PML_ENTRIES; i++)
		memory_mark_dirty(vcpu, vmx->pml[i]);
	vmcs_write16(GUEST_PML_INDEX, PML_ENTRIES - 1);
}
