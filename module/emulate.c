// SPDX-License-Identifier: GPL-2.0
/*
 * Executing one instruction of the guest by software. Its memory accesses are translated by the guest's own page tables
 * and go to RAM, to the interrupt controllers, or to the client.
 *
 * An access that only the client can answer interrupts the instruction: a read leaves to user space and the whole
 * instruction is tried again with the answer kept (the executor promises the same accesses in the same order); a
 * write needs no answer, so the instruction is finished first and the client hears of it afterwards.
 */
#include <linux/mm.h>

#include <asm/trap_pf.h>

#include "backend.h"
#include "cpu/fpu.h"
#include "emulate.h"
#include "exit.h"
#include "irq/irqchip.h"
#include "memory/walk.h"
#include "trace.h"

/* Iterations of a repeated instruction executed at a stretch; then the loop looks for interrupts and signals. */
#define MAX_ITERATIONS 4096

/* -- translation ------------------------------------------------------------------------------------------------ */

int vcpu_read_guest(struct vcpu *vcpu, u64 gpa, void *buf, unsigned int size)
{
	return vcpu->in_slice ? vcpu_read_atomic(vcpu, gpa, buf, size) : vcpu_read(vcpu, gpa, buf, size);
}

static int read_entry(void *ctx, u64 gpa, void *entry, unsigned int size)
{
	return vcpu_read_guest(ctx, gpa, entry, size);
}

static int cmpxchg_entry(void *ctx, u64 gpa, unsigned int size, u64 *old, u64 new)
{
	return vcpu_cmpxchg(ctx, gpa, size, old, new);
}

static const struct walk_ops walk_ops = { .read = read_entry, .update = cmpxchg_entry };

int vcpu_walk(struct vcpu *vcpu, const struct walk_ops *ops, void *ctx, u64 linear, u32 access, u64 *gpa,
	      struct exception *exception)
{
	struct walk_state state;

	vcpu_know(vcpu, STATE_CR3 | STATE_EFER | STATE_RFLAGS);
	if (!(vcpu->cr0 & X86_CR0_PG)) {
		*gpa = linear;
		return WALK_OK;
	}
	state = (struct walk_state){
		.cr0 = vcpu->cr0,
		.cr3 = vcpu->cr3,
		.cr4 = vcpu->cr4,
		.efer = vcpu->efer,
		.rflags = vcpu->regs.rflags,
		.maxphyaddr = vcpu->maxphyaddr,
	};
	if (vcpu->cr4 & X86_CR4_PKE)
		state.pkru = fpu_guest_pkru(vcpu);
	if ((vcpu->cr4 & X86_CR4_PAE) && !(vcpu->efer & EFER_LMA)) {
		vcpu_know(vcpu, STATE_PDPTRS);
		if (!(vcpu->known & STATE_PDPTRS))
			return WALK_UNREADABLE;
		memcpy(state.pdptrs, vcpu->pdptrs, sizeof(state.pdptrs));
	}
	/* Reading an instruction again sets no accessed bit that its first fetch has not set. */
	if (vcpu->in_slice)
		access |= WALK_NO_AD;
	return guest_walk(&state, ops, ctx, linear, access, gpa, exception);
}

int vcpu_translate(struct vcpu *vcpu, u64 linear, u32 access, u64 *gpa, struct exception *exception)
{
	return vcpu_walk(vcpu, &walk_ops, vcpu, linear, access, gpa, exception);
}

u32 vcpu_user_access(struct vcpu *vcpu)
{
	return vcpu_cpl(vcpu) == 3 ? WALK_USER : 0;
}

/* -- memory accesses of the instruction -------------------------------------------------------------------------- */

static const struct kvm_segment *get_segment(void *ctx, enum segment segment)
{
	struct vcpu *vcpu = ctx;

	vcpu_know(vcpu, STATE_SEGMENT(segment));
	return &vcpu->segment[segment];
}

/* A run of bytes within a page and not over eight of them, as a bus would see it. */
struct piece {
	u64 gpa;
	u16 len;
};

