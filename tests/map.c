/* The picture of an arena: what its cells say, of arenas of every kind, and while threads allocate; and what is drawn. */
#include "threads.h"
#include "yield.h"

#include "internals.h"

#include <errno.h>
#include <string.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define CAPACITY (64 * MIB)
#define CELLS 4096u /* of 16 KiB */

static memarena_cell cells[CELLS + 1];

static size_t count_cells(unsigned kind)
{
    size_t found = 0;
    for (unsigned i = 0; i < CELLS; i++) found += cells[i].kind == kind;
    return found;
}

static void look(const memarena *arena)
{
    memset(cells, 0xee, sizeof cells);
    CHECK_EQ(memarena_snapshot(arena, cells, CELLS), 16 * KIB);
    CHECK_EQ(cells[CELLS].kind, 0xee);
    for (unsigned i = 0; i < CELLS; i++) {
        CHECK(cells[i].kind <= MEMARENA_CELL_GIVEN_BACK);
        if (cells[i].kind == MEMARENA_CELL_FREE) CHECK_EQ(cells[i].lane, MEMARENA_CELL_NOBODY);
    }
}

static memarena_cell cell_at(const memarena *arena, const char *block)
{
    const ma_arena *root = ma_arena_of(arena);
    size_t offset = (size_t)(block - (char *)root->pool.base) / root->spread;
    return cells[offset / (16 * KIB)];
}

static void a_cell_says_what_lies_in_it(void)
{
    memarena *arena = memarena_create_with(&(memarena_options){.capacity = CAPACITY, .tlab_bytes = 64 * KIB});
    CHECK(arena != NULL);
    look(arena);
    CHECK_EQ(count_cells(MEMARENA_CELL_FREE), CELLS);
    char *large = memarena_alloc(arena, 20 * MIB);
    CHECK(large != NULL);
    look(arena);
    CHECK(count_cells(MEMARENA_CELL_TAKEN) >= 20 * MIB / (16 * KIB));
    CHECK(count_cells(MEMARENA_CELL_TAKEN) <= 20 * MIB / (16 * KIB) + 2);
    CHECK_EQ(cell_at(arena, large + 10 * MIB).kind, MEMARENA_CELL_TAKEN);
    if (!test_watched(arena)) {
        char *small = NULL;
        for (int i = 0; i < 5000; i++) small = memarena_alloc(arena, 40);
        look(arena);
        CHECK(cell_at(arena, small).kind == MEMARENA_CELL_TAKEN || cell_at(arena, small).kind == MEMARENA_CELL_TLAB);
        CHECK_EQ(cell_at(arena, small).lane, ma_lane_number(ma_arena_of(arena)));
        CHECK(count_cells(MEMARENA_CELL_TLAB) <= 5);
        CHECK_EQ(count_cells(MEMARENA_CELL_GIVEN_BACK), 0);
    }
    memarena *scope = memarena_scope(arena);
    CHECK(scope != NULL);
    char *private = memarena_alloc(scope, MIB);
    CHECK(private != NULL);
    look(scope);
    CHECK_EQ(cell_at(arena, private + MIB / 2).kind, MEMARENA_CELL_TAKEN);
    memarena_destroy(scope);
    look(arena);
    if (!test_watched(arena)) CHECK_EQ(cell_at(arena, private + MIB / 2).kind, MEMARENA_CELL_GIVEN_BACK);
    CHECK(count_cells(MEMARENA_CELL_GIVEN_BACK) >= MIB / (16 * KIB) - 1);
    CHECK(memarena_reset(arena));
    look(arena);
    CHECK_EQ(count_cells(MEMARENA_CELL_FREE), CELLS);
    memarena_destroy(arena);
}

/* A list that others change while it is looked at may lead anywhere: here, each extent to itself. */
static void a_list_that_leads_round_is_looked_at_for_a_while(void)
{
    memarena *arena = memarena_create(CAPACITY), *scope = memarena_scope(arena);
    CHECK(arena != NULL && scope != NULL && memarena_alloc(scope, MIB) != NULL);
    memarena_destroy(scope);
    const ma_extents *extents = &ma_arena_of(arena)->extents;
    unsigned led_round = 0;
    for (uint32_t index = 1; index <= CAPACITY >> extents->unit_shift; index++) {
        uint64_t *link = &ma_extent_link_of(extents, index)->next_and_units;
        if (ma_extent_units_of(*link) == 0) continue;
        *link = (*link & ~(uint64_t)UINT32_MAX) | index;
        led_round++;
    }
    CHECK(led_round > 0);
    look(arena);
    CHECK(count_cells(MEMARENA_CELL_GIVEN_BACK) > 0 || test_watched(arena));
    memarena_destroy(arena);
}

