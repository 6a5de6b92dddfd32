// SPDX-License-Identifier: GPL-2.0
/*
 * abi_test - the ABI itself: every ioctl of uapi/pith.h and every capability is there and works, what is taken is given
 * back, what is refused changes nothing. (abuse_test has the clients that do it wrong.)
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "guest.h"
#include "pith.h"

#define MSR_STAR 0xc0000081
#define LOGGED_SLOT 5
#define FREE_SLOT 6
#define FREE_GPA 0x8000000ul

enum file { DEVICE, VM, VCPU };

/* -- every ioctl ------------------------------------------------------------------------------------------------- */

#define DEVICE_ROW(number, handler, argument, meaning) { #number, number, DEVICE },
#define VM_ROW(number, handler, argument, meaning) { #number, number, VM },
#define VCPU_ROW(number, handler, argument, meaning) { #number, number, VCPU },
static const struct ioctl_row {
	const char *name;
	unsigned long number;
	enum file file;
} ioctls[] = { PITH_DEVICE_IOCTLS(DEVICE_ROW) PITH_VM_IOCTLS(VM_ROW) PITH_VCPU_IOCTLS(VCPU_ROW) };

struct one_msr {
	struct kvm_msrs head;
	struct kvm_msr_entry entry;
};

struct mask {
	struct kvm_signal_mask head;
	u64 set;
} __attribute__((packed));

/* An argument that is good, where neither zeros are nor what the ioctl before, a GET, has left in the buffer. */
struct argument {
	unsigned long number;
	bool plain; /* no pointer but a value */
	u64 value;
	const void *bytes;
	unsigned int size;
	int error; /* that is the right answer */
	bool vcpu; /* only there: a VM has an ioctl of this number, too */
};

#define PLAIN(number, value, error)                        \
	{                                                  \
		number, true, value, NULL, 0, error, false \
	}
#define BYTES(number, type, ...)                                                       \
	{                                                                              \
		number, false, 0, &(const type){ __VA_ARGS__ }, sizeof(type), 0, false \
	}

static const struct argument *find_argument(const struct argument *arguments, unsigned int nr,
					    const struct ioctl_row *row)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		if (arguments[i].number == row->number && (!arguments[i].vcpu || row->file == VCPU))
			return &arguments[i];
	return NULL;
}

static struct guest *full_machine(void)
{
	struct kvm_pit_config pit = {};
	struct guest *g = guest_create_vm();

	expect_errno(ioctl(g->vm, KVM_CREATE_IRQCHIP, 0), 0);
	expect_errno(ioctl(g->vm, KVM_CREATE_PIT2, &pit), 0);
	guest_create_vcpu(g);
	guest_add_memory(g, LOGGED_SLOT, 0x4000000, pages(PAGE), PAGE, KVM_MEM_LOG_DIRTY_PAGES);
	return g;
}

static int file_of(struct guest *g, enum file file)
{
	const int fds[] = { g->device, g->vm, g->vcpu };

	return fds[file];
}

