// SPDX-License-Identifier: GPL-2.0
/*
 * The instruction decoder against libzydis: random machine code, most of it valid, in the three modes.
 *
 * insn_fuzz [COUNT [SEED]]: COUNT byte strings a mode. What Zydis decodes must get the same length and the same memory
 * operand here; what it rejects may get either, but no byte beyond those given is read: each string lies alone in a
 * heap block of its size, under the address sanitizer's eyes.
 */
#include <stdio.h>
#include <stdlib.h>

#include <Zydis/Zydis.h>

#include "../../module/insn/insn.h"

#define DEFAULT_COUNT 1000000
#define MAX_REPORTS 20

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

static const struct mode {
	const char *name;
	enum insn_mode mode;
	ZydisMachineMode machine;
	ZydisStackWidth stack;
} modes[] = {
	{ "16-bit", INSN_MODE_16, ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16 },
	{ "32-bit", INSN_MODE_32, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32 },
	{ "64-bit", INSN_MODE_64, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64 },
};

/* The escape to VEX, EVEX or XOP with mostly a defined map, no register where none may be, and EVEX's fixed bits. */
static void random_vector(u8 *at, enum insn_mode mode)
{
	static const u8 escapes[] = { 0xc4, 0xc5, 0x62, 0x8f };

	at[0] = escapes[below(ARRAY_SIZE(escapes))];
	switch (at[0]) {
	case 0xc4:
		at[1] = (at[1] & 0xe0) | (1 + below(3));
		break;
	case 0xc5:
		at[1] |= below(2) ? 0x78 : 0;
		break;
	case 0x62:
		at[1] &= below(4) ? 0xf3 : 0xf7;
		at[2] |= 4;
		at[3] &= below(2) ? 0xe8 : 0xff;
		break;
	case 0x8f:
		at[1] = (at[1] & 0xe0) | (8 + below(3));
		break;
	}
	if (at[0] != 0xc5 && below(2))
		at[2] |= 0x78;
	if (mode != INSN_MODE_64)
		at[1] |= 0xc0;
}

/* Random bytes, at whose beginning prefixes and an opcode of a random map are put. */
static void random_code(u8 *code, enum insn_mode mode)
{
	static const u8 prefixes[] = { 0x66, 0x67, 0xf2, 0xf3, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0xf0 };
	unsigned int i, n = below(8) ? below(3) : below(16), map = below(16);

	for (i = 0; i < INSN_MAX_LENGTH; i++)
		code[i] = random64();
	/* LOCK is seldom right, and others before VEX. */
	for (i = 0; i < n; i++)
		code[i] = prefixes[below(ARRAY_SIZE(prefixes) - !!below(16))];
	if (map >= 14 && below(8))
		i = 0;
	else if (mode == INSN_MODE_64 && below(2) && i < INSN_MAX_LENGTH)
		code[i++] = 0x40 | below(16);
	if (i > INSN_MAX_LENGTH - 5)
		return;
	switch (map) {
	case 0 ... 7:
		break;
	case 8 ... 12:
		code[i] = 0x0f;
		break;
	case 13:
		code[i] = 0x0f;
		code[i + 1] = below(2) ? 0x38 : 0x3a;
		break;
	default:
		random_vector(code + i, mode);
	}
}

static int zydis_register(u8 reg, unsigned int size)
{
	static const ZydisRegister first[] = {
		[2] = ZYDIS_REGISTER_AX, [4] = ZYDIS_REGISTER_EAX, [8] = ZYDIS_REGISTER_RAX
	};

	if (reg == INSN_REG_NONE)
		return ZYDIS_REGISTER_NONE;
	if (reg == INSN_REG_RIP)
		return size == 8 ? ZYDIS_REGISTER_RIP : ZYDIS_REGISTER_EIP;
	return first[size] + reg;
}

/*
 * Whether the memory operand is the one that Zydis sees. Vector indices and scaled displacements are beyond the
 * decoder; MPX, whose addresses are 64 bits wide whatever the prefix, is gone from the CPUs and its opcodes are NOPs.
 */
