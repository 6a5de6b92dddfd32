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

clean:
	$(if $(KDIR),$(Q)$(MAKE) -C $(KDIR) M=$(CURDIR) clean)
	$(Q)$(MAKE) -C userspace clean

.PHONY: all module userspace clean
