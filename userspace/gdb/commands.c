// SPDX-License-Identifier: GPL-2.0
#include "commands.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PAGE_SIZE 4096

/* Numbers of threads are those of the vCPUs and one, since 0 means any. */
#define ALL_THREADS (~0u)

/* A thread's number; 0 is the vCPU that commands are about. */
static bool scan_thread(const struct session *session, const char **text, unsigned int *vcpu)
{
	u64 number;

	if (scan_char(text, '-')) {
		*vcpu = ALL_THREADS;
		return scan_char(text, '1');
	}
	if (!scan_number(text, &number) || number > session->target->nr_vcpus)
		return false;
	*vcpu = number ? number - 1 : session->vcpu;
	return true;
}

/**
 * command_error - answer that something did not work
 * @reply: what is in it already is not said
 * @error: a negative errno
 */
void command_error(struct reply *reply, int error)
{
	reply->len = 0;
	reply_text(reply, "E%02x", -error & 0xff);
}

static enum command_result answer(struct reply *reply, int error)
{
	if (error)
		command_error(reply, error);
	else
		reply_text(reply, "OK");
	return COMMAND_REPLY;
}

/**
 * command_report_stop - tell that the machine has stopped and why
 * @session: it is in there
 * @reply: set to that
 */
void command_report_stop(const struct session *session, struct reply *reply)
{
	const struct stop *stop = &session->stop;

	reply_text(reply, "T%02xthread:%x;", stop->signal, stop->vcpu + 1);
	if (stop->reason == STOP_WATCH || stop->reason == STOP_ACCESS)
		reply_text(reply, "%s:%llx;", stop->reason == STOP_WATCH ? "watch" : "awatch",
			   (unsigned long long)stop->address);
	else if (stop->reason == STOP_INT3 && session->knows_int3)
		reply_text(reply, "swbreak:;");
	else if (stop->reason == STOP_HARDWARE && session->knows_hardware)
		reply_text(reply, "hwbreak:;");
}

static enum command_result why_stopped(struct session *session, const char *args, size_t len, struct reply *reply)
{
	command_report_stop(session, reply);
	return COMMAND_REPLY;
}

/* -- registers --------------------------------------------------------------------------------------------------- */

static void add_register(struct reply *reply, const struct registers *registers, unsigned int number)
{
	u8 value[REGISTER_MAX];

	register_get(registers, number, value);
	reply_hex(reply, value, register_size(number));
}

static enum command_result read_registers(struct session *session, const char *args, size_t len, struct reply *reply)
{
	struct registers registers;
	int error = session->target->get_registers(session->vcpu, &registers);

	if (error)
		return answer(reply, error);
	for (unsigned int i = 0; i < registers_count(); i++)
		add_register(reply, &registers, i);
	return COMMAND_REPLY;
}

static enum command_result read_register(struct session *session, const char *args, size_t len, struct reply *reply)
{
	struct registers registers;
	u64 number;
	int error;

	if (!scan_number(&args, &number) || *args || number >= registers_count())
		return answer(reply, -EINVAL);
	error = session->target->get_registers(session->vcpu, &registers);
	if (error)
		return answer(reply, error);
	add_register(reply, &registers, number);
	return COMMAND_REPLY;
}

/* Changes the registers from @first to @last, all or none of them. */
static int change_registers(struct session *session, unsigned int first, unsigned int last, const char *values)
{
	struct registers old, registers;
	u8 value[REGISTER_MAX];
	int error;

	error = session->target->get_registers(session->vcpu, &old);
	if (error)
		return error;
	registers = old;
	for (unsigned int i = first; i <= last; i++) {
		if (!scan_bytes(&values, value, register_size(i)))
			return -EINVAL;
		register_set(&registers, i, value);
	}
	return *values ? -EINVAL : session->target->set_registers(session->vcpu, &registers, &old);
}

static enum command_result write_registers(struct session *session, const char *args, size_t len, struct reply *reply)
{
	return answer(reply, change_registers(session, 0, registers_count() - 1, args));
}

static enum command_result write_register(struct session *session, const char *args, size_t len, struct reply *reply)
{
	u64 number;

