// SPDX-License-Identifier: GPL-2.0
/*
 * huge_test - the second-stage tables have pages of 4 KiB, 2 MiB and 1 GiB: as large as the host's mapping and the slot
 * allow, small ones while writes are logged, and large ones again afterwards. Pages of 1 GiB are the host's to set aside
 * when it boots (hugepagesz=1G hugepages=1).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/mman.h>
#include <sys/mman.h>

#include "pith.h"
#include "machine.h"

#define KiB (1ul << 10)
#define MiB (1ul << 20)
#define GiB (1ul << 30)
#define PAGE (4 * KiB)
#define SLOT 7
#define GPA (3 * GiB) /* the guest has it mapped, as long as there is no local APIC */

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

enum { DONE = 1 };

/* -- the guest ---------------------------------------------------------------------------------------------------- */

static struct {
	u64 offset, seen; /* where, and what was there */
	u64 add;	  /* 0: only to read */
} given;

static void guest_obey(void)
{
	u64 *at;

	for (;;) {
		at = (u64 *)(GPA + READ(given.offset));
		READ(given.seen) = READ(*at);
		if (READ(given.add))
			READ(*at) = READ(given.seen) + READ(given.add);
		sync_host(DONE);
	}
}

/* -- the client --------------------------------------------------------------------------------------------------- */

static struct machine m;
static int inspection;
static u64 size; /* of the slot */
static u8 *memory;

static void make_machine(void)
{
	m = machine_create(1, 0);
	machine_start(&m, 0, guest_obey);
	inspection = ioctl(m.vm, PITH_INSPECT);
	if (inspection < 0)
		die("PITH_INSPECT");
}

static void set_slot(u8 *start, u64 bytes, u32 flags)
{
	struct kvm_userspace_memory_region region = {
		.slot = SLOT, .flags = flags, .guest_phys_addr = GPA, .memory_size = bytes, .userspace_addr = (u64)start
	};

	memory = start;
	size = bytes;
	if (ioctl(m.vm, KVM_SET_USER_MEMORY_REGION, &region))
		die("KVM_SET_USER_MEMORY_REGION");
}

/* The guest reads eight bytes of a page, or adds to them. Returns what was there. */
static u64 touch(u64 offset, u64 add)
{
	given.offset = offset;
	given.add = add;
	machine_expect(&m, 0, DONE);
	return given.seen;
}

/* Of the page that the tables have there; 0: none. */
static u64 mapped_size(u64 offset)
{
	struct pith_inspect_page page = { .gpa = GPA + offset };

	if (ioctl(inspection, PITH_INSPECT_PAGE, &page))
		die("PITH_INSPECT_PAGE");
	return page.size;
}

