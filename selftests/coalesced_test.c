// SPDX-License-Identifier: GPL-2.0
/* Coalesced writes: the ring, the zones, and what is none of theirs. Source: KVM's api.rst, KVM_REGISTER_COALESCED_MMIO. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "machine.h"

#define PAGE 4096ul
#define ZONE 0x3f000000ul /* in no memory slot */
#define ZONE_SIZE 0x100
#define PORT 0x510
#define RING_ENTRIES ((PAGE - sizeof(struct kvm_coalesced_mmio_ring)) / sizeof(struct kvm_coalesced_mmio))

static struct kvm_coalesced_mmio_ring *ring_of(struct machine *m)
{
	int page = ioctl(m->device, KVM_CHECK_EXTENSION, KVM_CAP_COALESCED_MMIO);

	if (page <= 0 || (page + 1) * PAGE > (unsigned long)ioctl(m->device, KVM_GET_VCPU_MMAP_SIZE, 0)) {
		fail("the ring is said to be at page %d of the mapping", page);
		_exit(1);
	}
	return (void *)((u8 *)m->vcpu[0].run + page * PAGE);
}

static long zone(struct machine *m, unsigned long call, u64 address, u32 size, u32 pio)
{
	struct kvm_coalesced_mmio_zone z = { .addr = address, .size = size, .pio = pio };

	return ioctl(m->vm, call, &z);
}

static void expect_entry(const struct kvm_coalesced_mmio_ring *ring, u32 i, u64 address, u32 len, u64 data, u32 pio)
{
	const struct kvm_coalesced_mmio *e = &ring->coalesced_mmio[i];

	context("entry %u", i);
	expect_eq(e->phys_addr, address);
	expect_eq(e->len, len);
	expect_eq(e->pio, pio);
	expect_bytes(e->data, &data, len);
	context("%s", "");
}

static void expect_mmio_exit(struct machine *m, u64 address, bool is_write)
{
	struct kvm_run *run = m->vcpu[0].run;

	expect_eq(machine_run(m, 0), -1);
	expect_eq(run->exit_reason, KVM_EXIT_MMIO);
	expect_eq(run->mmio.phys_addr, address);
	expect_eq(run->mmio.is_write, is_write);
}

static void guest_writes(void)
{
	mmio_write32(ZONE, 0x11223344);
	asm volatile("movb %0, (%1)" : : "q"((u8)0x55), "r"(ZONE + ZONE_SIZE - 1) : "memory");
	asm volatile("movq %0, (%1)" : : "r"(0x1122334455667788ul), "r"(ZONE + 8) : "memory");
	outb(PORT, 0x66);
	asm volatile("outl %0, %1" : : "a"(0x778899aa), "Nd"((u16)(PORT + 4)) : "memory");
	asm volatile("rep outsb" : : "S"("abc"), "c"(3), "d"(PORT) : "memory");
	sync_host(1);
	mmio_read32(ZONE);
	mmio_write32(ZONE + ZONE_SIZE - 2, 1); /* over the end */
	outb(PORT + 8, 1);
	sync_host(2);
	mmio_write32(ZONE, 2);
	outb(PORT, 2);
	sync_host(3);
}

