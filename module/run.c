// SPDX-License-Identifier: GPL-2.0
/*
 * The run loop: all policy of KVM_RUN. Outside, a loop that may sleep: signals, rescheduling, halting, faults. Inside,
 * the slice: the vCPU is on a CPU, and entry and exit alternate with nothing between them but the exit's handler.
 */
#include <linux/cpu.h>
#include <linux/cpumask.h>
#include <linux/sched/signal.h>
#include <linux/smp.h>
#include <linux/static_call.h>

#include "backend.h"
#include "compat.h"
#include "cpu/fpu.h"
#include "cpu/guest_debug.h"
#include "cpu/paravirt.h"
#include "cpu/state.h"
#include "cpu/tsc.h"
#include "inspect.h"
#include "irq/irqchip.h"
#include "main.h"
#include "smm.h"
#include "trace.h"
#include "vcpu.h"
#include "vm.h"

/* CPUs that vm_request_all() interrupts: NR_CPUS bits are too many for a stack. Preemption is off while it is used. */
static DEFINE_PER_CPU(cpumask_var_t, request_mask);

/* What every exit goes through, and every round trip to the client: called without an indirect branch. */
DEFINE_STATIC_CALL_NULL(pith_enter, *((struct backend *)NULL)->enter);
DEFINE_STATIC_CALL_NULL(pith_handle_exit, *((struct backend *)NULL)->handle_exit);
DEFINE_STATIC_CALL_NULL(pith_slice_begin, *((struct backend *)NULL)->slice_begin);
DEFINE_STATIC_CALL_NULL(pith_slice_end, *((struct backend *)NULL)->slice_end);
DEFINE_STATIC_CALL(pith_run, vcpu_run);

int __init run_setup(void)
{
	int cpu;

	static_call_update(pith_enter, backend.enter);
	static_call_update(pith_handle_exit, backend.handle_exit);
	static_call_update(pith_slice_begin, backend.slice_begin);
	static_call_update(pith_slice_end, backend.slice_end);
	for_each_possible_cpu(cpu)
		if (!zalloc_cpumask_var_node(&per_cpu(request_mask, cpu), GFP_KERNEL, cpu_to_node(cpu)))
			goto no_memory;
	return 0;
no_memory:
	run_teardown();
	return -ENOMEM;
}

void run_teardown(void)
{
	int cpu;

	for_each_possible_cpu(cpu)
		free_cpumask_var(per_cpu(request_mask, cpu));
}

void run_patch(const struct run_calls *calls)
{
	static_call_update(pith_enter, calls->enter);
	static_call_update(pith_run, calls->run);
	static_call_update(pith_slice_begin, calls->slice_begin);
	static_call_update(pith_slice_end, calls->slice_end);
}

/*
 * One IPI makes the guest exit, however many kick it meanwhile. Where the vCPU is not in guest mode it looks at its
 * requests before it is there again: rcuwait_wake_up() begins with the barrier that pairs with smp_store_mb() in
 * enter_once(), so either it sees the request, or we see it in guest mode.
 */
void vcpu_kick(struct vcpu *vcpu)
{
	int cpu, self;

	rcuwait_wake_up(&vcpu->wait);
	if (READ_ONCE(vcpu->mode) != IN_GUEST)
		return;
	self = get_cpu();
	if (cmpxchg(&vcpu->mode, IN_GUEST, KICKED) == IN_GUEST) {
		/* It may be leaving its CPU by now. From this CPU it has: somebody runs here who can kick. */
		cpu = READ_ONCE(vcpu->cpu);
		if (cpu >= 0 && cpu != self)
			compat_send_reschedule(cpu);
	}
	put_cpu();
}

void vm_kick_all(struct vm *vm)
{
	struct vcpu *vcpu;
	unsigned int i;

	vm_for_each_vcpu(vm, vcpu, i) {
		vcpu_request(vcpu, vm->bugged ? REQ_DEAD : REQ_KICK);
		vcpu_kick(vcpu);
	}
}

static void nothing(void *unused)
{
}

/*
 * The interrupt alone makes a CPU leave its guest, and waiting for it means waiting for that: the next entry there
 * comes after the request was seen. That somebody else has kicked it does not tell that it has left.
 */
