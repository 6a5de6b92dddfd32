// SPDX-License-Identifier: GPL-2.0
/* The ways of interrupts in and of notifications out: GSIs, their routes, messages, irqfds, ioeventfds. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "machine.h"

#define VECTOR_A 0x40
#define VECTOR_B 0x51
#define NOTIFY_PORT 0x510
#define NOTIFY_MMIO 0x3f000000ul /* in no memory slot */

/* After a moment an eventfd is signalled: the guest sleeps by then. */
struct later {
	pthread_t thread;
	int eventfd;
};

static void *signal_later(void *argument)
{
	struct later *later = argument;

	usleep(20000);
	eventfd_write(later->eventfd, 1);
	return NULL;
}

static void later_begin(struct later *later, int fd)
{
	later->eventfd = fd;
	if (pthread_create(&later->thread, NULL, signal_later, later))
		die("pthread_create");
}

static void later_end(struct later *later)
{
	pthread_join(later->thread, NULL);
}

static int irq_line(struct machine *m, unsigned int gsi, int level)
{
	struct kvm_irq_level line = { .irq = gsi, .level = level };

	return ioctl(m->vm, KVM_IRQ_LINE_STATUS, &line) ? -1000 : (int)line.status;
}

static int signal_msi(struct machine *m, u32 dest, u32 data)
{
	struct kvm_msi msi = { .address_lo = 0xfee00000 | dest << 12, .data = data };

	return ioctl(m->vm, KVM_SIGNAL_MSI, &msi);
}

static int assign_irqfd(struct machine *m, int fd, unsigned int gsi, unsigned int flags, int resample)
{
	struct kvm_irqfd irqfd = { .fd = fd, .gsi = gsi, .flags = flags, .resamplefd = resample };

	return ioctl(m->vm, KVM_IRQFD, &irqfd);
}

static int assign_ioeventfd(struct machine *m, int fd, u64 address, u32 len, u32 flags, u64 datamatch)
{
	struct kvm_ioeventfd ioeventfd = {
		.fd = fd, .addr = address, .len = len, .flags = flags, .datamatch = datamatch
	};

	return ioctl(m->vm, KVM_IOEVENTFD, &ioeventfd);
}

/* How often an eventfd was signalled since it was asked last. */
static unsigned long events(int fd)
{
	eventfd_t n;

	return eventfd_read(fd, &n) ? 0 : n;
}

static int new_eventfd(void)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	if (fd < 0)
		die("eventfd");
	return fd;
}

/* -- lines and messages ---------------------------------------------------------------------------------------- */

static void guest_ioapic(void)
{
	apic_enable();
	outb(0x21, 0xff);
	ioapic_set_entry(20, ENTRY_MASKED | VECTOR_A, 0);
	sync_host(1); /* ignored */
	ioapic_set_entry(20, VECTOR_A, 0);
	sync_host(2); /* delivered, coalesced */
	wait_for(VECTOR_A, 1);
	open_window();
	sync_host(taken[0][VECTOR_A]);
	ioapic_set_entry(20, ENTRY_LEVEL | VECTOR_B, 0);
	sync_host(3);	       /* raised */
	wait_for(VECTOR_B, 3); /* and still high after EOIs */
	sync_host(4);	       /* lowered */
	open_window();
	taken[0][VECTOR_B] = 0;
	open_window();
	sync_host(taken[0][VECTOR_B]);
}

static void test_irq_line(void)
{
	struct machine m = machine_create(1, WITH_CHIPS);

	x2apic = true;
	machine_start(&m, 0, guest_ioapic);
	machine_expect(&m, 0, 1);
	expect_eq(irq_line(&m, 20, 1), -1);
	irq_line(&m, 20, 0);
	machine_expect(&m, 0, 2);
	expect_eq(irq_line(&m, 20, 1), 1);
	expect_eq(irq_line(&m, 20, 1), 0);
	irq_line(&m, 20, 0);
	expect_eq(irq_line(&m, 4000, 1), -1);
	expect_eq(irq_line(&m, ~0u, 1), -1);
	machine_expect(&m, 0, 1);
	machine_expect(&m, 0, 3);
	expect_eq(irq_line(&m, 20, 1), 1);
	machine_expect(&m, 0, 4);
	irq_line(&m, 20, 0);
	machine_expect(&m, 0, 0);
	machine_destroy(&m);
}

