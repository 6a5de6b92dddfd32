/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The instruction decoder and executor: x86 machine code in, its description out; and its effect on registers and
 * memory, for an instruction whose memory operand has no memory behind it and which the CPU hence cannot finish itself.
 *
 * Neither part needs a kernel. The decoder (decode.c) knows the length of every instruction; the executor (execute.c)
 * knows what compilers and kernels use on device registers, and says INSN_UNHANDLED to the rest.
 * Source: SDM volume 2, "Instruction Format" and appendix A, "Opcode Map"; APM volume 3, appendix A (XOP, 3DNow!).
 */
#ifndef PITH_INSN_H
#define PITH_INSN_H

#include <linux/kvm.h>

#include "../cpu/regs.h"

/* No instruction is longer; the CPU answers a longer one with #GP(0). */
#define INSN_MAX_LENGTH 15

/* The default operand and address size: 64 is CS.L (with EFER.LMA), 32 is CS.D; real and virtual-8086 mode are 16. */
enum insn_mode { INSN_MODE_16, INSN_MODE_32, INSN_MODE_64 };

/* How prefix and opcode are encoded. */
enum insn_encoding { INSN_LEGACY, INSN_VEX, INSN_EVEX, INSN_XOP };

/* Opcode maps, numbered as VEX, EVEX and XOP number theirs. 3DNow! is opcode 0F of map 0F, its suffix is the imm. */
enum insn_map {
	INSN_MAP_ONE_BYTE,
	INSN_MAP_0F,
	INSN_MAP_0F38,
	INSN_MAP_0F3A,
	INSN_MAP_EVEX5 = 5,
	INSN_MAP_EVEX6,
	INSN_MAP_XOP8 = 8,
	INSN_MAP_XOP9,
	INSN_MAP_XOPA,
};

/* struct insn's prefixes. Of REP (F3) and REPNE (F2) the last one counts, and only its bit is set. */
#define INSN_PREFIX_REP BIT(0)
#define INSN_PREFIX_REPNE BIT(1)
#define INSN_PREFIX_LOCK BIT(2)
#define INSN_PREFIX_OPERAND_SIZE BIT(3)
#define INSN_PREFIX_ADDRESS_SIZE BIT(4)
#define INSN_PREFIX_SEGMENT BIT(5) /* one that has an effect: in 64-bit mode FS and GS only */

#define INSN_REX_B BIT(0)
#define INSN_REX_X BIT(1)
#define INSN_REX_R BIT(2)
#define INSN_REX_W BIT(3)

/* In place of a general register, in struct insn's base and index. */
enum { INSN_REG_NONE = NR_GPRS, INSN_REG_RIP };

/**
 * struct insn - one decoded instruction
 * @disp:         displacement, sign-extended; in MOV's moffs forms the offset (effective addresses are cut to the
 *                address size anyway)
 * @imm:          immediate, sign-extended (also a branch's displacement and a far pointer's offset), or 0
 * @imm2:         second immediate: the selector of a far pointer, the level of ENTER, the second byte of EXTRQ/INSERTQ
 * @encoding:     enum insn_encoding
 * @map:          enum insn_map
 * @prefixes:     INSN_PREFIX_*: legacy prefixes only, not what VEX, EVEX and XOP encode in their stead
 * @segment:      enum segment of the memory operand (of DS:rSI in string instructions), overrides and the default SS of
 *                rBP and rSP applied
 * @index:        enum gpr or INSN_REG_NONE
 * @scale:        the index counts 1 << scale times
 * @base:         enum gpr, INSN_REG_NONE or INSN_REG_RIP (the address of the next instruction)
 * @opcode:       last byte of the opcode
 * @rex:          the REX byte, or 0; for VEX, EVEX and XOP in 64-bit mode 0x40 and the equivalent bits
 * @operand_size: 1, 2, 4 or 8 bytes, as the opcode, the prefixes and the mode say; of MOVZX and the like it is the
 *                destination's. Means nothing for vector instructions.
 * @address_size: 2, 4 or 8 bytes
 * @memory:       there is a memory operand, given by @base, @index, @scale and @disp (ModRM or moffs), which mean
 *                nothing otherwise. Not set for the implied operands of string and stack instructions.
 * @modrm:        the ModRM byte, 0 if there is none
 * @mod:          ModRM.mod
 * @reg:          ModRM.reg with REX.R: a register, or in groups (take the low three bits) part of the opcode.
 *                Of MOV CR/DR (0F 20..23) the number of the control or debug register
 * @rm:           ModRM.rm with REX.B: the register if mod is 3 (always so for MOV CR/DR: its general register); without
 *                ModRM the register in the opcode's low bits
 * @length:       length in bytes, prefixes included
 * @bytes:        the instruction itself, @length bytes of it; what follows is whatever the caller's buffer held
 */
