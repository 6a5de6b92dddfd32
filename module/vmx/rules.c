// SPDX-License-Identifier: GPL-2.0
/*
 * See rules.h. Source: SDM volume 3, chapter "VM Entries". Rules of features that pith's guests do not have are in
 * rules_features.c, those of the VM-entry MSR-load area in rules_msr_load.c; what the fields are called in
 * rule_fields.c.
 */
#include "rules.h"
#include "../cpu/regs.h"

/* -- bits of the fields ------------------------------------------------------------------------------------------ */

#define PIN_EXTERNAL BIT_ULL(0)
#define PIN_NMI BIT_ULL(3)
#define PIN_VIRTUAL_NMIS BIT_ULL(5)
#define PIN_TIMER BIT_ULL(6)
#define PIN_POSTED BIT_ULL(7)

#define PRIMARY_TPR_SHADOW BIT_ULL(21)
#define PRIMARY_NMI_WINDOW BIT_ULL(22)
#define PRIMARY_IO_BITMAPS BIT_ULL(25)
#define PRIMARY_TRAP_FLAG BIT_ULL(27)
#define PRIMARY_MSR_BITMAPS BIT_ULL(28)
#define PRIMARY_SECONDARY BIT_ULL(31)

#define SECONDARY_APIC_ACCESSES BIT_ULL(0)
#define SECONDARY_EPT BIT_ULL(1)
#define SECONDARY_X2APIC BIT_ULL(4)
#define SECONDARY_VPID BIT_ULL(5)
#define SECONDARY_UNRESTRICTED BIT_ULL(7)
#define SECONDARY_APIC_REGISTERS BIT_ULL(8)
#define SECONDARY_DELIVERY BIT_ULL(9)
#define SECONDARY_VMFUNC BIT_ULL(13)
#define SECONDARY_SHADOWING BIT_ULL(14)
#define SECONDARY_PML BIT_ULL(17)
#define SECONDARY_MODE_BASED BIT_ULL(22)
#define SECONDARY_TSC_SCALING BIT_ULL(25)

#define EXIT_HOST_64 BIT_ULL(9)
#define EXIT_ACK BIT_ULL(15)
#define EXIT_LOAD_PAT BIT_ULL(19)
#define EXIT_LOAD_EFER BIT_ULL(21)
#define EXIT_SAVE_TIMER BIT_ULL(22)
#define EXIT_LOAD_CET BIT_ULL(28)
#define EXIT_LOAD_PKRS BIT_ULL(29)

#define ENTRY_LOAD_DEBUG BIT_ULL(2)
#define ENTRY_IA32E BIT_ULL(9)
#define ENTRY_TO_SMM BIT_ULL(10)
#define ENTRY_DEACTIVATE_DUAL BIT_ULL(11)
#define ENTRY_LOAD_PAT BIT_ULL(14)
#define ENTRY_LOAD_EFER BIT_ULL(15)
#define ENTRY_LOAD_BNDCFGS BIT_ULL(16)
#define ENTRY_LOAD_RTIT BIT_ULL(18)
#define ENTRY_LOAD_CET BIT_ULL(20)
#define ENTRY_LOAD_PKRS BIT_ULL(22)

#define CR0_PE BIT_ULL(0)
#define CR0_WP BIT_ULL(16)
#define CR0_PG BIT_ULL(31)
#define CR4_PAE BIT_ULL(5)
#define CR4_PCIDE BIT_ULL(17)
#define CR4_CET BIT_ULL(23)
#define EFER_LME BIT_ULL(8)
#define EFER_LMA BIT_ULL(10)

#define INJECT_VALID BIT_ULL(31)
#define INJECT_ERROR BIT_ULL(11)
#define INJECT_RESERVED GENMASK_ULL(30, 12)
#define INJECT_VECTOR(info) ((info)&0xff)
#define INJECT_TYPE(info) ((info) >> 8 & 7)
enum {
	TYPE_EXTERNAL,
	TYPE_RESERVED,
	TYPE_NMI,
	TYPE_EXCEPTION,
	TYPE_SOFT,
	TYPE_PRIVILEGED,
	TYPE_SOFT_EXCEPTION,
	TYPE_OTHER
};

#define SHADOW_STI BIT_ULL(0)
#define SHADOW_MOV_SS BIT_ULL(1)
#define SHADOW_SMI BIT_ULL(2)
#define SHADOW_NMI BIT_ULL(3)
#define PENDING_BS BIT_ULL(14)
#define PENDING_RESERVED (GENMASK_ULL(11, 4) | BIT_ULL(13) | BIT_ULL(15) | ~GENMASK_ULL(16, 0))
#define DEBUGCTL_BTF BIT_ULL(1)
#define DEBUGCTL_RESERVED (GENMASK_ULL(5, 3) | ~GENMASK_ULL(15, 0))
#define RFLAGS_RESERVED (~GENMASK_ULL(21, 0) | BIT_ULL(3) | BIT_ULL(5) | BIT_ULL(15))

#define RIGHTS_TYPE(rights) ((rights)&0xf)
#define RIGHTS_S BIT_ULL(4)
#define RIGHTS_DPL(rights) ((rights) >> 5 & 3)
#define RIGHTS_P BIT_ULL(7)
#define RIGHTS_L BIT_ULL(13)
#define RIGHTS_DB BIT_ULL(14)
#define RIGHTS_G BIT_ULL(15)
#define RIGHTS_UNUSABLE BIT_ULL(16)
#define RIGHTS_RESERVED (GENMASK_ULL(11, 8) | GENMASK_ULL(31, 17))
#define RIGHTS_V8086 0xf3
#define TYPE_ACCESSED BIT_ULL(0)
#define TYPE_READABLE BIT_ULL(1)
#define TYPE_CONFORMING BIT_ULL(2)
#define TYPE_CODE BIT_ULL(3)
#define SELECTOR_TI BIT_ULL(2)
#define SELECTOR_RPL 3

enum { ACTIVE, HALTED, SHUTDOWN, WAIT_FOR_SIPI };

#define HIGH_HALF GENMASK_ULL(63, 32)
#define PAGE_OFFSET_BITS GENMASK_ULL(11, 0)

/* -- facts ------------------------------------------------------------------------------------------------------- */