static void every_ioctl(void)
{
	static u8 buffer[65536], bitmap[64];
	struct guest *g = full_machine();
	const struct argument arguments[] = {
		PLAIN(KVM_GET_API_VERSION, 0, 0),
		PLAIN(KVM_CREATE_VM, 0, 0),
		PLAIN(KVM_CHECK_EXTENSION, KVM_CAP_IRQCHIP, 0),
		PLAIN(KVM_GET_VCPU_MMAP_SIZE, 0, 0),
		BYTES(KVM_GET_SUPPORTED_CPUID, struct kvm_cpuid2, .nent = 256),
		BYTES(KVM_GET_MSR_INDEX_LIST, struct kvm_msr_list, .nmsrs = 1024),
		BYTES(KVM_GET_MSR_FEATURE_INDEX_LIST, struct kvm_msr_list, .nmsrs = 1024),
		{ KVM_ENABLE_CAP, false, 0, &(const struct kvm_enable_cap){ .cap = KVM_CAP_ENFORCE_PV_FEATURE_CPUID },
		  sizeof(struct kvm_enable_cap), 0, true },
		BYTES(KVM_ENABLE_CAP, struct kvm_enable_cap, .cap = KVM_CAP_X2APIC_API),
		PLAIN(KVM_CREATE_VCPU, 0, EEXIST),
		BYTES(KVM_SET_USER_MEMORY_REGION, struct kvm_userspace_memory_region, .slot = FREE_SLOT,
		      .guest_phys_addr = FREE_GPA, .memory_size = PAGE, .userspace_addr = (u64)pages(PAGE)),
		BYTES(KVM_GET_DIRTY_LOG, struct kvm_dirty_log, .slot = LOGGED_SLOT, .dirty_bitmap = bitmap),
		BYTES(KVM_CLEAR_DIRTY_LOG, struct kvm_clear_dirty_log, .slot = LOGGED_SLOT, .num_pages = 1,
		      .dirty_bitmap = bitmap),
		PLAIN(KVM_SET_NR_MMU_PAGES, 64, 0),
		PLAIN(KVM_GET_NR_MMU_PAGES, 0, 0),
		PLAIN(KVM_SET_TSS_ADDR, 0xfffbd000, 0),
		{ .number = KVM_SET_IDENTITY_MAP_ADDR, .error = EINVAL }, /* too late, as the next three */
		PLAIN(KVM_SET_BOOT_CPU_ID, 0, EBUSY),
		PLAIN(KVM_CREATE_IRQCHIP, 0, EEXIST),
		{ .number = KVM_CREATE_PIT2, .error = EEXIST },
		BYTES(KVM_GET_IRQCHIP, struct kvm_irqchip, .chip_id = KVM_IRQCHIP_IOAPIC),
		BYTES(KVM_SIGNAL_MSI, struct kvm_msi, .address_lo = 0xfee00000, .data = 0x4040),
		BYTES(KVM_SET_GSI_ROUTING, struct kvm_irq_routing, .nr = 0),
		BYTES(KVM_IRQFD, struct kvm_irqfd, .fd = eventfd(0, 0), .gsi = 5),
		BYTES(KVM_IOEVENTFD, struct kvm_ioeventfd, .addr = 0x510, .len = 1, .fd = eventfd(0, 0),
		      .flags = KVM_IOEVENTFD_FLAG_PIO),
		BYTES(KVM_REGISTER_COALESCED_MMIO, struct kvm_coalesced_mmio_zone, .addr = FREE_GPA, .size = PAGE),
		PLAIN(KVM_RUN, 0, EINTR), /* immediate_exit is set */
		BYTES(KVM_GET_MSRS, struct one_msr, .head.nmsrs = 1, .entry.index = MSR_STAR),
		BYTES(KVM_SET_CPUID2, struct kvm_cpuid2, .nent = 0),
		BYTES(KVM_GET_CPUID2, struct kvm_cpuid2, .nent = 256),
		{ .number = KVM_INTERRUPT, .error = ENXIO }, /* the controllers are in the kernel */
		PLAIN(KVM_NMI, 0, 0),
		BYTES(KVM_SET_SIGNAL_MASK, struct mask, .head.len = 8),
		PLAIN(KVM_GET_TSC_KHZ, 0, 0),
		PLAIN(KVM_SET_TSC_KHZ, 0, 0),
		PLAIN(KVM_KVMCLOCK_CTRL, 0, EINVAL), /* the guest has no kvmclock */
		BYTES(KVM_HAS_DEVICE_ATTR, struct kvm_device_attr, .group = KVM_VCPU_TSC_CTRL),
		BYTES(KVM_GET_DEVICE_ATTR, struct kvm_device_attr, .group = KVM_VCPU_TSC_CTRL, .addr = (u64)bitmap),
		BYTES(KVM_SET_DEVICE_ATTR, struct kvm_device_attr, .group = KVM_VCPU_TSC_CTRL, .addr = (u64)bitmap),
		BYTES(KVM_SET_CLOCK, struct kvm_clock_data, .clock = 0),
		BYTES(KVM_TPR_ACCESS_REPORTING, struct kvm_tpr_access_ctl, .enabled = 0),
		BYTES(KVM_SET_VAPIC_ADDR, struct kvm_vapic_addr, .vapic_addr = 0),
		BYTES(KVM_SET_GUEST_DEBUG, struct kvm_guest_debug, .control = 0),
		BYTES(KVM_X86_SETUP_MCE, u64, 1),
		PLAIN(PITH_SET_EXIT_LOG, PITH_EXIT_LOG_MIN, 0),
		{ .number = PITH_BREAK_ENTRY, .error = EPERM }, /* the module is loaded without unsafe=1 */
		BYTES(KVM_X86_SET_MCE, struct kvm_x86_mce, .status = 1ull << 63),
	};
	unsigned int i;

	g->run->immediate_exit = 1;
	for (i = 0; i < ARRAY_SIZE(ioctls); i++) {
		const struct argument *a = find_argument(arguments, ARRAY_SIZE(arguments), &ioctls[i]);
		u64 argument = a && a->plain ? a->value : (u64)buffer;
		long r;

		if (a && a->bytes) {
			memset(buffer, 0, sizeof(buffer));
			memcpy(buffer, a->bytes, a->size);
		}
		context("%s", ioctls[i].name);
		r = ioctl(file_of(g, ioctls[i].file), ioctls[i].number, argument);
		expect_errno(r, a ? a->error : 0);
	}
}

/* What no file knows gets the error that stock KVM gives for it. */
static void unknown_ioctls(void)
{
	static const unsigned long numbers[] = { _IO(KVMIO, 0xff), _IOR(KVMIO, 0xff, u64), _IO('p', 1), 0 };
	struct guest *g = full_machine();
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(numbers); i++) {
		context("ioctl %#lx", numbers[i]);
		expect_errno(ioctl(g->device, numbers[i], 0), EINVAL);
		expect_errno(ioctl(g->vm, numbers[i], 0), ENOTTY);
		expect_errno(ioctl(g->vcpu, numbers[i], 0), EINVAL);
	}
}

