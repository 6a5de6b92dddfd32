// SPDX-License-Identifier: GPL-2.0
/*
 * What a guest may do without us: intercepts, and the permission maps for ports and MSRs.
 * Source: APM volume 2, "Intercept Operation", "IOIO Intercepts", "MSR Intercepts".
 */
#include <linux/gfp.h>
#include <linux/mm.h>

#include <asm/msr-index.h>

#include "../cpu/regs.h"
#include "svm.h"

#define IOPM_SIZE (3 * PAGE_SIZE) /* a bit a port, and some beyond the last for accesses that wrap */
#define MSRPM_SIZE (2 * PAGE_SIZE)

static void *io_map __ro_after_init;
static void *msr_map __ro_after_init, *closed_msr_map __ro_after_init;

/* The registers that VMLOAD and VMSAVE switch: a guest reads and writes its own. */
static const u32 passed_msrs[] = {
	MSR_FS_BASE,
	MSR_GS_BASE,
	MSR_KERNEL_GS_BASE,
	MSR_STAR,
	MSR_LSTAR,
	MSR_CSTAR,
	MSR_SYSCALL_MASK,
	MSR_IA32_SYSENTER_CS,
	MSR_IA32_SYSENTER_ESP,
	MSR_IA32_SYSENTER_EIP,
};

/* Two bits an MSR, read and write; the ranges 0, C000_0000h and C001_0000h of 2000h MSRs each. */
static unsigned int msr_map_bit(u32 msr)
{
	if (msr >= 0xc0010000)
		return (0x4000 + (msr & 0x1fff)) * 2;
	if (msr >= 0xc0000000)
		return (0x2000 + (msr & 0x1fff)) * 2;
	return msr * 2;
}

int svm_maps_create(void)
{
	unsigned int i;

	io_map = alloc_pages_exact(IOPM_SIZE, GFP_KERNEL);
	msr_map = alloc_pages_exact(MSRPM_SIZE, GFP_KERNEL);
	closed_msr_map = alloc_pages_exact(MSRPM_SIZE, GFP_KERNEL);
	if (!io_map || !msr_map || !closed_msr_map) {
		svm_maps_destroy();
		return -ENOMEM;
	}
	memset(io_map, 0xff, IOPM_SIZE);
	memset(msr_map, 0xff, MSRPM_SIZE);
	memset(closed_msr_map, 0xff, MSRPM_SIZE);
	for (i = 0; i < ARRAY_SIZE(passed_msrs); i++) {
		__clear_bit(msr_map_bit(passed_msrs[i]), msr_map);
		__clear_bit(msr_map_bit(passed_msrs[i]) + 1, msr_map);
	}
	return 0;
}

void svm_maps_destroy(void)
{
	if (io_map)
		free_pages_exact(io_map, IOPM_SIZE);
	if (msr_map)
		free_pages_exact(msr_map, MSRPM_SIZE);
	if (closed_msr_map)
		free_pages_exact(closed_msr_map, MSRPM_SIZE);
}

/* A client's filter wants to see every access: see cpu/msr_filter.c. */
static void choose_msr_map(struct vcpu *vcpu)
{
	void *map = rcu_access_pointer(vcpu->vm->msr_filter) ? closed_msr_map : msr_map;

	to_vmcb(vcpu)->control.msrpm_base_pa = __pa(map);
}

/*
 * #DB and #AC are intercepted because a guest can have the CPU deliver them without end, with no instruction boundary
 * at which the host would get its turn. Source: AMD and Intel on CVE-2015-8104, CVE-2015-5307. #UD: see
 * exit_invalid_opcode().
 */
