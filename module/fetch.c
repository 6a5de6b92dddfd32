// SPDX-License-Identifier: GPL-2.0
/*
 * Fetching and decoding the instruction at RIP. An instruction that exits, exits again and again: a driver's store to a
 * device, a kernel's RDMSR. So what the last fetch has found out is kept, and only found true again: the bytes, by the
 * entries of the guest's page tables that led to them, and the decoded instruction, by its bytes.
 */
#include <linux/mm.h>
#include <linux/srcu.h>
#include <linux/uaccess.h>

#include "emulate.h"
#include "exit.h"
#include "memory/memory.h"
#include "memory/walk.h"
#include "vm.h"

enum insn_mode vcpu_insn_mode(struct vcpu *vcpu)
{
	vcpu_know(vcpu, STATE_EFER | STATE_SEGMENT(SEG_CS));
	if (vcpu->efer & EFER_LMA) {
		if (vcpu->segment[SEG_CS].l)
			return INSN_MODE_64;
	} else {
		vcpu_know(vcpu, STATE_CR0 | STATE_RFLAGS);
		if (!(vcpu->cr0 & X86_CR0_PE) || (vcpu->regs.rflags & RFLAGS_VM))
			return INSN_MODE_16;
	}
	return vcpu->segment[SEG_CS].db ? INSN_MODE_32 : INSN_MODE_16;
}

static u64 linear_rip(struct vcpu *vcpu, enum insn_mode mode)
{
	u64 rip = vcpu_rip(vcpu);

	return mode == INSN_MODE_64 ? rip : (u32)(vcpu->segment[SEG_CS].base + rip);
}

/* -- the same page again ----------------------------------------------------------------------------------------- */

/* Read at once, the instruction and one byte more. */
#define FETCH_BYTES 16

static int note_entry(void *ctx, u64 gpa, void *entry, unsigned int size)
{
	struct vcpu *vcpu = ctx;
	struct code_page *page = &vcpu->code_page;
	unsigned int i = page->nr_entries++;

	if (i == ARRAY_SIZE(page->entry) || vcpu_read_guest(vcpu, gpa, entry, size))
		return -EFAULT;
	memcpy(&page->entry[i].value, entry, size);
	page->entry[i].host = guest_host_address(vcpu->vm, gpa);
	return 0;
}

static const struct walk_ops noting_ops = { .read = note_entry };

/*
 * Walks the guest's page tables and notes the way. Rights need not be noted: the CPU has just fetched the instruction
 * by these entries, and has marked them as accessed. Only in long mode are they all there is: the PDPTEs of PAE paging
 * are registers.
 */
static int translate_code(struct vcpu *vcpu, u64 linear, u64 *gpa, struct exception *exception)
{
	struct code_page *page = &vcpu->code_page;
	int r;

	page->host = 0;
	page->nr_entries = 0;
	page->seq = memory_sequence(&vcpu->vm->memory);
	/* Pairs with the lock around the increment: by a number that we see we see what changed before it. */
	smp_rmb();
	r = vcpu_walk(vcpu, &noting_ops, vcpu, linear, WALK_FETCH | WALK_NO_AD | vcpu_user_access(vcpu), gpa,
		      exception);
	if (r != WALK_OK || !(vcpu->efer & EFER_LMA))
		return r;
	page->linear = linear & PAGE_MASK;
	page->cr3 = vcpu->cr3;
	page->la57 = vcpu->cr4 & X86_CR4_LA57;
	page->host = guest_host_address(vcpu->vm, *gpa & PAGE_MASK);
	return WALK_OK;
}

/* The instruction's bytes, if the entries are still what they were. */
static bool read_page(const struct code_page *page, unsigned int offset, u64 bytes[2])
{
	const u64 __user *from = (const u64 __user *)(page->host + offset);
	unsigned int i;
	u64 value;

	/* The slots' owner is the client: all of these are below TASK_SIZE, as memory_set_slot() has found. */
	if (!user_read_access_begin(from, FETCH_BYTES))
		return false;
	for (i = 0; i < page->nr_entries; i++) {
		unsafe_get_user(value, (const u64 __user *)page->entry[i].host, failed);
		if (value != page->entry[i].value)
			goto failed;
	}
	unsafe_get_user(bytes[0], from, failed);
	unsafe_get_user(bytes[1], from + 1, failed);
	user_read_access_end();
	return true;
failed:
	user_read_access_end();
	return false;
}

