// SPDX-License-Identifier: GPL-2.0
/*
 * dirty_log_test - the dirty log against a model of it: what was written to since the page was last taken out of the log
 * is in it, and nothing else is, whatever is done to the slot in between.
 * Source: the kernel's Documentation/virt/kvm/api.rst, "KVM_GET_DIRTY_LOG", "KVM_CLEAR_DIRTY_LOG",
 * "KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2".
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "machine.h"

#define PAGE 4096ul
#define MiB (1ul << 20)
#define NPAGES 1500ul /* several large pages, and not a whole number of words */
#define WORDS ((NPAGES + 63) / 64)
#define SLOT 7
#define GPA 0x20000000ul
#define OTHER_GPA 0x28001000ul /* not aligned as the host's memory is */

#define GIVEN_PAGES 64

enum { DONE = 1, DO_WRITE = 1, DO_READ };

/* -- the guest ---------------------------------------------------------------------------------------------------- */

static struct {
	volatile u64 *base;
	unsigned int nr;
	bool write;
	u16 page[GIVEN_PAGES];
} given[MACHINE_VCPUS];

static volatile bool end;

/* Reads or writes the pages that the host names, as often as it runs. */
static void guest_obey(unsigned int vcpu)
{
	unsigned int i;
	u64 *at;

	for (;;) {
		for (i = 0; i < READ(given[vcpu].nr); i++) {
			at = (u64 *)given[vcpu].base + given[vcpu].page[i] * (PAGE / 8) + vcpu;
			if (READ(given[vcpu].write))
				READ(*at) = READ(*at) + 1;
			else
				(void)READ(*at);
		}
		sync_host(DONE);
	}
}

static void guest_obey_0(void)
{
	guest_obey(0);
}

static void guest_obey_1(void)
{
	guest_obey(1);
}

/* Writes to pages all over until told to stop. */
static void guest_scribble(unsigned int vcpu)
{
	u64 random = vcpu + 1;
	u64 *at;

	while (!end) {
		random = random * 6364136223846793005ul + 1442695040888963407ul;
		at = (u64 *)given[vcpu].base + (random >> 33) % NPAGES * (PAGE / 8) + vcpu;
		READ(*at) = READ(*at) + 1;
	}
	for (;;)
		sync_host(DONE);
}

static void guest_scribble_0(void)
{
	guest_scribble(0);
}

static void guest_scribble_1(void)
{
	guest_scribble(1);
}

/* -- the slot ----------------------------------------------------------------------------------------------------- */

static struct machine m;
static u8 *memory;
static u64 gpa, protect; /* of KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 */
static bool logged;
static unsigned long model[WORDS], seen[WORDS];

static bool manual(void)
{
	return protect & KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE;
}

static void set_slot(u64 at, u64 size, bool log)
{
	struct kvm_userspace_memory_region region = { .slot = SLOT,
						      .flags = log ? KVM_MEM_LOG_DIRTY_PAGES : 0,
						      .guest_phys_addr = at,
						      .memory_size = size,
						      .userspace_addr = (u64)memory };

	if (ioctl(m.vm, KVM_SET_USER_MEMORY_REGION, &region))
		die("KVM_SET_USER_MEMORY_REGION");
}

static void add(unsigned long *bits, unsigned int page)
{
	bits[page / 64] |= 1ul << page % 64;
}

static bool has(const unsigned long *bits, unsigned int page)
{
	return bits[page / 64] >> page % 64 & 1;
}

/* As a log begins. */
static void model_begin(void)
{
	unsigned int i;

	memset(model, 0, sizeof(model));
	for (i = 0; protect & KVM_DIRTY_LOG_INITIALLY_SET && i < NPAGES; i++)
		add(model, i);
}

static long get_log(void)
{
	struct kvm_dirty_log log = { .slot = SLOT, .dirty_bitmap = seen };

	memset(seen, 0x5a, sizeof(seen));
	return ioctl(m.vm, KVM_GET_DIRTY_LOG, &log);
}

static long clear_log(u64 first, u32 nr, void *bits)
{
	struct kvm_clear_dirty_log log = { .slot = SLOT, .first_page = first, .num_pages = nr, .dirty_bitmap = bits };

	return ioctl(m.vm, KVM_CLEAR_DIRTY_LOG, &log);
}

/* Whether the log holds what it should; and it is empty afterwards, or not, as the client wants to have it. */
static void check_log(void)
{
	unsigned int i;

	if (!expect_errno(get_log(), logged ? 0 : ENOENT) || !logged)
		return;
	for (i = 0; i < NPAGES; i++)
		if (has(seen, i) != has(model, i)) {
			fail("page %u is %sin the log", i, has(seen, i) ? "" : "not ");
			break;
		}
	expect(!(seen[WORDS - 1] >> NPAGES % 64));
	if (!manual())
		memset(model, 0, sizeof(model));
}