/* -- every capability -------------------------------------------------------------------------------------------- */

static long capability(int fd, unsigned long number)
{
	return ioctl(fd, KVM_CHECK_EXTENSION, number);
}

/* A capability that is there brings its ioctls: called with a pointer to nothing, they get as far as that. */
static void capabilities(void)
{
	static const struct {
		const char *name;
		u16 capability;
		enum file file;
		unsigned long number;
	} rows[] = {
#define CAP(name, file, number) { #name, KVM_CAP_##name, file, number }
		CAP(USER_MEMORY, VM, KVM_SET_USER_MEMORY_REGION),
		CAP(EXT_CPUID, DEVICE, KVM_GET_SUPPORTED_CPUID),
		CAP(EXT_CPUID, VCPU, KVM_SET_CPUID2),
		CAP(IRQCHIP, VM, KVM_GET_IRQCHIP),
		CAP(IRQCHIP, VCPU, KVM_GET_LAPIC),
		CAP(MANUAL_DIRTY_LOG_PROTECT2, VM, KVM_CLEAR_DIRTY_LOG),
		CAP(MP_STATE, VCPU, KVM_GET_MP_STATE),
		CAP(ENABLE_CAP_VM, VM, KVM_ENABLE_CAP),
		CAP(ENABLE_CAP, VCPU, KVM_ENABLE_CAP),
		CAP(IRQ_ROUTING, VM, KVM_SET_GSI_ROUTING),
		CAP(IRQ_INJECT_STATUS, VM, KVM_IRQ_LINE_STATUS),
		CAP(IRQFD, VM, KVM_IRQFD),
		CAP(IOEVENTFD, VM, KVM_IOEVENTFD),
		CAP(COALESCED_MMIO, VM, KVM_REGISTER_COALESCED_MMIO),
		CAP(COALESCED_PIO, VM, KVM_UNREGISTER_COALESCED_MMIO),
		CAP(PIT2, VM, KVM_CREATE_PIT2),
		CAP(PIT_STATE2, VM, KVM_GET_PIT2),
		CAP(REINJECT_CONTROL, VM, KVM_REINJECT_CONTROL),
		CAP(VCPU_EVENTS, VCPU, KVM_GET_VCPU_EVENTS),
		CAP(DEBUGREGS, VCPU, KVM_GET_DEBUGREGS),
		CAP(XSAVE, VCPU, KVM_GET_XSAVE),
		CAP(XCRS, VCPU, KVM_GET_XCRS),
		CAP(SIGNAL_MSI, VM, KVM_SIGNAL_MSI),
		CAP(MCE, DEVICE, KVM_X86_GET_MCE_CAP_SUPPORTED),
		CAP(MCE, VCPU, KVM_X86_SETUP_MCE),
		CAP(MCE, VCPU, KVM_X86_SET_MCE),
		CAP(SET_GUEST_DEBUG, VCPU, KVM_SET_GUEST_DEBUG),
		CAP(X86_ROBUST_SINGLESTEP, VCPU, KVM_SET_GUEST_DEBUG),
		CAP(ADJUST_CLOCK, VM, KVM_GET_CLOCK),
		CAP(VCPU_ATTRIBUTES, VCPU, KVM_GET_DEVICE_ATTR),
		CAP(GET_MSR_FEATURES, DEVICE, KVM_GET_MSR_FEATURE_INDEX_LIST),
	};
	struct guest *g = full_machine();
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		context("KVM_CAP_%s", rows[i].name);
		expect_eq(!capability(g->device, rows[i].capability), 0);
		expect_errno(ioctl(file_of(g, rows[i].file), rows[i].number, 1), EFAULT);
	}
}

static long enable(struct guest *g, u32 capability, u32 flags, u64 argument)
{
	struct kvm_enable_cap cap = { .cap = capability, .flags = flags, .args = { argument } };

	return ioctl(g->vm, KVM_ENABLE_CAP, &cap);
}

/* What can be switched on knows its arguments; what cannot, or has flags, of which there are none, is refused. */
static void enabling(void)
{
	struct guest *g = guest_create_vm();

	expect_errno(enable(g, KVM_CAP_X2APIC_API, 0, capability(g->device, KVM_CAP_X2APIC_API)), 0);
	expect_errno(enable(g, KVM_CAP_X2APIC_API, 0, 0), 0);
	expect_errno(enable(g, KVM_CAP_X2APIC_API, 0, 1ull << 63), EINVAL);
	expect_errno(enable(g, KVM_CAP_X2APIC_API, 1, 0), EINVAL);
	expect_errno(enable(g, KVM_CAP_USER_MEMORY, 0, 1), EINVAL);
	expect_errno(enable(g, ~0u, 0, 0), EINVAL);
}

