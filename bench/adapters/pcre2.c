/* PCRE2: compiles a pattern, finds all that matches in a message, and forgets the pattern, as a script's one-off search
 * does. */
#include "jobs.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <memarena/adapters/pcre2.h>
#include <stdlib.h>
#include <string.h>

static const char pattern[] = "\"name\": \"(?<first>[a-z]+) (?<second>[a-z]+)\", \"price\": (\\d+\\.\\d\\d)";
static unsigned found;
static double total;

static void *count_alloc(PCRE2_SIZE size, void *unused)
{
    (void)unused;
    return counted_alloc(size);
}

static void count_free(void *block, void *unused)
{
    (void)unused;
    counted_free(block);
}

/* NULL stands for malloc. */
static pcre2_general_context *general(const struct memory *memory)
{
    if (memory->from == FROM_MALLOC) return NULL;
    pcre2_general_context *context = memory->from == FROM_ARENA
                                         ? memarena_pcre2(memory->scope)
                                         : pcre2_general_context_create(count_alloc, count_free, NULL);
    if (!context) job_failed("pcre2_general_context_create");
    return context;
}

static void search(const pcre2_code *code, pcre2_match_data *match)
{
    const PCRE2_SIZE *at = pcre2_get_ovector_pointer(match);
    found = 0, total = 0;
    for (PCRE2_SIZE from = 0; pcre2_match(code, (PCRE2_SPTR)text, MESSAGE_BYTES, from, 0, match, NULL) > 0; found++) {
        total += strtod(text + at[6], NULL);
        from = at[1];
    }
}

static void compile_and_match(const struct memory *memory)
{
    int error;
    PCRE2_SIZE offset;
    pcre2_general_context *context = general(memory);
    pcre2_compile_context *compiling = context ? pcre2_compile_context_create(context) : NULL;
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, 0, &error, &offset, compiling);
    pcre2_match_data *match = code ? pcre2_match_data_create_from_pattern(code, context) : NULL;
    if (!match) job_failed("pcre2_compile");
    search(code, match);
    if (!memory->clean_up) return;
    pcre2_match_data_free(match);
    pcre2_code_free(code);
    pcre2_compile_context_free(compiling);
    pcre2_general_context_free(context);
}

static bool all_found(void)
{
    static const char key[] = "\"price\": ";
    unsigned prices = 0;
    double sum = 0;
    for (const char *at = text; (at = strstr(at, key)) && at + 15 < text + MESSAGE_BYTES; prices++)
        sum += strtod(at += sizeof key - 1, NULL);
    bool right = found == prices && prices > 10 && total == sum;
    found = 0;
    return right;
}

const struct job pcre2_jobs[] = {
    {"pcre2", "compiles a pattern, searches 3 KB", NULL, compile_and_match, all_found},
    {0},
};
