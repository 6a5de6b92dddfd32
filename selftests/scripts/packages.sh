# SPDX-License-Identifier: GPL-2.0
# Debian packages that a script needs. Sourced.

# Debian's index files, fetched at most once a run.
apt_updated=
apt_update()
{
	[ -z "$apt_updated" ] || return 0
	apt_updated=yes
	echo "fetching the package lists" >&2
	apt-get -q update >&2
}

apt_install()
{
	DEBIAN_FRONTEND=noninteractive apt-get -qy -o Dpkg::Use-Pty=0 install --no-install-recommends "$@" >&2
}

# need_packages PACKAGE...: installs what is missing of them. It takes root to do so.
need_packages()
{
	local package missing=()

	for package; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	[ "$(id -u)" = 0 ] || { echo "not root, and these packages are missing: ${missing[*]}" >&2; return 1; }
	echo "installing ${missing[*]}" >&2
	apt_update && apt_install "${missing[@]}"
}
