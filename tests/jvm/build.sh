#!/usr/bin/env bash
# Compiles the test programs, for Java 8 and later, unless the classes are up to date.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: tests/jvm/build.sh [CLASSES_DIR]

Compiles tests/jvm/src into CLASSES_DIR (target/jvm-classes of the project) and prints that path.
Uses the javac beside $KEYWARD_JAVA17 when that is set, else the one in PATH; it must be of Java 9
to 25, because it compiles with --release 8.
TEXT
}

die() {
    echo "tests/jvm/build.sh: error: $*" >&2
    exit 1
}

case "${1-}" in
    -h | --help)
        usage
        exit 0
        ;;
    -*) die "unknown option $1; see --help" ;;
esac

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
classes=${1:-$here/../../target/jvm-classes}
mkdir -p "$(dirname "$classes")"
classes=$(cd "$(dirname "$classes")" && pwd)/$(basename "$classes")

javac=javac
if [[ -n ${KEYWARD_JAVA17-} && -x $(dirname "$KEYWARD_JAVA17")/javac ]]; then
    javac=$(dirname "$KEYWARD_JAVA17")/javac
fi

# Several tests may want the classes at the same time.
exec 9>"$classes.lock"
flock --wait 120 9 || die "another build has held $classes.lock for 120 s; end it and try again"

sources=("$here"/src/keyward/*.java)
wanted=$(cat "${sources[@]}" "${BASH_SOURCE[0]}" | sha256sum)
if [[ ! -f $classes/.stamp || $(<"$classes/.stamp") != "$wanted" ]]; then
    command -v "$javac" >/dev/null || die "there is no javac; tests/tools/install.sh installs one"
    rm -rf "$classes.new"
    mkdir "$classes.new"
    "$javac" --release 8 -Xlint:all -Xlint:-options -d "$classes.new" "${sources[@]}" >&2 \
        || die "the test programs do not compile"
    echo "$wanted" >"$classes.new/.stamp"
    rm -rf "$classes"
    mv "$classes.new" "$classes"
fi
echo "$classes"
