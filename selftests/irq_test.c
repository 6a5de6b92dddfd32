// SPDX-License-Identifier: GPL-2.0
/* The interrupt controllers themselves: local APICs and their timers, PIC, PIT, I/O APIC; and none of them. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include "machine.h"

#define VECTOR_A 0x40
#define VECTOR_B 0x51

/* Of the PIT's 1.193182 MHz. Faster ticks are more than an emulated host with a debug kernel can follow. */
#define TICK_10_MS 11932

/* -- local APIC -------------------------------------------------------------------------------------------------- */

static void guest_self_ipi(void)
{
	apic_enable();
	for (unsigned int i = 1; i <= 10; i++) {
		apic_send(ICR_SELF | ICR_ASSERT | VECTOR_A, 0);
		wait_for(VECTOR_A, i);
	}
	if (x2apic)
		wrmsr(MSR_X2APIC_SELF_IPI, VECTOR_B);
	else
		apic_send(ICR_ASSERT | VECTOR_B, 0);
	wait_for(VECTOR_B, 1);
	sync_host(1);
}

static void self_ipi(bool in_x2apic)
{
	struct machine m = machine_create(1, WITH_CHIPS);

	x2apic = in_x2apic;
	machine_start(&m, 0, guest_self_ipi);
	machine_expect(&m, 0, 1);
	expect_eq(taken[0][VECTOR_A], 10);
	expect_eq(taken[0][VECTOR_B], 1);
	machine_destroy(&m);
}

static void test_self_ipi_xapic(void)
{
	self_ipi(false);
}

static void test_self_ipi_x2apic(void)
{
	self_ipi(true);
}

/* The task priority holds back what is not above it. */
static void guest_priority(void)
{
	apic_enable();
	apic_write(APIC_TPR, 0x40);
	apic_send(ICR_SELF | ICR_ASSERT | VECTOR_A, 0);
	apic_send(ICR_SELF | ICR_ASSERT | VECTOR_B, 0);
	open_window();
	sync_host(taken[0][VECTOR_A] * 16 + taken[0][VECTOR_B]);
	write_cr8(3);
	open_window();
	sync_host(taken[0][VECTOR_A] * 16 + taken[0][VECTOR_B]);
}

static void test_task_priority(void)
{
	struct machine m = machine_create(1, WITH_CHIPS);

	x2apic = true;
	machine_start(&m, 0, guest_priority);
	machine_expect(&m, 0, 0x01);
	machine_expect(&m, 0, 0x11);
	expect_eq(m.vcpu[0].run->cr8, 3);
	machine_destroy(&m);
}

static u64 tsc_deadline, tsc_seen;

static void note_tsc(unsigned int vector)
{
	(void)vector;
	tsc_seen = __rdtsc();
}

/* Whether a timer that was disarmed before its deadline stays quiet. If the host had the CPU until then: once more. */
static bool disarmed_is_quiet(void)
{
	unsigned int before;

	do {
		open_window();
		before = taken[0][VECTOR_B];
		tsc_deadline = __rdtsc() + 20000000;
		wrmsr(MSR_TSC_DEADLINE, tsc_deadline);
		wrmsr(MSR_TSC_DEADLINE, 0);
	} while (__rdtsc() >= tsc_deadline);
	while (__rdtsc() <= tsc_deadline)
		open_window();
	return taken[0][VECTOR_B] == before;
}

static void guest_timer(void)
{
	u32 first, second;

	apic_enable();
	apic_write(APIC_TDCR, 0xb);
	apic_write(APIC_LVT_TIMER, VECTOR_A);
	apic_write(APIC_TMICT, 2000000000);
	first = apic_read(APIC_TMCCT);
	second = apic_read(APIC_TMCCT);
	apic_write(APIC_TMICT, 2000000);
	wait_for(VECTOR_A, 1);
	sync_host(first < 2000000000 && second && second < first && !apic_read(APIC_TMCCT) ? 1 : 99);

	apic_write(APIC_LVT_TIMER, LVT_PERIODIC | VECTOR_A);
	apic_write(APIC_TMICT, 10000000);
	wait_for(VECTOR_A, 6);
	apic_write(APIC_TMICT, 0);
	sync_host(2);

	apic_write(APIC_LVT_TIMER, LVT_TSC_DEADLINE | VECTOR_B);
	tsc_deadline = __rdtsc() + 5000000;
	wrmsr(MSR_TSC_DEADLINE, tsc_deadline);
	wait_for(VECTOR_B, 1);
	sync_host(tsc_seen >= tsc_deadline && !rdmsr(MSR_TSC_DEADLINE) ? 3 : 99);

	wrmsr(MSR_TSC_DEADLINE, 1); /* long ago */
	wait_for(VECTOR_B, 2);
	wrmsr(MSR_TSC_DEADLINE, ~0ul); /* never */
	open_window();
	sync_host(taken[0][VECTOR_B] == 2 && disarmed_is_quiet() ? 4 : 99);
}

