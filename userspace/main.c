// SPDX-License-Identifier: GPL-2.0
/*
 * pith: runs a Linux guest in a virtual machine. Command line, and the order in which a machine is put together.
 */
#include <getopt.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "acpi.h"
#include "boot.h"
#include "gdb/stub.h"
#include "inspect/inspect.h"
#include "pause.h"
#include "pci.h"
#include "power.h"
#include "rtc.h"
#include "serial.h"
#include "stat.h"
#include "term.h"
#include "trace/trace.h"
#include "vcpu.h"
#include "virtio/blk.h"
#include "vm.h"

#define MAX_DISKS 31 /* slots of a PCI bus beside the host bridge */
#define MAX_CPUS 254 /* local APIC IDs of eight bits, the last one is broadcast */
#define MEMORY_MIN (16 * MIB)
#define MEMORY_MAX (1024 * GIB)
#define PAGE_SIZE 4096

struct disk {
	const char *path;
	bool read_only;
};

struct options {
	const char *device;
	struct boot boot;
	u64 memory_size;
	unsigned int nr_cpus;
	unsigned int nr_disks;
	struct disk disks[MAX_DISKS];
	const char *gdb;
	bool gdb_wait;
	const char *trace;
	const char *symbols;
};

static const char help[] =
	"usage: pith run --kernel FILE [OPTION]...\n"
	"       pith trace -o FILE --kernel FILE [OPTION]...\n"
	"       pith inspect [PID] [OPTION]...\n"
	"       pith stat [--json] [--interval SECONDS] [PID[:FD]]...\n"
	"       pith --help | --version\n"
	"\n"
	"Run a Linux guest in a virtual machine, with its serial console on this terminal.\n"
	"Ctrl-A x quits; Ctrl-A Ctrl-A sends one Ctrl-A.\n"
	"\n"
	"  --kernel FILE      a bzImage, such as /boot/vmlinuz-*\n"
	"  --initrd FILE      an initial RAM disk\n"
	"  --append STRING    the kernel's command line (default: console=ttyS0)\n"
	"  --disk FILE[,ro]   a raw image or block device as /dev/vda, /dev/vdb, ...; ro: read-only\n"
	"  --mem SIZE         the guest's memory, with the suffix K, M or G (default: 256M)\n"
	"  --cpus N           the guest's CPUs (default: 1)\n"
	"  --device PATH      the hypervisor's device node (default: /dev/pith)\n"
	"  --gdb PORT|PATH    let gdb debug the guest: at a TCP port of this host, or a unix socket\n"
	"  --gdb-wait         with --gdb: stop at the first instruction\n"
	"\n"
	"pith trace does the same, and records the guest's exits:\n"
	"  -o FILE            as a web page, or for Perfetto if FILE ends in .json\n"
	"  --symbols FILE     the guest kernel's System.map or vmlinux; it wants nokaslr in --append\n"
	"\n"
	"pith stat shows what VMs exit for, how often and for how long: those of the processes, or all of them.\n"
	"  --interval SECONDS how long it counts before it shows that (default: 1)\n"
	"  --json             once, for programs\n"
	"\n"
	"Exit status:\n"
	"  0  the guest powered off or reset, or the user quit\n"
	"  1  the host could not start the guest or go on with it\n"
	"  2  the command line is wrong\n"
	"  3  the guest crashed its virtual machine\n";

_Noreturn static void usage(const char *problem, const char *argument)
{
	fprintf(stderr, "pith: %s%s; see pith --help\n", problem, argument);
	exit(STATUS_USAGE);
}

static u64 parse_size(const char *text)
{
	static const char suffixes[] = "kmg";
	const char *suffix;
	u64 size, unit = 1;
	char *end;

	size = strtoull(text, &end, 10);
	suffix = end > text && *end ? strchr(suffixes, *end | 0x20) : NULL;
	if (suffix) {
		unit <<= 10 * (suffix - suffixes + 1);
		end++;
	}
	if (end == text || *end)
		usage("--mem takes a size such as 512M or 4G, not ", text);
	if (size > MEMORY_MAX / unit || size * unit < MEMORY_MIN || size * unit % PAGE_SIZE)
		usage("--mem takes 16M to 1024G, in pages of 4K, not ", text);
	return size * unit;
}

static unsigned int parse_cpus(const char *text)
{
	unsigned long n;
	char *end;

	n = strtoul(text, &end, 10);
	if (end == text || *end || n < 1 || n > MAX_CPUS)
		usage("--cpus takes a number from 1 to 254, not ", text);
	return n;
}

static void add_disk(struct options *options, char *text)
{
	char *comma = strrchr(text, ',');
	struct disk *disk = &options->disks[options->nr_disks];

	if (options->nr_disks++ == MAX_DISKS)
		usage("there can be no more than 31 disks, and one too many is ", text);
	disk->read_only = comma && !strcmp(comma, ",ro");
	if (disk->read_only)
		*comma = '\0';
	disk->path = text;
}

enum {
	OPTION_KERNEL = 1,
	OPTION_INITRD,
	OPTION_APPEND,
	OPTION_DISK,
	OPTION_MEM,
	OPTION_CPUS,
	OPTION_DEVICE,
	OPTION_GDB,
	OPTION_GDB_WAIT,
	OPTION_SYMBOLS,
};

