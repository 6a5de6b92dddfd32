// SPDX-License-Identifier: GPL-2.0
/*
 * io_test - port I/O: every form of IN, OUT, INS and OUTS, what of it struct kvm_run shows, and who may do it.
 *
 * How many elements of a string one exit covers is not told by the manual nor by the ABI, so an exit is taken as a part
 * of a stream of elements, and the streams are compared.
 */
#include <errno.h>
#include <string.h>

#include "guest.h"

#define PORT 0x542
#define IMM_PORT 0x42
#define STREAM_SIZE 16384

struct stream {
	u16 port;
	u8 size; /* of an element */
	bool in;
	u32 done;	      /* bytes that went through */
	u8 data[STREAM_SIZE]; /* what IN gets, what OUT gave */
};

/* A byte for each place in a stream or in memory, none like its neighbours. */
static u8 pattern(u32 i)
{
	return i * 37 + (i >> 8) + 1;
}

static void fill_pattern(u8 *bytes, u32 size)
{
	u32 i;

	for (i = 0; i < size; i++)
		bytes[i] = pattern(i);
}

/* Answers one exit. False if it is not one of this stream. */
static bool answer(struct guest *g, struct stream *s)
{
	u32 bytes = g->run->io.size * g->run->io.count;

	if (!expect_eq(g->run->io.direction, s->in ? KVM_EXIT_IO_IN : KVM_EXIT_IO_OUT) ||
	    !expect_eq(g->run->io.port, s->port) || !expect_eq(g->run->io.size, s->size) ||
	    !expect(g->run->io.count > 0) || !expect(s->done + bytes <= STREAM_SIZE) ||
	    !expect(g->run->io.data_offset >= sizeof(*g->run)) ||
	    !expect(g->run->io.data_offset + bytes <= (u32)ioctl(g->device, KVM_GET_VCPU_MMAP_SIZE, 0)))
		return false;
	if (s->in)
		memcpy(guest_io_data(g), s->data + s->done, bytes);
	else
		memcpy(s->data + s->done, guest_io_data(g), bytes);
	s->done += bytes;
	return true;
}

/* Runs the guest until it leaves for something else. */
static void run_stream(struct guest *g, struct stream *s)
{
	guest_start(g);
	while (g->exit == KVM_EXIT_IO && answer(g, s))
		guest_run(g);
}

/* -- IN, OUT ----------------------------------------------------------------------------------------------------- */

struct plain_row {
	const char *name;
	struct code code[2]; /* 16-bit code; 32- and 64-bit code */
	u8 size;
	bool in;
	u16 port;
};

#define PLAIN(text, size, in, port)                                  \
	{                                                            \
		text, { CODE16(text), CODE64(text) }, size, in, port \
	}
#define RAX 0x1122334455667788ull
#define IN_DATA 0xa1a2a3a4u

/* 32-bit results clear the upper half of the register; outside of 64-bit mode the upper half is not seen. */
static u64 rax_after_in(u8 size, bool wide)
{
	u64 mask = size == 4 ? ~0ull : (1ull << 8 * size) - 1;
	u64 rax = (RAX & ~mask) | (IN_DATA & mask);

	return wide ? rax : (u32)rax;
}

static void plain_row(enum guest_mode mode, const struct plain_row *row)
{
	struct guest *g = guest_create(mode);
	struct stream s = { .port = row->port, .size = row->size, .in = row->in };
	bool wide = mode == MODE_LONG;
	u32 data = IN_DATA;

	context("%s: %s", guest_mode_name[mode], row->name);
	memcpy(s.data, &data, sizeof(data));
	guest_load(g, row->code[mode != MODE_REAL && mode != MODE_PROT16]);
	g->regs.rax = wide ? RAX : (u32)RAX;
	g->regs.rdx = PORT;
	run_stream(g, &s);
	expect_end(g);
	expect_eq(s.done, row->size);
	expect_eq(g->regs.rip, GUEST_CODE + g->code_size + 1);
	if (row->in) {
		expect_eq(g->regs.rax, rax_after_in(row->size, wide));
	} else {
		data = (u32)RAX;
		expect_bytes(s.data, &data, row->size);
		expect_eq(g->regs.rax, wide ? RAX : (u32)RAX);
	}
	guest_destroy(g);
}

