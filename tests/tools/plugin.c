/* A plug-in that brings the library: linked with libmemarena.a, or with the shared library. */
#include <memarena.h>

int plugin(void);
int plugin(void)
{
    memarena *arena = memarena_create((size_t)1 << 20);
    int *block = arena ? memarena_new_value(arena, int, 42) : NULL, found = block ? *block : 0;
    for (int i = 0; i < 1000; i++) found = memarena_alloc(arena, 100) ? found : 0;
    memarena_destroy(arena);
    return found;
}
