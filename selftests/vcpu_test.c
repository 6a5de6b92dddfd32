// SPDX-License-Identifier: GPL-2.0
/*
 * vCPUs and their ids: how many there may be, which one starts the machine, what state each is in, and that interrupts find
 * those with long ids.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "machine.h"

#define MAX_VCPUS 1024
#define MAX_IDS 4096
#define VECTOR 0x60

static int create_vm(bool chips)
{
	int device = open(device_path, O_RDWR | O_CLOEXEC), vm = ioctl(device, KVM_CREATE_VM, 0);

	if (vm < 0)
		die("KVM_CREATE_VM");
	if (chips && ioctl(vm, KVM_CREATE_IRQCHIP, 0))
		die("KVM_CREATE_IRQCHIP");
	return vm;
}

static int create_vcpu(int vm, unsigned long id)
{
	return ioctl(vm, KVM_CREATE_VCPU, id);
}

static int must_create_vcpu(int vm, unsigned long id)
{
	int fd = create_vcpu(vm, id);

	if (fd < 0)
		die("KVM_CREATE_VCPU %lu", id);
	return fd;
}

/* -- ids --------------------------------------------------------------------------------------------------------- */

static void test_ids(void)
{
	int vm = create_vm(true);

	expect_eq(ioctl(vm, KVM_CHECK_EXTENSION, KVM_CAP_NR_VCPUS), sysconf(_SC_NPROCESSORS_ONLN));
	expect_eq(ioctl(vm, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS), MAX_VCPUS);
	expect_eq(ioctl(vm, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPU_ID), MAX_IDS);
	must_create_vcpu(vm, 5);
	expect_errno(create_vcpu(vm, 5), EEXIST);
	expect_errno(create_vcpu(vm, MAX_IDS), EINVAL);
	must_create_vcpu(vm, MAX_IDS - 1);
	must_create_vcpu(vm, 0);
}

static void test_as_many(void)
{
	struct rlimit files = { MAX_VCPUS + 100, MAX_VCPUS + 100 };
	int vm = create_vm(true);
	unsigned int i;

	if (setrlimit(RLIMIT_NOFILE, &files))
		die("setrlimit");
	for (i = 0; i < MAX_VCPUS; i++)
		must_create_vcpu(vm, i * 4);
	expect_errno(create_vcpu(vm, 1), EINVAL);
}

static int limit_ids(int vm, u64 ids)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_MAX_VCPU_ID, .args[0] = ids };

	return ioctl(vm, KVM_ENABLE_CAP, &cap);
}

/* KVM's api.rst, "KVM_CAP_MAX_VCPU_ID" among the capabilities that can be enabled. */
static void test_limited_ids(void)
{
	int vm = create_vm(true);

	expect_errno(limit_ids(vm, MAX_IDS + 1), EINVAL);
	expect_errno(limit_ids(vm, 8), 0);
	expect_errno(limit_ids(vm, 8), 0);
	expect_errno(limit_ids(vm, 9), EINVAL);
	expect_errno(create_vcpu(vm, 8), EINVAL);
	must_create_vcpu(vm, 7);

	vm = create_vm(true);
	must_create_vcpu(vm, 0);
	expect_errno(limit_ids(vm, 8), EINVAL);
	expect_errno(limit_ids(vm, MAX_IDS), 0);
}

/* -- states ------------------------------------------------------------------------------------------------------ */

static u32 mp_state(int vcpu)
{
	struct kvm_mp_state state;

	if (ioctl(vcpu, KVM_GET_MP_STATE, &state))
		die("KVM_GET_MP_STATE");
	return state.mp_state;
}

static int set_mp_state(int vcpu, u32 value)
{
	struct kvm_mp_state state = { value };

	return ioctl(vcpu, KVM_SET_MP_STATE, &state);
}

static struct kvm_sregs sregs(int vcpu)
{
	struct kvm_sregs s;

	if (ioctl(vcpu, KVM_GET_SREGS, &s))
		die("KVM_GET_SREGS");
	return s;
}

static void test_boot_cpu(void)
{
	int vm = create_vm(true), vcpu;
	unsigned int i;

	expect_errno(ioctl(vm, KVM_SET_BOOT_CPU_ID, 2), 0);
	for (i = 0; i < 4; i++) {
		context("vCPU %u", i);
		vcpu = must_create_vcpu(vm, i);
		expect_eq(mp_state(vcpu), i == 2 ? KVM_MP_STATE_RUNNABLE : KVM_MP_STATE_UNINITIALIZED);
		expect_eq(sregs(vcpu).apic_base >> 8 & 1, i == 2);
	}
	expect_errno(ioctl(vm, KVM_SET_BOOT_CPU_ID, 1), EBUSY);
}

static void test_mp_states(void)
{
	static const u32 kept[] = { KVM_MP_STATE_HALTED, KVM_MP_STATE_UNINITIALIZED, KVM_MP_STATE_INIT_RECEIVED,
				    KVM_MP_STATE_RUNNABLE };
	int vcpu = must_create_vcpu(create_vm(true), 0);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(kept); i++) {
		context("state %u", kept[i]);
		expect_errno(set_mp_state(vcpu, kept[i]), 0);
		expect_eq(mp_state(vcpu), kept[i]);
	}
	expect_errno(set_mp_state(vcpu, KVM_MP_STATE_STOPPED), EINVAL);
	expect_errno(set_mp_state(vcpu, ~0u), EINVAL);
	expect_eq(mp_state(vcpu), KVM_MP_STATE_RUNNABLE);

	context("without a local APIC");
	vcpu = must_create_vcpu(create_vm(false), 1);
	expect_eq(mp_state(vcpu), KVM_MP_STATE_RUNNABLE);
	for (i = 0; i < ARRAY_SIZE(kept); i++)
		expect_errno(set_mp_state(vcpu, kept[i]), kept[i] == KVM_MP_STATE_RUNNABLE ? 0 : EINVAL);
}

