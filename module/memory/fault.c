// SPDX-License-Identifier: GPL-2.0
/*
 * Second-stage faults: from a guest-physical address by its slot to the client's address, from there by the host's page
 * tables to a page, and that into the second-stage tables. No reference to the page is kept: the MMU notifier tells
 * when the client's mapping of it ends.
 *
 * Everything up to the last step may sleep and holds no lock, so it may be stale by then: the slot may be gone, the
 * page may have been taken from the client. Both bump invalidate_seq after they changed what a fault looks at; a fault
 * reads it before it looks, and again when it holds the lock. If it differs nothing is installed: the guest runs into
 * the same fault again.
 */
#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/sched/signal.h>
#include <linux/srcu.h>
#include <linux/swap.h>

#include "../compat.h"
#include "../vcpu.h"
#include "internal.h"

struct fault {
	struct vm *vm;
	unsigned long seq;
	struct slot slot;   /* as it was when seq was read */
	unsigned long host; /* the client's address of the page */
	struct page *page;  /* referenced; NULL when the host manages none for that memory */
	struct mapping map;
};

/* -- the slot ---------------------------------------------------------------------------------------------------- */

/* Returns 0 with the slot's values copied, MEMORY_MMIO, or -EAGAIN while a slot is on its way out. */
static int look_up_slot(struct fault *fault)
{
	struct memory *m = &fault->vm->memory;
	struct slot *slot;
	int idx;

	fault->seq = READ_ONCE(m->invalidate_seq);
	/* Pairs with the lock around the increment: if we see the new number, we see what changed before it. */
	smp_rmb();
	idx = srcu_read_lock(&m->srcu);
	slot = slots_find(srcu_dereference(m->slots, &m->srcu), fault->map.gfn);
	if (slot)
		fault->slot = *slot;
	srcu_read_unlock(&m->srcu, idx);

	if (!slot || (fault->map.write && (fault->slot.flags & KVM_MEM_READONLY)))
		return MEMORY_MMIO;
	if (fault->slot.retired)
		return -EAGAIN;
	fault->host = slot_address(&fault->slot, fault->map.gfn);
	return 0;
}

/* -- the host page ----------------------------------------------------------------------------------------------- */

static bool is_ram(unsigned long pfn)
{
	return pfn_valid(pfn) && !PageReserved(pfn_to_page(pfn));
}

static int follow_driver_mapping(struct fault *fault, struct vm_area_struct *vma)
{
	struct mapping *map = &fault->map;
	unsigned long pfn;

	if (compat_follow_pfn(vma, fault->host, &pfn, &map->writable) || (map->write && !map->writable))
		return -EFAULT;
	map->pfn = pfn;
	map->uncached = !is_ram(pfn);
	map->writable &= !(fault->slot.flags & KVM_MEM_READONLY);
	return 0;
}

/*
 * Memory that a driver mapped without giving the kernel's memory management a say: device registers, reserved RAM.
 * Where it is not mapped, or not for writing, the driver is asked. It may take it away again at once: then -EAGAIN.
 */
static int find_driver_page(struct fault *fault)
{
	struct mm_struct *mm = fault->vm->mm;
	struct vm_area_struct *vma;
	bool unlocked = false;
	int r = -EFAULT;

	mmap_read_lock(mm);
	vma = vma_lookup(mm, fault->host);
	if (!vma || !(vma->vm_flags & (VM_IO | VM_PFNMAP)) || !(vma->vm_flags & VM_READ))
		goto out;
	r = follow_driver_mapping(fault, vma);
	if (!r)
		goto out;
	r = fixup_user_fault(mm, fault->host, fault->map.write ? FAULT_FLAG_WRITE : 0, &unlocked);
	if (!r)
		r = unlocked ? -EAGAIN : follow_driver_mapping(fault, vma);
	if (r == -EFAULT && READ_ONCE(fault->vm->memory.invalidate_seq) != fault->seq)
		r = -EAGAIN;
out:
	mmap_read_unlock(mm);
	return r;
}

