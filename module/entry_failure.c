// SPDX-License-Identifier: GPL-2.0
/* See entry_failure.h. */
#include <linux/capability.h>
#include <linux/moduleparam.h>
#include <linux/ratelimit.h>
#include <linux/slab.h>

#include "backend.h"
#include "entry_failure.h"
#include "trace.h"

static bool unsafe;
module_param_unsafe(unsafe, bool, 0444);
MODULE_PARM_DESC(unsafe, "whether root may break fields of a VMCS or VMCB, to see entries fail (default: no)");

struct entry_failure {
	struct pith_entry_failure told;
	struct check_view view; /* too large for a stack */
	/* Fields that the client broke, and what they were. */
	unsigned int nr_poked;
	struct {
		unsigned int index;
		u64 was, is;
	} poked[PITH_MAX_BROKEN_FIELDS];
};

static struct entry_failure *get_failure(struct vcpu *vcpu)
{
	if (!vcpu->failure)
		vcpu->failure = kzalloc(sizeof(*vcpu->failure), GFP_KERNEL_ACCOUNT);
	return vcpu->failure;
}

static void undo(struct vcpu *vcpu, struct entry_failure *failure)
{
	while (failure->nr_poked) {
		failure->nr_poked--;
		backend.write_field(vcpu, failure->poked[failure->nr_poked].index,
				    failure->poked[failure->nr_poked].was, true);
	}
}

static void read_fields(struct vcpu *vcpu, struct check_view *view)
{
	memset(view, 0, sizeof(*view));
	backend.read_fields(vcpu, view);
}

/* QEMU's CPU writes its own registers over those of a guest that it refuses: what was broken is known. */
static void overlay(struct entry_failure *failure, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		failure->view.value[failure->poked[i].index] = failure->poked[i].is;
}

/* A client can make any number of entries fail, so the log gets a few. */
static void tell(const struct vcpu *vcpu, const struct pith_entry_failure *told)
{
	trace_pith_entry_failed(vcpu, told);
	pr_err_ratelimited("pith: VM entry of pid %d's vCPU %u failed, reason %#llx: %s\n", current->tgid, vcpu->id,
			   told->hardware_reason, told->nr_rules ? told->text : "it breaks no rule that is known here");
}

enum next exit_fail_entry(struct vcpu *vcpu, u64 hardware_reason)
{
	struct entry_failure *failure;

	if (vcpu->in_slice)
		return NEXT_SLOW;
	failure = get_failure(vcpu);
	if (failure) {
		memset(&failure->told, 0, sizeof(failure->told));
		failure->told.hardware_reason = hardware_reason;
		read_fields(vcpu, &failure->view);
		overlay(failure, failure->nr_poked);
		failure->told.nr_rules =
			check_explain(backend.checks, &failure->view, failure->told.text, sizeof(failure->told.text));
		undo(vcpu, failure);
		tell(vcpu, &failure->told);
	}
	vcpu->run->exit_reason = KVM_EXIT_FAIL_ENTRY;
	vcpu->run->fail_entry.hardware_entry_failure_reason = hardware_reason;
	vcpu->run->fail_entry.cpu = vcpu->last_cpu;
	return NEXT_USER;
}

void entry_failure_get(const struct vcpu *vcpu, struct pith_entry_failure *told)
{
	if (vcpu->failure)
		*told = vcpu->failure->told;
}

/* Looks the client's fields up. */
static long find_fields(struct entry_failure *failure, const struct pith_break_entry *fields)
{
	unsigned int i;
	int index;

	for (i = 0; i < fields->nr; i++) {
		index = check_find_field(backend.checks, fields->field[i].number);
		if (index < 0)
			return -EINVAL;
		failure->poked[i].index = index;
		failure->poked[i].was = failure->view.value[index];
		failure->poked[i].is =
			fields->field[i].value & GENMASK_ULL(backend.checks->fields[index].size * 8 - 1, 0);
	}
	return 0;
}

static void ignore(void *context, const struct check_section *section, const struct check_rule *rule,
		   unsigned int field)
{
}

long entry_failure_poke(struct vcpu *vcpu, const struct pith_break_entry *fields)
{
	struct entry_failure *failure;
	unsigned int i;

	if (!unsafe || !capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (fields->nr > PITH_MAX_BROKEN_FIELDS)
		return -EINVAL;
	failure = get_failure(vcpu);
	if (!failure)
		return -ENOMEM;
	undo(vcpu, failure);
	read_fields(vcpu, &failure->view);
	/* An entry that the CPU does not refuse with it might harm the host. */
	if (find_fields(failure, fields))
		return -EINVAL;
	overlay(failure, fields->nr);
	if (!check_run(backend.checks, &failure->view, ignore, NULL))
		return -EINVAL;
	for (i = 0; i < fields->nr; i++)
		backend.write_field(vcpu, failure->poked[i].index, failure->poked[i].is, false);
	failure->nr_poked = fields->nr;
	return 0;
}
