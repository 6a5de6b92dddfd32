// SPDX-License-Identifier: GPL-2.0
/* twice - an address is translated twice: by the guest's page tables, and by the host's second-stage tables. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest.h"
#include "pith.h"

#define LINEAR 0x800000ul /* what the guest's program reads */
#define GPA 0x40000000ul  /* where the guest's tables say that stands */
#define SLOT 7

static struct guest *g;
static int inspection;

/* First step: the guest's tables. */
static u64 guest_physical(u64 linear)
{
	struct kvm_translation t = { .linear_address = linear };

	if (ioctl(g->vcpu, KVM_TRANSLATE, &t) || !t.valid)
		die("KVM_TRANSLATE");
	return t.physical_address;
}

/* Second step: EPT or NPT, as the hardware walks it. 0: no entry. */
static u64 host_physical(u64 gpa)
{
	struct pith_inspect_page page = { .gpa = gpa };

	if (ioctl(inspection, PITH_INSPECT_PAGE, &page))
		die("PITH_INSPECT_PAGE");
	return page.host;
}

/* The same page in the tables of this process, as the kernel tells them. */
static u64 host_physical_of(const void *address)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	u64 entry = 0;

	if (pread(fd, &entry, 8, (u64)address / PAGE * 8) != 8)
		die("pagemap");
	close(fd);
	return (entry & ((1ul << 55) - 1)) * PAGE + (u64)address % PAGE;
}

static u64 guest_reads(void)
{
	guest_load(g, CODE64("mov 0x800008, %rax"));
	if (guest_start(g) != KVM_EXIT_HLT)
		die("the guest: %s", guest_exit_text(g));
	return g->regs.rax;
}

static void show(const char *when, const u8 *memory)
{
	u64 gpa = guest_physical(LINEAR + 8), before = host_physical(gpa), value = guest_reads();

	printf("%s: linear %#lx is guest-physical %#lx; there the guest reads %#lx\n", when, LINEAR + 8, gpa, value);
	printf("  second-stage entry before the access: %s, after it: %s\n", before ? "yes" : "no",
	       host_physical(gpa) ? "yes" : "no");
	printf("  it leads to the page that this process has there: %s\n",
	       host_physical(gpa) == host_physical_of(memory + gpa % GPA) ? "yes" : "no");
}

int main(void)
{
	u8 *memory = pages(4 * PAGE), *elsewhere;

	g = guest_create(MODE_LONG);
	inspection = ioctl(g->vm, PITH_INSPECT, 0);
	guest_add_memory(g, SLOT, GPA, memory, 4 * PAGE, 0);
	*(u64 *)(memory + 8) = 0x1111;
	*(u64 *)(memory + PAGE + 8) = 0x2222;
	guest_map(g, LINEAR, GPA, PTE_P | PTE_W);
	show("at first", memory);

	guest_map(g, LINEAR, GPA + PAGE, PTE_P | PTE_W);
	show("the guest changes its tables", memory);

	/* Pages with the same bytes take the place of those that are there. */
	elsewhere = pages(4 * PAGE);
	memcpy(elsewhere, memory, 4 * PAGE);
	if (mremap(elsewhere, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, memory) != memory)
		die("mremap");
	show("the host changes its own", memory);
	return 0;
}
