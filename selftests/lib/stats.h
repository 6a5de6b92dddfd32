/* SPDX-License-Identifier: GPL-2.0 */
/* The file of KVM_GET_STATS_FD. */
#ifndef SELFTESTS_STATS_H
#define SELFTESTS_STATS_H

#include "ktap.h"

struct kvm_stats_header;
struct kvm_stats_desc;

struct kvm_stats_header stats_header(int fd);

/* The descriptor of a number; its name follows it. */
const struct kvm_stats_desc *stats_descriptor(int fd, const struct kvm_stats_header *header, unsigned int i);

/* The value of a counter by its name, which must be there. */
u64 stats_value(int fd, const char *name);

#endif
