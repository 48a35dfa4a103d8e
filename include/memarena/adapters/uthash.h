/* uthash with its tables in an arena or a scope. Say which before this is included, by an expression; it is evaluated
 * wherever a macro of uthash takes memory, so it may name a variable that each such function has:
 *
 *     #define MEMARENA_UTHASH_ARENA arena
 *     #include <memarena/adapters/uthash.h>   // instead of uthash.h
 *
 *     void add(memarena *arena, struct word **words, struct word *word) { HASH_ADD_STR(*words, text, word); }
 *
 * The elements are yours: memarena_new(arena, struct word). HASH_CLEAR need not be called. A table leaves its old buckets
 * behind each time it doubles. Where there is no room uthash calls exit(), unless you also define HASH_NONFATAL_OOM as 1
 * (and uthash_nonfatal_oom as what is to be done about the element). */
#ifndef MEMARENA_ADAPTERS_UTHASH_H
#define MEMARENA_ADAPTERS_UTHASH_H

#ifndef MEMARENA_UTHASH_ARENA
#error "define MEMARENA_UTHASH_ARENA as the arena that uthash is to take memory from"
#endif
#ifdef UTHASH_H
#error "include memarena/adapters/uthash.h instead of uthash.h, not after it"
#endif

#include <memarena.h>

#define uthash_malloc(size) memarena_alloc((MEMARENA_UTHASH_ARENA), (size))
#define uthash_free(block, size) ((void)(block))
#include <uthash.h>

#endif
