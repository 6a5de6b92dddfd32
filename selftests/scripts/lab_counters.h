/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the lab's emulators count besides instructions (its patches in selftests/lab), for the first CPU and without what a guest
 * does itself: by MSRs, which the module msr lets a program read.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

#define LAB_MSR 0x4c414200

enum {
	LAB_GUEST, /* instructions of guests */
	LAB_ENTRIES,
	LAB_VMREAD,  /* AMD: VMLOAD and VMSAVE */
	LAB_VMWRITE, /* AMD: STGI and CLGI */
	LAB_RDMSR,
	LAB_WRMSR,
	LAB_CR, /* writes */
	LAB_DR,
	LAB_XSAVE,	/* and XRSTOR, FXSAVE, FXRSTOR */
	LAB_INVALIDATE, /* INVEPT, INVVPID, INVLPG; AMD: VMRUN with TLB_CONTROL, too */
	LAB_DATA_LINES, /* lines of 64 bytes that instructions load or store, each once from a VM entry to the next */
	LAB_CODE_LINES, /* lines that instructions are in, likewise */
	LAB_COUNTERS
};

struct lab_counters {
	uint64_t count[LAB_COUNTERS];
};

static inline int lab_msrs(void)
{
	static int fd = -2;

	if (fd == -2)
		fd = open("/dev/cpu/0/msr", O_RDWR | O_CLOEXEC);
	return fd;
}

/* False where no emulator counts, or the module msr is not loaded. */
static inline bool lab_counters_read(struct lab_counters *c)
{
	unsigned int i;

	for (i = 0; i < LAB_COUNTERS; i++)
		if (pread(lab_msrs(), &c->count[i], sizeof(c->count[i]), LAB_MSR + i) != sizeof(c->count[i]))
			return false;
	return c->count[LAB_RDMSR] != 0;
}

/* Lines are counted only while they are wanted, for it makes the emulator slow. The module msr must allow writes. */
static inline bool lab_count_lines(bool on)
{
	uint64_t value = on;

	return pwrite(lab_msrs(), &value, sizeof(value), LAB_MSR + LAB_DATA_LINES) == sizeof(value);
}
