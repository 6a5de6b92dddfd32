/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the kernel's side of the interrupt controllers shares among its own files; everybody else takes irqchip.h.
 *
 * Locks. irqchip->config_lock, a mutex, orders changes of routes and irqfds, and of what stands at the local APICs'
 * address: for that the lock of the second-stage tables is taken inside of it. irqchip->lock, raw, with interrupts off,
 * stands around the models of I/O APIC, PIC and PIT; under it interrupts are delivered and vCPUs kicked. An eventfd's
 * own lock is outside of it, for an eventfd that is signalled may be an irqfd, which drives a pin: so no eventfd may be
 * signalled under irqchip->lock (see irqchip_unlock()). irqchip->srcu protects what is looked up in any context: routes
 * and resampled irqfds.
 *
 * A local APIC has no lock: it is its vCPU's, but for the functions that lapic.h allows in any context.
 */
#ifndef PITH_IRQ_INTERNAL_H
#define PITH_IRQ_INTERNAL_H

#include <linux/hrtimer.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/srcu.h>
#include <linux/workqueue.h>

#include "../vcpu.h"
#include "../vm.h"

/* <asm/apicdef.h>, which half of the kernel's headers bring along, has these names, too, as bits of registers. */
#undef APIC_DEST_LOGICAL
#undef APIC_DEST_PHYSICAL
#undef APIC_LVT_MASKED
#include "apic_map.h"
#include "ioapic.h"
#include "irqchip.h"
#include "lapic.h"
#include "pic.h"
#include "pit.h"

struct routing;

/* Who drives a pin; the pin is high while any of them does. */
enum irq_source { IRQ_SOURCE_CLIENT, IRQ_SOURCE_RESAMPLE, IRQ_SOURCE_PIT };

/* The PIT drives this GSI, wherever it is routed. */
#define PIT_GSI 0

/**
 * struct destinations - a map of all local APICs of a VM by destination
 * @rcu: its end
 * @seq: the irqchip's destinations_seq before it was made; it is stale if that has grown
 * @nr_vcpus: that are in it
 * @map: the numbers in it are the vCPUs' indices
 */
struct destinations {
	struct rcu_head rcu;
	unsigned int seq, nr_vcpus;
	struct apic_map map;
};

/**
 * struct irqchip - the interrupt controllers that the vCPUs of a VM share
 * @vm: whose they are
 * @split: I/O APIC, PIC and PIT are in the client, and their models here unused; never changed
 * @client_pins: with @split: so many GSIs from 0 on are the pins of the client's I/O APICs
 * @lock: of the members up to @eoi_exits_seq
 * @has_pit: the client made a PIT; never reset
 * @has_speaker: port 0x61 is the PIT's
 * @resampled: a GSI with resampled irqfds was acknowledged: they are to be signalled after unlocking
 * @eoi_exits_seq: grows when an EOI-exit bitmap made before may be wrong
 * @pit_timer: the PIT's
 * @deferred_timer: to ioapic_deferred()
 * @destinations: which vCPUs a message may be for; read under RCU, NULL before a vCPU has run
 * @destinations_seq: grows when a local APIC changes what it answers to
 * @access_page: what stands at the local APICs' address for CPUs that virtualize accesses there, or NULL; set before a
 *	vCPU runs
 * @config_lock: of changes of @destinations, @routing and irqfds, and of whether @access_page is used
 * @srcu: readers of @routing and @resampled_irqfds
 * @routing: GSIs to pins and messages
 * @resampled_irqfds: those with a resample eventfd
 * @irqfds_lock: of the next three; taken inside an eventfd's lock, interrupts off
 * @irqfds: all that are in use
 * @nr_irqfds: length of @irqfds
 * @dead_irqfds: those on their way out
 * @reap: buries irqfds whose eventfd was closed
 */
struct irqchip {
	struct vm *vm;
	bool split;
	u32 client_pins;

