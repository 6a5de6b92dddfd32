// SPDX-License-Identifier: GPL-2.0
/*
 * Virtio block device: a raw file or block device of the host as a disk, served by a thread of its own.
 * Source: Virtual I/O Device (VIRTIO) Version 1.2, chapter 5.2.
 *
 * Data goes straight between the file and guest memory. A completed write is in the host's page cache, and so outlives
 * the runner; a completed flush is on the host's disk.
 */
#define _GNU_SOURCE
#include "blk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../vm.h"
#include "pci.h"

#define SECTOR 512
/* A request's header and status take two descriptors of a chain. */
#define MAX_DATA_SEGMENTS (VIRTQ_MAX_SIZE - 2)
/* Of discard and write zeroes: small enough that one range never keeps the thread for long. */
#define MAX_RANGE_SECTORS (GIB / SECTOR)
#define MAX_RANGES 64

struct blk {
	struct virtio_device virtio;
	struct virtio_blk_config config;
	const char *path;
	int fd;
	bool read_only;
	char id[VIRTIO_BLK_ID_BYTES];
};

/* What is left of a request's buffers, while it is carried out. */
struct buffers {
	struct iovec *iov;
	unsigned int nr;
};

static u64 size_of(const struct buffers *buffers)
{
	u64 size = 0;

	for (unsigned int i = 0; i < buffers->nr; i++)
		size += buffers->iov[i].iov_len;
	return size;
}

static void advance(struct buffers *buffers, size_t size)
{
	while (size) {
		size_t n = min(size, buffers->iov->iov_len);

		buffers->iov->iov_base = (char *)buffers->iov->iov_base + n;
		buffers->iov->iov_len -= n;
		size -= n;
		if (!buffers->iov->iov_len) {
			buffers->iov++;
			buffers->nr--;
		}
	}
}

/* Copies from or to the beginning of the buffers, as much as there is. */
static size_t copy(struct buffers *buffers, void *data, size_t size, bool to_buffers)
{
	size_t done = 0;

	while (done < size && buffers->nr) {
		size_t n = min(size - done, buffers->iov->iov_len);

		if (to_buffers)
			memcpy(buffers->iov->iov_base, (char *)data + done, n);
		else
			memcpy((char *)data + done, buffers->iov->iov_base, n);
		advance(buffers, n);
		done += n;
	}
	return done;
}

static bool on_disk(const struct blk *blk, u64 sector, u64 size)
{
	return sector <= blk->config.capacity && size % SECTOR == 0 && size / SECTOR <= blk->config.capacity - sector;
}

