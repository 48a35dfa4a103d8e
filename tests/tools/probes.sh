#!/bin/sh
# The probes of the libraries, seen from outside.
# usage: probes.sh notes     HAS-SDT SHARED-LIBRARY STATIC-LIBRARY
#        probes.sh gdb       HAS-SDT PROGRAM             a program is tests/tools/observed.c
#        probes.sh bpftrace  HAS-SDT SOURCE-DIRECTORY
# HAS-SDT: ON if the build found <sys/sdt.h>
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/shell.sh"
way=$1 has_sdt=$2
[ "$has_sdt" = ON ] || skip "<sys/sdt.h> was not there when the library was built: systemtap-sdt-dev"

# Each probe and how many arguments it has.
cat >"$scratch/probes" <<EOF
direct_block 2
out_of_memory 3
refill 3
reset 2
scope_begin 2
scope_end 2
EOF

said() { # said NAME: what the program said that it did
    sed -n "s/^$1=//p" "$scratch/said"
}

equal() { # equal WHAT EXPECTED FOUND
    [ -n "$2" ] && [ "$2" = "$3" ] && { echo "  $1: $2"; return 0; }
    echo "expected '$2', found '$3'" >"$scratch/difference"
    cat "$scratch/output" >>"$scratch/difference" 2>/dev/null || true
    complain "$1" "$scratch/difference"
}

case $way in
notes)
    need readelf
    for library in "$3" "$4"; do
        readelf -n "$library" >"$scratch/notes"
        awk '$1 == "Provider:" { ours = $2 == "memarena" } ours && $1 == "Name:" { name = $2 }
            ours && $1 == "Location:" && $NF !~ /^0x0*$/ { print name, "has a semaphore" }
            ours && $1 == "Arguments:" { print name, NF - 1 }' "$scratch/notes" | LC_ALL=C sort -u >"$scratch/found"
        attempt "six probes in ${library##*/}, each with its arguments" diff "$scratch/probes" "$scratch/found"
    done
    ;;
gdb)
    need gdb
    program=$3
    while read -r probe arguments; do
        words=" %lu %lu" values='$_probe_arg0, $_probe_arg1'
        [ "$arguments" = 2 ] || words="$words %lu" values="$values, \$_probe_arg2"
        printf '%s\n' "break -probe-stap memarena:$probe" commands silent \
            "printf \"hit $probe$words\\n\", $values" continue end
    done <"$scratch/probes" >"$scratch/commands"
    echo continue >>"$scratch/commands"
    gdb -nx -batch -ex "set debuginfod enabled off" -ex "break main" -ex run -ex delete -x "$scratch/commands" "$program" \
        >"$scratch/output" 2>&1 || true
    if grep -q -i -e "couldn't.*ptrace" -e 'ptrace: ' -e 'Operation not permitted' "$scratch/output"; then
        skip "gdb may not run programs here"
    fi
    grep = "$scratch/output" >"$scratch/said" || true
    hits() { # hits PATTERN
        grep -c "^hit $1" "$scratch/output" || true
    }
    arena=$(printf '%u' "$(said arena)")
    outer=$(sed -n "s/^hit scope_begin \([0-9]*\) $arena\$/\1/p" "$scratch/output" | sort -u)
    half=$(($(said scopes) / 2))
    equal "refills of lane 0" "$(said refills)" "$(hits "refill $arena 0 [1-9][0-9]*\$")"
    equal "direct blocks of 20000 bytes" "$(said direct)" "$(hits "direct_block $arena 20000\$")"
    equal "resets" "$(said resets)" "$(hits "reset $arena ")"
    equal "the generation that ended last" "$(said resets)" \
        "$(sed -n "s/^hit reset $arena //p" "$scratch/output" | tail -n 1)"
    equal "requests that failed, with size and capacity" "$(said failed)" \
        "$(hits "out_of_memory $arena $(($(said capacity) + 8)) $(said capacity)\$")"
    equal "scopes that began in the arena" $half "$(hits "scope_begin [0-9]* $arena\$")"
    equal "scopes that began in a scope" $half "$(hits "scope_begin [0-9]* $outer\$")"
    equal "scopes that ended with 3 KiB" $half "$(hits "scope_end $outer 3072\$")"
    equal "scopes that ended with 1 KiB" $half "$(hits "scope_end [0-9]* 1024\$")"
    ;;
