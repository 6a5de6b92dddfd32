/* SPDX-License-Identifier: GPL-2.0 */
/* Executing one instruction of the guest by software: the kernel's side of insn/. */
#ifndef PITH_EMULATE_H
#define PITH_EMULATE_H

#include <asm/msr-index.h>

#include "vcpu.h"

struct walk_ops;

/**
 * vcpu_decode - fetches and decodes the instruction at RIP
 * @next: on failure, what the exit's handler has to return: NEXT_SLOW when the bytes cannot be had in a slice, NEXT_ENTER
 * with the exception queued that the fetch raises, or an exit to the client
 * Return: the instruction, valid until another one is decoded; or NULL.
 */
const struct insn *vcpu_decode(struct vcpu *vcpu, enum next *next);

/* SMSW and LMSW (0F 01), on CPUs that do not say what their operand was. */
enum next emulate_msw(struct vcpu *vcpu, const struct insn *insn);

/**
 * emulate_linear - an effective address of the guest's to linear, with the segment's checks
 * Return: INSN_DONE, or INSN_EXCEPTION with @exception filled.
 */
enum insn_result emulate_linear(struct vcpu *vcpu, enum segment segment, u64 offset, unsigned int size, bool write,
				u64 *linear, struct exception *exception);

/*
 * Copies between a buffer and guest memory at a linear address, over two pages at the most. Without a buffer
 * emulate_copy_out() only finds out whether the guest may write there. May sleep.
 */
enum insn_result emulate_copy_in(struct vcpu *vcpu, u64 linear, void *buf, unsigned int size,
				 struct exception *exception);
enum insn_result emulate_copy_out(struct vcpu *vcpu, u64 linear, const void *buf, unsigned int size,
				  struct exception *exception);

/* The same for accesses of the CPU's own, to descriptors and TSSs. */
enum insn_result emulate_system_read(struct vcpu *vcpu, u64 linear, void *buf, unsigned int size,
				     struct exception *exception);
enum insn_result emulate_system_write(struct vcpu *vcpu, u64 linear, const void *buf, unsigned int size,
				      struct exception *exception);

/**
 * vcpu_translate - walks the guest's page tables
 * @access: WALK_* bits. WALK_USER is the caller's to set.
 * Return: WALK_OK, WALK_FAULT with @exception, WALK_UNREADABLE.
 */
int vcpu_translate(struct vcpu *vcpu, u64 linear, u32 access, u64 *gpa, struct exception *exception);

/* The same, with the caller's way to read the entries. */
int vcpu_walk(struct vcpu *vcpu, const struct walk_ops *ops, void *ctx, u64 linear, u32 access, u64 *gpa,
	      struct exception *exception);

/* WALK_USER, if it is a user's access. */
u32 vcpu_user_access(struct vcpu *vcpu);

/** fetch_forget - what was fetched before is not to be found again: the vCPU sees other memory */
void fetch_forget(struct vcpu *vcpu);

/* vcpu_read(), or in a slice vcpu_read_atomic(). */
int vcpu_read_guest(struct vcpu *vcpu, u64 gpa, void *buf, unsigned int size);

/* The mode, if it is not 64-bit mode. */
enum insn_mode vcpu_legacy_mode(struct vcpu *vcpu);

static __always_inline enum insn_mode vcpu_insn_mode(struct vcpu *vcpu)
{
	vcpu_know(vcpu, STATE_EFER | STATE_MODE);
	if (likely((vcpu->efer & EFER_LMA) && vcpu->segment[SEG_CS].l))
		return INSN_MODE_64;
	return vcpu_legacy_mode(vcpu);
}

/*
 * Where the instruction at RIP is: the base of CS counts in all modes but @mode 64, and the sum wraps at 4 GiB there.
 */
static inline u64 vcpu_linear_rip(struct vcpu *vcpu, enum insn_mode mode)
{
	u64 rip = vcpu_rip(vcpu);

	if (likely(mode == INSN_MODE_64))
		return rip;
	vcpu_know(vcpu, STATE_SEGMENT(SEG_CS));
	return (u32)(vcpu->segment[SEG_CS].base + rip);
}

static inline u64 vcpu_read_gpr(struct vcpu *vcpu, unsigned int gpr)
{
	if (gpr == REG_RSP)
		vcpu_know(vcpu, STATE_RSP);
	return vcpu->regs.gpr[gpr];
}

static inline void vcpu_write_gpr(struct vcpu *vcpu, unsigned int gpr, u64 value)
{
	vcpu->regs.gpr[gpr] = value;
	if (gpr == REG_RSP) {
		vcpu->known |= STATE_RSP;
		vcpu->changed |= STATE_RSP;
	}
}

#endif
