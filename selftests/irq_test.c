// SPDX-License-Identifier: GPL-2.0
/*
 * irq_test - the interrupt controllers of the KVM ABI, seen from both sides: guest code and host code are one program.
 *
 *   irq_test [DEVICE]		default: $PITH_DEVICE, /dev/pith
 *
 * Build: cc -O2 -static -no-pie -pthread irq_test.c. What is asserted here holds on stock KVM as well. Output is KTAP.
 *
 * The program's own pages are the guest's memory, at the same addresses, so guest functions run where they are linked and
 * global variables are shared. A guest is in 64-bit mode with what is below 1 GiB, and from 3 to 4 GiB, identity-mapped.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
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

#define PAGE 4096ul
#define PAGE_ALIGNED __attribute__((aligned(PAGE)))
#define READ(x) (*(volatile __typeof__(x) *)&(x))

#define SYNC_PORT 0x10
#define NOTIFY_PORT 0x510
#define NOTIFY_MMIO 0x3f000000ul /* identity-mapped, in no memory slot */

#define LAPIC_BASE 0xfee00000ul
#define IOAPIC_BASE 0xfec00000ul
#define APIC_BASE_X2APIC 0xfee00c00ul
#define APIC_BASE_XAPIC 0xfee00800ul
#define APIC_ID 0x20
#define APIC_TPR 0x80
#define APIC_EOI 0xb0
#define APIC_LDR 0xd0
#define APIC_SVR 0xf0
#define APIC_IRR 0x200
#define APIC_ICR 0x300
#define APIC_ICR2 0x310
#define APIC_LVT_TIMER 0x320
#define APIC_LVT_LINT0 0x350
#define APIC_TMICT 0x380
#define APIC_TMCCT 0x390
#define APIC_TDCR 0x3e0
#define LVT_MASKED (1u << 16)
#define LVT_PERIODIC (1u << 17)
#define LVT_TSC_DEADLINE (2u << 17)
#define ICR_LOGICAL (1u << 11)
#define ICR_ASSERT (1u << 14)
#define ICR_SELF (1u << 18)
#define ICR_OTHERS (3u << 18)
#define MODE_NMI (4u << 8)
#define MODE_INIT (5u << 8)
#define MODE_SIPI (6u << 8)
#define MSR_APIC_BASE 0x1b
#define MSR_TSC_DEADLINE 0x6e0
#define REDIR_LEVEL (1u << 15)
#define REDIR_MASKED (1u << 16)

#define VECTOR_NMI 2
#define VECTOR_PIC 0x30
#define VECTOR_A 0x40
#define VECTOR_B 0x51

/* -- the guest's side -------------------------------------------------------------------------------------------- */

static uint64_t pml4[512] PAGE_ALIGNED, pdpt[512] PAGE_ALIGNED, pd_low[512] PAGE_ALIGNED, pd_high[512] PAGE_ALIGNED;
static uint64_t gdt[8] PAGE_ALIGNED, idt[512] PAGE_ALIGNED;
static uint32_t tss[32] PAGE_ALIGNED;
static uint8_t guest_stack[2][8 * PAGE] PAGE_ALIGNED, interrupt_stack[2][8 * PAGE] PAGE_ALIGNED;
static uint8_t thread_area[2][PAGE] PAGE_ALIGNED;
static uint8_t low_memory[16 * PAGE] PAGE_ALIGNED; /* guest-physical 0 */

static bool x2apic;
static unsigned int count[2][256]; /* of each vCPU and vector: interrupts taken */
static void (*handler)(unsigned int vector); /* called before the EOI */

static inline void outb(uint16_t port, uint8_t value)
{
	asm volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline uint8_t inb(uint16_t port)
{
	uint8_t value;

	asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

static inline void wrmsr(uint32_t msr, uint64_t value)
{
	asm volatile("wrmsr" : : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)) : "memory");
}

static inline uint64_t rdmsr(uint32_t msr)
{
	uint32_t low, high;

	asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr) : "memory");
	return low | (uint64_t)high << 32;
}

static inline void write32(unsigned long address, uint32_t value)
{
	asm volatile("movl %0, (%1)" : : "r"(value), "r"(address) : "memory");
}

static inline uint32_t read32(unsigned long address)
{
	uint32_t value;

	asm volatile("movl (%1), %0" : "=r"(value) : "r"(address) : "memory");
	return value;
}

