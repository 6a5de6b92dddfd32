// SPDX-License-Identifier: GPL-2.0
/*
 * clock_reads READS: runs in a guest. A thread on each CPU reads CLOCK_MONOTONIC, so many times all together: no read may
 * give less than another thread had before it began. The last line tells how many were made, and how many went back.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static uint64_t latest, backwards;
static unsigned long reads_each;

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static void publish(uint64_t time)
{
	uint64_t old = __atomic_load_n(&latest, __ATOMIC_SEQ_CST);

	while (old < time && !__atomic_compare_exchange_n(&latest, &old, time, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		;
}

static void *reader(void *cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((uintptr_t)cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		exit(1);
	for (unsigned long i = 0; i < reads_each; i++) {
		uint64_t before = __atomic_load_n(&latest, __ATOMIC_SEQ_CST), time = now();

		if (time < before)
			__atomic_add_fetch(&backwards, 1, __ATOMIC_SEQ_CST);
		publish(time);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	pthread_t threads[cpus];

	if (argc != 2)
		return 2;
	reads_each = strtoul(argv[1], NULL, 0) / cpus;
	for (long i = 0; i < cpus; i++)
		if (pthread_create(&threads[i], NULL, reader, (void *)i))
			return 1;
	for (long i = 0; i < cpus; i++)
		pthread_join(threads[i], NULL);
	printf("clock_reads %lu on %ld, backwards %lu\n", reads_each * cpus, cpus, (unsigned long)backwards);
	return backwards != 0;
}
