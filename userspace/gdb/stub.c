// SPDX-License-Identifier: GPL-2.0
/*
 * A gdb at the other end of a socket, and the machine it debugs. Either all vCPUs stand still and gdb's commands are
 * carried out, or some run and gdb waits for one of them to stop, which stops all ("all-stop mode").
 */
#define _GNU_SOURCE
#include "stub.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../pause.h"
#include "../vcpu.h"
#include "../vm.h"
#include "commands.h"

#define PAGE_SIZE 4096
/* A gdb that does not read is given up after so long, and the guest goes on. */
#define SEND_SECONDS 5

/* A vCPU as gdb left it. */
struct debugged {
	bool stepping;
	bool stopped; /* for this reason, of which gdb may not have been told */
	struct stop stop;
};

static struct {
	struct vm *vm;
	const char *path; /* of the unix socket, or NULL */
	int listener, connection, event;
	u32 step_control; /* KVM_GUESTDBG_* */
	pthread_t thread;
	bool running;
	bool lost; /* the connection is */
	struct packet_reader reader;
	size_t last_len;
	u8 last[PACKET_ENCODED_MAX]; /* packet that was sent */

	/* For what vCPUs that run look at too: the connection, breakpoints, and debugged. */
	pthread_mutex_t lock;
	struct session session;
	struct debugged *debugged;
} stub = { .listener = -1, .connection = -1, .lock = PTHREAD_MUTEX_INITIALIZER };

/* -- what the commands need -------------------------------------------------------------------------------------- */

static int vcpu_ioctl(unsigned int vcpu, unsigned long request, void *arg)
{
	return ioctl(stub.vm->vcpus[vcpu].fd, request, arg) < 0 ? -errno : 0;
}

static int get_registers(unsigned int vcpu, struct registers *registers)
{
	int error = vcpu_ioctl(vcpu, KVM_GET_REGS, &registers->regs);

	if (!error)
		error = vcpu_ioctl(vcpu, KVM_GET_SREGS, &registers->sregs);
	return error ? error : vcpu_ioctl(vcpu, KVM_GET_FPU, &registers->fpu);
}

/* What has not changed is not written: writing has effects of its own, such as forgetting an exception. */
static int set_registers(unsigned int vcpu, const struct registers *registers, const struct registers *old)
{
	struct registers new = *registers;
	int error = 0;

	/* First what the kernel may refuse. */
	if (memcmp(&new.sregs, &old->sregs, sizeof(new.sregs)))
		error = vcpu_ioctl(vcpu, KVM_SET_SREGS, &new.sregs);
	if (!error && memcmp(&new.fpu, &old->fpu, sizeof(new.fpu)))
		error = vcpu_ioctl(vcpu, KVM_SET_FPU, &new.fpu);
	if (!error && memcmp(&new.regs, &old->regs, sizeof(new.regs)))
		error = vcpu_ioctl(vcpu, KVM_SET_REGS, &new.regs);
	return error;
}

static u8 *memory(unsigned int vcpu, bool physical, u64 address, u64 *len)
{
	struct kvm_translation translation = { .linear_address = address };

	*len = PAGE_SIZE - address % PAGE_SIZE;
	if (physical)
		return memory_at(&stub.vm->memory, address, *len);
	if (vcpu_ioctl(vcpu, KVM_TRANSLATE, &translation) || !translation.valid)
		return NULL;
	return memory_at(&stub.vm->memory, translation.physical_address, *len);
}

static const char *state(unsigned int vcpu)
{
	static const char *const names[] = {
		[KVM_MP_STATE_RUNNABLE] = "running",
		[KVM_MP_STATE_UNINITIALIZED] = "waiting for INIT",
		[KVM_MP_STATE_INIT_RECEIVED] = "waiting for SIPI",
		[KVM_MP_STATE_HALTED] = "halted",
	};
	struct kvm_mp_state state;

	if (vcpu_ioctl(vcpu, KVM_GET_MP_STATE, &state) || state.mp_state >= ARRAY_SIZE(names))
		return "unknown";
	return names[state.mp_state];
}

static struct target target = { 0, get_registers, set_registers, memory, state };

/* -- packets ----------------------------------------------------------------------------------------------------- */

