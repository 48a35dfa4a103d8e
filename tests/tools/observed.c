/* A program to be watched from outside. Says how many arenas' events there are to see, as the library counted them.
 *
 * usage: observed [wait]      wait: for a line on the standard input before the work begins, and for another after it */
#include <memarena.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MUST(condition) ((condition) ? (void)0 : (fprintf(stderr, "observed: %s\n", #condition), exit(1)))
#define CAPACITY ((size_t)64 << 20)

static void wait_for_a_line(void)
{
    int c;
    do c = getchar();
    while (c != '\n' && c != EOF);
}

/* `noinline` and a declaration: functions to be found in a stack. */
void ask_for_too_much(memarena *arena);
__attribute__((noinline)) void ask_for_too_much(memarena *arena)
{
    void *volatile block = memarena_alloc(arena, CAPACITY + 8);
    MUST(!block);
}

static unsigned one_round(memarena *arena)
{
    for (int i = 0; i < 3000; i++) MUST(memarena_alloc(arena, 200));
    for (int i = 0; i < 3; i++) MUST(memarena_alloc(arena, 20000));
    ask_for_too_much(arena);
    memarena *scope = memarena_scope(arena), *below = memarena_scope(scope);
    MUST(scope && below && memarena_alloc(scope, 2000));
    memarena_destroy(below);
    memarena_destroy(scope);
    MUST(memarena_reset(arena));
    return 2; /* scopes */
}

int main(int argc, char **argv)
{
    bool waits = argc == 2 && strcmp(argv[1], "wait") == 0;
    memarena *arena = memarena_create_with(&(memarena_options){.capacity = CAPACITY, .name = "observed"});
    MUST(arena);
    if (waits) wait_for_a_line();
    unsigned scopes = 0;
    for (int i = 0; i < 20; i++) scopes += one_round(arena);
    memarena_stats stats;
    memarena_get_stats(arena, &stats, sizeof stats);
    printf("arena=%p\nrefills=%llu\ndirect=%llu\nresets=%llu\nfailed=%llu\nscopes=%u\ncapacity=%zu\n", (void *)arena,
           (unsigned long long)stats.refills, (unsigned long long)stats.direct_blocks,
           (unsigned long long)stats.generation - 1, (unsigned long long)stats.failed_requests, scopes,
           stats.capacity_bytes);
    fflush(stdout);
    if (waits) wait_for_a_line();
    memarena_destroy(arena);
    return 0;
}
