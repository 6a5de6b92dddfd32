// SPDX-License-Identifier: GPL-2.0
/*
 * The VMCS's control fields: what makes a guest exit, and what entries and exits load. Source: SDM volume 3,
 * "VM-Execution Control Fields", "VM-Exit Control Fields", "VM-Entry Control Fields".
 */
#include <linux/gfp.h>
#include <asm/apicdef.h>
#include <asm/msr-index.h>

#include "vmx.h"
#include "../cpu/cpuid.h"
#include "../irq/irqchip.h"

/* Offsets of the four parts of an MSR bitmap. Source: SDM volume 3, "MSR-Bitmap Address". */
#define MSR_BITMAP_READ 0x000
#define MSR_BITMAP_WRITE 0x800
#define MSR_BITMAP_HIGH_MSRS 0x400 /* of 0xc0000000 and up */

#define MSR_READ BIT(0)
#define MSR_WRITE BIT(1)

struct open_msr {
	u32 msr;
	u32 access;
	u32 last; /* of a range, or 0 */
};

/* What a guest accesses without an exit: the VMCS or the slice switches these. */
static const struct open_msr open_msrs[] = {
	{ MSR_FS_BASE, MSR_READ | MSR_WRITE },
	{ MSR_GS_BASE, MSR_READ | MSR_WRITE },
	{ MSR_KERNEL_GS_BASE, MSR_READ | MSR_WRITE },
	{ MSR_IA32_SYSENTER_CS, MSR_READ | MSR_WRITE },
	{ MSR_IA32_SYSENTER_ESP, MSR_READ | MSR_WRITE },
	{ MSR_IA32_SYSENTER_EIP, MSR_READ | MSR_WRITE },
	{ MSR_IA32_TSC, MSR_READ },
};

/* Also, where the guest's CPUID has them; entry.S switches the first, the second only commands. */
static const struct open_msr open_speculation_msrs[] = {
	{ MSR_IA32_SPEC_CTRL, MSR_READ | MSR_WRITE },
	{ MSR_IA32_PRED_CMD, MSR_WRITE },
};

/*
 * Also, where the CPU answers for the local APIC in x2APIC mode: from the virtual-APIC page, so not for registers that
 * are not there, nor for the timer's count. It takes the writes that mostly have no effect but on itself. Source: SDM
 * volume 3, "Virtualizing MSR-Based APIC Accesses".
 */
#define X2APIC(register) (APIC_BASE_MSR + ((register) >> 4))
static const struct open_msr open_x2apic_msrs[] = {
	{ X2APIC(APIC_ID), MSR_READ, X2APIC(APIC_LVR) },
	{ X2APIC(APIC_TASKPRI), MSR_READ | MSR_WRITE },
	{ X2APIC(APIC_PROCPRI), MSR_READ },
	{ X2APIC(APIC_EOI), MSR_WRITE },
	{ X2APIC(APIC_LDR), MSR_READ },
	{ X2APIC(APIC_SPIV), MSR_READ },
	{ X2APIC(APIC_ISR), MSR_READ, X2APIC(APIC_ESR) },
	{ X2APIC(APIC_ICR), MSR_READ },
	{ X2APIC(APIC_LVTT), MSR_READ, X2APIC(APIC_TMICT) },
	{ X2APIC(APIC_TDCR), MSR_READ },
	{ X2APIC(APIC_SELF_IPI), MSR_WRITE },
};

/* For all VMs, indexed by the tables that are open in them besides; in the last, for VMs with a filter, nothing is. */
enum { BITMAP_SPECULATION = BIT(0), BITMAP_X2APIC = BIT(1), BITMAP_CLOSED = BIT(2), NR_BITMAPS };
static unsigned long *msr_bitmaps[NR_BITMAPS];

static void open_msr(unsigned long *bitmap, u32 msr, u32 access)
{
	unsigned long bit = (msr & 0x1fff) + (msr >= 0xc0000000 ? MSR_BITMAP_HIGH_MSRS * BITS_PER_BYTE : 0);

	if (access & MSR_READ)
		__clear_bit(MSR_BITMAP_READ * BITS_PER_BYTE + bit, bitmap);
	if (access & MSR_WRITE)
		__clear_bit(MSR_BITMAP_WRITE * BITS_PER_BYTE + bit, bitmap);
}

