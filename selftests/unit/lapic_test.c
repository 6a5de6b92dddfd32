// SPDX-License-Identifier: GPL-2.0
/*
 * The local APIC: programs of register accesses and interrupts, and the trace that they must leave.
 */
#include "../../module/irq/lapic.h"
#include "irq_script.h"

static struct lapic lapic;
static struct lapic_config config;
static _Alignas(4096) u8 regs[4096];
static struct kvm_lapic_state blob;
static u64 now;

static void op_send(void *ctx, const struct apic_message *m)
{
	(void)ctx;
	note("send:%x:%02x:m%u:d%u:s%u", m->dest, m->vector, m->delivery_mode, m->dest_mode, m->shorthand);
}

static void op_eoi(void *ctx, u8 vector, enum apic_trig_mode trigger)
{
	(void)ctx;
	note("eoi:%02x:%s", vector, trigger == APIC_TRIGGER_LEVEL ? "level" : "edge");
}

static void op_nmi(void *ctx)
{
	(void)ctx;
	note("nmi");
}

static void op_smi(void *ctx)
{
	(void)ctx;
	note("smi");
}

static void op_init(void *ctx)
{
	(void)ctx;
	note("init");
}

static void op_sipi(void *ctx, u8 vector)
{
	(void)ctx;
	note("sipi:%02x", vector);
}

static void op_timer_arm_ns(void *ctx, u64 deadline)
{
	(void)ctx;
	note("arm:%llu", (unsigned long long)deadline);
}

static void op_timer_arm_tsc(void *ctx, u64 deadline)
{
	(void)ctx;
	note("tsc:%llu", (unsigned long long)deadline);
}

static void op_timer_cancel(void *ctx)
{
	(void)ctx;
	note("cancel");
}

static u64 op_now_ns(void *ctx)
{
	(void)ctx;
	return now;
}

static const struct lapic_ops ops = {
	.send = op_send,
	.eoi = op_eoi,
	.nmi = op_nmi,
	.smi = op_smi,
	.init = op_init,
	.sipi = op_sipi,
	.timer_arm_ns = op_timer_arm_ns,
	.timer_arm_tsc = op_timer_arm_tsc,
	.timer_cancel = op_timer_cancel,
	.now_ns = op_now_ns,
};

/* Steps. W and R go by MMIO, WM and RM by MSR. */

static void write_mmio(u64 offset, u64 value, u64 len)
{
	lapic_mmio_write(&lapic, offset, &value, len);
}

static void read_mmio(u64 offset, u64 len, u64 c)
{
	u64 value = 0;

	(void)c;
	lapic_mmio_read(&lapic, offset, &value, len);
	note("%llx", (unsigned long long)value);
}

static void write_msr(u64 msr, u64 value, u64 c)
{
	(void)c;
	if (lapic_msr_write(&lapic, msr, value))
		note("#GP");
}

static void read_msr(u64 msr, u64 b, u64 c)
{
	u64 value;

	(void)b;
	(void)c;
	if (lapic_msr_read(&lapic, msr, &value))
		note("#GP");
	else
		note("%llx", (unsigned long long)value);
}

static void set_base(u64 value, u64 host, u64 c)
{
	(void)c;
	if (lapic_set_base(&lapic, value, host))
		note("#GP");
	else
		note("%s", lapic.mode == LAPIC_OFF ? "off" : lapic.mode == LAPIC_XAPIC ? "xapic" : "x2apic");
}

static void accept(u64 mode, u64 vector, u64 trig_mode)
{
	note("%d", lapic_accept(&lapic, mode, vector, true, trig_mode));
}

static void deassert(u64 mode, u64 vector, u64 c)
{
	(void)c;
	note("%d", lapic_accept(&lapic, mode, vector, false, APIC_TRIGGER_LEVEL));
}

static void note_vector(const char *what, int vector)
{
	if (vector < 0)
		note("%s:none", what);
	else
		note("%s:%02x", what, vector);
}

static void highest(u64 a, u64 b, u64 c)
{
	(void)a;
	(void)b;
	(void)c;
	note_vector("irq", lapic_highest_irq(&lapic));
}

static void ack(u64 a, u64 b, u64 c)
{
	(void)a;
	(void)b;
	(void)c;
	note_vector("ack", lapic_ack(&lapic));
}

static void eoi(u64 a, u64 b, u64 c)
{
	(void)a;
	(void)b;
	(void)c;
	lapic_eoi(&lapic);
}

static void eoi_virtualized(u64 vector, u64 b, u64 c)
{
	(void)b;
	(void)c;
	lapic_eoi_virtualized(&lapic, vector);
}

static void eoi_exit(u64 vector, u64 b, u64 c)
{
	u32 bitmap[8] = { 0 };

	(void)b;
	(void)c;
	bitmap[vector >> 5] = 1u << (vector & 31);
	lapic_set_eoi_exits(&lapic, bitmap);
}

static void matches(u64 dest, u64 dest_mode, u64 c)
{
	(void)c;
	note("%s", lapic_matches(&lapic, dest, dest_mode) ? "yes" : "no");
}

static void local(u64 lvt, u64 b, u64 c)
{
	(void)b;
	(void)c;
	note("%d", lapic_local_interrupt(&lapic, lvt));
}

static void accepts_pic(u64 a, u64 b, u64 c)
{
	(void)a;
	(void)b;
	(void)c;
	note("%s", lapic_accepts_pic(&lapic) ? "pic" : "nopic");
}

