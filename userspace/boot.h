/* SPDX-License-Identifier: GPL-2.0 */
#ifndef PITH_BOOT_H
#define PITH_BOOT_H

#include "util.h"

struct memory;

struct boot {
	const char *kernel;
	const char *initrd; /* NULL: none */
	const char *command_line;
};

u64 boot_load(const struct boot *boot, const struct memory *memory, u64 rsdp);
void boot_cpu(int vcpu_fd, u64 entry);

#endif
