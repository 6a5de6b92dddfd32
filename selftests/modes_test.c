// SPDX-License-Identifier: GPL-2.0
/*
 * modes_test - the CPU's modes: the state after RESET and INIT, code in each mode, a guest that goes from the reset
 * vector to 64-bit mode and back by itself, and what control registers refuse.
 */
#include <string.h>

#include "guest.h"

#define STAGE_PORT 0x80
#define RESET_VECTOR 0xfffffff0ul
#define ROM_SIZE 0x10000u
/* Where XSAVE's legacy region has them, in words. */
#define XSAVE_MXCSR (24 / 4)
#define XSAVE_XMM5 (240 / 4)

/* -- RESET and INIT ---------------------------------------------------------------------------------------------- */

/* SDM volume 3, table "IA-32 and Intel 64 Processor States Following Power-up, Reset, or INIT". */
static void expect_reset_segments(const struct kvm_sregs *s)
{
	const struct kvm_segment *data[] = { &s->ds, &s->es, &s->fs, &s->gs, &s->ss };
	unsigned int i;

	expect_eq(s->cs.selector, 0xf000);
	expect_eq(s->cs.base, 0xffff0000);
	expect_eq(s->cs.limit, 0xffff);
	expect_eq(s->cs.present, 1);
	for (i = 0; i < ARRAY_SIZE(data); i++) {
		context("data segment %u", i);
		expect_eq(data[i]->selector, 0);
		expect_eq(data[i]->base, 0);
		expect_eq(data[i]->limit, 0xffff);
		expect_eq(data[i]->present, 1);
		expect_eq(data[i]->type & ~1, 2); /* read/write; AMD does not keep the accessed bit */
	}
	context("%s", "");
	expect_eq(s->gdt.base, 0);
	expect_eq(s->gdt.limit, 0xffff);
	expect_eq(s->idt.base, 0);
	expect_eq(s->idt.limit, 0xffff);
	expect_eq(s->ldt.selector, 0);
	expect_eq(s->ldt.base, 0);
	expect_eq(s->ldt.limit, 0xffff);
	expect_eq(s->tr.selector, 0);
	expect_eq(s->tr.base, 0);
	expect_eq(s->tr.limit, 0xffff);
}

static void expect_reset_regs(const struct kvm_regs *r)
{
	expect_eq(r->rip, 0xfff0);
	expect_eq(r->rflags, RFLAGS_FIXED);
	expect_eq(r->rax | r->rbx | r->rcx | r->rsi | r->rdi | r->rbp | r->rsp, 0);
	expect_eq(r->r8 | r->r9 | r->r10 | r->r11 | r->r12 | r->r13 | r->r14 | r->r15, 0);
}

static void expect_reset_debugregs(struct guest *g)
{
	struct kvm_debugregs d;

	expect_errno(ioctl(g->vcpu, KVM_GET_DEBUGREGS, &d), 0);
	expect_eq(d.db[0] | d.db[1] | d.db[2] | d.db[3], 0);
	expect_eq(d.dr6, 0xffff0ff0);
	expect_eq(d.dr7, 0x400);
}

static void reset_state(void)
{
	struct guest *g = guest_create_vm();
	struct kvm_sregs s;
	struct kvm_regs r;
	struct kvm_xsave xsave;
	struct kvm_xcrs xcrs;

	guest_create_vcpu(g);
	s = guest_sregs(g);
	expect_errno(ioctl(g->vcpu, KVM_GET_REGS, &r), 0);
	expect_reset_regs(&r);
	expect_reset_segments(&s);
	expect_eq(s.cr0, 0x60000010);
	expect_eq(s.cr2 | s.cr3 | s.cr4 | s.cr8, 0);
	expect_eq(s.efer, 0);
	expect_reset_debugregs(g);
	expect_errno(ioctl(g->vcpu, KVM_GET_XCRS, &xcrs), 0);
	expect_eq(xcrs.nr_xcrs, 1);
	expect_eq(xcrs.xcrs[0].value, 1);
	expect_errno(ioctl(g->vcpu, KVM_GET_XSAVE, &xsave), 0);
	expect_eq(xsave.region[XSAVE_MXCSR], 0x1f80);
}

/* A ROM that ends at 4 GiB, with @code at the reset vector. */
static u8 *add_rom(struct guest *g, struct code code)
{
	u8 *rom = pages(ROM_SIZE);

	memcpy(rom + ROM_SIZE - 16, code.start, code.end - code.start);
	guest_add_memory(g, 2, 0x100000000 - ROM_SIZE, rom, ROM_SIZE, KVM_MEM_READONLY);
	return rom;
}

