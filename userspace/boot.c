// SPDX-License-Identifier: GPL-2.0
/*
 * Booting Linux by its 64-bit boot protocol.
 * Source: the kernel's Documentation/arch/x86/boot.rst, "64-bit Boot Protocol".
 */
#include "boot.h"

#include <asm/bootparam.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "acpi.h"
#include "memory.h"

/* Where things are in low memory, below 640 KiB, for the kernel to find and then forget. */
#define GDT_ADDR 0x1000
#define BOOT_PARAMS_ADDR 0x7000
#define PAGE_TABLES_ADDR 0x9000
#define COMMAND_LINE_ADDR 0x20000
#define COMMAND_LINE_MAX 0x10000
#define LOW_MEMORY_END 0x9fc00

#define SETUP_HEADER_OFFSET 0x1f1
#define SETUP_HEADER_END 0x201 /* here stands how many bytes of header follow 0x202 */
#define BOOT_FLAG 0xaa55
#define HEADER_MAGIC 0x53726448 /* "HdrS" */
#define VERSION_MIN 0x020c	/* the first with xloadflags */
#define ENTRY_64 0x200
#define LOADER_UNKNOWN 0xff
#define SECTOR 512

enum { E820_RAM = 1, E820_RESERVED = 2 };

/* What the protocol wants in CS and in the other segments. */
#define BOOT_CS 0x10
#define BOOT_DS 0x18

/* Source: SDM volume 3, "Paging" and "Control Registers" */
#define PTE_PRESENT_WRITABLE 0x3
#define PTE_LARGE 0x80
#define CR0_PE (1 << 0)
#define CR0_ET (1 << 4)
#define CR0_PG (1u << 31)
#define CR4_PAE (1 << 5)
#define EFER_LME (1 << 8)
#define EFER_LMA (1 << 10)
#define RFLAGS_FIXED (1 << 1)

struct file {
	const char *path;
	int fd;
	u64 size;
};

static struct file open_file(const char *path)
{
	struct file file = { .path = path, .fd = open(path, O_RDONLY | O_CLOEXEC) };
	struct stat stat;

	if (file.fd < 0)
		die("cannot open %s: %s", path, strerror(errno));
	if (fstat(file.fd, &stat) < 0 || !S_ISREG(stat.st_mode))
		die("%s is not a regular file", path);
	file.size = stat.st_size;
	return file;
}

static void read_file(const struct file *file, u64 offset, void *data, u64 size)
{
	while (size) {
		ssize_t n = pread(file->fd, data, size, offset);

		if (n < 0 && errno != EINTR)
			die("cannot read %s: %s", file->path, strerror(errno));
		if (n == 0)
			die("%s ends too early", file->path);
		if (n > 0) {
			data = (char *)data + n;
			offset += n;
			size -= n;
		}
	}
}

static void check_header(const struct file *file, const struct setup_header *header)
{
	if (header->boot_flag != BOOT_FLAG || header->header != HEADER_MAGIC || !(header->loadflags & LOADED_HIGH))
		die("%s is not a bzImage, which is what /boot/vmlinuz-* and the kernel's arch/x86/boot/bzImage are",
		    file->path);
	if (header->version < VERSION_MIN)
		die("%s is too old: it has version %u.%02u of the boot protocol, at least %u.%02u (Linux 3.8) is needed",
		    file->path, header->version >> 8, header->version & 0xff, VERSION_MIN >> 8, VERSION_MIN & 0xff);
	if (!(header->xloadflags & XLF_KERNEL_64))
		die("%s is a 32-bit kernel: a 64-bit one is needed", file->path);
}

static void load_kernel(const struct file *file, struct boot_params *params, const struct memory *memory)
{
	struct setup_header *header = &params->hdr;
	u64 setup, size, needed;
	u8 first[2 * SECTOR];
	void *place;

	if (file->size < sizeof(first))
		die("%s is too short to be a kernel", file->path);
	read_file(file, 0, first, sizeof(first));
	memcpy(header, first + SETUP_HEADER_OFFSET, sizeof(*header));
	check_header(file, header);
	/* An older kernel's header is shorter than the one that this was compiled with. */
	size = min(sizeof(*header), SETUP_HEADER_END + 1u + first[SETUP_HEADER_END] - SETUP_HEADER_OFFSET);
	memset((u8 *)header + size, 0, sizeof(*header) - size);

	setup = (header->setup_sects + 1) * SECTOR;
	if (file->size <= setup)
		die("%s ends too early", file->path);
	size = file->size - setup;
	needed = size > header->init_size ? size : header->init_size;
	place = memory_at(memory, header->pref_address, needed);
	if (!place || header->pref_address < MIB)
		die("%s does not fit into the guest's memory: it takes --mem %lluM at least", file->path,
		    (header->pref_address + needed) / MIB + 1);
	read_file(file, setup, place, size);
	header->init_size = needed;
}

