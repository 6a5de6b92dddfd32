/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Breakpoints and watchpoints: INT3 in the guest's memory, and the four that the CPU's debug registers hold. No kernel.
 * All vCPUs have the same. Source: SDM volume 3, "Debug Registers"; KVM's api.rst, "KVM_SET_GUEST_DEBUG".
 */
#ifndef PITH_GDB_BREAKPOINTS_H
#define PITH_GDB_BREAKPOINTS_H

#include <linux/kvm.h>

#include "../util.h"

/* gdb's numbers, behind Z and z. A CPU cannot watch for reads alone. */
enum breakpoint_type { BREAKPOINT_SOFTWARE, BREAKPOINT_HARDWARE, WATCHPOINT_WRITE, WATCHPOINT_READ, WATCHPOINT_ACCESS };

#define VECTOR_DB 1
#define VECTOR_BP 3

#define MAX_INT3 256
#define NR_DEBUG_REGISTERS 4

struct breakpoints {
	unsigned int nr_int3;
	struct int3 {
		u64 address; /* the guest's */
		u8 *at;	     /* where that is for us: the guest's page tables may have changed since */
		u8 original;
	} int3[MAX_INT3];
	struct debug_register {
		bool used;
		enum breakpoint_type type;
		u64 address, size;  /* of the whole watchpoint, which may need several registers */
		u64 piece;	    /* of it, where this register's begins */
		unsigned int bytes; /* 1, 2, 4 or 8 */
	} registers[NR_DEBUG_REGISTERS];
};

/* Why a vCPU has stopped. */
struct stop {
	enum stop_reason { STOP_SIGNAL, STOP_INT3, STOP_HARDWARE, STOP_WATCH, STOP_ACCESS } reason;
	unsigned int vcpu;
	unsigned int signal; /* gdb's number */
	u64 address;	     /* of the watchpoint */
};

#define SIGNAL_INT 2
#define SIGNAL_TRAP 5
#define SIGNAL_SEGV 11

int breakpoint_insert_int3(struct breakpoints *breakpoints, u64 address, u8 *at);
int breakpoint_insert_register(struct breakpoints *breakpoints, enum breakpoint_type type, u64 address, u64 size);
int breakpoint_remove(struct breakpoints *breakpoints, enum breakpoint_type type, u64 address, u64 size);
void breakpoints_clear(struct breakpoints *breakpoints);
void breakpoints_read(const struct breakpoints *breakpoints, const u8 *at, u8 *data, size_t len);
void breakpoints_write(struct breakpoints *breakpoints, u8 *at, const u8 *data, size_t len);
void breakpoints_program(const struct breakpoints *breakpoints, struct kvm_guest_debug *debug);
bool breakpoints_explain(const struct breakpoints *breakpoints, const struct kvm_debug_exit_arch *exit, bool stepping,
			 struct stop *stop);
bool breakpoints_watch(const struct breakpoints *breakpoints, const struct stop *stop);

#endif