#define BUS_WIDTH 8u
#define MAX_PIECES 4

/*
 * The CPU has just walked the guest's page tables for the operand and told where it ended, so there is no need to walk
 * them again. Only for an instruction with one memory operand, and only for the byte that faulted.
 */
static bool operand_begins_at(const struct mmio *mmio, u64 linear)
{
	return mmio->gpa_known && offset_in_page(linear) == offset_in_page(mmio->gpa);
}

/* A walk may have to set accessed and dirty bits, and sleep for them: not in a slice. */
static int translate_operand(struct vcpu *vcpu, u64 linear, u32 access, u64 *gpa, struct exception *exception)
{
	const struct mmio *mmio = &vcpu->mmio;

	if (!operand_begins_at(mmio, linear))
		return vcpu->in_slice ? WALK_UNREADABLE : vcpu_translate(vcpu, linear, access, gpa, exception);
	*gpa = mmio->gpa;
	return WALK_OK;
}

/* Translates an access before anything of it happens; a fault anywhere in it leaves no trace. */
static enum insn_result split(struct vcpu *vcpu, u64 linear, unsigned int size, unsigned int max_len, u32 access,
			      struct piece *pieces, unsigned int *nr, struct exception *exception)
{
	unsigned int len;

	for (*nr = 0; size; (*nr)++) {
		struct piece *piece = &pieces[*nr];

		len = min_t(unsigned int, size, PAGE_SIZE - offset_in_page(linear));
		len = min(len, max_len);
		switch (translate_operand(vcpu, linear, access, &piece->gpa, exception)) {
		case WALK_FAULT:
			return INSN_EXCEPTION;
		case WALK_UNREADABLE:
			return INSN_UNHANDLED;
		}
		piece->len = len;
		linear += len;
		size -= len;
		if (size && vcpu_insn_mode(vcpu) != INSN_MODE_64)
			linear = (u32)linear;
	}
	return INSN_DONE;
}

/* What nearly every access is: all of the operand whose address the CPU has told, within a page and the bus. */
static bool is_operand(const struct mmio *mmio, u64 linear, unsigned int size)
{
	return operand_begins_at(mmio, linear) && size <= BUS_WIDTH && offset_in_page(linear) + size <= PAGE_SIZE;
}

static enum insn_result find_pieces(struct vcpu *vcpu, u64 linear, unsigned int size, u32 access, struct piece *pieces,
				    unsigned int *nr)
{
	enum insn_result result;

	result = split(vcpu, linear, size, BUS_WIDTH, vcpu_user_access(vcpu) | access, pieces, nr,
		       &vcpu->machine.exception);
	/*
	 * In a slice an access is to one register of a device, the one where the CPU found no slot. Whatever else it
	 * wants, it wants before anything has happened: the instruction is then tried again where memory may be waited
	 * for.
	 */
	if (result == INSN_DONE && vcpu->in_slice && *nr > 1)
		return INSN_UNHANDLED;
	return result;
}

/* A piece's bytes as a number, and back. It is as long as a register, but where an operand crosses pages. */
static __always_inline u64 load_piece(const void *buf, unsigned int len)
{
	const u8 *bytes = buf;
	u64 value = 0;

	switch (len) {
	case 1:
		return *bytes;
	case 2:
		return *(const u16 *)buf;
	case 4:
		return *(const u32 *)buf;
	case 8:
		return *(const u64 *)buf;
	}
	while (len--)
		value = value << 8 | bytes[len];
	return value;
}

static __always_inline void store_piece(void *buf, u64 value, unsigned int len)
{
	u8 *bytes = buf;

	switch (len) {
	case 1:
		*bytes = value;
		return;
	case 2:
		*(u16 *)buf = value;
		return;
	case 4:
		*(u32 *)buf = value;
		return;
	case 8:
		*(u64 *)buf = value;
		return;
	}
	for (; len--; value >>= 8)
		*bytes++ = value;
}

/*
 * Whether no RAM answers; in a slice the CPU has just found that. To be asked again when an access to RAM has failed:
 * its slot may have gone in between.
 */
