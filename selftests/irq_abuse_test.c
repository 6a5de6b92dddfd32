// SPDX-License-Identifier: GPL-2.0
/*
 * Clients that give the interrupt controllers what makes no sense: states of random bytes, calls that are refused half-way,
 * and all of it while a guest runs. Nobody else may suffer, and with a good state all is well again.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "machine.h"

#define VECTOR_A 0x40
#define ROUNDS 300
#define NR_CHIPS 3

static u64 random_state = 1;

static u64 random64(void)
{
	u64 z = random_state += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

static void random_bytes(void *p, size_t size)
{
	u8 *bytes = p;

	while (size--)
		*bytes++ = random64();
}

/* -- states ------------------------------------------------------------------------------------------------------ */

struct state {
	struct kvm_irqchip chip[NR_CHIPS];
	struct kvm_pit_state2 pit;
	struct kvm_lapic_state lapic;
};

static void get_state(struct machine *m, struct state *s)
{
	unsigned int i;

	memset(s, 0, sizeof(*s));
	for (i = 0; i < NR_CHIPS; i++) {
		s->chip[i].chip_id = i;
		expect_errno(ioctl(m->vm, KVM_GET_IRQCHIP, &s->chip[i]), 0);
	}
	expect_errno(ioctl(m->vm, KVM_GET_PIT2, &s->pit), 0);
	expect_errno(ioctl(m->vcpu[0].fd, KVM_GET_LAPIC, &s->lapic), 0);
}

static void set_state(struct machine *m, struct state *s)
{
	unsigned int i;

	for (i = 0; i < NR_CHIPS; i++)
		expect_errno(ioctl(m->vm, KVM_SET_IRQCHIP, &s->chip[i]), 0);
	expect_errno(ioctl(m->vm, KVM_SET_PIT2, &s->pit), 0);
	expect_errno(ioctl(m->vcpu[0].fd, KVM_SET_LAPIC, &s->lapic), 0);
}

/* Whatever the client gave: bits that no register has are not there. */
static void expect_sane(const struct state *s)
{
	const struct kvm_ioapic_state *ioapic = &s->chip[KVM_IRQCHIP_IOAPIC].chip.ioapic;
	u32 version, tpr;
	unsigned int i;

	expect_eq(ioapic->id & ~0xfu, 0);
	for (i = 0; i < KVM_IOAPIC_NUM_PINS; i++)
		expect_eq(ioapic->redirtbl[i].bits >> 17 & 0x7fffffffff, 0);
	memcpy(&version, s->lapic.regs + 0x30, sizeof(version));
	memcpy(&tpr, s->lapic.regs + APIC_TPR, sizeof(tpr));
	expect_eq(version & 0xff, 0x14);
	expect_eq(tpr & ~0xffu, 0);
}

static void spoil(struct machine *m)
{
	struct kvm_pit_state2 pit;
	struct kvm_lapic_state lapic;
	struct kvm_irqchip chip;
	unsigned int i;
	int r;

	random_bytes(&chip, sizeof(chip));
	chip.chip_id = random64() % NR_CHIPS;
	/* Interrupts only: INIT, which such a state may send as well, would reset the guest. */
	for (i = 0; chip.chip_id == KVM_IRQCHIP_IOAPIC && i < KVM_IOAPIC_NUM_PINS; i++)
		chip.chip.ioapic.redirtbl[i].bits &= ~0x700ull;
	expect_errno(ioctl(m->vm, KVM_SET_IRQCHIP, &chip), 0);
	random_bytes(&pit, sizeof(pit));
	if (random64() & 1)
		pit.flags &= 1;
	r = ioctl(m->vm, KVM_SET_PIT2, &pit);
	expect(!r || errno == EINVAL);
	random_bytes(&lapic, sizeof(lapic));
	expect_errno(ioctl(m->vcpu[0].fd, KVM_SET_LAPIC, &lapic), 0);
}

static void guest_works(void)
{
	apic_enable();
	outb(0x21, 0xff);
	ioapic_set_entry(20, VECTOR_A, 0);
	for (;;) {
		sync_host(1);
		open_window();
	}
}

