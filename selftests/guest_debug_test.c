// SPDX-License-Identifier: GPL-2.0
/*
 * guest_debug_test - a debugger in the client: steps, breakpoints, watchpoints, and what of them the guest sees, which
 * is nothing. Source: KVM's api.rst, "KVM_SET_GUEST_DEBUG", "KVM_EXIT_DEBUG".
 */
#include <errno.h>
#include <string.h>

#include "guest.h"

#define DR6_BD (1u << 13)
#define DR6_BS (1u << 14)
#define DR7_FIXED 0x400ul
#define DR7_G0 0x2ul
#define DR7_G1 0x8ul
#define DR7_GD (1ul << 13)
#define DR7_WRITE1 (1ul << 20) /* DR1: data written, 1 byte */

static void debug(struct guest *g, u32 control)
{
	const struct kvm_guest_debug debug = { .control = control };

	expect_errno(ioctl(g->vcpu, KVM_SET_GUEST_DEBUG, &debug), 0);
}

static void debug_registers(struct guest *g, u64 dr0, u64 dr1, u64 dr7)
{
	const struct kvm_guest_debug debug = { .control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP,
					       .arch.debugreg = { [0] = dr0, [1] = dr1, [7] = dr7 } };

	expect_errno(ioctl(g->vcpu, KVM_SET_GUEST_DEBUG, &debug), 0);
}

/* Registers of the guest's own that a debugger must not be seen in. */
static struct kvm_debugregs own_registers(struct guest *g)
{
	struct kvm_debugregs own = { .db = { 1, 2, 3, 4 }, .dr6 = 0xffff0ff0, .dr7 = DR7_FIXED };

	expect_errno(ioctl(g->vcpu, KVM_SET_DEBUGREGS, &own), 0);
	return own;
}

static void expect_own(struct guest *g, const struct kvm_debugregs *own)
{
	struct kvm_debugregs now;

	expect_errno(ioctl(g->vcpu, KVM_GET_DEBUGREGS, &now), 0);
	expect_bytes(&now, own, sizeof(now));
}

static bool expect_debug_at(const char *file, int line, struct guest *g, u8 vector, u64 dr6, u64 offset)
{
	const struct kvm_debug_exit_arch *arch = &g->run->debug.arch;

	if (!expect_exit_at(file, line, g, KVM_EXIT_DEBUG))
		return false;
	return expect_eq_at(file, line, "exception", arch->exception, vector) &
	       expect_eq_at(file, line, "pc", arch->pc, GUEST_CODE + offset) &
	       /* B0 to B3 may be set whether a breakpoint is enabled or not. SDM volume 3, "Debug Status Register (DR6)". */
	       expect_eq_at(file, line, "DR6", arch->dr6 & (DR6_BD | DR6_BS | (dr6 & 0xf)), dr6);
}
#define expect_debug(g, vector, dr6, offset) expect_debug_at(__FILE__, __LINE__, g, vector, dr6, offset)

/* -- steps ------------------------------------------------------------------------------------------------------- */

#define STEP (KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP)

/* Through what the CPU executes, what the module does and what the client does; over an interrupt shadow, too. */
static void steps(void)
{
	static const u8 offsets[] = { 1, 3, 5, 8, 10, 14, 15, 16, 17 };
	struct guest *g = guest_create(MODE_LONG);
	struct kvm_debugregs own = own_registers(g);
	unsigned int i;

	guest_load(g, CODE64("nop; cpuid; out %al, $0x80; mov %cr0, %rax; mov %ebx, (%rdi); mov %cr8, %rax;"
			     "sti; nop; cli; nop"));
	g->regs.rdi = GUEST_HOLE;
	debug(g, STEP);
	guest_start(g);
	for (i = 0; i < ARRAY_SIZE(offsets); i++) {
		context("step %u", i + 1);
		/* The instruction is not over before the client has done its part. */
		if (offsets[i] == 5) {
			expect_exit(g, KVM_EXIT_IO);
			guest_run(g);
		} else if (g->exit == KVM_EXIT_MMIO) {
			expect_eq(g->run->mmio.phys_addr, GUEST_HOLE);
			guest_run(g);
		}
		/* In QEMU an instruction behind STI is not stopped before. */
		if (offsets[i] == 15 && emulated_by_qemu())
			continue;
		if (!expect_debug(g, VECTOR_DB, DR6_BS, offsets[i]))
			return;
		expect_eq(g->regs.rflags & RFLAGS_TF, 0);
		guest_run(g);
	}
	context("after the steps");
	debug(g, 0);
	guest_load(g, CODE64("pushf; pop %rbx"));
	guest_start(g);
	expect_end(g);
	expect_eq(g->regs.rbx & RFLAGS_TF, 0);
	expect_own(g, &own);
}

static void steps_in_other_modes(void)
{
	const struct {
		enum guest_mode mode;
		struct code code;
	} rows[] = {
		{ MODE_REAL, CODE16("nop; cpuid; nop") },
		{ MODE_PROT32, CODE32("nop; cpuid; nop") },
		{ MODE_COMPAT, CODE32("nop; cpuid; nop") },
	};
	unsigned int i, step;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct guest *g = guest_create(rows[i].mode);

		context("%s", guest_mode_name[rows[i].mode]);
		guest_load(g, rows[i].code);
		debug(g, STEP);
		guest_start(g);
		for (step = 0; step < 3; step++, guest_run(g))
			expect_debug(g, VECTOR_DB, DR6_BS, step ? step + 2 : 1);
		guest_destroy(g);
	}
}

