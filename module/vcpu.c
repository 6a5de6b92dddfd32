// SPDX-License-Identifier: GPL-2.0
/* A vCPU's file: its lifetime and its ioctls. */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "backend.h"
#include "cpu/cpuid.h"
#include "cpu/fpu.h"
#include "cpu/guest_debug.h"
#include "cpu/mce.h"
#include "cpu/msr.h"
#include "cpu/state.h"
#include "cpu/tsc.h"
#include "entry_failure.h"
#include "exit_log.h"
#include "extension.h"
#include "ioctl.h"
#include "irq/irqchip.h"
#include "pith.h"
#include "smm.h"
#include "stats.h"

/* As KVM: so many MSRs in one call are too many. */
#define MAX_IO_MSRS 256

/* -- ioctls; object is the vCPU, its mutex is held --------------------------------------------------------------- */

static long vcpu_ioctl_run(void *object, void *arg)
{
	return arg ? -EINVAL : static_call(pith_run)(object);
}

/* A pair of handlers that pass a struct on. */
#define GET(name, type, function)                                  \
	static long vcpu_ioctl_get_##name(void *object, void *arg) \
	{                                                          \
		function(object, (type *)arg);                     \
		return 0;                                          \
	}
#define SET(name, type, function)                                  \
	static long vcpu_ioctl_set_##name(void *object, void *arg) \
	{                                                          \
		return function(object, (const type *)arg);        \
	}

GET(regs, struct kvm_regs, state_get_regs)
GET(sregs, struct kvm_sregs, state_get_sregs)
SET(sregs, struct kvm_sregs, state_set_sregs)
GET(sregs2, struct kvm_sregs2, state_get_sregs2)
SET(sregs2, struct kvm_sregs2, state_set_sregs2)
GET(translate, struct kvm_translation, state_translate)
GET(fpu, struct kvm_fpu, fpu_get)
SET(fpu, struct kvm_fpu, fpu_set)
GET(debugregs, struct kvm_debugregs, state_get_debugregs)
SET(debugregs, struct kvm_debugregs, state_set_debugregs)
GET(events, struct kvm_vcpu_events, state_get_events)
GET(entry_failure, struct pith_entry_failure, entry_failure_get)
SET(events, struct kvm_vcpu_events, state_set_events)
SET(lapic, struct kvm_lapic_state, irq_set_lapic)

static long vcpu_ioctl_get_lapic(void *object, void *arg)
{
	return irq_get_lapic(object, arg);
}

static long vcpu_ioctl_set_regs(void *object, void *arg)
{
	state_set_regs(object, arg);
	return 0;
}

static long vcpu_ioctl_set_guest_debug(void *object, void *arg)
{
	return guest_debug_set(object, arg);
}

/* The image may be larger than the struct, which KVM_CAP_XSAVE2 tells. */
static long vcpu_ioctl_get_xsave2(void *object, void *arg)
{
	return fpu_copy_image(object, (void __user *)arg);
}

static long vcpu_ioctl_get_xsave(void *object, void *arg)
{
	if (fpu_image_size(object) > sizeof(struct kvm_xsave))
		return -EINVAL;
	return vcpu_ioctl_get_xsave2(object, arg);
}

static long vcpu_ioctl_set_xsave(void *object, void *arg)
{
	void *image = memdup_user((void __user *)arg, fpu_image_size(object));
	long r;

	if (IS_ERR(image))
		return PTR_ERR(image);
	r = fpu_set_image(object, image);
	kfree(image);
	return r;
}

static long vcpu_ioctl_get_xcrs(void *object, void *arg)
{
	struct vcpu *vcpu = object;
	struct kvm_xcrs *xcrs = arg;

	*xcrs = (struct kvm_xcrs){ .nr_xcrs = 1, .xcrs[0].value = vcpu->xcr0 };
	return 0;
}

static long vcpu_ioctl_set_xcrs(void *object, void *arg)
{
	const struct kvm_xcrs *xcrs = arg;
	unsigned int i;

	if (xcrs->nr_xcrs > KVM_MAX_XCRS || xcrs->flags)
		return -EINVAL;
	for (i = 0; i < xcrs->nr_xcrs; i++)
		if (xcrs->xcrs[i].xcr == 0)
			return fpu_set_xcr(object, 0, xcrs->xcrs[i].value);
	return 0;
}

static int msr_io(struct vcpu *vcpu, struct kvm_msr_entry *entry, bool write)
{
	if (!vcpu)
		return msr_feature_read(entry->index, &entry->data);
	if (write)
		return msr_write(vcpu, entry->index, entry->data, MSR_HOST);
	return msr_read(vcpu, entry->index, &entry->data, MSR_HOST);
}

