// SPDX-License-Identifier: GPL-2.0
/* See check.h. */
#include "check.h"

#ifndef __KERNEL__
#include <stdarg.h>
#include <stdio.h>
#endif

/* -- what rules are made of -------------------------------------------------------------------------------------- */

bool check_zero(const struct check_view *view, u64 value, u64 bits, unsigned int instance)
{
	return !(value & bits);
}

bool check_ones(const struct check_view *view, u64 value, u64 bits, unsigned int instance)
{
	return (value & bits) == bits;
}

bool check_not_zero(const struct check_view *view, u64 value, u64 unused, unsigned int instance)
{
	return value;
}

bool check_equal(const struct check_view *view, u64 value, u64 other, unsigned int instance)
{
	return value == other;
}

bool check_at_most(const struct check_view *view, u64 value, u64 most, unsigned int instance)
{
	return value <= most;
}

bool check_in_range(const struct check_view *view, u64 value, u64 range, unsigned int instance)
{
	return !(~value & view->range[range].must) && !(value & ~view->range[range].may);
}

/* Weaker than canonical: the highest bit of the linear-address width itself is free. */
bool check_sign_extended(const struct check_view *view, u64 value, u64 unused, unsigned int instance)
{
	u64 high = value >> view->linear_bits;

	return !high || high == ~0ull >> view->linear_bits;
}

bool check_canonical(const struct check_view *view, u64 value, u64 unused, unsigned int instance)
{
	u64 high = value >> (view->linear_bits - 1);

	return !high || high == ~0ull >> (view->linear_bits - 1);
}

bool check_physical(const struct check_view *view, u64 value, u64 low, unsigned int instance)
{
	return !(value & low) && !(value >> view->physical_bits);
}

/* Each of the eight bytes is 0, 1, 4, 5, 6 or 7: where bit 1 is set, so is bit 2. */
bool check_pat(const struct check_view *view, u64 value, u64 unused, unsigned int instance)
{
	return !(value & 0xf8f8f8f8f8f8f8f8ull) && !((value & 0x0202020202020202ull) << 1 & ~value);
}

/* -- running them ------------------------------------------------------------------------------------------------ */

static unsigned int run_rule(const struct check_view *view, const struct check_section *section,
			     const struct check_rule *rule, check_broken *broken, void *context)
{
	u32 instances = rule->instances ?: 1;
	unsigned int i, nr = 0;

	if ((view->facts & rule->when) != rule->when)
		return 0;
	if (rule->usable_only)
		instances &= view->usable;
	for (; instances; instances &= instances - 1) {
		i = __ffs(instances);
		if (rule->holds(view, view->value[rule->field + i], rule->arg, i))
			continue;
		broken(context, section, rule, rule->field + i);
		nr++;
	}
	return nr;
}

unsigned int check_run(const struct checks *checks, struct check_view *view, check_broken *broken, void *context)
{
	const struct check_section *section;
	unsigned int i, nr = 0;

	checks->find_facts(view);
	for (section = checks->sections; section < checks->sections + checks->nr_sections; section++)
		for (i = 0; i < section->nr; i++)
			nr += run_rule(view, section, &section->rules[i], broken, context);
	return nr;
}

int check_find_field(const struct checks *checks, u64 number)
{
	unsigned int i;

	for (i = 0; i < checks->nr_fields; i++)
		if (checks->fields[i].number == number)
			return i;
	return -1;
}

/* -- in words ---------------------------------------------------------------------------------------------------- */

struct text {
	const struct checks *checks;
	const struct check_view *view;
	char *at, *end;
};

static __attribute__((__format__(printf, 2, 3))) void put(struct text *text, const char *format, ...)
{
	size_t room = text->end - text->at;
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(text->at, room, format, args);
	va_end(args);
	text->at += min_t(size_t, len, room - 1);
}

static void put_parts(struct text *text, const struct check_part *part, u64 value)
{
	const char *comma = "";
	u64 number;

	for (; part->name; part++) {
		number = value >> part->shift & ((1u << part->width) - 1);
		if (part->width == 1 && number)
			put(text, "%s%s", comma, part->name);
		else if (part->width > 1)
			put(text, "%s%s %llu", comma, part->name, (unsigned long long)number);
		else
			continue;
		comma = ", ";
	}
}