struct insn {
	s64 disp;
	s64 imm;
	u16 imm2;
	u8 encoding;
	u8 map;
	u8 prefixes;
	u8 segment;
	u8 index;
	u8 scale;
	u8 base;
	u8 opcode;
	u8 rex;
	u8 operand_size;
	u8 address_size;
	bool memory;
	u8 modrm;
	u8 mod;
	u8 reg;
	u8 rm;
	u8 length;
	u8 bytes[INSN_MAX_LENGTH];
};

/**
 * insn_decode() - decode one instruction
 * @insn:  filled in; unspecified on failure
 * @bytes: where the instruction begins
 * @len:   how many bytes there are; none beyond is read. Give 15 where they can be had: it is the fast case.
 * @mode:  default sizes of the code segment
 *
 * What cannot be executed is measured all the same: every instruction of the legacy, VEX, EVEX and XOP maps. Encodings
 * that no CPU defines may get a length or -EINVAL. With the 66 prefix, near branches in 64-bit mode are taken as Intel
 * takes them (32-bit displacement).
 *
 * Return: 0, -EAGAIN if the instruction goes on after @len bytes, -EINVAL if it is undefined (the CPU raises #UD),
 * -E2BIG if it is longer than 15 bytes (#GP(0)).
 */
int insn_decode(struct insn *insn, const u8 *bytes, size_t len, enum insn_mode mode);

/**
 * struct insn_string_io - what an INS or OUTS transfers
 * @in:           INS: from port to ES:rDI; otherwise OUTS: from @segment:rSI to port
 * @rep:          repeated rCX times (either REP prefix)
 * @segment:      enum segment of the memory operand: ES for INS, DS or an override for OUTS
 * @operand_size: 1, 2 or 4 bytes
 * @address_size: 2, 4 or 8: how much of rSI, rDI and rCX counts
 */
struct insn_string_io {
	bool in;
	bool rep;
	u8 segment;
	u8 operand_size;
	u8 address_size;
};

/**
 * insn_string_io() - describe a string port instruction
 * @insn: a decoded instruction
 * @io:   filled in if it is one
 *
 * Return: whether it is INS or OUTS.
 */
bool insn_string_io(const struct insn *insn, struct insn_string_io *io);

/**
 * enum insn_result - what became of an instruction
 * @INSN_DONE:      executed: registers are committed, RIP is behind the instruction, RFLAGS.RF is clear
 * @INSN_AGAIN:     one iteration of a repeated string instruction is committed; RIP is unchanged, RFLAGS.RF is set.
 *                  Interrupts may be taken here; to go on, execute the same struct insn again.
 * @INSN_EXCEPTION: it raises struct insn_machine's exception; nothing is committed
 * @INSN_PENDING:   a callback must first get an answer elsewhere; nothing is committed. Call again in the same state.
 * @INSN_UNHANDLED: not an instruction, or not a form of it, that is executed here; nothing is committed
 *
 * After INSN_DONE and INSN_AGAIN a set RFLAGS.TF asks for the single-step #DB, and after INSN_DONE the interrupt shadow
 * of STI and MOV SS is over: both are the caller's.
 */
enum insn_result { INSN_DONE, INSN_AGAIN, INSN_EXCEPTION, INSN_PENDING, INSN_UNHANDLED };

