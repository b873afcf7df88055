/* SPDX-License-Identifier: MIT */
/*
 * The whole cache under the explorer: the verbs of src/zswap/ as they are, with its index, its LRU, its contexts, its
 * writeback, the swap cache and the swap map, behind the interface of a lifecycle. What lies around them is small and checks its use:
 *
 *   pool     objects that know whether they are alive, looked at when they are mapped and when they are unmapped; a compaction moves
 *            one of them, whichever
 *   codec    keeps a page's first words: compressed, poor (4096 bytes), or same-filled, as explore_choose says
 *   device   a few slots; a write is done, fails, or is never answered
 */
#include <errno.h>
#include <string.h>

#include "codec/codec.h"
#include "pool/pool.h"
#include "tests/verify/explore.h"
#include "tests/verify/world.h"
#include "zswap/dedup.h"

#define OBJECTS 8
#define DEVICE_SLOTS 48
#define TYPE 1
#define COMPRESSED_BYTES 16

extern const struct lifecycle_ops lifecycle_whole;

/* ---- codec (in place of codec/codec.c) */

struct codec_context {
    struct codec codec;
};

int codec_context_create(struct codec_context **context, struct memory *memory, const struct codec *codec)
{
    (void)memory;
    *context = explore_alloc(sizeof **context);
    (*context)->codec = *codec;
    return 0;
}

void codec_context_destroy(struct codec_context *context)
{
    (void)context;
}

int codec_context_set(struct codec_context *context, const struct codec *codec)
{
    context->codec = *codec;
    return 0;
}

const struct codec *codec_context_codec(const struct codec_context *context)
{
    return &context->codec;
}

bool codec_equal(const struct codec *a, const struct codec *b)
{
    return a->ops == b->ops && a->level == b->level;
}

enum codec_format codec_output_format(const struct codec *codec)
{
    (void)codec;
    return CODEC_FORMAT_LZ4;
}

/* A page is its version and a second word that says what becomes of it (see make_page). */
int codec_compress(struct codec_context *context, void *to, size_t room, const void *page)
{
    (void)context, (void)room;
    memcpy(to, page, COMPRESSED_BYTES);
    return COMPRESSED_BYTES;
}

int codec_decompress(struct codec_context *context, enum codec_format format, void *page, const void *from,
                     size_t bytes)
{
    (void)context, (void)format;
    memset(page, 0, PAGE_BYTES);
    memcpy(page, from, bytes);
    return bytes == COMPRESSED_BYTES ? 0 : -EBADMSG;
}

/* ---- pool */

struct object {
    uint32_t alive, mapped;
    uint64_t owner;
    uint64_t bytes[COMPRESSED_BYTES / 8];
};

struct checked_pool {
    struct pool base;
    struct world *world;
    uint32_t used;
    struct object objects[OBJECTS];
};

static struct checked_pool *pool_of(struct pool *pool)
{
    return (struct checked_pool *)pool;
}

/* The lowest free name. 0 or -ENOMEM. */
static int take_free(struct checked_pool *p, uint64_t owner, uint64_t *handle)
{
    for (uint64_t i = 1; i < OBJECTS; i++) {
        if (!p->objects[i].alive) {
            p->objects[i] = (struct object){.alive = 1, .owner = owner};
            p->used++;
            *handle = i;
            return 0;
        }
    }
    return -ENOMEM;
}

static int pool_alloc(struct pool *pool, size_t bytes, uint64_t owner, uint64_t *handle)
{
    struct checked_pool *p = pool_of(pool);
    (void)bytes;
    WORLD_POINT(EXPLORE_UPDATE, "pool: alloc");
    if (world_fails(p->world, WORLD_NO_MEMORY, "pool: no memory")) {
        return -ENOMEM;
    }
    return take_free(p, owner, handle);
}

static void pool_free(struct pool *pool, uint64_t handle)
{
    struct checked_pool *p = pool_of(pool);
    WORLD_POINT(EXPLORE_UPDATE, "pool: free");
    struct object *object = &p->objects[handle % OBJECTS];
    if (handle >= OBJECTS || !object->alive) {
        explore_fail("double free: object %llu", (unsigned long long)handle);
    } else if (object->mapped) {
        explore_fail("use after free: object %llu is freed while it is read", (unsigned long long)handle);
    }
    *object = (struct object){.bytes = {0xdead, 0xdead}};
    p->used--;
}

