/* SPDX-License-Identifier: MIT */
#include "zswap/cache.h"

#include <errno.h>
#include <string.h>

#define ACCEPT_THRESHOLD_PERCENT 90

/* Slots of the swap cache: for the pages that may wait (a share of the budget, but not fewer than this), and for
 * those that are being written back or faulted in. */
#define PAGES_PER_SLOT 4
#define SLOTS_LEAST 4096
#define SLOTS_IN_FLIGHT 1024

/* Joins the texts, ended by NULL. No stdio: this runs in threads that libc does not know. */
static void explain(struct cache_error *error, const char *const texts[])
{
    size_t used = 0;
    for (size_t i = 0; texts[i]; i++) {
        size_t n = min_size(strlen(texts[i]), sizeof error->text - 1 - used);
        memcpy(error->text + used, texts[i], n);
        used += n;
    }
    error->text[used] = 0;
}

#define EXPLAIN(error, ...) explain(error, (const char *const[]){__VA_ARGS__, NULL})

static int open_device(struct cache *cache, const struct cache_settings *s, struct cache_error *error)
{
    struct swap_open_error why = {0};
    if (s->writeback == ZSWAP_WRITEBACK_OFF) {
        return 0;
    }
    if (s->swap_size < SWAP_SIZE_LEAST || s->swap_size > SWAP_SIZE_MOST) {
        EXPLAIN(error, "swap_size: 1M is the least, and 256T the most");
        return -EINVAL;
    }
    int result = swap_device_open(&cache->device, s->swap, s->swap_size, s->memory, &why);
    if (result) {
        EXPLAIN(error, "swap device ", s->swap, ": ", why.text);
    }
    return result;
}

static size_t pool_limit(const struct cache *cache, const struct cache_settings *s)
{
    unsigned percent = s->max_pool_percent ? s->max_pool_percent
                       : cache->device     ? CACHE_POOL_PERCENT_WITH_DEVICE
                                           : CACHE_POOL_PERCENT_WITHOUT;
    return (size_t)s->memory->account->most / 100 * percent;
}

static int zswap_settings(const struct cache *cache, const struct cache_settings *s,
                          struct zswap_options *options, struct cache_error *error)
{
    *options = (struct zswap_options){
        .memory = s->memory,
        .pool = pool_by_name(s->pool),
        .max_pool_bytes = pool_limit(cache, s),
        .accept_threshold_percent = ACCEPT_THRESHOLD_PERCENT,
        .writeback = s->writeback,
        .device = cache->device,
        .swap_cache = cache->swap_cache,
        .deduplicate = s->deduplicate,
        .member = s->member,
    };
    if (!options->pool) {
        EXPLAIN(error, "pool ", s->pool, ": no such pool; there are: ", pool_list());
        return -EINVAL;
    }
    if (codec_parse(s->compressor, &options->codec)) {
        EXPLAIN(error, "compressor ", s->compressor,
                ": no such compressor or level; there are: ", codec_list());
        return -EINVAL;
    }
    return 0;
}

int cache_open(struct cache *cache, const struct cache_settings *s, struct cache_error *error)
{
    struct zswap_options options;
    *cache = (struct cache){0};
    EXPLAIN(error, "no address space for the cache's tables; is it limited (ulimit -v, ulimit -d)?");
    size_t pages = (size_t)s->memory->account->most / PAGE_BYTES;
    size_t slots = max_size(pages / PAGES_PER_SLOT, SLOTS_LEAST) + SLOTS_IN_FLIGHT;
    int result = open_device(cache, s, error);
    if (!result) {
        result = swap_cache_create(&cache->swap_cache, s->memory, slots);
    }
    if (!result) {
        result = zswap_settings(cache, s, &options, error);
    }
    if (!result) {
        result = zswap_create(&cache->zswap, &options);
    }
    if (result) {
        cache_close(cache);
    }
    return result;
}

void cache_close(struct cache *cache)
{
    if (cache->zswap) {
        zswap_destroy(cache->zswap);
    }
    if (cache->swap_cache) {
        swap_cache_destroy(cache->swap_cache);
    }
    if (cache->device) {
        cache->device->ops->close(cache->device);
    }
    *cache = (struct cache){0};
}
