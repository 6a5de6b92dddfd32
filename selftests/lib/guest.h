/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A virtual machine of one vCPU, for tests: memory, descriptor tables and page tables for each of the CPU's modes, and
 * a way to run a few instructions and see what became of them.
 *
 * Every exception and interrupt that the guest takes ends in an OUT to TRAP_PORT, which guest_run() returns as
 * GUEST_TRAP with what was found on the stack. Code that runs through ends in HLT.
 */
#ifndef SELFTESTS_GUEST_H
#define SELFTESTS_GUEST_H

#include <linux/kvm.h>
#include <sys/ioctl.h>

#include "ktap.h"

#define PAGE 4096u
#define MiB (1ul << 20)

/* Guest-physical memory. Linear addresses are the same, but where a test says otherwise. */
#define GUEST_GDT 0x1000u
#define GUEST_IDT 0x2000u
#define GUEST_STUBS 0x3000u /* what IDT and IVT point to */
#define GUEST_TSS 0x4000u
#define GUEST_TRAP_STACK 0x6000u /* its top; for traps that change stacks */
#define GUEST_STACK 0x8000u	 /* its top */
#define GUEST_CODE 0x8000u
#define GUEST_DATA 0xa000u /* what tests use as they like, up to GUEST_DATA_END */
#define GUEST_DATA_END 0x10000u
#define GUEST_TABLES 0x10000u /* page tables, 16 pages */
#define GUEST_FREE 0x20000u   /* like GUEST_DATA, but for 16-bit code */
#define GUEST_HOLE 0xa0000u   /* no memory from here to 1 MiB: accesses are MMIO */
#define GUEST_HIGH 0x100000u
#define GUEST_MEMORY_SIZE (16 * MiB)

enum guest_mode {
	MODE_REAL,
	MODE_V8086,
	MODE_PROT16,  /* 16-bit protected mode without paging */
	MODE_PROT32,  /* 32-bit, without paging */
	MODE_PAGED32, /* 32-bit paging with 4-MByte pages */
	MODE_PAE,
	MODE_COMPAT, /* 32-bit code in long mode */
	MODE_LONG,
	NR_MODES
};

extern const char *const guest_mode_name[NR_MODES];

/* Selectors of the GDT that guest_set_mode() builds; ring 3's with their RPL. */
enum {
	SEL_CS32 = 0x08,
	SEL_DS32 = 0x10,
	SEL_CS64 = 0x18,
	SEL_CS16 = 0x20,
	SEL_DS16 = 0x28,
	SEL_USER_CS32 = 0x33,
	SEL_USER_DS32 = 0x3b,
	SEL_USER_CS64 = 0x43,
	SEL_TSS = 0x48,	 /* two entries long */
	SEL_FREE = 0x58, /* from here on tests make their own */
	GDT_ENTRIES = 32,
};

#define CR0_PE (1ul << 0)
#define CR0_MP (1ul << 1)
#define CR0_EM (1ul << 2)
#define CR0_TS (1ul << 3)
#define CR0_ET (1ul << 4)
#define CR0_NE (1ul << 5)
#define CR0_WP (1ul << 16)
#define CR0_AM (1ul << 18)
#define CR0_NW (1ul << 29)
#define CR0_CD (1ul << 30)
#define CR0_PG (1ul << 31)
#define CR4_TSD (1ul << 2)
#define CR4_DE (1ul << 3)
#define CR4_PSE (1ul << 4)
#define CR4_PAE (1ul << 5)
#define CR4_PGE (1ul << 7)
#define CR4_OSFXSR (1ul << 9)
#define CR4_OSXMMEXCPT (1ul << 10)
#define CR4_PCIDE (1ul << 17)
#define CR4_OSXSAVE (1ul << 18)
#define EFER_SCE (1ul << 0)
#define EFER_LME (1ul << 8)
#define EFER_LMA (1ul << 10)
#define EFER_NX (1ul << 11)

