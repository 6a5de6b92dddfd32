/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Where kernel versions differ, the difference stands here and nowhere else: 6.1 and 6.12 are built against.
 */
#ifndef PITH_COMPAT_H
#define PITH_COMPAT_H

#include <linux/version.h>

/* -- core ------------------------------------------------------------------------------------------------------- */

#include <linux/entry-kvm.h>
#include <linux/kvm_host.h>

/*
 * Reschedules, runs task work and restartable-sequence fix-ups before an entry. The kernel's function wants KVM's
 * struct to count signal exits in; it gets one that nobody reads. A signal is the caller's to report.
 * Returns 0 or -EINTR.
 */
static inline int compat_handle_guest_mode_work(void)
{
	static struct kvm_run run;
	static struct kvm_vcpu unread = { .run = &run };

	return xfer_to_guest_mode_handle_work(&unread);
}

/* -- irq -------------------------------------------------------------------------------------------------------- */

#include <linux/eventfd.h>

static inline void compat_eventfd_signal(struct eventfd_ctx *ctx)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 8, 0)
	eventfd_signal(ctx);
#else
	eventfd_signal(ctx, 1);
#endif
}

/* -- vmx -------------------------------------------------------------------------------------------------------- */

#include <linux/percpu.h>
#include <asm/cpufeature.h>
#include <asm/nospec-branch.h>
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
#include <asm/gsseg.h> /* native_load_gs_index() */
#endif

/*
 * With FRED the kernel no longer takes INT 2 and INT 18 for what they stand for, and its own way of passing an NMI on is
 * KVM's alone.
 */
static inline bool compat_host_uses_fred(void)
{
#ifdef X86_FEATURE_FRED
	return cpu_feature_enabled(X86_FEATURE_FRED);
#else
	return false;
#endif
}

/* VMSCAPE: what branch prediction a guest taught stays out of the client, once the kernel knows that a guest ran. */
static __always_inline void compat_after_guest(void)
{
#ifdef X86_FEATURE_IBPB_EXIT_TO_USER
	if (cpu_feature_enabled(X86_FEATURE_IBPB_EXIT_TO_USER))
		this_cpu_write(x86_ibpb_exit_to_user, true);
#endif
}

/* -- memory ----------------------------------------------------------------------------------------------------- */

#include <linux/mm.h>

/* Whether waiting for a page ends with any signal, or only with a deadly one. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 2, 0)
#define COMPAT_FOLL_INTERRUPTIBLE FOLL_INTERRUPTIBLE
#else
#define COMPAT_FOLL_INTERRUPTIBLE 0
#endif

/*
 * The page frame that a driver's mapping has at an address: 0, or an error when it has none now. The mmap lock is held;
 * the answer holds as long as the MMU notifier says nothing else.
 */
static inline int compat_follow_pfn(struct vm_area_struct *vma, unsigned long address, unsigned long *pfn,
				    bool *writable)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
	struct follow_pfnmap_args args = { .vma = vma, .address = address };
	int r = follow_pfnmap_start(&args);

	if (r)
		return r;
	*pfn = args.pfn;
	*writable = args.writable;
	follow_pfnmap_end(&args);
	return 0;
#else
	spinlock_t *lock;
	pte_t *pte;
	int r;

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 10, 0)
	r = follow_pte(vma, address, &pte, &lock);
#else
	r = follow_pte(vma->vm_mm, address, &pte, &lock);
#endif
	if (r)
		return r;
	__acquire(lock); /* which follow_pte() does not tell sparse */
	*pfn = pte_pfn(*pte);
	*writable = pte_write(*pte);
	pte_unmap_unlock(pte, lock);
	return 0;
#endif
}

#endif
