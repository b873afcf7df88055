/* SPDX-License-Identifier: MIT */
/*
 * Taking pages out of the program.
 *
 * UFFDIO_MOVE takes a page off the program's page table and puts it into the staging cluster in one step, so that
 * no write is lost. Pages of one cluster go in one call where possible, since each call interrupts every CPU that
 * runs the program.
 *
 * When it refuses: EBUSY says that the page is pinned (a device may write to it: it must stay), or is still shared
 * with a forked process. Touching it for write (MADV_POPULATE_WRITE) ends the sharing and does nothing for a pin,
 * so the second try tells them apart. EINVAL says that the range is not plain read-write memory: then it is copied
 * (copy_out.c). MOVE, where there is one, has the say, as it alone knows of pins.
 *
 *   acquire the pages' slots --> under the cluster's lock: move, clear `resident`, set `out` --> publish
 */
#include <errno.h>

#include "base/sys.h"
#include "region/internal.h"

/* Eviction of one cluster into one staging cluster. */
struct eviction {
    struct region *region;
    uint64_t number;  /* of the region's cluster */
    uint32_t staging; /* of the staging cluster */
    uint64_t moved;   /* pages that are out */
    struct swap_cache_token tokens[CLUSTER_PAGES];
};

static unsigned char *source_of(struct eviction *e, unsigned index)
{
    return page_address(e->region, e->number * CLUSTER_PAGES + index);
}

static unsigned char *target_of(struct eviction *e, unsigned index)
{
    return staging_page(&e->region->staging, (uint64_t)e->staging * CLUSTER_PAGES + index);
}

/* Moves pages [first, first + count) as far as the kernel goes. How many, and why it stopped. */
static unsigned move_some(struct eviction *e, unsigned first, unsigned count, int *error)
{
    size_t done;
    *error = userfault_move(&e->region->userfault, target_of(e, first), source_of(e, first),
                            count * PAGE_BYTES, &done);
    return (unsigned)(done >> PAGE_SHIFT);
}

/* A page that MOVE refused as busy, once more after its sharing with a forked process has been ended. */
static bool move_unshared(struct eviction *e, unsigned index)
{
    int error;
    region_unshare(e->region, e->number * CLUSTER_PAGES + index);
    if (move_some(e, index, 1, &error)) {
        return true;
    }
    region_count(e->region, REGION_MOVE_REFUSED, 1);
    return false;
}

/* Moves what it can of [first, first + count), of which only the pages in `wanted` exist. Sets e->moved. */
static void move_span(struct eviction *e, unsigned first, unsigned count, uint64_t wanted)
{
    for (int passing = 0; count;) {
        int error;
        /* Each call starts at a page of ours and cannot cross into another mapping: what the program has mapped
         * over a part of the region is never taken. */
        if (!(wanted >> first & 1)) {
            first++;
            count--;
            continue;
        }
        unsigned n = move_some(e, first, count, &error);
        if (n) {
            e->moved |= bit_mask(first, n) & wanted;
        } else if (error == -EAGAIN && passing++ < 3) {
            sys_yield();
        } else if (error == -EINVAL && count > 1) {
            /* Two mappings meet in the range, or one cannot be moved from: find out which. */
            move_span(e, first, count / 2, wanted);
            first += count / 2;
            count -= count / 2;
            continue;
        } else {
            if (error == -EBUSY && move_unshared(e, first)) {
                e->moved |= 1ull << first;
            }
            n = 1; /* this page stays */
        }
        first += n;
        count -= n;
    }
}

/* Is the page's memory mapped in a way that MOVE cannot take (not plain read-write)? What refused it a moment ago
 * may be over (a pin, above all): then it has gone now, and must be in the books. */
static bool is_unmovable(struct eviction *e, unsigned index)
{
    int error;
    if (move_some(e, index, 1, &error)) {
        e->moved |= 1ull << index;
        return false;
    }
    return error == -EINVAL;
}

static void move_mask(struct eviction *e, uint64_t mask, uint64_t resident)
{
    unsigned first, count;
    if (!e->region->userfault.has_move) {
        e->moved |= copy_out(e->region, e->number, e->staging, mask);
        return;
    }
    if (mask == resident) {
        /* Nothing else is there: one call over all of it, holes included. */
        first = (unsigned)__builtin_ctzll(mask);
        move_span(e, first, CLUSTER_PAGES - (unsigned)__builtin_clzll(mask) - first, mask);
    } else {
        for (uint64_t rest = mask; mask_next_run(&rest, &first, &count);) {
            move_span(e, first, count, mask);
        }
    }
    uint64_t unmovable = 0;
    for (uint64_t rest = mask & ~e->moved; rest; rest &= rest - 1) {
        unsigned index = (unsigned)__builtin_ctzll(rest);
        unmovable |= is_unmovable(e, index) ? 1ull << index : 0;
    }
    e->moved |= copy_out(e->region, e->number, e->staging, unmovable);
}

