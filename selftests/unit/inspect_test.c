// SPDX-License-Identifier: GPL-2.0
/* inspect_test - what pith inspect makes of a state: walks, backtraces, symbols, registers. The guest is a few pages here. */
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../userspace/inspect/view.h"

#define PAGE 4096ull
#define NR_PAGES 16
#define KERNEL 0xffffffff81000000ull

/* The runner's own tells it and exits as well. */
_Noreturn void die(const char *format, ...)
{
	printf("# died: %s\n", format);
	exit(1);
}

static unsigned int number, failures;

static void result(bool ok, const char *name)
{
	failures += !ok;
	printf("%s %u %s\n", ok ? "ok" : "not ok", ++number, name);
}

/* -- a guest ------------------------------------------------------------------------------------------------------ */

static u8 memory[NR_PAGES * PAGE];
static struct pith_inspect_vcpu vcpu;

static int read_memory(void *ctx, u64 gpa, void *buf, size_t len)
{
	if (gpa > sizeof(memory) || len > sizeof(memory) - gpa)
		return -1;
	memcpy(buf, memory + gpa, len);
	return 0;
}

static struct view view = { .vcpu = &vcpu, .read = read_memory };

static void poke(u64 gpa, u64 value)
{
	memcpy(memory + gpa, &value, sizeof(value));
}

/* What is said of something, as text; the caller frees it. */
#define SAID(call)                                        \
	({                                                \
		char *text;                               \
		size_t size;                              \
		FILE *out = open_memstream(&text, &size); \
		call;                                     \
		fclose(out);                              \
		text;                                     \
	})

static void expect_said(char *text, const char *const *lines, const char *name)
{
	bool ok = true;

	for (; *lines; lines++) {
		if (strstr(text, *lines))
			continue;
		printf("# \"%s\" is not in:\n%s", *lines, text);
		ok = false;
	}
	result(ok, name);
	free(text);
}

#define EXPECT(call, name, ...) expect_said(SAID(call), (const char *const[]){ __VA_ARGS__, NULL }, name)

/* 4-level tables in pages 1 to 4, which map KERNEL to page 5 and on. */
static void set_long_mode(void)
{
	u64 i;

	memset(&vcpu, 0, sizeof(vcpu));
	memset(memory, 0, sizeof(memory));
	vcpu.sregs.cr0 = 0x80010001;
	vcpu.sregs.cr3 = PAGE;
	vcpu.sregs.cr4 = 0x20;
	vcpu.sregs.efer = 0xd00;
	vcpu.sregs.cs.l = 1;
	poke(PAGE + 511 * 8, 2 * PAGE | 0x63);
	poke(2 * PAGE + 510 * 8, 3 * PAGE | 0x63);
	poke(3 * PAGE + 8 * 8, 4 * PAGE | 0x63);
	for (i = 5; i < NR_PAGES; i++)
		poke(4 * PAGE + (i - 5) * 8, i * PAGE | 0x8000000000000063);
}

static u64 gpa_of(u64 linear)
{
	return linear - KERNEL + 5 * PAGE;
}

/* -- walks -------------------------------------------------------------------------------------------------------- */

static void walks(void)
{
	u64 gpa = 0;

	set_long_mode();
	EXPECT(print_walk(out, &view, KERNEL + 0x1234, &gpa), "a walk through four levels",
	       "linear ffffffff81001234, CR3 0000000000001000, 4-level paging",
	       "at 0000000000001ff8:  PML4E 0000000000002063  P, W, A, D", "at 0000000000002ff0:  PDPTE",
	       "at 0000000000003040:  PDE", "at 0000000000004008:  PTE   8000000000006063  P, W, A, D, NX",
	       "guest-physical 0000000000006234");
	result(gpa == 0x6234, "and where it leads");
	EXPECT(print_walk(out, &view, KERNEL + 0x200000, &gpa), "an entry that is not present",
	       "PDE   0000000000000000  not present", "page fault: error code 0 (not present)");
	poke(3 * PAGE + 8 * 8, 0x100000083 | BIT_ULL(13));
	EXPECT(print_walk(out, &view, KERNEL, &gpa), "a reserved bit",
	       "page fault: error code 0x9 (present, reserved bit)");
	poke(PAGE + 511 * 8, NR_PAGES * PAGE | 1);
	EXPECT(print_walk(out, &view, KERNEL, &gpa), "a table outside of memory", "not in memory");
	vcpu.sregs.efer = 0;
	vcpu.sregs.cs.l = 0;
	vcpu.sregs.pdptrs[3] = 3 * PAGE | 1;
	vcpu.sregs.cr4 = 0x20;
	poke(3 * PAGE, 0x83);
	EXPECT(print_walk(out, &view, 0xc0001234, &gpa), "PAE: from a register", "PAE paging", "register 3",
	       "PDE   0000000000000083  P, W, PS", "guest-physical 0000000000001234");
	vcpu.sregs.cr4 = 0x10;
	vcpu.sregs.cr3 = 6 * PAGE;
	poke(6 * PAGE, 0x83);
	EXPECT(print_walk(out, &view, 0x5678, &gpa), "32-bit paging", "32-bit paging", "PDE   0000000000000083",
	       "guest-physical 0000000000005678");
	vcpu.sregs.cr0 = 1;
	EXPECT(print_walk(out, &view, 0x9abc, &gpa), "no paging", "no paging", "guest-physical 0000000000009abc");
}

