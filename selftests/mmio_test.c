// SPDX-License-Identifier: GPL-2.0
/*
 * mmio_test - instructions that access memory where there is none: what struct kvm_run shows of them, and what they do.
 *
 * Each instruction runs twice: on RAM, where the CPU executes it, and on a hole, where the client plays RAM of the same
 * contents. Registers, flags and memory must come out the same, and the accesses must be those that the manual tells.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "guest.h"

#define OPERAND 0x100 /* offset of the operand, where a row does not say otherwise */
#define RAM GUEST_FREE
#define AREA_SIZE (2 * PAGE)
#define TRACE_SIZE 512

/* What a client sees of a run. */
struct device {
	u64 base;
	u8 memory[AREA_SIZE];
	char trace[TRACE_SIZE]; /* "r4+100 w4+100": direction, bytes, offset */
};

static void fill_pattern(u8 *bytes, u32 size)
{
	u32 i;

	for (i = 0; i < size; i++)
		bytes[i] = i * 37 + (i >> 8) + 0x81;
}

static bool answer(struct guest *g, struct device *d)
{
	u64 offset = g->run->mmio.phys_addr - d->base;
	u32 len = g->run->mmio.len;
	char one[32];

	if (!expect(len >= 1 && len <= 8) || !expect(offset <= AREA_SIZE - len))
		return false;
	if (g->run->mmio.is_write)
		memcpy(d->memory + offset, g->run->mmio.data, len);
	else
		memcpy(g->run->mmio.data, d->memory + offset, len);
	snprintf(one, sizeof(one), "%s%c%u+%lx", *d->trace ? " " : "", g->run->mmio.is_write ? 'w' : 'r', len, offset);
	strncat(d->trace, one, TRACE_SIZE - 1 - strlen(d->trace));
	return true;
}

static void run_with_device(struct guest *g, struct device *d)
{
	d->trace[0] = '\0';
	guest_start(g);
	while (g->exit == KVM_EXIT_MMIO && answer(g, d))
		guest_run(g);
}

static void expect_trace(const struct device *d, const char *expected)
{
	if (strcmp(d->trace, expected))
		fail("accesses are \"%s\", expected \"%s\"", d->trace, expected);
}

/* -- each instruction twice -------------------------------------------------------------------------------------- */

struct row {
	const char *name;
	enum guest_mode mode;
	struct code code;
	const char *trace;
	u64 undefined; /* flags that the manual leaves undefined */
};

/* What a run ends in, relative to where its operand was. */
struct outcome {
	struct kvm_regs regs;
	u8 operand[AREA_SIZE];
	u8 other[PAGE]; /* RAM in both runs */
};

static void set_base(struct guest *g, u64 base)
{
	struct kvm_sregs s = guest_sregs(g);

	s.fs.base = base;
	if (g->mode == MODE_REAL) {
		s.es.base = base;
		s.es.selector = base >> 4;
	}
	guest_set_sregs(g, &s);
}

static void prepare(struct guest *g, const struct row *row, u64 base)
{
	u64 flat = g->mode == MODE_REAL ? 0 : base;

	fill_pattern(g->memory + GUEST_DATA, PAGE);
	set_base(g, base);
	guest_load(g, row->code);
	g->regs.rax = 0x1122334455667788;
	g->regs.rbx = 0x99aabbccddeeff01;
	g->regs.rcx = 3;
	g->regs.rdx = 0x8000000180008081;
	g->regs.rdi = flat + OPERAND;
	g->regs.rsi = GUEST_DATA + OPERAND;
	g->regs.r8 = flat;
	g->regs.rflags |= RFLAGS_CF | RFLAGS_AF | RFLAGS_SF;
	if (g->mode != MODE_LONG)
		g->regs.rbx = (u32)g->regs.rbx;
}

static void collect(struct guest *g, const u8 *operand, u64 base, struct outcome *o)
{
	u64 flat = g->mode == MODE_REAL ? 0 : base, mask = g->mode == MODE_LONG ? ~0ull : 0xffffffff;
	u64 *regs = (u64 *)&o->regs;
	unsigned int i;

	o->regs = g->regs;
	for (i = 0; i < sizeof(o->regs) / sizeof(u64); i++) {
		regs[i] &= mask;
		if (regs[i] >= flat && regs[i] < flat + AREA_SIZE && flat)
			regs[i] -= flat;
	}
	memcpy(o->operand, operand, AREA_SIZE);
	memcpy(o->other, g->memory + GUEST_DATA, PAGE);
}

