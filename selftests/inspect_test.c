// SPDX-License-Identifier: GPL-2.0
/*
 * inspect_test - the inspection file: the state of vCPUs that run, spin, halt or stand still, slots and second-stage
 * mappings, who may see them, and what happens when one of both dies meanwhile.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/capability.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest.h"
#include "machine.h"
#include "pith.h"

#define MARK 0x1122334455667788ul
#define NOBODY 65534
#define STORM 300

static struct pith_inspect_vcpu seen; /* too large for a stack */

static int open_inspection(int vm)
{
	int fd = ioctl(vm, PITH_INSPECT, 0);

	if (fd < 0)
		die("PITH_INSPECT");
	return fd;
}

static void look(int fd, u32 index)
{
	memset(&seen, 0xaa, sizeof(seen));
	seen.index = index;
	if (ioctl(fd, PITH_INSPECT_VCPU, &seen))
		die("PITH_INSPECT_VCPU");
}

static bool find_field(u32 number, u64 *value)
{
	u32 i;

	for (i = 0; i < seen.nr_fields; i++) {
		if (seen.fields[i].number == number) {
			*value = seen.fields[i].value;
			return true;
		}
	}
	return false;
}

static bool is_vmx(int fd)
{
	struct pith_inspect_vm vm;

	expect_errno(ioctl(fd, PITH_INSPECT_VM, &vm), 0);
	expect(!strcmp(vm.vendor, "Intel VMX") || !strcmp(vm.vendor, "AMD SVM"));
	return !strcmp(vm.vendor, "Intel VMX");
}

/* SDM volume 3, "Field Encoding in VMCS"; APM volume 2, "Layout of VMCB". */
#define GUEST_RIP(fd) (is_vmx(fd) ? 0x681e : 0x578)
#define GUEST_CR3(fd) (is_vmx(fd) ? 0x6802 : 0x550)

/* -- a vCPU that stands still ------------------------------------------------------------------------------------ */

/* Everything is what the client's own ioctls say. */
static void stands_still(void)
{
	struct guest *g = guest_create(MODE_LONG);
	int fd = open_inspection(g->vm);
	struct kvm_debugregs debugregs;
	struct kvm_vcpu_events events;
	struct kvm_sregs2 sregs;
	struct kvm_regs regs;
	u64 value = 0;

	guest_load(g, CODE64("movabs $0x1122334455667788, %rbx; out %al, $0x80"));
	guest_start(g);
	expect_exit(g, KVM_EXIT_IO);
	expect_errno(ioctl(g->vcpu, KVM_GET_REGS, &regs), 0);
	expect_errno(ioctl(g->vcpu, KVM_GET_SREGS2, &sregs), 0);
	expect_errno(ioctl(g->vcpu, KVM_GET_DEBUGREGS, &debugregs), 0);
	expect_errno(ioctl(g->vcpu, KVM_GET_VCPU_EVENTS, &events), 0);
	look(fd, 0);
	expect_eq(seen.id, 0);
	expect_eq(seen.mp_state, KVM_MP_STATE_RUNNABLE);
	expect_eq(seen.flags, 0);
	expect_eq(seen.regs.rbx, MARK);
	expect_bytes(&seen.regs, &regs, sizeof(regs));
	expect_bytes(&seen.sregs, &sregs, sizeof(sregs));
	expect_bytes(&seen.debugregs, &debugregs, sizeof(debugregs));
	expect_bytes(&seen.events, &events, sizeof(events));
	expect(seen.exits > 0);
	expect(seen.nr_msrs > 0);
	expect(seen.nr_fields > 0 && seen.nr_fields <= PITH_INSPECT_FIELDS);
	expect(find_field(GUEST_CR3(fd), &value));
	expect_eq(value, sregs.cr3);
	expect(find_field(GUEST_RIP(fd), &value));
	expect_eq(value, GUEST_CODE + 10); /* of the OUT, or behind it */
}

/* -- one that runs ----------------------------------------------------------------------------------------------- */

