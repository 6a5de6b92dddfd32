// SPDX-License-Identifier: GPL-2.0
/*
 * pv_test - the paravirtual features: steal time, PV EOI, hypercalls, and each behind its bit of CPUID. Source:
 * Documentation/virt/kvm/x86/{msr,cpuid,hypercalls}.rst; KVM's api.rst.
 */
#define _GNU_SOURCE
#include <asm/kvm_para.h>
#include <cpuid.h>
#include <errno.h>
#include <linux/kvm_para.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "machine.h"

#define SECOND 1000000000ull
#define VECTOR_A 0x61 /* of the same priority class as B, and below C */
#define VECTOR_B 0x62
#define VECTOR_C 0x71
#define VECTOR_FIRST 0x81
#define MSR_X2APIC_ISR 0x810

/* -- the guest's half -------------------------------------------------------------------------------------------- */

static struct kvm_steal_time steal_time[MACHINE_VCPUS] __attribute__((aligned(64)));
static u32 eoi_word __attribute__((aligned(4)));
static struct kvm_clock_pairing pairing;
static u64 argument[5], answer;
static bool amd;

static u64 hypercall(const u64 *a)
{
	u64 result;

	if (amd)
		asm volatile("vmmcall"
			     : "=a"(result)
			     : "a"(a[0]), "b"(a[1]), "c"(a[2]), "d"(a[3]), "S"(a[4])
			     : "memory");
	else
		asm volatile("vmcall"
			     : "=a"(result)
			     : "a"(a[0]), "b"(a[1]), "c"(a[2]), "d"(a[3]), "S"(a[4])
			     : "memory");
	return result;
}

static void guest_calls(void)
{
	apic_enable();
	for (;;) {
		answer = hypercall(argument);
		open_window();
		sync_host(1);
	}
}

/* -- the host's half --------------------------------------------------------------------------------------------- */

static struct machine create(unsigned int vcpus)
{
	u32 eax, ebx, ecx, edx;

	__cpuid(0, eax, ebx, ecx, edx);
	amd = ebx == 0x68747541; /* Auth */
	x2apic = true;
	return machine_create(vcpus, WITH_CHIPS);
}

static long call(struct machine *m, u64 number, u64 a0, u64 a1, u64 a2, u64 a3)
{
	const u64 arguments[] = { number, a0, a1, a2, a3 };

	memcpy(argument, arguments, sizeof(argument));
	machine_expect(m, 0, 1);
	return answer;
}

static int one_msr(struct machine *m, unsigned int vcpu, unsigned long ioctl_number, u32 index, u64 *value)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} msrs = { .head.nmsrs = 1, .entry = { .index = index, .data = *value } };
	int r = ioctl(m->vcpu[vcpu].fd, ioctl_number, &msrs);

	*value = msrs.entry.data;
	return r;
}

static int set_msr(struct machine *m, unsigned int vcpu, u32 index, u64 value)
{
	return one_msr(m, vcpu, KVM_SET_MSRS, index, &value);
}

static u64 get_msr(struct machine *m, unsigned int vcpu, u32 index)
{
	u64 value = ~0ull;

	expect_eq(one_msr(m, vcpu, KVM_GET_MSRS, index, &value), 1);
	return value;
}

/* -- CPUID decides ----------------------------------------------------------------------------------------------- */

/* Takes features away from the guest's CPUID, whatever else it has. */
static u32 set_features(struct machine *m, u32 without)
{
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + 256 * sizeof(cpuid->entries[0]));
	u32 features = 0;
	unsigned int i;

	cpuid->nent = 256;
	expect_errno(ioctl(m->device, KVM_GET_SUPPORTED_CPUID, cpuid), 0);
	for (i = 0; i < cpuid->nent; i++) {
		if (cpuid->entries[i].function != KVM_CPUID_FEATURES)
			continue;
		features = cpuid->entries[i].eax;
		cpuid->entries[i].eax &= ~without;
	}
	expect_errno(ioctl(m->vcpu[0].fd, KVM_SET_CPUID2, cpuid), 0);
	free(cpuid);
	return features;
}

/* A machine whose guest may use one feature only; enforced or not. */
static struct machine create_with(unsigned int feature, bool enforce)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_ENFORCE_PV_FEATURE_CPUID, .args = { 1 } };
	struct machine m = create(1);

	expect(set_features(&m, ~(1u << feature)) & 1u << feature);
	if (enforce)
		expect_errno(ioctl(m.vcpu[0].fd, KVM_ENABLE_CAP, &cap), 0);
	machine_start(&m, 0, guest_calls);
	return m;
}

