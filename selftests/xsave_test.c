// SPDX-License-Identifier: GPL-2.0
/*
 * xsave_test - the forms of XSAVE that CPUID leaf 0Dh, subleaf 1 tells of, and IA32_XSS. Source: SDM volume 1, "Managing
 * State Using the XSAVE Feature Set".
 */
#include <cpuid.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "guest.h"

#define MSR_XSS 0xda0

enum { XSAVEOPT, XSAVEC, XGETBV1, XSAVES };

#define SIZE_LEGACY 576
#define XMM1 176
#define XSTATE_BV 512
#define XCOMP_BV 520
#define COMPACTED (1ul << 63)
#define SSE (1ul << 1)
#define ALL_FP_SSE 3

/* Sets CR4.OSXSAVE, OSFXSR and XCR0 = EBP; XMM1 is in use then, and EDX:EAX asks for all components. */
#define ENABLE                                                                                                       \
	"mov %cr4, %rax; or $0x40600, %eax; mov %rax, %cr4; xor %ecx, %ecx; xor %edx, %edx; mov %ebp, %eax; xsetbv;" \
	"pcmpeqb %xmm1, %xmm1; mov $-1, %edx; mov $-1, %eax;"

static const struct kvm_cpuid_entry2 *leaf(struct guest *g, u32 index)
{
	return find_cpuid(supported_cpuid(g->device), 0xd, index);
}

static bool has(struct guest *g, unsigned int form)
{
	const struct kvm_cpuid_entry2 *e = leaf(g, 1);

	return e && (e->eax & 1u << form);
}

static u64 supported_xcr0(struct guest *g)
{
	const struct kvm_cpuid_entry2 *e = leaf(g, 0);

	return e ? e->eax | (u64)e->edx << 32 : 0;
}

static void without(struct guest *g, unsigned int form)
{
	struct kvm_cpuid2 *cpuid = supported_cpuid(g->device);
	struct kvm_cpuid_entry2 *e = find_cpuid(cpuid, 0xd, 1);

	if (e)
		e->eax &= ~(1u << form);
	expect_errno(ioctl(g->vcpu, KVM_SET_CPUID2, cpuid), 0);
}

static u64 word(struct guest *g, u32 offset)
{
	return *(u64 *)(g->memory + GUEST_FREE + offset);
}

/* The area is ones before: what is written shows. */
static void run(struct guest *g, struct code code, u64 xcr0)
{
	memset(g->memory + GUEST_FREE, 0xff, 0x4000);
	memset(g->memory + GUEST_FREE + XSTATE_BV, 0, 64);
	guest_load(g, code);
	g->regs.rbp = xcr0;
	g->regs.rdi = GUEST_FREE;
	guest_start(g);
	expect_end(g);
}

static u32 written(struct guest *g)
{
	u32 size = 0x4000;

	while (size && g->memory[GUEST_FREE + size - 1] == 0xff)
		size--;
	return size;
}

/* Of two components XMM is in use; x87 is as after reset, and the optimizing forms need not write it. */
static void optimized(void)
{
	struct guest *g = guest_create(MODE_LONG);

	if (!has(g, XSAVEOPT))
		skip("there is no XSAVEOPT");
	run(g, CODE64(ENABLE "xsaveopt64 (%rdi)"), ALL_FP_SSE);
	expect_eq(word(g, XSTATE_BV) & SSE, SSE);
	expect_eq(word(g, XCOMP_BV), 0);
	expect_eq(word(g, XMM1), ~0ul);
}

/* Subleaf 1's EBX is where the last component ends: what is enabled, not what is in use. */
static void expect_compacted(struct guest *g, u64 xcr0)
{
	run(g,
	    CODE64("mov %cr4, %rax; or $0x40600, %eax; mov %rax, %cr4; xor %ecx, %ecx; xor %edx, %edx;"
		   "mov %ebp, %eax; xsetbv; mov $13, %eax; mov $1, %ecx; cpuid"),
	    xcr0);
	expect(g->regs.rbx >= SIZE_LEGACY);
	expect(g->regs.rbx <= leaf(g, 1)->ebx);
	if (xcr0 == supported_xcr0(g))
		expect_eq(g->regs.rbx, leaf(g, 1)->ebx);
	if (xcr0 == ALL_FP_SSE)
		expect_eq(g->regs.rbx, SIZE_LEGACY);
}

