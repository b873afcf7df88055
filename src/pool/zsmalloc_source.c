/* SPDX-License-Identifier: MIT */
/*
 * Where zsmalloc's chains come from: one reserved range of addresses, 16 pages for each chain, of which the chain
 * has memory for its first few only.
 *
 *                   take                      give                     begin_release
 *   (never used) ---------> a class has it ---------> in reserve ------------------> being released
 *   free ----------------->    ^       |                  |                                |
 *     ^                        +-------|------------------+                                |
 *     |                          take  | give, if it has no memory           end_release   |
 *     +--------------------------------+---------------------------------------------------+
 *
 * All chains are of one length as far as addresses go, so any class can have any of them, and nothing is lost to
 * fragmentation; addresses cost nothing. Two kinds are kept apart. Chains of raw pages, so that their numbers are
 * neighbours: their owners lie in a table by number, which would be full of holes otherwise. And those of small slots,
 * which are all 16 pages long, so that they fill huge pages (zsmalloc_huge.c).
 *
 * The reserve and its rules are page_source's (see the head of page_source.h): empty chains gather in it; when it
 * overflows, its longest run of neighbours goes back to the kernel in one call, gaps included.
 *
 * The limit is in pages that hold memory, and counts those in reserve. Who meets it trims the reserve and tries again.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/sys.h"
#include "pool/zsmalloc.h"

static size_t range_bytes(const struct zs_source *source)
{
    return round_up((size_t)zs_numbers_end(source) * ZS_CHAIN_BYTES, ZS_BLOCK_BYTES);
}

int zs_source_init(struct zs *z, uint64_t pages_max, const uint64_t chains[ZS_KINDS])
{
    uint64_t numbers = chains[ZS_PACKED] + chains[ZS_RAW] + ZS_BLOCK_CHAINS + chains[ZS_SMALL];
    if (!pages_max || pages_max > UINT32_MAX || numbers > ZS_CHAINS_MAX) {
        return -EINVAL;
    }
    struct zs_source *source = &z->source;
    source->pages_max = (uint32_t)pages_max;
    source->reserve_max = (uint32_t)max_size(min_size(pages_max / ZS_CHAIN_PAGES / 64, ZS_RESERVE_MAX), 1);
    mutex_init(&source->lock, LOCK_RANK_POOL);
    mutex_init(&source->huge_lock, LOCK_RANK_POOL);
    uint32_t first = 1;
    for (int kind = 0; kind < ZS_KINDS; kind++) {
        first = kind == ZS_SMALL ? (uint32_t)round_up(first, ZS_BLOCK_CHAINS) : first;
        source->ranges[kind] = (struct zs_range){.first = first, .total = (uint32_t)chains[kind]};
        first += source->ranges[kind].total;
    }
    source->base = memory_reserve(z->memory, range_bytes(source));
    int error = source->base
                    ? inherited_init(&source->inherited, z->memory, source->base, range_bytes(source))
                    : -ENOMEM;
    for (int kind = 0; kind < ZS_KINDS && !error; kind++) {
        error = page_set_init(&source->ranges[kind].free, z->memory, source->ranges[kind].total);
    }
    if (error) {
        zs_source_destroy(z);
    }
    return error;
}

void zs_source_destroy(struct zs *z)
{
    struct zs_source *source = &z->source;
    account_uncharge(z->memory->account, ACCOUNT_POOL, (size_t)source->held << PAGE_SHIFT);
    inherited_destroy(&source->inherited);
    memory_unreserve(z->memory, source->base, range_bytes(source));
    for (int kind = 0; kind < ZS_KINDS; kind++) {
        page_set_destroy(&source->ranges[kind].free);
    }
}

/* The lowest chain of the kind that is in reserve; 0 if there is none. */
static uint32_t take_from_reserve(struct zs_source *source, enum zs_kind kind)
{
    mutex_assert_held(&source->lock);
    for (uint32_t i = source->reserve_count; i-- > 0;) {
        uint32_t chain = source->reserve[i];
        if (zs_kind(source, chain) == kind) {
            source->reserve_count--;
            memmove(&source->reserve[i], &source->reserve[i + 1],
                    (source->reserve_count - i) * sizeof source->reserve[0]);
            return chain;
        }
    }
    return 0;
}

