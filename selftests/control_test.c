// SPDX-License-Identifier: GPL-2.0
/*
 * Control: whatever a guest does, the host keeps its CPU. Next to a guest that never ends, on the same CPU, another
 * process gets its share; a signal ends KVM_RUN; SIGKILL ends the client. The bounds are generous: an emulated host is
 * slow, and what is looked for is a host that never comes back.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "guest.h"

#define MS 1000000ul /* in nanoseconds */
#define SECOND (1000 * MS)

/* What client and test share: a page of the guest's memory. */
#define SHARED GUEST_FREE
struct shared {
	volatile u8 started; /* by the guest, when it begins what it will not end */
	volatile u32 exit;   /* by the client: an exit that should not have been */
};

#define STARTED "movb $1, 0x20000\n"

#define HANDLER_VECTOR 0x40
#define X2APIC_BASE 0xfee00d00ull /* enabled, x2APIC mode, bootstrap processor */
#define NOTIFY 0x3f000000u	  /* in no slot: an ioeventfd's */
#define LEVEL_GSI 10

static u64 now(clockid_t clock)
{
	struct timespec t;

	if (clock_gettime(clock, &t))
		die("clock_gettime");
	return t.tv_sec * SECOND + t.tv_nsec;
}

static void pin(unsigned int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		die("sched_setaffinity");
}

/* -- guests that never end --------------------------------------------------------------------------------------- */

static struct guest *guest_of(enum guest_mode mode, struct code code)
{
	struct guest *g = guest_create(mode);

	guest_load(g, code);
	return g;
}

static struct guest *interrupts_off(void)
{
	return guest_of(MODE_LONG, CODE64("cli\n" STARTED "1: jmp 1b"));
}

static struct guest *interrupts_off_in_real_mode(void)
{
	return guest_of(MODE_REAL, CODE16("cli; mov $0x2000, %ax; mov %ax, %ds; movb $1, 0; 1: jmp 1b"));
}

static struct guest *pauses(void)
{
	return guest_of(MODE_LONG, CODE64(STARTED "1: pause; jmp 1b"));
}

/* Each MOV to SS keeps interrupts away for an instruction. */
static struct guest *interrupt_shadows(void)
{
	return guest_of(MODE_LONG, CODE64("sti; mov %ss, %eax\n" STARTED
					  "1: .rept 1024; mov %eax, %ss; .endr; sti; .rept 1024; mov %eax, %ss; .endr\n"
					  "jmp 1b"));
}

static struct guest *cpuids(void)
{
	return guest_of(MODE_LONG, CODE64(STARTED "1: xor %eax, %eax; cpuid; jmp 1b"));
}

static struct guest *msr_reads(void)
{
	return guest_of(MODE_LONG, CODE64("mov $0x1b, %ecx\n" STARTED "1: rdmsr; jmp 1b"));
}

static struct guest *cache_flushes(void)
{
	return guest_of(MODE_LONG, CODE64(STARTED "1: wbinvd; jmp 1b"));
}

static struct guest *mmio(void)
{
	return guest_of(MODE_LONG, CODE64(STARTED "1: mov 0xa0000, %eax; mov %eax, 0xa0008; jmp 1b"));
}

static struct guest *ports(void)
{
	return guest_of(MODE_LONG, CODE64(STARTED "1: in $0x10, %al; out %al, $0x10; jmp 1b"));
}

/* The prologue of code whose handler of an exception begins at label 9. Handlers lie below 64 KiB. */
#define HANDLE(vector) "lea 9f(%rip), %rax; mov %ax, 0x2000 + 16 * " #vector "\n"

static struct guest *undefined_opcodes(void)
{
	return guest_of(MODE_LONG, CODE64(HANDLE(6) STARTED "ud2; 9: iretq"));
}

static struct guest *page_faults(void)
{
	struct guest *g = guest_of(MODE_LONG, CODE64(HANDLE(14) STARTED "mov 0x300000, %eax; 9: add $8, %rsp; iretq"));

	guest_map(g, 0x300000, 0, 0);
	return g;
}

static struct guest *single_steps(void)
{
	return guest_of(MODE_LONG, CODE64(HANDLE(1) "pushf; orl $0x100, (%rsp)\n" STARTED "popf; 1: jmp 1b; 9: iretq"));
}

/*
 * A data breakpoint on the stack of #DB's own handler: its delivery triggers the next one before the handler has
 * executed an instruction. (CVE-2015-8104)
 */