static void apic_write(uint32_t reg, uint32_t value)
{
	if (x2apic)
		wrmsr(0x800 + (reg >> 4), value);
	else
		write32(LAPIC_BASE + reg, value);
}

static uint32_t apic_read(uint32_t reg)
{
	return x2apic ? rdmsr(0x800 + (reg >> 4)) : read32(LAPIC_BASE + reg);
}

static void apic_icr(uint32_t low, uint32_t dest)
{
	if (x2apic) {
		wrmsr(0x830, low | (uint64_t)dest << 32);
		return;
	}
	apic_write(APIC_ICR2, dest << 24);
	apic_write(APIC_ICR, low);
}

static unsigned int cpu(void)
{
	return apic_read(APIC_ID) >> (x2apic ? 0 : 24);
}

static void ioapic_write(uint32_t reg, uint32_t value)
{
	write32(IOAPIC_BASE, reg);
	write32(IOAPIC_BASE + 0x10, value);
}

static void ioapic_entry(unsigned int pin, uint32_t low, uint8_t dest)
{
	ioapic_write(0x11 + 2 * pin, (uint32_t)dest << 24);
	ioapic_write(0x10 + 2 * pin, low);
}

/* The host gets to run, and sees the number. */
static void sync_host(uint8_t n)
{
	outb(SYNC_PORT, n);
}

static void enable_apic(void)
{
	wrmsr(MSR_APIC_BASE, (rdmsr(MSR_APIC_BASE) & ~0xffful) | (rdmsr(MSR_APIC_BASE) & 0x100) |
				     (x2apic ? 0xc00 : 0x800));
	apic_write(APIC_SVR, 0x1ff);
}

static void pic_init(uint8_t mask)
{
	outb(0x20, 0x11);
	outb(0x21, VECTOR_PIC);
	outb(0x21, 4);
	outb(0x21, 1);
	outb(0xa0, 0x11);
	outb(0xa1, VECTOR_PIC + 8);
	outb(0xa1, 2);
	outb(0xa1, 1);
	outb(0x21, mask);
	outb(0xa1, 0xff);
}

/* Every interrupt and exception comes here. Those that nobody has asked for end the test. */
void guest_interrupt(unsigned int vector)
{
	if (vector < 32 && vector != VECTOR_NMI) {
		sync_host(0xe0);
		for (;;)
			asm volatile("hlt");
	}
	count[cpu()][vector]++;
	if (handler)
		handler(vector);
	if (vector == VECTOR_NMI)
		return;
	if (vector >= VECTOR_PIC && vector < VECTOR_PIC + 16)
		outb(0x20, 0x20);
	else
		apic_write(APIC_EOI, 0);
}

asm(".pushsection .text\n"
    ".balign 16\n"
    "vectors:\n"
    ".set n, 0\n"
    ".rept 256\n"
    ".balign 16\n"
    "push $n\n"
    "jmp vector_common\n"
    ".set n, n + 1\n"
    ".endr\n"
    "vector_common:\n"
    "push %rax; push %rcx; push %rdx; push %rsi; push %rdi; push %r8; push %r9; push %r10; push %r11; push %rbp\n"
    "mov 80(%rsp), %edi\n"
    "mov %rsp, %rbp\n"
    "and $-16, %rsp\n"
    "cld\n"
    "call guest_interrupt\n"
    "mov %rbp, %rsp\n"
    "pop %rbp; pop %r11; pop %r10; pop %r9; pop %r8; pop %rdi; pop %rsi; pop %rdx; pop %rcx; pop %rax\n"
    "add $8, %rsp\n"
    "iretq\n"
    ".popsection\n");
extern uint8_t vectors[];

/* Sleeps until so many interrupts of a vector came. */
static void wait_for(unsigned int vector, unsigned int n)
{
	unsigned int *counter = &count[cpu()][vector];

	asm volatile("cli");
	while (READ(*counter) < n)
		asm volatile("sti; hlt; cli" : : : "memory");
}

/* Lets what is pending in. */
static void open_window(void)
{
	asm volatile("sti; nop; nop; cli" : : : "memory");
}

/* -- the host's side --------------------------------------------------------------------------------------------- */

struct machine {
	int vm;
	struct {
		int fd;
		struct kvm_run *run;
	} vcpu[2];
};

static int device;
static bool failed;

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			printf("# line %d: not so: %s (errno %d)\n", __LINE__, #condition, errno); \
			failed = true;                                                             \
		}                                                                                  \
	} while (0)

