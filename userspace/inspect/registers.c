// SPDX-License-Identifier: GPL-2.0
/* Registers and control structures in words. */
#include "view.h"

#include <stdlib.h>

#include "../../module/svm/rules.h"
#include "../../module/vmx/rules.h"
#include "../exits.h"

typedef unsigned long long ull;

#define EFER_LMA BIT_ULL(10)
#define CR0_PE BIT_ULL(0)

static void print_parts(FILE *out, const struct check_part *parts, u64 value)
{
	char text[512];

	check_describe(parts, value, text, sizeof(text));
	if (*text)
		fprintf(out, " (%s)", text);
}

void print_symbol(FILE *out, const struct view *view, u64 address)
{
	const struct symbol *symbol = view->symbols ? symbols_find(view->symbols, address) : NULL;

	if (symbol)
		fprintf(out, " <%s+%#llx>", symbol->name, (ull)(address - view->symbols->slide - symbol->address));
}

/* -- summary ------------------------------------------------------------------------------------------------------ */

unsigned int view_code_size(const struct view *view)
{
	const struct kvm_sregs2 *sregs = &view->vcpu->sregs;

	if ((sregs->efer & EFER_LMA) && sregs->cs.l)
		return 64;
	return sregs->cs.db ? 32 : 16;
}

static const char *mode_name(const struct view *view)
{
	const struct kvm_sregs2 *sregs = &view->vcpu->sregs;

	if (!(sregs->cr0 & CR0_PE))
		return "real mode";
	if (view->vcpu->regs.rflags & RFLAGS_VM)
		return "virtual-8086 mode";
	if (!(sregs->efer & EFER_LMA))
		return "protected mode";
	return sregs->cs.l ? "64-bit mode" : "compatibility mode";
}

/* Source: KVM's api.rst, "KVM_GET_MP_STATE". */
static const char *const mp_states[] = {
	[KVM_MP_STATE_RUNNABLE] = "runs",
	[KVM_MP_STATE_UNINITIALIZED] = "waits for INIT",
	[KVM_MP_STATE_INIT_RECEIVED] = "waits for SIPI",
	[KVM_MP_STATE_HALTED] = "halts",
	[KVM_MP_STATE_SIPI_RECEIVED] = "has got a SIPI",
};

static const char *activity(const struct pith_inspect_vcpu *vcpu)
{
	if (!(vcpu->flags & PITH_INSPECT_IN_RUN) && vcpu->mp_state == KVM_MP_STATE_RUNNABLE)
		return "stands still";
	return vcpu->mp_state < ARRAY_SIZE(mp_states) && mp_states[vcpu->mp_state] ? mp_states[vcpu->mp_state] : "?";
}

void print_summary(FILE *out, const struct view *view)
{
	const struct pith_inspect_vcpu *vcpu = view->vcpu;

	fprintf(out, "vCPU %u, APIC ID %u: %s, %s, CPL %u, %llu exits; cr3 %016llx, rip %016llx", vcpu->index, vcpu->id,
		activity(vcpu), mode_name(view), vcpu->sregs.ss.dpl, (ull)vcpu->exits, (ull)vcpu->sregs.cr3,
		(ull)vcpu->regs.rip);
	print_symbol(out, view, vcpu->regs.rip + vcpu->sregs.cs.base);
	fputc('\n', out);
}

/* -- registers ---------------------------------------------------------------------------------------------------- */

static void print_general(FILE *out, const struct kvm_regs *regs)
{
	static const char *const names[] = { "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rsp", "rbp",
					     "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15" };
	const __u64 *value = &regs->rax;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(names); i++)
		fprintf(out, "%s%-3s %016llx%s", i % 4 ? " " : "  ", names[i], (ull)value[i], i % 4 == 3 ? "\n" : "");
}

static const struct check_part segment_parts[] = {
	{ "type", 0, 4 }, { "S", 4, 1 },    { "DPL", 5, 2 }, { "P", 7, 1 },	    { "AVL", 8, 1 },
	{ "L", 9, 1 },	  { "D/B", 10, 1 }, { "G", 11, 1 },  { "unusable", 12, 1 }, { NULL },
};

static void print_segment(FILE *out, const char *name, const struct kvm_segment *s)
{
	u64 attributes = s->type | s->s << 4 | s->dpl << 5 | s->present << 7 | s->avl << 8 | s->l << 9 | s->db << 10 |
			 s->g << 11 | s->unusable << 12;

	fprintf(out, "  %-4s %04x base %016llx limit %08x", name, s->selector, (ull)s->base, s->limit);
	print_parts(out, segment_parts, attributes);
	fputc('\n', out);
}

