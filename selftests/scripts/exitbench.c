// SPDX-License-Identifier: GPL-2.0
/*
 * exitbench NAME DEVICE [COUNT]: what a round trip from a guest out and back costs, in TSC ticks: one line a row, "exit
 * NAME ROW TICKS". Where a tick is an instruction (Bochs, QEMU with -icount) the figures repeat. The cost of the guest's
 * loop itself is taken off. What the emulator counts besides follows: "work NAME ROW" and the counts of lab_counters.h
 * from the VM entries on, for one round trip. Lines of memory are counted in runs of their own.
 */
#include <err.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <x86intrin.h>

#include "lab_counters.h"

#define MEMORY_SIZE (32ul << 20)

/* Guest-physical addresses; 1 GiB is identity-mapped. */
#define TOP_TABLE 0x1000
#define SECOND_TABLE 0x2000
#define THIRD_TABLE 0x3000
#define GDT 0x4000
#define IDT 0x5000
#define STACK 0x8000
#define CODE 0x10000
#define HANDLER 0x11000
#define UNTOUCHED 0x800000ul
#define DEVICE 0x3f000000ul
#define DOORBELL 0x3f100000ul

#define DATA_PORT 0x10
#define END_PORT 0x11
#define DOORBELL_PORT 0x12

#define VECTOR 0x40

#define BATCHES 5
#define LINES_BATCH 100ul

/* Guest code: R8 counts down, R9 is an address; at the end it writes to END_PORT. */
#define SNIPPET(name, code)                        \
	extern const uint8_t name[], name##_end[]; \
	asm(".pushsection .rodata\n" #name ":\n" code "\n" #name "_end:\n.popsection\n")
#define LOOP(name, body) SNIPPET(name, "1: " body "\n dec %r8\n jnz 1b\n out %al, $0x11")

LOOP(empty, "");
LOOP(cpuid, "xor %eax, %eax\n xor %ecx, %ecx\n cpuid");
LOOP(rdmsr, "mov $0x1b, %ecx\n rdmsr");
LOOP(vmcall, "mov $-1, %eax\n vmcall");
LOOP(vmmcall, "mov $-1, %eax\n vmmcall");
LOOP(tsc_deadline, "mov $0x6e0, %ecx\n xor %eax, %eax\n mov $0x7fffffff, %edx\n wrmsr");
LOOP(out, "out %al, $0x10");
LOOP(in, "in $0x10, %al");
LOOP(out_doorbell, "out %al, $0x12");
LOOP(store, "mov %eax, (%r9)");
LOOP(load, "mov (%r9), %eax");
LOOP(touch, "mov %al, (%r9)\n add $4096, %r9");
/* Enables its local APIC; sends itself an interrupt, and waits until its handler has counted it. */
SNIPPET(self_ipi,
	"mov $0x80f, %ecx\n mov $0x1ff, %eax\n xor %edx, %edx\n wrmsr\n"
	"1: mov %rbx, %r10\n mov $0x83f, %ecx\n mov $0x40, %eax\n xor %edx, %edx\n wrmsr\n"
	"2: cmp %r10, %rbx\n je 2b\n dec %r8\n jnz 1b\n out %al, $0x11");
SNIPPET(handler, "inc %rbx\n mov $0x80b, %ecx\n xor %eax, %eax\n xor %edx, %edx\n wrmsr\n iretq");

static int device, vm, vcpu, run_size;
static struct kvm_run *run;
static uint8_t *memory;
static const char *name;

static long check(long result, const char *what)
{
	if (result < 0)
		err(1, "%s", what);
	return result;
}

#define IOCTL(fd, request, argument) check(ioctl(fd, request, argument), #request)

static void report(const char *row, double ticks)
{
	printf("exit %s %s %.0f\n", name, row, ticks);
	fflush(stdout);
}

/* -- the machine ------------------------------------------------------------------------------------------------- */

static void set_cpuid(void)
{
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + 256 * sizeof(cpuid->entries[0]));

	cpuid->nent = 256;
	IOCTL(device, KVM_GET_SUPPORTED_CPUID, cpuid);
	IOCTL(vcpu, KVM_SET_CPUID2, cpuid);
	free(cpuid);
}

static void write_tables(void)
{
	uint64_t *top = (void *)(memory + TOP_TABLE), *second = (void *)(memory + SECOND_TABLE);
	uint64_t *third = (void *)(memory + THIRD_TABLE), *gdt = (void *)(memory + GDT), *idt = (void *)(memory + IDT);

	top[0] = SECOND_TABLE | 3;
	second[0] = THIRD_TABLE | 3;
	for (uint64_t i = 0; i < 512; i++)
		third[i] = i << 21 | 0x83;
	gdt[1] = 0x00af9b000000ffff;
	gdt[2] = 0x00cf93000000ffff;
	idt[2 * VECTOR] = (HANDLER & 0xffff) | 8ull << 16 | 0x8eull << 40 | (uint64_t)(HANDLER >> 16) << 48;
	memcpy(memory + HANDLER, handler, handler_end - handler);
}

