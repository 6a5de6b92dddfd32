// SPDX-License-Identifier: GPL-2.0
/*
 * The split model: local APICs and routes in the kernel, I/O APIC, PIC and PIT in the client.
 * Source: KVM's api.rst, KVM_CAP_SPLIT_IRQCHIP, KVM_EXIT_IOAPIC_EOI, KVM_INTERRUPT, KVM_CAP_X2APIC_API.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "machine.h"

#define VECTOR_A 0x40
#define VECTOR_B 0x51
#define VECTOR_EXT 0x62

#define LEVEL (1u << 15)  /* of a message's data */
#define LOGICAL (1u << 2) /* of its address */
#define LINT0_EXTINT (7u << 8)

static long enable(int vm, u32 capability, u64 argument)
{
	struct kvm_enable_cap cap = { .cap = capability, .args = { argument } };

	return ioctl(vm, KVM_ENABLE_CAP, &cap);
}

static int irq_line(struct machine *m, unsigned int gsi, int level)
{
	struct kvm_irq_level line = { .irq = gsi, .level = level };

	return ioctl(m->vm, KVM_IRQ_LINE_STATUS, &line) ? -1000 : (int)line.status;
}

static int signal_msi(struct machine *m, u32 address_hi, u32 dest, u32 data)
{
	struct kvm_msi msi = { .address_lo = 0xfee00000 | dest << 12, .address_hi = address_hi, .data = data };

	return ioctl(m->vm, KVM_SIGNAL_MSI, &msi);
}

static long set_route(struct machine *m, u32 gsi, u32 address_lo, u32 data)
{
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry entry;
	} r = {
		.head.nr = 1,
		.entry = { .gsi = gsi,
			   .type = KVM_IRQ_ROUTING_MSI,
			   .u.msi = { .address_lo = 0xfee00000 | address_lo, .data = data } },
	};

	return ioctl(m->vm, KVM_SET_GSI_ROUTING, &r);
}

static void guest_takes(void)
{
	apic_enable();
	sync_host(1);
	for (;;) {
		open_window();
		sync_host(taken[0][VECTOR_A] * 16 + taken[0][VECTOR_B]);
	}
}

/* -- what is there ----------------------------------------------------------------------------------------------- */

static void test_creation(void)
{
	struct machine m = machine_create(0, 0), late = machine_create(1, 0), whole = machine_create(0, WITH_CHIPS);

	expect_eq(ioctl(m.device, KVM_CHECK_EXTENSION, KVM_CAP_SPLIT_IRQCHIP), 1);
	expect_errno(enable(m.vm, KVM_CAP_SPLIT_IRQCHIP, 4097), EINVAL);
	expect_errno(enable(m.vm, KVM_CAP_SPLIT_IRQCHIP, 4096), 0);
	expect_errno(enable(m.vm, KVM_CAP_SPLIT_IRQCHIP, 24), EEXIST);
	expect_errno(ioctl(m.vm, KVM_CREATE_IRQCHIP, 0), EEXIST);
	expect_errno(enable(late.vm, KVM_CAP_SPLIT_IRQCHIP, 24), EEXIST);
	expect_errno(enable(whole.vm, KVM_CAP_SPLIT_IRQCHIP, 24), EEXIST);
	machine_destroy(&m);
	machine_destroy(&late);
	machine_destroy(&whole);
}

static void test_absent(void)
{
	struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_IOAPIC };
	struct kvm_pit_config pit_config = {};
	struct kvm_pit_state2 pit = {};
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry entry;
	} pin = { .head.nr = 1, .entry = { .type = KVM_IRQ_ROUTING_IRQCHIP, .u.irqchip.irqchip = KVM_IRQCHIP_IOAPIC } };
	struct machine m = machine_create(1, WITH_SPLIT);
	struct kvm_irqfd irqfd = { .fd = eventfd(0, 0), .flags = KVM_IRQFD_FLAG_RESAMPLE };

	expect_errno(ioctl(m.vm, KVM_GET_IRQCHIP, &chip), ENXIO);
	expect_errno(ioctl(m.vm, KVM_SET_IRQCHIP, &chip), ENXIO);
	/* As api.rst has it; stock KVM made one before Linux 6.15. */
	expect_errno(ioctl(m.vm, KVM_CREATE_PIT2, &pit_config), ENOENT);
	expect_errno(ioctl(m.vm, KVM_GET_PIT2, &pit), ENXIO);
	expect_errno(ioctl(m.vm, KVM_SET_GSI_ROUTING, &pin), EINVAL);
	irqfd.resamplefd = irqfd.fd;
	expect_errno(ioctl(m.vm, KVM_IRQFD, &irqfd), EINVAL);
	irqfd.flags = 0;
	expect_errno(ioctl(m.vm, KVM_IRQFD, &irqfd), 0);
	/* No GSI has a route to begin with. */
	expect_eq(irq_line(&m, 0, 1), -1);
	machine_destroy(&m);
}

