/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The I/O APIC: 24 pins, each with a redirection entry that says what message its interrupt becomes.
 * Source: Intel 82093AA datasheet; ICH9 datasheet for the EOI register of version 0x20.
 *
 * Locking is the caller's: everything is called under one lock of the I/O APIC. Callbacks come under it; those that may
 * call back into the model say so.
 */
#ifndef PITH_IRQ_IOAPIC_H
#define PITH_IRQ_IOAPIC_H

#include "lapic.h"

#define IOAPIC_PINS KVM_IOAPIC_NUM_PINS
#define IOAPIC_DEFAULT_BASE 0xfec00000ull
#define IOAPIC_SIZE 0x100
#define IOAPIC_RTC_PIN 8

/* The memory-mapped registers. */
#define IOAPIC_REGSEL 0x00
#define IOAPIC_WINDOW 0x10
#define IOAPIC_EOI 0x40

/* What IOREGSEL selects. */
#define IOAPIC_REG_ID 0x00
#define IOAPIC_REG_VERSION 0x01
#define IOAPIC_REG_ARBITRATION 0x02
#define IOAPIC_REG_ENTRY 0x10

/* 82093AA; and the later one that has an EOI register. */
#define IOAPIC_VERSION_82093AA 0x11
#define IOAPIC_VERSION_EOI 0x20

/* A redirection entry. */
#define IOAPIC_ENTRY_VECTOR GENMASK_ULL(7, 0)
#define IOAPIC_ENTRY_DELIVERY_SHIFT 8
#define IOAPIC_ENTRY_LOGICAL BIT_ULL(11)
#define IOAPIC_ENTRY_STATUS BIT_ULL(12)
#define IOAPIC_ENTRY_POLARITY BIT_ULL(13)
#define IOAPIC_ENTRY_REMOTE_IRR BIT_ULL(14)
#define IOAPIC_ENTRY_LEVEL BIT_ULL(15)
#define IOAPIC_ENTRY_MASKED BIT_ULL(16)
#define IOAPIC_ENTRY_DEST_SHIFT 56

/* ioapic_set_irq()'s answers; more than one: that many CPUs. */
#define IOAPIC_IGNORED (-1)
#define IOAPIC_COALESCED 0
#define IOAPIC_DELIVERED 1

/**
 * struct ioapic_ops - what an I/O APIC asks of its surroundings
 * @deliver: send @msg; returns how many CPUs took it (pending there already or not), 0 or less if none
 * @acked: the interrupt of @pin was ended, or was cut short (for irqfd resampling and the PIT's reinjection). May call
 *	ioapic_set_irq(). May be NULL.
 * @masked: @pin was masked or unmasked. May be NULL.
 * @changed: redirection entries changed: EOI-exit bitmaps made with ioapic_eoi_exits() are stale. May be NULL.
 * @defer: call ioapic_deferred() in some ten milliseconds. May be NULL, which means at once.
 */
struct ioapic_ops {
	int (*deliver)(void *ctx, const struct apic_message *msg);
	void (*acked)(void *ctx, unsigned int pin);
	void (*masked)(void *ctx, unsigned int pin, bool masked);
	void (*changed)(void *ctx);
	void (*defer)(void *ctx);
};

/**
 * struct ioapic - one I/O APIC
 * @base: guest-physical address
 * @entries: redirection table
 * @sources: of each pin: which sources drive it; the pin is high while any does
 * @irr: pins with an interrupt requested: high, as seen since the last rising edge
 * @irr_delivered: of edge-triggered pins: the request was sent
 * @deferred: pins to be looked at by ioapic_deferred()
 * @successive: of each pin: interrupts in a row that found the pin still high at their EOI
 * @rtc_pending: CPUs that still have the RTC's interrupt in service
 * @version: IOAPIC_VERSION_82093AA unless the owner changes it
 * @regsel: IOREGSEL
 * @id: four bits
 * @ops: the surroundings
 * @ctx: handed to @ops
 */
