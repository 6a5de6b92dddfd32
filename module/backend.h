/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The contract between the vendor-blind core and a vendor (vmx/, svm/).
 *
 * The core never names VMX or SVM; a backend never sees an ioctl. A backend brings CPUs into and out of virtualization,
 * owns the control structure, moves register state between it and struct vcpu, enters the guest, and hands exits up in
 * normal form by calling the functions of exit.h. Policy stands in the core, once.
 *
 * A slice is the stretch during which a vCPU is on a CPU: preemption off, control structure loaded, guest FPU in
 * the registers. slice_begin and slice_end bracket it; enter and handle_exit alternate in it.
 */
#ifndef PITH_BACKEND_H
#define PITH_BACKEND_H

#include <linux/types.h>

#include "check.h"
#include "pith.h"
#include "vcpu.h"
#include "vm.h"

#define HYPERCALL_SIZE 3

struct backend {
	const char *name;
	/** @isa: PITH_ISA_* */
	u32 isa;
	/** @hypercall: the instruction: VMCALL, VMMCALL. */
	u8 hypercall[HYPERCALL_SIZE];
	/** @mcg_cap: what the vendor's IA32_MCG_CAP has beyond MCE_CAP_SUPPORTED */
	u64 mcg_cap;
	/** @excludes: the module that must not be loaded while this one is, or NULL. */
	const char *excludes;

	/**
	 * @setup: finds out whether this machine has what is needed and gets what all VMs share. On refusal logs one
	 * sentence that names the missing thing and its remedy. Process context. 0 or -EOPNOTSUPP, -EBUSY, -ENOMEM.
	 */
	int (*setup)(void);
	void (*teardown)(void);

	/** @cpu_on: brings this CPU into virtualization; interrupts off. 0 or -EBUSY, -EIO. */
	int (*cpu_on)(void);
	/** @cpu_off: the reverse; must also work in a crash. Interrupts off. */
	void (*cpu_off)(void);

	/** @tsc_ratio_bits: fractional bits of vcpu->tsc_ratio, 0 where the CPU does not scale; valid after setup */
	u8 tsc_ratio_bits;
	/** @tsc_ratio_max: no ratio is as large */
	u64 tsc_ratio_max;

	/** @watches_deadline: enter makes the guest exit when the host's TSC is at vcpu->deadline; valid after setup */
	bool watches_deadline;

	/** @has_xsaves: guests can execute XSAVES and XRSTORS; valid after setup */
	bool has_xsaves;

	/** @tables: how second-stage entries are spelled; valid after setup. */
	const struct table_format *(*tables)(void);

	/** @vcpu_create: control structure and what belongs to it, in the state of RESET. Process context. */
	int (*vcpu_create)(struct vcpu *vcpu);
	void (*vcpu_destroy)(struct vcpu *vcpu);
	/** @set_intercepts: the client changed CPUID or what it wants to see: intercepts follow. Outside of a slice. */
	void (*set_intercepts)(struct vcpu *vcpu);

	/** @set_memory_root: the vCPU sees another address space now: memory_root(). Outside of a slice. */
	void (*set_memory_root)(struct vcpu *vcpu);

	/** @slice_begin: loads the vCPU on this CPU. Preemption off, interrupts on. */
	void (*slice_begin)(struct vcpu *vcpu);
	/** @slice_end: the host gets back everything that the next thread on this CPU relies on. */
	void (*slice_end)(struct vcpu *vcpu);

	/**
	 * @enter: writes changed state, runs the guest until it exits; sets known to the groups that are valid
	 * afterwards. Interrupts off before and after. Host NMIs and machine checks that caused the exit are
	 * delivered to the host in here, and what the CPU logged of the guest's writes goes to memory_mark_dirty().
	 */
	void (*enter)(struct vcpu *vcpu);

	/**
	 * @handle_exit: answers the last exit by the backend's exit table. Called with interrupts on. In a slice it
	 * may answer NEXT_SLOW: it is then called again outside of the slice, for the same exit. Handlers find in
	 * vcpu->insn_len the bytes of the instruction that exited, or 0 when the hardware does not tell.
	 */
	enum next (*handle_exit)(struct vcpu *vcpu);

	/** @exit_info: what the last exit was: @record's rip, info and reason. Interrupts off, in a slice. */
	void (*exit_info)(struct vcpu *vcpu, struct pith_exit_record *record);

	/**
	 * @exit_event: the event that the last exit was due to or has cut off, if any, as the hardware spells it, and its error
	 * code. Interrupts off, in a slice.
	 */
	void (*exit_event)(struct vcpu *vcpu, u32 *event, u32 *error);

	/** @read_state: makes the missing groups valid in struct vcpu. In a slice or outside (the mutex is held). */
	void (*read_state)(struct vcpu *vcpu, u32 missing);

	/**
	 * @inject: puts vcpu->event into the control structure. Interrupts off, in a slice.
	 * The event is consumed: if its delivery is cut off, handle_exit finds it in vcpu->event again.
	 */
	void (*inject)(struct vcpu *vcpu);

	/** @set_windows: whether to exit as soon as the guest can take an interrupt, an NMI. In a slice. */
	void (*set_windows)(struct vcpu *vcpu, bool interrupt, bool nmi);

	/** @set_tpr_threshold: below which TPR class the guest exits; never above TPR. In a slice, if vcpu->tpr_shadow. */
	void (*set_tpr_threshold)(struct vcpu *vcpu, u8 threshold);

	/**
	 * @set_interrupt_status: what is the highest vector in IRR, in ISR, 0: none. In a slice, with vcpu->virtual_delivery,
	 * after software has changed one of them.
	 */
	void (*set_interrupt_status)(struct vcpu *vcpu, u8 requested, u8 in_service);

	/** @set_eoi_exits: of which vectors the end is reported. In a slice or outside, with vcpu->virtual_delivery. */
	void (*set_eoi_exits)(struct vcpu *vcpu, const u32 bitmap[8]);

	/**
	 * @notify: a request was posted for a vCPU: whether it takes it by itself, in guest mode or when it is there again;
	 * otherwise it has to be requested and kicked. Any context, with what irq_virtualize_delivery() was given.
	 */
	bool (*notify)(struct vcpu *vcpu);

	/** @flush_tlb: nothing cached of this vCPU's translations, guest's or second-stage, may be used. In a slice. */
	void (*flush_tlb)(struct vcpu *vcpu, bool second_stage);

	/** @checks: the rules that a control structure has to obey */
	const struct checks *checks;
	/** @read_values: of fields of the control structure. In a slice or outside. */
	void (*read_values)(struct vcpu *vcpu, const struct check_field *fields, unsigned int nr, u64 *values);
	/** @read_fields: takes a snapshot of the control structure for @checks. In a slice or outside. */
	void (*read_fields)(struct vcpu *vcpu, struct check_view *view);
	/** @write_field: gives one of its fields a value, or, with @undo, the value that it had. Outside of a slice. */
	void (*write_field)(struct vcpu *vcpu, unsigned int index, u64 value, bool undo);
};

extern struct backend backend;
extern const struct backend vmx_backend, svm_backend;

/* Calls stand as backend.enter(vcpu): the table is copied at load and read-only afterwards. */

#endif
