#!/bin/sh
# The suite in every build that this machine can make. One line at the end, alone, sums it up over all of them:
#     N passed, N failed, N skipped
# exit: 0 all passed or skipped, 1 anything failed, did not build, or there were no tests.
#
# usage: run_all.sh BUILD-ROOT [BUILD...]     BUILD: release asan tsan clang 32bit, without one all of them; or check, a part of
#                                             release for who changes a line
#
# Tests that take a length (MEMARENA_TEST_SCALE) run a fifth of it; make audit runs them longer.
#
# Each is made in BUILD-ROOT/BUILD. Tests with the label "tools" look at the release build, and run once, there; so do
# those with the label "steps", which play every schedule and need no sanitizer, and "soak". A build that this machine
# has no compiler for is left out and counts as one skipped.
set -eu

[ $# -ge 1 ] || { echo "usage: run_all.sh BUILD-ROOT [BUILD...]" >&2; exit 2; }
mkdir -p "$1"
root=$(cd "$1" && pwd)
shift
[ $# -ge 1 ] || set -- release asan tsan clang 32bit
source=$(cd "$(dirname "$0")/.." && pwd)

passed=0 failed=0 skipped=0

generator="Unix Makefiles"
if command -v ninja >/dev/null 2>&1; then generator=Ninja; fi
processors=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
once='^(tools|steps|soak)$' # labels of what runs in the release build only
jobs=2 # tests measure and race: more at a time only disturb each other

scratch=$(mktemp -d)
: >"$scratch/made"
: >"$scratch/reasons"
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

has_compiler() { # has_compiler COMPILER FLAG...: whether it makes programs that run here
    compiler=$1
    shift
    echo '#include <pthread.h>
int main(void) { return 0; }' >"$scratch/empty.c"
    command -v "$compiler" >/dev/null 2>&1 &&
        "$compiler" "$@" "$scratch/empty.c" -o "$scratch/empty" -pthread >"$scratch/output" 2>&1 &&
        $still "$scratch/empty" >"$scratch/output" 2>&1
}

# Sanitizers of that time cannot start where the kernel scatters mappings too widely.
still=
if setarch -R true 2>/dev/null; then still="setarch -R"; fi

# The compiler of the builds that do not say.
cc=${CC:-cc}
flags_32bit="-m32"
[ ! -d /usr/include/x86_64-linux-gnu ] || flags_32bit="-m32 -isystem /usr/include/x86_64-linux-gnu"

leave_out() { # leave_out BUILD WHY
    echo
    echo "== $1: left out: $2"
    echo "  $1: left out: $2" >>"$scratch/made"
    skipped=$((skipped + 1))
}

give_up() { # give_up BUILD WHY
    echo "FAILED: $1 $2"
    echo "  $1: $2" >>"$scratch/made"
    failed=$((failed + 1))
}

# build_and_test BUILD CTEST-OPTION... -- CMAKE-OPTION...
build_and_test() {
    build=$1
    shift
    select=
    while [ "$1" != -- ]; do
        select="$select $1"
        shift
    done
    shift
    directory=$root/$build
    began=$(date +%s)
    echo
    echo "== $build"
    [ -e "$directory/CMakeCache.txt" ] || set -- -G "$generator" "$@"
    if ! cmake -S "$source" -B "$directory" "$@" >"$scratch/log" 2>&1 ||
        ! cmake --build "$directory" --parallel "$processors" >>"$scratch/log" 2>&1; then
        tail -n 100 "$scratch/log"
        give_up $build "does not build"
        return 0
    fi
    built=$(date +%s) status=0
    report=$directory/junit.xml
    rm -f "$report"
    case $build in
    check) length=0.1 ;;
    *) length=0.2 ;;
    esac
    MEMARENA_TEST_SCALE=${MEMARENA_TEST_SCALE:-$length} $still ctest --test-dir "$directory" -j $jobs --output-on-failure \
        $select --output-junit "$report" || status=$?
    ended=$(date +%s)
    [ -s "$report" ] || { give_up $build "left no report: ctest ended with $status; it needs --output-junit, of CMake 3.21"; return 0; }
    all=$(grep -c '<testcase ' "$report" || true)
    [ "$all" != 0 ] || { give_up $build "has no tests"; return 0; }
    good=$(grep -c '<testcase .* status="run"' "$report" || true)
    # A test that was not run for any other reason than its own wish counts as failed.
    away=$(grep -c -e '<skipped message="SKIP_' -e '<testcase .* status="disabled"' "$report" || true)
    bad=$((all - good - away))
    passed=$((passed + good)) failed=$((failed + bad)) skipped=$((skipped + away))
    echo "  $build: $good passed, $bad failed, $away skipped; built in $((built - began)) s, tested in $((ended - built)) s" \
        >>"$scratch/made"
    sed -n 's/^[[:space:]]*\(<system-out>\)\{0,1\}skipped: \([^<]*\).*/\2/p' "$report" >>"$scratch/reasons"
    # What failed once more where it is read first: at the end.
    [ "$bad" = 0 ] || sed -n '/<testcase .* status="fail"/,/<\/testcase>/p' "$report" |
        sed -n -e 's/.*<testcase name="\([^"]*\)".*/    \1: FAILED/p' -e '/<system-out>/,/<\/system-out>/s/^/      /p' |
        sed -e 's/<\/*system-out>//' -e 's/&lt;/</g; s/&gt;/>/g; s/&quot;/"/g; s/&amp;/\&/g' | tail -n 60 >>"$scratch/made"
}

