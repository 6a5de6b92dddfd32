// SPDX-License-Identifier: GPL-2.0
/*
 * smm_test - system-management mode, as a client of KVM gives it to a guest: SMRAM is memory of address space 1, the handler
 * stands at SMBASE + 8000h, and what it was interrupted in is in the state-save area. Source: APM volume 2,
 * "System-Management Mode"; SDM volume 3, "System Management Mode"; KVM's api.rst, "KVM_SMI", "KVM_GET_VCPU_EVENTS".
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "guest.h"

#define MSR_SMBASE 0x9e
#define SMBASE GUEST_HOLE /* where a PC has it, and no other memory is */
#define SMRAM_SIZE 0x20000
#define HANDLER 0x8000
#define AREA 0xfe00
#define AS_SMM (1u << 16)
#define SLOT_SMRAM 7
#define SLOT_OTHER 8

/* In the area of a CPU with long mode. APM volume 2, table "AMD64 Architecture SMM State-Save Area". */
#define SAVED_RAX 0xfff8
#define SAVED_RIP 0xff78
#define SAVED_RFLAGS 0xff70
#define SAVED_CR0 0xff58
#define SAVED_CR3 0xff50
#define SAVED_CR4 0xff48
#define SAVED_SMBASE 0xff00
#define SAVED_REVISION 0xfefc
#define SAVED_EFER 0xfed0
#define SAVED_CS 0xfe10

#define GUEST_PORT 0x80
#define HANDLER_PORT 0x81

/* What a handler does at least. */
#define TELL "out %al, $0x81\n"
#define RSM "rsm"

static u8 *smram;

static void add_smram(struct guest *g, struct code handler)
{
	smram = pages(SMRAM_SIZE);
	guest_add_memory(g, AS_SMM | SLOT_SMRAM, SMBASE, smram, SMRAM_SIZE, 0);
	memcpy(smram + HANDLER, handler.start, handler.end - handler.start);
	expect(guest_set_msr(g, MSR_SMBASE, SMBASE));
}

static struct guest *create(enum guest_mode mode, struct code handler)
{
	struct guest *g = guest_create(mode);

	add_smram(g, handler);
	return g;
}

static u64 saved(unsigned int at)
{
	u64 value;

	memcpy(&value, smram + at, sizeof(value));
	return value;
}

static void interrupt(struct guest *g)
{
	expect_errno(ioctl(g->vcpu, KVM_SMI, 0), 0);
}

static bool at_port(struct guest *g, u32 exit, u16 port)
{
	return expect_eq(exit, KVM_EXIT_IO) && expect_eq(g->run->io.port, port);
}

static bool in_smm(struct guest *g)
{
	return g->run->flags & KVM_RUN_X86_SMM;
}

/* The guest stands at an OUT, and has an SMI. */
static void start(struct guest *g)
{
	struct code code = g->mode == MODE_LONG	  ? CODE64("out %al, $0x80\nmov $7, %ebx\n")
			   : g->mode == MODE_REAL ? CODE16("out %al, $0x80\nmov $7, %ebx\n")
						  : CODE32("out %al, $0x80\nmov $7, %ebx\n");

	guest_load(g, code);
	g->regs.rax = 0x1122334455667788;
	at_port(g, guest_start(g), GUEST_PORT);
	expect(!in_smm(g));
	interrupt(g);
}

static void expect_handler_state(struct guest *g)
{
	struct kvm_sregs s = guest_sregs(g);
	struct kvm_vcpu_events events = guest_events(g);

	expect(in_smm(g));
	expect_eq(s.cr0 & (CR0_PE | CR0_PG | CR0_EM | CR0_TS), 0);
	expect_eq(s.cr4, 0);
	expect_eq(s.efer, 0);
	expect_eq(s.cs.base, SMBASE);
	expect_eq(s.cs.selector, SMBASE >> 4);
	expect_eq(s.ds.base, 0);
	expect_eq(s.ds.limit, 0xffffffff);
	expect_eq(s.idt.limit, 0);
	expect_eq(g->regs.rflags, RFLAGS_FIXED);
	expect_eq(events.smi.smm, 1);
	expect_eq(events.smi.pending, 0);
	expect_eq(events.nmi.masked, 1);
}

