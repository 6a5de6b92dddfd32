// SPDX-License-Identifier: GPL-2.0
/*
 * AMD SVM: what is required, each CPU into and out of it, a vCPU's parts.
 * Source: APM volume 2, "Secure Virtual Machine".
 */
#define pr_fmt(fmt) "pith: " fmt

#include <linux/mm.h>
#include <linux/slab.h>

#include <asm/msr.h>

#include "../memory/memory.h"
#include "rules.h"
#include "svm.h"

#define CPUID_SVM 0x8000000a

DEFINE_PER_CPU(struct svm_cpu, svm_cpus);
u32 svm_features __ro_after_init;
static u32 nr_asids __ro_after_init;

/* Source: APM volume 2, "Nested Paging": NPT entries have the format of ordinary page tables, all accesses as user. */
static const struct table_format npt_format = {
	.read = _PAGE_PRESENT | _PAGE_USER,
	.write = _PAGE_RW,
	.no_exec = _PAGE_NX,
	.accessed = _PAGE_ACCESSED,
	.dirty = _PAGE_DIRTY,
	.large = _PAGE_PSE,
	.table = _PAGE_PRESENT | _PAGE_USER | _PAGE_RW | _PAGE_ACCESSED,
	.leaf = 0, /* PAT entry 0: write-back */
	.leaf_uncached = _PAGE_PCD | _PAGE_PWT,
	.levels = 4,
	.largest = 2,
};

static struct table_format format __ro_after_init;

static const struct table_format *svm_tables(void)
{
	return &format;
}

/* -- requirements ------------------------------------------------------------------------------------------------ */

static int refuse(const char *what)
{
	pr_err("%s\n", what);
	return -EOPNOTSUPP;
}

static int check_cpu(void)
{
	u64 vm_cr;

	svm_features = cpuid_edx(CPUID_SVM);
	nr_asids = cpuid_ebx(CPUID_SVM);
	if (!rdmsrl_safe(MSR_VM_CR, &vm_cr) && (vm_cr & SVM_VM_CR_SVM_DIS_MASK))
		return refuse(
			"SVM is disabled by the firmware: enable it (SVM, AMD-V, virtualization) in the BIOS setup");
	if (!(svm_features & SVM_FEATURE_NPT))
		return refuse("this CPU's SVM has no nested paging (NPT); pith has no shadow paging and needs it");
	if (nr_asids < 2)
		return refuse("this CPU's SVM has no address-space ids (ASID); pith needs at least one for guests");
	return 0;
}

/* -- CPUs -------------------------------------------------------------------------------------------------------- */

static void free_cpu(struct svm_cpu *cpu)
{
	free_page((unsigned long)cpu->host_save);
	free_page((unsigned long)cpu->host_vmcb);
	cpu->host_save = NULL;
	cpu->host_vmcb = NULL;
}

static int alloc_cpu(struct svm_cpu *cpu)
{
	cpu->host_save = (void *)get_zeroed_page(GFP_KERNEL);
	cpu->host_vmcb = (void *)get_zeroed_page(GFP_KERNEL);
	if (!cpu->host_save || !cpu->host_vmcb) {
		free_cpu(cpu);
		return -ENOMEM;
	}
	cpu->host_vmcb_pa = __pa(cpu->host_vmcb);
	return 0;
}

static void svm_teardown(void)
{
	int cpu;

	for_each_possible_cpu(cpu)
		free_cpu(per_cpu_ptr(&svm_cpus, cpu));
	svm_maps_destroy();
}

static int svm_setup(void)
{
	int r, cpu;

	r = check_cpu();
	if (r)
		return r;
	if (svm_features & SVM_FEATURE_TSC_RATE_MSR) {
		backend.tsc_ratio_bits = 32;
		backend.tsc_ratio_max = SVM_TSC_RATIO_MAX;
	}
	backend.has_xsaves = boot_cpu_has(X86_FEATURE_XSAVES);
	format = npt_format;
	if (boot_cpu_has(X86_FEATURE_GBPAGES))
		format.largest = 3;
	/* Nested tables have as many levels as the host's own. APM volume 2, "Nested Paging", "Host CR4". */
	if (native_read_cr4() & X86_CR4_LA57)
		format.levels = 5;
	r = svm_maps_create();
	if (r)
		return r;
	for_each_possible_cpu(cpu) {
		r = alloc_cpu(per_cpu_ptr(&svm_cpus, cpu));
		if (r) {
			svm_teardown();
			return r;
		}
	}
	return 0;
}