	if (!scan_number(&args, &number) || !scan_char(&args, '=') || number >= registers_count())
		return answer(reply, -EINVAL);
	return answer(reply, change_registers(session, number, number, args));
}

/* -- memory ------------------------------------------------------------------------------------------------------ */

static bool scan_range(const char **args, u64 *address, u64 *size)
{
	return scan_number(args, address) && scan_char(args, ',') && scan_number(args, size);
}

/* Tells less than was asked for where the rest is not to be had, or too much. */
static enum command_result read_memory(struct session *session, const char *args, size_t len, struct reply *reply)
{
	u8 data[PAGE_SIZE];
	u64 address, left, size;

	if (!scan_range(&args, &address, &left) || *args)
		return answer(reply, -EINVAL);
	for (left = min(left, PACKET_MAX / 2); left; address += size, left -= size) {
		const u8 *at = session->target->memory(session->vcpu, session->physical, address, &size);

		if (!at)
			return reply->len ? COMMAND_REPLY : answer(reply, -EFAULT);
		size = min(min(size, left), sizeof(data));
		breakpoints_read(&session->breakpoints, at, data, size);
		reply_hex(reply, data, size);
	}
	return COMMAND_REPLY;
}

static int write_memory(struct session *session, u64 address, const u8 *data, u64 left)
{
	u64 size;

	for (; left; address += size, data += size, left -= size) {
		u8 *at = session->target->memory(session->vcpu, session->physical, address, &size);

		if (!at)
			return -EFAULT;
		size = min(size, left);
		breakpoints_write(&session->breakpoints, at, data, size);
	}
	return 0;
}

static enum command_result write_hex(struct session *session, const char *args, size_t len, struct reply *reply)
{
	u8 data[PACKET_MAX / 2];
	u64 address, size;

	if (!scan_range(&args, &address, &size) || !scan_char(&args, ':') || size > sizeof(data) ||
	    !scan_bytes(&args, data, size) || *args)
		return answer(reply, -EINVAL);
	return answer(reply, write_memory(session, address, data, size));
}

static enum command_result write_binary(struct session *session, const char *args, size_t len, struct reply *reply)
{
	const char *end = args + len;
	u64 address, size;

	if (!scan_range(&args, &address, &size) || !scan_char(&args, ':') || size != (u64)(end - args))
		return answer(reply, -EINVAL);
	return answer(reply, write_memory(session, address, (const u8 *)args, size));
}

/* -- breakpoints ------------------------------------------------------------------------------------------------- */

/* A vCPU in a process of the guest may not see the kernel; another one does. */
static u8 *code_at(const struct session *session, u64 address)
{
	u64 size;
	u8 *at = session->target->memory(session->vcpu, session->physical, address, &size);

	for (unsigned int i = 0; !at && i < session->target->nr_vcpus; i++)
		at = session->target->memory(i, session->physical, address, &size);
	return at;
}

static bool scan_breakpoint(const char **args, u64 *type, u64 *address, u64 *size)
{
	return scan_number(args, type) && scan_char(args, ',') && scan_range(args, address, size) && !**args;
}

/* No answer means that there is no such type. */
static enum command_result insert_breakpoint(struct session *session, const char *args, size_t len, struct reply *reply)
{
	u64 type, address, size;
	u8 *at;
	int error;

	if (!scan_breakpoint(&args, &type, &address, &size))
		return answer(reply, -EINVAL);
	if (type > WATCHPOINT_ACCESS)
		return COMMAND_REPLY;
	if (type == BREAKPOINT_SOFTWARE) {
		at = code_at(session, address);
		return answer(reply, at ? breakpoint_insert_int3(&session->breakpoints, address, at) : -EFAULT);
	}
	error = breakpoint_insert_register(&session->breakpoints, type, address, size);
	return error == -EOPNOTSUPP ? COMMAND_REPLY : answer(reply, error);
}

static enum command_result remove_breakpoint(struct session *session, const char *args, size_t len, struct reply *reply)
{
	u64 type, address, size;

	if (!scan_breakpoint(&args, &type, &address, &size))
		return answer(reply, -EINVAL);
	if (type > WATCHPOINT_ACCESS)
		return COMMAND_REPLY;
	return answer(reply, breakpoint_remove(&session->breakpoints, type, address, size));
}

