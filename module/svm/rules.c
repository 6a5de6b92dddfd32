// SPDX-License-Identifier: GPL-2.0
/* See rules.h. Source: APM volume 2, "Canonicalization and Consistency Checks", and "Event Injection" for EVENTINJ. */
#include "rules.h"
#include "../cpu/regs.h"

#define CR0_PE BIT_ULL(0)
#define CR0_WP BIT_ULL(16)
#define CR0_CD BIT_ULL(30)
#define CR0_PG BIT_ULL(31)
#define CR0_NW BIT_ULL(29)
#define CR4_PAE BIT_ULL(5)
#define CR4_CET BIT_ULL(23)
#define CR4_RESERVED (GENMASK_ULL(15, 13) | BIT_ULL(19) | ~GENMASK_ULL(23, 0))
#define EFER_LME BIT_ULL(8)
#define EFER_LMA BIT_ULL(10)
#define EFER_SVME BIT_ULL(12)
#define EFER_RESERVED (GENMASK_ULL(7, 1) | BIT_ULL(9) | BIT_ULL(16) | BIT_ULL(19) | ~GENMASK_ULL(21, 0))
#define ATTRIB_L BIT_ULL(9)
#define ATTRIB_DB BIT_ULL(10)
#define INTERCEPT_VMRUN BIT_ULL(0)
#define NP_ENABLE BIT_ULL(0)
#define EVENT_VALID BIT_ULL(31)
#define EVENT_VECTOR(event) ((event)&0xff)
#define EVENT_TYPE(event) ((event) >> 8 & 7)
enum { TYPE_INTR = 0, TYPE_NMI = 2, TYPE_EXCEPTION = 3, TYPE_SOFT = 4 };
#define HIGH_HALF GENMASK_ULL(63, 32)
#define IOPM_SIZE 0x3000
#define MSRPM_SIZE 0x2000

static const struct check_part event_parts[] = {
	{ "vector", 0, 8 }, { "type", 8, 3 }, { "error code", 11, 1 }, { "valid", 31, 1 }, { NULL },
};

static const struct check_part attribute_parts[] = {
	{ "type", 0, 4 }, { "S", 4, 1 },  { "DPL", 5, 2 }, { "P", 7, 1 }, { "AVL", 8, 1 },
	{ "L", 9, 1 },	  { "D", 10, 1 }, { "G", 11, 1 },  { NULL },
};

static const struct check_part intercept_parts[] = {
	{ "INTR", 0, 1 },    { "NMI", 1, 1 },	    { "SMI", 2, 1 },	{ "INIT", 3, 1 },
	{ "VINTR", 4, 1 },   { "RDPMC", 15, 1 },    { "CPUID", 18, 1 }, { "RSM", 19, 1 },
	{ "IRET", 20, 1 },   { "INVD", 22, 1 },	    { "PAUSE", 23, 1 }, { "HLT", 24, 1 },
	{ "INVLPG", 25, 1 }, { "INVLPGA", 26, 1 },  { "IOIO", 27, 1 },	{ "MSR", 28, 1 },
	{ "TASK", 29, 1 },   { "SHUTDOWN", 31, 1 }, { NULL },
};

static const struct check_part virtual_parts[] = {
	{ "TPR", 0, 8 },	 { "IRQ", 8, 1 },      { "GIF", 9, 1 },		 { "PRIO", 16, 4 },
	{ "ignore TPR", 20, 1 }, { "masking", 24, 1 }, { "virtual GIF", 25, 1 }, { NULL },
};

#define FIELD(name, offset, size, member, parts) { #name, offset, size, parts },
static const struct check_field fields[] = { SVM_RULE_FIELDS(FIELD) };
static const struct check_field others[] = { SVM_OTHER_FIELDS(FIELD) };
#undef FIELD

/* -- facts ------------------------------------------------------------------------------------------------------- */

#define CACHED BIT_ULL(0)      /* CR0.CD is 0 */
#define LONG_PAGING BIT_ULL(1) /* EFER.LME and CR0.PG */
#define LONG_PAE BIT_ULL(2)    /* and CR4.PAE */
#define LONG_ACTIVE BIT_ULL(3) /* EFER.LMA, or what will make it so */
#define NESTED_PAGING BIT_ULL(4)
#define INJECTS BIT_ULL(5)
#define CET BIT_ULL(6)

