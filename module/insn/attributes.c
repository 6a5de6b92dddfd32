// SPDX-License-Identifier: GPL-2.0
/*
 * The opcode maps, eight opcodes a line. Source: SDM volume 2, appendix A, "One-byte Opcode Map" and "Two-byte Opcode
 * Map"; APM volume 3, appendix A, for what only AMD has.
 */
#include "attributes.h"

/* clang-format off */

/* N: nothing follows. S of stack size, Q of 8 bytes, B of 1; 6: not in 64-bit mode. */
#define NO SIZE_V
#define NB SIZE_BYTE
#define NS SIZE_STACK
#define NQ SIZE_64
#define N6 ATTR_INVALID_64
#define SI (SIZE_STACK | ATTR_INVALID_64)
#define IN ATTR_INVALID

/* I: an immediate follows. J: a branch's displacement; P: of PUSH; F: a far pointer; O: an offset. */
#define IB (SIZE_BYTE | IMM_8)
#define IW IMM_16
#define IZ IMM_Z
#define IV IMM_V
#define I8 IMM_8
#define PB (SIZE_STACK | IMM_8)
#define PZ (SIZE_STACK | IMM_Z)
#define JB (SIZE_64 | IMM_8)
#define JZ (SIZE_64 | IMM_Z)
#define JW (SIZE_64 | IMM_16)
#define EN (SIZE_STACK | IMM_ENTER)
#define FP (IMM_FAR | ATTR_INVALID_64)
#define I6 (SIZE_BYTE | IMM_8 | ATTR_INVALID_64)
#define OB (SIZE_BYTE | IMM_OFFSET)
#define OV IMM_OFFSET

/* M: ModRM follows, and an immediate as the second letter says. B: the same of byte operands; G, 3: of groups. */
#define MO ATTR_MODRM
#define MB (ATTR_MODRM | SIZE_BYTE)
#define MQ (ATTR_MODRM | SIZE_NATIVE)
#define MR (ATTR_MODRM | SIZE_NATIVE | ATTR_REGISTERS)
#define BB (ATTR_MODRM | SIZE_BYTE | IMM_8)
#define B6 (ATTR_MODRM | SIZE_BYTE | IMM_8 | ATTR_INVALID_64)
#define M8 (ATTR_MODRM | IMM_8)
#define MZ (ATTR_MODRM | IMM_Z)
#define B3 (ATTR_MODRM | SIZE_BYTE | IMM_GROUP3)
#define G3 (ATTR_MODRM | IMM_GROUP3)
#define G5 (ATTR_MODRM | SIZE_GROUP5)
#define XQ (ATTR_MODRM | IMM_EXTRQ)

/* Prefixes and escapes. */
#define OS SPECIAL_OPERAND_SIZE
#define AS SPECIAL_ADDRESS_SIZE
#define LK SPECIAL_LOCK
#define RP SPECIAL_REP
#define RN SPECIAL_REPNE
#define SG SPECIAL_SEGMENT
#define RX SPECIAL_REX
#define ES SPECIAL_ESCAPE
#define V3 (ATTR_MODRM | SPECIAL_VEX3)
#define V2 (ATTR_MODRM | SPECIAL_VEX2)
#define EV (ATTR_MODRM | SPECIAL_EVEX)
#define XO (ATTR_MODRM | SIZE_STACK | SPECIAL_XOP)

const u16 insn_attributes_one_byte[256] = {
	MB, MO, MB, MO, IB, IZ, SI, SI, /* 00: ADD; PUSH, POP ES */
	MB, MO, MB, MO, IB, IZ, SI, ES, /* 08: OR; PUSH CS; 0F */
	MB, MO, MB, MO, IB, IZ, SI, SI, /* 10: ADC; PUSH, POP SS */
	MB, MO, MB, MO, IB, IZ, SI, SI, /* 18: SBB; PUSH, POP DS */
	MB, MO, MB, MO, IB, IZ, SG, N6, /* 20: AND; ES prefix; DAA */
	MB, MO, MB, MO, IB, IZ, SG, N6, /* 28: SUB; CS prefix; DAS */
	MB, MO, MB, MO, IB, IZ, SG, N6, /* 30: XOR; SS prefix; AAA */
	MB, MO, MB, MO, IB, IZ, SG, N6, /* 38: CMP; DS prefix; AAS */
	RX, RX, RX, RX, RX, RX, RX, RX, /* 40: INC; REX */
	RX, RX, RX, RX, RX, RX, RX, RX, /* 48: DEC; REX */
	NS, NS, NS, NS, NS, NS, NS, NS, /* 50: PUSH */
	NS, NS, NS, NS, NS, NS, NS, NS, /* 58: POP */
	N6, N6, EV, MO, SG, SG, OS, AS, /* 60: PUSHA, POPA, BOUND or EVEX, ARPL or MOVSXD; FS, GS, 66, 67 prefixes */
	PZ, MZ, PB, M8, NB, NO, NB, NO, /* 68: PUSH, IMUL, PUSH, IMUL, INS, OUTS */
	JB, JB, JB, JB, JB, JB, JB, JB, /* 70: Jcc */
	JB, JB, JB, JB, JB, JB, JB, JB, /* 78: Jcc */
	BB, MZ, B6, M8, MB, MO, MB, MO, /* 80: group 1, TEST, XCHG */
	MB, MO, MB, MO, MO, MO, MO, XO, /* 88: MOV, MOV from Sreg, LEA, MOV to Sreg, POP or XOP */
	NO, NO, NO, NO, NO, NO, NO, NO, /* 90: NOP, XCHG */
	NO, NO, FP, NO, NS, NS, NO, NO, /* 98: CBW, CWD, CALL far, WAIT, PUSHF, POPF, SAHF, LAHF */
	OB, OV, OB, OV, NB, NO, NB, NO, /* a0: MOV moffs, MOVS, CMPS */
	IB, IZ, NB, NO, NB, NO, NB, NO, /* a8: TEST, STOS, LODS, SCAS */
	IB, IB, IB, IB, IB, IB, IB, IB, /* b0: MOV */
	IV, IV, IV, IV, IV, IV, IV, IV, /* b8: MOV */
	BB, M8, JW, NQ, V3, V2, BB, MZ, /* c0: group 2, RET, LES or VEX, LDS or VEX, group 11 (MOV) */
	EN, NS, IW, NO, NO, I8, N6, NO, /* c8: ENTER, LEAVE, RET far, INT3, INT, INTO, IRET */
	MB, MO, MB, MO, I6, I6, N6, NB, /* d0: group 2, AAM, AAD, SALC, XLAT */
	MO, MO, MO, MO, MO, MO, MO, MO, /* d8: x87 */
	JB, JB, JB, JB, IB, I8, IB, I8, /* e0: LOOPcc, JCXZ, IN, OUT */
	JZ, JZ, FP, JB, NB, NO, NB, NO, /* e8: CALL, JMP, JMP far, JMP, IN, OUT */
	LK, NO, RN, RP, NO, NO, B3, G3, /* f0: LOCK, INT1, REPNE, REP, HLT, CMC, group 3 */
	NO, NO, NO, NO, NO, NO, MB, G5, /* f8: CLC, STC, CLI, STI, CLD, STD, groups 4, 5 */
};