static struct guest *breakpoint_on_debug_stack(void)
{
	return guest_of(
		MODE_LONG,
		CODE64(HANDLE(1) "mov $0x5fd8, %eax; mov %rax, %dr0; mov $0x90002, %eax; mov %rax, %dr7\n" STARTED
				 "1: mov %eax, 0x5fd8; jmp 1b; 9: iretq"));
}

/* Alignment checks in ring 3 whose handler, in ring 3 too, gets a frame that is not aligned either. (CVE-2015-5307) */
static struct guest *alignment_checks(void)
{
	struct guest *g = guest_create(MODE_PROT32);
	struct kvm_sregs s;

	guest_set_mode(g, MODE_PROT32, true);
	s = guest_sregs(g);
	s.cr0 |= CR0_AM;
	guest_set_sregs(g, &s);
	guest_set_gate(g, VECTOR_AC, SEL_USER_CS32, 0xee);
	guest_load(g, CODE32("lea 9f, %eax\n" STARTED "mov $0x7f01, %esp; 9: mov 0xa001, %eax; jmp 9b"));
	/* The stub of the vector is the handler; it must not end in a port access. */
	g->memory[GUEST_STUBS + VECTOR_AC * 8] = 0xeb;
	g->memory[GUEST_STUBS + VECTOR_AC * 8 + 1] = 0xfe;
	g->regs.rflags |= RFLAGS_AC;
	return g;
}

/* -- guests with interrupt controllers --------------------------------------------------------------------------- */

static void set_level(struct guest *g, u32 gsi, u32 level)
{
	struct kvm_irq_level line = { .irq = gsi, .level = level };

	if (ioctl(g->vm, KVM_IRQ_LINE, &line))
		die("KVM_IRQ_LINE");
}

/* GSI to HANDLER_VECTOR. @extra: bits of the I/O APIC's redirection entry */
static void route_gsi(struct guest *g, u32 gsi, u64 extra)
{
	struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_IOAPIC };

	if (ioctl(g->vm, KVM_GET_IRQCHIP, &chip))
		die("KVM_GET_IRQCHIP");
	chip.chip.ioapic.redirtbl[gsi].bits = HANDLER_VECTOR | extra;
	if (ioctl(g->vm, KVM_SET_IRQCHIP, &chip))
		die("KVM_SET_IRQCHIP");
}

/* TSC deadlines are not among what is supported at any rate: that takes the controllers in the kernel. */
static void allow_deadlines(struct guest *g)
{
	struct kvm_cpuid2 *cpuid = supported_cpuid(g->device);

	find_cpuid(cpuid, 1, 0)->ecx |= 1 << 24;
	if (ioctl(g->vcpu, KVM_SET_CPUID2, cpuid))
		die("KVM_SET_CPUID2");
	free(cpuid);
}

static struct guest *guest_with_chips(struct code code)
{
	struct kvm_pit_config pit = {};
	struct guest *g = guest_create_vm();
	struct kvm_sregs s;

	if (ioctl(g->vm, KVM_CREATE_IRQCHIP, 0) || ioctl(g->vm, KVM_CREATE_PIT2, &pit))
		die("KVM_CREATE_IRQCHIP, KVM_CREATE_PIT2");
	guest_create_vcpu(g);
	allow_deadlines(g);
	guest_set_mode(g, MODE_LONG, false);
	s = guest_sregs(g);
	s.apic_base = X2APIC_BASE;
	guest_set_sregs(g, &s);
	guest_load(g, code);
	return g;
}

#define WRMSR(msr, value) "mov $" #msr ", %ecx; mov $" #value ", %eax; xor %edx, %edx; wrmsr\n"
#define APIC_ON WRMSR(0x80f, 0x1ff)
#define EOI WRMSR(0x80b, 0)
#define SELF_IPI WRMSR(0x83f, 0x40)
#define PIC_OFF "mov $0xff, %al; out %al, $0x21; out %al, $0xa1\n"
#define HANDLE_INTERRUPTS HANDLE(0x40) APIC_ON PIC_OFF

static struct guest *self_interrupts(void)
{
	return guest_with_chips(
		CODE64(HANDLE_INTERRUPTS STARTED "sti\n" SELF_IPI "1: jmp 1b; 9: " EOI SELF_IPI "iretq"));
}

