/* SPDX-License-Identifier: GPL-2.0 */
/* Hardware task switches, for CPUs that leave them to the hypervisor. */
#ifndef PITH_TASK_SWITCH_H
#define PITH_TASK_SWITCH_H

#include "vcpu.h"

enum task_switch { TASK_CALL, TASK_IRET, TASK_JMP, TASK_GATE };

/**
 * exit_task_switch - switches to another task as the CPU would have
 * @selector: of the new task's TSS
 * @how: by CALL, IRET, JMP, or a task gate in the IDT; with a gate vcpu->event is the event that came through it
 * @length: bytes of the instruction that switches; 0 if none does
 * Returns enum next; NEXT_SLOW in a slice, for it may sleep. Source: SDM volume 3, "Task Switching".
 */
enum next exit_task_switch(struct vcpu *vcpu, u16 selector, enum task_switch how, unsigned int length);

#endif
