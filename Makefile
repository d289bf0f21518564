# SPDX-License-Identifier: GPL-2.0
#
# kvm-exitprof: "make help" says what there is.

# The kernel's Rust is tied to one rustc: by default the distribution's, whatever
# stands before it in PATH.
RUSTC ?= /usr/bin/rustc
RUSTDOC ?= /usr/bin/rustdoc
RUSTFMT ?= /usr/bin/rustfmt
BINDGEN ?= /usr/bin/bindgen
export RUSTC RUSTDOC RUSTFMT BINDGEN

# The kernel that demo, tests and benchmarks run: 6.1, 6.12, or 7.3, which is Debian's own.
# The default is 6.1 where its tools are to be had, as on Debian 12.
kernels := $(shell RUSTC=$(RUSTC) scripts/build/kernels.sh)
KERNEL ?= $(firstword $(kernels))
export KERNEL

# The kernel to build for: one with our patches, CONFIG_RUST=y, and built.
KDIR ?= build/$(KERNEL:6.1=kernel)

kmake = scripts/build/make.sh $(KDIR) M=$(CURDIR)

help:
	@echo 'On a fresh Debian 12, with KERNEL=6.1, the default, 6.12, or 7.3, of which only KVM is built.'
	@echo 'On a fresh Debian 13, with 7.3, the default, or 6.12:'
	@echo '  make demo             build all, boot it in an emulator, and show what a guest reads'
	@echo '  make test             all tests, in the emulator and out of it'
	@echo '  make test T="smp. model."  those whose names begin so, and no more builds than they need'
	@echo
	@echo 'For a kernel of your own, Linux 6.1 or 6.12, in KDIR=:'
	@echo '  make patch            apply patches/ to its source'
	@echo '  make config           say what in its .config keeps Rust out; with FIX=1 fix it'
	@echo '  make modules          build kvm_exitprof.ko for it (default KDIR: build/kernel for 6.1)'
	@echo '  make modules_install  install that'
	@echo
	@echo 'For a host that runs Debian'"'"'s 7.3:'
	@echo '  make install-kvm KERNEL=7.3  put patched KVM beside the kernel; make uninstall-kvm undoes it'
	@echo '  make deb              Debian packages: the tool; and KVM and the module, for DKMS, which builds them'
	@echo
	@echo 'Parts of the above:'
	@echo '  make deps             install the Debian packages that are missing'
	@echo '  make kernel           get, patch, configure and build it: build/kernel, or build/KERNEL'
	@echo '  make tool             build the tool, for hosts and guests: build/exitprof'
	@echo '  make check            style and consistency of sources, series and module'
	@echo '  make bench            what an exit costs, here and with others that count exits'
	@echo '                        (with ACCEL=kvm in cycles, where the CPU has VMX or SVM)'
	@echo '  make bench-build      how long make demo takes from a clone, and again'
	@echo '  make test-debug       the tests end to end, on kernels that look for errors'
	@echo '  make soak             the tests end to end, for hours'
	@echo '  make mutate           faults that the tests must notice: tests/faults'
	@echo '  make clean            remove what was built here, but not the cache'
	@echo
	@echo 'Kernels and packages are kept in ~/.cache/kvm-exitprof (KVM_EXITPROF_CACHE), safe to delete.'
	@echo 'EMULATOR=bochs, tcg (SVM) or kvm chooses the emulator; by default kvm where nested'
	@echo 'VMX works, or else bochs; for the demo of 7.3, which Bochs takes minutes to boot, tcg.'

demo: export EMULATOR ?= any
demo:
	@echo 'Linux $(KERNEL), of those that can be built here: $(kernels)'
	@scripts/build/all.sh
	@scripts/demo.sh

test: deps
	@scripts/test.sh $(T)

deps:
	@scripts/build/deps.sh

kernel:
	@scripts/build/kernel.sh $(KERNEL:6.1=kernel)

# For a kernel other than 6.1, in a folder of its own.
ko = $(if $(filter build/kernel,$(KDIR)),kvm_exitprof.ko,$(KDIR)-module/kvm_exitprof.ko)

modules:
	@scripts/build/check-build.sh kernel "$(KDIR)"
ifneq ($(filter build/6.12 build/7.3,$(KDIR)),)
	@scripts/build/module.sh $(notdir $(KDIR))
else
	@$(kmake) --no-print-directory modules
endif

modules_install: modules
	$(kmake) modules_install

patch:
	@scripts/build/patch.sh $(KDIR)

config:
	@scripts/build/config.sh $(KDIR) $(if $(filter 1 y yes,$(FIX)),fix)

install-kvm:
	@scripts/install.sh install "$(KDIR)" $(ko)

uninstall-kvm:
	@scripts/install.sh uninstall

tool:
	@scripts/build/tool.sh

deb:
	@scripts/deb/build.sh

check: modules
	@scripts/check.sh $(KDIR)

# The kernel to measure on. Of 7.3, there is only Debian's own.
lean = $(or $(patsubst 6.12,6.12-lean,$(filter-out 6.1,$(KERNEL))),lean)

bench: deps
	@scripts/bench.sh $(lean)
ifeq ($(ACCEL)$(lean),lean)
	@scripts/bench.sh distro
	@scripts/bench-scale.sh
endif

bench-build: deps
	@scripts/bench-build.sh

test-debug: deps
	@scripts/build/kernel.sh debug
	@scripts/build/kernel.sh kcsan
	@scripts/build/kernel.sh debug-vmx
	@scripts/test.sh debug

soak: deps
	@scripts/test.sh soak

mutate: deps kernel
	@scripts/build/tool.sh e2e
	@scripts/mutate.sh

clean:
	@! [ -e $(KDIR)/.config ] || $(kmake) --no-print-directory clean
	rm -rf build src/kernel/sys/bindings.rs

.NOTPARALLEL:
.PHONY: help demo test deps kernel modules modules_install install-kvm uninstall-kvm patch config tool deb check bench bench-build test-debug soak mutate clean
