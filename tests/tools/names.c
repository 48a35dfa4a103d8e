/* For names.py: reads names of arenas, each with a zero byte behind it, and writes of each, with a zero byte behind it, what
 * is told of an arena and of a scope in it. */
#include <memarena/look.h>

#include <stdlib.h>

static void put(const char *text)
{
    fputs(text, stdout);
    putchar('\0');
}

static void write_texts(const char *name)
{
    static char text[1 << 16];
    memarena *arena = memarena_create_with(&(memarena_options){.capacity = 1 << 20, .name = name});
    memarena *scope = arena ? memarena_scope(arena) : NULL;
    const memarena *both[] = {arena, scope};
    if (!scope) exit(1);
    for (int i = 0; i < 2; i++) {
        (void)memarena_stats_json(both[i], text, sizeof text);
        put(text);
        (void)memarena_stats_prometheus(&both[i], 1, text, sizeof text);
        put(text);
        if (!memarena_write_map(both[i], stdout)) exit(1);
        put("");
        if (!memarena_write_page(both[i], stdout)) exit(1);
        put("");
        if (!memarena_report(both[i], stdout)) exit(1);
        put("");
    }
    memarena_destroy(scope);
    memarena_destroy(arena);
}

int main(void)
{
    char *name = NULL;
    size_t size = 0;
    while (getdelim(&name, &size, '\0', stdin) > 0) write_texts(name);
    free(name);
    return 0;
}
