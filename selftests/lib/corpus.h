/* SPDX-License-Identifier: GPL-2.0 */
/* What a fuzzer keeps, to go on from: records of one size. */
#ifndef SELFTESTS_CORPUS_H
#define SELFTESTS_CORPUS_H

#include "ktap.h"

/*
 * Shared by threads, and with the processes that are forked later. One that is killed while it adds a record leaves a
 * place that stays empty, and nothing else.
 */
struct corpus;

struct corpus *corpus_create(u32 record_size);

/* A copy of it. When the corpus is full it stays as it is. */
void corpus_keep(struct corpus *corpus, const void *record);

/* One of them, by a random number; NULL if that finds none. */
const void *corpus_pick(const struct corpus *corpus, u64 random);
u32 corpus_count(const struct corpus *corpus);

#endif