/* An interrupt line that nobody lowers: each EOI brings the next interrupt. */
static struct guest *level_interrupts(void)
{
	struct guest *g = guest_with_chips(CODE64(HANDLE_INTERRUPTS STARTED "sti; 1: jmp 1b; 9: " EOI "iretq"));

	route_gsi(g, LEVEL_GSI, 1 << 15);
	set_level(g, LEVEL_GSI, 1);
	return g;
}

/* The local APIC's timer with the shortest period there is. */
static struct guest *apic_timer(void)
{
	return guest_with_chips(CODE64(HANDLE_INTERRUPTS WRMSR(0x83e, 0xb) WRMSR(0x832, 0x20040) WRMSR(0x838, 1) STARTED
				       "sti; 1: jmp 1b; 9: " EOI "iretq"));
}

/* The same, with interrupts off: they are all lost. */
static struct guest *apic_timer_unheard(void)
{
	return guest_with_chips(
		CODE64(APIC_ON WRMSR(0x83e, 0xb) WRMSR(0x832, 0x20040) WRMSR(0x838, 1) STARTED "1: jmp 1b"));
}

static struct guest *passed_deadlines(void)
{
	return guest_with_chips(CODE64(HANDLE_INTERRUPTS WRMSR(0x832, 0x40040) STARTED
				       "sti; 1: " WRMSR(0x6e0, 1) "jmp 1b; 9: " EOI "iretq"));
}

/* Channel 0 in mode 2 with the count 1, its interrupt through the I/O APIC. */
static struct guest *pit(void)
{
	struct guest *g = guest_with_chips(
		CODE64(HANDLE_INTERRUPTS "mov $0x34, %al; out %al, $0x43; mov $1, %al; out %al, $0x40\n"
					 "xor %al, %al; out %al, $0x40\n" STARTED "sti; 1: jmp 1b; 9: " EOI "iretq"));

	route_gsi(g, 2, 0);
	return g;
}

/* One instruction that is millions of port accesses, to a controller in the kernel. */
static struct guest *string_output(void)
{
	return guest_with_chips(CODE64(STARTED "mov $0x43, %edx; 1: mov $0x100000, %esi; mov $0xe00000, %ecx\n"
					       "rep outsb; jmp 1b"));
}

static struct guest *notifications(void)
{
	struct kvm_ioeventfd notify = { .addr = NOTIFY, .len = 4, .fd = eventfd(0, EFD_NONBLOCK) };
	struct guest *g = guest_of(MODE_LONG, CODE64(STARTED "1: mov %eax, 0x3f000000; jmp 1b"));

	if (ioctl(g->vm, KVM_IOEVENTFD, &notify))
		die("KVM_IOEVENTFD");
	return g;
}

static struct guest *halted(void)
{
	return guest_with_chips(CODE64(STARTED "cli; hlt; 1: jmp 1b"));
}

/* -- the client -------------------------------------------------------------------------------------------------- */

static volatile sig_atomic_t signals;

static void count_signal(int number)
{
	(void)number;
	signals++;
}

/* An exit that the guest is meant to make: no exception. */
static bool is_wanted(const struct kvm_run *run)
{
	return run->exit_reason == KVM_EXIT_MMIO || (run->exit_reason == KVM_EXIT_IO && run->io.port != TRAP_PORT);
}

/* The guest's memory and the test's: one page of both. */
static void share(struct guest *g, struct shared *shared)
{
	if (mremap(shared, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, g->memory + SHARED) == MAP_FAILED)
		die("mremap");
}

static void run_for_ever(struct guest *(*make)(void), struct shared *shared)
{
	struct guest *g;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	g = make();
	share(g, shared);
	shared = (void *)(g->memory + SHARED);
	if (ioctl(g->vcpu, KVM_SET_REGS, &g->regs))
		die("KVM_SET_REGS");
	while (!ioctl(g->vcpu, KVM_RUN, 0) && is_wanted(g->run))
		;
	shared->exit = g->run->exit_reason;
	exit(1);
}

static pid_t start_client(struct guest *(*make)(void), struct shared **shared)
{
	pid_t client;

	*shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (*shared == MAP_FAILED)
		die("mmap");
	client = fork();
	if (client < 0)
		die("fork");
	if (!client)
		run_for_ever(make, *shared);
	return client;
}

static void wait_until_started(pid_t client, struct shared *shared)
{
	u64 start = now(CLOCK_MONOTONIC);

	while (!shared->started) {
		if (now(CLOCK_MONOTONIC) - start > 60 * SECOND || waitpid(client, NULL, WNOHANG)) {
			fail("the guest did not start; exit %u", shared->exit);
			kill(client, SIGKILL);
			exit(1);
		}
		usleep(1000);
	}
}