static void plain(void)
{
	static const enum guest_mode where[] = {
		MODE_REAL, MODE_PROT16, MODE_PROT32, MODE_PAE, MODE_COMPAT, MODE_LONG
	};
	const struct plain_row rows[] = {
		PLAIN("in $0x42, %al", 1, true, IMM_PORT),    PLAIN("in $0x42, %ax", 2, true, IMM_PORT),
		PLAIN("in $0x42, %eax", 4, true, IMM_PORT),   PLAIN("in %dx, %al", 1, true, PORT),
		PLAIN("in %dx, %ax", 2, true, PORT),	      PLAIN("in %dx, %eax", 4, true, PORT),
		PLAIN("out %al, $0x42", 1, false, IMM_PORT),  PLAIN("out %ax, $0x42", 2, false, IMM_PORT),
		PLAIN("out %eax, $0x42", 4, false, IMM_PORT), PLAIN("out %al, %dx", 1, false, PORT),
		PLAIN("out %ax, %dx", 2, false, PORT),	      PLAIN("out %eax, %dx", 4, false, PORT),
	};
	unsigned int i, k;

	for (i = 0; i < ARRAY_SIZE(where); i++)
		for (k = 0; k < ARRAY_SIZE(rows); k++)
			plain_row(where[i], &rows[k]);
}

/* -- INS, OUTS --------------------------------------------------------------------------------------------------- */

struct string_row {
	const char *name;
	enum guest_mode mode;
	struct code code;
	bool in;
	u8 size;
	u32 elements;	/* that are expected to go through */
	u64 rcx, index; /* RDI of INS, RSI of OUTS; before ... */
	u64 rcx_after, index_after;
	u32 linear; /* of the first element */
	u64 rflags;
	u32 base; /* of the segment, if not 0 */
};

/* The address of an element: up, or down with DF, and around at 64 KiB with 16-bit addresses. */
static u32 element_address(const struct string_row *row, u32 i)
{
	u32 offset = row->linear - row->base;

	offset += row->rflags & RFLAGS_DF ? -(i * row->size) : i * row->size;
	if (row->index >> 16 && row->index_after >> 16 == row->index >> 16)
		offset &= 0xffff;
	return row->base + offset;
}

static void set_bases(struct guest *g, u32 base)
{
	struct kvm_sregs s = guest_sregs(g);

	if (g->mode == MODE_LONG) {
		s.fs.base = s.gs.base = base;
	} else {
		s.es.base = s.ds.base = s.fs.base = base;
		s.es.selector = s.ds.selector = s.fs.selector = base >> 4;
	}
	guest_set_sregs(g, &s);
}

static void string_row(const struct string_row *row)
{
	struct guest *g = guest_create(row->mode);
	struct stream s = { .port = PORT, .size = row->size, .in = row->in };
	u64 mask = row->mode == MODE_LONG ? ~0ull : 0xffffffff;
	u32 i;

	context("%s: %s", guest_mode_name[row->mode], row->name);
	if (row->base)
		set_bases(g, row->base);
	fill_pattern(row->in ? s.data : g->memory + GUEST_DATA, row->in ? STREAM_SIZE : GUEST_DATA_END - GUEST_DATA);
	if (!row->in)
		fill_pattern(g->memory + GUEST_FREE, GUEST_HOLE - GUEST_FREE);
	guest_load(g, row->code);
	g->regs.rcx = row->rcx;
	g->regs.rdx = PORT;
	g->regs.rdi = g->regs.rsi = row->index;
	g->regs.rflags |= row->rflags;
	run_stream(g, &s);
	expect_end(g);
	expect_eq(s.done, row->elements * row->size);
	expect_eq(g->regs.rcx & mask, row->rcx_after);
	expect_eq((row->in ? g->regs.rdi : g->regs.rsi) & mask, row->index_after);
	expect_eq((row->in ? g->regs.rsi : g->regs.rdi) & mask, row->index & mask);
	for (i = 0; i < row->elements; i++)
		if (!expect_bytes(g->memory + element_address(row, i), s.data + i * row->size, row->size))
			break;
	guest_destroy(g);
}

