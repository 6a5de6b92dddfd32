// SPDX-License-Identifier: GPL-2.0
#include "breakpoints.h"

#include <errno.h>
#include <string.h>

#define INT3 0xcc

#define DR6_BS (1u << 14)
#define DR7_FIXED (1u << 10)
#define DR7_LE_GE (3u << 8)
#define DR7_GLOBAL(n) (2u << 2 * (n))
#define DR7_FIELD(n, value) ((value) << (16 + 4 * (n)))

static struct int3 *find_int3(struct breakpoints *breakpoints, u64 address)
{
	for (unsigned int i = 0; i < breakpoints->nr_int3; i++) {
		if (breakpoints->int3[i].address == address)
			return &breakpoints->int3[i];
	}
	return NULL;
}

/**
 * breakpoint_insert_int3 - put an INT3 into memory; one that is there already may stay
 * @breakpoints: what is there already
 * @address: the guest's
 * @at: that address for us
 *
 * Return: 0, or -ENOSPC.
 */
int breakpoint_insert_int3(struct breakpoints *breakpoints, u64 address, u8 *at)
{
	u8 original = *at;

	if (find_int3(breakpoints, address))
		return 0;
	if (breakpoints->nr_int3 == MAX_INT3)
		return -ENOSPC;
	/* Two addresses of one byte: each gives back what it is behind the INT3. */
	breakpoints_read(breakpoints, at, &original, 1);
	breakpoints->int3[breakpoints->nr_int3++] = (struct int3){ address, at, original };
	*at = INT3;
	return 0;
}

static int remove_int3(struct breakpoints *breakpoints, u64 address)
{
	struct int3 *int3 = find_int3(breakpoints, address);
	struct int3 gone;

	if (!int3)
		return -ENOENT;
	gone = *int3;
	*int3 = breakpoints->int3[--breakpoints->nr_int3];
	for (unsigned int i = 0; i < breakpoints->nr_int3; i++) {
		if (breakpoints->int3[i].at == gone.at)
			return 0;
	}
	/* The guest may have written something of its own. */
	if (*gone.at == INT3)
		*gone.at = gone.original;
	return 0;
}

/* The largest that a register can watch from here on: aligned to its size, and no larger than what is left. */
static unsigned int piece_size(u64 address, u64 left)
{
	unsigned int bytes = 8;

	while (bytes > left || address % bytes)
		bytes /= 2;
	return bytes;
}

static bool same(const struct debug_register *one, enum breakpoint_type type, u64 address, u64 size)
{
	return one->used && one->type == type && one->address == address && one->size == size;
}

static int remove_register(struct breakpoints *breakpoints, enum breakpoint_type type, u64 address, u64 size)
{
	int result = -ENOENT;

	for (unsigned int i = 0; i < NR_DEBUG_REGISTERS; i++) {
		struct debug_register *one = &breakpoints->registers[i];

		if (same(one, type, address, size)) {
			one->used = false;
			result = 0;
		}
	}
	return result;
}

static struct debug_register *free_register(struct breakpoints *breakpoints)
{
	for (unsigned int i = 0; i < NR_DEBUG_REGISTERS; i++) {
		if (!breakpoints->registers[i].used)
			return &breakpoints->registers[i];
	}
	return NULL;
}

/**
 * breakpoint_insert_register - take debug registers for a breakpoint or watchpoint; one that is there already stays
 * @breakpoints: what is there already
 * @type: any but BREAKPOINT_SOFTWARE
 * @address: of the instruction or the first byte watched
 * @size: bytes watched
 *
 * Return: 0; -ENOSPC: all are taken, or it is too large for them; -EOPNOTSUPP: none can do that.
 */
int breakpoint_insert_register(struct breakpoints *breakpoints, enum breakpoint_type type, u64 address, u64 size)
{
	u64 done = 0;

	if (type == WATCHPOINT_READ)
		return -EOPNOTSUPP;
	if (type == BREAKPOINT_HARDWARE)
		size = 1;
	for (unsigned int i = 0; i < NR_DEBUG_REGISTERS; i++) {
		if (same(&breakpoints->registers[i], type, address, size))
			return 0;
	}
	while (done < size) {
		struct debug_register *one = free_register(breakpoints);
		unsigned int bytes = piece_size(address + done, size - done);

		if (!one) {
			remove_register(breakpoints, type, address, size);
			return -ENOSPC;
		}
		*one = (struct debug_register){ true, type, address, size, address + done, bytes };
		done += bytes;
	}
	return size ? 0 : -EINVAL;
}

/**
 * breakpoint_remove - take one away again
 * @breakpoints: what there is
 * @type: as it was inserted
 * @address: as it was inserted
 * @size: as it was inserted
 *
 * Return: 0 or -ENOENT.
 */
int breakpoint_remove(struct breakpoints *breakpoints, enum breakpoint_type type, u64 address, u64 size)
{
	if (type == BREAKPOINT_SOFTWARE)
		return remove_int3(breakpoints, address);
	return remove_register(breakpoints, type, address, type == BREAKPOINT_HARDWARE ? 1 : size);
}