const u16 insn_attributes_0f[256] = {
	MO, MO, MO, MO, IN, NO, NO, NO, /* 00: groups 6, 7, LAR, LSL, -, SYSCALL, CLTS, SYSRET */
	NO, NO, IN, NO, IN, MO, NO, M8, /* 08: INVD, WBINVD, -, UD2, -, PREFETCH, FEMMS, 3DNow! */
	MO, MO, MO, MO, MO, MO, MO, MO, /* 10: SSE moves */
	MO, MO, MO, MO, MO, MO, MO, MO, /* 18: PREFETCH, reserved NOPs, NOP */
	MR, MR, MR, MR, IN, IN, IN, IN, /* 20: MOV CR, DR */
	MO, MO, MO, MO, MO, MO, MO, MO, /* 28: SSE moves, conversions, compares */
	NO, NO, NO, NO, NO, NO, IN, NO, /* 30: WRMSR, RDTSC, RDMSR, RDPMC, SYSENTER, SYSEXIT, -, GETSEC */
	IN, IN, IN, IN, IN, IN, IN, IN, /* 38: 38 and 3A are escapes */
	MO, MO, MO, MO, MO, MO, MO, MO, /* 40: CMOVcc */
	MO, MO, MO, MO, MO, MO, MO, MO, /* 48: CMOVcc */
	MO, MO, MO, MO, MO, MO, MO, MO, /* 50: SSE */
	MO, MO, MO, MO, MO, MO, MO, MO, /* 58: SSE */
	MO, MO, MO, MO, MO, MO, MO, MO, /* 60: MMX */
	MO, MO, MO, MO, MO, MO, MO, MO, /* 68: MMX */
	M8, M8, M8, M8, MO, MO, MO, NO, /* 70: PSHUF, groups 12-14, PCMPEQ, EMMS */
	XQ, MQ, IN, IN, MO, MO, MO, MO, /* 78: VMREAD or EXTRQ, VMWRITE, -, HADD, HSUB, MOVD, MOVDQA */
	JZ, JZ, JZ, JZ, JZ, JZ, JZ, JZ, /* 80: Jcc */
	JZ, JZ, JZ, JZ, JZ, JZ, JZ, JZ, /* 88: Jcc */
	MB, MB, MB, MB, MB, MB, MB, MB, /* 90: SETcc */
	MB, MB, MB, MB, MB, MB, MB, MB, /* 98: SETcc */
	NS, NS, NO, MO, M8, MO, MO, MO, /* a0: PUSH, POP FS, CPUID, BT, SHLD, PadLock */
	NS, NS, NO, MO, M8, MO, MO, MO, /* a8: PUSH, POP GS, RSM, BTS, SHRD, group 15, IMUL */
	MB, MO, MO, MO, MO, MO, MO, MO, /* b0: CMPXCHG, LSS, BTR, LFS, LGS, MOVZX */
	MO, MO, M8, MO, MO, MO, MO, MO, /* b8: POPCNT, UD1, group 8, BTC, BSF, BSR, MOVSX */
	MB, MO, M8, MO, M8, M8, M8, MO, /* c0: XADD, CMPPS, MOVNTI, PINSRW, PEXTRW, SHUFPS, group 9 */
	NO, NO, NO, NO, NO, NO, NO, NO, /* c8: BSWAP */
	MO, MO, MO, MO, MO, MO, MO, MO, /* d0: MMX */
	MO, MO, MO, MO, MO, MO, MO, MO, /* d8: MMX */
	MO, MO, MO, MO, MO, MO, MO, MO, /* e0: MMX */
	MO, MO, MO, MO, MO, MO, MO, MO, /* e8: MMX */
	MO, MO, MO, MO, MO, MO, MO, MO, /* f0: MMX */
	MO, MO, MO, MO, MO, MO, MO, MO, /* f8: MMX; UD0 */
};
