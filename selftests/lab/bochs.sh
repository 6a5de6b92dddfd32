# SPDX-License-Identifier: GPL-2.0
# The Intel machine: Bochs, which boots a GRUB CD. Sourced by boot.

# CPU models by a short name, and what L1 must be told about them.
check_bochs()
{
	[ -x "$cache/bochs/bochs" ] || die "no Bochs; run selftests/lab/prepare intel first"
	case ${cpu:=haswell} in
	haswell) model=corei7_haswell_4770 ;;
	# CPUID claims another TSC frequency than it has; REP MOVSB, once patched in, hangs L1; RSM panics in 5-level paging.
	arrow_lake | sapphire_rapids | tigerlake)
		model=$cpu parameters="tsc_early_khz=100000 clearcpuid=fsrm,erms no5lvl $parameters"
		;;
	*) model=$cpu ;;
	esac
}

# A CD that holds the kernel, the initramfs and a GRUB that knows nothing but to boot them.
build_cd()
{
	mkdir "$tmp/cd"
	cp "$kernel" "$tmp/cd/kernel"
	mv "$tmp/initrd" "$tmp/cd/initrd"
	cat >"$tmp/grub.cfg" <<-END
		linux (cd)/kernel $parameters
		initrd (cd)/initrd
		boot
	END
	grub-mkimage -O i386-pc-eltorito -o "$tmp/cd/grub" -p / -c "$tmp/grub.cfg" biosdisk iso9660 linux
	rm -f "$tmp/cd.iso"
	xorriso -outdev "$tmp/cd.iso" -map "$tmp/cd" / -boot_image grub bin_path=/grub
	rm -rf "$tmp/cd"
}

# An idle CPU skips to its next timer, so L1's time runs ahead of ours; not where a person types (sync=slowdown).
write_bochsrc()
{
	local console="mode=file, dev=$tmp/console" clock=none errors=ignore host=$mem

	[ -z "$interactive" ] || console="mode=term, dev=$(tty)" clock=slowdown
	[ -z "$emulator_log" ] || errors=report
	# It takes no more of ours; what L1 uses beyond goes into a file.
	[ "$mem" -le 2048 ] || host=2048
	cat >"$tmp/bochsrc" <<-END
		display_library: nogui
		config_interface: textconfig
		cpu: model=$model, count=$smp, ips=100000000, reset_on_triple_fault=0, ignore_bad_msrs=1
		memory: guest=$mem, host=$host
		romimage: file=/usr/share/bochs/BIOS-bochs-latest, options=fastboot
		vgaromimage: file=/usr/share/vgabios/vgabios.bin
		pci: enabled=1, chipset=i440fx
		ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
		ata0-master: type=cdrom, path=$tmp/cd.iso, status=inserted
		boot: cdrom
		clock: sync=$clock
		com1: enabled=1, $console
		com2: enabled=1, mode=file, dev=$tmp/control
		log: $bochs_log
		panic: action=fatal
		error: action=$errors
		info: action=ignore
		debug: action=ignore
	END
}

start_bochs()
{
	build_cd >"$tmp/cd.log" 2>&1 || die "cannot make a boot CD: $(tail -n 1 "$tmp/cd.log")"
	bochs_log=${emulator_log:-$tmp/emulator}
	write_bochsrc
	setpriv --pdeathsig KILL "$cache/bochs/bochs" -q -f "$tmp/bochsrc" \
		</dev/null >"$tmp/bochs.out" 2>&1 3>&- 4>&- &
	emulator=$!
}

# A reset of L1 is a panic to Bochs.
was_reset_bochs()
{
	grep -q '3rd ([0-9]*) exception with no resolution' "$bochs_log"
}

last_words_bochs()
{
	grep -aohm 1 '>>PANIC<<.*' "$bochs_log" "$tmp/bochs.out" || tail -n 1 "$tmp/bochs.out"
}

# Bochs cannot be asked without its debugger.
where_bochs()
{
	:
}