/**
 * struct insn_ops - what the executor asks of its surroundings
 * @segment: the cached descriptor of a segment register, limit in bytes as the KVM ABI has it. Asked for only when
 *           needed; in 64-bit mode that is for FS and GS and for the selector in MOV r/m, Sreg.
 * @read:    read @size (1, 2, 4, 8 or 16) bytes of guest memory at a linear address into @buf. With @for_write the same
 *           bytes will be written next, so the page must be writable too (and its fault a write fault).
 * @write:   write as many bytes; only this makes a store happen. The executor commits right after it returns INSN_DONE.
 * @xmm_read: read the 16 bytes of XMM register @n. Optional with @xmm_write: without, SSE moves are INSN_UNHANDLED.
 * @xmm_write: write the 16 bytes of XMM register @n; bits above are unchanged
 *
 * read and write return INSN_DONE; INSN_EXCEPTION after they filled struct insn_machine's exception; INSN_PENDING; or
 * INSN_UNHANDLED. They are called in the same order with the same arguments each time an instruction is tried in
 * the same state (values written may follow from values read): all reads (two at most) before the write (one at most).
 * An access may cross a page boundary; outside of 64-bit mode it wraps at 4 GiB. A locked instruction is not told
 * apart: its read and write are not one atomic access.
 */
struct insn_ops {
	const struct kvm_segment *(*segment)(void *ctx, enum segment segment);
	enum insn_result (*read)(void *ctx, u64 linear, void *buf, unsigned int size, bool for_write);
	enum insn_result (*write)(void *ctx, u64 linear, const void *buf, unsigned int size);
	void (*xmm_read)(void *ctx, unsigned int n, void *buf);
	void (*xmm_write)(void *ctx, unsigned int n, const void *buf);
};

/**
 * struct insn_machine - the CPU that executes
 * @regs:            registers, changed when an instruction is committed
 * @ops:             callbacks
 * @ctx:             first argument of the callbacks
 * @mode:            enum insn_mode, the one the instruction was decoded with
 * @linear_width:    significant bits of a linear address in 64-bit mode: 48, or 57 with CR4.LA57
 * @protected_mode:  CR0.PE (virtual-8086 mode is seen by RFLAGS.VM)
 * @alignment_check: CR0.AM, RFLAGS.AC and CPL 3 together: misaligned data accesses raise #AC
 * @exception:       valid after INSN_EXCEPTION
 */
struct insn_machine {
	struct cpu_regs *regs;
	const struct insn_ops *ops;
	void *ctx;
	u8 mode;
	u8 linear_width;
	bool protected_mode;
	bool alignment_check;
	struct exception exception;
};

/**
 * insn_execute() - execute one instruction, or one iteration of a repeated one
 * @m:    the machine
 * @insn: the instruction at @m's RIP, decoded with @m's mode
 *
 * Executed: MOV (but not to a segment, control or debug register), MOVZX, MOVSX, MOVSXD, MOVBE, MOVNTI, MOVS, CMPS,
 * STOS, LODS, SCAS, ADD, OR, ADC, SBB, AND, SUB, XOR, CMP, TEST, INC, DEC, NEG, NOT, ROL, ROR, RCL, RCR, SHL, SHR, SAR,
 * BT, BTS, BTR, BTC, XCHG, CMPXCHG, CMPXCHG8B, CMPXCHG16B, XADD, PUSH and POP (but not of segment registers), SETcc,
 * CMOVcc, the SSE moves between memory and one XMM register, and (without access) NOP, PREFETCH, CLFLUSH, CLFLUSHOPT
 * and CLWB of a memory operand. Where an operand is r/m it may be a register; encodings that cannot name memory are
 * INSN_UNHANDLED, save for MOV, PUSH and POP.
 *
 * Return: see enum insn_result.
 */
enum insn_result insn_execute(struct insn_machine *m, const struct insn *insn);

/**
 * insn_linear() - the linear address of an operand, and the segment's say about it
 * @m:       the machine
 * @segment: segment register
 * @offset:  effective address, already cut to the address size
 * @size:    bytes accessed
 * @write:   whether they are written
 * @linear:  the result
 *
 * Checks what the segment demands: limit, type, usability; in 64-bit mode that the address is canonical.
 *
 * Return: INSN_DONE, or INSN_EXCEPTION with @m's exception filled (#SS for the stack segment, else #GP).
 */
enum insn_result insn_linear(struct insn_machine *m, enum segment segment, u64 offset, unsigned int size, bool write,
			     u64 *linear);

#endif
