// SPDX-License-Identifier: GPL-2.0
#include "stats.h"

#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct kvm_stats_header stats_header(int fd)
{
	struct kvm_stats_header header = {};

	expect_eq(pread(fd, &header, sizeof(header), 0), sizeof(header));
	return header;
}

const struct kvm_stats_desc *stats_descriptor(int fd, const struct kvm_stats_header *header, unsigned int i)
{
	u32 size = sizeof(struct kvm_stats_desc) + header->name_size;
	struct kvm_stats_desc *desc = malloc(size);

	expect_eq(pread(fd, desc, size, header->desc_offset + i * size), size);
	return desc;
}

u64 stats_value(int fd, const char *name)
{
	struct kvm_stats_header header = stats_header(fd);
	u64 value = 0;
	unsigned int i;

	for (i = 0; i < header.num_desc; i++) {
		const struct kvm_stats_desc *desc = stats_descriptor(fd, &header, i);

		if (strcmp(desc->name, name))
			continue;
		expect_eq(pread(fd, &value, sizeof(value), header.data_offset + desc->offset), sizeof(value));
		return value;
	}
	fail("no counter \"%s\"", name);
	return 0;
}
