/* SPDX-License-Identifier: GPL-2.0 */
#ifndef PITH_INSN_ARITHMETIC_H
#define PITH_INSN_ARITHMETIC_H

#include "../cpu/regs.h"

/* As opcodes 00 to 3F and ModRM.reg of group 1 number them. */
enum insn_alu_op { ALU_ADD, ALU_OR, ALU_ADC, ALU_SBB, ALU_AND, ALU_SUB, ALU_XOR, ALU_CMP };

/* As ModRM.reg of group 2 numbers them; 6 is SHL once more. */
enum insn_shift_op { SHIFT_ROL, SHIFT_ROR, SHIFT_RCL, SHIFT_RCR, SHIFT_SHL, SHIFT_SHR, SHIFT_SHL_ALIAS, SHIFT_SAR };

extern const u64 insn_size_masks[9];

/* The bits of an operand of 1, 2, 4 or 8 bytes. */
static inline u64 insn_size_mask(unsigned int size)
{
	return insn_size_masks[size];
}

u64 insn_alu(enum insn_alu_op op, u64 a, u64 b, unsigned int size, u64 *rflags);
u64 insn_shift(enum insn_shift_op op, u64 value, unsigned int count, unsigned int size, u64 *rflags);
bool insn_condition(unsigned int condition, u64 rflags);

#endif
