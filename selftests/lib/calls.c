// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "calls.h"

const struct call calls[] = {
#define STRUCT false
#define RAW true
#define ROW(cmd, handler, argument, meaning) { #cmd, DEVICE, cmd, argument },
	PITH_DEVICE_IOCTLS(ROW)
#undef ROW
#define ROW(cmd, handler, argument, meaning) { #cmd, VM, cmd, argument },
		PITH_VM_IOCTLS(ROW)
#undef ROW
#define ROW(cmd, handler, argument, meaning) { #cmd, VCPU, cmd, argument },
			PITH_VCPU_IOCTLS(ROW)
#undef ROW
};
const unsigned int nr_calls = ARRAY_SIZE(calls);

bool call_takes_pointer(const struct call *call)
{
	return _IOC_DIR(call->cmd) || call->cmd == KVM_REINJECT_CONTROL;
}

bool call_writes_back(const struct call *call)
{
	return _IOC_DIR(call->cmd) & _IOC_READ && call->cmd != KVM_SET_IRQCHIP;
}

struct guest *machine(enum extent extent)
{
	struct kvm_pit_config pit = {};
	struct guest *g = guest_create_vm();

	if (extent >= WITH_CHIPS && (ioctl(g->vm, KVM_CREATE_IRQCHIP, 0) || ioctl(g->vm, KVM_CREATE_PIT2, &pit)))
		die("KVM_CREATE_IRQCHIP, KVM_CREATE_PIT2");
	if (extent == WITH_VCPU || extent == WITH_ALL) {
		guest_create_vcpu(g);
		guest_set_mode(g, MODE_LONG, false);
	}
	return g;
}

int file_of(const struct guest *g, enum file file)
{
	const int fds[] = { g->device, g->vm, g->vcpu };

	return fds[file];
}

static void nothing(int number)
{
	(void)number;
}

void start_timer(void)
{
	struct sigaction action = { .sa_handler = nothing };
	struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1 };
	const struct timespec period = { .tv_nsec = 3000000 };
	const struct itimerspec spec = { .it_interval = period, .it_value = period };
	timer_t timer;

	event._sigev_un._tid = gettid();
	sigaction(SIGUSR1, &action, NULL);
	if (timer_create(CLOCK_MONOTONIC, &event, &timer) || timer_settime(timer, 0, &spec, NULL))
		die("timer_create");
}
