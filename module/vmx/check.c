// SPDX-License-Identifier: GPL-2.0
/* See check.h. Segments stand in check_segments.c. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/ratelimit.h>
#include <asm/debugreg.h>
#include <asm/msr.h>
#include <asm/processor-flags.h>

#include "check.h"

void check_broken(const char *section, const char *rule, const char *field, unsigned long value)
{
	pr_err("VM entry breaks the rule \"%s\": %s is %#lx (SDM volume 3, \"%s\")\n", rule, field, value, section);
}

static void view_guest(struct guest_view *guest)
{
	enum segment seg;

	*guest = (struct guest_view){
		.cr0 = vmcs_read_natural(GUEST_CR0),
		.cr4 = vmcs_read_natural(GUEST_CR4),
		.efer = vmcs_read64(GUEST_IA32_EFER),
		.rflags = vmcs_read_natural(GUEST_RFLAGS),
		.ia32e = vmcs_read32(VM_ENTRY_CONTROLS) & VM_ENTRY_IA32E_MODE,
		.interruptibility = vmcs_read32(GUEST_INTERRUPTIBILITY_INFO),
		.injected = vmcs_read32(VM_ENTRY_INTR_INFO_FIELD),
		.maxphyaddr = boot_cpu_data.x86_phys_bits,
	};
	guest->v8086 = guest->rflags & RFLAGS_VM;
	if (!(guest->injected & INTR_INFO_VALID_MASK))
		guest->injected = 0;
	for (seg = 0; seg < NR_SEGMENTS; seg++) {
		guest->seg[seg].selector = vmcs_read16(SEGMENT_FIELD(GUEST_ES_SELECTOR, seg));
		guest->seg[seg].base = vmcs_read_natural(SEGMENT_FIELD(GUEST_ES_BASE, seg));
		guest->seg[seg].limit = vmcs_read32(SEGMENT_FIELD(GUEST_ES_LIMIT, seg));
		guest->seg[seg].ar = vmcs_read32(SEGMENT_FIELD(GUEST_ES_AR_BYTES, seg));
	}
}

/* -- controls ---------------------------------------------------------------------------------------------------- */

static bool controls_allowed(u32 capability_msr, u32 controls)
{
	u32 must, may;

	rdmsr(capability_msr, must, may);
	return check_fixed(controls, must, may);
}

/* At its place in the virtual-APIC page. Source: SDM volume 3, "Virtualized APIC Registers". */
static u8 virtual_tpr(void)
{
	return *((u8 *)__va(vmcs_read64(VIRTUAL_APIC_PAGE_ADDR)) + 0x80);
}

#define APIC_ACCESS_MODES (SECONDARY_EXEC_VIRTUALIZE_APIC_ACCESSES | SECONDARY_EXEC_VIRTUALIZE_X2APIC_MODE)