	raw_spinlock_t lock;
	struct ioapic ioapic;
	struct pic pic;
	struct pit pit;
	bool has_pit;
	bool has_speaker;
	bool resampled;
	u32 eoi_exits_seq;

	struct hrtimer pit_timer;
	struct hrtimer deferred_timer;

	struct destinations __rcu *destinations;
	atomic_t destinations_seq;
	struct page *access_page;

	struct mutex config_lock;
	struct srcu_struct srcu;
	struct routing __rcu *routing;
	struct list_head resampled_irqfds;
	spinlock_t irqfds_lock;
	struct list_head irqfds;
	unsigned int nr_irqfds;
	struct list_head dead_irqfds;
	struct work_struct reap;
};

/**
 * struct vcpu_lapic - a local APIC with what the kernel adds to the model; own context but for @timer's function
 * @lapic: the model; vcpu->lapic points here
 * @vcpu: whose it is
 * @timer: runs when the guest's timer does
 * @tsc_deadline: what @timer stands for in TSC-deadline mode; 0: it stands for a time
 * @advance_ns: how much earlier than that @timer is set: what it took lately from its interrupt into the guest
 * @eoi_exits_seq: the irqchip's when the EOI-exit bitmap was made
 * @ended: the vector that REQ_IOAPIC_EOI is about
 * @reports_tpr: the client wants to hear of accesses to TPR
 * @tpr_access_is_write: what REQ_TPR_ACCESS is about
 * @tpr_access_rip: and the instruction's address
 * @vapic: with REQ_VAPIC: guest-physical, the word that holds TPR as well
 * @vapic_tpr: what both said when they were last compared
 */
struct vcpu_lapic {
	struct lapic lapic;
	struct vcpu *vcpu;
	struct hrtimer timer;
	u64 tsc_deadline;
	u32 advance_ns;
	u32 eoi_exits_seq;
	u8 ended;
	bool reports_tpr;
	bool tpr_access_is_write;
	u64 tpr_access_rip;
	u64 vapic;
	u8 vapic_tpr;
};

/* irqchip.c */

static inline struct irqchip *vm_irqchip(const struct vm *vm)
{
	return smp_load_acquire(&vm->irqchip);
}

/* Whether the controllers that the vCPUs share are here, too. */
static inline bool irqchip_whole(const struct irqchip *chip)
{
	return chip && !chip->split;
}

static inline bool irqchip_has_pit(const struct irqchip *chip)
{
	return chip && smp_load_acquire(&chip->has_pit);
}

unsigned long irqchip_lock(struct irqchip *chip) __acquires(&chip->lock);

/* Unlocks, and then tells the resampled irqfds of what was acknowledged under the lock. */
void irqchip_unlock(struct irqchip *chip, unsigned long flags) __releases(&chip->lock);

/* EOI-exit bitmaps made so far may be wrong; locked. */
void irqchip_eoi_exits_stale(struct irqchip *chip);

/* The I/O APIC's pins whose EOI somebody waits for. Locked. */
u32 irqchip_acked_pins(struct irqchip *chip);

/* deliver.c */

/**
 * irq_deliver - brings a message to the vCPUs that are its destination
 * @vm: with an irqchip
 * @source: the vCPU whose IPI it is, or NULL
 * @msg: the message
 * Context: any. Return: how many vCPUs took it, pending there before or not.
 */
int irq_deliver(struct vm *vm, struct vcpu *source, const struct apic_message *msg);

/* In a destination as the client and I/O APICs write it 0xff may mean x2APICs as well. */
static inline u32 irq_device_dest(const struct vm *vm, u32 dest)
{
	bool quirk = !(READ_ONCE(vm->x2apic_api) & KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK);

	return quirk && dest == APIC_DEST_BROADCAST_XAPIC ? APIC_DEST_BROADCAST : dest;
}

/* irq_deliver() of a message with such a destination. */
int irq_deliver_device(struct vm *vm, struct apic_message msg);

/* A tick of the PIT to all whose LINT0 is in NMI mode: what watchdogs in guests count on. Any context. */
void irq_deliver_lint0_nmi(struct vm *vm);

