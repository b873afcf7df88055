/* SPDX-License-Identifier: MIT */
/* Making and ending a cache, its areas, its counters and its check. The verbs are in store.c, load.c,
 * invalidate.c and writeback.c; who makes room stands in shrinker.c. */
#include "zswap/zswap.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "swap/record.h"
#include "zswap/dedup.h"

/* Objects are freed here once nobody holds them, from any verb (rule 2 of lifecycle.h). */
void release_object(void *zswap, uint64_t content)
{
    struct zswap *z = zswap;
    if (entry_is_reference(content)) {
        dedup_release(z, content);
    } else if (entry_kind(content) == ENTRY_POOL) {
        z->pool->ops->free(z->pool, entry_name(content));
    } else {
        swap_map_put(&z->map, entry_name(content));
    }
}

static bool options_are_good(const struct zswap_options *o)
{
    return o->memory && o->pool && o->codec.ops && o->swap_cache && o->max_pool_bytes &&
           o->accept_threshold_percent && o->accept_threshold_percent <= 100;
}

/* A pool of any limit takes this much at most of the 47 bits of addresses that a program has; every pool's handles
 * reach as far. */
#define POOL_ROOM_MAX ((size_t)7 << 38)

/* Address space for the pool: the limit may be raised later, and is overshot a little while writes are in flight. */
static size_t pool_room(size_t max_pool_bytes)
{
    return max_size(min_size(max_pool_bytes, POOL_ROOM_MAX / 4), (size_t)1 << 30) * 4;
}

static int create_parts(struct zswap *z, const struct zswap_options *o)
{
    z->counters = memory_map(z->memory, COUNTER_SHARDS * sizeof *z->counters, ACCOUNT_TABLES);
    if (!z->counters) {
        return -ENOMEM;
    }
    uint32_t holds = CONTEXTS_MAX + writeback_capacity() + 1;
    if (o->deduplicate) {
        holds += CONTEXTS_MAX + 1; /* of the shared objects behind references */
    }
    int error = lifecycle_init(&z->lifecycle, z->memory, holds, release_object, z);
    if (!error) {
        error = contexts_init(&z->contexts, z->memory, &o->codec);
    }
    if (!error) {
        error = o->pool->create(&z->pool, z->memory, pool_room(o->max_pool_bytes));
    }
    if (!error && o->deduplicate) {
        error = dedup_create(z);
    }
    if (!error && z->device) {
        error = swap_map_init(&z->map, z->memory, z->device->size, o->member);
        if (!error) {
            error = writeback_create(z);
        }
    }
    return error;
}

int zswap_create(struct zswap **zswap, const struct zswap_options *options)
{
    if (!options_are_good(options)) {
        return -EINVAL;
    }
    struct zswap *z = memory_map(options->memory, sizeof *z, ACCOUNT_TABLES);
    if (!z) {
        return -ENOMEM;
    }
    z->memory = options->memory;
    mutex_init(&z->compact_lock, LOCK_RANK_COMPACT);
    z->swap_cache = options->swap_cache;
    z->mode = options->device ? options->writeback : ZSWAP_WRITEBACK_OFF;
    z->device = z->mode == ZSWAP_WRITEBACK_OFF ? NULL : options->device;
    z->max_pool_bytes = options->max_pool_bytes;
    z->accept_threshold_percent = options->accept_threshold_percent;
    shrinker_init(&z->shrinker);
    int error = create_parts(z, options);
    if (error) {
        zswap_destroy(z);
        return error;
    }
    *zswap = z;
    return 0;
}

void zswap_destroy(struct zswap *z)
{
    if (z->writeback) {
        zswap_writeback_reap(z, true);
        writeback_destroy(z);
    }
    for (uint32_t type = 0; type < ZSWAP_TYPES_MAX; type++) {
        if (z->areas[type]) {
            zswap_area_destroy(z, type);
        }
    }
    if (z->pool) {
        z->pool->ops->destroy(z->pool);
    }
    if (z->device) {
        swap_map_destroy(&z->map);
    }
    dedup_destroy(z);
    contexts_destroy(&z->contexts);
    lifecycle_destroy(&z->lifecycle);
    memory_unmap(z->memory, z->counters, COUNTER_SHARDS * sizeof *z->counters, ACCOUNT_TABLES);
    memory_unmap(z->memory, z, sizeof *z, ACCOUNT_TABLES);
}

int zswap_area_create(struct zswap *z, uint32_t type, uint64_t pages)
{
    if (type >= ZSWAP_TYPES_MAX || z->areas[type]) {
        return -EINVAL;
    }
    struct area *area = memory_map(z->memory, sizeof *area, ACCOUNT_TABLES);
    if (!area) {
        return -ENOMEM;
    }
    int error = area_init(area, z->memory, pages);
    if (error) {
        memory_unmap(z->memory, area, sizeof *area, ACCOUNT_TABLES);
        return error;
    }
    /* Release: whoever sees the area sees it whole. */
    atomic_set_release(&z->areas[type], area);
    return 0;
}

