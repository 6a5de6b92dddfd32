// SPDX-License-Identifier: GPL-2.0
/*
 * cost NAME COMMAND [ARG...]: runs COMMAND and says what it took, in one line that begins with "cost NAME": CPU seconds
 * (guest time counts as user time), peak resident memory, TSC ticks from start to end, exit status.
 */
#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <x86intrin.h>

static double seconds(struct timeval t)
{
	return t.tv_sec + t.tv_usec / 1e6;
}

int main(int argc, char **argv)
{
	struct rusage usage;
	uint64_t start;
	int status;
	pid_t child;

	if (argc < 3)
		return 2;
	start = __rdtsc();
	child = fork();
	if (!child) {
		execvp(argv[2], argv + 2);
		_exit(127);
	}
	if (child < 0 || wait4(child, &status, 0, &usage) < 0)
		return 1;
	printf("cost %s cpu %.3f user %.3f system %.3f rss %ld ticks %llu status %d\n", argv[1],
	       seconds(usage.ru_utime) + seconds(usage.ru_stime), seconds(usage.ru_utime), seconds(usage.ru_stime),
	       usage.ru_maxrss, (unsigned long long)(__rdtsc() - start), WIFEXITED(status) ? WEXITSTATUS(status) : -1);
	return status != 0;
}
