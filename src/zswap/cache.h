/* SPDX-License-Identifier: MIT */
/*
 * A cache with all its parts, from settings as people write them: device, swap cache, zswap. Both front ends, the
 * library's public interface and the preload library, build theirs here.
 */
#ifndef UZSWAP_ZSWAP_CACHE_H
#define UZSWAP_ZSWAP_CACHE_H

#include "zswap/zswap.h"

struct cache_settings {
    struct memory *memory;           /* outlives the cache; its account has the budget as its limit */
    const char *pool;                /* "zsmalloc" */
    const char *compressor;          /* "lz4", "zstd:3" */
    const char *swap;                /* URI of the device; "none" */
    uint64_t swap_size;              /* bytes the device may take */
    enum zswap_writeback writeback;  /* no device is opened if it is OFF */
    unsigned max_pool_percent;       /* of the budget; 0 = by CACHE_POOL_PERCENT_* */
    bool deduplicate;                /* entries of equal pages share one object */
    const struct membership *member; /* as in zswap.h */
};

/* The pool's share of the budget, where resident pages share it: with a device to write back to, more for them. */
#define CACHE_POOL_PERCENT_WITH_DEVICE 50
#define CACHE_POOL_PERCENT_WITHOUT 80

/* Bytes. An entry's word names 2^39 slots of the device. */
#define SWAP_SIZE_LEAST ((uint64_t)1 << 20)
#define SWAP_SIZE_MOST ((uint64_t)1 << 48)

struct cache {
    struct swap_device *device; /* NULL = none */
    struct swap_cache *swap_cache;
    struct zswap *zswap;
};

/* For a person: names the setting, the cause and the way out. */
struct cache_error {
    char text[320];
};

/* 0; -EINVAL (a setting is wrong), -ENOMEM, or what opening the device answered; with error->text set. */
int cache_open(struct cache *cache, const struct cache_settings *settings, struct cache_error *error);

/* Nobody uses the cache any more. */
void cache_close(struct cache *cache);

#endif
