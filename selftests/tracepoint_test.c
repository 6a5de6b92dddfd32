// SPDX-License-Identifier: GPL-2.0
/*
 * tracepoint_test - the module's trace events: that they have the names and fields of KVM's (include/trace/events/kvm.h,
 * arch/x86/kvm/trace.h), and tell of a guest what it has done.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "guest.h"

#define TRACING "/sys/kernel/tracing/"

static char trace[1 << 20];

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_TRUNC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		die("%s", path);
	close(fd);
}

static const char *read_file(const char *path)
{
	int fd = open(path, O_RDONLY);
	size_t size = 0;
	ssize_t n;

	if (fd < 0)
		die("%s", path);
	while ((n = read(fd, trace + size, sizeof(trace) - 1 - size)) > 0)
		size += n;
	close(fd);
	trace[size] = '\0';
	return trace;
}

static void listen_to(const char *event, bool on)
{
	char path[128];

	snprintf(path, sizeof(path), TRACING "events/pith/%senable", event);
	write_file(path, on ? "1" : "0");
}

static void need_tracing(void)
{
	if (access(TRACING "events/pith", F_OK))
		skip("this kernel has no tracing");
	write_file(TRACING "trace", "");
}

static void fields(void)
{
	static const struct {
		const char *event, *fields[8];
	} rows[] = {
		{ "kvm_entry", { "unsigned int vcpu_id", "unsigned long rip" } },
		{ "kvm_exit",
		  { "unsigned int exit_reason", "unsigned long guest_rip", "u32 isa", "u64 info1", "u64 info2",
		    "u32 intr_info", "u32 error_code", "unsigned int vcpu_id" } },
		{ "kvm_userspace_exit", { "reason", "int errno" } },
		{ "kvm_fpu", { "u32 load" } },
		{ "kvm_pio",
		  { "unsigned int rw", "unsigned int port", "unsigned int size", "unsigned int count",
		    "unsigned int val" } },
		{ "kvm_mmio", { "u32 type", "u32 len", "u64 gpa", "u64 val" } },
		{ "kvm_msr", { "write", "u32 ecx", "u64 data", "u8 exception" } },
		{ "kvm_cpuid",
		  { "unsigned int function", "unsigned int index", "unsigned long rax", "unsigned long rbx",
		    "unsigned long rcx", "unsigned long rdx", "bool found" } },
		{ "kvm_page_fault",
		  { "unsigned int vcpu_id", "unsigned long guest_rip", "u64 fault_address", "u64 error_code" } },
		{ "kvm_inj_virq", { "unsigned int vector", "bool soft", "bool reinjected" } },
	};
	char path[128], field[64];
	unsigned int i, k;

	need_tracing();
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		snprintf(path, sizeof(path), TRACING "events/pith/%s/format", rows[i].event);
		read_file(path);
		for (k = 0; k < ARRAY_SIZE(rows[i].fields) && rows[i].fields[k]; k++) {
			context("%s: %s", rows[i].event, rows[i].fields[k]);
			snprintf(field, sizeof(field), "%s;", rows[i].fields[k]);
			expect(strstr(trace, field));
		}
	}
}

/* The next place of a text in the trace, behind *at. */
static void expect_next(const char **at, const char *text)
{
	const char *found = strcasestr(*at, text); /* reasons are in capitals on Intel */

	if (!found) {
		fail("\"%s\" is not there, or not behind what comes before it", text);
		return;
	}
	*at = found + strlen(text);
}

