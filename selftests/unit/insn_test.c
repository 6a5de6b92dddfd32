// SPDX-License-Identifier: GPL-2.0
/*
 * The instruction decoder and executor, by tables: what an instruction is, what it does to registers and memory in each
 * mode, what stops it. (That its arithmetic is the CPU's is insn_native_test's matter.)
 */
#include <stdio.h>
#include <string.h>

#include "../../module/insn/insn.h"

#define CODE(string) .code = (const u8 *)(string), .len = sizeof(string) - 1

static unsigned int tests;
static bool failed;

static void ok(bool good, const char *name)
{
	printf("%sok %u %s\n", good ? "" : "not ", ++tests, name);
	failed |= !good;
}

/* -- decoding ---------------------------------------------------------------------------------------------------- */

struct decode_case {
	const char *name;
	const u8 *code;
	size_t len;
	enum insn_mode mode;
	int err;
	u8 length; /* 0: all of the code */
	u8 map;
	u8 opcode;
	u8 reg, rm; /* checked if registers */
	bool registers;
};

/* What AMD's CPUs intercept without saying how long it is, and the corners of the encoding. */
static const struct decode_case decode_cases[] = {
	{ "CPUID", CODE("\x0f\xa2"), INSN_MODE_64, .map = INSN_MAP_0F, .opcode = 0xa2 },
	{ "RDMSR", CODE("\x0f\x32"), INSN_MODE_64, .map = INSN_MAP_0F, .opcode = 0x32 },
	{ "WRMSR", CODE("\x0f\x30"), INSN_MODE_32, .map = INSN_MAP_0F, .opcode = 0x30 },
	{ "WRMSR with idle prefixes", CODE("\x48\x66\x2e\x0f\x30"), INSN_MODE_64, .map = INSN_MAP_0F, .opcode = 0x30 },
	{ "RDTSC", CODE("\x0f\x31"), INSN_MODE_16, .map = INSN_MAP_0F, .opcode = 0x31 },
	{ "RDTSCP", CODE("\x0f\x01\xf9"), INSN_MODE_64, .map = INSN_MAP_0F, .opcode = 0x01 },
	{ "RDPMC", CODE("\x0f\x33"), INSN_MODE_64, .map = INSN_MAP_0F, .opcode = 0x33 },
	{ "HLT", CODE("\xf4"), INSN_MODE_64, .opcode = 0xf4 },
	{ "VMRUN", CODE("\x0f\x01\xd8"), INSN_MODE_64, .map = INSN_MAP_0F, .opcode = 0x01 },
	{ "VMMCALL", CODE("\x0f\x01\xd9"), INSN_MODE_64, .map = INSN_MAP_0F, .opcode = 0x01 },
	{ "VMCALL", CODE("\x0f\x01\xc1"), INSN_MODE_64, .map = INSN_MAP_0F, .opcode = 0x01 },
	{ "MONITOR", CODE("\x0f\x01\xc8"), INSN_MODE_64, .map = INSN_MAP_0F, .opcode = 0x01 },
	{ "MWAIT", CODE("\x0f\x01\xc9"), INSN_MODE_64, .map = INSN_MAP_0F, .opcode = 0x01 },
	{ "XSETBV", CODE("\x0f\x01\xd1"), INSN_MODE_64, .map = INSN_MAP_0F, .opcode = 0x01 },
	{ "INVD", CODE("\x0f\x08"), INSN_MODE_64, .map = INSN_MAP_0F, .opcode = 0x08 },
	{ "WBINVD", CODE("\x0f\x09"), INSN_MODE_64, .map = INSN_MAP_0F, .opcode = 0x09 },
	{ "WBNOINVD", CODE("\xf3\x0f\x09"), INSN_MODE_64, .map = INSN_MAP_0F, .opcode = 0x09 },
	{ "CLTS", CODE("\x0f\x06"), INSN_MODE_64, .map = INSN_MAP_0F, .opcode = 0x06 },
	{ "SMSW AX", CODE("\x66\x0f\x01\xe0"), INSN_MODE_64, .map = INSN_MAP_0F, .opcode = 0x01 },
	{ "LMSW [BP+2]", CODE("\x0f\x01\x76\x02"), INSN_MODE_16, .map = INSN_MAP_0F, .opcode = 0x01 },
	{ "INVLPG [RSI*8+disp32]", CODE("\x0f\x01\x3c\xf5\x01\x02\x03\x04"), INSN_MODE_64, .map = INSN_MAP_0F,
	  .opcode = 0x01 },
	{ "INVLPGA", CODE("\x0f\x01\xdf"), INSN_MODE_64, .map = INSN_MAP_0F, .opcode = 0x01 },
	{ "PAUSE", CODE("\xf3\x90"), INSN_MODE_64, .opcode = 0x90 },
	{ "INT3", CODE("\xcc"), INSN_MODE_64, .opcode = 0xcc },
	{ "INT 0x80", CODE("\xcd\x80"), INSN_MODE_64, .opcode = 0xcd },
	{ "INTO", CODE("\xce"), INSN_MODE_32, .opcode = 0xce },
	{ "INTO in 64-bit mode", CODE("\xce"), INSN_MODE_64, .err = -EINVAL },
	{ "ICEBP", CODE("\xf1"), INSN_MODE_64, .opcode = 0xf1 },
	{ "IN AL, imm8", CODE("\xe4\x60"), INSN_MODE_16, .opcode = 0xe4 },
	{ "OUT DX, EAX", CODE("\x66\xef"), INSN_MODE_16, .opcode = 0xef },
	{ "RSM", CODE("\x0f\xaa"), INSN_MODE_32, .map = INSN_MAP_0F, .opcode = 0xaa },
	{ "MOV CR0, RAX", CODE("\x0f\x22\xc0"), INSN_MODE_64, .map = INSN_MAP_0F, .opcode = 0x22, .registers = true },
	{ "MOV R9, CR3", CODE("\x41\x0f\x20\xd9"), INSN_MODE_64, .map = INSN_MAP_0F, .opcode = 0x20, .registers = true,
	  .reg = 3, .rm = REG_R9 },
	{ "MOV CR8, RDX", CODE("\x44\x0f\x22\xc2"), INSN_MODE_64, .map = INSN_MAP_0F, .opcode = 0x22, .registers = true,
	  .reg = 8, .rm = REG_RDX },
	{ "LOCK MOV EAX, CR0", CODE("\xf0\x0f\x20\xc0"), INSN_MODE_32, .map = INSN_MAP_0F, .opcode = 0x20,
	  .registers = true },
	{ "MOV CR4, RSP with mod 0", CODE("\x0f\x22\x24"), INSN_MODE_64, .map = INSN_MAP_0F, .opcode = 0x22,
	  .registers = true, .reg = 4, .rm = REG_RSP },
	{ "MOV ECX, DR7 with mod 2", CODE("\x0f\x21\xb9"), INSN_MODE_32, .map = INSN_MAP_0F, .opcode = 0x21,
	  .registers = true, .reg = 7, .rm = REG_RCX },
	{ "MOV RAX, imm64", CODE("\x48\xb8\1\2\3\4\5\6\7\x8"), INSN_MODE_64, .opcode = 0xb8 },
	{ "CALL far 32-bit", CODE("\x9a\1\2\3\4\5\6"), INSN_MODE_32, .opcode = 0x9a },
	{ "CALL far 16-bit", CODE("\x9a\1\2\3\4"), INSN_MODE_16, .opcode = 0x9a },
	{ "ENTER", CODE("\xc8\1\2\3"), INSN_MODE_64, .opcode = 0xc8 },
	{ "TEST [RAX], imm32", CODE("\xf7\x00\1\2\3\4"), INSN_MODE_64, .opcode = 0xf7 },
	{ "NOT [RAX]", CODE("\xf7\x10"), INSN_MODE_64, .opcode = 0xf7 },
	{ "REX that another prefix follows", CODE("\x48\x66\xb8\1\2"), INSN_MODE_64, .opcode = 0xb8 },
	{ "VMOVUPS", CODE("\xc5\xfc\x11\x44\x24\x10"), INSN_MODE_64, .map = INSN_MAP_0F, .opcode = 0x11 },
	{ "VPALIGNR", CODE("\xc4\xe3\x79\x0f\xc1\x08"), INSN_MODE_32, .map = INSN_MAP_0F3A, .opcode = 0x0f },
	{ "VMOVDQU64", CODE("\x62\xf1\xfe\x48\x7f\x40\x01"), INSN_MODE_64, .map = INSN_MAP_0F, .opcode = 0x7f },
	{ "LDS", CODE("\xc5\x06\1\2"), INSN_MODE_16, .opcode = 0xc5 },
	{ "XOP BEXTR imm32", CODE("\x8f\xea\x78\x10\xc1\1\2\3\4"), INSN_MODE_64, .map = INSN_MAP_XOPA, .opcode = 0x10 },
	{ "3DNow! PFADD", CODE("\x0f\x0f\xc1\x9e"), INSN_MODE_32, .map = INSN_MAP_0F, .opcode = 0x0f },
	{ "VEX behind LOCK", CODE("\xf0\xc5\xfc\x11\xc0"), INSN_MODE_64, .err = -EINVAL },
	{ "nothing", CODE(""), INSN_MODE_64, .err = -EAGAIN },
	{ "prefixes alone", CODE("\x66\x67\x48"), INSN_MODE_64, .err = -EAGAIN },
	{ "half a displacement", CODE("\x8b\x80\1\2"), INSN_MODE_32, .err = -EAGAIN },
	{ "half a VEX", CODE("\xc4\xe2"), INSN_MODE_64, .err = -EAGAIN },
	{ "15 bytes", CODE("\x2e\x2e\x2e\x2e\x2e\x2e\x2e\x2e\x2e\x2e\x2e\x2e\x2e\x89\x01"), INSN_MODE_64,
	  .opcode = 0x89 },
	{ "16 bytes", CODE("\x2e\x2e\x2e\x2e\x2e\x2e\x2e\x2e\x2e\x2e\x2e\x2e\x2e\x2e\x89\x01"), INSN_MODE_64,
	  .err = -E2BIG },
	{ "endless prefixes", CODE("fffffffffffffff"), INSN_MODE_64, .err = -E2BIG },
};

