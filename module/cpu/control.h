/* SPDX-License-Identifier: GPL-2.0 */
/* Control and debug registers: what the architecture lets software write to them, and what follows from it. */
#ifndef PITH_CPU_CONTROL_H
#define PITH_CPU_CONTROL_H

#include "../vcpu.h"

/* DR6, DR7. Source: SDM volume 3, "Debug Status Register (DR6)", "Debug Control Register (DR7)". */
#define DR6_BD BIT_ULL(13)
#define DR6_BS BIT_ULL(14)
#define DR6_BT BIT_ULL(15)
#define DR6_FIXED 0xffff0ff0ull
#define DR6_WRITABLE 0x0000e00full
#define DR7_GD BIT_ULL(13)
#define DR7_FIXED 0x400ull
#define DR7_WRITABLE 0xffff2bffull
#define DR7_LOCAL 0x155ull  /* L0 .. L3, LE: of a task */
#define DR7_ENABLED 0xffull /* L0, G0 .. L3, G3 */

/**
 * control_write - MOV to CR0, CR3, CR4, CR8: checks, and does what follows from the change
 * Return: 0, or -EINVAL: #GP(0), nothing changed.
 */
int control_write(struct vcpu *vcpu, unsigned int cr, u64 value);
u64 control_read(struct vcpu *vcpu, unsigned int cr);

/** control_write_sleeps - whether the write has to read guest memory (the four PDPTEs of PAE paging) */
bool control_write_sleeps(struct vcpu *vcpu, unsigned int cr, u64 value);

/** control_valid - whether CR0, CR4, EFER together are a state that the CPU can be in (KVM_SET_SREGS) */
bool control_valid(struct vcpu *vcpu, u64 cr0, u64 cr3, u64 cr4, u64 efer);

/** control_load_pdptrs - reads the PDPTEs that CR3 points to. May sleep. Return: 0, or -EINVAL: reserved bits. */
int control_load_pdptrs(struct vcpu *vcpu, u64 cr3);

/** control_set_pdptrs - Return: 0, or -EINVAL: reserved bits. */
int control_set_pdptrs(struct vcpu *vcpu, const u64 pdptrs[4]);

/** control_uses_pdptrs - PAE paging: 32-bit, with four page-directory-pointer-table entries held by the CPU */
static inline bool control_uses_pdptrs(u64 cr0, u64 cr4, u64 efer)
{
	return (cr0 & X86_CR0_PG) && (cr4 & X86_CR4_PAE) && !(efer & EFER_LMA);
}

/** control_set_efer - WRMSR to EFER. Return: 0, or -EINVAL: #GP(0). */
int control_set_efer(struct vcpu *vcpu, u64 efer, bool host);

/**
 * debug_register_access - MOV to or from a debug register
 * Return: 0, or non-zero with @exception: #UD, #DB (general detect), #GP.
 */
int debug_register_access(struct vcpu *vcpu, unsigned int dr, u64 *value, bool read, struct exception *exception);

#endif