static bool is_device(struct vcpu *vcpu, u64 gpa, bool write)
{
	return vcpu->in_slice || memory_is_mmio(vcpu, gpa, write);
}

/* An earlier try of this instruction has read it from a device. */
static bool was_read(const struct mmio *mmio, u64 gpa)
{
	return mmio->next_read < mmio->nr_reads && mmio->reads[mmio->next_read].gpa == gpa;
}

/* A read that no RAM answers: by an interrupt controller now, or by the client before the next try. */
static enum insn_result read_device(struct vcpu *vcpu, u64 gpa, void *buf, unsigned int len)
{
	struct mmio *mmio = &vcpu->mmio;
	struct mmio_fragment *f;

	if (mmio->next_read >= MMIO_MAX_FRAGMENTS)
		return INSN_UNHANDLED;
	f = &mmio->reads[mmio->next_read];
	if (mmio->next_read == mmio->nr_reads) {
		*f = (struct mmio_fragment){ .gpa = gpa, .len = len };
		if (!irq_mmio_read(vcpu, gpa, len, &f->data)) {
			trace_kvm_mmio(TRACE_MMIO_READ_UNSATISFIED, len, gpa, NULL);
			mmio->wants_read = true;
			return INSN_PENDING;
		}
		trace_kvm_mmio(TRACE_MMIO_READ, len, gpa, &f->data);
		/* Kept like the client's answers: a second try must not read the register again. */
		mmio->nr_reads++;
	}
	mmio->next_read++;
	store_piece(buf, f->data, len);
	return INSN_DONE;
}

static __always_inline enum insn_result read_piece(struct vcpu *vcpu, u64 gpa, void *buf, unsigned int len)
{
	if (was_read(&vcpu->mmio, gpa) || is_device(vcpu, gpa, false))
		return read_device(vcpu, gpa, buf, len);
	if (!vcpu_read(vcpu, gpa, buf, len))
		return INSN_DONE;
	return is_device(vcpu, gpa, false) ? read_device(vcpu, gpa, buf, len) : INSN_UNHANDLED;
}

/* Apart from read_linear(): an operand that is one piece is spared the others. */
static noinline enum insn_result read_pieces(struct vcpu *vcpu, u64 linear, void *buf, unsigned int size, u32 access)
{
	struct piece pieces[MAX_PIECES];
	enum insn_result result;
	unsigned int i, nr;

	result = find_pieces(vcpu, linear, size, access, pieces, &nr);
	for (i = 0; i < nr && result == INSN_DONE; buf += pieces[i++].len)
		result = read_piece(vcpu, pieces[i].gpa, buf, pieces[i].len);
	return result;
}

static enum insn_result read_linear(void *ctx, u64 linear, void *buf, unsigned int size, bool for_write)
{
	struct vcpu *vcpu = ctx;

	if (likely(is_operand(&vcpu->mmio, linear, size)))
		return read_piece(vcpu, vcpu->mmio.gpa, buf, size);
	return read_pieces(vcpu, linear, buf, size, for_write ? WALK_WRITE : 0);
}

static enum insn_result write_device(struct vcpu *vcpu, u64 gpa, const void *buf, unsigned int len)
{
	struct mmio *mmio = &vcpu->mmio;
	u64 value;

	trace_kvm_mmio(TRACE_MMIO_WRITE, len, gpa, buf);
	if (irq_mmio_write(vcpu, gpa, len, buf))
		return INSN_DONE;
	value = load_piece(buf, len);
	if (ioeventfd_write(&vcpu->vm->ioeventfds, false, gpa, len, value) ||
	    coalesced_write(&vcpu->vm->coalesced, false, gpa, len, buf))
		return INSN_DONE;
	mmio->writes[mmio->nr_writes++] = (struct mmio_fragment){ .gpa = gpa, .len = len, .data = value };
	return INSN_DONE;
}

