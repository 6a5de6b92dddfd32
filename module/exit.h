/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a guest did, vendor-blind: a backend decodes its exit and calls one of these. Each returns enum next; NEXT_SLOW
 * means "call me again outside of the slice" and is only returned inside one.
 */
#ifndef PITH_EXIT_H
#define PITH_EXIT_H

#include "vcpu.h"

enum next exit_cpuid(struct vcpu *vcpu);
enum next exit_rdmsr(struct vcpu *vcpu);
enum next exit_wrmsr(struct vcpu *vcpu);
enum next exit_hlt(struct vcpu *vcpu);
enum next exit_hypercall(struct vcpu *vcpu); /* hypercall.c */
enum next exit_pause(struct vcpu *vcpu);
enum next exit_xsetbv(struct vcpu *vcpu);
enum next exit_rdpmc(struct vcpu *vcpu);
enum next exit_skip(struct vcpu *vcpu); /* nothing to do but go past it: INVD, WBINVD, PAUSE */
enum next exit_monitor_mwait(struct vcpu *vcpu);
enum next exit_invalid_opcode(struct vcpu *vcpu); /* #UD that the guest raised itself */
enum next exit_undefined(struct vcpu *vcpu);	  /* #UD: VMX and SVM instructions, ... */
enum next exit_triple_fault(struct vcpu *vcpu);

/**
 * exit_io - IN, OUT, INS, OUTS
 * @port, @size: bytes; @in: IN or INS; @string: INS or OUTS, whose instruction is decoded for segment and count
 */
enum next exit_io(struct vcpu *vcpu, u16 port, unsigned int size, bool in, bool string);

/**
 * exit_memory_fault - a second-stage fault. Maps RAM; executes the instruction by software where there is none.
 * @access: ACCESS_* bits
 */
enum next exit_memory_fault(struct vcpu *vcpu, u64 gpa, u32 access);

/* exit_device_access - its second half, for an access of which the hardware tells that it is to a device */
enum next exit_device_access(struct vcpu *vcpu, u64 gpa, u32 access);

/* MOV to and from control registers; gpr is the register's number. Includes CR8. */
enum next exit_mov_to_cr(struct vcpu *vcpu, unsigned int cr, u64 value);
enum next exit_mov_from_cr(struct vcpu *vcpu, unsigned int cr, unsigned int gpr);
enum next exit_clts(struct vcpu *vcpu);
enum next exit_lmsw(struct vcpu *vcpu, u16 value);
enum next exit_mov_dr(struct vcpu *vcpu, unsigned int dr, unsigned int gpr, bool from_dr);

/* An exception that the host intercepts: DR6 bits for #DB, else it goes back to the guest or to the client. */
enum next exit_exception(struct vcpu *vcpu, const struct exception *exception);

/*
 * A CR or MSR instruction of which the hardware told no operands: decoded from the bytes (AMD without decode assists)
 */
enum next exit_decode_cr_dr(struct vcpu *vcpu);

enum next exit_interrupt_window(struct vcpu *vcpu);
enum next exit_nmi_window(struct vcpu *vcpu);
enum next exit_unexpected(struct vcpu *vcpu, u64 reason);
enum next exit_emulation_failure(struct vcpu *vcpu, const u8 *bytes, unsigned int len);

#endif
