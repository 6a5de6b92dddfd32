// SPDX-License-Identifier: GPL-2.0
/*
 * irqfds: an eventfd that interrupts the guest when it is signalled, and perhaps another that is signalled when the
 * guest has ended the interrupt (a resampled one, for level-triggered lines that several devices share).
 *
 * An irqfd ends when the client deassigns it, or closes the eventfd, which tells us so in atomic context. Either way it
 * is dead first, under irqfds_lock, and buried where waiting is possible.
 */
#include <linux/eventfd.h>
#include <linux/file.h>
#include <linux/poll.h>
#include <linux/rculist.h>
#include <linux/slab.h>
#include <linux/wait.h>

#include "../compat.h"
#include "internal.h"

/* All are looked at with interrupts off: there is a limit to how many that may be. */
#define IRQFD_MAX IRQ_MAX_ROUTES

/**
 * struct irqfd - an eventfd that drives a GSI
 * @chip: whose GSI it is
 * @gsi: any number
 * @link: in irqchip->irqfds, or ->dead_irqfds
 * @dead: in the latter
 * @eventfd: the source
 * @wait: in the eventfd's wait queue
 * @poll: how @wait gets there
 * @resample: to be signalled when the interrupt was ended, or NULL: then an event is a pulse
 * @resample_link: in irqchip->resampled_irqfds
 * @acked: it is to be signalled
 */
struct irqfd {
	struct irqchip *chip;
	u32 gsi;
	struct list_head link;
	bool dead;
	struct eventfd_ctx *eventfd;
	wait_queue_entry_t wait;
	poll_table poll;
	struct eventfd_ctx *resample;
	struct list_head resample_link;
	bool acked;
};

/* -- events ------------------------------------------------------------------------------------------------------ */

/* Any context. */
static void inject(struct irqfd *irqfd)
{
	if (irqfd->resample)
		routing_drive(irqfd->chip, irqfd->gsi, IRQ_SOURCE_RESAMPLE, true, false);
	else
		routing_pulse(irqfd->chip, irqfd->gsi);
}

static void kill(struct irqfd *irqfd)
{
	lockdep_assert_held(&irqfd->chip->irqfds_lock);
	irqfd->dead = true;
	irqfd->chip->nr_irqfds--;
	list_move_tail(&irqfd->link, &irqfd->chip->dead_irqfds);
}

/* The eventfd is closed. It lets go of the wait queue entry only in bury(), which needs the lock held here. */
static void closed(struct irqfd *irqfd)
{
	struct irqchip *chip = irqfd->chip;
	unsigned long flags;

	spin_lock_irqsave(&chip->irqfds_lock, flags);
	if (!irqfd->dead) {
		kill(irqfd);
		schedule_work(&chip->reap);
	}
	spin_unlock_irqrestore(&chip->irqfds_lock, flags);
}

/* The eventfd was signalled or closed. Under its lock, interrupts off. Nobody else gets to see an event taken here. */
static int wakeup(wait_queue_entry_t *wait, unsigned int mode, int sync, void *key)
{
	struct irqfd *irqfd = container_of(wait, struct irqfd, wait);
	__poll_t events = key_to_poll(key);
	u64 count;

	if (events & EPOLLIN) {
		eventfd_ctx_do_read(irqfd->eventfd, &count);
		inject(irqfd);
	}
	if (events & EPOLLHUP)
		closed(irqfd);
	return !!(events & EPOLLIN);
}

static void queue(struct file *file, wait_queue_head_t *head, poll_table *table)
{
	add_wait_queue_priority(head, &container_of(table, struct irqfd, poll)->wait);
}

/* -- resampling -------------------------------------------------------------------------------------------------- */

#define for_each_resampled(irqfd, chip) \
	list_for_each_entry_srcu(irqfd, &(chip)->resampled_irqfds, resample_link, srcu_read_lock_held(&(chip)->srcu))

u32 irqfd_resampled_pins(struct irqchip *chip)
{
	int idx = srcu_read_lock(&chip->srcu);
	struct irqfd *irqfd;
	u32 pins = 0;

	for_each_resampled(irqfd, chip)
		pins |= routing_ioapic_pins(chip, irqfd->gsi);
	srcu_read_unlock(&chip->srcu, idx);
	return pins;
}

