// SPDX-License-Identifier: GPL-2.0
/*
 * time_test - the guest's TSC and kvmclock: what clients set and get, what guests read, that neither goes backwards on
 * whatever CPUs the vCPUs run. Nothing here asserts how long something takes. Source: KVM's api.rst; devices/vcpu.rst;
 * Documentation/virt/kvm/x86/msr.rst.
 */
#define _GNU_SOURCE
#include <asm/kvm_para.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "machine.h"

#define SECOND 1000000000ull
#define MSR_TSC 0x10
#define MSR_TSC_ADJUST 0x3b
#define STABLE 1 /* flags of struct pvclock */
#define STOPPED 2

/* -- the guest's half -------------------------------------------------------------------------------------------- */

static struct pvclock {
	u32 version, pad;
	u64 tsc_timestamp, system_time;
	u32 mul;
	int8_t shift;
	u8 flags, pad2[2];
} page[MACHINE_VCPUS] __attribute__((aligned(64)));
static struct {
	u32 version, sec, nsec;
} wall __attribute__((aligned(4)));

static u64 guest_result, guest_value;
static u32 guest_msr;

static u64 rdtsc(void)
{
	u32 low, high;

	asm volatile("lfence; rdtsc; lfence" : "=a"(low), "=d"(high) : : "memory");
	return low | (u64)high << 32;
}

/* As msr.rst has it. */
static u64 clock_of(const struct pvclock *p, u64 tsc)
{
	u64 delta = tsc - p->tsc_timestamp;

	delta = p->shift < 0 ? delta >> -p->shift : delta << p->shift;
	return p->system_time + (u64)((unsigned __int128)delta * p->mul >> 32);
}

static u64 read_clock(const struct pvclock *p)
{
	u32 version;
	u64 ns;

	do {
		version = READ(p->version) & ~1u;
		asm volatile("" : : : "memory");
		ns = clock_of(p, rdtsc());
		asm volatile("" : : : "memory");
	} while (READ(p->version) != version);
	return ns;
}

/* Says 1 after each reading of vCPU 0's clock, at host's wish. */
static void guest_reads_clock(void)
{
	wrmsr(guest_msr, (u64)&page[0] | 1);
	for (;;) {
		guest_result = read_clock(&page[0]);
		sync_host(1);
	}
}

static void guest_reads_tsc(void)
{
	for (;;) {
		guest_result = rdtsc();
		sync_host(1);
	}
}

static void guest_writes_msr(void)
{
	for (;;) {
		wrmsr(guest_msr, guest_value);
		guest_result = rdtsc();
		sync_host(1);
	}
}

/* -- the host's half --------------------------------------------------------------------------------------------- */

static struct kvm_clock_data get_clock(struct machine *m)
{
	struct kvm_clock_data data = { .flags = ~0u };

	expect_errno(ioctl(m->vm, KVM_GET_CLOCK, &data), 0);
	return data;
}

static u64 get_msr(struct machine *m, unsigned int vcpu, u32 index)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} msrs = { .head.nmsrs = 1, .entry.index = index };

	expect_eq(ioctl(m->vcpu[vcpu].fd, KVM_GET_MSRS, &msrs), 1);
	return msrs.entry.data;
}

static void set_msr(struct machine *m, unsigned int vcpu, u32 index, u64 value)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} msrs = { .head.nmsrs = 1, .entry = { .index = index, .data = value } };

	expect_eq(ioctl(m->vcpu[vcpu].fd, KVM_SET_MSRS, &msrs), 1);
}

static u64 get_offset(struct machine *m, unsigned int vcpu)
{
	u64 offset = 0;
	struct kvm_device_attr attribute = { .group = KVM_VCPU_TSC_CTRL,
					     .attr = KVM_VCPU_TSC_OFFSET,
					     .addr = (u64)&offset };

	expect_errno(ioctl(m->vcpu[vcpu].fd, KVM_GET_DEVICE_ATTR, &attribute), 0);
	return offset;
}

static void set_offset(struct machine *m, unsigned int vcpu, u64 offset)
{
	struct kvm_device_attr attribute = { .group = KVM_VCPU_TSC_CTRL,
					     .attr = KVM_VCPU_TSC_OFFSET,
					     .addr = (u64)&offset };

	expect_errno(ioctl(m->vcpu[vcpu].fd, KVM_SET_DEVICE_ATTR, &attribute), 0);
}

static u64 host_realtime(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec * SECOND + now.tv_nsec;
}

