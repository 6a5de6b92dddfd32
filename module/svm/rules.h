/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The rules of the APM's "Canonicalization and Consistency Checks" as a table, and the fields of the VMCB that they are
 * about. Needs no kernel.
 */
#ifndef PITH_SVM_RULES_H
#define PITH_SVM_RULES_H

#include "../check.h"

/* FIELD(name, offset, size, the kernel's name, parts). Source: APM volume 2, appendix "Layout of VMCB". */
#define SVM_RULE_FIELDS(FIELD)                                      \
	FIELD(INTERCEPTS_4, 0x010, 4, control.intercepts[4], NULL)  \
	FIELD(IOPM_BASE_PA, 0x040, 8, control.iopm_base_pa, NULL)   \
	FIELD(MSRPM_BASE_PA, 0x048, 8, control.msrpm_base_pa, NULL) \
	FIELD(GUEST_ASID, 0x058, 4, control.asid, NULL)             \
	FIELD(NP_CONTROL, 0x090, 8, control.nested_ctl, NULL)       \
	FIELD(EVENTINJ, 0x0a8, 4, control.event_inj, event_parts)   \
	FIELD(N_CR3, 0x0b0, 8, control.nested_cr3, NULL)            \
	FIELD(CS_ATTRIB, 0x412, 2, save.cs.attrib, attribute_parts) \
	FIELD(EFER, 0x4d0, 8, save.efer, check_efer)                \
	FIELD(CR4, 0x548, 8, save.cr4, check_cr4)                   \
	FIELD(CR3, 0x550, 8, save.cr3, NULL)                        \
	FIELD(CR0, 0x558, 8, save.cr0, check_cr0)                   \
	FIELD(DR7, 0x560, 8, save.dr7, NULL)                        \
	FIELD(DR6, 0x568, 8, save.dr6, NULL)                        \
	FIELD(G_PAT, 0x668, 8, save.g_pat, NULL)

#define SVM_FIELD_INDEX(name, offset, size, member, parts) SVM_F_##name,
enum svm_rule_field { SVM_RULE_FIELDS(SVM_FIELD_INDEX) SVM_NR_RULE_FIELDS };
#undef SVM_FIELD_INDEX

extern const struct checks svm_checks;

#endif
