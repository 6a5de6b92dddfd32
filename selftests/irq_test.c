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
static uint32_t tss[2][32] PAGE_ALIGNED;
static uint8_t guest_stack[2][8 * PAGE] PAGE_ALIGNED, interrupt_stack[2][8 * PAGE] PAGE_ALIGNED;
static uint8_t thread_area[2][PAGE] PAGE_ALIGNED;
static uint8_t low_memory[16 * PAGE] PAGE_ALIGNED; /* guest-physical 0 */

static bool x2apic;
static bool bare; /* no controllers in the kernel */
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
__attribute__((used, target("general-regs-only"))) void guest_interrupt(unsigned int vector)
{
	if (vector < 32 && vector != VECTOR_NMI) {
		sync_host(0xe0);
		for (;;)
			asm volatile("hlt");
	}
	count[bare ? 0 : cpu()][vector]++;
	if (handler)
		handler(vector);
	if (vector == VECTOR_NMI || bare)
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
	struct kvm_segment tr = { .base = (uint64_t)tss[id], .limit = 0x67, .selector = 32, .type = 11, .present = 1 };
	uint64_t ist = (uint64_t)interrupt_stack[id] + sizeof(interrupt_stack[id]);
	struct kvm_sregs s;

	memcpy(&tss[id][9], &ist, sizeof(ist));

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

static void add_vcpu(struct machine *m, unsigned int id)
{
	int size = ioctl(device, KVM_GET_VCPU_MMAP_SIZE, 0);

	m->vcpu[id].fd = ioctl(m->vm, KVM_CREATE_VCPU, id);
	if (m->vcpu[id].fd < 0 || size < 0)
		die("KVM_CREATE_VCPU");
	m->vcpu[id].run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, m->vcpu[id].fd, 0);
	if (m->vcpu[id].run == MAP_FAILED)
		die("mmap");
	set_cpuid(m->vcpu[id].fd);
	set_long_mode(m->vcpu[id].fd, id);
}

/* A vCPU begins a function. */
static void start(struct machine *m, unsigned int id, void (*function)(void))
{
	struct kvm_mp_state runnable = { KVM_MP_STATE_RUNNABLE };
	struct kvm_regs regs = {
		.rip = (uint64_t)function, .rflags = 2, .rsp = (uint64_t)guest_stack[id] + sizeof(guest_stack[id]) - 8
	};

	if (ioctl(m->vcpu[id].fd, KVM_SET_REGS, &regs))
		die("KVM_SET_REGS");
	ioctl(m->vcpu[id].fd, KVM_SET_MP_STATE, &runnable);
}

#define CHIPS 1
#define PIT 2

static struct machine make_machine(unsigned int vcpus, unsigned int with)
{
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
	struct machine m = { .vm = ioctl(device, KVM_CREATE_VM, 0) };
	unsigned int i;

	if (m.vm < 0)
		die("KVM_CREATE_VM");
	add_memory(m.vm);
	if (with & CHIPS && ioctl(m.vm, KVM_CREATE_IRQCHIP, 0))
		die("KVM_CREATE_IRQCHIP");
	if (with & PIT && ioctl(m.vm, KVM_CREATE_PIT2, &pit))
		die("KVM_CREATE_PIT2");
	for (i = 0; i < vcpus; i++)
		add_vcpu(&m, i);
	memset(count, 0, sizeof(count));
	handler = NULL;
	bare = !(with & CHIPS);
	return m;
}

static void end_machine(struct machine *m)
{
	int size = ioctl(device, KVM_GET_VCPU_MMAP_SIZE, 0);
	unsigned int i;

	for (i = 0; i < 2; i++) {
		if (!m->vcpu[i].run)
			continue;
		munmap(m->vcpu[i].run, size);
		close(m->vcpu[i].fd);
	}
	close(m->vm);
}

/* Runs until the guest speaks: the number that it says, or -1. */
static int run(struct machine *m, unsigned int id)
{
	struct kvm_run *r = m->vcpu[id].run;
	int answer;

	do {
		answer = ioctl(m->vcpu[id].fd, KVM_RUN, 0);
	} while (answer && (errno == EINTR || errno == EAGAIN) && !r->immediate_exit);
	if (!answer && r->exit_reason == KVM_EXIT_IO && r->io.port == SYNC_PORT)
		return *((uint8_t *)r + r->io.data_offset);
	return -1;
}

#define RUN(m, id, said)                                                                                         \
	do {                                                                                                     \
		int answer = run(m, id);                                                                         \
		if (answer != (said)) {                                                                          \
			printf("# line %d: guest said %d, not %d (exit %u, errno %d)\n", __LINE__, answer, said, \
			       (m)->vcpu[id].run->exit_reason, errno);                                           \
			failed = true;                                                                           \
			return;                                                                                  \
		}                                                                                                \
	} while (0)

/* After a moment an eventfd is signalled: the guest sleeps by then. */
struct later {
	pthread_t thread;
	int eventfd;
};

static void *signal_later(void *argument)
{
	struct later *later = argument;

	usleep(20000);
	eventfd_write(later->eventfd, 1);
	return NULL;
}

static void later_begin(struct later *later, int fd)
{
	later->eventfd = fd;
	if (pthread_create(&later->thread, NULL, signal_later, later))
		die("pthread_create");
}

static void later_end(struct later *later)
{
	pthread_join(later->thread, NULL);
}

