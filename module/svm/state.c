// SPDX-License-Identifier: GPL-2.0
/*
 * Register state between struct vcpu and the VMCB. The VMCB is memory, so it can be read and written at any time that
 * the guest does not run. Source: APM volume 2, appendix B, "VMCB Layout, State Save Area".
 */
#include <linux/sched.h>

#include <asm/debugreg.h>
#include <asm/msr-index.h>
#include <asm/processor-flags.h>

#include "../cpu/control.h"
#include "../cpu/guest_debug.h"
#include "svm.h"

/* VMCB segment attributes: the descriptor's bits 55:52 and 47:40, packed. APM volume 2, "Segment State in the VMCB". */
#define ATTR_S BIT(4)
#define ATTR_DPL_SHIFT 5
#define ATTR_P BIT(7)
#define ATTR_AVL BIT(8)
#define ATTR_L BIT(9)
#define ATTR_DB BIT(10)
#define ATTR_G BIT(11)
#define ATTR_NONE U16_MAX /* no attributes that a VMCB can have */

static const u16 segment_offset[NR_SEGMENTS] = {
	[SEG_ES] = offsetof(struct vmcb_save_area, es), [SEG_CS] = offsetof(struct vmcb_save_area, cs),
	[SEG_SS] = offsetof(struct vmcb_save_area, ss), [SEG_DS] = offsetof(struct vmcb_save_area, ds),
	[SEG_FS] = offsetof(struct vmcb_save_area, fs), [SEG_GS] = offsetof(struct vmcb_save_area, gs),
	[SEG_TR] = offsetof(struct vmcb_save_area, tr), [SEG_LDTR] = offsetof(struct vmcb_save_area, ldtr),
};

static struct vmcb_seg *vmcb_segment(struct vmcb *vmcb, enum segment i)
{
	return (void *)&vmcb->save + segment_offset[i];
}

static void unpack_segment(const struct vmcb_seg *from, struct kvm_segment *to)
{
	u16 attr = from->attrib;

	*to = (struct kvm_segment){
		.base = from->base,
		.limit = from->limit,
		.selector = from->selector,
		.type = attr & 0xf,
		.s = !!(attr & ATTR_S),
		.dpl = (attr >> ATTR_DPL_SHIFT) & 3,
		.present = !!(attr & ATTR_P),
		.avl = !!(attr & ATTR_AVL),
		.l = !!(attr & ATTR_L),
		.db = !!(attr & ATTR_DB),
		/* Some CPUs do not keep G; the limit, in bytes, tells it. */
		.g = from->limit > 0xfffff,
		.unusable = !(attr & ATTR_P),
	};
}

static void pack_segment(const struct kvm_segment *from, struct vmcb_seg *to)
{
	to->base = from->base;
	to->limit = from->limit;
	to->selector = from->selector;
	to->attrib = (from->type & 0xf) | (from->s ? ATTR_S : 0) | (from->dpl & 3) << ATTR_DPL_SHIFT |
		     (from->present && !from->unusable ? ATTR_P : 0) | (from->avl ? ATTR_AVL : 0) |
		     (from->l ? ATTR_L : 0) | (from->db ? ATTR_DB : 0) | (from->g ? ATTR_G : 0);
}

/* What was unpacked before and is unchanged need not be again: seldom does a segment change between two exits. */
static void read_segment(struct vcpu *vcpu, enum segment i)
{
	const struct vmcb_seg *from = vmcb_segment(to_vmcb(vcpu), i);
	struct vmcb_seg *seen = &to_svm(vcpu)->seen[i];

	if (memcmp(from, seen, sizeof(*from))) {
		*seen = *from;
		unpack_segment(from, &vcpu->segment[i]);
	}
	/* The CPL is a field of its own, which SS.DPL follows. */
	if (i == SEG_SS)
		vcpu->segment[SEG_SS].dpl = to_vmcb(vcpu)->save.cpl;
}

/* What is known of a segment may be newer than the VMCB. */
static void read_mode(struct vcpu *vcpu)
{
	if (!(vcpu->known & STATE_SEGMENT(SEG_CS)))
		read_segment(vcpu, SEG_CS);
	if (!(vcpu->known & STATE_SEGMENT(SEG_SS)))
		vcpu->segment[SEG_SS].dpl = to_vmcb(vcpu)->save.cpl;
}

static void read_segments(struct vcpu *vcpu, u32 missing)
{
	unsigned long segments = missing >> STATE_FIRST_SEGMENT;

	for (; segments; segments &= segments - 1)
		read_segment(vcpu, __ffs(segments));
	/* A loaded TR is busy. */
	if (missing & STATE_SEGMENT(SEG_TR))
		vcpu->segment[SEG_TR].type |= 2;
}

static void write_segments(struct vcpu *vcpu, u32 changed)
{
	unsigned long segments = changed >> STATE_FIRST_SEGMENT;
	struct vmcb *vmcb = to_vmcb(vcpu);
	unsigned int i;

	for_each_set_bit(i, &segments, NR_SEGMENTS) {
		pack_segment(&vcpu->segment[i], vmcb_segment(vmcb, i));
		/* A client's segment may say more than the VMCB holds: what it reads back is what the CPU has. */
		to_svm(vcpu)->seen[i].attrib = ATTR_NONE;
	}
	if (changed & STATE_SEGMENT(SEG_SS))
		vmcb->save.cpl = vcpu->segment[SEG_SS].dpl & 3;
}

