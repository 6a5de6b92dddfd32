// SPDX-License-Identifier: GPL-2.0
/*
 * The interrupt controllers that a VM's vCPUs share, I/O APIC, PIC and PIT: their lock, what they ask for, their host
 * timers, their lifetime.
 */
#include <linux/gfp.h>
#include <linux/ktime.h>
#include <linux/slab.h>

#include "internal.h"

#define DEFERRED_NS (10 * NSEC_PER_MSEC)

unsigned long irqchip_lock(struct irqchip *chip) __acquires(&chip->lock)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&chip->lock, flags);
	return flags;
}

void irqchip_unlock(struct irqchip *chip, unsigned long flags) __releases(&chip->lock)
{
	bool resampled = chip->resampled;

	chip->resampled = false;
	raw_spin_unlock_irqrestore(&chip->lock, flags);
	if (unlikely(resampled))
		irqfd_signal_resampled(chip);
}

/* -- what the models ask for; locked ----------------------------------------------------------------------------- */

/*
 * The guest ended an interrupt of this GSI. That lowers it for all its resampled irqfds; those of their devices that
 * still want an interrupt raise it again when they are signalled.
 */
static void gsi_acked(struct irqchip *chip, int gsi)
{
	if (gsi < 0)
		return;
	if (gsi == PIT_GSI && chip->has_pit)
		pit_acked(&chip->pit);
	if (irqfd_acked(chip, gsi)) {
		chip->resampled = true;
		routing_drive_locked(chip, gsi, IRQ_SOURCE_RESAMPLE, false);
	}
}

/* Ticks that were kept while nobody listened are not for whom listens now. */
static void gsi_masked(struct irqchip *chip, int gsi, bool masked)
{
	if (gsi == PIT_GSI && chip->has_pit && !masked)
		pit_forget_pending(&chip->pit);
}

u32 irqchip_acked_pins(struct irqchip *chip)
{
	return irqfd_resampled_pins(chip) | (chip->has_pit ? routing_ioapic_pins(chip, PIT_GSI) : 0);
}

static int ioapic_deliver(void *ctx, const struct apic_message *msg)
{
	struct irqchip *chip = ctx;

	return irq_deliver_device(chip->vm, *msg);
}

static void ioapic_acked(void *ctx, unsigned int pin)
{
	gsi_acked(ctx, routing_ioapic_gsi(ctx, pin));
}

static void ioapic_masked(void *ctx, unsigned int pin, bool masked)
{
	gsi_masked(ctx, routing_ioapic_gsi(ctx, pin), masked);
}

/*
 * A CPU that ends interrupts by itself goes by a bitmap made before: its vCPU is to make a new one, and what comes
 * until then has to wait for that.
 */
void irqchip_eoi_exits_stale(struct irqchip *chip)
{
	struct vcpu *vcpu;
	unsigned int i;

	WRITE_ONCE(chip->eoi_exits_seq, chip->eoi_exits_seq + 1);
	vm_for_each_vcpu(chip->vm, vcpu, i) {
		if (!vcpu->virtual_delivery)
			continue;
		lapic_allow_posting(vcpu->lapic, false);
		vcpu_request(vcpu, REQ_EVENT);
		vcpu_kick(vcpu);
	}
}

static void ioapic_changed(void *ctx)
{
	irqchip_eoi_exits_stale(ctx);
}

static void ioapic_defer(void *ctx)
{
	struct irqchip *chip = ctx;

	hrtimer_start(&chip->deferred_timer, DEFERRED_NS, HRTIMER_MODE_REL_HARD);
}

static const struct ioapic_ops ioapic_ops = {
	.deliver = ioapic_deliver,
	.acked = ioapic_acked,
	.masked = ioapic_masked,
	.changed = ioapic_changed,
	.defer = ioapic_defer,
};

static void pic_output_changed(void *ctx, bool level)
{
	struct irqchip *chip = ctx;

	if (level)
		irq_kick_pic_takers(chip->vm);
}

static void pic_acked(void *ctx, unsigned int line)
{
	gsi_acked(ctx, routing_pic_gsi(ctx, line));
}

static void pic_masked(void *ctx, unsigned int line, bool masked)
{
	gsi_masked(ctx, routing_pic_gsi(ctx, line), masked);
}

static const struct pic_ops pic_ops = {
	.output = pic_output_changed,
	.acked = pic_acked,
	.masked = pic_masked,
};

static void pit_irq(void *ctx, bool level)
{
	struct irqchip *chip = ctx;

	routing_drive_locked(chip, PIT_GSI, IRQ_SOURCE_PIT, level);
	if (level)
		irq_deliver_lint0_nmi(chip->vm);
}

static void pit_timer_arm(void *ctx, u64 deadline)
{
	struct irqchip *chip = ctx;

	hrtimer_start(&chip->pit_timer, ns_to_ktime(deadline), HRTIMER_MODE_ABS_HARD);
}

/* If the timer's function runs already, it waits for the lock and then sees that it is late. */
static void pit_timer_cancel(void *ctx)
{
	struct irqchip *chip = ctx;

	hrtimer_try_to_cancel(&chip->pit_timer);
}

