/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The 8254 programmable interval timer of a PC: three counters of 1.193182 MHz, the first one the source of IRQ 0, the
 * third one, with its gate in port 0x61, the speaker's.
 * Source: Intel 8254 datasheet.
 *
 * Locking is the caller's: everything is called under one lock of the PIT. Callbacks come under it.
 */
#ifndef PITH_IRQ_PIT_H
#define PITH_IRQ_PIT_H

#include "../portable.h"

#include <linux/kvm.h>

#define PIT_HZ 1193182u
#define PIT_CHANNELS 3

#define PIT_PORT_COUNTERS 0x40
#define PIT_PORT_CONTROL 0x43
#define PIT_PORT_SPEAKER 0x61

/* What KVM takes for min_timer_period_us. */
#define PIT_MIN_PERIOD_NS 200000u

/**
 * struct pit_ops - what a PIT asks of its surroundings
 * @irq: drive IRQ 0. A tick is a call with true and one with false after it. pit_acked() must not be called from inside.
 * @timer_arm: call pit_timer_expired() when @now_ns has reached @deadline; replaces what was armed before
 * @timer_cancel: forget what was armed
 * @now_ns: monotonic time
 */
struct pit_ops {
	void (*irq)(void *ctx, bool level);
	void (*timer_arm)(void *ctx, u64 deadline);
	void (*timer_cancel)(void *ctx);
	u64 (*now_ns)(void *ctx);
};

/**
 * struct pit_channel - one counter
 * @state: in the form in which the client gets and sets it
 * @next_count: written while a count runs that is not to be cut short, to be loaded at its end, or when the gate
 *	rises; 0: none
 * @next_ticks: from @start_ns to that end
 * @running: was loaded, and triggered if the mode wants that
 * @start_ns: when it was, moved on by the time that the gate held the count
 * @stopped_ns: when the gate stopped it
 */
struct pit_channel {
	struct kvm_pit_channel_state state;
	u32 next_count;
	u64 next_ticks;
	bool running;
	u64 start_ns;
	u64 stopped_ns;
};

/**
 * struct pit - the chip
 * @channel: the counters
 * @flags: KVM_PIT_FLAGS_HPET_LEGACY: the HPET drives IRQ 0; KVM_PIT_FLAGS_SPEAKER_DATA_ON: bit 1 of port 0x61
 * @reinject: a tick that comes before the last one was acknowledged is kept, and sent upon the acknowledge
 * @acked: the last tick was acknowledged
 * @armed: the host's timer is
 * @pending: ticks kept
 * @deadline_ns: the host's timer's
 * @min_period_ns: floor of the host's timer's period, so that a guest cannot have it storm
 * @ops: the surroundings
 * @ctx: handed to @ops
 */
struct pit {
	struct pit_channel channel[PIT_CHANNELS];
	u32 flags;
	bool reinject;
	bool acked;
	bool armed;
	u32 pending;
	u64 deadline_ns;
	u32 min_period_ns;
	const struct pit_ops *ops;
	void *ctx;
};

/**
 * pit_init() - make a PIT in power-up state; ticks are reinjected
 * @pit: to be made
 * @ops: outlive @pit
 * @ctx: handed to @ops
 */
void pit_init(struct pit *pit, const struct pit_ops *ops, void *ctx);

/**
 * pit_reset() - as at power-up, stopped
 * @pit: locked
 */
void pit_reset(struct pit *pit);

/**
 * pit_claims() - is a port the PIT's?
 * @port: 0x40 to 0x43; PIT_PORT_SPEAKER is left to the owner to ask about
 */
static inline bool pit_claims(u16 port)
{
	return (port & ~3u) == PIT_PORT_COUNTERS;
}

/**
 * pit_port_read() - a guest's IN of a byte
 * @pit: locked
 * @port: 0x40 to 0x43, or PIT_PORT_SPEAKER
 */
u8 pit_port_read(struct pit *pit, u16 port);

/**
 * pit_port_write() - a guest's OUT of a byte
 * @pit: locked
 * @port: 0x40 to 0x43, or PIT_PORT_SPEAKER
 * @value: the byte
 */
void pit_port_write(struct pit *pit, u16 port, u8 value);

/**
 * pit_timer_expired() - the host's timer has reached the deadline
 * @pit: locked
 */
void pit_timer_expired(struct pit *pit);

/**
 * pit_acked() - the guest ended IRQ 0's interrupt: by pic_ops.acked of line 0, ioapic_ops.acked of pin 0 or 2
 * @pit: locked
 */
void pit_acked(struct pit *pit);

/**
 * pit_forget_pending() - drop the ticks kept, and wait for no acknowledge: IRQ 0 was masked or unmasked
 * @pit: locked
 */
void pit_forget_pending(struct pit *pit);

/**
 * pit_set_reinject() - KVM_REINJECT_CONTROL
 * @pit: locked
 * @reinject: keep ticks that come too early, or drop them
 */
void pit_set_reinject(struct pit *pit, bool reinject);

/**
 * pit_get_state() - KVM_GET_PIT2
 * @pit: locked
 * @state: to be filled
 */
void pit_get_state(struct pit *pit, struct kvm_pit_state2 *state);

/**
 * pit_set_state() - KVM_SET_PIT2; all counts start anew
 * @pit: locked
 * @state: anything
 *
 * Return: 0, or -EINVAL: a count above 65536 or unknown flags; nothing has changed then.
 */
int pit_set_state(struct pit *pit, const struct kvm_pit_state2 *state);

#endif