uint32_t zs_source_take(struct zs *z, enum zs_kind kind)
{
    struct zs_source *source = &z->source;
    struct zs_range *range = &source->ranges[kind];
    SCOPED_LOCK(&source->lock);
    uint32_t chain = take_from_reserve(source, kind);
    if (chain) {
        return chain;
    }
    uint32_t number = page_set_lowest(&range->free);
    bool fresh = !number;
    if (fresh) {
        number = range->high_water + 1;
        if (number > range->total || !page_set_prepare(&range->free, number)) {
            return 0;
        }
    }
    chain = range->first + number - 1;
    if (!sparse_get_for_write(&z->chains, chain) || (kind == ZS_SMALL && !zs_huge_prepare(z, chain))) {
        return 0;
    }
    if (fresh) {
        range->high_water = number;
    } else {
        page_set_remove(&range->free, number);
    }
    return chain;
}

/* Counts `pages` more as held. Relaxed: a figure, nothing is reached through it. */
static bool count_held(struct zs_source *source, unsigned pages)
{
    uint32_t held = atomic_read_relaxed(&source->held);
    do {
        if (held + pages > source->pages_max) {
            return false;
        }
    } while (!atomic_cas_relaxed(&source->held, &held, held + pages));
    return true;
}

bool zs_source_grow(struct zs *z, uint32_t chain, unsigned pages)
{
    struct zs_chain *record = zs_chain(z, chain);
    if (pages <= record->pages) {
        return true;
    }
    unsigned more = pages - record->pages;
    if (!count_held(&z->source, more)) {
        return false;
    }
    if (!memory_commit(z->memory, (size_t)more << PAGE_SHIFT, ACCOUNT_POOL)) {
        atomic_sub_relaxed(&z->source.held, more);
        return false;
    }
    inherited_fresh(&z->source.inherited, zs_chain_address(z, chain) + ((size_t)record->pages << PAGE_SHIFT),
                    (size_t)more << PAGE_SHIFT);
    record->pages = (uint8_t)pages;
    if (pages == ZS_CHAIN_PAGES && zs_kind(&z->source, chain) == ZS_SMALL) {
        zs_huge_chain_full(z, chain);
    }
    return true;
}

size_t zs_source_shrink(struct zs *z, uint32_t chain, unsigned pages)
{
    struct zs_chain *record = zs_chain(z, chain);
    unsigned less = record->pages - pages;
    size_t bytes = (size_t)less << PAGE_SHIFT;
    if (zs_kind(&z->source, chain) == ZS_SMALL) {
        zs_huge_break(z, chain, 1);
    }
    char *end = zs_chain_address(z, chain) + ((size_t)pages << PAGE_SHIFT);
    inherited_end(&z->source.inherited, end, bytes);
    memory_release(z->memory, end, bytes, ACCOUNT_POOL);
    record->pages = (uint8_t)pages;
    atomic_sub_relaxed(&z->source.held, less);
    return bytes;
}

