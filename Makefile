# SPDX-License-Identifier: GPL-2.0
# pith. `make` builds the module and the runner, `make help` tells the rest.

PITH_VERSION := 0.1
export PITH_VERSION

# The kernel to build for: by default the newest installed header package of Debian's cloud kernel, else of any kernel;
# the running kernel need not have headers here at all.
headers = $(lastword $(shell ls -d $(1) 2>/dev/null | sort -V))
KDIR ?= $(or $(call headers,/usr/src/linux-headers-*-cloud-amd64),$(call headers,/lib/modules/*/build))

V ?= 0
Q := $(if $(filter 1,$(V)),,@)

all: module userspace

module:
	$(if $(KDIR),,$(error no kernel headers found: apt-get install linux-headers-cloud-amd64, or name them by KDIR=))
	$(Q)$(MAKE) -C $(KDIR) M=$(CURDIR) W=1 PITH_VERSION=$(PITH_VERSION) modules

userspace:
	$(Q)$(MAKE) -C userspace

# Everything below runs in the lab: emulated machines, so that no VT-x or AMD-V is needed here. ON=host uses the host's.
VENDOR ?=
CPU ?=
KERNEL ?=
QEMU ?=
export VENDOR CPU KERNEL QEMU

prepare:
	$(Q)selftests/lab/prepare $(or $(VENDOR),$(if $(filter demo,$(MAKECMDGOALS))$(filter debug,$(KERNEL)),amd,both))

test:
	$(Q)selftests/run $(TESTS)

# The fuzzers of `make test`, for longer: so many steps of each, random from the clock on, or from SEED.
fuzzers := irq_fuzz insn_fuzz insn_execute_fuzz
COUNT ?= 10000000
SEED ?= $(shell date +%s)
fuzz:
	$(Q)$(MAKE) -s -C selftests/unit O=$(CURDIR)/build/tests/unit $(fuzzers:%=$(CURDIR)/build/tests/unit/%)
	$(Q)for fuzzer in $(fuzzers); do build/tests/unit/$$fuzzer $(COUNT) $(SEED) || exit 1; done

demo: prepare
	$(Q)$(MAKE) -s all
	$(Q)selftests/demo

conformance:
	$(Q)$(MAKE) -s module
	$(Q)selftests/conformance $(TESTS)

qemu:
	$(Q)LONG=1 selftests/run selftests/scripts/qemu_test

tour:
	$(Q)selftests/tour

bench: prepare
	$(Q)$(MAKE) -s all
	$(Q)selftests/bench

qemubench: prepare
	$(Q)$(MAKE) -s module
	$(Q)selftests/qemubench

irqbench membench: prepare
	$(Q)$(MAKE) -s module
	$(Q)selftests/irqbench $@

docs:
	$(Q)selftests/docs

check:
	$(Q)selftests/check

clean:
	$(if $(KDIR),$(Q)$(MAKE) -C $(KDIR) M=$(CURDIR) clean)
	$(Q)$(MAKE) -C userspace clean
	$(Q)rm -rf build

help:
	@echo 'make          module/pith.ko and userspace/pith (KDIR= chooses the kernel)'
	@echo 'make demo     a guest boots from its disk, in the lab (VENDOR=amd|intel, CPU=model)'
	@echo 'make test     everything that shows that pith works (VENDOR=amd|intel, TESTS="program...", KERNEL=debug)'
	@echo 'make fuzz     the fuzzers, for longer (COUNT=steps, SEED=number)'
	@echo 'make bench    exits, and boots of the same guest, on pith and on stock KVM, side by side'
	@echo 'make irqbench what interrupts cost on pith and on stock KVM, in instructions'
	@echo 'make membench what guest memory costs on both'
	@echo 'make conformance  KVM'"'"'s own selftests on pith and on stock KVM; writes Documentation/conformance.md'
	@echo 'make qemu     stock QEMU on pith: machines, disks, networks, firmware, debugger, snapshots, migration (QEMU=10.0)'
	@echo 'make qemubench  stock QEMU boots a guest in each of its machines, on pith and on stock KVM, side by side'
	@echo 'make tour     the experiments of Documentation/tour (VENDOR=amd|intel, CPU=model)'
	@echo 'make docs     Documentation/ as HTML, in build/docs'
	@echo 'make check    style and static analysis'

.PHONY: all module userspace prepare test fuzz demo qemu tour bench qemubench irqbench membench conformance docs check clean help
