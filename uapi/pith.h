/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * The ABI of /dev/pith. It is KVM's: the numbers, structs, meanings and errors of <linux/kvm.h> and the kernel's
 * Documentation/virt/kvm/api.rst. The tables below say which of its ioctls are there, and nothing else says it: the
 * module's dispatch, the selftests and Documentation/abi.md are made from them.
 *
 * A row is ROW(ioctl, handler, argument, "meaning"). The argument is STRUCT where the ioctl's number tells size and
 * direction, and RAW where it is a value, or a header that a variable part follows, or where the number tells it wrong.
 */
#ifndef PITH_UAPI_H
#define PITH_UAPI_H

#include <linux/kvm.h>

/* What KVM has no ioctl for. */
#define PITHIO 0xbb

/**
 * struct pith_entry_failure - the last entry that ended in KVM_EXIT_FAIL_ENTRY; all 0 if none has
 * @hardware_reason: as in struct kvm_run
 * @nr_rules: how many rules it breaks
 * @text: a line for each, as far as there is room: the field, its value, the rule, and the section of the manual
 */
struct pith_entry_failure {
	__u64 hardware_reason;
	__u32 nr_rules;
	char text[2036];
};

/**
 * struct pith_break_entry - what the next entry is to fail of, for tests of what is told of it; undone by the failure
 * @nr: of fields
 * @field: by a VMCS field's encoding or the offset in a VMCB. They have to break a rule (else EINVAL). The entries of the
 * VM-entry MSR-load area have numbers, too, see module/vmx/rules.h; MSRs before the one that breaks a rule are loaded.
 */
#define PITH_MAX_BROKEN_FIELDS 4
struct pith_break_entry {
	__u64 nr;
	struct {
		__u64 number, value;
	} field[PITH_MAX_BROKEN_FIELDS];
};

/*
 * The exit log: for each vCPU a ring of what its exits were. It is mapped from the vCPU's file, from page
 * PITH_EXIT_LOG_PAGE_OFFSET on: a page that begins with struct pith_exit_log, and the records. Times are ticks of the
 * host's TSC. An exit's record is there when the guest is entered again.
 */
#define PITH_EXIT_LOG_PAGE_OFFSET 4096
#define PITH_EXIT_LOG_MIN 16 /* records */
#define PITH_EXIT_LOG_MAX 65536

/**
 * struct pith_exit_log - the first page of a vCPU's ring
 * @head: how many records have been written so far: number n is at n % @nr_records. The one at @head may be half
 *	written, over that of @head - @nr_records. A reader copies records, reads @head again, and knows what it has lost.
 * @nr_records: of the ring
 * @record_size: sizeof(struct pith_exit_record)
 * @tsc_khz: ticks in a millisecond
 * @isa: PITH_ISA_*: whose exit reasons they are
 * @vcpu: its APIC id
 */
struct pith_exit_log {
	__u64 head;
	__u32 nr_records, record_size;
	__u32 tsc_khz;
	__u32 isa;
	__u32 vcpu;
	__u32 reserved;
};

/* As KVM's tracepoints have it. */
#define PITH_ISA_VMX 1
#define PITH_ISA_SVM 2

/* Who has handled an exit: the module at once, the module when the vCPU could sleep, the client. */
enum { PITH_HANDLED_FAST, PITH_HANDLED_MODULE, PITH_HANDLED_USER };

/**
 * struct pith_exit_record - an exit
 * @tsc: when
 * @ticks: until the guest is entered again
 * @rip: the guest's
 * @info: as the hardware tells. Intel: the exit qualification, and the guest-physical address of an EPT violation or
 *	misconfiguration or, of an exception or NMI, the interruption information; AMD: EXITINFO1 and EXITINFO2
 * @reason: the hardware's: the basic exit reason, the exit code; all ones: it was not entered
 * @handled: PITH_HANDLED_*
 * @rax, @rcx: the low halves of the registers: leaf and subleaf of CPUID, number of an MSR, byte for a port ...
 * @user, @idle: unless it was handled fast: how much of @ticks the client has had the vCPU, and the vCPU has slept
 */
struct pith_exit_record {
	__u64 tsc, ticks;
	__u64 rip;
	__u64 info[2];
	__u32 reason, handled;
	__u32 rax, rcx;
	__u64 user, idle;
};

/*
 * What there is to see inside of a VM, by its inspection file. PITH_INSPECT on the VM's file gives it; to other processes,
 * too, if they have the VM's file (pidfd_getfd) and its maker's user ID or CAP_SYS_PTRACE. It holds on to the VM, but not
 * to the client's memory.
 */