struct ioapic {
	u64 base;
	u64 entries[IOAPIC_PINS];
	u64 sources[IOAPIC_PINS];
	u32 irr;
	u32 irr_delivered;
	u32 deferred;
	u16 successive[IOAPIC_PINS];
	u32 rtc_pending;
	u8 version;
	u8 regsel;
	u8 id;
	const struct ioapic_ops *ops;
	void *ctx;
};

/**
 * ioapic_init() - make an I/O APIC in reset state
 * @ioapic: to be made
 * @ops: outlive @ioapic
 * @ctx: handed to @ops
 */
void ioapic_init(struct ioapic *ioapic, const struct ioapic_ops *ops, void *ctx);

/**
 * ioapic_reset() - all pins masked; they stay high or low as their sources drive them
 * @ioapic: locked
 */
void ioapic_reset(struct ioapic *ioapic);

/**
 * ioapic_claims() - is a guest-physical address this I/O APIC's?
 * @ioapic: needs no lock
 * @gpa: guest-physical address
 */
static inline bool ioapic_claims(const struct ioapic *ioapic, u64 gpa)
{
	return gpa - READ_ONCE(ioapic->base) < IOAPIC_SIZE;
}

/**
 * ioapic_mmio_read() - a guest's load
 * @ioapic: locked
 * @offset: from the base
 * @data: @len bytes to be filled
 * @len: 1, 2, 4 or 8
 */
void ioapic_mmio_read(struct ioapic *ioapic, u32 offset, void *data, unsigned int len);

/**
 * ioapic_mmio_write() - a guest's store
 * @ioapic: locked
 * @offset: from the base
 * @data: @len bytes
 * @len: 1, 2, 4 or 8
 */
void ioapic_mmio_write(struct ioapic *ioapic, u32 offset, const void *data, unsigned int len);

/**
 * ioapic_set_irq() - a source drives a pin high or low
 * @ioapic: locked
 * @pin: below IOAPIC_PINS
 * @source: below 64; the pin is the OR of its sources
 * @level: high
 * @report: the caller acts upon the answer (KVM_IRQ_LINE_STATUS): an RTC interrupt that comes while the last one is
 *	still in service is then not sent, but reported as coalesced, for the client to send it again
 *
 * Return: how many CPUs took the interrupt; IOAPIC_COALESCED: one was pending already; IOAPIC_IGNORED: the pin is
 * masked, or its last interrupt is still in service.
 */
int ioapic_set_irq(struct ioapic *ioapic, unsigned int pin, unsigned int source, bool level, bool report);

/**
 * ioapic_clear_source() - a source goes away: it drives no pin any more
 * @ioapic: locked
 * @source: below 64
 */
void ioapic_clear_source(struct ioapic *ioapic, unsigned int source);

/**
 * ioapic_eoi() - a local APIC ended an interrupt
 * @ioapic: locked
 * @vector: of the interrupt
 * @trigger: as the local APIC had it
 */
void ioapic_eoi(struct ioapic *ioapic, u8 vector, enum apic_trig_mode trigger);

/**
 * ioapic_deferred() - send what @defer put off: the interrupts of pins that stormed
 * @ioapic: locked
 */
void ioapic_deferred(struct ioapic *ioapic);

/**
 * ioapic_eoi_exits() - add the vectors whose EOI the I/O APIC must hear of
 * @ioapic: locked
 * @lapic: the local APIC that is asked about: destinations are matched with it
 * @acked_pins: pins whose EOI somebody waits for though they may be edge-triggered
 * @bitmap: 256 bits, added to
 */
void ioapic_eoi_exits(const struct ioapic *ioapic, const struct lapic *lapic, u32 acked_pins, u32 bitmap[8]);

/**
 * ioapic_get_state() - KVM_GET_IRQCHIP
 * @ioapic: locked
 * @state: to be filled
 */
void ioapic_get_state(const struct ioapic *ioapic, struct kvm_ioapic_state *state);

/**
 * ioapic_set_state() - KVM_SET_IRQCHIP
 * @ioapic: locked
 * @state: anything; bits that no register has are dropped. Requests in @state are sent.
 */
void ioapic_set_state(struct ioapic *ioapic, const struct kvm_ioapic_state *state);

#endif