static int irq_line(struct machine *m, unsigned int gsi, int level)
{
	struct kvm_irq_level line = { .irq = gsi, .level = level };

	return ioctl(m->vm, KVM_IRQ_LINE_STATUS, &line) ? -1000 : (int)line.status;
}

static int signal_msi(struct machine *m, uint32_t dest, uint32_t data)
{
	struct kvm_msi msi = { .address_lo = 0xfee00000 | dest << 12, .data = data };

	return ioctl(m->vm, KVM_SIGNAL_MSI, &msi);
}

static int assign_irqfd(struct machine *m, int fd, unsigned int gsi, unsigned int flags, int resample)
{
	struct kvm_irqfd irqfd = { .fd = fd, .gsi = gsi, .flags = flags, .resamplefd = resample };

	return ioctl(m->vm, KVM_IRQFD, &irqfd);
}

static int assign_ioeventfd(struct machine *m, int fd, uint64_t address, uint32_t len, uint32_t flags, uint64_t datamatch)
{
	struct kvm_ioeventfd ioeventfd = {
		.fd = fd, .addr = address, .len = len, .flags = flags, .datamatch = datamatch
	};

	return ioctl(m->vm, KVM_IOEVENTFD, &ioeventfd);
}

/* How often an eventfd was signalled since it was asked last. */
static unsigned long taken(int fd)
{
	eventfd_t n;

	return eventfd_read(fd, &n) ? 0 : n;
}

static int new_eventfd(void)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	if (fd < 0)
		die("eventfd");
	return fd;
}

/* -- local APIC -------------------------------------------------------------------------------------------------- */

static void guest_self_ipi(void)
{
	enable_apic();
	for (unsigned int i = 1; i <= 10; i++) {
		apic_icr(ICR_SELF | ICR_ASSERT | VECTOR_A, 0);
		wait_for(VECTOR_A, i);
	}
	if (x2apic)
		wrmsr(0x83f, VECTOR_B);
	else
		apic_icr(ICR_ASSERT | VECTOR_B, 0);
	wait_for(VECTOR_B, 1);
	sync_host(1);
}

static void self_ipi(bool in_x2apic)
{
	struct machine m = make_machine(1, CHIPS);

	x2apic = in_x2apic;
	start(&m, 0, guest_self_ipi);
	RUN(&m, 0, 1);
	CHECK(count[0][VECTOR_A] == 10 && count[0][VECTOR_B] == 1);
	end_machine(&m);
}

static void test_self_ipi_xapic(void)
{
	self_ipi(false);
}

static void test_self_ipi_x2apic(void)
{
	self_ipi(true);
}

/* The task priority holds back what is not above it. */
static void guest_priority(void)
{
	enable_apic();
	apic_write(APIC_TPR, 0x40);
	apic_icr(ICR_SELF | ICR_ASSERT | VECTOR_A, 0);
	apic_icr(ICR_SELF | ICR_ASSERT | VECTOR_B, 0);
	open_window();
	sync_host(count[0][VECTOR_A] * 16 + count[0][VECTOR_B]);
	asm volatile("mov %0, %%cr8" : : "r"(3ul));
	open_window();
	sync_host(count[0][VECTOR_A] * 16 + count[0][VECTOR_B]);
}

static void test_task_priority(void)
{
	struct machine m = make_machine(1, CHIPS);

	x2apic = true;
	start(&m, 0, guest_priority);
	RUN(&m, 0, 0x01);
	RUN(&m, 0, 0x11);
	CHECK(m.vcpu[0].run->cr8 == 3);
	end_machine(&m);
}

static uint64_t tsc_deadline, tsc_seen;

static void note_tsc(unsigned int vector)
{
	tsc_seen = __rdtsc();
}

static void guest_timer(void)
{
	uint32_t first;

	enable_apic();
	apic_write(APIC_TDCR, 0xb);
	apic_write(APIC_LVT_TIMER, VECTOR_A);
	apic_write(APIC_TMICT, 2000000);
	first = apic_read(APIC_TMCCT);
	wait_for(VECTOR_A, 1);
	sync_host(first && first <= 2000000 && !apic_read(APIC_TMCCT) ? 1 : 99);

	apic_write(APIC_LVT_TIMER, LVT_PERIODIC | VECTOR_A);
	apic_write(APIC_TMICT, 1000000);
	wait_for(VECTOR_A, 6);
	apic_write(APIC_TMICT, 0);
	sync_host(2);

	apic_write(APIC_LVT_TIMER, LVT_TSC_DEADLINE | VECTOR_B);
	tsc_deadline = __rdtsc() + 5000000;
	wrmsr(MSR_TSC_DEADLINE, tsc_deadline);
	wait_for(VECTOR_B, 1);
	sync_host(tsc_seen >= tsc_deadline && !rdmsr(MSR_TSC_DEADLINE) ? 3 : 99);

	wrmsr(MSR_TSC_DEADLINE, 1); /* long ago */
	wait_for(VECTOR_B, 2);
	wrmsr(MSR_TSC_DEADLINE, ~0ul); /* never */
	wrmsr(MSR_TSC_DEADLINE, __rdtsc() + 1000000);
	wrmsr(MSR_TSC_DEADLINE, 0); /* disarmed */
	sync_host(4);
	open_window();
	sync_host(count[0][VECTOR_B]);
}