static long msrs_io(struct vcpu *vcpu, struct kvm_msr_entry *entries, u32 nr, bool write)
{
	u32 i;

	for (i = 0; i < nr; i++)
		if (msr_io(vcpu, &entries[i], write))
			break;
	return i;
}

long vcpu_msrs(struct vcpu *vcpu, struct kvm_msrs __user *user, bool write)
{
	struct kvm_msr_entry *entries;
	struct kvm_msrs header;
	size_t size;
	long r;

	if (copy_from_user(&header, user, sizeof(header)))
		return -EFAULT;
	if (header.nmsrs >= MAX_IO_MSRS)
		return -E2BIG;
	size = header.nmsrs * sizeof(*entries);
	entries = memdup_user(user->entries, size);
	if (IS_ERR(entries))
		return PTR_ERR(entries);
	r = msrs_io(vcpu, entries, header.nmsrs, write);
	if (!write && copy_to_user(user->entries, entries, size))
		r = -EFAULT;
	kfree(entries);
	return r;
}

static long vcpu_ioctl_get_msrs(void *object, void *arg)
{
	return vcpu_msrs(object, (void __user *)arg, false);
}

static long vcpu_ioctl_set_msrs(void *object, void *arg)
{
	return vcpu_msrs(object, (void __user *)arg, true);
}

static long vcpu_ioctl_set_cpuid2(void *object, void *arg)
{
	struct kvm_cpuid2 __user *user = (void __user *)arg;
	struct kvm_cpuid_entry2 *entries = NULL;
	struct kvm_cpuid2 header;
	long r;

	if (copy_from_user(&header, user, sizeof(header)))
		return -EFAULT;
	if (header.nent > CPUID_MAX_ENTRIES)
		return -E2BIG;
	if (header.nent) {
		entries = vmemdup_user(user->entries, header.nent * sizeof(*entries));
		if (IS_ERR(entries))
			return PTR_ERR(entries);
	}
	r = cpuid_set(object, entries, header.nent);
	if (r)
		kvfree(entries);
	return r;
}

static long vcpu_ioctl_get_cpuid2(void *object, void *arg)
{
	struct kvm_cpuid2 __user *user = (void __user *)arg;
	struct vcpu *vcpu = object;
	struct kvm_cpuid_entry2 entry;
	struct kvm_cpuid2 header;
	bool fits;
	int i;

	if (copy_from_user(&header, user, sizeof(header)))
		return -EFAULT;
	fits = header.nent >= vcpu->nr_cpuid;
	for (i = 0; fits && i < vcpu->nr_cpuid; i++) {
		cpuid_get(vcpu, i, &entry);
		if (copy_to_user(&user->entries[i], &entry, sizeof(entry)))
			return -EFAULT;
	}
	header.nent = vcpu->nr_cpuid;
	/* KVM tells the size needed on success only. */
	if (fits && copy_to_user(user, &header, sizeof(header)))
		return -EFAULT;
	return fits ? 0 : -E2BIG;
}

static long vcpu_ioctl_get_mp_state(void *object, void *arg)
{
	struct vcpu *vcpu = object;

	vcpu_answer_init_sipi(vcpu);
	((struct kvm_mp_state *)arg)->mp_state = vcpu->mp_state;
	return 0;
}

static long vcpu_ioctl_set_mp_state(void *object, void *arg)
{
	u32 state = ((struct kvm_mp_state *)arg)->mp_state;
	struct vcpu *vcpu = object;

	/* Only local APICs in the module can wait for what ends these states. */
	if (state > KVM_MP_STATE_SIPI_RECEIVED || (state != KVM_MP_STATE_RUNNABLE && !vcpu->lapic))
		return -EINVAL;
	/* That mode holds INIT up: nobody gets there from it. */
	if ((state == KVM_MP_STATE_INIT_RECEIVED || state == KVM_MP_STATE_SIPI_RECEIVED) && smm_is_near(vcpu))
		return -EINVAL;
	if (state == KVM_MP_STATE_SIPI_RECEIVED) {
		set_bit(PENDING_SIPI, &vcpu->pending_signals);
		vcpu_request(vcpu, REQ_INIT_SIPI);
		state = KVM_MP_STATE_INIT_RECEIVED;
	}
	vcpu->mp_state = state;
	vcpu_request(vcpu, REQ_EVENT);
	return 0;
}

static long vcpu_ioctl_interrupt(void *object, void *arg)
{
	u32 vector = ((struct kvm_interrupt *)arg)->irq;

	return vector < KVM_NR_INTERRUPTS ? irq_from_client(object, vector) : -EINVAL;
}

