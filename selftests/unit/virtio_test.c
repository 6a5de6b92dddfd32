// SPDX-License-Identifier: GPL-2.0
/*
 * The runner's virtio devices against drivers that keep the rules and drivers that do not: rings of all sorts in guest
 * memory, a disk driven through its registers, and a disk whose registers and rings are written at random.
 *
 * virtio_test [COUNT [SEED]]: COUNT random accesses.
 */
#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../userspace/pci.h"
#include "../../userspace/virtio/blk.h"
#include "../../userspace/virtio/virtio.h"
#include "../../userspace/vm.h"

#define DEFAULT_COUNT 200000
#define RAM (16 * MIB)
#define QUEUE_SIZE 8

/* Guest memory. */
#define DESC 0x1000
#define AVAIL 0x2000
#define USED 0x3000
#define TABLE 0x4000
#define BUFFER 0x10000

#define NEXT VRING_DESC_F_NEXT
#define WRITE VRING_DESC_F_WRITE
#define INDIRECT VRING_DESC_F_INDIRECT

static struct vm vm;
static struct virtq vq;

/* What the runner's own files would bring, and its terminal with it. */

void error(const char *format, ...)
{
}

void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	exit(1);
}

int must(int result, const char *what)
{
	if (result < 0)
		die("Bail out! cannot %s: %s\n", what, strerror(errno));
	return result;
}

static void *at(u64 gpa)
{
	return memory_at(&vm.memory, gpa, 0);
}

/* The queue by itself: what is in the tables, and what becomes of it. */

struct row {
	const char *name;
	struct vring_desc desc[QUEUE_SIZE];  /* the queue's own table */
	struct vring_desc table[QUEUE_SIZE]; /* at TABLE */
	u16 head;
	u16 avail_idx;
	enum virtq_result result;
	unsigned int nr_out, nr_in;
};

