/* SPDX-License-Identifier: MIT */
/*
 * The cache: compressed pages under their swap entries, with writeback to a device. Five verbs: store,
 * load, exclusive load, invalidate page, invalidate area; and writeback.
 *
 * Guarantees (any number of threads, any interleaving): a load returns the bytes of the last store that
 * finished before it began, or of one concurrent with it, or says "not here"; after invalidate
 * returns, no load finds the entry; nobody waits for another's I/O, except a load whose only copy is on
 * the device; loads of different pages share no lock; every failure leaves the entry whole in its
 * old place, or cleanly gone with an error code. docs/architecture.md tells how.
 *
 * All functions are thread-safe unless they say otherwise.
 */
#ifndef UZSWAP_ZSWAP_ZSWAP_H
#define UZSWAP_ZSWAP_ZSWAP_H

#include "base/memory.h"
#include "base/types.h"
#include "codec/codec.h"
#include "pool/pool.h"
#include "swap/device.h"
#include "swap/swap_cache.h"

#define ZSWAP_TYPES_MAX 32

enum zswap_writeback {
    ZSWAP_WRITEBACK_COMPRESSED, /* as they lie in the pool, packed */
    ZSWAP_WRITEBACK_PAGE,       /* decompressed, as plain pages */
    ZSWAP_WRITEBACK_OFF,
};

struct zswap_options {
    struct memory *memory; /* outlives the cache */
    const struct pool_ops *pool;
    struct codec codec;
    size_t max_pool_bytes; /* pool limit; at it the oldest entries are written back */
    unsigned
        accept_threshold_percent; /* writeback goes on until the pool is down to this share of the limit */
    enum zswap_writeback writeback;
    struct swap_device *device;    /* NULL = none; outlives the cache */
    struct swap_cache *swap_cache; /* outlives the cache */
    bool deduplicate;              /* entries of equal pages share one object */
    /* The process that all threads that use the cache are of, if it may fork; outlives the cache. NULL: it is not
     * forked, or the child does not use the cache. */
    const struct membership *member;
};

/* Counters under the kernel's names (/sys/kernel/debug/zswap, mm/zswap.c), and ours. */
struct zswap_stats {
    uint64_t stored_pages;                /* in the pool now, same-filled included */
    uint64_t same_filled_pages;           /* of them, those that hold no object */
    uint64_t stored_incompressible_pages; /* of them, those kept raw; pages that share one count once */
    uint64_t pool_total_size;             /* bytes */
    uint64_t pool_payload;                /* bytes of the objects in the pool */
    uint64_t device_pages;                /* on the device now */
    uint64_t device_bytes; /* slots in use, in bytes; by any of the processes that share the device by fork */
    uint64_t written_back_pages;
    uint64_t written_back_bytes;
    uint64_t duplicate_entry; /* stores that replaced an entry */
    uint64_t pool_limit_hit;
    uint64_t stores, loads, device_loads, invalidates;
    uint64_t reject_reclaim_fail;   /* at the limit, and nothing could be written back */
    uint64_t reject_alloc_fail;     /* the pool had no memory */
    uint64_t reject_kmemcache_fail; /* the index had no memory */
    uint64_t reject_compress_fail;  /* the compressor failed */
    uint64_t reject_compress_poor;  /* pages that did not shrink, and went in raw */
    uint64_t decompress_fail;
    uint64_t device_read_fail, device_write_fail, device_full;
    /* Zero unless equal pages are looked for. */
    uint64_t
        deduplicated_pages; /* of stored_pages, those that name a shared object, with others or alone by now */
    uint64_t shared_objects; /* that they name; they are in pool_payload, once each */
    /* What they would take in the pool more without sharing, less what references and counts take. */
    uint64_t deduplicated_bytes;
    uint64_t dedup_collisions; /* pages compared that were not equal */
    /* The shrinker (shrinker.c). */
    uint64_t writeback_batches; /* write buffers sent to the device, of up to 128 KiB */
    uint64_t writeback_peers;   /* pages written back only because they share a victim's memory (zbud) */
    uint64_t second_chances; /* entries passed over by writeback: loaded since they were stored, or in use */
    uint64_t shrink_rounds;  /* times the pool came from its limit down to the threshold */
    uint64_t shrink_steps;   /* steps on the way there that won anything */
    uint64_t shrink_step_bytes;             /* bytes of a step now: more, the faster the pool refills */
    uint64_t compactions, compactions_vain; /* and of them, those that gave no page back */
    uint64_t pages_compacted;               /* given back by compaction */
    uint64_t objects_moved;                 /* for that */
};

struct zswap;

/* 0, -EINVAL, -ENOMEM. */
int zswap_create(struct zswap **zswap, const struct zswap_options *options);

/* Frees all. No verb may be running. */
void zswap_destroy(struct zswap *zswap);

/* Makes room for entries (type, 0 .. pages - 1). Address space, not memory. 0, -EINVAL (bad type, or in
 * use), -ENOMEM. Not thread-safe against verbs on the same type. */
