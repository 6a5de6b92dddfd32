// SPDX-License-Identifier: GPL-2.0
/*
 * kvmclock. All vCPUs of a VM get the same origin, a host TSC and the nanoseconds at it; each page only differs by the
 * vCPU's own TSC. So the clock of a VM is one clock, which steps only where the client sets it. Its rate is the TSC's,
 * as CLOCK_MONOTONIC_RAW's is. While all TSCs are the same the page of one vCPU is good for all, and
 * PVCLOCK_TSC_STABLE_BIT says so.
 */
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/timekeeping.h>

#include <asm/kvm_para.h>
#include <asm/pvclock.h>
#include <asm/tsc.h>

#include "../vm.h"
#include "clock.h"
#include "tsc.h"

/* The kernel marks a TSC unstable that differs between CPUs, stops, or changes its rate. */
bool clock_supported(void)
{
	return !check_tsc_unstable();
}

void clock_init(struct vm *vm)
{
	mutex_init(&vm->clock.lock);
	vm->clock.origin_tsc = rdtsc();
	vm->clock.tscs_match = true;
	vm->clock.tsc_khz = tsc_khz;
}

/* ns = (ticks << shift) * mul >> 32, with a shift that leaves mul all of its 32 bits. */
static void set_scale(struct pvclock_vcpu_time_info *time, u32 khz)
{
	s8 shift = 1;

	while (khz > (u64)NSEC_PER_MSEC << (1 - shift))
		shift--;
	while (shift > 0 && (u64)khz << shift <= NSEC_PER_MSEC)
		shift++;
	time->tsc_shift = shift;
	time->tsc_to_system_mul = mul_u64_u64_div_u64(NSEC_PER_MSEC, 1ull << (32 - shift), khz);
}

/* -- a vCPU's page ----------------------------------------------------------------------------------------------- */

/*
 * Odd versions tell a reader that the rest is being written. That the guest was stopped stays there until the guest
 * takes the flag away.
 */
static void publish(struct vm *vm, u64 gpa, struct pvclock_vcpu_time_info *time)
{
	struct pvclock_vcpu_time_info old;

	if (guest_read(vm, gpa, &old, sizeof(old)))
		return;
	time->flags |= old.flags & PVCLOCK_GUEST_STOPPED;
	time->version = (old.version | 1) + 2;
	guest_write(vm, gpa, &time->version, sizeof(time->version));
	smp_wmb();
	guest_write(vm, gpa + sizeof(u32), (u8 *)time + sizeof(u32), sizeof(*time) - sizeof(u32));
	smp_wmb();
	time->version++;
	guest_write(vm, gpa, &time->version, sizeof(time->version));
}

void clock_update(struct vcpu *vcpu)
{
	struct vm_clock *clock = &vcpu->vm->clock;
	struct pvclock_vcpu_time_info time = {};

	if (!(vcpu->pv.system_time & KVM_MSR_ENABLED))
		return;
	mutex_lock(&clock->lock);
	time.tsc_timestamp = tsc_at(vcpu, clock->origin_tsc);
	time.system_time = clock->origin_ns;
	if (clock->tscs_match)
		time.flags = PVCLOCK_TSC_STABLE_BIT;
	mutex_unlock(&clock->lock);
	/* What changes from here on asks for another update, before the guest is entered. */
	if (vcpu->pv.guest_stopped)
		time.flags |= PVCLOCK_GUEST_STOPPED;
	vcpu->pv.guest_stopped = false;
	set_scale(&time, tsc_rate(vcpu));
	publish(vcpu->vm, vcpu->pv.system_time & ~(u64)KVM_MSR_ENABLED, &time);
}

int clock_guest_stopped(struct vcpu *vcpu)
{
	if (!(vcpu->pv.system_time & KVM_MSR_ENABLED))
		return -EINVAL;
	vcpu->pv.guest_stopped = true;
	vcpu_request(vcpu, REQ_CLOCK);
	return 0;
}

/* -- TSCs that match --------------------------------------------------------------------------------------------- */

static bool tscs_match(struct vm *vm)
{
	const struct vcpu *first = vm->vcpus[0], *vcpu;
	unsigned int i;

	vm_for_each_vcpu(vm, vcpu, i)
		if (vcpu->tsc_catches_up || vcpu->tsc_ratio != first->tsc_ratio ||
		    vcpu->tsc_offset != first->tsc_offset)
			return false;
	return true;
}

