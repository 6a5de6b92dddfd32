/* SPDX-License-Identifier: GPL-2.0 */
#ifndef PITH_VCPU_H
#define PITH_VCPU_H

#include <pthread.h>

#include "util.h"

struct kvm_run;
struct vm;

struct vcpu {
	struct vm *vm;
	unsigned int id;
	int fd;
	struct kvm_run *run;
	pthread_t thread;
	bool paused; /* it is to stand still, and */
	bool waits;  /* it does: see pause.c */
};

void vcpu_create_all(struct vm *vm, unsigned int count, u64 entry);
void vcpu_start_all(struct vm *vm);
void vcpu_interrupt(const struct vcpu *vcpu);
void vcpu_stop_all(struct vm *vm);

#endif
