// SPDX-License-Identifier: GPL-2.0
/*
 * See exit_log.h. An exit's record is begun when the guest has left and finished when it is entered again: that is when it
 * is known how long the exit took and who has handled it. Only the vCPU's own thread writes to its log, so there is no
 * lock; what others change (struct vm's exit_log) it takes over when it sees another generation of it.
 *
 * The ring is mapped by the client, who can write to it: what is read from there (the time of the exit, the head) goes
 * nowhere but there.
 */
#include <linux/mm.h>
#include <linux/log2.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/static_call.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>

#include <asm/msr.h>
#include <asm/tsc.h>

#include "backend.h"
#include "exit_log.h"
#include "pith.h"

/**
 * struct exit_log - a vCPU's
 * @generation: of the VM's settings that are in force here; while it is the VM's, the exit at hand has a record
 * @record: the exit at hand's; @first and @end are those of the ring
 * @left: the TSC when KVM_RUN returned last; 0: it has not since the log was switched on
 * @user: ticks that this exit has been with the client
 * @slices: of struct vcpu's statistics, as are @user_exits and @halt_ns: as they were when they were looked at last
 * @user_exits: see @slices
 * @halt_ns: see @slices
 * @ring: shared with the client; NULL: none yet. Once there it stays, for it may be mapped.
 * @first: see @record
 * @end: see @record
 */
struct exit_log {
	u32 generation;
	struct pith_exit_record *record;
	u64 left, user;
	u64 slices, user_exits, halt_ns;
	struct pith_exit_log *ring;
	struct pith_exit_record *first, *end;
};

/* No VM's. */
#define NO_GENERATION U32_MAX

DEFINE_STATIC_CALL_NULL(exit_log_vendor, *((struct backend *)NULL)->enter);
DEFINE_STATIC_CALL_NULL(exit_log_info, *((struct backend *)NULL)->exit_info);

/* -- the vCPU's thread ------------------------------------------------------------------------------------------- */

/* An exit that was not answered within the slice. Return: its record, for the caller, who would have to put it aside. */
static noinline struct pith_exit_record *finish_slow(struct vcpu *vcpu, struct exit_log *log)
{
	u64 idle_ns = vcpu->stat.halt_ns - log->halt_ns;
	struct pith_exit_record *record = log->record;

	record->handled = vcpu->stat.user_exits == log->user_exits ? PITH_HANDLED_MODULE : PITH_HANDLED_USER;
	record->user = log->user;
	record->idle = mul_u64_u32_div(idle_ns, tsc_khz, USEC_PER_SEC);
	log->user = 0;
	log->slices = vcpu->stat.slices;
	log->user_exits = vcpu->stat.user_exits;
	log->halt_ns = vcpu->stat.halt_ns;
	return record;
}

static __always_inline void finish(struct vcpu *vcpu, struct exit_log *log)
{
	struct pith_exit_record *record = log->record;

	record->ticks = rdtsc() - record->tsc;
	if (unlikely(vcpu->stat.slices != log->slices))
		record = finish_slow(vcpu, log);
	/* Whoever sees the head sees the record. */
	barrier();
	log->ring->head++;
	if (unlikely(++record == log->end))
		record = log->first;
	log->record = record;
}

static __always_inline void begin(struct vcpu *vcpu, struct exit_log *log)
{
	struct pith_exit_record *record = log->record;

	record->tsc = rdtsc();
	record->rax = vcpu->regs.gpr[REG_RAX];
	record->rcx = vcpu->regs.gpr[REG_RCX];
	record->handled = PITH_HANDLED_FAST;
	static_call(exit_log_info)(vcpu, record);
}

/* The settings are not those that this vCPU knows. Return: whether exits are logged now; the one at hand is not. */
static noinline bool adopt(struct vcpu *vcpu, struct exit_log *log, u32 generation)
{
	if (!generation)
		return false;
	log->generation = generation;
	log->slices = vcpu->stat.slices;
	log->user_exits = vcpu->stat.user_exits;
	log->halt_ns = vcpu->stat.halt_ns;
	log->user = 0;
	return true;
}

/*
 * Instead of backend.enter(): finishes the record of the last exit, and begins that of the next one. Counted in instructions,
 * and so is exit_info: no place for function tracing.
 */
notrace void exit_log_enter(struct vcpu *vcpu)
{
	/* Pairs with the release in switch_on(): its rings are there. */
	u32 generation = smp_load_acquire(&vcpu->vm->exit_log.generation);
	struct exit_log *log = vcpu->exit_log;

	if (likely(generation == log->generation)) {
		finish(vcpu, log);
	} else if (!adopt(vcpu, log, generation)) {
		static_call(exit_log_vendor)(vcpu);
		return;
	}
	static_call(exit_log_vendor)(vcpu);
	begin(vcpu, log);
}

/* The client has it from the end of one KVM_RUN to the beginning of the next. */
int exit_log_run(struct vcpu *vcpu)
{
	struct exit_log *log = vcpu->exit_log;
	int r;

	if (log->left)
		log->user += rdtsc() - log->left;
	r = vcpu_run(vcpu);
	log->left = READ_ONCE(vcpu->vm->exit_log.generation) == log->generation ? rdtsc() : 0;
	return r;
}

