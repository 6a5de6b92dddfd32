// SPDX-License-Identifier: GPL-2.0
/*
 * tiles_test - AMX: the tiles of guests whose client has asked the kernel for them, those of the client itself, and IA32_XFD.
 * Source: SDM volume 1, "Programming with Intel Advanced Matrix Extensions" and "Extended Feature Disable (XFD)"; the
 * kernel's Documentation/x86/xstate.rst.
 */
#define _GNU_SOURCE
#include <asm/prctl.h>
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guest.h"

#define MSR_XFD 0x1c4
#define MSR_XFD_ERR 0x1c5

#define TILECFG (1u << 17)
#define TILEDATA (1u << 18)
#define TILES (TILECFG | TILEDATA)
#define TILEDATA_COMPONENT 18
#define XSTATE_BV (512 / 4)

#define TILE_SIZE 1024
#define TILES_SIZE (8 * TILE_SIZE)
#define CFG_SIZE 64

/* Of the guest's memory. */
#define CFG GUEST_FREE
#define DATA (GUEST_FREE + 0x1000)
#define STORED (GUEST_FREE + 0x4000)

/* Sets CR4.OSXSAVE, and XCR0 = EBP. */
#define ENABLE \
	"mov %cr4, %rax; or $0x40600, %eax; mov %rax, %cr4; xor %ecx, %ecx; xor %edx, %edx; mov %ebp, %eax; xsetbv\n"

/* All eight tiles, of 16 rows of 64 bytes, from and to memory. */
#define ROWS(instruction)                                                                                        \
	instruction(0) instruction(1) instruction(2) instruction(3) instruction(4) instruction(5) instruction(6) \
		instruction(7)
#define LOAD(n) "tileloadd " #n "*1024(%%rsi,%%rbx,1), %%tmm" #n "\n"
#define STORE(n) "tilestored %%tmm" #n ", " #n "*1024(%%rdx,%%rbx,1)\n"
#define GUEST_LOAD(n) "tileloadd " #n "*1024(%rsi,%rbx,1), %tmm" #n "\n"
#define GUEST_STORE(n) "tilestored %tmm" #n ", " #n "*1024(%rdx,%rbx,1)\n"

#define LOAD_TILES "mov $0x20000, %edi; ldtilecfg (%rdi); mov $0x21000, %esi; mov $64, %ebx\n" ROWS(GUEST_LOAD)
#define STORE_TILES "mov $0x24000, %edx; mov $64, %ebx\n" ROWS(GUEST_STORE)
#define WRITE_XFD(value) "mov $0x1c4, %ecx; mov $" #value ", %eax; xor %edx, %edx; wrmsr\n"

/* Palette 1; the bytes of a row, then the rows, of each tile. */
static void fill_cfg(u8 *cfg)
{
	unsigned int i;

	memset(cfg, 0, CFG_SIZE);
	cfg[0] = 1;
	for (i = 0; i < 8; i++) {
		cfg[16 + 2 * i] = 64;
		cfg[48 + i] = 16;
	}
}

static void fill_data(u8 *data, unsigned int seed)
{
	unsigned int i;

	for (i = 0; i < TILES_SIZE; i++)
		data[i] = (i * 2654435761u >> 13) + seed * 101;
}

/* -- permission --------------------------------------------------------------------------------------------------- */

static u64 supported(int device)
{
	u64 value = 0;
	struct kvm_device_attr attribute = { .attr = KVM_X86_XCOMP_GUEST_SUPP, .addr = (u64)&value };

	expect_errno(ioctl(device, KVM_HAS_DEVICE_ATTR, &attribute), 0);
	expect_errno(ioctl(device, KVM_GET_DEVICE_ATTR, &attribute), 0);
	return value;
}

static void need_tiles(void)
{
	int device = open_device();

	if ((supported(device) & TILES) != TILES)
		skip("there is no AMX");
	close(device);
	expect_errno(syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_GUEST_PERM, TILEDATA_COMPONENT), 0);
}

