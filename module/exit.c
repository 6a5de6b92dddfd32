// SPDX-License-Identifier: GPL-2.0
/* What a guest did and what it gets for it, vendor-blind. Port I/O stands in io.c, memory in emulate.c. */
#include "backend.h"
#include "cpu/control.h"
#include "cpu/cpuid.h"
#include "cpu/fpu.h"
#include "cpu/guest_debug.h"
#include "cpu/msr.h"
#include "cpu/msr_filter.h"
#include "emulate.h"
#include "exit.h"
#include "irq/irqchip.h"
#include "smm.h"
#include "trace.h"

/* -- exceptions ------------------------------------------------------------------------------------------------- */

static bool contributory(u8 vector)
{
	return vector == VECTOR_DE || (vector >= VECTOR_TS && vector <= VECTOR_GP) || vector == VECTOR_CP;
}

/* Whether two exceptions in a row make a double fault. SDM, "Interrupt 8: Double Fault Exception", conditions table. */
static bool makes_double_fault(u8 first, u8 second)
{
	if (first == VECTOR_PF)
		return contributory(second) || second == VECTOR_PF;
	return contributory(first) && contributory(second);
}

/* What an exception leaves in registers before its handler runs: CR2, or DR6 and DR7.GD. */
static void apply_payload(struct vcpu *vcpu, const struct exception *exception)
{
	if (exception->vector == VECTOR_PF) {
		vcpu->cr2 = exception->payload;
		vcpu->changed |= STATE_CR2;
	} else if (exception->vector == VECTOR_DB) {
		vcpu_touch(vcpu, STATE_DR);
		vcpu->dr6 |= exception->payload;
		vcpu->dr7 &= ~DR7_GD;
	}
}

void vcpu_raise(struct vcpu *vcpu, const struct exception *exception)
{
	const struct event *old = &vcpu->event;

	vcpu_request(vcpu, REQ_EVENT);
	if (old->type == EVENT_EXCEPTION && old->vector == VECTOR_DF) {
		vcpu_request(vcpu, REQ_TRIPLE_FAULT);
		return;
	}
	if (old->type == EVENT_EXCEPTION && makes_double_fault(old->vector, exception->vector)) {
		vcpu->event = (struct event){ .type = EVENT_EXCEPTION, .vector = VECTOR_DF, .has_error = true };
		return;
	}
	/* An interrupt or NMI whose delivery the exception cut off is not lost: it comes after the exception. */
	if (old->type == EVENT_INTERRUPT)
		vcpu->user_interrupt = old->vector;
	else if (old->type == EVENT_NMI)
		vcpu_queue_nmi(vcpu);
	apply_payload(vcpu, exception);
	vcpu_know(vcpu, STATE_CR0);
	vcpu->event = (struct event){
		.type = EVENT_EXCEPTION,
		.vector = exception->vector,
		/* Real mode pushes no error codes. */
		.has_error = exception->has_error && (vcpu->cr0 & X86_CR0_PE),
		.error = exception->error,
	};
}

void vcpu_raise_gp(struct vcpu *vcpu)
{
	static const struct exception gp = { .vector = VECTOR_GP, .has_error = true };

	vcpu_raise(vcpu, &gp);
}

void vcpu_raise_ud(struct vcpu *vcpu)
{
	static const struct exception ud = { .vector = VECTOR_UD };

	vcpu_raise(vcpu, &ud);
}

enum next exit_exception(struct vcpu *vcpu, const struct exception *exception)
{
	if (exception->vector == VECTOR_DB && unlikely(guest_debug_takes_db(vcpu)))
		return guest_debug_exit(vcpu, VECTOR_DB, exception->payload);
	/* Intercepted for a debugger only. */
	if (exception->vector == VECTOR_BP)
		return guest_debug_exit(vcpu, VECTOR_BP, 0);
	vcpu_raise(vcpu, exception);
	return NEXT_ENTER;
}

/* -- the end of an instruction ---------------------------------------------------------------------------------- */

/* Apart from its callers: they are spared the guard of a stack that most of them do not use. */
noinline enum next vcpu_decode_length(struct vcpu *vcpu)
{
	enum next next = NEXT_ENTER;
	const struct insn *insn = vcpu_decode(vcpu, &next);

	if (insn)
		vcpu->insn_len = insn->length;
	return next;
}

