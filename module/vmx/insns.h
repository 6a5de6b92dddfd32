/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The VMX instructions that stand outside of the entry path. Each answers whether it succeeded; it also fails where VMX
 * is off. Source: SDM volume 3, "VMX Instruction Reference".
 */
#ifndef PITH_VMX_INSNS_H
#define PITH_VMX_INSNS_H

#include <linux/types.h>
#include <asm/asm.h>

/* clang-format has no notion of asm goto's labels. */
/* clang-format off */

#define DEFINE_VMX_INSN(name)                                                                                          \
	static inline bool name(u64 physical)                                                                          \
	{                                                                                                              \
		asm volatile goto("1: " #name " %[physical]\n\t"                                                       \
				  "jbe %l[failed]\n\t"                                                                 \
				  _ASM_EXTABLE(1b, %l[failed])                                                         \
				  :                                                                                    \
				  : [physical] "m"(physical)                                                           \
				  : "cc", "memory"                                                                     \
				  : failed);                                                                           \
		return true;                                                                                           \
failed:                                                                                                                \
		return false;                                                                                          \
	}

DEFINE_VMX_INSN(vmxon)
DEFINE_VMX_INSN(vmclear)
DEFINE_VMX_INSN(vmptrld)

#undef DEFINE_VMX_INSN

static inline bool vmxoff(void)
{
	asm volatile goto("1: vmxoff\n\t"
			  _ASM_EXTABLE(1b, %l[failed])
			  :
			  :
			  : "cc", "memory"
			  : failed);
	return true;
failed:
	return false;
}

struct inv_descriptor {
	u64 context; /* INVEPT: EPTP; INVVPID: VPID */
	u64 address;
};

#define DEFINE_INV_INSN(name)                                                                                          \
	static inline bool name(unsigned long type, u64 context)                                                       \
	{                                                                                                              \
		struct inv_descriptor descriptor = { .context = context };                                             \
                                                                                                                       \
		asm volatile goto("1: " #name " %[descriptor], %[type]\n\t"                                            \
				  "jbe %l[failed]\n\t"                                                                 \
				  _ASM_EXTABLE(1b, %l[failed])                                                         \
				  :                                                                                    \
				  : [type] "r"(type), [descriptor] "m"(descriptor)                                     \
				  : "cc", "memory"                                                                     \
				  : failed);                                                                           \
		return true;                                                                                           \
failed:                                                                                                                \
		return false;                                                                                          \
	}

DEFINE_INV_INSN(invept)
DEFINE_INV_INSN(invvpid)

#undef DEFINE_INV_INSN

/* clang-format on */

#endif
