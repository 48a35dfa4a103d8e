/* PCRE2 in an arena or a scope: patterns, match data and contexts made with this general context live there. Define
 * PCRE2_CODE_UNIT_WIDTH first, as for pcre2.h.
 *
 *     pcre2_general_context *memory = memarena_pcre2(scope);
 *     pcre2_compile_context *compiling = pcre2_compile_context_create(memory);
 *     pcre2_code *code = pcre2_compile(pattern, PCRE2_ZERO_TERMINATED, 0, &error, &offset, compiling);
 *     pcre2_match_data *match = pcre2_match_data_create_from_pattern(code, memory);
 *
 * Machine code of pcre2_jit_compile is not in the arena: free a pattern that has some. */
#ifndef MEMARENA_ADAPTERS_PCRE2_H
#define MEMARENA_ADAPTERS_PCRE2_H

#include <memarena.h>
#include <pcre2.h>

static inline void *memarena_pcre2_alloc(PCRE2_SIZE size, void *arena)
{
    return memarena_alloc(MEMARENA_CAST_(memarena *, arena), size);
}

static inline void memarena_pcre2_free(void *block, void *arena)
{
    (void)arena, (void)block;
}

/* NULL: there is no room. */
static inline pcre2_general_context *memarena_pcre2(memarena *arena)
{
    return pcre2_general_context_create(memarena_pcre2_alloc, memarena_pcre2_free, arena);
}

#endif
