/* SPDX-License-Identifier: GPL-2.0 */
/*
 * kvmclock: a clock that a guest computes from its TSC and three numbers that the hypervisor left in a page, without an
 * exit. Source: Documentation/virt/kvm/x86/msr.rst, "MSR_KVM_SYSTEM_TIME_NEW".
 */
#ifndef PITH_CPU_CLOCK_H
#define PITH_CPU_CLOCK_H

#include <linux/kvm.h>
#include <linux/mutex.h>
#include <linux/types.h>

struct vm;
struct vcpu;

/**
 * struct vm_clock - what the vCPUs of a VM have of time in common
 * @lock: of all this, and of changes of each vCPU's tsc_offset and tsc_ratio; inside vcpu->mutex, never in a slice
 * @origin_tsc: a host TSC, and
 * @origin_ns: what kvmclock said then
 * @tscs_match: all vCPUs have the same TSC
 * @tsc_khz: what new vCPUs get
 * @tsc_offset: of the last vCPU whose TSC was written by the client, and
 * @written_khz: its rate,
 * @written_value: the TSC that it got, and
 * @written_at: the host's TSC then
 * @wall_clock: MSR_KVM_WALL_CLOCK
 */
struct vm_clock {
	struct mutex lock;
	u64 origin_tsc, origin_ns;
	bool tscs_match;
	u32 tsc_khz;
	u64 tsc_offset;
	u32 written_khz;
	u64 written_value, written_at;
	u64 wall_clock;
};

/** clock_supported - whether the host's TSC is good enough to give guests a clock made of it alone */
bool clock_supported(void);

/** clock_init - a new VM's clock begins at 0 */
void clock_init(struct vm *vm);

/** clock_update - writes the vCPU's page anew (REQ_CLOCK). Own context, not in a slice; may sleep. */
void clock_update(struct vcpu *vcpu);

/** clock_write_wall - the time of day at which kvmclock was 0, to @gpa of the guest. May sleep. */
void clock_write_wall(struct vcpu *vcpu, u64 gpa);

/** clock_tsc_changed - a vCPU's TSC is another; vm->clock.lock is held */
void clock_tsc_changed(struct vcpu *vcpu);

/** clock_vcpu_added - a vCPU was published: has it the others' TSC? */
void clock_vcpu_added(struct vm *vm);

/** clock_pair - the time of day, and the host TSC at just that moment; false if the host's clock is not the TSC */
bool clock_pair(u64 *realtime_ns, u64 *host_tsc);

/** clock_get, clock_set - KVM_GET_CLOCK, KVM_SET_CLOCK: 0 or -EINVAL. May sleep. */
void clock_get(struct vm *vm, struct kvm_clock_data *data);
int clock_set(struct vm *vm, const struct kvm_clock_data *data);

/** clock_guest_stopped - KVM_KVMCLOCK_CTRL: 0, or -EINVAL: the guest uses no kvmclock */
int clock_guest_stopped(struct vcpu *vcpu);

#define CLOCK_FLAGS (KVM_CLOCK_TSC_STABLE | KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC)

#endif
