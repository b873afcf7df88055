/* SPDX-License-Identifier: MIT */
/*
 * Linux 3.11 as the list discussed it, with its faults: what the explorer must find.
 *
 * A writeback counts itself, lets go of the lock, asks for the swap cache's slot, and never looks at the index again. In
 * the end it drops its own hold and the index's, and takes the count for the state of the entry:
 *
 *    1   a load is under way: unlink the entry, the load will free it
 *    0   as usual: unlink it and free it
 *   -1   it was invalidated meanwhile, and unlinked: free it
 *
 * If it fails, it drops its own hold, and only that.
 *
 * The faults
 *   leak         writeback counts itself; invalidate unlinks the entry and leaves it to the writeback to free; the swap map
 *                says that there is no such entry: FAIL, and nobody frees it. The same after EXIST and a failed write
 *   stale data   writeback counts itself; store unlinks the entry and publishes a new one; writeback puts the old page
 *                into the swap cache, where loads find it first, or writes it over the new one's home
 *   a third      0 has two meanings: invalidated while a load is under way is 0 as well. Writeback frees what the load is
 *                reading. It needs three threads
 */
#include "base/atomic.h"
#include "tests/lifecycles/classic.h"

/* The key's entry, counted and taken off the LRU, so that no other writeback comes upon it. NULL if there is none. */
static struct classic_entry *begin_reclaim(struct cache *c, unsigned key)
{
    SCOPED_LOCK(&c->lock);
    struct classic_entry *entry = c->keys[key].entry;
    if (!entry || entry->reclaimed) {
        return NULL;
    }
    entry->reclaimed = true;
    entry->count++;
    return entry;
}

static void fail_writeback(struct cache *c, struct classic_entry *entry)
{
    SCOPED_LOCK(&c->lock);
    entry->count--;
    entry->reclaimed = false;
}

/* True if the entry was unlinked here: it is on the device now. */
static bool finish_writeback(struct cache *c, unsigned key, struct classic_entry *entry)
{
    struct classic_key *k = &c->keys[key];
    uint64_t object = entry->object;
    mutex_lock(&c->lock);
    entry->count -= 2;
    int32_t count = entry->count;
    bool unlinked = count >= 0 && k->entry == entry;
    if (unlinked) {
        k->entry = NULL;
        k->on_device = true;
    }
    if (count <= 0) {
        classic_entry_free(c, entry);
    }
    mutex_unlock(&c->lock);
    if (count <= 0) {
        c->substrate->ops->free(c->substrate, object);
    }
    return unlinked;
}

static bool writeback(struct cache *c, unsigned key)
{
    const struct substrate_ops *ops = c->substrate->ops;
    struct classic_entry *entry = begin_reclaim(c, key);
    if (!entry) {
        return false;
    }
    bool in_use = atomic_read_relaxed(&c->keys[key].in_use);
    if (classic_acquire(c, key, in_use) != SWAP_CACHE_NEW) {
        fail_writeback(c, entry);
        return false;
    }
    uint64_t version = ops->read(c->substrate, entry->object);
    ops->put_page(c->substrate, key, version);
    bool done = false;
    if (ops->device_write(c->substrate, key, version)) {
        fail_writeback(c, entry);
    } else {
        done = finish_writeback(c, key, entry);
    }
    classic_release(c, key);
    return done;
}

const struct lifecycle_ops lifecycle_baseline = {
    .name = "baseline",
    .writeback = writeback,
    CLASSIC_VERBS,
};