static void guest_reaches(void)
{
	mmio_write32(IOAPIC_BASE, 0x10);
	mmio_write32(0, 1); /* the pages from 0 on are memory, whatever the absent I/O APIC says */
	outb(0x20, 0x11);
	outb(0x43, 0x34);
	sync_host(1);
}

/* The registers of all but the local APIC are the client's. */
static void test_registers(void)
{
	struct machine m = machine_create(1, WITH_SPLIT);
	struct kvm_run *run = m.vcpu[0].run;

	machine_start(&m, 0, guest_reaches);
	expect(machine_run(&m, 0) == -1 && run->exit_reason == KVM_EXIT_MMIO && run->mmio.phys_addr == IOAPIC_BASE);
	expect(machine_run(&m, 0) == -1 && run->exit_reason == KVM_EXIT_IO && run->io.port == 0x20);
	expect_eq(low_memory[0], 1);
	expect(machine_run(&m, 0) == -1 && run->exit_reason == KVM_EXIT_IO && run->io.port == 0x43);
	machine_expect(&m, 0, 1);
	machine_destroy(&m);
}

/* -- messages, and the ends that the client hears of --------------------------------------------------------------- */

static void expect_eoi(struct machine *m, u8 vector)
{
	struct kvm_run *run = m->vcpu[0].run;

	expect_eq(machine_run(m, 0), -1);
	expect_eq(run->exit_reason, KVM_EXIT_IOAPIC_EOI);
	expect_eq(run->eoi.vector, vector);
}

static void eois(bool in_x2apic)
{
	struct machine m = machine_create(1, WITH_SPLIT);

	x2apic = in_x2apic;
	machine_start(&m, 0, guest_takes);
	machine_expect(&m, 0, 1);
	/* Level-triggered at a pin of the client's: heard of. A message with the same vector cannot be told from it. */
	expect_errno(set_route(&m, 5, 0, LEVEL | VECTOR_A), 0);
	expect_eq(irq_line(&m, 5, 1), 1);
	expect_eoi(&m, VECTOR_A);
	machine_expect(&m, 0, 0x10);
	expect_eq(signal_msi(&m, 0, 0, LEVEL | VECTOR_A), 1);
	expect_eoi(&m, VECTOR_A);
	machine_expect(&m, 0, 0x20);
	/* Of no pin's vector: not. */
	expect_eq(signal_msi(&m, 0, 0, LEVEL | VECTOR_B), 1);
	machine_expect(&m, 0, 0x21);
	/* Edge-triggered: not. */
	expect_errno(set_route(&m, 5, 0, VECTOR_A), 0);
	expect_eq(irq_line(&m, 5, 1), 1);
	machine_expect(&m, 0, 0x31);
	/* The last pin, and the first GSI that is none. */
	expect_errno(set_route(&m, 23, 0, LEVEL | VECTOR_B), 0);
	expect_eq(irq_line(&m, 23, 1), 1);
	expect_eoi(&m, VECTOR_B);
	machine_expect(&m, 0, 0x32);
	expect_errno(set_route(&m, 24, 0, LEVEL | VECTOR_B), 0);
	expect_eq(irq_line(&m, 24, 1), 1);
	machine_expect(&m, 0, 0x33);
	/* Another CPU's. */
	expect_errno(set_route(&m, 5, 3 << 12, LEVEL | VECTOR_A), 0);
	expect_eq(signal_msi(&m, 0, 0, LEVEL | VECTOR_A), 1);
	machine_expect(&m, 0, 0x43);
	/* Everybody's. */
	expect_errno(set_route(&m, 5, 0xff << 12, LEVEL | VECTOR_A), 0);
	expect_eq(irq_line(&m, 5, 1), 1);
	expect_eoi(&m, VECTOR_A);
	machine_expect(&m, 0, 0x53);
	machine_destroy(&m);
}

