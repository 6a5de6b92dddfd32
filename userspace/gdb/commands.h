/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What gdb asks for, packet by packet: registers, memory, breakpoints, which vCPUs are to go on. No kernel, no socket.
 * Source: "Debugging with GDB", appendix "GDB Remote Serial Protocol", sections "Packets" to "General Query Packets".
 */
#ifndef PITH_GDB_COMMANDS_H
#define PITH_GDB_COMMANDS_H

#include "breakpoints.h"
#include "packet.h"
#include "registers.h"

/* The machine, as much as the commands have to know of it. All vCPUs stand still. */
struct target {
	unsigned int nr_vcpus;
	/* Both return 0 or a negative errno. */
	int (*get_registers)(unsigned int vcpu, struct registers *registers);
	int (*set_registers)(unsigned int vcpu, const struct registers *registers, const struct registers *old);
	/*
	 * Where guest memory is, as a vCPU's page tables have it or by its physical address; @len: how much of it
	 * follows.
	 */
	u8 *(*memory)(unsigned int vcpu, bool physical, u64 address, u64 *len);
	const char *(*state)(unsigned int vcpu);
};

enum action { STAY, GO, STEP };

/* What is to be done after a command; beside COMMAND_REPLY nothing is told to gdb yet. */
enum command_result { COMMAND_REPLY, COMMAND_RESUME, COMMAND_DETACH, COMMAND_KILL };

/* A debugger, from attaching to detaching. */
struct session {
	const struct target *target;
	struct breakpoints breakpoints;
	struct stop stop;  /* the last one */
	unsigned int vcpu; /* that commands are about */
	bool physical;	   /* addresses of memory are */
	bool no_ack;	   /* packets need no acknowledgement */
	bool knows_int3;   /* gdb understands these reasons */
	bool knows_hardware;
	enum action *actions; /* COMMAND_RESUME: a vCPU each */
};

enum command_result command_execute(struct session *session, const struct packet_reader *packet, struct reply *reply);
void command_report_stop(const struct session *session, struct reply *reply);
void command_error(struct reply *reply, int error);

#endif
