// SPDX-License-Identifier: GPL-2.0
/*
 * A guest's registers are its own: it fills all of them and finds them unchanged after ten thousand exits of many kinds,
 * while signals interrupt it, the scheduler preempts it, it is moved between CPUs, and a second guest with other values
 * does the same on the same CPUs. The client's vector registers are as much its own.
 */
#define _GNU_SOURCE
#include <cpuid.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guest.h"

#define NR_GUESTS 2
#define ROUNDS 1000 /* of ten exits or more */
#define MAX_MSRS 16

enum { EXIT_PORT = 0x10, LOADED_PORT, DONE_PORT, CHANGED_PORT };

/* -- what is in the guest's memory ------------------------------------------------------------------------------- */

/* The code below has these addresses and offsets as numbers. */
#define VALUES 0x20000
#define IMAGE 0x21000 /* for XRSTOR */
#define FIRST 0x22000 /* struct snapshot: after all was loaded */
#define LAST 0x24000  /* struct snapshot: now */
#define FRESH 0x26000 /* a page that is taken away now and then */
#define FS_BASE 0x27000
#define GS_BASE 0x28000
#define WATCHED 0x800000 /* what breakpoints wait for; nobody goes there */

struct values {
	u64 gpr[16];
	u64 gpr_seen[16];
	u64 dr[6];	 /* 0x100: DR0 to DR3, DR6, DR7 */
	u64 rounds;	 /* 0x130 */
	u64 xcr0;	 /* 0x138 */
	u64 cr2;	 /* 0x140 */
	u64 cr8;	 /* 0x148 */
	u64 selector[6]; /* 0x150: DS, ES, FS, GS, SS, LDTR */
	u64 has_tsc_aux; /* 0x180 */
	u8 unused[0x78];
	struct {
		u64 index, value;
	} msr[MAX_MSRS]; /* 0x200; index 0 ends the list */
};

struct snapshot {
	u64 system[64];
	u64 msr[64]; /* 0x200 */
	u8 unused[0xc00];
	u8 xsave[PAGE]; /* 0x1000 */
};

_Static_assert(offsetof(struct values, msr) == 0x200, "the guest's code");
_Static_assert(offsetof(struct snapshot, msr) == 0x200, "the guest's code");
_Static_assert(offsetof(struct snapshot, xsave) == 0x1000, "the guest's code");

/* Of struct snapshot's system[]. */
static const char *const system_names[] = {
	"DS",	       "ES",   "FS",	      "GS",  "SS",  "CS",   "LDTR",	   "TR",	  "GDTR",
	"GDTR's base", "IDTR", "IDTR's base", "DR0", "DR1", "DR2",  "DR3",	   "DR6",	  "DR7",
	"CR0",	       "CR2",  "CR3",	      "CR4", "CR8", "XCR0", "what FS has", "what GS has", "TSC_AUX",
};

/* -- the guest --------------------------------------------------------------------------------------------------- */

#define GPRS(op_mem_reg)                                                                                              \
	op_mem_reg(0x00, rax) op_mem_reg(0x08, rbx) op_mem_reg(0x10, rcx) op_mem_reg(0x18, rdx) op_mem_reg(0x20, rsi) \
		op_mem_reg(0x28, rdi) op_mem_reg(0x30, rbp) op_mem_reg(0x38, rsp) op_mem_reg(0x40, r8)                \
			op_mem_reg(0x48, r9) op_mem_reg(0x50, r10) op_mem_reg(0x58, r11) op_mem_reg(0x60, r12)        \
				op_mem_reg(0x68, r13) op_mem_reg(0x70, r14) op_mem_reg(0x78, r15)

#define LOAD(offset, reg) "mov 0x20000+" #offset ", %" #reg "\n"
#define STORE(offset, reg) "mov %" #reg ", 0x20080+" #offset "\n"

/* For instructions that have results. */
#define LOAD_RAX_TO_RDX LOAD(0x00, rax) LOAD(0x08, rbx) LOAD(0x10, rcx) LOAD(0x18, rdx)

/* All general registers through an exit. Label 99 tells that something has changed. */
#define ROUND(exit) \
	GPRS(LOAD)  \
	exit "\n" GPRS(STORE) "mov $0x20000, %esi; mov $0x20080, %edi; mov $16, %ecx; repe cmpsq; jne 99f\n"