/* As KVM does it: the client hears of a poisoned page by the signal that a load of its own would have got. */
static int report_poison(const struct fault *fault)
{
	send_sig_mceerr(BUS_MCEERR_AR, (void __user *)fault->host, PAGE_SHIFT, current);
	return -EAGAIN;
}

/* Without sleeping, by a walk of the host's tables. After a failure what it leaves in its result means nothing. */
static bool find_page_fast(struct fault *fault, bool write)
{
	struct page *page;

	if (!get_user_page_fast_only(fault->host, write ? FOLL_WRITE : 0, &page))
		return false;
	if (fault->page)
		put_page(fault->page);
	fault->page = page;
	fault->map.writable = write;
	return true;
}

/* Brings the page in: from swap, from userfaultfd, by copy-on-write, and sleeps for it. Returns 0 or an errno. */
static int find_page_slow(struct fault *fault)
{
	unsigned int flags = FOLL_HWPOISON | COMPAT_FOLL_INTERRUPTIBLE | (fault->map.write ? FOLL_WRITE : 0);
	struct page *page;
	long r;

	r = get_user_pages_unlocked(fault->host, 1, &page, flags);
	if (r != 1)
		return r < 0 ? r : -EFAULT;
	fault->page = page;
	fault->map.writable = fault->map.write;
	return 0;
}

/* Even a read gets a page that can be written to, when there is one at hand, to save the fault at the first write. */
static int find_page(struct fault *fault)
{
	bool may_write = !(fault->slot.flags & KVM_MEM_READONLY);
	int r = 0;

	if (!find_page_fast(fault, may_write)) {
		r = find_page_slow(fault);
		if (!r && may_write && !fault->map.write)
			find_page_fast(fault, true);
	}
	if (r == -EHWPOISON)
		return report_poison(fault);
	if (r == -EFAULT)
		return find_driver_page(fault);
	if (!r)
		fault->map.pfn = page_to_pfn(fault->page);
	return r;
}

/*
 * The level at which the host maps an address. Interrupts off keep its tables from being freed under the walk (that
 * waits for an IPI, or for RCU); each entry is read once, for it may change. So may the answer: the caller checks
 * invalidate_seq.
 */
static unsigned int host_level(struct mm_struct *mm, unsigned long address)
{
	unsigned int level = 1;
	unsigned long flags;
	pgd_t pgd;
	p4d_t p4d;
	pud_t pud;
	pmd_t pmd;

	local_irq_save(flags);
	pgd = READ_ONCE(*pgd_offset(mm, address));
	if (!pgd_present(pgd))
		goto out;
	p4d = READ_ONCE(*p4d_offset(&pgd, address));
	if (!p4d_present(p4d))
		goto out;
	pud = READ_ONCE(*pud_offset(&p4d, address));
	if (!pud_present(pud))
		goto out;
	if (pud_leaf(pud)) {
		level = 3;
		goto out;
	}
	pmd = READ_ONCE(*pmd_offset(&pud, address));
	if (pmd_present(pmd) && pmd_leaf(pmd))
		level = 2;
out:
	local_irq_restore(flags);
	return level;
}

/* The leaf must not reach over the slot's ends, and guest and host have to be aligned alike. */
static bool leaf_fits(const struct fault *fault, unsigned int level)
{
	u64 pages = level_pages(level), first = round_down(fault->map.gfn, pages);
	const struct slot *slot = &fault->slot;

	return first >= slot->gfn && first + pages <= slot->gfn + slot->npages &&
	       !((fault->map.gfn ^ fault->map.pfn) & (pages - 1));
}

