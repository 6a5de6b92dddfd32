# SPDX-License-Identifier: GPL-2.0
# Stock QEMU with a guest, in L1. Sourced, behind ktap.sh.

log=/tmp/qemu.log
common="-accel kvm -cpu host -m 192 -display none -no-reboot -nodefaults"
kernel="-kernel guest/vmlinuz -initrd /tmp/initrd"
virtio="-drive file=/tmp/disk.img,if=virtio,format=raw"
ide="-drive file=/tmp/disk.img,if=ide,format=raw"
parameters="console=ttyS0 quiet"

# qemu SECONDS OPTION...: runs it, with the guest's console in $log.
qemu()
{
	qemu_limit=$1
	shift
	cp guest/disk.img /tmp/disk.img
	: >$log
	time -o /tmp/time -f '%U user, %S system' timeout -s KILL "$qemu_limit" qemu-system-x86_64 $common \
		-serial file:$log "$@" </dev/null >/tmp/qemu.err 2>&1
	echo "# $(tail -n 1 /tmp/time)"
}

explain()
{
	grep -v warning: /tmp/qemu.err | sed 's/^/# /' | tail -n 5
	tr -d '\r' <$log | sed 's/^/# /' | tail -n 20
	return 1
}

# check_off NAME COMMAND...: a test with kernel-irqchip=off. QEMU 10 refuses that itself, whatever KVM can do.
check_off()
{
	case $(qemu-system-x86_64 --version) in
	*"version 7."*) check "$@" ;;
	*) skip "$1" "this QEMU: KVM does not support userspace APIC" ;;
	esac
}

# saw TEXT...: the guest has printed all these.
saw()
{
	for saw_text; do
		grep -q -- "$saw_text" $log || { echo "# not seen: $saw_text"; explain; return; }
	done
}

mkdir -p /var/tmp # where QEMU keeps what is written to a snapshot
[ -e /dev/kvm ] || ln -s pith /dev/kvm
cat guest/initrd qemu/drivers >/tmp/initrd