/*
 * NPT reads the PDPTEs of PAE paging from memory whenever it walks, so they are what stands there now. In a slice their
 * page may not be at hand: then they stay unknown, which is for vcpu_translate() to see.
 */
static void read_pdptrs(struct vcpu *vcpu)
{
	u64 gpa;

	vcpu_know(vcpu, STATE_CR3);
	gpa = vcpu->cr3 & GENMASK_ULL(31, 5);
	if (vcpu->in_slice) {
		if (vcpu_read_atomic(vcpu, gpa, vcpu->pdptrs, sizeof(vcpu->pdptrs)))
			vcpu->known &= ~STATE_PDPTRS;
	} else if (vcpu_read(vcpu, gpa, vcpu->pdptrs, sizeof(vcpu->pdptrs))) {
		memset(vcpu->pdptrs, 0, sizeof(vcpu->pdptrs));
	}
}

static void read_shadow(struct vcpu *vcpu)
{
	const struct vmcb *vmcb = to_vmcb(vcpu);

	/* SVM does not tell STI's shadow from that of MOV SS. */
	vcpu->shadow = vmcb->control.int_state & SVM_INTERRUPT_SHADOW_MASK ? SHADOW_STI : 0;
	if (to_svm(vcpu)->nmi_blocked)
		vcpu->shadow |= SHADOW_NMI;
}

/*
 * What nearly every exit looks at, to step over the instruction. It is in memory: reading all of it at once is cheaper
 * than being asked for it one by one.
 */
#define STATE_OF_INSN (STATE_RIP | STATE_RSP | STATE_RFLAGS | STATE_CR3 | STATE_SHADOW)

static void read_state_of_insn(struct vcpu *vcpu)
{
	const struct vmcb_save_area *save = &to_vmcb(vcpu)->save;

	vcpu->regs.rip = save->rip;
	vcpu->regs.gpr[REG_RSP] = save->rsp;
	vcpu->regs.rflags = save->rflags;
	vcpu->cr3 = save->cr3;
	read_shadow(vcpu);
	vcpu->known |= STATE_OF_INSN;
}

void svm_read_state(struct vcpu *vcpu, u32 missing)
{
	const struct vmcb_save_area *save = &to_vmcb(vcpu)->save;

	if (!(vcpu->known & STATE_OF_INSN)) {
		read_state_of_insn(vcpu);
		missing &= ~STATE_OF_INSN;
		if (!missing)
			return;
	}
	/* The next that is wanted: is this 64-bit code? */
	if (missing == STATE_MODE) {
		read_mode(vcpu);
		vcpu->known |= STATE_MODE;
		return;
	}
	if (missing & STATE_RIP)
		vcpu->regs.rip = save->rip;
	if (missing & STATE_RSP)
		vcpu->regs.gpr[REG_RSP] = save->rsp;
	if (missing & STATE_RFLAGS)
		vcpu->regs.rflags = save->rflags;
	/* A task switch sets TS without a write that could be intercepted. */
	if (missing & STATE_CR0)
		vcpu->cr0 |= save->cr0 & X86_CR0_TS;
	if (missing & STATE_CR2)
		vcpu->cr2 = save->cr2;
	if (missing & STATE_CR3)
		vcpu->cr3 = save->cr3;
	if (missing & STATE_MODE)
		read_mode(vcpu);
	if (missing & STATE_SEGMENTS)
		read_segments(vcpu, missing);
	if (missing & STATE_TABLES) {
		vcpu->gdt = (struct kvm_dtable){ .base = save->gdtr.base, .limit = save->gdtr.limit };
		vcpu->idt = (struct kvm_dtable){ .base = save->idtr.base, .limit = save->idtr.limit };
	}
	/* DR7 is written by intercepted instructions only. */
	if ((missing & STATE_DR) && !guest_debug_takes_db(vcpu))
		vcpu->dr6 = save->dr6;
	if (missing & STATE_SYSENTER) {
		vcpu->msr.sysenter_cs = save->sysenter_cs;
		vcpu->msr.sysenter_esp = save->sysenter_esp;
		vcpu->msr.sysenter_eip = save->sysenter_eip;
	}
	if (missing & STATE_SYSCALL) {
		vcpu->msr.star = save->star;
		vcpu->msr.lstar = save->lstar;
		vcpu->msr.cstar = save->cstar;
		vcpu->msr.sfmask = save->sfmask;
		vcpu->msr.kernel_gs_base = save->kernel_gs_base;
	}
	if (missing & STATE_SHADOW)
		read_shadow(vcpu);
	vcpu->known |= missing;
	if (missing & STATE_PDPTRS)
		read_pdptrs(vcpu);
}

/*
 * CR0 and CR4 as the CPU holds them. A guest must not turn caches off, nor machine checks; where that makes the
 * register differ from what the guest wrote, its reads are intercepted too.
 */
