// SPDX-License-Identifier: GPL-2.0
/* See attach.h. */
#define _GNU_SOURCE
#include "attach.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PATH_SIZE 64

/* -- the file ---------------------------------------------------------------------------------------------------- */

static bool is_vm(pid_t pid, int fd)
{
	char path[PATH_SIZE], target[PATH_SIZE];
	ssize_t len;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
	len = readlink(path, target, sizeof(target));
	return len == (ssize_t)strlen("anon_inode:pith-vm") && !memcmp(target, "anon_inode:pith-vm", len);
}

/* The first VM among a process's files from @fd on, or negative. */
static int next_vm(pid_t pid, int fd)
{
	int found = -1, number;
	char path[PATH_SIZE];
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	if (!dir)
		return -errno;
	while ((entry = readdir(dir))) {
		number = atoi(entry->d_name);
		if (entry->d_name[0] != '.' && number >= fd && (found < 0 || number < found) && is_vm(pid, number))
			found = number;
	}
	closedir(dir);
	return found < 0 ? -ENOENT : found;
}

static _Noreturn void refuse(pid_t pid, int error)
{
	switch (error) {
	case ESRCH:
		die("there is no process %d", pid);
	case ENOENT:
		die("process %d has no VM of pith's, or is not there", pid);
	case EPERM:
	case EACCES:
		die("process %d is not yours to look into: be its user, or root", pid);
	default:
		die("cannot look into process %d: %s", pid, strerror(error));
	}
}

int attach_vm_file(const char *name, pid_t *pid)
{
	char *end;
	long fd = 0, number = strtol(name, &end, 10);
	int pidfd, file;

	if (*end == ':' && end > name)
		fd = strtol(end + 1, &end, 10);
	if (end == name || *end || number <= 0 || number > 1 << 30 || fd < 0 || fd > 1 << 30)
		die("a VM is told by its process, PID or PID:FD, not by %s", name);
	*pid = number;
	file = next_vm(*pid, fd);
	if (file >= 0 && strchr(name, ':') && file != fd)
		file = -ENOENT;
	if (file < 0)
		refuse(*pid, -file);
	pidfd = syscall(SYS_pidfd_open, *pid, 0);
	if (pidfd < 0)
		refuse(*pid, errno);
	file = syscall(SYS_pidfd_getfd, pidfd, file, 0);
	if (file < 0)
		refuse(*pid, errno);
	close(pidfd);
	return file;
}

static unsigned int list_process(FILE *out, pid_t pid)
{
	char path[PATH_SIZE], name[PATH_SIZE] = "";
	unsigned int nr = 0;
	int fd;
	FILE *comm;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	comm = fopen(path, "r");
	if (comm) {
		if (!fgets(name, sizeof(name), comm))
			name[0] = '\0';
		fclose(comm);
	}
	name[strcspn(name, "\n")] = '\0';
	for (fd = next_vm(pid, 0); fd >= 0; fd = next_vm(pid, fd + 1), nr++)
		fprintf(out, "%d:%d %s\n", pid, fd, name);
	return nr;
}

unsigned int attach_list(FILE *out)
{
	struct dirent *entry;
	unsigned int nr = 0;
	DIR *dir = opendir("/proc");

	if (!dir)
		die("cannot read /proc: %s", strerror(errno));
	while ((entry = readdir(dir)))
		if (atoi(entry->d_name) > 0)
			nr += list_process(out, atoi(entry->d_name));
	closedir(dir);
	return nr;
}

/* -- the memory -------------------------------------------------------------------------------------------------- */

static void read_slots(struct attached *attached)
{
	struct pith_inspect_slot slot = {};

	while (!ioctl(attached->fd, PITH_INSPECT_SLOT, &slot)) {
		attached->slots = realloc(attached->slots, (attached->nr_slots + 1) * sizeof(slot));
		if (!attached->slots)
			die("out of memory");
		attached->slots[attached->nr_slots++] = slot;
		slot.gpa += slot.size;
	}
}

struct attached attach(const char *name)
{
	struct attached attached = {};
	int vm = attach_vm_file(name, &attached.pid);
	char path[PATH_SIZE];

	snprintf(path, sizeof(path), "/proc/%d/mem", attached.pid);
	attached.memory = open(path, O_RDONLY | O_CLOEXEC);
	if (attached.memory < 0)
		refuse(attached.pid, errno);
	attached.fd = must(ioctl(vm, PITH_INSPECT, 0), "look into the VM");
	close(vm);
	read_slots(&attached);
	return attached;
}

const struct pith_inspect_slot *attach_slot(const struct attached *attached, u64 gpa)
{
	unsigned int i;

	for (i = 0; i < attached->nr_slots; i++)
		if (gpa - attached->slots[i].gpa < attached->slots[i].size)
			return &attached->slots[i];
	return NULL;
}

int attach_read(void *opaque, u64 gpa, void *buf, size_t len)
{
	const struct attached *attached = opaque;
	const struct pith_inspect_slot *slot;
	size_t part;

	for (; len; gpa += part, buf += part, len -= part) {
		slot = attach_slot(attached, gpa);
		if (!slot)
			return -1;
		part = min(len, slot->gpa + slot->size - gpa);
		if (pread(attached->memory, buf, part, slot->userspace_addr + gpa - slot->gpa) != (ssize_t)part)
			return -1;
	}
	return 0;
}