static void timer(bool in_x2apic)
{
	struct machine m = make_machine(1, CHIPS);

	x2apic = in_x2apic;
	handler = note_tsc;
	start(&m, 0, guest_timer);
	RUN(&m, 0, 1);
	RUN(&m, 0, 2);
	RUN(&m, 0, 3);
	RUN(&m, 0, 4);
	usleep(50000);
	RUN(&m, 0, 2);
	end_machine(&m);
}

static void test_timer_xapic(void)
{
	timer(false);
}

static void test_timer_x2apic(void)
{
	timer(true);
}

static void guest_state(void)
{
	enable_apic();
	apic_write(APIC_LVT_TIMER, VECTOR_A);
	apic_icr(ICR_SELF | ICR_ASSERT | VECTOR_B, 0);
	sync_host(1);
	wait_for(VECTOR_B, 1);
	sync_host(2);
}

static void test_lapic_state(void)
{
	struct machine m = make_machine(1, CHIPS), n = make_machine(1, CHIPS);
	struct kvm_lapic_state state = {};
	struct kvm_sregs sregs;
	struct kvm_regs regs;
	uint32_t irr;

	x2apic = false;
	start(&m, 0, guest_state);
	RUN(&m, 0, 1);
	CHECK(m.vcpu[0].run->apic_base == (APIC_BASE_XAPIC | 0x100));
	CHECK(!ioctl(m.vcpu[0].fd, KVM_GET_LAPIC, &state));
	memcpy(&irr, state.regs + APIC_IRR + (VECTOR_B >> 5) * 16, sizeof(irr));
	CHECK(irr == 1u << (VECTOR_B & 31));
	/* The interrupt that is requested moves to another machine with the state. */
	CHECK(!ioctl(m.vcpu[0].fd, KVM_GET_SREGS, &sregs) && !ioctl(n.vcpu[0].fd, KVM_SET_SREGS, &sregs));
	m.vcpu[0].run->immediate_exit = 1; /* to end the OUT */
	CHECK_ERRNO(ioctl(m.vcpu[0].fd, KVM_RUN, 0), EINTR);
	CHECK(!ioctl(m.vcpu[0].fd, KVM_GET_REGS, &regs) && !ioctl(n.vcpu[0].fd, KVM_SET_REGS, &regs));
	CHECK(!ioctl(n.vcpu[0].fd, KVM_SET_LAPIC, &state));
	RUN(&n, 0, 2);
	end_machine(&m);
	end_machine(&n);
}

/* -- PIC, PIT, I/O APIC ------------------------------------------------------------------------------------------ */

static void pit_periodic(unsigned int n)
{
	outb(0x43, 0x34);
	outb(0x40, n & 0xff);
	outb(0x40, n >> 8);
}

static void guest_pit_by_pic(void)
{
	x2apic = false;
	enable_apic();
	pic_init(0xfe);
	pit_periodic(1193); /* 1 ms */
	wait_for(VECTOR_PIC, 10);
	outb(0x21, 0xff);
	sync_host(1);
}

static void guest_pit_by_ioapic(void)
{
	enable_apic();
	outb(0x21, 0xff);
	apic_write(APIC_LVT_LINT0, LVT_MASKED);
	ioapic_entry(0, VECTOR_A, 0);
	pit_periodic(1193);
	wait_for(VECTOR_A, 10);
	outb(0x43, 0x30); /* mode 0: one more, not before 2 ms */
	outb(0x40, 0x52);
	outb(0x40, 0x09);
	wait_for(VECTOR_A, count[0][VECTOR_A] + 1);
	sync_host(1);
}

static void test_pit_by_pic(void)
{
	struct machine m = make_machine(1, CHIPS | PIT);

	start(&m, 0, guest_pit_by_pic);
	RUN(&m, 0, 1);
	end_machine(&m);
}

static void test_pit_by_ioapic(void)
{
	struct machine m = make_machine(1, CHIPS | PIT);

	x2apic = true;
	start(&m, 0, guest_pit_by_ioapic);
	RUN(&m, 0, 1);
	end_machine(&m);
}

static void test_pit_state(void)
{
	struct kvm_reinject_control control = { .pit_reinject = 0 };
	struct kvm_pit_config config = { .flags = KVM_PIT_SPEAKER_DUMMY };
	struct machine m = make_machine(1, CHIPS);
	struct kvm_pit_state2 state = {};

	CHECK_ERRNO(ioctl(m.vm, KVM_GET_PIT2, &state), ENXIO);
	CHECK_ERRNO(ioctl(m.vm, KVM_SET_PIT2, &state), ENXIO);
	CHECK_ERRNO(ioctl(m.vm, KVM_REINJECT_CONTROL, &control), ENXIO);
	CHECK(!ioctl(m.vm, KVM_CREATE_PIT2, &config));
	CHECK_ERRNO(ioctl(m.vm, KVM_CREATE_PIT2, &config), EEXIST);
	start(&m, 0, guest_pit_by_pic);
	RUN(&m, 0, 1);
	CHECK(!ioctl(m.vm, KVM_GET_PIT2, &state));
	CHECK(state.channels[0].count == 1193 && state.channels[0].mode == 2);
	CHECK(!ioctl(m.vm, KVM_SET_PIT2, &state));
	CHECK(!ioctl(m.vm, KVM_REINJECT_CONTROL, &control));
	end_machine(&m);
}

