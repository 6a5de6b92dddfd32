// SPDX-License-Identifier: GPL-2.0
/*
 * L1 Terminal Fault: by its EPT entries a guest could read what stands in the L1 data cache. So that is emptied before an
 * entry, by the CPU's own command, or where microcode has none by reading other memory in its place.
 * Source: Documentation/admin-guide/hw-vuln/l1tf.rst, "Mitigation mechanism"; SDM volume 4, "IA32_FLUSH_CMD".
 */
#include <linux/cpu.h>
#include <linux/gfp.h>
#include <linux/mm.h>
#include <asm/msr.h>
#include <asm/processor.h>

#include "vmx.h"

#define LINE 64
/* Twice the largest L1 data cache of the CPUs that have the fault. */
#define DISPLACER_ORDER 4
#define DISPLACER_SIZE (PAGE_SIZE << DISPLACER_ORDER)

static u8 *displacer;

static bool has_l1tf(void)
{
	u64 arch_capabilities = 0;

	if (!boot_cpu_has_bug(X86_BUG_L1TF) || cpu_mitigations_off())
		return false;
	if (boot_cpu_has(X86_FEATURE_ARCH_CAPABILITIES))
		rdmsrl(MSR_IA32_ARCH_CAPABILITIES, arch_capabilities);
	return !(arch_capabilities & ARCH_CAP_SKIP_VMENTRY_L1DFLUSH);
}

/** l1d_setup - finds out whether the cache has to be emptied, and how: vmx_capabilities.flush_l1d. 0 or -ENOMEM. */
int l1d_setup(void)
{
	unsigned int i;

	if (!has_l1tf())
		return 0;
	if (!boot_cpu_has(X86_FEATURE_FLUSH_L1D)) {
		displacer = (u8 *)__get_free_pages(GFP_KERNEL, DISPLACER_ORDER);
		if (!displacer)
			return -ENOMEM;
		/* If this is a guest itself its host may merge equal pages, and they would fill no more than one does. */
		for (i = 0; i < DISPLACER_SIZE; i += PAGE_SIZE)
			memset(displacer + i, i / PAGE_SIZE + 1, PAGE_SIZE);
	}
	vmx_capabilities.flush_l1d = true;
	return 0;
}

void l1d_teardown(void)
{
	free_pages((unsigned long)displacer, DISPLACER_ORDER);
}

static void read_displacer(unsigned int step)
{
	unsigned int i;

	for (i = 0; i < DISPLACER_SIZE; i += step)
		READ_ONCE(displacer[i]);
}

/** l1d_flush - nothing of the host's is in this CPU's L1 data cache any more. Interrupts off. */
void l1d_flush(void)
{
	if (!displacer) {
		wrmsrl(MSR_IA32_FLUSH_CMD, L1D_FLUSH);
		return;
	}
	/* First the translations: a walk for them between the lines would bring other lines in. */
	read_displacer(PAGE_SIZE);
	sync_core();
	read_displacer(LINE);
	rmb();
}