static void first_instruction(void)
{
	const struct code code = CODE16("mov $0x55, %al; out %al, $0x80; hlt");
	struct guest *g = guest_create_vm();

	guest_create_vcpu(g);
	add_rom(g, code);
	guest_run(g);
	expect_exit(g, KVM_EXIT_IO);
	expect_eq(g->run->io.port, STAGE_PORT);
	expect_eq(*(u8 *)guest_io_data(g), 0x55);
	guest_run(g);
	expect_end(g);
	expect_eq(g->regs.rip, 0xfff0 + code.end - code.start);
}

/* A guest in 64-bit mode gets an INIT, and goes on at the reset vector; some state stays. */
static void init_state(void)
{
	const struct code code =
		CODE64("mov $0x400, %eax; mov %rax, %dr0; mov %rax, %cr2\n"
		       "fldcw 0xa000; ldmxcsr 0xa004; movups 0xa010, %xmm5\n"
		       "mov $0xc0000081, %ecx; mov $0x12345678, %edx; wrmsr\n"
		       "out %al, $0x81; 1: jmp 1b");
	static const u32 fpu[] = { 0x27f, 0x1fa0, 0, 0, 0x11111111, 0x22222222, 0x33333333, 0x44444444 };
	struct kvm_msi init = { .address_lo = 0xfee00000, .data = 5 << 8 /* delivery mode INIT */ };
	struct guest *g = guest_create_vm();
	struct kvm_lapic_state lapic;
	struct kvm_xsave xsave;
	struct kvm_sregs s;
	u64 star;

	expect_errno(ioctl(g->vm, KVM_CREATE_IRQCHIP, 0), 0);
	guest_create_vcpu(g);
	/* Stock KVM does not find a local APIC before somebody has touched it. */
	expect_errno(ioctl(g->vcpu, KVM_GET_LAPIC, &lapic), 0);
	expect_errno(ioctl(g->vcpu, KVM_SET_LAPIC, &lapic), 0);
	add_rom(g, CODE16("out %al, $0x80; hlt"));
	guest_set_mode(g, MODE_LONG, false);
	memcpy(g->memory + GUEST_DATA, fpu, sizeof(fpu));
	guest_load(g, code);
	guest_start(g);
	expect_exit(g, KVM_EXIT_IO);
	expect_eq(ioctl(g->vm, KVM_SIGNAL_MSI, &init), 1);
	guest_run(g);
	expect_exit(g, KVM_EXIT_IO);
	expect_eq(g->run->io.port, STAGE_PORT);
	expect_eq(g->regs.rip & ~2, 0xfff0);
	s = guest_sregs(g);
	expect_reset_segments(&s);
	expect_eq(s.cr0, CR0_ET); /* CD and NW as they were */
	expect_eq(s.cr2 | s.cr3 | s.cr4, 0);
	expect_eq(s.efer, 0);
	expect_reset_debugregs(g);
	expect_errno(ioctl(g->vcpu, KVM_GET_XSAVE, &xsave), 0);
	expect_eq((u16)xsave.region[0], 0x27f);
	expect_eq(xsave.region[XSAVE_MXCSR], 0x1fa0);
	expect_bytes(&xsave.region[XSAVE_XMM5], &fpu[4], 16);
	expect(guest_get_msr(g, 0xc0000081, &star));
	expect_eq(star, 0x1234567800000400);
}

/* -- code in each mode ------------------------------------------------------------------------------------------- */

/*
 * The same bytes in every mode. 16-bit code: MOV AX; XOR AL, 12h; DEC AX; DEC BX. 32-bit: MOV EAX; DEC EAX; DEC EBX.
 * 64-bit: MOV EAX; DEC RBX. Then PUSH AX, EAX or RAX, and OUT.
 */
static void operand_sizes(void)
{
	static const u8 bytes[] = { 0xb8, 0x78, 0x56, 0x34, 0x12, 0x48, 0xff, 0xcb, 0x50, 0xe6, STAGE_PORT };
	static const struct {
		u64 rax, rbx;
		u8 pushed;
	} rows[] = { { 0x5669, 0xffff, 2 }, { 0x12345677, 0xffffffff, 4 }, { 0x12345678, ~0ull, 8 } };
	static const u8 row_of[NR_MODES] = {
		[MODE_PROT32] = 1, [MODE_PAGED32] = 1, [MODE_PAE] = 1, [MODE_COMPAT] = 1, [MODE_LONG] = 2
	};
	enum guest_mode mode;

	for (mode = 0; mode < NR_MODES; mode++) {
		struct guest *g = guest_create(mode);

		context("%s", guest_mode_name[mode]);
		guest_load(g, (struct code){ bytes, bytes + sizeof(bytes) });
		guest_start(g);
		if (mode == MODE_V8086) {
			/* Ports are guarded by the I/O map there, which ends before it begins. */
			expect_trap(g, VECTOR_GP, 0, sizeof(bytes) - 2);
			expect_eq(g->trap.sp, GUEST_STACK - 2);
		} else {
			expect_exit(g, KVM_EXIT_IO);
			expect_eq(GUEST_STACK - g->regs.rsp, rows[row_of[mode]].pushed);
			guest_run(g);
			expect_end(g);
		}
		expect_eq(g->regs.rax, rows[row_of[mode]].rax);
		expect_eq(g->regs.rbx, rows[row_of[mode]].rbx);
		guest_destroy(g);
	}
}

