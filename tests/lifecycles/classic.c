/* SPDX-License-Identifier: MIT */
#include "tests/lifecycles/classic.h"

#include <errno.h>

#include "base/atomic.h"

int classic_create(struct cache **cache, struct substrate *substrate, unsigned keys)
{
    const struct substrate_ops *ops = substrate->ops;
    uint32_t entries = keys + 2 * LIFECYCLE_THREADS_MAX;
    struct cache *c = ops->memory(substrate, sizeof *c);
    if (!c || !(c->keys = ops->memory(substrate, keys * sizeof c->keys[0])) ||
        !(c->entries = ops->memory(substrate, entries * sizeof c->entries[0]))) {
        return -ENOMEM;
    }
    c->substrate = substrate;
    c->keys_used = keys;
    mutex_init(&c->lock, LOCK_RANK_WRITEBACK);
    for (uint32_t i = 0; i < entries; i++) {
        c->entries[i].next = i + 1 < entries ? i + 2 : 0;
    }
    c->free = 1;
    *cache = c;
    return 0;
}

struct classic_entry *classic_find_get(struct cache *c, unsigned key, bool *on_device)
{
    struct classic_key *k = &c->keys[key];
    mutex_lock(&c->lock);
    struct classic_entry *entry = k->entry;
    if (entry) {
        entry->count++;
    }
    *on_device = k->on_device;
    mutex_unlock(&c->lock);
    return entry;
}

static struct classic_entry *entry_new(struct cache *c, uint64_t object)
{
    mutex_assert_held(&c->lock);
    if (!c->free) {
        return NULL;
    }
    struct classic_entry *entry = &c->entries[c->free - 1];
    c->free = entry->next;
    *entry = (struct classic_entry){.object = object, .count = 1};
    return entry;
}

void classic_entry_free(struct cache *c, struct classic_entry *entry)
{
    mutex_assert_held(&c->lock);
    entry->next = c->free;
    c->free = (uint32_t)(entry - c->entries) + 1;
}

/* What was here before is here no more: on the device, or in the swap cache. `in_use`: the swap map's count from now on. */
static void forget(struct cache *c, unsigned key, bool in_use)
{
    mutex_assert_held(&c->lock);
    struct classic_key *k = &c->keys[key];
    k->on_device = false;
    atomic_set_relaxed(&k->in_use, in_use); /* relaxed: only a hint to who reads it without the lock */
    c->substrate->ops->take_out(c->substrate, key);
}

/*
 * `turns` is for those who wait for the slot. It is odd only while somebody has yet to count: who has the slot, or has
 * just released it. So an odd value is sure to change.
 */
enum swap_cache_answer classic_acquire(struct cache *c, unsigned key, bool in_use)
{
    enum swap_cache_answer answer = c->substrate->ops->acquire(c->substrate, key, in_use);
    if (answer == SWAP_CACHE_NEW) {
        atomic_add_relaxed(&c->keys[key].turns, 1); /* relaxed: says when to look again, not what there is */
    }
    return answer;
}

void classic_release(struct cache *c, unsigned key)
{
    c->substrate->ops->release(c->substrate, key);
    atomic_add_relaxed(&c->keys[key].turns, 1);
}

/* Even: whoever had the slot is about to count, or is none of us. Then the next try will tell. */
static void wait_for_turn(struct classic_key *k)
{
    uint32_t turns = atomic_read_relaxed(&k->turns);
    while (turns % 2 && atomic_read_relaxed(&k->turns) == turns) {
        cpu_relax();
    }
}

static bool is_on_device(struct cache *c, unsigned key)
{
    SCOPED_LOCK(&c->lock);
    return c->keys[key].on_device;
}

/* Of several exclusive loads of one home, one finds it there still. */
static bool remove_home(struct cache *c, unsigned key)
{
    SCOPED_LOCK(&c->lock);
    bool there = c->keys[key].on_device;
    if (there) {
        forget(c, key, false);
    }
    return there;
}

/* The slot is held: if the home is in use now, it is not written before the slot is released. */
static int read_held_home(struct cache *c, unsigned key, bool remove, uint64_t *version)
{
    if (!is_on_device(c, key)) {
        return -EAGAIN;
    }
    if (c->substrate->ops->device_read(c->substrate, key, version)) {
        return -EIO;
    }
    return remove && !remove_home(c, key) ? -EAGAIN : 0;
}

static int read_home(struct cache *c, unsigned key, bool remove, uint64_t *version)
{
    switch (classic_acquire(c, key, true)) {
    case SWAP_CACHE_NEW:
        break;
    case SWAP_CACHE_EXIST:
        wait_for_turn(&c->keys[key]);
        return -EAGAIN;
    default:
        return -EIO; /* no memory for the page to be read */
    }
    int error = read_held_home(c, key, remove, version);
    classic_release(c, key);
    return error;
}

