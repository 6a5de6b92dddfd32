// SPDX-License-Identifier: GPL-2.0
/*
 * What a client does for guests whose accesses to TPR exit: it hears of each, and names a word in guest memory that
 * takes TPR's place. Source: KVM's api.rst, "KVM_TPR_ACCESS_REPORTING", "KVM_SET_VAPIC_ADDR"; SDM volume 3, "Task and
 * Processor Priorities".
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "machine.h"

#define VECTOR_6 0x66
#define MAX_LENGTH 7 /* of the instructions below */

static struct machine begin(bool in_x2apic, void (*guest)(void))
{
	struct machine m = machine_create(1, WITH_CHIPS);

	x2apic = in_x2apic;
	machine_start(&m, 0, guest);
	return m;
}

/* -- reports ----------------------------------------------------------------------------------------------------- */

extern char tpr_store[], tpr_load[], tpr_wrmsr[], tpr_rdmsr[];

static void guest_accesses(void)
{
	u32 value = 0x50, low = 0x60, high = 0;
	u64 cr8 = 2;

	apic_enable();
	sync_host(1);
	if (x2apic) {
		asm volatile("tpr_wrmsr: wrmsr" : : "a"(low), "d"(high), "c"(MSR_X2APIC + (APIC_TPR >> 4)));
		asm volatile("tpr_rdmsr: rdmsr" : "=a"(low), "=d"(high) : "c"(MSR_X2APIC + (APIC_TPR >> 4)));
	} else {
		asm volatile("tpr_store: movl %0, (%1)" : : "r"(value), "r"(LAPIC_BASE + APIC_TPR) : "memory");
		asm volatile("tpr_load: movl (%1), %0" : "=r"(low) : "r"(LAPIC_BASE + APIC_TPR));
	}
	asm volatile("mov %0, %%cr8" : : "r"(cr8));
	asm volatile("mov %%cr8, %0" : "=r"(cr8));
	sync_host(low);
	apic_write(APIC_TPR, 0x10);
	sync_host(2);
}

/*
 * CPUs that answer for TPR themselves exit for none of this; stock KVM uses what it calls FlexPriority for that as
 * well.
 */
static bool tpr_is_virtualized(bool in_x2apic)
{
	int fd = open("/sys/module/kvm_intel/parameters/flexpriority", O_RDONLY);
	char value = 'N';

	if (fd >= 0 && read(fd, &value, 1) != 1)
		value = 'N';
	close(fd);
	return has_apicv() || (value == 'Y' && !in_x2apic);
}

/* The instruction is complete, and the client sees where it was. */
static void expect_report(struct machine *m, const char *rip, bool write)
{
	struct kvm_run *run = m->vcpu[0].run;
	struct kvm_regs regs;

	expect_eq(machine_run(m, 0), -1);
	expect_eq(run->exit_reason, KVM_EXIT_TPR_ACCESS);
	expect_eq(run->tpr_access.rip, (u64)rip);
	expect_eq(run->tpr_access.is_write, write);
	expect_errno(ioctl(m->vcpu[0].fd, KVM_GET_REGS, &regs), 0);
	expect(regs.rip > (u64)rip && regs.rip <= (u64)rip + MAX_LENGTH);
}

static void reports(bool in_x2apic)
{
	struct kvm_tpr_access_ctl on = { .enabled = 1 }, off = {}, flags = { .enabled = 1, .flags = 1 };
	struct machine m;

	if (tpr_is_virtualized(in_x2apic))
		skip("the CPU answers for TPR");
	m = begin(in_x2apic, guest_accesses);
	expect_eq(ioctl(m.vm, KVM_CHECK_EXTENSION, KVM_CAP_VAPIC), 1);
	expect_errno(ioctl(m.vcpu[0].fd, KVM_TPR_ACCESS_REPORTING, &flags), EINVAL);
	machine_expect(&m, 0, 1);
	expect_errno(ioctl(m.vcpu[0].fd, KVM_TPR_ACCESS_REPORTING, &on), 0);
	if (in_x2apic) {
		expect_report(&m, tpr_wrmsr, true);
		expect_eq(m.vcpu[0].run->cr8, 6);
		expect_report(&m, tpr_rdmsr, false);
	} else {
		expect_report(&m, tpr_store, true);
		expect_eq(m.vcpu[0].run->cr8, 5);
		expect_report(&m, tpr_load, false);
	}
	machine_expect(&m, 0, in_x2apic ? 0x60 : 0x50);
	expect_errno(ioctl(m.vcpu[0].fd, KVM_TPR_ACCESS_REPORTING, &off), 0);
	machine_expect(&m, 0, 2);
	machine_destroy(&m);
}

static void test_reports_xapic(void)
{
	reports(false);
}

static void test_reports_x2apic(void)
{
	reports(true);
}

/* -- the word ---------------------------------------------------------------------------------------------------- */

static union {
	u32 all;
	struct {
		u8 tpr, in_service, unused, requested;
	};
} word;

static u8 in_service_seen;

static void set_word(struct machine *m, u64 gpa, int error)
{
	const struct kvm_vapic_addr vapic = { .vapic_addr = gpa };

	expect_errno(ioctl(m->vcpu[0].fd, KVM_SET_VAPIC_ADDR, &vapic), error);
}

static void expect_tpr(struct machine *m, u32 tpr)
{
	struct kvm_lapic_state lapic;

	expect_errno(ioctl(m->vcpu[0].fd, KVM_GET_LAPIC, &lapic), 0);
	expect_eq((u8)lapic.regs[APIC_TPR], tpr);
	expect_eq(m->vcpu[0].run->cr8, tpr >> 4);
}

