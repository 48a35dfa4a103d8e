#!/bin/sh
# Tests memarena-ingest. usage: test_ingest.sh MEMARENA_INGEST [CASE...]; without a CASE, all of them.
set -u

program=$1
shift
here=$(cd "$(dirname "$0")" && pwd)
name=memarena-ingest
. "$here/../cases.sh"

# ---- Helpers ---------------------------------------------------------------------------------------------------

# The lines of the table, without its title, single spaces between words.
table() {
    sed -e 1d -e '/^$/,$d' "$scratch/out" | awk '{ $1 = $1; print }'
}
checksum() {
    sed -n 's/^checksum  *//p' "$scratch/out"
}
counts_of_csv() { # records, rejected, services
    cut -d, -f3-5 "$scratch/out"
}
checksum_of_csv() {
    cut -d, -f12 "$scratch/out"
}

# record SERVICE [STATUS [LATENCY [BYTES]]]
record() {
    printf '{"service":"%s","status":%s,"latency_us":%s,"bytes":%s}\n' "$1" "${2:-200}" "${3:-1}" "${4:-1}"
}

has_sanitizer() {
    grep -q -e __asan_init -e __tsan_init "$program"
}

# ---- Cases: every function called test_*; CMake makes each a test ------------------------------------------------

test_results_are_those_of_another_computation_for_all_allocators_and_threads() {
    command -v python3 >/dev/null || skip "no python3 here"
    "$program" --generate 20000 >"$scratch/records" || fail "cannot generate"
    python3 "$here/expected.py" "$scratch/records" >"$scratch/expected" || fail "no expectation"
    same "services" 7 "$(lines_of expected)"
    first=
    for allocator in arena malloc malloc-own; do
        for threads in 1 2 8; do
            run 0 -a $allocator -j $threads -b 64K "$scratch/records"
            same "lines on stderr" 0 "$(lines_of err)"
            same "table, $allocator, $threads threads" "$(cat "$scratch/expected")" "$(table)"
            same "checksum, $allocator, $threads threads" "${first:=$(checksum)}" "$(checksum)"
        done
    done
}

test_generated_records_depend_on_the_seed_only() {
    run 0 --generate 1000 && same "records" 1000 "$(lines_of out)"
    mv "$scratch/out" "$scratch/one"
    run 0 --generate 1000 --seed 1
    cmp -s "$scratch/one" "$scratch/out" || fail "the same seed, other records"
    run 0 --generate 1000 --seed 2
    ! cmp -s "$scratch/one" "$scratch/out" || fail "another seed, the same records"
    run 0 --generate 0 && same "records" 0 "$(lines_of out)"
    cat >"$scratch/expected" <<'END'
{"time":"2026-03-01T00:00:00.004Z","service":"search","host":"search-0","region":"ap-south-1","method":"DELETE","path":"/v1/search/183916","status":200,"latency_us":17257,"bytes":9654,"trace":"6775dc7701564f61","user":{"id":60685,"agent":"curl/7.88.1","roles":["buyer"]},"spans":[{"name":"cache","us":5752},{"name":"auth","us":5752},{"name":"cache","us":5752}]}
END
    same "the first record" "$(cat "$scratch/expected")" "$(head -n 1 "$scratch/one")"
}

test_the_checksum_depends_on_what_was_recorded() {
    record a 200 100 1000 >"$scratch/records"
    run 0 --csv "$scratch/records" && sum=$(checksum_of_csv)
    for other in "b 200 100 1000" "a 500 100 1000" "a 200 101 1000" "a 200 100 1001"; do
        # shellcheck disable=SC2086 # several arguments
        record $other >"$scratch/other"
        run 0 --csv "$scratch/other"
        [ "$sum" != "$(checksum_of_csv)" ] || fail "the same checksum for $other"
    done
    { record a; record b 404; } >"$scratch/records"
    { record b 404; record a; } >"$scratch/other"
    run 0 --csv "$scratch/records" && sum=$(checksum_of_csv)
    run 0 --csv "$scratch/other" && same "another order" "$sum" "$(checksum_of_csv)"
}

