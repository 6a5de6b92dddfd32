// SPDX-License-Identifier: GPL-2.0
/*
 * The gdb stub without a machine: conversations, packet by packet, as gdb's manual has them ("GDB Remote Serial
 * Protocol"); what breakpoints do to memory and debug registers; and packets at random.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../userspace/gdb/commands.h"
#include "tap.h"

#define RAM_SIZE 0x3000
#define LINEAR_BASE 0x10000 /* linear addresses of RAM begin here, physical ones at 0 */
#define HOLE 0x2000	    /* this page of it is not mapped */
#define RANDOM_PACKETS 300000

static u8 ram[RAM_SIZE];
static struct registers vcpu_registers[2];
static int set_error;
static enum action actions[2];
static struct session session;

static int get_registers(unsigned int vcpu, struct registers *registers)
{
	*registers = vcpu_registers[vcpu];
	return 0;
}

static int set_registers(unsigned int vcpu, const struct registers *registers, const struct registers *old)
{
	if (set_error)
		return set_error;
	vcpu_registers[vcpu] = *registers;
	return 0;
}

/* The second vCPU sees nothing by linear addresses. */
static u8 *memory(unsigned int vcpu, bool physical, u64 address, u64 *len)
{
	u64 offset = physical ? address : address - LINEAR_BASE;

	*len = 0x1000 - address % 0x1000;
	if (offset >= RAM_SIZE || (!physical && (offset / 0x1000 == HOLE / 0x1000 || vcpu)))
		return NULL;
	return ram + offset;
}

static const char *state(unsigned int vcpu)
{
	return vcpu ? "halted" : "running";
}

static const struct target target = { 2, get_registers, set_registers, memory, state };

static void begin(void)
{
	memset(&session, 0, sizeof(session));
	session = (struct session){ .target = &target, .actions = actions, .stop.signal = SIGNAL_INT };
	memset(vcpu_registers, 0, sizeof(vcpu_registers));
	vcpu_registers[0].regs.rax = 0x1122334455667788;
	vcpu_registers[1].regs.rax = 1;
	vcpu_registers[0].sregs.gs.base = 0xffff888000000000;
	vcpu_registers[0].sregs.cs.selector = 0x10;
	vcpu_registers[0].fpu.ftwx = 0x81;
	vcpu_registers[0].fpu.last_ip = 0x123456789a;
	vcpu_registers[0].sregs.cr3 = 0x2000;
	memset(actions, 0, sizeof(actions));
	set_error = 0;
	for (unsigned int i = 0; i < RAM_SIZE; i++)
		ram[i] = i;
}

/* -- packets ----------------------------------------------------------------------------------------------------- */

static enum packet_event take(struct packet_reader *reader, const char *bytes, size_t len)
{
	enum packet_event event = PACKET_NONE;

	for (size_t i = 0; i < len; i++)
		event = packet_take(reader, bytes[i]);
	return event;
}

static bool framing(void)
{
	static const struct {
		const char *bytes;
		enum packet_event event;
		const char *data;
	} rows[] = {
		{ "$OK#9a", PACKET_WHOLE, "OK" },
		{ "$OK#9A", PACKET_WHOLE, "OK" },
		{ "+$#00", PACKET_WHOLE, "" },
		{ "$OK#9b", PACKET_DAMAGED, NULL },
		{ "$OK#g1", PACKET_DAMAGED, NULL },
		{ "$OK#9", PACKET_NONE, NULL },
		{ "OK#9a", PACKET_NONE, NULL },
		{ "$lost$OK#9a", PACKET_WHOLE, "OK" },
		{ "$a}\x03z#bc", PACKET_DAMAGED, NULL },
		{ "$}\x03#80", PACKET_WHOLE, "#" },
		{ "$}]#da", PACKET_WHOLE, "}" },
		{ "\x03", PACKET_INTERRUPT, NULL },
		{ "$\x03#03", PACKET_WHOLE, "\x03" },
		{ "-", PACKET_RESEND, NULL },
		{ "+", PACKET_NONE, NULL },
	};
	static struct packet_reader reader;

	for (unsigned int i = 0; i < ARRAY_SIZE(rows); i++) {
		memset(&reader, 0, sizeof(reader));
		if (take(&reader, rows[i].bytes, strlen(rows[i].bytes)) != rows[i].event ||
		    (rows[i].data && strcmp(reader.data, rows[i].data))) {
			printf("# %s\n", rows[i].bytes);
			return false;
		}
	}
	return true;
}

