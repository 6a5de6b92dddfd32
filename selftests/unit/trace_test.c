// SPDX-License-Identifier: GPL-2.0
/*
 * What pith trace writes: the JSON line by line, the records of the page bit by bit, names of exits, and of addresses.
 */
#include <stdlib.h>
#include <string.h>

#include "../../userspace/exits.h"
#include "../../userspace/trace/writer.h"
#include "tap.h"

static struct symbols symbols;
static const struct trace_info info = {
	.isa = PITH_ISA_VMX, .tsc_khz = 2000000, .start = 1000, .nr_vcpus = 2, .symbols = &symbols
};

static const struct pith_exit_record example[] = {
	{ .tsc = 3000, .ticks = 500, .rip = 0xffffffff81000012, .reason = 10, .rax = 7, .rcx = 1 },
	{ .tsc = 9000,
	  .ticks = 4000,
	  .rip = 0xfff0,
	  .info = { 0x3f80000, 5 },
	  .reason = 30,
	  .handled = PITH_HANDLED_USER,
	  .user = 2000,
	  .idle = 100 },
	{ .tsc = 20000, .ticks = 3, .rip = ~0ull, .reason = ~0u, .rax = ~0u },
};

/* The runner's own tells it and exits as well. */
_Noreturn void die(const char *format, ...)
{
	printf("# died: %s\n", format);
	exit(1);
}

static char *written(const struct trace_writer *writer, unsigned int vcpu, size_t nr)
{
	size_t size;
	char *text;
	FILE *file = open_memstream(&text, &size);

	writer->begin(file, &info);
	writer->records(file, &info, vcpu, example, nr);
	writer->lost(file, &info, 1, 42);
	writer->end(file, &info);
	fclose(file);
	return text;
}

static bool has(const char *text, const char *part)
{
	if (strstr(text, part))
		return true;
	printf("# not there: %s\n", part);
	return false;
}

/* -- symbols ----------------------------------------------------------------------------------------------------- */

static bool is_symbol(u64 address, const char *name, u64 at)
{
	const char *found;
	u64 offset = 0;

	found = symbols_name(&symbols, address, &offset);
	if (name ? found && !strcmp(found, name) && offset == at : !found)
		return true;
	printf("# %#llx is %s+%#llx\n", (unsigned long long)address, found ?: "nothing", (unsigned long long)offset);
	return false;
}

static bool reads_a_map(void)
{
	static char map[] =
		"ffffffff81000010 T second\nffffffff81000000 t first\nffffffff81000014 d variable\nffffffff81000020 T </script>\n"
		"ffffffff82000000 W last.cold\n";

	return symbols_parse(&symbols, map, sizeof(map) - 1) && is_symbol(0xffffffff81000000, "first", 0) &&
	       is_symbol(0xffffffff8100000f, "first", 15) && is_symbol(0xffffffff81000030, "second", 32) &&
	       is_symbol(0xffffffff82000001, "last.cold", 1) && is_symbol(0x1000, NULL, 0) &&
	       is_symbol(0xffffffff80ffffff, NULL, 0) && is_symbol(0xffffffff92000000, NULL, 0);
}

/* -- writers ----------------------------------------------------------------------------------------------------- */

static bool writes_json(void)
{
	char *text = written(&trace_json, 1, 3);
	bool holds = has(text, "[\n{\"name\":\"process_name\"") &&
		     has(text, "\"tid\":1,\"args\":{\"name\":\"vCPU 1\"}}") &&
		     has(text,
			 "{\"name\":\"CPUID\",\"ph\":\"X\",\"pid\":1,\"tid\":1,\"ts\":1.000,\"dur\":0.250,\"args\":{"
			 "\"reason\":10,\"rip\":\"0xffffffff81000012\",\"info1\":\"0x0\",\"info2\":\"0x0\","
			 "\"rax\":\"0x7\",\"rcx\":\"0x1\",\"symbol\":\"second+0x2\",\"handled\":\"fast\"}}") &&
		     has(text, "\"name\":\"IO_INSTRUCTION\"") &&
		     has(text, "\"runner\":1.000,\"idle\":0.050,\"handled\":\"runner\"}}") &&
		     has(text, "\"name\":\"NOT_ENTERED\"") && has(text, "\"args\":{\"records\":42}}\n]\n");

	free(text);
	return holds;
}

static int digit(char c)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? at - digits : -1;
}

static bool decodes(const char *text, const u8 *expected, size_t size)
{
	for (size_t i = 0; i < size; i += 3, text += 4) {
		u32 three = digit(text[0]) << 18 | digit(text[1]) << 12 | digit(text[2]) << 6 | digit(text[3]);

		if (expected[i] != three >> 16 || expected[i + 1] != (u8)(three >> 8) || expected[i + 2] != (u8)three)
			return false;
	}
	return *text == '<';
}

static bool writes_page(void)
{
	static const char begin[] = "<script type=\"pith/records\" data-vcpu=\"1\">";
	char *text = written(&trace_html, 1, 3);
	bool holds = has(text, begin) && decodes(strstr(text, begin) + strlen(begin), (u8 *)example, sizeof(example)) &&
		     has(text, "pith.begin({isa:1,khz:2000000,start:1000n,vcpus:2})") && has(text, "pith.lost(1,42)") &&
		     has(text, "10:[\"CPUID\",\"cpuid\"],") && has(text, "4294967295:[\"NOT_ENTERED\"") &&
		     has(text, "\"ffffffff81000012\":\"second+0x2\"") && !strstr(text, "\"fff0\"");

	free(text);
	return holds;
}

/* More addresses than are kept do no harm. */
static bool many_addresses(void)
{
	FILE *file = fopen("/dev/null", "w");

	trace_html.begin(file, &info);
	for (u64 i = 0; i < 100000; i++) {
		struct pith_exit_record record = { .rip = i << 20 };

		trace_html.records(file, &info, 0, &record, 1);
	}
	trace_html.end(file, &info);
	fclose(file);
	return true;
}

static bool names(void)
{
	return !strcmp(exit_name(PITH_ISA_SVM, 0x7b), "IOIO") && !strcmp(exit_name(PITH_ISA_SVM, 0x400), "NPF") &&
	       !strcmp(exit_name(PITH_ISA_VMX, 48), "EPT_VIOLATION") && !strcmp(exit_name(PITH_ISA_VMX, 12345), "?") &&
	       !strcmp(exit_name(PITH_ISA_SVM, ~0u), "NOT_ENTERED");
}

static const struct test tests[] = {
	{ "symbols of a System.map", reads_a_map },
	{ "JSON, with symbols", writes_json },
	{ "the page, with symbols", writes_page },
	{ "more guest addresses than are named", many_addresses },
	{ "names of exits", names },
};

int main(void)
{
	return run_tests(tests, ARRAY_SIZE(tests));
}
