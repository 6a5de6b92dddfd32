// SPDX-License-Identifier: GPL-2.0
/* pith inspect: the command line, and in which order what is shown. */
#define _GNU_SOURCE
#include "inspect.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "attach.h"
#include "view.h"

#define MAX_ADDRESSES 16
#define CODE_BYTES 32
#define MEMORY_BYTES 64
#define ALL_VCPUS (-1l)

static const char help[] =
	"usage: pith inspect [PID | PID:FD] [OPTION]...\n"
	"\n"
	"Show the state of a VM while it runs. Without a VM: which there are.\n"
	"\n"
	"  --vcpu N           only vCPU N\n"
	"  --registers        its registers, in words\n"
	"  --fields           all fields of its VMCS or VMCB (root)\n"
	"  --apic             its local APIC, and the I/O APIC\n"
	"  --code             the instructions at RIP\n"
	"  --backtrace        who has called them\n"
	"  --gva ADDRESS      the walk of the guest's page tables for a linear address, and what is there\n"
	"  --gpa ADDRESS      slot and second-stage mapping of a guest-physical address, and what is there\n"
	"  --slots            the memory slots\n"
	"  --all              all of these but addresses\n"
	"  --symbols FILE     names for addresses: System.map, a copy of /proc/kallsyms, vmlinux\n"
	"\n"
	"An ADDRESS is a hexadecimal number or, with --symbols, NAME or NAME+NUMBER.\n";

enum section { REGISTERS, FIELDS, APIC, CODE, BACKTRACE, SLOTS, NR_SECTIONS };

struct options {
	const char *vm;
	long vcpu;
	bool section[NR_SECTIONS];
	struct {
		const char *address; /* a number, SYMBOL or SYMBOL+NUMBER */
		bool is_physical;
	} at[MAX_ADDRESSES];
	unsigned int nr_at;
	const char *symbols;
};

/* -- the command line --------------------------------------------------------------------------------------------- */

_Noreturn static void usage(const char *problem, const char *argument)
{
	fprintf(stderr, "pith: %s%s; see pith inspect --help\n", problem, argument);
	exit(STATUS_USAGE);
}

static bool parse_number(const char *text, int base, u64 *number)
{
	char *end;

	errno = 0;
	*number = strtoull(text, &end, base);
	return end != text && !*end && !errno && *text != '-';
}

static long parse_vcpu(const char *text)
{
	u64 number;

	if (!parse_number(text, 10, &number) || number > INT_MAX)
		usage("--vcpu takes a number, not ", text);
	return number;
}

enum { OPTION_VCPU = 1, OPTION_GVA, OPTION_GPA, OPTION_ALL, OPTION_SYMBOLS, OPTION_HELP, OPTION_SECTION };

static const struct option long_options[] = {
	{ "vcpu", required_argument, NULL, OPTION_VCPU },
	{ "gva", required_argument, NULL, OPTION_GVA },
	{ "gpa", required_argument, NULL, OPTION_GPA },
	{ "all", no_argument, NULL, OPTION_ALL },
	{ "symbols", required_argument, NULL, OPTION_SYMBOLS },
	{ "help", no_argument, NULL, OPTION_HELP },
	{ "registers", no_argument, NULL, OPTION_SECTION + REGISTERS },
	{ "fields", no_argument, NULL, OPTION_SECTION + FIELDS },
	{ "apic", no_argument, NULL, OPTION_SECTION + APIC },
	{ "code", no_argument, NULL, OPTION_SECTION + CODE },
	{ "backtrace", no_argument, NULL, OPTION_SECTION + BACKTRACE },
	{ "slots", no_argument, NULL, OPTION_SECTION + SLOTS },
	{ 0 },
};

static void add_address(struct options *options, bool is_physical)
{
	if (options->nr_at == MAX_ADDRESSES)
		usage("there can be no more than 16 addresses, and one too many is ", optarg);
	options->at[options->nr_at].address = optarg;
	options->at[options->nr_at++].is_physical = is_physical;
}

static void parse_option(struct options *options, int option)
{
	switch (option) {
	case OPTION_VCPU:
		options->vcpu = parse_vcpu(optarg);
		break;
	case OPTION_GVA:
	case OPTION_GPA:
		add_address(options, option == OPTION_GPA);
		break;
	case OPTION_ALL:
		memset(options->section, true, sizeof(options->section));
		break;
	case OPTION_SYMBOLS:
		options->symbols = optarg;
		break;
	case OPTION_HELP:
		fputs(help, stdout);
		exit(STATUS_OK);
	default:
		if (option < OPTION_SECTION || option >= OPTION_SECTION + NR_SECTIONS)
			exit(STATUS_USAGE); /* getopt_long() has told what is wrong */
		options->section[option - OPTION_SECTION] = true;
	}
}

