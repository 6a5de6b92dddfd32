/* SPDX-License-Identifier: GPL-2.0 */
/* The names of a kernel's addresses: from a System.map, a copy of /proc/kallsyms, or an ELF file's symbol table. */
#ifndef PITH_SYMBOLS_H
#define PITH_SYMBOLS_H

#include <stdbool.h>
#include <stddef.h>

#include "util.h"

struct symbol {
	u64 address;
	const char *name;
	bool code;
};

struct symbols {
	size_t nr;
	struct symbol *symbol; /* by their addresses */
	u64 slide;	       /* how far the kernel is from where it was linked (KASLR) */
	char *text;
};

/** symbols_parse - @data: the file, which the symbols go on pointing into; false: it is none that is known, or has none */
bool symbols_parse(struct symbols *symbols, char *data, size_t size);

/** symbols_load - the same of a file; ends the program with a sentence if that cannot be */
void symbols_load(struct symbols *symbols, const char *path);

/** symbols_find - the last symbol that is not behind an address, or NULL */
const struct symbol *symbols_find(const struct symbols *symbols, u64 address);

/** symbols_name - the function at an address, and how far in it; NULL where none is known, or @symbols is NULL */
const char *symbols_name(const struct symbols *symbols, u64 address, u64 *offset);

/** symbols_address - where a symbol is now; false: there is none of that name */
bool symbols_address(const struct symbols *symbols, const char *name, u64 *address);

#endif