static bool long_packet(void)
{
	static char bytes[PACKET_MAX + 6];
	static struct packet_reader reader;

	memset(bytes, 'a', sizeof(bytes));
	bytes[0] = '$';
	sprintf(bytes + PACKET_MAX + 1, "#%02x", 'a' * PACKET_MAX & 0xff);
	if (take(&reader, bytes, PACKET_MAX + 4) != PACKET_WHOLE || reader.len != PACKET_MAX)
		return false;
	bytes[PACKET_MAX + 1] = 'a';
	sprintf(bytes + PACKET_MAX + 2, "#%02x", 'a' * (PACKET_MAX + 1) & 0xff);
	if (take(&reader, bytes, PACKET_MAX + 5) != PACKET_TOO_LONG)
		return false;
	return take(&reader, "$OK#9a", 6) == PACKET_WHOLE;
}

/* What is encoded is read again as it was. */
static bool encoding(void)
{
	static struct reply reply;
	static struct packet_reader reader;
	static u8 out[PACKET_ENCODED_MAX];

	reply.len = PACKET_MAX;
	for (unsigned int i = 0; i < PACKET_MAX; i++)
		reply.data[i] = i;
	memset(reply.data + 1000, '#', 10000);
	return take(&reader, (const char *)out, packet_encode(&reply, out)) == PACKET_WHOLE &&
	       reader.len == reply.len && !memcmp(reader.data, reply.data, reply.len);
}

/* -- conversations ----------------------------------------------------------------------------------------------- */

static enum command_result say(const char *data, size_t len, struct reply *reply)
{
	static struct packet_reader reader;

	memcpy(reader.data, data, len);
	reader.data[len] = '\0';
	reader.len = len;
	return command_execute(&session, &reader, reply);
}

struct line {
	const char *says, *answer; /* or what is left to do, in parentheses */
};

static bool talk(const struct line *lines)
{
	static const char *const left_to_do[] = {
		[COMMAND_RESUME] = "(resume)", [COMMAND_DETACH] = "(detach)", [COMMAND_KILL] = "(kill)"
	};
	static struct reply reply;

	begin();
	for (; lines->says; lines++) {
		enum command_result result = say(lines->says, strlen(lines->says), &reply);

		if (result) {
			reply.len = 0;
			reply_text(&reply, "%s", left_to_do[result]);
		}
		if (reply.len == strlen(lines->answer) && !memcmp(reply.data, lines->answer, reply.len))
			continue;
		printf("# %s: %.*s, not %s\n", lines->says, (int)reply.len, reply.data, lines->answer);
		return false;
	}
	return true;
}

static const struct line unknown[] = {
	{ "vMustReplyEmpty", "" }, { "qCRC:0,1", "" }, { "", "" },     { "!", "" },
	{ "qSupporteded", "" },	   { "vContx", "" },   { NULL, NULL },
};

static const struct line threads[] = {
	{ "?", "T02thread:1;" },
	{ "qfThreadInfo", "m1,2" },
	{ "qsThreadInfo", "l" },
	{ "qAttached", "1" },
	{ "qC", "QC1" },
	{ "T2", "OK" },
	{ "T3", "E03" },
	{ "Tx", "E03" },
	{ "qThreadExtraInfo,2", "4350552031205b68616c7465645d" },
	{ "qThreadExtraInfo,-1", "E16" },
	{ "p0", "8877665544332211" },
	{ "Hg2", "OK" },
	{ "p0", "0100000000000000" },
	{ "qC", "QC2" },
	{ "Hc-1", "OK" },
	{ "Hg-1", "OK" },
	{ "Hg0", "OK" },
	{ "p0", "0100000000000000" },
	{ "Hg99999999999999999999", "E16" },
	{ "Hg3", "E16" },
	{ "Hx1", "E16" },
	{ NULL, NULL },
};

