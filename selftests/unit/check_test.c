// SPDX-License-Identifier: GPL-2.0
/*
 * The rules of VM entries: a state that is valid but for a field or two breaks exactly the rule that the manual has for
 * it, each rule has such a state here, and random valid states break none. KTAP on standard output.
 */
#include <stdio.h>
#include <stdlib.h>

#include "../../module/svm/rules.h"
#include "../../module/vmx/rules.h"
#include "tap.h"

#define RANDOM_STATES 10000
#define NO ~0u
#define HIGH (1ull << 32)
#define ODD 0x8000000000000000ull /* as an address neither canonical nor physical */

enum mode { REAL, V8086, PROTECTED, PAE, COMPAT, LONG, NR_MODES, SVM_LONG, SVM_REAL };

struct row {
	enum mode mode;
	const char *text; /* a part of the rule's */
	struct {
		u32 field;
		u64 value;
	} set[4];      /* the rule is for the first one; set to NO: for another one, and this is no field */
	u64 not_facts; /* what the CPU is not able to */
};

/* -- valid states ------------------------------------------------------------------------------------------------ */

#define ES_CS_SS(es, cs, ss)                          \
	{                                             \
		es, cs, ss, es, es, es, 0x10000, 0x8b \
	}

static const u32 rights[NR_MODES][8] = {
	[REAL] = { 0x93, 0x9b, 0x93, 0x93, 0x93, 0x93, 0x82, 0x8b },
	[V8086] = { 0xf3, 0xf3, 0xf3, 0xf3, 0xf3, 0xf3, 0x82, 0x8b },
	[PROTECTED] = ES_CS_SS(0xc093, 0xc09b, 0xc093),
	[PAE] = ES_CS_SS(0xc0f3, 0xc0fb, 0xc0f3),
	[COMPAT] = ES_CS_SS(0xc093, 0xc09b, 0xc093),
	[LONG] = ES_CS_SS(0xc093, 0xa09b, 0xc093),
};

static const u64 cr0[NR_MODES] = { 0x30, 0x80010031, 0x31, 0x80010031, 0x80010031, 0x80010031 };
static const u64 cr4[NR_MODES] = { 0x2000, 0x2000, 0x2000, 0x2020, 0x2020, 0x2020 };

static void vmx_segments(struct check_view *view, enum mode mode)
{
	unsigned int i;
	u64 g;

	for (i = 0; i < 8; i++) {
		g = rights[mode][i] & 0x8000;
		view->value[F_GUEST_ES_AR_BYTES + i] = rights[mode][i];
		view->value[F_GUEST_ES_LIMIT + i] = g ? 0xffffffff : 0xffff;
		view->value[F_GUEST_ES_SELECTOR + i] = mode == V8086 ? 0x123 : 0x10;
		view->value[F_GUEST_ES_BASE + i] = mode == V8086 ? 0x1230 : 0;
	}
}

/* A CPU that can do everything, and nothing turned on but what pith needs. */
static void vmx_valid(struct check_view *view, enum mode mode)
{
	const struct {
		u32 field;
		u64 value;
	} values[] = {
		{ F_PIN_BASED_VM_EXEC_CONTROL, 0x3f },
		{ F_CPU_BASED_VM_EXEC_CONTROL, 0xb0200000 },
		{ F_SECONDARY_VM_EXEC_CONTROL, 0xa2 },
		{ F_VM_EXIT_CONTROLS, 0x2c8204 },
		{ F_VM_ENTRY_CONTROLS, 0xc004 | (mode >= COMPAT ? 0x200 : 0) },
		{ F_VIRTUAL_PROCESSOR_ID, 1 },
		{ F_EPT_POINTER, 0x101e },
		{ F_HOST_CR0, 0x80050033 },
		{ F_HOST_CR3, 0x1000 },
		{ F_HOST_CR4, 0x2020 },
		{ F_HOST_CS_SELECTOR, 0x10 },
		{ F_HOST_TR_SELECTOR, 0x40 },
		{ F_HOST_GS_BASE, 0xffff888000000000 },
		{ F_HOST_RIP, 0xffffffffc0000000 },
		{ F_HOST_IA32_PAT, 0x0407050600070106 },
		{ F_HOST_IA32_EFER, 0xd01 },
		{ F_GUEST_CR0, cr0[mode] },
		{ F_GUEST_CR4, cr4[mode] },
		{ F_GUEST_IA32_EFER, mode >= COMPAT ? 0x500 : 0 },
		{ F_GUEST_IA32_PAT, 0x0007040600070406 },
		{ F_GUEST_RFLAGS, mode == V8086 ? 0x20002 : 2 },
		{ F_VMCS_LINK_POINTER, ~0ull },
	};
	unsigned int i;

	*view = (struct check_view){
		.facts = GENMASK_ULL(62, 56),
		.physical_bits = 40,
		.linear_bits = 48,
		.virtual_tpr = 3,
		.range = { [RANGE_PIN] = { 0x16, 0xff },
			   [RANGE_PRIMARY] = { 0x10000000, 0xfffffff0 },
			   [RANGE_SECONDARY] = { 0, 0x0fffffff },
			   [RANGE_EXIT] = { 0x4, 0x32ffffff },
			   [RANGE_ENTRY] = { 0x4, 0x7dffff },
			   [RANGE_CR0] = { 0x80000021, 0xffffffff },
			   [RANGE_CR4] = { 0x2000, 0xf7ffff | 0x800000 },
			   [RANGE_EFER] = { 0, 0xd01 },
			   [RANGE_TERTIARY] = { 0, 0x1f },
			   [RANGE_COUNTERS] = { 0, 0x70000000f } },
	};
	for (i = 0; i < ARRAY_SIZE(values); i++)
		view->value[values[i].field] = values[i].value;
	vmx_segments(view, mode);
}

