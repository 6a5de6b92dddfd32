/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the files of the Intel backend share. A way through them: capabilities.c says what the CPU must have, cpu.c
 * turns VMX on, controls.c fills a new VMCS, host.c brings a vCPU onto a CPU and off again, enter.c and entry.S go in
 * and come out, exits.c says what that meant, state.c carries registers across.
 */
#ifndef PITH_VMX_VMX_H
#define PITH_VMX_VMX_H

#include <linux/list.h>
#include <linux/percpu.h>
#include <linux/types.h>
#include <asm/desc_defs.h>

#include "vmcs.h"
#include "entry.h"
#include "../backend.h"
#include "rules.h"

/* What this machine's VMX is used with; written once, by vmx_setup(). */
struct vmx_capabilities {
	u32 revision;
	/* Control fields: what is always on, and in `secondary` also what a guest's CPUID may ask for. */
	u32 pin, primary, secondary, exit, entry;
	u64 cr0_fixed0, cr0_fixed1, cr4_fixed0, cr4_fixed1;
	u32 ept, vpid;	/* the halves of IA32_VMX_EPT_VPID_CAP */
	bool flush_l1d; /* L1TF: empty the L1 data cache before a guest may look into it */
};

extern struct vmx_capabilities vmx_capabilities;

/* As the reason: no exit, for the entry failed. */
#define EXIT_REASON_NOT_ENTERED U32_MAX

/* What the last exit left in the VMCS, read once, in the slice: a handler can be called again outside of it. */
struct vmx_exit {
	u32 reason;
	u32 failure; /* the entry failed: the VM-instruction error, or the reason with its bit 31 */
	u32 interruption, interruption_error;
	u64 qualification, gpa;
};

/* What of the host a slice puts aside, and what of it the VMCS holds already. */
struct vmx_host {
	int cpu; /* whose per-CPU fields the VMCS holds */
	unsigned long cr3, cr4, fs_base;
	union {
		struct {
			u16 ds, es, fs, gs;
		};
		u64 selectors; /* all four: a 64-bit thread has none */
	};
	u16 ldt;
	u64 user_gs_base;
	u64 debugctl;
	struct desc_ptr gdt;
};

struct vmx_vcpu {
	struct vcpu *vcpu;
	struct vmx_entry entry;
	struct vmx_exit exit;
	u32 primary, entry_controls; /* as the VMCS has them */
	u32 primary_always;	     /* but for window exiting */
	bool launched;
	bool wants_breakpoints;	 /* DR7 enables one */
	bool breakpoints_loaded; /* DR0-DR3 and DR6 are the guest's */
	bool fresh_slice;

	u64 counts; /* the deadline that the preemption timer is for */

	struct vmcs *vmcs;
	int cpu;		 /* where the VMCS is active, -1 nowhere */
	struct list_head active; /* in that CPU's list */
	u16 vpid;
	u64 eptp;
	struct posted_interrupts *posted; /* NULL without */
	u64 *pml;			  /* page-modification log; NULL: none */
	u64 cr4_owned;			  /* bits of CR4 that the guest may change without an exit */
	u32 seen_rights[NR_SEGMENTS];	  /* as they were when struct vcpu got them */
	struct vmx_host host;
	/* The VM-entry MSR-load area. Nothing is loaded from it but when a client breaks entries, see PITH_BREAK_ENTRY. */
	u64 msr_loads[VMX_MSR_LOADS][2] __aligned(16);
};

/* Source: SDM volume 3, table "Format of Posted-Interrupt Descriptor". */
struct posted_interrupts {
	unsigned long requests[4];
	unsigned long control; /* bit 0: outstanding notification */
	unsigned long unused[3];
} __aligned(64);

static inline struct vmx_vcpu *to_vmx(const struct vcpu *vcpu)
{
	return vcpu->backend;
}

DECLARE_PER_CPU(bool, vmx_on);

/* SHADOW_* of the guest interruptibility state: STI and MOV SS are the same bits in both. */
static inline u32 vmx_shadow(u32 interruptibility)
{
	static_assert(SHADOW_STI == GUEST_INTR_STATE_STI && SHADOW_MOV_SS == GUEST_INTR_STATE_MOV_SS);
	return (interruptibility & (SHADOW_STI | SHADOW_MOV_SS)) |
	       (interruptibility & GUEST_INTR_STATE_NMI ? SHADOW_NMI : 0);
}

