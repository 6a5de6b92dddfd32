// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include "guest.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define CPUID_ENTRIES 256
#define STUB_SIZE 8
#define IRET_STUB (GUEST_STUBS + 256 * STUB_SIZE)
#define ENTER_STUB (IRET_STUB + 8)    /* to ring 3 */
#define TSS_SELECTOR (IRET_STUB + 32) /* operand of its LTR */
#define ENTER_FRAME (GUEST_TRAP_STACK - 256)
#define NR_TABLES 16

const char *const guest_mode_name[NR_MODES] = {
	[MODE_REAL] = "real mode",
	[MODE_V8086] = "virtual-8086 mode",
	[MODE_PROT16] = "16-bit protected mode",
	[MODE_PROT32] = "32-bit protected mode",
	[MODE_PAGED32] = "32-bit paging",
	[MODE_PAE] = "PAE paging",
	[MODE_COMPAT] = "compatibility mode",
	[MODE_LONG] = "64-bit mode",
};

/* What the modes differ in. */
static const struct mode {
	u64 cr0, cr4, efer;
	u8 frame; /* bytes of a word that a trap pushes */
	u8 gate;  /* type of an interrupt gate */
	u16 handler_cs;
	u16 cs[2], ds[2]; /* selectors in ring 0, ring 3 */
} modes[NR_MODES] = {
	[MODE_REAL] = { 0, 0, 0, 2, 0, 0, { 0, 0 }, { 0, 0 } },
	[MODE_V8086] = { CR0_PE, 0, 0, 4, 0xe, SEL_CS32, { SEL_CS32, 0 }, { SEL_DS32, 0 } },
	[MODE_PROT16] = { CR0_PE, 0, 0, 2, 0x6, SEL_CS16, { SEL_CS16, SEL_CS16 }, { SEL_DS16, SEL_DS16 } },
	[MODE_PROT32] = { CR0_PE, 0, 0, 4, 0xe, SEL_CS32, { SEL_CS32, SEL_USER_CS32 }, { SEL_DS32, SEL_USER_DS32 } },
	[MODE_PAGED32] = { CR0_PE | CR0_PG,
			   CR4_PSE,
			   0,
			   4,
			   0xe,
			   SEL_CS32,
			   { SEL_CS32, SEL_USER_CS32 },
			   { SEL_DS32, SEL_USER_DS32 } },
	[MODE_PAE] = { CR0_PE | CR0_PG,
		       CR4_PAE,
		       0,
		       4,
		       0xe,
		       SEL_CS32,
		       { SEL_CS32, SEL_USER_CS32 },
		       { SEL_DS32, SEL_USER_DS32 } },
	[MODE_COMPAT] = { CR0_PE | CR0_PG,
			  CR4_PAE,
			  EFER_LME | EFER_LMA,
			  8,
			  0xe,
			  SEL_CS64,
			  { SEL_CS32, SEL_USER_CS32 },
			  { SEL_DS32, SEL_USER_DS32 } },
	[MODE_LONG] = { CR0_PE | CR0_PG,
			CR4_PAE,
			EFER_LME | EFER_LMA,
			8,
			0xe,
			SEL_CS64,
			{ SEL_CS64, SEL_USER_CS64 },
			{ SEL_DS32, SEL_USER_DS32 } },
};

/* -- making one -------------------------------------------------------------------------------------------------- */

/* CPUID leaf 40000000h has the emulator's name. */
bool emulated_by_qemu(void)
{
	u32 eax, ebx, ecx, edx;

	__cpuid(0x40000000, eax, ebx, ecx, edx);
	return ebx == 0x54474354 && ecx == 0x43544743; /* TCGTCGTCGTCG */
}

int open_device(void)
{
	int fd = open(device_path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		die("cannot open %s", device_path);
	return fd;
}

void *pages(u64 size)
{
	void *start = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (start == MAP_FAILED)
		die("mmap");
	return start;
}

void guest_add_memory(struct guest *g, u32 slot, u64 gpa, void *start, u64 size, u32 flags)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot, .flags = flags, .guest_phys_addr = gpa, .memory_size = size, .userspace_addr = (u64)start
	};

	if (ioctl(g->vm, KVM_SET_USER_MEMORY_REGION, &region))
		die("KVM_SET_USER_MEMORY_REGION of %#lx", gpa);
}

struct guest *guest_create_vm(void)
{
	struct guest *g = calloc(1, sizeof(*g));

