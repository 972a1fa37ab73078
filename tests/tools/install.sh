#!/usr/bin/env bash
# Installs what `make test` needs on Debian 12, and finds or makes the JDKs of the tests.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
project=$(cd "$here/../.." && pwd)
# shellcheck source=tests/tools/debian-root.sh
source "$here/debian-root.sh"

usage() {
    cat <<'TEXT'
usage: tests/tools/install.sh [OPTION...]

Installs the Debian packages that the tests need and that are missing (as root), finds a JDK of each
wanted version, and writes the commands that start them, KEYWARD_JAVA17=..., to a file for `source`;
keytool and jarsigner stand beside them. A JDK that the machine does not have is unpacked from another
release of Debian into a root of its own below tests/.cache. Without root it only checks, and says
what is missing.

  --env FILE       the file for the JDKs' commands (tests/.cache/jdks.env)
  --jdks "17 25"   the versions of Java wanted, of 8 11 17 25 (all)
  --own-root       use a root of its own even for a JDK that the machine has (8, 11 and 25)
  --no-languages   without Go and Node, which only the tests of other clients use
  --with "A B"     more packages to unpack there, as SoftHSM and its libraries
  --help           show this text
TEXT
}

die() {
    echo "tests/tools/install.sh: error: $*" >&2
    exit 1
}

say() {
    echo "tests/tools/install.sh: $*" >&2
}

command -v dpkg >/dev/null \
    || die "this is for Debian 12; elsewhere install OpenJDK 8, 11, 17 and 25, SoftHSM, OpenSC and the GnuTLS tools by hand"

# A package and the file, or the command, that shows that what it brings is there, whoever brought it.
packages=(
    "openjdk-17-jdk-headless:/usr/lib/jvm/java-17-openjdk-$(dpkg --print-architecture)/bin/javac"
    softhsm2:/usr/bin/softhsm2-util
    opensc:/usr/bin/pkcs11-tool
    gnutls-bin:/usr/bin/p11tool
    openssl:/usr/bin/openssl
    openssh-client:/usr/bin/ssh-keygen
    python3:/usr/bin/python3
    python3-venv:/usr/lib/python3.11/ensurepip/__init__.py
    gcc:/usr/bin/cc
    protobuf-compiler:/usr/bin/protoc
    libprotobuf-dev:/usr/include/google/protobuf/any.proto
    etcd-server:/usr/bin/etcd
    etcd-client:/usr/bin/etcdctl
    libc6-dev:/usr/include/stdio.h
    binutils:/usr/bin/nm
    procps:/usr/bin/kill
    util-linux:/usr/bin/unshare
    iproute2:/usr/sbin/ip
    curl:/usr/bin/curl
    libnss3-tools:/usr/bin/selfserv
    p11-kit:/usr/bin/p11-kit
    "p11-kit-modules:/usr/lib/$(uname -m)-linux-gnu/pkcs11/p11-kit-client.so"
    "libengine-pkcs11-openssl:/usr/lib/$(uname -m)-linux-gnu/engines-3/pkcs11.so"
    e2fsprogs:/usr/sbin/mkfs.ext4
    shellcheck:/usr/bin/shellcheck
    debian-archive-keyring:/usr/share/keyrings/debian-archive-keyring.gpg
)
# What clients.sh builds with; a machine may have it from elsewhere.
languages=(
    golang-go:go
    nodejs:node
    npm:npm
    libnode-dev:/usr/include/node/node_api.h
    g++:c++
    make:make
)