static void timer(bool in_x2apic)
{
	struct machine m = machine_create(1, WITH_CHIPS);

	x2apic = in_x2apic;
	on_interrupt = note_tsc;
	machine_start(&m, 0, guest_timer);
	machine_expect(&m, 0, 1);
	machine_expect(&m, 0, 2);
	machine_expect(&m, 0, 3);
	machine_expect(&m, 0, 4);
	machine_destroy(&m);
}

static void test_timer_xapic(void)
{
	timer(false);
}

static void test_timer_x2apic(void)
{
	timer(true);
}

#define DEADLINE_TICKS 5000000u

static void arm_deadline(u32 ticks)
{
	tsc_seen = 0;
	tsc_deadline = __rdtsc() + ticks;
	wrmsr(MSR_TSC_DEADLINE, tsc_deadline);
}

/* Which it must not be before, nor come twice. */
static bool deadline_is_kept(unsigned int nr)
{
	while (READ(taken[0][VECTOR_B]) < nr)
		;
	return tsc_seen >= tsc_deadline && !rdmsr(MSR_TSC_DEADLINE) && taken[0][VECTOR_B] == nr;
}

/* The vCPU computes meanwhile; exits; sleeps; sleeps and is woken before; is with the client; is stopped before by it. */
static void guest_deadlines(void)
{
	apic_enable();
	apic_write(APIC_LVT_TIMER, LVT_TSC_DEADLINE | VECTOR_B);
	asm volatile("sti");
	arm_deadline(DEADLINE_TICKS);
	sync_host(deadline_is_kept(1) ? 1 : 99);
	arm_deadline(DEADLINE_TICKS);
	while (READ(taken[0][VECTOR_B]) < 2)
		apic_read(APIC_TMCCT);
	sync_host(deadline_is_kept(2) ? 2 : 99);
	arm_deadline(DEADLINE_TICKS);
	wait_for(VECTOR_B, 3);
	sync_host(deadline_is_kept(3) ? 3 : 99);
	asm volatile("cli");
	arm_deadline(DEADLINE_TICKS);
	apic_send(ICR_SELF | ICR_ASSERT | VECTOR_A, 0);
	wait_for(VECTOR_A, 1);
	asm volatile("sti");
	sync_host(deadline_is_kept(4) ? 4 : 99);
	arm_deadline(DEADLINE_TICKS);
	sync_host(5);
	sync_host(deadline_is_kept(5) ? 6 : 99);
	arm_deadline(20 * DEADLINE_TICKS);
	sync_host(7);
	while (__rdtsc() <= tsc_deadline)
		;
	sync_host(taken[0][VECTOR_B] == 5 ? 8 : 99);
}

static void test_deadlines(void)
{
	struct {
		struct kvm_msrs header;
		struct kvm_msr_entry entry;
	} disarm = { .header.nmsrs = 1, .entry = { .index = MSR_TSC_DEADLINE } };
	struct machine m = machine_create(1, WITH_CHIPS);
	u64 start;
	int i;

	on_interrupt = note_tsc;
	machine_start(&m, 0, guest_deadlines);
	for (i = 1; i <= 5; i++)
		machine_expect(&m, 0, i);
	for (start = __rdtsc(); __rdtsc() - start < 2 * DEADLINE_TICKS;)
		usleep(1000);
	machine_expect(&m, 0, 6);
	machine_expect(&m, 0, 7);
	expect_eq(ioctl(m.vcpu[0].fd, KVM_SET_MSRS, &disarm), 1);
	machine_expect(&m, 0, 8);
	machine_destroy(&m);
}

