// SPDX-License-Identifier: GPL-2.0
/*
 * Events at every entry and exit. Most costs of an event that is off would be here, so these are not in the exit path at
 * all: while one of them is listened to, run.c calls the functions below.
 */
#include "exit_log.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

static void enter(struct vcpu *vcpu)
{
	struct pith_exit_record record;

	trace_kvm_entry(vcpu);
	exit_log_enter(vcpu);
	if (trace_kvm_exit_enabled()) {
		backend.exit_info(vcpu, &record);
		trace_kvm_exit(vcpu, &record);
	}
}

static int run(struct vcpu *vcpu)
{
	int r = exit_log_run(vcpu);

	trace_kvm_userspace_exit(vcpu->run->exit_reason, r);
	return r;
}

static void slice_begin(struct vcpu *vcpu)
{
	trace_kvm_fpu(1);
	backend.slice_begin(vcpu);
}

static void slice_end(struct vcpu *vcpu)
{
	backend.slice_end(vcpu);
	trace_kvm_fpu(0);
}

const struct run_calls trace_calls = { enter, run, slice_begin, slice_end };

/* Some of struct tracepoint's callbacks; those of several events are counted. */
int trace_begin(void)
{
	exit_log_trace(true);
	return 0;
}

void trace_end(void)
{
	exit_log_trace(false);
}