static void guest_ioapic(void)
{
	enable_apic();
	outb(0x21, 0xff);
	ioapic_entry(20, REDIR_MASKED | VECTOR_A, 0);
	sync_host(1); /* ignored */
	ioapic_entry(20, VECTOR_A, 0);
	sync_host(2); /* delivered, coalesced */
	wait_for(VECTOR_A, 1);
	open_window();
	sync_host(count[0][VECTOR_A]);
	ioapic_entry(20, REDIR_LEVEL | VECTOR_B, 0);
	sync_host(3); /* raised */
	wait_for(VECTOR_B, 3); /* and still high after EOIs */
	sync_host(4); /* lowered */
	open_window();
	count[0][VECTOR_B] = 0;
	open_window();
	sync_host(count[0][VECTOR_B]);
}

static void test_irq_line(void)
{
	struct machine m = make_machine(1, CHIPS);

	x2apic = true;
	start(&m, 0, guest_ioapic);
	RUN(&m, 0, 1);
	CHECK(irq_line(&m, 20, 1) == -1);
	irq_line(&m, 20, 0);
	RUN(&m, 0, 2);
	CHECK(irq_line(&m, 20, 1) == 1);
	CHECK(irq_line(&m, 20, 1) == 0);
	irq_line(&m, 20, 0);
	CHECK(irq_line(&m, 4000, 1) == -1);
	CHECK(irq_line(&m, ~0u, 1) == -1);
	RUN(&m, 0, 1);
	RUN(&m, 0, 3);
	CHECK(irq_line(&m, 20, 1) == 1);
	RUN(&m, 0, 4);
	irq_line(&m, 20, 0);
	RUN(&m, 0, 0);
	end_machine(&m);
}

static void test_irqchip_state(void)
{
	struct machine none = make_machine(1, 0), m = make_machine(1, CHIPS);
	struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_IOAPIC };
	struct kvm_lapic_state lapic;

	CHECK(!ioctl(m.vm, KVM_GET_IRQCHIP, &chip));
	CHECK(chip.chip.ioapic.base_address == IOAPIC_BASE && chip.chip.ioapic.redirtbl[3].fields.mask);
	chip.chip.ioapic.redirtbl[3].bits = 0xff00000000000000ull | REDIR_MASKED | VECTOR_A;
	CHECK(!ioctl(m.vm, KVM_SET_IRQCHIP, &chip));
	memset(&chip.chip, 0, sizeof(chip.chip));
	CHECK(!ioctl(m.vm, KVM_GET_IRQCHIP, &chip));
	CHECK(chip.chip.ioapic.redirtbl[3].bits == (0xff00000000000000ull | REDIR_MASKED | VECTOR_A));
	chip.chip_id = KVM_IRQCHIP_PIC_SLAVE;
	CHECK(!ioctl(m.vm, KVM_GET_IRQCHIP, &chip) && !ioctl(m.vm, KVM_SET_IRQCHIP, &chip));
	chip.chip_id = 3;
	CHECK_ERRNO(ioctl(m.vm, KVM_GET_IRQCHIP, &chip), EINVAL);
	CHECK_ERRNO(ioctl(m.vm, KVM_SET_IRQCHIP, &chip), EINVAL);
	CHECK_ERRNO(ioctl(m.vm, KVM_CREATE_IRQCHIP, 0), EEXIST);
	CHECK_ERRNO(ioctl(none.vm, KVM_CREATE_IRQCHIP, 0), EINVAL);
	CHECK_ERRNO(ioctl(none.vm, KVM_GET_IRQCHIP, &chip), ENXIO);
	CHECK_ERRNO(ioctl(none.vm, KVM_SET_IRQCHIP, &chip), ENXIO);
	CHECK_ERRNO(ioctl(none.vcpu[0].fd, KVM_GET_LAPIC, &lapic), EINVAL);
	CHECK_ERRNO(ioctl(none.vcpu[0].fd, KVM_SET_LAPIC, &lapic), EINVAL);
	CHECK(irq_line(&none, 4, 1) == -1000 && errno == ENXIO);
	CHECK_ERRNO(signal_msi(&none, 0, VECTOR_A), EINVAL);
	CHECK_ERRNO(assign_irqfd(&none, 0, 4, 0, 0), EINVAL);
	end_machine(&m);
	end_machine(&none);
}

/* -- messages and routes ----------------------------------------------------------------------------------------- */

static void guest_msi(void)
{
	enable_apic();
	sync_host(1);
	for (;;) {
		open_window();
		sync_host(count[0][VECTOR_A] * 16 + count[0][VECTOR_B]);
	}
}

static void test_signal_msi(void)
{
	struct kvm_msi bad = { .flags = ~KVM_MSI_VALID_DEVID };
	struct machine m = make_machine(1, CHIPS);

	x2apic = true;
	start(&m, 0, guest_msi);
	CHECK(signal_msi(&m, 0, VECTOR_A) == 0); /* software-disabled */
	RUN(&m, 0, 1);
	CHECK(signal_msi(&m, 0, VECTOR_A) == 1);
	RUN(&m, 0, 0x10);
	CHECK(signal_msi(&m, 0xff, VECTOR_B) == 1); /* everybody, x2APICs as well */
	RUN(&m, 0, 0x11);
	CHECK(signal_msi(&m, 7, VECTOR_B) == 0); /* nobody */
	RUN(&m, 0, 0x11);
	CHECK_ERRNO(ioctl(m.vm, KVM_SIGNAL_MSI, &bad), EINVAL);
	end_machine(&m);
}