#define PITH_INSPECT_BUGGED 1 /* the VM has ended: an invariant broke */
struct pith_inspect_vm {
	__u32 nr_vcpus, flags;
	char vendor[16]; /* "Intel VMX", "AMD SVM" */
	__u64 faults;	 /* second-stage faults so far, */
	__u64 unmapped;	 /* entries that were removed, */
	__u64 tables;	 /* and tables that there are */
};

#define PITH_INSPECT_IN_RUN 1 /* a thread is in KVM_RUN */
#define PITH_INSPECT_LAPIC 2  /* there is a local APIC */
#define PITH_INSPECT_MSRS 16
#define PITH_INSPECT_FIELDS 320
/**
 * struct pith_inspect_vcpu - the state of a vCPU, as of one moment
 * @index: which, from 0 on: written by the caller
 * @id: its APIC id
 * @flags: PITH_INSPECT_*
 * @fields: of the VMCS (number: the encoding) or the VMCB (the offset), as they are in it: what the module will write to
 *	it at the next entry is not there yet. None are told without CAP_SYS_ADMIN.
 */
struct pith_inspect_vcpu {
	__u32 index, id;
	__u32 mp_state, flags;
	__u64 exits;
	__u64 xcr0;
	struct kvm_regs regs;
	struct kvm_sregs2 sregs;
	struct kvm_debugregs debugregs;
	struct kvm_vcpu_events events;
	struct kvm_lapic_state lapic;
	__u32 nr_msrs, nr_fields;
	struct kvm_msr_entry msrs[PITH_INSPECT_MSRS];
	struct {
		__u32 number, size;
		__u64 value;
	} fields[PITH_INSPECT_FIELDS];
};

/**
 * struct pith_inspect_slot - the first slot that ends behind @gpa
 * @gpa: written by the caller; then where the slot begins. ENOENT: there is none. With PITH_INSPECT_SLOT_SMM it is one
 * that only system-management mode sees.
 * @flags: KVM_MEM_*
 */
struct pith_inspect_slot {
#define PITH_INSPECT_SLOT_SMM (1ull << 52)
	__u64 gpa, size;
	__u64 userspace_addr;
	__u32 slot, flags;
};

#define PITH_PAGE_READ 1
#define PITH_PAGE_WRITE 2
#define PITH_PAGE_EXEC 4
#define PITH_PAGE_ACCESSED 8
#define PITH_PAGE_DIRTY 16
#define PITH_PAGE_AD_VALID 32 /* the CPU keeps these two */
/**
 * struct pith_inspect_page - what the second-stage tables have for a guest-physical address
 * @gpa: written by the caller
 * @size: of the page in bytes; 0: nothing is mapped there
 * @level: at which the walk ended: 1 is the lowest
 * @flags: PITH_PAGE_*
 * @entry, @host: the entry and the host-physical address; 0 without CAP_SYS_ADMIN
 */
struct pith_inspect_page {
	__u64 gpa, size;
	__u32 level, flags;
	__u64 entry, host;
};

/*
 * Counts of exits. PITH_INSPECT_EXITS on the inspection file gives a file; as long as it is open they are counted. A read
 * of it gives struct pith_exit_counts and its rows as of now, wherever the file's position is; E2BIG: there is no room.
 */
#define PITH_EXIT_BUCKETS 40
#define PITH_EXIT_REASONS 256

/**
 * struct pith_exit_count - the exits of one vCPU for one reason
 * @reason: the hardware's, in eight bits: see pith_exit_slot()
 * @count: of exits, since they are counted
 * @ticks: that they took until the next entry; that of the exit at hand is not in here yet
 * @histogram: how many of them took 2^n ticks or more but less than 2^(n+1); the last one: or more
 */
struct pith_exit_count {
	__u32 vcpu;
	__u32 reason;
	__u64 count;
	__u64 ticks;
	__u64 histogram[PITH_EXIT_BUCKETS];
};

/**
 * struct pith_exit_counts - what a read begins with
 * @tsc: when it was read
 * @nr_rows: that follow: those with a count
 */
struct pith_exit_counts {
	__u32 isa, tsc_khz;
	__u64 tsc;
	__u32 nr_vcpus, nr_rows;
	struct pith_exit_count rows[];
};

/* AMD's few codes from 0x400 on are at 0xf8, and all ones, no entry, is at the end. */
static inline __u32 pith_exit_slot(__u32 reason)
{
	return reason < 0xf8 ? reason : 0xf8 + (reason & 7);
}