/* Source: APM volume 2, "Enabling SVM", "VM_HSAVE_PA MSR". */
static int svm_cpu_on(void)
{
	struct svm_cpu *cpu = this_cpu_ptr(&svm_cpus);
	u64 efer;

	rdmsrl(MSR_EFER, efer);
	if (efer & EFER_SVME) {
		pr_err("another hypervisor module (kvm_amd?) holds SVM on CPU %d: remove it with rmmod\n",
		       smp_processor_id());
		return -EBUSY;
	}
	wrmsrl(MSR_EFER, efer | EFER_SVME);
	wrmsrl(MSR_VM_HSAVE_PA, __pa(cpu->host_save));
	cpu->asid_generation++;
	cpu->next_asid = nr_asids; /* none left: the first vCPU begins a generation, with a flush */
	cpu->last_asid = nr_asids - 1;
	cpu->last_vcpu = NULL;
	cpu->tsc_ratio = 0; /* unknown */
	if (boot_cpu_has(X86_FEATURE_RDTSCP) || boot_cpu_has(X86_FEATURE_RDPID))
		rdmsrl(MSR_TSC_AUX, cpu->host_tsc_aux);
	return 0;
}

static void svm_cpu_off(void)
{
	u64 efer;

	wrmsrl(MSR_VM_HSAVE_PA, 0);
	rdmsrl(MSR_EFER, efer);
	wrmsrl(MSR_EFER, efer & ~EFER_SVME);
}

/* -- vCPUs ------------------------------------------------------------------------------------------------------- */

static int svm_vcpu_create(struct vcpu *vcpu)
{
	struct svm *svm = kzalloc(sizeof(*svm), GFP_KERNEL_ACCOUNT);

	if (!svm)
		return -ENOMEM;
	svm->vmcb = (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	if (!svm->vmcb) {
		kfree(svm);
		return -ENOMEM;
	}
	svm->vmcb_pa = __pa(svm->vmcb);
	vcpu->backend = svm;
	svm_vmcb_init(vcpu);
	return 0;
}

/* A CPU may remember the vCPU as its last one; the address must not be taken for that of a later vCPU. */
static void forget(struct svm *svm)
{
	int cpu;

	for_each_possible_cpu(cpu)
		cmpxchg(&per_cpu_ptr(&svm_cpus, cpu)->last_vcpu, svm, NULL);
}

static void svm_vcpu_destroy(struct vcpu *vcpu)
{
	struct svm *svm = to_svm(vcpu);

	forget(svm);
	free_page((unsigned long)svm->vmcb);
	kfree(svm);
}

const struct backend svm_backend = {
	.name = "AMD SVM",
	.isa = PITH_ISA_SVM,
	.hypercall = { 0x0f, 0x01, 0xd9 },
	.setup = svm_setup,
	.teardown = svm_teardown,
	.cpu_on = svm_cpu_on,
	.cpu_off = svm_cpu_off,
	.tables = svm_tables,
	.vcpu_create = svm_vcpu_create,
	.vcpu_destroy = svm_vcpu_destroy,
	.set_intercepts = svm_set_intercepts,
	.set_memory_root = svm_set_memory_root,
	.slice_begin = svm_slice_begin,
	.slice_end = svm_slice_end,
	.enter = svm_enter,
	.handle_exit = svm_handle_exit,
	.exit_info = svm_exit_info,
	.exit_event = svm_exit_event,
	.read_state = svm_read_state,
	.inject = svm_inject,
	.set_windows = svm_set_windows,
	.flush_tlb = svm_flush_tlb,
	.checks = &svm_checks,
	.read_values = svm_read_values,
	.read_fields = svm_read_fields,
	.write_field = svm_write_field,
};