/*
 * MOVE passes over holes without a word. There is one where the program has dropped a page by a system call that we
 * do not see: it reads as zero from then on, and so must its place in the staging area, or who reads that would
 * wait for a fault handler that may wait for him. What is not a hole but swapped out by the kernel answers EEXIST.
 */
static void fill_holes(struct eviction *e)
{
    unsigned char here[CLUSTER_PAGES];
    struct region *r = e->region;
    if (sys_call3(SYS_mincore, (long)target_of(e, 0), CLUSTER_BYTES, (long)here)) {
        return;
    }
    for (uint64_t rest = e->moved; rest; rest &= rest - 1) {
        unsigned index = (unsigned)__builtin_ctzll(rest);
        if (!(here[index] & 1)) {
            size_t done;
            kept_end(r, e->number, 1ull << index);
            userfault_copy(&r->userfault, target_of(e, index), r->zero_pages, PAGE_BYTES, false, &done);
        }
    }
}

/* Under the cluster's lock: no page is put into it meanwhile. */
static void take_out(struct eviction *e, uint64_t mask)
{
    struct region *r = e->region;
    struct cluster *cluster = region_cluster(r, e->number);
    SCOPED_LOCK(cluster_lock(r, e->number));
    uint64_t resident = atomic_read_relaxed(&cluster->resident);
    mask &= resident;
    if (!mask) {
        return;
    }
    kept_check(r, e->number);
    lent_end(r, e->number, mask);
    move_mask(e, mask, resident);
    if (e->moved) {
        fill_holes(e);
    }
    size_t bytes = (size_t)__builtin_popcountll(e->moved) * PAGE_BYTES;
    account_move(r->account, ACCOUNT_RESIDENT, ACCOUNT_SWAP_CACHE, bytes);
    staging_fill(&r->staging, e->staging, e->number, e->moved);
    /* `out` first: a page without either bit would read as zero. */
    atomic_fetch_or_acq_rel(&cluster->out, e->moved);
    atomic_fetch_and_acq_rel(&cluster->resident, ~e->moved);
}

static uint64_t acquire_slots(struct eviction *e, uint64_t mask)
{
    struct region *r = e->region;
    uint64_t mine = 0;
    for (; mask; mask &= mask - 1) {
        unsigned index = (unsigned)__builtin_ctzll(mask);
        struct swap_entry entry = page_entry(r, e->number * CLUSTER_PAGES + index);
        enum swap_cache_answer answer =
            swap_cache_acquire(r->swap_cache, entry, SWAP_CACHE_EVICT, &e->tokens[index]);
        if (answer == SWAP_CACHE_FAIL) {
            break;
        }
        mine |= answer == SWAP_CACHE_NEW ? 1ull << index : 0;
    }
    return mine;
}

/* The page stays in the program. Who touched it meanwhile finds it there. */
static void release_slot(struct eviction *e, unsigned index)
{
    struct region *r = e->region;
    if (!swap_cache_release(r->swap_cache, e->tokens[index])) {
        swap_cache_release(r->swap_cache, e->tokens[index]);
        userfault_wake(&r->userfault, source_of(e, index), PAGE_BYTES);
    }
}

static void publish_page(struct eviction *e, unsigned index)
{
    struct region *r = e->region;
    uint64_t name = (uint64_t)e->staging * CLUSTER_PAGES + index;
    if (!swap_cache_publish(r->swap_cache, e->tokens[index], name)) {
        fill_from_staging(r, e->number * CLUSTER_PAGES + index, e->tokens[index], name);
    }
}

unsigned evict_cluster(struct region *r, uint64_t number, uint64_t mask)
{
    struct cluster *cluster = region_cluster(r, number);
    struct eviction e = {.region = r, .number = number};
    mask &= cluster ? atomic_read_acquire(&cluster->resident) & ~region_locked_pages_of(r, number) : 0;
    if (!mask || !staging_take(&r->staging, &e.staging)) {
        return 0;
    }
    uint64_t mine = acquire_slots(&e, mask);
    take_out(&e, mine);
    for (uint64_t rest = mine; rest; rest &= rest - 1) {
        unsigned index = (unsigned)__builtin_ctzll(rest);
        if (e.moved >> index & 1) {
            publish_page(&e, index);
        } else {
            release_slot(&e, index);
        }
    }
    if (e.moved) {
        staging_publish(&r->staging, e.staging);
    } else {
        staging_free(&r->staging, e.staging);
    }
    unsigned evicted = (unsigned)__builtin_popcountll(e.moved);
    region_count(r, REGION_EVICTED, evicted);
    return evicted;
}
