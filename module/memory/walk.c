// SPDX-License-Identifier: GPL-2.0
/*
 * The guest's own page walk, in the four modes that x86 has. Kernel-free: paging structures are read and marked through
 * callbacks. An address is translated first and its rights are judged afterwards, for that is the order in which
 * the CPU reports faults: a missing or malformed entry below goes before a right that an entry above denies.
 * Source: SDM volume 3, "Paging".
 */
#include <asm/processor-flags.h>

#include "walk.h"

#define EFER_BIT_LMA BIT_ULL(10)
#define EFER_BIT_NXE BIT_ULL(11)

/* SDM, "Paging-Structure Entries" tables; the same bits in all modes and at all levels that have them. */
#define ENTRY_PRESENT BIT_ULL(0)
#define ENTRY_WRITE BIT_ULL(1)
#define ENTRY_USER BIT_ULL(2)
#define ENTRY_ACCESSED BIT_ULL(5)
#define ENTRY_DIRTY BIT_ULL(6)
#define ENTRY_PAGE_SIZE BIT_ULL(7)
#define ENTRY_NX BIT_ULL(63)
#define ENTRY_ADDRESS GENMASK_ULL(51, 12)
#define ENTRY_KEY_SHIFT 59

/* SDM, "Page-Fault Error Code". */
#define PF_PRESENT BIT(0)
#define PF_WRITE BIT(1)
#define PF_USER BIT(2)
#define PF_RESERVED BIT(3)
#define PF_FETCH BIT(4)
#define PF_KEY BIT(5)

/* Other CPUs may change an entry between its reading and its marking. This often in a row, and it is on purpose. */
#define MAX_TRIES 64

#define MAX_LEVELS 5

/* From bit @from up to but without bit @to. */
static u64 bits(unsigned int from, unsigned int to)
{
	return BIT_ULL(to) - BIT_ULL(from);
}

struct paging_mode {
	unsigned int levels; /* read from memory; PAE's third one is in registers */
	unsigned int entry_size, index_bits;
};

static const struct paging_mode mode_32bit = { 2, 4, 10 }, mode_pae = { 2, 8, 9 }, mode_4level = { 4, 8, 9 },
				mode_5level = { 5, 8, 9 };

/* An entry that the walk has used. */
struct step {
	u64 gpa, entry;
};

struct walk {
	const struct walk_state *state;
	const struct walk_ops *ops;
	void *ctx;
	const struct paging_mode *mode;
	u64 linear;
	u32 access;
	unsigned int maxphyaddr;
	struct step path[MAX_LEVELS]; /* [level - 1] */
	unsigned int leaf_level;
	u64 rights; /* WRITE and USER where every entry sets it, NX where any does */
	u32 error;  /* of the page fault, on WALK_FAULT */
};

static bool is_long_mode(const struct walk *w)
{
	return w->state->efer & EFER_BIT_LMA;
}

static const struct paging_mode *paging_mode(const struct walk_state *state)
{
	if (state->efer & EFER_BIT_LMA)
		return state->cr4 & X86_CR4_LA57 ? &mode_5level : &mode_4level;
	return state->cr4 & X86_CR4_PAE ? &mode_pae : &mode_32bit;
}

/* What of the access goes into the error code whatever the fault is. */
static u32 access_error(const struct walk *w)
{
	const struct walk_state *state = w->state;
	u32 error = 0;

	if (w->access & WALK_WRITE)
		error |= PF_WRITE;
	if (w->access & WALK_USER)
		error |= PF_USER;
	if ((w->access & WALK_FETCH) &&
	    (((state->cr4 & X86_CR4_PAE) && (state->efer & EFER_BIT_NXE)) || (state->cr4 & X86_CR4_SMEP)))
		error |= PF_FETCH;
	return error;
}

static int fault(struct walk *w, u32 error)
{
	w->error = error | access_error(w);
	return WALK_FAULT;
}

static unsigned int level_shift(const struct walk *w, unsigned int level)
{
	return 12 + w->mode->index_bits * (level - 1);
}

