/* Static probes (USDT) of provider `memarena`, on the slow road only: bpftrace, SystemTap, perf and gdb find them by their
 * names in a library or program as it is shipped. docs/OBSERVE.md shows how.
 *
 *     refill         arena, lane (CPUs' from 64 on), bytes of the new TLAB
 *     direct_block   arena, bytes; of a block that bypasses the TLABs
 *     reset          arena, generation that ended
 *     scope_begin    scope, its parent: an arena or a scope; the scope is about to be filled in
 *     scope_end      scope, bytes of its extents; before its deferred calls
 *     out_of_memory  arena, bytes asked for, the arena's capacity; after `on_oom`
 *
 * A probe that nobody watches is one nop. So its arguments must be values that are at hand, in a register or in memory: what
 * is computed for a probe is computed always. Without <sys/sdt.h> (Debian: systemtap-sdt-dev) nothing is left of them. */
#ifndef MA_PROBE_H
#define MA_PROBE_H

#if defined(__linux__) && defined(__has_include) && !defined(MEMARENA_NO_PROBES)
#if __has_include(<sys/sdt.h>)
#ifdef __clang__
/* It finds fault with macros that <sys/sdt.h> expands here, and of the usual "nor" it takes "o": it would store each
 * argument on the stack. */
#pragma clang diagnostic ignored "-Wgnu-zero-variadic-macro-arguments"
#if __has_warning("-Wc23-extensions") /* what clang 19 and later call it */
#pragma clang diagnostic ignored "-Wc23-extensions"
#endif
#ifndef STAP_SDT_ARG_CONSTRAINT
#define STAP_SDT_ARG_CONSTRAINT nr
#endif
#endif
#include <sys/sdt.h>
#define ma_probe2(name, a, b) DTRACE_PROBE2(memarena, name, a, b)
#define ma_probe3(name, a, b, c) DTRACE_PROBE3(memarena, name, a, b, c)
#endif
#endif

#ifndef ma_probe2
#define ma_probe2(name, a, b) ((void)(a), (void)(b))
#define ma_probe3(name, a, b, c) ((void)(a), (void)(b), (void)(c))
#endif

#endif
