// SPDX-License-Identifier: GPL-2.0
/*
 * memory_test - guest memory is process memory: a guest checks a pattern in its memory all the time and goes on changing
 * it, while the host swaps it out, merges it with another guest's, makes huge pages of it and takes them apart, moves
 * it, and while the client throws parts of it away, moves its mapping, forbids it, and forks. No byte may be wrong; the
 * host's counters have to show that it happened. LONG=1 in the environment makes it ten minutes each, LONG=N N seconds.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "machine.h"

#define PAGE 4096ul
#define MiB (1ul << 20)
#define SLOT 7
#define GPA 0x20000000ul
#define SIZE (24 * MiB)
#define NPAGES (SIZE / PAGE)
#define BALLOON (NPAGES * 7 / 8) /* from this page on the client may throw pages away */
#define NR_VCPUS 2
#define STEP 32 /* words between those that have the pattern */

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

enum { DONE = 1, WRONG };

/* -- the guest ---------------------------------------------------------------------------------------------------- */

static struct {
	u64 first, stride; /* the pages that are its own */
	u64 passes, wrong; /* a wrong page, if it says WRONG */
} guest[NR_VCPUS];

static bool end;
static u64 write_every; /* passes from one write to a page to the next */

static u64 pattern(u64 page, u64 generation, u64 word)
{
	return ((page << 32 | word) ^ generation) * 0x9e3779b97f4a7c15ul;
}

/* Word 0 of a page counts how often the page was written. */
static bool page_is_right(volatile u64 *at, u64 page)
{
	u64 generation = at[0], i;

	for (i = STEP; i < PAGE / 8; i += STEP)
		if (at[i] != pattern(page, generation, i))
			return false;
	return generation;
}

static void write_page(volatile u64 *at, u64 page, u64 generation)
{
	u64 i;

	at[0] = generation;
	for (i = STEP; i < PAGE / 8; i += STEP)
		at[i] = pattern(page, generation, i);
}

/* Each word has been thrown away or has not, and is made whole again. */
static bool mend_page(volatile u64 *at, u64 page)
{
	u64 i, value;

	for (i = STEP; i < PAGE / 8; i += STEP) {
		value = at[i];
		if (value && value != pattern(page, 0, i))
			return false;
		if (!value)
			at[i] = pattern(page, 0, i);
	}
	return true;
}

static void check_page(unsigned int vcpu, u64 page)
{
	volatile u64 *at = (u64 *)(GPA + page * PAGE);
	bool right = page < BALLOON ? page_is_right(at, page) : mend_page(at, page);

	while (!right) {
		guest[vcpu].wrong = page;
		sync_host(WRONG);
	}
	/* Most are only read. */
	if (page < BALLOON && (page + guest[vcpu].passes) % write_every == 0)
		write_page(at, page, at[0] + 1);
}

static void guest_main(unsigned int vcpu)
{
	u64 page;

	for (page = guest[vcpu].first; page < BALLOON; page += guest[vcpu].stride)
		write_page((u64 *)(GPA + page * PAGE), page, 1);
	for (;;) {
		for (page = guest[vcpu].first; page < NPAGES; page += guest[vcpu].stride)
			check_page(vcpu, page);
		READ(guest[vcpu].passes) = guest[vcpu].passes + 1;
		/* Two guests stay alike. */
		while (READ(guest[!vcpu].passes) + 8 < guest[vcpu].passes && !READ(end))
			asm volatile("pause");
		if (READ(end))
			sync_host(DONE);
	}
}

static void guest_main_0(void)
{
	guest_main(0);
}

static void guest_main_1(void)
{
	guest_main(1);
}

/* -- the client --------------------------------------------------------------------------------------------------- */

static struct machine machine[NR_VCPUS]; /* [1] is [0] again, but where two guests are wanted */
static u8 *memory[NR_VCPUS];
static pthread_t thread[NR_VCPUS];
static u64 nr_refused;

