/* SPDX-License-Identifier: GPL-2.0 */
#ifndef PITH_CPUID_H
#define PITH_CPUID_H

struct kvm_cpuid2;
struct vm;

struct kvm_cpuid2 *cpuid_get_supported(const struct vm *vm);
void cpuid_set_topology(struct kvm_cpuid2 *cpuid, unsigned int apic_id, unsigned int nr_cpus);

#endif
