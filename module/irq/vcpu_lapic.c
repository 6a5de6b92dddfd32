// SPDX-License-Identifier: GPL-2.0
/*
 * A vCPU and its local APIC: what the model asks for, and the ways to its registers. With the controllers in user space
 * a vCPU has no local APIC, but still IA32_APIC_BASE and CR8.
 */
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include <asm/mce.h>
#include <asm/msr-index.h>

#include "../backend.h"
#include "../cpu/cpuid.h"
#include "../smm.h"
#include "internal.h"

/* -- what the model asks for ------------------------------------------------------------------------------------- */

static void send(void *ctx, const struct apic_message *msg)
{
	struct vcpu *vcpu = ctx;

	irq_deliver(vcpu->vm, vcpu, msg);
}

static void update_eoi_exits(struct vcpu_lapic *v)
{
	struct irqchip *chip = v->vcpu->vm->irqchip;
	u32 bitmap[8] = {};
	unsigned long flags;

	flags = irqchip_lock(chip);
	v->eoi_exits_seq = chip->eoi_exits_seq;
	/* The bitmap is loaded before the guest is entered again. */
	lapic_allow_posting(&v->lapic, true);
	if (chip->split)
		routing_eoi_exits(chip, &v->lapic, bitmap);
	else
		ioapic_eoi_exits(&chip->ioapic, &v->lapic, irqchip_acked_pins(chip), bitmap);
	irqchip_unlock(chip, flags);
	lapic_set_eoi_exits(&v->lapic, bitmap);
	if (v->vcpu->virtual_delivery)
		backend.set_eoi_exits(v->vcpu, bitmap);
}

static void refresh_eoi_exits(struct vcpu_lapic *v)
{
	if (unlikely(v->eoi_exits_seq != READ_ONCE(v->vcpu->vm->irqchip->eoi_exits_seq)))
		update_eoi_exits(v);
}

/* The client's I/O APIC hears of the interrupts that may have come from it. */
static void eoi_to_client(struct vcpu *vcpu, u8 vector)
{
	struct vcpu_lapic *v = vcpu_lapic(vcpu);

	refresh_eoi_exits(v);
	if (!(v->lapic.eoi_exit[vector >> 5] >> (vector & 31) & 1))
		return;
	v->ended = vector;
	vcpu_request(vcpu, REQ_IOAPIC_EOI);
}

u8 irq_ended(const struct vcpu *vcpu)
{
	return vcpu_lapic(vcpu)->ended;
}

static void eoi(void *ctx, u8 vector, enum apic_trig_mode trigger)
{
	struct irqchip *chip = ((struct vcpu *)ctx)->vm->irqchip;
	unsigned long flags;

	if (chip->split) {
		eoi_to_client(ctx, vector);
		return;
	}
	flags = irqchip_lock(chip);
	ioapic_eoi(&chip->ioapic, vector, trigger);
	irqchip_unlock(chip, flags);
}

/* One NMI may be handled while one more waits; others merge with that. SDM, "Handling Multiple NMIs". Any context. */
static void nmi(void *ctx)
{
	struct vcpu *vcpu = ctx;
	u8 pending = READ_ONCE(vcpu->nmi_pending);

	while (pending < 2 && !try_cmpxchg(&vcpu->nmi_pending, &pending, pending + 1))
		;
	vcpu_request(vcpu, REQ_EVENT);
}

static void smi(void *ctx)
{
	smm_interrupt(ctx);
}

/* A SIPI that came before is void. Any context, as the next. */
static void init(void *ctx)
{
	struct vcpu *vcpu = ctx;

	clear_bit(PENDING_SIPI, &vcpu->pending_signals);
	set_bit(PENDING_INIT, &vcpu->pending_signals);
	vcpu_request(vcpu, REQ_INIT_SIPI);
}

