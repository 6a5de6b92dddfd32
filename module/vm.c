// SPDX-License-Identifier: GPL-2.0
/* A VM's file: its lifetime and its ioctls. */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/nospec.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include <asm/tsc.h>

#include "backend.h"
#include "cpu/msr_filter.h"
#include "cpu/tsc.h"
#include "exit_log.h"
#include "extension.h"
#include "inspect.h"
#include "ioctl.h"
#include "irq/irqchip.h"
#include "pith.h"
#include "stats.h"
#include "vcpu.h"
#include "vm.h"

#define MAX_IRQ_ROUTES 4096

/* -- ioctls; object is the VM ------------------------------------------------------------------------------------ */

static long vm_ioctl_check_extension(void *object, void *arg)
{
	return extension_value((unsigned long)arg);
}

static long vm_ioctl_enable_cap(void *object, void *arg)
{
	return vm_enable_cap(object, arg);
}

struct vcpu *vm_vcpu_by_id(struct vm *vm, u32 id)
{
	struct vcpu *vcpu;
	unsigned int i;

	vm_for_each_vcpu(vm, vcpu, i)
		if (vcpu->id == id)
			return vcpu;
	return NULL;
}

int vm_limit_vcpu_ids(struct vm *vm, const u64 args[4])
{
	if (args[0] > VM_MAX_VCPU_IDS || (vm->max_vcpu_ids && vm->max_vcpu_ids != args[0]))
		return -EINVAL;
	vm->max_vcpu_ids = args[0];
	return 0;
}

/* Publishes a vCPU, then its file: who has the number can rely on the vCPU being in the list. */
static long vm_add_vcpu(struct vm *vm, struct vcpu *vcpu)
{
	int fd = get_unused_fd_flags(O_CLOEXEC);
	struct file *file;

	if (fd < 0)
		return fd;
	file = vcpu_open_file(vcpu);
	if (IS_ERR(file)) {
		put_unused_fd(fd);
		return PTR_ERR(file);
	}
	vcpu->index = vm->nr_vcpus;
	vm->vcpus[vcpu->index] = vcpu;
	/* Pairs with smp_load_acquire() in vm_nr_vcpus(). */
	smp_store_release(&vm->nr_vcpus, vm->nr_vcpus + 1);
	clock_vcpu_added(vm);
	fd_install(fd, file);
	return fd;
}

static long vm_create_vcpu_locked(struct vm *vm, u32 id)
{
	struct vcpu *vcpu;
	long fd;

	if (!vm->max_vcpu_ids)
		vm->max_vcpu_ids = VM_MAX_VCPU_IDS;
	if (vm->nr_vcpus >= VM_MAX_VCPUS || id >= vm->max_vcpu_ids)
		return -EINVAL;
	if (vm_vcpu_by_id(vm, id))
		return -EEXIST;
	vcpu = vcpu_create(vm, id);
	if (IS_ERR(vcpu))
		return PTR_ERR(vcpu);
	fd = vm_add_vcpu(vm, vcpu);
	if (fd < 0)
		vcpu_destroy(vcpu);
	return fd;
}

static long vm_ioctl_create_vcpu(void *object, void *arg)
{
	unsigned long id = (unsigned long)arg;
	struct vm *vm = object;
	long fd;

	if (id >= VM_MAX_VCPU_IDS)
		return -EINVAL;
	mutex_lock(&vm->lock);
	fd = vm_create_vcpu_locked(vm, id);
	mutex_unlock(&vm->lock);
	return fd;
}

static long vm_ioctl_set_memory(void *object, void *arg)
{
	struct vm *vm = object;
	long r;

	mutex_lock(&vm->lock);
	r = memory_set_slot(vm, arg);
	mutex_unlock(&vm->lock);
	return r;
}

static long vm_ioctl_get_dirty_log(void *object, void *arg)
{
	return memory_get_dirty_log(object, arg);
}

/* Its number says that the struct comes back, and it does not. */
static long vm_ioctl_clear_dirty_log(void *object, void *arg)
{
	struct kvm_clear_dirty_log log;

	if (copy_from_user(&log, (void __user *)arg, sizeof(log)))
		return -EFAULT;
	return memory_clear_dirty_log(object, &log);
}

static long vm_ioctl_set_nr_mmu_pages(void *object, void *arg)
{
	return memory_set_nr_mmu_pages(object, (unsigned long)arg);
}

static long vm_ioctl_get_nr_mmu_pages(void *object, void *arg)
{
	return memory_get_nr_mmu_pages(object);
}

/* The TSS and identity map are crutches for CPUs without unrestricted guest; the addresses are only checked. */
static long vm_ioctl_set_tss_addr(void *object, void *arg)
{
	return (unsigned long)arg > 0xffffffff - 3 * PAGE_SIZE ? -EINVAL : 0;
}

