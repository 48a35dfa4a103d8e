#!/bin/sh
# Tests memarena-lua. usage: test_lua.sh MEMARENA_LUA [CASE...]; without a CASE, all of them.
set -u

program=$1
shift
here=$(cd "$(dirname "$0")" && pwd)
name=memarena-lua
. "$here/../cases.sh"

# ---- Helpers ---------------------------------------------------------------------------------------------------

# script LINE...: the script of the next requests
script() {
    printf '%s\n' "$@" >"$scratch/script.lua"
}

# responses EXPECTED OPTION...: what the script answers to the lines of $scratch/requests, on each allocator
responses() {
    expected_responses=$1
    shift
    for allocator in arena malloc; do
        run 0 -s "$scratch/script.lua" -a $allocator "$@" "$scratch/requests"
        same "lines on stderr" 0 "$(lines_of err)"
        same "responses, $allocator" "$expected_responses" "$(cat "$scratch/out")"
    done
}

counts_of_csv() { # requests, errors, bytes
    cut -d, -f3-5 "$scratch/out"
}
checksum_of_csv() {
    cut -d, -f10 "$scratch/out"
}

# ---- Cases: every function called test_*; CMake makes each a test ------------------------------------------------

test_invoices_are_those_of_another_computation_for_all_allocators() {
    command -v python3 >/dev/null || skip "no python3 here"
    script 'function handle(request) return request end'
    run 0 -s "$scratch/script.lua" --requests 500
    mv "$scratch/out" "$scratch/requests"
    same "requests" 500 "$(lines_of requests)"
    python3 "$here/expected.py" <"$scratch/requests" >"$scratch/expected" || fail "no expectation"
    first=
    for options in "-a arena" "-a arena -g on" "-a malloc" "-a malloc -g off"; do
        # shellcheck disable=SC2086 # several arguments
        run 0 $options "$scratch/requests"
        cmp "$scratch/expected" "$scratch/out" >&2 || fail "with $options: $(diff "$scratch/expected" "$scratch/out" | head -n 4)"
        # shellcheck disable=SC2086
        run 0 $options --requests 500
        cmp "$scratch/expected" "$scratch/out" >&2 || fail "made up, with $options"
        # shellcheck disable=SC2086
        run 0 $options --csv --requests 500
        same "requests, errors, bytes" "500,0,$(($(wc -c <"$scratch/expected") - 500))" "$(counts_of_csv)"
        same "checksum with $options" "${first:=$(checksum_of_csv)}" "$(checksum_of_csv)"
    done
    run 0 --csv --requests 500 --seed 2
    [ "$first" != "$(checksum_of_csv)" ] || fail "another seed, the same checksum"
}

test_bad_orders_are_answered_by_an_error() {
    printf '%s\n' 'order=1' 'customer=a&item=tea' 'customer=a&order=7' '' 'customer=a&item=x:1:2' >"$scratch/requests"
    run 0 "$scratch/requests"
    cat >"$scratch/expected" <<'END'
error: customer: missing
error: item: not name:price:count: tea
{"customer":"a","order":7,"lines":[],"total":"0.00"}
error: customer: missing
{"customer":"a","order":0,"lines":[{"name":"x","count":2,"total":"0.02"}],"total":"0.02"}
END
    same "responses" "$(cat "$scratch/expected")" "$(cat "$scratch/out")"
    run 0 --csv "$scratch/requests"
    same "requests, errors" "5,3" "$(cut -d, -f3-4 "$scratch/out")"
}

test_each_request_has_a_fresh_state() {
    printf '%s\n' a b c >"$scratch/requests"
    script 'count = 0' 'function handle(request) count = count + 1; string.mine = string.mine or request' \
        'return request .. count .. string.mine end'
    responses "a1a
b1b
c1c"
}