#define SECONDARY_ON BIT_ULL(0)
#define IO_BITMAPS BIT_ULL(1)
#define MSR_BITMAPS BIT_ULL(2)
#define TPR_SHADOW BIT_ULL(3)
#define NO_TPR_SHADOW BIT_ULL(4)
#define APIC_ACCESSES BIT_ULL(5)
#define NO_APIC_ACCESSES BIT_ULL(6)
#define DELIVERY BIT_ULL(7)
#define NO_DELIVERY BIT_ULL(8)
#define POSTED BIT_ULL(9)
#define VIRTUAL_NMIS BIT_ULL(10)
#define NO_VIRTUAL_NMIS BIT_ULL(11)
#define VPID BIT_ULL(12)
#define EPT BIT_ULL(13)
#define NO_EPT BIT_ULL(14)
#define UNRESTRICTED BIT_ULL(15)
#define RESTRICTED BIT_ULL(16)
#define VM_FUNCTIONS BIT_ULL(17)
#define SHADOWING BIT_ULL(18)
#define PML BIT_ULL(19)
#define TSC_SCALING BIT_ULL(20)
#define NO_TIMER BIT_ULL(21)
#define EXIT_STORES BIT_ULL(22)
#define EXIT_LOADS BIT_ULL(23)
#define ENTRY_LOADS BIT_ULL(24)
#define INJECTS BIT_ULL(25)
#define INJECTS_SOFT BIT_ULL(26)
#define INJECTS_ERROR BIT_ULL(27)
#define INJECTS_EXTERNAL BIT_ULL(28)
#define INJECTS_NMI BIT_ULL(29)
#define HOST_PAT BIT_ULL(30)
#define HOST_EFER BIT_ULL(31)
#define LOADS_DEBUG BIT_ULL(32)
#define LOADS_PAT BIT_ULL(33)
#define LOADS_EFER BIT_ULL(34)
#define IA32E BIT_ULL(35)
#define LEGACY BIT_ULL(36)
#define CODE64 BIT_ULL(37)
#define NO_CODE64 BIT_ULL(38)
#define PAGING BIT_ULL(39)
#define PAE_PAGING BIT_ULL(40)
#define CET BIT_ULL(41)
#define V8086 BIT_ULL(42)
#define NO_V8086 BIT_ULL(43)
#define FLAT_SS BIT_ULL(44) /* CR0.PE is 0, or the type of CS is 3 */
#define SHADOW BIT_ULL(45)  /* STI or MOV SS blocks */
#define BLOCKED_BY_STI BIT_ULL(46)
#define HALTS BIT_ULL(47)
#define EPTP_SWITCHING BIT_ULL(48)
#define NO_ACCESSED_DIRTY BIT_ULL(49)

/* A fact that is one bit of a field; a second one is the reverse. */
static const struct {
	u64 bit, fact, reverse;
	u8 field;
} bit_facts[] = {
	{ PRIMARY_SECONDARY, SECONDARY_ON, 0, F_CPU_BASED_VM_EXEC_CONTROL },
	{ PRIMARY_IO_BITMAPS, IO_BITMAPS, 0, F_CPU_BASED_VM_EXEC_CONTROL },
	{ PRIMARY_MSR_BITMAPS, MSR_BITMAPS, 0, F_CPU_BASED_VM_EXEC_CONTROL },
	{ PRIMARY_TPR_SHADOW, TPR_SHADOW, NO_TPR_SHADOW, F_CPU_BASED_VM_EXEC_CONTROL },
	{ SECONDARY_APIC_ACCESSES, APIC_ACCESSES, NO_APIC_ACCESSES, F_SECONDARY_VM_EXEC_CONTROL },
	{ SECONDARY_DELIVERY, DELIVERY, NO_DELIVERY, F_SECONDARY_VM_EXEC_CONTROL },
	{ SECONDARY_VPID, VPID, 0, F_SECONDARY_VM_EXEC_CONTROL },
	{ SECONDARY_EPT, EPT, NO_EPT, F_SECONDARY_VM_EXEC_CONTROL },
	{ SECONDARY_UNRESTRICTED, UNRESTRICTED, RESTRICTED, F_SECONDARY_VM_EXEC_CONTROL },
	{ SECONDARY_VMFUNC, VM_FUNCTIONS, 0, F_SECONDARY_VM_EXEC_CONTROL },
	{ SECONDARY_SHADOWING, SHADOWING, 0, F_SECONDARY_VM_EXEC_CONTROL },
	{ SECONDARY_PML, PML, 0, F_SECONDARY_VM_EXEC_CONTROL },
	{ SECONDARY_TSC_SCALING, TSC_SCALING, 0, F_SECONDARY_VM_EXEC_CONTROL },
	{ PIN_POSTED, POSTED, 0, F_PIN_BASED_VM_EXEC_CONTROL },
	{ PIN_VIRTUAL_NMIS, VIRTUAL_NMIS, NO_VIRTUAL_NMIS, F_PIN_BASED_VM_EXEC_CONTROL },
	{ PIN_TIMER, 0, NO_TIMER, F_PIN_BASED_VM_EXEC_CONTROL },
	{ ~0ull, EXIT_STORES, 0, F_VM_EXIT_MSR_STORE_COUNT },
	{ ~0ull, EXIT_LOADS, 0, F_VM_EXIT_MSR_LOAD_COUNT },
	{ ~0ull, ENTRY_LOADS, 0, F_VM_ENTRY_MSR_LOAD_COUNT },
	{ EXIT_LOAD_PAT, HOST_PAT, 0, F_VM_EXIT_CONTROLS },
	{ EXIT_LOAD_EFER, HOST_EFER, 0, F_VM_EXIT_CONTROLS },
	{ ENTRY_LOAD_DEBUG, LOADS_DEBUG, 0, F_VM_ENTRY_CONTROLS },
	{ ENTRY_LOAD_PAT, LOADS_PAT, 0, F_VM_ENTRY_CONTROLS },
	{ ENTRY_LOAD_EFER, LOADS_EFER, 0, F_VM_ENTRY_CONTROLS },
	{ EXIT_LOAD_CET, VMX_HOST_CET, 0, F_VM_EXIT_CONTROLS },
	{ EXIT_LOAD_PKRS, VMX_HOST_PKRS, 0, F_VM_EXIT_CONTROLS },
	{ ENTRY_LOAD_BNDCFGS, VMX_LOADS_BNDCFGS, 0, F_VM_ENTRY_CONTROLS },
	{ ENTRY_LOAD_RTIT, VMX_LOADS_RTIT, 0, F_VM_ENTRY_CONTROLS },
	{ ENTRY_LOAD_CET, VMX_LOADS_CET, 0, F_VM_ENTRY_CONTROLS },
	{ ENTRY_LOAD_PKRS, VMX_LOADS_PKRS, 0, F_VM_ENTRY_CONTROLS },
	{ ENTRY_IA32E, IA32E, LEGACY, F_VM_ENTRY_CONTROLS },
	{ CR0_PG, PAGING, 0, F_GUEST_CR0 },
	{ CR4_CET, CET, 0, F_GUEST_CR4 },
	{ SHADOW_STI | SHADOW_MOV_SS, SHADOW, 0, F_GUEST_INTERRUPTIBILITY_INFO },
	{ SHADOW_STI, BLOCKED_BY_STI, 0, F_GUEST_INTERRUPTIBILITY_INFO },
	{ BIT_ULL(0), EPTP_SWITCHING, 0, F_VM_FUNCTION_CONTROL },
};

