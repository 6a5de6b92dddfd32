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

/* What no rule is about. */
#define SVM_OTHER_FIELDS(FIELD)                                                    \
	FIELD(INTERCEPTS_0, 0x000, 4, control.intercepts[0], NULL)                 \
	FIELD(INTERCEPTS_1, 0x004, 4, control.intercepts[1], NULL)                 \
	FIELD(INTERCEPTS_2, 0x008, 4, control.intercepts[2], check_exceptions)     \
	FIELD(INTERCEPTS_3, 0x00c, 4, control.intercepts[3], intercept_parts)      \
	FIELD(INTERCEPTS_5, 0x014, 4, control.intercepts[5], NULL)                 \
	FIELD(PAUSE_FILTER_THRESHOLD, 0x03c, 2, control.pause_filter_thresh, NULL) \
	FIELD(PAUSE_FILTER_COUNT, 0x03e, 2, control.pause_filter_count, NULL)      \
	FIELD(TSC_OFFSET, 0x050, 8, control.tsc_offset, NULL)                      \
	FIELD(TLB_CONTROL, 0x05c, 1, control.tlb_ctl, NULL)                        \
	FIELD(V_INTR, 0x060, 4, control.int_ctl, virtual_parts)                    \
	FIELD(V_INTR_VECTOR, 0x064, 4, control.int_vector, NULL)                   \
	FIELD(INTERRUPT_SHADOW, 0x068, 4, control.int_state, NULL)                 \
	FIELD(EXITCODE, 0x070, 4, control.exit_code, NULL)                         \
	FIELD(EXITINFO1, 0x078, 8, control.exit_info_1, NULL)                      \
	FIELD(EXITINFO2, 0x080, 8, control.exit_info_2, NULL)                      \
	FIELD(EXITINTINFO, 0x088, 4, control.exit_int_info, event_parts)           \
	FIELD(EXITINTINFO_ERROR, 0x08c, 4, control.exit_int_info_err, NULL)        \
	FIELD(EVENTINJ_ERROR, 0x0ac, 4, control.event_inj_err, NULL)               \
	FIELD(LBR_VIRT, 0x0b8, 8, control.virt_ext, NULL)                          \
	FIELD(CLEAN, 0x0c0, 4, control.clean, NULL)                                \
	FIELD(NRIP, 0x0c8, 8, control.next_rip, NULL)                              \
	FIELD(ES_SELECTOR, 0x400, 2, save.es.selector, NULL)                       \
	FIELD(ES_ATTRIB, 0x402, 2, save.es.attrib, attribute_parts)                \
	FIELD(ES_LIMIT, 0x404, 4, save.es.limit, NULL)                             \
	FIELD(ES_BASE, 0x408, 8, save.es.base, NULL)                               \
	FIELD(CS_SELECTOR, 0x410, 2, save.cs.selector, NULL)                       \
	FIELD(CS_LIMIT, 0x414, 4, save.cs.limit, NULL)                             \
	FIELD(CS_BASE, 0x418, 8, save.cs.base, NULL)                               \
	FIELD(SS_SELECTOR, 0x420, 2, save.ss.selector, NULL)                       \
	FIELD(SS_ATTRIB, 0x422, 2, save.ss.attrib, attribute_parts)                \
	FIELD(SS_LIMIT, 0x424, 4, save.ss.limit, NULL)                             \
	FIELD(SS_BASE, 0x428, 8, save.ss.base, NULL)                               \
	FIELD(DS_SELECTOR, 0x430, 2, save.ds.selector, NULL)                       \
	FIELD(DS_ATTRIB, 0x432, 2, save.ds.attrib, attribute_parts)                \
	FIELD(DS_LIMIT, 0x434, 4, save.ds.limit, NULL)                             \
	FIELD(DS_BASE, 0x438, 8, save.ds.base, NULL)                               \
	FIELD(FS_SELECTOR, 0x440, 2, save.fs.selector, NULL)                       \
	FIELD(FS_ATTRIB, 0x442, 2, save.fs.attrib, attribute_parts)                \
	FIELD(FS_LIMIT, 0x444, 4, save.fs.limit, NULL)                             \
	FIELD(FS_BASE, 0x448, 8, save.fs.base, NULL)                               \
	FIELD(GS_SELECTOR, 0x450, 2, save.gs.selector, NULL)                       \
	FIELD(GS_ATTRIB, 0x452, 2, save.gs.attrib, attribute_parts)                \
	FIELD(GS_LIMIT, 0x454, 4, save.gs.limit, NULL)                             \
	FIELD(GS_BASE, 0x458, 8, save.gs.base, NULL)                               \
	FIELD(GDTR_LIMIT, 0x464, 4, save.gdtr.limit, NULL)                         \
	FIELD(GDTR_BASE, 0x468, 8, save.gdtr.base, NULL)                           \
	FIELD(LDTR_SELECTOR, 0x470, 2, save.ldtr.selector, NULL)                   \
	FIELD(LDTR_ATTRIB, 0x472, 2, save.ldtr.attrib, attribute_parts)            \
	FIELD(LDTR_LIMIT, 0x474, 4, save.ldtr.limit, NULL)                         \
	FIELD(LDTR_BASE, 0x478, 8, save.ldtr.base, NULL)                           \
	FIELD(IDTR_LIMIT, 0x484, 4, save.idtr.limit, NULL)                         \
	FIELD(IDTR_BASE, 0x488, 8, save.idtr.base, NULL)                           \
	FIELD(TR_SELECTOR, 0x490, 2, save.tr.selector, NULL)                       \
	FIELD(TR_ATTRIB, 0x492, 2, save.tr.attrib, attribute_parts)                \
	FIELD(TR_LIMIT, 0x494, 4, save.tr.limit, NULL)                             \
	FIELD(TR_BASE, 0x498, 8, save.tr.base, NULL)                               \
	FIELD(CPL, 0x4cb, 1, save.cpl, NULL)                                       \
	FIELD(RFLAGS, 0x570, 8, save.rflags, check_rflags)                         \
	FIELD(RIP, 0x578, 8, save.rip, NULL)                                       \
	FIELD(RSP, 0x5d8, 8, save.rsp, NULL)                                       \
	FIELD(RAX, 0x5f8, 8, save.rax, NULL)                                       \
	FIELD(STAR, 0x600, 8, save.star, NULL)                                     \
	FIELD(LSTAR, 0x608, 8, save.lstar, NULL)                                   \
	FIELD(CSTAR, 0x610, 8, save.cstar, NULL)                                   \
	FIELD(SFMASK, 0x618, 8, save.sfmask, NULL)                                 \
	FIELD(KERNEL_GS_BASE, 0x620, 8, save.kernel_gs_base, NULL)                 \
	FIELD(SYSENTER_CS, 0x628, 8, save.sysenter_cs, NULL)                       \
	FIELD(SYSENTER_ESP, 0x630, 8, save.sysenter_esp, NULL)                     \
	FIELD(SYSENTER_EIP, 0x638, 8, save.sysenter_eip, NULL)                     \
	FIELD(CR2, 0x640, 8, save.cr2, NULL)                                       \
	FIELD(DBGCTL, 0x670, 8, save.dbgctl, NULL)

#define SVM_FIELD_INDEX(name, offset, size, member, parts) SVM_F_##name,
enum svm_rule_field { SVM_RULE_FIELDS(SVM_FIELD_INDEX) SVM_NR_RULE_FIELDS };
#undef SVM_FIELD_INDEX

extern const struct checks svm_checks;

#endif
