/* SPDX-License-Identifier: MIT */
/*
 * Get/put: what 2013's discussion asked for, and later kernels have.
 *
 *  1. The index counts once for the entry it names; every other user counts for himself, from find_get to put.
 *  2. Whoever brings the count to 0 frees, whoever he is. No value of it means anything else.
 *  3. An entry leaves the index once: under the lock, and only if it is still the one that the index names.
 *  4. A writeback that was given the swap cache's slot looks again, under the lock, whether the index still names its
 *     entry, before it puts the page there. Whoever changes the index takes the page out under the same lock. So a page in
 *     the swap cache is never older than the index.
 *  5. The slot is held until the home is written, and the entry only then leaves the index for the home. So two writes to
 *     one home do not overlap.
 */
#include "base/atomic.h"
#include "tests/lifecycles/classic.h"

/* Rule 4. */
static bool put_page_if_current(struct cache *c, unsigned key, const struct classic_entry *entry,
                                uint64_t version)
{
    SCOPED_LOCK(&c->lock);
    bool current = c->keys[key].entry == entry;
    if (current) {
        c->substrate->ops->put_page(c->substrate, key, version);
    }
    return current;
}

/* The home is written: the entry leaves the index for it, if it is still there, and the hold is over. */
static bool finish_writeback(struct cache *c, unsigned key, struct classic_entry *entry)
{
    uint64_t object = entry->object;
    mutex_lock(&c->lock);
    bool there = c->keys[key].entry == entry;
    if (there) {
        c->keys[key].entry = NULL;
        c->keys[key].on_device = true;
    }
    bool last = classic_drop(c, entry, there ? 2 : 1);
    mutex_unlock(&c->lock);
    if (last) {
        c->substrate->ops->free(c->substrate, object);
    }
    return there;
}

static bool writeback(struct cache *c, unsigned key)
{
    const struct substrate_ops *ops = c->substrate->ops;
    bool on_device;
    struct classic_entry *entry = classic_find_get(c, key, &on_device);
    if (!entry) {
        return false;
    }
    bool in_use = atomic_read_relaxed(&c->keys[key].in_use);
    if (classic_acquire(c, key, in_use) != SWAP_CACHE_NEW) {
        classic_put(c, entry);
        return false;
    }
    uint64_t version = ops->read(c->substrate, entry->object);
    bool done = false;
    if (put_page_if_current(c, key, entry, version) && !ops->device_write(c->substrate, key, version)) {
        done = finish_writeback(c, key, entry);
    } else {
        classic_put(c, entry);
    }
    classic_release(c, key);
    return done;
}

const struct lifecycle_ops lifecycle_getput = {
    .name = "getput",
    .writeback = writeback,
    CLASSIC_VERBS,
};