static const struct row rows[] = {
	{ .name = "nothing available", .result = VIRTQ_EMPTY },
	{ .name = "a buffer to read and one to write",
	  .desc = { { BUFFER, 16, NEXT, 5 }, [5] = { BUFFER + 16, 1, WRITE, 0 } },
	  .avail_idx = 1,
	  .result = VIRTQ_CHAIN,
	  .nr_out = 1,
	  .nr_in = 1 },
	{ .name = "the last bytes of memory",
	  .desc = { { RAM - 16, 16, 0, 0 } },
	  .avail_idx = 1,
	  .result = VIRTQ_CHAIN,
	  .nr_out = 1 },
	{ .name = "a buffer without bytes counts for nothing",
	  .desc = { { RAM + 1, 0, NEXT, 1 }, { BUFFER, 16, 0, 0 } },
	  .avail_idx = 1,
	  .result = VIRTQ_CHAIN,
	  .nr_out = 1 },
	{ .name = "more available than the queue holds", .avail_idx = QUEUE_SIZE + 1, .result = VIRTQ_BROKEN },
	{ .name = "an index that went backwards", .avail_idx = 0xffff, .result = VIRTQ_BROKEN },
	{ .name = "a head beyond the table", .head = QUEUE_SIZE, .avail_idx = 1, .result = VIRTQ_BROKEN },
	{ .name = "a next beyond the table",
	  .desc = { { BUFFER, 16, NEXT, QUEUE_SIZE } },
	  .avail_idx = 1,
	  .result = VIRTQ_BROKEN },
	{ .name = "a descriptor that is its own next",
	  .desc = { { BUFFER, 16, NEXT, 0 } },
	  .avail_idx = 1,
	  .result = VIRTQ_BROKEN },
	{ .name = "a loop without bytes",
	  .desc = { { BUFFER, 0, NEXT, 1 }, { BUFFER, 0, NEXT, 0 } },
	  .avail_idx = 1,
	  .result = VIRTQ_BROKEN },
	{ .name = "a buffer behind memory", .desc = { { RAM, 1, 0, 0 } }, .avail_idx = 1, .result = VIRTQ_BROKEN },
	{ .name = "a buffer over the end of memory",
	  .desc = { { RAM - 8, 16, 0, 0 } },
	  .avail_idx = 1,
	  .result = VIRTQ_BROKEN },
	{ .name = "a buffer over the end of the address space",
	  .desc = { { -8ull, 16, 0, 0 } },
	  .avail_idx = 1,
	  .result = VIRTQ_BROKEN },
	{ .name = "a buffer of 4 GiB", .desc = { { 0, 0xffffffff, 0, 0 } }, .avail_idx = 1, .result = VIRTQ_BROKEN },
	{ .name = "a buffer to read behind one to write",
	  .desc = { { BUFFER, 16, NEXT | WRITE, 1 }, { BUFFER, 16, 0, 0 } },
	  .avail_idx = 1,
	  .result = VIRTQ_BROKEN },
	{ .name = "an indirect table",
	  .desc = { { TABLE, 48, INDIRECT, 0 } },
	  .table = { { BUFFER, 16, NEXT, 2 }, { 0 }, { BUFFER, 16, WRITE, 0 } },
	  .avail_idx = 1,
	  .result = VIRTQ_CHAIN,
	  .nr_out = 1,
	  .nr_in = 1 },
	{ .name = "an indirect table behind a buffer, with a flag that means nothing",
	  .desc = { { BUFFER, 16, NEXT, 1 }, { TABLE, 16, INDIRECT | WRITE, 0 } },
	  .table = { { BUFFER, 16, 0, 0 } },
	  .avail_idx = 1,
	  .result = VIRTQ_CHAIN,
	  .nr_out = 2 },
	{ .name = "a next beyond an indirect table",
	  .desc = { { TABLE, 16, INDIRECT, 0 } },
	  .table = { { BUFFER, 16, NEXT, 1 } },
	  .avail_idx = 1,
	  .result = VIRTQ_BROKEN },
	{ .name = "an indirect table in an indirect table",
	  .desc = { { TABLE, 16, INDIRECT, 0 } },
	  .table = { { TABLE, 16, INDIRECT, 0 } },
	  .avail_idx = 1,
	  .result = VIRTQ_BROKEN },
	{ .name = "an indirect table with a next",
	  .desc = { { TABLE, 16, INDIRECT | NEXT, 1 }, { BUFFER, 16, 0, 0 } },
	  .table = { { BUFFER, 16, 0, 0 } },
	  .avail_idx = 1,
	  .result = VIRTQ_BROKEN },
	{ .name = "an indirect table without entries",
	  .desc = { { TABLE, 0, INDIRECT, 0 } },
	  .avail_idx = 1,
	  .result = VIRTQ_BROKEN },
	{ .name = "an indirect table with half an entry",
	  .desc = { { TABLE, 24, INDIRECT, 0 } },
	  .table = { { BUFFER, 16, 0, 0 } },
	  .avail_idx = 1,
	  .result = VIRTQ_BROKEN },
	{ .name = "an indirect table over the end of memory",
	  .desc = { { RAM - 16, 32, INDIRECT, 0 } },
	  .avail_idx = 1,
	  .result = VIRTQ_BROKEN },
	{ .name = "an indirect table at an odd address",
	  .desc = { { RAM - 31, 16, INDIRECT, 0 } },
	  .avail_idx = 1,
	  .result = VIRTQ_CHAIN },
};

static bool start(u64 desc, u64 avail, u64 used, u16 size, bool event_idx)
{
	vq = (struct virtq){
		.size = size, .desc_gpa = desc, .avail_gpa = avail, .used_gpa = used, .event_idx = event_idx
	};
	return virtq_start(&vq, &vm.memory);
}