static void compare(const struct outcome *seen, const struct outcome *expected, u64 undefined)
{
	static const char *const names[] = { "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rsp", "rbp", "r8",
					     "r9",  "r10", "r11", "r12", "r13", "r14", "r15", "rip" };
	const u64 *a = (const u64 *)&seen->regs, *b = (const u64 *)&expected->regs;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(names); i++)
		if (a[i] != b[i])
			fail("%s is %#lx, on RAM it is %#lx", names[i], a[i], b[i]);
	expect_eq(seen->regs.rflags & ~undefined, expected->regs.rflags & ~undefined);
	expect_bytes(seen->operand, expected->operand, AREA_SIZE);
	expect_bytes(seen->other, expected->other, PAGE);
}

static void run_row(struct guest *g, const struct row *row)
{
	struct device d = { .base = GUEST_HOLE };
	struct outcome seen, expected;

	context("%s: %s", guest_mode_name[row->mode], row->name);
	fill_pattern(g->memory + RAM, AREA_SIZE);
	prepare(g, row, RAM);
	guest_start(g);
	expect_end(g);
	collect(g, g->memory + RAM, RAM, &expected);
	fill_pattern(d.memory, AREA_SIZE);
	prepare(g, row, GUEST_HOLE);
	run_with_device(g, &d);
	if (!expect_end(g))
		return;
	collect(g, d.memory, GUEST_HOLE, &seen);
	expect_trace(&d, row->trace);
	compare(&seen, &expected, row->undefined);
}

static void run_rows(const struct row *rows, unsigned int nr)
{
	struct guest *g[NR_MODES] = {};
	unsigned int i;

	for (i = 0; i < nr; i++) {
		enum guest_mode mode = rows[i].mode;

		if (!g[mode])
			g[mode] = guest_create(mode);
		run_row(g[mode], &rows[i]);
		/* An instruction that failed may have left the guest anywhere. */
		if (g[mode]->exit != KVM_EXIT_HLT) {
			guest_destroy(g[mode]);
			g[mode] = NULL;
		}
	}
}

#define L(trace, undefined, text)                               \
	{                                                       \
		text, MODE_LONG, CODE64(text), trace, undefined \
	}
#define P(trace, undefined, text)                                 \
	{                                                         \
		text, MODE_PROT32, CODE32(text), trace, undefined \
	}
#define A(trace, undefined, text)                              \
	{                                                      \
		text, MODE_PAE, CODE32(text), trace, undefined \
	}
#define R(trace, undefined, text)                               \
	{                                                       \
		text, MODE_REAL, CODE16(text), trace, undefined \
	}

