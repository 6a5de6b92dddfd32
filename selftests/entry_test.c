// SPDX-License-Identifier: GPL-2.0
/*
 * entry_test - entries that the CPU refuses, and what is told of them. Most fields a client cannot break but by
 * PITH_BREAK_ENTRY, which wants unsafe=1: selftests/platform loads the module so, and compares what Bochs says of each
 * entry with what is expected here (the lines that begin with "# emulator:").
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "guest.h"
#include "pith.h"

#define TRACING "/sys/kernel/tracing/"
#define MAX_SET 4
#define HIGH (1ull << 32)
#define ODD 0x8000000000000000ull /* neither a canonical nor a physical address */

struct row {
	enum guest_mode mode;
	const char *rule;     /* a part of what is told */
	const char *emulator; /* of what Bochs says */
	struct {
		u64 number, value;
	} set[MAX_SET];
};

/* -- one entry --------------------------------------------------------------------------------------------------- */

static struct guest *spinning_guest(enum guest_mode mode)
{
	struct guest *g = guest_create(mode);

	/* In virtual-8086 mode OUT is not for everybody. */
	if (mode == MODE_V8086)
		guest_load(g, CODE16("mov $0xa000, %ax; mov %ax, %ds; 1: mov %al, 0; jmp 1b"));
	else
		guest_load(g, CODE32("1: out %al, $0x11; jmp 1b"));
	if (guest_start(g) != (mode == MODE_V8086 ? KVM_EXIT_MMIO : KVM_EXIT_IO))
		die("the guest does not run: %s", guest_exit_text(g));
	return g;
}

static struct pith_entry_failure get_failure(struct guest *g)
{
	struct pith_entry_failure failure = {};

	expect_errno(ioctl(g->vcpu, PITH_GET_ENTRY_FAILURE, &failure), 0);
	return failure;
}

/* Breaks the row's fields. Whether an entry was made. */
static bool break_fields(struct guest *g, const struct row *row)
{
	struct pith_break_entry fields = {};
	unsigned int i;

	for (i = 0; i < MAX_SET && (row->set[i].number || row->set[i].value); i++) {
		fields.field[i].number = row->set[i].number;
		fields.field[i].value = row->set[i].value;
	}
	fields.nr = i ? i : 1;
	return expect_errno(ioctl(g->vcpu, PITH_BREAK_ENTRY, &fields), 0);
}

static void expect_refused(struct guest *g, const struct row *row)
{
	struct pith_entry_failure failure;

	context("field %#llx, value %#llx", (unsigned long long)row->set[0].number,
		(unsigned long long)row->set[0].value);
	if (!break_fields(g, row))
		return;
	if (row->emulator)
		diag("emulator: %s", row->emulator);
	expect_eq(ioctl(g->vcpu, KVM_RUN, 0), 0);
	if (!expect_eq(g->run->exit_reason, KVM_EXIT_FAIL_ENTRY))
		return;
	failure = get_failure(g);
	expect_eq(failure.hardware_reason, g->run->fail_entry.hardware_entry_failure_reason);
	if (!expect(strstr(failure.text, row->rule)))
		diag("expected: %s; told: %s", row->rule, failure.text);
}

static void skip_if_safe(void)
{
	struct guest *g = guest_create(MODE_LONG);
	struct pith_break_entry none = {};

	if (ioctl(g->vcpu, PITH_BREAK_ENTRY, &none) < 0 && errno == EPERM)
		skip("the module is not loaded with unsafe=1");
	guest_destroy(g);
}

/* -- Intel ------------------------------------------------------------------------------------------------------- */

#define MSR_VMX_BASIC 0x480
#define MSR_VMX_MISC 0x485
#define MSR_VMX_SECONDARY 0x48b

enum { PIN = 0x4000, PRIMARY = 0x4002, EXIT = 0x400c, ENTRY = 0x4012, SECONDARY = 0x401e };

static const struct control {
	u64 number;
	u32 msr;
	const char *name, *secondary_name; /* in what Bochs says of bits that must be 1, that must be 0 */
} controls[] = {
	{ PIN, 0x48d, "pin-based controls", "pin-based controls" },
	{ PRIMARY, 0x48e, "VMX proc-based controls", "VMX proc-based controls" },
	{ SECONDARY, MSR_VMX_SECONDARY, "secondary proc-based controls", "secondary controls" },
	{ EXIT, 0x48f, "vmexit controls", "vmexit controls" },
	{ ENTRY, 0x490, "vmentry controls", "vmentry controls" },
};

static u64 host_msr(u32 msr)
{
	int fd = open("/dev/cpu/0/msr", O_RDONLY);
	u64 value;

	if (fd < 0 || pread(fd, &value, sizeof(value), msr) != sizeof(value))
		die("cannot read the MSR %#x", msr);
	close(fd);
	return value;
}

static const struct control *find_control(u64 number)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(controls); i++)
		if (controls[i].number == number)
			return &controls[i];
	return NULL;
}

/* A row's control fields are in addition to what must be 1. Whether the CPU has what they ask for. */
static bool complete_controls(struct row *row)
{
	const struct control *control;
	unsigned int i;
	u64 msr;

	for (i = 0; i < MAX_SET; i++) {
		control = find_control(row->set[i].number);
		if (!control)
			continue;
		msr = host_msr(control->msr);
		row->set[i].value |= (u32)msr;
		if (row->set[i].value & ~(msr >> 32))
			return false;
	}
	return true;
}

