// SPDX-License-Identifier: GPL-2.0
#include "host.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

bool shell(const char *command)
{
	return !system(command);
}

bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return ok;
}

u64 read_number(const char *path, const char *name)
{
	FILE *file = fopen(path, "r");
	char line[256];
	u64 number = 0;

	while (file && fgets(line, sizeof(line), file))
		if (!strncmp(line, name, strlen(name)))
			number = strtoul(line + strlen(name), NULL, 10);
	if (file)
		fclose(file);
	return number;
}

#define SWAP "/tmp/swap"

void swap_on(void)
{
	if (!shell("mkdir -p " SWAP " && mount -t ramfs none " SWAP " && dd if=/dev/zero of=" SWAP
		   "/file bs=1M count=64 "
		   "2>/dev/null && losetup /dev/loop3 " SWAP
		   "/file && mkswap /dev/loop3 >/dev/null && swapon /dev/loop3"))
		skip("no swap");
}

void swap_off(void)
{
	if (!shell("swapoff /dev/loop3 && losetup -d /dev/loop3 && umount " SWAP))
		fail("the swap file does not go");
}

void limit_memory(u64 bytes)
{
	char text[32];

	if (!shell("grep -q \" cgroup2 \" /proc/mounts || mount -t cgroup2 none /sys/fs/cgroup") ||
	    !shell("echo +memory > /sys/fs/cgroup/cgroup.subtree_control && mkdir -p " GROUP))
		skip("no memory control groups");
	snprintf(text, sizeof(text), "%lu", bytes);
	if (!write_file(GROUP "/memory.max", text))
		die(GROUP "/memory.max");
	snprintf(text, sizeof(text), "%d", getpid());
	if (!write_file(GROUP "/cgroup.procs", text))
		die(GROUP "/cgroup.procs");
}

void unlimit_memory(void)
{
	write_file(GROUP "/memory.max", "max");
	write_file("/sys/fs/cgroup/cgroup.procs", "0");
	shell("rmdir " GROUP);
}

u64 counted(const char *name)
{
	static struct {
		const char *name;
		u64 before;
	} counters[8], *c;

	for (c = counters; c->name; c++)
		if (!strcmp(c->name, name))
			return read_number("/proc/vmstat", name) - c->before;
	c->name = name;
	c->before = read_number("/proc/vmstat", name);
	return 0;
}
