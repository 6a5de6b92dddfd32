// SPDX-License-Identifier: GPL-2.0
/* vendors - what the CPU tells of the same exits by VT-x and by AMD-V, out of the exit log. */
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest.h"
#include "pith.h"

#define NR 64
#define LOG_SIZE (PAGE + NR * sizeof(struct pith_exit_record))
#define HOST_INTERRUPT_VMX 1
#define HOST_INTERRUPT_SVM 0x60
#define EPT_VIOLATION 48
#define OF_THE_ACCESS 0x1ff /* the rest is about the guest's page tables, from CPUs that tell */

struct experiment {
	const char *what;
	struct code code;
};

static bool is_hosts(const struct pith_exit_log *log, const struct pith_exit_record *record)
{
	return record->reason == (log->isa == PITH_ISA_VMX ? HOST_INTERRUPT_VMX : HOST_INTERRUPT_SVM);
}

static u64 information(const struct pith_exit_log *log, const struct pith_exit_record *record)
{
	bool masked = log->isa == PITH_ISA_VMX && record->reason == EPT_VIOLATION;

	return masked ? record->info[0] & OF_THE_ACCESS : record->info[0];
}

/* The last record but that of the HLT behind the code, which is not complete until the guest is entered again. */
static void show(const struct experiment *e)
{
	struct guest *g = guest_create(MODE_LONG);
	const struct pith_exit_record *record;
	const struct pith_exit_log *log;
	unsigned long i;

	if (ioctl(g->vm, PITH_SET_EXIT_LOG, NR))
		die("PITH_SET_EXIT_LOG");
	log = mmap(NULL, LOG_SIZE, PROT_READ, MAP_SHARED, g->vcpu, PITH_EXIT_LOG_PAGE_OFFSET * PAGE);
	if (log == MAP_FAILED)
		die("mmap");
	guest_load(g, e->code);
	guest_start(g);
	while (g->exit != KVM_EXIT_HLT)
		guest_run(g);
	record = (const void *)((const u8 *)log + PAGE);
	for (i = log->head; i > 0; i--)
		if (!is_hosts(log, &record[(i - 1) % NR]) && record[(i - 1) % NR].rip >= GUEST_CODE)
			break;
	if (!i)
		die("no record of %s", e->what);
	record += (i - 1) % NR;
	printf("%-14s reason %#5x, information %#lx, %#lx\n", e->what, record->reason, information(log, record),
	       (u64)record->info[1]);
	guest_destroy(g);
}

int main(void)
{
	const struct experiment experiments[] = {
		{ "cpuid", CODE64("cpuid") },
		{ "rdmsr", CODE64("mov $0x1b, %ecx\nrdmsr") },
		{ "wrmsr", CODE64("mov $0x10, %ecx\nwrmsr") },
		{ "out %al, $0x80", CODE64("out %al, $0x80") },
		{ "in $0x71, %al", CODE64("in $0x71, %al") },
		{ "store to MMIO", CODE64("mov %eax, 0xa0000") },
		{ "load from MMIO", CODE64("mov 0xa0004, %eax") },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(experiments); i++)
		show(&experiments[i]);
	return 0;
}
