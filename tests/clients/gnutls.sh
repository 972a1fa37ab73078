#!/usr/bin/env bash
# GnuTLS: p11tool makes keys, certtool certificates with them, gnutls-serv serves with them. OpenSSL is the referee
# and the client.
# shellcheck source=tests/clients/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

export GNUTLS_PIN=$PKCS11_PIN GNUTLS_SO_PIN=$PKCS11_SO_PIN
token="pkcs11:token=$PKCS11_TOKEN"
provider=(--provider "$PKCS11_MODULE")
cat >template <<TEXT
cn = localhost
dns_name = localhost
expiration_days = 2
signing_key
tls_www_server
TEXT
printf 'what is signed' >message

private() {
    echo "$token;object=$1;type=private"
}

makes_a_key() {
    local name=$1 size=$2
    quiet p11tool "${provider[@]}" --login "--generate-privkey=$name" "$size" "--label=$name" "$token" --outfile "$name.public"
    p11tool "${provider[@]}" --login --list-privkeys "$token" >keys 2>&1
    has keys "Label: $name"
    quiet openssl pkey -pubin -in "$name.public" -noout
}

tests_a_signature() {
    p11tool "${provider[@]}" --login --test-sign "$(private "$1")" >test-sign 2>&1 || die "$(<test-sign)"
    has test-sign 'Verifying against public key in the token... ok'
}

certificate() {
    quiet certtool "${provider[@]}" --generate-self-signed --load-privkey "$(private "$1")" --template template \
        --outfile "$1.pem"
    quiet openssl verify -check_ss_sig -CAfile "$1.pem" "$1.pem"
    openssl x509 -in "$1.pem" -noout -pubkey >certified.public
    openssl pkey -pubin -in "$1.public" -out generated.public
    same certified.public generated.public
}

request() {
    quiet certtool "${provider[@]}" --generate-request --load-privkey "$(private "$1")" --template template --outfile "$1.csr"
    openssl req -in "$1.csr" -verify -noout 2>csr.log
    has csr.log 'verify OK'
}

writes_a_certificate() {
    quiet p11tool "${provider[@]}" --login --write "--load-certificate=$1.pem" "--label=$1" "$token"
    p11tool "${provider[@]}" --export "$token;object=$1;type=cert" >exported.pem
    same_certificate "$1.pem" exported.pem
}

signs_cms() {
    quiet certtool "${provider[@]}" --p7-sign --load-privkey "$(private "$1")" --load-certificate "$1.pem" \
        --infile message --outfile signed.pem
    quiet openssl cms -verify -inform PEM -in signed.pem -CAfile "$1.pem" -purpose any -out verified
    same verified message
}

# The certificate is the token's too.
serves() {
    local port
    port=$(free_port)
    serve gnutls.server.log gnutls-serv "${provider[@]}" --http --port "$port" --x509keyfile "$(private "$1")" \
        --x509certfile "$token;object=$1;type=cert"
    within 20 'gnutls-serv listens' listens "$port"
    handshakes "$port" "$1.pem"
}

deletes() {
    quiet p11tool "${provider[@]}" --login --batch --delete "$(private "$1")"
    p11tool "${provider[@]}" --login --list-privkeys "$token" >keys 2>&1 || true
    ! grep -qF "Label: $1" keys || die 'the key is still there'
}

for name in rsa ecdsa; do
    size=--bits=2048
    [[ $name == rsa ]] || size=--curve=secp256r1
    part "a key, $name" makes_a_key $name $size
    part "a signature, $name" tests_a_signature $name
    part "a certificate, $name" certificate $name
    part "a request for a certificate, $name" request $name
    part "a certificate as an object, $name" writes_a_certificate $name
    part "a signed CMS message, $name" signs_cms $name
    part "gnutls-serv, $name" serves $name
    part "a key is deleted, $name" deletes $name
done
end
