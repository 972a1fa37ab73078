#!/usr/bin/env bash
# OpenSC's pkcs11-tool runs its own tests of a module, with keys of the token and from threads of its own.
# shellcheck source=tests/clients/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

tests_itself() {
    tool --test >test.log 2>&1 || die "$(<test.log)"
    has test.log 'No errors'
    ! grep -qiE 'failed|mismatch' test.log || die "$(<test.log)"
}

tests_threads() {
    # The first thread initialises, as each does; then they log in, list slots, tokens and infos.
    # When the main thread is done before the others, it waits for 30 seconds.
    timeout 60 pkcs11-tool --module "$PKCS11_MODULE" --login --pin "$PKCS11_PIN" --test-threads IN \
        --test-threads "$1" --test-threads "$1" --test-threads "$1" --list-mechanisms --list-objects --test \
        >threads.log 2>&1 \
        || die "$(<threads.log)"
    has threads.log 'all threads have ended'
    ! grep -qE 'ERROR|CKR_GENERAL_ERROR' threads.log || die "$(<threads.log)"
}

generate rsa:2048 rsa 01
generate EC:prime256v1 ec 02
generate EC:secp384r1 p384 03
part 'its tests' tests_itself
part 'its tests of threads' tests_threads ILGISLT0
end