static void find_facts(struct check_view *view)
{
	const u64 *value = view->value;
	u64 facts = 0;

	if (!(value[SVM_F_CR0] & CR0_CD))
		facts |= CACHED;
	if ((value[SVM_F_EFER] & EFER_LME) && (value[SVM_F_CR0] & CR0_PG))
		facts |= LONG_PAGING | LONG_ACTIVE;
	if ((facts & LONG_PAGING) && (value[SVM_F_CR4] & CR4_PAE))
		facts |= LONG_PAE;
	if (value[SVM_F_EFER] & EFER_LMA)
		facts |= LONG_ACTIVE;
	if (value[SVM_F_NP_CONTROL] & NP_ENABLE)
		facts |= NESTED_PAGING;
	if (value[SVM_F_EVENTINJ] & EVENT_VALID)
		facts |= INJECTS;
	if (value[SVM_F_CR4] & CR4_CET)
		facts |= CET;
	view->facts = facts;
}

/* -- the rules --------------------------------------------------------------------------------------------------- */

static bool map_end(const struct check_view *view, u64 base, u64 size, unsigned int instance)
{
	return !(((base & ~0xfffull) + size) >> view->physical_bits);
}

static bool not_long_and_default(const struct check_view *view, u64 attributes, u64 unused, unsigned int instance)
{
	return !(attributes & ATTRIB_L) || !(attributes & ATTRIB_DB);
}

static bool known_type(const struct check_view *view, u64 event, u64 unused, unsigned int instance)
{
	u64 type = EVENT_TYPE(event);

	return type == TYPE_INTR || type == TYPE_NMI || type == TYPE_EXCEPTION || type == TYPE_SOFT;
}

static bool vector_of_exception(const struct check_view *view, u64 event, u64 unused, unsigned int instance)
{
	return EVENT_TYPE(event) != TYPE_EXCEPTION || (EVENT_VECTOR(event) < 32 && EVENT_VECTOR(event) != VECTOR_NMI);
}

static const struct check_rule consistency_rules[] = {
	{ SVM_F_EFER, 0, false, "SVME is 1", check_ones, EFER_SVME },
	{ SVM_F_CR0, 0, false, "NW is 0 where CD is 0", check_zero, CR0_NW, CACHED },
	{ SVM_F_CR0, 0, false, "bits 63:32 are 0", check_zero, HIGH_HALF },
	{ SVM_F_CR3, 0, false, "in long mode bits beyond the physical-address width are 0", check_physical, 0,
	  LONG_ACTIVE },
	{ SVM_F_CR4, 0, false, "reserved bits are 0", check_zero, CR4_RESERVED },
	{ SVM_F_DR6, 0, false, "bits 63:32 are 0", check_zero, HIGH_HALF },
	{ SVM_F_DR7, 0, false, "bits 63:32 are 0", check_zero, HIGH_HALF },
	{ SVM_F_EFER, 0, false, "reserved bits are 0", check_zero, EFER_RESERVED },
	{ SVM_F_CR4, 0, false, "EFER.LME with CR0.PG needs PAE", check_ones, CR4_PAE, LONG_PAGING },
	{ SVM_F_CR0, 0, false, "EFER.LME with PG needs PE", check_ones, CR0_PE, LONG_PAGING },
	{ SVM_F_CS_ATTRIB, 0, false, "in long mode L and D are not both 1", not_long_and_default, 0, LONG_PAE },
	{ SVM_F_INTERCEPTS_4, 0, false, "VMRUN is intercepted", check_ones, INTERCEPT_VMRUN },
	{ SVM_F_IOPM_BASE_PA, 0, false, "the map ends within the physical-address width", map_end, IOPM_SIZE },
	{ SVM_F_MSRPM_BASE_PA, 0, false, "the map ends within the physical-address width", map_end, MSRPM_SIZE },
	{ SVM_F_GUEST_ASID, 0, false, "the ASID is not 0", check_not_zero },
	{ SVM_F_CR0, 0, false, "CR4.CET needs WP", check_ones, CR0_WP, CET },
	{ SVM_F_N_CR3, 0, false, "bits beyond the physical-address width are 0", check_physical, 0, NESTED_PAGING },
	{ SVM_F_G_PAT, 0, false, "each entry is a memory type", check_pat, 0, NESTED_PAGING },
};

static const struct check_rule event_rules[] = {
	{ SVM_F_EVENTINJ, 0, false, "the type is 0, 2, 3 or 4", known_type, 0, INJECTS },
	{ SVM_F_EVENTINJ, 0, false, "the vector of an exception is at most 31, and not 2", vector_of_exception, 0,
	  INJECTS },
};

static const struct check_section sections[] = {
	CHECK_SECTION("Canonicalization and Consistency Checks", consistency_rules),
	CHECK_SECTION("Event Injection", event_rules),
};

const struct checks svm_checks = {
	.manual = "APM volume 2",
	.fields = fields,
	.nr_fields = ARRAY_SIZE(fields),
	.others = others,
	.nr_others = ARRAY_SIZE(others),
	.sections = sections,
	.nr_sections = ARRAY_SIZE(sections),
	.find_facts = find_facts,
};
