// SPDX-License-Identifier: GPL-2.0
#include "checker.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define STEP 32 /* words between those that have the pattern */

enum { DONE = 1, WRONG };

struct checker checkers[NR_CHECKERS];

/* -- the guest ---------------------------------------------------------------------------------------------------- */

static bool end;
static u64 write_every; /* passes from one write to a page to the next */

static u64 pattern(u64 page, u64 generation, u64 word)
{
	return ((page << 32 | word) ^ generation) * 0x9e3779b97f4a7c15ul;
}

/* Word 0 of a page counts how often the page was written. */
bool page_is_right(volatile u64 *at, u64 page)
{
	u64 generation = at[0], i;

	for (i = STEP; i < PAGE / 8; i += STEP)
		if (at[i] != pattern(page, generation, i))
			return false;
	return generation;
}

void write_page(volatile u64 *at, u64 page, u64 generation)
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
	volatile u64 *at = (u64 *)(CHECKER_GPA + page * PAGE);
	bool right = page < BALLOON ? page_is_right(at, page) : mend_page(at, page);

	while (!right) {
		checkers[vcpu].wrong = page;
		sync_host(WRONG);
	}
	/* Most are only read. */
	if (page < BALLOON && (page + checkers[vcpu].passes) % write_every == 0)
		write_page(at, page, at[0] + 1);
}

static void guest_main(unsigned int vcpu)
{
	u64 page;

	for (page = checkers[vcpu].first; page < BALLOON; page += checkers[vcpu].stride)
		write_page((u64 *)(CHECKER_GPA + page * PAGE), page, 1);
	for (;;) {
		for (page = checkers[vcpu].first; page < CHECKER_PAGES; page += checkers[vcpu].stride)
			check_page(vcpu, page);
		READ(checkers[vcpu].passes) = checkers[vcpu].passes + 1;
		/* Two guests stay alike. */
		while (READ(checkers[!vcpu].passes) + 8 < checkers[vcpu].passes && !READ(end))
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

u64 nr_refused;

u8 *checker_memory(void)
{
	u8 *start = mmap(NULL, CHECKER_SIZE + 2 * MiB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (start == MAP_FAILED)
		die("mmap");
	return (u8 *)(((u64)start + 2 * MiB - 1) & -(2 * MiB));
}

void checker_add_memory(struct machine *m, u8 *start)
{
	struct kvm_userspace_memory_region region = { .slot = CHECKER_SLOT,
						      .guest_phys_addr = CHECKER_GPA,
						      .memory_size = CHECKER_SIZE,
						      .userspace_addr = (u64)start };

	if (ioctl(m->vm, KVM_SET_USER_MEMORY_REGION, &region))
		die("KVM_SET_USER_MEMORY_REGION");
}

/* While the client has its memory in disorder KVM_RUN fails with EFAULT; it goes on when there is order again. */
static void *run_vcpu(void *arg)
{
	unsigned long i = (unsigned long)arg;
	int fd = checkers[i].machine.vcpu[i].fd, number;

	while ((number = machine_run(&checkers[i].machine, i)) < 0 && errno == EFAULT) {
		__atomic_add_fetch(&nr_refused, 1, __ATOMIC_RELAXED);
		usleep(100);
	}
	if (number == WRONG)
		fail("vCPU %lu: page %lu is wrong", i, checkers[i].wrong);
	else if (number != DONE)
		fail("vCPU %lu (%d): exit %u, %s", i, fd, checkers[i].machine.vcpu[i].run->exit_reason,
		     strerror(errno));
	return NULL;
}

/* One guest of two vCPUs, or two of one. */
void checkers_start(unsigned int nr)
{
	static void (*const mains[])(void) = { guest_main_0, guest_main_1 };
	unsigned long i;

	write_every = nr == 1 ? 8 : 2048; /* what changes all the time is not merged */
	for (i = 0; i < NR_CHECKERS; i++) {
		if (i < nr) {
			checkers[i].machine = machine_create(NR_CHECKERS, 0);
			checkers[i].memory = checker_memory();
			checker_add_memory(&checkers[i].machine, checkers[i].memory);
		} else {
			checkers[i].machine = checkers[0].machine;
			checkers[i].memory = checkers[0].memory;
		}
		checkers[i].first = nr == 1 ? i : 0;
		checkers[i].stride = nr == 1 ? 2 : 1;
		machine_start(&checkers[i].machine, i, mains[i]);
		pthread_create(&checkers[i].thread, NULL, run_vcpu, (void *)i);
	}
}

void checkers_end(void)
{
	unsigned long i, page;

	end = true;
	for (i = 0; i < NR_CHECKERS; i++)
		pthread_join(checkers[i].thread, NULL);
	for (i = 0; i < NR_CHECKERS && !failed(); i++)
		for (page = checkers[i].first; page < BALLOON; page += checkers[i].stride)
			if (!page_is_right((u64 *)(checkers[i].memory + page * PAGE), page)) {
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

void checkers_meanwhile(void (*disturb)(void))
{
	unsigned int seconds = is_long() ? long_seconds(600) : 5;
	u64 until = now() + seconds, passes = 2;

	alarm(300 + 2 * seconds);
	while (!failed() && (now() < until || READ(checkers[0].passes) < passes || READ(checkers[1].passes) < passes))
		disturb();
}