/* capabilities.c */
int vmx_find_capabilities(void);
const struct table_format *vmx_tables(void);

/* cpu.c */
int vmx_cpu_on(void);
void vmx_cpu_off(void);
int vmx_cpus_setup(void);
void vmx_cpus_teardown(void);

/* l1d.c */
int l1d_setup(void);
void l1d_teardown(void);
void l1d_flush(void);

/* controls.c */
int vmx_controls_setup(void);
void vmx_controls_teardown(void);
void vmx_write_controls(struct vmx_vcpu *vmx);
void vmx_set_intercepts(struct vcpu *vcpu);
void vmx_set_windows(struct vcpu *vcpu, bool interrupt, bool nmi);
void vmx_set_tpr_threshold(struct vcpu *vcpu, u8 threshold);
void vmx_set_ia32e_mode_guest(struct vmx_vcpu *vmx, bool on);

/* apicv.c */
void apicv_setup(void);
int apicv_vcpu_create(struct vcpu *vcpu);
void apicv_vcpu_destroy(struct vcpu *vcpu);
void apicv_write_controls(const struct vmx_vcpu *vmx);
void apicv_take_posted(struct vcpu *vcpu);
bool vmx_notify(struct vcpu *vcpu);
u32 apicv_controls_off(const struct vcpu *vcpu);
void vmx_set_interrupt_status(struct vcpu *vcpu, u8 requested, u8 in_service);
void vmx_set_eoi_exits(struct vcpu *vcpu, const u32 bitmap[8]);

/* host.c */
void vmx_write_constant_host_state(void);
void vmx_slice_begin(struct vcpu *vcpu);
void vmx_slice_end(struct vcpu *vcpu);
void vmx_load_guest_msrs(struct vcpu *vcpu);
void vmx_save_guest_msrs(struct vcpu *vcpu);

/* switch_msrs.c */
void switch_msrs_load_guest(const struct vcpu *vcpu);
void switch_msrs_load_host(void);
void switch_msrs_read_host(void);

/* enter.c */
void vmx_enter(struct vcpu *vcpu);

/* exits.c */
enum next vmx_handle_exit(struct vcpu *vcpu);
void vmx_exit_info(struct vcpu *vcpu, struct pith_exit_record *record);
void vmx_exit_event(struct vcpu *vcpu, u32 *event, u32 *error);

/* events.c */
void vmx_inject(struct vcpu *vcpu);
bool vmx_requeue_event(struct vcpu *vcpu);
void vmx_cancel_injection(struct vcpu *vcpu);

/* state.c */
void vmx_read_state(struct vcpu *vcpu, u32 missing);
void vmx_write_state(struct vcpu *vcpu, u32 changed);
void vmx_set_pending_single_step(struct vcpu *vcpu);
void vmx_load_breakpoints(struct vmx_vcpu *vmx);

/* segments.c */
void vmx_read_segment(struct vcpu *vcpu, enum segment seg);
void vmx_read_mode(struct vcpu *vcpu);
void vmx_write_segment(struct vcpu *vcpu, enum segment seg);
void vmx_fix_loaded_tss(const struct vcpu *vcpu);

/* tlb.c */
int vpid_alloc(void);
void vpid_free(u16 vpid);
u64 vmx_eptp(struct vcpu *vcpu);
void vmx_set_memory_root(struct vcpu *vcpu);
void vmx_flush_tlb(struct vcpu *vcpu, bool second_stage);
void vmx_flush_all_here(void);

/* pml.c */
#define PML_ENTRIES 512
void pml_choose(void);
int pml_alloc(struct vmx_vcpu *vmx);
void pml_drain(struct vcpu *vcpu);

/* timer.c */
void vmx_timer_setup(void);
void vmx_write_timer(struct vmx_vcpu *vmx, u64 deadline);

/* check.c */
void vmx_read_values(struct vcpu *vcpu, const struct check_field *fields, unsigned int nr, u64 *values);
void vmx_read_fields(struct vcpu *vcpu, struct check_view *view);
void vmx_write_field(struct vcpu *vcpu, unsigned int index, u64 value, bool undo);

#endif