/* As high as the kernel can reach it, so that it is in nobody's way. */
static void load_initrd(const struct file *file, struct boot_params *params, const struct memory *memory)
{
	u64 kernel_end = params->hdr.pref_address + params->hdr.init_size;
	u64 end = min(memory->ranges[0].size, params->hdr.initrd_addr_max + 1ull);
	u64 addr = end < file->size ? 0 : ALIGN_DOWN(end - file->size, 4096);

	if (addr < kernel_end)
		die("%s does not fit into the guest's memory beside the kernel: try a larger --mem", file->path);
	read_file(file, 0, memory_at(memory, addr, file->size), file->size);
	params->hdr.ramdisk_image = addr;
	params->hdr.ramdisk_size = file->size;
}

static void put_command_line(const char *command_line, struct boot_params *params, const struct memory *memory)
{
	u64 size = strlen(command_line) + 1;

	if (size > COMMAND_LINE_MAX || size - 1 > params->hdr.cmdline_size)
		die("the kernel takes a command line of at most %u characters, and --append has %llu",
		    params->hdr.cmdline_size, (unsigned long long)size - 1);
	memcpy(memory_at(memory, COMMAND_LINE_ADDR, size), command_line, size);
	params->hdr.cmd_line_ptr = COMMAND_LINE_ADDR;
}

static void add_e820(struct boot_params *params, u64 start, u64 end, u32 type)
{
	params->e820_table[params->e820_entries++] =
		(struct boot_e820_entry){ .addr = start, .size = end - start, .type = type };
}

static void put_e820(struct boot_params *params, const struct memory *memory)
{
	add_e820(params, 0, LOW_MEMORY_END, E820_RAM);
	add_e820(params, ACPI_TABLES_ADDR, ACPI_TABLES_END, E820_RESERVED);
	add_e820(params, MIB, memory->ranges[0].size, E820_RAM);
	if (memory->nr_ranges > 1)
		add_e820(params, MEMORY_HOLE_END, MEMORY_HOLE_END + memory->ranges[1].size, E820_RAM);
}

/* An identity mapping of the first 4 GiB with 2 MiB pages: PML4, PDPT, and four page directories in a row. */
static void put_page_tables(const struct memory *memory)
{
	u64(*tables)[512] = memory_at(memory, PAGE_TABLES_ADDR, 6 * sizeof(*tables));
	u64 *pages = tables[2];

	tables[0][0] = (PAGE_TABLES_ADDR + sizeof(*tables)) | PTE_PRESENT_WRITABLE;
	for (unsigned int i = 0; i < 4; i++)
		tables[1][i] = (PAGE_TABLES_ADDR + (2 + i) * sizeof(*tables)) | PTE_PRESENT_WRITABLE;
	for (u64 i = 0; i < 4 * 512; i++)
		pages[i] = i * 2 * MIB | PTE_LARGE | PTE_PRESENT_WRITABLE;
}

static void put_gdt(const struct memory *memory)
{
	u64 *gdt = memory_at(memory, GDT_ADDR, BOOT_DS + 8);

	gdt[BOOT_CS / 8] = 0x00af9b000000ffff;
	gdt[BOOT_DS / 8] = 0x00cf93000000ffff;
}

/**
 * boot_load - lay a Linux kernel and all it needs into guest memory
 * @boot: what to load
 * @memory: the guest's, still empty but for the ACPI tables
 * @rsdp: where these begin
 *
 * Return: the kernel's entry point.
 */
u64 boot_load(const struct boot *boot, const struct memory *memory, u64 rsdp)
{
	struct boot_params *params = memory_at(memory, BOOT_PARAMS_ADDR, sizeof(*params));
	struct file file = open_file(boot->kernel);

	load_kernel(&file, params, memory);
	close(file.fd);
	if (boot->initrd) {
		file = open_file(boot->initrd);
		load_initrd(&file, params, memory);
		close(file.fd);
	}
	params->hdr.type_of_loader = LOADER_UNKNOWN;
	params->acpi_rsdp_addr = rsdp;
	put_command_line(boot->command_line, params, memory);
	put_e820(params, memory);
	put_page_tables(memory);
	put_gdt(memory);
	return params->hdr.pref_address + ENTRY_64;
}

/**
 * boot_cpu - put a CPU into the state in which the kernel expects it: 64-bit mode, interrupts off
 * @vcpu_fd: the CPU, as it was created
 * @entry: what boot_load() returned
 */
void boot_cpu(int vcpu_fd, u64 entry)
{
	const struct kvm_segment code = {
		.limit = ~0u, .selector = BOOT_CS, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1
	};
	const struct kvm_segment data = {
		.limit = ~0u, .selector = BOOT_DS, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1
	};
	struct kvm_regs regs = { .rip = entry, .rsi = BOOT_PARAMS_ADDR, .rflags = RFLAGS_FIXED };
	struct kvm_sregs sregs;

	must(ioctl(vcpu_fd, KVM_GET_SREGS, &sregs), "read a CPU's registers");
	sregs.cs = code;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
	sregs.gdt.base = GDT_ADDR;
	sregs.gdt.limit = BOOT_DS + 7;
	sregs.cr3 = PAGE_TABLES_ADDR;
	sregs.cr4 = CR4_PAE;
	sregs.cr0 = CR0_PG | CR0_ET | CR0_PE;
	sregs.efer = EFER_LME | EFER_LMA;
	must(ioctl(vcpu_fd, KVM_SET_SREGS, &sregs), "set a CPU's registers");
	must(ioctl(vcpu_fd, KVM_SET_REGS, &regs), "set a CPU's registers");
}
