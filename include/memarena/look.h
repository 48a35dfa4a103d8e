/* memarena_look: the numbers of an arena as text for machines, and pictures of it.
 *
 * This is a library of its own, so that a program which does not look at its arenas has none of the code. Link with
 * -lmemarena-look before -lmemarena, both of one version. With CMake that is memarena::look, with pkg-config
 * memarena-look; each brings memarena itself.
 *
 *     memarena_write_page(arena, file);   // an HTML page with all of it, to be opened in a browser
 *
 * What an arena tells without this library: memarena_get_stats, memarena_report and memarena_snapshot of memarena.h, whose
 * rules for units, errors and threads hold here, too. Every call below may run while other threads use the arena.
 *
 * The name of an arena is a label in all of these texts. A byte of the name that is no part of printable UTF-8 is shown as
 * a question mark. */
#ifndef MEMARENA_LOOK_H
#define MEMARENA_LOOK_H

#include "../memarena.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Text for machines --------------------------------------------------------------------------------------------- */

/* Writes the numbers of memarena_stats as one JSON object. An arena without a name is labelled with its address, a scope
 * with the name of its arena.
 * Returns: as snprintf the length of the whole text. At most `size` bytes are written, always terminated unless `size` is 0.
 * Cost: as memarena_get_stats and memarena_resident_bytes. */
MEMARENA_API size_t memarena_stats_json(const memarena *arena, char *text, size_t size);

/* Writes the numbers of memarena_stats of `count` arenas in the text format of Prometheus, with the label `arena` as in
 * memarena_stats_json. The names of the arenas should differ, then.
 * Returns: as memarena_stats_json.
 * Cost: each metric is a look of its own at each arena. */
MEMARENA_API size_t memarena_stats_prometheus(const memarena *const *arenas, size_t count, char *text, size_t size);

/* ---- Pictures ------------------------------------------------------------------------------------------------------ */

/* Draws what memarena_snapshot tells of 32,768 cells as an SVG picture: a row for each shard and 64 rows for the frontier.
 * Of a scope: its arena. The size of the picture is bounded.
 * Fails: false, with the errno of fprintf; ENOMEM when malloc does not give 64 KiB. */
MEMARENA_API bool memarena_write_map(const memarena *arena, FILE *file);

/* Writes a page of HTML with the picture of memarena_write_map, the text of memarena_report and the object of
 * memarena_stats_json. Of a scope: its arena.
 * Fails: false, with the errno of fprintf; ENOMEM as memarena_write_map, which also needs the report's some KiB. */
MEMARENA_API bool memarena_write_page(const memarena *arena, FILE *file);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif
