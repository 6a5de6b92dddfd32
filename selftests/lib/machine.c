// SPDX-License-Identifier: GPL-2.0
#include "machine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096ul
#define PAGE_ALIGNED __attribute__((aligned(4096)))
#define CPUID_ENTRIES 256
#define UNEXPECTED 0xe0

/* -- the guest's half -------------------------------------------------------------------------------------------- */

unsigned int taken[MACHINE_VCPUS][256];
void (*on_interrupt)(unsigned int vector);
bool x2apic, no_apic;
u8 low_memory[LOW_MEMORY_SIZE] PAGE_ALIGNED;

void apic_write(u32 reg, u32 value)
{
	if (x2apic)
		wrmsr(MSR_X2APIC + (reg >> 4), value);
	else
		mmio_write32(LAPIC_BASE + reg, value);
}

u32 apic_read(u32 reg)
{
	return x2apic ? rdmsr(MSR_X2APIC + (reg >> 4)) : mmio_read32(LAPIC_BASE + reg);
}

void apic_send(u32 icr, u32 dest)
{
	if (x2apic) {
		wrmsr(MSR_X2APIC_ICR, icr | (u64)dest << 32);
		return;
	}
	apic_write(APIC_ICR2, dest << 24);
	apic_write(APIC_ICR, icr);
}

void apic_enable(void)
{
	wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | (x2apic ? 0xc00 : 0x800));
	apic_write(APIC_SVR, 0x1ff);
}

void ioapic_set_entry(unsigned int pin, u32 low, u8 dest)
{
	mmio_write32(IOAPIC_BASE, 0x11 + 2 * pin);
	mmio_write32(IOAPIC_BASE + 0x10, (u32)dest << 24);
	mmio_write32(IOAPIC_BASE, 0x10 + 2 * pin);
	mmio_write32(IOAPIC_BASE + 0x10, low);
}

void pic_init(u8 mask)
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

static u8 stack[MACHINE_VCPUS][0x10000] PAGE_ALIGNED;

/* By its stack: that is there with any interrupt controller, and costs no exit. */
unsigned int this_vcpu(void)
{
	return ((u64)__builtin_frame_address(0) - (u64)stack) / sizeof(stack[0]);
}

void wait_for(unsigned int vector, unsigned int nr)
{
	unsigned int *counter = &taken[this_vcpu()][vector];

	asm volatile("cli" : : : "memory");
	while (READ(*counter) < nr)
		asm volatile("sti; hlt; cli" : : : "memory");
}

void open_window(void)
{
	asm volatile("sti; nop; nop; cli" : : : "memory");
}

static void end_of_interrupt(unsigned int vector)
{
	if (vector >= VECTOR_PIC && vector < VECTOR_PIC + 16)
		outb(0x20, 0x20);
	else if (!no_apic)
		apic_write(APIC_EOI, 0);
}

/* All interrupts and exceptions come here. An exception is nothing that a test expects. */
__attribute__((used, target("general-regs-only"))) void machine_interrupt(unsigned int vector)
{
	if (vector < 32 && vector != VECTOR_NMI)
		for (;;)
			sync_host(UNEXPECTED);
	taken[this_vcpu()][vector]++;
	if (on_interrupt)
		on_interrupt(vector);
	if (vector != VECTOR_NMI)
		end_of_interrupt(vector);
}

/* An entry of 16 bytes for each vector. */
extern u8 machine_vectors[];
asm(".pushsection .text\n"
    ".balign 16\n"
    "machine_vectors:\n"
    ".set vector, 0\n"
    ".rept 256\n"
    ".balign 16\n"
    "push $vector\n"
    "jmp machine_entry\n"
    ".set vector, vector + 1\n"
    ".endr\n"
    "machine_entry:\n"
    "push %rax; push %rcx; push %rdx; push %rsi; push %rdi; push %r8; push %r9; push %r10; push %r11; push %rbp\n"
    "mov 80(%rsp), %edi\n"
    "mov %rsp, %rbp\n"
    "and $-16, %rsp\n"
    "cld\n"
    "call machine_interrupt\n"
    "mov %rbp, %rsp\n"
    "pop %rbp; pop %r11; pop %r10; pop %r9; pop %r8; pop %rdi; pop %rsi; pop %rdx; pop %rcx; pop %rax\n"
    "add $8, %rsp\n"
    "iretq\n"
    ".popsection\n");

