// SPDX-License-Identifier: GPL-2.0
/*
 * beyond NAME COMMAND [ARG...]: runs COMMAND, a client with a guest, and says what memory it has beyond the guest's when it
 * ends: one line, "beyond NAME" and KiB: resident memory of the largest mapping, which is the guest's; of all others; how much
 * of those is in no file. Its processes are none but itself.
 */
#include <err.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

struct mapping {
	unsigned long size, resident, anonymous;
};

static void add(struct mapping *all, const struct mapping *one)
{
	all->size += one->size;
	all->resident += one->resident;
	all->anonymous += one->anonymous;
}

/* Of a mapping's lines the one of its size comes first. */
static void report(const char *name, pid_t pid)
{
	struct mapping m = { 0 }, guest = { 0 }, all = { 0 };
	char path[32], line[4096];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/smaps", pid);
	f = fopen(path, "r");
	if (!f)
		err(1, "%s", path);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "Size: %lu", &m.size) == 1)
			continue;
		if (sscanf(line, "Rss: %lu", &m.resident) == 1)
			continue;
		if (sscanf(line, "Anonymous: %lu", &m.anonymous) != 1)
			continue;
		add(&all, &m);
		if (m.size > guest.size)
			guest = m;
	}
	fclose(f);
	printf("beyond %s resident %lu others %lu anonymous %lu\n", name, guest.resident, all.resident - guest.resident,
	       all.anonymous - guest.anonymous);
}

static void start(char **command)
{
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
		err(1, "ptrace");
	execvp(command[0], command);
	err(127, "%s", command[0]);
}

/* From its exec on the child stops for its signals, which it gets, and once more where it ends and still has its memory. */
int main(int argc, char **argv)
{
	bool started = false;
	int status, signal;
	pid_t child;

	if (argc < 3)
		return 2;
	child = fork();
	if (!child)
		start(argv + 2);
	while (waitpid(child, &status, 0) == child && WIFSTOPPED(status)) {
		signal = started && !(status >> 16) ? WSTOPSIG(status) : 0;
		if (!started)
			ptrace(PTRACE_SETOPTIONS, child, NULL, PTRACE_O_TRACEEXEC | PTRACE_O_TRACEEXIT);
		started = true;
		if (status >> 16 == PTRACE_EVENT_EXIT)
			report(argv[1], child);
		ptrace(PTRACE_CONT, child, NULL, signal);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