static void check_controls(void)
{
	static const char section[] = "Checks on VMX Controls";
	static const char rule[] = "reserved bits are as the capability MSR says";

#define REQUIRE_ALLOWED(field, msr) REQUIRE(section, field, rule, controls_allowed(msr, vmcs_read32(field)))
	REQUIRE_ALLOWED(PIN_BASED_VM_EXEC_CONTROL, MSR_IA32_VMX_TRUE_PINBASED_CTLS);
	REQUIRE_ALLOWED(CPU_BASED_VM_EXEC_CONTROL, MSR_IA32_VMX_TRUE_PROCBASED_CTLS);
	REQUIRE_ALLOWED(SECONDARY_VM_EXEC_CONTROL, MSR_IA32_VMX_PROCBASED_CTLS2);
	REQUIRE_ALLOWED(VM_EXIT_CONTROLS, MSR_IA32_VMX_TRUE_EXIT_CTLS);
	REQUIRE_ALLOWED(VM_ENTRY_CONTROLS, MSR_IA32_VMX_TRUE_ENTRY_CTLS);
#undef REQUIRE_ALLOWED
	REQUIRE(section, VIRTUAL_PROCESSOR_ID, "the VPID is not 0", vmcs_read16(VIRTUAL_PROCESSOR_ID));
	REQUIRE(section, EPT_POINTER, "EPT memory type is write-back, with four levels",
		(vmcs_read64(EPT_POINTER) & (VMX_EPTP_MT_MASK | VMX_EPTP_PWL_MASK)) ==
			(VMX_EPTP_MT_WB | VMX_EPTP_PWL_4));
	REQUIRE(section, SECONDARY_VM_EXEC_CONTROL, "not both of virtualize APIC accesses and x2APIC mode",
		(vmcs_read32(SECONDARY_VM_EXEC_CONTROL) & APIC_ACCESS_MODES) != APIC_ACCESS_MODES);
	if ((vmcs_read32(CPU_BASED_VM_EXEC_CONTROL) & CPU_BASED_TPR_SHADOW) &&
	    !(vmcs_read32(SECONDARY_VM_EXEC_CONTROL) & SECONDARY_EXEC_VIRTUAL_INTR_DELIVERY))
		REQUIRE(section, TPR_THRESHOLD, "it is not above the class of the virtual TPR",
			vmcs_read32(TPR_THRESHOLD) <= virtual_tpr() >> 4);
}

static bool pushes_error_code(u8 vector)
{
	return BIT(vector) & (BIT(VECTOR_DF) | BIT(VECTOR_TS) | BIT(VECTOR_NP) | BIT(VECTOR_SS) | BIT(VECTOR_GP) |
			      BIT(VECTOR_PF) | BIT(VECTOR_AC) | BIT(VECTOR_CP));
}

static void check_injected_event(const struct guest_view *guest)
{
	static const char section[] = "VM-Entry Control Fields";
	u32 type = guest->injected & INTR_INFO_INTR_TYPE_MASK, length;
	u8 vector = guest->injected & INTR_INFO_VECTOR_MASK;
	bool has_error = guest->injected & INTR_INFO_DELIVER_CODE_MASK;

	if (!guest->injected)
		return;
	REQUIRE(section, VM_ENTRY_INTR_INFO_FIELD, "the type is not a reserved one", type != INTR_TYPE_RESERVED);
	REQUIRE(section, VM_ENTRY_INTR_INFO_FIELD, "the vector of an NMI is 2",
		type != INTR_TYPE_NMI_INTR || vector == 2);
	REQUIRE(section, VM_ENTRY_INTR_INFO_FIELD, "the vector of a hardware exception is at most 31",
		type != INTR_TYPE_HARD_EXCEPTION || vector < 32);
	REQUIRE(section, VM_ENTRY_INTR_INFO_FIELD,
		"an error code goes with the hardware exceptions that push one, in protected mode",
		has_error == (type == INTR_TYPE_HARD_EXCEPTION && (guest->cr0 & X86_CR0_PE) && vector < 32 &&
			      pushes_error_code(vector)));
	if (has_error)
		REQUIRE(section, VM_ENTRY_EXCEPTION_ERROR_CODE, "bits 31:16 are 0",
			!(vmcs_read32(VM_ENTRY_EXCEPTION_ERROR_CODE) >> 16));
	if (type < INTR_TYPE_SOFT_INTR)
		return;
	length = vmcs_read32(VM_ENTRY_INSTRUCTION_LEN);
	REQUIRE(section, VM_ENTRY_INSTRUCTION_LEN, "the length of a software event's instruction is 1 to 15",
		length >= 1 && length <= 15);
}

/* -- host -------------------------------------------------------------------------------------------------------- */

