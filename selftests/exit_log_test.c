// SPDX-License-Identifier: GPL-2.0
/* exit_log_test - the exit log: what it says of exits, how it is switched and mapped. Source: uapi/pith.h. */
#include <cpuid.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest.h"
#include "pith.h"

#define NR 64
#define LOG_SIZE (PAGE + NR * sizeof(struct pith_exit_record))
#define PORT 0x80

/* SDM volume 3, appendix "VMX Basic Exit Reasons"; APM volume 2, appendix C, "SVM Intercept Exit Codes". */
enum { CPUID, PORT_IO, MEMORY, HALT, NR_REASONS };
static const u32 vmx_reasons[NR_REASONS] = { 10, 30, 48, 12 }, svm_reasons[NR_REASONS] = { 0x72, 0x7b, 0x400, 0x78 };

/* CPUID Fn8000_0001_ECX[SVM] */
static bool is_svm(void)
{
	u32 a, b, c = 0, d;

	__get_cpuid(0x80000001, &a, &b, &c, &d);
	return c & 4;
}

static u32 reason(unsigned int which)
{
	return is_svm() ? svm_reasons[which] : vmx_reasons[which];
}

static void *map_log(int vcpu, u64 size)
{
	void *log = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, PITH_EXIT_LOG_PAGE_OFFSET * PAGE);

	if (log == MAP_FAILED)
		die("mmap");
	return log;
}

static void set_log(struct guest *g, unsigned long nr)
{
	if (ioctl(g->vm, PITH_SET_EXIT_LOG, nr))
		die("PITH_SET_EXIT_LOG");
}

static struct pith_exit_log *open_log(struct guest *g)
{
	set_log(g, NR);
	return map_log(g->vcpu, LOG_SIZE);
}

static struct pith_exit_record *record_at(struct pith_exit_log *log, u64 n)
{
	return (struct pith_exit_record *)((u8 *)log + PAGE) + n % NR;
}

/* The next one from *n on that is no interrupt of the host's; NULL: none. */
static struct pith_exit_record *next_record(struct pith_exit_log *log, u64 *n, unsigned int which)
{
	for (; *n < log->head; ++*n)
		if (record_at(log, *n)->reason == reason(which))
			return record_at(log, (*n)++);
	fail("no more records, after %lu", *n);
	return NULL;
}

/* Whether the page at an address is there: the kernel is asked. */
static bool is_there(const void *address)
{
	bool there;
	int fd[2];

	if (pipe(fd))
		die("pipe");
	there = write(fd[1], address, 1) == 1;
	close(fd[0]);
	close(fd[1]);
	return there;
}

/* -- switching and mapping --------------------------------------------------------------------------------------- */

static void sizes(void)
{
	static const unsigned long bad[] = {
		1, 8, PITH_EXIT_LOG_MIN - 1, 17, 2 * PITH_EXIT_LOG_MAX, (1ul << 32) + 64, ~0ul,
	};
	struct guest *g = guest_create(MODE_LONG);
	unsigned int i;

	expect_errno(ioctl(g->vm, PITH_SET_EXIT_LOG, 0), 0);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		context("%#lx records", bad[i]);
		expect_errno(ioctl(g->vm, PITH_SET_EXIT_LOG, bad[i]), EINVAL);
	}
	context("%s", "");
	expect_errno(ioctl(g->vcpu, PITH_SET_EXIT_LOG, NR), EINVAL);
	expect_errno(ioctl(g->vm, PITH_SET_EXIT_LOG, NR), 0);
	expect_errno(ioctl(g->vm, PITH_SET_EXIT_LOG, NR), 0);
	expect_errno(ioctl(g->vm, PITH_SET_EXIT_LOG, 2 * NR), EBUSY);
	expect_errno(ioctl(g->vm, PITH_SET_EXIT_LOG, 0), 0);
	expect_errno(ioctl(g->vm, PITH_SET_EXIT_LOG, 2 * NR), EBUSY);
	expect_errno(ioctl(g->vm, PITH_SET_EXIT_LOG, NR), 0);
}

static void mapping(void)
{
	struct guest *g = guest_create(MODE_LONG);
	u8 *early = map_log(g->vcpu, 2 * LOG_SIZE);
	u8 *low = mmap(NULL, 8 * PAGE, PROT_READ, MAP_SHARED, g->vcpu, (PITH_EXIT_LOG_PAGE_OFFSET - 1) * PAGE);
	u64 size = (LOG_SIZE + PAGE - 1) / PAGE * PAGE;
	struct pith_exit_log *log;

	expect(!is_there(early));
	log = open_log(g);
	expect(is_there(early));
	expect(is_there(early + size - 1));
	expect(!is_there(early + size));
	expect(!is_there(low));
	expect(is_there(low + PAGE));
	expect_eq(log->nr_records, NR);
	expect_eq(log->record_size, sizeof(struct pith_exit_record));
	expect_eq(log->vcpu, 0);
	expect_eq(log->isa, is_svm() ? PITH_ISA_SVM : PITH_ISA_VMX);
	expect(log->tsc_khz > 0);
	((struct pith_exit_log *)early)->head = 5;
	expect_eq(log->head, 5);
}

