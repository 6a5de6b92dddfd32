// SPDX-License-Identifier: GPL-2.0
/*
 * The instruction executor against the CPU this runs on: random instances of every instruction that it executes in
 * 64-bit mode, once natively and once by software from the same registers, flags and memory.
 *
 * insn_native_test [COUNT [SEED]]: COUNT instances of each form.
 */
#include <asm/prctl.h>
#include <cpuid.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../../module/insn/insn.h"

#define DEFAULT_COUNT 4000
#define MAX_REPORTS 5
#define PAGE 4096
#define GS_BASE 0x1230
#define NR_XMM 16

enum { LOCKS = BIT(0), REPEATS = BIT(1), ALIGN = BIT(2), MEMORY = BIT(3), BITS = BIT(4), STACK = BIT(5) };

/*
 * A row of instructions: opcodes first to last of a map, mandatory prefix, allowed ModRM.reg (none: no ModRM), the
 * flags that the manual leaves undefined.
 */
static const struct form {
	const char *name;
	enum insn_map map;
	u8 first, last;
	u8 regs;
	u8 traits;
	u8 mandatory;
	u16 undefined;
} forms[] = {
	{ "ADD", INSN_MAP_ONE_BYTE, 0x00, 0x03, 0xff, LOCKS, 0, 0 },
	{ "OR", INSN_MAP_ONE_BYTE, 0x08, 0x0b, 0xff, LOCKS, 0, RFLAGS_AF },
	{ "ADC", INSN_MAP_ONE_BYTE, 0x10, 0x13, 0xff, LOCKS, 0, 0 },
	{ "SBB", INSN_MAP_ONE_BYTE, 0x18, 0x1b, 0xff, LOCKS, 0, 0 },
	{ "AND", INSN_MAP_ONE_BYTE, 0x20, 0x23, 0xff, LOCKS, 0, RFLAGS_AF },
	{ "SUB", INSN_MAP_ONE_BYTE, 0x28, 0x2b, 0xff, LOCKS, 0, 0 },
	{ "XOR", INSN_MAP_ONE_BYTE, 0x30, 0x33, 0xff, LOCKS, 0, RFLAGS_AF },
	{ "CMP", INSN_MAP_ONE_BYTE, 0x38, 0x3b, 0xff, 0, 0, 0 },
	{ "ADD, ADC, SBB, SUB imm", INSN_MAP_ONE_BYTE, 0x80, 0x81, 0x2d, LOCKS, 0, 0 },
	{ "ADD, ADC, SBB, SUB imm8", INSN_MAP_ONE_BYTE, 0x83, 0x83, 0x2d, LOCKS, 0, 0 },
	{ "OR, AND, XOR imm", INSN_MAP_ONE_BYTE, 0x80, 0x81, 0x52, LOCKS, 0, RFLAGS_AF },
	{ "OR, AND, XOR imm8", INSN_MAP_ONE_BYTE, 0x83, 0x83, 0x52, LOCKS, 0, RFLAGS_AF },
	{ "CMP imm", INSN_MAP_ONE_BYTE, 0x80, 0x81, BIT(7), 0, 0, 0 },
	{ "CMP imm8", INSN_MAP_ONE_BYTE, 0x83, 0x83, BIT(7), 0, 0, 0 },
	{ "TEST", INSN_MAP_ONE_BYTE, 0x84, 0x85, 0xff, 0, 0, RFLAGS_AF },
	{ "TEST imm", INSN_MAP_ONE_BYTE, 0xf6, 0xf7, 0x03, 0, 0, RFLAGS_AF },
	{ "NOT, NEG", INSN_MAP_ONE_BYTE, 0xf6, 0xf7, 0x0c, LOCKS, 0, 0 },
	{ "INC, DEC", INSN_MAP_ONE_BYTE, 0xfe, 0xff, 0x03, LOCKS, 0, 0 },
	{ "XCHG", INSN_MAP_ONE_BYTE, 0x86, 0x87, 0xff, LOCKS | ALIGN, 0, 0 },
	{ "MOV", INSN_MAP_ONE_BYTE, 0x88, 0x8b, 0xff, 0, 0, 0 },
	{ "MOV from Sreg", INSN_MAP_ONE_BYTE, 0x8c, 0x8c, 0x3f, 0, 0, 0 },
	{ "MOV moffs", INSN_MAP_ONE_BYTE, 0xa0, 0xa3, 0, MEMORY, 0, 0 },
	{ "MOV r, imm", INSN_MAP_ONE_BYTE, 0xb0, 0xbf, 0, 0, 0, 0 },
	{ "MOV imm", INSN_MAP_ONE_BYTE, 0xc6, 0xc7, 0x01, 0, 0, 0 },
	{ "MOVSXD", INSN_MAP_ONE_BYTE, 0x63, 0x63, 0xff, 0, 0, 0 },
	{ "PUSH r", INSN_MAP_ONE_BYTE, 0x50, 0x57, 0, STACK, 0, 0 },
	{ "POP r", INSN_MAP_ONE_BYTE, 0x58, 0x5f, 0, STACK, 0, 0 },
	{ "PUSH imm", INSN_MAP_ONE_BYTE, 0x68, 0x68, 0, STACK, 0, 0 },
	{ "PUSH imm8", INSN_MAP_ONE_BYTE, 0x6a, 0x6a, 0, STACK, 0, 0 },
	{ "PUSH r/m", INSN_MAP_ONE_BYTE, 0xff, 0xff, BIT(6), STACK, 0, 0 },
	{ "POP r/m", INSN_MAP_ONE_BYTE, 0x8f, 0x8f, BIT(0), STACK, 0, 0 },
	{ "MOVS", INSN_MAP_ONE_BYTE, 0xa4, 0xa5, 0, REPEATS, 0, 0 },
	{ "CMPS", INSN_MAP_ONE_BYTE, 0xa6, 0xa7, 0, REPEATS, 0, 0 },
	{ "STOS", INSN_MAP_ONE_BYTE, 0xaa, 0xab, 0, REPEATS, 0, 0 },
	{ "LODS", INSN_MAP_ONE_BYTE, 0xac, 0xad, 0, REPEATS, 0, 0 },
	{ "SCAS", INSN_MAP_ONE_BYTE, 0xae, 0xaf, 0, REPEATS, 0, 0 },
	{ "ROL, ROR, RCL, RCR imm", INSN_MAP_ONE_BYTE, 0xc0, 0xc1, 0x0f, 0, 0, RFLAGS_OF },
	{ "ROL, ROR, RCL, RCR 1", INSN_MAP_ONE_BYTE, 0xd0, 0xd1, 0x0f, 0, 0, 0 },
	{ "ROL, ROR, RCL, RCR CL", INSN_MAP_ONE_BYTE, 0xd2, 0xd3, 0x0f, 0, 0, RFLAGS_OF },
	{ "SHL, SHR, SAR imm", INSN_MAP_ONE_BYTE, 0xc0, 0xc1, 0xf0, 0, 0, RFLAGS_AF | RFLAGS_OF | RFLAGS_CF },
	{ "SHL, SHR, SAR 1", INSN_MAP_ONE_BYTE, 0xd0, 0xd1, 0xf0, 0, 0, RFLAGS_AF },
	{ "SHL, SHR, SAR CL", INSN_MAP_ONE_BYTE, 0xd2, 0xd3, 0xf0, 0, 0, RFLAGS_AF | RFLAGS_OF | RFLAGS_CF },
	{ "PREFETCHW", INSN_MAP_0F, 0x0d, 0x0d, 0x02, MEMORY, 0, 0 },
	{ "PREFETCH", INSN_MAP_0F, 0x18, 0x18, 0x0f, MEMORY, 0, 0 },
	{ "NOP r/m", INSN_MAP_0F, 0x1f, 0x1f, 0x01, MEMORY, 0, 0 },
	{ "CMOVcc", INSN_MAP_0F, 0x40, 0x4f, 0xff, 0, 0, 0 },
	{ "SETcc", INSN_MAP_0F, 0x90, 0x9f, 0xff, 0, 0, 0 },
	{ "BT", INSN_MAP_0F, 0xa3, 0xa3, 0xff, BITS, 0, RFLAGS_OF | RFLAGS_SF | RFLAGS_AF | RFLAGS_PF },
	{ "BTS", INSN_MAP_0F, 0xab, 0xab, 0xff, BITS | LOCKS, 0, RFLAGS_OF | RFLAGS_SF | RFLAGS_AF | RFLAGS_PF },
	{ "BTR", INSN_MAP_0F, 0xb3, 0xb3, 0xff, BITS | LOCKS, 0, RFLAGS_OF | RFLAGS_SF | RFLAGS_AF | RFLAGS_PF },
	{ "BTC", INSN_MAP_0F, 0xbb, 0xbb, 0xff, BITS | LOCKS, 0, RFLAGS_OF | RFLAGS_SF | RFLAGS_AF | RFLAGS_PF },
	{ "BT imm", INSN_MAP_0F, 0xba, 0xba, BIT(4), 0, 0, RFLAGS_OF | RFLAGS_SF | RFLAGS_AF | RFLAGS_PF },
	{ "BTS, BTR, BTC imm", INSN_MAP_0F, 0xba, 0xba, 0xe0, LOCKS, 0, RFLAGS_OF | RFLAGS_SF | RFLAGS_AF | RFLAGS_PF },
	{ "CLFLUSH", INSN_MAP_0F, 0xae, 0xae, BIT(7), MEMORY, 0, 0 },
	{ "CMPXCHG", INSN_MAP_0F, 0xb0, 0xb1, 0xff, LOCKS, 0, 0 },
	{ "CMPXCHG8B, CMPXCHG16B", INSN_MAP_0F, 0xc7, 0xc7, BIT(1), LOCKS | MEMORY | ALIGN, 0, 0 },
	{ "XADD", INSN_MAP_0F, 0xc0, 0xc1, 0xff, LOCKS, 0, 0 },
	{ "MOVZX", INSN_MAP_0F, 0xb6, 0xb7, 0xff, 0, 0, 0 },
	{ "MOVSX", INSN_MAP_0F, 0xbe, 0xbf, 0xff, 0, 0, 0 },
	{ "MOVNTI", INSN_MAP_0F, 0xc3, 0xc3, 0xff, MEMORY, 0, 0 },
	{ "MOVBE", INSN_MAP_0F38, 0xf0, 0xf1, 0xff, MEMORY, 0, 0 },
	{ "MOVUPS", INSN_MAP_0F, 0x10, 0x11, 0xff, MEMORY, 0, 0 },
	{ "MOVSS", INSN_MAP_0F, 0x10, 0x11, 0xff, MEMORY, 0xf3, 0 },
	{ "MOVSD", INSN_MAP_0F, 0x10, 0x11, 0xff, MEMORY, 0xf2, 0 },
	{ "MOVLPS", INSN_MAP_0F, 0x12, 0x13, 0xff, MEMORY, 0, 0 },
	{ "MOVHPS", INSN_MAP_0F, 0x16, 0x17, 0xff, MEMORY, 0, 0 },
	{ "MOVAPS", INSN_MAP_0F, 0x28, 0x29, 0xff, MEMORY | ALIGN, 0, 0 },
	{ "MOVNTPS", INSN_MAP_0F, 0x2b, 0x2b, 0xff, MEMORY | ALIGN, 0, 0 },
	{ "MOVD load", INSN_MAP_0F, 0x6e, 0x6e, 0xff, MEMORY, 0x66, 0 },
	{ "MOVD store", INSN_MAP_0F, 0x7e, 0x7e, 0xff, MEMORY, 0x66, 0 },
	{ "MOVQ load", INSN_MAP_0F, 0x7e, 0x7e, 0xff, MEMORY, 0xf3, 0 },
	{ "MOVQ store", INSN_MAP_0F, 0xd6, 0xd6, 0xff, MEMORY, 0x66, 0 },
	{ "MOVDQA load", INSN_MAP_0F, 0x6f, 0x6f, 0xff, MEMORY | ALIGN, 0x66, 0 },
	{ "MOVDQA store", INSN_MAP_0F, 0x7f, 0x7f, 0xff, MEMORY | ALIGN, 0x66, 0 },
	{ "MOVDQU load", INSN_MAP_0F, 0x6f, 0x6f, 0xff, MEMORY, 0xf3, 0 },
	{ "MOVDQU store", INSN_MAP_0F, 0x7f, 0x7f, 0xff, MEMORY, 0xf3, 0 },
	{ "MOVNTDQ", INSN_MAP_0F, 0xe7, 0xe7, 0xff, MEMORY | ALIGN, 0x66, 0 },
	{ "LDDQU", INSN_MAP_0F, 0xf0, 0xf0, 0xff, MEMORY, 0xf2, 0 },
	{ "MOVNTDQA", INSN_MAP_0F38, 0x2a, 0x2a, 0xff, MEMORY | ALIGN, 0x66, 0 },
};