test_malformed_lines_are_counted_and_the_first_are_shown() {
    {
        record good
        echo 'nonsense'                                                       # 2
        echo '{"service":"a","status":200,'                                   # 3
        echo                                                                  # blank: none
        echo '{"service":"a","status":200,"latency_us":1,"bytes":1} {}'       # 5
        echo '["service"]'                                                    # 6
        echo '{"Service":"a","status":200,"latency_us":1,"bytes":1}'          # 7
        record good
        record a 99                                                           # 9
        record a 200 -1                                                       # 10
        record a 200 1 1.5                                                    # 11
        record a 200 1e999                                                    # 12
        printf '%s\000%s\n' "$(record a)" '{}'                                # 13
    } >"$scratch/records"
    run 0 -a malloc "$scratch/records" # the table is for all
    cat >"$scratch/expected" <<END
memarena-ingest: $scratch/records:2: not JSON from byte 1 on
memarena-ingest: $scratch/records:3: not JSON from byte 29 on
memarena-ingest: $scratch/records:5: not JSON from byte 55 on
memarena-ingest: $scratch/records:6: not an object
memarena-ingest: $scratch/records:7: service: not a string
memarena-ingest: $scratch/records: and 5 more lines left out
END
    same "messages" "$(cat "$scratch/expected")" "$(cat "$scratch/err")"
    same "table" "good 2 0 0.001 0.001 0.001 0.000" "$(table)"
    grep -q "^records  *2 of 1 services, .*, 10 lines left out$" "$scratch/out" || fail "$(cat "$scratch/out")"
    for line in 9 10 11; do
        sed -n ${line}p "$scratch/records" >"$scratch/one"
        run 0 "$scratch/one"
        sed "s|.*$scratch/one:1: ||; s/ .*//" "$scratch/err"
    done >"$scratch/fields"
    same "fields" "status: latency_us: bytes:" "$(xargs <"$scratch/fields")"
}

test_the_first_malformed_lines_are_shown_whatever_the_threads_do() {
    # The first line takes so long that batches of later ones come before its own.
    awk 'BEGIN {
        for (i = 0; i < 1000000; i++) printf "["
        for (i = 0; i < 1000000; i++) printf "%s1", i ? "," : "\n["
        print ""
        for (i = 3; i <= 20000; i++)
            print i % 1000 == 7 ? "bad" : "{\"service\":\"s\",\"status\":200,\"latency_us\":" i ",\"bytes\":1}"
    }' >"$scratch/records"
    for allocator in arena malloc malloc-own; do
        run 0 --csv -a $allocator -j 8 -b 1K "$scratch/records"
        same "records, rejected, services" "19978,22,1" "$(counts_of_csv)"
        same "lines shown" "1 2 7 1007 2007" "$(sed -n 's/.*:\([0-9]*\): not JSON.*/\1/p' "$scratch/err" | xargs)"
    done
}

test_lines_may_have_any_length() {
    long=$(awk 'BEGIN { for (i = 0; i < 300000; i++) printf "long" }')
    {
        record a
        printf '{"pad":"%s","service":"%s","status":500,"latency_us":1000000000000,"bytes":2}\n' "$long" b
        printf ' \t\r\n'
        record c | sed 's/$/\r/'
        record d | tr -d '\n' # no newline at the end
    } >"$scratch/records"
    for batch in 1K 64K 4M; do
        run 0 -b $batch "$scratch/records"
        same "lines on stderr" 0 "$(lines_of err)"
        same "table" "a 1 0 0.001 0.001 0.001 0.000
b 1 1 996432412.672 996432412.672 1000000000.000 0.000
c 1 0 0.001 0.001 0.001 0.000
d 1 0 0.001 0.001 0.001 0.000" "$(table)"
    done
}

test_batches_use_the_same_memory_again() {
    "$program" --generate 20000 >"$scratch/records" || fail "cannot generate"
    run 0 --csv -j 2 -b 16K -m 4M "$scratch/records" # all of them take 60 MB
    same "records, rejected, services" "20000,0,7" "$(counts_of_csv)"
}

test_input_may_be_standard_input_and_empty() {
    record a >"$scratch/records"
    run 0 --csv "$scratch/records" && sum=$(checksum_of_csv)
    for option in "" -; do
        # shellcheck disable=SC2086 # perhaps none
        (while read -r line; do sleep 0.1; echo "$line"; done <"$scratch/records") | run 0 --csv $option || exit 1
        same "checksum of standard input" "$sum" "$(checksum_of_csv)"
        run 0 --csv $option </dev/null
        same "an empty input" "0,0,0" "$(counts_of_csv)"
    done
    run 0 --time </dev/null
    same "lines on stderr" 0 "$(lines_of err)"
    echo x | run 0 --csv || exit 1
    same "message" "memarena-ingest: standard input:1: not JSON from byte 1 on" "$(cat "$scratch/err")"
}

test_many_threads_and_many_services() {
    awk 'BEGIN {
        for (i = 0; i < 30000; i++)
            print "{\"service\":\"s" i % 5000 "\",\"status\":200,\"latency_us\":" i ",\"bytes\":1}"
    }' >"$scratch/records"
    for allocator in arena malloc malloc-own; do
        run 0 --csv -a $allocator -j 64 -b 2K "$scratch/records"
        same "records, rejected, services" "30000,0,5000" "$(counts_of_csv)"
    done
    run 0 -n 2 "$scratch/records"
    same "table" "s0 6 0 9.984 24.832 25.000 0.000
