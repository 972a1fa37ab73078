#!/usr/bin/env bash
# Runs all the JVM test programs against SoftHSM: an aid for working on the programs themselves.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
project=$(cd "$here/../.." && pwd)

usage() {
    cat <<'TEXT'
usage: tests/jvm/try-softhsm.sh [DIR]

Sets up SoftHSM tokens, one for each key, and a CA in DIR (target/try-softhsm; used again when it is
there), then runs the TLS matrix and the other programs on each JDK of tests/.cache/jdks.env, which
tests/tools/install.sh writes. A run in a root of its own needs SoftHSM there: see install.sh --with.
  KEYWARD_JVMS="17 25"          the JDKs, of those in the file
  KEYWARD_JDKS=FILE             that file, if another one (see install.sh --env)
  KEYWARD_SOFTHSM_MODULE=FILE   SoftHSM's library, as those JVMs see it
TEXT
}

die() {
    echo "tests/jvm/try-softhsm.sh: error: $*" >&2
    exit 1
}

case "${1-}" in
    -h | --help)
        usage
        exit 0
        ;;
esac
dir=${1:-$project/target/try-softhsm}
keys=(rsa2048 rsa3072 rsa4096 p256 p384 p521)

jdks=${KEYWARD_JDKS:-$project/tests/.cache/jdks.env}
[[ -f $jdks ]] || die "$jdks is missing; run tests/tools/install.sh"
# shellcheck source=/dev/null
source "$jdks"
export KEYWARD_JAVA17
classes=$("$here/build.sh")
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)

# Runs a program: run JAVA CLASS ARGUMENT...
run() {
    local java=$1 class=$2
    shift 2
    timeout 300 "$java" -cp "$classes" "keyward.$class" "$@"
}

make_token() {
    "$project/softhsm-setup.sh" --dir "$dir/hsm" --label "$1" 2>>"$dir/setup.log" | grep '^export SOFTHSM2_SLOT=' | cut -d= -f2
}

make_everything() {
    rm -rf "$dir"
    mkdir "$dir"
    "$here/make-pki.sh" "$dir/pki" "${keys[@]}"
    local key side entries=() slot
    for key in "${keys[@]}"; do
        for side in server client; do
            slot=$(make_token "$key-$side") || die "no SoftHSM token: $(tail -n 1 "$dir/setup.log")"
            entries+=(--entry "$slot=$dir/pki/$key-$side.p12")
            echo "$key-$side $slot" >>"$dir/slots.new"
        done
    done
    echo "scratch $(make_token scratch)" >>"$dir/slots.new"
    SOFTHSM2_CONF=$dir/hsm/softhsm2.conf run "$KEYWARD_JAVA17" KeyImport \
        --library /usr/lib/softhsm/libsofthsm2.so --pin 1234 --password changeit "${entries[@]}" >&2
    mv "$dir/slots.new" "$dir/slots"
}

[[ -f $dir/slots ]] || make_everything
export SOFTHSM2_CONF=$dir/hsm/softhsm2.conf
module=${KEYWARD_SOFTHSM_MODULE:-/usr/lib/softhsm/libsofthsm2.so}

slot() {
    awk -v name="$1" '$1 == name { print $2 }' "$dir/slots"
}

# The lines that come before the cases: stores KIND (token or file) and truststores.
stores() {
    local key side
    for key in "${keys[@]}"; do
        for side in server client; do
            if [[ $1 == token ]]; then
                echo "store name=$key-$side library=$module slot=$(slot "$key-$side") pin=1234"
            else
                echo "store name=$key-$side file=$dir/pki/$key-$side.p12 password=changeit"
            fi
        done
    done
    echo "trust name=root file=$dir/pki/root.p12 password=changeit"
    echo "trust name=root-jks file=$dir/pki/root.jks password=changeit"
    echo "trust name=impostor file=$dir/pki/impostor.p12 password=changeit"
    echo "trust name=stranger file=$dir/pki/stranger.p12 password=changeit"
}

for kind in token file; do
    { stores "$kind"; cat "$here/matrix.cases"; } >"$dir/$kind.setup"
done

for version in ${KEYWARD_JVMS:-17 25}; do
    variable=KEYWARD_JAVA$version
    java=${!variable-}
    [[ -n $java ]] || die "$jdks has no $variable; run tests/tools/install.sh --jdks '... $version'"
    token=(--library "$module" --pin 1234 --slot)
    failed=()
    # step NAME COMMAND...: keeps the output, goes on after a failure.
    step() {
        local name=$1 start=$EPOCHREALTIME status=0
        shift
        "$@" >"$dir/$version-$name.out" 2>&1 </dev/null || status=$?
        printf 'java %-3s %-16s %5.1f s  %s\n' "$version" "$name" \
            "$(awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { print b - a }')" \
            "$([[ $status -eq 0 ]] && tail -n 1 "$dir/$version-$name.out" | tr '\t' ' ' || echo "FAILED ($status): $dir/$version-$name.out")"
        [[ $status -eq 0 ]] || failed+=("$name")
    }
    step matrix run "$java" Handshakes --setup "$dir/token.setup"
    step matrix-files run "$java" Handshakes --setup "$dir/file.setup"
    step stream run "$java" HandshakeStream --setup "$dir/token.setup" --case rsa2048-tls13 --threads 4 --seconds 2
    step wrong-pin run "$java" WrongPin "${token[@]}" "$(slot p256-server)" --wrong-pin 4321
    step dump run "$java" KeyStoreDump "${token[@]}" "$(slot rsa2048-server)"
    step lifecycle run "$java" Lifecycle "${token[@]}" "$(slot scratch)"
    for key in rsa2048 p256; do
        rm -rf "$dir/signatures"
        step "sign-$key" run "$java" SignThreads "${token[@]}" "$(slot "$key-server")" --threads 16 --count 10 --out "$dir/signatures"
        step "verify-$key" "$here/verify-signatures.sh" "$dir/signatures"
        step "demo-$key" run "$java" Demo --library "$module" --pin 1234 \
            --node1 "$(slot "$key-server")" --node2 "$(slot "$key-client")" --key "$([[ $key == p* ]] && echo EC || echo RSA)" \
            --truststore "$dir/pki/root.jks" --truststore-password changeit --rounds 4 --count 20 \
            --file1 "$dir/pki/$key-server.p12" --file2 "$dir/pki/$key-client.p12" --file-password changeit
    done
    [[ ${#failed[@]} -eq 0 ]] || die "on Java $version these failed: ${failed[*]}"
done