static void the_lane_at_home_names_its_tlab(void)
{
    memarena *arena = memarena_create_with(&(memarena_options){.capacity = CAPACITY, .tlab_bytes = 64 * KIB});
    CHECK(arena != NULL);
    for (int i = 0; i < 3000; i++) CHECK(memarena_alloc(arena, 40) != NULL);
    memarena_stats stats = test_stats(arena);
    while (!stats.watched && stats.tlab_bytes < 40 * KIB) {
        CHECK(memarena_alloc(arena, 40) != NULL);
        stats = test_stats(arena);
    }
    look(arena);
    for (unsigned i = 0; i < CELLS && !stats.watched; i++)
        if (cells[i].kind != MEMARENA_CELL_FREE) CHECK_EQ(cells[i].lane, ma_lane_number(ma_arena_of(arena)));
    if (!stats.watched) CHECK(count_cells(MEMARENA_CELL_TLAB) >= 1);
    memarena_destroy(arena);
}

static void a_tlab_may_end_where_the_arena_does(void)
{
    memarena *arena = memarena_create_with(&(memarena_options){.capacity = CAPACITY, .tlab_bytes = 64 * KIB});
    CHECK(arena != NULL && memarena_alloc(arena, 40) != NULL); /* this thread has a lane */
    const ma_lane *lane = ma_arena_lane(ma_arena_of(arena), ma_lane_number(ma_arena_of(arena)));
    uintptr_t end = ma_arena_of(arena)->pool.base + CAPACITY;
    while (!test_watched(arena) && lane->limit != end) CHECK(memarena_alloc(arena, 4000) != NULL);
    look(arena);
    if (!test_watched(arena)) CHECK_EQ(cells[CELLS - 1].kind, MEMARENA_CELL_TLAB);
    memarena_destroy(arena);
}

static void any_number_of_cells_will_do(void)
{
    _Alignas(64) static char buffer[8192];
    size_t all_there_is = TEST_ASAN ? 64 * MIB : 0; /* or AddressSanitizer marks gigabytes */
    memarena *arenas[] = {memarena_create(8), memarena_create(100000), memarena_create(all_there_is),
                          memarena_create_with(&(memarena_options){.buffer = buffer, .capacity = sizeof buffer})};
    for (size_t i = 0; i < sizeof arenas / sizeof *arenas; i++) {
        size_t capacity = memarena_capacity(arenas[i]), all;
        for (size_t count = 0; count < 300; count++) {
            size_t bytes = memarena_snapshot(arenas[i], cells, count);
            CHECK(count == 0 || (bytes * count >= capacity && (bytes - 1) * count < capacity));
        }
        while (memarena_alloc_aligned(arenas[i], capacity > MIB ? capacity / 4 : 8, 8)) continue;
        CHECK_EQ(memarena_snapshot(arenas[i], cells, 1) + 7 >= capacity, 1);
        CHECK(cells[0].kind != MEMARENA_CELL_FREE);
        all = memarena_snapshot(arenas[i], cells, 2);
        CHECK(all * 2 >= capacity && cells[0].kind != MEMARENA_CELL_FREE);
        memarena_destroy(arenas[i]);
    }
}

/* ---- While threads allocate ------------------------------------------------------------------------------------------ */

static struct {
    memarena *arena;
    unsigned working;
} load;

static void *work(void *argument)
{
    unsigned long long random = test_seed(*(unsigned *)argument + 20);
    for (int i = 0; i < 3000; i++) {
        (void)memarena_alloc(load.arena, test_between(&random, 0, i % 50 ? 600 : 100000));
        memarena *scope = i % 4 ? NULL : memarena_scope(load.arena);
        for (int j = 0; scope && j < 10; j++) (void)memarena_alloc(scope, test_between(&random, 0, 20000));
        memarena_destroy(scope);
        if (i % 500 == 0) (void)memarena_reset(load.arena);
    }
    (void)__atomic_fetch_sub(&load.working, 1, __ATOMIC_ACQ_REL);
    return NULL;
}

static void it_can_be_taken_of_a_live_arena(void)
{
    load.arena = test_create(CAPACITY);
    CHECK(load.arena != NULL);
    pthread_t threads[3];
    unsigned numbers[3];
    load.working = 3;
    for (unsigned i = 0; i < 3; i++) numbers[i] = i, threads[i] = test_start(work, &numbers[i]);
    while (__atomic_load_n(&load.working, __ATOMIC_ACQUIRE) != 0) look(load.arena);
    for (unsigned i = 0; i < 3; i++) test_join(threads[i]);
    memarena_destroy(load.arena);
}

