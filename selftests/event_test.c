// SPDX-License-Identifier: GPL-2.0
/*
 * event_test - exceptions, NMIs, and the interrupts of a client that has the interrupt controllers itself: what is
 * delivered, when, and what the client is told of it.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>

#include "guest.h"

#define PORT 0x80
#define UNKNOWN_MSR 0x12345678
#define DR6_BS (1u << 14)
#define DR6_BD (1u << 13)

/* -- exceptions -------------------------------------------------------------------------------------------------- */

struct exception_row {
	const char *name;
	enum guest_mode mode;
	bool user;
	struct code code;
	u8 vector;
	u64 error;
	u8 offset; /* of the instruction that the handler returns to */
	u64 rflags, cr0;
};

#define SEL_ABSENT SEL_FREE
#define SEL_BEYOND 0x1f8

static void exception_row(const struct exception_row *row)
{
	struct guest *g = guest_create(row->mode);
	struct kvm_sregs s;

	context("%s: %s", guest_mode_name[row->mode], row->name);
	guest_set_mode(g, row->mode, row->user);
	s = guest_sregs(g);
	s.cr0 |= row->cr0;
	guest_set_sregs(g, &s);
	guest_set_gdt(g, SEL_ABSENT, descriptor(0, 0xfffff, 0xc013)); /* data, not present */
	guest_load(g, row->code);
	g->regs.rcx = UNKNOWN_MSR;
	g->regs.rdi = 0x8000000000000000;
	g->regs.rflags |= row->rflags;
	guest_start(g);
	if (expect_trap(g, row->vector, row->error, row->offset))
		expect_eq(g->trap.flags & RFLAGS_OF, row->rflags & RFLAGS_OF);
	guest_destroy(g);
}

