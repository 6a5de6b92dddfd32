// SPDX-License-Identifier: GPL-2.0
/*
 * Interrupts among four vCPUs from all sides at once, each counted where it is sent and where it is taken: IPIs from all to
 * all, timers, irqfds. Meanwhile the threads that run the vCPUs are signalled, change vCPUs among each other, and are sent
 * from CPU to CPU; a CPU goes off and on, and the client forks, which takes all of the guest's memory away for a moment.
 *
 * A local APIC keeps one request of a vector. So none is sent before the last one was taken; then as many must be taken
 * as were sent, and at no moment more.
 *
 * Some seconds; with LONG=1 five minutes, with LONG=N N seconds each.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "machine.h"

#define NR MACHINE_VCPUS
#define NR_THREADS (NR + 1)
#define VECTOR_IPI 0x40 /* and the numbers of the senders after it */
#define VECTOR_IRQFD 0x50
#define VECTOR_TIMER 0x60
#define FIRST_GSI 32
#define SHORT_SECONDS 4
#define LONG_SECONDS 150
#define LAST_WAIT_SECONDS 60
#define TIMER_TICKS 100000 /* some 10 kHz and less */
#define CPU_SWITCH "/sys/devices/system/cpu/cpu1/online"

/* -- what both sides share --------------------------------------------------------------------------------------- */

static volatile unsigned int sent[NR][NR]; /* by whom, to whom */
static volatile unsigned int irqfds_sent[NR], timers_set[NR];
static volatile u64 deadline[NR];
static volatile unsigned int doubled, early, ready, idle;
static volatile bool quiet; /* nobody begins anything any more */

static bool all_taken(unsigned int vcpu)
{
	unsigned int i;

	for (i = 0; i < NR; i++)
		if (READ(taken[vcpu][VECTOR_IPI + i]) != sent[i][vcpu])
			return false;
	return READ(taken[vcpu][VECTOR_IRQFD]) == irqfds_sent[vcpu] &&
	       READ(taken[vcpu][VECTOR_TIMER]) == timers_set[vcpu];
}

/* A generator for both sides. */
static u32 next(u64 *state)
{
	*state = *state * 6364136223846793005ull + 1442695040888963407ull;
	return *state >> 33;
}

/* -- the guest --------------------------------------------------------------------------------------------------- */

static unsigned int sent_so_far(unsigned int vcpu, unsigned int vector)
{
	if (vector == VECTOR_TIMER)
		return timers_set[vcpu];
	if (vector == VECTOR_IRQFD)
		return irqfds_sent[vcpu];
	return vector - VECTOR_IPI < NR ? sent[vector - VECTOR_IPI][vcpu] : 0;
}

static void count(unsigned int vector)
{
	unsigned int me = this_vcpu();

	if (taken[me][vector] > sent_so_far(me, vector))
		doubled++;
	if (vector == VECTOR_TIMER && __builtin_ia32_rdtsc() < deadline[me])
		early++;
}

static u32 logical_id(unsigned int vcpu)
{
	return 1u << vcpu;
}

/* By ID, by logical ID, by arbitration among one, to itself. */
static void guest_send(unsigned int me, unsigned int to, u64 *state)
{
	u32 vector = VECTOR_IPI + me;

	if (READ(taken[to][vector]) != sent[me][to])
		return;
	sent[me][to]++;
	switch (next(state) % (me == to ? 4 : 3)) {
	case 0:
		apic_send(ICR_ASSERT | vector, to);
		break;
	case 1:
		apic_send(ICR_ASSERT | ICR_LOGICAL | vector, logical_id(to));
		break;
	case 2:
		apic_send(ICR_ASSERT | ICR_LOGICAL | 1u << 8 | vector, logical_id(to));
		break;
	default:
		apic_send(ICR_ASSERT | ICR_SELF | vector, 0);
	}
}

static void guest_set_timer(unsigned int me, u64 *state)
{
	if (READ(taken[me][VECTOR_TIMER]) != timers_set[me])
		return;
	deadline[me] = __builtin_ia32_rdtsc() + next(state) % TIMER_TICKS;
	timers_set[me]++;
	wrmsr(MSR_TSC_DEADLINE, deadline[me]);
}

/* Its timer ends a halt at the latest. */
static void guest_rest(u64 *state)
{
	u32 eax = 0;

	switch (next(state) % 4) {
	case 0:
		asm volatile("sti; hlt; cli" : : : "memory");
		break;
	case 1:
		asm volatile("sti; nop; cli; cpuid" : "+a"(eax) : : "rbx", "rcx", "rdx", "memory");
		break;
	default:
		asm volatile("sti; pause; pause; cli" : : : "memory");
	}
}

