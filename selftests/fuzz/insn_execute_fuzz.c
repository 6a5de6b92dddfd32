// SPDX-License-Identifier: GPL-2.0
/*
 * The instruction executor under hostile input: random code in every mode, random registers and segments, callbacks
 * that answer, wait or fail as they like. Whatever comes, its promises to the caller must hold: what is not done leaves
 * no trace, a try in the same state makes the same accesses, reads come before the one write.
 *
 * insn_execute_fuzz [COUNT [SEED]]
 */
#include <stdio.h>
#include <stdlib.h>

#include "../../module/insn/insn.h"

#define DEFAULT_COUNT 3000000
#define MAX_ACCESSES 4
#define MAX_REPORTS 20

static u64 random_state;

static u64 random64(void)
{
	u64 z = random_state += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

static unsigned int below(unsigned int n)
{
	return random64() % n;
}

/* Without padding: it is compared as a whole. */
struct access {
	u64 linear;
	u32 size;
	u16 write;
	u16 for_write;
};

struct state {
	struct cpu_regs regs;
	u8 xmm[16][16];
};

static struct machine {
	struct insn_machine m;
	struct state state;
	struct kvm_segment segments[NR_SEGMENTS];
	struct access accesses[MAX_ACCESSES];
	unsigned int nr_accesses;
	unsigned int stop_at; /* this access, counted from 1, answers @stop */
	enum insn_result stop;
	bool broken;
} machine;

static enum insn_result access(struct access a)
{
	if (machine.nr_accesses == MAX_ACCESSES ||
	    (machine.nr_accesses && machine.accesses[machine.nr_accesses - 1].write)) {
		machine.broken = true;
		return INSN_UNHANDLED;
	}
	machine.broken |= a.size > 16 || a.size & (a.size - 1) || !a.size;
	machine.accesses[machine.nr_accesses++] = a;
	return machine.nr_accesses == machine.stop_at ? machine.stop : INSN_DONE;
}

static enum insn_result do_read(void *ctx, u64 linear, void *buf, unsigned int size, bool for_write)
{
	(void)ctx;
	memset(buf, (u8)linear, size); /* the sanitizer's check of @buf, and an answer that does not change */
	return access((struct access){ linear, size, false, for_write });
}

static enum insn_result do_write(void *ctx, u64 linear, const void *buf, unsigned int size)
{
	u8 copy[16];

	(void)ctx;
	memcpy(copy, buf, size < 16 ? size : 16);
	return access((struct access){ linear, size, true, false });
}

static const struct kvm_segment *get_segment(void *ctx, enum segment segment)
{
	(void)ctx;
	if (segment > SEG_GS) {
		machine.broken = true;
		segment = SEG_GS;
	}
	return &machine.segments[segment];
}

static void read_xmm(void *ctx, unsigned int n, void *buf)
{
	(void)ctx;
	memcpy(buf, machine.state.xmm[n], 16);
}

static void write_xmm(void *ctx, unsigned int n, const void *buf)
{
	(void)ctx;
	memcpy(machine.state.xmm[n], buf, 16);
}

static const struct insn_ops ops = {
	.segment = get_segment,
	.read = do_read,
	.write = do_write,
	.xmm_read = read_xmm,
	.xmm_write = write_xmm,
};

static void random_machine(void)
{
	static const u64 limits[] = { 0xffff, 0xffffffff, 0xfff };
	unsigned int i;

	for (i = 0; i < NR_GPRS; i++)
		machine.state.regs.gpr[i] = below(3) ? random64() >> below(64) : -(random64() >> (17 + below(47)));
	machine.state.regs.rip = random64() >> below(64);
	machine.state.regs.rflags = random64() & 0x3f7fd7;
	for (i = 0; i < NR_SEGMENTS; i++)
		machine.segments[i] = (struct kvm_segment){
			.base = below(2) ? 0 : random64() >> below(64),
			.limit = below(4) ? limits[below(3)] : random64(),
			.selector = random64(),
			.type = below(4) ? 3 : below(16),
			.db = below(2),
			.unusable = !below(16),
		};
	machine.m.mode = below(3);
	machine.m.linear_width = below(2) ? 48 : 57;
	machine.m.protected_mode = machine.m.mode != INSN_MODE_16 || below(2);
	machine.m.alignment_check = !below(8);
}

static void random_code(u8 *code)
{
	static const u8 prefixes[] = { 0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x2e, 0x36, 0x64, 0x65 };
	unsigned int i, n = below(3);

	for (i = 0; i < INSN_MAX_LENGTH; i++)
		code[i] = random64();
	for (i = 0; i < n; i++)
		code[i] = prefixes[below(ARRAY_SIZE(prefixes))];
	if (machine.m.mode == INSN_MODE_64 && below(2))
		code[i++] = 0x40 | below(16);
	if (below(2))
		code[i] = 0x0f;
}

static enum insn_result try(const struct insn *insn, unsigned int stop_at, enum insn_result stop)
{
	enum insn_result result;

	machine.nr_accesses = 0;
	machine.stop_at = stop_at;
	machine.stop = stop;
	result = insn_execute(&machine.m, insn);
	machine.broken |= machine.nr_accesses > 3;
	if (stop_at)
		machine.broken |= result != stop;
	return result;
}

/* Stops the instruction at each of its accesses, from the first on, before it is let through. */
static bool keeps_promises(const struct insn *insn)
{
	static const enum insn_result stops[] = { INSN_EXCEPTION, INSN_PENDING, INSN_UNHANDLED };
	struct state before = machine.state, after;
	struct access accesses[MAX_ACCESSES];
	enum insn_result result;
	unsigned int n, i;

	result = try(insn, 0, INSN_DONE);
	after = machine.state;
	n = machine.nr_accesses;
	memcpy(accesses, machine.accesses, sizeof(accesses));
	if (result != INSN_DONE && result != INSN_AGAIN && memcmp(&before, &after, sizeof(before)))
		return false;
	for (i = 1; i <= n; i++) {
		machine.state = before;
		try(insn, i, stops[below(ARRAY_SIZE(stops))]);
		if (machine.nr_accesses != i || memcmp(machine.accesses, accesses, i * sizeof(accesses[0])) ||
		    memcmp(&machine.state, &before, sizeof(before)))
			return false;
	}
	machine.state = before;
	return try(insn, 0, INSN_DONE) == result && !memcmp(&machine.state, &after, sizeof(after)) && !machine.broken;
}

static void report(const struct insn *insn)
{
	unsigned int i;

	printf("# mode %u:", machine.m.mode);
	for (i = 0; i < insn->length; i++)
		printf(" %02x", insn->bytes[i]);
	printf("\n");
}

int main(int argc, char **argv)
{
	unsigned long count = argc > 1 ? strtoul(argv[1], NULL, 0) : DEFAULT_COUNT;
	unsigned long executed = 0, bad = 0;
	u8 code[INSN_MAX_LENGTH];
	struct insn insn;

	random_state = argc > 2 ? strtoul(argv[2], NULL, 0) : 1;
	machine.m.regs = &machine.state.regs;
	machine.m.ops = &ops;
	printf("TAP version 13\n1..1\n");
	for (; count; count--) {
		random_machine();
		random_code(code);
		if (insn_decode(&insn, code, sizeof(code), machine.m.mode))
			continue;
		machine.broken = false;
		if (!keeps_promises(&insn) && bad++ < MAX_REPORTS)
			report(&insn);
		executed += !!machine.nr_accesses;
	}
	printf("# %lu instructions made accesses, %lu broke a promise\n", executed, bad);
	printf("%sok 1 the executor keeps its promises\n", bad ? "not " : "");
	return !!bad;
}