static void moves(void)
{
	const struct row rows[] = {
		L("w1+100", 0, "mov %al, (%rdi)"),
		L("w1+100", 0, "mov %bh, (%rdi)"),
		L("w1+100", 0, "mov %sil, (%rdi)"),
		L("w2+100", 0, "mov %ax, (%rdi)"),
		L("w4+100", 0, "mov %eax, (%rdi)"),
		L("w8+100", 0, "mov %rax, (%rdi)"),
		L("w4+103", 0, "mov %edx, 3(%rdi)"),
		L("w8+109", 0, "mov %rax, 3(%rdi, %rcx, 2)"),
		L("r1+100", 0, "mov (%rdi), %al"),
		L("r1+100", 0, "mov (%rdi), %bh"),
		L("r2+100", 0, "mov (%rdi), %ax"),
		L("r4+100", 0, "mov (%rdi), %eax"),
		L("r8+100", 0, "mov (%rdi), %rax"),
		L("r4+100", 0, "mov (%rdi), %edi"),
		L("r4+100", 0, "addr32 mov (%edi), %r15d"),
		L("r4+200", 0, "mov %fs:0x200, %eax"),
		L("w1+100", 0, "movb $0x5a, (%rdi)"),
		L("w2+100", 0, "movw $0x5aa5, (%rdi)"),
		L("w4+100", 0, "movl $0x5aa55aa5, (%rdi)"),
		L("w8+100", 0, "movq $-2, (%rdi)"),
		L("r1+200", 0, "movabs %fs:0x200, %al"),
		L("r8+200", 0, "movabs %fs:0x200, %rax"),
		L("w4+200", 0, "movabs %eax, %fs:0x200"),
		L("w2+100", 0, "mov %ds, (%rdi)"),
		L("r1+100", 0, "movzbw (%rdi), %ax"),
		L("r1+100", 0, "movzbl (%rdi), %eax"),
		L("r2+100", 0, "movzwl (%rdi), %eax"),
		L("r2+100", 0, "movzwq (%rdi), %rax"),
		L("r1+100", 0, "movsbw (%rdi), %ax"),
		L("r1+101", 0, "movsbl 1(%rdi), %eax"),
		L("r1+100", 0, "movsbq (%rdi), %rax"),
		L("r2+100", 0, "movswl (%rdi), %eax"),
		L("r2+102", 0, "movswq 2(%rdi), %rax"),
		L("r4+100", 0, "movslq (%rdi), %rax"),
		L("w4+100", 0, "movnti %eax, (%rdi)"),
		L("w8+100", 0, "movnti %rax, (%rdi)"),
		L("r4+100", 0, "movbe (%rdi), %eax"),
		L("w8+100", 0, "movbe %rax, (%rdi)"),
		L("r4+100", 0, "cmovc (%rdi), %eax"),
		L("r4+100", 0, "cmovz (%rdi), %eax"),
		L("w1+100", 0, "setc (%rdi)"),
		L("w1+100", 0, "setz (%rdi)"),
		P("w4+100", 0, "mov %eax, (%edi)"),
		P("r1+100", 0, "mov (%edi), %al"),
		P("r2+100", 0, "movzwl (%edi), %eax"),
		P("w4+200", 0, "mov %eax, %fs:0x200"),
		P("w2+300", 0, "addr16 movw $0x1234, %fs:0x300"),
		A("w4+100", 0, "mov %eax, (%edi)"),
		A("r4+100", 0, "mov (%edi), %ecx"),
		R("w1+100", 0, "mov %al, %es:(%di)"),
		R("w2+100", 0, "mov %ax, %es:(%di)"),
		R("w4+100", 0, "mov %eax, %es:(%di)"),
		R("r2+100", 0, "mov %es:(%di), %ax"),
		R("r4+103", 0, "mov %es:3(%edi), %eax"),
		R("r1+100", 0, "movzbw %es:(%di), %dx"),
	};

	run_rows(rows, ARRAY_SIZE(rows));
}

/* AND, OR, XOR and TEST leave AF undefined. */
#define LOGIC RFLAGS_AF
#define ALU(op, undefined)                                                                                            \
	L("r1+100 w1+100", undefined, op " %al, (%rdi)"), L("r2+100 w2+100", undefined, op " %ax, (%rdi)"),           \
		L("r4+100 w4+100", undefined, op " %edx, (%rdi)"), L("r8+100 w8+100", undefined, op " %rax, (%rdi)"), \
		L("r4+100", undefined, op " (%rdi), %eax"), L("r8+100", undefined, op " (%rdi), %rdx"),               \
		L("r1+100 w1+100", undefined, op "b $0x7f, (%rdi)"),                                                  \
		L("r4+100 w4+100", undefined, op "l $-3, (%rdi)"),                                                    \
		L("r8+100 w8+100", undefined, op "q $0x12345678, (%rdi)"),                                            \
		L("r4+100 w4+100", undefined, "lock " op "l %eax, (%rdi)")

