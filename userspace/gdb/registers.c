// SPDX-License-Identifier: GPL-2.0
#include "registers.h"

#include <stdio.h>
#include <string.h>

enum feature { CORE, SSE, SEGMENTS, CONTROL };

static const struct {
	const char *name;
	const char *types;
} features[] = {
	[CORE] = { "org.gnu.gdb.i386.core",
		   "<flags id=\"i386_eflags\" size=\"4\">"
		   "<field name=\"CF\" start=\"0\" end=\"0\"/><field name=\"\" start=\"1\" end=\"1\"/>"
		   "<field name=\"PF\" start=\"2\" end=\"2\"/><field name=\"AF\" start=\"4\" end=\"4\"/>"
		   "<field name=\"ZF\" start=\"6\" end=\"6\"/><field name=\"SF\" start=\"7\" end=\"7\"/>"
		   "<field name=\"TF\" start=\"8\" end=\"8\"/><field name=\"IF\" start=\"9\" end=\"9\"/>"
		   "<field name=\"DF\" start=\"10\" end=\"10\"/><field name=\"OF\" start=\"11\" end=\"11\"/>"
		   "<field name=\"NT\" start=\"14\" end=\"14\"/><field name=\"RF\" start=\"16\" end=\"16\"/>"
		   "<field name=\"VM\" start=\"17\" end=\"17\"/><field name=\"AC\" start=\"18\" end=\"18\"/>"
		   "<field name=\"VIF\" start=\"19\" end=\"19\"/><field name=\"VIP\" start=\"20\" end=\"20\"/>"
		   "<field name=\"ID\" start=\"21\" end=\"21\"/></flags>\n" },
	[SSE] = { "org.gnu.gdb.i386.sse",
		  "<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/><vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>"
		  "<vector id=\"v16i8\" type=\"int8\" count=\"16\"/><vector id=\"v8i16\" type=\"int16\" count=\"8\"/>"
		  "<vector id=\"v4i32\" type=\"int32\" count=\"4\"/><vector id=\"v2i64\" type=\"int64\" count=\"2\"/>"
		  "<union id=\"vec128\"><field name=\"v4_float\" type=\"v4f\"/><field name=\"v2_double\" type=\"v2d\"/>"
		  "<field name=\"v16_int8\" type=\"v16i8\"/><field name=\"v8_int16\" type=\"v8i16\"/>"
		  "<field name=\"v4_int32\" type=\"v4i32\"/><field name=\"v2_int64\" type=\"v2i64\"/>"
		  "<field name=\"uint128\" type=\"uint128\"/></union>\n" },
	[SEGMENTS] = { "org.gnu.gdb.i386.segments", "" },
	/* gdb has no name for these: it shows them behind its own. */
	[CONTROL] = { "org.pith.control", "" },
};

/* In the order of gdb's numbers. What gdb wants larger than it is has zeroes above. */
struct row {
	const char *name, *type;
	u8 feature;
	u8 size; /* gdb's */
	u8 field_size;
	u16 field; /* in struct registers */
};

#define ROW(name, type, feature, size, field)                                                                        \
	{                                                                                                            \
		name, type, feature, size, sizeof(((struct registers *)0)->field), offsetof(struct registers, field) \
	}
#define GPR(name) ROW(#name, "int64", CORE, 8, regs.name)
#define SELECTOR(name) ROW(#name, "int32", CORE, 4, sregs.name.selector)
#define ST(n)                                                                             \
	{                                                                                 \
		"st" #n, "i387_ext", CORE, 10, 10, offsetof(struct registers, fpu.fpr[n]) \
	}
#define X87(name, field) ROW(name, "int", CORE, 4, fpu.field)
/* The last instruction's and its operand's addresses are in halves, by their names segment and offset. */
#define X87_HALF(name, field, half)                                                         \
	{                                                                                   \
		name, "int", CORE, 4, 4, offsetof(struct registers, fpu.field) + 4 * (half) \
	}
#define XMM(n) ROW("xmm" #n, "vec128", SSE, 16, fpu.xmm[n])
#define SYSTEM(name) ROW(#name, "int64", CONTROL, 8, sregs.name)

