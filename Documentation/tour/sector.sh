# SPDX-License-Identifier: GPL-2.0
# A sector's way: written by the host, read by a guest; then the other way round.
disk=/tmp/sector.img
dd if=/dev/zero of=$disk bs=512 count=2048 2>/dev/null
echo "from the host" | dd of=$disk bs=512 seek=100 conv=notrunc 2>/dev/null
cp ../guest/disk.img /tmp/root.img

# What the guest does. Its /dev/vdb is the file; virtio1 in /proc/interrupts is that disk.
orders=$(cat <<'END'
irqs() { grep virtio1 /proc/interrupts | tr -s ' ' '\n' | grep -x '[0-9]*' | awk '{ n += $1 } END { print n }'; };
before=$(irqs);
echo; echo guest reads: $(dd if=/dev/vdb bs=512 skip=100 count=1 2>/dev/null | head -n 1);
echo from the guest | dd of=/dev/vdb bs=512 seek=101 conv=sync 2>/dev/null; sync;
[ $(irqs) -gt $before ] && echo its disk has sent interrupts
END
)

../pith run --kernel ../guest/vmlinuz --initrd ../guest/initrd --disk /tmp/root.img --disk $disk \
	--append "console=ttyS0 quiet pith.run=\"$(echo "$orders" | tr '\n' ' ')\"" </dev/null | tr -d '\r' | grep -E '^guest|^its'
echo "host reads: $(dd if=$disk bs=512 skip=101 count=1 2>/dev/null | head -n 1)"
