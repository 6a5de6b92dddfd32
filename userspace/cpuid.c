// SPDX-License-Identifier: GPL-2.0
/*
 * What CPUID says to the guest. The topology is one package with a core for each CPU, without hyper-threading.
 * Source: SDM volume 2, "CPUID"; APM volume 3, appendix E.
 */
#include "cpuid.h"

#include <cpuid.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "util.h"
#include "vm.h"

#define MAX_ENTRIES 128

#define LEAF_1_ECX_TSC_DEADLINE (1u << 24)
#define LEAF_1_ECX_HYPERVISOR (1u << 31)
#define LEAF_1_EDX_HTT (1u << 28)
#define LEAF_1_EBX_IDS 0xffff0000u /* APIC ID and number of logical processors */
#define LEAF_4_CACHE_TYPE 0x1f
#define LEAF_4_CACHE_LEVEL(eax) ((eax) >> 5 & 7)
#define LEAF_4_CORES_SHIFT 26
#define LEAF_4_SHARING_SHIFT 14
#define LAST_PRIVATE_CACHE_LEVEL 2
#define TOPOLOGY_THREADS (1 << 8)
#define TOPOLOGY_CORES (2 << 8)
#define AMD_LEAF_1_ECX_CMP_LEGACY (1u << 1)
#define AMD_LEAF_8_APIC_ID_SIZE_SHIFT 12

struct topology {
	unsigned int apic_id;
	unsigned int nr_cpus;
	unsigned int id_bits; /* of the APIC ID that number the cores of a package */
	bool amd;
};

static struct kvm_cpuid_entry2 *find(struct kvm_cpuid2 *cpuid, u32 function)
{
	for (unsigned int i = 0; i < cpuid->nent; i++) {
		if (cpuid->entries[i].function == function)
			return &cpuid->entries[i];
	}
	return NULL;
}

/* The name of the processor and its first caches: some kernels give zeroes, and leave them to their client. */
static void complete_from_host(struct kvm_cpuid2 *cpuid)
{
	for (u32 function = 0x80000002; function <= 0x80000005; function++) {
		struct kvm_cpuid_entry2 *entry = find(cpuid, function);

		if (entry && !(entry->eax | entry->ebx | entry->ecx | entry->edx))
			__get_cpuid(function, &entry->eax, &entry->ebx, &entry->ecx, &entry->edx);
	}
}

/**
 * cpuid_get_supported - ask what a guest may be told
 * @vm: the machine
 *
 * Return: that, in memory that the caller may free.
 */
struct kvm_cpuid2 *cpuid_get_supported(const struct vm *vm)
{
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + MAX_ENTRIES * sizeof(cpuid->entries[0]));
	struct kvm_cpuid_entry2 *leaf_1;

	if (!cpuid)
		die("out of memory");
	cpuid->nent = MAX_ENTRIES;
	must(ioctl(vm->kvm_fd, KVM_GET_SUPPORTED_CPUID, cpuid), "ask for the supported CPUID leaves");
	leaf_1 = find(cpuid, 1);
	if (!leaf_1)
		die("the supported CPUID leaves lack leaf 1");
	complete_from_host(cpuid);
	leaf_1->ecx |= LEAF_1_ECX_HYPERVISOR;
	leaf_1->ecx &= ~LEAF_1_ECX_TSC_DEADLINE;
	if (vm_extension(vm, KVM_CAP_TSC_DEADLINE_TIMER))
		leaf_1->ecx |= LEAF_1_ECX_TSC_DEADLINE;
	return cpuid;
}

static void set_leaf_1(struct kvm_cpuid_entry2 *entry, const struct topology *topology)
{
	entry->ebx = (entry->ebx & ~LEAF_1_EBX_IDS) | topology->nr_cpus << 16 | topology->apic_id << 24;
	entry->edx &= ~LEAF_1_EDX_HTT;
	if (topology->nr_cpus > 1)
		entry->edx |= LEAF_1_EDX_HTT;
}

/* Each CPU has its own first caches and shares the last one with all. */
static void set_leaf_4(struct kvm_cpuid_entry2 *entry, const struct topology *topology)
{
	u32 last = (1u << topology->id_bits) - 1;

	if (!(entry->eax & LEAF_4_CACHE_TYPE))
		return;
	entry->eax &= (1u << LEAF_4_SHARING_SHIFT) - 1;
	entry->eax |= min(last, 63u) << LEAF_4_CORES_SHIFT;
	if (LEAF_4_CACHE_LEVEL(entry->eax) > LAST_PRIVATE_CACHE_LEVEL)
		entry->eax |= last << LEAF_4_SHARING_SHIFT;
}