static void reads(void)
{
	u8 bytes[32];

	set_long_mode();
	memset(memory + 6 * PAGE - 8, 0x11, 8);
	memset(memory + 6 * PAGE, 0x22, 8);
	result(view_read(&view, KERNEL + PAGE - 8, bytes, 16) == 16 && bytes[7] == 0x11 && bytes[8] == 0x22,
	       "reading across pages");
	result(view_read(&view, KERNEL + (NR_PAGES - 5) * PAGE - 8, bytes, 16) == 8,
	       "reading to the end of what is there");
	result(view_read(&view, 0x1000, bytes, 1) == 0, "reading what is not there");
}

/* -- symbols ------------------------------------------------------------------------------------------------------ */

static struct symbols symbols;

static bool named(u64 address, const char *name)
{
	const struct symbol *symbol = symbols_find(&symbols, address);

	return symbol ? name && !strcmp(symbol->name, name) : !name;
}

static void maps(void)
{
	static char map[] =
		"ffffffff81000100 t second\n0000000000001000 A percpu\nnonsense\nffffffff81000000 T first\n"
		"ffffffff82000000 b last\t[module]\nffffffff81000000\n";
	static char none[] = "this is no map\n";
	u64 address = 0;

	result(symbols_parse(&symbols, map, sizeof(map) - 1) && symbols.nr == 3, "a map's lines, and nothing else");
	result(named(KERNEL - 1, NULL) && named(0x1000, NULL) && named(KERNEL, "first") &&
		       named(KERNEL + 0xff, "first") && named(KERNEL + 0x100, "second") && named(~0ull, "last"),
	       "the symbol that holds an address");
	result(symbols_address(&symbols, "second", &address) && address == KERNEL + 0x100 &&
		       !symbols_address(&symbols, "third", &address),
	       "the address of a symbol");
	symbols.slide = 0x1000000;
	result(named(KERNEL + 0x1000000, "first") && symbols_address(&symbols, "first", &address) &&
		       address == KERNEL + 0x1000000,
	       "a kernel that has moved");
	free(symbols.symbol);
	result(!symbols_parse(&symbols, none, sizeof(none) - 1), "a file that is no map");
}

struct elf {
	Elf64_Ehdr header;
	Elf64_Shdr sections[3];
	Elf64_Sym entries[2];
	char names[8];
};

static struct elf make_elf(void)
{
	struct elf elf = { .header = { .e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64 },
				       .e_shoff = offsetof(struct elf, sections),
				       .e_shentsize = sizeof(Elf64_Shdr),
				       .e_shnum = 3 },
			   .sections = { {},
					 { .sh_type = SHT_SYMTAB,
					   .sh_offset = offsetof(struct elf, entries),
					   .sh_size = 2 * sizeof(Elf64_Sym),
					   .sh_link = 2 },
					 { .sh_offset = offsetof(struct elf, names), .sh_size = 8 } },
			   .entries = { {}, { .st_name = 1, .st_value = KERNEL, .st_info = STT_FUNC } },
			   .names = "\0first" };

	return elf;
}