#define LOAD_SYSTEM_REGISTERS                                                                                    \
	"mov 0x20138, %eax; mov 0x2013c, %edx; xor %ecx, %ecx; xsetbv\n"                                         \
	"mov $-1, %eax; mov $-1, %edx; xrstor64 0x21000\n"                                                       \
	"mov 0x20150, %eax; mov %eax, %ds; mov 0x20158, %eax; mov %eax, %es; mov 0x20160, %eax; mov %eax, %fs\n" \
	"mov 0x20168, %eax; mov %eax, %gs; mov 0x20170, %eax; mov %eax, %ss; mov 0x20178, %eax; lldt %ax\n"      \
	"mov $0x20200, %esi\n"                                                                                   \
	"1: mov (%rsi), %ecx; jrcxz 2f; mov 8(%rsi), %eax; mov 12(%rsi), %edx; wrmsr; add $16, %esi; jmp 1b\n"   \
	"2: mov 0x20100, %rax; mov %rax, %dr0; mov 0x20108, %rax; mov %rax, %dr1\n"                              \
	"mov 0x20110, %rax; mov %rax, %dr2; mov 0x20118, %rax; mov %rax, %dr3\n"                                 \
	"mov 0x20120, %rax; mov %rax, %dr6; mov 0x20128, %rax; mov %rax, %dr7\n"                                 \
	"mov 0x20140, %rax; mov %rax, %cr2; mov 0x20148, %rax; mov %rax, %cr8\n"

/* A subroutine: fills the struct snapshot at RBP. */
#define TAKE_SNAPSHOT                                                                                   \
	"mov %ds, 0(%rbp); mov %es, 8(%rbp); mov %fs, 16(%rbp); mov %gs, 24(%rbp); mov %ss, 32(%rbp)\n" \
	"mov %cs, 40(%rbp); sldt 48(%rbp); str 56(%rbp); sgdt 70(%rbp); sidt 86(%rbp)\n"                \
	"mov %dr0, %rax; mov %rax, 96(%rbp); mov %dr1, %rax; mov %rax, 104(%rbp)\n"                     \
	"mov %dr2, %rax; mov %rax, 112(%rbp); mov %dr3, %rax; mov %rax, 120(%rbp)\n"                    \
	"mov %dr6, %rax; mov %rax, 128(%rbp); mov %dr7, %rax; mov %rax, 136(%rbp)\n"                    \
	"mov %cr0, %rax; mov %rax, 144(%rbp); mov %cr2, %rax; mov %rax, 152(%rbp)\n"                    \
	"mov %cr3, %rax; mov %rax, 160(%rbp); mov %cr4, %rax; mov %rax, 168(%rbp)\n"                    \
	"mov %cr8, %rax; mov %rax, 176(%rbp)\n"                                                         \
	"xor %ecx, %ecx; xgetbv; mov %eax, 184(%rbp); mov %edx, 188(%rbp)\n"                            \
	"mov %fs:0, %rax; mov %rax, 192(%rbp); mov %gs:0, %rax; mov %rax, 200(%rbp)\n"                  \
	"testb $1, 0x20180; jz 1f; rdtscp; mov %ecx, 208(%rbp)\n"                                       \
	"1: mov $0x20200, %esi; lea 0x200(%rbp), %rdi\n"                                                \
	"1: mov (%rsi), %ecx; jrcxz 2f; rdmsr; mov %eax, (%rdi); mov %edx, 4(%rdi)\n"                   \
	"add $16, %esi; add $8, %edi; jmp 1b\n"                                                         \
	"2: mov $-1, %eax; mov $-1, %edx; xsave64 0x1000(%rbp); ret\n"

