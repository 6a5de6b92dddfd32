// SPDX-License-Identifier: GPL-2.0
/*
 * The exit table: what each exit reason means, in the words of exit.h. Source: SDM volume 3, appendix "VMX Basic Exit
 * Reasons"; for qualifications, "Basic VM-Exit Information".
 */
#include <linux/nospec.h>

#include "vmx.h"
#include "../cpu/guest_debug.h"
#include "../emulate.h"
#include "../entry_failure.h"
#include "../exit.h"
#include "../irq/irqchip.h"
#include "../task_switch.h"
#include "../memory/memory.h"
#include "../vm.h"

/* What an exit defines in the VMCS and its handler wants. */
#define EXIT_INSN BIT(0) /* an instruction exited: its length, and what going past it needs */
#define EXIT_QUALIFIED BIT(1)
#define EXIT_GPA BIT(2)
#define EXIT_IN_DELIVERY BIT(3) /* it may have cut off the delivery of an event */
#define EXIT_INTERRUPTION BIT(4)
#define EXIT_BY_IRET BIT(5) /* it tells of an IRET that was cut off */

static enum next enter_again(struct vcpu *vcpu)
{
	return NEXT_ENTER;
}

/* The instruction is done; an interrupt that TPR has held back can be taken. */
static enum next tpr_below_threshold(struct vcpu *vcpu)
{
	vcpu_request(vcpu, REQ_EVENT);
	return NEXT_ENTER;
}

static enum next eoi_induced(struct vcpu *vcpu)
{
	irq_eoi_virtualized(vcpu, to_vmx(vcpu)->exit.qualification);
	return NEXT_ENTER;
}

/* SDM, table "Exit Qualification for APIC-Access VM Exits from Linear Accesses and Guest-Physical Accesses". */
#define APIC_ACCESS_OFFSET 0xfff
#define APIC_ACCESS_TYPE_SHIFT 12
enum apic_access_type { APIC_READ, APIC_WRITE, APIC_FETCH, APIC_IN_DELIVERY };

/* An access that the CPU leaves to software. Those by guest-physical address are of its own walks. */
static enum next apic_access(struct vcpu *vcpu)
{
	static const u32 accesses[] = { ACCESS_READ, ACCESS_WRITE, ACCESS_EXEC, ACCESS_WALK };
	u64 qualification = to_vmx(vcpu)->exit.qualification;
	u64 type = qualification >> APIC_ACCESS_TYPE_SHIFT & 0xf;

	return exit_device_access(vcpu, (vcpu->msr.apic_base & PAGE_MASK) | (qualification & APIC_ACCESS_OFFSET),
				  accesses[min_t(u64, type, APIC_IN_DELIVERY)]);
}

static enum next apic_write(struct vcpu *vcpu)
{
	irq_register_written(vcpu, to_vmx(vcpu)->exit.qualification);
	return NEXT_ENTER;
}

/* Too early if the deadline is farther away than it can count, and nothing at all if there is none. */
static enum next preemption_timer(struct vcpu *vcpu)
{
	if (vcpu->deadline)
		vcpu_request(vcpu, REQ_TIMER);
	return NEXT_ENTER;
}

static enum next unexpected(struct vcpu *vcpu)
{
	return exit_unexpected(vcpu, to_vmx(vcpu)->exit.reason);
}

static bool had_error_code(const struct vmx_exit *exit)
{
	return exit->interruption & INTR_INFO_DELIVER_CODE_MASK;
}

/*
 * INT1 exits before it is complete, other #DBs of instructions after.
 * Source: SDM volume 3, "Information for VM Exits Due to Vectored Events".
 */
static enum next exit_debug_exception(struct vcpu *vcpu, const struct vmx_exit *exit)
{
	const struct exception exception = { .vector = VECTOR_DB, .payload = exit->qualification };

	if ((exit->interruption & INTR_INFO_INTR_TYPE_MASK) == INTR_TYPE_PRIV_SW_EXCEPTION)
		vcpu_set_rip(vcpu, vcpu_rip(vcpu) + vcpu->insn_len);
	if (!guest_debug_takes_db(vcpu))
		vmx_set_pending_single_step(vcpu);
	return exit_exception(vcpu, &exception);
}

static enum next exception_or_nmi(struct vcpu *vcpu)
{
	const struct vmx_exit *exit = &to_vmx(vcpu)->exit;
	struct exception exception = { .vector = exit->interruption & INTR_INFO_VECTOR_MASK };

