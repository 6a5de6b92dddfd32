// SPDX-License-Identifier: GPL-2.0
/*
 * Register state between struct vcpu and the VMCS, by groups. What the guest sees of CR0 and CR4 is not what the
 * hardware runs with: bits of the host's stand in the field, the guest's view in the read shadow. Source: SDM volume 3,
 * "Guest-State Area", "Guest/Host Masks and Read Shadows for CR0 and CR4".
 */
#include <linux/percpu.h>
#include <asm/debugreg.h>
#include <asm/msr.h>
#include <asm/processor-flags.h>

#include "vmx.h"
#include "../cpu/control.h"
#include "../cpu/guest_debug.h"
#include "../cpu/regs.h"

#define CR0_OWNED X86_CR0_TS

/*
 * CD and NW have no meaning for a guest whose memory types are EPT's. PE and PG are free in an unrestricted guest;
 * other fixed bits (NE) stay as VMX wants them. Source: SDM volume 3, "Restrictions on VMX Operation".
 */
static u64 hardware_cr0(u64 cr0)
{
	u64 fixed0 = vmx_capabilities.cr0_fixed0 & ~(X86_CR0_PE | X86_CR0_PG);

	return ((cr0 & ~(X86_CR0_CD | X86_CR0_NW)) | fixed0) & vmx_capabilities.cr0_fixed1;
}

/* With the host's MCE: a machine check is the host's whatever the guest thinks of it. */
static u64 hardware_cr4(u64 cr4)
{
	return (cr4 | vmx_capabilities.cr4_fixed0 | (native_read_cr4() & X86_CR4_MCE)) & vmx_capabilities.cr4_fixed1;
}

static void cr0_from_vmcs(struct vcpu *vcpu)
{
	vcpu->cr0 = (vcpu->cr0 & ~CR0_OWNED) | (vmcs_read_natural(GUEST_CR0) & CR0_OWNED);
}

static void cr0_to_vmcs(struct vcpu *vcpu)
{
	vmcs_write_natural(GUEST_CR0, hardware_cr0(vcpu->cr0));
	vmcs_write_natural(CR0_READ_SHADOW, vcpu->cr0);
}

static void cr3_from_vmcs(struct vcpu *vcpu)
{
	vcpu->cr3 = vmcs_read_natural(GUEST_CR3);
}

static void cr3_to_vmcs(struct vcpu *vcpu)
{
	vmcs_write_natural(GUEST_CR3, vcpu->cr3);
}

static void cr4_from_vmcs(struct vcpu *vcpu)
{
	u64 owned = to_vmx(vcpu)->cr4_owned;

	vcpu->cr4 = (vcpu->cr4 & ~owned) | (vmcs_read_natural(GUEST_CR4) & owned);
}

static void cr4_to_vmcs(struct vcpu *vcpu)
{
	vmcs_write_natural(GUEST_CR4, hardware_cr4(vcpu->cr4));
	vmcs_write_natural(CR4_READ_SHADOW, vcpu->cr4);
}

static void efer_to_vmcs(struct vcpu *vcpu)
{
	vmcs_write64(GUEST_IA32_EFER, vcpu->efer);
	vmx_set_ia32e_mode_guest(to_vmx(vcpu), vcpu->efer & EFER_LMA);
	vmx_fix_loaded_tss(vcpu);
	/* SCE may be on now. */
	switch_msrs_load_guest(vcpu);
}

static void rip_from_vmcs(struct vcpu *vcpu)
{
	vcpu->regs.rip = vmcs_read_natural(GUEST_RIP);
}

static void rip_to_vmcs(struct vcpu *vcpu)
{
	vmcs_write_natural(GUEST_RIP, vcpu->regs.rip);
}

static void rsp_from_vmcs(struct vcpu *vcpu)
{
	vcpu->regs.gpr[REG_RSP] = vmcs_read_natural(GUEST_RSP);
}

static void rsp_to_vmcs(struct vcpu *vcpu)
{
	vmcs_write_natural(GUEST_RSP, vcpu->regs.gpr[REG_RSP]);
}

static void rflags_from_vmcs(struct vcpu *vcpu)
{
	vcpu->regs.rflags = vmcs_read_natural(GUEST_RFLAGS);
}

static void rflags_to_vmcs(struct vcpu *vcpu)
{
	vmcs_write_natural(GUEST_RFLAGS, vcpu->regs.rflags | RFLAGS_FIXED);
	vmx_set_pending_single_step(vcpu);
}