static void write_hardware_cr0(struct vcpu *vcpu)
{
	struct vmcb *vmcb = to_vmcb(vcpu);

	vmcb->save.cr0 = vcpu->cr0 & ~(u64)(X86_CR0_CD | X86_CR0_NW);
	svm_set_intercept(vmcb, INTERCEPT_CR0_READ, vmcb->save.cr0 != vcpu->cr0);
}

static void write_hardware_cr4(struct vcpu *vcpu)
{
	struct vmcb *vmcb = to_vmcb(vcpu);

	vmcb->save.cr4 = vcpu->cr4 | X86_CR4_MCE;
	svm_set_intercept(vmcb, INTERCEPT_CR4_READ, vmcb->save.cr4 != vcpu->cr4);
}

static void write_tables(struct vcpu *vcpu)
{
	struct vmcb_save_area *save = &to_vmcb(vcpu)->save;

	save->gdtr.base = vcpu->gdt.base;
	save->gdtr.limit = vcpu->gdt.limit;
	save->idtr.base = vcpu->idt.base;
	save->idtr.limit = vcpu->idt.limit;
}

static void write_syscall(struct vcpu *vcpu)
{
	struct vmcb_save_area *save = &to_vmcb(vcpu)->save;

	save->star = vcpu->msr.star;
	save->lstar = vcpu->msr.lstar;
	save->cstar = vcpu->msr.cstar;
	save->sfmask = vcpu->msr.sfmask;
	save->kernel_gs_base = vcpu->msr.kernel_gs_base;
	/* Not in the VMCB: the register itself, until the slice ends. */
	if (boot_cpu_has(X86_FEATURE_RDTSCP))
		wrmsrl(MSR_TSC_AUX, vcpu->msr.tsc_aux);
}

static void write_shadow(struct vcpu *vcpu)
{
	struct vmcb_control_area *control = &to_vmcb(vcpu)->control;
	bool shadow = vcpu->shadow & (SHADOW_STI | SHADOW_MOV_SS);

	control->int_state =
		(control->int_state & ~SVM_INTERRUPT_SHADOW_MASK) | (shadow ? SVM_INTERRUPT_SHADOW_MASK : 0);
	to_svm(vcpu)->nmi_blocked = vcpu->shadow & SHADOW_NMI;
	svm_set_intercept(to_vmcb(vcpu), INTERCEPT_IRET, to_svm(vcpu)->nmi_blocked);
}

static void write_debug(struct vcpu *vcpu)
{
	struct vmcb_save_area *save = &to_vmcb(vcpu)->save;
	bool were_on = save->dr7 & DR7_ENABLED;

	save->dr6 = guest_debug_takes_db(vcpu) ? DR6_FIXED : vcpu->dr6;
	save->dr7 = guest_debug_dr7(vcpu);
	if (were_on || (save->dr7 & DR7_ENABLED))
		svm_load_breakpoints(vcpu);
}

static noinline void write_more(struct vcpu *vcpu, u32 changed)
{
	struct vmcb *vmcb = to_vmcb(vcpu);

	if (changed & STATE_CR0)
		write_hardware_cr0(vcpu);
	if (changed & STATE_CR2)
		vmcb->save.cr2 = vcpu->cr2;
	if (changed & STATE_CR3)
		vmcb->save.cr3 = vcpu->cr3;
	if (changed & STATE_CR4)
		write_hardware_cr4(vcpu);
	if (changed & STATE_EFER)
		vmcb->save.efer = vcpu->efer | EFER_SVME;
	if (changed & STATE_SEGMENTS)
		write_segments(vcpu, changed);
	if (changed & STATE_TABLES)
		write_tables(vcpu);
	if (changed & STATE_DR)
		write_debug(vcpu);
	if (changed & STATE_SYSENTER) {
		vmcb->save.sysenter_cs = vcpu->msr.sysenter_cs;
		vmcb->save.sysenter_esp = vcpu->msr.sysenter_esp;
		vmcb->save.sysenter_eip = vcpu->msr.sysenter_eip;
	}
	if (changed & STATE_SYSCALL)
		write_syscall(vcpu);
	if (changed & STATE_SHADOW)
		write_shadow(vcpu);
	if (changed & STATE_PAT)
		vmcb->save.g_pat = vcpu->msr.pat;
	if (changed & STATE_TSC)
		vmcb->control.tsc_offset = vcpu->tsc_offset;
}

/* Called right before an entry, in a slice. */
void svm_write_state(struct vcpu *vcpu, u32 changed)
{
	struct vmcb *vmcb = to_vmcb(vcpu);

	vcpu->changed = 0;
	if (changed & STATE_RIP)
		vmcb->save.rip = vcpu->regs.rip;
	if (changed & STATE_RSP)
		vmcb->save.rsp = vcpu->regs.gpr[REG_RSP];
	if (changed & STATE_RFLAGS)
		vmcb->save.rflags = vcpu->regs.rflags;
	/* After most exits there is no more than that. */
	if (unlikely(changed & ~(STATE_RIP | STATE_RSP | STATE_RFLAGS)))
		write_more(vcpu, changed);
}
