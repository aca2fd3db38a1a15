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

# Longer hunts than `make test` has time for. How long each may take, in seconds, and how far.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?= cron_parse cron_next job_read http_bytes journal_open seal_open gossip_decode \
                 wire_decode
SEEDS        ?= 100000

# Every clock change of every zone against the oracle; each target from many seeds; and, where
# cargo-fuzz is installed, guided by coverage. Its sanitizers ask for a nightly compiler, or for a
# stable one that is told to be one.
fuzz:
	CRON_ORACLE_ALL=1 $(CARGO) test --locked --release --test cron_oracle -- --nocapture
	BELLWETHER_FUZZ_SEEDS=$(SEEDS) $(CARGO) test --locked --release --test fuzz
	@if $(CARGO) fuzz --version >/dev/null 2>&1; then set -e; for target in $(FUZZ_TARGETS); do \
		mkdir -p fuzz/corpus/$$target; \
		RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run $$target fuzz/corpus/$$target \
			tests/testdata/fuzz/$$target -- -max_total_time=$(FUZZ_SECONDS); \
	done; else echo "for fuzzing guided by coverage: cargo install cargo-fuzz" >&2; fi

# Simulated worlds with faults at any step: servers that elect and replicate, whole clusters, one
# node, and the gossip of many. SEEDS worlds of each, but GOSSIPS of the gossip; FAILOVERS failovers
# measured, and 100 deaths and an hour of peace among 1,000 nodes for each rate of loss. SIM_SEED=n,
# CLUSTER_SEED=n, NODE_SEED=n and GOSSIP_SEED=n replay one.
FAILOVERS    ?= 10000
GOSSIPS      ?= 300
sim:
	SIM_SEEDS=$(SEEDS) SIM_FAILOVERS=$(FAILOVERS) SIM_HOURS=1 SIM_GATE=15 \
		$(CARGO) test --locked --release --lib cluster::tests -- --nocapture
	CLUSTER_SEEDS=$(SEEDS) $(CARGO) test --locked --release --lib node::tests::cluster
	NODE_SEEDS=$(SEEDS) $(CARGO) test --locked --release --lib node::tests::a_node
	GOSSIP_SEEDS=$(GOSSIPS) $(CARGO) test --locked --release --lib gossip::tests::worlds
	GOSSIP_NODES=1000 GOSSIP_SEEDS=4 GOSSIP_MINUTES=60 \
		$(CARGO) test --locked --release --lib gossip::tests::measure -- --nocapture

soak:
	@echo "make $@: not available yet" >&2
	@exit 2

# DESTDIR is put before every path, for packages.
install: release
	$(INSTALL) -d "$(DESTDIR)$(bindir)"
	$(INSTALL) -m 755 "$(CARGO_TARGET_DIR)/release/bellwether" "$(DESTDIR)$(bindir)/bellwether"

clean:
	$(CARGO) clean
