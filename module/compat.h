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

/*
 * The field is for user space to write and for KVM_RUN to read, at one place: newer headers give it another name in the
 * kernel to say so.
 */
#ifdef HINT_UNSAFE_IN_KVM
#define compat_immediate_exit immediate_exit__unsafe
#else
#define compat_immediate_exit immediate_exit
#endif

#include <linux/smp.h>
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 4, 0)
#include <trace/events/ipi.h> /* smp_send_reschedule() is a macro that traces */
#endif

static inline void compat_send_reschedule(int cpu)
{
	smp_send_reschedule(cpu);
}

#include <linux/syscore_ops.h>

/* Callbacks of suspend and resume, which take a pointer of their owner's in newer kernels; Kbuild looks which it is. */
#ifdef COMPAT_SYSCORE_HAS_DATA
#define COMPAT_SYSCORE(name, on_suspend, on_resume)                                                          \
	static int name##_suspend(void *unused)                                                              \
	{                                                                                                    \
		return on_suspend();                                                                         \
	}                                                                                                    \
	static void name##_resume(void *unused)                                                              \
	{                                                                                                    \
		on_resume();                                                                                 \
	}                                                                                                    \
	static const struct syscore_ops name##_ops = { .suspend = name##_suspend, .resume = name##_resume }; \
	static struct syscore name = { .ops = &name##_ops }
#define compat_register_syscore register_syscore
#define compat_unregister_syscore unregister_syscore
#else
#define COMPAT_SYSCORE(name, on_suspend, on_resume) \
	static struct syscore_ops name = { .suspend = on_suspend, .resume = on_resume }
#define compat_register_syscore register_syscore_ops
#define compat_unregister_syscore unregister_syscore_ops
#endif

#include <linux/sched.h>
#include <linux/sched/stat.h>

/* For how long this thread waited for a CPU, in nanoseconds; 0 in a kernel that does not count. */
static inline u64 compat_run_delay(void)
{
#ifdef CONFIG_SCHED_INFO
	return current->sched_info.run_delay;
#else
	return 0;
#endif
}

#include <asm/processor.h>

/*
 * State components that this process's guests may use, as arch_prctl(ARCH_REQ_XCOMP_GUEST_PERM) left them with its first
 * thread: read as the kernel's own function for it does, which newer kernels keep for KVM.
 */
static inline u64 compat_guest_permission(void)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 16, 0)
	return READ_ONCE(x86_task_fpu(current->group_leader)->guest_perm.__state_perm);
#else
	return READ_ONCE(current->group_leader->thread.fpu.guest_perm.__state_perm);
#endif
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
 * With FRED the kernel no longer takes INT 2 and INT 18 for what they stand for, and its own way of passing an NMI on
 * is KVM's alone.
 */
static inline bool compat_host_uses_fred(void)
{
#ifdef X86_FEATURE_FRED
	return cpu_feature_enabled(X86_FEATURE_FRED);
#else
	return false;
#endif
}

#include <linux/cpumask.h>
#include <asm/apic.h>
#include <asm/irq_vectors.h>

/*
 * The vector that says that interrupts were posted; if it comes to the host instead, nothing happens. A kernel without
 * KVM has none.
 */
#ifdef POSTED_INTR_VECTOR
#define COMPAT_POSTED_VECTOR POSTED_INTR_VECTOR

static inline void compat_send_posted(int cpu)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0)
	__apic_send_IPI_mask(cpumask_of(cpu), POSTED_INTR_VECTOR);
#else
	apic->send_IPI_mask(cpumask_of(cpu), POSTED_INTR_VECTOR);
#endif
}
#else
#define COMPAT_POSTED_VECTOR 0

static inline void compat_send_posted(int cpu)
{
}
#endif

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

#include <linux/shrinker.h>

/* Announces a shrinker of the two functions: the module's only one. NULL: no memory. */
static inline struct shrinker *
compat_shrinker_register(unsigned long (*count)(struct shrinker *shrinker, struct shrink_control *control),
			 unsigned long (*scan)(struct shrinker *shrinker, struct shrink_control *control))
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 7, 0)
	struct shrinker *shrinker = shrinker_alloc(0, "pith");

	if (!shrinker)
		return NULL;
	shrinker->count_objects = count;
	shrinker->scan_objects = scan;
	shrinker->seeks = DEFAULT_SEEKS;
	shrinker_register(shrinker);
	return shrinker;
#else
	static struct shrinker shrinker;

	shrinker = (struct shrinker){ .count_objects = count, .scan_objects = scan, .seeks = DEFAULT_SEEKS };
	return register_shrinker(&shrinker, "pith") ? NULL : &shrinker;
#endif
}

static inline void compat_shrinker_free(struct shrinker *shrinker)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 7, 0)
	shrinker_free(shrinker);
#else
	unregister_shrinker(shrinker);
#endif
}

/* rdmsrl() and wrmsrl() without a call, and without their trace events: for what nearly every slice does. */
static __always_inline u64 compat_rdmsr(u32 msr)
{
	return __rdmsr(msr);
}

static __always_inline void compat_wrmsr(u32 msr, u64 value)
{
	__wrmsr(msr, (u32)value, value >> 32);
}

#endif