static void exceptions(void)
{
	const struct code divide = CODE64("xor %ebx, %ebx; div %ebx"), ud2 = CODE64("ud2"), int3 = CODE64("int3"),
			  int80 = CODE64("int $0x80"), fnop = CODE64("fnop");
	const struct code x87 = CODE64("push $0x37b; fninit; fldcw (%rsp); fld1; fldz; fdivrp; fwait");
	const struct exception_row rows[] = {
		{ "#DE", MODE_LONG, false, divide, VECTOR_DE, NO_ERROR, 2, 0, 0 },
		{ "#DE from ring 3", MODE_LONG, true, divide, VECTOR_DE, NO_ERROR, 2, 0, 0 },
		{ "INT3", MODE_LONG, false, int3, VECTOR_BP, NO_ERROR, 1, 0, 0 },
		{ "INT3 from ring 3", MODE_LONG, true, int3, VECTOR_BP, NO_ERROR, 1, 0, 0 },
		{ "INT 80h", MODE_LONG, false, int80, 0x80, NO_ERROR, 2, 0, 0 },
		{ "INT 80h from ring 3", MODE_LONG, true, int80, 0x80, NO_ERROR, 2, 0, 0 },
		{ "#UD", MODE_LONG, false, ud2, VECTOR_UD, NO_ERROR, 0, 0, 0 },
		{ "#NM: TS", MODE_LONG, false, fnop, VECTOR_NM, NO_ERROR, 0, 0, CR0_TS },
		{ "#NM: EM", MODE_LONG, false, fnop, VECTOR_NM, NO_ERROR, 0, 0, CR0_EM },
		{ "#MF", MODE_LONG, false, x87, VECTOR_MF, NO_ERROR, 16, 0, 0 },
		{ "#NP: data segment", MODE_LONG, false, CODE64("mov $0x58, %eax; mov %eax, %ds"), VECTOR_NP,
		  SEL_ABSENT, 5, 0, 0 },
		{ "#SS: stack segment not present", MODE_PROT32, false, CODE32("mov $0x58, %eax; mov %eax, %ss"),
		  VECTOR_SS, SEL_ABSENT, 5, 0, 0 },
		{ "#GP: not canonical", MODE_LONG, false, CODE64("mov (%rdi), %eax"), VECTOR_GP, 0, 0, 0, 0 },
		{ "#GP: selector beyond the GDT", MODE_LONG, false, CODE64("mov $0x1f8, %eax; mov %eax, %ds"),
		  VECTOR_GP, SEL_BEYOND, 5, 0, 0 },
		{ "#GP: CLI from ring 3", MODE_LONG, true, CODE64("cli"), VECTOR_GP, 0, 0, 0, 0 },
		{ "#GP: RDMSR, no such MSR", MODE_LONG, false, CODE64("rdmsr"), VECTOR_GP, 0, 0, 0, 0 },
		{ "#GP: WRMSR, no such MSR", MODE_LONG, false, CODE64("wrmsr"), VECTOR_GP, 0, 0, 0, 0 },
		{ "#GP: RDMSR from ring 3", MODE_LONG, true, CODE64("rdmsr"), VECTOR_GP, 0, 0, 0, 0 },
		{ "#GP: RDMSR, no such MSR", MODE_PROT32, false, CODE32("rdmsr"), VECTOR_GP, 0, 0, 0, 0 },
		{ "#GP: RDMSR, no such MSR", MODE_REAL, false, CODE16("rdmsr"), VECTOR_GP, NO_ERROR, 0, 0, 0 },
		{ "#UD: VMRUN", MODE_LONG, false, CODE64(".byte 0x0f, 0x01, 0xd8"), VECTOR_UD, NO_ERROR, 0, 0, 0 },
		{ "#UD: VMLOAD", MODE_LONG, false, CODE64(".byte 0x0f, 0x01, 0xda"), VECTOR_UD, NO_ERROR, 0, 0, 0 },
		{ "#UD: VMXON", MODE_LONG, false, CODE64("vmxon (%rsp)"), VECTOR_UD, NO_ERROR, 0, 0, 0 },
		{ "#UD: VMREAD", MODE_LONG, false, CODE64("vmread %rax, %rbx"), VECTOR_UD, NO_ERROR, 0, 0, 0 },
		{ "#UD: RSM", MODE_LONG, false, CODE64("rsm"), VECTOR_UD, NO_ERROR, 0, 0, 0 },
		{ "#BR", MODE_PROT32, false, CODE32("movl $5, 0xa000; movl $9, 0xa004; bound %eax, 0xa000"), VECTOR_BR,
		  NO_ERROR, 20, 0, 0 },
		{ "INTO", MODE_PROT32, false, CODE32("into"), VECTOR_OF, NO_ERROR, 1, RFLAGS_OF, 0 },
		{ "INTO from ring 3", MODE_PAE, true, CODE32("into"), VECTOR_OF, NO_ERROR, 1, RFLAGS_OF, 0 },
		{ "INT3", MODE_PAGED32, false, int3, VECTOR_BP, NO_ERROR, 1, 0, 0 },
		{ "INT 80h from ring 3", MODE_COMPAT, true, int80, 0x80, NO_ERROR, 2, 0, 0 },
		{ "#DE", MODE_REAL, false, divide, VECTOR_DE, NO_ERROR, 2, 0, 0 },
		{ "#UD", MODE_REAL, false, ud2, VECTOR_UD, NO_ERROR, 0, 0, 0 },
		{ "INT3", MODE_REAL, false, int3, VECTOR_BP, NO_ERROR, 1, 0, 0 },
		{ "INT 80h", MODE_REAL, false, int80, 0x80, NO_ERROR, 2, 0, 0 },
		{ "INT 80h, IOPL 0", MODE_V8086, true, int80, VECTOR_GP, 0, 0, 0, 0 },
		{ "INT 80h, IOPL 3", MODE_V8086, true, int80, 0x80, NO_ERROR, 2, RFLAGS_IOPL, 0 },
		{ "CLI, IOPL 0", MODE_V8086, true, CODE16("cli"), VECTOR_GP, 0, 0, 0, 0 },
		{ "#UD", MODE_V8086, true, ud2, VECTOR_UD, NO_ERROR, 0, 0, 0 },
		{ "#DE", MODE_PROT16, false, CODE16("xor %bx, %bx; div %bx"), VECTOR_DE, NO_ERROR, 2, 0, 0 },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++)
		exception_row(&rows[i]);
}

/* Whether the CPU under the host knows #AC: some emulated ones do not. */
static sigjmp_buf caught;

static void bus_error(int number)
{
	siglongjmp(caught, number);
}

static bool host_checks_alignment(void)
{
	static u32 words[2];
	u8 *misaligned = (u8 *)words + 1;
	bool seen;

	signal(SIGBUS, bus_error);
	seen = sigsetjmp(caught, 1);
	if (!seen)
		asm volatile("pushf; orl $0x40000, (%%rsp); popf; mov (%0), %%eax; pushf; andl $~0x40000, (%%rsp); popf"
			     :
			     : "r"(misaligned)
			     : "rax", "memory", "cc");
	asm volatile("pushf; andl $~0x40000, (%%rsp); popf" : : : "memory", "cc");
	signal(SIGBUS, SIG_DFL);
	return seen;
}