#define RFLAGS_CF (1ul << 0)
#define RFLAGS_FIXED (1ul << 1)
#define RFLAGS_PF (1ul << 2)
#define RFLAGS_AF (1ul << 4)
#define RFLAGS_ZF (1ul << 6)
#define RFLAGS_SF (1ul << 7)
#define RFLAGS_TF (1ul << 8)
#define RFLAGS_IF (1ul << 9)
#define RFLAGS_DF (1ul << 10)
#define RFLAGS_OF (1ul << 11)
#define RFLAGS_IOPL (3ul << 12)
#define RFLAGS_NT (1ul << 14)
#define RFLAGS_RF (1ul << 16)
#define RFLAGS_VM (1ul << 17)
#define RFLAGS_AC (1ul << 18)
#define RFLAGS_ARITH (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)

#define PTE_P (1ul << 0)
#define PTE_W (1ul << 1)
#define PTE_U (1ul << 2)
#define PTE_A (1ul << 5)
#define PTE_D (1ul << 6)
#define PTE_PS (1ul << 7)
#define PTE_NX (1ul << 63)

enum {
	VECTOR_DE = 0,
	VECTOR_DB = 1,
	VECTOR_NMI = 2,
	VECTOR_BP = 3,
	VECTOR_OF = 4,
	VECTOR_BR = 5,
	VECTOR_UD = 6,
	VECTOR_NM = 7,
	VECTOR_DF = 8,
	VECTOR_TS = 10,
	VECTOR_NP = 11,
	VECTOR_SS = 12,
	VECTOR_GP = 13,
	VECTOR_PF = 14,
	VECTOR_MF = 16,
	VECTOR_AC = 17,
	VECTOR_XM = 19,
};

#define TRAP_PORT 0xee
#define GUEST_TRAP 0x10000u /* beside the KVM_EXIT_* */

/* What an exception or interrupt has left on the stack. */
struct trap {
	u8 vector;
	bool has_error;
	u32 error;
	u64 ip, cs, flags, sp, ss; /* sp and ss only where the CPU pushes them */
	u64 frame;		   /* address of ip */
};

struct guest {
	int device, vm, vcpu;
	struct kvm_run *run;
	u8 *memory;
	enum guest_mode mode;
	bool user;	      /* ring 3 */
	struct kvm_regs regs; /* as after the last exit; what guest_start() begins with */
	u32 exit;	      /* of the last guest_run() */
	struct trap trap;
	u32 code_size;
};

/* -- making one -------------------------------------------------------------------------------------------------- */

/* The device, opened. */
int open_device(void);

/* Whether this machine's CPU is QEMU's, which does not check all that a CPU checks, and dies of some of it. */
bool emulated_by_qemu(void);

/* A VM with memory but no vCPU; then the vCPU, as it comes out of RESET but for its CPUID: all that is supported. */
struct guest *guest_create_vm(void);
void guest_create_vcpu(struct guest *g);
/* Both, and in a mode. */
struct guest *guest_create(enum guest_mode mode);
void guest_destroy(struct guest *g);

void guest_add_memory(struct guest *g, u32 slot, u64 gpa, void *start, u64 size, u32 flags);

/* Zeroed pages of this process, for guest_add_memory(). */
void *pages(u64 size);

/* Builds the tables of a mode and puts the vCPU there; to ring 3 it goes by itself when guest_start() makes it run. */
void guest_set_mode(struct guest *g, enum guest_mode mode, bool user);

struct kvm_sregs guest_sregs(struct guest *g);
void guest_set_sregs(struct guest *g, const struct kvm_sregs *sregs);
struct kvm_vcpu_events guest_events(struct guest *g);
void guest_set_events(struct guest *g, const struct kvm_vcpu_events *events);

/* One MSR, by the client. Whether the call took it. */
bool guest_get_msr(struct guest *g, u32 index, u64 *value);
bool guest_set_msr(struct guest *g, u32 index, u64 value);