#define D GUEST_DATA
#define PAGE_END (GUEST_DATA + PAGE)

static void strings(void)
{
	const struct code insb = CODE64("insb"), insw = CODE64("insw"), insl = CODE64("insl"), outsb = CODE64("outsb"),
			  outsw = CODE64("outsw"), outsl = CODE64("outsl");
	const struct code rep_insb = CODE64("rep insb"), rep_insw = CODE64("rep insw"), rep_insl = CODE64("rep insl"),
			  rep_outsb = CODE64("rep outsb"), rep_outsw = CODE64("rep outsw"),
			  rep_outsl = CODE64("rep outsl"), repne_insb = CODE64(".byte 0xf2; insb");
	const struct string_row rows[] = {
		{ "INSB", MODE_LONG, insb, true, 1, 1, 7, D, 7, D + 1, D, 0, 0 },
		{ "INSW", MODE_LONG, insw, true, 2, 1, 7, D, 7, D + 2, D, 0, 0 },
		{ "INSD", MODE_LONG, insl, true, 4, 1, 7, D, 7, D + 4, D, 0, 0 },
		{ "OUTSB", MODE_LONG, outsb, false, 1, 1, 7, D, 7, D + 1, D, 0, 0 },
		{ "OUTSW", MODE_LONG, outsw, false, 2, 1, 7, D, 7, D + 2, D, 0, 0 },
		{ "OUTSD", MODE_LONG, outsl, false, 4, 1, 7, D, 7, D + 4, D, 0, 0 },
		{ "INSD down", MODE_LONG, insl, true, 4, 1, 7, D + 8, 7, D + 4, D + 8, RFLAGS_DF, 0 },
		{ "REP INSB", MODE_LONG, rep_insb, true, 1, 5, 5, D, 0, D + 5, D, 0, 0 },
		{ "REP INSW", MODE_LONG, rep_insw, true, 2, 5, 5, D, 0, D + 10, D, 0, 0 },
		{ "REP INSD", MODE_LONG, rep_insl, true, 4, 5, 5, D, 0, D + 20, D, 0, 0 },
		{ "REPNE INSB", MODE_LONG, repne_insb, true, 1, 5, 5, D, 0, D + 5, D, 0, 0 },
		{ "REP OUTSB", MODE_LONG, rep_outsb, false, 1, 5, 5, D, 0, D + 5, D, 0, 0 },
		{ "REP OUTSW", MODE_LONG, rep_outsw, false, 2, 5, 5, D, 0, D + 10, D, 0, 0 },
		{ "REP OUTSD", MODE_LONG, rep_outsl, false, 4, 5, 5, D, 0, D + 20, D, 0, 0 },
		{ "REP INSB, none", MODE_LONG, rep_insb, true, 1, 0, 0, D, 0, D, D, 0, 0 },
		{ "REP OUTSD, none", MODE_LONG, rep_outsl, false, 4, 0, 0, D, 0, D, D, 0, 0 },
		{ "REP INSB, many", MODE_LONG, rep_insb, true, 1, 9000, 9000, D + 3, 0, D + 9003, D + 3, 0, 0 },
		{ "REP OUTSW, many", MODE_LONG, rep_outsw, false, 2, 4500, 4500, D, 0, D + 9000, D, 0, 0 },
		{ "REP INSD, page border", MODE_LONG, rep_insl, true, 4, 8, 8, PAGE_END - 16, 0, PAGE_END + 16,
		  PAGE_END - 16, 0, 0 },
		{ "REP OUTSD, page border", MODE_LONG, rep_outsl, false, 4, 8, 8, PAGE_END - 16, 0, PAGE_END + 16,
		  PAGE_END - 16, 0, 0 },
		{ "INSD across pages", MODE_LONG, insl, true, 4, 1, 7, PAGE_END - 1, 7, PAGE_END + 3, PAGE_END - 1, 0,
		  0 },
		{ "OUTSD across pages", MODE_LONG, outsl, false, 4, 1, 7, PAGE_END - 3, 7, PAGE_END + 1, PAGE_END - 3,
		  0, 0 },
		{ "REP INSW, one across pages", MODE_LONG, rep_insw, true, 2, 6, 6, PAGE_END - 5, 0, PAGE_END + 7,
		  PAGE_END - 5, 0, 0 },
		{ "REP OUTSD, one across pages", MODE_LONG, rep_outsl, false, 4, 6, 6, PAGE_END - 10, 0, PAGE_END + 14,
		  PAGE_END - 10, 0, 0 },
		{ "REP INSW down", MODE_LONG, rep_insw, true, 2, 5, 5, D + 20, 0, D + 10, D + 20, RFLAGS_DF, 0 },
		{ "REP OUTSD down", MODE_LONG, rep_outsl, false, 4, 5, 5, D + 20, 0, D, D + 20, RFLAGS_DF, 0 },
		{ "REP INSD down over a page border", MODE_LONG, rep_insl, true, 4, 6, 6, PAGE_END + 8, 0,
		  PAGE_END - 16, PAGE_END + 8, RFLAGS_DF, 0 },
		{ "REP OUTSW down across pages", MODE_LONG, rep_outsw, false, 2, 6, 6, PAGE_END + 5, 0, PAGE_END - 7,
		  PAGE_END + 5, RFLAGS_DF, 0 },
		{ "REP INSW, 32-bit addresses", MODE_LONG, CODE64("addr32 rep insw"), true, 2, 5, 0xff00000005,
		  0xffffffff00000000 | D, 0, D + 10, D, 0, 0 },
		{ "REP OUTSB, 32-bit addresses", MODE_LONG, CODE64("addr32 rep outsb"), false, 1, 5, 0xff00000005,
		  0xffffffff00000000 | D, 0, D + 5, D, 0, 0 },
		{ "OUTSB FS:", MODE_LONG, CODE64("outsb %fs:(%rsi), %dx"), false, 1, 1, 7, D, 7, D + 1, D + 0x100, 0,
		  0x100 },
		{ "REP OUTSW GS:", MODE_LONG, CODE64("rep outsw %gs:(%rsi), %dx"), false, 2, 5, 5, D, 0, D + 10,
		  D + 0x100, 0, 0x100 },
		{ "INSB, FS: is not for it", MODE_LONG, CODE64(".byte 0x64; insb"), true, 1, 1, 7, D, 7, D + 1, D, 0,
		  0x100 },
		{ "OUTSB, DS: has no base", MODE_LONG, CODE64(".byte 0x3e; outsb"), false, 1, 1, 7, D, 7, D + 1, D, 0,
		  0 },
		{ "REP INSD", MODE_PAE, rep_insl, true, 4, 5, 5, D, 0, D + 20, D, 0, 0 },
		{ "REP OUTSW", MODE_PAGED32, rep_outsw, false, 2, 5, 5, D, 0, D + 10, D, 0, 0 },
		{ "REP INSB", MODE_COMPAT, rep_insb, true, 1, 5, 5, D, 0, D + 5, D, 0, 0 },
		{ "REP INSW, a segment base", MODE_PROT32, rep_insw, true, 2, 5, 5, D, 0, D + 10, D + 0x1230, 0,
		  0x1230 },
		{ "REP OUTSD, a segment base", MODE_PROT32, rep_outsl, false, 4, 5, 5, D, 0, D + 20, D + 0x1230, 0,
		  0x1230 },
		{ "REP OUTSB SS:", MODE_PROT32, CODE32(".byte 0x36; rep outsb"), false, 1, 5, 5, D, 0, D + 5, D, 0, 0 },
		{ "REP INSB, 16-bit addresses", MODE_PROT32, CODE32("addr16 rep insb"), true, 1, 5, 0xff0005,
		  0x550000 | D, 0xff0000, 0x550000 | (D + 5), D, 0, 0 },
		{ "INSB", MODE_REAL, CODE16("insb"), true, 1, 1, 7, D, 7, D + 1, D, 0, 0 },
		{ "REP INSW", MODE_REAL, CODE16("rep insw"), true, 2, 5, 0xff0005, 0x550000 | D, 0xff0000,
		  0x550000 | (D + 10), D, 0, 0 },
		{ "REP INSD", MODE_REAL, CODE16("rep insl"), true, 4, 5, 5, D, 0, D + 20, D, 0, 0 },
		{ "REP OUTSB, a segment", MODE_REAL, CODE16("rep outsb"), false, 1, 5, 5, 0x100, 0, 0x105, 0x20100, 0,
		  0x20000 },
		{ "REP OUTSW ES:", MODE_REAL, CODE16("rep outsw %es:(%si), %dx"), false, 2, 5, 5, 0x100, 0, 0x10a,
		  0x20100, 0, 0x20000 },
		{ "REP INSB around the end of a segment", MODE_REAL, CODE16("rep insb"), true, 1, 4, 4, 0x55fffe, 0,
		  0x550002, 0x2fffe, 0, 0x20000 },
		{ "REP OUTSB around the end of a segment", MODE_REAL, CODE16("rep outsb"), false, 1, 4, 4, 0x55fffe, 0,
		  0x550002, 0x2fffe, 0, 0x20000 },
		{ "REP INSB, 32-bit addresses", MODE_REAL, CODE16("addr32 rep insb"), true, 1, 5, 5, D, 0, D + 5, D, 0,
		  0 },
		{ "REP OUTSW down", MODE_REAL, CODE16("rep outsw"), false, 2, 5, 5, D + 20, 0, D + 10, D + 20,
		  RFLAGS_DF, 0 },
		{ "REP INSB", MODE_PROT16, CODE16("rep insb"), true, 1, 5, 5, D, 0, D + 5, D, 0, 0 },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++)
		string_row(&rows[i]);
}