static void guest_state(void)
{
	apic_enable();
	apic_write(APIC_LVT_TIMER, VECTOR_A);
	apic_send(ICR_SELF | ICR_ASSERT | VECTOR_B, 0);
	sync_host(1);
	wait_for(VECTOR_B, 1);
	sync_host(2);
}

static void test_lapic_state(void)
{
	struct machine m = machine_create(1, WITH_CHIPS), n = machine_create(1, WITH_CHIPS);
	struct kvm_lapic_state state = {};
	struct kvm_sregs sregs;
	struct kvm_regs regs;
	u32 irr;

	x2apic = false;
	machine_start(&m, 0, guest_state);
	machine_expect(&m, 0, 1);
	expect_eq(m.vcpu[0].run->apic_base, LAPIC_BASE | 0x900); /* enabled, bootstrap processor */
	expect_errno(ioctl(m.vcpu[0].fd, KVM_GET_LAPIC, &state), 0);
	memcpy(&irr, state.regs + APIC_IRR + (VECTOR_B >> 5) * 16, sizeof(irr));
	expect_eq(irr, 1u << (VECTOR_B & 31));
	/* The interrupt that is requested moves to another machine with the state. */
	expect(!ioctl(m.vcpu[0].fd, KVM_GET_SREGS, &sregs) && !ioctl(n.vcpu[0].fd, KVM_SET_SREGS, &sregs));
	m.vcpu[0].run->immediate_exit = 1; /* to end the OUT */
	expect_errno(ioctl(m.vcpu[0].fd, KVM_RUN, 0), EINTR);
	expect(!ioctl(m.vcpu[0].fd, KVM_GET_REGS, &regs) && !ioctl(n.vcpu[0].fd, KVM_SET_REGS, &regs));
	expect_errno(ioctl(n.vcpu[0].fd, KVM_SET_LAPIC, &state), 0);
	machine_expect(&n, 0, 2);
	machine_destroy(&m);
	machine_destroy(&n);
}

/* -- PIC, PIT, I/O APIC ------------------------------------------------------------------------------------------ */

static void pit_periodic(unsigned int n)
{
	outb(0x43, 0x34);
	outb(0x40, n & 0xff);
	outb(0x40, n >> 8);
}

static void guest_pit_by_pic(void)
{
	x2apic = false;
	apic_enable();
	pic_init(0xfe);
	pit_periodic(TICK_10_MS);
	wait_for(VECTOR_PIC, 10);
	outb(0x21, 0xff);
	sync_host(1);
}

static void guest_pit_by_ioapic(void)
{
	apic_enable();
	outb(0x21, 0xff);
	apic_write(APIC_LVT_LINT0, LVT_MASKED);
	ioapic_set_entry(0, VECTOR_A, 0);
	pit_periodic(TICK_10_MS);
	wait_for(VECTOR_A, 10);
	outb(0x43, 0x30); /* mode 0: one more, not before 2 ms */
	outb(0x40, 0x52);
	outb(0x40, 0x09);
	wait_for(VECTOR_A, taken[0][VECTOR_A] + 1);
	sync_host(1);
}

/*
 * With interrupts off for 20 periods and on for 10, by the local APIC's clock. Ticks that are kept come one after the
 * other, and the vCPU may have to wait for its CPU meanwhile: they get more time if they need it.
 */
static u32 blocked_ns, open_ns;
static bool ticks_are_kept;

static u32 now_ns(void)
{
	return ~0u - apic_read(APIC_TMCCT);
}

static bool late(void)
{
	return ticks_are_kept && taken[0][VECTOR_PIC] + 3 <= now_ns() / 10000000 && now_ns() < 4000000000;
}

static void guest_pit_late(void)
{
	apic_enable();
	pic_init(0xfe);
	apic_write(APIC_TDCR, 0xb);
	apic_write(APIC_LVT_TIMER, LVT_MASKED | VECTOR_A);
	pit_periodic(TICK_10_MS);
	apic_write(APIC_TMICT, ~0u);
	while (now_ns() < 200000000)
		;
	blocked_ns = now_ns();
	while (now_ns() - blocked_ns < 100000000 || late())
		open_window();
	open_ns = now_ns() - blocked_ns;
	sync_host(1);
}

