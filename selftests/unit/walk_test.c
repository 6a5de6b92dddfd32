// SPDX-License-Identifier: GPL-2.0
/*
 * The guest page walk against a table of page tables: each row is a machine state, a handful of entries of paging
 * structures, an access, and what SDM volume 3, "Paging", says comes of it. KTAP on standard output.
 */
#include <asm/processor-flags.h>
#include <inttypes.h>
#include <stdio.h>

#include "../../module/memory/walk.h"

#define LMA BIT_ULL(10)
#define NXE BIT_ULL(11)

#define P 1ull
#define W 2ull
#define U 4ull
#define A 0x20ull
#define D 0x40ull
#define PS 0x80ull
#define NX BIT_ULL(63)
#define KEY(k) ((u64)(k) << 59)

#define ALL (P | W | U | A) /* a table, or a page that was read */
#define PAGE (ALL | D)

/* Error code bits. */
#define EP 1
#define EW 2
#define EU 4
#define ER 8
#define EI 16
#define EK 32

/* Where the tables of all rows stand. */
#define ROOT 0x1000ull
#define T4 0x2000ull
#define T3 0x3000ull
#define T2 0x4000ull
#define T1 0x5000ull

#define MAX_ENTRIES 6

struct entry {
	u64 gpa, value;
};

enum mode { MODE_OFF, MODE_32, MODE_PAE, MODE_4, MODE_5 };

struct row {
	const char *name;
	enum mode mode;
	u64 cr0, cr4, efer, rflags; /* in addition to what the mode itself needs */
	u32 pkru;
	unsigned int maxphyaddr; /* 0: 40 */
	u64 linear;
	u32 access;
	struct entry memory[MAX_ENTRIES]; /* gpa 0 ends it */
	int result;
	u64 gpa;			 /* on WALK_OK */
	u32 error;			 /* on WALK_FAULT */
	struct entry after[MAX_ENTRIES]; /* entries that must have changed to this; no other may */
	unsigned int races;		 /* how many of the first exchanges find a changed entry */
	bool rom;			 /* entries cannot be written */
};

/* The linear address of most rows, and what its parts select. */
#define LA 0x00007f8123456789ull
#define LA_5 (LA & GENMASK_ULL(56, 0))
#define I5 (LA >> 48 & 511)
#define I4 (LA >> 39 & 511)
#define I3 (LA >> 30 & 511)
#define I2 (LA >> 21 & 511)
#define I1 (LA >> 12 & 511)
#define LA32 0xc3456789ull
#define I32_2 (LA32 >> 22 & 1023)
#define I32_1 (LA32 >> 12 & 1023)
#define IPAE_2 (LA32 >> 21 & 511)
#define IPAE_1 (LA32 >> 12 & 511)

#define AT8(table, index) ((table) + (index)*8)
#define AT4(table, index) ((table) + (index)*4)

/* clang-format off */
/* Tables down to a leaf: f5 to f2 are the flags of the entries above, leaf is the whole last entry. */
#define WALK4_4K(f4, f3, f2, leaf) \
	{ { AT8(ROOT, I4), T3 | (f4) }, { AT8(T3, I3), T2 | (f3) }, { AT8(T2, I2), T1 | (f2) }, \
	  { AT8(T1, I1), (leaf) } }
#define WALK4_2M(f4, f3, leaf) \
	{ { AT8(ROOT, I4), T3 | (f4) }, { AT8(T3, I3), T2 | (f3) }, { AT8(T2, I2), (leaf) } }
#define WALK4_1G(f4, leaf) { { AT8(ROOT, I4), T3 | (f4) }, { AT8(T3, I3), (leaf) } }
#define WALK5_4K(f5, f4, leaf) \
	{ { AT8(ROOT, I5), T4 | (f5) }, { AT8(T4, I4), T3 | (f4) }, { AT8(T3, I3), T2 | ALL }, \
	  { AT8(T2, I2), T1 | ALL }, { AT8(T1, I1), (leaf) } }
#define WALKPAE_4K(f2, leaf) { { AT8(T2, IPAE_2), T1 | (f2) }, { AT8(T1, IPAE_1), (leaf) } }
#define WALK32_4K(f2, leaf) { { AT4(ROOT, I32_2), T1 | (f2) }, { AT4(T1, I32_1), (leaf) } }

#define OK4 .mode = MODE_4, .linear = LA, .result = WALK_OK, .gpa = 0x12345789
#define FAULT4 .mode = MODE_4, .linear = LA, .result = WALK_FAULT

