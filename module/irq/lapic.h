/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The local APIC of one virtual CPU: xAPIC (memory-mapped) and x2APIC (MSRs), its local vector table and its timer.
 * Source: SDM volume 3, "Advanced Programmable Interrupt Controller (APIC)".
 *
 * The model needs no kernel: the surroundings are reached through struct lapic_ops. It has no lock. Three kinds of
 * callers are told apart, and every function says which it is for:
 *
 *  - own: the vCPU's thread (or whoever holds the vCPU stopped). Registers, acknowledge, EOI, timer, state.
 *  - any: any CPU, any context, while the vCPU runs. lapic_accept(), lapic_matches(), lapic_accepts_pic() and
 *    lapic_local_interrupt(). They use atomic bit operations on IRR and TMR, single loads on everything else.
 *
 * The registers are a page in the architectural layout, so that APIC virtualization can take it as the virtual-APIC
 * page. Of what hardware writes to it then the model takes note by itself: TPR, as a TPR shadow makes it, and after
 * lapic_virtualize_delivery() IRR and ISR.
 */
#ifndef PITH_IRQ_LAPIC_H
#define PITH_IRQ_LAPIC_H

#include "../portable.h"

#include <linux/kvm.h>

/*
 * Registers, as offsets into the page; the x2APIC MSR is 0x800 + offset / 16. SDM 3, "Local APIC Register Address Map".
 */
#define LAPIC_ID 0x020
#define LAPIC_VERSION 0x030
#define LAPIC_TPR 0x080
#define LAPIC_APR 0x090
#define LAPIC_PPR 0x0a0
#define LAPIC_EOI 0x0b0
#define LAPIC_RRR 0x0c0
#define LAPIC_LDR 0x0d0
#define LAPIC_DFR 0x0e0
#define LAPIC_SVR 0x0f0
#define LAPIC_ISR 0x100
#define LAPIC_TMR 0x180
#define LAPIC_IRR 0x200
#define LAPIC_ESR 0x280
#define LAPIC_LVT_CMCI 0x2f0
#define LAPIC_ICR 0x300
#define LAPIC_ICR2 0x310
#define LAPIC_LVT_TIMER 0x320
#define LAPIC_LVT_THERMAL 0x330
#define LAPIC_LVT_PMC 0x340
#define LAPIC_LVT_LINT0 0x350
#define LAPIC_LVT_LINT1 0x360
#define LAPIC_LVT_ERROR 0x370
#define LAPIC_TMICT 0x380
#define LAPIC_TMCCT 0x390
#define LAPIC_TDCR 0x3e0
#define LAPIC_SELF_IPI 0x3f0
#define LAPIC_REGS_SIZE 0x400

#define X2APIC_MSR_FIRST 0x800
#define X2APIC_MSR_LAST 0x8ff
#define X2APIC_MSR(offset) (X2APIC_MSR_FIRST + ((offset) >> 4))

/* IA32_APIC_BASE. SDM 3, "Local APIC Status and Location" and "Detecting and Enabling x2APIC Mode". */
#define APIC_BASE_BSP BIT_ULL(8)
#define APIC_BASE_X2APIC BIT_ULL(10)
#define APIC_BASE_ENABLE BIT_ULL(11)
#define APIC_BASE_DEFAULT 0xfee00000ull

#define APIC_SVR_ENABLE BIT(8)
#define APIC_SVR_DIRECTED_EOI BIT(12)

#define APIC_LVT_MASKED BIT(16)

/* In the 32-bit destination of a message: every CPU. 0xff is that only to CPUs in xAPIC mode. */
#define APIC_DEST_BROADCAST 0xffffffffu
#define APIC_DEST_BROADCAST_XAPIC 0xffu

/* Fields of an interrupt message, numbered as in the ICR and in I/O APIC redirection entries. */
enum apic_delivery_mode {
	APIC_DELIVER_FIXED,
	APIC_DELIVER_LOWEST,
	APIC_DELIVER_SMI,
	APIC_DELIVER_REMOTE_READ,
	APIC_DELIVER_NMI,
	APIC_DELIVER_INIT,
	APIC_DELIVER_STARTUP,
	APIC_DELIVER_EXTINT,
};

