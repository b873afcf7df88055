/* SPDX-License-Identifier: MIT */
/* The cache's own structure, shared by the files of zswap/ and nobody else. */
#ifndef UZSWAP_ZSWAP_INTERNAL_H
#define UZSWAP_ZSWAP_INTERNAL_H

#include "base/atomic.h"
#include "swap/swap_map.h"
#include "zswap/area.h"
#include "zswap/context.h"
#include "zswap/shrinker.h"
#include "zswap/zswap.h"

/* What a page is compressed to at most, in bytes: less saved is not worth a decompression. Else it is kept raw. */
#define ZSWAP_COMPRESSED_MAX (PAGE_BYTES - 64)

/* Counters and levels, kept in shards so that threads do not write the same cache line. A level (pages now) is the
 * sum of all shards, each of which may be negative by itself. */
enum counter {
    COUNTER_STORED, /* entries POOL or FILLED */
    COUNTER_SAME_FILLED,
    COUNTER_INCOMPRESSIBLE,
    COUNTER_PAYLOAD,
    COUNTER_ON_DEVICE,
    COUNTER_WRITTEN_BACK,
    COUNTER_WRITTEN_BACK_BYTES,
    COUNTER_DUPLICATE,
    COUNTER_LIMIT_HIT,
    COUNTER_STORES,
    COUNTER_LOADS,
    COUNTER_DEVICE_LOADS,
    COUNTER_INVALIDATES,
    COUNTER_REJECT_RECLAIM,
    COUNTER_REJECT_ALLOC,
    COUNTER_REJECT_INDEX,
    COUNTER_REJECT_COMPRESS,
    COUNTER_REJECT_POOR,
    COUNTER_DECOMPRESS_FAIL,
    COUNTER_READ_FAIL,
    COUNTER_WRITE_FAIL,
    COUNTER_DEVICE_FULL,
    COUNTER_DEDUPLICATED, /* entries that name a reference */
    COUNTER_NOT_STORED, /* bytes that they would take in the pool if each had its object, less those of the shared ones */
    COUNTER_COLLISIONS,
    COUNTER_WRITEBACK_BATCHES,
    COUNTER_WRITEBACK_PEERS,
    COUNTER_SECOND_CHANCES,
    COUNTER_SHRINK_ROUNDS,
    COUNTER_SHRINK_STEPS,
    COUNTER_COMPACTIONS,
    COUNTER_COMPACTIONS_VAIN,
    COUNTER_PAGES_COMPACTED,
    COUNTER_OBJECTS_MOVED,
    COUNTERS,
};

#define COUNTER_SHARDS 16

struct counter_shard {
    int64_t value[COUNTERS]; /* atomic */
} __attribute__((aligned(64)));

struct writeback; /* writeback.c */
struct dedup;     /* dedup.h */

struct zswap {
    struct memory *memory;
    struct pool *pool;
    struct swap_device *device; /* NULL = none */
    struct swap_cache *swap_cache;
    struct swap_map map; /* used if there is a device */
    enum zswap_writeback mode;
    struct lifecycle lifecycle;
    struct contexts contexts;
    struct writeback *writeback; /* NULL if nothing can be written back */
    struct dedup *dedup;         /* NULL = off */
    struct counter_shard *counters;

    /* One compaction, or one trim of the index, at a time; an area that it has found stays whole. Only tried, but
     * by who destroys an area. */
    struct mutex compact_lock;

    size_t max_pool_bytes; /* atomic, relaxed: a recent value will do */
    unsigned accept_threshold_percent;
    struct shrinker shrinker;

    struct area
        *areas[ZSWAP_TYPES_MAX]; /* set by area_create before verbs on the type begin; acquire, release */
};

static inline void counter_add(struct zswap *z, enum counter counter, int64_t n)
{
    atomic_add_relaxed(&z->counters[thread_hint() % COUNTER_SHARDS].value[counter], n);
}

uint64_t counter_sum(const struct zswap *z, enum counter counter);

