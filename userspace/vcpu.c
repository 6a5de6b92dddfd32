// SPDX-License-Identifier: GPL-2.0
/*
 * Virtual CPUs: a thread each, which enters the guest and carries out what the kernel leaves to the runner.
 */
#define _GNU_SOURCE
#include "vcpu.h"

#include <errno.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>

#include "../uapi/pith.h"
#include "boot.h"
#include "cpuid.h"
#include "gdb/stub.h"
#include "pause.h"
#include "vm.h"

#define SIGNAL_STOP SIGUSR1
/* A thread that waits for a slow disk is not waited for any longer than this. */
#define STOP_TRIES 20
#define STOP_INTERVAL_NS 100000000
#define NS_PER_SECOND 1000000000

/* Source: SDM volume 4, "Architectural MSRs" */
#define MSR_MISC_ENABLE 0x1a0
#define MISC_ENABLE_FAST_STRING (1 << 0)
#define MSR_MTRR_DEF_TYPE 0x2ff
#define MTRR_ENABLE (1 << 11)
#define MTRR_WRITE_BACK 6

/* Source: SDM volume 3, "Local Vector Table" */
#define APIC_LVT0 0x350
#define APIC_EXTINT 0x700

/* What a firmware would have set. A module that does not know one of them does not let the guest depend on it. */
static const struct kvm_msr_entry msrs[] = {
	{ .index = MSR_MISC_ENABLE, .data = MISC_ENABLE_FAST_STRING },
	{ .index = MSR_MTRR_DEF_TYPE, .data = MTRR_ENABLE | MTRR_WRITE_BACK },
};

static void set_msrs(const struct vcpu *vcpu)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(msrs); i++) {
		union {
			struct kvm_msrs msrs;
			u8 space[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)];
		} one = { .msrs.nmsrs = 1 };

		one.msrs.entries[0] = msrs[i];
		ioctl(vcpu->fd, KVM_SET_MSRS, &one);
	}
}

/* The first CPU takes the PIC's interrupts until the kernel sets up the I/O APIC ("virtual wire mode"). */
static void connect_pic(const struct vcpu *vcpu)
{
	const u32 lvt0 = APIC_EXTINT;
	struct kvm_lapic_state lapic;

	must(ioctl(vcpu->fd, KVM_GET_LAPIC, &lapic), "read a CPU's local APIC");
	memcpy(lapic.regs + APIC_LVT0, &lvt0, sizeof(lvt0));
	must(ioctl(vcpu->fd, KVM_SET_LAPIC, &lapic), "set a CPU's local APIC");
}

static void create(struct vcpu *vcpu, struct kvm_cpuid2 *cpuid, size_t run_size)
{
	vcpu->fd = must(ioctl(vcpu->vm->fd, KVM_CREATE_VCPU, vcpu->id), "create a virtual CPU");
	vcpu->run = mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (vcpu->run == MAP_FAILED)
		die("cannot map a virtual CPU's shared page: %s", strerror(errno));
	cpuid_set_topology(cpuid, vcpu->id, vcpu->vm->nr_vcpus);
	must(ioctl(vcpu->fd, KVM_SET_CPUID2, cpuid), "set a CPU's CPUID");
	set_msrs(vcpu);
}

/**
 * vcpu_create_all - create the machine's CPUs; the first one is about to run the kernel, the others wait to be started
 * @vm: the machine
 * @count: how many
 * @entry: where the first one begins
 */
void vcpu_create_all(struct vm *vm, unsigned int count, u64 entry)
{
	int run_size = must(ioctl(vm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0), "ask for the size of a vCPU's shared page");
	struct kvm_cpuid2 *cpuid = cpuid_get_supported(vm);

	vm->nr_vcpus = count;
	vm->vcpus = calloc(count, sizeof(*vm->vcpus));
	if (!vm->vcpus)
		die("out of memory");
	for (unsigned int i = 0; i < count; i++) {
		vm->vcpus[i] = (struct vcpu){ .vm = vm, .id = i };
		create(&vm->vcpus[i], cpuid, run_size);
	}
	free(cpuid);
	connect_pic(&vm->vcpus[0]);
	boot_cpu(vm->vcpus[0].fd, entry);
}

static void exit_io(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	u8 *data = (u8 *)run + run->io.data_offset;

	for (u32 i = 0; i < run->io.count; i++, data += run->io.size)
		bus_access(&vcpu->vm->pio, run->io.port, data, run->io.size, run->io.direction == KVM_EXIT_IO_OUT);
}