/* The extended state, of whatever size it is (KVM_CAP_XSAVE2). To be freed. */
void *guest_xsave(struct guest *g);

/*
 * Another VM, in which the guest goes on where it stopped, as after a migration: memory, registers, extended state, IA32_XFD and
 * IA32_XFD_ERR. The first one is no more. For long mode.
 */
struct guest *guest_moved(struct guest *g);

struct kvm_cpuid2 *supported_cpuid(int device);
/* The entry of a leaf in a list, or NULL. */
struct kvm_cpuid_entry2 *find_cpuid(struct kvm_cpuid2 *cpuid, u32 function, u32 index);

/* Descriptors as the GDT has them. */
u64 descriptor(u32 base, u32 limit, u16 attributes);
void guest_set_gdt(struct guest *g, u16 selector, u64 value);
/* The gate of a vector: to the same handler, with other attributes (P, DPL, type). */
void guest_set_gate(struct guest *g, u8 vector, u16 selector, u8 attributes);

/*
 * Paging modes map all linear addresses of memory to themselves with large pages; this maps one 4-KByte page otherwise.
 * @flags: PTE_*; without PTE_P the page is not there
 */
void guest_map(struct guest *g, u64 linear, u64 gpa, u64 flags);
/* The entry that maps it, to look at its A and D bits. */
u64 guest_pte(struct guest *g, u64 linear);

/* -- running it -------------------------------------------------------------------------------------------------- */

/* Code of the guest, assembled into the program: CODE64("mov %rax, %rbx"). For initializers of automatic variables. */
struct code {
	const u8 *start, *end;
};

#define CODE_PASTE(a, b) a##b
#define CODE_N(n, bits, text)                                                                    \
	({                                                                                       \
		extern const u8 CODE_PASTE(code_, n)[], CODE_PASTE(code_end_, n)[];              \
		asm(".pushsection .rodata\n.code" #bits "\ncode_" #n ":\n" text "\ncode_end_" #n \
		    ":"                                                                          \
		    "\n.code64\n.popsection");                                                   \
		(struct code){ CODE_PASTE(code_, n), CODE_PASTE(code_end_, n) };                 \
	})
#define CODE_EXPAND(n, bits, text) CODE_N(n, bits, text)
#define CODE16(text) CODE_EXPAND(__COUNTER__, 16, text)
#define CODE32(text) CODE_EXPAND(__COUNTER__, 32, text)
#define CODE64(text) CODE_EXPAND(__COUNTER__, 64, text)

/* Copies code and a HLT to GUEST_CODE, and sets up g->regs to run it with all other registers zero. */
void guest_load(struct guest *g, struct code code);

/* Begins with g->regs. */
u32 guest_start(struct guest *g);
/* Goes on. Both return KVM_EXIT_* or GUEST_TRAP. */
u32 guest_run(struct guest *g);

/* After GUEST_TRAP: lets the guest execute the IRET that ends the handler. */
void guest_end_trap(struct guest *g);

/* The data of a KVM_EXIT_IO. */
static inline void *guest_io_data(struct guest *g)
{
	return (u8 *)g->run + g->run->io.data_offset;
}

/* The last exit in words. */
const char *guest_exit_text(struct guest *g);

bool expect_exit_at(const char *file, int line, struct guest *g, u32 exit);
bool expect_trap_at(const char *file, int line, struct guest *g, u8 vector, u64 error, u64 ip);
#define expect_exit(g, exit) expect_exit_at(__FILE__, __LINE__, g, exit)
/* The code has run to its HLT. */
#define expect_end(g) expect_exit(g, KVM_EXIT_HLT)
/* A trap, at an offset into the code. @error: its error code, or NO_ERROR if none may be pushed */
#define NO_ERROR (~0ull)
#define expect_trap(g, vector, error, offset) \
	expect_trap_at(__FILE__, __LINE__, g, vector, error, GUEST_CODE + (offset))

#endif
