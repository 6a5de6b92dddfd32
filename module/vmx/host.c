// SPDX-License-Identifier: GPL-2.0
/*
 * What a slice must put aside of the host, and what exits load of it. The VMCS's host-state area gets each value only
 * when it is another one; what exits cannot restore (selectors of user space, descriptor-table limits) is put back at
 * the slice's end. Source: SDM volume 3, "Host-State Area", "Loading Host State".
 */
#include <linux/hw_breakpoint.h>
#include <linux/mm.h>
#include <asm/cpu_entry_area.h>
#include <asm/debugreg.h>
#include <asm/desc.h>
#include <asm/fsgsbase.h>
#include <asm/msr.h>
#include <asm/special_insns.h>

#include "vmx.h"
#include "../compat.h"

/** vmx_write_constant_host_state - what is the same on every CPU and at all times. The VMCS is loaded. */
void vmx_write_constant_host_state(void)
{
	struct desc_ptr idt;
	u64 value;

	vmcs_write_natural(HOST_CR0, native_read_cr0());
	vmcs_write16(HOST_CS_SELECTOR, __KERNEL_CS);
	vmcs_write16(HOST_SS_SELECTOR, __KERNEL_DS);
	vmcs_write16(HOST_DS_SELECTOR, 0);
	vmcs_write16(HOST_ES_SELECTOR, 0);
	vmcs_write16(HOST_FS_SELECTOR, 0);
	vmcs_write16(HOST_GS_SELECTOR, 0);
	vmcs_write16(HOST_TR_SELECTOR, GDT_ENTRY_TSS * 8);
	store_idt(&idt);
	vmcs_write_natural(HOST_IDTR_BASE, idt.address);
	vmcs_write_natural(HOST_RIP, (unsigned long)vmx_exit_point);

	rdmsrl(MSR_IA32_SYSENTER_CS, value);
	vmcs_write32(HOST_IA32_SYSENTER_CS, value);
	rdmsrl(MSR_IA32_SYSENTER_EIP, value);
	vmcs_write_natural(HOST_IA32_SYSENTER_EIP, value);
	rdmsrl(MSR_EFER, value);
	vmcs_write64(HOST_IA32_EFER, value);
	rdmsrl(MSR_IA32_CR_PAT, value);
	vmcs_write64(HOST_IA32_PAT, value);
}

/* What each CPU has its own of. */
static void write_cpu_host_state(struct vmx_host *host, int cpu)
{
	u64 value;

	if (likely(host->cpu == cpu))
		return;
	host->cpu = cpu;
	native_store_gdt(&host->gdt);
	vmcs_write_natural(HOST_GDTR_BASE, host->gdt.address);
	vmcs_write_natural(HOST_TR_BASE, (unsigned long)&get_cpu_entry_area(cpu)->tss.x86_tss);
	rdmsrl(MSR_GS_BASE, value);
	vmcs_write_natural(HOST_GS_BASE, value);
	rdmsrl(MSR_IA32_SYSENTER_ESP, value);
	vmcs_write_natural(HOST_IA32_SYSENTER_ESP, value);
}

static unsigned long read_fs_base(void)
{
	u64 base;

	if (static_cpu_has(X86_FEATURE_FSGSBASE))
		return rdfsbase();
	rdmsrl(MSR_FS_BASE, base);
	return base;
}

static void write_fs_base(unsigned long base)
{
	if (static_cpu_has(X86_FEATURE_FSGSBASE))
		wrfsbase(base);
	else
		wrmsrl(MSR_FS_BASE, base);
}

/*
 * IA32_KERNEL_GS_BASE gets a value and gives the one it had. Inside of two SWAPGS it is GS's base, which is cheaper to
 * access than an MSR; nothing that needs the kernel's own base may come in between, and an NMI's entry looks for it.
 */
static __always_inline u64 exchange_kernel_gs_base(u64 base)
{
	u64 old;

	if (static_cpu_has(X86_FEATURE_FSGSBASE)) {
		local_irq_disable();
		native_swapgs();
		old = rdgsbase();
		wrgsbase(base);
		native_swapgs();
		local_irq_enable();
		return old;
	}
	old = compat_rdmsr(MSR_KERNEL_GS_BASE);
	compat_wrmsr(MSR_KERNEL_GS_BASE, base);
	return old;
}

