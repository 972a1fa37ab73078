#!/usr/bin/env bash
# Makes a SoftHSM token in a folder of its own, for tests and for trying a migration.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: ./softhsm-setup.sh [OPTION...]

Makes a SoftHSM token in a folder of its own and prints, for `eval`, the variables that lead to it:
    eval "$(./softhsm-setup.sh --dir /tmp/hsm)"
A token that an earlier run made there with that label and these PINs is used again. No root is needed
once SoftHSM is installed.

  --dir DIR        the folder for configuration and tokens (target/softhsm of the project)
  --label LABEL    the token's label (keyward-test)
  --pin PIN        the user PIN (1234)
  --so-pin PIN     the security officer's PIN (12345678)
  --install        install SoftHSM with apt-get first if it is not there (as root)
  --help           show this text
TEXT
}

die() {
    echo "softhsm-setup.sh: error: $*" >&2
    exit 1
}

install_softhsm() {
    [[ $(id -u) -eq 0 ]] || die "--install needs root; run it as root once, then without --install"
    command -v apt-get >/dev/null || die "--install needs apt-get; install the package softhsm2 by your system's means"
    local option=(-qq -o DPkg::Lock::Timeout=120)
    export DEBIAN_FRONTEND=noninteractive
    timeout 300 apt-get "${option[@]}" update >&2 || die "apt-get update failed; its message is above"
    timeout 600 apt-get "${option[@]}" install -y --no-install-recommends softhsm2 >&2 \
        || die "apt-get could not install softhsm2; its message is above"
}

find_module() {
    local path
    for path in \
        "${SOFTHSM2_MODULE-}" \
        /usr/lib/softhsm/libsofthsm2.so \
        "/usr/lib/$(uname -m)-linux-gnu/softhsm/libsofthsm2.so" \
        /usr/lib64/pkcs11/libsofthsm2.so \
        /usr/lib64/softhsm/libsofthsm2.so \
        /usr/local/lib/softhsm/libsofthsm2.so; do
        if [[ -n $path && -f $path ]]; then
            echo "$path"
            return
        fi
    done
    die "libsofthsm2.so was not found; set SOFTHSM2_MODULE to its path"
}

# Prints "SLOT SERIAL" of the initialised token with the label, nothing without one.
find_token() {
    softhsm2-util --show-slots | awk -v wanted="$1" '
        /^Slot / { slot = $2 }
        /Serial number:/ { serial = $3 }
        /User PIN init.:/ { pin = $4 }
        /Label:/ {
            sub(/^ *Label: */, ""); sub(/ *$/, "")
            # Reads on to the end: the listing program must not write to a closed pipe.
            if ($0 == wanted && pin == "yes" && !found++) { print slot, serial }
        }'
}

dir='' label=keyward-test pin=1234 so_pin=12345678 install=no
while [[ $# -gt 0 ]]; do
    case $1 in
        --dir | --label | --pin | --so-pin)
            [[ $# -ge 2 && -n $2 ]] || die "$1 wants a value; see --help"
            case $1 in
                --dir) dir=$2 ;;
                --label) label=$2 ;;
                --pin) pin=$2 ;;
                --so-pin) so_pin=$2 ;;
            esac
            shift 2
            ;;
        --install)
            install=yes
            shift
            ;;
        -h | --help)
            usage
            exit 0
            ;;
        *) die "unknown argument '$1'; see --help" ;;
    esac
done
[[ ${#label} -le 32 ]] || die "the label is ${#label} characters long; a token's label has at most 32"
for value in "$pin" "$so_pin"; do
    [[ ${#value} -ge 4 ]] || die "SoftHSM wants PINs of at least 4 characters"
done

if ! command -v softhsm2-util >/dev/null; then
    [[ $install == yes ]] || die "softhsm2-util was not found; install the package softhsm2, or run this with --install as root"
    install_softhsm
fi
module=$(find_module)

dir=${dir:-$(dirname "${BASH_SOURCE[0]}")/target/softhsm}
mkdir -p "$dir/tokens" || die "the folder $dir/tokens cannot be made"
chmod 700 "$dir" "$dir/tokens"
dir=$(cd "$dir" && pwd)

export SOFTHSM2_CONF=$dir/softhsm2.conf
cat >"$SOFTHSM2_CONF" <<TEXT
directories.tokendir = $dir/tokens
objectstore.backend = file
log.level = ERROR
TEXT

token=$(find_token "$label")
if [[ -z $token ]]; then
    timeout 60 softhsm2-util --init-token --free --label "$label" --pin "$pin" --so-pin "$so_pin" >&2 \
        || die "the token '$label' could not be made in $dir; the message is above"
    token=$(find_token "$label")
    [[ -n $token ]] || die "the token '$label' was made, but SoftHSM does not list it; remove $dir and run this again"
fi
slot=${token% *} serial=${token#* }

variables=$(
    printf 'export SOFTHSM2_CONF=%q\n' "$SOFTHSM2_CONF"
    printf 'export SOFTHSM2_MODULE=%q\n' "$module"
    printf 'export SOFTHSM2_TOKEN_LABEL=%q\n' "$label"
    printf 'export SOFTHSM2_TOKEN_SERIAL=%q\n' "$serial"
    printf 'export SOFTHSM2_SLOT=%q\n' "$slot"
    printf 'export SOFTHSM2_PIN=%q\n' "$pin"
    printf 'export SOFTHSM2_SO_PIN=%q\n' "$so_pin"
)

# SoftHSM has no command that tries a PIN, so what a token was made with is kept beside it.
made_with=$dir/token-$serial.env
if [[ -f $made_with ]]; then
    same_pins=$(diff <(grep -E '_PIN=' "$made_with") <(grep -E '_PIN=' <<<"$variables") >/dev/null && echo yes || echo no)
    [[ $same_pins == yes ]] \
        || die "the token '$label' was made with other PINs, which stand in $made_with; give those, or remove $dir"
    echo "the token '$label' in $dir is used again" >&2
fi
(umask 077 && echo "$variables" >"$made_with")
echo "$variables"
