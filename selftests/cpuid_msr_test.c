// SPDX-License-Identifier: GPL-2.0
/*
 * cpuid_msr_test - what CPUID, the model-specific registers and XCR0 tell a guest, and what it may set them to.
 */
#include <cpuid.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "guest.h"

#define MSR_TSC 0x10
#define MSR_APIC_BASE 0x1b
#define MSR_TSC_ADJUST 0x3b
#define MSR_MTRR_CAP 0xfe
#define MSR_SYSENTER_CS 0x174
#define MSR_SYSENTER_ESP 0x175
#define MSR_SYSENTER_EIP 0x176
#define MSR_PAT 0x277
#define MSR_MTRR_DEF_TYPE 0x2ff
#define MSR_EFER 0xc0000080
#define MSR_STAR 0xc0000081
#define MSR_LSTAR 0xc0000082
#define MSR_CSTAR 0xc0000083
#define MSR_SFMASK 0xc0000084
#define MSR_FS_BASE 0xc0000100
#define MSR_GS_BASE 0xc0000101
#define MSR_KERNEL_GS_BASE 0xc0000102
#define MSR_TSC_AUX 0xc0000103

#define NOT_CANONICAL 0x0000900000000000ull
#define CANONICAL 0xffff900000000000ull

static struct kvm_cpuid2 *new_cpuid(u32 nent)
{
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + (nent + 1) * sizeof(cpuid->entries[0]));

	cpuid->nent = nent;
	return cpuid;
}

static bool guest_has(struct guest *g, u32 function, unsigned int reg, unsigned int bit)
{
	const struct kvm_cpuid_entry2 *e = find_cpuid(supported_cpuid(g->device), function, 0);

	return e && (&e->eax)[reg] & 1u << bit;
}

enum { EAX, EBX, ECX, EDX };

/* -- KVM_GET_SUPPORTED_CPUID ------------------------------------------------------------------------------------- */

static void supported_list(void)
{
	int device = open_device();
	struct kvm_cpuid2 *all = supported_cpuid(device), *other;
	u32 i, k;

	expect(all->nent > 0);
	for (i = 0; i < all->nent; i++)
		for (k = 0; k < i; k++)
			if (all->entries[i].function == all->entries[k].function &&
			    all->entries[i].index == all->entries[k].index)
				fail("leaf %#x, subleaf %u is there twice", all->entries[i].function,
				     all->entries[i].index);
	other = new_cpuid(0);
	expect_errno(ioctl(device, KVM_GET_SUPPORTED_CPUID, other), E2BIG);
	other = new_cpuid(all->nent - 1);
	expect_errno(ioctl(device, KVM_GET_SUPPORTED_CPUID, other), E2BIG);
	other = new_cpuid(all->nent);
	expect_errno(ioctl(device, KVM_GET_SUPPORTED_CPUID, other), 0);
	expect_eq(other->nent, all->nent);
	expect_bytes(other->entries, all->entries, all->nent * sizeof(all->entries[0]));
}

/* Features that the host's CPU need not have: the module provides them, or the kernel has a way of its own. */
static void supported_by_host(void)
{
	static const struct {
		u32 function;
		u8 reg;
		u32 provided;
	} rows[] = {
		{ 1, ECX, 1u << 31 | 1 << 24 | 1 << 21 /* hypervisor, TSC deadline, x2APIC */ },
		{ 1, EDX, 0 },
		{ 7, EBX, 1 << 1 /* TSC_ADJUST */ },
		{ 7, ECX, 1 << 2 /* UMIP */ },
		{ 7, EDX, 7u << 26 | 1 << 29 | 1u << 31 /* speculation control by other names */ },
		{ 0x80000001, ECX, 0 },
		{ 0x80000001, EDX, 1 << 20 | 1 << 11 /* NX, SYSCALL */ },
		{ 0x80000007, EBX, 0 },
		{ 0xd, EAX, 0 },
		{ 0xd, EDX, 0 },
	};
	int device = open_device();
	struct kvm_cpuid2 *all = supported_cpuid(device);
	const struct kvm_cpuid_entry2 *e;
	u32 i, host[4];

	e = find_cpuid(all, 0, 0);
	if (expect(e)) {
		__cpuid(0, host[EAX], host[EBX], host[ECX], host[EDX]);
		expect_eq(e->ebx, host[EBX]);
		expect_eq(e->ecx, host[ECX]);
		expect_eq(e->edx, host[EDX]);
	}
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		context("leaf %#x, register %u", rows[i].function, rows[i].reg);
		e = find_cpuid(all, rows[i].function, 0);
		if (!e)
			continue;
		__cpuid_count(rows[i].function, 0, host[EAX], host[EBX], host[ECX], host[EDX]);
		expect_eq((&e->eax)[rows[i].reg] & ~host[rows[i].reg] & ~rows[i].provided, 0);
	}
	context("%s", "");
	e = find_cpuid(all, 0x40000000, 0);
	if (expect(e))
		expect_bytes(&e->ebx, "KVMKVMKVM\0\0\0", 12);
}