	/* These went to the host by deliver_to_host(). */
	if ((exit->interruption & INTR_INFO_INTR_TYPE_MASK) == INTR_TYPE_NMI_INTR || exception.vector == VECTOR_MC)
		return NEXT_ENTER;
	if (exception.vector == VECTOR_UD)
		return exit_invalid_opcode(vcpu);
	if (exception.vector == VECTOR_DB)
		return exit_debug_exception(vcpu, exit);
	exception.has_error = had_error_code(exit);
	exception.error = exit->interruption_error;
	return exit_exception(vcpu, &exception);
}

/* The numbers of enum task_switch. SDM, table "Exit Qualification for Task Switches". */
#define TASK_SWITCH_SOURCE_SHIFT 30

static enum next task_switch(struct vcpu *vcpu)
{
	const struct vmx_exit *exit = &to_vmx(vcpu)->exit;
	enum task_switch how = exit->qualification >> TASK_SWITCH_SOURCE_SHIFT & 3;
	bool by_event = how == TASK_GATE && vcpu->event.type != EVENT_SOFT_INTERRUPT &&
			vcpu->event.type != EVENT_SOFT_EXCEPTION;

	return exit_task_switch(vcpu, exit->qualification, how, by_event ? 0 : vcpu->insn_len);
}

enum cr_access { MOV_TO_CR, MOV_FROM_CR, CLTS, LMSW };

static enum next cr_access(struct vcpu *vcpu)
{
	u64 qualification = to_vmx(vcpu)->exit.qualification;
	unsigned int cr = qualification & 0xf, gpr = qualification >> 8 & 0xf;

	switch ((enum cr_access)(qualification >> 4 & 3)) {
	case MOV_TO_CR:
		return exit_mov_to_cr(vcpu, cr, vcpu_read_gpr(vcpu, gpr));
	case MOV_FROM_CR:
		return exit_mov_from_cr(vcpu, cr, gpr);
	case CLTS:
		return exit_clts(vcpu);
	case LMSW:
		return exit_lmsw(vcpu, qualification >> LMSW_SOURCE_DATA_SHIFT);
	}
	return unexpected(vcpu);
}

/* Bit 3 is reserved and clear, for DR8 to DR15 are #UD before they exit. Bochs exits, with the whole number. */
#define DEBUG_REGISTER 0xf

static enum next mov_dr(struct vcpu *vcpu)
{
	u64 qualification = to_vmx(vcpu)->exit.qualification;

	return exit_mov_dr(vcpu, qualification & DEBUG_REGISTER, DEBUG_REG_ACCESS_REG(qualification),
			   qualification & TYPE_MOV_FROM_DR);
}

#define IO_SIZE 7
#define IO_IN BIT(3)
#define IO_STRING BIT(4)
#define IO_PORT_SHIFT 16

static enum next io(struct vcpu *vcpu)
{
	u64 qualification = to_vmx(vcpu)->exit.qualification;

	return exit_io(vcpu, qualification >> IO_PORT_SHIFT, (qualification & IO_SIZE) + 1, qualification & IO_IN,
		       qualification & IO_STRING);
}

static enum next ept_violation(struct vcpu *vcpu)
{
	const struct vmx_exit *exit = &to_vmx(vcpu)->exit;
	u32 access = 0;

	if (exit->qualification & EPT_VIOLATION_ACC_READ)
		access |= ACCESS_READ;
	if (exit->qualification & EPT_VIOLATION_ACC_WRITE)
		access |= ACCESS_WRITE;
	if (exit->qualification & EPT_VIOLATION_ACC_INSTR)
		access |= ACCESS_EXEC;
	if ((exit->qualification & (EPT_VIOLATION_GVA_IS_VALID | EPT_VIOLATION_GVA_TRANSLATED)) ==
	    EPT_VIOLATION_GVA_IS_VALID)
		access |= ACCESS_WALK;
	return exit_memory_fault(vcpu, exit->gpa, access);
}

static enum next ept_misconfiguration(struct vcpu *vcpu)
{
	vm_bug(vcpu->vm, "EPT misconfiguration at guest-physical address %#llx", to_vmx(vcpu)->exit.gpa);
	return unexpected(vcpu);
}

/* Also where no log is kept any more: the CPU goes on only if there is room. */
static enum next pml_full(struct vcpu *vcpu)
{
	pml_drain(vcpu);
	return NEXT_ENTER;
}

struct exit_row {
	enum next (*handle)(struct vcpu *vcpu);
	u32 has;
};

#define INSN(handler)              \
	{                          \
		handler, EXIT_INSN \
	}

