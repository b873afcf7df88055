/* SPDX-License-Identifier: MIT */
/*
 * What the lifecycles of 2013 share, baseline and getput: an index of entries by key under one lock, the *tree lock*, and
 * entries that carry a count. An array stands for the red-black tree: what counts is the lock.
 *
 * An entry's device slot is its home, the swap slot that it was given before it came here. The way in is the kernel's:
 *
 *   1. the swap cache has a page for the key         that page
 *   2. the index has an entry                        its object, read with a count taken
 *   3. the home slot is known to have been written   read from the device, holding the key's slot of the swap cache, so
 *                                                    that no writeback can write there meanwhile
 *   4. else                                          not here
 *
 * The index counts once for the entry that it names; a load or a writeback counts from find_get to put. Store, load and
 * invalidate are the same in both lifecycles, and sound: they free at 0. What differs is the writeback.
 */
#ifndef UZSWAP_TESTS_LIFECYCLES_CLASSIC_H
#define UZSWAP_TESTS_LIFECYCLES_CLASSIC_H

#include "base/lock.h"
#include "tests/lifecycles/lifecycles.h"

struct classic_entry {
    uint64_t object; /* constant while the entry is counted */
    int32_t count;   /* who uses it: the index, loads, writebacks. Guard: tree lock */
    uint32_t next;   /* free chain, number + 1. Guard: tree lock */
    bool reclaimed;  /* off the LRU: a writeback has it. baseline only. Guard: tree lock */
};

struct classic_key {
    struct classic_entry *entry; /* the index. Guard: tree lock */
    bool on_device;              /* the home slot has what was stored last. Guard: tree lock */
    uint32_t in_use;             /* the swap map's count; atomic, changed under the tree lock, read without */
    uint32_t turns; /* goes up when the swap cache's slot was taken and again when it was released; atomic */
};

struct cache {
    struct substrate *substrate;
    unsigned keys_used;
    struct mutex lock; /* the tree lock: not over reads of objects and device I/O */
    uint32_t free;     /* chain of free entries, number + 1. Guard: lock */
    struct classic_key *keys;
    struct classic_entry *entries; /* one a key, two more a thread: one it holds, one it stores */
};

/* ---- for writeback, the one verb that is each lifecycle's own */

/* The entry of the key, counted once more; NULL and *on_device if there is none in the index. */
struct classic_entry *classic_find_get(struct cache *cache, unsigned key, bool *on_device);

/* Drops `holds` of the count. True if it is 0 now: the object is the caller's to free, once he is out of the lock. Under the
 * tree lock. */
bool classic_drop(struct cache *cache, struct classic_entry *entry, int32_t holds);

/* Puts the entry back into the table. Under the tree lock; its object is the caller's to free, after it. */
void classic_entry_free(struct cache *cache, struct classic_entry *entry);

/* Drops one, and frees at 0. */
void classic_put(struct cache *cache, struct classic_entry *entry);

/* Takes the key's slot of the swap cache: NEW, EXIST or FAIL. */
enum swap_cache_answer classic_acquire(struct cache *cache, unsigned key, bool in_use);
void classic_release(struct cache *cache, unsigned key);

/* ---- the other verbs, as lifecycles.h has them */

int classic_create(struct cache **cache, struct substrate *substrate, unsigned keys);
int classic_store(struct cache *cache, unsigned key, uint64_t version);
int classic_load(struct cache *cache, unsigned key, uint64_t *version);
int classic_load_exclusive(struct cache *cache, unsigned key, uint64_t *version);
void classic_invalidate(struct cache *cache, unsigned key);
void classic_invalidate_area(struct cache *cache);
void classic_survey(struct cache *cache, unsigned *objects, unsigned *slots);

/* All of struct lifecycle_ops but the name and the writeback. */
#define CLASSIC_VERBS                                                                                        \
    .home_slots = true, .create = classic_create, .store = classic_store, .load = classic_load,              \
    .load_exclusive = classic_load_exclusive, .invalidate = classic_invalidate,                              \
    .invalidate_area = classic_invalidate_area, .survey = classic_survey

#endif
