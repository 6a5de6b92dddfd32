// SPDX-License-Identifier: GPL-2.0
/*
 * The exit table of AMD: from exit codes to what a guest did. Source: APM volume 2, appendix C, "SVM Intercept Exit
 * Codes".
 */
#include "../cpu/control.h"
#include "../cpu/guest_debug.h"
#include "../emulate.h"
#include "../entry_failure.h"
#include "../exit.h"
#include "../smm.h"
#include "svm.h"

/* EXITINFO1 of a nested page fault. APM volume 2, "Nested versus Guest Page Faults, Fault Ordering". */
#define NPF_WRITE BIT_ULL(1)
#define NPF_RESERVED BIT_ULL(3)
#define NPF_FETCH BIT_ULL(4)
#define NPF_WALK BIT_ULL(33)

/* Source: APM volume 2, "State Saved on Exit", nRIP, and "IOIO Intercept". */
static __always_inline u8 insn_length(const struct vmcb *vmcb)
{
	u64 next = 0;

	/* For ports the CPU always tells where the next instruction is. */
	if (vmcb->control.exit_code == SVM_EXIT_IOIO)
		next = vmcb->control.exit_info_2;
	else if (svm_features & SVM_FEATURE_NRIPS)
		next = vmcb->control.next_rip;
	return next ? next - vmcb->save.rip : 0;
}

/* Nothing to do: the host has taken its interrupt by now. */
static enum next exit_nothing(struct vcpu *vcpu)
{
	return NEXT_ENTER;
}

static enum next exit_io_port(struct vcpu *vcpu)
{
	u64 info = to_vmcb(vcpu)->control.exit_info_1;
	unsigned int size = (info & SVM_IOIO_SIZE_MASK) >> SVM_IOIO_SIZE_SHIFT;

	return exit_io(vcpu, info >> 16, size, info & SVM_IOIO_TYPE_MASK, info & SVM_IOIO_STR_MASK);
}

static enum next exit_msr(struct vcpu *vcpu)
{
	return to_vmcb(vcpu)->control.exit_info_1 ? exit_wrmsr(vcpu) : exit_rdmsr(vcpu);
}

static enum next exit_nested_fault(struct vcpu *vcpu)
{
	u64 info = to_vmcb(vcpu)->control.exit_info_1;
	u64 gpa = to_vmcb(vcpu)->control.exit_info_2;
	u32 access = ACCESS_READ;

	if (info & NPF_WRITE)
		access = ACCESS_WRITE;
	else if (info & NPF_FETCH)
		access = ACCESS_EXEC;
	if (info & NPF_WALK)
		access |= ACCESS_WALK;
	if (info & NPF_RESERVED) {
		vm_bug(vcpu->vm, "reserved bits in a nested page-table entry for %#llx", gpa);
		return NEXT_EIO;
	}
	return exit_memory_fault(vcpu, gpa, access);
}

/* The CPU has set DR6; a trap of our own step is ours alone. */
static enum next exit_debug(struct vcpu *vcpu)
{
	struct exception debug = { .vector = VECTOR_DB };
	struct svm *svm = to_svm(vcpu);

	if (svm->own_step && (svm->vmcb->save.dr6 & DR6_BS)) {
		svm->own_step = false;
		svm->vmcb->save.dr6 &= ~DR6_BS;
		vcpu->known &= ~STATE_DR;
		if (!(svm->vmcb->save.dr6 & ~DR6_FIXED))
			return NEXT_ENTER;
	}
	/* The guest's own DR6 waits in struct vcpu, and comes back with the next entry. */
	if (guest_debug_takes_db(vcpu)) {
		debug.payload = svm->vmcb->save.dr6 & ~DR6_FIXED;
		vcpu->changed |= STATE_DR;
	}
	return exit_exception(vcpu, &debug);
}

static enum next exit_breakpoint(struct vcpu *vcpu)
{
	static const struct exception breakpoint = { .vector = VECTOR_BP };

	return exit_exception(vcpu, &breakpoint);
}

static enum next exit_alignment(struct vcpu *vcpu)
{
	static const struct exception alignment = { .vector = VECTOR_AC, .has_error = true };

	return exit_exception(vcpu, &alignment);
}

/* The VMCB is undefined after a shutdown: put it into a known state. APM volume 2, "Shutdown Intercept". */
static enum next exit_shutdown(struct vcpu *vcpu)
{
	if (vcpu->in_slice)
		return NEXT_SLOW;
	memset(to_vmcb(vcpu), 0, sizeof(struct vmcb));
	svm_vmcb_init(vcpu);
	to_svm(vcpu)->asid_generation = 0;
	vcpu->known = STATE_ALL;
	vcpu_reset(vcpu, true);
	return exit_triple_fault(vcpu);
}

#define EXCEPTION(vector) (SVM_EXIT_EXCP_BASE + (vector))
#define LAST_EXIT SVM_EXIT_RDPRU