static void tables_from_vmcs(struct vcpu *vcpu)
{
	vcpu->gdt.base = vmcs_read_natural(GUEST_GDTR_BASE);
	vcpu->gdt.limit = vmcs_read32(GUEST_GDTR_LIMIT);
	vcpu->idt.base = vmcs_read_natural(GUEST_IDTR_BASE);
	vcpu->idt.limit = vmcs_read32(GUEST_IDTR_LIMIT);
}

static void tables_to_vmcs(struct vcpu *vcpu)
{
	vmcs_write_natural(GUEST_GDTR_BASE, vcpu->gdt.base);
	vmcs_write32(GUEST_GDTR_LIMIT, vcpu->gdt.limit);
	vmcs_write_natural(GUEST_IDTR_BASE, vcpu->idt.base);
	vmcs_write32(GUEST_IDTR_LIMIT, vcpu->idt.limit);
}

/** vmx_load_breakpoints - what of the debug registers no VMCS field switches; wanted only while DR7 enables some */
void vmx_load_breakpoints(struct vmx_vcpu *vmx)
{
	const struct vcpu *vcpu = vmx->vcpu;
	const u64 *dr = guest_debug_dr(vcpu);

	set_debugreg(dr[0], 0);
	set_debugreg(dr[1], 1);
	set_debugreg(dr[2], 2);
	set_debugreg(dr[3], 3);
	set_debugreg(vcpu->dr6, 6);
	vmx->breakpoints_loaded = true;
}

static void dr_to_vmcs(struct vcpu *vcpu)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);

	vmx->wants_breakpoints = guest_debug_dr7(vcpu) & DR7_ENABLED;
	vmcs_write_natural(GUEST_DR7, guest_debug_dr7(vcpu));
	if (vmx->breakpoints_loaded)
		vmx_load_breakpoints(vmx);
}

/* With PAE paging the CPU loads these at MOV to CR3, without an exit. */
static void pdptrs_from_vmcs(struct vcpu *vcpu)
{
	int i;

	if (!(vcpu->cr0 & X86_CR0_PG) || !(vcpu->cr4 & X86_CR4_PAE) || (vcpu->efer & EFER_LMA))
		return;
	for (i = 0; i < ARRAY_SIZE(vcpu->pdptrs); i++)
		vcpu->pdptrs[i] = vmcs_read64(GUEST_PDPTR0 + 2 * i);
}

static void pdptrs_to_vmcs(struct vcpu *vcpu)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(vcpu->pdptrs); i++)
		vmcs_write64(GUEST_PDPTR0 + 2 * i, vcpu->pdptrs[i]);
}

static void sysenter_from_vmcs(struct vcpu *vcpu)
{
	vcpu->msr.sysenter_cs = vmcs_read32(GUEST_SYSENTER_CS);
	vcpu->msr.sysenter_esp = vmcs_read_natural(GUEST_SYSENTER_ESP);
	vcpu->msr.sysenter_eip = vmcs_read_natural(GUEST_SYSENTER_EIP);
}

static void sysenter_to_vmcs(struct vcpu *vcpu)
{
	vmcs_write32(GUEST_SYSENTER_CS, vcpu->msr.sysenter_cs);
	vmcs_write_natural(GUEST_SYSENTER_ESP, vcpu->msr.sysenter_esp);
	vmcs_write_natural(GUEST_SYSENTER_EIP, vcpu->msr.sysenter_eip);
}

/* In the CPU; a slice's end brings it home. */
static void syscall_from_cpu(struct vcpu *vcpu)
{
	if (vcpu->in_slice)
		vmx_save_guest_msrs(vcpu);
}

static void pat_to_vmcs(struct vcpu *vcpu)
{
	vmcs_write64(GUEST_IA32_PAT, vcpu->msr.pat);
}

static void tsc_to_vmcs(struct vcpu *vcpu)
{
	vmcs_write64(TSC_OFFSET, vcpu->tsc_offset);
	if (backend.tsc_ratio_bits)
		vmcs_write64(TSC_MULTIPLIER, vcpu->tsc_ratio);
}

static void shadow_from_vmcs(struct vcpu *vcpu)
{
	vcpu->shadow = vmx_shadow(vmcs_read32(GUEST_INTERRUPTIBILITY_INFO));
}

static void shadow_to_vmcs(struct vcpu *vcpu)
{
	u32 interruptibility = vcpu->shadow & (SHADOW_STI | SHADOW_MOV_SS);

	if (vcpu->shadow & SHADOW_NMI)
		interruptibility |= GUEST_INTR_STATE_NMI;
	vmcs_write32(GUEST_INTERRUPTIBILITY_INFO, interruptibility);
	vmx_set_pending_single_step(vcpu);
}

