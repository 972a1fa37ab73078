#!/usr/bin/env bash
# OpenSSH: keys of the token let somebody in, by the agent and by ssh itself. The referee is an sshd of the script's
# own: SSHD names it when it is not /usr/sbin/sshd, and SSHD_LIBRARIES a folder with what it needs.
set -euo pipefail
# As root sshd gives its privileges up to a user and in a folder that a machine without the package does not have.
if [[ $(id -u) -eq 0 && -z ${SSH_ALONE-} ]]; then
    SSH_ALONE=yes exec unshare --mount "$0"
fi
# shellcheck source=tests/clients/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

sshd=${SSHD:-/usr/sbin/sshd}
[[ -x $sshd ]] || die "there is no $sshd"
module=$(realpath "$PKCS11_MODULE")
port=$(free_port)
here=$PWD
# shellcheck disable=SC2016 # The variable is for the script that is written.
printf '#!/bin/sh\necho "$PKCS11_PIN"\n' >askpass
chmod +x askpass
export SSH_ASKPASS=$here/askpass SSH_ASKPASS_REQUIRE=force

starts_sshd() {
    ssh-keygen -q -t ed25519 -N '' -f host
    cat >sshd_config <<TEXT
ListenAddress 127.0.0.1
Port $port
HostKey $here/host
AuthorizedKeysFile $here/authorized_keys
StrictModes no
UsePAM no
PidFile none
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
LogLevel VERBOSE
TEXT
    printf '[127.0.0.1]:%s %s\n' "$port" "$(<host.pub)" >known_hosts
    if [[ $(id -u) -eq 0 ]]; then
        mount -t tmpfs none /run
        mkdir -m 755 /run/sshd
        cp /etc/passwd passwd
        getent passwd sshd >/dev/null || echo 'sshd:x:64999:65534::/run/sshd:/usr/sbin/nologin' >>passwd
        mount --bind passwd /etc/passwd
    fi
    serve sshd.server.log env ${SSHD_LIBRARIES:+"LD_LIBRARY_PATH=$SSHD_LIBRARIES"} "$sshd" -D -e -f "$here/sshd_config"
    within 20 'sshd listens' listens "$port"
}

# enters OPTION...: what the other side says.
# shellcheck disable=SC2016 # The other side has the variable.
enters() {
    timeout 30 ssh -F none -o "UserKnownHostsFile=$here/known_hosts" -o StrictHostKeyChecking=yes \
        -o PreferredAuthentications=publickey -o IdentityFile=none "$@" -p "$port" "$(id -un)@127.0.0.1" \
        'echo "inside of $SSH_CONNECTION"' >entered 2>ssh.log || return 1
    has entered 'inside of 127.0.0.1'
}

# authorizes NAME: just that key.
authorizes() {
    cp "$1.pub" authorized_keys
    fingerprint=$(ssh-keygen -l -f "$1.pub" | cut -d' ' -f2)
}

lists() {
    quiet ssh-keygen -D "$module"
    ssh-keygen -D "$module" >public 2>>log
    grep '^ssh-rsa ' public >rsa.pub
    grep '^ecdsa-sha2-nistp256 ' public >ec.pub
}

enters_with() {
    authorizes "$1"
    enters -o IdentityAgent=none -o "PKCS11Provider=$module" || die "$(cat ssh.log sshd.server.log)"
    has sshd.server.log "Accepted publickey for $(id -un)"
    grep -qF "$fingerprint" <(grep Accepted sshd.server.log | tail -n 1) || die "another key: $(<sshd.server.log)"
}

refuses_another_key() {
    ssh-keygen -q -t ecdsa -N '' -f stranger
    authorizes stranger
    ! enters -o IdentityAgent=none -o "PKCS11Provider=$module" || die 'a key that is not authorised has opened it'
    has ssh.log 'Permission denied'
}

enters_with_the_agent() {
    serve agent.server.log ssh-agent -D -a "$here/agent" -P "$module"
    export SSH_AUTH_SOCK=$here/agent
    within 20 'the agent answers' test -S agent
    quiet ssh-add -s "$module"
    ssh-add -L >held
    local name
    for name in rsa ec; do
        has held "$(cut -d' ' -f2 $name.pub)"
        quiet ssh-add -T $name.pub
        authorizes $name
        enters -o "IdentityAgent=$here/agent" || die "$name: $(cat ssh.log sshd.server.log agent.server.log)"
        grep -qF "$fingerprint" <(grep Accepted sshd.server.log | tail -n 1) || die "another key: $(<sshd.server.log)"
    done
    echo message >message
    quiet ssh-keygen -Y sign -n file -f ec.pub message
    quiet ssh-keygen -Y check-novalidate -n file -s message.sig <message
    quiet ssh-add -e "$module"
    ! enters -o "IdentityAgent=$here/agent" || die 'the agent has not given the keys up'
}

generate rsa:2048 rsa 01
generate EC:prime256v1 ec 02
part 'the public keys' lists
starts_sshd
part 'PKCS11Provider, rsa' enters_with rsa
part 'PKCS11Provider, ec' enters_with ec
part 'a stranger is refused' refuses_another_key
part 'the agent' enters_with_the_agent
end
