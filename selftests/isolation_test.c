// SPDX-License-Identifier: GPL-2.0
/*
 * Isolation: a guest sees its slots and nothing else, all over the guest-physical address space; guests do not see each
 * other; and what the client or the kernel takes away from a slot is gone for the guest, too.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest.h"

#define GiB (1ul << 30)

static void place(struct guest *g)
{
	if (ioctl(g->vcpu, KVM_SET_REGS, &g->regs))
		die("KVM_SET_REGS");
}

static int slot_errno(struct guest *g, u32 slot, u64 gpa, void *start, u64 size)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot, .guest_phys_addr = gpa, .memory_size = size, .userspace_addr = (u64)start
	};

	return ioctl(g->vm, KVM_SET_USER_MEMORY_REGION, &region) ? errno : 0;
}

/* -- the whole address space ------------------------------------------------------------------------------------- */

/* The guest's list of what it touches, in memory of its own. */
#define TARGETS_GPA (8 * MiB)
#define MAX_TARGETS 8192u

struct target {
	u64 gpa;
	u64 entry; /* of the page directory, or with 1-GByte pages of the page-directory-pointer table */
	u64 linear;
	u64 seen;
};

/* The windows through which the guest looks: linear addresses that it maps anew for each target. */
#define WINDOW_2M 0x40000000ul
#define WINDOW_2M_ENTRY (GUEST_TABLES + 3 * PAGE) /* of the page directory of the second GiB */
#define WINDOW_1G (GUEST_TABLES + PAGE)		  /* entry 8 of the table with 512 GiB */
#define WINDOW_1G_LINEAR 0x200000000ul

/* What is in the guest's RAM, and what the client answers where there is none. */
static u64 marker(u64 gpa)
{
	return gpa * 0x9e3779b97f4a7c15 | 1;
}

static u64 no_memory(u64 gpa)
{
	return ~marker(gpa);
}

static struct {
	u64 gpa, size;
	u8 *start;
} extra_slots[] = {
	{ 0x20000000, PAGE, NULL },	      { 0x20002000, PAGE, NULL }, /* with a hole of a page before it */
	{ 0x3fe00000, 2 * MiB, NULL },	      { 4 * GiB, 3 * PAGE, NULL },
	{ 17 * GiB + 5 * PAGE, PAGE, NULL },  { 300 * GiB, 2 * MiB, NULL },
	{ 512 * GiB - PAGE, 2 * PAGE, NULL }, { 1024 * GiB - PAGE, PAGE, NULL }, /* the last one of 40 bits */
};

/* What is mapped there, or NULL. */
static u8 *backing(struct guest *g, u64 gpa)
{
	unsigned int i;

	if (gpa < GUEST_MEMORY_SIZE)
		return gpa >= GUEST_HOLE && gpa < GUEST_HIGH ? NULL : g->memory + gpa;
	for (i = 0; i < ARRAY_SIZE(extra_slots); i++)
		if (extra_slots[i].start && gpa - extra_slots[i].gpa < extra_slots[i].size)
			return extra_slots[i].start + (gpa - extra_slots[i].gpa);
	return NULL;
}

static u64 physical_address_end(struct guest *g)
{
	struct kvm_cpuid2 *cpuid = supported_cpuid(g->device);
	const struct kvm_cpuid_entry2 *e = find_cpuid(cpuid, 0x80000008, 0);
	unsigned int bits = e ? e->eax & 0xff : 36;

	free(cpuid);
	return 1ul << (bits < 40 ? bits : 40);
}

static void add_extra_slots(struct guest *g, u64 end)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(extra_slots); i++) {
		if (extra_slots[i].gpa + extra_slots[i].size > end)
			continue;
		extra_slots[i].start = pages(extra_slots[i].size);
		guest_add_memory(g, 2 + i, extra_slots[i].gpa, extra_slots[i].start, extra_slots[i].size, 0);
	}
}

