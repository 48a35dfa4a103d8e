/* Marks: the places that a scope can go back to. */
#include "inside.h"

/* Whether nothing has happened in the scope since the mark. */
static bool is_here(const ma_scope *scope, const ma_mark *mark)
{
    return mark && mark->cursor == ma_scope_counted_to(scope) && mark->settled == ma_scope_sum(scope) &&
           mark->newest == scope->newest && mark->deferred == scope->deferred;
}

#define MARK_IDS 65536u /* that a thread fetches at a time */

/* Registers start far from each other: a mark may be older than the register of now. */
static uint64_t new_mark_id(void)
{
    static _Thread_local uint64_t last MEMARENA_TLS_;
    if (last % MARK_IDS == 0) {
        uint64_t first = ((uintptr_t)ma_process() >> 12) * UINT64_C(0x9E3779B97F4A7C15) & ~(uint64_t)(MARK_IDS - 1);
        last = first + ma_add_acq_rel(&ma_process()->mark_ids, MARK_IDS);
    }
    return ++last;
}

/* False: no room for it. */
static __attribute__((noinline)) bool add_mark(ma_scope *scope)
{
    uintptr_t settled = ma_scope_sum(scope);
    ma_mark *mark = (ma_mark *)ma_scope_take(scope, sizeof *mark, _Alignof(ma_mark)).address;
    if (!mark) return false;
    scope->base -= ma_scope_sum(scope) - settled; /* nobody's block */
    *mark = (ma_mark){.older = scope->marks,
                      .id = new_mark_id(),
                      .newest = scope->newest,
                      .bumped = scope->bumped,
                      .cursor = ma_scope_counted_to(scope),
                      .settled = settled,
                      .deferred = scope->deferred};
    scope->marks = mark;
    return true;
}

memarena_position memarena_mark(memarena *handle)
{
    if (!ma_is_scope(handle)) {
        errno = EINVAL;
        return (memarena_position){NULL, 0};
    }
    ma_scope *scope = (ma_scope *)handle;
    uintptr_t before = ma_scope_enter(scope);
    if (!is_here(scope, scope->marks) && !add_mark(scope)) handle = NULL, errno = ENOMEM;
    memarena_position mark = {handle, handle ? scope->marks->id : 0};
    ma_scope_leave(scope, before);
    return mark;
}

static uint32_t stamp_of(const ma_mark *mark)
{
    return (uint32_t)mark->id << 1 | 1;
}

static __attribute__((noinline)) void go_back(ma_scope *scope, ma_mark *mark)
{
    ma_scope_run_calls(scope, mark->deferred);
    scope->marks = mark;
    ma_scope_end_round(scope, mark->newest, stamp_of(mark));
    ma_scope_bump_in(scope, mark->bumped, mark->cursor, mark->settled);
    ma_scope_forbid_rest(scope);
}

static bool rewind_to(ma_scope *scope, uint64_t id)
{
    ma_mark *mark = scope->marks;
    while (mark && mark->id != id) mark = mark->older;
    if (!mark) return ma_fail(EINVAL);
    if (scope->ending || ma_scope_is_held(scope)) return ma_fail(EBUSY);
    if (scope->newest != mark->newest || scope->spare || scope->deferred != mark->deferred ||
        scope->root->watch != MA_WATCH_NONE) {
        go_back(scope, mark);
    } else { /* often: the same extent is being bumped */
        scope->marks = mark;
        scope->base = mark->settled - mark->cursor;
        ma_store_relaxed(&scope->tlab.cursor_, mark->cursor);
        ma_scope_sample_from_here(scope);
    }
    return true;
}

bool memarena_rewind(memarena *handle, memarena_position position)
{
    if (!ma_is_scope(handle) || position.scope_ != handle) return ma_fail(EINVAL);
    ma_scope *scope = (ma_scope *)handle;
    uintptr_t before = ma_scope_enter(scope);
    bool done = rewind_to(scope, position.id_);
    ma_scope_leave(scope, before);
    return done;
}
