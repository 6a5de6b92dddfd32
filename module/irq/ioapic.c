// SPDX-License-Identifier: GPL-2.0
/*
 * The I/O APIC. Source: Intel 82093AA datasheet.
 */
#include "ioapic.h"

#define ENTRY_DELIVERY_MODE GENMASK_ULL(10, 8)
#define ENTRY_READ_ONLY (IOAPIC_ENTRY_STATUS | IOAPIC_ENTRY_REMOTE_IRR)
#define ENTRY_BITS (GENMASK_ULL(16, 0) | GENMASK_ULL(63, 56))
#define ENTRY_RESET IOAPIC_ENTRY_MASKED
#define LOW_HALF GENMASK_ULL(31, 0)

/*
 * A level-triggered pin that nobody lowers interrupts again at each EOI. Real hardware leaves the CPU some instructions
 * between; here the guest would never get beyond its handler. So after that many in a row the next one is put off.
 */
#define SUCCESSIVE_MAX 10000

static bool level_triggered(u64 entry)
{
	return entry & IOAPIC_ENTRY_LEVEL;
}

static struct apic_message entry_message(u64 entry)
{
	return (struct apic_message){
		.dest = entry >> IOAPIC_ENTRY_DEST_SHIFT,
		.vector = entry & IOAPIC_ENTRY_VECTOR,
		.delivery_mode = (entry & ENTRY_DELIVERY_MODE) >> IOAPIC_ENTRY_DELIVERY_SHIFT,
		.dest_mode = entry & IOAPIC_ENTRY_LOGICAL ? APIC_DEST_LOGICAL : APIC_DEST_PHYSICAL,
		.shorthand = APIC_SHORTHAND_NONE,
		.trig_mode = level_triggered(entry) ? APIC_TRIGGER_LEVEL : APIC_TRIGGER_EDGE,
		.level = true,
	};
}

/* Send a pin's interrupt, if its entry lets it. Remote IRR is for those level-triggered ones that somebody took. */
static int service(struct ioapic *ioapic, unsigned int pin)
{
	u64 *entry = &ioapic->entries[pin];
	struct apic_message msg = entry_message(*entry);
	int cpus;

	if (*entry & (IOAPIC_ENTRY_MASKED | IOAPIC_ENTRY_REMOTE_IRR))
		return IOAPIC_IGNORED;
	if (!level_triggered(*entry))
		ioapic->irr_delivered |= BIT(pin);
	cpus = ioapic->ops->deliver(ioapic->ctx, &msg);
	if (level_triggered(*entry) && cpus > 0)
		*entry |= IOAPIC_ENTRY_REMOTE_IRR;
	return cpus;
}

static int raise(struct ioapic *ioapic, unsigned int pin, bool report)
{
	bool high = ioapic->irr & BIT(pin);
	bool rtc = pin == IOAPIC_RTC_PIN && report;
	int cpus;

	if (rtc && ioapic->rtc_pending)
		return IOAPIC_COALESCED;
	ioapic->irr |= BIT(pin);
	if (!level_triggered(ioapic->entries[pin])) {
		if (high)
			return IOAPIC_COALESCED;
		ioapic->irr_delivered &= ~BIT(pin);
	}
	cpus = service(ioapic, pin);
	if (rtc)
		ioapic->rtc_pending = max(cpus, 0);
	return cpus;
}

int ioapic_set_irq(struct ioapic *ioapic, unsigned int pin, unsigned int source, bool level, bool report)
{
	if (level)
		ioapic->sources[pin] |= BIT_ULL(source);
	else
		ioapic->sources[pin] &= ~BIT_ULL(source);
	if (ioapic->sources[pin])
		return raise(ioapic, pin, report);
	ioapic->irr &= ~BIT(pin);
	return IOAPIC_DELIVERED;
}

void ioapic_clear_source(struct ioapic *ioapic, unsigned int source)
{
	unsigned int pin;

	for (pin = 0; pin < IOAPIC_PINS; pin++)
		if (ioapic->sources[pin] & BIT_ULL(source))
			ioapic_set_irq(ioapic, pin, source, false, false);
}

/* The end of an interrupt. */

/* A level-triggered pin that is still high interrupts again. */
static void service_again(struct ioapic *ioapic, unsigned int pin)
{
	if (ioapic->entries[pin] & IOAPIC_ENTRY_MASKED || !(ioapic->irr & BIT(pin))) {
		ioapic->successive[pin] = 0;
	} else if (ioapic->ops->defer && ++ioapic->successive[pin] == SUCCESSIVE_MAX) {
		ioapic->successive[pin] = 0;
		ioapic->deferred |= BIT(pin);
		ioapic->ops->defer(ioapic->ctx);
	} else {
		service(ioapic, pin);
	}
}

