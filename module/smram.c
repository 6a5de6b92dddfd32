// SPDX-License-Identifier: GPL-2.0
/*
 * See smram.h. Source: APM volume 2, "SMRAM State-Save Area", for the area of CPUs with long mode; SDM volume 3, "SMRAM
 * State Save Map", for the other. Reserved parts have what KVM keeps there, so that its guests' handlers find it.
 */
#include "smram.h"

struct field {
	u16 at; /* in the area */
	u8 size;
	u8 member_size;
	u16 member; /* of struct smram_state */
};

#define FIELD(at, size, member)                                                                           \
	{                                                                                                 \
		at, size, sizeof(((struct smram_state *)0)->member), offsetof(struct smram_state, member) \
	}

static const struct field wide_fields[] = {
	FIELD(0x1f8, 8, regs.rax),
	FIELD(0x1f0, 8, regs.rcx),
	FIELD(0x1e8, 8, regs.rdx),
	FIELD(0x1e0, 8, regs.rbx),
	FIELD(0x1d8, 8, regs.rsp),
	FIELD(0x1d0, 8, regs.rbp),
	FIELD(0x1c8, 8, regs.rsi),
	FIELD(0x1c0, 8, regs.rdi),
	FIELD(0x1b8, 8, regs.r8),
	FIELD(0x1b0, 8, regs.r9),
	FIELD(0x1a8, 8, regs.r10),
	FIELD(0x1a0, 8, regs.r11),
	FIELD(0x198, 8, regs.r12),
	FIELD(0x190, 8, regs.r13),
	FIELD(0x188, 8, regs.r14),
	FIELD(0x180, 8, regs.r15),
	FIELD(0x178, 8, regs.rip),
	FIELD(0x170, 8, regs.rflags),
	FIELD(0x168, 8, dr6),
	FIELD(0x160, 8, dr7),
	FIELD(0x158, 8, sregs.cr0),
	FIELD(0x150, 8, sregs.cr3),
	FIELD(0x148, 8, sregs.cr4),
	FIELD(0x100, 4, smbase),
	FIELD(0x0fc, 4, revision),
	FIELD(0x0d0, 8, sregs.efer),
	FIELD(0x084, 4, sregs.idt.limit),
	FIELD(0x088, 8, sregs.idt.base),
	FIELD(0x064, 4, sregs.gdt.limit),
	FIELD(0x068, 8, sregs.gdt.base),
};

static const struct field narrow_fields[] = {
	FIELD(0x1fc, 4, sregs.cr0),
	FIELD(0x1f8, 4, sregs.cr3),
	FIELD(0x1f4, 4, regs.rflags),
	FIELD(0x1f0, 4, regs.rip),
	FIELD(0x1ec, 4, regs.rdi),
	FIELD(0x1e8, 4, regs.rsi),
	FIELD(0x1e4, 4, regs.rbp),
	FIELD(0x1e0, 4, regs.rsp),
	FIELD(0x1dc, 4, regs.rbx),
	FIELD(0x1d8, 4, regs.rdx),
	FIELD(0x1d4, 4, regs.rcx),
	FIELD(0x1d0, 4, regs.rax),
	FIELD(0x1cc, 4, dr6),
	FIELD(0x1c8, 4, dr7),
	FIELD(0x174, 4, sregs.gdt.base),
	FIELD(0x170, 4, sregs.gdt.limit),
	FIELD(0x158, 4, sregs.idt.base),
	FIELD(0x154, 4, sregs.idt.limit),
	FIELD(0x114, 4, sregs.cr4),
	FIELD(0x0fc, 4, revision),
	FIELD(0x0f8, 4, smbase),
};

/* Of a segment register: where its selector is, and its rights, limit and base. */
struct segment_field {
	u16 member; /* of struct smram_state */
	u16 selector, rights, limit, base;
};

#define SEGMENT(name, selector, rights, limit, base)                                    \
	{                                                                               \
		offsetof(struct smram_state, sregs.name), selector, rights, limit, base \
	}
#define WIDE(name, at) SEGMENT(name, at, (at) + 2, (at) + 4, (at) + 8)
#define NARROW(name, selector, at) SEGMENT(name, selector, at, (at) + 4, (at) + 8)

#define NR_SEGMENT_FIELDS 8