static u64 now_ns(void *ctx)
{
	return ktime_get_ns();
}

static const struct pit_ops pit_ops = {
	.irq = pit_irq,
	.timer_arm = pit_timer_arm,
	.timer_cancel = pit_timer_cancel,
	.now_ns = now_ns,
};

/* -- host timers ------------------------------------------------------------------------------------------------- */

static enum hrtimer_restart pit_timer_function(struct hrtimer *timer)
{
	struct irqchip *chip = container_of(timer, struct irqchip, pit_timer);
	unsigned long flags = irqchip_lock(chip);

	if (chip->pit.armed && chip->pit.deadline_ns <= ktime_get_ns())
		pit_timer_expired(&chip->pit);
	irqchip_unlock(chip, flags);
	return HRTIMER_NORESTART;
}

static enum hrtimer_restart deferred_timer_function(struct hrtimer *timer)
{
	struct irqchip *chip = container_of(timer, struct irqchip, deferred_timer);
	unsigned long flags = irqchip_lock(chip);

	ioapic_deferred(&chip->ioapic);
	irqchip_unlock(chip, flags);
	return HRTIMER_NORESTART;
}

/* -- lifetime; vm->lock held, or nobody else there any more ------------------------------------------------------ */

static struct irqchip *irqchip_alloc(struct vm *vm, bool split)
{
	struct irqchip *chip = kzalloc(sizeof(*chip), GFP_KERNEL_ACCOUNT);

	if (!chip)
		return NULL;
	chip->vm = vm;
	chip->split = split;
	if (init_srcu_struct(&chip->srcu))
		goto free_chip;
	if (routing_create(chip))
		goto free_srcu;
	mutex_init(&chip->config_lock);
	irqfds_init(chip);
	raw_spin_lock_init(&chip->lock);
	hrtimer_init(&chip->pit_timer, CLOCK_MONOTONIC, HRTIMER_MODE_ABS_HARD);
	chip->pit_timer.function = pit_timer_function;
	hrtimer_init(&chip->deferred_timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL_HARD);
	chip->deferred_timer.function = deferred_timer_function;
	ioapic_init(&chip->ioapic, &ioapic_ops, chip);
	pic_init(&chip->pic, &pic_ops, chip);
	return chip;
free_srcu:
	cleanup_srcu_struct(&chip->srcu);
free_chip:
	kfree(chip);
	return NULL;
}

int irqchip_create(struct vm *vm)
{
	struct irqchip *chip;

	if (vm->irqchip)
		return -EEXIST;
	if (vm_nr_vcpus(vm))
		return -EINVAL;
	chip = irqchip_alloc(vm, false);
	if (!chip)
		return -ENOMEM;
	vm->pic_in_client = false;
	/* Pairs with vm_irqchip(): others look at it without the lock. */
	smp_store_release(&vm->irqchip, chip);
	return 0;
}

int irqchip_create_split(struct vm *vm, const u64 args[4])
{
	struct irqchip *chip;

	if (args[0] > IRQ_MAX_ROUTES)
		return -EINVAL;
	if (vm->irqchip || vm_nr_vcpus(vm))
		return -EEXIST;
	chip = irqchip_alloc(vm, true);
	if (!chip)
		return -ENOMEM;
	chip->client_pins = args[0];
	/* As in irqchip_create(). */
	smp_store_release(&vm->irqchip, chip);
	return 0;
}

int irqchip_create_pit(struct vm *vm, u32 flags)
{
	struct irqchip *chip = vm->irqchip;
	unsigned long irqflags;

	if (!irqchip_whole(chip))
		return -ENOENT;
	if (chip->has_pit)
		return -EEXIST;
	if (flags & ~KVM_PIT_SPEAKER_DUMMY)
		return -EINVAL;
	irqflags = irqchip_lock(chip);
	pit_init(&chip->pit, &pit_ops, chip);
	chip->has_speaker = flags & KVM_PIT_SPEAKER_DUMMY;
	irqchip_eoi_exits_stale(chip);
	/* Its ports are the PIT's from now on: irqchip_has_pit() is asked without the lock. */
	smp_store_release(&chip->has_pit, true);
	irqchip_unlock(chip, irqflags);
	return 0;
}

struct page *irq_access_page(struct vm *vm)
{
	struct irqchip *chip = vm->irqchip;

	if (!chip->access_page)
		chip->access_page = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	return chip->access_page;
}

void eventfds_destroy(struct vm *vm)
{
	if (vm->irqchip)
		irqfds_destroy(vm->irqchip);
	ioeventfds_destroy(vm);
}

void irqchip_destroy(struct vm *vm)
{
	struct irqchip *chip = vm->irqchip;

	if (!chip)
		return;
	hrtimer_cancel(&chip->pit_timer);
	hrtimer_cancel(&chip->deferred_timer);
	routing_destroy(chip);
	cleanup_srcu_struct(&chip->srcu);
	kvfree(rcu_dereference_protected(chip->destinations, true));
	if (chip->access_page)
		__free_page(chip->access_page);
	vm->irqchip = NULL;
	kfree(chip);
}
