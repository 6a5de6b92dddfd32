# SPDX-License-Identifier: GPL-2.0
# doorbell.sh RUNNER: boots a guest with that runner, which gets the program "ring" on a disk of its own and runs it.
cp ../guest/disk.img /tmp/root.img
dd if=ring of=/tmp/ring.img bs=4096 conv=sync 2>/dev/null
order="cat /dev/vdb >/tmp/ring; chmod +x /tmp/ring; /tmp/ring"
"$1" run --kernel ../guest/vmlinuz --initrd ../guest/initrd --disk /tmp/root.img --disk /tmp/ring.img \
	--append "console=ttyS0 quiet pith.run=\"$order\"" </dev/null | tr -d '\r' | grep '^rung'
