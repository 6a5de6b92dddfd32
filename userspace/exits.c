// SPDX-License-Identifier: GPL-2.0
/*
 * The exits of both vendors. Numbers are from the kernel's <asm/vmx.h> and <asm/svm.h>.
 * Source: SDM volume 3, appendix "VMX Basic Exit Reasons"; APM volume 2, appendix C, "SVM Intercept Exit Codes".
 */
#include "exits.h"

#include <asm/svm.h>
#include <asm/vmx.h>

#include "../uapi/pith.h"

#define NOT_ENTERED (~0u)

#define VMX(reason, kind)                           \
	{                                           \
		EXIT_REASON_##reason, #reason, kind \
	}
#define SVM(code, kind)                      \
	{                                    \
		SVM_EXIT_##code, #code, kind \
	}

static const struct exit_name vmx_names[] = {
	VMX(EXCEPTION_NMI, "exception"),
	VMX(EXTERNAL_INTERRUPT, "interrupt"),
	VMX(TRIPLE_FAULT, "shutdown"),
	VMX(INIT_SIGNAL, "interrupt"),
	VMX(SIPI_SIGNAL, "interrupt"),
	VMX(INTERRUPT_WINDOW, "window"),
	VMX(NMI_WINDOW, "window"),
	VMX(TASK_SWITCH, "other"),
	VMX(CPUID, "cpuid"),
	VMX(HLT, "halt"),
	VMX(INVD, "other"),
	VMX(INVLPG, "other"),
	VMX(RDPMC, "other"),
	VMX(RDTSC, "other"),
	VMX(VMCALL, "hypercall"),
	VMX(VMCLEAR, "other"),
	VMX(VMLAUNCH, "other"),
	VMX(VMPTRLD, "other"),
	VMX(VMPTRST, "other"),
	VMX(VMREAD, "other"),
	VMX(VMRESUME, "other"),
	VMX(VMWRITE, "other"),
	VMX(VMOFF, "other"),
	VMX(VMON, "other"),
	VMX(CR_ACCESS, "control"),
	VMX(DR_ACCESS, "control"),
	VMX(IO_INSTRUCTION, "port"),
	VMX(MSR_READ, "msr"),
	VMX(MSR_WRITE, "msr"),
	VMX(INVALID_STATE, "shutdown"),
	VMX(MSR_LOAD_FAIL, "shutdown"),
	VMX(MWAIT_INSTRUCTION, "halt"),
	VMX(MONITOR_TRAP_FLAG, "other"),
	VMX(MONITOR_INSTRUCTION, "halt"),
	VMX(PAUSE_INSTRUCTION, "pause"),
	VMX(MCE_DURING_VMENTRY, "exception"),
	VMX(TPR_BELOW_THRESHOLD, "apic"),
	VMX(APIC_ACCESS, "apic"),
	VMX(EOI_INDUCED, "apic"),
	VMX(GDTR_IDTR, "other"),
	VMX(LDTR_TR, "other"),
	VMX(EPT_VIOLATION, "memory"),
	VMX(EPT_MISCONFIG, "memory"),
	VMX(INVEPT, "other"),
	VMX(RDTSCP, "other"),
	VMX(PREEMPTION_TIMER, "timer"),
	VMX(INVVPID, "other"),
	VMX(WBINVD, "other"),
	VMX(XSETBV, "control"),
	VMX(APIC_WRITE, "apic"),
	VMX(RDRAND, "other"),
	VMX(INVPCID, "other"),
	VMX(VMFUNC, "other"),
	VMX(ENCLS, "other"),
	VMX(RDSEED, "other"),
	VMX(PML_FULL, "memory"),
	VMX(XSAVES, "other"),
	VMX(XRSTORS, "other"),
	VMX(UMWAIT, "halt"),
	VMX(TPAUSE, "halt"),
	{ NOT_ENTERED, "NOT_ENTERED", "shutdown" },
};

