/* SPDX-License-Identifier: MIT */
#include "preload/runtime.h"

static void collect(struct session_process *now, void (*get)(struct zswap *, struct zswap_stats *))
{
    struct zswap_stats zswap;
    struct region_stats region;
    get(runtime.cache.zswap, &zswap);
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

static void publish(const struct session_process *now)
{
    /* Relaxed, here and below: figures, each by itself. */
#define X(name) atomic_set_relaxed(&runtime.process->name, now->name);
    SESSION_LEVELS(X)
#undef X
#define X(name) atomic_set_relaxed(&runtime.process->name, now->name - runtime.inherited.name);
    SESSION_EVENTS(X)
#undef X
}

void figures_publish(void)
{
    struct session_process now;
    collect(&now, zswap_get_stats);
    publish(&now);
}

void figures_publish_counts(void)
{
    struct session_process now;
    collect(&now, zswap_get_counts);
    now.device_bytes = atomic_read_relaxed(&runtime.process->device_bytes);
    now.shared_objects = atomic_read_relaxed(&runtime.process->shared_objects);
    now.deduplicated_bytes = atomic_read_relaxed(&runtime.process->deduplicated_bytes);
    publish(&now);
}

void figures_inherit(void)
{
    collect(&runtime.inherited, zswap_get_stats);
}