static u64 injection_facts(const struct check_view *view)
{
	u64 info = view->value[F_VM_ENTRY_INTR_INFO_FIELD], type = INJECT_TYPE(info), facts = INJECTS;

	if (!(info & INJECT_VALID))
		return 0;
	if (info & INJECT_ERROR)
		facts |= INJECTS_ERROR;
	if (type == TYPE_SOFT || type == TYPE_PRIVILEGED || type == TYPE_SOFT_EXCEPTION)
		facts |= INJECTS_SOFT;
	if (type == TYPE_EXTERNAL)
		facts |= INJECTS_EXTERNAL;
	if (type == TYPE_NMI)
		facts |= INJECTS_NMI;
	return facts;
}

static bool vm_flag_allowed(const struct check_view *view, u64 facts)
{
	return (facts & LEGACY) && (view->value[F_GUEST_CR0] & CR0_PE);
}

static u64 mode_facts(const struct check_view *view, u64 facts)
{
	u64 cs = view->value[F_GUEST_CS_AR_BYTES];

	facts |= (facts & IA32E) && (cs & RIGHTS_L) ? CODE64 : NO_CODE64;
	if ((facts & PAGING) && (facts & LEGACY) && (view->value[F_GUEST_CR4] & CR4_PAE))
		facts |= PAE_PAGING;
	/* Where VM must not be set that is all that is told of it. */
	facts |= (view->value[F_GUEST_RFLAGS] & RFLAGS_VM) && vm_flag_allowed(view, facts) ? V8086 : NO_V8086;
	if (!(view->value[F_GUEST_CR0] & CR0_PE) || RIGHTS_TYPE(cs) == 3)
		facts |= FLAT_SS;
	if (view->value[F_GUEST_ACTIVITY_STATE] == HALTED)
		facts |= HALTS;
	return facts;
}

/* Secondary controls that are not activated count as 0, and so does the list of functions of a guest that has none. */
static void find_facts(struct check_view *view)
{
	u64 facts = view->facts & GENMASK_ULL(63, 56), value;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bit_facts); i++) {
		value = view->value[bit_facts[i].field];
		if (bit_facts[i].field == F_SECONDARY_VM_EXEC_CONTROL && !(facts & SECONDARY_ON))
			value = 0;
		facts |= value & bit_facts[i].bit ? bit_facts[i].fact : bit_facts[i].reverse;
	}
	if (!(facts & VM_FUNCTIONS))
		facts &= ~EPTP_SWITCHING;
	if (!(facts & CPU_EPT_ACCESSED_DIRTY))
		facts |= NO_ACCESSED_DIRTY;
	facts = mode_facts(view, facts | injection_facts(view));
	view->facts = facts;
	/* There is always a CS. */
	view->usable = BIT(SEG_CS);
	for (i = 0; i < NR_SEGMENTS; i++)
		if (!(view->value[F_GUEST_ES_AR_BYTES + i] & RIGHTS_UNUSABLE))
			view->usable |= BIT(i);
}

/* -- what some rules are made of --------------------------------------------------------------------------------- */

static bool below_virtual_tpr(const struct check_view *view, u64 value, u64 unused, unsigned int instance)
{
	return value <= view->virtual_tpr;
}

static bool ept_memory_type(const struct check_view *view, u64 value, u64 unused, unsigned int instance)
{
	return (value & 7) == 6 || ((value & 7) == 0 && (view->facts & CPU_EPT_UNCACHEABLE));
}

static bool ept_walk_length(const struct check_view *view, u64 value, u64 length, unsigned int instance)
{
	return (value >> 3 & 7) == length - 1;
}

/* @count_field: the area has so many entries of 16 bytes. */
static bool area_end(const struct check_view *view, u64 value, u64 count_field, unsigned int instance)
{
	return !((value + view->value[count_field] * 16 - 1) >> view->physical_bits);
}

static bool injects_known_type(const struct check_view *view, u64 info, u64 unused, unsigned int instance)
{
	return INJECT_TYPE(info) != TYPE_RESERVED &&
	       (INJECT_TYPE(info) != TYPE_OTHER || (view->range[RANGE_PRIMARY].may & PRIMARY_TRAP_FLAG));
}

static bool injects_vector_of_type(const struct check_view *view, u64 info, u64 unused, unsigned int instance)
{
	switch (INJECT_TYPE(info)) {
	case TYPE_NMI:
		return INJECT_VECTOR(info) == VECTOR_NMI;
	case TYPE_EXCEPTION:
		return INJECT_VECTOR(info) < 32;
	case TYPE_OTHER:
		return !INJECT_VECTOR(info);
	default:
		return true;
	}
}

#define VECTORS_WITH_ERROR                                                                                     \
	(BIT(VECTOR_DF) | BIT(VECTOR_TS) | BIT(VECTOR_NP) | BIT(VECTOR_SS) | BIT(VECTOR_GP) | BIT(VECTOR_PF) | \
	 BIT(VECTOR_AC))

static bool injects_error_code(const struct check_view *view, u64 info, u64 unused, unsigned int instance)
{
	bool exception = INJECT_TYPE(info) == TYPE_EXCEPTION && INJECT_VECTOR(info) < 32;
	bool protected = (view->value[F_GUEST_CR0] & CR0_PE) || (view->facts & RESTRICTED);

	/* A CPU that leaves the vector open still wants an exception, and protected mode. */
	if (!(view->facts & CPU_CHECKS_ERROR_CODE) && exception && protected)
		return true;
	return !!(info & INJECT_ERROR) == (exception && protected && (VECTORS_WITH_ERROR >> INJECT_VECTOR(info) & 1));
}

