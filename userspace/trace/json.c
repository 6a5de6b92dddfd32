// SPDX-License-Identifier: GPL-2.0
/*
 * A trace in the Trace Event Format, which Perfetto and chrome://tracing read: a slice an exit, a thread a vCPU. The
 * format's closing bracket is optional.
 */
#include <inttypes.h>

#include "../exits.h"
#include "writer.h"

static const char *const handlers[] = { "fast", "module", "runner" };

static void begin(FILE *file, const struct trace_info *info)
{
	fputs("[\n{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":1,\"args\":{\"name\":\"pith\"}}", file);
	for (unsigned int i = 0; i < info->nr_vcpus; i++)
		fprintf(file,
			",\n{\"name\":\"thread_name\",\"ph\":\"M\",\"pid\":1,\"tid\":%u,\"args\":{\"name\":\"vCPU %u\"}}",
			i, i);
}

static double microseconds(const struct trace_info *info, u64 ticks)
{
	return ticks * 1000.0 / info->tsc_khz;
}

static void record(FILE *file, const struct trace_info *info, unsigned int vcpu, const struct pith_exit_record *r)
{
	const char *symbol;
	u64 offset;

	fprintf(file, ",\n{\"name\":\"%s\",\"ph\":\"X\",\"pid\":1,\"tid\":%u,\"ts\":%.3f,\"dur\":%.3f,\"args\":{",
		exit_name(info->isa, r->reason), vcpu, microseconds(info, r->tsc - info->start),
		microseconds(info, r->ticks));
	fprintf(file, "\"reason\":%u,\"rip\":\"0x%" PRIx64 "\",\"info1\":\"0x%" PRIx64 "\",\"info2\":\"0x%" PRIx64 "\"",
		r->reason, (u64)r->rip, (u64)r->info[0], (u64)r->info[1]);
	fprintf(file, ",\"rax\":\"0x%x\",\"rcx\":\"0x%x\"", r->rax, r->rcx);
	symbol = symbols_name(info->symbols, r->rip, &offset);
	if (symbol)
		fprintf(file, ",\"symbol\":\"%s+0x%" PRIx64 "\"", symbol, offset);
	if (r->handled != PITH_HANDLED_FAST)
		fprintf(file, ",\"runner\":%.3f,\"idle\":%.3f", microseconds(info, r->user),
			microseconds(info, r->idle));
	fprintf(file, ",\"handled\":\"%s\"}}", r->handled < ARRAY_SIZE(handlers) ? handlers[r->handled] : "?");
}

static void records(FILE *file, const struct trace_info *info, unsigned int vcpu,
		    const struct pith_exit_record *records, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		record(file, info, vcpu, &records[i]);
}

static void lost(FILE *file, const struct trace_info *info, unsigned int vcpu, u64 nr)
{
	fprintf(file, ",\n{\"name\":\"lost\",\"ph\":\"M\",\"pid\":1,\"tid\":%u,\"args\":{\"records\":%" PRIu64 "}}",
		vcpu, nr);
}

static void end(FILE *file, const struct trace_info *info)
{
	fputs("\n]\n", file);
}

const struct trace_writer trace_json = { begin, records, lost, end };
