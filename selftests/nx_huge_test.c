// SPDX-License-Identifier: GPL-2.0
/*
 * nx_huge_test - on CPUs with the erratum "iTLB multihit", or if the module's parameter nx_huge_pages says so, a guest
 * executes no code in a large page of the second-stage tables: such a page has data, and code gets small ones, until
 * they are recovered. Source: the kernel's kernel-parameters.txt, kvm.nx_huge_pages*; KVM's api.rst,
 * "KVM_CAP_VM_DISABLE_NX_HUGE_PAGES".
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "machine.h"
#include "pith.h"
#include "stats.h"

#define PAGE 4096ul
#define MiB (1ul << 20)
#define SLOT 7
#define GPA 0x20000000ul
#define SIZE (4 * MiB)
#define CODE (GPA + 5 * PAGE)
#define TABLES (GPA + 16 * PAGE)
#define LARGE 0x80ul /* of a page-table entry */
#define VALUE 0x0123456789abcdeful

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

enum { DONE = 1, WRONG };

/* -- the guest ---------------------------------------------------------------------------------------------------- */

static bool code_first;

static void check_data(u64 at)
{
	sync_host(READ(*(u64 *)at) == VALUE ? DONE : WRONG);
}

static void guest(void)
{
	if (!code_first)
		check_data(GPA);
	((void (*)(void))CODE)();
	sync_host(DONE);
	/* The page beside it, and a write to the code's own. */
	check_data(GPA + 6 * PAGE);
	READ(*(u64 *)(CODE + 8)) = VALUE;
	check_data(CODE + 8);
	((void (*)(void))CODE)();
	check_data(GPA + 2 * MiB);
}

/* -- the client --------------------------------------------------------------------------------------------------- */

static bool small_pages_for_code; /* what is to be expected */

static void expect_code_in(bool small)
{
	small_pages_for_code = small;
	diag("code %s", small ? "in small pages only" : "in pages of any size");
}

/* What the kernel says of the CPU begins so if it has the erratum and nobody has switched mitigations off. */
static bool cpu_needs_it(void)
{
	FILE *file = fopen("/sys/devices/system/cpu/vulnerabilities/itlb_multihit", "r");
	char text[64] = "";
	bool off;

	if (!file || !fgets(text, sizeof(text), file))
		skip("the kernel does not tell whether the CPU has the erratum");
	fclose(file);
	off = !system("grep -q mitigations=off /proc/cmdline");
	return strncmp(text, "Not affected", 12) && !off;
}

enum { NX_HUGE_PAGES, RATIO, PERIOD, NR_PARAMETERS };

static const char *const parameter_names[] = { "nx_huge_pages", "nx_huge_pages_recovery_ratio",
					       "nx_huge_pages_recovery_period_ms" };

static int open_parameter(unsigned int which, int flags)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "/sys/module/pith/parameters/%s", parameter_names[which]);
	fd = open(path, flags);
	if (fd < 0)
		die("%s", path);
	return fd;
}

struct value {
	char text[64];
};

static struct value get_parameter(unsigned int which)
{
	struct value value = {};
	int fd = open_parameter(which, O_RDONLY);

	if (read(fd, value.text, sizeof(value.text) - 1) < 2)
		die("parameter %s", parameter_names[which]);
	close(fd);
	value.text[strcspn(value.text, "\n")] = '\0';
	return value;
}

static int set_parameter(unsigned int which, const char *text)
{
	int fd = open_parameter(which, O_WRONLY);
	int r = write(fd, text, strlen(text)) < 0 ? -1 : 0;
	int error = errno;

	close(fd);
	errno = error;
	return r;
}

static struct value saved[NR_PARAMETERS];

static void restore_parameters(void)
{
	unsigned int i;

	for (i = 0; i < NR_PARAMETERS; i++)
		set_parameter(i, saved[i].text);
}

/* Until the test's end. */
static void change_parameters(const char *nx_huge_pages, const char *ratio, const char *period)
{
	unsigned int i;

	for (i = 0; i < NR_PARAMETERS; i++)
		saved[i] = get_parameter(i);
	atexit(restore_parameters);
	expect_errno(set_parameter(NX_HUGE_PAGES, nx_huge_pages), 0);
	expect_errno(set_parameter(RATIO, ratio), 0);
	expect_errno(set_parameter(PERIOD, period), 0);
}

static bool is_on(void)
{
	return get_parameter(NX_HUGE_PAGES).text[0] == 'Y';
}

static int inspection, stats;
static u8 *client_memory;

static struct pith_inspect_page look_at_page(u64 gpa)
{
	struct pith_inspect_page page = { .gpa = gpa };

	expect_errno(ioctl(inspection, PITH_INSPECT_PAGE, &page), 0);
	return page;
}

static void expect_page(u64 gpa, u64 size, bool executable)
{
	struct pith_inspect_page page = look_at_page(gpa);

	expect_eq(page.size, size);
	expect_eq(!!(page.flags & PITH_PAGE_EXEC), executable);
}