#define CHECK_ERRNO(call, error)                                                                                     \
	do {                                                                                                         \
		long answer = (errno = 0, (call));                                                                   \
		if (answer != -1 || errno != (error)) {                                                              \
			printf("# line %d: %s: %ld, errno %d, expected %s\n", __LINE__, #call, answer, errno, #error); \
			failed = true;                                                                               \
		}                                                                                                    \
	} while (0)

static void die(const char *what)
{
	printf("Bail out! %s: %s\n", what, strerror(errno));
	exit(1);
}

static void add_slot(int vm, uint32_t slot, uint64_t gpa, void *start, size_t size)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot, .guest_phys_addr = gpa, .memory_size = size, .userspace_addr = (uint64_t)start
	};

	if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region))
		die("KVM_SET_USER_MEMORY_REGION");
}

static void add_memory(int vm)
{
	extern char __executable_start[], end[];
	unsigned long first = (unsigned long)__executable_start & -PAGE, last = ((unsigned long)end + PAGE - 1) & -PAGE;

	add_slot(vm, 0, 0, low_memory, sizeof(low_memory));
	add_slot(vm, 1, first, (void *)first, last - first);
}

/* Descriptors and page tables that all vCPUs share. */
static void build_tables(void)
{
	unsigned long base = (unsigned long)tss;
	unsigned int i;

	for (i = 0; i < 512; i++) {
		pd_low[i] = (uint64_t)i << 21 | 0x83;
		pd_high[i] = (3ul << 30 | (uint64_t)i << 21) | 0x83;
	}
	pdpt[0] = (uint64_t)pd_low | 3;
	pdpt[3] = (uint64_t)pd_high | 3;
	pml4[0] = (uint64_t)pdpt | 3;
	gdt[1] = 0x00af9b000000ffffull;
	gdt[2] = 0x00cf93000000ffffull;
	gdt[4] = 0x67 | (base & 0xffffff) << 16 | 0x8bull << 40 | (base >> 24 & 0xff) << 56;
	for (i = 0; i < 256; i++) {
		unsigned long entry = (unsigned long)vectors + i * 16;

		idt[2 * i] = (entry & 0xffff) | 8ull << 16 | 1ull << 32 | 0x8eull << 40 | (entry >> 16 & 0xffff) << 48;
		idt[2 * i + 1] = entry >> 32;
	}
}

static void set_cpuid(int vcpu)
{
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + 256 * sizeof(cpuid->entries[0]));
	unsigned int i;

	cpuid->nent = 256;
	if (ioctl(device, KVM_GET_SUPPORTED_CPUID, cpuid))
		die("KVM_GET_SUPPORTED_CPUID");
	for (i = 0; i < cpuid->nent; i++)
		if (cpuid->entries[i].function == 1)
			cpuid->entries[i].ecx |= 1u << 21 | 1u << 24; /* x2APIC, TSC deadline */
	if (ioctl(vcpu, KVM_SET_CPUID2, cpuid))
		die("KVM_SET_CPUID2");
	free(cpuid);
}

static void set_long_mode(int vcpu, unsigned int id)
{
	struct kvm_segment cs = { .limit = ~0u, .selector = 8, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1 };
	struct kvm_segment ds = { .limit = ~0u, .selector = 16, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1 };
	struct kvm_segment tr = { .base = (uint64_t)tss + 64 * 0, .limit = 0x67, .selector = 32, .type = 11, .present = 1 };
	struct kvm_sregs s;

	if (ioctl(vcpu, KVM_GET_SREGS, &s))
		die("KVM_GET_SREGS");
	s.cs = cs;
	s.ds = s.es = s.fs = s.gs = s.ss = ds;
	s.fs.base = (uint64_t)thread_area[id];
	s.tr = tr;
	s.gdt = (struct kvm_dtable){ .base = (uint64_t)gdt, .limit = sizeof(gdt) - 1 };
	s.idt = (struct kvm_dtable){ .base = (uint64_t)idt, .limit = sizeof(idt) - 1 };
	s.cr0 = 0x80000033;
	s.cr3 = (uint64_t)pml4;
	s.cr4 = 0x620;
	s.efer = 0x500;
	if (ioctl(vcpu, KVM_SET_SREGS, &s))
		die("KVM_SET_SREGS");
}