/* No bit may have another value than the capability MSR allows. */
static void intel_allowed(void)
{
	struct guest *g;
	const struct control *control;
	char words[80];
	u32 must, may;
	int bit;

	skip_if_safe();
	g = spinning_guest(MODE_LONG);
	for (control = controls; control < controls + ARRAY_SIZE(controls); control++) {
		must = host_msr(control->msr);
		may = host_msr(control->msr) >> 32;
		for (bit = 0; bit < 32; bit++) {
			struct row row = { .rule = "bits are 0 or 1 as the capability MSR allows",
					   .emulator = words,
					   .set = { { control->number, must ^ (1u << bit) } } };

			if (!(must >> bit & 1) && (may >> bit & 1))
				continue;
			snprintf(words, sizeof(words), "%s allowed %d-settings",
				 must >> bit & 1 ? control->name : control->secondary_name, !(must >> bit & 1));
			expect_refused(g, &row);
		}
	}
	guest_destroy(g);
}

#define USE_SECONDARY (1ull << 31)
#define TPR_SHADOW (USE_SECONDARY | 1 << 21)
#define BASE 0xa2 /* secondary: EPT, VPID, unrestricted guest */
#define PAGE_RULE "aligned to 4 KBytes"

/* clang-format off */
static const struct row control_rows[] = {
	{ MODE_LONG, "at most 4 CR3", "too may CR3 targets", { { 0x400a, 5 } } },
	{ MODE_LONG, PAGE_RULE, "I/O bitmap A phy addr malformed", { { 0x2000, 1 }, { PRIMARY, USE_SECONDARY | 1 << 25 } } },
	{ MODE_LONG, PAGE_RULE, "I/O bitmap B phy addr malformed", { { 0x2002, 1ull << 52 }, { PRIMARY, USE_SECONDARY | 1 << 25 } } },
	{ MODE_LONG, PAGE_RULE, "MSR bitmap phy addr malformed", { { 0x2004, 0x800 } } },
	{ MODE_LONG, "virtual NMIs need NMI exiting", "misconfigured virtual NMI", { { PIN, 0x20 } } },
	{ MODE_LONG, "NMI-window exiting needs", "misconfigured virtual NMI", { { PRIMARY, USE_SECONDARY | 1 << 22 }, { PIN, 9 } } },
	{ MODE_LONG, PAGE_RULE, "VMREAD bitmap phy addr malformed", { { 0x2026, 8 }, { SECONDARY, BASE | 1 << 14 } } },
	{ MODE_LONG, PAGE_RULE, "VMWRITE bitmap phy addr malformed", { { 0x2028, 8 }, { SECONDARY, BASE | 1 << 14 } } },
	{ MODE_LONG, PAGE_RULE, "virtual apic phy addr malformed", { { 0x2012, 16 }, { PRIMARY, TPR_SHADOW } } },
	{ MODE_LONG, "bits 31:4 are 0", "TPR threshold too big", { { 0x401c, 16 }, { PRIMARY, TPR_SHADOW }, { SECONDARY, BASE } } },
	{ MODE_LONG, "delivery needs external-interrupt exiting", "virtual interrupt delivery must be set together",
	  { { PIN, 0x28 }, { SECONDARY, BASE | 0x200 }, { PRIMARY, TPR_SHADOW } } },
	{ MODE_LONG, "posted interrupts need interrupt delivery", "enabled together with virtual interrupt delivery",
	  { { PIN, 0xa9 }, { SECONDARY, BASE }, { PRIMARY, TPR_SHADOW } } },
	{ MODE_LONG, "at most 255", "notification vector", { { 2, 256 }, { PIN, 0xa9 }, { SECONDARY, BASE | 0x200 }, { PRIMARY, TPR_SHADOW } } },
	{ MODE_LONG, "aligned to 64 bytes", "Posted Interrupt Descriptor phy addr malformed",
	  { { 0x2016, 32 }, { PIN, 0xa9 }, { SECONDARY, BASE | 0x200 }, { PRIMARY, TPR_SHADOW } } },
	{ MODE_LONG, "acknowledged by exits", "together 'ack interrupt on exit'",
	  { { EXIT, 0x200 }, { PIN, 0xa9 }, { SECONDARY, BASE | 0x200 }, { PRIMARY, TPR_SHADOW } } },
	{ MODE_LONG, "needs a TPR shadow", "without TPR shadow", { { SECONDARY, BASE | 0x10 }, { PRIMARY, USE_SECONDARY } } },
	{ MODE_LONG, "needs a TPR shadow", "without TPR shadow", { { SECONDARY, BASE | 0x100 }, { PRIMARY, USE_SECONDARY } } },
	{ MODE_LONG, "needs a TPR shadow", "without TPR shadow", { { SECONDARY, BASE | 0x200 }, { PRIMARY, USE_SECONDARY } } },
	{ MODE_LONG, "not both virtualized", "X2APIC mode enabled together with", { { SECONDARY, BASE | 0x11 }, { PRIMARY, TPR_SHADOW } } },
	{ MODE_LONG, PAGE_RULE, "apic access page phy addr malformed", { { 0x2014, 1 }, { SECONDARY, BASE | 1 } } },
	{ MODE_LONG, "memory type is one", "invalid EPTPTR", { { 0x201a, 0x1d } } },
	{ MODE_LONG, "memory type is one", "invalid EPTPTR", { { 0x201a, 0x19 } } },
	{ MODE_LONG, "four levels", "invalid EPTPTR", { { 0x201a, 0x16 } } },
	{ MODE_LONG, "bits 11:7", "invalid EPTPTR", { { 0x201a, 0x11e } } },
	{ MODE_LONG, "bits 11:7", "invalid EPTPTR", { { 0x201a, 0x81e } } },
	{ MODE_LONG, "bits 11:7", "invalid EPTPTR", { { 0x201a, 1ull << 52 | 0x1e } } },
	{ MODE_LONG, "need EPT", "unrestricted guest without EPT", { { SECONDARY, 0x80 } } },
	{ MODE_LONG, "need EPT", "PML is enabled without EPT", { { SECONDARY, 0x20000 } } },
	{ MODE_LONG, "VPID is not 0", "guest VPID == 0", { { 0, 0 } } },
	{ MODE_LONG, "EPTP switching", "VM Functions control reserved bits", { { 0x2018, 2 }, { SECONDARY, BASE | 0x2000 } } },
	{ MODE_LONG, "EPTP switching needs EPT", "EPTP-SWITCHING: EPT disabled", { { SECONDARY, 0x2000 }, { 0x2018, 1 } } },
	{ MODE_LONG, PAGE_RULE, "eptp list phy addr malformed", { { 0x2024, 1 }, { 0x2018, 1 }, { SECONDARY, BASE | 0x2000 } } },
	{ MODE_LONG, PAGE_RULE, "PML base phy addr malformed", { { 0x200e, 1 }, { SECONDARY, BASE | 0x20000 } } },
	{ MODE_LONG, "multiplier is not 0", "TSC multiplier should be non zero", { { 0x2032, 0 }, { SECONDARY, BASE | 1 << 25 } } },
	{ MODE_LONG, "it is not saved", "save_VMX_preemption_timer", { { EXIT, 0x400200 }, { PIN, 0x29 } } },
	{ MODE_LONG, "aligned to 16 bytes", "VMEXIT CTRL: msr store addr malformed", { { 0x2006, 8 }, { 0x400e, 1 } } },
	{ MODE_LONG, "aligned to 16 bytes", "VMEXIT CTRL: msr load addr malformed", { { 0x2008, 8 }, { 0x4010, 1 } } },
	{ MODE_LONG, "aligned to 16 bytes", "VMENTRY CTRL: msr load addr malformed", { { 0x200a, 8 }, { 0x4014, 1 } } },
	{ MODE_LONG, "outside of SMM", "VMENTRY from outside SMM", { { ENTRY, 0x800 } } },
	{ MODE_LONG, "bits 30:12", "broken interruption info field", { { 0x4016, 0x80001202 } } },
	{ MODE_LONG, "bits 30:12", "broken interruption info field", { { 0x4016, 0xc0000202 } } },
	{ MODE_LONG, "the type of event", "bad injected event type", { { 0x4016, 0x80000120 } } },
	{ MODE_LONG, "the vector of an NMI", "bad injected event vector", { { 0x4016, 0x80000203 } } },
	{ MODE_LONG, "the vector of an NMI", "bad injected event vector", { { 0x4016, 0x80000320 } } },
	{ MODE_LONG, "the vector of an NMI", "bad injected event vector", { { 0x4016, 0x800003ff } } },
	{ MODE_LONG, "bits 31:16", "bad error code", { { 0x4018, 0x10000 }, { 0x4016, 0x80000b0d } } },
	{ MODE_LONG, "1 to 15", "bad injected event instr length", { { 0x401a, 16 }, { 0x4016, 0x80000480 } } },
	{ MODE_LONG, "1 to 15", "bad injected event instr length", { { 0x401a, 16 }, { 0x4016, 0x80000501 } } },
	{ MODE_LONG, "1 to 15", "bad injected event instr length", { { 0x401a, 16 }, { 0x4016, 0x80000603 } } },
};

