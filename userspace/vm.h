/* SPDX-License-Identifier: GPL-2.0 */
#ifndef PITH_VM_H
#define PITH_VM_H

#include <stdatomic.h>

#include "bus.h"
#include "memory.h"
#include "util.h"

struct vcpu;

struct vm {
	int kvm_fd; /* the device */
	int fd;
	int wake_fd; /* an eventfd: the main thread has something to look at */
	bool has_msi;
	bool has_ioeventfd;
	struct memory memory;
	struct bus pio;
	struct bus mmio;
	unsigned int nr_vcpus;
	struct vcpu *vcpus;
	atomic_int status; /* enum status once the machine is to stop, until then negative */
};

void vm_create(struct vm *vm, const char *device, u64 memory_size);
int vm_extension(const struct vm *vm, int extension);
void vm_wake(struct vm *vm);
void vm_stop(struct vm *vm, enum status status);
bool vm_running(struct vm *vm);

#endif
