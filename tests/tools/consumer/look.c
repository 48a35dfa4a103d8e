/* A program of somebody who looks at arenas: all of memarena/look.h. It is C++, too. */
#include <memarena/look.h>
#include <stdio.h>
#include <string.h>

int main(void)
{
    static char text[16384];
    memarena *arena = memarena_create(1 << 20);
    const memarena *all[1] = {arena};
    FILE *file = tmpfile();
    if (!arena || !file || !memarena_alloc(arena, 5000)) return 1;
    if (memarena_stats_json(arena, text, sizeof text) != strlen(text) || !strstr(text, "\"kind\":\"arena\"")) return 1;
    if (memarena_stats_prometheus(all, 1, text, sizeof text) != strlen(text) || strncmp(text, "# HELP ", 7) != 0)
        return 1;
    if (!memarena_write_map(arena, file) || !memarena_write_page(arena, file)) return 1;
    printf("%ld bytes of pictures\n", ftell(file));
    if (ftell(file) < 2000 || fclose(file) != 0) return 1;
    memarena_destroy(arena);
    return 0;
}