static const struct row rows[] = {
	/* -- no paging -- */
	{ "paging off: the address itself", MODE_OFF, .linear = 0x12345678, .gpa = 0x12345678 },
	{ "paging off: 32 bits of it", MODE_OFF, .linear = 0xffffffff00001234, .gpa = 0x1234 },

	/* -- 32-bit -- */
	{ "32-bit: 4K page", MODE_32, .linear = LA32, .memory = WALK32_4K(ALL, 0x89abc000 | PAGE), .gpa = 0x89abc789 },
	{ "32-bit: PDE not present", MODE_32, .linear = LA32, .access = WALK_WRITE,
	  .memory = WALK32_4K(0, 0x89abc000 | PAGE),
	  .result = WALK_FAULT, .error = EW },
	{ "32-bit: PTE not present", MODE_32, .linear = LA32, .access = WALK_USER, .memory = WALK32_4K(ALL, 0x89abc000),
	  .result = WALK_FAULT, .error = EU },
	{ "32-bit: PS without CR4.PSE is a table", MODE_32, .linear = LA32,
	  .memory = WALK32_4K(ALL | PS, 0x89abc000 | PAGE),
	  .gpa = 0x89abc789 },
	{ "32-bit: 4M page", MODE_32, .cr4 = X86_CR4_PSE, .linear = LA32,
	  .memory = { { AT4(ROOT, I32_2), 0x80400000 | PAGE | PS } }, .gpa = 0x80400000 | (LA32 & 0x3fffff) },
	{ "32-bit: 4M page, PSE-36", MODE_32, .cr4 = X86_CR4_PSE, .linear = LA32,
	  .memory = { { AT4(ROOT, I32_2), 0x80400000 | 0xa5 << 13 | PAGE | PS } },
	  .gpa = 0xa580400000 | (LA32 & 0x3fffff) },
	{ "32-bit: 4M page, bit 21 reserved", MODE_32, .cr4 = X86_CR4_PSE, .linear = LA32,
	  .memory = { { AT4(ROOT, I32_2), 0x80400000 | 1 << 21 | PAGE | PS } }, .result = WALK_FAULT,
	  .error = EP | ER },
	{ "32-bit: PSE-36 within a width of 36", MODE_32, .cr4 = X86_CR4_PSE, .maxphyaddr = 36, .linear = LA32,
	  .memory = { { AT4(ROOT, I32_2), 0x80400000 | 0xf << 13 | PAGE | PS } },
	  .gpa = 0xf80400000 | (LA32 & 0x3fffff) },
	{ "32-bit: PSE-36 beyond a width of 36", MODE_32, .cr4 = X86_CR4_PSE, .maxphyaddr = 36, .linear = LA32,
	  .memory = { { AT4(ROOT, I32_2), 0x80400000 | 0x10 << 13 | PAGE | PS } }, .result = WALK_FAULT,
	  .error = EP | ER },
	{ "32-bit: PSE-36 stops at 40 bits", MODE_32, .cr4 = X86_CR4_PSE, .maxphyaddr = 52, .linear = LA32,
	  .memory = { { AT4(ROOT, I32_2), 0x80400000 | 1 << 21 | PAGE | PS } }, .result = WALK_FAULT,
	  .error = EP | ER },
	{ "32-bit: PSE-36, all 40 bits", MODE_32, .cr4 = X86_CR4_PSE, .maxphyaddr = 52, .linear = LA32,
	  .memory = { { AT4(ROOT, I32_2), 0x80400000 | 0xff << 13 | PAGE | PS } },
	  .gpa = 0xff80400000 | (LA32 & 0x3fffff) },
	{ "32-bit: nothing is reserved in a table's address", MODE_32, .cr4 = X86_CR4_PSE, .maxphyaddr = 36,
	  .linear = LA32,
	  .memory = { { AT4(ROOT, I32_2), 0x3fe000 | ALL } }, .result = WALK_UNREADABLE },
	{ "32-bit: CR2 is 32 bits", MODE_32, .linear = LA32 | 0xffffffff00000000, .result = WALK_FAULT },
	{ "32-bit: user read of a supervisor page", MODE_32, .linear = LA32, .access = WALK_USER,
	  .memory = WALK32_4K(ALL, 0x89abc000 | (PAGE & ~U)), .result = WALK_FAULT, .error = EP | EU },
	{ "32-bit: NXE means nothing", MODE_32, .efer = NXE, .linear = LA32, .access = WALK_FETCH,
	  .memory = WALK32_4K(ALL, 0),
	  .result = WALK_FAULT, .error = 0 },
	{ "32-bit: SMEP puts I/D into the error code", MODE_32, .cr4 = X86_CR4_SMEP, .linear = LA32,
	  .access = WALK_FETCH,
	  .memory = WALK32_4K(ALL, 0), .result = WALK_FAULT, .error = EI },
	{ "32-bit: PKE means nothing", MODE_32, .cr4 = X86_CR4_PKE, .pkru = ~0u, .linear = LA32,
	  .memory = WALK32_4K(ALL, 0x89abc000 | PAGE), .gpa = 0x89abc789 },
	{ "32-bit: CR3 is 32 bits wide, upper linear bits do not count", MODE_32, .linear = LA32 | 0xffffffff00000000,
	  .memory = WALK32_4K(ALL, 0x89abc000 | PAGE), .gpa = 0x89abc789 },
	{ "32-bit: A and D in four bytes", MODE_32, .linear = LA32, .access = WALK_WRITE,
	  .memory = WALK32_4K(P | W, 0x89abc000 | P | W), .gpa = 0x89abc789,
	  .after = WALK32_4K(P | W | A, 0x89abc000 | P | W | A | D) },
	{ "32-bit: A and D of a 4M page", MODE_32, .cr4 = X86_CR4_PSE, .linear = LA32, .access = WALK_WRITE,
	  .memory = { { AT4(ROOT, I32_2), 0x80400000 | P | W | PS } }, .gpa = 0x80400000 | (LA32 & 0x3fffff),
	  .after = { { AT4(ROOT, I32_2), 0x80400000 | P | W | PS | A | D } } },

	/* -- PAE; PDPTE 3, which LA32 selects, is T2 -- */
	{ "PAE: 4K page", MODE_PAE, .linear = LA32, .memory = WALKPAE_4K(ALL, 0x8012345000 | PAGE),
	  .gpa = 0x8012345789 },
	{ "PAE: 2M page", MODE_PAE, .linear = LA32, .memory = { { AT8(T2, IPAE_2), 0x8012400000 | PAGE | PS } },
	  .gpa = 0x8012400000 | (LA32 & 0x1fffff) },
	{ "PAE: PDPTE not present", MODE_PAE, .linear = 0x40000000, .access = WALK_USER,
	  .memory = { { AT8(T2, 0), 0x12400000 | PAGE | PS } }, .result = WALK_FAULT, .error = EU },
	{ "PAE: PDE not present", MODE_PAE, .linear = LA32, .memory = WALKPAE_4K(0, 0), .result = WALK_FAULT,
	  .error = 0 },
	{ "PAE: bits 52 to 62 reserved", MODE_PAE, .linear = LA32,
	  .memory = WALKPAE_4K(ALL | BIT_ULL(52), 0x12345000 | PAGE),
	  .result = WALK_FAULT, .error = EP | ER },
	{ "PAE: no protection keys, bit 62 reserved", MODE_PAE, .cr4 = X86_CR4_PKE, .linear = LA32,
	  .memory = WALKPAE_4K(ALL, 0x12345000 | PAGE | BIT_ULL(62)), .result = WALK_FAULT, .error = EP | ER },
	{ "PAE: beyond the address width", MODE_PAE, .linear = LA32, .memory = WALKPAE_4K(ALL, BIT_ULL(40) | PAGE),
	  .result = WALK_FAULT, .error = EP | ER },
	{ "PAE: 2M page, low address bits reserved", MODE_PAE, .linear = LA32,
	  .memory = { { AT8(T2, IPAE_2), 0x12402000 | PAGE | PS } }, .result = WALK_FAULT, .error = EP | ER },
	{ "PAE: NX without NXE is reserved", MODE_PAE, .linear = LA32,
	  .memory = WALKPAE_4K(ALL, 0x12345000 | PAGE | NX),
	  .result = WALK_FAULT, .error = EP | ER },
	{ "PAE: NX forbids fetch", MODE_PAE, .efer = NXE, .linear = LA32, .access = WALK_FETCH,
	  .memory = WALKPAE_4K(ALL | NX, 0x12345000 | PAGE), .result = WALK_FAULT, .error = EP | EI },
	{ "PAE: a PDPTE has no rights to judge by", MODE_PAE, .linear = LA32, .access = WALK_USER | WALK_WRITE,
	  .memory = WALKPAE_4K(ALL, 0x12345000 | PAGE), .gpa = 0x12345789 },
	{ "PAE: A and D", MODE_PAE, .linear = LA32, .access = WALK_WRITE,
	  .memory = WALKPAE_4K(P | W, 0x12345000 | P | W),
	  .gpa = 0x12345789, .after = WALKPAE_4K(P | W | A, 0x12345000 | P | W | A | D) },

	/* -- 4-level: shapes -- */
	{ "4-level: 4K page", OK4, .memory = WALK4_4K(ALL, ALL, ALL, 0x12345000 | PAGE) },
	{ "4-level: 2M page", MODE_4, .linear = LA, .memory = WALK4_2M(ALL, ALL, 0x12400000 | PAGE | PS),
	  .gpa = 0x12400000 | (LA & 0x1fffff) },
	{ "4-level: 2M page with PAT", MODE_4, .linear = LA, .memory = WALK4_2M(ALL, ALL, 0x12401000 | PAGE | PS),
	  .gpa = 0x12400000 | (LA & 0x1fffff) },
	{ "4-level: 1G page", MODE_4, .linear = LA, .memory = WALK4_1G(ALL, 0x6540000000 | PAGE | PS),
	  .gpa = 0x6540000000 | (LA & 0x3fffffff) },
	{ "4-level: bit 7 of a PTE is PAT", OK4, .memory = WALK4_4K(ALL, ALL, ALL, 0x12345000 | PAGE | PS) },
	{ "4-level: ignored bits 52 to 58", OK4,
	  .memory = WALK4_4K(ALL | BIT_ULL(52), ALL | BIT_ULL(55), ALL | BIT_ULL(58), 0x12345000 | PAGE | KEY(0)) },
	{ "4-level: keys are ignored without CR4.PKE", OK4, .pkru = ~0u,
	  .memory = WALK4_4K(ALL, ALL, ALL, 0x12345000 | PAGE | KEY(15)) },
	{ "4-level: upper half", MODE_4, .linear = 0xffffffff81234567, .memory = { { AT8(ROOT, 511), T3 | ALL },
	  { AT8(T3, 510), T2 | ALL }, { AT8(T2, 9), 0x1000000 | PAGE | PS } }, .gpa = 0x1034567 },

	/* -- 4-level: not present -- */
	{ "4-level: PML4E not present", FAULT4, .access = WALK_USER | WALK_WRITE, .error = EU | EW },
	{ "4-level: PDPTE not present", FAULT4, .memory = WALK4_1G(ALL, 0x6540000000 | PS), .error = 0 },
	{ "4-level: PDE not present", FAULT4, .memory = WALK4_2M(ALL, ALL, NX | PS), .error = 0 },
	{ "4-level: PTE not present", FAULT4, .access = WALK_WRITE, .memory = WALK4_4K(ALL, ALL, ALL, ~P),
	  .error = EW },
	{ "4-level: not present goes before a right denied above", FAULT4, .access = WALK_USER | WALK_WRITE,
	  .memory = WALK4_4K(P | A, P | A, P | A, 0), .error = EU | EW },
	{ "4-level: I/D with NXE", FAULT4, .efer = NXE, .access = WALK_FETCH, .error = EI },
	{ "4-level: no I/D without NXE and SMEP", FAULT4, .access = WALK_FETCH, .error = 0 },

	/* -- 4-level: reserved bits -- */
	{ "4-level: PS in a PML4E", FAULT4, .memory = WALK4_4K(ALL | PS, ALL, ALL, 0x12345000 | PAGE),
	  .error = EP | ER },
	{ "4-level: PML4E beyond the address width", FAULT4,
	  .memory = WALK4_4K(ALL | BIT_ULL(40), ALL, ALL, 0x12345000 | PAGE), .error = EP | ER },
	{ "4-level: PTE beyond the address width", FAULT4, .memory = WALK4_4K(ALL, ALL, ALL, BIT_ULL(51) | PAGE),
	  .error = EP | ER },
	{ "4-level: all 52 bits of address", MODE_4, .maxphyaddr = 52, .linear = LA,
	  .memory = WALK4_4K(ALL, ALL, ALL, GENMASK_ULL(51, 12) | PAGE), .gpa = GENMASK_ULL(51, 12) | 0x789 },
	{ "4-level: a width beyond 52 is 52", MODE_4, .maxphyaddr = 255, .linear = LA,
	  .memory = WALK4_4K(ALL, ALL, ALL, BIT_ULL(51) | PAGE), .gpa = BIT_ULL(51) | 0x789 },
	{ "4-level: a width below 32 is 32", FAULT4, .maxphyaddr = 1,
	  .memory = WALK4_4K(ALL, ALL, ALL, BIT_ULL(32) | PAGE),
	  .error = EP | ER },
	{ "4-level: so there are 4G at least", OK4, .maxphyaddr = 1,
	  .memory = WALK4_4K(ALL, ALL, ALL, 0x12345000 | PAGE) },
	{ "4-level: 2M page, bit 13", FAULT4, .memory = WALK4_2M(ALL, ALL, 0x12402000 | PAGE | PS), .error = EP | ER },
	{ "4-level: 2M page, bit 20", FAULT4, .memory = WALK4_2M(ALL, ALL, 0x12500000 | PAGE | PS), .error = EP | ER },
	{ "4-level: 1G page, bit 29", FAULT4, .memory = WALK4_1G(ALL, 0x6560000000 | PAGE | PS), .error = EP | ER },
	{ "4-level: NX without NXE in a table", FAULT4, .memory = WALK4_4K(ALL, ALL | NX, ALL, 0x12345000 | PAGE),
	  .error = EP | ER },
	{ "4-level: NX without NXE in a page", FAULT4, .access = WALK_USER | WALK_WRITE,
	  .memory = WALK4_4K(ALL, ALL, ALL, 0x12345000 | PAGE | NX), .error = EP | ER | EU | EW },
	{ "4-level: reserved goes before not present below", FAULT4, .memory = WALK4_4K(ALL, ALL | BIT_ULL(45), ALL, 0),
	  .error = EP | ER },

	/* -- 4-level: user, write, write protect -- */
	{ "4-level: user read", OK4, .access = WALK_USER, .memory = WALK4_4K(ALL, ALL, ALL, 0x12345000 | PAGE) },
	{ "4-level: user, supervisor at the top", FAULT4, .access = WALK_USER,
	  .memory = WALK4_4K(ALL & ~U, ALL, ALL, 0x12345000 | PAGE), .error = EP | EU },
	{ "4-level: user, supervisor in the middle", FAULT4, .access = WALK_USER,
	  .memory = WALK4_4K(ALL, ALL, ALL & ~U, 0x12345000 | PAGE), .error = EP | EU },
	{ "4-level: user, supervisor at the leaf", FAULT4, .access = WALK_USER,
	  .memory = WALK4_4K(ALL, ALL, ALL, 0x12345000 | (PAGE & ~U)), .error = EP | EU },
	{ "4-level: user write to read-only", FAULT4, .access = WALK_USER | WALK_WRITE,
	  .memory = WALK4_4K(ALL, ALL, ALL, 0x12345000 | (PAGE & ~W)), .error = EP | EU | EW },
	{ "4-level: user write, read-only above", FAULT4, .access = WALK_USER | WALK_WRITE,
	  .memory = WALK4_2M(ALL & ~W, ALL, 0x12400000 | PAGE | PS), .error = EP | EU | EW },
	{ "4-level: supervisor write to read-only", OK4, .access = WALK_WRITE,
	  .memory = WALK4_4K(ALL, ALL, ALL, 0x12345000 | (PAGE & ~W)) },
	{ "4-level: the same with CR0.WP", FAULT4, .cr0 = X86_CR0_WP, .access = WALK_WRITE,
	  .memory = WALK4_4K(ALL, ALL, ALL, 0x12345000 | (PAGE & ~W)), .error = EP | EW },
	{ "4-level: CR0.WP, read-only above", FAULT4, .cr0 = X86_CR0_WP, .access = WALK_WRITE,
	  .memory = WALK4_4K(ALL, ALL & ~W, ALL, 0x12345000 | PAGE), .error = EP | EW },
	{ "4-level: CR0.WP does not hinder reads", OK4, .cr0 = X86_CR0_WP,
	  .memory = WALK4_4K(ALL, ALL, ALL, 0x12345000 | (PAGE & ~W)) },

	/* -- 4-level: NX, SMEP, SMAP -- */
	{ "4-level: NX lets data through", OK4, .efer = NXE,
	  .memory = WALK4_4K(ALL, ALL, ALL, 0x12345000 | PAGE | NX) },
	{ "4-level: NX at the top forbids fetch", FAULT4, .efer = NXE, .access = WALK_FETCH | WALK_USER,
	  .memory = WALK4_4K(ALL | NX, ALL, ALL, 0x12345000 | PAGE), .error = EP | EU | EI },
	{ "4-level: NX at the leaf forbids fetch", FAULT4, .efer = NXE, .access = WALK_FETCH,
	  .memory = WALK4_4K(ALL, ALL, ALL, 0x12345000 | PAGE | NX), .error = EP | EI },
	{ "4-level: supervisor fetch of a user page", OK4, .access = WALK_FETCH,
	  .memory = WALK4_4K(ALL, ALL, ALL, 0x12345000 | PAGE) },
	{ "4-level: the same with SMEP", FAULT4, .cr4 = X86_CR4_SMEP, .access = WALK_FETCH,
	  .memory = WALK4_4K(ALL, ALL, ALL, 0x12345000 | PAGE), .error = EP | EI },
	{ "4-level: SMEP, a page that is supervisor by one entry", OK4, .cr4 = X86_CR4_SMEP, .access = WALK_FETCH,
	  .memory = WALK4_4K(ALL, ALL & ~U, ALL, 0x12345000 | PAGE) },
	{ "4-level: SMEP lets users fetch", OK4, .cr4 = X86_CR4_SMEP, .access = WALK_FETCH | WALK_USER,
	  .memory = WALK4_4K(ALL, ALL, ALL, 0x12345000 | PAGE) },
	{ "4-level: SMEP lets data through", OK4, .cr4 = X86_CR4_SMEP,
	  .memory = WALK4_4K(ALL, ALL, ALL, 0x12345000 | PAGE) },
	{ "4-level: SMAP read", FAULT4, .cr4 = X86_CR4_SMAP, .memory = WALK4_4K(ALL, ALL, ALL, 0x12345000 | PAGE),
	  .error = EP },
	{ "4-level: SMAP write without CR0.WP", FAULT4, .cr4 = X86_CR4_SMAP, .access = WALK_WRITE,
	  .memory = WALK4_4K(ALL, ALL, ALL, 0x12345000 | PAGE), .error = EP | EW },
	{ "4-level: SMAP lifted by AC", OK4, .cr4 = X86_CR4_SMAP, .rflags = RFLAGS_AC,
	  .memory = WALK4_4K(ALL, ALL, ALL, 0x12345000 | PAGE) },
	{ "4-level: AC does not lift it for implicit accesses", FAULT4, .cr4 = X86_CR4_SMAP, .rflags = RFLAGS_AC,
	  .access = WALK_IMPLICIT, .memory = WALK4_4K(ALL, ALL, ALL, 0x12345000 | PAGE), .error = EP },
	{ "4-level: AC does not lift CR0.WP", FAULT4, .cr0 = X86_CR0_WP, .cr4 = X86_CR4_SMAP, .rflags = RFLAGS_AC,
	  .access = WALK_WRITE, .memory = WALK4_4K(ALL, ALL, ALL, 0x12345000 | (PAGE & ~W)), .error = EP | EW },
	{ "4-level: SMAP, a supervisor page", OK4, .cr4 = X86_CR4_SMAP,
	  .memory = WALK4_4K(ALL, ALL, ALL, 0x12345000 | (PAGE & ~U)) },
	{ "4-level: SMAP does not hinder fetch", OK4, .cr4 = X86_CR4_SMAP, .access = WALK_FETCH,
	  .memory = WALK4_4K(ALL, ALL, ALL, 0x12345000 | PAGE) },

	/* -- 4-level: protection keys -- */
	{ "4-level: key allows", OK4, .cr4 = X86_CR4_PKE, .pkru = ~(3u << 14), .access = WALK_USER | WALK_WRITE,
	  .memory = WALK4_4K(ALL, ALL, ALL, 0x12345000 | PAGE | KEY(7)) },
	{ "4-level: access disable", FAULT4, .cr4 = X86_CR4_PKE, .pkru = 1u << 14, .access = WALK_USER,
	  .memory = WALK4_4K(ALL, ALL, ALL, 0x12345000 | PAGE | KEY(7)), .error = EP | EU | EK },
	{ "4-level: access disable binds the supervisor", FAULT4, .cr4 = X86_CR4_PKE, .pkru = 1u << 14,
	  .memory = WALK4_4K(ALL, ALL, ALL, 0x12345000 | PAGE | KEY(7)), .error = EP | EK },
	{ "4-level: access disable does not hinder fetch", OK4, .cr4 = X86_CR4_PKE, .pkru = ~0u,
	  .access = WALK_USER | WALK_FETCH, .memory = WALK4_4K(ALL, ALL, ALL, 0x12345000 | PAGE | KEY(7)) },
	{ "4-level: write disable lets reads through", OK4, .cr4 = X86_CR4_PKE, .pkru = 2u << 30, .access = WALK_USER,
	  .memory = WALK4_4K(ALL, ALL, ALL, 0x12345000 | PAGE | KEY(15)) },
	{ "4-level: write disable", FAULT4, .cr4 = X86_CR4_PKE, .pkru = 2u << 30, .access = WALK_USER | WALK_WRITE,
	  .memory = WALK4_4K(ALL, ALL, ALL, 0x12345000 | PAGE | KEY(15)), .error = EP | EU | EW | EK },
	{ "4-level: write disable, supervisor without CR0.WP", OK4, .cr4 = X86_CR4_PKE, .pkru = 2, .access = WALK_WRITE,
	  .memory = WALK4_4K(ALL, ALL, ALL, 0x12345000 | PAGE) },
	{ "4-level: write disable, supervisor with CR0.WP", FAULT4, .cr0 = X86_CR0_WP, .cr4 = X86_CR4_PKE, .pkru = 2,
	  .access = WALK_WRITE, .memory = WALK4_4K(ALL, ALL, ALL, 0x12345000 | PAGE), .error = EP | EW | EK },
	{ "4-level: keys do not bind supervisor pages", OK4, .cr0 = X86_CR0_WP, .cr4 = X86_CR4_PKE, .pkru = ~0u,
	  .access = WALK_WRITE, .memory = WALK4_4K(ALL, ALL, ALL & ~U, 0x12345000 | PAGE) },
	{ "4-level: the key of a 2M page", FAULT4, .cr4 = X86_CR4_PKE, .pkru = 1u << 6, .access = WALK_USER,
	  .memory = WALK4_2M(ALL, ALL, 0x12400000 | PAGE | PS | KEY(3)), .error = EP | EU | EK },
	{ "4-level: keys in tables are ignored", OK4, .cr4 = X86_CR4_PKE, .pkru = ~3u, .access = WALK_USER,
	  .memory = WALK4_4K(ALL | KEY(1), ALL | KEY(2), ALL | KEY(3), 0x12345000 | PAGE) },
	{ "4-level: key and read-only at once", FAULT4, .cr4 = X86_CR4_PKE, .pkru = 1, .access = WALK_USER | WALK_WRITE,
	  .memory = WALK4_4K(ALL, ALL, ALL, 0x12345000 | (PAGE & ~W)), .error = EP | EU | EW | EK },

	/* -- 4-level: accessed and dirty -- */
	{ "4-level: a read sets A everywhere", OK4, .memory = WALK4_4K(P, P, P, 0x12345000 | P),
	  .after = WALK4_4K(P | A, P | A, P | A, 0x12345000 | P | A) },
	{ "4-level: a write sets D at the leaf", OK4, .access = WALK_WRITE,
	  .memory = WALK4_4K(ALL, ALL, P | W, 0x12345000 | ALL),
	  .after = { { AT8(T2, I2), T1 | P | W | A }, { AT8(T1, I1), 0x12345000 | PAGE } } },
	{ "4-level: D of a 1G page", MODE_4, .linear = LA, .access = WALK_WRITE,
	  .memory = WALK4_1G(ALL, 0x6540000000 | ALL | PS),
	  .gpa = 0x6540000000 | (LA & 0x3fffffff), .after = { { AT8(T3, I3), 0x6540000000 | PAGE | PS } } },
	{ "4-level: WALK_NO_AD leaves them alone", OK4, .access = WALK_WRITE | WALK_NO_AD,
	  .memory = WALK4_4K(P, P, P, 0x12345000 | P) },
	{ "4-level: a fault leaves them alone", FAULT4, .cr0 = X86_CR0_WP, .access = WALK_WRITE,
	  .memory = WALK4_4K(P, P, P, 0x12345000 | P), .error = EP | EW },
	{ "4-level: a race is walked again", OK4, .access = WALK_WRITE, .memory = WALK4_4K(P, P, P, 0x12345000 | P),
	  .after = WALK4_4K(P | A, P | A, P | A, 0x12345000 | P | A | D), .races = 5 },
	{ "4-level: an endless race ends", MODE_4, .linear = LA, .memory = WALK4_4K(P, P, P, 0x12345000 | P),
	  .result = WALK_UNREADABLE, .races = ~0u },
	{ "4-level: tables in ROM with bits to set", MODE_4, .linear = LA, .memory = WALK4_4K(P, P, P, 0x12345000 | P),
	  .result = WALK_UNREADABLE, .rom = true },
	{ "4-level: tables in ROM with all bits set", OK4, .memory = WALK4_4K(ALL, ALL, ALL, 0x12345000 | PAGE),
	  .rom = true },
	{ "4-level: a table without memory", MODE_4, .linear = LA, .memory = { { AT8(ROOT, I4), 0xf0000000 | ALL } },
	  .result = WALK_UNREADABLE },

	/* -- 5-level -- */
	{ "5-level: 4K page", MODE_5, .linear = LA_5, .memory = WALK5_4K(ALL, ALL, 0x12345000 | PAGE),
	  .gpa = 0x12345789 },
	{ "5-level: bits 56 to 48 select", MODE_5, .linear = 0x00a5000000000123,
	  .memory = { { AT8(ROOT, 0xa5), T4 | ALL },
	  { AT8(T4, 0), T3 | ALL }, { AT8(T3, 0), 0x80000000 | PAGE | PS } }, .gpa = 0x80000123 },
	{ "5-level: PML5E not present", MODE_5, .linear = LA_5, .memory = WALK5_4K(0, ALL, 0x12345000 | PAGE),
	  .result = WALK_FAULT, .error = 0 },
	{ "5-level: PS in a PML5E", MODE_5, .linear = LA_5, .memory = WALK5_4K(ALL | PS, ALL, 0x12345000 | PAGE),
	  .result = WALK_FAULT, .error = EP | ER },
	{ "5-level: PS in a PML4E", MODE_5, .linear = LA_5, .memory = WALK5_4K(ALL, ALL | PS, 0x12345000 | PAGE),
	  .result = WALK_FAULT, .error = EP | ER },
	{ "5-level: rights of the PML5E", MODE_5, .linear = LA_5, .access = WALK_USER | WALK_WRITE,
	  .memory = WALK5_4K(ALL & ~W, ALL, 0x12345000 | PAGE), .result = WALK_FAULT, .error = EP | EU | EW },
	{ "5-level: A of the PML5E", MODE_5, .linear = LA_5, .memory = WALK5_4K(P, ALL, 0x12345000 | PAGE),
	  .gpa = 0x12345789,
	  .after = { { AT8(ROOT, I5), T4 | P | A } } },
};
/* clang-format on */