static void exit_mmio(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;

	bus_access(&vcpu->vm->mmio, run->mmio.phys_addr, run->mmio.data, run->mmio.len, run->mmio.is_write);
}

static void exit_nothing(struct vcpu *vcpu)
{
}

static void print_registers(const struct vcpu *vcpu)
{
	struct kvm_sregs sregs;
	struct kvm_regs regs;

	if (ioctl(vcpu->fd, KVM_GET_REGS, &regs) < 0 || ioctl(vcpu->fd, KVM_GET_SREGS, &sregs) < 0)
		return;
	error("rip %016llx rflags %016llx cs %04x cpl %u", regs.rip, regs.rflags, sregs.cs.selector, sregs.ss.dpl);
	error("rax %016llx rbx %016llx rcx %016llx rdx %016llx", regs.rax, regs.rbx, regs.rcx, regs.rdx);
	error("rsi %016llx rdi %016llx rsp %016llx rbp %016llx", regs.rsi, regs.rdi, regs.rsp, regs.rbp);
	error("r8  %016llx r9  %016llx r10 %016llx r11 %016llx", regs.r8, regs.r9, regs.r10, regs.r11);
	error("r12 %016llx r13 %016llx r14 %016llx r15 %016llx", regs.r12, regs.r13, regs.r14, regs.r15);
	error("cr0 %016llx cr2 %016llx cr3 %016llx cr4 %016llx", sregs.cr0, sregs.cr2, sregs.cr3, sregs.cr4);
	error("efer %016llx gdt %016llx idt %016llx", sregs.efer, sregs.gdt.base, sregs.idt.base);
}

static void crash(struct vcpu *vcpu)
{
	print_registers(vcpu);
	gdb_crashed(vcpu);
	vm_stop(vcpu->vm, STATUS_GUEST);
}

static void exit_shutdown(struct vcpu *vcpu)
{
	error("CPU %u of the guest shut down by a triple fault", vcpu->id);
	crash(vcpu);
}

