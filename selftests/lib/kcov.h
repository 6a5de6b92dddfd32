/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a thread's calls reach in the module: told by the kernel's kcov, where that is there and the module was built for
 * it. Source: the kernel's Documentation/dev-tools/kcov.rst.
 */
#ifndef SELFTESTS_KCOV_H
#define SELFTESTS_KCOV_H

#include "ktap.h"

/*
 * The blocks of code that were reached so far, and the edges from one to the next. It is shared with the processes that are
 * forked later, and right whenever one of them is killed.
 */
struct coverage;

/* NULL where there is no kcov. */
struct coverage *coverage_create(void);
void coverage_count(const struct coverage *coverage, u64 *calls, u32 *blocks, u32 *edges);

/* Traces the calling thread from now on. For the two below, which do nothing with a NULL. */
u64 *trace_open(void);

void trace_begin(u64 *trace);
/* Whether the thread came by what nobody had reached before. */
bool trace_end(u64 *trace, struct coverage *coverage);

#endif
