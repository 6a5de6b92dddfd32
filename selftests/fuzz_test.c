// SPDX-License-Identifier: GPL-2.0
/*
 * fuzz_test - calls at random, made from the ABI's table: of random numbers, of numbers that are at the edge of something,
 * and of valid state with a few bytes changed. First by one thread, the same calls each time; then by sixteen against one VM,
 * in a process that is killed at any moment. Whatever became of it, another VM is fine. (That the kernel had nothing to
 * complain of is looked at from outside.) The second test lasts half an hour with LONG=1 in the environment, N seconds with
 * LONG=N. Where the kernel has kcov it keeps the calls that reached code, or a way through it, that none had before, and
 * half of its calls go on from those.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "calls.h"
#include "corpus.h"
#include "kcov.h"

#define NR_THREADS 16
#define NR_RUNNERS 4
#define NR_VCPUS 4

#define KEPT_BYTES (PAGE + 64)

/* A call: what it takes to make it again. */
struct kept {
	u32 call;	      /* in calls[] */
	unsigned long number; /* the argument where that is no pointer */
	u8 bytes[KEPT_BYTES]; /* where it is one: what is there */
};

/* Who makes calls: a thread. */
struct fuzzer {
	pthread_t thread;
	struct guest *g;
	const int *vcpus;	     /* NR_VCPUS */
	struct kvm_run *const *runs; /* theirs */
	u64 random;
	u64 *trace;
	unsigned int vcpu; /* what the next call is for, where it is for one */
	struct kept next;
	u8 area[4 * PAGE];
};

/* With a kernel that tells what a call has reached: what was reached so far, and the calls that were the first there. */
static struct coverage *coverage;
static struct corpus *corpus;

/* A page to point to, and behind it none. At one address in all processes, for the calls that are kept. */
static u8 *scratch;

static u64 number(struct fuzzer *f)
{
	f->random = f->random * 6364136223846793005ull + 1442695040888963407ull;
	return f->random >> 20;
}

static u64 edge(struct fuzzer *f)
{
	static const u64 numbers[] = { 0,	  1,	     2,		 3,	     7,		0xff,
				       0xfff,	  0x1000,    0x80000000, 0xffffffff, 1ul << 32, 1ul << 47,
				       1ul << 52, 1ul << 63, -1ul,	 -PAGE };

	u64 i = number(f) % (ARRAY_SIZE(numbers) + 1);

	return i < ARRAY_SIZE(numbers) ? numbers[i] : (u64)scratch;
}

/* A struct of random numbers, or one with a few of them. */
static void change(struct fuzzer *f, u32 size)
{
	unsigned int i, count = 1 + number(f) % 8;
	u64 value;

	if (number(f) % 4 == 0)
		count = size;
	for (i = 0; i < count; i++) {
		value = number(f) % 2 ? edge(f) : number(f);
		memcpy(f->area + number(f) % size, &value, 1 << number(f) % 4);
	}
}

static int its_file(struct fuzzer *f, const struct call *call)
{
	return call->file == VCPU ? f->vcpus[f->vcpu] : file_of(f->g, call->file);
}

/* The state that a SET call could take: what its GET gives. */
static void get_valid(struct fuzzer *f, const struct call *set)
{
	unsigned int i;

	if (strncmp(set->name, "KVM_SET_", 8))
		return;
	for (i = 0; i < nr_calls; i++)
		if (calls[i].file == set->file && !calls[i].raw && !strcmp(calls[i].name + 8, set->name + 8) &&
		    !strncmp(calls[i].name, "KVM_GET_", 8))
			ioctl(its_file(f, set), calls[i].cmd, f->area);
}

/*
 * Slots may show the guest nothing of this program but its own memory. QEMU aborts for a task register without a TSS.
 */
static void tame(struct fuzzer *f, const struct call *call)
{
	struct kvm_userspace_memory_region *region = (void *)f->area;
	struct kvm_sregs *sregs = (void *)f->area;

	if ((call->cmd == KVM_SET_SREGS || call->cmd == KVM_SET_SREGS2) && emulated_by_qemu())
		sregs->tr = guest_sregs(f->g).tr;
	if (call->cmd != KVM_SET_USER_MEMORY_REGION)
		return;
	if (number(f) % 8)
		region->userspace_addr = (u64)f->g->memory + (number(f) % 4 ? 0 : MiB);
	else
		region->userspace_addr |= 1ul << 46;
}

static bool makes_file(u32 cmd)
{
	return cmd == KVM_CREATE_VM || cmd == KVM_CREATE_VCPU || cmd == KVM_GET_STATS_FD || cmd == PITH_INSPECT;
}

