// SPDX-License-Identifier: GPL-2.0
/* A slice on an AMD CPU: what is loaded when it begins, one entry, TLB and ASIDs. */
#include <linux/sched.h>

#include <asm/debugreg.h>
#include <asm/nospec-branch.h>

#include "../cpu/control.h"
#include "../cpu/guest_debug.h"
#include "svm.h"

/* -- ASIDs and the TLB ------------------------------------------------------------------------------------------- */

/*
 * Translations are tagged with the ASID, so a vCPU that gets a new one has a clean TLB. When a CPU runs out of ASIDs it
 * flushes them all and begins a new generation. Source: APM volume 2, "TLB Control".
 */
static void new_asid(struct svm *svm, struct svm_cpu *cpu)
{
	struct vmcb_control_area *control = &svm->vmcb->control;

	if (cpu->next_asid > cpu->last_asid) {
		cpu->asid_generation++;
		cpu->next_asid = 1;
		control->tlb_ctl = TLB_CONTROL_FLUSH_ALL_ASID;
	}
	control->asid = cpu->next_asid++;
	svm->asid_generation = cpu->asid_generation;
}

void svm_flush_tlb(struct vcpu *vcpu, bool second_stage)
{
	/* Guest and nested translations are cached as one: there is no flushing only half. */
	if (svm_features & SVM_FEATURE_FLUSH_BY_ASID)
		to_vmcb(vcpu)->control.tlb_ctl = TLB_CONTROL_FLUSH_ASID;
	else
		to_svm(vcpu)->asid_generation = 0;
}

/* -- the slice --------------------------------------------------------------------------------------------------- */

/* DR0 to DR3 are not in the VMCB. They matter only while DR7 enables one of them: accesses are intercepted. */
static bool has_breakpoints(struct vcpu *vcpu)
{
	return to_vmcb(vcpu)->save.dr7 & DR7_ENABLED;
}

void svm_load_breakpoints(struct vcpu *vcpu)
{
	const u64 *dr = guest_debug_dr(vcpu);

	set_debugreg(dr[0], 0);
	set_debugreg(dr[1], 1);
	set_debugreg(dr[2], 2);
	set_debugreg(dr[3], 3);
}

/* A value that the guest wrote since the last entry is not in the register yet: an older one is. */
static bool switches_tsc_aux(struct vcpu *vcpu, struct svm_cpu *cpu)
{
	return boot_cpu_has(X86_FEATURE_RDTSCP) &&
	       (vcpu->msr.tsc_aux != cpu->host_tsc_aux || (vcpu->changed & STATE_SYSCALL));
}

/* Only guests' TSCs are scaled by it, so it stays until another is needed. APM volume 2, "TSC Ratio MSR". */
static void load_tsc_ratio(struct vcpu *vcpu, struct svm_cpu *cpu)
{
	if (!(svm_features & SVM_FEATURE_TSC_RATE_MSR) || cpu->tsc_ratio == vcpu->tsc_ratio)
		return;
	cpu->tsc_ratio = vcpu->tsc_ratio;
	wrmsrl(MSR_AMD64_TSC_RATIO, vcpu->tsc_ratio);
}

void svm_slice_begin(struct vcpu *vcpu)
{
	struct svm_cpu *cpu = this_cpu_ptr(&svm_cpus);
	struct svm *svm = to_svm(vcpu);

	/* The thread's FS base and the kernel's GS base, TR, LDTR and SYSCALL registers, for after each exit. */
	asm volatile("vmsave %%rax" : : "a"(cpu->host_vmcb_pa) : "memory");
	if (cpu->last_vcpu != svm) {
		/* Another guest trained the branch predictors. */
		indirect_branch_prediction_barrier();
		cpu->last_vcpu = svm;
	}
	/* Each CPU gives out its own ASIDs: here this one may be somebody else's. */
	if (svm->asid_cpu != cpu) {
		svm->asid_cpu = cpu;
		svm->asid_generation = 0;
	}
	if (switches_tsc_aux(vcpu, cpu))
		wrmsrl(MSR_TSC_AUX, vcpu->msr.tsc_aux);
	load_tsc_ratio(vcpu, cpu);
	if (has_breakpoints(vcpu))
		svm_load_breakpoints(vcpu);
}

void svm_slice_end(struct vcpu *vcpu)
{
	struct svm_cpu *cpu = this_cpu_ptr(&svm_cpus);

	if (switches_tsc_aux(vcpu, cpu))
		wrmsrl(MSR_TSC_AUX, cpu->host_tsc_aux);
	/* VMRUN left DR7 with everything off, and DR6 as the guest had it. */
	if (hw_breakpoint_active())
		hw_breakpoint_restore();
	else if (to_vmcb(vcpu)->save.dr6 != DR6_FIXED)
		set_debugreg(DR6_FIXED, 6);
}

/* What the last exit told that must reach the host before interrupts are on again. */
static void deliver_to_host(u32 exit_code)
{
	/* An NMI is still pending and comes with STGI; a machine check was consumed by the intercept. */
	if (unlikely(exit_code == SVM_EXIT_EXCP_BASE + VECTOR_MC))
		asm volatile("int $18");
}

void svm_enter(struct vcpu *vcpu)
{
	struct svm_cpu *cpu = this_cpu_ptr(&svm_cpus);
	struct svm *svm = to_svm(vcpu);
	struct vmcb *vmcb = svm->vmcb;

	if (vcpu->changed)
		svm_write_state(vcpu, vcpu->changed);
	vmcb->save.rax = vcpu->regs.gpr[REG_RAX];
	if (unlikely(svm->asid_generation != cpu->asid_generation))
		new_asid(svm, cpu);
	asm volatile("clgi");
	svm_run_guest(svm->vmcb_pa, vcpu->regs.gpr, cpu->host_vmcb_pa);
	asm volatile("stgi");
	vcpu->regs.gpr[REG_RAX] = vmcb->save.rax;
	vmcb->control.tlb_ctl = TLB_CONTROL_DO_NOTHING;
	/* Groups whose every write by the guest is intercepted, or that never leave struct vcpu. */
	vcpu->known = STATE_CR4 | STATE_EFER | STATE_PAT | STATE_TSC;
	deliver_to_host(vmcb->control.exit_code);
}