static void *pool_map(struct pool *pool, uint64_t handle)
{
    struct object *object = &pool_of(pool)->objects[handle % OBJECTS];
    if (handle >= OBJECTS || !object->alive) {
        explore_fail("use after free: object %llu", (unsigned long long)handle);
    }
    object->mapped++;
    return object->bytes;
}

static void pool_unmap(struct pool *pool, uint64_t handle)
{
    WORLD_POINT(EXPLORE_READ, "pool: unmap");
    pool_of(pool)->objects[handle % OBJECTS].mapped--;
}

static size_t pool_total_size(struct pool *pool)
{
    (void)pool;
    return PAGE_BYTES; /* never at its limit: the explorer asks for writebacks itself */
}

static size_t pool_peers(struct pool *pool, uint64_t handle, uint64_t *owners, size_t room)
{
    (void)pool, (void)handle, (void)owners, (void)room;
    return 0;
}

static size_t pool_trim(struct pool *pool)
{
    (void)pool;
    return 0;
}

/* One of the live objects; 0 if there is none. */
static uint64_t pick(const struct checked_pool *p)
{
    unsigned n = p->used > 1 ? explore_choose(p->used, "pool: which object to move") : 0;
    for (uint64_t i = 1; i < OBJECTS; i++) {
        if (p->objects[i].alive && n-- == 0) {
            return i;
        }
    }
    return 0;
}

/* As zsmalloc does it, for one object: pick it and a place for it in one step, then hold, copy and commit. But here the names
 * of objects that are freed meanwhile are given out again, which the mover must bear, too. */
static size_t pool_compact(struct pool *pool, size_t bytes, const struct pool_mover *mover, void *context)
{
    struct checked_pool *p = pool_of(pool);
    uint64_t to;
    (void)bytes;
    WORLD_POINT(EXPLORE_UPDATE, "pool: pick");
    uint64_t from = pick(p);
    uint64_t owner = p->objects[from].owner;
    if (!from || take_free(p, owner, &to)) {
        return 0;
    }
    bool moved = mover->hold(context, owner, from);
    if (moved) {
        memcpy(pool_map(pool, to), pool_map(pool, from), sizeof p->objects[0].bytes);
        pool_unmap(pool, from);
        pool_unmap(pool, to);
        moved = mover->commit(context, owner, from, to);
    }
    if (!moved) {
        pool_free(pool, to);
    }
    return moved ? PAGE_BYTES : 0;
}

static bool pool_consistent(struct pool *pool)
{
    uint32_t alive = 0;
    for (unsigned i = 0; i < OBJECTS; i++) {
        alive += pool_of(pool)->objects[i].alive;
    }
    return alive == pool_of(pool)->used;
}

static int pool_create(struct pool **pool, struct memory *memory, size_t max_bytes);
static void pool_destroy(struct pool *pool)
{
    (void)pool;
}

static const struct pool_ops checked_pool_ops = {
    .name = "checked",
    .create = pool_create,
    .destroy = pool_destroy,
    .alloc = pool_alloc,
    .free = pool_free,
    .map = pool_map,
    .unmap = pool_unmap,
    .total_size = pool_total_size,
    .peers = pool_peers,
    .trim = pool_trim,
    .compact = pool_compact,
    .consistent = pool_consistent,
};

static int pool_create(struct pool **pool, struct memory *memory, size_t max_bytes)
{
    struct checked_pool *p = explore_alloc(sizeof *p);
    (void)memory, (void)max_bytes;
    p->base.ops = &checked_pool_ops;
    *pool = &p->base;
    return 0;
}

/* ---- device */

/* Reads are done in submit; writes are queued, and done by whoever reaps. */
struct small_device {
    struct swap_device base;
    struct world *world;
    struct swap_map *map; /* what lies where, to see that nobody reads or writes a slot that was given back */
    struct swap_io *queue;
    unsigned char bytes[DEVICE_SLOTS * SLOT_BYTES];
};

