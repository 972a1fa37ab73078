# `make demo` and `make test` do all the set-up that they need, on Debian 12 with Rust and root.

.PHONY: help asan demo build release test install bench bench-short fuzz soak clean

help:
	@echo 'make demo         a Keyward service, two nodes, TLS between them in JVMs'
	@echo 'make test         installs what the tests need, and runs them all'
	@echo 'make build        target/release/keyward and target/release/libkeyward_pkcs11.so'
	@echo 'make release      the same for glibc 2.17, in target/portable/x86_64-unknown-linux-gnu/release'
	@echo 'make bench        the cost of C_Sign beside its floor; a storm of clients'
	@echo 'make fuzz         an hour of wrong calls and wrong frames, from seeds of its own'
	@echo 'make asan         ten minutes of the same under AddressSanitizer'
	@echo 'make soak         the service killed 10,000 times in the middle of writes; migrations of 2,000 objects; outages of a minute under JVMs'
	@echo 'make clean        takes away what was built and unpacked'

demo:
	tests/tools/install.sh --jdks 17 --no-languages --env tests/.cache/demo.env >/dev/null
	cargo build --release
	. tests/.cache/demo.env && demo/run --java "$$KEYWARD_JAVA17"

# Wants protoc, as `make install` brings it.
build:
	cargo build --release

release:
	tests/tools/build-release.sh --all

install:
	tests/tools/install.sh >/dev/null
	tests/tools/clients.sh >/dev/null

# All targets at once: with the features that the tests switch on in what both use, nothing is compiled twice.
test: install
	cargo build --release --workspace --all-targets
	tests/tools/build-release.sh
	tests/run

bench: build
	cargo bench --bench sign
	cargo bench --bench hsm
	cargo bench --bench storm

bench-short: build
	cargo bench --bench sign -- --short
	cargo bench --bench storm -- --short

# Each run begins with other seeds, and says which one failed: KEYWARD_FUZZ_SEED runs it again.
fuzz: export KEYWARD_FUZZ_FROM := $(shell date +%s)
fuzz: build
	KEYWARD_FUZZ_SECONDS=2400 cargo test --release --test fuzz -- --nocapture
	KEYWARD_FUZZ_SECONDS=400 cargo test --release -p keyward-wire --test fuzz -- --nocapture
	KEYWARD_FUZZ_SECONDS=400 cargo test --release -p keyward-service --test service -- --nocapture fuzz::
	KEYWARD_FUZZ_SECONDS=400 cargo test --release -p keyward-client --test fuzz -- --nocapture

asan: export KEYWARD_FUZZ_FROM := $(shell date +%s)
asan: build
	KEYWARD_FUZZ_SECONDS=600 tests/tools/asan.sh

# 10,000 times kill -9 in the middle of writes; more than two hours.
soak: install build
	KEYWARD_KILLS=10000 cargo test --release -p keyward-cli --test kill -- --nocapture
	KEYWARD_MIGRATE_OBJECTS=2000 KEYWARD_MIGRATE_KILLS=10 cargo test --release --test migrate -- --nocapture is_killed
	tests/tools/build-release.sh
	KEYWARD_JDKS='8 11 17 25' cargo test --release --test jvm_hsm -- --nocapture
	KEYWARD_OUTAGE_SECONDS=60 cargo test --release --test jvm_outage -- --nocapture --test-threads=1 all_are_away stops_no

clean:
	cargo clean
	rm -rf tests/.cache
