// SPDX-License-Identifier: GPL-2.0
/* Source: KVM's api.rst, "KVM_X86_SET_MSR_FILTER", "KVM_CAP_X86_USER_SPACE_MSR", "KVM_EXIT_X86_RDMSR". */
#include <linux/bitmap.h>
#include <linux/err.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "../trace.h"
#include "../vm.h"
#include "msr_filter.h"

#define X2APIC_FIRST 0x800
#define X2APIC_LAST 0x8ff
#define EXIT_REASONS (KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN | KVM_MSR_EXIT_REASON_FILTER)

struct msr_filter {
	bool deny; /* what is in no range */
	unsigned int nr;
	struct msr_filter_range {
		u32 access; /* KVM_MSR_FILTER_READ, _WRITE */
		u32 first, nr;
		unsigned long *allowed; /* a bit each */
	} ranges[KVM_MSR_FILTER_MAX_RANGES];
};

/* -- the filter -------------------------------------------------------------------------------------------------- */

static void filter_free(struct msr_filter *filter)
{
	unsigned int i;

	if (!filter)
		return;
	for (i = 0; i < filter->nr; i++)
		kfree(filter->ranges[i].allowed);
	kfree(filter);
}

static int take_range(struct msr_filter *filter, const struct kvm_msr_filter_range *user)
{
	size_t size = BITS_TO_LONGS((size_t)user->nmsrs) * sizeof(long);
	unsigned long *allowed;

	if (!user->nmsrs)
		return 0;
	if (!user->flags || (user->flags & ~(KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE)))
		return -EINVAL;
	if (size > KVM_MSR_FILTER_MAX_BITMAP_SIZE)
		return -EINVAL;
	allowed = memdup_user((const void __user *)user->bitmap, size);
	if (IS_ERR(allowed))
		return PTR_ERR(allowed);
	filter->ranges[filter->nr++] = (struct msr_filter_range){
		.access = user->flags, .first = user->base, .nr = user->nmsrs, .allowed = allowed
	};
	return 0;
}

static struct msr_filter *filter_from_user(const struct kvm_msr_filter *user)
{
	struct msr_filter *filter = kzalloc(sizeof(*filter), GFP_KERNEL_ACCOUNT);
	unsigned int i;
	int r = 0;

	if (!filter)
		return ERR_PTR(-ENOMEM);
	filter->deny = user->flags & KVM_MSR_FILTER_DEFAULT_DENY;
	for (i = 0; i < ARRAY_SIZE(user->ranges) && !r; i++)
		r = take_range(filter, &user->ranges[i]);
	/* To deny everything is a mistake, not a wish. */
	if (!r && filter->deny && !filter->nr)
		r = -EINVAL;
	if (!r)
		return filter;
	filter_free(filter);
	return ERR_PTR(r);
}

int msr_filter_set(struct vm *vm, const struct kvm_msr_filter *user)
{
	struct msr_filter *old, *filter;

	if (user->flags & ~KVM_MSR_FILTER_DEFAULT_DENY)
		return -EINVAL;
	filter = filter_from_user(user);
	if (IS_ERR(filter))
		return PTR_ERR(filter);
	if (!filter->nr) {
		filter_free(filter);
		filter = NULL;
	}
	old = rcu_replace_pointer(vm->msr_filter, filter, lockdep_is_held(&vm->lock));
	vm_request_all(vm, REQ_INTERCEPTS);
	synchronize_rcu();
	filter_free(old);
	return 0;
}

void msr_filter_destroy(struct vm *vm)
{
	filter_free(rcu_dereference_protected(vm->msr_filter, true));
}

bool msr_filter_looks_up(struct vm *vm, u32 index, u32 access)
{
	const struct msr_filter_range *range;
	const struct msr_filter *filter;
	bool allowed = true;

	/* The local APIC's are not for a client to answer. */
	if (index >= X2APIC_FIRST && index <= X2APIC_LAST)
		return true;
	rcu_read_lock();
	filter = rcu_dereference(vm->msr_filter);
	if (filter) {
		allowed = !filter->deny;
		for (range = filter->ranges; range < filter->ranges + filter->nr; range++) {
			if (!(range->access & access) || index - range->first >= range->nr)
				continue;
			allowed = test_bit(index - range->first, range->allowed);
			break;
		}
	}
	rcu_read_unlock();
	return allowed;
}

/* -- exits to the client ----------------------------------------------------------------------------------------- */

int msr_user_space(struct vm *vm, const u64 args[4])
{
	if (args[0] & ~(u64)EXIT_REASONS)
		return -EINVAL;
	vm->user_space_msr = args[0];
	return 0;
}

static int write_answered(struct vcpu *vcpu)
{
	if (vcpu->run->msr.error)
		vcpu_raise_gp(vcpu);
	else
		vcpu_advance(vcpu);
	return NEXT_ENTER;
}

static int read_answered(struct vcpu *vcpu)
{
	if (!vcpu->run->msr.error)
		vcpu_set_edx_eax(vcpu, vcpu->run->msr.data);
	return write_answered(vcpu);
}

enum next msr_refused(struct vcpu *vcpu, int error, bool write)
{
	u32 reason = error == -EPERM	? KVM_MSR_EXIT_REASON_FILTER
		     : error == -ENOENT ? KVM_MSR_EXIT_REASON_UNKNOWN
					: KVM_MSR_EXIT_REASON_INVAL;
	struct kvm_run *run = vcpu->run;

	if (!(READ_ONCE(vcpu->vm->user_space_msr) & reason)) {
		trace_kvm_msr(write, vcpu->regs.gpr[REG_RCX], write ? vcpu_edx_eax(vcpu) : 0, true);
		vcpu_raise_gp(vcpu);
		return NEXT_ENTER;
	}
	run->exit_reason = write ? KVM_EXIT_X86_WRMSR : KVM_EXIT_X86_RDMSR;
	memset(&run->msr, 0, sizeof(run->msr));
	run->msr.reason = reason;
	run->msr.index = vcpu->regs.gpr[REG_RCX];
	if (write)
		run->msr.data = vcpu_edx_eax(vcpu);
	vcpu->complete_user = write ? write_answered : read_answered;
	return NEXT_USER;
}