/* What a VM can be given is promised, and what of that is promised can be given. */
static void enabling_is_promised(void)
{
	static const struct {
		u32 capability;
		u64 argument;
	} rows[] = {
		{ KVM_CAP_SPLIT_IRQCHIP, 24 },
		{ KVM_CAP_X2APIC_API, 1 },
		{ KVM_CAP_MAX_VCPU_ID, 1 },
		{ KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, 1 },
		{ KVM_CAP_X86_USER_SPACE_MSR, 1 },
		{ KVM_CAP_DISABLE_QUIRKS2, 0 },
		{ KVM_CAP_MSR_PLATFORM_INFO, 1 },
		{ KVM_CAP_HALT_POLL, 1 },
		{ KVM_CAP_X86_DISABLE_EXITS, 0 },
		{ KVM_CAP_X86_TRIPLE_FAULT_EVENT, 1 },
		{ KVM_CAP_EXIT_ON_EMULATION_FAILURE, 1 },
		{ KVM_CAP_VM_DISABLE_NX_HUGE_PAGES, 0 },
	};
	struct guest *g;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		context("capability %u", rows[i].capability);
		g = guest_create_vm();
		expect(capability(g->vm, rows[i].capability) > 0);
		expect_errno(enable(g, rows[i].capability, 0, rows[i].argument), 0);
		guest_destroy(g);
	}
	for (i = 0; i < 300; i++) {
		context("capability %u", i);
		g = guest_create_vm();
		if (!enable(g, i, 0, 0) || !enable(g, i, 0, 1))
			expect(capability(g->vm, i) > 0);
		guest_destroy(g);
	}
}

/* No call fails for a number, and the VM says what the device says. */
static void capability_numbers(void)
{
	struct guest *g = guest_create_vm();
	unsigned int i;

	for (i = 0; i < 300; i++) {
		long r = capability(g->device, i), of_vm = capability(g->vm, i);

		context("capability %u", i);
		expect(r >= 0);
		expect(of_vm >= 0);
		expect_eq(!of_vm, !r);
	}
	context("%s", "");
	expect_eq(capability(g->device, 0xffffffff), 0);
	expect_eq(capability(g->device, 100000), 0);
}

/* Capabilities that count: the last one of them works, the next one does not. */
static void limits(void)
{
	struct guest *g = guest_create_vm();
	struct kvm_userspace_memory_region region = { .guest_phys_addr = FREE_GPA, .memory_size = PAGE };
	long slots = capability(g->device, KVM_CAP_NR_MEMSLOTS);
	long ids = capability(g->device, KVM_CAP_MAX_VCPU_ID);
	long vcpus = capability(g->device, KVM_CAP_MAX_VCPUS);

	region.userspace_addr = (u64)pages(PAGE);
	expect(slots >= 32);
	region.slot = slots;
	expect_errno(ioctl(g->vm, KVM_SET_USER_MEMORY_REGION, &region), EINVAL);
	region.slot = slots - 1;
	expect_errno(ioctl(g->vm, KVM_SET_USER_MEMORY_REGION, &region), 0);
	expect(ids >= vcpus);
	expect_errno(ioctl(g->vm, KVM_CREATE_VCPU, ids), EINVAL);
	expect_errno(ioctl(g->vm, KVM_CREATE_VCPU, ids - 1), 0);
	expect(capability(g->device, KVM_CAP_NR_VCPUS) > 0);
	expect(capability(g->device, KVM_CAP_NR_VCPUS) <= vcpus);
	expect_eq(ioctl(g->device, KVM_GET_API_VERSION, 0), KVM_API_VERSION);
}

/* What KVM_CAP_DESTROY_MEMORY_REGION_WORKS and KVM_CAP_JOIN_MEMORY_REGIONS_WORKS say. */
static void slots(void)
{
	struct guest *g = guest_create(MODE_LONG);
	const struct code code = CODE64("mov (%rdi), %rax; mov 4096(%rdi), %rbx");
	u64 *memory = pages(2 * PAGE);

	memory[0] = 0x1111;
	memory[PAGE / 8] = 0x2222;
	guest_add_memory(g, 5, FREE_GPA, memory, PAGE, 0);
	guest_add_memory(g, 6, FREE_GPA + PAGE, memory + PAGE / 8, PAGE, 0);
	context("two slots");
	guest_load(g, code);
	g->regs.rdi = FREE_GPA;
	guest_start(g);
	expect_end(g);
	expect_eq(g->regs.rax, 0x1111);
	expect_eq(g->regs.rbx, 0x2222);

	context("destroyed");
	guest_add_memory(g, 5, FREE_GPA, NULL, 0, 0);
	guest_add_memory(g, 6, FREE_GPA + PAGE, NULL, 0, 0);
	guest_load(g, code);
	g->regs.rdi = FREE_GPA;
	guest_start(g);
	expect_exit(g, KVM_EXIT_MMIO);
	expect_eq(g->run->mmio.phys_addr, FREE_GPA);
	g->regs.rip = GUEST_CODE; /* the load is given up */
	expect_errno(ioctl(g->vcpu, KVM_SET_REGS, &g->regs), 0);

	context("joined");
	guest_destroy(g);
	g = guest_create(MODE_LONG);
	guest_add_memory(g, 5, FREE_GPA, memory, PAGE, 0);
	guest_add_memory(g, 5, FREE_GPA, NULL, 0, 0);
	guest_add_memory(g, 7, FREE_GPA, memory, 2 * PAGE, 0);
	guest_load(g, code);
	g->regs.rdi = FREE_GPA;
	guest_start(g);
	expect_end(g);
	expect_eq(g->regs.rax, 0x1111);
	expect_eq(g->regs.rbx, 0x2222);
}