static void enforced(void)
{
	static const struct {
		u32 index;
		unsigned int feature;
		u64 value;
	} msrs[] = {
		{ MSR_KVM_SYSTEM_TIME, KVM_FEATURE_CLOCKSOURCE, 0 },
		{ MSR_KVM_WALL_CLOCK, KVM_FEATURE_CLOCKSOURCE, 0 },
		{ MSR_KVM_SYSTEM_TIME_NEW, KVM_FEATURE_CLOCKSOURCE2, 0 },
		{ MSR_KVM_WALL_CLOCK_NEW, KVM_FEATURE_CLOCKSOURCE2, 0 },
		{ MSR_KVM_STEAL_TIME, KVM_FEATURE_STEAL_TIME, 0 },
		{ MSR_KVM_PV_EOI_EN, KVM_FEATURE_PV_EOI, 0 },
		{ MSR_KVM_POLL_CONTROL, KVM_FEATURE_POLL_CONTROL, 1 },
	};
	static const struct {
		u64 number;
		unsigned int feature;
	} calls[] = { { KVM_HC_KICK_CPU, KVM_FEATURE_PV_UNHALT },
		      { KVM_HC_SEND_IPI, KVM_FEATURE_PV_SEND_IPI },
		      { KVM_HC_SCHED_YIELD, KVM_FEATURE_PV_SCHED_YIELD } };
	const unsigned int other = KVM_FEATURE_NOP_IO_DELAY;
	struct kvm_enable_cap bad = { .cap = KVM_CAP_ENFORCE_PV_FEATURE_CPUID, .flags = 1 };
	struct machine with, without, free;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(msrs); i++) {
		context("MSR %#x", msrs[i].index);
		with = create_with(msrs[i].feature, true);
		without = create_with(other, true);
		free = create_with(other, false);
		expect_eq(set_msr(&with, 0, msrs[i].index, msrs[i].value), 1);
		expect_eq(set_msr(&without, 0, msrs[i].index, msrs[i].value), 0);
		expect_eq(set_msr(&free, 0, msrs[i].index, msrs[i].value), 1);
		machine_destroy(&with);
		machine_destroy(&without);
		machine_destroy(&free);
	}
	for (i = 0; i < ARRAY_SIZE(calls); i++) {
		context("hypercall %lu", calls[i].number);
		with = create_with(calls[i].feature, true);
		expect_eq(call(&with, calls[i].number, 0, 0, 0, 0), 0);
		machine_destroy(&with);
		without = create_with(other, true);
		expect_eq(call(&without, calls[i].number, 0, 0, 0, 0), -KVM_ENOSYS);
		machine_destroy(&without);
		free = create_with(other, false);
		expect_eq(call(&free, calls[i].number, 0, 0, 0, 0), 0);
		machine_destroy(&free);
	}
	context("the capability");
	free = create_with(KVM_FEATURE_PV_TLB_FLUSH, false);
	expect_eq(ioctl(free.vm, KVM_CHECK_EXTENSION, KVM_CAP_ENFORCE_PV_FEATURE_CPUID), 1);
	expect_errno(ioctl(free.vcpu[0].fd, KVM_ENABLE_CAP, &bad), EINVAL);
	bad = (struct kvm_enable_cap){ .cap = 0xffff };
	expect_errno(ioctl(free.vcpu[0].fd, KVM_ENABLE_CAP, &bad), EINVAL);
}