static void arithmetic(void)
{
	const struct row rows[] = {
		ALU("add", 0),
		ALU("or", LOGIC),
		ALU("adc", 0),
		ALU("sbb", 0),
		ALU("and", LOGIC),
		ALU("sub", 0),
		ALU("xor", LOGIC),
		L("r1+100", 0, "cmp %al, (%rdi)"),
		L("r4+100", 0, "cmp %edx, (%rdi)"),
		L("r8+100", 0, "cmp (%rdi), %rax"),
		L("r1+100", 0, "cmpb $0x81, (%rdi)"),
		L("r4+100", 0, "cmpl $-3, (%rdi)"),
		L("r1+100", LOGIC, "test %al, (%rdi)"),
		L("r8+100", LOGIC, "test %rdx, (%rdi)"),
		L("r1+100", LOGIC, "testb $0x80, (%rdi)"),
		L("r4+100", LOGIC, "testl $0x40000, (%rdi)"),
		L("r1+100 w1+100", 0, "incb (%rdi)"),
		L("r4+100 w4+100", 0, "incl (%rdi)"),
		L("r8+100 w8+100", 0, "decq (%rdi)"),
		L("r2+100 w2+100", 0, "lock decw (%rdi)"),
		L("r4+100 w4+100", 0, "negl (%rdi)"),
		L("r1+100 w1+100", 0, "notb (%rdi)"),
		L("r8+100 w8+100", 0, "lock notq (%rdi)"),
		P("r4+100 w4+100", 0, "add %eax, (%edi)"),
		P("r1+100 w1+100", LOGIC, "xorb $1, (%edi)"),
		A("r4+100 w4+100", LOGIC, "orl $0x80, (%edi)"),
		R("r2+100 w2+100", 0, "sub %ax, %es:(%di)"),
		R("r4+100 w4+100", LOGIC, "andl $0xff00ff, %es:(%di)"),
	};

	run_rows(rows, ARRAY_SIZE(rows));
}

/* Shifts and rotates by one define OF, by more they do not; shifts leave AF undefined. */
#define ONE RFLAGS_AF
#define MORE (RFLAGS_AF | RFLAGS_OF)
#define BITS (RFLAGS_OF | RFLAGS_SF | RFLAGS_AF | RFLAGS_PF)

static void bits(void)
{
	const struct row rows[] = {
		L("r4+100 w4+100", ONE, "shll $1, (%rdi)"),
		L("r1+100 w1+100", ONE, "shrb $1, (%rdi)"),
		L("r8+100 w8+100", ONE, "sarq $1, (%rdi)"),
		L("r4+100 w4+100", MORE, "shll $5, (%rdi)"),
		L("r2+100 w2+100", MORE, "sarw %cl, (%rdi)"),
		L("r4+100 w4+100", 0, "roll $1, (%rdi)"),
		L("r4+100 w4+100", RFLAGS_OF, "rorl $7, (%rdi)"),
		L("r1+100 w1+100", 0, "rclb $1, (%rdi)"),
		L("r4+100 w4+100", RFLAGS_OF, "rcrl %cl, (%rdi)"),
		L("r4+100", BITS, "btl $3, (%rdi)"),
		L("r4+100 w4+100", BITS, "btsl $3, (%rdi)"),
		L("r4+100 w4+100", BITS, "btrl $0, (%rdi)"),
		L("r8+100 w8+100", BITS, "btcq $63, (%rdi)"),
		L("r4+100 w4+100", BITS, "lock btsl $31, (%rdi)"),
		L("r4+110", BITS, "mov $130, %eax; bt %eax, (%rdi)"),
		L("r4+fc w4+fc", BITS, "mov $-1, %eax; bts %eax, (%rdi)"),
		L("r8+e8 w8+e8", BITS, "mov $-130, %rax; btr %rax, (%rdi)"),
		L("r2+104 w2+104", BITS, "mov $33, %ax; btc %ax, (%rdi)"),
	};

	run_rows(rows, ARRAY_SIZE(rows));
}

static void exchanges(void)
{
	const struct row rows[] = {
		L("r1+100 w1+100", 0, "xchg %al, (%rdi)"),
		L("r4+100 w4+100", 0, "xchg %eax, (%rdi)"),
		L("r8+100 w8+100", 0, "xchg %rdx, (%rdi)"),
		L("r4+100 w4+100", 0, "xadd %eax, (%rdi)"),
		L("r8+100 w8+100", 0, "lock xadd %rdx, (%rdi)"),
		L("r4+100 w4+100", 0, "cmpxchg %edx, (%rdi)"),
		L("r4+100 w4+100", 0, "lock cmpxchg %edx, (%rdi)"),
		L("r4+100 r4+100 w4+100", 0, "mov (%rdi), %eax; cmpxchg %edx, (%rdi)"),
		L("r1+100 r1+100 w1+100", 0, "mov (%rdi), %al; lock cmpxchg %dl, (%rdi)"),
		L("r8+100 r8+100 w8+100", 0, "mov (%rdi), %rax; lock cmpxchg %rdx, (%rdi)"),
		L("r8+100 w8+100", 0, "cmpxchg8b (%rdi)"),
		L("r4+100 r4+104 r8+100 w8+100", 0, "mov (%rdi), %eax; mov 4(%rdi), %edx; lock cmpxchg8b (%rdi)"),
		R("r2+100 w2+100", 0, "xchg %ax, %es:(%di)"),
	};

	run_rows(rows, ARRAY_SIZE(rows));
}

