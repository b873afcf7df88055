/* SPDX-License-Identifier: MIT */
#include "preload/runtime.h"

/* Where each figure of the session comes from. */
#define FROM_ZSWAP(X)                                                                                        \
    X(stored_pages)                                                                                          \
    X(same_filled_pages)                                                                                     \
    X(stored_incompressible_pages)                                                                           \
    X(pool_payload)                                                                                          \
    X(deduplicated_pages)                                                                                    \
    X(shared_objects)                                                                                        \
    X(deduplicated_bytes)                                                                                    \
    X(dedup_collisions)                                                                                      \
    X(device_pages)                                                                                          \
    X(device_bytes)                                                                                          \
    X(written_back_pages)                                                                                    \
    X(written_back_bytes)                                                                                    \
    X(duplicate_entry)                                                                                       \
    X(pool_limit_hit)                                                                                        \
    X(reject_reclaim_fail)                                                                                   \
    X(reject_alloc_fail)                                                                                     \
    X(reject_kmemcache_fail)                                                                                 \
    X(reject_compress_fail)                                                                                  \
    X(reject_compress_poor)                                                                                  \
    X(decompress_fail)                                                                                       \
    X(device_read_fail)                                                                                      \
    X(device_write_fail)                                                                                     \
    X(device_full)                                                                                           \
    X(writeback_batches)                                                                                     \
    X(writeback_peers)                                                                                       \
    X(second_chances)                                                                                        \
    X(shrink_rounds)                                                                                         \
    X(shrink_steps)                                                                                          \
    X(compactions)                                                                                           \
    X(compactions_vain)                                                                                      \
    X(pages_compacted)                                                                                       \
    X(objects_moved)                                                                                         \
    X(shrink_step_bytes)
#define FROM_REGION(X)                                                                                       \
    X(faults)                                                                                                \
    X(refaults)                                                                                              \
    X(zero_fills)                                                                                            \
    X(pool_loads)                                                                                            \
    X(device_loads)                                                                                          \
    X(evicted_pages)                                                                                         \
    X(move_refused)                                                                                          \
    X(copied_out)                                                                                            \
    X(poisoned_pages)                                                                                        \
    X(over_budget_bytes)

#define ONE(name) +1
_Static_assert(0 FROM_ZSWAP(ONE) FROM_REGION(ONE) == 0 SESSION_COUNTERS(ONE), "every figure has one source");
#undef ONE

static void collect(struct session_process *now)
{
    struct zswap_stats zswap;
    struct region_stats region;
    zswap_get_stats(runtime.cache.zswap, &zswap);
    region_get_stats(runtime.arena.region, &region);
#define X(name) now->name = zswap.name;
    FROM_ZSWAP(X)
#undef X
#define X(name) now->name = region.name;
    FROM_REGION(X)
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