static void print_segments(FILE *out, const struct kvm_sregs2 *sregs)
{
	print_segment(out, "es", &sregs->es);
	print_segment(out, "cs", &sregs->cs);
	print_segment(out, "ss", &sregs->ss);
	print_segment(out, "ds", &sregs->ds);
	print_segment(out, "fs", &sregs->fs);
	print_segment(out, "gs", &sregs->gs);
	print_segment(out, "ldtr", &sregs->ldt);
	print_segment(out, "tr", &sregs->tr);
	fprintf(out, "  gdtr      base %016llx limit %08x\n", (ull)sregs->gdt.base, sregs->gdt.limit);
	fprintf(out, "  idtr      base %016llx limit %08x\n", (ull)sregs->idt.base, sregs->idt.limit);
}

static void print_one(FILE *out, const char *name, u64 value, const struct check_part *parts)
{
	fprintf(out, "  %-6s %016llx", name, (ull)value);
	if (parts)
		print_parts(out, parts, value);
	fputc('\n', out);
}

static const struct check_part apic_base_parts[] = {
	{ "BSP", 8, 1 },
	{ "x2APIC", 10, 1 },
	{ "enabled", 11, 1 },
	{ NULL },
};

static const struct check_part xcr0_parts[] = {
	{ "x87", 0, 1 },    { "SSE", 1, 1 },	  { "AVX", 2, 1 },	 { "BNDREG", 3, 1 },
	{ "BNDCSR", 4, 1 }, { "opmask", 5, 1 },	  { "ZMM_Hi256", 6, 1 }, { "Hi16_ZMM", 7, 1 },
	{ "PKRU", 9, 1 },   { "TILECFG", 17, 1 }, { "TILEDATA", 18, 1 }, { NULL },
};

static const struct check_part dr7_parts[] = {
	{ "L0", 0, 1 }, { "G0", 1, 1 }, { "L1", 2, 1 }, { "G1", 3, 1 },	 { "L2", 4, 1 },
	{ "G2", 5, 1 }, { "L3", 6, 1 }, { "G3", 7, 1 }, { "GD", 13, 1 }, { NULL },
};

static void print_control(FILE *out, const struct pith_inspect_vcpu *vcpu)
{
	const struct kvm_sregs2 *sregs = &vcpu->sregs;
	unsigned int i;

	print_one(out, "cr0", sregs->cr0, check_cr0);
	print_one(out, "cr2", sregs->cr2, NULL);
	print_one(out, "cr3", sregs->cr3, NULL);
	print_one(out, "cr4", sregs->cr4, check_cr4);
	print_one(out, "cr8", sregs->cr8, NULL);
	print_one(out, "efer", sregs->efer, check_efer);
	print_one(out, "xcr0", vcpu->xcr0, xcr0_parts);
	print_one(out, "apic", sregs->apic_base, apic_base_parts);
	for (i = 0; i < 4 && (sregs->flags & KVM_SREGS2_FLAGS_PDPTRS_VALID); i++)
		fprintf(out, "  pdpte%u %016llx\n", i, (ull)sregs->pdptrs[i]);
	for (i = 0; i < 4; i++)
		fprintf(out, "  dr%u    %016llx\n", i, (ull)vcpu->debugregs.db[i]);
	print_one(out, "dr6", vcpu->debugregs.dr6, NULL);
	print_one(out, "dr7", vcpu->debugregs.dr7, dr7_parts);
}

static const struct {
	u32 index;
	const char *name;
} msr_names[] = {
	{ 0x10, "TIME_STAMP_COUNTER" }, { 0x174, "SYSENTER_CS" },	  { 0x175, "SYSENTER_ESP" },
	{ 0x176, "SYSENTER_EIP" },	{ 0x1a0, "MISC_ENABLE" },	  { 0x277, "PAT" },
	{ 0xc0000081, "STAR" },		{ MSR_LSTAR, "LSTAR" },		  { 0xc0000083, "CSTAR" },
	{ 0xc0000084, "SFMASK" },	{ 0xc0000102, "KERNEL_GS_BASE" }, { 0xc0000103, "TSC_AUX" },
};

static const char *msr_name(u32 index)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(msr_names); i++)
		if (msr_names[i].index == index)
			return msr_names[i].name;
	return "";
}

