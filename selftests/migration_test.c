// SPDX-License-Identifier: GPL-2.0
/*
 * migration_test - the host moves the memory of guests that run, to another NUMA node or out of memory that goes offline,
 * and they see nothing of it: they check a pattern all the time. It takes a machine of two nodes of which the second has
 * memory that is for movable pages only (movablecore=).
 * Source: move_pages(2), mbind(2); the kernel's Documentation/admin-guide/mm/memory-hotplug.rst.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "checker.h"
#include "host.h"
#include "pith.h"

#define MEMORY "/sys/devices/system/memory/"

/* -- where a page is ---------------------------------------------------------------------------------------------- */

/* The host's page frame, or 0 while there is none. Source: the kernel's Documentation/admin-guide/mm/pagemap.rst. */
static u64 page_frame(const u8 *address)
{
	static int fd = -1;
	u64 entry = 0;

	if (fd < 0)
		fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (pread(fd, &entry, sizeof(entry), (u64)address / PAGE * sizeof(entry)) != sizeof(entry))
		die("/proc/self/pagemap");
	return entry >> 63 ? entry & ((1ul << 55) - 1) : 0;
}

/* The one that the guest uses, or 0 while none is mapped. */
static u64 guest_frame(u64 page)
{
	struct pith_inspect_page inspect = { .gpa = CHECKER_GPA + page * PAGE };
	static int fd = -1;

	if (fd < 0)
		fd = ioctl(checkers[0].machine.vm, PITH_INSPECT);
	if (fd < 0 || ioctl(fd, PITH_INSPECT_PAGE, &inspect))
		die("PITH_INSPECT_PAGE");
	return inspect.size ? inspect.host / PAGE : 0;
}

/* When all is quiet, what the guest has mapped is what the client has mapped. */
static void expect_true_tables(void)
{
	u64 page, nr = 0, frame;
	const u8 *at;

	for (page = 0; page < CHECKER_PAGES; page++) {
		at = checkers[0].memory + page * PAGE;
		frame = guest_frame(page);
		nr += !!frame;
		/* The host may move a page just now: then the next look agrees. */
		if (frame && frame != page_frame(at) && guest_frame(page) && guest_frame(page) != page_frame(at))
			fail("page %lu: the guest has frame 0x%lx, the client 0x%lx", page, frame, page_frame(at));
	}
	expect(nr);
}

/* -- nodes -------------------------------------------------------------------------------------------------------- */

static void need_nodes(void)
{
	if (access("/sys/devices/system/node/node1", F_OK))
		skip("this machine has one NUMA node");
}

/* Moves so many pages to a node, those of them that nobody holds just now; returns how many are there then. */
static u64 move_to(u64 first, u64 nr, int node)
{
	static void *address[CHECKER_PAGES];
	static int nodes[CHECKER_PAGES], status[CHECKER_PAGES];
	u64 i, there = 0;

	for (i = 0; i < nr; i++) {
		address[i] = checkers[0].memory + (first + i) * PAGE;
		nodes[i] = node;
	}
	if (syscall(SYS_move_pages, 0, nr, address, nodes, status, MPOL_MF_MOVE) < 0 ||
	    syscall(SYS_move_pages, 0, nr, address, NULL, status, 0))
		die("move_pages");
	for (i = 0; i < nr; i++)
		there += status[i] == node;
	return there;
}

static void balance(bool on)
{
	if (!write_file("/proc/sys/kernel/numa_balancing", on ? "1" : "0") && on)
		skip("no NUMA balancing");
}

static u64 nr_moved;

static void move_some(void)
{
	u64 first = rand() % CHECKER_PAGES, nr = 1 + rand() % 2048;
	unsigned long node = rand() % 2, mask = 1ul << node;

	if (nr > CHECKER_PAGES - first)
		nr = CHECKER_PAGES - first;
	if (rand() % 4)
		nr_moved += move_to(first, nr, node);
	else if (syscall(SYS_mbind, checkers[0].memory + first * PAGE, nr * PAGE, MPOL_BIND, &mask, 8 * sizeof(mask),
			 MPOL_MF_MOVE))
		die("mbind");
	usleep(rand() % 5000);
}

