#!/bin/sh
# What the README tells a stranger to type, in minimal systems of Debian's releases, from the tarball of `make dist`: as root, as an
# ordinary user, without a network, with gcc alone, with clang alone, in a path with a space, from sources that are read-only.
# One line for each case, and one at the end that sums up, as run_all.sh has. Needs root, mmdebstrap and a mirror of Debian.
#
# usage: debians.sh BUILD-ROOT [RELEASE...]     RELEASE: bookworm trixie sid
#
# DEBIANS_TEST (test): the target that is made as root besides the demo, `check` for a short one. DEBIANS_MIRROR: where packages come
# from. DEBIANS_APT: a line of apt's configuration, as for a mirror that stands still: 'Acquire::Check-Valid-Until "false";'.
# The systems are made once, in BUILD-ROOT/debians; each case has a copy that it may spoil.
set -eu

[ $# -ge 1 ] || { echo "usage: debians.sh BUILD-ROOT [RELEASE...]" >&2; exit 2; }
source=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$1/debians"
root=$(cd "$1/debians" && pwd)
shift
[ $# -ge 1 ] || set -- bookworm trixie sid
passed=0 failed=0 skipped=0
long=${DEBIANS_TEST:-test}

[ "$(id -u)" = 0 ] || { echo "skipped: only root can make these systems"; exit 77; }
command -v mmdebstrap >/dev/null || { echo "skipped: mmdebstrap is not installed"; exit 77; }
unshare -m -n true 2>/dev/null || { echo "skipped: no namespaces can be had here"; exit 77; }
rm -rf "$root/dist"
"$source/tools/dist" "$root/dist" >"$root/dist.log" 2>&1 || { cat "$root/dist.log"; exit 1; }

# inside SYSTEM COMMAND: a line of shell, there, as root, in a mount namespace of its own; with net=-n without a network
net=
inside() {
    unshare -m $net --propagation private sh -euc '
        mount -t proc proc "$1/proc"
        mount --rbind /dev "$1/dev"
        mount --rbind /sys "$1/sys"
        exec chroot "$1" env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
            DEBIAN_FRONTEND=noninteractive bash -euc "$2"' sh "$1" "$2"
}
install="apt-get install -qq -y --no-install-recommends"

# prepare SYSTEM FROM: a copy, with the sources in /src
prepare() {
    rm -rf --one-file-system "$root/$1"
    cp -a --reflink=auto "$root/$2" "$root/$1"
    rm -rf "$root/$1/src"
    mkdir "$root/$1/src"
    tar -C "$root/$1/src" --strip-components 1 -xf "$root"/dist/memarena-*.tar.xz
}

# expect SYSTEM WHAT COMMAND [PATTERN...]: it succeeds and prints a line that matches each pattern
expect() {
    log="$root/$release-$(echo "$2" | tr ' ' '-').log" system=$1 what=$2 command=$3 verdict=passed
    shift 3
    inside "$root/$system" "$command" >"$log" 2>&1 || verdict="FAILED, exit $?"
    for pattern; do grep -q -e "$pattern" "$log" || verdict="FAILED, it did not say: $pattern"; done
    case $verdict in
    passed) passed=$((passed + 1)) ;;
    *)
        failed=$((failed + 1))
        tail -n 15 "$log" | sed 's/^/    /'
        ;;
    esac
    echo "$release: $what: $verdict"
}

demo="cd /src && make demo"
as_user="cd /src && chown -R nobody . && runuser -u nobody -- env HOME=/tmp"
table='^checksum .*the same in every run'
for release; do
    if [ ! -d "$root/$release" ]; then
        rm -rf --one-file-system "$root/$release.new"
        if ! mmdebstrap --variant=minbase --mode=root --include=make,xz-utils --aptopt="${DEBIANS_APT:-}" "$release" \
            "$root/$release.new" "${DEBIANS_MIRROR:-http://deb.debian.org/debian}" >"$root/$release.log" 2>&1; then
            echo "$release: skipped: $(grep -m 1 '^E: ' "$root/$release.log" || tail -n 1 "$root/$release.log")"
            skipped=$((skipped + 1))
            continue
        fi
        cp /etc/resolv.conf "$root/$release.new/etc/" || true
        inside "$root/$release.new" "apt-get update -qq" >/dev/null
        mv "$root/$release.new" "$root/$release"
    fi

    prepare $release-bare $release
    expect $release-bare "as a user of a bare system the demo says what to install" \
        "! { $as_user make demo; }" "missing: .*cmake" "apt-get update && apt-get install --no-install-recommends .*cmake"
    net=-n
    expect $release-bare "without a network and packages the demo says so" "! { $demo; }" 'is there a network? [EW]: ' \
        "still missing: .*cmake"
    net=
    for compiler in gcc clang; do
        prepare $release-$compiler $release
        expect $release-$compiler "with $compiler alone the demo runs for a user" \
            "$install $compiler libc6-dev cmake; $as_user make demo" "$table" "^mimalloc: skipped"
        expect $release-$compiler "with $compiler alone a change is checked" "$as_user make check" ' 0 failed, '
    done
    rm -rf --one-file-system "$root/$release-bare" "$root/$release-gcc" "$root/$release-clang"

    prepare $release-full $release
    expect $release-full "as root the demo installs and runs" "cd /src && time make demo" "$table" '^mimalloc ' '^jemalloc '
    grep -E '^(user|sys)' "$log" | tr '\n' ' ' | sed 's/^/    CPU: /; s/$/\n/'
    expect $release-full "as a user the demo runs" "rm -rf /src/build; $as_user make demo" "$table"
    net=-n
    expect $release-full "without a network the demo runs" "rm -rf /src/build; $demo" "$table"
    net=
    expect $release-full "in a path with a space the demo runs" \
        "mkdir -p '/tmp/a b'; cp -a /src '/tmp/a b/c d'; cd '/tmp/a b/c d'; rm -rf build; make demo; make map" "$table"
    expect $release-full "from sources that are read-only the demo runs" \
        "rm -rf /src/build; mount --bind /src /mnt; mount -o remount,bind,ro /mnt; cd /mnt
        if touch x; then exit 9; fi; make demo BUILD=/tmp/b" "$table"
    expect $release-full "it is installed and uninstalled without a trace" "cd /src; make install; test -e /usr/local/include/memarena.h
        make uninstall; [ -z \"\$(find /usr/local -name '*memarena*')\" ]"
    expect $release-full "as root: make $long" "cd /src && make $long" ' 0 failed, '
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$passed$failed" != 00 ] || exit 77
[ "$failed" = 0 ]
