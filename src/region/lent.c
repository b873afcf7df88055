/* SPDX-License-Identifier: MIT */
/*
 * Pages of the program that a fork has left to two processes (base/lending.h).
 *
 * At the fork all resident pages are noted, and write-protected in both processes. The first write to one is a fault:
 * room is made for the copy, it is paid for, and the page is given free. So no copy is made that is not paid for
 * before. It costs a fault a page, and a cluster at once when nobody shares any more. A page that leaves the program, or
 * is dropped, ends being lent likewise.
 *
 * Before a page is paid for the kernel is asked whether another process still has it: often that one has copied it first,
 * and then this is no copy.
 *
 * Staging pages are never written: their cluster ends being lent as a whole, when it is given back.
 *
 * Where the kernel has no write protection, or cannot be asked, nothing is lent: both pay for all.
 */
#include "base/inherited.h"
#include "region/internal.h"

#define SETTLE_CLUSTERS 256 /* in a step: a fraction of a millisecond */

int lent_init(struct region *r)
{
    return sparse_init(&r->lent, r->memory, r->pages / CLUSTER_PAGES, sizeof(struct lent), ACCOUNT_TABLES);
}

uint64_t lent_pages_of(struct region *r, uint64_t number)
{
    struct lent *lent = sparse_get(&r->lent, number);
    return lent ? atomic_read_relaxed(&lent->pages) : 0; /* relaxed: under the lock, or a hint */
}

uint64_t lent_pages_shared(struct region *r, uint64_t number, uint64_t mask)
{
    struct lending *lending = r->memory->lending;
    mask &= lent_pages_of(r, number);
    if (!mask || !lending_is_active(lending)) {
        return 0;
    }
    return mask & lending_shared(lending, page_address(r, number * CLUSTER_PAGES), CLUSTER_PAGES);
}

static size_t bytes_of(uint64_t mask)
{
    return (size_t)__builtin_popcountll(mask) << PAGE_SHIFT;
}

/* Takes the pages out. Those that were in. */
static struct lent take(struct region *r, uint64_t number, uint64_t mask)
{
    struct lent *lent = sparse_get(&r->lent, number);
    if (!lent) {
        return (struct lent){0};
    }
    struct lent taken = {.pages = lent->pages & mask, .borrowed = lent->borrowed & mask};
    atomic_set_relaxed(&lent->pages, lent->pages & ~mask);
    atomic_set_relaxed(&lent->borrowed, lent->borrowed & ~mask);
    return taken;
}

bool region_protect_pages(struct region *r, uint64_t number, uint64_t mask, bool protect)
{
    unsigned first, count;
    bool good = true;
    while (good && mask_next_run(&mask, &first, &count)) {
        good = !userfault_protect(&r->userfault, page_address(r, number * CLUSTER_PAGES + first),
                                  count * PAGE_BYTES, protect);
    }
    return good;
}

void lent_end(struct region *r, uint64_t number, uint64_t mask)
{
    struct lending *lending = r->memory->lending;
    uint64_t shared = lent_pages_shared(r, number, mask);
    struct lent taken = take(r, number, mask);
    if (!taken.pages) {
        return;
    }
    if (lending_is_active(lending)) {
        lending_end(lending, bytes_of(taken.pages & shared), bytes_of(taken.borrowed & shared));
        lending_settle(lending, bytes_of(taken.borrowed & ~shared));
    }
    region_protect_pages(r, number, taken.pages & ~kept_pages_of(r, number), false);
}

void lent_forget(struct region *r, uint64_t number, uint64_t mask)
{
    struct lent taken = take(r, number, mask);
    if (taken.pages && lending_is_active(r->memory->lending)) {
        lending_end(r->memory->lending, bytes_of(taken.pages), bytes_of(taken.borrowed));
    }
}

uint64_t lent_prepare_write(struct region *r, uint64_t page)
{
    uint64_t number = page / CLUSTER_PAGES, bit = 1ull << page % CLUSTER_PAGES;
    if (!(lent_pages_of(r, number) & bit)) {
        return 0;
    }
    if (!lending_is_active(r->memory->lending)) {
        return ~0ull;
    }
    if (lent_pages_shared(r, number, bit)) {
        reclaim_make_room(r, PAGE_BYTES);
    }
    return bit;
}