/* Takes the longest run out of the reserve, so much of it that `keep` chains stay there. */
static struct zs_run begin_release(struct zs *z, uint32_t keep)
{
    struct zs_source *source = &z->source;
    mutex_assert_held(&source->lock);
    uint32_t *reserve = source->reserve, count = source->reserve_count;
    if (count <= keep) {
        return (struct zs_run){0};
    }
    uint32_t best = 0, length = 0; /* index of the run's highest chain, and how many there are */
    for (uint32_t from = 0, to; from < count; from = to) {
        for (to = from + 1; to < count && reserve[to] + 1 == reserve[to - 1] &&
                            zs_kind(source, reserve[to]) == zs_kind(source, reserve[from]);
             to++) {
        }
        if (to - from > length) {
            best = from;
            length = to - from;
        }
    }
    length = (uint32_t)min_size(length, count - keep);
    struct zs_run run = {.first = reserve[best + length - 1], .chains = length};
    for (uint32_t i = 0; i < length; i++) {
        run.pages += zs_chain(z, run.first + i)->pages;
    }
    for (uint32_t i = best + length; i < count; i++) {
        reserve[i - length] = reserve[i];
    }
    source->reserve_count -= length;
    source->releasing += length;
    return run;
}

void zs_source_lend(struct zs *z)
{
    struct zs_source *source = &z->source;
    struct inherited_extent used[ZS_KINDS];
    _Static_assert(ZS_KINDS <= INHERITED_EXTENTS, "an extent a kind");
    for (int kind = 0; kind < ZS_KINDS; kind++) {
        const struct zs_range *range = &source->ranges[kind];
        used[kind].base = zs_chain_address(z, range->first);
        used[kind].bytes = (size_t)range->high_water * ZS_CHAIN_BYTES;
    }
    inherited_begin(&source->inherited, used, ZS_KINDS);
}

bool zs_source_has(const struct zs *z, uint32_t chain)
{
    mutex_assert_held(&z->source.lock);
    const struct zs_range *range = &z->source.ranges[zs_kind(&z->source, chain)];
    return chain && zs_number_in(range, chain) <= range->high_water;
}

bool zs_source_is_free(const struct zs *z, uint32_t chain)
{
    const struct zs_range *range = &z->source.ranges[zs_kind(&z->source, chain)];
    return zs_source_has(z, chain) && page_set_has(&range->free, zs_number_in(range, chain));
}

/* Gives the kernel those pages of a table that are of free chains only, the run's among them; `base` is the chain
 * of the table's slot 0. Under the lock, so that nobody takes one of them meanwhile: a call for megabytes of the
 * pool. */
static void release_records(struct zs *z, struct sparse *table, uint32_t base, struct zs_run run)
{
    uint32_t step = (uint32_t)sparse_slots_per_page(table);
    uint32_t end = run.first + run.chains - base;
    for (uint32_t first = (run.first - base) / step * step; first < end; first += step) {
        bool in_use = !sparse_is_committed(table, first);
        for (uint32_t i = first; i < first + step && !in_use; i++) {
            in_use = zs_source_has(z, base + i) && !zs_source_is_free(z, base + i);
        }
        if (!in_use) {
            sparse_release_page(table, first);
        }
    }
}

static void add_free(struct zs_source *source, uint32_t chain)
{
    mutex_assert_held(&source->lock);
    struct zs_range *range = &source->ranges[zs_kind(source, chain)];
    page_set_add(&range->free, zs_number_in(range, chain));
}

/* Nobody can have the chains of the run meanwhile. */
static size_t release(struct zs *z, struct zs_run run)
{
    struct zs_source *source = &z->source;
    if (!run.chains) {
        return 0;
    }
    size_t bytes = (size_t)run.pages << PAGE_SHIFT;
    if (zs_kind(source, run.first) == ZS_SMALL) {
        zs_huge_break(z, run.first, run.chains);
    }
    for (uint32_t i = 0; i < run.chains; i++) {
        inherited_end(&source->inherited, zs_chain_address(z, run.first + i),
                      (size_t)zs_chain(z, run.first + i)->pages << PAGE_SHIFT);
    }
    sys_madvise(zs_chain_address(z, run.first), (size_t)run.chains * ZS_CHAIN_BYTES, MADV_DONTNEED);
    account_uncharge(z->memory->account, ACCOUNT_POOL, bytes);
    atomic_sub_relaxed(&source->held, run.pages);
    SCOPED_LOCK(&source->lock);
    for (uint32_t i = 0; i < run.chains; i++) {
        zs_chain(z, run.first + i)->pages = 0;
        add_free(source, run.first + i);
    }
    source->releasing -= run.chains;
    release_records(z, &z->chains, 0, run);
    if (zs_kind(source, run.first) == ZS_RAW) {
        release_records(z, &z->raw_owners, source->ranges[ZS_RAW].first, run);
    }
    return bytes;
}