static bool decodes(const struct decode_case *c)
{
	struct insn insn;
	int err = insn_decode(&insn, c->code, c->len, c->mode);

	if (err || c->err)
		return err == c->err;
	if (insn.length != c->len || insn.map != c->map || insn.opcode != c->opcode)
		return false;
	return !c->registers || (insn.mod == 3 && !insn.memory && insn.reg == c->reg && insn.rm == c->rm);
}

struct string_io_case {
	const char *name;
	const u8 *code;
	size_t len;
	enum insn_mode mode;
	bool is;
	struct insn_string_io io;
};

static const struct string_io_case string_io_cases[] = {
	{ "INSB", CODE("\x6c"), INSN_MODE_64, true, { true, false, SEG_ES, 1, 8 } },
	{ "REP INSW", CODE("\xf3\x66\x6d"), INSN_MODE_32, true, { true, true, SEG_ES, 2, 4 } },
	{ "INSD does not heed an override", CODE("\x64\x6d"), INSN_MODE_64, true, { true, false, SEG_ES, 4, 8 } },
	{ "INS with REX.W", CODE("\x48\x6d"), INSN_MODE_64, true, { true, false, SEG_ES, 4, 8 } },
	{ "REP OUTSB", CODE("\xf3\x6e"), INSN_MODE_16, true, { false, true, SEG_DS, 1, 2 } },
	{ "REPNE OUTSD GS:", CODE("\xf2\x65\x67\x6f"), INSN_MODE_64, true, { false, true, SEG_GS, 4, 4 } },
	{ "OUTSW CS:", CODE("\x2e\x6f"), INSN_MODE_16, true, { false, false, SEG_CS, 2, 2 } },
	{ "MOVSB is none", CODE("\xa4"), INSN_MODE_64, false, {} },
	{ "0F 6F is none", CODE("\x0f\x6f\xc0"), INSN_MODE_64, false, {} },
};

static bool describes(const struct string_io_case *c)
{
	struct insn_string_io io;
	struct insn insn;

	if (insn_decode(&insn, c->code, c->len, c->mode))
		return false;
	if (!insn_string_io(&insn, &io))
		return !c->is;
	return c->is && io.in == c->io.in && io.rep == c->io.rep && io.segment == c->io.segment &&
	       io.operand_size == c->io.operand_size && io.address_size == c->io.address_size;
}

/* -- executing --------------------------------------------------------------------------------------------------- */

enum world { REAL, VM86, PROT16, PROT32, LONG };

#define RIP 0x7ff0
#define BASE 0x10000 /* of every segment in the worlds of 16 bits; the others are flat */

struct access {
	u64 linear;
	u8 size;
	u64 value, high;
};

struct reg {
	u8 reg;
	u64 value;
};

/* A row: what the instruction finds, the accesses it must make, what it leaves. What is not named stays as it is. */
struct execute_case {
	const char *name;
	enum world world;
	const u8 *code;
	size_t len;
	struct reg in[5], out[4];
	u64 rflags, rflags_out; /* out of the arithmetic flags */
	struct access reads[2], write;
	bool rmw;
	enum insn_result result;
	int vector, error;    /* error -1: none */
	enum segment segment; /* this segment is replaced, if the limit is not 0 */
	struct kvm_segment descriptor;
	bool alignment_check;
};

#define FLAGS RFLAGS_ARITH
#define ZP (RFLAGS_ZF | RFLAGS_PF)