static const struct row host_rows[] = {
	{ MODE_LONG, "has a 64-bit host", "x86-64 host control invalid", { { EXIT, 0 } } },
	{ MODE_LONG, "that VMX fixes", "host state invalid CR0", { { 0x6c00, 0x80050032 } } },
	{ MODE_LONG, "that VMX fixes", "host state invalid CR0", { { 0x6c00, 0x80050013 } } },
	{ MODE_LONG, "that VMX fixes", "host state invalid CR0", { { 0x6c00, 0x50033 } } },
	{ MODE_LONG, "that VMX fixes", "host state invalid CR0", { { 0x6c00, HIGH | 0x80050033 } } },
	{ MODE_LONG, "physical-address width", "host state invalid CR3", { { 0x6c02, 1ull << 52 } } },
	{ MODE_LONG, "physical-address width", "host state invalid CR3", { { 0x6c02, ODD } } },
	{ MODE_LONG, "that VMX fixes", "host state invalid CR4", { { 0x6c04, 0x20 } } },
	{ MODE_LONG, "that VMX fixes", "host state invalid CR4", { { 0x6c04, 1 << 30 | 0x2020 } } },
	{ MODE_LONG, "that VMX fixes", "host state invalid CR4", { { 0x6c04, HIGH | 0x2020 } } },
	{ MODE_LONG, "has PAE", "host CR4.PAE=0", { { 0x6c04, 0x2000 } } },
	{ MODE_LONG, "CS is not null", "host CS selector 0", { { 0xc02, 0 } } },
	{ MODE_LONG, "TR is not null", "invalid host TR selector", { { 0xc0c, 0 } } },
	{ MODE_LONG, "RPL and TI are 0", "invalid host TR selector", { { 0xc0c, 0x43 } } },
	{ MODE_LONG, "base is canonical", "host FS BASE non canonical", { { 0x6c06, ODD } } },
	{ MODE_LONG, "base is canonical", "host GS BASE non canonical", { { 0x6c08, ODD } } },
	{ MODE_LONG, "base is canonical", "host TR BASE non canonical", { { 0x6c0a, ODD } } },
	{ MODE_LONG, "base is canonical", "host GDTR BASE non canonical", { { 0x6c0c, ODD } } },
	{ MODE_LONG, "base is canonical", "host IDTR BASE non canonical", { { 0x6c0e, ODD } } },
	{ MODE_LONG, "address is canonical", "host SYSENTER_ESP_MSR non canonical", { { 0x6c10, ODD } } },
	{ MODE_LONG, "address is canonical", "host SYSENTER_EIP_MSR non canonical", { { 0x6c12, ODD } } },
	{ MODE_LONG, "address is canonical", "host RIP non-canonical", { { 0x6c16, ODD } } },
	{ MODE_LONG, "is a memory type", "invalid Memory Type in host MSR_PAT", { { 0x2c00, 2 } } },
	{ MODE_LONG, "is a memory type", "invalid Memory Type in host MSR_PAT", { { 0x2c00, 8ull << 56 } } },
	{ MODE_LONG, "reserved bits", "host EFER reserved bits", { { 0x2c02, 0xd03 } } },
	{ MODE_LONG, "reserved bits", "host EFER reserved bits", { { 0x2c02, HIGH | 0xd01 } } },
	{ MODE_LONG, "LMA and LME are", "host EFER (", { { 0x2c02, 0x901 } } },
	{ MODE_LONG, "LMA and LME are", "host EFER (", { { 0x2c02, 0x801 } } },
};

