// SPDX-License-Identifier: GPL-2.0
/*
 * The task priority by CR8: what it holds back comes as soon as it no longer does, whoever lowers it and however. CPUs
 * with a TPR shadow tell only of a CR8 that falls below a threshold.
 * Source: SDM volume 3, "Task and Processor Priorities", "Interaction of Task Priorities between CR8 and APIC".
 */
#include <errno.h>
#include <string.h>

#include "machine.h"

#define VECTOR_3 0x33
#define VECTOR_4 0x44
#define VECTOR_6 0x66

static unsigned int seen(void)
{
	return taken[0][VECTOR_3] * 0x40 + taken[0][VECTOR_4] * 8 + taken[0][VECTOR_6];
}

static u64 read_cr8(void)
{
	u64 value;

	asm volatile("mov %%cr8, %0" : "=r"(value));
	return value;
}

static void self(unsigned int vector)
{
	apic_send(ICR_SELF | ICR_ASSERT | vector, 0);
}

static void expect_in_order(struct machine *m, const u8 *numbers, unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++)
		machine_expect(m, 0, numbers[i]);
}

static struct machine begin(bool in_x2apic, void (*guest)(void))
{
	struct machine m = machine_create(1, WITH_CHIPS);

	x2apic = in_x2apic;
	machine_start(&m, 0, guest);
	return m;
}

/* Interrupts are on all the time: each comes in the instruction after the write to CR8 that lets it. */
static void guest_lowers(void)
{
	apic_enable();
	asm volatile("sti");
	write_cr8(15);
	self(VECTOR_3);
	self(VECTOR_4);
	self(VECTOR_6);
	sync_host(seen());
	write_cr8(6);
	sync_host(seen());
	write_cr8(5);
	sync_host(seen());
	write_cr8(4);
	sync_host(seen());
	write_cr8(3);
	sync_host(seen());
	write_cr8(9);
	write_cr8(0);
	sync_host(seen());
	sync_host(read_cr8() | apic_read(APIC_TPR));
	write_cr8(7);
	sync_host(read_cr8() << 4 | apic_read(APIC_TPR));
}

static void lowers(bool in_x2apic)
{
	static const u8 numbers[] = { 0, 0, 1, 1, 011, 0111, 0, 0x70 };
	struct machine m = begin(in_x2apic, guest_lowers);

	expect_in_order(&m, numbers, ARRAY_SIZE(numbers));
	machine_destroy(&m);
}

static void test_lowers_xapic(void)
{
	lowers(false);
}

static void test_lowers_x2apic(void)
{
	lowers(true);
}

/* TPR by its register, below the threshold that CR8 was given, while a higher interrupt is in service. */
static void in_service(unsigned int vector)
{
	if (vector != VECTOR_6)
		return;
	write_cr8(4);
	self(VECTOR_3); /* held back by TPR, and by the one in service */
	apic_write(APIC_TPR, 0x20);
	sync_host(seen());
	write_cr8(8); /* without an exit; the EOI comes next */
}

static void guest_mixes(void)
{
	apic_enable();
	asm volatile("sti");
	self(VECTOR_6);
	sync_host(seen());
	write_cr8(2);
	sync_host(seen());
}

static void mixes(bool in_x2apic)
{
	static const u8 numbers[] = { 1, 1, 0101 };
	struct machine m;

	on_interrupt = in_service;
	m = begin(in_x2apic, guest_mixes);
	expect_in_order(&m, numbers, ARRAY_SIZE(numbers));
	machine_destroy(&m);
}

static void test_mixes_xapic(void)
{
	mixes(false);
}

static void test_mixes_x2apic(void)
{
	mixes(true);
}

/* The client sees the guest's CR8 and TPR, and changes it below what holds an interrupt back. */
static void guest_waits(void)
{
	apic_enable();
	asm volatile("sti");
	write_cr8(9);
	self(VECTOR_4);
	sync_host(seen());
	sync_host(seen());
	write_cr8(9);
	self(VECTOR_6);
	sync_host(seen());
	sync_host(seen());
}

static u32 lapic_reg(const struct kvm_lapic_state *state, u32 offset)
{
	u32 value;

	memcpy(&value, state->regs + offset, sizeof(value));
	return value;
}

static void test_client(void)
{
	struct machine m = begin(true, guest_waits);
	struct kvm_lapic_state lapic;
	struct kvm_sregs sregs;

	machine_expect(&m, 0, 0);
	expect_eq(m.vcpu[0].run->cr8, 9);
	expect_errno(ioctl(m.vcpu[0].fd, KVM_GET_SREGS, &sregs), 0);
	expect_eq(sregs.cr8, 9);
	expect_errno(ioctl(m.vcpu[0].fd, KVM_GET_LAPIC, &lapic), 0);
	expect_eq(lapic_reg(&lapic, APIC_TPR), 0x90);
	expect_eq(lapic_reg(&lapic, 0xa0), 0x90); /* PPR */
	sregs.cr8 = 1;
	expect_errno(ioctl(m.vcpu[0].fd, KVM_SET_SREGS, &sregs), 0);
	machine_expect(&m, 0, 010);
	machine_expect(&m, 0, 010);
	expect_errno(ioctl(m.vcpu[0].fd, KVM_GET_LAPIC, &lapic), 0);
	lapic.regs[APIC_TPR] = 0x30;
	expect_errno(ioctl(m.vcpu[0].fd, KVM_SET_LAPIC, &lapic), 0);
	machine_expect(&m, 0, 011);
	machine_destroy(&m);
}

/* Those that come from elsewhere while CR8 holds them back. */
static void guest_polls(void)
{
	apic_enable();
	write_cr8(10);
	sync_host(1);
	asm volatile("sti");
	sync_host(seen());
	write_cr8(5);
	sync_host(seen());
	write_cr8(1);
	sync_host(seen());
}

static void test_message(void)
{
	struct kvm_msi msi = { .address_lo = 0xfee00000, .data = VECTOR_4 };
	struct machine m = begin(true, guest_polls);

	machine_expect(&m, 0, 1);
	expect_eq(ioctl(m.vm, KVM_SIGNAL_MSI, &msi), 1);
	machine_expect(&m, 0, 0);
	msi.data = VECTOR_6;
	expect_eq(ioctl(m.vm, KVM_SIGNAL_MSI, &msi), 1);
	machine_expect(&m, 0, 1);
	msi.data = VECTOR_3;
	expect_eq(ioctl(m.vm, KVM_SIGNAL_MSI, &msi), 1);
	machine_expect(&m, 0, 0111);
	machine_destroy(&m);
}

static const struct test tests[] = {
	{ "CR8 lowered in steps, xAPIC", test_lowers_xapic },
	{ "CR8 lowered in steps, x2APIC", test_lowers_x2apic },
	{ "CR8 and TPR in turn, xAPIC", test_mixes_xapic },
	{ "CR8 and TPR in turn, x2APIC", test_mixes_x2apic },
	{ "the client and CR8", test_client },
	{ "messages that CR8 holds back", test_message },
};

KTAP_MAIN(tests)
