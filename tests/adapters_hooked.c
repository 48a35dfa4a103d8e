/* cJSON, jansson, expat and cmark with the hooks of the thread's current arena, on real input. */
#include "adapters_current.h"
#include "threads.h"

#include <memarena/adapters/current.h>

#include <string.h>

void scribble(void)
{
    memarena *scope = memarena_scope(shared);
    for (int i = 0; i < 64; i++) {
        void *block = memarena_alloc(scope, 64 * KIB);
        CHECK(block != NULL);
        memset(block, 0xA5, 64 * KIB);
    }
    memarena_destroy(scope);
}

char *read_repeated(const char *path, const char *before, const char *between, const char *after, size_t times)
{
    static char once[256 * 1024];
    FILE *file = fopen(path, "rb");
    CHECK(file != NULL);
    size_t bytes = fread(once, 1, sizeof once - 1, file);
    fclose(file);
    CHECK(bytes > 1000 && bytes < sizeof once - 1);
    once[bytes] = '\0';
    char *start = strstr(once, "?>"); /* of XML, where it may not be repeated */
    start = strncmp(once, "<?xml", 5) == 0 && start ? start + 2 : once;
    char *text = malloc(strlen(before) + times * (bytes + strlen(between)) + strlen(after) + 1), *end = text;
    CHECK(text != NULL);
    end = stpcpy(end, before);
    for (size_t i = 0; i < times; i++) end = stpcpy(stpcpy(end, i ? between : ""), start);
    stpcpy(end, after);
    return text;
}

void try_library(const char *name, library_job *does, const char *text, bool survives)
{
    size_t bytes = strlen(text), most = 0;
    char *expected = does(text, bytes, true), *late = NULL;
    CHECK(expected != NULL && strlen(expected) > 0 && !memarena_owns(shared, expected));
    printf("    %s: %zu KiB of input", name, bytes / KIB);
    for (long i = 0; i < test_scaled(20) + 2; i++) {
        memarena *scope = memarena_scope(shared), *before = begin(scope);
        char *result = does(text, bytes, i % 2 == 1);
        CHECK(result != NULL && memarena_owns(scope, result) && strcmp(result, expected) == 0);
        size_t used = memarena_allocated_bytes(shared);
        CHECK(used > 4 * KIB && (i == 0 || used <= most + most / 4)); /* nothing piles up */
        if (used > most) most = used;
        memarena_current_pop(before);
        if (late) memarena_current_free(late); /* dead since the last round */
        late = result;
        memarena_destroy(scope);
        CHECK_EQ(memarena_allocated_bytes(shared), 0);
        scribble();
    }
    printf(", %zu KiB at most\n", most / KIB);
    unsigned refusals = 0;
    for (size_t room = 8 * KIB; survives && room < most; room += most / 16 + 8) {
        memarena *small = memarena_create(room);
        CHECK(small != NULL && memarena_current_register(small));
        memarena *before = begin(small);
        refusals += does(text, bytes, true) == NULL;
        memarena_current_pop(before);
        memarena_current_unregister(small);
        memarena_destroy(small);
    }
    CHECK(refusals > 0 || !survives);
    memarena_current_free(expected);
}

#ifdef HAVE_CJSON
#include <memarena/adapters/cjson.h>
static char *cjson_job(const char *text, size_t bytes, bool frees)
{
    cJSON *document = cJSON_ParseWithLength(text, bytes);
    char *printed = document ? cJSON_PrintUnformatted(document) : NULL;
    cJSON *again = printed ? cJSON_Parse(printed) : NULL;
    CHECK(!again || cJSON_Compare(document, again, true));
    if (frees) cJSON_Delete(document);
    if (frees || !again) cJSON_Delete(again);
    if (again) return printed;
    cJSON_free(printed);
    return NULL;
}

static void *make_for_the_other(void *scope)
{
    memarena *before = begin(scope);
    cJSON *document = cJSON_Parse("{\"made\": [\"by\", \"another\", 1]}");
    memarena_current_pop(before);
    return document;
}

static void cjson_in_both_directions(void)
{
    void *made;
    memarena *scope = memarena_scope(shared), *other = memarena_scope(shared);
    cJSON *outside = cJSON_Parse("[1, 2, {\"three\": 4}]");
    CHECK_EQ(pthread_join(test_start(make_for_the_other, other), &made), 0);
    memarena *before = begin(scope);
    CHECK(made && memarena_owns(other, made) && !memarena_owns(shared, outside));
    CHECK_EQ(cJSON_GetArraySize(cJSON_GetObjectItem(made, "made")), 3);
    cJSON_Delete(made);
    cJSON_Delete(outside);
    cJSON *inside = cJSON_CreateString("for later");
    memarena_current_pop(before);
    CHECK(memarena_owns(scope, inside));
    cJSON_Delete(inside);
    memarena_destroy(other);
    memarena_destroy(scope);
}
#endif

