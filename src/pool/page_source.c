/* SPDX-License-Identifier: MIT */
#include "pool/page_source.h"

#include <errno.h>
#include <stdio.h>

int page_source_init(struct page_source *source, struct memory *memory, struct mutex *lock, uint64_t pages)
{
    if (!pages || pages > PAGE_SOURCE_PAGES_MAX) {
        return -EINVAL;
    }
    *source = (struct page_source){
        .memory = memory,
        .lock = lock,
        .pages_total = (uint32_t)pages,
        .reserve_max = (uint32_t)max_size(min_size(pages / 64, PAGE_SOURCE_RESERVE_MAX), 1),
    };
    source->pages = memory_reserve(memory, (pages + 1) << PAGE_SHIFT);
    if (!source->pages) {
        return -ENOMEM;
    }
    int error = inherited_init(&source->inherited, memory, source->pages, (pages + 1) << PAGE_SHIFT);
    if (error) {
        goto unreserve;
    }
    error = page_set_init(&source->free, memory, source->pages_total);
    if (error) {
        goto forget_inherited;
    }
    return 0;

forget_inherited:
    inherited_destroy(&source->inherited);
unreserve:
    memory_unreserve(memory, source->pages, (pages + 1) << PAGE_SHIFT);
    return error;
}

void page_source_destroy(struct page_source *source)
{
    account_uncharge(source->memory->account, ACCOUNT_POOL, page_source_total_size(source));
    inherited_destroy(&source->inherited);
    memory_unreserve(source->memory, source->pages, ((size_t)source->pages_total + 1) << PAGE_SHIFT);
    page_set_destroy(&source->free);
}

uint32_t page_source_next(const struct page_source *source)
{
    mutex_assert_held(source->lock);
    if (source->reserve_count) {
        return source->reserve[source->reserve_count - 1];
    }
    uint32_t page = page_set_lowest(&source->free);
    if (page) {
        return page;
    }
    return source->high_water < source->pages_total ? source->high_water + 1 : 0;
}

/* memory_commit and page_set_prepare only count and set bits: they do not call the kernel. */
bool page_source_take(struct page_source *source, uint32_t page)
{
    mutex_assert_held(source->lock);
    if (source->reserve_count) {
        source->reserve_count--;
        return true;
    }
    bool fresh = page > source->high_water;
    if (fresh && !page_set_prepare(&source->free, page)) {
        return false;
    }
    if (!memory_commit(source->memory, PAGE_BYTES, ACCOUNT_POOL)) {
        return false;
    }
    if (fresh) {
        source->high_water = page;
    } else {
        page_set_remove(&source->free, page);
    }
    inherited_fresh(&source->inherited, page_source_address(source, page), PAGE_BYTES);
    atomic_add_relaxed(&source->held, 1);
    return true;
}

struct page_run page_source_give(struct page_source *source, uint32_t page)
{
    mutex_assert_held(source->lock);
    uint32_t i = source->reserve_count++;
    for (; i > 0 && source->reserve[i - 1] < page; i--) {
        source->reserve[i] = source->reserve[i - 1];
    }
    source->reserve[i] = page;
    if (source->reserve_count <= source->reserve_max) {
        return (struct page_run){0};
    }
    /* At least one page goes, so the next give has room. */
    return page_source_begin_release(source, source->reserve_max / 4);
}

struct page_run page_source_begin_release(struct page_source *source, uint32_t keep)
{
    mutex_assert_held(source->lock);
    uint32_t count = source->reserve_count;
    const uint32_t *reserve = source->reserve;
    if (count <= keep) {
        return (struct page_run){0};
    }
    uint32_t best = 0, best_pages = 0; /* index of the run's highest page, and its length */
    for (uint32_t from = 0; from < count;) {
        uint32_t to = from + 1;
        while (to < count && reserve[to] + 1 == reserve[to - 1]) {
            to++;
        }
        if (to - from > best_pages) {
            best = from;
            best_pages = to - from;
        }
        from = to;
    }
    /* What stays of a run that is longer than may go is its low end, which is taken first. */
    best_pages = (uint32_t)min_size(best_pages, count - keep);
    struct page_run run = {.first = reserve[best + best_pages - 1], .pages = best_pages};
    for (uint32_t i = best + best_pages; i < count; i++) {
        source->reserve[i - best_pages] = source->reserve[i];
    }
    source->reserve_count -= best_pages;
    source->releasing += best_pages;
    return run;
}

void page_source_release(struct page_source *source, struct page_run run)
{
    void *at = page_source_address(source, run.first);
    inherited_end(&source->inherited, at, (size_t)run.pages << PAGE_SHIFT);
    memory_release(source->memory, at, (size_t)run.pages << PAGE_SHIFT, ACCOUNT_POOL);
}

void page_source_end_release(struct page_source *source, struct page_run run)
{
    mutex_assert_held(source->lock);
    for (uint32_t i = 0; i < run.pages; i++) {
        page_set_add(&source->free, run.first + i);
    }
    source->releasing -= run.pages;
    atomic_sub_relaxed(&source->held, run.pages);
}

static bool in_reserve(const struct page_source *source, uint32_t page)
{
    uint32_t low = 0, high = source->reserve_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (source->reserve[middle] == page) {
            return true;
        }
        if (source->reserve[middle] > page) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return false;
}

void page_source_lend(struct page_source *source)
{
    const struct inherited_extent used = {source->pages, ((size_t)source->high_water + 1) << PAGE_SHIFT};
    inherited_begin(&source->inherited, &used, 1);
}

bool page_source_is_taken(const struct page_source *source, uint32_t page)
{
    return page && page <= source->high_water && !in_reserve(source, page) &&
           !page_set_has(&source->free, page);
}

static bool figures_agree(const struct page_source *source, uint64_t taken)
{
    bool good = true;
    uint32_t held = atomic_read_relaxed(&source->held);
    if (source->releasing) {
        fprintf(stderr, "page source: %u pages are still being released\n", source->releasing);
        good = false;
    }
    if (held != taken + source->reserve_count) {
        fprintf(stderr, "page source: holds %u pages, %lu taken and %u in reserve\n", held,
                (unsigned long)taken, source->reserve_count);
        good = false;
    }
    if (source->high_water != taken + source->reserve_count + source->free.count) {
        fprintf(stderr, "page source: high water %u, %lu taken, %u in reserve, %u free\n", source->high_water,
                (unsigned long)taken, source->reserve_count, source->free.count);
        good = false;
    }
    if (source->high_water > source->pages_total || source->reserve_count > source->reserve_max) {
        fprintf(stderr, "page source: high water %u of %u, reserve %u of %u\n", source->high_water,
                source->pages_total, source->reserve_count, source->reserve_max);
        good = false;
    }
    return good;
}

bool page_source_consistent(const struct page_source *source, uint64_t taken)
{
    mutex_assert_held(source->lock);
    bool good = figures_agree(source, taken);
    for (uint32_t i = 0; i < source->reserve_count; i++) {
        uint32_t page = source->reserve[i];
        if (!page || page > source->high_water || (i && page >= source->reserve[i - 1])) {
            fprintf(stderr, "page source: reserve[%u] is %u: out of range or order\n", i, page);
            good = false;
        } else if (page_set_has(&source->free, page)) {
            fprintf(stderr, "page source: page %u is in reserve and free\n", page);
            good = false;
        }
    }
    if (page_set_has(&source->free, 0)) {
        fprintf(stderr, "page source: page 0 is free\n");
        good = false;
    }
    return page_set_consistent(&source->free, source->high_water) && good;
}
