// SPDX-License-Identifier: GPL-2.0
/*
 * Port I/O. The ports of the interrupt controllers and those with an ioeventfd are answered here, the others by the
 * client: KVM_EXIT_IO with the data in the second page of the vCPU's mapping. The instruction ends when the client
 * comes back, so until then RIP is still at it.
 */
#include <linux/mm.h>

#include "backend.h"
#include "cpu/control.h"
#include "emulate.h"
#include "exit.h"
#include "irq/irqchip.h"
#include "trace.h"

#define PIO_DATA_OFFSET PAGE_SIZE
#define PIO_DATA_SIZE PAGE_SIZE

static void *pio_data(struct vcpu *vcpu)
{
	return (void *)vcpu->run + PIO_DATA_OFFSET;
}

static enum next ask_client(struct vcpu *vcpu, bool in, u32 count)
{
	struct kvm_run *run = vcpu->run;

	vcpu->stat.pio++;
	run->exit_reason = KVM_EXIT_IO;
	run->io.direction = in ? KVM_EXIT_IO_IN : KVM_EXIT_IO_OUT;
	run->io.port = vcpu->pio.port;
	run->io.size = vcpu->pio.size;
	run->io.count = count;
	run->io.data_offset = PIO_DATA_OFFSET;
	vcpu->pio.count = count;
	vcpu->pio.rip = vcpu_rip(vcpu);
	return NEXT_USER;
}

/* A client that moved RIP since the exit does not want the instruction finished. */
static bool abandoned(struct vcpu *vcpu)
{
	return vcpu_rip(vcpu) != vcpu->pio.rip;
}

/* IN writes AL, AX, or EAX; the 32-bit form clears the high half of RAX as every 32-bit write does. */
static void write_rax(struct vcpu *vcpu, unsigned int size, u32 value)
{
	u64 *rax = &vcpu->regs.gpr[REG_RAX];

	if (size == 4)
		*rax = value;
	else
		*rax = (*rax & ~GENMASK_ULL(size * 8 - 1, 0)) | (value & GENMASK_ULL(size * 8 - 1, 0));
}

static u32 first_value(struct vcpu *vcpu)
{
	u32 value = 0;

	memcpy(&value, pio_data(vcpu), vcpu->pio.size);
	return value;
}

/* Not inline: what the event does when it is on would cost an OUT to the client five instructions while it is off. */
static noinline void trace_values(struct vcpu *vcpu, bool write, u32 count)
{
	trace_kvm_pio(write, vcpu->pio.port, vcpu->pio.size, count, first_value(vcpu));
}

/* Of the values in pio_data(). */
static __always_inline void tell(struct vcpu *vcpu, bool write, u32 count)
{
	if (trace_kvm_pio_enabled())
		trace_values(vcpu, write, count);
}

/* The value is in pio_data(), whoever has put it there. */
static enum next finish_in(struct vcpu *vcpu)
{
	tell(vcpu, false, 1);
	write_rax(vcpu, vcpu->pio.size, first_value(vcpu));
	vcpu_advance(vcpu);
	return NEXT_ENTER;
}

static int in_answered(struct vcpu *vcpu)
{
	return abandoned(vcpu) ? NEXT_ENTER : finish_in(vcpu);
}

static int out_seen(struct vcpu *vcpu)
{
	if (!abandoned(vcpu))
		vcpu_advance(vcpu);
	return NEXT_ENTER;
}

static enum next exit_in(struct vcpu *vcpu)
{
	if (irq_pio_read(vcpu, vcpu->pio.port, vcpu->pio.size, pio_data(vcpu)))
		return finish_in(vcpu);
	vcpu->complete_user = in_answered;
	return ask_client(vcpu, true, 1);
}