/* What the guest reads lies between what the client reads before and after. */
static void expect_guest_clock(struct machine *m)
{
	u64 before = get_clock(m).clock, after;

	machine_expect(m, 0, 1);
	after = get_clock(m).clock;
	if (guest_result < before || guest_result > after)
		fail("the guest read %lu, the client %lu before and %lu after", guest_result, before, after);
}

static void reads_clock(u32 msr)
{
	struct machine m = machine_create(1, 0);
	u64 tsc;
	struct kvm_clock_data data;

	guest_msr = msr;
	memset(page, 0xff, sizeof(page));
	machine_start(&m, 0, guest_reads_clock);
	expect_guest_clock(&m);
	expect_guest_clock(&m);
	expect_eq(get_msr(&m, 0, msr), (u64)&page[0] | 1);
	expect_eq(page[0].version & 1, 0);
	/* Stock KVM gives a guest that uses the old MSR a clock of another kind. */
	if (msr == MSR_KVM_SYSTEM_TIME)
		return;
	tsc = rdtsc();
	data = get_clock(&m);
	expect_eq(data.flags & (KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC), KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC);
	expect(data.host_tsc >= tsc && data.host_tsc <= rdtsc());
	expect(data.realtime <= host_realtime() && data.realtime + 3600 * SECOND > host_realtime());
}

static void clock_new(void)
{
	reads_clock(MSR_KVM_SYSTEM_TIME_NEW);
}

static void clock_old(void)
{
	reads_clock(MSR_KVM_SYSTEM_TIME);
}

static void set_clock(void)
{
	const u64 values[] = { 0, 180 * SECOND, 1, 1ull << 60 };
	struct machine m = machine_create(1, 0);
	struct kvm_clock_data data = {}, seen;
	unsigned int i;

	expect_eq(ioctl(m.vm, KVM_CHECK_EXTENSION, KVM_CAP_ADJUST_CLOCK),
		  KVM_CLOCK_TSC_STABLE | KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC);
	guest_msr = MSR_KVM_SYSTEM_TIME_NEW;
	machine_start(&m, 0, guest_reads_clock);
	machine_expect(&m, 0, 1);
	for (i = 0; i < ARRAY_SIZE(values); i++) {
		context("clock %lu", values[i]);
		data.clock = values[i];
		expect_errno(ioctl(m.vm, KVM_SET_CLOCK, &data), 0);
		seen = get_clock(&m);
		expect(seen.clock >= values[i] && seen.clock < values[i] + 3600 * SECOND);
		expect_guest_clock(&m);
		/* What was got can be set. */
		expect_errno(ioctl(m.vm, KVM_SET_CLOCK, &seen), 0);
		expect_guest_clock(&m);
	}
	context("realtime an hour ago");
	data = (struct kvm_clock_data){ .clock = 5 * SECOND,
					.flags = KVM_CLOCK_REALTIME,
					.realtime = host_realtime() - 3600 * SECOND };
	expect_errno(ioctl(m.vm, KVM_SET_CLOCK, &data), 0);
	seen = get_clock(&m);
	expect(seen.clock >= 3605 * SECOND && seen.clock < 7200 * SECOND);
	expect_guest_clock(&m);
	context("realtime to come");
	data.realtime = host_realtime() + 3600 * SECOND;
	expect_errno(ioctl(m.vm, KVM_SET_CLOCK, &data), 0);
	seen = get_clock(&m);
	expect(seen.clock >= 5 * SECOND && seen.clock < 3600 * SECOND);
	context("bad flags");
	data.flags = 1;
	expect_errno(ioctl(m.vm, KVM_SET_CLOCK, &data), EINVAL);
	expect(get_clock(&m).clock >= seen.clock);
}

static void wall_clock(void)
{
	const u32 msrs[] = { MSR_KVM_WALL_CLOCK, MSR_KVM_WALL_CLOCK_NEW };
	struct machine m = machine_create(1, 0);
	unsigned int i;
	u64 before, boot;

	machine_start(&m, 0, guest_writes_msr);
	for (i = 0; i < ARRAY_SIZE(msrs); i++) {
		memset(&wall, 0xff, sizeof(wall));
		guest_msr = msrs[i];
		guest_value = (u64)&wall;
		before = host_realtime();
		machine_expect(&m, 0, 1);
		context("MSR %#x", guest_msr);
		/* The time of day is that of then, plus kvmclock. */
		boot = wall.sec * SECOND + wall.nsec + get_clock(&m).clock;
		expect(boot >= before && boot <= host_realtime());
		expect_eq(wall.version & 1, 0);
		expect_eq(get_msr(&m, 0, guest_msr), (u64)&wall);
	}
}