static void svm_valid(struct check_view *view, enum mode mode)
{
	*view = (struct check_view){ .physical_bits = 40, .linear_bits = 48 };
	view->value[SVM_F_INTERCEPTS_4] = 1;
	view->value[SVM_F_GUEST_ASID] = 1;
	view->value[SVM_F_NP_CONTROL] = 1;
	view->value[SVM_F_CS_ATTRIB] = mode == SVM_LONG ? 0xa9b : 0x9b;
	view->value[SVM_F_EFER] = mode == SVM_LONG ? 0x1500 : 0x1000;
	view->value[SVM_F_CR4] = mode == SVM_LONG ? 0x60 : 0x40;
	view->value[SVM_F_CR0] = mode == SVM_LONG ? 0x80010031 : 0x10;
	view->value[SVM_F_DR6] = 0xffff0ff0;
	view->value[SVM_F_DR7] = 0x400;
	view->value[SVM_F_G_PAT] = 0x0007040600070406;
}

static const struct checks *checks_of(enum mode mode)
{
	return mode < NR_MODES ? &vmx_checks : &svm_checks;
}

static void valid(struct check_view *view, enum mode mode)
{
	if (mode < NR_MODES)
		vmx_valid(view, mode);
	else
		svm_valid(view, mode);
}

/* -- what is broken ---------------------------------------------------------------------------------------------- */

static struct broken {
	unsigned int nr, field;
	const struct check_rule *rule;
} broken;

static const struct check_rule *covered[256];
static unsigned int nr_covered;

static void note(void *context, const struct check_section *section, const struct check_rule *rule, unsigned int field)
{
	struct broken *seen = context;

	seen->nr++;
	seen->rule = rule;
	seen->field = field;
}

static bool is_covered(const struct check_rule *rule)
{
	unsigned int i;

	for (i = 0; i < nr_covered; i++)
		if (covered[i] == rule)
			return true;
	return false;
}

static bool run_row(const struct row *row)
{
	const struct checks *checks = checks_of(row->mode);
	struct check_view view;
	char text[4096];
	unsigned int i;

	valid(&view, row->mode);
	view.facts &= ~row->not_facts;
	for (i = 0; i < ARRAY_SIZE(row->set) && (i == 0 || row->set[i].field || row->set[i].value); i++)
		if (row->set[i].field != NO)
			view.value[row->set[i].field] = row->set[i].value;
	broken = (struct broken){};
	check_run(checks, &view, note, &broken);
	if (broken.nr == 1 && strstr(broken.rule->text, row->text) &&
	    (row->set[0].field == NO || broken.field == row->set[0].field)) {
		if (!is_covered(broken.rule))
			covered[nr_covered++] = broken.rule;
		return true;
	}
	check_explain(checks, &view, text, sizeof(text));
	printf("# expected of %s: %s\n# seen: %s\n",
	       row->set[0].field == NO ? "another field" : checks->fields[row->set[0].field].name, row->text, text);
	return false;
}

#define ALLOWED "as the capability MSR allows"
#define PAGE "aligned to 4 KBytes"
#define SECONDARY(more) F_SECONDARY_VM_EXEC_CONTROL, 0xa2 | (more)
#define INJECT F_VM_ENTRY_INTR_INFO_FIELD
#define AR(segment) F_GUEST_##segment##_AR_BYTES
#define DELIVERY 0x202 /* with interrupt delivery the rest stays as it was */

#define LOADS(bit) (0xc204 | 1ull << (bit))
#define HOST_LOADS(bit) (0x2c8204 | 1ull << (bit))
#define LOADED F_VM_ENTRY_MSR_LOAD_COUNT
#define CLEARS_RTIT HOST_LOADS(25)