static void cr8(u64 value, u64 b, u64 c)
{
	(void)b;
	(void)c;
	lapic_set_cr8(&lapic, value);
	note("cr8:%x:ppr:%02x", lapic_cr8(&lapic), lapic_priority(&lapic));
}

static void pass(u64 ns, u64 b, u64 c)
{
	(void)b;
	(void)c;
	now += ns;
}

static void expire(u64 a, u64 b, u64 c)
{
	(void)a;
	(void)b;
	(void)c;
	lapic_timer_expired(&lapic);
}

static void set_deadline(u64 deadline, u64 b, u64 c)
{
	(void)b;
	(void)c;
	lapic_set_tsc_deadline(&lapic, deadline);
}

static void get_deadline(u64 a, u64 b, u64 c)
{
	(void)a;
	(void)b;
	(void)c;
	note("%llu", (unsigned long long)lapic_tsc_deadline(&lapic));
}

static void reset(u64 init, u64 b, u64 c)
{
	(void)b;
	(void)c;
	lapic_reset(&lapic, init);
}

static void configure(u64 b1, u64 b2, u64 c)
{
	(void)c;
	config.directed_eoi = b1;
	config.cmci = b2;
	lapic_configure(&lapic, &config);
}

static void use_32bit_ids(u64 use, u64 b, u64 c)
{
	(void)b;
	(void)c;
	config.x2apic_format = use;
	lapic_configure(&lapic, &config);
}

/* The page as hardware leaves it for an APIC-write VM exit. */
static void hardware_write(u64 offset, u64 value, u64 c)
{
	u32 v = value;

	(void)c;
	memcpy(regs + offset, &v, sizeof(v));
	lapic_written(&lapic, offset);
}

static void hardware_irr(u64 vector, u64 b, u64 c)
{
	(void)b;
	(void)c;
	regs[LAPIC_IRR + (vector >> 5) * 16 + (vector >> 3 & 3)] |= 1u << (vector & 7);
	lapic_resync(&lapic);
}

static unsigned long posted[LAPIC_INBOX_WORDS];

static void virtualize(u64 a, u64 b, u64 c)
{
	(void)b;
	(void)c;
	lapic_virtualize_delivery(&lapic, a ? posted : NULL);
	lapic_allow_posting(&lapic, true);
}

static void collect(u64 a, u64 b, u64 c)
{
	(void)a;
	(void)b;
	(void)c;
	lapic_collect(&lapic);
}

static void allow_posting(u64 allowed, u64 b, u64 c)
{
	(void)b;
	(void)c;
	lapic_allow_posting(&lapic, allowed);
}

static void count_posted(u64 a, u64 b, u64 c)
{
	(void)a;
	(void)b;
	(void)c;
	note("%d", __builtin_popcountl(posted[0] | posted[1] | posted[2] | posted[3]));
}

/* Virtual-interrupt delivery. */
static void hardware_ack(u64 vector, u64 b, u64 c)
{
	u8 bit = 1u << (vector & 7), *irr = regs + LAPIC_IRR + (vector >> 5) * 16 + (vector >> 3 & 3);

	(void)b;
	(void)c;
	*irr &= ~bit;
	irr[LAPIC_ISR - LAPIC_IRR] |= bit;
}

static void get(u64 a, u64 b, u64 c)
{
	(void)a;
	(void)b;
	(void)c;
	lapic_get_state(&lapic, &blob);
}

static void set(u64 a, u64 b, u64 c)
{
	int error = lapic_set_state(&lapic, &blob);

	(void)a;
	(void)b;
	(void)c;
	if (error)
		note("%d", error);
}

static void poke(u64 offset, u64 value, u64 c)
{
	u32 v = value;

	(void)c;
	memcpy(blob.regs + offset, &v, sizeof(v));
}

static void peek(u64 offset, u64 b, u64 c)
{
	u32 v;

	(void)b;
	(void)c;
	memcpy(&v, blob.regs + offset, sizeof(v));
	note("%x", v);
}

static void fill(u64 byte, u64 b, u64 c)
{
	(void)b;
	(void)c;
	memset(&blob, (int)byte, sizeof(blob));
}

#define MSR(offset) X2APIC_MSR(offset)
#define W(offset, value)                     \
	{                                    \
		write_mmio, offset, value, 4 \
	}
#define WLEN(offset, value, len)               \
	{                                      \
		write_mmio, offset, value, len \
	}
#define R(offset)                       \
	{                               \
		read_mmio, offset, 4, 0 \
	}
#define RLEN(offset, len)                 \
	{                                 \
		read_mmio, offset, len, 0 \
	}
#define WM(offset, value)                        \
	{                                        \
		write_msr, MSR(offset), value, 0 \
	}
#define RM(offset)                          \
	{                                   \
		read_msr, MSR(offset), 0, 0 \
	}
#define BASE(value)                                         \
	{                                                   \
		set_base, APIC_BASE_DEFAULT | (value), 0, 0 \
	}
#define HOST_BASE(value)                                    \
	{                                                   \
		set_base, APIC_BASE_DEFAULT | (value), 1, 0 \
	}
#define EDGE(vector)                                                  \
	{                                                             \
		accept, APIC_DELIVER_FIXED, vector, APIC_TRIGGER_EDGE \
	}
#define LEVEL(vector)                                                  \
	{                                                              \
		accept, APIC_DELIVER_FIXED, vector, APIC_TRIGGER_LEVEL \
	}
