# `make demo` and `make test` do all the set-up that they need, on Debian 12 with Rust and root.

.PHONY: help demo build release test install bench bench-short clean

help:
	@echo 'make demo         a Keyward service, two nodes, TLS between them in JVMs'
	@echo 'make test         installs what the tests need, and runs them all'
	@echo 'make build        target/release/keyward and target/release/libkeyward_pkcs11.so'
	@echo 'make release      the same for glibc 2.17, in target/portable/x86_64-unknown-linux-gnu/release'
	@echo 'make bench        the cost of C_Sign beside its floor'
	@echo 'make clean        takes away what was built and unpacked'

demo:
	tests/tools/install.sh --jdks 17 --env tests/.cache/demo.env >/dev/null
	cargo build --release
	. tests/.cache/demo.env && demo/run --java "$$KEYWARD_JAVA17"

build:
	cargo build --release

release:
	tests/tools/build-release.sh --all

install:
	tests/tools/install.sh >/dev/null

test: install
	cargo build --release
	tests/tools/build-release.sh
	tests/run

bench: build
	cargo bench --bench sign

bench-short: build
	cargo bench --bench sign -- --short

clean:
	cargo clean
	rm -rf tests/.cache
