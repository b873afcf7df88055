/* SPDX-License-Identifier: MIT */
/* The public interface (include/uzswap.h) over cache and regions: names, defaults, and the structures it hands out. */
#include <errno.h>
#include <string.h>

#include "region/region.h"
#include "uzswap.h"
#include "zswap/cache.h"

#define MEMORY_MIN ((size_t)8 << 20)
/* How often a store that finds no room waits for some, and for how much. */
#define STORE_TRIES 8
#define STORE_ROOM_BYTES (256 << 10)
#define SWAP_SIZE_DEFAULT ((uint64_t)64 << 30)

struct uzswap {
    struct account account;
    struct memory memory;
    struct cache cache;
};

_Static_assert(sizeof(struct uzswap_error) == sizeof(struct cache_error), "one is copied into the other");
_Static_assert(UZSWAP_TYPES == ZSWAP_TYPES_MAX && UZSWAP_PAGE_BYTES == PAGE_BYTES,
               "the header says the same");

static struct cache_settings settings_of(struct uzswap *u, const struct uzswap_options *o)
{
    static const enum zswap_writeback modes[] = {
        [UZSWAP_WRITEBACK_COMPRESSED] = ZSWAP_WRITEBACK_COMPRESSED,
        [UZSWAP_WRITEBACK_PAGE] = ZSWAP_WRITEBACK_PAGE,
        [UZSWAP_WRITEBACK_OFF] = ZSWAP_WRITEBACK_OFF,
    };
    return (struct cache_settings){
        .memory = &u->memory,
        .pool = o->pool ? o->pool : "zsmalloc",
        .compressor = o->compressor ? o->compressor : "lz4",
        .swap = o->swap ? o->swap : "file:",
        .swap_size = o->swap_size ? o->swap_size : SWAP_SIZE_DEFAULT,
        .writeback = modes[o->writeback],
        .max_pool_percent = o->max_pool_percent,
        .deduplicate = o->deduplicate,
    };
}

static bool options_are_good(const struct uzswap_options *o)
{
    return o && o->memory >= MEMORY_MIN && o->memory <= INT64_MAX && o->writeback <= UZSWAP_WRITEBACK_OFF &&
           o->max_pool_percent <= 100;
}

static void say(struct uzswap_error *error, const char *text)
{
    if (error) {
        memcpy(error->text, text, min_size(strlen(text) + 1, sizeof error->text));
        error->text[sizeof error->text - 1] = 0;
    }
}

int uzswap_create(struct uzswap **cache, const struct uzswap_options *options, struct uzswap_error *error)
{
    if (!cache || !options_are_good(options)) {
        say(error, "options: memory must be 8 MiB or more, writeback one of its names, max_pool_percent 100 "
                   "at most");
        return -EINVAL;
    }
    struct account own = {0}; /* the structure that holds the budget is not charged to it */
    struct memory memory = {.account = &own};
    struct uzswap *u = memory_map(&memory, sizeof *u, ACCOUNT_TABLES);
    if (!u) {
        say(error, "no memory for the cache");
        return -ENOMEM;
    }
    account_set_limit(&u->account, options->memory);
    u->memory.account = &u->account;
    struct cache_settings settings = settings_of(u, options);
    struct cache_error why;
    int result = cache_open(&u->cache, &settings, &why);
    if (result) {
        say(error, why.text);
        memory_unmap(&memory, u, sizeof *u, ACCOUNT_TABLES);
        return result;
    }
    *cache = u;
    return 0;
}

void uzswap_destroy(struct uzswap *u)
{
    if (!u) {
        return;
    }
    cache_close(&u->cache);
    struct account own = {0};
    struct memory memory = {.account = &own};
    memory_unmap(&memory, u, sizeof *u, ACCOUNT_TABLES);
}

static struct swap_entry entry_of(uint32_t type, uint64_t offset)
{
    return (struct swap_entry){.type = type, .offset = offset};
}

int uzswap_area_create(struct uzswap *u, uint32_t type, uint64_t pages)
{
    return zswap_area_create(u->cache.zswap, type, pages);
}

int uzswap_store(struct uzswap *u, uint32_t type, uint64_t offset, const void *page)
{
    int error = zswap_store(u->cache.zswap, entry_of(type, offset), page);
    /* No room, and perhaps only because the writes that make some are under way: then it is worth waiting for them. */
    for (int tries = 0; error == -ENOSPC && tries < STORE_TRIES && zswap_can_write_back(u->cache.zswap);
         tries++) {
        zswap_shrink(u->cache.zswap, STORE_ROOM_BYTES, true);
        error = zswap_store(u->cache.zswap, entry_of(type, offset), page);
    }
    return error;
}

int uzswap_load(struct uzswap *u, uint32_t type, uint64_t offset, void *page)
{
    return zswap_load(u->cache.zswap, entry_of(type, offset), page);
}

int uzswap_load_exclusive(struct uzswap *u, uint32_t type, uint64_t offset, void *page)
{
    return zswap_load_exclusive(u->cache.zswap, entry_of(type, offset), page);
}

int uzswap_invalidate_page(struct uzswap *u, uint32_t type, uint64_t offset)
{
    return zswap_invalidate(u->cache.zswap, entry_of(type, offset)) ? 0 : -ENOENT;
}

int uzswap_invalidate_area(struct uzswap *u, uint32_t type)
{
    zswap_invalidate_area(u->cache.zswap, type);
    return 0;
}

