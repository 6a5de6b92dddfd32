// SPDX-License-Identifier: GPL-2.0
/*
 * mce_test - machine checks that the client makes for a guest. Source: SDM volume 3, "Machine-Check Architecture"; KVM's
 * api.rst, "KVM_X86_SETUP_MCE", "KVM_X86_SET_MCE".
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "guest.h"

#define MSR_MCG_CAP 0x179
#define MSR_MCG_STATUS 0x17a
#define MSR_MCG_CTL 0x17b
#define MSR_CTL(bank) (0x400 + 4 * (bank))
#define MSR_STATUS(bank) (0x401 + 4 * (bank))
#define MSR_ADDR(bank) (0x402 + 4 * (bank))
#define MSR_MISC(bank) (0x403 + 4 * (bank))
#define MSR_CTL2(bank) (0x280 + (bank))

#define MCG_CTL_P (1ul << 8)
#define MCG_CMCI_P (1ul << 10)
#define MCG_SER_P (1ul << 24)
#define MCG_STATUS_MCIP (1ul << 2)
#define STATUS_VAL (1ul << 63)
#define STATUS_OVER (1ul << 62)
#define STATUS_UC (1ul << 61)
#define STATUS_PCC (1ul << 57)
#define STATUS_S (1ul << 56)
#define STATUS_AR (1ul << 55)
#define CTL2_CMCI_EN (1ul << 30)
#define CR4_MCE (1ul << 6)
#define VECTOR_MC 18

#define BANKS 10

/* Offsets of the local APIC's registers. */
#define LAPIC_VERSION 0x30
#define LAPIC_SVR 0xf0
#define LAPIC_LVT_CMCI 0x2f0
#define SVR_ENABLE (1u << 8)
#define LVT_MASKED (1u << 16)
#define CMCI_VECTOR 0x51

static void set_up(struct guest *g, u64 cap, bool mce)
{
	struct kvm_sregs s = guest_sregs(g);

	if (mce)
		s.cr4 |= CR4_MCE;
	guest_set_sregs(g, &s);
	expect_errno(ioctl(g->vcpu, KVM_X86_SETUP_MCE, &cap), 0);
}

static struct guest *create(u64 cap, bool mce)
{
	struct guest *g = guest_create(MODE_LONG);

	set_up(g, cap, mce);
	return g;
}

static u64 msr(struct guest *g, u32 index)
{
	u64 value = 0;

	expect(guest_get_msr(g, index, &value));
	return value;
}

static void set_mce(struct guest *g, u8 bank, u64 status)
{
	const struct kvm_x86_mce mce = {
		.bank = bank, .status = status, .addr = 0x1234, .misc = 0x55, .mcg_status = MCG_STATUS_MCIP
	};

	expect_errno(ioctl(g->vcpu, KVM_X86_SET_MCE, &mce), 0);
}

static void setup(void)
{
	static const u64 refused[] = { 0, 33, 255, BANKS | 1ul << 63, MCG_CTL_P };
	struct guest *g = guest_create(MODE_LONG);
	u64 supported, cap;
	unsigned int i;

	expect_errno(ioctl(g->device, KVM_X86_GET_MCE_CAP_SUPPORTED, &supported), 0);
	expect_eq(supported & 0xff, ioctl(g->device, KVM_CHECK_EXTENSION, KVM_CAP_MCE));
	expect_eq(supported & MCG_CTL_P, MCG_CTL_P);
	for (i = 0; i < ARRAY_SIZE(refused); i++) {
		context("%#lx", refused[i]);
		expect_errno(ioctl(g->vcpu, KVM_X86_SETUP_MCE, &refused[i]), EINVAL);
	}
	context("%#lx", supported);
	expect_errno(ioctl(g->vcpu, KVM_X86_SETUP_MCE, &supported), 0);
	cap = BANKS | MCG_CTL_P | MCG_SER_P;
	context("%#lx", cap);
	expect_errno(ioctl(g->vcpu, KVM_X86_SETUP_MCE, &cap), 0);
	expect_eq(msr(g, MSR_MCG_CAP), cap);
	expect_eq(msr(g, MSR_MCG_CTL), ~0ul);
	expect_eq(msr(g, MSR_CTL(0)), ~0ul);
	expect_eq(msr(g, MSR_CTL(BANKS - 1)), ~0ul);
	expect(!guest_get_msr(g, MSR_CTL(BANKS), &cap));
}

