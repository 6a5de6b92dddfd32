/* SPDX-License-Identifier: GPL-2.0 */
/* Dispatch of ioctls by table: what can be copied generically is, so that handlers see kernel memory only. */
#ifndef PITH_IOCTL_H
#define PITH_IOCTL_H

#include <linux/types.h>

/**
 * struct ioctl_row - one ioctl of a file
 * @handle: gets the file's object, and the argument: a copy of the struct (STRUCT; written back when it returns 0 or
 *	more and the number says so), or the argument as it came, a value or a user pointer (RAW)
 * @raw: no copying
 */
struct ioctl_row {
	unsigned int cmd;
	bool raw;
	long (*handle)(void *object, void *arg);
};

#define STRUCT false
#define RAW true

/**
 * ioctl_dispatch - finds the row of an ioctl and calls it
 * @unknown: the errno for a number that is in no row: KVM's differ from file to file
 * May sleep. Return: the handler's, -EFAULT, -ENOMEM, @unknown.
 */
long ioctl_dispatch(const struct ioctl_row *rows, unsigned int nr, void *object, unsigned int cmd, unsigned long arg,
		    long unknown);

#endif