static void bad_values(void)
{
	struct kvm_enable_cap poll = { .cap = KVM_CAP_HALT_POLL, .args = { 1ull << 32 } };
	struct machine m = create(1);
	unsigned int bit;

	for (bit = 1; bit < 6; bit++)
		expect_eq(set_msr(&m, 0, MSR_KVM_STEAL_TIME, 1ull << bit), 0);
	expect_eq(set_msr(&m, 0, MSR_KVM_PV_EOI_EN, (u64)&eoi_word | 2), 0);
	expect_eq(get_msr(&m, 0, MSR_KVM_POLL_CONTROL), 1);
	expect_eq(set_msr(&m, 0, MSR_KVM_POLL_CONTROL, 2), 0);
	expect_eq(set_msr(&m, 0, MSR_KVM_POLL_CONTROL, 0), 1);
	expect_eq(get_msr(&m, 0, MSR_KVM_POLL_CONTROL), 0);
	expect_eq(ioctl(m.vm, KVM_CHECK_EXTENSION, KVM_CAP_HALT_POLL), 1);
	expect_errno(ioctl(m.vm, KVM_ENABLE_CAP, &poll), EINVAL);
	poll.args[0] = 1000;
	expect_errno(ioctl(m.vm, KVM_ENABLE_CAP, &poll), 0);
	/* Pages that are in no slot harm nobody. */
	machine_start(&m, 0, guest_calls);
	expect_eq(set_msr(&m, 0, MSR_KVM_STEAL_TIME, 1ull << 40 | 1), 1);
	expect_eq(set_msr(&m, 0, MSR_KVM_SYSTEM_TIME_NEW, 1ull << 40 | 1), 1);
	set_msr(&m, 0, MSR_KVM_PV_EOI_EN, 1ull << 40 | 1);
	expect_eq(call(&m, KVM_HC_SEND_IPI, 1, 0, 0, VECTOR_A), 1);
	expect_eq(taken[0][VECTOR_A], 1);
}

/* -- hypercalls -------------------------------------------------------------------------------------------------- */

static u64 host_realtime(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec * SECOND + now.tv_nsec;
}

static void simple_calls(void)
{
	struct machine m = create(1);
	u64 before, seen;

	machine_start(&m, 0, guest_calls);
	expect_eq(call(&m, KVM_HC_VAPIC_POLL_IRQ, 0, 0, 0, 0), 0);
	expect_eq(call(&m, 0xffff, 0, 0, 0, 0), -KVM_ENOSYS);
	expect_eq(call(&m, KVM_HC_SCHED_YIELD, 77, 0, 0, 0), 0);
	expect_eq(call(&m, KVM_HC_KICK_CPU, 0, 77, 0, 0), 0);
	expect_eq(call(&m, KVM_HC_CLOCK_PAIRING, (u64)&pairing, 1, 0, 0), -KVM_EOPNOTSUPP);
	expect_eq(call(&m, KVM_HC_CLOCK_PAIRING, 1ull << 40, KVM_CLOCK_PAIRING_WALLCLOCK, 0, 0), -KVM_EFAULT);
	before = host_realtime();
	expect_eq(call(&m, KVM_HC_CLOCK_PAIRING, (u64)&pairing, KVM_CLOCK_PAIRING_WALLCLOCK, 0, 0), 0);
	seen = pairing.sec * SECOND + pairing.nsec;
	expect(seen >= before && seen <= host_realtime());
	expect(pairing.tsc && pairing.tsc <= get_msr(&m, 0, 0x10));
}

static void guest_waits_for_a(void)
{
	apic_enable();
	sync_host(1);
	wait_for(VECTOR_A, 1);
	sync_host(3);
}

static void *run_vcpu_1(void *machine)
{
	machine_expect(machine, 1, 3);
	return NULL;
}

static void send_ipi(void)
{
	struct machine m = create(2);
	pthread_t thread;

	machine_start(&m, 0, guest_calls);
	machine_start(&m, 1, guest_waits_for_a);
	machine_expect(&m, 1, 1);
	pthread_create(&thread, NULL, run_vcpu_1, &m);
	/* Bits 0 and 1 of the low word; then vCPU 1 as bit 0, of both words; nobody; what is no destination. */
	expect_eq(call(&m, KVM_HC_SEND_IPI, 3, 0, 0, VECTOR_A), 2);
	pthread_join(thread, NULL);
	expect_eq(taken[0][VECTOR_A], 1);
	expect_eq(taken[1][VECTOR_A], 1);
	expect_eq(call(&m, KVM_HC_SEND_IPI, 1, 0, 1, VECTOR_B), 1);
	expect_eq(taken[0][VECTOR_B], 0);
	expect_eq(call(&m, KVM_HC_SEND_IPI, 1, 0, ~0u, VECTOR_C), 0);
	expect_eq(call(&m, KVM_HC_SEND_IPI, ~3ull, ~0ull, 0, VECTOR_C), 0);
	expect_eq(call(&m, KVM_HC_SEND_IPI, 1, 0, 0, VECTOR_C | ICR_LOGICAL), -KVM_EINVAL);
	expect_eq(call(&m, KVM_HC_SEND_IPI, 1, 0, 0, VECTOR_C | ICR_SELF), -KVM_EINVAL);
	expect_eq(taken[0][VECTOR_C], 0);
	expect_eq(call(&m, KVM_HC_SEND_IPI, 1, 0, 0, ICR_NMI), 1);
	expect_eq(taken[0][VECTOR_NMI], 1);
}

