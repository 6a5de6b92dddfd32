# SPDX-License-Identifier: GPL-2.0
# The AMD machine: QEMU without KVM. Sourced by boot.

check_qemu()
{
	[ -x "$cache/qemu-l0/qemu" ] || die "no QEMU; run selftests/lab/prepare amd first"
	: "${cpu:=max}"
}

# -nodefaults instead of -nographic, which plays with the terminal.
start_qemu()
{
	local console="file,id=console,path=$tmp/console" more=()

	[ -z "$interactive" ] || console=stdio,id=console,signal=off${log:+,logfile=$log}
	[ -z "$icount" ] || more+=(-icount "shift=0,sleep=off") tcg=single
	[ -z "$emulator_log" ] || more+=(-d guest_errors,cpu_reset -D "$emulator_log")
	mkfifo "$tmp/monitor.in" "$tmp/monitor.out"
	setpriv --pdeathsig KILL "$cache/qemu-l0/qemu" -L /usr/share/qemu -L /usr/share/seabios \
		-nodefaults -no-user-config -display none -no-reboot \
		-accel "tcg,thread=$tcg" -cpu "$cpu" -smp "$smp" -m "$mem" "${more[@]}" \
		-chardev "$console" -serial chardev:console \
		-chardev "file,id=control,path=$tmp/control" -serial chardev:control \
		-chardev "pipe,id=monitor,path=$tmp/monitor" -mon monitor \
		-kernel "$kernel" -initrd "$tmp/initrd" -append "$parameters" \
		<&5 >&6 2>"$tmp/emulator" 3>&- 4>&- &
	emulator=$!
}

# -no-reboot makes a reset of L1 the end of QEMU.
was_reset_qemu()
{
	[ "$1" = 0 ]
}

# The first complaint; after a fatal one come all registers.
last_words_qemu()
{
	grep -avm 1 'warning:' "$tmp/emulator" || true
}

# Where the CPUs of a hung QEMU are: that tells its own fault from one of L1.
where_qemu()
{
	echo 'info registers -a' >"$tmp/monitor.in"
	timeout 3 cat <>"$tmp/monitor.out" | grep -o 'RIP=[0-9a-f]*' | tr '\n' ' ' || true
}