for build in "$@"; do
    case $build in
    release) build_and_test release -- -DCMAKE_BUILD_TYPE=Release ;;
    check)
        build_and_test check -LE "$once" -- -DCMAKE_BUILD_TYPE=Release -DMEMARENA_BUILD_BENCH=OFF \
            -DMEMARENA_BUILD_EXAMPLES=OFF -DMEMARENA_TEST_ALL=OFF
        ;;
    asan | tsan) # both with UndefinedBehaviorSanitizer
        only= few=-DMEMARENA_TEST_ALL=OFF
        case $build in
        asan) sanitizer=address,undefined ;;
        tsan) sanitizer=thread,undefined only="-L ^threads$" few= ;; # it has nothing to say about one thread
        esac
        if has_compiler "$cc" -fsanitize=$sanitizer; then
            build_and_test $build -LE "$once" $only -- -DCMAKE_BUILD_TYPE=RelWithDebInfo \
                -DMEMARENA_SANITIZE=$sanitizer -DMEMARENA_BUILD_BENCH=OFF -DMEMARENA_BUILD_EXAMPLES=OFF $few
        else
            leave_out $build "no $cc here that makes programs with -fsanitize=$sanitizer"
        fi
        ;;
    clang)
        if has_compiler clang; then
            build_and_test clang -LE "$once" -- -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_COMPILER=clang -DMEMARENA_TEST_ALL=OFF
        else
            leave_out clang "no clang here"
        fi
        ;;
    32bit)
        if has_compiler "$cc" $flags_32bit; then
            build_and_test 32bit -LE "$once" -- -DCMAKE_BUILD_TYPE=Release "-DCMAKE_C_FLAGS=$flags_32bit" \
                -DMEMARENA_BUILD_BENCH=OFF -DMEMARENA_TEST_ALL=OFF
        else
            leave_out 32bit "no $cc here that makes 32-bit programs"
        fi
        ;;
    *)
        echo "run_all.sh: no build is called $build" >&2
        exit 2
        ;;
    esac
done

echo
echo "builds:"
cat "$scratch/made"
# What is missing here, and is not tested therefore.
if [ -s "$scratch/reasons" ]; then
    echo "skipped, because:"
    sort "$scratch/reasons" | uniq -c | sort -rn | sed -e 's/&lt;/</g; s/&gt;/>/g; s/&quot;/"/g; s/&amp;/\&/g' | head -n 30
fi
case " $* " in
*" check "*) ;;
*)
    "$source/tools/setup" --lacks test >"$scratch/lacks"
    if [ -s "$scratch/lacks" ]; then
        echo "not tested, for want of packages (as root \`make test\` installs them):"
        sed 's/^/  /' "$scratch/lacks"
    fi
    ;;
esac
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ] && [ "$passed" != 0 ]
