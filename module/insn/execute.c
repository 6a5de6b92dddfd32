// SPDX-License-Identifier: GPL-2.0
/*
 * The executor: from opcode to handler, and the handlers of the general instructions.
 * Source: SDM volume 2, the pages of the instructions.
 */
#include "execute.h"

#define PREFIX_REPEAT (INSN_PREFIX_REP | INSN_PREFIX_REPNE)
#define PREFIX_MANDATORY (PREFIX_REPEAT | INSN_PREFIX_OPERAND_SIZE)

/* Reads the register or memory operand that is going to be written; @linear is for write_back(). */
static enum insn_result read_to_modify(struct insn_machine *m, const struct insn *insn, unsigned int size, u64 *linear,
				       u64 *value)
{
	enum insn_result result;

	if (!insn->memory) {
		*value = insn_gpr(m, insn, insn->rm, size);
		return INSN_DONE;
	}
	result = insn_locate_rm(m, insn, 0, size, true, linear);
	if (result)
		return result;
	return insn_read(m, *linear, value, size, true);
}

static enum insn_result write_back(struct insn_machine *m, const struct insn *insn, unsigned int size, u64 linear,
				   u64 value)
{
	if (insn->memory)
		return insn_write(m, linear, &value, size);
	insn_set_gpr(m, insn, insn->rm, size, value);
	return INSN_DONE;
}

/* The last step of an instruction that modifies its operand. */
static enum insn_result finish_modify(struct insn_machine *m, const struct insn *insn, u64 linear, u64 value,
				      u64 rflags)
{
	enum insn_result result = write_back(m, insn, insn->operand_size, linear, value);

	if (result)
		return result;
	return insn_commit(m, insn, rflags);
}

/* The last step of an instruction that only loads a register. */
static enum insn_result finish_load(struct insn_machine *m, const struct insn *insn, u64 value)
{
	insn_set_gpr(m, insn, insn->reg, insn->operand_size, value);
	return insn_commit(m, insn, m->regs->rflags);
}

/* The last step of an instruction that only stores. */
static enum insn_result finish_store(struct insn_machine *m, const struct insn *insn, unsigned int size, u64 value)
{
	enum insn_result result = insn_write_rm(m, insn, size, value);

	if (result)
		return result;
	return insn_commit(m, insn, m->regs->rflags);
}

/* MOV r/m, r; also MOV moffs, rAX, of which the decoder makes the same. */
static enum insn_result exec_mov_store(struct insn_machine *m, const struct insn *insn)
{
	unsigned int size = insn->operand_size;

	return finish_store(m, insn, size, insn_gpr(m, insn, insn->reg, size));
}

static enum insn_result exec_mov_load(struct insn_machine *m, const struct insn *insn)
{
	enum insn_result result;
	u64 value;

	result = insn_read_rm(m, insn, insn->operand_size, &value);
	if (result)
		return result;
	return finish_load(m, insn, value);
}

/* MOV r/m, imm and MOV r, imm. With another ModRM.reg it is XABORT, XBEGIN or nothing. */
static enum insn_result exec_mov_imm(struct insn_machine *m, const struct insn *insn)
{
	if (insn->reg & 7)
		return INSN_UNHANDLED;
	return finish_store(m, insn, insn->operand_size, insn->imm);
}

/* MOV r/m, Sreg: two bytes to memory, zero-extended to a register. */
static enum insn_result exec_mov_store_segment(struct insn_machine *m, const struct insn *insn)
{
	enum segment segment = insn->reg & 7;

	if (segment > SEG_GS)
		return insn_undefined(m);
	return finish_store(m, insn, insn->memory ? 2 : insn->operand_size, m->ops->segment(m->ctx, segment)->selector);
}

/* MOVNTI exists without prefixes and with a memory operand only. */
static enum insn_result exec_movnti(struct insn_machine *m, const struct insn *insn)
{
	if (!insn->memory || insn->prefixes & PREFIX_MANDATORY)
		return INSN_UNHANDLED;
	return exec_mov_store(m, insn);
}

static u64 swap_bytes(u64 value, unsigned int size)
{
	return __builtin_bswap64(value) >> (64 - size * 8);
}

/* MOVBE; with F2 it is CRC32. */
static enum insn_result exec_movbe(struct insn_machine *m, const struct insn *insn)
{
	unsigned int size = insn->operand_size;
	enum insn_result result;
	u64 value;