static const u8 intercepts[] = {
	INTERCEPT_CR0_WRITE,
	INTERCEPT_CR4_WRITE,
	INTERCEPT_CR8_READ,
	INTERCEPT_CR8_WRITE,
	INTERCEPT_DR0_READ,
	INTERCEPT_DR1_READ,
	INTERCEPT_DR2_READ,
	INTERCEPT_DR3_READ,
	INTERCEPT_DR4_READ,
	INTERCEPT_DR5_READ,
	INTERCEPT_DR6_READ,
	INTERCEPT_DR7_READ,
	INTERCEPT_DR0_WRITE,
	INTERCEPT_DR1_WRITE,
	INTERCEPT_DR2_WRITE,
	INTERCEPT_DR3_WRITE,
	INTERCEPT_DR4_WRITE,
	INTERCEPT_DR5_WRITE,
	INTERCEPT_DR6_WRITE,
	INTERCEPT_DR7_WRITE,
	INTERCEPT_EXCEPTION_OFFSET + VECTOR_DB,
	INTERCEPT_EXCEPTION_OFFSET + VECTOR_UD,
	INTERCEPT_EXCEPTION_OFFSET + VECTOR_AC,
	INTERCEPT_EXCEPTION_OFFSET + VECTOR_MC,
	INTERCEPT_INTR,
	INTERCEPT_NMI,
	INTERCEPT_SMI,
	INTERCEPT_INIT,
	INTERCEPT_RDPMC,
	INTERCEPT_CPUID,
	INTERCEPT_RSM,
	INTERCEPT_INVD,
	INTERCEPT_INVLPGA,
	INTERCEPT_IOIO_PROT,
	INTERCEPT_MSR_PROT,
	INTERCEPT_SHUTDOWN,
	INTERCEPT_VMRUN,
	INTERCEPT_VMMCALL,
	INTERCEPT_VMLOAD,
	INTERCEPT_VMSAVE,
	INTERCEPT_STGI,
	INTERCEPT_CLGI,
	INTERCEPT_SKINIT,
	INTERCEPT_WBINVD,
	INTERCEPT_XSETBV,
	INTERCEPT_RDPRU,
};

/*
 * So many PAUSEs exit, if they are at most so many cycles apart. Source: APM volume 2, "Pause Intercept Filtering"; the
 * values are KVM's.
 */
#define PAUSE_COUNT 3000
#define PAUSE_THRESHOLD 128

static void filter_pauses(struct vmcb *vmcb)
{
	if (!(svm_features & SVM_FEATURE_PAUSE_FILTER))
		return;
	vmcb->control.pause_filter_count = PAUSE_COUNT;
	if (svm_features & SVM_FEATURE_PAUSE_FILTER_THRESHOLD)
		vmcb->control.pause_filter_thresh = PAUSE_THRESHOLD;
}

/** svm_set_memory_root - the VMCB follows the address space that the vCPU sees */
void svm_set_memory_root(struct vcpu *vcpu)
{
	to_vmcb(vcpu)->control.nested_cr3 = memory_root(vcpu);
}

/* What the guest may execute without an exit follows what the client wants to see. */
void svm_set_intercepts(struct vcpu *vcpu)
{
	struct vmcb *vmcb = to_vmcb(vcpu);
	u64 disabled = READ_ONCE(vcpu->vm->disabled_exits);
	bool mwait = !(disabled & KVM_X86_DISABLE_EXITS_MWAIT), pause = !(disabled & KVM_X86_DISABLE_EXITS_PAUSE);

	choose_msr_map(vcpu);
	svm_set_intercept(vmcb, INTERCEPT_EXCEPTION_OFFSET + VECTOR_BP,
			  vcpu->guest_debug.control & KVM_GUESTDBG_USE_SW_BP);
	svm_set_intercept(vmcb, INTERCEPT_HLT, !(disabled & KVM_X86_DISABLE_EXITS_HLT));
	svm_set_intercept(vmcb, INTERCEPT_MONITOR, mwait);
	svm_set_intercept(vmcb, INTERCEPT_MWAIT, mwait);
	/* Without the filter every PAUSE would exit, which costs more than it gains. */
	svm_set_intercept(vmcb, INTERCEPT_PAUSE, pause && (svm_features & SVM_FEATURE_PAUSE_FILTER));
}

/* Sets up what never changes; the guest's registers come by svm_write_state(). */
void svm_vmcb_init(struct vcpu *vcpu)
{
	struct vmcb_control_area *control = &to_vmcb(vcpu)->control;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(intercepts); i++)
		svm_set_intercept(to_vmcb(vcpu), intercepts[i], true);
	filter_pauses(to_vmcb(vcpu));
	control->iopm_base_pa = __pa(io_map);
	svm_set_intercepts(vcpu);
	/* Physical interrupts obey the host's RFLAGS.IF, and the guest's TPR is the local APIC's business. */
	control->int_ctl = V_INTR_MASKING_MASK;
	control->nested_ctl = SVM_NESTED_CTL_NP_ENABLE;
	svm_set_memory_root(vcpu);
}
