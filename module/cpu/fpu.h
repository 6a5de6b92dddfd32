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

/** fpu_supports_tiles - whether AMX's state is among them, and with it IA32_XFD */
bool fpu_supports_tiles(void);

/** fpu_permitted_xcr0 - those of them that the calling process's guests may use: ARCH_REQ_XCOMP_GUEST_PERM */
u64 fpu_permitted_xcr0(void);

/**
 * fpu_enable - makes room for what a vCPU's CPUID grants, outside of a slice
 * @xcr0: the components; of those that cannot be had, only what the process would have to ask for counts
 * Return: 0, -EPERM: it did not ask; -ENOMEM.
 */
int fpu_enable(struct vcpu *vcpu, u64 xcr0);

int fpu_create(struct vcpu *vcpu);
void fpu_destroy(struct vcpu *vcpu);
void fpu_reset(struct vcpu *vcpu);

/** fpu_load_guest, fpu_load_host - the ends of a slice. Preemption off, interrupts on. */
void fpu_load_guest(struct vcpu *vcpu);
void fpu_load_host(struct vcpu *vcpu);

/** fpu_set_xcr - XSETBV, KVM_SET_XCRS. Return: 0, or -EINVAL: #GP(0). In a slice or not. */
int fpu_set_xcr(struct vcpu *vcpu, u32 index, u64 value);

/** fpu_get_xfd, fpu_set_xfd - IA32_XFD, IA32_XFD_ERR, by @index. Return: 0, or -EINVAL: #GP(0). In a slice or not. */
u64 fpu_get_xfd(struct vcpu *vcpu, u32 index);
int fpu_set_xfd(struct vcpu *vcpu, u32 index, u64 value);

/** fpu_guest_pkru - the guest's PKRU, in a slice or not */
u32 fpu_guest_pkru(struct vcpu *vcpu);

/* XMM registers, outside of a slice. */
void fpu_read_xmm(struct vcpu *vcpu, unsigned int n, void *buf);
void fpu_write_xmm(struct vcpu *vcpu, unsigned int n, const void *buf);

/* ioctls, outside of a slice. Set functions return -EINVAL and change nothing if the image is not one. */
void fpu_get(struct vcpu *vcpu, struct kvm_fpu *fpu);
int fpu_set(struct vcpu *vcpu, const struct kvm_fpu *fpu);

/** fpu_max_image_size - of the XSAVE image of a vCPU with all that the process's guests may use */
u32 fpu_max_image_size(void);

/** fpu_image_size - of a vCPU's own, as clients get it: with zeros, if it is smaller than struct kvm_xsave */
u32 fpu_image_size(const struct vcpu *vcpu);

/** fpu_copy_image - gives the client the image, in the standard form. Return: 0 or -EFAULT. */
int fpu_copy_image(const struct vcpu *vcpu, void __user *user);

/** fpu_set_image - the reverse; @image is of its size */
int fpu_set_image(struct vcpu *vcpu, const void *image);

#endif