/* clang-format off */
static const struct execute_case execute_cases[] = {
	/* Data transfer */
	{ "MOV [R9], EAX", LONG, CODE("\x41\x89\x01"), { { REG_R9, 0xfee000b0 }, { REG_RAX, 0x1122334455667788 } },
	  .write = { 0xfee000b0, 4, 0x55667788 } },
	{ "MOV [BX+SI+4], AX", REAL, CODE("\x89\x40\x04"),
	  { { REG_RBX, 0xff00 }, { REG_RSI, 0x0ff0 }, { REG_RAX, 0x1234 } }, .write = { BASE + 0xef4, 2, 0x1234 } },
	{ "MOV [BP+DI], AL uses SS", PROT16, CODE("\x88\x03"),
	  { { REG_RBP, 0x100 }, { REG_RDI, 1 }, { REG_RAX, 0x1234 } }, .write = { 0x5101, 1, 0x34 }, .segment = SEG_SS,
	  .descriptor = { .base = 0x5000, .limit = 0xffff, .type = 3 } },
	{ "MOV DS:[BP], AL", PROT16, CODE("\x3e\x88\x46\x00"), { { REG_RBP, 0x100 }, { REG_RAX, 0x1234 } },
	  .write = { BASE + 0x100, 1, 0x34 } },
	{ "MOV [disp16], EAX", REAL, CODE("\x66\x89\x06\x34\x12"), { { REG_RAX, 0xcafe0001 } },
	  .write = { BASE + 0x1234, 4, 0xcafe0001 } },
	{ "MOV AH, [EBX+ECX*4-1]", PROT32, CODE("\x8a\x64\x8b\xff"),
	  { { REG_RBX, 0x1000 }, { REG_RCX, 2 }, { REG_RAX, 0xffffffff } }, { { REG_RAX, 0xffff5aff } },
	  .reads = { { 0x1007, 1, 0x5a } } },
	{ "MOV SPL, [RIP+0x10]", LONG, CODE("\x40\x8a\x25\x10\0\0\0"), { { REG_RSP, 0x1100 } }, { { REG_RSP, 0x115a } },
	  .reads = { { RIP + 7 + 0x10, 1, 0x5a } } },
	{ "MOV EAX, [EIP+disp32] wraps at 32 bits", LONG, CODE("\x67\x8b\x05\x00\x00\x00\x80"), { { REG_RAX, ~0ull } },
	  { { REG_RAX, 0x5a } }, .reads = { { 0x80007ff7, 4, 0x5a } } },
	{ "MOV EAX, [ECX+ECX] wraps at 32 bits", PROT32, CODE("\x8b\x04\x09"), { { REG_RCX, 0xc0000000 } },
	  { { REG_RAX, 7 } }, .reads = { { 0x80000000, 4, 7 } } },
	{ "MOV EAX, FS:[RCX]", LONG, CODE("\x64\x8b\x01"), { { REG_RCX, 0x10 } }, { { REG_RAX, 7 } },
	  .reads = { { 0xffff888000000010, 4, 7 } }, .segment = SEG_FS,
	  .descriptor = { .base = 0xffff888000000000, .limit = 1, .type = 3 } },
	{ "MOV EAX, CS:[RCX] has no base in 64-bit mode", LONG, CODE("\x2e\x8b\x01"), { { REG_RCX, 0x10 } },
	  { { REG_RAX, 7 } }, .reads = { { 0x10, 4, 7 } }, .segment = SEG_CS,
	  .descriptor = { .base = 0x1000, .limit = 1, .type = 11 } },
	{ "MOV AL, moffs64", LONG, CODE("\xa0\x08\x07\x06\x05\x04\x03\x02\x01"), { { REG_RAX, 0x1100 } },
	  .result = INSN_EXCEPTION, .vector = VECTOR_GP },
	{ "MOV RAX, moffs64", LONG, CODE("\x48\xa1\xf8\xff\xff\xff\xff\x7f\0\0"), .out = { { REG_RAX, 99 } },
	  .reads = { { 0x7ffffffffff8, 8, 99 } } },
	{ "MOV moffs16, AX", REAL, CODE("\xa3\xfe\xff"), { { REG_RAX, 0x77 } }, .write = { BASE + 0xfffe, 2, 0x77 } },
	{ "MOV moffs32, EAX is not sign-extended", LONG, CODE("\x67\xa3\0\0\xe0\xfe"), { { REG_RAX, 3 } },
	  .write = { 0xfee00000, 4, 3 } },
	{ "MOV [RDI], imm32 is sign-extended", LONG, CODE("\x48\xc7\x07\xfe\xff\xff\xff"), { { REG_RDI, 0x40 } },
	  .write = { 0x40, 8, ~1ull } },
	{ "MOV [DI], imm16", VM86, CODE("\xc7\x05\x34\x12"), { { REG_RDI, 0x40 } },
	  .write = { BASE + 0x40, 2, 0x1234 } },
	{ "XBEGIN", LONG, CODE("\xc7\xf8\0\0\0\0"), .result = INSN_UNHANDLED },
	{ "MOV [EDI], GS", PROT32, CODE("\x8c\x2f"), { { REG_RDI, 0x40 } }, .write = { 0x40, 2, 0x28 } },
	{ "MOV [EDI], Sreg 6", PROT32, CODE("\x8c\x37"), { { REG_RDI, 0x40 } }, .result = INSN_EXCEPTION,
	  .vector = VECTOR_UD, .error = -1 },
	{ "MOV DS, [EDI]", PROT32, CODE("\x8e\x1f"), { { REG_RDI, 0x40 } }, .result = INSN_UNHANDLED },
	{ "MOVZX EAX, word [ESI]", PROT32, CODE("\x0f\xb7\x06"), { { REG_RSI, 8 } }, { { REG_RAX, 0xfedc } },
	  .reads = { { 8, 2, 0xfedc } } },
	{ "MOVSX RAX, byte [RSI]", LONG, CODE("\x48\x0f\xbe\x06"), { { REG_RSI, 8 } }, { { REG_RAX, ~1ull } },
	  .reads = { { 8, 1, 0xfe } } },
	{ "MOVSXD RAX, [RSI]", LONG, CODE("\x48\x63\x06"), { { REG_RSI, 8 } }, { { REG_RAX, ~0x7fffffffull } },
	  .reads = { { 8, 4, 0x80000000 } } },
	{ "MOVSXD AX, [RSI] reads two bytes", LONG, CODE("\x66\x63\x06"), .out = { { REG_RAX, 0x8000 } },
	  .reads = { { 0, 2, 0x8000 } } },
	{ "ARPL", PROT32, CODE("\x63\x06"), { { REG_RSI, 8 } }, .result = INSN_UNHANDLED },
	{ "MOVBE EAX, [ESI]", PROT32, CODE("\x0f\x38\xf0\x06"), { { REG_RSI, 8 } }, { { REG_RAX, 0x44332211 } },
	  .reads = { { 8, 4, 0x11223344 } } },
	{ "CRC32 EAX, byte [ESI]", PROT32, CODE("\xf2\x0f\x38\xf0\x06"), .result = INSN_UNHANDLED },
	{ "MOVNTI [RSI], RAX", LONG, CODE("\x48\x0f\xc3\x06"), { { REG_RSI, 8 }, { REG_RAX, ~5ull } },
	  .write = { 8, 8, ~5ull } },
	{ "XCHG [ESI], CL", PROT32, CODE("\x86\x0e"), { { REG_RSI, 8 }, { REG_RCX, 0x1234 } }, { { REG_RCX, 0x12aa } },
	  .reads = { { 8, 1, 0xaa } }, .write = { 8, 1, 0x34 }, .rmw = true },
	{ "CMOVZ EAX, [RSI], false", LONG, CODE("\x0f\x44\x06"), { { REG_RAX, ~0ull } }, { { REG_RAX, 0xffffffff } },
	  .reads = { { 0, 4, 5 } } },
	{ "CMOVNZ AX, [SI], true", REAL, CODE("\x0f\x45\x04"), { { REG_RAX, 0x10001 } }, { { REG_RAX, 0x10005 } },
	  .reads = { { BASE, 2, 5 } } },
	{ "SETB [RAX]", LONG, CODE("\x0f\x92\x00"), .rflags = RFLAGS_CF, .rflags_out = RFLAGS_CF,
	  .write = { 0, 1, 1 } },

	/* Arithmetic and bits */
	{ "ADD [EBX], EAX", PROT32, CODE("\x01\x03"), { { REG_RAX, 1 } }, .rflags_out = ZP | RFLAGS_CF | RFLAGS_AF,
	  .reads = { { 0, 4, 0xffffffff } }, .write = { 0, 4, 0 }, .rmw = true },
	{ "LOCK OR [EBX], imm8", PROT32, CODE("\xf0\x83\x0b\x80"), .rflags_out = RFLAGS_SF | RFLAGS_PF,
	  .reads = { { 0, 4, 1 } }, .write = { 0, 4, 0xffffff81 }, .rmw = true },
	{ "LOCK CMP [EBX], EAX", PROT32, CODE("\xf0\x39\x03"), .result = INSN_EXCEPTION, .vector = VECTOR_UD,
	  .error = -1 },
	{ "LOCK CMP [EBX], imm8", PROT32, CODE("\xf0\x83\x3b\x01"), .result = INSN_EXCEPTION, .vector = VECTOR_UD,
	  .error = -1 },
	{ "LOCK MOV [EBX], EAX", PROT32, CODE("\xf0\x89\x03"), .result = INSN_EXCEPTION, .vector = VECTOR_UD,
	  .error = -1 },
	{ "LOCK ADD EAX, [EBX]", PROT32, CODE("\xf0\x03\x03"), .result = INSN_EXCEPTION, .vector = VECTOR_UD,
	  .error = -1 },
	{ "LOCK INC EAX", PROT32, CODE("\xf0\xff\xc0"), .result = INSN_EXCEPTION, .vector = VECTOR_UD, .error = -1 },
	{ "LOCK BT [EBX], 3", PROT32, CODE("\xf0\x0f\xba\x23\x03"), .result = INSN_EXCEPTION, .vector = VECTOR_UD,
	  .error = -1 },
	{ "LOCK BTS [EBX], 3", PROT32, CODE("\xf0\x0f\xba\x2b\x03"), .reads = { { 0, 4, 0 } }, .write = { 0, 4, 8 },
	  .rmw = true },
	{ "SBB AX, [BX]", REAL, CODE("\x1b\x07"), { { REG_RAX, 0x10000 } }, { { REG_RAX, 0x1ffff } },
	  .rflags = RFLAGS_CF, .rflags_out = RFLAGS_CF | RFLAGS_SF | RFLAGS_PF | RFLAGS_AF,
	  .reads = { { BASE, 2, 0 } } },
	{ "TEST [EBX], imm", PROT32, CODE("\xf7\x03\x00\x00\x00\x80"), .rflags_out = RFLAGS_SF | RFLAGS_PF,
	  .reads = { { 0, 4, 0xf0000000 } } },
	{ "CMP [EBX], imm8 does not write", PROT32, CODE("\x80\x3b\x05"), .rflags_out = ZP, .reads = { { 0, 1, 5 } } },
	{ "INC [EBX] keeps CF", PROT32, CODE("\xff\x03"), .rflags = RFLAGS_CF,
	  .rflags_out = RFLAGS_CF | RFLAGS_OF | RFLAGS_SF | RFLAGS_AF | RFLAGS_PF, .reads = { { 0, 4, 0x7fffffff } },
	  .write = { 0, 4, 0x80000000 }, .rmw = true },
	{ "NEG byte [EBX]", PROT32, CODE("\xf6\x1b"), .rflags_out = RFLAGS_CF | RFLAGS_SF | RFLAGS_PF | RFLAGS_AF,
	  .reads = { { 0, 1, 1 } }, .write = { 0, 1, 0xff }, .rmw = true },
	{ "NOT [EBX] keeps flags", PROT32, CODE("\xf7\x13"), .rflags = FLAGS, .rflags_out = FLAGS,
	  .reads = { { 0, 4, 0xff } }, .write = { 0, 4, 0xffffff00 }, .rmw = true },
	{ "MUL [EBX]", PROT32, CODE("\xf7\x23"), .result = INSN_UNHANDLED },
	{ "SHL [EBX], CL", PROT32, CODE("\xd3\x23"), { { REG_RCX, 0x21 } },
	  .rflags_out = RFLAGS_CF | RFLAGS_OF | RFLAGS_PF, .reads = { { 0, 4, 0x80000003 } }, .write = { 0, 4, 6 },
	  .rmw = true },
	{ "SHL by 32 is by none", PROT32, CODE("\xc1\x23\x20"), .rflags = FLAGS, .rflags_out = FLAGS,
	  .reads = { { 0, 4, 5 } }, .write = { 0, 4, 5 }, .rmw = true },
	{ "BTS word [BX], AX reaches back", REAL, CODE("\x0f\xab\x07"), { { REG_RBX, 0x100 }, { REG_RAX, 0xffff } },
	  .reads = { { BASE + 0xfe, 2, 1 } }, .write = { BASE + 0xfe, 2, 0x8001 }, .rmw = true },
	{ "BT [RBX], RAX reaches far", LONG, CODE("\x48\x0f\xa3\x03"), { { REG_RAX, 0x100000041 } },
	  .rflags_out = RFLAGS_CF, .reads = { { 0x20000008, 8, 2 } } },
	{ "BTC [EBX], imm8 stays", PROT32, CODE("\x0f\xba\x3b\x21"), .rflags_out = RFLAGS_CF, .reads = { { 0, 4, 3 } },
	  .write = { 0, 4, 1 }, .rmw = true },
	{ "XADD [EBX], EAX", PROT32, CODE("\x0f\xc1\x03"), { { REG_RAX, 2 } }, { { REG_RAX, 5 } }, .rflags_out = 0,
	  .reads = { { 0, 4, 5 } }, .write = { 0, 4, 7 }, .rmw = true },
	{ "CMPXCHG [EBX], ECX, equal", PROT32, CODE("\x0f\xb1\x0b"), { { REG_RAX, 2 }, { REG_RCX, 9 } },
	  .rflags_out = ZP, .reads = { { 0, 4, 2 } }, .write = { 0, 4, 9 }, .rmw = true },
	{ "CMPXCHG [EBX], ECX, different, writes all the same", PROT32, CODE("\xf0\x0f\xb1\x0b"),
	  { { REG_RAX, 2 }, { REG_RCX, 9 } }, { { REG_RAX, 1 } }, .reads = { { 0, 4, 1 } }, .write = { 0, 4, 1 },
	  .rmw = true },
	{ "CMPXCHG8B, equal", PROT32, CODE("\x0f\xc7\x0f"),
	  { { REG_RAX, 1 }, { REG_RDX, 2 }, { REG_RBX, 3 }, { REG_RCX, 4 } }, .rflags = RFLAGS_CF,
	  .rflags_out = RFLAGS_CF | RFLAGS_ZF, .reads = { { 0, 8, 0x200000001 } }, .write = { 0, 8, 0x400000003 },
	  .rmw = true },
	{ "CMPXCHG16B, different", LONG, CODE("\x48\x0f\xc7\x0f"), { { REG_RBX, 3 } },
	  { { REG_RAX, 5 }, { REG_RDX, 6 } }, .rflags = RFLAGS_ZF, .reads = { { 0, 16, 5, 6 } },
	  .write = { 0, 16, 5, 6 }, .rmw = true },
	{ "CMPXCHG16B misaligned", LONG, CODE("\x48\x0f\xc7\x0f"), { { REG_RDI, 8 } }, .result = INSN_EXCEPTION,
	  .vector = VECTOR_GP },

	/* Strings */
	{ "MOVSB", PROT32, CODE("\xa4"), { { REG_RSI, 0x10 }, { REG_RDI, 0x20 } },
	  { { REG_RSI, 0x11 }, { REG_RDI, 0x21 } }, .reads = { { 0x10, 1, 7 } }, .write = { 0x20, 1, 7 } },
	{ "MOVSD downwards", LONG, CODE("\xa5"), { { REG_RSI, 0x10 }, { REG_RDI, 0x20 } },
	  { { REG_RSI, 0x0c }, { REG_RDI, 0x1c } }, .rflags = RFLAGS_DF, .rflags_out = RFLAGS_DF,
	  .reads = { { 0x10, 4, 7 } }, .write = { 0x20, 4, 7 } },
	{ "REP MOVSW goes on", REAL, CODE("\xf3\xa5"),
	  { { REG_RSI, 0xffff0010 }, { REG_RDI, 0xfffe }, { REG_RCX, 0xabc0002 } },
	  { { REG_RSI, 0xffff0012 }, { REG_RDI, 0 }, { REG_RCX, 0xabc0001 } }, .reads = { { BASE + 0x10, 2, 7 } },
	  .write = { BASE + 0xfffe, 2, 7 }, .result = INSN_AGAIN },
	{ "REP MOVSQ, last iteration", LONG, CODE("\xf3\x48\xa5"),
	  { { REG_RSI, 0x10 }, { REG_RDI, 0x20 }, { REG_RCX, 1 } },
	  { { REG_RSI, 0x18 }, { REG_RDI, 0x28 }, { REG_RCX, 0 } }, .reads = { { 0x10, 8, 7 } },
	  .write = { 0x20, 8, 7 } },
	{ "REP MOVSB of nothing", LONG, CODE("\x67\xf3\xa4"), { { REG_RCX, 0xffffffff00000000 } } },
	{ "MOVSB from FS", PROT32, CODE("\x64\xa4"), { { REG_RSI, 0x10 } }, { { REG_RSI, 0x11 }, { REG_RDI, 1 } },
	  .reads = { { 0x8010, 1, 7 } }, .write = { 0, 1, 7 }, .segment = SEG_FS,
	  .descriptor = { .base = 0x8000, .limit = 0xff, .type = 1 } },
	{ "MOVSB to a read-only ES", PROT32, CODE("\xa4"), .reads = { { 0, 1, 7 } }, .result = INSN_EXCEPTION,
	  .vector = VECTOR_GP, .segment = SEG_ES, .descriptor = { .limit = 0xff, .type = 1 } },
	{ "REP STOSD goes on", PROT32, CODE("\xf3\xab"), { { REG_RDI, 0x20 }, { REG_RAX, 5 }, { REG_RCX, 3 } },
	  { { REG_RDI, 0x24 }, { REG_RCX, 2 } }, .write = { 0x20, 4, 5 }, .result = INSN_AGAIN },
	{ "LODSB", PROT32, CODE("\xac"), { { REG_RAX, 0x1111 } }, { { REG_RAX, 0x1105 }, { REG_RSI, 1 } },
	  .reads = { { 0, 1, 5 } } },
	{ "CMPSB", PROT32, CODE("\xa6"), { { REG_RDI, 0x20 } }, { { REG_RSI, 1 }, { REG_RDI, 0x21 } },
	  .rflags_out = RFLAGS_CF | RFLAGS_AF | RFLAGS_SF | RFLAGS_PF, .reads = { { 0, 1, 1 }, { 0x20, 1, 2 } } },
	{ "REPE CMPSB goes on while equal", PROT32, CODE("\xf3\xa6"), { { REG_RDI, 0x20 }, { REG_RCX, 9 } },
	  { { REG_RSI, 1 }, { REG_RDI, 0x21 }, { REG_RCX, 8 } }, .rflags_out = ZP,
	  .reads = { { 0, 1, 2 }, { 0x20, 1, 2 } }, .result = INSN_AGAIN },
	{ "REPE CMPSB stops at a difference", PROT32, CODE("\xf3\xa6"), { { REG_RDI, 0x20 }, { REG_RCX, 9 } },
	  { { REG_RSI, 1 }, { REG_RDI, 0x21 }, { REG_RCX, 8 } }, .rflags_out = 0,
	  .reads = { { 0, 1, 3 }, { 0x20, 1, 2 } } },
	{ "REPNE SCASB stops at a match", PROT32, CODE("\xf2\xae"), { { REG_RAX, 2 }, { REG_RCX, 9 } },
	  { { REG_RDI, 1 }, { REG_RCX, 8 } }, .rflags_out = ZP, .reads = { { 0, 1, 2 } } },
	{ "REPNE SCASB goes on", PROT32, CODE("\xf2\xae"), { { REG_RAX, 3 }, { REG_RCX, 9 } },
	  { { REG_RDI, 1 }, { REG_RCX, 8 } }, .rflags_out = 0, .reads = { { 0, 1, 2 } }, .result = INSN_AGAIN },
	{ "INSB", PROT32, CODE("\x6c"), .result = INSN_UNHANDLED },

	/* Stack */
	{ "PUSH [RAX]", LONG, CODE("\xff\x30"), { { REG_RAX, 0x10 }, { REG_RSP, 0x108 } }, { { REG_RSP, 0x100 } },
	  .reads = { { 0x10, 8, 7 } }, .write = { 0x100, 8, 7 } },
	{ "PUSH word [RAX]", LONG, CODE("\x66\xff\x30"), { { REG_RAX, 0x10 }, { REG_RSP, 0x108 } },
	  { { REG_RSP, 0x106 } }, .reads = { { 0x10, 2, 7 } }, .write = { 0x106, 2, 7 } },
	{ "PUSH [ESP+4] counts from the old ESP", PROT32, CODE("\xff\x74\x24\x04"), { { REG_RSP, 0x100 } },
	  { { REG_RSP, 0xfc } }, .reads = { { 0x104, 4, 7 } }, .write = { 0xfc, 4, 7 } },
	{ "PUSH [EBX] on a 16-bit stack", PROT32, CODE("\xff\x33"), { { REG_RSP, 0xabc0002 } },
	  { { REG_RSP, 0xabcfffe } }, .reads = { { 0, 4, 7 } }, .result = INSN_EXCEPTION, .vector = VECTOR_SS,
	  .segment = SEG_SS, .descriptor = { .limit = 0xffff, .type = 3 } },
	{ "PUSH word [EBX] on a 16-bit stack", PROT32, CODE("\x66\xff\x33"), { { REG_RSP, 0xabc0000 } },
	  { { REG_RSP, 0xabcfffe } }, .reads = { { 0, 2, 7 } }, .write = { 0xfffe, 2, 7 }, .segment = SEG_SS,
	  .descriptor = { .limit = 0xffff, .type = 3 } },
	{ "PUSH imm8 is sign-extended", LONG, CODE("\x6a\xff"), { { REG_RSP, 8 } }, { { REG_RSP, 0 } },
	  .write = { 0, 8, ~0ull } },
	{ "PUSH SP pushes the old one", REAL, CODE("\x54"), { { REG_RSP, 0x100 } }, { { REG_RSP, 0xfe } },
	  .write = { BASE + 0xfe, 2, 0x100 } },
	{ "POP [RAX]", LONG, CODE("\x8f\x00"), { { REG_RAX, 0x10 }, { REG_RSP, 0x100 } }, { { REG_RSP, 0x108 } },
	  .reads = { { 0x100, 8, 7 } }, .write = { 0x10, 8, 7 } },
	{ "POP [RSP+8] counts from the new RSP", LONG, CODE("\x8f\x44\x24\x08"), { { REG_RSP, 0x100 } },
	  { { REG_RSP, 0x108 } }, .reads = { { 0x100, 8, 7 } }, .write = { 0x110, 8, 7 } },
	{ "POP word [ESP]", PROT32, CODE("\x66\x8f\x04\x24"), { { REG_RSP, 0x100 } }, { { REG_RSP, 0x102 } },
	  .reads = { { 0x100, 2, 7 } }, .write = { 0x102, 2, 7 } },
	{ "POP SP", REAL, CODE("\x5c"), { { REG_RSP, 0x100 } }, { { REG_RSP, 0x7777 } },
	  .reads = { { BASE + 0x100, 2, 0x7777 } } },
	{ "POP off a noncanonical stack", LONG, CODE("\x8f\x00"), { { REG_RSP, 0x800000000000 } },
	  .result = INSN_EXCEPTION, .vector = VECTOR_SS },
	{ "CALL [RAX]", LONG, CODE("\xff\x10"), .result = INSN_UNHANDLED },

	/* SSE */
	{ "MOVUPS [RAX], XMM1", LONG, CODE("\x0f\x11\x08"), { { REG_RAX, 1 } }, .write = { 1, 16, 0x100, 0x101 } },
	{ "MOVAPS [RAX], XMM9", LONG, CODE("\x44\x0f\x29\x08"), { { REG_RAX, 0x10 } },
	  .write = { 0x10, 16, 0x900, 0x901 } },
	{ "MOVAPS misaligned", LONG, CODE("\x0f\x29\x08"), { { REG_RAX, 8 } }, .result = INSN_EXCEPTION,
	  .vector = VECTOR_GP, .alignment_check = true },
	{ "MOVHPS [RAX], XMM1", LONG, CODE("\x0f\x17\x08"), .write = { 0, 8, 0x101 } },
	{ "MOVD [EAX], XMM2", PROT32, CODE("\x66\x0f\x7e\x10"), .write = { 0, 4, 0x200 } },
	{ "MOVQ [RAX], MM2", LONG, CODE("\x0f\x7f\x10"), .result = INSN_UNHANDLED },
	{ "VMOVUPS [RAX], XMM1", LONG, CODE("\xc5\xf8\x11\x08"), .result = INSN_UNHANDLED },
	{ "MOVUPS XMM0, XMM1", LONG, CODE("\x0f\x10\xc1"), .result = INSN_UNHANDLED },
	{ "LOCK MOVUPS", LONG, CODE("\xf0\x0f\x11\x08"), .result = INSN_EXCEPTION, .vector = VECTOR_UD, .error = -1 },

	/* Hints */
	{ "NOP [noncanonical]", LONG, CODE("\x0f\x1f\x00"), { { REG_RAX, 1ull << 63 } } },
	{ "PREFETCHT0 [EAX]", PROT32, CODE("\x0f\x18\x08") },
	{ "CLFLUSH [RAX]", LONG, CODE("\x0f\xae\x38") },
	{ "CLFLUSH [noncanonical]", LONG, CODE("\x0f\xae\x38"), { { REG_RAX, 1ull << 63 } }, .result = INSN_EXCEPTION,
	  .vector = VECTOR_GP },
	{ "SFENCE", LONG, CODE("\x0f\xae\xf8"), .result = INSN_UNHANDLED },
	{ "LGDT [RAX]", LONG, CODE("\x0f\x01\x10"), .result = INSN_UNHANDLED },

	/* Segmentation */
	{ "last byte within the limit", PROT32, CODE("\x8b\x03"), { { REG_RBX, 0xffc } }, { { REG_RAX, 7 } },
	  .reads = { { 0x1ffc, 4, 7 } }, .segment = SEG_DS,
	  .descriptor = { .base = 0x1000, .limit = 0xfff, .type = 3 } },
	{ "last byte beyond the limit", PROT32, CODE("\x8b\x03"), { { REG_RBX, 0xffd } }, .result = INSN_EXCEPTION,
	  .vector = VECTOR_GP, .segment = SEG_DS, .descriptor = { .base = 0x1000, .limit = 0xfff, .type = 3 } },
	{ "beyond SS is #SS", PROT32, CODE("\x8b\x45\x00"), { { REG_RBP, 0xffd } }, .result = INSN_EXCEPTION,
	  .vector = VECTOR_SS, .segment = SEG_SS, .descriptor = { .base = 0x1000, .limit = 0xfff, .type = 3 } },
	{ "beyond the limit in real mode has no error code", REAL, CODE("\x8b\x07"), { { REG_RBX, 0xffff } },
	  .result = INSN_EXCEPTION, .vector = VECTOR_GP, .error = -1 },
	{ "beyond the limit in virtual-8086 mode has one", VM86, CODE("\x8b\x07"), { { REG_RBX, 0xffff } },
	  .result = INSN_EXCEPTION, .vector = VECTOR_GP },
	{ "real mode may exceed 64 KiB by a greater limit", REAL, CODE("\x67\x8b\x03"), { { REG_RBX, 0x20000 } },
	  { { REG_RAX, 7 } }, .reads = { { 0x20000, 2, 7 } }, .segment = SEG_DS,
	  .descriptor = { .limit = 0xffffffff, .type = 3 } },
	{ "real mode may write to CS", REAL, CODE("\x2e\x88\x07"), .write = { 0x500, 1, 0 }, .segment = SEG_CS,
	  .descriptor = { .base = 0x500, .limit = 0xffff, .type = 11 } },
	{ "store to read-only data", PROT32, CODE("\x89\x03"), .result = INSN_EXCEPTION, .vector = VECTOR_GP,
	  .segment = SEG_DS, .descriptor = { .limit = 0xfff, .type = 1 } },
	{ "store to code", PROT32, CODE("\x2e\x89\x03"), .result = INSN_EXCEPTION, .vector = VECTOR_GP },
	{ "load from readable code", PROT32, CODE("\x2e\x8b\x03"), .out = { { REG_RAX, 7 } },
	  .reads = { { 0, 4, 7 } } },
	{ "load from execute-only code", PROT32, CODE("\x2e\x8b\x03"), .result = INSN_EXCEPTION, .vector = VECTOR_GP,
	  .segment = SEG_CS, .descriptor = { .limit = 0xfff, .type = 9, .db = 1 } },
	{ "read-modify-write of read-only data", PROT32, CODE("\x01\x03"), .result = INSN_EXCEPTION,
	  .vector = VECTOR_GP, .segment = SEG_DS, .descriptor = { .limit = 0xfff, .type = 1 } },
	{ "bit test of read-only data", PROT32, CODE("\x0f\xa3\x03"), .reads = { { 0, 4, 0 } }, .segment = SEG_DS,
	  .descriptor = { .limit = 0xfff, .type = 1 } },
	{ "bit test and set of read-only data", PROT32, CODE("\x0f\xab\x03"), .result = INSN_EXCEPTION,
	  .vector = VECTOR_GP, .segment = SEG_DS, .descriptor = { .limit = 0xfff, .type = 1 } },
	{ "virtual-8086 mode knows no types", VM86, CODE("\x2e\x88\x07"), .write = { 0x500, 1, 0 }, .segment = SEG_CS,
	  .descriptor = { .base = 0x500, .limit = 0xffff, .type = 11 } },
	{ "null segment", PROT32, CODE("\x8b\x03"), .result = INSN_EXCEPTION, .vector = VECTOR_GP, .segment = SEG_DS,
	  .descriptor = { .limit = 0xffffffff, .type = 3, .unusable = 1 } },
	{ "expand-down, above the limit", PROT32, CODE("\x8b\x03"), { { REG_RBX, 0x1000 } }, { { REG_RAX, 7 } },
	  .reads = { { 0x1000, 4, 7 } }, .segment = SEG_DS, .descriptor = { .limit = 0xfff, .type = 7, .db = 1 } },
	{ "expand-down, not above the limit", PROT32, CODE("\x8b\x03"), { { REG_RBX, 0xfff } },
	  .result = INSN_EXCEPTION, .vector = VECTOR_GP, .segment = SEG_DS,
	  .descriptor = { .limit = 0xfff, .type = 7, .db = 1 } },
	{ "expand-down of 16 bits ends at 64 KiB", PROT32, CODE("\x8b\x03"), { { REG_RBX, 0xfffd } },
	  .result = INSN_EXCEPTION, .vector = VECTOR_GP, .segment = SEG_DS,
	  .descriptor = { .limit = 0xfff, .type = 7 } },
	{ "linear address wraps at 4 GiB", PROT32, CODE("\x8b\x03"), { { REG_RBX, 0x20 } }, { { REG_RAX, 7 } },
	  .reads = { { 0x10, 4, 7 } }, .segment = SEG_DS,
	  .descriptor = { .base = 0xfffffff0, .limit = 0xffffffff, .type = 3 } },
	{ "last canonical address", LONG, CODE("\x8b\x03"), { { REG_RBX, 0x7ffffffffffc } }, { { REG_RAX, 7 } },
	  .reads = { { 0x7ffffffffffc, 4, 7 } } },
	{ "over the canonical edge", LONG, CODE("\x8b\x03"), { { REG_RBX, 0x7ffffffffffd } }, .result = INSN_EXCEPTION,
	  .vector = VECTOR_GP },
	{ "first address of the upper half", LONG, CODE("\x8b\x03"), { { REG_RBX, 0xffff800000000000 } },
	  { { REG_RAX, 7 } }, .reads = { { 0xffff800000000000, 4, 7 } } },
	{ "below the upper half", LONG, CODE("\x8b\x03"), { { REG_RBX, 0xffff7fffffffffff } }, .result = INSN_EXCEPTION,
	  .vector = VECTOR_GP },
	{ "noncanonical with RBP is #SS", LONG, CODE("\x8b\x45\x00"), { { REG_RBP, 1ull << 62 } },
	  .result = INSN_EXCEPTION, .vector = VECTOR_SS },
	{ "alignment check", LONG, CODE("\x8b\x03"), { { REG_RBX, 2 } }, .result = INSN_EXCEPTION, .vector = VECTOR_AC,
	  .alignment_check = true },
	{ "aligned access", LONG, CODE("\x8b\x03"), { { REG_RBX, 4 } }, { { REG_RAX, 7 } }, .reads = { { 4, 4, 7 } },
	  .alignment_check = true },
};
/* clang-format on */

