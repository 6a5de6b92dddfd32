// SPDX-License-Identifier: GPL-2.0
/*
 * Fetching and decoding the instruction at RIP. An instruction that exits, exits again and again: a driver's store to a
 * device, a kernel's RDMSR. So what its last fetch has found out is kept, and only found true again: the bytes, by the
 * entries of the guest's page tables that led to them, and the decoded instruction, by its bytes.
 */
#include <linux/hash.h>
#include <linux/mm.h>
#include <linux/srcu.h>
#include <linux/uaccess.h>

#include "emulate.h"
#include "exit.h"
#include "memory/memory.h"
#include "memory/walk.h"
#include "vm.h"

enum insn_mode vcpu_legacy_mode(struct vcpu *vcpu)
{
	if (!(vcpu->efer & EFER_LMA)) {
		vcpu_know(vcpu, STATE_RFLAGS);
		if (!(vcpu->cr0 & X86_CR0_PE) || (vcpu->regs.rflags & RFLAGS_VM))
			return INSN_MODE_16;
	}
	return vcpu->segment[SEG_CS].db ? INSN_MODE_32 : INSN_MODE_16;
}

/* -- the same instruction again ---------------------------------------------------------------------------------- */

/* Read at once, the instruction and one byte more. */
#define FETCH_BYTES 16

static struct fetched *kept(struct vcpu *vcpu, u64 linear)
{
	return &vcpu->fetched[hash_64(linear, FETCHED_BITS)];
}

void fetch_forget(struct vcpu *vcpu)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(vcpu->fetched); i++)
		vcpu->fetched[i].host = 0;
}

struct noting {
	struct vcpu *vcpu;
	struct fetched *fetched;
};

static int note_entry(void *ctx, u64 gpa, void *entry, unsigned int size)
{
	const struct noting *noting = ctx;
	struct fetched *fetched = noting->fetched;
	unsigned int i = fetched->nr_entries++;

	if (i == ARRAY_SIZE(fetched->entry) || vcpu_read_guest(noting->vcpu, gpa, entry, size))
		return -EFAULT;
	memcpy(&fetched->entry[i].value, entry, size);
	fetched->entry[i].host = guest_host_address(noting->vcpu, gpa);
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
	struct fetched *fetched = kept(vcpu, linear);
	struct noting noting = { .vcpu = vcpu, .fetched = fetched };
	int r;

	fetched->host = 0;
	fetched->nr_entries = 0;
	fetched->seq = memory_sequence(&vcpu->vm->memory);
	/* Pairs with the lock around the increment: by a number that we see we see what changed before it. */
	smp_rmb();
	r = vcpu_walk(vcpu, &noting_ops, &noting, linear, WALK_FETCH | WALK_NO_AD | vcpu_user_access(vcpu), gpa,
		      exception);
	if (r != WALK_OK || !(vcpu->efer & EFER_LMA))
		return r;
	fetched->linear = linear;
	fetched->cr3 = vcpu->cr3;
	fetched->la57 = vcpu->cr4 & X86_CR4_LA57;
	fetched->host = guest_host_address(vcpu, *gpa);
	return WALK_OK;
}

/* Whether the entries are still what they were, and the instruction's bytes behind them. */
static bool read_again(const struct fetched *fetched)
{
	const u64 __user *from = (const u64 __user *)fetched->host;
	const struct fetched_entry *entry = fetched->entry, *end = entry + fetched->nr_entries;
	u64 value;

	/* The slots' owner is the client: all of these are below TASK_SIZE, as memory_set_slot() has found. */
	if (!user_read_access_begin(from, FETCH_BYTES))
		return false;
	for (; entry < end; entry++) {
		unsafe_get_user(value, (const u64 __user *)entry->host, failed);
		if (value != entry->value)
			goto failed;
	}
	unsafe_get_user(value, from, failed);
	if ((value ^ fetched->bytes[0]) & fetched->mask[0])
		goto failed;
	unsafe_get_user(value, from + 1, failed);
	user_read_access_end();
	return !((value ^ fetched->bytes[1]) & fetched->mask[1]);
failed:
	user_read_access_end();
	return false;
}

static bool is_the_same(struct vcpu *vcpu, const struct fetched *fetched, u64 linear, enum insn_mode mode)
{
	struct memory *m = &vcpu->vm->memory;
	bool ok = false;
	int idx;

	if (!fetched->host || linear != fetched->linear || offset_in_page(linear) > PAGE_SIZE - FETCH_BYTES)
		return false;
	if (!fetched->insn.length || fetched->mode != mode)
		return false;
	vcpu_know(vcpu, STATE_CR3 | STATE_EFER);
	if (!(vcpu->efer & EFER_LMA))
		return false;
	if (vcpu->cr3 != fetched->cr3 || (vcpu->cr4 & X86_CR4_LA57) != fetched->la57)
		return false;
	/* As in guest_read(): whoever takes a slot away waits until nobody reads by it. */
	idx = srcu_read_lock(&m->srcu);
	if (memory_sequence(m) == fetched->seq) {
		pagefault_disable();
		ok = read_again(fetched);
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
	u64 linear = vcpu_linear_rip(vcpu, mode);
	unsigned int len = fetch_page(vcpu, linear, bytes, INSN_MAX_LENGTH, why, exception);

	if (!len || len == INSN_MAX_LENGTH)
		return len;
	linear += len;
	if (mode != INSN_MODE_64)
		linear = (u32)linear;
	return len + fetch_page(vcpu, linear, bytes + len, INSN_MAX_LENGTH - len, why, exception);
}

/* -- decode ------------------------------------------------------------------------------------------------------ */

/* The bytes of the instruction alone count: what follows it may change. */
static void note_bytes(struct fetched *fetched)
{
	unsigned int bits = 8 * fetched->insn.length;

	memset(fetched->bytes, 0, sizeof(fetched->bytes));
	memcpy(fetched->bytes, fetched->insn.bytes, fetched->insn.length);
	fetched->mask[0] = bits >= 64 ? ~0ull : BIT_ULL(bits) - 1;
	fetched->mask[1] = bits > 64 ? BIT_ULL(bits - 64) - 1 : 0;
}

/* Decodes what was fetched; what keeps the handler from its instruction is in @next. */
static noinline const struct insn *decode(struct vcpu *vcpu, struct fetched *fetched, enum insn_mode mode,
					  enum next *next)
{
	struct insn *insn = &fetched->insn;
	struct exception exception;
	u8 bytes[INSN_MAX_LENGTH];
	unsigned int len;
	int why, r;

	len = fetch(vcpu, mode, bytes, &why, &exception);
	r = insn_decode(insn, bytes, len, mode);
	if (!r) {
		fetched->mode = mode;
		note_bytes(fetched);
		return insn;
	}
	insn->length = 0;
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
	return NULL;
}

const struct insn *vcpu_decode(struct vcpu *vcpu, enum next *next)
{
	enum insn_mode mode = vcpu_insn_mode(vcpu);
	u64 linear = vcpu_linear_rip(vcpu, mode);
	struct fetched *fetched = kept(vcpu, linear);

	vcpu->insn = &fetched->insn;
	if (likely(is_the_same(vcpu, fetched, linear, mode)))
		return &fetched->insn;
	return decode(vcpu, fetched, mode, next);
}