/* Ticks that come while the last one waits for its acknowledge are kept, or dropped. */
static void test_pit_reinject(void)
{
	struct kvm_reinject_control control = { .pit_reinject = 0 };
	struct machine m = machine_create(1, WITH_CHIPS | WITH_PIT);

	ticks_are_kept = true;
	machine_start(&m, 0, guest_pit_late);
	machine_expect(&m, 0, 1);
	expect(taken[0][VECTOR_PIC] + 3 > (blocked_ns + open_ns) / 10000000);
	expect_errno(ioctl(m.vm, KVM_REINJECT_CONTROL, &control), 0);
	taken[0][VECTOR_PIC] = 0;
	ticks_are_kept = false;
	machine_start(&m, 0, guest_pit_late);
	machine_expect(&m, 0, 1);
	expect(taken[0][VECTOR_PIC] < open_ns / 10000000 + 3);
	machine_destroy(&m);
}

static void test_pit_by_pic(void)
{
	struct machine m = machine_create(1, WITH_CHIPS | WITH_PIT);

	machine_start(&m, 0, guest_pit_by_pic);
	machine_expect(&m, 0, 1);
	machine_destroy(&m);
}

static void test_pit_by_ioapic(void)
{
	struct machine m = machine_create(1, WITH_CHIPS | WITH_PIT);

	x2apic = true;
	machine_start(&m, 0, guest_pit_by_ioapic);
	machine_expect(&m, 0, 1);
	machine_destroy(&m);
}

static void test_pit_state(void)
{
	struct kvm_reinject_control control = { .pit_reinject = 0 };
	struct kvm_pit_config config = { .flags = KVM_PIT_SPEAKER_DUMMY };
	struct machine m = machine_create(1, WITH_CHIPS);
	struct kvm_pit_state2 state = {};

	expect_errno(ioctl(m.vm, KVM_GET_PIT2, &state), ENXIO);
	expect_errno(ioctl(m.vm, KVM_SET_PIT2, &state), ENXIO);
	expect_errno(ioctl(m.vm, KVM_REINJECT_CONTROL, &control), ENXIO);
	expect_errno(ioctl(m.vm, KVM_CREATE_PIT2, &config), 0);
	expect_errno(ioctl(m.vm, KVM_CREATE_PIT2, &config), EEXIST);
	machine_start(&m, 0, guest_pit_by_pic);
	machine_expect(&m, 0, 1);
	expect_errno(ioctl(m.vm, KVM_GET_PIT2, &state), 0);
	expect_eq(state.channels[0].count, TICK_10_MS);
	expect_eq(state.channels[0].mode, 2);
	expect_errno(ioctl(m.vm, KVM_SET_PIT2, &state), 0);
	expect_errno(ioctl(m.vm, KVM_REINJECT_CONTROL, &control), 0);
	machine_destroy(&m);
}