/* Stock KVM does not know. */
static void explain_failed_entry(const struct vcpu *vcpu)
{
	struct pith_entry_failure failure;
	char *rest, *line;

	if (ioctl(vcpu->fd, PITH_GET_ENTRY_FAILURE, &failure) < 0)
		return;
	for (line = strtok_r(failure.text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		error("%s", line);
}

static void exit_fail_entry(struct vcpu *vcpu)
{
	error("the hardware refused to enter the guest on CPU %u: reason 0x%llx", vcpu->id,
	      vcpu->run->fail_entry.hardware_entry_failure_reason);
	explain_failed_entry(vcpu);
	crash(vcpu);
}

static void print_instruction(const struct kvm_run *run)
{
	char text[3 * sizeof(run->emulation_failure.insn_bytes) + 1] = "";
	u8 size = min(run->emulation_failure.insn_size, sizeof(run->emulation_failure.insn_bytes));

	for (u8 i = 0; i < size; i++)
		sprintf(text + 3 * i, " %02x", run->emulation_failure.insn_bytes[i]);
	error("the instruction at rip:%s", text);
}

static void exit_internal_error(struct vcpu *vcpu)
{
	const struct kvm_run *run = vcpu->run;
	bool emulation = run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION && run->internal.ndata >= 3;

	error("the kernel cannot run the guest's CPU %u any further: internal error %u", vcpu->id,
	      run->internal.suberror);
	if (emulation && run->emulation_failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES)
		print_instruction(run);
	else
		for (u32 i = 0; i < min(run->internal.ndata, ARRAY_SIZE(run->internal.data)); i++)
			error("data %u: %016llx", i, run->internal.data[i]);
	crash(vcpu);
}

static void exit_system_event(struct vcpu *vcpu)
{
	u32 type = vcpu->run->system_event.type;

	if (type == KVM_SYSTEM_EVENT_SHUTDOWN || type == KVM_SYSTEM_EVENT_RESET) {
		vm_stop(vcpu->vm, STATUS_OK);
		return;
	}
	error("the guest reported that it crashed: system event %u", type);
	crash(vcpu);
}

static void exit_unknown(struct vcpu *vcpu)
{
	error("CPU %u left the guest for a reason that the runner does not know: %u", vcpu->id, vcpu->run->exit_reason);
	print_registers(vcpu);
	vm_stop(vcpu->vm, STATUS_ERROR);
}

static void (*const exits[])(struct vcpu *vcpu) = {
	[KVM_EXIT_IO] = exit_io,
	[KVM_EXIT_MMIO] = exit_mmio,
	[KVM_EXIT_DEBUG] = gdb_exit_debug,
	[KVM_EXIT_INTR] = exit_nothing,
	[KVM_EXIT_IRQ_WINDOW_OPEN] = exit_nothing,
	[KVM_EXIT_SHUTDOWN] = exit_shutdown,
	[KVM_EXIT_FAIL_ENTRY] = exit_fail_entry,
	[KVM_EXIT_INTERNAL_ERROR] = exit_internal_error,
	[KVM_EXIT_SYSTEM_EVENT] = exit_system_event,
};

static void handle_exit(struct vcpu *vcpu)
{
	u32 reason = vcpu->run->exit_reason;

	if (reason < ARRAY_SIZE(exits) && exits[reason])
		exits[reason](vcpu);
	else
		exit_unknown(vcpu);
}

static __thread struct kvm_run *this_run;

/* Wherever the signal finds the thread, it will not enter the guest again: KVM_RUN looks at this first. */
static void stop_handler(int signal)
{
	this_run->immediate_exit = 1;
}

static void *run(void *opaque)
{
	struct vcpu *vcpu = opaque;
	sigset_t stop;

	this_run = vcpu->run;
	sigemptyset(&stop);
	sigaddset(&stop, SIGNAL_STOP);
	pthread_sigmask(SIG_UNBLOCK, &stop, NULL);

	while (vm_running(vcpu->vm)) {
		if (!ioctl(vcpu->fd, KVM_RUN, 0)) {
			handle_exit(vcpu);
		} else if (errno == EINTR) {
			pause_here(vcpu);
			/*
			 * Perhaps it stood still for long, by SIGSTOP too: the guest's watchdogs are not to blame it.
			 */
			ioctl(vcpu->fd, KVM_KVMCLOCK_CTRL, 0);
		} else if (errno != EAGAIN) {
			error("cannot run the guest's CPU %u: %s", vcpu->id, strerror(errno));
			print_registers(vcpu);
			vm_stop(vcpu->vm, STATUS_ERROR);
		}
	}
	return NULL;
}

/**
 * vcpu_start_all - let the guest run
 * @vm: the machine
 */
void vcpu_start_all(struct vm *vm)
{
	const struct sigaction action = { .sa_handler = stop_handler };
	sigset_t stop;

	/* Blocked until a thread is ready for it. */
	sigemptyset(&stop);
	sigaddset(&stop, SIGNAL_STOP);
	pthread_sigmask(SIG_BLOCK, &stop, NULL);
	sigaction(SIGNAL_STOP, &action, NULL);
	for (unsigned int i = 0; i < vm->nr_vcpus; i++) {
		if (pthread_create(&vm->vcpus[i].thread, NULL, run, &vm->vcpus[i]))
			die("cannot start a thread for a virtual CPU");
	}
}

/**
 * vcpu_interrupt - make KVM_RUN return, or fail when it is called the next time
 * @vcpu: whose thread has been started and not been waited for
 */
void vcpu_interrupt(const struct vcpu *vcpu)
{
	pthread_kill(vcpu->thread, SIGNAL_STOP);
}

/* A signal may find a thread just before it blocks in a write to a terminal that takes no more: it is sent again. */
static void stop(struct vcpu *vcpu)
{
	struct timespec next;

	for (unsigned int i = 0; i < STOP_TRIES; i++) {
		vcpu_interrupt(vcpu);
		clock_gettime(CLOCK_REALTIME, &next);
		next.tv_sec += (next.tv_nsec + STOP_INTERVAL_NS) / NS_PER_SECOND;
		next.tv_nsec = (next.tv_nsec + STOP_INTERVAL_NS) % NS_PER_SECOND;
		if (!pthread_timedjoin_np(vcpu->thread, NULL, &next))
			break;
	}
}

/**
 * vcpu_stop_all - let the guest run no more
 * @vm: the machine, for which vm_stop() was called
 */
void vcpu_stop_all(struct vm *vm)
{
	pause_end_all(vm);
	for (unsigned int i = 0; i < vm->nr_vcpus; i++)
		stop(&vm->vcpus[i]);
}
