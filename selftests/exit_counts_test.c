// SPDX-License-Identifier: GPL-2.0
/* exit_counts_test - counts of exits agree with what the guest has done, to the unit. Source: uapi/pith.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest.h"
#include "pith.h"

#define CPUIDS 1234
#define OUTS 567

static union {
	struct pith_exit_counts head;
	u8 space[sizeof(struct pith_exit_counts) + PITH_EXIT_REASONS * sizeof(struct pith_exit_count)];
} counts;

static int open_counts(struct guest *g)
{
	int inspect = ioctl(g->vm, PITH_INSPECT), fd;

	if (inspect < 0)
		die("PITH_INSPECT");
	fd = ioctl(inspect, PITH_INSPECT_EXITS);
	if (fd < 0)
		die("PITH_INSPECT_EXITS");
	close(inspect);
	return fd;
}

/* Reasons as the vendors number them. */
static const struct pith_exit_count *row(u32 vmx, u32 svm)
{
	static const struct pith_exit_count none;
	unsigned int i;

	for (i = 0; i < counts.head.nr_rows; i++)
		if (counts.head.rows[i].reason == (counts.head.isa == PITH_ISA_SVM ? svm : vmx))
			return &counts.head.rows[i];
	return &none;
}

static void read_counts(int fd)
{
	long r = read(fd, &counts, sizeof(counts));

	expect_eq(r, sizeof(counts.head) + counts.head.nr_rows * sizeof(struct pith_exit_count));
}

static u64 sum(const struct pith_exit_count *c)
{
	u64 n = 0;
	unsigned int i;

	for (i = 0; i < PITH_EXIT_BUCKETS; i++)
		n += c->histogram[i];
	return n;
}

static void busy(struct guest *g)
{
	unsigned int i;

	guest_load(g, CODE64("1: cpuid; dec %esi; jnz 1b; 2: out %al, $0x80; dec %edi; jnz 2b"));
	g->regs.rsi = CPUIDS;
	g->regs.rdi = OUTS;
	guest_start(g);
	for (i = 0; i < OUTS; i++) {
		expect_exit(g, KVM_EXIT_IO);
		guest_run(g);
	}
	expect_end(g);
}

static void agrees(void)
{
	struct guest *g = guest_create(MODE_LONG);
	int fd = open_counts(g);

	busy(g);
	read_counts(fd);
	expect(counts.head.tsc_khz > 0 && counts.head.tsc > 0);
	expect_eq(counts.head.nr_vcpus, 1);
	expect_eq(row(10, 0x72)->count, CPUIDS);
	expect_eq(row(30, 0x7b)->count, OUTS);
	expect_eq(row(12, 0x78)->count, 1);
	/* That of HLT is not over; all others are, and each took some time. */
	expect_eq(sum(row(10, 0x72)), CPUIDS);
	expect_eq(sum(row(30, 0x7b)), OUTS);
	expect_eq(sum(row(12, 0x78)), 0);
	expect(row(10, 0x72)->ticks >= CPUIDS);
	expect_eq(row(10, 0x72)->histogram[0], 0);
	context("with the log on, too");
	expect_errno(ioctl(g->vm, PITH_SET_EXIT_LOG, 64), 0);
	busy(g);
	expect_errno(ioctl(g->vm, PITH_SET_EXIT_LOG, 0), 0);
	busy(g);
	read_counts(fd);
	expect_eq(row(10, 0x72)->count, 3 * CPUIDS);
	expect_eq(row(30, 0x7b)->count, 3 * OUTS);
}

/* Who opens a second file does not end the first one's counting by closing it. */
static void open_and_closed(void)
{
	struct guest *g = guest_create(MODE_LONG);
	int fd = open_counts(g);

	close(open_counts(g));
	busy(g);
	read_counts(fd);
	expect_eq(row(10, 0x72)->count, CPUIDS);
	close(fd);
	busy(g);
	fd = open_counts(g);
	read_counts(fd);
	expect_eq(row(10, 0x72)->count, CPUIDS);
	busy(g);
	read_counts(fd);
	expect_eq(row(10, 0x72)->count, 2 * CPUIDS);
}