	g->device = open_device();
	g->vm = ioctl(g->device, KVM_CREATE_VM, 0);
	if (g->vm < 0)
		die("KVM_CREATE_VM");
	/* Where the CPU has no unrestricted guests, stock KVM wants a place for what it puts in the guest's memory. */
	if (ioctl(g->vm, KVM_SET_TSS_ADDR, 0xfffbd000))
		die("KVM_SET_TSS_ADDR");
	g->memory = pages(GUEST_MEMORY_SIZE);
	guest_add_memory(g, 0, 0, g->memory, GUEST_HOLE, 0);
	guest_add_memory(g, 1, GUEST_HIGH, g->memory + GUEST_HIGH, GUEST_MEMORY_SIZE - GUEST_HIGH, 0);
	return g;
}

static void set_regs(struct guest *g)
{
	if (ioctl(g->vcpu, KVM_SET_REGS, &g->regs))
		die("KVM_SET_REGS");
}

#define MSR_XFD 0x1c4
#define MSR_XFD_ERR 0x1c5

void *guest_xsave(struct guest *g)
{
	void *image = calloc(1, ioctl(g->device, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2));

	if (!image || ioctl(g->vcpu, KVM_GET_XSAVE2, image))
		die("KVM_GET_XSAVE2");
	return image;
}

static void move_msr(struct guest *to, struct guest *from, u32 index)
{
	u64 value;

	if (guest_get_msr(from, index, &value))
		expect(guest_set_msr(to, index, value));
}

struct guest *guest_moved(struct guest *g)
{
	struct guest *to = guest_create(MODE_LONG);
	struct kvm_sregs sregs = guest_sregs(g);
	void *image = guest_xsave(g);
	struct kvm_xcrs xcrs;

	memcpy(to->memory, g->memory, GUEST_MEMORY_SIZE);
	guest_set_sregs(to, &sregs);
	if (ioctl(g->vcpu, KVM_GET_XCRS, &xcrs) || ioctl(to->vcpu, KVM_SET_XCRS, &xcrs))
		die("KVM_SET_XCRS");
	if (ioctl(to->vcpu, KVM_SET_XSAVE, image))
		die("KVM_SET_XSAVE");
	move_msr(to, g, MSR_XFD);
	move_msr(to, g, MSR_XFD_ERR);
	to->regs = g->regs;
	set_regs(to);
	free(image);
	guest_destroy(g);
	return to;
}

struct kvm_cpuid2 *supported_cpuid(int device)
{
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + CPUID_ENTRIES * sizeof(cpuid->entries[0]));

	cpuid->nent = CPUID_ENTRIES;
	if (ioctl(device, KVM_GET_SUPPORTED_CPUID, cpuid))
		die("KVM_GET_SUPPORTED_CPUID");
	return cpuid;
}

struct kvm_cpuid_entry2 *find_cpuid(struct kvm_cpuid2 *cpuid, u32 function, u32 index)
{
	u32 i;

	for (i = 0; i < cpuid->nent; i++) {
		struct kvm_cpuid_entry2 *e = &cpuid->entries[i];

		if (e->function == function && (!(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) || e->index == index))
			return e;
	}
	return NULL;
}

void guest_create_vcpu(struct guest *g)
{
	struct kvm_cpuid2 *cpuid = supported_cpuid(g->device);
	int size = ioctl(g->device, KVM_GET_VCPU_MMAP_SIZE, 0);

	g->vcpu = ioctl(g->vm, KVM_CREATE_VCPU, 0);
	if (g->vcpu < 0 || size < 0)
		die("KVM_CREATE_VCPU");
	g->run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, g->vcpu, 0);
	if (g->run == MAP_FAILED)
		die("mmap of a vCPU");
	if (ioctl(g->vcpu, KVM_SET_CPUID2, cpuid))
		die("KVM_SET_CPUID2");
	free(cpuid);
}

struct guest *guest_create(enum guest_mode mode)
{
	struct guest *g = guest_create_vm();

	guest_create_vcpu(g);
	guest_set_mode(g, mode, false);
	return g;
}

void guest_destroy(struct guest *g)
{
	if (g->run) {
		munmap(g->run, ioctl(g->device, KVM_GET_VCPU_MMAP_SIZE, 0));
		close(g->vcpu);
	}
	close(g->vm);
	close(g->device);
	munmap(g->memory, GUEST_MEMORY_SIZE);
	free(g);
}

