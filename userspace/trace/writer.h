/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The forms that a trace can be written in. Records are written as they come, so a trace needs no memory, and one of a
 * run that was cut off can be read.
 */
#ifndef PITH_TRACE_WRITER_H
#define PITH_TRACE_WRITER_H

#include <stdio.h>

#include "../../uapi/pith.h"
#include "../symbols.h"
#include "../util.h"

/* What the whole trace is of. */
struct trace_info {
	u32 isa, tsc_khz;
	u64 start; /* TSC */
	unsigned int nr_vcpus;
	const struct symbols *symbols; /* of the guest's kernel; NULL: none are known */
};

/**
 * struct trace_writer - a form
 * @records: of one vCPU, in order, as many as there are: 1 to any number
 * @lost: so many of a vCPU's came too fast; they would be here
 * @end: nothing follows
 */
struct trace_writer {
	void (*begin)(FILE *file, const struct trace_info *info);
	void (*records)(FILE *file, const struct trace_info *info, unsigned int vcpu,
			const struct pith_exit_record *records, size_t nr);
	void (*lost)(FILE *file, const struct trace_info *info, unsigned int vcpu, u64 nr);
	void (*end)(FILE *file, const struct trace_info *info);
};

extern const struct trace_writer trace_html, trace_json;

#endif