/* RFLAGS and the interrupt shadow are known. */
static __always_inline void end_instruction(struct vcpu *vcpu)
{
	static const struct exception step = { .vector = VECTOR_DB, .payload = DR6_BS };

	if (vcpu->shadow & (SHADOW_STI | SHADOW_MOV_SS)) {
		vcpu->shadow &= ~(SHADOW_STI | SHADOW_MOV_SS);
		vcpu->changed |= STATE_SHADOW;
		vcpu_request(vcpu, REQ_EVENT);
	}
	if (unlikely(vcpu->regs.rflags & (RFLAGS_RF | RFLAGS_TF))) {
		vcpu->regs.rflags &= ~RFLAGS_RF;
		vcpu->changed |= STATE_RFLAGS;
		if (vcpu->guest_debug.control & KVM_GUESTDBG_SINGLESTEP)
			vcpu_request(vcpu, REQ_DEBUG);
		else if (vcpu->regs.rflags & RFLAGS_TF)
			vcpu_raise(vcpu, &step);
	}
}

void vcpu_end_instruction(struct vcpu *vcpu)
{
	vcpu_know(vcpu, STATE_RFLAGS | STATE_SHADOW);
	end_instruction(vcpu);
}

void vcpu_advance(struct vcpu *vcpu)
{
	u64 old, rip;

	vcpu_know(vcpu, STATE_RIP | STATE_RFLAGS | STATE_SHADOW);
	old = vcpu->regs.rip;
	rip = old + vcpu->insn_len;
	/* Only a carry out of bit 31 makes it worth asking whether this is 64-bit code. */
	if (unlikely((old ^ rip) >> 32) && !vcpu_long_mode(vcpu))
		rip = (u32)rip;
	vcpu_set_rip(vcpu, rip);
	end_instruction(vcpu);
}

/* -- instructions ----------------------------------------------------------------------------------------------- */

enum next exit_skip(struct vcpu *vcpu)
{
	enum next next;

	if (!vcpu_measure(vcpu, &next))
		return next;
	vcpu_advance(vcpu);
	return NEXT_ENTER;
}

enum next exit_undefined(struct vcpu *vcpu)
{
	vcpu_raise_ud(vcpu);
	return NEXT_ENTER;
}

/* CPUID.01H:ECX.MONITOR, as the client set it or, without that quirk, as the guest did by IA32_MISC_ENABLE. */
static bool has_mwait(struct vcpu *vcpu)
{
	if (vcpu->vm->disabled_quirks & KVM_X86_QUIRK_MISC_ENABLE_NO_MWAIT)
		return vcpu->msr.misc_enable & MSR_IA32_MISC_ENABLE_MWAIT;
	return cpuid_has(vcpu, 1, 0, CPUID_ECX, X86_FEATURE_MWAIT & 31);
}

enum next exit_monitor_mwait(struct vcpu *vcpu)
{
	if ((vcpu->vm->disabled_quirks & KVM_X86_QUIRK_MWAIT_NEVER_UD_FAULTS) && !has_mwait(vcpu))
		return exit_undefined(vcpu);
	return exit_skip(vcpu);
}

static bool is_hypercall(const u8 *bytes)
{
	return bytes[0] == 0x0f && bytes[1] == 0x01 && (bytes[2] == 0xc1 || bytes[2] == 0xd9);
}

/* Where the CPU knows RSM in its own system-management mode only. */
static bool is_rsm(struct vcpu *vcpu, u64 linear)
{
	struct exception exception;
	u8 bytes[2];

	return vcpu_in_smm(vcpu) && emulate_copy_in(vcpu, linear, bytes, sizeof(bytes), &exception) == INSN_DONE &&
	       bytes[0] == 0x0f && bytes[1] == 0xaa;
}

/*
 * A guest that was moved from a CPU of the other vendor has the other vendor's hypercall instruction in its code.
 * Unless told not to, it is overwritten with ours, as KVM does, and the guest executes that.
 */