/* Nothing but a kick ends a halt with interrupts off. */
static void guest_halts_for_good(void)
{
	apic_enable();
	sync_host(1);
	asm volatile("cli; hlt" : : : "memory");
	sync_host(3);
}

static void unhalt(void)
{
	struct machine m = create(2);
	pthread_t thread;
	int i;

	machine_start(&m, 0, guest_calls);
	for (i = 0; i < 2; i++) {
		context("%s", i ? "kicked before it halts" : "kicked when it has halted");
		machine_start(&m, 1, guest_halts_for_good);
		machine_expect(&m, 1, 1);
		if (i)
			expect_eq(call(&m, KVM_HC_KICK_CPU, 0, 1, 0, 0), 0);
		pthread_create(&thread, NULL, run_vcpu_1, &m);
		if (!i) {
			usleep(100000);
			expect_eq(call(&m, KVM_HC_KICK_CPU, 0, 1, 0, 0), 0);
		}
		pthread_join(thread, NULL);
	}
}

/* -- steal time -------------------------------------------------------------------------------------------------- */

static bool stop_spinning;

static volatile u8 preempted_seen;

static void guest_spins(void)
{
	preempted_seen = READ(steal_time[0].preempted);
	for (;;) {
		sync_host(1);
		while (!READ(stop_spinning))
			asm volatile("pause");
		sync_host(2);
	}
}

static u64 run_delay(void)
{
	unsigned long run = 0, delay = 0;
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/schedstat", gettid());
	f = fopen(path, "r");
	if (!f || fscanf(f, "%lu %lu", &run, &delay) != 2)
		skip("the kernel does not say for how long a thread waits");
	fclose(f);
	return delay;
}