install_packages() {
    local entry missing=()
    for entry in "${packages[@]}" "${languages[@]}"; do
        [[ -e ${entry#*:} ]] || command -v "${entry#*:}" >/dev/null || missing+=("${entry%%:*}")
    done
    [[ ${#missing[@]} -gt 0 ]] || return 0
    [[ $(id -u) -eq 0 ]] || die "these packages are missing: ${missing[*]}; run this as root, or install them by hand"
    command -v apt-get >/dev/null || die "there is no apt-get; install what these Debian packages hold: ${missing[*]}"
    say "installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    local option=(-qq -o DPkg::Lock::Timeout=300)
    if ! apt_install "${missing[@]}" >/dev/null 2>&1; then
        timeout 600 apt-get "${option[@]}" update >&2 || die "apt-get update failed; its message is above"
        apt_install "${missing[@]}" >&2 || die "apt-get could not install ${missing[*]}; its message is above"
    fi
    # The tests start members of their own; Debian's package starts one that nobody asked for.
    if [[ " ${missing[*]} " == *' etcd-server '* && -d /run/systemd/system ]]; then
        systemctl disable --now etcd >&2 || say 'the service etcd could not be switched off; the tests do not need it'
    fi
}

# unpack NAME PROGRAM PACKAGE...: unpacks a server below tests/.cache where the machine has none: to install it would
# be to start it.
unpack() {
    local name=$1 program=$2 package cache=$project/tests/.cache/$1
    shift 2
    [[ ! -x $program && ! -x $cache$program ]] || return 0
    say "unpacking $name into $cache"
    rm -rf "$cache.new"
    mkdir -p "$cache.new"
    (cd "$cache.new" && timeout 300 apt-get -qq -o APT::Sandbox::User=root download "$@" >&2) \
        || die "the packages $* cannot be had; apt's message is above; install $name by hand"
    for package in "$cache.new"/*.deb; do
        dpkg-deb -x "$package" "$cache.new"
    done
    rm -rf "$cache"
    mv "$cache.new" "$cache"
}

apt_install() {
    timeout 900 apt-get "${option[@]}" install -y --no-install-recommends "$@"
}

# Prints the command of the machine's own JDK of that version, nothing without one.
machine_java() {
    local version=$1 java
    for java in /usr/lib/jvm/*"$version"*/bin/java /usr/lib/jvm/*"$version"*/jre/bin/java; do
        if [[ -x $java ]] && is_java "$version" "$java"; then
            readlink -f "$java"
            return
        fi
    done
}

is_java() {
    local version=$1 java=$2 pattern="\"$1[.\"]"
    [[ $version != 8 ]] || pattern='"1\.8\.'
    grep -q "version $pattern" <<<"$(timeout 60 "$java" -version 2>&1 </dev/null)"
}

# Unpacks a JDK of another Debian release and prints the command that runs its java there; keytool and
# jarsigner are beside it. The libraries are those that the JVM and the PKCS#11 libraries under test load.
own_root_java() {
    local version=$1 root=$project/tests/.cache/java$1 suite arch program
    # keytool is in the first, jarsigner in the second.
    local packages=("openjdk-$version-jre-headless" "openjdk-$version-jdk-headless" libc6 libgcc-s1 libstdc++6 zlib1g)
    arch=$(dpkg --print-architecture)
    case $version in
        8) suite=sid packages+=(libnss3 libnspr4 libsqlite3-0 libpcsclite1) ;;
        11) suite=bullseye ;;
        25) suite=sid ;;
        *) die "no recipe for a Java $version in a root of its own; install a JDK $version" ;;
    esac
    [[ $(id -u) -eq 0 ]] || unshare --user --map-root-user --mount true 2>/dev/null \
        || die "Java $version is not on this machine, and its own root needs mounts that you may not make; run this as root, or install a JDK $version under /usr/lib/jvm"
    debian_root "$root" "$suite" "${packages[@]}" "${with[@]}"
    for program in java keytool jarsigner; do
        debian_root_command "$root" "/usr/lib/jvm/java-$version-openjdk-$arch/bin/$program" "$root/$program"
    done
    is_java "$version" "$root/java" \
        || die "Java $version was unpacked to $root, but does not run there: $(timeout 60 "$root/java" -version 2>&1 | tail -n 3)"
    echo "$root/java"
}

env_file=$project/tests/.cache/jdks.env jdks='8 11 17 25' own_root=no with=()
while [[ $# -gt 0 ]]; do
    case $1 in
        --env | --jdks | --with)
            [[ $# -ge 2 && -n $2 ]] || die "$1 wants a value; see --help"
            case $1 in
                --env) env_file=$2 ;;
                --jdks) jdks=$2 ;;
                --with) read -r -a with <<<"$2" ;;
            esac
            shift 2
            ;;
        --no-languages)
            languages=()
            shift
            ;;
        --own-root)
            own_root=yes
            shift
            ;;
        -h | --help)
            usage
            exit 0
            ;;
        *) die "unknown argument '$1'; see --help" ;;
    esac
done

mkdir -p "$project/tests/.cache" "$(dirname "$env_file")"
install_packages
unpack nginx /usr/sbin/nginx nginx
unpack sshd /usr/sbin/sshd openssh-server libwrap0

lines=''
for version in $jdks; do
    java=''
    if [[ $own_root == no || $version == 17 ]]; then
        java=$(machine_java "$version")
    fi
    if [[ -z $java ]]; then
        java=$(own_root_java "$version")
    fi
    lines+=$(printf 'KEYWARD_JAVA%s=%q' "$version" "$java")$'\n'
done
printf '%s' "$lines" >"$env_file.new"
mv "$env_file.new" "$env_file"
printf '%s' "$lines"