bpftrace)
    need bpftrace cc
    source=$3
    cd "$source"
    cc -O2 -g -fno-omit-frame-pointer -Iinclude tests/tools/observed.c src/*/*.c -pthread -o "$scratch/observed"
    within 60 bpftrace -e "uprobe:$scratch/observed:main { } interval:ms:1 { exit(); }" >"$scratch/output" 2>&1 ||
        skip "bpftrace may not watch programs here: $(tail -n 1 "$scratch/output")"
    mkfifo "$scratch/lines"

    # until_there FILE PATTERN PROCESS: as long as the process lives that is to write it
    until_there() {
        until grep -q "$2" "$1"; do
            kill -0 "$3" 2>/dev/null || return 1
            sleep 0.1
        done
    }

    lines_shown() { # one for each second
        grep -c '^[0-9][0-9]:' "$scratch/output" || true
    }

    # watch SCRIPT: what it shows of one run, in $scratch/output, and what the program says, in $scratch/said
    watch() {
        : >"$scratch/output" # of the last time
        : >"$scratch/said"
        "$scratch/observed" wait <"$scratch/lines" >"$scratch/said" &
        observed=$!
        exec 3>"$scratch/lines"
        bpftrace -p $observed "tools/bpftrace/$1" >"$scratch/output" 2>&1 3>&- &
        tracer=$!
        if until_there "$scratch/output" '^[0-9][0-9]:' $tracer; then
            echo >&3 # the work may begin
            until_there "$scratch/said" ^capacity= $observed || true
            lines=$(lines_shown)
            while [ "$(lines_shown)" = "$lines" ] && kill -0 $tracer 2>/dev/null; do sleep 0.1; done
        fi
        kill -INT $tracer 2>/dev/null || true
        wait $tracer || true
        exec 3>&- # the program may end
        wait $observed || fail "the program"
    }

    sum() { # sum PATTERN: of the last words of these lines
        awk -v pattern="$1" '$0 ~ pattern { sum += $NF } END { print sum + 0 }' "$scratch/output"
    }

    # Between the moments when bpftrace prints its counts and clears them, events are lost: that may be once, not again
    # and again.
    for _ in 1 2 3; do
        watch refills.bt
        [ "$(sum '^@refills')" != "$(said refills)" ] || [ "$(sum '^@direct_blocks')" != "$(said direct)" ] || break
    done
    arena=$(said arena)
    equal "refills.bt: refills of lane 0" "$(said refills)" "$(sum "^@refills.$arena, 0.: ")"
    equal "refills.bt: direct blocks" "$(said direct)" "$(sum "^@direct_blocks.$arena.: ")"
    awk '/^@/ { direct = /^@direct_bytes/ } direct && /^.16K, 32K. / { sum += $3 } END { print sum + 0 }' \
        "$scratch/output" >"$scratch/found"
    equal "refills.bt: and their size" "$(said direct)" "$(cat "$scratch/found")"

    watch resets.bt
    arena=$(said arena)
    awk '/ resets, / { sum += $2 } END { print sum + 0 }' "$scratch/output" >"$scratch/found"
    equal "resets.bt: resets" "$(said resets)" "$(cat "$scratch/found")"
    awk '/ resets, / { sum += $4 } END { print sum + 0 }' "$scratch/output" >"$scratch/found"
    equal "resets.bt: requests that found no room" "$(said failed)" "$(cat "$scratch/found")"
    awk '/^@us_between/ { between = 1 } between && /^.[0-9]/ { sub(/.*[)\]] */, ""); sum += $1 } END { print sum + 0 }' \
        "$scratch/output" >"$scratch/found"
    equal "resets.bt: times between them" $(($(said resets) - 1)) "$(cat "$scratch/found")"
    sed -n "/^@no_room.$arena, $(($(said capacity) + 8)), $(said capacity),/,/^]/p" "$scratch/output" >"$scratch/stack"
    attempt "resets.bt: the stack of these requests" grep -q ask_for_too_much "$scratch/stack"
    equal "resets.bt: and how many came from there" "$(said failed)" "$(sed -n 's/^]: //p' "$scratch/stack")"
    ;;
*) fail "no such way: $way" ;;
esac
finish
