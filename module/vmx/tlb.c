// SPDX-License-Identifier: GPL-2.0
/*
 * What the CPU caches of translations, and how it forgets: entries are tagged with a VPID (whose guest-virtual
 * addresses) and an EPTP (which second-stage tables). Source: SDM volume 3, "Caching Translation Information".
 */
#include <linux/idr.h>

#include "insns.h"
#include "vmx.h"
#include "../vm.h"

static DEFINE_IDA(vpids);

/** vpid_alloc - a tag that no other vCPU has; 0 is the host's. Returns it or -ENOSPC, -ENOMEM. */
int vpid_alloc(void)
{
	return ida_alloc_range(&vpids, 1, VMX_NR_VPIDS - 1, GFP_KERNEL);
}

/*
 * What is cached under a VPID outlives its vCPU; it does no harm, since a vCPU that comes to a CPU it did not run on
 * last flushes first.
 */
void vpid_free(u16 vpid)
{
	ida_free(&vpids, vpid);
}

/** vmx_eptp - the EPT pointer for a vCPU. Source: SDM volume 3, "Extended-Page-Table Pointer (EPTP)". */
u64 vmx_eptp(struct vcpu *vcpu)
{
	u64 eptp = memory_root(vcpu) | VMX_EPTP_PWL_4 | VMX_EPTP_MT_WB;

	if (vmx_capabilities.ept & VMX_EPT_AD_BIT)
		eptp |= VMX_EPTP_AD_ENABLE_BIT;
	return eptp;
}

/** vmx_set_memory_root - the VMCS follows the address space that the vCPU sees. Outside of a slice. */
void vmx_set_memory_root(struct vcpu *vcpu)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);

	vmx->eptp = vmx_eptp(vcpu);
	vmcs_get(vmx);
	vmcs_write64(EPT_POINTER, vmx->eptp);
	vmcs_put();
}

static bool flush_eptp(u64 eptp)
{
	if (vmx_capabilities.ept & VMX_EPT_EXTENT_CONTEXT_BIT)
		return invept(VMX_EPT_EXTENT_CONTEXT, eptp);
	return invept(VMX_EPT_EXTENT_GLOBAL, 0);
}

static bool flush_vpid(u16 vpid)
{
	if (vmx_capabilities.vpid & VMX_VPID_EXTENT_SINGLE_CONTEXT_BIT)
		return invvpid(VMX_VPID_EXTENT_SINGLE_CONTEXT, vpid);
	return invvpid(VMX_VPID_EXTENT_ALL_CONTEXT, 0);
}

/*
 * With EPT all that a guest's accesses cache comes from both stages and is tagged with the EPTP as well, so INVEPT
 * alone flushes both.
 */
void vmx_flush_tlb(struct vcpu *vcpu, bool second_stage)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);

	if (!(second_stage ? flush_eptp(vmx->eptp) : flush_vpid(vmx->vpid)) && this_cpu_read(vmx_on))
		vm_bug(vcpu->vm, "%s failed", second_stage ? "INVEPT" : "INVVPID");
}

/** vmx_flush_all_here - nothing cached on this CPU from an earlier time of VMX may be used */
void vmx_flush_all_here(void)
{
	invept(VMX_EPT_EXTENT_GLOBAL, 0);
	invvpid(VMX_VPID_EXTENT_ALL_CONTEXT, 0);
}