test_a_request_that_takes_too_much_memory_is_an_error_and_the_next_is_answered() {
    printf '%s\n' 2 all 3 caught 4 rep 5 >"$scratch/requests"
    script 'local function all() local list; for _ = 1, 1e6 do list = { list } end end' \
        'function handle(request)' \
        'if request == "all" then all() end' \
        'if request == "caught" then local ok, why = pcall(all); return why end' \
        'if request == "rep" then return ("x"):rep(2^30) end' \
        'return request * 2 end'
    responses "4
error: not enough memory
6
not enough memory
8
error: not enough memory
10" -m 1M -i 0
    responses "$(for _ in 1 2 3 4 5 6 7; do echo "error: not enough memory"; done)" -m 1K
    printf '%s\n' 2 3 >"$scratch/requests"
    responses "4
6" -m 64K # nothing is carried over
}

test_garbage_counts_in_a_scope_and_not_with_malloc() {
    echo x >"$scratch/requests"
    script 'function handle() for _ = 1, 1e5 do local garbage = {} end return "done" end'
    run 0 -s "$scratch/script.lua" -m 1M -a arena "$scratch/requests"
    same "in a scope" "error: not enough memory" "$(cat "$scratch/out")"
    run 0 -s "$scratch/script.lua" -m 1M -a malloc "$scratch/requests"
    same "with malloc" "done" "$(cat "$scratch/out")"
}

test_memory_is_used_again() {
    grep -q -e __asan_init -e __tsan_init "$program" && skip "a sanitizer does not fit under ulimit -v"
    script 'function handle(request) return #("x"):rep(1000000) end' # a megabyte each
    for allocator in arena malloc; do
        # shellcheck disable=SC3045 # not in POSIX, but in every shell that is some system's sh
        (ulimit -v 65536 && run 0 -s "$scratch/script.lua" -a $allocator --csv --requests 300) || exit 1
        same "requests, errors" "300,0" "$(cut -d, -f3-4 "$scratch/out")"
    done
}

test_a_request_that_runs_too_long_is_an_error_and_the_next_is_answered() {
    printf '%s\n' 1 for 2 pcall 3 nested 4 close 5 >"$scratch/requests"
    script 'local function forever() while true do end end' \
        'function handle(request)' \
        'if request == "for" then forever() end' \
        'if request == "pcall" then while true do pcall(forever) end end' \
        'if request == "nested" then pcall(pcall, pcall, forever); while true do end end' \
        'if request == "close" then local _ <close> = setmetatable({}, { __close = forever }); forever() end' \
        'return request * 2 end'
    for allocator in arena malloc; do
        run 0 -s "$scratch/script.lua" -a $allocator -i 100000 "$scratch/requests"
        same "responses, $allocator" "2 error 4 error 6 error 8 error 10" "$(sed 's/:.*//' "$scratch/out" | xargs)"
        same "reasons, $allocator" 4 "$(grep -c ': too many instructions$' "$scratch/out")"
    done
}

test_scripts_only_compute() {
    echo x >"$scratch/requests"
    script 'function handle() local open = {}; for name in pairs(_G) do open[#open + 1] = name end' \
        'table.sort(open); return table.concat(open, " ") end'
    base="_G _VERSION assert error getmetatable handle ipairs math next pairs pcall rawequal rawget rawlen rawset"
    responses "$base select setmetatable string table tonumber tostring type utf8"
    script 'function handle() return select(2, pcall(setmetatable, {}, { __gc = error })) end'
    responses "no finalizers here"
    script 'function handle() local t = setmetatable({}, { __index = { x = 7 } }); setmetatable(t, nil)' \
        'local locked = setmetatable({}, { __metatable = 1 })' \
        'return tostring(t.x) .. " " .. tostring(pcall(setmetatable, locked, {})) end'
    responses "nil false"
}

test_what_a_script_does_wrong_is_an_error_response() {
    echo x >"$scratch/requests"
    script 'function handle() error("mine") end'
    responses "error: $scratch/script.lua:1: mine"
    script 'function handle() error({}) end'
    responses "error: the error is no string"
    script 'function handle() return {} end'
    responses "error: handle returned a table, not a string"
    script 'function handle() end'
    responses "error: handle returned a nil, not a string"
    script 'handle = 1'
    responses "error: the script has no function handle"
    script 'function handle() return 7 end'
    responses "7"
}