static const struct row guest_rows[] = {
	{ MODE_LONG, "bit 1 is 1", "RFLAGS[1] cleared", { { 0x6820, 0 } } },
	{ MODE_LONG, "VM is 0", "x86-64 guest with RFLAGS.VM", { { 0x6820, 0x20002 } } },
	{ MODE_LONG, "that VMX fixes", "guest invalid CR0", { { 0x6800, 0x80000011 } } },
	{ MODE_LONG, "that VMX fixes", "guest invalid CR0", { { 0x6800, HIGH | 0x80000031 } } },
	{ MODE_REAL, "PG needs PE", "CR0.PG without CR0.PE", { { 0x6800, 0x80000030 } } },
	{ MODE_LONG, "physical-address width", "guest invalid CR3", { { 0x6802, 1ull << 52 } } },
	{ MODE_LONG, "that VMX fixes", "guest invalid CR4", { { 0x6804, 0x20 } } },
	{ MODE_LONG, "that VMX fixes", "guest invalid CR4", { { 0x6804, 1 << 30 | 0x2020 } } },
	{ MODE_LONG, "needs CR4.PAE", "guest CR4.PAE=0", { { 0x6804, 0x2000 } } },
	{ MODE_PROT32, "PCIDE needs", "CR4.PCIDE set in 32-bit guest", { { 0x6804, 0x22000 } } },
	{ MODE_LONG, "bits 63:32", "guest invalid DR7", { { 0x681a, HIGH } } },
	{ MODE_LONG, "base is canonical", "FS.BASE non canonical", { { 0x680e, ODD } } },
	{ MODE_LONG, "base is canonical", "GS.BASE non canonical", { { 0x6810, ODD } } },
	{ MODE_PROT32, "type of CS", "guest CS.TYPE", { { 0x4816, 0xc09a } } },
	{ MODE_PROT32, "type of CS", "guest CS.TYPE", { { 0x4816, 0xc091 } } },
	{ MODE_PROT32, "DPL of CS", "CS.DPL != 0", { { 0x4816, 0xc0f3 } } },
	{ MODE_PROT32, "DPL of CS", "CS.DPL <> SS.DPL", { { 0x4816, 0xc0fb } } },
	{ MODE_PROT32, "DPL of CS", "CS.DPL > SS.DPL", { { 0x4816, 0xc0ff } } },
	{ MODE_LONG, "L and D/B", "wrong CS.D_B/L", { { 0x4816, 0xe09b } } },
	{ MODE_PROT32, "type of SS", "guest SS.TYPE", { { 0x4818, 0xc091 } } },
	{ MODE_PROT32, "type of SS", "guest SS.TYPE", { { 0x4818, 0xc09b } } },
	{ MODE_REAL, "with CR0.PE 0", "unrestricted guest SS.DPL != 0", { { 0x4818, 0xf3 }, { 0x4816, 0xfb } } },
	{ MODE_PROT32, "with CR0.PE 0", "unrestricted guest SS.DPL != 0", { { 0x4818, 0xc0f3 }, { 0x4816, 0xc093 } } },
	{ MODE_LONG, "base is canonical", "IDTR.BASE non canonical", { { 0x6816, ODD } } },
	{ MODE_LONG, "base is canonical", "IDTR.BASE non canonical", { { 0x6818, ODD } } },
	{ MODE_LONG, "bits 31:16", "GDTR/IDTR limit", { { 0x4810, 0x10000 } } },
	{ MODE_LONG, "bits 31:16", "GDTR/IDTR limit", { { 0x4812, 0x10000 } } },
	{ MODE_LONG, "TI is 0", "LDTR.TI set", { { 0x80c, 4 }, { 0x4820, 0x82 } } },
	{ MODE_LONG, "type of LDTR", "incorrect LDTR type", { { 0x4820, 0x8b } } },
	{ MODE_LONG, "S is 0", "LDTR is not system segment", { { 0x4820, 0x92 } } },
	{ MODE_LONG, "is present", "LDTR not present", { { 0x4820, 2 } } },
	{ MODE_LONG, "reserved bits", "LDTR.AR/LIMIT malformed", { { 0x4820, 0x182 } } },
	{ MODE_LONG, "base is canonical", "LDTR.BASE non canonical", { { 0x6812, ODD }, { 0x4820, 0x82 } } },
	{ MODE_LONG, "base is canonical", "TR.BASE non canonical", { { 0x6814, ODD } } },
	{ MODE_LONG, "TR is usable", "TR invalid", { { 0x4822, 0x1008b } } },
	{ MODE_LONG, "TI is 0", "TR.TI set", { { 0x80e, 0x4c } } },
	{ MODE_LONG, "S is 0", "TR is not system segment", { { 0x4822, 0x9b } } },
	{ MODE_LONG, "is present", "TR not present", { { 0x4822, 0xb } } },
	{ MODE_LONG, "bits 31:20 of the limit", "TR.AR/LIMIT malformed", { { 0x480e, 0x100fff } } },
	{ MODE_LONG, "busy TSS", "incorrect TR type", { { 0x4822, 0x83 } } },
	{ MODE_LONG, "busy TSS", "incorrect TR type", { { 0x4822, 0x89 } } },
	{ MODE_PROT32, "busy TSS", "incorrect TR type", { { 0x4822, 0x81 } } },
	{ MODE_LONG, "address is canonical", "guest SYSENTER_ESP_MSR non canonical", { { 0x6824, ODD } } },
	{ MODE_LONG, "address is canonical", "guest SYSENTER_EIP_MSR non canonical", { { 0x6826, ODD } } },
	{ MODE_LONG, "is a memory type", "invalid Memory Type in guest MSR_PAT", { { 0x2804, 0x0300 } } },
	{ MODE_LONG, "reserved bits", "guest EFER reserved bits", { { 0x2806, 0x502 } } },
	{ MODE_LONG, "IA-32e mode guest", "EFER.LMA doesn't match", { { 0x2806, 0 } } },
	{ MODE_PROT32, "IA-32e mode guest", "EFER.LMA doesn't match", { { 0x2806, 0x500 } } },
	{ MODE_LONG, "LMA is LME", "guest EFER (", { { 0x2806, 0x400 } } },
	{ MODE_PROT32, "outside of 64-bit code", "guest RIP > 32 bit", { { 0x681e, HIGH } } },
	{ MODE_LONG, "all 1, or", "link pointer malformed", { { 0x2800, 8 } } },
	{ MODE_LONG, "reserved bits", "tmpDR6 reserved bits", { { 0x6822, 0x10 } } },
	{ MODE_LONG, "reserved bits", "tmpDR6 reserved bits", { { 0x6822, 0x2000 } } },
	{ MODE_LONG, "one that the CPU has", "guest activity state", { { 0x4826, 4 + 100 } } },
	{ MODE_LONG, "bits 31:5", "interruptibility state broken", { { 0x4824, 0x20 } } },
	{ MODE_LONG, "bits 31:5", "interruptibility state broken", { { 0x4824, 0x80000000 } } },
	{ MODE_LONG, "not both STI", "interruptibility state broken", { { 0x4824, 3 }, { 0x6820, 0x202 } } },
	{ MODE_LONG, "STI blocks only", "can't be blocked by STI", { { 0x4824, 1 }, { 0x6820, 2 } } },
	{ MODE_LONG, "the state is active", "when entering non active", { { 0x4826, 1 }, { 0x4824, 2 } } },
	{ MODE_LONG, "IF is 1", "blocked when injecting external interrupt", { { 0x6820, 2 }, { 0x4016, 0x80000020 } } },
	{ MODE_LONG, "nothing blocks", "blocked when injecting external interrupt",
	  { { 0x4824, 2 }, { 0x6820, 0x202 }, { 0x4016, 0x80000020 } } },
	{ MODE_LONG, "neither STI nor", "blocked when injecting NMI", { { 0x4824, 2 }, { 0x4016, 0x80000202 } } },
	{ MODE_LONG, "lets the injected event in", "entering Wait-For-Sipi", { { 0x4826, 3 }, { 0x4016, 0x80000202 } } },
	{ MODE_LONG, "lets the injected event in", "Only NMI or #MC", { { 0x4826, 2 }, { 0x4016, 0x80000306 } } },
	{ MODE_LONG, "no SMI blocks", "SMI blocked when not in SMM", { { 0x4824, 4 } } },
	{ MODE_PAE, "present entry", "PDPTRs Checks Failed", { { 0x280a, 3 } } },
	{ MODE_PAE, "present entry", "PDPTRs Checks Failed", { { 0x280c, 1ull << 52 | 1 } } },
	{ MODE_PAE, "present entry", "PDPTRs Checks Failed", { { 0x2810, 0x21 } } },
};
/* clang-format on */