/* The pin's owner hears of it while remote IRR is still set: if it lowers and raises the pin now, that is one interrupt. */
static void end_pin(struct ioapic *ioapic, unsigned int pin, enum apic_trig_mode trigger)
{
	u64 *entry = &ioapic->entries[pin];

	if (pin == IOAPIC_RTC_PIN && ioapic->rtc_pending)
		ioapic->rtc_pending--;
	if (ioapic->ops->acked)
		ioapic->ops->acked(ioapic->ctx, pin);
	if (trigger != APIC_TRIGGER_LEVEL || !level_triggered(*entry))
		return;
	*entry &= ~IOAPIC_ENTRY_REMOTE_IRR;
	service_again(ioapic, pin);
}

void ioapic_eoi(struct ioapic *ioapic, u8 vector, enum apic_trig_mode trigger)
{
	unsigned int pin;

	for (pin = 0; pin < IOAPIC_PINS; pin++)
		if ((ioapic->entries[pin] & IOAPIC_ENTRY_VECTOR) == vector)
			end_pin(ioapic, pin, trigger);
}

void ioapic_deferred(struct ioapic *ioapic)
{
	u32 pins = ioapic->deferred & ioapic->irr;
	unsigned int pin;

	ioapic->deferred = 0;
	for (pin = 0; pin < IOAPIC_PINS; pin++)
		if (pins & BIT(pin) && level_triggered(ioapic->entries[pin]))
			service(ioapic, pin);
}

/* An entry may have been made edge-triggered, or pointed elsewhere, while its level-triggered interrupt is in flight. */
static bool eoi_wanted(const struct ioapic *ioapic, const struct lapic *lapic, unsigned int pin, u32 acked_pins)
{
	struct apic_message msg = entry_message(ioapic->entries[pin]);

	if (lapic_level_in_flight(lapic, msg.vector))
		return true;
	if (msg.trig_mode == APIC_TRIGGER_EDGE && pin != IOAPIC_RTC_PIN && !(acked_pins & BIT(pin)))
		return false;
	return lapic_matches(lapic, msg.dest, msg.dest_mode);
}

void ioapic_eoi_exits(const struct ioapic *ioapic, const struct lapic *lapic, u32 acked_pins, u32 bitmap[8])
{
	unsigned int pin;

	for (pin = 0; pin < IOAPIC_PINS; pin++) {
		u8 vector = ioapic->entries[pin] & IOAPIC_ENTRY_VECTOR;

		if (eoi_wanted(ioapic, lapic, pin, acked_pins))
			bitmap[vector >> 5] |= BIT(vector & 31);
	}
}

/* Registers. */

static u32 read_window(const struct ioapic *ioapic)
{
	unsigned int half = ioapic->regsel - IOAPIC_REG_ENTRY;

	switch (ioapic->regsel) {
	case IOAPIC_REG_VERSION:
		return (IOAPIC_PINS - 1) << 16 | ioapic->version;
	case IOAPIC_REG_ID:
	case IOAPIC_REG_ARBITRATION:
		return ioapic->id << 24;
	default:
		return half < 2 * IOAPIC_PINS ? ioapic->entries[half / 2] >> 32 * (half % 2) : ~0u;
	}
}

/*
 * Software switches an entry to edge-triggered and back to clear remote IRR where there is no EOI register: Linux does.
 * An entry that is unmasked, or made level-triggered, while its pin is high interrupts; an edge that came while it was
 * masked is lost.
 */
static void set_entry(struct ioapic *ioapic, unsigned int pin, u64 value)
{
	u64 *entry = &ioapic->entries[pin];
	u64 old = *entry;

	*entry = (value & ENTRY_BITS & ~ENTRY_READ_ONLY) | (old & ENTRY_READ_ONLY);
	if (!level_triggered(*entry))
		*entry &= ~IOAPIC_ENTRY_REMOTE_IRR;
	if (pin == IOAPIC_RTC_PIN)
		ioapic->rtc_pending = 0;
	if ((old ^ *entry) & IOAPIC_ENTRY_MASKED && ioapic->ops->masked)
		ioapic->ops->masked(ioapic->ctx, pin, *entry & IOAPIC_ENTRY_MASKED);
	if (ioapic->ops->changed)
		ioapic->ops->changed(ioapic->ctx);
	if (level_triggered(*entry) && ioapic->irr & BIT(pin))
		service(ioapic, pin);
}

