/* Pictures of an arena: an SVG of its cells, and a page of HTML that has the numbers and the report beside it. */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L /* open_memstream, also with -std=c11 */
#endif
#include "../../include/memarena/look.h"
#include "../text/print.h"
#include "os.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define ROWS 128u
#define COLUMNS 256u
#define CELLS ((size_t)ROWS * COLUMNS)
#define CELL_WIDTH 3u
#define ROW_HEIGHT 5u
#define LEFT 60u
#define TOP 50u

/* Neighbouring lanes get colours far apart: by the golden angle. */
static void print_colour(FILE *file, memarena_cell cell)
{
    if (cell.kind == MEMARENA_CELL_GIVEN_BACK)
        ma_print(file, "fill='#fff' stroke='#888' stroke-width='.5'");
    else if (cell.lane == MEMARENA_CELL_NOBODY)
        ma_print(file, "fill='%s'", cell.kind == MEMARENA_CELL_TLAB ? "#c4c4c4" : "#777");
    else
        ma_print(file, "fill='hsl(%u,%s)'", cell.lane * 138u % 360,
                 cell.kind == MEMARENA_CELL_TLAB ? "70%,85%" : "60%,45%");
}

static void print_row(FILE *file, const memarena_cell *cells, unsigned row)
{
    for (unsigned column = 0, end; column < COLUMNS; column = end) {
        for (end = column + 1; end < COLUMNS; end++)
            if (cells[end].kind != cells[column].kind || cells[end].lane != cells[column].lane) break;
        if (cells[column].kind == MEMARENA_CELL_FREE) continue;
        ma_print(file, "<rect x='%u' y='%u' width='%u' height='%u' ", LEFT + column * CELL_WIDTH,
                 TOP + row * ROW_HEIGHT, (end - column) * CELL_WIDTH, ROW_HEIGHT - 1);
        print_colour(file, cells[column]);
        ma_print(file, "/>\n");
    }
}

static void print_legend(FILE *file)
{
    static const struct {
        memarena_cell cell;
        const char *text;
    } kinds[] = {{{MEMARENA_CELL_TAKEN, 0}, "taken, by colour of the lane whose home it is"},
                 {{MEMARENA_CELL_TAKEN, MEMARENA_CELL_NOBODY}, "taken, by several"},
                 {{MEMARENA_CELL_TLAB, 0}, "waits in a TLAB"},
                 {{MEMARENA_CELL_GIVEN_BACK, 0}, "given back by scopes"}};
    for (unsigned i = 0, x = LEFT; i < sizeof kinds / sizeof *kinds; i++) {
        ma_print(file, "<rect x='%u' y='31' width='10' height='10' ", x);
        print_colour(file, kinds[i].cell);
        ma_print(file, "/><text x='%u' y='40'>%s</text>\n", x + 14, kinds[i].text);
        x += 40 + (unsigned)strlen(kinds[i].text) * 6;
    }
}

/* The numbers of the arena that `handle` is, or lies in. */
static memarena_stats look_at_root(const memarena *handle)
{
    memarena_stats now;
    memarena_get_stats(handle, &now, sizeof now);
    if (now.arena != handle) memarena_get_stats(now.arena, &now, sizeof now);
    return now;
}

static void print_name(FILE *file, const memarena_stats *now)
{
    ma_print_text(file, now->name[0] ? now->name : "an arena without a name", "&lt;");
}

/* Fails: false; the errno of calloc or of printing. */
static bool print_svg(FILE *file, const memarena_stats *now)
{
    memarena_cell *cells = calloc(CELLS, sizeof *cells);
    if (!cells) return false;
    size_t cell_bytes = memarena_snapshot(now->arena, cells, CELLS);
    unsigned width = LEFT + COLUMNS * CELL_WIDTH + 10, height = TOP + ROWS * ROW_HEIGHT + 10;
    ma_print(
        file,
        "<svg xmlns='http://www.w3.org/2000/svg' width='%u' height='%u' viewBox='0 0 %u %u' font-family='sans-serif' "
        "font-size='11'>\n<rect width='%u' height='%u' fill='#fff'/>\n<text x='%u' y='20' font-size='14'>",
        width, height, width, height, width, height, LEFT);
    print_name(file, now);
    ma_print(file, ": %zu bytes, generation %" PRIu64 ", %zu bytes a cell</text>\n", now->capacity_bytes,
             now->generation, cell_bytes);
    print_legend(file);
    ma_print(file, "<rect x='%u' y='%u' width='%u' height='%u' fill='#f2f2f2'/>\n", LEFT, TOP, COLUMNS * CELL_WIDTH,
             ROWS * ROW_HEIGHT);
    if (now->shards)
        ma_print(file, "<text x='5' y='%u'>shards</text>\n<text x='5' y='%u'>frontier</text>\n", TOP + 9,
                 TOP + ROWS / 2 * ROW_HEIGHT + 9);
    for (unsigned row = 0; row < ROWS; row++) print_row(file, cells + (size_t)row * COLUMNS, row);
    ma_print(file, "</svg>\n");
    free(cells);
    return !ferror(file);
}

/* Prints what the root of the handle has, as a whole: no call in between is a cancellation point. */
static bool print_whole(const memarena *handle, FILE *file, bool (*print)(FILE *file, const memarena_stats *now))
{
    memarena_stats now = look_at_root(handle);
    int state = look_cancel_off();
    errno = 0;
    bool written = print(file, &now);
    look_cancel_as_before(state);
    return written;
}

bool memarena_write_map(const memarena *handle, FILE *file)
{
    return print_whole(handle, file, print_svg);
}

/* ---- HTML ---------------------------------------------------------------------------------------------------------- */

/* Line by line, as the end of a line is no character that a text may hold. */
static void print_report(FILE *file, char *report)
{
    for (char *line = report, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        *end = '\0';
        ma_print_text(file, line, "&lt;");
        ma_print(file, "\n");
    }
}

/* Fails: false; the errno of malloc or of printing. */
static bool print_page(FILE *file, const memarena_stats *now)
{
    char json[4096], *report = look_report(now->arena);
    if (!report) return false;
    ma_print(file, "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'><title>memarena: ");
    print_name(file, now);
    ma_print(file, "</title>\n<style>body{font-family:sans-serif;margin:1em}pre{font-size:12px}"
                   "main{display:flex;flex-wrap:wrap;gap:2em}</style></head>\n<body><main><div>\n");
    bool printed = print_svg(file, now);
    if (printed) {
        ma_print(file, "</div><pre id='report'>\n");
        print_report(file, report);
        ma_print(file, "</pre></main>\n<script type='application/json' id='stats'>");
        (void)memarena_stats_json(now->arena, json, sizeof json);
        ma_print_text(file, json, "\\u003c");
        ma_print(file, "</script>\n</body></html>\n");
    }
    free(report);
    return printed && !ferror(file);
}

bool memarena_write_page(const memarena *handle, FILE *file)
{
    return print_whole(handle, file, print_page);
}
