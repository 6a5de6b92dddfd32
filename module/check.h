/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Which rules of the manual a control structure breaks: the CPU tells only that it refuses one. A vendor's rules are a
 * table, evaluated over a snapshot of the structure's fields. Needs no kernel.
 */
#ifndef PITH_CHECK_H
#define PITH_CHECK_H

#include "portable.h"

#define CHECK_MAX_FIELDS 160
#define CHECK_MAX_RANGES 10

/* A part of a field's value in words: a bit that is told if set, or a number that is always told. */
struct check_part {
	const char *name;
	u8 shift, width;
};

struct check_field {
	const char *name;
	u16 number;			/* a VMCS field's encoding, the offset in a VMCB */
	u8 size;			/* in bytes */
	const struct check_part *parts; /* the last one has no name; or NULL */
};

/**
 * struct check_view - a control structure, and the CPU it is for, as the rules see them
 * @value: by the number of the field in the vendor's table
 * @facts: the vendor's bits, each a condition of rules
 * @usable: which instances of rules with usable_only there are
 * @range: of fields with bits that the CPU fixes: those that must be 1, those that may be
 * @physical_bits, @linear_bits: the widths of addresses
 * @virtual_tpr: the class of the TPR in the virtual-APIC page
 */
struct check_view {
	u64 value[CHECK_MAX_FIELDS];
	u64 facts;
	u32 usable;
	struct {
		u64 must, may;
	} range[CHECK_MAX_RANGES];
	u8 physical_bits, linear_bits, virtual_tpr;
};

/**
 * struct check_rule - one rule: where all of @when are facts, @holds is true of the field
 * @instances: a mask: the rule is also one for the fields that follow @field, which is that of bit 0; 0: only for that
 * @usable_only: only for instances that are usable
 * @arg: what @holds wants to know besides
 */
struct check_rule {
	u16 field;
	u16 instances;
	bool usable_only;
	const char *text;
	bool (*holds)(const struct check_view *view, u64 value, u64 arg, unsigned int instance);
	u64 arg;
	u64 when;
};

struct check_section {
	const char *title; /* of the manual */
	const struct check_rule *rules;
	unsigned int nr;
};

struct checks {
	const char *manual;
	const struct check_field *fields;
	unsigned int nr_fields;
	/** @others: fields that no rule is about, for those who want to see all */
	const struct check_field *others;
	unsigned int nr_others;
	const struct check_section *sections;
	unsigned int nr_sections;
	/** @find_facts: works out view->facts and view->usable from the fields */
	void (*find_facts)(struct check_view *view);
};

typedef void check_broken(void *context, const struct check_section *section, const struct check_rule *rule,
			  unsigned int field);

/** check_run - calls @broken for each rule that does not hold. Return: how many those are. */
unsigned int check_run(const struct checks *checks, struct check_view *view, check_broken *broken, void *context);

/** check_explain - a line for each broken rule, as many as there is room for. Return: how many are broken. */
unsigned int check_explain(const struct checks *checks, struct check_view *view, char *text, size_t size);

/** check_describe - a value in words: "PE, MP, ET"; "" if there is nothing to say */
void check_describe(const struct check_part *parts, u64 value, char *text, size_t size);

/** check_find_field - the field of a number, or -1 */
int check_find_field(const struct checks *checks, u64 number);

/* What rules are made of. */
bool check_zero(const struct check_view *view, u64 value, u64 bits, unsigned int instance);
bool check_ones(const struct check_view *view, u64 value, u64 bits, unsigned int instance);
bool check_not_zero(const struct check_view *view, u64 value, u64 unused, unsigned int instance);
bool check_equal(const struct check_view *view, u64 value, u64 other, unsigned int instance);
bool check_at_most(const struct check_view *view, u64 value, u64 most, unsigned int instance);
bool check_in_range(const struct check_view *view, u64 value, u64 range, unsigned int instance);
bool check_sign_extended(const struct check_view *view, u64 value, u64 unused, unsigned int instance);
bool check_canonical(const struct check_view *view, u64 value, u64 unused, unsigned int instance);
/* A physical address whose bits in @low are 0. */
bool check_physical(const struct check_view *view, u64 value, u64 low, unsigned int instance);
bool check_pat(const struct check_view *view, u64 value, u64 unused, unsigned int instance);

#define CHECK_SECTION(title, rules)             \
	{                                       \
		title, rules, ARRAY_SIZE(rules) \
	}

/* Parts of registers that both vendors have fields for. */
extern const struct check_part check_cr0[], check_cr4[], check_efer[], check_rflags[], check_exceptions[];

#endif
