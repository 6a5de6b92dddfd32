// SPDX-License-Identifier: GPL-2.0
/* cpuids COUNT: a guest that executes CPUID so many times, and then one OUT: what those who count exits are to see. */
#include <stdio.h>
#include <stdlib.h>

#include "guest.h"

int main(int argc, char **argv)
{
	struct guest *g = guest_create(MODE_LONG);

	if (argc != 2)
		return 2;
	guest_load(g, CODE64("1: xor %eax, %eax; xor %ecx, %ecx; cpuid; dec %esi; jnz 1b; out %al, $0x11"));
	g->regs.rsi = strtoul(argv[1], NULL, 0);
	if (guest_start(g) != KVM_EXIT_IO) {
		fprintf(stderr, "%s\n", guest_exit_text(g));
		return 1;
	}
	return 0;
}