enum apic_dest_mode { APIC_DEST_PHYSICAL, APIC_DEST_LOGICAL };
enum apic_trig_mode { APIC_TRIGGER_EDGE, APIC_TRIGGER_LEVEL };
enum apic_shorthand { APIC_SHORTHAND_NONE, APIC_SHORTHAND_SELF, APIC_SHORTHAND_ALL, APIC_SHORTHAND_OTHERS };

/**
 * struct apic_message - an interrupt on its way to local APICs
 * @dest: destination: an APIC ID, a logical mask or a broadcast, as @dest_mode says; without meaning if @shorthand
 * @vector: interrupt vector, or page number for APIC_DELIVER_STARTUP
 * @delivery_mode: enum apic_delivery_mode
 * @dest_mode: enum apic_dest_mode
 * @shorthand: enum apic_shorthand; APIC_SHORTHAND_NONE from all but local APICs
 * @trig_mode: enum apic_trig_mode
 * @level: asserted
 *
 * Clients that write 8-bit destinations expect 0xff of an I/O APIC or MSI to reach x2APICs as well; whoever routes a
 * message from there replaces it by APIC_DEST_BROADCAST unless KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK is in force.
 */
struct apic_message {
	u32 dest;
	u8 vector;
	u8 delivery_mode;
	u8 dest_mode;
	u8 shorthand;
	u8 trig_mode;
	bool level;
};

/**
 * struct lapic_ops - what a local APIC asks of its surroundings
 * @send: an IPI to other CPUs (or to self by destination); own context. Routes @msg with lapic_matches() and
 *	lapic_accept() of the targets.
 * @eoi: an interrupt ended that was level-triggered, or whose vector is in the EOI-exit bitmap (see
 *	lapic_set_eoi_exits()); own context. To be handed to ioapic_eoi().
 * @nmi: a non-maskable interrupt came; any context
 * @smi: a system-management interrupt came; any context
 * @init: an INIT came; any context. The vCPU is to call lapic_reset(lapic, true) in its own context.
 * @sipi: a start-up IPI came, execution starts at vector << 12; any context
 * @timer_arm_ns: call lapic_timer_expired() when @now_ns has reached @deadline; own context. Replaces what was armed
 *	before, also an expiry that has happened but was not handed to lapic_timer_expired() yet.
 * @timer_arm_tsc: the same for a deadline of the guest's TSC. One in the past is legal and expires at once.
 * @timer_cancel: forget what was armed; own context
 * @now_ns: monotonic time, own context. The unit is that of the APIC timer: its bus clock is 1 GHz.
 * @dest_changed: ID, logical destination, address, mode or enabling changed: destination maps and EOI-exit bitmaps made from
 *	this local APIC are stale; own context. May be NULL.
 * @tpr_accessed: TPR was read or written as a register, not as CR8; own context. May be NULL.
 */
struct lapic_ops {
	void (*send)(void *ctx, const struct apic_message *msg);
	void (*eoi)(void *ctx, u8 vector, enum apic_trig_mode trigger);
	void (*nmi)(void *ctx);
	void (*smi)(void *ctx);
	void (*init)(void *ctx);
	void (*sipi)(void *ctx, u8 vector);
	void (*timer_arm_ns)(void *ctx, u64 deadline);
	void (*timer_arm_tsc)(void *ctx, u64 deadline);
	void (*timer_cancel)(void *ctx);
	u64 (*now_ns)(void *ctx);
	void (*dest_changed)(void *ctx);
	void (*tpr_accessed)(void *ctx, bool write);
};