static void make_call(struct fuzzer *f)
{
	const struct call *call = &calls[f->next.call];
	unsigned long argument = call_takes_pointer(call) ? (unsigned long)f->area : f->next.number;
	int fd;

	tame(f, call);
	memcpy(f->next.bytes, f->area, KEPT_BYTES);
	trace_begin(f->trace);
	fd = ioctl(its_file(f, call), call->cmd, argument);
	if (trace_end(f->trace, coverage))
		corpus_keep(corpus, &f->next);
	if (fd > 2 && makes_file(call->cmd))
		close(fd);
}

static u32 argument_size(const struct call *call)
{
	return _IOC_SIZE(call->cmd) + 64;
}

static void invent_call(struct fuzzer *f)
{
	const struct call *call;

	f->next.call = number(f) % nr_calls;
	call = &calls[f->next.call];
	f->next.number = call->cmd == KVM_RUN ? 0 : edge(f);
	memset(f->area, 0, sizeof(f->area));
	if (number(f) % 2)
		get_valid(f, call);
	change(f, argument_size(call));
}

/* One of those that reached something, as it was or changed. False: there is none yet. */
static bool recall_call(struct fuzzer *f)
{
	const struct kept *kept = corpus_pick(corpus, number(f));

	if (!kept)
		return false;
	f->next = *kept;
	memset(f->area, 0, sizeof(f->area));
	memcpy(f->area, kept->bytes, KEPT_BYTES);
	if (number(f) % 4 == 0)
		return true;
	change(f, argument_size(&calls[kept->call]));
	if (number(f) % 4 == 0 && calls[kept->call].cmd != KVM_RUN)
		f->next.number = edge(f);
	return true;
}

/* Up to four in a row, for one vCPU. Half of them go on from what was reached before. */
static void few_calls(struct fuzzer *f)
{
	unsigned int i, count = 1 + number(f) % 4;
	bool again = corpus && number(f) % 2;

	f->vcpu = number(f) % NR_VCPUS;
	for (i = 0; i < count; i++) {
		if (!again || !recall_call(f))
			invent_call(f);
		make_call(f);
	}
}

/* All but the registers, whose SET calls are called anyway: what exits wait for an answer in, among others. */
static void change_run(struct fuzzer *f)
{
	u64 value = number(f) % 2 ? edge(f) : number(f);
	u32 size = offsetof(struct kvm_run, kvm_valid_regs) - sizeof(value);

	memcpy((u8 *)f->runs[f->vcpu] + number(f) % size, &value, 1 << number(f) % 4);
}

static void random_run(struct fuzzer *f)
{
	f->vcpu = number(f) % NR_VCPUS;
	if (number(f) % 4 == 0)
		change_run(f);
	/* Else it would stay, and no run be one any more. */
	f->runs[f->vcpu]->immediate_exit = number(f) % 16 == 0;
	trace_begin(f->trace);
	ioctl(f->vcpus[f->vcpu], KVM_RUN, 0);
	trace_end(f->trace, coverage);
}

static void make_scratch(void)
{
	scratch = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (scratch == MAP_FAILED || mprotect(scratch + PAGE, PAGE, PROT_NONE))
		die("memory");
}

/* Exits of several kinds, to the client and not. */
static void load(struct guest *g)
{
	guest_load(g, CODE64("1: out %al, $0x10; mov %eax, 0x20000; cpuid; mov 0xa0000, %eax; jmp 1b"));
	if (ioctl(g->vcpu, KVM_SET_REGS, &g->regs))
		die("KVM_SET_REGS");
}

static void expect_another_is_fine(void)
{
	struct guest *g = machine(WITH_VCPU);

	guest_load(g, CODE64("nop"));
	while (ioctl(g->vcpu, KVM_SET_REGS, &g->regs) || (ioctl(g->vcpu, KVM_RUN, 0) && errno == EINTR))
		;
	expect_eq(g->run->exit_reason, KVM_EXIT_HLT);
	guest_destroy(g);
}

/* -- one thread -------------------------------------------------------------------------------------------------- */

#define SEEDS 20
#define CALLS_EACH 500

static void calls_of(unsigned int seed)
{
	static struct fuzzer f;
	struct guest *g = machine(seed % 2 ? WITH_VCPU : WITH_ALL);
	const int vcpus[NR_VCPUS] = { g->vcpu, g->vcpu, g->vcpu, g->vcpu };
	unsigned int i;

	f = (struct fuzzer){ .g = g, .vcpus = vcpus, .random = seed };
	load(g);
	start_timer();
	for (i = 0; i < CALLS_EACH; i++) {
		f.vcpu = number(&f) % NR_VCPUS;
		invent_call(&f);
		make_call(&f);
		if (i % 4 == 0)
			ioctl(g->vcpu, KVM_RUN, 0);
	}
}