#define PITH_GET_ENTRY_FAILURE _IOR(PITHIO, 0, struct pith_entry_failure)
#define PITH_BREAK_ENTRY _IOW(PITHIO, 1, struct pith_break_entry)
#define PITH_SET_EXIT_LOG _IO(PITHIO, 2)
#define PITH_INSPECT _IO(PITHIO, 16)
#define PITH_INSPECT_VM _IOR(PITHIO, 17, struct pith_inspect_vm)
#define PITH_INSPECT_VCPU _IOWR(PITHIO, 18, struct pith_inspect_vcpu)
#define PITH_INSPECT_SLOT _IOWR(PITHIO, 19, struct pith_inspect_slot)
#define PITH_INSPECT_PAGE _IOWR(PITHIO, 20, struct pith_inspect_page)
#define PITH_INSPECT_EXITS _IO(PITHIO, 21)

#define PITH_DEVICE_IOCTLS(ROW)                                                                                 \
	ROW(KVM_GET_API_VERSION, api_version, RAW, "the version of the ABI: 12")                                \
	ROW(KVM_CREATE_VM, create_vm, RAW, "a new VM: a file")                                                  \
	ROW(KVM_CHECK_EXTENSION, check_extension, RAW, "whether, or how much of, a capability is there")        \
	ROW(KVM_GET_VCPU_MMAP_SIZE, vcpu_mmap_size, RAW,                                                        \
	    "bytes of a vCPU's file to map: struct kvm_run and port data")                                      \
	ROW(KVM_GET_SUPPORTED_CPUID, supported_cpuid, RAW,                                                      \
	    "the CPUID leaves that this host and pith can give a guest")                                        \
	ROW(KVM_GET_MSR_INDEX_LIST, msr_index_list, RAW, "the MSRs that make up a vCPU's state")                \
	ROW(KVM_GET_MSR_FEATURE_INDEX_LIST, msr_feature_index_list, RAW, "the MSRs that describe the host")     \
	ROW(KVM_GET_MSRS, get_msrs, RAW, "their values")                                                        \
	ROW(KVM_X86_GET_MCE_CAP_SUPPORTED, mce_cap, STRUCT, "machine-check capabilities that a guest can have") \
	ROW(KVM_HAS_DEVICE_ATTR, has_device_attr, STRUCT, "whether it has an attribute")                        \
	ROW(KVM_GET_DEVICE_ATTR, get_device_attr, STRUCT,                                                       \
	    "KVM_X86_XCOMP_GUEST_SUPP: the components of XCR0 that guests can have")

