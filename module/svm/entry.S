/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Into the guest and back. Source: APM volume 2, "VMRUN Instruction", "VMSAVE and VMLOAD Instructions".
 */
#include <linux/linkage.h>
#include <asm/asm.h>
#include <asm/nospec-branch.h>

/* struct cpu_regs: gpr[16] in the order of instruction encodings. RAX and RSP are in the VMCB. */
#define GPR(n) ((n) * 8)
#define RCX 1
#define RDX 2
#define RBX 3
#define RBP 5
#define RSI 6
#define RDI 7

	.section .noinstr.text, "ax"

/**
 * svm_run_guest - rdi: physical address of the VMCB, rsi: u64 gpr[16], rdx: physical address of the host's VMSAVE area
 *
 * GIF is 0 before and after, so nothing interrupts; IF is 1 during the guest, which is what lets a physical interrupt
 * end it. From VMLOAD to the second VMLOAD the GS base is the guest's: no per-CPU data, no calls.
 */
SYM_FUNC_START(svm_run_guest)
	push %rbp
	push %rbx
	push %r12
	push %r13
	push %r14
	push %r15
	push %rdx
	push %rsi

	/* Not right before VMRUN: the shadow of STI would become the guest's. No interrupt comes while GIF is clear. */
	sti
	mov %rdi, %rax
	vmload %rax
	mov GPR(RCX)(%rsi), %rcx
	mov GPR(RDX)(%rsi), %rdx
	mov GPR(RBX)(%rsi), %rbx
	mov GPR(RBP)(%rsi), %rbp
	mov GPR(RDI)(%rsi), %rdi
	mov GPR(8)(%rsi), %r8
	mov GPR(9)(%rsi), %r9
	mov GPR(10)(%rsi), %r10
	mov GPR(11)(%rsi), %r11
	mov GPR(12)(%rsi), %r12
	mov GPR(13)(%rsi), %r13
	mov GPR(14)(%rsi), %r14
	mov GPR(15)(%rsi), %r15
	mov GPR(RSI)(%rsi), %rsi
#ifdef VM_CLEAR_CPU_BUFFERS
	VM_CLEAR_CPU_BUFFERS
#endif
	vmrun %rax
	cli
	vmsave %rax

	pop %rax
	mov %rcx, GPR(RCX)(%rax)
	mov %rdx, GPR(RDX)(%rax)
	mov %rbx, GPR(RBX)(%rax)
	mov %rbp, GPR(RBP)(%rax)
	mov %rsi, GPR(RSI)(%rax)
	mov %rdi, GPR(RDI)(%rax)
	mov %r8, GPR(8)(%rax)
	mov %r9, GPR(9)(%rax)
	mov %r10, GPR(10)(%rax)
	mov %r11, GPR(11)(%rax)
	mov %r12, GPR(12)(%rax)
	mov %r13, GPR(13)(%rax)
	mov %r14, GPR(14)(%rax)
	mov %r15, GPR(15)(%rax)
	pop %rax
	vmload %rax

	/* The guest chose where the return stack buffer points. Before any RET or indirect branch. */
	FILL_RETURN_BUFFER %rax, RSB_CLEAR_LOOPS, X86_FEATURE_RETPOLINE
#ifdef UNTRAIN_RET_VM
	UNTRAIN_RET_VM
#elif defined(UNTRAIN_RET)
	UNTRAIN_RET
#endif
	/* And what the registers hold: nothing may speculate with it. */
	xor %ecx, %ecx
	xor %edx, %edx
	xor %esi, %esi
	xor %edi, %edi
	xor %r8d, %r8d
	xor %r9d, %r9d
	xor %r10d, %r10d
	xor %r11d, %r11d
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %rbx
	pop %rbp
	RET
SYM_FUNC_END(svm_run_guest)