/* 64-bit mode, with the local APIC in x2APIC mode. */
static void set_registers(void)
{
	struct kvm_segment data = { .limit = ~0u, .selector = 16, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1 };
	struct kvm_sregs s;

	IOCTL(vcpu, KVM_GET_SREGS, &s);
	s.ds = s.es = s.fs = s.gs = s.ss = s.cs = data;
	s.cs.selector = 8;
	s.cs.type = 11;
	s.cs.db = 0;
	s.cs.l = 1;
	s.gdt = (struct kvm_dtable){ .base = GDT, .limit = 23 };
	s.idt = (struct kvm_dtable){ .base = IDT, .limit = 0xfff };
	s.cr0 = 0x80000011;
	s.cr3 = TOP_TABLE;
	s.cr4 = 0x20;
	s.efer = 0x500;
	s.apic_base = 0xfee00d00;
	IOCTL(vcpu, KVM_SET_SREGS, &s);
}

static void create(void)
{
	struct kvm_userspace_memory_region slot = { .memory_size = MEMORY_SIZE };
	uint64_t begin = __rdtsc();

	vm = IOCTL(device, KVM_CREATE_VM, 0);
	report("create-vm", __rdtsc() - begin);
	slot.userspace_addr = (uintptr_t)memory;
	IOCTL(vm, KVM_SET_USER_MEMORY_REGION, &slot);
	IOCTL(vm, KVM_CREATE_IRQCHIP, 0);
	begin = __rdtsc();
	vcpu = IOCTL(vm, KVM_CREATE_VCPU, 0);
	report("create-vcpu", __rdtsc() - begin);
	run_size = IOCTL(device, KVM_GET_VCPU_MMAP_SIZE, 0);
	run = mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (run == MAP_FAILED)
		err(1, "mmap of a vCPU");
	set_cpuid();
	set_registers();
}

static void add_doorbell(uint64_t address, uint32_t len, uint32_t flags)
{
	struct kvm_ioeventfd doorbell = { .addr = address, .len = len, .flags = flags };

	doorbell.fd = check(eventfd(0, EFD_CLOEXEC), "eventfd");
	IOCTL(vm, KVM_IOEVENTFD, &doorbell);
}

/* -- the rows ---------------------------------------------------------------------------------------------------- */

static struct lab_counters work_before, work_after;
static bool has_counters;

/* Runs what is at CODE until it ends. */
static uint64_t ticks_to_end(void)
{
	uint64_t begin = __rdtsc();

	for (;;) {
		IOCTL(vcpu, KVM_RUN, 0);
		if (run->exit_reason == KVM_EXIT_IO && run->io.port == END_PORT)
			break;
		if (run->exit_reason != KVM_EXIT_IO && run->exit_reason != KVM_EXIT_MMIO)
			errx(1, "an exit for reason %u", run->exit_reason);
	}
	return __rdtsc() - begin;
}

static void put_code(const uint8_t *code, const uint8_t *end)
{
	memcpy(memory + CODE, code, end - code);
}

/* What is at CODE, so many times. R9 goes on from one batch to the next. */
static uint64_t run_batch(struct kvm_regs *regs, unsigned long count)
{
	uint64_t ticks;

	regs->rip = CODE;
	regs->r8 = count;
	regs->rflags = 0x202;
	regs->rsp = STACK;
	IOCTL(vcpu, KVM_SET_REGS, regs);
	ticks = ticks_to_end();
	IOCTL(vcpu, KVM_GET_REGS, regs);
	return ticks;
}

/* The least of some batches, which are so short that few have a tick of the host's. */
static double ticks_each(const uint8_t *code, const uint8_t *end, unsigned long count, uint64_t address)
{
	struct kvm_regs regs = { .r9 = address };
	uint64_t ticks, least = ~0ull;
	unsigned int i;

	put_code(code, end);
	has_counters = lab_counters_read(&work_before);
	for (i = 0; i < BATCHES; i++) {
		ticks = run_batch(&regs, count / BATCHES);
		least = ticks < least ? ticks : least;
	}
	has_counters = has_counters && lab_counters_read(&work_after);
	return (double)least / (count / BATCHES);
}

/* Lines of memory that LINES_BATCH round trips touch, with what is done once a batch; of data and of code. */
struct lines {
	uint64_t count[2];
};