static const struct line registers[] = {
	{ "p12", "10000000" }, /* CS */
	{ "p22", "fc3f0000" }, /* two registers are valid */
	{ "p23", "12000000" },
	{ "p24", "9a785634" },
	{ "p3a", "000000008088ffff" }, /* GS base */
	{ "p3d", "0020000000000000" }, /* CR3 */
	{ NULL, NULL },
};

static const struct line register_writes[] = {
	{ "P0=0102030405060708", "OK" },
	{ "p0", "0102030405060708" },
	{ "P0=01020304050607", "E16" },
	{ "P0=010203040506070809", "E16" },
	{ "P0=010203040506070g", "E16" },
	{ "P0", "E16" },
	{ "Pff=00", "E16" },
	{ "pff", "E16" },
	{ "p", "E16" },
	{ "P22=ffff0000", "OK" },
	{ "p22", "ffff0000" },
	{ "G00", "E16" },
	{ "p0", "0102030405060708" },
	{ NULL, NULL },
};

static const struct line memory_accesses[] = {
	{ "m10000,4", "00010203" },
	{ "m10ffe,4", "feff0001" },
	{ "m11ffe,4", "feff" }, /* as far as it goes */
	{ "m12000,4", "E0e" },
	{ "mffffffffffffffff,2", "E0e" },
	{ "m10000", "E16" },
	{ "m10000,", "E16" },
	{ "m10000,4,4", "E16" },
	{ "M10ffe,4:aabbccdd", "OK" },
	{ "m10ffd,6", "fdaabbccdd02" },
	{ "M10ffe,4:aabbcc", "E16" },
	{ "M10ffe,3:aabbccdd", "E16" },
	{ "M10ffe,4", "E16" },
	{ "M12000,1:00", "E0e" },
	{ "M10000,ffffffffffffffff:00", "E16" },
	{ "X10000,3:xyz", "OK" },
	{ "m10000,3", "78797a" },
	{ "X10000,0:", "OK" },
	{ "X10000,4:xyz", "E16" },
	{ "qRcmd,706879736963616c206f6e", "OK" }, /* "physical on" */
	{ "m2000,2", "0001" },
	{ "m12000,2", "E0e" },
	{ "qRcmd,706879736963616c206f6666", "OK" },
	{ "m2000,2", "E0e" },
	{ "qRcmd,7", "E16" },
	{ NULL, NULL },
};

static const struct line breakpoints[] = {
	{ "Z0,10010,1", "OK" },
	{ "Z0,10010,1", "OK" },
	{ "m10010,2", "1011" }, /* gdb does not see its own */
	{ "M10010,1:90", "OK" },
	{ "m10010,1", "90" },
	{ "z0,10010,1", "OK" },
	{ "m10010,1", "90" },
	{ "z0,10010,1", "E02" },
	{ "Hg2", "OK" },
	{ "Z0,10010,1", "OK" }, /* where another vCPU sees it */
	{ "Z0,12000,1", "E0e" },
	{ "Z1,ffffffff81000000,1", "OK" },
	{ "Z2,10001,7", "OK" }, /* 1, 2 and 4 bytes */
	{ "Z4,10020,8", "E1c" },
	{ "z2,10001,7", "OK" },
	{ "Z4,10020,8", "OK" },
	{ "Z2,10020,18", "E1c" },
	{ "Z2,10028,10", "OK" },
	{ "Z3,10020,8", "" },
	{ "Z5,10020,8", "" },
	{ "Z2,10020,0", "E16" },
	{ "Z2,10020", "E16" },
	{ "z1,ffffffff81000000,1", "OK" },
	{ "z1,ffffffff81000000,1", "E02" },
	{ "z5,0,0", "" },
	{ NULL, NULL },
};