static void alignment_check(void)
{
	const struct code code = CODE64("mov 1(%rsp), %eax");
	const struct exception_row rows[] = {
		{ "#AC", MODE_LONG, true, code, VECTOR_AC, 0, 0, RFLAGS_AC, CR0_AM },
		{ "#AC", MODE_PAE, true, CODE32("mov 1(%esp), %eax"), VECTOR_AC, 0, 0, RFLAGS_AC, CR0_AM },
		{ "no #AC without AM", MODE_LONG, true, code, VECTOR_GP, 0, code.end - code.start, RFLAGS_AC, 0 },
	};
	unsigned int i;

	if (!host_checks_alignment())
		skip("the CPU of the host does not raise #AC");
	for (i = 0; i < ARRAY_SIZE(rows); i++)
		exception_row(&rows[i]);
}

/*
 * The handler of #GP is not present: its delivery raises #NP, and both make #DF. The INT3 before it brings everything that a
 * delivery touches into the second-stage tables: QEMU forgets about the first exception at an exit.
 */
static void double_fault(void)
{
	const struct code code = CODE64("int3; mov (%rdi), %eax");
	struct guest *g = guest_create(MODE_LONG);

	guest_set_gate(g, VECTOR_GP, SEL_CS64, 0x0e);
	guest_load(g, code);
	g->regs.rdi = 0x8000000000000000;
	guest_start(g);
	expect_trap(g, VECTOR_BP, NO_ERROR, 1);
	guest_end_trap(g);
	guest_run(g);
	expect_trap(g, VECTOR_DF, 0, 1);
}

static void triple_fault(void)
{
	const struct {
		enum guest_mode mode;
		struct code code;
	} rows[] = {
		{ MODE_LONG, CODE64("ud2") },
		{ MODE_LONG, CODE64("mov $0x12345678, %ecx; rdmsr") },
		{ MODE_PROT32, CODE32("int3") },
		{ MODE_REAL, CODE16("ud2") },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct guest *g = guest_create(rows[i].mode);
		struct kvm_sregs s = guest_sregs(g);

		context("%s", guest_mode_name[g->mode]);
		s.idt.limit = 0;
		guest_set_sregs(g, &s);
		guest_load(g, rows[i].code);
		guest_start(g);
		expect_exit(g, KVM_EXIT_SHUTDOWN);
		guest_destroy(g);
	}
}

/* -- #DB --------------------------------------------------------------------------------------------------------- */

static struct kvm_debugregs debugregs(struct guest *g)
{
	struct kvm_debugregs d;

	if (ioctl(g->vcpu, KVM_GET_DEBUGREGS, &d))
		die("KVM_GET_DEBUGREGS");
	return d;
}

static void set_debugregs(struct guest *g, u64 dr0, u64 dr7)
{
	struct kvm_debugregs d = debugregs(g);

	d.db[0] = dr0;
	d.dr7 = dr7;
	if (ioctl(g->vcpu, KVM_SET_DEBUGREGS, &d))
		die("KVM_SET_DEBUGREGS");
}

/* RFLAGS.TF: a trap after each instruction, also after those that the module carries out or the client answers. */
static void single_step(void)
{
	const struct {
		const char *name;
		enum guest_mode mode;
		struct code code;
		u8 offset; /* after the first instruction */
		u32 exit;  /* that comes before */
	} rows[] = {
		{ "NOP", MODE_LONG, CODE64("nop; ud2"), 1, 0 },
		{ "CPUID", MODE_LONG, CODE64("cpuid; ud2"), 2, 0 },
		{ "RDMSR", MODE_LONG, CODE64("rdmsr; ud2"), 2, 0 },
		{ "MOV to CR0", MODE_LONG, CODE64("mov %rbx, %cr0; ud2"), 3, 0 },
		{ "OUT", MODE_LONG, CODE64("out %al, $0x80; ud2"), 2, KVM_EXIT_IO },
		{ "IN", MODE_LONG, CODE64("in $0x80, %al; ud2"), 2, KVM_EXIT_IO },
		{ "load from a device", MODE_LONG, CODE64("mov (%rdi), %eax; ud2"), 2, KVM_EXIT_MMIO },
		{ "OUT", MODE_REAL, CODE16("out %al, $0x80; ud2"), 2, KVM_EXIT_IO },
		{ "CPUID", MODE_PROT32, CODE32("cpuid; ud2"), 2, 0 },
		{ "JMP", MODE_LONG, CODE64("jmp 1f; ud2; 1: ud2"), 4, 0 },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct guest *g = guest_create(rows[i].mode);

		context("%s: %s", guest_mode_name[rows[i].mode], rows[i].name);
		guest_load(g, rows[i].code);
		g->regs.rcx = 0xc0000080;
		g->regs.rbx = guest_sregs(g).cr0;
		g->regs.rdi = GUEST_HOLE;
		g->regs.rflags |= RFLAGS_TF;
		guest_start(g);
		if (rows[i].exit) {
			expect_exit(g, rows[i].exit);
			guest_run(g);
		}
		expect_trap(g, VECTOR_DB, NO_ERROR, rows[i].offset);
		expect_eq(g->trap.flags & RFLAGS_TF, RFLAGS_TF);
		expect_eq(g->regs.rflags & RFLAGS_TF, 0);
		expect_eq(debugregs(g).dr6 & DR6_BS, DR6_BS);
		guest_destroy(g);
	}
}

