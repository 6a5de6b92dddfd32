/* SPDX-License-Identifier: GPL-2.0 */
/* A unit test is a table of these, and main() returns run_tests() of it. KTAP on standard output. */
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct test {
	const char *name;
	bool (*holds)(void);
};

static inline int run_tests(const struct test *tests, size_t nr)
{
	size_t i, nr_failed = 0;
	bool holds;

	printf("KTAP version 1\n1..%zu\n", nr);
	for (i = 0; i < nr; i++) {
		holds = tests[i].holds();
		nr_failed += !holds;
		printf("%s %zu %s\n", holds ? "ok" : "not ok", i + 1, tests[i].name);
	}
	return nr_failed != 0;
}
