#include "crew.h"

#include "console.h"

#include <pthread.h>
#include <stdlib.h>

struct job {
    void (*work)(void *context);
    void *context;
};

static void *run_job(void *argument)
{
    struct job *job = argument;
    job->work(job->context);
    return NULL;
}

void crew_run(unsigned threads, void (*work)(void *context), void *context)
{
    struct job job = {work, context};
    pthread_t *helpers = malloc(threads * sizeof *helpers);
    if (!helpers) console_out_of_memory();
    unsigned started = 0;
    int error = 0;
    while (started + 1 < threads && error == 0) {
        error = pthread_create(&helpers[started], NULL, run_job, &job);
        if (error == 0) started++;
    }
    if (error != 0) console_error("fewer threads than asked for", error);
    work(context);
    for (unsigned i = 0; i < started; i++) pthread_join(helpers[i], NULL);
    free(helpers);
}