static void test_ring(void)
{
	struct machine m = machine_create(1, 0);
	struct kvm_coalesced_mmio_ring *ring = ring_of(&m);
	struct kvm_run *run = m.vcpu[0].run;

	expect_eq(ioctl(m.device, KVM_CHECK_EXTENSION, KVM_CAP_COALESCED_PIO), 1);
	expect_errno(zone(&m, KVM_REGISTER_COALESCED_MMIO, ZONE, ZONE_SIZE, 2), EINVAL);
	expect_errno(zone(&m, KVM_REGISTER_COALESCED_MMIO, ZONE, ZONE_SIZE, 0), 0);
	expect_errno(zone(&m, KVM_REGISTER_COALESCED_MMIO, PORT, 8, 1), 0);
	machine_start(&m, 0, guest_writes);
	machine_expect(&m, 0, 1);
	expect_eq(ring->first, 0);
	expect_eq(ring->last, 8);
	expect_entry(ring, 0, ZONE, 4, 0x11223344, 0);
	expect_entry(ring, 1, ZONE + ZONE_SIZE - 1, 1, 0x55, 0);
	expect_entry(ring, 2, ZONE + 8, 8, 0x1122334455667788, 0);
	expect_entry(ring, 3, PORT, 1, 0x66, 1);
	expect_entry(ring, 4, PORT + 4, 4, 0x778899aa, 1);
	expect_entry(ring, 5, PORT, 1, 'a', 1);
	expect_entry(ring, 7, PORT, 1, 'c', 1);
	expect_mmio_exit(&m, ZONE, false);
	expect_mmio_exit(&m, ZONE + ZONE_SIZE - 2, true);
	expect(machine_run(&m, 0) == -1 && run->exit_reason == KVM_EXIT_IO && run->io.port == PORT + 8);
	machine_expect(&m, 0, 2);
	expect_eq(ring->last, 8);
	/* A part names the zone that it is in; what is in none, none. */
	expect_errno(zone(&m, KVM_UNREGISTER_COALESCED_MMIO, ZONE + 8, 4, 2), EINVAL);
	expect_errno(zone(&m, KVM_UNREGISTER_COALESCED_MMIO, ZONE + ZONE_SIZE, 4, 0), 0);
	expect_errno(zone(&m, KVM_UNREGISTER_COALESCED_MMIO, ZONE + 8, 4, 0), 0);
	expect_mmio_exit(&m, ZONE, true);
	machine_expect(&m, 0, 3);
	expect_eq(ring->last, 9);
	expect_entry(ring, 8, PORT, 1, 2, 1);
	machine_destroy(&m);
}

static void guest_fills(void)
{
	for (u32 i = 0;; i++)
		mmio_write32(ZONE, i);
}

/*
 * What a full ring has no room for comes to the client, and so does everything if the client has spoiled the ring. (KVM
 * of Linux 6.1 takes the ring for full at half of it.)
 */
static void test_full(void)
{
	struct machine m = machine_create(1, 0);
	struct kvm_coalesced_mmio_ring *ring = ring_of(&m);
	struct kvm_run *run = m.vcpu[0].run;

	expect_errno(zone(&m, KVM_REGISTER_COALESCED_MMIO, ZONE, ZONE_SIZE, 0), 0);
	machine_start(&m, 0, guest_fills);
	expect_mmio_exit(&m, ZONE, true);
	expect_eq(ring->last, RING_ENTRIES - 1);
	expect_eq(*(u32 *)run->mmio.data, RING_ENTRIES - 1);
	/* Room for three, over the end. */
	ring->first = 3;
	expect_mmio_exit(&m, ZONE, true);
	expect_eq(ring->last, 2);
	expect_entry(ring, RING_ENTRIES - 1, ZONE, 4, RING_ENTRIES, 0);
	expect_entry(ring, 0, ZONE, 4, RING_ENTRIES + 1, 0);
	expect_eq(*(u32 *)run->mmio.data, RING_ENTRIES + 3);
	ring->last = RING_ENTRIES;
	expect_mmio_exit(&m, ZONE, true);
	ring->last = ~0u;
	expect_mmio_exit(&m, ZONE, true);
	expect_eq(ring->last, ~0u);
	machine_destroy(&m);
}

static void test_limit(void)
{
	struct machine m = machine_create(1, 0);
	unsigned int i;

	for (i = 0; i < 2000; i++)
		if (zone(&m, KVM_REGISTER_COALESCED_MMIO, ZONE + i, 1, 0))
			break;
	expect_eq(errno, ENOSPC);
	expect_eq(i, 1000);
	expect_errno(zone(&m, KVM_UNREGISTER_COALESCED_MMIO, ZONE + 7, 1, 0), 0);
	expect_errno(zone(&m, KVM_REGISTER_COALESCED_MMIO, ZONE + 7, 1, 0), 0);
	machine_destroy(&m);
}

static const struct test tests[] = {
	{ "the ring", test_ring },
	{ "a ring that is full or spoiled", test_full },
	{ "as many zones as there may be", test_limit },
};

KTAP_MAIN(tests)