static __always_inline enum insn_result write_piece(struct vcpu *vcpu, u64 gpa, const void *buf, unsigned int len)
{
	if (is_device(vcpu, gpa, true))
		return write_device(vcpu, gpa, buf, len);
	if (!vcpu_write(vcpu, gpa, buf, len))
		return INSN_DONE;
	return is_device(vcpu, gpa, true) ? write_device(vcpu, gpa, buf, len) : INSN_UNHANDLED;
}

static noinline enum insn_result write_pieces(struct vcpu *vcpu, u64 linear, const void *buf, unsigned int size)
{
	struct piece pieces[MAX_PIECES];
	enum insn_result result;
	unsigned int i, nr;

	result = find_pieces(vcpu, linear, size, WALK_WRITE, pieces, &nr);
	for (i = 0; i < nr && result == INSN_DONE; buf += pieces[i++].len)
		result = write_piece(vcpu, pieces[i].gpa, buf, pieces[i].len);
	return result;
}

static enum insn_result write_linear(void *ctx, u64 linear, const void *buf, unsigned int size)
{
	struct vcpu *vcpu = ctx;

	if (likely(is_operand(&vcpu->mmio, linear, size)))
		return write_piece(vcpu, vcpu->mmio.gpa, buf, size);
	return write_pieces(vcpu, linear, buf, size);
}

static void xmm_read(void *ctx, unsigned int n, void *buf)
{
	fpu_read_xmm(ctx, n, buf);
}

static void xmm_write(void *ctx, unsigned int n, const void *buf)
{
	fpu_write_xmm(ctx, n, buf);
}

static const struct insn_ops insn_ops = {
	.segment = get_segment,
	.read = read_linear,
	.write = write_linear,
	.xmm_read = xmm_read,
	.xmm_write = xmm_write,
};

/* Without XMM registers: in a slice they are in the CPU, and not in the image. */
static const struct insn_ops insn_ops_in_slice = {
	.segment = get_segment,
	.read = read_linear,
	.write = write_linear,
};

/* The vCPU as the CPU that executes: what the executor wants to know of it, as it is now. */
static void prepare_machine(struct vcpu *vcpu)
{
	struct insn_machine *m = &vcpu->machine;

	vcpu_know(vcpu, STATE_RIP | STATE_RSP | STATE_RFLAGS);
	m->regs = &vcpu->regs;
	m->ops = vcpu->in_slice ? &insn_ops_in_slice : &insn_ops;
	m->ctx = vcpu;
	m->mode = vcpu_insn_mode(vcpu);
	m->linear_width = vcpu->cr4 & X86_CR4_LA57 ? 57 : 48;
	m->protected_mode = vcpu->cr0 & X86_CR0_PE;
	m->alignment_check = (vcpu->cr0 & X86_CR0_AM) && (vcpu->regs.rflags & RFLAGS_AC) && vcpu_cpl(vcpu) == 3;
}

enum insn_result emulate_linear(struct vcpu *vcpu, enum segment segment, u64 offset, unsigned int size, bool write,
				u64 *linear, struct exception *exception)
{
	enum insn_result result;

	prepare_machine(vcpu);
	result = insn_linear(&vcpu->machine, segment, offset, size, write, linear);
	*exception = vcpu->machine.exception;
	return result;
}

static enum insn_result read_ram(struct vcpu *vcpu, u64 linear, void *buf, unsigned int size, u32 access,
				 struct exception *exception)
{
	struct piece pieces[MAX_PIECES];
	enum insn_result result;
	unsigned int i, nr;

	/* This is no operand that the CPU has translated. */
	vcpu->mmio.gpa_known = false;
	result = split(vcpu, linear, size, PAGE_SIZE, access, pieces, &nr, exception);
	for (i = 0; i < nr && result == INSN_DONE; buf += pieces[i++].len)
		if (vcpu_read(vcpu, pieces[i].gpa, buf, pieces[i].len))
			result = INSN_UNHANDLED;
	return result;
}

static enum insn_result write_ram(struct vcpu *vcpu, u64 linear, const void *buf, unsigned int size, u32 access,
				  struct exception *exception)
{
	struct piece pieces[MAX_PIECES];
	enum insn_result result;
	unsigned int i, nr;

