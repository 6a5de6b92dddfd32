// SPDX-License-Identifier: GPL-2.0
/* One entry and its exit: what has to stand around the assembly. */
#include <linux/hardirq.h>
#include <linux/percpu.h>
#include <asm/desc.h>
#include <asm/msr.h>
#include <asm/nospec-branch.h>
#include <asm/special_insns.h>

#include "vmx.h"
#include "../compat.h"

/* What a guest cannot change without an exit that tells of it. CR2 is saved by each exit. */
#define KNOWN_AFTER_EXIT (STATE_EFER | STATE_DR | STATE_PAT | STATE_CR2 | STATE_TSC)

/* As seldom as it may be: when code of the host's ran since the last time that is not known to touch no secret. */
static __always_inline void flush_l1d(struct vmx_vcpu *vmx)
{
	if (likely(!vmx_capabilities.flush_l1d))
		return;
	if (!vmx->fresh_slice && !kvm_get_cpu_l1tf_flush_l1d())
		return;
	vmx->fresh_slice = false;
	kvm_clear_cpu_l1tf_flush_l1d();
	l1d_flush();
}

/* An interrupt may have changed it since: perf and the like set bits on every CPU. */
static __always_inline void write_host_cr4(struct vmx_host *host)
{
	unsigned long cr4 = native_read_cr4();

	if (likely(host->cr4 == cr4))
		return;
	host->cr4 = cr4;
	vmcs_write_natural(HOST_CR4, cr4);
}

static __always_inline void before_entry(struct vcpu *vcpu, struct vmx_vcpu *vmx)
{
	u32 changed = vcpu->changed;

	if (unlikely(vmx->posted && READ_ONCE(vmx->posted->control)))
		apicv_take_posted(vcpu);
	/* It is told how long, not until when: at each entry. */
	if (vcpu->deadline | vmx->counts)
		vmx_write_timer(vmx, vcpu->deadline);
	if (changed & STATE_RIP)
		vmcs_write_natural(GUEST_RIP, vcpu->regs.rip);
	changed &= ~STATE_RIP;
	if (unlikely(changed))
		vmx_write_state(vcpu, changed);
	write_host_cr4(&vmx->host);
	if (unlikely(vmx->wants_breakpoints && !vmx->breakpoints_loaded))
		vmx_load_breakpoints(vmx);
	if (vcpu->cr2 != native_read_cr2())
		native_write_cr2(vcpu->cr2);
	flush_l1d(vmx);
}

/*
 * What made the guest exit by way of an exception of the host's is delivered to the host before interrupts open again:
 * the exit has blocked NMIs, and the handler's IRET opens them. Source: SDM volume 3, "Updating Non-Register State".
 */
static void deliver_to_host(struct vmx_exit *exit)
{
	exit->interruption = vmcs_read32(VM_EXIT_INTR_INFO);
	if ((exit->interruption & INTR_INFO_INTR_TYPE_MASK) == INTR_TYPE_NMI_INTR)
		asm volatile("int $2");
	else if ((exit->interruption & INTR_INFO_VECTOR_MASK) == VECTOR_MC)
		asm volatile("int $18");
}

/*
 * Acknowledged by the exit: without that there are no posted interrupts. Its handler is called as the CPU would. The
 * IDTR on the stack gets a guard, which other exits need not pay for: not inline.
 */
static noinline void deliver_interrupt(void)
{
	u32 info = vmcs_read32(VM_EXIT_INTR_INFO);
	struct desc_ptr idt;

	if (!(info & INTR_INFO_VALID_MASK))
		return;
	store_idt(&idt);
	vmx_call_handler(gate_offset((gate_desc *)idt.address + (info & INTR_INFO_VECTOR_MASK)));
}

static __always_inline void after_exit(struct vmx_vcpu *vmx)
{
	struct vmx_exit *exit = &vmx->exit;
	u32 reason = vmcs_read32(VM_EXIT_REASON);

	exit->reason = reason;
	if (unlikely(reason & VMX_EXIT_REASONS_FAILED_VMENTRY)) {
		exit->failure = reason;
		exit->reason = EXIT_REASON_NOT_ENTERED;
		if ((u16)reason == EXIT_REASON_MCE_DURING_VMENTRY)
			asm volatile("int $18");
		return;
	}
	vmx->launched = true;
	/* Before an interrupt is taken: it may be the one by which somebody waits for the log. */
	if (unlikely(memory_is_logged(&vmx->vcpu->vm->memory)) && vmx->pml)
		pml_drain(vmx->vcpu);
	if (reason == EXIT_REASON_EXCEPTION_NMI)
		deliver_to_host(exit);
	else if (reason == EXIT_REASON_EXTERNAL_INTERRUPT && (vmx_capabilities.exit & VM_EXIT_ACK_INTR_ON_EXIT))
		deliver_interrupt();
}

void vmx_enter(struct vcpu *vcpu)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);
	bool entered;

	before_entry(vcpu, vmx);
	entered = vmx_enter_guest(vcpu->regs.gpr, &vmx->entry, vmx->launched);
	vcpu->cr2 = native_read_cr2();
	compat_after_guest();
	vcpu->known = KNOWN_AFTER_EXIT;
	vcpu->changed = 0;
	if (likely(entered)) {
		after_exit(vmx);
	} else {
		vmx->exit.failure = vmcs_read32(VM_INSTRUCTION_ERROR);
		vmx->exit.reason = EXIT_REASON_NOT_ENTERED;
	}
}
