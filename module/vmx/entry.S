/* SPDX-License-Identifier: GPL-2.0 */
/* Into the guest and back: what C cannot say. See entry.h for the contract. */
#include <linux/linkage.h>
#include <linux/objtool.h>
#include <asm/asm.h>
#include <asm/msr-index.h>
#include <asm/nospec-branch.h>
#include <asm/segment.h>

#include "entry.h"

/* Index of a register in the array, in the order of enum gpr (that of instruction encodings). */
#define GPR(n) (8 * (n))

.section .text, "ax"

/* bool vmx_enter_guest(u64 *gpr, struct vmx_entry *entry, bool launched) */
SYM_FUNC_START(vmx_enter_guest)
	push	%rbp
	push	%rbx
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	push	%rsi
	push	%rdi

	/* An exit loads RSP from the VMCS, which is written to only when the stack is another one. */
	cmp	%rsp, ENTRY_HOST_RSP(%rsi)
	je	.Lhost_rsp_written
	mov	$ENTER_HOST_RSP_FIELD, %eax
.Lwrite_host_rsp:
	vmwrite	%rsp, %rax
	jbe	.Lfailed
	mov	%rsp, ENTRY_HOST_RSP(%rsi)
.Lhost_rsp_written:

	/* CF tells whether the VMCS was launched, down to the entry: nothing from here on changes it. */
	mov	%edx, %r8d

	ALTERNATIVE "jmp .Lguest_spec_ctrl_loaded", "", X86_FEATURE_MSR_SPEC_CTRL
	cmpb	$0, ENTRY_SWITCH_SPEC_CTRL(%rsi)
	je	.Lguest_spec_ctrl_loaded
	mov	ENTRY_GUEST_SPEC_CTRL(%rsi), %eax
	cmp	%eax, ENTRY_HOST_SPEC_CTRL(%rsi)
	je	.Lguest_spec_ctrl_loaded
	mov	$MSR_IA32_SPEC_CTRL, %ecx
	xor	%edx, %edx
	wrmsr
	/* No return and no indirect branch from here to the entry: the guest's setting need not guard the host's. */
.Lguest_spec_ctrl_loaded:
	bt	$0, %r8d

	mov	GPR(0)(%rdi), %rax
	mov	GPR(1)(%rdi), %rcx
	mov	GPR(2)(%rdi), %rdx
	mov	GPR(3)(%rdi), %rbx
	mov	GPR(5)(%rdi), %rbp
	mov	GPR(6)(%rdi), %rsi
	mov	GPR(8)(%rdi), %r8
	mov	GPR(9)(%rdi), %r9
	mov	GPR(10)(%rdi), %r10
	mov	GPR(11)(%rdi), %r11
	mov	GPR(12)(%rdi), %r12
	mov	GPR(13)(%rdi), %r13
	mov	GPR(14)(%rdi), %r14
	mov	GPR(15)(%rdi), %r15
	mov	GPR(7)(%rdi), %rdi

	/* MDS and its kin: VERW empties the buffers that the guest could read from. It changes ZF alone. */
	CLEAR_CPU_BUFFERS

	jnc	.Llaunch
.Lresume:
	vmresume
	jmp	.Lfailed
.Llaunch:
	vmlaunch
	/* Always taken when it is reached: an entry that succeeds does not come back here but below, by an exit. */
	jbe	.Lfailed

SYM_INNER_LABEL(vmx_exit_point, SYM_L_GLOBAL)
	ANNOTATE_NOENDBR /* the CPU comes here by a VM exit, not by a branch */
	/* RSP is as at the entry; on its top stands gpr. All else is the guest's. */
	push	%rdi
	mov	8(%rsp), %rdi
	mov	%rax, GPR(0)(%rdi)
	mov	%rcx, GPR(1)(%rdi)
	mov	%rdx, GPR(2)(%rdi)
	mov	%rbx, GPR(3)(%rdi)
	mov	%rbp, GPR(5)(%rdi)
	mov	%rsi, GPR(6)(%rdi)
	pop	GPR(7)(%rdi)
	mov	%r8, GPR(8)(%rdi)
	mov	%r9, GPR(9)(%rdi)
	mov	%r10, GPR(10)(%rdi)
	mov	%r11, GPR(11)(%rdi)
	mov	%r12, GPR(12)(%rdi)
	mov	%r13, GPR(13)(%rdi)
	mov	%r14, GPR(14)(%rdi)
	mov	%r15, GPR(15)(%rdi)
	mov	$1, %ebx

.Lout:
	/* No value of the guest's stays in a register, where the host's code might use it speculatively. */
	xor	%eax, %eax
	xor	%ecx, %ecx
	xor	%edx, %edx
	xor	%ebp, %ebp
	xor	%esi, %esi
	xor	%r8d, %r8d
	xor	%r9d, %r9d
	xor	%r10d, %r10d
	xor	%r11d, %r11d
	xor	%r12d, %r12d
	xor	%r13d, %r13d
	xor	%r14d, %r14d
	xor	%r15d, %r15d

	/* Before the first return: no prediction of one may be the guest's. */
	FILL_RETURN_BUFFER %rcx, RSB_CLEAR_LOOPS, X86_FEATURE_RSB_VMEXIT, X86_FEATURE_RSB_VMEXIT_LITE

	pop	%rdi
	pop	%rsi
	ALTERNATIVE "jmp .Lhost_spec_ctrl_loaded", "", X86_FEATURE_MSR_SPEC_CTRL
	cmpb	$0, ENTRY_SWITCH_SPEC_CTRL(%rsi)
	je	.Lhost_spec_ctrl_loaded
	mov	$MSR_IA32_SPEC_CTRL, %ecx
	rdmsr
	mov	%eax, ENTRY_GUEST_SPEC_CTRL(%rsi)
	/* Written even if it is the same: with IBRS the write itself is the barrier. */
	mov	ENTRY_HOST_SPEC_CTRL(%rsi), %eax
	xor	%edx, %edx
	wrmsr
	lfence
.Lhost_spec_ctrl_loaded:
#ifdef X86_FEATURE_CLEAR_BHB_LOOP_ON_VMEXIT
	CLEAR_BRANCH_HISTORY_VMEXIT
#endif

	mov	%ebx, %eax
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbx
	pop	%rbp
	RET

	/* VMX is off: somebody ended it under us, for a reboot or a crash. */
	_ASM_EXTABLE(.Lwrite_host_rsp, .Lfailed)
	_ASM_EXTABLE(.Lresume, .Lfailed)
	_ASM_EXTABLE(.Llaunch, .Lfailed)
.Lfailed:
	xor	%ebx, %ebx
	jmp	.Lout
SYM_FUNC_END(vmx_enter_guest)

/* void vmx_call_handler(unsigned long handler) */
SYM_FUNC_START(vmx_call_handler)
	push	%rbp
	mov	%rsp, %rbp
	/* What the CPU pushes in 64-bit mode, on an aligned stack; the call adds RIP, and IRET takes it all off again. */
	and	$-16, %rsp
	push	$__KERNEL_DS
	push	%rbp
	pushf
	push	$__KERNEL_CS
	CALL_NOSPEC rdi
	leave
	RET
SYM_FUNC_END(vmx_call_handler)
