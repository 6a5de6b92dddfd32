// SPDX-License-Identifier: GPL-2.0
/*
 * Control and debug registers. Source: SDM volume 3, "Control Registers", "Paging-Mode Enabling" and
 * "Debug Registers".
 */
#include <asm/processor-flags.h>
#include <asm/msr-index.h>

#include "../emulate.h"
#include "../irq/irqchip.h"
#include "../vm.h"
#include "control.h"
#include "cpuid.h"
#include "guest_debug.h"

#define CR0_DEFINED                                                                                              \
	(X86_CR0_PE | X86_CR0_MP | X86_CR0_EM | X86_CR0_TS | X86_CR0_ET | X86_CR0_NE | X86_CR0_WP | X86_CR0_AM | \
	 X86_CR0_NW | X86_CR0_CD | X86_CR0_PG)
/* Bits whose change means that translations cached so far are void. SDM, "Operations that Invalidate TLBs". */
#define CR4_TRANSLATION                                                                                        \
	(X86_CR4_PSE | X86_CR4_PAE | X86_CR4_PGE | X86_CR4_PCIDE | X86_CR4_SMEP | X86_CR4_SMAP | X86_CR4_PKE | \
	 X86_CR4_LA57)
#define CR4_PDPTR (X86_CR4_PSE | X86_CR4_PAE | X86_CR4_PGE | X86_CR4_SMEP)
#define CR0_PDPTR (X86_CR0_CD | X86_CR0_NW | X86_CR0_PG)
#define PDPTE_PRESENT BIT_ULL(0)
#define PDPTE_RESERVED (GENMASK_ULL(2, 1) | GENMASK_ULL(8, 5))

static u64 physical_reserved(struct vcpu *vcpu)
{
	return GENMASK_ULL(63, vcpu->maxphyaddr);
}

int control_set_pdptrs(struct vcpu *vcpu, const u64 pdptrs[4])
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(vcpu->pdptrs); i++)
		if ((pdptrs[i] & PDPTE_PRESENT) && (pdptrs[i] & (PDPTE_RESERVED | physical_reserved(vcpu))))
			return -EINVAL;
	memcpy(vcpu->pdptrs, pdptrs, sizeof(vcpu->pdptrs));
	vcpu->known |= STATE_PDPTRS;
	vcpu->changed |= STATE_PDPTRS;
	return 0;
}

int control_load_pdptrs(struct vcpu *vcpu, u64 cr3)
{
	u64 pdptrs[4];

	if (vcpu_read(vcpu, cr3 & GENMASK_ULL(31, 5), pdptrs, sizeof(pdptrs)))
		return -EINVAL;
	return control_set_pdptrs(vcpu, pdptrs);
}

/* Sets LMA or clears it, as paging goes on or off with EFER.LME. */
static int set_long_mode(struct vcpu *vcpu, bool paging)
{
	vcpu_know(vcpu, STATE_CR4 | STATE_SEGMENT(SEG_CS));
	if (!paging) {
		if ((vcpu->efer & EFER_LMA) && vcpu->segment[SEG_CS].l)
			return -EINVAL;
		if (vcpu->cr4 & X86_CR4_PCIDE)
			return -EINVAL;
		vcpu->efer &= ~(u64)EFER_LMA;
	} else if (vcpu->efer & EFER_LME) {
		if (!(vcpu->cr4 & X86_CR4_PAE) || vcpu->segment[SEG_CS].l)
			return -EINVAL;
		vcpu->efer |= EFER_LMA;
	}
	vcpu->changed |= STATE_EFER;
	return 0;
}

