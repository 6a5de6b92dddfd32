/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A virtual machine: what its vCPUs share. Its memory is that of the process that created it (see memory/memory.h), its
 * interrupt controllers stand in irq/irqchip.h.
 */
#ifndef PITH_VM_H
#define PITH_VM_H

#include <linux/kvm.h>
#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/srcu.h>
#include <linux/types.h>

#include "cpu/clock.h"
#include "coalesced.h"
#include "memory/memory.h"

struct vcpu;
struct irqchip;
struct msr_filter;
struct ioeventfds;

#define VM_MAX_VCPUS 1024
#define VM_MAX_VCPU_IDS 4096

#define VM_QUIRKS \
	(KVM_X86_QUIRK_MISC_ENABLE_NO_MWAIT | KVM_X86_QUIRK_FIX_HYPERCALL_INSN | KVM_X86_QUIRK_MWAIT_NEVER_UD_FAULTS)

/*
 * lock orders: vm->lock, then vcpu->mutex, then clock.lock, then memory locks, then irqchip locks. vcpus[] only grows while the VM lives:
 * an entry below nr_vcpus, read with acquire, is there for good.
 */
struct vm {
	refcount_t users; /* the VM's file and each vCPU's file */
	struct mm_struct *mm;
	pid_t pid;	   /* of who made it, for its statistics' name */
	struct mutex lock; /* configuration: slots, chips, vCPU creation */
	struct memory memory;
	struct irqchip *irqchip;       /* NULL: the interrupt controllers are in user space */
	bool pic_in_client;	       /* with or without an irqchip: interrupts come by KVM_INTERRUPT, too */
	struct ioeventfds *ioeventfds; /* NULL: none yet */
	struct coalesced coalesced;
	u64 x2apic_api; /* KVM_X2APIC_API_* in force */

	unsigned int nr_vcpus;
	u32 boot_vcpu_id;
	u32 max_vcpu_ids; /* ids are below it; 0: not decided yet */
	struct vcpu **vcpus;

	struct msr_filter __rcu *msr_filter; /* NULL: everything is allowed */
	u32 user_space_msr;		     /* KVM_MSR_EXIT_REASON_* that go to the client */

	bool no_platform_info; /* MSR_PLATFORM_INFO is not for guests to read */
	u64 disabled_quirks;   /* KVM_X86_QUIRK_* */
	u64 disabled_exits;    /* KVM_X86_DISABLE_EXITS_*: the guest executes it itself */
	bool triple_fault_event;
	bool exit_on_emulation_failure;

	bool bugged; /* an invariant broke: every ioctl answers -EIO */
	struct vm_clock clock;
	unsigned int halt_poll_ns; /* the most, if the client has said so */
	bool has_halt_poll_ns;
	struct {
		u32 generation; /* 0: off */
		u32 last;	/* that there was */
		u32 nr;		/* of records in each ring; 0: there are none */
		bool logs;
		unsigned int counters; /* who count */
	} exit_log;		       /* see exit_log.c; vm->lock */
	struct mutex inspecting;       /* one inspection at a time: see inspect.c */
	unsigned int last_boosted;     /* index of the vCPU that a spinning one yielded to last */
};

long vm_create(unsigned long type);
void vm_get(struct vm *vm);
void vm_put(struct vm *vm);

/**
 * vm_open_file - a new file to read, which holds on to the VM
 * @object: the file's private_data; its release puts the VM
 *
 * May sleep. Return: the file's number, or an errno.
 */
long vm_open_file(struct vm *vm, const char *name, const struct file_operations *fops, void *object);
struct vm *vm_of_file(struct file *file);

/* Says once in the kernel log what broke, and ends the VM (never the host). */
#define vm_bug(vm, fmt, ...)                                                                     \
	do {                                                                                     \
		if (!xchg(&(vm)->bugged, true))                                                  \
			pr_err("VM of pid %d stopped: " fmt "\n", current->tgid, ##__VA_ARGS__); \
		vm_kick_all(vm);                                                                 \
	} while (0)

void vm_kick_all(struct vm *vm);

/* Sets the request in every vCPU and makes those in guest mode see it before it returns to the guest. See vcpu.h. */
void vm_request_all(struct vm *vm, unsigned int request);

static inline unsigned int vm_nr_vcpus(const struct vm *vm)
{
	return smp_load_acquire(&vm->nr_vcpus);
}

#define vm_for_each_vcpu(vm, vcpu, i) for ((i) = 0; (i) < vm_nr_vcpus(vm) && ((vcpu) = (vm)->vcpus[i]); (i)++)

/* KVM_CAP_MAX_VCPU_ID: args[0] is one more than the highest id; vm->lock held. Once, and before there are vCPUs. */
int vm_limit_vcpu_ids(struct vm *vm, const u64 args[4]);

struct vcpu *vm_vcpu_by_id(struct vm *vm, u32 id);

#endif