static void check_in_use(const struct small_device *d, const struct swap_io *io)
{
    for (uint64_t at = io->position; at < io->position + io->bytes; at += SLOT_BYTES) {
        const uint8_t *count = sparse_get(&d->map->counts, at / SLOT_BYTES);
        if (!count || !*count) {
            explore_fail("use after free: device slot %llu", (unsigned long long)(at / SLOT_BYTES));
        }
    }
}

static void carry_out(struct small_device *d, struct swap_io *io)
{
    check_in_use(d, io);
    if (io->position + io->bytes > sizeof d->bytes) {
        explore_fail("device: out of bounds");
    } else if (world_fails(d->world, WORLD_DEVICE_ERROR, "device: error")) {
        io->result = -EIO;
    } else if (io->operation == SWAP_WRITE) {
        memcpy(d->bytes + io->position, io->buffer, io->bytes);
    } else {
        memcpy(io->buffer, d->bytes + io->position, io->bytes);
    }
    WORLD_POINT(EXPLORE_UPDATE, "device: done");
    check_in_use(d, io);
    io->done(io);
}

static void device_submit(struct swap_device *device, struct swap_io *io)
{
    struct small_device *d = (struct small_device *)device;
    bool write = io->operation == SWAP_WRITE;
    WORLD_POINT(EXPLORE_UPDATE, "device: submit");
    if (write && explore_is_running() && d->world->faults & WORLD_DEVICE_HANGS) {
        explore_note("the device does not answer");
        d->world->hangs++;
        return;
    }
    io->next = d->queue;
    if (write) {
        d->queue = io;
    } else {
        carry_out(d, io);
    }
}

static size_t device_reap(struct swap_device *device, bool wait)
{
    struct small_device *d = (struct small_device *)device;
    size_t count = 0;
    (void)wait;
    for (;;) {
        WORLD_POINT(EXPLORE_UPDATE, "device: reap");
        struct swap_io *io = d->queue;
        if (!io) {
            return count;
        }
        d->queue = io->next;
        carry_out(d, io);
        count++;
    }
}

static const struct swap_device_ops small_device_ops = {
    .scheme = "small", .submit = device_submit, .reap = device_reap};

static void nothing_to_do(struct swap_io *io)
{
    (void)io;
}

/* In place of swap/device.c: this device completes every read in submit. */
int swap_device_wait(struct swap_device *device, struct swap_io *io)
{
    io->done = nothing_to_do;
    device->ops->submit(device, io);
    return io->result;
}

/* ---- families of processes are not explored: the map is private */

int shared_lock_take(struct shared_lock *lock)
{
    (void)lock;
    explore_fail("a private swap map takes a lock between processes");
    return 0;
}

void shared_lock_give(struct shared_lock *lock)
{
    (void)lock;
}

uint32_t shared_lock_turn(const struct shared_lock *lock)
{
    (void)lock;
    return 0;
}

void shared_lock_let_others(struct shared_lock *lock, uint32_t turn)
{
    (void)lock, (void)turn;
}

bool member_is_alive(const struct member_table *table, uint32_t index, uint32_t generation)
{
    (void)table, (void)index, (void)generation;
    return true;
}

/* ---- the cache, as a lifecycle */

struct cache {
    struct zswap *zswap;
    struct swap_cache *swap_cache;
    struct world *world;
    struct account account;
    struct memory memory;
    struct small_device device;
    unsigned keys;
};

static struct swap_entry entry_of(unsigned key)
{
    return (struct swap_entry){.type = TYPE, .offset = key};
}

/* Verbs of the explorer's threads find every context made: memory comes in set_up only. */
static void make_contexts(struct zswap *z)
{
    struct context *contexts[CONTEXTS_MAX];
    for (int i = 0; i < CONTEXTS_MAX; i++) {
        contexts[i] = context_claim(&z->contexts);
    }
    for (int i = 0; i < CONTEXTS_MAX; i++) {
        context_unclaim(contexts[i]);
    }
}

