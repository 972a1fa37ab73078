#!/usr/bin/env bash
# Makes a CA and keys with certificates, as files, for the JVM tests.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: tests/jvm/make-pki.sh DIR [KEY...]

Fills DIR, which must be new or empty:
  root.pem ca.pem ca.key       a root, and the intermediate CA below it that issues
  root.p12 root.jks            truststores with the root only
  impostor.p12                 a truststore with another root of the same name
  stranger.p12                 a truststore with another root of another name
  KEY-server.* KEY-client.*    for each KEY: .key, .pem (certificate and intermediate), .p12 (key and chain,
                               alias KEY-server or KEY-client); the IP SAN is 127.0.0.1
KEY is of rsa2048 rsa3072 rsa4096 p256 p384 p521 (all). The password of all stores is "changeit".
TEXT
}

die() {
    echo "tests/jvm/make-pki.sh: error: $*" >&2
    exit 1
}

case "${1-}" in
    '' | -h | --help)
        usage
        [[ -n ${1-} ]] && exit 0 || exit 2
        ;;
esac
dir=$1
shift
[[ $# -gt 0 ]] || set -- rsa2048 rsa3072 rsa4096 p256 p384 p521
mkdir -p "$dir"
[[ -z $(ls -A "$dir") ]] || die "$dir is not empty; name a new folder"
cd "$dir"
umask 077

keytool=keytool
if [[ -n ${KEYWARD_JAVA17-} && -x $(dirname "$KEYWARD_JAVA17")/keytool ]]; then
    keytool=$(dirname "$KEYWARD_JAVA17")/keytool
fi
for program in openssl "$keytool"; do
    command -v "$program" >/dev/null || die "there is no $program; tests/tools/install.sh installs it"
done

# Runs a command whose output matters only when it fails.
quietly() {
    local output
    output=$(timeout 120 "$@" 2>&1) || die "this failed: $*"$'\n'"$output"
}

new_key() {
    case $1 in
        rsa*) quietly openssl genpkey -algorithm RSA -pkeyopt "rsa_keygen_bits:${1#rsa}" -out "$2" ;;
        p*) quietly openssl genpkey -algorithm EC -pkeyopt "ec_paramgen_curve:P-${1#p}" -out "$2" ;;
        *) die "'$1' is no kind of key; see --help" ;;
    esac
}

# root NAME COMMON_NAME
root() {
    new_key p256 "$1.key"
    quietly openssl req -x509 -new -key "$1.key" -subj "/O=Keyward tests/CN=$2" -days 30 -out "$1.pem"
    quietly "$keytool" -importcert -noprompt -alias root -file "$1.pem" -keystore "$1.p12" -storetype PKCS12 -storepass changeit
}

# issue SIGNER NAME COMMON_NAME EXTENSIONS
issue() {
    quietly openssl req -new -key "$2.key" -subj "/O=Keyward tests/CN=$3" -out "$2.csr"
    quietly openssl x509 -req -in "$2.csr" -CA "$1.pem" -CAkey "$1.key" -days 30 -extfile <(printf '%b' "$4") -out "$2.pem"
    rm "$2.csr"
}

root root 'Root CA'
root impostor 'Root CA'
root stranger 'Stranger CA'
quietly "$keytool" -importcert -noprompt -alias root -file root.pem -keystore root.jks -storetype JKS -storepass changeit

new_key p256 ca.key
issue root ca 'Issuing CA' 'basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\n'

for key in "$@"; do
    for side in server client; do
        name=$key-$side
        new_key "$key" "$name.key"
        issue ca "$name" "$name" 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\nbasicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature,keyEncipherment\n'
        cat ca.pem >>"$name.pem"
        quietly openssl pkcs12 -export -inkey "$name.key" -in "$name.pem" -certfile root.pem -name "$name" \
            -passout pass:changeit -out "$name.p12"
    done
done
