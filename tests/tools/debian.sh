#!/bin/sh
# The Debian packages: built from a tarball by a user without rights or network, as a build machine would, looked at by
# lintian, and used by programs. Nothing is installed.
# usage: debian.sh PROJECT
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/shell.sh"
project=$1

need dpkg-buildpackage dh lintian readelf pkg-config cmake cc c++ xz
unset CC CXX CFLAGS CXXFLAGS CPPFLAGS LDFLAGS MAKEFLAGS DESTDIR DEB_BUILD_OPTIONS PKG_CONFIG_PATH 2>/dev/null || true

# as_builder COMMAND...: as root it runs as nobody and, where that can be had, without a network.
as_builder() {
    if [ "$(id -u)" != 0 ] || ! command -v runuser >/dev/null 2>&1; then
        "$@"
    elif unshare -n true 2>/dev/null; then
        unshare -n runuser -u nobody -- env HOME=/nonexistent TMPDIR=/tmp "$@"
    else
        runuser -u nobody -- env HOME=/nonexistent TMPDIR=/tmp "$@"
    fi
}

attempt "make dist" "$project/tools/dist" "$scratch"
tar -C "$scratch" -xf "$scratch"/memarena-*.tar.xz || fail "the tarball cannot be unpacked"
tree=$(echo "$scratch"/memarena-*[0-9])
cd "$tree"
dpkg-checkbuilddeps 2>"$scratch/output" || skip "$(cat "$scratch/output")"

equal() { # equal WHAT ONE OTHER
    echo "$2, $3" >"$scratch/output"
    [ "$2" = "$3" ] || complain "$1" "$scratch/output"
}
version=$(dpkg-parsechangelog -S Version)
equal "debian/changelog has the version of CMakeLists.txt" "$version" "${tree##*/memarena-}"

# Packages are built in the parent directory of the sources.
[ "$(id -u)" != 0 ] || chown -R nobody "$scratch"
as_builder dpkg-buildpackage -us -uc -j2 >"$scratch/log" 2>&1 || { tail -n 60 "$scratch/log" >&2; fail "dpkg-buildpackage"; }
echo "  dpkg-buildpackage"
attempt "lintian" as_builder env LC_ALL=C.UTF-8 lintian --fail-on error,warning ../memarena_*.changes

root=$scratch/root
for package in libmemarena0 libmemarena-look0 libmemarena-dev; do
    attempt "$package" dpkg-deb -x ../${package}_"$version"_*.deb "$root"
done
library=$root/usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH)
for page in man/man3/*.3; do
    [ -e "$root/usr/share/$page.gz" ] || complain "$page is in a package" /dev/null
done
# Probes are there if a header was when it was built.
readelf -n "$library/libmemarena.so.0" >"$scratch/output" 2>&1
grep -q 'Provider: memarena' "$scratch/output" || complain "the library has probes" "$scratch/output"
attempt "programs use them" env PKG_CONFIG_SYSROOT_DIR="$root" PKG_CONFIG_LIBDIR="$library/pkgconfig" \
    LD_LIBRARY_PATH="$library" CMAKE_PREFIX_PATH="$root/usr" debian/tests/consumer
finish
