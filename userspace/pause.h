/* SPDX-License-Identifier: GPL-2.0 */
#ifndef PITH_PAUSE_H
#define PITH_PAUSE_H

struct vcpu;
struct vm;

void pause_from_start(struct vm *vm);
void pause_all(struct vm *vm);
void pause_self(struct vcpu *vcpu);
void pause_here(struct vcpu *vcpu);
void pause_end(struct vcpu *vcpu);
void pause_end_all(struct vm *vm);

#endif