/* Ring 3 gets #GP at HLT; the trap shows selectors, stack and the ring. */
static void ring3(void)
{
	static const enum guest_mode with_rings[] = { MODE_PROT32, MODE_PAGED32, MODE_PAE, MODE_COMPAT, MODE_LONG };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(with_rings); i++) {
		struct guest *g = guest_create(with_rings[i]);
		struct kvm_sregs s;

		context("%s", guest_mode_name[g->mode]);
		guest_set_mode(g, g->mode, true);
		guest_load(g, CODE64("nop"));
		guest_start(g);
		expect_trap(g, VECTOR_GP, 0, 1);
		expect_eq(g->trap.cs, g->mode == MODE_LONG ? SEL_USER_CS64 : SEL_USER_CS32);
		expect_eq(g->trap.ss, SEL_USER_DS32);
		expect_eq(g->trap.sp, GUEST_STACK);
		s = guest_sregs(g);
		expect_eq(s.cs.selector & 3, 0);
		expect_eq(s.ss.dpl, 0);
		expect_eq(s.ss.selector, g->mode == MODE_LONG || g->mode == MODE_COMPAT ? 0 : SEL_DS32);
	}
}

/* IRET to virtual-8086 mode and out again by an exception. SDM volume 3, "Entering Virtual-8086 Mode". */
static void v8086_entry(void)
{
	const struct code code = CODE32(
		"mov $0x48, %eax; ltr %ax; push $0x4444; push $0x3333; push $0x2222; push $0x1111; push $0; push $0x7000;"
		"push $0x20002; push $0x800; push $0x100; iret");
	const struct code v8086 = CODE16("mov %cs, %ax; mov %es, %bx; mov %gs, %cx; cli");
	struct guest *g = guest_create(MODE_PROT32);
	u32 *frame;

	guest_load(g, code);
	memcpy(g->memory + 0x8100, v8086.start, v8086.end - v8086.start);
	guest_start(g);
	if (!expect_exit(g, GUEST_TRAP))
		return;
	expect_eq(g->trap.vector, VECTOR_GP);
	expect_eq(g->trap.error, 0);
	expect_eq(g->trap.ip, 0x100 + v8086.end - v8086.start - 1);
	expect_eq(g->trap.cs, 0x800);
	expect_eq(g->trap.flags & RFLAGS_VM, RFLAGS_VM);
	expect_eq((u16)g->regs.rax, 0x800);
	expect_eq((u16)g->regs.rbx, 0x1111);
	expect_eq((u16)g->regs.rcx, 0x4444);
	frame = (u32 *)(g->memory + g->trap.frame);
	expect_eq(g->trap.frame, GUEST_TRAP_STACK - 36);
	expect_eq(frame[3], 0x7000);
	expect_eq(frame[5], 0x1111);
	expect_eq(frame[6], 0x2222);
	expect_eq(frame[7], 0x3333);
	expect_eq(frame[8], 0x4444);
	expect_eq(guest_sregs(g).ds.selector, 0);
	expect_eq(guest_sregs(g).gs.selector, 0);
}

/* -- paging ------------------------------------------------------------------------------------------------------ */

static const enum guest_mode paged[] = { MODE_PAGED32, MODE_PAE, MODE_COMPAT, MODE_LONG };

#define LINEAR 0x400000u /* mapped to GUEST_FREE */

static void small_pages(void)
{
	const struct code code = CODE64("mov (%rdi), %eax; movl $0x11223344, 4096(%rdi)");
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(paged); i++) {
		struct guest *g = guest_create(paged[i]);

		context("%s", guest_mode_name[g->mode]);
		guest_map(g, LINEAR, GUEST_FREE + PAGE, PTE_P | PTE_W);
		guest_map(g, LINEAR + PAGE, GUEST_FREE, PTE_P | PTE_W);
		*(u32 *)(g->memory + GUEST_FREE + PAGE) = 0xcafef00d;
		guest_load(g, code);
		g->regs.rdi = LINEAR;
		guest_start(g);
		expect_end(g);
		expect_eq((u32)g->regs.rax, 0xcafef00d);
		expect_eq(*(u32 *)(g->memory + GUEST_FREE), 0x11223344);
		expect_eq(guest_pte(g, LINEAR) & (PTE_A | PTE_D), PTE_A);
		expect_eq(guest_pte(g, LINEAR + PAGE) & (PTE_A | PTE_D), PTE_A | PTE_D);
		expect_eq(guest_pte(g, LINEAR + 2 * PAGE) & (PTE_A | PTE_D), 0);
		/* The large page under the stack and the code. */
		expect_eq(guest_pte(g, GUEST_CODE) & PTE_A, PTE_A);
	}
}

