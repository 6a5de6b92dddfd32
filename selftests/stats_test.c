// SPDX-License-Identifier: GPL-2.0
/* stats_test - binary statistics of a VM and of a vCPU. Source: KVM's api.rst, "KVM_GET_STATS_FD". */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guest.h"
#include "stats.h"

#define EXITS 100

static void check_layout(int fd)
{
	struct kvm_stats_header header = stats_header(fd);
	u32 desc_size = sizeof(struct kvm_stats_desc) + header.name_size;
	unsigned int i;
	char id[256];
	u64 value;

	expect_eq(header.flags, 0);
	expect(header.name_size > 0 && header.name_size <= sizeof(id));
	expect(header.num_desc > 0);
	expect(header.id_offset >= sizeof(header));
	expect(header.desc_offset >= header.id_offset + header.name_size);
	expect(header.data_offset >= header.desc_offset + header.num_desc * desc_size);
	expect_eq(pread(fd, id, header.name_size, header.id_offset), header.name_size);
	expect(!strncmp(id, "kvm-", 4));
	for (i = 0; i < header.num_desc; i++) {
		const struct kvm_stats_desc *desc = stats_descriptor(fd, &header, i);

		context("descriptor %u", i);
		expect((desc->flags & KVM_STATS_TYPE_MASK) <= KVM_STATS_TYPE_MAX);
		expect((desc->flags & KVM_STATS_UNIT_MASK) <= KVM_STATS_UNIT_MAX);
		expect((desc->flags & KVM_STATS_BASE_MASK) <= KVM_STATS_BASE_MAX);
		expect_eq(desc->size, 1);
		expect(strnlen(desc->name, header.name_size) < header.name_size);
		expect_eq(pread(fd, &value, sizeof(value), header.data_offset + desc->offset), sizeof(value));
	}
	context("the end");
	expect_eq(pread(fd, &value, sizeof(value), header.data_offset + header.num_desc * sizeof(value)), 0);
}

static int open_stats(int fd)
{
	int stats = ioctl(fd, KVM_GET_STATS_FD, 0);

	if (stats < 0)
		die("KVM_GET_STATS_FD: %s", strerror(errno));
	return stats;
}

static void vm_stats(void)
{
	struct guest *g = guest_create(MODE_LONG);

	expect_eq(ioctl(g->vm, KVM_CHECK_EXTENSION, KVM_CAP_BINARY_STATS_FD), 1);
	check_layout(open_stats(g->vm));
}

/* Counters count what they are named after. */
static void vcpu_stats(void)
{
	struct guest *g = guest_create(MODE_LONG);
	int fd = open_stats(g->vcpu);
	unsigned int i;
	u64 before;

	check_layout(fd);
	guest_load(g, CODE64("1: out %al, $0x80; mov %al, (%rdi); jmp 1b"));
	g->regs.rdi = GUEST_HOLE;
	guest_start(g);
	before = stats_value(fd, "exits");
	expect_eq(stats_value(fd, "io_exits"), 1);
	for (i = 1; i < 2 * EXITS; i++)
		guest_run(g);
	expect_eq(stats_value(fd, "io_exits"), EXITS);
	expect_eq(stats_value(fd, "mmio_exits"), EXITS);
	expect(stats_value(fd, "exits") >= before + 2 * EXITS - 1);
}

/* The file goes on reading when the VM's other files are closed. */
static void outlives(void)
{
	struct guest *g = guest_create(MODE_LONG);
	int vm = open_stats(g->vm), vcpu = open_stats(g->vcpu);

	close(g->vcpu);
	close(g->vm);
	close(g->device);
	check_layout(vm);
	check_layout(vcpu);
	expect_errno(write(vm, "", 1), EBADF);
	close(vm);
	close(vcpu);
}

static const struct test tests[] = {
	{ "of a VM", vm_stats },
	{ "of a vCPU", vcpu_stats },
	{ "when all else is closed", outlives },
};

KTAP_MAIN(tests)
