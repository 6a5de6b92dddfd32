// SPDX-License-Identifier: GPL-2.0
/*
 * Sensitive instructions: a guest executes all that could tell it of the host or change the host, in ring 0 and in ring
 * 3, and gets the result or the exception that the manual says for its CPUID. On the host nothing changes: its
 * registers are compared before and after, in full where the msr module is loaded, else as far as a program sees them.
 */
#define _GNU_SOURCE
#include <asm/ldt.h>
#include <asm/prctl.h>
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "guest.h"

/* -- the host ---------------------------------------------------------------------------------------------------- */

/* MSRs that are the same at all times, whoever runs. */
static const u32 host_msrs[] = {
	0x1b,			       /* APIC base */
	0x3a,			       /* feature control */
	0x3b,			       /* TSC_ADJUST */
	0x48,			       /* SPEC_CTRL */
	0x174,	    0x175,	0x176, /* SYSENTER */
	0x17a,	    0x17b,	       /* machine checks */
	0x1a0,			       /* MISC_ENABLE */
	0x1d9,			       /* DEBUGCTL */
	0x200,	    0x201,	0x202,	    0x203,	0x204, 0x205, 0x206, 0x207, 0x208, 0x209,
	0x20a,	    0x20b,	0x20c,	    0x20d,	0x20e, 0x20f, 0x250, 0x258, 0x259, 0x268,
	0x269,	    0x26a,	0x26b,	    0x26c,	0x26d, 0x26e, 0x26f, 0x2ff, /* MTRRs */
	0x277,									    /* PAT */
	0xda0,									    /* XSS */
	0xc0000080,								    /* EFER */
	0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084,				    /* SYSCALL */
	0xc0000103,								    /* TSC_AUX */
	0xc0010010, 0xc0010015,							    /* SYSCFG, HWCR */
	0xc0010114, 0xc0010117,							    /* VM_CR, VM_HSAVE_PA */
};

#define MAX_CPUS 8

struct host {
	u8 gdtr[10], idtr[10];
	u16 ldtr, tr, cs, ds, es, fs, gs, ss;
	u64 msw, fs_base, gs_base, xcr0;
	u32 tsc_aux, mxcsr;
	u16 fcw;
	u64 msrs[MAX_CPUS][ARRAY_SIZE(host_msrs)];
};

static void read_host_msrs(struct host *h)
{
	unsigned int cpu, i;
	char path[32];
	int fd;

	for (cpu = 0; cpu < MAX_CPUS; cpu++) {
		snprintf(path, sizeof(path), "/dev/cpu/%u/msr", cpu);
		fd = open(path, O_RDONLY);
		if (fd < 0)
			return;
		for (i = 0; i < ARRAY_SIZE(host_msrs); i++)
			if (pread(fd, &h->msrs[cpu][i], 8, host_msrs[i]) != 8)
				h->msrs[cpu][i] = 0; /* there is none */
		close(fd);
	}
}

static void read_host(struct host *h)
{
	u32 low, high;

	memset(h, 0, sizeof(*h));
	asm volatile("sgdt %0; sidt %1" : "=m"(h->gdtr), "=m"(h->idtr));
	asm volatile("sldt %0; str %1; smsw %2" : "=m"(h->ldtr), "=m"(h->tr), "=r"(h->msw));
	asm volatile("mov %%cs, %0; mov %%ds, %1; mov %%es, %2" : "=m"(h->cs), "=m"(h->ds), "=m"(h->es));
	asm volatile("mov %%fs, %0; mov %%gs, %1; mov %%ss, %2" : "=m"(h->fs), "=m"(h->gs), "=m"(h->ss));
	asm volatile("stmxcsr %0; fnstcw %1" : "=m"(h->mxcsr), "=m"(h->fcw));
	asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	h->xcr0 = low | (u64)high << 32;
	asm volatile("rdtscp" : "=c"(h->tsc_aux) : : "eax", "edx");
	syscall(SYS_arch_prctl, ARCH_GET_FS, &h->fs_base);
	syscall(SYS_arch_prctl, ARCH_GET_GS, &h->gs_base);
	read_host_msrs(h);
}

static struct host before;

