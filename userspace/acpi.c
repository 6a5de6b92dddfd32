// SPDX-License-Identifier: GPL-2.0
/*
 * The ACPI tables: RSDP, XSDT, FADT, MADT, and the DSDT compiled from dsdt.asl.
 * Source: Advanced Configuration and Power Interface Specification 6.4, chapter 5.2.
 */
#include "acpi.h"

#include <string.h>

#include "dsdt.hex"
#include "irq.h"
#include "memory.h"
#include "power.h"

#define LOCAL_APIC_ADDR 0xfee00000
#define IO_APIC_ADDR 0xfec00000

struct header {
	char signature[4];
	u32 length;
	u8 revision;
	u8 checksum;
	char oem_id[6];
	char oem_table_id[8];
	u32 oem_revision;
	char creator_id[4];
	u32 creator_revision;
} __attribute__((packed));

struct rsdp {
	char signature[8];
	u8 checksum;
	char oem_id[6];
	u8 revision;
	u32 rsdt;
	u32 length;
	u64 xsdt;
	u8 extended_checksum;
	u8 reserved[3];
} __attribute__((packed));

struct madt_cpu {
	u8 type, length, uid, apic_id;
	u32 flags;
} __attribute__((packed));

struct madt_io_apic {
	u8 type, length, id, reserved;
	u32 addr, gsi_base;
} __attribute__((packed));

struct madt_override {
	u8 type, length, bus, source;
	u32 gsi;
	u16 flags;
} __attribute__((packed));

struct madt_nmi {
	u8 type, length, uid;
	u16 flags;
	u8 lint;
} __attribute__((packed));

struct madt {
	struct header header;
	u32 local_apic, flags;
	struct madt_io_apic io_apic;
	struct madt_override sci;
	struct madt_nmi nmi;
	struct madt_cpu cpus[];
} __attribute__((packed));

struct xsdt {
	struct header header;
	u64 fadt, madt;
} __attribute__((packed));

enum { MADT_CPU = 0, MADT_IO_APIC = 1, MADT_OVERRIDE = 2, MADT_NMI = 4 };

#define MADT_PCAT_COMPAT 1
#define MADT_CPU_ENABLED 1
#define MADT_ALL_CPUS 0xff
#define MADT_LINT1 1
#define MADT_LEVEL_ACTIVE_HIGH 0xd

/* The fields of the FADT that are not zero. */
#define FADT_SIZE 276
#define FADT_REVISION 6
#define FADT_DSDT 140 /* X_DSDT */
#define FADT_NO_VGA (1 << 2)
#define FADT_NO_ASPM (1 << 4)
#define FADT_WBINVD (1 << 0)
#define FADT_PROC_C1 (1 << 2)
#define FADT_NO_POWER_BUTTON (1 << 4)
#define FADT_NO_SLEEP_BUTTON (1 << 5)
#define FADT_NO_RTC_WAKE (1 << 6)
#define FADT_RESET_REGISTER (1 << 10)
#define GAS_IO(bits) (1 | (bits) << 8) /* an I/O port of so many bits, the first half of a generic address */

static const struct {
	u16 offset;
	u8 size;
	u32 value;
} fadt_fields[] = {
	{ 46, 2, IRQ_SCI },			/* SCI_INT */
	{ 56, 4, PM1A_EVENT_PORT },		/* PM1a_EVT_BLK */
	{ 64, 4, PM1A_CONTROL_PORT },		/* PM1a_CNT_BLK */
	{ 88, 1, PM1A_EVENT_SIZE },		/* PM1_EVT_LEN */
	{ 89, 1, PM1A_CONTROL_SIZE },		/* PM1_CNT_LEN */
	{ 96, 2, 0xffff },			/* P_LVL2_LAT: no C2 */
	{ 98, 2, 0xffff },			/* P_LVL3_LAT: no C3 */
	{ 108, 1, 0x32 },			/* CENTURY: its index in the CMOS memory */
	{ 109, 2, FADT_NO_VGA | FADT_NO_ASPM }, /* IAPC_BOOT_ARCH: no i8042 either */
	{ 112, 4,
	  FADT_WBINVD | FADT_PROC_C1 | FADT_NO_POWER_BUTTON | FADT_NO_SLEEP_BUTTON | FADT_NO_RTC_WAKE |
		  FADT_RESET_REGISTER },
	{ 116, 4, GAS_IO(8) | 1 << 24 }, /* RESET_REG, byte access */
	{ 120, 4, RESET_PORT },
	{ 128, 1, RESET_CPU | RESET_SYSTEM }, /* RESET_VALUE */
};

/* Tables are built one behind the other. */
struct builder {
	const struct memory *memory;
	u64 next;
};

static u8 checksum(const void *data, u32 size)
{
	u8 sum = 0;

	for (u32 i = 0; i < size; i++)
		sum -= ((const u8 *)data)[i];
	return sum;
}