static void check_host(void)
{
	static const char section[] = "Checks on Host Control Registers, MSRs, and SSP";
	static const char segments[] = "Checks on Host Segment and Descriptor-Table Registers";
	const struct vmx_capabilities *caps = &vmx_capabilities;

	REQUIRE(section, HOST_CR0, "no bit that VMX fixes has another value",
		check_fixed(vmcs_read_natural(HOST_CR0), caps->cr0_fixed0, caps->cr0_fixed1));
	REQUIRE(section, HOST_CR4, "no bit that VMX fixes has another value",
		check_fixed(vmcs_read_natural(HOST_CR4), caps->cr4_fixed0, caps->cr4_fixed1));
	REQUIRE(section, HOST_IA32_EFER, "LMA and LME are 1 for a 64-bit host",
		(vmcs_read64(HOST_IA32_EFER) & (EFER_LMA | EFER_LME)) == (EFER_LMA | EFER_LME));
	REQUIRE(segments, HOST_CS_SELECTOR, "CS is not null, RPL and TI are 0",
		vmcs_read16(HOST_CS_SELECTOR) && !(vmcs_read16(HOST_CS_SELECTOR) & 7));
	REQUIRE(segments, HOST_TR_SELECTOR, "TR is not null, RPL and TI are 0",
		vmcs_read16(HOST_TR_SELECTOR) && !(vmcs_read16(HOST_TR_SELECTOR) & 7));
	REQUIRE(segments, HOST_FS_BASE, "the base is canonical", check_canonical(vmcs_read_natural(HOST_FS_BASE)));
	REQUIRE(segments, HOST_GS_BASE, "the base is canonical", check_canonical(vmcs_read_natural(HOST_GS_BASE)));
	REQUIRE(segments, HOST_TR_BASE, "the base is canonical", check_canonical(vmcs_read_natural(HOST_TR_BASE)));
	REQUIRE(segments, HOST_GDTR_BASE, "the base is canonical", check_canonical(vmcs_read_natural(HOST_GDTR_BASE)));
	REQUIRE(segments, HOST_IDTR_BASE, "the base is canonical", check_canonical(vmcs_read_natural(HOST_IDTR_BASE)));
}

/* -- guest ------------------------------------------------------------------------------------------------------- */

static bool pat_valid(u64 pat)
{
	/* Each of the eight bytes is 0, 1, 4, 5, 6 or 7: where bit 1 is set, so is bit 2. */
	return !(pat & 0xf8f8f8f8f8f8f8f8ull) && !((pat & 0x0202020202020202ull) << 1 & ~pat);
}

static void check_control_registers(const struct guest_view *guest)
{
	static const char section[] = "Checks on Guest Control Registers, Debug Registers, and MSRs";
	const struct vmx_capabilities *caps = &vmx_capabilities;
	u64 cr0_fixed0 = caps->cr0_fixed0 & ~(X86_CR0_PE | X86_CR0_PG);

	REQUIRE(section, GUEST_CR0, "no bit that VMX fixes has another value",
		check_fixed(guest->cr0, cr0_fixed0, caps->cr0_fixed1));
	REQUIRE(section, GUEST_CR0, "PG needs PE", !(guest->cr0 & X86_CR0_PG) || (guest->cr0 & X86_CR0_PE));
	REQUIRE(section, GUEST_CR4, "no bit that VMX fixes has another value",
		check_fixed(guest->cr4, caps->cr4_fixed0, caps->cr4_fixed1));
	REQUIRE(section, GUEST_CR0, "IA-32e mode needs CR0.PG", !guest->ia32e || (guest->cr0 & X86_CR0_PG));
	REQUIRE(section, GUEST_CR4, "IA-32e mode needs CR4.PAE", !guest->ia32e || (guest->cr4 & X86_CR4_PAE));
	REQUIRE(section, GUEST_CR4, "PCIDE needs IA-32e mode", guest->ia32e || !(guest->cr4 & X86_CR4_PCIDE));
	REQUIRE(section, GUEST_CR3, "bits beyond the physical-address width are 0",
		!(vmcs_read_natural(GUEST_CR3) >> guest->maxphyaddr));
	REQUIRE(section, GUEST_DR7, "bits 63:32 are 0", !(vmcs_read_natural(GUEST_DR7) >> 32));
	REQUIRE(section, GUEST_SYSENTER_ESP, "the address is canonical",
		check_canonical(vmcs_read_natural(GUEST_SYSENTER_ESP)));
	REQUIRE(section, GUEST_SYSENTER_EIP, "the address is canonical",
		check_canonical(vmcs_read_natural(GUEST_SYSENTER_EIP)));
	REQUIRE(section, GUEST_IA32_PAT, "each entry is a memory type", pat_valid(vmcs_read64(GUEST_IA32_PAT)));
	REQUIRE(section, GUEST_IA32_EFER, "reserved bits are 0",
		!(guest->efer & ~(u64)(EFER_SCE | EFER_LME | EFER_LMA | EFER_NX)));
	REQUIRE(section, GUEST_IA32_EFER, "LMA is the VM-entry control \"IA-32e mode guest\"",
		!(guest->efer & EFER_LMA) == !guest->ia32e);
	REQUIRE(section, GUEST_IA32_EFER, "with CR0.PG, LMA is LME",
		!(guest->cr0 & X86_CR0_PG) || !(guest->efer & EFER_LMA) == !(guest->efer & EFER_LME));
}

