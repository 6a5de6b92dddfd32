// SPDX-License-Identifier: GPL-2.0
/*
 * Clients that do all of it wrong: arguments out of range, the wrong file, bad pointers, the wrong order, two threads
 * at once, after fork, after the files are closed, and dying in the middle. Each call gets KVM's error, and
 * afterwards nothing of it is left in the kernel. (That the kernel had nothing to complain of is looked at from
 * outside.)
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "calls.h"

/* A zeroed struct, with what lies behind it. */
static void *zeroes(void)
{
	static u8 area[4 * PAGE];

	return memset(area, 0, sizeof(area));
}

static struct guest *spinner(void)
{
	struct guest *g = machine(WITH_VCPU);

	guest_load(g, CODE64("1: out %al, $0x10; jmp 1b"));
	if (ioctl(g->vcpu, KVM_SET_REGS, &g->regs))
		die("KVM_SET_REGS");
	return g;
}

/* -- numbers ----------------------------------------------------------------------------------------------------- */

static bool knows(enum file file, u32 cmd)
{
	unsigned int i;

	for (i = 0; i < nr_calls; i++)
		if (calls[i].file == file && calls[i].cmd == cmd)
			return true;
	/* Stock KVM's alone. */
	return (file == DEVICE && cmd == KVM_GET_MSRS) || (file == VM && cmd == KVM_GET_TSC_KHZ);
}

static const int unknown[NR_FILES] = { [DEVICE] = EINVAL, [VM] = ENOTTY, [VCPU] = EINVAL };

static void test_wrong_file(void)
{
	struct guest *g = machine(WITH_ALL);
	enum file file;
	unsigned int i;

	for (i = 0; i < nr_calls; i++) {
		for (file = DEVICE; file < NR_FILES; file++) {
			context("%s of file %u", calls[i].name, file);
			if (!knows(file, calls[i].cmd))
				expect_errno(ioctl(file_of(g, file), calls[i].cmd, zeroes()), unknown[file]);
		}
	}
}

static void test_wrong_number(void)
{
	struct guest *g = machine(WITH_ALL);
	enum file file;
	unsigned int i;

	for (i = 0; i < nr_calls; i++) {
		if (calls[i].raw)
			continue;
		context("%s with a longer struct", calls[i].name);
		expect_errno(ioctl(file_of(g, calls[i].file), calls[i].cmd + (8 << _IOC_SIZESHIFT), zeroes()),
			     unknown[calls[i].file]);
	}
	for (file = DEVICE; file < NR_FILES; file++) {
		context("file %u", file);
		expect_errno(ioctl(file_of(g, file), _IO(KVMIO, 0xfe), 0), unknown[file]);
		expect_errno(ioctl(file_of(g, file), _IO('P', 0x80), 0), unknown[file]);
		expect_errno(ioctl(file_of(g, file), 0, 0), unknown[file]);
	}
}

/* -- pointers ---------------------------------------------------------------------------------------------------- */

/* Ends where nothing is mapped, so that structs can be there in part. */
static u8 *end_of_page(void)
{
	u8 *start = pages(2 * PAGE);

	if (munmap(start + PAGE, PAGE))
		die("munmap");
	return start + PAGE;
}

/* A VM without vCPUs for the VM's calls: some of them are too late once there is one. */
static struct guest *machine_for(enum file file)
{
	return machine(file == VM ? WITH_CHIPS : WITH_ALL);
}

static void test_bad_pointers(void)
{
	u8 *end = end_of_page(), *none = pages(PAGE);
	void *const bad[] = { (void *)8,
			      end,
			      end - 1,
			      none,
			      (void *)-4096ul,
			      (void *)0xffff888000000000ul,
			      (void *)0x7ffffffff000ul,
			      (void *)(1ul << 63) };
	unsigned int i, j;
	struct guest *g;

	if (mprotect(none, PAGE, PROT_NONE))
		die("mprotect");
	for (i = 0; i < nr_calls; i++) {
		if (!call_takes_pointer(&calls[i]))
			continue;
		g = machine_for(calls[i].file);
		for (j = 0; j < ARRAY_SIZE(bad); j++) {
			context("%s at %p", calls[i].name, bad[j]);
			expect_errno(ioctl(file_of(g, calls[i].file), calls[i].cmd, bad[j]), EFAULT);
		}
		if (!calls[i].raw) {
			context("%s, one byte short", calls[i].name);
			expect_errno(ioctl(file_of(g, calls[i].file), calls[i].cmd, end - _IOC_SIZE(calls[i].cmd) + 1),
				     EFAULT);
		}
		guest_destroy(g);
	}
}