static void open_table(unsigned long *bitmap, const struct open_msr *table, unsigned int nr)
{
	const struct open_msr *open;
	u32 msr;

	for (open = table; open < table + nr; open++)
		for (msr = open->msr; msr <= max(open->msr, open->last); msr++)
			open_msr(bitmap, msr, open->access);
}

void vmx_controls_teardown(void)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(msr_bitmaps); i++)
		free_page((unsigned long)msr_bitmaps[i]);
}

/** vmx_controls_setup - what all VMCSs share. 0 or -ENOMEM. */
int vmx_controls_setup(void)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(msr_bitmaps); i++) {
		msr_bitmaps[i] = (unsigned long *)__get_free_page(GFP_KERNEL);
		if (!msr_bitmaps[i]) {
			vmx_controls_teardown();
			return -ENOMEM;
		}
		memset(msr_bitmaps[i], 0xff, PAGE_SIZE);
		if (i == BITMAP_CLOSED)
			continue;
		open_table(msr_bitmaps[i], open_msrs, ARRAY_SIZE(open_msrs));
		if (i & BITMAP_SPECULATION)
			open_table(msr_bitmaps[i], open_speculation_msrs, ARRAY_SIZE(open_speculation_msrs));
		if (i & BITMAP_X2APIC)
			open_table(msr_bitmaps[i], open_x2apic_msrs, ARRAY_SIZE(open_x2apic_msrs));
	}
	return 0;
}

/*
 * #DB and #AC because a guest whose handler for one raises it again would otherwise never leave its loop of deliveries
 * (CVE-2015-8104, CVE-2015-5307), not even for an interrupt; #MC because it is the host's; #UD for
 * exit_invalid_opcode().
 */
#define INTERCEPTED_EXCEPTIONS (BIT(VECTOR_DB) | BIT(VECTOR_UD) | BIT(VECTOR_AC) | BIT(VECTOR_MC))

/*
 * PAUSEs that are at most so many TSC ticks apart are one loop, which exits when it lasts longer than the window.
 * Source: SDM volume 3, "Changes to Instruction Behavior in VMX Non-Root Operation"; the values are KVM's.
 */
#define PAUSE_GAP 128
#define PAUSE_WINDOW 4096

/*
 * The guest reads and writes CR8 in the local APIC's own page, and exits only if an interrupt comes in by it. Source:
 * SDM volume 3, "Virtualizing CR8-Based TPR Accesses".
 */
static u32 use_tpr_shadow(const struct vcpu *vcpu, u32 primary)
{
	vmcs_write64(VIRTUAL_APIC_PAGE_ADDR, __pa(irq_apic_page(vcpu)));
	vmcs_write32(TPR_THRESHOLD, 0);
	return (primary & ~(CPU_BASED_CR8_LOAD_EXITING | CPU_BASED_CR8_STORE_EXITING)) | CPU_BASED_TPR_SHADOW;
}