	if (!insn->memory || insn->prefixes & PREFIX_REPEAT)
		return INSN_UNHANDLED;
	if (insn->opcode & 1)
		return finish_store(m, insn, size, swap_bytes(insn_gpr(m, insn, insn->reg, size), size));
	result = insn_read_rm(m, insn, size, &value);
	if (result)
		return result;
	return finish_load(m, insn, swap_bytes(value, size));
}

static enum insn_result exec_movzx(struct insn_machine *m, const struct insn *insn)
{
	enum insn_result result;
	u64 value;

	result = insn_read_rm(m, insn, insn->opcode & 1 ? 2 : 1, &value);
	if (result)
		return result;
	return finish_load(m, insn, value);
}

static u64 sign_extend(u64 value, unsigned int size)
{
	unsigned int unused = 64 - size * 8;

	return (s64)(value << unused) >> unused;
}

static enum insn_result load_sign_extended(struct insn_machine *m, const struct insn *insn, unsigned int size)
{
	enum insn_result result;
	u64 value;

	result = insn_read_rm(m, insn, size, &value);
	if (result)
		return result;
	return finish_load(m, insn, sign_extend(value, size));
}

static enum insn_result exec_movsx(struct insn_machine *m, const struct insn *insn)
{
	return load_sign_extended(m, insn, insn->opcode & 1 ? 2 : 1);
}

/* MOVSXD; outside of 64-bit mode it is ARPL. */
static enum insn_result exec_movsxd(struct insn_machine *m, const struct insn *insn)
{
	if (m->mode != INSN_MODE_64)
		return INSN_UNHANDLED;
	return load_sign_extended(m, insn, min_t(unsigned int, insn->operand_size, 4));
}

/* The memory operand is read, and a register of 4 bytes cleared above, even if the condition fails. */
static enum insn_result exec_cmovcc(struct insn_machine *m, const struct insn *insn)
{
	enum insn_result result;
	u64 value;

	result = insn_read_rm(m, insn, insn->operand_size, &value);
	if (result)
		return result;
	if (!insn_condition(insn->opcode, m->regs->rflags))
		value = insn_gpr(m, insn, insn->reg, insn->operand_size);
	return finish_load(m, insn, value);
}

static enum insn_result exec_setcc(struct insn_machine *m, const struct insn *insn)
{
	return finish_store(m, insn, 1, insn_condition(insn->opcode, m->regs->rflags));
}

/* Flags of @a op @b, nothing else: CMP and TEST. */
static enum insn_result compare(struct insn_machine *m, const struct insn *insn, enum insn_alu_op op, u64 b)
{
	u64 rflags = m->regs->rflags, a;
	enum insn_result result;

	result = insn_read_rm(m, insn, insn->operand_size, &a);
	if (result)
		return result;
	insn_alu(op, a, b & insn_size_mask(insn->operand_size), insn->operand_size, &rflags);
	return insn_commit(m, insn, rflags);
}

/* r/m = r/m op b */
static enum insn_result modify(struct insn_machine *m, const struct insn *insn, enum insn_alu_op op, u64 b)
{
	u64 rflags = m->regs->rflags, linear = 0, a;
	unsigned int size = insn->operand_size;
	enum insn_result result;

	if (op == ALU_CMP)
		return compare(m, insn, op, b);
	result = read_to_modify(m, insn, size, &linear, &a);
	if (result)
		return result;
	a = insn_alu(op, a, b & insn_size_mask(size), size, &rflags);
	return finish_modify(m, insn, linear, a, rflags);
}

static enum insn_result exec_alu_rm_reg(struct insn_machine *m, const struct insn *insn)
{
	return modify(m, insn, insn->opcode >> 3, insn_gpr(m, insn, insn->reg, insn->operand_size));
}

static enum insn_result exec_alu_reg_rm(struct insn_machine *m, const struct insn *insn)
{
	enum insn_alu_op op = insn->opcode >> 3;
	unsigned int size = insn->operand_size;
	u64 rflags = m->regs->rflags, a, b;
	enum insn_result result;

	result = insn_read_rm(m, insn, size, &b);
	if (result)
		return result;
	a = insn_alu(op, insn_gpr(m, insn, insn->reg, size), b, size, &rflags);
	if (op != ALU_CMP)
		insn_set_gpr(m, insn, insn->reg, size, a);
	return insn_commit(m, insn, rflags);
}

