/* SPDX-License-Identifier: GPL-2.0 */
/* What the module tells the kernel's tracing. */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM pith

#if !defined(PITH_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define PITH_TRACE_H

#include <linux/tracepoint.h>

struct vcpu;
struct pith_entry_failure;

TRACE_EVENT(pith_entry_failed,

	    TP_PROTO(const struct vcpu *vcpu, const struct pith_entry_failure *failure),

	    TP_ARGS(vcpu, failure),

	    TP_STRUCT__entry(__field(u32, vcpu) __field(u32, rules) __field(u64, reason)
				     __dynamic_array(char, text, strlen(failure->text) + 1)),

	    TP_fast_assign(__entry->vcpu = vcpu->id; __entry->rules = failure->nr_rules;
			   __entry->reason = failure->hardware_reason; strcpy(__get_str(text), failure->text);),

	    TP_printk("vcpu %u reason %#llx rules %u: %s", __entry->vcpu, __entry->reason, __entry->rules,
		      __get_str(text)));

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