static const struct option long_options[] = {
	{ "kernel", required_argument, NULL, OPTION_KERNEL },
	{ "initrd", required_argument, NULL, OPTION_INITRD },
	{ "append", required_argument, NULL, OPTION_APPEND },
	{ "disk", required_argument, NULL, OPTION_DISK },
	{ "mem", required_argument, NULL, OPTION_MEM },
	{ "cpus", required_argument, NULL, OPTION_CPUS },
	{ "device", required_argument, NULL, OPTION_DEVICE },
	{ "gdb", required_argument, NULL, OPTION_GDB },
	{ "gdb-wait", no_argument, NULL, OPTION_GDB_WAIT },
	{ "symbols", required_argument, NULL, OPTION_SYMBOLS },
	{ 0 },
};

static void parse_option(struct options *options, int option)
{
	switch (option) {
	case OPTION_KERNEL:
		options->boot.kernel = optarg;
		break;
	case OPTION_INITRD:
		options->boot.initrd = optarg;
		break;
	case OPTION_APPEND:
		options->boot.command_line = optarg;
		break;
	case OPTION_DISK:
		add_disk(options, optarg);
		break;
	case OPTION_MEM:
		options->memory_size = parse_size(optarg);
		break;
	case OPTION_CPUS:
		options->nr_cpus = parse_cpus(optarg);
		break;
	case OPTION_DEVICE:
		options->device = optarg;
		break;
	case OPTION_GDB:
		options->gdb = optarg;
		break;
	case OPTION_GDB_WAIT:
		options->gdb_wait = true;
		break;
	case OPTION_SYMBOLS:
		options->symbols = optarg;
		break;
	case 'o':
		options->trace = optarg;
		break;
	default:
		/* getopt_long() has told what is wrong. */
		exit(STATUS_USAGE);
	}
}

static void parse(struct options *options, bool trace, int argc, char **argv)
{
	int option;

	while ((option = getopt_long(argc, argv, trace ? "o:" : "", long_options, NULL)) != -1)
		parse_option(options, option);
	if (optind < argc)
		usage("there is nothing to do with ", argv[optind]);
	if (!options->boot.kernel)
		usage("--kernel", " is missing");
	if (options->gdb_wait && !options->gdb)
		usage("--gdb-wait", " needs --gdb");
	if (trace && !options->trace)
		usage("-o", " is missing: the file for the trace");
	if (!trace && options->symbols)
		usage("--symbols", " is for pith trace");
}

static void create_board(struct vm *vm, struct serial *serial, const struct options *options)
{
	serial_init(serial, vm);
	rtc_init(vm);
	power_init(vm);
	pci_init(vm);
	for (unsigned int i = 0; i < options->nr_disks; i++)
		blk_init(vm, options->disks[i].path, options->disks[i].read_only);
}

static void check_cpus(const struct vm *vm, const struct options *options)
{
	int most = vm_extension(vm, KVM_CAP_MAX_VCPUS);

	if (most && options->nr_cpus > (unsigned int)most)
		die("%s gives a virtual machine at most %d CPUs, not %u", options->device, most, options->nr_cpus);
}

static int run(const struct options *options)
{
	static struct serial serial;
	static struct vm vm;
	u64 entry;

	if (options->trace)
		trace_open(options->trace, options->symbols);
	vm_create(&vm, options->device, options->memory_size);
	check_cpus(&vm, options);
	if (options->gdb)
		gdb_listen(&vm, options->gdb);
	entry = boot_load(&options->boot, &vm.memory, acpi_build(&vm.memory, options->nr_cpus));
	create_board(&vm, &serial, options);
	vcpu_create_all(&vm, options->nr_cpus, entry);
	if (options->trace)
		trace_start(&vm);
	if (options->gdb_wait)
		pause_from_start(&vm);

	term_init();
	vcpu_start_all(&vm);
	gdb_start();
	term_run(&vm, &serial);
	gdb_stop();
	vcpu_stop_all(&vm);
	trace_stop();
	term_restore();
	serial_flush(&serial);
	return vm.status;
}

int main(int argc, char **argv)
{
	struct options options = {
		.device = "/dev/pith",
		.boot.command_line = "console=ttyS0",
		.memory_size = 256 * MIB,
		.nr_cpus = 1,
	};
	bool trace;

	if (argc == 2 && !strcmp(argv[1], "--help")) {
		fputs(help, stdout);
		return STATUS_OK;
	}
	if (argc == 2 && !strcmp(argv[1], "--version")) {
		puts("pith " PITH_VERSION);
		return STATUS_OK;
	}
	if (argc >= 2 && !strcmp(argv[1], "inspect"))
		return inspect_main(argc - 1, argv + 1);
	if (argc >= 2 && !strcmp(argv[1], "stat"))
		return stat_main(argc - 1, argv + 1);
	if (argc < 2 || (strcmp(argv[1], "run") && strcmp(argv[1], "trace")))
		usage("the command is missing: ", "pith run --kernel FILE");
	trace = !strcmp(argv[1], "trace");
	argv[1] = argv[0];
	parse(&options, trace, argc - 1, argv + 1);
	return run(&options);
}
