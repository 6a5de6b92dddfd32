// SPDX-License-Identifier: GPL-2.0
/*
 * pith-disassemble SIZE ADDRESS: the instructions on standard input, for pith inspect. SIZE: of the code, 16, 32 or 64;
 * ADDRESS: where it is, in hexadecimal. A program of its own, for Zydis comes as a shared library; and the bytes, which a
 * guest chooses, meet it in a process that has nothing else.
 */
#include <Zydis/Zydis.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_CODE 4096

static ZyanStatus init(ZydisDecoder *decoder, int size)
{
	if (size == 64)
		return ZydisDecoderInit(decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	if (size == 32)
		return ZydisDecoderInit(decoder, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
	return ZydisDecoderInit(decoder, ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16);
}

static void print_bytes(const unsigned char *bytes, unsigned int len)
{
	unsigned int i;

	for (i = 0; i < ZYDIS_MAX_INSTRUCTION_LENGTH - 4; i++)
		printf(i < len ? "%02x " : "   ", bytes[i]);
}

/* The bytes of one instruction; 0: there is none that is whole. */
static unsigned int print_one(const ZydisDecoder *decoder, const ZydisFormatter *formatter, const unsigned char *code,
			      size_t len, unsigned long long address)
{
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction insn;
	char text[256];

	if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(decoder, code, len, &insn, operands)) ||
	    !ZYAN_SUCCESS(ZydisFormatterFormatInstruction(formatter, &insn, operands, insn.operand_count_visible, text,
							  sizeof(text), address, NULL)))
		return 0;
	printf("  %016llx  ", address);
	print_bytes(code, insn.length);
	printf(" %s\n", text);
	return insn.length;
}

int main(int argc, char **argv)
{
	unsigned char code[MAX_CODE + ZYDIS_MAX_INSTRUCTION_LENGTH] = {};
	unsigned long long address;
	ZydisFormatter formatter;
	ZydisDecoder decoder;
	unsigned int size;
	size_t len, at;

	if (argc != 3)
		return 2;
	address = strtoull(argv[2], NULL, 16);
	if (!ZYAN_SUCCESS(init(&decoder, atoi(argv[1]))) ||
	    !ZYAN_SUCCESS(ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_ATT)))
		return 1;
	len = fread(code, 1, MAX_CODE, stdin);
	for (at = 0; at < len; at += size) {
		size = print_one(&decoder, &formatter, code + at, len - at, address + at);
		if (!size)
			break;
	}
	if (!at && len) {
		printf("  %016llx  ", address);
		print_bytes(code, 1);
		printf(" no instruction\n");
	}
	return 0;
}
