#!/usr/bin/env bash
# p11-kit serves the module over a socket, and clients load p11-kit-client.so in its place, several at once.
# OpenSSL is the referee. p11-kit hands on only the mechanisms that it knows.
# shellcheck source=tests/clients/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

served=$(find /usr/lib /usr/lib64 -name p11-kit-client.so 2>/dev/null | head -n 1)
[[ -n $served ]] || die 'p11-kit-client.so is not there: it is in p11-kit-modules'
PKCS11_SERVED=$PKCS11_MODULE
PKCS11_MODULE=$served
export P11_KIT_SERVER_ADDRESS=unix:path=$PWD/socket
printf 'what is signed' >message
openssl dgst -sha256 -binary message >digest

starts() {
    serve kit.server.log p11-kit server --foreground --name "$PWD/socket" --provider "$PKCS11_SERVED" \
        "pkcs11:token=$PKCS11_TOKEN"
    within 20 'p11-kit serves' test -S socket
}

makes_keys() {
    generate rsa:2048 rsa 01
    generate EC:prime256v1 ec 02
    quiet tool --read-object --type pubkey --id 01 -o rsa.public
    quiet tool --read-object --type pubkey --id 02 -o ec.public
}

# signs MECHANISM ID NAME INPUT [OPTION...]
signs() {
    local mechanism=$1 id=$2 name=$3 input=$4
    shift 4
    quiet tool --sign --mechanism "$mechanism" --id "$id" "$@" -i "$input" -o "signature.$name"
    quiet openssl dgst -sha256 -keyform DER -verify "$name.public" -signature "signature.$name" message
}

decrypts() {
    openssl pkeyutl -encrypt -pubin -keyform DER -inkey rsa.public -in message -out secret
    quiet tool --decrypt --mechanism RSA-PKCS --id 01 -i secret -o plain
    same plain message
}

several_at_once() {
    local number clients=()
    for number in 1 2 3 4 5 6; do
        tool --sign --mechanism ECDSA --signature-format openssl --id 02 -i digest -o "signature.$number" \
            >"client.$number" 2>&1 &
        clients+=("$!")
    done
    for number in 1 2 3 4 5 6; do
        wait "${clients[number - 1]}" || die "client $number: $(<"client.$number")"
        quiet openssl dgst -sha256 -keyform DER -verify ec.public -signature "signature.$number" message
    done
}

deletes() {
    quiet tool --delete-object --type privkey --id 01
    tool --list-objects >objects 2>&1
    ! grep -q 'Private Key Object; RSA' objects || die 'the key is still there'
}

starts
part 'keys' makes_keys
part 'a signature, rsa' signs SHA256-RSA-PKCS 01 rsa message
part 'a signature, ec' signs ECDSA 02 ec digest --signature-format openssl
part 'decryption' decrypts
part 'several clients at once' several_at_once
part 'a key is deleted' deletes
end
