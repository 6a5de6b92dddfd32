/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The guest's own page walk: linear to guest-physical, as the CPU would do it. Kernel-free.
 * Source: SDM volume 3, "Paging"; APM volume 2, "Page Translation and Protection".
 */
#ifndef PITH_WALK_H
#define PITH_WALK_H

#include "../cpu/regs.h"

#define WALK_WRITE BIT(0)
#define WALK_FETCH BIT(1)
#define WALK_USER BIT(2)     /* CPL 3; not set for implicit supervisor accesses (descriptor tables) */
#define WALK_NO_AD BIT(3)    /* leave accessed and dirty bits alone (KVM_TRANSLATE, instruction fetch for decoding) */
#define WALK_IMPLICIT BIT(4) /* the CPU's own access to a descriptor table or TSS: EFLAGS.AC does not lift SMAP */

enum { WALK_OK = 0, WALK_FAULT = 1, WALK_UNREADABLE = 2 };

/* The CPU state that rules translation. */
struct walk_state {
	u64 cr0, cr3, cr4, efer;
	u64 rflags;    /* AC, for SMAP */
	u64 pdptrs[4]; /* PAE: the four entries the CPU holds */
	u32 pkru;
	unsigned int maxphyaddr;
};

struct walk_ops {
	/* Reads one paging-structure entry of 4 or 8 bytes. Non-zero: cannot be read (WALK_UNREADABLE). */
	int (*read)(void *ctx, u64 gpa, void *entry, unsigned int size);
	/* Sets A/D: 0 exchanged, 1 differed (walk again), negative: cannot be written. Unused with WALK_NO_AD. */
	int (*update)(void *ctx, u64 gpa, unsigned int size, u64 *old, u64 new);
};

/**
 * guest_walk - translates a linear address
 * @state: control registers as of the access
 * @ops, @ctx: how paging structures are read
 * @linear: the address, already canonical
 * @access: WALK_* bits
 * @gpa: result, bytes
 * @exception: filled on WALK_FAULT: #PF with its error code, payload is CR2
 * Returns WALK_OK, WALK_FAULT, or WALK_UNREADABLE when an entry could not be read or its A/D bits not be set: where
 * sleeping is not allowed, try again where it is; otherwise the table lies outside of RAM (or in ROM).
 */
int guest_walk(const struct walk_state *state, const struct walk_ops *ops, void *ctx, u64 linear, u32 access, u64 *gpa,
	       struct exception *exception);

#endif
