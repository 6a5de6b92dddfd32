/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the decoder must know of an opcode to measure it: one 16-bit word each.
 */
#ifndef PITH_INSN_ATTRIBUTES_H
#define PITH_INSN_ATTRIBUTES_H

#include "../portable.h"

/* Bits 0-3: the immediate. */
enum insn_immediate {
	IMM_NONE,
	IMM_8,
	IMM_16,
	IMM_32,
	IMM_Z,	    /* 2 or 4 bytes: the operand size, but 4 for 8 */
	IMM_V,	    /* the operand size, up to 8 bytes */
	IMM_GROUP3, /* as Z, or 1 byte for byte operands, in TEST only (ModRM.reg 0 and 1) */
	IMM_OFFSET, /* MOV's moffs: the address size */
	IMM_FAR,    /* Z and a selector */
	IMM_ENTER,  /* 2 bytes and 1 byte */
	IMM_EXTRQ,  /* two bytes, if a 66 or F2 prefix says so */
	IMM_MASK = 0xf,
};

/* Bits 4-6: the operand size. */
enum insn_size {
	SIZE_V = 0x00, /* by prefixes and mode */
	SIZE_BYTE = 0x10,
	SIZE_STACK = 0x20,  /* in 64-bit mode 8 bytes without REX.W, 2 with the 66 prefix */
	SIZE_64 = 0x30,	    /* in 64-bit mode 8 bytes whatever the prefixes */
	SIZE_NATIVE = 0x40, /* 8 bytes in 64-bit mode, else 4 */
	SIZE_GROUP5 = 0x50, /* by ModRM.reg: near CALL and JMP as 64, PUSH as STACK, the rest as V */
	SIZE_MASK = 0x70,
};

#define ATTR_MODRM 0x80
/* MOV CR/DR: mod is taken to be 3 whatever it says. */
#define ATTR_REGISTERS 0x100
#define ATTR_INVALID_64 0x200
#define ATTR_INVALID 0x400

/* Bits 12-15: a byte that is a prefix, an escape to another map, or in some modes one of these. */
enum insn_special {
	SPECIAL_NONE = 0x0000,
	SPECIAL_OPERAND_SIZE = 0x1000,
	SPECIAL_ADDRESS_SIZE = 0x2000,
	SPECIAL_LOCK = 0x3000,
	SPECIAL_REP = 0x4000,
	SPECIAL_REPNE = 0x5000,
	SPECIAL_SEGMENT = 0x6000,
	SPECIAL_REX = 0x7000,
	SPECIAL_ESCAPE = 0x8000,
	SPECIAL_VEX3 = 0x9000,
	SPECIAL_VEX2 = 0xa000,
	SPECIAL_EVEX = 0xb000,
	SPECIAL_XOP = 0xc000,
	SPECIAL_MASK = 0xf000,
};

extern const u16 insn_attributes_one_byte[256];
extern const u16 insn_attributes_0f[256];

#endif