/* A vCPU that may use them. */
static struct guest *create(void)
{
	struct guest *g = guest_create(MODE_LONG);

	fill_cfg(g->memory + CFG);
	fill_data(g->memory + DATA, 1);
	return g;
}

static u32 xcr0_of(struct kvm_cpuid2 *cpuid)
{
	return find_cpuid(cpuid, 0xd, 0)->eax;
}

static void load(struct guest *g, struct code code)
{
	guest_load(g, code);
	g->regs.rbp = xcr0_of(supported_cpuid(g->device));
}

static void attributes(void)
{
	int device = open_device();
	struct kvm_device_attr attribute = { .attr = KVM_X86_XCOMP_GUEST_SUPP, .addr = 8 };
	struct kvm_cpuid2 *cpuid = supported_cpuid(device);

	expect(ioctl(device, KVM_CHECK_EXTENSION, KVM_CAP_SYS_ATTRIBUTES) > 0);
	expect_eq(supported(device) & xcr0_of(cpuid), xcr0_of(cpuid));
	expect_errno(ioctl(device, KVM_GET_DEVICE_ATTR, &attribute), EFAULT);
	attribute.attr = 1;
	expect_errno(ioctl(device, KVM_HAS_DEVICE_ATTR, &attribute), ENXIO);
	expect_errno(ioctl(device, KVM_GET_DEVICE_ATTR, &attribute), ENXIO);
	attribute.attr = KVM_X86_XCOMP_GUEST_SUPP;
	attribute.group = 1;
	expect_errno(ioctl(device, KVM_HAS_DEVICE_ATTR, &attribute), ENXIO);
}

/* Who did not ask does not get them, wherever it tries. Also where there are none. */
static void not_asked(void)
{
	struct guest *g = guest_create(MODE_LONG);
	struct kvm_cpuid2 *cpuid = supported_cpuid(g->device);
	struct kvm_xcrs xcrs = { .nr_xcrs = 1, .xcrs[0].value = xcr0_of(cpuid) | TILES };
	u32 *image = guest_xsave(g);
	const struct code enable = CODE64(ENABLE);

	expect_eq(xcr0_of(cpuid) & TILES, 0);
	expect(!find_cpuid(cpuid, 0xd, 17));
	expect(!find_cpuid(cpuid, 0xd, 18));
	expect_eq(ioctl(g->device, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2), sizeof(struct kvm_xsave));
	expect_errno(ioctl(g->vcpu, KVM_SET_XCRS, &xcrs), EINVAL);
	image[XSTATE_BV] |= TILEDATA;
	expect_errno(ioctl(g->vcpu, KVM_SET_XSAVE, image), EINVAL);
	expect(!guest_set_msr(g, MSR_XFD, TILEDATA));
	guest_load(g, enable);
	g->regs.rbp = xcrs.xcrs[0].value;
	guest_start(g);
	expect_trap(g, VECTOR_GP, 0, enable.end - enable.start - 3); /* at XSETBV */
	guest_destroy(g);

	g = guest_create_vm();
	guest_create_vcpu(g);
	find_cpuid(cpuid, 0xd, 0)->eax |= TILES;
	expect_errno(ioctl(g->vcpu, KVM_SET_CPUID2, cpuid), EPERM);
}

static void told(void)
{
	struct kvm_cpuid2 *cpuid;
	struct guest *g;

	need_tiles();
	g = create();
	cpuid = supported_cpuid(g->device);
	expect_eq(xcr0_of(cpuid) & TILES, TILES);
	expect_eq(find_cpuid(cpuid, 0xd, 17)->eax, CFG_SIZE);
	expect_eq(find_cpuid(cpuid, 0xd, 18)->eax, TILES_SIZE);
	expect_eq(find_cpuid(cpuid, 0xd, 18)->ecx & 4, 4); /* IA32_XFD can disable it */
	expect_eq(find_cpuid(cpuid, 0xd, 1)->eax & 16, 16);
	expect_eq(find_cpuid(cpuid, 7, 0)->edx >> 24 & 1, 1);
	expect(find_cpuid(cpuid, 0, 0)->eax >= 0x1e);
	/* Palette 1: bytes of all tiles and of one; of a row, and how many tiles; rows. */
	expect_eq(find_cpuid(cpuid, 0x1d, 0)->eax, 1);
	expect_eq(find_cpuid(cpuid, 0x1d, 1)->eax, TILE_SIZE << 16 | TILES_SIZE);
	expect_eq(find_cpuid(cpuid, 0x1d, 1)->ebx, 8 << 16 | 64);
	expect_eq(find_cpuid(cpuid, 0x1d, 1)->ecx, 16);
	expect_eq(find_cpuid(cpuid, 0x1e, 0)->ebx, 64 << 8 | 16);
}