struct machine {
	const struct execute_case *c;
	struct insn_machine m;
	struct cpu_regs regs;
	struct kvm_segment segments[NR_SEGMENTS];
	u64 xmm[16][2];
	unsigned int accesses, reads, writes;
	unsigned int stop_at; /* this access, counted from 1, answers @stop */
	enum insn_result stop;
	bool bad;
};

static const struct kvm_segment *get_segment(void *ctx, enum segment segment)
{
	struct machine *machine = ctx;

	return &machine->segments[segment];
}

static bool stops(struct machine *machine)
{
	return ++machine->accesses == machine->stop_at;
}

static enum insn_result do_read(void *ctx, u64 linear, void *buf, unsigned int size, bool for_write)
{
	struct machine *machine = ctx;
	const struct access *a;

	if (machine->reads == ARRAY_SIZE(machine->c->reads) || machine->writes) {
		machine->bad = true;
		return INSN_UNHANDLED;
	}
	a = &machine->c->reads[machine->reads++];
	machine->bad |= a->linear != linear || a->size != size || for_write != machine->c->rmw;
	if (stops(machine))
		return machine->stop;
	memcpy(buf, &a->value, size > 8 ? 8 : size);
	if (size > 8)
		memcpy((u8 *)buf + 8, &a->high, 8);
	return INSN_DONE;
}

