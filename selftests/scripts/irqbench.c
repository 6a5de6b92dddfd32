// SPDX-License-Identifier: GPL-2.0
/*
 * irqbench DEVICE [ROW...]: what interrupts cost, in TSC ticks each: a line "irqbench ROW TICKS" for each way. Where a
 * tick is an instruction (Bochs, or QEMU with --icount) the figures do not depend on how busy the machine is. All vCPUs
 * that wait sleep, so that one CPU does for all.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "machine.h"

#define ROUNDS 500u
#define WARM_UP 50u
#define VECTOR 0x60
#define NOTIFY_PORT 0x510
#define GSI 32
#define FAR_AWAY 0x7fffffff00000000ull
#define TIMER_TICKS 200000

static struct machine machine;
static volatile u64 ticks; /* of all rounds together */
static volatile unsigned int ready;

static u64 now(void)
{
	return __builtin_ia32_rdtsc();
}

/* -- guests ------------------------------------------------------------------------------------------------------ */

static void guest_begin(void)
{
	apic_enable();
	__atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
}

static void self_ipi_round(void)
{
	unsigned int before = READ(taken[0][VECTOR]);

	asm volatile("sti" : : : "memory");
	wrmsr(MSR_X2APIC_SELF_IPI, VECTOR);
	while (READ(taken[0][VECTOR]) == before)
		;
}

static void deadline_round(void)
{
	wrmsr(MSR_TSC_DEADLINE, FAR_AWAY);
}

/* vCPU 1 answers each IPI with one. */
static void ipi_round(void)
{
	unsigned int before = READ(taken[0][VECTOR]);

	apic_send(ICR_ASSERT | VECTOR, 1);
	wait_for(VECTOR, before + 1);
}

/* To a cluster; the last to answer tells. */
static volatile unsigned int answers;

static void shootdown_round(void)
{
	unsigned int before = READ(taken[0][VECTOR]);

	answers = 0;
	apic_send(ICR_ASSERT | ICR_LOGICAL | (VECTOR + 1), 0xe);
	wait_for(VECTOR, before + 1);
}

static void answer(unsigned int vector)
{
	if (!this_vcpu())
		return;
	if (vector == VECTOR)
		apic_send(ICR_ASSERT | VECTOR, 0);
	else if (__atomic_add_fetch(&answers, 1, __ATOMIC_SEQ_CST) == MACHINE_VCPUS - 1)
		apic_send(ICR_ASSERT | VECTOR, 0);
}

static void guest_answers(void)
{
	guest_begin();
	for (;;)
		asm volatile("sti; hlt" : : : "memory");
}

static void (*volatile round_of_guest)(void);

static void guest_rounds(void)
{
	unsigned int i;
	u64 start = 0;

	guest_begin();
	apic_write(APIC_LVT_TIMER, LVT_TSC_DEADLINE | VECTOR);
	while (ready < MACHINE_VCPUS)
		sync_host(2);
	for (i = 0; i < WARM_UP + ROUNDS; i++) {
		if (i == WARM_UP)
			start = now();
		round_of_guest();
	}
	ticks = now() - start;
	sync_host(1);
}

/* How long after its deadline a timer's interrupt is in its handler, while the guest sleeps, and while it computes. */
static volatile u64 deadline;
static volatile bool sleeps;
static u64 lateness[WARM_UP + ROUNDS];
static volatile unsigned int noted;

static void note_lateness(unsigned int vector)
{
	if (vector == VECTOR)
		lateness[noted++] = now() - deadline;
}

static void guest_timer(void)
{
	unsigned int i;

	guest_begin();
	apic_write(APIC_LVT_TIMER, LVT_TSC_DEADLINE | VECTOR);
	for (i = 0; i < WARM_UP + ROUNDS; i++) {
		asm volatile("cli" : : : "memory");
		deadline = now() + TIMER_TICKS;
		wrmsr(MSR_TSC_DEADLINE, deadline);
		if (sleeps)
			wait_for(VECTOR, i + 1);
		asm volatile("sti" : : : "memory");
		while (READ(taken[0][VECTOR]) == i)
			;
	}
	sync_host(1);
}

/* An irqfd wakes it, and it signals an ioeventfd. */
static void guest_irqfd(void)
{
	unsigned int i;

	guest_begin();
	for (i = 0;; i++) {
		wait_for(VECTOR, i + 1);
		outb(NOTIFY_PORT, 0);
	}
}

/* -- rows -------------------------------------------------------------------------------------------------------- */

static void *vcpu_thread(void *vcpu)
{
	machine_run(&machine, (u64)vcpu);
	return NULL;
}