/* Leaves 0xb and 0x1f: threads of a core, cores of a package, the end. */
static void set_extended_topology(struct kvm_cpuid_entry2 *entry, const struct topology *topology)
{
	entry->eax = entry->ebx = 0;
	entry->ecx = entry->index;
	entry->edx = topology->apic_id;
	if (entry->index == 0) {
		entry->ebx = 1;
		entry->ecx |= TOPOLOGY_THREADS;
	} else if (entry->index == 1) {
		entry->eax = topology->id_bits;
		entry->ebx = topology->nr_cpus;
		entry->ecx |= TOPOLOGY_CORES;
	}
}

static void set_amd_leaf_1(struct kvm_cpuid_entry2 *entry, const struct topology *topology)
{
	entry->ecx &= ~AMD_LEAF_1_ECX_CMP_LEGACY;
	if (topology->amd && topology->nr_cpus > 1)
		entry->ecx |= AMD_LEAF_1_ECX_CMP_LEGACY;
}

static void set_amd_leaf_8(struct kvm_cpuid_entry2 *entry, const struct topology *topology)
{
	if (topology->amd)
		entry->ecx = topology->id_bits << AMD_LEAF_8_APIC_ID_SIZE_SHIFT | (topology->nr_cpus - 1);
}

/* Extended APIC ID, core ID; node 0 of 1. */
static void set_amd_leaf_1e(struct kvm_cpuid_entry2 *entry, const struct topology *topology)
{
	entry->eax = topology->apic_id;
	entry->ebx = topology->apic_id;
	entry->ecx = 0;
}

static const struct {
	u32 function;
	void (*set)(struct kvm_cpuid_entry2 *entry, const struct topology *topology);
} leaves[] = {
	{ 1, set_leaf_1 },
	{ 4, set_leaf_4 },
	{ 0xb, set_extended_topology },
	{ 0x1f, set_extended_topology },
	{ 0x80000001, set_amd_leaf_1 },
	{ 0x80000008, set_amd_leaf_8 },
	{ 0x8000001e, set_amd_leaf_1e },
};

/* The host's kernel leaves the subleaves of the topology to its client. */
static void complete_subleaves(struct kvm_cpuid2 *cpuid, u32 function)
{
	u32 kept = 0;

	if (!find(cpuid, function))
		return;
	for (u32 i = 0; i < cpuid->nent; i++) {
		if (cpuid->entries[i].function != function)
			cpuid->entries[kept++] = cpuid->entries[i];
	}
	for (u32 index = 0; index < 3 && kept < MAX_ENTRIES; index++)
		cpuid->entries[kept++] = (struct kvm_cpuid_entry2){
			.function = function,
			.index = index,
			.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
		};
	cpuid->nent = kept;
}

static bool is_amd(struct kvm_cpuid2 *cpuid)
{
	const struct kvm_cpuid_entry2 *vendor = find(cpuid, 0);

	return vendor && vendor->ebx != 0x756e6547; /* "Genu" */
}

/**
 * cpuid_set_topology - say which CPU of how many this is
 * @cpuid: what cpuid_get_supported() gave, or what this function made of it for another CPU
 * @apic_id: this CPU
 * @nr_cpus: of how many
 */
void cpuid_set_topology(struct kvm_cpuid2 *cpuid, unsigned int apic_id, unsigned int nr_cpus)
{
	struct topology topology = { .apic_id = apic_id, .nr_cpus = nr_cpus, .amd = is_amd(cpuid) };

	while (1u << topology.id_bits < nr_cpus)
		topology.id_bits++;
	complete_subleaves(cpuid, 0xb);
	complete_subleaves(cpuid, 0x1f);
	for (unsigned int i = 0; i < cpuid->nent; i++) {
		struct kvm_cpuid_entry2 *entry = &cpuid->entries[i];

		for (unsigned int j = 0; j < ARRAY_SIZE(leaves); j++) {
			if (entry->function == leaves[j].function)
				leaves[j].set(entry, &topology);
		}
	}
}