static const struct exit_row exit_table[] = {
	[EXIT_REASON_EXCEPTION_NMI] = { exception_or_nmi, EXIT_INTERRUPTION | EXIT_QUALIFIED | EXIT_INSN |
								  EXIT_IN_DELIVERY | EXIT_BY_IRET },
	[EXIT_REASON_EXTERNAL_INTERRUPT] = { enter_again }, /* came when interrupts were turned on */
	[EXIT_REASON_TRIPLE_FAULT] = { exit_triple_fault },
	[EXIT_REASON_INIT_SIGNAL] = { enter_again },
	[EXIT_REASON_SIPI_SIGNAL] = { enter_again },
	[EXIT_REASON_INTERRUPT_WINDOW] = { exit_interrupt_window },
	[EXIT_REASON_NMI_WINDOW] = { exit_nmi_window },
	[EXIT_REASON_TASK_SWITCH] = { task_switch, EXIT_INSN | EXIT_QUALIFIED | EXIT_IN_DELIVERY },
	[EXIT_REASON_CPUID] = INSN(exit_cpuid),
	[EXIT_REASON_HLT] = INSN(exit_hlt),
	[EXIT_REASON_INVD] = INSN(exit_skip),
	[EXIT_REASON_RDPMC] = INSN(exit_rdpmc),
	[EXIT_REASON_VMCALL] = INSN(exit_hypercall),
	[EXIT_REASON_VMCLEAR] = { exit_undefined },
	[EXIT_REASON_VMLAUNCH] = { exit_undefined },
	[EXIT_REASON_VMPTRLD] = { exit_undefined },
	[EXIT_REASON_VMPTRST] = { exit_undefined },
	[EXIT_REASON_VMREAD] = { exit_undefined },
	[EXIT_REASON_VMRESUME] = { exit_undefined },
	[EXIT_REASON_VMWRITE] = { exit_undefined },
	[EXIT_REASON_VMOFF] = { exit_undefined },
	[EXIT_REASON_VMON] = { exit_undefined },
	[EXIT_REASON_INVEPT] = { exit_undefined },
	[EXIT_REASON_INVVPID] = { exit_undefined },
	[EXIT_REASON_CR_ACCESS] = { cr_access, EXIT_INSN | EXIT_QUALIFIED },
	[EXIT_REASON_DR_ACCESS] = { mov_dr, EXIT_INSN | EXIT_QUALIFIED },
	[EXIT_REASON_IO_INSTRUCTION] = { io, EXIT_INSN | EXIT_QUALIFIED },
	[EXIT_REASON_MSR_READ] = INSN(exit_rdmsr),
	[EXIT_REASON_MSR_WRITE] = INSN(exit_wrmsr),
	[EXIT_REASON_TPR_BELOW_THRESHOLD] = { tpr_below_threshold },
	[EXIT_REASON_MWAIT_INSTRUCTION] = INSN(exit_monitor_mwait),
	[EXIT_REASON_MONITOR_INSTRUCTION] = INSN(exit_monitor_mwait),
	[EXIT_REASON_PAUSE_INSTRUCTION] = INSN(exit_pause),
	[EXIT_REASON_APIC_ACCESS] = { apic_access, EXIT_QUALIFIED | EXIT_IN_DELIVERY },
	[EXIT_REASON_EOI_INDUCED] = { eoi_induced, EXIT_QUALIFIED },
	[EXIT_REASON_EPT_VIOLATION] = { ept_violation, EXIT_QUALIFIED | EXIT_GPA | EXIT_IN_DELIVERY | EXIT_BY_IRET },
	[EXIT_REASON_EPT_MISCONFIG] = { ept_misconfiguration, EXIT_GPA },
	[EXIT_REASON_PREEMPTION_TIMER] = { preemption_timer },
	[EXIT_REASON_WBINVD] = INSN(exit_skip),
	[EXIT_REASON_APIC_WRITE] = { apic_write, EXIT_QUALIFIED },
	[EXIT_REASON_PML_FULL] = { pml_full, EXIT_QUALIFIED | EXIT_IN_DELIVERY | EXIT_BY_IRET },
	[EXIT_REASON_XSETBV] = INSN(exit_xsetbv),
};

/*
 * An IRET that faults has opened NMIs already, which its next try must find blocked. The bit says so if no delivery was
 * under way. Source: SDM volume 3, "NMI Unblocking Due to IRET" in "Information for VM Exits Due to Vectored Events".
 */
