# SPDX-License-Identifier: GPL-2.0
# apt with a state of its own, below $work: what apt knows of this machine stays as it is. Sourced, behind common.sh.

apt_private()
{
	apt-get -q -o Dir::Etc::SourceList="$work/own.sources" -o Dir::Etc::SourceParts=/dev/null \
		-o Dir::State="$work/state" -o Dir::State::status=/dev/null -o Dir::Cache="$work/cache" \
		-o APT::Sandbox::User=root "$@"
}

# The mirror that this release of Debian comes from, and the configuration file and line that say so.
find_mirror()
{
	. /etc/os-release
	apt-get indextargets --format '$(SITE)|$(SOURCESENTRY)|$(RELEASE)|$(CODENAME)' \
		'Component: main' 'Created-By: Packages' | grep -m 1 -E "\|$VERSION_CODENAME(\||$)"
}

# write_sources deb|deb-src SUITE...: from now on apt_private knows these, from the mirror and with the keys that this
# machine's own apt is set up with.
write_sources()
{
	local type=$1 site entry keys

	shift
	IFS='|' read -r site entry _ < <(find_mirror) || die "this machine's apt has no Debian mirror configured"
	keys=$(sed -nE '/^ *#/d; s/.*signed-by[:=] *(\/[^] ,]+).*/\1/Ip' "${entry%:*}" | head -n 1)
	mkdir -p "$work"/state/lists/partial "$work"/cache/archives/partial
	cat >"$work/own.sources" <<-END
		Types: $type
		URIs: $site
		Suites: $*
		Components: main
		${keys:+Signed-By: $keys}
	END
	apt_private update >&2 || die "cannot fetch the index of Debian $*"
}