static void goes_and_comes_back(void)
{
	static const enum guest_mode modes[] = { MODE_REAL, MODE_PROT32, MODE_PAE, MODE_COMPAT, MODE_LONG };
	struct kvm_sregs before, after;
	struct guest *g;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(modes); i++) {
		context("%s", guest_mode_name[modes[i]]);
		g = create(modes[i], CODE16(TELL RSM));
		start(g);
		before = guest_sregs(g);
		at_port(g, guest_run(g), HANDLER_PORT);
		expect_handler_state(g);
		guest_run(g);
		expect_end(g);
		after = guest_sregs(g);
		expect(!in_smm(g));
		expect_eq(g->regs.rbx, 7);
		expect_eq(g->regs.rax, 0x1122334455667788);
		expect(!memcmp(&before, &after, sizeof(before)));
		guest_destroy(g);
	}
}

static void area_has_the_state(void)
{
	struct guest *g = create(MODE_LONG, CODE16(TELL RSM));
	struct kvm_sregs s;

	start(g);
	s = guest_sregs(g);
	at_port(g, guest_run(g), HANDLER_PORT);
	expect_eq(saved(SAVED_RAX), 0x1122334455667788);
	expect_eq(saved(SAVED_RIP), GUEST_CODE + 2);
	expect_eq(saved(SAVED_RFLAGS), RFLAGS_FIXED);
	expect_eq(saved(SAVED_CR0), s.cr0);
	expect_eq(saved(SAVED_CR3), s.cr3);
	expect_eq(saved(SAVED_CR4), s.cr4);
	expect_eq(saved(SAVED_EFER), s.efer);
	expect_eq((u32)saved(SAVED_SMBASE), SMBASE);
	expect_eq((u32)saved(SAVED_REVISION), 0x20064);
	expect_eq((u16)saved(SAVED_CS), s.cs.selector);
	guest_destroy(g);
}

static void handler_changes_it(void)
{
	struct guest *g = create(MODE_LONG, CODE16("movl $0x99, %cs:0xfff8\n"
						   "movl $0xb0000, %cs:0xff00\n" TELL RSM));
	u64 base = 0;

	/* The same at the new place. */
	memcpy(smram + 0x10000 + HANDLER, smram + HANDLER, 0x100);
	start(g);
	at_port(g, guest_run(g), HANDLER_PORT);
	guest_run(g);
	expect_end(g);
	expect_eq(g->regs.rax, 0x1122334400000099);
	expect(guest_get_msr(g, MSR_SMBASE, &base));
	expect_eq(base, 0xb0000);
	start(g);
	at_port(g, guest_run(g), HANDLER_PORT);
	expect_eq(guest_sregs(g).cs.base, 0xb0000);
	guest_destroy(g);
}

/* The same address is other memory in either mode, each time. */
static void memory_is_another(void)
{
	struct guest *g = create(MODE_LONG, CODE16("mov 0xa000, %ebx\n"
						   "mov %ebx, %cs:0x9000\n" RSM));
	u32 *other = pages(PAGE), *own = (u32 *)(g->memory + GUEST_DATA);
	unsigned int i;

	guest_add_memory(g, AS_SMM | SLOT_OTHER, GUEST_DATA, other, PAGE, 0);
	guest_load(g, CODE64("1: mov 0xa000, %ebx\n"
			     "out %al, $0x80\n"
			     "jmp 1b"));
	guest_start(g);
	for (i = 1; i < 10; i++) {
		*own = i;
		*other = 100 + i;
		interrupt(g);
		at_port(g, guest_run(g), GUEST_PORT);
		expect_eq(g->regs.rbx, i);
		expect_eq((u32)saved(0x9000), 100 + i);
	}
	guest_destroy(g);
}

static void smram_is_hidden(void)
{
	struct guest *g = create(MODE_LONG, CODE16(TELL RSM));
	u64 base;

	guest_load(g, CODE64("mov 0xa8000, %eax"));
	expect_eq(guest_start(g), KVM_EXIT_MMIO);
	expect_eq(g->run->mmio.phys_addr, SMBASE + HANDLER);
	guest_destroy(g);
	g = create(MODE_LONG, CODE16(TELL RSM));
	guest_load(g, CODE64("mov $0x9e, %ecx\nrdmsr"));
	guest_start(g);
	expect_trap(g, VECTOR_GP, 0, 5);
	expect(guest_get_msr(g, MSR_SMBASE, &base));
	guest_load(g, CODE64("mov $0x9e, %ecx\nwrmsr"));
	guest_start(g);
	expect_trap(g, VECTOR_GP, 0, 5);
	guest_load(g, CODE64(RSM));
	guest_start(g);
	expect_trap(g, VECTOR_UD, NO_ERROR, 0);
	guest_destroy(g);
}

