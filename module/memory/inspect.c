// SPDX-License-Identifier: GPL-2.0
/* What an inspector is told of guest memory: slots, and second-stage mappings. */
#include <linux/srcu.h>

#include "internal.h"
#include "pith.h"

static struct slot *first_slot(struct memory *m, u64 gpa)
{
	return slots_first(srcu_dereference(m->slots, &m->srcu), BY_GFN, gpa >> PAGE_SHIFT, U64_MAX);
}

int memory_inspect_slot(struct vm *vm, struct pith_inspect_slot *told)
{
	struct memory *m = &vm->memory;
	int index = srcu_read_lock(&m->srcu), r = -ENOENT;
	const struct slot *slot = first_slot(m, told->gpa);

	if (slot) {
		*told = (struct pith_inspect_slot){ .gpa = slot->gfn << PAGE_SHIFT,
						    .size = slot->npages << PAGE_SHIFT,
						    .userspace_addr = slot->host,
						    .slot = slot->id,
						    .flags = slot->flags };
		r = 0;
	}
	srcu_read_unlock(&m->srcu, index);
	return r;
}

static u32 page_flags(const struct table_format *format, u64 entry)
{
	u32 flags = format->accessed ? PITH_PAGE_AD_VALID : 0;

	if ((entry & format->read) == format->read)
		flags |= PITH_PAGE_READ;
	if (entry & format->write)
		flags |= PITH_PAGE_WRITE;
	if (leaf_is_executable(format, entry))
		flags |= PITH_PAGE_EXEC;
	if (entry & format->accessed)
		flags |= PITH_PAGE_ACCESSED;
	if (entry & format->dirty)
		flags |= PITH_PAGE_DIRTY;
	return flags;
}

/* Memory encryption's bit is one of an address and no address. */
static u64 page_address_of(const struct table_format *format, u64 entry, u64 size)
{
	return entry & GENMASK_ULL(51, PAGE_SHIFT) & ~format->leaf & ~(size - 1);
}

void memory_inspect_page(struct vm *vm, struct pith_inspect_page *page, bool see_host)
{
	const struct table_format *format = vm->memory.format;
	unsigned int level = 0;
	u64 entry = 0, gpa = page->gpa;

	/* The tables reach no farther. */
	if (as_gfn(0, gpa) < level_pages(format->levels + 1))
		entry = tables_find(&vm->memory, gpa >> PAGE_SHIFT, &level);
	*page = (struct pith_inspect_page){ .gpa = gpa, .level = level };
	if (!entry)
		return;
	page->size = level_pages(level) << PAGE_SHIFT;
	page->flags = page_flags(format, entry);
	if (!see_host)
		return;
	page->entry = entry;
	page->host = page_address_of(format, entry, page->size) | (gpa & (page->size - 1));
}