static void clock_control(void)
{
	struct machine m = machine_create(1, 0);

	expect_eq(ioctl(m.vm, KVM_CHECK_EXTENSION, KVM_CAP_KVMCLOCK_CTRL), 1);
	expect_errno(ioctl(m.vcpu[0].fd, KVM_KVMCLOCK_CTRL, 0), EINVAL);
	memset(page, 0, sizeof(page));
	guest_msr = MSR_KVM_SYSTEM_TIME_NEW;
	machine_start(&m, 0, guest_reads_clock);
	expect_guest_clock(&m);
	expect_eq(page[0].flags & STOPPED, 0);
	expect_errno(ioctl(m.vcpu[0].fd, KVM_KVMCLOCK_CTRL, 0), 0);
	expect_guest_clock(&m);
	expect_eq(page[0].flags & STOPPED, STOPPED);
	/* It stays until the guest takes it away, and does not come back then. */
	ioctl(m.vm, KVM_SET_CLOCK, &(struct kvm_clock_data){ .clock = SECOND });
	expect_guest_clock(&m);
	expect_eq(page[0].flags & STOPPED, STOPPED);
	page[0].flags &= ~STOPPED;
	ioctl(m.vm, KVM_SET_CLOCK, &(struct kvm_clock_data){ .clock = SECOND });
	expect_guest_clock(&m);
	expect_eq(page[0].flags & STOPPED, 0);
	set_msr(&m, 0, MSR_KVM_SYSTEM_TIME_NEW, 0);
	expect_errno(ioctl(m.vcpu[0].fd, KVM_KVMCLOCK_CTRL, 0), EINVAL);
}

/* A vCPU's TSC is the host's and its offset. */
static void expect_guest_tsc(struct machine *m, unsigned int vcpu, u64 offset)
{
	u64 before = rdtsc() + offset, after;

	machine_expect(m, vcpu, 1);
	after = rdtsc() + offset;
	if (guest_result - before > after - before)
		fail("vCPU %u read TSC %#lx, not between %#lx and %#lx", vcpu, guest_result, before, after);
}

static void offsets(void)
{
	const u64 values[] = { 0, 1ull << 40, -(1ull << 40) };
	struct machine m = machine_create(2, 0);
	struct kvm_device_attr bad = { .group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET };
	unsigned int i;

	expect_eq(ioctl(m.vm, KVM_CHECK_EXTENSION, KVM_CAP_VCPU_ATTRIBUTES), 1);
	expect_errno(ioctl(m.vcpu[0].fd, KVM_HAS_DEVICE_ATTR, &bad), 0);
	expect_errno(ioctl(m.vcpu[0].fd, KVM_GET_DEVICE_ATTR, &bad), EFAULT);
	expect_errno(ioctl(m.vcpu[0].fd, KVM_SET_DEVICE_ATTR, &bad), EFAULT);
	bad.attr = 1;
	expect_errno(ioctl(m.vcpu[0].fd, KVM_HAS_DEVICE_ATTR, &bad), ENXIO);
	expect_errno(ioctl(m.vcpu[0].fd, KVM_SET_DEVICE_ATTR, &bad), ENXIO);
	bad = (struct kvm_device_attr){ .group = KVM_VCPU_TSC_CTRL + 1 };
	expect_errno(ioctl(m.vcpu[0].fd, KVM_HAS_DEVICE_ATTR, &bad), ENXIO);
	expect_errno(ioctl(m.vcpu[0].fd, KVM_GET_DEVICE_ATTR, &bad), ENXIO);
	machine_start(&m, 0, guest_reads_tsc);
	/* A VM's TSC begins at 0, for all vCPUs alike. */
	expect_eq(get_offset(&m, 0), get_offset(&m, 1));
	expect_guest_tsc(&m, 0, get_offset(&m, 0));
	for (i = 0; i < ARRAY_SIZE(values); i++) {
		set_offset(&m, 0, values[i]);
		expect_eq(get_offset(&m, 0), values[i]);
		expect_guest_tsc(&m, 0, values[i]);
	}
}

