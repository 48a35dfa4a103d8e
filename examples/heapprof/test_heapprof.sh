#!/bin/sh
# Tests memarena-heapprof. usage: test_heapprof.sh MEMARENA_HEAPPROF [CASE...]; without a CASE, all of them.
set -u

program=$1
shift
here=$(cd "$(dirname "$0")" && pwd)
name=memarena-heapprof
. "$here/../cases.sh"

sites="keep_line split_line remember_word add_posting grow_table"

# Of the table: FUNCTION BYTES ESTIMATED for each
rows() {
    awk 'NF == 5 && $2 ~ /^[0-9]+$/ { print $1, $2, $4 }' "$scratch/out"
}

# ---- Cases: every function called test_*; CMake makes each a test ------------------------------------------------

test_the_heaviest_function_is_found_with_its_share() {
    for threads in 1 3; do
        run 0 -b 4096 -j $threads -l 60000 -o "$scratch/stacks"
        same "functions in the table" "$sites" "$(rows | cut -d ' ' -f 1 | xargs)"
        # bytes that each function took, by the stacks: within 6 standard deviations of what it counted
        rows | awk -v mean=4096 -v stacks="$scratch/stacks" '
            { bytes[$1] = $2; table[$1] = $3; total += $2 }
            END {
                while ((getline line < stacks) > 0) {
                    fields = split(line, part, " ")
                    functions = split(part[1], at, ";")
                    if (fields != 2 || part[2] !~ /^[0-9]+$/) { print "not a folded stack: " line; exit 1 }
                    sum[at[functions]] += part[2]
                    all += part[2]
                }
                for (name in bytes) {
                    off = sum[name] - bytes[name]
                    if (off * off > 36 * mean * bytes[name]) { print name ": " sum[name] " of " bytes[name]; exit 1 }
                    if (sum[name] + 0 != table[name] + 0) { print name ": " sum[name] ", but " table[name]; exit 1 }
                    if (sum[name] > most) { most = sum[name]; heaviest = name }
                }
                off = all - total
                if (off * off > 36 * mean * total) { print all " of " total; exit 1 }
                if (heaviest != "add_posting") { print "the heaviest is " heaviest; exit 1 }
                share = most / all - bytes[heaviest] / total
                if (share > 0.03 || share < -0.03) { print "its share is off by " share; exit 1 }
            }' >"$scratch/complaint" || fail "$(cat "$scratch/complaint")"
    done
}

test_with_1_byte_nothing_is_estimated() {
    run 0 -b 1 -j 2 -l 2000
    for site in $sites; do
        same "what $site took" "$(rows | awk -v of="$site" '$1 == of { print $2 }')" \
            "$(rows | awk -v of="$site" '$1 == of { print $3 }')"
    done
}

test_stacks_go_from_the_thread_to_the_call() {
    run 0 -b 100 -j 2 -l 2000 -o "$scratch/stacks"
    for stack in "take_line;add_posting" "take_line;keep_line" "take_line;grow_table"; do
        grep -q "^work;.*journal_take_in;$stack [0-9]*$" "$scratch/stacks" ||
            fail "no stack $stack: $(cat "$scratch/stacks")"
    done
    ! grep -q -e memarena_ -e note "$scratch/stacks" || fail "a frame of the library: $(cat "$scratch/stacks")"
    same "stacks that are there twice" "" "$(sed 's/ .*//' "$scratch/stacks" | sort | uniq -d)"
}

test_wrong_usage_is_exit_2() {
    for wrong in "-b 0" "-b x" "-b -1" "-j 65" "-j" "-l 0" "-l 1x" "-l 1000000001" "-z" "--nope" "more"; do
        # shellcheck disable=SC2086 # several arguments
        run 2 $wrong
        same "lines on stdout after '$wrong'" 0 "$(lines_of out)"
        same "lines on stderr after '$wrong'" 2 "$(lines_of err)"
    done
    run 0 --help
    run 0 -h
}

test_what_cannot_be_written_is_one_line_and_exit_1() {
    run 1 -l 100 -o "$scratch/nowhere/stacks"
    same "message" "memarena-heapprof: $scratch/nowhere/stacks: No such file or directory" "$(cat "$scratch/err")"
    [ -e /dev/full ] || skip "no /dev/full here"
    run 1 -l 100 -b 100 -o /dev/full
    same "message" "memarena-heapprof: /dev/full: No space left on device" "$(cat "$scratch/err")"
    "$program" -l 100 >/dev/full 2>"$scratch/err"
    same "exit" 1 $?
    same "lines on stderr" 1 "$(lines_of err)"
}

test_lack_of_memory_is_one_line_and_exit_1() {
    limit_kib=262144 # ulimit -v is not in POSIX, but in every shell that is some system's sh
    ! grep -q -e __asan_init -e __tsan_init "$program" || skip "a sanitizer does not fit under ulimit -v"
    # shellcheck disable=SC3045
    (ulimit -v $limit_kib && run 1 -j 1 -l 1000000) || exit 1
    same "message" "memarena-heapprof: cannot index so many lines: Cannot allocate memory" "$(cat "$scratch/err")"
}

run_cases "$@"