	/* This is no operand that the CPU has translated. */
	vcpu->mmio.gpa_known = false;
	result = split(vcpu, linear, size, PAGE_SIZE, access | WALK_WRITE, pieces, &nr, exception);
	for (i = 0; buf && i < nr && result == INSN_DONE; buf += pieces[i++].len)
		if (vcpu_write(vcpu, pieces[i].gpa, buf, pieces[i].len))
			result = INSN_UNHANDLED;
	return result;
}

enum insn_result emulate_copy_in(struct vcpu *vcpu, u64 linear, void *buf, unsigned int size,
				 struct exception *exception)
{
	return read_ram(vcpu, linear, buf, size, vcpu_user_access(vcpu), exception);
}

enum insn_result emulate_copy_out(struct vcpu *vcpu, u64 linear, const void *buf, unsigned int size,
				  struct exception *exception)
{
	return write_ram(vcpu, linear, buf, size, vcpu_user_access(vcpu), exception);
}

enum insn_result emulate_system_read(struct vcpu *vcpu, u64 linear, void *buf, unsigned int size,
				     struct exception *exception)
{
	return read_ram(vcpu, linear, buf, size, WALK_IMPLICIT, exception);
}

enum insn_result emulate_system_write(struct vcpu *vcpu, u64 linear, const void *buf, unsigned int size,
				      struct exception *exception)
{
	return write_ram(vcpu, linear, buf, size, WALK_IMPLICIT, exception);
}

/* -- the client's part ------------------------------------------------------------------------------------------- */

static void ask_client(struct vcpu *vcpu, const struct mmio_fragment *f, bool write)
{
	struct kvm_run *run = vcpu->run;

	vcpu->stat.mmio++;
	run->exit_reason = KVM_EXIT_MMIO;
	run->mmio.phys_addr = f->gpa;
	run->mmio.len = f->len;
	run->mmio.is_write = write;
	/* All of the field: what is beyond the length is 0. */
	memcpy(run->mmio.data, &f->data, sizeof(run->mmio.data));
}

/* The client has seen a store; the next one of the same instruction, or on with the guest. */
static int next_write(struct vcpu *vcpu)
{
	struct mmio *mmio = &vcpu->mmio;

	if (mmio->next_write == mmio->nr_writes) {
		mmio->nr_writes = 0;
		mmio->next_write = 0;
		return NEXT_ENTER;
	}
	ask_client(vcpu, &mmio->writes[mmio->next_write++], true);
	vcpu->complete_user = next_write;
	return NEXT_USER;
}

/* -- the instruction --------------------------------------------------------------------------------------------- */

static enum insn_result execute(struct vcpu *vcpu)
{
	struct mmio *mmio = &vcpu->mmio;
	enum insn_result result;
	unsigned int i;

	for (i = 0; i < MAX_ITERATIONS; i++) {
		mmio->next_read = 0;
		mmio->wants_read = false;
		result = insn_execute(&vcpu->machine, vcpu->insn);
		if (result == INSN_PENDING)
			break;
		mmio->nr_reads = 0;
		if (result != INSN_AGAIN || mmio->nr_writes || READ_ONCE(vcpu->requests))
			break;
	}
	return result;
}

static int read_answered(struct vcpu *vcpu);

/* Tries the decoded instruction, for the first time or with the client's answer. */
static enum next execute_instruction(struct vcpu *vcpu)
{
	struct mmio *mmio = &vcpu->mmio;
	enum insn_result result;
	u64 rflags, rsp;