/* Clients write TSCs one after the other; those that were to be the same become the same. */
static void synchronized(void)
{
	struct machine m = machine_create(2, 0);
	u64 second = ioctl(m.vcpu[0].fd, KVM_GET_TSC_KHZ, 0) * 1000ull, offset;

	set_msr(&m, 0, MSR_TSC, 1000 * second);
	offset = get_offset(&m, 0);
	set_msr(&m, 1, MSR_TSC, 1000 * second);
	expect_eq(get_offset(&m, 1), offset);
	expect_eq(get_clock(&m).flags & KVM_CLOCK_TSC_STABLE, KVM_CLOCK_TSC_STABLE);
	/* Half a second beside it is meant to be the same, too; a vCPU that starts at 0 as well. */
	set_msr(&m, 1, MSR_TSC, 1000 * second + second / 2);
	expect_eq(get_offset(&m, 1), offset);
	set_msr(&m, 1, MSR_TSC, 0);
	expect_eq(get_offset(&m, 1), offset);
	/* An hour is not. */
	set_msr(&m, 1, MSR_TSC, 5000 * second);
	expect(get_offset(&m, 1) - offset > 3000 * second);
	expect_eq(get_clock(&m).flags & KVM_CLOCK_TSC_STABLE, 0);
	set_msr(&m, 0, MSR_TSC, 5000 * second);
	expect_eq(get_offset(&m, 0), get_offset(&m, 1));
	expect_eq(get_clock(&m).flags & KVM_CLOCK_TSC_STABLE, KVM_CLOCK_TSC_STABLE);
}

/* Where the TSCs of vCPUs differ, kvmclock must not tell the guest that one page is good for all. */
static void stable_bit(void)
{
	struct machine m = machine_create(2, 0);

	guest_msr = MSR_KVM_SYSTEM_TIME_NEW;
	machine_start(&m, 0, guest_reads_clock);
	expect_guest_clock(&m);
	expect_eq(page[0].flags & STABLE, STABLE);
	set_offset(&m, 1, 12345);
	expect_guest_clock(&m);
	expect_eq(page[0].flags & STABLE, 0);
	set_offset(&m, 0, 12345);
	expect_guest_clock(&m);
	expect_eq(page[0].flags & STABLE, STABLE);
}

/* A guest that moves its TSC moves IA32_TSC_ADJUST, and the other way round; kvmclock does not move. */
static void guest_moves_tsc(void)
{
	struct machine m = machine_create(1, 0);
	u64 offset = get_offset(&m, 0);

	set_msr(&m, 0, MSR_KVM_SYSTEM_TIME_NEW, (u64)&page[0] | 1);
	machine_start(&m, 0, guest_writes_msr);
	guest_msr = MSR_TSC_ADJUST;
	guest_value = 1ull << 44;
	expect_guest_tsc(&m, 0, offset + guest_value);
	expect_eq(get_offset(&m, 0), offset + guest_value);
	guest_msr = MSR_TSC;
	guest_value = 1ull << 50;
	machine_expect(&m, 0, 1);
	expect_eq(get_msr(&m, 0, MSR_TSC_ADJUST), get_offset(&m, 0) - offset);
	expect(guest_result >= guest_value && guest_result < guest_value + (1ull << 44));
	machine_start(&m, 0, guest_reads_clock);
	guest_msr = MSR_KVM_SYSTEM_TIME_NEW;
	expect_guest_clock(&m);
	/* The client's own writes are apart from each other. */
	set_msr(&m, 0, MSR_TSC_ADJUST, 77);
	expect_eq(get_msr(&m, 0, MSR_TSC_ADJUST), 77);
	expect(get_msr(&m, 0, MSR_TSC) >= 1ull << 50);
}

/* The guest's TSC runs at khz. */
static void expect_rate(struct machine *m, u64 khz, u64 host_khz)
{
	u64 host[4], guest[2];
	unsigned int i;

	for (i = 0; i < 2; i++) {
		host[2 * i] = rdtsc();
		machine_expect(m, 0, 1);
		guest[i] = guest_result;
		host[2 * i + 1] = rdtsc();
		while (!i && rdtsc() - host[1] < host_khz * 20)
			;
	}
	guest[1] -= guest[0];
	host[3] -= host[0];
	host[2] -= host[1];
	context("%lu kHz, host %lu kHz", khz, host_khz);
	/* One tick in 1,000 for ratios that have no more digits. */
	expect(guest[1] <= (unsigned __int128)host[3] * khz / host_khz * 1001 / 1000 + 2);
	expect(guest[1] + 2 >= (unsigned __int128)host[2] * khz / host_khz * 999 / 1000);
}