#define ACCEPT(mode, vector)                            \
	{                                               \
		accept, mode, vector, APIC_TRIGGER_EDGE \
	}
#define HIGHEST                  \
	{                        \
		highest, 0, 0, 0 \
	}
#define ACK                  \
	{                    \
		ack, 0, 0, 0 \
	}
#define EOI                  \
	{                    \
		eoi, 0, 0, 0 \
	}
#define PASS(ns)               \
	{                      \
		pass, ns, 0, 0 \
	}
#define EXPIRE                  \
	{                       \
		expire, 0, 0, 0 \
	}
#define GET                  \
	{                    \
		get, 0, 0, 0 \
	}
#define SET                  \
	{                    \
		set, 0, 0, 0 \
	}
#define POKE(offset, value)            \
	{                              \
		poke, offset, value, 0 \
	}
#define PEEK(offset)               \
	{                          \
		peek, offset, 0, 0 \
	}
#define PHYSICAL(dest)                               \
	{                                            \
		matches, dest, APIC_DEST_PHYSICAL, 0 \
	}
#define LOGICAL(dest)                               \
	{                                           \
		matches, dest, APIC_DEST_LOGICAL, 0 \
	}
#define LOCAL(lvt)               \
	{                        \
		local, lvt, 0, 0 \
	}

#define XAPIC APIC_BASE_ENABLE
#define X2APIC (APIC_BASE_ENABLE | APIC_BASE_X2APIC)
#define ENABLE W(LAPIC_SVR, 0x1ff)
#define GO_X2APIC HOST_BASE(X2APIC), WM(LAPIC_SVR, 0x1ff)
#define PERIODIC 0x20000
#define DEADLINE 0x40000
#define MASKED 0x10000

