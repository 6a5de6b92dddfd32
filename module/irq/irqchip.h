/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The interrupt controllers of a VM: the kernel's side of the models in lapic.c, ioapic.c, pic.c, pit.c: locks, host
 * timers, delivery to vCPUs; and how the run loop asks for interrupts. With vm->irqchip NULL the controllers are in the
 * client, and the only source is KVM_INTERRUPT. In between is the split model: local APICs and routes are here, I/O
 * APIC, PIC and PIT in the client.
 */
#ifndef PITH_IRQCHIP_H
#define PITH_IRQCHIP_H

#include <linux/kvm.h>
#include <linux/types.h>
#include <asm/barrier.h>

struct page;
struct vm;
struct vcpu;
struct apic_message;
struct ioeventfds;

/* -- the run loop's questions; own context ---------------------------------------------------------------------- */

/** irq_waits - an interrupt is there that the vCPU would take if its RFLAGS.IF let it (TPR allows it) */
bool irq_waits(struct vcpu *vcpu);

/** irq_take - acknowledges the highest interrupt: its vector, or -1. Interrupts off. */
int irq_take(struct vcpu *vcpu);

/** irq_wants_window - the same, but only of those that the run loop has to inject: the CPU may deliver others by itself */
bool irq_wants_window(struct vcpu *vcpu);

/**
 * irq_virtualize_delivery - the CPU delivers and ends the local APIC's interrupts by itself, from here on
 * @posted: see lapic_virtualize_delivery()
 * For the backend, when it makes a vCPU with a local APIC; backend.set_interrupt_status() and set_eoi_exits() tell it
 * the rest.
 */
void irq_virtualize_delivery(struct vcpu *vcpu, unsigned long *posted);

/**
 * irq_access_page - a page for CPUs that take accesses to it as ones to the local APIC; or NULL: no memory
 * Once asked for it stands at the address of the local APICs as long as all of them are in xAPIC mode and where they
 * were at reset. The VM's own: what the CPU does not take so (a walk of the guest's page tables, say) may reach it. For
 * the backend, when it makes a vCPU with a local APIC; vm->lock held.
 */
struct page *irq_access_page(struct vm *vm);

/** irq_update_status - tells the CPU what came and what software changed, with vcpu->virtual_delivery. Interrupts off. */
void irq_update_status(struct vcpu *vcpu);

/** irq_eoi_virtualized - the CPU has ended an interrupt of those in the EOI-exit bitmap */
void irq_eoi_virtualized(struct vcpu *vcpu, u8 vector);

/** irq_register_written - the guest's store to a register of its local APIC is in the page, and the rest is ours */
void irq_register_written(struct vcpu *vcpu, u32 offset);

/** irq_is_x2apic - the local APIC is in x2APIC mode */
bool irq_is_x2apic(const struct vcpu *vcpu);

/** irq_timer_expired - the host timer of the local APIC ran out (REQ_TIMER) */
void irq_timer_expired(struct vcpu *vcpu);

/** irq_takes_from_client - there is room for an interrupt by KVM_INTERRUPT, and the local APIC, if one is here, lets it through */
bool irq_takes_from_client(struct vcpu *vcpu);

/** irq_from_client - KVM_INTERRUPT: 0, -ENXIO (the PIC is here), -EEXIST (one waits already) */
int irq_from_client(struct vcpu *vcpu, u8 vector);

/** irq_cmci - the local APIC's CMCI entry fires; without a local APIC nothing does. Own context. */
void irq_cmci(struct vcpu *vcpu);

/** irq_tell_tpr_access - REQ_TPR_ACCESS: fills struct kvm_run */
void irq_tell_tpr_access(struct vcpu *vcpu);

/** irq_ended - the vector whose end the client is to hear of (REQ_IOAPIC_EOI) */
u8 irq_ended(const struct vcpu *vcpu);

/** irq_timer_sleep - the vCPU is about to sleep: its CPU does not watch vcpu->deadline any more, the host's timer does */
void irq_timer_sleep(struct vcpu *vcpu);