static void rates(void)
{
	struct machine m = machine_create(1, 0);
	int fd = m.vcpu[0].fd, khz = ioctl(fd, KVM_GET_TSC_KHZ, 0);
	bool scales = ioctl(m.vm, KVM_CHECK_EXTENSION, KVM_CAP_TSC_CONTROL);

	diag("this CPU %s", scales ? "scales the TSC" : "does not scale the TSC");
	expect_eq(ioctl(m.vm, KVM_CHECK_EXTENSION, KVM_CAP_VM_TSC_CONTROL), scales);
	machine_start(&m, 0, guest_reads_tsc);
	expect_rate(&m, khz, khz);
	/* Within the tolerance no scaling is needed, but the client's rate is told. */
	expect_errno(ioctl(fd, KVM_SET_TSC_KHZ, khz + khz / 10000), 0);
	expect_eq(ioctl(fd, KVM_GET_TSC_KHZ, 0), khz + khz / 10000);
	expect_errno(ioctl(fd, KVM_SET_TSC_KHZ, 2 * khz), 0);
	expect_eq(ioctl(fd, KVM_GET_TSC_KHZ, 0), 2 * khz);
	expect_rate(&m, 2 * khz, khz);
	expect_errno(ioctl(fd, KVM_SET_TSC_KHZ, khz / 2), scales ? 0 : EINVAL);
	if (scales) {
		expect_rate(&m, khz / 2, khz);
		expect_errno(ioctl(fd, KVM_SET_TSC_KHZ, -1), EINVAL);
	}
	expect_errno(ioctl(fd, KVM_SET_TSC_KHZ, 0), 0);
	expect_eq(ioctl(fd, KVM_GET_TSC_KHZ, 0), khz);
	expect_rate(&m, khz, khz);
}

/* A VM's rate is that of the vCPUs that it gets from then on, and kvmclock stays right with it. */
static void vm_rate(void)
{
	struct machine m = machine_create(0, 0), one;
	int khz = ioctl(m.vm, KVM_GET_TSC_KHZ, 0), vcpu;

	expect(khz > 0);
	expect_errno(ioctl(m.vm, KVM_SET_TSC_KHZ, 3 * khz), 0);
	expect_eq(ioctl(m.vm, KVM_GET_TSC_KHZ, 0), 3 * khz);
	vcpu = ioctl(m.vm, KVM_CREATE_VCPU, 0);
	expect_eq(ioctl(vcpu, KVM_GET_TSC_KHZ, 0), 3 * khz);
	expect_errno(ioctl(m.vm, KVM_SET_TSC_KHZ, 0), 0);
	expect_eq(ioctl(m.vm, KVM_GET_TSC_KHZ, 0), khz);
	expect_eq(ioctl(vcpu, KVM_GET_TSC_KHZ, 0), 3 * khz);
	one = machine_create(1, 0);
	expect_errno(ioctl(one.vcpu[0].fd, KVM_SET_TSC_KHZ, 3 * khz), 0);
	guest_msr = MSR_KVM_SYSTEM_TIME_NEW;
	machine_start(&one, 0, guest_reads_clock);
	machine_expect(&one, 0, 1);
	if (ioctl(m.vm, KVM_CHECK_EXTENSION, KVM_CAP_TSC_CONTROL)) {
		expect_guest_clock(&one);
		expect_guest_clock(&one);
	}
}

/* A guest's reading, and the host's clock before and after. */
struct reading {
	u64 before, guest, after;
};

static u64 host_raw(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_RAW, &now);
	return now.tv_sec * SECOND + now.tv_nsec;
}

/* The narrowest of some. */
static struct reading read_both(struct machine *m)
{
	struct reading best = { .after = ~0ull }, r;
	unsigned int i;

	for (i = 0; i < 20; i++) {
		r.before = host_raw();
		machine_expect(m, 0, 1);
		r.after = host_raw();
		r.guest = guest_result;
		if (r.after - r.before < best.after - best.before)
			best = r;
	}
	return best;
}