static void test_readonly_pointers(void)
{
	struct guest *g;
	unsigned int i;
	void *arg;

	for (i = 0; i < nr_calls; i++) {
		if (!call_takes_pointer(&calls[i]) || !call_writes_back(&calls[i]) || calls[i].raw)
			continue;
		g = machine_for(calls[i].file);
		arg = pages(4 * PAGE);
		if (mprotect(arg, 4 * PAGE, PROT_READ))
			die("mprotect");
		context("%s into read-only memory", calls[i].name);
		expect_errno(ioctl(file_of(g, calls[i].file), calls[i].cmd, arg), EFAULT);
		munmap(arg, 4 * PAGE);
		guest_destroy(g);
	}
}

/* -- arguments --------------------------------------------------------------------------------------------------- */

#define DATA(type, ...) .data = &(type){ __VA_ARGS__ }, .size = sizeof(type)
#define MEMORY(...) DATA(struct kvm_userspace_memory_region, __VA_ARGS__)
#define USER 0x10000000ul /* a page-aligned address; whether something is there does not matter */

/* Headers whose variable part follows. */
struct routing {
	struct kvm_irq_routing head;
	struct kvm_irq_routing_entry entries[2];
};

struct msrs {
	struct kvm_msrs head;
	struct kvm_msr_entry entries[2];
};