static void start_thread(unsigned int vcpu, void (*function)(void))
{
	pthread_t thread;

	machine_start(&machine, vcpu, function);
	if (pthread_create(&thread, NULL, vcpu_thread, (void *)(u64)vcpu))
		die("pthread_create");
}

static void rounds(void (*round)(void))
{
	unsigned int i;

	round_of_guest = round;
	on_interrupt = answer;
	for (i = 1; i < MACHINE_VCPUS; i++)
		start_thread(i, guest_answers);
	machine_start(&machine, 0, guest_rounds);
	/* Until all have come up it waits here, where the others have the CPU. */
	while (machine_run(&machine, 0) == 2)
		usleep(1000);
}

static void run_self_ipi(void)
{
	rounds(self_ipi_round);
}

static void run_deadline(void)
{
	rounds(deadline_round);
}

static void run_ipi(void)
{
	rounds(ipi_round);
}

static void run_shootdown(void)
{
	rounds(shootdown_round);
}

static int compare(const void *a, const void *b)
{
	u64 x = *(u64 *)a, y = *(u64 *)b;

	return (x > y) - (x < y);
}

/* The host's own tick delays some, by as long as it is till the next one: of all the middle half counts. */
static void run_timer(void)
{
	unsigned int i;

	on_interrupt = note_lateness;
	machine_start(&machine, 0, guest_timer);
	machine_expect(&machine, 0, 1);
	qsort(lateness + WARM_UP, ROUNDS, sizeof(*lateness), compare);
	for (i = WARM_UP + ROUNDS / 4; i < WARM_UP + ROUNDS / 4 * 3; i++)
		ticks += 2 * lateness[i];
}

static void run_timer_asleep(void)
{
	sleeps = true;
	run_timer();
}

static void connect_irqfd(int in, int out)
{
	struct {
		struct kvm_irq_routing header;
		struct kvm_irq_routing_entry entry;
	} r = {
		.header.nr = 1,
		.entry = { .gsi = GSI,
			   .type = KVM_IRQ_ROUTING_MSI,
			   .u.msi = { .address_lo = 0xfee00000, .data = VECTOR } },
	};
	struct kvm_irqfd irqfd = { .fd = in, .gsi = GSI };
	struct kvm_ioeventfd ioeventfd = { .addr = NOTIFY_PORT, .len = 1, .fd = out, .flags = KVM_IOEVENTFD_FLAG_PIO };

	if (ioctl(machine.vm, KVM_SET_GSI_ROUTING, &r) || ioctl(machine.vm, KVM_IRQFD, &irqfd) ||
	    ioctl(machine.vm, KVM_IOEVENTFD, &ioeventfd))
		die("irqfd");
}

static void run_irqfd(void)
{
	int in = eventfd(0, 0), out = eventfd(0, 0);
	unsigned int i;
	eventfd_t value;
	u64 start = 0;

	connect_irqfd(in, out);
	start_thread(0, guest_irqfd);
	while (!ready)
		usleep(1000);
	for (i = 0; i < WARM_UP + ROUNDS; i++) {
		if (i == WARM_UP)
			start = now();
		eventfd_write(in, 1);
		eventfd_read(out, &value);
	}
	ticks = now() - start;
}

static const struct {
	const char *name;
	void (*run)(void);
} rows[] = {
	{ "self-IPI-and-EOI", run_self_ipi },  { "TSC-deadline-write", run_deadline },
	{ "IPI-round-trip", run_ipi },	       { "IPI-to-3-and-back", run_shootdown },
	{ "timer-lateness", run_timer },       { "timer-lateness-asleep", run_timer_asleep },
	{ "irqfd-wake-ioeventfd", run_irqfd },
};

static bool wanted(int argc, char **argv, const char *name)
{
	int i;

	for (i = 2; i < argc; i++)
		if (!strcmp(argv[i], name))
			return true;
	return argc <= 2;
}

/* Each row has a process, and with it a machine, of its own. */
int main(int argc, char **argv)
{
	int status, broken = 0;
	unsigned int i;

	if (argc < 2)
		return 2;
	device_path = argv[1];
	x2apic = true;
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		if (!wanted(argc, argv, rows[i].name))
			continue;
		if (fork()) {
			wait(&status);
			broken |= status;
			continue;
		}
		machine = machine_create(MACHINE_VCPUS, WITH_CHIPS);
		rows[i].run();
		printf("irqbench %s %.0f\n", rows[i].name, (double)ticks / ROUNDS);
		return 0;
	}
	return broken != 0;
}
