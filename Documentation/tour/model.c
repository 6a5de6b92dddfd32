// SPDX-License-Identifier: GPL-2.0
/* model - an instruction after the other, by the decoder and the executor of the module. */
#include <stdio.h>
#include <stdlib.h>

#include "../../module/insn/insn.h"
#include "model.h"

#define JNZ 0x75

static const struct kvm_segment *flat_segment(void *ctx, enum segment segment)
{
	static const struct kvm_segment flat = { .limit = 0xffff, .type = 3, .present = 1, .s = 1 };

	(void)ctx;
	(void)segment;
	return &flat;
}

/* Jumps are not for device registers, so the executor has none. */
static void step(struct insn_machine *m, const unsigned char *code)
{
	struct cpu_regs *regs = m->regs;
	struct insn insn;

	if (!insn_decode(&insn, code + regs->rip, INSN_MAX_LENGTH, INSN_MODE_16)) {
		if (insn.opcode == JNZ) {
			regs->rip += insn.length + (regs->rflags & RFLAGS_ZF ? 0 : (s8)insn.imm);
			return;
		}
		if (insn_execute(m, &insn) == INSN_DONE)
			return;
	}
	fprintf(stderr, "the model does not know the instruction at %lu\n", (unsigned long)regs->rip);
	exit(1);
}

unsigned int model_run(const unsigned char *code, size_t size)
{
	static const struct insn_ops ops = { .segment = flat_segment };
	struct cpu_regs regs = { .rflags = RFLAGS_FIXED };
	struct insn_machine m = { .regs = &regs, .ops = &ops, .mode = INSN_MODE_16 };

	while (regs.rip < size)
		step(&m, code);
	return regs.gpr[REG_RAX];
}