static u8 *aligned_memory(void)
{
	u8 *start = mmap(NULL, SIZE + 2 * MiB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (start == MAP_FAILED)
		die("mmap");
	return (u8 *)(((u64)start + 2 * MiB - 1) & -(2 * MiB));
}

static void add_memory(struct machine *m, u8 *start)
{
	struct kvm_userspace_memory_region region = {
		.slot = SLOT, .guest_phys_addr = GPA, .memory_size = SIZE, .userspace_addr = (u64)start
	};

	if (ioctl(m->vm, KVM_SET_USER_MEMORY_REGION, &region))
		die("KVM_SET_USER_MEMORY_REGION");
}

/* While the client has its memory in disorder KVM_RUN fails with EFAULT; it goes on when there is order again. */
static void *run_vcpu(void *arg)
{
	unsigned long i = (unsigned long)arg;
	int fd = machine[i].vcpu[i].fd, number;

	while ((number = machine_run(&machine[i], i)) < 0 && errno == EFAULT) {
		__atomic_add_fetch(&nr_refused, 1, __ATOMIC_RELAXED);
		usleep(100);
	}
	if (number == WRONG)
		fail("vCPU %lu: page %lu is wrong", i, guest[i].wrong);
	else if (number != DONE)
		fail("vCPU %lu (%d): exit %u, %s", i, fd, machine[i].vcpu[i].run->exit_reason, strerror(errno));
	return NULL;
}

/* One guest of two vCPUs, or two of one. */
static void start_guests(unsigned int nr)
{
	static void (*const mains[])(void) = { guest_main_0, guest_main_1 };
	unsigned long i;

	write_every = nr == 1 ? 8 : 2048; /* what changes all the time is not merged */
	for (i = 0; i < NR_VCPUS; i++) {
		if (i < nr) {
			machine[i] = machine_create(NR_VCPUS, 0);
			memory[i] = aligned_memory();
			add_memory(&machine[i], memory[i]);
		} else {
			machine[i] = machine[0];
			memory[i] = memory[0];
		}
		guest[i].first = nr == 1 ? i : 0;
		guest[i].stride = nr == 1 ? 2 : 1;
		machine_start(&machine[i], i, mains[i]);
		pthread_create(&thread[i], NULL, run_vcpu, (void *)i);
	}
}

/* When all is quiet the client sees what the guest saw. */
static void end_guests(void)
{
	unsigned long i, page;

	end = true;
	for (i = 0; i < NR_VCPUS; i++)
		pthread_join(thread[i], NULL);
	for (i = 0; i < NR_VCPUS && !failed(); i++)
		for (page = guest[i].first; page < BALLOON; page += guest[i].stride)
			if (!page_is_right((u64 *)(memory[i] + page * PAGE), page)) {
				fail("the client sees page %lu wrong", page);
				break;
			}
}

static u64 now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec;
}

/* Does one thing after the other until the guests have seen enough of it. */
static void meanwhile(void (*disturb)(void))
{
	unsigned int seconds = is_long() ? long_seconds(600) : 5;
	u64 until = now() + seconds, passes = 2;

	alarm(300 + 2 * seconds);
	while (!failed() && (now() < until || READ(guest[0].passes) < passes || READ(guest[1].passes) < passes))
		disturb();
}

/* -- the host ----------------------------------------------------------------------------------------------------- */

static bool shell(const char *command)
{
	return !system(command);
}

static bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return ok;
}

/* A number behind a name in a file of such lines; or alone there. */
static u64 read_number(const char *path, const char *name)
{
	FILE *file = fopen(path, "r");
	char line[256];
	u64 number = 0;

	while (file && fgets(line, sizeof(line), file))
		if (!strncmp(line, name, strlen(name)))
			number = strtoul(line + strlen(name), NULL, 10);
	if (file)
		fclose(file);
	return number;
}

/* A control group of its own for this test, which may have so much memory. Its swap is a file. */
#define GROUP "/sys/fs/cgroup/pith_test"

#define SWAP "/tmp/swap"

static void swap_on(void)
{
	if (!shell("mkdir -p " SWAP " && mount -t ramfs none " SWAP " && dd if=/dev/zero of=" SWAP
		   "/file bs=1M count=64 "
		   "2>/dev/null && losetup /dev/loop3 " SWAP
		   "/file && mkswap /dev/loop3 >/dev/null && swapon /dev/loop3"))
		skip("no swap");
}

static void swap_off(void)
{
	if (!shell("swapoff /dev/loop3 && losetup -d /dev/loop3 && umount " SWAP))
		fail("the swap file does not go");
}

static void limit_memory(u64 bytes)
{
	char text[32];

	if (!shell("grep -q \" cgroup2 \" /proc/mounts || mount -t cgroup2 none /sys/fs/cgroup") ||
	    !shell("echo +memory > /sys/fs/cgroup/cgroup.subtree_control && mkdir -p " GROUP))
		skip("no memory control groups");
	snprintf(text, sizeof(text), "%lu", bytes);
	if (!write_file(GROUP "/memory.max", text))
		die(GROUP "/memory.max");
	snprintf(text, sizeof(text), "%d", getpid());
	if (!write_file(GROUP "/cgroup.procs", text))
		die(GROUP "/cgroup.procs");
}

static void unlimit_memory(void)
{
	write_file(GROUP "/memory.max", "max");
	write_file("/sys/fs/cgroup/cgroup.procs", "0");
	shell("rmdir " GROUP);
}

/* What the host has counted since the test began. */
static u64 counted(const char *name)
{
	static struct {
		const char *name;
		u64 before;
	} counters[8], *c;

	for (c = counters; c->name; c++)
		if (!strcmp(c->name, name))
			return read_number("/proc/vmstat", name) - c->before;
	c->name = name;
	c->before = read_number("/proc/vmstat", name);
	return 0;
}

/* -- the tests ---------------------------------------------------------------------------------------------------- */