static void strings(void)
{
	const struct row rows[] = {
		L("w1+100", 0, "stosb"),
		L("w2+100", 0, "stosw"),
		L("w4+100", 0, "stosl"),
		L("w8+100", 0, "stosq"),
		L("w4+100", 0, "std; stosl; cld"),
		L("w4+100 w4+104 w4+108", 0, "rep stosl"),
		L("w1+100 w1+ff w1+fe", 0, "std; rep stosb; cld"),
		L("", 0, "xor %ecx, %ecx; rep stosl"),
		L("r1+100", 0, "mov %rdi, %rsi; lodsb"),
		L("r4+100", 0, "mov %rdi, %rsi; lodsl"),
		L("r8+100 r8+108 r8+110", 0, "mov %rdi, %rsi; rep lodsq"),
		L("w4+100", 0, "movsl"),
		L("w8+100 w8+108 w8+110", 0, "rep movsq"),
		L("r4+100", 0, "xchg %rsi, %rdi; movsl"),
		L("r1+100 r1+101 r1+102", 0, "xchg %rsi, %rdi; rep movsb"),
		L("r4+100 w4+180 r4+104 w4+184 r4+108 w4+188", 0,
		  "lea 0x80(%rdi), %rdi; lea -0x80(%rdi), %rsi; rep movsl"),
		L("r1+100", 0, "scasb"),
		L("r4+100 r4+104 r4+108", 0, "repne scasl"),
		L("r4+100", 0, "cmpsl"),
		L("r1+100 r1+101 r1+102", 0, "repe cmpsb"),
		L("w2+100 w2+102 w2+104", 0, "addr32 rep stosw"),
		P("w4+100 w4+104 w4+108", 0, "rep stosl"),
		P("r1+100 r1+101 r1+102", 0, "xchg %esi, %edi; rep movsb"),
		R("w2+100 w2+102 w2+104", 0, "rep stosw"),
		R("w4+100 w4+104 w4+108", 0, "rep movsl"),
		R("r1+100", 0, "mov %di, %si; lodsb %es:(%si)"),
	};

	run_rows(rows, ARRAY_SIZE(rows));
}

static void stacks(void)
{
	const struct row rows[] = {
		L("r8+100", 0, "pushq (%rdi)"),
		L("w8+100", 0, "push %rax; popq (%rdi)"),
		L("r2+100", 0, "pushw (%rdi)"),
		L("w8+f8", 0, "mov %rdi, %rsp; push %rax"),
		L("w8+f8", 0, "mov %rdi, %rsp; push $-5"),
		L("r8+100", 0, "mov %rdi, %rsp; pop %rax"),
		L("r2+100", 0, "mov %rdi, %rsp; popw %ax"),
		L("w8+108", 0, "lea -8(%rsi), %rsp; push %rbx; popq 8(%rdi)"),
		P("r4+100", 0, "pushl (%edi)"),
		P("w4+100", 0, "push %eax; popl (%edi)"),
		R("r2+100", 0, "pushw %es:(%di)"),
	};

	run_rows(rows, ARRAY_SIZE(rows));
}

/* XMM registers come from and go to the page that is RAM in both runs. */
static void sse(void)
{
	const struct row rows[] = {
		L("w8+100 w8+108", 0, "movups (%rsi), %xmm3; movups %xmm3, (%rdi)"),
		L("w8+100 w8+108", 0, "movups (%rsi), %xmm9; movaps %xmm9, (%rdi)"),
		L("w8+100 w8+108", 0, "movups (%rsi), %xmm3; movdqa %xmm3, (%rdi)"),
		L("w8+103 w8+10b", 0, "movups (%rsi), %xmm3; movdqu %xmm3, 3(%rdi)"),
		L("w8+100 w8+108", 0, "movups (%rsi), %xmm3; movntdq %xmm3, (%rdi)"),
		L("r8+100 r8+108", 0, "movups (%rdi), %xmm3; movups %xmm3, 0x40(%rsi)"),
		L("r8+100 r8+108", 0, "movaps (%rdi), %xmm15; movups %xmm15, 0x40(%rsi)"),
		L("r8+105 r8+10d", 0, "movdqu 5(%rdi), %xmm3; movups %xmm3, 0x40(%rsi)"),
	};

	run_rows(rows, ARRAY_SIZE(rows));
}