static void check_tables(void)
{
	static const char section[] = "Checks on Guest Descriptor-Table Registers";

	REQUIRE(section, GUEST_GDTR_BASE, "the base is canonical", check_canonical(vmcs_read_natural(GUEST_GDTR_BASE)));
	REQUIRE(section, GUEST_IDTR_BASE, "the base is canonical", check_canonical(vmcs_read_natural(GUEST_IDTR_BASE)));
	REQUIRE(section, GUEST_GDTR_LIMIT, "bits 31:16 of the limit are 0", !(vmcs_read32(GUEST_GDTR_LIMIT) >> 16));
	REQUIRE(section, GUEST_IDTR_LIMIT, "bits 31:16 of the limit are 0", !(vmcs_read32(GUEST_IDTR_LIMIT) >> 16));
}

#define RFLAGS_RESERVED (~GENMASK_ULL(21, 0) | BIT_ULL(3) | BIT_ULL(5) | BIT_ULL(15))

static void check_rip_and_rflags(const struct guest_view *guest)
{
	static const char section[] = "Checks on Guest RIP, RFLAGS, and SSP";
	bool code64 = guest->ia32e && (guest->seg[SEG_CS].ar & VMX_AR_L_MASK);
	u64 rip = vmcs_read_natural(GUEST_RIP);

	REQUIRE(section, GUEST_RIP, "outside of 64-bit code bits 63:32 are 0", code64 || !(rip >> 32));
	REQUIRE(section, GUEST_RIP, "in 64-bit code the address is canonical", !code64 || check_canonical(rip));
	REQUIRE(section, GUEST_RFLAGS, "reserved bits are 0, bit 1 is 1",
		!(guest->rflags & RFLAGS_RESERVED) && (guest->rflags & RFLAGS_FIXED));
	REQUIRE(section, GUEST_RFLAGS, "VM is 0 in IA-32e mode and with CR0.PE 0",
		!guest->v8086 || (!guest->ia32e && (guest->cr0 & X86_CR0_PE)));
	REQUIRE(section, GUEST_RFLAGS, "IF is 1 when an external interrupt is injected",
		!guest->injected || (guest->injected & INTR_INFO_INTR_TYPE_MASK) != INTR_TYPE_EXT_INTR ||
			(guest->rflags & RFLAGS_IF));
}