/* -- state ------------------------------------------------------------------------------------------------------- */

struct kvm_sregs guest_sregs(struct guest *g)
{
	struct kvm_sregs sregs;

	if (ioctl(g->vcpu, KVM_GET_SREGS, &sregs))
		die("KVM_GET_SREGS");
	return sregs;
}

void guest_set_sregs(struct guest *g, const struct kvm_sregs *sregs)
{
	if (ioctl(g->vcpu, KVM_SET_SREGS, sregs))
		die("KVM_SET_SREGS");
}

struct kvm_vcpu_events guest_events(struct guest *g)
{
	struct kvm_vcpu_events events;

	if (ioctl(g->vcpu, KVM_GET_VCPU_EVENTS, &events))
		die("KVM_GET_VCPU_EVENTS");
	return events;
}

void guest_set_events(struct guest *g, const struct kvm_vcpu_events *events)
{
	if (ioctl(g->vcpu, KVM_SET_VCPU_EVENTS, events))
		die("KVM_SET_VCPU_EVENTS");
}

struct one_msr {
	struct kvm_msrs head;
	struct kvm_msr_entry entry;
};

bool guest_get_msr(struct guest *g, u32 index, u64 *value)
{
	struct one_msr msr = { .head.nmsrs = 1, .entry.index = index };
	int r = ioctl(g->vcpu, KVM_GET_MSRS, &msr);

	if (r < 0)
		die("KVM_GET_MSRS");
	*value = msr.entry.data;
	return r == 1;
}

bool guest_set_msr(struct guest *g, u32 index, u64 value)
{
	struct one_msr msr = { .head.nmsrs = 1, .entry = { .index = index, .data = value } };
	int r = ioctl(g->vcpu, KVM_SET_MSRS, &msr);

	if (r < 0)
		die("KVM_SET_MSRS");
	return r == 1;
}

/* -- descriptor tables ------------------------------------------------------------------------------------------- */

/* Attributes: bits 55:52 and 47:40 of a descriptor, as VMX and the manual's figures order them. */
#define ATTR_CODE32 0xc09b
#define ATTR_DATA32 0xc093
#define ATTR_CODE64 0xa09b
#define ATTR_CODE16 0x009b
#define ATTR_DATA16 0x0093
#define ATTR_USER 0x0060
#define ATTR_TSS 0x0089

u64 descriptor(u32 base, u32 limit, u16 attributes)
{
	return (limit & 0xffff) | (u64)(base & 0xffffff) << 16 | (u64)(attributes & 0xff) << 40 |
	       (u64)(limit >> 16 & 0xf) << 48 | (u64)(attributes >> 12) << 52 | (u64)(base >> 24) << 56;
}

void guest_set_gdt(struct guest *g, u16 selector, u64 value)
{
	memcpy(g->memory + GUEST_GDT + (selector & ~7), &value, sizeof(value));
}

static u64 get_gdt(struct guest *g, u16 selector)
{
	u64 value;

	memcpy(&value, g->memory + GUEST_GDT + (selector & ~7), sizeof(value));
	return value;
}

static void build_gdt(struct guest *g)
{
	memset(g->memory + GUEST_GDT, 0, PAGE);
	guest_set_gdt(g, SEL_CS32, descriptor(0, 0xfffff, ATTR_CODE32));
	guest_set_gdt(g, SEL_DS32, descriptor(0, 0xfffff, ATTR_DATA32));
	guest_set_gdt(g, SEL_CS64, descriptor(0, 0xfffff, ATTR_CODE64));
	guest_set_gdt(g, SEL_CS16, descriptor(0, 0xffff, ATTR_CODE16));
	guest_set_gdt(g, SEL_DS16, descriptor(0, 0xffff, ATTR_DATA16));
	guest_set_gdt(g, SEL_USER_CS32, descriptor(0, 0xfffff, ATTR_CODE32 | ATTR_USER));
	guest_set_gdt(g, SEL_USER_DS32, descriptor(0, 0xfffff, ATTR_DATA32 | ATTR_USER));
	guest_set_gdt(g, SEL_USER_CS64, descriptor(0, 0xfffff, ATTR_CODE64 | ATTR_USER));
	guest_set_gdt(g, SEL_TSS, descriptor(GUEST_TSS, PAGE - 1, ATTR_TSS));
}