static void parse(struct options *options, int argc, char **argv)
{
	int option;

	while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1)
		parse_option(options, option);
	if (optind < argc)
		options->vm = argv[optind++];
	if (optind < argc)
		usage("one VM at a time, and one too many is ", argv[optind]);
}

/* -- what is at an address ---------------------------------------------------------------------------------------- */

static void print_bytes(const u8 *bytes, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		printf("%s%02x%s", i % 16 ? " " : "  ", bytes[i], i % 16 == 15 || i == len - 1 ? "\n" : "");
}

static void print_mapping(struct attached *attached, u64 gpa)
{
	struct pith_inspect_page page = { .gpa = gpa };

	must(ioctl(attached->fd, PITH_INSPECT_PAGE, &page), "look up a page");
	if (!page.size) {
		printf("  second stage: not mapped (the walk ends at level %u)\n", page.level);
		return;
	}
	printf("  second stage: level %u, page of %llu KiB, %c%c%c", page.level, page.size >> 10,
	       page.flags & PITH_PAGE_READ ? 'r' : '-', page.flags & PITH_PAGE_WRITE ? 'w' : '-',
	       page.flags & PITH_PAGE_EXEC ? 'x' : '-');
	if (page.flags & PITH_PAGE_AD_VALID)
		printf("%s%s", page.flags & PITH_PAGE_ACCESSED ? ", accessed" : "",
		       page.flags & PITH_PAGE_DIRTY ? ", dirty" : "");
	if (page.entry)
		printf(", entry %016llx, host-physical %016llx", page.entry, page.host);
	putchar('\n');
}

static void print_gpa(struct attached *attached, u64 gpa)
{
	const struct pith_inspect_slot *slot = attach_slot(attached, gpa);
	u8 bytes[MEMORY_BYTES];

	printf("guest-physical %016llx\n", (unsigned long long)gpa);
	if (slot)
		printf("  slot %u, at %016llx of process %d\n", slot->slot,
		       (unsigned long long)(slot->userspace_addr + gpa - slot->gpa), attached->pid);
	else
		printf("  no slot: a device's, or nobody's\n");
	print_mapping(attached, gpa);
	if (!attach_read(attached, gpa, bytes, min(sizeof(bytes), 4096 - (gpa & 4095))))
		print_bytes(bytes, min(sizeof(bytes), 4096 - (gpa & 4095)));
}

static bool find_address(const struct view *view, const char *text, u64 *address)
{
	char *name = strdup(text), *plus = strchr(name ?: "", '+');
	u64 offset = 0;
	bool found;

	if (!name)
		die("out of memory");
	if (plus)
		*plus = '\0';
	found = (!plus || parse_number(plus + 1, 16, &offset)) && view->symbols &&
		symbols_address(view->symbols, name, address);
	free(name);
	if (found)
		*address += offset;
	return found || parse_number(text, 16, address);
}

static void print_address(struct attached *attached, const struct view *view, const char *text, bool is_physical)
{
	u64 address, gpa;

	if (!find_address(view, text, &address))
		die("no address, and no symbol of --symbols: %s", text);
	gpa = address;
	if (is_physical || print_walk(stdout, view, address, &gpa))
		print_gpa(attached, gpa);
}

static void print_slots(const struct attached *attached)
{
	const struct pith_inspect_slot *slot;
	unsigned int i;
	__u64 gpa;

	for (i = 0; i < attached->nr_slots; i++) {
		slot = &attached->slots[i];
		gpa = slot->gpa & ~PITH_INSPECT_SLOT_SMM;
		printf("slot %u: guest-physical %016llx to %016llx, at %016llx of process %d%s%s%s\n",
		       slot->slot & 0xffff, gpa, gpa + slot->size - 1, slot->userspace_addr, attached->pid,
		       slot->gpa & PITH_INSPECT_SLOT_SMM ? ", seen in system-management mode" : "",
		       slot->flags & KVM_MEM_READONLY ? ", read-only" : "",
		       slot->flags & KVM_MEM_LOG_DIRTY_PAGES ? ", writes are logged" : "");
	}
}

/* -- code --------------------------------------------------------------------------------------------------------- */

/*
 * The runner is linked statically, and Debian has Zydis as a shared library only: so a program beside it uses that, and
 * gets the bytes by its standard input.
 */
