// SPDX-License-Identifier: GPL-2.0
/*
 * The inspection file of a VM. It belongs to whoever has it, not to the VM's process: it only reads, and nothing in here
 * touches guest memory, which is not the reader's. (A reader finds it in the client's memory, by the slots.)
 *
 * How a process comes by the file of another one's VM is the kernel's business: pidfd_getfd(2) asks whether it may be
 * traced.
 */
#include <linux/anon_inodes.h>
#include <linux/capability.h>
#include <linux/completion.h>
#include <linux/cred.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/slab.h>

#include "backend.h"
#include "cpu/msr.h"
#include "cpu/state.h"
#include "exit_log.h"
#include "inspect.h"
#include "ioctl.h"
#include "irq/irqchip.h"
#include "pith.h"

/* -- a vCPU's state, as of one moment ----------------------------------------------------------------------------- */

static const u32 inspected_msrs[] = {
	MSR_STAR,
	MSR_LSTAR,
	MSR_CSTAR,
	MSR_SYSCALL_MASK,
	MSR_KERNEL_GS_BASE,
	MSR_IA32_SYSENTER_CS,
	MSR_IA32_SYSENTER_ESP,
	MSR_IA32_SYSENTER_EIP,
	MSR_IA32_CR_PAT,
	MSR_TSC_AUX,
	MSR_IA32_TSC,
	MSR_IA32_MISC_ENABLE,
};

static void read_msrs(struct vcpu *vcpu, struct pith_inspect_vcpu *state)
{
	struct kvm_msr_entry *entry;
	unsigned int i;

	static_assert(ARRAY_SIZE(inspected_msrs) <= PITH_INSPECT_MSRS);
	for (i = 0; i < ARRAY_SIZE(inspected_msrs); i++) {
		entry = &state->msrs[state->nr_msrs];
		entry->index = inspected_msrs[i];
		if (!msr_read(vcpu, entry->index, &entry->data, MSR_HOST))
			state->nr_msrs++;
	}
}

static void read_state(struct vcpu *vcpu, struct pith_inspect_vcpu *state)
{
	state->id = vcpu->id;
	state->mp_state = vcpu->mp_state;
	state->flags = vcpu->thread ? PITH_INSPECT_IN_RUN : 0;
	if (vcpu->lapic)
		state->flags |= PITH_INSPECT_LAPIC;
	state->exits = vcpu->stat.exits;
	state->xcr0 = vcpu->xcr0;
	state_get_regs(vcpu, &state->regs);
	state_get_sregs2(vcpu, &state->sregs);
	state_get_debugregs(vcpu, &state->debugregs);
	state_get_events(vcpu, &state->events);
	irq_get_lapic(vcpu, &state->lapic);
	read_msrs(vcpu, state);
}

/* Values by the vendor's tables of fields: those that rules are about, and those that none is. */
static void put_fields(struct pith_inspect_vcpu *state, const struct check_field *fields, unsigned int nr,
		       const u64 *values)
{
	unsigned int i;

	for (i = 0; i < nr; i++, state->nr_fields++) {
		state->fields[state->nr_fields].number = fields[i].number;
		state->fields[state->nr_fields].size = fields[i].size;
		state->fields[state->nr_fields].value = values[i];
	}
}

static void read_fields(struct vcpu *vcpu, struct pith_inspect_vcpu *state, u64 *values)
{
	const struct checks *checks = backend.checks;

	backend.read_values(vcpu, checks->fields, checks->nr_fields, values);
	put_fields(state, checks->fields, checks->nr_fields, values);
	backend.read_values(vcpu, checks->others, checks->nr_others, values);
	put_fields(state, checks->others, checks->nr_others, values);
}

/* -- whose thread reads it ---------------------------------------------------------------------------------------- */

/*
 * The vCPU's thread holds its mutex as long as it is in KVM_RUN. So an inspection is left at the vCPU, and carried out by
 * whoever takes it from there: that thread, at REQ_INSPECT, or the inspector, if the mutex is free. Who has taken it
 * ends it without waiting for anybody.
 */
struct inspection {
	struct pith_inspect_vcpu *state;
	u64 *values; /* room for the control structure's; NULL: it is not for this reader */
	struct completion done;
};

static void carry_out(struct vcpu *vcpu)
{
	struct inspection *inspection = xchg(&vcpu->inspection, NULL);

	if (!inspection)
		return;
	read_state(vcpu, inspection->state);
	if (inspection->values)
		read_fields(vcpu, inspection->state, inspection->values);
	complete(&inspection->done);
}

void inspect_answer(struct vcpu *vcpu)
{
	if (vcpu_take_request(vcpu, REQ_INSPECT))
		carry_out(vcpu);
}

