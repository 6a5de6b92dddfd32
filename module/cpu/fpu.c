// SPDX-License-Identifier: GPL-2.0
/*
 * The guest's FPU state. Source: SDM volume 1, "Managing State Using the XSAVE Feature Set".
 *
 * A slice is a kernel_fpu_begin() section: the kernel has saved the thread's own registers and reloads them before it
 * returns to user mode, and nobody else on this CPU touches them. So the only cost is one XRSTOR and one XSAVE a slice.
 *
 * AMX's tiles are more: 8 KiB, for which a process has to ask the kernel before its guests may have them. Only vCPUs whose
 * CPUID has them (fpu_enable()) get an image that holds them, and pay for switching them.
 */
#include <linux/log2.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include <asm/fpu/api.h>
#include <asm/fpu/types.h>
#include <asm/fpu/xcr.h>
#include <asm/pkru.h>

#include "../compat.h"
#include "fpu.h"

#define XSAVE_LEAF 0xd
#define FCW_RESET 0x37f
#define AVX512 (XFEATURE_MASK_OPMASK | XFEATURE_MASK_ZMM_Hi256 | XFEATURE_MASK_Hi16_ZMM)
#define TILES (XFEATURE_MASK_XTILE_CFG | XFEATURE_MASK_XTILE_DATA)
#define SWITCHED (XFEATURE_MASK_FPSSE | XFEATURE_MASK_YMM | AVX512 | XFEATURE_MASK_PKRU | TILES)

struct fpu_area {
	struct fxregs_state legacy;
	struct xstate_header header;
	u8 extended[];
} __packed __aligned(64);

static u64 host_xcr0 __ro_after_init, host_xss __ro_after_init;
/* Guests with this XCR0 run with the host's registers; none do, if there is IA32_XSS to be changed, too. */
static u64 common_xcr0 __ro_after_init;
/* All components, and those that every vCPU has: without tiles. */
static u64 supported __ro_after_init, basic __ro_after_init;
static u32 area_size __ro_after_init, basic_size __ro_after_init;
static u32 pkru_offset __ro_after_init;
static u32 mxcsr_mask __ro_after_init;

/* Of an image with these components. */
static u32 size_with(u64 components)
{
	u32 eax, ebx, ecx, edx, size = sizeof(struct fpu_area);
	unsigned int i;

	for (i = 2; i < 63; i++) {
		if (!(components & BIT_ULL(i)))
			continue;
		cpuid_count(XSAVE_LEAF, i, &eax, &ebx, &ecx, &edx);
		size = max(size, eax + ebx);
		if (BIT_ULL(i) == XFEATURE_MASK_PKRU)
			pkru_offset = ebx;
	}
	return size;
}

/* Tiles come with IA32_XFD, by which the kernel tells who may use them. */
static u64 supported_components(void)
{
	u64 components = host_xcr0 & SWITCHED;

	if ((components & TILES) != TILES || !boot_cpu_has(X86_FEATURE_XFD))
		components &= ~TILES;
	return components;
}

int fpu_setup(void)
{
	struct fpu_area *area;

	host_xcr0 = xgetbv(XCR_XFEATURE_ENABLED_MASK);
	if (boot_cpu_has(X86_FEATURE_XSAVES))
		rdmsrl(MSR_IA32_XSS, host_xss);
	common_xcr0 = host_xss ? 0 : host_xcr0;
	supported = supported_components();
	basic = supported & ~TILES;
	area_size = size_with(supported);
	basic_size = size_with(basic);
	area = kzalloc(roundup_pow_of_two(basic_size), GFP_KERNEL);
	if (!area)
		return -ENOMEM;
	/* FXSAVE tells which bits of MXCSR exist; 0 means the default. SDM volume 1, "Guidelines for Writing to MXCSR". */
	kernel_fpu_begin();
	asm volatile("fxsave64 %0" : "=m"(area->legacy));
	kernel_fpu_end();
	mxcsr_mask = area->legacy.mxcsr_mask ?: 0xffbf;
	kfree(area);
	return 0;
}

u64 fpu_supported_xcr0(void)
{
	return supported;
}

