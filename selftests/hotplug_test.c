// SPDX-License-Identifier: GPL-2.0
/*
 * A CPU goes offline and comes back while guests run on it: they go on elsewhere, with all their state, and can run on
 * it again afterwards.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest.h"

#define NR_GUESTS 3
#define TIMES 10
#define SWITCH "/sys/devices/system/cpu/cpu1/online"

/* In the guest's memory, at GUEST_FREE. */
struct guest_data {
	volatile u64 loops;
	volatile u64 stop;
};

static int cpu_switch;

static void set_online(bool online)
{
	if (pwrite(cpu_switch, online ? "1" : "0", 1, 0) != 1)
		die(SWITCH);
}

static void leave_online(void)
{
	set_online(true);
}

static void open_switch(void)
{
	char state;

	cpu_switch = open(SWITCH, O_RDWR);
	if (cpu_switch < 0)
		skip("no second CPU, or none that can be switched off");
	if (read(cpu_switch, &state, 1) != 1 || state != '1')
		skip("the second CPU is offline");
	atexit(leave_online);
}

/* A counter in memory, the same in two registers, one of them a vector register. */
static struct code counting_code(void)
{
	return CODE64(
		"xor %ebx, %ebx; pxor %xmm1, %xmm1\n"
		"1: inc %rbx; incq 0x20000; movq %rbx, %xmm1; xor %eax, %eax; mov %rbx, %rsi; cpuid; mov %rsi, %rbx\n"
		"mov $0x1000, %ecx; 2: dec %ecx; jnz 2b\n"
		"movq %xmm1, %rdx; cmp %rdx, %rbx; jne 3f; cmp %rdx, 0x20000; jne 3f; cmpq $0, 0x20008; je 1b; hlt\n"
		"3: ud2");
}

struct runner {
	struct guest *g;
	pthread_t thread;
	volatile pid_t tid;
};

/* To the second CPU, but not bound to it: the kernel would complain when it has to break that. */
static void to_second_cpu(pid_t tid)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(1, &set);
	if (sched_setaffinity(tid, sizeof(set), &set))
		die("sched_setaffinity");
	CPU_SET(0, &set);
	if (sched_setaffinity(tid, sizeof(set), &set))
		die("sched_setaffinity");
}

static void *run(void *argument)
{
	struct runner *r = argument;

	r->tid = gettid();
	to_second_cpu(0);
	guest_start(r->g);
	return NULL;
}

static void start(struct runner *r, struct code code)
{
	r->g = guest_create(MODE_LONG);
	guest_load(r->g, code);
	if (pthread_create(&r->thread, NULL, run, r))
		die("pthread_create");
}

static struct guest_data *data_of(struct guest *g)
{
	return (void *)(g->memory + GUEST_FREE);
}

static void wait_for_progress(struct guest *g)
{
	u64 loops = data_of(g)->loops;
	unsigned int i;

	for (i = 0; data_of(g)->loops < loops + 2; i++) {
		if (i == 20000) {
			fail("a guest does not get on");
			exit(1);
		}
		usleep(1000);
	}
}

static void test_hotplug(void)
{
	struct runner runners[NR_GUESTS];
	unsigned int i, n;

	open_switch();
	for (i = 0; i < NR_GUESTS; i++)
		start(&runners[i], counting_code());
	for (n = 0; n < 2 * TIMES; n++) {
		for (i = 0; i < NR_GUESTS; i++) {
			wait_for_progress(runners[i].g);
			if (n % 2 == 0)
				to_second_cpu(runners[i].tid);
		}
		set_online(n % 2);
	}
	for (i = 0; i < NR_GUESTS; i++) {
		wait_for_progress(runners[i].g);
		data_of(runners[i].g)->stop = 1;
		pthread_join(runners[i].thread, NULL);
		expect_end(runners[i].g);
	}
}

/* A VM that is made while the CPU is away runs on it when it is back. */
static void test_made_while_offline(void)
{
	struct guest *early;
	struct runner late;

	open_switch();
	set_online(false);
	early = guest_create(MODE_LONG);
	guest_load(early, CODE64("nop"));
	guest_start(early);
	expect_end(early);
	set_online(true);
	to_second_cpu(0);
	guest_load(early, CODE64("nop"));
	guest_start(early);
	expect_end(early);
	start(&late, CODE64("nop"));
	pthread_join(late.thread, NULL);
	expect_end(late.g);
}

static const struct test tests[] = {
	{ "a CPU offline and online under running guests", test_hotplug },
	{ "a VM that is made while the CPU is offline", test_made_while_offline },
};

KTAP_MAIN(tests)
