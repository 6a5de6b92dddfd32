/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Names of a guest kernel's addresses.
 */
#ifndef PITH_TRACE_SYMBOLS_H
#define PITH_TRACE_SYMBOLS_H

#include "../util.h"

bool symbols_load(const char *path);
const char *symbols_find(u64 address, u64 *offset);

#endif
