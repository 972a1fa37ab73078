#!/usr/bin/env bash
# Runs cargo-deny, which is built once if it is not there. Advisories come from a database on the Internet; where that
# cannot be reached this says so and checks the rest.
set -euo pipefail

version=0.20.2
project=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$project"

if ! cargo deny --version 2>/dev/null | grep -qF " $version"; then
    echo "tests/tools/deny.sh: building cargo-deny $version, once" >&2
    timeout 1500 cargo install --quiet --locked --version "$version" cargo-deny
fi

cargo deny --workspace check licenses bans sources

if timeout 120 cargo deny fetch db >/dev/null 2>&1; then
    cargo deny --workspace check --disable-fetch advisories
else
    echo 'The advisory database cannot be reached from here: ADVISORIES WERE NOT CHECKED.'
fi
