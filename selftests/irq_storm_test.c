// SPDX-License-Identifier: GPL-2.0
/*
 * Interrupts from everywhere at once, at controllers that the guest and the client change meanwhile without sense, and a
 * client that is killed at any moment. All that is asked of the kernel is to survive it without a complaint, and of
 * the guest's machine to be there.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "machine.h"

#define NR_VCPUS 2
#define NR_EVENTFDS 16
#define NR_GSIS 40
#define NOTIFY_PORT 0x510
#define STORM_US 400000

static struct machine machine;
static int eventfds[NR_EVENTFDS];

/* A generator for both sides. */
static u32 next(u64 *state)
{
	*state = *state * 6364136223846793005ull + 1442695040888963407ull;
	return *state >> 33;
}

/* -- the guest --------------------------------------------------------------------------------------------------- */

static void guest_apic(u64 *state)
{
	static const u16 regs[] = { APIC_TPR, APIC_LVT_TIMER, APIC_TMICT, APIC_TDCR, APIC_LVT_LINT0, APIC_EOI };
	u32 reg = regs[next(state) % ARRAY_SIZE(regs)];
	u32 value = next(state);

	switch (reg) {
	case APIC_TPR:
		apic_write(reg, value & 0x3f);
		break;
	case APIC_LVT_TIMER:
		apic_write(reg, (value & (LVT_PERIODIC | LVT_TSC_DEADLINE)) | 0x40);
		break;
	case APIC_LVT_LINT0:
		apic_write(reg, value & 1 ? 0x700 : 0x400);
		break;
	case APIC_EOI:
		apic_write(reg, 0);
		break;
	default:
		apic_write(reg, value & (reg == APIC_TDCR ? 0xb : 0xfffff));
	}
}

static void guest_ports(u64 *state)
{
	static const u16 ports[] = { 0x20, 0x21, 0xa0, 0xa1, 0x40, 0x41, 0x42, 0x43, 0x61, 0x4d0, 0x4d1, NOTIFY_PORT };

	outb(ports[next(state) % ARRAY_SIZE(ports)], next(state));
}

/* Fixed, lowest priority or NMI, anywhere. */
static void guest_send(u64 *state)
{
	static const u32 modes[] = { 0, 1u << 8, ICR_NMI, ICR_LOGICAL, ICR_LOGICAL | 1u << 8 };
	u32 vector = 0x40 + next(state) % 0xc0, shorthand = next(state) % 4 << 18;

	apic_send(modes[next(state) % ARRAY_SIZE(modes)] | shorthand | ICR_ASSERT | vector, next(state) % 4);
}

static void guest_storm(void)
{
	u64 state = rdmsr(MSR_APIC_BASE) + 1;

	apic_enable();
	for (;;) {
		asm volatile("sti" : : : "memory");
		switch (next(&state) % 6) {
		case 0:
			guest_apic(&state);
			break;
		case 1:
			guest_ports(&state);
			break;
		case 2:
			guest_send(&state);
			break;
		case 3:
			ioapic_set_entry(next(&state) % 24, next(&state) & 0x1ffff, next(&state) % 4);
			break;
		case 4:
			wrmsr(MSR_TSC_DEADLINE, __builtin_ia32_rdtsc() + next(&state) % 100000);
			break;
		default:
			asm volatile("pause");
		}
	}
}

/* -- the client -------------------------------------------------------------------------------------------------- */

static void client_irqfd(u64 *state)
{
	u32 i = next(state) % NR_EVENTFDS;
	struct kvm_irqfd irqfd = { .fd = eventfds[i], .gsi = next(state) % NR_GSIS };

	switch (next(state) % 4) {
	case 0:
		irqfd.flags = KVM_IRQFD_FLAG_DEASSIGN;
		break;
	case 1:
		irqfd.flags = KVM_IRQFD_FLAG_RESAMPLE;
		irqfd.resamplefd = eventfds[next(state) % NR_EVENTFDS];
	}
	ioctl(machine.vm, KVM_IRQFD, &irqfd);
}

static void client_ioeventfd(u64 *state)
{
	struct kvm_ioeventfd ioeventfd = {
		.fd = eventfds[next(state) % NR_EVENTFDS],
		.addr = NOTIFY_PORT,
		.len = next(state) % 2,
		.flags = KVM_IOEVENTFD_FLAG_PIO | (next(state) % 2 ? KVM_IOEVENTFD_FLAG_DEASSIGN : 0),
	};

	ioctl(machine.vm, KVM_IOEVENTFD, &ioeventfd);
}

/* A new eventfd takes the place of one that is closed by that. */
static void client_eventfd(u64 *state)
{
	int fd = eventfds[next(state) % NR_EVENTFDS], new;

	if (next(state) % 8) {
		eventfd_write(fd, 1);
		return;
	}
	new = eventfd(0, EFD_NONBLOCK);
	dup2(new, fd);
	close(new);
}