/* -- faults ------------------------------------------------------------------------------------------------------ */

/* A string runs into a page that is not there: what came before is done, and registers tell how much. */
static void string_page_faults(void)
{
	static const struct {
		const char *name;
		bool in;
		u64 flags;
		u32 error;
		u32 before; /* elements */
	} rows[] = {
		{ "REP INSB, first page not present", true, 0, 2, 0 },
		{ "REP INSB, second page not present", true, 0, 2, 3 },
		{ "REP INSB, second page read-only", true, PTE_P, 3, 3 },
		{ "REP OUTSB, first page not present", false, 0, 0, 0 },
		{ "REP OUTSB, second page not present", false, 0, 0, 3 },
	};
	const struct code ins = CODE64("rep insb"), outs = CODE64("rep outsb");
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct guest *g = guest_create(MODE_LONG);
		struct stream s = { .port = PORT, .size = 1, .in = rows[i].in };
		u64 index = PAGE_END - rows[i].before;
		struct kvm_sregs sregs = guest_sregs(g);

		context("%s", rows[i].name);
		sregs.cr0 |= CR0_WP;
		guest_set_sregs(g, &sregs);
		fill_pattern(s.in ? s.data : g->memory + index, 16);
		guest_map(g, PAGE_END, PAGE_END, rows[i].flags);
		guest_load(g, rows[i].in ? ins : outs);
		g->regs.rdx = PORT;
		g->regs.rcx = 8;
		g->regs.rdi = g->regs.rsi = index;
		run_stream(g, &s);
		expect_trap(g, VECTOR_PF, rows[i].error, 0);
		expect_eq(guest_sregs(g).cr2, PAGE_END);
		expect_eq(g->regs.rcx, 8 - rows[i].before);
		expect_eq(rows[i].in ? g->regs.rdi : g->regs.rsi, PAGE_END);
		expect_bytes(g->memory + index, s.data, rows[i].before);
		guest_destroy(g);
	}
}