void zswap_area_destroy(struct zswap *z, uint32_t type)
{
    struct area *area = type < ZSWAP_TYPES_MAX ? z->areas[type] : NULL;
    if (!area) {
        return;
    }
    writeback_forget_area(z, type);
    compact_forget_areas(z);
    dedup_forget_area(z, type);
    invalidate_in_area(z, area, 0, area->pages);
    area_destroy(area);
    memory_unmap(z->memory, area, sizeof *area, ACCOUNT_TABLES);
}

void zswap_set_codec(struct zswap *z, const struct codec *codec)
{
    contexts_set_codec(&z->contexts, codec);
}

void zswap_set_max_pool_bytes(struct zswap *z, size_t bytes)
{
    atomic_set_relaxed(&z->max_pool_bytes, bytes);
}

size_t zswap_max_pool_bytes(const struct zswap *z)
{
    return atomic_read_relaxed(&z->max_pool_bytes);
}

struct inherited *zswap_inherited(struct zswap *z)
{
    return z->pool->ops->inherited(z->pool);
}

void zswap_lend(struct zswap *z)
{
    z->pool->ops->lend(z->pool);
}

int zswap_fork_child(struct zswap *z)
{
    int error = z->device ? swap_map_fork_child(&z->map, z->memory->account) : 0;
    if (!error && z->device) {
        error = z->device->ops->fork_child(z->device);
    }
    return error;
}

void zswap_bury_dead(struct zswap *z)
{
    if (z->device) {
        swap_map_bury_dead(&z->map);
    }
}

uint64_t counter_sum(const struct zswap *z, enum counter counter)
{
    int64_t sum = 0;
    for (size_t i = 0; i < COUNTER_SHARDS; i++) {
        sum += atomic_read_relaxed(&z->counters[i].value[counter]);
    }
    return sum > 0 ? (uint64_t)sum : 0;
}

static void count_word(struct zswap *z, uint64_t word, int64_t sign)
{
    switch (entry_kind(word)) {
    case ENTRY_EMPTY:
        break;
    case ENTRY_POOL:
        counter_add(z, COUNTER_STORED, sign);
        if (unlikely(entry_is_reference(word))) {
            counter_add(z, COUNTER_DEDUPLICATED, sign);
            break;
        }
        counter_add(z, COUNTER_PAYLOAD, sign * (int64_t)entry_bytes(word));
        if (entry_bytes(word) == PAGE_BYTES) {
            counter_add(z, COUNTER_INCOMPRESSIBLE, sign);
        }
        break;
    case ENTRY_DEVICE:
        counter_add(z, COUNTER_ON_DEVICE, sign);
        break;
    case ENTRY_FILLED:
        counter_add(z, COUNTER_STORED, sign);
        counter_add(z, COUNTER_SAME_FILLED, sign);
        break;
    }
}

void count_change(struct zswap *z, uint64_t old, uint64_t next)
{
    count_word(z, old, -1);
    count_word(z, next, 1);
}

size_t device_slots(uint64_t word, enum zswap_writeback mode)
{
    if (mode == ZSWAP_WRITEBACK_PAGE) {
        return PAGE_BYTES / SLOT_BYTES;
    }
    return record_slots(entry_bytes(word));
}

