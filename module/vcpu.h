/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A virtual CPU: the guest's registers in a normal form that both vendors share, what is asked of the vCPU by others,
 * and what an exit left to be done.
 *
 * Register state lives in two places: here, and in the vendor's control structure (VMCS, VMCB) or in the CPU itself.
 * `known` says which groups are valid here, `changed` which of those are newer here; the vendor reads a group when it
 * is first asked for and writes back what changed before the next entry. After an exit nothing is known but the
 * general registers. So: vcpu_know() before reading a group, vcpu_touch() before writing to one.
 */
#ifndef PITH_VCPU_H
#define PITH_VCPU_H

#include <linux/hrtimer.h>
#include <linux/kvm.h>
#include <linux/mutex.h>
#include <linux/rcuwait.h>
#include <linux/static_call.h>
#include <linux/types.h>

#include "cpu/regs.h"
#include "insn/insn.h"
#include "smram.h"

struct vm;
struct vcpu;
struct inspection;
struct lapic;
struct exit_log;

/*
 * Groups of register state, for vcpu->known and vcpu->changed. Of CR0 and CR4 a guest changes by itself only what neither
 * turns a mode on nor guards pages (CR0.TS, CR4.TSD ...): the other bits hold whether or not the group is known.
 */
#define STATE_RIP BIT(0)
#define STATE_RSP BIT(1)
#define STATE_RFLAGS BIT(2)
#define STATE_CR0 BIT(3)
#define STATE_CR3 BIT(4)
#define STATE_CR4 BIT(5)
#define STATE_EFER BIT(6)
#define STATE_TSC BIT(7)    /* tsc_offset, tsc_ratio */
#define STATE_TABLES BIT(8) /* GDTR, IDTR */
#define STATE_DR BIT(9)	    /* DR0-DR3, DR6, DR7 */
#define STATE_PDPTRS BIT(10)
#define STATE_SYSENTER BIT(11) /* SYSENTER_CS, _ESP, _EIP */
#define STATE_SYSCALL BIT(12)  /* STAR, LSTAR, CSTAR, SFMASK, KERNEL_GS_BASE */
#define STATE_SHADOW BIT(13)   /* interrupt shadow: STI, MOV SS; NMI blocking */
#define STATE_PAT BIT(14)
#define STATE_CR2 BIT(15)
#define STATE_MODE BIT(16) /* what the mode and CPL are told by: L and D of CS, DPL of SS */
#define STATE_FIRST_SEGMENT 17
#define STATE_SEGMENT(segment) BIT(STATE_FIRST_SEGMENT + (segment)) /* each of enum segment is a group */
#define STATE_SEGMENTS GENMASK(24, STATE_FIRST_SEGMENT)
#define STATE_ALL GENMASK(24, 0)
/* What executing an instruction by software nearly always looks at. */
#define STATE_EMULATION (STATE_RIP | STATE_RSP | STATE_RFLAGS | STATE_CR3 | STATE_EFER | STATE_SHADOW | STATE_MODE)

/* Bits of vcpu->requests: what is wanted of a vCPU before it may enter the guest again. Each is independent. */
enum vcpu_request {
	REQ_EVENT,	     /* something about interrupts changed: look what is to be injected */
	REQ_TLB_FLUSH,	     /* the second-stage tables lost entries: nothing cached may be used */
	REQ_GUEST_TLB_FLUSH, /* the guest's own translations may be stale (a change of CR0, CR4 by software) */
	REQ_KICK,	     /* leave the inner loop once: somebody waits until this vCPU has passed by */
	REQ_TRIPLE_FAULT,    /* shutdown exit */
	REQ_TIMER,	     /* the local APIC's timer ran out */
	REQ_INIT_SIPI,	     /* INIT or SIPI arrived: look at mp_state */
	REQ_APIC_MAP,	     /* its local APIC answers to other destinations than the map says */
	REQ_IOAPIC_EOI,	     /* an interrupt of the client's I/O APIC ended: it is to hear of it */
	REQ_DEAD,	     /* the VM is bugged */
	REQ_CLOCK,	     /* the guest's kvmclock page is to be written anew */
	REQ_PV_EOI,	     /* the guest may have ended its interrupt in memory */
	REQ_TSC_CATCH_UP,    /* at each entry: see tsc_catch_up() */
	REQ_DEBUG,	     /* an instruction executed by software ended a step of the client's debugger */
	REQ_TPR_ACCESS,	     /* the guest has accessed its TPR: the client is to hear of it */
	REQ_VAPIC,	     /* at each entry: the guest has a word with its TPR in memory: see irq/vapic.c */
	REQ_INTERCEPTS,	     /* what the guest may do without an exit changed */
	REQ_SMI,	     /* an SMI arrived, or may be let in: see smm.h */
	REQ_INSPECT,	     /* somebody wants to see its state: see inspect.c */
};

