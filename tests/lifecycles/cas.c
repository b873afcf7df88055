/* SPDX-License-Identifier: MIT */
/*
 * Position by compare-and-swap, as proposed in 2013: a word an entry, in an array without a lock. Who finds it at rest (EMPTY,
 * POOL, DEVICE) swaps in the position of what he does, and owns the entry until he puts it to rest again. Who finds it
 * owned tries again.
 *
 *   verb             owns as    from                  to
 *   store            FLUSH      EMPTY, POOL, DEVICE   POOL; EMPTY if it failed
 *   load             LOAD       POOL, DEVICE          the same
 *   exclusive load   LOAD       POOL, DEVICE          EMPTY
 *   invalidate       FLUSH      POOL, DEVICE          EMPTY
 *   writeback        RECLAIM    POOL                  DEVICE; POOL if it failed
 *
 * There is nothing to count and nothing to look at again, so both races are gone. The price: loads of one entry exclude each
 * other, and everything waits for the writeback, that is, for the device.
 *
 * An entry is written to its home slot, and only while it is owned; so writes do not overlap, nor a write and a read. The
 * swap cache is asked, as others may have the page, but no page is put there: nobody would look for it.
 */
#include <errno.h>

#include "base/atomic.h"
#include "tests/lifecycles/lifecycles.h"

enum position { EMPTY, POOL, DEVICE, LOAD, RECLAIM, FLUSH };

#define POSITION_BITS 3
#define POSITION_MASK ((1ull << POSITION_BITS) - 1)

struct cache {
    struct substrate *substrate;
    unsigned keys;
    uint64_t *words; /* object (in the pool) and position; atomic. Not at rest: its owner's to change */
};

static enum position position_of(uint64_t word)
{
    return (enum position)(word & POSITION_MASK);
}

static uint64_t object_of(uint64_t word)
{
    return word >> POSITION_BITS;
}

static uint64_t in_pool(uint64_t object)
{
    return object << POSITION_BITS | POOL;
}

static bool is_wanted(enum position rest, enum position work)
{
    switch (work) {
    case RECLAIM:
        return rest == POOL;
    case LOAD:
        return rest != EMPTY;
    default:
        return true;
    }
}

/* Takes the entry from rest to `work`. The word it was at rest with; if that is nothing to work on, it is not taken. */
static uint64_t own(struct cache *c, unsigned key, enum position work)
{
    uint64_t *word = &c->words[key];
    uint64_t seen = atomic_read_relaxed(word);
    for (;;) {
        if (position_of(seen) >= LOAD) {
            cpu_relax();
            seen = atomic_read_relaxed(word);
        } else if (!is_wanted(position_of(seen), work)) {
            return seen;
        } else if (atomic_cas_acquire(word, &seen, (seen & ~POSITION_MASK) | work)) {
            return seen; /* acquire: the object was filled, and is no longer read */
        }
    }
}

/* The owner puts the entry to rest. Release: what he did with its object comes before. */
static void rest(struct cache *c, unsigned key, uint64_t word)
{
    atomic_set_release(&c->words[key], word);
}

static int create(struct cache **cache, struct substrate *substrate, unsigned keys)
{
    struct cache *c = substrate->ops->memory(substrate, sizeof *c);
    if (!c || !(c->words = substrate->ops->memory(substrate, keys * sizeof c->words[0]))) {
        return -ENOMEM;
    }
    c->substrate = substrate;
    c->keys = keys;
    *cache = c;
    return 0;
}

static void replace(struct cache *c, unsigned key, uint64_t next)
{
    uint64_t old = own(c, key, FLUSH);
    if (position_of(old) == POOL) {
        c->substrate->ops->free(c->substrate, object_of(old));
    }
    rest(c, key, next);
}

static int store(struct cache *c, unsigned key, uint64_t version)
{
    const struct substrate_ops *ops = c->substrate->ops;
    uint64_t object;
    int error = ops->alloc(c->substrate, &object);
    if (!error) {
        ops->write(c->substrate, object, version);
    }
    replace(c, key, error ? EMPTY : in_pool(object));
    return error;
}

static int read_owned(struct cache *c, unsigned key, uint64_t word, uint64_t *version)
{
    const struct substrate_ops *ops = c->substrate->ops;
    if (position_of(word) == DEVICE) {
        return ops->device_read(c->substrate, key, version) ? -EIO : 0;
    }
    *version = ops->read(c->substrate, object_of(word));
    return 0;
}

static int load(struct cache *c, unsigned key, uint64_t *version)
{
    uint64_t word = own(c, key, LOAD);
    if (word == EMPTY) {
        return -ENOENT;
    }
    int error = read_owned(c, key, word, version);
    rest(c, key, word);
    return error;
}

static int load_exclusive(struct cache *c, unsigned key, uint64_t *version)
{
    uint64_t word = own(c, key, LOAD);
    if (word == EMPTY) {
        return -ENOENT;
    }
    int error = read_owned(c, key, word, version);
    if (!error && position_of(word) == POOL) {
        c->substrate->ops->free(c->substrate, object_of(word));
    }
    rest(c, key, error ? word : EMPTY);
    return error;
}

static void invalidate(struct cache *c, unsigned key)
{
    /* Nothing to own if there is nothing: the owner of a word that is not at rest may be storing. */
    if (atomic_read_relaxed(&c->words[key]) != EMPTY) {
        replace(c, key, EMPTY);
    }
}

static void invalidate_area(struct cache *c)
{
    for (unsigned key = 0; key < c->keys; key++) {
        invalidate(c, key);
    }
}

/* The entry is owned; the slot of the swap cache too. */
static bool write_home(struct cache *c, unsigned key, uint64_t object)
{
    uint64_t version = c->substrate->ops->read(c->substrate, object);
    return !c->substrate->ops->device_write(c->substrate, key, version);
}

static bool writeback(struct cache *c, unsigned key)
{
    const struct substrate_ops *ops = c->substrate->ops;
    uint64_t word = own(c, key, RECLAIM);
    if (position_of(word) != POOL) {
        return false;
    }
    bool written = false;
    /* The swap map knows the entry: who invalidates it has to wait. */
    if (ops->acquire(c->substrate, key, true) == SWAP_CACHE_NEW) {
        written = write_home(c, key, object_of(word));
        ops->release(c->substrate, key);
    }
    if (written) {
        ops->free(c->substrate, object_of(word));
    }
    rest(c, key, written ? DEVICE : word);
    return written;
}

static void survey(struct cache *c, unsigned *objects, unsigned *slots)
{
    *objects = *slots = 0;
    for (unsigned key = 0; key < c->keys; key++) {
        *objects += position_of(c->words[key]) == POOL;
    }
}

const struct lifecycle_ops lifecycle_cas = {
    .name = "cas",
    .home_slots = true,
    .create = create,
    .store = store,
    .load = load,
    .load_exclusive = load_exclusive,
    .invalidate = invalidate,
    .invalidate_area = invalidate_area,
    .writeback = writeback,
    .survey = survey,
};