static void tells(void)
{
	struct guest *g;
	const char *at;

	need_tracing();
	g = guest_create(MODE_LONG);
	guest_load(g,
		   CODE64("mov $0x80000000, %eax; mov $7, %ecx; cpuid; mov $0x5a, %eax; out %al, $0x80; in $0x81, %al;"
			  "mov $0x2ff, %ecx; mov $6, %eax; xor %edx, %edx; wrmsr; rdmsr;"
			  "mov $0x7654321, %eax; mov %eax, (%rdi); mov 4(%rdi), %eax"));
	g->regs.rdi = GUEST_HOLE;
	listen_to("", true);
	guest_start(g);
	expect_exit(g, KVM_EXIT_IO);
	guest_run(g);
	expect_exit(g, KVM_EXIT_IO);
	*(u8 *)guest_io_data(g) = 0x33;
	guest_run(g);
	expect_exit(g, KVM_EXIT_MMIO);
	guest_run(g);
	expect_exit(g, KVM_EXIT_MMIO);
	*(u32 *)g->run->mmio.data = 0x89abcdef;
	guest_run(g);
	expect_end(g);
	listen_to("", false);

	at = read_file(TRACING "trace");
	expect_next(&at, "kvm_fpu: load");
	expect_next(&at, "kvm_entry: vcpu 0, rip 0x8000");
	expect_next(&at, "kvm_exit: vcpu 0 reason CPUID rip 0x800a");
	at = trace;
	expect_next(&at, "kvm_cpuid: func 80000000 idx 7 rax 8");
	expect_next(&at, "kvm_pio: pio_write at 0x80 size 1 count 1 val 0x5a");
	expect_next(&at, "kvm_fpu: unload");
	expect_next(&at, "kvm_userspace_exit: reason KVM_EXIT_IO (2)");
	expect_next(&at, "kvm_pio: pio_read at 0x81 size 1 count 1 val 0x33");
	expect_next(&at, "kvm_msr: msr_write 2ff = 0x6");
	expect_next(&at, "kvm_msr: msr_read 2ff = 0x6");
	expect_next(&at, "kvm_page_fault: vcpu 0 rip 0x");
	expect_next(&at, "address 0x00000000000a0000 error_code 0x2");
	expect_next(&at, "kvm_mmio: mmio write len 4 gpa 0xa0000 val 0x7654321");
	expect_next(&at, "kvm_userspace_exit: reason KVM_EXIT_MMIO (6)");
	expect_next(&at, "kvm_mmio: mmio unsatisfied-read len 4 gpa 0xa0004");
	expect_next(&at, "kvm_mmio: mmio read len 4 gpa 0xa0004 val 0x89abcdef");
	expect_next(&at, "kvm_exit: vcpu 0 reason ");
	if (failed())
		for (at = trace; at && *at; at = strchr(at, '\n'), at = at ? at + 1 : NULL)
			diag("%.*s", (int)strcspn(at, "\n"), at);
}

static void injected(void)
{
	struct kvm_interrupt interrupt = { .irq = 0x40 };
	struct guest *g;
	const char *at;

	need_tracing();
	g = guest_create(MODE_LONG);
	guest_load(g, CODE64("sti; nop; 1: jmp 1b"));
	expect_errno(ioctl(g->vcpu, KVM_INTERRUPT, &interrupt), 0);
	listen_to("kvm_inj_virq/", true);
	guest_start(g);
	listen_to("kvm_inj_virq/", false);
	expect_exit(g, GUEST_TRAP);
	at = read_file(TRACING "trace");
	expect_next(&at, "kvm_inj_virq: IRQ 0x40");
}

static volatile bool stop;

static const char *const toggled[] = { "kvm_entry/", "kvm_exit/", "kvm_fpu/", "kvm_userspace_exit/", "" };

static void *toggle(void *events)
{
	const char *const *event = events;
	unsigned int i;

	for (i = 0; !stop; i++)
		listen_to(event[i % ARRAY_SIZE(toggled)], i & 8);
	return NULL;
}

/* Switched on and off in any order while a guest runs, the guest does not notice. */
static void storm(void)
{
	struct guest *g;
	pthread_t other;
	unsigned int i;

	need_tracing();
	g = guest_create(MODE_LONG);
	if (pthread_create(&other, NULL, toggle, (void *)toggled))
		die("pthread_create");
	guest_load(g, CODE64("1: cpuid; out %al, $0x80; jmp 1b"));
	guest_start(g);
	for (i = 0; i < 2000; i++) {
		expect_exit(g, KVM_EXIT_IO);
		guest_run(g);
	}
	stop = true;
	pthread_join(other, NULL);
	listen_to("", false);
}

static const struct test tests[] = {
	{ "names and fields are KVM's", fields },
	{ "what a guest has done is told", tells },
	{ "an interrupt is told of", injected },
	{ "events come and go while a guest runs", storm },
};

KTAP_MAIN(tests)
