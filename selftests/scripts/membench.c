// SPDX-License-Identifier: GPL-2.0
/*
 * membench DEVICE: what guest memory costs, in TSC ticks, which are instructions in Bochs and in QEMU with --icount; and
 * what of the host's memory it takes, in KiB. A line a row: name, cost. `make membench` runs it on /dev/pith and on stock
 * KVM's /dev/kvm in the same L1.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <x86intrin.h>

#define PAGE 4096ul
#define MiB (1ul << 20)
#define SIZE (32 * MiB)
#define GPA 0x40000000ul
#define CODE 0x1000ul
#define FIRST_SLOT 8 /* of those that are only there */

typedef uint64_t u64;

static int device, vm, vcpu;

static void need(long r, const char *what)
{
	if (r >= 0)
		return;
	perror(what);
	exit(1);
}

static void set_slot(unsigned int slot, u64 gpa, void *start, u64 size, unsigned int flags)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot, .flags = flags, .guest_phys_addr = gpa, .memory_size = size, .userspace_addr = (u64)start
	};

	need(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
}

static void *map(u64 size, int advice)
{
	u64 start = (u64)mmap(NULL, size + 2 * MiB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			      -1, 0);

	start = (start + 2 * MiB - 1) & -(2 * MiB);
	madvise((void *)start, size, advice);
	return (void *)start;
}

/* Writes to ECX places from ESI on, EDX apart. */
static const unsigned char code[] = { 0x89, 0x06,	/* 1: mov %eax, (%esi) */
				      0x01, 0xd6,	/* add %edx, %esi */
				      0x49, 0x75, 0xf9, /* dec %ecx; jnz 1b */
				      0xf4 };		/* hlt */