/* The guest takes an interrupt as it should. */
static void expect_works(struct machine *m)
{
	unsigned int before = taken[0][VECTOR_A];
	struct kvm_irq_level line = { .irq = 20, .level = 1 };

	expect_errno(ioctl(m->vm, KVM_IRQ_LINE, &line), 0);
	line.level = 0;
	expect_errno(ioctl(m->vm, KVM_IRQ_LINE, &line), 0);
	machine_expect(m, 0, 1);
	expect_eq(taken[0][VECTOR_A], before + 1);
}

static void test_states(void)
{
	struct machine m = machine_create(1, WITH_CHIPS | WITH_PIT);
	struct state good, seen;
	unsigned int i;

	x2apic = true;
	machine_start(&m, 0, guest_works);
	machine_expect(&m, 0, 1);
	expect_works(&m);
	get_state(&m, &good);
	for (i = 0; i < ROUNDS && !failed(); i++) {
		spoil(&m);
		get_state(&m, &seen);
		expect_sane(&seen);
	}
	set_state(&m, &good);
	machine_expect(&m, 0, 1);
	expect_works(&m);
	machine_destroy(&m);
}

/* What is refused has changed nothing. */
static void test_refused(void)
{
	struct machine m = machine_create(1, WITH_CHIPS | WITH_PIT);
	struct kvm_irqchip chip = { .chip_id = NR_CHIPS };
	struct kvm_pit_state2 pit = { .flags = ~0u };
	struct kvm_pit_config config = {};
	struct state before, after;

	x2apic = true;
	machine_start(&m, 0, guest_works);
	machine_expect(&m, 0, 1);
	get_state(&m, &before);
	expect_errno(ioctl(m.vm, KVM_SET_IRQCHIP, &chip), EINVAL);
	/* Stock KVM takes any flags. */
	expect_errno(ioctl(m.vm, KVM_SET_PIT2, &pit), EINVAL);
	expect_errno(ioctl(m.vm, KVM_CREATE_PIT2, &config), EEXIST);
	expect_errno(ioctl(m.vm, KVM_CREATE_IRQCHIP, 0), EEXIST);
	get_state(&m, &after);
	expect_bytes(&after.chip, &before.chip, sizeof(before.chip));
	expect_works(&m);
	machine_destroy(&m);
}

/* -- irqfds ------------------------------------------------------------------------------------------------------ */

static long irqfd(struct machine *m, int fd, u32 gsi, u32 flags, int resamplefd)
{
	struct kvm_irqfd args = { .fd = fd, .gsi = gsi, .flags = flags, .resamplefd = resamplefd };

	return ioctl(m->vm, KVM_IRQFD, &args);
}

static void test_irqfds(void)
{
	struct machine m = machine_create(1, WITH_CHIPS);
	int fd = eventfd(0, EFD_NONBLOCK), other = eventfd(0, EFD_NONBLOCK), null = open("/dev/null", O_RDWR), pipes[2];

	expect_errno(pipe(pipes), 0);
	expect_errno(irqfd(&m, null, 20, 0, 0), EINVAL);
	expect_errno(irqfd(&m, pipes[0], 20, 0, 0), EINVAL);
	expect_errno(irqfd(&m, m.vcpu[0].fd, 20, 0, 0), EINVAL);
	expect_errno(irqfd(&m, fd, 20, KVM_IRQFD_FLAG_RESAMPLE, null), EINVAL);
	expect_errno(irqfd(&m, fd, 20, KVM_IRQFD_FLAG_RESAMPLE, -1), EBADF);
	expect_errno(irqfd(&m, null, 20, KVM_IRQFD_FLAG_DEASSIGN, 0), EINVAL);
	/* A GSI that no route has, and none could have. */
	expect_errno(irqfd(&m, fd, ~0u, 0, 0), 0);
	expect_errno(eventfd_write(fd, 1), 0);
	/* One that is an irqfd already, of whichever GSI and kind. */
	expect_errno(irqfd(&m, fd, 20, 0, 0), EBUSY);
	expect_errno(irqfd(&m, fd, ~0u, KVM_IRQFD_FLAG_RESAMPLE, other), EBUSY);
	/* Its own resample eventfd. */
	expect_errno(irqfd(&m, other, 20, KVM_IRQFD_FLAG_RESAMPLE, other), 0);
	expect_errno(eventfd_write(other, 1), 0);
	expect_errno(irqfd(&m, other, 20, KVM_IRQFD_FLAG_DEASSIGN, 0), 0);
	x2apic = true;
	machine_start(&m, 0, guest_works);
	machine_expect(&m, 0, 1);
	machine_destroy(&m);
	expect_errno(eventfd_write(fd, 1), 0);
	expect_eq(read(fd, &(u64){ 0 }, sizeof(u64)), sizeof(u64));
}