void vm_request_all(struct vm *vm, unsigned int request)
{
	struct cpumask *mask;
	struct vcpu *vcpu;
	unsigned int i;
	int cpu;

	vm_for_each_vcpu(vm, vcpu, i)
		vcpu_request(vcpu, request);
	/* Pairs with smp_store_mb() in enter_once(), as in vcpu_kick(). */
	smp_mb();
	get_cpu();
	mask = this_cpu_cpumask_var_ptr(request_mask);
	cpumask_clear(mask);
	vm_for_each_vcpu(vm, vcpu, i) {
		cpu = READ_ONCE(vcpu->cpu);
		if (READ_ONCE(vcpu->mode) != OUTSIDE_GUEST && cpu >= 0)
			__cpumask_set_cpu(cpu, mask);
	}
	smp_call_function_many(mask, nothing, NULL, true);
	put_cpu();
}

/**
 * vcpu_pending_nmis - how many NMIs wait
 * @vcpu: its own thread calls
 * Of those that came while one is handled only one is kept. Other CPUs may add one at any moment.
 * Source: SDM volume 3, "Handling Multiple NMIs".
 */
u8 vcpu_pending_nmis(struct vcpu *vcpu)
{
	vcpu_know(vcpu, STATE_SHADOW);
	if ((vcpu->shadow & SHADOW_NMI) || vcpu->event.type == EVENT_NMI)
		cmpxchg(&vcpu->nmi_pending, 2, 1);
	return READ_ONCE(vcpu->nmi_pending);
}

static void take_nmi(struct vcpu *vcpu)
{
	u8 pending = READ_ONCE(vcpu->nmi_pending);

	while (!try_cmpxchg(&vcpu->nmi_pending, &pending, pending - 1))
		;
	vcpu->event = (struct event){ .type = EVENT_NMI, .vector = VECTOR_NMI };
}

/* The event slot is free: what comes into it? NMIs go before interrupts. SDM, "Priority Among Simultaneous Events". */
static void choose_event(struct vcpu *vcpu)
{
	int vector;

	vcpu_know(vcpu, STATE_SHADOW | STATE_RFLAGS);
	if (vcpu_pending_nmis(vcpu) && !(vcpu->shadow & (SHADOW_NMI | SHADOW_MOV_SS | SHADOW_STI))) {
		take_nmi(vcpu);
		return;
	}
	if (!vcpu_interrupts_open(vcpu))
		return;
	vector = irq_take(vcpu);
	if (vector < 0)
		return;
	vcpu->stat.irqs_injected++;
	vcpu->event = (struct event){ .type = EVENT_INTERRUPT, .vector = vector };
	trace_kvm_inj_virq(vector, false, false);
	irq_pv_eoi_offer(vcpu);
}

bool vcpu_interrupts_open(struct vcpu *vcpu)
{
	vcpu_know(vcpu, STATE_SHADOW | STATE_RFLAGS);
	return (vcpu->regs.rflags & RFLAGS_IF) && !(vcpu->shadow & (SHADOW_STI | SHADOW_MOV_SS));
}

/* A client that has the PIC wants to know when an interrupt can be taken. */
static bool wants_window(struct vcpu *vcpu)
{
	return vcpu->vm->pic_in_client && READ_ONCE(vcpu->run->request_interrupt_window) && irq_takes_from_client(vcpu);
}

/* Whenever an interrupt waits and TPR, IRR or ISR may have changed by software: see irq_look(). */
static void update_tpr_threshold(struct vcpu *vcpu)
{
	u8 threshold = irq_tpr_threshold(vcpu);

	if (likely(threshold == vcpu->tpr_threshold))
		return;
	vcpu->tpr_threshold = threshold;
	backend.set_tpr_threshold(vcpu, threshold);
}

