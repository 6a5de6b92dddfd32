/* SPDX-License-Identifier: GPL-2.0 */
/* A CPU in software: 16-bit code, registers, no memory. */
#include <stddef.h>

/* Runs code from its beginning to its end, which is @size bytes on; zeroes have to follow. Returns EAX. */
unsigned int model_run(const unsigned char *code, size_t size);
