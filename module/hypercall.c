// SPDX-License-Identifier: GPL-2.0
/* Hypercalls. Source: Documentation/virt/kvm/x86/hypercalls.rst. */
#include <linux/kvm_para.h>
#include <linux/nospec.h>

#include <asm/kvm_para.h>

#include "cpu/clock.h"
#include "cpu/paravirt.h"
#include "cpu/tsc.h"
#include "emulate.h"
#include "exit.h"
#include "irq/irqchip.h"

#define NO_FEATURE 32

/* Handlers are called again outside of the slice when they return NEXT_SLOW. */
struct hypercall {
	enum next (*handle)(struct vcpu *vcpu, const u64 arg[4], long *result);
	unsigned int feature;
};

static enum next poll_irq(struct vcpu *vcpu, const u64 arg[4], long *result)
{
	*result = 0;
	return NEXT_ENTER;
}

/* Yields to another vCPU, if that has something to gain by it. */
static enum next yield_to_apic_id(struct vcpu *vcpu, u32 apic_id)
{
	struct vcpu *target = vm_vcpu_by_id(vcpu->vm, apic_id);

	if (!target || target == vcpu || !vcpu_waits_for_cpu(target))
		return NEXT_ENTER;
	if (vcpu->in_slice)
		return NEXT_SLOW;
	vcpu_yield_to(target);
	return NEXT_ENTER;
}

/* Ends another vCPU's halt: it waits for the lock that has just been unlocked. A second kick changes nothing. */
static enum next kick_cpu(struct vcpu *vcpu, const u64 arg[4], long *result)
{
	struct vcpu *target = vm_vcpu_by_id(vcpu->vm, arg[1]);

	*result = 0;
	if (target) {
		WRITE_ONCE(target->pv.unhalted, true);
		vcpu_kick(target);
	}
	return yield_to_apic_id(vcpu, arg[1]);
}

static enum next sched_yield_to(struct vcpu *vcpu, const u64 arg[4], long *result)
{
	*result = 0;
	return yield_to_apic_id(vcpu, arg[0]);
}

static enum next send_ipi(struct vcpu *vcpu, const u64 arg[4], long *result)
{
	*result = irq_pv_send_ipi(vcpu, arg[0], arg[1], arg[2], arg[3]);
	return NEXT_ENTER;
}

/* The host's time of day, and the guest's TSC at that moment. */
static enum next clock_pairing(struct vcpu *vcpu, const u64 arg[4], long *result)
{
	struct kvm_clock_pairing pairing = {};
	u64 realtime, host_tsc;
	u32 nsec;

	*result = -KVM_EOPNOTSUPP;
	if (arg[1] != KVM_CLOCK_PAIRING_WALLCLOCK || vcpu->tsc_catches_up)
		return NEXT_ENTER;
	if (vcpu->in_slice)
		return NEXT_SLOW;
	if (!clock_pair(&realtime, &host_tsc))
		return NEXT_ENTER;
	pairing.sec = div_u64_rem(realtime, NSEC_PER_SEC, &nsec);
	pairing.nsec = nsec;
	pairing.tsc = tsc_at(vcpu, host_tsc);
	*result = guest_write(vcpu->vm, arg[0], &pairing, sizeof(pairing)) ? -KVM_EFAULT : 0;
	return NEXT_ENTER;
}

static const struct hypercall hypercalls[] = {
	[KVM_HC_VAPIC_POLL_IRQ] = { poll_irq, NO_FEATURE },
	[KVM_HC_KICK_CPU] = { kick_cpu, KVM_FEATURE_PV_UNHALT },
	[KVM_HC_CLOCK_PAIRING] = { clock_pairing, NO_FEATURE },
	[KVM_HC_SEND_IPI] = { send_ipi, KVM_FEATURE_PV_SEND_IPI },
	[KVM_HC_SCHED_YIELD] = { sched_yield_to, KVM_FEATURE_PV_SCHED_YIELD },
};

static const struct hypercall *find(struct vcpu *vcpu, u64 number)
{
	const struct hypercall *call;

	if (number >= ARRAY_SIZE(hypercalls))
		return NULL;
	call = &hypercalls[array_index_nospec(number, ARRAY_SIZE(hypercalls))];
	if (!call->handle || (call->feature != NO_FEATURE && !pv_has(vcpu, call->feature)))
		return NULL;
	return call;
}

static enum next finish(struct vcpu *vcpu, u64 result)
{
	vcpu->regs.gpr[REG_RAX] = result;
	vcpu_advance(vcpu);
	return NEXT_ENTER;
}

static noinline enum next answer(struct vcpu *vcpu, const struct hypercall *call, u64 mask)
{
	const u64 *gpr = vcpu->regs.gpr;
	const u64 arg[] = { gpr[REG_RBX] & mask, gpr[REG_RCX] & mask, gpr[REG_RDX] & mask, gpr[REG_RSI] & mask };
	enum next next;
	long result;

	next = call->handle(vcpu, arg, &result);
	return next == NEXT_ENTER ? finish(vcpu, result & mask) : next;
}

enum next exit_hypercall(struct vcpu *vcpu)
{
	u64 mask = vcpu_insn_mode(vcpu) == INSN_MODE_64 ? ~0ull : U32_MAX;
	const struct hypercall *call;
	enum next next;

	if (!vcpu_measure(vcpu, &next))
		return next;
	if (unlikely(vcpu_cpl(vcpu)))
		return finish(vcpu, -KVM_EPERM & mask);
	call = find(vcpu, vcpu->regs.gpr[REG_RAX] & mask);
	return call ? answer(vcpu, call, mask) : finish(vcpu, -KVM_ENOSYS & mask);
}
