// SPDX-License-Identifier: GPL-2.0
/*
 * ways - a program run in three ways: virtualized by pith, emulated by QEMU's TCG, and simulated an instruction at a time by
 * pith's own decoder and executor, built for user space. What a loop of five instructions costs in each.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest.h"
#include "model.h"

#define SECTOR 512
#define COUNT_AT 2 /* of the loop's rounds, in the code */
#define IMAGE "/tmp/ways.img"
#define SAID "/tmp/ways.said"

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

static double cpu_seconds(int who)
{
	struct rusage usage;

	getrusage(who, &usage);
	return usage.ru_utime.tv_sec + usage.ru_stime.tv_sec + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static u32 virtualize(u32 rounds)
{
	struct guest *g = guest_create(MODE_REAL);
	u32 result;

	guest_load(g, program());
	copy_program(g->memory + GUEST_CODE, rounds);
	if (guest_start(g) != KVM_EXIT_HLT)
		die("the guest: %s", guest_exit_text(g));
	result = g->regs.rax;
	guest_destroy(g);
	return result;
}

static u32 emulate(u32 rounds)
{
	struct code end = epilogue();
	u8 sector[SECTOR] = {};
	u32 result = 0, size = copy_program(sector, rounds);
	int fd = open(IMAGE, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	memcpy(sector + size, end.start, end.end - end.start);
	memcpy(sector + SECTOR - 2, "\x55\xaa", 2);
	if (write(fd, sector, SECTOR) != SECTOR || ftruncate(fd, 2048 * SECTOR))
		die(IMAGE);
	close(fd);
	if (system("qemu-system-x86_64 -accel tcg -m 16 -nodefaults -display none -no-reboot -debugcon file:" SAID
		   " -device isa-debug-exit,iobase=0xf4,iosize=1 -drive file=" IMAGE ",format=raw") < 0)
		die("qemu-system-x86_64");
	fd = open(SAID, O_RDONLY);
	/* The BIOS says something there as well. */
	if (lseek(fd, -4, SEEK_END) < 0 || read(fd, &result, 4) != 4)
		die(SAID);
	close(fd);
	return result;
}

static u32 simulate(u32 rounds)
{
	u8 code[SECTOR] = {};

	return model_run(code, copy_program(code, rounds));
}

/*
 * What the rounds take beyond what one round takes: CPU time of this process, or of its children. Once before that, for
 * what is slower the first time.
 */
static double nanoseconds(u32 (*run)(u32), u32 rounds, int who, u32 *result)
{
	double begin, middle;

	run(1);
	begin = cpu_seconds(who);
	run(1);
	middle = cpu_seconds(who);
	*result = run(rounds);
	return (cpu_seconds(who) - middle - (middle - begin)) * 1e9 / (5.0 * rounds);
}

int main(void)
{
	static const struct {
		const char *name;
		u32 (*run)(u32);
		u32 rounds;
		int who;
	} ways[] = {
		{ "virtualized", virtualize, 20000000, RUSAGE_SELF },
		{ "emulated", emulate, 20000000, RUSAGE_CHILDREN },
		{ "simulated", simulate, 100000, RUSAGE_SELF },
	};
	double ns, first = 0;
	unsigned int i;
	u32 result;

	for (i = 0; i < ARRAY_SIZE(ways); i++) {
		ns = nanoseconds(ways[i].run, ways[i].rounds, ways[i].who, &result);
		if (!i)
			first = ns;
		printf("%-12s ~%.0f times the time of the first; the result is right: %s\n", ways[i].name, ns / first,
		       result == virtualize(ways[i].rounds) ? "yes" : "no");
	}
	return 0;
}