/* Bits of vcpu->pending_signals. */
enum { PENDING_INIT, PENDING_SIPI, PENDING_SMI };

/* KICKED: in guest mode, but on the way out of it: an IPI was sent. */
enum vcpu_mode { OUTSIDE_GUEST, IN_GUEST, KICKED };

/* What to do after an exit was handled. */
enum next {
	NEXT_EIO = -EIO, /* any negative errno: KVM_RUN fails with it */
	NEXT_USER = 0,	 /* struct kvm_run is filled: back to the client */
	NEXT_ENTER,	 /* into the guest again */
	NEXT_SLOW,	 /* call the same handler again where it may sleep: outside of the slice */
};

/* An event waiting to be injected at the next entry; one at a time, as the hardware has it. */
enum event_type { EVENT_NONE, EVENT_INTERRUPT, EVENT_NMI, EVENT_EXCEPTION, EVENT_SOFT_INTERRUPT, EVENT_SOFT_EXCEPTION };

struct event {
	enum event_type type;
	u8 vector;
	bool has_error;
	bool reinjected; /* delivery had begun before and was cut off by an exit */
	u32 error;
	u8 insn_len; /* of the INT n, INT3, INTO behind a software event */
};

/* Interrupt shadow and NMI blocking, for vcpu->shadow. */
#define SHADOW_STI BIT(0)
#define SHADOW_MOV_SS BIT(1)
#define SHADOW_NMI BIT(2) /* an NMI handler runs: NMIs are blocked until IRET */

struct msr_state {
	u64 star, lstar, cstar, sfmask, kernel_gs_base;
	u64 sysenter_cs, sysenter_esp, sysenter_eip;
	u64 pat, tsc_aux, tsc_adjust, spec_ctrl, misc_enable, apic_base, mtrr_def_type;
	u64 mtrr_fixed[11], mtrr_var[16];
	u64 mcg_status, mcg_cap;
	u64 bios_sign, smi_count, debugctl, platform_info, misc_features_enables, decfg, power_ctl;
	u64 xfd, xfd_err; /* in a slice the CPU has the latter: fpu_get_xfd() */
};

#define MCE_MAX_BANKS 32

/* What a guest and its host tell each other in memory. */
struct paravirt {
	bool enforce_cpuid;	     /* only what CPUID says is there */
	u64 system_time;	     /* MSR_KVM_SYSTEM_TIME */
	bool guest_stopped;	     /* to be told in the kvmclock page */
	u64 steal_time;		     /* MSR_KVM_STEAL_TIME */
	bool preempted;		     /* the guest's kvm_steal_time may say so: it is to be taken back */
	struct task_struct *delayed; /* the thread that run_delay is of: told apart, never followed */
	u64 run_delay;		     /* of what the guest was told */
	u64 eoi;		     /* MSR_KVM_PV_EOI_EN */
	u64 poll_control;	     /* MSR_KVM_POLL_CONTROL */
	bool unhalted;		     /* KVM_HC_KICK_CPU: ends this halt, or the next one; set by others */
};

/* A memory access of an instruction that user space has to answer. Reads are kept, for the instruction's next try. */
#define MMIO_MAX_FRAGMENTS 8
struct mmio_fragment {
	u64 gpa;
	u64 data; /* of a write, 0 beyond len */
	u8 len;
};

struct mmio {
	u64 rip; /* of it: a client that moved RIP meanwhile has given it up */
	u64 gpa; /* where the CPU says that its memory operand is, if gpa_known */
	bool gpa_known;
	struct mmio_fragment reads[MMIO_MAX_FRAGMENTS], writes[MMIO_MAX_FRAGMENTS];
	u8 nr_reads;  /* answered so far in this instruction */
	u8 next_read; /* how many of these the present try has used */
	u8 nr_writes, next_write;
	bool wants_read; /* reads[nr_reads] is being asked for */
};