/* -- the guest's memory: the tables' five pages ------------------------------------------------------------------ */

struct memory {
	_Alignas(8) u8 byte[6 * 0x1000];
	unsigned int races;
	bool rom, misused;
};

static bool outside(struct memory *m, u64 gpa, unsigned int size)
{
	if ((size != 4 && size != 8) || gpa % size)
		m->misused = true;
	return gpa > sizeof(m->byte) - size;
}

static int read_memory(void *ctx, u64 gpa, void *entry, unsigned int size)
{
	struct memory *m = ctx;

	if (outside(m, gpa, size))
		return -EFAULT;
	memcpy(entry, &m->byte[gpa], size);
	return 0;
}

static int cmpxchg_memory(void *ctx, u64 gpa, unsigned int size, u64 *old, u64 new)
{
	struct memory *m = ctx;
	u64 now = 0;

	if (m->rom || outside(m, gpa, size))
		return -EFAULT;
	memcpy(&now, &m->byte[gpa], size);
	if (m->races || now != *old) {
		m->races -= m->races != 0;
		*old = now;
		return 1;
	}
	memcpy(&m->byte[gpa], &new, size);
	return 0;
}

static const struct walk_ops ops = { .read = read_memory, .update = cmpxchg_memory };

static void fill(struct memory *m, const struct row *row, const struct entry *entries)
{
	unsigned int i;

	for (i = 0; i < MAX_ENTRIES && entries[i].gpa; i++)
		memcpy(&m->byte[entries[i].gpa], &entries[i].value, row->mode == MODE_32 ? 4 : 8);
}