static void guest_msi(void)
{
	apic_enable();
	sync_host(1);
	for (;;) {
		open_window();
		sync_host(taken[0][VECTOR_A] * 16 + taken[0][VECTOR_B]);
	}
}

static void test_signal_msi(void)
{
	struct kvm_msi bad = { .flags = ~KVM_MSI_VALID_DEVID };
	struct machine m = machine_create(1, WITH_CHIPS);

	x2apic = true;
	machine_start(&m, 0, guest_msi);
	expect_eq(signal_msi(&m, 0, VECTOR_A), 0); /* software-disabled */
	machine_expect(&m, 0, 1);
	expect_eq(signal_msi(&m, 0, VECTOR_A), 1);
	machine_expect(&m, 0, 0x10);
	expect_eq(signal_msi(&m, 0xff, VECTOR_B), 1); /* everybody, x2APICs as well */
	machine_expect(&m, 0, 0x11);
	expect_eq(signal_msi(&m, 7, VECTOR_B), 0); /* nobody */
	machine_expect(&m, 0, 0x11);
	expect_errno(ioctl(m.vm, KVM_SIGNAL_MSI, &bad), EINVAL);
	machine_destroy(&m);
}

static int set_routes(struct machine *m, const struct kvm_irq_routing_entry *entries, unsigned int nr,
		      unsigned int flags)
{
	struct kvm_irq_routing *routing = calloc(1, sizeof(*routing) + 4200 * sizeof(*entries));
	int answer, saved;

	routing->nr = nr;
	routing->flags = flags;
	if (entries)
		memcpy(routing->entries, entries, nr * sizeof(*entries));
	answer = ioctl(m->vm, KVM_SET_GSI_ROUTING, routing);
	saved = errno;
	free(routing);
	errno = saved;
	return answer;
}

static struct kvm_irq_routing_entry msi_route(unsigned int gsi, unsigned int vector)
{
	return (struct kvm_irq_routing_entry){ .gsi = gsi,
					       .type = KVM_IRQ_ROUTING_MSI,
					       .u.msi = { .address_lo = 0xfee00000, .data = vector } };
}

static struct kvm_irq_routing_entry pin_route(unsigned int gsi, unsigned int chip, unsigned int pin)
{
	return (struct kvm_irq_routing_entry){ .gsi = gsi,
					       .type = KVM_IRQ_ROUTING_IRQCHIP,
					       .u.irqchip = { .irqchip = chip, .pin = pin } };
}

static void test_routing(void)
{
	struct kvm_irq_routing_entry r[2] = { msi_route(4095, VECTOR_A), msi_route(24, VECTOR_B) };
	struct machine m = machine_create(1, WITH_CHIPS);
	unsigned int i;

	x2apic = true;
	machine_start(&m, 0, guest_msi);
	machine_expect(&m, 0, 1);
	expect_errno(set_routes(&m, r, 2, 0), 0);
	expect_eq(irq_line(&m, 4095, 1) == 1 && irq_line(&m, 24, 1), 1);
	expect_eq(irq_line(&m, 24, 0), -1);
	machine_expect(&m, 0, 0x11);
	expect_errno(set_routes(&m, r, 2, 1), EINVAL);
	expect_errno(set_routes(&m, NULL, 4097, 0), EINVAL);
	{
		struct kvm_irq_routing_entry bad[][2] = {
			{ msi_route(4096, VECTOR_A), r[1] },
			{ r[0], r[0] },
			{ r[1], pin_route(24, KVM_IRQCHIP_IOAPIC, 20) },
			{ pin_route(24, KVM_IRQCHIP_IOAPIC, 20), pin_route(24, KVM_IRQCHIP_IOAPIC, 21) },
			{ r[0], pin_route(3, KVM_IRQCHIP_IOAPIC, 24) },
			{ r[0], pin_route(3, KVM_IRQCHIP_PIC_MASTER, 8) },
			{ r[0], pin_route(3, KVM_IRQCHIP_PIC_SLAVE, 8) },
			{ r[0], pin_route(3, 3, 0) },
			{ r[0], { .gsi = 3, .type = 99 } },
			{ r[0], { .gsi = 3, .type = KVM_IRQ_ROUTING_IRQCHIP, .flags = 1 } },
			{ r[0], { .gsi = 3, .type = KVM_IRQ_ROUTING_MSI, .flags = 2 } },
		};

		for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
			expect_errno(set_routes(&m, bad[i], 2, 0), EINVAL);
	}
	/* A refused table leaves the old one, an empty one nothing. */
	expect_eq(irq_line(&m, 24, 1), 1);
	expect(!set_routes(&m, NULL, 0, 0) && irq_line(&m, 24, 1) == -1);
	machine_destroy(&m);
}

