// SPDX-License-Identifier: GPL-2.0
/*
 * A local APIC in x2APIC mode, for which the CPU may answer: what it must not answer for, what the client sees of it, and
 * that it does without exits what it can. Source: SDM volume 3, "APIC Virtualization and Virtual Interrupts", "x2APIC Register
 * Address Space".
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "machine.h"

#define VECTOR_4 0x44
#define VECTOR_6 0x66
#define VECTOR_GP 13

#define APIC_LVR 0x30
#define APIC_ISR 0x100
#define APIC_ESR 0x280
#define APIC_SELF_IPI 0x3f0
#define X2APIC(reg) (MSR_X2APIC + ((reg) >> 4))

static void set_lapic_reg(struct kvm_lapic_state *state, u32 offset, u32 value)
{
	memcpy(state->regs + offset, &value, sizeof(value));
}

static u32 lapic_reg(const struct kvm_lapic_state *state, u32 offset)
{
	u32 value;

	memcpy(&value, state->regs + offset, sizeof(value));
	return value;
}

static struct machine begin(unsigned int nr_vcpus, bool in_x2apic, void (*guest)(void))
{
	struct machine m = machine_create(nr_vcpus, WITH_CHIPS);

	x2apic = in_x2apic;
	machine_start(&m, 0, guest);
	return m;
}

/* -- what is refused --------------------------------------------------------------------------------------------- */

/* Counts, and goes on behind the instruction, which is RDMSR or WRMSR: two bytes. */
unsigned int refused;
void skip_instruction(void);
asm(".pushsection .text\n"
    "skip_instruction:\n"
    "add $8, %rsp\n"
    "incl refused(%rip)\n"
    "addq $2, (%rsp)\n"
    "iretq\n"
    ".popsection\n");

static void catch_gp(void)
{
	struct {
		u16 limit;
		u64 base;
	} __attribute__((packed)) idtr;
	u64 entry = (u64)skip_instruction, *gate;

	asm volatile("sidt %0" : "=m"(idtr));
	gate = (u64 *)idtr.base + 2 * VECTOR_GP;
	gate[0] = (entry & 0xffff) | 8ull << 16 | 0x8eull << 40 | (entry >> 16 & 0xffff) << 48;
	gate[1] = entry >> 32;
	asm volatile("" : : : "memory");
}

static u8 refusals(void (*try)(u32 reg), u32 first, u32 last)
{
	unsigned int before = READ(refused);
	u32 reg;

	for (reg = first; reg <= last; reg += 0x10)
		try(reg);
	return READ(refused) - before;
}

static void try_read(u32 reg)
{
	rdmsr(X2APIC(reg));
}

static void try_write(u32 reg)
{
	wrmsr(X2APIC(reg), 1ull << 32);
}

static void guest_reads_what_is_not_there(void)
{
	catch_gp();
	apic_enable();
	sync_host(refusals(try_read, 0x20, 0x30));
	sync_host(refusals(try_read, APIC_TPR, APIC_TPR));
	sync_host(refusals(try_read, APIC_ISR, 0x280));
	sync_host(refusals(try_read, 0x320, 0x390));
	sync_host(refusals(try_read, 0x00, 0x10));
	sync_host(refusals(try_read, 0x90, 0x90));
	sync_host(refusals(try_read, APIC_EOI, 0xc0));
	sync_host(refusals(try_read, 0xe0, 0xe0));
	sync_host(refusals(try_read, 0x290, 0x2e0));
	sync_host(refusals(try_read, APIC_ICR2, APIC_ICR2));
	sync_host(refusals(try_read, 0x3a0, 0x3d0));
	sync_host(refusals(try_read, APIC_SELF_IPI, 0xff0));
	sync_host(refusals(try_write, 0x00, APIC_ISR + 0x1f0)); /* none takes 33 bits, but ICR */
	sync_host(refusals(try_write, APIC_SELF_IPI, APIC_SELF_IPI));
}

static void test_refusals(void)
{
	static const u8 numbers[] = { 0, 0, 0, 0, 2, 1, 2, 1, 6, 1, 4, 0xc1, 48, 1 };
	struct machine m = begin(1, true, guest_reads_what_is_not_there);

	for (unsigned int i = 0; i < ARRAY_SIZE(numbers); i++)
		machine_expect(&m, 0, numbers[i]);
	machine_destroy(&m);
}

