// SPDX-License-Identifier: GPL-2.0
/*
 * userfaultfd_test - a client that delivers guest memory page by page, as the guest asks for it (post-copy migration):
 * pages that are not there, and pages that are but not mapped yet. And one that has writes reported by userfaultfd,
 * which have to be the same as those in the dirty log.
 * Source: the kernel's Documentation/admin-guide/mm/userfaultfd.rst.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "machine.h"

#define PAGE 4096ul
#define SLOT 7
#define GPA 0x20000000ul
#define NPAGES 1024u

enum { DONE = 1, WRONG };

static u64 value_of(u64 page)
{
	return (page + 1) * 0x9e3779b97f4a7c15ul;
}

/* -- the guest: both vCPUs go over all pages, in different orders ------------------------------------------------- */

static void check_pages(u64 first, u64 stride)
{
	volatile u64 *at;
	u64 i, page;

	for (i = 0, page = first; i < NPAGES; i++, page = (page + stride) % NPAGES) {
		at = (u64 *)(GPA + page * PAGE);
		if (at[0] != value_of(page) || at[511] != value_of(page))
			sync_host(WRONG);
		at[1 + first % 2] = page;
	}
	for (;;)
		sync_host(DONE);
}

static void guest_up(void)
{
	check_pages(0, 1);
}

static void guest_jumping(void)
{
	check_pages(NPAGES - 1, 389);
}

/* Writes to the pages that the host has chosen. */
static u8 chosen[NPAGES];

static void guest_write(void)
{
	u64 i;

	for (;;) {
		for (i = 0; i < NPAGES; i++)
			if (READ(chosen[i]))
				*(volatile u64 *)(GPA + i * PAGE) += 1;
		sync_host(DONE);
	}
}

/* -- the host ----------------------------------------------------------------------------------------------------- */

static struct machine m;
static u8 *memory;
static int uffd;
static u32 delivered[NPAGES], reported[NPAGES];
static bool end;

static void open_userfaultfd(u64 features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };

	uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api))
		skip("no userfaultfd: %s", strerror(errno));
}

static void register_memory(u64 mode)
{
	struct uffdio_register range = { .range = { (u64)memory, NPAGES * PAGE }, .mode = mode };

	if (ioctl(uffd, UFFDIO_REGISTER, &range))
		skip("userfaultfd does not do this: %s", strerror(errno));
}

static void add_memory(u32 flags)
{
	struct kvm_userspace_memory_region region = { .slot = SLOT,
						      .flags = flags,
						      .guest_phys_addr = GPA,
						      .memory_size = NPAGES * PAGE,
						      .userspace_addr = (u64)memory };

	if (ioctl(m.vm, KVM_SET_USER_MEMORY_REGION, &region))
		die("KVM_SET_USER_MEMORY_REGION");
}

static void deliver(u64 page)
{
	static u64 content[PAGE / 8];
	struct uffdio_copy copy = { .dst = (u64)memory + page * PAGE, .src = (u64)content, .len = PAGE };

	content[0] = content[511] = value_of(page);
	if (ioctl(uffd, UFFDIO_COPY, &copy) && errno != EEXIST)
		fail("UFFDIO_COPY of page %lu: %s", page, strerror(errno));
	delivered[page]++;
}

/* It is in the file already, written by another mapping. */
static void let_map(u64 page)
{
	struct uffdio_continue range = { .range = { (u64)memory + page * PAGE, PAGE } };

	if (ioctl(uffd, UFFDIO_CONTINUE, &range) && errno != EEXIST)
		fail("UFFDIO_CONTINUE of page %lu: %s", page, strerror(errno));
	delivered[page]++;
}

static void let_write(u64 page)
{
	struct uffdio_writeprotect range = { .range = { (u64)memory + page * PAGE, PAGE } };

	reported[page]++;
	if (ioctl(uffd, UFFDIO_WRITEPROTECT, &range))
		fail("UFFDIO_WRITEPROTECT of page %lu: %s", page, strerror(errno));
}

