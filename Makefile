# Thin words for what cargo does; every variable can be set from outside.
CARGO   ?= cargo
prefix  ?= /usr/local
bindir  ?= $(prefix)/bin
INSTALL ?= install
# Where cargo puts what it builds; the same variable that cargo reads.
CARGO_TARGET_DIR ?= target

.PHONY: all build release test check run bench fuzz sim soak install setup clean

all: build

build:
	$(CARGO) build --locked

release:
	$(CARGO) build --locked --release

# The whole suite, from a fresh machine that has a Rust toolchain.
test: setup check
	$(CARGO) test --locked --no-fail-fast

# What can be said without running anything. The style of the house is a test: tests/tidy.rs.
check:
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets --locked -- -D warnings

# System packages that the tests need, installed where that is possible.
setup:
	sh tests/setup.sh

# An agent in the foreground with a job that can be watched.
run: build
	BELLWETHER="$(CARGO_TARGET_DIR)/debug/bellwether" sh packaging/examples/run.sh

bench:
	$(CARGO) bench --locked --bench '*'

fuzz sim soak:
	@echo "make $@: not available yet" >&2
	@exit 2

# DESTDIR is put before every path, for packages.
install: release
	$(INSTALL) -d "$(DESTDIR)$(bindir)"
	$(INSTALL) -m 755 "$(CARGO_TARGET_DIR)/release/bellwether" "$(DESTDIR)$(bindir)/bellwether"

clean:
	$(CARGO) clean
