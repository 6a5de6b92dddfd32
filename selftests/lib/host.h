/* SPDX-License-Identifier: GPL-2.0 */
/* What tests do to the machine they run on, and read from it. */
#ifndef SELFTESTS_HOST_H
#define SELFTESTS_HOST_H

#include "ktap.h"

/* Whether a command of the shell succeeded. */
bool shell(const char *command);

/* Writes a text, which must be taken whole, to a file that is there: of sysfs, procfs, a control group. */
bool write_file(const char *path, const char *text);

/* The number behind a name in a file of such lines, or alone there (name ""); 0 if there is none. */
u64 read_number(const char *path, const char *name);

/* What /proc/vmstat has counted since it was first asked for this name, which ends in a space. */
u64 counted(const char *name);

/* 64 MiB of swap, in memory. The test is skipped where that cannot be had. */
void swap_on(void);
void swap_off(void);

/* A control group of its own for the test, which may have so much memory. */
#define GROUP "/sys/fs/cgroup/pith_test"
void limit_memory(u64 bytes);
void unlimit_memory(void);

#endif
