/* A program of somebody who uses the library: two threads share an arena. */
#include <memarena.h>

#include <pthread.h>
#include <stdio.h>

static void *work(void *arena)
{
    for (int i = 0; i < 1000; i++)
        if (!memarena_new_value(arena, int, i)) return NULL;
    return arena;
}

int main(void)
{
    memarena *arena = memarena_create(0);
    if (!arena) return 1;
    pthread_t thread;
    void *result = NULL;
    if (pthread_create(&thread, NULL, work, arena) != 0) return 1;
    void *mine = work(arena);
    if (pthread_join(thread, &result) != 0 || !result || !mine) return 1;
    puts(memarena_printf(arena, "%zu bytes", memarena_allocated_bytes(arena)));
    memarena_destroy(arena);
    return 0;
}
