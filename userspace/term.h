/* SPDX-License-Identifier: GPL-2.0 */
#ifndef PITH_TERM_H
#define PITH_TERM_H

#include "util.h"

struct serial;
struct vm;

void term_init(void);
bool term_is_raw(void);
void term_restore(void);
void term_run(struct vm *vm, struct serial *serial);

#endif
