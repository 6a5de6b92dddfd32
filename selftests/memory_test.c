// SPDX-License-Identifier: GPL-2.0
/*
 * memory_test - guest memory is process memory: a guest checks a pattern in its memory all the time and goes on changing
 * it, while the host swaps it out, merges it with another guest's, makes huge pages of it and takes them apart, moves
 * it, and while the client throws parts of it away, moves its mapping, forbids it, and forks. No byte may be wrong; the
 * host's counters have to show that it happened. LONG=1 in the environment makes it ten minutes each, LONG=N N seconds.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "checker.h"
#include "host.h"

#define STEP 32 /* words between those that are looked at */

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

enum { DONE = 1 };

static void wait_a_little(void)
{
	usleep(20000);
}

static void test_swap(void)
{
	u64 out, in;

	swap_on();
	/* With what the program itself needs, about half of what the guest uses. */
	limit_memory(CHECKER_SIZE / 2 + 2 * MiB);
	counted("pswpout ");
	counted("pswpin ");
	checkers_start(1);
	checkers_meanwhile(wait_a_little);
	checkers_end();
	out = counted("pswpout ");
	in = counted("pswpin ");
	diag("%lu pages went out, %lu came back, in %lu passes", out, in, checkers[0].passes);
	unlimit_memory();
	swap_off();
	expect(out > CHECKER_PAGES / 2);
	expect(in > CHECKER_PAGES / 4);
}

#define KSM "/sys/kernel/mm/ksm/"

static u64 most_merged;

static void watch_ksm(void)
{
	u64 merged = read_number(KSM "pages_sharing", "");

	if (merged > most_merged)
		most_merged = merged;
	usleep(20000);
}

static void test_ksm(void)
{
	unsigned int i;

	if (!write_file(KSM "run", "1") || !shell("renice -n -10 $(pidof ksmd) >/dev/null"))
		skip("no KSM");
	write_file(KSM "sleep_millisecs", "0");
	write_file(KSM "pages_to_scan", "4000");
	counted("cow_ksm ");
	checkers_start(2);
	for (i = 0; i < 2; i++)
		if (madvise(checkers[i].memory, CHECKER_SIZE, MADV_MERGEABLE))
			die("MADV_MERGEABLE");
	checkers_meanwhile(watch_ksm);
	while (most_merged < BALLOON / 4 && !failed())
		watch_ksm();
	checkers_end();
	diag("%lu pages were merged, %lu merged ones written to, in %lu passes", most_merged, counted("cow_ksm "),
	     checkers[0].passes);
	write_file(KSM "run", "2");
	write_file(KSM "run", "0");
}

static u64 nr_discarded;

