/* SPDX-License-Identifier: MIT */
/*
 * src/zswap/lifecycle.c itself, with the verbs of zswap/{store,load,invalidate,writeback}.c around it, step by step the same
 * and without all that is not the lifecycle's: compression, the LRU, counters, many writebacks in one.
 */
#include "zswap/lifecycle.h"

#include <errno.h>

#include "base/atomic.h"
#include "tests/lifecycles/lifecycles.h"

struct cache {
    struct substrate *substrate;
    unsigned keys;
    struct account account;
    struct memory memory;
    struct lifecycle lifecycle;
    uint64_t *words; /* entry_word.h; name = object or device slot; atomic */
};

static uint64_t make_word(enum entry_kind kind, uint64_t name)
{
    return entry_make(kind, name, 1, 0);
}

static void release(void *owner, uint64_t content)
{
    struct cache *c = owner;
    if (entry_kind(content) == ENTRY_POOL) {
        c->substrate->ops->free(c->substrate, entry_name(content));
    } else {
        c->substrate->ops->slot_free(c->substrate, entry_name(content));
    }
}

static int create(struct cache **cache, struct substrate *substrate, unsigned keys)
{
    struct cache *c = substrate->ops->memory(substrate, sizeof *c);
    if (!c || !(c->words = substrate->ops->memory(substrate, keys * sizeof c->words[0]))) {
        return -ENOMEM;
    }
    c->substrate = substrate;
    c->keys = keys;
    c->memory = (struct memory){.account = &c->account};
    *cache = c;
    return lifecycle_init(&c->lifecycle, &c->memory, LIFECYCLE_THREADS_MAX, release, c);
}

static void invalidate(struct cache *c, unsigned key)
{
    lifecycle_replace(&c->lifecycle, &c->words[key], 0);
}

static void invalidate_area(struct cache *c)
{
    for (unsigned key = 0; key < c->keys; key++) {
        invalidate(c, key);
    }
}

static int store(struct cache *c, unsigned key, uint64_t version)
{
    const struct substrate_ops *ops = c->substrate->ops;
    uint64_t object;
    int error = ops->alloc(c->substrate, &object);
    if (error) {
        invalidate(c, key);
        return error;
    }
    ops->write(c->substrate, object, version);
    lifecycle_replace(&c->lifecycle, &c->words[key], make_word(ENTRY_POOL, object));
    return 0;
}

static int read_entry(struct cache *c, uint64_t held, uint64_t *version)
{
    const struct substrate_ops *ops = c->substrate->ops;
    if (entry_kind(held) == ENTRY_DEVICE) {
        return ops->device_read(c->substrate, entry_name(held), version) ? -EIO : 0;
    }
    *version = ops->read(c->substrate, entry_name(held));
    return 0;
}

static int load(struct cache *c, unsigned key, uint64_t *version)
{
    uint64_t *word = &c->words[key];
    uint64_t held = lifecycle_hold(word, true);
    if (!held) {
        return -ENOENT;
    }
    int error = read_entry(c, held, version);
    lifecycle_unhold(&c->lifecycle, word, held);
    return error;
}

static int load_exclusive(struct cache *c, unsigned key, uint64_t *version)
{
    uint64_t *word = &c->words[key];
    for (;;) {
        uint64_t held = lifecycle_hold(word, false);
        if (!held) {
            return -ENOENT;
        }
        int error = read_entry(c, held, version);
        if (error) {
            lifecycle_unhold(&c->lifecycle, word, held);
            return error;
        }
        if (lifecycle_remove_held(&c->lifecycle, word, held)) {
            return 0;
        }
    }
}

/* The entry is held, and its slot of the swap cache. True if it is on the device; the hold is over either way. */
static bool write_held(struct cache *c, uint64_t *word, uint64_t held)
{
    const struct substrate_ops *ops = c->substrate->ops;
    uint64_t slot;
    if (ops->slot_alloc(c->substrate, &slot)) {
        lifecycle_abort_writeback(&c->lifecycle, word, held);
        return false;
    }
    uint64_t version = ops->read(c->substrate, entry_name(held));
    if (ops->device_write(c->substrate, slot, version)) {
        ops->slot_free(c->substrate, slot);
        lifecycle_abort_writeback(&c->lifecycle, word, held);
        return false;
    }
    bool done = lifecycle_finish_writeback(&c->lifecycle, word, held, make_word(ENTRY_DEVICE, slot));
    if (!done) {
        ops->slot_free(c->substrate, slot);
    }
    return done;
}

static bool writeback(struct cache *c, unsigned key)
{
    const struct substrate_ops *ops = c->substrate->ops;
    uint64_t *word = &c->words[key];
    if (ops->acquire(c->substrate, key, true) != SWAP_CACHE_NEW) {
        return false;
    }
    uint64_t held = lifecycle_begin_writeback(word);
    bool done = held && write_held(c, word, held);
    ops->release(c->substrate, key);
    return done;
}

static bool move(struct cache *c, unsigned key)
{
    const struct substrate_ops *ops = c->substrate->ops;
    uint64_t *word = &c->words[key];
    uint64_t held = lifecycle_hold(word, false), copy;
    if (!held) {
        return false;
    }
    if (entry_kind(held) != ENTRY_POOL || ops->alloc(c->substrate, &copy)) {
        lifecycle_unhold(&c->lifecycle, word, held);
        return false;
    }
    ops->write(c->substrate, copy, ops->read(c->substrate, entry_name(held)));
    bool moved = lifecycle_move(&c->lifecycle, word, held, make_word(ENTRY_POOL, copy));
    if (!moved) {
        ops->free(c->substrate, copy);
    }
    return moved;
}

static void survey(struct cache *c, unsigned *objects, unsigned *slots)
{
    /* An orphan that is left names an object that nobody will free: it has to show. */
    *objects = lifecycle_orphans(&c->lifecycle);
    *slots = 0;
    for (unsigned key = 0; key < c->keys; key++) {
        *objects += entry_kind(c->words[key]) == ENTRY_POOL;
        *slots += entry_kind(c->words[key]) == ENTRY_DEVICE;
    }
}

const struct lifecycle_ops lifecycle_production = {
    .name = "production",
    .create = create,
    .store = store,
    .load = load,
    .load_exclusive = load_exclusive,
    .invalidate = invalidate,
    .invalidate_area = invalidate_area,
    .writeback = writeback,
    .move = move,
    .survey = survey,
};
