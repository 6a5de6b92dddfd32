// SPDX-License-Identifier: GPL-2.0
/* See symbols.h. Files may be damaged: nothing is read that is not in them. */
#include "symbols.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Farther behind a symbol than this is not in it: the kernel's largest functions are smaller. */
#define MAX_OFFSET (1u << 20)

/* What cannot be part of a name in C or assembly stays out, and so out of what names are written into. */
static bool is_name(const char *name)
{
	return *name &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.$") == strlen(name);
}

static void add(struct symbols *symbols, u64 address, const char *name, bool code)
{
	if (!is_name(name))
		return;
	/* Room for twice as many whenever their number is a power of two. */
	if (!(symbols->nr & (symbols->nr - 1))) {
		symbols->symbol = realloc(symbols->symbol, (symbols->nr ? 2 * symbols->nr : 1) * sizeof(struct symbol));
		if (!symbols->symbol)
			die("out of memory");
	}
	symbols->symbol[symbols->nr++] = (struct symbol){ address, name, code };
}

static int by_address(const void *a, const void *b)
{
	const struct symbol *left = a, *right = b;

	return left->address < right->address ? -1 : left->address > right->address;
}

/* -- text: "ffffffff81000000 T _text", a line each; a module's name may follow ------------------------------------ */

static void parse_text(struct symbols *symbols, char *text)
{
	char *line, *rest, *name;
	u64 address;
	bool code;

	for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		address = strtoull(line, &name, 16);
		if (name == line || name[0] != ' ' || !name[1] || name[2] != ' ')
			continue;
		code = strchr("tTwW", name[1]);
		name += 3;
		name[strcspn(name, "\t ")] = '\0';
		/* Absolute ones are the offsets of per-CPU variables. */
		if (address >> 63)
			add(symbols, address, name, code);
	}
}

/* -- ELF ---------------------------------------------------------------------------------------------------------- */

static bool within(size_t size, u64 offset, u64 len)
{
	return offset <= size && len <= size - offset;
}

static void parse_table(struct symbols *symbols, const char *data, size_t size, const Elf64_Shdr *table,
			const Elf64_Shdr *names)
{
	const Elf64_Sym *entry;
	u64 i;

	if (!within(size, table->sh_offset, table->sh_size) || !within(size, names->sh_offset, names->sh_size) ||
	    table->sh_offset % _Alignof(Elf64_Sym))
		return;
	/* So that the last name ends. */
	if (!names->sh_size || data[names->sh_offset + names->sh_size - 1])
		return;
	for (i = 0; i < table->sh_size / sizeof(*entry); i++) {
		entry = (const Elf64_Sym *)(data + table->sh_offset) + i;
		if (entry->st_name && entry->st_name < names->sh_size && entry->st_value >> 63 &&
		    ELF64_ST_TYPE(entry->st_info) <= STT_FUNC)
			add(symbols, entry->st_value, data + names->sh_offset + entry->st_name,
			    ELF64_ST_TYPE(entry->st_info) != STT_OBJECT);
	}
}

static void parse_elf(struct symbols *symbols, const char *data, size_t size)
{
	const Elf64_Ehdr *header = (const Elf64_Ehdr *)data;
	const Elf64_Shdr *sections;
	unsigned int i;

	if (header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_shentsize != sizeof(*sections) ||
	    header->e_shoff % _Alignof(Elf64_Shdr) ||
	    !within(size, header->e_shoff, (u64)header->e_shnum * sizeof(*sections)))
		return;
	sections = (const Elf64_Shdr *)(data + header->e_shoff);
	for (i = 0; i < header->e_shnum; i++)
		if (sections[i].sh_type == SHT_SYMTAB && sections[i].sh_link < header->e_shnum)
			parse_table(symbols, data, size, &sections[i], &sections[sections[i].sh_link]);
}

/* -- both --------------------------------------------------------------------------------------------------------- */

bool symbols_parse(struct symbols *symbols, char *data, size_t size)
{
	*symbols = (struct symbols){};
	if (size >= sizeof(Elf64_Ehdr) && !memcmp(data, ELFMAG, SELFMAG))
		parse_elf(symbols, data, size);
	else
		parse_text(symbols, data);
	if (symbols->nr)
		qsort(symbols->symbol, symbols->nr, sizeof(struct symbol), by_address);
	return symbols->nr;
}

/* With a zero behind it. */
static char *load(const char *path, size_t *size)
{
	FILE *file = fopen(path, "r");
	char *data = NULL;
	size_t room = 0, len;

	if (!file)
		die("cannot open %s: %s", path, strerror(errno));
	*size = 0;
	do {
		if (*size == room) {
			room = room ? 2 * room : MIB;
			data = realloc(data, room + 1);
			if (!data)
				die("out of memory");
		}
		len = fread(data + *size, 1, room - *size, file);
		*size += len;
	} while (len);
	if (ferror(file))
		die("cannot read %s: %s", path, strerror(errno));
	fclose(file);
	data[*size] = '\0';
	return data;
}

void symbols_load(struct symbols *symbols, const char *path)
{
	size_t size;
	char *data = load(path, &size);

	if (!symbols_parse(symbols, data, size))
		die("%s has no symbols of a kernel: a System.map, a copy of /proc/kallsyms or a vmlinux has", path);
	symbols->text = data;
}

const struct symbol *symbols_find(const struct symbols *symbols, u64 address)
{
	size_t low = 0, high = symbols->nr, middle;

	/* All of them are the kernel's. */
	if (!(address >> 63))
		return NULL;
	address -= symbols->slide;
	while (low < high) {
		middle = (low + high) / 2;
		if (symbols->symbol[middle].address <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low ? &symbols->symbol[low - 1] : NULL;
}

const char *symbols_name(const struct symbols *symbols, u64 address, u64 *offset)
{
	const struct symbol *symbol = symbols ? symbols_find(symbols, address) : NULL;

	while (symbol && !symbol->code)
		symbol = symbol > symbols->symbol ? symbol - 1 : NULL;
	if (!symbol || address - symbols->slide - symbol->address > MAX_OFFSET)
		return NULL;
	*offset = address - symbols->slide - symbol->address;
	return symbol->name;
}

bool symbols_address(const struct symbols *symbols, const char *name, u64 *address)
{
	size_t i;

	for (i = 0; i < symbols->nr; i++) {
		if (!strcmp(symbols->symbol[i].name, name)) {
			*address = symbols->symbol[i].address + symbols->slide;
			return true;
		}
	}
	return false;
}