/* An access over a page border is two, each with its own bytes. */
static void page_crossing(void)
{
	const struct row rows[] = {
		L("w2+ffe w2+1000", 0, "mov %eax, 0xffe(%r8)"),
		L("w1+fff w7+1000", 0, "mov %rax, 0xfff(%r8)"),
		L("r3+ffd r1+1000", 0, "mov 0xffd(%r8), %eax"),
		L("r1+fff r1+1000", 0, "movzwl 0xfff(%r8), %eax"),
		L("r2+ffe r2+1000 w2+ffe w2+1000", 0, "addl %eax, 0xffe(%r8)"),
		L("w4+ffc w4+1000", 0, "lea 0xffc(%r8), %rdi; mov $2, %ecx; rep stosl"),
		P("w2+ffe w2+1000", 0, "mov %fs, %ax; mov %edx, %fs:0xffe"),
	};

	run_rows(rows, ARRAY_SIZE(rows));
}

/* -- where memory ends ------------------------------------------------------------------------------------------- */

static void border(void)
{
	struct guest *g = guest_create(MODE_LONG);
	struct device d = { .base = GUEST_HOLE, .memory = { 0x33, 0x44 } };

	context("store");
	guest_load(g, CODE64("mov %eax, (%rdi)"));
	g->regs.rax = 0xddccbbaa;
	g->regs.rdi = GUEST_HOLE - 2;
	run_with_device(g, &d);
	expect_end(g);
	expect_trace(&d, "w2+0");
	expect_eq(*(u16 *)(g->memory + GUEST_HOLE - 2), 0xbbaa);
	expect_eq(*(u16 *)d.memory, 0xddcc);

	context("load");
	guest_load(g, CODE64("mov (%rdi), %eax"));
	g->regs.rdi = GUEST_HOLE - 2;
	run_with_device(g, &d);
	expect_end(g);
	expect_trace(&d, "r2+0");
	expect_eq(g->regs.rax, 0xddccbbaa);
}

/* Linear addresses are translated; ring 3 may do it where its page tables allow. */
static void translated(void)
{
	static const enum guest_mode paged[] = { MODE_PAGED32, MODE_PAE, MODE_COMPAT, MODE_LONG };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(paged); i++) {
		struct guest *g = guest_create(paged[i]);
		struct device d = { .base = GUEST_HOLE };
		const struct code code = CODE64("mov %eax, (%rdi)");

		context("%s", guest_mode_name[g->mode]);
		guest_set_mode(g, g->mode, true);
		guest_map(g, 0x400000, GUEST_HOLE + PAGE, PTE_P | PTE_W | PTE_U);
		guest_map(g, 0x401000, GUEST_HOLE, PTE_P | PTE_W | PTE_U);
		guest_load(g, code);
		g->regs.rax = 0x44332211;
		g->regs.rdi = 0x400fff;
		run_with_device(g, &d);
		expect_trap(g, VECTOR_GP, 0, code.end - code.start); /* HLT */
		expect_trace(&d, "w1+1fff w3+0");
		expect_eq(d.memory[0x1fff], 0x11);
		guest_destroy(g);
	}
}

