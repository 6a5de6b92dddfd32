/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Which rule a failed VM entry broke: the CPU tells only that there was one. The rules of the SDM's chapter "VM
 * Entries" are gone through again by software, one REQUIRE() each, and each broken one is told with its field and
 * value.
 */
#ifndef PITH_VMX_CHECK_H
#define PITH_VMX_CHECK_H

#include "vmx.h"

/* What the rules name more than once, as the VMCS has it. */
struct guest_view {
	u64 cr0, cr4, efer, rflags;
	bool ia32e; /* the VM-entry control "IA-32e mode guest" */
	bool v8086;
	u32 interruptibility;
	u32 injected; /* VM-entry interruption information, 0 unless valid */
	u8 maxphyaddr;
	struct {
		u16 selector;
		u64 base;
		u32 limit, ar;
	} seg[NR_SEGMENTS];
};

/** check_broken - one line for the log; @section is the title of the SDM's section that has the rule */
void check_broken(const char *section, const char *rule, const char *field, unsigned long value);

#define REQUIRE(section, field, rule, condition)                                   \
	do {                                                                       \
		if (!(condition))                                                  \
			check_broken(section, rule, #field, vmcs_read_any(field)); \
	} while (0)

static inline bool check_canonical(u64 address)
{
	unsigned int bits = boot_cpu_has(X86_FEATURE_LA57) ? 57 : 48;

	return (u64)((s64)(address << (64 - bits)) >> (64 - bits)) == address;
}

static inline bool check_fixed(u64 value, u64 fixed0, u64 fixed1)
{
	return (value & fixed0) == fixed0 && !(value & ~fixed1);
}

/* check_segments.c */
void check_segments(const struct guest_view *guest);

#endif
