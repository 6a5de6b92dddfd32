/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A vCPU's registers as gdb knows them: numbers, sizes, names. No kernel.
 * Source: "Debugging with GDB", appendix "Target Descriptions", section "x86 Features".
 */
#ifndef PITH_GDB_REGISTERS_H
#define PITH_GDB_REGISTERS_H

#include <linux/kvm.h>

#include "../util.h"

struct reply;

struct registers {
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_fpu fpu;
};

#define REGISTER_MAX 16	       /* bytes of one */
#define REGISTERS_XML_MAX 8192 /* of the target description */

unsigned int registers_count(void);
unsigned int register_size(unsigned int number);
void register_get(const struct registers *registers, unsigned int number, void *value);
void register_set(struct registers *registers, unsigned int number, const void *value);
size_t registers_describe(char *xml, size_t size);

#endif
