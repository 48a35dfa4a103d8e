#!/bin/sh
# Tests memarena-httpd. usage: test_httpd.sh MEMARENA_HTTPD [CASE...]; without a CASE, all of them.
set -u

program=$1
shift
here=$(cd "$(dirname "$0")" && pwd)
name=memarena-httpd
. "$here/../cases.sh"
# Memory that is kept from reuse for longer would not be flat.
export ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}quarantine_size_mb=1"

# ---- Helpers ---------------------------------------------------------------------------------------------------

# What a server comes round to is waited for in so many tries, each of which asks it something.
TRIES=1000

# start ARGUMENT...: a server on a free port, $port; its process is $server.
start() {
    command -v python3 >/dev/null || skip "no python3 here"
    : >"$scratch/out"
    "$program" -p 0 "$@" >>"$scratch/out" 2>"$scratch/err" &
    server=$!
    trap 'kill -9 "$server" 2>/dev/null' EXIT
    trap 'exit 1' HUP INT TERM
    until grep -q http: "$scratch/out"; do
        kill -0 "$server" 2>/dev/null || fail "the server does not start: $(cat "$scratch/err")"
        sleep 0.1
    done
    port=$(sed -n 's/.*127\.0\.0\.1:\([0-9]*\),.*/\1/p' "$scratch/out")
}

# Ends the server; it checks itself that no memory is missing.
stop() {
    kill -TERM "$server"
    wait "$server"
    status=$?
    trap - EXIT
    [ "$status" = 0 ] || fail "exit $status: $(cat "$scratch/err")"
    same "lines on stderr" 0 "$(lines_of err)"
    grep -q "^memarena-httpd: [0-9]* requests, " "$scratch/out" || fail "no summary: $(cat "$scratch/out")"
}

# client COMMAND ARGUMENT...: see client.py
client() {
    python3 "$here/client.py" "$port" "$@"
}

ask() {
    client ask "$@"
}

# memory NAME: a number of GET /memory
memory() {
    ask GET /memory | sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p"
}

# Scopes end when the server notices that their clients are gone.
wait_until_all_scopes_are_ended() {
    tries=$TRIES
    while [ "$(memory open_scopes)" != 1 ]; do # that of the question itself
        [ "$tries" -gt 0 ] || fail "scopes stay open: $(ask GET /memory)"
        tries=$((tries - 1))
        sleep 0.1
    done
}

# items COUNT: an order of so many items, each of 450 bytes or so when it is parsed
items() {
    awk -v count="$1" 'BEGIN {
        printf "{\"items\":["
        for (i = 0; i < count; i++) printf "%s{\"name\":\"n%d\",\"price\":0.5,\"count\":2}", i ? "," : "", i % 4
        printf "]}"
    }'
}

# totals_of COUNT: the answer to it, for a multiple of 4
totals_of() {
    awk -v count="$1" 'BEGIN {
        printf "200 - - {\"items\":%d,\"total\":%d,\"names\":[", count, count
        for (i = 0; i < 4; i++)
            printf "%s{\"name\":\"n%d\",\"count\":%d,\"total\":%d}", i ? "," : "", i, count / 2, count / 4
        printf "]}\n"
    }'
}

# same_in_time WHAT EXPECTED COMMAND...: as `same`, once the server has come round to it.
same_in_time() {
    what=$1 expected=$2 tries=$TRIES
    shift 2
    until [ "$("$@")" = "$expected" ] || [ "$tries" = 0 ]; do
        tries=$((tries - 1))
        sleep 0.1
    done
    same "$what" "$expected" "$("$@")"
}

# hold COUNT: so many clients whose requests the server has begun with, and that send half a body; until `release`.
hold() {
    rm -f "$scratch/until"
    mkfifo "$scratch/until"
    : >"$scratch/held"
    client hold "$1" <"$scratch/until" >>"$scratch/held" 2>&1 &
    holder=$!
    exec 9>"$scratch/until"
    until grep -q holding "$scratch/held"; do
        kill -0 "$holder" 2>/dev/null || fail "the clients do not get through: $(cat "$scratch/held")"
        sleep 0.1
    done
}

release() {
    exec 9>&-
    wait "$holder"
}

# ---- Cases: every function called test_*; CMake makes each a test ------------------------------------------------

too_large='{"error":"too large: more memory than one request may have"}'
busy='{"error":"busy: no memory for this request now"}'