static void *keep_running(void *fd)
{
	while (!ioctl((long)fd, KVM_RUN, 0) || errno == EINTR)
		;
	return NULL;
}

static pthread_t run_in_background(int fd)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, keep_running, (void *)(long)fd))
		die("pthread_create");
	return thread;
}

static unsigned long turns;
extern const char spin_begin[], spin_end[], halt_end[];

static void spin(void)
{
	asm volatile(
		"movabs %[mark], %%rbx\n\t"
		"spin_begin: incq %[turns]\n\t"
		"jmp spin_begin\n\t"
		"spin_end:"
		: [turns] "+m"(turns)
		: [mark] "i"(MARK)
		: "rbx");
}

static void expect_spinning(int fd, u32 index)
{
	look(fd, index);
	expect_eq(seen.regs.rbx, MARK);
	expect(seen.regs.rip >= (u64)spin_begin && seen.regs.rip < (u64)spin_end);
	expect_eq(seen.flags, PITH_INSPECT_IN_RUN | PITH_INSPECT_LAPIC);
}

static void wait_for_turns(void)
{
	unsigned long before = READ(turns);

	while (READ(turns) == before)
		usleep(1000);
}

static void runs(void)
{
	struct machine m = machine_create(1, WITH_CHIPS);
	int fd = open_inspection(m.vm);
	unsigned int i;

	machine_start(&m, 0, spin);
	run_in_background(m.vcpu[0].fd);
	wait_for_turns();
	for (i = 0; i < STORM; i++)
		expect_spinning(fd, 0);
	wait_for_turns();
}

/* The client comes and goes all the time: whether the state is read by its thread or ours, it is there. */
static void comes_and_goes(void)
{
	struct guest *g = guest_create(MODE_LONG);
	int fd = open_inspection(g->vm);
	unsigned int i;

	guest_load(g, CODE64("movabs $0x1122334455667788, %rbx; 1: out %al, $0x80; jmp 1b"));
	guest_start(g);
	run_in_background(g->vcpu);
	for (i = 0; i < STORM; i++) {
		look(fd, 0);
		expect_eq(seen.regs.rbx, MARK);
		expect(seen.regs.rip >= GUEST_CODE + 10 && seen.regs.rip <= GUEST_CODE + 12);
	}
}

static unsigned long woken;

static void halt(void)
{
	asm volatile(
		"movabs %[mark], %%rbx\n\t"
		"1: hlt\n\t"
		"halt_end: incq %[woken]\n\t"
		"jmp 1b"
		: [woken] "+m"(woken)
		: [mark] "i"(MARK)
		: "rbx");
}

/* To be looked at does not end a halt, nor the wait for a SIPI. */
static void sleeps(void)
{
	struct machine m = machine_create(2, WITH_CHIPS);
	struct kvm_mp_state waits = { KVM_MP_STATE_UNINITIALIZED };
	int fd = open_inspection(m.vm);
	unsigned int i;

	expect_errno(ioctl(m.vcpu[1].fd, KVM_SET_MP_STATE, &waits), 0);
	machine_start(&m, 0, halt);
	run_in_background(m.vcpu[0].fd);
	run_in_background(m.vcpu[1].fd);
	do
		look(fd, 0);
	while (seen.mp_state != KVM_MP_STATE_HALTED);
	for (i = 0; i < STORM; i++) {
		look(fd, 0);
		expect_eq(seen.mp_state, KVM_MP_STATE_HALTED);
		expect_eq(seen.regs.rbx, MARK);
		expect_eq(seen.regs.rip, (u64)halt_end);
		look(fd, 1);
		expect_eq(seen.id, 1);
		expect_eq(seen.mp_state, KVM_MP_STATE_UNINITIALIZED);
	}
	expect_eq(READ(woken), 0);
}

/* -- memory ------------------------------------------------------------------------------------------------------ */

#define HIGH_SLOT 7
#define HIGH_GPA 0x40000000ul