/* -- CPUID in the guest ------------------------------------------------------------------------------------------ */

/* Bits that follow the vCPU's state, not the client's list. */
static u32 dynamic_bits(const struct kvm_cpuid_entry2 *e, unsigned int reg)
{
	if (e->function == 1)
		return reg == ECX ? 1u << 27 : reg == EDX ? 1u << 9 : 0;
	if (e->function == 7 && reg == ECX)
		return 1u << 4;
	if (e->function == 0xd && e->index < 2 && reg == EBX)
		return ~0u;
	return 0;
}

static void expect_guest_cpuid(struct guest *g, const struct kvm_cpuid_entry2 *e)
{
	const u64 seen[] = { g->regs.rax, g->regs.rbx, g->regs.rcx, g->regs.rdx };
	unsigned int reg;

	for (reg = EAX; reg <= EDX; reg++) {
		u32 mask = ~dynamic_bits(e, reg);

		expect_eq(seen[reg] >> 32, 0);
		expect_eq(seen[reg] & mask, (&e->eax)[reg] & mask);
	}
}

static void run_cpuid(struct guest *g, u32 function, u32 index)
{
	guest_load(g, CODE64("cpuid"));
	g->regs.rax = 0xffffffff00000000 | function;
	g->regs.rcx = 0xffffffff00000000 | index;
	g->regs.rbx = g->regs.rdx = ~0ull;
	guest_start(g);
	expect_end(g);
}

/* What the client has set is what it gets back, and what the guest sees, down to the name. */
static void guest_sees(void)
{
	struct guest *g = guest_create(MODE_LONG);
	struct kvm_cpuid2 *set = supported_cpuid(g->device), *back = new_cpuid(256);
	struct kvm_cpuid_entry2 *name = find_cpuid(set, 0x80000002, 0);
	u32 i;

	if (name)
		memcpy(&name->eax, "a CPU of my own.", 16);
	find_cpuid(set, 1, 0)->ebx = 0x12345678;
	expect_errno(ioctl(g->vcpu, KVM_SET_CPUID2, set), 0);
	expect_errno(ioctl(g->vcpu, KVM_GET_CPUID2, back), 0);
	for (i = 0; i < set->nent; i++) {
		const struct kvm_cpuid_entry2 *e = &set->entries[i];

		context("leaf %#x, subleaf %u", e->function, e->index);
		expect_eq(back->entries[i].function, e->function);
		expect_eq(back->entries[i].index, e->index);
		expect_eq(back->entries[i].eax, e->eax);
		run_cpuid(g, e->function, e->index);
		expect_guest_cpuid(g, e);
	}
}

/* SDM volume 2, "CPUID": a leaf above the highest basic one returns that one's data. On AMD's CPUs it is zeros. */
static void beyond_last_leaf(void)
{
	struct guest *g = guest_create(MODE_LONG);
	struct kvm_cpuid2 *cpuid = supported_cpuid(g->device);
	const struct kvm_cpuid_entry2 *first = find_cpuid(cpuid, 0, 0), *last = find_cpuid(cpuid, first->eax, 0);
	static const struct kvm_cpuid_entry2 zeros;

	run_cpuid(g, first->eax + 1, 0);
	if (first->ebx == 0x756e6547 /* Genu */)
		expect_guest_cpuid(g, last ? last : &zeros);
	else
		expect_guest_cpuid(g, &zeros);
}

