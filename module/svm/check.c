// SPDX-License-Identifier: GPL-2.0
/* The VMCB as the rules see it. */
#include <linux/build_bug.h>

#include <asm/processor.h>

#include "rules.h"
#include "svm.h"

#define SAME(name, offset, size, member, parts) \
	static_assert(offsetof(struct vmcb, member) == (offset) && sizeof(((struct vmcb *)0)->member) == (size));
SVM_RULE_FIELDS(SAME)
#undef SAME

void svm_read_fields(struct vcpu *vcpu, struct check_view *view)
{
	const struct check_field *field;
	unsigned int i;

	view->physical_bits = boot_cpu_data.x86_phys_bits;
	for (i = 0; i < svm_checks.nr_fields; i++) {
		field = &svm_checks.fields[i];
		memcpy(&view->value[i], (void *)to_vmcb(vcpu) + field->number, field->size);
	}
}

/* Where clean bits say what the CPU may keep of the last entry, none is set here. */
void svm_write_field(struct vcpu *vcpu, unsigned int index, u64 value, bool undo)
{
	const struct check_field *field = &svm_checks.fields[index];

	memcpy((void *)to_vmcb(vcpu) + field->number, &value, field->size);
}
