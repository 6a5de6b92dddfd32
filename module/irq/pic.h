/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The pair of 8259A interrupt controllers of a PC, the second one cascaded to input 2 of the first, and the two
 * edge/level control registers of the PIIX.
 * Source: Intel 8259A datasheet; 82371AB (PIIX4) datasheet for ELCR.
 *
 * Locking is the caller's: everything is called under one lock of the pair. Callbacks come under it; those that may call
 * back into the model say so.
 */
#ifndef PITH_IRQ_PIC_H
#define PITH_IRQ_PIC_H

#include "../portable.h"

#include <linux/kvm.h>

#define PIC_LINES 16
#define PIC_CASCADE 2

#define PIC_PORT_MASTER 0x20
#define PIC_PORT_SLAVE 0xa0
#define PIC_PORT_ELCR 0x4d0

/* pic_set_irq()'s answers. */
#define PIC_IGNORED (-1)
#define PIC_COALESCED 0
#define PIC_DELIVERED 1

enum pic_chip { PIC_MASTER, PIC_SLAVE, NR_PICS };

/**
 * struct pic_ops - what the pair asks of its surroundings
 * @output: the INT pin of the master changed. The CPUs whose lapic_accepts_pic() are to be kicked if @level.
 * @acked: the interrupt of @line was ended (or acknowledged, in automatic EOI mode). May call pic_set_irq(). May be NULL.
 * @masked: @line was masked or unmasked. May be NULL.
 */
struct pic_ops {
	void (*output)(void *ctx, bool level);
	void (*acked)(void *ctx, unsigned int line);
	void (*masked)(void *ctx, unsigned int line, bool masked);
};

/**
 * struct pic - the pair
 * @chip: PIC_MASTER and PIC_SLAVE, in the form in which the client gets and sets them
 * @sources: of each line: which sources drive it; the line is high while any does
 * @output: the INT pin of the master
 * @ops: the surroundings
 * @ctx: handed to @ops
 */
struct pic {
	struct kvm_pic_state chip[NR_PICS];
	u64 sources[PIC_LINES];
	bool output;
	const struct pic_ops *ops;
	void *ctx;
};

/**
 * pic_init() - make a pair in power-up state
 * @pic: to be made
 * @ops: outlive @pic
 * @ctx: handed to @ops
 */
void pic_init(struct pic *pic, const struct pic_ops *ops, void *ctx);

/**
 * pic_reset() - as at power-up, but lines stay as their sources drive them
 * @pic: locked
 */
void pic_reset(struct pic *pic);

/**
 * pic_claims() - is a port the pair's?
 * @port: 0x20, 0x21, 0xa0, 0xa1, 0x4d0 or 0x4d1
 */
static inline bool pic_claims(u16 port)
{
	return (port & ~1u) == PIC_PORT_MASTER || (port & ~1u) == PIC_PORT_SLAVE || (port & ~1u) == PIC_PORT_ELCR;
}

/**
 * pic_port_read() - a guest's IN of a byte
 * @pic: locked
 * @port: one that pic_claims()
 */
u8 pic_port_read(struct pic *pic, u16 port);

/**
 * pic_port_write() - a guest's OUT of a byte
 * @pic: locked
 * @port: one that pic_claims()
 * @value: the byte
 */
void pic_port_write(struct pic *pic, u16 port, u8 value);

/**
 * pic_set_irq() - a source drives a line high or low
 * @pic: locked
 * @line: below PIC_LINES
 * @source: below 64; the line is the OR of its sources
 * @level: high
 *
 * Return: PIC_DELIVERED; PIC_COALESCED: a request was pending already; PIC_IGNORED: the line is masked.
 */
int pic_set_irq(struct pic *pic, unsigned int line, unsigned int source, bool level);

/**
 * pic_clear_source() - a source goes away: it drives no line any more
 * @pic: locked
 * @source: below 64
 */
void pic_clear_source(struct pic *pic, unsigned int source);

/**
 * pic_output() - does the pair request an interrupt?
 * @pic: needs no lock
 */
static inline bool pic_output(const struct pic *pic)
{
	return READ_ONCE(pic->output);
}

/**
 * pic_read_irq() - the CPU's interrupt acknowledge
 * @pic: locked
 *
 * Return: the vector; that of input 7 if the request went away meanwhile (a spurious interrupt).
 */
u8 pic_read_irq(struct pic *pic);

/**
 * pic_get_state() - KVM_GET_IRQCHIP
 * @pic: locked
 * @chip: PIC_MASTER or PIC_SLAVE
 * @state: to be filled
 */
void pic_get_state(const struct pic *pic, enum pic_chip chip, struct kvm_pic_state *state);

/**
 * pic_set_state() - KVM_SET_IRQCHIP
 * @pic: locked
 * @chip: PIC_MASTER or PIC_SLAVE
 * @state: anything; bits that no register has are dropped
 */
void pic_set_state(struct pic *pic, enum pic_chip chip, const struct kvm_pic_state *state);

#endif
