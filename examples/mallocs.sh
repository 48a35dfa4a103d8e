# shellcheck shell=sh
# What the comparisons of the examples share. A script sets program and scratch, reads this with `.`, and calls:
#
#   find_mallocs         sets mallocs to "NAME=LIBRARY ..." of those that can be loaded in place of glibc's; says which not
#   median_lines COLUMN  of lines "NAME,..." prints for each NAME, in the order of their first, the one whose number in
#                        COLUMN is the median
#   one_value COLUMN     whether all lines have the same text there

# The path of a shared library; nothing if it is not installed.
find_library() {
    PATH=$PATH:/sbin:/usr/sbin ldconfig -p 2>/dev/null | awk -v name="$1" '
        index($1, name ".so") == 1 { print $NF; exit }'
}

# Whether the loader takes it. It only warns when it does not, and the run would quietly be another glibc one.
can_preload() {
    [ -z "$(LD_PRELOAD=$1 "$program" --help 2>&1 >/dev/null)" ]
}

find_mallocs() {
    mallocs=
    has_sanitizer=$(grep -c -e __asan_init -e __tsan_init "$program")
    for name in mimalloc jemalloc; do
        library=$(find_library "lib$name")
        if [ -z "$library" ]; then
            echo "$name: skipped, lib$name.so is not installed"
        elif [ "$has_sanitizer" != 0 ]; then
            echo "$name: skipped, the program has a sanitizer that brings a malloc of its own"
        elif ! can_preload "$library"; then
            echo "$name: skipped, $library cannot be preloaded"
        else
            mallocs="$mallocs $name=$library"
        fi
    done
}

median_lines() {
    awk -F, -v column="$1" '
        !($1 in runs) { order[++names] = $1 }
        {
            run = ++runs[$1]
            value[$1, run] = $column
            line[$1, run] = $0
        }
        END {
            for (n = 1; n <= names; n++) {
                name = order[n]
                for (i = 1; i <= runs[name]; i++) {
                    below = 0
                    for (j = 1; j <= runs[name]; j++)
                        if (value[name, j] < value[name, i] || (value[name, j] == value[name, i] && j < i)) below++
                    if (below == int((runs[name] - 1) / 2)) print line[name, i]
                }
            }
        }'
}

one_value() {
    [ "$(cut -d, -f"$1" | sort -u | wc -l)" -eq 1 ]
}