static void guest_storm(void)
{
	unsigned int me = this_vcpu(), to;
	u64 state = me;

	apic_enable();
	if (!x2apic)
		apic_write(APIC_LDR, logical_id(me) << 24);
	apic_write(APIC_LVT_TIMER, LVT_TSC_DEADLINE | VECTOR_TIMER);
	__atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
	while (ready < NR)
		asm volatile("pause");
	while (!quiet) {
		guest_set_timer(me, &state);
		for (to = 0; to < NR; to++)
			guest_send(me, to, &state);
		guest_rest(&state);
	}
	__atomic_add_fetch(&idle, 1, __ATOMIC_SEQ_CST);
	while (idle <= NR || !all_taken(me))
		asm volatile("sti; pause; cli" : : : "memory");
	for (;;)
		sync_host(1);
}

/* -- the client: vCPUs and threads --------------------------------------------------------------------------------- */

static struct machine machine;
static pthread_t threads[NR_THREADS];
static volatile pid_t tids[NR_THREADS];

/* vCPUs that no thread has. */
static pthread_mutex_t free_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t freed = PTHREAD_COND_INITIALIZER;
static unsigned int free_vcpus[NR], nr_free, nr_done;

static void put_vcpu(unsigned int vcpu)
{
	pthread_mutex_lock(&free_lock);
	free_vcpus[nr_free++] = vcpu;
	pthread_cond_signal(&freed);
	pthread_mutex_unlock(&free_lock);
}

/* The one that waits longest; -1: there will be none any more. */
static int take_vcpu(void)
{
	int vcpu = -1;
	unsigned int i;

	pthread_mutex_lock(&free_lock);
	while (!nr_free && nr_done < NR)
		pthread_cond_wait(&freed, &free_lock);
	if (nr_free) {
		vcpu = free_vcpus[0];
		nr_free--;
		for (i = 0; i < nr_free; i++)
			free_vcpus[i] = free_vcpus[i + 1];
	}
	pthread_mutex_unlock(&free_lock);
	return vcpu;
}

static void vcpu_done(void)
{
	pthread_mutex_lock(&free_lock);
	nr_done++;
	pthread_cond_broadcast(&freed);
	pthread_mutex_unlock(&free_lock);
}

/* Where a guest stood that does not go on. */
static void show(unsigned int vcpu)
{
	struct kvm_vcpu_events events;
	struct kvm_sregs sregs;
	struct kvm_regs regs;

	if (ioctl(machine.vcpu[vcpu].fd, KVM_GET_REGS, &regs) || ioctl(machine.vcpu[vcpu].fd, KVM_GET_SREGS, &sregs) ||
	    ioctl(machine.vcpu[vcpu].fd, KVM_GET_VCPU_EVENTS, &events))
		return;
	diag("RIP %#llx, RSP %#llx, RFLAGS %#llx, CR2 %#llx, CR3 %#llx, IDT %#llx+%#x, CS %#x, SS %#x, TR %#llx",
	     regs.rip, regs.rsp, regs.rflags, sregs.cr2, sregs.cr3, sregs.idt.base, sregs.idt.limit, sregs.cs.selector,
	     sregs.ss.selector, sregs.tr.base);
	diag("interrupt %u: %u, exception %u: %u", events.interrupt.injected, events.interrupt.nr,
	     events.exception.injected, events.exception.nr);
}

/* Runs a vCPU until a signal comes, and then another one. */
static void *vcpu_thread(void *number)
{
	int vcpu;

	tids[(u64)number] = gettid();
	while ((vcpu = take_vcpu()) >= 0) {
		struct kvm_run *run = machine.vcpu[vcpu].run;

		if (!ioctl(machine.vcpu[vcpu].fd, KVM_RUN, 0)) {
			if (run->exit_reason != KVM_EXIT_IO || *((u8 *)run + run->io.data_offset) != 1) {
				show(vcpu);
				die("vCPU %d: exit %u", vcpu, run->exit_reason);
			}
			vcpu_done();
		} else if (errno == EINTR || errno == EAGAIN) {
			put_vcpu(vcpu);
		} else {
			die("KVM_RUN of vCPU %d", vcpu);
		}
	}
	return NULL;
}

/* -- the client: what comes from outside ----------------------------------------------------------------------------- */

static void connect_irqfds(int eventfds[NR])
{
	struct {
		struct kvm_irq_routing header;
		struct kvm_irq_routing_entry entries[NR];
	} r = { .header.nr = NR };
	u32 i;

	for (i = 0; i < NR; i++) {
		r.entries[i].gsi = FIRST_GSI + i;
		r.entries[i].type = KVM_IRQ_ROUTING_MSI;
		r.entries[i].u.msi.address_lo = 0xfee00000 | i << 12;
		r.entries[i].u.msi.data = VECTOR_IRQFD;
	}
	if (ioctl(machine.vm, KVM_SET_GSI_ROUTING, &r))
		die("KVM_SET_GSI_ROUTING");
	for (i = 0; i < NR; i++) {
		struct kvm_irqfd irqfd = { .fd = eventfd(0, 0), .gsi = FIRST_GSI + i };

		if (ioctl(machine.vm, KVM_IRQFD, &irqfd))
			die("KVM_IRQFD");
		eventfds[i] = irqfd.fd;
	}
}

