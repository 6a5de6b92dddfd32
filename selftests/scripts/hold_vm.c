// SPDX-License-Identifier: GPL-2.0
/* hold_vm DEVICE COMMAND [ARG...]: runs COMMAND while a VM of DEVICE exists. 125 if none can be made. */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int device, vm, status;
	pid_t child;

	if (argc < 3)
		return 2;
	device = open(argv[1], O_RDWR | O_CLOEXEC);
	vm = device < 0 ? -1 : ioctl(device, KVM_CREATE_VM, 0);
	if (vm < 0) {
		perror(argv[1]);
		return 125;
	}
	child = fork();
	if (!child) {
		execvp(argv[2], argv + 2);
		_exit(127);
	}
	waitpid(child, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