static void test_nodes(void)
{
	unsigned int node;

	need_nodes();
	balance(false);
	counted("pgmigrate_success ");
	checkers_start(1);
	checkers_meanwhile(move_some);
	/* All of it, to and fro. What is in use just now may stay behind. */
	for (node = 0; node < 2; node++)
		expect(move_to(0, BALLOON, node) > BALLOON * 9 / 10);
	checkers_end();
	diag("%lu pages were moved, %lu by move_pages(), in %lu passes", counted("pgmigrate_success "), nr_moved,
	     checkers[0].passes);
	expect_true_tables();
	expect(counted("pgmigrate_success ") > CHECKER_PAGES);
}

/* -- NUMA balancing ----------------------------------------------------------------------------------------------- */

#define BALANCING "/sys/kernel/debug/sched/numa_balancing/"

static void run_on(unsigned int cpu)
{
	cpu_set_t set;
	unsigned int i;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	for (i = 0; i < NR_CHECKERS; i++)
		pthread_setaffinity_np(checkers[i].thread, sizeof(set), &set);
}

/* The vCPUs change the node, and the host makes their memory follow. */
static void change_node(void)
{
	static unsigned int cpu;
	unsigned int i;

	cpu = !cpu;
	run_on(cpu);
	for (i = 0; i < 10 && !failed(); i++)
		usleep(100000);
}

static void test_balancing(void)
{
	need_nodes();
	balance(true);
	write_file(BALANCING "scan_delay_ms", "10");
	write_file(BALANCING "scan_period_min_ms", "20");
	write_file(BALANCING "scan_period_max_ms", "100");
	counted("numa_hint_faults ");
	counted("numa_pages_migrated ");
	checkers_start(1);
	checkers_meanwhile(change_node);
	while (counted("numa_pages_migrated ") < CHECKER_PAGES / 4 && !failed())
		change_node();
	balance(false);
	checkers_end();
	diag("%lu hinting faults, %lu pages moved, in %lu passes", counted("numa_hint_faults "),
	     counted("numa_pages_migrated "), checkers[0].passes);
	expect_true_tables();
}

/* -- memory goes offline ------------------------------------------------------------------------------------------ */

static u64 block_pages, nr_offline, nr_left;

static bool set_state(u64 block, const char *state)
{
	char path[64];

	snprintf(path, sizeof(path), MEMORY "memory%lu/state", block);
	return write_file(path, state);
}

/* Whether it has no pages but those that can be moved. */
static bool is_movable(u64 block)
{
	char path[64], zone[8] = "";
	int fd;

	snprintf(path, sizeof(path), MEMORY "memory%lu/valid_zones", block);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, zone, sizeof(zone) - 1) < 0)
		die("%s", path);
	close(fd);
	return !strcmp(zone, "Movable");
}

static u64 frames_in(u64 block, u64 (*frame_of)(u64 page))
{
	u64 page, nr = 0, frame;

	for (page = 0; page < CHECKER_PAGES; page++) {
		frame = frame_of(page);
		nr += frame && frame / block_pages == block;
	}
	return nr;
}

static u64 client_frame(u64 page)
{
	return page_frame(checkers[0].memory + page * PAGE);
}

/* The host makes what is in a block leave it. It may not succeed, if somebody else has pinned something there. */
static void take_block_offline(void)
{
	u64 block, nr;

	move_to(0, CHECKER_PAGES, 1);
	block = client_frame(rand() % CHECKER_PAGES) / block_pages;
	nr = frames_in(block, client_frame);
	if (!nr || !is_movable(block) || !set_state(block, "offline"))
		return;
	expect_eq(frames_in(block, client_frame), 0);
	expect_eq(frames_in(block, guest_frame), 0);
	nr_offline++;
	nr_left += nr;
	usleep(rand() % 50000);
	if (!set_state(block, "online_movable"))
		die("memory block %lu does not come back", block);
}

static void test_offline(void)
{
	char text[32] = "";
	int fd = open(MEMORY "block_size_bytes", O_RDONLY | O_CLOEXEC);

	need_nodes();
	balance(false);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		skip("no memory hotplug");
	block_pages = strtoul(text, NULL, 16) / PAGE;
	checkers_start(1);
	checkers_meanwhile(take_block_offline);
	while (!nr_offline && !failed())
		take_block_offline();
	checkers_end();
	diag("%lu times a block of memory went offline, with %lu pages of the guest, in %lu passes", nr_offline,
	     nr_left, checkers[0].passes);
	expect_true_tables();
}

static const struct test tests[] = {
	{ "between NUMA nodes, as the client asks", test_nodes },
	{ "between NUMA nodes, by NUMA balancing", test_balancing },
	{ "out of memory that goes offline", test_offline },
};

KTAP_MAIN(tests)
