/* SPDX-License-Identifier: MIT */
#include "zswap/dedup.h"

#include <errno.h>
#include <string.h>

#include "base/sys.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

/* A reference's word says nothing of the object's length: no object has this one and this format. */
#define REFERENCE_WORD(number)                                                                               \
    (entry_make(ENTRY_POOL, (number), ENTRY_REFERENCE_BYTES, ENTRY_FORMAT_FILL8) | ENTRY_REF)

/* An object whose owner is of this type is shared: the offset is its number. */
#define TYPE_SHARED ZSWAP_TYPES_MAX

_Static_assert(FINGERPRINT_OWNER_BITS >= POOL_OWNER_BITS && TYPE_SHARED < 1u << (POOL_OWNER_BITS - 32),
               "owners fit");

/* One page in so many looks whether the table of fingerprints is large enough. */
#define GROW_SHARE 64

/* The table of fingerprints grows as far as the pages want of a pool whose objects have this length: few are
 * shorter. */
#define OBJECT_BYTES_USUAL 1024

int dedup_create(struct zswap *z)
{
    struct dedup *d = memory_map(z->memory, sizeof *d, ACCOUNT_TABLES);
    if (!d) {
        return -ENOMEM;
    }
    z->dedup = d;
    uint64_t pages = min_size(z->max_pool_bytes / OBJECT_BYTES_USUAL, REFERENCES_MAX);
    int error = fingerprints_init(&d->fingerprints, z->memory, pages);
    return error ? error : shared_init(&d->tables, z->memory);
}

void dedup_destroy(struct zswap *z)
{
    struct dedup *d = z->dedup;
    if (d) {
        fingerprints_destroy(&d->fingerprints);
        shared_destroy(&d->tables);
        memory_unmap(z->memory, d, sizeof *d, ACCOUNT_TABLES);
    }
}

uint64_t dedup_hash(const void *page)
{
    return XXH3_64bits(page, PAGE_BYTES);
}

static struct swap_entry owner_of(uint32_t shared)
{
    return (struct swap_entry){.type = TYPE_SHARED, .offset = shared};
}

/* ---- counts */

/* The object that a shared one is, by a word of its length and format. The caller has one of its counts. */
static uint64_t object_of(const struct zswap *z, uint32_t shared)
{
    /* Relaxed: the count was acquired; only the name changes, and it is not looked at. */
    return atomic_read_relaxed(&shared_at(&z->dedup->tables, shared)->word);
}

static void count_object(struct zswap *z, uint64_t word, int64_t sign)
{
    counter_add(z, COUNTER_PAYLOAD, sign * (int64_t)entry_bytes(word));
    counter_add(z, COUNTER_INCOMPRESSIBLE, entry_bytes(word) == PAGE_BYTES ? sign : 0);
    counter_add(z, COUNTER_NOT_STORED, -sign * (int64_t)entry_bytes(word));
}

/* Gives a count back. */
static void drop(struct zswap *z, uint32_t shared)
{
    struct shared *s = shared_at(&z->dedup->tables, shared);
    if (shared_put(s)) {
        uint64_t old = lifecycle_replace(&z->lifecycle, &s->word, 0);
        count_object(z, old, -1);
        shared_end(&z->dedup->tables, shared);
    }
}

/* The word of a new reference, which gets the caller's count; 0, and the count is dropped, if there is no number. */
static uint64_t refer(struct zswap *z, uint32_t shared)
{
    size_t bytes = entry_bytes(object_of(z, shared));
    uint32_t reference = reference_make(&z->dedup->tables, shared);
    if (!reference) {
        drop(z, shared);
        return 0;
    }
    counter_add(z, COUNTER_NOT_STORED, (int64_t)bytes);
    return REFERENCE_WORD(reference);
}

void dedup_release(struct zswap *z, uint64_t reference)
{
    uint32_t shared = reference_end(&z->dedup->tables, (uint32_t)entry_name(reference));
    counter_add(z, COUNTER_NOT_STORED, -(int64_t)entry_bytes(object_of(z, shared)));
    drop(z, shared);
}