/* The image is larger than the old struct with tiles, and only with them. */
static void sizes(void)
{
	struct kvm_cpuid2 *cpuid;
	struct kvm_xsave xsave;
	struct guest *g;
	u32 *image;

	need_tiles();
	g = create();
	cpuid = supported_cpuid(g->device);
	expect_eq(ioctl(g->device, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2), find_cpuid(cpuid, 0xd, 0)->ecx);
	expect_errno(ioctl(g->vcpu, KVM_GET_XSAVE, &xsave), EINVAL);
	image = guest_xsave(g);
	image[XSTATE_BV] |= TILEDATA;
	expect_errno(ioctl(g->vcpu, KVM_SET_XSAVE, image), 0);
	guest_destroy(g);

	g = guest_create_vm();
	find_cpuid(cpuid, 0xd, 0)->eax &= ~TILES;
	g->vcpu = ioctl(g->vm, KVM_CREATE_VCPU, 0);
	expect_errno(ioctl(g->vcpu, KVM_SET_CPUID2, cpuid), 0);
	expect_errno(ioctl(g->vcpu, KVM_GET_XSAVE, &xsave), 0);
	expect_errno(ioctl(g->vcpu, KVM_SET_XSAVE, image), EINVAL);
}

/* SDM volume 1, "Enabling the XSAVE Feature Set and XSAVE-Enabled Features": both or none. */
static void enables(void)
{
	static const u32 rows[] = { TILES, TILECFG, TILEDATA };
	const struct code enable = CODE64(ENABLE);
	unsigned int i;

	need_tiles();
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct guest *g = create();
		struct kvm_xcrs xcrs = { .nr_xcrs = 1, .xcrs[0].value = 3 | rows[i] };

		context("XCR0 %#x", 3 | rows[i]);
		expect_errno(ioctl(g->vcpu, KVM_SET_XCRS, &xcrs), rows[i] == TILES ? 0 : EINVAL);
		guest_load(g, enable);
		g->regs.rbp = 3 | rows[i];
		guest_start(g);
		if (rows[i] == TILES)
			expect_end(g);
		else
			expect_trap(g, VECTOR_GP, 0, enable.end - enable.start - 3);
		guest_destroy(g);
	}
}

/* -- what is in them ---------------------------------------------------------------------------------------------- */

static void expect_stored(struct guest *g)
{
	expect_bytes(g->memory + STORED, g->memory + DATA, TILES_SIZE);
}

static void kept(void)
{
	struct guest *g;
	u8 *image;

	need_tiles();
	g = create();
	load(g, CODE64(ENABLE LOAD_TILES "hlt; xor %eax, %eax; cpuid; hlt\n" STORE_TILES));
	guest_start(g);
	expect_end(g);
	image = guest_xsave(g);
	expect_eq(((u32 *)image)[XSTATE_BV] & TILES, TILES);
	expect_bytes(image + find_cpuid(supported_cpuid(g->device), 0xd, 17)->ebx, g->memory + CFG, CFG_SIZE);
	expect_bytes(image + find_cpuid(supported_cpuid(g->device), 0xd, 18)->ebx, g->memory + DATA, TILES_SIZE);
	g = guest_moved(g);
	guest_run(g);
	expect_end(g);
	guest_run(g);
	expect_end(g);
	expect_stored(g);
}

