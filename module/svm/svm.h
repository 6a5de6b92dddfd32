/* SPDX-License-Identifier: GPL-2.0 */
/* The AMD backend's own: what one vCPU has beside its VMCB. */
#ifndef PITH_SVM_H
#define PITH_SVM_H

#include <linux/percpu.h>
#include <linux/types.h>

#include <asm/svm.h>

#include "../backend.h"

/* CPUID Fn8000_000A EDX. Source: APM volume 3, "Function 8000_000Ah: SVM Features". */
#define SVM_FEATURE_NPT BIT(0)
#define SVM_FEATURE_NRIPS BIT(3)
#define SVM_FEATURE_TSC_RATE_MSR BIT(4)
#define SVM_FEATURE_FLUSH_BY_ASID BIT(6)
#define SVM_FEATURE_DECODE_ASSISTS BIT(7)
#define SVM_FEATURE_PAUSE_FILTER BIT(10)
#define SVM_FEATURE_PAUSE_FILTER_THRESHOLD BIT(12)

/**
 * struct svm - an AMD vCPU
 * @vmcb: the control block; the CPU's view of the guest
 * @vmcb_pa: its physical address
 * @asid_generation: the generation of this CPU's ASIDs that vmcb's ASID belongs to; 0: none
 * @stepping: TF was set by us, to be back after one instruction: an NMI waits for it
 * @step_rip, @step_tf: where the step began, and the guest's own TF then
 * @own_step: a single-step #DB is due to that, not to the guest
 * @iret_pending: the step is over the IRET that unblocks NMIs
 * @nmi_blocked: an NMI handler runs
 * @soft_exit: the exit, as vcpu->stat counts them, that ends the entry into which the last INT3 was injected
 * @soft_len: the length of that INT3
 */
struct svm {
	struct vmcb *vmcb;
	u64 vmcb_pa;
	u64 asid_generation;
	struct svm_cpu *asid_cpu; /* of whose ASIDs it has one */
	bool stepping, own_step, iret_pending, step_tf;
	u64 step_rip;
	bool nmi_blocked;
	struct vmcb_seg seen[NR_SEGMENTS]; /* as they were when struct vcpu got them */
	u64 soft_exit;
	u8 soft_len;
};

/* What each CPU has. */
struct svm_cpu {
	void *host_save;	/* VM_HSAVE_PA: where VMRUN keeps the host */
	struct vmcb *host_vmcb; /* what VMSAVE keeps of it */
	u64 host_vmcb_pa;
	u64 host_tsc_aux;
	u64 tsc_ratio; /* what the MSR holds */
	u64 asid_generation;
	u32 next_asid, last_asid;
	struct svm *last_vcpu;
};

DECLARE_PER_CPU(struct svm_cpu, svm_cpus);

extern u32 svm_features;

static inline struct svm *to_svm(struct vcpu *vcpu)
{
	return vcpu->backend;
}

static inline struct vmcb *to_vmcb(struct vcpu *vcpu)
{
	return to_svm(vcpu)->vmcb;
}

static inline void svm_set_intercept(struct vmcb *vmcb, unsigned int bit, bool on)
{
	u32 *word = &vmcb->control.intercepts[bit / 32];

	*word = on ? *word | BIT(bit % 32) : *word & ~BIT(bit % 32);
}

/* vmcb.c: intercepts and permission maps */
int svm_maps_create(void);
void svm_maps_destroy(void);
void svm_vmcb_init(struct vcpu *vcpu);
void svm_set_intercepts(struct vcpu *vcpu);
void svm_set_memory_root(struct vcpu *vcpu);

/* enter.c */
void svm_slice_begin(struct vcpu *vcpu);
void svm_slice_end(struct vcpu *vcpu);
void svm_load_breakpoints(struct vcpu *vcpu);
void svm_enter(struct vcpu *vcpu);
void svm_flush_tlb(struct vcpu *vcpu, bool second_stage);

/* entry.S */
void svm_run_guest(u64 vmcb_pa, u64 *gpr, u64 host_vmcb_pa);

/* events.c */
void svm_inject(struct vcpu *vcpu);
void svm_set_windows(struct vcpu *vcpu, bool interrupt, bool nmi);
void svm_requeue(struct vcpu *vcpu);
void svm_end_step(struct vcpu *vcpu);
enum next svm_exit_iret(struct vcpu *vcpu);
enum next svm_exit_vintr(struct vcpu *vcpu);

/* state.c */
void svm_read_state(struct vcpu *vcpu, u32 missing);
void svm_write_state(struct vcpu *vcpu, u32 changed);

/* exits.c */
enum next svm_handle_exit(struct vcpu *vcpu);
void svm_exit_info(struct vcpu *vcpu, struct pith_exit_record *record);
void svm_exit_event(struct vcpu *vcpu, u32 *event, u32 *error);

/* check.c */
void svm_read_values(struct vcpu *vcpu, const struct check_field *fields, unsigned int nr, u64 *values);
void svm_read_fields(struct vcpu *vcpu, struct check_view *view);
void svm_write_field(struct vcpu *vcpu, unsigned int index, u64 value, bool undo);

#endif