static unsigned int nr_targets;

/* Once is enough: the guest's write changes what is there. */
static bool is_target(const struct target *targets, u64 gpa)
{
	unsigned int i;

	for (i = 0; i < nr_targets; i++)
		if (targets[i].gpa == gpa)
			return true;
	return false;
}

/* Stock KVM has pages of its own where KVM_SET_TSS_ADDR says, and where its default for the identity map is. */
static bool is_kvms_own(u64 gpa)
{
	return gpa >= 0xfffbc000 && gpa < 0xfffc0000;
}

/* The page tables lie below the hole. */
static bool is_in_use(u64 gpa)
{
	return gpa < GUEST_HOLE || (gpa >= TARGETS_GPA && gpa < TARGETS_GPA + MAX_TARGETS * sizeof(struct target));
}

static void add_target(struct guest *g, u64 gpa, bool gigabyte)
{
	struct target *targets = (void *)(g->memory + TARGETS_GPA), *t = targets + nr_targets;
	u64 large = gigabyte ? GiB : 2 * MiB;

	gpa &= ~7ul;
	if (nr_targets == MAX_TARGETS || is_kvms_own(gpa) || is_in_use(gpa) || is_target(targets, gpa))
		return;
	*t = (struct target){
		.gpa = gpa,
		.entry = (gpa & ~(large - 1)) | PTE_P | PTE_W | PTE_PS,
		.linear = (gigabyte ? WINDOW_1G_LINEAR : WINDOW_2M) + (gpa & (large - 1)),
	};
	nr_targets++;
	if (backing(g, gpa))
		*(u64 *)backing(g, gpa) = marker(gpa);
}

/* A GiB apart, then closer to the slots, and on both sides of all their borders. */
static void choose_targets(struct guest *g, u64 end, bool gigabyte)
{
	unsigned int i;
	u64 gpa;

	nr_targets = 0;
	for (gpa = 0; gpa < end; gpa += GiB)
		add_target(g, gpa + (gpa >> 30) * 0x1234568 % GiB, gigabyte);
	for (gpa = GUEST_HOLE; gpa < 2 * GiB; gpa += 4 * MiB + PAGE)
		add_target(g, gpa, gigabyte);
	for (gpa = GUEST_HOLE; gpa < GUEST_HIGH + 16 * PAGE; gpa += PAGE)
		add_target(g, gpa + 0x318, gigabyte);
	for (gpa = PAGE; gpa < end; gpa *= 2) {
		add_target(g, gpa - 8, gigabyte);
		add_target(g, gpa, gigabyte);
	}
	for (i = 0; i < ARRAY_SIZE(extra_slots); i++) {
		for (gpa = extra_slots[i].gpa - PAGE; gpa < extra_slots[i].gpa + 2 * PAGE && gpa < end; gpa += 2048)
			add_target(g, gpa, gigabyte);
		gpa = extra_slots[i].gpa + extra_slots[i].size;
		if (gpa < end) {
			add_target(g, gpa - 8, gigabyte);
			add_target(g, gpa, gigabyte);
		}
	}
	add_target(g, end - 8, gigabyte);
}

/* RSI: targets, R9: how many, R8: address of the entry that maps the window. Reads and writes each. */
static struct code sweep_code(void)
{
	return CODE64(
		"1: mov 8(%rsi), %rax; mov %rax, (%r8); mov 16(%rsi), %rbx; invlpg (%rbx)\n"
		"mov (%rbx), %rax; mov %rax, 24(%rsi); mov %rbx, (%rbx)\n"
		"add $32, %rsi; dec %r9; jnz 1b");
}

