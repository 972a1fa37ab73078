# shellcheck shell=bash
# Programs of another Debian release in a root folder of their own. Source this; it needs `die`, `say`
# and the variable `project`, the project's folder.
: "${project:?}"

# debian_root ROOT SUITE PACKAGE...
# Unpacks packages of a Debian release into ROOT, verified by apt against Debian's archive keys. Does
# nothing when ROOT holds just these already.
debian_root() {
    local root=$1 suite=$2
    shift 2
    [[ ! -f $root/.packages || $(<"$root/.packages") != "$suite $*" ]] || return 0
    say "unpacking $1 of Debian $suite into $root"
    debian_root_remove "$root"
    mkdir -p "$root.new"

    local mirror work=$root.new/.apt
    mirror=$(debian_mirror)
    mkdir -p "$work/lists/partial" "$work/archives/partial" "$work/debs"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$work/sources.list"
    : >"$work/status"
    local apt=(timeout 900 apt-get -qq
        -o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null
        -o "Dir::State=$work" -o "Dir::State::Lists=$work/lists" -o "Dir::State::Status=$work/status"
        -o "Dir::Cache=$work" -o "Dir::Cache::Archives=$work/archives"
        -o Acquire::Languages=none -o Acquire::Retries=3 -o APT::Sandbox::User=root
        -o APT::Update::Error-Mode=any)
    "${apt[@]}" update >&2 \
        || die "the package lists of Debian $suite cannot be had from $mirror (apt's message is above); the tests need $1 from there, or a JDK of that version under /usr/lib/jvm"
    (cd "$work/debs" && "${apt[@]}" download "$@" >&2) \
        || die "one of these packages of Debian $suite cannot be had from $mirror: $*; apt's message is above"

    # The links of a merged /usr; the old release's packages still use the old paths.
    mkdir -p "$root.new"/usr/{bin,sbin,lib,lib64} "$root.new"/{proc,dev,tmp,etc}
    local name deb
    for name in bin sbin lib lib64; do
        ln -s "usr/$name" "$root.new/$name"
    done
    for deb in "$work"/debs/*.deb; do
        # dpkg -x would put a folder where a link of the merged /usr stands.
        dpkg-deb --fsys-tarfile "$deb" | tar -x --keep-directory-symlink --no-same-owner -C "$root.new"
    done
    rm -r "$work"
    echo '127.0.0.1 localhost' >"$root.new/etc/hosts"
    echo 'root:x:0:0:root:/root:/bin/sh' >"$root.new/etc/passwd"
    echo "$suite $*" >"$root.new/.packages"
    mv "$root.new" "$root"
}

# debian_root_command ROOT PROGRAM SCRIPT
# Writes SCRIPT, which runs PROGRAM of ROOT with its arguments. The program sees the machine's /proc,
# /dev and /tmp, the project, the current folder and the folders in KEYWARD_ROOT_BIND (with ":"
# between them) at their own paths. The mounts are the process's own and end with it, and it
# keeps the script's process id.
debian_root_command() {
    local root=$1 program=$2 script=$3
    {
        echo '#!/usr/bin/env bash'
        echo '# Written by tests/tools/debian-root.sh.'
        echo 'set -euo pipefail'
        printf 'root=%q project=%q program=%q\n' "$root" "$project" "$program"
        cat <<'TEXT'
if [[ ${KEYWARD_ROOT_MOUNTS-} != own ]]; then
    namespace=(--mount --propagation private)
    [[ $(id -u) -eq 0 ]] || namespace+=(--user --map-root-user)
    KEYWARD_ROOT_MOUNTS=own exec unshare "${namespace[@]}" "$0" "$@"
fi
unset KEYWARD_ROOT_MOUNTS
IFS=: read -r -a more <<<"${KEYWARD_ROOT_BIND-}"
for folder in /proc /dev /tmp "$project" "$PWD" ${more[0]+"${more[@]}"}; do
    if [[ $folder == / || $folder == "$root" || $folder == "$root"/* ]]; then
        continue
    fi
    mkdir -p "$root$folder"
    mount --rbind "$folder" "$root$folder"
done
exec unshare --root="$root" --wd="$PWD" "$program" "$@"
TEXT
    } >"$script"
    chmod +x "$script"
}

# Removes a root, unless something is mounted in it: removing would reach through the mount.
debian_root_remove() {
    local folder
    for folder in "$1" "$1.new"; do
        [[ -e $folder ]] || continue
        ! grep -qF " $(cd "$folder" && pwd -P)/" /proc/self/mounts \
            || die "something is mounted below $folder; unmount it, then run this again"
        rm -rf --one-file-system "$folder"
    done
}

# Prints the address of the Debian archive in the machine's own apt sources.
debian_mirror() {
    local mirror
    # shellcheck disable=SC2016 # apt expands that
    local format='$(REPO_URI)'
    mirror=$(apt-get indextargets --format "$format" 'Created-By: Packages' 'Label: Debian' 2>/dev/null | head -n 1) || true
    if [[ -z $mirror ]]; then
        # Without package lists apt knows the address, but not yet the label.
        mirror=$(apt-get indextargets --format "$format" 'Created-By: Packages' 2>/dev/null \
            | grep -E '/debian/?$' | head -n 1) || true
    fi
    [[ -n $mirror ]] || die "the machine's apt sources name no Debian archive; add one, or install the JDKs by hand"
    echo "$mirror"
}