static void string_segment_faults(void)
{
	const struct {
		const char *name;
		enum guest_mode mode;
		struct code code;
		bool in;
		u8 size;
		u64 index;
		u64 error;
	} rows[] = {
		{ "INSB, not canonical", MODE_LONG, CODE64("insb"), true, 1, 0x800000000000, 0 },
		{ "OUTSB, not canonical", MODE_LONG, CODE64("outsb"), false, 1, 0xffff7fffffffffff, 0 },
		{ "INSB beyond the limit", MODE_PROT32, CODE32("mov %ebx, %es; insb"), true, 1, 0x10000, 0 },
		{ "OUTSW at the limit", MODE_PROT32, CODE32("mov %ebx, %ds; outsw"), false, 2, 0xffff, 0 },
		{ "INSW at the limit", MODE_REAL, CODE16("mov %ax, %ax; insw"), true, 2, 0xffff, NO_ERROR },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct guest *g = guest_create(rows[i].mode);
		struct stream s = { .port = PORT, .size = rows[i].size, .in = rows[i].in };

		context("%s", rows[i].name);
		guest_load(g, rows[i].code);
		g->regs.rbx = SEL_DS16; /* its limit is FFFFh */
		g->regs.rdx = PORT;
		g->regs.rdi = g->regs.rsi = rows[i].index;
		run_stream(g, &s); /* the port may be read before the fault is found */
		expect_trap(g, VECTOR_GP, rows[i].error, rows[i].mode == MODE_LONG ? 0 : 2);
		guest_destroy(g);
	}
}