bool fpu_supports_tiles(void)
{
	return supported & XFEATURE_MASK_XTILE_DATA;
}

u64 fpu_permitted_xcr0(void)
{
	/* The configuration of tiles is of no use without them. */
	if (!(compat_guest_permission() & XFEATURE_MASK_XTILE_DATA))
		return basic;
	return supported;
}

static bool has_tiles(const struct vcpu *vcpu)
{
	return vcpu->fpu_components & XFEATURE_MASK_XTILE_DATA;
}

static u32 size_of(const struct vcpu *vcpu)
{
	return has_tiles(vcpu) ? area_size : basic_size;
}

/* A power of two, so that the slab aligns it to itself: XSAVE wants 64 bytes. */
static struct fpu_area *allocate(u32 size)
{
	return kzalloc(roundup_pow_of_two(size), GFP_KERNEL_ACCOUNT);
}

int fpu_create(struct vcpu *vcpu)
{
	vcpu->fpu = allocate(basic_size);
	if (!vcpu->fpu)
		return -ENOMEM;
	vcpu->fpu_components = basic;
	fpu_reset(vcpu);
	return 0;
}

void fpu_destroy(struct vcpu *vcpu)
{
	kfree(vcpu->fpu);
}

int fpu_enable(struct vcpu *vcpu, u64 xcr0)
{
	u64 tiles = xcr0 & XFEATURE_MASK_XTILE_DATA & ~vcpu->fpu_components;
	struct fpu_area *area;

	if (!tiles)
		return 0;
	if (tiles & ~fpu_permitted_xcr0())
		return -EPERM;
	area = allocate(area_size);
	if (!area)
		return -ENOMEM;
	memcpy(area, vcpu->fpu, basic_size);
	kfree(vcpu->fpu);
	vcpu->fpu = area;
	vcpu->fpu_components = supported;
	return 0;
}

void fpu_reset(struct vcpu *vcpu)
{
	struct fpu_area *area = vcpu->fpu;

	memset(area, 0, size_of(vcpu));
	area->legacy.cwd = FCW_RESET;
	area->legacy.mxcsr = MXCSR_DEFAULT;
	vcpu->xcr0 = XFEATURE_MASK_FP;
}

/* -- the ends of a slice ----------------------------------------------------------------------------------------- */

static __always_inline void xrstor(const struct fpu_area *area, u64 components)
{
	asm volatile("xrstor64 %0" : : "m"(*area), "a"((u32)components), "d"((u32)(components >> 32)) : "memory");
}

static __always_inline void xsave(struct fpu_area *area, u64 components)
{
	asm volatile("xsave64 %0" : "+m"(*area) : "a"((u32)components), "d"((u32)(components >> 32)) : "memory");
}

/* What XSAVES saves of the host's is not for guests to see: their IA32_XSS is 0. */
static void write_enables(u64 xcr0, u64 xss)
{
	xsetbv(XCR_XFEATURE_ENABLED_MASK, xcr0);
	if (host_xss)
		wrmsrl(MSR_IA32_XSS, xss);
}

/*
 * IA32_XFD makes XRSTOR fault on tile data, and XSAVE leave it out. SDM volume 1, "Extended Feature Disable (XFD)". So it is
 * 0 while a guest's image is loaded or saved: also tiles that the guest has disabled are kept.
 *
 * In between the guest's value is there, and IA32_XFD_ERR is the guest's too: the #NM that sets it needs no exit, because
 * nothing of the host's uses either register before the end of the slice. Both belong to threads in user mode: the kernel
 * looks at IA32_XFD_ERR in its #NM handler, and has no AMX of its own; it reads and writes IA32_XFD with a thread's registers,
 * which it saved when the section began and loads on the way back to user mode; no other thread runs here, for preemption is
 * off; and in an interrupt kernel_fpu_begin() is not to be had within another's section. What the kernel believes to be in
 * IA32_XFD on this CPU (it keeps a copy, and does not write what it thinks is there) is there again when the section ends.
 */
