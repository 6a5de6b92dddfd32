// SPDX-License-Identifier: GPL-2.0
/* See check.h. Source: SDM volume 3, "Checks on Guest Segment Registers", for an unrestricted guest. */
#include "check.h"

#define SECTION "Checks on Guest Segment Registers"

#define SELECTOR_TI BIT(2)
#define TYPE_CODE BIT(3)
#define TYPE_CONFORMING BIT(2) /* of code */
#define TYPE_READABLE BIT(1)
#define V8086_RIGHTS 0xf3

static const char *const segment_name[NR_SEGMENTS] = { "ES", "CS", "SS", "DS", "FS", "GS", "LDTR", "TR" };

/* The names of a rule's field: the segment's and the part's. */
static void require(enum segment seg, const char *part, unsigned long value, const char *rule, bool holds)
{
	char field[24];

	if (holds)
		return;
	snprintf(field, sizeof(field), "GUEST_%s_%s", segment_name[seg], part);
	check_broken(SECTION, rule, field, value);
}

static bool usable(const struct guest_view *guest, enum segment seg)
{
	return !(guest->seg[seg].ar & VMX_AR_UNUSABLE_MASK);
}

static u8 type(const struct guest_view *guest, enum segment seg)
{
	return guest->seg[seg].ar & VMX_AR_TYPE_MASK;
}

static void check_v8086(const struct guest_view *guest)
{
	enum segment seg;

	for (seg = SEG_ES; seg <= SEG_GS; seg++) {
		require(seg, "BASE", guest->seg[seg].base, "in virtual-8086 mode the base is the selector times 16",
			guest->seg[seg].base == guest->seg[seg].selector << 4);
		require(seg, "LIMIT", guest->seg[seg].limit, "in virtual-8086 mode the limit is 0xffff",
			guest->seg[seg].limit == 0xffff);
		require(seg, "AR_BYTES", guest->seg[seg].ar, "in virtual-8086 mode access rights are 0xf3",
			guest->seg[seg].ar == V8086_RIGHTS);
	}
}

static void check_bases(const struct guest_view *guest)
{
	static const enum segment canonical[] = { SEG_FS, SEG_GS, SEG_TR, SEG_LDTR };
	static const enum segment low[] = { SEG_CS, SEG_SS, SEG_DS, SEG_ES };
	int i;

	for (i = 0; i < ARRAY_SIZE(canonical); i++)
		require(canonical[i], "BASE", guest->seg[canonical[i]].base, "the base is canonical",
			(canonical[i] == SEG_LDTR && !usable(guest, SEG_LDTR)) ||
				check_canonical(guest->seg[canonical[i]].base));
	for (i = 0; i < ARRAY_SIZE(low); i++)
		require(low[i], "BASE", guest->seg[low[i]].base, "bits 63:32 of the base are 0",
			(low[i] != SEG_CS && !usable(guest, low[i])) || !(guest->seg[low[i]].base >> 32));
}

/* What holds for the rights of each usable register. */
static void check_common_rights(const struct guest_view *guest, enum segment seg)
{
	u32 ar = guest->seg[seg].ar, limit = guest->seg[seg].limit;

	require(seg, "AR_BYTES", ar, "a usable segment is present", ar & VMX_AR_P_MASK);
	require(seg, "AR_BYTES", ar, "reserved bits are 0", !(ar & VMX_AR_RESERVD_MASK));
	require(seg, "AR_BYTES", ar, seg >= SEG_LDTR ? "S is 0" : "S is 1", !(ar & VMX_AR_S_MASK) == (seg >= SEG_LDTR));
	require(seg, "LIMIT", limit, "unless bits 11:0 of the limit are all 1, G is 0",
		(limit & 0xfff) == 0xfff || !(ar & VMX_AR_G_MASK));
	require(seg, "LIMIT", limit, "unless bits 31:20 of the limit are all 0, G is 1",
		!(limit >> 20) || (ar & VMX_AR_G_MASK));
}

