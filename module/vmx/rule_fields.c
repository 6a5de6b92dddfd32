// SPDX-License-Identifier: GPL-2.0
/* See rules.h: the fields of the VMCS by name, and their bits in words. */
#include "rules.h"

static const struct check_part pin_parts[] = {
	{ "external-interrupt exiting", 0, 1 }, { "NMI exiting", 3, 1 },       { "virtual NMIs", 5, 1 },
	{ "VMX-preemption timer", 6, 1 },	{ "posted interrupts", 7, 1 }, { NULL },
};

static const struct check_part primary_parts[] = {
	{ "tertiary controls", 17, 1 },
	{ "TPR shadow", 21, 1 },
	{ "NMI-window exiting", 22, 1 },
	{ "I/O bitmaps", 25, 1 },
	{ "MSR bitmaps", 28, 1 },
	{ "secondary controls", 31, 1 },
	{ NULL },
};

static const struct check_part secondary_parts[] = {
	{ "APIC accesses", 0, 1 },	 { "EPT", 1, 1 },
	{ "x2APIC mode", 4, 1 },	 { "VPID", 5, 1 },
	{ "unrestricted guest", 7, 1 },	 { "APIC registers", 8, 1 },
	{ "interrupt delivery", 9, 1 },	 { "VM functions", 13, 1 },
	{ "VMCS shadowing", 14, 1 },	 { "PML", 17, 1 },
	{ "mode-based execute", 22, 1 }, { "PT uses guest-physical addresses", 24, 1 },
	{ "TSC scaling", 25, 1 },	 { NULL },
};

static const struct check_part exit_parts[] = {
	{ "64-bit host", 9, 1 },
	{ "acknowledge interrupt", 15, 1 },
	{ "load PAT", 19, 1 },
	{ "load EFER", 21, 1 },
	{ "save VMX-preemption timer", 22, 1 },
	{ "clear IA32_RTIT_CTL", 25, 1 },
	{ "load CET", 28, 1 },
	{ "load PKRS", 29, 1 },
	{ NULL },
};

static const struct check_part entry_parts[] = {
	{ "load debug controls", 2, 1 },
	{ "IA-32e mode guest", 9, 1 },
	{ "entry to SMM", 10, 1 },
	{ "deactivate dual-monitor treatment", 11, 1 },
	{ "load PERF_GLOBAL_CTRL", 13, 1 },
	{ "load PAT", 14, 1 },
	{ "load EFER", 15, 1 },
	{ "load BNDCFGS", 16, 1 },
	{ "load IA32_RTIT_CTL", 18, 1 },
	{ "load UINV", 19, 1 },
	{ "load CET", 20, 1 },
	{ "load LBR_CTL", 21, 1 },
	{ "load PKRS", 22, 1 },
	{ NULL },
};

static const struct check_part rtit_parts[] = {
	{ "TraceEn", 0, 1 }, { "CYCEn", 1, 1 }, { "OS", 2, 1 },	    { "User", 3, 1 },	   { "CR3Filter", 7, 1 },
	{ "ToPA", 8, 1 },    { "MTCEn", 9, 1 }, { "TSCEn", 10, 1 }, { "BranchEn", 13, 1 }, { NULL },
};

static const struct check_part cet_parts[] = {
	{ "SH_STK_EN", 0, 1 }, { "WR_SHSTK_EN", 1, 1 }, { "ENDBR_EN", 2, 1 },
	{ "LEG_IW_EN", 3, 1 }, { "NO_TRACK_EN", 4, 1 }, { "SUPPRESS_DIS", 5, 1 },
	{ "SUPPRESS", 10, 1 }, { "TRACKER", 11, 1 },	{ NULL },
};

static const struct check_part eptp_parts[] = {
	{ "memory type", 0, 3 },
	{ "walk length minus 1", 3, 3 },
	{ "accessed and dirty", 6, 1 },
	{ NULL },
};

static const struct check_part injection_parts[] = {
	{ "vector", 0, 8 }, { "type", 8, 3 }, { "error code", 11, 1 }, { "valid", 31, 1 }, { NULL },
};

static const struct check_part rights_parts[] = {
	{ "type", 0, 4 }, { "S", 4, 1 },    { "DPL", 5, 2 }, { "P", 7, 1 },	    { "AVL", 12, 1 },
	{ "L", 13, 1 },	  { "D/B", 14, 1 }, { "G", 15, 1 },  { "unusable", 16, 1 }, { NULL },
};

static const struct check_part shadow_parts[] = {
	{ "STI", 0, 1 }, { "MOV SS", 1, 1 }, { "SMI", 2, 1 }, { "NMI", 3, 1 }, { NULL },
};

static const struct check_part reason_parts[] = {
	{ "basic reason", 0, 16 },
	{ "entry failed", 31, 1 },
	{ NULL },
};

#define FIELD(name, encoding, parts) { #name, encoding, VMX_FIELD_SIZE(encoding), parts },
const struct check_field vmx_rule_fields[] = { VMX_RULE_FIELDS(FIELD) VMX_RULE_FIELDS_OF_LATE(FIELD)
						       VMX_MSR_LOAD_FIELDS(FIELD) };
const struct check_field vmx_other_fields[] = { VMX_OTHER_FIELDS(FIELD) };