static bool is_leaf(const struct walk *w, unsigned int level, u64 entry)
{
	if (level == 1)
		return true;
	if (level > 3 || !(entry & ENTRY_PAGE_SIZE))
		return false;
	return w->mode != &mode_32bit || (w->state->cr4 & X86_CR4_PSE);
}

/* Bits that must be 0 in a present entry. */
static u64 reserved_bits(const struct walk *w, unsigned int level, bool leaf)
{
	unsigned int width = w->maxphyaddr;
	u64 reserved;

	if (w->mode == &mode_32bit) /* PSE-36: address bits from 32 up are in bits 13 to 20, at most 40 bits wide */
		return leaf && level == 2 ? bits(min(width, 40u) - 19, 22) : 0;
	reserved = bits(width, 52);
	if (w->mode == &mode_pae)
		reserved |= bits(52, 63);
	if (!(w->state->efer & EFER_BIT_NXE))
		reserved |= ENTRY_NX;
	if (level > 3)
		reserved |= ENTRY_PAGE_SIZE;
	else if (leaf && level > 1)
		reserved |= bits(13, level_shift(w, level));
	return reserved;
}

static u64 leaf_address(const struct walk *w)
{
	u64 entry = w->path[w->leaf_level - 1].entry;
	u64 offset = bits(0, level_shift(w, w->leaf_level));
	u64 address = (entry & ENTRY_ADDRESS & ~offset) | (w->linear & offset);

	if (w->mode == &mode_32bit && w->leaf_level == 2)
		address |= (entry & bits(13, 21)) << (32 - 13);
	return address;
}

/* Where the walk begins: the table that CR3, or a PDPTE in its register, points to. False: that is not present. */
static bool first_table(const struct walk *w, u64 *table)
{
	u64 pdpte;

	if (w->mode != &mode_pae) {
		*table = w->state->cr3 & (is_long_mode(w) ? ENTRY_ADDRESS : bits(12, 32));
		return true;
	}
	pdpte = w->state->pdptrs[w->linear >> 30];
	*table = pdpte & ENTRY_ADDRESS;
	return pdpte & ENTRY_PRESENT;
}

static int read_entry(const struct walk *w, u64 gpa, u64 *entry)
{
	u32 entry32;
	int r;

	if (w->mode->entry_size == sizeof(*entry))
		return w->ops->read(w->ctx, gpa, entry, sizeof(*entry));
	r = w->ops->read(w->ctx, gpa, &entry32, sizeof(entry32));
	*entry = entry32;
	return r;
}

/* From the top to the leaf: what is read is kept in w->path, what it permits in w->rights. */
static int descend(struct walk *w)
{
	unsigned int level = w->mode->levels;
	u64 table, index;
	struct step *step;
	bool leaf;

	w->rights = ENTRY_WRITE | ENTRY_USER;
	if (!first_table(w, &table))
		return fault(w, 0);
	for (;; level--) {
		step = &w->path[level - 1];
		index = (w->linear >> level_shift(w, level)) & bits(0, w->mode->index_bits);
		step->gpa = table + index * w->mode->entry_size;
		if (read_entry(w, step->gpa, &step->entry))
			return WALK_UNREADABLE;
		if (!(step->entry & ENTRY_PRESENT))
			return fault(w, 0);
		leaf = is_leaf(w, level, step->entry);
		if (step->entry & reserved_bits(w, level, leaf))
			return fault(w, PF_PRESENT | PF_RESERVED);
		w->rights &= step->entry | ENTRY_NX;
		w->rights |= step->entry & ENTRY_NX;
		if (leaf)
			break;
		table = step->entry & ENTRY_ADDRESS;
	}
	w->leaf_level = level;
	return WALK_OK;
}

/* SDM, "Determination of Access Rights": supervisor-mode accesses to user-mode addresses. */
static bool supervisor_denied(const struct walk *w)
{
	if (!(w->rights & ENTRY_USER))
		return false;
	if (w->access & WALK_FETCH)
		return w->state->cr4 & X86_CR4_SMEP;
	if (!(w->state->cr4 & X86_CR4_SMAP))
		return false;
	return (w->access & WALK_IMPLICIT) || !(w->state->rflags & RFLAGS_AC);
}