/* A fault anywhere in an access leaves no trace of it at the device. */
static void faults(void)
{
	const struct {
		const char *name;
		struct code code;
		u64 rdi, flags;
		u8 vector;
		u32 error;
		bool user;
	} rows[] = {
		{ "store over a border, next page not present", CODE64("mov %eax, (%rdi)"), 0x400ffe, 0, VECTOR_PF, 2,
		  false },
		{ "load over a border, next page not present", CODE64("mov (%rdi), %eax"), 0x400ffe, 0, VECTOR_PF, 0,
		  false },
		{ "store to a read-only page", CODE64("mov %eax, (%rdi)"), 0x401000, PTE_P, VECTOR_PF, 3, false },
		{ "store by ring 3 to a page of ring 0", CODE64("mov %eax, (%rdi)"), 0x401000, PTE_P | PTE_W, VECTOR_PF,
		  7, true },
		{ "misaligned MOVAPS", CODE64("movaps %xmm0, (%rdi)"), 0x400008, PTE_P, VECTOR_GP, 0, false },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct guest *g = guest_create(MODE_LONG);
		struct device d = { .base = GUEST_HOLE };
		struct kvm_sregs s;

		context("%s", rows[i].name);
		guest_set_mode(g, MODE_LONG, rows[i].user);
		s = guest_sregs(g);
		s.cr0 |= CR0_WP;
		guest_set_sregs(g, &s);
		guest_map(g, 0x400000, GUEST_HOLE, PTE_P | PTE_W | PTE_U);
		guest_map(g, 0x401000, GUEST_HOLE + PAGE, rows[i].flags);
		guest_load(g, rows[i].code);
		g->regs.rdi = rows[i].rdi;
		run_with_device(g, &d);
		expect_trap(g, rows[i].vector, rows[i].error, 0);
		if (rows[i].vector == VECTOR_PF)
			expect_eq(guest_sregs(g).cr2, 0x401000);
		guest_destroy(g);
	}
}

/* KVM_MEM_READONLY: reads and fetches go to memory, writes to the client. */
static void read_only_slot(void)
{
	static const u64 rom_gpa = 0x8000000;
	struct guest *g = guest_create(MODE_LONG);
	struct device d = { .base = rom_gpa };
	u8 *rom = pages(AREA_SIZE);

	memcpy(rom, "\x11\x22\x33\x44\x55\x66\x77\x88", 8);
	rom[0x800] = 0xc3; /* RET */
	guest_add_memory(g, 2, rom_gpa, rom, AREA_SIZE, KVM_MEM_READONLY);

	context("load, store, load");
	guest_load(g, CODE64("mov (%rdi), %rax; mov %ebx, (%rdi); mov (%rdi), %rcx"));
	g->regs.rdi = rom_gpa;
	g->regs.rbx = 0x99887766;
	run_with_device(g, &d);
	expect_end(g);
	expect_trace(&d, "w4+0");
	expect_eq(*(u32 *)d.memory, 0x99887766);
	expect_eq(g->regs.rax, 0x8877665544332211);
	expect_eq(g->regs.rcx, 0x8877665544332211);

	context("read-modify-write");
	guest_load(g, CODE64("addl $1, 4(%rdi); lock incl (%rdi)"));
	g->regs.rdi = rom_gpa;
	run_with_device(g, &d);
	expect_end(g);
	expect_trace(&d, "w4+4 w4+0");
	expect_eq(*(u32 *)d.memory, 0x44332212);
	expect_eq(*(u32 *)(d.memory + 4), 0x88776656);

	context("call");
	guest_load(g, CODE64("call *%rdi; mov $7, %ebx"));
	g->regs.rdi = rom_gpa + 0x800;
	run_with_device(g, &d);
	expect_end(g);
	expect_trace(&d, "");
	expect_eq(g->regs.rbx, 7);
	expect_bytes(rom, "\x11\x22\x33\x44\x55\x66\x77\x88", 8);
}

/* What no emulation knows ends in an internal error that names the instruction; nothing has happened then. */
static void unsupported(void)
{
	const struct code code = CODE64("fldl (%rdi)");
	struct guest *g = guest_create(MODE_LONG);
	const struct kvm_run *run = g->run;

	guest_load(g, code);
	g->regs.rdi = GUEST_HOLE;
	g->regs.rax = 0x1234;
	guest_start(g);
	if (!expect_exit(g, KVM_EXIT_INTERNAL_ERROR))
		return;
	expect_eq(run->internal.suberror, KVM_INTERNAL_ERROR_EMULATION);
	expect_eq(g->regs.rip, GUEST_CODE);
	expect_eq(g->regs.rax, 0x1234);
	expect(run->emulation_failure.ndata >= 3);
	expect_eq(run->emulation_failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES,
		  KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES);
	expect(run->emulation_failure.insn_size >= code.end - code.start);
	expect_bytes(run->emulation_failure.insn_bytes, code.start, code.end - code.start);
}