static struct pith_inspect_page look_at_page(int fd, u64 gpa)
{
	struct pith_inspect_page page = { .gpa = gpa, .flags = ~0u, .host = ~0ul };

	expect_errno(ioctl(fd, PITH_INSPECT_PAGE, &page), 0);
	return page;
}

static void slots(void)
{
	struct guest *g = guest_create(MODE_LONG);
	struct pith_inspect_slot slot = { .gpa = GUEST_HIGH };
	int fd = open_inspection(g->vm);
	void *memory = pages(2 * PAGE);

	guest_add_memory(g, HIGH_SLOT, HIGH_GPA, memory, 2 * PAGE, KVM_MEM_READONLY);
	expect_errno(ioctl(fd, PITH_INSPECT_SLOT, &slot), 0);
	expect(slot.gpa <= GUEST_HIGH && slot.gpa + slot.size == GUEST_MEMORY_SIZE);
	expect_eq(slot.userspace_addr - slot.gpa, (u64)g->memory);
	slot.gpa += slot.size;
	expect_errno(ioctl(fd, PITH_INSPECT_SLOT, &slot), 0);
	expect_eq(slot.gpa, HIGH_GPA);
	expect_eq(slot.size, 2 * PAGE);
	expect_eq(slot.userspace_addr, (u64)memory);
	expect_eq(slot.slot, HIGH_SLOT);
	expect_eq(slot.flags, KVM_MEM_READONLY);
	slot.gpa += slot.size - 1;
	expect_errno(ioctl(fd, PITH_INSPECT_SLOT, &slot), 0);
	slot.gpa += slot.size;
	expect_errno(ioctl(fd, PITH_INSPECT_SLOT, &slot), ENOENT);
	slot.gpa = ~0ul;
	expect_errno(ioctl(fd, PITH_INSPECT_SLOT, &slot), ENOENT);

	context("of system-management mode");
	guest_add_memory(g, 1 << 16 | 2, GUEST_HOLE, memory, PAGE, 0);
	slot.gpa = HIGH_GPA + 2 * PAGE;
	expect_errno(ioctl(fd, PITH_INSPECT_SLOT, &slot), 0);
	expect_eq(slot.gpa, PITH_INSPECT_SLOT_SMM | GUEST_HOLE);
	expect_eq(slot.slot, 1 << 16 | 2);
}

/* What the guest has touched is mapped, as it has touched it; what it has not, is not. */
static void second_stage(void)
{
	struct guest *g = guest_create(MODE_LONG);
	int fd = open_inspection(g->vm);
	struct pith_inspect_page page;
	u8 *memory = pages(4 * PAGE);

	guest_add_memory(g, HIGH_SLOT, GUEST_MEMORY_SIZE, memory, 4 * PAGE, 0);
	guest_load(g, CODE64("mov (%rdi), %al; mov %al, 4096(%rdi)"));
	g->regs.rdi = GUEST_MEMORY_SIZE;
	guest_start(g);
	expect_end(g);
	page = look_at_page(fd, GUEST_MEMORY_SIZE + PAGE + 8);
	expect_eq(page.size, PAGE);
	expect_eq(page.level, 1);
	expect(page.flags & PITH_PAGE_READ);
	expect(page.flags & PITH_PAGE_WRITE);
	expect(page.flags & PITH_PAGE_EXEC);
	expect(page.host && page.host % PAGE == 8 && page.entry);
	expect_eq(look_at_page(fd, GUEST_MEMORY_SIZE).size, PAGE);
	page = look_at_page(fd, GUEST_MEMORY_SIZE + 3 * PAGE);
	expect_eq(page.size, 0);
	expect_eq(page.flags, 0);
	expect_eq(page.host, 0);
	expect_eq(look_at_page(fd, 1ul << 50).size, 0);
	expect_eq(look_at_page(fd, ~0ul).size, 0);
	/* The host takes a page away: it is mapped no longer. */
	expect(!madvise(memory + PAGE, PAGE, MADV_DONTNEED));
	expect_eq(look_at_page(fd, GUEST_MEMORY_SIZE + PAGE).size, 0);
}

