#!/usr/bin/env bash
# NSS: modutil adds the module to a database, certutil makes keys and certificates in the token, pk12util brings a
# key there, selfserv serves with them and tstclnt comes to it. OpenSSL is the referee and a second client.
# shellcheck source=tests/clients/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

db=(-d sql:db)
in_token=("${db[@]}" -h "$PKCS11_TOKEN" -f pin)

adds_the_module() {
    printf '%s:%s\n' "$PKCS11_TOKEN" "$PKCS11_PIN" >pin
    head -c 64 /dev/urandom >noise
    mkdir db
    certutil -N "${db[@]}" --empty-password
    quiet modutil -force -dbdir sql:db -add remote -libfile "$PKCS11_MODULE"
    modutil -force -dbdir sql:db -list remote >modules 2>&1 || die "$(<modules)"
    has modules "Token Name: $PKCS11_TOKEN"
}

exported() {
    certutil -L "${in_token[@]}" -n "$PKCS11_TOKEN:$1" -a >"$1.pem"
}

lists_keys() {
    certutil -K "${in_token[@]}" >keys 2>&1 || die "$(<keys)"
}

# Self-signed, with a key that is made in the token.
makes_a_key() {
    local name=$1
    shift
    quiet certutil -S "${in_token[@]}" -z noise -n "$name" -s "CN=$name" -8 localhost -x -t ,, -v 12 -Z SHA256 "$@"
    lists_keys
    has keys ":$name"
    exported "$name"
    quiet openssl verify -check_ss_sig -CAfile "$name.pem" "$name.pem"
}

# With a key that is there. certutil's -k does not read -f when it is given a nickname.
request() {
    local id
    lists_keys
    id=$(awk -v name="$PKCS11_TOKEN:$1" '$5 == name { print $4 }' keys)
    quiet certutil -R "${in_token[@]}" -k "$id" -s CN=renewed -a -o renewed.csr
    sed -n '/BEGIN/,$p' renewed.csr >request.pem
    openssl req -in request.pem -verify -noout 2>csr.log
    has csr.log 'verify OK'
}

imports_a_key() {
    quiet openssl req -x509 -newkey rsa:2048 -nodes -keyout carried.key -out original.pem -days 2 -subj /CN=carried \
        -addext subjectAltName=DNS:localhost
    openssl pkcs12 -export -inkey carried.key -in original.pem -name carried -passout pass:secret -out carried.p12
    quiet pk12util -i carried.p12 "${db[@]}" -h "$PKCS11_TOKEN" -k pin -W secret
    exported carried
    same_certificate original.pem carried.pem
}

serves() {
    local name=$1 port version client=client-$1
    port=$(free_port)
    serve nss.server.log selfserv "${db[@]}" "$2" "$PKCS11_TOKEN:$name" -f pin -p "$port" -V tls1.2:tls1.3
    within 20 'selfserv listens' listens "$port"
    # NSS's own client, which trusts what its own database says.
    mkdir "$client"
    certutil -N -d "sql:$client" --empty-password
    quiet certutil -A -d "sql:$client" -n "$name" -t CT,, -i "$name.pem" -a
    printf 'GET / HTTP/1.0\r\n\r\n' >get.request
    for version in tls1.2 tls1.3; do
        timeout 20 tstclnt -A get.request -d "sql:$client" -h 127.0.0.1 -a localhost -p "$port" -V $version:$version \
            >client.log 2>&1 || die "$version: $(cat client.log nss.server.log)"
        has client.log 'HTTP/1.0 200 OK'
    done
    handshakes "$port" "$name.pem"
}

deletes() {
    quiet certutil -F "${in_token[@]}" -n "$PKCS11_TOKEN:$1"
    lists_keys
    ! grep -qF ":$1" keys || die "the key is still there: $(<keys)"
}

part 'the module in a database' adds_the_module
part 'a key and its certificate, rsa' makes_a_key rsa -k rsa -g 2048
part 'a key and its certificate, ec' makes_a_key ec -k ec -q nistp256
part 'a request for a certificate, rsa' request rsa
part 'a request for a certificate, ec' request ec
part 'a key out of a PKCS #12 file' imports_a_key
part 'selfserv, rsa' serves rsa -n
part 'selfserv, ec' serves ec -e
part 'selfserv, carried' serves carried -n
part 'a key is deleted' deletes ec
end