bool classic_drop(struct cache *c, struct classic_entry *entry, int32_t holds)
{
    mutex_assert_held(&c->lock);
    entry->count -= holds;
    if (entry->count) {
        return false;
    }
    classic_entry_free(c, entry);
    return true;
}

void classic_put(struct cache *c, struct classic_entry *entry)
{
    uint64_t object = entry->object;
    mutex_lock(&c->lock);
    bool last = classic_drop(c, entry, 1);
    mutex_unlock(&c->lock);
    if (last) {
        c->substrate->ops->free(c->substrate, object);
    }
}

/* The index names `next` (may be NULL) from now on. True: *object of the entry before is the caller's to free. */
static bool replace(struct cache *c, unsigned key, struct classic_entry *next, uint64_t *object)
{
    mutex_assert_held(&c->lock);
    struct classic_key *k = &c->keys[key];
    struct classic_entry *old = k->entry;
    forget(c, key, next != NULL);
    k->entry = next;
    if (!old) {
        return false;
    }
    *object = old->object;
    return classic_drop(c, old, 1);
}

static void remove_key(struct cache *c, unsigned key)
{
    uint64_t object;
    mutex_lock(&c->lock);
    bool last = replace(c, key, NULL, &object);
    mutex_unlock(&c->lock);
    if (last) {
        c->substrate->ops->free(c->substrate, object);
    }
}

static int publish(struct cache *c, unsigned key, uint64_t object)
{
    uint64_t old;
    mutex_lock(&c->lock);
    struct classic_entry *entry = entry_new(c, object);
    bool last = entry && replace(c, key, entry, &old);
    mutex_unlock(&c->lock);
    if (last) {
        c->substrate->ops->free(c->substrate, old);
    }
    return entry ? 0 : -ENOMEM;
}

int classic_store(struct cache *c, unsigned key, uint64_t version)
{
    const struct substrate_ops *ops = c->substrate->ops;
    uint64_t object;
    int error = ops->alloc(c->substrate, &object);
    if (!error) {
        ops->write(c->substrate, object, version);
        error = publish(c, key, object);
        if (error) {
            ops->free(c->substrate, object);
        }
    }
    if (error) {
        remove_key(c, key);
    }
    return error;
}

int classic_load(struct cache *c, unsigned key, uint64_t *version)
{
    const struct substrate_ops *ops = c->substrate->ops;
    for (;;) {
        bool on_device;
        if (ops->peek(c->substrate, key, version)) {
            return 0;
        }
        struct classic_entry *entry = classic_find_get(c, key, &on_device);
        if (entry) {
            *version = ops->read(c->substrate, entry->object);
            classic_put(c, entry);
            return 0;
        }
        int error = on_device ? read_home(c, key, false, version) : -ENOENT;
        if (error != -EAGAIN) {
            return error;
        }
    }
}

/* Drops the caller's hold, and removes the entry if it is still there. True if it was. */
static bool remove_entry(struct cache *c, unsigned key, struct classic_entry *entry)
{
    uint64_t object = entry->object;
    mutex_lock(&c->lock);
    bool there = c->keys[key].entry == entry;
    if (there) {
        forget(c, key, false);
        c->keys[key].entry = NULL;
    }
    bool last = classic_drop(c, entry, there ? 2 : 1);
    mutex_unlock(&c->lock);
    if (last) {
        c->substrate->ops->free(c->substrate, object);
    }
    return there;
}

/* Reads again until what was read is also what was removed. */
int classic_load_exclusive(struct cache *c, unsigned key, uint64_t *version)
{
    for (;;) {
        bool on_device;
        struct classic_entry *entry = classic_find_get(c, key, &on_device);
        if (entry) {
            *version = c->substrate->ops->read(c->substrate, entry->object);
            if (remove_entry(c, key, entry)) {
                return 0;
            }
            continue;
        }
        int error = on_device ? read_home(c, key, true, version) : -ENOENT;
        if (error != -EAGAIN) {
            return error;
        }
    }
}

void classic_invalidate(struct cache *c, unsigned key)
{
    remove_key(c, key);
}

void classic_invalidate_area(struct cache *c)
{
    for (unsigned key = 0; key < c->keys_used; key++) {
        remove_key(c, key);
    }
}

void classic_survey(struct cache *c, unsigned *objects, unsigned *slots)
{
    *objects = *slots = 0;
    for (unsigned key = 0; key < c->keys_used; key++) {
        *objects += c->keys[key].entry != NULL;
    }
}
