/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the files that build both in the kernel and in user space need of their surroundings: fixed-width types, bit
 * helpers, error numbers. In the kernel that is the kernel's own; elsewhere this header says it in the same words, so
 * the decoder, the chips and the tables are the same text in the module, under the sanitizers and in the fuzzers.
 */
#ifndef PITH_PORTABLE_H
#define PITH_PORTABLE_H

#ifdef __KERNEL__

#include <linux/atomic.h>
#include <linux/bitops.h>
#include <linux/bits.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/nospec.h>
#include <linux/string.h>
#include <linux/types.h>

#else /* !__KERNEL__ */

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <linux/types.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;

#define BIT(n) (1ul << (n))
#define BIT_ULL(n) (1ull << (n))
#define GENMASK(h, l) ((~0ul << (l)) & (~0ul >> (63 - (h))))
#define GENMASK_ULL(h, l) GENMASK(h, l)
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define DIV_ROUND_UP(n, d) (((n) + (d)-1) / (d))
#define READ_ONCE(x) (*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile __typeof__(x) *)&(x) = (v))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define fallthrough __attribute__((__fallthrough__))
#undef __always_inline /* the C library may have one */
#define __always_inline inline __attribute__((__always_inline__))
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
#define min(a, b) ((a) < (b) ? (a) : (b))
#define max(a, b) ((a) > (b) ? (a) : (b))
#define min_t(t, a, b) min((t)(a), (t)(b))
#define max_t(t, a, b) max((t)(a), (t)(b))
#define static_assert _Static_assert
#define array_index_nospec(index, size) (index)

static inline u64 div_u64(u64 n, u32 d)
{
	return n / d;
}

static inline u64 div64_u64(u64 n, u64 d)
{
	return n / d;
}

/* a * b / c without losing the high half of the product, as in the kernel's math64.h. */
static inline u64 mul_u64_u64_div_u64(u64 a, u64 b, u64 c)
{
	return (u64)((unsigned __int128)a * b / c);
}

static inline int fls(unsigned int x)
{
	return x ? 32 - __builtin_clz(x) : 0;
}

static inline int fls64(u64 x)
{
	return x ? 64 - __builtin_clzll(x) : 0;
}

static inline unsigned long __ffs(unsigned long x)
{
	return __builtin_ctzl(x);
}

static inline unsigned int hweight32(u32 x)
{
	return __builtin_popcount(x);
}

/* Atomic, and a full barrier, as on the x86 that the kernel's are for here. */
#define xchg(ptr, v) ({ __atomic_exchange_n(ptr, v, __ATOMIC_SEQ_CST); })

static inline bool test_and_set_bit(long nr, volatile unsigned long *addr)
{
	return __atomic_fetch_or(addr, 1ul << nr, __ATOMIC_SEQ_CST) & 1ul << nr;
}

static inline void set_bit(long nr, volatile unsigned long *addr)
{
	__atomic_or_fetch(addr, 1ul << nr, __ATOMIC_SEQ_CST);
}

static inline void clear_bit(long nr, volatile unsigned long *addr)
{
	__atomic_and_fetch(addr, ~(1ul << nr), __ATOMIC_SEQ_CST);
}

#endif /* __KERNEL__ */
#endif