/* -- the host's half --------------------------------------------------------------------------------------------- */

static u64 pml4[512] PAGE_ALIGNED, pdpt[512] PAGE_ALIGNED, pd_low[512] PAGE_ALIGNED, pd_high[512] PAGE_ALIGNED;
static u64 gdt[8] PAGE_ALIGNED, idt[512] PAGE_ALIGNED;

static void build_tables(void)
{
	unsigned int i;

	for (i = 0; i < 512; i++) {
		pd_low[i] = (u64)i << 21 | 0x83;
		pd_high[i] = (3ul << 30 | (u64)i << 21) | 0x83;
	}
	pdpt[0] = (u64)pd_low | 3;
	pdpt[3] = (u64)pd_high | 3;
	pml4[0] = (u64)pdpt | 3;
	gdt[1] = 0x00af9b000000ffffull;
	gdt[2] = 0x00cf93000000ffffull;
	for (i = 0; i < 256; i++) {
		u64 entry = (u64)machine_vectors + i * 16;

		idt[2 * i] = (entry & 0xffff) | 8ull << 16 | 0x8eull << 40 | (entry >> 16 & 0xffff) << 48;
		idt[2 * i + 1] = entry >> 32;
	}
}

static void add_slot(int vm, u32 slot, u64 gpa, void *start, u64 size)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot, .guest_phys_addr = gpa, .memory_size = size, .userspace_addr = (u64)start
	};

	if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region))
		die("KVM_SET_USER_MEMORY_REGION");
}

/* All of the program that the linker placed. */
static void add_memory(int vm)
{
	extern char __executable_start[], end[];
	u64 first = (u64)__executable_start & -PAGE, last = ((u64)end + PAGE - 1) & -PAGE;

	if (last > 1ul << 30)
		die("the program is not linked below 1 GiB");
	add_slot(vm, 0, 0, low_memory, sizeof(low_memory));
	add_slot(vm, 1, first, (void *)first, last - first);
}

static void set_cpuid(int device, int vcpu)
{
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + CPUID_ENTRIES * sizeof(cpuid->entries[0]));
	unsigned int i;

	cpuid->nent = CPUID_ENTRIES;
	if (ioctl(device, KVM_GET_SUPPORTED_CPUID, cpuid))
		die("KVM_GET_SUPPORTED_CPUID");
	for (i = 0; i < cpuid->nent; i++)
		if (cpuid->entries[i].function == 1)
			cpuid->entries[i].ecx |= 1u << 21 | 1u << 24; /* x2APIC, TSC deadline */
	if (ioctl(vcpu, KVM_SET_CPUID2, cpuid))
		die("KVM_SET_CPUID2");
	free(cpuid);
}

static void set_long_mode(int vcpu)
{
	struct kvm_segment cs = { .limit = ~0u, .selector = 8, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1 };
	struct kvm_segment ds = { .limit = ~0u, .selector = 16, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1 };
	struct kvm_sregs s;

	if (ioctl(vcpu, KVM_GET_SREGS, &s))
		die("KVM_GET_SREGS");
	s.cs = cs;
	s.ds = s.es = s.fs = s.gs = s.ss = ds;
	s.gdt = (struct kvm_dtable){ .base = (u64)gdt, .limit = sizeof(gdt) - 1 };
	s.idt = (struct kvm_dtable){ .base = (u64)idt, .limit = sizeof(idt) - 1 };
	s.cr0 = 0x80000033; /* PG, NE, ET, MP, PE */
	s.cr3 = (u64)pml4;
	s.cr4 = 0x620;	/* OSXMMEXCPT, OSFXSR, PAE */
	s.efer = 0x500; /* LMA, LME */
	if (ioctl(vcpu, KVM_SET_SREGS, &s))
		die("KVM_SET_SREGS");
}

u32 machine_ids[MACHINE_VCPUS] = { 0, 1, 2, 3 };

static void add_vcpu(struct machine *m, unsigned int vcpu)
{
	int fd = ioctl(m->vm, KVM_CREATE_VCPU, machine_ids[vcpu]);
	int size = ioctl(m->device, KVM_GET_VCPU_MMAP_SIZE, 0);

	if (fd < 0 || size < 0)
		die("KVM_CREATE_VCPU");
	m->vcpu[vcpu].fd = fd;
	m->vcpu[vcpu].run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (m->vcpu[vcpu].run == MAP_FAILED)
		die("mmap");
	set_cpuid(m->device, fd);
	set_long_mode(fd);
}