static void large_pages(void)
{
	const struct code code = CODE64("movl $0x11223344, (%rdi)");
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(paged); i++) {
		struct guest *g = guest_create(paged[i]);
		u64 large = g->mode == MODE_PAGED32 ? 4 * MiB : 2 * MiB;
		u64 linear = 3 * large;

		context("%s", guest_mode_name[g->mode]);
		/* Entry 3 of the lowest directory maps what is at one large page. */
		if (g->mode == MODE_PAGED32)
			((u32 *)(g->memory + GUEST_TABLES))[3] = large | PTE_P | PTE_W | PTE_PS;
		else
			((u64 *)(g->memory + GUEST_TABLES + 2 * PAGE))[3] = large | PTE_P | PTE_W | PTE_PS;
		guest_load(g, code);
		g->regs.rdi = linear + 0x1234;
		guest_start(g);
		expect_end(g);
		expect_eq(*(u32 *)(g->memory + large + 0x1234), 0x11223344);
		expect_eq(guest_pte(g, linear) & (PTE_A | PTE_D), PTE_A | PTE_D);
	}
}

/* SDM volume 3, "Page-Fault Exceptions": P, W/R, U/S, RSVD, I/D. */
static void page_faults(void)
{
	static const struct {
		const char *name;
		u64 flags, cr0, efer;
		bool user, write, fetch;
		int error; /* -1: no fault */
	} rows[] = {
		{ "read, not present", 0, 0, 0, false, false, false, 0 },
		{ "write, not present", 0, 0, 0, false, true, false, 2 },
		{ "read by ring 3, not present", 0, 0, 0, true, false, false, 4 },
		{ "write by ring 3, not present", 0, 0, 0, true, true, false, 6 },
		{ "read by ring 3 of ring 0's", PTE_P | PTE_W, 0, 0, true, false, false, 5 },
		{ "write by ring 3 of ring 0's", PTE_P | PTE_W, 0, 0, true, true, false, 7 },
		{ "write by ring 3, read-only", PTE_P | PTE_U, 0, 0, true, true, false, 7 },
		{ "write by ring 0, read-only", PTE_P | PTE_U, CR0_WP, 0, false, true, false, 3 },
		{ "write by ring 0, read-only, no WP", PTE_P | PTE_U, 0, 0, false, true, false, -1 },
		{ "fetch, not present", 0, 0, 0, false, false, true, 0 },
		{ "fetch, not present, NX on", 0, 0, EFER_NX, false, false, true, 0x10 },
		{ "fetch, NX", PTE_P | PTE_W | PTE_NX, 0, EFER_NX, false, false, true, 0x11 },
		{ "read, NX", PTE_P | PTE_W | PTE_NX, 0, EFER_NX, false, false, false, -1 },
		{ "fetch by ring 3 of ring 0's", PTE_P, 0, 0, true, false, true, 5 },
	};
	const struct code read = CODE64("mov (%rdi), %eax"), write = CODE64("mov %eax, (%rdi)"),
			  jump = CODE64("jmp *%rdi");
	unsigned int i, k;

	for (i = 0; i < ARRAY_SIZE(rows) * ARRAY_SIZE(paged); i++) {
		k = i % ARRAY_SIZE(rows);
		struct guest *g = guest_create(paged[i / ARRAY_SIZE(rows)]);
		struct kvm_sregs s;

		if (rows[k].efer && g->mode == MODE_PAGED32)
			continue; /* has no bit for it */
		context("%s, %s", guest_mode_name[g->mode], rows[k].name);
		guest_set_mode(g, g->mode, rows[k].user);
		s = guest_sregs(g);
		s.cr0 |= rows[k].cr0;
		s.efer |= rows[k].efer;
		guest_set_sregs(g, &s);
		guest_map(g, LINEAR, GUEST_FREE, rows[k].flags);
		guest_load(g, rows[k].fetch ? jump : rows[k].write ? write : read);
		g->regs.rdi = LINEAR + 8;
		guest_start(g);
		if (rows[k].error < 0) {
			expect_end(g);
		} else {
			expect_trap(g, VECTOR_PF, rows[k].error, rows[k].fetch ? LINEAR + 8 - GUEST_CODE : 0);
			expect_eq(guest_sregs(g).cr2, LINEAR + 8);
		}
		guest_destroy(g);
	}
}

