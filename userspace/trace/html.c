// SPDX-License-Identifier: GPL-2.0
/*
 * A trace as a web page that needs nothing but itself: page.html, then the records as the kernel wrote them, in base64,
 * then what their numbers are called. A page that was cut off shows what it has.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "../exits.h"
#include "writer.h"

asm(".pushsection .rodata\n.globl trace_page, trace_page_end\ntrace_page: .incbin \"" TRACE_PAGE
    "\"\ntrace_page_end:\n"
    ".popsection");
extern const char trace_page[], trace_page_end[];

/* Three bytes are four characters: a record, of 72, ends where a character does. */
_Static_assert(sizeof(struct pith_exit_record) % 3 == 0, "");

/* -- the addresses that are to be named -------------------------------------------------------------------------- */

/* An open hash table of those that occurred; 0 is none of a guest's. A trace that has too many names some. */
#define NR_ADDRESSES (1u << 16)
static u64 addresses[NR_ADDRESSES];
static unsigned int nr_addresses;

static void remember(u64 rip)
{
	size_t i = (rip * 0x9e3779b97f4a7c15ull >> 32) % NR_ADDRESSES;

	while (addresses[i] && addresses[i] != rip)
		i = (i + 1) % NR_ADDRESSES;
	if (addresses[i] || nr_addresses == NR_ADDRESSES / 2)
		return;
	addresses[i] = rip;
	nr_addresses++;
}

/* -- writing ----------------------------------------------------------------------------------------------------- */

static void begin(FILE *file, const struct trace_info *info)
{
	nr_addresses = 0;
	for (size_t i = 0; i < NR_ADDRESSES; i++)
		addresses[i] = 0;
	fwrite(trace_page, 1, trace_page_end - trace_page, file);
	fprintf(file, "<script>pith.begin({isa:%u,khz:%u,start:%" PRIu64 "n,vcpus:%u})</script>\n", info->isa,
		info->tsc_khz, info->start, info->nr_vcpus);
}

static void base64(FILE *file, const u8 *data, size_t size)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char text[sizeof(struct pith_exit_record) / 3 * 4];
	size_t n = 0;

	for (size_t i = 0; i < size; i += 3) {
		u32 three = data[i] << 16 | data[i + 1] << 8 | data[i + 2];

		for (int shift = 18; shift >= 0; shift -= 6)
			text[n++] = digits[three >> shift & 63];
		if (n < sizeof(text))
			continue;
		fwrite(text, 1, n, file);
		n = 0;
	}
}

static void records(FILE *file, const struct trace_info *info, unsigned int vcpu,
		    const struct pith_exit_record *records, size_t nr)
{
	fprintf(file, "<script type=\"pith/records\" data-vcpu=\"%u\">", vcpu);
	base64(file, (const u8 *)records, nr * sizeof(*records));
	fputs("</script>\n", file);
	for (size_t i = 0; i < nr; i++)
		remember(records[i].rip);
}

static void lost(FILE *file, const struct trace_info *info, unsigned int vcpu, u64 nr)
{
	fprintf(file, "<script>pith.lost(%u,%" PRIu64 ")</script>\n", vcpu, nr);
}

static void end(FILE *file, const struct trace_info *info)
{
	const struct exit_name *names;
	const char *symbol;
	unsigned int nr;
	u64 offset;

	fputs("<script>pith.names({", file);
	names = exit_names(info->isa, &nr);
	for (unsigned int i = 0; i < nr; i++)
		fprintf(file, "%u:[\"%s\",\"%s\"],", names[i].reason, names[i].name, names[i].kind);
	fputs("},{", file);
	for (size_t i = 0; i < NR_ADDRESSES; i++) {
		symbol = addresses[i] ? symbols_name(info->symbols, addresses[i], &offset) : NULL;
		if (symbol)
			fprintf(file, "\"%" PRIx64 "\":\"%s+0x%" PRIx64 "\",\n", addresses[i], symbol, offset);
	}
	fputs("})</script>\n", file);
}

const struct trace_writer trace_html = { begin, records, lost, end };
