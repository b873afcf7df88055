/* SPDX-License-Identifier: MIT */
/*
 * Locked pages (mlock): once in the program, they stay there.
 *
 * The mask is a sparse array of its own beside the clusters: programs that lock nothing pay nothing for it, and
 * struct cluster stays a power of two. A page may be locked before it is there. A cluster of which all resident
 * pages are locked is not in the resident queue, or eviction would look at it again and again.
 */
#include <errno.h>

#include "region/internal.h"

/* What of the budget stays unlocked: one in so many bytes, and no less than tables, staging and a pool take. */
#define SHARE_TO_WORK_WITH 4
#define BYTES_TO_WORK_WITH ((size_t)6 << 20)

static uint64_t *mask_of(struct region *r, uint64_t number)
{
    return sparse_get(&r->locked, number);
}

uint64_t region_locked_pages_of(struct region *r, uint64_t number)
{
    uint64_t *mask = mask_of(r, number);
    return mask ? *mask : 0;
}

size_t region_lock_limit(const struct region *r)
{
    size_t limit = (size_t)r->account->most; /* the part of a tree's member follows its need */
    size_t kept = max_size(limit / SHARE_TO_WORK_WITH, BYTES_TO_WORK_WITH);
    return limit > kept ? limit - kept : 0;
}

/* The part of pages [page, end) in the cluster of `page`. */
static uint64_t first_part(uint64_t page, uint64_t end, uint64_t *next)
{
    uint64_t index = page % CLUSTER_PAGES;
    uint64_t count = min_size(CLUSTER_PAGES - index, end - page);
    *next = page + count;
    return bit_mask((unsigned)index, (unsigned)count);
}

static void count_locked(struct region *r, uint64_t before, uint64_t after)
{
    /* Relaxed: a figure. */
    atomic_add_relaxed(&r->locked_bytes,
                       ((uint64_t)__builtin_popcountll(after) - (uint64_t)__builtin_popcountll(before))
                           << PAGE_SHIFT);
}

/* Caller holds the layout lock exclusively. */
static void unlock_pages(struct region *r, uint64_t first, uint64_t end)
{
    for (uint64_t page = first; page < end;) {
        uint64_t number = sparse_next_committed(&r->locked, page / CLUSTER_PAGES);
        if (number * CLUSTER_PAGES >= end) {
            return;
        }
        page = number * CLUSTER_PAGES > page ? number * CLUSTER_PAGES : page;
        uint64_t mask = first_part(page, end, &page);
        uint64_t *locked = mask_of(r, number), before = *locked;
        struct cluster *cluster = region_cluster(r, number);
        *locked &= ~mask;
        count_locked(r, before, *locked);
        if ((before & mask) && cluster && (atomic_read_relaxed(&cluster->resident) & ~*locked)) {
            cluster_queue_add(&r->resident, &r->clusters, number);
        }
    }
}

int region_lock(struct region *r, void *at, size_t bytes)
{
    uint64_t first = (uint64_t)((unsigned char *)at - r->base) >> PAGE_SHIFT;
    uint64_t end = first + (bytes >> PAGE_SHIFT), next;
    int error = 0;
    rwlock_write_lock(&r->layout);
    for (uint64_t page = first; page < end; page = next) {
        uint64_t mask = first_part(page, end, &next);
        uint64_t *locked = sparse_get_for_write(&r->locked, page / CLUSTER_PAGES);
        if (!locked) {
            unlock_pages(r, first, page);
            error = -ENOMEM;
            break;
        }
        uint64_t before = *locked;
        *locked |= mask;
        count_locked(r, before, *locked);
    }
    rwlock_write_unlock(&r->layout);
    return error;
}

void region_unlock(struct region *r, void *at, size_t bytes)
{
    uint64_t first = (uint64_t)((unsigned char *)at - r->base) >> PAGE_SHIFT;
    rwlock_write_lock(&r->layout);
    unlock_pages(r, first, first + (bytes >> PAGE_SHIFT));
    rwlock_write_unlock(&r->layout);
    reclaim_poke(r);
}
