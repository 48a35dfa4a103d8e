/* All that the library says to itself, for tests that look inside. */
#ifndef INTERNALS_H
#define INTERNALS_H

#include "arena/account.h"
#include "arena/entry.h"
#include "feature/trim.h"
#include "generation/generation.h"
#include "lane/cpu.h"
#include "lane/sample.h"
#include "scope/extent.h"
#include "scope/scope.h"
#include "supply/watch.h"

#endif
