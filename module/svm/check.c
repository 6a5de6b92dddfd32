// SPDX-License-Identifier: GPL-2.0
/*
 * Why VMRUN refused a VMCB: the manual's rules, checked one by one after the fact.
 * Source: APM volume 2, "Canonicalization and Consistency Checks".
 */
#define pr_fmt(fmt) "pith: " fmt

#include <linux/ratelimit.h>

#include <asm/processor-flags.h>

#include "svm.h"

#define ATTR_L BIT(9)
#define ATTR_DB BIT(10)

static bool svme_clear(const struct vmcb *v, u64 *value)
{
	*value = v->save.efer;
	return !(*value & EFER_SVME);
}

static bool cr0_nw_alone(const struct vmcb *v, u64 *value)
{
	*value = v->save.cr0;
	return (*value & X86_CR0_NW) && !(*value & X86_CR0_CD);
}

static bool cr0_high(const struct vmcb *v, u64 *value)
{
	*value = v->save.cr0;
	return *value >> 32;
}

static bool cr3_reserved(const struct vmcb *v, u64 *value)
{
	*value = v->save.cr3;
	return (v->save.efer & EFER_LMA) && (*value >> boot_cpu_data.x86_phys_bits);
}

static bool dr6_high(const struct vmcb *v, u64 *value)
{
	*value = v->save.dr6;
	return *value >> 32;
}

static bool dr7_high(const struct vmcb *v, u64 *value)
{
	*value = v->save.dr7;
	return *value >> 32;
}

static bool long_mode_without_pae(const struct vmcb *v, u64 *value)
{
	*value = v->save.cr4;
	return (v->save.efer & EFER_LME) && (v->save.cr0 & X86_CR0_PG) && !(*value & X86_CR4_PAE);
}

static bool long_mode_without_pe(const struct vmcb *v, u64 *value)
{
	*value = v->save.cr0;
	return (v->save.efer & EFER_LME) && (*value & X86_CR0_PG) && !(*value & X86_CR0_PE);
}

static bool cs_long_and_default(const struct vmcb *v, u64 *value)
{
	*value = v->save.cs.attrib;
	return (v->save.efer & EFER_LME) && (v->save.cr0 & X86_CR0_PG) && (v->save.cr4 & X86_CR4_PAE) &&
	       (*value & ATTR_L) && (*value & ATTR_DB);
}

static bool vmrun_not_intercepted(const struct vmcb *v, u64 *value)
{
	*value = v->control.intercepts[INTERCEPT_VMRUN / 32];
	return !(*value & BIT(INTERCEPT_VMRUN % 32));
}

static bool asid_zero(const struct vmcb *v, u64 *value)
{
	*value = v->control.asid;
	return !*value;
}

static bool event_illegal(const struct vmcb *v, u64 *value)
{
	u32 type = v->control.event_inj & SVM_EVTINJ_TYPE_MASK;

	*value = v->control.event_inj;
	if (!(*value & SVM_EVTINJ_VALID))
		return false;
	return (type == SVM_EVTINJ_TYPE_EXEPT && (*value & 0xff) > 31) || type == 1 << SVM_EVTINJ_TYPE_SHIFT;
}

static const struct {
	bool (*broken)(const struct vmcb *vmcb, u64 *value);
	const char *field;
	const char *rule;
} rules[] = {
	{ svme_clear, "EFER", "EFER.SVME is zero" },
	{ cr0_nw_alone, "CR0", "CR0.CD is zero and CR0.NW is set" },
	{ cr0_high, "CR0", "CR0[63:32] are not zero" },
	{ cr3_reserved, "CR3", "any MBZ bit of CR3 is set" },
	{ dr6_high, "DR6", "DR6[63:32] are not zero" },
	{ dr7_high, "DR7", "DR7[63:32] are not zero" },
	{ long_mode_without_pae, "CR4", "EFER.LME and CR0.PG are both set and CR4.PAE is zero" },
	{ long_mode_without_pe, "CR0", "EFER.LME and CR0.PG are both set and CR0.PE is zero" },
	{ cs_long_and_default, "CS attributes", "EFER.LME, CR0.PG, CR4.PAE, CS.L, and CS.D are all non-zero" },
	{ vmrun_not_intercepted, "intercepts", "the VMRUN intercept bit is clear" },
	{ asid_zero, "ASID", "ASID is equal to zero" },
	{ event_illegal, "EVENTINJ", "illegal event injection" },
};

void svm_describe_failure(struct vcpu *vcpu)
{
	const struct vmcb *vmcb = to_vmcb(vcpu);
	unsigned int i;
	u64 value;

	for (i = 0; i < ARRAY_SIZE(rules); i++) {
		if (rules[i].broken(vmcb, &value)) {
			pr_info_ratelimited("VMRUN refused vCPU %u: %s (%s is %#llx)\n", vcpu->id, rules[i].rule,
					    rules[i].field, value);
			return;
		}
	}
	pr_info_ratelimited("VMRUN refused vCPU %u for a reason that is in no rule of the manual\n", vcpu->id);
}