/* clang-format off */
static const struct row rows[] = {
	{ LONG, ALLOWED, { { F_PIN_BASED_VM_EXEC_CONTROL, 0x3d } } },
	{ LONG, ALLOWED, { { F_PIN_BASED_VM_EXEC_CONTROL, 0x13f } } },
	{ LONG, ALLOWED, { { F_CPU_BASED_VM_EXEC_CONTROL, 0xa0200000 } } },
	{ LONG, ALLOWED, { { SECONDARY(0x10000000) } } },
	{ LONG, "at most 4 CR3", { { F_CR3_TARGET_COUNT, 5 } } },
	{ LONG, PAGE, { { F_IO_BITMAP_A, 0x1001 }, { F_CPU_BASED_VM_EXEC_CONTROL, 0xb2200000 } } },
	{ LONG, PAGE, { { F_IO_BITMAP_B, 1ull << 40 }, { F_CPU_BASED_VM_EXEC_CONTROL, 0xb2200000 } } },
	{ LONG, PAGE, { { F_MSR_BITMAP, 0x800 } } },
	{ LONG, PAGE, { { F_VIRTUAL_APIC_PAGE_ADDR, 0x10 } } },
	{ LONG, "bits 31:4 are 0", { { F_TPR_THRESHOLD, 0x10 }, { SECONDARY(1) } } },
	{ LONG, "the virtual TPR", { { F_TPR_THRESHOLD, 4 } } },
	{ LONG, "virtual NMIs need", { { F_PIN_BASED_VM_EXEC_CONTROL, 0x37 } } },
	{ LONG, "NMI-window", { { F_CPU_BASED_VM_EXEC_CONTROL, 0xb0600000 }, { F_PIN_BASED_VM_EXEC_CONTROL, 0x1f } } },
	{ LONG, "needs a TPR shadow", { { SECONDARY(0x100) }, { F_CPU_BASED_VM_EXEC_CONTROL, 0xb0000000 } } },
	{ LONG, "not both virtualized", { { SECONDARY(0x11) } } },
	{ LONG, PAGE, { { F_APIC_ACCESS_ADDR, 0x123 }, { SECONDARY(1) } } },
	{ LONG, "interrupt delivery needs", { { F_PIN_BASED_VM_EXEC_CONTROL, 0x3e }, { SECONDARY(0x200) } } },
	{ LONG, "posted interrupts need interrupt delivery", { { F_PIN_BASED_VM_EXEC_CONTROL, 0xbf } } },
	{ LONG, "acknowledged by exits",
	  { { NO }, { F_PIN_BASED_VM_EXEC_CONTROL, 0xbf }, { SECONDARY(0x200) }, { F_VM_EXIT_CONTROLS, 0x2c0204 } } },
	{ LONG, "at most 255", { { F_POSTED_INTR_NV, 256 }, { F_PIN_BASED_VM_EXEC_CONTROL, 0xbf }, { SECONDARY(0x200) } } },
	{ LONG, "aligned to 64", { { F_POSTED_INTR_DESC_ADDR, 32 }, { F_PIN_BASED_VM_EXEC_CONTROL, 0xbf }, { SECONDARY(0x200) } } },
	{ LONG, "VPID is not 0", { { F_VIRTUAL_PROCESSOR_ID, 0 } } },
	{ LONG, "memory type", { { F_EPT_POINTER, 0x101d } } },
	{ LONG, "memory type", { { F_EPT_POINTER, 0x1018 } }, CPU_EPT_UNCACHEABLE },
	{ LONG, "four levels", { { F_EPT_POINTER, 0x1026 } } },
	{ LONG, "bits 11:7", { { F_EPT_POINTER, 0x191e } } },
	{ LONG, "accessed and dirty", { { F_EPT_POINTER, 0x105e } }, CPU_EPT_ACCESSED_DIRTY },
	{ LONG, "need EPT", { { F_SECONDARY_VM_EXEC_CONTROL, 0x200a0 & ~0x80 } } },
	{ LONG, PAGE, { { F_PML_ADDRESS, 8 }, { SECONDARY(0x20000) } } },
	{ LONG, "EPTP switching", { { F_VM_FUNCTION_CONTROL, 2 }, { SECONDARY(0x2000) } } },
	{ LONG, "EPTP switching needs EPT", { { F_SECONDARY_VM_EXEC_CONTROL, 0x2020 }, { F_VM_FUNCTION_CONTROL, 1 } } },
	{ LONG, PAGE, { { F_EPTP_LIST_ADDRESS, 0x20 }, { SECONDARY(0x2000) }, { F_VM_FUNCTION_CONTROL, 1 } } },
	{ LONG, PAGE, { { F_VMWRITE_BITMAP, 0x20 }, { SECONDARY(0x4000) } } },
	{ LONG, "multiplier", { { F_TSC_MULTIPLIER, 0 }, { SECONDARY(0x2000000) } } },
	{ LONG, ALLOWED, { { F_VM_EXIT_CONTROLS, 0x12c8204 } } },
	{ LONG, "is not saved", { { F_VM_EXIT_CONTROLS, 0x6c8204 } } },
	{ LONG, "16 bytes", { { F_VM_EXIT_MSR_STORE_ADDR, 8 }, { F_VM_EXIT_MSR_STORE_COUNT, 1 } } },
	{ LONG, "ends within", { { F_VM_EXIT_MSR_STORE_ADDR, 0xfffffffff0 }, { F_VM_EXIT_MSR_STORE_COUNT, 2 } } },
	{ LONG, "16 bytes", { { F_VM_EXIT_MSR_LOAD_ADDR, 8 }, { F_VM_EXIT_MSR_LOAD_COUNT, 1 } } },
	{ LONG, "ends within", { { F_VM_EXIT_MSR_LOAD_ADDR, 0xfffffffff0 }, { F_VM_EXIT_MSR_LOAD_COUNT, 2 } } },
	{ LONG, ALLOWED, { { F_VM_ENTRY_CONTROLS, 0xc200 } } },
	{ LONG, "outside of SMM nothing", { { F_VM_ENTRY_CONTROLS, 0xc604 } } },
	{ LONG, "16 bytes", { { F_VM_ENTRY_MSR_LOAD_ADDR, 8 }, { F_VM_ENTRY_MSR_LOAD_COUNT, 1 } } },
	{ LONG, "ends within", { { F_VM_ENTRY_MSR_LOAD_ADDR, 0xfffffffff0 }, { F_VM_ENTRY_MSR_LOAD_COUNT, 2 } } },
	{ LONG, "bits 30:12", { { INJECT, 0x80001202 } } },
	{ LONG, "the type of event", { { INJECT, 0x80000120 } } },
	{ LONG, "the vector of an NMI", { { INJECT, 0x80000203 } } },
	{ LONG, "the vector of an NMI", { { INJECT, 0x80000320 } } },
	{ LONG, "the vector of an NMI", { { INJECT, 0x80000701 } } },
	{ LONG, "an error code goes", { { INJECT, 0x8000030d } } },
	{ LONG, "an error code goes", { { INJECT, 0x80000b06 } } },
	{ REAL, "an error code goes", { { INJECT, 0x80000b0d } } },
	{ LONG, "bits 31:16", { { F_VM_ENTRY_EXCEPTION_ERROR_CODE, 0x10000 }, { INJECT, 0x80000b0d } } },
	{ LONG, "1 to 15", { { F_VM_ENTRY_INSTRUCTION_LEN, 16 }, { INJECT, 0x80000480 } } },
	{ LONG, "1 to 15", { { F_VM_ENTRY_INSTRUCTION_LEN, 0 }, { INJECT, 0x80000603 } }, CPU_TAKES_LENGTH_0 },
	{ LONG, "that VMX fixes", { { F_HOST_CR0, 0x80050013 } } },
	{ LONG, "that VMX fixes", { { F_HOST_CR4, 0x20 } } },
	{ LONG, "physical-address width", { { F_HOST_CR3, 1ull << 40 } } },
	{ LONG, "canonical", { { F_HOST_IA32_SYSENTER_ESP, ODD } } },
	{ LONG, "canonical", { { F_HOST_IA32_SYSENTER_EIP, 1ull << 47 } } },
	{ LONG, "memory type", { { F_HOST_IA32_PAT, 2 } } },
	{ LONG, "reserved bits", { { F_HOST_IA32_EFER, 0xd03 } } },
	{ LONG, "LMA and LME are", { { F_HOST_IA32_EFER, 0x901 } } },
	{ LONG, "RPL and TI", { { F_HOST_GS_SELECTOR, 3 } } },
	{ LONG, "RPL and TI", { { F_HOST_TR_SELECTOR, 0x44 } } },
	{ LONG, "CS is not null", { { F_HOST_CS_SELECTOR, 0 } } },
	{ LONG, "TR is not null", { { F_HOST_TR_SELECTOR, 0 } } },
	{ LONG, "base is canonical", { { F_HOST_IDTR_BASE, ODD } } },
	{ LONG, "has a 64-bit host", { { F_VM_EXIT_CONTROLS, 0xc8004 } } },
	{ LONG, "has PAE", { { F_HOST_CR4, 0x2000 } } },
	{ LONG, "canonical", { { F_HOST_RIP, 1ull << 50 } } },
	{ REAL, "that VMX fixes", { { F_GUEST_CR0, 0x10 } } },
	{ REAL, "that VMX fixes", { { F_GUEST_CR0, HIGH | 0x30 } } },
	{ REAL, "PG needs PE", { { F_GUEST_CR0, 0x80000030 } } },
	{ REAL, "that VMX fixes", { { F_GUEST_CR4, 0 } } },
	{ PROTECTED, "CET needs", { { F_GUEST_CR0, 0x31 }, { F_GUEST_CR4, 0x802000 } } },
	{ LONG, "reserved bits", { { F_GUEST_IA32_DEBUGCTL, 0x10 } } },
	{ LONG, "needs CR0.PG", { { F_GUEST_CR0, 0x10031 } } },
	{ LONG, "needs CR4.PAE", { { F_GUEST_CR4, 0x2000 } } },
	{ PROTECTED, "PCIDE", { { F_GUEST_CR4, 0x22000 } } },
	{ LONG, "physical-address width", { { F_GUEST_CR3, 1ull << 63 } } },
	{ LONG, "bits 63:32", { { F_GUEST_DR7, HIGH } } },
	{ LONG, "canonical", { { F_GUEST_SYSENTER_EIP, 1ull << 47 } } },
	{ LONG, "memory type", { { F_GUEST_IA32_PAT, 3ull << 56 } } },
	{ LONG, "reserved bits", { { F_GUEST_IA32_EFER, 0x502 } } },
	{ LONG, "IA-32e mode guest", { { F_GUEST_IA32_EFER, 0 } } },
	{ LONG, "LMA is LME", { { F_GUEST_IA32_EFER, 0x400 } } },
	{ LONG, "TI is 0", { { F_GUEST_TR_SELECTOR, 0x14 } } },
	{ REAL, "TI is 0", { { F_GUEST_LDTR_SELECTOR, 0x14 } } },
	{ LONG, "RPL of SS", { { F_GUEST_SS_SELECTOR, 0x13 }, { AR(SS), 0xc0f3 }, { AR(CS), 0xa0ff }, { F_SECONDARY_VM_EXEC_CONTROL, 0x22 } } },
	{ V8086, "selector times 16", { { F_GUEST_FS_BASE, 0 } } },
	{ V8086, "limit is 0xffff", { { F_GUEST_CS_LIMIT, 0xfffff } } },
	{ V8086, "are 0xf3", { { AR(DS), 0x93 } } },
	{ LONG, "base is canonical", { { F_GUEST_GS_BASE, ODD } } },
	{ LONG, "base is canonical", { { F_GUEST_TR_BASE, ODD } } },
	{ REAL, "base is canonical", { { F_GUEST_LDTR_BASE, ODD } } },
	{ LONG, "bits 63:32 of the base", { { F_GUEST_CS_BASE, HIGH } } },
	{ LONG, "bits 63:32 of the base", { { F_GUEST_ES_BASE, HIGH } } },
	{ LONG, "type of CS", { { AR(CS), 0xa09a } } },
	{ LONG, "type of SS", { { AR(SS), 0xc091 } } },
	{ LONG, "is accessed", { { AR(ES), 0xc092 } } },
	{ LONG, "readable", { { AR(FS), 0xc099 } } },
	{ LONG, "S is 1", { { AR(SS), 0xc083 } } },
	{ LONG, "DPL of CS", { { AR(CS), 0xa0fb } } },
	{ LONG, "DPL of CS", { { AR(CS), 0xa0ff } } },
	{ PROTECTED, "DPL of CS", { { AR(CS), 0xc0f3 } } },
	{ LONG, "DPL of SS is its RPL", { { AR(SS), 0xc0f3 }, { AR(CS), 0xa09f }, { F_SECONDARY_VM_EXEC_CONTROL, 0x22 } } },
	{ REAL, "with CR0.PE 0", { { AR(SS), 0xf3 }, { AR(CS), 0xfb } } },
	{ PROTECTED, "with CR0.PE 0", { { AR(SS), 0xc0f3 }, { AR(CS), 0xc093 } } },
	{ LONG, "not below the RPL", { { AR(DS), 0xc093 }, { F_GUEST_DS_SELECTOR, 0x13 }, { F_SECONDARY_VM_EXEC_CONTROL, 0x22 } } },
	{ LONG, "is present", { { AR(CS), 0xa01b } } },
	{ LONG, "is present", { { AR(GS), 0xc013 } } },
	{ LONG, "reserved bits", { { AR(CS), 0x2a09b } } },
	{ LONG, "L and D/B", { { AR(CS), 0xe09b } } },
	{ LONG, "bits 11:0 of the limit", { { F_GUEST_SS_LIMIT, 0xffff0000 } } },
	{ REAL, "bits 31:20 of the limit", { { F_GUEST_DS_LIMIT, 0xfffff0ff } } },
	{ LONG, "TR is usable", { { AR(TR), 0x1008b } } },
	{ LONG, "busy TSS", { { AR(TR), 0x83 } } },
	{ REAL, "busy TSS", { { AR(TR), 0x89 } } },
	{ REAL, "type of LDTR", { { AR(LDTR), 0x8b } } },
	{ LONG, "S is 0", { { AR(TR), 0x9b } } },
	{ LONG, "is present", { { AR(TR), 0xb } } },
	{ REAL, "reserved bits", { { AR(LDTR), 0x182 } } },
	{ LONG, "bits 11:0 of the limit", { { F_GUEST_TR_LIMIT, 0x67 }, { AR(TR), 0x808b } } },
	{ LONG, "bits 31:20 of the limit", { { F_GUEST_TR_LIMIT, 0x100000 } } },
	{ LONG, "base is canonical", { { F_GUEST_IDTR_BASE, ODD } } },
	{ LONG, "bits 31:16 of the limit", { { F_GUEST_GDTR_LIMIT, 0x10000 } } },
	{ COMPAT, "bits 63:32 are 0", { { F_GUEST_RIP, HIGH } } },
	{ LONG, "64-bit code bits beyond", { { F_GUEST_RIP, ODD } } },
	{ LONG, "64-bit code bits beyond", { { F_GUEST_RIP, 1ull << 48 } } },
	{ LONG, "reserved bits", { { F_GUEST_RFLAGS, 0xa } } },
	{ LONG, "bit 1 is 1", { { F_GUEST_RFLAGS, 0 } } },
	{ REAL, "VM is 0", { { F_GUEST_RFLAGS, 0x20002 } } },
	{ LONG, "VM is 0", { { F_GUEST_RFLAGS, 0x20002 } } },
	{ LONG, "IF is 1", { { F_GUEST_RFLAGS, 2 }, { INJECT, 0x80000020 } } },
	{ LONG, "one that the CPU has", { { F_GUEST_ACTIVITY_STATE, 4 } } },
	{ LONG, "one that the CPU has", { { F_GUEST_ACTIVITY_STATE, 2 } }, CPU_SHUTS_DOWN },
	{ PAE, "in the state HLT the DPL", { { AR(SS), 0xc0f3 }, { F_GUEST_ACTIVITY_STATE, 1 } } },
	{ LONG, "the state is active", { { F_GUEST_ACTIVITY_STATE, 1 }, { F_GUEST_INTERRUPTIBILITY_INFO, 2 } } },
	{ LONG, "lets the injected event in", { { F_GUEST_ACTIVITY_STATE, 1 }, { INJECT, 0x80000306 } } },
	{ LONG, "lets the injected event in", { { F_GUEST_ACTIVITY_STATE, 3 }, { INJECT, 0x80000202 } } },
	{ LONG, "bits 31:5", { { F_GUEST_INTERRUPTIBILITY_INFO, 0x20 } } },
	{ LONG, "not both STI", { { F_GUEST_INTERRUPTIBILITY_INFO, 3 }, { F_GUEST_RFLAGS, 0x202 } } },
	{ LONG, "STI blocks only", { { F_GUEST_INTERRUPTIBILITY_INFO, 1 } } },
	{ LONG, "nothing blocks", { { F_GUEST_INTERRUPTIBILITY_INFO, 2 }, { F_GUEST_RFLAGS, 0x202 }, { INJECT, 0x80000020 } } },
	{ LONG, "neither STI nor", { { F_GUEST_INTERRUPTIBILITY_INFO, 2 }, { INJECT, 0x80000202 } } },
	{ LONG, "no NMI blocks", { { F_GUEST_INTERRUPTIBILITY_INFO, 8 }, { INJECT, 0x80000202 } } },
	{ LONG, "no SMI blocks", { { F_GUEST_INTERRUPTIBILITY_INFO, 4 } } },
	{ LONG, "reserved bits", { { F_GUEST_PENDING_DBG_EXCEPTIONS, 0x10 } } },
	{ LONG, "BS is RFLAGS.TF", { { F_GUEST_PENDING_DBG_EXCEPTIONS, 0 }, { F_GUEST_RFLAGS, 0x102 }, { F_GUEST_INTERRUPTIBILITY_INFO, 2 } } },
	{ LONG, "all 1", { { F_VMCS_LINK_POINTER, 0x1008 } } },
	{ LONG, "MSR does not allow", { { F_TERTIARY_VM_EXEC_CONTROL, 0x100 }, { F_CPU_BASED_VM_EXEC_CONTROL, 0xb0220000 } } },
	{ LONG, "Intel PT need EPT", { { F_SECONDARY_VM_EXEC_CONTROL, 0x1000020 }, { F_VM_EXIT_CONTROLS, CLEARS_RTIT }, { F_VM_ENTRY_CONTROLS, LOADS(18) } } },
	{ LONG, "to be cleared by exits", { { F_VM_EXIT_CONTROLS, 0x2c8204 }, { SECONDARY(0x1000000) }, { F_VM_ENTRY_CONTROLS, LOADS(18) } } },
	{ LONG, "RTIT_CTL to be loaded", { { F_VM_ENTRY_CONTROLS, 0xc204 }, { SECONDARY(0x1000000) }, { F_VM_EXIT_CONTROLS, CLEARS_RTIT } } },
	{ LONG, "CET needs", { { F_HOST_CR0, 0x80040033 }, { F_HOST_CR4, 0x802020 } } },
	{ LONG, "bits 63:32", { { F_HOST_PKRS, HIGH }, { F_VM_EXIT_CONTROLS, HOST_LOADS(29) } } },
	{ LONG, "reserved bits", { { F_HOST_S_CET, 0x40 }, { F_VM_EXIT_CONTROLS, HOST_LOADS(28) } } },
	{ LONG, "SUPPRESS and", { { F_HOST_S_CET, 0xc00 }, { F_VM_EXIT_CONTROLS, HOST_LOADS(28) } } },
	{ LONG, "canonical", { { F_HOST_S_CET, ODD }, { F_VM_EXIT_CONTROLS, HOST_LOADS(28) } } },
	{ LONG, "canonical", { { F_HOST_INTR_SSP_TABLE, ODD }, { F_VM_EXIT_CONTROLS, HOST_LOADS(28) } } },
	{ LONG, "bits 1:0", { { F_HOST_SSP, 2 }, { F_VM_EXIT_CONTROLS, HOST_LOADS(28) } } },
	{ LONG, "canonical", { { F_HOST_SSP, 1ull << 47 }, { F_VM_EXIT_CONTROLS, HOST_LOADS(28) } } },
	{ LONG, "reserved bits", { { F_HOST_IA32_PERF_GLOBAL_CTRL, 0x10 }, { F_VM_EXIT_CONTROLS, HOST_LOADS(12) } } },
	{ LONG, "reserved bits", { { F_GUEST_BNDCFGS, 4 }, { F_VM_ENTRY_CONTROLS, LOADS(16) } } },
	{ LONG, "canonical", { { F_GUEST_BNDCFGS, ODD }, { F_VM_ENTRY_CONTROLS, LOADS(16) } } },
	{ LONG, "reserved bits", { { F_GUEST_IA32_RTIT_CTL, 1 << 23 }, { F_VM_ENTRY_CONTROLS, LOADS(18) } } },
	{ LONG, "bits 63:32", { { F_GUEST_PKRS, HIGH }, { F_VM_ENTRY_CONTROLS, LOADS(22) } } },
	{ LONG, "reserved bits", { { F_GUEST_S_CET, 0x200 }, { F_VM_ENTRY_CONTROLS, LOADS(20) } } },
	{ LONG, "SUPPRESS and", { { F_GUEST_S_CET, 0xc04 }, { F_VM_ENTRY_CONTROLS, LOADS(20) } } },
	{ LONG, "canonical", { { F_GUEST_S_CET, ODD }, { F_VM_ENTRY_CONTROLS, LOADS(20) } } },
	{ LONG, "canonical", { { F_GUEST_INTR_SSP_TABLE, ODD }, { F_VM_ENTRY_CONTROLS, LOADS(20) } } },
	{ LONG, "bits 1:0", { { F_GUEST_SSP, 1 }, { F_VM_ENTRY_CONTROLS, LOADS(20) } } },
	{ LONG, "bits beyond", { { F_GUEST_SSP, 1ull << 48 }, { F_VM_ENTRY_CONTROLS, LOADS(20) } } },
	{ LONG, "reserved bits", { { F_GUEST_IA32_PERF_GLOBAL_CTRL, 1ull << 35 }, { F_VM_ENTRY_CONTROLS, LOADS(13) } } },
	{ LONG, "reserved bits", { { F_GUEST_IA32_LBR_CTL, 0x10 }, { F_VM_ENTRY_CONTROLS, LOADS(21) } } },
	{ LONG, "user interrupts", { { F_GUEST_UINV, 256 }, { F_VM_ENTRY_CONTROLS, LOADS(19) } } },
	{ LONG, "an enclave", { { F_GUEST_INTERRUPTIBILITY_INFO, 0x12 } } },
	{ PAE, "present entry", { { F_GUEST_PDPTR3, 0x1003 } } },
	{ PAE, "present entry", { { F_GUEST_PDPTR0, ODD | 1 } } },

	{ LONG, "FS_BASE and GS_BASE", { { F_VM_ENTRY_MSR_LOAD_INDEX0, 0xc0000101 }, { LOADED, 1 } } },
	{ LONG, "FS_BASE and GS_BASE", { { F_VM_ENTRY_MSR_LOAD_INDEX1, 0xc0000100 }, { LOADED, 2 } } },
	{ LONG, "of the x2APIC", { { F_VM_ENTRY_MSR_LOAD_INDEX0, 0x8ff }, { LOADED, 1 } } },
	{ LONG, "outside of SMM no MSR", { { F_VM_ENTRY_MSR_LOAD_INDEX1, 0x9b }, { LOADED, 2 } } },
	{ LONG, "bits 63:32 of the entry", { { F_VM_ENTRY_MSR_LOAD_INDEX1, HIGH | 0x277 }, { LOADED, 2 } } },
	{ LONG, "that WRMSR takes", { { F_VM_ENTRY_MSR_LOAD_VALUE1, 0x0200 }, { F_VM_ENTRY_MSR_LOAD_INDEX1, 0x277 }, { LOADED, 2 } } },
	{ LONG, "that WRMSR takes", { { F_VM_ENTRY_MSR_LOAD_VALUE0, ODD }, { F_VM_ENTRY_MSR_LOAD_INDEX0, 0xc0000082 }, { LOADED, 1 } } },
	{ LONG, "that WRMSR takes", { { F_VM_ENTRY_MSR_LOAD_VALUE0, 2 }, { F_VM_ENTRY_MSR_LOAD_INDEX0, 0xc0000080 }, { LOADED, 1 } } },

	{ SVM_LONG, "SVME", { { SVM_F_EFER, 0x500 } } },
	{ SVM_LONG, "NW is 0", { { SVM_F_CR0, 0xa0010031 } } },
	{ SVM_LONG, "bits 63:32", { { SVM_F_CR0, HIGH | 0x80010031 } } },
	{ SVM_LONG, "physical-address width", { { SVM_F_CR3, 1ull << 40 } } },
	{ SVM_REAL, "reserved bits", { { SVM_F_CR4, 0x2040 } } },
	{ SVM_REAL, "bits 63:32", { { SVM_F_DR6, HIGH } } },
	{ SVM_REAL, "bits 63:32", { { SVM_F_DR7, HIGH } } },
	{ SVM_REAL, "reserved bits", { { SVM_F_EFER, 0x1002 } } },
	{ SVM_LONG, "needs PAE", { { SVM_F_CR4, 0x40 } } },
	{ SVM_LONG, "needs PE", { { SVM_F_CR0, 0x80010030 } } },
	{ SVM_LONG, "L and D", { { SVM_F_CS_ATTRIB, 0xe9b } } },
	{ SVM_LONG, "VMRUN", { { SVM_F_INTERCEPTS_4, 0 } } },
	{ SVM_LONG, "the map ends", { { SVM_F_IOPM_BASE_PA, 0xffffffe000 } } },
	{ SVM_LONG, "the map ends", { { SVM_F_MSRPM_BASE_PA, 0xfffffff000 } } },
	{ SVM_LONG, "ASID", { { SVM_F_GUEST_ASID, 0 } } },
	{ SVM_REAL, "CET", { { SVM_F_CR0, 0x10 }, { SVM_F_CR4, 0x800040 } } },
	{ SVM_REAL, "physical-address width", { { SVM_F_N_CR3, 1ull << 40 } } },
	{ SVM_REAL, "memory type", { { SVM_F_G_PAT, 0x0800 } } },
	{ SVM_REAL, "the type is", { { SVM_F_EVENTINJ, 0x80000120 } } },
	{ SVM_REAL, "vector of an exception", { { SVM_F_EVENTINJ, 0x80000302 } } },
	{ SVM_REAL, "vector of an exception", { { SVM_F_EVENTINJ, 0x80000320 } } },
};
/* clang-format on */