static noinline void load_with_tiles(struct vcpu *vcpu)
{
	vcpu->host_xfd = compat_rdmsr(MSR_IA32_XFD);
	if (vcpu->host_xfd)
		compat_wrmsr(MSR_IA32_XFD, 0);
	xrstor(vcpu->fpu, supported);
	if (vcpu->msr.xfd)
		compat_wrmsr(MSR_IA32_XFD, vcpu->msr.xfd);
	if (vcpu->msr.xfd_err)
		compat_wrmsr(MSR_IA32_XFD_ERR, vcpu->msr.xfd_err);
}

static noinline void save_with_tiles(struct vcpu *vcpu)
{
	vcpu->msr.xfd_err = compat_rdmsr(MSR_IA32_XFD_ERR);
	if (vcpu->msr.xfd_err)
		compat_wrmsr(MSR_IA32_XFD_ERR, 0);
	if (vcpu->msr.xfd)
		compat_wrmsr(MSR_IA32_XFD, 0);
	xsave(vcpu->fpu, supported);
	if (vcpu->host_xfd)
		compat_wrmsr(MSR_IA32_XFD, vcpu->host_xfd);
}

/*
 * PKRU is a component like the others for the guest, but not for the host, which keeps it in the register while in
 * the kernel: it rules what copy_to_user() may do. What a host does not have costs a slice one patched jump.
 */
void fpu_load_guest(struct vcpu *vcpu)
{
	kernel_fpu_begin_mask(0);
	if (cpu_feature_enabled(X86_FEATURE_OSPKE))
		vcpu->host_pkru = rdpkru();
	if (cpu_feature_enabled(X86_FEATURE_XFD) && has_tiles(vcpu))
		load_with_tiles(vcpu);
	else
		xrstor(vcpu->fpu, basic);
	if (vcpu->xcr0 != common_xcr0)
		write_enables(vcpu->xcr0, 0);
}

void fpu_load_host(struct vcpu *vcpu)
{
	if (vcpu->xcr0 != common_xcr0)
		write_enables(host_xcr0, host_xss);
	if (cpu_feature_enabled(X86_FEATURE_XFD) && has_tiles(vcpu))
		save_with_tiles(vcpu);
	else
		xsave(vcpu->fpu, basic);
	if (cpu_feature_enabled(X86_FEATURE_OSPKE))
		write_pkru(vcpu->host_pkru);
	kernel_fpu_end();
}

int fpu_set_xcr(struct vcpu *vcpu, u32 index, u64 value)
{
	if (index != XCR_XFEATURE_ENABLED_MASK || !(value & XFEATURE_MASK_FP))
		return -EINVAL;
	/* SDM volume 1, "Enabling the XSAVE Feature Set and XSAVE-Enabled Features". */
	if ((value & XFEATURE_MASK_YMM) && !(value & XFEATURE_MASK_SSE))
		return -EINVAL;
	if ((value & AVX512) && ((value & AVX512) != AVX512 || !(value & XFEATURE_MASK_YMM)))
		return -EINVAL;
	if ((value & TILES) && (value & TILES) != TILES)
		return -EINVAL;
	if (value & ~(vcpu->supported_xcr0 | XFEATURE_MASK_FP))
		return -EINVAL;
	vcpu->xcr0 = value;
	if (vcpu->in_slice)
		xsetbv(XCR_XFEATURE_ENABLED_MASK, value);
	return 0;
}

u64 fpu_get_xfd(struct vcpu *vcpu, u32 index)
{
	if (index == MSR_IA32_XFD)
		return vcpu->msr.xfd;
	return vcpu->in_slice && has_tiles(vcpu) ? compat_rdmsr(MSR_IA32_XFD_ERR) : vcpu->msr.xfd_err;
}

int fpu_set_xfd(struct vcpu *vcpu, u32 index, u64 value)
{
	if (value & ~(vcpu->supported_xcr0 & XFEATURE_MASK_XTILE_DATA))
		return -EINVAL;
	*(index == MSR_IA32_XFD ? &vcpu->msr.xfd : &vcpu->msr.xfd_err) = value;
	if (vcpu->in_slice && has_tiles(vcpu))
		compat_wrmsr(index, value);
	return 0;
}

