// SPDX-License-Identifier: GPL-2.0
/*
 * The module: the device node, and each CPU into and out of virtualization: at load and unload, CPU hotplug, suspend,
 * reboot. (For a crash the kernel has hooks of its own, which the backends use.)
 */
#define pr_fmt(fmt) "pith: " fmt

#include <linux/cpu.h>
#include <linux/cpuhotplug.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/namei.h>
#include <linux/notifier.h>
#include <linux/reboot.h>
#include <linux/slab.h>
#include <linux/syscore_ops.h>
#include <linux/uaccess.h>
#include <linux/workqueue.h>

#include <asm/mce.h>

#include "backend.h"
#include "compat.h"
#include "cpu/cpuid.h"
#include "cpu/fpu.h"
#include "cpu/mce.h"
#include "cpu/msr.h"
#include "exit_log.h"
#include "extension.h"
#include "ioctl.h"
#include "main.h"
#include "pith.h"

static char *devname = "pith";
module_param(devname, charp, 0444);
MODULE_PARM_DESC(devname, "name of the device node; kvm for clients that open /dev/kvm");

struct backend backend __ro_after_init;

/* -- each CPU into and out of virtualization --------------------------------------------------------------------- */

DEFINE_PER_CPU(bool, virtualization_on);
static enum cpuhp_state hotplug_state;

static int virtualization_start(void)
{
	unsigned long flags;
	int r;

	local_irq_save(flags);
	r = backend.cpu_on();
	__this_cpu_write(virtualization_on, !r);
	local_irq_restore(flags);
	return r;
}

/* Not while a vCPU is in a slice here: no slice begins from the moment that the flag is down. See vcpu_slice(). */
static void virtualization_stop(void)
{
	unsigned long flags;

	local_irq_save(flags);
	if (__this_cpu_read(virtualization_on)) {
		__this_cpu_write(virtualization_on, false);
		backend.cpu_off();
	}
	local_irq_restore(flags);
}

static int cpu_up(unsigned int cpu)
{
	int r = virtualization_start();

	/* The backend has said what is in the way, if something else is. */
	if (r && r != -EBUSY)
		pr_err("CPU %u cannot be brought into virtualization (%d)\n", cpu, r);
	return r;
}

static int cpu_down(unsigned int cpu)
{
	virtualization_stop();
	return 0;
}

/* Suspend: the other CPUs have been taken offline by now; this one is off while the machine sleeps. */
static int suspend(void)
{
	virtualization_stop();
	return 0;
}

static void resume(void)
{
	if (virtualization_start())
		pr_err("CPU %u did not come back into virtualization after suspend\n", smp_processor_id());
}

COMPAT_SYSCORE(system_sleep, suspend, resume);

static long stop_here(void *unused)
{
	virtualization_stop();
	return 0;
}

/*
 * Firmware and kexec kernels may not start a CPU that is in VMX operation: INIT is blocked there. A thread of each CPU
 * does it, since an interrupt would do it in the midst of a slice.
 */
static int reboot(struct notifier_block *block, unsigned long event, void *unused)
{
	int cpu;

	cpus_read_lock();
	for_each_online_cpu(cpu)
		work_on_cpu(cpu, stop_here, NULL);
	cpus_read_unlock();
	return NOTIFY_OK;
}

static struct notifier_block reboot_notifier = { .notifier_call = reboot };

/* -- stock KVM -------------------------------------------------------------------------------------------------- */

/* The kernel does not take a second device of a name, and says so with a backtrace. */
static bool device_name_taken(void)
{
	struct path path;
	char *name = kasprintf(GFP_KERNEL, "/sys/class/misc/%s", devname);
	bool taken = name && !kern_path(name, 0, &path);

	if (taken)
		path_put(&path);
	kfree(name);
	return taken;
}

static bool excludes(const struct module *module)
{
	if (backend.excludes && !strcmp(module->name, backend.excludes))
		return true;
	return !strcmp(devname, "kvm") && !strncmp(module->name, "kvm_", 4);
}