static void expect_running(struct guest *g, enum guest_mode mode)
{
	context("%s goes on", guest_mode_name[mode]);
	expect_eq(ioctl(g->vcpu, KVM_RUN, 0), 0);
	expect_eq(g->run->exit_reason, mode == MODE_V8086 ? KVM_EXIT_MMIO : KVM_EXIT_IO);
}

/*
 * One guest a mode: what was broken is whole again afterwards, so the guest goes on, at the end or after each. That it
 * has to where the next field is one of the host's: the first entry after a failure writes those anew.
 */
static void run_rows(const struct row *rows, unsigned int nr, bool go_on)
{
	struct guest *guests[NR_MODES] = {};
	struct row row;
	unsigned int i;

	skip_if_safe();
	for (i = 0; i < nr; i++) {
		row = rows[i];
		if (!complete_controls(&row))
			continue;
		if (!guests[row.mode])
			guests[row.mode] = spinning_guest(row.mode);
		expect_refused(guests[row.mode], &row);
		if (go_on)
			expect_running(guests[row.mode], row.mode);
	}
	for (i = 0; i < NR_MODES; i++) {
		if (!guests[i])
			continue;
		expect_running(guests[i], i);
		guest_destroy(guests[i]);
	}
}

static void intel_controls(void)
{
	run_rows(control_rows, ARRAY_SIZE(control_rows), false);
}

static void intel_host(void)
{
	run_rows(host_rows, ARRAY_SIZE(host_rows), true);
}