static void choose_leaf(struct fault *fault)
{
	const struct table_format *format = fault->vm->memory.format;
	struct mapping *map = &fault->map;

	map->level = 1;
	if (fault->slot.dirty) {
		/* Every page is to be logged, or to fault, at its first write after it was last asked for. */
		map->clean = format->logs_dirty && !map->write;
		map->writable &= map->write || map->clean;
		return;
	}
	map->level = min(host_level(fault->vm->mm, fault->host), format->largest);
	while (!leaf_fits(fault, map->level))
		map->level--;
	if (map->level > 1 && nx_huge_applies(&fault->vm->memory)) {
		map->large_no_exec = true;
		if (map->exec) {
			map->broken_up = map->level;
			map->level = 1;
		}
	}
}

/* -- the tables --------------------------------------------------------------------------------------------------- */

/* Whether what was found out may no longer be so. Under the lock. The whole leaf counts. */
static bool is_stale(const struct fault *fault)
{
	const struct memory *m = &fault->vm->memory;
	unsigned long size = level_pages(fault->map.level) << PAGE_SHIFT, start = round_down(fault->host, size);

	if (m->invalidate_active && start < m->invalidate_end && m->invalidate_start < start + size)
		return true;
	return m->invalidate_seq != fault->seq;
}

/*
 * Under the lock the host page is the client's still: an invalidation that takes it away waits for the lock before it
 * begins. So this is the time to say that it will be written to. Likewise the log: whoever clears a bit in it and
 * protects the page does both under the lock, and so comes before the entry and its bit or after them.
 */
static int install(struct fault *fault, u64 **spare)
{
	const struct mapping *map = &fault->map;
	struct page *page = fault->page;
	int r;

	if (is_stale(fault))
		return MEMORY_MAPPED;
	r = tables_map(&fault->vm->memory, map, spare);
	if (r)
		return r;
	if (map->write)
		slot_mark_dirty(&fault->slot, map->gfn);
	if (map->writable && page && !PageReserved(page))
		SetPageDirty(page);
	return MEMORY_MAPPED;
}

/* Table pages cannot be allocated under the lock: each time one is missing, one is got and all is checked again. */
static int install_with_tables(struct fault *fault)
{
	struct memory *m = &fault->vm->memory;
	u64 *spare = NULL;
	int r;

	for (;;) {
		read_lock(&m->lock);
		r = install(fault, &spare);
		read_unlock(&m->lock);
		if (r != -EAGAIN)
			break;
		spare = table_alloc();
		if (!spare)
			return -ENOMEM;
	}
	free_page((unsigned long)spare);
	return r;
}

/* -EEXIST: something else stood there, and is gone now. */
static int map_page(struct fault *fault)
{
	u64 gfn = fault->map.gfn;
	int r;

	choose_leaf(fault);
	r = install_with_tables(fault);
	/*
	 * A large leaf that is not for code. Or something that the notifier should have removed (a driver that does
	 * without it): now it is.
	 */
	if (r == -EEXIST)
		memory_unmap(fault->vm, gfn, gfn + 1, true);
	return r;
}

/*
 * The overlay, if it is what stands at the page. Looked for after the slot, and so after invalidate_seq: who takes it
 * away bumps that afterwards. See memory_fault() for who puts a slot there.
 */
static struct page *find_overlay(const struct fault *fault)
{
	const struct memory *m = &fault->vm->memory;

	return fault->slot.npages || fault->map.gfn != m->overlay_gfn ? NULL : READ_ONCE(m->overlay);
}

static int map_overlay(struct fault *fault, struct page *page)
{
	fault->map.pfn = page_to_pfn(page);
	fault->map.level = 1;
	fault->map.writable = true;
	return install_with_tables(fault);
}

void memory_set_overlay(struct vm *vm, u64 gfn, struct page *page)
{
	vm->memory.overlay_gfn = gfn;
	WRITE_ONCE(vm->memory.overlay, page);
	memory_unmap(vm, gfn, gfn + 1, true);
}