static struct code guest_code(void)
{
	return CODE64("cld\n" LOAD_SYSTEM_REGISTERS
		      "mov $0x22000, %ebp; call 80f; out %al, $0x11\n"
		      "70:\n"
		      ROUND("out %al, $0x10")
		      ROUND("cpuid\n" LOAD_RAX_TO_RDX)
		      ROUND("mov %rbx, 0xa0000")
		      ROUND("mov 0xa0000, %rax\n" LOAD(0x00, rax))
		      ROUND("mov $0x1b, %ecx; rdmsr\n" LOAD_RAX_TO_RDX)
		      ROUND("wbinvd")
		      ROUND("hlt")
		      ROUND("mov %rbx, 0x26000; mov 0x26000, %rax\n" LOAD(0x00, rax))
		      ROUND("xor %ecx, %ecx; mov 0x20138, %eax; mov 0x2013c, %edx; xsetbv\n" LOAD_RAX_TO_RDX)
		      ROUND("mov 0x20148, %rax; mov %rax, %cr8\n" LOAD(0x00, rax))
		      ROUND("mov $0x20000, %esi; mov $0x10, %edx; outsl\n" LOAD(0x18, rdx) LOAD(0x20, rsi))
		      "mov $0x8000, %esp; mov $0x24000, %ebp; call 80f\n"
		      "mov $0x22000, %esi; mov $0x24000, %edi; mov $1024, %ecx; repe cmpsq; jne 99f\n"
		      "decq 0x20130; jnz 70b; out %al, $0x12\n"
		      "80: " TAKE_SNAPSHOT
		      "99: out %al, $0x13\n");
}

/* -- values ------------------------------------------------------------------------------------------------------ */

static u64 next_random(u64 *state)
{
	*state = *state * 6364136223846793005ull + 1442695040888963407ull;
	return *state ^ *state >> 29;
}

static void fill_random(void *start, u32 size, u64 *state)
{
	u64 value;
	u32 i;

	for (i = 0; i < size; i += sizeof(value)) {
		value = next_random(state);
		memcpy((u8 *)start + i, &value, size - i < sizeof(value) ? size - i : sizeof(value));
	}
}

#define PKRU 9 /* its component */

/* Key 0 stays open: in Bochs it would keep the host from the pages of its kernel. */
static void fill_pkru(u32 *pkru, u64 *state)
{
	*pkru = next_random(state) & ~3u;
}

/*
 * An image of the XSAVE area, in the standard form, in which all components hold something. SDM volume 1, "XSAVE Area".
 * Without x87 exceptions: the pointers of the last instruction are not kept by all CPUs.
 */
static void fill_xsave(u8 *image, u64 components, u64 *state)
{
	const u16 control = next_random(state) & 1 ? 0x27f : 0xb7f, status = 0x4700;
	const u32 mxcsr = 0x1f80 | (next_random(state) & 0xe000);
	u32 eax, ebx, ecx, edx;
	unsigned int i;

	memset(image, 0, PAGE);
	memcpy(image, &control, sizeof(control));
	memcpy(image + 2, &status, sizeof(status));
	image[4] = 0xff; /* all eight x87 registers are in use */
	memcpy(image + 24, &mxcsr, sizeof(mxcsr));
	for (i = 0; i < 8; i++)
		fill_random(image + 32 + i * 16, 10, state);
	fill_random(image + 160, 256, state);
	memcpy(image + 512, &components, sizeof(components));
	for (i = 2; i < 10; i++) {
		if (!(components >> i & 1))
			continue;
		__cpuid_count(0xd, i, eax, ebx, ecx, edx);
		if (i == PKRU)
			fill_pkru((u32 *)(image + ebx), state);
		else
			fill_random(image + ebx, eax, state);
	}
}

/* x87, SSE, AVX, AVX-512, PKRU */
#define COMPONENTS 0x2e7ul

static u64 guest_components(struct kvm_cpuid2 *cpuid)
{
	const struct kvm_cpuid_entry2 *e = find_cpuid(cpuid, 0xd, 0);

	return e ? e->eax & COMPONENTS : 0;
}

/* AMD's SYSENTER is for 32-bit code: no more of its addresses need be kept. */
static u64 sysenter_mask(void)
{
	u32 eax, ebx, ecx, edx;

	__cpuid(0, eax, ebx, ecx, edx);
	return ebx == signature_AMD_ebx ? 0xffffffff : -1ul;
}