static void compare_tscs(struct vm *vm)
{
	bool match = tscs_match(vm);

	if (match == vm->clock.tscs_match)
		return;
	vm->clock.tscs_match = match;
	vm_request_all(vm, REQ_CLOCK);
}

void clock_tsc_changed(struct vcpu *vcpu)
{
	vcpu_request(vcpu, REQ_CLOCK);
	compare_tscs(vcpu->vm);
}

void clock_vcpu_added(struct vm *vm)
{
	mutex_lock(&vm->clock.lock);
	compare_tscs(vm);
	mutex_unlock(&vm->clock.lock);
}

/* -- the VM's clock ---------------------------------------------------------------------------------------------- */

/* As a guest computes it from its page. */
static u64 clock_at(const struct vm_clock *clock, u64 host_tsc)
{
	struct pvclock_vcpu_time_info time = { .tsc_timestamp = clock->origin_tsc, .system_time = clock->origin_ns };

	set_scale(&time, tsc_khz);
	return __pvclock_read_cycles(&time, host_tsc);
}

bool clock_pair(u64 *realtime_ns, u64 *host_tsc)
{
	struct system_time_snapshot snapshot;
	u64 before = rdtsc_ordered();

	ktime_get_snapshot(&snapshot);
	*realtime_ns = ktime_to_ns(snapshot.real);
	*host_tsc = snapshot.cycles;
	/* Another clocksource has other cycles than the TSC's. */
	return snapshot.cycles >= before && snapshot.cycles <= rdtsc_ordered();
}

void clock_get(struct vm *vm, struct kvm_clock_data *data)
{
	struct vm_clock *clock = &vm->clock;

	*data = (struct kvm_clock_data){};
	mutex_lock(&clock->lock);
	if (clock_pair(&data->realtime, &data->host_tsc)) {
		data->flags = KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC;
	} else {
		data->realtime = 0;
		data->host_tsc = rdtsc();
	}
	if (clock->tscs_match && clock_supported())
		data->flags |= KVM_CLOCK_TSC_STABLE;
	data->clock = clock_at(clock, data->host_tsc);
	mutex_unlock(&clock->lock);
}

/*
 * After vm_request_all() no vCPU is in its guest, and none gets there without clock_update(), which waits for the lock:
 * so no guest sees both the old clock and the new one.
 */
int clock_set(struct vm *vm, const struct kvm_clock_data *data)
{
	struct vm_clock *clock = &vm->clock;
	u64 now, elapsed = 0;

	if (data->flags & ~CLOCK_FLAGS)
		return -EINVAL;
	mutex_lock(&clock->lock);
	vm_request_all(vm, REQ_CLOCK);
	now = ktime_get_real_ns();
	if ((data->flags & KVM_CLOCK_REALTIME) && now > data->realtime)
		elapsed = now - data->realtime;
	clock->origin_tsc = rdtsc();
	clock->origin_ns = data->clock + elapsed;
	mutex_unlock(&clock->lock);
	return 0;
}

/* Source: Documentation/virt/kvm/x86/msr.rst, "MSR_KVM_WALL_CLOCK_NEW". */
void clock_write_wall(struct vcpu *vcpu, u64 gpa)
{
	struct vm *vm = vcpu->vm;
	struct pvclock_wall_clock wall;
	struct timespec64 boot;
	u32 version;

	if (!gpa || guest_read(vm, gpa, &version, sizeof(version)))
		return;
	mutex_lock(&vm->clock.lock);
	boot = ns_to_timespec64(ktime_get_real_ns() - clock_at(&vm->clock, rdtsc()));
	mutex_unlock(&vm->clock.lock);
	version = (version | 1) + 2;
	guest_write(vm, gpa, &version, sizeof(version));
	smp_wmb();
	wall = (struct pvclock_wall_clock){ .version = version, .sec = boot.tv_sec, .nsec = boot.tv_nsec };
	guest_write(vm, gpa, &wall, sizeof(wall));
	smp_wmb();
	version++;
	guest_write(vm, gpa, &version, sizeof(version));
}
