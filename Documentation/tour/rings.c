// SPDX-License-Identifier: GPL-2.0
/* rings - what a guest may do by itself: the exits that instructions cost, in the guest's ring 0 and in its ring 3. */
#include <stdio.h>
#include <unistd.h>

#include "guest.h"
#include "stats.h"

#define ROUNDS 1000

/* The instructions, a thousand times. */
#define LOOP(text) CODE64("mov $1000, %esi\n1: " text "\ndec %esi\njnz 1b")

struct experiment {
	const char *instructions;
	bool user; /* ring 3 */
	struct code code;
};

static struct guest *guest_for(const struct experiment *e)
{
	struct guest *g = guest_create(MODE_LONG);

	guest_set_mode(g, MODE_LONG, e->user);
	guest_map(g, GUEST_DATA, GUEST_DATA, PTE_P | PTE_W); /* not for ring 3 */
	guest_load(g, e->code);
	return g;
}

static void try(const struct experiment *e)
{
	struct guest *g = guest_for(e);
	int stats = ioctl(g->vcpu, KVM_GET_STATS_FD, 0);
	u32 end = guest_start(g);
	u64 exits = stats_value(stats, "exits");
	/* What guest_load() puts behind the code. In ring 3 it is an exception. */
	u64 hlt = GUEST_CODE + (e->code.end - e->code.start);

	printf("ring %d: %-26s", e->user ? 3 : 0, e->instructions);
	if (end == GUEST_TRAP && g->trap.ip < hlt)
		printf("exception %u, taken by the guest's kernel\n", g->trap.vector);
	else
		printf("%lu exits\n", (exits + ROUNDS / 2) / ROUNDS);
	guest_destroy(g);
}

int main(void)
{
	const struct experiment experiments[] = {
		{ "add", false, LOOP("add $1, %rax") },
		{ "cli; sti", false, LOOP("cli; sti") },
		{ "mov to cr3", false, LOOP("mov %cr3, %rax; mov %rax, %cr3") },
		{ "invlpg", false, LOOP("invlpg 0x10000") },
		{ "lidt", false, LOOP("sidt 0xa000; lidt 0xa000") },
		{ "cpuid", false, LOOP("xor %eax, %eax; cpuid") },
		{ "rdmsr of the APIC's base", false, LOOP("mov $0x1b, %ecx; rdmsr") },
		{ "add", true, LOOP("add $1, %rax") },
		{ "cpuid", true, LOOP("xor %eax, %eax; cpuid") },
		{ "cli", true, LOOP("cli") },
		{ "mov to cr3", true, LOOP("mov %rax, %cr3") },
		{ "a store to ring 0's page", true, LOOP("mov %rax, 0xa000") },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(experiments); i++)
		try(&experiments[i]);
	return 0;
}