static int set_routes(struct machine *m, const struct kvm_irq_routing_entry *entries, unsigned int nr, unsigned int flags)
{
	struct kvm_irq_routing *routing = calloc(1, sizeof(*routing) + 4200 * sizeof(*entries));
	int answer, saved;

	routing->nr = nr;
	routing->flags = flags;
	if (entries)
		memcpy(routing->entries, entries, nr * sizeof(*entries));
	answer = ioctl(m->vm, KVM_SET_GSI_ROUTING, routing);
	saved = errno;
	free(routing);
	errno = saved;
	return answer;
}

static struct kvm_irq_routing_entry msi_route(unsigned int gsi, unsigned int vector)
{
	return (struct kvm_irq_routing_entry){
		.gsi = gsi, .type = KVM_IRQ_ROUTING_MSI, .u.msi = { .address_lo = 0xfee00000, .data = vector }
	};
}

static struct kvm_irq_routing_entry pin_route(unsigned int gsi, unsigned int chip, unsigned int pin)
{
	return (struct kvm_irq_routing_entry){
		.gsi = gsi, .type = KVM_IRQ_ROUTING_IRQCHIP, .u.irqchip = { .irqchip = chip, .pin = pin }
	};
}

static void test_routing(void)
{
	struct kvm_irq_routing_entry r[2] = { msi_route(4095, VECTOR_A), msi_route(24, VECTOR_B) };
	struct machine none = make_machine(1, 0), m = make_machine(1, CHIPS);
	unsigned int i;

	x2apic = true;
	start(&m, 0, guest_msi);
	RUN(&m, 0, 1);
	CHECK(!set_routes(&m, r, 2, 0));
	CHECK(irq_line(&m, 4095, 1) == 1 && irq_line(&m, 24, 1) == 1);
	CHECK(irq_line(&m, 24, 0) == -1);
	RUN(&m, 0, 0x11);
	CHECK_ERRNO(set_routes(&m, r, 2, 1), EINVAL);
	CHECK_ERRNO(set_routes(&m, NULL, 4097, 0), EINVAL);
	CHECK_ERRNO(set_routes(&none, r, 2, 0), EINVAL);
	{
		struct kvm_irq_routing_entry bad[][2] = {
			{ msi_route(4096, VECTOR_A), r[1] },
			{ r[0], r[0] },
			{ r[1], pin_route(24, KVM_IRQCHIP_IOAPIC, 20) },
			{ pin_route(24, KVM_IRQCHIP_IOAPIC, 20), pin_route(24, KVM_IRQCHIP_IOAPIC, 21) },
			{ r[0], pin_route(3, KVM_IRQCHIP_IOAPIC, 24) },
			{ r[0], pin_route(3, KVM_IRQCHIP_PIC_MASTER, 8) },
			{ r[0], pin_route(3, KVM_IRQCHIP_PIC_SLAVE, 8) },
			{ r[0], pin_route(3, 3, 0) },
			{ r[0], { .gsi = 3, .type = 99 } },
			{ r[0], { .gsi = 3, .type = KVM_IRQ_ROUTING_IRQCHIP, .flags = 1 } },
			{ r[0], { .gsi = 3, .type = KVM_IRQ_ROUTING_MSI, .flags = 2 } },
		};

		for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
			CHECK_ERRNO(set_routes(&m, bad[i], 2, 0), EINVAL);
	}
	/* A refused table leaves the old one, an empty one nothing. */
	CHECK(irq_line(&m, 24, 1) == 1);
	CHECK(!set_routes(&m, NULL, 0, 0) && irq_line(&m, 24, 1) == -1);
	end_machine(&m);
	end_machine(&none);
}

/* -- irqfds ------------------------------------------------------------------------------------------------------ */

static void guest_irqfd(void)
{
	enable_apic();
	sync_host(1);
	wait_for(VECTOR_A, 1);
	sync_host(2);
	for (;;) {
		open_window();
		sync_host(count[0][VECTOR_A]);
	}
}

