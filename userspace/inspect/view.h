/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What there is to see of a vCPU, in words, for a reader who has the manual at hand. No kernel, no process: state and
 * memory come from the caller.
 */
#ifndef PITH_INSPECT_VIEW_H
#define PITH_INSPECT_VIEW_H

#include <stdio.h>

#include "../../module/memory/walk.h"
#include "../../uapi/pith.h"
#include "../symbols.h"

#define MSR_LSTAR 0xc0000082

struct view {
	const struct pith_inspect_vcpu *vcpu;
	bool is_vmx; /* or SVM */
	/* Guest-physical memory: 0, or negative. */
	int (*read)(void *ctx, u64 gpa, void *buf, size_t len);
	void *ctx;
	const struct symbols *symbols; /* NULL: none */
};

/* -- memory.c: linear addresses, by the guest's page tables ------------------------------------------------------- */

bool view_translate(const struct view *view, u64 linear, u64 *gpa);

/* How much of it could be read, from its beginning on. */
size_t view_read(const struct view *view, u64 linear, void *buf, size_t len);

bool view_read64(const struct view *view, u64 linear, u64 *value);

/* The walk, step by step. Whether it arrives, and where. */
bool print_walk(FILE *out, const struct view *view, u64 linear, u64 *gpa);

/* -- registers.c, apic.c ------------------------------------------------------------------------------------------ */

/* The size of addresses and operands: 64, 32 or 16. */
unsigned int view_code_size(const struct view *view);

/* One line: what it does, and where. */
void print_summary(FILE *out, const struct view *view);
void print_registers(FILE *out, const struct view *view);
/* Those of the VMCS or VMCB. */
void print_fields(FILE *out, const struct view *view);
void print_lapic(FILE *out, const struct view *view);
void print_ioapic(FILE *out, const struct kvm_ioapic_state *ioapic);
/* The symbol that holds an address, in brackets, or nothing. */
void print_symbol(FILE *out, const struct view *view, u64 address);

/* -- backtrace.c -------------------------------------------------------------------------------------------------- */

/*
 * Who has called: by the ORC tables in the guest's memory where the symbols tell where they are, by frame pointers where
 * those make sense; else what on the stack could be a return address, with a question mark.
 */
void print_backtrace(FILE *out, const struct view *view);

#endif
