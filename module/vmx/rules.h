/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The rules of the SDM's chapter "VM Entries" as a table, and the fields of the VMCS that they are about. Needs no
 * kernel.
 */
#ifndef PITH_VMX_RULES_H
#define PITH_VMX_RULES_H

#include "../check.h"

/* The fields of all segment registers, in the order of enum segment. */
#define VMX_SEGMENT_FIELDS(FIELD, part, first, parts) \
	FIELD(GUEST_ES_##part, first, parts)          \
	FIELD(GUEST_CS_##part, (first) + 2, parts)    \
	FIELD(GUEST_SS_##part, (first) + 4, parts)    \
	FIELD(GUEST_DS_##part, (first) + 6, parts)    \
	FIELD(GUEST_FS_##part, (first) + 8, parts)    \
	FIELD(GUEST_GS_##part, (first) + 10, parts)   \
	FIELD(GUEST_LDTR_##part, (first) + 12, parts) \
	FIELD(GUEST_TR_##part, (first) + 14, parts)

/* FIELD(the kernel's name, encoding, parts). Source: SDM volume 3, appendix "Field Encoding in VMCS". */
#define VMX_RULE_FIELDS(FIELD)                                    \
	FIELD(PIN_BASED_VM_EXEC_CONTROL, 0x4000, pin_parts)       \
	FIELD(CPU_BASED_VM_EXEC_CONTROL, 0x4002, primary_parts)   \
	FIELD(SECONDARY_VM_EXEC_CONTROL, 0x401e, secondary_parts) \
	FIELD(VM_EXIT_CONTROLS, 0x400c, exit_parts)               \
	FIELD(VM_ENTRY_CONTROLS, 0x4012, entry_parts)             \
	FIELD(VIRTUAL_PROCESSOR_ID, 0x0000, NULL)                 \
	FIELD(POSTED_INTR_NV, 0x0002, NULL)                       \
	FIELD(IO_BITMAP_A, 0x2000, NULL)                          \
	FIELD(IO_BITMAP_B, 0x2002, NULL)                          \
	FIELD(MSR_BITMAP, 0x2004, NULL)                           \
	FIELD(VM_EXIT_MSR_STORE_ADDR, 0x2006, NULL)               \
	FIELD(VM_EXIT_MSR_LOAD_ADDR, 0x2008, NULL)                \
	FIELD(VM_ENTRY_MSR_LOAD_ADDR, 0x200a, NULL)               \
	FIELD(PML_ADDRESS, 0x200e, NULL)                          \
	FIELD(VIRTUAL_APIC_PAGE_ADDR, 0x2012, NULL)               \
	FIELD(APIC_ACCESS_ADDR, 0x2014, NULL)                     \
	FIELD(POSTED_INTR_DESC_ADDR, 0x2016, NULL)                \
	FIELD(VM_FUNCTION_CONTROL, 0x2018, NULL)                  \
	FIELD(EPT_POINTER, 0x201a, eptp_parts)                    \
	FIELD(EPTP_LIST_ADDRESS, 0x2024, NULL)                    \
	FIELD(VMREAD_BITMAP, 0x2026, NULL)                        \
	FIELD(VMWRITE_BITMAP, 0x2028, NULL)                       \
	FIELD(TSC_MULTIPLIER, 0x2032, NULL)                       \
	FIELD(CR3_TARGET_COUNT, 0x400a, NULL)                     \
	FIELD(VM_EXIT_MSR_STORE_COUNT, 0x400e, NULL)              \
	FIELD(VM_EXIT_MSR_LOAD_COUNT, 0x4010, NULL)               \
	FIELD(VM_ENTRY_MSR_LOAD_COUNT, 0x4014, NULL)              \
	FIELD(VM_ENTRY_INTR_INFO_FIELD, 0x4016, injection_parts)  \
	FIELD(VM_ENTRY_EXCEPTION_ERROR_CODE, 0x4018, NULL)        \
	FIELD(VM_ENTRY_INSTRUCTION_LEN, 0x401a, NULL)             \
	FIELD(TPR_THRESHOLD, 0x401c, NULL)                        \
	FIELD(HOST_ES_SELECTOR, 0x0c00, NULL)                     \
	FIELD(HOST_CS_SELECTOR, 0x0c02, NULL)                     \
	FIELD(HOST_SS_SELECTOR, 0x0c04, NULL)                     \
	FIELD(HOST_DS_SELECTOR, 0x0c06, NULL)                     \
	FIELD(HOST_FS_SELECTOR, 0x0c08, NULL)                     \
	FIELD(HOST_GS_SELECTOR, 0x0c0a, NULL)                     \
	FIELD(HOST_TR_SELECTOR, 0x0c0c, NULL)                     \
	FIELD(HOST_IA32_PAT, 0x2c00, NULL)                        \
	FIELD(HOST_IA32_EFER, 0x2c02, check_efer)                 \
	FIELD(HOST_CR0, 0x6c00, check_cr0)                        \
	FIELD(HOST_CR3, 0x6c02, NULL)                             \
	FIELD(HOST_CR4, 0x6c04, check_cr4)                        \
	FIELD(HOST_FS_BASE, 0x6c06, NULL)                         \
	FIELD(HOST_GS_BASE, 0x6c08, NULL)                         \
	FIELD(HOST_TR_BASE, 0x6c0a, NULL)                         \
	FIELD(HOST_GDTR_BASE, 0x6c0c, NULL)                       \
	FIELD(HOST_IDTR_BASE, 0x6c0e, NULL)                       \
	FIELD(HOST_IA32_SYSENTER_ESP, 0x6c10, NULL)               \
	FIELD(HOST_IA32_SYSENTER_EIP, 0x6c12, NULL)               \
	FIELD(HOST_RIP, 0x6c16, NULL)                             \
	FIELD(GUEST_CR0, 0x6800, check_cr0)                       \
	FIELD(GUEST_CR3, 0x6802, NULL)                            \
	FIELD(GUEST_CR4, 0x6804, check_cr4)                       \
	FIELD(GUEST_DR7, 0x681a, NULL)                            \
	FIELD(GUEST_IA32_DEBUGCTL, 0x2802, NULL)                  \
	FIELD(GUEST_SYSENTER_ESP, 0x6824, NULL)                   \
	FIELD(GUEST_SYSENTER_EIP, 0x6826, NULL)                   \
	FIELD(GUEST_IA32_PAT, 0x2804, NULL)                       \
	FIELD(GUEST_IA32_EFER, 0x2806, check_efer)                \
	VMX_SEGMENT_FIELDS(FIELD, SELECTOR, 0x0800, NULL)         \
	VMX_SEGMENT_FIELDS(FIELD, BASE, 0x6806, NULL)             \
	VMX_SEGMENT_FIELDS(FIELD, LIMIT, 0x4800, NULL)            \
	VMX_SEGMENT_FIELDS(FIELD, AR_BYTES, 0x4814, rights_parts) \
	FIELD(GUEST_GDTR_BASE, 0x6816, NULL)                      \
	FIELD(GUEST_IDTR_BASE, 0x6818, NULL)                      \
	FIELD(GUEST_GDTR_LIMIT, 0x4810, NULL)                     \
	FIELD(GUEST_IDTR_LIMIT, 0x4812, NULL)                     \
	FIELD(GUEST_RIP, 0x681e, NULL)                            \
	FIELD(GUEST_RFLAGS, 0x6820, check_rflags)                 \
	FIELD(GUEST_ACTIVITY_STATE, 0x4826, NULL)                 \
	FIELD(GUEST_INTERRUPTIBILITY_INFO, 0x4824, shadow_parts)  \
	FIELD(GUEST_PENDING_DBG_EXCEPTIONS, 0x6822, NULL)         \
	FIELD(VMCS_LINK_POINTER, 0x2800, NULL)                    \
	FIELD(GUEST_PDPTR0, 0x280a, NULL)                         \
	FIELD(GUEST_PDPTR1, 0x280c, NULL)                         \
	FIELD(GUEST_PDPTR2, 0x280e, NULL)                         \
	FIELD(GUEST_PDPTR3, 0x2810, NULL)                         \
	FIELD(TERTIARY_VM_EXEC_CONTROL, 0x2034, NULL)             \
	FIELD(GUEST_BNDCFGS, 0x2812, NULL)                        \
	FIELD(GUEST_IA32_RTIT_CTL, 0x2814, rtit_parts)            \
	FIELD(GUEST_IA32_PERF_GLOBAL_CTRL, 0x2808, NULL)          \
	FIELD(HOST_IA32_PERF_GLOBAL_CTRL, 0x2c04, NULL)

/* The same, of what not every kernel that pith builds for has a name for. */
#define VMX_RULE_FIELDS_OF_LATE(FIELD)            \
	FIELD(HOST_PKRS, 0x2c06, NULL)            \
	FIELD(HOST_S_CET, 0x6c18, cet_parts)      \
	FIELD(HOST_SSP, 0x6c1a, NULL)             \
	FIELD(HOST_INTR_SSP_TABLE, 0x6c1c, NULL)  \
	FIELD(GUEST_PKRS, 0x2818, NULL)           \
	FIELD(GUEST_S_CET, 0x6828, cet_parts)     \
	FIELD(GUEST_SSP, 0x682a, NULL)            \
	FIELD(GUEST_INTR_SSP_TABLE, 0x682c, NULL) \
	FIELD(GUEST_IA32_LBR_CTL, 0x2816, NULL)   \
	FIELD(GUEST_UINV, 0x0814, NULL)

/*
 * The VM-entry MSR-load area, which is in memory: fields as well for the rules, as far as VMX_MSR_LOADS entries, by numbers
 * that no field of a VMCS has (bit 15 is reserved). Of an entry first the lower half: index, and 32 reserved bits.
 */
#define VMX_MSR_LOADS 2
#define VMX_MSR_LOAD_FIELD 0xe000
#define VMX_MSR_LOAD_FIELDS(FIELD)                    \
	FIELD(VM_ENTRY_MSR_LOAD_INDEX0, 0xe000, NULL) \
	FIELD(VM_ENTRY_MSR_LOAD_INDEX1, 0xe001, NULL) \
	FIELD(VM_ENTRY_MSR_LOAD_VALUE0, 0xe002, NULL) \
	FIELD(VM_ENTRY_MSR_LOAD_VALUE1, 0xe003, NULL)

/* What no rule is about. */
#define VMX_OTHER_FIELDS(FIELD)                                  \
	FIELD(GUEST_INTR_STATUS, 0x0810, NULL)                   \
	FIELD(GUEST_PML_INDEX, 0x0812, NULL)                     \
	FIELD(TSC_OFFSET, 0x2010, NULL)                          \
	FIELD(EOI_EXIT_BITMAP0, 0x201c, NULL)                    \
	FIELD(EOI_EXIT_BITMAP1, 0x201e, NULL)                    \
	FIELD(EOI_EXIT_BITMAP2, 0x2020, NULL)                    \
	FIELD(EOI_EXIT_BITMAP3, 0x2022, NULL)                    \
	FIELD(XSS_EXIT_BITMAP, 0x202c, NULL)                     \
	FIELD(GUEST_PHYSICAL_ADDRESS, 0x2400, NULL)              \
	FIELD(EXCEPTION_BITMAP, 0x4004, check_exceptions)        \
	FIELD(PAGE_FAULT_ERROR_CODE_MASK, 0x4006, NULL)          \
	FIELD(PAGE_FAULT_ERROR_CODE_MATCH, 0x4008, NULL)         \
	FIELD(PLE_GAP, 0x4020, NULL)                             \
	FIELD(PLE_WINDOW, 0x4022, NULL)                          \
	FIELD(VM_INSTRUCTION_ERROR, 0x4400, NULL)                \
	FIELD(VM_EXIT_REASON, 0x4402, reason_parts)              \
	FIELD(VM_EXIT_INTR_INFO, 0x4404, injection_parts)        \
	FIELD(VM_EXIT_INTR_ERROR_CODE, 0x4406, NULL)             \
	FIELD(IDT_VECTORING_INFO_FIELD, 0x4408, injection_parts) \
	FIELD(IDT_VECTORING_ERROR_CODE, 0x440a, NULL)            \
	FIELD(VM_EXIT_INSTRUCTION_LEN, 0x440c, NULL)             \
	FIELD(VMX_INSTRUCTION_INFO, 0x440e, NULL)                \
	FIELD(GUEST_SYSENTER_CS, 0x482a, NULL)                   \
	FIELD(VMX_PREEMPTION_TIMER_VALUE, 0x482e, NULL)          \
	FIELD(HOST_IA32_SYSENTER_CS, 0x4c00, NULL)               \
	FIELD(CR0_GUEST_HOST_MASK, 0x6000, check_cr0)            \
	FIELD(CR4_GUEST_HOST_MASK, 0x6002, check_cr4)            \
	FIELD(CR0_READ_SHADOW, 0x6004, check_cr0)                \
	FIELD(CR4_READ_SHADOW, 0x6006, check_cr4)                \
	FIELD(EXIT_QUALIFICATION, 0x6400, NULL)                  \
	FIELD(GUEST_LINEAR_ADDRESS, 0x640a, NULL)                \
	FIELD(GUEST_RSP, 0x681c, NULL)                           \
	FIELD(HOST_RSP, 0x6c14, NULL)

/* In bytes: the encoding tells the width. */
#define VMX_FIELD_SIZE(encoding) (((encoding) >> 13 & 3) == 0 ? 2 : ((encoding) >> 13 & 3) == 2 ? 4 : 8)

#define VMX_FIELD_INDEX(name, encoding, parts) F_##name,
enum vmx_rule_field {
	VMX_RULE_FIELDS(VMX_FIELD_INDEX) VMX_RULE_FIELDS_OF_LATE(VMX_FIELD_INDEX) VMX_MSR_LOAD_FIELDS(VMX_FIELD_INDEX)
		VMX_NR_RULE_FIELDS
};
#undef VMX_FIELD_INDEX

#define VMX_COUNT_FIELD(name, encoding, parts) +1
enum { VMX_NR_OTHER_FIELDS = 0 VMX_OTHER_FIELDS(VMX_COUNT_FIELD) };
#undef VMX_COUNT_FIELD

extern const struct check_field vmx_rule_fields[VMX_NR_RULE_FIELDS], vmx_other_fields[VMX_NR_OTHER_FIELDS];

/*
 * For view->range: what the capability MSRs tell of a field; the must bits of guest CR0 are those of an unrestricted
 * guest.
 */
enum {
	RANGE_PIN,
	RANGE_PRIMARY,
	RANGE_SECONDARY,
	RANGE_EXIT,
	RANGE_ENTRY,
	RANGE_CR0,
	RANGE_CR4,
	RANGE_EFER,
	RANGE_TERTIARY,
	RANGE_COUNTERS, /* of IA32_PERF_GLOBAL_CTRL */
};

/* For view->facts, beside those that vmx_checks works out itself: what the capability MSRs tell of the CPU. */
#define CPU_EPT_ACCESSED_DIRTY BIT_ULL(56)
#define CPU_EPT_UNCACHEABLE BIT_ULL(57)
#define CPU_CHECKS_ERROR_CODE BIT_ULL(58) /* IA32_VMX_BASIC, bit 56, is 0 */
#define CPU_TAKES_LENGTH_0 BIT_ULL(59)
#define CPU_HALTS BIT_ULL(60) /* activity states; IA32_VMX_MISC, bits 8:6 */
#define CPU_SHUTS_DOWN BIT_ULL(61)
#define CPU_WAITS_FOR_SIPI BIT_ULL(62)

/* Facts that vmx_checks works out, for rules of features. */
#define VMX_HOST_CET BIT_ULL(50)
#define VMX_LOADS_CET BIT_ULL(51)
#define VMX_HOST_PKRS BIT_ULL(52)
#define VMX_LOADS_PKRS BIT_ULL(53)
#define VMX_LOADS_RTIT BIT_ULL(54)
#define VMX_LOADS_BNDCFGS BIT_ULL(55)

/* Rules of features that pith's guests do not have: rules_features.c. */
extern const struct check_rule vmx_feature_execution_rules[2], vmx_feature_exit_rules[1], vmx_feature_entry_rules[1];
extern const struct check_rule vmx_feature_host_rules[7], vmx_feature_host_size_rules[1];
extern const struct check_rule vmx_feature_guest_rules[10], vmx_feature_ssp_rules[2], vmx_feature_state_rules[2];

/* Of the VM-entry MSR-load area: rules_msr_load.c. */
extern const struct check_rule vmx_msr_load_rules[5];

extern const struct checks vmx_checks;

#endif