static void sipi(void *ctx, u8 vector)
{
	struct vcpu *vcpu = ctx;

	WRITE_ONCE(vcpu->sipi_vector, vector);
	/* set_bit() is a full barrier on x86: who sees the bit sees the vector. */
	set_bit(PENDING_SIPI, &vcpu->pending_signals);
	vcpu_request(vcpu, REQ_INIT_SIPI);
}

static void dest_changed(void *ctx)
{
	struct vcpu *vcpu = ctx;
	struct irqchip *chip = vcpu->vm->irqchip;

	lapic_allow_posting(vcpu->lapic, false);
	vcpu_lapic(vcpu)->eoi_exits_seq = READ_ONCE(chip->eoi_exits_seq) - 1;
	/* A full barrier: whoever sees the new number finds the registers as they are now. */
	atomic_inc_return(&chip->destinations_seq);
	vcpu_request(vcpu, REQ_APIC_MAP);
	if (vcpu->virtual_delivery) {
		vcpu_request(vcpu, REQ_INTERCEPTS);
		vcpu_request(vcpu, REQ_EVENT);
	}
}

static const struct lapic_ops lapic_ops = {
	.send = send,
	.eoi = eoi,
	.nmi = nmi,
	.smi = smi,
	.init = init,
	.sipi = sipi,
	.timer_arm_ns = lapic_timer_arm_ns,
	.timer_arm_tsc = lapic_timer_arm_tsc,
	.timer_cancel = lapic_timer_cancel,
	.now_ns = lapic_timer_now,
	.dest_changed = dest_changed,
	.tpr_accessed = vapic_tpr_accessed,
};

/* An interrupt is taken before it ends: soon enough to bring the EOI-exit bitmap up to date. */
int vcpu_lapic_take(struct vcpu *vcpu)
{
	struct vcpu_lapic *v = vcpu_lapic(vcpu);

	refresh_eoi_exits(v);
	return lapic_ack(&v->lapic);
}

/* -- virtual-interrupt delivery ---------------------------------------------------------------------------------- */

void irq_virtualize_delivery(struct vcpu *vcpu, unsigned long *posted)
{
	lapic_virtualize_delivery(vcpu->lapic, posted);
	vcpu->virtual_delivery = true;
	vcpu_request(vcpu, REQ_EVENT);
}

/* The EOI-exit bitmap comes after what it is to hold: whoever makes it stale sends an interrupt only then. */
void irq_update_status(struct vcpu *vcpu)
{
	struct lapic *lapic = vcpu->lapic;
	int requested;

	lapic_collect(lapic);
	refresh_eoi_exits(vcpu_lapic(vcpu));
	requested = lapic->mode == LAPIC_OFF ? 0 : lapic_highest_request(lapic);
	if (unlikely(vcpu->guest_debug.control & KVM_GUESTDBG_BLOCKIRQ)) {
		/* Until the next refresh, which the stale number makes the next call do. */
		lapic_allow_posting(lapic, false);
		vcpu_lapic(vcpu)->eoi_exits_seq--;
		requested = 0;
	}
	backend.set_interrupt_status(vcpu, max(requested, 0), max(lapic_highest_in_service(lapic), 0));
}

void irq_eoi_virtualized(struct vcpu *vcpu, u8 vector)
{
	lapic_eoi_virtualized(vcpu->lapic, vector);
}

void irq_register_written(struct vcpu *vcpu, u32 offset)
{
	lapic_written(vcpu->lapic, offset);
	irq_look(vcpu);
}

bool irq_is_x2apic(const struct vcpu *vcpu)
{
	return vcpu->lapic->mode == LAPIC_X2APIC;
}

/* -- registers --------------------------------------------------------------------------------------------------- */

void *irq_apic_page(const struct vcpu *vcpu)
{
	return vcpu->lapic->regs;
}

u8 irq_tpr_threshold(const struct vcpu *vcpu)
{
	return lapic_tpr_threshold(vcpu->lapic);
}