static const struct segment_field wide_segments[NR_SEGMENT_FIELDS] = {
	WIDE(es, 0x00), WIDE(cs, 0x10), WIDE(ss, 0x20),	 WIDE(ds, 0x30),
	WIDE(fs, 0x40), WIDE(gs, 0x50), WIDE(ldt, 0x70), WIDE(tr, 0x90),
};

static const struct segment_field narrow_segments[NR_SEGMENT_FIELDS] = {
	NARROW(es, 0x1a8, 0x184), NARROW(cs, 0x1ac, 0x190), NARROW(ss, 0x1b0, 0x19c),  NARROW(ds, 0x1b4, 0x12c),
	NARROW(fs, 0x1b8, 0x138), NARROW(gs, 0x1bc, 0x144), NARROW(ldt, 0x1c0, 0x178), NARROW(tr, 0x1c4, 0x15c),
};

struct layout {
	const struct field *fields;
	unsigned int nr_fields;
	const struct segment_field *segments;
	u8 selector_size, base_size;
	u8 rights_size, rights_shift;
};

static const struct layout layouts[] = {
	{ narrow_fields, ARRAY_SIZE(narrow_fields), narrow_segments, 4, 4, 4, 8 },
	{ wide_fields, ARRAY_SIZE(wide_fields), wide_segments, 2, 8, 2, 0 },
};

/* Memory is little-endian, as the CPU is. */
static u64 get(const u8 *area, unsigned int at, unsigned int size)
{
	u64 value = 0;

	memcpy(&value, area + at, size);
	return value;
}

static void put(u8 *area, unsigned int at, unsigned int size, u64 value)
{
	memcpy(area + at, &value, size);
}

/* As in the second doubleword of a descriptor, from the type on: bits 8 to 23 of it. */
static u16 rights_of(const struct kvm_segment *s)
{
	bool present = s->present && !s->unusable;

	return s->type | s->s << 4 | s->dpl << 5 | present << 7 | s->avl << 12 | s->l << 13 | s->db << 14 | s->g << 15;
}

static void set_rights(struct kvm_segment *s, u16 rights)
{
	s->type = rights & 0xf;
	s->s = rights >> 4 & 1;
	s->dpl = rights >> 5 & 3;
	s->present = rights >> 7 & 1;
	s->avl = rights >> 12 & 1;
	s->l = rights >> 13 & 1;
	s->db = rights >> 14 & 1;
	s->g = rights >> 15 & 1;
	s->unusable = !s->present;
}

static void save_segment(u8 *area, const struct layout *layout, const struct segment_field *f,
			 const struct kvm_segment *s)
{
	put(area, f->selector, layout->selector_size, s->selector);
	put(area, f->rights, layout->rights_size, (u64)rights_of(s) << layout->rights_shift);
	put(area, f->limit, 4, s->limit);
	put(area, f->base, layout->base_size, s->base);
}

static void load_segment(const u8 *area, const struct layout *layout, const struct segment_field *f,
			 struct kvm_segment *s)
{
	s->selector = get(area, f->selector, layout->selector_size);
	set_rights(s, get(area, f->rights, layout->rights_size) >> layout->rights_shift);
	s->limit = get(area, f->limit, 4);
	s->base = get(area, f->base, layout->base_size);
}

void smram_save(u8 *area, bool wide, const struct smram_state *state)
{
	const struct layout *layout = &layouts[wide];
	const struct segment_field *segment;
	const u8 *from = (const u8 *)state;
	const struct field *f;

	for (f = layout->fields; f < layout->fields + layout->nr_fields; f++)
		put(area, f->at, f->size, get(from, f->member, f->member_size));
	for (segment = layout->segments; segment < layout->segments + NR_SEGMENT_FIELDS; segment++)
		save_segment(area, layout, segment, (const struct kvm_segment *)(from + segment->member));
}

void smram_load(const u8 *area, bool wide, struct smram_state *state)
{
	const struct layout *layout = &layouts[wide];
	const struct segment_field *segment;
	const struct field *f;
	u8 *to = (u8 *)state;

	for (f = layout->fields; f < layout->fields + layout->nr_fields; f++)
		put(to, f->member, f->member_size, get(area, f->at, f->size));
	for (segment = layout->segments; segment < layout->segments + NR_SEGMENT_FIELDS; segment++)
		load_segment(area, layout, segment, (struct kvm_segment *)(to + segment->member));
}