/* In x2APIC mode, and then in no mode, and then in xAPIC mode. */
static void guest_changes_modes(void)
{
	u64 base;

	catch_gp();
	apic_enable();
	sync_host(rdmsr(X2APIC(APIC_LVR)));
	base = rdmsr(MSR_APIC_BASE);
	wrmsr(MSR_APIC_BASE, base & ~(3ull << 10));
	sync_host(refusals(try_read, 0x10, 0xff0));
	sync_host(refusals(try_write, 0x10, 0xff0));
	wrmsr(MSR_APIC_BASE, (base & ~(3ull << 10)) | 1 << 11);
	sync_host(refusals(try_read, 0x10, 0xff0));
	sync_host(refusals(try_write, 0x10, 0xff0));
	x2apic = false;
	apic_enable();
	apic_write(APIC_TPR, 0x20);
	sync_host(apic_read(APIC_TPR));
}

static void test_modes(void)
{
	struct machine m = begin(1, true, guest_changes_modes);

	machine_expect(&m, 0, 0x14);
	for (int i = 0; i < 4; i++)
		machine_expect(&m, 0, 255);
	machine_expect(&m, 0, 0x20);
	machine_destroy(&m);
}

/* -- what is not answered from memory ---------------------------------------------------------------------------- */

static void guest_makes_errors(void)
{
	apic_enable();
	wrmsr(X2APIC(APIC_SELF_IPI), 3);
	apic_write(APIC_ESR, 0);
	sync_host(apic_read(APIC_ESR));
	apic_write(APIC_ESR, 0);
	sync_host(apic_read(APIC_ESR));
}

static void test_errors(void)
{
	struct machine m = begin(1, true, guest_makes_errors);

	machine_expect(&m, 0, 1 << 5); /* send illegal vector */
	machine_expect(&m, 0, 0);
	machine_destroy(&m);
}

static void guest_counts(void)
{
	u32 count, last;

	apic_enable();
	apic_write(APIC_TMICT, ~0u);
	count = apic_read(APIC_TMCCT);
	sync_host(count && ~count);
	do
		last = apic_read(APIC_TMCCT);
	while (last >= count);
	sync_host(1);
}

static void test_count(void)
{
	struct machine m = begin(1, true, guest_counts);

	machine_expect(&m, 0, 1);
	machine_expect(&m, 0, 1);
	machine_destroy(&m);
}

/* -- the client -------------------------------------------------------------------------------------------------- */

/* One in service, another requested meanwhile, which the client replaces by a third. */
static void stop_in_service(unsigned int vector)
{
	if (vector != VECTOR_6)
		return;
	apic_send(ICR_SELF | ICR_ASSERT | VECTOR_4, 0);
	sync_host(1);
}

static void guest_is_stopped(void)
{
	apic_enable();
	asm volatile("sti");
	apic_send(ICR_SELF | ICR_ASSERT | VECTOR_6, 0);
	open_window();
	sync_host(taken[0][VECTOR_4] << 4 | taken[0][VECTOR_4 + 1]);
}

static void client(bool in_x2apic)
{
	struct kvm_lapic_state lapic;
	struct machine m;

	on_interrupt = stop_in_service;
	m = begin(1, in_x2apic, guest_is_stopped);
	machine_expect(&m, 0, 1);
	expect_errno(ioctl(m.vcpu[0].fd, KVM_GET_LAPIC, &lapic), 0);
	expect_eq(lapic_reg(&lapic, APIC_ISR + 0x30), 1u << (VECTOR_6 & 31));
	expect_eq(lapic_reg(&lapic, APIC_IRR + 0x20), 1u << (VECTOR_4 & 31));
	expect_eq(lapic_reg(&lapic, 0xa0), VECTOR_6 & 0xf0); /* PPR */
	set_lapic_reg(&lapic, APIC_IRR + 0x20, 1u << ((VECTOR_4 + 1) & 31));
	expect_errno(ioctl(m.vcpu[0].fd, KVM_SET_LAPIC, &lapic), 0);
	machine_expect(&m, 0, 1);
	expect_errno(ioctl(m.vcpu[0].fd, KVM_GET_LAPIC, &lapic), 0);
	expect_eq(lapic_reg(&lapic, APIC_ISR + 0x30), 0);
	expect_eq(lapic_reg(&lapic, APIC_IRR + 0x20), 0);
	machine_destroy(&m);
}

static void test_client_xapic(void)
{
	client(false);
}

static void test_client_x2apic(void)
{
	client(true);
}

/* -- exits ------------------------------------------------------------------------------------------------------- */

#define ROUNDS 100

static void exit_once(void)
{
	u32 eax = 0, ebx, ecx = 0, edx;

	asm volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
}

static void self_ipi(void)
{
	unsigned int before = READ(taken[0][VECTOR_6]);

	wrmsr(MSR_X2APIC_SELF_IPI, VECTOR_6);
	while (READ(taken[0][VECTOR_6]) == before)
		;
}