static void test_irqfd(void)
{
	struct machine m = make_machine(1, CHIPS);
	struct kvm_irq_routing_entry r = msi_route(30, VECTOR_A);
	int fd = new_eventfd(), other = new_eventfd(), pending = new_eventfd();
	struct later later;

	x2apic = true;
	start(&m, 0, guest_irqfd);
	RUN(&m, 0, 1);
	CHECK(!set_routes(&m, &r, 1, 0));
	CHECK_ERRNO(assign_irqfd(&m, -1, 30, 0, 0), EBADF);
	CHECK_ERRNO(assign_irqfd(&m, m.vm, 30, 0, 0), EINVAL);
	CHECK_ERRNO(assign_irqfd(&m, fd, 30, 1 << 7, 0), EINVAL);
	CHECK_ERRNO(assign_irqfd(&m, fd, 30, KVM_IRQFD_FLAG_RESAMPLE, -1), EBADF);
	CHECK(!assign_irqfd(&m, fd, 30, 0, 0));
	CHECK_ERRNO(assign_irqfd(&m, fd, 31, 0, 0), EBUSY);
	later_begin(&later, fd);
	RUN(&m, 0, 2);
	later_end(&later);
	CHECK(taken(fd) == 0); /* the event was the irqfd's */
	eventfd_write(fd, 1);
	RUN(&m, 0, 2);
	CHECK(!assign_irqfd(&m, fd, 30, KVM_IRQFD_FLAG_DEASSIGN, 0));
	CHECK(!assign_irqfd(&m, fd, 30, KVM_IRQFD_FLAG_DEASSIGN, 0)); /* as in KVM: that there is none is no error */
	eventfd_write(fd, 1);
	RUN(&m, 0, 2);
	CHECK(taken(fd) == 1);
	eventfd_write(pending, 1); /* before there is an irqfd */
	CHECK(!assign_irqfd(&m, pending, 30, 0, 0));
	usleep(10000);
	RUN(&m, 0, 3);
	/* A closed eventfd is no irqfd any more; nor is one that the machine's end finds. */
	CHECK(!assign_irqfd(&m, other, 30, 0, 0));
	close(other);
	CHECK(!assign_irqfd(&m, fd, 4000, 0, 0));
	eventfd_write(fd, 1);
	end_machine(&m);
	close(fd);
	close(pending);
}

static void guest_resample(void)
{
	enable_apic();
	outb(0x21, 0xff);
	ioapic_entry(20, REDIR_LEVEL | VECTOR_A, 0);
	sync_host(1);
	wait_for(VECTOR_A, 1);
	open_window();
	sync_host(count[0][VECTOR_A]);
	open_window();
	sync_host(count[0][VECTOR_A]);
}

static void test_irqfd_resample(void)
{
	struct machine m = make_machine(1, CHIPS);
	int fd = new_eventfd(), resample = new_eventfd(), fd2 = new_eventfd(), resample2 = new_eventfd();

	x2apic = true;
	start(&m, 0, guest_resample);
	RUN(&m, 0, 1);
	CHECK(!assign_irqfd(&m, fd, 20, KVM_IRQFD_FLAG_RESAMPLE, resample));
	CHECK(!assign_irqfd(&m, fd2, 20, KVM_IRQFD_FLAG_RESAMPLE, resample2));
	eventfd_write(fd, 1);
	RUN(&m, 0, 1); /* one interrupt only: its EOI lowered the line */
	CHECK(taken(resample) == 1 && taken(resample2) == 1);
	eventfd_write(fd2, 1);
	RUN(&m, 0, 2);
	CHECK(taken(resample) == 1 && taken(resample2) == 1);
	end_machine(&m);
	close(fd);
	close(fd2);
	close(resample);
	close(resample2);
}

/* An ioeventfd that is an irqfd, whose resample eventfd is an irqfd: each is signalled where the other's lock is held. */
static void guest_chain(void)
{
	enable_apic();
	outb(0x21, 0xff);
	ioapic_entry(20, REDIR_LEVEL | VECTOR_A, 0);
	ioapic_entry(21, VECTOR_B, 0);
	sync_host(1);
	outb(NOTIFY_PORT, 1);
	wait_for(VECTOR_A, 1);
	wait_for(VECTOR_B, 1);
	sync_host(2);
}

static void test_eventfd_chain(void)
{
	struct machine m = make_machine(1, CHIPS);
	int fd = new_eventfd(), resample = new_eventfd();

	x2apic = true;
	start(&m, 0, guest_chain);
	RUN(&m, 0, 1);
	CHECK(!assign_ioeventfd(&m, fd, NOTIFY_PORT, 1, KVM_IOEVENTFD_FLAG_PIO, 0));
	CHECK(!assign_irqfd(&m, fd, 20, KVM_IRQFD_FLAG_RESAMPLE, resample));
	CHECK(!assign_irqfd(&m, resample, 21, 0, 0));
	RUN(&m, 0, 2);
	end_machine(&m);
	close(fd);
	close(resample);
}

/* -- ioeventfds -------------------------------------------------------------------------------------------------- */

static void guest_ioeventfd(void)
{
	outb(NOTIFY_PORT, 7);
	write32(NOTIFY_MMIO, 1);
	write32(NOTIFY_MMIO, 2);
	write32(NOTIFY_MMIO + 8, 3);
	sync_host(1);
	write32(NOTIFY_MMIO, 9); /* to the client */
	sync_host(2);
	outb(NOTIFY_PORT, 7); /* deassigned: to the client */
	sync_host(3);
}

