/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Guest memory is process memory: a slot says which range of the client's address space stands at which
 * guest-physical address, and the second-stage tables (EPT or NPT) are a cache of the client's page tables, kept true
 * by an MMU notifier. Nothing is pinned.
 */
#ifndef PITH_MEMORY_H
#define PITH_MEMORY_H

#include <linux/kvm.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/rbtree.h>
#include <linux/spinlock.h>
#include <linux/srcu.h>
#include <linux/types.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

struct vm;
struct vcpu;
struct slot;
struct pith_inspect_page;
struct pith_inspect_slot;

/* As many as KVM has for users; their numbers are below. */
#define MEMORY_MAX_SLOTS 32764

/*
 * Address spaces, as KVM numbers them: what a vCPU sees, and what it sees in system-management mode. Each has second-stage
 * tables of its own. All else is shared: an address space's pages come behind those of the one before, beyond all physical
 * addresses.
 */
enum { MEMORY_AS_NORMAL, MEMORY_AS_SMM, MEMORY_ADDRESS_SPACES };

/* All slots, in two orders: intervals of guest pages, which do not overlap, and of host addresses, which may. */
enum slot_order { BY_GFN, BY_HOST, NR_SLOT_ORDERS };

#define NR_SLOT_SETS 2

/* Pages of 4 KiB, 2 MiB, 1 GiB. */
#define MEMORY_LEAF_LEVELS 3

struct slots {
	struct rb_root_cached tree[NR_SLOT_ORDERS];
	struct slot *hint; /* what the last lookup by gfn found */
	unsigned int index;
};

/* What an access wants. */
#define ACCESS_READ BIT(0)
#define ACCESS_WRITE BIT(1)
#define ACCESS_EXEC BIT(2)
#define ACCESS_WALK BIT(3) /* not by the instruction but by the CPU's walk of the guest's page tables */

/*
 * How the vendor's second-stage entries spell what the tables have to say. A leaf is: address | always | one of the
 * access bits | large above the lowest level | memory type.
 */
struct table_format {
	u64 read; /* what makes an entry readable: EPT bit 0; NPT: present | user */
	u64 write;
	u64 exec;     /* set when executable (EPT), 0 where execution needs no bit (NPT) */
	u64 no_exec;  /* set when not executable (NPT bit 63) */
	u64 accessed; /* 0 where the hardware keeps no accessed bit */
	u64 dirty;
	u64 large;
	u64 table;	   /* the bits of an entry that points to a table */
	u64 leaf;	   /* bits of every leaf: EPT memory type WB | ignore PAT */
	u64 leaf_uncached; /* instead of leaf, for host memory that is not RAM */
	bool logs_dirty;   /* the backend calls memory_mark_dirty() for each small page whose dirty bit the CPU sets */
	unsigned int levels;  /* 4 */
	unsigned int largest; /* highest level with leaves: 1 = 4 KiB only, 2 = 2 MiB, 3 = 1 GiB */
};

/*
 * The second-stage tables change in two ways. Faults add to them, in parallel: they hold the lock for reading and
 * change single entries by compare-and-exchange. All that takes away (entries, rights, tables) holds it for writing and
 * makes every vCPU flush before it lets go: so whoever holds the lock sees nothing that a CPU may still use after it is
 * gone, and who got the lock after an entry's removal need not ask whether somebody's flush is still under way.
 *
 * What a fault found out before it took the lock may be stale by then. It remembers invalidate_seq from before it
 * began; if that has grown, or an invalidation that covers the address is under way, it has to begin anew.
 */
struct memory {
	struct srcu_struct srcu;   /* readers of slots */
	struct slots __rcu *slots; /* one of the two */
	struct slots slot_sets[NR_SLOT_SETS];
	struct xarray slot_ids;	 /* id -> struct slot, for writers */
	struct mutex slots_lock; /* writers of slots, and the clearing of dirty logs */
	struct mmu_notifier notifier;
	u64 manual_protect;	    /* KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2: the flags in force */
	unsigned long nr_mmu_pages; /* KVM_SET_NR_MMU_PAGES; 0: not asked for */
	unsigned int nr_logged;	    /* slots with a dirty log */

