// SPDX-License-Identifier: GPL-2.0
/*
 * The pair of 8259As. Source: Intel 8259A datasheet; what it calls IR is a line here.
 *
 * A deviation that all clients count on: a request of an edge-triggered line stays though the line goes low before the
 * acknowledge. A tick of the PIT is a pulse without a length.
 */
#include "pic.h"

#define CHIP_LINES 8
#define SPURIOUS 7

#define ICW1 BIT(4)
#define ICW1_IC4 BIT(0)
#define ICW4_AUTO_EOI BIT(1)
#define ICW4_SPECIAL_FULLY_NESTED BIT(4)

#define OCW2_EOI BIT(5)
#define OCW2_SPECIFIC BIT(6)
#define OCW2_ROTATE BIT(7)

#define OCW3 BIT(3)
#define OCW3_SELECT_ISR BIT(0)
#define OCW3_READ BIT(1)
#define OCW3_POLL BIT(2)
#define OCW3_SPECIAL_MASK BIT(5)
#define OCW3_SET_SPECIAL_MASK BIT(6)

#define POLL_REQUEST BIT(7)

/* What kvm_pic_state.init_state waits for. */
enum { INIT_DONE, INIT_ICW2, INIT_ICW3, INIT_ICW4 };

/* Lines that may be level-triggered: not timer, keyboard, cascade, clock, coprocessor. 82371AB, "ELCR". */
static const u8 elcr_masks[NR_PICS] = { 0xf8, 0xde };

static unsigned int chip_line(enum pic_chip chip, unsigned int irq)
{
	return chip * CHIP_LINES + irq;
}

/* Of the chip's inputs in @bits the one of highest priority, or -1. @distance: how far it is from the top. */
static int highest(const struct kvm_pic_state *s, u8 bits, unsigned int *distance)
{
	for (*distance = 0; *distance < CHIP_LINES; ++*distance) {
		unsigned int irq = (*distance + s->priority_add) % CHIP_LINES;

		if (bits & BIT(irq))
			return irq;
	}
	return -1;
}

/* The inputs in service, but for those that "Special Mask Mode" lets others pass. */
static u8 in_service(const struct kvm_pic_state *s)
{
	return s->special_mask ? s->isr & ~s->imr : s->isr;
}

/*
 * The input that a chip asks to be served, or -1. One in service holds back those of the same and of lower priority; in
 * "Special Fully Nested Mode" the cascade does not hold back itself, for the slave may have something higher now.
 */
static int requested(const struct pic *pic, enum pic_chip chip)
{
	const struct kvm_pic_state *s = &pic->chip[chip];
	bool nested = s->special_fully_nested_mode && chip == PIC_MASTER;
	unsigned int distance, limit;
	int irq = highest(s, s->irr & ~s->imr, &distance);

	highest(s, in_service(s), &limit);
	if (distance < limit || (nested && irq == PIC_CASCADE && distance == limit))
		return irq;
	return -1;
}

/* The slave's INT pin is the master's cascade input, which simply follows it. */
static void update(struct pic *pic)
{
	struct kvm_pic_state *master = &pic->chip[PIC_MASTER];
	bool output;

	if (requested(pic, PIC_SLAVE) >= 0)
		master->irr |= BIT(PIC_CASCADE);
	else
		master->irr &= ~BIT(PIC_CASCADE);
	output = requested(pic, PIC_MASTER) >= 0;
	if (output == pic->output)
		return;
	WRITE_ONCE(pic->output, output);
	pic->ops->output(pic->ctx, output);
}

static void acked(struct pic *pic, enum pic_chip chip, unsigned int irq)
{
	if (pic->ops->acked)
		pic->ops->acked(pic->ctx, chip_line(chip, irq));
}

/* Lines. */

/* Whether this is a new request. */
static bool raise(struct kvm_pic_state *s, u8 bit)
{
	bool pending = s->irr & bit;
	bool edge = !(s->last_irr & bit);

	s->last_irr |= bit;
	if (s->elcr & bit || edge)
		s->irr |= bit;
	return !pending && s->irr & bit;
}

static void lower(struct kvm_pic_state *s, u8 bit)
{
	s->last_irr &= ~bit;
	if (s->elcr & bit)
		s->irr &= ~bit;
}

int pic_set_irq(struct pic *pic, unsigned int line, unsigned int source, bool level)
{
	struct kvm_pic_state *s = &pic->chip[line / CHIP_LINES];
	u8 bit = BIT(line % CHIP_LINES);
	int result = PIC_DELIVERED;

	if (line == PIC_CASCADE)
		return PIC_IGNORED;
	if (level)
		pic->sources[line] |= BIT_ULL(source);
	else
		pic->sources[line] &= ~BIT_ULL(source);
	if (!pic->sources[line])
		lower(s, bit);
	else if (!raise(s, bit))
		result = PIC_COALESCED;
	update(pic);
	return s->imr & bit ? PIC_IGNORED : result;
}