#define PITH_VM_IOCTLS(ROW)                                                                                     \
	ROW(KVM_CHECK_EXTENSION, check_extension, RAW, "as on the device")                                      \
	ROW(KVM_ENABLE_CAP, enable_cap, STRUCT, "switches a capability on")                                     \
	ROW(KVM_CREATE_VCPU, create_vcpu, RAW, "a new vCPU with the given APIC id: a file")                     \
	ROW(KVM_SET_USER_MEMORY_REGION, set_memory, STRUCT, "creates, moves, changes or deletes a memory slot") \
	ROW(KVM_GET_DIRTY_LOG, get_dirty_log, STRUCT, "the pages of a slot written to since the last call")     \
	ROW(KVM_CLEAR_DIRTY_LOG, clear_dirty_log, RAW, "takes pages out of a slot's log")                       \
	ROW(KVM_SET_NR_MMU_PAGES, set_nr_mmu_pages, RAW, "a limit for shadow pages: kept, and not needed")      \
	ROW(KVM_GET_NR_MMU_PAGES, get_nr_mmu_pages, RAW, "the reverse")                                         \
	ROW(KVM_SET_TSS_ADDR, set_tss_addr, RAW, "taken and not needed: real mode runs without a TSS")          \
	ROW(KVM_SET_IDENTITY_MAP_ADDR, set_identity_map_addr, STRUCT, "taken and not needed")                   \
	ROW(KVM_SET_BOOT_CPU_ID, set_boot_cpu_id, RAW, "which vCPU starts the machine")                         \
	ROW(KVM_CREATE_IRQCHIP, create_irqchip, RAW, "PIC, I/O APIC and local APICs in the module")             \
	ROW(KVM_GET_IRQCHIP, get_irqchip, STRUCT, "the state of a PIC or the I/O APIC")                         \
	ROW(KVM_SET_IRQCHIP, set_irqchip, RAW, "the reverse")                                                   \
	ROW(KVM_CREATE_PIT2, create_pit2, STRUCT, "an 8254 in the module")                                      \
	ROW(KVM_GET_PIT2, get_pit2, STRUCT, "its state")                                                        \
	ROW(KVM_SET_PIT2, set_pit2, STRUCT, "the reverse")                                                      \
	ROW(KVM_REINJECT_CONTROL, reinject_control, RAW, "whether the 8254 catches up on ticks")                \
	ROW(KVM_IRQ_LINE, irq_line, STRUCT, "drives a GSI")                                                     \
	ROW(KVM_IRQ_LINE_STATUS, irq_line_status, STRUCT, "drives a GSI and tells what became of it")           \
	ROW(KVM_SIGNAL_MSI, signal_msi, STRUCT, "delivers a message-signalled interrupt")                       \
	ROW(KVM_SET_GSI_ROUTING, set_gsi_routing, RAW, "which pin or message each GSI is")                      \
	ROW(KVM_GET_CLOCK, get_clock, STRUCT, "kvmclock, the time of day and the host's TSC with it")           \
	ROW(KVM_SET_CLOCK, set_clock, STRUCT, "the reverse")                                                    \
	ROW(KVM_SET_TSC_KHZ, set_tsc_khz, RAW, "the TSC frequency that new vCPUs get")                          \
	ROW(KVM_GET_TSC_KHZ, get_tsc_khz, RAW, "the reverse")                                                   \
	ROW(KVM_X86_SET_MSR_FILTER, set_msr_filter, STRUCT, "the MSRs that a guest's accesses do not reach")    \
	ROW(KVM_GET_STATS_FD, get_stats_fd, RAW, "statistics of the VM: a file")                                \
	ROW(KVM_IRQFD, irqfd, STRUCT, "a GSI that an eventfd drives")                                           \
	ROW(KVM_IOEVENTFD, ioeventfd, STRUCT, "an eventfd that a guest's write signals")                        \
	ROW(KVM_REGISTER_COALESCED_MMIO, register_coalesced, STRUCT,                                            \
	    "a zone whose writes go into the ring of coalesced writes")                                         \
	ROW(KVM_UNREGISTER_COALESCED_MMIO, unregister_coalesced, STRUCT, "the reverse")                         \
	ROW(PITH_SET_EXIT_LOG, set_exit_log, RAW, "logs exits, so many in each vCPU's ring; 0: no longer")      \
	ROW(PITH_INSPECT, inspect, RAW, "what there is to see inside of the VM: a file")