static void inject_event(struct vcpu *vcpu)
{
	bool blocked = vcpu->guest_debug.control & KVM_GUESTDBG_BLOCKIRQ;
	bool interrupt_waits;

	if (vcpu->event.type == EVENT_NONE && !blocked)
		choose_event(vcpu);
	if (vcpu->event.type != EVENT_NONE)
		backend.inject(vcpu);
	interrupt_waits = irq_wants_window(vcpu) || wants_window(vcpu);
	backend.set_windows(vcpu, interrupt_waits && !blocked, vcpu->nmi_pending && !blocked);
	if (vcpu->virtual_delivery)
		irq_update_status(vcpu);
	else if (vcpu->tpr_shadow)
		update_tpr_threshold(vcpu);
	/* Last of all, so that the entry follows at once. */
	if (unlikely(vcpu->awaited_tsc))
		irq_timer_wait(vcpu);
}

/* An interrupt that the guest has ended in memory may be what another one waits for. */
static enum next answer_event(struct vcpu *vcpu)
{
	if (!irq_pv_eoi_sync_atomic(vcpu, !test_bit(REQ_EVENT, &vcpu->requests)))
		return NEXT_SLOW;
	/* One that comes from here on is for the next time: this one's look at the offer may have kept it. */
	if (test_bit(REQ_PV_EOI, &vcpu->requests) || !vcpu_take_request(vcpu, REQ_EVENT))
		return NEXT_ENTER;
	inject_event(vcpu);
	return NEXT_ENTER;
}

/* What the guest has written to its word may let an interrupt in; and the word is to tell of what is left. */
static enum next answer_event_with_vapic(struct vcpu *vcpu)
{
	enum next next;

	irq_vapic_read(vcpu);
	next = answer_event(vcpu);
	irq_vapic_write(vcpu);
	return next;
}

/* Requests whose answer may sleep: outside of the slice, before the next one. */
#define REQS_SLOW (BIT(REQ_INIT_SIPI) | BIT(REQ_CLOCK) | BIT(REQ_APIC_MAP) | BIT(REQ_INTERCEPTS) | BIT(REQ_INSPECT))

/*
 * Answers what is wanted of this vCPU. Interrupts are off and mode is IN_GUEST, so a request that comes later sends an
 * IPI that waits until the entry and makes it exit at once: nothing can be missed, and nothing is looked at twice.
 */
static enum next answer_requests(struct vcpu *vcpu)
{
	if (vcpu_take_request(vcpu, REQ_DEAD))
		return -EIO;
	if (vcpu_take_request(vcpu, REQ_TRIPLE_FAULT)) {
		vcpu->run->exit_reason = KVM_EXIT_SHUTDOWN;
		return NEXT_USER;
	}
	if (vcpu_take_request(vcpu, REQ_IOAPIC_EOI)) {
		vcpu->run->exit_reason = KVM_EXIT_IOAPIC_EOI;
		vcpu->run->eoi.vector = irq_ended(vcpu);
		return NEXT_USER;
	}
	if (vcpu_take_request(vcpu, REQ_TPR_ACCESS)) {
		irq_tell_tpr_access(vcpu);
		return NEXT_USER;
	}
	if (vcpu_take_request(vcpu, REQ_DEBUG))
		return guest_debug_stepped(vcpu);
	if (READ_ONCE(vcpu->requests) & REQS_SLOW)
		return NEXT_SLOW;
	if (vcpu_take_request(vcpu, REQ_KICK))
		return NEXT_SLOW;
	if (unlikely(test_bit(REQ_SMI, &vcpu->requests))) {
		if (vcpu->event.type == EVENT_NONE)
			return NEXT_SLOW;
		/* An event is on its way: an exit as soon as it is delivered. */
		compat_send_reschedule(smp_processor_id());
	}
	if (vcpu_take_request(vcpu, REQ_TLB_FLUSH))
		backend.flush_tlb(vcpu, true);
	if (vcpu_take_request(vcpu, REQ_GUEST_TLB_FLUSH))
		backend.flush_tlb(vcpu, false);
	if (unlikely(test_bit(REQ_TSC_CATCH_UP, &vcpu->requests)))
		tsc_catch_up(vcpu);
	if (vcpu_take_request(vcpu, REQ_TIMER))
		irq_timer_expired(vcpu);
	return unlikely(test_bit(REQ_VAPIC, &vcpu->requests)) ? answer_event_with_vapic(vcpu) : answer_event(vcpu);
}