static void mirrors(void)
{
	const struct code osxsave =
		CODE64("mov $1, %eax; cpuid; mov %ecx, %esi; mov %cr4, %rax; or $0x40000, %eax;"
		       "mov %rax, %cr4; mov $1, %eax; cpuid; mov %ecx, %edi");
	const struct code apic = CODE64("mov $0x1b, %ecx; rdmsr; and $0xfffff7ff, %eax; wrmsr; mov $1, %eax; cpuid");
	struct guest *g = guest_create(MODE_LONG);

	context("OSXSAVE");
	guest_load(g, osxsave);
	guest_start(g);
	expect_end(g);
	expect_eq(g->regs.rsi >> 27 & 1, 0);
	expect_eq(g->regs.rdi >> 27 & 1, 1);
	guest_destroy(g);

	context("APIC");
	g = guest_create_vm();
	expect_errno(ioctl(g->vm, KVM_CREATE_IRQCHIP, 0), 0);
	guest_create_vcpu(g);
	guest_set_mode(g, MODE_LONG, false);
	guest_load(g, CODE64("mov $1, %eax; cpuid; out %al, $0x80"));
	guest_start(g);
	expect_exit(g, KVM_EXIT_IO);
	expect_eq(g->regs.rdx >> 9 & 1, 1);
	memcpy(g->memory + GUEST_CODE + 9, apic.start, apic.end - apic.start);
	memcpy(g->memory + GUEST_CODE + 9 + (apic.end - apic.start), "\xe6\x80", 2);
	guest_run(g);
	expect_exit(g, KVM_EXIT_IO);
	expect_eq(g->regs.rdx >> 9 & 1, 0);
}

/* SDM volume 1, "Enumeration of CPU Support for XSAVE Instructions": EBX of leaf 0Dh goes with XCR0. */
static void xsave_size(void)
{
	const struct code code =
		CODE64("mov %cr4, %rax; or $0x40000, %eax; mov %rax, %cr4; xor %ecx, %ecx;"
		       "xor %edx, %edx; mov $1, %eax; xsetbv; mov $13, %eax; cpuid; mov %ebx, %esi;"
		       "xor %ecx, %ecx; xor %edx, %edx; mov $7, %eax; xsetbv; mov $13, %eax; cpuid");
	struct guest *g = guest_create(MODE_LONG);
	const struct kvm_cpuid_entry2 *e = find_cpuid(supported_cpuid(g->device), 0xd, 2);

	if (!e)
		skip("there is no AVX");
	if (emulated_by_qemu())
		skip("QEMU does not intercept XSETBV");
	guest_load(g, code);
	guest_start(g);
	expect_end(g);
	expect_eq(g->regs.rsi, 576);
	expect_eq(g->regs.rbx, e->eax + e->ebx);
}

/* Features that the client's CPUID leaves out are not there. */
static void left_out(void)
{
	const struct {
		const char *name;
		u32 function;
		u8 reg, bit;
		struct code code;
		u8 offset;
	} rows[] = {
		{ "XSAVE: CR4.OSXSAVE", 1, ECX, 26, CODE64("mov %cr4, %rax; or $0x40000, %eax; mov %rax, %cr4"), 8 },
		{ "PCID: CR4.PCIDE", 1, ECX, 17, CODE64("mov %cr4, %rax; or $0x20000, %eax; mov %rax, %cr4"), 8 },
		{ "SMEP: CR4.SMEP", 7, EBX, 7, CODE64("mov %cr4, %rax; or $0x100000, %eax; mov %rax, %cr4"), 8 },
		{ "NX: EFER.NXE", 0x80000001, EDX, 20, CODE64("mov $0xc0000080, %ecx; rdmsr; or $0x800, %eax; wrmsr"),
		  12 },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct guest *g = guest_create(MODE_LONG);
		struct kvm_cpuid2 *cpuid = supported_cpuid(g->device);
		struct kvm_cpuid_entry2 *e = find_cpuid(cpuid, rows[i].function, 0);

		context("%s", rows[i].name);
		if (e)
			(&e->eax)[rows[i].reg] &= ~(1u << rows[i].bit);
		expect_errno(ioctl(g->vcpu, KVM_SET_CPUID2, cpuid), 0);
		guest_load(g, rows[i].code);
		guest_start(g);
		expect_trap(g, VECTOR_GP, 0, rows[i].offset);
		guest_destroy(g);
	}
}

