/* SPDX-License-Identifier: GPL-2.0 */
/* Entries that the CPU refuses, and why. */
#ifndef PITH_ENTRY_FAILURE_H
#define PITH_ENTRY_FAILURE_H

#include "pith.h"
#include "vcpu.h"

/**
 * exit_fail_entry - KVM_EXIT_FAIL_ENTRY; finds out which rules of the manual the entry broke, for who may ask
 * @hardware_reason: what the CPU says
 */
enum next exit_fail_entry(struct vcpu *vcpu, u64 hardware_reason);

/** entry_failure_get - PITH_GET_ENTRY_FAILURE; @told is all 0 */
void entry_failure_get(const struct vcpu *vcpu, struct pith_entry_failure *told);

/**
 * entry_failure_poke - PITH_BREAK_ENTRY: makes the next entry fail
 * Return: 0, -EPERM, -EINVAL: no rule would be broken, so nobody knows what the CPU would do; -ENOMEM. Outside of a
 * slice.
 */
long entry_failure_poke(struct vcpu *vcpu, const struct pith_break_entry *fields);

#endif