void zswap_get_counts(struct zswap *z, struct zswap_stats *stats)
{
    *stats = (struct zswap_stats){
        .stored_pages = counter_sum(z, COUNTER_STORED),
        .same_filled_pages = counter_sum(z, COUNTER_SAME_FILLED),
        .stored_incompressible_pages = counter_sum(z, COUNTER_INCOMPRESSIBLE),
        .pool_total_size = z->pool->ops->total_size(z->pool),
        .pool_payload = counter_sum(z, COUNTER_PAYLOAD),
        .device_pages = counter_sum(z, COUNTER_ON_DEVICE),
        .written_back_pages = counter_sum(z, COUNTER_WRITTEN_BACK),
        .written_back_bytes = counter_sum(z, COUNTER_WRITTEN_BACK_BYTES),
        .duplicate_entry = counter_sum(z, COUNTER_DUPLICATE),
        .pool_limit_hit = counter_sum(z, COUNTER_LIMIT_HIT),
        .stores = counter_sum(z, COUNTER_STORES),
        .loads = counter_sum(z, COUNTER_LOADS),
        .device_loads = counter_sum(z, COUNTER_DEVICE_LOADS),
        .invalidates = counter_sum(z, COUNTER_INVALIDATES),
        .reject_reclaim_fail = counter_sum(z, COUNTER_REJECT_RECLAIM),
        .reject_alloc_fail = counter_sum(z, COUNTER_REJECT_ALLOC),
        .reject_kmemcache_fail = counter_sum(z, COUNTER_REJECT_INDEX),
        .reject_compress_fail = counter_sum(z, COUNTER_REJECT_COMPRESS),
        .reject_compress_poor = counter_sum(z, COUNTER_REJECT_POOR),
        .decompress_fail = counter_sum(z, COUNTER_DECOMPRESS_FAIL),
        .device_read_fail = counter_sum(z, COUNTER_READ_FAIL),
        .device_write_fail = counter_sum(z, COUNTER_WRITE_FAIL),
        .device_full = counter_sum(z, COUNTER_DEVICE_FULL),
        .writeback_batches = counter_sum(z, COUNTER_WRITEBACK_BATCHES),
        .writeback_peers = counter_sum(z, COUNTER_WRITEBACK_PEERS),
        .second_chances = counter_sum(z, COUNTER_SECOND_CHANCES),
        .shrink_rounds = counter_sum(z, COUNTER_SHRINK_ROUNDS),
        .shrink_steps = counter_sum(z, COUNTER_SHRINK_STEPS),
        .shrink_step_bytes = shrinker_step(z),
        .compactions = counter_sum(z, COUNTER_COMPACTIONS),
        .compactions_vain = counter_sum(z, COUNTER_COMPACTIONS_VAIN),
        .pages_compacted = counter_sum(z, COUNTER_PAGES_COMPACTED),
        .objects_moved = counter_sum(z, COUNTER_OBJECTS_MOVED),
        .deduplicated_pages = counter_sum(z, COUNTER_DEDUPLICATED),
        .dedup_collisions = counter_sum(z, COUNTER_COLLISIONS),
    };
}

void zswap_get_stats(struct zswap *z, struct zswap_stats *stats)
{
    zswap_get_counts(z, stats);
    stats->device_bytes = z->device ? swap_map_used(&z->map) * SLOT_BYTES : 0;
    if (z->dedup) {
        dedup_stats(z, stats);
    }
}

static bool equal(const char *what, uint64_t counted, uint64_t found)
{
    if (counted != found) {
        fprintf(stderr, "zswap: %s: counted %llu, found %llu\n", what, (unsigned long long)counted,
                (unsigned long long)found);
    }
    return counted == found;
}

/* What the words of all areas say. */
struct survey {
    uint64_t stored, same_filled, incompressible, payload, on_device, slots, held;
    struct dedup_survey dedup;
};

static void survey_area(struct zswap *z, struct area *area, struct survey *s)
{
    for (uint64_t i = 0; (i = sparse_next_committed(&area->words, i)) < area->pages; i++) {
        uint64_t word = atomic_read_relaxed(area_word(area, i));
        enum entry_kind kind = entry_kind(word);
        s->stored += kind == ENTRY_POOL || kind == ENTRY_FILLED;
        s->same_filled += kind == ENTRY_FILLED;
        if (entry_is_reference(word)) {
            dedup_survey_reference(z, word, &s->dedup);
        } else if (kind == ENTRY_POOL) {
            s->payload += entry_bytes(word);
            s->incompressible += entry_bytes(word) == PAGE_BYTES;
        }
        s->on_device += kind == ENTRY_DEVICE;
        s->slots += kind == ENTRY_DEVICE ? device_slots(word, z->mode) : 0;
        s->held += entry_is_object(word) && (entry_holders(word) || word & ENTRY_WB);
    }
}

bool zswap_consistent(struct zswap *z)
{
    struct survey s = {0};
    bool good = true;
    if (z->dedup) {
        dedup_survey_begin(z, &s.dedup);
    }
    for (uint32_t type = 0; type < ZSWAP_TYPES_MAX; type++) {
        if (z->areas[type]) {
            survey_area(z, z->areas[type], &s);
            good &= area_consistent(z->areas[type]);
        }
    }
    if (z->dedup) {
        good &= dedup_survey_end(z, &s.dedup);
        s.payload += s.dedup.object_bytes;
        s.incompressible += s.dedup.incompressible;
    }
    good &= equal("stored_pages", counter_sum(z, COUNTER_STORED), s.stored);
    good &= equal("same_filled_pages", counter_sum(z, COUNTER_SAME_FILLED), s.same_filled);
    good &= equal("stored_incompressible_pages", counter_sum(z, COUNTER_INCOMPRESSIBLE), s.incompressible);
    good &= equal("pool payload", counter_sum(z, COUNTER_PAYLOAD), s.payload);
    good &= equal("pages on the device", counter_sum(z, COUNTER_ON_DEVICE), s.on_device);
    good &= equal("held entries", 0, s.held);
    good &= equal("orphans", 0, lifecycle_orphans(&z->lifecycle));
    good &= z->pool->ops->consistent(z->pool);
    if (z->device) {
        good &= equal("device slots", swap_map_used_here(&z->map), s.slots);
        good &= swap_map_consistent(&z->map);
    }
    return good;
}
