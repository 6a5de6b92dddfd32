// SPDX-License-Identifier: GPL-2.0
/*
 * kvmclock. All vCPUs of a VM get the same origin, a host TSC and the nanoseconds at it, taken once; each page only
 * differs by the vCPU's TSC offset. So the clock of a VM is one clock, which no update can make step, and what a guest
 * is told as PVCLOCK_TSC_STABLE_BIT is true. Its rate is the TSC's, as CLOCK_MONOTONIC_RAW's is.
 */
#include <linux/math64.h>
#include <linux/ktime.h>

#include <asm/kvm_para.h>
#include <asm/pvclock-abi.h>
#include <asm/tsc.h>

#include "../vm.h"
#include "clock.h"

/* The kernel marks a TSC unstable that differs between CPUs, stops, or changes its rate. */
bool clock_supported(void)
{
	return !check_tsc_unstable();
}

bool clock_is_msr(u32 index)
{
	return index == MSR_KVM_SYSTEM_TIME || index == MSR_KVM_SYSTEM_TIME_NEW || index == MSR_KVM_WALL_CLOCK ||
	       index == MSR_KVM_WALL_CLOCK_NEW;
}

static bool is_wall_clock(u32 index)
{
	return index == MSR_KVM_WALL_CLOCK || index == MSR_KVM_WALL_CLOCK_NEW;
}

/* ns = (ticks << shift) * mul >> 32, with a shift that leaves mul all of its 32 bits. */
static void set_scale(struct pvclock_vcpu_time_info *time)
{
	s8 shift = 1;

	while (tsc_khz > (u64)NSEC_PER_MSEC << (1 - shift))
		shift--;
	while (shift > 0 && (u64)tsc_khz << shift <= NSEC_PER_MSEC)
		shift++;
	time->tsc_shift = shift;
	time->tsc_to_system_mul = mul_u64_u64_div_u64(NSEC_PER_MSEC, 1ull << (32 - shift), tsc_khz);
}

/* Odd versions tell a reader that the rest is being written. */
static void publish(struct vm *vm, u64 gpa, struct pvclock_vcpu_time_info *time)
{
	u32 version = 0;

	if (guest_read(vm, gpa, &version, sizeof(version)))
		return;
	time->version = (version | 1) + 2;
	guest_write(vm, gpa, &time->version, sizeof(time->version));
	smp_wmb();
	guest_write(vm, gpa + sizeof(u32), (u8 *)time + sizeof(u32), sizeof(*time) - sizeof(u32));
	smp_wmb();
	time->version++;
	guest_write(vm, gpa, &time->version, sizeof(time->version));
}

void clock_update(struct vcpu *vcpu)
{
	struct pvclock_vcpu_time_info time = {
		.tsc_timestamp = vcpu->vm->tsc_origin + vcpu->tsc_offset,
		.system_time = 0, /* the VM's clock began with the VM */
		.flags = PVCLOCK_TSC_STABLE_BIT,
	};

	if (!(vcpu->msr.system_time & KVM_MSR_ENABLED))
		return;
	set_scale(&time);
	publish(vcpu->vm, vcpu->msr.system_time & ~(u64)KVM_MSR_ENABLED, &time);
}

/* The time of day at which the VM's clock was 0. */
static void write_wall_clock(struct vcpu *vcpu, u64 gpa)
{
	u64 since = mul_u64_u64_div_u64(rdtsc() - vcpu->vm->tsc_origin, NSEC_PER_MSEC, tsc_khz);
	struct timespec64 boot = ns_to_timespec64(ktime_get_real_ns() - since);
	struct pvclock_wall_clock wall = { .version = 2, .sec = boot.tv_sec, .nsec = boot.tv_nsec };

	guest_write(vcpu->vm, gpa, &wall, sizeof(wall));
}

int clock_read_msr(struct vcpu *vcpu, u32 index, u64 *value)
{
	*value = is_wall_clock(index) ? vcpu->msr.wall_clock : vcpu->msr.system_time;
	return 0;
}

int clock_write_msr(struct vcpu *vcpu, u32 index, u64 value)
{
	if (is_wall_clock(index)) {
		vcpu->msr.wall_clock = value;
		write_wall_clock(vcpu, value);
	} else {
		vcpu->msr.system_time = value;
		clock_update(vcpu);
	}
	return 0;
}