static void write_window(struct ioapic *ioapic, u32 value)
{
	unsigned int half = ioapic->regsel - IOAPIC_REG_ENTRY;
	u64 entry;

	if (ioapic->regsel == IOAPIC_REG_ID)
		ioapic->id = value >> 24 & 0xf;
	if (half >= 2 * IOAPIC_PINS)
		return;
	entry = ioapic->entries[half / 2];
	entry = half % 2 ? (entry & LOW_HALF) | (u64)value << 32 : (entry & ~LOW_HALF) | value;
	set_entry(ioapic, half / 2, entry);
}

void ioapic_mmio_read(struct ioapic *ioapic, u32 offset, void *data, unsigned int len)
{
	u32 value = 0;

	if (offset == IOAPIC_REGSEL)
		value = ioapic->regsel;
	else if (offset == IOAPIC_WINDOW)
		value = read_window(ioapic);
	memset(data, 0, len);
	memcpy(data, &value, min_t(unsigned int, len, sizeof(value)));
}

void ioapic_mmio_write(struct ioapic *ioapic, u32 offset, const void *data, unsigned int len)
{
	u32 value = 0;

	memcpy(&value, data, min_t(unsigned int, len, sizeof(value)));
	if (offset == IOAPIC_REGSEL)
		ioapic->regsel = value;
	else if (offset == IOAPIC_WINDOW)
		write_window(ioapic, value);
	else if (offset == IOAPIC_EOI && ioapic->version >= IOAPIC_VERSION_EOI)
		ioapic_eoi(ioapic, value, APIC_TRIGGER_LEVEL);
}

/* Lifetime and state. */

void ioapic_reset(struct ioapic *ioapic)
{
	unsigned int pin;

	ioapic->base = IOAPIC_DEFAULT_BASE;
	ioapic->irr = 0;
	ioapic->irr_delivered = 0;
	ioapic->deferred = 0;
	ioapic->rtc_pending = 0;
	ioapic->regsel = 0;
	ioapic->id = 0;
	for (pin = 0; pin < IOAPIC_PINS; pin++) {
		ioapic->entries[pin] = ENTRY_RESET;
		ioapic->successive[pin] = 0;
		if (ioapic->sources[pin])
			ioapic->irr |= BIT(pin);
	}
	if (ioapic->ops->changed)
		ioapic->ops->changed(ioapic->ctx);
}

void ioapic_init(struct ioapic *ioapic, const struct ioapic_ops *ops, void *ctx)
{
	*ioapic = (struct ioapic){ .version = IOAPIC_VERSION_82093AA, .ops = ops, .ctx = ctx };
	ioapic_reset(ioapic);
}

void ioapic_get_state(const struct ioapic *ioapic, struct kvm_ioapic_state *state)
{
	unsigned int pin;

	*state = (struct kvm_ioapic_state){
		.base_address = ioapic->base,
		.ioregsel = ioapic->regsel,
		.id = ioapic->id,
		.irr = ioapic->irr & ~ioapic->irr_delivered,
	};
	for (pin = 0; pin < IOAPIC_PINS; pin++)
		state->redirtbl[pin].bits = ioapic->entries[pin];
}

void ioapic_set_state(struct ioapic *ioapic, const struct kvm_ioapic_state *state)
{
	unsigned int pin;

	ioapic->base = state->base_address;
	ioapic->regsel = state->ioregsel;
	ioapic->id = state->id & 0xf;
	ioapic->irr = 0;
	ioapic->irr_delivered = 0;
	ioapic->deferred = 0;
	ioapic->rtc_pending = 0;
	for (pin = 0; pin < IOAPIC_PINS; pin++) {
		u64 entry = state->redirtbl[pin].bits & ENTRY_BITS & ~IOAPIC_ENTRY_STATUS;

		ioapic->entries[pin] = level_triggered(entry) ? entry : entry & ~IOAPIC_ENTRY_REMOTE_IRR;
		ioapic->successive[pin] = 0;
	}
	if (ioapic->ops->changed)
		ioapic->ops->changed(ioapic->ctx);
	for (pin = 0; pin < IOAPIC_PINS; pin++)
		if (state->irr & BIT(pin))
			raise(ioapic, pin, true);
}