void pic_clear_source(struct pic *pic, unsigned int source)
{
	unsigned int line;

	for (line = 0; line < PIC_LINES; line++)
		if (pic->sources[line] & BIT_ULL(source))
			pic_set_irq(pic, line, source, false);
}

/* Those of a chip's lines that are high. */
static u8 high_lines(const struct pic *pic, enum pic_chip chip)
{
	unsigned int irq;
	u8 bits = 0;

	for (irq = 0; irq < CHIP_LINES; irq++)
		if (pic->sources[chip_line(chip, irq)])
			bits |= BIT(irq);
	return bits;
}

/* Acknowledge and end of interrupt. */

static void rotate(struct kvm_pic_state *s, unsigned int lowest)
{
	s->priority_add = (lowest + 1) % CHIP_LINES;
}

static void acknowledge(struct pic *pic, enum pic_chip chip, unsigned int irq)
{
	struct kvm_pic_state *s = &pic->chip[chip];

	if (!(s->elcr & BIT(irq)))
		s->irr &= ~BIT(irq);
	if (!s->auto_eoi) {
		s->isr |= BIT(irq);
		return;
	}
	if (s->rotate_on_auto_eoi)
		rotate(s, irq);
	acked(pic, chip, irq);
}

u8 pic_read_irq(struct pic *pic)
{
	enum pic_chip chip = PIC_MASTER;
	int irq = requested(pic, PIC_MASTER);

	if (irq >= 0)
		acknowledge(pic, PIC_MASTER, irq);
	if (irq == PIC_CASCADE) {
		chip = PIC_SLAVE;
		irq = requested(pic, PIC_SLAVE);
		if (irq >= 0)
			acknowledge(pic, PIC_SLAVE, irq);
	}
	update(pic);
	return pic->chip[chip].irq_base + (irq < 0 ? SPURIOUS : irq);
}

/* "Poll Command": the read is the acknowledge. */
static u8 poll(struct pic *pic, enum pic_chip chip)
{
	int irq = requested(pic, chip);

	pic->chip[chip].poll = 0;
	if (irq < 0)
		return 0;
	acknowledge(pic, chip, irq);
	update(pic);
	return POLL_REQUEST | irq;
}

static void end_of_interrupt(struct pic *pic, enum pic_chip chip, unsigned int irq)
{
	struct kvm_pic_state *s = &pic->chip[chip];

	if (!(s->isr & BIT(irq)))
		return;
	s->isr &= ~BIT(irq);
	acked(pic, chip, irq);
}

/* Command words. */

/* Waiting for a low-to-high transition means that lines that are high now do not count. */
static void write_icw1(struct pic *pic, enum pic_chip chip, u8 value)
{
	struct kvm_pic_state *s = &pic->chip[chip];
	u8 dropped = s->isr | (s->irr & ~s->elcr);
	unsigned int irq;

	s->last_irr = high_lines(pic, chip);
	s->irr &= s->elcr;
	s->isr = 0;
	s->imr = 0;
	s->priority_add = 0;
	s->special_mask = 0;
	s->read_reg_select = 0;
	s->poll = 0;
	s->rotate_on_auto_eoi = 0;
	s->init4 = value & ICW1_IC4;
	s->init_state = INIT_ICW2;
	if (!s->init4) {
		s->special_fully_nested_mode = 0;
		s->auto_eoi = 0;
	}
	for (irq = 0; irq < CHIP_LINES; irq++)
		if (dropped & BIT(irq))
			acked(pic, chip, irq);
}

static void write_icw4(struct kvm_pic_state *s, u8 value)
{
	s->special_fully_nested_mode = !!(value & ICW4_SPECIAL_FULLY_NESTED);
	s->auto_eoi = !!(value & ICW4_AUTO_EOI);
	s->init_state = INIT_DONE;
}

static void write_mask(struct pic *pic, enum pic_chip chip, u8 value)
{
	struct kvm_pic_state *s = &pic->chip[chip];
	u8 changed = s->imr ^ value;
	unsigned int irq;

	s->imr = value;
	for (irq = 0; pic->ops->masked && irq < CHIP_LINES; irq++)
		if (changed & BIT(irq))
			pic->ops->masked(pic->ctx, chip_line(chip, irq), value & BIT(irq));
}

static void write_ocw2(struct pic *pic, enum pic_chip chip, u8 value)
{
	struct kvm_pic_state *s = &pic->chip[chip];
	unsigned int distance;
	int irq = value % CHIP_LINES;

	if (!(value & OCW2_SPECIFIC))
		irq = highest(s, in_service(s), &distance);
	if (!(value & (OCW2_EOI | OCW2_SPECIFIC)))
		s->rotate_on_auto_eoi = !!(value & OCW2_ROTATE);
	else if (value & OCW2_ROTATE && irq >= 0)
		rotate(s, irq);
	if (value & OCW2_EOI && irq >= 0)
		end_of_interrupt(pic, chip, irq);
}