size_t zs_source_give(struct zs *z, uint32_t chain)
{
    struct zs_source *source = &z->source;
    struct zs_run run = {0};
    mutex_lock(&source->lock);
    if (zs_chain(z, chain)->pages) {
        uint32_t i = source->reserve_count++;
        for (; i > 0 && source->reserve[i - 1] < chain; i--) {
            source->reserve[i] = source->reserve[i - 1];
        }
        source->reserve[i] = chain;
        if (source->reserve_count > source->reserve_max) {
            run = begin_release(z, source->reserve_max / 4);
        }
    } else {
        add_free(source, chain);
    }
    mutex_unlock(&source->lock);
    return release(z, run);
}

size_t zs_source_trim(struct zs *z)
{
    size_t bytes = 0;
    /* No more runs than a full reserve can hold: bounded also while others keep freeing. */
    for (int i = 0; i < ZS_RESERVE_MAX; i++) {
        mutex_lock(&z->source.lock);
        struct zs_run run = begin_release(z, 0);
        mutex_unlock(&z->source.lock);
        if (!run.chains) {
            break;
        }
        bytes += release(z, run);
    }
    return bytes;
}

static bool in_reserve(const struct zs_source *source, uint32_t chain)
{
    for (uint32_t i = 0; i < source->reserve_count; i++) {
        if (source->reserve[i] == chain) {
            return true;
        }
    }
    return false;
}

bool zs_source_is_taken(const struct zs *z, uint32_t chain)
{
    mutex_assert_held(&z->source.lock);
    return zs_source_has(z, chain) && !in_reserve(&z->source, chain) && !zs_source_is_free(z, chain);
}

bool zs_source_consistent(const struct zs *z, uint64_t taken_pages, uint64_t taken_chains)
{
    const struct zs_source *source = &z->source;
    mutex_assert_held(&source->lock);
    bool good = true;
    uint64_t pages = taken_pages;
    for (uint32_t i = 0; i < source->reserve_count; i++) {
        uint32_t chain = source->reserve[i];
        if (!zs_source_has(z, chain) || (i && chain >= source->reserve[i - 1]) ||
            zs_source_is_free(z, chain)) {
            fprintf(stderr, "zsmalloc: reserve[%u] is chain %u: free, or out of range or order\n", i, chain);
            return false;
        }
        pages += zs_chain(z, chain)->pages;
    }
    uint32_t held = atomic_read_relaxed(&source->held);
    if (held != pages || held > source->pages_max) {
        fprintf(stderr, "zsmalloc: holds %u pages, and chains have %lu of at most %u\n", held,
                (unsigned long)pages, source->pages_max);
        good = false;
    }
    uint64_t chains = taken_chains + source->reserve_count, given_out = 0;
    for (int kind = 0; kind < ZS_KINDS; kind++) {
        const struct zs_range *range = &source->ranges[kind];
        chains += range->free.count;
        given_out += range->high_water;
        good &= range->high_water <= range->total && page_set_consistent(&range->free, range->high_water);
    }
    good &= zs_huge_consistent(z);
    if (source->releasing || given_out != chains || source->reserve_count > source->reserve_max) {
        fprintf(stderr,
                "zsmalloc: %lu chains given out, %lu taken, in reserve or free, %u going, %u in reserve\n",
                (unsigned long)given_out, (unsigned long)chains, source->releasing, source->reserve_count);
        good = false;
    }
    return good;
}