static void *huge_memory(void)
{
	u8 *start = mmap(NULL, SIZE + 2 * MiB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	u64 at;

	if (start == MAP_FAILED)
		die("mmap");
	start = (u8 *)(((u64)start + 2 * MiB - 1) & -(2 * MiB));
	madvise(start, SIZE, MADV_HUGEPAGE);
	for (at = 0; at < SIZE; at += 8)
		*(u64 *)(start + at) = VALUE;
	if (madvise(start, SIZE, MADV_COLLAPSE))
		skip("no huge pages");
	return start;
}

static struct machine start_guest_with(unsigned int with)
{
	struct machine m = machine_create(1, with);
	u8 *memory = client_memory = huge_memory();
	struct kvm_userspace_memory_region region = {
		.slot = SLOT, .guest_phys_addr = GPA, .memory_size = SIZE, .userspace_addr = (u64)memory
	};

	expect_code_in(is_on() && !(with & WITH_LARGE_CODE));
	memory[CODE - GPA] = 0xc3; /* ret */
	expect_errno(ioctl(m.vm, KVM_SET_USER_MEMORY_REGION, &region), 0);
	inspection = ioctl(m.vm, PITH_INSPECT, 0);
	expect(inspection >= 0);
	stats = ioctl(m.vm, KVM_GET_STATS_FD, 0);
	expect(stats >= 0);
	machine_start(&m, 0, guest);
	return m;
}

static struct machine start_guest(void)
{
	return start_guest_with(0);
}

static void expect_broken_up(u64 nr)
{
	expect_eq(stats_value(stats, "nx_lpage_splits"), nr);
}

/* The rest of what the guest does: whatever was small stays so, and the other large page is not concerned. */
static void expect_the_rest(struct machine *m)
{
	u64 size = small_pages_for_code ? PAGE : 2 * MiB;

	machine_expect(m, 0, DONE);
	expect_page(GPA + 6 * PAGE, size, true);
	machine_expect(m, 0, DONE);
	expect_page(CODE, size, true);
	machine_expect(m, 0, DONE);
	expect_page(GPA + 2 * MiB, 2 * MiB, !small_pages_for_code);
	expect_broken_up(small_pages_for_code);
}

/* Data, then code in it, of which there is so much in large pages before and after. */
static void expect_data_then_code(struct machine *m)
{
	u64 large = stats_value(stats, "pages_2m");

	machine_expect(m, 0, DONE);
	expect_page(GPA, 2 * MiB, !small_pages_for_code);
	expect_eq(stats_value(stats, "pages_2m"), large + 1);
	expect_broken_up(0);
	machine_expect(m, 0, DONE);
	expect_page(CODE, small_pages_for_code ? PAGE : 2 * MiB, true);
	expect_eq(stats_value(stats, "pages_2m"), large + !small_pages_for_code);
	expect_broken_up(small_pages_for_code);
}

static void test_data_then_code(void)
{
	struct machine m = start_guest();

	expect_data_then_code(&m);
	expect_the_rest(&m);
}

static void test_code_first(void)
{
	struct machine m;

	code_first = true;
	m = start_guest();
	machine_expect(&m, 0, DONE);
	expect_page(CODE, small_pages_for_code ? PAGE : 2 * MiB, true);
	expect_the_rest(&m);
}

/* The guest's page tables, copied to behind its code: to fetch that, the CPU reads them, in the same large page. */
static void move_tables(struct machine *m, u8 *memory)
{
	struct kvm_sregs sregs;
	u64 *table, entry, gpa = TABLES;

	expect_errno(ioctl(m->vcpu[0].fd, KVM_GET_SREGS, &sregs), 0);
	entry = sregs.cr3;
	sregs.cr3 = gpa;
	for (; entry && !(entry & LARGE); gpa += PAGE) {
		table = (u64 *)(memory + gpa - GPA);
		memcpy(table, (void *)(entry & -PAGE), PAGE);
		entry = table[0];
		if (!(entry & LARGE))
			table[0] = (gpa + PAGE) | (entry & (PAGE - 1));
	}
	expect_errno(ioctl(m->vcpu[0].fd, KVM_SET_SREGS, &sregs), 0);
}

static void test_code_beside_tables(void)
{
	struct machine m;

	code_first = true;
	m = start_guest();
	move_tables(&m, client_memory);
	machine_expect(&m, 0, DONE);
	expect_page(CODE, small_pages_for_code ? PAGE : 2 * MiB, true);
	expect_the_rest(&m);
}

/* -- recovery ----------------------------------------------------------------------------------------------------- */

#define PATIENCE 3000 /* 20 ms each */
#define NEVER "3600000"

static void wait_for_recovery(void)
{
	unsigned int i;

	expect_errno(set_parameter(PERIOD, "10"), 0);
	for (i = 0; i < PATIENCE && stats_value(stats, "nx_lpage_splits"); i++)
		usleep(20000);
	expect_errno(set_parameter(PERIOD, NEVER), 0);
	expect_broken_up(0);
	expect_eq(look_at_page(CODE).size, 0);
}

/* Whatever comes first: data has its large page back, code does not. */
static void expect_recovered(struct machine *m)
{
	machine_expect(m, 0, DONE);
	expect_page(GPA + 6 * PAGE, 2 * MiB, false);
	machine_expect(m, 0, DONE);
	expect_page(CODE + 8, 2 * MiB, false);
	expect_broken_up(0);
	machine_expect(m, 0, DONE);
	expect_page(CODE, PAGE, true);
}

static void test_recovery(void)
{
	struct machine m;

	change_parameters("force", "1", NEVER);
	m = start_guest();
	expect_data_then_code(&m);
	wait_for_recovery();
	expect_recovered(&m);
	wait_for_recovery();
}

/* Nothing happens to it, until it is asked for. */
static void test_no_recovery(void)
{
	struct machine m;

	change_parameters("force", "0", "1");
	m = start_guest();
	expect_data_then_code(&m);
	usleep(500000);
	expect_page(CODE, PAGE, true);
	expect_broken_up(1);
	expect_errno(set_parameter(RATIO, "1"), 0);
	wait_for_recovery();
	expect_errno(set_parameter(RATIO, "0"), 0);
	expect_recovered(&m);
}

/* -- the parameters, and a VM without ----------------------------------------------------------------------------- */

/* For VMs that there are, too. */
static void test_switching(void)
{
	struct machine m;

	change_parameters("off", "60", "0");
	m = start_guest();
	machine_expect(&m, 0, DONE);
	machine_expect(&m, 0, DONE);
	expect_page(CODE, 2 * MiB, true);
	expect_errno(set_parameter(NX_HUGE_PAGES, "force"), 0);
	expect_eq(look_at_page(CODE).size, 0);
	expect_recovered(&m);
	expect_errno(set_parameter(NX_HUGE_PAGES, "off"), 0);
	expect_eq(look_at_page(CODE).size, 0);
	expect_broken_up(0);
}

static void test_parameters(void)
{
	static const struct {
		unsigned int which;
		const char *text, *told; /* NULL: what it was */
		int error;
	} rows[] = {
		{ NX_HUGE_PAGES, "force", "Y", 0 },
		{ NX_HUGE_PAGES, "maybe", NULL, EINVAL },
		{ NX_HUGE_PAGES, "-1", NULL, EINVAL },
		{ NX_HUGE_PAGES, "0", "N", 0 },
		{ NX_HUGE_PAGES, "1", "Y", 0 },
		{ NX_HUGE_PAGES, "off", "N", 0 },
		{ RATIO, "7", "7", 0 },
		{ RATIO, "-1", NULL, EINVAL },
		{ RATIO, "x", NULL, EINVAL },
		{ RATIO, "4294967296", NULL, ERANGE },
		{ RATIO, "4294967295", "4294967295", 0 },
		{ PERIOD, "100", "100", 0 },
		{ PERIOD, "-1", NULL, EINVAL },
		{ PERIOD, "4294967295", "4294967295", 0 },
	};
	unsigned int i;

	change_parameters("off", "60", "0");
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct value before = get_parameter(rows[i].which);

		context("%s to %s", parameter_names[rows[i].which], rows[i].text);
		expect_errno(set_parameter(rows[i].which, rows[i].text), rows[i].error);
		expect(!strcmp(get_parameter(rows[i].which).text, rows[i].told ?: before.text));
	}
	context("auto");
	expect_errno(set_parameter(NX_HUGE_PAGES, "auto"), 0);
	expect_eq(is_on(), cpu_needs_it());
}

