#!/bin/sh
# Tests memarena-index. usage: test_index.sh MEMARENA_INDEX [CASE...]; without a CASE, all of them.
set -u

program=$1
shift
here=$(cd "$(dirname "$0")" && pwd)
name=memarena-index
. "$here/../cases.sh"

# ---- Helpers ---------------------------------------------------------------------------------------------------

# All of the line that must not depend on threads, timing or allocator; and the checksum alone.
facts_of_csv() {
    cut -d, -f3-8,13 "$scratch/out"
}
checksum_of_csv() {
    cut -d, -f13 "$scratch/out"
}

# 120 files whose words meet in every mixture: many threads add the same identifiers at the same time.
make_tree() {
    mkdir -p "$1/a/deep" "$1/b"
    awk -v root="$1" 'BEGIN {
        split("a a/deep b", folder, " ")
        for (file = 0; file < 120; file++) {
            path = root "/" folder[file % 3 + 1] "/f" file ".h"
            for (line = 0; line < 400; line++)
                print "static int word" (line * 7 + file * 13) % 3000, "= 0x" file "ff + common;" > path
            close(path)
        }
    }'
}

# ---- Cases: every function called test_*; CMake makes each a test ------------------------------------------------

test_the_index_is_the_same_for_all_threads_and_allocators() {
    make_tree "$scratch/tree"
    first=
    for allocator in arena malloc; do
        for threads in 1 2 8; do
            run 0 --csv -a $allocator -j $threads "$scratch/tree"
            facts=$(facts_of_csv)
            same "facts, with $allocator and $threads threads" "${first:=$facts}" "$facts"
        done
    done
    # static, int, common and 3000 words, 4 on a line
    same "counts" "120,0,3003,192000" "$(echo "$first" | cut -d, -f1-4)"
}

test_counts_are_exact() {
    mkdir -p "$scratch/tree/sub"
    printf 'int x = 0xff + 10UL;\n_Bool x1_; // int\n' >"$scratch/tree/one.h"
    printf '\377\000x"int"\tend' >"$scratch/tree/sub/two" # bytes that are no text; no newline at the end
    : >"$scratch/tree/empty.h"
    ln -s one.h "$scratch/tree/link.h" # read like a file
    run 0 --csv "$scratch/tree"
    # four files; int x _Bool x1_ end; blocks: 2 arrays, 2 for each file and identifier, 1 for each occurrence
    same "counts" "4,0,5,13,33" "$(cut -d, -f3-7 "$scratch/out" | tr -d ' ')"
    run 0 -n 2 "$scratch/tree"
    same "top" "5 3 int 3 3 x" "$(sed -n 2,3p "$scratch/out" | xargs)"
}

test_the_checksum_depends_on_names_and_places_only() {
    mkdir "$scratch/one" "$scratch/two" "$scratch/none"
    printf 'a b\n' >"$scratch/one/f"
    printf 'a b\n' >"$scratch/two/f"
    run 0 --csv "$scratch/one" && sum=$(checksum_of_csv)
    run 0 --csv "$scratch/two/" && same "another directory" "$sum" "$(checksum_of_csv)"
    for text in 'b a\n' 'a  b\n' '\na b\n' 'a c\n'; do
        # shellcheck disable=SC2059 # the text is a format
        printf "$text" >"$scratch/two/f"
        run 0 --csv "$scratch/two"
        [ "$sum" != "$(checksum_of_csv)" ] || fail "the same checksum for another text: $text"
    done
    sum=
    for text in '1\na' '22\na' ' +\na\n\n'; do # a at 2:1 in all
        # shellcheck disable=SC2059
        printf "$text" >"$scratch/two/f"
        run 0 --csv "$scratch/two"
        same "checksum of the same places" "${sum:=$(checksum_of_csv)}" "$(checksum_of_csv)"
    done
    run 0 --csv "$scratch/one" && sum=$(checksum_of_csv)
    mv "$scratch/one/f" "$scratch/one/g"
    run 0 --csv "$scratch/one" && [ "$sum" != "$(checksum_of_csv)" ] || fail "the same checksum for another path"
    run 0 --csv "$scratch/none" && same "an empty directory" "0,0,0,0" "$(cut -d, -f3-6 "$scratch/out")"
}

