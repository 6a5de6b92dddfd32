// SPDX-License-Identifier: GPL-2.0
#include <linux/kvm_para.h>
#include <linux/uaccess.h>
#include <asm/kvm_para.h>

#include "../compat.h"
#include "../irq/irqchip.h"
#include "../vm.h"
#include "clock.h"
#include "cpuid.h"
#include "paravirt.h"

bool pv_has(struct vcpu *vcpu, unsigned int feature)
{
	return !vcpu->pv.enforce_cpuid || cpuid_has(vcpu, KVM_CPUID_FEATURES, 0, CPUID_EAX, feature);
}

static u64 read_system_time(struct vcpu *vcpu)
{
	return vcpu->pv.system_time;
}

static int write_system_time(struct vcpu *vcpu, u64 value)
{
	vcpu->pv.system_time = value;
	vcpu_request(vcpu, REQ_CLOCK);
	return 0;
}

static u64 read_wall_clock(struct vcpu *vcpu)
{
	return READ_ONCE(vcpu->vm->clock.wall_clock);
}

static int write_wall_clock(struct vcpu *vcpu, u64 value)
{
	WRITE_ONCE(vcpu->vm->clock.wall_clock, value);
	clock_write_wall(vcpu, value);
	return 0;
}

static u64 read_steal_time(struct vcpu *vcpu)
{
	return vcpu->pv.steal_time;
}

/* What stands in memory that was restored is not known: the vCPU may be called preempted there. */
static int write_steal_time(struct vcpu *vcpu, u64 value)
{
	if (!sched_info_on() || (value & KVM_STEAL_RESERVED_MASK))
		return -EINVAL;
	vcpu->pv.steal_time = value;
	vcpu->pv.preempted = true;
	return 0;
}

static u64 read_eoi(struct vcpu *vcpu)
{
	return vcpu->pv.eoi;
}

static int write_eoi(struct vcpu *vcpu, u64 value)
{
	if (!IS_ALIGNED(value & ~(u64)KVM_MSR_ENABLED, 4))
		return -EINVAL;
	irq_pv_eoi_sync(vcpu, false);
	vcpu->pv.eoi = value;
	return 0;
}

static u64 read_poll_control(struct vcpu *vcpu)
{
	return vcpu->pv.poll_control;
}

static int write_poll_control(struct vcpu *vcpu, u64 value)
{
	if (value > 1)
		return -EINVAL;
	vcpu->pv.poll_control = value;
	return 0;
}

static const struct paravirt_msr {
	u32 index;
	unsigned int feature;
	u64 (*read)(struct vcpu *vcpu);
	int (*write)(struct vcpu *vcpu, u64 value);
} msrs[] = {
	{ MSR_KVM_WALL_CLOCK, KVM_FEATURE_CLOCKSOURCE, read_wall_clock, write_wall_clock },
	{ MSR_KVM_SYSTEM_TIME, KVM_FEATURE_CLOCKSOURCE, read_system_time, write_system_time },
	{ MSR_KVM_WALL_CLOCK_NEW, KVM_FEATURE_CLOCKSOURCE2, read_wall_clock, write_wall_clock },
	{ MSR_KVM_SYSTEM_TIME_NEW, KVM_FEATURE_CLOCKSOURCE2, read_system_time, write_system_time },
	{ MSR_KVM_STEAL_TIME, KVM_FEATURE_STEAL_TIME, read_steal_time, write_steal_time },
	{ MSR_KVM_PV_EOI_EN, KVM_FEATURE_PV_EOI, read_eoi, write_eoi },
	{ MSR_KVM_POLL_CONTROL, KVM_FEATURE_POLL_CONTROL, read_poll_control, write_poll_control },
};

bool pv_is_msr(u32 index)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(msrs); i++)
		if (msrs[i].index == index)
			return true;
	return false;
}

static const struct paravirt_msr *find(struct vcpu *vcpu, u32 index)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(msrs); i++)
		if (msrs[i].index == index)
			return pv_has(vcpu, msrs[i].feature) ? &msrs[i] : NULL;
	return NULL;
}

int pv_read_msr(struct vcpu *vcpu, u32 index, u64 *value)
{
	const struct paravirt_msr *msr = find(vcpu, index);

	if (!msr)
		return -EINVAL;
	*value = msr->read(vcpu);
	return 0;
}