static enum insn_result exec_alu_rm_imm(struct insn_machine *m, const struct insn *insn)
{
	return modify(m, insn, insn->reg & 7, insn->imm);
}

static enum insn_result exec_test_rm_reg(struct insn_machine *m, const struct insn *insn)
{
	return compare(m, insn, ALU_AND, insn_gpr(m, insn, insn->reg, insn->operand_size));
}

/* INC and DEC leave CF as it is. */
static enum insn_result increment(struct insn_machine *m, const struct insn *insn, enum insn_alu_op op)
{
	u64 rflags = m->regs->rflags, linear = 0, value;
	unsigned int size = insn->operand_size;
	enum insn_result result;

	result = read_to_modify(m, insn, size, &linear, &value);
	if (result)
		return result;
	value = insn_alu(op, value, 1, size, &rflags);
	rflags = (rflags & ~RFLAGS_CF) | (m->regs->rflags & RFLAGS_CF);
	return finish_modify(m, insn, linear, value, rflags);
}

/* NOT and NEG. NOT touches no flag. */
static enum insn_result complement(struct insn_machine *m, const struct insn *insn, bool negate)
{
	u64 rflags = m->regs->rflags, linear = 0, value;
	unsigned int size = insn->operand_size;
	enum insn_result result;

	result = read_to_modify(m, insn, size, &linear, &value);
	if (result)
		return result;
	value = negate ? insn_alu(ALU_SUB, 0, value, size, &rflags) : ~value;
	return finish_modify(m, insn, linear, value, rflags);
}

static enum insn_result exec_group3(struct insn_machine *m, const struct insn *insn)
{
	switch (insn->reg & 7) {
	case 0:
	case 1:
		return compare(m, insn, ALU_AND, insn->imm);
	case 2:
		return complement(m, insn, false);
	case 3:
		return complement(m, insn, true);
	default: /* MUL, IMUL, DIV, IDIV */
		return INSN_UNHANDLED;
	}
}

static enum insn_result exec_group4(struct insn_machine *m, const struct insn *insn)
{
	switch (insn->reg & 7) {
	case 0:
		return increment(m, insn, ALU_ADD);
	case 1:
		return increment(m, insn, ALU_SUB);
	default:
		return INSN_UNHANDLED;
	}
}

static enum insn_result exec_group5(struct insn_machine *m, const struct insn *insn)
{
	return (insn->reg & 7) == 6 ? insn_push_rm(m, insn) : exec_group4(m, insn);
}

static enum insn_result shift(struct insn_machine *m, const struct insn *insn, unsigned int count)
{
	u64 rflags = m->regs->rflags, linear = 0, value;
	unsigned int size = insn->operand_size;
	enum insn_result result;

	result = read_to_modify(m, insn, size, &linear, &value);
	if (result)
		return result;
	value = insn_shift(insn->reg & 7, value, count, size, &rflags);
	return finish_modify(m, insn, linear, value, rflags);
}

static enum insn_result exec_shift_imm(struct insn_machine *m, const struct insn *insn)
{
	return shift(m, insn, insn->imm);
}

static enum insn_result exec_shift_one(struct insn_machine *m, const struct insn *insn)
{
	return shift(m, insn, 1);
}

static enum insn_result exec_shift_cl(struct insn_machine *m, const struct insn *insn)
{
	return shift(m, insn, m->regs->gpr[REG_RCX] & 0xff);
}

/* BT, BTS, BTR and BTC, as the opcodes A3 to BB and ModRM.reg 4 to 7 of group 8 number them. */
enum bit_op { BIT_TEST, BIT_SET, BIT_RESET, BIT_COMPLEMENT };

static u64 apply_bit_op(enum bit_op op, u64 value, u64 bit)
{
	switch (op) {
	case BIT_SET:
		return value | bit;
	case BIT_RESET:
		return value & ~bit;
	case BIT_COMPLEMENT:
		return value ^ bit;
	default:
		return value;
	}
}