static int set_cr0(struct vcpu *vcpu, u64 value)
{
	u64 changed;

	vcpu_know(vcpu, STATE_CR0 | STATE_CR3 | STATE_CR4 | STATE_EFER);
	if (value & GENMASK_ULL(63, 32))
		return -EINVAL;
	value = (value & CR0_DEFINED) | X86_CR0_ET;
	if ((value & X86_CR0_NW) && !(value & X86_CR0_CD))
		return -EINVAL;
	if ((value & X86_CR0_PG) && !(value & X86_CR0_PE))
		return -EINVAL;
	changed = value ^ vcpu->cr0;
	if ((changed & CR0_PDPTR) && (value & X86_CR0_PG) && (vcpu->cr4 & X86_CR4_PAE) && !(vcpu->efer & EFER_LME) &&
	    control_load_pdptrs(vcpu, vcpu->cr3))
		return -EINVAL;
	if ((changed & X86_CR0_PG) && set_long_mode(vcpu, value & X86_CR0_PG))
		return -EINVAL;
	vcpu->cr0 = value;
	vcpu->changed |= STATE_CR0;
	/* The backend derives the hardware's CR4 and EFER from CR0 too. */
	if (changed & (X86_CR0_PG | X86_CR0_PE)) {
		vcpu->changed |= STATE_CR4;
		vcpu_request(vcpu, REQ_GUEST_TLB_FLUSH);
	}
	return 0;
}

static int set_cr3(struct vcpu *vcpu, u64 value)
{
	bool keep = false;

	vcpu_know(vcpu, STATE_CR0 | STATE_CR3 | STATE_CR4 | STATE_EFER);
	if ((vcpu->cr4 & X86_CR4_PCIDE) && (value & BIT_ULL(63))) {
		keep = true;
		value &= ~BIT_ULL(63);
	}
	if ((vcpu->efer & EFER_LMA) && (value & physical_reserved(vcpu)))
		return -EINVAL;
	if (control_uses_pdptrs(vcpu->cr0, vcpu->cr4, vcpu->efer) && control_load_pdptrs(vcpu, value))
		return -EINVAL;
	vcpu->cr3 = value;
	vcpu->changed |= STATE_CR3;
	if (!keep)
		vcpu_request(vcpu, REQ_GUEST_TLB_FLUSH);
	return 0;
}

static bool cr4_change_allowed(struct vcpu *vcpu, u64 value, u64 changed)
{
	if (value & vcpu->cr4_reserved)
		return false;
	if ((vcpu->efer & EFER_LMA) && (changed & (X86_CR4_PAE | X86_CR4_LA57)))
		return false;
	if ((changed & value & X86_CR4_PCIDE) && (!(vcpu->efer & EFER_LMA) || (vcpu->cr3 & GENMASK_ULL(11, 0))))
		return false;
	return true;
}

static int set_cr4(struct vcpu *vcpu, u64 value)
{
	u64 changed;

	vcpu_know(vcpu, STATE_CR0 | STATE_CR3 | STATE_CR4 | STATE_EFER);
	changed = value ^ vcpu->cr4;
	if (!cr4_change_allowed(vcpu, value, changed))
		return -EINVAL;
	if ((changed & CR4_PDPTR) && control_uses_pdptrs(vcpu->cr0, value, vcpu->efer) &&
	    control_load_pdptrs(vcpu, vcpu->cr3))
		return -EINVAL;
	vcpu->cr4 = value;
	vcpu->changed |= STATE_CR4;
	if (changed & CR4_TRANSLATION)
		vcpu_request(vcpu, REQ_GUEST_TLB_FLUSH);
	return 0;
}

static int set_cr8(struct vcpu *vcpu, u64 value)
{
	if (value & ~0xfull)
		return -EINVAL;
	irq_set_cr8(vcpu, value);
	vcpu_request(vcpu, REQ_EVENT);
	return 0;
}

int control_write(struct vcpu *vcpu, unsigned int cr, u64 value)
{
	switch (cr) {
	case 0:
		return set_cr0(vcpu, value);
	case 2:
		vcpu->cr2 = value;
		vcpu->changed |= STATE_CR2;
		return 0;
	case 3:
		return set_cr3(vcpu, value);
	case 4:
		return set_cr4(vcpu, value);
	case 8:
		return set_cr8(vcpu, value);
	}
	return -EINVAL;
}

u64 control_read(struct vcpu *vcpu, unsigned int cr)
{
	vcpu_know(vcpu, STATE_CR0 | STATE_CR2 | STATE_CR3 | STATE_CR4);
	switch (cr) {
	case 0:
		return vcpu->cr0;
	case 2:
		return vcpu->cr2;
	case 3:
		return vcpu->cr3;
	case 4:
		return vcpu->cr4;
	case 8:
		return irq_get_cr8(vcpu);
	}
	return 0;
}