/* -- state in and out -------------------------------------------------------------------------------------------- */

static void *get(struct guest *g, unsigned long number, unsigned int size)
{
	void *state = calloc(1, size);

	if (ioctl(g->vcpu, number, state))
		die("ioctl %#lx", number);
	return state;
}

#define GET(g, what, type) ((type *)get(g, KVM_GET_##what, sizeof(type)))

static void general_registers(void)
{
	struct guest *g = guest_create(MODE_LONG);
	struct kvm_regs regs;
	u64 *word = (u64 *)&regs;
	unsigned int i;

	for (i = 0; i < sizeof(regs) / sizeof(u64); i++)
		word[i] = 0x0101010101010101 * (i + 1);
	regs.rip = 0x00007fff12345678;
	regs.rflags = 0x246;
	expect_errno(ioctl(g->vcpu, KVM_SET_REGS, &regs), 0);
	expect_bytes(GET(g, REGS, struct kvm_regs), &regs, sizeof(regs));

	context("fixed bit of RFLAGS");
	regs.rflags = 0;
	expect_errno(ioctl(g->vcpu, KVM_SET_REGS, &regs), 0);
	expect_eq(GET(g, REGS, struct kvm_regs)->rflags, RFLAGS_FIXED);
}

static void system_registers(void)
{
	struct guest *g = guest_create(MODE_LONG);
	struct kvm_sregs s = guest_sregs(g), back;

	s.cr2 = 0x123456789000;
	s.cr4 |= CR4_PGE;
	s.cr8 = 5;
	s.efer |= EFER_NX | EFER_SCE;
	s.fs.base = 0xffff800000001000;
	s.gs.base = 0x00007ffffffff000;
	s.ds.selector = s.es.selector = SEL_USER_DS32;
	s.ds.dpl = s.es.dpl = 3;
	s.gdt = (struct kvm_dtable){ .base = 0xffffffff80001000, .limit = 0x7f };
	s.idt = (struct kvm_dtable){ .base = 0xffffffff80002000, .limit = 0xfff };
	s.ldt = (struct kvm_segment){ .base = 0x5000, .limit = 0xff, .selector = 0x60, .type = 2, .present = 1 };
	guest_set_sregs(g, &s);
	back = guest_sregs(g);
	expect_bytes(&back, &s, sizeof(s));
}

/* Each mode's registers, as the client sets them and as they come back. */
static void modes(void)
{
	enum guest_mode mode;

	for (mode = 0; mode < NR_MODES; mode++) {
		struct guest *g = guest_create(mode);
		struct kvm_sregs s = guest_sregs(g), back;

		context("%s", guest_mode_name[mode]);
		guest_set_sregs(g, &s);
		back = guest_sregs(g);
		expect_bytes(&back, &s, sizeof(s));
		guest_destroy(g);
	}
}

static void refused_system_registers(void)
{
	static const struct {
		const char *name;
		u64 cr0, cr3, cr4, efer, apic_base; /* bits to change */
	} rows[] = {
		{ "CR0: bit 32", .cr0 = 1ul << 32 },
		{ "CR0: PG without PE", .cr0 = CR0_PE },
		{ "CR0: NW without CD", .cr0 = CR0_NW },
		{ "CR0: LMA without PG", .cr0 = CR0_PG },
		{ "CR3: a bit above the physical address width", .cr3 = 1ul << 60 },
		{ "CR4: long mode without PAE", .cr4 = CR4_PAE },
		{ "CR4: bit 31", .cr4 = 1ul << 31 },
		{ "CR4: bit 63", .cr4 = 1ul << 63 },
		{ "EFER: LME without LMA", .efer = EFER_LMA },
		{ "EFER: LMA without LME", .efer = EFER_LME },
		{ "APIC base: a reserved bit", .apic_base = 1 },
	};
	struct guest *g = guest_create(MODE_LONG);
	const struct kvm_sregs before = guest_sregs(g);
	struct kvm_sregs s, after;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		context("%s", rows[i].name);
		s = before;
		s.cr0 ^= rows[i].cr0;
		s.cr3 ^= rows[i].cr3;
		s.cr4 ^= rows[i].cr4;
		s.efer ^= rows[i].efer;
		s.apic_base ^= rows[i].apic_base;
		s.cr2 = 0x1234;
		s.fs.base = 0x5678;
		s.gdt.limit = 0x1f;
		expect_errno(ioctl(g->vcpu, KVM_SET_SREGS, &s), EINVAL);
		after = guest_sregs(g);
		expect_bytes(&after, &before, sizeof(after));
	}
	guest_load(g, CODE64("nop"));
	guest_start(g);
	expect_end(g);
}

