/* SPDX-License-Identifier: MIT */
/*
 * Compaction: how the cache lets the pool move objects (struct pool_mover in pool/pool.h).
 *
 * A handle stands in one place only, the entry's word; so an object is moved by holding it as a load does, copying
 * it, and swapping the word for one with the new handle (lifecycle_move). Store, invalidate and loads go on
 * meanwhile, and win: what they change makes the swap fail, and the copy is dropped. Nobody waits for a compaction
 * but who destroys an area.
 *
 * Counters do not change: the entry is where it was, of the same length. Nor does its second chance, but where a
 * load grants it between hold and commit. Nor does the LRU; but a writeback that began between hold and commit has
 * taken the entry out of it, and will find that it has nothing to publish, so the entry is linked again, at the end
 * where it was taken.
 *
 * Who compacts, and when: shrinker.c.
 */
#include "zswap/dedup.h"

struct move {
    struct zswap *z;
    struct area *
        area; /* in the table when it was found: who takes it out waits for compact_lock; NULL: a shared object's word */
    uint64_t offset;
    uint64_t *word, held;
};

/* The entry of this object, and nobody about to take it out of the pool. */
static bool is_movable(uint64_t word, uint64_t handle)
{
    return entry_kind(word) == ENTRY_POOL && entry_name(word) == handle && !(word & ENTRY_WB) &&
           !entry_is_reference(word);
}

static bool hold(void *context, uint64_t owner, uint64_t handle)
{
    struct move *move = context;
    struct zswap *z = move->z;
    struct swap_entry entry = entry_unpack(owner);
    struct area *area = area_of(z, entry);
    uint64_t *word = area ? area_word(area, entry.offset) : z->dedup ? dedup_word_of_owner(z, owner) : NULL;
    /* One that as many hold as can is left alone: those may wait for a device. */
    uint64_t held = word ? lifecycle_try_hold(word, false) : 0;
    if (!entry_is_object(held)) {
        return false;
    }
    if (!is_movable(held, handle)) {
        lifecycle_unhold(&z->lifecycle, word, held);
        return false;
    }
    *move = (struct move){.z = z, .area = area, .offset = entry.offset, .word = word, .held = held};
    return true;
}

static bool commit(void *context, uint64_t owner, uint64_t handle, uint64_t moved)
{
    struct move *move = context;
    uint64_t held = move->held;
    (void)owner, (void)handle;
    uint64_t next = entry_make(ENTRY_POOL, moved, entry_bytes(held), entry_format(held)) | (held & ENTRY_REF);
    if (!lifecycle_move(&move->z->lifecycle, move->word, held, next)) {
        return false;
    }
    counter_add(move->z, COUNTER_OBJECTS_MOVED, 1);
    if (move->area) {
        area_lru_restore(move->area, move->offset);
    }
    return true;
}

bool compact_pool(struct zswap *z, size_t bytes, size_t *won)
{
    static const struct pool_mover mover = {.hold = hold, .commit = commit};
    *won = 0;
    if (!z->pool->ops->compact || !mutex_try_lock(&z->compact_lock)) {
        return false;
    }
    struct move move = {.z = z};
    *won = z->pool->ops->compact(z->pool, bytes, &mover, &move);
    mutex_unlock(&z->compact_lock);
    counter_add(z, COUNTER_COMPACTIONS, 1);
    counter_add(z, COUNTER_COMPACTIONS_VAIN, *won < PAGE_BYTES);
    counter_add(z, COUNTER_PAGES_COMPACTED, (int64_t)(*won >> PAGE_SHIFT));
    return true;
}

void compact_forget_areas(struct zswap *z)
{
    mutex_lock(&z->compact_lock);
    mutex_unlock(&z->compact_lock);
}