static long vcpu_ioctl_nmi(void *object, void *arg)
{
	vcpu_queue_nmi(object);
	return 0;
}

static long vcpu_ioctl_smi(void *object, void *arg)
{
	smm_interrupt(object);
	return 0;
}

static long vcpu_ioctl_set_signal_mask(void *object, void *arg)
{
	struct kvm_signal_mask __user *user = (void __user *)arg;
	struct kvm_signal_mask header;
	struct vcpu *vcpu = object;
	sigset_t set;

	if (!user) {
		vcpu->sigset_active = false;
		return 0;
	}
	if (copy_from_user(&header, user, sizeof(header)))
		return -EFAULT;
	if (header.len != sizeof(set))
		return -EINVAL;
	if (copy_from_user(&set, user->sigset, sizeof(set)))
		return -EFAULT;
	sigdelsetmask(&set, sigmask(SIGKILL) | sigmask(SIGSTOP));
	vcpu->sigset = set;
	vcpu->sigset_active = true;
	return 0;
}

static long vcpu_ioctl_get_tsc_khz(void *object, void *arg)
{
	return ((struct vcpu *)object)->tsc_khz;
}

static long vcpu_ioctl_set_tsc_khz(void *object, void *arg)
{
	return tsc_set_khz(object, (unsigned long)arg);
}

static long vcpu_ioctl_enable_cap(void *object, void *arg)
{
	return vcpu_enable_cap(object, arg);
}

static long vcpu_ioctl_kvmclock_ctrl(void *object, void *arg)
{
	return clock_guest_stopped(object);
}

/* The one attribute that a vCPU has. Return: 0, or -ENXIO: this is not it. */
static long find_attribute(const struct kvm_device_attr *attribute)
{
	return attribute->group == KVM_VCPU_TSC_CTRL && attribute->attr == KVM_VCPU_TSC_OFFSET ? 0 : -ENXIO;
}

static long vcpu_ioctl_has_device_attr(void *object, void *arg)
{
	return find_attribute(arg);
}

static long vcpu_ioctl_get_device_attr(void *object, void *arg)
{
	const struct kvm_device_attr *attribute = arg;
	struct vcpu *vcpu = object;

	return find_attribute(attribute) ?: put_user(vcpu->tsc_offset, (u64 __user *)attribute->addr);
}

static long vcpu_ioctl_set_device_attr(void *object, void *arg)
{
	const struct kvm_device_attr *attribute = arg;
	u64 offset;

	if (find_attribute(attribute))
		return -ENXIO;
	if (get_user(offset, (u64 __user *)attribute->addr))
		return -EFAULT;
	tsc_set_offset(object, offset);
	return 0;
}

static long vcpu_ioctl_set_vapic_addr(void *object, void *arg)
{
	const struct kvm_vapic_addr *vapic = arg;

	return irq_set_vapic(object, vapic->vapic_addr);
}

static long vcpu_ioctl_tpr_access_reporting(void *object, void *arg)
{
	const struct kvm_tpr_access_ctl *control = arg;

	if (control->flags)
		return -EINVAL;
	irq_report_tpr_accesses(object, control->enabled);
	return 0;
}

static long vcpu_ioctl_setup_mce(void *object, void *arg)
{
	return mce_set_cap(object, *(u64 *)arg);
}

static long vcpu_ioctl_set_mce(void *object, void *arg)
{
	return mce_set(object, arg);
}

static long vcpu_ioctl_break_entry(void *object, void *arg)
{
	return entry_failure_poke(object, arg);
}

static long vcpu_ioctl_get_stats_fd(void *object, void *arg)
{
	return stats_open_vcpu(object);
}

#define ROW(number, handler, argument, meaning) { number, argument, vcpu_ioctl_##handler },
static const struct ioctl_row vcpu_ioctls[] = { PITH_VCPU_IOCTLS(ROW) };
#undef ROW

static long vcpu_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct vcpu *vcpu = file->private_data;
	long r;

	/* Guest memory is the creator's memory: nobody else may run it. */
	if (vcpu->vm->mm != current->mm || READ_ONCE(vcpu->vm->bugged))
		return -EIO;
	if (_IOC_TYPE(cmd) != KVMIO && _IOC_TYPE(cmd) != PITHIO)
		return -EINVAL;
	if (mutex_lock_killable(&vcpu->mutex))
		return -EINTR;
	r = ioctl_dispatch(vcpu_ioctls, ARRAY_SIZE(vcpu_ioctls), vcpu, cmd, arg, -EINVAL);
	mutex_unlock(&vcpu->mutex);
	return r;
}

/* -- the file ---------------------------------------------------------------------------------------------------- */