/* The least of some batches again. The first one warms up what a later one finds. */
static struct lines lines_of_batch(const uint8_t *code, const uint8_t *end, uint64_t address)
{
	struct lines least = { { ~0ull, ~0ull } };
	struct kvm_regs regs = { .r9 = address };
	struct lab_counters before, after;
	unsigned int batch, i;
	uint64_t lines;

	put_code(code, end);
	for (batch = 0; batch < BATCHES; batch++) {
		lab_counters_read(&before);
		run_batch(&regs, LINES_BATCH);
		lab_counters_read(&after);
		for (i = 0; i < 2; i++) {
			lines = after.count[LAB_DATA_LINES + i] - before.count[LAB_DATA_LINES + i];
			least.count[i] = lines < least.count[i] ? lines : least.count[i];
		}
	}
	return least;
}

static void print_lines(const uint8_t *code, const uint8_t *end, uint64_t address)
{
	struct lines once, all;
	unsigned int i;

	if (!lab_count_lines(true))
		return;
	once = lines_of_batch(empty, empty_end, 0);
	all = lines_of_batch(code, end, address);
	lab_count_lines(false);
	for (i = 0; i < 2; i++)
		printf(" %.1f", ((double)all.count[i] - once.count[i]) / LINES_BATCH);
}

/* The last measurement's. What is done once, for its last exit and for reading the counters, vanishes among so many. */
static void report_work(const char *row, const uint8_t *code, const uint8_t *end, unsigned long count, uint64_t address)
{
	unsigned int i;

	if (!has_counters)
		return;
	printf("work %s %s", name, row);
	for (i = LAB_ENTRIES; i < LAB_DATA_LINES; i++)
		printf(" %.1f", (double)(work_after.count[i] - work_before.count[i]) / count);
	/* Where each page is touched once, those behind the ones that have been. */
	print_lines(code, end, address == UNTOUCHED ? UNTOUCHED + count * 4096 : address);
	printf("\n");
	fflush(stdout);
}

#define MEASURE(code, address) ticks_each(code, code##_end, count, address)
#define ROW(row, code, address)                                     \
	do {                                                        \
		report(row, MEASURE(code, address) - base);         \
		report_work(row, code, code##_end, count, address); \
	} while (0)

static bool has_svm(void)
{
	char line[8192];
	FILE *f = fopen("/proc/cpuinfo", "r");
	bool svm = false;

	while (f && !svm && fgets(line, sizeof(line), f))
		svm = !strncmp(line, "flags", 5) && strstr(line, " svm");
	if (f)
		fclose(f);
	return svm;
}

static void measure(unsigned long count)
{
	double base;

	MEASURE(out, 0); /* what is done once */
	base = MEASURE(empty, 0);
	ROW("cpuid", cpuid, 0);
	ROW("rdmsr", rdmsr, 0);
	if (has_svm())
		ROW("hypercall", vmmcall, 0);
	else
		ROW("hypercall", vmcall, 0);
	ROW("tsc-deadline", tsc_deadline, 0);
	ROW("out", out, 0);
	ROW("in", in, 0);
	ROW("mmio-write", store, DEVICE);
	ROW("mmio-read", load, DEVICE);
	add_doorbell(DOORBELL, 4, 0);
	ROW("ioeventfd-mmio", store, DOORBELL);
	add_doorbell(DOORBELL_PORT, 1, KVM_IOEVENTFD_FLAG_PIO);
	ROW("ioeventfd-pio", out_doorbell, 0);
	ROW("first-touch", touch, UNTOUCHED);
	ROW("self-ipi", self_ipi, 0);
}

int main(int argc, char **argv)
{
	unsigned long count = argc > 3 ? strtoul(argv[3], NULL, 0) : 5000;
	uint64_t begin;

	if (argc < 3 || count < BATCHES || UNTOUCHED + (count + BATCHES * LINES_BATCH) * 4096 > MEMORY_SIZE)
		errx(2, "exitbench NAME DEVICE [COUNT]");
	name = argv[1];
	device = check(open(argv[2], O_RDWR | O_CLOEXEC), argv[2]);
	memory = mmap(NULL, MEMORY_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		err(1, "mmap");
	/* A first touch shall cost the second stage's fault, not the host's. */
	madvise(memory, MEMORY_SIZE, MADV_NOHUGEPAGE);
	memset(memory, 0, MEMORY_SIZE);
	write_tables();
	create();
	measure(count);
	begin = __rdtsc();
	munmap(run, run_size);
	close(vcpu);
	close(vm);
	report("destroy", __rdtsc() - begin);
	return 0;
}
