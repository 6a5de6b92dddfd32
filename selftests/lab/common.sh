# SPDX-License-Identifier: GPL-2.0
# What the lab's programs share. Sourced, never run.

set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

lab_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${PITH_LAB:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/pith-lab}

# The exit codes that are the lab's own; every other one is the command's.
readonly exit_timeout=124 exit_lab=125 exit_hang=126

say()
{
	echo "lab: $*" >&2
}

die()
{
	say "$*"
	exit "$exit_lab"
}

# usage FILE: the comment that heads FILE, as help.
usage()
{
	sed -n '3,/^$/s/^# \{0,1\}//p' "$1"
}

# pack: the tree below the current directory as an initramfs archive.
pack()
{
	find . -mindepth 1 -print0 | sort -z | cpio --null --create --format=newc --owner=0:0 --reproducible --quiet
}

# module_files ROOT RELEASE NAME: the files to load for module NAME of the kernel below ROOT, in order.
module_files()
{
	modprobe -d "$1" -S "$2" -C /dev/null --show-depends "$3" | sed -n 's/^insmod \(\S*\).*/\1/p'
}

# libraries PROGRAM ROOT [PATH]: the shared objects that it is linked with, where its interpreter looks for them. They are
# looked for in PATH before they are in this machine's own directories.
libraries()
{
	local file

	mkdir -p "$2"/lib64 "$2/lib/x86_64-linux-gnu"
	cp -L /lib64/ld-linux-x86-64.so.2 "$2/lib64/"
	LD_LIBRARY_PATH=${3:-} ldd "$1" | sed -n 's/.* => \(\/\S*\).*/\1/p' | while read -r file; do
		cp -L "$file" "$2/lib/x86_64-linux-gnu/"
	done
}

# packaged PACKAGE TREE: Debian's package and what it needs, unpacked below TREE. They are fetched as if nothing were installed,
# so that nothing has to be. But for the C library, which must be that of the interpreter.
packaged()
{
	local archives=$2.packages file

	mkdir -p "$archives/partial" "$2"
	apt-get -qqy --no-install-recommends --download-only -o Dir::State::status=/dev/null -o Debug::NoLocking=1 \
		-o Dir::Cache::archives="$archives" -o APT::Sandbox::User=root install "$1" >&2 ||
		die "cannot download $1 (apt-get update?)"
	rm "$archives"/libc6_*.deb
	for file in "$archives"/*.deb; do
		dpkg-deb --extract "$file" "$2"
	done
	rm -r "$archives"
}

# packaged_program TREE PROGRAM ROOT: PROGRAM of TREE/usr/bin with its shared objects, to be added at L1's /.
packaged_program()
{
	mkdir -p "$3/usr/bin"
	cp -L "$1/usr/bin/$2" "$3/usr/bin/"
	libraries "$3/usr/bin/$2" "$3" "$1/usr/lib/x86_64-linux-gnu:$1/lib/x86_64-linux-gnu"
}