struct state {
	u64 gpr[NR_GPRS];
	u64 rflags;
	u8 xmm[NR_XMM][16];
};

/* In the low 2 GiB, so that every form of address reaches all of it. */
static struct arena {
	u8 code[PAGE];
	struct native {
		struct state state;
		u64 host_rsp;
	} native;
	u8 pad[PAGE - sizeof(struct native)];
	u8 memory[PAGE]; /* what the CPU's instructions operate on */
} * arena;

static u8 shadow[PAGE]; /* and the executor's, at the same linear addresses */
static struct state software;

static u64 random_state;

static u64 random64(void)
{
	u64 z = random_state += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

static unsigned int below(unsigned int n)
{
	return random64() % n;
}

/* Values at which carries, signs and equality show. */
static u64 random_value(void)
{
	static const u64 corners[] = { 0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000 };

	switch (below(4)) {
	case 0:
		return corners[below(ARRAY_SIZE(corners))];
	case 1:
		return -corners[below(ARRAY_SIZE(corners))];
	default:
		return random64();
	}
}

/* The machine code around the instruction: load the state, run it, save the state. */
static u8 *emit(u8 *at, const char *bytes, unsigned int n)
{
	memcpy(at, bytes, n);
	return at + n;
}

static u8 *emit_rip_relative(u8 *at, const void *target)
{
	s32 disp = (const u8 *)target - (at + 4);

	memcpy(at, &disp, sizeof(disp));
	return at + sizeof(disp);
}

static u8 *emit_gpr_move(u8 *at, u8 opcode, unsigned int reg, const void *target)
{
	*at++ = 0x48 | (reg >> 3) << 2;
	*at++ = opcode;
	*at++ = (reg & 7) << 3 | 5;
	return emit_rip_relative(at, target);
}

static u8 *emit_xmm_move(u8 *at, u8 opcode, unsigned int reg, const void *target)
{
	*at++ = 0xf3;
	*at++ = 0x40 | (reg >> 3) << 2;
	*at++ = 0x0f;
	*at++ = opcode;
	*at++ = (reg & 7) << 3 | 5;
	return emit_rip_relative(at, target);
}

static u8 *emit_prologue(u8 *at)
{
	struct native *n = &arena->native;
	unsigned int i;

	at = emit(at, "\x53\x55\x41\x54\x41\x55\x41\x56\x41\x57", 10); /* push rbx, rbp, r12 ... r15 */
	at = emit_gpr_move(at, 0x89, REG_RSP, &n->host_rsp);
	for (i = 0; i < NR_XMM; i++)
		at = emit_xmm_move(at, 0x6f, i, n->state.xmm[i]);
	at = emit(at, "\xff\x35", 2); /* push state.rflags; popf */
	at = emit_rip_relative(at, &n->state.rflags);
	at = emit(at, "\x9d", 1);
	for (i = 0; i < NR_GPRS; i++)
		at = emit_gpr_move(at, 0x8b, i, &n->state.gpr[i]);
	return at;
}

static void emit_epilogue(u8 *at)
{
	struct native *n = &arena->native;
	unsigned int i;

	for (i = 0; i < NR_GPRS; i++)
		at = emit_gpr_move(at, 0x89, i, &n->state.gpr[i]);
	at = emit_gpr_move(at, 0x8b, REG_RSP, &n->host_rsp);
	at = emit(at, "\x9c\x8f\x05", 3); /* pushf; pop state.rflags */
	at = emit_rip_relative(at, &n->state.rflags);
	at = emit(at, "\xfc", 1); /* cld */
	for (i = 0; i < NR_XMM; i++)
		at = emit_xmm_move(at, 0x7f, i, n->state.xmm[i]);
	emit(at, "\x41\x5f\x41\x5e\x41\x5d\x41\x5c\x5d\x5b\xc3", 11);
}

static const struct kvm_segment *get_segment(void *ctx, enum segment segment)
{
	static struct kvm_segment s;
	u16 selector;

	(void)ctx;
	switch (segment) {
	case SEG_ES:
		asm("mov %%es, %0" : "=r"(selector));
		break;
	case SEG_CS:
		asm("mov %%cs, %0" : "=r"(selector));
		break;
	case SEG_SS:
		asm("mov %%ss, %0" : "=r"(selector));
		break;
	case SEG_DS:
		asm("mov %%ds, %0" : "=r"(selector));
		break;
	case SEG_FS:
		asm("mov %%fs, %0" : "=r"(selector));
		break;
	default:
		asm("mov %%gs, %0" : "=r"(selector));
	}
	s.selector = selector;
	s.base = segment == SEG_GS ? GS_BASE : 0;
	return &s;
}

static u8 *shadow_at(u64 linear, unsigned int size)
{
	u64 offset = linear - (u64)arena->memory;

	return offset < PAGE && offset + size <= PAGE ? shadow + offset : NULL;
}

static enum insn_result read_memory(void *ctx, u64 linear, void *buf, unsigned int size, bool for_write)
{
	const u8 *at = shadow_at(linear, size);

	(void)ctx;
	(void)for_write;
	if (!at)
		return INSN_UNHANDLED;
	memcpy(buf, at, size);
	return INSN_DONE;
}

static enum insn_result write_memory(void *ctx, u64 linear, const void *buf, unsigned int size)
{
	u8 *at = shadow_at(linear, size);

	(void)ctx;
	if (!at)
		return INSN_UNHANDLED;
	memcpy(at, buf, size);
	return INSN_DONE;
}

static void read_xmm(void *ctx, unsigned int n, void *buf)
{
	(void)ctx;
	memcpy(buf, software.xmm[n], 16);
}

static void write_xmm(void *ctx, unsigned int n, const void *buf)
{
	(void)ctx;
	memcpy(software.xmm[n], buf, 16);
}

static const struct insn_ops ops = {
	.segment = get_segment,
	.read = read_memory,
	.write = write_memory,
	.xmm_read = read_xmm,
	.xmm_write = write_xmm,
};

struct instance {
	const struct form *form;
	struct insn insn;
	u8 code[INSN_MAX_LENGTH + 16];
	u8 *modrm;
	struct state state;
	u64 address; /* where it will stand */
};

static u8 *random_prefixes(struct instance *t, u8 *at)
{
	const struct form *f = t->form;

	if (!below(4) && !f->mandatory && strcmp(f->name, "MOVNTI") && strncmp(f->name, "MOVSS", 5))
		*at++ = 0x66;
	if (!below(6))
		*at++ = 0x67;
	if (!below(6))
		*at++ = 0x65;
	if (!below(8))
		*at++ = 0x2e;
	if (f->traits & REPEATS && below(3))
		*at++ = 0xf2 + below(2);
	if (f->mandatory)
		*at++ = f->mandatory;
	if (below(3))
		*at++ = 0x40 + below(16);
	return at;
}

static u8 *random_opcode(const struct form *f, u8 *at)
{
	if (f->map != INSN_MAP_ONE_BYTE)
		*at++ = 0x0f;
	if (f->map == INSN_MAP_0F38)
		*at++ = 0x38;
	*at++ = f->first + below(f->last - f->first + 1);
	return at;
}

/* Prefixes, opcode and ModRM as the form has them, the rest random. */
static void random_code(struct instance *t)
{
	const struct form *f = t->form;
	unsigned int i, reg;
	bool memory;
	u8 *at;

	for (i = 0; i < sizeof(t->code); i++)
		t->code[i] = random_value();
	at = t->code;
	memory = f->traits & MEMORY || below(4);
	if (f->traits & LOCKS && memory && !below(4) && f->regs)
		*at++ = 0xf0;
	at = random_prefixes(t, at);
	at = random_opcode(f, at);
	t->modrm = at;
	if (!f->regs)
		return;
	do {
		reg = below(8);
	} while (!(f->regs & BIT(reg)));
	*at = (memory ? below(3) : 3) << 6 | reg << 3 | below(8);
	/* A lock is not for what only loads. */
	if (t->code[0] == 0xf0 && f->first < 0x40 && f->map == INSN_MAP_ONE_BYTE)
		at[-1] &= ~2;
}

static void random_registers(struct instance *t)
{
	u64 memory = (u64)arena->memory;
	unsigned int i;

	for (i = 0; i < NR_GPRS; i++)
		t->state.gpr[i] = random_value();
	for (i = 0; i < NR_XMM * 2; i++)
		((u64 *)t->state.xmm)[i] = random64();
	t->state.rflags = (random64() & (RFLAGS_ARITH | RFLAGS_DF)) | RFLAGS_FIXED | RFLAGS_IF;
	t->state.gpr[REG_RSP] = memory + PAGE / 2 + below(64);
	if (t->form->traits & REPEATS) {
		t->state.gpr[REG_RCX] = below(12);
		t->state.gpr[REG_RSI] = memory + PAGE / 2 + below(64);
		t->state.gpr[REG_RDI] = memory + PAGE / 2 + below(64);
	}
	if (t->form->traits & REPEATS && t->insn.segment == SEG_GS)
		t->state.gpr[REG_RSI] -= GS_BASE;
	/* The upper halves do not count then. (Whether a count of zero clears them is each vendor's own.) */
	if (t->form->traits & REPEATS && t->insn.address_size == 4) {
		t->state.gpr[REG_RCX] += 1 + (random64() << 32);
		t->state.gpr[REG_RSI] += random64() << 32;
		t->state.gpr[REG_RDI] += random64() << 32;
	}
	/* A bit within the memory there is. */
	if (t->form->traits & BITS && t->insn.memory)
		t->state.gpr[t->insn.reg] = (u64)below(8192) - 4096;
}

/* Gives the memory operand the address @target, by its registers or its displacement. Says whether that can be. */
static bool aim(struct instance *t, u64 target)
{
	struct insn *insn = &t->insn;
	u64 rest = target - insn->disp;
	u8 *disp = t->modrm + 1;
	u32 disp32;

	if (insn->segment == SEG_GS) {
		target -= GS_BASE;
		rest -= GS_BASE;
	}
	if (insn->base < NR_GPRS) {
		if (insn->index == insn->base || (t->form->traits & STACK && insn->base == REG_RSP))
			return false;
		if (t->form->traits & BITS && (insn->reg == insn->base || insn->reg == insn->index))
			return false;
		if (insn->index < NR_GPRS)
			rest -= t->state.gpr[insn->index] << insn->scale;
		t->state.gpr[insn->base] = rest;
		return true;
	}
	if (!t->form->regs) {
		memcpy(t->modrm, &target, 8);
		return true;
	}
	if (insn->base == INSN_REG_RIP) {
		target -= t->address + insn->length;
	} else if (insn->index < NR_GPRS) {
		if (insn->index == REG_RSP || (t->form->traits & BITS && insn->reg == insn->index))
			return false;
		t->state.gpr[insn->index] = below(100);
		target -= t->state.gpr[insn->index] << insn->scale;
	}
	disp32 = target;
	memcpy((insn->modrm & 7) == 4 ? disp + 1 : disp, &disp32, 4);
	return true;
}

/* POP (RSP) and PUSH (RSP): the stack pointer is where it is, the displacement must be small. */
static bool aim_at_stack(const struct instance *t)
{
	return t->insn.index == INSN_REG_NONE && t->insn.disp >= -1024 && t->insn.disp <= 1024 &&
	       t->insn.segment != SEG_GS;
}

static bool random_instance(struct instance *t)
{
	u64 target = (u64)arena->memory + PAGE / 2 + below(64);

	random_code(t);
	if (insn_decode(&t->insn, t->code, INSN_MAX_LENGTH, INSN_MODE_64))
		return false;
	random_registers(t);
	if (t->form->traits & ALIGN || t->insn.prefixes & INSN_PREFIX_LOCK)
		target &= ~15ull;
	if (t->insn.memory && t->form->traits & STACK && t->insn.base == REG_RSP) {
		if (!aim_at_stack(t))
			return false;
	} else if (t->insn.memory && !aim(t, target)) {
		return false;
	}
	return !insn_decode(&t->insn, t->code, INSN_MAX_LENGTH, INSN_MODE_64);
}

/* Makes the comparison of CMPXCHG and the like come out equal in about half of all cases. */
static void prepare_comparison(struct instance *t)
{
	u64 value;

	if (t->form->map != INSN_MAP_0F || below(2))
		return;
	memcpy(&value, arena->memory + PAGE / 2, 8);
	t->state.gpr[REG_RAX] = value;
	memset(arena->memory + PAGE / 2 - 64, (u8)value, 256);
	memcpy(shadow, arena->memory, PAGE);
	t->state.gpr[REG_RAX] = t->state.gpr[REG_RDX] = (u8)value * 0x0101010101010101ull;
}

static bool uses_rax_rdx(const struct insn *insn)
{
	return insn->base == REG_RAX || insn->base == REG_RDX || insn->index == REG_RAX || insn->index == REG_RDX;
}

static void run_native(struct instance *t, u8 *entry)
{
	u8 *at = (u8 *)t->address;

	memcpy(at, t->insn.bytes, t->insn.length);
	emit_epilogue(at + t->insn.length);
	arena->native.state = t->state;
	((void (*)(void))entry)();
}

static enum insn_result run_software(struct instance *t, struct cpu_regs *regs)
{
	struct insn_machine m = {
		.regs = regs,
		.ops = &ops,
		.mode = INSN_MODE_64,
		.linear_width = 48,
		.protected_mode = true,
	};
	enum insn_result result;

	software = t->state;
	memcpy(regs->gpr, t->state.gpr, sizeof(regs->gpr));
	regs->rflags = t->state.rflags;
	regs->rip = t->address;
	do {
		result = insn_execute(&m, &t->insn);
	} while (result == INSN_AGAIN);
	return result;
}

/* What a shift by a constant or by CL leaves undefined depends on the count. */
static u64 undefined_flags(const struct instance *t)
{
	unsigned int count, bits = t->insn.operand_size * 8;
	u64 undefined = t->form->undefined;

	if (t->insn.map != INSN_MAP_ONE_BYTE || (t->insn.opcode & 0xec) != 0xc0 || !t->form->undefined)
		return undefined;
	if (t->insn.opcode < 0xd0)
		count = t->insn.imm;
	else
		count = t->insn.opcode < 0xd2 ? 1 : t->state.gpr[REG_RCX];
	count &= bits == 64 ? 63 : 31;
	if (count == 0)
		return 0;
	if (count == 1)
		undefined &= ~RFLAGS_OF;
	if (count <= bits)
		undefined &= ~RFLAGS_CF;
	return undefined;
}

static void report(const struct instance *t, enum insn_result result, const struct cpu_regs *regs)
{
	const struct state *native = &arena->native.state;
	unsigned int i;

	printf("# %s:", t->form->name);
	for (i = 0; i < t->insn.length; i++)
		printf(" %02x", t->insn.bytes[i]);
	printf(": result %d, rflags %#llx before %#llx native %#llx here\n", result, (long long)t->state.rflags,
	       (long long)native->rflags, (long long)regs->rflags);
	for (i = 0; i < NR_GPRS; i++)
		if (native->gpr[i] != regs->gpr[i])
			printf("#   r%u %#llx before %#llx native %#llx here\n", i, (long long)t->state.gpr[i],
			       (long long)native->gpr[i], (long long)regs->gpr[i]);
	for (i = 0; i < PAGE; i++)
		if (arena->memory[i] != shadow[i])
			printf("#   [%#x] %02x native %02x here\n", i, arena->memory[i], shadow[i]);
}

static bool agree(const struct instance *t, const struct cpu_regs *regs)
{
	const struct state *native = &arena->native.state;
	u64 flags = (RFLAGS_ARITH | RFLAGS_DF) & ~undefined_flags(t);

	return !memcmp(native->gpr, regs->gpr, sizeof(regs->gpr)) && !((native->rflags ^ regs->rflags) & flags) &&
	       !memcmp(native->xmm, software.xmm, sizeof(software.xmm)) && !memcmp(arena->memory, shadow, PAGE) &&
	       regs->rip == t->address + t->insn.length && !((regs->rflags ^ t->state.rflags) & ~RFLAGS_ARITH);
}

static bool test_form(const struct form *form, unsigned long count, u8 *entry, u8 *at)
{
	struct instance t = { .form = form, .address = (u64)at };
	enum insn_result result;
	struct cpu_regs regs;
	unsigned int i, bad = 0;

	while (count) {
		for (i = 0; i < PAGE / 8; i++)
			((u64 *)arena->memory)[i] = random_value();
		memcpy(shadow, arena->memory, PAGE);
		if (!random_instance(&t))
			continue;
		if (!strncmp(form->name, "CMPXCHG", 7) && !uses_rax_rdx(&t.insn))
			prepare_comparison(&t);
		count--;
		run_native(&t, entry);
		result = run_software(&t, &regs);
		if ((result != INSN_DONE || !agree(&t, &regs)) && bad++ < MAX_REPORTS)
			report(&t, result, &regs);
	}
	return !bad;
}

int main(int argc, char **argv)
{
	unsigned long count = argc > 1 ? strtoul(argv[1], NULL, 0) : DEFAULT_COUNT;
	bool ok = true, good;
	unsigned int i;
	u8 *at;

	random_state = argc > 2 ? strtoul(argv[2], NULL, 0) : 1;
	arena = mmap(NULL, sizeof(*arena), PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT,
		     -1, 0);
	if (arena == MAP_FAILED || syscall(SYS_arch_prctl, ARCH_SET_GS, GS_BASE)) {
		puts("1..0 # SKIP no executable memory or no GS base");
		return 0;
	}
	printf("TAP version 13\n1..%zu\n", ARRAY_SIZE(forms));
	at = emit_prologue(arena->code);
	for (i = 0; i < ARRAY_SIZE(forms); i++) {
		good = test_form(&forms[i], count, arena->code, at);
		printf("%sok %u %s\n", good ? "" : "not ", i + 1, forms[i].name);
		ok &= good;
	}
	return !ok;
}