/* A guest that writes to a register of its: the value is there, or #GP. */
static void expect_write(u64 cap, u32 index, u64 value, bool fits)
{
	struct guest *g = create(cap, true);

	guest_load(g, CODE64("wrmsr"));
	g->regs.rcx = index;
	g->regs.rax = (u32)value;
	g->regs.rdx = value >> 32;
	guest_start(g);
	if (!fits)
		expect_trap(g, VECTOR_GP, 0, 0);
	else if (expect_end(g))
		expect_eq(msr(g, index), value);
	guest_destroy(g);
}

/* What a guest may write to which register. */
static void registers(void)
{
	static const struct {
		const char *name;
		u32 msr;
		u64 value;
		bool fits;
	} rows[] = {
		{ "IA32_MCG_CTL: all", MSR_MCG_CTL, ~0ul, true },
		{ "IA32_MCG_CTL: none", MSR_MCG_CTL, 0, true },
		{ "IA32_MCG_CTL: some", MSR_MCG_CTL, 1, false },
		{ "IA32_MC1_CTL: none", MSR_CTL(1), 0, true },
		{ "IA32_MC1_CTL: all", MSR_CTL(1), ~0ul, true },
		{ "IA32_MC1_CTL: some", MSR_CTL(1), 6, false },
		{ "IA32_MC1_STATUS: none", MSR_STATUS(1), 0, true },
		{ "IA32_MC1_STATUS: an error", MSR_STATUS(1), STATUS_VAL, false },
		{ "IA32_MC1_ADDR", MSR_ADDR(1), 0, true },
		{ "a bank that is not there", MSR_CTL(BANKS), 0, false },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		context("%s", rows[i].name);
		expect_write(BANKS | MCG_CTL_P, rows[i].msr, rows[i].value, rows[i].fits);
	}
}

/* The guest finds it when it looks; a second one in the same bank is told of by a bit. */
static void corrected(void)
{
	struct guest *g = create(BANKS | MCG_CTL_P, true);

	set_mce(g, 3, STATUS_VAL | 0x99);
	expect_eq(msr(g, MSR_STATUS(3)), STATUS_VAL | 0x99);
	expect_eq(msr(g, MSR_ADDR(3)), 0x1234);
	expect_eq(msr(g, MSR_MISC(3)), 0x55);
	set_mce(g, 3, STATUS_VAL | 0x77);
	expect_eq(msr(g, MSR_STATUS(3)), STATUS_VAL | STATUS_OVER | 0x77);
	guest_load(g, CODE64("rdmsr"));
	g->regs.rcx = MSR_STATUS(3);
	guest_start(g);
	expect_end(g);
	expect_eq(g->regs.rdx, (STATUS_VAL | STATUS_OVER) >> 32);
	expect_eq(g->regs.rax, 0x77);
}

static void uncorrected(void)
{
	struct guest *g = create(BANKS | MCG_CTL_P, true);

	guest_load(g, CODE64("nop"));
	ioctl(g->vcpu, KVM_SET_REGS, &g->regs);
	set_mce(g, 2, STATUS_VAL | STATUS_UC);
	guest_run(g);
	expect_trap(g, VECTOR_MC, NO_ERROR, 0);
	expect_eq(msr(g, MSR_STATUS(2)), STATUS_VAL | STATUS_UC);
	expect_eq(msr(g, MSR_MCG_STATUS), MCG_STATUS_MCIP);

	context("a corrected one after it");
	set_mce(g, 2, STATUS_VAL | 1);
	expect_eq(msr(g, MSR_STATUS(2)), STATUS_VAL | STATUS_UC | STATUS_OVER);

	context("another while it is handled");
	set_mce(g, 2, STATUS_VAL | STATUS_UC);
	guest_run(g);
	expect_exit(g, KVM_EXIT_SHUTDOWN);
}

