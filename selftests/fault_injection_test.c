// SPDX-License-Identifier: GPL-2.0
/*
 * fault_injection_test - no memory: each allocation that an ioctl makes is made to fail, one after the other, and so is each
 * copy from and to the client; and one allocation in a hundred while a machine is built, runs and goes. Each call fails
 * cleanly or succeeds, and can be made again. Needs a kernel with fault injection (make test KERNEL=debug).
 * Source: the kernel's Documentation/fault-injection/fault-injection.rst.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest.h"

#define DEBUGFS "/sys/kernel/debug/"
#define LOGGED_SLOT 3
#define LOGGED_GPA 0x8000000ul
#define LOGGED_SIZE (4 * MiB)

static int fail_nth;
static unsigned int nr_injected;

static void write_setting(const char *kind, const char *name, const char *value)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), DEBUGFS "%s/%s", kind, name);
	fd = open(path, O_WRONLY);
	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		skip("no fault injection: %s: %s", path, strerror(errno));
	close(fd);
}

static void both_kinds(const char *name, const char *value)
{
	write_setting("failslab", name, value);
	write_setting("fail_page_alloc", name, value);
}

static void prepare(void)
{
	both_kinds("ignore-gfp-wait", "N");
	both_kinds("verbose", "0");
	write_setting("fail_usercopy", "verbose", "0");
	write_setting("fail_page_alloc", "ignore-gfp-highmem", "N");
	write_setting("fail_page_alloc", "min-order", "0");
}

/* -- one after the other ------------------------------------------------------------------------------------------ */

/* The nth allocation or copy of this thread from now on fails; 0: none. */
static long try_inject(unsigned int nth)
{
	char text[16];

	return pwrite(fail_nth, text, snprintf(text, sizeof(text), "%u", nth), 0);
}

static void inject(unsigned int nth)
{
	if (try_inject(nth) <= 0)
		die("fail-nth");
}

/* Whether it did. These two calls copy as well: if it is one of them that fails, the call before had not so many. */
static bool injected(void)
{
	char text[16] = "";
	bool hit = pread(fail_nth, text, sizeof(text) - 1, 0) > 0 && !atoi(text);

	try_inject(0);
	return hit;
}

static void judge(const char *what, unsigned int nth, bool hit, int error)
{
	nr_injected += hit;
	if (!hit)
		fail("%s: %s without a reason", what, strerrorname_np(error));
	else if (error != ENOMEM && error != EFAULT)
		fail("%s: %s when allocation or copy %u failed", what, strerrorname_np(error), nth);
}

/* Calls until it succeeds, with one more allocation or copy that succeeds each time. */
#define TRY(call)                                              \
	({                                                     \
		unsigned int nth = 0;                          \
		bool hit;                                      \
		long r;                                        \
                                                               \
		do {                                           \
			inject(++nth);                         \
			r = (call);                            \
			error = errno;                         \
			hit = injected();                      \
			if (r < 0)                             \
				judge(#call, nth, hit, error); \
		} while (r < 0 && nth < 500 && !failed());     \
		if (r < 0)                                     \
			exit(1);                               \
		r;                                             \
	})

static int error;

static void set_slot(int vm, u32 flags, u64 gpa, void *start, u64 size)
{
	struct kvm_userspace_memory_region region = { .slot = LOGGED_SLOT,
						      .flags = flags,
						      .guest_phys_addr = gpa,
						      .memory_size = size,
						      .userspace_addr = (u64)start };

	TRY(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region));
}

static void try_interrupts(int vm)
{
	struct kvm_pit_config pit = {};
	struct kvm_irqfd irqfd = {
		.fd = eventfd(0, 0), .gsi = 5, .resamplefd = eventfd(0, 0), .flags = KVM_IRQFD_FLAG_RESAMPLE
	};
	struct kvm_ioeventfd ioeventfd = { .addr = 0x510, .len = 1, .fd = irqfd.fd, .flags = KVM_IOEVENTFD_FLAG_PIO };
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry entry;
	} routing = { .head.nr = 1, .entry = { .gsi = 24, .type = KVM_IRQ_ROUTING_MSI } };

	TRY(ioctl(vm, KVM_CREATE_IRQCHIP, 0));
	TRY(ioctl(vm, KVM_CREATE_PIT2, &pit));
	TRY(ioctl(vm, KVM_IRQFD, &irqfd));
	TRY(ioctl(vm, KVM_IOEVENTFD, &ioeventfd));
	TRY(ioctl(vm, KVM_SET_GSI_ROUTING, &routing));
	irqfd.flags |= KVM_IRQFD_FLAG_DEASSIGN;
	TRY(ioctl(vm, KVM_IRQFD, &irqfd));
	ioeventfd.flags |= KVM_IOEVENTFD_FLAG_DEASSIGN;
	TRY(ioctl(vm, KVM_IOEVENTFD, &ioeventfd));
}

static void try_memory(struct guest *g)
{
	struct kvm_dirty_log log = { .slot = LOGGED_SLOT, .dirty_bitmap = pages(PAGE) };
	u8 *start = pages(LOGGED_SIZE);

	set_slot(g->vm, 0, LOGGED_GPA, start, LOGGED_SIZE);
	set_slot(g->vm, KVM_MEM_LOG_DIRTY_PAGES, LOGGED_GPA, start, LOGGED_SIZE);
	/* With second-stage tables and pages to be made on the way. */
	guest_load(g, CODE64("mov $0x8000000, %eax; mov $0x100, %ecx\n1: addl $1, (%rax); add $0x4000, %eax; loop 1b"));
	TRY(ioctl(g->vcpu, KVM_SET_REGS, &g->regs));
	TRY(ioctl(g->vcpu, KVM_RUN, 0));
	expect_eq(g->run->exit_reason, KVM_EXIT_HLT);
	TRY(ioctl(g->vm, KVM_GET_DIRTY_LOG, &log));
	expect_eq(((u64 *)log.dirty_bitmap)[0], 0x1111111111111111);
	set_slot(g->vm, KVM_MEM_LOG_DIRTY_PAGES, LOGGED_GPA + PAGE, start, LOGGED_SIZE);
	set_slot(g->vm, 0, 0, NULL, 0);
}

