// SPDX-License-Identifier: GPL-2.0
/*
 * The state-save area of system-management mode: where the manuals have each register, and that what was saved is what is
 * loaded. KTAP on standard output.
 */
#include <stdlib.h>

#include "../../module/smram.h"
#include "tap.h"

#define RIGHTS_CODE64 0xa09b

static struct smram_state state;
static u8 area[SMRAM_SAVE_SIZE];

static u64 saved(unsigned int offset, unsigned int size)
{
	u64 value = 0;

	memcpy(&value, area + offset - SMRAM_SAVE_AREA, size);
	return value;
}

static struct kvm_segment segment(u64 base)
{
	return (struct kvm_segment){
		.base = base, .limit = 0x12345, .selector = 0x38, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1
	};
}

static void fill(void)
{
	u8 *bytes = (u8 *)&state.regs;
	size_t i;

	memset(&state, 0, sizeof(state));
	memset(area, 0, sizeof(area));
	for (i = 0; i < sizeof(state.regs); i++)
		bytes[i] = rand();
	state.sregs.cr0 = 0x80050033;
	state.sregs.cr3 = 0x12345000;
	state.sregs.cr4 = 0x6f0;
	state.sregs.efer = 0xd01;
	state.sregs.cs = segment(0x1000);
	state.sregs.gs = segment(0xffff888000000000);
	state.sregs.tr = segment(0xfffffe0000001000);
	state.sregs.tr.unusable = 1;
	state.sregs.idt = (struct kvm_dtable){ .base = 0xfffffe0000000000, .limit = 0xfff };
	state.sregs.gdt = (struct kvm_dtable){ .base = 0x7000, .limit = 0x7f };
	state.dr6 = 0xffff0ff0;
	state.dr7 = 0x401;
	state.smbase = 0xa0000;
	state.revision = 0x20064;
}

/* APM volume 2, table "AMD64 Architecture SMM State-Save Area". */
static bool wide_places(void)
{
	fill();
	smram_save(area, true, &state);
	return saved(0xfe10, 2) == 0x38 && saved(0xfe12, 2) == RIGHTS_CODE64 && saved(0xfe14, 4) == 0x12345 &&
	       saved(0xfe18, 8) == 0x1000 && saved(0xfe58, 8) == state.sregs.gs.base && saved(0xfe64, 2) == 0x7f &&
	       saved(0xfe68, 8) == 0x7000 && saved(0xfe84, 2) == 0xfff && saved(0xfe88, 8) == state.sregs.idt.base &&
	       saved(0xfe98, 8) == state.sregs.tr.base && !(saved(0xfe92, 2) & 0x80) && saved(0xfed0, 8) == 0xd01 &&
	       saved(0xfefc, 4) == 0x20064 && saved(0xff00, 4) == 0xa0000 && saved(0xff48, 8) == 0x6f0 &&
	       saved(0xff50, 8) == 0x12345000 && saved(0xff58, 8) == 0x80050033 && saved(0xff60, 8) == 0x401 &&
	       saved(0xff68, 8) == 0xffff0ff0 && saved(0xff70, 8) == state.regs.rflags &&
	       saved(0xff78, 8) == state.regs.rip && saved(0xff80, 8) == state.regs.r15 &&
	       saved(0xfff8, 8) == state.regs.rax && saved(0xffd8, 8) == state.regs.rsp;
}

/* SDM volume 3, table "SMRAM State Save Map". */
static bool narrow_places(void)
{
	fill();
	smram_save(area, false, &state);
	return saved(0xfffc, 4) == 0x80050033 && saved(0xfff8, 4) == 0x12345000 &&
	       saved(0xfff4, 4) == (u32)state.regs.rflags && saved(0xfff0, 4) == (u32)state.regs.rip &&
	       saved(0xffec, 4) == (u32)state.regs.rdi && saved(0xffe0, 4) == (u32)state.regs.rsp &&
	       saved(0xffd0, 4) == (u32)state.regs.rax && saved(0xffcc, 4) == 0xffff0ff0 && saved(0xffc8, 4) == 0x401 &&
	       saved(0xffac, 4) == 0x38 && saved(0xff98, 4) == 0x1000 && saved(0xff90, 4) == RIGHTS_CODE64 << 8 &&
	       saved(0xfef8, 4) == 0xa0000;
}

static bool comes_back(bool wide)
{
	struct smram_state loaded = {};
	u8 again[SMRAM_SAVE_SIZE] = {};

	fill();
	smram_save(area, wide, &state);
	smram_load(area, wide, &loaded);
	smram_save(again, wide, &loaded);
	return !memcmp(area, again, sizeof(area)) && loaded.sregs.tr.unusable && !loaded.sregs.cs.unusable &&
	       loaded.sregs.cs.l && loaded.sregs.idt.limit == 0xfff;
}

static bool wide_comes_back(void)
{
	return comes_back(true);
}

static bool narrow_comes_back(void)
{
	return comes_back(false);
}

/* Whatever stands there: a guest has written it. */
static bool anything_is_read(void)
{
	unsigned int i, j;

	for (i = 0; i < 10000; i++) {
		for (j = 0; j < sizeof(area); j++)
			area[j] = rand();
		smram_load(area, i & 1, &state);
	}
	return true;
}

static const struct test tests[] = {
	{ "registers are where AMD64's area has them", wide_places },
	{ "and where that of 32-bit CPUs has them", narrow_places },
	{ "AMD64's area comes back", wide_comes_back },
	{ "the other comes back", narrow_comes_back },
	{ "anything can stand there", anything_is_read },
};

int main(void)
{
	return run_tests(tests, ARRAY_SIZE(tests));
}
