/* SPDX-License-Identifier: GPL-2.0 */
/*
 * pith trace: the exits of a run go to a file.
 */
#ifndef PITH_TRACE_H
#define PITH_TRACE_H

struct vm;

void trace_open(const char *path, const char *symbols);
void trace_start(struct vm *vm);
void trace_stop(void);

#endif