static const struct bad_call {
	const char *name;
	enum extent extent;
	enum file file;
	u32 cmd;
	unsigned long value; /* the argument, if there is no data */
	const void *data;
	u32 size;
	int error;
} bad_calls[] = {
	{ "an argument to KVM_GET_API_VERSION", BARE, DEVICE, KVM_GET_API_VERSION, 1, .error = EINVAL },
	{ "an argument to KVM_GET_VCPU_MMAP_SIZE", BARE, DEVICE, KVM_GET_VCPU_MMAP_SIZE, 1, .error = EINVAL },
	{ "a VM of an unknown type", BARE, DEVICE, KVM_CREATE_VM, 77, .error = EINVAL },
	{ "an unknown capability", BARE, DEVICE, KVM_CHECK_EXTENSION, 0xffffffff, .error = 0 },
	{ "the same of a VM", BARE, VM, KVM_CHECK_EXTENSION, 0xffffffff, .error = 0 },
	{ "no room for CPUID", BARE, DEVICE, KVM_GET_SUPPORTED_CPUID, DATA(struct kvm_cpuid2, .nent = 0), E2BIG },
	{ "little room for CPUID", BARE, DEVICE, KVM_GET_SUPPORTED_CPUID, DATA(struct kvm_cpuid2, .nent = 1), E2BIG },
	{ "no room for MSRs", BARE, DEVICE, KVM_GET_MSR_INDEX_LIST, DATA(struct kvm_msr_list, .nmsrs = 0), E2BIG },

	{ "vCPU -1", BARE, VM, KVM_CREATE_VCPU, -1ul, .error = EINVAL },
	{ "vCPU 4096", BARE, VM, KVM_CREATE_VCPU, 4096, .error = EINVAL },
	{ "vCPU 0 twice", WITH_VCPU, VM, KVM_CREATE_VCPU, 0, .error = EEXIST },

	{ "a slot of half a page", BARE, VM, KVM_SET_USER_MEMORY_REGION,
	  MEMORY(.slot = 9, .guest_phys_addr = 1 << 30, .memory_size = 2048, .userspace_addr = USER), EINVAL },
	{ "a slot that begins within a page", BARE, VM, KVM_SET_USER_MEMORY_REGION,
	  MEMORY(.slot = 9, .guest_phys_addr = (1 << 30) + 512, .memory_size = PAGE, .userspace_addr = USER), EINVAL },
	{ "a slot of memory that begins within a page", BARE, VM, KVM_SET_USER_MEMORY_REGION,
	  MEMORY(.slot = 9, .guest_phys_addr = 1 << 30, .memory_size = PAGE, .userspace_addr = USER + 1), EINVAL },
	{ "a slot of kernel memory", BARE, VM, KVM_SET_USER_MEMORY_REGION,
	  MEMORY(.slot = 9, .guest_phys_addr = 1 << 30, .memory_size = PAGE, .userspace_addr = 0xffff888000000000),
	  EINVAL },
	{ "a slot whose memory reaches into the kernel", BARE, VM, KVM_SET_USER_MEMORY_REGION,
	  MEMORY(.slot = 9, .guest_phys_addr = 1 << 30, .memory_size = 1ul << 40, .userspace_addr = 0x7fff00000000),
	  EINVAL },
	{ "a slot of non-canonical memory", BARE, VM, KVM_SET_USER_MEMORY_REGION,
	  MEMORY(.slot = 9, .guest_phys_addr = 1 << 30, .memory_size = PAGE, .userspace_addr = 1ul << 62), EINVAL },
	{ "a slot that wraps", BARE, VM, KVM_SET_USER_MEMORY_REGION,
	  MEMORY(.slot = 9, .guest_phys_addr = -4096ul, .memory_size = 2 * PAGE, .userspace_addr = USER), EINVAL },
	{ "a slot of 2^44 pages", BARE, VM, KVM_SET_USER_MEMORY_REGION,
	  MEMORY(.slot = 9, .guest_phys_addr = 1ul << 32, .memory_size = 1ul << 56, .userspace_addr = USER), EINVAL },
	{ "a slot with unknown flags", BARE, VM, KVM_SET_USER_MEMORY_REGION,
	  MEMORY(.slot = 9, .flags = 1 << 7, .guest_phys_addr = 1 << 30, .memory_size = PAGE, .userspace_addr = USER),
	  EINVAL },
	{ "slot 32767", BARE, VM, KVM_SET_USER_MEMORY_REGION,
	  MEMORY(.slot = 32767, .guest_phys_addr = 1 << 30, .memory_size = PAGE, .userspace_addr = USER), EINVAL },
	{ "a slot in an unknown address space", BARE, VM, KVM_SET_USER_MEMORY_REGION,
	  MEMORY(.slot = 7 << 16, .guest_phys_addr = 1 << 30, .memory_size = PAGE, .userspace_addr = USER), EINVAL },
	{ "a slot upon another", BARE, VM, KVM_SET_USER_MEMORY_REGION,
	  MEMORY(.slot = 9, .guest_phys_addr = 0x9f000, .memory_size = 2 * PAGE, .userspace_addr = USER), EEXIST },
	{ "a slot of another size", BARE, VM, KVM_SET_USER_MEMORY_REGION,
	  MEMORY(.slot = 0, .memory_size = PAGE, .userspace_addr = USER), EINVAL },
	{ "no such slot to delete", BARE, VM, KVM_SET_USER_MEMORY_REGION, MEMORY(.slot = 9), EINVAL },
	{ "the log of no slot", BARE, VM, KVM_GET_DIRTY_LOG,
	  DATA(struct kvm_dirty_log, .slot = 9, .dirty_bitmap = NULL), ENOENT },
	{ "the log of a slot without one", BARE, VM, KVM_GET_DIRTY_LOG, DATA(struct kvm_dirty_log, .slot = 0), ENOENT },
	{ "the log of slot 2^16 - 1", BARE, VM, KVM_GET_DIRTY_LOG, DATA(struct kvm_dirty_log, .slot = 0xffff), EINVAL },
	{ "a TSS at the end of 32 bits", BARE, VM, KVM_SET_TSS_ADDR, 0xffffffff, .error = EINVAL },
	{ "an identity map too late", WITH_VCPU, VM, KVM_SET_IDENTITY_MAP_ADDR, DATA(u64, 0xfffbc000), EINVAL },
	{ "a boot CPU too late", WITH_VCPU, VM, KVM_SET_BOOT_CPU_ID, 1, .error = EBUSY },

	{ "controllers after vCPUs", WITH_VCPU, VM, KVM_CREATE_IRQCHIP, 0, .error = EINVAL },
	{ "controllers twice", WITH_CHIPS, VM, KVM_CREATE_IRQCHIP, 0, .error = EEXIST },
	{ "two PITs", WITH_CHIPS, VM, KVM_CREATE_PIT2, DATA(struct kvm_pit_config), EEXIST },
	{ "the state of no controller", BARE, VM, KVM_GET_IRQCHIP, DATA(struct kvm_irqchip), ENXIO },
	{ "the state of controller 3", WITH_CHIPS, VM, KVM_GET_IRQCHIP, DATA(struct kvm_irqchip, .chip_id = 3),
	  EINVAL },
	{ "a state for no controller", BARE, VM, KVM_SET_IRQCHIP, DATA(struct kvm_irqchip), ENXIO },
	{ "a state for controller 3", WITH_CHIPS, VM, KVM_SET_IRQCHIP, DATA(struct kvm_irqchip, .chip_id = 3), EINVAL },
	{ "the state of no PIT", BARE, VM, KVM_GET_PIT2, DATA(struct kvm_pit_state2), ENXIO },
	{ "a state for no PIT", BARE, VM, KVM_SET_PIT2, DATA(struct kvm_pit_state2), ENXIO },
	{ "reinjection of no PIT", BARE, VM, KVM_REINJECT_CONTROL, DATA(struct kvm_reinject_control), ENXIO },
	{ "a GSI of no controller", BARE, VM, KVM_IRQ_LINE, DATA(struct kvm_irq_level, .irq = 4), ENXIO },
	{ "the same with an answer", BARE, VM, KVM_IRQ_LINE_STATUS, DATA(struct kvm_irq_level, .irq = 4), ENXIO },
	{ "a message without controllers", BARE, VM, KVM_SIGNAL_MSI, DATA(struct kvm_msi, .address_lo = 0xfee00000),
	  EINVAL },
	{ "a message with flags", WITH_ALL, VM, KVM_SIGNAL_MSI,
	  DATA(struct kvm_msi, .address_lo = 0xfee00000, .flags = 2), EINVAL },
	{ "routes with flags", WITH_CHIPS, VM, KVM_SET_GSI_ROUTING, DATA(struct routing, .head.flags = 1), EINVAL },
	{ "4097 routes", WITH_CHIPS, VM, KVM_SET_GSI_ROUTING, DATA(struct routing, .head.nr = 4097), EINVAL },
	{ "a route of an unknown type", WITH_CHIPS, VM, KVM_SET_GSI_ROUTING,
	  DATA(struct routing, .head.nr = 1, .entries[0].type = 77), EINVAL },
	{ "a route with flags", WITH_CHIPS, VM, KVM_SET_GSI_ROUTING,
	  DATA(struct routing, .head.nr = 1, .entries[0] = { .type = KVM_IRQ_ROUTING_IRQCHIP, .flags = 8 }), EINVAL },
	{ "a route of GSI 4096", WITH_CHIPS, VM, KVM_SET_GSI_ROUTING,
	  DATA(struct routing, .head.nr = 1, .entries[0] = { .type = KVM_IRQ_ROUTING_IRQCHIP, .gsi = 4096 }), EINVAL },
	{ "a route to controller 3", WITH_CHIPS, VM, KVM_SET_GSI_ROUTING,
	  DATA(struct routing, .head.nr = 1, .entries[0] = { .type = KVM_IRQ_ROUTING_IRQCHIP, .u.irqchip.irqchip = 3 }),
	  EINVAL },
	{ "a route to pin 24", WITH_CHIPS, VM, KVM_SET_GSI_ROUTING,
	  DATA(struct routing, .head.nr = 1,
	       .entries[0] = { .type = KVM_IRQ_ROUTING_IRQCHIP, .u.irqchip = { .irqchip = 2, .pin = 24 } }),
	  EINVAL },
	{ "two routes of a GSI to one controller", WITH_CHIPS, VM, KVM_SET_GSI_ROUTING,
	  DATA(struct routing, .head.nr = 2,
	       .entries = { { .type = KVM_IRQ_ROUTING_IRQCHIP, .gsi = 1 },
			    { .type = KVM_IRQ_ROUTING_IRQCHIP, .gsi = 1 } }),
	  EINVAL },
	{ "an irqfd that is no file", WITH_CHIPS, VM, KVM_IRQFD, DATA(struct kvm_irqfd, .fd = 9999), EBADF },
	{ "an irqfd that is no eventfd", WITH_CHIPS, VM, KVM_IRQFD, DATA(struct kvm_irqfd, .fd = 0), EINVAL },
	{ "an irqfd with flags", WITH_CHIPS, VM, KVM_IRQFD, DATA(struct kvm_irqfd, .flags = 1 << 9), EINVAL },
	{ "an ioeventfd of 3 bytes", BARE, VM, KVM_IOEVENTFD,
	  DATA(struct kvm_ioeventfd, .addr = 1 << 30, .len = 3, .fd = 9999), EINVAL },
	{ "an ioeventfd that wraps", BARE, VM, KVM_IOEVENTFD,
	  DATA(struct kvm_ioeventfd, .addr = -2, .len = 4, .fd = 9999), EINVAL },
	{ "an ioeventfd with flags", BARE, VM, KVM_IOEVENTFD,
	  DATA(struct kvm_ioeventfd, .addr = 1 << 30, .len = 4, .flags = 1 << 9), EINVAL },
	{ "an ioeventfd for nothing of 0 bytes", BARE, VM, KVM_IOEVENTFD,
	  DATA(struct kvm_ioeventfd, .addr = 1 << 30, .flags = KVM_IOEVENTFD_FLAG_DATAMATCH), EINVAL },
	{ "an ioeventfd that is no file", BARE, VM, KVM_IOEVENTFD,
	  DATA(struct kvm_ioeventfd, .addr = 1 << 30, .len = 4, .fd = 9999), EBADF },

	{ "an argument to KVM_RUN", WITH_VCPU, VCPU, KVM_RUN, 1, .error = EINVAL },
	{ "an FPU state with an unknown bit of MXCSR", WITH_VCPU, VCPU, KVM_SET_XSAVE,
	  DATA(struct kvm_xsave, .region[6] = 1u << 31, .region[128] = 2), EINVAL },
	{ "an XSAVE image of an unknown component", WITH_VCPU, VCPU, KVM_SET_XSAVE,
	  DATA(struct kvm_xsave, .region[129] = 1u << 30), EINVAL },
	{ "a compacted XSAVE image", WITH_VCPU, VCPU, KVM_SET_XSAVE,
	  DATA(struct kvm_xsave, .region[128] = 3, .region[131] = 1u << 31), EINVAL },
	{ "XCR0 without x87", WITH_VCPU, VCPU, KVM_SET_XCRS, DATA(struct kvm_xcrs, .nr_xcrs = 1), EINVAL },
	{ "XCR0 with AVX but SSE", WITH_VCPU, VCPU, KVM_SET_XCRS,
	  DATA(struct kvm_xcrs, .nr_xcrs = 1, .xcrs[0].value = 5), EINVAL },
	{ "XCR0 with everything", WITH_VCPU, VCPU, KVM_SET_XCRS,
	  DATA(struct kvm_xcrs, .nr_xcrs = 1, .xcrs[0].value = -1), EINVAL },
	{ "17 XCRs", WITH_VCPU, VCPU, KVM_SET_XCRS, DATA(struct kvm_xcrs, .nr_xcrs = 17), EINVAL },
	{ "XCRs with flags", WITH_VCPU, VCPU, KVM_SET_XCRS, DATA(struct kvm_xcrs, .flags = 1), EINVAL },
	{ "DR6 with high bits", WITH_VCPU, VCPU, KVM_SET_DEBUGREGS, DATA(struct kvm_debugregs, .dr6 = 1ul << 32),
	  EINVAL },
	{ "DR7 with high bits", WITH_VCPU, VCPU, KVM_SET_DEBUGREGS, DATA(struct kvm_debugregs, .dr7 = 1ul << 32),
	  EINVAL },
	{ "debug registers with flags", WITH_VCPU, VCPU, KVM_SET_DEBUGREGS, DATA(struct kvm_debugregs, .flags = 1),
	  EINVAL },
	{ "2^20 MSRs to read", WITH_VCPU, VCPU, KVM_GET_MSRS, DATA(struct msrs, .head.nmsrs = 1 << 20), E2BIG },
	{ "2^32 - 1 MSRs to write", WITH_VCPU, VCPU, KVM_SET_MSRS, DATA(struct msrs, .head.nmsrs = -1), E2BIG },
	{ "an unknown MSR to read", WITH_VCPU, VCPU, KVM_GET_MSRS,
	  DATA(struct msrs, .head.nmsrs = 1, .entries[0].index = 0x12345) },
	{ "an unknown MSR to write", WITH_VCPU, VCPU, KVM_SET_MSRS,
	  DATA(struct msrs, .head.nmsrs = 1, .entries[0].index = 0x12345) },
	{ "2^20 CPUID leaves", WITH_VCPU, VCPU, KVM_SET_CPUID2, DATA(struct kvm_cpuid2, .nent = 1 << 20), E2BIG },
	{ "no room for the CPUID leaves", WITH_VCPU, VCPU, KVM_GET_CPUID2, DATA(struct kvm_cpuid2, .nent = 1), E2BIG },
	{ "the registers of no local APIC", WITH_VCPU, VCPU, KVM_GET_LAPIC, DATA(struct kvm_lapic_state), EINVAL },
	{ "registers for no local APIC", WITH_VCPU, VCPU, KVM_SET_LAPIC, DATA(struct kvm_lapic_state), EINVAL },
	{ "an unknown state of activity", WITH_ALL, VCPU, KVM_SET_MP_STATE, DATA(struct kvm_mp_state, 99), EINVAL },
	{ "halted without a local APIC", WITH_VCPU, VCPU, KVM_SET_MP_STATE,
	  DATA(struct kvm_mp_state, KVM_MP_STATE_HALTED), EINVAL },
	{ "exception 32", WITH_VCPU, VCPU, KVM_SET_VCPU_EVENTS,
	  DATA(struct kvm_vcpu_events, .exception = { .injected = 1, .nr = 32 }), EINVAL },
	{ "exception 2", WITH_VCPU, VCPU, KVM_SET_VCPU_EVENTS,
	  DATA(struct kvm_vcpu_events, .exception = { .injected = 1, .nr = 2 }), EINVAL },
	{ "events with flags", WITH_VCPU, VCPU, KVM_SET_VCPU_EVENTS, DATA(struct kvm_vcpu_events, .flags = 1u << 31),
	  EINVAL },
	{ "interrupt 256", WITH_VCPU, VCPU, KVM_INTERRUPT, DATA(struct kvm_interrupt, 256), EINVAL },
	{ "an interrupt past the controllers", WITH_ALL, VCPU, KVM_INTERRUPT, DATA(struct kvm_interrupt, 32), ENXIO },
	{ "a signal mask of 3 bytes", WITH_VCPU, VCPU, KVM_SET_SIGNAL_MASK, DATA(struct kvm_signal_mask, .len = 3),
	  EINVAL },
	{ "a TPR where no memory is", WITH_ALL, VCPU, KVM_SET_VAPIC_ADDR, DATA(struct kvm_vapic_addr, 1ul << 40),
	  EINVAL },
	{ "a TPR at the end", WITH_ALL, VCPU, KVM_SET_VAPIC_ADDR, DATA(struct kvm_vapic_addr, -1ul), EINVAL },
	{ "accesses to TPR, with flags", WITH_ALL, VCPU, KVM_TPR_ACCESS_REPORTING,
	  DATA(struct kvm_tpr_access_ctl, .enabled = 1, .flags = 1), EINVAL },
	{ "no TPR, without a local APIC", WITH_VCPU, VCPU, KVM_SET_VAPIC_ADDR, DATA(struct kvm_vapic_addr, 0), EINVAL },
	{ "no bank of machine checks", WITH_VCPU, VCPU, KVM_X86_SETUP_MCE, DATA(u64, 0), EINVAL },
	{ "33 banks of machine checks", WITH_VCPU, VCPU, KVM_X86_SETUP_MCE, DATA(u64, 33), EINVAL },
	{ "unknown machine-check capabilities", WITH_VCPU, VCPU, KVM_X86_SETUP_MCE, DATA(u64, 1ul << 40 | 1), EINVAL },
};