static void check_code(const struct guest_view *guest)
{
	u32 ar = guest->seg[SEG_CS].ar, dpl = VMX_AR_DPL(ar), ss_dpl = VMX_AR_DPL(guest->seg[SEG_SS].ar);
	u8 cs_type = type(guest, SEG_CS);

	check_common_rights(guest, SEG_CS);
	require(SEG_CS, "AR_BYTES", ar, "the type of CS is accessed code, or 3",
		cs_type == 3 || (cs_type & (TYPE_CODE | VMX_AR_TYPE_ACCESSES_MASK)) == 9);
	if (cs_type == 3)
		require(SEG_CS, "AR_BYTES", ar, "with type 3 the DPL of CS is 0", !dpl);
	else if (cs_type & TYPE_CONFORMING)
		require(SEG_CS, "AR_BYTES", ar, "the DPL of conforming CS is not above that of SS", dpl <= ss_dpl);
	else
		require(SEG_CS, "AR_BYTES", ar, "the DPL of CS is that of SS", dpl == ss_dpl);
	require(SEG_CS, "AR_BYTES", ar, "64-bit code has D/B 0",
		!guest->ia32e || !(ar & VMX_AR_L_MASK) || !(ar & VMX_AR_DB_MASK));
}

static void check_stack(const struct guest_view *guest)
{
	u32 ar = guest->seg[SEG_SS].ar;

	if (usable(guest, SEG_SS)) {
		check_common_rights(guest, SEG_SS);
		require(SEG_SS, "AR_BYTES", ar, "the type of SS is 3 or 7",
			type(guest, SEG_SS) == 3 || type(guest, SEG_SS) == 7);
	}
	if (type(guest, SEG_CS) == 3 || !(guest->cr0 & X86_CR0_PE))
		require(SEG_SS, "AR_BYTES", ar, "with CR0.PE 0 or CS of type 3 the DPL of SS is 0", !VMX_AR_DPL(ar));
}

static void check_data(const struct guest_view *guest, enum segment seg)
{
	u8 t = type(guest, seg);

	check_common_rights(guest, seg);
	require(seg, "AR_BYTES", guest->seg[seg].ar, "a data segment is accessed", t & VMX_AR_TYPE_ACCESSES_MASK);
	require(seg, "AR_BYTES", guest->seg[seg].ar, "code in a data segment register is readable",
		!(t & TYPE_CODE) || (t & TYPE_READABLE));
}

static void check_system(const struct guest_view *guest)
{
	u32 tr = guest->seg[SEG_TR].ar, ldtr = guest->seg[SEG_LDTR].ar;

	require(SEG_TR, "SELECTOR", guest->seg[SEG_TR].selector, "TI of TR is 0",
		!(guest->seg[SEG_TR].selector & SELECTOR_TI));
	require(SEG_TR, "AR_BYTES", tr, "TR is usable", usable(guest, SEG_TR));
	if (usable(guest, SEG_TR)) {
		require(SEG_TR, "AR_BYTES", tr, "the type of TR is a busy TSS, in IA-32e mode 11",
			type(guest, SEG_TR) == 11 || (type(guest, SEG_TR) == 3 && !guest->ia32e));
		check_common_rights(guest, SEG_TR);
	}
	if (!usable(guest, SEG_LDTR))
		return;
	require(SEG_LDTR, "SELECTOR", guest->seg[SEG_LDTR].selector, "TI of LDTR is 0",
		!(guest->seg[SEG_LDTR].selector & SELECTOR_TI));
	require(SEG_LDTR, "AR_BYTES", ldtr, "the type of LDTR is 2", type(guest, SEG_LDTR) == 2);
	check_common_rights(guest, SEG_LDTR);
}

void check_segments(const struct guest_view *guest)
{
	enum segment seg;

	check_bases(guest);
	check_system(guest);
	if (guest->v8086) {
		check_v8086(guest);
		return;
	}
	require(SEG_CS, "AR_BYTES", guest->seg[SEG_CS].ar, "CS is usable", usable(guest, SEG_CS));
	if (usable(guest, SEG_CS))
		check_code(guest);
	check_stack(guest);
	for (seg = SEG_ES; seg <= SEG_GS; seg++) {
		if (seg != SEG_CS && seg != SEG_SS && usable(guest, seg))
			check_data(guest, seg);
	}
}
