/* SPDX-License-Identifier: MIT */
/*
 * Where a pool's pages come from: one reserved range of addresses, its pages numbered from 1, committed one
 * by one and given back in runs of neighbours.
 *
 *                  take                      give                     begin_release
 *   (never used) --------> taken (the pool's) ----> in reserve -----------------> being released
 *   free ----------------->  ^                         |                               |
 *     ^                      +-------------------------+                               |
 *     |                               take                                end_release  |
 *     +--------------------------------------------------------------------------------+
 *
 *   never used         above `high_water`
 *   free               in `free`; holds no memory
 *   taken, in reserve  hold memory; a reserved page is in `reserve`
 *   being released     holds memory until `release` has run; counted in `releasing` and in no set, so that
 *                      nobody can take it meanwhile
 *
 * Giving a page back to the kernel costs microseconds, mostly for telling the other CPUs, and 64 neighbours cost
 * little more than one. So empty pages gather in a small reserve; when it overflows, its longest run of
 * neighbours goes. Pages freed in order go back in large runs, and scattered ones singly, at one call a freed page
 * and never more. Take prefers the reserve, then low numbers, so that what is allocated together lies together
 * and makes runs when it is freed together.
 *
 * The pool's lock guards everything and is held in all calls but init, destroy, total_size and release, which
 * is the one that calls the kernel.
 *
 * Why not a free list through the pages' records: last in, first out shuffles the numbers until no two pages
 * that are freed together are neighbours.
 */
#ifndef UZSWAP_POOL_PAGE_SOURCE_H
#define UZSWAP_POOL_PAGE_SOURCE_H

#include "base/inherited.h"
#include "base/lock.h"
#include "base/memory.h"
#include "pool/page_set.h"

#define PAGE_SOURCE_RESERVE_MAX 128 /* pages: half a megabyte */
#define PAGE_SOURCE_PAGES_MAX (UINT32_MAX - 1)

struct page_source {
    struct memory *memory; /* immutable */
    struct mutex *lock;    /* immutable; the pool's. What it guards: see below */
    char *pages;           /* immutable; where page 0 would be, which is never used */
    uint32_t pages_total;  /* immutable; the highest page number */
    uint32_t reserve_max;  /* immutable; less in a small pool */

    struct inherited inherited; /* thread-safe */

    uint32_t held;          /* pages with memory. Guard for writing: lock; atomic, read by anybody */
    uint32_t high_water;    /* the highest number ever taken. Guard: lock */
    uint32_t releasing;     /* Guard: lock */
    uint32_t reserve_count; /* Guard: lock */
    uint32_t reserve[PAGE_SOURCE_RESERVE_MAX + 1]; /* page numbers, highest first. Guard: lock */
    struct page_set free;                          /* Guard: lock */
};

/* Neighbours first .. first + pages - 1. */
struct page_run {
    uint32_t first;
    uint32_t pages; /* 0 = no run */
};

/* 0, -ENOMEM, or -EINVAL if `pages` is 0 or above PAGE_SOURCE_PAGES_MAX. */
int page_source_init(struct page_source *source, struct memory *memory, struct mutex *lock, uint64_t pages);
void page_source_destroy(struct page_source *source);

static inline void *page_source_address(const struct page_source *source, uint32_t page)
{
    return source->pages + ((size_t)page << PAGE_SHIFT);
}

/* Bytes of memory held. Relaxed: a figure, nothing is reached through it. */
static inline size_t page_source_total_size(const struct page_source *source)
{
    return (size_t)atomic_read_relaxed(&source->held) << PAGE_SHIFT;
}

/* The page that take would take, 0 if all are in use or being released. */
uint32_t page_source_next(const struct page_source *source);

/* Takes `page`, which is page_source_next's. False if there is no memory; then nothing has changed. What the page
 * holds is undefined. */
bool page_source_take(struct page_source *source, uint32_t page);

/* Gives a page to the reserve. A run that comes back has begun to be released: release and end_release follow. */
struct page_run page_source_give(struct page_source *source, uint32_t page);

/* Begins to release the longest run of the reserve, so much of it that `keep` pages stay in reserve. */
struct page_run page_source_begin_release(struct page_source *source, uint32_t keep);

/* Gives the run's memory to the kernel. Called WITHOUT the lock. */
void page_source_release(struct page_source *source, struct page_run run);
void page_source_end_release(struct page_source *source, struct page_run run);

/* True if `page` is the pool's: neither never used, free nor in reserve, given that nothing is being released. */
bool page_source_is_taken(const struct page_source *source, uint32_t page);

/* At a fork, with everything at rest. */
void page_source_lend(struct page_source *source);

/* Checks sets and counts against each other and against the number of pages that the pool says it has taken,
 * with nothing being released; prints each mismatch. */
bool page_source_consistent(const struct page_source *source, uint64_t taken);

#endif