/** vmx_write_controls - a new VMCS's controls, with what does not change. The VMCS is loaded. */
void vmx_write_controls(struct vmx_vcpu *vmx)
{
	const struct vmx_capabilities *caps = &vmx_capabilities;

	vmx->primary_always = caps->primary;
	if (vmx->vcpu->tpr_shadow)
		vmx->primary_always = use_tpr_shadow(vmx->vcpu, caps->primary);
	vmx->primary = vmx->primary_always;
	vmx->entry_controls = caps->entry;
	apicv_write_controls(vmx);
	if (backend.watches_deadline)
		vmx_write_timer(vmx, 0);
	vmcs_write32(CPU_BASED_VM_EXEC_CONTROL, vmx->primary);
	vmcs_write32(VM_EXIT_CONTROLS, caps->exit);
	vmcs_write32(VM_ENTRY_CONTROLS, vmx->entry_controls);

	vmcs_write32(EXCEPTION_BITMAP, INTERCEPTED_EXCEPTIONS);
	vmcs_write32(PAGE_FAULT_ERROR_CODE_MASK, 0);
	vmcs_write32(PAGE_FAULT_ERROR_CODE_MATCH, 0);
	vmcs_write32(CR3_TARGET_COUNT, 0);
	vmcs_write32(VM_EXIT_MSR_STORE_COUNT, 0);
	vmcs_write32(VM_EXIT_MSR_LOAD_COUNT, 0);
	vmcs_write32(VM_ENTRY_MSR_LOAD_COUNT, 0);
	vmcs_write64(VM_ENTRY_MSR_LOAD_ADDR, __pa(vmx->msr_loads));
	vmcs_write32(VM_ENTRY_INTR_INFO_FIELD, 0);

	if (caps->secondary & SECONDARY_EXEC_PAUSE_LOOP_EXITING) {
		vmcs_write32(PLE_GAP, PAUSE_GAP);
		vmcs_write32(PLE_WINDOW, PAUSE_WINDOW);
	}

	/* Nothing that XSAVES saves is kept from the guest: its IA32_XSS is 0. SDM volume 3, "XSS-Exiting Bitmap". */
	if (caps->secondary & SECONDARY_EXEC_XSAVES)
		vmcs_write64(XSS_EXIT_BITMAP, 0);

	if (vmx->pml) {
		vmcs_write64(PML_ADDRESS, __pa(vmx->pml));
		vmcs_write16(GUEST_PML_INDEX, PML_ENTRIES - 1);
	}

	vmcs_write16(VIRTUAL_PROCESSOR_ID, vmx->vpid);
	vmcs_write64(EPT_POINTER, vmx->eptp);
	vmcs_write64(VMCS_LINK_POINTER, ~0ull);

	/* The guest keeps TS to itself; its FPU is loaded whenever it runs. */
	vmcs_write_natural(CR0_GUEST_HOST_MASK, ~X86_CR0_TS);
}

/* A feature bit of the guest's CPUID, by the kernel's name for the host's. */
static bool guest_has(const struct vcpu *vcpu, u32 leaf, enum cpuid_regs_idx reg, unsigned int feature)
{
	return cpuid_has(vcpu, leaf, 0, reg, feature & 31);
}

static u32 secondary_controls(const struct vcpu *vcpu)
{
	u32 controls = vmx_capabilities.secondary;

	if (!guest_has(vcpu, 0x80000001, CPUID_EDX, X86_FEATURE_RDTSCP) &&
	    !guest_has(vcpu, 7, CPUID_ECX, X86_FEATURE_RDPID))
		controls &= ~SECONDARY_EXEC_ENABLE_RDTSCP;
	if (!guest_has(vcpu, 7, CPUID_EBX, X86_FEATURE_INVPCID) || !guest_has(vcpu, 1, CPUID_ECX, X86_FEATURE_PCID))
		controls &= ~SECONDARY_EXEC_ENABLE_INVPCID;
	if (!cpuid_has_xsaves(vcpu))
		controls &= ~SECONDARY_EXEC_XSAVES;
	if (READ_ONCE(vcpu->vm->disabled_exits) & KVM_X86_DISABLE_EXITS_PAUSE)
		controls &= ~SECONDARY_EXEC_PAUSE_LOOP_EXITING;
	return controls & ~apicv_controls_off(vcpu);
}

static bool has_spec_ctrl(const struct vcpu *vcpu)
{
	return boot_cpu_has(X86_FEATURE_MSR_SPEC_CTRL) && (guest_has(vcpu, 7, CPUID_EDX, X86_FEATURE_SPEC_CTRL) ||
							   guest_has(vcpu, 7, CPUID_EDX, X86_FEATURE_SPEC_CTRL_SSBD));
}

/*
 * Bits of CR4 whose change has no effect that pith must know of: the guest owns them, as far as its CPUID grants them.
 * Bits that turn a mode on, or that guard pages, are ours, to be read without the VMCS.
 */
#define HARMLESS_CR4                                                                                                \
	(X86_CR4_PVI | X86_CR4_TSD | X86_CR4_DE | X86_CR4_PCE | X86_CR4_PGE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT | \
	 X86_CR4_FSGSBASE)

/* A debugger's breakpoints are INT3, too. */
static u32 intercepted_exceptions(const struct vcpu *vcpu)
{
	return INTERCEPTED_EXCEPTIONS | (vcpu->guest_debug.control & KVM_GUESTDBG_USE_SW_BP ? BIT(VECTOR_BP) : 0);
}