static void block_nmis_again(struct vcpu *vcpu, const struct vmx_exit *exit, u32 has)
{
	u32 info = has & EXIT_INTERRUPTION ? exit->interruption : exit->qualification;

	if (likely(!(info & INTR_INFO_UNBLOCK_NMI)))
		return;
	if ((has & EXIT_INTERRUPTION) && (info & INTR_INFO_VECTOR_MASK) == VECTOR_DF)
		return;
	vcpu_touch(vcpu, STATE_SHADOW);
	vcpu->shadow |= SHADOW_NMI;
}

static __always_inline void read_instruction(struct vcpu *vcpu)
{
	vcpu->insn_len = vmcs_read32(VM_EXIT_INSTRUCTION_LEN);
	vcpu->regs.rip = vmcs_read_natural(GUEST_RIP);
	vcpu->regs.rflags = vmcs_read_natural(GUEST_RFLAGS);
	vcpu->shadow = vmx_shadow(vmcs_read32(GUEST_INTERRUPTIBILITY_INFO));
	vcpu->known |= STATE_RIP | STATE_RFLAGS | STATE_SHADOW;
}

static noinline void read_details(struct vcpu *vcpu, struct vmx_exit *exit, u32 has)
{
	if (has & EXIT_GPA)
		exit->gpa = vmcs_read64(GUEST_PHYSICAL_ADDRESS);
	if (has & EXIT_INTERRUPTION && had_error_code(exit))
		exit->interruption_error = vmcs_read32(VM_EXIT_INTR_ERROR_CODE);
	if ((has & EXIT_IN_DELIVERY) && !vmx_requeue_event(vcpu) && (has & EXIT_BY_IRET))
		block_nmis_again(vcpu, exit, has);
}

/* Takes from the VMCS what its reason defines. */
static __always_inline void read_exit(struct vcpu *vcpu, struct vmx_exit *exit, u32 has)
{
	if (has & EXIT_INSN)
		read_instruction(vcpu);
	else
		vcpu->insn_len = 0;
	if (has & EXIT_QUALIFIED)
		exit->qualification = vmcs_read_natural(EXIT_QUALIFICATION);
	if (has & ~(u32)(EXIT_INSN | EXIT_QUALIFIED))
		read_details(vcpu, exit, has);
}

/*
 * VMLAUNCH or VMRESUME failed, or it exited at once. Source: SDM volume 3, "VM Instruction Error Numbers", "VM-Entry
 * Failures During or After Loading Guest State".
 */
static noinline enum next failed_entry(struct vcpu *vcpu)
{
	enum next next = exit_fail_entry(vcpu, to_vmx(vcpu)->exit.failure);

	if (next != NEXT_SLOW)
		vmx_cancel_injection(vcpu);
	return next;
}

enum next vmx_handle_exit(struct vcpu *vcpu)
{
	struct vmx_exit *exit = &to_vmx(vcpu)->exit;
	u32 reason = (u16)exit->reason;
	const struct exit_row *row;

	if (unlikely(reason >= ARRAY_SIZE(exit_table)))
		return exit->reason == EXIT_REASON_NOT_ENTERED ? failed_entry(vcpu) : unexpected(vcpu);
	row = &exit_table[array_index_nospec(reason, ARRAY_SIZE(exit_table))];
	if (unlikely(!row->handle))
		return unexpected(vcpu);
	/* In a slice: that is where an exit is first looked at. */
	if (likely(vcpu->in_slice))
		read_exit(vcpu, exit, row->has);
	return row->handle(vcpu);
}

notrace void vmx_exit_info(struct vcpu *vcpu, struct pith_exit_record *record)
{
	const struct vmx_exit *exit = &to_vmx(vcpu)->exit;
	u32 reason = exit->reason;

	record->reason = reason;
	if (reason == EXIT_REASON_EPT_VIOLATION || reason == EXIT_REASON_EPT_MISCONFIG)
		record->info[1] = vmcs_read64(GUEST_PHYSICAL_ADDRESS);
	else
		record->info[1] = exit->interruption;
	record->rip = vmcs_read_natural(GUEST_RIP);
	record->info[0] = vmcs_read_natural(EXIT_QUALIFICATION);
}

void vmx_exit_event(struct vcpu *vcpu, u32 *event, u32 *error)
{
	*event = vmcs_read32(VM_EXIT_INTR_INFO);
	*error = (*event & INTR_INFO_VALID_MASK) && (*event & INTR_INFO_DELIVER_CODE_MASK)
			 ? vmcs_read32(VM_EXIT_INTR_ERROR_CODE)
			 : 0;
}
