// SPDX-License-Identifier: GPL-2.0
/*
 * String instructions, one iteration a call: so that interrupts are taken between two, as on a CPU.
 * Source: SDM volume 2, "REP/REPE/REPZ/REPNE/REPNZ" and the pages of the instructions.
 */
#include "execute.h"

#define PREFIX_REPEAT (INSN_PREFIX_REP | INSN_PREFIX_REPNE)

static u64 address_gpr(const struct insn_machine *m, const struct insn *insn, enum gpr reg)
{
	return m->regs->gpr[reg] & insn_size_mask(insn->address_size);
}

/* A repeated instruction of which nothing is left, when it is begun. Registers stay untouched, as on AMD's CPUs. */
static bool exhausted(const struct insn_machine *m, const struct insn *insn)
{
	return insn->prefixes & PREFIX_REPEAT && !address_gpr(m, insn, REG_RCX);
}

static enum insn_result read_string(struct insn_machine *m, const struct insn *insn, enum segment segment, enum gpr reg,
				    u64 *value)
{
	enum insn_result result;
	u64 linear;

	result = insn_linear(m, segment, address_gpr(m, insn, reg), insn->operand_size, false, &linear);
	if (result)
		return result;
	return insn_read(m, linear, value, insn->operand_size, false);
}

static enum insn_result write_string(struct insn_machine *m, const struct insn *insn, u64 value)
{
	enum insn_result result;
	u64 linear;

	result = insn_linear(m, SEG_ES, address_gpr(m, insn, REG_RDI), insn->operand_size, true, &linear);
	if (result)
		return result;
	return insn_write(m, linear, &value, insn->operand_size);
}

/* Moves rSI or rDI on by an element, in the direction of RFLAGS.DF. */
static void advance(struct insn_machine *m, const struct insn *insn, enum gpr reg)
{
	u64 step = m->regs->rflags & RFLAGS_DF ? -(u64)insn->operand_size : insn->operand_size;

	insn_set_gpr(m, insn, reg, insn->address_size, m->regs->gpr[reg] + step);
}

/* Commits an iteration; @stop ends the repetition before rCX does. */
static enum insn_result iterate(struct insn_machine *m, const struct insn *insn, u64 rflags, bool stop)
{
	if (insn->prefixes & PREFIX_REPEAT) {
		insn_set_gpr(m, insn, REG_RCX, insn->address_size, m->regs->gpr[REG_RCX] - 1);
		if (!stop && !exhausted(m, insn)) {
			m->regs->rflags = rflags | RFLAGS_RF;
			return INSN_AGAIN;
		}
	}
	return insn_commit(m, insn, rflags);
}

/* The same for CMPS and SCAS: REPE ends at the first difference, REPNE at the first match. */
static enum insn_result iterate_compare(struct insn_machine *m, const struct insn *insn, u64 a, u64 b)
{
	u64 rflags = m->regs->rflags;

	insn_alu(ALU_CMP, a, b, insn->operand_size, &rflags);
	return iterate(m, insn, rflags, !(rflags & RFLAGS_ZF) == !!(insn->prefixes & INSN_PREFIX_REP));
}

enum insn_result insn_movs(struct insn_machine *m, const struct insn *insn)
{
	enum insn_result result;
	u64 value;

	if (exhausted(m, insn))
		return insn_commit(m, insn, m->regs->rflags);
	result = read_string(m, insn, insn->segment, REG_RSI, &value);
	if (result)
		return result;
	result = write_string(m, insn, value);
	if (result)
		return result;
	advance(m, insn, REG_RSI);
	advance(m, insn, REG_RDI);
	return iterate(m, insn, m->regs->rflags, false);
}

enum insn_result insn_stos(struct insn_machine *m, const struct insn *insn)
{
	enum insn_result result;

	if (exhausted(m, insn))
		return insn_commit(m, insn, m->regs->rflags);
	result = write_string(m, insn, m->regs->gpr[REG_RAX]);
	if (result)
		return result;
	advance(m, insn, REG_RDI);
	return iterate(m, insn, m->regs->rflags, false);
}

enum insn_result insn_lods(struct insn_machine *m, const struct insn *insn)
{
	enum insn_result result;
	u64 value;

	if (exhausted(m, insn))
		return insn_commit(m, insn, m->regs->rflags);
	result = read_string(m, insn, insn->segment, REG_RSI, &value);
	if (result)
		return result;
	insn_set_gpr(m, insn, REG_RAX, insn->operand_size, value);
	advance(m, insn, REG_RSI);
	return iterate(m, insn, m->regs->rflags, false);
}

enum insn_result insn_cmps(struct insn_machine *m, const struct insn *insn)
{
	enum insn_result result;
	u64 a, b;

	if (exhausted(m, insn))
		return insn_commit(m, insn, m->regs->rflags);
	result = read_string(m, insn, insn->segment, REG_RSI, &a);
	if (result)
		return result;
	result = read_string(m, insn, SEG_ES, REG_RDI, &b);
	if (result)
		return result;
	advance(m, insn, REG_RSI);
	advance(m, insn, REG_RDI);
	return iterate_compare(m, insn, a, b);
}

enum insn_result insn_scas(struct insn_machine *m, const struct insn *insn)
{
	enum insn_result result;
	u64 value;

	if (exhausted(m, insn))
		return insn_commit(m, insn, m->regs->rflags);
	result = read_string(m, insn, SEG_ES, REG_RDI, &value);
	if (result)
		return result;
	advance(m, insn, REG_RDI);
	return iterate_compare(m, insn, insn_gpr(m, insn, REG_RAX, insn->operand_size), value);
}