/* -- who may ----------------------------------------------------------------------------------------------------- */

/* In a process of its own: its exit status is the answer's errno. */
static int in_child(int (*ask)(int arg), int arg)
{
	int status = 0;
	pid_t pid = fork();

	if (!pid)
		_exit(ask(arg) < 0 ? errno : 0);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		die("a child");
	return WEXITSTATUS(status);
}

static int become_nobody(void)
{
	return setgid(NOBODY) || setuid(NOBODY) ? -1 : 0;
}

static int inspect_vm(int vm)
{
	struct pith_inspect_vm state;
	int fd = ioctl(vm, PITH_INSPECT, 0);

	return fd < 0 ? fd : ioctl(fd, PITH_INSPECT_VM, &state);
}

static int inspect_as_nobody(int vm)
{
	return become_nobody() ? -1 : inspect_vm(vm);
}

/* As pith inspect does it: the kernel asks whether we may trace the process. */
static int steal(int vm)
{
	int pidfd = syscall(SYS_pidfd_open, getppid(), 0);

	return pidfd < 0 ? pidfd : syscall(SYS_pidfd_getfd, pidfd, vm, 0);
}

static int inspect_stolen(int vm)
{
	int stolen = steal(vm);

	close(vm);
	return stolen < 0 ? stolen : inspect_vm(stolen);
}

static int steal_as_nobody(int vm)
{
	return become_nobody() ? -1 : steal(vm);
}

static int use_vm(int vm)
{
	return ioctl(vm, KVM_CHECK_EXTENSION, KVM_CAP_IRQCHIP);
}

static int drop_capability(unsigned int number)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &header, data))
		return -1;
	data[0].effective &= ~(1u << number);
	return syscall(SYS_capset, &header, data);
}

/* Who is not the host's administrator sees nothing of its addresses. */
static void look_without_capability(int fd)
{
	struct pith_inspect_page page;

	page = look_at_page(fd, GUEST_CODE);
	expect(page.entry && page.host);
	expect(!drop_capability(CAP_SYS_ADMIN));
	page = look_at_page(fd, GUEST_CODE);
	expect(page.size && page.flags);
	expect_eq(page.entry, 0);
	expect_eq(page.host, 0);
	look(fd, 0);
	expect_eq(seen.nr_fields, 0);
	expect_eq(seen.regs.rbx, MARK);
}

static void permissions(void)
{
	struct guest *g = guest_create(MODE_LONG);

	guest_load(g, CODE64("movabs $0x1122334455667788, %rbx; 1: out %al, $0x80; jmp 1b"));
	guest_start(g);
	context("a child");
	expect_eq(in_child(inspect_vm, g->vm), 0);
	expect_eq(in_child(use_vm, g->vm), EIO);
	context("another process, by pidfd_getfd");
	expect_eq(in_child(inspect_stolen, g->vm), 0);
	context("another user");
	expect_eq(in_child(inspect_as_nobody, g->vm), EPERM);
	expect_eq(in_child(steal_as_nobody, g->vm), EPERM);
	context("without CAP_SYS_ADMIN");
	guest_run(g); /* the forks have taken its pages from the tables */
	look_without_capability(open_inspection(g->vm));
}

static void bad_input(void)
{
	struct guest *g = guest_create(MODE_LONG);
	int fd = open_inspection(g->vm);
	struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_IOAPIC };
	struct kvm_regs regs;

	memset(&seen, 0, sizeof(seen));
	seen.index = 1;
	expect_errno(ioctl(fd, PITH_INSPECT_VCPU, &seen), ENOENT);
	seen.index = ~0u;
	expect_errno(ioctl(fd, PITH_INSPECT_VCPU, &seen), ENOENT);
	expect_errno(ioctl(fd, PITH_INSPECT_VCPU, 1), EFAULT);
	expect_errno(ioctl(fd, PITH_INSPECT_VM, NULL), EFAULT);
	expect_errno(ioctl(fd, PITH_INSPECT_SLOT, -1), EFAULT);
	expect_errno(ioctl(fd, PITH_INSPECT_PAGE, -1), EFAULT);
	expect_errno(ioctl(fd, KVM_GET_IRQCHIP, &chip), ENXIO);
	expect_errno(ioctl(fd, KVM_GET_REGS, &regs), ENOTTY);
	expect_errno(ioctl(fd, KVM_CREATE_VCPU, 1), ENOTTY);
	expect_errno(ioctl(fd, PITH_INSPECT, 0), ENOTTY);
	expect_errno(read(fd, &regs, 1), EINVAL);
}