/* A module that cannot be beside this one is refused before it does anything. */
static int module_changes(struct notifier_block *block, unsigned long event, void *module)
{
	if (event != MODULE_STATE_COMING || !excludes(module))
		return NOTIFY_DONE;
	pr_err("%s cannot be loaded beside pith: remove pith first with rmmod\n", ((struct module *)module)->name);
	return notifier_from_errno(-EBUSY);
}

static struct notifier_block module_notifier = { .notifier_call = module_changes };

/* -- ioctls of the device ---------------------------------------------------------------------------------------- */

static long device_ioctl_api_version(void *object, void *arg)
{
	return arg ? -EINVAL : KVM_API_VERSION;
}

static long device_ioctl_create_vm(void *object, void *arg)
{
	return vm_create((unsigned long)arg);
}

static long device_ioctl_check_extension(void *object, void *arg)
{
	return extension_value((unsigned long)arg);
}

static long device_ioctl_vcpu_mmap_size(void *object, void *arg)
{
	return arg ? -EINVAL : VCPU_MMAP_PAGES * PAGE_SIZE;
}

static long device_ioctl_mce_cap(void *object, void *arg)
{
	*(u64 *)arg = mce_supported_cap();
	return 0;
}

/* The one attribute that the device has. Return: 0, or -ENXIO: this is not it. */
static long device_ioctl_has_device_attr(void *object, void *arg)
{
	const struct kvm_device_attr *attribute = arg;

	return !attribute->group && attribute->attr == KVM_X86_XCOMP_GUEST_SUPP ? 0 : -ENXIO;
}

static long device_ioctl_get_device_attr(void *object, void *arg)
{
	const struct kvm_device_attr *attribute = arg;

	return device_ioctl_has_device_attr(object, arg)
		       ?: put_user(fpu_supported_xcr0(), (u64 __user *)attribute->addr);
}

static long copy_cpuid(struct kvm_cpuid2 __user *user, struct kvm_cpuid_entry2 *entries, u32 room)
{
	struct kvm_cpuid2 header = {};
	int nr = cpuid_supported(entries, min_t(u32, room, CPUID_MAX_ENTRIES));

	if (nr < 0)
		return nr;
	header.nent = nr;
	if (copy_to_user(user->entries, entries, nr * sizeof(*entries)))
		return -EFAULT;
	return copy_to_user(user, &header, sizeof(header)) ? -EFAULT : 0;
}

static long device_ioctl_supported_cpuid(void *object, void *arg)
{
	struct kvm_cpuid2 __user *user = (void __user *)arg;
	struct kvm_cpuid_entry2 *entries;
	struct kvm_cpuid2 header;
	long r;

	if (copy_from_user(&header, user, sizeof(header)))
		return -EFAULT;
	if (!header.nent)
		return -E2BIG;
	entries = kvcalloc(CPUID_MAX_ENTRIES, sizeof(*entries), GFP_KERNEL);
	if (!entries)
		return -ENOMEM;
	r = copy_cpuid(user, entries, header.nent);
	kvfree(entries);
	return r;
}

#define MAX_LISTED_MSRS 128

static long copy_msr_list(struct kvm_msr_list __user *user, const u32 *indices, u32 nr)
{
	struct kvm_msr_list header;
	u32 room;

	if (copy_from_user(&header, user, sizeof(header)))
		return -EFAULT;
	room = header.nmsrs;
	header.nmsrs = nr;
	/* The count is told even where there is no room: that is how clients ask for it. */
	if (copy_to_user(user, &header, sizeof(header)))
		return -EFAULT;
	if (room < nr)
		return -E2BIG;
	return copy_to_user(user->indices, indices, nr * sizeof(*indices)) ? -EFAULT : 0;
}

static long device_ioctl_msr_index_list(void *object, void *arg)
{
	u32 *indices = kcalloc(MAX_LISTED_MSRS, sizeof(*indices), GFP_KERNEL);
	long r;

	if (!indices)
		return -ENOMEM;
	r = copy_msr_list((void __user *)arg, indices, min(msr_list(indices, MAX_LISTED_MSRS), MAX_LISTED_MSRS + 0u));
	kfree(indices);
	return r;
}

