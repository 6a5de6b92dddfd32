// SPDX-License-Identifier: GPL-2.0
/*
 * What arithmetic does to values and to the flags of RFLAGS. Source: SDM volume 1, "EFLAGS Register" and appendix A,
 * "EFLAGS Cross-Reference"; volume 2, the pages of the instructions.
 */
#include "arithmetic.h"

const u64 insn_size_masks[9] = { [1] = 0xff, [2] = 0xffff, [4] = 0xffffffff, [8] = ~0ull };

#define set_if(condition, flag) ((condition) ? (flag) : 0)

/* PF is set by an even number of ones in the lowest byte: bit n of 0x9669 says it of the four bits n. */
static u64 parity(u64 result)
{
	return set_if((0x9669 >> ((result ^ (result >> 4)) & 0xf)) & 1, RFLAGS_PF);
}

/* The flags that tell something of a result: SF, ZF and PF. */
static u64 result_flags(u64 result, u64 sign)
{
	return set_if(result & sign, RFLAGS_SF) | set_if(!result, RFLAGS_ZF) | parity(result);
}

/*
 * insn_alu() - one of the eight basic operations
 * @a, @b:  operands of @size bytes, no bits above
 * @rflags: in: CF for ADC and SBB; out: the arithmetic flags replaced
 *
 * Return: the result; of CMP that of SUB, which the caller drops.
 */
u64 insn_alu(enum insn_alu_op op, u64 a, u64 b, unsigned int size, u64 *rflags)
{
	u64 mask = insn_size_mask(size), sign = mask ^ (mask >> 1);
	u64 in = *rflags & RFLAGS_CF, carry = 0, result; /* carry: out of each bit position */

	switch (op) {
	case ALU_OR:
		result = a | b;
		break;
	case ALU_AND:
		result = a & b;
		break;
	case ALU_XOR:
		result = a ^ b;
		break;
	case ALU_ADD:
	case ALU_ADC:
		result = (a + b + (op == ALU_ADC ? in : 0)) & mask;
		carry = (a & b) | ((a | b) & ~result);
		break;
	default: /* SUB, SBB, CMP */
		result = (a - b - (op == ALU_SBB ? in : 0)) & mask;
		carry = (~a & b) | ((~a | b) & result);
		break;
	}
	*rflags &= ~RFLAGS_ARITH;
	*rflags |= result_flags(result, sign) | set_if(carry & sign, RFLAGS_CF) | set_if(carry & BIT(3), RFLAGS_AF) |
		   set_if((carry ^ (carry << 1)) & sign, RFLAGS_OF);
	return result;
}

/* The bit that a shift by one to the left brings in: from its other end, from CF or a zero. */
static u64 bit_in_low(enum insn_shift_op op, u64 out, u64 carry)
{
	switch (op) {
	case SHIFT_ROL:
		return out;
	case SHIFT_RCL:
		return carry;
	default: /* SHL */
		return 0;
	}
}

static u64 bit_in_high(enum insn_shift_op op, u64 out, u64 carry, u64 value, u64 sign)
{
	switch (op) {
	case SHIFT_ROR:
		return out ? sign : 0;
	case SHIFT_RCR:
		return carry ? sign : 0;
	case SHIFT_SAR:
		return value & sign;
	default: /* SHR */
		return 0;
	}
}

/*
 * insn_shift() - shifts and rotates
 * @value:  operand of @size bytes, no bits above
 * @count:  as given, not yet masked
 * @rflags: CF is read and written, OF written; SF, ZF and PF by shifts only. A count of zero leaves all as they are.
 *
 * Goes bit by bit, as the manual's pseudocode does: CF comes out right for every count.
 */
u64 insn_shift(enum insn_shift_op op, u64 value, unsigned int count, unsigned int size, u64 *rflags)
{
	u64 mask = insn_size_mask(size), sign = mask ^ (mask >> 1);
	u64 carry = *rflags & RFLAGS_CF, out, flags;
	bool left = !(op & 1);

	count &= size == 8 ? 63 : 31;
	if (!count)
		return value;
	while (count--) {
		if (left) {
			out = set_if(value & sign, 1);
			value = ((value << 1) & mask) | bit_in_low(op, out, carry);
		} else {
			out = value & 1;
			value = (value >> 1) | bit_in_high(op, out, carry, value, sign);
		}
		carry = out;
	}
	flags = set_if(carry, RFLAGS_CF);
	/* OF: whether the last step changed the sign. */
	if (left)
		flags |= set_if(!(value & sign) != !carry, RFLAGS_OF);
	else
		flags |= set_if((value ^ (value << 1)) & sign, RFLAGS_OF);
	*rflags &= ~(RFLAGS_CF | RFLAGS_OF);
	if (op >= SHIFT_SHL) {
		*rflags &= ~RFLAGS_ARITH;
		flags |= result_flags(value, sign);
	}
	*rflags |= flags;
	return value;
}

/* insn_condition() - whether condition @condition (the low four bits of Jcc, SETcc and CMOVcc) holds */
bool insn_condition(unsigned int condition, u64 rflags)
{
	bool less = !(rflags & RFLAGS_SF) != !(rflags & RFLAGS_OF), holds;

	switch (condition >> 1 & 7) {
	case 0:
		holds = rflags & RFLAGS_OF;
		break;
	case 1:
		holds = rflags & RFLAGS_CF;
		break;
	case 2:
		holds = rflags & RFLAGS_ZF;
		break;
	case 3:
		holds = rflags & (RFLAGS_CF | RFLAGS_ZF);
		break;
	case 4:
		holds = rflags & RFLAGS_SF;
		break;
	case 5:
		holds = rflags & RFLAGS_PF;
		break;
	case 6:
		holds = less;
		break;
	default:
		holds = less || rflags & RFLAGS_ZF;
	}
	return holds != (condition & 1);
}