/* What a segment register holds after a load of the selector. */
static struct kvm_segment load_segment(struct guest *g, u16 selector)
{
	u64 d = get_gdt(g, selector);
	u32 limit = (d & 0xffff) | (d >> 32 & 0xf0000);

	return (struct kvm_segment){
		.base = (d >> 16 & 0xffffff) | (d >> 56) << 24,
		.limit = d >> 55 & 1 ? limit << 12 | 0xfff : limit,
		.selector = selector,
		.type = d >> 40 & 0xf,
		.s = d >> 44 & 1,
		.dpl = d >> 45 & 3,
		.present = d >> 47 & 1,
		.avl = d >> 52 & 1,
		.l = d >> 53 & 1,
		.db = d >> 54 & 1,
		.g = d >> 55 & 1,
	};
}

static struct kvm_segment real_segment(bool code)
{
	return (struct kvm_segment){ .limit = 0xffff, .type = code ? 11 : 3, .present = 1, .s = 1 };
}

void guest_set_gate(struct guest *g, u8 vector, u16 selector, u8 attributes)
{
	bool wide = modes[g->mode].frame == 8;
	u64 *gate = (u64 *)(g->memory + GUEST_IDT + vector * (wide ? 16 : 8));

	/* The handlers lie below 64 KiB: all upper bits of their addresses are zero. */
	*gate = (GUEST_STUBS + vector * STUB_SIZE) | (u64)selector << 16 | (u64)attributes << 40;
	if (wide) {
		gate[0] |= 1ull << 32; /* IST1, so that the place of the frame is known */
		gate[1] = 0;
	}
}

/* INT3, INTO and the vectors of interrupts may be reached by INT n from ring 3, the others not. */
static void build_idt(struct guest *g)
{
	const struct mode *mode = &modes[g->mode];
	unsigned int i;

	for (i = 0; i < 256; i++) {
		bool open = i == VECTOR_BP || i == VECTOR_OF || i >= 32;

		if (g->mode == MODE_REAL)
			((u32 *)g->memory)[i] = GUEST_STUBS + i * STUB_SIZE;
		else
			guest_set_gate(g, i, mode->handler_cs, 0x80 | (open ? 0x60 : 0) | mode->gate);
	}
}

static void put(struct guest *g, u64 address, const void *bytes, size_t size)
{
	memcpy(g->memory + address, bytes, size);
}

/* push $vector; out %al, $TRAP_PORT; hlt. The same bytes in 16-, 32- and 64-bit code. */
static void build_stubs(struct guest *g)
{
	static const u8 iret64[] = { 0x48, 0xcf }, iret[] = { 0xcf };
	/* ltr %cs:TSS_SELECTOR; iret */
	static const u8 enter64[] = { 0x2e, 0x0f, 0x00, 0x1c, 0x25, TSS_SELECTOR & 0xff, TSS_SELECTOR >> 8,
				      0,    0,	  0x48, 0xcf };
	static const u8 enter[] = { 0x2e, 0x0f, 0x00, 0x1d, TSS_SELECTOR & 0xff, TSS_SELECTOR >> 8, 0, 0, 0xcf };
	static const u16 selector = SEL_TSS;
	bool wide = modes[g->mode].frame == 8;
	unsigned int i;

	for (i = 0; i < 256; i++) {
		const u8 stub[STUB_SIZE] = { 0x6a, i, 0xe6, TRAP_PORT, 0xf4 };

		put(g, GUEST_STUBS + i * STUB_SIZE, stub, sizeof(stub));
	}
	put(g, IRET_STUB, wide ? iret64 : iret, wide ? sizeof(iret64) : sizeof(iret));
	put(g, ENTER_STUB, wide ? enter64 : enter, wide ? sizeof(enter64) : sizeof(enter));
	put(g, TSS_SELECTOR, &selector, sizeof(selector));
}

/* SDM volume 3, "32-Bit Task-State Segment (TSS)" and "64-Bit Task State Segment". */
static void build_tss(struct guest *g)
{
	static const u32 stack = GUEST_TRAP_STACK, selector = SEL_DS32;
	u8 *tss = g->memory + GUEST_TSS;

	memset(tss, 0, PAGE);
	memcpy(tss + 4, &stack, sizeof(stack)); /* ESP0, RSP0 */
	if (modes[g->mode].frame == 8)
		memcpy(tss + 36, &stack, sizeof(stack)); /* IST1 */
	else
		memcpy(tss + 8, &selector, sizeof(selector)); /* SS0 */
	tss[102] = 0xff; /* the I/O map begins beyond the limit: ring 3 has no ports */
	tss[103] = 0xff;
}