enum next exit_invalid_opcode(struct vcpu *vcpu)
{
	bool fixes = !(vcpu->vm->disabled_quirks & KVM_X86_QUIRK_FIX_HYPERCALL_INSN);
	struct exception exception;
	u8 bytes[HYPERCALL_SIZE];
	u64 linear;

	if (!fixes && !vcpu_in_smm(vcpu))
		return exit_undefined(vcpu);
	if (vcpu->in_slice)
		return NEXT_SLOW;
	linear = vcpu_linear_rip(vcpu, vcpu_insn_mode(vcpu));
	if (is_rsm(vcpu, linear))
		return exit_rsm(vcpu);
	if (!fixes || emulate_copy_in(vcpu, linear, bytes, sizeof(bytes), &exception) != INSN_DONE ||
	    !is_hypercall(bytes))
		return exit_undefined(vcpu);
	switch (emulate_copy_out(vcpu, linear, backend.hypercall, sizeof(bytes), &exception)) {
	case INSN_DONE:
		return NEXT_ENTER;
	case INSN_EXCEPTION:
		vcpu_raise(vcpu, &exception);
		return NEXT_ENTER;
	default: /* code in ROM stays what it is */
		return exit_undefined(vcpu);
	}
}

/* What is asked for is gone with the answer, and to keep it would cost every CPUID. */
static noinline void trace_cpuid(struct vcpu *vcpu)
{
	u64 *gpr = vcpu->regs.gpr;
	u32 function = gpr[REG_RAX], index = gpr[REG_RCX];

	cpuid_execute(vcpu, function, index, gpr);
	trace_kvm_cpuid(function, index, gpr, cpuid_find(vcpu, function, index));
}

enum next exit_cpuid(struct vcpu *vcpu)
{
	u64 *gpr = vcpu->regs.gpr;
	enum next next;

	if (!vcpu_measure(vcpu, &next))
		return next;
	if (unlikely(vcpu->msr.misc_features_enables) && vcpu_cpl(vcpu)) {
		vcpu_raise_gp(vcpu);
		return NEXT_ENTER;
	}
	if (trace_kvm_cpuid_enabled())
		trace_cpuid(vcpu);
	else
		cpuid_execute(vcpu, gpr[REG_RAX], gpr[REG_RCX], gpr);
	vcpu_advance(vcpu);
	return NEXT_ENTER;
}

enum next exit_rdmsr(struct vcpu *vcpu)
{
	u32 index = vcpu->regs.gpr[REG_RCX];
	enum next next;
	u64 value;
	int r;

	if (!vcpu_measure(vcpu, &next))
		return next;
	r = msr_filter_allows(vcpu->vm, index, KVM_MSR_FILTER_READ) ? msr_read(vcpu, index, &value, MSR_GUEST) : -EPERM;
	if (unlikely(r))
		return msr_refused(vcpu, r, false);
	vcpu_set_edx_eax(vcpu, value);
	trace_kvm_msr(false, vcpu->regs.gpr[REG_RCX], vcpu_edx_eax(vcpu), false);
	vcpu_advance(vcpu);
	return NEXT_ENTER;
}

/* The MSR that guests write most has a way of its own past the table. */
static int write_msr(struct vcpu *vcpu, u32 index, u64 value)
{
	if (!msr_filter_allows(vcpu->vm, index, KVM_MSR_FILTER_WRITE))
		return -EPERM;
	if (index == MSR_IA32_TSC_DEADLINE)
		return irq_write_tsc_deadline(vcpu, value);
	return msr_write(vcpu, index, value, MSR_GUEST);
}

enum next exit_wrmsr(struct vcpu *vcpu)
{
	u32 index = vcpu->regs.gpr[REG_RCX];
	enum next next;
	int r;

	if (!vcpu_measure(vcpu, &next))
		return next;
	if (unlikely(msr_write_sleeps(index)) && vcpu->in_slice)
		return NEXT_SLOW;
	r = write_msr(vcpu, index, vcpu_edx_eax(vcpu));
	if (unlikely(r))
		return msr_refused(vcpu, r, true);
	trace_kvm_msr(true, vcpu->regs.gpr[REG_RCX], vcpu_edx_eax(vcpu), false);
	vcpu_advance(vcpu);
	return NEXT_ENTER;
}