static void send_bytes(const void *data, size_t len)
{
	while (len && !stub.lost) {
		ssize_t n = send(stub.connection, data, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		stub.lost = n < 0;
		data = (const u8 *)data + n;
		len -= n;
	}
}

static void send_reply(const struct reply *reply)
{
	stub.last_len = packet_encode(reply, stub.last);
	send_bytes(stub.last, stub.last_len);
}

static void send_error(int error)
{
	struct reply reply;

	command_error(&reply, error);
	send_reply(&reply);
}

/* -- going on and standing still --------------------------------------------------------------------------------- */

static int program(unsigned int vcpu, u32 control)
{
	struct kvm_guest_debug debug = { .control = control };

	if (stub.debugged[vcpu].stepping)
		debug.control |= stub.step_control;
	breakpoints_program(&stub.session.breakpoints, &debug);
	return vcpu_ioctl(vcpu, KVM_SET_GUEST_DEBUG, &debug);
}

static void report(const struct stop *stop)
{
	struct reply reply = { 0 };

	stub.running = false;
	stub.session.stop = *stop;
	stub.session.vcpu = stop->vcpu;
	command_report_stop(&stub.session, &reply);
	send_reply(&reply);
}

/* Whether a vCPU that was let go has a reason to stop. What the others may have seen is kept until it is their turn. */
static bool has_stopped(unsigned int vcpu)
{
	return stub.debugged[vcpu].stopped && stub.session.actions[vcpu] != STAY;
}

static bool any_has_stopped(void)
{
	for (unsigned int i = 0; i < target.nr_vcpus; i++) {
		if (has_stopped(i))
			return true;
	}
	return false;
}

/*
 * Several may have stopped, of which gdb hears of one. At a breakpoint the others are still before the instruction, and
 * will come to it again; what a watchpoint has seen is behind them, and must not be forgotten.
 */
static bool report_first(void)
{
	struct debugged *first = NULL;

	for (unsigned int i = 0; i < target.nr_vcpus; i++) {
		struct debugged *one = &stub.debugged[i];

		if (!has_stopped(i))
			continue;
		if (first)
			one->stopped = one->stop.reason == STOP_WATCH || one->stop.reason == STOP_ACCESS;
		else
			first = one;
	}
	if (first) {
		first->stopped = false;
		report(&first->stop);
	}
	return first;
}

static bool report_kept(void)
{
	for (unsigned int i = 0; i < target.nr_vcpus; i++) {
		struct debugged *one = &stub.debugged[i];

		if (!has_stopped(i))
			continue;
		one->stopped = false;
		if (!breakpoints_watch(&stub.session.breakpoints, &one->stop))
			continue;
		report(&one->stop);
		return true;
	}
	return false;
}

static void resume(void)
{
	int error = 0;

	if (report_kept())
		return;
	for (unsigned int i = 0; i < target.nr_vcpus && !error; i++) {
		stub.debugged[i].stepping = stub.session.actions[i] == STEP;
		error = program(i, 0);
	}
	if (error) {
		send_error(error);
		return;
	}
	stub.running = true;
	for (unsigned int i = 0; i < target.nr_vcpus; i++) {
		if (stub.session.actions[i] != STAY)
			pause_end(&stub.vm->vcpus[i]);
	}
}

static void interrupt(void)
{
	const struct stop stop = { .vcpu = stub.session.vcpu, .signal = SIGNAL_INT };

	if (!stub.running)
		return;
	pause_all(stub.vm);
	if (!report_first())
		report(&stop);
}

/**
 * gdb_exit_debug - a vCPU came to a breakpoint, or has executed its single instruction
 * @vcpu: the caller's
 *
 * It may also be an exception that the guest has brought about by itself. Then it gets it.
 */
void gdb_exit_debug(struct vcpu *vcpu)
{
	const struct kvm_debug_exit_arch *arch = &vcpu->run->debug.arch;
	struct debugged *debugged = &stub.debugged[vcpu->id];

	pthread_mutex_lock(&stub.lock);
	debugged->stopped = breakpoints_explain(&stub.session.breakpoints, arch, debugged->stepping, &debugged->stop);
	debugged->stop.vcpu = vcpu->id;
	if (!debugged->stopped)
		program(vcpu->id, arch->exception == 3 ? KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_INJECT_BP
						       : KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_INJECT_DB);
	pthread_mutex_unlock(&stub.lock);
	if (debugged->stopped) {
		pause_self(vcpu);
		eventfd_write(stub.event, 1);
	}
}

/**
 * gdb_crashed - let gdb look at a vCPU that cannot go on
 * @vcpu: the caller's; the caller ends the machine when gdb has seen enough, or is not there
 */
void gdb_crashed(struct vcpu *vcpu)
{
	bool attached;

	pthread_mutex_lock(&stub.lock);
	attached = stub.connection >= 0;
	if (attached)
		stub.debugged[vcpu->id] =
			(struct debugged){ .stopped = true, .stop = { .vcpu = vcpu->id, .signal = SIGNAL_SEGV } };
	pthread_mutex_unlock(&stub.lock);
	if (!attached)
		return;
	pause_self(vcpu);
	eventfd_write(stub.event, 1);
	pause_here(vcpu);
}

/* -- the connection ---------------------------------------------------------------------------------------------- */

static void set_connection(int fd)
{
	pthread_mutex_lock(&stub.lock);
	stub.connection = fd;
	pthread_mutex_unlock(&stub.lock);
}

static void attach(void)
{
	const struct timeval patience = { .tv_sec = SEND_SECONDS };
	const int on = 1;
	int fd = accept4(stub.listener, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	stub.lost = stub.running = false;
	stub.last_len = 0;
	memset(&stub.reader, 0, sizeof(stub.reader));
	pause_all(stub.vm);
	stub.session =
		(struct session){ .target = &target, .actions = stub.session.actions, .stop.signal = SIGNAL_INT };
	set_connection(fd);
}

/* The guest goes on as if there had never been a debugger. */
static void detach(void)
{
	close(stub.connection);
	set_connection(-1);
	pause_all(stub.vm);
	pthread_mutex_lock(&stub.lock);
	breakpoints_clear(&stub.session.breakpoints);
	memset(stub.debugged, 0, target.nr_vcpus * sizeof(*stub.debugged));
	for (unsigned int i = 0; i < target.nr_vcpus; i++)
		program(i, 0);
	pthread_mutex_unlock(&stub.lock);
	pause_end_all(stub.vm);
}

static void execute(void)
{
	struct reply reply;

	switch (command_execute(&stub.session, &stub.reader, &reply)) {
	case COMMAND_REPLY:
		send_reply(&reply);
		break;
	case COMMAND_RESUME:
		resume();
		break;
	case COMMAND_DETACH:
		send_reply(&reply);
		stub.lost = true;
		break;
	case COMMAND_KILL:
		send_reply(&reply);
		vm_stop(stub.vm, STATUS_OK);
		break;
	}
}

/* While the guest runs gdb has nothing to ask for. */
static void take_packet(enum packet_event event)
{
	if (!stub.session.no_ack)
		send_bytes(event == PACKET_DAMAGED ? "-" : "+", 1);
	if (stub.running)
		send_error(-EBUSY);
	else if (event == PACKET_TOO_LONG)
		send_error(-E2BIG);
	else if (event == PACKET_WHOLE)
		execute();
	else if (stub.session.no_ack)
		send_error(-EBADMSG);
}

static void take_byte(u8 byte)
{
	enum packet_event event = packet_take(&stub.reader, byte);

	pthread_mutex_lock(&stub.lock);
	if (event == PACKET_RESEND && !stub.session.no_ack)
		send_bytes(stub.last, stub.last_len);
	if (event == PACKET_WHOLE || event == PACKET_DAMAGED || event == PACKET_TOO_LONG)
		take_packet(event);
	pthread_mutex_unlock(&stub.lock);
	/* Without the lock, for which vCPUs may wait that are to be paused. */
	if (event == PACKET_INTERRUPT)
		interrupt();
}

static void take_input(void)
{
	u8 input[4096];
	ssize_t n = recv(stub.connection, input, sizeof(input), 0);

	stub.lost = n == 0 || (n < 0 && errno != EINTR);
	for (ssize_t i = 0; i < n && !stub.lost; i++)
		take_byte(input[i]);
}

static void look_at_vcpus(void)
{
	eventfd_t ignored;

	eventfd_read(stub.event, &ignored);
	if (!stub.running || !any_has_stopped())
		return;
	pause_all(stub.vm);
	report_first();
}

static void say_goodbye(void)
{
	struct reply reply = { 0 };

	reply_text(&reply, "W%02x", (unsigned int)stub.vm->status);
	send_reply(&reply);
	close(stub.connection);
}

static void *serve(void *unused)
{
	while (vm_running(stub.vm)) {
		bool attached = stub.connection >= 0;
		struct pollfd fds[] = {
			{ .fd = stub.event, .events = POLLIN },
			{ .fd = attached ? stub.connection : stub.listener, .events = POLLIN },
		};

		poll(fds, ARRAY_SIZE(fds), -1);
		if (fds[0].revents)
			look_at_vcpus();
		if (fds[1].revents && attached)
			take_input();
		else if (fds[1].revents)
			attach();
		if (stub.connection >= 0 && stub.lost)
			detach();
	}
	if (stub.connection >= 0)
		say_goodbye();
	return NULL;
}

/* -- beginning and end ------------------------------------------------------------------------------------------- */

static int listen_at_port(unsigned long port)
{
	const struct sockaddr_in address = { .sin_family = AF_INET,
					     .sin_port = htons(port),
					     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const int on = 1;

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	return bind(fd, (const struct sockaddr *)&address, sizeof(address)) ? -1 : fd;
}

/*
 * Whoever can open the socket controls the guest: only this user can. One that a dead runner left behind is in the way.
 */
static int listen_at_path(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct stat stat;
	mode_t mask;
	int result;

	if (fd < 0)
		return -1;
	if (strlen(path) >= sizeof(address.sun_path))
		die("--gdb takes a path of at most %zu bytes, not %s", sizeof(address.sun_path) - 1, path);
	strcpy(address.sun_path, path);
	if (!lstat(path, &stat) && S_ISSOCK(stat.st_mode))
		unlink(path);
	mask = umask(077);
	result = bind(fd, (const struct sockaddr *)&address, sizeof(address));
	umask(mask);
	stub.path = path;
	return result ? -1 : fd;
}

/**
 * gdb_listen - let gdb connect
 * @vm: the machine, which has no CPUs yet
 * @where: a TCP port of the host's own address, or else the path of a unix socket
 */
void gdb_listen(struct vm *vm, const char *where)
{
	char *end;
	unsigned long port = strtoul(where, &end, 10);

	stub.vm = vm;
	if (*end)
		stub.listener = listen_at_path(where);
	else if (port >= 1 && port <= 65535)
		stub.listener = listen_at_port(port);
	else
		die("--gdb takes a port from 1 to 65535 or the path of a socket, not %s", where);
	if (stub.listener < 0 || listen(stub.listener, 1))
		die("cannot listen for gdb at %s: %s", where, strerror(errno));
	stub.event = must(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "create an eventfd");
}

/* Where the kernel can it keeps interrupts off while an instruction is stepped over: a step is to the next one. */
static u32 step_control(void)
{
	return KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP |
	       (vm_extension(stub.vm, KVM_CAP_SET_GUEST_DEBUG2) & KVM_GUESTDBG_BLOCKIRQ);
}

/**
 * gdb_start - serve gdb from now on, if gdb_listen() was called; all CPUs have been started
 */
void gdb_start(void)
{
	if (stub.listener < 0)
		return;
	target.nr_vcpus = stub.vm->nr_vcpus;
	stub.step_control = step_control();
	stub.debugged = calloc(target.nr_vcpus, sizeof(*stub.debugged));
	stub.session.actions = calloc(target.nr_vcpus, sizeof(*stub.session.actions));
	if (!stub.debugged || !stub.session.actions || pthread_create(&stub.thread, NULL, serve, NULL))
		die("cannot start a thread for gdb");
}

/**
 * gdb_stop - tell gdb that the machine has come to its end
 */
void gdb_stop(void)
{
	if (stub.listener < 0)
		return;
	eventfd_write(stub.event, 1);
	pthread_join(stub.thread, NULL);
	if (stub.path)
		unlink(stub.path);
}