/* Steps through a piece of code by IRET with TF, and sees every instruction once. */
static void single_steps(void)
{
	static const u8 offsets[] = { 1, 3, 5, 8, 11 };
	struct guest *g = guest_create(MODE_LONG);
	unsigned int i;

	guest_load(g, CODE64("nop; cpuid; out %al, $0x80; mov %rbx, %rdx; mov %cr0, %rax"));
	g->regs.rflags |= RFLAGS_TF;
	guest_start(g);
	for (i = 0; i < ARRAY_SIZE(offsets); i++) {
		context("step %u", i + 1);
		if (g->exit == KVM_EXIT_IO && i == 2)
			guest_run(g);
		if (!expect_trap(g, VECTOR_DB, NO_ERROR, offsets[i]))
			return;
		guest_end_trap(g);
		guest_run(g);
	}
}

/* QEMU sets breakpoints neither from a VMCB nor for DR7.GD. */
static void skip_on_qemu(struct guest *g)
{
	if (emulated_by_qemu() && g->exit == KVM_EXIT_HLT)
		skip("QEMU does not emulate it");
}

static void expect_breakpoint(struct guest *g, u8 offset, u64 dr6)
{
	skip_on_qemu(g);
	if (expect_trap(g, VECTOR_DB, NO_ERROR, offset))
		expect_eq(debugregs(g).dr6 & (DR6_BD | 0xf), dr6);
}

static void instruction_breakpoint(void)
{
	struct guest *g = guest_create(MODE_LONG);

	guest_load(g, CODE64("nop; cpuid; nop; mov $7, %ebx"));
	set_debugregs(g, GUEST_CODE + 3, 0x402); /* G0 */
	guest_start(g);
	expect_breakpoint(g, 3, 1);
}

static void data_breakpoint(void)
{
	struct guest *g = guest_create(MODE_LONG);

	guest_load(g, CODE64("mov (%rdi), %al; mov %al, (%rdi); nop"));
	g->regs.rdi = GUEST_DATA;
	set_debugregs(g, GUEST_DATA, 0x10402); /* G0, R/W0: write, LEN0: 1 byte */
	guest_start(g);
	expect_breakpoint(g, 4, 1);
}

static void guests_breakpoint(void)
{
	struct guest *g = guest_create(MODE_LONG);

	guest_load(g, CODE64("mov %rdi, %dr3; mov %rax, %dr7; mov %dr3, %rbx; mov %dr7, %rcx; nop; nop"));
	g->regs.rdi = GUEST_CODE + 13;
	g->regs.rax = 0x480; /* G3 */
	guest_start(g);
	expect_eq(g->regs.rbx, GUEST_CODE + 13);
	expect_eq(g->regs.rcx, 0x480);
	expect_eq(debugregs(g).db[3], GUEST_CODE + 13);
	expect_eq(debugregs(g).dr7, 0x480);
	expect_breakpoint(g, 13, 8);
}

/* DR7.GD guards the debug registers; the trap takes it off. */
static void guarded_debug_registers(void)
{
	struct guest *g = guest_create(MODE_LONG);

	guest_load(g, CODE64("mov %dr0, %rax"));
	set_debugregs(g, 0, 0x2400);
	guest_start(g);
	expect_breakpoint(g, 0, DR6_BD);
	expect_eq(debugregs(g).dr7, 0x400);
}