/* There are no counters for a guest: every RDPMC is out of range. SDM, "RDPMC". */
enum next exit_rdpmc(struct vcpu *vcpu)
{
	vcpu_raise_gp(vcpu);
	return NEXT_ENTER;
}

enum next exit_xsetbv(struct vcpu *vcpu)
{
	enum next next;

	if (!vcpu_measure(vcpu, &next))
		return next;
	if (vcpu_cpl(vcpu) || fpu_set_xcr(vcpu, vcpu->regs.gpr[REG_RCX], vcpu_edx_eax(vcpu))) {
		vcpu_raise_gp(vcpu);
		return NEXT_ENTER;
	}
	vcpu_advance(vcpu);
	return NEXT_ENTER;
}

enum next exit_hlt(struct vcpu *vcpu)
{
	enum next next;

	if (!vcpu_measure(vcpu, &next))
		return next;
	vcpu_advance(vcpu);
	if (!vcpu->vm->irqchip) {
		vcpu->run->exit_reason = KVM_EXIT_HLT;
		return NEXT_USER;
	}
	/* The loop outside of the slice does the sleeping, and first looks whether there is a reason not to. */
	vcpu->mp_state = KVM_MP_STATE_HALTED;
	vcpu_request(vcpu, REQ_KICK);
	return NEXT_ENTER;
}

/* PAUSE, too often in a row: the guest spins for a lock. Who holds it may be waiting for our CPU. */
enum next exit_pause(struct vcpu *vcpu)
{
	struct vcpu *holder = vcpu_behind_lock(vcpu);
	enum next next;

	if (!vcpu_measure(vcpu, &next))
		return next;
	if (holder && vcpu->in_slice)
		return NEXT_SLOW;
	if (holder)
		vcpu_yield_to(holder);
	vcpu_advance(vcpu);
	return NEXT_ENTER;
}

/* -- control and debug registers -------------------------------------------------------------------------------- */

/* Writes a control register and goes on; a value that it refuses is #GP(0). */
static enum next write_cr(struct vcpu *vcpu, unsigned int cr, u64 value)
{
	enum next next;

	if (!vcpu_measure(vcpu, &next))
		return next;
	/* Turning on PAE paging reads memory, which may sleep. */
	if (vcpu->in_slice && control_write_sleeps(vcpu, cr, value))
		return NEXT_SLOW;
	if (control_write(vcpu, cr, value))
		vcpu_raise_gp(vcpu);
	else
		vcpu_advance(vcpu);
	return NEXT_ENTER;
}

/* A client with a local APIC of its own may have an interrupt that a lower task priority lets in. */
static enum next write_cr8(struct vcpu *vcpu, u64 value)
{
	u64 old = irq_get_cr8(vcpu);
	enum next next = write_cr(vcpu, 8, value);

	if (next != NEXT_ENTER || vcpu->vm->irqchip || irq_get_cr8(vcpu) >= old)
		return next;
	vcpu->run->exit_reason = KVM_EXIT_SET_TPR;
	return NEXT_USER;
}

enum next exit_mov_to_cr(struct vcpu *vcpu, unsigned int cr, u64 value)
{
	if (cr == 8)
		return write_cr8(vcpu, value);
	if (!vcpu_long_mode(vcpu))
		value = (u32)value;
	return write_cr(vcpu, cr, value);
}

enum next exit_mov_from_cr(struct vcpu *vcpu, unsigned int cr, unsigned int gpr)
{
	enum next next;
	u64 value;

	if (!vcpu_measure(vcpu, &next))
		return next;
	value = control_read(vcpu, cr);
	vcpu_write_gpr(vcpu, gpr, vcpu_long_mode(vcpu) ? value : (u32)value);
	vcpu_advance(vcpu);
	return NEXT_ENTER;
}

enum next exit_clts(struct vcpu *vcpu)
{
	vcpu_know(vcpu, STATE_CR0);
	return write_cr(vcpu, 0, vcpu->cr0 & ~X86_CR0_TS);
}

/* LMSW sets PE, MP, EM, TS and cannot clear PE. SDM, "LMSW". */
enum next exit_lmsw(struct vcpu *vcpu, u16 value)
{
	vcpu_know(vcpu, STATE_CR0);
	return write_cr(vcpu, 0, (vcpu->cr0 & ~0xeull) | (value & 0xf));
}