static void intel_guest(void)
{
	run_rows(guest_rows, ARRAY_SIZE(guest_rows), false);
}

#define MSR_LOAD_COUNT 0x4014
#define MSR_PAT 0x277
#define HOST_PAT 0x0407050600070106 /* what the host has, and an exit loads again */
#define FAILED_MSR_LOAD 0x80000022

/* The VM-entry MSR-load area. */
/* clang-format off */
static const struct row msr_load_rows[] = {
	{ MODE_LONG, "LOAD_INDEX0 is 0xc0000100: FS_BASE and", "LoadMSRs 1: unable to restore FSBASE or GSBASE",
	  { { 0xe000, 0xc0000100 }, { MSR_LOAD_COUNT, 1 } } },
	{ MODE_LONG, "LOAD_INDEX0 is 0xc0000101: FS_BASE and", "LoadMSRs 1: unable to restore FSBASE or GSBASE",
	  { { 0xe000, 0xc0000101 }, { MSR_LOAD_COUNT, 1 } } },
	{ MODE_LONG, "LOAD_INDEX0 is 0x808: no MSR of the x2APIC", "LoadMSRs 1: unable to restore X2APIC range MSR 808",
	  { { 0xe000, 0x808 }, { MSR_LOAD_COUNT, 1 } } },
	{ MODE_LONG, "LOAD_INDEX0 is 0x100000277: bits 63:32", "LoadMSRs 1: broken msr index 0x100000277",
	  { { 0xe000, HIGH | MSR_PAT }, { 0xe002, HOST_PAT }, { MSR_LOAD_COUNT, 1 } } },
	{ MODE_LONG, "LOAD_VALUE0 is 0x200: the value is one", "LoadMSRs 1: unable to set up MSR 277",
	  { { 0xe000, MSR_PAT }, { 0xe002, 0x200 }, { MSR_LOAD_COUNT, 1 } } },
	{ MODE_LONG, "LOAD_VALUE0 is 0x8000000000000000: the value", "LoadMSRs 1: unable to set up MSR c0000082",
	  { { 0xe000, 0xc0000082 }, { 0xe002, ODD }, { MSR_LOAD_COUNT, 1 } } },
	{ MODE_LONG, "LOAD_INDEX1 is 0xc0000101: FS_BASE and", "LoadMSRs 2: unable to restore FSBASE or GSBASE",
	  { { 0xe001, 0xc0000101 }, { 0xe000, MSR_PAT }, { 0xe002, HOST_PAT }, { MSR_LOAD_COUNT, 2 } } },
};
/* clang-format on */

static void intel_msr_loads(void)
{
	struct guest *g;
	unsigned int i;

	skip_if_safe();
	g = spinning_guest(MODE_LONG);
	for (i = 0; i < ARRAY_SIZE(msr_load_rows); i++) {
		expect_refused(g, &msr_load_rows[i]);
		expect_eq(get_failure(g).hardware_reason, FAILED_MSR_LOAD);
		expect_running(g, MODE_LONG);
	}
	guest_destroy(g);
}

/* Selectors of the host: TI and RPL are 0. */
static void intel_host_selectors(void)
{
	static const u8 values[] = { 0x11, 0x12, 0x14 };
	char words[40];
	unsigned int i;

	skip_if_safe();
	for (i = 0; i < 18; i++) {
		struct row row = { .rule = "RPL and TI are 0",
				   .emulator = words,
				   .set = { { 0xc00 + 2 * (i / 3), values[i % 3] } } };

		snprintf(words, sizeof(words), "host segreg %u TI/RPL != 0", i / 3);
		row.mode = MODE_LONG;
		run_rows(&row, 1, false);
	}
}

static const char *const segment_name[] = { "ES", "CS", "SS", "DS", "FS", "GS" };

/*
 * What all segment registers have in common: an index into it, and the first encoding of the part that breaks the rule.
 */
static const struct {
	enum guest_mode mode;
	u32 es_field;
	u64 value;
	const char *rule, *emulator;
	unsigned int nr; /* segments that it holds for */
} segment_rules[] = {
	{ MODE_PROT32, 0x6806, HIGH, "bits 63:32 of the base", "guest %s.BASE > 32 bit", 4 },
	{ MODE_PROT32, 0x4814, 0xc083, "S is 1", "guest %s not segment", 6 },
	{ MODE_PROT32, 0x4814, 0xc013, "is present", "guest %s not present", 6 },
	{ MODE_PROT32, 0x4800, 0xfffff000, "bits 11:0 of the limit", "guest %s.AR/LIMIT malformed", 6 },
	{ MODE_PROT32, 0x4814, 0xc193, "reserved bits", "guest %s.AR/LIMIT malformed", 6 },
	{ MODE_V8086, 0x6806, 0x12345, "selector times 16", "v8086 guest bad %s.BASE", 6 },
	{ MODE_V8086, 0x4800, 0xfffff, "limit is 0xffff", "v8086 guest %s.LIMIT != 0xFFFF", 6 },
	{ MODE_V8086, 0x4814, 0x93, "are 0xf3", "v8086 guest %s.AR != 0xF3", 6 },
};

static void intel_segments(void)
{
	char words[60];
	unsigned int i, segment;

	for (i = 0; i < ARRAY_SIZE(segment_rules); i++) {
		for (segment = 0; segment < segment_rules[i].nr; segment++) {
			struct row row = { .mode = segment_rules[i].mode,
					   .rule = segment_rules[i].rule,
					   .emulator = words,
					   .set = { { segment_rules[i].es_field + 2 * segment,
						      segment_rules[i].value } } };

#pragma GCC diagnostic ignored "-Wformat-nonliteral"
			snprintf(words, sizeof(words), segment_rules[i].emulator, segment_name[segment]);
			run_rows(&row, 1, false);
		}
	}
}