static enum insn_result do_write(void *ctx, u64 linear, const void *buf, unsigned int size)
{
	struct machine *machine = ctx;
	const struct access *a = &machine->c->write;

	machine->bad |= a->linear != linear || a->size != size || machine->writes++;
	if (a->size == size)
		machine->bad |= memcmp(buf, &a->value, size > 8 ? 8 : size) ||
				(size > 8 && memcmp((const u8 *)buf + 8, &a->high, 8));
	return stops(machine) ? machine->stop : INSN_DONE;
}

static void read_xmm(void *ctx, unsigned int n, void *buf)
{
	struct machine *machine = ctx;

	memcpy(buf, machine->xmm[n], 16);
}

static void write_xmm(void *ctx, unsigned int n, const void *buf)
{
	struct machine *machine = ctx;

	memcpy(machine->xmm[n], buf, 16);
}

static const struct insn_ops ops = {
	.segment = get_segment,
	.read = do_read,
	.write = do_write,
	.xmm_read = read_xmm,
	.xmm_write = write_xmm,
};

static void set_segments(struct machine *machine)
{
	const struct execute_case *c = machine->c;
	bool flat = c->world >= PROT32;
	unsigned int i;

	for (i = 0; i < NR_SEGMENTS; i++)
		machine->segments[i] = (struct kvm_segment){
			.base = flat ? 0 : BASE,
			.limit = flat ? 0xffffffff : 0xffff,
			.selector = i * 8,
			.type = i == SEG_CS && c->world >= PROT16 ? 11 : 3,
			.db = c->world == PROT32,
		};
	if (c->descriptor.limit)
		machine->segments[c->segment] = c->descriptor;
}