/* kvmclock runs as the host's clock does, within 10 ppm: over a second, in the long form a minute. */
static void rate_of_clock(void)
{
	struct machine m = machine_create(1, 0);
	struct reading begin, end;
	u64 least, most;

	guest_msr = MSR_KVM_SYSTEM_TIME_NEW;
	machine_start(&m, 0, guest_reads_clock);
	begin = read_both(&m);
	sleep(is_long() ? 60 : 1);
	end = read_both(&m);
	least = end.before - begin.after;
	most = end.after - begin.before;
	diag("the guest's %lu ns, the host's %lu to %lu ns", end.guest - begin.guest, least, most);
	expect(end.guest - begin.guest >= least - least / 100000);
	expect(end.guest - begin.guest <= most + most / 100000);
}

/* -- never backwards --------------------------------------------------------------------------------------------- */

static u64 last_ns __attribute__((aligned(64))), last_tsc __attribute__((aligned(64)));
static u64 reads_wanted, reads_done[MACHINE_VCPUS][8], backwards;

/* After @last was read, @now was: it must not be less. Then it is what others have to reach. */
static void check(u64 *last, u64 seen, u64 now)
{
	if (now < seen)
		__atomic_fetch_add(&backwards, 1, __ATOMIC_RELAXED);
	while (now > seen && !__atomic_compare_exchange_n(last, &seen, now, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		;
}

static void race(unsigned int vcpu)
{
	u64 seen;

	wrmsr(MSR_KVM_SYSTEM_TIME_NEW, (u64)&page[vcpu] | 1);
	while (reads_done[vcpu][0] < reads_wanted) {
		seen = __atomic_load_n(&last_ns, __ATOMIC_SEQ_CST);
		check(&last_ns, seen, read_clock(&page[vcpu]));
		seen = __atomic_load_n(&last_tsc, __ATOMIC_SEQ_CST);
		check(&last_tsc, seen, rdtsc());
		reads_done[vcpu][0] += 2;
	}
	for (;;)
		sync_host(2);
}

static void race_0(void)
{
	race(0);
}

static void race_1(void)
{
	race(1);
}

static void race_2(void)
{
	race(2);
}

static void race_3(void)
{
	race(3);
}

static struct machine racers;

static void *run_racer(void *vcpu)
{
	machine_expect(&racers, (unsigned long)vcpu, 2);
	return NULL;
}

/*
 * Four vCPUs are moved about between the CPUs while they read; in the long form 10 million times in all.
 */
static void never_backwards(void)
{
	void (*const guests[])(void) = { race_0, race_1, race_2, race_3 };
	unsigned int nr_cpus = sysconf(_SC_NPROCESSORS_ONLN), moves = 0, i;
	pthread_t threads[ARRAY_SIZE(guests)];
	bool running = true;
	u64 all = 0;

	reads_wanted = (is_long() ? 10000000 : 200000) / ARRAY_SIZE(guests);
	racers = machine_create(ARRAY_SIZE(guests), 0);
	for (i = 0; i < ARRAY_SIZE(guests); i++) {
		machine_start(&racers, i, guests[i]);
		pthread_create(&threads[i], NULL, run_racer, (void *)(unsigned long)i);
	}
	while (running) {
		usleep(2000);
		running = false;
		for (i = 0; i < ARRAY_SIZE(guests); i++) {
			cpu_set_t set;

			CPU_ZERO(&set);
			CPU_SET((rand() >> 4) % nr_cpus, &set);
			pthread_setaffinity_np(threads[i], sizeof(set), &set);
			running |= READ(reads_done[i][0]) < reads_wanted;
			moves++;
		}
	}
	for (i = 0; i < ARRAY_SIZE(guests); i++) {
		pthread_join(threads[i], NULL);
		all += reads_done[i][0];
	}
	diag("%lu reads on %u CPUs, %u moves", all, nr_cpus, moves);
	expect_eq(backwards, 0);
}

static const struct test tests[] = {
	{ "kvmclock by its MSR", clock_new },
	{ "kvmclock by its old MSR", clock_old },
	{ "KVM_SET_CLOCK", set_clock },
	{ "the wall clock", wall_clock },
	{ "KVM_KVMCLOCK_CTRL", clock_control },
	{ "TSC offsets", offsets },
	{ "TSCs written one after the other", synchronized },
	{ "PVCLOCK_TSC_STABLE_BIT", stable_bit },
	{ "a guest moves its TSC", guest_moves_tsc },
	{ "KVM_SET_TSC_KHZ", rates },
	{ "KVM_SET_TSC_KHZ on a VM", vm_rate },
	{ "the rate of kvmclock", rate_of_clock },
	{ "no clock goes backwards", never_backwards },
};

KTAP_MAIN(tests)
