/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How the tests of the interrupt controllers are written: a table of programs, each a name, some steps, and the trace that
 * they leave. Steps and callbacks note() what comes out of the model.
 */
#ifndef PITH_IRQ_SCRIPT_H
#define PITH_IRQ_SCRIPT_H

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "../../module/portable.h"

#define MAX_STEPS 32

struct step {
	void (*run)(u64 a, u64 b, u64 c);
	u64 a, b, c;
};

struct program {
	const char *name;
	struct step steps[MAX_STEPS];
	const char *trace;
};

static char trace[4096];

/* Adds a word to the trace. */
__attribute__((format(printf, 1, 2))) static void note(const char *format, ...)
{
	size_t used = strlen(trace);
	va_list args;

	if (used && used < sizeof(trace) - 1)
		trace[used++] = ' ';
	va_start(args, format);
	vsnprintf(trace + used, sizeof(trace) - used, format, args);
	va_end(args);
}

/* Prints KTAP; returns what main() is to return. */
static int run_programs(const struct program *programs, unsigned int count, void (*setup)(void))
{
	unsigned int i, failed = 0;
	const struct step *s;

	printf("TAP version 13\n1..%u\n", count);
	for (i = 0; i < count; i++) {
		setup();
		trace[0] = 0;
		for (s = programs[i].steps; s->run; s++)
			s->run(s->a, s->b, s->c);
		if (strcmp(trace, programs[i].trace)) {
			failed++;
			printf("# want: %s\n# got:  %s\nnot ", programs[i].trace, trace);
		}
		printf("ok %u %s\n", i + 1, programs[i].name);
	}
	return failed != 0;
}

#endif
