// SPDX-License-Identifier: GPL-2.0
/*
 * The user's terminal: raw while the guest runs, as it was however the runner ends; Ctrl-A x quits.
 *
 * Only a terminal has an escape key. A pipe carries every byte to the guest, and its end is not the end of the guest.
 */
#include "term.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <termios.h>
#include <unistd.h>

#include "serial.h"
#include "vm.h"

#define CTRL_A 0x01

static struct termios saved;
static volatile sig_atomic_t raw;

/* Input on its way to the guest. */
struct input {
	bool eof;
	bool escaped; /* the last key was Ctrl-A */
	size_t len;
	u8 data[4096];
};

bool term_is_raw(void)
{
	return raw;
}

/**
 * term_restore - give the user the terminal back as it was; safe in a signal handler
 */
void term_restore(void)
{
	if (raw)
		tcsetattr(STDIN_FILENO, TCSANOW, &saved);
	raw = 0;
}

static void restore_and_die(int signal)
{
	term_restore();
	raise(signal); /* SA_RESETHAND has made this deadly */
}

static void catch_deadly_signals(void)
{
	static const int deadly[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT };
	struct sigaction action = { .sa_handler = restore_and_die, .sa_flags = SA_RESETHAND | SA_NODEFER };

	for (unsigned int i = 0; i < ARRAY_SIZE(deadly); i++) {
		struct sigaction old;

		sigaction(deadly[i], NULL, &old);
		if (old.sa_handler != SIG_IGN) /* as nohup(1) wants it */
			sigaction(deadly[i], &action, NULL);
	}
}

/**
 * term_init - take the terminal, if standard input is one
 */
void term_init(void)
{
	struct termios attributes;

	/* A reader that goes away must not end the guest. */
	signal(SIGPIPE, SIG_IGN);
	if (tcgetattr(STDIN_FILENO, &saved) < 0)
		return;
	catch_deadly_signals();
	atexit(term_restore);

	attributes = saved;
	cfmakeraw(&attributes);
	raw = 1;
	tcsetattr(STDIN_FILENO, TCSANOW, &attributes);
}

/* Returns false if the user wants to quit. */
static bool take_key(struct input *input, u8 key)
{
	if (raw && !input->escaped && key == CTRL_A) {
		input->escaped = true;
		return true;
	}
	if (input->escaped && (key == 'x' || key == 'X'))
		return false;
	if (!input->escaped || key == CTRL_A)
		input->data[input->len++] = key;
	input->escaped = false;
	return true;
}

static bool take_input(struct input *input)
{
	u8 keys[sizeof(input->data)];
	ssize_t n = read(STDIN_FILENO, keys, sizeof(keys) - input->len);

	input->eof = n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN);
	for (ssize_t i = 0; i < n; i++) {
		if (!take_key(input, keys[i]))
			return false;
	}
	return true;
}

static void pass_on(struct input *input, struct serial *serial)
{
	size_t n = serial_receive(serial, input->data, input->len);

	input->len -= n;
	memmove(input->data, input->data + n, input->len);
}

/**
 * term_run - carry input to the guest until the machine is to stop
 * @vm: the machine
 * @serial: where the input goes
 */
void term_run(struct vm *vm, struct serial *serial)
{
	struct input input = { 0 };

	while (vm_running(vm)) {
		bool full = input.len == sizeof(input.data);
		struct pollfd fds[] = {
			{ .fd = vm->wake_fd, .events = POLLIN },
			{ .fd = input.eof || full ? -1 : STDIN_FILENO, .events = POLLIN },
		};
		eventfd_t ignored;

		poll(fds, ARRAY_SIZE(fds), -1);
		if (fds[0].revents)
			eventfd_read(vm->wake_fd, &ignored);
		if (fds[1].revents && !take_input(&input))
			vm_stop(vm, STATUS_OK);
		if (input.len)
			pass_on(&input, serial);
	}
}
