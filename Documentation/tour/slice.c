// SPDX-License-Identifier: GPL-2.0
/* slice - a guest that will not yield: interrupts off, and a jump to itself. The host's clock stops it all the same. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include "guest.h"
#include "stats.h"

#define NR_GUESTS 2

static struct guest *guest[NR_GUESTS];
static double seconds[NR_GUESTS];
static volatile bool over;

static __attribute__((noinline)) struct guest *stubborn_guest(void)
{
	struct guest *g = guest_create(MODE_LONG);

	guest_load(g, CODE64("cli\n1: jmp 1b"));
	return g;
}

static void on_alarm(int signal)
{
	(void)signal;
}

/* One second of the host's clock, and a signal. */
static void stop_it(void)
{
	struct itimerval second = { .it_value = { .tv_sec = 1 } };
	struct sigaction action = { .sa_handler = on_alarm };
	struct guest *g = stubborn_guest();
	int stats = ioctl(g->vcpu, KVM_GET_STATS_FD, 0);
	u64 address;

	sigaction(SIGALRM, &action, NULL);
	ioctl(g->vcpu, KVM_SET_REGS, &g->regs);
	setitimer(ITIMER_REAL, &second, NULL);
	if (ioctl(g->vcpu, KVM_RUN, 0) != -1 || errno != EINTR)
		die("KVM_RUN");
	ioctl(g->vcpu, KVM_GET_REGS, &g->regs);
	address = g->regs.rip - GUEST_CODE;
	printf("KVM_RUN was interrupted by a signal after a second\n");
	printf("the guest is at its instruction number %lu, with interrupts %s\n", address + 1,
	       g->regs.rflags & RFLAGS_IF ? "on" : "off");
	printf("it had exits meanwhile, each an interrupt of the host's: %s\n",
	       stats_value(stats, "exits") > 1 ? "yes" : "no");
	guest_destroy(g);
}

static void *run_guest(void *arg)
{
	long i = (long)arg;
	struct rusage usage;

	ioctl(guest[i]->vcpu, KVM_SET_REGS, &guest[i]->regs);
	while (!over)
		ioctl(guest[i]->vcpu, KVM_RUN, 0);
	getrusage(RUSAGE_THREAD, &usage);
	seconds[i] =
		usage.ru_utime.tv_sec + usage.ru_stime.tv_sec + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
	return NULL;
}

/* Two of them on one CPU. */
static void share_a_cpu(void)
{
	pthread_t thread[NR_GUESTS];
	cpu_set_t first;
	long i;

	CPU_ZERO(&first);
	CPU_SET(0, &first);
	sched_setaffinity(0, sizeof(first), &first);
	for (i = 0; i < NR_GUESTS; i++) {
		guest[i] = stubborn_guest();
		pthread_create(&thread[i], NULL, run_guest, (void *)i);
	}
	sleep(2);
	over = true;
	for (i = 0; i < NR_GUESTS; i++) {
		pthread_kill(thread[i], SIGALRM);
		pthread_join(thread[i], NULL);
	}
	for (i = 0; i < NR_GUESTS; i++)
		printf("guest %ld had the CPU for ~%.0f%% of the time\n", i,
		       100 * seconds[i] / (seconds[0] + seconds[1]));
}

int main(void)
{
	stop_it();
	share_a_cpu();
	return 0;
}