static bool fetch_again(struct vcpu *vcpu, u64 linear, u64 bytes[2])
{
	const struct code_page *page = &vcpu->code_page;
	struct memory *m = &vcpu->vm->memory;
	bool ok = false;
	int idx;

	if (!page->host || (linear & PAGE_MASK) != page->linear || offset_in_page(linear) > PAGE_SIZE - FETCH_BYTES)
		return false;
	vcpu_know(vcpu, STATE_CR3 | STATE_CR4 | STATE_EFER);
	if (!(vcpu->efer & EFER_LMA))
		return false;
	if (vcpu->cr3 != page->cr3 || (vcpu->cr4 & X86_CR4_LA57) != page->la57)
		return false;
	/* As in guest_read(): whoever takes a slot away waits until nobody reads by it. */
	idx = srcu_read_lock(&m->srcu);
	if (memory_sequence(m) == page->seq) {
		pagefault_disable();
		ok = read_page(page, offset_in_page(linear), bytes);
		pagefault_enable();
	}
	srcu_read_unlock(&m->srcu, idx);
	return ok;
}

/* -- fetch ------------------------------------------------------------------------------------------------------- */

/* Bytes from the page of @linear on, INSN_MAX_LENGTH at most over both pages. Returns how many, or WALK_*. */
static unsigned int fetch_page(struct vcpu *vcpu, u64 linear, u8 *bytes, unsigned int len, int *why,
			       struct exception *exception)
{
	u64 gpa;

	len = min_t(unsigned int, len, PAGE_SIZE - offset_in_page(linear));
	*why = translate_code(vcpu, linear, &gpa, exception);
	if (*why == WALK_OK && vcpu_read_guest(vcpu, gpa, bytes, len))
		*why = WALK_UNREADABLE;
	return *why == WALK_OK ? len : 0;
}

/* As many bytes as there are, up to the longest instruction; what stopped it in @why. */
static unsigned int fetch(struct vcpu *vcpu, enum insn_mode mode, u8 *bytes, int *why, struct exception *exception)
{
	u64 linear = linear_rip(vcpu, mode);
	unsigned int len = fetch_page(vcpu, linear, bytes, INSN_MAX_LENGTH, why, exception);

	if (!len || len == INSN_MAX_LENGTH)
		return len;
	linear += len;
	if (mode != INSN_MODE_64)
		linear = (u32)linear;
	return len + fetch_page(vcpu, linear, bytes + len, INSN_MAX_LENGTH - len, why, exception);
}

/* -- decode ------------------------------------------------------------------------------------------------------ */

static bool same_bytes(const struct insn *insn, const u64 bytes[2])
{
	u64 old[2] = {};

	memcpy(old, insn->bytes, INSN_MAX_LENGTH);
	if (insn->length <= sizeof(u64))
		return !((old[0] ^ bytes[0]) << (64 - 8 * insn->length));
	return old[0] == bytes[0] && !((old[1] ^ bytes[1]) << (128 - 8 * insn->length));
}

/* Decodes what was fetched; what keeps the handler from its instruction is in @next. */
static bool decode(struct vcpu *vcpu, enum insn_mode mode, enum next *next)
{
	struct exception exception;
	u8 bytes[INSN_MAX_LENGTH];
	unsigned int len;
	int why, r;

	vcpu->insn.length = 0;
	len = fetch(vcpu, mode, bytes, &why, &exception);
	r = insn_decode(&vcpu->insn, bytes, len, mode);
	if (!r)
		return true;
	vcpu->insn.length = 0;
	*next = NEXT_ENTER;
	if (r == -EAGAIN && why == WALK_FAULT)
		vcpu_raise(vcpu, &exception);
	else if (r == -EAGAIN && vcpu->in_slice)
		*next = NEXT_SLOW;
	else if (r == -EINVAL)
		vcpu_raise_ud(vcpu);
	else if (r == -E2BIG)
		vcpu_raise_gp(vcpu);
	else
		*next = exit_emulation_failure(vcpu, bytes, len);
	return false;
}

const struct insn *vcpu_decode(struct vcpu *vcpu, enum next *next)
{
	enum insn_mode mode = vcpu_insn_mode(vcpu);
	struct insn *insn = &vcpu->insn;
	u64 bytes[2];

	if (fetch_again(vcpu, linear_rip(vcpu, mode), bytes)) {
		if (insn->length && vcpu->insn_mode == mode && same_bytes(insn, bytes))
			return insn;
		insn->length = 0;
		vcpu->insn_mode = mode;
		if (!insn_decode(insn, (const u8 *)bytes, INSN_MAX_LENGTH, mode))
			return insn;
	}
	vcpu->insn_mode = mode;
	return decode(vcpu, mode, next) ? insn : NULL;
}