/* -- MSRs by the client ------------------------------------------------------------------------------------------ */

static struct kvm_msr_list *msr_list(int device)
{
	struct kvm_msr_list *list = calloc(1, sizeof(*list) + 1024 * sizeof(list->indices[0]));

	list->nmsrs = 1024;
	if (ioctl(device, KVM_GET_MSR_INDEX_LIST, list))
		die("KVM_GET_MSR_INDEX_LIST");
	return list;
}

static void list_sizes(void)
{
	int device = open_device();
	struct kvm_msr_list *list = msr_list(device), *other = msr_list(device);
	u32 i, k;

	expect(list->nmsrs > 0);
	for (i = 0; i < list->nmsrs; i++)
		for (k = 0; k < i; k++)
			if (list->indices[i] == list->indices[k])
				fail("MSR %#x is there twice", list->indices[i]);
	other->nmsrs = 0;
	expect_errno(ioctl(device, KVM_GET_MSR_INDEX_LIST, other), E2BIG);
	expect_eq(other->nmsrs, list->nmsrs);
	other->nmsrs = list->nmsrs;
	expect_errno(ioctl(device, KVM_GET_MSR_INDEX_LIST, other), 0);
	expect_bytes(other->indices, list->indices, list->nmsrs * sizeof(list->indices[0]));
}

/* Each listed MSR can be read, and takes back what was read: that is how state is saved and loaded. */
static void listed_msrs(void)
{
	struct guest *g = guest_create_vm();
	struct kvm_msr_list *list = msr_list(g->device);
	u64 value;
	u32 i;

	expect_errno(ioctl(g->vm, KVM_CREATE_IRQCHIP, 0), 0);
	guest_create_vcpu(g);
	for (i = 0; i < list->nmsrs; i++) {
		context("MSR %#x", list->indices[i]);
		if (expect(guest_get_msr(g, list->indices[i], &value)))
			expect(guest_set_msr(g, list->indices[i], value));
	}
}

/* The calls stop at the first MSR that is refused, and tell how many went before. */
static void lists_of_msrs(void)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entries[4];
	} msrs = { .head.nmsrs = 4,
		   .entries = { { .index = MSR_LSTAR, .data = CANONICAL },
				{ .index = MSR_STAR, .data = 0x11 },
				{ .index = MSR_PAT, .data = 2 },
				{ .index = MSR_SFMASK, .data = 0x22 } } };
	struct guest *g = guest_create(MODE_LONG);
	u64 value;

	expect_eq(ioctl(g->vcpu, KVM_SET_MSRS, &msrs), 2);
	expect(guest_get_msr(g, MSR_STAR, &value));
	expect_eq(value, 0x11);
	expect(guest_get_msr(g, MSR_SFMASK, &value));
	expect_eq(value, 0);
	msrs.entries[2].index = 0x12345678;
	memset(&msrs.entries[0].data, 0, 8);
	expect_eq(ioctl(g->vcpu, KVM_GET_MSRS, &msrs), 2);
	expect_eq(msrs.entries[0].data, CANONICAL);
	msrs.head.nmsrs = 0;
	expect_eq(ioctl(g->vcpu, KVM_GET_MSRS, &msrs), 0);
}

/* -- MSRs by the guest ------------------------------------------------------------------------------------------- */

struct msr_row {
	const char *name;
	u32 msr;
	u64 value;
	bool refused;
	bool in_vmcb; /* AMD: not intercepted, so the CPU does the checks, and QEMU has none */
};