/* A guest with CR4.MCE clear does not survive it; one that has turned the bank off does not hear of it. */
static void uncorrected_unhandled(void)
{
	struct guest *g = create(BANKS | MCG_CTL_P, false);

	guest_load(g, CODE64("nop"));
	ioctl(g->vcpu, KVM_SET_REGS, &g->regs);
	set_mce(g, 2, STATUS_VAL | STATUS_UC);
	guest_run(g);
	expect_exit(g, KVM_EXIT_SHUTDOWN);
	guest_destroy(g);

	context("bank turned off");
	g = create(BANKS | MCG_CTL_P, false);
	guest_load(g, CODE64("nop"));
	expect(guest_set_msr(g, MSR_CTL(2), 0));
	ioctl(g->vcpu, KVM_SET_REGS, &g->regs);
	set_mce(g, 2, STATUS_VAL | STATUS_UC);
	guest_run(g);
	expect_end(g);
	expect_eq(msr(g, MSR_STATUS(2)), 0);
}

static void set_without_action(struct guest *g, u8 bank, u64 status)
{
	const struct kvm_x86_mce mce = {
		.bank = bank, .status = STATUS_VAL | STATUS_UC | status, .addr = 0x5678, .misc = 0x99
	};

	expect_errno(ioctl(g->vcpu, KVM_X86_SET_MCE, &mce), 0);
}

/*
 * An error of data that nothing uses (UCNA) stands in the bank, whatever the guest has turned off: no #MC. One with a
 * further bit asks for action. SDM, "UCR Error Classification".
 */
static void no_action(void)
{
	static const u64 action[] = { STATUS_PCC, STATUS_S, STATUS_S | STATUS_AR };
	struct guest *g = create(BANKS | MCG_CTL_P | MCG_SER_P, false);
	unsigned int i;

	guest_load(g, CODE64("nop"));
	expect(guest_set_msr(g, MSR_CTL(4), 0));
	set_without_action(g, 4, 0x90);
	guest_start(g);
	expect_end(g);
	expect_eq(msr(g, MSR_STATUS(4)), STATUS_VAL | STATUS_UC | 0x90);
	expect_eq(msr(g, MSR_ADDR(4)), 0x5678);
	expect_eq(msr(g, MSR_MISC(4)), 0x99);
	expect_eq(msr(g, MSR_MCG_STATUS), 0);
	guest_destroy(g);
	for (i = 0; i < ARRAY_SIZE(action); i++) {
		context("%#lx", action[i]);
		g = create(BANKS | MCG_CTL_P | MCG_SER_P, true);
		guest_load(g, CODE64("nop"));
		ioctl(g->vcpu, KVM_SET_REGS, &g->regs);
		set_without_action(g, 4, action[i]);
		guest_run(g);
		expect_trap(g, VECTOR_MC, NO_ERROR, 0);
		guest_destroy(g);
	}
}

static u32 *lapic_register(struct kvm_lapic_state *state, u32 offset)
{
	return (u32 *)(state->regs + offset);
}

static u32 read_lapic(struct guest *g, u32 offset)
{
	struct kvm_lapic_state state;

	expect_errno(ioctl(g->vcpu, KVM_GET_LAPIC, &state), 0);
	return *lapic_register(&state, offset);
}

static void write_lapic(struct guest *g, u32 offset, u32 value)
{
	struct kvm_lapic_state state;

	expect_errno(ioctl(g->vcpu, KVM_GET_LAPIC, &state), 0);
	*lapic_register(&state, offset) = value;
	expect_errno(ioctl(g->vcpu, KVM_SET_LAPIC, &state), 0);
}

static struct guest *create_with_chips(u64 cap)
{
	struct guest *g = guest_create_vm();

	expect_errno(ioctl(g->vm, KVM_CREATE_IRQCHIP, 0), 0);
	guest_create_vcpu(g);
	guest_set_mode(g, MODE_LONG, false);
	set_up(g, cap, true);
	return g;
}

static bool has_cmci(void)
{
	int device = open_device();
	u64 supported = 0;

	expect_errno(ioctl(device, KVM_X86_GET_MCE_CAP_SUPPORTED, &supported), 0);
	close(device);
	return supported & MCG_CMCI_P;
}

