// SPDX-License-Identifier: GPL-2.0
/*
 * The VMX-preemption timer: while the guest runs its CPU watches the deadline of its local APIC's timer by itself. Arming
 * that takes no timer of the host's then, and its end no interrupt of the host's. Source: SDM volume 3, "VMX-Preemption Timer".
 */
#include <linux/math.h>
#include <linux/module.h>
#include <asm/msr.h>
#include <asm/processor.h>

#include "vmx.h"

static bool preemption_timer = true;
module_param(preemption_timer, bool, 0444);
MODULE_PARM_DESC(preemption_timer, "Intel: the CPU watches the deadline of a guest's timer while the guest runs");

/* It counts once in so many ticks of the TSC, as a power of two. */
static u8 rate;

/* Those that have unrestricted guests and count at another rate than they say, by CPUID.1:EAX. Source: their errata. */
static bool counts_wrong(void)
{
	static const u32 signatures[] = { 0x206e6, 0x20652, 0x20655, 0x306a8 };
	u32 signature = cpuid_eax(1) & 0x0fff3fff;
	int i;

	for (i = 0; i < ARRAY_SIZE(signatures); i++)
		if (signature == signatures[i])
			return true;
	return false;
}

/** vmx_timer_setup - whether it is used, once the CPU's capabilities are known */
void vmx_timer_setup(void)
{
	u64 misc;

	if (!preemption_timer || counts_wrong())
		vmx_capabilities.pin &= ~PIN_BASED_VMX_PREEMPTION_TIMER;
	backend.watches_deadline = vmx_capabilities.pin & PIN_BASED_VMX_PREEMPTION_TIMER;
	rdmsrl(MSR_IA32_VMX_MISC, misc);
	rate = vmx_misc_preemption_timer_rate(misc);
}

/**
 * vmx_write_timer - what the next entry is to count
 * @vmx: its VMCS is loaded
 * @deadline: vcpu->deadline
 * Without a deadline, or with one that is too far away, it is as long as can be: that the exit came too early is seen.
 */
void vmx_write_timer(struct vmx_vcpu *vmx, u64 deadline)
{
	u64 now = rdtsc(), left = deadline > now ? deadline - now : 0;

	vmx->counts = deadline;
	vmcs_write32(VMX_PREEMPTION_TIMER_VALUE, deadline ? min_t(u64, left >> rate, U32_MAX) : U32_MAX);
}