static void set_up(struct machine *machine, const struct execute_case *c)
{
	static const u8 modes[] = { INSN_MODE_16, INSN_MODE_16, INSN_MODE_16, INSN_MODE_32, INSN_MODE_64 };
	unsigned int i;

	memset(machine, 0, sizeof(*machine));
	machine->c = c;
	machine->m = (struct insn_machine){
		.regs = &machine->regs,
		.ops = &ops,
		.ctx = machine,
		.mode = modes[c->world],
		.linear_width = 48,
		.protected_mode = c->world != REAL,
		.alignment_check = c->alignment_check,
	};
	for (i = 0; i < ARRAY_SIZE(c->in); i++)
		if (c->in[i].value)
			machine->regs.gpr[c->in[i].reg] = c->in[i].value;
	for (i = 0; i < 16; i++) {
		machine->xmm[i][0] = i << 8;
		machine->xmm[i][1] = (i << 8) + 1;
	}
	machine->regs.rip = RIP;
	machine->regs.rflags = RFLAGS_FIXED | c->rflags | (c->world == VM86 ? RFLAGS_VM : 0) |
			       (c->result == INSN_AGAIN ? 0 : RFLAGS_RF);
	set_segments(machine);
}

static bool unchanged(const struct machine *machine)
{
	struct machine before;

	set_up(&before, machine->c);
	return !memcmp(&machine->regs, &before.regs, sizeof(before.regs)) &&
	       !memcmp(machine->xmm, before.xmm, sizeof(before.xmm));
}

