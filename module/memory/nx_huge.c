// SPDX-License-Identifier: GPL-2.0
/*
 * Some CPUs end in a machine check when the size of a page changes whose code is in the instruction TLB, and a guest can
 * change it, of its own mapping. Not if no large page of ours can be executed from: so such a page is broken up when the
 * guest runs code in it. As most of what ran once does not run again, in each period a part of these is taken away, and
 * comes back by faults: large, where it is only data. The parameters are KVM's. Source: the kernel's admin guide, "iTLB
 * multihit", and its kernel-parameters.txt, kvm.nx_huge_pages*.
 */
#include <linux/capability.h>
#include <linux/cpu.h>
#include <linux/jiffies.h>
#include <linux/kstrtox.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/workqueue.h>

#include "internal.h"

static int nx_huge_pages = -1;
static unsigned int recovery_ratio = IS_ENABLED(CONFIG_PREEMPT_RT) ? 0 : 60;
static unsigned int recovery_period_ms;

static bool cpu_needs_it(void)
{
	return boot_cpu_has_bug(X86_BUG_ITLB_MULTIHIT) && !cpu_mitigations_off();
}

static bool is_on(void)
{
	int value = READ_ONCE(nx_huge_pages);

	return value < 0 ? cpu_needs_it() : value;
}

bool nx_huge_applies(const struct memory *m)
{
	return is_on() && !m->code_in_large_pages;
}

int memory_disable_nx_huge_pages(struct vm *vm, const u64 args[4])
{
	/* The guest can stop the machine then. */
	if (!capable(CAP_SYS_BOOT))
		return -EPERM;
	if (args[0] || vm_nr_vcpus(vm))
		return -EINVAL;
	vm->memory.code_in_large_pages = true;
	return 0;
}

/* -- recovery ----------------------------------------------------------------------------------------------------- */

/* In jiffies; 0: no recovery. If nothing else is asked for an hour has as many as the ratio says, of a second or longer. */
static unsigned long recovery_period(void)
{
	unsigned int ratio = READ_ONCE(recovery_ratio), ms = READ_ONCE(recovery_period_ms);

	if (!is_on() || !ratio)
		return 0;
	return max(msecs_to_jiffies(ms ?: 3600u * MSEC_PER_SEC / min(ratio, 3600u)), 1ul);
}

void nx_huge_broken_up(struct memory *m)
{
	unsigned long period = recovery_period();

	atomic64_inc(&m->nr_broken_up);
	if (period)
		queue_delayed_work(system_unbound_wq, &m->recovery, period);
}

/* They all have their turn. */
static bool recover_one(struct memory *m)
{
	unsigned int level;
	u64 gfn = tables_next_broken_up(m, m->recovered_to, &level);

	if (gfn == NO_TABLES)
		gfn = tables_next_broken_up(m, 0, &level);
	if (gfn == NO_TABLES)
		return false;
	m->recovered_to = gfn + level_pages(level);
	memory_unmap(container_of(m, struct vm, memory), gfn, m->recovered_to, true);
	return true;
}

static void recover(struct work_struct *work)
{
	struct memory *m = container_of(to_delayed_work(work), struct memory, recovery);
	unsigned int ratio = READ_ONCE(recovery_ratio);
	u64 nr = ratio ? DIV_ROUND_UP_ULL(atomic64_read(&m->nr_broken_up), ratio) : 0;
	unsigned long period;

	while (nr-- && recover_one(m))
		cond_resched();
	period = recovery_period();
	if (period && atomic64_read(&m->nr_broken_up))
		queue_delayed_work(system_unbound_wq, &m->recovery, period);
}

void nx_huge_init(struct memory *m)
{
	INIT_DELAYED_WORK(&m->recovery, recover);
}

void nx_huge_destroy(struct memory *m)
{
	cancel_delayed_work_sync(&m->recovery);
}

/* -- the parameters ----------------------------------------------------------------------------------------------- */

static void unmap_everything(struct memory *m)
{
	memory_unmap(container_of(m, struct vm, memory), 0, U64_MAX, true);
}

static int set_nx_huge_pages(const char *text, const struct kernel_param *param)
{
	bool value;

	if (sysfs_streq(text, "off"))
		value = false;
	else if (sysfs_streq(text, "force"))
		value = true;
	else if (sysfs_streq(text, "auto"))
		value = cpu_needs_it();
	else if (kstrtobool(text, &value))
		return -EINVAL;
	if (value == is_on())
		return 0;
	WRITE_ONCE(nx_huge_pages, value);
	memories_for_each(unmap_everything);
	return 0;
}

static int get_nx_huge_pages(char *text, const struct kernel_param *param)
{
	return sprintf(text, "%c\n", is_on() ? 'Y' : 'N');
}

static void restart_period(struct memory *m)
{
	unsigned long period = recovery_period();

	if (period && atomic64_read(&m->nr_broken_up))
		mod_delayed_work(system_unbound_wq, &m->recovery, period);
}

static int set_recovery(const char *text, const struct kernel_param *param)
{
	int r = param_set_uint(text, param);

	if (!r)
		memories_for_each(restart_period);
	return r;
}

static const struct kernel_param_ops nx_huge_pages_ops = { .set = set_nx_huge_pages, .get = get_nx_huge_pages };
static const struct kernel_param_ops recovery_ops = { .set = set_recovery, .get = param_get_uint };

module_param_cb(nx_huge_pages, &nx_huge_pages_ops, NULL, 0644);
__MODULE_PARM_TYPE(nx_huge_pages, "bool");
MODULE_PARM_DESC(nx_huge_pages, "guests execute code in 4 KiB pages only: force, off, or auto: where the CPU needs it");
module_param_cb(nx_huge_pages_recovery_ratio, &recovery_ops, &recovery_ratio, 0644);
__MODULE_PARM_TYPE(nx_huge_pages_recovery_ratio, "uint");
MODULE_PARM_DESC(nx_huge_pages_recovery_ratio,
		 "1/ratio of the pages broken up for that are taken away in each period; 0: none (60)");
module_param_cb(nx_huge_pages_recovery_period_ms, &recovery_ops, &recovery_period_ms, 0644);
__MODULE_PARM_TYPE(nx_huge_pages_recovery_period_ms, "uint");
MODULE_PARM_DESC(nx_huge_pages_recovery_period_ms,
		 "that period; 0: an hour divided by the ratio, but a second at least (0)");