static void test_arguments(void)
{
	struct guest *machines[NR_EXTENTS];
	const struct bad_call *c;
	unsigned long arg;
	unsigned int i;

	for (i = 0; i < NR_EXTENTS; i++)
		machines[i] = machine(i);
	for (i = 0; i < ARRAY_SIZE(bad_calls); i++) {
		c = &bad_calls[i];
		context("%s", c->name);
		arg = c->value;
		if (c->data)
			arg = (unsigned long)memcpy(zeroes(), c->data, c->size);
		expect_errno(ioctl(file_of(machines[c->extent], c->file), c->cmd, arg), c->error);
	}
}

/* Control registers that contradict each other, changed from those of 64-bit mode. */
static void test_control_registers(void)
{
	static const struct {
		const char *name;
		u64 cr0, cr4, efer; /* bits that change */
	} changes[] = {
		{ "CR0 with high bits", .cr0 = 1ul << 32 },    { "CR0.PG without PE", .cr0 = CR0_PE },
		{ "CR0.NW without CD", .cr0 = CR0_NW },	       { "long mode without PAE", .cr4 = CR4_PAE },
		{ "long mode without LMA", .efer = EFER_LMA }, { "LMA without LME", .efer = EFER_LME },
		{ "CR4 with unknown bits", .cr4 = 1ul << 31 }, { "CR4 with high bits", .cr4 = 1ul << 40 },
	};
	struct guest *g = machine(WITH_VCPU);
	const struct kvm_sregs good = guest_sregs(g);
	struct kvm_sregs s;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(changes); i++) {
		context("%s", changes[i].name);
		s = good;
		s.cr0 ^= changes[i].cr0;
		s.cr4 ^= changes[i].cr4;
		s.efer ^= changes[i].efer;
		expect_errno(ioctl(g->vcpu, KVM_SET_SREGS, &s), EINVAL);
	}
	expect_errno(ioctl(g->vcpu, KVM_SET_SREGS, &good), 0);
}