static bool all_rows(void)
{
	bool ok = true;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++)
		ok &= run_row(&rows[i]);
	return ok;
}

static bool all_covered(void)
{
	static const struct checks *const both[] = { &vmx_checks, &svm_checks };
	const struct check_section *section;
	unsigned int i, j, missing = 0;

	for (i = 0; i < ARRAY_SIZE(both); i++)
		for (section = both[i]->sections; section < both[i]->sections + both[i]->nr_sections; section++)
			for (j = 0; j < section->nr; j++)
				if (!is_covered(&section->rules[j])) {
					printf("# no row breaks: %s (%s)\n", section->rules[j].text, section->title);
					missing++;
				}
	return !missing;
}

/* -- random valid states ----------------------------------------------------------------------------------------- */

static u64 random_bits(u64 mask)
{
	u64 r = (u64)rand() << 42 ^ (u64)rand() << 21 ^ (u64)rand();

	return r & mask;
}

static u64 random_canonical(void)
{
	return (u64)((s64)(random_bits(~0ull) << 16) >> 16);
}

/* A page's address. */
static u64 random_page(void)
{
	return random_bits(GENMASK_ULL(39, 12));
}

static u64 random_pat(void)
{
	static const u8 types[] = { 0, 1, 4, 5, 6, 7 };
	u64 pat = 0;
	int i;

	for (i = 0; i < 8; i++)
		pat = pat << 8 | types[rand() % 6];
	return pat;
}

