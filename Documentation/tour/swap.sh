# SPDX-License-Identifier: GPL-2.0
# A swap file of 16 MiB for the machine, by a loop device since its file system is in memory.
mkdir -p /tmp/swap
mount -t ramfs none /tmp/swap
dd if=/dev/zero of=/tmp/swap/file bs=1M count=16 2>/dev/null
losetup /dev/loop4 /tmp/swap/file
mkswap /dev/loop4 >/dev/null
swapon /dev/loop4
awk '/^SwapTotal/ { print "swap: " $2 " KiB" }' /proc/meminfo