static const struct msr_row msr_rows[] = {
	{ "EFER: SCE", MSR_EFER, EFER_LME | EFER_LMA | EFER_SCE, false, false },
	{ "EFER: NXE", MSR_EFER, EFER_LME | EFER_LMA | EFER_NX, false, false },
	{ "EFER: bit 63", MSR_EFER, EFER_LME | EFER_LMA | 1ull << 63, true, false },
	{ "PAT: all types", MSR_PAT, 0x0007010406050600, false, false },
	{ "PAT: type 2", MSR_PAT, 0x0007040600070206, true, false },
	{ "PAT: type 3", MSR_PAT, 0x0307040600070406, true, false },
	{ "PAT: type 8", MSR_PAT, 0x0007040600070408, true, false },
	{ "STAR", MSR_STAR, 0x0123456789abcdef, false, true },
	{ "LSTAR", MSR_LSTAR, CANONICAL, false, true },
	{ "LSTAR: not canonical", MSR_LSTAR, NOT_CANONICAL, true, true },
	{ "CSTAR", MSR_CSTAR, CANONICAL, false, true },
	{ "CSTAR: not canonical", MSR_CSTAR, NOT_CANONICAL, true, true },
	{ "SFMASK", MSR_SFMASK, 0x47700, false, true },
	{ "FS base", MSR_FS_BASE, CANONICAL, false, true },
	{ "FS base: not canonical", MSR_FS_BASE, NOT_CANONICAL, true, true },
	{ "GS base", MSR_GS_BASE, 0x00007fffffffffff, false, true },
	{ "GS base: not canonical", MSR_GS_BASE, NOT_CANONICAL, true, true },
	{ "KERNEL_GS_BASE", MSR_KERNEL_GS_BASE, CANONICAL, false, true },
	{ "KERNEL_GS_BASE: not canonical", MSR_KERNEL_GS_BASE, 0x0000800000000000, true, true },
	{ "SYSENTER_CS", MSR_SYSENTER_CS, SEL_CS32, false, true },
	{ "SYSENTER_ESP", MSR_SYSENTER_ESP, 0x12345678, false, true },
	{ "SYSENTER_EIP", MSR_SYSENTER_EIP, 0x87654321, false, true },
	{ "MTRR capabilities", MSR_MTRR_CAP, 0x508, true, false },
	{ "MTRR default type: write-back", MSR_MTRR_DEF_TYPE, 0xc06, false, false },
	{ "MTRR default type: 2", MSR_MTRR_DEF_TYPE, 0xc02, true, false },
	{ "variable MTRR 0: base", 0x200, 0x80000001, false, false },
	{ "variable MTRR 0: type 3", 0x200, 0x80000003, true, false },
	{ "fixed MTRR", 0x250, 0x0605040100000000, false, false },
	{ "fixed MTRR: type 2", 0x250, 0x0606060606060602, true, false },
};

/* WRMSR takes a value, and RDMSR and the client see it; or it is #GP(0), and nothing has changed. */
static void msr_row(const struct msr_row *row)
{
	const struct code code = CODE64("wrmsr; xor %eax, %eax; mov $-1, %rdx; rdmsr");
	struct guest *g = guest_create(MODE_LONG);
	u64 before, after;

	context("%s", row->name);
	expect(guest_get_msr(g, row->msr, &before));
	guest_load(g, code);
	g->regs.rcx = row->msr;
	g->regs.rax = 0x1234567800000000 | (u32)row->value;
	g->regs.rdx = 0x1234567800000000 | row->value >> 32;
	guest_start(g);
	expect(guest_get_msr(g, row->msr, &after));
	if (row->refused && !(row->in_vmcb && emulated_by_qemu())) {
		expect_trap(g, VECTOR_GP, 0, 0);
		expect_eq(after, before);
	} else if (!row->refused) {
		expect_end(g);
		expect_eq(g->regs.rax, (u32)row->value);
		expect_eq(g->regs.rdx, row->value >> 32);
		expect_eq(after, row->value);
	}
	guest_destroy(g);
}

static void guest_msrs(void)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(msr_rows); i++)
		msr_row(&msr_rows[i]);
}

/* What a guest may not set a client may not either. */
static void client_msrs(void)
{
	struct guest *g = guest_create(MODE_LONG);
	u64 before, after;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(msr_rows); i++) {
		const struct msr_row *row = &msr_rows[i];

		context("%s", row->name);
		if (row->msr == MSR_MTRR_CAP)
			continue;
		expect(guest_get_msr(g, row->msr, &before));
		expect_eq(guest_set_msr(g, row->msr, row->value), !row->refused);
		expect(guest_get_msr(g, row->msr, &after));
		expect_eq(after, row->refused ? before : row->value);
	}
}