/* A fresh process each, for the timer, and because a machine that has got lost makes no good start. */
static void one_thread(void)
{
	unsigned int i;
	int status;
	pid_t pid;

	make_scratch();
	for (i = 0; i < SEEDS; i++) {
		pid = fork();
		if (!pid) {
			calls_of(i);
			exit(0);
		}
		if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status))
			fail("seed %u: status %#x", i, status);
		expect_another_is_fine();
	}
}

/* -- sixteen ----------------------------------------------------------------------------------------------------- */

static void begin(struct fuzzer *f)
{
	start_timer();
	if (coverage)
		f->trace = trace_open();
}

static void *call_on(void *fuzzer)
{
	begin(fuzzer);
	for (;;)
		few_calls(fuzzer);
	return NULL;
}

static void *run_on(void *fuzzer)
{
	begin(fuzzer);
	for (;;)
		random_run(fuzzer);
	return NULL;
}

/* More vCPUs, in the state of the first. */
static void add_vcpus(struct guest *g, int *vcpus, struct kvm_run **runs)
{
	struct kvm_cpuid2 *cpuid = supported_cpuid(g->device);
	struct kvm_sregs sregs = guest_sregs(g);
	unsigned int i;

	vcpus[0] = g->vcpu;
	runs[0] = g->run;
	for (i = 1; i < NR_VCPUS; i++) {
		vcpus[i] = ioctl(g->vm, KVM_CREATE_VCPU, i);
		if (vcpus[i] < 0 || ioctl(vcpus[i], KVM_SET_CPUID2, cpuid) || ioctl(vcpus[i], KVM_SET_SREGS, &sregs) ||
		    ioctl(vcpus[i], KVM_SET_REGS, &g->regs))
			die("vCPU %u", i);
		runs[i] = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, vcpus[i], 0);
		if (runs[i] == MAP_FAILED)
			die("vCPU %u", i);
	}
}

/* Until it is killed. */
static void sixteen_against_one(u64 seed)
{
	static struct fuzzer fuzzers[NR_THREADS];
	static struct kvm_run *runs[NR_VCPUS];
	static int vcpus[NR_VCPUS];
	struct guest *g = machine(seed % 2 ? WITH_VCPU : WITH_ALL);
	unsigned int i;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	load(g);
	add_vcpus(g, vcpus, runs);
	for (i = 0; i < NR_THREADS; i++) {
		fuzzers[i] = (struct fuzzer){ .g = g, .vcpus = vcpus, .runs = runs, .random = seed * NR_THREADS + i };
		if (pthread_create(&fuzzers[i].thread, NULL, i < NR_RUNNERS ? run_on : call_on, &fuzzers[i]))
			die("pthread_create");
	}
	pause();
}

static void tell_coverage(void)
{
	u32 blocks, edges;
	u64 calls;

	coverage_count(coverage, &calls, &blocks, &edges);
	diag("%lu calls, which reached %u blocks and %u edges; %u calls are kept", calls, blocks, edges,
	     corpus_count(corpus));
}

static void sixteen_threads(void)
{
	unsigned int seconds = is_long() ? long_seconds(1800) : 8;
	struct fuzzer f = { .random = is_long() ? time(NULL) : 1 };
	time_t end = time(NULL) + seconds;
	unsigned int rounds = 0;
	int status;
	pid_t pid;

	make_scratch();
	coverage = coverage_create();
	if (coverage)
		corpus = corpus_create(sizeof(struct kept));
	diag("for %u seconds, from seed %lu%s", seconds, f.random, coverage ? ", guided by kcov" : "");
	while (time(NULL) < end) {
		u64 seed = number(&f);

		pid = fork();
		if (!pid)
			sixteen_against_one(seed);
		usleep(1000 * (50 + number(&f) % 3000));
		kill(pid, SIGKILL);
		/* If it died before, then of what the test has done to itself. */
		if (waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
			fail("round %u: status %#x", rounds, status);
		expect_another_is_fine();
		rounds++;
	}
	diag("%u rounds", rounds);
	if (coverage)
		tell_coverage();
}

static const struct test tests[] = {
	{ "ten thousand calls, one after the other", one_thread },
	{ "sixteen threads, killed at any moment", sixteen_threads },
};

KTAP_MAIN(tests)