static void set_canonical(struct check_view *view, unsigned int first, unsigned int nr)
{
	while (nr--)
		view->value[first + nr] = random_canonical();
}

static void vmx_random_segments(struct check_view *view, enum mode mode)
{
	u64 *value = view->value;
	unsigned int i;

	value[F_GUEST_TR_BASE] = random_canonical();
	for (i = 0; i < 6; i++) {
		value[F_GUEST_ES_SELECTOR + i] = random_bits(0xffff);
		if (mode == V8086) {
			value[F_GUEST_ES_BASE + i] = value[F_GUEST_ES_SELECTOR + i] << 4;
			continue;
		}
		value[F_GUEST_ES_BASE + i] = i >= 4 ? random_canonical() : random_bits(0xffffffff);
		value[F_GUEST_ES_AR_BYTES + i] |= random_bits(0x1000); /* AVL */
		if (value[F_GUEST_ES_AR_BYTES + i] & 0x8000)
			value[F_GUEST_ES_LIMIT + i] = random_bits(0xffffffff) | 0xfff;
		else
			value[F_GUEST_ES_LIMIT + i] = random_bits(0xfffff);
		/* What is unusable is not looked at, but for the DPL of SS and bases of FS and GS. */
		if (i != 1 && i != 2 && !(rand() % 4))
			value[F_GUEST_ES_AR_BYTES + i] = 0x10000 | random_bits(0xffff);
	}
}