static void task_priority(void)
{
	write_cr8(3);
	wrmsr(X2APIC(APIC_TPR), 0);
}

static void read_registers(void)
{
	rdmsr(X2APIC(APIC_SVR));
	rdmsr(X2APIC(APIC_IRR));
	rdmsr(MSR_X2APIC_ICR);
}

/* The host's own interrupts come in between, but not always. */
static u64 least_ticks(void (*round)(void))
{
	u64 least = ~0ull;

	for (int i = 0; i < ROUNDS; i++) {
		u64 start = __builtin_ia32_rdtsc(), ticks;

		round();
		ticks = __builtin_ia32_rdtsc() - start;
		if (ticks < least)
			least = ticks;
	}
	return least;
}

static u64 exit_ticks, self_ipi_ticks, task_priority_ticks, read_ticks;

static void guest_saves_exits(void)
{
	apic_enable();
	asm volatile("sti");
	exit_ticks = least_ticks(exit_once);
	self_ipi_ticks = least_ticks(self_ipi);
	task_priority_ticks = least_ticks(task_priority);
	read_ticks = least_ticks(read_registers);
	sync_host(1);
}

/* Of what has no exit the least cost is a part of the least cost of an exit, whatever a tick is. */
static void test_exits(void)
{
	struct machine m;

	if (!has_apicv())
		skip("the CPU does not virtualize local APICs");
	m = begin(1, true, guest_saves_exits);
	machine_expect(&m, 0, 1);
	diag("ticks: CPUID %lu, self-IPI and EOI %lu, two writes of TPR %lu, three reads %lu", exit_ticks,
	     self_ipi_ticks, task_priority_ticks, read_ticks);
	expect(self_ipi_ticks < exit_ticks);
	expect(task_priority_ticks < exit_ticks);
	expect(read_ticks < exit_ticks);
	machine_destroy(&m);
}

/* -- from other CPUs --------------------------------------------------------------------------------------------- */

#define MESSAGES 200u

static void guest_computes(void)
{
	apic_enable();
	asm volatile("sti");
	sync_host(1);
	while (READ(taken[0][VECTOR_6]) < MESSAGES)
		;
	sync_host(2);
}

static void pin_to(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		skip("there is no CPU %d", cpu);
}

static void *compute(void *machine)
{
	pin_to(1);
	machine_expect(machine, 0, 2);
	return NULL;
}

/* The kernel's count of the IPIs that kick a vCPU, of all CPUs. */
static unsigned long reschedules(void)
{
	FILE *f = fopen("/proc/interrupts", "r");
	char line[1024], *at, *end;
	unsigned long sum = 0;

	while (f && fgets(line, sizeof(line), f)) {
		if (!strstr(line, "RES:"))
			continue;
		end = strchr(line, ':') + 1;
		do {
			at = end;
			sum += strtoul(at, &end, 10);
		} while (end != at);
	}
	if (f)
		fclose(f);
	return sum;
}

static bool posts_interrupts(void)
{
	FILE *f = fopen("/proc/cpuinfo", "r");
	bool found = false;
	char line[4096];

	while (f && fgets(line, sizeof(line), f))
		found |= strstr(line, "posted_intr") != NULL;
	if (f)
		fclose(f);
	return found && has_apicv();
}

/* All of them arrive; where they can be posted nobody has to kick the vCPU for that. */
static void test_messages(void)
{
	struct kvm_msi msi = { .address_lo = 0xfee00000, .data = VECTOR_6 };
	struct machine m = begin(1, true, guest_computes);
	unsigned long kicks;
	pthread_t thread;

	pin_to(0);
	machine_expect(&m, 0, 1);
	pthread_create(&thread, NULL, compute, &m);
	kicks = reschedules();
	for (unsigned int i = 0; i < MESSAGES; i++) {
		expect_eq(ioctl(m.vm, KVM_SIGNAL_MSI, &msi), 1);
		while (READ(taken[0][VECTOR_6]) == i)
			;
	}
	kicks = reschedules() - kicks;
	pthread_join(thread, NULL);
	diag("%u messages, %lu kicks", MESSAGES, kicks);
	if (posts_interrupts())
		expect(kicks < MESSAGES / 2);
	machine_destroy(&m);
}

static const struct test tests[] = {
	{ "what x2APIC mode refuses", test_refusals },
	{ "what other modes have of it", test_modes },
	{ "errors", test_errors },
	{ "the current count", test_count },
	{ "the client and what is in service, xAPIC", test_client_xapic },
	{ "the client and what is in service, x2APIC", test_client_x2apic },
	{ "what needs no exit", test_exits },
	{ "messages to a vCPU that computes", test_messages },
};

KTAP_MAIN(tests)
