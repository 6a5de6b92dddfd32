/* SPDX-License-Identifier: GPL-2.0 */
/* Every ioctl of the ABI as a table, and machines to try them on. For tests of clients that do it wrong. */
#ifndef SELFTESTS_CALLS_H
#define SELFTESTS_CALLS_H

#include "guest.h"
#include "pith.h"

enum file { DEVICE, VM, VCPU, NR_FILES };

/* A row of uapi/pith.h. @raw: the argument is no pointer to a struct of the size that is in the number. */
struct call {
	const char *name;
	enum file file;
	u32 cmd;
	bool raw;
};

extern const struct call calls[];
extern const unsigned int nr_calls;

/* Whether the argument is a pointer, what is pointed to is read, or written: KVM's numbers tell, but for these two. */
bool call_takes_pointer(const struct call *call);
bool call_writes_back(const struct call *call);

/* How much is there of a machine. */
enum extent { BARE, WITH_VCPU, WITH_CHIPS, WITH_ALL, NR_EXTENTS };

struct guest *machine(enum extent extent);
int file_of(const struct guest *g, enum file file);

/* A signal to this thread every few milliseconds, so that no KVM_RUN lasts. */
void start_timer(void);

#endif
