#!/usr/bin/env bash
# Builds what the tests of other clients need that is no package of Debian, as the lock files in tests/clients say.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
sources=$(cd "$here/../clients" && pwd)
cache=$(cd "$here/.." && pwd)/.cache/clients

usage() {
    cat <<'TEXT'
usage: tests/tools/clients.sh [python | node | go]...

Builds the clients of these languages (all) below tests/.cache/clients unless they are there, and prints for
each what to run: a Python interpreter that has the packages, a folder for NODE_PATH, a program.
The packages come from the registries that pip, npm and go are set up for.
TEXT
}

die() {
    echo "tests/tools/clients.sh: error: $*" >&2
    exit 1
}

need() {
    command -v "$1" >/dev/null || die "there is no $1; tests/tools/install.sh installs it"
}

# fresh NAME FILE...: whether what was built from these files by these versions is still right.
fresh() {
    local name=$1
    shift
    key=$( (cat "$@" && "${version[@]}") | sha256sum)
    [[ -f $cache/$name.key && $(<"$cache/$name.key") == "$key" ]] && return
    echo "tests/tools/clients.sh: building $name, once" >&2
    rm -rf "${cache:?}/$name" "$cache/$name.key"
    return 1
}

python() {
    need python3
    local version=(python3 --version)
    if ! fresh python "$sources/requirements.txt"; then
        python3 -m venv "$cache/python" || die "python3 -m venv failed; on Debian install python3-venv"
        timeout 300 "$cache/python/bin/pip" install --quiet --require-hashes --only-binary :all: \
            --requirement "$sources/requirements.txt" >&2 \
            || die "the Python packages of tests/clients/requirements.txt cannot be had; pip's message is above"
        echo "$key" >"$cache/python.key"
    fi
    echo "$cache/python/bin/python"
}

node() {
    need node
    need npm
    local version=(command node --version)
    if ! fresh node "$sources/package.json" "$sources/package-lock.json"; then
        mkdir "$cache/node"
        cp "$sources/package.json" "$sources/package-lock.json" "$cache/node"
        # The headers of the node that is installed, rather than a download.
        [[ ! -e /usr/include/node/node_api.h ]] || export npm_config_nodedir=/usr
        (cd "$cache/node" && timeout 300 npm ci --no-audit --no-fund --loglevel=error >&2) \
            || die "the packages of tests/clients/package-lock.json cannot be had or built; npm's message is above"
        echo "$key" >"$cache/node.key"
    fi
    echo "$cache/node/node_modules"
}

go() {
    need go
    local version=(command go version)
    if ! fresh crypto11 "$sources"/crypto11/*; then
        (cd "$sources/crypto11" && timeout 400 go build -buildvcs=false -o "$cache/crypto11" . >&2) \
            || die "tests/clients/crypto11 cannot be built; the message of go is above"
        echo "$key" >"$cache/crypto11.key"
    fi
    echo "$cache/crypto11"
}

wanted=("$@")
[[ ${#wanted[@]} -gt 0 ]] || wanted=(python node go)
for name in "${wanted[@]}"; do
    case $name in
        python | node | go) ;;
        -h | --help)
            usage
            exit 0
            ;;
        *) die "unknown argument '$name'; see --help" ;;
    esac
done

mkdir -p "$cache"
# Several tests may want them at the same time.
exec 9>"$cache/lock"
flock --wait 600 9 || die "another build has held $cache/lock for 600 s; end it and try again"
for name in "${wanted[@]}"; do
    "$name"
done