static void load_own(const u8 *cfg, const u8 *data)
{
	asm volatile("ldtilecfg (%0)\n" ROWS(LOAD) : : "r"(cfg), "S"(data), "b"(64ul) : "memory");
}

static void store_own(u8 *data)
{
	asm volatile(ROWS(STORE) : : "d"(data), "b"(64ul) : "memory");
}

static void move_to(unsigned int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu % sysconf(_SC_NPROCESSORS_ONLN), &set);
	sched_setaffinity(0, sizeof(set), &set);
}

#define ROUNDS 20

/* Two guests and their client, each with tiles of its own, one of the guests with IA32_XFD set half of the time. */
static void apart(void)
{
	static u8 cfg[CFG_SIZE], data[TILES_SIZE], stored[TILES_SIZE];
	struct guest *g[2];
	unsigned int i, round;

	need_tiles();
	expect_errno(syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILEDATA_COMPONENT), 0);
	fill_cfg(cfg);
	fill_data(data, 9);
	load_own(cfg, data);
	for (i = 0; i < 2; i++) {
		g[i] = create();
		fill_data(g[i]->memory + DATA, 2 + i);
		load(g[i], i ? CODE64(ENABLE LOAD_TILES "mov $20, %r8d\n"
							"1: " WRITE_XFD(0x40000) "hlt\n" WRITE_XFD(
								0) "hlt; dec %r8d; jnz 1b\n" STORE_TILES)
			     : CODE64(ENABLE LOAD_TILES "mov $40, %r8d; 1: hlt; dec %r8d; jnz 1b\n" STORE_TILES));
		guest_start(g[i]);
		expect_end(g[i]);
	}
	for (round = 0; round < 2 * ROUNDS; round++) {
		for (i = 0; i < 2; i++) {
			guest_run(g[i]);
			expect_end(g[i]);
			store_own(stored);
			expect_bytes(stored, data, TILES_SIZE);
		}
		move_to(round);
	}
	for (i = 0; i < 2; i++)
		expect_stored(g[i]);
}

static sigjmp_buf refusal;

static void refused(int number)
{
	siglongjmp(refusal, number);
}

static bool may_use_tiles(const u8 *cfg)
{
	if (sigsetjmp(refusal, 1))
		return false;
	asm volatile("ldtilecfg (%0); tilezero %%tmm0; tilerelease" : : "r"(cfg) : "memory");
	return true;
}

/* The client has asked for its guests only: IA32_XFD keeps it from tiles, whatever the guest's is. */
static void not_for_client(void)
{
	struct sigaction action = { .sa_handler = refused };
	static u8 cfg[CFG_SIZE];
	struct guest *g;

	need_tiles();
	sigaction(SIGILL, &action, NULL);
	fill_cfg(cfg);
	expect(!may_use_tiles(cfg));
	g = create();
	load(g, CODE64(ENABLE LOAD_TILES "hlt\n" WRITE_XFD(0x40000) "hlt"));
	guest_start(g);
	expect_end(g);
	expect(!may_use_tiles(cfg));
	guest_run(g);
	expect_end(g);
	expect(!may_use_tiles(cfg));
}

/* -- IA32_XFD ----------------------------------------------------------------------------------------------------- */

#define READ_BOTH "mov $0x1c4, %ecx; rdmsr; mov %eax, %esi; mov $0x1c5, %ecx; rdmsr; mov %eax, %edi\n"

