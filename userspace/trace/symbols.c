// SPDX-License-Identifier: GPL-2.0
/*
 * Symbols of a guest's kernel, from its System.map (or the guest's /proc/kallsyms) or from its vmlinux.
 */
#include "symbols.h"

#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Farther behind a symbol than this is not in it: the kernel's largest functions are smaller. */
#define MAX_OFFSET (1u << 20)

struct symbol {
	u64 address;
	char *name;
};

static struct symbol *symbols;
static size_t nr_symbols;

/* What cannot be part of a name in C or assembly stays out, and so out of what traces are written in. */
static bool is_name(const char *name)
{
	return *name &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.$") == strlen(name);
}

static bool add(u64 address, const char *name)
{
	if (!is_name(name))
		return true;
	if (!(nr_symbols & (nr_symbols - 1))) {
		struct symbol *more = realloc(symbols, (nr_symbols ? 2 * nr_symbols : 1) * sizeof(*symbols));

		if (!more)
			return false;
		symbols = more;
	}
	symbols[nr_symbols] = (struct symbol){ address, strdup(name) };
	return symbols[nr_symbols++].name;
}

/* "ffffffff81000000 T _text": only code is looked for. */
static bool load_map(FILE *file)
{
	char line[1024], name[512], type;
	unsigned long long address;

	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%llx %c %511s", &address, &type, name) != 3)
			return false;
		if (strchr("tTwW", type) && !add(address, name))
			return false;
	}
	return true;
}

static bool within(size_t size, u64 offset, u64 length)
{
	return offset <= size && length <= size - offset;
}

static bool load_table(const u8 *file, size_t size, const Elf64_Shdr *table, const Elf64_Shdr *strings)
{
	const Elf64_Sym *symbol;

	if (!within(size, table->sh_offset, table->sh_size) || !within(size, strings->sh_offset, strings->sh_size) ||
	    table->sh_offset % sizeof(u64) || !strings->sh_size || file[strings->sh_offset + strings->sh_size - 1])
		return false;
	symbol = (const void *)(file + table->sh_offset);
	for (size_t i = 0; i < table->sh_size / sizeof(*symbol); i++) {
		unsigned int type = ELF64_ST_TYPE(symbol[i].st_info);

		if ((type == STT_FUNC || type == STT_NOTYPE) && symbol[i].st_shndx != SHN_UNDEF &&
		    symbol[i].st_name < strings->sh_size &&
		    !add(symbol[i].st_value, (const char *)file + strings->sh_offset + symbol[i].st_name))
			return false;
	}
	return true;
}

static bool load_elf(const u8 *file, size_t size)
{
	const Elf64_Ehdr *header = (const void *)file;
	const Elf64_Shdr *sections;

	if (header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_shentsize != sizeof(*sections) ||
	    header->e_shoff % sizeof(u64) || !within(size, header->e_shoff, header->e_shnum * sizeof(*sections)))
		return false;
	sections = (const void *)(file + header->e_shoff);
	for (unsigned int i = 0; i < header->e_shnum; i++)
		if (sections[i].sh_type == SHT_SYMTAB && sections[i].sh_link < header->e_shnum)
			return load_table(file, size, &sections[i], &sections[sections[i].sh_link]);
	return false;
}

static int compare(const void *a, const void *b)
{
	const struct symbol *x = a, *y = b;

	return x->address < y->address ? -1 : x->address > y->address;
}

static bool load(int fd)
{
	FILE *text = fdopen(fd, "r");
	struct stat st;
	bool done;
	u8 *file;

	if (!text)
		return false;
	if (fstat(fd, &st) < 0 || st.st_size < (off_t)sizeof(Elf64_Ehdr)) {
		done = load_map(text);
	} else {
		file = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
		done = file != MAP_FAILED && !memcmp(file, ELFMAG, SELFMAG) ? load_elf(file, st.st_size)
									    : load_map(text);
		if (file != MAP_FAILED)
			munmap(file, st.st_size);
	}
	fclose(text);
	return done;
}

/**
 * symbols_load - reads the symbols of a file
 * @path: a System.map, or an ELF file with a symbol table
 *
 * Return: whether it has any.
 */
bool symbols_load(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t before = nr_symbols;

	if (fd < 0 || !load(fd) || nr_symbols == before)
		return false;
	qsort(symbols, nr_symbols, sizeof(*symbols), compare);
	return true;
}

/**
 * symbols_find - the function at an address
 * @offset: of the address in it
 *
 * Return: NULL if nothing is known of it.
 */
const char *symbols_find(u64 address, u64 *offset)
{
	size_t low = 0, high = nr_symbols;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (symbols[middle].address <= address)
			low = middle + 1;
		else
			high = middle;
	}
	if (!low || address - symbols[low - 1].address > MAX_OFFSET)
		return NULL;
	*offset = address - symbols[low - 1].address;
	return symbols[low - 1].name;
}