/* DR4 and DR5 are DR6 and DR7 unless CR4.DE is set. */
static void aliased_debug_registers(void)
{
	struct guest *g = guest_create(MODE_LONG);
	struct kvm_sregs s;

	guest_load(g, CODE64("mov %dr5, %rax"));
	guest_start(g);
	expect_end(g);
	expect_eq(g->regs.rax, 0x400);
	s = guest_sregs(g);
	s.cr4 |= CR4_DE;
	guest_set_sregs(g, &s);
	guest_load(g, CODE64("mov %dr5, %rax"));
	guest_start(g);
	expect_trap(g, VECTOR_UD, NO_ERROR, 0);
}

/* -- NMI --------------------------------------------------------------------------------------------------------- */

static void send_nmi(struct guest *g)
{
	expect_errno(ioctl(g->vcpu, KVM_NMI, 0), 0);
}

/* At the instruction behind the one that the client has answered, whatever IF is. */
static void nmi_delivery(void)
{
	static const enum guest_mode where[] = { MODE_REAL, MODE_PROT32, MODE_PAE, MODE_LONG };
	const struct code code = CODE64("out %al, $0x80; nop; nop");
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(where); i++) {
		struct guest *g = guest_create(where[i]);

		context("%s", guest_mode_name[where[i]]);
		guest_load(g, code);
		guest_start(g);
		expect_exit(g, KVM_EXIT_IO);
		send_nmi(g);
		guest_run(g);
		expect_trap(g, VECTOR_NMI, NO_ERROR, 2);
		expect_eq(guest_events(g).nmi.masked, 1);
		guest_end_trap(g);
		guest_run(g);
		expect_end(g);
		expect_eq(guest_events(g).nmi.masked, 0);
		guest_destroy(g);
	}
}

/* While one is handled NMIs wait for IRET, and no more than one does. SDM volume 3, "Handling Multiple NMIs". */
static void nmi_blocking(void)
{
	struct guest *g = guest_create(MODE_LONG);

	guest_load(g, CODE64("out %al, $0x80; nop; nop"));
	guest_start(g);
	expect_exit(g, KVM_EXIT_IO);
	send_nmi(g);
	guest_run(g);
	expect_trap(g, VECTOR_NMI, NO_ERROR, 2);
	send_nmi(g);
	send_nmi(g);
	expect_eq(guest_events(g).nmi.pending, 1);
	context("the handler goes on");
	guest_run(g);
	expect_end(g); /* the HLT of the handler */
	context("IRET lets the next one in");
	guest_end_trap(g);
	guest_run(g);
	expect_trap(g, VECTOR_NMI, NO_ERROR, 2);
	context("none is left");
	guest_end_trap(g);
	guest_run(g);
	expect_end(g);
	expect_eq(g->regs.rip, GUEST_CODE + g->code_size + 1);
}

/* Sent together before the first is taken, two are delivered. */
static void nmi_pair(void)
{
	struct guest *g = guest_create(MODE_LONG);
	unsigned int i;

	guest_load(g, CODE64("out %al, $0x80; nop; nop"));
	guest_start(g);
	expect_exit(g, KVM_EXIT_IO);
	for (i = 0; i < 3; i++)
		send_nmi(g);
	for (i = 0; i < 2; i++) {
		context("NMI %u", i + 1);
		guest_run(g);
		expect_trap(g, VECTOR_NMI, NO_ERROR, 2);
		guest_end_trap(g);
	}
	guest_run(g);
	expect_end(g);
}

/* An IRET that faults does not unblock them; neither does the client's moving RIP. */
static void nmi_masked_by_client(void)
{
	struct guest *g = guest_create(MODE_LONG);
	struct kvm_vcpu_events events;

	guest_load(g, CODE64("out %al, $0x80; nop; nop"));
	guest_start(g);
	expect_exit(g, KVM_EXIT_IO);
	events = guest_events(g);
	events.nmi.masked = 1;
	guest_set_events(g, &events);
	expect_eq(guest_events(g).nmi.masked, 1);
	send_nmi(g);
	guest_run(g);
	expect_end(g);
	events = guest_events(g);
	events.nmi.masked = 0;
	guest_set_events(g, &events);
	guest_run(g);
	expect_trap(g, VECTOR_NMI, NO_ERROR, g->code_size + 1);
}

/* -- the client's interrupts ------------------------------------------------------------------------------------- */

static void interrupt(struct guest *g, u32 vector)
{
	struct kvm_interrupt irq = { .irq = vector };

	expect_errno(ioctl(g->vcpu, KVM_INTERRUPT, &irq), 0);
}

static void expect_interruptible(struct guest *g, bool if_flag, bool ready)
{
	expect_eq(g->run->if_flag, if_flag);
	expect_eq(g->run->ready_for_interrupt_injection, ready);
}