static void test_ioeventfd(void)
{
	struct machine m = make_machine(1, 0);
	int fd = new_eventfd(), any = new_eventfd(), one = new_eventfd(), two = new_eventfd();
	struct kvm_run *run_page = m.vcpu[0].run;

	CHECK(!assign_ioeventfd(&m, fd, NOTIFY_PORT, 1, KVM_IOEVENTFD_FLAG_PIO, 0));
	CHECK(!assign_ioeventfd(&m, one, NOTIFY_MMIO, 4, KVM_IOEVENTFD_FLAG_DATAMATCH, 1));
	CHECK(!assign_ioeventfd(&m, two, NOTIFY_MMIO, 4, KVM_IOEVENTFD_FLAG_DATAMATCH, 2));
	CHECK(!assign_ioeventfd(&m, any, NOTIFY_MMIO + 8, 0, 0, 0));
	CHECK_ERRNO(assign_ioeventfd(&m, any, NOTIFY_MMIO, 4, KVM_IOEVENTFD_FLAG_DATAMATCH, 2), EEXIST);
	CHECK_ERRNO(assign_ioeventfd(&m, any, NOTIFY_MMIO, 4, 0, 0), EEXIST);
	CHECK_ERRNO(assign_ioeventfd(&m, any, NOTIFY_MMIO + 8, 2, 0, 0), EEXIST);
	CHECK_ERRNO(assign_ioeventfd(&m, -1, NOTIFY_MMIO, 4, 0, 0), EBADF);
	CHECK_ERRNO(assign_ioeventfd(&m, m.vm, NOTIFY_MMIO, 4, 0, 0), EINVAL);
	CHECK_ERRNO(assign_ioeventfd(&m, any, NOTIFY_MMIO, 3, 0, 0), EINVAL);
	CHECK_ERRNO(assign_ioeventfd(&m, any, NOTIFY_MMIO, 16, 0, 0), EINVAL);
	CHECK_ERRNO(assign_ioeventfd(&m, any, ~0ul, 8, 0, 0), EINVAL);
	CHECK_ERRNO(assign_ioeventfd(&m, any, NOTIFY_MMIO, 0, KVM_IOEVENTFD_FLAG_DATAMATCH, 0), EINVAL);
	CHECK_ERRNO(assign_ioeventfd(&m, any, NOTIFY_MMIO, 4, 1 << 9, 0), EINVAL);
	CHECK_ERRNO(assign_ioeventfd(&m, any, NOTIFY_MMIO, 4, KVM_IOEVENTFD_FLAG_DEASSIGN, 0), ENOENT);
	start(&m, 0, guest_ioeventfd);
	RUN(&m, 0, 1);
	CHECK(taken(fd) == 1 && taken(one) == 1 && taken(two) == 1 && taken(any) == 1);
	CHECK(run(&m, 0) == -1 && run_page->exit_reason == KVM_EXIT_MMIO && run_page->mmio.phys_addr == NOTIFY_MMIO);
	RUN(&m, 0, 2);
	CHECK(!assign_ioeventfd(&m, fd, NOTIFY_PORT, 1, KVM_IOEVENTFD_FLAG_PIO | KVM_IOEVENTFD_FLAG_DEASSIGN, 0));
	CHECK(run(&m, 0) == -1 && run_page->exit_reason == KVM_EXIT_IO && run_page->io.port == NOTIFY_PORT);
	RUN(&m, 0, 3);
	CHECK(taken(fd) == 0);
	end_machine(&m);
	close(fd);
	close(any);
	close(one);
	close(two);
}

/* -- two vCPUs --------------------------------------------------------------------------------------------------- */

static volatile bool quit;

static void guest_listener(void)
{
	enable_apic();
	sync_host(1);
	while (!quit)
		asm volatile("sti; hlt; cli" : : : "memory");
	sync_host(2);
}

/* Sends, until the other one has it. */
static void expect_other(unsigned int vector, unsigned int n)
{
	while (READ(count[1][vector]) < n)
		asm volatile("pause");
}

static void guest_sender(void)
{
	enable_apic();
	apic_icr(ICR_ASSERT | VECTOR_A, 1);
	expect_other(VECTOR_A, 1);
	apic_icr(ICR_OTHERS | ICR_ASSERT | VECTOR_A, 0);
	expect_other(VECTOR_A, 2);
	apic_icr(ICR_LOGICAL | ICR_ASSERT | VECTOR_A, 2); /* both have logical IDs 1 << their number */
	expect_other(VECTOR_A, 3);
	apic_icr(ICR_ASSERT | VECTOR_A, x2apic ? ~0u : 0xff);
	expect_other(VECTOR_A, 4);
	wait_for(VECTOR_A, 1);
	apic_icr(ICR_ASSERT | MODE_NMI, 1);
	expect_other(VECTOR_NMI, 1);
	quit = true;
	apic_icr(ICR_ASSERT | VECTOR_B, 1);
	sync_host(1);
}

static void set_logical_id(struct machine *m, unsigned int id)
{
	struct kvm_lapic_state state;
	uint32_t ldr = 1u << (24 + id);

	if (ioctl(m->vcpu[id].fd, KVM_GET_LAPIC, &state))
		die("KVM_GET_LAPIC");
	memcpy(state.regs + APIC_LDR, &ldr, sizeof(ldr));
	if (ioctl(m->vcpu[id].fd, KVM_SET_LAPIC, &state))
		die("KVM_SET_LAPIC");
}

static void *run_second(void *machine)
{
	return (void *)(long)run(machine, 1);
}

static void ipi(bool in_x2apic)
{
	struct machine m = make_machine(2, CHIPS);
	pthread_t second;
	void *said;

	x2apic = in_x2apic;
	quit = false;
	set_logical_id(&m, 0);
	set_logical_id(&m, 1);
	start(&m, 0, guest_sender);
	start(&m, 1, guest_listener);
	RUN(&m, 1, 1);
	pthread_create(&second, NULL, run_second, &m);
	RUN(&m, 0, 1);
	pthread_join(second, &said);
	CHECK((long)said == 2);
	CHECK(count[0][VECTOR_A] == 1 && count[1][VECTOR_NMI] == 1);
	end_machine(&m);
}

static void test_ipi_xapic(void)
{
	ipi(false);
}