bool irqfd_acked(struct irqchip *chip, u32 gsi)
{
	int idx = srcu_read_lock(&chip->srcu);
	bool found = false;
	struct irqfd *irqfd;

	for_each_resampled(irqfd, chip) {
		if (irqfd->gsi != gsi)
			continue;
		WRITE_ONCE(irqfd->acked, true);
		found = true;
	}
	srcu_read_unlock(&chip->srcu, idx);
	return found;
}

void irqfd_signal_resampled(struct irqchip *chip)
{
	int idx = srcu_read_lock(&chip->srcu);
	struct irqfd *irqfd;

	for_each_resampled(irqfd, chip)
		if (READ_ONCE(irqfd->acked) && xchg(&irqfd->acked, false))
			compat_eventfd_signal(irqfd->resample);
	srcu_read_unlock(&chip->srcu, idx);
}

/* An edge-triggered interrupt's end is of interest with a resampled irqfd, and not without. */
static void resampled_changed(struct irqchip *chip)
{
	unsigned long flags = irqchip_lock(chip);

	irqchip_eoi_exits_stale(chip);
	irqchip_unlock(chip, flags);
}

static void resample_begin(struct irqfd *irqfd)
{
	list_add_rcu(&irqfd->resample_link, &irqfd->chip->resampled_irqfds);
	resampled_changed(irqfd->chip);
}

static bool is_resampled(struct irqchip *chip, u32 gsi)
{
	struct irqfd *irqfd;

	list_for_each_entry(irqfd, &chip->resampled_irqfds, resample_link)
		if (irqfd->gsi == gsi)
			return true;
	return false;
}

/* All on one GSI hold it high together: the last one lowers it. */
static void resample_end(struct irqfd *irqfd)
{
	struct irqchip *chip = irqfd->chip;

	list_del_rcu(&irqfd->resample_link);
	if (!is_resampled(chip, irqfd->gsi))
		routing_drive(chip, irqfd->gsi, IRQ_SOURCE_RESAMPLE, false, false);
	resampled_changed(chip);
}

/* -- the end of an irqfd ----------------------------------------------------------------------------------------- */

static void irqfd_free(struct irqfd *irqfd)
{
	if (irqfd->resample)
		eventfd_ctx_put(irqfd->resample);
	if (irqfd->eventfd)
		eventfd_ctx_put(irqfd->eventfd);
	kfree(irqfd);
}

static void bury(struct irqchip *chip)
{
	struct irqfd *irqfd, *next;
	LIST_HEAD(dead);
	u64 count;

	lockdep_assert_held(&chip->config_lock);
	spin_lock_irq(&chip->irqfds_lock);
	list_splice_init(&chip->dead_irqfds, &dead);
	spin_unlock_irq(&chip->irqfds_lock);
	list_for_each_entry(irqfd, &dead, link) {
		/* After this no event is under way. */
		eventfd_ctx_remove_wait_queue(irqfd->eventfd, &irqfd->wait, &count);
		if (irqfd->resample)
			resample_end(irqfd);
	}
	if (!list_empty(&dead))
		synchronize_srcu_expedited(&chip->srcu);
	list_for_each_entry_safe(irqfd, next, &dead, link)
		irqfd_free(irqfd);
}

static void reap(struct work_struct *work)
{
	struct irqchip *chip = container_of(work, struct irqchip, reap);

	mutex_lock(&chip->config_lock);
	bury(chip);
	mutex_unlock(&chip->config_lock);
}

/* Ends those on @eventfd for @gsi, or all if @eventfd is NULL. */
static void irqfds_end(struct irqchip *chip, const struct eventfd_ctx *eventfd, u32 gsi)
{
	struct irqfd *irqfd, *next;

	mutex_lock(&chip->config_lock);
	spin_lock_irq(&chip->irqfds_lock);
	list_for_each_entry_safe(irqfd, next, &chip->irqfds, link)
		if (!eventfd || (irqfd->eventfd == eventfd && irqfd->gsi == gsi))
			kill(irqfd);
	spin_unlock_irq(&chip->irqfds_lock);
	bury(chip);
	mutex_unlock(&chip->config_lock);
}

/* -- KVM_IRQFD --------------------------------------------------------------------------------------------------- */

static struct irqfd *irqfd_create(struct irqchip *chip, struct file *file, const struct kvm_irqfd *args)
{
	struct irqfd *irqfd = kzalloc(sizeof(*irqfd), GFP_KERNEL_ACCOUNT);
	struct eventfd_ctx *eventfd, *resample = NULL;