static void bad_reads(void)
{
	struct guest *g = guest_create(MODE_LONG);
	int fd = open_counts(g);

	busy(g);
	expect_errno(read(fd, &counts, 0), E2BIG);
	expect_errno(read(fd, &counts, sizeof(counts.head) - 1), E2BIG);
	expect_errno(read(fd, &counts, sizeof(counts.head) + sizeof(struct pith_exit_count)), E2BIG);
	expect_errno(syscall(SYS_read, fd, 8, sizeof(counts)), EFAULT);
	expect_errno(write(fd, &counts, 8), EBADF);
	close(g->vcpu);
	close(g->vm);
	close(g->device);
	read_counts(fd);
	expect_eq(row(10, 0x72)->count, CPUIDS);
}

static volatile bool stop;

static void *open_and_close(void *g)
{
	while (!stop) {
		int fd = open_counts(g);

		read_counts(fd);
		close(fd);
	}
	return NULL;
}

/* Beside a reader that comes and goes nothing is lost of what another one counts. */
static void storm(void)
{
	struct guest *g = guest_create(MODE_LONG);
	int fd = open_counts(g);
	pthread_t other;

	if (pthread_create(&other, NULL, open_and_close, g))
		die("pthread_create");
	busy(g);
	stop = true;
	pthread_join(other, NULL);
	read_counts(fd);
	expect_eq(row(10, 0x72)->count, CPUIDS);
	expect_eq(row(30, 0x7b)->count, OUTS);
}

/* -- pith stat, at this process ---------------------------------------------------------------------------------- */

static bool counts_now(pid_t pid)
{
	char path[64], target[64] = "";
	unsigned int fd;

	for (fd = 0; fd < 16; fd++) {
		snprintf(path, sizeof(path), "/proc/%d/fd/%u", pid, fd);
		if (readlink(path, target, sizeof(target) - 1) > 0 && strstr(target, "pith-exit-counts"))
			return true;
	}
	return false;
}

static pid_t start_stat(FILE **output)
{
	char name[16];
	int fd[2];
	pid_t pid;

	snprintf(name, sizeof(name), "%d", getpid());
	if (pipe(fd))
		die("pipe");
	pid = fork();
	if (!pid) {
		dup2(fd[1], STDOUT_FILENO);
		execl("./pith", "pith", "stat", "--json", "--interval", "1000", name, NULL);
		_exit(1);
	}
	close(fd[1]);
	*output = fdopen(fd[0], "r");
	while (!counts_now(pid) && !kill(pid, 0) && !waitpid(pid, NULL, WNOHANG))
		usleep(100000);
	return pid;
}

static void stat_agrees(void)
{
	static char said[1 << 16], expected[64];
	struct guest *g;
	FILE *output;
	pid_t pid;

	if (access("./pith", X_OK))
		skip("the runner is not here");
	g = guest_create(MODE_LONG);
	pid = start_stat(&output);
	busy(g);
	kill(pid, SIGINT);
	expect(fread(said, 1, sizeof(said) - 1, output) > 0);
	snprintf(expected, sizeof(expected), "\"name\":\"CPUID\",\"count\":%u,", CPUIDS);
	expect(strstr(said, expected));
	snprintf(expected, sizeof(expected), "\"count\":%u,", OUTS);
	expect(strstr(said, expected));
	expect(strstr(said, "\"vcpu\":0") && said[0] == '{' && strstr(said, "]}\n"));
	if (failed())
		diag("%s", said);
}

static const struct test tests[] = {
	{ "counts agree with the guest's", agrees },
	{ "files are opened and closed", open_and_closed },
	{ "reads that go wrong", bad_reads },
	{ "pith stat agrees, too", stat_agrees },
	{ "beside a reader that comes and goes", storm },
};

KTAP_MAIN(tests)