static void signal_msi(int vm, u32 dest, u32 data)
{
	struct kvm_msi msi = { .address_lo = 0xfee00000 | dest << 12, .data = data };

	if (ioctl(vm, KVM_SIGNAL_MSI, &msi) < 0)
		die("KVM_SIGNAL_MSI");
}

/* Stock KVM finds a vCPU by its ID only when a local APIC has changed since it was made. */
static void set_same_lapic(int vcpu)
{
	struct kvm_lapic_state state;

	if (ioctl(vcpu, KVM_GET_LAPIC, &state) || ioctl(vcpu, KVM_SET_LAPIC, &state))
		die("KVM_SET_LAPIC");
}

/* Nobody runs: the client asks for the state, and sees what INIT and SIPI have made of it. */
static void test_init_sipi(void)
{
	int vm = create_vm(true), vcpu;
	struct kvm_regs regs = { .rip = 0x1234, .rflags = 2 };

	must_create_vcpu(vm, 0);
	vcpu = must_create_vcpu(vm, 1);
	set_same_lapic(vcpu);
	expect_errno(set_mp_state(vcpu, KVM_MP_STATE_RUNNABLE), 0);
	expect_errno(ioctl(vcpu, KVM_SET_REGS, &regs), 0);
	signal_msi(vm, 1, ICR_STARTUP | 0x12);
	expect_eq(mp_state(vcpu), KVM_MP_STATE_RUNNABLE);
	signal_msi(vm, 1, ICR_INIT | ICR_ASSERT);
	expect_eq(mp_state(vcpu), KVM_MP_STATE_INIT_RECEIVED);
	expect_eq(sregs(vcpu).cs.selector, 0xf000);
	signal_msi(vm, 1, ICR_STARTUP | 0x34);
	expect_eq(mp_state(vcpu), KVM_MP_STATE_RUNNABLE);
	expect_eq(sregs(vcpu).cs.selector, 0x3400);
	expect_eq(sregs(vcpu).cs.base, 0x34000);
}

/* -- long ids ---------------------------------------------------------------------------------------------------- */

static const u32 long_ids[MACHINE_VCPUS] = { 0, 300, 301, 4095 };
static volatile unsigned int ready;

static u32 logical_id(u32 id)
{
	return id >> 4 << 16 | 1u << (id & 15);
}

static void guest_receiver(void)
{
	apic_enable();
	__atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
	for (;;)
		asm volatile("sti; hlt" : : : "memory");
}

/* By ID, by logical ID, both neighbours of a cluster at once, and everybody else. */
static void guest_sender(void)
{
	unsigned int i;

	apic_enable();
	while (ready < MACHINE_VCPUS - 1)
		asm volatile("pause");
	for (i = 1; i < MACHINE_VCPUS; i++) {
		apic_send(ICR_ASSERT | VECTOR, long_ids[i]);
		apic_send(ICR_ASSERT | ICR_LOGICAL | (VECTOR + 1), logical_id(long_ids[i]));
	}
	apic_send(ICR_ASSERT | ICR_LOGICAL | (VECTOR + 2), logical_id(300) | logical_id(301));
	apic_send(ICR_ASSERT | ICR_OTHERS | (VECTOR + 3), 0);
	apic_send(ICR_ASSERT | (VECTOR + 4), 4094);
	for (i = 1; i < MACHINE_VCPUS; i++)
		while (!READ(taken[i][VECTOR + 3]) || !READ(taken[i][VECTOR]))
			asm volatile("pause");
	while (!READ(taken[1][VECTOR + 2]) || !READ(taken[2][VECTOR + 2]))
		asm volatile("pause");
	sync_host(1);
}

struct thread {
	struct machine *m;
	unsigned int vcpu;
};

static void *receiver_thread(void *argument)
{
	struct thread *t = argument;

	machine_run(t->m, t->vcpu);
	return NULL;
}

static void test_long_ids(void)
{
	static struct thread threads[MACHINE_VCPUS];
	struct machine m;
	pthread_t thread;
	unsigned int i;

	memcpy(machine_ids, long_ids, sizeof(long_ids));
	m = machine_create(MACHINE_VCPUS, WITH_CHIPS);
	x2apic = true;
	for (i = 1; i < MACHINE_VCPUS; i++) {
		threads[i] = (struct thread){ &m, i };
		machine_start(&m, i, guest_receiver);
		if (pthread_create(&thread, NULL, receiver_thread, &threads[i]))
			die("pthread_create");
	}
	machine_start(&m, 0, guest_sender);
	machine_expect(&m, 0, 1);
	for (i = 1; i < MACHINE_VCPUS; i++) {
		context("vCPU %u", long_ids[i]);
		expect_eq(taken[i][VECTOR], 1);
		expect_eq(taken[i][VECTOR + 1], 1);
		expect_eq(taken[i][VECTOR + 2], i < 3);
		expect_eq(taken[i][VECTOR + 3], 1);
		expect_eq(taken[i][VECTOR + 4], 0);
	}
}

static const struct test tests[] = {
	{ "ids of vCPUs", test_ids },
	{ "as many vCPUs as there may be", test_as_many },
	{ "KVM_CAP_MAX_VCPU_ID", test_limited_ids },
	{ "KVM_SET_BOOT_CPU_ID", test_boot_cpu },
	{ "KVM_SET_MP_STATE, KVM_GET_MP_STATE", test_mp_states },
	{ "INIT and SIPI to a vCPU that does not run", test_init_sipi },
	{ "IPIs to long ids", test_long_ids },
};

KTAP_MAIN(tests)
