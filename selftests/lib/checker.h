/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Guests that check a pattern in their memory all the time and go on changing it, while the host does something to that
 * memory: one guest of two vCPUs, or two of one. Nothing that the host does may make a byte wrong.
 */
#ifndef SELFTESTS_CHECKER_H
#define SELFTESTS_CHECKER_H

#include <pthread.h>

#include "machine.h"

#define PAGE 4096ul
#define MiB (1ul << 20)

#define CHECKER_SLOT 7
#define CHECKER_GPA 0x20000000ul
#define CHECKER_SIZE (24 * MiB)
#define CHECKER_PAGES (CHECKER_SIZE / PAGE)
#define BALLOON (CHECKER_PAGES * 7 / 8) /* from this page on the client may throw pages away */
#define NR_CHECKERS 2

/* -- the guest's half --------------------------------------------------------------------------------------------- */

/* A page counts how often it was written, and from that and its number follows what it holds. */
void write_page(volatile u64 *at, u64 page, u64 generation);
bool page_is_right(volatile u64 *at, u64 page);

/* -- the host's half ---------------------------------------------------------------------------------------------- */

struct checker {
	struct machine machine; /* [1] has that of [0], but where there are two guests */
	u8 *memory;
	pthread_t thread;
	u64 first, stride; /* the pages that are its own */
	u64 passes, wrong; /* a wrong page, if it says so */
};

extern struct checker checkers[NR_CHECKERS];

/* How often KVM_RUN has failed with EFAULT: allowed while the client has its memory in disorder. */
extern u64 nr_refused;

/* CHECKER_SIZE bytes, aligned to large pages; and the slot for them. */
u8 *checker_memory(void);
void checker_add_memory(struct machine *m, u8 *start);

void checkers_start(unsigned int nr_guests);

/* Does one thing after the other until the guests have seen enough of it: seconds; LONG=1, ten minutes, LONG=N, N seconds. */
void checkers_meanwhile(void (*disturb)(void));

/* When all is quiet the client has to see what the guest saw. */
void checkers_end(void);

#endif
