// SPDX-License-Identifier: GPL-2.0
/*
 * The MSRs that the kernel itself does not use before it returns to user space: SYSCALL's, and TSC_AUX. The guest's
 * stay loaded after a slice; a user-return notifier brings the host's back when they begin to matter, so that a vCPU
 * thread that comes and goes pays for none of them.
 */
#include <linux/percpu.h>
#include <linux/user-return-notifier.h>
#include <asm/msr.h>

#include "vmx.h"

enum { SWITCH_STAR, SWITCH_LSTAR, SWITCH_SFMASK, SWITCH_TSC_AUX, NR_SWITCH_MSRS };

static const u32 switch_msr[NR_SWITCH_MSRS] = {
	[SWITCH_STAR] = MSR_STAR,
	[SWITCH_LSTAR] = MSR_LSTAR,
	[SWITCH_SFMASK] = MSR_SYSCALL_MASK,
	[SWITCH_TSC_AUX] = MSR_TSC_AUX,
};

struct switch_msrs {
	struct user_return_notifier notifier;
	bool registered;
	u64 host[NR_SWITCH_MSRS], loaded[NR_SWITCH_MSRS];
};

static DEFINE_PER_CPU(struct switch_msrs, switch_msrs);

static bool has_switch_msr(int i)
{
	return i != SWITCH_TSC_AUX || boot_cpu_has(X86_FEATURE_RDTSCP) || boot_cpu_has(X86_FEATURE_RDPID);
}

/* Whether it was another one. */
static __always_inline bool load(struct switch_msrs *msrs, int i, u64 value)
{
	if (msrs->loaded[i] == value)
		return false;
	wrmsrl(switch_msr[i], value);
	msrs->loaded[i] = value;
	return true;
}

/** switch_msrs_read_host - what the host has in them on this CPU; they stay the same while it runs. Interrupts off. */
void switch_msrs_read_host(void)
{
	struct switch_msrs *msrs = this_cpu_ptr(&switch_msrs);
	int i;

	for (i = 0; i < NR_SWITCH_MSRS; i++) {
		msrs->host[i] = 0;
		if (has_switch_msr(i))
			rdmsrl(switch_msr[i], msrs->host[i]);
		msrs->loaded[i] = msrs->host[i];
	}
}

/** switch_msrs_load_host - gives the host's back. Also where VMX goes off: an interrupt may come in between. */
void switch_msrs_load_host(void)
{
	struct switch_msrs *msrs = this_cpu_ptr(&switch_msrs);
	unsigned long flags;
	int i;

	local_irq_save(flags);
	if (msrs->registered) {
		user_return_notifier_unregister(&msrs->notifier);
		msrs->registered = false;
	}
	for (i = 0; i < NR_SWITCH_MSRS; i++)
		load(msrs, i, msrs->host[i]);
	local_irq_restore(flags);
}

static void on_user_return(struct user_return_notifier *notifier)
{
	switch_msrs_load_host();
}

/** switch_msrs_load_guest - loads a guest's where they differ from what the CPU has. Preemption off. */
void switch_msrs_load_guest(const struct vcpu *vcpu)
{
	struct switch_msrs *msrs = this_cpu_ptr(&switch_msrs);
	bool changed = false;

	/* Else SYSCALL is #UD, and nothing else uses them: RDMSR and WRMSR exit. */
	if (vcpu->efer & EFER_SCE) {
		changed |= load(msrs, SWITCH_STAR, vcpu->msr.star);
		changed |= load(msrs, SWITCH_LSTAR, vcpu->msr.lstar);
		changed |= load(msrs, SWITCH_SFMASK, vcpu->msr.sfmask);
	}
	if (has_switch_msr(SWITCH_TSC_AUX))
		changed |= load(msrs, SWITCH_TSC_AUX, vcpu->msr.tsc_aux);
	if (changed && !msrs->registered) {
		msrs->notifier.on_user_return = on_user_return;
		user_return_notifier_register(&msrs->notifier);
		msrs->registered = true;
	}
}