/* The MSRs of the bases are the bases. */
static void segment_bases(void)
{
	struct guest *g = guest_create(MODE_LONG);
	struct kvm_sregs s;

	*(u64 *)(g->memory + GUEST_DATA) = 0x1111;
	*(u64 *)(g->memory + GUEST_DATA + 8) = 0x2222;
	guest_load(g, CODE64("mov $0xc0000100, %ecx; wrmsr; inc %ecx; add $8, %eax; wrmsr;"
			     "mov %fs:0, %rbx; mov %gs:0, %rsi; inc %ecx; wrmsr; swapgs; mov %gs:0, %rdi"));
	g->regs.rax = GUEST_DATA;
	guest_start(g);
	expect_end(g);
	expect_eq(g->regs.rbx, 0x1111);
	expect_eq(g->regs.rsi, 0x2222);
	expect_eq(g->regs.rdi, 0x2222);
	s = guest_sregs(g);
	expect_eq(s.fs.base, GUEST_DATA);
	expect_eq(s.gs.base, GUEST_DATA + 8);
}

/* SYSCALL goes where STAR, LSTAR and SFMASK say. */
static void system_call(void)
{
	const struct code code = CODE64("nop; syscall");
	struct guest *g = guest_create(MODE_LONG);
	struct kvm_sregs s;

	guest_set_mode(g, MODE_LONG, true);
	s = guest_sregs(g);
	s.efer |= EFER_SCE;
	guest_set_sregs(g, &s);
	expect(guest_set_msr(g, MSR_STAR, (u64)SEL_CS64 << 32));
	expect(guest_set_msr(g, MSR_LSTAR, GUEST_CODE + 0x100));
	expect(guest_set_msr(g, MSR_SFMASK, RFLAGS_DF | RFLAGS_TF));
	memcpy(g->memory + GUEST_CODE + 0x100, "\xe6\x80", 2); /* out %al, $0x80 */
	guest_load(g, code);
	g->regs.rflags |= RFLAGS_DF | RFLAGS_IOPL;
	guest_start(g);
	if (!expect_exit(g, KVM_EXIT_IO))
		return;
	s = guest_sregs(g);
	expect_eq(s.cs.selector, SEL_CS64);
	expect_eq(s.cs.dpl, 0);
	expect_eq(s.cs.l, 1);
	expect_eq(s.ss.selector, SEL_CS64 + 8);
	expect_eq(g->regs.rcx, GUEST_CODE + 3);
	expect_eq(g->regs.r11 & (RFLAGS_DF | RFLAGS_IOPL), RFLAGS_DF | RFLAGS_IOPL);
	expect_eq(g->regs.rflags & (RFLAGS_DF | RFLAGS_IOPL), RFLAGS_IOPL);
	expect_eq(g->regs.rsp, GUEST_STACK);
}

/* SYSENTER goes where its MSRs say. */
static void system_enter(void)
{
	const struct code code = CODE32("nop; sysenter");
	struct guest *g = guest_create(MODE_PROT32);
	struct kvm_sregs s;

	guest_set_mode(g, MODE_PROT32, true);
	expect(guest_set_msr(g, MSR_SYSENTER_CS, SEL_CS32));
	expect(guest_set_msr(g, MSR_SYSENTER_ESP, GUEST_TRAP_STACK));
	expect(guest_set_msr(g, MSR_SYSENTER_EIP, GUEST_CODE + 0x100));
	memcpy(g->memory + GUEST_CODE + 0x100, "\xe6\x80", 2);
	guest_load(g, code);
	guest_start(g);
	if (!expect_exit(g, KVM_EXIT_IO))
		return;
	s = guest_sregs(g);
	expect_eq(s.cs.selector, SEL_CS32);
	expect_eq(s.cs.dpl, 0);
	expect_eq(s.ss.selector, SEL_DS32);
	expect_eq(g->regs.rsp, GUEST_TRAP_STACK);
}

/* -- the time-stamp counter -------------------------------------------------------------------------------------- */