	/* Second-stage tables. */
	const struct table_format *format;
	u64 *root[MEMORY_ADDRESS_SPACES];
	rwlock_t lock;
	unsigned long invalidate_seq;	 /* grows at each removal, as an invalidation ends, with new slots */
	unsigned long invalidate_active; /* invalidations under way */
	unsigned long invalidate_start, invalidate_end; /* the host range they cover, when active */
	atomic_long_t nr_tables;
	struct page *overlay; /* see memory_set_overlay() */
	u64 overlay_gfn;
	u64 nr_leaves[MEMORY_LEAF_LEVELS]; /* statistics: see memory_count_leaves() */
	atomic64_t nr_broken_up;	   /* tables that stand for a leaf that would not be for code */
	bool code_in_large_pages;	   /* KVM_CAP_VM_DISABLE_NX_HUGE_PAGES */
	struct delayed_work recovery;	   /* of what is broken up */
	u64 recovered_to;		   /* gfn */
	struct list_head all;		   /* of the shrinker */
	u64 shrunk_to;			   /* gfn */
	atomic64_t nr_faults, nr_unmapped; /* statistics: faults; entries removed, tables of entries counting one */
};

/** memory_setup, memory_teardown - what all VMs share: the shrinker. 0 or -ENOMEM. */
int memory_setup(void);
void memory_teardown(void);

/**
 * memory_init - gives a new VM its empty memory and registers the MMU notifier
 * @vm: vm->mm is the caller's mm; from here on until memory_destroy() the notifier may send requests to its vCPUs
 * Context: process; may sleep. Returns 0 or -ENOMEM, -EINTR.
 */
int memory_init(struct vm *vm, const struct table_format *format);

/**
 * memory_destroy - drops tables, slots and the notifier
 * @vm: no vCPU runs any more, but none is freed yet: the notifier may still be sending requests. May sleep.
 */
void memory_destroy(struct vm *vm);

/**
 * memory_set_slot - KVM_SET_USER_MEMORY_REGION: create, move, change the flags of or delete a slot
 * @vm: locked by vm->lock
 * @region: the client's wish, already copied in; anything may stand in it. The upper half of the slot's number is that of
 * its address space.
 * Returns 0 or KVM's errno: -EINVAL, -EEXIST, -ENOMEM.
 */
int memory_set_slot(struct vm *vm, const struct kvm_userspace_memory_region *region);

/*
 * memory_get_dirty_log - KVM_GET_DIRTY_LOG: copies a slot's bitmap out and, if the client does not want to do this
 * itself, takes it and protects its pages again. memory_clear_dirty_log - KVM_CLEAR_DIRTY_LOG: takes what the client's
 * bitmap has. They may sleep. Return 0, -EINVAL, -ENOENT (no such slot, or it has no log), -EFAULT.
 */
int memory_get_dirty_log(struct vm *vm, const struct kvm_dirty_log *log);
int memory_clear_dirty_log(struct vm *vm, const struct kvm_clear_dirty_log *log);

/**
 * memory_is_logged, memory_mark_dirty - where the CPU logs writes: whether it need be asked for them, and a page it
 * names A vCPU that was in guest mode does so before it takes the interrupt by which others wait for it. Context: any.
 */
static inline bool memory_is_logged(const struct memory *m)
{
	return READ_ONCE(m->nr_logged);
}

void memory_mark_dirty(struct vcpu *vcpu, u64 gpa);

/*
 * KVM_ENABLE_CAP, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2; vm->lock held. The flags count for what is asked for afterwards.
 */
#define MEMORY_MANUAL_PROTECT_FLAGS (KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | KVM_DIRTY_LOG_INITIALLY_SET)
int memory_manual_protect(struct vm *vm, const u64 args[4]);

/*
 * KVM_SET_NR_MMU_PAGES, KVM_GET_NR_MMU_PAGES: a limit for the shadow pages of CPUs without EPT and NPT. As in KVM with
 * them it is only kept: what the tables may grow to is set by the guest's memory, and they shrink when memory is short.
 */
int memory_set_nr_mmu_pages(struct vm *vm, unsigned long nr);
unsigned long memory_get_nr_mmu_pages(struct vm *vm);

/*
 * KVM_ENABLE_CAP, KVM_CAP_VM_DISABLE_NX_HUGE_PAGES; vm->lock held: the guest may execute from large pages whatever the
 * parameter nx_huge_pages says. 0; -EPERM without CAP_SYS_BOOT; -EINVAL, with a vCPU too.
 */
int memory_disable_nx_huge_pages(struct vm *vm, const u64 args[4]);

/**
 * memory_set_overlay - a page of the module's stands at a guest page if no slot holds that, for what the CPU does with
 * accesses there; software goes on finding nothing
 * @gfn: always the same one
 * @page: the VM's, until its end; NULL: takes it away, and no vCPU uses it any more on return
 * Context: process; calls are ordered by the caller.
 */