/* Uses the CPU until it has got so much of it. */
static void work(u64 ns)
{
	u64 used = now(CLOCK_THREAD_CPUTIME_ID);

	while (now(CLOCK_THREAD_CPUTIME_ID) - used < ns)
		;
}

/* Both get on. An emulated host loses time now and then, so this waits until the shares are fair rather than look once. */
static void expect_share(pid_t client)
{
	const u64 enough = 50 * MS;
	u64 start = now(CLOCK_MONOTONIC), used = now(CLOCK_THREAD_CPUTIME_ID), its_start, mine, its, all;
	clockid_t clock;

	if (clock_getcpuclockid(client, &clock))
		die("clock_getcpuclockid");
	its_start = now(clock);
	do {
		work(10 * MS);
		mine = now(CLOCK_THREAD_CPUTIME_ID) - used;
		its = now(clock) - its_start;
		all = now(CLOCK_MONOTONIC) - start;
		if (mine >= enough && its >= enough && mine >= all / 10)
			return;
	} while (all < 30 * SECOND);
	fail("of %lu ms the guest got %lu, its neighbour %lu", all / MS, its / MS, mine / MS);
}

static void expect_death(pid_t client, struct shared *shared)
{
	u64 start = now(CLOCK_MONOTONIC);
	int status;

	kill(client, SIGKILL);
	if (waitpid(client, &status, 0) != client)
		die("waitpid");
	if (!WIFSIGNALED(status))
		fail("the client ended by itself: exit %u", shared->exit);
	if (now(CLOCK_MONOTONIC) - start > 10 * SECOND)
		fail("SIGKILL took %lu ms", (now(CLOCK_MONOTONIC) - start) / MS);
}

static void host_keeps_cpu(struct guest *(*make)(void))
{
	struct shared *shared;
	pid_t client;

	pin(0);
	client = start_client(make, &shared);
	wait_until_started(client, shared);
	expect_share(client);
	expect_death(client, shared);
}

static void test_halted(void)
{
	struct shared *shared;
	pid_t client = start_client(halted, &shared);

	wait_until_started(client, shared);
	usleep(20000);
	expect_death(client, shared);
}

/* -- signals ----------------------------------------------------------------------------------------------------- */

/* A signal handler, and the signal to the calling thread every 5 ms. */
static timer_t start_timer(int number)
{
	struct sigaction action = { .sa_handler = count_signal };
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = number };
	const struct timespec period = { .tv_nsec = 5 * MS };
	const struct itimerspec spec = { .it_interval = period, .it_value = period };
	timer_t timer;

	sigaction(number, &action, NULL);
	if (timer_create(CLOCK_MONOTONIC, &event, &timer) || timer_settime(timer, 0, &spec, NULL))
		die("timer_create");
	return timer;
}

/* Runs the guest until KVM_RUN has ended with EINTR several times. */
static void expect_interruptions(struct guest *g)
{
	unsigned int interruptions = 0;
	int r;

	if (ioctl(g->vcpu, KVM_SET_REGS, &g->regs))
		die("KVM_SET_REGS");
	while (interruptions < 20) {
		r = ioctl(g->vcpu, KVM_RUN, 0);
		if (!r && is_wanted(g->run))
			continue;
		if (!expect_errno(r, EINTR) || !expect_eq(g->run->exit_reason, KVM_EXIT_INTR))
			return;
		interruptions++;
	}
	expect(signals >= 20);
}

static void test_signals(void)
{
	struct guest *(*const guests[])(void) = { interrupts_off,  cpuids,	  mmio,	      page_faults,
						  self_interrupts, string_output, apic_timer, halted };
	struct guest *made[ARRAY_SIZE(guests)];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(guests); i++)
		made[i] = guests[i]();
	start_timer(SIGUSR1);
	for (i = 0; i < ARRAY_SIZE(guests); i++) {
		context("guest %u", i);
		signals = 0;
		expect_interruptions(made[i]);
	}
}