/* An instruction that exited, and how the guest's page tables led to it. See fetch.c. */
struct fetched {
	u64 linear;
	u64 cr3;
	u64 la57;
	unsigned long seq;  /* of the memory: what is below is by slots that have not changed since */
	unsigned long host; /* the client's address of it; 0: nothing is known */
	unsigned int nr_entries;
	struct fetched_entry {
		unsigned long host;
		u64 value;
	} entry[5];
	u64 bytes[2], mask[2]; /* of the instruction: as they stand in memory */
	struct insn insn;      /* length 0: none */
	u8 mode;	       /* enum insn_mode that it was decoded with */
};

#define FETCHED_BITS 4

struct pio {
	u64 rip; /* of the instruction: a client that moved RIP meanwhile has given it up */
	u16 port;
	u8 size;
	u32 count;
	struct insn_string_io string;
};

struct vcpu {
	/* What the entry and exit path touches, first. */
	unsigned long requests; /* atomic bit operations; see vcpu_request() */
	int mode;		/* enum vcpu_mode; KICKED is written by others */
	u32 known, changed;
	struct cpu_regs regs;
	void *backend; /* the vendor's own */
	struct vm *vm;
	struct kvm_run *run; /* the page shared with the client: never trusted, read once */

	u64 cr0, cr2, cr3, cr4, efer; /* as the guest sees them */
	u32 shadow;		      /* SHADOW_* */
	struct event event;
	u8 nmi_pending;	    /* 0, 1, 2 */
	s16 user_interrupt; /* taken off its controller and not delivered yet: KVM_INTERRUPT's vector; -1: none */
	s16 extint;	    /* of the client's PIC, waiting for LINT0 to let it in; -1: none. See irq_from_client() */

	u32 id;		    /* APIC id */
	unsigned int as_id; /* MEMORY_AS_*: the guest memory that it sees */
	struct {
		u64 gfn;
		unsigned long seq;
	} slotless;		    /* a page without a slot, and memory_sequence() when that was found */
	unsigned int index;	    /* in vm->vcpus */
	int cpu;		    /* the CPU whose slice this is, -1 outside */
	bool in_slice;		    /* preemption is off and control structure loaded: no sleeping */
	int last_cpu;		    /* where it ran last, -1 never */
	struct task_struct *thread; /* in KVM_RUN, else NULL; others look at it in an RCU section */
	unsigned int halt_poll_ns;

	struct kvm_segment segment[NR_SEGMENTS];
	struct kvm_dtable gdt, idt;
	u64 pdptrs[4];
	u64 dr[4], dr6, dr7;
	struct {
		u32 control; /* KVM_GUESTDBG_* */
		u64 dr[4], dr7;
	} guest_debug; /* see cpu/guest_debug.h */
	struct msr_state msr;
	u64 mcg_ctl, mce[MCE_MAX_BANKS][4], mci_ctl2[MCE_MAX_BANKS]; /* see cpu/mce.h */
	struct paravirt pv;
	u64 tsc_offset, tsc_ratio; /* of the guest's TSC to the host's: see cpu/tsc.h */
	u32 tsc_khz;
	bool tsc_catches_up;
	u64 tsc_base, tsc_base_host;
	u8 insn_len; /* of the instruction that exited; 0: not measured yet */

	/* Instructions that exited lately, by a hash of their address, and the one of the exit at hand. */
	struct fetched fetched[1 << FETCHED_BITS];
	const struct insn *insn;
	struct insn_machine machine; /* the vCPU as the executor sees it */

	/* FPU */
	struct fpu_area *fpu; /* the guest's XSAVE image */
	u64 fpu_components;   /* which the image has */
	u64 xcr0, supported_xcr0;
	u64 host_xfd;
	u32 host_pkru;

	/* CPUID as the client set it */
	struct kvm_cpuid_entry2 *cpuid;
	int nr_cpuid;
	u8 maxphyaddr;
	u64 cr4_reserved; /* bits of CR4 that the guest's CPUID does not grant */
	u64 efer_allowed;

	struct lapic *lapic; /* NULL without chips in the module */
	bool tpr_shadow;     /* the guest writes its TPR by CR8 without an exit; set by the backend if lapic is there */
	u8 tpr_threshold;    /* with it: a TPR class below this makes the guest exit */
	bool virtual_delivery; /* the CPU delivers the local APIC's interrupts by itself: irq_virtualize_delivery() */
	u8 cr8;		       /* without */
	u64 deadline;	       /* host TSC at which to leave the guest for the timer; 0: none, or a host timer runs */
	u64 awaited_tsc;       /* the deadline of a timer's interrupt that was requested early; 0: none */
	int mp_state;
	u32 sipi_vector;
	unsigned long pending_signals;