static long device_ioctl_msr_feature_index_list(void *object, void *arg)
{
	u32 indices[2];

	return copy_msr_list((void __user *)arg, indices, msr_feature_list(indices, ARRAY_SIZE(indices)));
}

static long device_ioctl_get_msrs(void *object, void *arg)
{
	return vcpu_msrs(NULL, (void __user *)arg, false);
}

#define ROW(number, handler, argument, meaning) { number, argument, device_ioctl_##handler },
static const struct ioctl_row device_ioctls[] = { PITH_DEVICE_IOCTLS(ROW) };
#undef ROW

static long device_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return ioctl_dispatch(device_ioctls, ARRAY_SIZE(device_ioctls), NULL, cmd, arg, -EINVAL);
}

static const struct file_operations device_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = device_ioctl,
	.llseek = noop_llseek,
};

static struct miscdevice device = { .minor = MISC_DYNAMIC_MINOR, .fops = &device_fops, .mode = 0660 };

/* -- load and unload --------------------------------------------------------------------------------------------- */

/* CPUID itself is asked, not the kernel's flags: those are cleared when the firmware locks the feature away. */
static const struct backend *find_backend(void)
{
	if (cpuid_eax(0x80000000) >= 0x80000001 && (cpuid_ecx(0x80000001) & BIT(2)))
		return &svm_backend;
	if (cpuid_ecx(1) & BIT(5))
		return &vmx_backend;
	return NULL;
}

static int __init common_setup(void)
{
	const struct backend *found = find_backend();

	if (!found) {
		pr_err("this CPU has neither Intel VMX nor AMD SVM; pith needs one of them\n");
		return -EOPNOTSUPP;
	}
	if (!boot_cpu_has(X86_FEATURE_XSAVE)) {
		pr_err("this CPU has no XSAVE, or the kernel was started with noxsave; pith needs it\n");
		return -EOPNOTSUPP;
	}
	backend = *found;
	return fpu_setup();
}

/* What the others rest on: after it the CPUs can be brought into virtualization. */
static int __init basic_setup(void)
{
	int r = common_setup();

	if (r)
		return r;
	if (device_name_taken()) {
		pr_err("there is a device /dev/%s already: remove its module, or choose another name by devname=\n",
		       devname);
		return -EEXIST;
	}
	exit_log_setup();
	r = run_setup();
	if (r)
		return r;
	r = memory_setup();
	if (r)
		goto no_memory;
	register_module_notifier(&module_notifier);
	r = backend.setup();
	if (!r)
		return 0;
	unregister_module_notifier(&module_notifier);
	memory_teardown();
no_memory:
	run_teardown();
	return r;
}

static void basic_teardown(void)
{
	exit_log_teardown();
	backend.teardown();
	unregister_module_notifier(&module_notifier);
	memory_teardown();
	run_teardown();
}

static int __init pith_init(void)
{
	int r = basic_setup();

	if (r)
		return r;
	r = cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "pith:online", cpu_up, cpu_down);
	if (r < 0)
		goto teardown;
	hotplug_state = r;
	compat_register_syscore(&system_sleep);
	register_reboot_notifier(&reboot_notifier);
	device.name = devname;
	r = misc_register(&device);
	if (r)
		goto unregister;
	pr_info("version %s, %s, /dev/%s\n", PITH_VERSION, backend.name, devname);
	return 0;
unregister:
	unregister_reboot_notifier(&reboot_notifier);
	compat_unregister_syscore(&system_sleep);
	cpuhp_remove_state(hotplug_state);
teardown:
	basic_teardown();
	return r;
}

static void __exit pith_exit(void)
{
	misc_deregister(&device);
	unregister_reboot_notifier(&reboot_notifier);
	compat_unregister_syscore(&system_sleep);
	cpuhp_remove_state(hotplug_state);
	basic_teardown();
}

module_init(pith_init);
module_exit(pith_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("pith: a small hypervisor that speaks the KVM ioctl ABI");
MODULE_VERSION(PITH_VERSION);
