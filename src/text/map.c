/* A picture of an arena: what its memory is used for, cell by cell. */
#include "../arena/account.h"
#include "../scope/extent.h"
#include "print.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct canvas {
    memarena_cell *cells;
    uint64_t count, cell_bytes;
} canvas;

/* All cells that [begin, end) touches, or those of which it is the greater part. */
static void paint(canvas *on, uint64_t begin, uint64_t end, bool touched, memarena_cell with)
{
    uint64_t half = on->cell_bytes / 2, up = touched ? on->cell_bytes - 1 : half;
    uint64_t from = (begin + (touched ? 0 : half)) / on->cell_bytes, to = (end + up) / on->cell_bytes;
    for (uint64_t i = from; i < to && i < on->count; i++) on->cells[i] = with;
}

static void paint_given_back(void *context, uint64_t begin, uint64_t bytes)
{
    paint(context, begin, begin + bytes, false, (memarena_cell){MEMARENA_CELL_GIVEN_BACK, MEMARENA_CELL_NOBODY});
}

static void paint_sources(canvas *on, const ma_arena *arena, uint64_t generation)
{
    const ma_pool *pool = &arena->pool;
    unsigned char owners[MA_SHARDS + 1];
    memset(owners, MEMARENA_CELL_NOBODY, sizeof owners);
    for (uint64_t lanes = ma_load_relaxed(&arena->lanes_used); lanes; lanes &= lanes - 1) {
        unsigned lane = (unsigned)__builtin_ctzll(lanes);
        if (pool->shard_count) owners[ma_pool_home(pool, lane)] = (unsigned char)lane;
    }
    for (unsigned source = 0; source <= pool->shard_count; source++) {
        uint64_t begin = ma_source_begin(pool, source), word = ma_load_acquire(&pool->sources[source].word);
        uint64_t tip = ma_word_offset(pool->offset_bits, word, generation, begin);
        paint(on, begin, tip, true, (memarena_cell){MEMARENA_CELL_TAKEN, owners[source]});
    }
}

static void paint_tlab(canvas *on, const ma_arena *arena, uint64_t generation, const ma_lane *lane,
                       unsigned char number)
{
    if (ma_load_acquire(&lane->generation) != generation) return;
    uintptr_t base = ma_pool_base(&arena->pool, generation);
    uintptr_t cursor = ma_load_relaxed(&lane->tlab.cursor_), limit = ma_load_relaxed(&lane->limit);
    if (cursor >= base && limit > cursor && limit - base <= arena->pool.capacity)
        paint(on, cursor - base, limit - base, false, (memarena_cell){MEMARENA_CELL_TLAB, number});
}

size_t memarena_snapshot(const memarena *handle, memarena_cell *cells, size_t count)
{
    const ma_arena *arena = ma_root_of(handle);
    uint64_t generation = ma_load_acquire(&arena->pool.generation), capacity = arena->pool.capacity;
    canvas on = {cells, count, count ? (capacity + count - 1) / count : capacity};
    for (size_t i = 0; i < count; i++) cells[i] = (memarena_cell){MEMARENA_CELL_FREE, MEMARENA_CELL_NOBODY};
    paint_sources(&on, arena, generation);
    for (uint64_t lanes = ma_load_relaxed(&arena->lanes_used); lanes; lanes &= lanes - 1) {
        unsigned lane = (unsigned)__builtin_ctzll(lanes);
        paint_tlab(&on, arena, generation, ma_arena_lane(arena, lane), (unsigned char)lane);
    }
    for (unsigned cpu = 0; cpu < ma_load_relaxed(&arena->cpus_used); cpu++)
        paint_tlab(&on, arena, generation, ma_arena_cpu_lane(arena, cpu), MEMARENA_CELL_NOBODY);
    ma_extent_look(arena, generation, paint_given_back, &on);
    return (size_t)on.cell_bytes;
}

/* ---- SVG ----------------------------------------------------------------------------------------------------------- */

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

static void print_name(FILE *file, const ma_arena *arena)
{
    ma_print_text(file, arena->name[0] ? arena->name : "an arena without a name", "&lt;");
}

static bool write_svg(const ma_arena *arena, FILE *file)
{
    memarena_cell *cells = calloc(CELLS, sizeof *cells);
    if (!cells) return false;
    size_t cell_bytes = memarena_snapshot(&arena->tlab, cells, CELLS);
    unsigned width = LEFT + COLUMNS * CELL_WIDTH + 10, height = TOP + ROWS * ROW_HEIGHT + 10;
    ma_print(
        file,
        "<svg xmlns='http://www.w3.org/2000/svg' width='%u' height='%u' viewBox='0 0 %u %u' font-family='sans-serif' "
        "font-size='11'>\n<rect width='%u' height='%u' fill='#fff'/>\n<text x='%u' y='20' font-size='14'>",
        width, height, width, height, width, height, LEFT);
    print_name(file, arena);
    ma_print(file, ": %zu bytes, generation %" PRIu64 ", %zu bytes a cell</text>\n", arena->capacity,
             ma_load_acquire(&arena->pool.generation), cell_bytes);
    print_legend(file);
    ma_print(file, "<rect x='%u' y='%u' width='%u' height='%u' fill='#f2f2f2'/>\n", LEFT, TOP, COLUMNS * CELL_WIDTH,
             ROWS * ROW_HEIGHT);
    if (arena->pool.shard_count)
        ma_print(file, "<text x='5' y='%u'>shards</text>\n<text x='5' y='%u'>frontier</text>\n", TOP + 9,
                 TOP + ROWS / 2 * ROW_HEIGHT + 9);
    for (unsigned row = 0; row < ROWS; row++) print_row(file, cells + (size_t)row * COLUMNS, row);
    ma_print(file, "</svg>\n");
    free(cells);
    return !ferror(file);
}

bool memarena_write_map(const memarena *handle, FILE *file)
{
    errno = 0;
    return write_svg(ma_root_of(handle), file);
}

/* ---- HTML ---------------------------------------------------------------------------------------------------------- */

bool memarena_write_page(const memarena *handle, FILE *file)
{
    const ma_arena *arena = ma_root_of(handle);
    char json[4096];
    errno = 0;
    ma_print(file, "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'><title>memarena: ");
    print_name(file, arena);
    ma_print(file, "</title>\n<style>body{font-family:sans-serif;margin:1em}pre{font-size:12px}"
                   "main{display:flex;flex-wrap:wrap;gap:2em}</style></head>\n<body><main><div>\n");
    if (!write_svg(arena, file)) return false;
    ma_print(file, "</div><pre id='report'>\n");
    if (!ma_report(&arena->tlab, file, "&lt;")) return false;
    ma_print(file, "</pre></main>\n<script type='application/json' id='stats'>");
    (void)memarena_stats_json(&arena->tlab, json, sizeof json);
    ma_print_text(file, json, "\\u003c");
    ma_print(file, "</script>\n</body></html>\n");
    return !ferror(file);
}
