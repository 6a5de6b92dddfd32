/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The names and numbers of a CPU's registers, as instruction encodings and control structures number them.
 * Source: SDM volume 2, "Instruction Format" (ModR/M and REX encodings).
 */
#ifndef PITH_CPU_REGS_H
#define PITH_CPU_REGS_H

#include "../portable.h"

enum gpr {
	REG_RAX,
	REG_RCX,
	REG_RDX,
	REG_RBX,
	REG_RSP,
	REG_RBP,
	REG_RSI,
	REG_RDI,
	REG_R8,
	REG_R9,
	REG_R10,
	REG_R11,
	REG_R12,
	REG_R13,
	REG_R14,
	REG_R15,
	NR_GPRS
};

/* The first six in the order of instruction encodings. */
enum segment { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_LDTR, SEG_TR, NR_SEGMENTS };

struct cpu_regs {
	u64 gpr[NR_GPRS];
	u64 rip;
	u64 rflags;
};

/* RFLAGS. Source: SDM volume 1, "EFLAGS Register". */
#define RFLAGS_CF BIT_ULL(0)
#define RFLAGS_FIXED BIT_ULL(1)
#define RFLAGS_PF BIT_ULL(2)
#define RFLAGS_AF BIT_ULL(4)
#define RFLAGS_ZF BIT_ULL(6)
#define RFLAGS_SF BIT_ULL(7)
#define RFLAGS_TF BIT_ULL(8)
#define RFLAGS_IF BIT_ULL(9)
#define RFLAGS_DF BIT_ULL(10)
#define RFLAGS_OF BIT_ULL(11)
#define RFLAGS_IOPL (BIT_ULL(12) | BIT_ULL(13))
#define RFLAGS_NT BIT_ULL(14)
#define RFLAGS_RF BIT_ULL(16)
#define RFLAGS_VM BIT_ULL(17)
#define RFLAGS_AC BIT_ULL(18)
#define RFLAGS_VIF BIT_ULL(19)
#define RFLAGS_VIP BIT_ULL(20)
#define RFLAGS_ID BIT_ULL(21)
#define RFLAGS_ARITH (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)

/* Exception vectors. Source: SDM volume 3, "Exception and Interrupt Vectors". */
enum vector {
	VECTOR_DE = 0,
	VECTOR_DB = 1,
	VECTOR_NMI = 2,
	VECTOR_BP = 3,
	VECTOR_OF = 4,
	VECTOR_BR = 5,
	VECTOR_UD = 6,
	VECTOR_NM = 7,
	VECTOR_DF = 8,
	VECTOR_TS = 10,
	VECTOR_NP = 11,
	VECTOR_SS = 12,
	VECTOR_GP = 13,
	VECTOR_PF = 14,
	VECTOR_MF = 16,
	VECTOR_AC = 17,
	VECTOR_MC = 18,
	VECTOR_XM = 19,
	VECTOR_VE = 20,
	VECTOR_CP = 21,
};

/* An exception that an instruction raises: what goes into the IDT's gate, and CR2 for #PF or DR6 bits for #DB. */
struct exception {
	u8 vector;
	bool has_error;
	u32 error;
	u64 payload;
};

#endif