static void sizes(void)
{
	struct guest *g = guest_create(MODE_LONG);
	u64 all = supported_xcr0(g);

	if (!has(g, XSAVEC) && !has(g, XSAVES))
		skip("there is no compacted form");
	expect_compacted(g, ALL_FP_SSE);
	guest_destroy(g);
	g = guest_create(MODE_LONG);
	expect_compacted(g, all);
}

static void compacted(void)
{
	struct guest *g = guest_create(MODE_LONG);
	u64 all = supported_xcr0(g);

	if (!has(g, XSAVEC))
		skip("there is no XSAVEC");
	run(g, CODE64(ENABLE "xsavec64 (%rdi)"), all);
	expect_eq(word(g, XCOMP_BV), COMPACTED | all);
	expect_eq(word(g, XSTATE_BV) & SSE, SSE);
	expect_eq(word(g, XMM1), ~0ul);
	expect(written(g) <= leaf(g, 1)->ebx);
}

/* XSAVES, then XRSTORS after the register has changed. */
static void supervisor(void)
{
	struct guest *g = guest_create(MODE_LONG);
	u64 all = supported_xcr0(g);

	if (!has(g, XSAVES))
		skip("there is no XSAVES");
	run(g,
	    CODE64(ENABLE "xsaves64 (%rdi); pxor %xmm1, %xmm1; movq %xmm1, %rsi; xrstors64 (%rdi); movq %xmm1, %rbx"),
	    all);
	expect_eq(word(g, XCOMP_BV), COMPACTED | all);
	expect_eq(g->regs.rsi, 0);
	expect_eq(g->regs.rbx, ~0ul);
}

/* XCR0 & XINUSE. */
static void xgetbv1(void)
{
	struct guest *g = guest_create(MODE_LONG);

	if (!has(g, XGETBV1))
		skip("there is no XGETBV with ECX = 1");
	run(g, CODE64(ENABLE "mov $1, %ecx; xgetbv"), ALL_FP_SSE);
	expect_eq(g->regs.rax & SSE, SSE);
	expect_eq(g->regs.rax & ~(u64)ALL_FP_SSE, 0);
	expect_eq(g->regs.rdx, 0);
}

/* VMX has a control for it; SVM has not. SDM volume 3, "Changes to Instruction Behavior in VMX Non-Root Operation". */
static void left_out(void)
{
	struct guest *g = guest_create(MODE_LONG);
	const struct code enable = CODE64(ENABLE);

	if (!has(g, XSAVES) || find_cpuid(supported_cpuid(g->device), 0, 0)->ebx != signature_INTEL_ebx)
		skip("XSAVES is not there, or cannot be taken away");
	without(g, XSAVES);
	guest_load(g, CODE64(ENABLE "xsaves64 (%rdi)"));
	g->regs.rbp = ALL_FP_SSE;
	g->regs.rdi = GUEST_FREE;
	guest_start(g);
	expect_trap(g, VECTOR_UD, NO_ERROR, enable.end - enable.start);
}

/* IA32_XSS is there with XSAVES, and enables nothing. */
static void xss(void)
{
	static const struct {
		bool xsaves;
		u64 value;
	} rows[] = { { false, 0 }, { true, 0 }, { true, 1 << 8 }, { true, 1 << 11 }, { true, 1ul << 63 } };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct guest *g = guest_create(MODE_LONG);

		context("XSAVES %u, value %#lx", rows[i].xsaves, rows[i].value);
		if (!rows[i].xsaves)
			without(g, XSAVES);
		else if (!has(g, XSAVES))
			continue;
		guest_load(g, CODE64("wrmsr; rdmsr"));
		g->regs.rcx = MSR_XSS;
		g->regs.rax = (u32)rows[i].value;
		g->regs.rdx = rows[i].value >> 32;
		guest_start(g);
		if (!rows[i].xsaves || rows[i].value)
			expect_trap(g, VECTOR_GP, 0, 0);
		else if (expect_end(g))
			expect_eq(g->regs.rax | g->regs.rdx, 0);
		guest_destroy(g);
	}
}