static void test_irqchip_state(void)
{
	struct machine none = machine_create(1, 0), m = machine_create(1, WITH_CHIPS);
	struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_IOAPIC };
	struct kvm_lapic_state lapic;

	expect_errno(ioctl(m.vm, KVM_GET_IRQCHIP, &chip), 0);
	expect(chip.chip.ioapic.base_address == IOAPIC_BASE && chip.chip.ioapic.redirtbl[3].fields.mask);
	chip.chip.ioapic.redirtbl[3].bits = 0xff00000000000000ull | ENTRY_MASKED | VECTOR_A;
	expect_errno(ioctl(m.vm, KVM_SET_IRQCHIP, &chip), 0);
	memset(&chip.chip, 0, sizeof(chip.chip));
	expect_errno(ioctl(m.vm, KVM_GET_IRQCHIP, &chip), 0);
	expect_eq(chip.chip.ioapic.redirtbl[3].bits, 0xff00000000000000ull | ENTRY_MASKED | VECTOR_A);
	chip.chip_id = KVM_IRQCHIP_PIC_SLAVE;
	expect(!ioctl(m.vm, KVM_GET_IRQCHIP, &chip) && !ioctl(m.vm, KVM_SET_IRQCHIP, &chip));
	chip.chip_id = 3;
	expect_errno(ioctl(m.vm, KVM_GET_IRQCHIP, &chip), EINVAL);
	expect_errno(ioctl(m.vm, KVM_SET_IRQCHIP, &chip), EINVAL);
	expect_errno(ioctl(m.vm, KVM_CREATE_IRQCHIP, 0), EEXIST);
	expect_errno(ioctl(none.vm, KVM_CREATE_IRQCHIP, 0), EINVAL);
	expect_errno(ioctl(none.vm, KVM_GET_IRQCHIP, &chip), ENXIO);
	expect_errno(ioctl(none.vm, KVM_SET_IRQCHIP, &chip), ENXIO);
	expect_errno(ioctl(none.vcpu[0].fd, KVM_GET_LAPIC, &lapic), EINVAL);
	expect_errno(ioctl(none.vcpu[0].fd, KVM_SET_LAPIC, &lapic), EINVAL);
	machine_destroy(&m);
	machine_destroy(&none);
}

/* -- two vCPUs --------------------------------------------------------------------------------------------------- */

static volatile bool quit;

static void guest_listener(void)
{
	apic_enable();
	sync_host(1);
	while (!quit)
		asm volatile("sti; hlt; cli" : : : "memory");
	sync_host(2);
}

/* Sends, until the other one has it. */
static void expect_other(unsigned int vector, unsigned int n)
{
	while (READ(taken[1][vector]) < n)
		asm volatile("pause");
}

static void guest_sender(void)
{
	apic_enable();
	apic_send(ICR_ASSERT | VECTOR_A, 1);
	expect_other(VECTOR_A, 1);
	apic_send(ICR_OTHERS | ICR_ASSERT | VECTOR_A, 0);
	expect_other(VECTOR_A, 2);
	apic_send(ICR_LOGICAL | ICR_ASSERT | VECTOR_A, 2); /* both have logical IDs 1 << their number */
	expect_other(VECTOR_A, 3);
	apic_send(ICR_ASSERT | VECTOR_A, x2apic ? ~0u : 0xff);
	expect_other(VECTOR_A, 4);
	wait_for(VECTOR_A, 1);
	apic_send(ICR_ASSERT | ICR_NMI, 1);
	expect_other(VECTOR_NMI, 1);
	quit = true;
	apic_send(ICR_ASSERT | VECTOR_B, 1);
	sync_host(1);
}

static void set_logical_id(struct machine *m, unsigned int id)
{
	struct kvm_lapic_state state;
	u32 ldr = 1u << (24 + id);

	if (ioctl(m->vcpu[id].fd, KVM_GET_LAPIC, &state))
		die("KVM_GET_LAPIC");
	memcpy(state.regs + APIC_LDR, &ldr, sizeof(ldr));
	if (ioctl(m->vcpu[id].fd, KVM_SET_LAPIC, &state))
		die("KVM_SET_LAPIC");
}

static void *run_second(void *machine)
{
	return (void *)(long)machine_run(machine, 1);
}

static void ipi(bool in_x2apic)
{
	struct machine m = machine_create(2, WITH_CHIPS);
	pthread_t second;
	void *said;

	x2apic = in_x2apic;
	quit = false;
	set_logical_id(&m, 0);
	set_logical_id(&m, 1);
	machine_start(&m, 0, guest_sender);
	machine_start(&m, 1, guest_listener);
	machine_expect(&m, 1, 1);
	pthread_create(&second, NULL, run_second, &m);
	machine_expect(&m, 0, 1);
	pthread_join(second, &said);
	expect_eq((long)said, 2);
	expect_eq(taken[0][VECTOR_A], 1);
	expect_eq(taken[1][VECTOR_NMI], 1);
	machine_destroy(&m);
}

static void test_ipi_xapic(void)
{
	ipi(false);
}

static void test_ipi_x2apic(void)
{
	ipi(true);
}

/* movb $0xaa, 0x500; hlt; jmp back to the hlt: in real mode at the page that the SIPI names */
static const u8 real_mode_code[] = { 0xc6, 0x06, 0x00, 0x05, 0xaa, 0xf4, 0xeb, 0xfd };