/* -- orders ------------------------------------------------------------------------------------------------------ */

/* A vCPU of which nothing was set, in a VM without memory. KVM_RUN may fail or say that it got nowhere. */
static void test_run_of_nothing(void)
{
	int device = open_device(), vm = ioctl(device, KVM_CREATE_VM, 0), vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	struct kvm_run *run = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);

	if (!ioctl(vcpu, KVM_RUN, 0))
		expect(run->exit_reason == KVM_EXIT_INTERNAL_ERROR || run->exit_reason == KVM_EXIT_MMIO ||
		       run->exit_reason == KVM_EXIT_SHUTDOWN);
	expect_errno(ioctl(vcpu, KVM_GET_REGS, zeroes()), 0);
}

/* After fork the child's memory is another: the VM's files are of no use to it. */
static void test_fork(void)
{
	struct guest *g = machine(WITH_ALL);
	int status;
	pid_t pid = fork();

	if (!pid) {
		expect_errno(ioctl(g->vm, KVM_CHECK_EXTENSION, KVM_CAP_IRQCHIP), EIO);
		expect_errno(ioctl(g->vm, KVM_CREATE_VCPU, 5), EIO);
		expect_errno(ioctl(g->vcpu, KVM_GET_REGS, zeroes()), EIO);
		expect_errno(ioctl(g->vcpu, KVM_RUN, 0), EIO);
		exit(failed());
	}
	expect(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && !WEXITSTATUS(status));
	expect_errno(ioctl(g->vcpu, KVM_GET_REGS, zeroes()), 0);
}