static long vm_ioctl_set_identity_map_addr(void *object, void *arg)
{
	return vm_nr_vcpus(object) ? -EINVAL : 0;
}

static long vm_ioctl_set_boot_cpu_id(void *object, void *arg)
{
	struct vm *vm = object;
	long r = -EBUSY;

	mutex_lock(&vm->lock);
	if (!vm->nr_vcpus) {
		vm->boot_vcpu_id = (unsigned long)arg;
		r = 0;
	}
	mutex_unlock(&vm->lock);
	return r;
}

static long vm_ioctl_create_irqchip(void *object, void *arg)
{
	struct vm *vm = object;
	long r;

	mutex_lock(&vm->lock);
	r = irqchip_create(vm);
	mutex_unlock(&vm->lock);
	return r;
}

static long vm_ioctl_create_pit2(void *object, void *arg)
{
	struct vm *vm = object;
	long r;

	mutex_lock(&vm->lock);
	r = irqchip_create_pit(vm, ((struct kvm_pit_config *)arg)->flags);
	mutex_unlock(&vm->lock);
	return r;
}

static long vm_ioctl_get_irqchip(void *object, void *arg)
{
	return irqchip_get(object, arg);
}

/* Its number says that the struct comes back; but it goes in, and stays as it is. */
static long vm_ioctl_set_irqchip(void *object, void *arg)
{
	struct kvm_irqchip *chip = memdup_user((void __user *)arg, sizeof(*chip));
	long r;

	if (IS_ERR(chip))
		return PTR_ERR(chip);
	r = irqchip_set(object, chip);
	kfree(chip);
	return r;
}

static long vm_ioctl_get_pit2(void *object, void *arg)
{
	return irqchip_get_pit(object, arg);
}

static long vm_ioctl_set_pit2(void *object, void *arg)
{
	return irqchip_set_pit(object, arg);
}

/* Its number has no size, though it takes a struct. */
static long vm_ioctl_reinject_control(void *object, void *arg)
{
	struct kvm_reinject_control control;

	if (copy_from_user(&control, (void __user *)arg, sizeof(control)))
		return -EFAULT;
	return irqchip_reinject(object, &control);
}

static long vm_ioctl_irq_line(void *object, void *arg)
{
	return irq_line(object, arg);
}

static long vm_ioctl_irq_line_status(void *object, void *arg)
{
	return irq_line(object, arg);
}

static long vm_ioctl_signal_msi(void *object, void *arg)
{
	return irq_signal_msi(object, arg);
}

static long vm_ioctl_set_gsi_routing(void *object, void *arg)
{
	struct kvm_irq_routing __user *user = (void __user *)arg;
	struct kvm_irq_routing_entry *entries = NULL;
	struct kvm_irq_routing header;
	long r;

	if (copy_from_user(&header, user, sizeof(header)))
		return -EFAULT;
	if (header.nr > MAX_IRQ_ROUTES || header.flags)
		return -EINVAL;
	if (header.nr) {
		entries = vmemdup_user(user->entries, array_size(sizeof(*entries), header.nr));
		if (IS_ERR(entries))
			return PTR_ERR(entries);
	}
	r = irq_set_routing(object, entries, header.nr, header.flags);
	kvfree(entries);
	return r;
}

static long vm_ioctl_set_msr_filter(void *object, void *arg)
{
	struct vm *vm = object;
	long r;

	mutex_lock(&vm->lock);
	r = msr_filter_set(vm, arg);
	mutex_unlock(&vm->lock);
	return r;
}

static long vm_ioctl_get_stats_fd(void *object, void *arg)
{
	return stats_open_vm(object);
}

static long vm_ioctl_irqfd(void *object, void *arg)
{
	return irqfd(object, arg);
}

static long vm_ioctl_ioeventfd(void *object, void *arg)
{
	return ioeventfd(object, arg);
}

static long vm_ioctl_get_clock(void *object, void *arg)
{
	clock_get(object, arg);
	return 0;
}

static long vm_ioctl_set_clock(void *object, void *arg)
{
	return clock_set(object, arg);
}

static long vm_ioctl_set_tsc_khz(void *object, void *arg)
{
	u32 khz = (unsigned long)arg;
	struct vm *vm = object;

	if (!tsc_khz_valid(khz))
		return -EINVAL;
	WRITE_ONCE(vm->clock.tsc_khz, khz ?: tsc_khz);
	return 0;
}

static long vm_ioctl_get_tsc_khz(void *object, void *arg)
{
	return READ_ONCE(((struct vm *)object)->clock.tsc_khz);
}

static long vm_ioctl_register_coalesced(void *object, void *arg)
{
	return coalesced_register(object, arg);
}

