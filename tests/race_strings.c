/* Copies and texts, made by several threads in one arena: each is right when it is made and stays so; and the answer of
 * memarena_owns, which no reset changes. */
#include "threads.h"
#include "yield.h"

#include <string.h>

#define THREADS 4u
#define TEXT_MAX 1200u
#define COPY_BYTES ((size_t)256) /* more than they take on average */

typedef enum maker { BY_PRINTF, BY_STRDUP, BY_STRNDUP, BY_MEMDUP, MAKERS } maker;

typedef struct copy {
    char *text;
    size_t size; /* with its terminator */
    unsigned long number;
} copy;

typedef struct member {
    pthread_t thread;
    unsigned number;
    copy *copies;
    test_log log;
} member;

static struct {
    memarena *arena;
    pthread_barrier_t barrier;
    unsigned long copies; /* of each thread */
    const void *block, *outside;
    bool resets_are_over;
    unsigned long resets, answers;
} race;

/* What the n-th copy of a thread says: some short, some longer than what memarena_printf formats at the first try. */
#define SAYS(thread, number) "%u|%*lu|%s", (thread), width_of(number), (number), (number) % 2 ? "odd" : "even"

static int width_of(unsigned long number)
{
    return (int)(number % 7 == 6 ? 200 + number % 900 : number % 40);
}

static maker maker_of(unsigned long number)
{
    return (maker)(number % MAKERS);
}

/* Returns its length. */
static size_t write_text(char *text, unsigned thread, unsigned long number)
{
    int length = snprintf(text, TEXT_MAX, SAYS(thread, number));
    CHECK(length > 0 && (unsigned)length < TEXT_MAX);
    size_t cut = maker_of(number) == BY_STRNDUP ? number % 3 : 0;
    text[(unsigned)length - cut] = '\0';
    return (unsigned)length - cut;
}

static copy make(unsigned thread, unsigned long number)
{
    char text[TEXT_MAX];
    size_t size = write_text(text, thread, number) + 1;
    char *made = NULL;
    switch (maker_of(number)) {
    case BY_PRINTF:
        made = memarena_printf(race.arena, SAYS(thread, number));
        break;
    case BY_STRDUP:
        made = memarena_strdup(race.arena, text);
        break;
    case BY_STRNDUP:
        made = memarena_strndup(race.arena, strcat(text, "more"), size - 1);
        break;
    case BY_MEMDUP:
        made = memarena_memdup(race.arena, text, size);
        break;
    case MAKERS:
        break;
    }
    CHECK(made != NULL);
    return (copy){made, size, number};
}

static void check(const copy *made, unsigned thread)
{
    char text[TEXT_MAX];
    CHECK_EQ(write_text(text, thread, made->number) + 1, made->size);
    CHECK(memcmp(made->text, text, made->size) == 0);
    CHECK(memarena_owns(race.arena, made->text) && memarena_owns(race.arena, made->text + made->size - 1));
}

static void *make_copies(void *argument)
{
    member *self = argument;
    for (unsigned long i = 0; i < race.copies; i++) {
        if (i % 128 == 0) test_meet(&race.barrier); /* else each has done before the next one begins */
        copy made = make(self->number, i);
        check(&made, self->number);
        CHECK(!memarena_owns(race.arena, &made));
        self->copies[i] = made;
        test_record(&self->log, 1, made.text, made.size);
    }
    return NULL;
}

/* Memory that ends no text by chance. */
static void leave_no_zeros(void)
{
    size_t capacity = memarena_capacity(race.arena);
    void *block = memarena_alloc_aligned(race.arena, capacity, 8);
    CHECK(block != NULL);
    memset(block, 0x5A, capacity);
    CHECK(memarena_reset(race.arena));
}

static void texts_of_many_threads_are_right_and_stay_so(void)
{
    member members[THREADS];
    test_log all = {0};
    race.copies = (unsigned long)test_scaled(10000);
    race.arena = test_create(THREADS * race.copies * COPY_BYTES + ((size_t)1 << 20));
    CHECK(race.arena != NULL);
    leave_no_zeros();
    CHECK_EQ(pthread_barrier_init(&race.barrier, NULL, THREADS), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        members[i] = (member){.number = i, .copies = calloc(race.copies, sizeof(copy))};
        CHECK(members[i].copies != NULL);
        members[i].thread = test_start(make_copies, &members[i]);
    }
    for (unsigned i = 0; i < THREADS; i++) test_join(members[i].thread);
    for (unsigned i = 0; i < THREADS; i++) {
        for (unsigned long n = 0; n < race.copies; n++) check(&members[i].copies[n], i);
        test_append(&all, &members[i].log);
        test_forget(&members[i].log);
        free(members[i].copies);
    }
    CHECK_EQ(pthread_barrier_destroy(&race.barrier), 0);
    (void)test_check_blocks(race.arena, &all);
    test_forget(&all);
    test_check_whole(race.arena, 4096);
    memarena_destroy(race.arena);
}

/* ---- Whose an address is ------------------------------------------------------------------------------------------ */

static void *ask(void *argument)
{
    (void)argument;
    while (!__atomic_load_n(&race.resets_are_over, __ATOMIC_ACQUIRE)) {
        CHECK(memarena_owns(race.arena, race.block));
        CHECK(!memarena_owns(race.arena, race.outside));
        __atomic_store_n(&race.answers, race.answers + 1, __ATOMIC_RELAXED);
        if (race.answers % 64 == 0) (void)test_give_way();
    }
    return NULL;
}

static void *reset_often(void *argument)
{
    (void)argument;
    for (unsigned long i = 0; i < race.resets; i++) {
        CHECK(memarena_alloc_aligned(race.arena, 8, 8) != NULL);
        CHECK(memarena_reset(race.arena));
        if (i % 16 == 0) (void)test_give_way();
    }
    while (__atomic_load_n(&race.answers, __ATOMIC_RELAXED) == 0) sched_yield();
    __atomic_store_n(&race.resets_are_over, true, __ATOMIC_RELEASE);
    return NULL;
}

static void an_arena_owns_its_memory_whatever_is_reset(void)
{
    race.arena = test_create((size_t)16 << 20);
    CHECK(race.arena != NULL);
    race.block = memarena_alloc(race.arena, 100);
    race.outside = &race;
    race.resets = (unsigned long)test_scaled(5000);
    CHECK(race.block != NULL);
    pthread_t members[] = {test_start(ask, NULL), test_start(reset_often, NULL)};
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) test_join(members[i]);
    CHECK_EQ(memarena_generation(race.arena), race.resets + 1);
    memarena_destroy(race.arena);
}

int main(void)
{
    RUN(texts_of_many_threads_are_right_and_stay_so);
    RUN(an_arena_owns_its_memory_whatever_is_reset);
    return test_done();
}