s1 6 0 9.984 24.832 25.001 0.000
... and 4998 more" "$(table)"
}

test_names_cannot_move_the_cursor() {
    printf '{"service":"\\u001b[2J\\n","status":200,"latency_us":1,"bytes":1}\n' >"$scratch/records"
    run 0 "$scratch/records"
    same "table" "?[2J? 1 0 0.001 0.001 0.001 0.000" "$(table)"
}

test_a_file_that_cannot_be_read_is_one_line_and_exit_1() {
    run 1 "$scratch/nowhere"
    same "message" "memarena-ingest: $scratch/nowhere: No such file or directory" "$(cat "$scratch/err")"
    for allocator in arena malloc malloc-own; do
        run 1 -a $allocator "$scratch"
        same "message" "memarena-ingest: $scratch: cannot be read: Is a directory" "$(cat "$scratch/err")"
        same "lines on stdout" 0 "$(lines_of out)"
    done
}

test_wrong_usage_is_exit_2() {
    for wrong in "-j 0" "-j 257" "-j x" "-j 1K" "-j -1" "-j" "-a tcmalloc" "-b 1023" "-b 1KK" "-m 1K" "-m 16777216T" "-n 100001" \
        "--seed 2" "--generate" "--generate x" "--generate 1 file" "-z" "--nope" "--csv=1" "a b"; do
        # shellcheck disable=SC2086 # several arguments
        run 2 $wrong </dev/null
        same "lines on stdout after '$wrong'" 0 "$(lines_of out)"
        same "lines on stderr after '$wrong'" 4 "$(lines_of err)"
    done
    run 2 -j
    same "message" "memarena-ingest: -j: needs a value" "$(head -n 1 "$scratch/err")"
    run 2 --nope
    same "message" "memarena-ingest: --nope: no such option" "$(head -n 1 "$scratch/err")"
    run 0 --help
    run 0 -h
}

test_lack_of_memory_is_one_line_and_exit_1() {
    record a >"$scratch/records"
    awk 'BEGIN { printf "["; for (i = 0; i < 1000000; i++) printf "1,"; print "1]" }' >>"$scratch/records" # 64 MB
    run 1 -m 1M "$scratch/records"
    same "message" "memarena-ingest: $scratch/records:2: no memory for the records: Cannot allocate memory" \
        "$(cat "$scratch/err")"
    same "lines on stdout" 0 "$(lines_of out)"
    ! has_sanitizer || skip "a sanitizer does not fit under ulimit -v"
    for allocator in malloc malloc-own; do
        # shellcheck disable=SC3045 # not in POSIX, but in every shell that is some system's sh
        (ulimit -v 65536 && run 1 -j 1 -a $allocator "$scratch/records") || exit 1
        same "lines on stderr" 1 "$(lines_of err)"
        grep -q "memarena-ingest: .*: Cannot allocate memory" "$scratch/err" || fail "$(cat "$scratch/err")"
    done
    # shellcheck disable=SC3045
    (ulimit -v 65536 && run 1 -j 1 -m 64M "$scratch/records") || exit 1
    same "message" "memarena-ingest: $scratch/records: no memory for the batches: Cannot allocate memory" \
        "$(cat "$scratch/err")"
}

test_a_full_disk_is_exit_1() {
    [ -e /dev/full ] || skip "no /dev/full here"
    for arguments in "" "--csv" "--generate 100000" "--help"; do
        # shellcheck disable=SC2086 # several arguments
        "$program" $arguments </dev/null >/dev/full 2>"$scratch/err"
        same "exit, $arguments" 1 $?
        same "message" "memarena-ingest: standard output: No space left on device" "$(cat "$scratch/err")"
    done
}

test_compare_prints_a_table_and_notices_a_difference() {
    RECORDS=1000 ROUNDS=1 "$here/compare.sh" "$program" >"$scratch/out" 2>"$scratch/err" || fail "$(cat "$scratch/err")"
    for line in "memarena .* 1.00" "malloc .*" "malloc own .*"; do
        grep -q "^$line$" "$scratch/out" || fail "no line $line: $(cat "$scratch/out")"
    done
    # A program whose checksum is the number of its process.
    printf '#!/bin/sh\n[ "$1" = --help ] || echo "x,1,1,0,1,0.1,0.1,0.1,0.1,0.1,1,$$"\n' >"$scratch/liar"
    chmod +x "$scratch/liar"
    ! "$here/compare.sh" "$scratch/liar" "$scratch/out" >/dev/null 2>"$scratch/err" || fail "no difference noticed"
    grep -q "checksums differ" "$scratch/err" || fail "no clear message: $(cat "$scratch/err")"
}

run_cases "$@"