/* A vCPU holds on to its VM, its mapping to the vCPU. */
static void test_closed_files(void)
{
	struct guest *g = spinner();

	close(g->device);
	close(g->vm);
	expect_errno(ioctl(g->vcpu, KVM_RUN, 0), 0);
	expect_eq(g->run->exit_reason, KVM_EXIT_IO);
	close(g->vcpu);
	expect_eq(g->run->exit_reason, KVM_EXIT_IO);
	expect_errno(ioctl(g->vcpu, KVM_RUN, 0), EBADF);
	expect_errno(ioctl(g->vm, KVM_CREATE_VCPU, 0), EBADF);
}

static void test_mappings(void)
{
	struct guest *g = machine(WITH_VCPU);
	volatile u8 *more;
	int size = ioctl(g->device, KVM_GET_VCPU_MMAP_SIZE, 0), status;
	pid_t pid;

	expect(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, g->vm, 0) == MAP_FAILED);
	expect(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, g->device, 0) == MAP_FAILED);
	/* Beyond the end of what there is to map. */
	more = mmap(NULL, 64 * PAGE, PROT_READ, MAP_SHARED, g->vcpu, 0);
	if (more == MAP_FAILED)
		return;
	pid = fork();
	if (!pid) {
		signal(SIGBUS, SIG_DFL);
		exit(more[size]);
	}
	expect(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
}

