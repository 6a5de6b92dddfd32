/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the test programs have in common toward whoever runs them: KTAP output, one line a test, and diagnostics that
 * say what was expected and what was seen. Each test runs in a process of its own, so that one that crashes or hangs
 * is one that failed. Source of the format: the kernel's Documentation/dev-tools/ktap.rst.
 */
#ifndef SELFTESTS_KTAP_H
#define SELFTESTS_KTAP_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* Whether tests that have a long form are to run that: LONG=1 make test. */
static inline bool is_long(void)
{
	const char *value = getenv("LONG");

	return value && *value;
}

/* For how many seconds: what LONG says, which without a number of its own (LONG=1) is @usual. */
static inline unsigned int long_seconds(unsigned int usual)
{
	unsigned long seconds = is_long() ? strtoul(getenv("LONG"), NULL, 10) : 0;

	return seconds > 1 ? seconds : usual;
}

struct test {
	const char *name;
	void (*run)(void);
};

/* The device under test: the first argument, $PITH_DEVICE, or /dev/pith. */
extern const char *device_path;

/**
 * ktap_main - runs tests, each in a process, and reports them
 * @argv: the device, and parts of the names of the tests to run: without any, all of them
 * Return: what main() has to return: 0 if none failed.
 */
int ktap_main(int argc, char **argv, const struct test *tests, unsigned int nr);

#define KTAP_MAIN(tests)                                                \
	int main(int argc, char **argv)                                 \
	{                                                               \
		return ktap_main(argc, argv, tests, ARRAY_SIZE(tests)); \
	}

/* A line of explanation. */
__attribute__((format(printf, 1, 2))) void diag(const char *format, ...);

/* What the expectations that follow are about: a row of a table. Put in front of each of their diagnostics. */
__attribute__((format(printf, 1, 2))) void context(const char *format, ...);

/* The running test cannot be made here, and why. */
__attribute__((noreturn, format(printf, 1, 2))) void skip(const char *format, ...);

/* The running test cannot go on: a call it needs failed. Says so, with errno. */
__attribute__((noreturn, format(printf, 1, 2))) void die(const char *format, ...);

/* The running test has failed; it goes on, to say more. */
__attribute__((format(printf, 3, 4))) void fail_at(const char *file, int line, const char *format, ...);
#define fail(...) fail_at(__FILE__, __LINE__, __VA_ARGS__)

/* Whether the running test has failed so far. */
bool failed(void);

/* Each of these says what was expected and what was seen, and tells whether that was the same. */
bool expect_at(const char *file, int line, const char *what, bool holds);
bool expect_eq_at(const char *file, int line, const char *what, u64 seen, u64 expected);
bool expect_errno_at(const char *file, int line, const char *what, long result, int error);
bool expect_bytes_at(const char *file, int line, const char *what, const void *seen, const void *expected, u32 size);

#define expect(condition) expect_at(__FILE__, __LINE__, #condition, condition)
#define expect_eq(seen, expected) expect_eq_at(__FILE__, __LINE__, #seen, seen, expected)
/* That a system call fails with an error, or with 0 that it succeeds. */
#define expect_errno(call, error) expect_errno_at(__FILE__, __LINE__, #call, call, error)
#define expect_bytes(seen, expected, size) expect_bytes_at(__FILE__, __LINE__, #seen, seen, expected, size)

#endif