static void change_pages(void)
{
	u8 *large = checkers[0].memory + rand() % (CHECKER_SIZE / (2 * MiB)) * 2 * MiB;
	u64 page = BALLOON + rand() % (CHECKER_PAGES - BALLOON - 16);

	switch (rand() % 32) {
	case 0:
		write_file("/proc/sys/vm/compact_memory", "1");
		break;
	case 1 ... 4:
		madvise(large, 2 * MiB, MADV_COLLAPSE);
		break;
	case 5 ... 12:
		madvise(large, 2 * MiB, rand() % 2 ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
		break;
	case 13 ... 16:
		madvise(large + rand() % 512 * PAGE, 16 * PAGE, rand() % 2 ? MADV_PAGEOUT : MADV_COLD);
		break;
	default:
		nr_discarded += !madvise(checkers[0].memory + page * PAGE, (1 + rand() % 16) * PAGE,
					 rand() % 4 ? MADV_DONTNEED : MADV_FREE);
	}
	usleep(1000);
}

static void test_pages(void)
{
	static const char *const names[] = { "thp_collapse_alloc ", "thp_split_pmd ", "pgmigrate_success ",
					     "pswpout " };
	unsigned int i;

	swap_on();
	for (i = 0; i < ARRAY_SIZE(names); i++)
		counted(names[i]);
	checkers_start(1);
	checkers_meanwhile(change_pages);
	checkers_end();
	diag("%lu times made huge, %lu times split, %lu pages moved, %lu paged out; %lu times discarded; in %lu passes",
	     counted(names[0]), counted(names[1]), counted(names[2]), counted(names[3]), nr_discarded,
	     checkers[0].passes);
	for (i = 0; i < ARRAY_SIZE(names); i++)
		if (!counted(names[i]))
			fail("it did not happen: %s", names[i]);
	expect(nr_discarded);
	munmap(checkers[0].memory, CHECKER_SIZE);
	swap_off();
}

static u64 nr_moved, nr_forked;

/* Away with a part of the mapping, and back. */
static void move_mapping(u8 *start, u64 size)
{
	void *away = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (mremap(start, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, away) != away)
		die("mremap");
	usleep(rand() % 2000);
	if (mremap(away, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, start) != start)
		die("mremap");
	nr_moved++;
}

static u64 checksum(const u8 *start, u64 size)
{
	const u64 *at = (const u64 *)start, *last = (const u64 *)(start + size);
	u64 sum = 0;

	for (; at < last; at += STEP)
		sum = (sum ^ *at) * 0x9e3779b97f4a7c15ul;
	return sum;
}

/* The child's memory is its own: what the guest writes from now on is not seen in it. */
static void fork_child(u8 *start, u64 size)
{
	int status;
	pid_t pid = fork();
	u64 sum;

	if (pid < 0)
		die("fork");
	if (!pid) {
		sum = checksum(start, size);
		usleep(20000);
		_exit(checksum(start, size) != sum);
	}
	nr_forked++;
	if (waitpid(pid, &status, 0) != pid || status)
		fail("the child of a fork saw the guest write");
}

static void change_mapping(void)
{
	u64 page = rand() % (CHECKER_PAGES - 512), size = (1 + rand() % 512) * PAGE;
	u8 *start = checkers[0].memory + page * PAGE;

	switch (rand() % 4) {
	case 0:
		move_mapping(start, size);
		break;
	case 1:
		mprotect(start, size, rand() % 2 ? PROT_READ : PROT_NONE);
		usleep(rand() % 2000);
		mprotect(start, size, PROT_READ | PROT_WRITE);
		break;
	case 2:
		fork_child(start, size);
		break;
	default:
		usleep(2000);
	}
}

static void test_mappings(void)
{
	checkers_start(1);
	checkers_meanwhile(change_mapping);
	while (!nr_refused && !failed())
		change_mapping();
	checkers_end();
	diag("moved %lu times, forked %lu times, KVM_RUN refused %lu times, in %lu passes", nr_moved, nr_forked,
	     nr_refused, checkers[0].passes);
	expect(nr_moved && nr_forked);
}

/* The same memory at so many addresses needs so many tables. */
#define NR_VIEWS 20

static void guest_views(void)
{
	u64 at;

	for (;;) {
		for (at = CHECKER_GPA; at < CHECKER_GPA + NR_VIEWS * CHECKER_SIZE; at += 2 * MiB)
			READ(*(u64 *)at) = READ(*(u64 *)at) + 1;
		sync_host(DONE);
	}
}

static u64 tables_of_group(void)
{
	return read_number(GROUP "/memory.stat", "kernel ") / PAGE;
}

/* Second-stage tables count as the client's memory, go when memory is short, and come back. */
static void test_tables(void)
{
	u64 before, mapped, shrunk, again, offset;
	unsigned int i;

	limit_memory(8 * CHECKER_SIZE);
	checkers[0].machine = machine_create(1, 0);
	checkers[0].memory = checker_memory();
	madvise(checkers[0].memory, CHECKER_SIZE, MADV_NOHUGEPAGE);
	for (i = 0; i < NR_VIEWS; i++) {
		struct kvm_userspace_memory_region region = { .slot = CHECKER_SLOT + i,
							      .guest_phys_addr = CHECKER_GPA + i * CHECKER_SIZE,
							      .memory_size = CHECKER_SIZE,
							      .userspace_addr = (u64)checkers[0].memory };

		expect_errno(ioctl(checkers[0].machine.vm, KVM_SET_USER_MEMORY_REGION, &region), 0);
	}
	machine_start(&checkers[0].machine, 0, guest_views);
	before = tables_of_group();
	machine_expect(&checkers[0].machine, 0, DONE);
	mapped = tables_of_group();
	if (!write_file("/proc/sys/vm/drop_caches", "2"))
		skip("/proc/sys/vm/drop_caches");
	shrunk = tables_of_group();
	machine_expect(&checkers[0].machine, 0, DONE);
	again = tables_of_group();
	diag("kernel pages of the group: %lu, %lu with the tables, %lu shrunk, %lu used again", before, mapped, shrunk,
	     again);
	/* One for each 2 MiB; kernel memory of other kinds comes and goes. */
	expect(mapped >= before + NR_VIEWS * CHECKER_SIZE / (2 * MiB) * 9 / 10);
	expect(shrunk <= before + (mapped - before) / 4);
	expect(again >= shrunk + (mapped - shrunk) * 9 / 10);
	for (offset = 0; offset < CHECKER_SIZE; offset += 2 * MiB)
		expect_eq(*(u64 *)(checkers[0].memory + offset), 2 * NR_VIEWS);
	unlimit_memory();
}

static const struct test tests[] = {
	{ "twice as much as there is: swap", test_swap },	   { "two guests alike: KSM", test_ksm },
	{ "huge pages, compaction, discarded pages", test_pages }, { "mremap, mprotect, fork", test_mappings },
	{ "tables are accounted, and shrink", test_tables },
};

KTAP_MAIN(tests)
