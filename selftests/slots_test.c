// SPDX-License-Identifier: GPL-2.0
/*
 * slots_test - memory slots while the guest runs: they vanish, move and come back under its accesses, their host memory
 * is half there, there are as many as can be, two show the same memory, and the memory is of every kind a client can
 * have. (What the call refuses is abuse_test's.)
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "machine.h"

#define PAGE 4096ul
#define MiB (1ul << 20)
#define SLOT 7
#define GPA 0x20000000ul
#define OTHER_GPA 0x24000000ul

enum { DONE = 1, WRONG };

/* -- the guest ---------------------------------------------------------------------------------------------------- */

static struct {
	u64 from, npages;
	u64 page; /* the one it is at */
	u64 salt;
	bool write, end;
} work;

static u64 value_of(u64 page)
{
	return (page + work.salt) * 0x9e3779b97f4a7c15ul;
}

/* Writes a value to each page, or sees whether it is there. */
static void guest_work(void)
{
	volatile u64 *at;

	for (;;) {
		for (work.page = 0; work.page < work.npages; work.page++) {
			at = (u64 *)(work.from + work.page * PAGE);
			if (work.write)
				*at = value_of(work.page);
			else if (*at != value_of(work.page))
				sync_host(WRONG);
		}
		sync_host(DONE);
	}
}

/* Adds one to a word of every page, for as long as the host wants. */
static void guest_count(void)
{
	volatile u64 *at;

	while (!READ(work.end)) {
		for (work.page = 0; work.page < work.npages; work.page++) {
			at = (u64 *)(work.from + work.page * PAGE);
			*at = *at + 1;
		}
	}
	for (;;)
		sync_host(DONE);
}

#define MODEL_SLOTS 64
#define MODEL_SLOT_PAGES 8

static struct {
	u64 nr, at[MODEL_SLOTS * MODEL_SLOT_PAGES], value[MODEL_SLOTS * MODEL_SLOT_PAGES];
	u64 wrong;
} looks;

/* Looks at what stands where. */
static void guest_look(void)
{
	u64 i;

	for (;;) {
		for (i = 0; i < looks.nr; i++)
			if (*(volatile u64 *)looks.at[i] != looks.value[i]) {
				looks.wrong = i;
				sync_host(WRONG);
			}
		sync_host(DONE);
	}
}

#define READY 0x1234567890abcdeful

/* Reads one word until somebody has written it. */
static void guest_poll(void)
{
	while (*(volatile u64 *)GPA != READY)
		;
	sync_host(DONE);
}

/* -- the host ----------------------------------------------------------------------------------------------------- */

static struct machine m;

static int set_slot(u32 slot, u64 gpa, void *start, u64 size, u32 flags)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot, .flags = flags, .guest_phys_addr = gpa, .memory_size = size, .userspace_addr = (u64)start
	};

	return ioctl(m.vm, KVM_SET_USER_MEMORY_REGION, &region);
}

static void need_slot(u32 slot, u64 gpa, void *start, u64 size, u32 flags)
{
	if (set_slot(slot, gpa, start, size, flags))
		die("KVM_SET_USER_MEMORY_REGION");
}

static void *map(u64 size, int flags, int fd)
{
	void *start = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);

	if (start == MAP_FAILED)
		die("mmap");
	return start;
}

static void *anonymous(u64 size)
{
	return map(size, MAP_PRIVATE | MAP_ANONYMOUS, -1);
}

static void make_machine(void (*function)(void))
{
	m = machine_create(1, 0);
	machine_start(&m, 0, function);
}

static void let_guest(u64 from, u64 npages, bool write)
{
	work.from = from;
	work.npages = npages;
	work.write = write;
}

static void expect_memory(const u8 *start, u64 npages)
{
	u64 i;

	for (i = 0; i < npages; i++)
		if (*(u64 *)(start + i * PAGE) != value_of(i)) {
			fail("page %lu has %#lx", i, *(u64 *)(start + i * PAGE));
			return;
		}
}

/* -- kinds of memory ---------------------------------------------------------------------------------------------- */

static void *of_memfd(u64 size, unsigned int flags)
{
	int fd = memfd_create("guest", flags);

	return fd < 0 || ftruncate(fd, size) ? NULL : map(size, MAP_SHARED, fd);
}

