#!/usr/bin/env bash
# OpenSSL's command line with keys of the token, by libp11's engine: signatures, decryption, requests for
# certificates, CMS and TLS. The same openssl without the engine is the referee.
# shellcheck source=tests/clients/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

export PKCS11_MODULE_PATH=$PKCS11_MODULE
key() {
    echo "pkcs11:token=$PKCS11_TOKEN;object=$1;type=private;pin-value=$PKCS11_PIN"
}
engine=(-engine pkcs11 -keyform engine)
pss=(-sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32)
printf 'what is signed' >message
printf 'something else' >other

certificate() {
    local name=$1
    quiet openssl req "${engine[@]}" -key "$(key "$name")" -new -x509 -days 2 -subj "/CN=$name" \
        -addext 'subjectAltName=DNS:localhost' -out "$name.pem"
    quiet openssl verify -check_ss_sig -CAfile "$name.pem" "$name.pem"
    openssl x509 -in "$name.pem" -noout -pubkey >"$name.public"
}

request() {
    quiet openssl req "${engine[@]}" -key "$(key "$1")" -new -subj "/CN=$1" -out "$1.csr"
    openssl req -in "$1.csr" -verify -noout 2>csr.log
    has csr.log 'verify OK'
}

# signs NAME HASH [OPTION...]
signs() {
    local name=$1 hash=$2
    shift 2
    quiet openssl dgst "-$hash" "${engine[@]}" -sign "$(key "$name")" "$@" -out signature message
    quiet openssl dgst "-$hash" -verify "$name.public" "$@" -signature signature message
    refused openssl dgst "-$hash" -verify "$name.public" "$@" -signature signature other
}

decrypts() {
    local padding=rsa_padding_mode:$1
    openssl pkeyutl -encrypt -pubin -inkey rsa.public -pkeyopt "$padding" -in message -out secret
    quiet openssl pkeyutl -decrypt "${engine[@]}" -inkey "$(key rsa)" -pkeyopt "$padding" -in secret -out plain
    same plain message
}

signs_cms() {
    quiet openssl cms -sign "${engine[@]}" -inkey "$(key "$1")" -signer "$1.pem" -in message -binary -out signed.cms
    quiet openssl cms -verify -CAfile "$1.pem" -in signed.cms -out verified
    same verified message
}

decrypts_cms() {
    openssl cms -encrypt -aes256 -binary -in message -out enveloped.cms rsa.pem
    quiet openssl cms -decrypt "${engine[@]}" -inkey "$(key rsa)" -recip rsa.pem -in enveloped.cms -out plain
    same plain message
}

serves() {
    local port
    port=$(free_port)
    serve s.server.log openssl s_server "${engine[@]}" -key "$(key "$1")" -cert "$1.pem" -accept "127.0.0.1:$port" -www
    within 20 's_server listens' listens "$port"
    handshakes "$port" "$1.pem"
}

generate rsa:2048 rsa 01
generate EC:prime256v1 ec 02
for name in rsa ec; do
    part "a certificate, $name" certificate $name
    part "a request for a certificate, $name" request $name
    for hash in sha256 sha384 sha512; do
        part "a signature, $name with $hash" signs $name $hash
    done
    part "a signed CMS message, $name" signs_cms $name
    part "s_server, $name" serves $name
done
part 'a signature, PSS' signs rsa sha256 "${pss[@]}"
part 'decryption, PKCS #1' decrypts pkcs1
part 'decryption, OAEP' decrypts oaep
part 'an enveloped CMS message' decrypts_cms
end