/* The MSRs that hardware or hypervisor switches. */
static void fill_msrs(struct values *v, u64 *random, bool has_tsc_aux)
{
	const u64 canonical = 0xffff800000000000;
	const struct {
		u64 index, value;
	} msrs[] = {
		{ 0xc0000081, next_random(random) },		 /* STAR */
		{ 0xc0000082, next_random(random) | canonical }, /* LSTAR */
		{ 0xc0000083, next_random(random) | canonical }, /* CSTAR */
		{ 0xc0000084, (u32)next_random(random) },	 /* SFMASK */
		{ 0xc0000100, FS_BASE },
		{ 0xc0000101, GS_BASE },
		{ 0xc0000102, next_random(random) | canonical }, /* KERNEL_GS_BASE */
		{ 0x174, (u16)next_random(random) },		 /* SYSENTER_CS */
		{ 0x175, (next_random(random) | canonical) & sysenter_mask() },
		{ 0x176, (next_random(random) | canonical) & sysenter_mask() },
		{ 0x277, next_random(random) & 1 ? 0x0001040506070001 : 0x0706050401000604 }, /* PAT */
		{ has_tsc_aux ? 0xc0000103 : 0, (u32)next_random(random) },
	};

	memcpy(v->msr, msrs, sizeof(msrs));
	v->has_tsc_aux = has_tsc_aux;
}

/* Breakpoints on writes of 8 bytes, all four on. */
#define DR7_FOUR_WRITES 0x999904aa

static void fill_values(struct guest *g, unsigned int number, u64 *random)
{
	struct values *v = (void *)(g->memory + VALUES);
	struct kvm_cpuid2 *cpuid = supported_cpuid(g->device);
	const struct kvm_cpuid_entry2 *e = find_cpuid(cpuid, 0x80000001, 0);
	unsigned int i;

	fill_random(v->gpr, sizeof(v->gpr), random);
	for (i = 0; i < 4; i++)
		v->dr[i] = WATCHED + (number * 8 + i) * 64;
	v->dr[4] = number ? 0xffff0ff1 : 0xffff0ff8; /* DR6: what only software clears */
	v->dr[5] = DR7_FOUR_WRITES;
	v->rounds = ROUNDS;
	v->xcr0 = guest_components(cpuid);
	v->cr2 = next_random(random);
	v->cr8 = 5 + number;
	/* Five data segments and an LDT, a part of the GDT of its own for each guest. */
	for (i = 0; i < 6; i++)
		v->selector[i] = SEL_FREE + number * 0x40 + i * 8;
	fill_msrs(v, random, e && e->edx >> 27 & 1);
	fill_xsave(g->memory + IMAGE, v->xcr0, random);
	fill_random(g->memory + FS_BASE, 8, random);
	fill_random(g->memory + GS_BASE, 8, random);
	free(cpuid);
}

static void fill_descriptors(struct guest *g)
{
	const struct values *v = (void *)(g->memory + VALUES);
	unsigned int i;

	for (i = 0; i < 5; i++)
		guest_set_gdt(g, v->selector[i], descriptor(0x1000 * i, 0x100 + i, 0xc093));
	guest_set_gdt(g, v->selector[5], descriptor(0x9000, 0x77, 0x0082)); /* an LDT, 16 bytes long */
	guest_set_gdt(g, v->selector[5] + 8, 0);
}

/* -- the client -------------------------------------------------------------------------------------------------- */

/* All of a vCPU's state that the client can get. */
struct state {
	struct kvm_sregs sregs;
	struct kvm_debugregs debugregs;
	struct kvm_xsave xsave;
	struct kvm_xcrs xcrs;
	struct kvm_vcpu_events events;
	struct kvm_regs regs;
};

struct runner {
	struct guest *g;
	pthread_t thread;
	volatile pid_t tid;
	u64 exits, interruptions;
	struct state state;			     /* as it was when all was loaded */
	u8 image[PAGE] __attribute__((aligned(64))); /* the thread's own vector registers: before and after */
	u8 after[PAGE] __attribute__((aligned(64)));
	bool done;
};

static volatile bool finished;
static u8 initial_image[PAGE] __attribute__((aligned(64))) = { [24] = 0x80, 0x1f }; /* MXCSR */

static u64 own_components(void)
{
	u32 low, high;

	asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return low & COMPONENTS & ~0x200ul;
}