/* SDM volume 1, "I/O Privilege Level" and "I/O Permission Bit Map". */
static void permissions(void)
{
	static const struct {
		const char *name;
		u64 iopl;
		u8 map; /* the ports from PORT on: set bits are forbidden */
		bool has_map;
		bool v8086_allowed, allowed;
	} rows[] = {
		{ "IOPL 0, no map", 0, 0, false, false, false },
		{ "IOPL 3, no map", RFLAGS_IOPL, 0, false, false, true },
		{ "IOPL 0, map allows both ports", 0, 0xf3, true, true, true },
		{ "IOPL 0, map forbids the first port", 0, 0xf7, true, false, false },
		{ "IOPL 0, map forbids the second port", 0, 0xfb, true, false, false },
		{ "IOPL 3, map forbids", RFLAGS_IOPL, 0xff, true, false, true },
	};
	static const enum guest_mode where[] = { MODE_V8086, MODE_PROT32, MODE_PAE, MODE_COMPAT, MODE_LONG };
	/* The same bytes in 16- and 32-bit code, but for the width of the word. */
	const struct code plain[] = { CODE16("out %ax, %dx"), CODE64("out %ax, %dx") };
	const struct code string[] = { CODE16("outsw"), CODE64("outsw") };
	unsigned int i, k;

	for (i = 0; i < ARRAY_SIZE(where) * ARRAY_SIZE(rows) * 2; i++) {
		struct guest *g = guest_create(where[i / 2 / ARRAY_SIZE(rows)]);
		bool v8086 = g->mode == MODE_V8086, allowed;

		k = i / 2 % ARRAY_SIZE(rows);
		allowed = v8086 ? rows[k].v8086_allowed : rows[k].allowed;
		context("%s: %s, %s", guest_mode_name[g->mode], i & 1 ? "OUTSW" : "OUT", rows[k].name);
		guest_set_mode(g, g->mode, true);
		if (rows[k].has_map) {
			memset(g->memory + GUEST_TSS + 104, 0xff, 0x200);
			*(u16 *)(g->memory + GUEST_TSS + 102) = 104;
			g->memory[GUEST_TSS + 104 + PORT / 8] = rows[k].map;
		}
		guest_load(g, i & 1 ? string[!v8086] : plain[!v8086]);
		g->regs.rflags |= rows[k].iopl;
		g->regs.rdx = PORT;
		g->regs.rsi = GUEST_DATA;
		guest_start(g);
		if (allowed && expect_exit(g, KVM_EXIT_IO)) {
			expect_eq(g->run->io.port, PORT);
			expect_eq(g->run->io.size, 2);
		} else if (!allowed) {
			expect_trap(g, VECTOR_GP, 0, 0);
		}
		guest_destroy(g);
	}
}