/* KVM_SET_FPU is not asked for MXCSR: stock KVM leaves it out. */
static void fpu(void)
{
	struct guest *g = guest_create(MODE_LONG);
	struct kvm_fpu f = *GET(g, FPU, struct kvm_fpu), *back;
	unsigned int i;

	memset(f.xmm, 0x5a, sizeof(f.xmm));
	for (i = 0; i < 8; i++)
		memset(f.fpr[i], i + 1, 10);
	f.fcw = 0x27f;
	f.fsw = 0x3800;
	f.ftwx = 0xff;
	f.last_opcode = 0x123;
	f.last_ip = 0x1234;
	f.last_dp = 0x5678;
	expect_errno(ioctl(g->vcpu, KVM_SET_FPU, &f), 0);
	back = GET(g, FPU, struct kvm_fpu);
	expect_bytes(back->xmm, f.xmm, sizeof(f.xmm));
	expect_bytes(back->fpr, f.fpr, sizeof(f.fpr));
	expect_eq(back->fcw, f.fcw);
	expect_eq(back->fsw, f.fsw);
	expect_eq(back->ftwx, f.ftwx);
	expect_eq(back->last_opcode, f.last_opcode);
	expect_eq(back->last_ip, f.last_ip);
	expect_eq(back->last_dp, f.last_dp);
}

/* Words of the image. SDM volume 1, "XSAVE Area". */
#define XSAVE_MXCSR (24 / 4)
#define XSAVE_XMM0 (160 / 4)
#define XSAVE_BV (512 / 4)
#define XSAVE_RESERVED (528 / 4)

/* The guest finds in its registers what the client has set, and the client finds what the guest has left. */
static void xsave(void)
{
	struct guest *g = guest_create(MODE_LONG);
	struct kvm_xsave *x = GET(g, XSAVE, struct kvm_xsave), *back;
	u16 fcw;

	x->region[0] = 0x27f;
	x->region[XSAVE_MXCSR] = 0x1fa0;
	x->region[XSAVE_BV] |= 3;
	memset(&x->region[XSAVE_XMM0], 0x77, 256);
	expect_errno(ioctl(g->vcpu, KVM_SET_XSAVE, x), 0);
	back = GET(g, XSAVE, struct kvm_xsave);
	expect_bytes(back->region, x->region, 2);
	expect_eq(back->region[XSAVE_MXCSR], 0x1fa0);
	expect_bytes(&back->region[XSAVE_XMM0], &x->region[XSAVE_XMM0], 256);
	expect_eq(back->region[XSAVE_BV] & 3, 3);
	guest_load(g, CODE64("fnstcw (%rdi); stmxcsr 4(%rdi); movups %xmm15, 16(%rdi); movups (%rsi), %xmm2"));
	g->regs.rdi = GUEST_DATA;
	g->regs.rsi = GUEST_DATA + 64;
	memset(g->memory + GUEST_DATA + 64, 0x33, 16);
	guest_start(g);
	expect_end(g);
	memcpy(&fcw, g->memory + GUEST_DATA, sizeof(fcw));
	expect_eq(fcw, 0x27f);
	expect_eq(*(u32 *)(g->memory + GUEST_DATA + 4), 0x1fa0);
	expect_bytes(g->memory + GUEST_DATA + 16, &x->region[XSAVE_XMM0], 16);
	back = GET(g, XSAVE, struct kvm_xsave);
	expect_bytes(&back->region[XSAVE_XMM0 + 8], g->memory + GUEST_DATA + 64, 16);
}

static void refused_xsave(void)
{
	static const struct {
		const char *name;
		unsigned int word;
		u32 value;
	} rows[] = {
		{ "MXCSR: bit 31", XSAVE_MXCSR, 1u << 31 },
		{ "XSTATE_BV: component 62", XSAVE_BV + 1, 1u << 30 },
		{ "XSAVE header: a reserved byte", XSAVE_RESERVED, 1 },
	};
	struct guest *g = guest_create(MODE_LONG);
	const struct kvm_xsave *before = GET(g, XSAVE, struct kvm_xsave);
	struct kvm_xsave *x;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		context("%s", rows[i].name);
		x = GET(g, XSAVE, struct kvm_xsave);
		x->region[XSAVE_BV] |= 3; /* what is not there need not be right */
		x->region[rows[i].word] |= rows[i].value;
		memset(&x->region[XSAVE_XMM0], 0x77, 256);
		expect_errno(ioctl(g->vcpu, KVM_SET_XSAVE, x), EINVAL);
		expect_bytes(&GET(g, XSAVE, struct kvm_xsave)->region[XSAVE_XMM0], &before->region[XSAVE_XMM0], 256);
	}
}