/* KVM_RUN from a thread whose vector registers all hold something: its result, or the negative error. */
static long run_with_registers(int vcpu, const u8 *before, u8 *after)
{
	register long mask asm("r12") = own_components();
	register const u8 *in asm("r13") = before;
	register u8 *out asm("r14") = after;
	register const u8 *initial asm("r15") = initial_image;
	long result;

	asm volatile(
		"mov %%r12d, %%eax; xor %%edx, %%edx; xrstor64 (%%r13)\n"
		"mov %[number], %%eax; syscall; mov %%rax, %%rbx\n"
		"mov %%r12d, %%eax; xor %%edx, %%edx; xsave64 (%%r14); xrstor64 (%%r15)\n"
		: "=&b"(result)
		: "r"(mask), "r"(in), "r"(out), "r"(initial), "D"(vcpu), "S"(KVM_RUN), [number] "i"(SYS_ioctl)
		: "rax", "rcx", "rdx", "r11", "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",
		  "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
	return result;
}

static void call(struct guest *g, unsigned long request, void *argument)
{
	if (ioctl(g->vcpu, request, argument))
		die("ioctl %#lx of a vCPU", request);
}

static void get_state(struct guest *g, struct state *s)
{
	memset(s, 0, sizeof(*s));
	call(g, KVM_GET_SREGS, &s->sregs);
	call(g, KVM_GET_DEBUGREGS, &s->debugregs);
	call(g, KVM_GET_XSAVE, &s->xsave);
	call(g, KVM_GET_XCRS, &s->xcrs);
	call(g, KVM_GET_VCPU_EVENTS, &s->events);
	call(g, KVM_GET_REGS, &s->regs);
}

static void set_state(struct guest *g, struct state *s)
{
	call(g, KVM_SET_SREGS, &s->sregs);
	call(g, KVM_SET_DEBUGREGS, &s->debugregs);
	call(g, KVM_SET_XCRS, &s->xcrs);
	call(g, KVM_SET_XSAVE, &s->xsave);
	call(g, KVM_SET_VCPU_EVENTS, &s->events);
	call(g, KVM_SET_REGS, &s->regs);
}

static void report_change(struct guest *g)
{
	const struct snapshot *first = (void *)(g->memory + FIRST), *last = (void *)(g->memory + LAST);
	const struct values *v = (void *)(g->memory + VALUES);
	unsigned int i;

	for (i = 0; i < 16; i++)
		if (v->gpr[i] != v->gpr_seen[i])
			fail("general register %u: %#lx, was %#lx", i, v->gpr_seen[i], v->gpr[i]);
	for (i = 0; i < ARRAY_SIZE(system_names); i++)
		if (first->system[i] != last->system[i])
			fail("%s: %#lx, was %#lx", system_names[i], last->system[i], first->system[i]);
	for (i = 0; i < MAX_MSRS; i++)
		if (first->msr[i] != last->msr[i])
			fail("MSR %#lx: %#lx, was %#lx", v->msr[i].index, last->msr[i], first->msr[i]);
	expect_bytes(last->xsave, first->xsave, PAGE);
	fail("something changed after %lu rounds", ROUNDS - v->rounds);
}

/* What the guest has loaded is what was meant, and the client sees it too. */
static void check_loaded(struct guest *g, const struct state *s)
{
	const struct snapshot *first = (void *)(g->memory + FIRST);
	const struct values *v = (void *)(g->memory + VALUES);
	const u8 *image = g->memory + IMAGE;
	unsigned int i;
	u64 value;

	for (i = 0; i < 5; i++)
		expect_eq(first->system[i], v->selector[i]);
	expect_eq(first->system[6], v->selector[5]);
	for (i = 0; i < 6; i++)
		expect_eq(first->system[12 + i], v->dr[i]);
	expect_eq(first->system[19], v->cr2);
	expect_eq(first->system[22], v->cr8);
	expect_eq(first->system[23], v->xcr0);
	for (i = 0; i < MAX_MSRS && v->msr[i].index; i++) {
		context("MSR %#lx", v->msr[i].index);
		expect_eq(first->msr[i], v->msr[i].value);
		expect(guest_get_msr(g, v->msr[i].index, &value));
		expect_eq(value, v->msr[i].value);
		context("%s", "");
	}
	expect_bytes(first->xsave + 32, image + 32, 128 + 256);
	expect_bytes(first->xsave + 512, image + 512, PAGE - 512);
	expect_bytes((u8 *)&s->xsave + 32, image + 32, 128 + 256);
	expect_bytes((u8 *)&s->xsave + 512, image + 512, sizeof(s->xsave) - 512);
	expect_bytes(s->debugregs.db, v->dr, sizeof(s->debugregs.db));
}

static void check_done(struct guest *g, const struct state *then)
{
	struct state s;

	get_state(g, &s);
	expect_bytes(&s.sregs, &then->sregs, sizeof(s.sregs));
	expect_bytes(&s.debugregs, &then->debugregs, sizeof(s.debugregs));
	expect_bytes(&s.xsave, &then->xsave, sizeof(s.xsave));
	expect_bytes(&s.xcrs, &then->xcrs, sizeof(s.xcrs));
}

/* Now and then the page goes, so that the guest's next access is a fault; and all state goes out and in. */
static void answer_port(struct runner *r)
{
	struct state s;

	if (madvise(r->g->memory + FRESH, PAGE, MADV_DONTNEED))
		die("madvise");
	if (r->exits % 64)
		return;
	/* The client's part of the port access comes first. */
	r->g->run->immediate_exit = 1;
	if (!ioctl(r->g->vcpu, KVM_RUN, 0) || errno != EINTR)
		fail("immediate_exit");
	r->g->run->immediate_exit = 0;
	get_state(r->g, &s);
	set_state(r->g, &s);
}

/* The stub of a vector has pushed its number onto the frame. */
static void report_exception(struct guest *g)
{
	const u64 *frame;

	call(g, KVM_GET_REGS, &g->regs);
	frame = (void *)(g->memory + g->regs.rsp % GUEST_TRAP_STACK);
	fail("exception %lu in the guest; its frame begins with %#lx, %#lx", frame[0], frame[1], frame[2]);
}

static void answer_io(struct runner *r)
{
	switch (r->g->run->io.port) {
	case EXIT_PORT:
		answer_port(r);
		break;
	case LOADED_PORT:
		get_state(r->g, &r->state);
		check_loaded(r->g, &r->state);
		break;
	case DONE_PORT:
		check_done(r->g, &r->state);
		r->done = true;
		break;
	case CHANGED_PORT:
		report_change(r->g);
		r->done = true;
		break;
	default:
		report_exception(r->g);
		r->done = true;
	}
}

static void answer(struct runner *r, long result)
{
	const struct kvm_run *run = r->g->run;

	r->exits++;
	if (result == -EINTR) {
		r->interruptions++;
	} else if (result) {
		fail("KVM_RUN: %s", strerrorname_np(-result));
		r->done = true;
	} else if (run->exit_reason == KVM_EXIT_IO) {
		answer_io(r);
	} else if (run->exit_reason != KVM_EXIT_MMIO && run->exit_reason != KVM_EXIT_HLT) {
		fail("the guest ended in exit %u, suberror %u: %llx %llx %llx", run->exit_reason,
		     run->internal.suberror, run->internal.data[0], run->internal.data[1], run->internal.data[2]);
		r->done = true;
	}
}

static void *run_guest(void *argument)
{
	struct runner *r = argument;
	long result;

	r->tid = gettid();
	call(r->g, KVM_SET_REGS, &r->g->regs);
	while (!r->done) {
		result = run_with_registers(r->g->vcpu, r->image, r->after);
		if (!expect_bytes(r->after, r->image, PAGE))
			break;
		answer(r, result);
	}
	return NULL;
}

/* What the guest does not set up itself. QEMU lets a guest's XSETBV through unseen: the client sets XCR0. */
static void set_up(struct guest *g, unsigned int number)
{
	const struct values *v = (void *)(g->memory + VALUES);
	struct kvm_xcrs xcrs = { .nr_xcrs = 1, .xcrs[0].value = v->xcr0 };
	struct kvm_sregs s = guest_sregs(g);

	s.cr4 |= CR4_OSXSAVE;
	s.gdt.limit -= 8 * number;
	s.idt.limit -= 16 * number;
	guest_set_sregs(g, &s);
	call(g, KVM_SET_XCRS, &xcrs);
}

static void start_runner(struct runner *r, unsigned int number)
{
	u64 random = 0x123456789abcdef * (number + 1);

	r->g = guest_create(MODE_LONG);
	fill_values(r->g, number, &random);
	set_up(r->g, number);
	fill_descriptors(r->g);
	guest_load(r->g, guest_code());
	fill_xsave(r->image, own_components(), &random);
	/* XSAVE writes which bits MXCSR has. */
	memset(r->after, 0, PAGE);
	asm volatile("fxsave64 %0" : "=m"(*(u8(*)[512])r->after));
	memcpy(r->image + 28, r->after + 28, 4);
	memset(r->after, 0, PAGE);
	if (pthread_create(&r->thread, NULL, run_guest, r))
		die("pthread_create");
}

/* -- what happens to it ------------------------------------------------------------------------------------------ */

static void nothing(int number)
{
	(void)number;
}

static void move_to(pid_t tid, unsigned int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(tid, sizeof(set), &set);
}

static void *disturb(void *argument)
{
	const unsigned int cpus = sysconf(_SC_NPROCESSORS_ONLN);
	struct runner *runners = argument;
	u64 random = 1;
	unsigned int i;

	while (!finished) {
		for (i = 0; i < NR_GUESTS; i++) {
			if (runners[i].tid)
				move_to(runners[i].tid, (next_random(&random) >> 20) % cpus);
			if (next_random(&random) >> 20 & 1)
				pthread_kill(runners[i].thread, SIGUSR1);
		}
		usleep(1000);
	}
	return NULL;
}

static void test_registers(void)
{
	static struct runner runners[NR_GUESTS];
	struct sigaction action = { .sa_handler = nothing };
	pthread_t disturber;
	unsigned int i;

	if (!guest_components(supported_cpuid(open_device())))
		skip("no XSAVE");
	sigaction(SIGUSR1, &action, NULL);
	for (i = 0; i < NR_GUESTS; i++)
		start_runner(&runners[i], i);
	if (pthread_create(&disturber, NULL, disturb, runners))
		die("pthread_create");
	for (i = 0; i < NR_GUESTS; i++)
		pthread_join(runners[i].thread, NULL);
	finished = true;
	pthread_join(disturber, NULL);
	for (i = 0; i < NR_GUESTS; i++) {
		expect(runners[i].exits > 5 * ROUNDS);
		expect(runners[i].interruptions > 10);
	}
}

/* -- segments in 32-bit mode ------------------------------------------------------------------------------------- */

/* Bases and limits count here. Each segment has a word of its own at its beginning. */
static void test_segments(void)
{
	const u16 selectors[] = { SEL_FREE, SEL_FREE + 8, SEL_FREE + 16, SEL_FREE + 24 };
	struct guest *g = guest_create(MODE_PROT32);
	struct kvm_sregs first, last;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(selectors); i++) {
		guest_set_gdt(g, selectors[i], descriptor(GUEST_FREE + i * 0x1010, 0x40 + i, 0x4093));
		*(u32 *)(g->memory + GUEST_FREE + i * 0x1010) = 0x11111111 * (i + 1);
	}
	guest_load(g, CODE32("mov $0x58, %eax; mov %eax, %ds; mov $0x60, %eax; mov %eax, %es\n"
			     "mov $0x68, %eax; mov %eax, %fs; mov $0x70, %eax; mov %eax, %gs\n"
			     "mov $500, %esi; 1: out %al, $0x10; xor %eax, %eax; cpuid\n"
			     "cmpl $0x11111111, %ds:0; jne 2f; cmpl $0x22222222, %es:0; jne 2f\n"
			     "cmpl $0x33333333, %fs:0; jne 2f; cmpl $0x44444444, %gs:0; jne 2f\n"
			     "dec %esi; jnz 1b; hlt; 2: out %al, $0x13; mov %fs:0x43, %eax"));
	guest_start(g);
	first = guest_sregs(g);
	while (g->exit == KVM_EXIT_IO && g->run->io.port == EXIT_PORT) {
		move_to(0, g->regs.rsi % sysconf(_SC_NPROCESSORS_ONLN));
		guest_run(g);
	}
	expect_exit(g, KVM_EXIT_HLT);
	last = guest_sregs(g);
	expect_bytes(&last, &first, sizeof(first));
	expect_eq(last.fs.base, GUEST_FREE + 0x2020);
	expect_eq(last.fs.limit, 0x42);
}

static const struct test tests[] = {
	{ "registers survive exits, preemption and migration beside another guest", test_registers },
	{ "so do segments in protected mode", test_segments },
};

KTAP_MAIN(tests)
