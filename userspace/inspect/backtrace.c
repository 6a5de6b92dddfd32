// SPDX-License-Identifier: GPL-2.0
/*
 * See view.h. ORC, the unwind tables that Debian's kernels have instead of frame pointers, is in the memory of the guest
 * itself: arch/x86/include/asm/orc_types.h, Documentation/x86/orc-unwinder.rst.
 */
#include "view.h"

#define MAX_FRAMES 64
#define MAX_GUESSES 32
#define STACK_SIZE 16384 /* THREAD_SIZE */

/* Where a Linux kernel's image can be, if its symbols do not tell. */
#define IMAGE_START 0xffffffff80000000ull
#define IMAGE_END 0xffffffffc0000000ull

struct frame {
	u64 ip, sp, bp;
	bool exact;		      /* ip is where it is, not where a call returns to */
	const struct kvm_regs *entry; /* of the first one: registers that only entry code keeps a stack's address in */
};

static void print_frame(FILE *out, const struct view *view, u64 address, const char *mark)
{
	fprintf(out, "  %s%016llx", mark, (unsigned long long)address);
	print_symbol(out, view, address);
	fputc('\n', out);
}

static bool symbol(const struct view *view, const char *name, u64 *address)
{
	return view->symbols && symbols_address(view->symbols, name, address);
}

/* Where its code is. */
struct text {
	u64 start, end;
};

static struct text find_text(const struct view *view)
{
	struct text text = { IMAGE_START, IMAGE_END };

	symbol(view, "_stext", &text.start);
	symbol(view, "_etext", &text.end);
	return text;
}

static bool is_text(const struct text *text, u64 address)
{
	return address >= text->start && address < text->end;
}

/* -- ORC --------------------------------------------------------------------------------------------------------- */

struct orc {
	u64 ips, entries; /* linear addresses of the tables */
	u32 nr;
	bool is_old; /* before Linux 6.4 */
};

enum { ORC_UNDEFINED, ORC_PREV_SP, ORC_DX, ORC_DI, ORC_BP, ORC_SP, ORC_R10, ORC_R13, ORC_BP_INDIRECT, ORC_SP_INDIRECT };
enum orc_type { ORC_END, ORC_CALL, ORC_REGS, ORC_REGS_PARTIAL };

struct orc_entry {
	s16 sp_offset, bp_offset;
	u16 bits;
};
#define ORC_ENTRY_SIZE 6

/* struct pt_regs, and what of it a CPU pushes by itself. */
#define REGS_BP 32
#define REGS_IP 128
#define REGS_SP 152
#define FRAME_SP 24

static bool is_old_linux(const struct view *view)
{
	unsigned int major, minor;
	char banner[32] = "";
	u64 address;

	if (symbol(view, "linux_banner", &address))
		view_read(view, address, banner, sizeof(banner) - 1);
	return sscanf(banner, "Linux version %u.%u", &major, &minor) != 2 || major < 6 || (major == 6 && minor < 4);
}

static bool find_orc(const struct view *view, struct orc *orc)
{
	u64 end;

	if (!symbol(view, "__start_orc_unwind_ip", &orc->ips) || !symbol(view, "__stop_orc_unwind_ip", &end) ||
	    !symbol(view, "__start_orc_unwind", &orc->entries) || end <= orc->ips || (end - orc->ips) >> 30)
		return false;
	orc->nr = (end - orc->ips) / sizeof(s32);
	orc->is_old = is_old_linux(view);
	return true;
}

/* The address that an entry is for is told as its distance from where that stands. */
static bool entry_address(const struct view *view, const struct orc *orc, u32 index, u64 *address)
{
	u64 at = orc->ips + index * sizeof(s32);
	s32 distance;

	if (view_read(view, at, &distance, sizeof(distance)) != sizeof(distance))
		return false;
	*address = at + distance;
	return true;
}

/* The last entry that is not behind an address. */
static bool find_entry(const struct view *view, const struct orc *orc, u64 ip, struct orc_entry *entry)
{
	u32 low = 0, high = orc->nr, middle;
	u64 address;

	while (low < high) {
		middle = low + (high - low) / 2;
		if (!entry_address(view, orc, middle, &address))
			return false;
		if (address <= ip)
			low = middle + 1;
		else
			high = middle;
	}
	if (!low)
		return false;
	return view_read(view, orc->entries + (u64)(low - 1) * ORC_ENTRY_SIZE, entry, ORC_ENTRY_SIZE) == ORC_ENTRY_SIZE;
}

static enum orc_type entry_type(const struct orc *orc, const struct orc_entry *entry)
{
	static const enum orc_type old[] = { ORC_CALL, ORC_REGS, ORC_REGS_PARTIAL, ORC_END };
	static const enum orc_type new[] = { ORC_END,	       ORC_END, ORC_CALL, ORC_REGS,
					     ORC_REGS_PARTIAL, ORC_END, ORC_END,  ORC_END };

	return orc->is_old ? old[entry->bits >> 8 & 3] : new[entry->bits >> 8 & 7];
}

