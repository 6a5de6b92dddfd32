// SPDX-License-Identifier: GPL-2.0
/*
 * The guest's FPU state. Source: SDM volume 1, "Managing State Using the XSAVE Feature Set".
 *
 * A slice is a kernel_fpu_begin() section: the kernel has saved the thread's own registers and reloads them before it
 * returns to user mode, and nobody else on this CPU touches them. So the only cost is one XRSTOR and one XSAVE a slice.
 */
#include <linux/log2.h>
#include <linux/slab.h>

#include <asm/fpu/api.h>
#include <asm/fpu/types.h>
#include <asm/fpu/xcr.h>
#include <asm/pkru.h>

#include "fpu.h"

#define XSAVE_LEAF 0xd
#define FCW_RESET 0x37f
#define AVX512 (XFEATURE_MASK_OPMASK | XFEATURE_MASK_ZMM_Hi256 | XFEATURE_MASK_Hi16_ZMM)
#define SWITCHED (XFEATURE_MASK_FPSSE | XFEATURE_MASK_YMM | AVX512 | XFEATURE_MASK_PKRU)

struct fpu_area {
	struct fxregs_state legacy;
	struct xstate_header header;
	u8 extended[];
} __packed __aligned(64);

static u64 host_xcr0 __ro_after_init, host_xss __ro_after_init;
/* Guests with this XCR0 run with the host's registers; none do, if there is IA32_XSS to be changed, too. */
static u64 common_xcr0 __ro_after_init;
static u64 supported __ro_after_init;
static u32 area_size __ro_after_init;
static u32 pkru_offset __ro_after_init;
static u32 mxcsr_mask __ro_after_init;

int fpu_setup(void)
{
	struct fpu_area *area;
	u32 eax, ebx, ecx, edx;
	unsigned int i;

	host_xcr0 = xgetbv(XCR_XFEATURE_ENABLED_MASK);
	if (boot_cpu_has(X86_FEATURE_XSAVES))
		rdmsrl(MSR_IA32_XSS, host_xss);
	common_xcr0 = host_xss ? 0 : host_xcr0;
	supported = host_xcr0 & SWITCHED;
	area_size = sizeof(struct fpu_area);
	for (i = 2; i < 63; i++) {
		if (!(supported & BIT_ULL(i)))
			continue;
		cpuid_count(XSAVE_LEAF, i, &eax, &ebx, &ecx, &edx);
		area_size = max(area_size, eax + ebx);
		if (BIT_ULL(i) == XFEATURE_MASK_PKRU)
			pkru_offset = ebx;
	}
	area = kzalloc(roundup_pow_of_two(area_size), GFP_KERNEL);
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

int fpu_create(struct vcpu *vcpu)
{
	/* A power of two, so that the slab aligns it to itself: XSAVE wants 64 bytes. */
	vcpu->fpu = kzalloc(roundup_pow_of_two(area_size), GFP_KERNEL_ACCOUNT);
	if (!vcpu->fpu)
		return -ENOMEM;
	fpu_reset(vcpu);
	return 0;
}

void fpu_destroy(struct vcpu *vcpu)
{
	kfree(vcpu->fpu);
}

void fpu_reset(struct vcpu *vcpu)
{
	struct fpu_area *area = vcpu->fpu;

	memset(area, 0, area_size);
	area->legacy.cwd = FCW_RESET;
	area->legacy.mxcsr = MXCSR_DEFAULT;
	vcpu->xcr0 = XFEATURE_MASK_FP;
}

/* -- the ends of a slice ----------------------------------------------------------------------------------------- */

static __always_inline void xrstor_all(const struct fpu_area *area)
{
	asm volatile("xrstor64 %0" : : "m"(*area), "a"((u32)supported), "d"((u32)(supported >> 32)) : "memory");
}

static __always_inline void xsave_all(struct fpu_area *area)
{
	asm volatile("xsave64 %0" : "+m"(*area) : "a"((u32)supported), "d"((u32)(supported >> 32)) : "memory");
}

/* What XSAVES saves of the host's is not for guests to see: their IA32_XSS is 0. */
static void write_enables(u64 xcr0, u64 xss)
{
	xsetbv(XCR_XFEATURE_ENABLED_MASK, xcr0);
	if (host_xss)
		wrmsrl(MSR_IA32_XSS, xss);
}

/*
 * PKRU is a component like the others for the guest, but not for the host, which keeps it in the register while in
 * the kernel: it rules what copy_to_user() may do.
 */
void fpu_load_guest(struct vcpu *vcpu)
{
	kernel_fpu_begin_mask(0);
	if (supported & XFEATURE_MASK_PKRU)
		vcpu->host_pkru = read_pkru();
	xrstor_all(vcpu->fpu);
	if (vcpu->xcr0 != common_xcr0)
		write_enables(vcpu->xcr0, 0);
}

void fpu_load_host(struct vcpu *vcpu)
{
	if (vcpu->xcr0 != common_xcr0)
		write_enables(host_xcr0, host_xss);
	xsave_all(vcpu->fpu);
	if (supported & XFEATURE_MASK_PKRU)
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
	if (value & ~(vcpu->supported_xcr0 | XFEATURE_MASK_FP))
		return -EINVAL;
	vcpu->xcr0 = value;
	if (vcpu->in_slice)
		xsetbv(XCR_XFEATURE_ENABLED_MASK, value);
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

void fpu_get_xsave(struct vcpu *vcpu, struct kvm_xsave *xsave)
{
	memset(xsave, 0, sizeof(*xsave));
	memcpy(xsave, vcpu->fpu, min_t(size_t, area_size, sizeof(*xsave)));
}

/* XRSTOR faults on an image with reserved bits; such a one must not get in. SDM volume 1, "XSAVE Header". */
static bool xsave_valid(const struct fpu_area *area)
{
	u64 reserved[6];

	memset(reserved, 0, sizeof(reserved));
	return !(area->header.xfeatures & ~supported) && !area->header.xcomp_bv &&
	       !memcmp(area->header.reserved, reserved, sizeof(reserved)) && !(area->legacy.mxcsr & ~mxcsr_mask);
}

int fpu_set_xsave(struct vcpu *vcpu, const struct kvm_xsave *xsave)
{
	const struct fpu_area *area = (const void *)xsave;

	if (!xsave_valid(area))
		return -EINVAL;
	memcpy(vcpu->fpu, area, min_t(size_t, area_size, sizeof(*xsave)));
	return 0;
}
