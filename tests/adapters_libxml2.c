/* libxml2 with the thread's current arena: what it makes once and keeps, its last error, and documents. */
#include "adapters_current.h"

#ifdef HAVE_XML2
#include <memarena/adapters/libxml2.h>

#include <libxml/xpath.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

static char directory[] = "/tmp/memarena-libxml2-XXXXXX";

#if LIBXML_VERSION >= 21200
typedef const xmlError *last_error;
#else
typedef xmlErrorPtr last_error;
#endif

static void quiet(void *context, last_error error)
{
    (void)context, (void)error;
}

/* ---- What it makes once --------------------------------------------------------------------------------------------- */

static void write_file(const char *name, const char *format)
{
    char path[100];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, "w");
    CHECK(file != NULL);
    fprintf(file, format, directory);
    CHECK(fclose(file) == 0);
}

static void remove_file(const char *name)
{
    char path[100];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    CHECK_EQ(unlink(path), 0);
}

#define CATALOG "<catalog xmlns='urn:oasis:names:tc:entity:xmlns:xml:catalog'>"

/* A document whose DTD is found through a catalog that the first catalog names. */
static void catalog_job(void)
{
    char path[100];
    snprintf(path, sizeof path, "%s/document.xml", directory);
    xmlDoc *document = xmlReadFile(path, NULL, XML_PARSE_NOENT | XML_PARSE_DTDLOAD | XML_PARSE_NONET);
    CHECK(document != NULL && memarena_owns(memarena_current_get(), document));
    xmlChar *text = xmlNodeGetContent(xmlDocGetRootElement(document));
    CHECK(strcmp((char *)text, "from the catalog") == 0);
}

/* A catalog of its own, which has libxml2 make the default ones, too. */
static void local_catalog_job(void)
{
    char text[200];
    int length = snprintf(text, sizeof text, "<?oasis-xml-catalog catalog='file://%s/second.xml'?><a/>", directory);
    CHECK(xmlReadMemory(text, length, NULL, NULL, 0) != NULL);
}

static void encoding_job(void)
{
    static const char latin[] = "<?xml version='1.0' encoding='ISO-8859-1'?><a>\xe9</a>";
    static const char greek[] = "<?xml version='1.0' encoding='ISO-8859-7'?><a>\xe1</a>";
    xmlDoc *document = xmlReadMemory(latin, sizeof latin - 1, NULL, NULL, 0);
    CHECK(document && strcmp((char *)xmlNodeGetContent(xmlDocGetRootElement(document)), "\xc3\xa9") == 0);
    document = xmlReadMemory(greek, sizeof greek - 1, NULL, NULL, 0);
    CHECK(document && strcmp((char *)xmlNodeGetContent(xmlDocGetRootElement(document)), "\xce\xb1") == 0);
}

static void schema_job(void)
{
    static const char schema_text[] = "<xs:schema xmlns:xs='http://www.w3.org/2001/XMLSchema'>"
                                      "<xs:element name='a' type='xs:positiveInteger'/></xs:schema>";
    xmlSchemaParserCtxt *parser = xmlSchemaNewMemParserCtxt(schema_text, sizeof schema_text - 1);
    xmlSchema *schema = xmlSchemaParse(parser);
    xmlSchemaFreeParserCtxt(parser);
    CHECK(schema != NULL);
    for (int i = 0; i < 2; i++) {
        const char *text = i ? "<a>17</a>" : "<a>-17</a>";
        xmlSchemaValidCtxt *checks = xmlSchemaNewValidCtxt(schema);
        xmlSchemaSetValidStructuredErrors(checks, quiet, NULL);
        CHECK_EQ(xmlSchemaValidateDoc(checks, xmlReadMemory(text, (int)strlen(text), NULL, NULL, 0)) == 0, i);
        xmlSchemaFreeValidCtxt(checks);
    }
}

static void relaxng_job(void)
{
    static const char schema_text[] = "<element name='a' xmlns='http://relaxng.org/ns/structure/1.0' "
                                      "datatypeLibrary='http://www.w3.org/2001/XMLSchema-datatypes'>"
                                      "<data type='date'/></element>";
    xmlRelaxNGParserCtxt *parser = xmlRelaxNGNewMemParserCtxt(schema_text, sizeof schema_text - 1);
    xmlRelaxNG *schema = xmlRelaxNGParse(parser);
    xmlRelaxNGFreeParserCtxt(parser);
    CHECK(schema != NULL);
    for (int i = 0; i < 2; i++) {
        const char *text = i ? "<a>2024-02-29</a>" : "<a>2023-02-29</a>";
        xmlRelaxNGValidCtxt *checks = xmlRelaxNGNewValidCtxt(schema);
        xmlRelaxNGSetValidStructuredErrors(checks, quiet, NULL);
        CHECK_EQ(xmlRelaxNGValidateDoc(checks, xmlReadMemory(text, (int)strlen(text), NULL, NULL, 0)) == 0, i);
        xmlRelaxNGFreeValidCtxt(checks);
    }
}

static void xpath_job(void)
{
    xmlDoc *document = xmlReadMemory("<a><b/><b/><c/></a>", 19, NULL, NULL, 0);
    xmlXPathObject *found = xmlXPathEvalExpression(BAD_CAST "count(//b)", xmlXPathNewContext(document));
    CHECK(found && (int)found->floatval == 2);
}

/* Each twice, with the memory of the first time overwritten in between. */
static void what_it_makes_once_outlives_the_scope(void)
{
    static void (*const jobs[])(void) = {encoding_job, local_catalog_job, catalog_job,
                                         schema_job,   relaxng_job,       xpath_job};
    for (int round = 0; round < 3; round++)
        for (size_t i = 0; i < sizeof jobs / sizeof *jobs; i++) {
            memarena *scope = memarena_scope(shared), *before = begin(scope);
            jobs[i]();
            memarena_libxml2_pop(before);
            memarena_destroy(scope);
            CHECK_EQ(memarena_allocated_bytes(shared), 0);
            scribble();
        }
}