	if (!irqfd)
		return ERR_PTR(-ENOMEM);
	eventfd = eventfd_ctx_fileget(file);
	if (!IS_ERR(eventfd))
		irqfd->eventfd = eventfd;
	if (args->flags & KVM_IRQFD_FLAG_RESAMPLE)
		resample = eventfd_ctx_fdget(args->resamplefd);
	if (!IS_ERR(resample))
		irqfd->resample = resample;
	if (IS_ERR(eventfd) || IS_ERR(resample)) {
		irqfd_free(irqfd);
		return IS_ERR(eventfd) ? ERR_CAST(eventfd) : ERR_CAST(resample);
	}
	irqfd->chip = chip;
	irqfd->gsi = args->gsi;
	init_waitqueue_func_entry(&irqfd->wait, wakeup);
	init_poll_funcptr(&irqfd->poll, queue);
	return irqfd;
}

/* An eventfd may be one irqfd only: two would take each other's events. */
static int add(struct irqchip *chip, struct irqfd *irqfd)
{
	struct irqfd *other;

	lockdep_assert_held(&chip->irqfds_lock);
	if (chip->nr_irqfds == IRQFD_MAX)
		return -ENOSPC;
	list_for_each_entry(other, &chip->irqfds, link)
		if (other->eventfd == irqfd->eventfd)
			return -EBUSY;
	list_add_tail(&irqfd->link, &chip->irqfds);
	chip->nr_irqfds++;
	return 0;
}

/* From vfs_poll() on events come in. One that was there before counts, too. */
static int irqfd_begin(struct irqfd *irqfd, struct file *file)
{
	struct irqchip *chip = irqfd->chip;
	int error;

	mutex_lock(&chip->config_lock);
	spin_lock_irq(&chip->irqfds_lock);
	error = add(chip, irqfd);
	spin_unlock_irq(&chip->irqfds_lock);
	if (!error && irqfd->resample)
		resample_begin(irqfd);
	if (!error && vfs_poll(file, &irqfd->poll) & EPOLLIN)
		inject(irqfd);
	mutex_unlock(&chip->config_lock);
	return error;
}

/* The file is held until all is in place: the eventfd cannot be closed before. */
static int assign(struct irqchip *chip, const struct kvm_irqfd *args)
{
	struct file *file = eventfd_fget(args->fd);
	struct irqfd *irqfd;
	int error;

	if (IS_ERR(file))
		return PTR_ERR(file);
	irqfd = irqfd_create(chip, file, args);
	error = PTR_ERR_OR_ZERO(irqfd);
	if (!error) {
		error = irqfd_begin(irqfd, file);
		if (error)
			irqfd_free(irqfd);
	}
	fput(file);
	return error;
}

/* That nothing was assigned is no error, as in KVM. */
static int deassign(struct irqchip *chip, const struct kvm_irqfd *args)
{
	struct eventfd_ctx *eventfd = eventfd_ctx_fdget(args->fd);

	if (IS_ERR(eventfd))
		return PTR_ERR(eventfd);
	if (chip)
		irqfds_end(chip, eventfd, args->gsi);
	eventfd_ctx_put(eventfd);
	return 0;
}

int irqfd(struct vm *vm, const struct kvm_irqfd *args)
{
	struct irqchip *chip = vm_irqchip(vm);

	if (args->flags & ~(KVM_IRQFD_FLAG_DEASSIGN | KVM_IRQFD_FLAG_RESAMPLE))
		return -EINVAL;
	if (args->flags & KVM_IRQFD_FLAG_DEASSIGN)
		return deassign(chip, args);
	/* The I/O APIC says when a line is to be sampled again. */
	if (!chip || (chip->split && args->flags & KVM_IRQFD_FLAG_RESAMPLE))
		return -EINVAL;
	return assign(chip, args);
}

/* -- lifetime ---------------------------------------------------------------------------------------------------- */

void irqfds_init(struct irqchip *chip)
{
	spin_lock_init(&chip->irqfds_lock);
	INIT_LIST_HEAD(&chip->irqfds);
	INIT_LIST_HEAD(&chip->dead_irqfds);
	INIT_LIST_HEAD(&chip->resampled_irqfds);
	INIT_WORK(&chip->reap, reap);
}

void irqfds_destroy(struct irqchip *chip)
{
	irqfds_end(chip, NULL, 0);
	flush_work(&chip->reap);
}