/* The PIC's INT pin went high: its takers look. Any context. */
void irq_kick_pic_takers(struct vm *vm);

/*
 * A register of a local APIC was written by its vCPU: is there an interrupt now that the run loop must look for? Most
 * writes, an EOI above all, leave none. With virtual-interrupt delivery the CPU is to hear of it. With a TPR shadow the
 * threshold may have to follow, even if there is none to be taken yet: the guest may have raised TPR, and lowers it
 * without an exit where the threshold is too low; and an entry with one above TPR fails.
 */
static inline void irq_look(struct vcpu *vcpu)
{
	bool tell = vcpu->virtual_delivery || vcpu->tpr_threshold;

	if (tell || irq_waits(vcpu) || (vcpu->tpr_shadow && READ_ONCE(vcpu->lapic->irr_pending)))
		vcpu_request(vcpu, REQ_EVENT);
}

/* vcpu_lapic.c; own context */

static inline struct vcpu_lapic *vcpu_lapic(const struct vcpu *vcpu)
{
	return container_of(vcpu->lapic, struct vcpu_lapic, lapic);
}

/* lapic_ack() */
int vcpu_lapic_take(struct vcpu *vcpu);

/* vapic.c: of struct lapic_ops */
void vapic_tpr_accessed(void *ctx, bool write);

/* lapic_timer.c: struct lapic_ops of the timer; @ctx is the vCPU */
void lapic_timer_init(struct vcpu_lapic *v);
void lapic_timer_arm_ns(void *ctx, u64 deadline);
void lapic_timer_arm_tsc(void *ctx, u64 deadline);
void lapic_timer_cancel(void *ctx);
u64 lapic_timer_now(void *ctx);

/* routing.c */

/**
 * routing_drive - a source drives a GSI high or low
 * @chip: not locked
 * @gsi: any number; without a route nothing happens
 * @source: who drives it
 * @level: high; a message is sent when it is
 * @report: see ioapic_set_irq()
 * Context: any. Return: as KVM_IRQ_LINE_STATUS has it: how many vCPUs took it, 0 pending already, negative ignored.
 */
int routing_drive(struct irqchip *chip, u32 gsi, enum irq_source source, bool level, bool report);

/* The client drives it high, and low again: a message is sent once, and pins see an edge. Any context. */
void routing_pulse(struct irqchip *chip, u32 gsi);

/* routing_drive(), locked. */
void routing_drive_locked(struct irqchip *chip, u32 gsi, enum irq_source source, bool level);

/* The GSI that is routed to a pin of the I/O APIC or of the PIC pair, or -1. Any context. */
int routing_ioapic_gsi(struct irqchip *chip, unsigned int pin);
int routing_pic_gsi(struct irqchip *chip, unsigned int line);

/* The I/O APIC's pin that a GSI is routed to, as a bit, or 0. Any context. */
u32 routing_ioapic_pins(struct irqchip *chip, u32 gsi);

/* With the split model: adds the vectors of level-triggered routes to @lapic, whose EOI the client waits for. */
void routing_eoi_exits(struct irqchip *chip, const struct lapic *lapic, u32 bitmap[8]);

int routing_create(struct irqchip *chip);
void routing_destroy(struct irqchip *chip);

/* irqfd.c */

/* The I/O APIC's pins of all GSIs that have resampled irqfds. Any context. */
u32 irqfd_resampled_pins(struct irqchip *chip);

/* Whether a GSI has resampled irqfds: irqfd_signal_resampled() will signal them then. Locked. */
bool irqfd_acked(struct irqchip *chip, u32 gsi);

/* Signals the resample eventfds of all GSIs that irqfd_acked() was called for. Not under irqchip->lock. */
void irqfd_signal_resampled(struct irqchip *chip);

void irqfds_init(struct irqchip *chip);
void irqfds_destroy(struct irqchip *chip);

/* ioeventfd.c */
void ioeventfds_destroy(struct vm *vm);

#endif
