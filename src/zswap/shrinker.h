/* SPDX-License-Identifier: MIT */
/* Who makes room in the pool, when, and how much; the rules stand at the head of shrinker.c. */
#ifndef UZSWAP_ZSWAP_SHRINKER_H
#define UZSWAP_ZSWAP_SHRINKER_H

#include "base/lock.h"
#include "base/types.h"

struct zswap;

struct shrinker {
    struct mutex lock; /* one thread at a time makes room; covers neither pool nor LRU */
    uint32_t
        active; /* 1 from when the pool was at its limit until it is down to the low mark. Guard for writing: lock; atomic hint */
    uint32_t stores; /* since the last step; atomic hint */
    size_t step;     /* bytes. Guard for writing: lock; atomic, for the counters */

    size_t total_at_tick; /* bytes of the pool. Guard: lock */

    /* The last compaction that won nothing left so much to be won, after so many write buffers had ended. Guard:
     * lock */
    bool vain;
    size_t vain_left;
    uint32_t vain_completed;
};

void shrinker_init(struct shrinker *s);

/* For a store: makes room if need be. False if there is none. */
bool shrinker_make_room(struct zswap *z);

/* Bytes of a step as it is now. */
size_t shrinker_step(const struct zswap *z);

#endif