static void vmx_random_event(struct check_view *view, enum mode mode)
{
	static const u32 events[] = { 0,	  0x80000020, 0x800000ff, 0x80000202, 0x80000306,
				      0x80000301, 0x80000480, 0x80000603, 0x00000123, 0x80000501 };
	u64 *value = view->value;

	value[INJECT] = events[rand() % ARRAY_SIZE(events)];
	if (mode != REAL && !(rand() % 8))
		value[INJECT] = 0x80000b0d;
	value[F_VM_ENTRY_EXCEPTION_ERROR_CODE] = random_bits(0xffff);
	value[F_VM_ENTRY_INSTRUCTION_LEN] = 1 + rand() % 15;
	/* An interrupt needs IF, and none of the two needs a shadow. */
	if ((value[INJECT] & 0x80000700) == 0x80000000)
		value[F_GUEST_RFLAGS] |= 0x200;
	else if (value[INJECT] != 0x80000202)
		value[F_GUEST_INTERRUPTIBILITY_INFO] = value[F_GUEST_RFLAGS] & 0x200 ? rand() % 3 : 2 * (rand() % 2);
	if (value[F_GUEST_INTERRUPTIBILITY_INFO] && (value[F_GUEST_RFLAGS] & 0x100))
		value[F_GUEST_PENDING_DBG_EXCEPTIONS] = 1 << 14;
}

