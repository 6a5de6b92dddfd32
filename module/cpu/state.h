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
void state_get_debugregs(struct vcpu *vcpu, struct kvm_debugregs *regs);
int state_set_debugregs(struct vcpu *vcpu, const struct kvm_debugregs *regs);
void state_get_events(struct vcpu *vcpu, struct kvm_vcpu_events *events);
int state_set_events(struct vcpu *vcpu, const struct kvm_vcpu_events *events);

#endif
