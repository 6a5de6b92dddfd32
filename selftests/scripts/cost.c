// SPDX-License-Identifier: GPL-2.0
/*
 * cost NAME COMMAND [ARG...]: runs COMMAND and says what it took, in one line that begins with "cost NAME": CPU seconds
 * (guest time counts as user time), peak resident memory, TSC ticks from start to end; where the emulator counts them
 * (lab_counters.h) VM entries, the guest's instructions, and the others that the command has run (its CPU time in TSC
 * ticks, which are instructions there, without the guest's); exit status.
 */
#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include "lab_counters.h"

static double seconds(struct timeval t)
{
	return t.tv_sec + t.tv_usec / 1e6;
}

/* A moment, by both clocks. */
struct moment {
	uint64_t tsc, ns;
};

static struct moment now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_RAW, &t);
	return (struct moment){ __rdtsc(), t.tv_sec * 1000000000ull + t.tv_nsec };
}

static void print_counters(const struct lab_counters *before, double cpu_ticks)
{
	struct lab_counters after;
	uint64_t guest;

	if (!lab_counters_read(&after))
		return;
	guest = after.count[LAB_GUEST] - before->count[LAB_GUEST];
	printf(" entries %llu guest %llu outside %.0f",
	       (unsigned long long)(after.count[LAB_ENTRIES] - before->count[LAB_ENTRIES]), (unsigned long long)guest,
	       cpu_ticks - guest);
}

int main(int argc, char **argv)
{
	struct lab_counters counters;
	struct moment start, end;
	struct rusage usage;
	bool counted;
	int status;
	pid_t child;
	double cpu;

	if (argc < 3)
		return 2;
	counted = lab_counters_read(&counters);
	start = now();
	child = fork();
	if (!child) {
		execvp(argv[2], argv + 2);
		_exit(127);
	}
	if (child < 0 || wait4(child, &status, 0, &usage) < 0)
		return 1;
	end = now();
	cpu = seconds(usage.ru_utime) + seconds(usage.ru_stime);
	printf("cost %s cpu %.3f user %.3f system %.3f rss %ld ticks %llu", argv[1], cpu, seconds(usage.ru_utime),
	       seconds(usage.ru_stime), usage.ru_maxrss, (unsigned long long)(end.tsc - start.tsc));
	if (counted)
		print_counters(&counters, cpu * 1e9 * (end.tsc - start.tsc) / (end.ns - start.ns));
	printf(" status %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : -1);
	return status != 0;
}
