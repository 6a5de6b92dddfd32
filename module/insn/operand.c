// SPDX-License-Identifier: GPL-2.0
/*
 * From an instruction's operand to a linear address: effective address and segmentation.
 * Source: SDM volume 1, "Specifying an Offset"; volume 3, "Limit Checking", "Type Checking", "Canonical Addressing".
 */
#include "execute.h"

/* Bits of a segment descriptor's type. */
#define TYPE_CODE BIT(3)
#define TYPE_EXPAND_DOWN BIT(2) /* of data */
#define TYPE_WRITABLE BIT(1)	/* of data */
#define TYPE_READABLE BIT(1)	/* of code */

static enum insn_result raise(struct insn_machine *m, enum vector vector, bool has_error)
{
	m->exception = (struct exception){ .vector = vector, .has_error = has_error };
	return INSN_EXCEPTION;
}

enum insn_result insn_undefined(struct insn_machine *m)
{
	return raise(m, VECTOR_UD, false);
}

/* In real mode no exception has an error code. */
enum insn_result insn_general_protection(struct insn_machine *m)
{
	return raise(m, VECTOR_GP, m->protected_mode);
}

enum insn_result insn_misaligned(struct insn_machine *m)
{
	return raise(m, VECTOR_AC, true);
}

static enum insn_result segment_fault(struct insn_machine *m, enum segment segment)
{
	return raise(m, segment == SEG_SS ? VECTOR_SS : VECTOR_GP, m->protected_mode);
}

/*
 * Canonical addresses are those whose unused bits repeat the highest used one. Shifted up by half of their number they
 * lie in one piece from 0 on, so that one comparison tells it of both ends of an access.
 */
static __always_inline bool canonical(const struct insn_machine *m, u64 linear, unsigned int size)
{
	u64 half = 1ull << (m->linear_width - 1);

	return linear + half <= half * 2 - size;
}

static bool type_allows(const struct kvm_segment *s, bool write)
{
	if (s->type & TYPE_CODE)
		return !write && s->type & TYPE_READABLE;
	return !write || s->type & TYPE_WRITABLE;
}

static bool within_limit(const struct kvm_segment *s, u64 offset, unsigned int size)
{
	u64 last = offset + size - 1;

	if ((s->type & (TYPE_CODE | TYPE_EXPAND_DOWN)) == TYPE_EXPAND_DOWN)
		return offset > s->limit && last <= (s->db ? 0xffffffff : 0xffff);
	return last <= s->limit;
}

/* Real and virtual-8086 mode know limits, but neither types nor unusable segments. */
static enum insn_result linear_segmented(struct insn_machine *m, enum segment segment, u64 offset, unsigned int size,
					 bool write, u64 *linear)
{
	const struct kvm_segment *s = m->ops->segment(m->ctx, segment);

	if (m->protected_mode && !(m->regs->rflags & RFLAGS_VM) && (s->unusable || !type_allows(s, write)))
		return segment_fault(m, segment);
	if (!within_limit(s, offset, size))
		return segment_fault(m, segment);
	*linear = (u32)(s->base + offset);
	return INSN_DONE;
}

static __always_inline enum insn_result linear_address(struct insn_machine *m, enum segment segment, u64 offset,
						       unsigned int size, bool write, u64 *linear)
{
	if (unlikely(m->mode != INSN_MODE_64))
		return linear_segmented(m, segment, offset, size, write, linear);
	if (unlikely(segment >= SEG_FS))
		offset += m->ops->segment(m->ctx, segment)->base;
	if (unlikely(!canonical(m, offset, size)))
		return segment_fault(m, segment);
	*linear = offset;
	return INSN_DONE;
}

enum insn_result insn_linear(struct insn_machine *m, enum segment segment, u64 offset, unsigned int size, bool write,
			     u64 *linear)
{
	return linear_address(m, segment, offset, size, write, linear);
}

static __always_inline enum insn_result locate(struct insn_machine *m, const struct insn *insn, s64 displacement,
					       unsigned int size, bool write, u64 *linear)
{
	u64 offset = insn->disp + displacement;

	if (likely(insn->base < NR_GPRS))
		offset += m->regs->gpr[insn->base];
	else if (insn->base == INSN_REG_RIP)
		offset += m->regs->rip + insn->length;
	if (insn->index < NR_GPRS)
		offset += m->regs->gpr[insn->index] << insn->scale;
	if (insn->address_size != 8)
		offset &= insn_size_mask(insn->address_size);
	return linear_address(m, insn->segment, offset, size, write, linear);
}

/* Locates the memory operand, @displacement bytes off. */
enum insn_result insn_locate_rm(struct insn_machine *m, const struct insn *insn, s64 displacement, unsigned int size,
				bool write, u64 *linear)
{
	return locate(m, insn, displacement, size, write, linear);
}

/* Reads the register or memory operand that is not going to be written. */
enum insn_result insn_read_rm(struct insn_machine *m, const struct insn *insn, unsigned int size, u64 *value)
{
	enum insn_result result;
	u64 linear;

	if (!insn->memory) {
		*value = insn_gpr(m, insn, insn->rm, size);
		return INSN_DONE;
	}
	result = locate(m, insn, 0, size, false, &linear);
	if (result)
		return result;
	return insn_read(m, linear, value, size, false);
}

/* Writes the register or memory operand that was not read. */
enum insn_result insn_write_rm(struct insn_machine *m, const struct insn *insn, unsigned int size, u64 value)
{
	enum insn_result result;
	u64 linear;

	if (!insn->memory) {
		insn_set_gpr(m, insn, insn->rm, size, value);
		return INSN_DONE;
	}
	result = locate(m, insn, 0, size, true, &linear);
	if (result)
		return result;
	return insn_write(m, linear, &value, size);
}