static bool injected_length(const struct check_view *view, u64 length, u64 unused, unsigned int instance)
{
	return length <= 15 && (length || (view->facts & CPU_TAKES_LENGTH_0));
}

static bool efer_of_host(const struct check_view *view, u64 efer, u64 unused, unsigned int instance)
{
	bool host64 = view->value[F_VM_EXIT_CONTROLS] & EXIT_HOST_64;

	return !!(efer & EFER_LMA) == host64 && !!(efer & EFER_LME) == host64;
}

static bool efer_of_guest(const struct check_view *view, u64 efer, u64 unused, unsigned int instance)
{
	return !(efer & EFER_LMA) == !(view->facts & IA32E);
}

static bool lma_is_lme(const struct check_view *view, u64 efer, u64 unused, unsigned int instance)
{
	return !(efer & EFER_LMA) == !(efer & EFER_LME);
}

/* CR0 of an unrestricted guest is free to have PE and PG clear. */
static bool fixed_cr0(const struct check_view *view, u64 cr0, u64 unused, unsigned int instance)
{
	return check_in_range(view, view->facts & UNRESTRICTED ? cr0 | CR0_PE | CR0_PG : cr0, RANGE_CR0, instance);
}

static bool base_of_v8086(const struct check_view *view, u64 base, u64 unused, unsigned int instance)
{
	return base == view->value[F_GUEST_ES_SELECTOR + instance] << 4;
}

static bool rpl_of_cs(const struct check_view *view, u64 selector, u64 unused, unsigned int instance)
{
	return !((selector ^ view->value[F_GUEST_CS_SELECTOR]) & SELECTOR_RPL);
}

/* @types: a bit for each that is allowed */
static bool type_is_one_of(const struct check_view *view, u64 rights, u64 types, unsigned int instance)
{
	return types >> RIGHTS_TYPE(rights) & 1;
}

static bool type_of_cs(const struct check_view *view, u64 rights, u64 types, unsigned int instance)
{
	return (types >> RIGHTS_TYPE(rights) & 1) || (RIGHTS_TYPE(rights) == 3 && (view->facts & UNRESTRICTED));
}

static bool readable(const struct check_view *view, u64 rights, u64 unused, unsigned int instance)
{
	return !(rights & TYPE_CODE) || (rights & TYPE_READABLE);
}

static bool dpl_of_cs(const struct check_view *view, u64 rights, u64 unused, unsigned int instance)
{
	u64 dpl = RIGHTS_DPL(rights), ss_dpl = RIGHTS_DPL(view->value[F_GUEST_SS_AR_BYTES]);

	if (RIGHTS_TYPE(rights) == 3)
		return !dpl;
	if (!(rights & TYPE_CODE))
		return true;
	return rights & TYPE_CONFORMING ? dpl <= ss_dpl : dpl == ss_dpl;
}

static bool dpl_of_ss(const struct check_view *view, u64 rights, u64 unused, unsigned int instance)
{
	return RIGHTS_DPL(rights) == (view->value[F_GUEST_SS_SELECTOR] & SELECTOR_RPL);
}

static bool dpl_of_data(const struct check_view *view, u64 rights, u64 unused, unsigned int instance)
{
	return RIGHTS_TYPE(rights) > 11 ||
	       RIGHTS_DPL(rights) >= (view->value[F_GUEST_ES_SELECTOR + instance] & SELECTOR_RPL);
}

static bool not_long_and_default(const struct check_view *view, u64 rights, u64 unused, unsigned int instance)
{
	return !(rights & RIGHTS_L) || !(rights & RIGHTS_DB);
}

static bool type_of_tr(const struct check_view *view, u64 rights, u64 unused, unsigned int instance)
{
	return RIGHTS_TYPE(rights) == 11 || (RIGHTS_TYPE(rights) == 3 && (view->facts & LEGACY));
}

static bool fine_limit(const struct check_view *view, u64 limit, u64 unused, unsigned int instance)
{
	return !(~limit & 0xfff) || !(view->value[F_GUEST_ES_AR_BYTES + instance] & RIGHTS_G);
}

static bool coarse_limit(const struct check_view *view, u64 limit, u64 unused, unsigned int instance)
{
	return !(limit >> 20) || (view->value[F_GUEST_ES_AR_BYTES + instance] & RIGHTS_G);
}

static bool vm_flag(const struct check_view *view, u64 rflags, u64 unused, unsigned int instance)
{
	return !(rflags & RFLAGS_VM) || vm_flag_allowed(view, view->facts);
}

static bool known_activity(const struct check_view *view, u64 state, u64 unused, unsigned int instance)
{
	static const u64 needs[] = { 0, CPU_HALTS, CPU_SHUTS_DOWN, CPU_WAITS_FOR_SIPI };

	return state < ARRAY_SIZE(needs) && (view->facts & needs[state]) == needs[state];
}

static bool injectable_in_activity(const struct check_view *view, u64 state, u64 unused, unsigned int instance)
{
	u64 info = view->value[F_VM_ENTRY_INTR_INFO_FIELD], type = INJECT_TYPE(info), vector = INJECT_VECTOR(info);
	bool mc = type == TYPE_EXCEPTION && vector == VECTOR_MC;

	switch (state) {
	case HALTED:
		return type == TYPE_EXTERNAL || type == TYPE_NMI || type == TYPE_OTHER || mc ||
		       (type == TYPE_EXCEPTION && vector == VECTOR_DB);
	case SHUTDOWN:
		return type == TYPE_NMI || mc;
	case WAIT_FOR_SIPI:
		return false;
	default:
		return true;
	}
}

static bool not_all_ones_of(const struct check_view *view, u64 value, u64 bits, unsigned int instance)
{
	return (value & bits) != bits;
}

static bool interrupts_on(const struct check_view *view, u64 unused_value, u64 unused, unsigned int instance)
{
	return view->value[F_GUEST_RFLAGS] & RFLAGS_IF;
}

static bool step_pending(const struct check_view *view, u64 pending, u64 unused, unsigned int instance)
{
	bool steps = (view->value[F_GUEST_RFLAGS] & RFLAGS_TF) && !(view->value[F_GUEST_IA32_DEBUGCTL] & DEBUGCTL_BTF);

	return !!(pending & PENDING_BS) == steps || !(view->facts & (SHADOW | HALTS));
}