static bool run_row(const struct row *row)
{
	struct vring_avail *avail = at(AVAIL);
	struct virtq_chain chain;
	enum virtq_result result;

	memset(at(0), 0, BUFFER);
	memset(at(RAM - 64), 0, 64);
	memcpy(at(DESC), row->desc, sizeof(row->desc));
	memcpy(at(TABLE), row->table, sizeof(row->table));
	avail->ring[0] = row->head;
	avail->idx = row->avail_idx;
	if (!start(DESC, AVAIL, USED, QUEUE_SIZE, false))
		return false;
	result = virtq_pop(&vq, &chain);
	if (result != row->result) {
		printf("# result %d, expected %d\n", result, row->result);
		return false;
	}
	return result != VIRTQ_CHAIN || (chain.nr_out == row->nr_out && chain.nr_in == row->nr_in);
}

static bool rings_where_they_must_be(void)
{
	static const struct {
		bool good;
		u64 desc, avail, used;
	} places[] = {
		{ true, DESC, AVAIL, USED },
		{ false, DESC + 8, AVAIL, USED },
		{ false, DESC, AVAIL + 1, USED },
		{ false, DESC, AVAIL, USED + 2 },
		{ true, RAM - 16 * QUEUE_SIZE, AVAIL, USED },
		{ false, RAM - 16 * QUEUE_SIZE + 16, AVAIL, USED },
		{ true, DESC, RAM - (6 + 2 * QUEUE_SIZE), USED },
		{ false, DESC, RAM - (6 + 2 * QUEUE_SIZE) + 2, USED },
		{ true, DESC, AVAIL, RAM - (8 + 8 * QUEUE_SIZE) },
		{ false, DESC, AVAIL, RAM - (4 + 8 * QUEUE_SIZE) },
		{ false, -16ull, AVAIL, USED },
		{ false, 3 * GIB, AVAIL, USED },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(places); i++) {
		if (start(places[i].desc, places[i].avail, places[i].used, QUEUE_SIZE, true) != places[i].good)
			return false;
	}
	return true;
}

/* One more descriptor than the longest queue has. */
static bool long_chains(void)
{
	struct vring_desc *table = at(TABLE);
	struct vring_avail *avail = at(AVAIL);
	struct virtq_chain chain;

	for (unsigned int i = 0; i <= VIRTQ_MAX_SIZE; i++)
		table[i] = (struct vring_desc){ BUFFER, 1, NEXT, i + 1 };
	table[VIRTQ_MAX_SIZE - 1].flags = 0;
	*(struct vring_desc *)at(DESC) = (struct vring_desc){ TABLE, 16 * (VIRTQ_MAX_SIZE + 1), INDIRECT, 0 };
	memset(avail, 0, 64);
	avail->idx = 2;
	if (!start(DESC, AVAIL, USED, QUEUE_SIZE, false) || virtq_pop(&vq, &chain) != VIRTQ_CHAIN ||
	    chain.nr_out != VIRTQ_MAX_SIZE)
		return false;
	table[VIRTQ_MAX_SIZE - 1].flags = NEXT;
	table[VIRTQ_MAX_SIZE].flags = 0;
	return virtq_pop(&vq, &chain) == VIRTQ_BROKEN;
}

/* 70,000 requests: all indices wrap. */
static bool indices_that_wrap(void)
{
	struct vring_avail *avail = at(AVAIL);
	struct vring_used *used = at(USED);
	const u16 *avail_event = at(USED + sizeof(*used) + QUEUE_SIZE * sizeof(used->ring[0]));
	struct virtq_chain chain;

	memset(at(0), 0, BUFFER);
	for (unsigned int i = 0; i < QUEUE_SIZE; i++)
		((struct vring_desc *)at(DESC))[i] = (struct vring_desc){ BUFFER, 1, 0, 0 };
	start(DESC, AVAIL, USED, QUEUE_SIZE, true);
	for (u32 i = 0; i < 70000; i++) {
		avail->ring[i % QUEUE_SIZE] = i % QUEUE_SIZE;
		avail->idx = i + 1;
		avail->ring[QUEUE_SIZE] = i; /* the used event: after this request */
		if (virtq_pop(&vq, &chain) != VIRTQ_CHAIN || virtq_pop(&vq, &chain) != VIRTQ_EMPTY)
			return false;
		virtq_push(&vq, chain.head, i);
		if (used->idx != (u16)(i + 1) || used->ring[i % QUEUE_SIZE].len != i || !virtq_must_interrupt(&vq) ||
		    virtq_must_interrupt(&vq))
			return false;
		if (!virtq_wait(&vq) || *avail_event != (u16)(i + 1))
			return false;
	}
	return true;
}