/* Whatever a file says, nothing is read that is not in it: the sanitizers would tell. */
static void elfs(void)
{
	struct elf elf = make_elf();
	unsigned int i, value;
	u8 *damaged;

	result(symbols_parse(&symbols, (char *)&elf, sizeof(elf)) && symbols.nr == 1 && named(KERNEL, "first"),
	       "an ELF file's symbols");
	free(symbols.symbol);
	for (i = 0; i < sizeof(elf); i++) {
		for (value = 0; value < 256; value += 51) {
			damaged = malloc(sizeof(elf) + 1);
			memcpy(damaged, &elf, sizeof(elf));
			damaged[sizeof(elf)] = 0;
			damaged[i] = value;
			symbols_parse(&symbols, (char *)damaged, sizeof(elf));
			named(KERNEL, "first");
			free(symbols.symbol);
			free(damaged);
		}
	}
	result(true, "damaged ones");
	symbols = (struct symbols){};
}

/* -- backtraces --------------------------------------------------------------------------------------------------- */

#define STACK (KERNEL + 8 * PAGE)
#define IPS (KERNEL + 4 * PAGE)
#define ENTRIES (KERNEL + 5 * PAGE)

/* Entry @index of ORC: what to do from an address on. */
static void set_orc(unsigned int index, u64 address, u16 sp_offset, u16 bp_offset, u16 bits)
{
	u16 entry[] = { sp_offset, bp_offset, bits };
	s32 distance = address - (IPS + 4 * index);

	memcpy(memory + gpa_of(IPS + 4 * index), &distance, 4);
	memcpy(memory + gpa_of(ENTRIES + 6 * index), entry, 6);
}

/* leaf was called by a function that an interrupt's handler called, which came in middle, called by top. */
static void set_stack(const char *banner, unsigned int call, unsigned int regs)
{
	static char map[512];

	set_long_mode();
	snprintf(map, sizeof(map),
		 "%llx T _stext\n%llx T leaf\n%llx T handler\n%llx T middle\n%llx T top\n%llx T _etext\n"
		 "%llx R __start_orc_unwind_ip\n%llx R __stop_orc_unwind_ip\n%llx R __start_orc_unwind\n"
		 "%llx R linux_banner\n",
		 KERNEL, KERNEL + 0x100, KERNEL + 0x200, KERNEL + 0x300, KERNEL + 0x400, KERNEL + 0x500, IPS,
		 IPS + 5 * 4, ENTRIES, KERNEL + 7 * PAGE);
	symbols_parse(&symbols, map, strlen(map));
	strcpy((char *)memory + gpa_of(KERNEL + 7 * PAGE), banner);
	set_orc(0, KERNEL, 0, 0, 0);
	set_orc(1, KERNEL + 0x100, 8, 0, 5 | call << 8);	     /* sp + 8 */
	set_orc(2, KERNEL + 0x200, 0, 0, 5 | regs << 8);	     /* struct pt_regs at sp */
	set_orc(3, KERNEL + 0x300, 16, -16, 4 | 1 << 4 | call << 8); /* bp + 16; bp is at sp - 16 */
	set_orc(4, KERNEL + 0x400, 0, 0, 0);
	vcpu.regs.rip = KERNEL + 0x110;
	vcpu.regs.rsp = STACK;
	poke(gpa_of(STACK), KERNEL + 0x220);
	poke(gpa_of(STACK + 8 + 32), STACK + 0x200); /* bp, ip and sp of pt_regs */
	poke(gpa_of(STACK + 8 + 128), KERNEL + 0x300);
	poke(gpa_of(STACK + 8 + 152), STACK + 0x100);
	poke(gpa_of(STACK + 0x200), 0);
	poke(gpa_of(STACK + 0x208), KERNEL + 0x444);
	view.symbols = &symbols;
}

static void backtraces(void)
{
	set_stack("Linux version 6.1.0", 0, 1);
	EXPECT(print_backtrace(out, &view), "a backtrace by ORC, through an interrupt",
	       "  ffffffff81000110 <leaf+0x10>\n  ffffffff81000220 <handler+0x20>\n  ffffffff81000300 <middle+0>\n"
	       "  ffffffff81000444 <top+0x44>\n");
	free(symbols.symbol);
	set_stack("Linux version 6.12.3", 2, 3);
	EXPECT(print_backtrace(out, &view), "the same as newer kernels say it",
	       "<leaf+0x10>\n  ffffffff81000220 <handler+0x20>\n  ffffffff81000300 <middle+0>\n  ffffffff81000444 <top+0x44>\n");
	/* Tables that lead in a circle. */
	set_orc(1, KERNEL + 0x100, 0, 0, 5 | 2 << 8);
	poke(gpa_of(STACK - 8), KERNEL + 0x110);
	free(SAID(print_backtrace(out, &view)));
	result(true, "ORC without an end");
	free(symbols.symbol);
	view.symbols = NULL;
	EXPECT(print_backtrace(out, &view), "without symbols: what could be one", "  ? ffffffff81000220\n",
	       "  ? ffffffff81000444\n");
	vcpu.regs.rbp = STACK + 0x10;
	poke(gpa_of(STACK + 0x10), STACK + 0x20);
	poke(gpa_of(STACK + 0x18), KERNEL + 0x666);
	poke(gpa_of(STACK + 0x20), 0);
	poke(gpa_of(STACK + 0x28), KERNEL + 0x777);
	EXPECT(print_backtrace(out, &view), "frame pointers", "\n  ffffffff81000666\n  ffffffff81000777\n");
	vcpu.regs.rip = 0x400000;
	EXPECT(print_backtrace(out, &view), "user mode has none", "  0000000000400000\n");
}