static void guest_starter(void)
{
	apic_enable();
	apic_send(ICR_ASSERT | ICR_INIT, 1);
	apic_send(ICR_ASSERT | ICR_STARTUP | 3, 1);
	while (READ(low_memory[0x500]) != 0xaa)
		asm volatile("pause");
	sync_host(1);
}

static void no_signal(int number)
{
	(void)number;
}

static void test_init_sipi(void)
{
	struct machine m = machine_create(2, WITH_CHIPS);
	struct kvm_mp_state state = { KVM_MP_STATE_UNINITIALIZED };
	struct sigaction wake = { .sa_handler = no_signal };
	pthread_t second;

	sigaction(SIGUSR1, &wake, NULL);
	x2apic = true;
	memcpy(low_memory + 0x3000, real_mode_code, sizeof(real_mode_code));
	low_memory[0x500] = 0;
	machine_start(&m, 0, guest_starter);
	expect_errno(ioctl(m.vcpu[1].fd, KVM_SET_MP_STATE, &state), 0);
	pthread_create(&second, NULL, run_second, &m);
	machine_expect(&m, 0, 1);
	/* It sleeps for good soon: take it out. */
	usleep(20000);
	m.vcpu[1].run->immediate_exit = 1;
	for (;;) {
		struct timespec soon;

		pthread_kill(second, SIGUSR1);
		clock_gettime(CLOCK_REALTIME, &soon);
		soon.tv_sec++;
		if (!pthread_timedjoin_np(second, NULL, &soon))
			break;
	}
	expect(!ioctl(m.vcpu[1].fd, KVM_GET_MP_STATE, &state) && state.mp_state == KVM_MP_STATE_HALTED);
	machine_destroy(&m);
}

/* -- controllers in the client ----------------------------------------------------------------------------------- */

static void guest_bare(void)
{
	sync_host(1);
	open_window();
	sync_host(taken[0][VECTOR_A]);
	write_cr8(5);
	sync_host(3);
	asm volatile("hlt");
}

static void test_user_interrupt(void)
{
	struct machine m = machine_create(1, 0);
	struct kvm_interrupt interrupt = { .irq = VECTOR_A };
	struct kvm_run *run_page = m.vcpu[0].run;

	x2apic = true;
	machine_start(&m, 0, guest_bare);
	machine_expect(&m, 0, 1);
	expect(!run_page->if_flag && !run_page->ready_for_interrupt_injection);
	run_page->request_interrupt_window = 1;
	expect(machine_run(&m, 0) == -1 && run_page->exit_reason == KVM_EXIT_IRQ_WINDOW_OPEN);
	expect(run_page->if_flag && run_page->ready_for_interrupt_injection);
	run_page->request_interrupt_window = 0;
	expect_errno(ioctl(m.vcpu[0].fd, KVM_INTERRUPT, &interrupt), 0);
	machine_expect(&m, 0, 1);
	machine_expect(&m, 0, 3);
	expect_eq(run_page->cr8, 5);
	expect(machine_run(&m, 0) == -1 && run_page->exit_reason == KVM_EXIT_HLT);
	machine_destroy(&m);
}

static const struct test tests[] = {
	{ "self_ipi_xapic", test_self_ipi_xapic }, { "self_ipi_x2apic", test_self_ipi_x2apic },
	{ "task_priority", test_task_priority },   { "timer_xapic", test_timer_xapic },
	{ "timer_x2apic", test_timer_x2apic },	   { "deadlines", test_deadlines },
	{ "lapic_state", test_lapic_state },	   { "pit_by_pic", test_pit_by_pic },
	{ "pit_by_ioapic", test_pit_by_ioapic },   { "pit_reinject", test_pit_reinject },
	{ "pit_state", test_pit_state },	   { "irqchip_state", test_irqchip_state },
	{ "ipi_xapic", test_ipi_xapic },	   { "ipi_x2apic", test_ipi_x2apic },
	{ "init_sipi", test_init_sipi },	   { "user_interrupt", test_user_interrupt },
};

KTAP_MAIN(tests)
