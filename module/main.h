/* SPDX-License-Identifier: GPL-2.0 */
#ifndef PITH_MAIN_H
#define PITH_MAIN_H

#include <linux/percpu.h>

DECLARE_PER_CPU(bool, virtualization_on);

/** cpu_virtualization_on - whether guests can be entered on this CPU. Preemption off. */
static inline bool cpu_virtualization_on(void)
{
	return __this_cpu_read(virtualization_on);
}

#endif