static bool link_pointer(const struct check_view *view, u64 pointer, u64 low, unsigned int instance)
{
	return pointer == ~0ull || check_physical(view, pointer, low, instance);
}

static bool pdpte(const struct check_view *view, u64 entry, u64 reserved, unsigned int instance)
{
	return !(entry & 1) || check_physical(view, entry, reserved, instance);
}

/* -- the rules --------------------------------------------------------------------------------------------------- */

#define ALLOWED "bits are 0 or 1 as the capability MSR allows"
#define PAGE_ALIGNED "a physical address, aligned to 4 KBytes"
#define CANONICAL "the address is canonical"

static const struct check_rule execution_rules[] = {
	{ F_PIN_BASED_VM_EXEC_CONTROL, 0, false, ALLOWED, check_in_range, RANGE_PIN },
	{ F_CPU_BASED_VM_EXEC_CONTROL, 0, false, ALLOWED, check_in_range, RANGE_PRIMARY },
	{ F_SECONDARY_VM_EXEC_CONTROL, 0, false, ALLOWED, check_in_range, RANGE_SECONDARY, SECONDARY_ON },
	{ F_CR3_TARGET_COUNT, 0, false, "there are at most 4 CR3-target values", check_at_most, 4 },
	{ F_IO_BITMAP_A, 3, false, PAGE_ALIGNED, check_physical, PAGE_OFFSET_BITS, IO_BITMAPS },
	{ F_MSR_BITMAP, 0, false, PAGE_ALIGNED, check_physical, PAGE_OFFSET_BITS, MSR_BITMAPS },
	{ F_VIRTUAL_APIC_PAGE_ADDR, 0, false, PAGE_ALIGNED, check_physical, PAGE_OFFSET_BITS, TPR_SHADOW },
	{ F_TPR_THRESHOLD, 0, false, "bits 31:4 are 0", check_zero, ~0xfull, TPR_SHADOW | NO_DELIVERY },
	{ F_TPR_THRESHOLD, 0, false, "it is not above the class of the virtual TPR", below_virtual_tpr, 0,
	  TPR_SHADOW | NO_DELIVERY | NO_APIC_ACCESSES },
	{ F_PIN_BASED_VM_EXEC_CONTROL, 0, false, "virtual NMIs need NMI exiting", check_ones, PIN_NMI, VIRTUAL_NMIS },
	{ F_CPU_BASED_VM_EXEC_CONTROL, 0, false, "NMI-window exiting needs virtual NMIs", check_zero,
	  PRIMARY_NMI_WINDOW, NO_VIRTUAL_NMIS },
	{ F_SECONDARY_VM_EXEC_CONTROL, 0, false, "APIC virtualization needs a TPR shadow", check_zero,
	  SECONDARY_X2APIC | SECONDARY_APIC_REGISTERS | SECONDARY_DELIVERY, SECONDARY_ON | NO_TPR_SHADOW },
	{ F_SECONDARY_VM_EXEC_CONTROL, 0, false, "APIC accesses and x2APIC mode are not both virtualized",
	  not_all_ones_of, SECONDARY_APIC_ACCESSES | SECONDARY_X2APIC, SECONDARY_ON },
	{ F_APIC_ACCESS_ADDR, 0, false, PAGE_ALIGNED, check_physical, PAGE_OFFSET_BITS, APIC_ACCESSES },
	{ F_PIN_BASED_VM_EXEC_CONTROL, 0, false, "interrupt delivery needs external-interrupt exiting", check_ones,
	  PIN_EXTERNAL, DELIVERY },
	{ F_PIN_BASED_VM_EXEC_CONTROL, 0, false, "posted interrupts need interrupt delivery", check_zero, PIN_POSTED,
	  NO_DELIVERY },
	{ F_VM_EXIT_CONTROLS, 0, false, "posted interrupts need interrupts to be acknowledged by exits", check_ones,
	  EXIT_ACK, POSTED },
	{ F_POSTED_INTR_NV, 0, false, "the notification vector is at most 255", check_at_most, 255, POSTED },
	{ F_POSTED_INTR_DESC_ADDR, 0, false, "a physical address, aligned to 64 bytes", check_physical, 63, POSTED },
	{ F_VIRTUAL_PROCESSOR_ID, 0, false, "the VPID is not 0", check_not_zero, 0, VPID },
	{ F_EPT_POINTER, 0, false, "the memory type is one that the CPU has for EPT", ept_memory_type, 0, EPT },
	{ F_EPT_POINTER, 0, false, "the tables have four levels", ept_walk_length, 4, EPT },
	{ F_EPT_POINTER, 0, false, "bits 11:7 are 0, and those beyond the physical-address width", check_physical,
	  GENMASK_ULL(11, 7), EPT },
	{ F_EPT_POINTER, 0, false, "the CPU has no accessed and dirty flags for EPT", check_zero, BIT_ULL(6),
	  EPT | NO_ACCESSED_DIRTY },
	{ F_SECONDARY_VM_EXEC_CONTROL, 0, false, "an unrestricted guest, mode-based execute control and PML need EPT",
	  check_zero, SECONDARY_UNRESTRICTED | SECONDARY_MODE_BASED | SECONDARY_PML, SECONDARY_ON | NO_EPT },
	{ F_PML_ADDRESS, 0, false, PAGE_ALIGNED, check_physical, PAGE_OFFSET_BITS, PML },
	{ F_VM_FUNCTION_CONTROL, 0, false, "there is no VM function but EPTP switching", check_zero, ~1ull,
	  VM_FUNCTIONS },
	{ F_SECONDARY_VM_EXEC_CONTROL, 0, false, "EPTP switching needs EPT", check_ones, SECONDARY_EPT,
	  EPTP_SWITCHING },
	{ F_EPTP_LIST_ADDRESS, 0, false, PAGE_ALIGNED, check_physical, PAGE_OFFSET_BITS, EPTP_SWITCHING },
	{ F_VMREAD_BITMAP, 3, false, PAGE_ALIGNED, check_physical, PAGE_OFFSET_BITS, SHADOWING },
	{ F_TSC_MULTIPLIER, 0, false, "the multiplier is not 0", check_not_zero, 0, TSC_SCALING },
};

