// SPDX-License-Identifier: GPL-2.0
/* Interrupt controllers in words. SDM volume 3, "Local APIC Register Address Map", "Local Vector Table". */
#include "view.h"

#include "../../module/check.h"
#include "../../module/irq/lapic.h"

static u32 reg(const struct kvm_lapic_state *lapic, unsigned int offset)
{
	u32 value;

	memcpy(&value, lapic->regs + offset, sizeof(value));
	return value;
}

static const struct check_part svr_parts[] = {
	{ "spurious vector", 0, 8 },
	{ "enabled", 8, 1 },
	{ "no EOI broadcast", 12, 1 },
	{ NULL },
};

static const struct check_part timer_parts[] = {
	{ "vector", 0, 8 }, { "pending", 12, 1 }, { "masked", 16, 1 }, { "mode", 17, 2 }, { NULL },
};

static const struct check_part lvt_parts[] = {
	{ "vector", 0, 8 },	 { "delivery", 8, 3 }, { "pending", 12, 1 }, { "active low", 13, 1 },
	{ "remote IRR", 14, 1 }, { "level", 15, 1 },   { "masked", 16, 1 },  { NULL },
};

static const struct check_part icr_parts[] = {
	{ "vector", 0, 8 },  { "delivery", 8, 3 },   { "logical", 11, 1 },
	{ "assert", 14, 1 }, { "shorthand", 18, 2 }, { NULL },
};

static const struct check_part tdcr_parts[] = {
	{ "bits 1:0", 0, 2 },
	{ "bit 3", 3, 1 },
	{ NULL },
};

static const struct {
	const char *name;
	unsigned int offset;
	const struct check_part *parts;
} registers[] = {
	{ "ID", LAPIC_ID, NULL },
	{ "version", LAPIC_VERSION, NULL },
	{ "TPR", LAPIC_TPR, NULL },
	{ "PPR", LAPIC_PPR, NULL },
	{ "LDR", LAPIC_LDR, NULL },
	{ "DFR", LAPIC_DFR, NULL },
	{ "SVR", LAPIC_SVR, svr_parts },
	{ "ESR", LAPIC_ESR, NULL },
	{ "ICR", LAPIC_ICR, icr_parts },
	{ "ICR high", LAPIC_ICR2, NULL },
	{ "LVT timer", LAPIC_LVT_TIMER, timer_parts },
	{ "LVT thermal", LAPIC_LVT_THERMAL, lvt_parts },
	{ "LVT PMC", LAPIC_LVT_PMC, lvt_parts },
	{ "LVT LINT0", LAPIC_LVT_LINT0, lvt_parts },
	{ "LVT LINT1", LAPIC_LVT_LINT1, lvt_parts },
	{ "LVT error", LAPIC_LVT_ERROR, lvt_parts },
	{ "timer initial", LAPIC_TMICT, NULL },
	{ "timer current", LAPIC_TMCCT, NULL },
	{ "timer divide", LAPIC_TDCR, tdcr_parts },
};

/* 256 bits, in eight registers. */
static void print_vectors(FILE *out, const struct kvm_lapic_state *lapic, const char *name, unsigned int offset)
{
	unsigned int vector;

	fprintf(out, "  %-12s:", name);
	for (vector = 0; vector < 256; vector++)
		if (reg(lapic, offset + vector / 32 * 16) >> vector % 32 & 1)
			fprintf(out, " %#x", vector);
	fputc('\n', out);
}

void print_lapic(FILE *out, const struct view *view)
{
	const struct kvm_lapic_state *lapic = &view->vcpu->lapic;
	char text[256];
	unsigned int i;
	u32 value;

	if (!(view->vcpu->flags & PITH_INSPECT_LAPIC)) {
		fprintf(out, "  the local APIC is the client's\n");
		return;
	}
	for (i = 0; i < ARRAY_SIZE(registers); i++) {
		value = reg(lapic, registers[i].offset);
		check_describe(registers[i].parts, value, text, sizeof(text));
		fprintf(out, *text ? "  %-13s %08x (%s)\n" : "  %-13s %08x\n", registers[i].name, value, text);
	}
	print_vectors(out, lapic, "ISR", LAPIC_ISR);
	print_vectors(out, lapic, "IRR", LAPIC_IRR);
	print_vectors(out, lapic, "TMR", LAPIC_TMR);
}

static const struct check_part redirection_parts[] = {
	{ "vector", 0, 8 },	  { "delivery", 8, 3 },
	{ "logical", 11, 1 },	  { "pending", 12, 1 },
	{ "active low", 13, 1 },  { "remote IRR", 14, 1 },
	{ "level", 15, 1 },	  { "masked", 16, 1 },
	{ "destination", 56, 8 }, { NULL },
};

void print_ioapic(FILE *out, const struct kvm_ioapic_state *ioapic)
{
	char text[256];
	unsigned int i;

	fprintf(out, "I/O APIC, ID %u, requests %06x\n", ioapic->id, ioapic->irr);
	for (i = 0; i < KVM_IOAPIC_NUM_PINS; i++) {
		check_describe(redirection_parts, ioapic->redirtbl[i].bits, text, sizeof(text));
		fprintf(out, "  pin %2u %016llx (%s)\n", i, (unsigned long long)ioapic->redirtbl[i].bits, text);
	}
}