	/* What an exit left for the client, and how to go on afterwards. */
	int (*complete_user)(struct vcpu *vcpu); /* run at the next KVM_RUN: enum next or errno */
	struct mmio mmio;
	struct pio pio;

	struct {
		u64 base;		  /* IA32_SMBASE */
		bool in_nmi;		  /* an NMI's handler was interrupted */
		u8 area[SMRAM_SAVE_SIZE]; /* on its way to or from the guest: too large for a stack */
	} smm;

	struct entry_failure *failure; /* of the last entry that failed; NULL: none has */
	struct exit_log *exit_log;
	struct inspection *inspection; /* asked for; who takes it carries it out. NULL: none is */

	struct mutex mutex;  /* held by whoever works on the vCPU: KVM_RUN, state ioctls */
	struct rcuwait wait; /* where a halted vCPU sleeps */
	sigset_t sigset;
	sigset_t own_sigset; /* the thread's own meanwhile: here, so that vcpu_run() needs no guard of its stack */
	bool sigset_active;
	struct {
		u64 exits, halts, halt_ns, slices, user_exits, faults, mmio, pio, irqs_injected;
	} stat;
};

/*
 * Pages of a vCPU's mapping: struct kvm_run and the data of port I/O, its own; and the VM's ring of coalesced writes.
 */
#define VCPU_RUN_PAGES 2
#define VCPU_MMAP_PAGES 3

struct vcpu *vcpu_create(struct vm *vm, u32 id);
void vcpu_destroy(struct vcpu *vcpu);
/* A new file for a vCPU that holds on to the VM; not installed yet. Or an ERR_PTR. */
struct file *vcpu_open_file(struct vcpu *vcpu);
void vcpu_reset(struct vcpu *vcpu, bool init);

/**
 * vcpu_msrs - KVM_GET_MSRS, KVM_SET_MSRS: entries until one is refused
 * @vcpu: NULL for the MSRs that describe the host, which are only read
 * Return: how many went, or -EFAULT, -E2BIG, -ENOMEM. May sleep.
 */
long vcpu_msrs(struct vcpu *vcpu, struct kvm_msrs __user *user, bool write);

/* halt_poll.c */

/**
 * halt_poll - waits for the end of a halt without giving the CPU away, as long as that has paid lately
 * @wakes: whether it has ended
 */
void halt_poll(struct vcpu *vcpu, bool (*wakes)(struct vcpu *vcpu));

/** halt_poll_learn - the halt has ended after so long: is it worth polling, and for how long? */
void halt_poll_learn(struct vcpu *vcpu, u64 halted_ns);

/** halt_poll_set_limit - KVM_CAP_HALT_POLL: args[0] is the most for this VM, in nanoseconds. 0 or -EINVAL. */
int halt_poll_set_limit(struct vm *vm, const u64 args[4]);

/* yield.c */

/** vcpu_waits_for_cpu - its guest wants to run and its thread has no CPU, and another thread wants ours. Any context. */
bool vcpu_waits_for_cpu(struct vcpu *vcpu);

/** vcpu_yield_to - gives the rest of our time to a vCPU that waits for a CPU. Not in a slice; may sleep. */
void vcpu_yield_to(struct vcpu *vcpu);

/** vcpu_behind_lock - a vCPU that may hold what a spinning one waits for, or NULL: one that waits for a CPU */
struct vcpu *vcpu_behind_lock(struct vcpu *spinning);

/* run.c */
int run_setup(void);
void run_teardown(void);
int vcpu_run(struct vcpu *vcpu);

DECLARE_STATIC_CALL(pith_run, vcpu_run);

/* The calls that all exits go through. */
struct run_calls {
	void (*enter)(struct vcpu *vcpu);
	int (*run)(struct vcpu *vcpu);
	void (*slice_begin)(struct vcpu *vcpu);
	void (*slice_end)(struct vcpu *vcpu);
};

/** run_patch - has these functions called instead of the backend's and vcpu_run(), from now on and by all. May sleep. */
void run_patch(const struct run_calls *calls);

/** vcpu_answer_init_sipi - does what INIT and SIPI that came since ask for. Own context, outside of a slice. */
void vcpu_answer_init_sipi(struct vcpu *vcpu);

/**
 * vcpu_kick - makes a vCPU look at its requests: wakes it when it sleeps, and when it is in guest mode sends the one
 * IPI that makes it exit. Context: any.
 */
void vcpu_kick(struct vcpu *vcpu);

