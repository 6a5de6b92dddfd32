// SPDX-License-Identifier: GPL-2.0
/*
 * How an error is told: one sentence on stderr.
 */
#include "util.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "term.h"

static void vprint(const char *format, va_list args)
{
	char text[512];

	vsnprintf(text, sizeof(text), format, args);
	/* A terminal in raw mode does not return the carriage by itself. */
	fprintf(stderr, "pith: %s%s\n", text, term_is_raw() ? "\r" : "");
}

/**
 * error - tell one thing that went wrong
 * @format: a clear sentence without its full stop, with the remedy where there is one
 */
void error(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vprint(format, args);
	va_end(args);
}

/**
 * die - tell what went wrong and end the runner with STATUS_ERROR
 * @format: as for error()
 */
void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vprint(format, args);
	va_end(args);
	exit(STATUS_ERROR);
}

/**
 * must - end the runner unless a system call succeeded
 * @result: what the call returned; negative means that errno says why not
 * @what: completes the sentence "cannot ..."
 *
 * Return: @result.
 */
int must(int result, const char *what)
{
	if (result < 0)
		die("cannot %s: %s", what, strerror(errno));
	return result;
}
