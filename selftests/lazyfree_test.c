// SPDX-License-Identifier: GPL-2.0
/*
 * lazyfree_test - MADV_FREE of guest memory, and the host short of memory: from then on the guest sees in each page what
 * was there or zeroes, nothing else, until it writes to the page; what it has written stays.
 * Source: madvise(2).
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "checker.h"
#include "host.h"

#define NR_PAGES CHECKER_PAGES
#define ROUNDS 4

enum { DONE = 1, WRONG };

/* -- the guest ---------------------------------------------------------------------------------------------------- */

static struct {
	u64 generation;	 /* as which it was last written */
	bool may_vanish; /* not written since it was freed */
	bool chosen;	 /* for what the guest is to do now */
} pages[NR_PAGES];

static bool to_write; /* or else to check */
static u64 nr_vanished, wrong;

static bool page_is_zero(volatile u64 *at)
{
	unsigned int i;

	for (i = 0; i < PAGE / 8; i++)
		if (at[i])
			return false;
	return true;
}

/* Also by the client. */
static bool check_page(volatile u64 *at, u64 page)
{
	if (page_is_right(at, page) && at[0] == READ(pages[page].generation))
		return true;
	nr_vanished++;
	return READ(pages[page].may_vanish) && page_is_zero(at);
}

static void obey(u64 page)
{
	volatile u64 *at = (u64 *)(CHECKER_GPA + page * PAGE);

	if (READ(to_write)) {
		write_page(at, page, READ(pages[page].generation));
	} else if (!check_page(at, page)) {
		READ(wrong) = page;
		sync_host(WRONG);
	}
}

static void guest_main(void)
{
	u64 page;

	for (;;) {
		READ(nr_vanished) = 0;
		for (page = 0; page < NR_PAGES; page++)
			if (READ(pages[page].chosen))
				obey(page);
		sync_host(DONE);
	}
}

/* -- the client --------------------------------------------------------------------------------------------------- */

static struct machine m;
static u8 *memory;
static bool end;

static u64 unit; /* pages that the host has as one */

/* One unit in so many, at random. */
static void choose(unsigned int of)
{
	bool chosen = false;
	u64 page;

	for (page = 0; page < NR_PAGES; page++) {
		if (page % unit == 0)
			chosen = !(rand() % of);
		pages[page].chosen = chosen;
	}
}

static void run(void)
{
	int number = machine_run(&m, 0);

	if (number == WRONG)
		fail("the guest sees page %lu wrong", wrong);
	else if (number != DONE)
		die("KVM_RUN");
}

static void let_write(u64 generation)
{
	u64 page;

	for (page = 0; page < NR_PAGES; page++) {
		if (!pages[page].chosen)
			continue;
		pages[page].generation = generation;
		pages[page].may_vanish = false;
	}
	to_write = true;
	run();
}

static void let_check(void)
{
	to_write = false;
	run();
}

static void free_all(void)
{
	u64 page;

	if (madvise(memory, CHECKER_SIZE, MADV_FREE))
		die("MADV_FREE");
	for (page = 0; page < NR_PAGES; page++)
		pages[page].may_vanish = true;
}

/* Fails when there is not that much to be had. */
static void reclaim(void)
{
	write_file(GROUP "/memory.reclaim", "32M");
}

static void *keep_reclaiming(void *arg)
{
	while (!READ(end))
		reclaim();
	return arg;
}

/* A part of the pages is written to while the host takes others away, a part is only read. */
static void one_round(u64 generation)
{
	pthread_t thread;
	u64 page;

	choose(1);
	let_write(generation);
	free_all();
	choose(8);
	let_check();

	end = false;
	pthread_create(&thread, NULL, keep_reclaiming, NULL);
	choose(4);
	let_write(generation + 1);
	end = true;
	pthread_join(thread, NULL);
	reclaim();

	choose(1);
	let_check();
	diag("of %lu pages that were freed %lu were taken", NR_PAGES, nr_vanished);
	expect(nr_vanished > NR_PAGES / 8);
	for (page = 0; page < NR_PAGES; page++)
		if (!check_page((u64 *)(memory + page * PAGE), page))
			fail("the client sees page %lu wrong", page);
}

static void check_rounds(u64 pages_of_unit)
{
	u64 round;

	unit = pages_of_unit;
	limit_memory(8 * CHECKER_SIZE);
	m = machine_create(1, 0);
	memory = checker_memory();
	if (madvise(memory, CHECKER_SIZE, unit > 1 ? MADV_HUGEPAGE : MADV_NOHUGEPAGE))
		die("madvise");
	checker_add_memory(&m, memory);
	machine_start(&m, 0, guest_main);
	for (round = 0; round < ROUNDS && !failed(); round++)
		one_round(1 + 2 * round);
	munmap(memory, CHECKER_SIZE);
	unlimit_memory();
}

static void test_small(void)
{
	check_rounds(1);
}

static void test_huge(void)
{
	check_rounds(2 * MiB / PAGE);
}

static const struct test tests[] = {
	{ "pages of 4 KiB", test_small },
	{ "pages of 2 MiB", test_huge },
};

KTAP_MAIN(tests)