void memory_set_overlay(struct vm *vm, u64 gfn, struct page *page);

enum memory_fault {
	MEMORY_MAPPED = 0, /* an entry is there now (or a concurrent change asks for another try): enter again */
	MEMORY_MMIO = 1,   /* no slot holds the address, or the access writes to a read-only slot */
			   /*
	 * negative: -EFAULT when the client's own mapping is missing or forbids it, -EINTR when a signal ended the
	 * wait for a page, -ENOMEM. A poisoned page is MEMORY_MAPPED: as with KVM the caller has SIGBUS pending.
	 */
};

/**
 * memory_fault - answers a second-stage fault: maps the host page that stands behind a guest-physical address
 * @vcpu: whose access that was
 * @gpa: the guest-physical address, bytes
 * @access: ACCESS_* bits of the access that faulted
 * Context: process, in the VM's mm; may sleep; no lock. Faults of several vCPUs run in parallel.
 * Returns enum memory_fault or a negative errno.
 */
int memory_fault(struct vcpu *vcpu, u64 gpa, u32 access);

/**
 * memory_fault_atomic - what memory_fault() can do without sleeping
 * Returns MEMORY_MAPPED, MEMORY_MMIO where no slot is, or -EAGAIN: it takes memory_fault(). Context: may not sleep; the
 * VM's process.
 */
int memory_fault_atomic(struct vcpu *vcpu, u64 gpa, u32 access);

/**
 * memory_is_mmio - whether software has to answer this access: no slot there, or a write to a read-only slot
 * Context: any that may take an SRCU read lock.
 */
bool memory_is_mmio(struct vcpu *vcpu, u64 gpa, bool write);

/**
 * memory_sequence - grows whenever something that was found out about guest memory may no longer be so
 * Context: to use a host address that was found before, hold @srcu, in which this must be what it was.
 */
static __always_inline unsigned long memory_sequence(const struct memory *m)
{
	return READ_ONCE(m->invalidate_seq);
}

/** memory_count_leaves - brings nr_leaves up to date, by a look at all tables. May sleep. */
void memory_count_leaves(struct memory *m);

/** memory_inspect_slot - PITH_INSPECT_SLOT: 0 or -ENOENT. May sleep. */
int memory_inspect_slot(struct vm *vm, struct pith_inspect_slot *slot);

/** memory_inspect_page - PITH_INSPECT_PAGE; @see_host: the caller may see host-physical addresses */
void memory_inspect_page(struct vm *vm, struct pith_inspect_page *page, bool see_host);

/** guest_host_address - the client's address of readable guest memory, or 0 */
unsigned long guest_host_address(struct vcpu *vcpu, u64 gpa);

/** memory_root - the host-physical address of the top table that a vCPU is to use, for EPTP or nCR3 */
u64 memory_root(struct vcpu *vcpu);

/**
 * guest_read, guest_write - copy from or to guest-physical memory, across pages and slots; writes go to the dirty log
 * Two, four or eight naturally aligned bytes are read and written as one, as the CPU does it.
 * Context: process, in the VM's mm; may sleep. Returns 0, or -EFAULT if any byte has no slot or no host page (a write
 * to a read-only slot is -EFAULT as well). Address space 0.
 */
int guest_read(struct vm *vm, u64 gpa, void *buf, size_t len);
int guest_write(struct vm *vm, u64 gpa, const void *buf, size_t len);

/**
 * guest_cmpxchg - compare-and-exchange of 4 or 8 aligned bytes of guest memory, atomic against vCPUs (page-table A/D
 * bits). Context: process, in the VM's mm; may sleep. Returns 0 when exchanged, 1 when *old differed (and *old is the
 * value seen), -EFAULT.
 */
int guest_cmpxchg(struct vm *vm, u64 gpa, unsigned int size, u64 *old, u64 new);

/**
 * vcpu_read, vcpu_read_atomic, vcpu_write, vcpu_cmpxchg - the same in the address space that the vCPU sees now
 * _atomic is for where sleeping is not allowed: -EFAULT also when the page is not present just now.
 */
int vcpu_read(struct vcpu *vcpu, u64 gpa, void *buf, size_t len);
int vcpu_read_atomic(struct vcpu *vcpu, u64 gpa, void *buf, size_t len);
int vcpu_write(struct vcpu *vcpu, u64 gpa, const void *buf, size_t len);
int vcpu_cmpxchg(struct vcpu *vcpu, u64 gpa, unsigned int size, u64 *old, u64 new);

#endif
