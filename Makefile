# Every target installs what it needs first (Debian packages, only when something is missing); the Rust
# toolchain and make have to be there. CARGO_TARGET_DIR is respected.
.PHONY: help build demo test test-vm validation bench profile order deny clean

help: ## What can be done here
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 16

build: ## The release binaries: runtime and shim
	@scripts/install-deps build
	@scripts/build

demo: ## A container from nothing, and one of an image: made, looked at, ended, with each command shown
	@scripts/install-deps build demo
	@scripts/build
	@scripts/demo

test: ## Formatting, lints, licences, unit and integration tests, here and in virtual machines
	@scripts/install-deps build test registry services firewalls engines tools vm validation
	@scripts/test

test-vm: ## Tests of limits in a virtual machine; T=NAME for some, KERNEL=6.1|6.12|newest|5.10|generic|matrix
	@scripts/install-deps build vm
	@scripts/test-vm

validation: ## The OCI's own validation programs against this runtime, runc and crun, side by side
	@scripts/install-deps build validation
	@cargo build --locked --package runtime
	@scripts/validation

bench: ## This runtime beside crun, runc and the kernel's own floor; writes docs/benchmarks.md
	@scripts/install-deps build bench registry engines vm
	@scripts/build
	@scripts/bench

profile: ## Where the time of one `run` goes: calls of the runtime, steps of the floor
	@scripts/install-deps build profile
	@scripts/build
	@scripts/where-the-time-goes

order: ## The order of the functions in the release binary, from what a container's birth runs
	@scripts/install-deps build profile
	@scripts/order-functions

deny: ## Licences, sources and duplicates of every dependency
	@scripts/install-deps build
	@scripts/deny

clean: ## Everything that was built
	cargo clean
