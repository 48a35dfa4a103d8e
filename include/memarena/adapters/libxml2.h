/* libxml2 in the thread's current arena (see current.h, which says how one is made current):
 *
 *     memarena_libxml2_install();                        // once, before other threads use libxml2
 *     ...
 *     xmlDoc *document = xmlReadMemory(text, length, NULL, NULL, 0);   // with a scope pushed: lives there
 *     ...
 *     memarena_libxml2_pop(before);                      // not memarena_current_pop; xmlFreeDoc is not needed
 *
 * libxml2 keeps things that outlive every document, and makes them when they are first needed. Made in a scope they
 * would be dead, and used, after its end. So memarena_libxml2_install makes those that it can at once, outside of any
 * arena, and has catalogs, which are read when the first entity or file is looked up, read outside, too. What is left to
 * you: call xmlLoadCatalog, xmlAddEncodingAlias, xmlRegister... and the like before the push, or with the arena suspended;
 * and call xmlSetExternalEntityLoader before memarena_libxml2_install, not after it.
 *
 * The last error of a thread is such a thing, too. Read it before memarena_libxml2_pop, which forgets it. After
 * memarena_current_pop alone (so after marena::current, too), xmlGetLastError would show text that dies with the scope. (To forget it then, or to
 * overwrite it with the next error, does no harm: the hooks know the dead block.)
 *
 * Documents, dictionaries, XPath results and schemas need not be freed. Parser contexts, readers, writers and input
 * buffers must be, before the pop: they may hold files, iconv's descriptors, and buffers of entities read outside. */
#ifndef MEMARENA_ADAPTERS_LIBXML2_H
#define MEMARENA_ADAPTERS_LIBXML2_H

#include <memarena/adapters/current.h>

#include <libxml/catalog.h>
#include <libxml/parser.h>
#include <libxml/relaxng.h>
#include <libxml/xmlerror.h>
#include <libxml/xmlmemory.h>
#include <libxml/xmlschemastypes.h>

#ifdef __cplusplus
extern "C" {
#endif
/* Weak, as what it is for: one for a program, so that a second install finds it. */
MEMARENA_API __attribute__((__weak__)) xmlExternalEntityLoader memarena_libxml2_next_loader_ = NULL;

MEMARENA_API __attribute__((__weak__)) xmlParserInputPtr memarena_libxml2_loader_(const char *url, const char *id,
                                                                                  xmlParserCtxtPtr context)
{
    memarena *before = memarena_current_suspend();
    xmlParserInputPtr input = memarena_libxml2_next_loader_(url, id, context);
    memarena_current_pop(before);
    return input;
}
#ifdef __cplusplus
}
#endif

/* Fails: false; libxml2 refuses the hooks or has no memory. */
static inline bool memarena_libxml2_install(void)
{
    memarena *before = memarena_current_suspend();
    bool done = xmlMemSetup(memarena_current_free, memarena_current_malloc, memarena_current_realloc,
                            memarena_current_strdup) == 0;
    xmlInitParser();
#ifdef LIBXML_CATALOG_ENABLED
    xmlInitializeCatalog();
#endif
#ifdef LIBXML_SCHEMAS_ENABLED
    xmlSchemaInitTypes();
    done = xmlRelaxNGInitTypes() == 0 && done;
#endif
    if (xmlGetExternalEntityLoader() != memarena_libxml2_loader_) {
        memarena_libxml2_next_loader_ = xmlGetExternalEntityLoader();
        xmlSetExternalEntityLoader(memarena_libxml2_loader_);
    }
    memarena_current_pop(before);
    return done;
}

/* memarena_current_pop, and the thread's last error is forgotten. */
static inline void memarena_libxml2_pop(memarena *before)
{
    xmlResetLastError();
    memarena_current_pop(before);
}

#endif