/* @displacement: of the unit of memory that the bit is in, from where the operand stands */
static enum insn_result bit_test(struct insn_machine *m, const struct insn *insn, enum bit_op op, s64 displacement,
				 unsigned int bit)
{
	u64 rflags = m->regs->rflags & ~RFLAGS_CF, linear = 0, value;
	unsigned int size = insn->operand_size;
	enum insn_result result;

	if (insn->memory) {
		result = insn_locate_rm(m, insn, displacement, size, op != BIT_TEST, &linear);
		if (!result)
			result = insn_read(m, linear, &value, size, op != BIT_TEST);
		if (result)
			return result;
	} else {
		value = insn_gpr(m, insn, insn->rm, size);
	}
	rflags |= (value >> bit) & 1 ? RFLAGS_CF : 0;
	if (op == BIT_TEST)
		return insn_commit(m, insn, rflags);
	return finish_modify(m, insn, linear, apply_bit_op(op, value, BIT_ULL(bit)), rflags);
}

/* A bit offset in a register is signed and reaches beyond the operand in memory. */
static enum insn_result exec_bit_test_reg(struct insn_machine *m, const struct insn *insn)
{
	unsigned int size = insn->operand_size, bits = size * 8;
	s64 offset = sign_extend(insn_gpr(m, insn, insn->reg, size), size);
	s64 displacement = (offset & -(s64)bits) >> 3;

	return bit_test(m, insn, (insn->opcode >> 3) & 3, displacement, offset & (bits - 1));
}

static enum insn_result exec_bit_test_imm(struct insn_machine *m, const struct insn *insn)
{
	if (!(insn->reg & 4))
		return INSN_UNHANDLED;
	return bit_test(m, insn, insn->reg & 3, 0, insn->imm & (insn->operand_size * 8 - 1));
}

static enum insn_result exec_xchg(struct insn_machine *m, const struct insn *insn)
{
	unsigned int size = insn->operand_size;
	enum insn_result result;
	u64 linear = 0, value, reg;

	result = read_to_modify(m, insn, size, &linear, &value);
	if (result)
		return result;
	reg = insn_gpr(m, insn, insn->reg, size);
	result = write_back(m, insn, size, linear, reg);
	if (result)
		return result;
	return finish_load(m, insn, value);
}

/* XADD. If both operands are one register, the sum stays. */
static enum insn_result exec_xadd(struct insn_machine *m, const struct insn *insn)
{
	u64 rflags = m->regs->rflags, linear = 0, value, sum;
	unsigned int size = insn->operand_size;
	enum insn_result result;

	result = read_to_modify(m, insn, size, &linear, &value);
	if (result)
		return result;
	sum = insn_alu(ALU_ADD, value, insn_gpr(m, insn, insn->reg, size), size, &rflags);
	result = write_back(m, insn, size, linear, sum);
	if (result)
		return result;
	if (insn->memory || insn->reg != insn->rm)
		insn_set_gpr(m, insn, insn->reg, size, value);
	return insn_commit(m, insn, rflags);
}

/* CMPXCHG. A destination in memory is written in any case, if only with what it was; a register is not. */
static enum insn_result exec_cmpxchg(struct insn_machine *m, const struct insn *insn)
{
	u64 rflags = m->regs->rflags, linear = 0, value;
	unsigned int size = insn->operand_size;
	enum insn_result result;
	bool equal;

	result = read_to_modify(m, insn, size, &linear, &value);
	if (result)
		return result;
	equal = !insn_alu(ALU_CMP, m->regs->gpr[REG_RAX] & insn_size_mask(size), value, size, &rflags);
	if (equal || insn->memory)
		result = write_back(m, insn, size, linear, equal ? insn_gpr(m, insn, insn->reg, size) : value);
	if (result)
		return result;
	if (!equal)
		insn_set_gpr(m, insn, REG_RAX, size, value);
	return insn_commit(m, insn, rflags);
}

/* CMPXCHG8B and CMPXCHG16B: rDX:rAX and rCX:rBX, @half bytes each. */
static enum insn_result cmpxchg_pair(struct insn_machine *m, const struct insn *insn, unsigned int half)
{
	u64 *gpr = m->regs->gpr, mask = insn_size_mask(half), old[2] = { 0, 0 }, new[2], linear;
	enum insn_result result;
	bool equal;