/* -- several threads --------------------------------------------------------------------------------------------- */

static volatile bool stop;

struct thread {
	pthread_t id;
	struct guest *g;
	unsigned int number;
};

static void *run_again_and_again(void *argument)
{
	struct thread *t = argument;

	start_timer();
	while (!stop)
		ioctl(t->g->vcpu, KVM_RUN, 0);
	return NULL;
}

static void *all_calls_again_and_again(void *argument)
{
	struct thread *t = argument;
	u8 *area = pages(4 * PAGE);
	unsigned int i = t->number;
	const struct call *call;

	start_timer();
	while (!stop) {
		call = &calls[i++ % nr_calls];
		memset(area, 0, PAGE);
		if (call->cmd != KVM_CREATE_VM && call->cmd != KVM_SET_USER_MEMORY_REGION &&
		    call->cmd != KVM_CREATE_VCPU)
			ioctl(file_of(t->g, call->file), call->cmd, _IOC_DIR(call->cmd) ? area : 0);
	}
	return NULL;
}

static void *slots_again_and_again(void *argument)
{
	struct thread *t = argument;
	struct kvm_userspace_memory_region region = { .slot = 2 + t->number,
						      .guest_phys_addr = (32 + t->number) * MiB };
	unsigned int i;

	region.userspace_addr = (u64)t->g->memory;
	for (i = 0; !stop; i++) {
		region.memory_size = i % 2 ? 0 : MiB;
		region.flags = i % 4 ? 0 : KVM_MEM_LOG_DIRTY_PAGES;
		ioctl(t->g->vm, KVM_SET_USER_MEMORY_REGION, &region);
	}
	return NULL;
}

/* vCPUs with the same numbers, at once; each may be made by one only. */
static void *vcpus_again_and_again(void *argument)
{
	struct thread *t = argument;
	unsigned int i;
	int fd;

	for (i = 1; i < 32 && !stop; i++) {
		fd = ioctl(t->g->vm, KVM_CREATE_VCPU, i);
		if (fd < 0 && errno != EEXIST)
			fail("vCPU %u: %s", i, strerrorname_np(errno));
		close(fd);
	}
	return NULL;
}

static void test_threads(void)
{
	static void *(*const functions[])(void *) = {
		run_again_and_again,   run_again_and_again,   all_calls_again_and_again, all_calls_again_and_again,
		slots_again_and_again, slots_again_and_again, vcpus_again_and_again,	 vcpus_again_and_again,
	};
	struct thread threads[ARRAY_SIZE(functions)];
	struct guest *g = spinner();
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(functions); i++) {
		threads[i] = (struct thread){ .g = g, .number = i };
		if (pthread_create(&threads[i].id, NULL, functions[i], &threads[i]))
			die("pthread_create");
	}
	sleep(2);
	stop = true;
	for (i = 0; i < ARRAY_SIZE(functions); i++)
		pthread_join(threads[i].id, NULL);
	/* And it is still alive. */
	expect_errno(ioctl(g->vcpu, KVM_GET_REGS, zeroes()), 0);
}

/* Closed under a thread that is in KVM_RUN. */
static void test_close_while_running(void)
{
	struct guest *g = machine(WITH_VCPU);
	struct thread t = { .g = g };

	guest_load(g, CODE64("1: jmp 1b"));
	if (ioctl(g->vcpu, KVM_SET_REGS, &g->regs))
		die("KVM_SET_REGS");
	if (pthread_create(&t.id, NULL, run_again_and_again, &t))
		die("pthread_create");
	usleep(20000);
	close(g->vm);
	close(g->vcpu);
	usleep(20000);
	stop = true;
	pthread_join(t.id, NULL);
}

/* -- death ------------------------------------------------------------------------------------------------------- */

static void die_busy(void)
{
	static void *(*const functions[])(void *) = { run_again_and_again, all_calls_again_and_again,
						      slots_again_and_again };
	struct guest *g = spinner();
	struct thread threads[3];
	unsigned int i;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (i = 0; i < 3; i++) {
		threads[i] = (struct thread){ .g = g, .number = i };
		pthread_create(&threads[i].id, NULL, functions[i], &threads[i]);
	}
	pause();
}