/* A translation that was used is cached; INVLPG, MOV to CR3 and CR4.PGE drop it. */
static void stale_translations(void)
{
	const struct {
		const char *name;
		struct code code;
	} rows[] = {
		{ "INVLPG", CODE64("mov (%rdi), %eax; out %al, $0x80; invlpg (%rdi); mov (%rdi), %eax") },
		{ "MOV to CR3",
		  CODE64("mov (%rdi), %eax; out %al, $0x80; mov %cr3, %rax; mov %rax, %cr3; mov (%rdi), %eax") },
		{ "MOV to CR4 (PGE)", CODE64("mov (%rdi), %eax; out %al, $0x80; mov %cr4, %rax; xor $0x80, %eax;"
					     "mov %rax, %cr4; mov (%rdi), %eax") },
	};
	unsigned int i, k;

	for (i = 0; i < ARRAY_SIZE(paged); i++) {
		for (k = 0; k < ARRAY_SIZE(rows); k++) {
			struct guest *g = guest_create(paged[i]);

			/* The CPU reads PDPTEs again then, and QEMU has set their accessed bit, which is a reserved one. */
			if (g->mode == MODE_PAE && k == 2)
				continue;
			context("%s, %s", guest_mode_name[g->mode], rows[k].name);
			g->memory[GUEST_FREE] = 1;
			g->memory[GUEST_FREE + PAGE] = 2;
			guest_map(g, LINEAR, GUEST_FREE, PTE_P | PTE_W);
			guest_load(g, rows[k].code);
			g->regs.rdi = LINEAR;
			guest_start(g);
			expect_exit(g, KVM_EXIT_IO);
			expect_eq(g->regs.rax, 1);
			guest_map(g, LINEAR, GUEST_FREE + PAGE, PTE_P | PTE_W);
			guest_run(g);
			expect_end(g);
			expect_eq(g->regs.rax, 2);
			guest_destroy(g);
		}
	}
}

/* -- from the reset vector to 64-bit mode and back --------------------------------------------------------------- */

struct stage {
	const char *name;
	u64 cr0, cr4, efer; /* of the bits that matter */
	u8 l, db;
};

#define CR0_MODE (CR0_PE | CR0_PG)

static const struct stage journey[] = {
	{ "real mode", 0, 0, 0, 0, 0 },
	{ "protected mode with real mode's CS", CR0_PE, 0, 0, 0, 0 },
	{ "32-bit protected mode", CR0_PE, 0, 0, 0, 1 },
	{ "32-bit paging", CR0_PE | CR0_PG, CR4_PSE, 0, 0, 1 },
	{ "protected mode again", CR0_PE, CR4_PSE, 0, 0, 1 },
	{ "PAE paging", CR0_PE | CR0_PG, CR4_PAE, 0, 0, 1 },
	{ "compatibility mode", CR0_PE | CR0_PG, CR4_PAE, EFER_LME | EFER_LMA, 0, 1 },
	{ "64-bit mode", CR0_PE | CR0_PG, CR4_PAE, EFER_LME | EFER_LMA, 1, 0 },
	{ "compatibility mode again", CR0_PE | CR0_PG, CR4_PAE, EFER_LME | EFER_LMA, 0, 1 },
	{ "without paging", CR0_PE, CR4_PAE, EFER_LME, 0, 1 },
	{ "without LME", CR0_PE, 0, 0, 0, 1 },
	{ "16-bit protected mode", CR0_PE, 0, 0, 0, 0 },
	{ "protected mode's CS in real mode", 0, 0, 0, 0, 0 },
	{ "real mode at the end", 0, 0, 0, 0, 0 },
};