static u8 transfer(struct blk *blk, u64 sector, struct buffers *buffers,
		   ssize_t (*io)(int fd, const struct iovec *iov, int nr, off_t offset))
{
	off_t offset = sector * SECTOR;

	if (!on_disk(blk, sector, size_of(buffers)))
		return VIRTIO_BLK_S_IOERR;
	while (buffers->nr) {
		ssize_t n = io(blk->fd, buffers->iov, buffers->nr, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return VIRTIO_BLK_S_IOERR;
		advance(buffers, n);
		offset += n;
	}
	return VIRTIO_BLK_S_OK;
}

static u8 blk_in(struct blk *blk, u64 sector, struct buffers *out, struct buffers *in)
{
	return transfer(blk, sector, in, preadv);
}

static u8 blk_out(struct blk *blk, u64 sector, struct buffers *out, struct buffers *in)
{
	return transfer(blk, sector, out, pwritev);
}

static u8 blk_flush(struct blk *blk, u64 sector, struct buffers *out, struct buffers *in)
{
	return fdatasync(blk->fd) < 0 ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK;
}

static u8 blk_get_id(struct blk *blk, u64 sector, struct buffers *out, struct buffers *in)
{
	return copy(in, blk->id, sizeof(blk->id), true) == sizeof(blk->id) ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR;
}

static bool write_zeroes_by_hand(int fd, off_t offset, u64 size)
{
	static const char zeroes[64 * 1024];

	while (size) {
		ssize_t n = pwrite(fd, zeroes, min(size, sizeof(zeroes)), offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		offset += n;
		size -= n;
	}
	return true;
}

/* Not every file system can do either; a discard is only advice, but zeroes must be zeroes. */
static bool clear_range(struct blk *blk, off_t offset, u64 size, bool discard, bool unmap)
{
	int mode = FALLOC_FL_KEEP_SIZE | (discard || unmap ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);

	if (!size || !fallocate(blk->fd, mode, offset, size))
		return true;
	if (errno != EOPNOTSUPP && errno != ENOSYS)
		return false;
	return discard || write_zeroes_by_hand(blk->fd, offset, size);
}

static u8 clear_ranges(struct blk *blk, struct buffers *out, bool discard)
{
	const u32 flags = discard ? 0 : VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;
	struct virtio_blk_discard_write_zeroes range;

	for (unsigned int i = 0; out->nr; i++) {
		if (i == MAX_RANGES || copy(out, &range, sizeof(range), false) != sizeof(range))
			return VIRTIO_BLK_S_IOERR;
		if (range.flags & ~flags)
			return VIRTIO_BLK_S_UNSUPP;
		if (range.num_sectors > MAX_RANGE_SECTORS ||
		    !on_disk(blk, range.sector, (u64)range.num_sectors * SECTOR))
			return VIRTIO_BLK_S_IOERR;
		if (!clear_range(blk, range.sector * SECTOR, (u64)range.num_sectors * SECTOR, discard, range.flags))
			return VIRTIO_BLK_S_IOERR;
	}
	return VIRTIO_BLK_S_OK;
}

static u8 blk_discard(struct blk *blk, u64 sector, struct buffers *out, struct buffers *in)
{
	return clear_ranges(blk, out, true);
}

static u8 blk_write_zeroes(struct blk *blk, u64 sector, struct buffers *out, struct buffers *in)
{
	return clear_ranges(blk, out, false);
}

static const struct {
	u8 (*carry_out)(struct blk *blk, u64 sector, struct buffers *out, struct buffers *in);
	bool writes;
} requests[] = {
	[VIRTIO_BLK_T_IN] = { .carry_out = blk_in },
	[VIRTIO_BLK_T_OUT] = { .carry_out = blk_out, .writes = true },
	[VIRTIO_BLK_T_FLUSH] = { .carry_out = blk_flush },
	[VIRTIO_BLK_T_GET_ID] = { .carry_out = blk_get_id },
	[VIRTIO_BLK_T_DISCARD] = { .carry_out = blk_discard, .writes = true },
	[VIRTIO_BLK_T_WRITE_ZEROES] = { .carry_out = blk_write_zeroes, .writes = true },
};

static u8 carry_out(struct blk *blk, struct buffers *out, struct buffers *in)
{
	struct virtio_blk_outhdr header;

	if (copy(out, &header, sizeof(header), false) != sizeof(header))
		return VIRTIO_BLK_S_IOERR;
	if (header.type >= ARRAY_SIZE(requests) || !requests[header.type].carry_out)
		return VIRTIO_BLK_S_UNSUPP;
	if (requests[header.type].writes && blk->read_only)
		return VIRTIO_BLK_S_IOERR;
	return requests[header.type].carry_out(blk, header.sector, out, in);
}

/* The last byte that the device may write is the status; before it is the data, if there is any. */
static u32 blk_request(struct virtio_device *virtio, struct virtq_chain *chain)
{
	struct blk *blk = container_of(virtio, struct blk, virtio);
	struct buffers out = { chain->iov, chain->nr_out };
	struct buffers in = { chain->iov + chain->nr_out, chain->nr_in };
	u64 size = size_of(&in);
	struct iovec *last;
	u8 *status;

	if (!size)
		return 0;
	last = &in.iov[in.nr - 1];
	status = (u8 *)last->iov_base + --last->iov_len;
	if (!last->iov_len)
		in.nr--;
	*status = carry_out(blk, &out, &in);
	return size - size_of(&in);
}

static void *serve(void *opaque)
{
	struct blk *blk = opaque;
	eventfd_t kicks;

	for (;;) {
		if (!eventfd_read(blk->virtio.kick_fd, &kicks))
			virtio_serve(&blk->virtio, &blk->virtio.queues[0], blk_request);
	}
	return NULL;
}

/* Two writers, or a writer beside readers, would ruin the file systems on it. */
static void open_file(struct blk *blk)
{
	struct stat stat;
	off_t size;

	blk->fd = open(blk->path, (blk->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	if (blk->fd < 0)
		die("cannot open disk %s: %s%s", blk->path, strerror(errno),
		    errno == EROFS || errno == EACCES ? " (append ,ro to its name if it is only to be read)" : "");
	if (flock(blk->fd, (blk->read_only ? LOCK_SH : LOCK_EX) | LOCK_NB) < 0 && errno == EWOULDBLOCK)
		die("disk %s is in use already, and only those who have it read-only can share it", blk->path);
	size = lseek(blk->fd, 0, SEEK_END);
	if (fstat(blk->fd, &stat) < 0 || !(S_ISREG(stat.st_mode) || S_ISBLK(stat.st_mode)) || size < SECTOR)
		die("disk %s is not a file or block device of at least one sector", blk->path);
	blk->config.capacity = size / SECTOR;
}

static void set_features(struct blk *blk)
{
	struct virtio_blk_config *config = &blk->config;

	blk->virtio.features = 1 << VIRTIO_BLK_F_SEG_MAX | 1 << VIRTIO_BLK_F_BLK_SIZE | 1 << VIRTIO_BLK_F_FLUSH;
	config->seg_max = MAX_DATA_SEGMENTS;
	config->blk_size = SECTOR;
	if (blk->read_only) {
		blk->virtio.features |= 1 << VIRTIO_BLK_F_RO;
		return;
	}
	blk->virtio.features |= 1 << VIRTIO_BLK_F_DISCARD | 1 << VIRTIO_BLK_F_WRITE_ZEROES;
	config->max_discard_sectors = config->max_write_zeroes_sectors = MAX_RANGE_SECTORS;
	config->max_discard_seg = config->max_write_zeroes_seg = MAX_RANGES;
	config->discard_sector_alignment = 1;
	config->write_zeroes_may_unmap = 1;
}

/**
 * blk_init - give the machine a disk
 * @vm: the machine
 * @path: of a raw image or a block device
 * @read_only: the guest may only read it
 */
void blk_init(struct vm *vm, const char *path, bool read_only)
{
	static const struct virtio_type type = {
		.id = VIRTIO_ID_BLOCK,
		.pci_class = PCI_MASS_STORAGE,
		.nr_queues = 1,
	};
	static unsigned int nr_disks;
	struct blk *blk = calloc(1, sizeof(*blk));
	pthread_t thread;

	if (!blk)
		die("out of memory");
	blk->path = path;
	blk->read_only = read_only;
	snprintf(blk->id, sizeof(blk->id), "disk%u", nr_disks++);
	open_file(blk);
	set_features(blk);
	blk->virtio.config = &blk->config;
	blk->virtio.config_size = sizeof(blk->config);
	virtio_init(&blk->virtio, vm, &type);
	if (pthread_create(&thread, NULL, serve, blk))
		die("cannot start a thread for disk %s", path);
}