static void make_machine(u64 flags, void (*guest_0)(void), void (*guest_1)(void))
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, .args = { flags } };

	m = machine_create(2, 0);
	protect = flags;
	if (ioctl(m.vm, KVM_ENABLE_CAP, &cap))
		die("KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2");
	/* Aligned to large pages, so that the log has some to split. */
	memory = mmap(NULL, NPAGES * PAGE + 2 * MiB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		die("mmap");
	memory = (u8 *)(((u64)memory + 2 * MiB - 1) & -(2 * MiB));
	madvise(memory, NPAGES * PAGE, MADV_HUGEPAGE);
	gpa = GPA;
	machine_start(&m, 0, guest_0);
	machine_start(&m, 1, guest_1);
}

/* -- step by step against the model ------------------------------------------------------------------------------- */

static void let_guest(unsigned int vcpu, bool write)
{
	unsigned int i;

	given[vcpu].base = (u64 *)gpa;
	given[vcpu].nr = 1 + rand() % GIVEN_PAGES;
	given[vcpu].write = write;
	for (i = 0; i < given[vcpu].nr; i++) {
		given[vcpu].page[i] = rand() % NPAGES;
		if (write && logged)
			add(model, given[vcpu].page[i]);
	}
	machine_expect(&m, vcpu, DONE);
}

static void clear_some(void)
{
	unsigned long first = rand() % (WORDS + 1) * 64, rest, nr, bits[WORDS], i;

	if (first > NPAGES)
		first = NPAGES & -64ul;
	rest = NPAGES - first;
	nr = rand() % 2 ? rest : rest / 64 ? rand() % (rest / 64 + 1) * 64 : rest;
	/* What is asked for may be in the log or not, and reach over the slot's end. */
	for (i = 0; i < WORDS; i++)
		bits[i] = rand() % 4 ? (unsigned long)rand() << 32 ^ rand() : ~0ul;
	if (!expect_errno(clear_log(first, nr, bits), logged ? 0 : ENOENT) || !logged)
		return;
	for (i = 0; i < nr; i++)
		if (has(bits, i))
			model[(first + i) / 64] &= ~(1ul << (first + i) % 64);
}

static void switch_log(void)
{
	logged = !logged;
	set_slot(gpa, NPAGES * PAGE, logged);
	if (logged)
		model_begin();
}

/* The log goes with the slot. */
static void move_slot(void)
{
	gpa = gpa == GPA ? OTHER_GPA : GPA;
	set_slot(gpa, NPAGES * PAGE, logged);
}

static void make_slot_anew(void)
{
	set_slot(gpa, 0, false);
	set_slot(gpa, NPAGES * PAGE, logged);
	if (logged)
		model_begin();
}

