// SPDX-License-Identifier: GPL-2.0
#include <linux/kvm_para.h>

#include <asm/kvm_para.h>

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
}
