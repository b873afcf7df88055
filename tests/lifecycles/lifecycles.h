/* SPDX-License-Identifier: MIT */
/*
 * Four lifecycles of an entry behind one small interface, to be checked and measured side by side.
 *
 *   baseline     Linux 3.11: a count changed under the tree lock, with three meanings after writeback. It has two races.
 *   getput       find_get takes a reference under the lock, put frees at zero, an entry is erased once
 *   cas          the proposal of 2013 as it stood: a position (POOL, LOAD, RECLAIM, FLUSH) changed by compare-and-swap;
 *                who finds another position than POOL tries again
 *   production   src/zswap/lifecycle.c
 *
 * For tests and benchmarks only. Each is a cache of a few keys over a *substrate*: the pool, the swap cache and the device
 * that it acts upon. The explorer has a substrate that checks every use (tests/verify/), the benchmark one of real
 * memory (bench/). A page is one `uint64_t` here, its *version*; a substrate is free to make it as large as it likes.
 *
 * A lifecycle takes memory for itself only in `create`, from the substrate, so that the explorer can save and restore it.
 */
#ifndef UZSWAP_TESTS_LIFECYCLES_H
#define UZSWAP_TESTS_LIFECYCLES_H

#include "swap/swap_cache.h"

struct substrate;

/* Verbs of one cache under way at one time, at most: the lifecycles' tables are sized by it. */
#define LIFECYCLE_THREADS_MAX 4

/*
 * What a lifecycle stands on. An operation that may wait, or that others see, is a scheduling point of the explorer.
 * Names of objects and device slots are small numbers from 1, given out again as soon as they are free.
 */
struct substrate_ops {
    /* Zeroed memory for the lifecycle itself; NULL if there is none. Freed with the substrate. */
    void *(*memory)(struct substrate *s, size_t bytes);

    /* Pool objects. alloc: 0 or -ENOMEM. An object is written once, before it is published. */
    int (*alloc)(struct substrate *s, uint64_t *object);
    void (*write)(struct substrate *s, uint64_t object, uint64_t version);
    uint64_t (*read)(struct substrate *s, uint64_t object);
    void (*free)(struct substrate *s, uint64_t object);

    /* The swap cache. acquire answers NEW (yours, locked, without a page), EXIST or FAIL (`in_use` false: the swap map
     * knows no such entry; or no memory). Writebacks ask, and loads that must read an entry's home. A page put into a
     * slot is what loads find first, until it is taken out or the slot released. `peek` finds a slot's page. */
    enum swap_cache_answer (*acquire)(struct substrate *s, unsigned key, bool in_use);
    void (*release)(struct substrate *s, unsigned key);
    void (*put_page)(struct substrate *s, unsigned key, uint64_t version);
    void (*take_out)(struct substrate *s, unsigned key);
    bool (*peek)(struct substrate *s, unsigned key, uint64_t *version);

    /* Device slots. slot_alloc: 0 or -ENOSPC. Key k's *home* is slot k, set aside before all others. Reads and writes
     * wait for the device: 0 or -EIO. */
    int (*slot_alloc)(struct substrate *s, uint64_t *slot);
    void (*slot_free)(struct substrate *s, uint64_t slot);
    int (*device_write)(struct substrate *s, uint64_t slot, uint64_t version);
    int (*device_read)(struct substrate *s, uint64_t slot, uint64_t *version);
};

struct substrate {
    const struct substrate_ops *ops;
};

#define VERSION_FILLED 1000

struct cache; /* each lifecycle's own */

struct lifecycle_ops {
    const char *name;
    bool fills;      /* versions of VERSION_FILLED and more are same-filled pages, and hold no object */
    bool shares;     /* equal pages share an object */
    bool home_slots; /* written back to the key's home slot, as in 2013, not to fresh slots */

    /* A cache of keys 0 .. keys - 1. 0 or -ENOMEM. */
    int (*create)(struct cache **cache, struct substrate *substrate, unsigned keys);

    /* 0; -ENOMEM, and then the older version is gone. */
    int (*store)(struct cache *cache, unsigned key, uint64_t version);

    /* 0 and *version; -ENOENT; -EIO (on the device, which cannot read it). */
    int (*load)(struct cache *cache, unsigned key, uint64_t *version);

    /* Load and free: of several at once, one gets it. As load; with -EIO the entry stays. */
    int (*load_exclusive)(struct cache *cache, unsigned key, uint64_t *version);

    void (*invalidate)(struct cache *cache, unsigned key);
    void (*invalidate_area)(struct cache *cache);

    /* Writes the entry back, from the pool to the device. True if this call has brought it there. */
    bool (*writeback)(struct cache *cache, unsigned key);

    /* Moves the entry's object to another place in the pool (compaction). True if it was moved. NULL: it cannot. */
    bool (*move)(struct cache *cache, unsigned key);

    /* Looks for index memory that can be given back. NULL: it has none. */
    void (*trim)(struct cache *cache);

    /* How many pool objects the keys name now, and device slots in fresh use, with nothing else running. What the substrate
     * has given out beyond that is a leak. */
    void (*survey)(struct cache *cache, unsigned *objects, unsigned *slots);
};

extern const struct lifecycle_ops lifecycle_baseline, lifecycle_getput, lifecycle_cas, lifecycle_production;

#endif