static void migrate(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(rand() % 2, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static void one_step(void)
{
	switch (rand() % 16) {
	case 0 ... 5:
		let_guest(rand() % 2, true);
		break;
	case 6:
		let_guest(rand() % 2, false);
		break;
	case 7 ... 9:
		check_log();
		break;
	case 10 ... 11:
		clear_some();
		break;
	case 12:
		migrate();
		break;
	case 13:
		switch_log();
		break;
	case 14:
		move_slot();
		break;
	case 15:
		make_slot_anew();
		break;
	}
}

static void against_model(u64 flags)
{
	unsigned int i, steps = is_long() ? 20000 : 600;

	srand(1);
	make_machine(flags, guest_obey_0, guest_obey_1);
	set_slot(gpa, NPAGES * PAGE, false);
	for (i = 0; i < steps && !failed(); i++) {
		context("step %u, flags %lu", i, flags);
		one_step();
	}
	/* A guest that does nothing has an empty log. */
	context("idle, flags %lu", flags);
	if (!logged)
		switch_log();
	clear_log(0, NPAGES, memset(model, 0xff, sizeof(model)));
	memset(model, 0, sizeof(model));
	given[0].nr = 0;
	machine_expect(&m, 0, DONE);
	check_log();
}

static void test_get(void)
{
	against_model(0);
}

static void test_manual(void)
{
	against_model(KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE);
}

static void test_initially_set(void)
{
	against_model(KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | KVM_DIRTY_LOG_INITIALLY_SET);
}

/* -- a copy of memory that is kept by the log alone, while two vCPUs write ---------------------------------------- */

static void *run_vcpu(void *arg)
{
	machine_expect(&m, (unsigned long)arg, DONE);
	return NULL;
}

static void update_copy(u8 *copy)
{
	unsigned int i;

	if (get_log())
		die("KVM_GET_DIRTY_LOG");
	if (manual() && clear_log(0, NPAGES, seen))
		die("KVM_CLEAR_DIRTY_LOG");
	for (i = 0; i < NPAGES; i++)
		if (has(seen, i))
			memcpy(copy + i * PAGE, memory + i * PAGE, PAGE);
}

static void move_thread(pthread_t thread, unsigned int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	pthread_setaffinity_np(thread, sizeof(set), &set);
}

static void keep_copy(u64 flags)
{
	unsigned int i, rounds = is_long() ? 5000 : 150;
	u8 *copy = calloc(NPAGES, PAGE);
	pthread_t thread[2];

	make_machine(flags, guest_scribble_0, guest_scribble_1);
	given[0].base = given[1].base = (u64 *)gpa;
	set_slot(gpa, NPAGES * PAGE, true);
	end = false;
	for (i = 0; i < 2; i++)
		pthread_create(&thread[i], NULL, run_vcpu, (void *)(unsigned long)i);
	for (i = 0; i < rounds; i++) {
		update_copy(copy);
		move_thread(thread[i % 2], rand() % 2);
		/* The end of the log, and its new beginning, which all that was written before has to be copied for. */
		if (i % 32 == 31) {
			set_slot(gpa, NPAGES * PAGE, false);
			set_slot(gpa, NPAGES * PAGE, true);
			memcpy(copy, memory, NPAGES * PAGE);
		}
	}
	end = true;
	for (i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	update_copy(copy);
	expect_bytes_at(__FILE__, __LINE__, "the copy", copy, memory, NPAGES * PAGE);
	update_copy(copy);
	for (i = 0; i < WORDS; i++)
		expect_eq(seen[i], 0);
}

static void test_copy_get(void)
{
	keep_copy(0);
}

static void test_copy_manual(void)
{
	keep_copy(KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE);
}

static void test_copy_initially_set(void)
{
	keep_copy(KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | KVM_DIRTY_LOG_INITIALLY_SET);
}

/* -- what the calls refuse ---------------------------------------------------------------------------------------- */

static long enable(u64 flags, u64 args)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, .flags = flags, .args = { args } };

	return ioctl(m.vm, KVM_ENABLE_CAP, &cap);
}

static void test_arguments(void)
{
	struct kvm_dirty_log get = { .slot = SLOT, .dirty_bitmap = seen };
	struct kvm_clear_dirty_log clear = { .slot = SLOT, .dirty_bitmap = seen, .num_pages = NPAGES };

	make_machine(KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE, guest_obey_0, guest_obey_1);
	expect_eq(ioctl(m.device, KVM_CHECK_EXTENSION, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2), 3);
	expect_errno(enable(1, 1), EINVAL);
	expect_errno(enable(0, KVM_DIRTY_LOG_INITIALLY_SET), EINVAL);
	expect_errno(enable(0, 4), EINVAL);

	expect_errno(ioctl(m.vm, KVM_GET_DIRTY_LOG, &get), ENOENT);
	expect_errno(ioctl(m.vm, KVM_CLEAR_DIRTY_LOG, &clear), ENOENT);
	set_slot(gpa, NPAGES * PAGE, false);
	expect_errno(ioctl(m.vm, KVM_GET_DIRTY_LOG, &get), ENOENT);
	set_slot(gpa, NPAGES * PAGE, true);
	expect_errno(clear_log(0, NPAGES, seen), 0);
	expect_errno(clear_log(1, 64, seen), EINVAL);
	expect_errno(clear_log(0, 63, seen), EINVAL);
	expect_errno(clear_log(64, NPAGES - 64, seen), 0);
	expect_errno(clear_log(64, NPAGES - 63, seen), EINVAL);
	expect_errno(clear_log(0, NPAGES + 36, seen), EINVAL);
	expect_errno(clear_log(NPAGES & -64ul, NPAGES % 64, seen), 0);
	expect_errno(clear_log((NPAGES & -64ul) + 64, 0, seen), EINVAL);
	expect_errno(clear_log(-64ul, 128, seen), EINVAL);
	expect_errno(clear_log(0, 0, NULL), 0);
	expect_errno(clear_log(0, 64, NULL), EFAULT);
	get.dirty_bitmap = NULL;
	expect_errno(ioctl(m.vm, KVM_GET_DIRTY_LOG, &get), EFAULT);
	get.slot = clear.slot = 0x7fff;
	expect_errno(ioctl(m.vm, KVM_GET_DIRTY_LOG, &get), EINVAL);
	expect_errno(ioctl(m.vm, KVM_CLEAR_DIRTY_LOG, &clear), EINVAL);
}

/* What the client could not be given stays in the log. */
static void test_get_fails(void)
{
	struct kvm_dirty_log log = { .slot = SLOT };
	u8 *half;

	make_machine(0, guest_obey_0, guest_obey_1);
	set_slot(gpa, NPAGES * PAGE, true);
	logged = true;
	let_guest(0, true);
	half = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	munmap(half + PAGE, PAGE);
	log.dirty_bitmap = half + PAGE - 8 * (WORDS - 2);
	expect_errno(ioctl(m.vm, KVM_GET_DIRTY_LOG, &log), EFAULT);
	check_log();
}

static const struct test tests[] = {
	{ "get, against a model", test_get },
	{ "get and clear, against a model", test_manual },
	{ "initially all set, against a model", test_initially_set },
	{ "a copy kept by get", test_copy_get },
	{ "a copy kept by get and clear", test_copy_manual },
	{ "a copy kept by get and clear, initially all set", test_copy_initially_set },
	{ "arguments", test_arguments },
	{ "a get that fails loses nothing", test_get_fails },
};

KTAP_MAIN(tests)