static struct page *vcpu_page(struct vcpu *vcpu, unsigned long index)
{
	if (index >= PITH_EXIT_LOG_PAGE_OFFSET)
		return exit_log_page(vcpu, index - PITH_EXIT_LOG_PAGE_OFFSET);
	if (index >= VCPU_MMAP_PAGES)
		return NULL;
	if (index == KVM_COALESCED_MMIO_PAGE_OFFSET)
		return virt_to_page(vcpu->vm->coalesced.ring);
	return virt_to_page((void *)vcpu->run + index * PAGE_SIZE);
}

static vm_fault_t vcpu_fault(struct vm_fault *vmf)
{
	struct vcpu *vcpu = vmf->vma->vm_file->private_data;

	vmf->page = vcpu_page(vcpu, vmf->pgoff);
	if (!vmf->page)
		return VM_FAULT_SIGBUS;
	get_page(vmf->page);
	return 0;
}

static const struct vm_operations_struct vcpu_vm_ops = { .fault = vcpu_fault };

static int vcpu_mmap(struct file *file, struct vm_area_struct *vma)
{
	vma->vm_ops = &vcpu_vm_ops;
	return 0;
}

static int vcpu_release(struct inode *inode, struct file *file)
{
	struct vcpu *vcpu = file->private_data;

	vm_put(vcpu->vm);
	return 0;
}

static const struct file_operations vcpu_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = vcpu_ioctl,
	.mmap = vcpu_mmap,
	.release = vcpu_release,
	.llseek = noop_llseek,
};

struct file *vcpu_open_file(struct vcpu *vcpu)
{
	struct file *file;
	char name[24];

	snprintf(name, sizeof(name), "pith-vcpu:%u", vcpu->id);
	file = anon_inode_getfile(name, &vcpu_fops, vcpu, O_RDWR);
	if (!IS_ERR(file))
		vm_get(vcpu->vm);
	return file;
}

/* -- lifetime ---------------------------------------------------------------------------------------------------- */

static int vcpu_alloc_parts(struct vcpu *vcpu)
{
	int r;

	vcpu->run = alloc_pages_exact(VCPU_RUN_PAGES * PAGE_SIZE, GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	if (!vcpu->run)
		return -ENOMEM;
	r = exit_log_create(vcpu);
	if (r)
		goto free_run;
	r = fpu_create(vcpu);
	if (r)
		goto free_log;
	r = irq_vcpu_create(vcpu);
	if (r)
		goto free_fpu;
	r = backend.vcpu_create(vcpu);
	if (r)
		goto free_irq;
	return 0;
free_irq:
	irq_vcpu_destroy(vcpu);
free_fpu:
	fpu_destroy(vcpu);
free_log:
	exit_log_destroy(vcpu);
free_run:
	free_pages_exact(vcpu->run, VCPU_RUN_PAGES * PAGE_SIZE);
	return r;
}

/**
 * vcpu_create - a vCPU in the state of RESET, not yet in the VM's list
 * @vm: locked
 * @id: APIC id
 * Return: the vCPU or an ERR_PTR.
 */
struct vcpu *vcpu_create(struct vm *vm, u32 id)
{
	struct vcpu *vcpu = kzalloc(sizeof(*vcpu), GFP_KERNEL_ACCOUNT);
	int r;

	if (!vcpu)
		return ERR_PTR(-ENOMEM);
	vcpu->vm = vm;
	vcpu->id = id;
	vcpu->cpu = vcpu->last_cpu = -1;
	vcpu->user_interrupt = vcpu->extint = -1;
	vcpu->pv.poll_control = 1;
	mutex_init(&vcpu->mutex);
	rcuwait_init(&vcpu->wait);
	r = vcpu_alloc_parts(vcpu);
	if (r) {
		kfree(vcpu);
		return ERR_PTR(r);
	}
	vcpu->mp_state = vm->irqchip && id != vm->boot_vcpu_id ? KVM_MP_STATE_UNINITIALIZED : KVM_MP_STATE_RUNNABLE;
	/* Of an empty CPUID follow the registers' reserved bits; the reset state wants them. */
	cpuid_set(vcpu, NULL, 0);
	vcpu_reset(vcpu, false);
	tsc_create(vcpu);
	return vcpu;
}

void vcpu_destroy(struct vcpu *vcpu)
{
	backend.vcpu_destroy(vcpu);
	irq_vcpu_destroy(vcpu);
	fpu_destroy(vcpu);
	exit_log_destroy(vcpu);
	free_pages_exact(vcpu->run, VCPU_RUN_PAGES * PAGE_SIZE);
	kvfree(vcpu->cpuid);
	kfree(vcpu->failure);
	kfree(vcpu);
}
