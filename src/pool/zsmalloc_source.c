/* SPDX-License-Identifier: MIT */
/*
 * Where zsmalloc's chains come from: one reserved range of addresses, 16 pages for each chain, of which the chain has memory
 * for its first few only.
 *
 *                   take                      give                     begin_release
 *   (never used) ---------> a class has it ---------> in reserve ------------------> being released
 *   free ----------------->    ^       |                  |                                |
 *     ^                        +-------|------------------+                                |
 *     |                          take  | give, if it has no memory           end_release   |
 *     +--------------------------------+---------------------------------------------------+
 *
 * All chains are of one length as far as addresses go, so any class can have any of them, and nothing is lost to
 * fragmentation; addresses cost nothing.
 *
 * The reserve and its rules are page_source's (see the head of page_source.h): empty chains gather in it; when it
 * overflows, its longest run of neighbours goes back to the kernel in one call, gaps included.
 *
 * The limit is in pages that hold memory, and counts those in reserve. Who meets it trims the reserve and tries again.
 */
#include <errno.h>
#include <stdio.h>

#include "base/sys.h"
#include "pool/zsmalloc.h"

int zs_source_init(struct zs *z, uint64_t pages_max, uint64_t chains)
{
    if (!pages_max || pages_max > UINT32_MAX || chains > ZS_CHAINS_MAX) {
        return -EINVAL;
    }
    struct zs_source *source = &z->source;
    source->chains_total = (uint32_t)chains;
    source->pages_max = (uint32_t)pages_max;
    source->reserve_max = (uint32_t)max_size(min_size(pages_max / ZS_CHAIN_PAGES / 64, ZS_RESERVE_MAX), 1);
    mutex_init(&source->lock, LOCK_RANK_POOL);
    source->base = memory_reserve(z->memory, (chains + 1) * ZS_CHAIN_BYTES);
    if (!source->base) {
        return -ENOMEM;
    }
    int error = page_set_init(&source->free, z->memory, source->chains_total);
    if (error) {
        memory_unreserve(z->memory, source->base, (chains + 1) * ZS_CHAIN_BYTES);
    }
    return error;
}

void zs_source_destroy(struct zs *z)
{
    struct zs_source *source = &z->source;
    account_uncharge(z->memory->account, ACCOUNT_POOL, (size_t)source->held << PAGE_SHIFT);
    memory_unreserve(z->memory, source->base, ((size_t)source->chains_total + 1) * ZS_CHAIN_BYTES);
    page_set_destroy(&source->free);
}

uint32_t zs_source_take(struct zs *z)
{
    struct zs_source *source = &z->source;
    SCOPED_LOCK(&source->lock);
    if (source->reserve_count) {
        return source->reserve[--source->reserve_count];
    }
    uint32_t chain = page_set_lowest(&source->free);
    if (chain) {
        if (!sparse_get_for_write(&z->chains, chain)) {
            return 0;
        }
        page_set_remove(&source->free, chain);
        return chain;
    }
    chain = source->high_water + 1;
    if (chain > source->chains_total || !page_set_prepare(&source->free, chain) ||
        !sparse_get_for_write(&z->chains, chain)) {
        return 0;
    }
    source->high_water = chain;
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
    record->pages = (uint8_t)pages;
    return true;
}

size_t zs_source_shrink(struct zs *z, uint32_t chain, unsigned pages)
{
    struct zs_chain *record = zs_chain(z, chain);
    unsigned less = record->pages - pages;
    size_t bytes = (size_t)less << PAGE_SHIFT;
    memory_release(z->memory, zs_chain_address(z, chain) + ((size_t)pages << PAGE_SHIFT), bytes,
                   ACCOUNT_POOL);
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
        for (to = from + 1; to < count && reserve[to] + 1 == reserve[to - 1]; to++) {
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

static bool is_any_taken(const struct zs_source *source, uint32_t first, size_t chains)
{
    mutex_assert_held(&source->lock);
    for (uint32_t chain = first + !first; chain < first + chains && chain <= source->high_water; chain++) {
        if (!page_set_has(&source->free, chain)) {
            return true;
        }
    }
    return false;
}

/* Gives the kernel those pages of a table by chain number that are of free chains only, the run's among them. Under the lock,
 * so that nobody takes one of them meanwhile: a call for megabytes of the pool. */
static void release_records(struct zs *z, struct sparse *table, struct zs_run run)
{
    uint32_t step = (uint32_t)sparse_slots_per_page(table);
    for (uint32_t first = run.first / step * step; first < run.first + run.chains; first += step) {
        if (sparse_is_committed(table, first) && !is_any_taken(&z->source, first, step)) {
            sparse_release_page(table, first);
        }
    }
}

/* Nobody can have the chains of the run meanwhile. */
static size_t release(struct zs *z, struct zs_run run)
{
    struct zs_source *source = &z->source;
    if (!run.chains) {
        return 0;
    }
    size_t bytes = (size_t)run.pages << PAGE_SHIFT;
    sys_madvise(zs_chain_address(z, run.first), (size_t)run.chains * ZS_CHAIN_BYTES, MADV_DONTNEED);
    account_uncharge(z->memory->account, ACCOUNT_POOL, bytes);
    atomic_sub_relaxed(&source->held, run.pages);
    SCOPED_LOCK(&source->lock);
    for (uint32_t i = 0; i < run.chains; i++) {
        zs_chain(z, run.first + i)->pages = 0;
        page_set_add(&source->free, run.first + i);
    }
    source->releasing -= run.chains;
    release_records(z, &z->chains, run);
    release_records(z, &z->raw_owners, run);
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
        page_set_add(&source->free, chain);
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
    return chain && chain <= z->source.high_water && !in_reserve(&z->source, chain) &&
           !page_set_has(&z->source.free, chain);
}

bool zs_source_consistent(const struct zs *z, uint64_t taken_pages, uint64_t taken_chains)
{
    const struct zs_source *source = &z->source;
    mutex_assert_held(&source->lock);
    bool good = true;
    uint64_t pages = taken_pages;
    for (uint32_t i = 0; i < source->reserve_count; i++) {
        uint32_t chain = source->reserve[i];
        if (!chain || chain > source->high_water || (i && chain >= source->reserve[i - 1]) ||
            page_set_has(&source->free, chain)) {
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
    uint64_t chains = taken_chains + source->reserve_count + source->free.count;
    if (source->releasing || source->high_water != chains || source->high_water > source->chains_total ||
        source->reserve_count > source->reserve_max) {
        fprintf(stderr, "zsmalloc: high water %u of %u, %lu chains taken, %u in reserve, %u free, %u going\n",
                source->high_water, source->chains_total, (unsigned long)taken_chains, source->reserve_count,
                source->free.count, source->releasing);
        good = false;
    }
    return page_set_consistent(&source->free, source->high_water) && good;
}
