// SPDX-License-Identifier: GPL-2.0
/*
 * Binary statistics. A file reads as: header, id, descriptors, one u64 a counter; names and meanings are those of KVM's
 * counters. Source: KVM's api.rst, "KVM_GET_STATS_FD".
 */
#include <linux/fs.h>
#include <linux/slab.h>

#include "stats.h"
#include "vcpu.h"
#include "vm.h"

#define NAME_SIZE 48

struct counter {
	const char *name;
	size_t offset; /* of the u64 in the object */
	u32 type;      /* KVM_STATS_TYPE_*; 0: cumulative */
};

static const struct counter vcpu_counters[] = {
	{ "exits", offsetof(struct vcpu, stat.exits) },
	{ "halt_wait_ns", offsetof(struct vcpu, stat.halt_ns) },
	{ "halt_exits", offsetof(struct vcpu, stat.halts) },
	{ "host_state_reload", offsetof(struct vcpu, stat.slices) },
	{ "pf_taken", offsetof(struct vcpu, stat.faults) },
	{ "mmio_exits", offsetof(struct vcpu, stat.mmio) },
	{ "io_exits", offsetof(struct vcpu, stat.pio) },
	{ "irq_injections", offsetof(struct vcpu, stat.irqs_injected) },
};

static const struct counter vm_counters[] = {
	{ "mmu_shadow_zapped", offsetof(struct vm, memory.nr_unmapped) },
	{ "pages_4k", offsetof(struct vm, memory.nr_leaves[0]), KVM_STATS_TYPE_INSTANT },
	{ "pages_2m", offsetof(struct vm, memory.nr_leaves[1]), KVM_STATS_TYPE_INSTANT },
	{ "pages_1g", offsetof(struct vm, memory.nr_leaves[2]), KVM_STATS_TYPE_INSTANT },
	{ "nx_lpage_splits", offsetof(struct vm, memory.nr_broken_up), KVM_STATS_TYPE_INSTANT },
};

struct descriptor {
	struct kvm_stats_desc desc;
	char name[NAME_SIZE];
};

static void fill(struct kvm_stats_header *header, char *id, struct descriptor *descriptors, u64 *data,
		 const void *object, const struct counter *counters, unsigned int nr)
{
	unsigned int i;

	*header = (struct kvm_stats_header){
		.name_size = NAME_SIZE,
		.num_desc = nr,
		.id_offset = id - (char *)header,
		.desc_offset = (char *)descriptors - (char *)header,
		.data_offset = (char *)data - (char *)header,
	};
	for (i = 0; i < nr; i++) {
		descriptors[i].desc.flags = counters[i].type | KVM_STATS_UNIT_NONE | KVM_STATS_BASE_POW10;
		descriptors[i].desc.size = 1;
		descriptors[i].desc.offset = i * sizeof(*data);
		strscpy(descriptors[i].name, counters[i].name, NAME_SIZE);
		data[i] = READ_ONCE(*(const u64 *)(object + counters[i].offset));
	}
}

static ssize_t stats_read(const char *name, const void *object, const struct counter *counters, unsigned int nr,
			  char __user *user, size_t len, loff_t *pos)
{
	struct kvm_stats_header *header;
	struct descriptor *descriptors;
	ssize_t r;
	char *id;
	u64 *data;

	static_assert(sizeof(struct descriptor) == sizeof(struct kvm_stats_desc) + NAME_SIZE);
	header = kzalloc(sizeof(*header) + NAME_SIZE + nr * (sizeof(*descriptors) + sizeof(*data)), GFP_KERNEL);
	if (!header)
		return -ENOMEM;
	id = (char *)(header + 1);
	descriptors = (void *)(id + NAME_SIZE);
	data = (u64 *)(descriptors + nr);
	strscpy(id, name, NAME_SIZE);
	fill(header, id, descriptors, data, object, counters, nr);
	r = simple_read_from_buffer(user, len, pos, header, (char *)(data + nr) - (char *)header);
	kfree(header);
	return r;
}

static ssize_t vm_stats_read(struct file *file, char __user *user, size_t len, loff_t *pos)
{
	struct vm *vm = file->private_data;
	char name[NAME_SIZE];

	memory_count_leaves(&vm->memory);
	snprintf(name, sizeof(name), "kvm-%d", vm->pid);
	return stats_read(name, vm, vm_counters, ARRAY_SIZE(vm_counters), user, len, pos);
}

static ssize_t vcpu_stats_read(struct file *file, char __user *user, size_t len, loff_t *pos)
{
	const struct vcpu *vcpu = file->private_data;
	char name[NAME_SIZE];

	snprintf(name, sizeof(name), "kvm-%d/vcpu-%u", vcpu->vm->pid, vcpu->id);
	return stats_read(name, vcpu, vcpu_counters, ARRAY_SIZE(vcpu_counters), user, len, pos);
}

static int vm_stats_release(struct inode *inode, struct file *file)
{
	vm_put(file->private_data);
	return 0;
}

static int vcpu_stats_release(struct inode *inode, struct file *file)
{
	vm_put(((struct vcpu *)file->private_data)->vm);
	return 0;
}

static const struct file_operations vm_stats_fops = {
	.owner = THIS_MODULE,
	.read = vm_stats_read,
	.release = vm_stats_release,
	.llseek = noop_llseek,
};

static const struct file_operations vcpu_stats_fops = {
	.owner = THIS_MODULE,
	.read = vcpu_stats_read,
	.release = vcpu_stats_release,
	.llseek = noop_llseek,
};

long stats_open_vm(struct vm *vm)
{
	return vm_open_file(vm, "pith-vm-stats", &vm_stats_fops, vm);
}

long stats_open_vcpu(struct vcpu *vcpu)
{
	return vm_open_file(vcpu->vm, "pith-vcpu-stats", &vcpu_stats_fops, vcpu);
}