	prepare_machine(vcpu);
	rflags = vcpu->regs.rflags;
	rsp = vcpu->regs.gpr[REG_RSP];
	result = execute(vcpu);
	/* The CPU's word on the operand is good for this instruction only. */
	if (result != INSN_PENDING)
		mmio->gpa_known = false;
	/* Iterations that were committed count, whatever ended the last one. */
	vcpu->changed |= STATE_RIP;
	if (rflags != vcpu->regs.rflags)
		vcpu->changed |= STATE_RFLAGS;
	if (rsp != vcpu->regs.gpr[REG_RSP])
		vcpu->changed |= STATE_RSP;
	switch (result) {
	case INSN_DONE:
		vcpu_end_instruction(vcpu);
		return next_write(vcpu);
	case INSN_AGAIN:
		return next_write(vcpu);
	case INSN_EXCEPTION:
		vcpu_raise(vcpu, &vcpu->machine.exception);
		return NEXT_ENTER;
	case INSN_PENDING:
		mmio->rip = vcpu_rip(vcpu);
		ask_client(vcpu, &mmio->reads[mmio->nr_reads], false);
		vcpu->complete_user = read_answered;
		return NEXT_USER;
	case INSN_UNHANDLED:
		break;
	}
	return exit_emulation_failure(vcpu, vcpu->insn->bytes, vcpu->insn->length);
}

static int read_answered(struct vcpu *vcpu)
{
	struct mmio *mmio = &vcpu->mmio;
	struct mmio_fragment *f = &mmio->reads[mmio->nr_reads];

	if (vcpu_rip(vcpu) != mmio->rip) {
		mmio->gpa_known = false;
		return NEXT_ENTER;
	}
	/* The whole field: what is beyond the length is not looked at. */
	memcpy(&f->data, vcpu->run->mmio.data, sizeof(f->data));
	trace_kvm_mmio(TRACE_MMIO_READ, f->len, f->gpa, &f->data);
	mmio->nr_reads++;
	return execute_instruction(vcpu);
}

/* PUSH and POP of a memory operand have a second one, the stack. */
static bool has_one_operand(const struct insn *insn)
{
	return insn->memory && insn->encoding == INSN_LEGACY &&
	       !(insn->map == INSN_MAP_ONE_BYTE && (insn->opcode == 0x8f || insn->opcode == 0xff));
}

/* Executes the instruction at RIP, which touched memory that only software can answer. */
enum next exit_device_access(struct vcpu *vcpu, u64 gpa, u32 access)
{
	struct mmio *mmio = &vcpu->mmio;
	const struct insn *insn;
	enum next next;

	mmio->nr_reads = 0;
	mmio->nr_writes = 0;
	mmio->next_write = 0;
	vcpu_know(vcpu, STATE_EMULATION);
	insn = vcpu_decode(vcpu, &next);
	if (!insn)
		return next;
	mmio->gpa = gpa;
	mmio->gpa_known = !(access & ACCESS_WALK) && has_one_operand(insn);
	if (vcpu->in_slice && !mmio->gpa_known)
		return NEXT_SLOW;
	return execute_instruction(vcpu);
}

/* As a page fault's: W/R, U/S for what is neither write nor fetch, I/D. APM volume 2, "Page-Fault Exception (#PF)". */
static u64 fault_error_code(u32 access)
{
	return (access & ACCESS_WRITE ? X86_PF_WRITE : 0) | (access & ACCESS_EXEC ? X86_PF_INSTR : 0) |
	       (access & ACCESS_READ ? X86_PF_USER : 0);
}

enum next exit_memory_fault(struct vcpu *vcpu, u64 gpa, u32 access)
{
	int r;

	r = vcpu->in_slice ? memory_fault_atomic(vcpu, gpa, access) : memory_fault(vcpu, gpa, access);
	if (vcpu->in_slice && r == -EAGAIN)
		return NEXT_SLOW;
	trace_kvm_page_fault(vcpu, gpa, fault_error_code(access));
	vcpu->stat.faults++;
	if (r == MEMORY_MAPPED)
		return NEXT_ENTER;
	if (r < 0)
		return r;
	return exit_device_access(vcpu, gpa, access);
}

/* -- SMSW, LMSW -------------------------------------------------------------------------------------------------- */

