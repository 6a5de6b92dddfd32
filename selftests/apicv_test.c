// SPDX-License-Identifier: GPL-2.0
/*
 * Local APICs for which the CPU may answer, by MSRs and in memory: what it must not answer for, what the client sees of
 * it, and that it does without exits what it can. Source: SDM volume 3, "APIC Virtualization and Virtual Interrupts",
 * "x2APIC Register Address Space".
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "machine.h"
#include "stats.h"

#define VECTOR_4 0x44
#define VECTOR_6 0x66
#define VECTOR_GP 13

#define APIC_LVR 0x30
#define APIC_PPR 0xa0
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

static u64 read_cr8(void)
{
	u64 value;

	asm volatile("mov %%cr8, %0" : "=r"(value));
	return value;
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
	apic_send(ICR_SELF | ICR_ASSERT | 3, 0);
	apic_write(APIC_ESR, 0);
	sync_host(apic_read(APIC_ESR));
	apic_write(APIC_ESR, 0);
	sync_host(apic_read(APIC_ESR));
}

static void errors(bool in_x2apic)
{
	struct machine m = begin(1, in_x2apic, guest_makes_errors);

	machine_expect(&m, 0, 1 << 5); /* send illegal vector */
	machine_expect(&m, 0, 0);
	machine_destroy(&m);
}

static void test_errors_xapic(void)
{
	errors(false);
}