static bool an_interrupt_that_nobody_wants(void)
{
	struct vring_avail *avail = at(AVAIL);
	bool quiet;

	start(DESC, AVAIL, USED, QUEUE_SIZE, true);
	avail->ring[QUEUE_SIZE] = 1; /* only after the second */
	virtq_push(&vq, 0, 0);
	quiet = !virtq_must_interrupt(&vq);
	virtq_push(&vq, 0, 0);
	quiet = quiet && virtq_must_interrupt(&vq);

	start(DESC, AVAIL, USED, QUEUE_SIZE, false);
	avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
	virtq_push(&vq, 0, 0);
	return quiet && !virtq_must_interrupt(&vq);
}

static bool a_request_while_it_falls_asleep(void)
{
	struct vring_avail *avail = at(AVAIL);

	start(DESC, AVAIL, USED, QUEUE_SIZE, true);
	avail->idx = 1;
	return !virtq_wait(&vq);
}

/* A disk, by its registers. */

#define DISK_SECTORS 64
#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA 0xcfc
#define FIELD(field) offsetof(struct virtio_pci_common_cfg, field)
#define COMMON(field) (bar + FIELD(field))

static unsigned int slot; /* of the disk in use */
static u64 bar, notify_port;

static void store(struct bus *bus, u64 addr, unsigned int len, u64 value)
{
	bus_access(bus, addr, &value, len, true);
}

static u64 load(struct bus *bus, u64 addr, unsigned int len)
{
	u64 value = 0;

	bus_access(bus, addr, &value, len, false);
	return value;
}

static void config_write(unsigned int offset, unsigned int len, u32 value)
{
	store(&vm.pio, CONFIG_ADDRESS, 4, 1u << 31 | slot << 11 | (offset & 0xfc));
	store(&vm.pio, CONFIG_DATA + offset % 4, len, value);
}

static u32 config_read(unsigned int offset, unsigned int len)
{
	store(&vm.pio, CONFIG_ADDRESS, 4, 1u << 31 | slot << 11 | (offset & 0xfc));
	return load(&vm.pio, CONFIG_DATA + offset % 4, len);
}

static void wait_for_reset(void)
{
	store(&vm.mmio, COMMON(device_status), 1, 0);
	while (load(&vm.mmio, COMMON(device_status), 1))
		usleep(10);
}