/* A write that needs no exit to the client. @value stands in pio_data(), too. */
static bool out_inside(struct vcpu *vcpu, u32 value)
{
	return irq_pio_write(vcpu, vcpu->pio.port, vcpu->pio.size, value) ||
	       ioeventfd_write(&vcpu->vm->ioeventfds, true, vcpu->pio.port, vcpu->pio.size, value) ||
	       coalesced_write(&vcpu->vm->coalesced, true, vcpu->pio.port, vcpu->pio.size, pio_data(vcpu));
}

static enum next exit_out(struct vcpu *vcpu)
{
	u32 value = vcpu->regs.gpr[REG_RAX] & GENMASK_ULL(vcpu->pio.size * 8 - 1, 0);

	/* All four bytes at once; those that are not the port's are 0. */
	*(u32 *)pio_data(vcpu) = value;
	if (out_inside(vcpu, value)) {
		tell(vcpu, true, 1);
		vcpu_advance(vcpu);
		return NEXT_ENTER;
	}
	tell(vcpu, true, 1);
	vcpu->complete_user = out_seen;
	return ask_client(vcpu, false, 1);
}

/* -- INS, OUTS --------------------------------------------------------------------------------------------------- */

static u64 address_mask(struct vcpu *vcpu)
{
	return vcpu->pio.string.address_size == 8 ? ~0ull : GENMASK_ULL(vcpu->pio.string.address_size * 8 - 1, 0);
}

static unsigned int index_register(struct vcpu *vcpu)
{
	return vcpu->pio.string.in ? REG_RDI : REG_RSI;
}

/* Changes the part of a register that the address size says; 32-bit writes clear the high half. */
static void add_to_register(struct vcpu *vcpu, unsigned int gpr, s64 delta)
{
	u64 mask = address_mask(vcpu), value = vcpu->regs.gpr[gpr], sum = (value + delta) & mask;

	vcpu->regs.gpr[gpr] = vcpu->pio.string.address_size == 2 ? (value & ~mask) | sum : sum;
}

/* RFLAGS.DF: strings go down; an element at a time then, as KVM has it. */
static bool goes_down(struct vcpu *vcpu)
{
	vcpu_know(vcpu, STATE_RFLAGS);
	return vcpu->regs.rflags & RFLAGS_DF;
}

/*
 * Commits @count elements; the instruction ends when none are left, else the guest executes it again. A client may have
 * lowered RCX meanwhile.
 */
static void string_advance(struct vcpu *vcpu, u32 count)
{
	u64 left = vcpu->regs.gpr[REG_RCX] & address_mask(vcpu);
	s64 bytes;

	if (vcpu->pio.string.rep)
		count = min_t(u64, count, left);
	bytes = (s64)count * vcpu->pio.size;
	add_to_register(vcpu, index_register(vcpu), goes_down(vcpu) ? -bytes : bytes);
	if (vcpu->pio.string.rep) {
		add_to_register(vcpu, REG_RCX, -(s64)count);
		if (vcpu->regs.gpr[REG_RCX] & address_mask(vcpu))
			return;
	}
	vcpu_advance(vcpu);
}

/*
 * Where the next elements lie: linear address, and how many fit into the page there and into the data page. An element
 * that crosses into another page is answered alone.
 */
static bool string_span(struct vcpu *vcpu, u64 *linear, u32 *count, enum next *next)
{
	const struct insn_string_io *s = &vcpu->pio.string;
	u64 left = s->rep ? vcpu->regs.gpr[REG_RCX] & address_mask(vcpu) : 1;
	u64 offset = vcpu->regs.gpr[index_register(vcpu)] & address_mask(vcpu);
	struct exception exception;
	u32 room;

	if (goes_down(vcpu))
		left = min_t(u64, left, 1);
	*next = NEXT_ENTER;
	if (!left) {
		vcpu_advance(vcpu);
		return false;
	}
	if (emulate_linear(vcpu, s->segment, offset, vcpu->pio.size, s->in, linear, &exception) != INSN_DONE) {
		vcpu_raise(vcpu, &exception);
		return false;
	}
	room = (PAGE_SIZE - offset_in_page(*linear)) / vcpu->pio.size;
	*count = min_t(u64, left, max(room, 1u));
	return true;
}