/* ---- reading through a reference */

static struct shared *target_of(const struct zswap *z, uint64_t reference)
{
    return shared_at(&z->dedup->tables, reference_target(&z->dedup->tables, entry_name(reference)));
}

uint64_t dedup_try_hold(struct zswap *z, uint64_t reference, uint64_t **word)
{
    *word = &target_of(z, reference)->word;
    return lifecycle_try_hold(*word, false);
}

uint64_t dedup_hold(struct zswap *z, uint64_t reference, uint64_t **word)
{
    *word = &target_of(z, reference)->word;
    return lifecycle_hold(*word, false);
}

uint64_t dedup_object(const struct zswap *z, uint64_t word)
{
    return entry_is_reference(word) ? entry_content(atomic_read_relaxed(&target_of(z, word)->word)) : word;
}

size_t dedup_weight(const struct zswap *z, uint64_t word)
{
    size_t bytes = entry_bytes(dedup_object(z, word));
    /* Relaxed: about how many. */
    return entry_is_reference(word) ? max_size(bytes / atomic_read_relaxed(&target_of(z, word)->count), 1)
                                    : bytes;
}

uint64_t *dedup_word_of_owner(struct zswap *z, uint64_t owner)
{
    struct swap_entry entry = entry_unpack(owner);
    /* Of a pool's object, so the number was given out. */
    return entry.type == TYPE_SHARED ? &shared_at(&z->dedup->tables, entry.offset)->word : NULL;
}

/* ---- finding a page's like */

/* Is the held object this page? */
static bool is_equal(struct zswap *z, struct context *context, uint64_t held, const void *page)
{
    uint64_t handle = entry_name(held);
    const void *from = z->pool->ops->map(z->pool, handle);
    bool equal;
    if (entry_bytes(held) == PAGE_BYTES) {
        equal = !memcmp(page, from, PAGE_BYTES);
    } else {
        equal = !decode_object(z, context, held, context->buffer, from) &&
                !memcmp(page, context->buffer, PAGE_BYTES);
    }
    z->pool->ops->unmap(z->pool, handle);
    if (!equal) {
        counter_add(z, COUNTER_COLLISIONS, 1);
    }
    return equal;
}

/* Takes the caller's count of the shared object back if it is not this page. Its number, or 0. */
static uint32_t check_shared(struct zswap *z, struct context *context, uint32_t shared, const void *page)
{
    uint64_t *word = &shared_at(&z->dedup->tables, shared)->word;
    uint64_t held = lifecycle_try_hold(word, false);
    bool equal = held != ENTRY_BUSY && is_equal(z, context, held, page);
    if (held != ENTRY_BUSY) {
        lifecycle_unhold(&z->lifecycle, word, held);
    }
    if (!equal) {
        drop(z, shared);
        return 0;
    }
    return shared;
}

/* A copy of the held object, with two counts, both the caller's. Its number, or 0. */
static uint32_t copy_to_shared(struct zswap *z, uint64_t held)
{
    uint64_t handle, from = entry_name(held);
    size_t bytes = entry_bytes(held);
    uint32_t number = shared_make(&z->dedup->tables);
    if (!number) {
        return 0;
    }
    if (z->pool->ops->alloc(z->pool, bytes, entry_pack(owner_of(number)), &handle)) {
        shared_end(&z->dedup->tables, number);
        return 0;
    }
    memcpy(z->pool->ops->map(z->pool, handle), z->pool->ops->map(z->pool, from), bytes);
    z->pool->ops->unmap(z->pool, from);
    z->pool->ops->unmap(z->pool, handle);
    struct shared *s = shared_at(&z->dedup->tables, number);
    lifecycle_replace(&z->lifecycle, &s->word, entry_make(ENTRY_POOL, handle, bytes, entry_format(held)));
    count_object(z, held, 1);
    /* Release: who raises it finds the word. */
    atomic_set_release(&s->count, 2);
    return number;
}

struct found {
    struct area *area;
    uint64_t offset;
    uint64_t *word, held;
};