/* Interrupts are on: at the next instruction. */
static void interrupt_now(void)
{
	static const enum guest_mode where[] = {
		MODE_REAL, MODE_PROT16, MODE_PROT32, MODE_PAE, MODE_COMPAT, MODE_LONG
	};
	const struct code code = CODE64("out %al, $0x80; nop; nop");
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(where); i++) {
		struct guest *g = guest_create(where[i]);

		context("%s", guest_mode_name[where[i]]);
		guest_load(g, code);
		g->regs.rflags |= RFLAGS_IF;
		guest_start(g);
		expect_exit(g, KVM_EXIT_IO);
		expect_interruptible(g, true, true);
		interrupt(g, 0x45);
		guest_run(g);
		expect_trap(g, 0x45, NO_ERROR, 2);
		expect_eq(g->trap.flags & RFLAGS_IF, RFLAGS_IF);
		expect_interruptible(g, false, false);
		guest_end_trap(g);
		guest_run(g);
		expect_end(g);
		guest_destroy(g);
	}
}

/* Interrupts are off: the client is told when that changes, which is one instruction after STI. */
static void interrupt_window(void)
{
	const struct {
		const char *name;
		struct code code;
		u8 offset;
	} rows[] = {
		{ "STI", CODE64("out %al, $0x80; nop; sti; mov $1, %bl; mov $2, %bl"), 6 },
		{ "POPF", CODE64("out %al, $0x80; push $0x202; popf; mov $1, %bl"), 8 },
		{ "IRET",
		  CODE64("out %al, $0x80; push $0x10; push $0x8000; push $0x202; push $0x18; push $0x8017; iretq; nop; nop"),
		  0x17 },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct guest *g = guest_create(MODE_LONG);

		context("%s", rows[i].name);
		guest_load(g, rows[i].code);
		guest_start(g);
		expect_exit(g, KVM_EXIT_IO);
		expect_interruptible(g, false, false);
		g->run->request_interrupt_window = 1;
		guest_run(g);
		expect_exit(g, KVM_EXIT_IRQ_WINDOW_OPEN);
		expect_eq(g->regs.rip, GUEST_CODE + rows[i].offset);
		expect_interruptible(g, true, true);
		g->run->request_interrupt_window = 0;
		interrupt(g, 0x99);
		guest_run(g);
		expect_trap(g, 0x99, NO_ERROR, rows[i].offset);
		guest_end_trap(g);
		guest_run(g);
		expect_end(g);
		guest_destroy(g);
	}
}

/* A window that is open when KVM_RUN is called: nothing runs before the client is told. */
static void window_open_already(void)
{
	struct guest *g = guest_create(MODE_LONG);

	guest_load(g, CODE64("sti; nop; out %al, $0x80; nop; nop"));
	guest_start(g);
	expect_exit(g, KVM_EXIT_IO);
	g->run->request_interrupt_window = 1;
	guest_run(g);
	expect_exit(g, KVM_EXIT_IRQ_WINDOW_OPEN);
	expect_eq(g->regs.rip, GUEST_CODE + 4);
	g->run->request_interrupt_window = 0;
	guest_run(g);
	expect_end(g);
}

/* STI holds interrupts off for an instruction more, and so does MOV SS. */
static void interrupt_shadow(void)
{
	const struct {
		const char *name;
		struct code code;
		bool ready;
	} rows[] = {
		{ "behind STI", CODE64("cli; sti; out %al, $0x80"), false },
		{ "one later", CODE64("cli; sti; nop; out %al, $0x80"), true },
		{ "behind MOV SS", CODE64("sti; mov $0x10, %eax; mov %eax, %ss; out %al, $0x80"), false },
		{ "one later than MOV SS", CODE64("sti; mov $0x10, %eax; mov %eax, %ss; nop; out %al, $0x80"), true },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct guest *g = guest_create(MODE_LONG);

		context("%s", rows[i].name);
		guest_load(g, rows[i].code);
		guest_start(g);
		expect_exit(g, KVM_EXIT_IO);
		expect_interruptible(g, true, rows[i].ready);
		expect_eq(!guest_events(g).interrupt.shadow, rows[i].ready);
		guest_run(g);
		expect_end(g);
		expect_interruptible(g, true, true);
		guest_destroy(g);
	}
}

