// SPDX-License-Identifier: GPL-2.0
/*
 * nx_huge_test - on CPUs with the erratum "iTLB multihit", or if the module's parameter nx_huge_pages says so, a guest
 * executes no code in a large page of the second-stage tables: such a page has data, and code gets small ones.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "machine.h"
#include "pith.h"

#define PAGE 4096ul
#define MiB (1ul << 20)
#define SLOT 7
#define GPA 0x20000000ul
#define SIZE (4 * MiB)
#define CODE (GPA + 5 * PAGE)
#define TABLES (GPA + 16 * PAGE)
#define LARGE 0x80ul /* of a page-table entry */
#define VALUE 0x0123456789abcdeful

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

enum { DONE = 1, WRONG };

/* -- the guest ---------------------------------------------------------------------------------------------------- */

static bool code_first;

static void check_data(u64 at)
{
	sync_host(READ(*(u64 *)at) == VALUE ? DONE : WRONG);
}

static void guest(void)
{
	if (!code_first)
		check_data(GPA);
	((void (*)(void))CODE)();
	sync_host(DONE);
	/* The page beside it, and a write to the code's own. */
	check_data(GPA + 6 * PAGE);
	READ(*(u64 *)(CODE + 8)) = VALUE;
	check_data(CODE + 8);
	((void (*)(void))CODE)();
	check_data(GPA + 2 * MiB);
}

/* -- the client --------------------------------------------------------------------------------------------------- */

static bool small_pages_for_code; /* what is to be expected */

static void expect_code_in(bool small)
{
	small_pages_for_code = small;
	diag("code %s", small ? "in small pages only" : "in pages of any size");
}

/* What the kernel says of the CPU begins so if it has the erratum and nobody has switched mitigations off. */
static bool cpu_needs_it(void)
{
	FILE *file = fopen("/sys/devices/system/cpu/vulnerabilities/itlb_multihit", "r");
	char text[64] = "";
	bool off;

	if (!file || !fgets(text, sizeof(text), file))
		skip("the kernel does not tell whether the CPU has the erratum");
	fclose(file);
	off = !system("grep -q mitigations=off /proc/cmdline");
	return strncmp(text, "Not affected", 12) && !off;
}

static void parameter(void)
{
	FILE *file = fopen("/sys/module/pith/parameters/nx_huge_pages", "r");
	int value;

	if (!file || fscanf(file, "%d", &value) != 1)
		die("parameter nx_huge_pages");
	fclose(file);
	expect_code_in(value < 0 ? cpu_needs_it() : value);
}

static int inspection;
static u8 *client_memory;

static struct pith_inspect_page look_at_page(u64 gpa)
{
	struct pith_inspect_page page = { .gpa = gpa };

	expect_errno(ioctl(inspection, PITH_INSPECT_PAGE, &page), 0);
	return page;
}

static void expect_page(u64 gpa, u64 size, bool executable)
{
	struct pith_inspect_page page = look_at_page(gpa);

	expect_eq(page.size, size);
	expect_eq(!!(page.flags & PITH_PAGE_EXEC), executable);
}

static void *huge_memory(void)
{
	u8 *start = mmap(NULL, SIZE + 2 * MiB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	u64 at;

	if (start == MAP_FAILED)
		die("mmap");
	start = (u8 *)(((u64)start + 2 * MiB - 1) & -(2 * MiB));
	madvise(start, SIZE, MADV_HUGEPAGE);
	for (at = 0; at < SIZE; at += 8)
		*(u64 *)(start + at) = VALUE;
	if (madvise(start, SIZE, MADV_COLLAPSE))
		skip("no huge pages");
	return start;
}

static struct machine start_guest(void)
{
	struct machine m = machine_create(1, 0);
	u8 *memory = client_memory = huge_memory();
	struct kvm_userspace_memory_region region = {
		.slot = SLOT, .guest_phys_addr = GPA, .memory_size = SIZE, .userspace_addr = (u64)memory
	};

	parameter();
	memory[CODE - GPA] = 0xc3; /* ret */
	expect_errno(ioctl(m.vm, KVM_SET_USER_MEMORY_REGION, &region), 0);
	inspection = ioctl(m.vm, PITH_INSPECT, 0);
	expect(inspection >= 0);
	machine_start(&m, 0, guest);
	return m;
}

/* The rest of what the guest does: whatever was small stays so, and the other large page is not concerned. */
static void expect_the_rest(struct machine *m)
{
	u64 size = small_pages_for_code ? PAGE : 2 * MiB;

	machine_expect(m, 0, DONE);
	expect_page(GPA + 6 * PAGE, size, true);
	machine_expect(m, 0, DONE);
	expect_page(CODE, size, true);
	machine_expect(m, 0, DONE);
	expect_page(GPA + 2 * MiB, 2 * MiB, !small_pages_for_code);
}

static void test_data_then_code(void)
{
	struct machine m = start_guest();

	machine_expect(&m, 0, DONE);
	expect_page(GPA, 2 * MiB, !small_pages_for_code);
	machine_expect(&m, 0, DONE);
	expect_page(CODE, small_pages_for_code ? PAGE : 2 * MiB, true);
	expect_the_rest(&m);
}

static void test_code_first(void)
{
	struct machine m;

	code_first = true;
	m = start_guest();
	machine_expect(&m, 0, DONE);
	expect_page(CODE, small_pages_for_code ? PAGE : 2 * MiB, true);
	expect_the_rest(&m);
}

/* The guest's page tables, copied to behind its code: to fetch that, the CPU reads them, in the same large page. */
static void move_tables(struct machine *m, u8 *memory)
{
	struct kvm_sregs sregs;
	u64 *table, entry, gpa = TABLES;

	expect_errno(ioctl(m->vcpu[0].fd, KVM_GET_SREGS, &sregs), 0);
	entry = sregs.cr3;
	sregs.cr3 = gpa;
	for (; entry && !(entry & LARGE); gpa += PAGE) {
		table = (u64 *)(memory + gpa - GPA);
		memcpy(table, (void *)(entry & -PAGE), PAGE);
		entry = table[0];
		if (!(entry & LARGE))
			table[0] = (gpa + PAGE) | (entry & (PAGE - 1));
	}
	expect_errno(ioctl(m->vcpu[0].fd, KVM_SET_SREGS, &sregs), 0);
}

static void test_code_beside_tables(void)
{
	struct machine m;

	code_first = true;
	m = start_guest();
	move_tables(&m, client_memory);
	machine_expect(&m, 0, DONE);
	expect_page(CODE, small_pages_for_code ? PAGE : 2 * MiB, true);
	expect_the_rest(&m);
}

static const struct test tests[] = {
	{ "a large page of data, then code in it", test_data_then_code },
	{ "code first", test_code_first },
	{ "code beside its page tables", test_code_beside_tables },
};

KTAP_MAIN(tests)
