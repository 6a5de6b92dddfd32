/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What every file of the runner uses: fixed-width types, exit statuses, and how an error is told.
 */
#ifndef PITH_UTIL_H
#define PITH_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PITH_VERSION "0.1"

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define ALIGN_UP(n, a) (((n) + (a)-1) / (a) * (a))
#define ALIGN_DOWN(n, a) ((n) / (a) * (a))
#define min(a, b) ((a) < (b) ? (a) : (b))
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#define MIB (1ull << 20)
#define GIB (1ull << 30)

/* What the runner returns to its caller; pith(1) and --help promise these. */
enum status {
	STATUS_OK = 0,	  /* the guest powered off or reset itself, or the user quit */
	STATUS_ERROR = 1, /* the host could not start the guest or go on with it */
	STATUS_USAGE = 2, /* the command line is wrong */
	STATUS_GUEST = 3, /* the guest brought its virtual machine down */
};

void error(const char *format, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));
int must(int result, const char *what);

#endif
