// SPDX-License-Identifier: GPL-2.0
/*
 * The virtual machine as the kernel sees it: the device, the interrupt controllers and the timer in the kernel, the
 * memory slots.
 */
#include "vm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>

/* Three pages for the TSS and one for the page table that some Intel CPUs need for real mode, next to 4 GiB. */
#define TSS_ADDR 0xfffbd000ull
#define IDENTITY_MAP_ADDR 0xfffbc000ull

static const struct {
	int number;
	const char *name;
} required[] = {
	{ KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY" },
	{ KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP" },
	{ KVM_CAP_PIT2, "KVM_CAP_PIT2" },
	{ KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID" },
	{ KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT" },
};

static int open_device(const char *device)
{
	int fd = open(device, O_RDWR | O_CLOEXEC);

	if (fd < 0 && (errno == ENOENT || errno == ENXIO || errno == ENODEV))
		die("there is no %s: is %s loaded?", device, strcmp(device, "/dev/kvm") ? "pith.ko" : "KVM");
	if (fd < 0 && (errno == EACCES || errno == EPERM))
		die("no permission to open %s: try as root, or let your user have the device", device);
	if (fd < 0)
		die("cannot open %s: %s", device, strerror(errno));
	if (ioctl(fd, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
		die("%s does not speak version %d of the KVM interface", device, KVM_API_VERSION);
	return fd;
}

static void add_memory_slots(struct vm *vm)
{
	for (unsigned int i = 0; i < vm->memory.nr_ranges; i++) {
		const struct memory_range *range = &vm->memory.ranges[i];
		struct kvm_userspace_memory_region slot = {
			.slot = i,
			.guest_phys_addr = range->gpa,
			.memory_size = range->size,
			.userspace_addr = (uintptr_t)range->host,
		};

		must(ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &slot), "give the virtual machine so much memory");
	}
}

/**
 * vm_create - create a virtual machine with memory, interrupt controllers and a timer
 * @vm: filled in
 * @device: the device node to ask
 * @memory_size: bytes of RAM
 */
void vm_create(struct vm *vm, const char *device, u64 memory_size)
{
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
	u64 identity_map_addr = IDENTITY_MAP_ADDR;

	vm->kvm_fd = open_device(device);
	for (unsigned int i = 0; i < ARRAY_SIZE(required); i++) {
		if (!vm_extension(vm, required[i].number))
			die("%s lacks %s, which a guest cannot run without", device, required[i].name);
	}
	vm->has_msi = vm_extension(vm, KVM_CAP_SIGNAL_MSI);
	vm->has_ioeventfd = vm_extension(vm, KVM_CAP_IOEVENTFD);

	vm->fd = must(ioctl(vm->kvm_fd, KVM_CREATE_VM, 0), "create a virtual machine");
	if (vm_extension(vm, KVM_CAP_SET_IDENTITY_MAP_ADDR))
		must(ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map_addr), "place the identity map");
	if (vm_extension(vm, KVM_CAP_SET_TSS_ADDR))
		must(ioctl(vm->fd, KVM_SET_TSS_ADDR, TSS_ADDR), "place the task state segment");
	must(ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0), "create the interrupt controllers");
	must(ioctl(vm->fd, KVM_CREATE_PIT2, &pit), "create the timer");

	memory_init(&vm->memory, memory_size);
	add_memory_slots(vm);
	bus_init(&vm->pio);
	bus_init(&vm->mmio);
	vm->wake_fd = must(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "create an eventfd");
	atomic_init(&vm->status, -1);
}

/**
 * vm_extension - ask for an extension of the KVM interface
 * @vm: the machine
 * @extension: KVM_CAP_*
 *
 * Return: zero if it is not there, otherwise what KVM_CHECK_EXTENSION says of it.
 */
int vm_extension(const struct vm *vm, int extension)
{
	int value = ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, extension);

	return value < 0 ? 0 : value;
}

/**
 * vm_wake - let the main thread look around
 * @vm: the machine
 */
void vm_wake(struct vm *vm)
{
	eventfd_write(vm->wake_fd, 1);
}

/**
 * vm_stop - let the machine end; from any thread
 * @vm: the machine
 * @status: what the runner is to return; the first one counts
 */
void vm_stop(struct vm *vm, enum status status)
{
	int running = -1;

	atomic_compare_exchange_strong(&vm->status, &running, status);
	vm_wake(vm);
}

/**
 * vm_running - whether nobody has asked for the machine to end
 * @vm: the machine
 */
bool vm_running(struct vm *vm)
{
	return atomic_load(&vm->status) < 0;
}