/* -- irqfds ------------------------------------------------------------------------------------------------------ */

static void guest_irqfd(void)
{
	apic_enable();
	sync_host(1);
	wait_for(VECTOR_A, 1);
	sync_host(2);
	for (;;) {
		open_window();
		sync_host(taken[0][VECTOR_A]);
	}
}

static void test_irqfd(void)
{
	struct machine m = machine_create(1, WITH_CHIPS);
	struct kvm_irq_routing_entry r = msi_route(30, VECTOR_A);
	int fd = new_eventfd(), other = new_eventfd(), pending = new_eventfd();
	struct later later;

	x2apic = true;
	machine_start(&m, 0, guest_irqfd);
	machine_expect(&m, 0, 1);
	expect_errno(set_routes(&m, &r, 1, 0), 0);
	expect_errno(assign_irqfd(&m, -1, 30, 0, 0), EBADF);
	expect_errno(assign_irqfd(&m, m.vm, 30, 0, 0), EINVAL);
	expect_errno(assign_irqfd(&m, fd, 30, 1 << 7, 0), EINVAL);
	expect_errno(assign_irqfd(&m, fd, 30, KVM_IRQFD_FLAG_RESAMPLE, -1), EBADF);
	expect_errno(assign_irqfd(&m, fd, 30, 0, 0), 0);
	expect_errno(assign_irqfd(&m, fd, 31, 0, 0), EBUSY);
	later_begin(&later, fd);
	machine_expect(&m, 0, 2);
	later_end(&later);
	expect_eq(events(fd), 0); /* the event was the irqfd's */
	eventfd_write(fd, 1);
	machine_expect(&m, 0, 2);
	expect_errno(assign_irqfd(&m, fd, 30, KVM_IRQFD_FLAG_DEASSIGN, 0), 0);
	expect_errno(assign_irqfd(&m, fd, 30, KVM_IRQFD_FLAG_DEASSIGN, 0),
		     0); /* as in KVM: that there is none is no error */
	eventfd_write(fd, 1);
	machine_expect(&m, 0, 2);
	expect_eq(events(fd), 1);
	eventfd_write(pending, 1); /* before there is an irqfd */
	expect_errno(assign_irqfd(&m, pending, 30, 0, 0), 0);
	usleep(10000);
	machine_expect(&m, 0, 3);
	/* A closed eventfd is no irqfd any more; nor is one that the machine's end finds. */
	expect_errno(assign_irqfd(&m, other, 30, 0, 0), 0);
	close(other);
	expect_errno(assign_irqfd(&m, fd, 4000, 0, 0), 0);
	eventfd_write(fd, 1);
	machine_destroy(&m);
	close(fd);
	close(pending);
}

static u32 resample_entry;

static void guest_resample(void)
{
	apic_enable();
	outb(0x21, 0xff);
	ioapic_set_entry(20, resample_entry, 0);
	sync_host(1);
	wait_for(VECTOR_A, 1);
	open_window();
	sync_host(taken[0][VECTOR_A]);
	open_window();
	sync_host(taken[0][VECTOR_A]);
	ioapic_set_entry(20, resample_entry | ENTRY_MASKED, 0);
	sync_host(3);
	ioapic_set_entry(20, resample_entry, 0);
	open_window();
	sync_host(taken[0][VECTOR_A]);
}

