// SPDX-License-Identifier: GPL-2.0
/* swapped - the host writes a guest's memory to its swap file, and the guest finds it where it was. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "guest.h"
#include "stats.h"

#define GPA 0x40000000ul
#define LINEAR 0x800000ul
#define SLOT 7
#define NPAGES 256ul

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

static struct guest *g;
static u8 *memory;

/* Adds up a word of each page. */
static u64 guest_sums(void)
{
	guest_load(g, CODE64("mov $0x800000, %rsi\n"
			     "mov $256, %ecx\n"
			     "1: add (%rsi), %rax\n"
			     "add $4096, %rsi\n"
			     "dec %ecx\n"
			     "jnz 1b"));
	if (guest_start(g) != KVM_EXIT_HLT)
		die("the guest: %s", guest_exit_text(g));
	return g->regs.rax;
}

/* Pages of the guest's memory that are in RAM; the others are in the file. */
static unsigned long resident(void)
{
	unsigned long kib = 0, in_swap = 0;
	FILE *file = fopen("/proc/self/smaps", "r");
	bool ours = false;
	char line[256];
	u64 start, end;

	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			ours = start <= (u64)memory && (u64)memory < end;
		else if (ours && sscanf(line, "Swap: %lu", &kib) == 1)
			in_swap = kib / 4;
	}
	fclose(file);
	return NPAGES - in_swap;
}

static void add_up(u64 sum)
{
	bool right = guest_sums() == sum;

	printf("the guest's sum is right: %s; pages in RAM: %lu\n", right ? "yes" : "no", resident());
}

int main(void)
{
	int vm_stats, vcpu_stats;
	u64 i, sum = 0, faults;

	g = guest_create(MODE_LONG);
	vm_stats = ioctl(g->vm, KVM_GET_STATS_FD, 0);
	vcpu_stats = ioctl(g->vcpu, KVM_GET_STATS_FD, 0);
	memory = pages(NPAGES * PAGE);
	madvise(memory, NPAGES * PAGE, MADV_NOHUGEPAGE);
	guest_add_memory(g, SLOT, GPA, memory, NPAGES * PAGE, 0);
	for (i = 0; i < NPAGES; i++) {
		*(u64 *)(memory + i * PAGE) = i * i;
		sum += i * i;
		guest_map(g, LINEAR + i * PAGE, GPA + i * PAGE, PTE_P | PTE_W);
	}
	add_up(sum);

	for (i = 0; i < 2; i++) {
		if (madvise(memory, NPAGES * PAGE, MADV_PAGEOUT))
			die("MADV_PAGEOUT");
		printf("the host wants the memory back; pages in RAM: %lu\n", resident());
	}
	printf("second-stage entries were removed: %s\n",
	       stats_value(vm_stats, "mmu_shadow_zapped") > 0 ? "yes" : "no");

	faults = stats_value(vcpu_stats, "pf_taken");
	add_up(sum);
	printf("second-stage faults of the guest: %lu\n", stats_value(vcpu_stats, "pf_taken") - faults);
	return 0;
}