/* Assembled for 0x8000; the three page-table roots lie at 0x10000, 0x20000 and 0x30000, the GDT's register image at 0xa000. */
static struct code journey_code(void)
{
	return CODE16(
		"0: out %al, $0x80\n"
		"lgdtl 0xa000\n"
		"mov %cr0, %eax; or $1, %al; mov %eax, %cr0\n"
		"out %al, $0x80\n"
		"ljmpl $0x08, $(1f - 0b + 0x8000)\n"
		".code32\n"
		"1: mov $0x10, %eax; mov %eax, %ds; mov %eax, %ss; mov $0x8000, %esp\n"
		"out %al, $0x80\n"
		"mov $0x10000, %eax; mov %eax, %cr3\n"
		"mov $0x10, %eax; mov %eax, %cr4\n"
		"mov %cr0, %eax; or $0x80000000, %eax; mov %eax, %cr0\n"
		"out %al, $0x80\n"
		"mov %cr0, %eax; and $0x7fffffff, %eax; mov %eax, %cr0\n"
		"out %al, $0x80\n"
		"mov $0x20000, %eax; mov %eax, %cr3\n"
		"mov $0x20, %eax; mov %eax, %cr4\n"
		"mov %cr0, %eax; or $0x80000000, %eax; mov %eax, %cr0\n"
		"out %al, $0x80\n"
		"mov %cr0, %eax; and $0x7fffffff, %eax; mov %eax, %cr0\n"
		"mov $0x30000, %eax; mov %eax, %cr3\n"
		"mov $0xc0000080, %ecx; rdmsr; or $0x100, %eax; wrmsr\n"
		"mov %cr0, %eax; or $0x80000000, %eax; mov %eax, %cr0\n"
		"out %al, $0x80\n"
		"ljmp $0x18, $(1f - 0b + 0x8000)\n"
		".code64\n"
		"1: mov $0x123456789abcdef0, %rbx\n"
		"out %al, $0x80\n"
		"push $0x08; push $(1f - 0b + 0x8000); lretq\n"
		".code32\n"
		"1: out %al, $0x80\n"
		"mov %cr0, %eax; and $0x7fffffff, %eax; mov %eax, %cr0\n"
		"out %al, $0x80\n"
		"mov $0xc0000080, %ecx; rdmsr; and $0xfffffeff, %eax; wrmsr\n"
		"xor %eax, %eax; mov %eax, %cr4\n"
		"out %al, $0x80\n"
		"ljmp $0x20, $(1f - 0b + 0x8000)\n"
		".code16\n"
		"1: mov $0x28, %ax; mov %ax, %ds; mov %ax, %ss; mov %ax, %es; mov %ax, %fs; mov %ax, %gs\n"
		"out %al, $0x80\n"
		"mov %cr0, %eax; and $0xfe, %al; mov %eax, %cr0\n"
		"out %al, $0x80\n"
		"ljmp $0x800, $(1f - 0b)\n"
		"1: mov %cs, %ax; out %al, $0x80\n"
		"hlt\n");
}

static void build_journey_tables(struct guest *g)
{
	u32 *pd32 = (u32 *)(g->memory + 0x10000);
	u64 *pae = (u64 *)(g->memory + 0x20000), *pml4 = (u64 *)(g->memory + 0x30000);
	const struct {
		u16 limit;
		u32 base;
	} __attribute__((packed)) gdtr = { GDT_ENTRIES * 8 - 1, GUEST_GDT };

	memset(g->memory + 0x10000, 0, 0x23000);
	pd32[0] = PTE_P | PTE_W | PTE_PS;
	pae[0] = 0x21000 | PTE_P;
	pae[512] = PTE_P | PTE_W | PTE_PS;
	pml4[0] = 0x31000 | PTE_P | PTE_W;
	pml4[512] = 0x32000 | PTE_P | PTE_W;
	pml4[1024] = PTE_P | PTE_W | PTE_PS;
	memcpy(g->memory + GUEST_DATA, &gdtr, sizeof(gdtr));
}

static void expect_stage(struct guest *g, const struct stage *stage)
{
	struct kvm_sregs s = guest_sregs(g);

	expect_eq(s.cr0 & CR0_MODE, stage->cr0);
	expect_eq(s.cr4 & (CR4_PSE | CR4_PAE), stage->cr4);
	expect_eq(s.efer & (EFER_LME | EFER_LMA), stage->efer);
	expect_eq(s.cs.l, stage->l);
	expect_eq(s.cs.db, stage->db);
	expect_eq(s.cs.base, stage == &journey[ARRAY_SIZE(journey) - 1] ? GUEST_CODE : 0);
}

static void reset_to_long_mode_and_back(void)
{
	struct guest *g = guest_create_vm();
	struct code code = journey_code();
	struct kvm_sregs reset;
	unsigned int i;

	guest_create_vcpu(g);
	reset = guest_sregs(g);
	guest_set_mode(g, MODE_PROT32, false);
	guest_set_sregs(g, &reset);
	g->mode = MODE_REAL;
	build_journey_tables(g);
	add_rom(g, CODE16("ljmp $0, $0x8000"));
	guest_load(g, code);
	g->regs.rip = 0xfff0;
	guest_start(g);
	for (i = 0; i < ARRAY_SIZE(journey); i++) {
		context("%s", journey[i].name);
		if (!expect_exit(g, KVM_EXIT_IO))
			return;
		expect_stage(g, &journey[i]);
		guest_run(g);
	}
	context("%s", "");
	expect_end(g);
	expect_eq((u16)g->regs.rax, 0x800);
	expect_eq(g->regs.rbx, 0x123456789abcdef0);
}

/* -- what control registers refuse ------------------------------------------------------------------------------- */

#define EFER 0xc0000080

struct control_row {
	const char *name;
	enum guest_mode mode;
	struct code code;
	u64 rax;
	int vector; /* of the exception at its first instruction, or -1 */
	bool user;
};