/* -- rows -------------------------------------------------------------------------------------------------------- */

static struct walk_state state_of(const struct row *row)
{
	struct walk_state state = {
		.cr0 = row->cr0 | X86_CR0_PE | (row->mode == MODE_OFF ? 0 : X86_CR0_PG),
		.cr3 = ROOT | 0x18, /* PCD and PWT, or a PCID */
		.cr4 = row->cr4,
		.efer = row->efer,
		.rflags = row->rflags,
		.pkru = row->pkru,
		.maxphyaddr = row->maxphyaddr ?: 40,
	};

	if (row->mode == MODE_32)
		state.cr3 |= 0xffull << 32;
	if (row->mode >= MODE_PAE)
		state.cr4 |= X86_CR4_PAE;
	if (row->mode == MODE_PAE)
		state.pdptrs[3] = (state.pdptrs[1] = T2) | 1;
	if (row->mode >= MODE_4)
		state.efer |= LMA;
	if (row->mode == MODE_5)
		state.cr4 |= X86_CR4_LA57;
	return state;
}

static u64 linear_of(const struct row *row)
{
	return row->mode < MODE_4 ? (u32)row->linear : row->linear;
}

static bool is_page_fault(const struct exception *e, const struct row *row)
{
	return e->vector == VECTOR_PF && e->has_error && e->error == row->error && e->payload == linear_of(row);
}