static void one_at_a_time(void)
{
	struct guest *g = create(MODE_LONG, CODE16(TELL RSM));
	u64 count = 0;

	start(g);
	at_port(g, guest_run(g), HANDLER_PORT);
	interrupt(g);
	expect_eq(guest_events(g).smi.pending, 1);
	expect_errno(ioctl(g->vcpu, KVM_NMI, 0), 0);
	at_port(g, guest_run(g), HANDLER_PORT);
	/* The guest has not executed anything in between. */
	expect_eq(saved(SAVED_RIP), GUEST_CODE + 2);
	expect_eq(guest_events(g).smi.pending, 0);
	guest_run(g);
	expect_trap(g, VECTOR_NMI, NO_ERROR, 2);
	guest_end_trap(g);
	guest_run(g);
	expect_end(g);
	expect(guest_get_msr(g, 0x34, &count)); /* MSR_SMI_COUNT */
	expect_eq(count, 2);
	guest_destroy(g);
}

/* With a local APIC, which takes interrupt messages. */
static struct guest *create_with_chips(struct code handler)
{
	struct guest *g = guest_create_vm();

	expect_errno(ioctl(g->vm, KVM_CREATE_IRQCHIP, 0), 0);
	guest_create_vcpu(g);
	guest_set_mode(g, MODE_LONG, false);
	add_smram(g, handler);
	return g;
}

#define DELIVER_SMI (2u << 8)
#define DELIVER_INIT (5u << 8)

static int send_message(struct guest *g, u32 data)
{
	struct kvm_msi msi = { .address_lo = 0xfee00000, .data = data };

	return ioctl(g->vm, KVM_SIGNAL_MSI, &msi);
}

static void *send_smi(void *g)
{
	usleep(100000);
	return (void *)(long)send_message(g, DELIVER_SMI);
}

/* It may come before the vCPU halts: that makes no difference. */
static void halted_vcpu_wakes(void)
{
	struct guest *g = create_with_chips(CODE16(TELL RSM));
	pthread_t thread;
	void *sent;

	guest_load(g, CODE64("hlt\nout %al, $0x80\nhlt"));
	pthread_create(&thread, NULL, send_smi, g);
	at_port(g, guest_start(g), HANDLER_PORT);
	pthread_join(thread, &sent);
	expect_eq((long)sent, 1);
	/* The halt has ended, as on a CPU whose area does not ask for it to be taken up again. */
	at_port(g, guest_run(g), GUEST_PORT);
	guest_destroy(g);
}

static void init_waits(void)
{
	struct guest *g = create_with_chips(CODE16(TELL TELL RSM));

	start(g);
	at_port(g, guest_run(g), HANDLER_PORT);
	expect_eq(send_message(g, DELIVER_INIT), 1);
	at_port(g, guest_run(g), HANDLER_PORT);
	expect(in_smm(g));
	expect_eq(guest_events(g).smi.latched_init, 1);
	/* At the reset vector there is no memory to execute. */
	expect_eq(guest_run(g), KVM_EXIT_INTERNAL_ERROR);
	expect(!in_smm(g));
	expect_eq(g->regs.rip, 0xfff0);
	expect_eq(guest_sregs(g).cs.base, 0xffff0000);
	guest_destroy(g);
}