/*
 * Who holds the mutex may be in KVM_RUN, and answers; or about to leave it, or in another ioctl, and does not: then the
 * mutex is free soon, but nobody tells.
 */
static long inspect(struct vcpu *vcpu, struct inspection *inspection)
{
	long left = 0;

	smp_store_release(&vcpu->inspection, inspection);
	vcpu_request(vcpu, REQ_INSPECT);
	vcpu_kick(vcpu);
	while (!left) {
		if (mutex_trylock(&vcpu->mutex)) {
			carry_out(vcpu);
			mutex_unlock(&vcpu->mutex);
		}
		left = wait_for_completion_killable_timeout(&inspection->done, 1);
	}
	if (left > 0)
		return 0;
	/* Killed. If it has been taken, it is being carried out this very moment. */
	if (xchg(&vcpu->inspection, NULL) != inspection)
		wait_for_completion(&inspection->done);
	return -EINTR;
}

/* -- ioctls; object is the VM ------------------------------------------------------------------------------------- */

/* The control structure tells addresses of the host. */
static bool may_see_host(void)
{
	return capable(CAP_SYS_ADMIN);
}

static long inspect_vcpu(struct vm *vm, struct pith_inspect_vcpu *state, u64 *values)
{
	struct inspection inspection = { .state = state, .values = values };
	u32 index = state->index;
	long r;

	if (index >= vm_nr_vcpus(vm))
		return -ENOENT;
	memset(state, 0, sizeof(*state));
	state->index = index;
	init_completion(&inspection.done);
	if (mutex_lock_killable(&vm->inspecting))
		return -EINTR;
	r = inspect(vm->vcpus[array_index_nospec(index, VM_MAX_VCPUS)], &inspection);
	mutex_unlock(&vm->inspecting);
	return r;
}

static long inspect_ioctl_get_vcpu(void *object, void *arg)
{
	u64 *values = NULL;
	long r;

	static_assert(PITH_INSPECT_FIELDS >= 2 * CHECK_MAX_FIELDS);
	if (may_see_host()) {
		values = kcalloc(CHECK_MAX_FIELDS, sizeof(*values), GFP_KERNEL);
		if (!values)
			return -ENOMEM;
	}
	r = inspect_vcpu(object, arg, values);
	kfree(values);
	return r;
}

static long inspect_ioctl_get_vm(void *object, void *arg)
{
	struct pith_inspect_vm *state = arg;
	struct vm *vm = object;

	state->nr_vcpus = vm_nr_vcpus(vm);
	state->flags = READ_ONCE(vm->bugged) ? PITH_INSPECT_BUGGED : 0;
	strscpy(state->vendor, backend.name, sizeof(state->vendor));
	state->faults = atomic64_read(&vm->memory.nr_faults);
	state->unmapped = atomic64_read(&vm->memory.nr_unmapped);
	state->tables = atomic_long_read(&vm->memory.nr_tables);
	return 0;
}

static long inspect_ioctl_get_slot(void *object, void *arg)
{
	return memory_inspect_slot(object, arg);
}

static long inspect_ioctl_get_page(void *object, void *arg)
{
	memory_inspect_page(object, arg, may_see_host());
	return 0;
}

static long inspect_ioctl_count_exits(void *object, void *arg)
{
	return exit_log_open_counts(object);
}

static long inspect_ioctl_get_irqchip(void *object, void *arg)
{
	return irqchip_get(object, arg);
}

#define ROW(number, handler, argument, meaning) { number, argument, inspect_ioctl_##handler },
static const struct ioctl_row inspect_ioctls[] = { PITH_INSPECT_IOCTLS(ROW) };
#undef ROW

static long inspect_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return ioctl_dispatch(inspect_ioctls, ARRAY_SIZE(inspect_ioctls), file->private_data, cmd, arg, -ENOTTY);
}

/* -- the file ----------------------------------------------------------------------------------------------------- */

static int inspect_release(struct inode *inode, struct file *file)
{
	vm_put(file->private_data);
	return 0;
}

static const struct file_operations inspect_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = inspect_ioctl,
	.release = inspect_release,
	.llseek = noop_llseek,
};

/* Somebody who was given the file, or has kept it and changed his user, has no say for that alone. */
bool inspect_allowed(const struct cred *maker)
{
	return uid_eq(current_euid(), maker->euid) || capable(CAP_SYS_PTRACE);
}

long inspect_open(struct vm *vm)
{
	long fd;

	vm_get(vm);
	fd = anon_inode_getfd("pith-inspect", &inspect_fops, vm, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		vm_put(vm);
	return fd;
}