/* -- page tables ------------------------------------------------------------------------------------------------- */

#define LARGE (PTE_P | PTE_W | PTE_U | PTE_PS)
#define TABLE (PTE_P | PTE_W | PTE_U)

static void *table(struct guest *g, unsigned int n)
{
	return g->memory + GUEST_TABLES + n * PAGE;
}

/* Tables 0, 1 and 2 to 5 are the top ones; the rest is for guest_map(). */
static void build_page_tables(struct guest *g)
{
	u64 *pml4 = table(g, 0), *pdpt = table(g, 1), *pd = table(g, 2);
	u32 *pd32 = table(g, 0);
	unsigned int i;

	memset(table(g, 0), 0, NR_TABLES * PAGE);
	if (g->mode == MODE_PAGED32) {
		for (i = 0; i < 1024; i++)
			pd32[i] = i << 22 | LARGE;
		return;
	}
	pml4[0] = (GUEST_TABLES + PAGE) | TABLE;
	for (i = 0; i < 4; i++)
		pdpt[i] = (GUEST_TABLES + (2 + i) * PAGE) | (g->mode == MODE_PAE ? PTE_P : TABLE);
	for (i = 0; i < 4 * 512; i++)
		pd[i] = (u64)i << 21 | LARGE;
}

static u64 page_table_root(struct guest *g)
{
	return g->mode == MODE_PAE ? GUEST_TABLES + PAGE : GUEST_TABLES;
}

/* An empty table of 4-KByte pages, filled as the large page was. */
static u64 split_large_page(struct guest *g, u64 start, bool wide)
{
	unsigned int i, n;

	for (n = 6; n < NR_TABLES; n++)
		if (!*(u64 *)table(g, n) && !((u64 *)table(g, n))[1])
			break;
	if (n == NR_TABLES)
		die("no page table left");
	for (i = 0; i < PAGE / (wide ? 8 : 4); i++) {
		u64 entry = (start + i * PAGE) | TABLE;

		memcpy((u8 *)table(g, n) + i * (wide ? 8 : 4), &entry, wide ? 8 : 4);
	}
	return GUEST_TABLES + n * PAGE;
}

/* The entry of the last level, made one of a 4-KByte page if wanted; with its width. */
static void *find_entry(struct guest *g, u64 linear, bool split, unsigned int *width)
{
	bool wide = g->mode != MODE_PAGED32;
	unsigned int shift = wide ? 21 : 22;
	u8 *entry;
	u64 value = 0;

	*width = wide ? 8 : 4;
	entry = (u8 *)table(g, wide ? 2 : 0) + (linear >> shift) * *width;
	memcpy(&value, entry, *width);
	if (value & PTE_PS) {
		if (!split)
			return entry;
		value = split_large_page(g, linear >> shift << shift, wide) | TABLE;
		memcpy(entry, &value, *width);
	}
	return g->memory + (value & ~0xffful) + (linear >> 12) % (PAGE / *width) * *width;
}

void guest_map(struct guest *g, u64 linear, u64 gpa, u64 flags)
{
	unsigned int width;
	void *entry = find_entry(g, linear, true, &width);
	u64 value = gpa | flags;

	memcpy(entry, &value, width);
}

u64 guest_pte(struct guest *g, u64 linear)
{
	unsigned int width;
	void *entry = find_entry(g, linear, false, &width);
	u64 value = 0;

	memcpy(&value, entry, width);
	return value;
}

/* -- modes ------------------------------------------------------------------------------------------------------- */

static void set_segments(struct guest *g, struct kvm_sregs *s)
{
	const struct mode *mode = &modes[g->mode];
	bool real = g->mode == MODE_REAL;

	s->cs = real ? real_segment(true) : load_segment(g, g->user ? mode->handler_cs : mode->cs[0]);
	s->ss = real ? real_segment(false) : load_segment(g, mode->ds[0]);
	s->ds = g->user ? load_segment(g, SEL_USER_DS32) : s->ss;
	s->es = s->fs = s->gs = s->ds;
	s->tr = load_segment(g, SEL_TSS);
	s->tr.type |= 2; /* LTR marks it busy */
	s->ldt = (struct kvm_segment){ .unusable = 1 };
	s->gdt = (struct kvm_dtable){ .base = GUEST_GDT, .limit = GDT_ENTRIES * 8 - 1 };
	s->idt = (struct kvm_dtable){ .base = GUEST_IDT, .limit = PAGE - 1 };
	if (g->mode == MODE_REAL)
		s->idt = (struct kvm_dtable){ .base = 0, .limit = 0x3ff };
}

