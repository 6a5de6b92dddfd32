/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Another process's VM: how it is found, and how its guest's memory is read. The kernel decides who may: the VM's file
 * comes by pidfd_getfd(2), the memory from /proc/PID/mem.
 */
#ifndef PITH_ATTACH_H
#define PITH_ATTACH_H

#include <stdio.h>
#include <sys/types.h>

#include "../../uapi/pith.h"
#include "../util.h"

struct attached {
	pid_t pid;
	int fd;	    /* the inspection file */
	int memory; /* of the process */
	unsigned int nr_slots;
	struct pith_inspect_slot *slots;
};

/**
 * attach_vm_file - a copy of the file of another process's VM
 * @name: PID, or PID:FD where the process has several; ends the program if there is none, or it may not be had
 * @pid: written: its process
 */
int attach_vm_file(const char *name, pid_t *pid);

/** attach - to look inside a VM */
struct attached attach(const char *name);

/** attach_list - a line for each VM of the processes that may be looked into; how many */
unsigned int attach_list(FILE *out);

/** attach_slot - the slot that holds a guest-physical address, or NULL */
const struct pith_inspect_slot *attach_slot(const struct attached *attached, u64 gpa);

/** attach_read - guest-physical memory; 0, or negative if any of it is not there. @attached: a struct attached */
int attach_read(void *attached, u64 gpa, void *buf, size_t len);

#endif
