/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The guest's x87, SSE and extended state. It lives in the registers for the length of a slice and in an XSAVE image of
 * the standard form otherwise; the host's own is kept by the kernel, whose kernel_fpu_begin() section a slice is.
 */
#ifndef PITH_CPU_FPU_H
#define PITH_CPU_FPU_H

#include <linux/kvm.h>

#include "../vcpu.h"

/** fpu_setup - finds out the size and the components of XSAVE images here. 0 or -EOPNOTSUPP. At load. */
int fpu_setup(void);

/** fpu_supported_xcr0 - components that guests may use: those the host has enabled and pith can switch */
u64 fpu_supported_xcr0(void);

int fpu_create(struct vcpu *vcpu);
void fpu_destroy(struct vcpu *vcpu);
void fpu_reset(struct vcpu *vcpu);

/** fpu_load_guest, fpu_load_host - the ends of a slice. Preemption off, interrupts on. */
void fpu_load_guest(struct vcpu *vcpu);
void fpu_load_host(struct vcpu *vcpu);

/** fpu_set_xcr - XSETBV, KVM_SET_XCRS. Return: 0, or -EINVAL: #GP(0). In a slice or not. */
int fpu_set_xcr(struct vcpu *vcpu, u32 index, u64 value);

/** fpu_guest_pkru - the guest's PKRU, in a slice or not */
u32 fpu_guest_pkru(struct vcpu *vcpu);

/* XMM registers, outside of a slice. */
void fpu_read_xmm(struct vcpu *vcpu, unsigned int n, void *buf);
void fpu_write_xmm(struct vcpu *vcpu, unsigned int n, const void *buf);

/* ioctls, outside of a slice. Set functions return -EINVAL and change nothing if the image is not one. */
void fpu_get(struct vcpu *vcpu, struct kvm_fpu *fpu);
int fpu_set(struct vcpu *vcpu, const struct kvm_fpu *fpu);
void fpu_get_xsave(struct vcpu *vcpu, struct kvm_xsave *xsave);
int fpu_set_xsave(struct vcpu *vcpu, const struct kvm_xsave *xsave);

#endif