static void intel_data_segments(void)
{
	static const u8 data[] = { 0, 3, 4, 5 };
	char words[60];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(data); i++) {
		struct row row = { .mode = MODE_PROT32,
				   .rule = "is accessed",
				   .emulator = words,
				   .set = { { 0x4814 + 2 * data[i], 0xc092 } } };

		snprintf(words, sizeof(words), "guest %s not ACCESSED", segment_name[data[i]]);
		run_rows(&row, 1, false);
		row.rule = "is readable";
		row.set[0].value = 0xc099;
		snprintf(words, sizeof(words), "guest CODE segment %s not READABLE", segment_name[data[i]]);
		run_rows(&row, 1, false);
	}
}

/* Bits that are reserved in RFLAGS. */
static void intel_rflags(void)
{
	static const u8 bits[] = { 3, 5, 15, 22, 31, 32, 63 };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bits); i++) {
		const struct row row = { MODE_LONG,
					 "reserved bits are 0",
					 "RFLAGS reserved bits are set",
					 { { 0x6820, 2 | 1ull << bits[i] } } };

		run_rows(&row, 1, false);
	}
}

/* The error code of each vector, as it is not to be. CPUs since CET leave it open. */
static void intel_error_codes(void)
{
	const u32 with_error = 1 << 8 | 1 << 10 | 1 << 11 | 1 << 12 | 1 << 13 | 1 << 14 | 1 << 17;
	unsigned int vector;

	skip_if_safe();
	if (host_msr(MSR_VMX_BASIC) >> 56 & 1)
		skip("this CPU does not look at it");
	for (vector = 0; vector < 32; vector++) {
		const struct row row = { MODE_LONG,
					 "an error code goes",
					 "broken error code",
					 { { 0x4016, 0x80000300 | (with_error >> vector & 1 ? 0 : 0x800) | vector } } };

		run_rows(&row, 1, false);
	}
}

/* -- AMD --------------------------------------------------------------------------------------------------------- */

/* What QEMU refuses. Where it does, the VMCB is not what it was: each has a guest of its own. */
/* clang-format off */
static const struct row amd_rows[] = {
	{ MODE_LONG, "EFER is 0xd00 (LME, LMA, NXE): SVME is 1", NULL, { { 0x4d0, 0xd00 } } },
	{ MODE_LONG, "NW is 0 where CD is 0", NULL, { { 0x558, 0xa0010031 } } },
	{ MODE_LONG, "bits 63:32 are 0", NULL, { { 0x558, HIGH | 0x80010031 } } },
	{ MODE_LONG, "physical-address width", NULL, { { 0x550, 1ull << 52 } } },
	{ MODE_LONG, "reserved bits are 0", NULL, { { 0x548, 0x8060 } } },
	{ MODE_LONG, "reserved bits are 0", NULL, { { 0x548, 1ull << 40 | 0x60 } } },
	{ MODE_LONG, "DR6 is 0x100000000: bits 63:32 are 0", NULL, { { 0x568, HIGH } } },
	{ MODE_LONG, "DR7 is 0x100000000: bits 63:32 are 0", NULL, { { 0x560, HIGH } } },
	{ MODE_LONG, "reserved bits are 0", NULL, { { 0x4d0, 1ull << 40 | 0x1500 } } },
	{ MODE_LONG, "needs PAE", NULL, { { 0x548, 0x40 } } },
	{ MODE_LONG, "needs PE", NULL, { { 0x558, 0x80010030 } } },
	{ MODE_LONG, "L and D are not both 1", NULL, { { 0x412, 0xe9b } } },
	{ MODE_LONG, "VMRUN is intercepted", NULL, { { 0x10, 0 } } },
	{ MODE_LONG, "IOPM_BASE_PA is 0x10000000000000: the map ends", NULL, { { 0x40, 1ull << 52 } } },
	{ MODE_LONG, "MSRPM_BASE_PA is 0x10000000000000: the map ends", NULL, { { 0x48, 1ull << 52 } } },
	{ MODE_LONG, "ASID is not 0", NULL, { { 0x58, 0 } } },
	{ MODE_LONG, "the type is 0, 2, 3 or 4", NULL, { { 0xa8, 0x80000120 } } },
	{ MODE_LONG, "the type is 0, 2, 3 or 4", NULL, { { 0xa8, 0x80000720 } } },
	{ MODE_LONG, "at most 31, and not 2", NULL, { { 0xa8, 0x80000302 } } },
	{ MODE_LONG, "at most 31, and not 2", NULL, { { 0xa8, 0x80000320 } } },
};
/* clang-format on */

static void amd(void)
{
	struct guest *g;
	unsigned int i;

	skip_if_safe();
	for (i = 0; i < ARRAY_SIZE(amd_rows); i++) {
		g = spinning_guest(amd_rows[i].mode);
		expect_refused(g, &amd_rows[i]);
		guest_destroy(g);
	}
}

/* -- both -------------------------------------------------------------------------------------------------------- */

/* What a client can break by KVM's own ioctls: 64-bit code with D/B set, which both vendors refuse. */
static struct guest *broken_by_client(void)
{
	struct guest *g = guest_create(MODE_LONG);
	struct kvm_sregs sregs = guest_sregs(g);

	guest_load(g, CODE64("nop"));
	sregs.cs.db = 1;
	guest_set_sregs(g, &sregs);
	diag("emulator: wrong CS.D_B/L");
	return g;
}