static void resample(u32 entry)
{
	struct machine m = machine_create(1, WITH_CHIPS);
	int fd = new_eventfd(), ended = new_eventfd(), fd2 = new_eventfd(), ended2 = new_eventfd();

	x2apic = true;
	resample_entry = entry;
	machine_start(&m, 0, guest_resample);
	machine_expect(&m, 0, 1);
	expect_errno(assign_irqfd(&m, fd, 20, KVM_IRQFD_FLAG_RESAMPLE, ended), 0);
	expect_errno(assign_irqfd(&m, fd2, 20, KVM_IRQFD_FLAG_RESAMPLE, ended2), 0);
	eventfd_write(fd, 1);
	machine_expect(&m, 0, 1); /* one interrupt only: its EOI lowered the line */
	expect(events(ended) == 1 && events(ended2) == 1);
	eventfd_write(fd2, 1);
	machine_expect(&m, 0, 2);
	expect(events(ended) == 1 && events(ended2) == 1);
	machine_expect(&m, 0, 3);
	eventfd_write(fd, 1); /* while the pin is masked; the last deassign lowers it */
	expect_errno(assign_irqfd(&m, fd, 20, KVM_IRQFD_FLAG_DEASSIGN, 0), 0);
	expect_errno(assign_irqfd(&m, fd2, 20, KVM_IRQFD_FLAG_DEASSIGN, 0), 0);
	machine_expect(&m, 0, 2);
	expect(events(ended) == 0 && events(ended2) == 0);
	machine_destroy(&m);
	close(fd);
	close(fd2);
	close(ended);
	close(ended2);
}

static void test_irqfd_resample_level(void)
{
	resample(ENTRY_LEVEL | VECTOR_A);
}

static void test_irqfd_resample_edge(void)
{
	resample(VECTOR_A);
}

/* An ioeventfd that is an irqfd, whose resample eventfd is an irqfd: each is signalled where the other's lock is held. */
static void guest_chain(void)
{
	apic_enable();
	outb(0x21, 0xff);
	ioapic_set_entry(20, ENTRY_LEVEL | VECTOR_A, 0);
	ioapic_set_entry(21, VECTOR_B, 0);
	sync_host(1);
	outb(NOTIFY_PORT, 1);
	wait_for(VECTOR_A, 1);
	wait_for(VECTOR_B, 1);
	sync_host(2);
}

static void test_eventfd_chain(void)
{
	struct machine m = machine_create(1, WITH_CHIPS);
	int fd = new_eventfd(), resample = new_eventfd();

	x2apic = true;
	machine_start(&m, 0, guest_chain);
	machine_expect(&m, 0, 1);
	expect_errno(assign_ioeventfd(&m, fd, NOTIFY_PORT, 1, KVM_IOEVENTFD_FLAG_PIO, 0), 0);
	expect_errno(assign_irqfd(&m, fd, 20, KVM_IRQFD_FLAG_RESAMPLE, resample), 0);
	expect_errno(assign_irqfd(&m, resample, 21, 0, 0), 0);
	machine_expect(&m, 0, 2);
	machine_destroy(&m);
	close(fd);
	close(resample);
}

/* -- ioeventfds -------------------------------------------------------------------------------------------------- */

static void guest_ioeventfd(void)
{
	outb(NOTIFY_PORT, 7);
	mmio_write32(NOTIFY_MMIO, 1);
	mmio_write32(NOTIFY_MMIO, 2);
	mmio_write32(NOTIFY_MMIO + 8, 3);
	sync_host(1);
	mmio_write32(NOTIFY_MMIO, 9); /* to the client */
	sync_host(2);
	outb(NOTIFY_PORT, 7); /* deassigned: to the client */
	sync_host(3);
}