static bool run_row(const struct row *row)
{
	struct memory m = { .races = row->races, .rom = row->rom }, expected = { 0 };
	struct walk_state state = state_of(row);
	struct exception exception = { 0 };
	u64 gpa = ~0ull;
	bool ok;
	int r;

	fill(&m, row, row->memory);
	fill(&expected, row, row->memory);
	fill(&expected, row, row->after);
	r = guest_walk(&state, &ops, &m, row->linear, row->access, &gpa, &exception);
	ok = r == row->result && !m.misused && !memcmp(m.byte, expected.byte, sizeof(m.byte));
	if (row->result == WALK_OK)
		ok = ok && gpa == row->gpa;
	if (row->result == WALK_FAULT)
		ok = ok && is_page_fault(&exception, row);
	if (!ok)
		printf("# result %d (expected %d), gpa %" PRIx64 " (%" PRIx64 "), error code %x (%x)\n", r, row->result,
		       (uint64_t)gpa, (uint64_t)row->gpa, exception.error, row->error);
	return ok;
}

int main(void)
{
	unsigned int i, failed = 0;

	printf("KTAP version 1\n1..%zu\n", ARRAY_SIZE(rows));
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		bool ok = run_row(&rows[i]);

		printf("%s %u %s\n", ok ? "ok" : "not ok", i + 1, rows[i].name);
		failed += !ok;
	}
	return failed ? 1 : 0;
}
