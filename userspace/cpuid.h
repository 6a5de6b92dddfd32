/* SPDX-License-Identifier: GPL-2.0 */
#ifndef PITH_CPUID_H
#define PITH_CPUID_H

#include <linux/kvm.h>

struct vm;

/* What CPUID says to a guest: what the host's kernel supports, and the topology of the guest's own machine. */
#define CPUID_MAX 128

struct cpuid {
	struct kvm_cpuid2 head; /* its entries are those that follow */
	struct kvm_cpuid_entry2 entries[CPUID_MAX];
};

void cpuid_get_supported(const struct vm *vm, struct cpuid *cpuid);
void cpuid_set_topology(struct cpuid *cpuid, unsigned int apic_id, unsigned int nr_cpus);

#endif