/* Never runs backwards, by whichever way it is read, and whatever exits come between. */
static void tsc_goes_on(void)
{
	const struct code code =
		CODE64("mov $1000, %r8d; xor %ebx, %ebx\n"
		       "1: rdtsc; call 2f; push %rbx; xor %eax, %eax; cpuid; pop %rbx\n"
		       "mov $0x10, %ecx; rdmsr; call 2f; dec %r8d; jnz 1b; out %al, $0x80; jmp 1b\n"
		       "2: shl $32, %rdx; or %rdx, %rax; cmp %rbx, %rax; jb 3f; mov %rax, %rbx; ret\n"
		       "3: ud2");
	struct guest *g = guest_create(MODE_LONG);
	u64 value, last;

	expect(ioctl(g->vcpu, KVM_GET_TSC_KHZ, 0) > 0);
	guest_load(g, code);
	guest_start(g);
	if (!expect_exit(g, KVM_EXIT_IO))
		return;
	last = g->regs.rbx;
	expect(guest_get_msr(g, MSR_TSC, &value));
	expect(value >= last);
	g->regs.r8 = 10;
	expect_errno(ioctl(g->vcpu, KVM_SET_REGS, &g->regs), 0);
	guest_run(g);
	expect_exit(g, KVM_EXIT_IO);
	expect(g->regs.rbx >= value);
}

#define JUMP (1ull << 45)

/* SDM volume 3, "Time-Stamp Counter Adjustment": the two MSRs move together. */
static void tsc_adjust(void)
{
	const struct code write_adjust =
		CODE64("rdtsc; shl $32, %rdx; lea (%rdx, %rax), %rsi; xor %eax, %eax;"
		       "mov $0x2000, %edx; mov $0x3b, %ecx; wrmsr; rdtsc; shl $32, %rdx; add %rdx, %rax");
	const struct code write_tsc =
		CODE64("mov $0x10, %ecx; rdmsr; add $0x2000, %edx; wrmsr; mov $0x3b, %ecx; rdmsr;"
		       "shl $32, %rdx; add %rdx, %rax");
	struct guest *g = guest_create(MODE_LONG);

	if (!guest_has(g, 7, EBX, 1))
		skip("there is no TSC_ADJUST");
	context("adjust moves the TSC");
	guest_load(g, write_adjust);
	guest_start(g);
	expect_end(g);
	expect(g->regs.rax - g->regs.rsi >= JUMP);
	expect(g->regs.rax - g->regs.rsi < 2 * JUMP);

	context("a write to the TSC moves the adjust");
	guest_load(g, write_tsc);
	guest_start(g);
	expect_end(g);
	expect(g->regs.rax > JUMP && g->regs.rax <= 2 * JUMP);
}

/* RDTSCP brings TSC_AUX along. */
static void tsc_aux(void)
{
	struct guest *g = guest_create(MODE_LONG);

	if (!guest_has(g, 0x80000001, EDX, 27))
		skip("there is no RDTSCP");
	guest_load(g, CODE64("mov $0xc0000103, %ecx; mov $0x55aa, %eax; xor %edx, %edx; wrmsr; rdtscp; mov %ecx, %ebx;"
			     "out %al, $0x80; rdtscp"));
	guest_start(g);
	expect_exit(g, KVM_EXIT_IO);
	expect_eq(g->regs.rbx, 0x55aa);
	expect(guest_set_msr(g, MSR_TSC_AUX, 0x66));
	guest_run(g);
	expect_end(g);
	expect_eq(g->regs.rcx, 0x66);
}

/* -- the local APIC's base --------------------------------------------------------------------------------------- */

static void apic_base(void)
{
	static const struct {
		const char *name;
		u32 value;
		bool refused;
	} rows[] = {
		{ "as it is", 0xfee00900, false },	{ "off", 0xfee00100, false },
		{ "x2APIC", 0xfee00d00, false },	{ "x2APIC but off", 0xfee00500, true },
		{ "a reserved bit", 0xfee00901, true },
	};
	const struct code code = CODE64("wrmsr; rdmsr; out %al, $0x80");
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct guest *g = guest_create_vm();
		u64 value;

		context("%s", rows[i].name);
		expect_errno(ioctl(g->vm, KVM_CREATE_IRQCHIP, 0), 0);
		guest_create_vcpu(g);
		guest_set_mode(g, MODE_LONG, false);
		guest_load(g, code);
		g->regs.rcx = MSR_APIC_BASE;
		g->regs.rax = rows[i].value;
		guest_start(g);
		expect(guest_get_msr(g, MSR_APIC_BASE, &value));
		if (rows[i].refused) {
			expect_trap(g, VECTOR_GP, 0, 0);
			expect_eq(value, 0xfee00900);
		} else {
			expect_exit(g, KVM_EXIT_IO);
			expect_eq(g->regs.rax, rows[i].value);
			expect_eq(value, rows[i].value);
			expect_eq(guest_sregs(g).apic_base, rows[i].value);
			expect_eq(g->run->apic_base, rows[i].value);
		}
		guest_destroy(g);
	}
}