static void client_routes(u64 *state)
{
	struct {
		struct kvm_irq_routing header;
		struct kvm_irq_routing_entry entries[NR_GSIS];
	} r = { .header.nr = NR_GSIS };
	u32 i;

	for (i = 0; i < NR_GSIS; i++) {
		struct kvm_irq_routing_entry *e = &r.entries[i];

		e->gsi = i;
		if (next(state) % 2) {
			e->type = KVM_IRQ_ROUTING_MSI;
			e->u.msi.address_lo = 0xfee00000 | (next(state) & 0xff00c);
			e->u.msi.data = next(state) & 0xc1ff;
		} else {
			e->type = KVM_IRQ_ROUTING_IRQCHIP;
			e->u.irqchip.irqchip = next(state) % 3;
			e->u.irqchip.pin = next(state) % 8;
		}
	}
	ioctl(machine.vm, KVM_SET_GSI_ROUTING, &r);
}

static void client_lines(u64 *state)
{
	struct kvm_irq_level line = { .irq = next(state) % NR_GSIS, .level = next(state) % 2 };
	struct kvm_msi msi = { .address_lo = 0xfee00000 | (next(state) & 0xff00c), .data = next(state) & 0xc1ff };

	ioctl(machine.vm, next(state) % 2 ? KVM_IRQ_LINE : KVM_IRQ_LINE_STATUS, &line);
	ioctl(machine.vm, KVM_SIGNAL_MSI, &msi);
}

static void scramble(u64 *state, void *start, u32 size)
{
	u8 *bytes = start;

	while (size--)
		if (!(next(state) % 8))
			bytes[size] = next(state);
}

static void client_chips(u64 *state)
{
	struct kvm_reinject_control control = { .pit_reinject = next(state) % 2 };
	struct kvm_irqchip chip = { .chip_id = next(state) % 3 };
	struct kvm_pit_state2 pit;

	if (!ioctl(machine.vm, KVM_GET_IRQCHIP, &chip)) {
		scramble(state, chip.chip.dummy, sizeof(chip.chip));
		if (chip.chip_id == KVM_IRQCHIP_IOAPIC)
			chip.chip.ioapic.base_address = IOAPIC_BASE;
		ioctl(machine.vm, KVM_SET_IRQCHIP, &chip);
	}
	if (!ioctl(machine.vm, KVM_GET_PIT2, &pit)) {
		scramble(state, &pit, sizeof(pit));
		ioctl(machine.vm, KVM_SET_PIT2, &pit);
	}
	ioctl(machine.vm, KVM_REINJECT_CONTROL, &control);
}

static void *client_thread(void *seed)
{
	static void (*const actions[])(u64 * state) = { client_irqfd,  client_ioeventfd, client_eventfd, client_eventfd,
							client_routes, client_lines,	 client_lines,	 client_chips };
	u64 state = (u64)seed;

	for (;;)
		actions[next(&state) % ARRAY_SIZE(actions)](&state);
	return NULL;
}

/* INIT, shutdown and other ends of a vCPU are the storm's, too: it begins again. */
static void *vcpu_thread(void *number)
{
	unsigned int vcpu = (u64)number;

	for (;;) {
		machine_run(&machine, vcpu);
		if (machine.vcpu[vcpu].run->exit_reason != KVM_EXIT_IO)
			machine_start(&machine, vcpu, guest_storm);
	}
	return NULL;
}

static void storm(u64 seed)
{
	pthread_t thread;
	u64 i;

	machine = machine_create(NR_VCPUS, WITH_CHIPS | WITH_PIT);
	x2apic = seed % 2;
	for (i = 0; i < NR_EVENTFDS; i++)
		eventfds[i] = eventfd(0, EFD_NONBLOCK);
	for (i = 0; i < NR_VCPUS; i++) {
		machine_start(&machine, i, guest_storm);
		pthread_create(&thread, NULL, vcpu_thread, (void *)i);
	}
	for (i = 0; i < 2; i++)
		pthread_create(&thread, NULL, client_thread, (void *)(seed * 2 + i));
	pause();
}

static void storm_and_kill(u64 seed)
{
	int status;
	pid_t pid = fork();

	if (!pid)
		storm(seed);
	if (pid < 0)
		die("fork");
	usleep(STORM_US + seed * 1237 % 1000);
	expect_eq(waitpid(pid, &status, WNOHANG), 0);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void test_storm(void)
{
	u64 seed;

	for (seed = 1; seed <= 10; seed++)
		storm_and_kill(seed);
}

static const struct test tests[] = {
	{ "storm", test_storm },
};

KTAP_MAIN(tests)
