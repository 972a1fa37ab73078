#!/usr/bin/env bash
# Fuzzes the C interface with the module under AddressSanitizer, which sees what it does beside its
# own allocations and its stack. Wants `cargo build --release`: the service is the usual one.
# KEYWARD_FUZZ_SECONDS says how long, KEYWARD_FUZZ_SEED which round.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
target=x86_64-unknown-linux-gnu
folder=target/asan/$target/release
options=(--release --target "$target" --target-dir target/asan)

# The sanitizer is in every toolchain, and its option in none that is stable.
export RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address
cargo build -p keyward-pkcs11 "${options[@]}"
cp target/release/keyward "$folder/"
# The module finds the sanitizer in the program that loads it. Not all symbols are exported there:
# the program has the module's functions in it as well, and they would take the place of the module's.
program=$(cargo rustc "${options[@]}" --test fuzz --message-format=json-render-diagnostics -- \
    '-Clink-arg=-Wl,--export-dynamic-symbol=__asan_*' | python3 -c '
import json, sys
built = [json.loads(line).get("executable") for line in sys.stdin]
print([path for path in built if path][-1])')
exec "$program" --nocapture
