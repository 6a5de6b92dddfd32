/* SPDX-License-Identifier: GPL-2.0 */
#ifndef PITH_ACPI_H
#define PITH_ACPI_H

#include "util.h"

struct memory;

/* The tables are in the BIOS's part of the first MiB, where an operating system looks for them too. */
#define ACPI_TABLES_ADDR 0xe0000
#define ACPI_TABLES_END 0x100000

u64 acpi_build(const struct memory *memory, unsigned int nr_cpus);

#endif