test_input_may_be_standard_input_and_empty() {
    script 'function handle(request) return #request .. request end'
    printf 'a\000b\n\nlast' >"$scratch/requests" # no newline at the end
    for option in "" -; do
        # shellcheck disable=SC2086 # perhaps none
        run 0 -s "$scratch/script.lua" $option <"$scratch/requests"
        same "responses" "3a.b 0 4last" "$(tr '\000' . <"$scratch/out" | xargs)"
        # shellcheck disable=SC2086
        run 0 --csv $option </dev/null
        same "an empty input" "0,0,0" "$(counts_of_csv)"
    done
    run 0 --sum --requests 0
    run 0 --time --requests 0
}

test_what_cannot_be_read_is_one_line_and_exit_1() {
    run 1 "$scratch/nowhere"
    same "message" "memarena-lua: $scratch/nowhere: No such file or directory" "$(cat "$scratch/err")"
    run 1 -s "$scratch/nowhere" </dev/null
    same "message" "memarena-lua: $scratch/nowhere: No such file or directory" "$(cat "$scratch/err")"
    run 1 "$scratch"
    same "message" "memarena-lua: $scratch: Is a directory" "$(cat "$scratch/err")"
    run 1 -s "$scratch" </dev/null
    same "message" "memarena-lua: $scratch: Is a directory" "$(cat "$scratch/err")"
    script 'function handle(' '-- no end'
    run 1 -s "$scratch/script.lua" </dev/null
    same "message" "memarena-lua: $scratch/script.lua:3: <name> or '...' expected near <eof>" "$(cat "$scratch/err")"
    same "lines on stdout" 0 "$(lines_of out)"
    printf '\033Lua' >"$scratch/script.lua" # compiled code can break the machine
    run 1 -s "$scratch/script.lua" </dev/null
    same "message" "memarena-lua: attempt to load a binary chunk (mode is 't')" "$(cat "$scratch/err")"
}

test_wrong_usage_is_exit_2() {
    for wrong in "-a tcmalloc" "-g maybe" "-m x" "-m 1T" "-i -1" "-i 2147483648" "-i 1K" "-n" "-n x" "--seed 2" \
        "-n 1 file" "-z" "--nope" "--csv=1" "a b"; do
        # shellcheck disable=SC2086 # several arguments
        run 2 $wrong </dev/null
        same "lines on stdout after '$wrong'" 0 "$(lines_of out)"
        same "lines on stderr after '$wrong'" 3 "$(lines_of err)"
    done
    run 2 -n
    same "message" "memarena-lua: -n: needs a value" "$(head -n 1 "$scratch/err")"
    run 0 --help
    run 0 -h
}

test_a_full_disk_is_exit_1() {
    [ -e /dev/full ] || skip "no /dev/full here"
    for arguments in "--requests 100000" "--csv --requests 1" "--help"; do
        # shellcheck disable=SC2086 # several arguments
        "$program" $arguments >/dev/full 2>"$scratch/err"
        same "exit, $arguments" 1 $?
        same "message" "memarena-lua: standard output: No space left on device" "$(cat "$scratch/err")"
    done
}

test_compare_prints_a_table_and_notices_a_difference() {
    REQUESTS=100 ROUNDS=1 "$here/compare.sh" "$program" >"$scratch/out" 2>"$scratch/err" || fail "$(cat "$scratch/err")"
    for line in "memarena .*" "malloc .*" "malloc no gc .*"; do
        grep -q "^$line$" "$scratch/out" || fail "no line $line: $(cat "$scratch/out")"
    done
    # A program whose checksum is the number of its process.
    printf '#!/bin/sh\n[ "$1" = --help ] || echo "x,on,1,0,1,0.1,0.1,0.1,1,$$"\n' >"$scratch/liar"
    chmod +x "$scratch/liar"
    ! "$here/compare.sh" "$scratch/liar" >/dev/null 2>"$scratch/err" || fail "no difference noticed"
    grep -q "checksums differ" "$scratch/err" || fail "no clear message: $(cat "$scratch/err")"
}

run_cases "$@"