static void test_ioeventfd(void)
{
	struct machine m = machine_create(1, 0);
	int fd = new_eventfd(), any = new_eventfd(), one = new_eventfd(), two = new_eventfd();
	struct kvm_run *run_page = m.vcpu[0].run;

	expect_errno(assign_ioeventfd(&m, fd, NOTIFY_PORT, 1, KVM_IOEVENTFD_FLAG_PIO, 0), 0);
	expect_errno(assign_ioeventfd(&m, one, NOTIFY_MMIO, 4, KVM_IOEVENTFD_FLAG_DATAMATCH, 1), 0);
	expect_errno(assign_ioeventfd(&m, two, NOTIFY_MMIO, 4, KVM_IOEVENTFD_FLAG_DATAMATCH, 2), 0);
	expect_errno(assign_ioeventfd(&m, any, NOTIFY_MMIO + 8, 0, 0, 0), 0);
	expect_errno(assign_ioeventfd(&m, any, NOTIFY_MMIO, 4, KVM_IOEVENTFD_FLAG_DATAMATCH, 2), EEXIST);
	expect_errno(assign_ioeventfd(&m, any, NOTIFY_MMIO, 4, 0, 0), EEXIST);
	expect_errno(assign_ioeventfd(&m, any, NOTIFY_MMIO + 8, 2, 0, 0), EEXIST);
	expect_errno(assign_ioeventfd(&m, -1, NOTIFY_MMIO, 4, 0, 0), EBADF);
	expect_errno(assign_ioeventfd(&m, m.vm, NOTIFY_MMIO, 4, 0, 0), EINVAL);
	expect_errno(assign_ioeventfd(&m, any, NOTIFY_MMIO, 3, 0, 0), EINVAL);
	expect_errno(assign_ioeventfd(&m, any, NOTIFY_MMIO, 16, 0, 0), EINVAL);
	expect_errno(assign_ioeventfd(&m, any, ~0ul, 8, 0, 0), EINVAL);
	expect_errno(assign_ioeventfd(&m, any, NOTIFY_MMIO, 0, KVM_IOEVENTFD_FLAG_DATAMATCH, 0), EINVAL);
	expect_errno(assign_ioeventfd(&m, any, NOTIFY_MMIO, 4, 1 << 9, 0), EINVAL);
	expect_errno(assign_ioeventfd(&m, any, NOTIFY_MMIO, 4, KVM_IOEVENTFD_FLAG_DEASSIGN, 0), ENOENT);
	machine_start(&m, 0, guest_ioeventfd);
	machine_expect(&m, 0, 1);
	expect(events(fd) == 1 && events(one) == 1 && events(two) == 1 && events(any) == 1);
	expect(machine_run(&m, 0) == -1 && run_page->exit_reason == KVM_EXIT_MMIO &&
	       run_page->mmio.phys_addr == NOTIFY_MMIO);
	machine_expect(&m, 0, 2);
	expect_errno(assign_ioeventfd(&m, fd, NOTIFY_PORT, 1, KVM_IOEVENTFD_FLAG_PIO | KVM_IOEVENTFD_FLAG_DEASSIGN, 0),
		     0);
	expect(machine_run(&m, 0) == -1 && run_page->exit_reason == KVM_EXIT_IO && run_page->io.port == NOTIFY_PORT);
	machine_expect(&m, 0, 3);
	expect_eq(events(fd), 0);
	machine_destroy(&m);
	close(fd);
	close(any);
	close(one);
	close(two);
}

/* -- without controllers in the kernel -------------------------------------------------------------------------- */

static void test_without_chips(void)
{
	struct machine m = machine_create(1, 0);
	struct kvm_irq_routing_entry r = msi_route(24, VECTOR_A);
	struct kvm_irq_level line = { .irq = 4, .level = 1 };
	int fd = new_eventfd();

	expect_errno(ioctl(m.vm, KVM_IRQ_LINE, &line), ENXIO);
	expect_errno(ioctl(m.vm, KVM_IRQ_LINE_STATUS, &line), ENXIO);
	expect_errno(signal_msi(&m, 0, VECTOR_A), EINVAL);
	expect_errno(set_routes(&m, &r, 1, 0), EINVAL);
	expect_errno(assign_irqfd(&m, fd, 4, 0, 0), EINVAL);
	machine_destroy(&m);
	close(fd);
}

static const struct test tests[] = {
	{ "irq_line", test_irq_line },
	{ "signal_msi", test_signal_msi },
	{ "routing", test_routing },
	{ "irqfd", test_irqfd },
	{ "irqfd_resample_level", test_irqfd_resample_level },
	{ "irqfd_resample_edge", test_irqfd_resample_edge },
	{ "eventfd_chain", test_eventfd_chain },
	{ "ioeventfd", test_ioeventfd },
	{ "without_chips", test_without_chips },
};

KTAP_MAIN(tests)