/**
 * struct lapic_config - what CPUID and the client decide about a local APIC
 * @base_reserved: bits of IA32_APIC_BASE above MAXPHYADDR
 * @x2apic: CPUID has x2APIC
 * @tsc_deadline: CPUID has the TSC-deadline timer
 * @directed_eoi: software may suppress EOI broadcasts (only with an I/O APIC that has an EOI register)
 * @cmci: the LVT has a CMCI entry
 * @bsp: the bootstrap processor
 * @virtual_wire: LINT0 of the bootstrap processor takes the PIC's interrupts from power-up on, as KVM does for
 *	firmware that forgets to set it (KVM_X86_QUIRK_LINT0_REENABLED)
 * @x2apic_format: struct kvm_lapic_state carries 32-bit IDs (KVM_X2APIC_API_USE_32BIT_IDS)
 * @pmi_masks: a performance-monitoring interrupt masks its LVT entry (Intel; AMD's do not)
 * @min_period_ns: floor of the periodic timer's period, so that a guest cannot have the host's timer storm; 0:
 *	LAPIC_MIN_PERIOD_NS
 */
struct lapic_config {
	u64 base_reserved;
	bool x2apic;
	bool tsc_deadline;
	bool directed_eoi;
	bool cmci;
	bool bsp;
	bool virtual_wire;
	bool x2apic_format;
	bool pmi_masks;
	u32 min_period_ns;
};

/* What KVM takes for min_timer_period_us. */
#define LAPIC_MIN_PERIOD_NS 200000u

enum lapic_mode { LAPIC_OFF, LAPIC_XAPIC, LAPIC_X2APIC };

/* A bit for each vector. */
#define LAPIC_INBOX_WORDS 4

/**
 * struct lapic - one local APIC
 * @regs: the register page, 4 KiB, page-aligned, the owner's
 * @irr_pending: false only if IRR is empty; may lag behind in the other direction, and is always true with
 *	@virtual_delivery
 * @accepting: fixed interrupts are taken: not off, and enabled in SVR
 * @isr_highest: the highest vector in ISR, without meaning if there is none
 * @isr_count: how many there are
 * @mode: enum lapic_mode
 * @timer_mode: the mode bits of the timer's LVT entry
 * @divide_shift: the timer's divisor, as a power of two
 * @timer_running: counting, or waiting for the TSC deadline
 * @id: the x2APIC ID; the xAPIC ID register starts with its low eight bits
 * @base: IA32_APIC_BASE
 * @eoi_exit: vectors whose EOI is reported though they were not level-triggered
 * @virtual_delivery: see lapic_virtualize_delivery()
 * @incoming: vectors that came since the last lapic_collect(), with @virtual_delivery
 * @posted: more of these, which hardware may move to IRR by itself (posted interrupts), or NULL
 * @inbox: @incoming or @posted: where the next ones go
 * @errors: detected since the last write to ESR, in the layout of ESR
 * @tsc_deadline: IA32_TSC_DEADLINE
 * @target_ns: when the counter reaches zero
 * @config: see struct lapic_config; read only, change it with lapic_configure()
 * @ops: the surroundings
 * @ctx: handed to @ops
 *
 * Only @regs, @id, @base, @mode, @config and @eoi_exit are for reading by others.
 */
struct lapic {
	u8 *regs;
	bool irr_pending;
	bool accepting;
	u8 isr_highest;
	u16 isr_count;
	u8 mode;
	u8 timer_mode;
	u8 divide_shift;
	bool timer_running;
	bool virtual_delivery;
	u32 id;
	u64 base;
	u32 eoi_exit[8];
	unsigned long incoming[LAPIC_INBOX_WORDS];
	unsigned long *posted;
	unsigned long *inbox;
	unsigned long errors;
	u64 tsc_deadline;
	u64 target_ns;
	struct lapic_config config;
	const struct lapic_ops *ops;
	void *ctx;
};

/**
 * lapic_init() - make a local APIC, in power-up state
 * @lapic: to be made
 * @regs: 4 KiB, page-aligned, that outlive @lapic
 * @id: x2APIC ID
 * @config: copied
 * @ops: outlive @lapic
 * @ctx: handed to @ops
 */