static long vm_ioctl_unregister_coalesced(void *object, void *arg)
{
	return coalesced_unregister(object, arg);
}

static long vm_ioctl_set_exit_log(void *object, void *arg)
{
	return exit_log_set(object, (unsigned long)arg);
}

static long vm_ioctl_inspect(void *object, void *arg)
{
	return inspect_open(object);
}

#define ROW(number, handler, argument, meaning) { number, argument, vm_ioctl_##handler },
static const struct ioctl_row vm_ioctls[] = { PITH_VM_IOCTLS(ROW) };
#undef ROW

/* What is left to other processes, and of a VM that is no more: to see what is inside. */
static long vm_ioctl_of_others(struct file *file, unsigned int cmd)
{
	if (cmd != PITH_INSPECT)
		return -EIO;
	return inspect_allowed(file->f_cred) ? inspect_open(file->private_data) : -EPERM;
}

static long vm_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct vm *vm = file->private_data;

	if (vm->mm != current->mm || READ_ONCE(vm->bugged))
		return vm_ioctl_of_others(file, cmd);
	return ioctl_dispatch(vm_ioctls, ARRAY_SIZE(vm_ioctls), vm, cmd, arg, -ENOTTY);
}

/* -- lifetime ---------------------------------------------------------------------------------------------------- */

static void vm_destroy(struct vm *vm)
{
	unsigned int i;

	exit_log_vm_destroy(vm);
	eventfds_destroy(vm);
	/* Before the vCPUs: its timers interrupt them. */
	irqchip_destroy(vm);
	/* Before the vCPUs: until the MMU notifier is gone, whoever unmaps client memory asks each of them for a flush. */
	memory_destroy(vm);
	for (i = 0; i < vm->nr_vcpus; i++)
		vcpu_destroy(vm->vcpus[i]);
	coalesced_destroy(&vm->coalesced);
	msr_filter_destroy(vm);
	mmdrop(vm->mm);
	kvfree(vm->vcpus);
	kfree(vm);
}

void vm_get(struct vm *vm)
{
	refcount_inc(&vm->users);
}

void vm_put(struct vm *vm)
{
	if (refcount_dec_and_test(&vm->users))
		vm_destroy(vm);
}

long vm_open_file(struct vm *vm, const char *name, const struct file_operations *fops, void *object)
{
	int fd = get_unused_fd_flags(O_CLOEXEC);
	struct file *file;

	if (fd < 0)
		return fd;
	file = anon_inode_getfile(name, fops, object, O_RDONLY);
	if (IS_ERR(file)) {
		put_unused_fd(fd);
		return PTR_ERR(file);
	}
	vm_get(vm);
	file->f_mode |= FMODE_PREAD;
	fd_install(fd, file);
	return fd;
}

static int vm_release(struct inode *inode, struct file *file)
{
	struct vm *vm = file->private_data;

	vm_put(vm);
	return 0;
}

static const struct file_operations vm_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = vm_ioctl,
	.release = vm_release,
	.llseek = noop_llseek,
};

static struct vm *vm_alloc(void)
{
	struct vm *vm = kzalloc(sizeof(*vm), GFP_KERNEL_ACCOUNT);
	int r;

	if (!vm)
		return ERR_PTR(-ENOMEM);
	vm->vcpus = kvcalloc(VM_MAX_VCPUS, sizeof(*vm->vcpus), GFP_KERNEL_ACCOUNT);
	if (!vm->vcpus) {
		kfree(vm);
		return ERR_PTR(-ENOMEM);
	}
	refcount_set(&vm->users, 1);
	mutex_init(&vm->lock);
	mutex_init(&vm->inspecting);
	vm->mm = current->mm;
	vm->pid = task_pid_nr(current);
	mmgrab(vm->mm);
	vm->pic_in_client = true;
	clock_init(vm);
	r = coalesced_create(&vm->coalesced);
	if (r)
		goto free_vm;
	r = memory_init(vm, backend.tables());
	if (r)
		goto free_coalesced;
	return vm;
free_coalesced:
	coalesced_destroy(&vm->coalesced);
free_vm:
	mmdrop(vm->mm);
	kvfree(vm->vcpus);
	kfree(vm);
	return ERR_PTR(r);
}

/**
 * vm_create - KVM_CREATE_VM: a new VM in the caller's address space
 * @type: 0, the only kind on x86
 * Return: its file's number, or -EINVAL, -ENOMEM, -EMFILE. May sleep.
 */
long vm_create(unsigned long type)
{
	struct vm *vm;
	int fd;

	if (type)
		return -EINVAL;
	vm = vm_alloc();
	if (IS_ERR(vm))
		return PTR_ERR(vm);
	fd = anon_inode_getfd("pith-vm", &vm_fops, vm, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		vm_put(vm);
	return fd;
}
