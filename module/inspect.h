/* SPDX-License-Identifier: GPL-2.0 */
/* The inspection file: what others may read of a VM, while it runs. */
#ifndef PITH_INSPECT_H
#define PITH_INSPECT_H

#include <linux/types.h>

struct cred;
struct vcpu;
struct vm;

/** inspect_allowed - whether a process that the VM is not of may look inside: it has the VM's file, and @maker's rights */
bool inspect_allowed(const struct cred *maker);

/** inspect_open - PITH_INSPECT. Return: the number of a new file that holds on to the VM, or an errno. */
long inspect_open(struct vm *vm);

/** inspect_answer - REQ_INSPECT: somebody wants the vCPU's state. Its own thread, outside of a slice. */
void inspect_answer(struct vcpu *vcpu);

#endif