void check_describe(const struct check_part *parts, u64 value, char *buffer, size_t size)
{
	struct text text = { .at = buffer, .end = buffer + size };

	*buffer = '\0';
	if (parts)
		put_parts(&text, parts, value);
}

static void put_rule(void *context, const struct check_section *section, const struct check_rule *rule,
		     unsigned int index)
{
	struct text *text = context;
	const struct check_field *field = &text->checks->fields[index];
	u64 value = text->view->value[index];
	char *start = text->at;

	put(text, "%s is %#llx", field->name, (unsigned long long)value);
	if (field->parts) {
		put(text, " (");
		put_parts(text, field->parts, value);
		put(text, ")");
	}
	put(text, ": %s (%s, \"%s\")\n", rule->text, text->checks->manual, section->title);
	/* Whole lines only. */
	if (text->at == text->end - 1) {
		text->at = start;
		*start = '\0';
	}
}

unsigned int check_explain(const struct checks *checks, struct check_view *view, char *buffer, size_t size)
{
	struct text text = { .checks = checks, .view = view, .at = buffer, .end = buffer + size };

	*buffer = '\0';
	return check_run(checks, view, put_rule, &text);
}

/* -- registers --------------------------------------------------------------------------------------------------- */

const struct check_part check_cr0[] = {
	{ "PE", 0, 1 },	 { "MP", 1, 1 },  { "EM", 2, 1 },  { "TS", 3, 1 },  { "ET", 4, 1 },  { "NE", 5, 1 },
	{ "WP", 16, 1 }, { "AM", 18, 1 }, { "NW", 29, 1 }, { "CD", 30, 1 }, { "PG", 31, 1 }, { NULL },
};

const struct check_part check_cr4[] = {
	{ "VME", 0, 1 },       { "PVI", 1, 1 },	   { "TSD", 2, 1 },	 { "DE", 3, 1 },
	{ "PSE", 4, 1 },       { "PAE", 5, 1 },	   { "MCE", 6, 1 },	 { "PGE", 7, 1 },
	{ "PCE", 8, 1 },       { "OSFXSR", 9, 1 }, { "UMIP", 11, 1 },	 { "OSXMMEXCPT", 10, 1 },
	{ "LA57", 12, 1 },     { "VMXE", 13, 1 },  { "SMXE", 14, 1 },	 { "PKE", 22, 1 },
	{ "FSGSBASE", 16, 1 }, { "SMEP", 20, 1 },  { "OSXSAVE", 18, 1 }, { "PCIDE", 17, 1 },
	{ "SMAP", 21, 1 },     { "CET", 23, 1 },   { "PKS", 24, 1 },	 { NULL },
};

const struct check_part check_efer[] = {
	{ "SCE", 0, 1 },   { "LME", 8, 1 },    { "LMA", 10, 1 },   { "NXE", 11, 1 },
	{ "SVME", 12, 1 }, { "LMSLE", 13, 1 }, { "FFXSR", 14, 1 }, { NULL },
};

const struct check_part check_rflags[] = {
	{ "CF", 0, 1 },	 { "PF", 2, 1 },   { "AF", 4, 1 },   { "ZF", 6, 1 },  { "SF", 7, 1 },  { "TF", 8, 1 },
	{ "IF", 9, 1 },	 { "DF", 10, 1 },  { "OF", 11, 1 },  { "NT", 14, 1 }, { "RF", 16, 1 }, { "VM", 17, 1 },
	{ "AC", 18, 1 }, { "VIF", 19, 1 }, { "VIP", 20, 1 }, { "ID", 21, 1 }, { NULL },
};

/* By their vectors. */
const struct check_part check_exceptions[] = {
	{ "#DE", 0, 1 },  { "#DB", 1, 1 },  { "#BP", 3, 1 },  { "#OF", 4, 1 },	{ "#BR", 5, 1 },  { "#UD", 6, 1 },
	{ "#NM", 7, 1 },  { "#DF", 8, 1 },  { "#TS", 10, 1 }, { "#NP", 11, 1 }, { "#SS", 12, 1 }, { "#GP", 13, 1 },
	{ "#PF", 14, 1 }, { "#MF", 16, 1 }, { "#AC", 17, 1 }, { "#MC", 18, 1 }, { "#XM", 19, 1 }, { NULL },
};