/* HLT comes to the client, who wakes the guest by an interrupt or by just going on. */
static void halt(void)
{
	struct guest *g = guest_create(MODE_LONG);

	guest_load(g, CODE64("cli; sti; hlt; mov $5, %ebx"));
	guest_start(g);
	expect_exit(g, KVM_EXIT_HLT);
	expect_eq(g->regs.rip, GUEST_CODE + 3);
	expect_interruptible(g, true, true);
	interrupt(g, 0x20);
	guest_run(g);
	expect_trap(g, 0x20, NO_ERROR, 3);
	guest_end_trap(g);
	guest_run(g);
	expect_end(g);
	expect_eq(g->regs.rbx, 5);
	expect_eq(g->regs.rip, GUEST_CODE + g->code_size + 1);
}

/* NMI goes before an interrupt that waits at the same instruction. SDM volume 3, "Priority Among Concurrent Events". */
static void nmi_before_interrupt(void)
{
	struct guest *g = guest_create(MODE_LONG);

	guest_load(g, CODE64("out %al, $0x80; nop; nop"));
	g->regs.rflags |= RFLAGS_IF;
	guest_start(g);
	expect_exit(g, KVM_EXIT_IO);
	send_nmi(g);
	g->run->request_interrupt_window = 1;
	guest_run(g);
	/* The client has no interrupt in yet: the window may be told first, the NMI comes before anything runs. */
	if (g->exit == KVM_EXIT_IRQ_WINDOW_OPEN) {
		expect_eq(g->regs.rip, GUEST_CODE + 2);
		g->run->request_interrupt_window = 0;
		guest_run(g);
	}
	expect_trap(g, VECTOR_NMI, NO_ERROR, 2);
}

static void interrupt_errors(void)
{
	struct kvm_interrupt irq = { .irq = 256 };
	struct guest *g = guest_create(MODE_LONG);

	expect_errno(ioctl(g->vcpu, KVM_INTERRUPT, &irq), EINVAL);
	irq.irq = 0xffffffff;
	expect_errno(ioctl(g->vcpu, KVM_INTERRUPT, &irq), EINVAL);
	guest_destroy(g);
	g = guest_create_vm();
	expect_errno(ioctl(g->vm, KVM_CREATE_IRQCHIP, 0), 0);
	guest_create_vcpu(g);
	irq.irq = 0x20;
	expect_errno(ioctl(g->vcpu, KVM_INTERRUPT, &irq), ENXIO);
}

/* A guest that lowers its task priority may let an interrupt in: the client is told. */
static void task_priority(void)
{
	struct guest *g = guest_create(MODE_LONG);

	guest_load(g, CODE64("mov $9, %eax; mov %rax, %cr8; mov $3, %eax; mov %rax, %cr8; mov %cr8, %rbx"));
	guest_start(g);
	expect_exit(g, KVM_EXIT_SET_TPR);
	expect_eq(g->run->cr8, 3);
	expect_eq(guest_sregs(g).cr8, 3);
	guest_run(g);
	expect_end(g);
	expect_eq(g->regs.rbx, 3);

	context("set by the client");
	guest_load(g, CODE64("mov %cr8, %rbx"));
	g->run->cr8 = 7;
	guest_start(g);
	expect_end(g);
	expect_eq(g->regs.rbx, 7);
}

/* -- KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS -------------------------------------------------------------------- */

/* Ends the OUT that the guest has left for, and nothing else. */
static void complete(struct guest *g)
{
	g->run->immediate_exit = 1;
	expect_errno(ioctl(g->vcpu, KVM_RUN, 0), EINTR);
	g->run->immediate_exit = 0;
}