/** irq_timer_wait - until the deadline vcpu->awaited_tsc has passed: some microseconds at the most */
void irq_timer_wait(struct vcpu *vcpu);

/**
 * irq_pv_eoi_offer - after irq_take(): lets the guest end the interrupt in memory, if nobody else has to know of that
 * (MSR_KVM_PV_EOI_EN). Interrupts off.
 */
void irq_pv_eoi_offer(struct vcpu *vcpu);

/**
 * irq_pv_eoi_sync - REQ_PV_EOI: ends the interrupt that the guest has ended, or withdraws the offer. May sleep.
 * irq_pv_eoi_sync_atomic - the same, without sleeping: false if that is needed. Own context.
 * @keep: an offer that the guest has not taken yet may stand: no interrupt is about to be taken, nor to be waited for
 */
void irq_pv_eoi_sync(struct vcpu *vcpu, bool keep);
bool irq_pv_eoi_sync_atomic(struct vcpu *vcpu, bool keep);

/**
 * irq_vapic_read, irq_vapic_write - what the guest has written to the word of KVM_SET_VAPIC_ADDR goes to TPR; what the
 * local APIC has goes to the word. With REQ_VAPIC, own context, in a slice or not.
 */
void irq_vapic_read(struct vcpu *vcpu);
void irq_vapic_write(struct vcpu *vcpu);

/** irq_pv_send_ipi - KVM_HC_SEND_IPI: how many took it, or -KVM_EINVAL, -KVM_EOPNOTSUPP. Own context. */
long irq_pv_send_ipi(struct vcpu *vcpu, u64 low, u64 high, u32 first, u64 icr);

/** irq_apic_page - the registers of a local APIC as a page, for hardware that takes them as the virtual-APIC page */
void *irq_apic_page(const struct vcpu *vcpu);
u8 irq_tpr_threshold(const struct vcpu *vcpu); /* lapic_tpr_threshold() */
u64 irq_get_cr8(struct vcpu *vcpu);
void irq_set_cr8(struct vcpu *vcpu, u64 cr8);

/**
 * irq_map_destinations - brings the map of interrupt destinations up to date (REQ_APIC_MAP)
 * Until then each message is offered to all vCPUs. Context: outside of a slice; may sleep.
 */
void irq_map_destinations(struct vm *vm);

/* -- registers that guests reach -------------------------------------------------------------------------------- */

/**
 * irq_mmio_read, irq_mmio_write - local APIC, I/O APIC at their addresses
 * Return: whether the address is one of theirs; it is answered then. Context: the vCPU's thread, in a slice or not.
 */
bool irq_mmio_read(struct vcpu *vcpu, u64 gpa, unsigned int len, void *data);
bool irq_mmio_write(struct vcpu *vcpu, u64 gpa, unsigned int len, const void *data);

/** irq_pio_read, irq_pio_write - the same for the ports of PIC, PIT and speaker */
bool irq_pio_read(struct vcpu *vcpu, u16 port, unsigned int size, u32 *value);
bool irq_pio_write(struct vcpu *vcpu, u16 port, unsigned int size, u32 value);

/**
 * irq_msr_read, irq_msr_write - IA32_APIC_BASE, x2APIC registers, IA32_TSC_DEADLINE
 * @host: for the client (KVM_GET/SET_MSRS) rather than the guest
 * Return: 0, or non-zero: #GP.
 */
int irq_msr_read(struct vcpu *vcpu, u32 index, u64 *value, bool host);
int irq_msr_write(struct vcpu *vcpu, u32 index, u64 value, bool host);
/* The guest's write of IA32_TSC_DEADLINE. */
int irq_write_tsc_deadline(struct vcpu *vcpu, u64 value);

/* -- lifetime ---------------------------------------------------------------------------------------------------- */