/* -- switching it on and off ------------------------------------------------------------------------------------- */

void __init exit_log_setup(void)
{
	static_call_update(exit_log_vendor, backend.enter);
	static_call_update(exit_log_info, backend.exit_info);
}

static DEFINE_MUTEX(watch_lock);
static unsigned int watchers, tracers;

static void watch_changed(struct work_struct *work)
{
	const struct run_calls logged = { exit_log_enter, exit_log_run, backend.slice_begin, backend.slice_end };
	const struct run_calls plain = { backend.enter, vcpu_run, backend.slice_begin, backend.slice_end };

	mutex_lock(&watch_lock);
	run_patch(tracers ? &trace_calls : watchers ? &logged : &plain);
	mutex_unlock(&watch_lock);
}

static DECLARE_DELAYED_WORK(watch_work, watch_changed);

static void watch(void)
{
	mutex_lock(&watch_lock);
	watchers++;
	mutex_unlock(&watch_lock);
	watch_changed(NULL);
}

/* Patching disturbs every CPU of the host, so one who does nothing but switch it on and off does not get it each time. */
static void unwatch(void)
{
	mutex_lock(&watch_lock);
	if (!--watchers)
		schedule_delayed_work(&watch_work, HZ);
	mutex_unlock(&watch_lock);
}

void exit_log_trace(bool begins)
{
	mutex_lock(&watch_lock);
	tracers += begins ? 1 : -1;
	mutex_unlock(&watch_lock);
	watch_changed(NULL);
}

static unsigned int ring_pages(u32 nr)
{
	return 1 + DIV_ROUND_UP(nr * sizeof(struct pith_exit_record), PAGE_SIZE);
}

static int create_ring(struct vcpu *vcpu, u32 nr)
{
	struct exit_log *log = vcpu->exit_log;
	struct pith_exit_log *ring;

	if (log->ring)
		return 0;
	ring = __vmalloc(ring_pages(nr) * PAGE_SIZE, GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	if (!ring)
		return -ENOMEM;
	ring->nr_records = nr;
	ring->record_size = sizeof(struct pith_exit_record);
	ring->tsc_khz = tsc_khz;
	ring->isa = backend.isa;
	ring->vcpu = vcpu->id;
	log->first = log->record = (void *)ring + PAGE_SIZE;
	log->end = log->first + nr;
	/* Pairs with the acquire in exit_log_page(). */
	smp_store_release(&log->ring, ring);
	return 0;
}

static long create_rings(struct vm *vm, u32 nr)
{
	struct vcpu *vcpu;
	unsigned int i;

	vm->exit_log.nr = nr;
	vm_for_each_vcpu(vm, vcpu, i)
		if (create_ring(vcpu, nr))
			return -ENOMEM;
	return 0;
}

static long switch_on(struct vm *vm, unsigned long nr)
{
	long r;

	if (nr < PITH_EXIT_LOG_MIN || nr > PITH_EXIT_LOG_MAX || !is_power_of_2(nr))
		return -EINVAL;
	if (vm->exit_log.nr && vm->exit_log.nr != nr)
		return -EBUSY;
	r = create_rings(vm, nr);
	if (r || vm->exit_log.generation)
		return r;
	if (++vm->exit_log.last == NO_GENERATION)
		vm->exit_log.last = 1;
	smp_store_release(&vm->exit_log.generation, vm->exit_log.last);
	watch();
	return 0;
}

static void switch_off(struct vm *vm)
{
	if (!vm->exit_log.generation)
		return;
	WRITE_ONCE(vm->exit_log.generation, 0);
	unwatch();
}

long exit_log_set(struct vm *vm, unsigned long nr)
{
	long r = 0;

	mutex_lock(&vm->lock);
	if (nr)
		r = switch_on(vm, nr);
	else
		switch_off(vm);
	mutex_unlock(&vm->lock);
	return r;
}

struct page *exit_log_page(struct vcpu *vcpu, unsigned long index)
{
	struct pith_exit_log *ring = smp_load_acquire(&vcpu->exit_log->ring);

	if (!ring || index >= ring_pages(vcpu->vm->exit_log.nr))
		return NULL;
	return vmalloc_to_page((void *)ring + index * PAGE_SIZE);
}

/* -- lifetime ---------------------------------------------------------------------------------------------------- */

int exit_log_create(struct vcpu *vcpu)
{
	vcpu->exit_log = kzalloc(sizeof(*vcpu->exit_log), GFP_KERNEL_ACCOUNT);
	if (!vcpu->exit_log)
		return -ENOMEM;
	vcpu->exit_log->generation = NO_GENERATION;
	if (!vcpu->vm->exit_log.nr || !create_ring(vcpu, vcpu->vm->exit_log.nr))
		return 0;
	exit_log_destroy(vcpu);
	return -ENOMEM;
}

void exit_log_destroy(struct vcpu *vcpu)
{
	vfree(vcpu->exit_log->ring);
	kfree(vcpu->exit_log);
}

void exit_log_vm_destroy(struct vm *vm)
{
	switch_off(vm);
}

void exit_log_teardown(void)
{
	cancel_delayed_work_sync(&watch_work);
}