static bool same_memory(const struct insn *insn, const ZydisDecodedInstruction *z, const ZydisDecodedOperand *operand)
{
	static const ZydisRegister segments[] = { ZYDIS_REGISTER_ES, ZYDIS_REGISTER_CS, ZYDIS_REGISTER_SS,
						  ZYDIS_REGISTER_DS, ZYDIS_REGISTER_FS, ZYDIS_REGISTER_GS };
	u64 mask = insn->address_size < 8 ? GENMASK_ULL(insn->address_size * 8 - 1, 0) : ~0ull;

	if (operand->mem.type == ZYDIS_MEMOP_TYPE_VSIB || insn->encoding == INSN_EVEX ||
	    z->meta.isa_ext == ZYDIS_ISA_EXT_MPX)
		return insn->memory;
	/* Zydis 4.0 takes SIB.base 5 with ModRM.mod 0 and REX.B for R13; it is a displacement without base. */
	if (insn->base == INSN_REG_NONE && operand->mem.base != ZYDIS_REGISTER_NONE)
		return insn->mod == 0 && (insn->modrm & 7) == 4 && insn->rex & INSN_REX_B;
	return insn->memory && insn->address_size * 8 == z->address_width &&
	       zydis_register(insn->base, insn->address_size) == (int)operand->mem.base &&
	       zydis_register(insn->index, insn->address_size) == (int)operand->mem.index &&
	       (insn->index == INSN_REG_NONE || 1 << insn->scale == operand->mem.scale) &&
	       ((insn->disp ^ (operand->mem.disp.has_displacement ? operand->mem.disp.value : 0)) & mask) == 0 &&
	       (operand->mem.type != ZYDIS_MEMOP_TYPE_MEM || z->attributes & ZYDIS_ATTRIB_HAS_NOTRACK ||
		segments[insn->segment] == operand->mem.segment);
}

static bool same_immediate(const struct insn *insn, const ZydisDecodedInstruction *z)
{
	u64 mask = z->raw.imm[0].size && z->raw.imm[0].size < 64 ? GENMASK_ULL(z->raw.imm[0].size - 1, 0) : ~0ull;

	if (z->encoding == ZYDIS_INSTRUCTION_ENCODING_3DNOW)
		return insn->bytes[insn->length - 1] == (u8)insn->imm;
	return ((insn->imm ^ z->raw.imm[0].value.u) & mask) == 0;
}

/* The general-purpose instructions that have a size; string port instructions are as wide as REX.W says. */
static bool same_size(const struct insn *insn, const ZydisDecodedInstruction *z)
{
	switch (z->meta.category) {
	case ZYDIS_CATEGORY_BINARY:
	case ZYDIS_CATEGORY_BITBYTE:
	case ZYDIS_CATEGORY_CMOV:
	case ZYDIS_CATEGORY_DATAXFER:
	case ZYDIS_CATEGORY_LOGICAL:
	case ZYDIS_CATEGORY_POP:
	case ZYDIS_CATEGORY_PUSH:
	case ZYDIS_CATEGORY_ROTATE:
	case ZYDIS_CATEGORY_SHIFT:
	case ZYDIS_CATEGORY_STRINGOP:
		break;
	default:
		return true;
	}
	if (insn->encoding != INSN_LEGACY || z->meta.isa_ext != ZYDIS_ISA_EXT_BASE)
		return true;
	return insn->operand_size * 8 == z->operand_width;
}