static enum next (*const handlers[])(struct vcpu *vcpu) = {
	[SVM_EXIT_READ_CR0... SVM_EXIT_READ_CR8] = exit_decode_cr_dr,
	[SVM_EXIT_WRITE_CR0... SVM_EXIT_WRITE_CR8] = exit_decode_cr_dr,
	[SVM_EXIT_READ_DR0... SVM_EXIT_READ_DR7] = exit_decode_cr_dr,
	[SVM_EXIT_WRITE_DR0... SVM_EXIT_WRITE_DR7] = exit_decode_cr_dr,
	[EXCEPTION(VECTOR_DB)] = exit_debug,
	[EXCEPTION(VECTOR_BP)] = exit_breakpoint,
	[EXCEPTION(VECTOR_UD)] = exit_invalid_opcode,
	[EXCEPTION(VECTOR_AC)] = exit_alignment,
	[EXCEPTION(VECTOR_MC)] = exit_nothing,
	[SVM_EXIT_INTR] = exit_nothing,
	[SVM_EXIT_NMI] = exit_nothing,
	[SVM_EXIT_SMI] = exit_nothing,
	[SVM_EXIT_INIT] = exit_nothing,
	[SVM_EXIT_VINTR] = svm_exit_vintr,
	[SVM_EXIT_RDPMC] = exit_rdpmc,
	[SVM_EXIT_PAUSE] = exit_pause,
	[SVM_EXIT_CPUID] = exit_cpuid,
	[SVM_EXIT_RSM] = exit_rsm,
	[SVM_EXIT_IRET] = svm_exit_iret,
	[SVM_EXIT_INVD] = exit_skip,
	[SVM_EXIT_HLT] = exit_hlt,
	[SVM_EXIT_INVLPGA] = exit_undefined,
	[SVM_EXIT_IOIO] = exit_io_port,
	[SVM_EXIT_MSR] = exit_msr,
	[SVM_EXIT_SHUTDOWN] = exit_shutdown,
	[SVM_EXIT_VMRUN] = exit_undefined,
	[SVM_EXIT_VMMCALL] = exit_hypercall,
	[SVM_EXIT_VMLOAD] = exit_undefined,
	[SVM_EXIT_VMSAVE] = exit_undefined,
	[SVM_EXIT_STGI] = exit_undefined,
	[SVM_EXIT_CLGI] = exit_undefined,
	[SVM_EXIT_SKINIT] = exit_undefined,
	[SVM_EXIT_WBINVD] = exit_skip,
	[SVM_EXIT_MONITOR] = exit_monitor_mwait,
	[SVM_EXIT_MWAIT] = exit_monitor_mwait,
	[SVM_EXIT_XSETBV] = exit_xsetbv,
	[SVM_EXIT_RDPRU] = exit_undefined,
};

static enum next failed_entry(struct vcpu *vcpu)
{
	enum next next = exit_fail_entry(vcpu, (u32)SVM_EXIT_ERR);

	if (next != NEXT_SLOW)
		to_vmcb(vcpu)->control.event_inj = 0;
	return next;
}

/* The event was injected, or comes back as one whose delivery was cut off; only an entry that failed has it still. */
static enum next dispatch(struct vcpu *vcpu, struct vmcb_control_area *control)
{
	u32 code = control->exit_code;

	if (likely(code < ARRAY_SIZE(handlers) && handlers[code])) {
		control->event_inj = 0;
		return handlers[code](vcpu);
	}
	if (code == (u32)SVM_EXIT_ERR)
		return failed_entry(vcpu);
	control->event_inj = 0;
	return code == SVM_EXIT_NPF ? exit_nested_fault(vcpu) : exit_unexpected(vcpu, code);
}

enum next svm_handle_exit(struct vcpu *vcpu)
{
	struct vmcb_control_area *control = &to_vmcb(vcpu)->control;

	if (unlikely(to_svm(vcpu)->stepping))
		svm_end_step(vcpu);
	if (unlikely(control->exit_int_info & SVM_EXITINTINFO_VALID)) {
		svm_requeue(vcpu);
		/* This may be called a second time for the same exit. */
		control->exit_int_info = 0;
	}
	vcpu->insn_len = insn_length(to_vmcb(vcpu));
	return dispatch(vcpu, control);
}

notrace void svm_exit_info(struct vcpu *vcpu, struct pith_exit_record *record)
{
	const struct vmcb *vmcb = to_vmcb(vcpu);

	record->reason = vmcb->control.exit_code;
	record->rip = vmcb->save.rip;
	record->info[0] = vmcb->control.exit_info_1;
	record->info[1] = vmcb->control.exit_info_2;
}

void svm_exit_event(struct vcpu *vcpu, u32 *event, u32 *error)
{
	*event = to_vmcb(vcpu)->control.exit_int_info;
	*error = to_vmcb(vcpu)->control.exit_int_info_err;
}