static void test_eois_xapic(void)
{
	eois(false);
}

static void test_eois_x2apic(void)
{
	eois(true);
}

static void guest_stays(void)
{
	apic_enable();
	sync_host(1);
	open_window();
	sync_host(3);
}

static void in_service(unsigned int vector)
{
	(void)vector;
	sync_host(2);
}

/* The routes that count are those of the time of the EOI. */
static void test_route_changes(void)
{
	struct machine m = machine_create(1, WITH_SPLIT);

	x2apic = true;
	on_interrupt = in_service;
	machine_start(&m, 0, guest_stays);
	machine_expect(&m, 0, 1);
	expect_eq(signal_msi(&m, 0, 0, LEVEL | VECTOR_A), 1);
	machine_expect(&m, 0, 2);
	expect_errno(set_route(&m, 5, 0, LEVEL | VECTOR_A), 0);
	expect_eoi(&m, VECTOR_A);
	machine_expect(&m, 0, 3);
	machine_destroy(&m);
}

/* An irqfd on a pin of the client's. */
static void test_irqfd(void)
{
	struct machine m = machine_create(1, WITH_SPLIT);
	struct kvm_irqfd irqfd = { .fd = eventfd(0, 0), .gsi = 7 };

	x2apic = true;
	machine_start(&m, 0, guest_takes);
	machine_expect(&m, 0, 1);
	expect_errno(set_route(&m, 7, LOGICAL | 1 << 12, LEVEL | VECTOR_A), 0);
	expect_errno(ioctl(m.vm, KVM_IRQFD, &irqfd), 0);
	eventfd_write(irqfd.fd, 1);
	expect_eoi(&m, VECTOR_A);
	machine_expect(&m, 0, 0x10);
	machine_destroy(&m);
}

/* -- the client's PIC -------------------------------------------------------------------------------------------- */

static long interrupt(struct machine *m, u32 vector)
{
	struct kvm_interrupt irq = { vector };

	return ioctl(m->vcpu[0].fd, KVM_INTERRUPT, &irq);
}

static void guest_extint(void)
{
	apic_enable();
	apic_write(APIC_LVT_LINT0, LVT_MASKED);
	sync_host(1);
	apic_write(APIC_LVT_LINT0, LINT0_EXTINT);
	sync_host(2);
	open_window();
	sync_host(taken[0][VECTOR_EXT]);
	asm volatile("sti" : : : "memory");
	for (;;)
		sync_host(taken[0][VECTOR_EXT]);
}

/* Interrupts come in through LINT0, and wait there for RFLAGS.IF. */
static void test_extint(void)
{
	struct machine m = machine_create(1, WITH_SPLIT);
	struct kvm_run *run = m.vcpu[0].run;

	x2apic = true;
	machine_start(&m, 0, guest_extint);
	machine_expect(&m, 0, 1);
	expect(!run->ready_for_interrupt_injection);
	expect_errno(interrupt(&m, 256), EINVAL);
	machine_expect(&m, 0, 2);
	expect(!run->if_flag && !run->ready_for_interrupt_injection);
	expect_errno(interrupt(&m, VECTOR_EXT), 0);
	expect_errno(interrupt(&m, VECTOR_EXT), EEXIST);
	machine_expect(&m, 0, 1);
	/* The client asks for the window: a moment at which the guest can take an interrupt. */
	run->request_interrupt_window = 1;
	expect_eq(machine_run(&m, 0), -1);
	expect_eq(run->exit_reason, KVM_EXIT_IRQ_WINDOW_OPEN);
	expect(run->if_flag && run->ready_for_interrupt_injection);
	expect_errno(interrupt(&m, VECTOR_EXT), 0);
	run->request_interrupt_window = 0;
	machine_expect(&m, 0, 2);
	machine_destroy(&m);
}