/* What is loaded is valid, and what is not loaded may be anything. */
static void vmx_random_features(struct check_view *view)
{
	u64 *value = view->value, loads = rand() % 2 ? 0x7d2000 : 0, host_loads = rand() % 2 ? 0x32001000 : 0;
	unsigned int i;

	value[F_VM_ENTRY_CONTROLS] |= loads;
	value[F_VM_EXIT_CONTROLS] |= host_loads;
	if (loads && host_loads)
		value[F_SECONDARY_VM_EXEC_CONTROL] |= random_bits(0x1000000);
	for (i = F_GUEST_BNDCFGS; i < F_VM_ENTRY_MSR_LOAD_INDEX0; i++)
		value[i] = random_bits(~0ull);
	if (loads) {
		value[F_GUEST_BNDCFGS] = random_canonical() & ~0xffcull;
		value[F_GUEST_IA32_RTIT_CTL] = random_bits(0x0180ffff8f7bffffull);
		value[F_GUEST_PKRS] = random_bits(0xffffffff);
		value[F_GUEST_S_CET] = random_canonical() & ~0xbc0ull;
		value[F_GUEST_SSP] = (random_canonical() ^ random_bits(1ull << (view->linear_bits - 1))) & ~3ull;
		value[F_GUEST_IA32_PERF_GLOBAL_CTRL] = random_bits(0x70000000f);
		value[F_GUEST_IA32_LBR_CTL] = random_bits(0x7f000f);
		value[F_GUEST_UINV] = random_bits(0xff);
		value[F_GUEST_INTR_SSP_TABLE] = random_canonical();
	}
	if (host_loads) {
		value[F_HOST_PKRS] = random_bits(0xffffffff);
		value[F_HOST_S_CET] = random_canonical() & ~0x7c0ull;
		value[F_HOST_SSP] = random_canonical() & ~3ull;
		value[F_HOST_IA32_PERF_GLOBAL_CTRL] = random_bits(0x70000000f);
		value[F_HOST_INTR_SSP_TABLE] = random_canonical() & ~7ull;
	}
}

/* Entries beyond the count may be anything. */
static void vmx_random_msr_loads(struct check_view *view)
{
	static const u32 msrs[] = { 0x10, 0x277, 0xc0000081, 0xc0000082, 0xc0000102, 0x700, 0x900 };
	unsigned int i, nr = rand() % 3;
	u64 *value = view->value;

	value[F_VM_ENTRY_MSR_LOAD_COUNT] = nr;
	value[F_VM_ENTRY_MSR_LOAD_ADDR] = random_page() & GENMASK_ULL(38, 0);
	for (i = 0; i < 2; i++) {
		value[F_VM_ENTRY_MSR_LOAD_INDEX0 + i] = i < nr ? msrs[rand() % ARRAY_SIZE(msrs)] : random_bits(~0ull);
		value[F_VM_ENTRY_MSR_LOAD_VALUE0 + i] =
			value[F_VM_ENTRY_MSR_LOAD_INDEX0 + i] == 0x277 ? random_pat() : random_canonical();
	}
}

