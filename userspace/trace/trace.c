// SPDX-License-Identifier: GPL-2.0
/*
 * Recording: a thread empties the vCPUs' rings into the file. It is late when a ring is written faster than the file: how
 * much was lost is in the trace, and told at the end.
 */
#include "trace.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "../vcpu.h"
#include "../vm.h"
#include "writer.h"

#define NR_RECORDS PITH_EXIT_LOG_MAX
/* What is copied out of a ring at a time, before it is looked at what has been overwritten meanwhile. */
#define BATCH 1024
#define REST_NS 500000
#define PAGE_SIZE 4096

struct log {
	const struct pith_exit_log *ring;
	const struct pith_exit_record *records;
	u64 next; /* to be read */
};

static struct {
	FILE *file;
	const struct trace_writer *writer;
	struct trace_info info;
	struct symbols symbols;
	struct log *logs;
	u64 nr, nr_lost;
	pthread_t thread;
	atomic_bool stop;
} trace;

static bool ends_with(const char *text, const char *end)
{
	size_t length = strlen(text), end_length = strlen(end);

	return length >= end_length && !strcmp(text + length - end_length, end);
}

/**
 * trace_open - prepare for a trace, so that what is wrong is told before anything runs
 * @path: of the file to write; its ending says in what form
 * @symbols: a file with the guest kernel's symbols, or NULL
 */
void trace_open(const char *path, const char *symbols)
{
	if (symbols) {
		symbols_load(&trace.symbols, symbols);
		trace.info.symbols = &trace.symbols;
	}
	trace.writer = ends_with(path, ".json") ? &trace_json : &trace_html;
	trace.file = fopen(path, "we");
	if (!trace.file)
		die("cannot write to %s: %s", path, strerror(errno));
}

static void lose(unsigned int vcpu, u64 nr)
{
	trace.nr_lost += nr;
	trace.writer->lost(trace.file, &trace.info, vcpu, nr);
}

/* The one at the head may be half written, over the oldest one. */
static u64 oldest(const struct log *log)
{
	u64 head = __atomic_load_n(&log->ring->head, __ATOMIC_ACQUIRE);

	return head < NR_RECORDS ? 0 : head - NR_RECORDS + 1;
}

static u64 skip_lost(struct log *log, unsigned int vcpu)
{
	u64 first = oldest(log), nr = first > log->next ? first - log->next : 0;

	if (nr)
		lose(vcpu, nr);
	log->next += nr;
	return nr;
}

/* Whether there may be more. */
static bool read_batch(struct log *log, unsigned int vcpu)
{
	static struct pith_exit_record batch[BATCH];
	u64 nr, nr_lost, head = __atomic_load_n(&log->ring->head, __ATOMIC_ACQUIRE);

	skip_lost(log, vcpu);
	nr = head > log->next ? min(head - log->next, BATCH) : 0;
	for (u64 i = 0; i < nr; i++)
		batch[i] = log->records[(log->next + i) % NR_RECORDS];
	atomic_thread_fence(memory_order_acquire);
	nr_lost = min(skip_lost(log, vcpu), nr);
	if (nr > nr_lost)
		trace.writer->records(trace.file, &trace.info, vcpu, batch + nr_lost, nr - nr_lost);
	log->next += nr - nr_lost;
	trace.nr += nr - nr_lost;
	return nr == BATCH;
}

static bool read_all(void)
{
	bool more = false;

	for (unsigned int i = 0; i < trace.info.nr_vcpus; i++)
		more |= read_batch(&trace.logs[i], i);
	return more;
}

static void *record(void *unused)
{
	const struct timespec rest = { .tv_nsec = REST_NS };

	while (!atomic_load(&trace.stop))
		if (!read_all())
			nanosleep(&rest, NULL);
	while (read_all())
		;
	return NULL;
}

static struct log map_log(const struct vcpu *vcpu)
{
	size_t size = PAGE_SIZE + NR_RECORDS * sizeof(struct pith_exit_record);
	const u8 *ring =
		mmap(NULL, size, PROT_READ, MAP_SHARED, vcpu->fd, (off_t)PITH_EXIT_LOG_PAGE_OFFSET * PAGE_SIZE);

	if (ring == MAP_FAILED)
		die("cannot map the exit log of a virtual CPU: %s", strerror(errno));
	return (struct log){ (const void *)ring, (const void *)(ring + PAGE_SIZE), 0 };
}

/**
 * trace_start - begin to record
 * @vm: the machine, with all its CPUs, none of which runs
 */
void trace_start(struct vm *vm)
{
	if (ioctl(vm->fd, PITH_SET_EXIT_LOG, NR_RECORDS) < 0)
		die("cannot switch on the exit log, which pith.ko has and other modules do not: %s", strerror(errno));
	trace.logs = calloc(vm->nr_vcpus, sizeof(*trace.logs));
	if (!trace.logs)
		die("out of memory");
	for (unsigned int i = 0; i < vm->nr_vcpus; i++)
		trace.logs[i] = map_log(&vm->vcpus[i]);
	trace.info.isa = trace.logs[0].ring->isa;
	trace.info.tsc_khz = trace.logs[0].ring->tsc_khz;
	trace.info.start = __builtin_ia32_rdtsc();
	trace.info.nr_vcpus = vm->nr_vcpus;
	trace.writer->begin(trace.file, &trace.info);
	if (pthread_create(&trace.thread, NULL, record, NULL))
		die("cannot start the thread that records the trace");
}

/**
 * trace_stop - write what is left, when no CPU runs any more
 */
void trace_stop(void)
{
	bool failed;

	if (!trace.thread)
		return;
	atomic_store(&trace.stop, true);
	pthread_join(trace.thread, NULL);
	trace.writer->end(trace.file, &trace.info);
	failed = ferror(trace.file);
	if (fclose(trace.file) || failed)
		error("the trace could not be written whole");
	if (trace.nr_lost)
		error("%" PRIu64 " exits are in the trace, and %" PRIu64 " came too fast for it", trace.nr,
		      trace.nr_lost);
}
