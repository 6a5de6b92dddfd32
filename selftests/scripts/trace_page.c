// SPDX-License-Identifier: GPL-2.0
/*
 * trace_page NR [SYMBOLS]: writes the page of a trace that nobody recorded, of two vCPUs and NR exits, to standard output.
 * A tick is a nanosecond. Of each vCPU, exit n begins at 10000 n, and takes 1000 ticks if it is handled fast, 5000 else.
 */
#include <stdarg.h>
#include <stdlib.h>

#include "../../userspace/trace/writer.h"

#define START 0x123456789abull
#define PERIOD 10000
#define BATCH 500

static struct pith_exit_record exits(u64 n)
{
	static const u32 reasons[] = { 10, 30, 48, 32, 1, 12 }; /* of Intel: CPUID, port, memory, MSR, interrupt, HLT */
	struct pith_exit_record r = {
		.tsc = START + n * PERIOD,
		.ticks = 1000,
		.rip = 0xffffffff81000000ull + n % 1000 * 16,
		.reason = reasons[n % ARRAY_SIZE(reasons)],
		.rax = 0x40000000,
		.rcx = 0x6e0,
	};

	if (r.reason == 30) {
		r.info[0] = 0x3f8ull << 16;
		r.handled = PITH_HANDLED_USER;
		r.user = 3000;
		r.ticks = 5000;
	} else if (r.reason == 48) {
		r.info[0] = 2;
		r.info[1] = 0x1fee00000;
	} else if (r.reason == 12) {
		r.handled = PITH_HANDLED_MODULE;
		r.idle = 4000;
		r.ticks = 5000;
	}
	return r;
}

/* The runner's own tells more. */
void die(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	exit(1);
}

int main(int argc, char **argv)
{
	struct trace_info info = { .isa = PITH_ISA_VMX, .tsc_khz = 1000000, .start = START, .nr_vcpus = 2 };
	u64 nr = argc > 1 ? strtoull(argv[1], NULL, 0) / 2 : 0;
	struct pith_exit_record batch[BATCH];
	struct symbols symbols;

	if (argc > 2) {
		symbols_load(&symbols, argv[2]);
		info.symbols = &symbols;
	}
	trace_html.begin(stdout, &info);
	for (u64 n = 0; n < nr; n += BATCH) {
		u64 some = min(nr - n, BATCH);

		for (u64 i = 0; i < some; i++)
			batch[i] = exits(n + i);
		trace_html.records(stdout, &info, 0, batch, some);
		trace_html.records(stdout, &info, 1, batch, some);
	}
	trace_html.lost(stdout, &info, 1, 42);
	trace_html.end(stdout, &info);
	return 0;
}