static void expect_control_row(struct guest *g, const struct control_row *row)
{
	struct kvm_sregs before, after;

	context("%s", row->name);
	guest_set_mode(g, row->mode, row->user);
	before = guest_sregs(g);
	guest_load(g, row->code);
	g->regs.rax = (u32)row->rax | (g->mode == MODE_LONG ? row->rax & ~0xffffffffull : 0);
	g->regs.rdx = row->rax >> 32;
	g->regs.rcx = EFER;
	guest_start(g);
	if (row->vector < 0) {
		expect_end(g);
		return;
	}
	expect_trap(g, row->vector, row->vector == VECTOR_GP && g->mode != MODE_REAL ? 0 : NO_ERROR, 0);
	after = guest_sregs(g);
	expect_eq(after.cr0, before.cr0);
	expect_eq(after.cr3, before.cr3);
	expect_eq(after.cr4, before.cr4);
	expect_eq(after.cr8, before.cr8);
	expect_eq(after.efer, before.efer);
}

#define CR0_LONG (CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_PG)

static void control_registers(void)
{
	const struct code cr0 = CODE64("mov %rax, %cr0"), cr4 = CODE64("mov %rax, %cr4"),
			  cr8 = CODE64("mov %rax, %cr8"), wrmsr = CODE64("wrmsr");
	const struct control_row rows[] = {
		{ "CR0: PG without PE, in real mode", MODE_REAL, cr0, CR0_PG | CR0_ET, VECTOR_GP, false },
		{ "CR0: PG without PE", MODE_PROT32, cr0, CR0_PG | CR0_ET, VECTOR_GP, false },
		{ "CR0: NW without CD", MODE_LONG, cr0, CR0_LONG | CR0_NW, VECTOR_GP, false },
		{ "CR0: CD and NW", MODE_LONG, cr0, CR0_LONG | CR0_NW | CR0_CD, -1, false },
		{ "CR0: a reserved bit below", MODE_LONG, cr0, CR0_LONG | 1 << 6, -1, false },
		{ "CR0: PG off in 64-bit mode", MODE_LONG, cr0, CR0_LONG & ~CR0_PG, VECTOR_GP, false },
		{ "CR0: PG off in compatibility mode", MODE_COMPAT, cr0, CR0_LONG & ~CR0_PG, -1, false },
		{ "CR0: from ring 3", MODE_LONG, cr0, CR0_LONG, VECTOR_GP, true },
		{ "CR1", MODE_LONG, CODE64(".byte 0x0f, 0x22, 0xc8"), 0, VECTOR_UD, false },
		{ "CR5", MODE_LONG, CODE64(".byte 0x0f, 0x22, 0xe8"), 0, VECTOR_UD, false },
		{ "CR4: bit 31", MODE_LONG, cr4, CR4_PAE | 1ul << 31, VECTOR_GP, false },
		{ "CR4: PAE off in 64-bit mode", MODE_LONG, cr4, CR4_OSFXSR, VECTOR_GP, false },
		{ "CR4: PAE off in compatibility mode", MODE_COMPAT, cr4, CR4_OSFXSR, VECTOR_GP, false },
		{ "CR4: PCIDE outside of long mode", MODE_PAE, cr4, CR4_PAE | CR4_PCIDE, VECTOR_GP, false },
		{ "CR8: 16", MODE_LONG, cr8, 16, VECTOR_GP, false },
		{ "CR8: 15", MODE_LONG, cr8, 15, -1, false },
		{ "EFER: LME off under paging", MODE_LONG, wrmsr, EFER_LMA, VECTOR_GP, false },
		{ "EFER: LME on under paging", MODE_PAE, wrmsr, EFER_LME, VECTOR_GP, false },
		{ "EFER: LME on without PAE", MODE_REAL, wrmsr, EFER_LME, -1, false },
		{ "EFER: bit 9", MODE_LONG, wrmsr, EFER_LME | EFER_LMA | 1 << 9, VECTOR_GP, false },
		{ "EFER: from ring 3", MODE_LONG, wrmsr, EFER_LME | EFER_LMA, VECTOR_GP, true },
		{ "CLTS from ring 3", MODE_LONG, CODE64("clts"), 0, VECTOR_GP, true },
		{ "LMSW from ring 3", MODE_LONG, CODE64("lmsw %ax"), 0, VECTOR_GP, true },
		{ "INVLPG from ring 3", MODE_LONG, CODE64("invlpg (%rax)"), 0, VECTOR_GP, true },
		{ "MOV from DR7 from ring 3", MODE_LONG, CODE64("mov %dr7, %rax"), 0, VECTOR_GP, true },
		{ "HLT from ring 3", MODE_PROT32, CODE64("hlt"), 0, VECTOR_GP, true },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct guest *g = guest_create(rows[i].mode);

		expect_control_row(g, &rows[i]);
		guest_destroy(g);
	}
}

