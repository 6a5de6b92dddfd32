// SPDX-License-Identifier: GPL-2.0
/*
 * PUSH and POP. The width of the stack pointer is not the instruction's address size but the stack segment's.
 * Source: SDM volume 1, "Address-Size Attributes for Stack"; volume 2, "PUSH" and "POP".
 */
#include "execute.h"

static unsigned int stack_address_size(struct insn_machine *m)
{
	if (m->mode == INSN_MODE_64)
		return 8;
	return m->ops->segment(m->ctx, SEG_SS)->db ? 4 : 2;
}

static enum insn_result push(struct insn_machine *m, const struct insn *insn, u64 value)
{
	unsigned int address_size = stack_address_size(m);
	u64 rsp = (m->regs->gpr[REG_RSP] - insn->operand_size) & insn_size_mask(address_size), linear;
	enum insn_result result;

	result = insn_linear(m, SEG_SS, rsp, insn->operand_size, true, &linear);
	if (result)
		return result;
	result = insn_write(m, linear, &value, insn->operand_size);
	if (result)
		return result;
	insn_set_gpr(m, insn, REG_RSP, address_size, rsp);
	return insn_commit(m, insn, m->regs->rflags);
}

enum insn_result insn_push_rm(struct insn_machine *m, const struct insn *insn)
{
	enum insn_result result;
	u64 value;

	result = insn_read_rm(m, insn, insn->operand_size, &value);
	if (result)
		return result;
	return push(m, insn, value);
}

enum insn_result insn_push_imm(struct insn_machine *m, const struct insn *insn)
{
	return push(m, insn, insn->imm);
}

/* Stores what was popped. An address that counts from rSP counts from where it is after the pop. */
static enum insn_result pop_to_memory(struct insn_machine *m, const struct insn *insn, u64 value)
{
	s64 displacement = insn->base == REG_RSP ? insn->operand_size : 0;
	enum insn_result result;
	u64 linear;

	result = insn_locate_rm(m, insn, displacement, insn->operand_size, true, &linear);
	if (result)
		return result;
	return insn_write(m, linear, &value, insn->operand_size);
}

enum insn_result insn_pop_rm(struct insn_machine *m, const struct insn *insn)
{
	unsigned int address_size = stack_address_size(m), size = insn->operand_size;
	u64 rsp = m->regs->gpr[REG_RSP] & insn_size_mask(address_size), linear, value = 0;
	enum insn_result result;

	if (insn->reg & 7)
		return INSN_UNHANDLED;
	result = insn_linear(m, SEG_SS, rsp, size, false, &linear);
	if (result)
		return result;
	result = insn_read(m, linear, &value, size, false);
	if (result)
		return result;
	if (insn->memory) {
		result = pop_to_memory(m, insn, value);
		if (result)
			return result;
	}
	/* In this order: POP rSP ends with the value that was popped. */
	insn_set_gpr(m, insn, REG_RSP, address_size, rsp + size);
	if (!insn->memory)
		insn_set_gpr(m, insn, insn->rm, size, value);
	return insn_commit(m, insn, m->regs->rflags);
}
