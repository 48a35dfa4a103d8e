#!/bin/sh
# What one types: make's targets build what they run, and tools/setup asks for the packages in one call.
# usage: commands.sh targets|setup|names SOURCE-DIRECTORY
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/shell.sh"
part=$1 setup=$2/tools/setup
unset MAKEFLAGS MAKELEVEL BUILD 2>/dev/null || true
need make
cd "$2"
purposes="build demo map httpd ingest lua check test fuzz bench coverage cross audit format"

equal() { # equal WHAT EXPECTED GOT
    printf 'expected: %s\ngot: %s\n' "$2" "$3" >"$scratch/output"
    if [ "$2" = "$3" ]; then echo "  $1"; else complain "$1" "$scratch/output"; fi
}
says() { # says WHAT PATTERN: in what was printed last
    if grep -q -e "$2" "$scratch/said"; then echo "  $1"; else complain "$1: $2" "$scratch/said"; fi
}

case $part in
targets)
    for pair in demo:memarena-index map:memarena-map httpd:memarena-httpd ingest:memarena-ingest lua:memarena-lua; do
        make -n "${pair%:*}" BUILD="$scratch/build" >"$scratch/plan"
        equal "make ${pair%:*} builds what it runs" "${pair#*:}" "$(sed -n 's/.*cmake --build.* --target //p' "$scratch/plan")"
        equal "make ${pair%:*} sees to packages once" 1 "$(grep -c tools/setup "$scratch/plan")"
    done
    make -n install BUILD="$scratch/build" >"$scratch/plan"
    equal "make install brings no packages" "tools/setup --say build" "$(grep tools/setup "$scratch/plan")"
    make help >"$scratch/help"
    sed -n '/^\.PHONY:/,/[^\\]$/s/^\.PHONY://p; /^ .*[a-z]$/{/^    [a-z -]*$/p}' Makefile | tr ' \\' '\n\n' | grep . | sort >"$scratch/targets"
    equal "make help has a line for each target" "$(cat "$scratch/targets")" \
        "$(sed -n 's/^make \([a-z-]*\)  *[A-Z].*\.$/\1/p' "$scratch/help" | sort)"
    equal "each fits a terminal" "" "$(grep '.\{101\}' "$scratch/help" || true)"
    ;;
names)
    grep -qx 'ID=debian' /etc/os-release 2>/dev/null || skip "not Debian"
    for purpose in $purposes; do "$setup" --names $purpose; done | tr ' ' '\n' | sort -u >"$scratch/names"
    LC_ALL=C apt-cache policy $(cat "$scratch/names") cmake valgrind 2>/dev/null |
        awk '/^[^ ]/ { name = $1; sub(/:$/, "", name) } $1 == "Candidate:" && $2 != "(none)" { print name }' | sort -u >"$scratch/known"
    grep -qx valgrind "$scratch/known" || skip "apt has no lists here"
    equal "this release has all packages by their names" "" "$(comm -23 "$scratch/names" "$scratch/known")"
    ;;
setup)
    # A Debian of nothing, with an apt that notes its calls. Of the files in $scratch, `lacking` is not in its lists, `broken` cannot
    # be installed, and with `offline` there is no network; `user` is who asks.
    mkdir "$scratch/bin"
    cat >"$scratch/bin/dpkg-query" <<END
#!/bin/sh
sed 's/^/ii  /' "$scratch/installed"
END
    cat >"$scratch/bin/apt-cache" <<END
#!/bin/sh
[ \$1 != depends ] || { printf '  Depends: gcc-99-multilib\n  Depends: libc6-dev-i386\n'; exit; }
shift
for name; do grep -qx "\$name" "$scratch/lacking" || printf '%s:\n  Candidate: 1\n' "\$name"; done
END
    cat >"$scratch/bin/apt-get" <<END
#!/bin/sh
echo "\$*" >>"$scratch/calls"
case "\$*" in
*update*) [ ! -e "$scratch/offline" ] || { echo "E: Temporary failure resolving 'mirror'"; exit 100; } ;;
*)
    for name; do
        ! grep -qx "\$name" "$scratch/broken" || { echo "E: Unmet dependencies of \$name"; exit 100; }
    done
    case "\$*" in *" -s "*) ;; *) [ ! -e "$scratch/offline" ] || exit 100; printf '%s\n' "\$@" >>"$scratch/installed" ;; esac ;;
esac
END
    printf '#!/bin/sh\ncat "%s/user"\n' "$scratch" >"$scratch/bin/id"
    printf '#!/bin/sh\nexec "$@"\n' >"$scratch/bin/sudo"
    chmod +x "$scratch"/bin/*
    PATH=$scratch/bin:$PATH
    bare() { # bare USER-ID: as at the beginning
        rm -f "$scratch/offline"
        for file in installed lacking broken calls; do : >"$scratch/$file"; done
        echo "$1" >"$scratch/user"
    }
    run() { # run ARGUMENT...
        status=0
        "$setup" "$@" >"$scratch/said" 2>&1 || status=$?
    }

    bare 1000
    for purpose in $purposes; do
        "$setup" --names $purpose | tr ' ' '\n' | sort >"$scratch/names"
        equal "$purpose: no package twice" "" "$(uniq -d "$scratch/names")"
        run $purpose
        equal "$purpose: a user is not served without packages" 1 $status
        sed -n "s/.*sudo sh -c 'apt-get update && apt-get install --no-install-recommends \(.*\)'\$/\1/p" "$scratch/said" |
            tr ' ' '\n' | sort >"$scratch/printed"
        equal "$purpose: the command that is printed is complete" "$(cat "$scratch/names")" "$(cat "$scratch/printed")"
    done
    equal "a user's system is left alone" "" "$(cat "$scratch/calls")"
    run --lacks test
    says "what is not tested is said in words" '^32-bit programs (\|^memcheck, '

    bare 0
    run --say build
    equal "with --say root's system is left alone" "1:" "$status:$(cat "$scratch/calls")"

    bare 0
    echo mandoc >"$scratch/lacking"
    run test
    equal "root is served" 0 $status
    says "a package that the release lacks is named" 'this release has no mandoc$'
    equal "it is asked for once, and apt is called as often" 3 "$(wc -l <"$scratch/calls")"
    equal "an update that fails in part fails" 1 "$(grep -c '^-o APT::Update::Error-Mode=any update$' "$scratch/calls")"
    equal "nothing else is missing then" "the form of the manual pages (mandoc)" "$("$setup" --lacks test)"
    : >"$scratch/lacking"
    run test
    : >"$scratch/calls"
    run test
    equal "where all is installed, apt is not called" "0:" "$status:$(cat "$scratch/calls")"

    bare 0
    echo wrk >"$scratch/broken"
    run httpd
    says "a package that cannot be installed is named, and why" 'wrk cannot be installed: E: Unmet dependencies of wrk'
    equal "it does not keep the others out" "0:libcjson-dev:1" \
        "$status:$(grep -x libcjson-dev "$scratch/installed"):$(grep -c '^install -y' "$scratch/calls")"

    bare 0
    : >"$scratch/offline"
    run demo
    equal "without a network and packages the demo is not served" 1 $status
    says "the network is what it names" "is there a network? E: Temporary failure resolving"
    says "and what is missing" 'still missing: .*cmake'
    tr ' ' '\n' >"$scratch/installed" <<END
$("$setup" --names build)
END
    run demo
    equal "without a network, but with what it needs, the demo is served" 0 $status
    ;;
*) fail "no such part: $part" ;;
esac
finish