static void *irqfd_thread(void *fds)
{
	const int *eventfds = fds;
	unsigned int i;

	while (!quiet) {
		for (i = 0; i < NR && ready == NR; i++) {
			if (READ(taken[i][VECTOR_IRQFD]) != irqfds_sent[i])
				continue;
			irqfds_sent[i]++;
			eventfd_write(eventfds[i], 1);
		}
		sched_yield();
	}
	__atomic_add_fetch(&idle, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

/* It is enough that it comes. */
static void on_signal(__attribute__((unused)) int signal)
{
}

static int cpu_switch;

static void leave_online(void)
{
	if (cpu_switch >= 0 && pwrite(cpu_switch, "1", 1, 0) != 1)
		diag("the second CPU stays offline");
}

/* To one CPU, and then free again: nobody is bound to a CPU that goes. */
static void migrate(u64 *state)
{
	pid_t tid = tids[next(state) % NR_THREADS];
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(next(state) % 2, &set);
	sched_setaffinity(tid, sizeof(set), &set);
	CPU_SET(0, &set);
	CPU_SET(1, &set);
	sched_setaffinity(tid, sizeof(set), &set);
}

static void fork_and_wait(void)
{
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	waitpid(pid, NULL, 0);
}

static void switch_cpu(void)
{
	static bool off;

	off = !off;
	if (cpu_switch >= 0 && pwrite(cpu_switch, off ? "0" : "1", 1, 0) != 1)
		die(CPU_SWITCH);
}

static void disturb(unsigned int seconds)
{
	u64 state = seconds, i;
	time_t end = time(NULL) + seconds;

	for (i = 1; time(NULL) < end; i++) {
		pthread_kill(threads[next(&state) % NR_THREADS], SIGUSR1);
		if (i % 4 == 0)
			migrate(&state);
		if (i % 64 == 0)
			fork_and_wait();
		if (i % 256 == 0)
			switch_cpu();
		usleep(next(&state) % 2000);
	}
	leave_online();
}

/* -- the count --------------------------------------------------------------------------------------------------- */

static void compare(unsigned int vcpu, const char *what, unsigned int vector)
{
	context("vCPU %u, %s, vector %#x", vcpu, what, vector);
	expect_eq(taken[vcpu][vector], sent_so_far(vcpu, vector));
	expect(taken[vcpu][vector] > 0);
}

static void check_counts(void)
{
	u64 total = 0;
	unsigned int i, j;

	for (i = 0; i < NR; i++) {
		for (j = 0; j < NR; j++)
			compare(i, "IPIs", VECTOR_IPI + j);
		compare(i, "irqfd", VECTOR_IRQFD);
		compare(i, "timer", VECTOR_TIMER);
		for (j = 0; j < 256; j++)
			total += taken[i][j];
		diag("vCPU %u: %u timers, %u irqfds, %u IPIs from the next", i, taken[i][VECTOR_TIMER],
		     taken[i][VECTOR_IRQFD], taken[i][VECTOR_IPI + (i + 1) % NR]);
	}
	context("%s", "");
	expect_eq(doubled, 0);
	expect_eq(early, 0);
	diag("%llu interrupts, all taken once", (unsigned long long)total);
}

/* Who waits for an interrupt that is lost waits for ever. */
static void wait_for_guest(void)
{
	unsigned int i;

	for (i = 0; i < LAST_WAIT_SECONDS * 100; i++) {
		if (nr_done == NR)
			return;
		usleep(10000);
	}
	fail("the guest did not come to its end");
}

static void storm(void)
{
	unsigned int seconds = is_long() ? long_seconds(LONG_SECONDS) : SHORT_SECONDS;
	static int eventfds[NR];
	pthread_t irqfds;
	u64 i;

	alarm(seconds + 2 * LAST_WAIT_SECONDS);
	signal(SIGUSR1, on_signal);
	machine = machine_create(NR, WITH_CHIPS);
	on_interrupt = count;
	connect_irqfds(eventfds);
	cpu_switch = open(CPU_SWITCH, O_RDWR);
	atexit(leave_online);
	for (i = 0; i < NR; i++) {
		machine_start(&machine, i, guest_storm);
		put_vcpu(i);
	}
	for (i = 0; i < NR_THREADS; i++)
		if (pthread_create(&threads[i], NULL, vcpu_thread, (void *)i))
			die("pthread_create");
	if (pthread_create(&irqfds, NULL, irqfd_thread, eventfds))
		die("pthread_create");
	disturb(seconds);
	quiet = true;
	wait_for_guest();
	check_counts();
}

static void test_xapic(void)
{
	storm();
}

static void test_x2apic(void)
{
	x2apic = true;
	storm();
}

static const struct test tests[] = {
	{ "a storm, xAPIC mode", test_xapic },
	{ "a storm, x2APIC mode", test_x2apic },
};

KTAP_MAIN(tests)
