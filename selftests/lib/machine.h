/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Virtual machines whose guest code is C of the test program: its own pages are the guest's memory, at the same
 * addresses, so functions run where they are linked and variables are shared by host and guest. The guest is in 64-bit
 * mode, ring 0, with what is below 1 GiB and from 3 to 4 GiB identity-mapped, and has up to four vCPUs.
 *
 * The half for the guest has no library: what it calls must come from here or from the test.
 */
#ifndef SELFTESTS_MACHINE_H
#define SELFTESTS_MACHINE_H

#include <linux/kvm.h>
#include <sys/ioctl.h>

#include "ktap.h"

#define MACHINE_VCPUS 4

/* -- the guest's half -------------------------------------------------------------------------------------------- */

#define SYNC_PORT 0x10

#define LAPIC_BASE 0xfee00000ul
#define IOAPIC_BASE 0xfec00000ul

/* Registers of a local APIC, and their bits. SDM volume 3, "Local APIC Register Address Map". */
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
#define ICR_NMI (4u << 8)
#define ICR_INIT (5u << 8)
#define ICR_STARTUP (6u << 8)
#define ICR_LOGICAL (1u << 11)
#define ICR_ASSERT (1u << 14)
#define ICR_SELF (1u << 18)
#define ICR_OTHERS (3u << 18)

/* Bits of the I/O APIC's redirection entries. */
#define ENTRY_LEVEL (1u << 15)
#define ENTRY_MASKED (1u << 16)

#define MSR_APIC_BASE 0x1b
#define MSR_TSC_DEADLINE 0x6e0
#define MSR_X2APIC 0x800
#define MSR_X2APIC_ICR 0x830
#define MSR_X2APIC_SELF_IPI 0x83f

#define VECTOR_NMI 2
#define VECTOR_PIC 0x30 /* and the 15 after it, once pic_init() was called */

#define READ(x) (*(volatile __typeof__(x) *)&(x))

/* Interrupts taken: of each vCPU, of each vector. */
extern unsigned int taken[MACHINE_VCPUS][256];

/* Called before the EOI, if set. */
extern void (*on_interrupt)(unsigned int vector);

/* How the guest's vCPUs talk to their local APICs; or no_apic: there is none in the kernel. */
extern bool x2apic, no_apic;

static inline void outb(u16 port, u8 value)
{
	asm volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline void wrmsr(u32 msr, u64 value)
{
	asm volatile("wrmsr" : : "c"(msr), "a"((u32)value), "d"((u32)(value >> 32)) : "memory");
}

static inline u64 rdmsr(u32 msr)
{
	u32 low, high;

	asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr) : "memory");
	return low | (u64)high << 32;
}

static inline void write_cr8(u64 value)
{
	asm volatile("mov %0, %%cr8" : : "r"(value) : "memory");
}

static inline void mmio_write32(unsigned long address, u32 value)
{
	asm volatile("movl %0, (%1)" : : "r"(value), "r"(address) : "memory");
}

static inline u32 mmio_read32(unsigned long address)
{
	u32 value;

	asm volatile("movl (%1), %0" : "=r"(value) : "r"(address) : "memory");
	return value;
}

/* Tells the host a number, which machine_run() returns there. */
static inline void sync_host(u8 number)
{
	outb(SYNC_PORT, number);
}

/* Which of the machine's vCPUs runs this. */
unsigned int this_vcpu(void);

void apic_write(u32 reg, u32 value);
u32 apic_read(u32 reg);
void apic_send(u32 icr, u32 dest);
void apic_enable(void);
void ioapic_set_entry(unsigned int pin, u32 low, u8 dest);
void pic_init(u8 mask);

/* Sleeps until so many interrupts of a vector were taken by this vCPU. */
void wait_for(unsigned int vector, unsigned int nr);

/* Takes what is pending. */
void open_window(void);

/* -- the host's half --------------------------------------------------------------------------------------------- */

struct machine {
	int device, vm;
	struct {
		int fd;
		struct kvm_run *run;
	} vcpu[MACHINE_VCPUS];
};

/* What a machine has in the kernel. */
#define WITH_CHIPS 1
#define WITH_PIT 2
#define WITH_SPLIT 4	  /* local APICs and routes only; the client's I/O APIC has 24 pins */
#define WITH_LARGE_CODE 8 /* from large pages on any CPU: KVM_CAP_VM_DISABLE_NX_HUGE_PAGES */

/* The CPU delivers the interrupts of local APICs and ends them by itself: APICv, of pith or of stock KVM, whichever is loaded. */
bool has_apicv(void);

/* Guest-physical 0. */
#define LOW_MEMORY_SIZE 0x10000
extern u8 low_memory[LOW_MEMORY_SIZE];

/* APIC IDs of the vCPUs; 0, 1, 2, ... if not changed. */
extern u32 machine_ids[MACHINE_VCPUS];

struct machine machine_create(unsigned int nr_vcpus, unsigned int with);
void machine_destroy(struct machine *m);

/* A vCPU is to begin a function, which must not return. */
void machine_start(struct machine *m, unsigned int vcpu, void (*function)(void));

/* Runs a vCPU until the guest says a number: that, or -1 if it came out otherwise. */
int machine_run(struct machine *m, unsigned int vcpu);

/* Runs a vCPU, which must say this number: the test ends otherwise. */
void machine_expect_at(const char *file, int line, struct machine *m, unsigned int vcpu, int number);
#define machine_expect(m, vcpu, number) machine_expect_at(__FILE__, __LINE__, m, vcpu, number)

#endif