static u64 reserve(struct builder *builder, u32 size, void **host)
{
	u64 gpa = builder->next;

	*host = memory_at(builder->memory, gpa, size);
	builder->next = ALIGN_UP(gpa + size, 16);
	return gpa;
}

/* Begins a table of @size bytes; finish() ends it. */
static u64 begin(struct builder *builder, const char *signature, u8 revision, u32 size, void **host)
{
	u64 gpa = reserve(builder, size, host);
	struct header header = {
		.length = size,
		.revision = revision,
		.oem_id = "PITH",
		.oem_table_id = "PITH",
		.oem_revision = 1,
		.creator_id = { 'P', 'I', 'T', 'H' },
		.creator_revision = 1,
	};

	memcpy(header.signature, signature, sizeof(header.signature));
	memcpy(*host, &header, sizeof(header));
	return gpa;
}

static void finish(void *table)
{
	struct header *header = table;

	header->checksum = checksum(header, header->length);
}

static u64 build_dsdt(struct builder *builder)
{
	void *table;
	u64 gpa = reserve(builder, sizeof(dsdt_aml_code), &table);

	memcpy(table, dsdt_aml_code, sizeof(dsdt_aml_code));
	return gpa;
}

static u64 build_fadt(struct builder *builder, u64 dsdt)
{
	void *table;
	u64 gpa = begin(builder, "FACP", FADT_REVISION, FADT_SIZE, &table);

	for (unsigned int i = 0; i < ARRAY_SIZE(fadt_fields); i++)
		memcpy((u8 *)table + fadt_fields[i].offset, &fadt_fields[i].value, fadt_fields[i].size);
	memcpy((u8 *)table + FADT_DSDT, &dsdt, sizeof(dsdt));
	finish(table);
	return gpa;
}

/*
 * ISA interrupt n is input n of the I/O APIC, the timer's too: so KVM routes it unless it is told otherwise, and the
 * usual override of the timer to input 2 is not needed.
 */
static u64 build_madt(struct builder *builder, unsigned int nr_cpus)
{
	struct madt *madt;
	u64 gpa = begin(builder, "APIC", 4, sizeof(*madt) + nr_cpus * sizeof(madt->cpus[0]), (void **)&madt);

	madt->local_apic = LOCAL_APIC_ADDR;
	madt->flags = MADT_PCAT_COMPAT;
	madt->io_apic =
		(struct madt_io_apic){ .type = MADT_IO_APIC, .length = sizeof(madt->io_apic), .addr = IO_APIC_ADDR };
	madt->sci = (struct madt_override){
		.type = MADT_OVERRIDE,
		.length = sizeof(madt->sci),
		.source = IRQ_SCI,
		.gsi = IRQ_SCI,
		.flags = MADT_LEVEL_ACTIVE_HIGH,
	};
	madt->nmi = (struct madt_nmi){
		.type = MADT_NMI, .length = sizeof(madt->nmi), .uid = MADT_ALL_CPUS, .lint = MADT_LINT1
	};
	for (unsigned int i = 0; i < nr_cpus; i++)
		madt->cpus[i] = (struct madt_cpu){
			.type = MADT_CPU,
			.length = sizeof(madt->cpus[i]),
			.uid = i,
			.apic_id = i,
			.flags = MADT_CPU_ENABLED,
		};
	finish(madt);
	return gpa;
}

static u64 build_xsdt(struct builder *builder, u64 fadt, u64 madt)
{
	struct xsdt *xsdt;
	u64 gpa = begin(builder, "XSDT", 1, sizeof(*xsdt), (void **)&xsdt);

	xsdt->fadt = fadt;
	xsdt->madt = madt;
	finish(xsdt);
	return gpa;
}

/**
 * acpi_build - write the ACPI tables into guest memory
 * @memory: the guest's
 * @nr_cpus: how many CPUs there are, at most 255
 *
 * Return: the address of the RSDP.
 */
u64 acpi_build(const struct memory *memory, unsigned int nr_cpus)
{
	struct builder builder = { memory, ACPI_TABLES_ADDR };
	struct rsdp rsdp = {
		.signature = { 'R', 'S', 'D', ' ', 'P', 'T', 'R', ' ' },
		.oem_id = "PITH",
		.revision = 2,
		.length = sizeof(rsdp),
	};
	void *host;
	u64 gpa = reserve(&builder, sizeof(rsdp), &host);
	u64 fadt = build_fadt(&builder, build_dsdt(&builder));

	rsdp.xsdt = build_xsdt(&builder, fadt, build_madt(&builder, nr_cpus));
	rsdp.checksum = checksum(&rsdp, offsetof(struct rsdp, length));
	rsdp.extended_checksum = checksum(&rsdp, sizeof(rsdp));
	memcpy(host, &rsdp, sizeof(rsdp));
	return gpa;
}
