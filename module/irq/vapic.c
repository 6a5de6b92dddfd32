// SPDX-License-Identifier: GPL-2.0
/*
 * For guests whose accesses to TPR all exit, and that make many: the client hears of each (KVM_TPR_ACCESS_REPORTING),
 * may patch the instruction to use a word in guest memory instead, and names that (KVM_SET_VAPIC_ADDR). The word is
 * TPR, the class in service << 8, and the highest vector requested << 24. Source: KVM's api.rst, "KVM_SET_VAPIC_ADDR",
 * "KVM_TPR_ACCESS_REPORTING".
 */
#include <linux/uaccess.h>

#include "internal.h"

/* -- reports ----------------------------------------------------------------------------------------------------- */

void irq_report_tpr_accesses(struct vcpu *vcpu, bool enabled)
{
	if (vcpu->lapic)
		vcpu_lapic(vcpu)->reports_tpr = enabled;
}

/*
 * The exit follows the instruction, and another may come in between: it is kept. The client's own accesses are no news.
 */
void vapic_tpr_accessed(void *ctx, bool write)
{
	struct vcpu *vcpu = ctx;
	struct vcpu_lapic *v = vcpu_lapic(vcpu);

	if (likely(!v->reports_tpr) || !vcpu->thread)
		return;
	v->tpr_access_rip = vcpu_rip(vcpu);
	v->tpr_access_is_write = write;
	vcpu_request(vcpu, REQ_TPR_ACCESS);
}

void irq_tell_tpr_access(struct vcpu *vcpu)
{
	const struct vcpu_lapic *v = vcpu_lapic(vcpu);

	vcpu->run->exit_reason = KVM_EXIT_TPR_ACCESS;
	vcpu->run->tpr_access.rip = v->tpr_access_rip;
	vcpu->run->tpr_access.is_write = v->tpr_access_is_write;
}

/* -- the word ---------------------------------------------------------------------------------------------------- */

static u8 tpr(const struct vcpu_lapic *v)
{
	return v->lapic.regs[LAPIC_TPR];
}

static u32 make_word(const struct lapic *lapic)
{
	int requested = max(lapic_highest_request(lapic), 0), in_service = max(lapic_highest_in_service(lapic), 0);

	return lapic->regs[LAPIC_TPR] | (in_service & 0xf0) << 8 | (u32)requested << 24;
}

/*
 * REQ_VAPIC stands as long as there is a word. In a slice memory may not be at hand: then the word stays as it is,
 * until the vCPU comes by outside, or the guest looks at it and makes the memory come.
 */
static bool access_word(struct vcpu *vcpu, u32 *word, bool write)
{
	u64 gpa = vcpu_lapic(vcpu)->vapic;
	int r;

	if (vcpu->in_slice)
		pagefault_disable();
	r = write ? guest_write(vcpu->vm, gpa, word, sizeof(*word)) : guest_read(vcpu->vm, gpa, word, sizeof(*word));
	if (vcpu->in_slice)
		pagefault_enable();
	return !r;
}

/* A register that has changed since then is newer: the guest has not run since it exited to change it. */
void irq_vapic_read(struct vcpu *vcpu)
{
	struct vcpu_lapic *v = vcpu_lapic(vcpu);
	u32 word;

	if (tpr(v) != v->vapic_tpr || !access_word(vcpu, &word, false) || (u8)word == v->vapic_tpr)
		return;
	v->vapic_tpr = word;
	lapic_set_tpr(&v->lapic, word);
	irq_look(vcpu);
}

void irq_vapic_write(struct vcpu *vcpu)
{
	struct vcpu_lapic *v = vcpu_lapic(vcpu);
	u32 word = make_word(&v->lapic), old;

	if (!access_word(vcpu, &old, false) || (old != word && !access_word(vcpu, &word, true)))
		return;
	v->vapic_tpr = word;
}

int irq_set_vapic(struct vcpu *vcpu, u64 gpa)
{
	struct vcpu_lapic *v;

	if (!vcpu->lapic)
		return -EINVAL;
	if (gpa && (memory_is_mmio(vcpu, gpa, true) || memory_is_mmio(vcpu, gpa + sizeof(u32) - 1, true)))
		return -EINVAL;
	v = vcpu_lapic(vcpu);
	v->vapic = gpa;
	/* As if the register had changed: what the word holds is nobody's TPR yet. */
	v->vapic_tpr = ~tpr(v);
	if (gpa)
		vcpu_request(vcpu, REQ_VAPIC);
	else
		clear_bit(REQ_VAPIC, &vcpu->requests);
	return 0;
}