/* What is no scheduling point, and why that hides nothing. */
static void quieten(struct zswap *z, uint64_t *words_beyond)
{
    /* No entry lies there: only who gives the index page back freezes and thaws them, one by one. The first of them keeps
     * its points, so that two who do that meet. */
    uint64_t *page_end = (uint64_t *)(((uintptr_t)words_beyond | (PAGE_BYTES - 1)) + 1);
    explore_quiet(words_beyond + 1, (size_t)(page_end - words_beyond - 1) * sizeof *words_beyond);
    /* Guarded by the LRU's lock; who reads them without it only makes hints of them. */
    explore_quiet(z->areas[TYPE]->links.slots, PAGE_BYTES);
    explore_quiet(&z->areas[TYPE]->sweep_at, sizeof z->areas[TYPE]->sweep_at);
    /* Counters: additions commute, and nobody reads them meanwhile. */
    explore_quiet(z->counters, COUNTER_SHARDS * sizeof *z->counters);
    /* Settings, and hints that only a pool at its limit looks at. Nothing changes them here. (Locks have points all the same.) */
    explore_quiet(z, sizeof *z);
    /* Claiming a context is taking a lock, giving it back is an unlock; there are more than threads. */
    explore_quiet(z->contexts.table, CONTEXTS_MAX * sizeof *z->contexts.table);
    /* For who destroys the area, which nobody does here. */
    explore_quiet(&z->areas[TYPE]->writing, sizeof z->areas[TYPE]->writing);
}

/* Likewise of deduplication; and who commits its tables first is of no interest. */
static void quieten_dedup(struct dedup *d)
{
    const struct sparse *tables[] = {&d->fingerprints.slots, &d->tables.references.slots,
                                     &d->tables.shared.slots};
    fingerprints_note(&d->fingerprints, 0, 0);
    shared_end(&d->tables, shared_make(&d->tables));
    reference_end(&d->tables, reference_make(&d->tables, 0));
    for (size_t i = 0; i < ARRAY_LENGTH(tables); i++) {
        explore_quiet(tables[i]->committed, sizeof *tables[i]->committed);
        explore_quiet(tables[i]->bitmap_pages, 1);
    }
    /* Hints: a slot may hold what it likes at any time. */
    explore_quiet(d->fingerprints.slots.slots, PAGE_BYTES);
    explore_quiet(&d->fingerprints, sizeof d->fingerprints);
}

static int whole_create(struct cache **cache, struct substrate *substrate, unsigned keys)
{
    struct cache *c = explore_alloc(sizeof *c);
    *c = (struct cache){.world = (struct world *)substrate, .keys = keys};
    c->memory.account = &c->account;
    c->device.base =
        (struct swap_device){.ops = &small_device_ops, .size = sizeof c->device.bytes, .max_in_flight = 8};
    c->device.world = c->world;
    struct zswap_options options = {.memory = &c->memory,
                                    .pool = &checked_pool_ops,
                                    .codec = {.ops = (const struct codec_ops *)c},
                                    .max_pool_bytes = 1 << 20,
                                    .accept_threshold_percent = 90,
                                    .device = &c->device.base,
                                    .deduplicate = c->world->alike};
    int error = swap_cache_create(&options.swap_cache, &c->memory, 8);
    error = error ? error : zswap_create(&c->zswap, &options);
    error = error ? error : zswap_area_create(c->zswap, TYPE, keys);
    if (error) {
        return error;
    }
    ((struct checked_pool *)c->zswap->pool)->world = c->world;
    c->device.map = &c->zswap->map;
    make_contexts(c->zswap);
    uint64_t *words =
        area_word_for_store(c->zswap->areas[TYPE], 0, true); /* who commits it first is of no interest */
    quieten(c->zswap, words + keys);
    if (c->zswap->dedup) {
        quieten_dedup(c->zswap->dedup);
    }
    c->swap_cache = options.swap_cache;
    *cache = c;
    return 0;
}