/* The found entry's object is the page: makes it a shared one, and the entry refer to it. The hold is over. A count
 * for the caller and the number; or 0. */
static uint32_t share(struct zswap *z, const struct found *other)
{
    uint32_t shared = copy_to_shared(z, other->held);
    uint64_t reference = shared ? refer(z, shared) : 0;
    if (!reference) {
        lifecycle_unhold(&z->lifecycle, other->word, other->held);
    } else if (lifecycle_move(&z->lifecycle, other->word, other->held, reference)) {
        count_change(z, other->held, reference);
        area_lru_restore(other->area, other->offset);
    } else {
        dedup_release(z, reference);
    }
    return shared;
}

/* A count of the shared object that the found entry's page is, or becomes; or 0. The hold is over. */
static uint32_t check_found(struct zswap *z, struct context *context, const struct found *other,
                            const void *page)
{
    struct shared_tables *t = &z->dedup->tables;
    if (entry_is_reference(other->held)) {
        uint32_t shared = reference_target(t, entry_name(other->held));
        bool have = shared_get(shared_at(t, shared)); /* always: the entry's own is there */
        lifecycle_unhold(&z->lifecycle, other->word, other->held);
        return have ? check_shared(z, context, shared, page) : 0;
    }
    /* One that is being written back is about to leave. */
    if (entry_kind(other->held) != ENTRY_POOL || other->held & ENTRY_WB ||
        !is_equal(z, context, other->held, page)) {
        lifecycle_unhold(&z->lifecycle, other->word, other->held);
        return 0;
    }
    return share(z, other);
}

static uint32_t check_entry(struct zswap *z, struct context *context, struct swap_entry entry,
                            const void *page)
{
    struct found other = {.offset = entry.offset};
    uint32_t shared = 0;
    /* Seq-cst, both: either we see that the area is gone, or dedup_forget_area sees us. */
    atomic_set_seq_cst(&context->visits, entry.type + 1);
    other.area = atomic_read_seq_cst(&z->areas[entry.type]);
    other.word = other.area ? area_word(other.area, entry.offset) : NULL;
    other.held = other.word ? lifecycle_try_hold(other.word, false) : 0;
    if (entry_is_object(other.held)) {
        shared = check_found(z, context, &other, page);
    }
    /* Release: the area is not touched after it. */
    atomic_set_release(&context->visits, 0);
    return shared;
}

bool dedup_store(struct zswap *z, struct swap_entry entry, const void *page, uint64_t hash, uint64_t *word)
{
    struct dedup *d = z->dedup;
    uint64_t owner;
    if (!fingerprints_find(&d->fingerprints, hash, &owner) || owner == entry_pack(entry)) {
        return false;
    }
    struct swap_entry other = entry_unpack(owner);
    uint32_t shared = 0;
    struct context *context = context_claim(&z->contexts);
    if (other.type == TYPE_SHARED) {
        struct shared *s = shared_at(&d->tables, other.offset);
        if (s && shared_get(s)) {
            shared = check_shared(z, context, (uint32_t)other.offset, page);
        }
    } else {
        shared = check_entry(z, context, other, page);
        if (shared) {
            fingerprints_note(&d->fingerprints, hash, entry_pack(owner_of(shared)));
        }
    }
    context_unclaim(context);
    *word = shared ? refer(z, shared) : 0;
    return *word;
}

void dedup_note(struct zswap *z, struct swap_entry entry, uint64_t hash)
{
    struct fingerprints *f = &z->dedup->fingerprints;
    fingerprints_note(f, hash, entry_pack(entry));
    if (hash >> 32 & (GROW_SHARE - 1)) {
        return;
    }
    uint64_t stored = counter_sum(z, COUNTER_STORED), filled = counter_sum(z, COUNTER_SAME_FILLED);
    fingerprints_grow(f, stored > filled ? stored - filled : 0);
}

void dedup_forget_area(struct zswap *z, uint32_t type)
{
    for (size_t i = 0; i < CONTEXTS_MAX; i++) {
        while (atomic_read_seq_cst(&z->contexts.table[i].visits) == type + 1) {
            sys_yield();
        }
    }
}