/* The area and the bounds check of every verb; NULL if there is no such entry. */
static inline struct area *area_of(struct zswap *z, struct swap_entry entry)
{
    if (entry.type >= ZSWAP_TYPES_MAX) {
        return NULL;
    }
    struct area *area = atomic_read_acquire(&z->areas[entry.type]);
    return area && entry.offset < area->pages ? area : NULL;
}

_Static_assert(AREA_PAGES_MAX <= UINT32_MAX && ZSWAP_TYPES_MAX <= 1u << (POOL_OWNER_BITS - 32),
               "entries fit");

/* A pool object's owner, as pool.h calls it. */
static inline uint64_t entry_pack(struct swap_entry entry)
{
    return (uint64_t)entry.type << 32 | entry.offset;
}

static inline struct swap_entry entry_unpack(uint64_t packed)
{
    return (struct swap_entry){.type = (uint32_t)(packed >> 32), .offset = packed & UINT32_MAX};
}

/* Counts what a change of an entry's word from `old` to `next` means for the levels. */
void count_change(struct zswap *z, uint64_t old, uint64_t next);

/* The object that an entry's content names is freed, or the reference ended. */
void release_object(void *zswap, uint64_t content);

/* Hints: the object that `word` names, if there is one in the pool, may soon be read, or freed and with `reuse`
 * another stored. */
static inline void prepare_read(struct zswap *z, uint64_t word)
{
    if (entry_kind(word) == ENTRY_POOL && z->pool->ops->prepare_read && !entry_is_reference(word)) {
        z->pool->ops->prepare_read(z->pool, entry_name(word), entry_bytes(word));
    }
}

static inline void prepare_free(struct zswap *z, uint64_t word, bool reuse)
{
    if (entry_kind(word) == ENTRY_POOL && z->pool->ops->prepare_free && !entry_is_reference(word)) {
        z->pool->ops->prepare_free(z->pool, entry_name(word), entry_bytes(word), reuse);
    }
}

/* Device slots that the object of this word takes once it is written back. */
size_t device_slots(uint64_t word, enum zswap_writeback mode);

/* load.c: turns the bytes at `from` of the object that `word` names into a page. 0 or -EBADMSG. */
int decode_object(struct zswap *z, struct context *context, uint64_t word, void *page, const void *from);

/* invalidate.c: zswap_invalidate_range in an area that may no longer be in the table. */
uint64_t invalidate_in_area(struct zswap *z, struct area *area, uint64_t first, uint64_t pages);

/* The entry will soon be replaced, or removed: asks for what that touches beyond its word and links, which are
 * here, or on their way (area_prefetch). */
void prepare_removal(struct zswap *z, struct area *area, uint64_t offset, bool replaced);

/* Looks for index memory that entries have left one by one, a step in each area. Bytes given back. */
size_t trim_index(struct zswap *z);

/* compact.c: what pool.h calls compact. False, and nothing is done, where objects never move and while another
 * thread is at it. */
bool compact_pool(struct zswap *z, size_t bytes, size_t *won);

/* Returns once no compaction knows an area that was taken out of the table before. */
void compact_forget_areas(struct zswap *z);

/* writeback.c */
int writeback_create(struct zswap *z);
void writeback_destroy(struct zswap *z);

/* zswap_writeback; but while another thread starts writebacks it does nothing without `take_turn`, and returns 1. */
size_t writeback_start(struct zswap *z, size_t bytes, bool take_turn);

/* Payload in write buffers whose writes have not ended, and how many buffers ever have. Hints. */
size_t writeback_bytes_in_flight(const struct zswap *z);
uint32_t writeback_completed(const struct zswap *z);

/* Takes the area out of the table and waits until no writeback, started by whatever verb on another type, knows it. */
void writeback_forget_area(struct zswap *z, uint32_t type);

/* The most objects that all write buffers hold at one time. */
uint32_t writeback_capacity(void);

#endif