#define PITH_VCPU_IOCTLS(ROW)                                                                         \
	ROW(KVM_RUN, run, RAW, "runs the guest until it needs the client")                            \
	ROW(KVM_ENABLE_CAP, enable_cap, STRUCT, "switches a capability on")                           \
	ROW(KVM_GET_REGS, get_regs, STRUCT, "general registers, RIP, RFLAGS")                         \
	ROW(KVM_SET_REGS, set_regs, STRUCT, "the reverse")                                            \
	ROW(KVM_GET_SREGS, get_sregs, STRUCT, "segments, tables, control registers, EFER, APIC base") \
	ROW(KVM_SET_SREGS, set_sregs, STRUCT, "the reverse")                                          \
	ROW(KVM_GET_SREGS2, get_sregs2, STRUCT, "the same, with the PDPTEs of PAE paging")            \
	ROW(KVM_SET_SREGS2, set_sregs2, STRUCT, "the reverse")                                        \
	ROW(KVM_TRANSLATE, get_translate, STRUCT, "a linear address to guest-physical")               \
	ROW(KVM_GET_FPU, get_fpu, STRUCT, "x87 and SSE registers")                                    \
	ROW(KVM_SET_FPU, set_fpu, STRUCT, "the reverse")                                              \
	ROW(KVM_GET_XSAVE, get_xsave, RAW, "extended state, as XSAVE's standard form has it")         \
	ROW(KVM_GET_XSAVE2, get_xsave2, RAW, "the same, also where AMX makes it larger")              \
	ROW(KVM_SET_XSAVE, set_xsave, RAW, "the reverse of either")                                   \
	ROW(KVM_GET_XCRS, get_xcrs, STRUCT, "XCR0")                                                   \
	ROW(KVM_SET_XCRS, set_xcrs, STRUCT, "the reverse")                                            \
	ROW(KVM_GET_DEBUGREGS, get_debugregs, STRUCT, "DR0 to DR3, DR6, DR7")                         \
	ROW(KVM_SET_DEBUGREGS, set_debugregs, STRUCT, "the reverse")                                  \
	ROW(KVM_SET_GUEST_DEBUG, set_guest_debug, STRUCT, "breakpoints and steps of the client's")    \
	ROW(KVM_GET_MSRS, get_msrs, RAW, "model-specific registers, by a list")                       \
	ROW(KVM_SET_MSRS, set_msrs, RAW, "the reverse; returns how many were set")                    \
	ROW(KVM_SET_CPUID2, set_cpuid2, RAW, "what CPUID answers")                                    \
	ROW(KVM_GET_CPUID2, get_cpuid2, RAW, "the reverse")                                           \
	ROW(KVM_GET_LAPIC, get_lapic, STRUCT, "the local APIC's registers")                           \
	ROW(KVM_SET_LAPIC, set_lapic, STRUCT, "the reverse")                                          \
	ROW(KVM_GET_MP_STATE, get_mp_state, STRUCT, "running, halted, waiting for INIT or SIPI")      \
	ROW(KVM_SET_MP_STATE, set_mp_state, STRUCT, "the reverse")                                    \
	ROW(KVM_GET_VCPU_EVENTS, get_events, STRUCT, "exceptions, interrupts, NMIs on their way")     \
	ROW(KVM_SET_VCPU_EVENTS, set_events, STRUCT, "the reverse")                                   \
	ROW(KVM_INTERRUPT, interrupt, STRUCT, "an interrupt from the client's own controllers")       \
	ROW(KVM_NMI, nmi, RAW, "a non-maskable interrupt")                                            \
	ROW(KVM_SMI, smi, RAW, "a system-management interrupt")                                       \
	ROW(KVM_SET_SIGNAL_MASK, set_signal_mask, RAW, "signals blocked while the guest runs")        \
	ROW(KVM_GET_TSC_KHZ, get_tsc_khz, RAW, "the guest's TSC frequency")                           \
	ROW(KVM_SET_TSC_KHZ, set_tsc_khz, RAW, "the reverse")                                         \
	ROW(KVM_KVMCLOCK_CTRL, kvmclock_ctrl, RAW, "tells the guest that it was stopped")             \
	ROW(KVM_HAS_DEVICE_ATTR, has_device_attr, STRUCT, "whether it has an attribute")              \
	ROW(KVM_GET_DEVICE_ATTR, get_device_attr, STRUCT, "KVM_VCPU_TSC_OFFSET")                      \
	ROW(KVM_SET_DEVICE_ATTR, set_device_attr, STRUCT, "the reverse")                              \
	ROW(KVM_GET_STATS_FD, get_stats_fd, RAW, "statistics of the vCPU: a file")                    \
	ROW(KVM_TPR_ACCESS_REPORTING, tpr_access_reporting, STRUCT, "exits after accesses to TPR")    \
	ROW(KVM_SET_VAPIC_ADDR, set_vapic_addr, STRUCT, "a word in guest memory that holds its TPR")  \
	ROW(KVM_X86_SETUP_MCE, setup_mce, STRUCT, "the machine-check banks that the guest sees")      \
	ROW(KVM_X86_SET_MCE, set_mce, STRUCT, "a machine check for the guest")                        \
	ROW(PITH_GET_ENTRY_FAILURE, get_entry_failure, STRUCT,                                        \
	    "which rules of the manual the last entry broke that the CPU refused")                    \
	ROW(PITH_BREAK_ENTRY, break_entry, STRUCT,                                                    \
	    "fields of the VMCS or VMCB for the next entry, which break a rule (root, with unsafe=1)")

#define PITH_INSPECT_IOCTLS(ROW)                                                                      \
	ROW(PITH_INSPECT_VM, get_vm, STRUCT, "the VM: how many vCPUs, statistics of its memory")      \
	ROW(PITH_INSPECT_VCPU, get_vcpu, STRUCT, "the state of a vCPU, stopped for a moment")         \
	ROW(PITH_INSPECT_SLOT, get_slot, STRUCT, "the memory slots, one by one")                      \
	ROW(PITH_INSPECT_PAGE, get_page, STRUCT, "the second-stage mapping of a guest-physical page") \
	ROW(PITH_INSPECT_EXITS, count_exits, RAW, "counts the exits of all vCPUs: a file")            \
	ROW(KVM_GET_IRQCHIP, get_irqchip, STRUCT, "the state of a PIC or the I/O APIC")

#endif