static const struct line going_on[] = {
	{ "vCont?", "vCont;c;C;s;S" },
	{ "vCont;c", "(resume)" },
	{ "vCont;s:2;c", "(resume)" },
	{ "vCont;S05:1", "(resume)" },
	{ "vCont;C0b:-1", "(resume)" },
	{ "vCont;", "E16" },
	{ "vCont;s:9", "E16" },
	{ "vCont;t", "E16" },
	{ "vCont;r10,20:1", "E16" },
	{ "vCont;c;", "E16" },
	{ "vCont;s:1x", "E16" },
	{ "vCont;C", "E16" },
	{ "D", "(detach)" },
	{ "k", "(kill)" },
	{ "vKill;1", "(kill)" },
	{ NULL, NULL },
};

static bool unknown_commands(void)
{
	return talk(unknown);
}

static bool thread_commands(void)
{
	return talk(threads);
}

static bool register_commands(void)
{
	return talk(registers) && talk(register_writes);
}

static bool memory_commands(void)
{
	return talk(memory_accesses);
}

static bool breakpoint_commands(void)
{
	return talk(breakpoints);
}

static bool resume_commands(void)
{
	static struct reply reply;

	if (!talk(going_on))
		return false;
	say("vCont;s:2;c", 11, &reply);
	if (actions[0] != GO || actions[1] != STEP)
		return false;
	say("vCont;s:1", 9, &reply);
	return actions[0] == STEP && actions[1] == STAY;
}

/* All registers go out and back in, and refusing them is told. */
static bool all_registers(void)
{
	static struct reply reply;
	static char set[PACKET_MAX];
	struct registers old;
	size_t len;

	begin();
	old = vcpu_registers[0];
	say("g", 1, &reply);
	len = snprintf(set, sizeof(set), "G%.*s", (int)reply.len, reply.data);
	say(set, len, &reply);
	if (reply.len != 2 || memcmp(&old, &vcpu_registers[0], sizeof(old)))
		return false;
	set_error = -EINVAL;
	say(set, len, &reply);
	return reply.len == 3 && !memcmp(reply.data, "E16", 3);
}

/* The description names as many registers as `g` has, and comes in pieces as whole. */
static bool description(void)
{
	static struct reply reply;
	static char xml[REGISTERS_XML_MAX + 1];
	size_t len = 0, bits = 0;
	char ask[64];

	begin();
	do {
		size_t n = snprintf(ask, sizeof(ask), "qXfer:features:read:target.xml:%zx,100", len);

		say(ask, n, &reply);
		memcpy(xml + len, reply.data + 1, reply.len - 1);
		len += reply.len - 1;
	} while (reply.data[0] == 'm');
	for (const char *at = xml; (at = strstr(at, "bitsize=\"")); at++)
		bits += strtoul(at + 9, NULL, 10);
	say("g", 1, &reply);
	if (reply.data[0] == 'E' || bits / 4 != reply.len || strcmp(xml + len - 10, "</target>\n"))
		return false;
	say("qXfer:features:read:target.xml:ffff,1", 37, &reply);
	return reply.data[0] == 'E';
}

/* -- breakpoints ------------------------------------------------------------------------------------------------- */

/* Source of the bits: SDM volume 3, "Debug Control Register (DR7)". */
static bool debug_registers(void)
{
	static struct reply reply;
	struct kvm_guest_debug debug = { 0 };

	begin();
	breakpoints_program(&session.breakpoints, &debug);
	if (debug.control)
		return false;
	say("Z1,1234,1", 9, &reply);
	say("Z2,10006,6", 10, &reply);
	say("Z4,10020,1", 10, &reply);
	breakpoints_program(&session.breakpoints, &debug);
	return debug.control == (KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP) && debug.arch.debugreg[0] == 0x1234 &&
	       debug.arch.debugreg[1] == 0x10006 && debug.arch.debugreg[2] == 0x10008 &&
	       debug.arch.debugreg[3] == 0x10020 && debug.arch.debugreg[7] == 0x3d5007aa;
}