/* A page for an object, or one that repeats its version in every word. */
static void make_page(const struct cache *c, uint64_t *page, uint64_t version)
{
    bool filled = version >= VERSION_FILLED;
    if (explore_is_running() && c->world->faults & WORLD_USUAL_FAULTS) {
        filled = explore_choose(2, "page: object or same-filled");
    }
    memset(page, 0, PAGE_BYTES);
    page[0] = version;
    page[1] = version + 1;
    for (size_t i = 0; filled && i < PAGE_BYTES / 8; i++) {
        page[i] = version;
    }
}

static int whole_store(struct cache *c, unsigned key, uint64_t version)
{
    uint64_t page[PAGE_BYTES / 8];
    make_page(c, page, version);
    return zswap_store(c->zswap, entry_of(key), page);
}

/*
 * A load as it comes from a fault, which takes the page's slot of the swap cache, also from a writeback, and as the bare
 * verb. With the slot held by another fault, the verb alone is what is left.
 */
static int load_page(struct cache *c, unsigned key, int (*verb)(struct zswap *, struct swap_entry, void *),
                     uint64_t *version)
{
    uint64_t page[PAGE_BYTES / 8], unused;
    struct swap_cache_token token;
    bool slot = explore_is_running() && explore_choose(2, "load: bare, or as a fault") &&
                swap_cache_take(c->swap_cache, entry_of(key), &token, &unused) == SWAP_CACHE_NEW;
    int error = verb(c->zswap, entry_of(key), page);
    if (slot) {
        swap_cache_release(c->swap_cache, token);
    }
    if (!error) {
        *version = page[0];
        if (page[1] != page[0] && page[1] != page[0] + 1) {
            explore_fail("torn: a page of %llu and %llu", (unsigned long long)page[0],
                         (unsigned long long)page[1]);
        }
    }
    return error;
}

static int whole_load(struct cache *c, unsigned key, uint64_t *version)
{
    return load_page(c, key, zswap_load, version);
}

static int whole_load_exclusive(struct cache *c, unsigned key, uint64_t *version)
{
    return load_page(c, key, zswap_load_exclusive, version);
}

static void whole_invalidate(struct cache *c, unsigned key)
{
    zswap_invalidate(c->zswap, entry_of(key));
}

static void whole_invalidate_area(struct cache *c)
{
    zswap_invalidate_area(c->zswap, TYPE);
}

/* The oldest entry, whichever it is. */
static bool whole_writeback(struct cache *c, unsigned key)
{
    zswap_writeback(c->zswap, 1);
    zswap_writeback_reap(c->zswap, false);
    return zswap_find(c->zswap, entry_of(key)) == ZSWAP_ON_DEVICE;
}

/* Some entry, whichever it is. */
static bool whole_move(struct cache *c, unsigned key)
{
    (void)key;
    size_t won;
    compact_pool(c->zswap, 1, &won);
    return won != 0;
}

static void whole_trim(struct cache *c)
{
    trim_index(c->zswap);
}

/* The cache checks itself: the world's own pool and device are not used. */
static void whole_survey(struct cache *c, unsigned *objects, unsigned *slots)
{
    if (!zswap_consistent(c->zswap)) {
        explore_fail("not consistent: counters, index, LRU, pool, swap map or orphans disagree");
    }
    struct zswap_stats stats;
    zswap_get_stats(c->zswap, &stats);
    uint64_t held =
        stats.stored_pages - stats.same_filled_pages - stats.deduplicated_pages + stats.shared_objects;
    if (((struct checked_pool *)c->zswap->pool)->used != held) {
        explore_fail("leak: %u objects in the pool, %llu known",
                     ((struct checked_pool *)c->zswap->pool)->used, (unsigned long long)held);
    }
    *objects = *slots = 0;
}

const struct lifecycle_ops lifecycle_whole = {
    .name = "whole",
    .fills = true,
    .shares = true,
    .create = whole_create,
    .store = whole_store,
    .load = whole_load,
    .load_exclusive = whole_load_exclusive,
    .invalidate = whole_invalidate,
    .invalidate_area = whole_invalidate_area,
    .writeback = whole_writeback,
    .move = whole_move,
    .trim = whole_trim,
    .survey = whole_survey,
};