/* -- at the same time -------------------------------------------------------------------------------------------- */

static struct machine *machine;
static bool stop;

static void random_routes(struct machine *m)
{
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry entries[8];
	} r;

	random_bytes(&r, sizeof(r));
	r.head.nr = random64() % 9;
	r.head.flags = 0;
	for (unsigned int i = 0; i < 8; i++) {
		r.entries[i].gsi %= 4100;
		r.entries[i].type = 1 + random64() % 2;
		r.entries[i].flags = 0;
		if (r.entries[i].type == KVM_IRQ_ROUTING_IRQCHIP) {
			r.entries[i].u.irqchip.irqchip %= NR_CHIPS;
			r.entries[i].u.irqchip.pin %= 26;
		}
	}
	ioctl(m->vm, KVM_SET_GSI_ROUTING, &r);
}

static void *vandal(void *argument)
{
	struct kvm_irqchip chip;
	struct kvm_irq_level line;
	struct kvm_msi msi;
	int fd = eventfd(0, EFD_NONBLOCK), resample = eventfd(0, EFD_NONBLOCK);
	u32 gsi = random64() % 24;

	(void)argument;
	for (unsigned int i = 0; i < ROUNDS; i++) {
		random_bytes(&chip, sizeof(chip));
		chip.chip_id %= NR_CHIPS;
		ioctl(machine->vm, KVM_SET_IRQCHIP, &chip);
		random_routes(machine);
		random_bytes(&msi, sizeof(msi));
		msi.flags = 0;
		msi.data &= ~0x700u; /* NMI, INIT and SIPI would end the guest */
		ioctl(machine->vm, KVM_SIGNAL_MSI, &msi);
		line = (struct kvm_irq_level){ .irq = random64() % 30, .level = random64() & 1 };
		ioctl(machine->vm, KVM_IRQ_LINE, &line);
		irqfd(machine, fd, gsi, random64() & 1 ? KVM_IRQFD_FLAG_RESAMPLE : 0, resample);
		eventfd_write(fd, 1);
		irqfd(machine, fd, gsi, KVM_IRQFD_FLAG_DEASSIGN, 0);
	}
	__atomic_store_n(&stop, true, __ATOMIC_SEQ_CST);
	return NULL;
}

/* The guest may lose its way in this, and may not come out of KVM_RUN by itself; what counts is who else does. */
static void test_while_running(void)
{
	struct machine m = machine_create(1, WITH_CHIPS | WITH_PIT);
	struct kvm_run *run = m.vcpu[0].run;
	struct machine bystander = machine_create(1, WITH_CHIPS | WITH_PIT);
	pthread_t thread;

	machine = &m;
	x2apic = true;
	machine_start(&m, 0, guest_works);
	machine_expect(&m, 0, 1);
	if (pthread_create(&thread, NULL, vandal, NULL))
		die("pthread_create");
	while (!__atomic_load_n(&stop, __ATOMIC_SEQ_CST)) {
		if (ioctl(m.vcpu[0].fd, KVM_RUN, 0) && errno != EINTR && errno != EAGAIN)
			break;
		if (run->exit_reason != KVM_EXIT_IO)
			break;
	}
	pthread_join(thread, NULL);
	machine_destroy(&m);
	machine_start(&bystander, 0, guest_works);
	machine_expect(&bystander, 0, 1);
	expect_works(&bystander);
	machine_destroy(&bystander);
}

static const struct test tests[] = {
	{ "states of random bytes", test_states },
	{ "what is refused changes nothing", test_refused },
	{ "irqfds that are none", test_irqfds },
	{ "all of it while the guest runs", test_while_running },
};

KTAP_MAIN(tests)