	result = insn_locate_rm(m, insn, 0, half * 2, true, &linear);
	if (result)
		return result;
	if (half == 8 && linear & 15)
		return insn_general_protection(m);
	result = insn_read(m, linear, old, half * 2, true);
	if (result)
		return result;
	if (half == 4) {
		old[1] = old[0] >> 32;
		old[0] &= mask;
	}
	equal = old[0] == (gpr[REG_RAX] & mask) && old[1] == (gpr[REG_RDX] & mask);
	new[0] = equal ? gpr[REG_RBX] & mask : old[0];
	new[1] = equal ? gpr[REG_RCX] & mask : old[1];
	if (half == 4)
		new[0] |= new[1] << 32;
	result = insn_write(m, linear, new, half * 2);
	if (result)
		return result;
	if (!equal) {
		gpr[REG_RAX] = old[0];
		gpr[REG_RDX] = old[1];
	}
	return insn_commit(m, insn, (m->regs->rflags & ~RFLAGS_ZF) | (equal ? RFLAGS_ZF : 0));
}

static enum insn_result exec_group9(struct insn_machine *m, const struct insn *insn)
{
	if (!insn->memory || (insn->reg & 7) != 1 || insn->prefixes & PREFIX_REPEAT)
		return INSN_UNHANDLED;
	return cmpxchg_pair(m, insn, insn->rex & INSN_REX_W ? 8 : 4);
}

/* NOP and PREFETCH with a memory operand do not touch it: no fault, no access. */
static enum insn_result exec_nop(struct insn_machine *m, const struct insn *insn)
{
	if (!insn->memory)
		return INSN_UNHANDLED;
	return insn_commit(m, insn, m->regs->rflags);
}

/* CLFLUSH, CLFLUSHOPT and CLWB: there is no cache line of a device's register, but the address must be good. */
static enum insn_result exec_group15(struct insn_machine *m, const struct insn *insn)
{
	bool clflush = (insn->reg & 7) == 7;
	bool clwb = (insn->reg & 7) == 6 && insn->prefixes & INSN_PREFIX_OPERAND_SIZE;
	enum insn_result result;
	u64 linear;

	if (!insn->memory || insn->prefixes & PREFIX_REPEAT || !(clflush || clwb))
		return INSN_UNHANDLED;
	result = insn_locate_rm(m, insn, 0, 1, false, &linear);
	if (result)
		return result;
	return insn_commit(m, insn, m->regs->rflags);
}

#define ALU_FORMS(op)                                                                               \
	[(op)*8] = exec_alu_rm_reg, [(op)*8 + 1] = exec_alu_rm_reg, [(op)*8 + 2] = exec_alu_reg_rm, \
	[(op)*8 + 3] = exec_alu_reg_rm

static insn_handler *const one_byte[256] = {
	ALU_FORMS(ALU_ADD),
	ALU_FORMS(ALU_OR),
	ALU_FORMS(ALU_ADC),
	ALU_FORMS(ALU_SBB),
	ALU_FORMS(ALU_AND),
	ALU_FORMS(ALU_SUB),
	ALU_FORMS(ALU_XOR),
	ALU_FORMS(ALU_CMP),
	[0x50 ... 0x57] = insn_push_rm,
	[0x58 ... 0x5f] = insn_pop_rm,
	[0x63] = exec_movsxd,
	[0x68] = insn_push_imm,
	[0x6a] = insn_push_imm,
	[0x80 ... 0x83] = exec_alu_rm_imm,
	[0x84 ... 0x85] = exec_test_rm_reg,
	[0x86 ... 0x87] = exec_xchg,
	[0x88 ... 0x89] = exec_mov_store,
	[0x8a ... 0x8b] = exec_mov_load,
	[0x8c] = exec_mov_store_segment,
	[0x8f] = insn_pop_rm,
	[0xa0 ... 0xa1] = exec_mov_load,
	[0xa2 ... 0xa3] = exec_mov_store,
	[0xa4 ... 0xa5] = insn_movs,
	[0xa6 ... 0xa7] = insn_cmps,
	[0xaa ... 0xab] = insn_stos,
	[0xac ... 0xad] = insn_lods,
	[0xae ... 0xaf] = insn_scas,
	[0xb0 ... 0xbf] = exec_mov_imm,
	[0xc0 ... 0xc1] = exec_shift_imm,
	[0xc6 ... 0xc7] = exec_mov_imm,
	[0xd0 ... 0xd1] = exec_shift_one,
	[0xd2 ... 0xd3] = exec_shift_cl,
	[0xf6 ... 0xf7] = exec_group3,
	[0xfe] = exec_group4,
	[0xff] = exec_group5,
};