void lapic_init(struct lapic *lapic, u8 *regs, u32 id, const struct lapic_config *config, const struct lapic_ops *ops,
		void *ctx);

/**
 * lapic_configure() - change what CPUID and the client decide
 * @lapic: own context
 * @config: copied; nothing but the version register changes at once, and that an LVT entry that is new is masked
 */
void lapic_configure(struct lapic *lapic, const struct lapic_config *config);

/**
 * lapic_reset() - power-up reset, or INIT
 * @lapic: own context
 * @init: by INIT, which leaves IA32_APIC_BASE and the ID alone
 */
void lapic_reset(struct lapic *lapic, bool init);

/**
 * lapic_resync() - make again what is cached from the register page
 * @lapic: own context
 *
 * For whoever changed IRR, ISR or TPR behind the model's back.
 */
void lapic_resync(struct lapic *lapic);

/**
 * lapic_virtualize_delivery() - hardware takes interrupts from IRR to ISR and ends them (virtual-interrupt delivery)
 * @lapic: own context, before the vCPU first runs
 * @posted: from where hardware moves what came to IRR when it is notified, LAPIC_INBOX_WORDS that outlive @lapic; or NULL
 *
 * From then on lapic_ack() is for nobody, and IRR is changed in own context only, by lapic_collect().
 */
void lapic_virtualize_delivery(struct lapic *lapic, unsigned long *posted);

/**
 * lapic_allow_posting() - whether what comes may begin and end without software, if hardware is there for it
 * @lapic: any context
 * @allowed: not while an EOI-exit bitmap that hardware goes by is wrong
 */
void lapic_allow_posting(struct lapic *lapic, bool allowed);

/** lapic_has_incoming() - whether lapic_collect() would find anything. Own context. */
bool lapic_has_incoming(const struct lapic *lapic);

/**
 * lapic_collect() - what others have sent since comes into IRR, where hardware looks
 * @lapic: own context
 */
void lapic_collect(struct lapic *lapic);

/**
 * lapic_claims() - is a guest-physical address this local APIC's?
 * @lapic: own context
 * @gpa: guest-physical address
 */
static inline bool lapic_claims(const struct lapic *lapic, u64 gpa)
{
	return lapic->mode == LAPIC_XAPIC && gpa >> 12 == lapic->base >> 12;
}

/**
 * lapic_mmio_read() - a guest's load from the APIC page
 * @lapic: own context
 * @offset: in the page
 * @data: @len bytes to be filled; zeros where there is no register
 * @len: 1, 2, 4 or 8
 */
void lapic_mmio_read(struct lapic *lapic, u32 offset, void *data, unsigned int len);

/**
 * lapic_mmio_write() - a guest's store to the APIC page
 * @lapic: own context
 * @offset: in the page
 * @data: @len bytes
 * @len: what is not 4 bytes at a multiple of 16 is ignored
 */
void lapic_mmio_write(struct lapic *lapic, u32 offset, const void *data, unsigned int len);

/**
 * lapic_written() - hardware stored to a register and leaves the rest to us (APIC-write VM exit)
 * @lapic: own context
 * @offset: of the register; the new value is in the page
 */
void lapic_written(struct lapic *lapic, u32 offset);

/**
 * lapic_msr_read() - RDMSR of an x2APIC register
 * @lapic: own context
 * @msr: X2APIC_MSR_FIRST to X2APIC_MSR_LAST
 * @value: what it holds
 *
 * Return: 0, or -EINVAL: #GP for the guest.
 */
int lapic_msr_read(struct lapic *lapic, u32 msr, u64 *value);

/**
 * lapic_msr_write() - WRMSR of an x2APIC register
 * @lapic: own context
 * @msr: X2APIC_MSR_FIRST to X2APIC_MSR_LAST; EOI, SELF IPI and ICR take the shortest way
 * @value: to be written
 *
 * Return: 0, or -EINVAL: #GP for the guest.
 */
