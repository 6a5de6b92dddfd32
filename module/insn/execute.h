/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the parts of the executor share. An instruction's handler first reads what it needs, then writes memory, then
 * registers, and ends in insn_commit(): whatever fails on the way leaves the machine as it was.
 */
#ifndef PITH_INSN_EXECUTE_H
#define PITH_INSN_EXECUTE_H

#include "arithmetic.h"
#include "insn.h"

typedef enum insn_result insn_handler(struct insn_machine *m, const struct insn *insn);

/* Without any REX byte, 4 to 7 are AH, CH, DH and BH as byte registers. */
static inline bool insn_high_byte(const struct insn *insn, unsigned int reg, unsigned int size)
{
	return size == 1 && reg >= 4 && !insn->rex;
}

static inline u64 insn_gpr(const struct insn_machine *m, const struct insn *insn, unsigned int reg, unsigned int size)
{
	if (unlikely(insn_high_byte(insn, reg, size)))
		return (m->regs->gpr[reg & 3] >> 8) & 0xff;
	return m->regs->gpr[reg] & insn_size_mask(size);
}

/* A write of 4 bytes clears those above; of 1 or 2 it leaves them. */
static inline void insn_set_gpr(struct insn_machine *m, const struct insn *insn, unsigned int reg, unsigned int size,
				u64 value)
{
	u64 *gpr = &m->regs->gpr[reg], mask = insn_size_mask(size);

	if (size >= 4) {
		*gpr = value & mask;
		return;
	}
	if (insn_high_byte(insn, reg, size)) {
		gpr = &m->regs->gpr[reg & 3];
		mask <<= 8;
		value <<= 8;
	}
	*gpr = (*gpr & ~mask) | (value & mask);
}

/* The end of every instruction: go on behind it, with the given flags. */
static inline enum insn_result insn_commit(struct insn_machine *m, const struct insn *insn, u64 rflags)
{
	u64 rip = m->regs->rip + insn->length;

	m->regs->rip = m->mode == INSN_MODE_64 ? rip : (u32)rip;
	m->regs->rflags = rflags & ~RFLAGS_RF;
	return INSN_DONE;
}

enum insn_result insn_undefined(struct insn_machine *m);
enum insn_result insn_general_protection(struct insn_machine *m);
enum insn_result insn_misaligned(struct insn_machine *m);

/* Reads memory. @value is cleared above @size, if that is less than 8. */
static inline enum insn_result insn_read(struct insn_machine *m, u64 linear, u64 *value, unsigned int size,
					 bool for_write)
{
	if (unlikely(m->alignment_check) && linear & (size - 1))
		return insn_misaligned(m);
	*value = 0;
	return m->ops->read(m->ctx, linear, value, size, for_write);
}

static inline enum insn_result insn_write(struct insn_machine *m, u64 linear, const u64 *value, unsigned int size)
{
	if (unlikely(m->alignment_check) && linear & (size - 1))
		return insn_misaligned(m);
	return m->ops->write(m->ctx, linear, value, size);
}

enum insn_result insn_locate_rm(struct insn_machine *m, const struct insn *insn, s64 displacement, unsigned int size,
				bool write, u64 *linear);
enum insn_result insn_read_rm(struct insn_machine *m, const struct insn *insn, unsigned int size, u64 *value);
enum insn_result insn_write_rm(struct insn_machine *m, const struct insn *insn, unsigned int size, u64 value);

insn_handler insn_push_rm, insn_push_imm, insn_pop_rm;
insn_handler insn_movs, insn_cmps, insn_stos, insn_lods, insn_scas;
insn_handler insn_sse_move;

#endif