static void injected_by_client(void)
{
	static const struct {
		const char *name;
		struct kvm_vcpu_events events;
		u8 vector;
		u64 error;
	} rows[] = {
		{ "#UD", { .exception = { .injected = 1, .nr = VECTOR_UD } }, VECTOR_UD, NO_ERROR },
		{ "#GP",
		  { .exception = { .injected = 1, .nr = VECTOR_GP, .has_error_code = 1, .error_code = 0x18 } },
		  VECTOR_GP,
		  0x18 },
		{ "#PF",
		  { .exception = { .injected = 1, .nr = VECTOR_PF, .has_error_code = 1, .error_code = 7 } },
		  VECTOR_PF,
		  7 },
		{ "NMI", { .nmi = { .injected = 1 } }, VECTOR_NMI, NO_ERROR },
		{ "NMI, pending",
		  { .nmi = { .pending = 1 }, .flags = KVM_VCPUEVENT_VALID_NMI_PENDING },
		  VECTOR_NMI,
		  NO_ERROR },
		{ "interrupt", { .interrupt = { .injected = 1, .nr = 0x77 } }, 0x77, NO_ERROR },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct guest *g = guest_create(MODE_LONG);
		struct kvm_vcpu_events events = rows[i].events, back;

		context("%s", rows[i].name);
		guest_load(g, CODE64("nop; out %al, $0x80; nop"));
		g->regs.rflags |= RFLAGS_IF;
		guest_start(g);
		expect_exit(g, KVM_EXIT_IO);
		complete(g);
		guest_set_events(g, &events);
		back = guest_events(g);
		expect_eq(back.exception.injected, events.exception.injected);
		expect_eq(back.exception.nr, events.exception.nr);
		expect_eq(back.exception.has_error_code, events.exception.has_error_code);
		expect_eq(back.exception.error_code, events.exception.error_code);
		expect_eq(back.interrupt.injected, events.interrupt.injected);
		expect_eq(back.interrupt.nr, events.interrupt.nr);
		expect_eq(back.nmi.injected, events.nmi.injected);
		expect_eq(back.nmi.pending, events.nmi.pending);
		guest_run(g);
		expect_trap(g, rows[i].vector, rows[i].error, 3);
		back = guest_events(g);
		expect_eq(back.exception.injected | back.interrupt.injected | back.nmi.injected | back.nmi.pending, 0);
		expect_eq(back.nmi.masked, rows[i].vector == VECTOR_NMI);
		guest_destroy(g);
	}
}

/* A shadow that the client sets keeps an interrupt off for one instruction. */
static void shadow_by_client(void)
{
	struct guest *g = guest_create(MODE_LONG);
	struct kvm_vcpu_events events;

	guest_load(g, CODE64("out %al, $0x80; nop; nop"));
	g->regs.rflags |= RFLAGS_IF;
	guest_start(g);
	expect_exit(g, KVM_EXIT_IO);
	complete(g);
	events = guest_events(g);
	events.flags = KVM_VCPUEVENT_VALID_SHADOW;
	events.interrupt.shadow = KVM_X86_SHADOW_INT_STI;
	guest_set_events(g, &events);
	expect(guest_events(g).interrupt.shadow & KVM_X86_SHADOW_INT_STI);
	g->run->request_interrupt_window = 1;
	guest_run(g);
	expect_exit(g, KVM_EXIT_IRQ_WINDOW_OPEN);
	if (emulated_by_qemu() && g->regs.rip == GUEST_CODE + 2)
		skip("QEMU does not load the shadow from a VMCB");
	expect_eq(g->regs.rip, GUEST_CODE + 3);
	expect_eq(guest_events(g).interrupt.shadow, 0);
}

static void bad_events(void)
{
	static const struct kvm_vcpu_events rows[] = {
		{ .exception = { .injected = 1, .nr = 32 } },
		{ .exception = { .injected = 1, .nr = VECTOR_NMI } },
		{ .flags = 1u << 31 },
	};
	struct guest *g = guest_create(MODE_LONG);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		context("row %u", i);
		expect_errno(ioctl(g->vcpu, KVM_SET_VCPU_EVENTS, &rows[i]), EINVAL);
		expect_eq(guest_events(g).exception.injected, 0);
	}
	guest_load(g, CODE64("nop"));
	guest_start(g);
	expect_end(g);
}

static const struct test tests[] = {
	{ "exceptions", exceptions },
	{ "alignment check", alignment_check },
	{ "double fault", double_fault },
	{ "triple fault", triple_fault },
	{ "single step", single_step },
	{ "single steps through code", single_steps },
	{ "breakpoint on an instruction", instruction_breakpoint },
	{ "breakpoint on data", data_breakpoint },
	{ "breakpoint set by the guest", guests_breakpoint },
	{ "guarded debug registers", guarded_debug_registers },
	{ "DR4 and DR5", aliased_debug_registers },
	{ "NMI", nmi_delivery },
	{ "NMI while one is handled", nmi_blocking },
	{ "NMIs at once", nmi_pair },
	{ "NMI masked by the client", nmi_masked_by_client },
	{ "interrupt", interrupt_now },
	{ "interrupt window", interrupt_window },
	{ "interrupt window that is open", window_open_already },
	{ "interrupt shadow", interrupt_shadow },
	{ "halt", halt },
	{ "NMI and interrupt window", nmi_before_interrupt },
	{ "KVM_INTERRUPT refuses", interrupt_errors },
	{ "task priority", task_priority },
	{ "events injected by the client", injected_by_client },
	{ "shadow set by the client", shadow_by_client },
	{ "KVM_SET_VCPU_EVENTS refuses", bad_events },
};

KTAP_MAIN(tests)