static void *huge_pages(u64 size, int how)
{
	int file = open("/proc/sys/vm/nr_hugepages", O_WRONLY);
	void *start;

	if (file < 0 || write(file, "8", 1) != 1)
		return NULL;
	close(file);
	start = mmap(NULL, size, PROT_READ | PROT_WRITE, how | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	return start == MAP_FAILED ? NULL : start;
}

/* A private mapping of a file: the guest's pages are its own, the file stays as it is. */
static void *of_file(u64 size)
{
	char name[] = "/tmp/guest.XXXXXX";
	int fd = mkstemp(name);

	unlink(name);
	return fd < 0 || ftruncate(fd, size) ? NULL : map(size, MAP_PRIVATE, fd);
}

static void check_kind(const char *kind, u8 *start, u64 size)
{
	context("%s", kind);
	if (!start) {
		diag("%s: not to be had", kind);
		return;
	}
	work.salt++;
	need_slot(SLOT, GPA, start, size, 0);
	let_guest(GPA, size / PAGE, true);
	machine_expect(&m, 0, DONE);
	expect_memory(start, size / PAGE);
	let_guest(GPA, size / PAGE, false);
	machine_expect(&m, 0, DONE);
	/* A write of the client is seen at once. */
	*(u64 *)(start + 5 * PAGE) = 1;
	expect_eq(machine_run(&m, 0), WRONG);
	expect_eq(work.page, 5);
	machine_expect(&m, 0, DONE);
	need_slot(SLOT, GPA, NULL, 0, 0);
}

static void test_kinds(void)
{
	make_machine(guest_work);
	check_kind("anonymous", anonymous(4 * MiB), 4 * MiB);
	check_kind("shared", map(4 * MiB, MAP_SHARED | MAP_ANONYMOUS, -1), 4 * MiB);
	check_kind("memfd", of_memfd(4 * MiB, 0), 4 * MiB);
	check_kind("private file", of_file(4 * MiB), 4 * MiB);
	check_kind("huge pages", huge_pages(4 * MiB, MAP_PRIVATE), 4 * MiB);
	check_kind("shared huge pages", huge_pages(4 * MiB, MAP_SHARED), 4 * MiB);
}

#define ROM 0xf0000
#define ROM_SIZE 0x10000

/* What a driver has mapped without struct page, as it does with a device's memory: here the BIOS. */
static void test_driver_memory(void)
{
	int fd = open("/dev/mem", O_RDONLY);
	const u64 *rom = mmap(NULL, ROM_SIZE, PROT_READ, MAP_SHARED, fd, ROM);
	bool empty = true;

	if (rom == MAP_FAILED)
		skip("no /dev/mem: %s", strerror(errno));
	make_machine(guest_look);
	need_slot(SLOT, GPA, (void *)rom, ROM_SIZE, KVM_MEM_READONLY);
	for (looks.nr = 0; looks.nr < ARRAY_SIZE(looks.at); looks.nr++) {
		looks.at[looks.nr] = GPA + looks.nr * (ROM_SIZE / ARRAY_SIZE(looks.at));
		looks.value[looks.nr] = rom[looks.nr * (ROM_SIZE / ARRAY_SIZE(looks.at) / 8)];
		empty &= !looks.value[looks.nr];
	}
	expect(!empty);
	machine_expect(&m, 0, DONE);
	munmap((void *)rom, ROM_SIZE);
	expect_errno(ioctl(m.vcpu[0].fd, KVM_RUN, 0), EFAULT);
	need_slot(SLOT, GPA, NULL, 0, 0);
}

/* -- memory that is half there ------------------------------------------------------------------------------------ */

/* KVM_RUN fails where the client has nothing; when the client has mended it, the guest goes on as if nothing was. */
static void test_half_mapped(void)
{
	u8 *start = anonymous(16 * PAGE);

	make_machine(guest_work);
	munmap(start + 4 * PAGE, 2 * PAGE);
	mprotect(start + 9 * PAGE, PAGE, PROT_NONE);
	mprotect(start + 12 * PAGE, PAGE, PROT_READ);
	need_slot(SLOT, GPA, start, 16 * PAGE, 0);
	let_guest(GPA, 16, true);

	expect_errno(ioctl(m.vcpu[0].fd, KVM_RUN, 0), EFAULT);
	expect_eq(work.page, 4);
	expect_errno(ioctl(m.vcpu[0].fd, KVM_RUN, 0), EFAULT);
	expect_eq(work.page, 4);
	if (mmap(start + 4 * PAGE, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) !=
	    start + 4 * PAGE)
		die("mmap");
	expect_errno(ioctl(m.vcpu[0].fd, KVM_RUN, 0), EFAULT);
	expect_eq(work.page, 9);
	mprotect(start + 9 * PAGE, PAGE, PROT_READ | PROT_WRITE);
	expect_errno(ioctl(m.vcpu[0].fd, KVM_RUN, 0), EFAULT);
	expect_eq(work.page, 12);
	mprotect(start + 12 * PAGE, PAGE, PROT_READ | PROT_WRITE);
	machine_expect(&m, 0, DONE);
	expect_memory(start, 16);

	/* Memory that vanishes after it was used. */
	munmap(start + 8 * PAGE, PAGE);
	expect_errno(ioctl(m.vcpu[0].fd, KVM_RUN, 0), EFAULT);
	expect_eq(work.page, 8);
}

/* -- slots that change under a running guest ---------------------------------------------------------------------- */

static u64 nr_refused, nr_mmio;

/* Where there is no slot just now an access is MMIO, or EFAULT: it is let run on, and does not count. */
static void *run_vcpu(void *vcpu)
{
	struct kvm_run *run = m.vcpu[(unsigned long)vcpu].run;
	int number;

	while ((number = machine_run(&m, 0)) < 0) {
		if (run->exit_reason == KVM_EXIT_MMIO)
			nr_mmio++;
		else if (errno == EFAULT)
			nr_refused++;
		else
			break;
	}
	if (number != DONE)
		fail("exit %u: %s", run->exit_reason, strerror(errno));
	return NULL;
}

static void test_change_running(void)
{
	unsigned int i, rounds = is_long() ? 20000 : 300;
	u8 *start = anonymous(4 * MiB), *other = anonymous(4 * MiB);
	pthread_t thread;
	u64 sum, seen;

	make_machine(guest_count);
	need_slot(SLOT, GPA, start, 4 * MiB, 0);
	let_guest(GPA, 1024, true);
	work.end = false;
	pthread_create(&thread, NULL, run_vcpu, NULL);
	for (i = 0; i < rounds && !failed(); i++) {
		need_slot(SLOT, OTHER_GPA, start, 4 * MiB, 0);
		need_slot(SLOT + 1, GPA, other, 4 * MiB, 0);
		usleep(rand() % 500);
		/* When the call has returned no access reaches the memory any more. */
		need_slot(SLOT + 1, GPA, NULL, 0, 0);
		sum = *(u64 *)(other + 5 * PAGE);
		usleep(rand() % 500);
		seen = *(u64 *)(other + 5 * PAGE);
		expect_eq(seen, sum);
		need_slot(SLOT, GPA, start, 4 * MiB, 0);
		need_slot(SLOT, GPA, start, 4 * MiB, KVM_MEM_LOG_DIRTY_PAGES);
		need_slot(SLOT, GPA, start, 4 * MiB, 0);
	}
	work.end = true;
	pthread_join(thread, NULL);
	diag("%lu accesses without a slot, %lu refused", nr_mmio, nr_refused);
}

/* -- a slot in a device's place ----------------------------------------------------------------------------------- */

/* Once the call has returned the guest finds memory where the client has answered before. */
static void test_after_device(void)
{
	u64 *start = anonymous(PAGE);
	unsigned int i, round;
	struct kvm_run *run;

	for (round = 0; round < 3; round++) {
		make_machine(guest_poll);
		run = m.vcpu[0].run;
		for (i = 0; i < 4; i++) {
			expect_errno(ioctl(m.vcpu[0].fd, KVM_RUN, 0), 0);
			expect_eq(run->exit_reason, KVM_EXIT_MMIO);
			expect_eq(run->mmio.phys_addr, GPA);
			memset(run->mmio.data, 0, sizeof(run->mmio.data));
			/* Another slot comes and goes before, in some rounds. */
			if (i < round) {
				need_slot(SLOT + 1, OTHER_GPA, start, PAGE, 0);
				need_slot(SLOT + 1, OTHER_GPA, NULL, 0, 0);
			}
		}
		start[0] = READY;
		need_slot(SLOT, GPA, start, PAGE, 0);
		expect_eq(machine_run(&m, 0), DONE);
		machine_destroy(&m);
	}
}

/* -- many slots --------------------------------------------------------------------------------------------------- */

#define FIRST_MANY 16

/* Each shows a page, and the guest finds the right one behind each address: also when every other slot is gone. */
static void test_many(void)
{
	u32 nr = ioctl(open(device_path, O_RDWR), KVM_CHECK_EXTENSION, KVM_CAP_NR_MEMSLOTS), i;
	u8 *start;

	if (nr > 3000 && !is_long())
		nr = 3000;
	start = anonymous(nr * PAGE);
	make_machine(guest_work);
	for (i = FIRST_MANY; i < nr; i++)
		need_slot(i, GPA + (i - FIRST_MANY) * PAGE, start + (nr - 1 - i) * PAGE, PAGE, 0);
	expect_errno(set_slot(FIRST_MANY, GPA + 5 * PAGE, start + (nr - 1 - FIRST_MANY) * PAGE, PAGE, 0), EEXIST);
	nr -= FIRST_MANY;
	let_guest(GPA, nr, true);
	machine_expect(&m, 0, DONE);
	for (i = 0; i < nr; i++)
		if (*(u64 *)(start + (nr - 1 - i) * PAGE) != value_of(i))
			fail("slot %u is not where it should be", i);
	for (i = 0; i < nr; i += 2)
		need_slot(FIRST_MANY + i, GPA + i * PAGE, NULL, 0, 0);
	work.salt++; /* its page 0 is page 1 now */
	let_guest(GPA + PAGE, 1, false);
	machine_expect(&m, 0, DONE);
}

/* -- slots at random, against a model ------------------------------------------------------------------------------ */

#define MODEL_PAGES 256 /* of the guest */
#define HOST_PAGES 48

static struct {
	u64 npages, gfn, host; /* npages 0: is not there */
} model[MODEL_SLOTS];

static bool model_overlaps(unsigned int slot, u64 gfn, u64 npages)
{
	unsigned int i;

	for (i = 0; i < MODEL_SLOTS; i++)
		if (i != slot && model[i].npages && gfn < model[i].gfn + model[i].npages && model[i].gfn < gfn + npages)
			return true;
	return false;
}

static u64 below(u64 end)
{
	return rand() % end;
}

/* Creates, moves or deletes a slot. Places are tight, so half of it is refused; host ranges overlap as they will. */
static void change_one(u8 *memory)
{
	unsigned int slot = rand() % MODEL_SLOTS;
	u64 npages = model[slot].npages ?: 1 + below(MODEL_SLOT_PAGES);
	u64 gfn = below(MODEL_PAGES - MODEL_SLOT_PAGES);
	u64 host = model[slot].npages ? model[slot].host : below(HOST_PAGES - MODEL_SLOT_PAGES);

	if (model[slot].npages && rand() % 2) {
		need_slot(FIRST_MANY + slot, 0, NULL, 0, 0);
		model[slot].npages = 0;
	} else if (model_overlaps(slot, gfn, npages)) {
		expect_errno(set_slot(FIRST_MANY + slot, GPA + gfn * PAGE, memory + host * PAGE, npages * PAGE, 0),
			     EEXIST);
	} else {
		need_slot(FIRST_MANY + slot, GPA + gfn * PAGE, memory + host * PAGE, npages * PAGE, 0);
		model[slot].npages = npages;
		model[slot].gfn = gfn;
		model[slot].host = host;
	}
}

/* Other pages, with other values, stand in a part of the memory: all slots that show it have to let the old ones go. */
static void replace_memory(u8 *memory)
{
	static u64 values;
	u64 first = below(HOST_PAGES), end = first + 1 + below(HOST_PAGES - first);

	if (madvise(memory + first * PAGE, (end - first) * PAGE, MADV_DONTNEED))
		die("madvise");
	for (; first < end; first++)
		*(u64 *)(memory + first * PAGE) = ++values;
}

static void look_at_all(const u8 *memory)
{
	unsigned int slot, page;

	looks.nr = 0;
	for (slot = 0; slot < MODEL_SLOTS; slot++)
		for (page = 0; page < model[slot].npages; page++) {
			looks.at[looks.nr] = GPA + (model[slot].gfn + page) * PAGE;
			looks.value[looks.nr++] = *(u64 *)(memory + (model[slot].host + page) * PAGE);
		}
	if (machine_run(&m, 0) != DONE)
		fail("look %lu: not %#lx at %#lx", looks.wrong, looks.value[looks.wrong], looks.at[looks.wrong]);
}

static void test_model(void)
{
	unsigned int i, rounds = is_long() ? 20000 : 1500;
	u8 *memory = anonymous(HOST_PAGES * PAGE);

	srand(4);
	make_machine(guest_look);
	for (i = 0; i < rounds && !failed(); i++) {
		change_one(memory);
		if (i % 4 == 0)
			replace_memory(memory);
		if (i % 4 == 1)
			look_at_all(memory);
	}
}

/* -- one memory in two places ------------------------------------------------------------------------------------- */

static void test_aliases(void)
{
	u8 *start = anonymous(2 * MiB);

	make_machine(guest_work);
	need_slot(SLOT, GPA, start, 2 * MiB, 0);
	need_slot(SLOT + 1, OTHER_GPA, start, 2 * MiB, 0);
	let_guest(GPA, 512, true);
	machine_expect(&m, 0, DONE);
	let_guest(OTHER_GPA, 512, false);
	machine_expect(&m, 0, DONE);
	/* What takes the host's page away takes it from both. */
	madvise(start, 2 * MiB, MADV_DONTNEED);
	memset(start, 0, 2 * MiB);
	expect_eq(machine_run(&m, 0), WRONG);
	let_guest(GPA, 512, false);
	expect_eq(machine_run(&m, 0), WRONG);
}

static const struct test tests[] = {
	{ "kinds of host memory", test_kinds },
	{ "memory that a driver has mapped", test_driver_memory },
	{ "host memory that is half there", test_half_mapped },
	{ "slots that change under a running guest", test_change_running },
	{ "a slot in a device's place", test_after_device },
	{ "many slots", test_many },
	{ "slots at random, against a model", test_model },
	{ "one memory in two places", test_aliases },
};

KTAP_MAIN(tests)