test_a_missing_directory_is_one_line_and_exit_1() {
    run 1 "$scratch/nowhere"
    same "message" "memarena-index: $scratch/nowhere: No such file or directory" "$(cat "$scratch/err")"
    same "lines on stdout" 0 "$(lines_of out)"
    : >"$scratch/file"
    run 1 "$scratch/file"
    same "message" "memarena-index: $scratch/file: Not a directory" "$(cat "$scratch/err")"
}

test_what_cannot_be_read_is_reported_and_counted() {
    mkdir -p "$scratch/tree/sub"
    echo 'int x;' >"$scratch/tree/good.h"
    ln -s nowhere "$scratch/tree/dangling.h"
    mkfifo "$scratch/tree/fifo"
    ln -s .. "$scratch/tree/sub/up" # a cycle, if it were followed
    unreadable=2
    if [ "$(id -u)" != 0 ]; then # root reads everything
        echo 'int y;' >"$scratch/tree/locked.h"
        chmod 0 "$scratch/tree/locked.h"
        unreadable=3
    fi
    run 0 --csv "$scratch/tree"
    same "files read, not read" "1,$unreadable" "$(cut -d, -f3-4 "$scratch/out")"
    same "lines on stderr" $unreadable "$(lines_of err)"
    for line in "dangling.h: dangling link" "fifo: not a regular file"; do
        grep -qxF "memarena-index: $scratch/tree/$line" "$scratch/err" || fail "no line for $line"
    done
    [ $unreadable = 2 ] || grep -q "/locked.h: Permission denied" "$scratch/err" || fail "no line for locked.h"
    run 0 "$scratch/tree"
    grep -q "$unreadable files could not be read" "$scratch/out" || fail "the summary does not count the unreadable"
    grep -q "1 link to directories not followed" "$scratch/out" || fail "the summary does not count the links"
}

test_wrong_usage_is_exit_2() {
    for wrong in "-j 0" "-j 1025" "-j x" "-j 1x" "-j -1" "-j" "-a tcmalloc" "-n 1001" "-z" "--nope" "--csv=1" ". ."; do
        # shellcheck disable=SC2086 # several arguments
        run 2 $wrong
        same "lines on stdout after '$wrong'" 0 "$(lines_of out)"
        same "lines on stderr after '$wrong'" 2 "$(lines_of err)"
    done
    run 0 --help
    run 0 -h
}

test_lack_of_memory_is_one_line_and_exit_1() {
    limit_kib=65536 # ulimit -v is not in POSIX, but in every shell that is some system's sh
    ! grep -q -e __asan_init -e __tsan_init "$program" || skip "a sanitizer does not fit under ulimit -v"
    mkdir "$scratch/tree"
    yes a | head -c 8000000 >"$scratch/tree/f" # 4 million postings, 96 MB
    for allocator in arena malloc; do
        # shellcheck disable=SC3045
        (ulimit -v $limit_kib && run 1 -j 1 -a $allocator "$scratch/tree") || exit 1
        same "lines on stderr" 1 "$(lines_of err)"
        grep -q "memarena-index: out of memory" "$scratch/err" || fail "no clear message: $(cat "$scratch/err")"
    done
}

test_a_full_disk_is_exit_1() {
    [ -e /dev/full ] || skip "no /dev/full here"
    mkdir "$scratch/tree"
    "$program" "$scratch/tree" >/dev/full 2>"$scratch/err"
    same "exit" 1 $?
    same "lines on stderr" 1 "$(lines_of err)"
}

test_compare_prints_a_table_and_notices_a_difference() {
    make_tree "$scratch/tree"
    ROUNDS=1 "$here/compare.sh" "$program" "$scratch/tree" >"$scratch/out" 2>"$scratch/err" ||
        fail "$(cat "$scratch/err")"
    grep -q "^memarena .* 1.00$" "$scratch/out" || fail "no line for the arena: $(cat "$scratch/out")"
    # A program whose checksum is the number of its process.
    printf '#!/bin/sh\n[ "$1" = --help ] || echo "x,1,1,0,1,1,1,1,0.1,0.1,0.1,1,$$"\n' >"$scratch/liar"
    chmod +x "$scratch/liar"
    ! "$here/compare.sh" "$scratch/liar" "$scratch/tree" >/dev/null 2>"$scratch/err" || fail "no difference noticed"
    grep -q "checksums differ" "$scratch/err" || fail "no clear message: $(cat "$scratch/err")"
}

run_cases "$@"
