/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The state-save area: what a CPU leaves in SMRAM as it enters system-management mode, and takes from there again with
 * RSM. Needs no kernel.
 */
#ifndef PITH_SMRAM_H
#define PITH_SMRAM_H

#include <linux/kvm.h>

#include "portable.h"

#define SMRAM_SAVE_AREA 0xfe00 /* from SMBASE */
#define SMRAM_SAVE_SIZE 512
#define SMRAM_ENTRY 0x8000 /* of the handler, from SMBASE */

struct smram_state {
	struct kvm_regs regs;
	struct kvm_sregs sregs; /* the APIC's, CR2 and interrupts are not part of the area */
	u64 dr6, dr7;
	u32 smbase, revision;
};

/**
 * smram_save - writes the area
 * @wide: that of a CPU with long mode, as AMD has it; else the older one of 32 bits
 * @area: SMRAM_SAVE_SIZE bytes, all zeroes
 */
void smram_save(u8 *area, bool wide, const struct smram_state *state);

/** smram_load - the reverse. What the area does not have stays in @state as it was. */
void smram_load(const u8 *area, bool wide, struct smram_state *state);

#endif
