/* SPDX-License-Identifier: MIT */
/*
 * Pages whose stored copy stays while they are in the program.
 *
 * Otherwise a load takes the page out of the cache, and it is stored again when it is evicted. After a fork that is vain for what
 * was stored before: its memory, or its slot on the device, is the other process's, too, so dropping it frees nothing,
 * and a child that reads all its memory to save it would compress and store all of it again.
 *
 *             first write: the copy is dropped
 *           +----------------------------------> resident, like any other
 *           |
 *   stored --load--> kept: resident, write-protected, the copy stays
 *           <-evict--
 *             nothing is stored
 *
 * `copies` has the bit of each page that was stored at the fork. A page that is resident and has its bit is kept:
 *
 *   kept  =>  it is write-protected, since the moment it came in, and what is stored of it is its content
 *
 * That is why whoever makes a page resident in another way, or gives it free, ends that first, under the cluster's lock. In a page
 * that is out the bit only says what to do at the next load.
 *
 * And the kernel is asked, before a page leaves, whether the protection still stands: a page that KSM merges loses it.
 *
 * Only where a page leaves by MOVE: before there was that, the kernel let ptrace write past the protection.
 */
#include "base/sys.h"
#include "region/internal.h"

#define END_CLUSTERS 256 /* in a step: a few milliseconds */

uint64_t kept_pages_of(struct region *r, uint64_t number)
{
    struct lent *lent = sparse_get(&r->lent, number);
    uint64_t copies = lent ? atomic_read_relaxed(&lent->copies) : 0; /* relaxed: see kept_end */
    return copies ? copies & atomic_read_relaxed(&region_cluster(r, number)->resident) : 0;
}

void kept_forget(struct region *r, uint64_t number, uint64_t mask)
{
    struct lent *lent = sparse_get(&r->lent, number);
    if (lent && atomic_read_relaxed(&lent->copies) & mask) {
        /* Acq-rel, where less would do: others change other pages' bits. */
        atomic_fetch_and_acq_rel(&lent->copies, ~mask);
    }
}

uint64_t kept_end(struct region *r, uint64_t number, uint64_t mask)
{
    /* The bits of resident pages change under the cluster's lock only, which is held. */
    uint64_t kept = kept_pages_of(r, number) & mask;
    for (uint64_t rest = kept; rest; rest &= rest - 1) {
        zswap_invalidate(r->zswap, page_entry(r, number * CLUSTER_PAGES + (unsigned)__builtin_ctzll(rest)));
    }
    kept_forget(r, number, kept);
    return kept;
}

bool kept_is_stored(struct region *r, uint64_t page)
{
    struct lent *lent = sparse_get(&r->lent, page / CLUSTER_PAGES);
    return lent && atomic_read_relaxed(&lent->copies) >> page % CLUSTER_PAGES & 1 &&
           zswap_find(r->zswap, page_entry(r, page)) != ZSWAP_NOWHERE;
}

static bool may_keep(const struct region *r)
{
    const struct lending *lending = r->memory->lending;
    return lending_is_active(lending) && lending->write_protected && r->userfault.has_move &&
           r->userfault.has_protect;
}

void kept_check(struct region *r, uint64_t number)
{
    const struct lending *lending = r->memory->lending;
    uint64_t kept = kept_pages_of(r, number);
    if (kept) {
        kept_end(r, number,
                 ~lending->write_protected(page_address(r, number * CLUSTER_PAGES), CLUSTER_PAGES));
    }
}

int kept_fill(struct region *r, uint64_t page, const void *from, bool stored, bool writes)
{
    if (!writes && may_keep(r) && kept_is_stored(r, page) && !fill_protected(r, page, from)) {
        return 0;
    }
    int error = fill_pages(r, page, 1, from);
    if (!error && stored) {
        zswap_invalidate(r->zswap, page_entry(r, page));
    }
    return error;
}

void region_unshare(struct region *r, uint64_t page)
{
    kept_end(r, page / CLUSTER_PAGES, 1ull << page % CLUSTER_PAGES);
    /* It may be protected and not known as lent: then this write would wait for the lock that is held here. */
    if (r->userfault.has_protect) {
        userfault_protect(&r->userfault, page_address(r, page), PAGE_BYTES, false);
    }
    sys_madvise(page_address(r, page), PAGE_BYTES, MADV_POPULATE_WRITE);
}

/* ---- when nobody shares any more, the copies are only a second place for what is in the program */

static void end_cluster(struct region *r, uint64_t number)
{
    SCOPED_LOCK(cluster_lock(r, number));
    lent_end(r, number, ~0ull);
    uint64_t kept = kept_end(r, number, ~0ull);
    if (kept) {
        region_protect_pages(r, number, kept, false);
    }
}

bool region_end_keeping(struct region *r)
{
    rwlock_read_lock(&r->layout);
    uint64_t number = r->end_keeping_at;
    for (int n = 0; n < END_CLUSTERS; n++, number++) {
        number = sparse_next_committed(&r->lent, number);
        if (number >= r->lent.slots_total) {
            break;
        }
        if (kept_pages_of(r, number)) {
            end_cluster(r, number);
        }
    }
    bool done = number >= r->lent.slots_total;
    r->end_keeping_at = done ? 0 : number;
    rwlock_read_unlock(&r->layout);
    return done;
}

/* ---- at a fork, with the layout lock held exclusively */

void kept_lend(struct region *r, uint64_t number)
{
    uint64_t out = atomic_read_relaxed(&region_cluster(r, number)->out);
    struct lent *lent = out ? sparse_get_for_write(&r->lent, number) : NULL;
    if (lent) {
        atomic_fetch_or_acq_rel(&lent->copies,
                                out); /* of what waits in the staging area, too: kept_is_stored tells */
    }
}