static void use_disk(unsigned int number)
{
	slot = number;
	config_write(PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	bar = config_read(PCI_BASE_ADDRESS_0, 4) & PCI_BASE_ADDRESS_MEM_MASK;
	notify_port = config_read(PCI_BASE_ADDRESS_1, 4) & PCI_BASE_ADDRESS_IO_MASK;
}

static u8 set_up(u64 desc, u32 features_low)
{
	const u8 driver = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;

	wait_for_reset();
	memset(at(0), 0, BUFFER);
	store(&vm.mmio, COMMON(device_status), 1, driver);
	store(&vm.mmio, COMMON(guest_feature_select), 4, 0);
	store(&vm.mmio, COMMON(guest_feature), 4, features_low);
	store(&vm.mmio, COMMON(guest_feature_select), 4, 1);
	store(&vm.mmio, COMMON(guest_feature), 4, 1);
	store(&vm.mmio, COMMON(device_status), 1, driver | VIRTIO_CONFIG_S_FEATURES_OK);
	store(&vm.mmio, COMMON(queue_select), 2, 0);
	store(&vm.mmio, COMMON(queue_size), 2, QUEUE_SIZE);
	store(&vm.mmio, COMMON(queue_desc_lo), 8, desc);
	store(&vm.mmio, COMMON(queue_avail_lo), 8, AVAIL);
	store(&vm.mmio, COMMON(queue_used_lo), 8, USED);
	store(&vm.mmio, COMMON(queue_enable), 2, 1);
	store(&vm.mmio, COMMON(device_status), 1, driver | VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK);
	return load(&vm.mmio, COMMON(device_status), 1);
}

/* Header at BUFFER, status at BUFFER + 16, data at BUFFER + 4096. Returns the status, or -1 if there is no answer. */
static int request(u32 type, u64 sector, u32 size, u16 data_flags)
{
	struct virtio_blk_outhdr header = { .type = type, .sector = sector };
	struct vring_desc *desc = at(DESC);
	struct vring_avail *avail = at(AVAIL);
	struct vring_used *used = at(USED);
	u8 *status = at(BUFFER + 16);
	u16 next = avail->idx + 1;

	memcpy(at(BUFFER), &header, sizeof(header));
	*status = 0xee;
	desc[0] = (struct vring_desc){ BUFFER, sizeof(header), NEXT, 1 };
	desc[1] = (struct vring_desc){ BUFFER + 4096, size, NEXT | data_flags, 2 };
	desc[2] = (struct vring_desc){ BUFFER + 16, 1, WRITE, 0 };
	__atomic_store_n(&avail->idx, next, __ATOMIC_RELEASE);
	store(&vm.pio, notify_port, 2, 0);
	for (unsigned int i = 0; i < 100000; i++) {
		if (__atomic_load_n(&used->idx, __ATOMIC_ACQUIRE) == next)
			return *status;
		usleep(10);
	}
	return -1;
}

static bool data_is(u8 value)
{
	const u8 *data = at(BUFFER + 4096);

	for (unsigned int i = 0; i < 512; i++) {
		if (data[i] != value)
			return false;
	}
	return true;
}

static bool a_disk(void)
{
	struct virtio_blk_discard_write_zeroes range = { .sector = 3, .num_sectors = 1 };
	bool ok;

	set_up(DESC, 1 << VIRTIO_BLK_F_FLUSH);
	memset(at(BUFFER + 4096), 0x5a, 1024);
	ok = request(VIRTIO_BLK_T_OUT, 3, 1024, 0) == VIRTIO_BLK_S_OK;
	ok = ok && request(VIRTIO_BLK_T_FLUSH, 0, 0, 0) == VIRTIO_BLK_S_OK;
	memset(at(BUFFER + 4096), 0, 512);
	ok = ok && request(VIRTIO_BLK_T_IN, 4, 512, WRITE) == VIRTIO_BLK_S_OK && data_is(0x5a);
	memcpy(at(BUFFER + 4096), &range, sizeof(range));
	ok = ok && request(VIRTIO_BLK_T_WRITE_ZEROES, 0, sizeof(range), 0) == VIRTIO_BLK_S_OK;
	ok = ok && request(VIRTIO_BLK_T_IN, 3, 512, WRITE) == VIRTIO_BLK_S_OK && data_is(0);
	ok = ok && request(VIRTIO_BLK_T_GET_ID, 0, 20, WRITE) == VIRTIO_BLK_S_OK;
	return ok && !strcmp(at(BUFFER + 4096), "disk0");
}

static bool requests_that_cannot_be(void)
{
	struct virtio_blk_discard_write_zeroes far = { .sector = DISK_SECTORS - 1, .num_sectors = 2 };
	struct virtio_blk_discard_write_zeroes flags = { .num_sectors = 1, .flags = 2 };
	bool ok;

	set_up(DESC, 0);
	ok = request(VIRTIO_BLK_T_IN, DISK_SECTORS, 512, WRITE) == VIRTIO_BLK_S_IOERR;
	ok = ok && request(VIRTIO_BLK_T_IN, -1ull, 512, WRITE) == VIRTIO_BLK_S_IOERR;
	ok = ok && request(VIRTIO_BLK_T_OUT, DISK_SECTORS - 1, 1024, 0) == VIRTIO_BLK_S_IOERR;
	ok = ok && request(VIRTIO_BLK_T_IN, 0, 100, WRITE) == VIRTIO_BLK_S_IOERR;
	ok = ok && request(VIRTIO_BLK_T_GET_ID, 0, 4, WRITE) == VIRTIO_BLK_S_IOERR;
	ok = ok && request(2, 0, 512, WRITE) == VIRTIO_BLK_S_UNSUPP;
	ok = ok && request(0xffffffff, 0, 512, WRITE) == VIRTIO_BLK_S_UNSUPP;
	memcpy(at(BUFFER + 4096), &far, sizeof(far));
	ok = ok && request(VIRTIO_BLK_T_DISCARD, 0, sizeof(far), 0) == VIRTIO_BLK_S_IOERR;
	memcpy(at(BUFFER + 4096), &flags, sizeof(flags));
	return ok && request(VIRTIO_BLK_T_WRITE_ZEROES, 0, sizeof(flags), 0) == VIRTIO_BLK_S_UNSUPP;
}

static bool a_read_only_disk(void)
{
	bool ok;

	use_disk(2);
	set_up(DESC, 1 << VIRTIO_BLK_F_RO);
	ok = request(VIRTIO_BLK_T_OUT, 0, 512, 0) == VIRTIO_BLK_S_IOERR &&
	     request(VIRTIO_BLK_T_DISCARD, 0, 16, 0) == VIRTIO_BLK_S_IOERR &&
	     request(VIRTIO_BLK_T_IN, 0, 512, WRITE) == VIRTIO_BLK_S_OK;
	use_disk(1);
	return ok;
}

static bool needs_reset(void)
{
	for (unsigned int i = 0; i < 100000; i++) {
		if (load(&vm.mmio, COMMON(device_status), 1) & VIRTIO_CONFIG_S_NEEDS_RESET)
			return true;
		usleep(10);
	}
	return false;
}

static bool a_broken_ring_and_a_reset(void)
{
	set_up(DESC, 0);
	((struct vring_avail *)at(AVAIL))->idx = QUEUE_SIZE + 1;
	store(&vm.pio, notify_port, 2, 0);
	if (!needs_reset())
		return false;
	set_up(DESC, 0);
	return request(VIRTIO_BLK_T_IN, 0, 512, WRITE) == VIRTIO_BLK_S_OK;
}

static bool rings_that_are_nowhere(void)
{
	return set_up(3 * GIB, 0) & VIRTIO_CONFIG_S_NEEDS_RESET;
}

static bool features_that_are_not_there(void)
{
	return !(set_up(DESC, 1 << VIRTIO_BLK_F_MQ) & VIRTIO_CONFIG_S_FEATURES_OK);
}

static bool a_disk_that_is_moved(void)
{
	u64 old = bar;
	bool gone, there;

	config_write(PCI_BASE_ADDRESS_0, 4, 0xffffffff);
	config_write(PCI_BASE_ADDRESS_0, 4, 0xd0000000);
	gone = load(&vm.mmio, COMMON(num_queues), 2) == 0xffff;
	bar = 0xd0000000;
	there = load(&vm.mmio, COMMON(num_queues), 2) == 1;
	config_write(PCI_BASE_ADDRESS_0, 4, old);
	bar = old;
	return gone && there && load(&vm.mmio, COMMON(num_queues), 2) == 1;
}

/* The page of the MSI-X table, in the same BAR. */
#define MSIX 0x1000
#define MSIX_CONTROL(vector) (bar + MSIX + 16 * (vector) + PCI_MSIX_ENTRY_VECTOR_CTRL)
#define MSIX_PBA (bar + MSIX + MSIX_PBA_OFFSET)

static unsigned int find_msix(void)
{
	unsigned int offset = config_read(PCI_CAPABILITY_LIST, 1);

	while (offset && config_read(offset, 1) != PCI_CAP_ID_MSIX)
		offset = config_read(offset + PCI_CAP_LIST_NEXT, 1);
	return offset;
}

static bool an_interrupt_that_waits(void)
{
	unsigned int msix = find_msix();
	bool waits, sent;

	set_up(DESC, 0);
	store(&vm.mmio, COMMON(queue_msix_vector), 2, 1);
	config_write(msix + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE);
	request(VIRTIO_BLK_T_IN, 0, 512, WRITE);
	while (!load(&vm.mmio, MSIX_PBA, 4))
		usleep(10);
	waits = load(&vm.mmio, MSIX_PBA, 4) == 1 << 1 && load(&vm.mmio, MSIX_CONTROL(1), 4) == 1;
	store(&vm.mmio, MSIX_CONTROL(1), 4, 0);
	sent = !load(&vm.mmio, MSIX_PBA, 4);
	store(&vm.mmio, COMMON(queue_msix_vector), 2, 2);
	sent = sent && load(&vm.mmio, COMMON(queue_msix_vector), 2) == VIRTIO_MSI_NO_VECTOR;
	config_write(msix + PCI_MSIX_FLAGS, 2, 0);
	return waits && sent;
}

/* Registers by way of the configuration space. */
static bool the_window(void)
{
	unsigned int offset = config_read(PCI_CAPABILITY_LIST, 1);
	bool ok;

	while (offset &&
	       !(config_read(offset, 1) == PCI_CAP_ID_VNDR &&
		 config_read(offset + offsetof(struct virtio_pci_cap, cfg_type), 1) == VIRTIO_PCI_CAP_PCI_CFG))
		offset = config_read(offset + PCI_CAP_LIST_NEXT, 1);
	set_up(DESC, 0);
	config_write(offset + offsetof(struct virtio_pci_cap, bar), 1, 0);
	config_write(offset + offsetof(struct virtio_pci_cap, offset), 4, FIELD(queue_select));
	config_write(offset + offsetof(struct virtio_pci_cap, length), 4, 2);
	config_write(offset + sizeof(struct virtio_pci_cap), 4, 0x1234);
	ok = load(&vm.mmio, COMMON(queue_select), 2) == 0x1234;
	store(&vm.mmio, COMMON(queue_select), 2, 0);
	ok = ok && (config_read(offset + sizeof(struct virtio_pci_cap), 4) & 0xffff) == 0;
	config_write(offset + offsetof(struct virtio_pci_cap, offset), 4, 0xfffffffe);
	config_write(offset + sizeof(struct virtio_pci_cap), 4, 0xffff);
	return ok && load(&vm.mmio, COMMON(queue_select), 2) == 0;
}

static u64 random_state = 1;

static u32 any(u32 below)
{
	random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
	return (random_state >> 33) % below;
}

/* A number of the sort that finds mistakes. */
static u32 any_value(void)
{
	static const u32 edges[] = {
		0, 1, 2, 4, 0xff, 0xffff, 0x7fffffff, 0xffffffff, RAM, RAM - 1, DESC, AVAIL, USED
	};

	return any(2) ? edges[any(ARRAY_SIZE(edges))] : any(0x7fffffff) << any(8);
}

static void any_access(void)
{
	unsigned int len = 1 << any(4);

	switch (any(8)) {
	case 0:
		slot = any(4);
		config_write(any(3) ? PCI_COMMAND + any(40) / 4 * 4 : any(256) / 4 * 4, 4, any_value());
		break;
	case 1:
		config_read(any(256) / 4 * 4, 4);
		break;
	case 2 ... 3:
		store(&vm.mmio, bar + any(any(4) ? 64 : 0x2010), len, any_value());
		break;
	case 4:
		load(&vm.mmio, bar + any(0x2010), len);
		break;
	case 5:
		*(u16 *)at(DESC + any(0x1800) * 2) = any_value();
		break;
	case 6:
		*(u8 *)at(DESC + any(0x3000)) = any(256);
		break;
	case 7:
		store(&vm.pio, notify_port, 2, 0);
	}
}

static unsigned long count = DEFAULT_COUNT;

static bool random_accesses(void)
{
	for (unsigned long i = 0; i < count; i++) {
		if (i % 64 == 0) {
			config_write(PCI_BASE_ADDRESS_0, 4, 0xc0000000);
			config_write(PCI_BASE_ADDRESS_1, 4, 0x1000);
			use_disk(1);
			set_up(DESC, 1 << VIRTIO_BLK_F_FLUSH);
		}
		any_access();
	}
	config_write(PCI_BASE_ADDRESS_0, 4, 0xc0000000);
	config_write(PCI_BASE_ADDRESS_1, 4, 0x1000);
	use_disk(1);
	set_up(DESC, 0);
	return request(VIRTIO_BLK_T_IN, 0, 512, WRITE) == VIRTIO_BLK_S_OK;
}

static const struct {
	const char *name;
	bool (*run)(void);
} tests[] = {
	{ "rings in memory, aligned", rings_where_they_must_be },
	{ "a chain as long as can be, and one longer", long_chains },
	{ "indices that wrap", indices_that_wrap },
	{ "an interrupt that the driver does not want", an_interrupt_that_nobody_wants },
	{ "a request while the device falls asleep", a_request_while_it_falls_asleep },
	{ "disk: write, flush, read, zero, identify", a_disk },
	{ "disk: requests that cannot be", requests_that_cannot_be },
	{ "disk: read-only", a_read_only_disk },
	{ "disk: a broken ring, and a reset that mends it", a_broken_ring_and_a_reset },
	{ "disk: rings that are not in memory", rings_that_are_nowhere },
	{ "disk: features that were not offered", features_that_are_not_there },
	{ "disk: moved to another address", a_disk_that_is_moved },
	{ "disk: an interrupt that waits to be unmasked", an_interrupt_that_waits },
	{ "disk: registers in the configuration space", the_window },
	{ "disk: random accesses", random_accesses },
};

static void create_machine(void)
{
	char path[] = "/tmp/virtio_test.XXXXXX";
	int fd = must(mkstemp(path), "create a disk image");

	must(ftruncate(fd, DISK_SECTORS * 512), "size a disk image");
	vm.fd = vm.kvm_fd = vm.wake_fd = -1; /* what would go to the kernel goes nowhere */
	vm.has_msi = true;
	memory_init(&vm.memory, RAM);
	must(mprotect(at(RAM), 4096, PROT_NONE), "guard the end of memory");
	bus_init(&vm.pio);
	bus_init(&vm.mmio);
	pci_init(&vm);
	blk_init(&vm, path, false);
	unlink(path);
	blk_init(&vm, "/proc/self/exe", true);
	use_disk(1);
}

int main(int argc, char **argv)
{
	unsigned int failed = 0, number = 0;

	if (argc > 1)
		count = strtoul(argv[1], NULL, 0);
	if (argc > 2)
		random_state = strtoull(argv[2], NULL, 0);
	create_machine();
	printf("KTAP version 1\n1..%zu\n", ARRAY_SIZE(rows) + ARRAY_SIZE(tests));
	for (unsigned int i = 0; i < ARRAY_SIZE(rows); i++) {
		bool ok = run_row(&rows[i]);

		printf("%s %u queue: %s\n", ok ? "ok" : "not ok", ++number, rows[i].name);
		failed += !ok;
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(tests); i++) {
		bool ok = tests[i].run();

		printf("%s %u %s\n", ok ? "ok" : "not ok", ++number, tests[i].name);
		failed += !ok;
	}
	fflush(stdout);
	_exit(failed ? 1 : 0); /* the disks' threads never end */
}
