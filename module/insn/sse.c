// SPDX-License-Identifier: GPL-2.0
/*
 * The SSE moves between an XMM register and memory. Source: SDM volume 2, the pages of the instructions.
 */
#include "execute.h"

/* Mandatory prefixes, as a set. */
#define NP BIT(0)
#define P66 BIT(1)
#define PF3 BIT(2)
#define PF2 BIT(3)

#define STORE BIT(0)
#define ALIGNED BIT(1) /* #GP(0) if not on a multiple of the size */
#define MERGE BIT(2)   /* a load that leaves the other half of the register */
#define HIGH BIT(3)    /* the upper half of the register */

static const struct sse_move {
	u8 map;
	u8 opcode;
	u8 mandatory;
	u8 size; /* 0: 4, or 8 with REX.W */
	u8 flags;
} moves[] = {
	{ INSN_MAP_0F, 0x10, NP | P66, 16, 0 }, /* MOVUPS, MOVUPD */
	{ INSN_MAP_0F, 0x10, PF3, 4, 0 },	/* MOVSS */
	{ INSN_MAP_0F, 0x10, PF2, 8, 0 },	/* MOVSD */
	{ INSN_MAP_0F, 0x11, NP | P66, 16, STORE },
	{ INSN_MAP_0F, 0x11, PF3, 4, STORE },
	{ INSN_MAP_0F, 0x11, PF2, 8, STORE },
	{ INSN_MAP_0F, 0x12, NP | P66, 8, MERGE }, /* MOVLPS, MOVLPD */
	{ INSN_MAP_0F, 0x13, NP | P66, 8, STORE },
	{ INSN_MAP_0F, 0x16, NP | P66, 8, MERGE | HIGH }, /* MOVHPS, MOVHPD */
	{ INSN_MAP_0F, 0x17, NP | P66, 8, STORE | HIGH },
	{ INSN_MAP_0F, 0x28, NP | P66, 16, ALIGNED }, /* MOVAPS, MOVAPD */
	{ INSN_MAP_0F, 0x29, NP | P66, 16, STORE | ALIGNED },
	{ INSN_MAP_0F, 0x2b, NP | P66, 16, STORE | ALIGNED }, /* MOVNTPS, MOVNTPD */
	{ INSN_MAP_0F, 0x6e, P66, 0, 0 },		      /* MOVD, MOVQ */
	{ INSN_MAP_0F, 0x6f, P66, 16, ALIGNED },	      /* MOVDQA */
	{ INSN_MAP_0F, 0x6f, PF3, 16, 0 },		      /* MOVDQU */
	{ INSN_MAP_0F, 0x7e, P66, 0, STORE },		      /* MOVD, MOVQ */
	{ INSN_MAP_0F, 0x7e, PF3, 8, 0 },		      /* MOVQ */
	{ INSN_MAP_0F, 0x7f, P66, 16, STORE | ALIGNED },
	{ INSN_MAP_0F, 0x7f, PF3, 16, STORE },
	{ INSN_MAP_0F, 0xd6, P66, 8, STORE },		 /* MOVQ */
	{ INSN_MAP_0F, 0xe7, P66, 16, STORE | ALIGNED }, /* MOVNTDQ */
	{ INSN_MAP_0F, 0xf0, PF2, 16, 0 },		 /* LDDQU */
	{ INSN_MAP_0F38, 0x2a, P66, 16, ALIGNED },	 /* MOVNTDQA */
};

/* F3 and F2 stand above 66. */
static u8 mandatory_prefix(const struct insn *insn)
{
	if (insn->prefixes & INSN_PREFIX_REP)
		return PF3;
	if (insn->prefixes & INSN_PREFIX_REPNE)
		return PF2;
	return insn->prefixes & INSN_PREFIX_OPERAND_SIZE ? P66 : NP;
}

static const struct sse_move *find_move(const struct insn *insn)
{
	u8 prefix = mandatory_prefix(insn);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(moves); i++)
		if (moves[i].opcode == insn->opcode && moves[i].map == insn->map && moves[i].mandatory & prefix)
			return &moves[i];
	return NULL;
}

static enum insn_result store(struct insn_machine *m, const struct insn *insn, u8 flags, u64 linear, unsigned int size)
{
	enum insn_result result;
	u64 xmm[2];

	m->ops->xmm_read(m->ctx, insn->reg, xmm);
	result = insn_write(m, linear, flags & HIGH ? &xmm[1] : xmm, size);
	if (result)
		return result;
	return insn_commit(m, insn, m->regs->rflags);
}

static enum insn_result load(struct insn_machine *m, const struct insn *insn, u8 flags, u64 linear, unsigned int size)
{
	enum insn_result result;
	u64 xmm[2] = { 0, 0 };

	if (flags & MERGE)
		m->ops->xmm_read(m->ctx, insn->reg, xmm);
	result = insn_read(m, linear, flags & HIGH ? &xmm[1] : xmm, size, false);
	if (result)
		return result;
	m->ops->xmm_write(m->ctx, insn->reg, xmm);
	return insn_commit(m, insn, m->regs->rflags);
}

enum insn_result insn_sse_move(struct insn_machine *m, const struct insn *insn)
{
	const struct sse_move *move = find_move(insn);
	enum insn_result result;
	unsigned int size;
	u64 linear;

	if (!move || !insn->memory || !m->ops->xmm_read || !m->ops->xmm_write)
		return INSN_UNHANDLED;
	size = move->size ?: insn->rex & INSN_REX_W ? 8 : 4;
	result = insn_locate_rm(m, insn, 0, size, move->flags & STORE, &linear);
	if (result)
		return result;
	if (move->flags & ALIGNED && linear & (size - 1))
		return insn_general_protection(m);
	if (move->flags & STORE)
		return store(m, insn, move->flags, linear, size);
	return load(m, insn, move->flags, linear, size);
}
