# What the shell clients share; for `source`. They know of no product: PKCS11_MODULE, PKCS11_TOKEN, PKCS11_PIN and
# PKCS11_SO_PIN lead them to a token without objects, and they work in the current folder, which is empty.
# A script is a row of parts; for each it prints `passed: NAME` or `failed: NAME`, with the reason on standard error.
# shellcheck shell=bash
set -euo pipefail
# What the machine has set for all is not what is tested.
unset OPENSSL_CONF GNUTLS_SYSTEM_PRIORITY_FILE SSH_AUTH_SOCK

failed=no
# part NAME COMMAND...: in a shell of its own, whose servers end with it.
part() {
    local name=$1 status
    shift
    set +e
    (
        set -e
        children=()
        trap end_children EXIT
        "$@"
    )
    status=$?
    set -e
    if ((status == 0)); then
        echo "passed: $name"
    else
        echo "failed: $name"
        failed=yes
    fi
}

# The last line of a script.
end() {
    [[ $failed == no ]]
}

die() {
    echo "${0##*/}: error: $*" >&2
    exit 1
}

# The servers of the script or of the part.
children=()
end_children() {
    local child
    for child in "${children[@]}"; do
        kill "$child" 2>/dev/null || true
        wait "$child" 2>/dev/null || true
    done
    children=()
}
trap end_children EXIT

# serve LOG COMMAND...: starts a server, which is ended with the part, or with the script.
serve() {
    local log=$1
    shift
    "$@" >"$log" 2>&1 </dev/null &
    children+=("$!")
}

# within SECONDS WHAT COMMAND...: until the command succeeds.
within() {
    local deadline=$((SECONDS + $1)) what=$2
    shift 2
    until "$@"; do
        ((SECONDS < deadline)) || die "$what: not in time"
        for child in "${children[@]}"; do
            kill -0 "$child" 2>/dev/null || die "$what: it has ended: $(cat ./*.server.log)"
        done
        sleep 0.05
    done
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# listens PORT: a server has the port.
listens() {
    (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# quiet COMMAND...: what it says is told only when it fails.
quiet() {
    local said
    said=$("$@" 2>&1) || die "$*: $said"
}

# refused COMMAND...
refused() {
    ! "$@" >refused.log 2>&1 || die "this should have failed: $*"
}

# has FILE WORD, or what there is instead.
has() {
    grep -qF -- "$2" "$1" || die "'$2' is not in $1: $(tail -n 20 "$1")"
}

same() {
    cmp -s "$1" "$2" || die "$1 and $2 are not the same"
}

# same_certificate PEM PEM
same_certificate() {
    openssl x509 -in "$1" -outform DER -out one.der
    openssl x509 -in "$2" -outform DER -out other.der
    same one.der other.der
}

# handshakes PORT CERTIFICATE: OpenSSL's client comes to a server and verifies it.
handshakes() {
    local version
    for version in tls1_2 tls1_3; do
        timeout 20 openssl s_client -connect "127.0.0.1:$1" -$version -CAfile "$2" -verify_hostname localhost \
            -verify_return_error -brief </dev/null >client.log 2>&1 \
            || die "$version: $(cat client.log ./*.server.log)"
        has client.log 'Verification: OK'
    done
}

tool() {
    pkcs11-tool --module "$PKCS11_MODULE" --token-label "$PKCS11_TOKEN" --login --pin "$PKCS11_PIN" "$@"
}

# generate TYPE LABEL ID: a key pair of the token.
generate() {
    quiet tool --keypairgen --key-type "$1" --label "$2" --id "$3"
}
