# SPDX-License-Identifier: GPL-2.0
# Debian's kernel on several vCPUs: each has its timer and gets IPIs, and all but the first can be switched off and on
# again. Sourced, behind ktap.sh, by a test that has these functions:
#	boot CPUS LABEL		a guest that runs $in_guest, with what it says in $log, until it has powered off
#	saw TEXT		is that in $log?

# The guest's commands. It tells its numbers of CPUs as it goes, and at last the interrupts that each has had.
in_guest='cd /sys/devices/system/cpu; echo; echo all $(nproc);
for c in cpu[1-9]*; do echo 0 > $c/online; done; echo one $(nproc);
for c in cpu[1-9]*; do echo 1 > $c/online; done; echo again $(nproc);
grep -E LOC\|RES\|CAL /proc/interrupts'
in_guest=$(echo $in_guest)
results_of_cpus=6

# each CPUS ROW...: every CPU has had interrupts of one of these kinds at least.
each()
{
	each_cpus=$1
	shift
	each_rows=$(echo "$@" | tr ' ' '|')
	grep -E "^ *($each_rows):" $log | sed 's/^/# /'
	awk -v cpus="$each_cpus" -v rows="^ *($each_rows):" '
		$0 ~ rows { for (i = 1; i <= cpus; i++) sum[i] += $(i + 1); seen = 1 }
		END { for (i = 1; i <= cpus; i++) if (sum[i] + 0 == 0) exit 1; exit !seen }' $log
}

# test_cpus CPUS LABEL: a boot, and $results_of_cpus results of it.
test_cpus()
{
	check "$2: the guest comes up and powers off" boot "$@"
	check "$2: it has them all" saw "^all $1$"
	check "$2: all but one go offline" saw '^one 1$'
	check "$2: and come back" saw "^again $1$"
	check "$2: each has timer interrupts" each "$1" LOC
	if [ "$1" -gt 1 ]; then
		check "$2: each gets IPIs" each "$1" RES CAL
	else
		skip "$2: each gets IPIs" "there is nobody to send any"
	fi
}