static void xcrs(void)
{
	static const struct {
		const char *name;
		struct kvm_xcrs xcrs;
		bool refused;
	} rows[] = {
		{ "x87 and SSE", { .nr_xcrs = 1, .xcrs[0] = { .value = 3 } }, false },
		{ "x87", { .nr_xcrs = 1, .xcrs[0] = { .value = 1 } }, false },
		{ "nothing", { .nr_xcrs = 1 }, true },
		{ "SSE without x87", { .nr_xcrs = 1, .xcrs[0] = { .value = 2 } }, true },
		{ "AVX without SSE", { .nr_xcrs = 1, .xcrs[0] = { .value = 5 } }, true },
		{ "bit 62", { .nr_xcrs = 1, .xcrs[0] = { .value = 1ull << 62 | 3 } }, true },
		{ "flags", { .nr_xcrs = 1, .flags = 1, .xcrs[0] = { .value = 3 } }, true },
		{ "too many", { .nr_xcrs = KVM_MAX_XCRS + 1, .xcrs[0] = { .value = 3 } }, true },
	};
	struct guest *g = guest_create(MODE_LONG);
	u64 before = 1;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		context("%s", rows[i].name);
		expect_errno(ioctl(g->vcpu, KVM_SET_XCRS, &rows[i].xcrs), rows[i].refused ? EINVAL : 0);
		if (!rows[i].refused)
			before = rows[i].xcrs.xcrs[0].value;
		expect_eq(GET(g, XCRS, struct kvm_xcrs)->xcrs[0].value, before);
	}
}

static void debug_registers(void)
{
	static const struct {
		const char *name;
		struct kvm_debugregs d;
		bool refused;
	} rows[] = {
#define DR(...) { __VA_ARGS__ }
#define DEBUGREGS(dr, sixth, seventh)                  \
	{                                              \
		.db = dr, .dr6 = sixth, .dr7 = seventh \
	}
		{ "all", DEBUGREGS(DR(0x1000, 0x2000, 0x3000, 0xffff800000004000), 0xffff4ff1, 0x400), false },
		{ "fixed bits", DEBUGREGS(DR(0), 0xffff0ff0, 0x400), false },
		{ "DR6 with high bits", DEBUGREGS(DR(1), 1ull << 32 | 0xffff0ff0, 0x400), true },
		{ "DR7 with high bits", DEBUGREGS(DR(1), 0xffff0ff0, 1ull << 32 | 0x400), true },
		{ "flags", { .db = { 1 }, .dr6 = 0xffff0ff0, .dr7 = 0x400, .flags = 1 }, true },
	};
	struct guest *g = guest_create(MODE_LONG);
	struct kvm_debugregs before = *GET(g, DEBUGREGS, struct kvm_debugregs), *after;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		context("%s", rows[i].name);
		expect_errno(ioctl(g->vcpu, KVM_SET_DEBUGREGS, &rows[i].d), rows[i].refused ? EINVAL : 0);
		if (!rows[i].refused)
			before = rows[i].d;
		after = GET(g, DEBUGREGS, struct kvm_debugregs);
		expect_bytes(after, &before, sizeof(before));
	}
}

/* Registers of the local APIC: task priority, logical destination, spurious vector, LVT, timer's divisor. */
static void local_apic(void)
{
	static const struct {
		u16 offset;
		u32 value;
	} rows[] = { { 0x80, 0x35 },	 { 0xd0, 0x02000000 }, { 0xf0, 0x1ff },
		     { 0x350, 0x10700 }, { 0x370, 0x100fe },   { 0x3e0, 0xb } };
	struct guest *g = full_machine();
	struct kvm_lapic_state *lapic = GET(g, LAPIC, struct kvm_lapic_state), *back;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++)
		memcpy(lapic->regs + rows[i].offset, &rows[i].value, sizeof(u32));
	expect_errno(ioctl(g->vcpu, KVM_SET_LAPIC, lapic), 0);
	back = GET(g, LAPIC, struct kvm_lapic_state);
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		context("register %#x", rows[i].offset);
		expect_eq(*(u32 *)(back->regs + rows[i].offset), rows[i].value);
	}
	expect_eq(guest_sregs(g).cr8, 3);
}

