// SPDX-License-Identifier: GPL-2.0
/*
 * Events on their way into the guest: struct event to and from the VMCS's interruption-information formats.
 * Source: SDM volume 3, "VM-Entry Controls for Event Injection", "Information for VM Exits That Occur During Event
 * Delivery".
 */
#include "vmx.h"
#include "../vm.h"

static const u32 interruption_type[] = {
	[EVENT_INTERRUPT] = INTR_TYPE_EXT_INTR,
	[EVENT_NMI] = INTR_TYPE_NMI_INTR,
	[EVENT_EXCEPTION] = INTR_TYPE_HARD_EXCEPTION,
	[EVENT_SOFT_INTERRUPT] = INTR_TYPE_SOFT_INTR,
	[EVENT_SOFT_EXCEPTION] = INTR_TYPE_SOFT_EXCEPTION,
};

/* INT1 is a software exception with a type of its own. */
static u32 event_to_type(const struct event *event)
{
	if (event->type == EVENT_SOFT_EXCEPTION && event->vector == VECTOR_DB)
		return INTR_TYPE_PRIV_SW_EXCEPTION;
	return interruption_type[event->type];
}

static enum event_type type_to_event(u32 info)
{
	switch (info & INTR_INFO_INTR_TYPE_MASK) {
	case INTR_TYPE_EXT_INTR:
		return EVENT_INTERRUPT;
	case INTR_TYPE_NMI_INTR:
		return EVENT_NMI;
	case INTR_TYPE_HARD_EXCEPTION:
		return EVENT_EXCEPTION;
	case INTR_TYPE_SOFT_INTR:
		return EVENT_SOFT_INTERRUPT;
	case INTR_TYPE_PRIV_SW_EXCEPTION:
	case INTR_TYPE_SOFT_EXCEPTION:
		return EVENT_SOFT_EXCEPTION;
	}
	return EVENT_NONE;
}

static bool is_soft(enum event_type type)
{
	return type == EVENT_SOFT_INTERRUPT || type == EVENT_SOFT_EXCEPTION;
}

void vmx_inject(struct vcpu *vcpu)
{
	struct event *event = &vcpu->event;
	u32 info = event->vector | event_to_type(event) | INTR_INFO_VALID_MASK;

	if (event->has_error) {
		info |= INTR_INFO_DELIVER_CODE_MASK;
		vmcs_write32(VM_ENTRY_EXCEPTION_ERROR_CODE, event->error);
	}
	if (is_soft(event->type))
		vmcs_write32(VM_ENTRY_INSTRUCTION_LEN, event->insn_len);
	/*
	 * A guest that halts by itself is still in its HLT, where hardly an exception may be injected. SDM, "Activity
	 * State".
	 */
	if (unlikely(READ_ONCE(vcpu->vm->disabled_exits) & KVM_X86_DISABLE_EXITS_HLT))
		vmcs_write32(GUEST_ACTIVITY_STATE, GUEST_ACTIVITY_ACTIVE);
	vmcs_write32(VM_ENTRY_INTR_INFO_FIELD, info);
	event->type = EVENT_NONE;
}

/* The formats for injecting and for reporting are the same. */
static void queue_event(struct vcpu *vcpu, u32 info, unsigned long error_field, unsigned long length_field)
{
	struct event *event = &vcpu->event;

	*event = (struct event){
		.type = type_to_event(info),
		.vector = info & VECTORING_INFO_VECTOR_MASK,
		.has_error = info & VECTORING_INFO_DELIVER_CODE_MASK,
		.reinjected = true,
	};
	if (event->has_error)
		event->error = vmcs_read32(error_field);
	if (is_soft(event->type))
		event->insn_len = vmcs_read32(length_field);
	vcpu_request(vcpu, REQ_EVENT);
}

/**
 * vmx_requeue_event - an event whose delivery this exit cut off waits to be delivered again, from its start
 * @vcpu: in a slice
 * Only for exits that can happen in a delivery. Returns whether there was one.
 */
bool vmx_requeue_event(struct vcpu *vcpu)
{
	u32 info = vmcs_read32(IDT_VECTORING_INFO_FIELD);

	if (likely(!(info & VECTORING_INFO_VALID_MASK)))
		return false;
	queue_event(vcpu, info, IDT_VECTORING_ERROR_CODE, VM_EXIT_INSTRUCTION_LEN);
	if (vcpu->event.type == EVENT_NMI) {
		/* The delivery blocks NMIs again; before it they must be open. */
		vcpu_touch(vcpu, STATE_SHADOW);
		vcpu->shadow &= ~SHADOW_NMI;
	}
	return true;
}

/**
 * vmx_cancel_injection - takes back the event that an entry which failed did not deliver
 * @vcpu: its mutex is held
 */
void vmx_cancel_injection(struct vcpu *vcpu)
{
	u32 info;

	vmcs_get(to_vmx(vcpu));
	info = vmcs_read32(VM_ENTRY_INTR_INFO_FIELD);
	if (info & INTR_INFO_VALID_MASK)
		queue_event(vcpu, info, VM_ENTRY_EXCEPTION_ERROR_CODE, VM_ENTRY_INSTRUCTION_LEN);
	vmcs_write32(VM_ENTRY_INTR_INFO_FIELD, 0);
	vmcs_put();
}