/* -- going on ---------------------------------------------------------------------------------------------------- */

static enum command_result list_actions(struct session *session, const char *args, size_t len, struct reply *reply)
{
	reply_text(reply, "vCont;c;C;s;S");
	return COMMAND_REPLY;
}

/* A signal that the guest's thread is to get means nothing to a vCPU. */
static bool scan_action(const char **args, enum action *action)
{
	bool with_signal = **args == 'C' || **args == 'S';
	u8 signal;

	if (scan_char(args, 'c') || scan_char(args, 'C'))
		*action = GO;
	else if (scan_char(args, 's') || scan_char(args, 'S'))
		*action = STEP;
	else
		return false;
	return !with_signal || scan_bytes(args, &signal, 1);
}

/* Of several actions for a thread the first one counts; without any it stays where it is. */
static enum command_result resume(struct session *session, const char *args, size_t len, struct reply *reply)
{
	enum command_result result = COMMAND_REPLY;

	memset(session->actions, 0, session->target->nr_vcpus * sizeof(*session->actions));
	do {
		unsigned int vcpu = ALL_THREADS;
		enum action action;

		if (!scan_action(&args, &action) || (scan_char(&args, ':') && !scan_thread(session, &args, &vcpu)))
			return answer(reply, -EINVAL);
		for (unsigned int i = 0; i < session->target->nr_vcpus; i++) {
			if ((vcpu != ALL_THREADS && vcpu != i) || session->actions[i] != STAY)
				continue;
			session->actions[i] = action;
			result = COMMAND_RESUME;
		}
	} while (scan_char(&args, ';'));
	return *args || result == COMMAND_REPLY ? answer(reply, -EINVAL) : result;
}

static enum command_result end_machine(struct session *session, const char *args, size_t len, struct reply *reply)
{
	reply_text(reply, "OK");
	return COMMAND_KILL;
}

static enum command_result detach(struct session *session, const char *args, size_t len, struct reply *reply)
{
	reply_text(reply, "OK");
	return COMMAND_DETACH;
}

/* -- threads ----------------------------------------------------------------------------------------------------- */

/* Hg: what the other commands are about. Hc is for commands that vCont stands for. */
static enum command_result select_thread(struct session *session, const char *args, size_t len, struct reply *reply)
{
	bool for_others = scan_char(&args, 'g');
	unsigned int vcpu;

	if ((!for_others && !scan_char(&args, 'c')) || !scan_thread(session, &args, &vcpu) || *args)
		return answer(reply, -EINVAL);
	if (for_others && vcpu != ALL_THREADS)
		session->vcpu = vcpu;
	return answer(reply, 0);
}

static enum command_result is_thread(struct session *session, const char *args, size_t len, struct reply *reply)
{
	unsigned int vcpu;

	return answer(reply, scan_thread(session, &args, &vcpu) && !*args ? 0 : -ESRCH);
}

static enum command_result list_threads(struct session *session, const char *args, size_t len, struct reply *reply)
{
	for (unsigned int i = 0; i < session->target->nr_vcpus; i++)
		reply_text(reply, "%c%x", i ? ',' : 'm', i + 1);
	return COMMAND_REPLY;
}

static enum command_result end_of_threads(struct session *session, const char *args, size_t len, struct reply *reply)
{
	reply_text(reply, "l");
	return COMMAND_REPLY;
}

static enum command_result describe_thread(struct session *session, const char *args, size_t len, struct reply *reply)
{
	unsigned int vcpu;
	char text[64];
	int n;

	if (!scan_thread(session, &args, &vcpu) || *args || vcpu == ALL_THREADS)
		return answer(reply, -EINVAL);
	n = snprintf(text, sizeof(text), "CPU %u [%s]", vcpu, session->target->state(vcpu));
	reply_hex(reply, text, n);
	return COMMAND_REPLY;
}

static enum command_result current_thread(struct session *session, const char *args, size_t len, struct reply *reply)
{
	reply_text(reply, "QC%x", session->vcpu + 1);
	return COMMAND_REPLY;
}

/* The machine was there before gdb: when gdb ends it leaves it running. */
static enum command_result was_attached(struct session *session, const char *args, size_t len, struct reply *reply)
{
	reply_text(reply, "1");
	return COMMAND_REPLY;
}