/* One entry and the exit that ends it. NEXT_SLOW: not entered, something outside of the slice comes first. */
static __always_inline enum next enter_once(struct vcpu *vcpu)
{
	enum next next = NEXT_ENTER;

	local_irq_disable();
	/* Pairs with the barriers in vcpu_kick() and vm_request_all(). */
	smp_store_mb(vcpu->mode, IN_GUEST);
	if (unlikely(xfer_to_guest_mode_work_pending()))
		next = NEXT_SLOW;
	else if (unlikely(READ_ONCE(vcpu->requests)))
		next = answer_requests(vcpu);
	if (likely(next == NEXT_ENTER)) {
		guest_timing_enter_irqoff();
		static_call(pith_enter)(vcpu);
	}
	WRITE_ONCE(vcpu->mode, OUTSIDE_GUEST);
	/*
	 * The interrupt that ended the guest comes now; if it is the tick, it finds the guest's time, not the host's.
	 */
	local_irq_enable();
	vcpu->stat.exits++;
	local_irq_disable();
	guest_timing_exit_irqoff();
	local_irq_enable();
	return next;
}

static void slice_begin(struct vcpu *vcpu)
{
	int cpu = smp_processor_id();

	if (vcpu->last_cpu != cpu) {
		/* Translations cached here during an earlier stay may be older than the tables. */
		vcpu_request(vcpu, REQ_TLB_FLUSH);
		vcpu->last_cpu = cpu;
	}
	WRITE_ONCE(vcpu->cpu, cpu);
	vcpu->in_slice = true;
	vcpu->stat.slices++;
	fpu_load_guest(vcpu);
	static_call(pith_slice_begin)(vcpu);
}

static void slice_end(struct vcpu *vcpu)
{
	static_call(pith_slice_end)(vcpu);
	fpu_load_host(vcpu);
	vcpu->in_slice = false;
	WRITE_ONCE(vcpu->cpu, -1);
}

/*
 * The inner loop. `slow` tells a handler's wish to be called again where it may sleep from that of the loop itself
 * to be left.
 */
static enum next vcpu_slice(struct vcpu *vcpu, bool *slow)
{
	enum next next;

	*slow = false;
	preempt_disable();
	if (!cpu_virtualization_on()) {
		/* This CPU is on its way down; the scheduler is about to move us. */
		preempt_enable();
		schedule_timeout_uninterruptible(1);
		return NEXT_ENTER;
	}
	slice_begin(vcpu);
	for (;;) {
		next = enter_once(vcpu);
		if (next != NEXT_ENTER)
			break;
		next = static_call(pith_handle_exit)(vcpu);
		if (next != NEXT_ENTER) {
			*slow = next == NEXT_SLOW;
			break;
		}
	}
	slice_end(vcpu);
	/* A kernel that can be preempted changes threads in preempt_enable(). */
	if (need_resched())
		pv_preempted(vcpu);
	preempt_enable();
	return next == NEXT_SLOW ? NEXT_ENTER : next;
}

/* Something that ends a halt is there. */
static bool vcpu_wakes(struct vcpu *vcpu)
{
	unsigned long always =
		BIT(REQ_TIMER) | BIT(REQ_INIT_SIPI) | BIT(REQ_DEAD) | BIT(REQ_TRIPLE_FAULT) | BIT(REQ_DEBUG);

	if (READ_ONCE(vcpu->requests) & always)
		return true;
	if (vcpu->mp_state != KVM_MP_STATE_HALTED)
		return false;
	if (vcpu->nmi_pending && !(vcpu->shadow & SHADOW_NMI))
		return true;
	if (test_bit(REQ_SMI, &vcpu->requests))
		return true;
	if (READ_ONCE(vcpu->pv.unhalted))
		return true;
	return vcpu->event.type != EVENT_NONE || (vcpu_interrupts_open(vcpu) && irq_waits(vcpu));
}

/* HLT, and the wait for SIPI: sleeps until there is something to do, a signal, or a kick. */
static enum next vcpu_halt(struct vcpu *vcpu)
{
	u64 began, halted;
	bool wakes;

