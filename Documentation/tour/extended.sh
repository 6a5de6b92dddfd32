# SPDX-License-Identifier: GPL-2.0
# extended.sh COMMAND: runs it with the module that has the patches of this chapter in it, then loads the one without.
rmmod pith && insmod ../extended/pith.ko && "$@"
rmmod pith && insmod ../pith.ko