/* SDM, "Determination of Access Rights", without protection keys. */
static bool access_denied(const struct walk *w)
{
	bool user = w->access & WALK_USER;

	if (user ? !(w->rights & ENTRY_USER) : supervisor_denied(w))
		return true;
	if ((w->access & WALK_WRITE) && !(w->rights & ENTRY_WRITE) && (user || (w->state->cr0 & X86_CR0_WP)))
		return true;
	return (w->access & WALK_FETCH) && (w->rights & ENTRY_NX);
}

/* SDM, "Protection Keys": of user-mode addresses; data accesses only. */
static bool key_denied(const struct walk *w)
{
	const struct walk_state *state = w->state;
	u32 rights;

	if (!is_long_mode(w) || !(state->cr4 & X86_CR4_PKE) || !(w->rights & ENTRY_USER) || (w->access & WALK_FETCH))
		return false;
	rights = state->pkru >> (w->path[w->leaf_level - 1].entry >> ENTRY_KEY_SHIFT & 15) * 2;
	if (rights & BIT(0)) /* access disable */
		return true;
	if (!(rights & BIT(1)) || !(w->access & WALK_WRITE)) /* write disable */
		return false;
	return (w->access & WALK_USER) || (state->cr0 & X86_CR0_WP);
}

static int check_rights(struct walk *w)
{
	u32 key = key_denied(w) ? PF_KEY : 0;

	return key || access_denied(w) ? fault(w, PF_PRESENT | key) : WALK_OK;
}

/* SDM, "Accessed and Dirty Flags". Returns 0; 1 when an entry is not what was walked any more; negative: unwritable. */
static int mark_entries(const struct walk *w)
{
	unsigned int level;
	u64 old, marks;
	int r;

	for (level = w->mode->levels; level >= w->leaf_level; level--) {
		old = w->path[level - 1].entry;
		marks = ENTRY_ACCESSED;
		if (level == w->leaf_level && (w->access & WALK_WRITE))
			marks |= ENTRY_DIRTY;
		if ((old & marks) == marks)
			continue;
		/* The parentheses: to the kernel the bare word is a macro. */
		r = w->ops->update(w->ctx, w->path[level - 1].gpa, w->mode->entry_size, &old, old | marks);
		if (r)
			return r;
	}
	return 0;
}

/* One try: WALK_*, or -EAGAIN when another CPU changed an entry in the middle of it. */
static int translate(struct walk *w)
{
	int r;

	r = descend(w);
	if (r == WALK_OK)
		r = check_rights(w);
	if (r != WALK_OK || (w->access & WALK_NO_AD))
		return r;
	r = mark_entries(w);
	if (r > 0)
		return -EAGAIN;
	return r ? WALK_UNREADABLE : WALK_OK;
}

int guest_walk(const struct walk_state *state, const struct walk_ops *ops, void *ctx, u64 linear, u32 access, u64 *gpa,
	       struct exception *exception)
{
	struct walk w = {
		.state = state,
		.ops = ops,
		.ctx = ctx,
		.mode = paging_mode(state),
		.linear = state->efer & EFER_BIT_LMA ? linear : (u32)linear,
		.access = access,
		/* The client's CPUID may say anything. */
		.maxphyaddr = min(max(state->maxphyaddr, 32u), 52u),
	};
	unsigned int tries;
	int r = -EAGAIN;

	if (!(state->cr0 & X86_CR0_PG)) {
		*gpa = w.linear;
		return WALK_OK;
	}
	for (tries = 0; tries < MAX_TRIES && r == -EAGAIN; tries++)
		r = translate(&w);
	if (r == WALK_OK)
		*gpa = leaf_address(&w);
	if (r == WALK_FAULT)
		*exception = (struct exception){
			.vector = VECTOR_PF, .has_error = true, .error = w.error, .payload = w.linear
		};
	return r == -EAGAIN ? WALK_UNREADABLE : r;
}