/* One access to what is no memory: the next target's address, and the read before the write. */
static bool answer_mmio(struct guest *g, struct target **next, bool *write)
{
	struct target *t = *next;
	u64 value = no_memory(t->gpa);

	while (backing(g, t->gpa))
		t++;
	context("guest-physical address %#lx", t->gpa);
	value = *write ? t->linear : no_memory(t->gpa);
	if (!expect_eq(g->run->mmio.phys_addr, t->gpa) || !expect_eq(g->run->mmio.is_write, *write) ||
	    !expect_eq(g->run->mmio.len, 8))
		return false;
	if (*write && !expect_bytes(g->run->mmio.data, &value, sizeof(value)))
		return false;
	memcpy(g->run->mmio.data, &value, sizeof(value));
	*next = *write ? t + 1 : t;
	*write = !*write;
	return true;
}

static void check_targets(struct guest *g, const struct target *targets)
{
	unsigned int i, memory = 0;

	for (i = 0; i < nr_targets; i++) {
		u8 *start = backing(g, targets[i].gpa);

		context("guest-physical address %#lx", targets[i].gpa);
		expect_eq(targets[i].seen, start ? marker(targets[i].gpa) : no_memory(targets[i].gpa));
		if (start)
			expect_eq(*(u64 *)start, targets[i].linear);
		memory += !!start;
	}
	diag("%u addresses, %u of them memory", nr_targets, memory);
}

static void sweep(bool gigabyte)
{
	struct guest *g = guest_create(MODE_LONG);
	struct target *targets = (void *)(g->memory + TARGETS_GPA), *next = targets;
	u64 end = physical_address_end(g);
	bool write = false;
	u32 exit;

	add_extra_slots(g, end);
	choose_targets(g, end, gigabyte);
	guest_load(g, sweep_code());
	g->regs.rsi = TARGETS_GPA;
	g->regs.r9 = nr_targets;
	g->regs.r8 = gigabyte ? WINDOW_1G + 8 * 8 : WINDOW_2M_ENTRY;
	exit = guest_start(g);
	while (exit == KVM_EXIT_MMIO && answer_mmio(g, &next, &write))
		exit = guest_run(g);
	expect_end(g);
	check_targets(g, targets);
}

static void test_sweep_2m(void)
{
	sweep(false);
}

static void test_sweep_1g(void)
{
	struct kvm_cpuid2 *cpuid = supported_cpuid(open_device());
	const struct kvm_cpuid_entry2 *e = find_cpuid(cpuid, 0x80000001, 0);

	if (!e || !(e->edx >> 26 & 1))
		skip("no 1-GByte pages");
	sweep(true);
}

/* -- guests beside each other ------------------------------------------------------------------------------------ */

/* More than the emulated AMD CPU has ASIDs. */
#define NR_GUESTS 24

/* All of them use the same addresses, linear and physical, on one CPU in turn. */
static void test_many_guests(void)
{
	struct guest *guests[NR_GUESTS];
	unsigned int i, round;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(0, &set);
	sched_setaffinity(0, sizeof(set), &set);
	for (i = 0; i < NR_GUESTS; i++) {
		guests[i] = guest_create(MODE_LONG);
		/* Each time the number that it counts in its memory, checked against the one in a register. */
		guest_load(guests[i], CODE64("mov 0x20000, %rbx; 1: cmp %rbx, 0x20000; jne 2f; inc %rbx; incq 0x20000\n"
					     "out %al, $0x10; jmp 1b; 2: ud2"));
		*(u64 *)(guests[i]->memory + GUEST_FREE) = (u64)i << 32;
		place(guests[i]);
	}
	for (round = 1; round <= 10; round++) {
		for (i = 0; i < NR_GUESTS; i++) {
			context("guest %u in round %u", i, round);
			guest_run(guests[i]);
			expect_exit(guests[i], KVM_EXIT_IO);
			expect_eq(*(u64 *)(guests[i]->memory + GUEST_FREE), ((u64)i << 32) + round);
		}
	}
}

/* -- memory that goes away --------------------------------------------------------------------------------------- */

#define PAGE_GPA 0x40000000u /* of the slot that changes */

