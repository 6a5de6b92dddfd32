# SPDX-License-Identifier: GPL-2.0
# KTAP for tests that are scripts: plan, then a line a result. Sourced, in L1's busybox shell as well.

ktap_count=0 ktap_failed=0

plan()
{
	ktap_count=0
	echo "TAP version 13"
	echo "1..$1"
}

# result STATUS NAME: ok if STATUS is 0.
result()
{
	ktap_count=$((ktap_count + 1))
	if [ "$1" -eq 0 ]; then
		echo "ok $ktap_count $2"
	else
		ktap_failed=$((ktap_failed + 1))
		echo "not ok $ktap_count $2"
	fi
}

# skip NAME WHY
skip()
{
	ktap_count=$((ktap_count + 1))
	echo "ok $ktap_count $1 # SKIP $2"
}

# check NAME COMMAND...: ok if COMMAND succeeds. With SELECT only those whose name matches that pattern; of the others there
# is no line, for a burst of them is more than the serial port of the emulated Intel machine takes.
check()
{
	check_name=$1
	shift
	case $check_name in
	${SELECT:-*}) ;;
	*) ktap_count=$((ktap_count + 1)); return ;;
	esac
	"$@"
	result $? "$check_name"
}

# end: the exit status of the test.
end()
{
	[ "$ktap_failed" -eq 0 ]
	exit
}