static __always_inline void write_if_changed(unsigned long field, unsigned long *written, unsigned long value)
{
	if (*written == value)
		return;
	*written = value;
	vmcs_write_natural(field, value);
}

/* What the thread has of its own, and in a slice keeps: no other thread comes in between. */
static void save_thread_state(struct vmx_host *host)
{
	savesegment(ds, host->ds);
	savesegment(es, host->es);
	savesegment(fs, host->fs);
	savesegment(gs, host->gs);
	store_ldt(host->ldt);
	host->debugctl = compat_rdmsr(MSR_IA32_DEBUGCTLMSR);
	write_if_changed(HOST_FS_BASE, &host->fs_base, read_fs_base());
	write_if_changed(HOST_CR3, &host->cr3, __native_read_cr3());
}

/* Loading FS and GS loads a base with them, so bases come last; that of the thread's GS is there already. */
static noinline void restore_uncommon_state(const struct vmx_host *host)
{
	if (host->ldt)
		asm volatile("lldt %0" : : "m"(host->ldt));
	if (host->ds | host->es) {
		loadsegment(ds, host->ds);
		loadsegment(es, host->es);
	}
	if (host->fs) {
		loadsegment(fs, host->fs);
		write_fs_base(host->fs_base);
	}
	if (host->gs) {
		native_load_gs_index(host->gs);
		compat_wrmsr(MSR_KERNEL_GS_BASE, host->user_gs_base);
	}
	if (host->debugctl)
		update_debugctlmsr(host->debugctl);
}

/*
 * Exits leave null selectors and the VMCS's bases. The GDT's limit is 64 KiB and the TSS's has no I/O bitmap after an exit.
 */
static void restore_thread_state(const struct vmx_host *host)
{
	if (unlikely(host->selectors | host->ldt | host->debugctl))
		restore_uncommon_state(host);
	native_load_gdt(&host->gdt);
	invalidate_tss_limit();
}

static void restore_debug_registers(struct vmx_vcpu *vmx)
{
	/* Exits clear DR7. */
	if (hw_breakpoint_active())
		hw_breakpoint_restore();
	if (vmx->breakpoints_loaded)
		set_debugreg(DR6_RESERVED, 6);
	vmx->breakpoints_loaded = false;
}

/** vmx_load_guest_msrs - the guest's MSRs that no VMCS field switches */
void vmx_load_guest_msrs(struct vcpu *vcpu)
{
	switch_msrs_load_guest(vcpu);
	compat_wrmsr(MSR_KERNEL_GS_BASE, vcpu->msr.kernel_gs_base);
}

/* The guest changes it without an exit (SWAPGS); if it may have, @base is what it is now. */
static __always_inline void know_kernel_gs_base(struct vcpu *vcpu, u64 base)
{
	if (!(vcpu->known & STATE_SYSCALL))
		vcpu->msr.kernel_gs_base = base;
	vcpu->known |= STATE_SYSCALL;
}

/** vmx_save_guest_msrs - those that the guest changes without an exit, out of the CPU. In a slice. */
void vmx_save_guest_msrs(struct vcpu *vcpu)
{
	know_kernel_gs_base(vcpu, compat_rdmsr(MSR_KERNEL_GS_BASE));
}

void vmx_slice_begin(struct vcpu *vcpu)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);
	u64 spec_ctrl;

	vmcs_load(vmx);
	write_cpu_host_state(&vmx->host, smp_processor_id());
	save_thread_state(&vmx->host);
	switch_msrs_load_guest(vcpu);
	vmx->host.user_gs_base = exchange_kernel_gs_base(vcpu->msr.kernel_gs_base);
	if (vmx->entry.switch_spec_ctrl) {
		rdmsrl(MSR_IA32_SPEC_CTRL, spec_ctrl);
		vmx->entry.host_spec_ctrl = spec_ctrl;
		vmx->entry.guest_spec_ctrl = vcpu->msr.spec_ctrl;
	}
	vmx->fresh_slice = true;
}

void vmx_slice_end(struct vcpu *vcpu)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);

	know_kernel_gs_base(vcpu, exchange_kernel_gs_base(vmx->host.user_gs_base));
	if (vmx->entry.switch_spec_ctrl)
		vcpu->msr.spec_ctrl = vmx->entry.guest_spec_ctrl;
	restore_debug_registers(vmx);
	restore_thread_state(&vmx->host);
}