int zswap_area_create(struct zswap *zswap, uint32_t type, uint64_t pages);
void zswap_area_destroy(struct zswap *zswap, uint32_t type);

/*
 * Puts the page in under `entry`, in place of what was there. 0; -EINVAL (no such area or offset); -ENOMEM;
 * -ENOSPC (at the limit, and nothing could be written back); -EIO (compressor failed). A store that
 * fails still removes the older entry.
 */
int zswap_store(struct zswap *zswap, struct swap_entry entry, const void *page);

/* Copies the page to `page`; the entry stays. 0; -ENOENT (not here); -EBADMSG (it is damaged; the entry
 * stays, so that later loads fail too); -EIO (the device cannot read it); -ENOMEM. After an error
 * the content of `page` is undefined. */
int zswap_load(struct zswap *zswap, struct swap_entry entry, void *page);

/* As load, but -EAGAIN instead of waiting for the device: for a thread that others wait for. */
int zswap_load_at_once(struct zswap *zswap, struct swap_entry entry, void *page);

/* Load and free: as load, and on success the entry that was read is gone (not one stored since). */
int zswap_load_exclusive(struct zswap *zswap, struct swap_entry entry, void *page);

/* Where is the entry now? A snapshot. */
enum zswap_place { ZSWAP_NOWHERE, ZSWAP_IN_POOL, ZSWAP_ON_DEVICE };
enum zswap_place zswap_find(struct zswap *zswap, struct swap_entry entry);

/* Removes the entry. True if there was one. */
bool zswap_invalidate(struct zswap *zswap, struct swap_entry entry);

/* Removes all entries of offsets [first, first + pages), and gives back the index memory of whole empty pages of
 * it. How many there were. */
uint64_t zswap_invalidate_range(struct zswap *zswap, uint32_t type, uint64_t first, uint64_t pages);
uint64_t zswap_invalidate_area(struct zswap *zswap, uint32_t type);

/*
 * Starts writing back the oldest entries until `bytes` of pool payload are on their way or nothing more can be.
 * Does not wait for the device unless all write buffers are in flight. The bytes on their way; 0 if none
 * (no device, device full, nothing in the pool).
 */
size_t zswap_writeback(struct zswap *zswap, size_t bytes);

/*
 * Makes the pool smaller by about `bytes`, from the cheapest source that has them: pages it keeps in reserve;
 * compaction; the writes in flight; writing back the oldest. With `wait`, waits until no write is in flight, and
 * compacts what they leave; without, waits for the device no more than zswap_writeback. The bytes won or on their
 * way, 0 if nothing can be done.
 */
size_t zswap_shrink(struct zswap *zswap, size_t bytes, bool wait);

/* Completes finished writebacks; with `wait`, until none is in flight. */
void zswap_writeback_reap(struct zswap *zswap, bool wait);

/* Are writes under way? */
bool zswap_writeback_in_flight(struct zswap *zswap);

/* True if writeback is on, there is a device, and it is not known to be full. */
bool zswap_can_write_back(struct zswap *zswap);

/* From now on stores compress with `codec`; entries stored before stay readable. */
void zswap_set_codec(struct zswap *zswap, const struct codec *codec);
void zswap_set_max_pool_bytes(struct zswap *zswap, size_t bytes);
size_t zswap_max_pool_bytes(const struct zswap *zswap);

/* Bytes that the first writeback will charge at once. A budget should have them left by then. */
size_t zswap_set_aside(const struct zswap *zswap);

/* Gives back what writeback needs to work, if it has not worked since the last call, or is not going to (`for_certain`). Nothing
 * happens while it does. */
void zswap_rest(struct zswap *zswap, bool for_certain);

void zswap_get_stats(struct zswap *zswap, struct zswap_stats *stats);

/* The same but for what needs a lock, which is 0: device_bytes, shared_objects, deduplicated_bytes. No system call, in any
 * thread. */
void zswap_get_counts(struct zswap *zswap, struct zswap_stats *stats);

/* Gives back memory that the pool keeps in reserve, and that of index pages whose entries have left one by one; and
 * then compacts the pool. The last two a step of bounded length. Bytes. */
size_t zswap_trim(struct zswap *zswap);

/* Which of the pool's memory a fork has left to another process, too. */
struct inherited *zswap_inherited(struct zswap *zswap);

/* At a fork, with everything at rest: all of the pool's is shared from now on. */
void zswap_lend(struct zswap *zswap);

/* In a forked child whose options.member names the child by now, before anything else is done with the cache: parent and
 * child share the device from here on. The parent stands still until it is done, and the caller has made sure that at
 * the fork no verb was running (so no compaction, which runs inside stores, zswap_shrink and zswap_trim only) and no
 * writeback in flight. 0; as swap_map_fork_child, or what the device answers: then the cache cannot be used. */
int zswap_fork_child(struct zswap *zswap);

/* Frees device slots that only dead processes used. To be called now and then; cheap. */
void zswap_bury_dead(struct zswap *zswap);

/* Re-derives all counters and lists, with everything else standing still; prints each mismatch. */
bool zswap_consistent(struct zswap *zswap);

#endif