bool control_write_sleeps(struct vcpu *vcpu, unsigned int cr, u64 value)
{
	vcpu_know(vcpu, STATE_CR0 | STATE_CR4 | STATE_EFER);
	if (vcpu->efer & EFER_LME)
		return false;
	return (cr == 0 && (value & X86_CR0_PG) && (vcpu->cr4 & X86_CR4_PAE)) ||
	       (cr == 3 && (vcpu->cr4 & X86_CR4_PAE)) || (cr == 4 && (value & X86_CR4_PAE));
}

bool control_valid(struct vcpu *vcpu, u64 cr0, u64 cr3, u64 cr4, u64 efer)
{
	if ((cr0 & GENMASK_ULL(63, 32)) || (cr4 & vcpu->cr4_reserved))
		return false;
	if (((cr0 & X86_CR0_NW) && !(cr0 & X86_CR0_CD)) || ((cr0 & X86_CR0_PG) && !(cr0 & X86_CR0_PE)))
		return false;
	if (efer & ~(vcpu->efer_allowed | EFER_LMA))
		return false;
	if ((efer & EFER_LME) && (cr0 & X86_CR0_PG))
		return (cr4 & X86_CR4_PAE) && (efer & EFER_LMA) && !(cr3 & physical_reserved(vcpu));
	/* Without paging or without LME the CPU is not in long mode. */
	return !(efer & EFER_LMA);
}

int control_set_efer(struct vcpu *vcpu, u64 efer, bool host)
{
	vcpu_know(vcpu, STATE_CR0 | STATE_EFER);
	if (efer & ~(vcpu->efer_allowed | EFER_LMA))
		return -EINVAL;
	if (!host && ((efer ^ vcpu->efer) & EFER_LME) && (vcpu->cr0 & X86_CR0_PG))
		return -EINVAL;
	/* LMA is the CPU's to set, whatever software writes. */
	vcpu->efer = (efer & ~(u64)EFER_LMA) | (vcpu->efer & EFER_LMA);
	vcpu->changed |= STATE_EFER;
	if (!host)
		vcpu_request(vcpu, REQ_GUEST_TLB_FLUSH);
	return 0;
}

/* -- debug registers --------------------------------------------------------------------------------------------- */

static void read_dr(struct vcpu *vcpu, unsigned int dr, u64 *value)
{
	*value = dr < 4 ? vcpu->dr[dr] : dr == 6 ? vcpu->dr6 : vcpu->dr7;
}

static int write_dr(struct vcpu *vcpu, unsigned int dr, u64 value)
{
	if (dr >= 6 && (value & GENMASK_ULL(63, 32)))
		return -EINVAL;
	if (dr < 4)
		vcpu->dr[dr] = value;
	else if (dr == 6)
		vcpu->dr6 = (value & DR6_WRITABLE) | DR6_FIXED;
	else
		vcpu->dr7 = (value & DR7_WRITABLE) | DR7_FIXED;
	vcpu->changed |= STATE_DR;
	return 0;
}

int debug_register_access(struct vcpu *vcpu, unsigned int dr, u64 *value, bool read, struct exception *exception)
{
	vcpu_know(vcpu, STATE_DR | STATE_CR4);
	/* DR4 and DR5 are other names of DR6 and DR7 unless CR4.DE says that they are not there. */
	if (dr > 7 || ((dr == 4 || dr == 5) && (vcpu->cr4 & X86_CR4_DE))) {
		*exception = (struct exception){ .vector = VECTOR_UD };
		return 1;
	}
	if (dr == 4 || dr == 5)
		dr += 2;
	*exception = (struct exception){ .vector = VECTOR_GP, .has_error = true };
	if (vcpu_cpl(vcpu))
		return 1;
	if (guest_debug_dr7(vcpu) & DR7_GD) {
		*exception = (struct exception){ .vector = VECTOR_DB, .payload = DR6_BD };
		return 1;
	}
	if (!read)
		return write_dr(vcpu, dr, *value);
	read_dr(vcpu, dr, value);
	return 0;
}
