/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the module tells the kernel's tracing. Where KVM has the same event, name and fields are KVM's, so that what reads
 * kvm:kvm_exit can be told to read pith:kvm_exit; the system is another one, for kvm.ko may be loaded, too.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM pith

#if !defined(PITH_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define PITH_TRACE_H

#include <linux/tracepoint.h>
#include <uapi/asm/svm.h>
#include <uapi/asm/vmx.h>

#include "backend.h"
#include "vcpu.h"

struct pith_entry_failure;

/* Of events that cost nothing while nobody listens: run.c's calls are patched when the first one does. See trace.c. */
int trace_begin(void);
void trace_end(void);

/* clang-format off */

TRACE_EVENT(pith_entry_failed,

	TP_PROTO(const struct vcpu *vcpu, const struct pith_entry_failure *failure),
	TP_ARGS(vcpu, failure),

	TP_STRUCT__entry(
		__field(u32, vcpu)
		__field(u32, rules)
		__field(u64, reason)
		__dynamic_array(char, text, strlen(failure->text) + 1)
	),

	TP_fast_assign(
		__entry->vcpu = vcpu->id;
		__entry->rules = failure->nr_rules;
		__entry->reason = failure->hardware_reason;
		strcpy(__get_str(text), failure->text);
	),

	TP_printk("vcpu %u reason %#llx rules %u: %s", __entry->vcpu, __entry->reason, __entry->rules, __get_str(text))
);

TRACE_EVENT_FN(kvm_entry,

	TP_PROTO(struct vcpu *vcpu),
	TP_ARGS(vcpu),

	TP_STRUCT__entry(
		__field(unsigned int, vcpu_id)
		__field(unsigned long, rip)
	),

	TP_fast_assign(
		__entry->vcpu_id = vcpu->id;
		__entry->rip = vcpu_rip(vcpu);
	),

	TP_printk("vcpu %u, rip 0x%lx", __entry->vcpu_id, __entry->rip),
	trace_begin, trace_end
);

#define trace_exit_reason(isa, reason)                                             \
	((isa) == PITH_ISA_VMX ? __print_symbolic((reason) & 0xffff, VMX_EXIT_REASONS) : \
				 __print_symbolic(reason, SVM_EXIT_REASONS))

TRACE_EVENT_FN(kvm_exit,

	TP_PROTO(struct vcpu *vcpu, const struct pith_exit_record *record),
	TP_ARGS(vcpu, record),

	TP_STRUCT__entry(
		__field(unsigned int, exit_reason)
		__field(unsigned long, guest_rip)
		__field(u32, isa)
		__field(u64, info1)
		__field(u64, info2)
		__field(u32, intr_info)
		__field(u32, error_code)
		__field(unsigned int, vcpu_id)
	),

	TP_fast_assign(
		__entry->exit_reason = record->reason;
		__entry->guest_rip = record->rip;
		__entry->isa = backend.isa;
		__entry->info1 = record->info[0];
		__entry->info2 = record->info[1];
		backend.exit_event(vcpu, &__entry->intr_info, &__entry->error_code);
		__entry->vcpu_id = vcpu->id;
	),

	TP_printk("vcpu %u reason %s rip 0x%lx info1 0x%016llx info2 0x%016llx intr_info 0x%08x error_code 0x%08x",
		  __entry->vcpu_id, trace_exit_reason(__entry->isa, __entry->exit_reason), __entry->guest_rip,
		  __entry->info1, __entry->info2, __entry->intr_info, __entry->error_code),
	trace_begin, trace_end
);

#define trace_user_exit(name) { KVM_EXIT_##name, "KVM_EXIT_" #name }
#define trace_user_exits                                                                                        \
	trace_user_exit(UNKNOWN), trace_user_exit(IO), trace_user_exit(HYPERCALL), trace_user_exit(DEBUG),      \
	trace_user_exit(HLT), trace_user_exit(MMIO), trace_user_exit(IRQ_WINDOW_OPEN),                          \
	trace_user_exit(SHUTDOWN), trace_user_exit(FAIL_ENTRY), trace_user_exit(INTR),                          \
	trace_user_exit(SET_TPR), trace_user_exit(TPR_ACCESS), trace_user_exit(INTERNAL_ERROR),                 \
	trace_user_exit(SYSTEM_EVENT), trace_user_exit(IOAPIC_EOI), trace_user_exit(X86_RDMSR),                 \
	trace_user_exit(X86_WRMSR)

TRACE_EVENT_FN(kvm_userspace_exit,

	TP_PROTO(u32 reason, int errno),
	TP_ARGS(reason, errno),

	TP_STRUCT__entry(
		__field(u32, reason)
		__field(int, errno)
	),

	TP_fast_assign(
		__entry->reason = reason;
		__entry->errno = errno;
	),

	TP_printk("reason %s (%d)",
		  __entry->errno < 0 ? __entry->errno == -EINTR ? "restart" : "error" :
				       __print_symbolic(__entry->reason, trace_user_exits),
		  __entry->errno < 0 ? -__entry->errno : __entry->reason),
	trace_begin, trace_end
);

TRACE_EVENT_FN(kvm_fpu,

	TP_PROTO(u32 load),
	TP_ARGS(load),

	TP_STRUCT__entry(
		__field(u32, load)
	),

	TP_fast_assign(
		__entry->load = load;
	),

	TP_printk("%s", __entry->load ? "load" : "unload"),
	trace_begin, trace_end
);