/* ---- The last error ------------------------------------------------------------------------------------------------ */

static void fail_in(memarena *scope)
{
    memarena *before = begin(scope);
    CHECK(xmlReadMemory("<a>&who;</a>", 13, "broken.xml", NULL, 0) == NULL);
    last_error error = xmlGetLastError();
    CHECK(error && strstr(error->message, "who") && memarena_owns(scope, error->message));
    memarena_current_pop(before);
}

static void the_last_error_is_forgotten_at_the_pop(void)
{
    memarena *scope = memarena_scope(shared);
    fail_in(scope);
    memarena_libxml2_pop(begin(scope));
    CHECK(xmlGetLastError() == NULL);
    memarena_destroy(scope);
    CHECK(xmlGetLastError() == NULL);
}

static void *fail_and_exit(void *scope)
{
    xmlSetStructuredErrorFunc(NULL, quiet);
    fail_in(scope);
    return NULL; /* the thread's exit frees its last error */
}

static void the_last_error_may_be_freed_when_it_is_dead(void)
{
    pthread_t thread;
    for (int way = 0; way < 2; way++) {
        memarena *scope = memarena_scope(shared);
        fail_in(scope);
        CHECK_EQ(pthread_create(&thread, NULL, fail_and_exit, scope), 0);
        CHECK_EQ(pthread_join(thread, NULL), 0);
        memarena_destroy(scope);
        scribble();
        if (way == 0)
            xmlResetLastError();
        else /* overwritten by the next one, which is malloc's */
            CHECK(xmlReadMemory("<a", 2, NULL, NULL, 0) == NULL);
        last_error error = xmlGetLastError();
        CHECK(way == 0 ? error == NULL : error && !memarena_owns(shared, error->message));
        xmlResetLastError();
    }
}

/* ---- Documents ------------------------------------------------------------------------------------------------------ */

static char *document_job(const char *text, size_t bytes, bool frees)
{
    xmlDoc *document = xmlReadMemory(text, (int)bytes, NULL, NULL, XML_PARSE_HUGE);
    xmlChar *printed = NULL;
    int length = 0;
    if (document) xmlDocDumpMemory(document, &printed, &length);
    if (frees) xmlFreeDoc(document);
    CHECK(!printed || (size_t)length == strlen((char *)printed));
    xmlResetLastError();
    return (char *)printed;
}

static void *parse_in(void *scope)
{
    memarena *before = begin(scope);
    xmlDoc *document = xmlReadMemory("<a><b c='d'>e</b></a>", 21, NULL, NULL, 0);
    memarena_libxml2_pop(before);
    CHECK(document && memarena_owns(scope, document));
    return document;
}

static void documents_and_foreign_blocks_cross(void)
{
    memarena *one = memarena_scope(shared), *two = memarena_scope(shared);
    xmlDoc *outside = xmlReadMemory("<a>1</a>", 8, NULL, NULL, 0);
    pthread_t thread;
    void *made;
    CHECK_EQ(pthread_create(&thread, NULL, parse_in, two), 0);
    xmlDoc *own = parse_in(one);
    CHECK_EQ(pthread_join(thread, &made), 0);
    memarena *before = begin(one);
    CHECK(outside && !memarena_owns(shared, outside));
    xmlFreeDoc(outside);
    xmlFreeDoc(made); /* by another thread than its own */
    xmlFree(strdup("libc's"));
    memarena_libxml2_pop(before);
    xmlFreeDoc(own); /* outside */
    memarena_destroy(one);
    memarena_destroy(two);
    CHECK_EQ(memarena_allocated_bytes(shared), 0);
}

void libxml2_rounds(const char *svg_path)
{
    CHECK(mkdtemp(directory) != NULL);
    write_file("first.xml",
               CATALOG "<delegateSystem systemIdStartString='thing:' catalog='file://%s/second.xml'/></catalog>");
    write_file("second.xml", CATALOG "<system systemId='thing:dtd' uri='file://%s/thing.dtd'/></catalog>");
    write_file("thing.dtd", "<!ENTITY hello 'from the catalog'>");
    write_file("document.xml", "<!DOCTYPE a SYSTEM 'thing:dtd'><a>&hello;</a>");
    char path[100];
    snprintf(path, sizeof path, "%s/first.xml", directory);
    CHECK_EQ(setenv("XML_CATALOG_FILES", path, 1), 0);

    memarena *scope = memarena_scope(shared), *before = begin(scope); /* even so: */
    CHECK(memarena_libxml2_install());
    CHECK(memarena_libxml2_install());
    CHECK_EQ(memarena_allocated_bytes(scope), 0);
    memarena_libxml2_pop(before);
    memarena_destroy(scope);
    xmlSetStructuredErrorFunc(NULL, quiet);
    RUN(what_it_makes_once_outlives_the_scope);
    RUN(the_last_error_is_forgotten_at_the_pop);
    RUN(the_last_error_may_be_freed_when_it_is_dead);
    char *svg = read_repeated(svg_path, "<all>", "", "</all>", 20);
    try_library("libxml2", document_job, svg, true);
    free(svg);
    RUN(documents_and_foreign_blocks_cross);
    xmlCleanupParser(); /* at last: all that is freed here was made outside */

    const char *files[] = {"first.xml", "second.xml", "thing.dtd", "document.xml"};
    for (int i = 0; i < 4; i++) remove_file(files[i]);
    CHECK_EQ(rmdir(directory), 0);
}
#endif