static void state_moves(void)
{
	struct guest *g = create(MODE_LONG, CODE16(TELL RSM)), *to;
	u8 *from = smram;
	struct kvm_vcpu_events events;
	struct kvm_sregs s;
	struct kvm_regs r;

	start(g);
	at_port(g, guest_run(g), HANDLER_PORT);
	/* The OUT ends when it goes on. */
	g->run->immediate_exit = 1;
	ioctl(g->vcpu, KVM_RUN, 0);
	to = create(MODE_REAL, CODE16(TELL RSM));
	memcpy(smram, from, SMRAM_SIZE);
	memcpy(to->memory, g->memory, GUEST_MEMORY_SIZE);
	s = guest_sregs(g);
	events = guest_events(g);
	expect_errno(ioctl(g->vcpu, KVM_GET_REGS, &r), 0);
	guest_set_sregs(to, &s);
	expect_errno(ioctl(to->vcpu, KVM_SET_REGS, &r), 0);
	guest_set_events(to, &events);
	expect_eq(guest_events(to).smi.smm, 1);
	to->mode = MODE_LONG;
	guest_run(to);
	expect_end(to);
	expect_eq(to->regs.rbx, 7);
	guest_destroy(to);
	guest_destroy(g);
}

/* Paging without protected mode: no CPU can be there. */
static void nonsense_ends_it(void)
{
	struct guest *g = create(MODE_LONG, CODE16("movl $0x80000000, %cs:0xff58\n" RSM));

	start(g);
	expect_eq(guest_run(g), KVM_EXIT_SHUTDOWN);
	guest_destroy(g);
}

static void writes_are_logged(void)
{
	struct guest *g = create(MODE_LONG, CODE16("mov %al, %cs:0x3000\n" RSM));
	u64 bits[SMRAM_SIZE / PAGE / 64 + 1] = {};
	struct kvm_dirty_log log = { .slot = AS_SMM | SLOT_SMRAM, .dirty_bitmap = bits };

	guest_add_memory(g, AS_SMM | SLOT_SMRAM, SMBASE, smram, SMRAM_SIZE, KVM_MEM_LOG_DIRTY_PAGES);
	start(g);
	guest_run(g);
	expect_end(g);
	expect_errno(ioctl(g->vm, KVM_GET_DIRTY_LOG, &log), 0);
	/* That page, and the state-save area's. */
	expect_eq(bits[0], 1ul << 3 | 1ul << (AREA / PAGE));
	guest_destroy(g);
}

static void bad_input(void)
{
	struct guest *g = create(MODE_LONG, CODE16(TELL RSM));
	struct kvm_userspace_memory_region region = {
		.slot = 2 << 16, .guest_phys_addr = 1 << 30, .memory_size = PAGE, .userspace_addr = (u64)pages(PAGE)
	};

	expect_eq(ioctl(g->device, KVM_CHECK_EXTENSION, KVM_CAP_X86_SMM), 1);
	expect_eq(ioctl(g->device, KVM_CHECK_EXTENSION, KVM_CAP_MULTI_ADDRESS_SPACE), 2);
	expect_errno(ioctl(g->vm, KVM_SET_USER_MEMORY_REGION, &region), EINVAL);
	region.slot = AS_SMM | 32764;
	expect_errno(ioctl(g->vm, KVM_SET_USER_MEMORY_REGION, &region), EINVAL);
	region.slot = AS_SMM | 9;
	region.guest_phys_addr = 1ull << 52;
	expect_errno(ioctl(g->vm, KVM_SET_USER_MEMORY_REGION, &region), EINVAL);
	/* Overlaps only with slots of the same address space. */
	region.guest_phys_addr = 0;
	expect_errno(ioctl(g->vm, KVM_SET_USER_MEMORY_REGION, &region), 0);
	region.slot = AS_SMM | 10;
	expect_errno(ioctl(g->vm, KVM_SET_USER_MEMORY_REGION, &region), EEXIST);
	guest_destroy(g);
}

static const struct test tests[] = {
	{ "an SMI interrupts, RSM goes back", goes_and_comes_back },
	{ "the state is in the state-save area", area_has_the_state },
	{ "the handler changes registers and SMBASE there", handler_changes_it },
	{ "memory is another in the mode", memory_is_another },
	{ "outside of the mode there are no SMRAM, SMBASE and RSM", smram_is_hidden },
	{ "SMIs and NMIs wait for its end", one_at_a_time },
	{ "it wakes a vCPU that is halted", halted_vcpu_wakes },
	{ "INIT waits for its end", init_waits },
	{ "a vCPU moves while in the mode", state_moves },
	{ "a state that no CPU has ends in shutdown", nonsense_ends_it },
	{ "writes to SMRAM are logged", writes_are_logged },
	{ "bad input", bad_input },
};

KTAP_MAIN(tests)