int uzswap_writeback(struct uzswap *u, size_t bytes, size_t *written)
{
    size_t done = 0;
    while (done < bytes) {
        size_t started = zswap_writeback(u->cache.zswap, bytes - done);
        zswap_writeback_reap(u->cache.zswap, true);
        if (!started) {
            break;
        }
        done += started;
    }
    if (written) {
        *written = done;
    }
    return 0;
}

int uzswap_set_compressor(struct uzswap *u, const char *compressor)
{
    struct codec codec;
    int error = codec_parse(compressor, &codec);
    if (error) {
        return -EINVAL;
    }
    zswap_set_codec(u->cache.zswap, &codec);
    return 0;
}

void uzswap_stat(struct uzswap *u, struct uzswap_stat *stat)
{
    struct zswap_stats z;
    zswap_get_stats(u->cache.zswap, &z);
    *stat = (struct uzswap_stat){
        .memory_limit = (uint64_t)u->account.limit,
        .memory_used = account_total(&u->account),
        .memory_peak = (uint64_t)atomic_read_relaxed(&u->account.peak),
        .resident_bytes = account_bytes(&u->account, ACCOUNT_RESIDENT),
        .swap_cache_bytes = account_bytes(&u->account, ACCOUNT_SWAP_CACHE),
        .pool_total_size = z.pool_total_size,
        .tables_bytes = account_bytes(&u->account, ACCOUNT_TABLES),
        .stored_pages = z.stored_pages,
        .same_filled_pages = z.same_filled_pages,
        .stored_incompressible_pages = z.stored_incompressible_pages,
        .pool_payload = z.pool_payload,
        .device_pages = z.device_pages,
        .device_bytes = z.device_bytes,
        .written_back_pages = z.written_back_pages,
        .duplicate_entry = z.duplicate_entry,
        .pool_limit_hit = z.pool_limit_hit,
        .reject_reclaim_fail = z.reject_reclaim_fail,
        .reject_alloc_fail = z.reject_alloc_fail,
        .reject_kmemcache_fail = z.reject_kmemcache_fail,
        .reject_compress_fail = z.reject_compress_fail,
        .reject_compress_poor = z.reject_compress_poor,
        .decompress_fail = z.decompress_fail,
        .deduplicated_pages = z.deduplicated_pages,
        .shared_objects = z.shared_objects,
        .deduplicated_bytes = z.deduplicated_bytes,
        .dedup_collisions = z.dedup_collisions,
        .written_back_bytes = z.written_back_bytes,
        .writeback_batches = z.writeback_batches,
        .writeback_peers = z.writeback_peers,
        .second_chances = z.second_chances,
        .shrink_rounds = z.shrink_rounds,
        .shrink_steps = z.shrink_steps,
        .shrink_step_bytes = z.shrink_step_bytes,
        .compactions = z.compactions,
        .compactions_vain = z.compactions_vain,
        .pages_compacted = z.pages_compacted,
        .objects_moved = z.objects_moved,
    };
}

/* A public region is the internal one under its public name. */
static struct region *internal(const struct uzswap_region *region)
{
    return (struct region *)region;
}

int uzswap_region_create(struct uzswap_region **region, struct uzswap *u, uint32_t type, size_t bytes,
                         enum uzswap_fault_mode mode)
{
    if (!region || !u || mode > UZSWAP_FAULT_SIGBUS) {
        return -EINVAL;
    }
    struct region_options options = {
        .bytes = bytes,
        .zswap = u->cache.zswap,
        .swap_cache = u->cache.swap_cache,
        .type = type,
        .memory = &u->memory,
        .threads = &thread_ops_pthread,
        .fault_mode = mode == UZSWAP_FAULT_SIGBUS ? REGION_FAULT_SIGBUS : REGION_FAULT_HANDLER,
    };
    struct region *created;
    int error = region_create(&created, &options);
    if (!error) {
        *region = (struct uzswap_region *)created;
    }
    return error;
}

void *uzswap_region_base(const struct uzswap_region *region)
{
    return region_base(internal(region));
}

int uzswap_region_advise(struct uzswap_region *region, void *at, size_t bytes, enum uzswap_advice advice)
{
    switch (advice) {
    case UZSWAP_DONTNEED:
        return region_discard(internal(region), at, bytes);
    case UZSWAP_PAGEOUT:
        return region_pageout(internal(region), at, bytes);
    case UZSWAP_WILLNEED:
        return region_willneed(internal(region), at, bytes);
    }
    return -EINVAL;
}

void uzswap_region_stat(struct uzswap_region *region, struct uzswap_region_stat *stat)
{
    struct region_stats r;
    region_get_stats(internal(region), &r);
    *stat = (struct uzswap_region_stat){
        .faults = r.faults,
        .refaults = r.refaults,
        .zero_fills = r.zero_fills,
        .pool_loads = r.pool_loads,
        .device_loads = r.device_loads,
        .evicted_pages = r.evicted_pages,
        .poisoned_pages = r.poisoned_pages,
        .over_budget_bytes = r.over_budget_bytes,
    };
}

int uzswap_region_fault(struct uzswap_region *region, void *address)
{
    return region_serve_fault(internal(region), address);
}

void uzswap_region_destroy(struct uzswap_region *region)
{
    if (region) {
        region_destroy(internal(region));
    }
}
