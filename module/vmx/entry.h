/* SPDX-License-Identifier: GPL-2.0 */
/* What entry.S and C agree on: the layout of struct vmx_entry, and of the array of general registers (enum gpr). */
#ifndef PITH_VMX_ENTRY_H
#define PITH_VMX_ENTRY_H

#define ENTRY_HOST_RSP 0
#define ENTRY_GUEST_SPEC_CTRL 8
#define ENTRY_HOST_SPEC_CTRL 12
#define ENTRY_SWITCH_SPEC_CTRL 16

#define ENTER_HOST_RSP_FIELD 0x6c14

#ifndef __ASSEMBLY__

#include <linux/build_bug.h>
#include <linux/linkage.h>
#include <linux/stddef.h>
#include <linux/types.h>

#include "../cpu/regs.h"

struct vmx_entry {
	unsigned long host_rsp; /* as the VMCS has it */
	u32 guest_spec_ctrl, host_spec_ctrl;
	bool switch_spec_ctrl; /* the guest accesses IA32_SPEC_CTRL without an exit, or an exit is to write it */
};

static_assert(offsetof(struct vmx_entry, host_rsp) == ENTRY_HOST_RSP);
static_assert(offsetof(struct vmx_entry, guest_spec_ctrl) == ENTRY_GUEST_SPEC_CTRL);
static_assert(offsetof(struct vmx_entry, host_spec_ctrl) == ENTRY_HOST_SPEC_CTRL);
static_assert(offsetof(struct vmx_entry, switch_spec_ctrl) == ENTRY_SWITCH_SPEC_CTRL);

/**
 * vmx_enter_guest - loads the guest's general registers, enters the guest, and saves them when it has exited
 * @gpr: indexed by enum gpr; RSP is the VMCS's
 * Returns true when the guest exited (or the entry failed late), false when VMLAUNCH or VMRESUME itself failed.
 */
asmlinkage bool vmx_enter_guest(u64 *gpr, struct vmx_entry *entry, bool launched);

/**
 * vmx_call_handler - calls the kernel's handler of an interrupt, which returns by IRET
 * @handler: from the IDT
 * Context: interrupts off, and still off afterwards.
 */
asmlinkage void vmx_call_handler(unsigned long handler);

/* Where exits arrive; for HOST_RIP. */
extern const u8 vmx_exit_point[];

#endif
#endif