static void vmx_random(struct check_view *view, enum mode mode)
{
	u64 *value = view->value;
	unsigned int i;

	vmx_valid(view, mode);
	value[F_PIN_BASED_VM_EXEC_CONTROL] |= random_bits(0x40);
	value[F_CPU_BASED_VM_EXEC_CONTROL] |= random_bits(0x41999e8c & 0xfffffff0);
	value[F_SECONDARY_VM_EXEC_CONTROL] |= random_bits(0x2026108);
	value[F_VIRTUAL_PROCESSOR_ID] = 1 + random_bits(0xfff);
	value[F_EPT_POINTER] = random_page() | 0x1e | random_bits(0x40);
	for (i = 0; i < 2; i++) {
		value[F_IO_BITMAP_A + i] = random_page();
		value[F_VMREAD_BITMAP + i] = random_page();
	}
	value[F_MSR_BITMAP] = random_page();
	value[F_PML_ADDRESS] = random_page();
	value[F_VIRTUAL_APIC_PAGE_ADDR] = random_page();
	value[F_EPTP_LIST_ADDRESS] = random_page();
	value[F_VM_FUNCTION_CONTROL] = random_bits(1);
	value[F_TSC_MULTIPLIER] = 1 + random_bits(~0ull >> 1);
	value[F_TPR_THRESHOLD] = rand() % 4;
	value[F_HOST_CR3] = random_page() | random_bits(0xfff);
	value[F_HOST_IA32_PAT] = random_pat();
	set_canonical(view, F_HOST_FS_BASE, 8);
	set_canonical(view, F_GUEST_SYSENTER_ESP, 2);
	set_canonical(view, F_GUEST_GDTR_BASE, 2);
	value[F_GUEST_GDTR_LIMIT] = random_bits(0xffff);
	value[F_GUEST_CR0] |= random_bits(0x6004000e);
	value[F_GUEST_CR3] = random_page() | random_bits(0xfff);
	value[F_GUEST_CR4] |= random_bits((mode >= COMPAT ? 0x3707df : 0x3507df) & ~0x20);
	value[F_GUEST_DR7] = random_bits(0xffffffff);
	value[F_GUEST_IA32_PAT] = random_pat();
	value[F_GUEST_IA32_EFER] |= random_bits(0x801);
	value[F_GUEST_RIP] = mode == LONG ? random_canonical() ^ random_bits(1ull << (view->linear_bits - 1))
					  : random_bits(0xffffffff);
	value[F_GUEST_RFLAGS] |= random_bits(0x3d7fd5 & ~0x8028);
	for (i = 0; i < 4; i++)
		value[F_GUEST_PDPTR0 + i] = rand() % 2 ? random_bits(~1ull) : random_page() | 1 | random_bits(0xe18);
	vmx_random_features(view);
	vmx_random_msr_loads(view);
	vmx_random_segments(view, mode);
	vmx_random_event(view, mode);
}

static void svm_random(struct check_view *view, enum mode mode)
{
	u64 *value = view->value;

	svm_valid(view, mode);
	value[SVM_F_CR0] |= random_bits(0x4004000e);
	value[SVM_F_CR3] = mode == SVM_LONG ? random_page() | random_bits(0xfff) : random_bits(~0ull);
	value[SVM_F_CR4] |= random_bits(0x3707ff & ~0x20);
	value[SVM_F_EFER] |= random_bits(0x6801);
	value[SVM_F_DR6] = random_bits(0xffffffff);
	value[SVM_F_DR7] = random_bits(0xffffffff);
	value[SVM_F_G_PAT] = random_pat();
	value[SVM_F_N_CR3] = random_page();
	value[SVM_F_IOPM_BASE_PA] = random_bits(GENMASK_ULL(38, 0));
	value[SVM_F_GUEST_ASID] = 1 + random_bits(0xffff);
	value[SVM_F_EVENTINJ] =
		(const u32[]){ 0, 0x80000020, 0x80000202, 0x80000306, 0x800004ff, 0x7fffffff }[rand() % 6];
}

static bool random_states(void)
{
	struct check_view view;
	unsigned int i, nr = 0;
	enum mode mode;
	char text[4096];

	for (i = 0; i < RANDOM_STATES && !nr; i++) {
		mode = (const enum mode[]){ REAL, V8086, PROTECTED, PAE, COMPAT, LONG, SVM_LONG, SVM_REAL }[i % 8];
		if (mode < NR_MODES)
			vmx_random(&view, mode);
		else
			svm_random(&view, mode);
		nr = check_explain(checks_of(mode), &view, text, sizeof(text));
	}
	if (nr)
		printf("# state %u of mode %u is accused: %s", i, mode, text);
	return !nr;
}

/* -- in words ---------------------------------------------------------------------------------------------------- */

static bool words(void)
{
	static const char expected[] =
		"GUEST_CS_AR_BYTES is 0xe09b (type 11, S, DPL 0, P, L, D/B, G): in IA-32e mode L and D/B are not both 1 "
		"(SDM volume 3, \"Checks on Guest Segment Registers\")\n";
	struct check_view view;
	char text[4096];

	vmx_valid(&view, LONG);
	view.value[AR(CS)] = 0xe09b;
	check_explain(&vmx_checks, &view, text, sizeof(text));
	if (strcmp(text, expected)) {
		printf("# seen: %s", text);
		return false;
	}
	/* Where it does not fit, only whole lines: here none. */
	return check_explain(&vmx_checks, &view, text, sizeof(expected) - 1) == 1 && !*text;
}

static const struct test tests[] = {
	{ "a broken field breaks exactly its rule", all_rows },
	{ "every rule was broken", all_covered },
	{ "no valid state is accused", random_states },
	{ "what is broken is said in words", words },
};

int main(void)
{
	return run_tests(tests, ARRAY_SIZE(tests));
}