int lapic_msr_write(struct lapic *lapic, u32 msr, u64 value);

/**
 * lapic_set_base() - write IA32_APIC_BASE
 * @lapic: own context
 * @value: to be written
 * @host: by the client, which may go from any mode to any other, and resets nothing by it
 *
 * Return: 0, or -EINVAL: reserved bits, or a mode that cannot be reached from this one; #GP for the guest.
 */
int lapic_set_base(struct lapic *lapic, u64 value, bool host);

/**
 * lapic_tsc_deadline() - read IA32_TSC_DEADLINE
 * @lapic: own context
 */
u64 lapic_tsc_deadline(const struct lapic *lapic);

/**
 * lapic_set_tsc_deadline() - write IA32_TSC_DEADLINE
 * @lapic: own context
 * @deadline: guest TSC; 0 disarms. Ignored if the timer is not in TSC-deadline mode.
 */
void lapic_set_tsc_deadline(struct lapic *lapic, u64 deadline);

/**
 * lapic_cr8() - read CR8
 * @lapic: own context
 */
static inline u8 lapic_cr8(const struct lapic *lapic)
{
	return lapic->regs[LAPIC_TPR] >> 4;
}

/**
 * lapic_set_tpr() - make TPR what has become known of it otherwise
 * @lapic: own context
 * @tpr: the whole register
 */
void lapic_set_tpr(struct lapic *lapic, u8 tpr);

/**
 * lapic_set_cr8() - write CR8
 * @lapic: own context
 * @cr8: 0 to 15
 */
void lapic_set_cr8(struct lapic *lapic, u8 cr8);

/**
 * lapic_tpr_threshold() - the TPR class below which an interrupt would come in that TPR holds back
 * @lapic: own context
 *
 * Return: 1 to 15, not above TPR's class, or 0 if TPR holds back none.
 */
u8 lapic_tpr_threshold(const struct lapic *lapic);

/**
 * lapic_matches() - is this local APIC among a message's destinations?
 * @lapic: any context
 * @dest: destination; APIC_DEST_BROADCAST is every CPU's, APIC_DEST_BROADCAST_XAPIC every CPU's in xAPIC mode
 * @dest_mode: enum apic_dest_mode
 *
 * Shorthands are the router's. Return: whether it is; never if the local APIC is off.
 */
bool lapic_matches(const struct lapic *lapic, u32 dest, u8 dest_mode);

/**
 * lapic_priority() - the processor priority, for lowest-priority arbitration
 * @lapic: any context
 */
static inline u8 lapic_priority(const struct lapic *lapic)
{
	return READ_ONCE(lapic->regs[LAPIC_PPR]);
}

/* lapic_accept()'s answers. */
#define LAPIC_REFUSED (-1)
#define LAPIC_MERGED 0
#define LAPIC_ACCEPTED 1
#define LAPIC_POSTED 2

/**
 * lapic_accept() - an interrupt arrives
 * @lapic: any context
 * @delivery_mode: enum apic_delivery_mode
 * @vector: interrupt vector
 * @level: asserted; de-asserted level-triggered messages mean nothing
 * @trig_mode: enum apic_trig_mode, kept in TMR
 *
 * Return: LAPIC_ACCEPTED: new, the vCPU must be kicked; LAPIC_MERGED: taken, but the same vector was pending already,
 * no kick is needed; LAPIC_POSTED: new, and hardware takes it when it is notified; LAPIC_REFUSED: off,
 * software-disabled, or a vector below 16. What goes by callback (NMI, SMI, INIT, SIPI) counts as LAPIC_ACCEPTED.
 */
int lapic_accept(struct lapic *lapic, u8 delivery_mode, u8 vector, bool level, u8 trig_mode);

/* The slow half of lapic_highest_irq(). */
int lapic_search_irq(struct lapic *lapic);

/**
 * lapic_highest_irq() - the interrupt that the vCPU would take now if RFLAGS.IF lets it
 * @lapic: own context
 *
 * Return: the vector, or -1 if none is above the processor priority.
 */
