/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The exit log: what a VM's exits were, when, and how long each took, in a ring of each vCPU that the client maps. See
 * uapi/pith.h for what a reader finds. While no VM is logged the exit path does not know of it: where one is, the calls
 * of run.c are patched to the functions of exit_log.c.
 */
#ifndef PITH_EXIT_LOG_H
#define PITH_EXIT_LOG_H

#include <linux/mm_types.h>
#include <linux/types.h>

struct vm;
struct vcpu;

/* What stands in the place of backend.enter() and of vcpu_run() while a VM is watched, or an event of all is listened to. */
void exit_log_enter(struct vcpu *vcpu);
int exit_log_run(struct vcpu *vcpu);

/** exit_log_trace - one more, or one less, who listens to events of every entry and exit. May sleep. */
void exit_log_trace(bool begins);

/* trace.c */
extern const struct run_calls trace_calls;

/* exit_log_create - what a new vCPU needs, and what its VM has switched on; vm->lock held. 0 or -ENOMEM. */
int exit_log_create(struct vcpu *vcpu);
void exit_log_destroy(struct vcpu *vcpu);

/**
 * exit_log_set - PITH_SET_EXIT_LOG: logs the exits of all vCPUs, also of those that come later
 * @nr: of records in each ring, a power of two; 0: no longer
 * Return: 0, -EINVAL, -ENOMEM; -EBUSY: the rings are there, and of another size. May sleep.
 */
long exit_log_set(struct vm *vm, unsigned long nr);

/* exit_log_vm_destroy - nobody runs it any more */
void exit_log_vm_destroy(struct vm *vm);

/**
 * exit_log_open_counts - PITH_INSPECT_EXITS: counts exits until the file is closed
 * Return: its number, or an errno. It holds on to the VM. May sleep.
 */
long exit_log_open_counts(struct vm *vm);

/** exit_log_page - a page of the ring, or NULL; its holder keeps the vCPU. @index: behind PITH_EXIT_LOG_PAGE_OFFSET */
struct page *exit_log_page(struct vcpu *vcpu, unsigned long index);

void exit_log_setup(void);
void exit_log_teardown(void);

#endif
