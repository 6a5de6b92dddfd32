// SPDX-License-Identifier: GPL-2.0
/*
 * client_test - what a client has to switch on before it gets it: exits that it does not want, and events that it wants.
 * Source: KVM's api.rst, "KVM_CAP_X86_DISABLE_EXITS", "KVM_CAP_X86_TRIPLE_FAULT_EVENT",
 * "KVM_CAP_EXIT_ON_EMULATION_FAILURE".
 */
#include <errno.h>
#include <string.h>

#include "guest.h"

static long enable(struct guest *g, u32 capability, u64 argument)
{
	const struct kvm_enable_cap cap = { .cap = capability, .args = { argument } };

	return ioctl(g->vm, KVM_ENABLE_CAP, &cap);
}

static long promised(struct guest *g, u32 capability)
{
	return ioctl(g->vm, KVM_CHECK_EXTENSION, (long)capability);
}

/* -- exits that are not wanted ----------------------------------------------------------------------------------- */

static void disable_exits_refuses(void)
{
	struct guest *g = guest_create(MODE_LONG);
	u64 can = promised(g, KVM_CAP_X86_DISABLE_EXITS);

	expect_eq(can & (KVM_X86_DISABLE_EXITS_HLT | KVM_X86_DISABLE_EXITS_PAUSE),
		  KVM_X86_DISABLE_EXITS_HLT | KVM_X86_DISABLE_EXITS_PAUSE);
	expect_errno(enable(g, KVM_CAP_X86_DISABLE_EXITS, 1 << 10), EINVAL);
	expect_errno(enable(g, KVM_CAP_X86_DISABLE_EXITS, can), 0);
	guest_load(g, CODE64("mov $10000, %ecx; 1: pause; loop 1b; out %al, $0x80"));
	guest_start(g);
	expect_exit(g, KVM_EXIT_IO);
}

/* The interrupt comes behind STI's shadow, when the guest is in its HLT; there is no exit for that. */
static void halts_by_itself(void)
{
	const struct kvm_interrupt interrupt = { .irq = 0x50 };
	struct guest *g = guest_create(MODE_LONG);
	const struct code code = CODE64("out %al, $0x80; sti; hlt; nop; nop");
	unsigned int i;

	for (i = 0; i < 2; i++) {
		context(i ? "HLT disabled" : "HLT exits");
		guest_load(g, code);
		guest_start(g);
		expect_exit(g, KVM_EXIT_IO);
		expect_errno(ioctl(g->vcpu, KVM_INTERRUPT, &interrupt), 0);
		guest_run(g);
		if (i) {
			expect_trap(g, interrupt.irq, NO_ERROR, 4);
			break;
		}
		expect_exit(g, KVM_EXIT_HLT);
		guest_run(g);
		expect_trap(g, interrupt.irq, NO_ERROR, 4);
		expect_errno(enable(g, KVM_CAP_X86_DISABLE_EXITS, KVM_X86_DISABLE_EXITS_HLT), 0);
	}
}

/* -- triple faults ----------------------------------------------------------------------------------------------- */

static void triple_fault_event(void)
{
	struct guest *g = guest_create(MODE_LONG);
	struct kvm_vcpu_events events = guest_events(g);

	context("not switched on");
	expect_eq(promised(g, KVM_CAP_X86_TRIPLE_FAULT_EVENT), 1);
	expect_eq(events.flags & KVM_VCPUEVENT_VALID_TRIPLE_FAULT, 0);
	events.flags |= KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
	expect_errno(ioctl(g->vcpu, KVM_SET_VCPU_EVENTS, &events), EINVAL);

	context("switched on");
	expect_errno(enable(g, KVM_CAP_X86_TRIPLE_FAULT_EVENT, 1), 0);
	events = guest_events(g);
	expect_eq(events.flags & KVM_VCPUEVENT_VALID_TRIPLE_FAULT, KVM_VCPUEVENT_VALID_TRIPLE_FAULT);
	expect_eq(events.triple_fault.pending, 0);
	guest_load(g, CODE64("nop"));
	events.triple_fault.pending = 1;
	guest_set_events(g, &events);
	expect_eq(guest_events(g).triple_fault.pending, 1);
	guest_start(g);
	expect_exit(g, KVM_EXIT_SHUTDOWN);
	expect_eq(guest_events(g).triple_fault.pending, 0);

	context("taken back");
	guest_set_events(g, &events);
	events.triple_fault.pending = 0;
	guest_set_events(g, &events);
	guest_start(g);
	expect_end(g);
}

/* -- instructions that are not emulated -------------------------------------------------------------------------- */

/* A program of the guest's harms itself alone; the client may want to know of it. */
static void emulation_failure(void)
{
	struct guest *g = guest_create(MODE_LONG);

	expect_eq(promised(g, KVM_CAP_EXIT_ON_EMULATION_FAILURE), 1);
	expect_errno(enable(g, KVM_CAP_EXIT_ON_EMULATION_FAILURE, 2), EINVAL);
	guest_set_mode(g, MODE_LONG, true);
	guest_load(g, CODE64("fldenv (%rdi)"));
	g->regs.rdi = GUEST_HOLE;
	guest_start(g);
	expect_trap(g, VECTOR_UD, NO_ERROR, 0);

	context("switched on");
	expect_errno(enable(g, KVM_CAP_EXIT_ON_EMULATION_FAILURE, 1), 0);
	guest_set_mode(g, MODE_LONG, true);
	guest_load(g, CODE64("fldenv (%rdi)"));
	g->regs.rdi = GUEST_HOLE;
	guest_start(g);
	expect_exit(g, KVM_EXIT_INTERNAL_ERROR);
	expect_eq(g->run->internal.suberror, KVM_INTERNAL_ERROR_EMULATION);
}

static const struct test tests[] = {
	{ "exits that cannot be disabled", disable_exits_refuses },
	{ "HLT without an exit", halts_by_itself },
	{ "triple fault event", triple_fault_event },
	{ "instructions that are not emulated", emulation_failure },
};

KTAP_MAIN(tests)