/* The pages stay as long as they are mapped, whatever else is closed. */
static void outlives(void)
{
	struct guest *g = guest_create(MODE_LONG);
	struct pith_exit_log *log = open_log(g);

	guest_load(g, CODE64("cpuid; cpuid"));
	guest_start(g);
	expect_end(g);
	munmap(g->run, PAGE);
	close(g->vcpu);
	close(g->vm);
	close(g->device);
	expect(log->head >= 2);
	expect_eq(log->nr_records, NR);
}

/* -- what it says ------------------------------------------------------------------------------------------------ */

/* Each is behind the one before it. */
static void check_times(struct pith_exit_log *log)
{
	u64 n, end = 0;

	for (n = 0; n < log->head; n++) {
		const struct pith_exit_record *r = record_at(log, n);

		context("record %lu", n);
		expect(r->tsc >= end);
		expect(r->handled <= PITH_HANDLED_USER);
		if (r->handled != PITH_HANDLED_FAST)
			expect(r->user + r->idle <= r->ticks);
		end = r->tsc + r->ticks;
	}
	context("%s", "");
}

static void records(void)
{
	struct guest *g = guest_create(MODE_LONG);
	struct pith_exit_log *log = open_log(g);
	struct pith_exit_record *r;
	u64 n = 0;

	guest_load(g, CODE64("mov $0x80000000, %eax; mov $7, %ecx; cpuid; mov $0x5a, %eax; out %al, $0x80;"
			     "mov %al, (%rdi); mov $1, %eax; mov $2, %ecx; cpuid"));
	g->regs.rdi = GUEST_HOLE + 0x123;
	guest_start(g);
	expect_exit(g, KVM_EXIT_IO);
	guest_run(g);
	expect_exit(g, KVM_EXIT_MMIO);
	guest_run(g);
	expect_end(g);
	check_times(log);

	context("CPUID");
	r = next_record(log, &n, CPUID);
	expect(r && r->rip == GUEST_CODE + 10 && r->rax == 0x80000000 && r->rcx == 7);
	expect(r && r->ticks > 0);
	context("OUT");
	r = next_record(log, &n, PORT_IO);
	expect(r && r->rip == GUEST_CODE + 17 && r->info[0] >> 16 == PORT && (u8)r->rax == 0x5a);
	expect(r && r->handled == PITH_HANDLED_USER && r->user > 0 && r->user < r->ticks && !r->idle);
	context("a store to a device");
	n--;
	do
		r = next_record(log, &n, MEMORY);
	while (r && r->info[1] != GUEST_HOLE + 0x123);
	expect(r && r->rip == GUEST_CODE + 19 && r->handled == PITH_HANDLED_USER);
	context("the second CPUID");
	r = next_record(log, &n, CPUID);
	expect(r && r->rax == 1 && r->rcx == 2);
	/* That of HLT is not finished before the guest goes on. */
	expect(log->head < NR && record_at(log, log->head)->reason == reason(HALT));
}

/* The oldest ones go first, and it is known which are there. */
static void overwrites(void)
{
	struct guest *g = guest_create(MODE_LONG);
	struct pith_exit_log *log = open_log(g);
	u32 last = 0;
	u64 n;

	guest_load(g, CODE64("mov $1000, %esi; 1: mov %esi, %ecx; cpuid; dec %esi; jnz 1b"));
	guest_start(g);
	expect_end(g);
	expect(log->head >= 1000);
	for (n = log->head - 1; n > log->head - NR; n--) {
		const struct pith_exit_record *r = record_at(log, n);

		if (r->reason != reason(CPUID))
			continue;
		context("record %lu", n);
		expect_eq(r->rcx, ++last);
	}
	context("%s", "");
	expect(last > NR / 2);
}

static u64 run_cpuid(struct guest *g, struct pith_exit_log *log)
{
	u64 before = log->head;

	guest_load(g, CODE64("cpuid; cpuid; cpuid"));
	guest_start(g);
	expect_end(g);
	return log->head - before;
}