static const struct exit_name svm_names[] = {
	SVM(READ_CR0, "control"),
	{ SVM_EXIT_READ_CR0 + 2, "READ_CR2", "control" },
	SVM(READ_CR3, "control"),
	SVM(READ_CR4, "control"),
	SVM(READ_CR8, "apic"),
	SVM(WRITE_CR0, "control"),
	SVM(WRITE_CR3, "control"),
	SVM(WRITE_CR4, "control"),
	SVM(WRITE_CR8, "apic"),
	SVM(READ_DR0, "control"),
	SVM(READ_DR1, "control"),
	SVM(READ_DR2, "control"),
	SVM(READ_DR3, "control"),
	SVM(READ_DR6, "control"),
	SVM(READ_DR7, "control"),
	SVM(WRITE_DR0, "control"),
	SVM(WRITE_DR1, "control"),
	SVM(WRITE_DR2, "control"),
	SVM(WRITE_DR3, "control"),
	SVM(WRITE_DR6, "control"),
	SVM(WRITE_DR7, "control"),
	{ SVM_EXIT_EXCP_BASE + 1, "EXCP_DB", "exception" },
	{ SVM_EXIT_EXCP_BASE + 3, "EXCP_BP", "exception" },
	{ SVM_EXIT_EXCP_BASE + 6, "EXCP_UD", "exception" },
	{ SVM_EXIT_EXCP_BASE + 17, "EXCP_AC", "exception" },
	{ SVM_EXIT_EXCP_BASE + 18, "EXCP_MC", "exception" },
	SVM(INTR, "interrupt"),
	SVM(NMI, "interrupt"),
	SVM(SMI, "interrupt"),
	SVM(INIT, "interrupt"),
	SVM(VINTR, "window"),
	SVM(CR0_SEL_WRITE, "control"),
	SVM(RDPMC, "other"),
	SVM(RSM, "other"),
	SVM(IRET, "window"),
	SVM(INVD, "other"),
	SVM(PAUSE, "pause"),
	SVM(CPUID, "cpuid"),
	SVM(HLT, "halt"),
	SVM(INVLPG, "other"),
	SVM(INVLPGA, "other"),
	SVM(IOIO, "port"),
	SVM(MSR, "msr"),
	SVM(TASK_SWITCH, "other"),
	SVM(SHUTDOWN, "shutdown"),
	SVM(VMRUN, "other"),
	SVM(VMMCALL, "hypercall"),
	SVM(VMLOAD, "other"),
	SVM(VMSAVE, "other"),
	SVM(STGI, "other"),
	SVM(CLGI, "other"),
	SVM(SKINIT, "other"),
	SVM(RDTSCP, "other"),
	SVM(WBINVD, "other"),
	SVM(MONITOR, "halt"),
	SVM(MWAIT, "halt"),
	SVM(XSETBV, "control"),
	SVM(RDPRU, "other"),
	SVM(INVPCID, "other"),
	SVM(NPF, "memory"),
	{ NOT_ENTERED, "NOT_ENTERED", "shutdown" },
};

/**
 * exit_names - what a vendor's exits are called
 * @isa: PITH_ISA_*
 * @nr: how many there are
 */
const struct exit_name *exit_names(u32 isa, unsigned int *nr)
{
	*nr = isa == PITH_ISA_VMX ? ARRAY_SIZE(vmx_names) : ARRAY_SIZE(svm_names);
	return isa == PITH_ISA_VMX ? vmx_names : svm_names;
}

/**
 * exit_name - the name of one of them
 *
 * Return: "?" if it has none here.
 */
const char *exit_name(u32 isa, u32 reason)
{
	const struct exit_name *names;
	unsigned int nr;

	names = exit_names(isa, &nr);
	for (unsigned int i = 0; i < nr; i++)
		if (names[i].reason == reason)
			return names[i].name;
	return "?";
}
