#!/bin/sh
# The programs in the README compile without a warning and do what they say.
# usage: readme.sh README INCLUDE-DIRECTORY LIBRARY
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/shell.sh"
readme=$1 include=$2 library=$3

need cc
block() { # block N: the Nth block of C
    awk -v wanted="$1" '/^```c$/ { n++; inside = 1; next } /^```$/ { inside = 0 } inside && n == wanted' "$readme"
}

build() { # build NAME
    cc -std=c11 -O2 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror -I"$include" "$scratch/$1.c" "$library" \
        -Wl,-rpath,"$(dirname "$library")" -pthread -o "$scratch/$1"
}

# The one of C++.
if command -v c++ >/dev/null 2>&1; then
    awk '/^```c[+][+]$/ { inside = 1; next } /^```$/ { inside = 0 } inside' "$readme" >"$scratch/cpp.cc"
    attempt "the C++ program builds" c++ -std=c++17 -O2 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror \
        -I"$include" "$scratch/cpp.cc" "$library" -pthread -o "$scratch/cpp"
    attempt "it runs" "$scratch/cpp"
fi

block 1 >"$scratch/list.c"
attempt "the first program builds" build list
"$scratch/list" >"$scratch/out" || complain "the first program runs" "$scratch/out"
grep -qx '999999, 16000000 bytes' "$scratch/out" || [ "$(getconf LONG_BIT)" != 64 ] ||
    complain "the first program counts to the byte" "$scratch/out"

# What the request handler leaves to its server.
{
    cat <<'HEAD'
#include <memarena.h>
struct request { const char *text; size_t length; };
struct answer { int tries; };
static int sent, refused, closed;
static void refuse(struct request *request) { (void)request; refused++; }
static void send(struct request *request, struct answer *answer) { if (answer->tries == 3) sent += request->text != NULL; }
static void close_quietly(void *answer) { closed += ((struct answer *)answer)->tries == 3; }
static bool look_up(memarena *scope, const char *key, struct answer *answer)
{
    return memarena_strdup(scope, key) && ++answer->tries == 3;
}
void handle(memarena *server, struct request *request);
HEAD
    block 2
    cat <<'TAIL'
int main(void)
{
    struct request request = {"name=value", 4};
    memarena *server = memarena_create(1 << 20);
    memarena_stats stats;
    if (!server) return 1;
    for (int i = 0; i < 10000; i++) handle(server, &request);
    memarena_get_stats(server, &stats, sizeof stats);
    bool flat = stats.open_scopes == 0 && stats.allocated_bytes == 0 && stats.free_extent_bytes <= 4096;
    while (memarena_alloc(server, 8)) continue;
    handle(server, &request);
    memarena_destroy(server);
    return !flat || sent + refused != 10001 || closed != sent || sent < 10000;
}
TAIL
} >"$scratch/handler.c"
attempt "the request handler builds" build handler
attempt "the request handler answers, closes and gives back" "$scratch/handler"
finish