void guest_set_mode(struct guest *g, enum guest_mode mode, bool user)
{
	struct kvm_sregs s = guest_sregs(g);

	g->mode = mode;
	g->user = user || mode == MODE_V8086;
	build_gdt(g);
	build_idt(g);
	build_stubs(g);
	build_tss(g);
	build_page_tables(g);
	set_segments(g, &s);
	s.cr0 = modes[mode].cr0 | CR0_ET | CR0_NE | CR0_MP;
	s.cr3 = page_table_root(g);
	s.cr4 = modes[mode].cr4 | CR4_OSFXSR | CR4_OSXMMEXCPT;
	s.efer = modes[mode].efer;
	guest_set_sregs(g, &s);
}

/* -- running it -------------------------------------------------------------------------------------------------- */

void guest_load(struct guest *g, struct code code)
{
	g->code_size = code.end - code.start;
	memcpy(g->memory + GUEST_CODE, code.start, g->code_size);
	g->memory[GUEST_CODE + g->code_size] = 0xf4; /* HLT */
	g->regs = (struct kvm_regs){ .rip = GUEST_CODE, .rsp = GUEST_STACK, .rflags = RFLAGS_FIXED };
}

static u64 pop(struct guest *g, u64 *sp)
{
	unsigned int size = modes[g->mode].frame;
	u64 value = 0;

	if (*sp < GUEST_MEMORY_SIZE - size)
		memcpy(&value, g->memory + *sp, size);
	*sp += size;
	return value;
}

/* Which exceptions push an error code. SDM volume 3, "Exception and Interrupt Vectors". */
static bool pushes_error(struct guest *g, u8 vector)
{
	return g->mode != MODE_REAL && vector < 32 && (1 << vector & 0x227d00);
}

static void read_trap(struct guest *g)
{
	bool user_frame = modes[g->mode].frame == 8 || g->user;
	u64 sp = modes[g->mode].frame == 2 ? g->regs.rsp & 0xffff : g->regs.rsp;
	struct trap *t = &g->trap;

	*t = (struct trap){ .vector = pop(g, &sp) };
	t->has_error = pushes_error(g, t->vector);
	if (t->has_error)
		t->error = pop(g, &sp);
	t->frame = sp;
	t->ip = pop(g, &sp);
	t->cs = pop(g, &sp);
	t->flags = pop(g, &sp);
	if (user_frame) {
		t->sp = pop(g, &sp);
		t->ss = pop(g, &sp);
	}
}

u32 guest_run(struct guest *g)
{
	int r = ioctl(g->vcpu, KVM_RUN, 0), error = errno;

	if (ioctl(g->vcpu, KVM_GET_REGS, &g->regs))
		die("KVM_GET_REGS");
	errno = error;
	if (r)
		die("KVM_RUN, guest at %#llx", g->regs.rip);
	g->exit = g->run->exit_reason;
	if (g->exit == KVM_EXIT_IO && g->run->io.port == TRAP_PORT && g->run->io.direction == KVM_EXIT_IO_OUT) {
		g->exit = GUEST_TRAP;
		read_trap(g);
	}
	return g->exit;
}

static void push(struct guest *g, u64 *sp, u64 value)
{
	*sp -= modes[g->mode].frame;
	put(g, *sp, &value, modes[g->mode].frame);
}

/*
 * The guest goes to ring 3 by itself, as kernels do it: LTR, then IRET. (A TR that the client sets is a busy one, and QEMU,
 * where it plays an AMD CPU, takes stacks from none but available 32-bit ones.)
 */
static void enter_ring3(struct guest *g)
{
	const struct mode *mode = &modes[g->mode];
	bool v8086 = g->mode == MODE_V8086;
	u64 sp = ENTER_FRAME;
	unsigned int i;

	guest_set_gdt(g, SEL_TSS, descriptor(GUEST_TSS, PAGE - 1, ATTR_TSS));
	for (i = 0; i < 4 && v8086; i++)
		push(g, &sp, 0); /* GS, FS, DS, ES */
	push(g, &sp, mode->ds[1]);
	push(g, &sp, g->regs.rsp);
	push(g, &sp, g->regs.rflags | (v8086 ? RFLAGS_VM : 0));
	push(g, &sp, mode->cs[1]);
	push(g, &sp, g->regs.rip);
	g->regs.rsp = sp;
	g->regs.rip = ENTER_STUB;
	g->regs.rflags = RFLAGS_FIXED;
}