void lent_end_staged(struct region *r, uint32_t number)
{
    struct staging_cluster *cluster = &r->staging.table[number];
    if (cluster->lent && lending_is_active(r->memory->lending)) {
        lending_end(r->memory->lending, bytes_of(cluster->present), bytes_of(cluster->present));
    }
    cluster->lent = 0;
}

/* ---- who has a page alone pays for it, and is the one who can do something about it */

static void settle_cluster(struct region *r, uint64_t number)
{
    struct lent *lent = sparse_get(&r->lent, number);
    uint64_t borrowed = lent ? atomic_read_relaxed(&lent->borrowed) : 0; /* a hint */
    uint64_t alone = borrowed ? borrowed & ~lent_pages_shared(r, number, borrowed) : 0;
    if (alone) {
        SCOPED_LOCK(cluster_lock(r, number));
        lent_end(r, number, alone);
    }
}

bool region_settle(struct region *r)
{
    rwlock_read_lock(&r->layout);
    uint64_t number = r->settle_at;
    for (int n = 0; n < SETTLE_CLUSTERS && number < r->lent.slots_total; n++) {
        number = sparse_next_committed(&r->lent, number);
        settle_cluster(r, number++);
    }
    bool done = number >= r->lent.slots_total;
    r->settle_at = done ? 0 : number;
    inherited_settle(zswap_inherited(r->zswap));
    rwlock_read_unlock(&r->layout);
    return done;
}

/* ---- at a fork, with the layout lock held exclusively */

/* One call for all of the cluster: what else is in between is given free at its first write. Where something is in between
 * that is not the region's, a call a run. None is left protected if one cannot be. */
static bool protect(struct region *r, uint64_t number, uint64_t mask)
{
    unsigned first = (unsigned)__builtin_ctzll(mask), last = 63 - (unsigned)__builtin_clzll(mask);
    bool good = region_protect_pages(r, number, bit_mask(first, last - first + 1), true) ||
                region_protect_pages(r, number, mask, true);
    if (!good) {
        region_protect_pages(r, number, mask & ~kept_pages_of(r, number), false);
    }
    return good;
}

/* The pages of the cluster that may be lent: all that are resident, but for those within `kept`. */
static uint64_t pages_to_lend(struct region *r, uint64_t number, const void *kept, size_t kept_bytes)
{
    uint64_t from = (uint64_t)(uintptr_t)page_address(r, number * CLUSTER_PAGES);
    uint64_t kept_from = (uint64_t)(uintptr_t)kept;
    bool meets = kept_bytes && kept_from < from + CLUSTER_BYTES && from < kept_from + kept_bytes;
    if (meets) {
        lent_end(r, number, ~0ull); /* of an earlier fork */
        region_protect_pages(r, number, kept_end(r, number, ~0ull), false);
    }
    return meets ? 0 : atomic_read_relaxed(&region_cluster(r, number)->resident);
}

size_t region_lend(struct region *r, const void *kept, size_t kept_bytes)
{
    size_t bytes = 0;
    r->end_keeping_at = 0;
    for (uint64_t i = 0; (i = sparse_next_committed(&r->clusters, i)) < r->clusters.slots_total; i++) {
        kept_check(r, i); /* before what has lost its protection gets it back */
        uint64_t mask = r->userfault.has_protect ? pages_to_lend(r, i, kept, kept_bytes) : 0;
        struct lent *lent = mask ? sparse_get_for_write(&r->lent, i) : NULL;
        if (lent && ((lent->pages & mask) == mask || protect(r, i, mask))) {
            lent->pages |= mask;
        }
        bytes += lent ? bytes_of(lent->pages) : 0;
        kept_lend(r, i);
    }
    for (uint32_t i = 0; i < r->staging.clusters; i++) {
        struct staging_cluster *cluster = &r->staging.table[i];
        cluster->lent = cluster->present != 0;
        bytes += bytes_of(cluster->present);
    }
    zswap_lend(r->zswap);
    return bytes;
}

/* A fork does not copy the protection. Nothing else runs here yet. */
void lent_fork_child(struct region *r)
{
    inherited_fork_child(zswap_inherited(r->zswap));
    for (uint64_t i = 0; (i = sparse_next_committed(&r->lent, i)) < r->lent.slots_total; i++) {
        struct lent *lent = sparse_get(&r->lent, i);
        uint64_t mask = lent->pages | kept_pages_of(r, i);
        lent->borrowed = lent->pages;
        if (mask && !protect(r, i, mask)) {
            kept_end(r, i, ~0ull);
            lent_forget(r, i, lent->pages);
        }
    }
}
