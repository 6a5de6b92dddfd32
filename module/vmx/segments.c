// SPDX-License-Identifier: GPL-2.0
/*
 * Segment registers: struct kvm_segment to and from the VMCS's fields. Source: SDM volume 3, "Guest Register State",
 * format of access rights, and "Checks on Guest Segment Registers".
 */
#include "vmx.h"

#define VMX_AR_AVL_MASK BIT(12)
#define RIGHTS_NONE U32_MAX /* no access rights that a VMCS can have */

/* An unusable SS still has a DPL, which is the guest's CPL. */
static u32 access_rights(const struct kvm_segment *segment)
{
	u32 ar = (segment->type & VMX_AR_TYPE_MASK) | (segment->dpl & 3) << VMX_AR_DPL_SHIFT;

	if (segment->unusable || !segment->present)
		ar |= VMX_AR_UNUSABLE_MASK;
	if (segment->present)
		ar |= VMX_AR_P_MASK;
	if (segment->s)
		ar |= VMX_AR_S_MASK;
	if (segment->avl)
		ar |= VMX_AR_AVL_MASK;
	if (segment->l)
		ar |= VMX_AR_L_MASK;
	if (segment->db)
		ar |= VMX_AR_DB_MASK;
	if (segment->g)
		ar |= VMX_AR_G_MASK;
	return ar;
}

static void set_access_rights(struct kvm_segment *segment, u32 ar)
{
	segment->type = ar & VMX_AR_TYPE_MASK;
	segment->s = !!(ar & VMX_AR_S_MASK);
	segment->dpl = VMX_AR_DPL(ar);
	segment->avl = !!(ar & VMX_AR_AVL_MASK);
	segment->l = !!(ar & VMX_AR_L_MASK);
	segment->db = !!(ar & VMX_AR_DB_MASK);
	segment->g = !!(ar & VMX_AR_G_MASK);
	segment->unusable = !!(ar & VMX_AR_UNUSABLE_MASK);
	/* A usable segment is always present; what an unusable one's bit says is undefined. */
	segment->present = !segment->unusable;
	segment->padding = 0;
}

/*
 * A descriptor may be marked as not accessed, but not one that stands in a register: loading it sets the bit. Clients
 * often give descriptors; a TSS that is loaded is busy in the same way, and counts as a 64-bit one in IA-32e mode.
 */
static u32 loaded_rights(const struct vcpu *vcpu, enum segment seg, u32 ar)
{
	if (ar & VMX_AR_UNUSABLE_MASK)
		return ar;
	if (ar & VMX_AR_S_MASK)
		return ar | VMX_AR_TYPE_ACCESSES_MASK;
	if (seg != SEG_TR)
		return ar;
	return ar | (vcpu->efer & EFER_LMA ? VMX_AR_TYPE_BUSY_64_TSS : VMX_AR_TYPE_BUSY_16_TSS);
}

/* Seldom do they change between two exits, and unpacking them costs more than the read. */
static __always_inline void read_rights(struct vcpu *vcpu, enum segment seg)
{
	u32 *seen = &to_vmx(vcpu)->seen_rights[seg], ar = vmcs_read32(SEGMENT_FIELD(GUEST_ES_AR_BYTES, seg));

	if (likely(ar == *seen))
		return;
	*seen = ar;
	set_access_rights(&vcpu->segment[seg], ar);
}

void vmx_read_segment(struct vcpu *vcpu, enum segment seg)
{
	struct kvm_segment *segment = &vcpu->segment[seg];

	segment->selector = vmcs_read16(SEGMENT_FIELD(GUEST_ES_SELECTOR, seg));
	segment->base = vmcs_read_natural(SEGMENT_FIELD(GUEST_ES_BASE, seg));
	segment->limit = vmcs_read32(SEGMENT_FIELD(GUEST_ES_LIMIT, seg));
	read_rights(vcpu, seg);
}

/* What is known of a segment may be newer than the VMCS. */
void vmx_read_mode(struct vcpu *vcpu)
{
	if (!(vcpu->known & STATE_SEGMENT(SEG_CS)))
		read_rights(vcpu, SEG_CS);
	if (!(vcpu->known & STATE_SEGMENT(SEG_SS)))
		read_rights(vcpu, SEG_SS);
}

void vmx_write_segment(struct vcpu *vcpu, enum segment seg)
{
	const struct kvm_segment *segment = &vcpu->segment[seg];

	vmcs_write16(SEGMENT_FIELD(GUEST_ES_SELECTOR, seg), segment->selector);
	vmcs_write_natural(SEGMENT_FIELD(GUEST_ES_BASE, seg), segment->base);
	vmcs_write32(SEGMENT_FIELD(GUEST_ES_LIMIT, seg), segment->limit);
	vmcs_write32(SEGMENT_FIELD(GUEST_ES_AR_BYTES, seg), loaded_rights(vcpu, seg, access_rights(segment)));
	/* A client's segment may say more than the VMCS holds: what it reads back is what the CPU has. */
	to_vmx(vcpu)->seen_rights[seg] = RIGHTS_NONE;
}

/** vmx_fix_loaded_tss - a TSS that a guest loaded before it turned IA-32e mode on stays in TR as it is */
void vmx_fix_loaded_tss(const struct vcpu *vcpu)
{
	vmcs_write32(GUEST_TR_AR_BYTES, loaded_rights(vcpu, SEG_TR, vmcs_read32(GUEST_TR_AR_BYTES)));
}
