// SPDX-License-Identifier: GPL-2.0
/* The VMCB as the rules see it. */
#include <linux/build_bug.h>

#include <asm/processor.h>

#include "rules.h"
#include "svm.h"

#define SAME(name, offset, size, member, parts) \
	static_assert(offsetof(struct vmcb, member) == (offset) && sizeof(((struct vmcb *)0)->member) == (size));
SVM_RULE_FIELDS(SAME)
SVM_OTHER_FIELDS(SAME)
#undef SAME

void svm_read_values(struct vcpu *vcpu, const struct check_field *fields, unsigned int nr, u64 *values)
{
	unsigned int i;

	memset(values, 0, nr * sizeof(*values));
	for (i = 0; i < nr; i++)
		memcpy(&values[i], (void *)to_vmcb(vcpu) + fields[i].number, fields[i].size);
}

void svm_read_fields(struct vcpu *vcpu, struct check_view *view)
{
	view->physical_bits = boot_cpu_data.x86_phys_bits;
	svm_read_values(vcpu, svm_checks.fields, svm_checks.nr_fields, view->value);
}

/* Where clean bits say what the CPU may keep of the last entry, none is set here. */
void svm_write_field(struct vcpu *vcpu, unsigned int index, u64 value, bool undo)
{
	const struct check_field *field = &svm_checks.fields[index];

	memcpy((void *)to_vmcb(vcpu) + field->number, &value, field->size);
}