static void check_non_register_state(const struct guest_view *guest)
{
	static const char section[] = "Checks on Guest Non-Register State";
	u32 blocked = guest->interruptibility & (GUEST_INTR_STATE_STI | GUEST_INTR_STATE_MOV_SS);
	u32 type = guest->injected & INTR_INFO_INTR_TYPE_MASK;
	bool stepping = vmcs_read_natural(GUEST_PENDING_DBG_EXCEPTIONS) & DR_STEP;

	REQUIRE(section, GUEST_ACTIVITY_STATE, "the state is active",
		vmcs_read32(GUEST_ACTIVITY_STATE) == GUEST_ACTIVITY_ACTIVE);
	REQUIRE(section, GUEST_INTERRUPTIBILITY_INFO, "reserved bits are 0", !(guest->interruptibility >> 5));
	REQUIRE(section, GUEST_INTERRUPTIBILITY_INFO, "not both STI and MOV SS block",
		blocked != (GUEST_INTR_STATE_STI | GUEST_INTR_STATE_MOV_SS));
	REQUIRE(section, GUEST_INTERRUPTIBILITY_INFO, "STI blocks only while RFLAGS.IF is 1",
		!(blocked & GUEST_INTR_STATE_STI) || (guest->rflags & RFLAGS_IF));
	REQUIRE(section, GUEST_INTERRUPTIBILITY_INFO, "nothing blocks when an external interrupt is injected",
		!guest->injected || type != INTR_TYPE_EXT_INTR || !blocked);
	REQUIRE(section, GUEST_INTERRUPTIBILITY_INFO, "neither MOV SS nor an NMI blocks when an NMI is injected",
		type != INTR_TYPE_NMI_INTR ||
			!(guest->interruptibility & (GUEST_INTR_STATE_MOV_SS | GUEST_INTR_STATE_NMI)));
	REQUIRE(section, GUEST_PENDING_DBG_EXCEPTIONS, "while STI or MOV SS blocks, BS is RFLAGS.TF",
		!blocked || stepping == !!(guest->rflags & RFLAGS_TF));
	REQUIRE(section, VMCS_LINK_POINTER, "the pointer is all 1", vmcs_read64(VMCS_LINK_POINTER) == ~0ull);
}

/* Bits that are reserved in an entry that is present: 2:1, 8:5, and those beyond the physical-address width. */
static void check_pdptes(const struct guest_view *guest)
{
	static const char section[] = "Checks on Guest Page-Directory-Pointer-Table Entries";
	u64 reserved = GENMASK_ULL(2, 1) | GENMASK_ULL(8, 5) | ~GENMASK_ULL(guest->maxphyaddr - 1, 0), pdpte;
	int i;

	if (!(guest->cr0 & X86_CR0_PG) || !(guest->cr4 & X86_CR4_PAE) || guest->ia32e)
		return;
	for (i = 0; i < 4; i++) {
		pdpte = vmcs_read64(GUEST_PDPTR0 + 2 * i);
		if ((pdpte & 1) && (pdpte & reserved))
			check_broken(section, "reserved bits of a present entry are 0", "GUEST_PDPTR0-3", pdpte);
	}
}

static void check_guest(const struct guest_view *guest)
{
	check_control_registers(guest);
	check_segments(guest);
	check_tables();
	check_rip_and_rflags(guest);
	check_non_register_state(guest);
	check_pdptes(guest);
}

/**
 * vmx_describe_failure - says in the log which rules the last VM entry broke
 * @vcpu: in a slice or outside
 * A client can make any number of entries fail, so the log gets a few.
 */
void vmx_describe_failure(struct vcpu *vcpu)
{
	static DEFINE_RATELIMIT_STATE(limit, 60 * HZ, 3);
	struct vmx_vcpu *vmx = to_vmx(vcpu);
	struct guest_view guest;

	if (!__ratelimit(&limit))
		return;
	vmcs_get(vmx);
	pr_err("VM entry of pid %d's vCPU %u failed: exit reason %#x, qualification %#llx, VM-instruction error %u\n",
	       current->tgid, vcpu->id, vmx->exit.reason, vmx->exit.qualification, vmx->exit.instruction_error);
	view_guest(&guest);
	check_controls();
	check_injected_event(&guest);
	check_host();
	check_guest(&guest);
	vmcs_put();
}
