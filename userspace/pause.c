// SPDX-License-Identifier: GPL-2.0
/*
 * Virtual CPUs that stand still, so that their state can be read and changed by other threads.
 *
 * Who wants that sets paused and sends the signal that makes KVM_RUN return. The thread then runs the guest no more,
 * but calls KVM_RUN once again: that completes an access to a device, if the signal came in the middle of one, and
 * fails with EINTR (KVM's api.rst, "KVM_RUN", on immediate_exit). Only then is the state of the CPU whole, and the
 * thread waits.
 */
#define _GNU_SOURCE
#include "pause.h"

#include <linux/kvm.h>
#include <time.h>

#include "vcpu.h"
#include "vm.h"

/* A thread that waits for a terminal is not waited for any longer than this; it enters the guest no more either. */
#define PAUSE_TRIES 20
#define PAUSE_INTERVAL_NS 100000000
#define NS_PER_SECOND 1000000000

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

/**
 * pause_from_start - let no CPU execute anything yet
 * @vm: the machine, before vcpu_start_all()
 */
void pause_from_start(struct vm *vm)
{
	for (unsigned int i = 0; i < vm->nr_vcpus; i++)
		pause_self(&vm->vcpus[i]);
}

/**
 * pause_self - enter the guest no more after this exit
 * @vcpu: the caller's, or one without a thread yet
 */
void pause_self(struct vcpu *vcpu)
{
	pthread_mutex_lock(&lock);
	vcpu->paused = true;
	vcpu->run->immediate_exit = 1;
	pthread_mutex_unlock(&lock);
}

/**
 * pause_here - wait as long as this CPU is to stand still
 * @vcpu: the caller's, after KVM_RUN has failed with EINTR or for good
 */
void pause_here(struct vcpu *vcpu)
{
	pthread_mutex_lock(&lock);
	vcpu->waits = true;
	pthread_cond_broadcast(&changed);
	while (vcpu->paused && vm_running(vcpu->vm))
		pthread_cond_wait(&changed, &lock);
	vcpu->waits = false;
	/*
	 * Whoever sends the signal from now on has changed paused or the machine's status before, and the caller looks.
	 */
	vcpu->run->immediate_exit = 0;
	pthread_mutex_unlock(&lock);
}

static bool all_wait(const struct vm *vm)
{
	for (unsigned int i = 0; i < vm->nr_vcpus; i++) {
		if (!vm->vcpus[i].waits)
			return false;
	}
	return true;
}

/* A signal may find a thread just before it blocks, so it is sent again. */
static void interrupt_all(const struct vm *vm)
{
	for (unsigned int i = 0; i < vm->nr_vcpus; i++) {
		if (!vm->vcpus[i].waits)
			vcpu_interrupt(&vm->vcpus[i]);
	}
}

static struct timespec next_try(void)
{
	struct timespec next;

	clock_gettime(CLOCK_REALTIME, &next);
	next.tv_sec += (next.tv_nsec + PAUSE_INTERVAL_NS) / NS_PER_SECOND;
	next.tv_nsec = (next.tv_nsec + PAUSE_INTERVAL_NS) % NS_PER_SECOND;
	return next;
}

/**
 * pause_all - let all CPUs stand still
 * @vm: the machine; all its threads have been started
 */
void pause_all(struct vm *vm)
{
	struct timespec next;

	pthread_mutex_lock(&lock);
	for (unsigned int i = 0; i < vm->nr_vcpus; i++)
		vm->vcpus[i].paused = true;
	for (unsigned int i = 0; i < PAUSE_TRIES && vm_running(vm) && !all_wait(vm); i++) {
		interrupt_all(vm);
		next = next_try();
		while (!all_wait(vm) && !pthread_cond_timedwait(&changed, &lock, &next))
			;
	}
	pthread_mutex_unlock(&lock);
}

/**
 * pause_end - let a CPU go on
 * @vcpu: the CPU
 */
void pause_end(struct vcpu *vcpu)
{
	pthread_mutex_lock(&lock);
	vcpu->paused = false;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

/**
 * pause_end_all - let all CPUs go on, or see that the machine is to stop
 * @vm: the machine
 */
void pause_end_all(struct vm *vm)
{
	for (unsigned int i = 0; i < vm->nr_vcpus; i++)
		pause_end(&vm->vcpus[i]);
}
