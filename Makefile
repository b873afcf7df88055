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

bench: all
	@bench/compare.py --build $(BUILD)

install: all
	@meson configure $(BUILD) -Dprefix=$(PREFIX)
	DESTDIR=$(DESTDIR) meson install -C $(BUILD)

format:
	@tools/check-format.sh --fix

format-check:
	@tools/check-format.sh

clean:
	rm -rf $(BUILD) build-check

help:
	@echo 'make                build build/uzswap and the libraries'
	@echo 'make deps           install what is missing (Debian 12)'
	@echo 'make demo           a program with a working set of four times its budget, on real input'
	@echo 'make check          every build, every test'
	@echo 'make bench          uzswap against the zswap of the kernel (as root)'
	@echo 'make install        to $$(DESTDIR)$$(PREFIX), by default /usr/local'
	@echo 'make format         format the sources; make format-check only looks'
	@echo 'make clean          remove what was built'

.PHONY: all build-tools deps demo check bench install format format-check clean help