/* -- dying ------------------------------------------------------------------------------------------------------- */

static _Noreturn void inspect_for_ever(int fd)
{
	for (;;)
		look(fd, 0);
}

/* An inspector that is killed at any moment leaves the vCPU as it was. */
static void inspector_dies(void)
{
	struct machine m = machine_create(1, WITH_CHIPS);
	int fd = open_inspection(m.vm), i, status;
	pid_t pid;

	machine_start(&m, 0, spin);
	run_in_background(m.vcpu[0].fd);
	wait_for_turns();
	for (i = 0; i < 20; i++) {
		pid = fork();
		if (!pid)
			inspect_for_ever(fd);
		usleep(1000 + 500 * i);
		kill(pid, SIGKILL);
		expect(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
		expect_spinning(fd, 0);
		wait_for_turns();
	}
}

/* In a child: a client whose memory says where it is, and which gives us its inspection file. */
static void be_client(int socket)
{
	struct machine m = machine_create(1, WITH_CHIPS);
	int vm = m.vm;

	machine_start(&m, 0, spin);
	run_in_background(m.vcpu[0].fd);
	wait_for_turns();
	if (write(socket, &vm, sizeof(vm)) != sizeof(vm))
		_exit(1);
	pause();
}

/* The client is gone, its memory with it; its VM tells what was, as long as somebody holds on to it. */
static void client_dies(void)
{
	struct pith_inspect_page page;
	int pipes[2], vm, stolen, fd, i, status;
	pid_t pid, inspectors[4];

	expect(!pipe(pipes));
	pid = fork();
	if (!pid)
		be_client(pipes[1]);
	if (read(pipes[0], &vm, sizeof(vm)) != sizeof(vm))
		die("no client");
	stolen = syscall(SYS_pidfd_getfd, syscall(SYS_pidfd_open, pid, 0), vm, 0);
	if (stolen < 0)
		die("pidfd_getfd");
	fd = open_inspection(stolen);
	close(stolen);
	expect_spinning(fd, 0);
	page = look_at_page(fd, (u64)spin_begin);
	expect(page.size);
	for (i = 0; i < 4; i++) {
		inspectors[i] = fork();
		if (!inspectors[i])
			inspect_for_ever(fd);
	}
	usleep(20000);
	kill(pid, SIGKILL);
	expect(waitpid(pid, &status, 0) == pid);
	usleep(20000);
	for (i = 0; i < 4; i++) {
		expect_eq(waitpid(inspectors[i], &status, WNOHANG), 0);
		kill(inspectors[i], SIGKILL);
		waitpid(inspectors[i], &status, 0);
	}
	look(fd, 0);
	expect_eq(seen.regs.rbx, MARK);
	expect_eq(seen.flags, PITH_INSPECT_LAPIC);
	expect_eq(look_at_page(fd, (u64)spin_begin).size, 0);
}

static const struct test tests[] = {
	{ "a vCPU that stands still", stands_still },
	{ "one that runs", runs },
	{ "one whose client comes and goes", comes_and_goes },
	{ "one that halts, one that waits for SIPI", sleeps },
	{ "slots", slots },
	{ "second-stage mappings", second_stage },
	{ "who may see what", permissions },
	{ "bad input", bad_input },
	{ "inspectors that are killed", inspector_dies },
	{ "a client that is killed", client_dies },
};

KTAP_MAIN(tests)