/**
 * breakpoints_clear - take all away
 * @breakpoints: none are left
 */
void breakpoints_clear(struct breakpoints *breakpoints)
{
	while (breakpoints->nr_int3)
		remove_int3(breakpoints, breakpoints->int3[0].address);
	memset(breakpoints->registers, 0, sizeof(breakpoints->registers));
}

/**
 * breakpoints_read - read memory as it would be without INT3s
 * @breakpoints: what there is
 * @at: the memory
 * @data: set to its bytes
 * @len: how many
 */
void breakpoints_read(const struct breakpoints *breakpoints, const u8 *at, u8 *data, size_t len)
{
	memcpy(data, at, len);
	for (unsigned int i = 0; i < breakpoints->nr_int3; i++) {
		const struct int3 *int3 = &breakpoints->int3[i];

		if (int3->at >= at && int3->at < at + len && *int3->at == INT3)
			data[int3->at - at] = int3->original;
	}
}

/**
 * breakpoints_write - write memory behind the INT3s
 * @breakpoints: what there is
 * @at: the memory
 * @data: its new bytes
 * @len: how many
 */
void breakpoints_write(struct breakpoints *breakpoints, u8 *at, const u8 *data, size_t len)
{
	memcpy(at, data, len);
	for (unsigned int i = 0; i < breakpoints->nr_int3; i++) {
		struct int3 *int3 = &breakpoints->int3[i];

		if (int3->at >= at && int3->at < at + len) {
			int3->original = data[int3->at - at];
			*int3->at = INT3;
		}
	}
}

static u32 dr7_of(unsigned int n, const struct debug_register *one)
{
	static const u8 rw[] = { [BREAKPOINT_HARDWARE] = 0, [WATCHPOINT_WRITE] = 1, [WATCHPOINT_ACCESS] = 3 };
	static const u8 len[] = { [1] = 0, [2] = 1, [4] = 3, [8] = 2 };

	return DR7_GLOBAL(n) | DR7_FIELD(n, (u32)(len[one->bytes] << 2 | rw[one->type]));
}

/**
 * breakpoints_program - what a vCPU's hardware is to do about breakpoints
 * @breakpoints: what there is
 * @debug: added to it; the vCPU's debug registers are the guest's own as long as none is needed
 */
void breakpoints_program(const struct breakpoints *breakpoints, struct kvm_guest_debug *debug)
{
	u32 dr7 = 0;

	for (unsigned int i = 0; i < NR_DEBUG_REGISTERS; i++) {
		const struct debug_register *one = &breakpoints->registers[i];

		if (!one->used)
			continue;
		debug->arch.debugreg[i] = one->piece;
		dr7 |= dr7_of(i, one);
	}
	if (dr7) {
		debug->arch.debugreg[7] = dr7 | DR7_LE_GE | DR7_FIXED;
		debug->control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
	}
	if (breakpoints->nr_int3)
		debug->control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP;
}

static const enum stop_reason reasons[] = {
	[BREAKPOINT_HARDWARE] = STOP_HARDWARE,
	[WATCHPOINT_WRITE] = STOP_WATCH,
	[WATCHPOINT_ACCESS] = STOP_ACCESS,
};

static bool explain_debug(const struct breakpoints *breakpoints, u64 dr6, bool stepping, struct stop *stop)
{
	for (unsigned int i = 0; i < NR_DEBUG_REGISTERS; i++) {
		const struct debug_register *one = &breakpoints->registers[i];

		if (!one->used || !(dr6 >> i & 1))
			continue;
		stop->reason = reasons[one->type];
		stop->address = one->address;
		return true;
	}
	return stepping && dr6 & DR6_BS;
}

/**
 * breakpoints_explain - find out why a vCPU has stopped
 * @breakpoints: what there is
 * @exit: of KVM_EXIT_DEBUG
 * @stepping: whether the vCPU was to execute a single instruction
 * @stop: set to the reason
 *
 * Return: false if it is the guest's own exception, and no business of the debugger's.
 */
bool breakpoints_explain(const struct breakpoints *breakpoints, const struct kvm_debug_exit_arch *exit, bool stepping,
			 struct stop *stop)
{
	*stop = (struct stop){ .reason = STOP_SIGNAL, .signal = SIGNAL_TRAP };
	if (exit->exception == VECTOR_DB)
		return explain_debug(breakpoints, exit->dr6, stepping, stop);
	stop->reason = STOP_INT3;
	return exit->exception == VECTOR_BP && find_int3((struct breakpoints *)breakpoints, exit->pc);
}

/**
 * breakpoints_watch - whether what a watchpoint has seen earlier is still asked for
 * @breakpoints: what there is
 * @stop: its report
 *
 * Return: that.
 */
bool breakpoints_watch(const struct breakpoints *breakpoints, const struct stop *stop)
{
	for (unsigned int i = 0; i < NR_DEBUG_REGISTERS; i++) {
		const struct debug_register *one = &breakpoints->registers[i];

		if (one->used && reasons[one->type] == stop->reason && one->address == stop->address)
			return true;
	}
	return false;
}