static void make_vm(void)
{
	static char *low;
	struct kvm_segment flat = { .limit = ~0u, .selector = 8, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1 };
	struct kvm_sregs sregs;

	if (!low) {
		low = map(2 * PAGE, MADV_NORMAL);
		memcpy(low + CODE, code, sizeof(code));
	}
	vm = ioctl(device, KVM_CREATE_VM, 0);
	need(vm, "KVM_CREATE_VM");
	need(ioctl(vm, KVM_SET_TSS_ADDR, 0xfffbd000), "KVM_SET_TSS_ADDR");
	set_slot(0, 0, low, 2 * PAGE, 0);
	vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	need(vcpu, "KVM_CREATE_VCPU");
	need(ioctl(vcpu, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
	sregs.ds = sregs.es = sregs.ss = sregs.fs = sregs.gs = flat;
	sregs.cs = flat;
	sregs.cs.type = 11;
	sregs.cr0 |= 1;
	need(ioctl(vcpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
}

static void end_vm(void)
{
	close(vcpu);
	close(vm);
}

/* Ticks that the guest takes to write to so many places. */
static u64 touch(u64 gpa, unsigned int nr, unsigned int stride)
{
	struct kvm_regs regs = { .rip = CODE, .rflags = 2, .rsi = gpa, .rcx = nr, .rdx = stride };
	u64 begin;

	need(ioctl(vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
	begin = __rdtsc();
	need(ioctl(vcpu, KVM_RUN, 0), "KVM_RUN");
	return __rdtsc() - begin;
}

static void row(u64 cost, u64 nr, const char *name)
{
	printf("membench %s %lu\n", name, cost / nr);
	fflush(stdout);
}

static void first_touch(int advice, unsigned int stride, int at_hand, const char *name)
{
	char *start = map(SIZE, advice);

	if (at_hand)
		memset(start, 1, SIZE);
	make_vm();
	touch(0, 1, 0);
	set_slot(1, GPA, start, SIZE, 0);
	row(touch(GPA, SIZE / stride, stride), SIZE / stride, name);
	end_vm();
	munmap(start, SIZE);
}

static void invalidation(int advice, const char *name)
{
	char *start = map(SIZE, advice);
	u64 begin, ticks = 0, at;

	make_vm();
	set_slot(1, GPA, start, SIZE, 0);
	touch(GPA, SIZE / PAGE, PAGE);
	for (at = 0; at < SIZE; at += 2 * MiB) {
		begin = __rdtsc();
		mprotect(start + at, 2 * MiB, PROT_READ);
		ticks += __rdtsc() - begin;
	}
	row(ticks, SIZE / (2 * MiB), name);
	end_vm();
	munmap(start, SIZE);
}

static void dirty_log(void)
{
	char *start = map(1024 * MiB, MADV_NOHUGEPAGE);
	struct kvm_dirty_log log = { .slot = 1, .dirty_bitmap = calloc(1024 * MiB / PAGE / 64, 8) };
	unsigned int i, rounds = 4;
	u64 begin, ticks = 0, writing = 0;

	make_vm();
	set_slot(1, GPA, start, 1024 * MiB, KVM_MEM_LOG_DIRTY_PAGES);
	for (i = 0; i <= rounds; i++) {
		u64 took = touch(GPA, 2621, 100 * PAGE);

		begin = __rdtsc();
		need(ioctl(vm, KVM_GET_DIRTY_LOG, &log), "KVM_GET_DIRTY_LOG");
		if (i) {
			ticks += __rdtsc() - begin;
			writing += took;
		}
	}
	row(ticks, rounds, "get-dirty-log-1G-1%");
	row(writing, rounds * 2621, "write-to-logged-page");
	end_vm();
	munmap(start, 1024 * MiB);
}

/* So many slots are there; one more comes and goes. */
static void slots(unsigned int present)
{
	char *start = map((present + 2) * PAGE, MADV_NOHUGEPAGE), name[64];
	unsigned int i, rounds = 20;
	u64 begin, ticks = 0;

	make_vm();
	for (i = 0; i < present; i++)
		set_slot(FIRST_SLOT + i, GPA + i * 2 * PAGE, start + i * PAGE, PAGE, 0);
	for (i = 0; i < rounds; i++) {
		begin = __rdtsc();
		set_slot(1, GPA + (present / 2) * 2 * PAGE + PAGE, start, PAGE, 0);
		set_slot(1, 0, NULL, 0, 0);
		ticks += __rdtsc() - begin;
	}
	snprintf(name, sizeof(name), "slot-beside-%u", present);
	row(ticks, rounds, name);
	end_vm();
	munmap(start, (present + 2) * PAGE);
}

#define GROUP "/sys/fs/cgroup/membench"

/* A control group of its own counts what the kernel allocates for this program. */
static void enter_group(void)
{
	need(-system("grep -q \" cgroup2 \" /proc/mounts || mount -t cgroup2 none /sys/fs/cgroup; "
		     "echo +memory > /sys/fs/cgroup/cgroup.subtree_control; mkdir -p " GROUP "; echo $PPID > " GROUP
		     "/cgroup.procs"),
	     GROUP);
}

static u64 kernel_kib(void)
{
	FILE *file = fopen(GROUP "/memory.stat", "r");
	char line[128];
	u64 bytes = 0;

	while (file && fgets(line, sizeof(line), file) && sscanf(line, "kernel %lu", &bytes) != 1)
		;
	need(file ? fclose(file) : -1, GROUP);
	return bytes / 1024;
}

/* So many slots show the same memory: the guest has 1 GiB, and the host need not. */
#define NR_VIEWS (1024 * MiB / SIZE)

static void life(int advice, unsigned int stride, const char *name, const char *memory_name)
{
	char *start = map(SIZE, advice);
	u64 begin, ticks, kib;
	unsigned int i;

	memset(start, 1, SIZE);
	kib = kernel_kib();
	begin = __rdtsc();
	make_vm();
	ticks = __rdtsc() - begin;
	for (i = 0; i < NR_VIEWS; i++)
		set_slot(1 + i, GPA + i * SIZE, start, SIZE, 0);
	touch(GPA, NR_VIEWS * SIZE / stride, stride);
	row(kernel_kib() - kib, 1, memory_name);
	begin = __rdtsc();
	end_vm();
	row(ticks + __rdtsc() - begin, 1, name);
	munmap(start, SIZE);
}

#define NR_IDLE 32

static void idle(void)
{
	int vms[NR_IDLE], vcpus[NR_IDLE];
	u64 kib = kernel_kib();
	unsigned int i;

	for (i = 0; i < NR_IDLE; i++) {
		make_vm();
		vms[i] = vm;
		vcpus[i] = vcpu;
	}
	row(kernel_kib() - kib, NR_IDLE, "KiB-of-an-idle-VM");
	for (i = 0; i < NR_IDLE; i++) {
		close(vcpus[i]);
		close(vms[i]);
	}
}

int main(int argc, char **argv)
{
	device = open(argc > 1 ? argv[1] : "/dev/pith", O_RDWR | O_CLOEXEC);
	need(device, "device");
	enter_group();
	first_touch(MADV_NOHUGEPAGE, PAGE, 1, "first-touch-4K-present");
	first_touch(MADV_NOHUGEPAGE, PAGE, 0, "first-touch-4K-absent");
	first_touch(MADV_HUGEPAGE, 2 * MiB, 1, "first-touch-2M-present");
	first_touch(MADV_HUGEPAGE, 2 * MiB, 0, "first-touch-2M-absent");
	dirty_log();
	invalidation(MADV_NOHUGEPAGE, "invalidate-2M-of-4K-pages");
	invalidation(MADV_HUGEPAGE, "invalidate-2M-page");
	life(MADV_NOHUGEPAGE, PAGE, "VM-life-1G-of-4K-pages", "KiB-of-1G-in-4K-pages");
	life(MADV_HUGEPAGE, 2 * MiB, "VM-life-1G-of-2M-pages", "KiB-of-1G-in-2M-pages");
	idle();
	slots(1);
	slots(1000);
	slots(30000);
	return 0;
}
