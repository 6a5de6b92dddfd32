/* SPDX-License-Identifier: GPL-2.0 */
/* Register state in and out by ioctl, and the state of RESET and INIT. The vCPU's mutex is held; not in a slice. */
#ifndef PITH_CPU_STATE_H
#define PITH_CPU_STATE_H

#include <linux/kvm.h>

#include "../vcpu.h"

void state_get_regs(struct vcpu *vcpu, struct kvm_regs *regs);
void state_set_regs(struct vcpu *vcpu, const struct kvm_regs *regs);
void state_get_sregs(struct vcpu *vcpu, struct kvm_sregs *sregs);

/** state_set_sregs - Return: 0, or -EINVAL: a combination of control registers that no CPU can be in. May sleep. */
int state_set_sregs(struct vcpu *vcpu, const struct kvm_sregs *sregs);

/* KVM_GET_SREGS2, KVM_SET_SREGS2: as above, and the PDPTEs of PAE paging. */
void state_get_sregs2(struct vcpu *vcpu, struct kvm_sregs2 *sregs);
int state_set_sregs2(struct vcpu *vcpu, const struct kvm_sregs2 *sregs);

/** state_translate - KVM_TRANSLATE: where the guest's page tables lead, as the guest's kernel would get there */
void state_translate(struct vcpu *vcpu, struct kvm_translation *translation);

/**
 * state_sync_in, state_sync_out - KVM_CAP_SYNC_REGS: registers that pass through struct kvm_run
 * The client writes to it at any moment. Return: 0, or -EINVAL: no such group, or what KVM_SET_SREGS,
 * KVM_SET_VCPU_EVENTS would refuse.
 */
int state_sync_in(struct vcpu *vcpu);
void state_sync_out(struct vcpu *vcpu);
void state_get_debugregs(struct vcpu *vcpu, struct kvm_debugregs *regs);
int state_set_debugregs(struct vcpu *vcpu, const struct kvm_debugregs *regs);
void state_get_events(struct vcpu *vcpu, struct kvm_vcpu_events *events);
int state_set_events(struct vcpu *vcpu, const struct kvm_vcpu_events *events);

#endif