static void print_msrs(FILE *out, const struct view *view)
{
	const struct kvm_msr_entry *msr = view->vcpu->msrs;
	unsigned int i;

	for (i = 0; i < min(view->vcpu->nr_msrs, PITH_INSPECT_MSRS); i++) {
		fprintf(out, "  msr %08x %-18s %016llx", msr[i].index, msr_name(msr[i].index), (ull)msr[i].data);
		if (msr[i].index == MSR_LSTAR)
			print_symbol(out, view, msr[i].data);
		fputc('\n', out);
	}
}

static void print_events(FILE *out, const struct kvm_vcpu_events *events)
{
	if (events->exception.injected)
		fprintf(out, "  exception %u is to be delivered, error code %#x\n", events->exception.nr,
			events->exception.error_code);
	if (events->interrupt.injected)
		fprintf(out, "  interrupt %u is to be delivered\n", events->interrupt.nr);
	if (events->interrupt.shadow)
		fprintf(out, "  interrupts are held off by%s%s\n",
			events->interrupt.shadow & KVM_X86_SHADOW_INT_STI ? " STI" : "",
			events->interrupt.shadow & KVM_X86_SHADOW_INT_MOV_SS ? " MOV SS" : "");
	if (events->nmi.injected || events->nmi.pending || events->nmi.masked)
		fprintf(out, "  NMI:%s%s%s\n", events->nmi.injected ? " to be delivered" : "",
			events->nmi.pending ? " pending" : "", events->nmi.masked ? " masked" : "");
}

void print_registers(FILE *out, const struct view *view)
{
	const struct pith_inspect_vcpu *vcpu = view->vcpu;

	fprintf(out, "  rip %016llx", (ull)vcpu->regs.rip);
	print_symbol(out, view, vcpu->regs.rip + vcpu->sregs.cs.base);
	fprintf(out, "\n  rflags %016llx", (ull)vcpu->regs.rflags);
	print_parts(out, check_rflags, vcpu->regs.rflags);
	fputc('\n', out);
	print_general(out, &vcpu->regs);
	print_segments(out, &vcpu->sregs);
	print_control(out, vcpu);
	print_msrs(out, view);
	print_events(out, &vcpu->events);
}

/* -- the control structure ---------------------------------------------------------------------------------------- */

static const struct check_field *find_field(const struct checks *checks, u32 number)
{
	int index = check_find_field(checks, number);
	unsigned int i;

	if (index >= 0)
		return &checks->fields[index];
	for (i = 0; i < checks->nr_others; i++)
		if (checks->others[i].number == number)
			return &checks->others[i];
	return NULL;
}

/* Where each vendor has why the last exit was. */
#define VMX_REASON_FIELD 0x4402
#define SVM_REASON_FIELD 0x070

static void print_reason(FILE *out, const struct view *view, u32 number, u64 value)
{
	if (view->is_vmx && number == VMX_REASON_FIELD)
		fprintf(out, " %s", exit_name(PITH_ISA_VMX, (u16)value));
	if (!view->is_vmx && number == SVM_REASON_FIELD)
		fprintf(out, " %s", exit_name(PITH_ISA_SVM, value));
}

static int by_number(const void *a, const void *b)
{
	const u32 *left = a, *right = b;

	return *left < *right ? -1 : *left > *right;
}

void print_fields(FILE *out, const struct view *view)
{
	const struct checks *checks = view->is_vmx ? &vmx_checks : &svm_checks;
	struct pith_inspect_vcpu *sorted = malloc(sizeof(*sorted));
	unsigned int i, nr = min(view->vcpu->nr_fields, PITH_INSPECT_FIELDS);
	const struct check_field *field;

	if (!sorted)
		die("out of memory");
	if (!nr)
		fprintf(out, "  the %s is for root: it tells addresses of the host\n", view->is_vmx ? "VMCS" : "VMCB");
	memcpy(sorted, view->vcpu, sizeof(*sorted));
	qsort(sorted->fields, nr, sizeof(sorted->fields[0]), by_number);
	for (i = 0; i < nr; i++) {
		field = find_field(checks, sorted->fields[i].number);
		fprintf(out, "  %04x %-30s %0*llx", sorted->fields[i].number, field ? field->name : "?",
			(int)min(sorted->fields[i].size, 8u) * 2, (ull)sorted->fields[i].value);
		if (field && field->parts)
			print_parts(out, field->parts, sorted->fields[i].value);
		print_reason(out, view, sorted->fields[i].number, sorted->fields[i].value);
		fputc('\n', out);
	}
	free(sorted);
}