/* ---- What is drawn ------------------------------------------------------------------------------------------------------ */

static char *drawn(bool (*write)(const memarena *, FILE *), const memarena *arena)
{
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    CHECK(file != NULL && write(arena, file) && fclose(file) == 0 && strlen(text) == size);
    return text;
}

static void names_are_no_tags_and_failures_are_told(void)
{
    memarena *arena = memarena_create_with(&(memarena_options){.capacity = CAPACITY, .name = "</script><b>&\x01 \"\\"});
    CHECK(arena != NULL && memarena_alloc(arena, MIB) != NULL);
    char *svg = drawn(memarena_write_map, arena), *page = drawn(memarena_write_page, arena);
    CHECK(strncmp(svg, "<svg ", 5) == 0 && strcmp(svg + strlen(svg) - 7, "</svg>\n") == 0);
    CHECK(strlen(svg) < 200000);
    CHECK(strstr(svg, "<b>") == NULL && strstr(page, "<b>") == NULL &&
          strstr(svg, "&lt;/script&gt;&lt;b&gt;&amp;?") != NULL);
    const char *script = strstr(page, "id='stats'>");
    CHECK(script != NULL && strstr(script, "\\u003c/script>\\u003cb>&") != NULL);
    CHECK(strstr(script + 11, "</script>") == strstr(strstr(script, "]}"), "</script>"));
    free(svg);
    free(page);
    FILE *full = fopen("/dev/full", "w");
    if (full) {
        CHECK_EQ(setvbuf(full, NULL, _IONBF, 0), 0);
        CHECK(!memarena_write_map(arena, full) && errno == ENOSPC);
        CHECK(!memarena_write_page(arena, full) && errno == ENOSPC);
        fclose(full);
    }
    memarena_destroy(arena);
}

/* In the legend one stands behind the other, and none over the next. */
static void each_colour_is_explained_beside_the_others(void)
{
    memarena *arena = memarena_create(CAPACITY);
    CHECK(arena != NULL);
    char *svg = drawn(memarena_write_map, arena);
    unsigned long end = 0, count = 0;
    for (const char *at = svg; (at = strstr(at, "/><text x='")) != NULL; count++) {
        at += strlen("/><text x='");
        unsigned long x = strtoul(at, NULL, 10);
        CHECK(x > end);
        end = x + 5 * strcspn(strchr(at, '>') + 1, "<"); /* a character of that size is some 6 wide */
    }
    CHECK_EQ(count, 4);
    unsigned long width = strtoul(strstr(svg, "width='") + 7, NULL, 10); /* of the picture, which shows all of them */
    for (const char *at = svg; (at = strstr(at, "<rect x='")) != NULL; at++) CHECK(strtoul(at + 9, NULL, 10) < width);
    CHECK(strtoul(strstr(svg, "viewBox='0 0 ") + 13, NULL, 10) == width);
    free(svg);
    memarena_destroy(arena);
}

/* For tests/tools/map.sh: a page of an arena that has been worked in. */
static void write_a_page(const char *name)
{
    load.arena = memarena_create_with(&(memarena_options){.capacity = CAPACITY, .name = "requests"});
    FILE *file = fopen(name, "w");
    CHECK(load.arena != NULL && file != NULL);
    pthread_t threads[3];
    unsigned numbers[3];
    for (unsigned i = 0; i < 3; i++) numbers[i] = i, threads[i] = test_start(work, &numbers[i]);
    for (unsigned i = 0; i < 3; i++) test_join(threads[i]);
    CHECK(memarena_write_page(load.arena, file) && fclose(file) == 0);
    memarena_destroy(load.arena);
}

int main(int argc, char **argv)
{
    if (argc == 2) {
        write_a_page(argv[1]);
        return 0;
    }
    RUN(a_cell_says_what_lies_in_it);
    RUN(a_list_that_leads_round_is_looked_at_for_a_while);
    RUN(the_lane_at_home_names_its_tlab);
    RUN(a_tlab_may_end_where_the_arena_does);
    RUN(any_number_of_cells_will_do);
    RUN(it_can_be_taken_of_a_live_arena);
    RUN(names_are_no_tags_and_failures_are_told);
    RUN(each_colour_is_explained_beside_the_others);
    return test_done();
}