static unsigned int expected_reads(const struct execute_case *c)
{
	return (c->reads[0].size ? 1 : 0) + (c->reads[1].size ? 1 : 0);
}

static unsigned int expected_writes(const struct execute_case *c)
{
	return c->write.size ? 1 : 0;
}

/* The accesses all made, the registers as they shall be, RF set between iterations and clear in the end. */
static bool committed(const struct machine *machine, size_t len)
{
	const struct execute_case *c = machine->c;
	struct machine expected;
	unsigned int i;

	set_up(&expected, c);
	for (i = 0; i < ARRAY_SIZE(c->out); i++)
		if (c->out[i].value || c->out[i].reg)
			expected.regs.gpr[c->out[i].reg] = c->out[i].value;
	expected.regs.rflags &= ~(RFLAGS_ARITH | RFLAGS_RF);
	expected.regs.rflags |= c->rflags_out;
	if (c->result == INSN_AGAIN)
		expected.regs.rflags |= RFLAGS_RF;
	else
		expected.regs.rip += len;
	return !memcmp(&machine->regs, &expected.regs, sizeof(expected.regs)) && machine->reads == expected_reads(c) &&
	       machine->writes == expected_writes(c);
}

static bool raised(const struct machine *machine)
{
	const struct execute_case *c = machine->c;
	const struct exception *e = &machine->m.exception;

	return e->vector == c->vector && e->has_error == (c->error >= 0) &&
	       (!e->has_error || (int)e->error == c->error);
}