/* A guest that is stepped can be kept from its interrupts. */
static void steps_without_interrupts(void)
{
	struct guest *g = guest_create(MODE_LONG);
	unsigned int i;

	guest_load(g, CODE64("nop; nop; nop; nop; nop; nop"));
	debug(g, STEP | KVM_GUESTDBG_BLOCKIRQ);
	guest_start(g);
	expect_debug(g, VECTOR_DB, DR6_BS, 1);
	expect_errno(ioctl(g->vcpu, KVM_NMI, 0), 0);
	for (i = 2; i < 4; i++) {
		guest_run(g);
		expect_debug(g, VECTOR_DB, DR6_BS, i);
	}
	debug(g, 0);
	guest_run(g);
	expect_trap(g, VECTOR_NMI, NO_ERROR, 3);
}

/* -- breakpoints ------------------------------------------------------------------------------------------------- */

static void hardware_breakpoint(void)
{
	struct guest *g = guest_create(MODE_LONG);
	struct kvm_debugregs own = own_registers(g);

	guest_load(g, CODE64("nop; cpuid; nop; nop"));
	debug_registers(g, GUEST_CODE + 3, 0, DR7_G0);
	guest_start(g);
	expect_own(g, &own);
	expect_debug(g, VECTOR_DB, 1, 3);
	expect_eq(g->run->debug.arch.dr7, DR7_G0 | DR7_FIXED);
	debug(g, 0);
	guest_run(g);
	expect_end(g);
	expect_own(g, &own);
}

static void watchpoint(void)
{
	struct guest *g = guest_create(MODE_LONG);
	struct kvm_debugregs own = own_registers(g);

	guest_load(g, CODE64("mov (%rdi), %al; mov %al, (%rdi); nop; nop"));
	g->regs.rdi = GUEST_DATA;
	debug_registers(g, 0, GUEST_DATA, DR7_G1 | DR7_WRITE1);
	guest_start(g);
	expect_debug(g, VECTOR_DB, 2, 4);
	guest_run(g);
	expect_end(g);
	expect_own(g, &own);
}

/* While the CPU's debug registers are the debugger's the guest has its own all the same. */
static void guests_registers(void)
{
	struct guest *g = guest_create(MODE_LONG);
	struct kvm_debugregs now;

	guest_load(g, CODE64("mov %rdi, %dr0; mov $0x403, %eax; mov %rax, %dr7; nop; mov %dr0, %rbx; mov %dr7, %rcx"));
	g->regs.rdi = GUEST_CODE + 11; /* its own breakpoint, which is not seen */
	debug_registers(g, GUEST_DATA, 0, DR7_G0);
	guest_start(g);
	expect_end(g);
	expect_eq(g->regs.rbx, GUEST_CODE + 11);
	expect_eq(g->regs.rcx, 0x403);
	expect_errno(ioctl(g->vcpu, KVM_GET_DEBUGREGS, &now), 0);
	expect_eq(now.db[0], GUEST_CODE + 11);
	expect_eq(now.dr7, 0x403);
}

/* A debugger that wants to know of accesses to the debug registers. */
static void guarded_registers(void)
{
	struct guest *g = guest_create(MODE_LONG);

	guest_load(g, CODE64("nop; mov %rax, %dr0; nop"));
	debug_registers(g, 0, 0, DR7_GD);
	guest_start(g);
	if (emulated_by_qemu() && g->exit == KVM_EXIT_HLT)
		skip("QEMU does not emulate it");
	expect_debug(g, VECTOR_DB, DR6_BD, 1);
	debug(g, 0);
	guest_run(g);
	expect_end(g);
}

static void software_breakpoint(void)
{
	struct guest *g = guest_create(MODE_LONG);

	guest_load(g, CODE64("nop; int3; nop"));
	debug(g, KVM_GUESTDBG_ENABLE);
	guest_start(g);
	expect_trap(g, VECTOR_BP, NO_ERROR, 2);

	context("used by the debugger");
	debug(g, KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP);
	guest_load(g, CODE64("nop; int3; nop"));
	guest_start(g);
	expect_debug(g, VECTOR_BP, 0, 1);
	expect_eq(g->regs.rip, GUEST_CODE + 1);

	context("given back to the guest");
	debug(g, KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP | KVM_GUESTDBG_INJECT_BP);
	guest_run(g);
	expect_trap(g, VECTOR_BP, NO_ERROR, 2);
}

static void injected(void)
{
	const struct kvm_guest_debug again = { .control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_INJECT_DB };
	struct guest *g = guest_create(MODE_LONG);

	guest_load(g, CODE64("out %al, $0x80; nop"));
	guest_start(g);
	expect_exit(g, KVM_EXIT_IO);
	debug(g, again.control);
	expect_errno(ioctl(g->vcpu, KVM_SET_GUEST_DEBUG, &again), EBUSY);
	guest_run(g);
	expect_trap(g, VECTOR_DB, NO_ERROR, 2);
}

static const struct test tests[] = {
	{ "steps", steps },
	{ "steps in other modes", steps_in_other_modes },
	{ "steps without interrupts", steps_without_interrupts },
	{ "hardware breakpoint", hardware_breakpoint },
	{ "watchpoint", watchpoint },
	{ "the guest's own debug registers", guests_registers },
	{ "guarded debug registers", guarded_registers },
	{ "software breakpoint", software_breakpoint },
	{ "injected", injected },
};

KTAP_MAIN(tests)