static unsigned long *msr_bitmap(const struct vcpu *vcpu, u32 secondary)
{
	if (rcu_access_pointer(vcpu->vm->msr_filter))
		return msr_bitmaps[BITMAP_CLOSED];
	return msr_bitmaps[(has_spec_ctrl(vcpu) ? BITMAP_SPECULATION : 0) |
			   (secondary & SECONDARY_EXEC_VIRTUALIZE_X2APIC_MODE ? BITMAP_X2APIC : 0)];
}

#define WAITS (CPU_BASED_HLT_EXITING | CPU_BASED_MWAIT_EXITING | CPU_BASED_MONITOR_EXITING)

/* A window that is open stays open. */
static void write_primary(struct vcpu *vcpu, struct vmx_vcpu *vmx)
{
	u64 disabled = READ_ONCE(vcpu->vm->disabled_exits);
	u32 waits = WAITS;

	if (disabled & KVM_X86_DISABLE_EXITS_HLT)
		waits &= ~CPU_BASED_HLT_EXITING;
	if (disabled & KVM_X86_DISABLE_EXITS_MWAIT)
		waits &= ~(CPU_BASED_MWAIT_EXITING | CPU_BASED_MONITOR_EXITING);
	vmx->primary_always = (vmx->primary_always & ~WAITS) | waits;
	vmx->primary = (vmx->primary & ~WAITS) | waits;
	vmcs_write32(CPU_BASED_VM_EXEC_CONTROL, vmx->primary);
}

/** vmx_set_intercepts - what the guest may execute without an exit follows its CPUID and what the client wants to see */
void vmx_set_intercepts(struct vcpu *vcpu)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);
	u32 secondary = secondary_controls(vcpu);

	vcpu_know(vcpu, STATE_CR4);
	/* Where IBRS guards the kernel it is the write after an exit that does, whatever the guest may access. */
	vmx->entry.switch_spec_ctrl = has_spec_ctrl(vcpu) || boot_cpu_has(X86_FEATURE_KERNEL_IBRS);
	vmx->cr4_owned = HARMLESS_CR4 & ~vcpu->cr4_reserved;
	vmcs_get(vmx);
	vmcs_write32(SECONDARY_VM_EXEC_CONTROL, secondary);
	write_primary(vcpu, vmx);
	vmcs_write32(EXCEPTION_BITMAP, intercepted_exceptions(vcpu));
	vmcs_write64(MSR_BITMAP, __pa(msr_bitmap(vcpu, secondary)));
	vmcs_write_natural(CR4_GUEST_HOST_MASK, ~vmx->cr4_owned);
	vmcs_put();
	vcpu->changed |= STATE_CR4;
}

/*
 * After STI an NMI has to wait as an interrupt does, but NMI-window exiting does not: the interrupt window is when the
 * shadow ends, since IF is 1. Source: SDM volume 3, "Other Causes of VM Exits".
 */
void vmx_set_windows(struct vcpu *vcpu, bool interrupt, bool nmi)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);
	u32 primary = vmx->primary_always;

	if (nmi) {
		vcpu_know(vcpu, STATE_SHADOW);
		if (vcpu->shadow & SHADOW_STI)
			interrupt = true;
		else
			primary |= CPU_BASED_NMI_WINDOW_EXITING;
	}
	if (interrupt)
		primary |= CPU_BASED_INTR_WINDOW_EXITING;
	if (primary == vmx->primary)
		return;
	vmx->primary = primary;
	vmcs_write32(CPU_BASED_VM_EXEC_CONTROL, primary);
}

void vmx_set_tpr_threshold(struct vcpu *vcpu, u8 threshold)
{
	vmcs_write32(TPR_THRESHOLD, threshold);
}

/** vmx_set_ia32e_mode_guest - whether entries go into IA-32e mode: EFER.LMA, as the VMCS wants it told */
void vmx_set_ia32e_mode_guest(struct vmx_vcpu *vmx, bool on)
{
	u32 controls = vmx_capabilities.entry | (on ? VM_ENTRY_IA32E_MODE : 0);

	if (controls == vmx->entry_controls)
		return;
	vmx->entry_controls = controls;
	vmcs_write32(VM_ENTRY_CONTROLS, controls);
}