/* The vCPU's APIC ID is 0x13, its clock stands at 1000. */
static const struct program programs[] = {
	/* Power-up and registers. */
	{ "power-up values",
	  { R(LAPIC_ID), R(LAPIC_VERSION), R(LAPIC_SVR), R(LAPIC_DFR), R(LAPIC_LDR), R(LAPIC_LVT_TIMER), R(LAPIC_TPR) },
	  "13000000 50014 ff ffffffff 0 10000 0" },
	{ "virtual wire at power-up of the bootstrap processor",
	  { { accepts_pic, 0, 0, 0 }, R(LAPIC_LVT_LINT0) },
	  "pic 700" },
	{ "reserved bits of xAPIC registers do not stick",
	  { ENABLE, W(LAPIC_TPR, ~0u), R(LAPIC_TPR), W(LAPIC_LDR, ~0u), R(LAPIC_LDR), W(LAPIC_DFR, 0), R(LAPIC_DFR),
	    W(LAPIC_LVT_TIMER, ~0u), R(LAPIC_LVT_TIMER), W(LAPIC_LVT_LINT1, ~0u), R(LAPIC_LVT_LINT1),
	    W(LAPIC_LVT_ERROR, ~0u), R(LAPIC_LVT_ERROR), W(LAPIC_TDCR, ~0u), R(LAPIC_TDCR), W(LAPIC_SVR, ~0u),
	    R(LAPIC_SVR) },
	  "ff ff000000 fffffff 700ff 1a7ff 100ff b 3ff" },
	{ "read-only registers",
	  { W(LAPIC_VERSION, 0), R(LAPIC_VERSION), W(LAPIC_PPR, 0x50), R(LAPIC_PPR), R(LAPIC_TMCCT) },
	  "50014 0 0" },
	{ "narrow and misaligned loads",
	  { RLEN(LAPIC_VERSION, 1), RLEN(LAPIC_VERSION + 2, 1), RLEN(LAPIC_VERSION, 2), RLEN(LAPIC_VERSION + 2, 4),
	    RLEN(LAPIC_VERSION, 8) },
	  "14 5 14 0 0" },
	{ "narrow and misaligned stores are ignored",
	  { WLEN(LAPIC_TPR, 0x20, 1), WLEN(LAPIC_TPR, 0x20, 8), WLEN(LAPIC_TPR + 4, 0x20, 4), R(LAPIC_TPR) },
	  "0" },
	{ "reserved xAPIC register: ESR after a write to it",
	  { R(0x40), R(0x3f0), R(LAPIC_ESR), W(LAPIC_ESR, 0), R(LAPIC_ESR), W(LAPIC_ESR, 0), R(LAPIC_ESR), W(0xff0, 1),
	    W(LAPIC_ESR, 0), R(LAPIC_ESR) },
	  "0 0 0 80 0 80" },
	{ "CMCI entry only if there is one",
	  { ENABLE,
	    W(LAPIC_LVT_CMCI, 0x30),
	    R(LAPIC_LVT_CMCI),
	    { configure, 0, 1, 0 },
	    R(LAPIC_VERSION),
	    R(LAPIC_LVT_CMCI),
	    W(LAPIC_LVT_CMCI, 0x30),
	    R(LAPIC_LVT_CMCI) },
	  "0 60014 10000 30" },

	/* Modes. */
	{ "xAPIC to x2APIC to off to xAPIC", { BASE(X2APIC), BASE(0), BASE(XAPIC) }, "x2apic off xapic" },
	{ "x2APIC to xAPIC is illegal", { BASE(X2APIC), BASE(XAPIC) }, "x2apic #GP" },
	{ "off to x2APIC is illegal", { BASE(0), BASE(X2APIC) }, "off #GP" },
	{ "x2APIC without enabled is illegal", { BASE(APIC_BASE_X2APIC), HOST_BASE(APIC_BASE_X2APIC) }, "#GP #GP" },
	{ "reserved bits of IA32_APIC_BASE",
	  { BASE(XAPIC | 1), BASE(XAPIC | BIT(9)), BASE(XAPIC | BIT_ULL(52)) },
	  "#GP #GP #GP" },
	{ "the host goes anywhere",
	  { HOST_BASE(X2APIC), HOST_BASE(XAPIC), HOST_BASE(0), HOST_BASE(X2APIC) },
	  "x2apic xapic off x2apic" },
	{ "IDs in x2APIC mode", { GO_X2APIC, RM(LAPIC_ID), RM(LAPIC_LDR) }, "x2apic 13 10008" },
	{ "switching off resets",
	  { ENABLE, W(LAPIC_TPR, 0x30), EDGE(0x50), BASE(0), BASE(XAPIC), R(LAPIC_TPR), R(LAPIC_SVR), HIGHEST },
	  "1 off xapic 0 ff irq:none" },
	{ "off: nothing is taken, but of the PIC",
	  { ENABLE,
	    W(LAPIC_LVT_LINT0, MASKED),
	    { accepts_pic, 0, 0, 0 },
	    BASE(0),
	    EDGE(0x50),
	    ACCEPT(APIC_DELIVER_NMI, 0),
	    { accepts_pic, 0, 0, 0 },
	    PHYSICAL(0x13),
	    PHYSICAL(~0u),
	    RM(LAPIC_ID) },
	  "nopic off -1 -1 pic no no #GP" },
	{ "INIT keeps mode and ID",
	  { GO_X2APIC,
	    WM(LAPIC_TPR, 0x40),
	    { reset, 1, 0, 0 },
	    RM(LAPIC_ID),
	    RM(LAPIC_LDR),
	    RM(LAPIC_TPR),
	    RM(LAPIC_SVR) },
	  "x2apic 13 10008 0 ff" },
	{ "power-up reset goes back to xAPIC", { GO_X2APIC, { reset, 0, 0, 0 }, R(LAPIC_ID) }, "x2apic 13000000" },

	/* x2APIC registers. */
	{ "x2APIC: what does not exist",
	  { GO_X2APIC, RM(LAPIC_DFR), WM(LAPIC_DFR, 0), RM(LAPIC_ICR2), WM(LAPIC_ICR2, 0), RM(LAPIC_APR), RM(0),
	    RM(0xff0), WM(0x400, 0), RM(LAPIC_LVT_CMCI) },
	  "x2apic #GP #GP #GP #GP #GP #GP #GP #GP #GP" },
	{ "x2APIC: read-only and write-only",
	  { GO_X2APIC, WM(LAPIC_ID, 0), WM(LAPIC_VERSION, 0), WM(LAPIC_LDR, 0), WM(LAPIC_PPR, 0), WM(LAPIC_ISR, 0),
	    WM(LAPIC_IRR + 0x70, 0), WM(LAPIC_TMCCT, 0), RM(LAPIC_EOI), RM(LAPIC_SELF_IPI) },
	  "x2apic #GP #GP #GP #GP #GP #GP #GP #GP #GP" },
	{ "x2APIC: reserved bits",
	  { GO_X2APIC, WM(LAPIC_TPR, 0x100), WM(LAPIC_TPR, BIT_ULL(32)), WM(LAPIC_EOI, 1), WM(LAPIC_SVR, 0x400),
	    WM(LAPIC_SVR, 0x11ff), RM(LAPIC_SVR), WM(LAPIC_ESR, 1), WM(LAPIC_LVT_TIMER, 0x100),
	    WM(LAPIC_LVT_ERROR, 0x100), WM(LAPIC_LVT_PMC, BIT(13)), WM(LAPIC_TDCR, 4), WM(LAPIC_SELF_IPI, 0x100),
	    WM(LAPIC_ICR, BIT(13)), WM(LAPIC_ICR, BIT(17)), WM(LAPIC_ICR, BIT(31)), WM(LAPIC_TMICT, BIT_ULL(32)) },
	  "x2apic #GP #GP #GP #GP 1ff #GP #GP #GP #GP #GP #GP #GP #GP #GP #GP" },
	{ "x2APIC: read-only bits may be written",
	  { GO_X2APIC, WM(LAPIC_LVT_LINT0, 0x15000), RM(LAPIC_LVT_LINT0), WM(LAPIC_LVT_TIMER, 0x11030),
	    RM(LAPIC_LVT_TIMER) },
	  "x2apic 10000 10030" },
	{ "x2APIC: ICR is one register",
	  { GO_X2APIC, WM(LAPIC_ICR, 0x1234500004035ull), RM(LAPIC_ICR) },
	  "x2apic send:12345:35:m0:d0:s0 1234500004035" },
	{ "x2APIC MSRs in xAPIC mode", { RM(LAPIC_ID), WM(LAPIC_EOI, 0), WM(LAPIC_SELF_IPI, 0x30) }, "#GP #GP #GP" },

	/* Accepting, priority, EOI. */
	{ "the order is that of vectors",
	  { ENABLE, EDGE(0x31), EDGE(0xef), EDGE(0x80), ACK, ACK, EOI, ACK, EOI, ACK, EOI, ACK },
	  "1 1 1 ack:ef ack:none ack:80 ack:31 ack:none" },
	{ "a higher class nests",
	  { ENABLE, EDGE(0x51), ACK, EDGE(0x5f), HIGHEST, EDGE(0x60), ACK, R(LAPIC_PPR), EOI, R(LAPIC_PPR), HIGHEST,
	    EOI, ACK },
	  "1 ack:51 1 irq:none 1 ack:60 60 50 irq:none ack:5f" },
	{ "a request is one request",
	  { ENABLE, EDGE(0x40), EDGE(0x40), ACK, EDGE(0x40), EOI, ACK, EOI, ACK },
	  "1 0 ack:40 1 ack:40 ack:none" },
	{ "the task priority holds back its class",
	  { ENABLE, { cr8, 4, 0, 0 }, EDGE(0x4f), HIGHEST, EDGE(0x50), HIGHEST, { cr8, 3, 0, 0 }, ACK, EOI, ACK },
	  "cr8:4:ppr:40 1 irq:none 1 irq:50 cr8:3:ppr:30 ack:50 ack:4f" },
	{ "processor priority is the higher of task and service",
	  { ENABLE, EDGE(0x61), ACK, W(LAPIC_TPR, 0x45), R(LAPIC_PPR), W(LAPIC_TPR, 0x67), R(LAPIC_PPR), EOI,
	    R(LAPIC_PPR) },
	  "1 ack:61 60 67 67" },
	{ "software-disabled takes no fixed interrupt, but NMI, SMI, INIT, SIPI",
	  { EDGE(0x40), ACCEPT(APIC_DELIVER_LOWEST, 0x40), ACCEPT(APIC_DELIVER_NMI, 0), ACCEPT(APIC_DELIVER_SMI, 0),
	    ACCEPT(APIC_DELIVER_INIT, 0), ACCEPT(APIC_DELIVER_STARTUP, 0x9a), ACCEPT(APIC_DELIVER_EXTINT, 0x40),
	    ACCEPT(APIC_DELIVER_REMOTE_READ, 0x40) },
	  "-1 -1 nmi 1 smi 1 init 1 sipi:9a 1 -1 -1" },
	{ "software-disabled keeps what is pending, and masks the LVT",
	  { ENABLE, W(LAPIC_LVT_ERROR, 0x30), EDGE(0x40), W(LAPIC_SVR, 0xff), R(LAPIC_LVT_ERROR), HIGHEST,
	    W(LAPIC_LVT_ERROR, 0x30), R(LAPIC_LVT_ERROR), ENABLE, R(LAPIC_LVT_ERROR) },
	  "1 10030 irq:40 10030 10030" },
	{ "de-asserted levels mean nothing",
	  { ENABLE, { deassert, APIC_DELIVER_FIXED, 0x40, 0 }, { deassert, APIC_DELIVER_INIT, 0, 0 }, HIGHEST },
	  "-1 -1 irq:none" },
	{ "illegal vectors: ESR, and the error interrupt once",
	  { ENABLE, W(LAPIC_LVT_ERROR, 0xfe), EDGE(0x0f), ACK, EOI, EDGE(0x10), EDGE(0), HIGHEST, W(LAPIC_ESR, 0),
	    R(LAPIC_ESR), EDGE(3), ACK },
	  "-1 ack:fe 1 -1 irq:10 40 -1 ack:fe" },
	{ "an illegal vector of the error interrupt itself",
	  { ENABLE, W(LAPIC_LVT_ERROR, 0x05), EDGE(1), W(LAPIC_ESR, 0), R(LAPIC_ESR), HIGHEST },
	  "-1 40 irq:none" },
	{ "virtual delivery: what comes waits beside IRR",
	  { ENABLE,
	    { virtualize, 0, 0, 0 },
	    EDGE(0x40),
	    EDGE(0x40),
	    R(LAPIC_IRR + 0x20),
	    { collect, 0, 0, 0 },
	    R(LAPIC_IRR + 0x20) },
	  "1 0 0 1" },
	{ "virtual delivery: software ends what hardware has begun",
	  { ENABLE,
	    { virtualize, 0, 0, 0 },
	    LEVEL(0x40),
	    { collect, 0, 0, 0 },
	    { hardware_ack, 0x40, 0, 0 },
	    R(LAPIC_PPR),
	    EOI,
	    R(LAPIC_PPR),
	    R(LAPIC_ISR + 0x20) },
	  "1 40 eoi:40:level 0 0" },
	{ "virtual delivery: what may not be posted waits elsewhere",
	  { ENABLE,
	    { virtualize, 1, 0, 0 },
	    EDGE(0x40),
	    { count_posted, 0, 0, 0 },
	    { collect, 0, 0, 0 },
	    { count_posted, 0, 0, 0 },
	    { allow_posting, 0, 0, 0 },
	    EDGE(0x41),
	    { count_posted, 0, 0, 0 },
	    { collect, 0, 0, 0 },
	    R(LAPIC_IRR + 0x20) },
	  "2 1 0 1 0 3" },
	{ "virtual delivery: INIT leaves nothing",
	  { ENABLE,
	    { virtualize, 0, 0, 0 },
	    EDGE(0x40),
	    { reset, 1, 0, 0 },
	    { collect, 0, 0, 0 },
	    R(LAPIC_IRR + 0x20) },
	  "1 0" },
	{ "EOI of a level-triggered interrupt is broadcast",
	  { ENABLE, LEVEL(0x35), R(LAPIC_TMR + 0x10), ACK, W(LAPIC_EOI, 0) },
	  "1 200000 ack:35 eoi:35:level" },
	{ "EOI of an edge is not",
	  { ENABLE, LEVEL(0x35), ACK, EOI, EDGE(0x35), ACK, EOI, R(LAPIC_TMR + 0x10) },
	  "1 ack:35 eoi:35:level 1 ack:35 0" },
	{ "unless it is in the EOI-exit bitmap",
	  { ENABLE, { eoi_exit, 0x28, 0, 0 }, EDGE(0x28), EDGE(0x29), ACK, EOI, ACK, EOI },
	  "1 1 ack:29 ack:28 eoi:28:edge" },
	{ "EOI with nothing in service", { ENABLE, W(LAPIC_EOI, 0), EDGE(0x40), EOI, ACK }, "1 ack:40" },
	{ "directed EOI where it is offered",
	  { { configure, 1, 0, 0 },
	    R(LAPIC_VERSION),
	    W(LAPIC_SVR, 0x11ff),
	    R(LAPIC_SVR),
	    LEVEL(0x35),
	    ACK,
	    EOI,
	    ENABLE,
	    LEVEL(0x35),
	    ACK,
	    EOI },
	  "1050014 11ff 1 ack:35 1 ack:35 eoi:35:level" },
	{ "directed EOI where it is not",
	  { W(LAPIC_SVR, 0x11ff), R(LAPIC_SVR), LEVEL(0x35), ACK, EOI },
	  "1ff 1 ack:35 eoi:35:level" },
	{ "EOI-induced exit",
	  { ENABLE, LEVEL(0x35), { eoi_virtualized, 0x35, 0, 0 }, { eoi_virtualized, 0x36, 0, 0 } },
	  "1 eoi:35:level eoi:36:edge" },
	{ "requests that hardware made",
	  { ENABLE, { hardware_irr, 0x77, 0, 0 }, HIGHEST, ACK, HIGHEST },
	  "irq:77 ack:77 irq:none" },

	/* IPIs. */
	{ "self-IPI register",
	  { GO_X2APIC, WM(LAPIC_SELF_IPI, 0x41), ACK, WM(LAPIC_EOI, 0), ACK },
	  "x2apic ack:41 ack:none" },
	{ "self-IPI of an illegal vector",
	  { GO_X2APIC, WM(LAPIC_SELF_IPI, 0xf), WM(LAPIC_ICR, 0x40003), WM(LAPIC_ESR, 0), RM(LAPIC_ESR), HIGHEST },
	  "x2apic 20 irq:none" },
	{ "self shorthand",
	  { GO_X2APIC, WM(LAPIC_ICR, 0x44051), ACK, WM(LAPIC_ICR, 0x40052), WM(LAPIC_EOI, 0), ACK, RM(LAPIC_ICR) },
	  "x2apic ack:51 ack:52 40052" },
	{ "self shorthand, NMI", { GO_X2APIC, WM(LAPIC_ICR, 0x44400) }, "x2apic nmi" },
	{ "xAPIC ICR",
	  { ENABLE, W(LAPIC_ICR2, 0x05ffffff), W(LAPIC_ICR, 0x5862), R(LAPIC_ICR), R(LAPIC_ICR2) },
	  "send:5:62:m0:d1:s0 4862 5000000" },
	{ "delivery modes",
	  { ENABLE, W(LAPIC_ICR, 0x4162), W(LAPIC_ICR, 0x4200), W(LAPIC_ICR, 0x4300), W(LAPIC_ICR, 0x4400),
	    W(LAPIC_ICR, 0x4500), W(LAPIC_ICR, 0x4608), W(LAPIC_ICR, 0x4762) },
	  "send:0:62:m1:d0:s0 send:0:00:m2:d0:s0 send:0:00:m4:d0:s0 send:0:00:m5:d0:s0 send:0:08:m6:d0:s0" },
	{ "shorthands",
	  { ENABLE, W(LAPIC_ICR, 0x84062), W(LAPIC_ICR, 0xc4062), W(LAPIC_ICR, 0x44062), ACK },
	  "send:0:62:m0:d0:s2 send:0:62:m0:d0:s3 ack:62" },
	{ "INIT level de-assert is not sent, a level is sent as an edge",
	  { ENABLE, W(LAPIC_ICR, 0x8500), W(LAPIC_ICR, 0xc500) },
	  "send:0:00:m5:d0:s0" },
	{ "illegal vector sent", { ENABLE, W(LAPIC_ICR, 0x4009), W(LAPIC_ESR, 0), R(LAPIC_ESR) }, "20" },
	{ "a software-disabled APIC sends", { W(LAPIC_ICR, 0xc4500) }, "send:0:00:m5:d0:s3" },
	{ "APIC-write exit of ICR",
	  { ENABLE, { hardware_write, LAPIC_ICR, 0x4062, 0 }, R(LAPIC_ICR) },
	  "send:0:62:m0:d0:s0 4062" },

	/* Destinations. */
	{ "physical",
	  { PHYSICAL(0x13), PHYSICAL(0x14), PHYSICAL(0xff), PHYSICAL(~0u), PHYSICAL(0x113) },
	  "yes no yes yes no" },
	{ "physical, x2APIC", { GO_X2APIC, PHYSICAL(0x13), PHYSICAL(0xff), PHYSICAL(~0u) }, "x2apic yes no yes" },
	{ "logical, flat",
	  { W(LAPIC_LDR, 0x04000000), LOGICAL(4), LOGICAL(6), LOGICAL(8), LOGICAL(0xff), LOGICAL(0), LOGICAL(0x104) },
	  "yes yes no yes no no" },
	{ "logical, cluster",
	  { W(LAPIC_DFR, 0), W(LAPIC_LDR, 0x24000000), LOGICAL(0x24), LOGICAL(0x2f), LOGICAL(0x34), LOGICAL(0x22),
	    LOGICAL(0xff) },
	  "yes yes no no yes" },
	{ "logical, neither",
	  { W(LAPIC_DFR, 0x70000000), W(LAPIC_LDR, 0x24000000), LOGICAL(0x24), LOGICAL(0xff) },
	  "no yes" },
	{ "logical, x2APIC",
	  { GO_X2APIC, LOGICAL(0x10008), LOGICAL(0x1ffff), LOGICAL(0x8), LOGICAL(0x10004), LOGICAL(~0u) },
	  "x2apic yes yes no no yes" },
	{ "the xAPIC ID can be changed",
	  { W(LAPIC_ID, 0x42ffffff), R(LAPIC_ID), PHYSICAL(0x42), PHYSICAL(0x13) },
	  "42000000 yes no" },

	/* Local interrupts. */
	{ "LINT1 as NMI",
	  { ENABLE, LOCAL(LAPIC_LVT_LINT1), W(LAPIC_LVT_LINT1, 0x400), LOCAL(LAPIC_LVT_LINT1) },
	  "-1 nmi 1" },
	{ "LINT0: ExtINT, masked, fixed",
	  { ENABLE,
	    W(LAPIC_LVT_LINT0, 0x700),
	    { accepts_pic, 0, 0, 0 },
	    LOCAL(LAPIC_LVT_LINT0),
	    W(LAPIC_LVT_LINT0, 0x10700),
	    { accepts_pic, 0, 0, 0 },
	    W(LAPIC_LVT_LINT0, 0x31),
	    { accepts_pic, 0, 0, 0 },
	    LOCAL(LAPIC_LVT_LINT0),
	    ACK },
	  "pic -1 nopic nopic 1 ack:31" },
	{ "a PMI masks its entry",
	  { ENABLE, W(LAPIC_LVT_PMC, 0x400), LOCAL(LAPIC_LVT_PMC), R(LAPIC_LVT_PMC), LOCAL(LAPIC_LVT_PMC) },
	  "nmi 1 10400 -1" },

	/* The timer. */
	{ "one-shot",
	  { ENABLE, W(LAPIC_TDCR, 0xb), W(LAPIC_LVT_TIMER, 0x30), W(LAPIC_TMICT, 5000), PASS(2000), R(LAPIC_TMCCT),
	    PASS(3000), EXPIRE, R(LAPIC_TMCCT), ACK, EOI, EXPIRE, ACK },
	  "arm:6000 bb8 0 ack:30 ack:none" },
	{ "divisors",
	  { ENABLE, W(LAPIC_LVT_TIMER, 0x30), W(LAPIC_TMICT, 1000), W(LAPIC_TDCR, 1), W(LAPIC_TDCR, 0xa),
	    R(LAPIC_TMCCT) },
	  "arm:3000 arm:5000 arm:129000 3e8" },
	{ "an initial count of zero stops",
	  { ENABLE, W(LAPIC_LVT_TIMER, 0x30), W(LAPIC_TMICT, 1000), W(LAPIC_TMICT, 0), EXPIRE, HIGHEST,
	    R(LAPIC_TMCCT) },
	  "arm:3000 cancel irq:none 0" },
	{ "periodic",
	  { ENABLE, W(LAPIC_TDCR, 0xb), W(LAPIC_LVT_TIMER, 0x20030), W(LAPIC_TMICT, 1000000), PASS(1000000), EXPIRE,
	    ACK, EOI, PASS(250000), R(LAPIC_TMCCT), PASS(750000), EXPIRE, ACK },
	  "arm:1001000 arm:2001000 ack:30 b71b0 arm:3001000 ack:30" },
	{ "periodic, the host overslept",
	  { ENABLE, W(LAPIC_TDCR, 0xb), W(LAPIC_LVT_TIMER, 0x20030), W(LAPIC_TMICT, 1000000), PASS(3250000),
	    R(LAPIC_TMCCT), EXPIRE, ACK, EOI, ACK },
	  "arm:1001000 b71b0 arm:4001000 ack:30 ack:none" },
	{ "a period has a floor",
	  { ENABLE, W(LAPIC_TDCR, 0xb), W(LAPIC_LVT_TIMER, 0x20030), W(LAPIC_TMICT, 1), R(LAPIC_TMCCT), PASS(200000),
	    EXPIRE },
	  "arm:201000 1 arm:401000" },
	{ "a masked timer runs on, silently",
	  { ENABLE, W(LAPIC_TDCR, 0xb), W(LAPIC_LVT_TIMER, MASKED | 0x30), W(LAPIC_TMICT, 5000), PASS(1000),
	    R(LAPIC_TMCCT), PASS(4000), EXPIRE, HIGHEST },
	  "arm:6000 fa0 irq:none" },
	{ "TSC deadline",
	  { ENABLE,
	    W(LAPIC_LVT_TIMER, DEADLINE | 0x30),
	    { set_deadline, 777, 0, 0 },
	    { get_deadline, 0, 0, 0 },
	    W(LAPIC_TMICT, 5),
	    R(LAPIC_TMICT),
	    R(LAPIC_TMCCT),
	    EXPIRE,
	    ACK,
	    { get_deadline, 0, 0, 0 } },
	  "tsc:777 777 0 0 ack:30 0" },
	{ "TSC deadline of zero disarms",
	  { ENABLE,
	    W(LAPIC_LVT_TIMER, DEADLINE | 0x30),
	    { set_deadline, 777, 0, 0 },
	    { set_deadline, 0, 0, 0 },
	    EXPIRE,
	    HIGHEST },
	  "tsc:777 cancel irq:none" },
	{ "TSC deadline in another mode is ignored",
	  { ENABLE, { set_deadline, 777, 0, 0 }, { get_deadline, 0, 0, 0 } },
	  "0" },
	{ "leaving TSC-deadline mode disarms, and entering it",
	  { ENABLE,
	    W(LAPIC_LVT_TIMER, DEADLINE | 0x30),
	    { set_deadline, 777, 0, 0 },
	    W(LAPIC_LVT_TIMER, 0x30),
	    { get_deadline, 0, 0, 0 },
	    W(LAPIC_TMICT, 1000),
	    W(LAPIC_LVT_TIMER, DEADLINE | 0x30),
	    EXPIRE,
	    HIGHEST },
	  "tsc:777 cancel 0 arm:3000 cancel irq:none" },
	{ "reset stops the timer",
	  { ENABLE, W(LAPIC_LVT_TIMER, 0x30), W(LAPIC_TMICT, 1000), { reset, 1, 0, 0 }, EXPIRE, R(LAPIC_TMICT) },
	  "arm:3000 cancel 0" },

	/* State. */
	{ "state survives, with its timer",
	  { ENABLE,
	    W(LAPIC_TDCR, 0xb),
	    W(LAPIC_LVT_TIMER, 0x30),
	    W(LAPIC_TMICT, 5000),
	    EDGE(0x40),
	    EDGE(0x50),
	    ACK,
	    PASS(2000),
	    GET,
	    { reset, 0, 0, 0 },
	    PASS(7000),
	    SET,
	    R(LAPIC_TMCCT),
	    R(LAPIC_PPR),
	    EOI,
	    ACK },
	  "arm:6000 1 1 ack:50 cancel arm:13000 bb8 50 ack:40" },
	{ "an expired one-shot timer stays expired",
	  { ENABLE, W(LAPIC_LVT_TIMER, 0x30), W(LAPIC_TMICT, 1000), PASS(2000), EXPIRE, GET, SET, R(LAPIC_TMCCT) },
	  "arm:3000 0" },
	{ "one that is just to expire does so after",
	  { ENABLE, W(LAPIC_LVT_TIMER, 0x30), W(LAPIC_TMICT, 1000), PASS(2000), GET, SET },
	  "arm:3000 cancel arm:3002" },
	{ "x2APIC ID, old format", { GO_X2APIC, GET, PEEK(LAPIC_ID), SET, RM(LAPIC_ID) }, "x2apic 13000000 13" },
	{ "x2APIC ID, new format",
	  { GO_X2APIC,
	    { use_32bit_ids, 1, 0, 0 },
	    GET,
	    PEEK(LAPIC_ID),
	    SET,
	    POKE(LAPIC_ID, 0x14),
	    POKE(LAPIC_TPR, 0x20),
	    SET,
	    RM(LAPIC_TPR) },
	  "x2apic 13 -22 0" },
	{ "x2APIC ICR in two halves",
	  { GO_X2APIC, WM(LAPIC_ICR, 0x1234500004035ull), GET, PEEK(LAPIC_ICR), PEEK(LAPIC_ICR + 4), PEEK(LAPIC_ICR2),
	    WM(LAPIC_ICR, 0x4036), SET, RM(LAPIC_ICR) },
	  "x2apic send:12345:35:m0:d0:s0 4035 0 12345 send:0:36:m0:d0:s0 1234500004035" },
	{ "a blob of ones",
	  { { fill, 0xff, 0, 0 },
	    POKE(LAPIC_TMICT, 0),
	    SET,
	    R(LAPIC_VERSION),
	    R(LAPIC_ID),
	    R(LAPIC_TPR),
	    R(LAPIC_SVR),
	    R(LAPIC_ISR),
	    R(LAPIC_IRR),
	    R(LAPIC_TMR),
	    R(LAPIC_LVT_TIMER),
	    R(LAPIC_LVT_CMCI),
	    R(LAPIC_TDCR),
	    HIGHEST,
	    R(LAPIC_ICR) },
	  "50014 ff000000 ff 3ff ffff0000 ffffffff ffff0000 700ff 0 b irq:none ffffefff" },
	{ "a blob of zeros",
	  { ENABLE, EDGE(0x40), { fill, 0, 0, 0 }, SET, R(LAPIC_VERSION), R(LAPIC_SVR), R(LAPIC_LVT_PMC), HIGHEST },
	  "1 50014 0 10000 irq:none" },
};

static void setup(void)
{
	now = 1000;
	memset(regs, 0, sizeof(regs));
	memset(&blob, 0, sizeof(blob));
	config = (struct lapic_config){
		.base_reserved = GENMASK_ULL(63, 46),
		.x2apic = true,
		.tsc_deadline = true,
		.bsp = true,
		.virtual_wire = true,
		.pmi_masks = true,
	};
	lapic_init(&lapic, regs, 0x13, &config, &ops, NULL);
}

int main(void)
{
	return run_programs(programs, ARRAY_SIZE(programs), setup);
}