static __always_inline int lapic_highest_irq(struct lapic *lapic)
{
	return likely(!READ_ONCE(lapic->irr_pending)) ? -1 : lapic_search_irq(lapic);
}

/**
 * lapic_highest_request() - the highest vector in IRR, whatever the processor priority
 * @lapic: own context
 *
 * Return: the vector, or -1. For TPR thresholds and for the guest interrupt status.
 */
int lapic_highest_request(const struct lapic *lapic);

/**
 * lapic_highest_in_service() - the highest vector in ISR
 * @lapic: own context
 *
 * Return: the vector, or -1.
 */
int lapic_highest_in_service(const struct lapic *lapic);

/**
 * lapic_level_in_flight() - is a vector requested or in service, and level-triggered?
 * @lapic: any context
 * @vector: interrupt vector
 */
bool lapic_level_in_flight(const struct lapic *lapic, u8 vector);

/**
 * lapic_ack() - the vCPU takes the interrupt of lapic_highest_irq(): from request to in service
 * @lapic: own context
 *
 * Return: the vector taken, or -1. It may be a higher one than lapic_highest_irq() said: others send meanwhile.
 */
int lapic_ack(struct lapic *lapic);

/**
 * lapic_eoi() - end the highest interrupt in service
 * @lapic: own context
 */
void lapic_eoi(struct lapic *lapic);

/**
 * lapic_eoi_is_private() - one interrupt is in service, none waits for its end, and only this local APIC cares for that
 * Context: own. So the EOI may be seen late.
 */
bool lapic_eoi_is_private(const struct lapic *lapic);

/**
 * lapic_eoi_virtualized() - hardware has ended an interrupt (EOI-induced VM exit): only the report is left to do
 * @lapic: own context
 * @vector: of the interrupt
 */
void lapic_eoi_virtualized(struct lapic *lapic, u8 vector);

/**
 * lapic_set_eoi_exits() - which edge-triggered vectors' EOIs are wanted, too
 * @lapic: own context
 * @bitmap: 256 bits, as ioapic_eoi_exits() makes them
 */
void lapic_set_eoi_exits(struct lapic *lapic, const u32 bitmap[8]);

/**
 * lapic_accepts_pic() - does this CPU take the PIC's interrupts?
 * @lapic: any context
 *
 * Return: whether LINT0 is ExtINT and not masked, or the local APIC is off.
 */
bool lapic_accepts_pic(const struct lapic *lapic);

/**
 * lapic_local_interrupt() - a local source fires
 * @lapic: any context
 * @lvt: its LVT entry: LAPIC_LVT_LINT0, LAPIC_LVT_LINT1, LAPIC_LVT_PMC, LAPIC_LVT_THERMAL, ...
 *
 * ExtINT is not for here: the PIC is asked with lapic_accepts_pic(). Return: as lapic_accept(), LAPIC_REFUSED if
 * masked.
 */
int lapic_local_interrupt(struct lapic *lapic, u32 lvt);

/**
 * lapic_timer_expired() - the host's timer has reached the deadline
 * @lapic: own context: a host timer's interrupt notes it and kicks the vCPU, which then calls this
 *
 * Re-arms a periodic timer. Without effect if no timer runs.
 */
void lapic_timer_expired(struct lapic *lapic);

/**
 * lapic_get_state() - KVM_GET_LAPIC
 * @lapic: own context
 * @state: to be filled
 */
void lapic_get_state(struct lapic *lapic, struct kvm_lapic_state *state);

/**
 * lapic_set_state() - KVM_SET_LAPIC
 * @lapic: own context
 * @state: anything; bits that no register has are dropped
 *
 * The mode is that of IA32_APIC_BASE, which is to be set before. Return: 0, or -EINVAL: another CPU's x2APIC ID.
 */
int lapic_set_state(struct lapic *lapic, const struct kvm_lapic_state *state);

#endif