static void *handle_faults(void *unused)
{
	struct pollfd poller = { .fd = uffd, .events = POLLIN };
	struct uffd_msg message;
	u64 page;

	while (!READ(end)) {
		if (poll(&poller, 1, 10) <= 0 || read(uffd, &message, sizeof(message)) != sizeof(message))
			continue;
		page = (message.arg.pagefault.address - (u64)memory) / PAGE;
		if (message.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP)
			let_write(page);
		else if (message.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_MINOR)
			let_map(page);
		else
			deliver(page);
	}
	return unused;
}

static void *run_vcpu(void *arg)
{
	machine_expect(&m, (unsigned long)arg, DONE);
	return NULL;
}

/* The guest must see each page as it was delivered, and run where there is already something. */
static void run_on_demand(void)
{
	pthread_t handler, vcpu[2];
	unsigned long i;

	m = machine_create(2, 0);
	add_memory(0);
	machine_start(&m, 0, guest_up);
	machine_start(&m, 1, guest_jumping);
	pthread_create(&handler, NULL, handle_faults, NULL);
	for (i = 0; i < 2; i++)
		pthread_create(&vcpu[i], NULL, run_vcpu, (void *)i);
	for (i = 0; i < 2; i++)
		pthread_join(vcpu[i], NULL);
	end = true;
	pthread_join(handler, NULL);
	for (i = 0; i < NPAGES; i++)
		if (!delivered[i])
			fail("page %lu was never asked for", i);
}

/* The guest starts on nothing. */
static void test_post_copy(void)
{
	memory = mmap(NULL, NPAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	open_userfaultfd(0);
	register_memory(UFFDIO_REGISTER_MODE_MISSING);
	run_on_demand();
}

/* The guest starts on a file whose pages came by another way. */
static void test_minor(void)
{
	int file = memfd_create("guest", 0);
	u64 *other, i;

	if (file < 0 || ftruncate(file, NPAGES * PAGE))
		die("memfd");
	memory = mmap(NULL, NPAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	other = mmap(NULL, NPAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	for (i = 0; i < NPAGES; i++)
		other[i * PAGE / 8] = other[i * PAGE / 8 + 511] = value_of(i);
	open_userfaultfd(UFFD_FEATURE_MINOR_SHMEM);
	register_memory(UFFDIO_REGISTER_MODE_MINOR);
	run_on_demand();
}

static void protect_all(void)
{
	struct uffdio_writeprotect range = { .range = { (u64)memory, NPAGES * PAGE },
					     .mode = UFFDIO_WRITEPROTECT_MODE_WP };

	if (ioctl(uffd, UFFDIO_WRITEPROTECT, &range))
		die("UFFDIO_WRITEPROTECT");
}

static void test_write_protect(void)
{
	static unsigned long log[NPAGES / 64];
	struct kvm_dirty_log get = { .slot = SLOT, .dirty_bitmap = log };
	pthread_t handler;
	unsigned int round, i;

	memory = mmap(NULL, NPAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	madvise(memory, NPAGES * PAGE, MADV_NOHUGEPAGE);
	memset(memory, 1, NPAGES * PAGE);
	open_userfaultfd(UFFD_FEATURE_PAGEFAULT_FLAG_WP);
	register_memory(UFFDIO_REGISTER_MODE_WP);
	m = machine_create(1, 0);
	add_memory(KVM_MEM_LOG_DIRTY_PAGES);
	machine_start(&m, 0, guest_write);
	pthread_create(&handler, NULL, handle_faults, NULL);
	for (round = 0; round < 5 && !failed(); round++) {
		memset(reported, 0, sizeof(reported));
		for (i = 0; i < NPAGES; i++)
			chosen[i] = rand() % 4 == 0;
		protect_all();
		machine_expect(&m, 0, DONE);
		if (ioctl(m.vm, KVM_GET_DIRTY_LOG, &get))
			die("KVM_GET_DIRTY_LOG");
		for (i = 0; i < NPAGES; i++) {
			context("round %u, page %u", round, i);
			expect_eq(log[i / 64] >> i % 64 & 1, chosen[i]);
			expect_eq(!!reported[i], chosen[i]);
		}
	}
	end = true;
	pthread_join(handler, NULL);
}

static const struct test tests[] = {
	{ "post-copy: every page on demand", test_post_copy },
	{ "post-copy: pages that are there, but not mapped", test_minor },
	{ "write protection agrees with the dirty log", test_write_protect },
};

KTAP_MAIN(tests)
