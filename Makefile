# SPDX-License-Identifier: MIT
# The thin face of the build: meson and ninja do the work. `make help` lists the targets.
BUILD ?= build
PREFIX ?= /usr/local
DESTDIR ?=

all: build-tools
	@[ -f $(BUILD)/build.ninja ] || meson setup $(BUILD) --prefix $(PREFIX)
	@ninja -C $(BUILD)

build-tools:
	@tools/install-deps.sh --build-tools

deps:
	@tools/install-deps.sh

demo: deps
	@$(MAKE) --no-print-directory all
	@demo/run.py --build $(BUILD)

check: deps
	@$(MAKE) --no-print-directory all
	@tools/check.py

verify: deps
	@[ -f build-verify/build.ninja ] || CC=gcc meson setup build-verify --buildtype release
	@ninja -C build-verify tests/verify/explore-lifecycles tests/verify/explore-narrow tests/verify/explore-whole
	@tests/verify/check.py --all --build build-verify/tests/verify

check-programs: deps
	@$(MAKE) --no-print-directory all
	@tests/programs/check.py --build $(BUILD)

bench-deps:
	@tools/install-deps.sh bench bench-large

bench:
	@tools/install-deps.sh bench
	@$(MAKE) --no-print-directory all
	@bench/lifecycle.py --build $(BUILD)
	@$(BUILD)/bench/bench-scale
	@bench/density.py --build $(BUILD)
	@bench/store_load.py --build $(BUILD)
	@bench/mappings.py --build $(BUILD)
	@bench/compare.py --build $(BUILD)
	@bench/bgsave.py --build $(BUILD)
	@bench/programs.py --build $(BUILD)

install: all
	@meson configure $(BUILD) -Dprefix=$(PREFIX)
	DESTDIR=$(DESTDIR) meson install -C $(BUILD)

format:
	@tools/check-format.sh --fix

format-check:
	@tools/check-format.sh

clean:
	rm -rf $(BUILD) build-check build-verify

help:
	@echo 'make                build build/uzswap and the libraries'
	@echo 'make deps           install what is missing (Debian 12)'
	@echo 'make demo           a program with a working set of four times its budget, on real input'
	@echo 'make check          every build, every test'
	@echo 'make check-programs programs that nobody here wrote pass their own tests in a fraction of their memory (an hour;'
	@echo '                    installs more packages; tests/programs/check.py --help)'
	@echo 'make verify         the entry lifecycle: every interleaving, the model, memory orders, planted faults'
	@echo 'make bench          lifecycles side by side; store and load over the codec; the index at 64 M pages (3 GiB); pools on real'
	@echo '                    memory; calls that change mappings; uzswap against the zswap of the kernel (as root); Redis saving'
	@echo '                    itself under load'
	@echo 'make bench-deps     install what make bench uses if it is there: Java and Chromium'
	@echo 'make install        to $$(DESTDIR)$$(PREFIX), by default /usr/local'
	@echo 'make format         format the sources; make format-check only looks'
	@echo 'make clean          remove what was built'

.PHONY: all build-tools deps demo check check-programs verify bench bench-deps install format format-check clean help
