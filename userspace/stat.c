// SPDX-License-Identifier: GPL-2.0
/*
 * pith stat: what VMs exit for, how often, and for how long, counted by the module while this runs. It shows differences: of
 * one interval, live; or of the whole time, as JSON.
 */
#include "stat.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "exits.h"
#include "inspect/attach.h"

#define COUNTS_SIZE(rows) (sizeof(struct pith_exit_counts) + (rows) * sizeof(struct pith_exit_count))

struct watched {
	char name[32];
	int fd;
	struct pith_exit_counts *before, *now;
};

static struct watched *watched;
static unsigned int nr_watched;
static volatile sig_atomic_t interrupted;

static void interrupt(int signal)
{
	interrupted = 1;
}

/* -- reading ----------------------------------------------------------------------------------------------------- */

static struct pith_exit_counts *read_counts(int fd)
{
	struct pith_exit_counts *counts = NULL;
	ssize_t n = -1;

	for (size_t rows = 64; n < 0; rows *= 2) {
		free(counts);
		counts = malloc(COUNTS_SIZE(rows));
		if (!counts)
			die("out of memory");
		n = read(fd, counts, COUNTS_SIZE(rows));
		if (n < 0 && errno != E2BIG)
			die("cannot read counts of exits: %s", strerror(errno));
	}
	return counts;
}

static void watch(const char *name)
{
	struct watched *w;
	int vm, inspect;
	pid_t pid;

	watched = realloc(watched, (nr_watched + 1) * sizeof(*watched));
	if (!watched)
		die("out of memory");
	w = &watched[nr_watched++];
	vm = attach_vm_file(name, &pid);
	inspect = must(ioctl(vm, PITH_INSPECT, 0), "look into the VM");
	*w = (struct watched){ .fd = must(ioctl(inspect, PITH_INSPECT_EXITS, 0), "count the VM's exits") };
	snprintf(w->name, sizeof(w->name), "%s", name);
	close(inspect);
	close(vm);
	w->before = read_counts(w->fd);
}

/* Each line begins with what attach_vm_file() takes. */
static void watch_all(void)
{
	char *text, *rest, *line;
	size_t size;
	FILE *list = open_memstream(&text, &size);

	attach_list(list);
	fclose(list);
	for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		line[strcspn(line, " ")] = '\0';
		watch(line);
	}
	free(text);
	if (!nr_watched)
		die("there is no VM of pith's that may be looked into");
}

/* What has been counted in a row since then: rows come, and none goes. */
static struct pith_exit_count difference(const struct pith_exit_counts *before, const struct pith_exit_count *now)
{
	struct pith_exit_count d = *now;

	for (u32 i = 0; i < before->nr_rows; i++) {
		const struct pith_exit_count *b = &before->rows[i];

		if (b->vcpu != now->vcpu || b->reason != now->reason)
			continue;
		d.count -= b->count;
		d.ticks -= b->ticks;
		for (unsigned int k = 0; k < PITH_EXIT_BUCKETS; k++)
			d.histogram[k] -= b->histogram[k];
	}
	return d;
}

/* -- showing ----------------------------------------------------------------------------------------------------- */

/* The name of what pith_exit_slot() has made of a reason. */
static const char *slot_name(u32 isa, u32 slot)
{
	const struct exit_name *names;
	unsigned int nr;

	names = exit_names(isa, &nr);
	for (unsigned int i = 0; i < nr; i++)
		if (pith_exit_slot(names[i].reason) == slot)
			return names[i].name;
	return "?";
}

static double seconds(const struct watched *w)
{
	return (w->now->tsc - w->before->tsc) / (w->now->tsc_khz * 1000.0);
}

static void show_json_row(const struct watched *w, const struct pith_exit_count *d, const char *comma)
{
	printf("%s{\"vcpu\":%u,\"reason\":%u,\"name\":\"%s\",\"count\":%" PRIu64 ",\"ticks\":%" PRIu64
	       ",\"histogram\":[",
	       comma, d->vcpu, d->reason, slot_name(w->now->isa, d->reason), (u64)d->count, (u64)d->ticks);
	for (unsigned int i = 0; i < PITH_EXIT_BUCKETS; i++)
		printf("%s%" PRIu64, i ? "," : "", (u64)d->histogram[i]);
	printf("]}");
}

