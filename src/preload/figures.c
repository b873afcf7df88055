/* SPDX-License-Identifier: MIT */
#include "preload/runtime.h"

static void collect(struct session_process *now)
{
    struct zswap_stats zswap;
    struct region_stats region;
    zswap_get_stats(runtime.cache.zswap, &zswap);
    region_get_stats(runtime.arena.region, &region);
#define X(name) now->name = zswap.name;
    SESSION_ZSWAP_LEVELS(X)
    SESSION_ZSWAP_EVENTS(X)
#undef X
#define X(name) now->name = region.name;
    SESSION_REGION_LEVELS(X)
    SESSION_REGION_EVENTS(X)
#undef X
}

/* Relaxed, here and below: figures, each by itself. */
static void publish_account(const struct account *from, struct account *to)
{
    for (int kind = 0; kind < ACCOUNT_KINDS; kind++) {
        atomic_set_relaxed(&to->bytes[kind], atomic_read_relaxed(&from->bytes[kind]));
    }
    atomic_set_relaxed(&to->total, atomic_read_relaxed(&from->total));
    atomic_set_relaxed(&to->peak, atomic_read_relaxed(&from->peak));
    atomic_set_relaxed(&to->limit, atomic_read_relaxed(&from->limit));
}

void figures_publish(void)
{
    struct session_process now;
    collect(&now);
    publish_account(&runtime.account, &runtime.process->account);
#define X(name) atomic_set_relaxed(&runtime.process->name, now.name);
    SESSION_LEVELS(X)
#undef X
#define X(name) atomic_set_relaxed(&runtime.process->name, now.name - runtime.inherited.name);
    SESSION_EVENTS(X)
#undef X
}

void figures_inherit(void)
{
    collect(&runtime.inherited);
}