/* The effective address of a ModRM operand. SDM volume 2, "Addressing-Mode Encoding of ModR/M and SIB Bytes". */
static u64 effective_address(struct vcpu *vcpu, const struct insn *insn)
{
	u64 address = insn->disp;

	if (insn->base == INSN_REG_RIP)
		address += vcpu_rip(vcpu) + insn->length;
	else if (insn->base != INSN_REG_NONE)
		address += vcpu_read_gpr(vcpu, insn->base);
	if (insn->index != INSN_REG_NONE)
		address += vcpu_read_gpr(vcpu, insn->index) << insn->scale;
	return insn->address_size == 8 ? address : address & GENMASK_ULL(insn->address_size * 8 - 1, 0);
}

/* The operand in memory, checked by its segment. Outside of the slice: it is about to be accessed. */
static bool msw_operand(struct vcpu *vcpu, const struct insn *insn, bool write, u64 *linear, enum next *next)
{
	struct exception exception;

	*next = NEXT_SLOW;
	if (vcpu->in_slice)
		return false;
	*next = NEXT_ENTER;
	vcpu->mmio.nr_reads = 0;
	vcpu->mmio.next_read = 0;
	vcpu->mmio.nr_writes = 0;
	vcpu->mmio.next_write = 0;
	vcpu->mmio.gpa_known = false;
	if (emulate_linear(vcpu, insn->segment, effective_address(vcpu, insn), 2, write, linear, &exception) ==
	    INSN_DONE)
		return true;
	vcpu_raise(vcpu, &exception);
	return false;
}

/* An access to the operand that did not succeed. A device cannot be asked here: nobody keeps its status word there. */
static enum next msw_access_failed(struct vcpu *vcpu, const struct insn *insn, enum insn_result result,
				   const struct exception *exception)
{
	if (result != INSN_EXCEPTION)
		return exit_emulation_failure(vcpu, insn->bytes, insn->length);
	vcpu_raise(vcpu, exception);
	return NEXT_ENTER;
}

static enum next emulate_lmsw(struct vcpu *vcpu, const struct insn *insn)
{
	enum insn_result result;
	enum next next;
	u64 linear;
	u16 value;

	if (insn->mod == 3)
		return exit_lmsw(vcpu, vcpu_read_gpr(vcpu, insn->rm));
	if (!msw_operand(vcpu, insn, false, &linear, &next))
		return next;
	prepare_machine(vcpu);
	result = read_linear(vcpu, linear, &value, 2, false);
	if (result != INSN_DONE)
		return msw_access_failed(vcpu, insn, result, &vcpu->machine.exception);
	return exit_lmsw(vcpu, value);
}

/* To a register SMSW gives as much of CR0 as the operand size says, to memory always two bytes. SDM, "SMSW". */
static enum next emulate_smsw(struct vcpu *vcpu, const struct insn *insn)
{
	enum insn_result result;
	enum next next;
	u64 linear, old;

	vcpu_know(vcpu, STATE_CR0);
	vcpu->insn_len = insn->length;
	if (insn->mod == 3) {
		old = vcpu_read_gpr(vcpu, insn->rm);
		vcpu_write_gpr(vcpu, insn->rm,
			       insn->operand_size == 2 ? (old & ~0xffffull) | (vcpu->cr0 & 0xffff) : vcpu->cr0);
		vcpu_advance(vcpu);
		return NEXT_ENTER;
	}
	if (!msw_operand(vcpu, insn, true, &linear, &next))
		return next;
	prepare_machine(vcpu);
	result = write_linear(vcpu, linear, &vcpu->cr0, 2);
	if (result != INSN_DONE)
		return msw_access_failed(vcpu, insn, result, &vcpu->machine.exception);
	vcpu_advance(vcpu);
	return next_write(vcpu);
}

enum next emulate_msw(struct vcpu *vcpu, const struct insn *insn)
{
	/* ModRM.reg: 4 SMSW, 6 LMSW. */
	switch (insn->reg & 7) {
	case 4:
		return emulate_smsw(vcpu, insn);
	case 6:
		return emulate_lmsw(vcpu, insn);
	}
	return exit_emulation_failure(vcpu, insn->bytes, insn->length);
}