static void show_json(void)
{
	printf("{\"vms\":[");
	for (unsigned int i = 0; i < nr_watched; i++) {
		const struct watched *w = &watched[i];
		const char *comma = "";

		printf("%s{\"vm\":\"%s\",\"seconds\":%.6f,\"tsc_khz\":%u,\"vcpus\":%u,\"exits\":[", i ? "," : "",
		       w->name, seconds(w), w->now->tsc_khz, w->now->nr_vcpus);
		for (u32 k = 0; k < w->now->nr_rows; k++) {
			struct pith_exit_count d = difference(w->before, &w->now->rows[k]);

			if (!d.count)
				continue;
			show_json_row(w, &d, comma);
			comma = ",";
		}
		printf("]}");
	}
	printf("]}\n");
}

/* From the shortest exit to the longest: how many, in eight heights. */
static void show_histogram(const struct pith_exit_count *d)
{
	static const char *const heights[] = { " ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" };
	u64 most = 1;

	for (unsigned int i = 0; i < PITH_EXIT_BUCKETS; i++)
		if (d->histogram[i] > most)
			most = d->histogram[i];
	for (unsigned int i = 6; i < PITH_EXIT_BUCKETS; i++)
		fputs(heights[(d->histogram[i] * 8 + most - 1) / most], stdout);
}

static void show_row(const struct watched *w, const struct pith_exit_count *d)
{
	double us = d->ticks * 1000.0 / w->now->tsc_khz;

	printf("%4u  %-20s %10.0f %12.2f %6.1f%%  ", d->vcpu, slot_name(w->now->isa, d->reason), d->count / seconds(w),
	       us / d->count, us / 1e4 / seconds(w));
	show_histogram(d);
	putchar('\n');
}

static int by_count(const void *a, const void *b)
{
	const struct pith_exit_count *x = a, *y = b;

	if (x->vcpu != y->vcpu)
		return x->vcpu < y->vcpu ? -1 : 1;
	return x->count > y->count ? -1 : x->count < y->count;
}

static void show_vm(const struct watched *w)
{
	struct pith_exit_count *rows = calloc(w->now->nr_rows + 1, sizeof(*rows));
	unsigned int nr = 0;

	if (!rows)
		die("out of memory");
	for (u32 i = 0; i < w->now->nr_rows; i++) {
		rows[nr] = difference(w->before, &w->now->rows[i]);
		nr += rows[nr].count != 0;
	}
	qsort(rows, nr, sizeof(*rows), by_count);
	printf("VM %s: %u vCPU%s, %.1f s\n", w->name, w->now->nr_vcpus, w->now->nr_vcpus == 1 ? "" : "s", seconds(w));
	printf("vCPU  exits for            a second      mean µs   time   2^6 to 2^39 ticks and more\n");
	for (unsigned int i = 0; i < nr; i++)
		show_row(w, &rows[i]);
	free(rows);
}

static void show_live(void)
{
	if (isatty(STDOUT_FILENO))
		fputs("\033[H\033[J", stdout);
	for (unsigned int i = 0; i < nr_watched; i++) {
		show_vm(&watched[i]);
		free(watched[i].before);
		watched[i].before = watched[i].now;
		watched[i].now = NULL;
	}
	fflush(stdout);
}

static void take(void)
{
	for (unsigned int i = 0; i < nr_watched; i++)
		watched[i].now = read_counts(watched[i].fd);
}

/* -- the command ------------------------------------------------------------------------------------------------- */

static const struct option options[] = {
	{ "json", no_argument, NULL, 'j' },
	{ "interval", required_argument, NULL, 'i' },
	{ 0 },
};

static double parse_interval(const char *text)
{
	char *end;
	double interval = strtod(text, &end);

	if (end == text || *end || !(interval >= 0.01 && interval <= 1e6)) {
		error("--interval takes seconds, such as 0.5, not %s", text);
		exit(STATUS_USAGE);
	}
	return interval;
}

/* A signal that comes between the two lengthens the last interval, and no more. */
static void rest(double interval)
{
	struct timespec time = { .tv_sec = interval, .tv_nsec = (interval - (time_t)interval) * 1e9 };

	if (!interrupted)
		nanosleep(&time, NULL);
}

/**
 * stat_main - pith stat
 * @argv: from "stat" on
 */
int stat_main(int argc, char **argv)
{
	const struct sigaction action = { .sa_handler = interrupt };
	double interval = 1;
	bool json = false;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == '?')
			return STATUS_USAGE;
		if (option == 'j')
			json = true;
		else
			interval = parse_interval(optarg);
	}
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	for (; optind < argc; optind++)
		watch(argv[optind]);
	if (!nr_watched)
		watch_all();
	do {
		rest(interval);
		take();
		if (json)
			show_json();
		else
			show_live();
	} while (!json && !interrupted);
	return STATUS_OK;
}
