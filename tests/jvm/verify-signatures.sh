#!/usr/bin/env bash
# Verifies with openssl the signatures that keyward.SignThreads --out DIR left.
set -euo pipefail

usage() {
    echo "usage: tests/jvm/verify-signatures.sh DIR"
    echo "Verifies each N.ALGORITHM.sig in DIR by cert.pem there; prints how many, or fails at the first bad one."
}

die() {
    echo "tests/jvm/verify-signatures.sh: error: $*" >&2
    exit 1
}

case "${1-}" in
    -h | --help)
        usage
        exit 0
        ;;
    '')
        usage >&2
        exit 2
        ;;
esac
cd "$1"
openssl x509 -in cert.pem -noout -pubkey >public.pem || die "$1/cert.pem is no certificate"
count=0
for signature in *.sig; do
    [[ -e $signature ]] || die "there is no signature in $1"
    algorithm=${signature#*.}
    algorithm=${algorithm%.sig}
    options=()
    case $algorithm in
        RSASSA-PSS_SHA-*)
            hash=sha${algorithm##*-}
            options=(-sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest)
            ;;
        SHA*with*)
            hash=${algorithm%%with*}
            hash=${hash,,}
            ;;
        *) die "$signature is of an algorithm that this script does not know" ;;
    esac
    output=$(timeout 30 openssl dgst "-$hash" -verify public.pem ${options[@]+"${options[@]}"} \
        -signature "$signature" "${signature%.sig}.msg" 2>&1) \
        || die "openssl refuses $1/$signature: $output"
    count=$((count + 1))
done
printf 'record=verified\tcount=%d\n' "$count"
