// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include "ktap.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* How the process of a test ends. */
enum { EXIT_PASS, EXIT_FAIL, EXIT_SKIP = 4 };

/* Generous: an emulated host takes a second for what silicon does in a millisecond; one that checks itself, ten. */
static unsigned int hang_seconds(void)
{
	const char *given = getenv("PITH_HANG_SECONDS");

	if (is_long())
		return 1800 + long_seconds(1800);
	return given ? atoi(given) : 60;
}

const char *device_path = "/dev/pith";

static char about[128];
static bool has_failed;
static int skip_reason[2]; /* a pipe from the process of a test */

/* -- diagnostics ------------------------------------------------------------------------------------------------- */

void diag(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	printf("# ");
	vprintf(format, args);
	printf("\n");
	va_end(args);
}

void context(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(about, sizeof(about), format, args);
	va_end(args);
}

void skip(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vdprintf(skip_reason[1], format, args);
	va_end(args);
	exit(has_failed ? EXIT_FAIL : EXIT_SKIP);
}

void fail_at(const char *file, int line, const char *format, ...)
{
	const char *base = strrchr(file, '/');
	va_list args;

	has_failed = true;
	va_start(args, format);
	printf("# %s:%d: %s%s", base ? base + 1 : file, line, about, *about ? ": " : "");
	vprintf(format, args);
	printf("\n");
	va_end(args);
}

void die(const char *format, ...)
{
	int error = errno;
	va_list args;

	va_start(args, format);
	printf("# %s%s", about, *about ? ": " : "");
	vprintf(format, args);
	printf(": %s\n", strerror(error));
	va_end(args);
	exit(EXIT_FAIL);
}

bool failed(void)
{
	return has_failed;
}

/* -- expectations ------------------------------------------------------------------------------------------------ */

bool expect_at(const char *file, int line, const char *what, bool holds)
{
	if (!holds)
		fail_at(file, line, "expected %s", what);
	return holds;
}

bool expect_eq_at(const char *file, int line, const char *what, u64 seen, u64 expected)
{
	if (seen != expected)
		fail_at(file, line, "%s is %#lx, expected %#lx", what, seen, expected);
	return seen == expected;
}

bool expect_errno_at(const char *file, int line, const char *what, long result, int error)
{
	int seen = result < 0 ? errno : 0;

	if (seen != error)
		fail_at(file, line, "%s: %s, expected %s", what, seen ? strerrorname_np(seen) : "success",
			error ? strerrorname_np(error) : "success");
	return seen == error;
}

bool expect_bytes_at(const char *file, int line, const char *what, const void *seen, const void *expected, u32 size)
{
	const u8 *a = seen, *b = expected;
	u32 i;

	for (i = 0; i < size && a[i] == b[i]; i++)
		;
	if (i < size)
		fail_at(file, line, "byte %u of %s is %#x, expected %#x", i, what, a[i], b[i]);
	return i == size;
}

/* -- the run ----------------------------------------------------------------------------------------------------- */

/* The first alarm interrupts a KVM_RUN, so that the test can say where its guest was; the second one ends it. */
static void hung(int number)
{
	struct sigaction end = { .sa_handler = SIG_DFL };

	sigaction(number, &end, NULL);
	alarm(5);
}

static int run_in_process(const struct test *test)
{
	struct sigaction action = { .sa_handler = hung };
	int status;
	pid_t pid;

	if (pipe(skip_reason))
		return EXIT_FAIL;
	pid = fork();
	if (!pid) {
		sigaction(SIGALRM, &action, NULL);
		alarm(hang_seconds());
		test->run();
		exit(has_failed ? EXIT_FAIL : EXIT_PASS);
	}
	close(skip_reason[1]);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return EXIT_FAIL;
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	diag("%s: ended by signal %d%s", test->name, WTERMSIG(status), WTERMSIG(status) == SIGALRM ? ": it hung" : "");
	return EXIT_FAIL;
}

/* Whether it passed or was skipped. */
static bool run_and_report(const struct test *test, unsigned int number)
{
	char reason[256] = "";
	ssize_t len;

	switch (run_in_process(test)) {
	case EXIT_PASS:
		printf("ok %u %s\n", number, test->name);
		break;
	case EXIT_SKIP:
		len = read(skip_reason[0], reason, sizeof(reason) - 1);
		printf("ok %u %s # SKIP %.*s\n", number, test->name, (int)len, reason);
		break;
	default:
		printf("not ok %u %s\n", number, test->name);
		close(skip_reason[0]);
		return false;
	}
	close(skip_reason[0]);
	return true;
}

/* Arguments after the device name tests, or parts of their names. */
static bool is_chosen(const struct test *test, int argc, char **argv)
{
	int i;

	for (i = 2; i < argc; i++)
		if (strstr(test->name, argv[i]))
			return true;
	return argc <= 2;
}

int ktap_main(int argc, char **argv, const struct test *tests, unsigned int nr)
{
	unsigned int i, chosen = 0, number = 0, bad = 0;

	if (getenv("PITH_DEVICE"))
		device_path = getenv("PITH_DEVICE");
	if (argc > 1)
		device_path = argv[1];
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (i = 0; i < nr; i++)
		chosen += is_chosen(&tests[i], argc, argv);
	printf("TAP version 13\n1..%u\n", chosen);
	for (i = 0; i < nr; i++)
		if (is_chosen(&tests[i], argc, argv))
			bad += !run_and_report(&tests[i], ++number);
	return bad ? 1 : 0;
}