u32 guest_start(struct guest *g)
{
	if (g->user)
		enter_ring3(g);
	set_regs(g);
	return guest_run(g);
}

void guest_end_trap(struct guest *g)
{
	g->regs.rsp = g->trap.frame;
	g->regs.rip = IRET_STUB;
	set_regs(g);
}

static const char *const exit_names[] = {
	[KVM_EXIT_UNKNOWN] = "KVM_EXIT_UNKNOWN",
	[KVM_EXIT_IO] = "KVM_EXIT_IO",
	[KVM_EXIT_HLT] = "KVM_EXIT_HLT",
	[KVM_EXIT_MMIO] = "KVM_EXIT_MMIO",
	[KVM_EXIT_IRQ_WINDOW_OPEN] = "KVM_EXIT_IRQ_WINDOW_OPEN",
	[KVM_EXIT_SHUTDOWN] = "KVM_EXIT_SHUTDOWN",
	[KVM_EXIT_FAIL_ENTRY] = "KVM_EXIT_FAIL_ENTRY",
	[KVM_EXIT_INTR] = "KVM_EXIT_INTR",
	[KVM_EXIT_INTERNAL_ERROR] = "KVM_EXIT_INTERNAL_ERROR",
};

static const char *exit_name(u32 exit)
{
	static char number[32];

	if (exit == GUEST_TRAP)
		return "an exception";
	if (exit < ARRAY_SIZE(exit_names) && exit_names[exit])
		return exit_names[exit];
	snprintf(number, sizeof(number), "exit %u", exit);
	return number;
}

/* What is worth knowing of an exit beside its name. */
static void exit_details(struct guest *g, char *text, size_t size)
{
	const struct kvm_run *run = g->run;
	const struct trap *t = &g->trap;

	*text = '\0';
	if (g->exit == GUEST_TRAP)
		snprintf(text, size, " %u, error code %#x (%s), CR2 %#llx", t->vector, t->error,
			 t->has_error ? "pushed" : "none", guest_sregs(g).cr2);
	else if (g->exit == KVM_EXIT_IO)
		snprintf(text, size, " %s port %#x, %u bytes, %u times", run->io.direction ? "out" : "in", run->io.port,
			 run->io.size, run->io.count);
	else if (g->exit == KVM_EXIT_MMIO)
		snprintf(text, size, " %s %#llx, %u bytes", run->mmio.is_write ? "write" : "read", run->mmio.phys_addr,
			 run->mmio.len);
	else if (g->exit == KVM_EXIT_INTERNAL_ERROR)
		snprintf(text, size, " suberror %u, data %#llx", run->internal.suberror, run->internal.data[0]);
	else if (g->exit == KVM_EXIT_FAIL_ENTRY)
		snprintf(text, size, " reason %#llx", run->fail_entry.hardware_entry_failure_reason);
}

const char *guest_exit_text(struct guest *g)
{
	static char text[256];
	char details[128];

	exit_details(g, details, sizeof(details));
	snprintf(text, sizeof(text), "%s%s, at %#llx", exit_name(g->exit), details,
		 g->exit == GUEST_TRAP ? g->trap.ip : g->regs.rip);
	return text;
}

bool expect_exit_at(const char *file, int line, struct guest *g, u32 exit)
{
	if (g->exit != exit)
		fail_at(file, line, "the guest ended in %s, expected %s", guest_exit_text(g), exit_name(exit));
	return g->exit == exit;
}

bool expect_trap_at(const char *file, int line, struct guest *g, u8 vector, u64 error, u64 ip)
{
	const struct trap *t = &g->trap;

	if (g->exit == GUEST_TRAP && t->vector == vector && t->ip == ip &&
	    (t->has_error ? t->error : NO_ERROR) == error)
		return true;
	if (error == NO_ERROR)
		fail_at(file, line, "the guest ended in %s, expected exception %u at %#lx", guest_exit_text(g), vector,
			ip);
	else
		fail_at(file, line, "the guest ended in %s, expected exception %u, error code %#lx, at %#lx",
			guest_exit_text(g), vector, error, ip);
	return false;
}