static void write_ocw3(struct kvm_pic_state *s, u8 value)
{
	s->poll = !!(value & OCW3_POLL);
	if (value & OCW3_READ)
		s->read_reg_select = value & OCW3_SELECT_ISR;
	if (value & OCW3_SET_SPECIAL_MASK)
		s->special_mask = !!(value & OCW3_SPECIAL_MASK);
}

static void write_command(struct pic *pic, enum pic_chip chip, u8 value)
{
	if (value & ICW1)
		write_icw1(pic, chip, value);
	else if (value & OCW3)
		write_ocw3(&pic->chip[chip], value);
	else
		write_ocw2(pic, chip, value);
}

static void write_data(struct pic *pic, enum pic_chip chip, u8 value)
{
	struct kvm_pic_state *s = &pic->chip[chip];

	switch (s->init_state) {
	case INIT_DONE:
		write_mask(pic, chip, value);
		break;
	case INIT_ICW2:
		s->irq_base = value & ~(CHIP_LINES - 1);
		s->init_state = INIT_ICW3;
		break;
	case INIT_ICW3: /* where the other chip is: that is known */
		s->init_state = s->init4 ? INIT_ICW4 : INIT_DONE;
		break;
	case INIT_ICW4:
		write_icw4(s, value);
		break;
	}
}

/* A line that is level-triggered now requests what it says now. */
static void write_elcr(struct pic *pic, enum pic_chip chip, u8 value)
{
	struct kvm_pic_state *s = &pic->chip[chip];
	u8 made_level = value & elcr_masks[chip] & ~s->elcr;

	s->elcr = value & elcr_masks[chip];
	s->irr = (s->irr & ~made_level) | (high_lines(pic, chip) & made_level);
}

static enum pic_chip port_chip(u16 port)
{
	if ((port & ~1u) == PIC_PORT_ELCR)
		return port & 1 ? PIC_SLAVE : PIC_MASTER;
	return (port & ~1u) == PIC_PORT_SLAVE ? PIC_SLAVE : PIC_MASTER;
}

u8 pic_port_read(struct pic *pic, u16 port)
{
	enum pic_chip chip = port_chip(port);
	const struct kvm_pic_state *s = &pic->chip[chip];

	if ((port & ~1u) == PIC_PORT_ELCR)
		return s->elcr;
	if (s->poll)
		return poll(pic, chip);
	if (port & 1)
		return s->imr;
	return s->read_reg_select ? s->isr : s->irr;
}

void pic_port_write(struct pic *pic, u16 port, u8 value)
{
	enum pic_chip chip = port_chip(port);

	if ((port & ~1u) == PIC_PORT_ELCR)
		write_elcr(pic, chip, value);
	else if (port & 1)
		write_data(pic, chip, value);
	else
		write_command(pic, chip, value);
	update(pic);
}

/* Lifetime and state. */

void pic_reset(struct pic *pic)
{
	enum pic_chip chip;

	for (chip = PIC_MASTER; chip < NR_PICS; chip++)
		pic->chip[chip] = (struct kvm_pic_state){
			.last_irr = high_lines(pic, chip),
			.elcr_mask = elcr_masks[chip],
		};
	update(pic);
}

void pic_init(struct pic *pic, const struct pic_ops *ops, void *ctx)
{
	*pic = (struct pic){ .ops = ops, .ctx = ctx };
	pic_reset(pic);
}

void pic_get_state(const struct pic *pic, enum pic_chip chip, struct kvm_pic_state *state)
{
	*state = pic->chip[chip];
}

void pic_set_state(struct pic *pic, enum pic_chip chip, const struct kvm_pic_state *state)
{
	pic->chip[chip] = (struct kvm_pic_state){
		.last_irr = state->last_irr,
		.irr = state->irr,
		.imr = state->imr,
		.isr = state->isr,
		.priority_add = state->priority_add % CHIP_LINES,
		.irq_base = state->irq_base & ~(CHIP_LINES - 1),
		.read_reg_select = !!state->read_reg_select,
		.poll = !!state->poll,
		.special_mask = !!state->special_mask,
		.init_state = state->init_state % (INIT_ICW4 + 1),
		.auto_eoi = !!state->auto_eoi,
		.rotate_on_auto_eoi = !!state->rotate_on_auto_eoi,
		.special_fully_nested_mode = !!state->special_fully_nested_mode,
		.init4 = !!state->init4,
		.elcr = state->elcr & elcr_masks[chip],
		.elcr_mask = elcr_masks[chip],
	};
	update(pic);
}
