#define _POSIX_C_SOURCE 200809L
#include "pipeline.h"

#include "batch.h"
#include "queue.h"

#include <errno.h>
#include <memarena/adapters/cjson.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

/* One that is being filled, one in the queue, one that is being added up. */
#define BATCHES_EACH 3u

struct parser {
    struct pipeline *pipeline;
    struct queue *home; /* its batches that wait for lines */
    struct batch batches[BATCHES_EACH];
    double parse_seconds, release_seconds; /* read when the thread has ended */
    pthread_t thread;
};

struct pipeline {
    const struct pipeline_options *options;
    struct input *input;
    struct totals *totals;
    memarena *arena;      /* whose scopes the batches have; NULL: malloc */
    struct queue *parsed; /* batches on their way to the totals */
    struct parser *parsers;
    struct pipeline_result result; /* of the calling thread */
};

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void release(struct batch *batch, double *seconds)
{
    double start = seconds_now();
    batch_release(batch);
    *seconds += seconds_now() - start;
}

static void fail(struct pipeline *pipeline, const char *what, int error, size_t line)
{
    input_stop(pipeline->input);
    if (pipeline->result.failed) return;
    pipeline->result.failed = what;
    pipeline->result.error = error;
    pipeline->result.failed_line = line;
}

/* ---- The parser threads ----------------------------------------------------------------------------------------- */

static struct batch *next_empty(struct parser *parser)
{
    struct batch *batch = queue_pop(parser->home);
    if (parser->pipeline->options->allocator == ALLOCATOR_MALLOC_OWN) release(batch, &parser->release_seconds);
    return batch;
}

static void *parse_batches(void *argument)
{
    struct parser *parser = argument;
    struct queue *parsed = parser->pipeline->parsed;
    struct batch *batch = next_empty(parser);
    while (input_take(parser->pipeline->input, &batch->text)) {
        double start = seconds_now();
        batch_parse(batch);
        parser->parse_seconds += seconds_now() - start;
        queue_push(parsed, batch);
        batch = next_empty(parser);
    }
    queue_leave(parsed);
    for (unsigned others = 1; others < BATCHES_EACH; others++) next_empty(parser);
    return NULL;
}

/* ---- The thread that adds up ------------------------------------------------------------------------------------ */

static void add_up(struct pipeline *pipeline, const struct batch *batch)
{
    if (pipeline->result.failed) return; /* what is still on its way is only released */
    for (size_t i = 0; i < batch->count; i++) {
        const struct record *record = &batch->records[i];
        if (record->line == batch->refused_line) continue; /* not for the line's fault */
        if (!record->tree)
            totals_reject(pipeline->totals, (struct reject){.line = record->line, .byte = record->byte});
        else if (!totals_add(pipeline->totals, record->tree, record->line))
            fail(pipeline, "no memory for the totals", ENOMEM, record->line);
    }
    if (batch->refused_line != 0) fail(pipeline, "no memory for the records", ENOMEM, batch->refused_line);
}

static void aggregate_batches(struct pipeline *pipeline)
{
    for (struct batch *batch; (batch = queue_pop(pipeline->parsed)) != NULL;) {
        double start = seconds_now();
        add_up(pipeline, batch);
        pipeline->result.aggregate_seconds += seconds_now() - start;
        if (pipeline->options->allocator != ALLOCATOR_MALLOC_OWN) release(batch, &pipeline->result.release_seconds);
        queue_push(batch->home, batch);
    }
}

/* ---- Life ------------------------------------------------------------------------------------------------------- */

static bool open_parser(struct pipeline *pipeline, struct parser *parser)
{
    parser->pipeline = pipeline;
    parser->home = queue_create(BATCHES_EACH, 1);
    if (!parser->home) return false;
    for (unsigned i = 0; i < BATCHES_EACH; i++) {
        if (!batch_open(&parser->batches[i], pipeline->arena)) return false;
        parser->batches[i].home = parser->home;
        queue_push(parser->home, &parser->batches[i]);
    }
    return true;
}

static bool open_arena(struct pipeline *pipeline)
{
    if (pipeline->options->allocator != ALLOCATOR_ARENA) return true;
    pipeline->arena =
        memarena_create_with(&(memarena_options){.capacity = pipeline->options->memory_bytes, .name = "ingest"});
    if (!pipeline->arena || !memarena_current_register(pipeline->arena)) return false;
    memarena_cjson_install();
    return true;
}

static void close_arena(struct pipeline *pipeline)
{
    if (!pipeline->arena) return;
    memarena_current_unregister(pipeline->arena);
    memarena_destroy(pipeline->arena);
}

static bool open_parsers(struct pipeline *pipeline)
{
    unsigned threads = pipeline->options->threads;
    pipeline->parsed = queue_create(threads, threads);
    pipeline->parsers = calloc(threads, sizeof *pipeline->parsers);
    if (!pipeline->parsed || !pipeline->parsers) return false;
    for (unsigned i = 0; i < threads; i++)
        if (!open_parser(pipeline, &pipeline->parsers[i])) return false;
    return true;
}

static void close_parsers(struct pipeline *pipeline)
{
    for (unsigned i = 0; pipeline->parsers && i < pipeline->options->threads; i++) {
        struct parser *parser = &pipeline->parsers[i];
        for (unsigned j = 0; j < BATCHES_EACH; j++) batch_close(&parser->batches[j]);
        queue_destroy(parser->home);
    }
    free(pipeline->parsers);
    queue_destroy(pipeline->parsed);
}

/* As many as the system gives. */
static void start_threads(struct pipeline *pipeline)
{
    unsigned *started = &pipeline->result.threads;
    int error = 0;
    while (*started < pipeline->options->threads && error == 0) {
        struct parser *parser = &pipeline->parsers[*started];
        error = pthread_create(&parser->thread, NULL, parse_batches, parser);
        if (error == 0) ++*started;
    }
    for (unsigned i = *started; i < pipeline->options->threads; i++) queue_leave(pipeline->parsed);
    if (*started == 0) fail(pipeline, "cannot start a thread", error, 0);
}

static void join_threads(struct pipeline *pipeline)
{
    for (unsigned i = 0; i < pipeline->result.threads; i++) {
        struct parser *parser = &pipeline->parsers[i];
        pthread_join(parser->thread, NULL);
        pipeline->result.parse_seconds += parser->parse_seconds;
        pipeline->result.release_seconds += parser->release_seconds;
    }
}

struct pipeline_result pipeline_run(const struct pipeline_options *options, struct input *input, struct totals *totals)
{
    struct pipeline pipeline = {.options = options, .input = input, .totals = totals};
    if (open_arena(&pipeline) && open_parsers(&pipeline)) {
        double start = seconds_now();
        start_threads(&pipeline);
        aggregate_batches(&pipeline);
        join_threads(&pipeline);
        pipeline.result.seconds = seconds_now() - start;
    } else {
        fail(&pipeline, "no memory for the batches", errno, 0);
    }
    if (input_error(input) != 0) fail(&pipeline, "cannot be read", input_error(input), 0);
    close_parsers(&pipeline);
    close_arena(&pipeline);
    return pipeline.result;
}
