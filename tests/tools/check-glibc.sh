#!/usr/bin/env bash
# Fails when a program or library needs a newer glibc than it should, and names the symbols.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: tests/tools/check-glibc.sh [--most VERSION] FILE...

Fails, with the symbols' names, if a FILE needs a symbol of a glibc newer than VERSION (2.17), or any
library that is not part of glibc or of GCC's runtime.
TEXT
}

die() {
    echo "tests/tools/check-glibc.sh: error: $*" >&2
    exit 1
}

most=2.17
while [[ $# -gt 0 ]]; do
    case $1 in
        --most)
            [[ $# -ge 2 ]] || die "--most wants a version; see --help"
            most=$2
            shift 2
            ;;
        -h | --help)
            usage
            exit 0
            ;;
        -*) die "unknown option '$1'; see --help" ;;
        *) break ;;
    esac
done
[[ $# -gt 0 ]] || die "name a file; see --help"
command -v readelf objdump >/dev/null || die "there is no readelf; install binutils"

newer() {
    [[ $1 != "$2" && $(printf '%s\n' "$1" "$2" | sort -V | tail -n 1) == "$1" ]]
}

bad=0
for file in "$@"; do
    [[ -f $file ]] || die "there is no $file"
    symbols=$(objdump -T "$file") || die "$file is no ELF file with dynamic symbols"
    highest=0
    # "0000000000000000      DF *UND*  0000000000000000 (GLIBC_2.34) __libc_start_main", with or without brackets.
    while read -r version symbol; do
        ! newer "$version" "$highest" || highest=$version
        if newer "$version" "$most"; then
            echo "tests/tools/check-glibc.sh: $file: $symbol needs GLIBC_$version" >&2
            bad=1
        fi
    done < <(sed -nE '/\*UND\*/s/.*[ (]GLIBC_([0-9.]+)\)?[ ]+([^ ]+)$/\1 \2/p' <<<"$symbols")
    while read -r library; do
        case $library in
            libc.so.* | libm.so.* | libdl.so.* | libpthread.so.* | librt.so.* | ld-linux*.so.* | libgcc_s.so.1) ;;
            *)
                echo "tests/tools/check-glibc.sh: $file needs the library $library" >&2
                bad=1
                ;;
        esac
    done < <(readelf -d "$file" | sed -nE 's/.*\(NEEDED\).*\[(.*)\].*/\1/p')
    [[ $bad -ne 0 ]] || echo "$file: no symbol above GLIBC_$highest"
done
exit "$bad"