static bool explained(u32 exception, u64 pc, u64 dr6, bool stepping, const char *answer)
{
	const struct kvm_debug_exit_arch arch = { .exception = exception, .pc = pc, .dr6 = dr6 };
	static struct reply reply;

	if (!breakpoints_explain(&session.breakpoints, &arch, stepping, &session.stop))
		return !answer;
	reply.len = 0;
	command_report_stop(&session, &reply);
	return answer && reply.len == strlen(answer) && !memcmp(reply.data, answer, reply.len);
}

static bool explanations(void)
{
	static struct reply reply;

	begin();
	say("qSupported:swbreak+;hwbreak+", 28, &reply);
	say("Z0,10010,1", 10, &reply);
	say("Z1,1234,1", 9, &reply);
	say("Z2,10001,2", 10, &reply);
	return explained(3, 0x10010, 0, false, "T05thread:1;swbreak:;") && explained(3, 0x10011, 0, false, NULL) &&
	       explained(1, 0x1234, 0xffff0ff1, false, "T05thread:1;hwbreak:;") &&
	       explained(1, 0, 0xffff0ff4, false, "T05thread:1;watch:10001;") &&
	       explained(1, 0, 0xffff0ff8, false, NULL) && explained(1, 0, 0xffff4ff0, true, "T05thread:1;") &&
	       explained(1, 0, 0xffff4ff0, false, NULL) && explained(1, 0, 0xffff0ff0, true, NULL);
}

/* -- packets at random ------------------------------------------------------------------------------------------- */

static const char *const seeds[] = {
	"?",
	"D",
	"g",
	"G00",
	"p1f",
	"P1=0000000000000001",
	"m10000,20",
	"M10000,2:aabb",
	"X10000,2:a",
	"Z0,10000,1",
	"z0,10000,1",
	"Z1,1,1",
	"z1,1,1",
	"Z2,10000,8",
	"z2,10000,8",
	"Z4,3,f",
	"Hg2",
	"Hc-1",
	"T1",
	"qC",
	"vCont;s:1;c",
	"qRcmd,706879736963616c206f6e",
	"vKill;1",
	"k",
	"qSupported:swbreak+",
	"qXfer:features:read:target.xml:0,fff",
	"qThreadExtraInfo,1",
	"qfThreadInfo",
};

/* Nothing that comes in does harm, and an answer comes to all of it that is whole. */
static bool random_packets(void)
{
	static struct reply reply;
	static struct packet_reader reader;
	static u8 out[PACKET_ENCODED_MAX];

	begin();
	srandom(1);
	for (unsigned int i = 0; i < RANDOM_PACKETS; i++) {
		struct reply packet = { 0 };
		size_t len;

		reply_text(&packet, "%s", seeds[random() % ARRAY_SIZE(seeds)]);
		for (unsigned int n = random() % 3; n && packet.len; n--)
			packet.data[random() % packet.len] = random();
		if (packet.len && random() % 8 == 0)
			packet.len = random() % packet.len;
		len = packet_encode(&packet, out);
		if (random() % 8 == 0)
			out[random() % len] = random();
		for (size_t at = 0; at < len; at++) {
			if (packet_take(&reader, out[at]) != PACKET_WHOLE)
				continue;
			if (command_execute(&session, &reader, &reply) > COMMAND_KILL || reply.len > PACKET_MAX)
				return false;
		}
	}
	breakpoints_clear(&session.breakpoints);
	return !session.breakpoints.nr_int3;
}

static const struct test tests[] = {
	{ "framing", framing },
	{ "packets that are too long", long_packet },
	{ "encoding", encoding },
	{ "unknown commands have an empty answer", unknown_commands },
	{ "threads", thread_commands },
	{ "registers", register_commands },
	{ "all registers", all_registers },
	{ "target description", description },
	{ "memory", memory_commands },
	{ "breakpoints", breakpoint_commands },
	{ "going on", resume_commands },
	{ "debug registers", debug_registers },
	{ "why a vCPU stopped", explanations },
	{ "random packets", random_packets },
};

int main(void)
{
	return run_tests(tests, ARRAY_SIZE(tests));
}