static int disable(struct machine *m, u32 flags, u64 argument)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_VM_DISABLE_NX_HUGE_PAGES, .flags = flags, .args = { argument } };

	return ioctl(m->vm, KVM_ENABLE_CAP, &cap);
}

static void test_disabling(void)
{
	struct machine m = machine_create(0, 0), started;

	expect_eq(ioctl(m.vm, KVM_CHECK_EXTENSION, KVM_CAP_VM_DISABLE_NX_HUGE_PAGES), 1);
	expect_errno(disable(&m, 1, 0), EINVAL);
	expect_errno(disable(&m, 0, 1), EINVAL);
	expect_errno(disable(&m, 0, 0), 0);
	expect_errno(disable(&m, 0, 0), 0);
	machine_destroy(&m);

	started = start_guest_with(WITH_LARGE_CODE);
	expect_errno(disable(&started, 0, 0), EINVAL);
	expect_data_then_code(&started);
	expect_the_rest(&started);

	/* Without CAP_SYS_BOOT, which counts before all else. */
	expect_errno(seteuid(65534), 0);
	expect_errno(disable(&started, 0, 1), EPERM);
}

static const struct test tests[] = {
	{ "a large page of data, then code in it", test_data_then_code },
	{ "code first", test_code_first },
	{ "code beside its page tables", test_code_beside_tables },
	{ "recovered", test_recovery },
	{ "not recovered, and then asked for", test_no_recovery },
	{ "switched while a VM runs", test_switching },
	{ "the parameters' values", test_parameters },
	{ "a VM without", test_disabling },
};

KTAP_MAIN(tests)