static int ins_answered(struct vcpu *vcpu)
{
	struct exception exception;
	enum next next;
	u64 linear;
	u32 count;

	if (abandoned(vcpu))
		return NEXT_ENTER;
	if (!string_span(vcpu, &linear, &count, &next))
		return next;
	count = min(count, vcpu->pio.count);
	tell(vcpu, false, count);
	switch (emulate_copy_out(vcpu, linear, pio_data(vcpu), count * vcpu->pio.size, &exception)) {
	case INSN_DONE:
		string_advance(vcpu, count);
		return NEXT_ENTER;
	case INSN_EXCEPTION:
		vcpu_raise(vcpu, &exception);
		return NEXT_ENTER;
	default:
		return exit_emulation_failure(vcpu, NULL, 0);
	}
}

static enum next exit_ins(struct vcpu *vcpu)
{
	struct exception exception;
	enum next next;
	u64 linear;
	u32 count, value;

	if (!string_span(vcpu, &linear, &count, &next))
		return next;
	/* The page is looked at before the port is read: a port read cannot be taken back. */
	if (emulate_copy_out(vcpu, linear, NULL, count * vcpu->pio.size, &exception) == INSN_EXCEPTION) {
		vcpu_raise(vcpu, &exception);
		return NEXT_ENTER;
	}
	if (!irq_pio_read(vcpu, vcpu->pio.port, vcpu->pio.size, &value)) {
		vcpu->complete_user = ins_answered;
		return ask_client(vcpu, true, count);
	}
	if (emulate_copy_out(vcpu, linear, &value, vcpu->pio.size, &exception) != INSN_DONE)
		return exit_emulation_failure(vcpu, NULL, 0);
	string_advance(vcpu, 1);
	return NEXT_ENTER;
}

static int outs_seen(struct vcpu *vcpu)
{
	if (!abandoned(vcpu))
		string_advance(vcpu, vcpu->pio.count);
	return NEXT_ENTER;
}

static enum next exit_outs(struct vcpu *vcpu)
{
	struct exception exception;
	enum next next;
	u64 linear;
	u32 count, value;

	if (!string_span(vcpu, &linear, &count, &next))
		return next;
	switch (emulate_copy_in(vcpu, linear, pio_data(vcpu), count * vcpu->pio.size, &exception)) {
	case INSN_DONE:
		break;
	case INSN_EXCEPTION:
		vcpu_raise(vcpu, &exception);
		return NEXT_ENTER;
	default:
		return exit_emulation_failure(vcpu, NULL, 0);
	}
	value = first_value(vcpu);
	tell(vcpu, true, count);
	if (out_inside(vcpu, value)) {
		string_advance(vcpu, 1);
		return NEXT_ENTER;
	}
	vcpu->complete_user = outs_seen;
	return ask_client(vcpu, false, count);
}

static noinline enum next exit_string(struct vcpu *vcpu)
{
	const struct insn *insn;
	enum next next;

	/* Guest memory is copied: not in a slice. */
	if (vcpu->in_slice)
		return NEXT_SLOW;
	insn = vcpu_decode(vcpu, &next);
	if (!insn)
		return next;
	if (!insn_string_io(insn, &vcpu->pio.string))
		return exit_emulation_failure(vcpu, insn->bytes, insn->length);
	vcpu->insn_len = insn->length;
	return vcpu->pio.string.in ? exit_ins(vcpu) : exit_outs(vcpu);
}

enum next exit_io(struct vcpu *vcpu, u16 port, unsigned int size, bool in, bool string)
{
	enum next next;

	vcpu->pio.port = port;
	vcpu->pio.size = size;
	if (string)
		return exit_string(vcpu);
	if (!vcpu_measure(vcpu, &next))
		return next;
	return in ? exit_in(vcpu) : exit_out(vcpu);
}