/* KVM_SET_SIGNAL_MASK: a signal that the thread blocks ends KVM_RUN if the mask lets it, and stays pending. */
static void test_signal_mask(void)
{
	struct {
		struct kvm_signal_mask head;
		u64 set;
	} __attribute__((packed)) mask = { .head.len = sizeof(mask.set) };
	struct guest *g = interrupts_off();
	sigset_t blocked, pending;

	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR1);
	sigprocmask(SIG_BLOCK, &blocked, NULL);
	start_timer(SIGUSR1);
	expect_errno(ioctl(g->vcpu, KVM_SET_SIGNAL_MASK, &mask), 0);
	if (ioctl(g->vcpu, KVM_SET_REGS, &g->regs))
		die("KVM_SET_REGS");
	expect_errno(ioctl(g->vcpu, KVM_RUN, 0), EINTR);
	expect_eq(signals, 0);
	sigpending(&pending);
	expect(sigismember(&pending, SIGUSR1));
}

static void test_immediate_exit(void)
{
	struct guest *g = guest_of(MODE_LONG, CODE64("nop; out %al, $0x10"));

	if (ioctl(g->vcpu, KVM_SET_REGS, &g->regs))
		die("KVM_SET_REGS");
	g->run->immediate_exit = 1;
	expect_errno(ioctl(g->vcpu, KVM_RUN, 0), EINTR);
	if (ioctl(g->vcpu, KVM_GET_REGS, &g->regs))
		die("KVM_GET_REGS");
	expect_eq(g->regs.rip, GUEST_CODE);
	g->run->immediate_exit = 0;
	guest_run(g);
	expect_exit(g, KVM_EXIT_IO);
}

/* -- the tests --------------------------------------------------------------------------------------------------- */

#define KEEPS_CPU(guest)               \
	static void test_##guest(void) \
	{                              \
		host_keeps_cpu(guest); \
	}

KEEPS_CPU(interrupts_off)
KEEPS_CPU(interrupts_off_in_real_mode)
KEEPS_CPU(pauses)
KEEPS_CPU(interrupt_shadows)
KEEPS_CPU(cpuids)
KEEPS_CPU(msr_reads)
KEEPS_CPU(cache_flushes)
KEEPS_CPU(mmio)
KEEPS_CPU(ports)
KEEPS_CPU(undefined_opcodes)
KEEPS_CPU(page_faults)
KEEPS_CPU(single_steps)
KEEPS_CPU(alignment_checks)
KEEPS_CPU(self_interrupts)
KEEPS_CPU(level_interrupts)
KEEPS_CPU(apic_timer)
KEEPS_CPU(apic_timer_unheard)
KEEPS_CPU(passed_deadlines)
KEEPS_CPU(pit)
KEEPS_CPU(string_output)
KEEPS_CPU(notifications)

static void test_breakpoint_on_debug_stack(void)
{
	/* Its breakpoints are not made for the middle of an exception's delivery. */
	if (emulated_by_qemu())
		skip("QEMU aborts");
	host_keeps_cpu(breakpoint_on_debug_stack);
}

static const struct test tests[] = {
	{ "cli; 1: jmp 1b", test_interrupts_off },
	{ "cli; 1: jmp 1b in real mode", test_interrupts_off_in_real_mode },
	{ "PAUSE without end", test_pauses },
	{ "interrupt shadows without end", test_interrupt_shadows },
	{ "CPUID without end", test_cpuids },
	{ "RDMSR without end", test_msr_reads },
	{ "WBINVD without end", test_cache_flushes },
	{ "MMIO without end", test_mmio },
	{ "port I/O without end", test_ports },
	{ "#UD without end", test_undefined_opcodes },
	{ "#PF without end", test_page_faults },
	{ "#DB after each instruction", test_single_steps },
	{ "#DB from the delivery of #DB", test_breakpoint_on_debug_stack },
	{ "#AC from the delivery of #AC", test_alignment_checks },
	{ "interrupts to itself without end", test_self_interrupts },
	{ "a level-triggered interrupt that nobody ends", test_level_interrupts },
	{ "the local APIC's timer with the shortest period", test_apic_timer },
	{ "the same with interrupts off", test_apic_timer_unheard },
	{ "TSC deadlines in the past", test_passed_deadlines },
	{ "the PIT with the shortest period", test_pit },
	{ "REP OUTS of millions of bytes", test_string_output },
	{ "writes to an ioeventfd without end", test_notifications },
	{ "a halted guest ends with SIGKILL", test_halted },
	{ "a signal ends KVM_RUN", test_signals },
	{ "a signal that only KVM_SET_SIGNAL_MASK lets through ends it", test_signal_mask },
	{ "immediate_exit ends it before the guest runs", test_immediate_exit },
};

KTAP_MAIN(tests)