/* Each write, seen by the guest and by the client. */
static void control_values(void)
{
	const struct {
		const char *name;
		struct code code;
		u64 rax, rbx, cr0, cr8;
	} rows[] = {
		{ "CR0", CODE64("mov %rax, %cr0; mov %cr0, %rbx"), CR0_LONG | CR0_WP | CR0_TS,
		  CR0_LONG | CR0_WP | CR0_TS, CR0_LONG | CR0_WP | CR0_TS, 0 },
		{ "CR0, ET is fixed", CODE64("mov %rax, %cr0; mov %cr0, %rbx"), CR0_LONG & ~CR0_ET, CR0_LONG, CR0_LONG,
		  0 },
		{ "CR0, caches off", CODE64("mov %rax, %cr0; mov %cr0, %rbx"), CR0_LONG | CR0_CD, CR0_LONG | CR0_CD,
		  CR0_LONG | CR0_CD, 0 },
		{ "SMSW, caches off", CODE64("mov %rax, %cr0; smsw %rbx"), CR0_LONG | CR0_CD, CR0_LONG | CR0_CD,
		  CR0_LONG | CR0_CD, 0 },
		{ "LMSW", CODE64("lmsw %ax; mov %cr0, %rbx"), 0xf, CR0_LONG | 0xf, CR0_LONG | 0xf, 0 },
		{ "LMSW leaves PE, and the upper bits", CODE64("lmsw %ax; mov %cr0, %rbx"), 0xfff0, CR0_LONG & ~CR0_MP,
		  CR0_LONG & ~CR0_MP, 0 },
		{ "LMSW from memory", CODE64("mov %ax, 0xa000; lmsw 0xa000; smsw %bx"), 0xf, 0x3f, CR0_LONG | 0xf, 0 },
		{ "CLTS", CODE64("mov %rax, %cr0; clts; mov %cr0, %rbx"), CR0_LONG | CR0_TS, CR0_LONG, CR0_LONG, 0 },
		{ "CR8", CODE64("mov %rax, %cr8; mov %cr8, %rbx"), 0xb, 0xb, CR0_LONG, 0xb },
		{ "CR2", CODE64("mov %rax, %cr2; mov %cr2, %rbx"), 0x123456789abcdef, 0x123456789abcdef, CR0_LONG, 0 },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct guest *g = guest_create(MODE_LONG);
		struct kvm_sregs s;

		context("%s", rows[i].name);
		guest_load(g, rows[i].code);
		g->regs.rax = rows[i].rax;
		guest_start(g);
		expect_end(g);
		expect_eq(g->regs.rbx, rows[i].rbx);
		s = guest_sregs(g);
		expect_eq(s.cr0, rows[i].cr0);
		expect_eq(s.cr8, rows[i].cr8);
		expect_eq(g->run->cr8, rows[i].cr8);
		guest_destroy(g);
	}
}

/* PDPTEs with reserved bits: PAE paging does not come on. SDM volume 3, "PDPTE Registers". */
static void bad_pdpte(void)
{
	struct guest *g = guest_create(MODE_PAE);
	struct kvm_sregs s = guest_sregs(g);

	s.cr0 &= ~CR0_PG;
	guest_set_sregs(g, &s);
	*(u64 *)(g->memory + GUEST_TABLES + PAGE + 8) |= PTE_W;
	guest_load(g, CODE32("mov %cr0, %eax; or $0x80000000, %eax; mov %eax, %cr0"));
	guest_start(g);
	expect_trap(g, VECTOR_GP, 0, 8);
	expect_eq(guest_sregs(g).cr0 & CR0_PG, 0);
	*(u64 *)(g->memory + GUEST_TABLES + PAGE + 8) &= ~PTE_W;
	guest_load(g, CODE32("mov %cr0, %eax; or $0x80000000, %eax; mov %eax, %cr0"));
	guest_start(g);
	expect_end(g);
}

static const struct test tests[] = {
	{ "state after RESET", reset_state },
	{ "first instruction at the reset vector", first_instruction },
	{ "state after INIT", init_state },
	{ "operand sizes in each mode", operand_sizes },
	{ "ring 3 and back", ring3 },
	{ "virtual-8086 mode by IRET", v8086_entry },
	{ "4-KByte pages", small_pages },
	{ "large pages", large_pages },
	{ "page faults", page_faults },
	{ "stale translations are dropped", stale_translations },
	{ "reset vector to 64-bit mode and back", reset_to_long_mode_and_back },
	{ "control registers refuse", control_registers },
	{ "control registers keep", control_values },
	{ "PDPTEs with reserved bits", bad_pdpte },
};

KTAP_MAIN(tests)
