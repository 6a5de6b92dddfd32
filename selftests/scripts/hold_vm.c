// SPDX-License-Identifier: GPL-2.0
/*
 * hold_vm DEVICE COMMAND [ARG...]: runs COMMAND while a VM of DEVICE exists. 125 if none can be made.
 * With -r before DEVICE a vCPU runs all the time, in a loop of its own; 124 if it stops before COMMAND does.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static void refuse(const char *what)
{
	perror(what);
	exit(125);
}

/* A freezer's signal or a debugger's is no end. */
static void *run(void *vcpu)
{
	while (!ioctl((int)(long)vcpu, KVM_RUN, 0) || errno == EINTR)
		;
	perror("KVM_RUN");
	exit(124);
}

/* jmp . at the reset vector, in the last of the pages below 4 GiB. */
static void start_guest(int vm)
{
	char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	const struct kvm_userspace_memory_region region = { .guest_phys_addr = 0xfffff000,
							    .memory_size = 4096,
							    .userspace_addr = (unsigned long)page };
	pthread_t thread;
	int vcpu;

	memcpy(page + 0xff0, "\xeb\xfe", 2);
	if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region))
		refuse("KVM_SET_USER_MEMORY_REGION");
	vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	if (vcpu < 0 || pthread_create(&thread, NULL, run, (void *)(long)vcpu))
		refuse("KVM_CREATE_VCPU");
}

int main(int argc, char **argv)
{
	int device, vm, status, runs = argc > 1 && !strcmp(argv[1], "-r");
	pid_t child;

	argv += runs;
	if (argc - runs < 3)
		return 2;
	device = open(argv[1], O_RDWR | O_CLOEXEC);
	vm = device < 0 ? -1 : ioctl(device, KVM_CREATE_VM, 0);
	if (vm < 0)
		refuse(argv[1]);
	if (runs)
		start_guest(vm);
	child = fork();
	if (!child) {
		execvp(argv[2], argv + 2);
		_exit(127);
	}
	waitpid(child, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