static void guest_masked(void)
{
	apic_enable();
	apic_write(APIC_LVT_LINT0, LVT_MASKED);
	sync_host(1);
	open_window();
	sync_host(taken[0][VECTOR_EXT]);
	apic_write(APIC_LVT_LINT0, LINT0_EXTINT);
	open_window();
	sync_host(taken[0][VECTOR_EXT]);
}

/* What waits at a masked LINT0 comes in when it is unmasked, which stock KVM 6.1 overlooks; until then no window is of use. */
static void test_extint_masked(void)
{
	struct machine m = machine_create(1, WITH_SPLIT);
	struct kvm_run *run = m.vcpu[0].run;

	x2apic = true;
	machine_start(&m, 0, guest_masked);
	machine_expect(&m, 0, 1);
	expect_errno(interrupt(&m, VECTOR_EXT), 0);
	run->request_interrupt_window = 1;
	machine_expect(&m, 0, 0);
	run->request_interrupt_window = 0;
	machine_expect(&m, 0, 1);
	machine_destroy(&m);
}

/* -- KVM_CAP_X2APIC_API ------------------------------------------------------------------------------------------ */

static u32 lapic_id(struct machine *m)
{
	struct kvm_lapic_state state;
	u32 id;

	if (ioctl(m->vcpu[0].fd, KVM_GET_LAPIC, &state))
		die("KVM_GET_LAPIC");
	memcpy(&id, state.regs + APIC_ID, sizeof(id));
	return id;
}

/* Without it 0xff is everybody, x2APICs as well, and the upper half of an address means nothing. */
static void test_8bit_ids(void)
{
	struct machine m = machine_create(1, WITH_SPLIT);

	x2apic = true;
	machine_start(&m, 0, guest_takes);
	machine_expect(&m, 0, 1);
	expect_eq(signal_msi(&m, 0, 0xff, VECTOR_A), 1);
	expect_eq(signal_msi(&m, 0x100, 0, VECTOR_B), 1);
	machine_expect(&m, 0, 0x11);
	machine_destroy(&m);
}

static void test_32bit_ids(void)
{
	struct machine m = machine_create(1, WITH_SPLIT);
	struct kvm_lapic_state state;

	x2apic = true;
	expect_errno(enable(m.vm, KVM_CAP_X2APIC_API, 3), 0);
	machine_start(&m, 0, guest_takes);
	machine_expect(&m, 0, 1);
	expect_eq(signal_msi(&m, 0, 0xff, VECTOR_A), 0);	  /* nobody: there is no CPU 255 */
	expect_eq(signal_msi(&m, 0x100, 0, VECTOR_A), 0);	  /* nor 256 */
	expect_eq(signal_msi(&m, 0xffffff00, 0xff, VECTOR_A), 1); /* everybody */
	expect_errno(signal_msi(&m, 1, 0, VECTOR_A), EINVAL);	  /* a reserved bit */
	machine_expect(&m, 0, 0x10);
	expect_eq(lapic_id(&m), 0);
	if (ioctl(m.vcpu[0].fd, KVM_GET_LAPIC, &state))
		die("KVM_GET_LAPIC");
	state.regs[APIC_ID] = 1;
	expect_errno(ioctl(m.vcpu[0].fd, KVM_SET_LAPIC, &state), EINVAL);
	machine_destroy(&m);
}

static const struct test tests[] = {
	{ "creation", test_creation },
	{ "what is not there", test_absent },
	{ "registers", test_registers },
	{ "KVM_EXIT_IOAPIC_EOI with an xAPIC", test_eois_xapic },
	{ "KVM_EXIT_IOAPIC_EOI with an x2APIC", test_eois_x2apic },
	{ "a route changes while its interrupt is in service", test_route_changes },
	{ "irqfd", test_irqfd },
	{ "ExtINT", test_extint },
	{ "ExtINT at a masked LINT0", test_extint_masked },
	{ "8-bit destinations", test_8bit_ids },
	{ "32-bit destinations", test_32bit_ids },
};

KTAP_MAIN(tests)