/** irqchip_create - KVM_CREATE_IRQCHIP; vm->lock held. 0, -EEXIST, -EINVAL (vCPUs are there already), -ENOMEM. */
int irqchip_create(struct vm *vm);
int irqchip_create_split(struct vm *vm, const u64 args[4]); /* KVM_CAP_SPLIT_IRQCHIP; the same, but -EEXIST for both */
int irqchip_create_pit(struct vm *vm, u32 flags);	    /* KVM_CREATE_PIT2; vm->lock held */

/**
 * irqchip_destroy - the chips go, and their host timers. After eventfds_destroy(): irqfds drive their pins. Before the
 * vCPUs: they interrupt them.
 */
void irqchip_destroy(struct vm *vm);
int irq_vcpu_create(struct vcpu *vcpu); /* gives a new vCPU its local APIC if vm->irqchip */
void irq_vcpu_destroy(struct vcpu *vcpu);
void irq_vcpu_reset(struct vcpu *vcpu, bool init);
void irq_features_changed(struct vcpu *vcpu); /* x2APIC, TSC deadline, MAXPHYADDR by CPUID; CMCI by IA32_MCG_CAP */
void irq_tsc_changed(struct vcpu *vcpu);      /* the TSC offset moved: deadlines move */

/* -- ioctls; arguments are copied in already -------------------------------------------------------------------- */

int irqchip_get(struct vm *vm, struct kvm_irqchip *chip);
int irqchip_set(struct vm *vm, const struct kvm_irqchip *chip);
int irqchip_get_pit(struct vm *vm, struct kvm_pit_state2 *state);
int irqchip_set_pit(struct vm *vm, const struct kvm_pit_state2 *state);
int irqchip_reinject(struct vm *vm, const struct kvm_reinject_control *control);
int irq_get_lapic(struct vcpu *vcpu, struct kvm_lapic_state *state);
int irq_set_lapic(struct vcpu *vcpu, const struct kvm_lapic_state *state);
int irq_set_vapic(struct vcpu *vcpu, u64 gpa);		       /* KVM_SET_VAPIC_ADDR: 0 or -EINVAL */
void irq_report_tpr_accesses(struct vcpu *vcpu, bool enabled); /* KVM_TPR_ACCESS_REPORTING */

/* KVM_ENABLE_CAP; vm->lock held */
#define IRQ_X2APIC_API_FLAGS (KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK)
int irq_x2apic_api(struct vm *vm, const u64 args[4]); /* KVM_CAP_X2APIC_API: flags */

/* routing.c: GSIs to pins and messages */

#define IRQ_MAX_ROUTES 4096

/**
 * irq_line, irq_line_status - KVM_IRQ_LINE, KVM_IRQ_LINE_STATUS: level->status is filled
 * They differ for the RTC's pin: who gets to know that an interrupt was coalesced sends it again.
 */
int irq_line(struct vm *vm, struct kvm_irq_level *level);
int irq_line_status(struct vm *vm, struct kvm_irq_level *level);
int irq_signal_msi(struct vm *vm, const struct kvm_msi *msi); /* how many CPUs took it, 0 blocked, or errno */
int irq_set_routing(struct vm *vm, const struct kvm_irq_routing_entry *entries, u32 nr, u32 flags);

/* irqfd.c, ioeventfd.c */
int irqfd(struct vm *vm, const struct kvm_irqfd *args);		/* KVM_IRQFD */
int ioeventfd(struct vm *vm, const struct kvm_ioeventfd *args); /* KVM_IOEVENTFD */
/* The second half of ioeventfd_write(). */
bool ioeventfd_signal(struct ioeventfds *all, bool pio, u64 address, unsigned int len, u64 value);
/* Whether an ioeventfd took the write. Context: the vCPU's thread, slice or not. */
static inline bool ioeventfd_write(struct ioeventfds **ioeventfds, bool pio, u64 address, unsigned int len, u64 value)
{
	/* Pairs with the store in ioeventfds_create(). */
	struct ioeventfds *all = smp_load_acquire(ioeventfds);

	return all && ioeventfd_signal(all, pio, address, len, value);
}

void eventfds_destroy(struct vm *vm);

#endif