static void told_by_ioctl(void)
{
	struct guest *g = broken_by_client();
	struct pith_entry_failure failure;

	failure = get_failure(g);
	expect(!failure.hardware_reason && !failure.nr_rules && !*failure.text);
	expect_eq(guest_start(g), KVM_EXIT_FAIL_ENTRY);
	failure = get_failure(g);
	expect_eq(failure.hardware_reason, g->run->fail_entry.hardware_entry_failure_reason);
	expect(failure.nr_rules == 1);
	expect(strstr(failure.text, "not both 1") && strstr(failure.text, "type 11, S, DPL 0, P, L, D"));
	if (failed())
		diag("told: %s", failure.text);
	expect_errno(ioctl(g->vcpu, PITH_GET_ENTRY_FAILURE, NULL), EFAULT);
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		die("%s", path);
	close(fd);
}

static void told_by_tracepoint(void)
{
	static char trace[65536];
	struct guest *g;
	int fd;

	if (access(TRACING "events/pith", F_OK))
		skip("this kernel has no tracing");
	write_file(TRACING "events/pith/pith_entry_failed/enable", "1");
	g = broken_by_client();
	expect_eq(guest_start(g), KVM_EXIT_FAIL_ENTRY);
	write_file(TRACING "events/pith/pith_entry_failed/enable", "0");
	fd = open(TRACING "trace", O_RDONLY);
	if (fd < 0 || read(fd, trace, sizeof(trace) - 1) < 0)
		die("cannot read the trace");
	close(fd);
	expect(strstr(trace, "pith_entry_failed: vcpu 0 reason 0x") && strstr(trace, "not both 1"));
}

/* The guest goes on when its state is whole again. */
static void whole_again(void)
{
	struct guest *g = broken_by_client();
	struct kvm_sregs sregs;

	expect_eq(guest_start(g), KVM_EXIT_FAIL_ENTRY);
	guest_set_mode(g, MODE_LONG, false);
	sregs = guest_sregs(g);
	expect_eq(sregs.cs.db, 0);
	guest_load(g, CODE64("nop"));
	guest_start(g);
	expect_end(g);
}

/* What does not break a rule might harm the host. */
static void what_cannot_be_broken(void)
{
	struct pith_break_entry fields = { .nr = PITH_MAX_BROKEN_FIELDS + 1 };
	struct guest *g;

	skip_if_safe();
	g = spinning_guest(MODE_LONG);
	expect_errno(ioctl(g->vcpu, PITH_BREAK_ENTRY, NULL), EFAULT);
	expect_errno(ioctl(g->vcpu, PITH_BREAK_ENTRY, &fields), EINVAL);
	fields.nr = 0;
	expect_errno(ioctl(g->vcpu, PITH_BREAK_ENTRY, &fields), EINVAL);
	fields.nr = 1;
	fields.field[0].number = 0xffff;
	expect_errno(ioctl(g->vcpu, PITH_BREAK_ENTRY, &fields), EINVAL);
	fields.field[0].number = HIGH;
	expect_errno(ioctl(g->vcpu, PITH_BREAK_ENTRY, &fields), EINVAL);
	/* A host's RIP, an ASID: valid, and wrong. */
	fields.field[0].number = emulated_by_qemu() ? 0x58 : 0x6c16;
	fields.field[0].value = 0x1000;
	expect_errno(ioctl(g->vcpu, PITH_BREAK_ENTRY, &fields), EINVAL);
	expect_eq(ioctl(g->vcpu, KVM_RUN, 0), 0);
	expect_eq(g->run->exit_reason, KVM_EXIT_IO);
}

static void only_if_unsafe(void)
{
	struct pith_break_entry fields = { .nr = 1, .field[0] = { 0x58, 0 } };
	struct guest *g = guest_create(MODE_LONG);
	char value = 'N';
	int fd = open("/sys/module/pith/parameters/unsafe", O_RDONLY);

	if (fd < 0 || read(fd, &value, 1) != 1)
		skip("cannot read the module's parameter");
	if (value == 'Y')
		skip("the module is loaded with unsafe=1");
	expect_errno(ioctl(g->vcpu, PITH_BREAK_ENTRY, &fields), EPERM);
}

static void on_intel(void (*test)(void))
{
	if (emulated_by_qemu())
		skip("only on Intel");
	test();
}

#define INTEL(name)                       \
	static void on_intel_##name(void) \
	{                                 \
		on_intel(intel_##name);   \
	}
INTEL(allowed)
INTEL(controls)
INTEL(host)
INTEL(host_selectors)
INTEL(guest)
INTEL(msr_loads)
INTEL(segments)
INTEL(data_segments)
INTEL(rflags)
INTEL(error_codes)

static void on_amd(void)
{
	if (!emulated_by_qemu())
		skip("only on AMD");
	amd();
}

static const struct test tests[] = {
	{ "an ioctl tells which rule a refused entry broke", told_by_ioctl },
	{ "a tracepoint tells which rule a refused entry broke", told_by_tracepoint },
	{ "after a refused entry the guest can go on", whole_again },
	{ "fields are broken with unsafe=1 only", only_if_unsafe },
	{ "fields are not set to what is valid", what_cannot_be_broken },
	{ "Intel: controls that the CPU does not have", on_intel_allowed },
	{ "Intel: controls that do not go together", on_intel_controls },
	{ "Intel: host state", on_intel_host },
	{ "Intel: the host's selectors", on_intel_host_selectors },
	{ "Intel: guest state", on_intel_guest },
	{ "Intel: MSRs that an entry loads", on_intel_msr_loads },
	{ "Intel: segment registers", on_intel_segments },
	{ "Intel: data segments", on_intel_data_segments },
	{ "Intel: RFLAGS", on_intel_rflags },
	{ "Intel: error codes of injected exceptions", on_intel_error_codes },
	{ "AMD: what QEMU refuses", on_amd },
};

KTAP_MAIN(tests)