TRACE_EVENT(kvm_pio,

	TP_PROTO(unsigned int rw, unsigned int port, unsigned int size, unsigned int count, unsigned int val),
	TP_ARGS(rw, port, size, count, val),

	TP_STRUCT__entry(
		__field(unsigned int, rw)
		__field(unsigned int, port)
		__field(unsigned int, size)
		__field(unsigned int, count)
		__field(unsigned int, val)
	),

	TP_fast_assign(
		__entry->rw = rw;
		__entry->port = port;
		__entry->size = size;
		__entry->count = count;
		__entry->val = val;
	),

	TP_printk("pio_%s at 0x%x size %u count %u val 0x%x", __entry->rw ? "write" : "read", __entry->port,
		  __entry->size, __entry->count, __entry->val)
);

#define TRACE_MMIO_READ_UNSATISFIED 0
#define TRACE_MMIO_READ 1
#define TRACE_MMIO_WRITE 2

TRACE_EVENT(kvm_mmio,

	TP_PROTO(u32 type, u32 len, u64 gpa, const void *val),
	TP_ARGS(type, len, gpa, val),

	TP_STRUCT__entry(
		__field(u32, type)
		__field(u32, len)
		__field(u64, gpa)
		__field(u64, val)
	),

	TP_fast_assign(
		__entry->type = type;
		__entry->len = len;
		__entry->gpa = gpa;
		__entry->val = 0;
		if (val)
			memcpy(&__entry->val, val, min_t(u32, len, sizeof(__entry->val)));
	),

	TP_printk("mmio %s len %u gpa 0x%llx val 0x%llx",
		  __print_symbolic(__entry->type, { TRACE_MMIO_READ_UNSATISFIED, "unsatisfied-read" },
				   { TRACE_MMIO_READ, "read" }, { TRACE_MMIO_WRITE, "write" }),
		  __entry->len, __entry->gpa, __entry->val)
);

TRACE_EVENT(kvm_msr,

	TP_PROTO(unsigned int write, u32 ecx, u64 data, bool exception),
	TP_ARGS(write, ecx, data, exception),

	TP_STRUCT__entry(
		__field(unsigned int, write)
		__field(u32, ecx)
		__field(u64, data)
		__field(u8, exception)
	),

	TP_fast_assign(
		__entry->write = write;
		__entry->ecx = ecx;
		__entry->data = data;
		__entry->exception = exception;
	),

	TP_printk("msr_%s %x = 0x%llx%s", __entry->write ? "write" : "read", __entry->ecx, __entry->data,
		  __entry->exception ? " (#GP)" : "")
);

TRACE_EVENT(kvm_cpuid,

	TP_PROTO(u32 function, u32 index, const u64 *gpr, bool found),
	TP_ARGS(function, index, gpr, found),

	TP_STRUCT__entry(
		__field(unsigned int, function)
		__field(unsigned int, index)
		__field(unsigned long, rax)
		__field(unsigned long, rbx)
		__field(unsigned long, rcx)
		__field(unsigned long, rdx)
		__field(bool, found)
	),

	TP_fast_assign(
		__entry->function = function;
		__entry->index = index;
		__entry->rax = gpr[REG_RAX];
		__entry->rbx = gpr[REG_RBX];
		__entry->rcx = gpr[REG_RCX];
		__entry->rdx = gpr[REG_RDX];
		__entry->found = found;
	),

	TP_printk("func %x idx %x rax %lx rbx %lx rcx %lx rdx %lx, cpuid entry %s", __entry->function, __entry->index,
		  __entry->rax, __entry->rbx, __entry->rcx, __entry->rdx, __entry->found ? "found" : "not found")
);

TRACE_EVENT(kvm_page_fault,

	TP_PROTO(struct vcpu *vcpu, u64 fault_address, u64 error_code),
	TP_ARGS(vcpu, fault_address, error_code),

	TP_STRUCT__entry(
		__field(unsigned int, vcpu_id)
		__field(unsigned long, guest_rip)
		__field(u64, fault_address)
		__field(u64, error_code)
	),

	TP_fast_assign(
		__entry->vcpu_id = vcpu->id;
		__entry->guest_rip = vcpu_rip(vcpu);
		__entry->fault_address = fault_address;
		__entry->error_code = error_code;
	),

	TP_printk("vcpu %u rip 0x%lx address 0x%016llx error_code 0x%llx", __entry->vcpu_id, __entry->guest_rip,
		  __entry->fault_address, __entry->error_code)
);

TRACE_EVENT(kvm_inj_virq,

	TP_PROTO(unsigned int vector, bool soft, bool reinjected),
	TP_ARGS(vector, soft, reinjected),

	TP_STRUCT__entry(
		__field(unsigned int, vector)
		__field(bool, soft)
		__field(bool, reinjected)
	),

	TP_fast_assign(
		__entry->vector = vector;
		__entry->soft = soft;
		__entry->reinjected = reinjected;
	),

	TP_printk("%s 0x%x%s", __entry->soft ? "Soft/INTn" : "IRQ", __entry->vector,
		  __entry->reinjected ? " [reinjected]" : "")
);

/* clang-format on */

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