/* The first vCPU begins to run, the others wait for INIT and SIPI; without local APICs in the kernel nobody waits. */
static void mp_states(void)
{
	static const u32 states[] = { KVM_MP_STATE_HALTED, KVM_MP_STATE_INIT_RECEIVED, KVM_MP_STATE_UNINITIALIZED,
				      KVM_MP_STATE_RUNNABLE };
	struct guest *g = full_machine();
	struct kvm_mp_state state;
	unsigned int i;
	int second = ioctl(g->vm, KVM_CREATE_VCPU, 1);

	expect_eq(GET(g, MP_STATE, struct kvm_mp_state)->mp_state, KVM_MP_STATE_RUNNABLE);
	expect_errno(ioctl(second, KVM_GET_MP_STATE, &state), 0);
	expect_eq(state.mp_state, KVM_MP_STATE_UNINITIALIZED);
	for (i = 0; i < ARRAY_SIZE(states); i++) {
		state.mp_state = states[i];
		expect_errno(ioctl(second, KVM_SET_MP_STATE, &state), 0);
		expect_errno(ioctl(second, KVM_GET_MP_STATE, &state), 0);
		expect_eq(state.mp_state, states[i]);
	}
	guest_destroy(g);
	g = guest_create(MODE_LONG);
	expect_eq(GET(g, MP_STATE, struct kvm_mp_state)->mp_state, KVM_MP_STATE_RUNNABLE);
	state.mp_state = KVM_MP_STATE_RUNNABLE;
	expect_errno(ioctl(g->vcpu, KVM_SET_MP_STATE, &state), 0);
	state.mp_state = KVM_MP_STATE_HALTED;
	expect_errno(ioctl(g->vcpu, KVM_SET_MP_STATE, &state), EINVAL);
}

/* -- KVM_RUN ----------------------------------------------------------------------------------------------------- */

static void mapping(void)
{
	struct guest *g = guest_create(MODE_LONG);
	int size = ioctl(g->device, KVM_GET_VCPU_MMAP_SIZE, 0);

	expect(size >= (int)sizeof(struct kvm_run));
	expect_eq(size % PAGE, 0);
	expect_errno(ioctl(g->vcpu, KVM_RUN, 1), EINVAL);
}

static void immediate_exit(void)
{
	struct guest *g = guest_create(MODE_LONG);

	guest_load(g, CODE64("mov $1, %eax"));
	expect_errno(ioctl(g->vcpu, KVM_SET_REGS, &g->regs), 0);
	g->run->immediate_exit = 1;
	expect_errno(ioctl(g->vcpu, KVM_RUN, 0), EINTR);
	expect_eq(GET(g, REGS, struct kvm_regs)->rip, GUEST_CODE);
	g->run->immediate_exit = 0;
	guest_run(g);
	expect_end(g);
	expect_eq(g->regs.rax, 1);
}

/* A signal that the thread blocks, and KVM_SET_SIGNAL_MASK does not, ends KVM_RUN before the guest runs, and stays. */
static void signal_mask(void)
{
	struct guest *g = guest_create(MODE_LONG);
	struct mask none = { .head.len = 8 };
	sigset_t set, pending;
	int number;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	raise(SIGUSR1);
	guest_load(g, CODE64("mov $1, %eax"));
	expect_errno(ioctl(g->vcpu, KVM_SET_REGS, &g->regs), 0);
	expect_errno(ioctl(g->vcpu, KVM_SET_SIGNAL_MASK, &none), 0);
	expect_errno(ioctl(g->vcpu, KVM_RUN, 0), EINTR);
	expect_eq(g->run->exit_reason, KVM_EXIT_INTR);
	expect_eq(GET(g, REGS, struct kvm_regs)->rip, GUEST_CODE);
	sigpending(&pending);
	expect(sigismember(&pending, SIGUSR1));
	sigwait(&set, &number);
	guest_run(g);
	expect_end(g);

	context("without a mask it goes on");
	raise(SIGUSR1);
	expect_errno(ioctl(g->vcpu, KVM_SET_SIGNAL_MASK, NULL), 0);
	guest_load(g, CODE64("mov $1, %eax"));
	guest_start(g);
	expect_end(g);
}

static const struct test tests[] = {
	{ "every ioctl", every_ioctl },
	{ "ioctls that are not there", unknown_ioctls },
	{ "capabilities and their ioctls", capabilities },
	{ "capabilities that are switched on", enabling },
	{ "and are promised", enabling_is_promised },
	{ "every capability's number", capability_numbers },
	{ "limits", limits },
	{ "memory slots", slots },
	{ "general registers", general_registers },
	{ "system registers", system_registers },
	{ "system registers of each mode", modes },
	{ "system registers that are refused", refused_system_registers },
	{ "FPU", fpu },
	{ "XSAVE", xsave },
	{ "XSAVE images that are refused", refused_xsave },
	{ "XCRs", xcrs },
	{ "debug registers", debug_registers },
	{ "local APIC", local_apic },
	{ "MP states", mp_states },
	{ "KVM_RUN and its mapping", mapping },
	{ "immediate exit", immediate_exit },
	{ "signal mask", signal_mask },
};

KTAP_MAIN(tests)
