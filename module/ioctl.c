// SPDX-License-Identifier: GPL-2.0
#include <linux/ioctl.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "ioctl.h"

/* Structs up to this size are copied to the stack. */
#define SMALL 192

static long copy_and_call(const struct ioctl_row *row, void *object, void __user *user, void *copy)
{
	unsigned int size = _IOC_SIZE(row->cmd);
	long r;

	if (_IOC_DIR(row->cmd) & _IOC_WRITE) {
		if (copy_from_user(copy, user, size))
			return -EFAULT;
	} else {
		memset(copy, 0, size);
	}
	r = row->handle(object, copy);
	if (r >= 0 && (_IOC_DIR(row->cmd) & _IOC_READ) && copy_to_user(user, copy, size))
		return -EFAULT;
	return r;
}

static long call_with_struct(const struct ioctl_row *row, void *object, void __user *user)
{
	u64 small[SMALL / sizeof(u64)];
	void *copy;
	long r;

	if (_IOC_SIZE(row->cmd) <= SMALL)
		return copy_and_call(row, object, user, small);
	copy = kmalloc(_IOC_SIZE(row->cmd), GFP_KERNEL_ACCOUNT);
	if (!copy)
		return -ENOMEM;
	r = copy_and_call(row, object, user, copy);
	kfree(copy);
	return r;
}

long ioctl_dispatch(const struct ioctl_row *rows, unsigned int nr, void *object, unsigned int cmd, unsigned long arg,
		    long unknown)
{
	unsigned int i;

	for (i = 0; i < nr; i++) {
		if (rows[i].cmd != cmd)
			continue;
		if (rows[i].raw)
			return rows[i].handle(object, (void *)arg);
		return call_with_struct(&rows[i], object, (void __user *)arg);
	}
	return unknown;
}