static void test_ipi_x2apic(void)
{
	ipi(true);
}

/* movb $0xaa, 0x500; hlt; jmp back to the hlt: in real mode at the page that the SIPI names */
static const uint8_t real_mode_code[] = { 0xc6, 0x06, 0x00, 0x05, 0xaa, 0xf4, 0xeb, 0xfd };

static void guest_starter(void)
{
	enable_apic();
	apic_icr(ICR_ASSERT | MODE_INIT, 1);
	apic_icr(ICR_ASSERT | MODE_SIPI | 3, 1);
	while (READ(low_memory[0x500]) != 0xaa)
		asm volatile("pause");
	sync_host(1);
}

static void no_signal(int number)
{
}

static void test_init_sipi(void)
{
	struct machine m = make_machine(2, CHIPS);
	struct kvm_mp_state state = { KVM_MP_STATE_UNINITIALIZED };
	pthread_t second;

	x2apic = true;
	memcpy(low_memory + 0x3000, real_mode_code, sizeof(real_mode_code));
	low_memory[0x500] = 0;
	start(&m, 0, guest_starter);
	CHECK(!ioctl(m.vcpu[1].fd, KVM_SET_MP_STATE, &state));
	pthread_create(&second, NULL, run_second, &m);
	RUN(&m, 0, 1);
	/* It sleeps for good now: take it out. */
	m.vcpu[1].run->immediate_exit = 1;
	for (;;) {
		struct timespec soon;

		pthread_kill(second, SIGUSR1);
		clock_gettime(CLOCK_REALTIME, &soon);
		soon.tv_sec++;
		if (!pthread_timedjoin_np(second, NULL, &soon))
			break;
	}
	CHECK(!ioctl(m.vcpu[1].fd, KVM_GET_MP_STATE, &state) && state.mp_state == KVM_MP_STATE_HALTED);
	end_machine(&m);
}

/* -- controllers in the client ----------------------------------------------------------------------------------- */

static void guest_bare(void)
{
	sync_host(1);
	open_window();
	sync_host(count[0][VECTOR_A]);
	asm volatile("mov %0, %%cr8" : : "r"(5ul));
	sync_host(3);
	asm volatile("hlt");
}

static void test_user_interrupt(void)
{
	struct machine m = make_machine(1, 0);
	struct kvm_interrupt interrupt = { .irq = VECTOR_A };
	struct kvm_run *run_page = m.vcpu[0].run;

	x2apic = true;
	start(&m, 0, guest_bare);
	RUN(&m, 0, 1);
	CHECK(!run_page->if_flag && !run_page->ready_for_interrupt_injection);
	run_page->request_interrupt_window = 1;
	CHECK(run(&m, 0) == -1 && run_page->exit_reason == KVM_EXIT_IRQ_WINDOW_OPEN);
	CHECK(run_page->if_flag && run_page->ready_for_interrupt_injection);
	run_page->request_interrupt_window = 0;
	CHECK(!ioctl(m.vcpu[0].fd, KVM_INTERRUPT, &interrupt));
	RUN(&m, 0, 1);
	RUN(&m, 0, 3);
	CHECK(run_page->cr8 == 5);
	CHECK(run(&m, 0) == -1 && run_page->exit_reason == KVM_EXIT_HLT);
	end_machine(&m);
}

/* ---------------------------------------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	void (*function)(void);
} tests[] = {
#define TEST(name) { #name, test_##name }
	TEST(self_ipi_xapic),  TEST(self_ipi_x2apic), TEST(task_priority),  TEST(timer_xapic),	   TEST(timer_x2apic),
	TEST(lapic_state),     TEST(pit_by_pic),      TEST(pit_by_ioapic),  TEST(pit_state),	   TEST(irq_line),
	TEST(irqchip_state),   TEST(signal_msi),      TEST(routing),	    TEST(irqfd),	   TEST(irqfd_resample),
	TEST(eventfd_chain),   TEST(ioeventfd),	      TEST(ipi_xapic),	    TEST(ipi_x2apic),	   TEST(init_sipi),
	TEST(user_interrupt),
#undef TEST
};

static const char *current_test;

static void too_slow(int number)
{
	printf("Bail out! %s: no end\n", current_test);
	_exit(1);
}

int main(int argc, char **argv)
{
	const char *path = argc > 1 ? argv[1] : getenv("PITH_DEVICE") ?: "/dev/pith";
	unsigned int i, nr = sizeof(tests) / sizeof(tests[0]), failures = 0;
	struct sigaction wake = { .sa_handler = no_signal };

	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("TAP version 13\n");
	device = open(path, O_RDWR | O_CLOEXEC);
	if (device < 0) {
		printf("1..0 # SKIP %s: %s\n", path, strerror(errno));
		return 4;
	}
	if ((unsigned long)main >= 1ul << 30) {
		printf("1..0 # SKIP not linked below 1 GiB: build with -static -no-pie\n");
		return 4;
	}
	build_tables();
	signal(SIGALRM, too_slow);
	sigaction(SIGUSR1, &wake, NULL);
	printf("1..%u\n", nr);
	for (i = 0; i < nr; i++) {
		current_test = tests[i].name;
		failed = false;
		alarm(60);
		tests[i].function();
		printf("%sok %u %s\n", failed ? "not " : "", i + 1, tests[i].name);
		failures += failed;
	}
	return failures ? 1 : 0;
}
