#!/usr/bin/env bash
# Builds the module, and the command if asked, for machines with an old glibc.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
project=$(cd "$here/../.." && pwd)

# RHEL 7 has this one; RHEL 8 has 2.28.
glibc=2.17
# What was tried together.
zigbuild=0.24.0
zig=0.17.1

usage() {
    cat <<TEXT
usage: tests/tools/build-release.sh [--all]

Builds libkeyward_pkcs11.so, and with --all the command keyward too, against glibc $glibc, checks the
symbols that they need, and prints the folder that holds them: portable/x86_64-unknown-linux-gnu/release
in Cargo's target folder. The linker is that of Zig, which brings the old glibc's symbols along;
it and cargo-zigbuild are Python packages and are put into tests/.cache/zig the first time.
TEXT
}

die() {
    echo "tests/tools/build-release.sh: error: $*" >&2
    exit 1
}

packages=(-p keyward-pkcs11)
files=(libkeyward_pkcs11.so)
case "${1-}" in
    '') ;;
    --all)
        packages+=(-p keyward-cli)
        files+=(keyward)
        ;;
    -h | --help)
        usage
        exit 0
        ;;
    *) die "unknown argument '$1'; see --help" ;;
esac

machine=$(uname -m)
target=$machine-unknown-linux-gnu
folder=${CARGO_TARGET_DIR:-$project/target}/portable
tools=$project/tests/.cache/zig

if [[ ! -f $tools/.versions || $(<"$tools/.versions") != "$zigbuild $zig" ]]; then
    echo "tests/tools/build-release.sh: installing cargo-zigbuild and Zig into $tools, once" >&2
    rm -rf "$tools"
    python3 -m venv "$tools" || die "python3 -m venv failed; on Debian install python3-venv"
    timeout 600 "$tools/bin/pip" install --quiet "cargo-zigbuild==$zigbuild" "ziglang==$zig" \
        || die "the Python packages cargo-zigbuild and ziglang cannot be had; pip's message is above"
    echo "$zigbuild $zig" >"$tools/.versions"
fi

cd "$project"
PATH=$tools/bin:$PATH cargo zigbuild --quiet --locked --release --target "$target.$glibc" \
    --target-dir "$folder" "${packages[@]}" >&2
for file in "${files[@]}"; do
    "$here/check-glibc.sh" --most "$glibc" "$folder/$target/release/$file" >&2
done
echo "$folder/$target/release"