static struct fault new_fault(struct vcpu *vcpu, u64 gpa, u32 access)
{
	return (struct fault){
		.vm = vcpu->vm,
		.map = { .gfn = as_gfn(vcpu->as_id, gpa), .write = access & ACCESS_WRITE, .exec = access & ACCESS_EXEC }
	};
}

static void end_fault(struct fault *fault)
{
	if (fault->page)
		put_page(fault->page);
}

static int answer_fault(struct vcpu *vcpu, u64 gpa, u32 access)
{
	struct fault fault = new_fault(vcpu, gpa, access);
	struct page *overlay = READ_ONCE(vcpu->vm->memory.overlay);
	int r;

	/* It was there before the slot was not: whoever creates that one since, sees it and takes it away. */
	r = look_up_slot(&fault);
	if (r == MEMORY_MMIO && overlay && overlay == find_overlay(&fault))
		return map_overlay(&fault, overlay);
	if (!r)
		r = find_page(&fault);
	if (!r)
		r = map_page(&fault);
	end_fault(&fault);
	return r;
}

int memory_fault(struct vcpu *vcpu, u64 gpa, u32 access)
{
	int r;

	/* What is mapped is the caller's memory. */
	if (current->mm != vcpu->vm->mm)
		return -EFAULT;
	atomic64_inc(&vcpu->vm->memory.nr_faults);
	r = answer_fault(vcpu, gpa, access);
	/*
	 * Not left to the guest: to fetch the instruction it reads its page tables first, and where these stand in the
	 * same large page it would have that mapped again.
	 */
	if (r == -EEXIST)
		r = answer_fault(vcpu, gpa, access);
	/* To try again means to let the guest fault again: its thread looks for signals on the way. */
	return r == -EAGAIN || r == -EEXIST ? MEMORY_MAPPED : r;
}

/* The common case: the client has the page, and the tables lack only the leaf. Whatever else: -EAGAIN. */
static int map_page_atomic(struct fault *fault)
{
	struct memory *m = &fault->vm->memory;
	u64 *spare = NULL;
	int r;

	if (!find_page_fast(fault, !(fault->slot.flags & KVM_MEM_READONLY)))
		return -EAGAIN;
	fault->map.pfn = page_to_pfn(fault->page);
	choose_leaf(fault);
	read_lock(&m->lock);
	r = install(fault, &spare);
	read_unlock(&m->lock);
	return r == -EEXIST ? -EAGAIN : r;
}

/* Apart from its caller: a device's register needs none of it. */
static noinline int answer_fault_atomic(struct vcpu *vcpu, u64 gpa, u32 access)
{
	struct fault fault = new_fault(vcpu, gpa, access);
	int r;

	r = look_up_slot(&fault);
	if (r == MEMORY_MMIO) {
		/* What a write to a read-only slot is for, it may also read: that takes more than a device. */
		if (fault.slot.npages || find_overlay(&fault))
			return -EAGAIN;
		vcpu->slotless.gfn = fault.map.gfn;
		vcpu->slotless.seq = fault.seq;
		return MEMORY_MMIO;
	}
	if (!r)
		r = map_page_atomic(&fault);
	end_fault(&fault);
	if (r == MEMORY_MAPPED)
		atomic64_inc(&vcpu->vm->memory.nr_faults);
	return r;
}

int memory_fault_atomic(struct vcpu *vcpu, u64 gpa, u32 access)
{
	if (current->mm != vcpu->vm->mm)
		return -EAGAIN;
	/* Devices leave nothing in the tables, so each access to one comes here. */
	if (as_gfn(vcpu->as_id, gpa) == vcpu->slotless.gfn && memory_sequence(&vcpu->vm->memory) == vcpu->slotless.seq)
		return MEMORY_MMIO;
	return answer_fault_atomic(vcpu, gpa, access);
}

u64 memory_root(struct vcpu *vcpu)
{
	return __pa(vcpu->vm->memory.root[vcpu->as_id]);
}