bool has_apicv(void)
{
	char value = 'N';
	int fd;

	/* The parameters are Intel's. */
	if (!__builtin_cpu_is("intel"))
		return false;
	fd = open("/sys/module/pith/parameters/apicv", O_RDONLY);
	if (fd < 0)
		fd = open("/sys/module/kvm_intel/parameters/enable_apicv", O_RDONLY);
	if (fd < 0 || read(fd, &value, 1) != 1)
		value = 'N';
	close(fd);
	return value == 'Y';
}

struct machine machine_create(unsigned int nr_vcpus, unsigned int with)
{
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
	struct machine m = { .device = open(device_path, O_RDWR | O_CLOEXEC) };
	struct kvm_enable_cap large_code = { .cap = KVM_CAP_VM_DISABLE_NX_HUGE_PAGES };
	struct kvm_enable_cap split = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args = { 24 } };
	unsigned int i;

	if (m.device < 0)
		die("cannot open %s", device_path);
	m.vm = ioctl(m.device, KVM_CREATE_VM, 0);
	if (m.vm < 0)
		die("KVM_CREATE_VM");
	build_tables();
	add_memory(m.vm);
	if (with & WITH_CHIPS && ioctl(m.vm, KVM_CREATE_IRQCHIP, 0))
		die("KVM_CREATE_IRQCHIP");
	if (with & WITH_SPLIT && ioctl(m.vm, KVM_ENABLE_CAP, &split))
		die("KVM_CAP_SPLIT_IRQCHIP");
	if (with & WITH_LARGE_CODE && ioctl(m.vm, KVM_ENABLE_CAP, &large_code))
		die("KVM_CAP_VM_DISABLE_NX_HUGE_PAGES");
	if (with & WITH_PIT && ioctl(m.vm, KVM_CREATE_PIT2, &pit))
		die("KVM_CREATE_PIT2");
	for (i = 0; i < nr_vcpus; i++)
		add_vcpu(&m, i);
	no_apic = !(with & (WITH_CHIPS | WITH_SPLIT));
	return m;
}

void machine_destroy(struct machine *m)
{
	int size = ioctl(m->device, KVM_GET_VCPU_MMAP_SIZE, 0);
	unsigned int i;

	for (i = 0; i < MACHINE_VCPUS; i++) {
		if (!m->vcpu[i].run)
			continue;
		munmap(m->vcpu[i].run, size);
		close(m->vcpu[i].fd);
	}
	close(m->vm);
	close(m->device);
}

void machine_start(struct machine *m, unsigned int vcpu, void (*function)(void))
{
	struct kvm_mp_state runnable = { KVM_MP_STATE_RUNNABLE };
	/* As after a call: the stack is 8 bytes off a multiple of 16. */
	struct kvm_regs regs = { .rip = (u64)function, .rflags = 2, .rsp = (u64)stack[vcpu] + sizeof(stack[vcpu]) - 8 };

	if (ioctl(m->vcpu[vcpu].fd, KVM_SET_REGS, &regs))
		die("KVM_SET_REGS");
	if (!no_apic && ioctl(m->vcpu[vcpu].fd, KVM_SET_MP_STATE, &runnable))
		die("KVM_SET_MP_STATE");
}

/* EAGAIN: it was waiting for a SIPI, and has it now. */
int machine_run(struct machine *m, unsigned int vcpu)
{
	struct kvm_run *run = m->vcpu[vcpu].run;
	int answer;

	do {
		answer = ioctl(m->vcpu[vcpu].fd, KVM_RUN, 0);
	} while (answer && (errno == EINTR || errno == EAGAIN) && !run->immediate_exit);
	if (answer || run->exit_reason != KVM_EXIT_IO || run->io.port != SYNC_PORT)
		return -1;
	return *((u8 *)run + run->io.data_offset);
}

void machine_expect_at(const char *file, int line, struct machine *m, unsigned int vcpu, int number)
{
	int seen = machine_run(m, vcpu);

	if (seen == number)
		return;
	fail_at(file, line, "vCPU %u said %d, expected %d (exit %u, errno %d)", vcpu, seen, number,
		m->vcpu[vcpu].run->exit_reason, errno);
	exit(1);
}