/* -- the client between exit and completion ---------------------------------------------------------------------- */

/* The instruction is complete once KVM_RUN was called again, if only to come back at once. api.rst, "immediate_exit". */
static void completion(void)
{
	struct guest *g = guest_create(MODE_LONG);

	guest_load(g, CODE64("in %dx, %eax; mov %eax, %ebx"));
	g->regs.rdx = PORT;
	guest_start(g);
	expect_exit(g, KVM_EXIT_IO);
	*(u32 *)guest_io_data(g) = IN_DATA;
	g->run->immediate_exit = 1;
	expect_errno(ioctl(g->vcpu, KVM_RUN, 0), EINTR);
	expect_errno(ioctl(g->vcpu, KVM_GET_REGS, &g->regs), 0);
	expect_eq(g->regs.rax, IN_DATA);
	expect_eq(g->regs.rbx, 0);
	expect_eq(g->regs.rip, GUEST_CODE + 1);
	g->run->immediate_exit = 0;
	*(u32 *)guest_io_data(g) = 0;
	guest_run(g);
	expect_end(g);
	expect_eq(g->regs.rbx, IN_DATA);
}

/* A client that sets RIP while an instruction waits for it has given that instruction up: a reset by a port, say. */
static void moved_rip(void)
{
	const struct {
		const char *name;
		struct code code;
	} rows[] = {
		{ "IN", CODE64("in %dx, %al; ud2; ud2; mov $7, %ebx") },
		{ "OUT", CODE64("out %al, %dx; ud2; ud2; mov $7, %ebx") },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct guest *g = guest_create(MODE_LONG);

		context("%s", rows[i].name);
		guest_load(g, rows[i].code);
		g->regs.rax = 0x11;
		g->regs.rdx = PORT;
		guest_start(g);
		expect_exit(g, KVM_EXIT_IO);
		*(u8 *)guest_io_data(g) = 0x99;
		g->regs.rip = GUEST_CODE + 5;
		guest_start(g);
		expect_end(g);
		expect_eq(g->regs.rax, 0x11);
		expect_eq(g->regs.rbx, 7);
		guest_destroy(g);
	}
}

/* Registers that the client sets meanwhile are what the guest goes on with. */
static void changed_registers(void)
{
	struct guest *g = guest_create(MODE_LONG);

	guest_load(g, CODE64("out %al, %dx; mov %rbx, %rcx"));
	g->regs.rdx = PORT;
	guest_start(g);
	expect_exit(g, KVM_EXIT_IO);
	expect_eq(g->regs.rip & ~1, GUEST_CODE);
	expect_errno(ioctl(g->vcpu, KVM_GET_REGS, &g->regs), 0);
	g->regs.rbx = 0x1234;
	expect_errno(ioctl(g->vcpu, KVM_SET_REGS, &g->regs), 0);
	guest_run(g);
	expect_end(g);
	expect_eq(g->regs.rcx, 0x1234);
}

static const struct test tests[] = {
	{ "IN and OUT", plain },
	{ "INS and OUTS", strings },
	{ "INS and OUTS into page faults", string_page_faults },
	{ "INS and OUTS beyond segments", string_segment_faults },
	{ "I/O privilege level and permission map", permissions },
	{ "completion by an immediate exit", completion },
	{ "client moves RIP", moved_rip },
	{ "client changes registers", changed_registers },
};

KTAP_MAIN(tests)