/* Sets a request; the vCPU sees it before its next entry. Another thread's vCPU needs vcpu_kick() as well. */
static inline void vcpu_request(struct vcpu *vcpu, enum vcpu_request request)
{
	set_bit(request, &vcpu->requests);
}

static inline bool vcpu_take_request(struct vcpu *vcpu, enum vcpu_request request)
{
	if (!test_bit(request, &vcpu->requests))
		return false;
	clear_bit(request, &vcpu->requests);
	/* Pairs with the barrier of set_bit()'s caller: what led to the request is visible after it was seen. */
	smp_mb__after_atomic();
	return true;
}

void vcpu_read_state(struct vcpu *vcpu, u32 missing);

/* Makes groups of register state valid in struct vcpu. */
static __always_inline void vcpu_know(struct vcpu *vcpu, u32 groups)
{
	u32 missing = groups & ~vcpu->known;

	if (unlikely(missing))
		vcpu_read_state(vcpu, missing);
}

/* Says that groups of register state are about to be changed in struct vcpu; whole groups must be known. */
static __always_inline void vcpu_touch(struct vcpu *vcpu, u32 groups)
{
	vcpu_know(vcpu, groups);
	vcpu->changed |= groups;
}

static inline u64 vcpu_rip(struct vcpu *vcpu)
{
	vcpu_know(vcpu, STATE_RIP);
	return vcpu->regs.rip;
}

static inline void vcpu_set_rip(struct vcpu *vcpu, u64 rip)
{
	vcpu->regs.rip = rip;
	vcpu->known |= STATE_RIP;
	vcpu->changed |= STATE_RIP;
}

static inline u32 vcpu_eax(const struct vcpu *vcpu)
{
	return vcpu->regs.gpr[REG_RAX];
}

/* EDX:EAX, as RDMSR, WRMSR and XSETBV use it. */
static inline u64 vcpu_edx_eax(const struct vcpu *vcpu)
{
	return (u32)vcpu->regs.gpr[REG_RAX] | vcpu->regs.gpr[REG_RDX] << 32;
}

static inline void vcpu_set_edx_eax(struct vcpu *vcpu, u64 value)
{
	vcpu->regs.gpr[REG_RAX] = (u32)value;
	vcpu->regs.gpr[REG_RDX] = value >> 32;
}

int vcpu_cpl(struct vcpu *vcpu);
bool vcpu_long_mode(struct vcpu *vcpu); /* CS.L with EFER.LMA: 64-bit code */

/* RFLAGS.IF and no interrupt shadow. */
bool vcpu_interrupts_open(struct vcpu *vcpu);

u8 vcpu_pending_nmis(struct vcpu *vcpu);

/* One NMI may be handled while one more waits; others merge with that. Context: any. */
static inline void vcpu_queue_nmi(struct vcpu *vcpu)
{
	u8 pending = READ_ONCE(vcpu->nmi_pending);

	while (pending < 2 && !try_cmpxchg(&vcpu->nmi_pending, &pending, pending + 1))
		;
	vcpu_request(vcpu, REQ_EVENT);
}

/* Out of wait-for-SIPI: real mode, CS:IP = vector << 8 : 0. */
void vcpu_start_at(struct vcpu *vcpu, u32 vector);

/**
 * vcpu_raise - queues an exception for the guest; a second one folds into #DF, a third into a triple fault
 * Source: SDM volume 3, "Double Fault Exception (#DF)".
 */
void vcpu_raise(struct vcpu *vcpu, const struct exception *exception);
void vcpu_raise_gp(struct vcpu *vcpu);
void vcpu_raise_ud(struct vcpu *vcpu);

/* The second half of vcpu_measure(). */
enum next vcpu_decode_length(struct vcpu *vcpu);

/**
 * vcpu_measure - the length of the instruction that exited, in vcpu->insn_len: by decoding, if the hardware told none
 * @next: where it fails, what the handler has to return (NEXT_SLOW, or NEXT_ENTER with an exception queued)
 * Handlers measure before they change anything, so that they can be called again outside of the slice.
 */
static inline bool vcpu_measure(struct vcpu *vcpu, enum next *next)
{
	if (likely(vcpu->insn_len))
		return true;
	*next = vcpu_decode_length(vcpu);
	return vcpu->insn_len;
}

/* Moves RIP past the measured instruction, with all that the end of an instruction means: shadow, RF, single step. */
void vcpu_advance(struct vcpu *vcpu);

/* What the end of an instruction that moved RIP by itself means. */
void vcpu_end_instruction(struct vcpu *vcpu);

#endif