/* -- what both sides can do -------------------------------------------------------------------------------------- */

static enum command_result supported(struct session *session, const char *args, size_t len, struct reply *reply)
{
	session->knows_int3 = strstr(args, "swbreak+");
	session->knows_hardware = strstr(args, "hwbreak+");
	reply_text(reply, "PacketSize=%x;QStartNoAckMode+;qXfer:features:read+;vContSupported+;swbreak+;hwbreak+",
		   PACKET_MAX);
	return COMMAND_REPLY;
}

/* The packet itself is still acknowledged: it was before it was looked at. */
static enum command_result no_more_acks(struct session *session, const char *args, size_t len, struct reply *reply)
{
	session->no_ack = true;
	return answer(reply, 0);
}

static enum command_result read_description(struct session *session, const char *args, size_t len, struct reply *reply)
{
	char xml[REGISTERS_XML_MAX];
	u64 size = registers_describe(xml, sizeof(xml));
	u64 offset, wanted;

	if (!scan_range(&args, &offset, &wanted) || *args || offset > size)
		return answer(reply, -EINVAL);
	wanted = min(wanted, PACKET_MAX - 1);
	reply_text(reply, "%c", wanted < size - offset ? 'm' : 'l');
	reply_bytes(reply, xml + offset, min(wanted, size - offset));
	return COMMAND_REPLY;
}

/* gdb's `monitor`: the command is in hexadecimal, and so is the text that it answers. */
static enum command_result monitor(struct session *session, const char *args, size_t len, struct reply *reply)
{
	static const char help[] = "monitor physical on|off: addresses of memory are the guest's physical ones\n";
	char command[32] = "";

	if (len % 2 || len / 2 >= sizeof(command) || !scan_bytes(&args, command, len / 2))
		return answer(reply, -EINVAL);
	if (!strcmp(command, "physical on"))
		session->physical = true;
	else if (!strcmp(command, "physical off"))
		session->physical = false;
	else {
		reply_hex(reply, help, sizeof(help) - 1);
		return COMMAND_REPLY;
	}
	return answer(reply, 0);
}

static const struct {
	const char *name;
	enum command_result (*execute)(struct session *session, const char *args, size_t len, struct reply *reply);
} commands[] = {
	{ "?", why_stopped },
	{ "D", detach },
	{ "G", write_registers },
	{ "H", select_thread },
	{ "M", write_hex },
	{ "P", write_register },
	{ "QStartNoAckMode", no_more_acks },
	{ "T", is_thread },
	{ "X", write_binary },
	{ "Z", insert_breakpoint },
	{ "g", read_registers },
	{ "k", end_machine },
	{ "m", read_memory },
	{ "p", read_register },
	{ "qAttached", was_attached },
	{ "qC", current_thread },
	{ "qRcmd,", monitor },
	{ "qSupported", supported },
	{ "qThreadExtraInfo,", describe_thread },
	{ "qXfer:features:read:target.xml:", read_description },
	{ "qfThreadInfo", list_threads },
	{ "qsThreadInfo", end_of_threads },
	{ "vCont;", resume },
	{ "vCont?", list_actions },
	{ "vKill;", end_machine },
	{ "z", remove_breakpoint },
};

/* Names of one letter, and those that end in a separator, are followed by anything, the others by nothing or by ":". */
static bool is_named(const char *packet, const char *name)
{
	size_t len = strlen(name);

	if (strncmp(packet, name, len))
		return false;
	return len == 1 || strchr(",:;?", name[len - 1]) || !packet[len] || packet[len] == ':';
}

/**
 * command_execute - do what gdb asks for
 * @session: changed by that
 * @packet: whole
 * @reply: set to the answer; it is empty if we do not know the command, as the protocol wants it
 *
 * Return: what is left to do for the caller.
 */
enum command_result command_execute(struct session *session, const struct packet_reader *packet, struct reply *reply)
{
	reply->len = 0;
	for (unsigned int i = 0; i < ARRAY_SIZE(commands); i++) {
		size_t len = strlen(commands[i].name);

		if (is_named(packet->data, commands[i].name))
			return commands[i].execute(session, packet->data + len, packet->len - len, reply);
	}
	return COMMAND_REPLY;
}