static void pin(unsigned int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

/* Keeps CPU 0 busy until told to stop; the vCPU's thread has to wait for it there. */
static bool stop_competing;

static void *compete(void *cpu)
{
	pin((unsigned long)cpu);
	while (!READ(stop_competing))
		;
	return NULL;
}

static void steal(void)
{
	struct kvm_steal_time *st = &steal_time[0];
	struct machine m = create(1);
	u64 began, waited;
	pthread_t thread;
	u32 version;

	pin(0);
	memset(st, 0, sizeof(*st));
	st->preempted = KVM_VCPU_PREEMPTED; /* as memory that was saved elsewhere may have it */
	expect_eq(set_msr(&m, 0, MSR_KVM_STEAL_TIME, (u64)st | 1), 1);
	expect_eq(get_msr(&m, 0, MSR_KVM_STEAL_TIME), (u64)st | 1);
	machine_start(&m, 0, guest_spins);
	machine_expect(&m, 0, 1);
	/* As the guest sees it: by now the thread may have been. */
	expect_eq(preempted_seen, 0);
	expect_eq(st->version & 1, 0);
	expect(st->steal <= run_delay());
	version = st->version;
	began = st->steal;
	waited = run_delay();
	pthread_create(&thread, NULL, compete, NULL);
	while (run_delay() - waited < 20000000)
		sched_yield();
	stop_competing = true;
	pthread_join(thread, NULL);
	waited = run_delay() - waited;
	stop_spinning = true;
	machine_expect(&m, 0, 2);
	expect(st->steal - began >= waited);
	expect(st->steal <= run_delay());
	expect(st->version > version && !(st->version & 1));
	expect_eq(st->flags, 0);
}

static u64 shared_pdpt[512] __attribute__((aligned(4096))), shared_pd[512] __attribute__((aligned(4096))),
	shared_pt[512] __attribute__((aligned(4096)));
static u64 page_a[512] __attribute__((aligned(4096))), page_b[512] __attribute__((aligned(4096)));
static u64 seen_there;
#define REMAPPED (1ul << 39)

/* Looks at a page whose mapping changes, and trusts the host to flush. */
static void guest_looks(void)
{
	while (!READ(stop_spinning))
		READ(seen_there) = *(volatile u64 *)REMAPPED;
	sync_host(2);
}

static void *run_looking(void *machine)
{
	pin(0);
	machine_expect(machine, 0, 2);
	return NULL;
}

/*
 * A vCPU that lost its CPU while it would run on says so; who sets KVM_VCPU_FLUSH_TLB beside that need send no IPI: the
 * old mapping is gone before the vCPU runs again. That is done here in vCPU 1's name.
 */
static void preempted(void)
{
	volatile u8 *flag = &steal_time[0].preempted;
	struct machine m = create(1);
	pthread_t runner, competitor;
	unsigned int flushes = 0;
	struct kvm_sregs sregs;
	u8 expected;

	expect_errno(ioctl(m.vcpu[0].fd, KVM_GET_SREGS, &sregs), 0);
	((u64 *)sregs.cr3)[1] = (u64)shared_pdpt | 3;
	shared_pdpt[0] = (u64)shared_pd | 3;
	shared_pd[0] = (u64)shared_pt | 3;
	shared_pt[0] = (u64)page_a | 3;
	page_a[0] = 1;
	page_b[0] = 2;
	memset(steal_time, 0, sizeof(steal_time));
	set_msr(&m, 0, MSR_KVM_STEAL_TIME, (u64)steal_time | 1);
	machine_start(&m, 0, guest_looks);
	pin(1);
	pthread_create(&runner, NULL, run_looking, &m);
	pthread_create(&competitor, NULL, compete, NULL);
	while (flushes < 10) {
		bool to_b = flushes & 1;

		expected = KVM_VCPU_PREEMPTED;
		READ(shared_pt[0]) = (u64)(to_b ? page_b : page_a) | 3;
		if (!__atomic_compare_exchange_n(flag, &expected, KVM_VCPU_PREEMPTED | KVM_VCPU_FLUSH_TLB, false,
						 __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			continue;
		flushes++;
		seen_there = 0;
		while (*flag & KVM_VCPU_FLUSH_TLB)
			;
		while (!READ(seen_there))
			;
		if (READ(seen_there) != 1u + to_b)
			fail("after flush %u the guest sees page %lu", flushes, seen_there);
	}
	stop_competing = stop_spinning = true;
	pthread_join(runner, NULL);
	pthread_join(competitor, NULL);
	expect_eq(steal_time[0].preempted & KVM_VCPU_FLUSH_TLB, 0);
}

/* -- PV EOI ------------------------------------------------------------------------------------------------------ */

static unsigned int offered[256], in_service_after[256];
static bool take_offers;

/* msr.rst: the bit is tested and cleared by one instruction. Where it was set, no EOI has to be written. */
static void ends_in_memory(unsigned int vector)
{
	bool was_set;

	asm volatile("btrl $0, %1; setc %0" : "=q"(was_set), "+m"(eoi_word) : : "memory");
	offered[vector] += was_set;
	if (was_set && READ(take_offers))
		in_service_after[vector] += rdmsr(MSR_X2APIC_ISR + vector / 32) >> vector % 32 & 1;
	if (was_set && !READ(take_offers))
		eoi_word = 1;
}

static void guest_interrupts_itself(void)
{
	apic_enable();
	wrmsr(MSR_KVM_PV_EOI_EN, (u64)&eoi_word | 1);
	/* The first delivery faults in the pages that it and its handler need. */
	apic_send(ICR_SELF | VECTOR_FIRST, 0);
	open_window();
	for (;;) {
		sync_host(1);
		apic_send(ICR_SELF | VECTOR_A, 0);
		open_window();
		sync_host(2);
		/* C first, and B waits: its end must be told for B to come. */
		apic_send(ICR_SELF | VECTOR_B, 0);
		apic_send(ICR_SELF | VECTOR_C, 0);
		open_window();
		open_window();
	}
}

static void eoi(void)
{
	struct kvm_lapic_state lapic;
	struct machine m = create(1);
	/* The CPU that sees to the end of interrupts by itself does not look there. */
	unsigned int offers = !has_apicv(), i;

	on_interrupt = ends_in_memory;
	take_offers = true;
	READ(eoi_word) = 0; /* the page is there: nobody waits for it in the middle of an entry */
	machine_start(&m, 0, guest_interrupts_itself);
	machine_expect(&m, 0, 1);
	for (i = 1; i <= 4; i++) {
		/* In the last rounds the guest ends its interrupts by the register, as it always may. */
		take_offers = i <= 2;
		machine_expect(&m, 0, 2);
		expect_eq(taken[0][VECTOR_A], i);
		expect_eq(offered[VECTOR_A], i * offers);
		expect_errno(ioctl(m.vcpu[0].fd, KVM_GET_LAPIC, &lapic), 0);
		expect_eq(*(u32 *)(lapic.regs + 0x100 + VECTOR_A / 32 * 16), 0);
		expect_eq(eoi_word & 1, 0);
		machine_expect(&m, 0, 1);
		expect_eq(taken[0][VECTOR_B], i);
		expect_eq(taken[0][VECTOR_C], i);
		expect_eq(offered[VECTOR_C], 0);
		expect_eq(offered[VECTOR_B], i * offers);
	}
	expect_eq(in_service_after[VECTOR_A], 0);
	expect_eq(in_service_after[VECTOR_B], 0);
}

#define LEVEL_PIN 20 /* the I/O APIC's alone */

static void ends_and_masks(unsigned int vector)
{
	ends_in_memory(vector);
	ioapic_set_entry(LEVEL_PIN, VECTOR_A | ENTRY_LEVEL | ENTRY_MASKED, 0);
}

/* The I/O APIC waits for the end of a level-triggered interrupt: that must be told. */
static void guest_takes_level(void)
{
	apic_enable();
	wrmsr(MSR_KVM_PV_EOI_EN, (u64)&eoi_word | 1);
	ioapic_set_entry(LEVEL_PIN, VECTOR_A | ENTRY_LEVEL, 0);
	sync_host(1);
	open_window();
	sync_host(2);
}

static void eoi_level(void)
{
	struct kvm_irq_level line = { .irq = LEVEL_PIN, .level = 1 };
	struct machine m = create(1);

	on_interrupt = ends_and_masks;
	machine_start(&m, 0, guest_takes_level);
	machine_expect(&m, 0, 1);
	expect_errno(ioctl(m.vm, KVM_IRQ_LINE, &line), 0);
	machine_expect(&m, 0, 2);
	expect_eq(taken[0][VECTOR_A], 1);
	expect_eq(offered[VECTOR_A], 0);
}

/* -- many vCPUs, few CPUs ---------------------------------------------------------------------------------------- */

#define LOCK_ROUNDS 2000
static unsigned int next_ticket, now_serving, counter;

/* A ticket lock: whoever waits, waits for one certain vCPU. */
static void guest_locks(void)
{
	unsigned int i, ticket;

	for (i = 0; i < LOCK_ROUNDS; i++) {
		ticket = __atomic_fetch_add(&next_ticket, 1, __ATOMIC_SEQ_CST);
		while (__atomic_load_n(&now_serving, __ATOMIC_SEQ_CST) != ticket)
			asm volatile("pause");
		counter++;
		__atomic_store_n(&now_serving, ticket + 1, __ATOMIC_SEQ_CST);
	}
	sync_host(2);
}

static struct machine lockers;

static void *run_locker(void *vcpu)
{
	pin(0);
	machine_expect(&lockers, (unsigned long)vcpu, 2);
	return NULL;
}

/* It ends, and soon where PAUSE loops exit and yield: each handover costs a time slice otherwise. */
static void spinning(void)
{
	pthread_t threads[2];
	unsigned long i;

	lockers = create(ARRAY_SIZE(threads));
	for (i = 0; i < ARRAY_SIZE(threads); i++) {
		machine_start(&lockers, i, guest_locks);
		pthread_create(&threads[i], NULL, run_locker, (void *)i);
	}
	for (i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	expect_eq(counter, ARRAY_SIZE(threads) * LOCK_ROUNDS);
}

static const struct test tests[] = {
	{ "features behind their bits of CPUID", enforced },
	{ "values that are refused", bad_values },
	{ "hypercalls", simple_calls },
	{ "KVM_HC_SEND_IPI", send_ipi },
	{ "KVM_HC_KICK_CPU", unhalt },
	{ "steal time", steal },
	{ "preempted vCPUs and their TLBs", preempted },
	{ "PV EOI", eoi },
	{ "PV EOI of a level-triggered interrupt", eoi_level },
	{ "two vCPUs and a lock on one CPU", spinning },
};

KTAP_MAIN(tests)