/* A mapping of a multiple of a size, aligned to it. */
static u8 *map_aligned(u64 bytes, u64 align)
{
	u8 *start =
		mmap(NULL, bytes + align, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (start == MAP_FAILED)
		die("mmap");
	return (u8 *)(((u64)start + align - 1) & -align);
}

/* One large page of 2 MiB. */
static u8 *map_2m(void)
{
	u8 *start = map_aligned(2 * MiB, 2 * MiB);

	start[0] = 0;
	if (madvise(start, 2 * MiB, MADV_HUGEPAGE) || madvise(start, 2 * MiB, MADV_COLLAPSE))
		die("MADV_COLLAPSE");
	return start;
}

static u8 *map_1g(void)
{
	u8 *start = mmap(NULL, GiB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_HUGE_1GB,
			 -1, 0);

	if (start == MAP_FAILED)
		skip("the host has no page of 1 GiB to spare");
	return start;
}

/* -- dirty logging ------------------------------------------------------------------------------------------------ */

/* Whether the log holds these two pages and no other. It is empty afterwards. */
static void expect_log(u64 one, u64 other)
{
	static u8 bits[GiB / PAGE / 8];
	struct kvm_dirty_log log = { .slot = SLOT, .dirty_bitmap = bits };
	u64 page, nr = 0;

	expect_errno(ioctl(m.vm, KVM_GET_DIRTY_LOG, &log), 0);
	for (page = 0; page < size / PAGE; page++)
		nr += bits[page / 8] >> page % 8 & 1;
	expect(bits[one / PAGE / 8] >> one / PAGE % 8 & 1);
	expect(bits[other / PAGE / 8] >> other / PAGE % 8 & 1);
	expect_eq(nr, one == other ? 1 : 2);
}

/*
 * While writes are logged, it is pages of 4 KiB that are mapped, each write is one of a page, and pages that are only
 * read are not in the log. Before and afterwards it is a large page. @base: what all that is touched holds.
 */
static void check_log(u8 *start, u64 large, u64 base)
{
	const u64 first = PAGE, middle = large / 2, last = large - PAGE;

	expect_eq(touch(middle, 1), base);
	expect_eq(mapped_size(0), large);
	expect_eq(mapped_size(last), large);

	set_slot(start, large, KVM_MEM_LOG_DIRTY_PAGES);
	expect_eq(touch(first, 1), base);
	expect_eq(touch(last, 1), base);
	expect_eq(touch(middle, 0), base + 1);
	expect_eq(mapped_size(first), PAGE);
	expect_eq(mapped_size(middle), PAGE);
	expect_eq(mapped_size(middle + PAGE), 0);
	expect_log(first, last);
	expect_eq(touch(first, 0), base + 1);
	expect_eq(touch(last, 1), base + 1);
	expect_log(last, last);
	expect_eq(touch(middle, 1), base + 1);
	expect_log(middle, middle);

	set_slot(start, large, 0);
	expect_eq(touch(first, 0), base + 1);
	expect_eq(mapped_size(first), large);
	expect_eq(mapped_size(middle), large);
	expect_eq(touch(middle, 0), base + 2);
	expect_eq(*(u64 *)(start + last), base + 2);
}

static void test_log_2m(void)
{
	u8 *start = map_2m();

	make_machine();
	set_slot(start, 2 * MiB, 0);
	check_log(start, 2 * MiB, 0);
}

static void test_log_1g(void)
{
	u8 *start = map_1g();

	make_machine();
	set_slot(start, GiB, 0);
	check_log(start, GiB, 0);
}

/* -- the host's mapping ------------------------------------------------------------------------------------------- */

/* What the host takes apart is mapped in pieces, and what it puts together is mapped as one again. */
static void test_split(void)
{
	u8 *start = map_2m();

	make_machine();
	set_slot(start, 2 * MiB, 0);
	expect_eq(touch(PAGE, 1), 0);
	expect_eq(mapped_size(0), 2 * MiB);

	/* Other rights for one page: the host's large page goes, and with it the guest's. */
	expect_errno(mprotect(start + MiB, PAGE, PROT_READ), 0);
	expect_eq(mapped_size(PAGE), 0);
	expect_eq(touch(PAGE, 1), 1);
	expect_eq(touch(MiB, 0), 0);
	expect_eq(mapped_size(PAGE), PAGE);
	expect_eq(mapped_size(MiB), PAGE);

	expect_errno(mprotect(start + MiB, PAGE, PROT_READ | PROT_WRITE), 0);
	expect_errno(madvise(start, 2 * MiB, MADV_COLLAPSE), 0);
	expect_eq(mapped_size(PAGE), 0);
	expect_eq(touch(PAGE, 1), 2);
	expect_eq(mapped_size(PAGE), 2 * MiB);
	expect_eq(*(u64 *)(start + PAGE), 3);
}

/* What the client throws away or unmaps is not mapped any more, all of it at once. */
static void check_gone(u8 *start, u64 large)
{
	expect_eq(touch(large - PAGE, 5), 0);
	expect_eq(mapped_size(0), large);
	expect_errno(madvise(start, large, MADV_DONTNEED), 0);
	expect_eq(mapped_size(0), 0);
	expect_eq(mapped_size(large - PAGE), 0);
	expect_eq(touch(large - PAGE, 5), 0);

	expect_errno(munmap(start, large), 0);
	expect_eq(mapped_size(large - PAGE), 0);
	expect_eq(machine_run(&m, 0), (u64)-1);
	expect_eq(errno, EFAULT);
}

static void test_gone_2m(void)
{
	u8 *start = map_2m();

	make_machine();
	set_slot(start, 2 * MiB, 0);
	check_gone(start, 2 * MiB);
}

static void test_gone_1g(void)
{
	u8 *start = map_1g();

	make_machine();
	set_slot(start, GiB, 0);
	check_gone(start, GiB);
}

/* A page of the tables has to be aligned for guest and host alike, and must not reach over the slot's ends. */
static void test_fits(void)
{
	u8 *start = map_1g();

	make_machine();
	set_slot(start, GiB - PAGE, 0);
	expect_eq(touch(0, 1), 0);
	expect_eq(mapped_size(0), 2 * MiB);
	expect_eq(touch(GiB - MiB, 1), 0);
	expect_eq(mapped_size(GiB - MiB), PAGE);
	expect_eq(mapped_size(GiB - PAGE), 0);

	set_slot(start, 0, 0);
	set_slot(start + 2 * MiB, GiB - 2 * MiB, 0);
	expect_eq(touch(0, 7), 0);
	expect_eq(mapped_size(0), 2 * MiB);

	set_slot(start, 0, 0);
	set_slot(start + PAGE, GiB - PAGE, 0);
	expect_eq(touch(4 * MiB, 9), 0);
	expect_eq(mapped_size(4 * MiB), PAGE);
	expect_eq(*(u64 *)(start + 2 * MiB), 7);
	expect_eq(*(u64 *)(start + 4 * MiB + PAGE), 9);

	set_slot(start, 0, 0);
	set_slot(start, GiB, 0);
	expect_eq(touch(2 * MiB, 0), 7);
	expect_eq(mapped_size(0), GiB);
}

static const struct test tests[] = {
	{ "2 MiB: split and collapsed by the host", test_split },
	{ "2 MiB: split by the dirty log", test_log_2m },
	{ "2 MiB: thrown away", test_gone_2m },
	{ "1 GiB: split by the dirty log", test_log_1g },
	{ "1 GiB: thrown away", test_gone_1g },
	{ "1 GiB: guest and host aligned alike, and all of it in the slot", test_fits },
};

KTAP_MAIN(tests)