static insn_handler *const map_0f[256] = {
	[0x0d] = exec_nop,
	[0x10 ... 0x13] = insn_sse_move,
	[0x16 ... 0x17] = insn_sse_move,
	[0x18] = exec_nop,
	[0x1f] = exec_nop,
	[0x28 ... 0x29] = insn_sse_move,
	[0x2b] = insn_sse_move,
	[0x40 ... 0x4f] = exec_cmovcc,
	[0x6e ... 0x6f] = insn_sse_move,
	[0x7e ... 0x7f] = insn_sse_move,
	[0x90 ... 0x9f] = exec_setcc,
	[0xa3] = exec_bit_test_reg,
	[0xab] = exec_bit_test_reg,
	[0xae] = exec_group15,
	[0xb0 ... 0xb1] = exec_cmpxchg,
	[0xb3] = exec_bit_test_reg,
	[0xb6 ... 0xb7] = exec_movzx,
	[0xba] = exec_bit_test_imm,
	[0xbb] = exec_bit_test_reg,
	[0xbe ... 0xbf] = exec_movsx,
	[0xc0 ... 0xc1] = exec_xadd,
	[0xc3] = exec_movnti,
	[0xc7] = exec_group9,
	[0xd6] = insn_sse_move,
	[0xe7] = insn_sse_move,
	[0xf0] = insn_sse_move,
};

static insn_handler *find_handler(const struct insn *insn)
{
	if (unlikely(insn->encoding != INSN_LEGACY))
		return NULL;
	switch (insn->map) {
	case INSN_MAP_ONE_BYTE:
		return one_byte[insn->opcode];
	case INSN_MAP_0F:
		return map_0f[insn->opcode];
	case INSN_MAP_0F38:
		if (insn->opcode == 0x2a)
			return insn_sse_move;
		return (insn->opcode & 0xfe) == 0xf0 ? exec_movbe : NULL;
	default:
		return NULL;
	}
}

/* What LOCK may stand before, if the destination is in memory; elsewhere it raises #UD. SDM volume 2, "LOCK". */
static const struct lockable {
	u8 map;
	u8 opcode;
	u8 mask; /* bits of the opcode that count */
	u8 regs; /* set of ModRM.reg */
} lockable[] = {
	{ INSN_MAP_ONE_BYTE, 0x00, 0xe6, 0xff },	    /* ADD, OR, ADC, SBB */
	{ INSN_MAP_ONE_BYTE, 0x20, 0xf6, 0xff },	    /* AND, SUB */
	{ INSN_MAP_ONE_BYTE, 0x30, 0xfe, 0xff },	    /* XOR */
	{ INSN_MAP_ONE_BYTE, 0x80, 0xfc, 0x7f },	    /* group 1 but CMP */
	{ INSN_MAP_ONE_BYTE, 0x86, 0xfe, 0xff },	    /* XCHG */
	{ INSN_MAP_ONE_BYTE, 0xf6, 0xfe, BIT(2) | BIT(3) }, /* NOT, NEG */
	{ INSN_MAP_ONE_BYTE, 0xfe, 0xfe, BIT(0) | BIT(1) }, /* INC, DEC */
	{ INSN_MAP_0F, 0xab, 0xff, 0xff },		    /* BTS */
	{ INSN_MAP_0F, 0xb3, 0xff, 0xff },		    /* BTR */
	{ INSN_MAP_0F, 0xbb, 0xff, 0xff },		    /* BTC */
	{ INSN_MAP_0F, 0xba, 0xff, 0xe0 },		    /* BTS, BTR, BTC */
	{ INSN_MAP_0F, 0xb0, 0xfe, 0xff },		    /* CMPXCHG */
	{ INSN_MAP_0F, 0xc0, 0xfe, 0xff },		    /* XADD */
	{ INSN_MAP_0F, 0xc7, 0xff, BIT(1) },		    /* CMPXCHG8B, CMPXCHG16B */
};

static bool may_lock(const struct insn *insn)
{
	const struct lockable *row;

	for (row = lockable; row < lockable + ARRAY_SIZE(lockable); row++)
		if (row->map == insn->map && row->opcode == (insn->opcode & row->mask) &&
		    row->regs & BIT(insn->reg & 7))
			return insn->memory;
	return false;
}

enum insn_result insn_execute(struct insn_machine *m, const struct insn *insn)
{
	insn_handler *handler = find_handler(insn);

	if (unlikely(!handler))
		return INSN_UNHANDLED;
	if (unlikely(insn->prefixes & INSN_PREFIX_LOCK) && !may_lock(insn))
		return insn_undefined(m);
	return handler(m, insn);
}