u64 irq_get_cr8(struct vcpu *vcpu)
{
	/* Not for an inspector: the word is in the client's memory. */
	if (unlikely(test_bit(REQ_VAPIC, &vcpu->requests)) && vcpu->vm->mm == current->mm)
		irq_vapic_read(vcpu);
	return vcpu->lapic ? lapic_cr8(vcpu->lapic) : vcpu->cr8;
}

void irq_set_cr8(struct vcpu *vcpu, u64 cr8)
{
	cr8 &= 0xf;
	if (!vcpu->lapic) {
		vcpu->cr8 = cr8;
		return;
	}
	lapic_set_cr8(vcpu->lapic, cr8);
	irq_look(vcpu);
}

static bool guest_has_x2apic(struct vcpu *vcpu)
{
	return cpuid_has(vcpu, 1, 0, CPUID_ECX, 21);
}

static bool guest_has_tsc_deadline(struct vcpu *vcpu)
{
	return cpuid_has(vcpu, 1, 0, CPUID_ECX, 24);
}

/* 36 bits is what a vCPU without CPUID has. */
static u64 above_maxphyaddr(const struct vcpu *vcpu)
{
	return ~0ull << (vcpu->maxphyaddr ?: 36);
}

/* Without a model of ours only the bits are checked, and that x2APIC mode is enabled as well. */
static int set_plain_base(struct vcpu *vcpu, u64 value)
{
	u64 known = APIC_BASE_BSP | APIC_BASE_ENABLE | PAGE_MASK;

	if (guest_has_x2apic(vcpu) && value & APIC_BASE_ENABLE)
		known |= APIC_BASE_X2APIC;
	if (value & (~known | above_maxphyaddr(vcpu)))
		return -EINVAL;
	vcpu->msr.apic_base = value;
	return 0;
}

static int set_base(struct vcpu *vcpu, u64 value, bool host)
{
	int error;

	if (!vcpu->lapic)
		return set_plain_base(vcpu, value);
	error = lapic_set_base(vcpu->lapic, value, host);
	vcpu->msr.apic_base = vcpu->lapic->base;
	irq_look(vcpu);
	return error;
}

int irq_msr_read(struct vcpu *vcpu, u32 index, u64 *value, bool host)
{
	struct lapic *lapic = vcpu->lapic;

	if (index == MSR_IA32_APICBASE) {
		*value = vcpu->msr.apic_base;
		return 0;
	}
	if (index == MSR_IA32_TSC_DEADLINE) {
		/* Whatever CPUID says, as in KVM: a client restores MSRs and sets CPUID in any order. */
		*value = lapic ? lapic_tsc_deadline(lapic) : 0;
		return !host && !lapic;
	}
	irq_pv_eoi_sync_atomic(vcpu, true);
	if (unlikely(test_bit(REQ_VAPIC, &vcpu->requests)))
		irq_vapic_read(vcpu);
	return lapic ? lapic_msr_read(lapic, index, value) : -EINVAL;
}

int irq_write_tsc_deadline(struct vcpu *vcpu, u64 value)
{
	if (!vcpu->lapic)
		return -EINVAL;
	lapic_set_tsc_deadline(vcpu->lapic, value);
	return 0;
}

int irq_msr_write(struct vcpu *vcpu, u32 index, u64 value, bool host)
{
	struct lapic *lapic = vcpu->lapic;
	int error;

	if (index == MSR_IA32_APICBASE)
		return set_base(vcpu, value, host);
	if (index == MSR_IA32_TSC_DEADLINE)
		return irq_write_tsc_deadline(vcpu, value) && !host;
	if (!lapic)
		return -EINVAL;
	error = lapic_msr_write(lapic, index, value);
	/* An IPI to others leaves nothing that a CPU would have to hear of. */
	if (index != X2APIC_MSR(LAPIC_ICR) || !vcpu->virtual_delivery || lapic_has_incoming(lapic))
		irq_look(vcpu);
	return error;
}

/* -- lifetime and state ------------------------------------------------------------------------------------------ */