/* Entry code keeps a stack's address in these. */
static bool saved_register(const struct kvm_regs *regs, unsigned int which, u64 *value)
{
	if (!regs)
		return false;
	switch (which) {
	case ORC_DX:
		*value = regs->rdx;
		return true;
	case ORC_DI:
		*value = regs->rdi;
		return true;
	case ORC_R10:
		*value = regs->r10;
		return true;
	case ORC_R13:
		*value = regs->r13;
		return true;
	}
	return false;
}

/* The stack pointer at the caller. */
static bool find_sp(const struct view *view, const struct frame *frame, const struct orc_entry *entry, u64 *sp)
{
	switch (entry->bits & 15) {
	case ORC_SP:
		*sp = frame->sp + entry->sp_offset;
		return true;
	case ORC_BP:
		*sp = frame->bp + entry->sp_offset;
		return true;
	case ORC_SP_INDIRECT:
		if (!view_read64(view, frame->sp, sp))
			return false;
		*sp += entry->sp_offset;
		return true;
	case ORC_BP_INDIRECT:
		return view_read64(view, frame->bp + entry->sp_offset, sp);
	}
	return saved_register(frame->entry, entry->bits & 15, sp);
}

static bool find_bp(const struct view *view, const struct frame *frame, const struct orc_entry *entry, u64 sp, u64 *bp)
{
	switch (entry->bits >> 4 & 15) {
	case ORC_PREV_SP:
		return view_read64(view, sp + entry->bp_offset, bp);
	case ORC_BP:
		return view_read64(view, frame->bp + entry->bp_offset, bp);
	}
	*bp = frame->bp;
	return true;
}

/* To the caller, or what was interrupted. False: here it ends. */
static bool unwind(const struct view *view, const struct orc *orc, struct frame *frame)
{
	struct frame next = {};
	struct orc_entry entry;
	enum orc_type type;
	u64 sp;

	if (!find_entry(view, orc, frame->ip - !frame->exact, &entry) || !find_sp(view, frame, &entry, &sp))
		return false;
	type = entry_type(orc, &entry);
	switch (type) {
	case ORC_CALL:
		next.sp = sp;
		if (!view_read64(view, sp - 8, &next.ip))
			return false;
		break;
	case ORC_REGS:
		if (!view_read64(view, sp + REGS_IP, &next.ip) || !view_read64(view, sp + REGS_SP, &next.sp))
			return false;
		break;
	case ORC_REGS_PARTIAL:
		if (!view_read64(view, sp, &next.ip) || !view_read64(view, sp + FRAME_SP, &next.sp))
			return false;
		break;
	default:
		return false;
	}
	next.exact = type != ORC_CALL;
	if (type == ORC_REGS ? !view_read64(view, sp + REGS_BP, &next.bp) : !find_bp(view, frame, &entry, sp, &next.bp))
		return false;
	*frame = next;
	return true;
}

static unsigned int trace_by_orc(FILE *out, const struct view *view)
{
	const struct kvm_regs *regs = &view->vcpu->regs;
	struct frame frame = { regs->rip, regs->rsp, regs->rbp, true, regs };
	struct orc orc = {};
	unsigned int nr = 0;

	if (!find_orc(view, &orc))
		return 0;
	while (nr < MAX_FRAMES && unwind(view, &orc, &frame)) {
		if (!(frame.ip >> 63)) {
			print_frame(out, view, frame.ip, "user ");
			return nr + 1;
		}
		if (!frame.ip || !symbols_find(view->symbols, frame.ip))
			break;
		print_frame(out, view, frame.ip, "");
		nr++;
	}
	return nr;
}

/* -- frame pointers, and guesses ---------------------------------------------------------------------------------- */

/* One such frame may be chance: only more than one are believed. */
static unsigned int trace_by_frames(FILE *out, const struct view *view, const struct text *text)
{
	u64 bp = view->vcpu->regs.rbp, last = view->vcpu->regs.rsp, ip[MAX_FRAMES];
	unsigned int nr = 0, i;

	while (nr < MAX_FRAMES && bp >= last && bp - last < STACK_SIZE && !(bp & 7) &&
	       view_read64(view, bp + 8, &ip[nr]) && is_text(text, ip[nr])) {
		last = bp + 16;
		nr++;
		if (!view_read64(view, bp, &bp))
			break;
	}
	for (i = 0; nr > 1 && i < nr; i++)
		print_frame(out, view, ip[i], "");
	return nr > 1 ? nr : 0;
}

static void scan_stack(FILE *out, const struct view *view, const struct text *text)
{
	u64 sp = view->vcpu->regs.rsp & ~7ull, end = (sp | (STACK_SIZE - 1)) + 1, word;
	unsigned int nr = 0;

	for (; sp < end && nr < MAX_GUESSES && view_read64(view, sp, &word); sp += 8) {
		if (!is_text(text, word))
			continue;
		print_frame(out, view, word, "? ");
		nr++;
	}
}

void print_backtrace(FILE *out, const struct view *view)
{
	const struct kvm_regs *regs = &view->vcpu->regs;
	struct text text;

	if (view_code_size(view) != 64) {
		fprintf(out, "  no backtrace: not 64-bit code\n");
		return;
	}
	print_frame(out, view, regs->rip, "");
	if (!(regs->rip >> 63))
		return;
	if (trace_by_orc(out, view))
		return;
	text = find_text(view);
	if (!trace_by_frames(out, view, &text))
		scan_stack(out, view, &text);
}
