/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What exits are called, in the words of the two vendors' manuals and in some that are for both.
 */
#ifndef PITH_EXITS_H
#define PITH_EXITS_H

#include "util.h"

/* An exit reason: the hardware's number, its name as the kernel's headers have it, and what kind of exit that is. */
struct exit_name {
	u32 reason;
	const char *name;
	const char *kind;
};

const struct exit_name *exit_names(u32 isa, unsigned int *nr);
const char *exit_name(u32 isa, u32 reason);

#endif