/* Runs it with each of its accesses in turn answered by @stop: that must come through and leave no trace. */
static bool stops_cleanly(const struct execute_case *c, const struct insn *insn, enum insn_result stop)
{
	unsigned int n, accesses = expected_reads(c) + expected_writes(c);
	struct machine machine;

	for (n = 1; n <= accesses; n++) {
		set_up(&machine, c);
		machine.stop_at = n;
		machine.stop = stop;
		if (insn_execute(&machine.m, insn) != stop || machine.bad || !unchanged(&machine))
			return false;
	}
	return true;
}

static bool executes(const struct execute_case *c)
{
	struct machine machine;
	struct insn insn;

	set_up(&machine, c);
	if (insn_decode(&insn, c->code, c->len, machine.m.mode))
		return false;
	if (insn_execute(&machine.m, &insn) != c->result || machine.bad)
		return false;
	switch (c->result) {
	case INSN_DONE:
	case INSN_AGAIN:
		return committed(&machine, c->len) && stops_cleanly(c, &insn, INSN_PENDING) &&
		       stops_cleanly(c, &insn, INSN_EXCEPTION);
	case INSN_EXCEPTION:
		return raised(&machine) && unchanged(&machine) && !machine.writes;
	default:
		return unchanged(&machine) && !machine.accesses;
	}
}

/* A load of an XMM register, and none without the callbacks. */
static bool loads_xmm(void)
{
	static const struct execute_case c = { .world = LONG, .reads = { { 0, 8, 7 } } };
	static const u8 movq[] = { 0xf3, 0x0f, 0x7e, 0x18 }, movhps[] = { 0x0f, 0x16, 0x18 };
	struct insn_ops without = ops;
	struct machine machine;
	struct insn insn;

	set_up(&machine, &c);
	insn_decode(&insn, movq, sizeof(movq), INSN_MODE_64);
	if (insn_execute(&machine.m, &insn) || machine.bad || machine.xmm[3][0] != 7 || machine.xmm[3][1])
		return false;
	set_up(&machine, &c);
	insn_decode(&insn, movhps, sizeof(movhps), INSN_MODE_64);
	if (insn_execute(&machine.m, &insn) || machine.bad || machine.xmm[3][0] != 0x300 || machine.xmm[3][1] != 7)
		return false;
	set_up(&machine, &c);
	without.xmm_write = NULL;
	machine.m.ops = &without;
	return insn_execute(&machine.m, &insn) == INSN_UNHANDLED && !machine.accesses;
}

/* insn_linear() with five-level paging, and the RIP of 32-bit code. */
static bool widths(void)
{
	static const struct execute_case c = { .world = LONG }, c32 = { .world = PROT32 };
	static const u8 nop[] = { 0x0f, 0x1f, 0x00 };
	struct machine machine;
	struct insn insn;
	u64 linear;

	set_up(&machine, &c);
	machine.m.linear_width = 57;
	if (insn_linear(&machine.m, SEG_DS, 0xfffffffffffffc, 4, true, &linear) || linear != 0xfffffffffffffc)
		return false;
	if (insn_linear(&machine.m, SEG_DS, 0xfffffffffffffd, 4, true, &linear) != INSN_EXCEPTION)
		return false;
	set_up(&machine, &c32);
	machine.regs.rip = 0xfffffffe;
	insn_decode(&insn, nop, sizeof(nop), INSN_MODE_32);
	return !insn_execute(&machine.m, &insn) && machine.regs.rip == 1;
}

int main(void)
{
	unsigned int i;

	printf("TAP version 13\n1..%zu\n",
	       ARRAY_SIZE(decode_cases) + ARRAY_SIZE(string_io_cases) + ARRAY_SIZE(execute_cases) + 2);
	for (i = 0; i < ARRAY_SIZE(decode_cases); i++)
		ok(decodes(&decode_cases[i]), decode_cases[i].name);
	for (i = 0; i < ARRAY_SIZE(string_io_cases); i++)
		ok(describes(&string_io_cases[i]), string_io_cases[i].name);
	for (i = 0; i < ARRAY_SIZE(execute_cases); i++)
		ok(executes(&execute_cases[i]), execute_cases[i].name);
	ok(loads_xmm(), "loads of XMM registers");
	ok(widths(), "linear width, RIP wrap");
	return failed;
}