static void test_death(void)
{
	unsigned int i;
	int status;
	pid_t pid;

	for (i = 0; i < 20; i++) {
		pid = fork();
		if (!pid)
			die_busy();
		usleep(10000 + i * 3000);
		kill(pid, SIGKILL);
		expect(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
	}
}

/* -- what is left ------------------------------------------------------------------------------------------------ */

/* The sum of the values in a file of lines "NAME VALUE". */
static long proc_value(const char *file, const char *name)
{
	FILE *f = fopen(file, "r");
	char line[256], *at;
	long value = 0;

	if (!f)
		die("%s", file);
	while (fgets(line, sizeof(line), f)) {
		at = line + strspn(line, " ");
		if (!strncmp(at, name, strlen(name)))
			value += atol(at + strlen(name));
	}
	fclose(f);
	return value;
}

/*
 * Kernel memory in KiB, by its kind. Pages that the kernel has allocated as such are in no count: they are what is
 * missing when all counts are taken from the whole.
 */
static const char *const kinds[] = { "SUnreclaim:", "VmallocUsed:", "Percpu:", "PageTables:", "KernelStack:" };
static const char *const others[] = { "MemFree:", "Buffers:", "Cached:", "AnonPages:", "SReclaimable:" };

struct usage {
	long kind[ARRAY_SIZE(kinds)], rest, files;
};

/* After a while: much is freed only when an RCU grace period is over. */
static struct usage usage(void)
{
	struct usage u;
	unsigned int i;

	usleep(500000);
	proc_value("/proc/sys/vm/stat_refresh", ""); /* makes the counts exact */
	u.rest = proc_value("/proc/meminfo", "MemTotal:") - proc_value("/proc/zoneinfo", "count:") * (PAGE / 1024);
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		u.kind[i] = proc_value("/proc/meminfo", kinds[i]);
		u.rest -= u.kind[i];
	}
	for (i = 0; i < ARRAY_SIZE(others); i++)
		u.rest -= proc_value("/proc/meminfo", others[i]);
	u.files = proc_value("/proc/sys/fs/file-nr", "");
	return u;
}

static void a_whole_life(void)
{
	struct guest *g = machine(WITH_ALL);
	struct kvm_irqfd irqfd = { .fd = eventfd(0, 0), .gsi = 5 };
	struct kvm_ioeventfd ioeventfd = { .addr = 1 << 30, .len = 4, .fd = irqfd.fd };

	ioctl(g->vm, KVM_IRQFD, &irqfd);
	ioctl(g->vm, KVM_IOEVENTFD, &ioeventfd);
	guest_load(g, CODE64("mov %eax, 0x20000; mov %eax, 0x800000; out %al, $0x10"));
	guest_start(g);
	expect_exit(g, KVM_EXIT_IO);
	close(irqfd.fd);
	guest_destroy(g);
}

#define LIVES 200
/* Of noise: what other parts of the kernel take meanwhile. A page a life would be 800 KiB. */
#define TOLERANCE 400

static void expect_no_more(const char *what, long after, long before, long tolerance)
{
	if (after - before > tolerance)
		fail("%s: %ld more than before", what, after - before);
}

static void test_leaks(void)
{
	struct usage before, after;
	unsigned int i;

	/*
	 * KASAN keeps for a while what was freed; kmemleak is the better witness, and is heard when all tests are over.
	 */
	if (!access("/sys/kernel/debug/kmemleak", F_OK))
		skip("the kernel looks for leaks itself");
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	for (i = 0; i < LIVES / 4; i++)
		a_whole_life();
	before = usage();
	for (i = 0; i < LIVES; i++)
		a_whole_life();
	after = usage();
	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		expect_no_more(kinds[i], after.kind[i], before.kind[i], TOLERANCE);
	expect_no_more("KiB that are in no count", after.rest, before.rest, TOLERANCE);
	expect_no_more("open files", after.files, before.files, LIVES / 2); /* counted by the dozen on each CPU */
}

static const struct test tests[] = {
	{ "calls of the wrong file", test_wrong_file },
	{ "calls with the wrong number", test_wrong_number },
	{ "bad pointers", test_bad_pointers },
	{ "read-only pointers", test_readonly_pointers },
	{ "arguments out of range, and in the wrong order", test_arguments },
	{ "control registers that contradict each other", test_control_registers },
	{ "a vCPU of which nothing was set", test_run_of_nothing },
	{ "after fork", test_fork },
	{ "after the files are closed", test_closed_files },
	{ "mappings", test_mappings },
	{ "from many threads at once", test_threads },
	{ "closed while running", test_close_while_running },
	{ "killed in the middle", test_death },
	{ "nothing is left behind", test_leaks },
};

KTAP_MAIN(tests)