static bool same(const struct insn *insn, ZydisDecoder *decoder, ZydisDecoderContext *context,
		 ZydisDecodedInstruction *z)
{
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	unsigned int i;

	/* VEX branches are Knights Corner's, which cannot virtualize; elsewhere they are undefined. */
	if (z->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX && z->meta.category == ZYDIS_CATEGORY_COND_BR)
		return true;
	if (insn->length != z->length || !same_immediate(insn, z) || !same_size(insn, z))
		return false;
	if (!ZYAN_SUCCESS(ZydisDecoderDecodeOperands(decoder, context, z, operands, z->operand_count)))
		return true;
	for (i = 0; i < z->operand_count; i++)
		if (operands[i].type == ZYDIS_OPERAND_TYPE_MEMORY &&
		    operands[i].visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT &&
		    (operands[i].encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM ||
		     operands[i].encoding == ZYDIS_OPERAND_ENCODING_DISP16_32_64))
			return same_memory(insn, z, &operands[i]);
	return true;
}

/* Every beginning of an instruction must ask for more; what follows one must not matter. */
static bool consistent(const struct insn *whole, const u8 *code, u8 *blocks[], enum insn_mode mode)
{
	struct insn insn;
	unsigned int len;

	for (len = 0; len <= whole->length; len++) {
		memcpy(blocks[len], code, len);
		if (insn_decode(&insn, blocks[len], len, mode) != (len < whole->length ? -EAGAIN : 0))
			return false;
	}
	return insn.length == whole->length && insn.imm == whole->imm && insn.opcode == whole->opcode;
}

static void report(const char *what, const u8 *code, int err, const struct insn *insn, const ZydisDecodedInstruction *z)
{
	unsigned int i;

	printf("# %s:", what);
	for (i = 0; i < INSN_MAX_LENGTH; i++)
		printf(" %02x", code[i]);
	printf(" here %d length %u size %u, Zydis %s length %u size %u\n", err, err ? 0 : insn->length,
	       err ? 0 : insn->operand_size, ZydisMnemonicGetString(z->mnemonic), z->length, z->operand_width);
}

static bool compare(const struct mode *mode, unsigned long count, u8 *blocks[])
{
	unsigned long valid = 0, bad = 0;
	ZydisDecoderContext context;
	ZydisDecodedInstruction z;
	u8 code[INSN_MAX_LENGTH];
	ZydisDecoder decoder;
	struct insn insn;
	ZyanStatus status;
	int err;

	ZydisDecoderInit(&decoder, mode->machine, mode->stack);
	for (; count; count--) {
		random_code(code, mode->mode);
		memcpy(blocks[INSN_MAX_LENGTH], code, INSN_MAX_LENGTH);
		err = insn_decode(&insn, blocks[INSN_MAX_LENGTH], INSN_MAX_LENGTH, mode->mode);
		status = ZydisDecoderDecodeInstruction(&decoder, &context, code, sizeof(code), &z);
		if (!err && !consistent(&insn, code, blocks, mode->mode)) {
			if (bad++ < MAX_REPORTS)
				report("unlike its beginnings", code, err, &insn, &z);
		}
		if (!ZYAN_SUCCESS(status))
			continue;
		valid++;
		if (err || !same(&insn, &decoder, &context, &z)) {
			if (bad++ < MAX_REPORTS)
				report("differs", code, err, &insn, &z);
		}
	}
	printf("# %s: %lu valid instructions, %lu differ\n", mode->name, valid, bad);
	return !bad;
}

int main(int argc, char **argv)
{
	unsigned long count = argc > 1 ? strtoul(argv[1], NULL, 0) : DEFAULT_COUNT;
	u8 *blocks[INSN_MAX_LENGTH + 1];
	bool ok = true, good;
	unsigned int i;

	random_state = argc > 2 ? strtoul(argv[2], NULL, 0) : 1;
	for (i = 0; i <= INSN_MAX_LENGTH; i++)
		blocks[i] = malloc(i);
	printf("TAP version 13\n1..%zu\n", ARRAY_SIZE(modes));
	for (i = 0; i < ARRAY_SIZE(modes); i++) {
		good = compare(&modes[i], count, blocks);
		printf("%sok %u %s decoding agrees with Zydis\n", good ? "" : "not ", i + 1, modes[i].name);
		ok &= good;
	}
	for (i = 0; i <= INSN_MAX_LENGTH; i++)
		free(blocks[i]);
	return !ok;
}