static const struct check_rule exit_rules[] = {
	{ F_VM_EXIT_CONTROLS, 0, false, ALLOWED, check_in_range, RANGE_EXIT },
	{ F_VM_EXIT_CONTROLS, 0, false, "without the VMX-preemption timer it is not saved", check_zero, EXIT_SAVE_TIMER,
	  NO_TIMER },
	{ F_VM_EXIT_MSR_STORE_ADDR, 0, false, "a physical address, aligned to 16 bytes", check_physical, 15,
	  EXIT_STORES },
	{ F_VM_EXIT_MSR_STORE_ADDR, 0, false, "the area ends within the physical-address width", area_end,
	  F_VM_EXIT_MSR_STORE_COUNT, EXIT_STORES },
	{ F_VM_EXIT_MSR_LOAD_ADDR, 0, false, "a physical address, aligned to 16 bytes", check_physical, 15,
	  EXIT_LOADS },
	{ F_VM_EXIT_MSR_LOAD_ADDR, 0, false, "the area ends within the physical-address width", area_end,
	  F_VM_EXIT_MSR_LOAD_COUNT, EXIT_LOADS },
};

static const struct check_rule entry_rules[] = {
	{ F_VM_ENTRY_CONTROLS, 0, false, ALLOWED, check_in_range, RANGE_ENTRY },
	{ F_VM_ENTRY_CONTROLS, 0, false, "outside of SMM nothing enters it, nor ends its dual-monitor treatment",
	  check_zero, ENTRY_TO_SMM | ENTRY_DEACTIVATE_DUAL },
	{ F_VM_ENTRY_INTR_INFO_FIELD, 0, false, "bits 30:12 are 0", check_zero, INJECT_RESERVED, INJECTS },
	{ F_VM_ENTRY_INTR_INFO_FIELD, 0, false, "the type of event is one that the CPU knows", injects_known_type, 0,
	  INJECTS },
	{ F_VM_ENTRY_INTR_INFO_FIELD, 0, false,
	  "the vector of an NMI is 2, of a hardware exception at most 31, of another event 0", injects_vector_of_type,
	  0, INJECTS },
	{ F_VM_ENTRY_INTR_INFO_FIELD, 0, false,
	  "an error code goes with the hardware exceptions that push one, in protected mode", injects_error_code, 0,
	  INJECTS },
	{ F_VM_ENTRY_EXCEPTION_ERROR_CODE, 0, false, "bits 31:16 are 0", check_zero, ~0xffffull, INJECTS_ERROR },
	{ F_VM_ENTRY_INSTRUCTION_LEN, 0, false, "the length of a software event's instruction is 1 to 15",
	  injected_length, 0, INJECTS_SOFT },
	{ F_VM_ENTRY_MSR_LOAD_ADDR, 0, false, "a physical address, aligned to 16 bytes", check_physical, 15,
	  ENTRY_LOADS },
	{ F_VM_ENTRY_MSR_LOAD_ADDR, 0, false, "the area ends within the physical-address width", area_end,
	  F_VM_ENTRY_MSR_LOAD_COUNT, ENTRY_LOADS },
};

static const struct check_rule host_register_rules[] = {
	{ F_HOST_CR0, 0, false, "no bit that VMX fixes has another value", check_in_range, RANGE_CR0 },
	{ F_HOST_CR4, 0, false, "no bit that VMX fixes has another value", check_in_range, RANGE_CR4 },
	{ F_HOST_CR3, 0, false, "bits beyond the physical-address width are 0", check_physical },
	{ F_HOST_IA32_SYSENTER_ESP, 3, false, CANONICAL, check_canonical },
	{ F_HOST_IA32_PAT, 0, false, "each entry is a memory type", check_pat, 0, HOST_PAT },
	{ F_HOST_IA32_EFER, 0, false, "reserved bits are 0", check_in_range, RANGE_EFER, HOST_EFER },
	{ F_HOST_IA32_EFER, 0, false, "LMA and LME are the VM-exit control \"host address-space size\"", efer_of_host,
	  0, HOST_EFER },
};

static const struct check_rule host_segment_rules[] = {
	{ F_HOST_ES_SELECTOR, 0x7f, false, "RPL and TI are 0", check_zero, SELECTOR_RPL | SELECTOR_TI },
	{ F_HOST_CS_SELECTOR, 0, false, "CS is not null", check_not_zero },
	{ F_HOST_TR_SELECTOR, 0, false, "TR is not null", check_not_zero },
	{ F_HOST_FS_BASE, 0x1f, false, "the base is canonical", check_canonical },
};

static const struct check_rule host_size_rules[] = {
	{ F_VM_EXIT_CONTROLS, 0, false, "a CPU in IA-32e mode has a 64-bit host", check_ones, EXIT_HOST_64 },
	{ F_HOST_CR4, 0, false, "a 64-bit host has PAE", check_ones, CR4_PAE },
	{ F_HOST_RIP, 0, false, CANONICAL, check_canonical },
};

static const struct check_rule register_rules[] = {
	{ F_GUEST_CR0, 0, false, "no bit that VMX fixes has another value", fixed_cr0 },
	{ F_GUEST_CR0, 0, false, "PG needs PE", check_ones, CR0_PE, PAGING },
	{ F_GUEST_CR4, 0, false, "no bit that VMX fixes has another value", check_in_range, RANGE_CR4 },
	{ F_GUEST_CR0, 0, false, "CR4.CET needs CR0.WP", check_ones, CR0_WP, CET },
	{ F_GUEST_IA32_DEBUGCTL, 0, false, "reserved bits are 0", check_zero, DEBUGCTL_RESERVED, LOADS_DEBUG },
	{ F_GUEST_CR0, 0, false, "IA-32e mode needs CR0.PG", check_ones, CR0_PG, IA32E },
	{ F_GUEST_CR4, 0, false, "IA-32e mode needs CR4.PAE", check_ones, CR4_PAE, IA32E },
	{ F_GUEST_CR4, 0, false, "PCIDE needs IA-32e mode", check_zero, CR4_PCIDE, LEGACY },
	{ F_GUEST_CR3, 0, false, "bits beyond the physical-address width are 0", check_physical },
	{ F_GUEST_DR7, 0, false, "bits 63:32 are 0", check_zero, HIGH_HALF, LOADS_DEBUG },
	{ F_GUEST_SYSENTER_ESP, 3, false, CANONICAL, check_canonical },
	{ F_GUEST_IA32_PAT, 0, false, "each entry is a memory type", check_pat, 0, LOADS_PAT },
	{ F_GUEST_IA32_EFER, 0, false, "reserved bits are 0", check_in_range, RANGE_EFER, LOADS_EFER },
	{ F_GUEST_IA32_EFER, 0, false, "LMA is the VM-entry control \"IA-32e mode guest\"", efer_of_guest, 0,
	  LOADS_EFER },
	{ F_GUEST_IA32_EFER, 0, false, "with CR0.PG, LMA is LME", lma_is_lme, 0, LOADS_EFER | PAGING },
};