static void self_ipi(void)
{
	apic_send(ICR_SELF | ICR_ASSERT | VECTOR_6, 0);
}

static void look_at_word(unsigned int vector)
{
	if (vector == VECTOR_6)
		in_service_seen = READ(word.in_service);
}

static void guest_uses_word(void)
{
	apic_enable();
	apic_write(APIC_TPR, 0x30);
	sync_host(1);
	sync_host(READ(word.tpr));
	*(volatile u8 *)&word.tpr = 0x70;
	sync_host(2);
	asm volatile("sti");
	self_ipi();
	sync_host(taken[0][VECTOR_6]);
	sync_host(READ(word.requested));
	*(volatile u8 *)&word.tpr = 0x20;
	sync_host(3);
	sync_host(taken[0][VECTOR_6]);
	sync_host(in_service_seen);
	sync_host(READ(word.in_service) | READ(word.requested));
	sync_host(4);
	*(volatile u8 *)&word.tpr = 0x90;
	sync_host(5);
}

static void test_word(void)
{
	struct machine m;

	on_interrupt = look_at_word;
	m = begin(false, guest_uses_word);
	machine_expect(&m, 0, 1);
	word.tpr = 0x30;
	set_word(&m, (u64)&word, 0);
	machine_expect(&m, 0, 0x30);
	machine_expect(&m, 0, 2);
	expect_tpr(&m, 0x70);
	machine_expect(&m, 0, 0);
	machine_expect(&m, 0, VECTOR_6);
	machine_expect(&m, 0, 3);
	expect_tpr(&m, 0x20);
	machine_expect(&m, 0, 1);
	/* A CPU that delivers interrupts by itself does not tell in between. */
	expect_eq(machine_run(&m, 0), has_apicv() ? in_service_seen : VECTOR_6 & 0xf0);
	machine_expect(&m, 0, 0);
	machine_expect(&m, 0, 4);
	set_word(&m, 0, 0);
	machine_expect(&m, 0, 5);
	expect_tpr(&m, 0x20);
	machine_destroy(&m);
}

/* CPUs that answer for TPR have no exit at it. */
static void exit_once(void)
{
	u32 eax = 0, ebx, ecx = 0, edx;

	asm volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
}

/*
 * The register counts when the word is named, and when it is written all the same: the word follows. (Stock KVM goes by
 * the word, unless it has an interrupt to look for.)
 */
static void guest_mixes(void)
{
	apic_enable();
	sync_host(1);
	*(volatile u8 *)&word.tpr = 0x20;
	apic_write(APIC_TPR, 0x50);
	exit_once();
	sync_host(READ(word.tpr));
	*(volatile u8 *)&word.tpr = 0x40;
	exit_once();
	sync_host(apic_read(APIC_TPR));
}

static void test_mixed(void)
{
	struct machine m = begin(false, guest_mixes);

	machine_expect(&m, 0, 1);
	set_word(&m, (u64)&word, 0);
	machine_expect(&m, 0, 0x50);
	machine_expect(&m, 0, 0x40);
	expect_tpr(&m, 0x40);
	machine_destroy(&m);
}

/* What the word lets in wakes the CPU from the halt that follows. */
static void guest_halts(void)
{
	apic_enable();
	apic_write(APIC_TPR, 0xf0);
	sync_host(1);
	self_ipi();
	*(volatile u8 *)&word.tpr = 0;
	wait_for(VECTOR_6, 1);
	sync_host(2);
}

static void test_halt(void)
{
	struct machine m = begin(false, guest_halts);

	machine_expect(&m, 0, 1);
	set_word(&m, (u64)&word, 0);
	machine_expect(&m, 0, 2);
	machine_destroy(&m);
}

/* Memory that goes is no word any more, and TPR stays what it was. */
static void guest_goes_on(void)
{
	apic_enable();
	apic_write(APIC_TPR, 0x30);
	for (;;)
		sync_host(1);
}

static void test_no_memory(void)
{
	static u8 page[0x1000] __attribute__((aligned(0x1000)));
	struct kvm_userspace_memory_region region = {
		.slot = 9, .guest_phys_addr = 1ul << 36, .memory_size = sizeof(page), .userspace_addr = (u64)page
	};
	struct machine m = begin(false, guest_goes_on);

	machine_expect(&m, 0, 1);
	set_word(&m, region.guest_phys_addr, EINVAL);
	expect_errno(ioctl(m.vm, KVM_SET_USER_MEMORY_REGION, &region), 0);
	set_word(&m, region.guest_phys_addr + sizeof(page) - 3, EINVAL);
	set_word(&m, region.guest_phys_addr + 2, 0);
	page[2] = 0x30;
	machine_expect(&m, 0, 1);
	page[2] = 0x80;
	machine_expect(&m, 0, 1);
	expect_tpr(&m, 0x80);
	region.memory_size = 0;
	expect_errno(ioctl(m.vm, KVM_SET_USER_MEMORY_REGION, &region), 0);
	page[2] = 0x10;
	machine_expect(&m, 0, 1);
	machine_expect(&m, 0, 1);
	expect_tpr(&m, 0x80);
	machine_destroy(&m);
}

static const struct test tests[] = {
	{ "reports, xAPIC", test_reports_xapic }, { "reports, x2APIC", test_reports_x2apic },
	{ "a word in memory", test_word },	  { "the register beside the word", test_mixed },
	{ "HLT with a word", test_halt },	  { "where no memory is", test_no_memory },
};

KTAP_MAIN(tests)
