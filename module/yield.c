// SPDX-License-Identifier: GPL-2.0
/* Directed yields: a vCPU that can do nothing useful lets one run that can, where there are more of them than CPUs. */
#include <linux/sched.h>
#include <linux/sched/stat.h>
#include <linux/sched/task.h>

#include "vcpu.h"
#include "vm.h"

static bool is_off_cpu(struct task_struct *thread)
{
	return thread && task_is_running(thread) && !READ_ONCE(thread->on_cpu);
}

bool vcpu_waits_for_cpu(struct vcpu *vcpu)
{
	bool waits;

	if (single_task_running())
		return false;
	rcu_read_lock();
	waits = is_off_cpu(READ_ONCE(vcpu->thread));
	rcu_read_unlock();
	return waits;
}

/* A thread in KVM_RUN exists; one seen there in an RCU section has its task_struct until the section ends. */
void vcpu_yield_to(struct vcpu *vcpu)
{
	struct task_struct *thread;

	rcu_read_lock();
	thread = READ_ONCE(vcpu->thread);
	if (thread)
		get_task_struct(thread);
	rcu_read_unlock();
	if (!thread)
		return;
	yield_to(thread, true);
	put_task_struct(thread);
}

/* Each in its turn, as it is not known who holds the lock. */
struct vcpu *vcpu_behind_lock(struct vcpu *spinning)
{
	struct vm *vm = spinning->vm;
	unsigned int nr = vm_nr_vcpus(vm), last = READ_ONCE(vm->last_boosted), i;

	for (i = 1; i <= nr; i++) {
		struct vcpu *vcpu = vm->vcpus[(last + i) % nr];

		if (vcpu == spinning || !vcpu_waits_for_cpu(vcpu))
			continue;
		if (!spinning->in_slice)
			WRITE_ONCE(vm->last_boosted, vcpu->index);
		return vcpu;
	}
	return NULL;
}
