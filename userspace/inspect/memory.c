// SPDX-License-Identifier: GPL-2.0
/* The guest's page tables, by the module's own walk: what it reads is what there is to show. SDM volume 3, "Paging". */
#include "view.h"

#include "../../module/check.h"

#define CR4_PAE BIT_ULL(5)
#define CR4_LA57 BIT_ULL(12)
#define CR0_PG BIT_ULL(31)
#define EFER_LMA BIT_ULL(10)
#define PAGE_SIZE 4096ull
#define MAX_STEPS 5

struct steps {
	const struct view *view;
	unsigned int nr;
	struct {
		u64 gpa, entry;
	} step[MAX_STEPS];
};

static int read_entry(void *opaque, u64 gpa, void *entry, unsigned int size)
{
	struct steps *steps = opaque;
	u64 value = 0;

	if (steps->nr == MAX_STEPS || steps->view->read(steps->view->ctx, gpa, &value, size))
		return -1;
	memcpy(entry, &value, size);
	steps->step[steps->nr].gpa = gpa;
	steps->step[steps->nr++].entry = value;
	return 0;
}

static const struct walk_ops ops = { .read = read_entry };

/* As the supervisor would read it. Whether bits are reserved that the CPU's address width does not have is not asked. */
static int walk(struct steps *steps, u64 linear, u64 *gpa, struct exception *exception)
{
	const struct kvm_sregs2 *sregs = &steps->view->vcpu->sregs;
	struct walk_state state = {
		.cr0 = sregs->cr0,
		.cr3 = sregs->cr3,
		.cr4 = sregs->cr4,
		.efer = sregs->efer,
		.rflags = steps->view->vcpu->regs.rflags | RFLAGS_AC,
		.maxphyaddr = 52,
	};

	memcpy(state.pdptrs, sregs->pdptrs, sizeof(state.pdptrs));
	return guest_walk(&state, &ops, steps, linear, WALK_NO_AD, gpa, exception);
}

bool view_translate(const struct view *view, u64 linear, u64 *gpa)
{
	struct steps steps = { .view = view };
	struct exception exception;

	return walk(&steps, linear, gpa, &exception) == WALK_OK;
}

size_t view_read(const struct view *view, u64 linear, void *buf, size_t len)
{
	size_t done = 0, part;
	u64 gpa;

	while (done < len) {
		part = min(len - done, PAGE_SIZE - ((linear + done) & (PAGE_SIZE - 1)));
		if (!view_translate(view, linear + done, &gpa) || view->read(view->ctx, gpa, buf + done, part))
			break;
		done += part;
	}
	return done;
}

bool view_read64(const struct view *view, u64 linear, u64 *value)
{
	return view_read(view, linear, value, sizeof(*value)) == sizeof(*value);
}

/* -- step by step ------------------------------------------------------------------------------------------------- */

static const struct check_part entry_parts[] = {
	{ "P", 0, 1 }, { "W", 1, 1 },  { "U", 2, 1 }, { "PWT", 3, 1 }, { "PCD", 4, 1 }, { "A", 5, 1 },
	{ "D", 6, 1 }, { "PS", 7, 1 }, { "G", 8, 1 }, { "NX", 63, 1 }, { NULL },
};

static const struct check_part error_parts[] = {
	{ "present", 0, 1 },	       { "write", 1, 1 },	   { "user", 2, 1 }, { "reserved bit", 3, 1 },
	{ "instruction fetch", 4, 1 }, { "protection key", 5, 1 }, { NULL },
};

static const char *const entry_names[] = { "PTE", "PDE", "PDPTE", "PML4E", "PML5E" };

static unsigned int nr_levels(const struct kvm_sregs2 *sregs)
{
	if (!(sregs->efer & EFER_LMA))
		return 2;
	return sregs->cr4 & CR4_LA57 ? 5 : 4;
}

static const char *mode_name(const struct kvm_sregs2 *sregs)
{
	if (!(sregs->cr0 & CR0_PG))
		return "no paging";
	if (sregs->efer & EFER_LMA)
		return sregs->cr4 & CR4_LA57 ? "5-level paging" : "4-level paging";
	return sregs->cr4 & CR4_PAE ? "PAE paging" : "32-bit paging";
}

static void print_entry(FILE *out, const char *name, u64 entry)
{
	char text[128];

	/* A protection key and what software keeps in its bits are in the number. */
	check_describe(entry_parts, entry, text, sizeof(text));
	fprintf(out, "  %-5s %016llx  %s\n", name, (unsigned long long)entry, *text ? text : "not present");
}

static void print_steps(FILE *out, const struct steps *steps, u64 linear)
{
	const struct kvm_sregs2 *sregs = &steps->view->vcpu->sregs;
	unsigned int i, level = nr_levels(sregs);

	if (!(sregs->efer & EFER_LMA) && (sregs->cr4 & CR4_PAE) && (sregs->cr0 & CR0_PG)) {
		fprintf(out, "  at its register %u:     ", (u32)linear >> 30);
		print_entry(out, "PDPTE", sregs->pdptrs[(u32)linear >> 30]);
	}
	for (i = 0; i < steps->nr; i++) {
		fprintf(out, "  at %016llx:", (unsigned long long)steps->step[i].gpa);
		print_entry(out, entry_names[--level], steps->step[i].entry);
	}
}

bool print_walk(FILE *out, const struct view *view, u64 linear, u64 *gpa)
{
	struct steps steps = { .view = view };
	struct exception exception;
	char text[128];
	int r = walk(&steps, linear, gpa, &exception);

	fprintf(out, "linear %016llx, CR3 %016llx, %s\n", (unsigned long long)linear,
		(unsigned long long)view->vcpu->sregs.cr3, mode_name(&view->vcpu->sregs));
	print_steps(out, &steps, linear);
	if (r == WALK_UNREADABLE)
		fprintf(out, "  and the next table is not in memory\n");
	if (r == WALK_FAULT) {
		check_describe(error_parts, exception.error, text, sizeof(text));
		fprintf(out, "  a read by the supervisor is a page fault: error code %#x (%s)\n", exception.error,
			*text ? text : "not present");
	}
	if (r == WALK_OK)
		fprintf(out, "  guest-physical %016llx\n", (unsigned long long)*gpa);
	return r == WALK_OK;
}