/* #NM, IA32_XFD_ERR tells why; on another vCPU too. The guest lifts it, and its tiles are as they were. */
static void disabled(void)
{
	const struct code before = CODE64(ENABLE LOAD_TILES WRITE_XFD(0x40000) "mov $64, %ebx; mov $0x21000, %esi\n");
	struct guest *g;
	u64 value;

	need_tiles();
	g = create();
	load(g, CODE64(ENABLE LOAD_TILES WRITE_XFD(0x40000) "mov $64, %ebx; mov $0x21000, %esi\n"
							    "tileloadd (%rsi,%rbx,1), %tmm0"));
	guest_start(g);
	if (!expect_trap(g, VECTOR_NM, NO_ERROR, before.end - before.start))
		return;
	expect(guest_get_msr(g, MSR_XFD_ERR, &value));
	expect_eq(value, TILEDATA);
	expect(guest_get_msr(g, MSR_XFD, &value));
	expect_eq(value, TILEDATA);

	guest_load(g, CODE64(READ_BOTH "hlt\n" READ_BOTH "xor %eax, %eax; wrmsr; rdmsr; mov %eax, %ebp\n" WRITE_XFD(0)
				     STORE_TILES));
	guest_start(g);
	expect_end(g);
	expect_eq(g->regs.rsi, TILEDATA);
	expect_eq(g->regs.rdi, TILEDATA);
	g = guest_moved(g);
	g->regs.rsi = g->regs.rdi = 0;
	guest_run(g);
	expect_end(g);
	expect_eq(g->regs.rbp, 0);
	expect_stored(g);
	expect(guest_get_msr(g, MSR_XFD_ERR, &value));
	expect_eq(value, 0);
}

/* Bits of what cannot be disabled, and a guest whose CPUID has no XFD. */
static void refused_values(void)
{
	static const struct {
		u32 msr;
		u64 value;
		bool xfd, refused;
	} rows[] = {
		{ MSR_XFD, TILEDATA, true, false },   { MSR_XFD, TILECFG, true, true },
		{ MSR_XFD, 1, true, true },	      { MSR_XFD, TILEDATA | 1ul << 40, true, true },
		{ MSR_XFD, 0, false, true },	      { MSR_XFD_ERR, TILEDATA, true, false },
		{ MSR_XFD_ERR, TILECFG, true, true }, { MSR_XFD_ERR, 0, false, true },
	};
	unsigned int i;

	need_tiles();
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct guest *g = create();
		struct kvm_cpuid2 *cpuid = supported_cpuid(g->device);

		context("MSR %#x, value %#lx, XFD %u", rows[i].msr, rows[i].value, rows[i].xfd);
		if (!rows[i].xfd) {
			find_cpuid(cpuid, 0xd, 1)->eax &= ~16u;
			expect_errno(ioctl(g->vcpu, KVM_SET_CPUID2, cpuid), 0);
		}
		guest_load(g, CODE64("wrmsr; rdmsr"));
		g->regs.rcx = rows[i].msr;
		g->regs.rax = (u32)rows[i].value;
		g->regs.rdx = rows[i].value >> 32;
		guest_start(g);
		if (rows[i].refused)
			expect_trap(g, VECTOR_GP, 0, 0);
		else if (expect_end(g))
			expect_eq(g->regs.rax | g->regs.rdx << 32, rows[i].value);
		guest_destroy(g);
	}
}

static bool listed(int device, u32 index)
{
	struct kvm_msr_list *list = calloc(1, sizeof(*list) + 256 * sizeof(u32));
	unsigned int i;

	list->nmsrs = 256;
	expect_errno(ioctl(device, KVM_GET_MSR_INDEX_LIST, list), 0);
	for (i = 0; i < list->nmsrs; i++)
		if (list->indices[i] == index)
			return true;
	return false;
}

/* What a migration has to take along. */
static void listed_msrs(void)
{
	int device = open_device();
	bool tiles = (supported(device) & TILES) == TILES;

	expect_eq(listed(device, MSR_XFD), tiles);
	expect_eq(listed(device, MSR_XFD_ERR), tiles);
}

static const struct test tests[] = {
	{ "what guests can have: a device attribute", attributes },
	{ "a client that has not asked", not_asked },
	{ "CPUID", told },
	{ "the size of the image", sizes },
	{ "XCR0", enables },
	{ "tiles over exits, ioctls and another vCPU", kept },
	{ "tiles of two guests and of their client", apart },
	{ "a client that has asked for its guests only", not_for_client },
	{ "IA32_XFD: #NM", disabled },
	{ "IA32_XFD: what it takes", refused_values },
	{ "IA32_XFD in the list of MSRs", listed_msrs },
};

KTAP_MAIN(tests)