	vcpu->stat.halts++;
	/* Known before the sleep: vcpu_wakes() must not touch hardware. */
	vcpu_know(vcpu, STATE_SHADOW | STATE_RFLAGS);
	irq_timer_sleep(vcpu);
	began = ktime_get_ns();
	halt_poll(vcpu, vcpu_wakes);
	/* An inspection ends the sleep, but not the halt. */
	rcuwait_wait_event(&vcpu->wait,
			   (wakes = vcpu_wakes(vcpu)) || test_bit(REQ_INSPECT, &vcpu->requests) ||
				   signal_pending(current),
			   TASK_INTERRUPTIBLE);
	halted = ktime_get_ns() - began;
	vcpu->stat.halt_ns += halted;
	halt_poll_learn(vcpu, halted);
	if (vcpu_take_request(vcpu, REQ_TIMER)) {
		irq_timer_expired(vcpu);
		wakes = vcpu_wakes(vcpu);
	}
	if (vcpu->mp_state == KVM_MP_STATE_HALTED && wakes) {
		vcpu->mp_state = KVM_MP_STATE_RUNNABLE;
		WRITE_ONCE(vcpu->pv.unhalted, false);
		/* It was looked at when interrupts were off, perhaps. A CPU that delivers by itself looks again. */
		if (!vcpu->virtual_delivery)
			vcpu_request(vcpu, REQ_EVENT);
	}
	return NEXT_ENTER;
}

/* Source: SDM, "MP Initialization Protocol Algorithm for MP Systems". */
void vcpu_answer_init_sipi(struct vcpu *vcpu)
{
	/* System-management mode holds them up. */
	if (!vcpu_take_request(vcpu, REQ_INIT_SIPI) || vcpu_in_smm(vcpu))
		return;
	if (test_and_clear_bit(PENDING_INIT, &vcpu->pending_signals)) {
		vcpu_reset(vcpu, true);
		vcpu->mp_state =
			vcpu->id == vcpu->vm->boot_vcpu_id ? KVM_MP_STATE_RUNNABLE : KVM_MP_STATE_INIT_RECEIVED;
	}
	if (test_and_clear_bit(PENDING_SIPI, &vcpu->pending_signals) && vcpu->mp_state == KVM_MP_STATE_INIT_RECEIVED) {
		vcpu_start_at(vcpu, vcpu->sipi_vector);
		vcpu->mp_state = KVM_MP_STATE_RUNNABLE;
	}
}

static void answer_slow_requests(struct vcpu *vcpu)
{
	vcpu_answer_init_sipi(vcpu);
	irq_pv_eoi_sync(vcpu, vcpu->mp_state == KVM_MP_STATE_RUNNABLE && !test_bit(REQ_EVENT, &vcpu->requests));
	if (test_bit(REQ_VAPIC, &vcpu->requests)) {
		irq_vapic_read(vcpu);
		irq_vapic_write(vcpu);
	}
	if (vcpu_take_request(vcpu, REQ_CLOCK))
		clock_update(vcpu);
	if (vcpu_take_request(vcpu, REQ_APIC_MAP))
		irq_map_destinations(vcpu->vm);
	if (vcpu_take_request(vcpu, REQ_INTERCEPTS))
		backend.set_intercepts(vcpu);
	smm_answer(vcpu);
	inspect_answer(vcpu);
}

/* Between slices: what may sleep. */
static enum next vcpu_housekeeping(struct vcpu *vcpu)
{
	if (unlikely(READ_ONCE(vcpu->requests) & (REQS_SLOW | BIT(REQ_PV_EOI) | BIT(REQ_VAPIC) | BIT(REQ_SMI))))
		answer_slow_requests(vcpu);
	if (READ_ONCE(vcpu->vm->bugged))
		return -EIO;
	/* A signal is such work, too. */
	if (__xfer_to_guest_mode_work_pending() && (signal_pending(current) || compat_handle_guest_mode_work())) {
		vcpu->run->exit_reason = KVM_EXIT_INTR;
		return -EINTR;
	}
	return NEXT_ENTER;
}