/* -- XCR0 -------------------------------------------------------------------------------------------------------- */

/* SDM volume 2, "XSETBV". */
static void xsetbv(void)
{
	static const struct {
		const char *name;
		u32 xcr;
		u64 value;
		bool osxsave, user, avx;
		int vector; /* or -1 */
	} rows[] = {
		{ "x87", 0, 1, true, false, false, -1 },
		{ "x87 and SSE", 0, 3, true, false, false, -1 },
		{ "x87, SSE and AVX", 0, 7, true, false, true, -1 },
		{ "nothing", 0, 0, true, false, false, VECTOR_GP },
		{ "SSE without x87", 0, 2, true, false, false, VECTOR_GP },
		{ "AVX without SSE", 0, 5, true, false, false, VECTOR_GP },
		{ "bit 63", 0, 1ull << 63 | 3, true, false, false, VECTOR_GP },
		{ "XCR1", 1, 1, true, false, false, VECTOR_GP },
		{ "ring 3", 0, 1, true, true, false, VECTOR_GP },
		{ "without OSXSAVE", 0, 1, false, false, false, VECTOR_UD },
	};
	const struct code code = CODE64("xsetbv; xor %ecx, %ecx; xgetbv");
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct guest *g = guest_create(MODE_LONG);
		struct kvm_xcrs xcrs;
		struct kvm_sregs s;

		context("%s", rows[i].name);
		if (rows[i].avx && !guest_has(g, 1, ECX, 28))
			continue;
		guest_set_mode(g, MODE_LONG, rows[i].user);
		s = guest_sregs(g);
		s.cr4 |= rows[i].osxsave ? CR4_OSXSAVE : 0;
		guest_set_sregs(g, &s);
		guest_load(g, code);
		g->regs.rcx = rows[i].xcr;
		g->regs.rax = (u32)rows[i].value;
		g->regs.rdx = rows[i].value >> 32;
		guest_start(g);
		expect_errno(ioctl(g->vcpu, KVM_GET_XCRS, &xcrs), 0);
		if (rows[i].vector < 0) {
			expect_end(g);
			expect_eq(g->regs.rax, rows[i].value);
			/* QEMU does not intercept XSETBV: nobody but the CPU knows. */
			if (!emulated_by_qemu())
				expect_eq(xcrs.xcrs[0].value, rows[i].value);
		} else {
			expect_trap(g, rows[i].vector, rows[i].vector == VECTOR_GP ? 0 : NO_ERROR, 0);
			expect_eq(xcrs.xcrs[0].value, 1);
		}
		guest_destroy(g);
	}
}

static const struct test tests[] = {
	{ "KVM_GET_SUPPORTED_CPUID", supported_list },
	{ "nothing is supported that the host lacks", supported_by_host },
	{ "the guest sees what was set", guest_sees },
	{ "beyond the last leaf", beyond_last_leaf },
	{ "bits that mirror state", mirrors },
	{ "size of the XSAVE area", xsave_size },
	{ "features that were left out", left_out },
	{ "KVM_GET_MSR_INDEX_LIST", list_sizes },
	{ "listed MSRs", listed_msrs },
	{ "lists of MSRs", lists_of_msrs },
	{ "MSRs set by the guest", guest_msrs },
	{ "MSRs set by the client", client_msrs },
	{ "segment bases", segment_bases },
	{ "SYSCALL", system_call },
	{ "SYSENTER", system_enter },
	{ "TSC", tsc_goes_on },
	{ "TSC_ADJUST", tsc_adjust },
	{ "TSC_AUX", tsc_aux },
	{ "APIC_BASE", apic_base },
	{ "XSETBV", xsetbv },
};

KTAP_MAIN(tests)