/* Pages of the client's address space that the guest sees as a slot. */
static struct guest *guest_with_slot(u8 **start, u64 size)
{
	struct guest *g = guest_create(MODE_LONG);

	*start = pages(size);
	guest_add_memory(g, 2, PAGE_GPA, *start, size, 0);
	return g;
}

/* What the guest reads there. */
static u64 guest_reads(struct guest *g)
{
	guest_load(g, CODE64("mov 0x40000000, %rax"));
	guest_start(g);
	expect_end(g);
	return g->regs.rax;
}

static void test_unmapped(void)
{
	u8 *start;
	struct guest *g = guest_with_slot(&start, PAGE);

	*(u64 *)start = 0x1111;
	expect_eq(guest_reads(g), 0x1111);
	madvise(start, PAGE, MADV_DONTNEED);
	expect_eq(guest_reads(g), 0);
	*(u64 *)start = 0x2222;
	expect_eq(guest_reads(g), 0x2222);
	munmap(start, PAGE);
	guest_load(g, CODE64("mov 0x40000000, %rax"));
	place(g);
	expect_errno(ioctl(g->vcpu, KVM_RUN, 0), EFAULT);
	/* Something else is mapped at the same place. */
	expect(mmap(start, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == start);
	*(u64 *)start = 0x3333;
	expect_eq(guest_reads(g), 0x3333);
}

static void test_protected(void)
{
	u8 *start;
	struct guest *g = guest_with_slot(&start, PAGE);

	*(u64 *)start = 0x1111;
	guest_load(g, CODE64("movq $0x2222, 0x40000000"));
	guest_start(g);
	expect_end(g);
	expect_eq(*(u64 *)start, 0x2222);
	mprotect(start, PAGE, PROT_READ);
	expect_eq(guest_reads(g), 0x2222);
	guest_load(g, CODE64("movq $0x3333, 0x40000000"));
	place(g);
	expect_errno(ioctl(g->vcpu, KVM_RUN, 0), EFAULT);
	expect_eq(*(u64 *)start, 0x2222);
	mprotect(start, PAGE, PROT_NONE);
	guest_load(g, CODE64("mov 0x40000000, %rax"));
	place(g);
	expect_errno(ioctl(g->vcpu, KVM_RUN, 0), EFAULT);
}

/* After fork both processes have the page until one of them writes: the guest belongs to its client only. */
static void test_copy_on_write(void)
{
	int to_child[2], to_parent[2];
	u8 *start, byte = 0;
	struct guest *g = guest_with_slot(&start, PAGE);
	u64 value;

	*(u64 *)start = 0x1111;
	expect_eq(guest_reads(g), 0x1111);
	if (pipe(to_child) || pipe(to_parent))
		die("pipe");
	if (!fork()) {
		if (read(to_child[0], &byte, 1) == 1 && write(to_parent[1], start, 8) == 8)
			exit(0);
		exit(1);
	}
	guest_load(g, CODE64("movq $0x2222, 0x40000000"));
	guest_start(g);
	expect_end(g);
	expect(write(to_child[1], &byte, 1) == 1 && read(to_parent[0], &value, 8) == 8);
	expect_eq(value, 0x1111);
	expect_eq(*(u64 *)start, 0x2222);
	expect_eq(guest_reads(g), 0x2222);
}

/* -- while the guest runs ---------------------------------------------------------------------------------------- */

/* In the guest's memory: what the client says is true by now, and what the guest found against it. */
struct claims {
	volatile u64 gone;  /* all contents up to this number */
	volatile u64 loops; /* of the guest */
	volatile u64 stop;
	volatile u64 bad; /* contents seen that were gone before */
};

static struct guest *racing_guest;

static void *run_racing(void *unused)
{
	struct guest *g = racing_guest;

	(void)unused;
	place(g);
	while (!ioctl(g->vcpu, KVM_RUN, 0) && g->run->exit_reason == KVM_EXIT_MMIO)
		memset(g->run->mmio.data, 0, 8); /* like memory that was never written to */
	return NULL;
}

/* Looks what is gone, then what is there: a number that was said to be gone must not be seen. */
static struct code racing_code(void)
{
	return CODE64(
		"1: mov 0x20000, %rax; mfence; mov 0x40000000, %rbx; incq 0x20008\n"
		"test %rbx, %rbx; jz 2f; cmp %rax, %rbx; ja 2f; mov %rbx, 0x20018\n"
		"2: cmpq $0, 0x20010; je 1b");
}

/* Sleeps rather than spins: an emulator may have one thread for all CPUs. */
static void wait_for_loop(struct claims *claims)
{
	u64 loops = claims->loops;

	while (claims->loops < loops + 2)
		usleep(100);
}

static void race(struct guest *g, void (*take_away)(struct guest *g, u8 *start), u8 *start)
{
	struct claims *claims = (void *)(g->memory + GUEST_FREE);
	pthread_t thread;
	u64 i;

	racing_guest = g;
	guest_load(g, racing_code());
	if (pthread_create(&thread, NULL, run_racing, NULL))
		die("pthread_create");
	for (i = 1; i <= 100; i++) {
		*(volatile u64 *)start = i;
		wait_for_loop(claims);
		take_away(g, start);
		claims->gone = i;
		wait_for_loop(claims);
	}
	claims->stop = 1;
	pthread_join(thread, NULL);
	expect_eq(g->run->exit_reason, KVM_EXIT_HLT);
	expect_eq(claims->bad, 0);
}

static void discard(struct guest *g, u8 *start)
{
	(void)g;
	if (madvise(start, PAGE, MADV_DONTNEED))
		die("madvise");
}

static void map_anew(struct guest *g, u8 *start)
{
	(void)g;
	if (mmap(start, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != start)
		die("mmap");
}

/* Gone for a while, so that what the guest finds is no memory; then there again, with other contents. */
static void delete_slot(struct guest *g, u8 *start)
{
	struct claims *claims = (void *)(g->memory + GUEST_FREE);
	u64 gone = *(u64 *)start;

	if (slot_errno(g, 2, PAGE_GPA, start, 0))
		die("KVM_SET_USER_MEMORY_REGION");
	claims->gone = gone;
	wait_for_loop(claims);
	*(u64 *)start = 0;
	guest_add_memory(g, 2, PAGE_GPA, start, PAGE, 0);
}

static void move_slot(struct guest *g, u8 *start)
{
	struct claims *claims = (void *)(g->memory + GUEST_FREE);
	u64 gone = *(u64 *)start;

	guest_add_memory(g, 2, PAGE_GPA + 16 * PAGE, start, PAGE, 0);
	claims->gone = gone;
	wait_for_loop(claims);
	*(u64 *)start = 0;
	guest_add_memory(g, 2, PAGE_GPA, start, PAGE, 0);
}

#define RACE(name)                                               \
	static void test_##name(void)                            \
	{                                                        \
		u8 *start;                                       \
		struct guest *g = guest_with_slot(&start, PAGE); \
                                                                 \
		race(g, name, start);                            \
	}

RACE(discard)
RACE(map_anew)
RACE(delete_slot)
RACE(move_slot)

static const struct test tests[] = {
	{ "2^40 bytes of addresses by 2-MByte pages", test_sweep_2m },
	{ "the same by 1-GByte pages", test_sweep_1g },
	{ "many guests on one CPU", test_many_guests },
	{ "memory that was discarded and unmapped", test_unmapped },
	{ "memory that was protected", test_protected },
	{ "memory after fork", test_copy_on_write },
	{ "memory discarded under a running guest", test_discard },
	{ "memory replaced under a running guest", test_map_anew },
	{ "a slot deleted under a running guest", test_delete_slot },
	{ "a slot moved under a running guest", test_move_slot },
};

KTAP_MAIN(tests)
