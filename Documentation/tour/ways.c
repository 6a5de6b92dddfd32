// SPDX-License-Identifier: GPL-2.0
/*
 * ways - a program run in three ways: virtualized by pith, emulated by QEMU's TCG, and simulated an instruction at a time by
 * pith's own decoder and executor, built for user space. What a loop of five instructions costs in each.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "guest.h"
#include "model.h"

#define SECTOR 512
#define COUNT_AT 2 /* of the loop's rounds, in the code */
#define IMAGE "/tmp/ways.img"
#define QEMU                                                                                        \
	"qemu-system-x86_64 -accel tcg -m 16 -nodefaults -display none -no-reboot -debugcon stdio " \
	"-device isa-debug-exit,iobase=0xf4,iosize=1 -drive file=" IMAGE ",format=raw"

/* For a boot sector: 16-bit code. The count is put into its first instruction. The result is in EAX. */
static __attribute__((noipa)) struct code program(void)
{
	return CODE16(
		"mov $0, %ecx\n"
		"xor %edx, %edx\n"
		"1: add %ecx, %edx\n"
		"rol $5, %edx\n"
		"xor $0x1234567, %edx\n"
		"sub $1, %ecx\n"
		"jnz 1b\n"
		"mov %edx, %eax");
}

/* Says that the program begins, for the BIOS says something as well. */
static __attribute__((noipa)) struct code prologue(void)
{
	return CODE16(
		"mov $'L', %al\n"
		"out %al, $0xe9\n"
		"mov $'1', %al\n"
		"out %al, $0xe9");
}

/* Says EAX, byte by byte, and ends QEMU. */
static __attribute__((noipa)) struct code epilogue(void)
{
	return CODE16(
		"mov $4, %bx\n"
		"1: out %al, $0xe9\n"
		"shr $8, %eax\n"
		"dec %bx\n"
		"jnz 1b\n"
		"out %al, $0xf4");
}

static u32 copy_program(u8 *to, u32 rounds)
{
	struct code code = program();

	memcpy(to, code.start, code.end - code.start);
	memcpy(to + COUNT_AT, &rounds, sizeof(rounds));
	return code.end - code.start;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* Each way returns the result, and the seconds that it took from the program's beginning to its end. */
static u32 virtualize(u32 rounds, double *seconds)
{
	struct guest *g = guest_create(MODE_REAL);
	u32 result;

	guest_load(g, program());
	copy_program(g->memory + GUEST_CODE, rounds);
	*seconds = now();
	if (guest_start(g) != KVM_EXIT_HLT)
		die("the guest: %s", guest_exit_text(g));
	*seconds = now() - *seconds;
	result = g->regs.rax;
	guest_destroy(g);
	return result;
}

static u32 copy_code(u8 *to, struct code code)
{
	memcpy(to, code.start, code.end - code.start);
	return code.end - code.start;
}

static void make_disk(u32 rounds)
{
	u8 sector[SECTOR] = {};
	u32 size = copy_code(sector, prologue());
	int fd = open(IMAGE, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	size += copy_program(sector + size, rounds);
	copy_code(sector + size, epilogue());
	memcpy(sector + SECTOR - 2, "\x55\xaa", 2);
	if (write(fd, sector, SECTOR) != SECTOR || ftruncate(fd, 2048 * SECTOR))
		die(IMAGE);
	close(fd);
}

static void wait_for_program(FILE *said)
{
	int c = 0, last;

	do {
		last = c;
		c = fgetc(said);
		if (c == EOF)
			die("QEMU has not run the program");
	} while (last != 'L' || c != '1');
}

static u32 emulate(u32 rounds, double *seconds)
{
	u32 result = 0;
	FILE *said;

	make_disk(rounds);
	said = popen(QEMU, "r");
	if (!said)
		die("QEMU");
	wait_for_program(said);
	*seconds = now();
	if (fread(&result, 1, 4, said) != 4)
		die("QEMU has not ended the program");
	*seconds = now() - *seconds;
	pclose(said);
	return result;
}

static u32 simulate(u32 rounds, double *seconds)
{
	u8 code[SECTOR] = {};
	u32 size = copy_program(code, rounds), result;

	*seconds = now();
	result = model_run(code, size);
	*seconds = now() - *seconds;
	return result;
}

int main(void)
{
	static const struct {
		const char *name;
		u32 (*run)(u32 rounds, double *seconds);
		u32 rounds;
	} ways[] = {
		{ "virtualized", virtualize, 20000000 },
		{ "emulated", emulate, 20000000 },
		{ "simulated", simulate, 100000 },
	};
	double seconds, ignored, a_round, first = 0;
	unsigned int i;
	u32 result;

	for (i = 0; i < ARRAY_SIZE(ways); i++) {
		result = ways[i].run(ways[i].rounds, &seconds);
		a_round = seconds / ways[i].rounds;
		if (!i)
			first = a_round;
		printf("%-12s ~%.0f times the time of the first; the result is right: %s\n", ways[i].name,
		       a_round / first, result == virtualize(ways[i].rounds, &ignored) ? "yes" : "no");
	}
	return 0;
}