static void test_errors_x2apic(void)
{
	errors(true);
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

static void count(bool in_x2apic)
{
	struct machine m = begin(1, in_x2apic, guest_counts);

	machine_expect(&m, 0, 1);
	machine_expect(&m, 0, 1);
	machine_destroy(&m);
}

static void test_count_xapic(void)
{
	count(false);
}

static void test_count_x2apic(void)
{
	count(true);
}

/* Registers and widths that CPUs leave to software, beside such that they do not. */
static void guest_reads_in_memory(void)
{
	u8 *tpr = (u8 *)LAPIC_BASE + APIC_TPR;

	apic_enable();
	apic_write(APIC_TPR, 0x35);
	sync_host(apic_read(APIC_TPR));
	sync_host(apic_read(APIC_PPR));
	sync_host(*(volatile u8 *)tpr);
	sync_host(*(volatile u16 *)(tpr + 1));
	apic_write(APIC_TPR, 0x20);
	apic_write(APIC_PPR, 0x70);
	apic_write(APIC_LVR, 0);
	sync_host(apic_read(APIC_PPR));
	sync_host(apic_read(APIC_LVR));
	sync_host(read_cr8());
	apic_write(APIC_ESR, 0);
	apic_read(APIC_ESR + 0x20); /* reserved */
	apic_write(APIC_ESR, 0);
	sync_host(apic_read(APIC_ESR));
	apic_write(APIC_ID, 0x7fffffff);
	sync_host(apic_read(APIC_ID) >> 24);
	sync_host(apic_read(APIC_ID));
	apic_write(APIC_ICR2, 0x12345678);
	sync_host(apic_read(APIC_ICR2) >> 24);
}

static void test_memory(void)
{
	static const u8 numbers[] = { 0x35, 0x35, 0x35, 0, 0x20, 0x14, 2, 1 << 7, 0x7f, 0, 0x12 };
	struct machine m = begin(1, false, guest_reads_in_memory);

	for (unsigned int i = 0; i < ARRAY_SIZE(numbers); i++)
		machine_expect(&m, 0, numbers[i]);
	machine_destroy(&m);
}

/* -- where it is -------------------------------------------------------------------------------------------------- */

#define ELSEWHERE 0xfed40000ul

static unsigned int nobody_at(unsigned long address)
{
	mmio_write32(address + APIC_TPR, 0x50);
	return mmio_read32(address + APIC_TPR) != 0x50;
}

/* One goes to another mode, and comes back by another address, while the other one stays. */
static void guest_moves(void)
{
	u64 base = rdmsr(MSR_APIC_BASE);

	apic_enable();
	apic_write(APIC_TPR, 0x20);
	sync_host(apic_read(APIC_TPR));
	wrmsr(MSR_APIC_BASE, base | 3 << 10);
	sync_host(nobody_at(LAPIC_BASE));
	sync_host(rdmsr(X2APIC(APIC_TPR)));
	wrmsr(MSR_APIC_BASE, base & ~(3ull << 10));
	sync_host(nobody_at(LAPIC_BASE));
	wrmsr(MSR_APIC_BASE, (base & 0xfff) | ELSEWHERE);
	mmio_write32(ELSEWHERE + APIC_TPR, 0x30);
	sync_host(mmio_read32(ELSEWHERE + APIC_TPR));
	mmio_read32(LAPIC_BASE + APIC_TPR);
	wrmsr(MSR_APIC_BASE, base);
	sync_host(apic_read(APIC_TPR));
	mmio_read32(ELSEWHERE + APIC_TPR);
}

static void guest_stays(void)
{
	apic_enable();
	for (u32 tpr = 0x40;; tpr++) {
		apic_write(APIC_TPR, tpr);
		sync_host(apic_read(APIC_TPR));
	}
}

static void expect_mmio(struct machine *m, unsigned int vcpu, u64 address)
{
	expect_eq(machine_run(m, vcpu), -1);
	expect_eq(m->vcpu[vcpu].run->exit_reason, KVM_EXIT_MMIO);
	expect_eq(m->vcpu[vcpu].run->mmio.phys_addr, address);
}

static void test_moves(void)
{
	static const int numbers[] = { 0x20, 1, 0x20, 1, 0x30, -1, 0x30 };
	struct machine m = begin(2, false, guest_moves);

	machine_start(&m, 1, guest_stays);
	for (unsigned int i = 0; i < ARRAY_SIZE(numbers); i++) {
		machine_expect(&m, 1, 0x40 + i);
		if (numbers[i] >= 0)
			machine_expect(&m, 0, numbers[i]);
		else
			expect_mmio(&m, 0, LAPIC_BASE + APIC_TPR);
	}
	expect_mmio(&m, 0, ELSEWHERE + APIC_TPR);
	machine_destroy(&m);
}

/* The client may put memory there, where KVM has none of its own: that is what the guest finds then, as with KVM. */
static void test_slot(void)
{
	static u8 memory[0x1000] __attribute__((aligned(0x1000))) = { [APIC_TPR] = 0x77 };
	struct kvm_userspace_memory_region region = {
		.slot = 9, .guest_phys_addr = LAPIC_BASE, .memory_size = sizeof(memory), .userspace_addr = (u64)memory
	};
	struct machine m = begin(1, false, guest_stays);

	machine_expect(&m, 0, 0x40);
	if (ioctl(m.vm, KVM_SET_USER_MEMORY_REGION, &region)) {
		expect_eq(errno, EEXIST);
		skip("it has a page of its own there");
	}
	machine_expect(&m, 0, 0x41);
	expect_eq(memory[APIC_TPR], 0x41);
	region.memory_size = 0;
	expect_errno(ioctl(m.vm, KVM_SET_USER_MEMORY_REGION, &region), 0);
	machine_expect(&m, 0, 0x42);
	expect_eq(memory[APIC_TPR], 0x41);
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

	if (x2apic)
		wrmsr(MSR_X2APIC_SELF_IPI, VECTOR_6);
	else
		apic_write(APIC_ICR, ICR_SELF | ICR_ASSERT | VECTOR_6);
	while (READ(taken[0][VECTOR_6]) == before)
		;
}

static void task_priority(void)
{
	write_cr8(3);
	apic_write(APIC_TPR, 0);
}

static void read_registers(void)
{
	apic_read(APIC_SVR);
	apic_read(APIC_IRR);
	apic_read(APIC_ICR);
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
	sync_host(1);
	self_ipi_ticks = least_ticks(self_ipi);
	task_priority_ticks = least_ticks(task_priority);
	read_ticks = least_ticks(read_registers);
	sync_host(2);
}

/*
 * Of what has no exit the least cost is a part of the least cost of an exit, whatever a tick is; and there are not as
 * many exits as rounds.
 */
static void exits(bool in_x2apic)
{
	struct machine m;
	u64 nr;
	int fd;

	if (!has_apicv())
		skip("the CPU does not virtualize local APICs");
	m = begin(1, in_x2apic, guest_saves_exits);
	fd = ioctl(m.vcpu[0].fd, KVM_GET_STATS_FD, 0);
	machine_expect(&m, 0, 1);
	nr = stats_value(fd, "exits");
	machine_expect(&m, 0, 2);
	nr = stats_value(fd, "exits") - nr;
	diag("ticks: CPUID %lu, self-IPI and EOI %lu, two writes of TPR %lu, three reads %lu; exits: %lu", exit_ticks,
	     self_ipi_ticks, task_priority_ticks, read_ticks, nr);
	expect(self_ipi_ticks < exit_ticks);
	expect(task_priority_ticks < exit_ticks);
	expect(read_ticks < exit_ticks);
	expect(nr < ROUNDS);
	close(fd);
	machine_destroy(&m);
}

static void test_exits_xapic(void)
{
	exits(false);
}

static void test_exits_x2apic(void)
{
	exits(true);
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
	{ "errors, xAPIC", test_errors_xapic },
	{ "errors, x2APIC", test_errors_x2apic },
	{ "the current count, xAPIC", test_count_xapic },
	{ "the current count, x2APIC", test_count_x2apic },
	{ "registers in memory", test_memory },
	{ "one moves, the other stays", test_moves },
	{ "memory at its address", test_slot },
	{ "the client and what is in service, xAPIC", test_client_xapic },
	{ "the client and what is in service, x2APIC", test_client_x2apic },
	{ "what needs no exit, xAPIC", test_exits_xapic },
	{ "what needs no exit, x2APIC", test_exits_x2apic },
	{ "messages to a vCPU that computes", test_messages },
};

KTAP_MAIN(tests)