static void wait_a_little(void)
{
	usleep(20000);
}

static void test_swap(void)
{
	u64 out, in;

	swap_on();
	/* With what the program itself needs, about half of what the guest uses. */
	limit_memory(SIZE / 2 + 2 * MiB);
	counted("pswpout ");
	counted("pswpin ");
	start_guests(1);
	meanwhile(wait_a_little);
	end_guests();
	out = counted("pswpout ");
	in = counted("pswpin ");
	diag("%lu pages went out, %lu came back, in %lu passes", out, in, guest[0].passes);
	unlimit_memory();
	swap_off();
	expect(out > NPAGES / 2);
	expect(in > NPAGES / 4);
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
	start_guests(2);
	for (i = 0; i < 2; i++)
		if (madvise(memory[i], SIZE, MADV_MERGEABLE))
			die("MADV_MERGEABLE");
	meanwhile(watch_ksm);
	while (most_merged < BALLOON / 4 && !failed())
		watch_ksm();
	end_guests();
	diag("%lu pages were merged, %lu merged ones written to, in %lu passes", most_merged, counted("cow_ksm "),
	     guest[0].passes);
	write_file(KSM "run", "2");
	write_file(KSM "run", "0");
}

static u64 nr_discarded;

static void change_pages(void)
{
	u8 *large = memory[0] + rand() % (SIZE / (2 * MiB)) * 2 * MiB;
	u64 page = BALLOON + rand() % (NPAGES - BALLOON - 16);

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
		nr_discarded += !madvise(memory[0] + page * PAGE, (1 + rand() % 16) * PAGE,
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
	start_guests(1);
	meanwhile(change_pages);
	end_guests();
	diag("%lu times made huge, %lu times split, %lu pages moved, %lu paged out; %lu times discarded; in %lu passes",
	     counted(names[0]), counted(names[1]), counted(names[2]), counted(names[3]), nr_discarded, guest[0].passes);
	for (i = 0; i < ARRAY_SIZE(names); i++)
		if (!counted(names[i]))
			fail("it did not happen: %s", names[i]);
	expect(nr_discarded);
	munmap(memory[0], SIZE);
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
	u64 page = rand() % (NPAGES - 512), size = (1 + rand() % 512) * PAGE;
	u8 *start = memory[0] + page * PAGE;

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
	start_guests(1);
	meanwhile(change_mapping);
	while (!nr_refused && !failed())
		change_mapping();
	end_guests();
	diag("moved %lu times, forked %lu times, KVM_RUN refused %lu times, in %lu passes", nr_moved, nr_forked,
	     nr_refused, guest[0].passes);
	expect(nr_moved && nr_forked);
}

/* The same memory at so many addresses needs so many tables. */
#define NR_VIEWS 20

static void guest_views(void)
{
	u64 at;

	for (;;) {
		for (at = GPA; at < GPA + NR_VIEWS * SIZE; at += 2 * MiB)
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
	u64 before, mapped, shrunk, offset;
	unsigned int i;

	limit_memory(8 * SIZE);
	machine[0] = machine_create(1, 0);
	memory[0] = aligned_memory();
	madvise(memory[0], SIZE, MADV_NOHUGEPAGE);
	for (i = 0; i < NR_VIEWS; i++) {
		struct kvm_userspace_memory_region region = { .slot = SLOT + i,
							      .guest_phys_addr = GPA + i * SIZE,
							      .memory_size = SIZE,
							      .userspace_addr = (u64)memory[0] };

		expect_errno(ioctl(machine[0].vm, KVM_SET_USER_MEMORY_REGION, &region), 0);
	}
	machine_start(&machine[0], 0, guest_views);
	before = tables_of_group();
	machine_expect(&machine[0], 0, DONE);
	mapped = tables_of_group();
	if (!write_file("/proc/sys/vm/drop_caches", "2"))
		skip("/proc/sys/vm/drop_caches");
	shrunk = tables_of_group();
	machine_expect(&machine[0], 0, DONE);
	diag("kernel pages of the group: %lu, %lu with the tables, %lu shrunk, %lu used again", before, mapped, shrunk,
	     tables_of_group());
	/* One for each 2 MiB; kernel memory of other kinds comes and goes. */
	expect(mapped >= before + NR_VIEWS * SIZE / (2 * MiB) * 9 / 10);
	expect(shrunk <= before + (mapped - before) / 4);
	for (offset = 0; offset < SIZE; offset += 2 * MiB)
		expect_eq(*(u64 *)(memory[0] + offset), 2 * NR_VIEWS);
	unlimit_memory();
}

static const struct test tests[] = {
	{ "twice as much as there is: swap", test_swap },	   { "two guests alike: KSM", test_ksm },
	{ "huge pages, compaction, discarded pages", test_pages }, { "mremap, mprotect, fork", test_mappings },
	{ "tables are accounted, and shrink", test_tables },
};

KTAP_MAIN(tests)
