// SPDX-License-Identifier: GPL-2.0
/* coarse - what a guest sees when it reads the time-stamp counter a thousand times, and what that costs in exits. */
#include <stdio.h>

#include "guest.h"
#include "stats.h"

#define ROUNDS 1000
#define LOW_BITS 0xffff

int main(void)
{
	struct guest *g = guest_create(MODE_LONG);
	int stats = ioctl(g->vcpu, KVM_GET_STATS_FD, 0);
	u64 exits;

	/* In RBX all low bits that were ever 1. */
	guest_load(g, CODE64("xor %ebx, %ebx\n"
			     "mov $1000, %esi\n"
			     "1: rdtsc\n"
			     "or %rax, %rbx\n"
			     "dec %esi\n"
			     "jnz 1b"));
	if (guest_start(g) != KVM_EXIT_HLT)
		die("the guest: %s", guest_exit_text(g));
	exits = stats_value(stats, "exits");
	printf("rdtsc: %lu exits each; the low 16 bits of the time are always 0: %s\n", (exits + ROUNDS / 2) / ROUNDS,
	       g->regs.rbx & LOW_BITS ? "no" : "yes");
	guest_destroy(g);
	return 0;
}
