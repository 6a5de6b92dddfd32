// SPDX-License-Identifier: GPL-2.0
/*
 * Polling before a halted vCPU's thread sleeps: a wake-up that comes soon finds it awake. How long each vCPU polls grows
 * while its halts are short, and falls back when one is long. The parameters are KVM's.
 * Source: Documentation/virt/kvm/halt-polling.rst.
 */
#include <linux/ktime.h>
#include <linux/moduleparam.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/stat.h>

#include "vcpu.h"
#include "vm.h"

static unsigned int halt_poll_ns = 200000;
module_param(halt_poll_ns, uint, 0644);
MODULE_PARM_DESC(halt_poll_ns, "the longest that a halted vCPU polls before its thread sleeps; 0: never");

static unsigned int halt_poll_ns_grow = 2;
module_param(halt_poll_ns_grow, uint, 0644);
MODULE_PARM_DESC(halt_poll_ns_grow, "by what a vCPU's polling time is multiplied after a short halt");

static unsigned int halt_poll_ns_grow_start = 10000;
module_param(halt_poll_ns_grow_start, uint, 0644);
MODULE_PARM_DESC(halt_poll_ns_grow_start, "where it begins to grow");

static unsigned int halt_poll_ns_shrink;
module_param(halt_poll_ns_shrink, uint, 0644);
MODULE_PARM_DESC(halt_poll_ns_shrink, "by what it is divided after a long halt; 0: it begins anew");

static unsigned int longest(const struct vcpu *vcpu)
{
	const struct vm *vm = vcpu->vm;

	return smp_load_acquire(&vm->has_halt_poll_ns) ? READ_ONCE(vm->halt_poll_ns) : READ_ONCE(halt_poll_ns);
}

void halt_poll(struct vcpu *vcpu, bool (*wakes)(struct vcpu *vcpu))
{
	unsigned int time = min(vcpu->halt_poll_ns, longest(vcpu));
	u64 end;

	/* A guest that polls by itself asks for none. */
	if (!time || !vcpu->pv.poll_control)
		return;
	end = ktime_get_ns() + time;
	while (single_task_running() && !need_resched() && !wakes(vcpu) && !signal_pending(current) &&
	       ktime_get_ns() < end)
		cpu_relax();
}

static void grow(struct vcpu *vcpu, unsigned int limit)
{
	u64 time = (u64)vcpu->halt_poll_ns * READ_ONCE(halt_poll_ns_grow);

	if (READ_ONCE(halt_poll_ns_grow))
		vcpu->halt_poll_ns = min_t(u64, max_t(u64, time, READ_ONCE(halt_poll_ns_grow_start)), limit);
}

static void shrink(struct vcpu *vcpu)
{
	unsigned int divisor = READ_ONCE(halt_poll_ns_shrink);

	vcpu->halt_poll_ns = divisor ? vcpu->halt_poll_ns / divisor : 0;
	if (vcpu->halt_poll_ns < READ_ONCE(halt_poll_ns_grow_start))
		vcpu->halt_poll_ns = 0;
}

void halt_poll_learn(struct vcpu *vcpu, u64 halted_ns)
{
	unsigned int limit = longest(vcpu);

	if (halted_ns <= vcpu->halt_poll_ns)
		return;
	if (halted_ns < limit)
		grow(vcpu, limit);
	else
		shrink(vcpu);
}

int halt_poll_set_limit(struct vm *vm, const u64 args[4])
{
	if (args[0] > U32_MAX)
		return -EINVAL;
	WRITE_ONCE(vm->halt_poll_ns, args[0]);
	smp_store_release(&vm->has_halt_poll_ns, true);
	return 0;
}