/* Opmasks, the upper halves of ZMM0 to ZMM15, and ZMM16 to ZMM31, at their places in the image. */
static const struct {
	u32 component, offset, size, source;
} avx512_registers[] = {
	{ 5, 8, 8, 0 },		 /* K1 */
	{ 6, 2 * 32, 32, 96 },	 /* ZMM2, bits 511 to 256 */
	{ 7, 15 * 64, 64, 128 }, /* ZMM31 */
};

static void expect_avx512_image(struct guest *g)
{
	u8 *image = guest_xsave(g);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(avx512_registers); i++) {
		const struct kvm_cpuid_entry2 *e = leaf(g, avx512_registers[i].component);

		context("component %u", avx512_registers[i].component);
		expect_eq(*(u64 *)(image + XSTATE_BV) >> avx512_registers[i].component & 1, 1);
		expect_bytes(image + e->ebx + avx512_registers[i].offset,
			     g->memory + GUEST_FREE + avx512_registers[i].source, avx512_registers[i].size);
	}
	context("%s", "");
	free(image);
}

#define AVX512F (1u << 16)
#define AVX512BW (1u << 30)

/* AVX-512: exits, the image that the client gets, and another vCPU that is given it. */
static void avx512(void)
{
	struct guest *g = guest_create(MODE_LONG);
	const struct kvm_cpuid_entry2 *features = find_cpuid(supported_cpuid(g->device), 7, 0);
	unsigned int i;

	if (!features || (features->ebx & (AVX512F | AVX512BW)) != (AVX512F | AVX512BW))
		skip("there is no AVX-512");
	expect_eq(supported_xcr0(g) & 0xe0, 0xe0);
	guest_load(g, CODE64(ENABLE "kmovq (%rdi), %k1; vmovdqu64 64(%rdi), %zmm2; vmovdqu64 128(%rdi), %zmm31\n"
				    "hlt; xor %eax, %eax; cpuid; hlt\n"
				    "kmovq %k1, 256(%rdi); vmovdqu64 %zmm2, 320(%rdi); vmovdqu64 %zmm31, 384(%rdi)"));
	for (i = 0; i < 192; i++)
		g->memory[GUEST_FREE + i] = i * 37 + 1;
	g->regs.rbp = supported_xcr0(g);
	g->regs.rdi = GUEST_FREE;
	guest_start(g);
	expect_end(g);
	expect_avx512_image(g);
	g = guest_moved(g);
	guest_run(g);
	expect_end(g);
	expect_avx512_image(g);
	guest_run(g);
	expect_end(g);
	expect_bytes(g->memory + GUEST_FREE + 256, g->memory + GUEST_FREE, 8);
	expect_bytes(g->memory + GUEST_FREE + 320, g->memory + GUEST_FREE + 64, 128);
}

/* SDM volume 1, "Enabling the XSAVE Feature Set and XSAVE-Enabled Features": AVX-512's components come together, and with AVX. */
static void avx512_enables(void)
{
	static const struct {
		u64 xcr0;
		bool refused;
	} rows[] = { { 0xe7, false }, { 0x27, true }, { 0x67, true }, { 0xc7, true }, { 0xe3, true }, { 0xe1, true } };
	const struct code enable = CODE64(ENABLE);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct guest *g = guest_create(MODE_LONG);
		struct kvm_xcrs xcrs = { .nr_xcrs = 1, .xcrs[0].value = rows[i].xcr0 };
		bool refused = rows[i].refused || (supported_xcr0(g) & 0xe0) != 0xe0;

		context("XCR0 %#lx", rows[i].xcr0);
		expect_errno(ioctl(g->vcpu, KVM_SET_XCRS, &xcrs), refused ? EINVAL : 0);
		guest_load(g, enable);
		g->regs.rbp = rows[i].xcr0;
		guest_start(g);
		if (refused)
			expect_eq(g->exit == GUEST_TRAP && g->trap.vector == VECTOR_GP, true);
		else
			expect_end(g);
		guest_destroy(g);
	}
}

static const struct test tests[] = {
	{ "XSAVEOPT", optimized },
	{ "XSAVEC", compacted },
	{ "sizes of the compacted form", sizes },
	{ "XSAVES, XRSTORS", supervisor },
	{ "XGETBV with ECX = 1", xgetbv1 },
	{ "XSAVES that CPUID leaves out", left_out },
	{ "IA32_XSS", xss },
	{ "AVX-512", avx512 },
	{ "AVX-512's components in XCR0", avx512_enables },
};

KTAP_MAIN(tests)