/* -- registers ---------------------------------------------------------------------------------------------------- */

static void registers(void)
{
	u32 svr = 0x1ff, isr = 1 << 4, lvt = 0x10000;

	set_long_mode();
	vcpu.mp_state = KVM_MP_STATE_HALTED;
	vcpu.id = 7;
	vcpu.regs.rip = KERNEL;
	vcpu.regs.rflags = 0x246;
	vcpu.regs.r15 = 0xf15;
	vcpu.sregs.cs.selector = 0x10;
	vcpu.sregs.cs.type = 11;
	vcpu.nr_msrs = 1;
	vcpu.msrs[0].index = MSR_LSTAR;
	vcpu.msrs[0].data = KERNEL + 1;
	vcpu.events.interrupt.shadow = KVM_X86_SHADOW_INT_STI;
	EXPECT(print_summary(out, &view), "a summary", "vCPU 0, APIC ID 7: halts, 64-bit mode, CPL 0",
	       "rip ffffffff81000000");
	EXPECT(print_registers(out, &view), "registers", "rflags 0000000000000246 (PF, ZF, IF)", "r15 0000000000000f15",
	       "cs   0010 base 0000000000000000 limit 00000000 (type 11, DPL 0, L)",
	       "cr0    0000000080010001 (PE, WP, PG)", "cr4    0000000000000020 (PAE)",
	       "efer   0000000000000d00 (LME, LMA, NXE)", "msr c0000082 LSTAR              ffffffff81000001",
	       "held off by STI");
	vcpu.nr_fields = 2;
	vcpu.fields[0].number = 0x6800;
	vcpu.fields[0].size = 8;
	vcpu.fields[0].value = 0x80000011;
	vcpu.fields[1].number = 0x4402;
	vcpu.fields[1].size = 4;
	vcpu.fields[1].value = 12;
	view.is_vmx = true;
	EXPECT(print_fields(out, &view), "fields of a VMCS, by their numbers",
	       "  4402 VM_EXIT_REASON                 0000000c (basic reason 12) HLT\n"
	       "  6800 GUEST_CR0                      0000000080000011 (PE, ET, PG)\n");
	vcpu.fields[0].number = 0x558;
	vcpu.fields[1].number = 0x070;
	vcpu.fields[1].value = 0x78;
	view.is_vmx = false;
	EXPECT(print_fields(out, &view), "fields of a VMCB", "EXITCODE                       00000078 HLT\n",
	       "CR0                            0000000080000011 (PE, ET, PG)\n");
	vcpu.nr_fields = ~0u;
	vcpu.nr_msrs = ~0u;
	vcpu.mp_state = 99;
	free(SAID(print_fields(out, &view); print_registers(out, &view); print_summary(out, &view)));
	result(true, "counts that are too large");
	EXPECT(print_lapic(out, &view), "no local APIC", "client's");
	vcpu.flags = PITH_INSPECT_LAPIC;
	memcpy(vcpu.lapic.regs + 0xf0, &svr, 4);
	memcpy(vcpu.lapic.regs + 0x130, &isr, 4);
	memcpy(vcpu.lapic.regs + 0x320, &lvt, 4);
	EXPECT(print_lapic(out, &view), "a local APIC", "SVR           000001ff (spurious vector 255, enabled)",
	       "LVT timer     00010000 (vector 0, masked, mode 0)", "ISR         : 0x64\n");
}

int main(void)
{
	walks();
	reads();
	maps();
	elfs();
	backtraces();
	registers();
	printf("1..%u\n", number);
	return !!failures;
}