#define CS BIT(SEG_CS)
#define SS BIT(SEG_SS)
#define LDTR BIT(SEG_LDTR)
#define TR BIT(SEG_TR)
#define DATA (BIT(SEG_ES) | BIT(SEG_DS) | BIT(SEG_FS) | BIT(SEG_GS))
#define CODE_AND_DATA (CS | SS | DATA)
#define ACCESSED_CODE (BIT(9) | BIT(11) | BIT(13) | BIT(15))

static const struct check_rule segment_rules[] = {
	{ F_GUEST_ES_SELECTOR, TR | LDTR, true, "TI is 0", check_zero, SELECTOR_TI },
	{ F_GUEST_ES_SELECTOR, SS, false, "the RPL of SS is that of CS", rpl_of_cs, 0, NO_V8086 | RESTRICTED },
	{ F_GUEST_ES_BASE, CODE_AND_DATA, false, "in virtual-8086 mode the base is the selector times 16",
	  base_of_v8086, 0, V8086 },
	{ F_GUEST_ES_BASE, BIT(SEG_FS) | BIT(SEG_GS) | TR, false, "the base is canonical", check_canonical },
	{ F_GUEST_ES_BASE, LDTR, true, "the base is canonical", check_canonical },
	{ F_GUEST_ES_BASE, CS | SS | BIT(SEG_DS) | BIT(SEG_ES), true, "bits 63:32 of the base are 0", check_zero,
	  HIGH_HALF },
	{ F_GUEST_ES_LIMIT, CODE_AND_DATA, false, "in virtual-8086 mode the limit is 0xffff", check_equal, 0xffff,
	  V8086 },
	{ F_GUEST_ES_AR_BYTES, CODE_AND_DATA, false, "in virtual-8086 mode access rights are 0xf3", check_equal,
	  RIGHTS_V8086, V8086 },
	{ F_GUEST_ES_AR_BYTES, CS, false, "the type of CS is accessed code, or 3", type_of_cs, ACCESSED_CODE,
	  NO_V8086 },
	{ F_GUEST_ES_AR_BYTES, SS, true, "the type of SS is 3 or 7", type_is_one_of, BIT(3) | BIT(7), NO_V8086 },
	{ F_GUEST_ES_AR_BYTES, DATA, true, "a data segment is accessed", check_ones, TYPE_ACCESSED, NO_V8086 },
	{ F_GUEST_ES_AR_BYTES, DATA, true, "code in a data segment register is readable", readable, 0, NO_V8086 },
	{ F_GUEST_ES_AR_BYTES, CODE_AND_DATA, true, "S is 1", check_ones, RIGHTS_S, NO_V8086 },
	{ F_GUEST_ES_AR_BYTES, CS, false, "the DPL of CS is that of SS; if conforming, not above; with type 3, 0",
	  dpl_of_cs, 0, NO_V8086 },
	{ F_GUEST_ES_AR_BYTES, SS, false, "the DPL of SS is its RPL", dpl_of_ss, 0, NO_V8086 | RESTRICTED },
	{ F_GUEST_ES_AR_BYTES, SS, false, "with CR0.PE 0 or CS of type 3 the DPL of SS is 0", check_zero, 3 << 5,
	  NO_V8086 | FLAT_SS },
	{ F_GUEST_ES_AR_BYTES, DATA, true, "the DPL is not below the RPL", dpl_of_data, 0, NO_V8086 | RESTRICTED },
	{ F_GUEST_ES_AR_BYTES, CODE_AND_DATA, true, "a usable segment is present", check_ones, RIGHTS_P, NO_V8086 },
	{ F_GUEST_ES_AR_BYTES, CODE_AND_DATA, true, "reserved bits are 0", check_zero, RIGHTS_RESERVED, NO_V8086 },
	{ F_GUEST_ES_AR_BYTES, CS, false, "in IA-32e mode L and D/B are not both 1", not_long_and_default, 0,
	  NO_V8086 | IA32E },
	{ F_GUEST_ES_LIMIT, CODE_AND_DATA, true, "unless bits 11:0 of the limit are all 1, G is 0", fine_limit, 0,
	  NO_V8086 },
	{ F_GUEST_ES_LIMIT, CODE_AND_DATA, true, "unless bits 31:20 of the limit are all 0, G is 1", coarse_limit, 0,
	  NO_V8086 },
	{ F_GUEST_ES_AR_BYTES, TR, false, "TR is usable", check_zero, RIGHTS_UNUSABLE },
	{ F_GUEST_ES_AR_BYTES, TR, true, "the type of TR is a busy TSS, in IA-32e mode 11", type_of_tr },
	{ F_GUEST_ES_AR_BYTES, LDTR, true, "the type of LDTR is 2", type_is_one_of, BIT(2) },
	{ F_GUEST_ES_AR_BYTES, TR | LDTR, true, "S is 0", check_zero, RIGHTS_S },
	{ F_GUEST_ES_AR_BYTES, TR | LDTR, true, "a usable segment is present", check_ones, RIGHTS_P },
	{ F_GUEST_ES_AR_BYTES, TR | LDTR, true, "reserved bits are 0", check_zero, RIGHTS_RESERVED },
	{ F_GUEST_ES_LIMIT, TR | LDTR, true, "unless bits 11:0 of the limit are all 1, G is 0", fine_limit },
	{ F_GUEST_ES_LIMIT, TR | LDTR, true, "unless bits 31:20 of the limit are all 0, G is 1", coarse_limit },
};

static const struct check_rule table_rules[] = {
	{ F_GUEST_GDTR_BASE, 3, false, "the base is canonical", check_canonical },
	{ F_GUEST_GDTR_LIMIT, 3, false, "bits 31:16 of the limit are 0", check_zero, ~0xffffull },
};

