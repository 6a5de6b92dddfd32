/* SPDX-License-Identifier: GPL-2.0 */
#ifndef PITH_VIRTIO_BLK_H
#define PITH_VIRTIO_BLK_H

#include <stdbool.h>

struct vm;

void blk_init(struct vm *vm, const char *path, bool read_only);

#endif
