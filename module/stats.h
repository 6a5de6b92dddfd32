/* SPDX-License-Identifier: GPL-2.0 */
/* Binary statistics: KVM_GET_STATS_FD. */
#ifndef PITH_STATS_H
#define PITH_STATS_H

struct vm;
struct vcpu;

/** stats_open_vm, stats_open_vcpu - Return: the number of a new file to read, or an errno. The file holds on to the VM. */
long stats_open_vm(struct vm *vm);
long stats_open_vcpu(struct vcpu *vcpu);

#endif