u32 fpu_guest_pkru(struct vcpu *vcpu)
{
	if (!(supported & XFEATURE_MASK_PKRU))
		return 0;
	if (vcpu->in_slice)
		return read_pkru();
	if (!(vcpu->fpu->header.xfeatures & XFEATURE_MASK_PKRU))
		return 0;
	return *(u32 *)((void *)vcpu->fpu + pkru_offset);
}

/* XSAVE writes every component asked for, also one in its initial state, so the image can be read as it is. */
void fpu_read_xmm(struct vcpu *vcpu, unsigned int n, void *buf)
{
	memcpy(buf, (u8 *)vcpu->fpu->legacy.xmm_space + n * 16, 16);
}

void fpu_write_xmm(struct vcpu *vcpu, unsigned int n, const void *buf)
{
	memcpy((u8 *)vcpu->fpu->legacy.xmm_space + n * 16, buf, 16);
	vcpu->fpu->header.xfeatures |= XFEATURE_MASK_SSE;
}

/* -- ioctls ------------------------------------------------------------------------------------------------------ */

void fpu_get(struct vcpu *vcpu, struct kvm_fpu *fpu)
{
	const struct fxregs_state *x = &vcpu->fpu->legacy;

	memset(fpu, 0, sizeof(*fpu));
	memcpy(fpu->fpr, x->st_space, sizeof(fpu->fpr));
	fpu->fcw = x->cwd;
	fpu->fsw = x->swd;
	fpu->ftwx = x->twd;
	fpu->last_opcode = x->fop;
	fpu->last_ip = x->rip;
	fpu->last_dp = x->rdp;
	memcpy(fpu->xmm, x->xmm_space, sizeof(fpu->xmm));
	fpu->mxcsr = x->mxcsr;
}

int fpu_set(struct vcpu *vcpu, const struct kvm_fpu *fpu)
{
	struct fxregs_state *x = &vcpu->fpu->legacy;

	if (fpu->mxcsr & ~mxcsr_mask)
		return -EINVAL;
	memcpy(x->st_space, fpu->fpr, sizeof(fpu->fpr));
	x->cwd = fpu->fcw;
	x->swd = fpu->fsw;
	x->twd = fpu->ftwx;
	x->fop = fpu->last_opcode;
	x->rip = fpu->last_ip;
	x->rdp = fpu->last_dp;
	memcpy(x->xmm_space, fpu->xmm, sizeof(fpu->xmm));
	x->mxcsr = fpu->mxcsr;
	vcpu->fpu->header.xfeatures |= XFEATURE_MASK_FPSSE;
	return 0;
}

/* What clients get and set is no smaller than the struct that once was all of it. */
static u32 client_size(u32 size)
{
	return max_t(u32, size, sizeof(struct kvm_xsave));
}

u32 fpu_max_image_size(void)
{
	return client_size(fpu_permitted_xcr0() & XFEATURE_MASK_XTILE_DATA ? area_size : basic_size);
}

u32 fpu_image_size(const struct vcpu *vcpu)
{
	return client_size(size_of(vcpu));
}

int fpu_copy_image(const struct vcpu *vcpu, void __user *user)
{
	u32 size = size_of(vcpu);

	if (copy_to_user(user, vcpu->fpu, size) || clear_user(user + size, fpu_image_size(vcpu) - size))
		return -EFAULT;
	return 0;
}

/* XRSTOR faults on an image with reserved bits; such a one must not get in. SDM volume 1, "XSAVE Header". */
static bool image_valid(const struct vcpu *vcpu, const struct fpu_area *area)
{
	u64 reserved[6];

	memset(reserved, 0, sizeof(reserved));
	return !(area->header.xfeatures & ~vcpu->fpu_components) && !area->header.xcomp_bv &&
	       !memcmp(area->header.reserved, reserved, sizeof(reserved)) && !(area->legacy.mxcsr & ~mxcsr_mask);
}

int fpu_set_image(struct vcpu *vcpu, const void *image)
{
	if (!image_valid(vcpu, image))
		return -EINVAL;
	memcpy(vcpu->fpu, image, size_of(vcpu));
	return 0;
}