static const struct row rows[] = {
	GPR(rax),
	GPR(rbx),
	GPR(rcx),
	GPR(rdx),
	GPR(rsi),
	GPR(rdi),
	ROW("rbp", "data_ptr", CORE, 8, regs.rbp),
	ROW("rsp", "data_ptr", CORE, 8, regs.rsp),
	GPR(r8),
	GPR(r9),
	GPR(r10),
	GPR(r11),
	GPR(r12),
	GPR(r13),
	GPR(r14),
	GPR(r15),
	ROW("rip", "code_ptr", CORE, 8, regs.rip),
	{ "eflags", "i386_eflags", CORE, 4, 4, offsetof(struct registers, regs.rflags) },
	SELECTOR(cs),
	SELECTOR(ss),
	SELECTOR(ds),
	SELECTOR(es),
	SELECTOR(fs),
	SELECTOR(gs),
	ST(0),
	ST(1),
	ST(2),
	ST(3),
	ST(4),
	ST(5),
	ST(6),
	ST(7),
	X87("fctrl", fcw),
	X87("fstat", fsw),
	X87("ftag", ftwx),
	X87_HALF("fiseg", last_ip, 1),
	X87_HALF("fioff", last_ip, 0),
	X87_HALF("foseg", last_dp, 1),
	X87_HALF("fooff", last_dp, 0),
	X87("fop", last_opcode),
	XMM(0),
	XMM(1),
	XMM(2),
	XMM(3),
	XMM(4),
	XMM(5),
	XMM(6),
	XMM(7),
	XMM(8),
	XMM(9),
	XMM(10),
	XMM(11),
	XMM(12),
	XMM(13),
	XMM(14),
	XMM(15),
	ROW("mxcsr", "int", SSE, 4, fpu.mxcsr),
	ROW("fs_base", "int64", SEGMENTS, 8, sregs.fs.base),
	ROW("gs_base", "int64", SEGMENTS, 8, sregs.gs.base),
	SYSTEM(cr0),
	SYSTEM(cr2),
	SYSTEM(cr3),
	SYSTEM(cr4),
	SYSTEM(cr8),
	SYSTEM(efer),
};

#define FTW offsetof(struct registers, fpu.ftwx)
#define TAG_EMPTY 3

/* gdb has two bits for each register. Source: SDM volume 1, "FXSAVE Area". */
static u16 full_tags(u8 abridged)
{
	u16 tags = 0;

	for (unsigned int i = 0; i < 8; i++)
		tags |= abridged >> i & 1 ? 0 : TAG_EMPTY << 2 * i;
	return tags;
}

static u8 abridged_tags(u16 tags)
{
	u8 abridged = 0;

	for (unsigned int i = 0; i < 8; i++)
		abridged |= (tags >> 2 * i & 3) != TAG_EMPTY ? 1 << i : 0;
	return abridged;
}

/**
 * registers_count - how many registers gdb is told of
 *
 * Return: that; their numbers are below.
 */
unsigned int registers_count(void)
{
	return ARRAY_SIZE(rows);
}

/**
 * register_size - how many bytes a register has
 * @number: gdb's, of the register
 *
 * Return: REGISTER_MAX at most.
 */
unsigned int register_size(unsigned int number)
{
	return rows[number].size;
}

/**
 * register_get - read a register
 * @registers: where it is
 * @number: gdb's, of it
 * @value: set to register_size() bytes
 */
void register_get(const struct registers *registers, unsigned int number, void *value)
{
	const struct row *row = &rows[number];
	u16 tags;

	memset(value, 0, row->size);
	memcpy(value, (const u8 *)registers + row->field, row->field_size);
	if (row->field == FTW) {
		tags = full_tags(registers->fpu.ftwx);
		memcpy(value, &tags, sizeof(tags));
	}
}

/**
 * register_set - change a register
 * @registers: where it is
 * @number: gdb's, of it
 * @value: register_size() bytes
 */
void register_set(struct registers *registers, unsigned int number, const void *value)
{
	const struct row *row = &rows[number];
	u16 tags;

	memcpy((u8 *)registers + row->field, value, row->field_size);
	if (row->field == FTW) {
		memcpy(&tags, value, sizeof(tags));
		registers->fpu.ftwx = abridged_tags(tags);
	}
}

static size_t add_feature(char *xml, size_t size, enum feature feature)
{
	size_t n = snprintf(xml, size, "<feature name=\"%s\">\n%s", features[feature].name, features[feature].types);

	for (unsigned int i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct row *row = &rows[i];

		if (row->feature == feature)
			n += snprintf(xml + n, size - n,
				      "<reg name=\"%s\" bitsize=\"%u\" type=\"%s\" regnum=\"%u\"/>\n", row->name,
				      row->size * 8, row->type, i);
	}
	return n + snprintf(xml + n, size - n, "</feature>\n");
}

/**
 * registers_describe - write the target description
 * @xml: set to it
 * @size: REGISTERS_XML_MAX
 *
 * Return: its length.
 */
size_t registers_describe(char *xml, size_t size)
{
	size_t n = snprintf(xml, size,
			    "<?xml version=\"1.0\"?>\n<!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n"
			    "<target version=\"1.0\">\n<architecture>i386:x86-64</architecture>\n");

	for (enum feature feature = 0; feature < ARRAY_SIZE(features); feature++)
		n += add_feature(xml + n, size - n, feature);
	return n + snprintf(xml + n, size - n, "</target>\n");
}
