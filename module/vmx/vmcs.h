/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The VMCS: loading it on a CPU, and typed access to its fields. A field's encoding tells its width, so an access of
 * the wrong one does not compile. Source: SDM volume 3, "Field Encoding in the VMCS".
 */
#ifndef PITH_VMX_VMCS_H
#define PITH_VMX_VMCS_H

#include <linux/build_bug.h>
#include <linux/types.h>
#include <asm/asm.h>
#include <asm/vmx.h>

/* The kernel's header names operands of exit qualifications like the registers of cpu/regs.h. */
#undef REG_R8
#undef REG_R9
#undef REG_R10
#undef REG_R11
#undef REG_R12
#undef REG_R13
#undef REG_R14
#undef REG_R15

#include "../cpu/regs.h"

struct vmx_vcpu;

/* What hardware defines of a VMCS region, and of the VMXON region. */
struct vmcs {
	u32 revision;
	u32 abort;
};

enum vmcs_width { VMCS_16, VMCS_64, VMCS_32, VMCS_NATURAL };

#define VMCS_FIELD_WIDTH(field) ((enum vmcs_width)(((field) >> 13) & 3))
#define VMCS_FIELD_HIGH BIT(0)

/* The fields of the eight segment registers stand in the order of enum segment, two encodings apart. */
#define SEGMENT_FIELD(es_field, seg) ((es_field) + 2 * (seg))

void vmcs_read_failed(unsigned long field);
void vmcs_write_failed(unsigned long field, unsigned long value);

static __always_inline void vmcs_check_width(unsigned long field, enum vmcs_width width)
{
	BUILD_BUG_ON_MSG(__builtin_constant_p(field) && VMCS_FIELD_WIDTH(field) != width,
			 "VMCS field of another width");
	BUILD_BUG_ON_MSG(__builtin_constant_p(field) && (field & VMCS_FIELD_HIGH), "high half of a 64-bit VMCS field");
}

/* clang-format has no notion of asm goto's labels. */
/* clang-format off */

/* The function for fields whose width is known at run time only. A field that cannot be read is 0. */
static __always_inline unsigned long vmcs_read_any(unsigned long field)
{
	unsigned long value;

	asm volatile goto("1: vmread %[field], %[value]\n\t"
			  "jbe %l[failed]\n\t"
			  _ASM_EXTABLE(1b, %l[failed])
			  : [value] "=r"(value)
			  : [field] "r"(field)
			  : "cc"
			  : failed);
	return value;
failed:
	vmcs_read_failed(field);
	return 0;
}

static __always_inline void vmcs_write_any(unsigned long field, unsigned long value)
{
	asm volatile goto("1: vmwrite %[value], %[field]\n\t"
			  "jbe %l[failed]\n\t"
			  _ASM_EXTABLE(1b, %l[failed])
			  :
			  : [field] "r"(field), [value] "rm"(value)
			  : "cc"
			  : failed);
	return;
failed:
	vmcs_write_failed(field, value);
}

/* 0 for a field that this CPU does not have, too. */
static __always_inline unsigned long vmcs_read_if_there(unsigned long field)
{
	unsigned long value;

	asm volatile goto("vmread %[field], %[value]\n\t"
			  "jbe %l[failed]"
			  : [value] "=r"(value)
			  : [field] "r"(field)
			  : "cc"
			  : failed);
	return value;
failed:
	return 0;
}

/* clang-format on */

#define DEFINE_VMCS_ACCESS(suffix, type, width)                                         \
	static __always_inline type vmcs_read##suffix(unsigned long field)              \
	{                                                                               \
		vmcs_check_width(field, width);                                         \
		return vmcs_read_any(field);                                            \
	}                                                                               \
	static __always_inline void vmcs_write##suffix(unsigned long field, type value) \
	{                                                                               \
		vmcs_check_width(field, width);                                         \
		vmcs_write_any(field, value);                                           \
	}

DEFINE_VMCS_ACCESS(16, u16, VMCS_16)
DEFINE_VMCS_ACCESS(32, u32, VMCS_32)
DEFINE_VMCS_ACCESS(64, u64, VMCS_64)
DEFINE_VMCS_ACCESS(_natural, unsigned long, VMCS_NATURAL)

#undef DEFINE_VMCS_ACCESS

struct vmcs *vmcs_alloc(int cpu);
void vmcs_free(struct vmcs *vmcs);

void vmcs_list_init(int cpu);
void vmcs_load(struct vmx_vcpu *vmx);
void vmcs_unload(struct vmx_vcpu *vmx);
void vmcs_clear_all_here(void);
void vmcs_save_all_here(void);

void vmcs_get(struct vmx_vcpu *vmx);
void vmcs_put(void);

#endif