int pv_write_msr(struct vcpu *vcpu, u32 index, u64 value)
{
	const struct paravirt_msr *msr = find(vcpu, index);

	return msr ? msr->write(vcpu, value) : -EINVAL;
}

void pv_reset(struct vcpu *vcpu)
{
	vcpu->pv.system_time = 0;
	vcpu->pv.steal_time = 0;
	vcpu->pv.eoi = 0;
}

/* -- steal time -------------------------------------------------------------------------------------------------- */

static u64 steal_gpa(const struct vcpu *vcpu, size_t offset)
{
	return (vcpu->pv.steal_time & KVM_STEAL_VALID_BITS) + offset;
}

/*
 * Others set KVM_VCPU_FLUSH_TLB beside KVM_VCPU_PREEMPTED instead of sending an IPI, so the two are taken as one. The
 * byte is exchanged with the padding after it.
 */
static void take_preempted(struct vcpu *vcpu)
{
	u64 word = 0, gpa = steal_gpa(vcpu, offsetof(struct kvm_steal_time, preempted));
	int r;

	do {
		r = guest_cmpxchg(vcpu->vm, gpa, sizeof(u32), &word, word & ~0xffull);
	} while (r > 0);
	if (r)
		return;
	vcpu->pv.preempted = false;
	if ((word & KVM_VCPU_FLUSH_TLB) && pv_has(vcpu, KVM_FEATURE_PV_TLB_FLUSH))
		vcpu_request(vcpu, REQ_GUEST_TLB_FLUSH);
}

/* Odd versions tell a reader that the rest is being written. */
static void add_steal(struct vcpu *vcpu, u64 delay)
{
	u64 version_at = steal_gpa(vcpu, offsetof(struct kvm_steal_time, version));
	u64 steal_at = steal_gpa(vcpu, offsetof(struct kvm_steal_time, steal));
	u32 version;
	u64 steal;

	if (guest_read(vcpu->vm, steal_at, &steal, sizeof(steal)) ||
	    guest_read(vcpu->vm, version_at, &version, sizeof(version)))
		return;
	version = (version | 1) + 2;
	steal += delay;
	guest_write(vcpu->vm, version_at, &version, sizeof(version));
	smp_wmb();
	guest_write(vcpu->vm, steal_at, &steal, sizeof(steal));
	smp_wmb();
	version++;
	guest_write(vcpu->vm, version_at, &version, sizeof(version));
}

void pv_add_delay(struct vcpu *vcpu)
{
	u64 delay = compat_run_delay();

	if (vcpu->pv.preempted)
		take_preempted(vcpu);
	/* Another thread's delay is its own; what it has of it was not the guest's. */
	if (vcpu->pv.delayed == current && vcpu->pv.run_delay != delay)
		add_steal(vcpu, delay - vcpu->pv.run_delay);
	vcpu->pv.delayed = current;
	vcpu->pv.run_delay = delay;
}

void pv_preempted(struct vcpu *vcpu)
{
	static const u8 preempted = KVM_VCPU_PREEMPTED;

	if (!(vcpu->pv.steal_time & KVM_MSR_ENABLED) || vcpu->pv.preempted)
		return;
	vcpu->pv.preempted = true;
	/* A page that is not there just now is not waited for: it is a hint. */
	pagefault_disable();
	guest_write(vcpu->vm, steal_gpa(vcpu, offsetof(struct kvm_steal_time, preempted)), &preempted,
		    sizeof(preempted));
	pagefault_enable();
}

/* -- what there is ----------------------------------------------------------------------------------------------- */

/* Asynchronous page faults are not. */
u32 pv_features(void)
{
	u32 features = BIT(KVM_FEATURE_NOP_IO_DELAY) | BIT(KVM_FEATURE_PV_EOI) | BIT(KVM_FEATURE_PV_UNHALT) |
		       BIT(KVM_FEATURE_PV_SEND_IPI) | BIT(KVM_FEATURE_POLL_CONTROL) | BIT(KVM_FEATURE_PV_SCHED_YIELD);

	if (clock_supported())
		features |= BIT(KVM_FEATURE_CLOCKSOURCE) | BIT(KVM_FEATURE_CLOCKSOURCE2) |
			    BIT(KVM_FEATURE_CLOCKSOURCE_STABLE_BIT);
	if (sched_info_on())
		features |= BIT(KVM_FEATURE_STEAL_TIME) | BIT(KVM_FEATURE_PV_TLB_FLUSH);
	return features;
}