static FILE *start_disassembler(const struct view *view, u64 address)
{
	char path[PATH_MAX], command[PATH_MAX + 64];
	ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - sizeof("-disassemble"));

	if (len < 0)
		return NULL;
	strcpy(path + len, "-disassemble");
	if (access(path, X_OK) || strchr(path, '\''))
		return NULL;
	snprintf(command, sizeof(command), "'%s' %u %llx", path, view_code_size(view), (unsigned long long)address);
	fflush(stdout);
	return popen(command, "w");
}

static void print_code(const struct view *view)
{
	u64 address = view->vcpu->regs.rip;
	u8 bytes[CODE_BYTES];
	size_t len;
	FILE *disassembler;

	if (view_code_size(view) != 64)
		address = (u32)(address + view->vcpu->sregs.cs.base);
	len = view_read(view, address, bytes, sizeof(bytes));
	if (!len)
		printf("  no code: nothing is mapped at RIP\n");
	disassembler = len ? start_disassembler(view, address) : NULL;
	if (!disassembler || fwrite(bytes, 1, len, disassembler) != len)
		print_bytes(bytes, len);
	if (disassembler)
		pclose(disassembler);
}

/* -- all of it ---------------------------------------------------------------------------------------------------- */

static void print_vcpu(const struct options *options, struct attached *attached, const struct view *view)
{
	unsigned int i;

	print_summary(stdout, view);
	if (options->section[REGISTERS])
		print_registers(stdout, view);
	if (options->section[CODE])
		print_code(view);
	if (options->section[BACKTRACE])
		print_backtrace(stdout, view);
	if (options->section[APIC])
		print_lapic(stdout, view);
	if (options->section[FIELDS])
		print_fields(stdout, view);
	for (i = 0; i < options->nr_at; i++)
		print_address(attached, view, options->at[i].address, options->at[i].is_physical);
}

static void print_chips(const struct attached *attached)
{
	struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_IOAPIC };

	if (!ioctl(attached->fd, KVM_GET_IRQCHIP, &chip))
		print_ioapic(stdout, &chip.chip.ioapic);
	else
		printf("the I/O APIC is the client's\n");
}

/* How far the kernel has moved: LSTAR has held the address of this function since early in its boot. */
static void find_slide(struct symbols *symbols, const struct pith_inspect_vcpu *vcpu)
{
	unsigned int i;
	u64 linked;

	if (!symbols_address(symbols, "entry_SYSCALL_64", &linked))
		return;
	for (i = 0; i < vcpu->nr_msrs; i++)
		if (vcpu->msrs[i].index == MSR_LSTAR && vcpu->msrs[i].data >> 63)
			symbols->slide = vcpu->msrs[i].data - linked;
}

static void print_vm(const struct options *options, struct attached *attached, struct symbols *symbols)
{
	static struct pith_inspect_vcpu vcpu;
	struct pith_inspect_vm vm;
	struct view view = { .vcpu = &vcpu, .read = attach_read, .ctx = attached };
	unsigned int i;

	must(ioctl(attached->fd, PITH_INSPECT_VM, &vm), "look into the VM");
	view.is_vmx = strstr(vm.vendor, "VMX");
	if (options->vcpu >= (long)vm.nr_vcpus)
		die("there is no vCPU %ld: the VM has %u", options->vcpu, vm.nr_vcpus);
	printf("VM of process %d, %s: %u vCPUs, %u slots, %llu second-stage faults, %llu tables%s\n", attached->pid,
	       vm.vendor, vm.nr_vcpus, attached->nr_slots, vm.faults, vm.tables,
	       vm.flags & PITH_INSPECT_BUGGED ? ", stopped by a broken invariant" : "");
	for (i = 0; i < vm.nr_vcpus; i++) {
		if (options->vcpu != ALL_VCPUS && options->vcpu != i)
			continue;
		vcpu.index = i;
		must(ioctl(attached->fd, PITH_INSPECT_VCPU, &vcpu), "read the state of a vCPU");
		if (options->symbols)
			find_slide(symbols, &vcpu);
		view.symbols = options->symbols ? symbols : NULL;
		print_vcpu(options, attached, &view);
	}
	if (options->section[APIC])
		print_chips(attached);
	if (options->section[SLOTS])
		print_slots(attached);
}

int inspect_main(int argc, char **argv)
{
	struct options options = { .vcpu = ALL_VCPUS };
	struct symbols symbols = {};
	struct attached attached;

	parse(&options, argc, argv);
	if (!options.vm) {
		if (!attach_list(stdout))
			printf("no VMs\n");
		return STATUS_OK;
	}
	if (options.symbols)
		symbols_load(&symbols, options.symbols);
	attached = attach(options.vm);
	print_vm(&options, &attached, &symbols);
	return STATUS_OK;
}
