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
#include <linux/fs.h>
#include <linux/log2.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/static_call.h>
#include <linux/uaccess.h>
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
 * @counted: as @generation, which is none while exits are counted: the way of those that are only logged is shorter
 * @logs: the exit at hand has a record, too
 * @counts: by reason; NULL: nobody has counted yet
 * @current_count: what the exit at hand is counted as
 * @began: the TSC at that exit
 * @ring: shared with the client; NULL: none yet. Once there it stays, for it may be mapped.
 * @first: see @record
 * @end: see @record
 */
struct exit_log {
	u32 generation;
	struct pith_exit_record *record;
	u64 left, user;
	u64 slices, user_exits, halt_ns;
	u32 counted;
	bool logs;
	struct pith_exit_count *counts, *current_count;
	u64 began;
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

static void finish_counted(struct vcpu *vcpu, struct exit_log *log)
{
	u64 ticks = rdtsc() - log->began;

	log->current_count->ticks += ticks;
	log->current_count->histogram[min(__fls(ticks | 1), PITH_EXIT_BUCKETS - 1ul)]++;
	if (log->logs)
		finish(vcpu, log);
}

static void begin_counted(struct vcpu *vcpu, struct exit_log *log)
{
	struct pith_exit_record record;

	log->began = rdtsc();
	static_call(exit_log_info)(vcpu, &record);
	log->current_count = &log->counts[pith_exit_slot(record.reason)];
	log->current_count->count++;
	if (log->logs)
		begin(vcpu, log);
}

/* The settings are not those that this vCPU knows. The exit at hand is neither logged nor counted under them. */
static void adopt(struct vcpu *vcpu, struct exit_log *log, u32 generation)
{
	const struct vm *vm = vcpu->vm;
	bool counts = READ_ONCE(vm->exit_log.counters);

	log->logs = READ_ONCE(vm->exit_log.logs);
	log->generation = counts ? NO_GENERATION : generation;
	log->counted = counts ? generation : NO_GENERATION;
	log->slices = vcpu->stat.slices;
	log->user_exits = vcpu->stat.user_exits;
	log->halt_ns = vcpu->stat.halt_ns;
	log->user = 0;
}

/* All but an exit that is logged and not counted, as the one before it was. */
static noinline void enter_otherwise(struct vcpu *vcpu, struct exit_log *log, u32 generation)
{
	if (!generation) {
		static_call(exit_log_vendor)(vcpu);
		return;
	}
	if (generation == log->counted)
		finish_counted(vcpu, log);
	else
		adopt(vcpu, log, generation);
	static_call(exit_log_vendor)(vcpu);
	if (generation == log->counted)
		begin_counted(vcpu, log);
	else if (log->logs)
		begin(vcpu, log);
}

/*
 * Instead of backend.enter(): finishes the record of the last exit, and begins that of the next one. Counted in
 * instructions, and so is exit_info: no place for function tracing.
 */
notrace void exit_log_enter(struct vcpu *vcpu)
{
	/* Pairs with the release in settings_changed(): its rings are there. */
	u32 generation = smp_load_acquire(&vcpu->vm->exit_log.generation);
	struct exit_log *log = vcpu->exit_log;

	if (unlikely(generation != log->generation)) {
		enter_otherwise(vcpu, log, generation);
		return;
	}
	finish(vcpu, log);
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
	log->left = log->logs ? rdtsc() : 0;
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

/* After a change of what is logged and counted. */
static void settings_changed(struct vm *vm)
{
	bool was = vm->exit_log.generation, is = vm->exit_log.logs || vm->exit_log.counters;

	if (++vm->exit_log.last == NO_GENERATION)
		vm->exit_log.last = 1;
	smp_store_release(&vm->exit_log.generation, is ? vm->exit_log.last : 0);
	if (is && !was)
		watch();
	else if (was && !is)
		unwatch();
}

static void set_logs(struct vm *vm, bool logs)
{
	if (vm->exit_log.logs == logs)
		return;
	vm->exit_log.logs = logs;
	settings_changed(vm);
}

static long switch_on(struct vm *vm, unsigned long nr)
{
	long r;

	if (nr < PITH_EXIT_LOG_MIN || nr > PITH_EXIT_LOG_MAX || !is_power_of_2(nr))
		return -EINVAL;
	if (vm->exit_log.nr && vm->exit_log.nr != nr)
		return -EBUSY;
	r = create_rings(vm, nr);
	if (!r)
		set_logs(vm, true);
	return r;
}

long exit_log_set(struct vm *vm, unsigned long nr)
{
	long r = 0;

	mutex_lock(&vm->lock);
	if (nr)
		r = switch_on(vm, nr);
	else
		set_logs(vm, false);
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

/* -- the file of counts ------------------------------------------------------------------------------------------- */

static int create_counts(struct vcpu *vcpu)
{
	struct exit_log *log = vcpu->exit_log;

	if (!log->counts)
		log->counts = kvcalloc(PITH_EXIT_REASONS, sizeof(*log->counts), GFP_KERNEL_ACCOUNT);
	return log->counts ? 0 : -ENOMEM;
}

static int begin_to_count(struct vm *vm)
{
	struct vcpu *vcpu;
	unsigned int i;

	vm_for_each_vcpu(vm, vcpu, i)
		if (create_counts(vcpu))
			return -ENOMEM;
	if (!vm->exit_log.counters++)
		settings_changed(vm);
	return 0;
}

/* One row, if there is something in it: a copy, for the vCPU goes on counting. Return: its size; or -EFAULT, -E2BIG. */
static ssize_t copy_row(const struct vcpu *vcpu, unsigned int slot, char __user *user, size_t room)
{
	const struct pith_exit_count *count = &vcpu->exit_log->counts[slot];
	struct pith_exit_count row;

	if (!READ_ONCE(count->count))
		return 0;
	if (room < sizeof(row))
		return -E2BIG;
	row = *count;
	row.vcpu = vcpu->id;
	row.reason = slot;
	return copy_to_user(user, &row, sizeof(row)) ? -EFAULT : sizeof(row);
}

static ssize_t copy_rows(struct vm *vm, char __user *user, size_t room)
{
	size_t size = 0;
	struct vcpu *vcpu;
	unsigned int i, slot;
	ssize_t r;

	vm_for_each_vcpu(vm, vcpu, i) {
		for (slot = 0; slot < PITH_EXIT_REASONS; slot++) {
			r = copy_row(vcpu, slot, user + size, room - size);
			if (r < 0)
				return r;
			size += r;
		}
	}
	return size;
}

static ssize_t counts_read(struct file *file, char __user *user, size_t room, loff_t *pos)
{
	struct vm *vm = file->private_data;
	struct pith_exit_counts head = {
		.isa = backend.isa,
		.tsc_khz = tsc_khz,
		.tsc = rdtsc(),
		.nr_vcpus = vm_nr_vcpus(vm),
	};
	ssize_t size;

	if (room < sizeof(head))
		return -E2BIG;
	size = copy_rows(vm, user + sizeof(head), room - sizeof(head));
	if (size < 0)
		return size;
	head.nr_rows = size / sizeof(struct pith_exit_count);
	return copy_to_user(user, &head, sizeof(head)) ? -EFAULT : size + (ssize_t)sizeof(head);
}

static void stop_counting(struct vm *vm)
{
	mutex_lock(&vm->lock);
	if (!--vm->exit_log.counters)
		settings_changed(vm);
	mutex_unlock(&vm->lock);
}

static int counts_release(struct inode *inode, struct file *file)
{
	struct vm *vm = file->private_data;

	stop_counting(vm);
	vm_put(vm);
	return 0;
}

static const struct file_operations counts_fops = {
	.owner = THIS_MODULE,
	.read = counts_read,
	.release = counts_release,
	.llseek = noop_llseek,
};

long exit_log_open_counts(struct vm *vm)
{
	long r;

	mutex_lock(&vm->lock);
	r = begin_to_count(vm);
	mutex_unlock(&vm->lock);
	if (r)
		return r;
	r = vm_open_file(vm, "pith-exit-counts", &counts_fops, vm);
	if (r < 0)
		stop_counting(vm);
	return r;
}

/* -- lifetime ---------------------------------------------------------------------------------------------------- */

int exit_log_create(struct vcpu *vcpu)
{
	vcpu->exit_log = kzalloc(sizeof(*vcpu->exit_log), GFP_KERNEL_ACCOUNT);
	if (!vcpu->exit_log)
		return -ENOMEM;
	vcpu->exit_log->generation = NO_GENERATION;
	vcpu->exit_log->counted = NO_GENERATION;
	if ((!vcpu->vm->exit_log.nr || !create_ring(vcpu, vcpu->vm->exit_log.nr)) &&
	    (!vcpu->vm->exit_log.counters || !create_counts(vcpu)))
		return 0;
	exit_log_destroy(vcpu);
	return -ENOMEM;
}

void exit_log_destroy(struct vcpu *vcpu)
{
	vfree(vcpu->exit_log->ring);
	kvfree(vcpu->exit_log->counts);
	kfree(vcpu->exit_log);
}

void exit_log_vm_destroy(struct vm *vm)
{
	set_logs(vm, false);
}

void exit_log_teardown(void)
{
	cancel_delayed_work_sync(&watch_work);
}