static void off_and_on(void)
{
	struct guest *g = guest_create(MODE_LONG);
	struct pith_exit_log *log = open_log(g);
	unsigned int i;

	for (i = 0; i < 3; i++) {
		context("round %u", i);
		set_log(g, NR);
		expect(run_cpuid(g, log) >= 3);
		set_log(g, 0);
		expect_eq(run_cpuid(g, log), 0);
	}
	context("again");
	set_log(g, NR);
	expect(run_cpuid(g, log) >= 3);
}

/* As do those that are there. */
static void later_vcpu(void)
{
	struct guest *g = guest_create_vm();
	struct pith_exit_log *log;

	set_log(g, NR);
	guest_create_vcpu(g);
	guest_set_mode(g, MODE_LONG, false);
	log = map_log(g->vcpu, LOG_SIZE);
	expect(run_cpuid(g, log) >= 3);
}

static volatile bool stop;

/* NMIs, as messages: a local APIC takes them even if it is off. */
static void *send_nmis(void *guest)
{
	struct kvm_msi nmi = { .address_lo = 0xfee00000, .data = 0x400 };
	struct guest *g = guest;

	while (!stop) {
		usleep(20000);
		ioctl(g->vm, KVM_SIGNAL_MSI, &nmi);
	}
	return NULL;
}

/* A vCPU that sleeps is idle, and not handling its exit. */
static void idle(void)
{
	struct guest *g = guest_create_vm();
	struct pith_exit_log *log;
	struct pith_exit_record *r;
	pthread_t other;
	u64 n = 0;

	expect_errno(ioctl(g->vm, KVM_CREATE_IRQCHIP, 0), 0);
	guest_create_vcpu(g);
	guest_set_mode(g, MODE_LONG, false);
	log = open_log(g);
	stop = false;
	if (pthread_create(&other, NULL, send_nmis, g))
		die("pthread_create");
	guest_load(g, CODE64("1: hlt; jmp 1b"));
	guest_start(g);
	expect_exit(g, GUEST_TRAP);
	guest_end_trap(g);
	guest_run(g);
	expect_exit(g, GUEST_TRAP);
	stop = true;
	pthread_join(other, NULL);
	r = next_record(log, &n, HALT);
	expect(r && r->handled == PITH_HANDLED_MODULE && !r->user && r->idle > r->ticks / 2 && r->idle < r->ticks);
	check_times(log);
}

/* -- clients that do it wrong ------------------------------------------------------------------------------------ */

static void *scribble(void *log)
{
	while (!stop)
		memset(log, 0xff, LOG_SIZE);
	return NULL;
}

static void *toggle(void *guest)
{
	unsigned int i;

	for (i = 0; !stop; i++)
		set_log(guest, i % 2 ? NR : 0);
	set_log(guest, NR);
	return NULL;
}

static void run_beside(void *(*thread)(void *), void *argument, struct guest *g)
{
	pthread_t other;
	unsigned int i;

	stop = false;
	if (pthread_create(&other, NULL, thread, argument))
		die("pthread_create");
	guest_load(g, CODE64("1: cpuid; out %al, $0x80; jmp 1b"));
	guest_start(g);
	/* Not more: in Bochs a CPU that fills memory leaves little to the other, and a minute is what a test has. */
	for (i = 0; i < 500; i++) {
		expect_exit(g, KVM_EXIT_IO);
		guest_run(g);
	}
	stop = true;
	pthread_join(other, NULL);
}

/* What the client writes to the ring leads the kernel nowhere: it goes on where it would have. */
static void garbage(void)
{
	struct guest *g = guest_create(MODE_LONG);
	struct pith_exit_log *log = open_log(g);
	unsigned int i, nr = 0;

	run_beside(scribble, log, g);
	memset(log, 0, LOG_SIZE);
	run_cpuid(g, log);
	expect(log->head >= 3 && log->head < NR);
	for (i = 0; i < NR; i++)
		nr += record_at(log, i)->reason == reason(CPUID);
	expect_eq(nr, 3);
}

static void storm(void)
{
	struct guest *g = guest_create(MODE_LONG);
	struct pith_exit_log *log = open_log(g);

	run_beside(toggle, g, g);
	expect(run_cpuid(g, log) >= 3);
}

static const struct test tests[] = {
	{ "how many records there can be", sizes },
	{ "what of it can be mapped", mapping },
	{ "the mapping, when all else is closed", outlives },
	{ "what the records say", records },
	{ "a vCPU that sleeps", idle },
	{ "records are overwritten, the oldest first", overwrites },
	{ "off and on again", off_and_on },
	{ "a vCPU that comes later", later_vcpu },
	{ "a client that writes to it", garbage },
	{ "switched on and off while the guest runs", storm },
};

KTAP_MAIN(tests)