static void try_state(struct guest *g)
{
	struct kvm_cpuid2 *cpuid = supported_cpuid(g->device);
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} msrs = { .head.nmsrs = 1, .entry.index = 0x10 };
	static struct kvm_xsave xsave;
	struct kvm_lapic_state lapic;

	TRY(ioctl(g->device, KVM_GET_SUPPORTED_CPUID, cpuid));
	TRY(ioctl(g->vcpu, KVM_SET_CPUID2, cpuid));
	TRY(ioctl(g->vcpu, KVM_GET_MSRS, &msrs));
	TRY(ioctl(g->vcpu, KVM_SET_MSRS, &msrs));
	TRY(ioctl(g->vcpu, KVM_GET_XSAVE, &xsave));
	TRY(ioctl(g->vcpu, KVM_SET_XSAVE, &xsave));
	TRY(ioctl(g->vcpu, KVM_GET_LAPIC, &lapic));
	TRY(ioctl(g->vcpu, KVM_SET_LAPIC, &lapic));
}

static void test_each(void)
{
	struct guest *g;
	int device, vm;

	prepare();
	fail_nth = open("/proc/thread-self/fail-nth", O_RDWR);
	if (fail_nth < 0)
		skip("no fail-nth");
	device = TRY(open(device_path, O_RDWR));
	vm = TRY(ioctl(device, KVM_CREATE_VM, 0));
	try_interrupts(vm);
	TRY(ioctl(vm, KVM_CREATE_VCPU, 0));
	close(vm);

	g = guest_create(MODE_LONG);
	try_memory(g);
	guest_destroy(g);

	g = guest_create_vm();
	TRY(ioctl(g->vm, KVM_CREATE_IRQCHIP, 0));
	guest_create_vcpu(g);
	try_state(g);
	guest_destroy(g);
	diag("%u allocations and copies failed", nr_injected);
	expect(nr_injected > 20);
}

/* -- one in a hundred --------------------------------------------------------------------------------------------- */

static long nr_failed;

static long attempt(int fd, unsigned long cmd, void *arg)
{
	long r;

	for (;;) {
		r = ioctl(fd, cmd, arg);
		if (r >= 0)
			return r;
		nr_failed++;
		if (errno != ENOMEM && errno != EINTR) {
			fail("ioctl %#lx: %s", cmd, strerror(errno));
			return r;
		}
	}
}

/* A machine by hand: the library gives up when a call fails. Real mode, code at 0x1000 that touches 200 pages. */
static void build_and_run(int device, u8 *memory)
{
	static const u8 code[] = { 0xb9, 0xc8, 0x00,		 /* mov $200, %cx */
				   0xb8, 0x00, 0x02, 0x8e, 0xd8, /* 1: mov $0x200, %ax; mov %ax, %ds */
				   0xff, 0x06, 0x00, 0x00,	 /* incw 0 */
				   0xe2, 0xfa,			 /* loop: back to the incw */
				   0xf4 };
	struct kvm_userspace_memory_region region = { .memory_size = MiB, .userspace_addr = (u64)memory };
	struct kvm_sregs sregs;
	struct kvm_regs regs = { .rip = 0x1000, .rflags = 2 };
	struct kvm_run *run;
	int vm, vcpu;

	memcpy(memory + 0x1000, code, sizeof(code));
	vm = attempt(device, KVM_CREATE_VM, 0);
	attempt(vm, KVM_SET_USER_MEMORY_REGION, &region);
	region.flags = KVM_MEM_LOG_DIRTY_PAGES;
	attempt(vm, KVM_SET_USER_MEMORY_REGION, &region);
	vcpu = attempt(vm, KVM_CREATE_VCPU, 0);
	while ((run = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0)) == MAP_FAILED)
		nr_failed++;
	attempt(vcpu, KVM_GET_SREGS, &sregs);
	sregs.cs.base = sregs.cs.selector = 0;
	attempt(vcpu, KVM_SET_SREGS, &sregs);
	attempt(vcpu, KVM_SET_REGS, &regs);
	attempt(vcpu, KVM_RUN, 0);
	expect_eq(run->exit_reason, KVM_EXIT_HLT);
	munmap(run, 2 * PAGE);
	close(vcpu);
	close(vm);
}

static void test_some(void)
{
	unsigned int i, rounds = is_long() ? 5000 : 100;
	int device = open_device(), me;

	prepare();
	both_kinds("task-filter", "Y");
	both_kinds("times", "-1");
	both_kinds("interval", "1");
	both_kinds("probability", "1");
	me = open("/proc/self/make-it-fail", O_WRONLY);
	if (me < 0 || write(me, "1", 1) != 1)
		skip("no make-it-fail");
	for (i = 0; i < rounds && !failed(); i++) {
		u8 *memory = mmap(NULL, MiB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (memory == MAP_FAILED)
			continue;
		build_and_run(device, memory);
		munmap(memory, MiB);
	}
	both_kinds("probability", "0");
	diag("%ld calls failed", nr_failed);
	expect(nr_failed > 0);
}

static const struct test tests[] = {
	{ "each allocation and each copy of each call", test_each },
	{ "one allocation in a hundred", test_some },
};

KTAP_MAIN(tests)