static const struct check_rule rip_rules[] = {
	{ F_GUEST_RIP, 0, false, "outside of 64-bit code bits 63:32 are 0", check_zero, HIGH_HALF, NO_CODE64 },
	{ F_GUEST_RIP, 0, false, "in 64-bit code bits beyond the linear-address width are alike", check_sign_extended,
	  0, CODE64 },
	{ F_GUEST_RFLAGS, 0, false, "reserved bits are 0", check_zero, RFLAGS_RESERVED },
	{ F_GUEST_RFLAGS, 0, false, "bit 1 is 1", check_ones, RFLAGS_FIXED },
	{ F_GUEST_RFLAGS, 0, false, "VM is 0 in IA-32e mode and with CR0.PE 0", vm_flag },
	{ F_GUEST_RFLAGS, 0, false, "IF is 1 when an external interrupt is injected", check_ones, RFLAGS_IF,
	  INJECTS_EXTERNAL },
};

static const struct check_rule state_rules[] = {
	{ F_GUEST_ACTIVITY_STATE, 0, false, "the state is one that the CPU has", known_activity },
	{ F_GUEST_SS_AR_BYTES, 0, false, "in the state HLT the DPL of SS is 0", check_zero, 3 << 5, HALTS },
	{ F_GUEST_ACTIVITY_STATE, 0, false, "while STI or MOV SS blocks the state is active", check_zero, ~0ull,
	  SHADOW },
	{ F_GUEST_ACTIVITY_STATE, 0, false, "the state lets the injected event in", injectable_in_activity, 0,
	  INJECTS },
	{ F_GUEST_INTERRUPTIBILITY_INFO, 0, false, "bits 31:5 are 0", check_zero, ~0x1full },
	{ F_GUEST_INTERRUPTIBILITY_INFO, 0, false, "not both STI and MOV SS block", not_all_ones_of,
	  SHADOW_STI | SHADOW_MOV_SS },
	{ F_GUEST_INTERRUPTIBILITY_INFO, 0, false, "STI blocks only while RFLAGS.IF is 1", interrupts_on, 0,
	  BLOCKED_BY_STI },
	{ F_GUEST_INTERRUPTIBILITY_INFO, 0, false, "nothing blocks when an external interrupt is injected", check_zero,
	  SHADOW_STI | SHADOW_MOV_SS, INJECTS_EXTERNAL },
	{ F_GUEST_INTERRUPTIBILITY_INFO, 0, false, "neither STI nor MOV SS blocks when an NMI is injected", check_zero,
	  SHADOW_STI | SHADOW_MOV_SS, INJECTS_NMI },
	{ F_GUEST_INTERRUPTIBILITY_INFO, 0, false, "no NMI blocks when one is injected as a virtual NMI", check_zero,
	  SHADOW_NMI, INJECTS_NMI | VIRTUAL_NMIS },
	{ F_GUEST_INTERRUPTIBILITY_INFO, 0, false, "outside of SMM no SMI blocks", check_zero, SHADOW_SMI },
	{ F_GUEST_PENDING_DBG_EXCEPTIONS, 0, false, "reserved bits are 0", check_zero, PENDING_RESERVED },
	{ F_GUEST_PENDING_DBG_EXCEPTIONS, 0, false,
	  "while STI or MOV SS blocks, or in the state HLT, BS is RFLAGS.TF without BTF", step_pending },
	{ F_VMCS_LINK_POINTER, 0, false, "all 1, or a physical address, aligned to 4 KBytes", link_pointer,
	  PAGE_OFFSET_BITS },
};

static const struct check_rule pdpte_rules[] = {
	{ F_GUEST_PDPTR0, 0xf, false, "reserved bits of a present entry are 0", pdpte,
	  GENMASK_ULL(2, 1) | GENMASK_ULL(8, 5), PAE_PAGING | EPT },
};

static const struct check_section sections[] = {
	CHECK_SECTION("VM-Execution Control Fields", execution_rules),
	CHECK_SECTION("VM-Execution Control Fields", vmx_feature_execution_rules),
	CHECK_SECTION("VM-Exit Control Fields", exit_rules),
	CHECK_SECTION("VM-Exit Control Fields", vmx_feature_exit_rules),
	CHECK_SECTION("VM-Entry Control Fields", entry_rules),
	CHECK_SECTION("VM-Entry Control Fields", vmx_feature_entry_rules),
	CHECK_SECTION("Checks on Host Control Registers, MSRs, and SSP", host_register_rules),
	CHECK_SECTION("Checks on Host Control Registers, MSRs, and SSP", vmx_feature_host_rules),
	CHECK_SECTION("Checks on Host Segment and Descriptor-Table Registers", host_segment_rules),
	CHECK_SECTION("Checks Related to Address-Space Size", host_size_rules),
	CHECK_SECTION("Checks Related to Address-Space Size", vmx_feature_host_size_rules),
	CHECK_SECTION("Checks on Guest Control Registers, Debug Registers, and MSRs", register_rules),
	CHECK_SECTION("Checks on Guest Control Registers, Debug Registers, and MSRs", vmx_feature_guest_rules),
	CHECK_SECTION("Checks on Guest Segment Registers", segment_rules),
	CHECK_SECTION("Checks on Guest Descriptor-Table Registers", table_rules),
	CHECK_SECTION("Checks on Guest RIP, RFLAGS, and SSP", rip_rules),
	CHECK_SECTION("Checks on Guest RIP, RFLAGS, and SSP", vmx_feature_ssp_rules),
	CHECK_SECTION("Checks on Guest Non-Register State", state_rules),
	CHECK_SECTION("Checks on Guest Non-Register State", vmx_feature_state_rules),
	CHECK_SECTION("Checks on Guest Page-Directory-Pointer-Table Entries", pdpte_rules),
	CHECK_SECTION("Loading MSRs", vmx_msr_load_rules),
};

const struct checks vmx_checks = {
	.manual = "SDM volume 3",
	.fields = vmx_rule_fields,
	.nr_fields = ARRAY_SIZE(vmx_rule_fields),
	.others = vmx_other_fields,
	.nr_others = ARRAY_SIZE(vmx_other_fields),
	.sections = sections,
	.nr_sections = ARRAY_SIZE(sections),
	.find_facts = find_facts,
};
static_assert(VMX_NR_RULE_FIELDS <= CHECK_MAX_FIELDS);