/*
 * The I/O APIC here is the 82093AA, which has no EOI register: directed EOI would leave its interrupts without an end.
 * The client's may have one, and guests look at its version.
 */
static struct lapic_config config_of(struct vcpu *vcpu)
{
	bool x2apic = guest_has_x2apic(vcpu);

	return (struct lapic_config){
		.base_reserved = above_maxphyaddr(vcpu),
		.x2apic = x2apic,
		.tsc_deadline = guest_has_tsc_deadline(vcpu),
		.directed_eoi = x2apic && vcpu->vm->irqchip->split,
		.cmci = vcpu->msr.mcg_cap & MCG_CMCI_P,
		.bsp = vcpu->id == vcpu->vm->boot_vcpu_id,
		.virtual_wire = true,
		.x2apic_format = vcpu->vm->x2apic_api & KVM_X2APIC_API_USE_32BIT_IDS,
	};
}

static void configure(struct vcpu *vcpu)
{
	struct lapic_config config = config_of(vcpu);

	lapic_configure(vcpu->lapic, &config);
}

int irq_vcpu_create(struct vcpu *vcpu)
{
	struct lapic_config config = config_of(vcpu);
	struct vcpu_lapic *v;
	u8 *page;

	if (!vcpu->vm->irqchip)
		return 0;
	v = kzalloc(sizeof(*v), GFP_KERNEL_ACCOUNT);
	page = (u8 *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	if (!v || !page) {
		free_page((unsigned long)page);
		kfree(v);
		return -ENOMEM;
	}
	v->vcpu = vcpu;
	lapic_timer_init(v);
	vcpu->lapic = &v->lapic;
	lapic_init(&v->lapic, page, vcpu->id, &config, &lapic_ops, vcpu);
	return 0;
}

void irq_vcpu_destroy(struct vcpu *vcpu)
{
	struct vcpu_lapic *v;

	if (!vcpu->lapic)
		return;
	v = vcpu_lapic(vcpu);
	hrtimer_cancel(&v->timer);
	vcpu->lapic = NULL;
	free_page((unsigned long)v->lapic.regs);
	kfree(v);
}

void irq_vcpu_reset(struct vcpu *vcpu, bool init)
{
	bool bsp = vcpu->id == vcpu->vm->boot_vcpu_id;

	if (vcpu->lapic) {
		clear_bit(REQ_VAPIC, &vcpu->requests);
		lapic_reset(vcpu->lapic, init);
		vcpu->msr.apic_base = vcpu->lapic->base;
		return;
	}
	vcpu->cr8 = 0;
	if (!init)
		vcpu->msr.apic_base = APIC_BASE_DEFAULT | APIC_BASE_ENABLE | (bsp ? APIC_BASE_BSP : 0);
}

void irq_features_changed(struct vcpu *vcpu)
{
	if (vcpu->lapic)
		configure(vcpu);
}

void irq_cmci(struct vcpu *vcpu)
{
	if (!vcpu->lapic)
		return;
	lapic_local_interrupt(vcpu->lapic, LAPIC_LVT_CMCI);
	irq_look(vcpu);
}

int irq_get_lapic(struct vcpu *vcpu, struct kvm_lapic_state *state)
{
	if (!vcpu->lapic)
		return -EINVAL;
	configure(vcpu);
	lapic_get_state(vcpu->lapic, state);
	/* It has collected what came, and the CPU is to hear of that. */
	vcpu_request(vcpu, REQ_EVENT);
	return 0;
}

int irq_set_lapic(struct vcpu *vcpu, const struct kvm_lapic_state *state)
{
	int error;

	if (!vcpu->lapic)
		return -EINVAL;
	configure(vcpu);
	error = lapic_set_state(vcpu->lapic, state);
	/* There may be interrupts in service now that were taken elsewhere. */
	update_eoi_exits(vcpu_lapic(vcpu));
	vcpu_request(vcpu, REQ_EVENT);
	return error;
}