/**
 * vmx_set_pending_single_step - in an interrupt shadow BS must say what TF says
 * @vcpu: in a slice, or its VMCS loaded
 * The trap of the instruction that made the shadow is still to come.
 * Source: SDM volume 3, "Checks on Guest Non-Register State", pending debug exceptions.
 */
void vmx_set_pending_single_step(struct vcpu *vcpu)
{
	unsigned long pending;

	vcpu_know(vcpu, STATE_RFLAGS | STATE_SHADOW);
	if (likely(!(vcpu->shadow & (SHADOW_STI | SHADOW_MOV_SS))))
		return;
	pending = vmcs_read_natural(GUEST_PENDING_DBG_EXCEPTIONS) & ~(unsigned long)DR_STEP;
	if (vcpu->regs.rflags & RFLAGS_TF)
		pending |= DR_STEP;
	vmcs_write_natural(GUEST_PENDING_DBG_EXCEPTIONS, pending);
}

/*
 * By the number of the group's bit; segments have functions of their own. A group without a function is never newer in
 * hardware, or not the VMCS's.
 */
static const struct {
	void (*read)(struct vcpu *vcpu);
	void (*write)(struct vcpu *vcpu);
} groups[] = {
	[ilog2(STATE_RIP)] = { rip_from_vmcs, rip_to_vmcs },
	[ilog2(STATE_RSP)] = { rsp_from_vmcs, rsp_to_vmcs },
	[ilog2(STATE_RFLAGS)] = { rflags_from_vmcs, rflags_to_vmcs },
	[ilog2(STATE_CR0)] = { cr0_from_vmcs, cr0_to_vmcs },
	[ilog2(STATE_CR3)] = { cr3_from_vmcs, cr3_to_vmcs },
	[ilog2(STATE_CR4)] = { cr4_from_vmcs, cr4_to_vmcs },
	[ilog2(STATE_EFER)] = { NULL, efer_to_vmcs },
	[ilog2(STATE_TABLES)] = { tables_from_vmcs, tables_to_vmcs },
	[ilog2(STATE_DR)] = { NULL, dr_to_vmcs },
	[ilog2(STATE_PDPTRS)] = { pdptrs_from_vmcs, pdptrs_to_vmcs },
	[ilog2(STATE_SYSENTER)] = { sysenter_from_vmcs, sysenter_to_vmcs },
	[ilog2(STATE_SYSCALL)] = { syscall_from_cpu, vmx_load_guest_msrs },
	[ilog2(STATE_SHADOW)] = { shadow_from_vmcs, shadow_to_vmcs },
	[ilog2(STATE_PAT)] = { NULL, pat_to_vmcs },
	[ilog2(STATE_CR2)] = { NULL, NULL },
	[ilog2(STATE_MODE)] = { vmx_read_mode, NULL },
	[ilog2(STATE_TSC)] = { NULL, tsc_to_vmcs },
};

/* What of STATE_EMULATION an exit leaves in the VMCS. Finding each group's function costs more than its VMREAD. */
#define READ_AT_ONCE (STATE_EMULATION & ~STATE_EFER)

static void read_at_once(struct vcpu *vcpu)
{
	rip_from_vmcs(vcpu);
	rsp_from_vmcs(vcpu);
	rflags_from_vmcs(vcpu);
	cr3_from_vmcs(vcpu);
	shadow_from_vmcs(vcpu);
	vmx_read_mode(vcpu);
}

void vmx_read_state(struct vcpu *vcpu, u32 missing)
{
	unsigned long left = missing;
	unsigned int bit;

	if (!vcpu->in_slice)
		vmcs_get(to_vmx(vcpu));
	if ((left & READ_AT_ONCE) == READ_AT_ONCE) {
		read_at_once(vcpu);
		left &= ~READ_AT_ONCE;
	} else if (left == STATE_MODE) {
		vmx_read_mode(vcpu);
		left = 0;
	}
	for (; left; left &= left - 1) {
		bit = __ffs(left);
		if (bit >= STATE_FIRST_SEGMENT)
			vmx_read_segment(vcpu, bit - STATE_FIRST_SEGMENT);
		else if (groups[bit].read)
			groups[bit].read(vcpu);
	}
	vcpu->known |= missing;
	if (!vcpu->in_slice)
		vmcs_put();
}

void vmx_write_state(struct vcpu *vcpu, u32 changed)
{
	unsigned long left = changed;
	unsigned int bit;

	for (; left; left &= left - 1) {
		bit = __ffs(left);
		if (bit >= STATE_FIRST_SEGMENT)
			vmx_write_segment(vcpu, bit - STATE_FIRST_SEGMENT);
		else if (groups[bit].write)
			groups[bit].write(vcpu);
	}
}