enum next exit_mov_dr(struct vcpu *vcpu, unsigned int dr, unsigned int gpr, bool from_dr)
{
	struct exception exception;
	enum next next;
	u64 value;

	if (!vcpu_measure(vcpu, &next))
		return next;
	if (!from_dr) {
		value = vcpu_read_gpr(vcpu, gpr);
		if (!vcpu_long_mode(vcpu))
			value = (u32)value;
	}
	if (debug_register_access(vcpu, dr, &value, from_dr, &exception))
		return exit_exception(vcpu, &exception);
	if (from_dr)
		vcpu_write_gpr(vcpu, gpr, value);
	vcpu_advance(vcpu);
	return NEXT_ENTER;
}

/* One row an instruction of map 0F that reads or writes a control or debug register. */
enum next exit_decode_cr_dr(struct vcpu *vcpu)
{
	const struct insn *insn;
	enum next next;

	insn = vcpu_decode(vcpu, &next);
	if (!insn)
		return next;
	if (insn->encoding != INSN_LEGACY || insn->map != INSN_MAP_0F)
		return exit_emulation_failure(vcpu, insn->bytes, insn->length);
	switch (insn->opcode) {
	case 0x06:
		return exit_clts(vcpu);
	case 0x20:
		return exit_mov_from_cr(vcpu, insn->reg, insn->rm);
	case 0x21:
		return exit_mov_dr(vcpu, insn->reg, insn->rm, true);
	case 0x22:
		return exit_mov_to_cr(vcpu, insn->reg, vcpu_read_gpr(vcpu, insn->rm));
	case 0x23:
		return exit_mov_dr(vcpu, insn->reg, insn->rm, false);
	case 0x01:
		return emulate_msw(vcpu, insn);
	}
	return exit_emulation_failure(vcpu, insn->bytes, insn->length);
}

/* -- the ends of a guest ---------------------------------------------------------------------------------------- */

enum next exit_triple_fault(struct vcpu *vcpu)
{
	vcpu->run->exit_reason = KVM_EXIT_SHUTDOWN;
	return NEXT_USER;
}

enum next exit_interrupt_window(struct vcpu *vcpu)
{
	vcpu_request(vcpu, REQ_EVENT);
	/* A client that asked for the window gets it outside of the slice. */
	if (vcpu->vm->pic_in_client)
		vcpu_request(vcpu, REQ_KICK);
	return NEXT_ENTER;
}

enum next exit_nmi_window(struct vcpu *vcpu)
{
	vcpu_request(vcpu, REQ_EVENT);
	return NEXT_ENTER;
}

enum next exit_unexpected(struct vcpu *vcpu, u64 reason)
{
	struct kvm_run *run = vcpu->run;

	run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
	run->internal.suberror = KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON;
	run->internal.ndata = 2;
	run->internal.data[0] = reason;
	run->internal.data[1] = vcpu->last_cpu;
	return NEXT_USER;
}

enum next exit_emulation_failure(struct vcpu *vcpu, const u8 *bytes, unsigned int len)
{
	struct kvm_run *run = vcpu->run;

	if (vcpu->in_slice)
		return NEXT_SLOW;
	/* A program's fault alone, unless the client wants to see it. */
	if (len && vcpu_cpl(vcpu) && !vcpu->vm->exit_on_emulation_failure)
		return exit_undefined(vcpu);
	memset(&run->emulation_failure, 0, sizeof(run->emulation_failure));
	run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
	run->emulation_failure.suberror = KVM_INTERNAL_ERROR_EMULATION;
	/* Flags and bytes fill three of data[]'s u64. Source: the comment at struct kvm_run in <linux/kvm.h>. */
	run->emulation_failure.ndata = 3;
	if (len) {
		run->emulation_failure.flags = KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES;
		run->emulation_failure.insn_size = len;
		memset(run->emulation_failure.insn_bytes, 0x90, sizeof(run->emulation_failure.insn_bytes));
		memcpy(run->emulation_failure.insn_bytes, bytes, len);
	}
	return NEXT_USER;
}