#ifdef HAVE_JANSSON
#include <memarena/adapters/jansson.h>
static char *jansson_job(const char *text, size_t bytes, bool frees)
{
    json_error_t error;
    json_t *document = json_loadb(text, bytes, 0, &error);
    char *dumped = document ? json_dumps(document, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    json_t *again = dumped ? json_loads(dumped, 0, &error) : NULL;
    CHECK(!again || json_equal(document, again));
    if (frees) json_decref(document);
    if (frees || !again) json_decref(again);
    if (again) return dumped;
    memarena_current_free(dumped);
    return NULL;
}
#endif

#ifdef HAVE_EXPAT
#include <memarena/adapters/expat.h>
typedef struct tally {
    unsigned long elements, attributes, characters;
} tally;

static void XMLCALL count_element(void *data, const XML_Char *name, const XML_Char **attributes)
{
    tally *counts = data;
    (void)name;
    counts->elements++;
    for (; *attributes; attributes += 2) counts->attributes++;
}

static void XMLCALL count_text(void *data, const XML_Char *text, int length)
{
    (void)text;
    ((tally *)data)->characters += (unsigned long)length;
}

static char *expat_job(const char *text, size_t bytes, bool frees)
{
    tally counts = {0};
    char result[100] = "";
    XML_Parser parser = memarena_expat(NULL, "|");
    if (!parser) return NULL;
    XML_SetUserData(parser, &counts);
    XML_SetElementHandler(parser, count_element, NULL);
    XML_SetCharacterDataHandler(parser, count_text);
    enum XML_Status status = XML_STATUS_OK;
    for (size_t at = 0; status == XML_STATUS_OK && at < bytes; at += 4000) { /* in pieces: some must be kept */
        size_t piece = bytes - at < 4000 ? bytes - at : 4000;
        status = XML_Parse(parser, text + at, (int)piece, at + piece == bytes);
    }
    CHECK(status == XML_STATUS_OK || XML_GetErrorCode(parser) == XML_ERROR_NO_MEMORY);
    if (frees) XML_ParserFree(parser);
    if (status != XML_STATUS_OK) return NULL;
    CHECK(counts.elements > 100);
    snprintf(result, sizeof result, "%lu %lu %lu", counts.elements, counts.attributes, counts.characters);
    return memarena_current_strdup(result);
}
#endif

#ifdef HAVE_CMARK
#include <memarena/adapters/cmark.h>
static char *cmark_job(const char *text, size_t bytes, bool frees)
{
    cmark_parser *parser = cmark_parser_new_with_mem(CMARK_OPT_DEFAULT, memarena_cmark());
    cmark_parser_feed(parser, text, bytes);
    cmark_node *document = cmark_parser_finish(parser);
    char *html = cmark_render_html(document, CMARK_OPT_DEFAULT);
    if (!memarena_current_get()) { /* its own allocator agrees */
        char *expected = cmark_markdown_to_html(text, bytes, CMARK_OPT_DEFAULT);
        CHECK(strcmp(html, expected) == 0);
        free(expected);
    }
    if (frees) cmark_parser_free(parser);
    if (frees) cmark_node_free(document);
    return html;
}
#endif

void hooked_libraries(const char *markdown_path, const char *json_path, const char *svg_path)
{
    char *markdown = read_repeated(markdown_path, "", "\n", "\n", 8);
    char *json = read_repeated(json_path, "[", ",", "]", 300);
    char *svg = read_repeated(svg_path, "<all>", "", "</all>", 20);
#ifdef HAVE_CJSON
    memarena_cjson_install();
    try_library("cJSON", cjson_job, json, true);
    cjson_in_both_directions();
    cJSON_InitHooks(NULL);
#endif
#ifdef HAVE_JANSSON
    memarena_jansson_install();
    try_library("jansson", jansson_job, json, true);
#endif
#ifdef HAVE_EXPAT
    try_library("expat", expat_job, svg, true);
#endif
#ifdef HAVE_CMARK
    try_library("cmark", cmark_job, markdown, false); /* it does not survive that */
#endif
    free(markdown);
    free(json);
    free(svg);
}
