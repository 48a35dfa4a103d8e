/* What surrounds each call: errno, the handler for want of memory, and how it came out. */
#ifndef FUZZ_CALL_H
#define FUZZ_CALL_H

#include "input.h"

static node *asking; /* the call that is under way is on this one */
static unsigned oom_mode, oom_calls;
static bool is_asked; /* in on_oom: no call asks again */

static void end_one(node *self);

static const char *name_of(const node *self)
{
    static char names[4][16];
    static unsigned used;
    if (self == root) return "arena";
    char *name = names[used++ % 4];
    snprintf(name, sizeof *names, "scope%u", (unsigned)(self - nodes));
    return name;
}

static bool on_oom(void *context, memarena *arena, size_t size)
{
    CHECK(context == &oom_calls);
    CHECK(asking && arena == asking->arena && !is_asked);
    oom_calls++;
    last_failed = size;
    spare_may_have_gone(asking);
    if (oom_mode < 3) return oom_mode == 2;
    node *self = nodes + NODES - 1;
    while (self > root && (!self->arena || self->children || self->busy)) self--;
    if (self == root) return false;
    SAY("    on_oom:\n");
    node *asked = asking;
    unsigned calls = oom_calls;
    is_asked = true;
    end_one(self);
    is_asked = false;
    asking = asked, oom_calls = calls;
    return true;
}

static bool begin_call(node *self)
{
    bool was_busy = self->busy;
    self->busy = true;
    asking = self;
    oom_calls = 0;
    errno = 0;
    return was_busy;
}

static void end_call(node *self, bool was_busy, bool refused)
{
    self->busy = was_busy;
    asking = NULL;
    CHECK(oom_calls <= 1 && (oom_mode == 0 || is_asked ? oom_calls == 0 : !refused || oom_calls == 1));
    if (refused) SAY("    refused, errno %d\n", errno);
}

#endif