# METHOD PATH BODY => what it must be answered with; on one connection, and each bears its number.
exact_answers() {
    cat <<'END'
POST /totals {"items":[{"name":"tea","price":2.5,"count":4}]} => 200 - {"items":1,"total":10,"names":[{"name":"tea","count":4,"total":10}]}
POST /totals {"items":[{"name":"b","price":1,"count":1},{"name":"a","price":0.25,"count":2},{"name":"b","price":3,"count":2}]} => 200 - {"items":3,"total":7.5,"names":[{"name":"a","count":2,"total":0.5},{"name":"b","count":3,"total":7}]}
POST /totals {"extra":[null,{}],"items":[{"count":1,"price":0,"name":"é\"\\","more":1}]} => 200 - {"items":1,"total":0,"names":[{"name":"é\"\\","count":1,"total":0}]}
POST /totals {"items":[]} => 200 - {"items":0,"total":0,"names":[]}
POST /totals => 400 - {"error":"no body"}
POST /totals nonsense => 400 - {"error":"not JSON from byte 0 on"}
POST /totals {"items":[]}} => 400 - {"error":"not JSON from byte 12 on"}
POST /totals {"items":[{"name":"tea", => 400 - {"error":"not JSON from byte 24 on"}
POST /totals 1 => 400 - {"error":"items: not an array"}
POST /totals [] => 400 - {"error":"items: not an array"}
POST /totals {"items":{}} => 400 - {"error":"items: not an array"}
POST /totals {"items":[1]} => 400 - {"error":"items[0].name: not a string"}
POST /totals {"items":[{"name":"a","price":1,"count":1},{"name":"a","price":-1,"count":1}]} => 400 - {"error":"items[1].price: not a number from 0 to 1000000000"}
POST /totals {"items":[{"name":"a","price":"1","count":1}]} => 400 - {"error":"items[0].price: not a number from 0 to 1000000000"}
POST /totals {"items":[{"name":"a","price":1e10,"count":1}]} => 400 - {"error":"items[0].price: not a number from 0 to 1000000000"}
POST /totals {"items":[{"name":"a","price":1,"count":1.5}]} => 400 - {"error":"items[0].count: not a whole number from 1 to 1000000"}
POST /totals {"items":[{"name":"a","price":1,"count":0}]} => 400 - {"error":"items[0].count: not a whole number from 1 to 1000000"}
GET /totals => 405 POST {"error":"no such method here"}
DELETE /memory => 405 GET {"error":"no such method here"}
PUT /totals {"items":[]} => 405 POST {"error":"no such method here"}
GET / => 404 - {"error":"no such path"}
POST /totals/ {"items":[]} => 404 - {"error":"no such path"}
END
}

test_answers_are_exact() {
    exact_answers | sed 's/ => .*//' >"$scratch/requests"
    exact_answers | sed 's/.* => //' | awk '{ status = $1; sub(/^[0-9]* /, ""); print status, NR - 1, $0 }' \
        >"$scratch/expected"
    for options in "" "-j 1" "--malloc"; do
        # shellcheck disable=SC2086 # several arguments
        start $options
        client batch <"$scratch/requests" >"$scratch/answers"
        diff "$scratch/expected" "$scratch/answers" >"$scratch/difference" || fail "with '$options':
$(cat "$scratch/difference")"
        same "an empty id" '404 - - {"error":"no such path"}' "$(ask GET / "" "")"
        stop
    done
}

test_a_body_may_come_in_chunks() {
    start
    items 400 >"$scratch/order"
    same "announced" "$(totals_of 400)" "$(ask POST /totals "@$scratch/order")"
    same "in chunks" "$(totals_of 400)" "$(client chunked /totals "@$scratch/order")"
    printf '{"items":[]}\000{}' >"$scratch/order"
    same "a zero byte is not the end" '400 - - {"error":"not JSON from byte 13 on"}' "$(ask POST /totals "@$scratch/order")"
    stop
}

test_a_request_beyond_its_limit_is_413_and_the_next_is_answered() {
    items 40 >"$scratch/small"
    items 400 >"$scratch/tree"  # the text fits, what it is parsed into does not
    items 4000 >"$scratch/text" # the text alone is too large
    for options in "" "--malloc"; do
        # shellcheck disable=SC2086
        start -l 100K $options
        for body in tree text; do
            same "$body" "413 - - $too_large" "$(ask POST /totals "@$scratch/$body")"
            same "$body, in chunks" "413 - - $too_large" "$(client chunked /totals "@$scratch/$body")"
            same "the next" "$(totals_of 40)" "$(ask POST /totals "@$scratch/small")"
        done
        stop
        grep -q "4 too large, 0 while busy" "$scratch/out" || fail "miscounted: $(cat "$scratch/out")"
    done
}

test_a_full_arena_is_503_until_there_is_room_again() {
    start -a 256K -l 128K -i 3600 # nothing is cut off for being silent
    items 40 >"$scratch/order"
    hold 20 # each has 40000 bytes of its body there
    same_in_time "while it is full" "503 - - $busy" ask POST /totals "@$scratch/order"
    release
    wait_until_all_scopes_are_ended
    same "afterwards" "$(totals_of 40)" "$(ask POST /totals "@$scratch/order")"
    stop
}

test_no_room_for_a_scope_is_503() {
    start -a 64K -l 32K -i 3600
    hold 200
    same_in_time "while it is full" "503 - - $busy" ask GET /memory
    release
    wait_until_all_scopes_are_ended
    stop
}

test_aborted_clients_leave_no_scope_open() {
    start -i 3600
    taken=
    # How many are under way at once is chance, so there may be a new peak, but ever more rarely. What leaks grows every time.
    for turn in 1 2 3 4 5 6 7 8 none; do
        [ "$turn" != none ] || fail "160 aborted clients take more memory each time, $taken bytes in the end"
        client abort 160
        wait_until_all_scopes_are_ended
        now=$(memory taken_bytes)
        [ "$now" != "$taken" ] || break
        taken=$now
    done
    stop
}

test_silent_clients_are_cut_off() {
    for idle in 1 5 25 125 625; do # until it is long enough to see them all, where the machine has other work
        start -i $idle
        hold 5
        open=$(memory open_scopes)
        [ "$open" -lt 6 ] && [ $idle != 625 ] || break
        release
        stop
    done
    same "open scopes" 6 "$open"
    wait_until_all_scopes_are_ended
    release
    stop
}

test_requests_under_way_end_with_the_server() {
    for options in "" "-j 1" "--malloc"; do
        # shellcheck disable=SC2086
        start -i 3600 $options
        hold 5
        stop
        grep -q "^memarena-httpd: 5 requests, " "$scratch/out" || fail "miscounted: $(cat "$scratch/out")"
        release
    done
}

# load SECONDS: what wrk's script says; every answer was right. Again, where a busy machine has given too few.
load() {
    answers=0
    until [ "$answers" -ge 10000 ]; do load_once "$1"; done
}

load_once() {
    wrk -t 2 -c 16 -d "$1s" --timeout 100s -s "$here/load.lua" "http://127.0.0.1:$port" >"$scratch/load" 2>&1 ||
        fail "wrk: $(cat "$scratch/load")"
    said=$(sed -n 's/^load: //p' "$scratch/load")
    case $said in
    *" unchecked=0 wrong=0 socket_errors=0 "*) ;;
    *) fail "not every answer was right: ${said:-$(cat "$scratch/load")}" ;;
    esac
    echo "  $1 s: $said"
    said=${said#answers=}
    [ "${said%% *}" -gt 0 ] || fail "no answer"
    answers=$((answers + ${said%% *}))
}

resident_kib() {
    sed -n 's/^VmRSS:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$server/status"
}

# Which requests meet is chance, so a peak may still come after any warm-up, but ever more rarely. What leaks grows in
# every round: 1 MiB is 26 bytes for each of 40000 requests. So memory is flat if there is a round in which it hardly grows.
test_load_is_answered_right_in_flat_memory() {
    command -v wrk >/dev/null || skip "no wrk here"
    [ -r /proc/self/status ] || skip "no /proc here"
    start -j 2 -l 512K
    allocated=$(memory allocated_bytes)
    load 2 # to warm up: connections, caches, each thread's part of malloc
    taken_now=$(memory taken_bytes) resident_now=$(resident_kib)
    for round in 1 2 3 4 5 6 none; do
        [ "$round" != none ] || fail "memory grows in every round"
        taken=$taken_now resident=$resident_now
        load 3
        taken_now=$(memory taken_bytes) resident_now=$(resident_kib)
        echo "  round $round: $((taken_now / 1024)) KiB taken from the arena, $resident_now KiB resident"
        more=$((taken_now - taken)) # each byte of it resident, and up to four of a sanitizer's shadow
        [ "$more" -gt $((taken / 16)) ] || [ $((resident_now - resident - more * 5 / 1024)) -gt 1024 ] || break
    done
    same "bytes in blocks" "$allocated" "$(memory allocated_bytes)"
    same "open scopes" 1 "$(memory open_scopes)"
    most=$((16 * 2 * 512 * 1024)) # 16 connections, each with its limit, extents of up to twice that
    [ "$taken_now" -le "$most" ] || fail "$taken_now bytes taken from the arena, which 16 requests cannot need"
    stop
}

test_wrong_usage_is_exit_2() {
    for wrong in "-j 0" "-j 65" "-j x" "-j 1K" "-j -1" "-j" "-p 65536" "-a 63K" "-a 1T" "-a 1KK" "-l 1023" \
        "-l 99999999999G" "-i 0" "-z" "--nope" "--malloc=1" "."; do
        # shellcheck disable=SC2086 # several arguments
        run 2 $wrong
        same "lines on stdout after '$wrong'" 0 "$(lines_of out)"
        same "lines on stderr after '$wrong'" 2 "$(lines_of err)"
    done
    run 0 --help
    run 0 -h
}

test_what_prevents_the_start_is_one_line_and_exit_1() {
    start
    "$program" -p "$port" >"$scratch/out2" 2>"$scratch/err2"
    same "exit, the port in use" 1 $?
    same "message" "memarena-httpd: cannot listen: Address already in use" "$(cat "$scratch/err2")"
    "$program" -a 16777216G >"$scratch/out2" 2>"$scratch/err2"
    same "exit, too large an arena" 1 $?
    same "message" "memarena-httpd: cannot create the arena: Cannot allocate memory" "$(cat "$scratch/err2")"
    if [ -e /dev/full ]; then
        "$program" -p 0 >/dev/full 2>"$scratch/err2"
        same "exit, a full disk" 1 $?
        same "message" "memarena-httpd: standard output: No space left on device" "$(head -n 1 "$scratch/err2")"
    fi
    stop
}

run_cases "$@"