/* Each KVM_RUN takes the instruction one access further, even if it comes back at once. api.rst, "immediate_exit". */
static void completion(void)
{
	const struct code code = CODE64("incl (%rdi)");
	struct guest *g = guest_create(MODE_LONG);

	guest_load(g, code);
	g->regs.rdi = GUEST_HOLE;
	guest_start(g);
	expect_exit(g, KVM_EXIT_MMIO);
	expect_eq(g->run->mmio.is_write, 0);
	expect_eq(g->run->mmio.phys_addr, GUEST_HOLE);
	expect_eq(g->run->mmio.len, 4);
	*(u32 *)g->run->mmio.data = 0x1ff;
	g->run->immediate_exit = 1;
	guest_run(g);
	expect_exit(g, KVM_EXIT_MMIO);
	expect_eq(g->run->mmio.is_write, 1);
	expect_eq(*(u32 *)g->run->mmio.data, 0x200);
	expect_errno(ioctl(g->vcpu, KVM_RUN, 0), EINTR);
	expect_errno(ioctl(g->vcpu, KVM_GET_REGS, &g->regs), 0);
	expect_eq(g->regs.rip, GUEST_CODE + (code.end - code.start));
	g->run->immediate_exit = 0;
	guest_run(g);
	expect_end(g);
}

/* The guest is at a store of this; lets it go on. */
static void expect_store(struct guest *g, u32 len, u32 value)
{
	u32 data = 0;

	if (expect_exit(g, KVM_EXIT_MMIO)) {
		memcpy(&data, g->run->mmio.data, len);
		expect_eq(g->run->mmio.len, len);
		expect_eq(data, value);
	}
	guest_run(g);
}

static void put_code(u8 *at, struct code code)
{
	memcpy(at, code.start, code.end - code.start);
}

/* One address, at which each time another instruction of the same length stands: each is to be executed as it is. */
static void changing_code(void)
{
	const struct code calls = CODE64("call *%rdx; call *%rdx; call *%rdx; invlpg (%rdx); call *%rdx; call *%rdx");
	const u64 gpa = 64 * MiB, linear = 6 * MiB;
	struct guest *g = guest_create(MODE_LONG);
	u8 *first = pages(PAGE), *second = pages(PAGE);

	guest_map(g, linear, GUEST_FREE, PTE_P | PTE_W);
	put_code(g->memory + GUEST_FREE, CODE64("mov %eax, (%rdi); ret"));
	put_code(first, CODE64("mov %ebx, (%rdi); ret"));
	put_code(second, CODE64("mov %bl, (%rdi); ret"));
	guest_add_memory(g, 7, gpa, first, PAGE, 0);
	guest_load(g, calls);
	g->regs.rsp = GUEST_DATA_END;
	g->regs.rax = 0x11223344;
	g->regs.rbx = 0x55667788;
	g->regs.rdi = GUEST_HOLE;
	g->regs.rdx = linear;

	guest_start(g);
	expect_store(g, 4, 0x11223344);
	put_code(g->memory + GUEST_FREE, CODE64("mov %al, (%rdi); ret"));
	context("the same again");
	expect_store(g, 4, 0x11223344);
	context("written over");
	guest_map(g, linear, gpa, PTE_P | PTE_W);
	expect_store(g, 1, 0x44);
	context("mapped to another page");
	guest_add_memory(g, 7, gpa, first, 0, 0);
	guest_add_memory(g, 7, gpa, second, PAGE, 0);
	expect_store(g, 4, 0x55667788);
	context("another slot's page");
	expect_store(g, 1, 0x88);
	expect_end(g);
}

static const struct test tests[] = {
	{ "moves", moves },
	{ "arithmetic", arithmetic },
	{ "shifts, rotates and bits", bits },
	{ "exchanges", exchanges },
	{ "strings", strings },
	{ "stacks", stacks },
	{ "SSE moves", sse },
	{ "over a page border", page_crossing },
	{ "over the end of memory", border },
	{ "translated, from ring 3", translated },
	{ "faults", faults },
	{ "read-only memory", read_only_slot },
	{ "an instruction that is not emulated", unsupported },
	{ "completion by an immediate exit", completion },
	{ "code that changes", changing_code },
};

KTAP_MAIN(tests)