static bool window_is_open(struct vcpu *vcpu)
{
	return irq_takes_from_client(vcpu) && vcpu->event.type == EVENT_NONE && vcpu_interrupts_open(vcpu);
}

/* A slice, and what its last exit could not be answered with inside of it. */
static enum next run_slice(struct vcpu *vcpu)
{
	enum next next;
	bool slow;

	pv_scheduled_in(vcpu);
	next = vcpu_slice(vcpu, &slow);
	return slow ? backend.handle_exit(vcpu) : next;
}

/* What waits already when KVM_RUN begins lets no slice enter the guest, and no halt sleep: so that comes afterwards. */
static enum next run_loop(struct vcpu *vcpu)
{
	enum next next;

	vcpu->run->exit_reason = KVM_EXIT_UNKNOWN;
	do {
		if (unlikely(vcpu->mp_state != KVM_MP_STATE_RUNNABLE)) {
			next = vcpu_halt(vcpu);
		} else if (unlikely(wants_window(vcpu) && window_is_open(vcpu))) {
			vcpu->run->exit_reason = KVM_EXIT_IRQ_WINDOW_OPEN;
			next = NEXT_USER;
		} else {
			next = run_slice(vcpu);
		}
		if (next == NEXT_ENTER)
			next = vcpu_housekeeping(vcpu);
	} while (next == NEXT_ENTER);
	return next;
}

/* What struct kvm_run tells about the vCPU whatever the exit was. */
static void fill_run(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;

	vcpu_know(vcpu, STATE_RFLAGS | STATE_SHADOW);
	run->if_flag = !!(vcpu->regs.rflags & RFLAGS_IF);
	run->flags = vcpu_in_smm(vcpu) ? KVM_RUN_X86_SMM : 0;
	run->cr8 = irq_get_cr8(vcpu);
	run->apic_base = vcpu->msr.apic_base;
	run->ready_for_interrupt_injection = !vcpu->vm->pic_in_client || window_is_open(vcpu);
}

/**
 * vcpu_run - KVM_RUN: runs the guest until it needs the client
 * @vcpu: its mutex is held; the caller runs in the VM's mm
 * Returns 0 with struct kvm_run filled, or -EINTR, -EAGAIN (the vCPU was waiting for SIPI and may have got it),
 * -EFAULT (guest memory is not there), -EIO. Source: KVM's api.rst, "KVM_RUN".
 */
int vcpu_run(struct vcpu *vcpu)
{
	enum next next = NEXT_ENTER;
	int (*complete)(struct vcpu * vcpu) = vcpu->complete_user;

	WRITE_ONCE(vcpu->thread, current);
	if (vcpu->sigset_active)
		sigprocmask(SIG_SETMASK, &vcpu->sigset, &vcpu->own_sigset);
	if (unlikely(vcpu->run->kvm_valid_regs | vcpu->run->kvm_dirty_regs))
		next = state_sync_in(vcpu) ?: NEXT_ENTER;
	if (unlikely(vcpu->guest_debug.control))
		guest_debug_begin(vcpu);
	if (!vcpu->lapic)
		irq_set_cr8(vcpu, vcpu->run->cr8);
	/* The client may have asked for the interrupt window since, or no longer. */
	if (vcpu->vm->pic_in_client)
		vcpu_request(vcpu, REQ_EVENT);
	if (complete && next == NEXT_ENTER) {
		vcpu->complete_user = NULL;
		next = complete(vcpu);
	}
	if (next == NEXT_ENTER) {
		/* As in KVM, an immediate exit leaves the last exit's reason where it is. */
		next = READ_ONCE(vcpu->run->compat_immediate_exit) ? -EINTR : run_loop(vcpu);
	}
	if (unlikely(test_bit(REQ_PV_EOI, &vcpu->requests)))
		irq_pv_eoi_sync(vcpu, false);
	fill_run(vcpu);
	if (unlikely(READ_ONCE(vcpu->run->kvm_valid_regs)))
		state_sync_out(vcpu);
	vcpu->stat.user_exits++;
	WRITE_ONCE(vcpu->thread, NULL);
	if (vcpu->sigset_active)
		sigprocmask(SIG_SETMASK, &vcpu->own_sigset, NULL);
	return next;
}
