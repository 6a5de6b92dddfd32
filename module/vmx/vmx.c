// SPDX-License-Identifier: GPL-2.0
/* The Intel backend: its side of the contract in backend.h, and the life of a VMCS. */
#include <linux/err.h>
#include <linux/slab.h>
#include <asm/mce.h>

#include "rules.h"
#include "vmx.h"
#include "../vm.h"

static int vmx_setup(void)
{
	int err;

	err = vmx_find_capabilities();
	if (err)
		return err;
	apicv_setup();
	vmx_timer_setup();
	err = vmx_controls_setup();
	if (err)
		return err;
	if (vmx_capabilities.secondary & SECONDARY_EXEC_TSC_SCALING) {
		backend.tsc_ratio_bits = 48;
		backend.tsc_ratio_max = U64_MAX;
	}
	backend.has_xsaves = vmx_capabilities.secondary & SECONDARY_EXEC_XSAVES;
	err = l1d_setup();
	if (err)
		goto no_l1d;
	err = vmx_cpus_setup();
	if (!err)
		return 0;
	l1d_teardown();
no_l1d:
	vmx_controls_teardown();
	return err;
}

static void vmx_teardown(void)
{
	vmx_cpus_teardown();
	l1d_teardown();
	vmx_controls_teardown();
}

/* All that a VMCS holds before struct vcpu's state is written: that is all changed at first. */
static void init_vmcs(struct vmx_vcpu *vmx)
{
	vmcs_get(vmx);
	vmx_write_controls(vmx);
	vmx_write_constant_host_state();
	vmcs_write32(GUEST_ACTIVITY_STATE, GUEST_ACTIVITY_ACTIVE);
	vmcs_write64(GUEST_IA32_DEBUGCTL, 0);
	vmcs_write_natural(GUEST_PENDING_DBG_EXCEPTIONS, 0);
	vmcs_put();
}

static void vmx_vcpu_destroy(struct vcpu *vcpu)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);

	vmcs_unload(vmx);
	vmcs_free(vmx->vmcs);
	free_page((unsigned long)vmx->pml);
	vpid_free(vmx->vpid);
	apicv_vcpu_destroy(vcpu);
	kfree(vmx);
}

static int vmx_vcpu_create(struct vcpu *vcpu)
{
	struct vmx_vcpu *vmx = kzalloc(sizeof(*vmx), GFP_KERNEL_ACCOUNT);
	int vpid;

	if (!vmx)
		return -ENOMEM;
	vmx->vcpu = vcpu;
	vmx->cpu = -1;
	vmx->host.cpu = -1;
	vpid = vpid_alloc();
	if (vpid < 0) {
		kfree(vmx);
		return vpid;
	}
	vmx->vmcs = vmcs_alloc(raw_smp_processor_id());
	if (!vmx->vmcs || pml_alloc(vmx)) {
		vmcs_free(vmx->vmcs);
		vpid_free(vpid);
		kfree(vmx);
		return -ENOMEM;
	}
	vmx->vpid = vpid;
	vmx->eptp = vmx_eptp(vcpu);
	vcpu->backend = vmx;
	if (apicv_vcpu_create(vcpu)) {
		vmx_vcpu_destroy(vcpu);
		return -ENOMEM;
	}
	init_vmcs(vmx);
	vmx_set_intercepts(vcpu);
	return 0;
}

const struct backend vmx_backend = {
	.name = "Intel VMX",
	.isa = PITH_ISA_VMX,
	.hypercall = { 0x0f, 0x01, 0xc1 },
	.mcg_cap = MCG_CMCI_P,
	/* Would take the hook for crashes, of which the kernel has one; and the CPUs are in VMX operation already. */
	.excludes = "kvm_intel",
	.setup = vmx_setup,
	.teardown = vmx_teardown,
	.cpu_on = vmx_cpu_on,
	.cpu_off = vmx_cpu_off,
	.tables = vmx_tables,
	.vcpu_create = vmx_vcpu_create,
	.vcpu_destroy = vmx_vcpu_destroy,
	.set_intercepts = vmx_set_intercepts,
	.set_memory_root = vmx_set_memory_root,
	.slice_begin = vmx_slice_begin,
	.slice_end = vmx_slice_end,
	.enter = vmx_enter,
	.handle_exit = vmx_handle_exit,
	.exit_info = vmx_exit_info,
	.exit_event = vmx_exit_event,
	.read_state = vmx_read_state,
	.inject = vmx_inject,
	.set_windows = vmx_set_windows,
	.set_tpr_threshold = vmx_set_tpr_threshold,
	.set_interrupt_status = vmx_set_interrupt_status,
	.set_eoi_exits = vmx_set_eoi_exits,
	.notify = vmx_notify,
	.flush_tlb = vmx_flush_tlb,
	.checks = &vmx_checks,
	.read_values = vmx_read_values,
	.read_fields = vmx_read_fields,
	.write_field = vmx_write_field,
};