/* IA32_MCi_CTL2 is there with IA32_MCG_CAP.MCG_CMCI_P. SDM, "IA32_MCi_CTL2 MSRs". */
static void ctl2(void)
{
	static const struct {
		u64 cap;
		u32 msr;
		u32 value;
		bool fits;
	} rows[] = {
		{ BANKS, MSR_CTL2(0), 0, false },
		{ BANKS | MCG_CMCI_P, MSR_CTL2(0), CTL2_CMCI_EN | 0x7fff, true },
		{ BANKS | MCG_CMCI_P, MSR_CTL2(BANKS - 1), CTL2_CMCI_EN, true },
		{ BANKS | MCG_CMCI_P, MSR_CTL2(0), 1u << 15, false },
		{ BANKS | MCG_CMCI_P, MSR_CTL2(0), 1u << 29, false },
		{ BANKS | MCG_CMCI_P, MSR_CTL2(0), 1u << 31, false },
		{ BANKS | MCG_CMCI_P, MSR_CTL2(BANKS), 0, false },
	};
	bool cmci = has_cmci();
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		context("row %u", i);
		if (!(rows[i].cap & MCG_CMCI_P) || cmci)
			expect_write(rows[i].cap, rows[i].msr, rows[i].value, rows[i].fits);
	}
}

/* The local APIC's LVT has an entry for it: SDM, "CMCI Local APIC Interface". */
static void cmci(void)
{
	struct guest *g;

	if (!has_cmci())
		skip("no CMCI on this vendor's CPUs");
	g = create_with_chips(BANKS);
	expect_eq(read_lapic(g, LAPIC_VERSION) >> 16, 5);
	guest_destroy(g);

	g = create_with_chips(BANKS | MCG_CMCI_P);
	expect_eq(read_lapic(g, LAPIC_VERSION) >> 16, 6);
	expect_eq(read_lapic(g, LAPIC_LVT_CMCI), LVT_MASKED);
	write_lapic(g, LAPIC_SVR, SVR_ENABLE | 0xff);
	write_lapic(g, LAPIC_LVT_CMCI, CMCI_VECTOR);
	guest_load(g, CODE64("1: out %al, $0x80\njmp 1b"));
	g->regs.rflags |= RFLAGS_IF;
	guest_start(g);
	expect_exit(g, KVM_EXIT_IO);

	context("not turned on for the bank");
	expect(guest_set_msr(g, MSR_CTL2(5), CTL2_CMCI_EN));
	set_without_action(g, 4, 0);
	guest_run(g);
	expect_exit(g, KVM_EXIT_IO);

	context("turned on");
	set_without_action(g, 5, 0);
	guest_run(g);
	expect_trap(g, CMCI_VECTOR, NO_ERROR, 2);
}

static void refused(void)
{
	static const struct kvm_x86_mce rows[] = {
		{ .bank = BANKS, .status = STATUS_VAL },
		{ .bank = 255, .status = STATUS_VAL },
		{ .bank = 1, .status = 0 },
	};
	struct guest *g = create(BANKS, true);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		context("row %u", i);
		expect_errno(ioctl(g->vcpu, KVM_X86_SET_MCE, &rows[i]), EINVAL);
	}
	context("IA32_MCG_CTL without MCG_CAP.MCG_CTL_P");
	guest_load(g, CODE64("rdmsr"));
	g->regs.rcx = MSR_MCG_CTL;
	guest_start(g);
	expect_trap(g, VECTOR_GP, 0, 0);
}

static const struct test tests[] = {
	{ "set up", setup },
	{ "the guest's registers", registers },
	{ "corrected errors", corrected },
	{ "uncorrected errors", uncorrected },
	{ "uncorrected errors of a guest without a handler", uncorrected_unhandled },
	{ "uncorrected errors that need no action", no_action },
	{ "IA32_MCi_CTL2", ctl2 },
	{ "corrected machine-check interrupt", cmci },
	{ "refused", refused },
};

KTAP_MAIN(tests)