/* What runs on a CPU of its own can be compared with itself. */
static void host_begin(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(0, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		die("sched_setaffinity");
	read_host(&before);
}

static void host_unchanged(void)
{
	static struct host after;
	unsigned int cpu, i;

	read_host(&after);
	context("the host's");
	expect_bytes(after.gdtr, before.gdtr, sizeof(after.gdtr));
	/*
	 * The base alone: VMX leaves a limit of 0xffff, which no vector reaches. SDM, "Loading Host ...
	 * Descriptor-Table Registers".
	 */
	expect_bytes(after.idtr + 2, before.idtr + 2, sizeof(after.idtr) - 2);
	expect_eq(after.ldtr, before.ldtr);
	expect_eq(after.tr, before.tr);
	expect_bytes(&after.cs, &before.cs, 6 * sizeof(u16));
	expect_eq(after.msw, before.msw);
	expect_eq(after.fs_base, before.fs_base);
	expect_eq(after.gs_base, before.gs_base);
	expect_eq(after.xcr0, before.xcr0);
	expect_eq(after.tsc_aux, before.tsc_aux);
	expect_eq(after.mxcsr, before.mxcsr);
	expect_eq(after.fcw, before.fcw);
	for (cpu = 0; cpu < MAX_CPUS; cpu++)
		for (i = 0; i < ARRAY_SIZE(host_msrs); i++)
			if (after.msrs[cpu][i] != before.msrs[cpu][i])
				fail("MSR %#x of CPU %u is %#lx, was %#lx", host_msrs[i], cpu, after.msrs[cpu][i],
				     before.msrs[cpu][i]);
}

/* -- instructions ------------------------------------------------------------------------------------------------ */

/* What becomes of an instruction. */
enum outcome {
	RUNS,
	UD,
	GP,
	UD_OR_GP,    /* the manuals differ, or it depends on what the hypervisor must set in the CPU */
	GP_BUT_QEMU, /* #GP, but QEMU does not check it where the instruction is not intercepted */
	HALTS,	     /* KVM_EXIT_HLT */
	PORT,	     /* KVM_EXIT_IO */
};

struct insn {
	const char *name;
	struct code code;
	enum outcome ring0, ring3;
	u64 rax, rcx; /* as it begins */
};

#define INSN(name, text, ring0, ring3, rax, rcx)           \
	{                                                  \
		name, CODE64(text), ring0, ring3, rax, rcx \
	}

/* RSI points here: descriptor-table registers to load, or memory to write to. */
static void set_operand(struct guest *g, u16 limit, u64 base)
{
	memset(g->memory + GUEST_DATA, 0, PAGE);
	memcpy(g->memory + GUEST_DATA, &limit, sizeof(limit));
	memcpy(g->memory + GUEST_DATA + 2, &base, sizeof(base));
}

static void expect_runs(struct guest *g)
{
	/* Ring 3 may not execute the HLT behind the code. */
	if (g->user)
		expect_trap(g, VECTOR_GP, 0, g->code_size);
	else
		expect_end(g);
}

static void expect_outcome(struct guest *g, enum outcome outcome)
{
	if (outcome == UD_OR_GP)
		outcome = g->exit == GUEST_TRAP && g->trap.vector == VECTOR_GP ? GP : UD;
	if (outcome == GP_BUT_QEMU)
		outcome = emulated_by_qemu() && g->exit == KVM_EXIT_HLT ? RUNS : GP;
	switch (outcome) {
	case RUNS:
		expect_runs(g);
		break;
	case UD:
		expect_trap(g, VECTOR_UD, NO_ERROR, 0);
		break;
	case GP:
		expect_trap(g, VECTOR_GP, 0, 0);
		break;
	case HALTS:
		expect_exit(g, KVM_EXIT_HLT);
		expect_eq(g->regs.rip, GUEST_CODE + g->code_size);
		break;
	default:
		if (expect_exit(g, KVM_EXIT_IO)) {
			guest_run(g); /* to the instruction's end */
			expect_runs(g);
		}
	}
}

static void try_instruction(struct guest *g, const struct insn *insn, bool user)
{
	context("%s in ring %u", insn->name, user ? 3 : 0);
	guest_set_mode(g, MODE_LONG, user);
	set_operand(g, GDT_ENTRIES * 8 - 1, GUEST_GDT);
	guest_load(g, insn->code);
	g->regs.rax = insn->rax;
	g->regs.rcx = insn->rcx;
	g->regs.rsi = g->regs.rdi = GUEST_DATA;
	guest_start(g);
	expect_outcome(g, user ? insn->ring3 : insn->ring0);
}

static void try_instructions(const struct insn *insns, unsigned int nr)
{
	struct guest *g = guest_create(MODE_LONG);
	unsigned int i;

	host_begin();
	for (i = 0; i < nr; i++) {
		try_instruction(g, &insns[i], false);
		try_instruction(g, &insns[i], true);
	}
	host_unchanged();
}

#define LONG_CR0 (CR0_PE | CR0_PG | CR0_ET | CR0_NE | CR0_MP)
#define LONG_CR4 (CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT)

static void test_control_registers(void)
{
#define FROM(n) INSN("MOV from CR" #n, "mov %cr" #n ", %rax", RUNS, GP, 0, 0)
#define TO(n, outcome, value) INSN("MOV to CR" #n " of " #value, "mov %rax, %cr" #n, outcome, GP, value, 0)
#define NONE(n)                                                            \
	INSN("MOV from CR" #n, "mov %cr" #n ", %rax", UD, UD_OR_GP, 0, 0), \
		INSN("MOV to CR" #n, "mov %rax, %cr" #n, UD, UD_OR_GP, 0, 0)
	const struct insn insns[] = {
		FROM(0),
		FROM(2),
		FROM(3),
		FROM(4),
		FROM(8),
		TO(0, RUNS, LONG_CR0),
		TO(0, RUNS, LONG_CR0 | CR0_TS),
		TO(0, RUNS, LONG_CR0 | CR0_CD),
		TO(0, GP_BUT_QEMU, LONG_CR0 | 1ul << 32),
		TO(0, GP, LONG_CR0 & ~CR0_PE),
		TO(0, GP, LONG_CR0 | CR0_NW),
		TO(0, GP, LONG_CR0 & ~CR0_PG),
		TO(2, RUNS, 0x123456789abcdef0),
		TO(3, RUNS, GUEST_TABLES),
		TO(4, RUNS, LONG_CR4),
		TO(4, RUNS, LONG_CR4 | CR4_TSD | CR4_DE | CR4_PGE),
		TO(4, GP, 0),
		TO(4, GP, LONG_CR4 | 1ul << 15),
		TO(4, GP, LONG_CR4 | 1ul << 31),
		TO(4, GP_BUT_QEMU, LONG_CR4 | 1ul << 40),
		TO(8, RUNS, 0),
		TO(8, RUNS, 15),
		TO(8, GP, 16),
		NONE(1),
		NONE(5),
		NONE(6),
		NONE(7),
		NONE(9),
		NONE(10),
		NONE(11),
		NONE(12),
		NONE(13),
		NONE(14),
		NONE(15),
		INSN("CLTS", "clts", RUNS, GP, 0, 0),
		INSN("SMSW", "smsw %rax", RUNS, RUNS, 0, 0),
		INSN("LMSW", "lmsw %ax", RUNS, GP, 0xb, 0),
	};

	try_instructions(insns, ARRAY_SIZE(insns));
}

static void test_debug_registers(void)
{
#define BOTH(n, value)                                                 \
	INSN("MOV from DR" #n, "mov %dr" #n ", %rax", RUNS, GP, 0, 0), \
		INSN("MOV to DR" #n, "mov %rax, %dr" #n, RUNS, GP, value, 0)
#define NEITHER(n)                                                         \
	INSN("MOV from DR" #n, "mov %dr" #n ", %rax", UD, UD_OR_GP, 0, 0), \
		INSN("MOV to DR" #n, "mov %rax, %dr" #n, UD, UD_OR_GP, 0, 0)
	const struct insn insns[] = {
		BOTH(0, 0x1234),     BOTH(1, 0x800000),	  BOTH(2, 0xffff800000000000),
		BOTH(3, 1),	     BOTH(4, 0xffff0ff0), BOTH(5, 0x400),
		BOTH(6, 0xffff0ff0), BOTH(7, 0x400),	  NEITHER(8),
		NEITHER(9),	     NEITHER(10),	  NEITHER(11),
		NEITHER(12),	     NEITHER(13),	  NEITHER(14),
		NEITHER(15),
	};

	try_instructions(insns, ARRAY_SIZE(insns));
}

static void test_tables(void)
{
	const struct insn insns[] = {
		INSN("LGDT", "lgdt (%rsi)", RUNS, GP, 0, 0),	 INSN("LIDT", "lidt 16(%rsi)", RUNS, GP, 0, 0),
		INSN("LLDT 0", "lldt %ax", RUNS, GP, 0, 0),	 INSN("LTR 0", "ltr %ax", GP_BUT_QEMU, GP, 0, 0),
		INSN("SGDT", "sgdt (%rsi)", RUNS, RUNS, 0, 0),	 INSN("SIDT", "sidt (%rsi)", RUNS, RUNS, 0, 0),
		INSN("SLDT", "sldt (%rsi)", RUNS, RUNS, 0, 0),	 INSN("STR", "str (%rsi)", RUNS, RUNS, 0, 0),
		INSN("INVLPG", "invlpg (%rsi)", RUNS, GP, 0, 0), INSN("SWAPGS", "swapgs", RUNS, GP, 0, 0),
	};

	try_instructions(insns, ARRAY_SIZE(insns));
}

/* MONITOR and MWAIT: KVM's ABI has them do nothing, whatever CPUID says. */
static void test_others(void)
{
	const struct insn insns[] = {
		INSN("CPUID", "cpuid", RUNS, RUNS, 0, 0),
		INSN("RDTSC", "rdtsc", RUNS, RUNS, 0, 0),
		INSN("RDPMC of no counter", "rdpmc", GP, GP, 0, 0x12345),
		INSN("RDMSR", "rdmsr", RUNS, GP, 0, 0x1b),
		INSN("RDMSR of no MSR", "rdmsr", GP, GP, 0, 0x12345678),
		INSN("WRMSR", "wrmsr", RUNS, GP, 0, 0x175),
		INSN("WRMSR of no MSR", "wrmsr", GP, GP, 0, 0xffffffff),
		INSN("HLT", "hlt", HALTS, GP, 0, 0),
		INSN("IN", "in $0x10, %al", PORT, GP, 0, 0),
		INSN("OUT", "out %al, $0x10", PORT, GP, 0, 0),
		INSN("INS", "insb", PORT, GP, 0, 0),
		INSN("OUTS", "outsb", PORT, GP, 0, 0),
		INSN("CLI", "cli", RUNS, GP, 0, 0),
		INSN("INVD", "invd", RUNS, GP, 0, 0),
		INSN("WBINVD", "wbinvd", RUNS, GP, 0, 0),
		INSN("MONITOR", "monitor", RUNS, UD, GUEST_DATA, 0),
		INSN("MWAIT", "mwait", RUNS, UD, 0, 0),
		INSN("XSETBV without CR4.OSXSAVE", "xsetbv", UD, UD_OR_GP, 1, 0),
		INSN("XGETBV without CR4.OSXSAVE", "xgetbv", UD, UD, 0, 0),
		INSN("SYSCALL without EFER.SCE", "syscall", UD, UD, 0, 0),
		INSN("SYSRET without EFER.SCE", "sysretq", UD, UD_OR_GP, 0, 0),
		INSN("RSM", "rsm", UD, UD, 0, 0),
		INSN("GETSEC", "getsec", UD, UD, 0, 0),
		INSN("UD2", "ud2", UD, UD, 0, 0),
	};

	try_instructions(insns, ARRAY_SIZE(insns));
}

/* No guest here has CR4.VMXE or EFER.SVME. */
static void test_virtualization(void)
{
#define VIRTUALIZATION(name, text) INSN(name, text, UD, UD_OR_GP, GUEST_DATA, 0)
	const struct insn insns[] = {
		VIRTUALIZATION("VMXON", "vmxon (%rsi)"),
		VIRTUALIZATION("VMXOFF", "vmxoff"),
		VIRTUALIZATION("VMCLEAR", "vmclear (%rsi)"),
		VIRTUALIZATION("VMPTRLD", "vmptrld (%rsi)"),
		VIRTUALIZATION("VMPTRST", "vmptrst (%rsi)"),
		VIRTUALIZATION("VMREAD", "vmread %rax, %rbx"),
		VIRTUALIZATION("VMWRITE", "vmwrite %rax, %rbx"),
		VIRTUALIZATION("VMLAUNCH", "vmlaunch"),
		VIRTUALIZATION("VMRESUME", "vmresume"),
		VIRTUALIZATION("INVEPT", "invept (%rsi), %rax"),
		VIRTUALIZATION("INVVPID", "invvpid (%rsi), %rax"),
		VIRTUALIZATION("VMFUNC", "vmfunc"),
		VIRTUALIZATION("VMRUN", "vmrun"),
		VIRTUALIZATION("VMLOAD", "vmload"),
		VIRTUALIZATION("VMSAVE", "vmsave"),
		VIRTUALIZATION("SKINIT", "skinit"),
		VIRTUALIZATION("INVLPGA", "invlpga"),
	};

	try_instructions(insns, ARRAY_SIZE(insns));
}

/* Stock KVM, which has SVM for guests, leaves these to the CPU where it can. */
static void test_global_interrupt_flag(void)
{
	const struct insn insns[] = { VIRTUALIZATION("STGI", "stgi"), VIRTUALIZATION("CLGI", "clgi") };
	const struct kvm_cpuid_entry2 *e = find_cpuid(supported_cpuid(open_device()), 0x80000001, 0);

	if (e && e->ecx >> 2 & 1)
		skip("guests can have SVM");
	try_instructions(insns, ARRAY_SIZE(insns));
}

/* -- with results ------------------------------------------------------------------------------------------------ */

static void test_xsetbv(void)
{
	static const struct {
		u64 value;
		u32 index;
		bool works;
	} writes[] = { { 1, 0, true },	{ 3, 0, true },	  { 0, 0, false }, { 2, 0, false },
		       { 5, 0, false }, { -1, 0, false }, { 1, 1, false } };
	struct guest *g = guest_create(MODE_LONG);
	struct kvm_sregs s;
	unsigned int i;

	host_begin();
	for (i = 0; i < ARRAY_SIZE(writes) * 2; i++) {
		context("XSETBV %u of %#lx in ring %u", writes[i / 2].index, writes[i / 2].value, i % 2 * 3);
		guest_set_mode(g, MODE_LONG, i % 2);
		s = guest_sregs(g);
		s.cr4 |= CR4_OSXSAVE;
		guest_set_sregs(g, &s);
		guest_load(g, CODE64("xsetbv; xgetbv"));
		g->regs.rax = (u32)writes[i / 2].value;
		g->regs.rdx = writes[i / 2].value >> 32;
		g->regs.rcx = writes[i / 2].index;
		guest_start(g);
		if (i % 2 || !writes[i / 2].works)
			expect_trap(g, VECTOR_GP, 0, 0);
		else if (expect_end(g))
			expect_eq(g->regs.rax, writes[i / 2].value);
	}
	host_unchanged();
}

/* CR4.TSD keeps the TSC from ring 3. */
static void test_tsd(void)
{
	struct guest *g = guest_create(MODE_LONG);
	struct kvm_sregs s;

	guest_set_mode(g, MODE_LONG, true);
	s = guest_sregs(g);
	s.cr4 |= CR4_TSD;
	guest_set_sregs(g, &s);
	guest_load(g, CODE64("rdtsc"));
	guest_start(g);
	expect_trap(g, VECTOR_GP, 0, 0);
}

static void test_descriptor_tables(void)
{
	struct guest *g = guest_create(MODE_LONG);
	struct kvm_sregs s;

	host_begin();
	guest_set_gdt(g, SEL_FREE, descriptor(0x9000, 0x67, 0x0089)); /* a TSS, available */
	guest_set_gdt(g, SEL_FREE + 8, 0);
	guest_set_gdt(g, SEL_FREE + 16, descriptor(0xa800, 0x1f, 0x0082)); /* an LDT */
	guest_set_gdt(g, SEL_FREE + 24, 0);
	set_operand(g, 0xfe, GUEST_GDT);
	guest_load(g, CODE64("lgdt (%rsi); lidt (%rsi); mov $0x58, %eax; ltr %ax; mov $0x68, %eax; lldt %ax\n"
			     "sgdt 0x100(%rsi); sidt 0x110(%rsi); str %rbx; sldt %rcx"));
	g->regs.rsi = GUEST_DATA;
	guest_start(g);
	expect_end(g);
	expect_bytes(g->memory + GUEST_DATA + 0x100, g->memory + GUEST_DATA, 10);
	expect_bytes(g->memory + GUEST_DATA + 0x110, g->memory + GUEST_DATA, 10);
	expect_eq(g->regs.rbx, SEL_FREE);
	expect_eq(g->regs.rcx, SEL_FREE + 16);
	s = guest_sregs(g);
	expect_eq(s.tr.base, 0x9000);
	expect_eq(s.tr.limit, 0x67);
	expect_eq(s.ldt.base, 0xa800);
	expect_eq(s.ldt.limit, 0x1f);
	expect_eq(s.gdt.limit, 0xfe);
	expect_eq(s.idt.limit, 0xfe);
	host_unchanged();
}

static void test_machine_status_word(void)
{
	struct guest *g = guest_create(MODE_LONG);

	host_begin();
	guest_load(g, CODE64("mov $0xb, %eax; lmsw %ax; smsw %rbx; mov %cr0, %rcx\n"	       /* TS, MP, PE */
			     "clts; mov %cr0, %rdx; mov $2, %eax; lmsw %ax; mov %cr0, %rsi")); /* PE stays */
	guest_start(g);
	expect_end(g);
	expect_eq(g->regs.rbx, LONG_CR0 | CR0_TS);
	expect_eq(g->regs.rcx, LONG_CR0 | CR0_TS);
	expect_eq(g->regs.rdx, LONG_CR0);
	expect_eq(g->regs.rsi, LONG_CR0);
	host_unchanged();
}

/* A hypercall that nobody knows. Each vendor's CPU has an instruction of its own for it. */
static void test_hypercalls(void)
{
	const bool amd = find_cpuid(supported_cpuid(open_device()), 0, 0)->ebx == signature_AMD_ebx;
	const struct code calls[] = { CODE64("vmcall"), CODE64("vmmcall") };
	struct guest *g = guest_create(MODE_LONG);
	unsigned int ring;

	host_begin();
	for (ring = 0; ring < 4; ring += 3) {
		context("ring %u", ring);
		guest_set_mode(g, MODE_LONG, ring);
		guest_load(g, calls[amd]);
		g->regs.rax = 0x12345;
		guest_start(g);
		expect_runs(g);
		expect_eq(g->regs.rax, ring ? -1ul : -1000ul); /* KVM_EPERM, KVM_ENOSYS */
	}
	host_unchanged();
}

/* Writes the other vendor's hypercall where CS.base leads, and runs it there: our vendor's has to stand there after. */
static void run_foreign_hypercall(struct guest *g, struct code foreign, struct code ours, u64 base)
{
	struct kvm_sregs sregs = guest_sregs(g);

	guest_load(g, foreign);
	sregs.cs.base = base;
	guest_set_sregs(g, &sregs);
	if (g->mode != MODE_LONG)
		g->regs.rip = (u32)(GUEST_CODE - base);
	g->regs.rax = 0x12345;
	expect_eq(guest_start(g), KVM_EXIT_HLT);
	expect_eq((u32)g->regs.rax, (u32)-1000);
	expect(!memcmp(g->memory + GUEST_CODE, ours.start, 3));
}

/* The base of CS counts in no 64-bit code, and in other code the sum with RIP wraps at 4 GiB. SDM, "Segmentation". */
static void test_foreign_hypercalls(void)
{
	const bool amd = find_cpuid(supported_cpuid(open_device()), 0, 0)->ebx == signature_AMD_ebx;
	const struct code calls[] = { CODE64("vmcall"), CODE64("vmmcall") };
	static const struct {
		enum guest_mode mode;
		u64 base;
	} cases[] = {
		{ MODE_LONG, 0 },   { MODE_LONG, 0x12345000 }, { MODE_COMPAT, 0x1000 },
		{ MODE_PROT32, 0 }, { MODE_PROT32, 0x1000 },   { MODE_PROT32, 0xfffff000 },
	};
	struct guest *g = guest_create(MODE_LONG);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		context("mode %u, CS.base %#lx", cases[i].mode, cases[i].base);
		guest_set_mode(g, cases[i].mode, false);
		run_foreign_hypercall(g, calls[!amd], calls[amd], cases[i].base);
	}
}

/* -- CPUID ------------------------------------------------------------------------------------------------------- */

/* What follows from the vCPU's other state: OSXSAVE, APIC id, MONITOR, APIC; OSPKE; the size of XSAVE's area. */
static void mask_dynamic(struct kvm_cpuid_entry2 *e)
{
	if (e->function == 1) {
		e->ebx &= 0x00ffffff;
		e->ecx &= ~(1u << 27 | 1u << 3);
		e->edx &= ~(1u << 9);
	} else if (e->function == 7 && e->index == 0) {
		e->ecx &= ~(1u << 4);
	} else if (e->function == 0xd && e->index < 2) {
		e->ebx = 0;
	}
}

static void compare_leaf(struct guest *g, struct kvm_cpuid_entry2 expected)
{
	struct kvm_cpuid_entry2 seen = expected;

	guest_load(g, CODE64("cpuid"));
	g->regs.rax = expected.function;
	g->regs.rcx = expected.index;
	guest_start(g);
	expect_runs(g);
	seen.eax = g->regs.rax;
	seen.ebx = g->regs.rbx;
	seen.ecx = g->regs.rcx;
	seen.edx = g->regs.rdx;
	mask_dynamic(&expected);
	mask_dynamic(&seen);
	expect_eq(seen.eax, expected.eax);
	expect_eq(seen.ebx, expected.ebx);
	expect_eq(seen.ecx, expected.ecx);
	expect_eq(seen.edx, expected.edx);
}

/* Leaves that are listed, and those between that are not: they are zero. */
static void test_cpuid(void)
{
	static const u32 firsts[] = { 0, 0x40000000, 0x80000000 };
	struct guest *g = guest_create(MODE_LONG);
	struct kvm_cpuid2 *cpuid = supported_cpuid(g->device);
	struct kvm_cpuid_entry2 *first;
	unsigned int i, ring;
	u32 leaf;

	host_begin();
	for (ring = 0; ring < 4; ring += 3) {
		guest_set_mode(g, MODE_LONG, ring);
		for (i = 0; i < cpuid->nent; i++) {
			context("CPUID %#x.%u in ring %u", cpuid->entries[i].function, cpuid->entries[i].index, ring);
			compare_leaf(g, cpuid->entries[i]);
		}
		for (i = 0; i < ARRAY_SIZE(firsts); i++) {
			first = find_cpuid(cpuid, firsts[i], 0);
			for (leaf = firsts[i]; first && leaf <= first->eax; leaf++) {
				context("CPUID %#x, which is not listed", leaf);
				if (!find_cpuid(cpuid, leaf, 0) && leaf != 0xb && leaf != 0x1f)
					compare_leaf(g, (struct kvm_cpuid_entry2){ .function = leaf });
			}
		}
	}
	host_unchanged();
}

/* -- MSRs -------------------------------------------------------------------------------------------------------- */

#define MSR_OUTCOMES 0x30000u /* a byte each */
#define MSR_VALUES 0x40000u   /* 8 bytes each */
#define MSR_RANGE 0x2000u
enum { READ_FAULTED = 1, SAME_FAULTED = 2, ZERO_FAULTED = 4, ONES_FAULTED = 8 };

/*
 * Reads and writes the MSRs from R8D, R9D many. RBX: whether the last access was #GP; the handler goes past it.
 * What was read is written back at last.
 */
static struct code msr_code(void)
{
#define ACCESS(text, bit) "xor %ebx, %ebx\n" text "\nneg %ebx; and $" #bit ", %ebx; or %ebx, %ebp\n"
	return CODE64("lea 9f(%rip), %rax; mov %ax, 0x2000 + 16 * 13\n"
		      "mov $0x30000, %edi; mov $0x40000, %esi; mov %r8d, %ecx\n"
		      "1: xor %ebp, %ebp; xor %eax, %eax; xor %edx, %edx\n"
		      ACCESS("rdmsr", 1) "mov %eax, (%rsi); mov %edx, 4(%rsi)\n"
		      ACCESS("wrmsr", 2)
		      "xor %eax, %eax; xor %edx, %edx\n" ACCESS("wrmsr", 4)
		      "mov $-1, %eax; mov $-1, %edx\n" ACCESS("wrmsr", 8)
		      "mov (%rsi), %eax; mov 4(%rsi), %edx; testb $1, %bpl; jnz 2f\n" ACCESS("wrmsr", 16)
		      "2: mov %bpl, (%rdi); inc %edi; add $8, %esi; inc %ecx; dec %r9d; jnz 1b; int3\n"
		      "9: mov $1, %ebx; addq $2, 8(%rsp); add $8, %rsp; iretq");
}

static void run_msrs(struct guest *g, u32 first)
{
	guest_load(g, msr_code());
	g->regs.r8 = first;
	g->regs.r9 = MSR_RANGE;
	guest_start(g);
	if (g->exit != GUEST_TRAP || g->trap.vector != VECTOR_BP)
		fail("at MSR %#llx: %s", g->regs.rcx, guest_exit_text(g));
}

static const u32 msr_ranges[] = { 0, 0x40000000, 0xc0000000, 0xc0010000 };

/* TSC, and the GHCB MSR of SEV, which stock KVM gives to all guests. */
static bool cannot_be_compared(u32 msr)
{
	return msr == 0x10 || msr == 0xc0010130;
}

/* What a guest reads is what the client gets: the vCPU's and not the host's. Where there is nothing is #GP. */
static void check_msrs(struct guest *g, u32 first)
{
	const u8 *outcomes = g->memory + MSR_OUTCOMES;
	const u64 *values = (void *)(g->memory + MSR_VALUES);
	unsigned int i, readable = 0;
	u64 value;

	for (i = 0; i < MSR_RANGE; i++) {
		if (outcomes[i] & READ_FAULTED)
			continue;
		readable++;
		context("MSR %#x", first + i);
		if (!cannot_be_compared(first + i) && expect(guest_get_msr(g, first + i, &value)))
			expect_eq(values[i], value);
	}
	context("the last MSR from %#x", first);
	expect_eq(outcomes[MSR_RANGE - 1] & (READ_FAULTED | SAME_FAULTED | ZERO_FAULTED | ONES_FAULTED),
		  READ_FAULTED | SAME_FAULTED | ZERO_FAULTED | ONES_FAULTED);
	diag("%u of the MSRs from %#x can be read", readable, first);
}

static void test_msrs(void)
{
	unsigned int i;
	struct guest *g;

	host_begin();
	for (i = 0; i < ARRAY_SIZE(msr_ranges); i++) {
		g = guest_create(MODE_LONG);
		run_msrs(g, msr_ranges[i]);
		check_msrs(g, msr_ranges[i]);
	}
	host_unchanged();
}

static void test_msrs_in_ring_3(void)
{
	struct guest *g = guest_create(MODE_LONG);
	unsigned int i, j;

	host_begin();
	for (i = 0; i < ARRAY_SIZE(msr_ranges); i++) {
		guest_set_mode(g, MODE_LONG, true);
		run_msrs(g, msr_ranges[i]);
		for (j = 0; j < MSR_RANGE; j++)
			if (g->memory[MSR_OUTCOMES + j] != (READ_FAULTED | SAME_FAULTED | ZERO_FAULTED | ONES_FAULTED))
				fail("MSR %#x: outcome %#x", msr_ranges[i] + j, g->memory[MSR_OUTCOMES + j]);
	}
	host_unchanged();
}

/* -- ports ------------------------------------------------------------------------------------------------------- */

/*
 * IN from the even ports, OUT to the odd ones: what lets a port through lets both through. The client's answer is the
 * port's number.
 */
static void test_ports(void)
{
	struct guest *g = guest_create(MODE_LONG);
	u32 port = 0;

	host_begin();
	guest_load(g, CODE64("xor %edx, %edx; 1: in %dx, %al; cmp %al, %dl; jne 2f; inc %edx; out %al, %dx\n"
			     "inc %dx; jnz 1b; hlt; 2: ud2"));
	if (ioctl(g->vcpu, KVM_SET_REGS, &g->regs))
		die("KVM_SET_REGS");
	while (!ioctl(g->vcpu, KVM_RUN, 0) && g->run->exit_reason == KVM_EXIT_IO && g->run->io.port == port % 0x10000 &&
	       g->run->io.direction == (port & 1 ? KVM_EXIT_IO_OUT : KVM_EXIT_IO_IN) && g->run->io.size == 1)
		*(u8 *)guest_io_data(g) = port++;
	expect_eq(g->run->exit_reason, KVM_EXIT_HLT);
	expect_eq(port, 0x10000);
	host_unchanged();
}

/* RBX counts the #GPs; both instructions are one byte long. */
static void test_ports_in_ring_3(void)
{
	struct guest *g = guest_create(MODE_LONG);

	host_begin();
	guest_set_mode(g, MODE_LONG, true);
	guest_load(g, CODE64("lea 9f(%rip), %rax; mov %ax, 0x2000 + 16 * 13; xor %edx, %edx; xor %ebx, %ebx\n"
			     "1: in %dx, %al; out %al, %dx; inc %dx; jnz 1b; int3\n"
			     "9: inc %ebx; incq 8(%rsp); add $8, %rsp; iretq"));
	guest_start(g);
	if (g->exit != GUEST_TRAP || g->trap.vector != VECTOR_BP)
		fail("%s", guest_exit_text(g));
	expect_eq(g->regs.rbx, 2 * 0x10000);
	host_unchanged();
}

/* -- the client's own registers ---------------------------------------------------------------------------------- */

/* Writes to all segment and debug registers, and enables breakpoints. */
static struct guest *meddler(void)
{
	struct guest *g = guest_create(MODE_LONG);

	guest_load(g, CODE64("mov $0x10, %eax; mov %eax, %ds; mov %eax, %es; mov %eax, %fs; mov %eax, %gs\n"
			     "mov $0x800000, %eax; mov %rax, %dr0; mov %rax, %dr1; mov %rax, %dr2; mov %rax, %dr3\n"
			     "mov $0x999904aa, %eax; mov %rax, %dr7; cpuid; out %al, $0x10"));
	return g;
}

/* Selectors of an LDT in all segment registers but those that 64-bit code needs. */
static void test_client_segments(void)
{
	const struct user_desc entry = { .entry_number = 1,
					 .base_addr = 0x1000,
					 .limit = 0xfffff,
					 .seg_32bit = 1,
					 .limit_in_pages = 1,
					 .useable = 1 };
	const u16 selector = 1 << 3 | 4 | 3;
	struct guest *g = meddler();
	struct host after;
	u16 ds, es, gs;
	long r;

	if (syscall(SYS_modify_ldt, 1, &entry, sizeof(entry)))
		skip("no LDT");
	read_host(&before);
	asm volatile(
		"mov %[selector], %%ds; mov %[selector], %%es; mov %[selector], %%gs\n"
		"syscall\n"
		"mov %%ds, %[ds]; mov %%es, %[es]; mov %%gs, %[gs]\n"
		"mov %[zero], %%ds; mov %[zero], %%es; mov %[zero], %%gs"
		: "=a"(r), [ds] "=&r"(ds), [es] "=&r"(es), [gs] "=&r"(gs)
		: "a"(SYS_ioctl), "D"(g->vcpu), "S"(KVM_RUN), "d"(0), [selector] "r"((u32)selector), [zero] "r"(0)
		: "rcx", "r11", "memory");
	read_host(&after);
	expect_eq(r, 0);
	expect_eq(ds, selector);
	expect_eq(es, selector);
	expect_eq(gs, selector);
	expect_eq(after.ldtr, before.ldtr);
	expect_eq(after.fs_base, before.fs_base);
}

static void nothing(int number)
{
	(void)number;
}

/* A signal every millisecond. */
static void start_timer(void)
{
	struct sigaction action = { .sa_handler = nothing };
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
	const struct timespec period = { .tv_nsec = 1000000 };
	const struct itimerspec spec = { .it_interval = period, .it_value = period };
	timer_t timer;

	sigaction(SIGUSR1, &action, NULL);
	if (timer_create(CLOCK_MONOTONIC, &event, &timer) || timer_settime(timer, 0, &spec, NULL))
		die("timer_create");
}

/* A guest that changes its TSC_AUX all the time, now and then to the host's value, and leaves at any moment. */
static void test_client_tsc_aux(void)
{
	struct guest *g = guest_create(MODE_LONG);
	const struct kvm_cpuid_entry2 *e = find_cpuid(supported_cpuid(g->device), 0x80000001, 0);
	u32 aux, i;

	if (!e || !(e->edx >> 27 & 1))
		skip("no RDTSCP");
	host_begin();
	guest_load(g, CODE64("mov $0xc0000103, %ecx; xor %edx, %edx\n"
			     "1: mov %r8d, %eax; wrmsr; mov $0x55, %eax; wrmsr; jmp 1b"));
	g->regs.r8 = before.tsc_aux;
	if (ioctl(g->vcpu, KVM_SET_REGS, &g->regs))
		die("KVM_SET_REGS");
	start_timer();
	for (i = 0; i < 500; i++) {
		expect_errno(ioctl(g->vcpu, KVM_RUN, 0), EINTR);
		asm volatile("rdtscp" : "=c"(aux) : : "eax", "edx");
		if (!expect_eq(aux, before.tsc_aux))
			break;
	}
}

static volatile u64 watched;

static void traced_client(void)
{
	struct guest *g = meddler();

	ptrace(PTRACE_TRACEME, 0, 0, 0);
	raise(SIGSTOP);
	guest_start(g);
	watched = 1; /* SIGTRAP */
	exit(g->exit == KVM_EXIT_IO ? 0 : 1);
}

/* A debugger's breakpoints in the client work after a guest had its own in the same registers. */
static void test_client_breakpoints(void)
{
	pid_t client;
	int status;

	if (emulated_by_qemu())
		skip("QEMU dies when a guest's breakpoints and its host's meet");
	client = fork();
	if (!client)
		traced_client();
	waitpid(client, &status, 0);
	if (ptrace(PTRACE_POKEUSER, client, offsetof(struct user, u_debugreg[0]), &watched) ||
	    ptrace(PTRACE_POKEUSER, client, offsetof(struct user, u_debugreg[7]), 0x90101))
		skip("no hardware breakpoints");
	ptrace(PTRACE_CONT, client, 0, 0);
	waitpid(client, &status, 0);
	if (expect(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP)) {
		expect_eq(ptrace(PTRACE_PEEKUSER, client, offsetof(struct user, u_debugreg[0]), 0), (u64)&watched);
		ptrace(PTRACE_CONT, client, 0, 0);
		waitpid(client, &status, 0);
		expect(WIFEXITED(status) && !WEXITSTATUS(status));
	}
	kill(client, SIGKILL);
}

static const struct test tests[] = {
	{ "control registers", test_control_registers },
	{ "debug registers", test_debug_registers },
	{ "descriptor tables and translations", test_tables },
	{ "other instructions", test_others },
	{ "VMX and SVM instructions", test_virtualization },
	{ "STGI and CLGI", test_global_interrupt_flag },
	{ "XSETBV", test_xsetbv },
	{ "RDTSC with CR4.TSD", test_tsd },
	{ "what LGDT, LIDT, LTR, LLDT load", test_descriptor_tables },
	{ "what LMSW and CLTS change", test_machine_status_word },
	{ "hypercalls", test_hypercalls },
	{ "the other vendor's hypercall", test_foreign_hypercalls },
	{ "every leaf of CPUID", test_cpuid },
	{ "RDMSR and WRMSR of every MSR", test_msrs },
	{ "the same in ring 3", test_msrs_in_ring_3 },
	{ "IN or OUT of every port", test_ports },
	{ "the same in ring 3", test_ports_in_ring_3 },
	{ "the client's segment registers", test_client_segments },
	{ "the client's TSC_AUX", test_client_tsc_aux },
	{ "the client's breakpoints", test_client_breakpoints },
};

KTAP_MAIN(tests)
