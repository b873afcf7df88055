/* SPDX-License-Identifier: MIT */
/* Changes of whole ranges, under the layout lock held exclusively: no page is in transition but those on their way
 * from the device, whose threads look again when they get the lock. */
#include <errno.h>
#include <string.h>

#include "base/sys.h"
#include "region/internal.h"

/* The part of a range that lies in one cluster. */
struct piece {
    uint64_t number;
    uint64_t mask;
};

/* Is [at, at + bytes) pages of the region? Then *first and *count. */
static bool pages_of(const struct region *r, const void *at, size_t bytes, uint64_t *first, uint64_t *count)
{
    const unsigned char *from = at;
    if (from < r->base || ((uintptr_t)from | bytes) % PAGE_BYTES || !bytes || bytes > r->bytes ||
        from > r->base + (r->bytes - bytes)) {
        return false;
    }
    *first = (uint64_t)(from - r->base) >> PAGE_SHIFT;
    *count = bytes >> PAGE_SHIFT;
    return true;
}

/* The next cluster of [*page, end) of which anything is known. False at the end. */
static bool next_piece(struct region *r, uint64_t *page, uint64_t end, struct piece *piece)
{
    uint64_t number = sparse_next_committed(&r->clusters, *page / CLUSTER_PAGES);
    uint64_t from = number * CLUSTER_PAGES > *page ? number * CLUSTER_PAGES : *page;
    if (from >= end) {
        return false;
    }
    uint64_t cluster_end = (number + 1) * CLUSTER_PAGES;
    uint64_t to = end < cluster_end ? end : cluster_end;
    *piece = (struct piece){number, bit_mask((unsigned)(from % CLUSTER_PAGES), (unsigned)(to - from))};
    *page = to;
    return true;
}

/* The page waits in the swap cache: nobody needs it any more. */
static void drop_waiting(struct region *r, uint64_t page)
{
    uint64_t name;
    if (swap_cache_drop(r->swap_cache, page_entry(r, page), &name)) {
        staging_let_go(&r->staging, name);
    }
}

/* Forgets the content of a piece; frames that are mapped are the caller's to drop. */
static void forget_piece(struct region *r, struct piece piece)
{
    struct cluster *cluster = region_cluster(r, piece.number);
    uint64_t resident = atomic_read_relaxed(&cluster->resident) & piece.mask;
    uint64_t out = atomic_read_relaxed(&cluster->out) & piece.mask;
    atomic_fetch_and_acq_rel(&cluster->resident, ~piece.mask);
    atomic_fetch_and_acq_rel(&cluster->out, ~piece.mask);
    lent_forget(r, piece.number, resident);
    kept_forget(r, piece.number, piece.mask);
    account_uncharge(r->account, ACCOUNT_RESIDENT, (size_t)__builtin_popcountll(resident) * PAGE_BYTES);
    for (; out; out &= out - 1) {
        drop_waiting(r, piece.number * CLUSTER_PAGES + (unsigned)__builtin_ctzll(out));
    }
}

static void forget_range(struct region *r, uint64_t first, uint64_t count)
{
    struct piece piece;
    slow_loads_forget(r, first, count);
    for (uint64_t page = first; next_piece(r, &page, first + count, &piece);) {
        forget_piece(r, piece);
    }
    zswap_invalidate_range(r->zswap, r->type, first, count);
}

/* Is any page of [first, end) out, or, if they are asked for, too, resident? */
static bool has_any(struct region *r, uint64_t first, uint64_t end, bool resident_too)
{
    struct piece piece;
    for (uint64_t page = first; next_piece(r, &page, end, &piece);) {
        struct cluster *cluster = region_cluster(r, piece.number);
        uint64_t pages = atomic_read_relaxed(&cluster->out);
        pages |= resident_too ? atomic_read_relaxed(&cluster->resident) : 0;
        if (pages & piece.mask) {
            return true;
        }
    }
    return false;
}

int region_discard(struct region *r, void *at, size_t bytes)
{
    uint64_t first, count;
    if (!pages_of(r, at, bytes, &first, &count)) {
        return -EINVAL;
    }
    rwlock_write_lock(&r->layout);
    int error = 0;
    if (has_any(r, first, first + count, true)) {
        error = sys_madvise(at, bytes, MADV_DONTNEED);
        if (!error) { /* else (locked memory, above all) the content stays */
            forget_range(r, first, count);
        }
    }
    rwlock_write_unlock(&r->layout);
    return error;
}

int region_protect(struct region *r, void *at, size_t bytes, int protection)
{
    uint64_t first, count;
    if (!pages_of(r, at, bytes, &first, &count)) {
        return -EINVAL;
    }
    rwlock_write_lock(&r->layout);
    int error = sys_mprotect(at, bytes, protection);
    rwlock_write_unlock(&r->layout);
    return error;
}

/* Marks pages as foreign or as the region's own. -ENOMEM if there is no memory to remember that they are foreign. */
static int set_foreign(struct region *r, uint64_t first, uint64_t count, bool foreign)
{
    for (uint64_t page = first; page < first + count;) {
        uint64_t number = page / CLUSTER_PAGES;
        unsigned index = (unsigned)(page % CLUSTER_PAGES);
        unsigned pages = (unsigned)min_size(CLUSTER_PAGES - index, first + count - page);
        struct cluster *cluster =
            foreign ? sparse_get_for_write(&r->clusters, number) : region_cluster(r, number);
        if (cluster && foreign) {
            cluster->foreign |= bit_mask(index, pages);
        } else if (cluster) {
            cluster->foreign &= ~bit_mask(index, pages);
        } else if (foreign) {
            return -ENOMEM;
        }
        page += pages;
    }
    return 0;
}

int region_disown(struct region *r, void *at, size_t bytes)
{
    uint64_t first, count;
    if (!pages_of(r, at, bytes, &first, &count)) {
        return -EINVAL;
    }
    rwlock_write_lock(&r->layout);
    int error = set_foreign(r, first, count, true);
    if (!error) {
        forget_range(r, first, count);
    } else {
        set_foreign(r, first, count, false);
    }
    rwlock_write_unlock(&r->layout);
    return error;
}

void region_own(struct region *r, void *at, size_t bytes)
{
    uint64_t first, count;
    if (pages_of(r, at, bytes, &first, &count)) {
        rwlock_write_lock(&r->layout);
        set_foreign(r, first, count, false);
        rwlock_write_unlock(&r->layout);
    }
}

int region_adopt(struct region *r, void *at, size_t bytes)
{
    uint64_t first, count;
    if (!pages_of(r, at, bytes, &first, &count)) {
        return -EINVAL;
    }
    rwlock_write_lock(&r->layout);
    forget_range(r, first, count);
    long mapped =
        sys_mmap(at, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    int error = sys_is_error(mapped) ? (int)mapped : 0;
    if (!error) {
        sys_madvise(at, bytes, MADV_NOHUGEPAGE);
        error = userfault_register(&r->userfault, at, bytes);
    }
    if (!error) {
        set_foreign(r, first, count, false);
    }
    rwlock_write_unlock(&r->layout);
    return error;
}

/* ---- move */

/* The page's content is elsewhere by now. */
static void forget_page(struct region *r, uint64_t page)
{
    forget_piece(r, (struct piece){page / CLUSTER_PAGES, 1ull << page % CLUSTER_PAGES});
    zswap_invalidate(r->zswap, page_entry(r, page));
}

static void note_resident(struct region *r, uint64_t page)
{
    struct cluster *cluster = region_cluster(r, page / CLUSTER_PAGES);
    atomic_fetch_or_acq_rel(&cluster->resident, 1ull << page % CLUSTER_PAGES);
    account_charge(r->account, ACCOUNT_RESIDENT, PAGE_BYTES);
    cluster_queue_add(&r->resident, &r->clusters, page / CLUSTER_PAGES);
}

/* -EBUSY: pinned. A device may write to the page, which must not be replaced by a copy. */
static int move_mapped(struct region *r, uint64_t from, uint64_t to)
{
    size_t done;
    void *source = page_address(r, from), *target = page_address(r, to);
    int error = userfault_move(&r->userfault, target, source, PAGE_BYTES, &done);
    if (error == -EBUSY) {
        region_unshare(r, from);
        error = userfault_move(&r->userfault, target, source, PAGE_BYTES, &done);
    }
    return error;
}

/* A page that is mapped: MOVE, or copy and drop. */
static int move_resident(struct region *r, uint64_t from, uint64_t to)
{
    int error = r->userfault.has_move ? move_mapped(r, from, to) : -ENOSYS;
    if (!error) {
        note_resident(r, to);
    }
    if (!error || error == -EBUSY) {
        return error;
    }
    error = fill_pages(r, to, 1, page_address(r, from));
    if (!error) {
        sys_madvise(page_address(r, from), PAGE_BYTES, MADV_DONTNEED);
    }
    return error;
}

static int read_out_page(struct region *r, uint64_t page, void *buffer)
{
    uint64_t name;
    if (!swap_cache_drop(r->swap_cache, page_entry(r, page), &name)) {
        return zswap_load(r->zswap, page_entry(r, page), buffer);
    }
    memcpy(buffer, staging_page(&r->staging, name), PAGE_BYTES);
    staging_let_go(&r->staging, name);
    return 0;
}

static void note_out(struct region *r, uint64_t page)
{
    atomic_fetch_or_acq_rel(&region_cluster(r, page / CLUSTER_PAGES)->out, 1ull << page % CLUSTER_PAGES);
}

/* A page that the device has lost is lost at its new place, too, and the old one is as good as new. It is out, though
 * nobody has it: so it is known to whoever changes or moves the range next. */
static void move_lost_page(struct region *r, uint64_t from, uint64_t to, int error)
{
    fill_poison(r, to, error);
    note_out(r, to);
    sys_madvise(page_address(r, from), PAGE_BYTES, MADV_DONTNEED);
}

/* A page that is out: stored again under its new name, or, if that cannot be, put in. */
static int move_out_page(struct region *r, uint64_t from, uint64_t to, void *buffer)
{
    int error = read_out_page(r, from, buffer);
    if (error) {
        move_lost_page(r, from, to, error);
        return 0;
    }
    if (zswap_store(r->zswap, page_entry(r, to), buffer)) {
        return fill_pages(r, to, 1, buffer);
    }
    note_out(r, to);
    return 0;
}

static int move_page(struct region *r, uint64_t from, uint64_t to, void *buffer)
{
    struct cluster *cluster = region_cluster(r, from / CLUSTER_PAGES);
    uint64_t bit = 1ull << from % CLUSTER_PAGES;
    uint64_t resident = cluster ? atomic_read_relaxed(&cluster->resident) & bit : 0;
    if (!resident && !(cluster && atomic_read_relaxed(&cluster->out) & bit)) {
        return 0;
    }
    if (!sparse_get_for_write(&r->clusters, to / CLUSTER_PAGES)) {
        return -ENOMEM;
    }
    int error = resident ? move_resident(r, from, to) : move_out_page(r, from, to, buffer);
    if (!error) {
        forget_page(r, from);
    }
    return error;
}

static int move_pages(struct region *r, uint64_t from, uint64_t to, uint64_t count, void *buffer)
{
    for (uint64_t i = 0; i < count; i++) {
        int error = move_page(r, from + i, to + i, buffer);
        if (error) {
            while (i--) {
                move_page(r, to + i, from + i, buffer); /* there was room for it there */
            }
            return error;
        }
    }
    return 0;
}

int region_move(struct region *r, void *from, void *to, size_t bytes)
{
    uint64_t first, target, count;
    if (!pages_of(r, from, bytes, &first, &count) || !pages_of(r, to, bytes, &target, &count) ||
        (first < target + count && target < first + count)) {
        return -EINVAL;
    }
    void *buffer = memory_map(r->memory, PAGE_BYTES, ACCOUNT_TABLES);
    if (!buffer) {
        return -ENOMEM;
    }
    rwlock_write_lock(&r->layout);
    slow_loads_forget(r, first, count);
    slow_loads_forget(r, target, count);
    /* Zeros may have been put in there ahead of a neighbour's touches: the place is empty only for the program. */
    forget_range(r, target, count);
    int error = sys_madvise(to, bytes, MADV_DONTNEED);
    if (!error) {
        error = move_pages(r, first, target, count, buffer);
    }
    rwlock_write_unlock(&r->layout);
    memory_unmap(r->memory, buffer, PAGE_BYTES, ACCOUNT_TABLES);
    reclaim_poke(r);
    return error;
}

/* ---- hand over */

/* A page that is out comes into the program, over the budget if it must. */
static int bring_back(struct region *r, uint64_t page, void *buffer)
{
    int error = read_out_page(r, page, buffer);
    if (error) {
        fill_poison(r, page, error);
        return 0;
    }
    error = fill_pages(r, page, 1, buffer);
    if (!error) {
        zswap_invalidate(r->zswap, page_entry(r, page));
        struct cluster *cluster = region_cluster(r, page / CLUSTER_PAGES);
        atomic_fetch_and_acq_rel(&cluster->out, ~(1ull << page % CLUSTER_PAGES));
    }
    return error;
}

static int bring_range_back(struct region *r, uint64_t first, uint64_t end, void *buffer)
{
    struct piece piece;
    for (uint64_t page = first; next_piece(r, &page, end, &piece);) {
        struct cluster *cluster = region_cluster(r, piece.number);
        for (uint64_t out = atomic_read_relaxed(&cluster->out) & piece.mask; out; out &= out - 1) {
            int error = bring_back(r, piece.number * CLUSTER_PAGES + (unsigned)__builtin_ctzll(out), buffer);
            if (error) {
                return error;
            }
        }
    }
    return 0;
}

/* Every fork comes here, and nearly always finds all of it in the program: it maps nothing then. */
void region_bring_back(struct region *r, const void *at, size_t bytes)
{
    uint64_t first, count;
    char *from = (char *)((uintptr_t)at & ~(uintptr_t)(PAGE_BYTES - 1));
    size_t whole = round_up((size_t)((const char *)at + bytes - from), PAGE_BYTES);
    if (!pages_of(r, from, whole, &first, &count) || !has_any(r, first, first + count, false)) {
        return;
    }
    void *buffer = memory_map(r->memory, PAGE_BYTES, ACCOUNT_TABLES);
    if (buffer) {
        bring_range_back(r, first, first + count, buffer); /* what cannot be read stays out */
        memory_unmap(r->memory, buffer, PAGE_BYTES, ACCOUNT_TABLES);
    }
}

int region_hand_over(struct region *r, void *at, size_t bytes)
{
    uint64_t first, count;
    if (!pages_of(r, at, bytes, &first, &count)) {
        return -EINVAL;
    }
    void *buffer = memory_map(r->memory, PAGE_BYTES, ACCOUNT_TABLES);
    if (!buffer) {
        return -ENOMEM;
    }
    rwlock_write_lock(&r->layout);
    /* Cut off from its neighbours by advice that means nothing here, as the kernel may have no mapping left for that. To
     * unregister whole mappings takes none, so it cannot stop half-way, with some pages neither protected nor watched. */
    int error = sys_madvise(at, bytes, MADV_RANDOM) ? -ENOMEM : 0;
    slow_loads_forget(r, first, count);
    error = error ? error : bring_range_back(r, first, first + count, buffer);
    error = error ? error : set_foreign(r, first, count, true);
    error = error ? error : userfault_unregister(&r->userfault, at, bytes);
    if (!error) {
        forget_range(r, first, count);
    } else {
        set_foreign(r, first, count, false);
    }
    sys_madvise(at, bytes, MADV_NORMAL);
    rwlock_write_unlock(&r->layout);
    memory_unmap(r->memory, buffer, PAGE_BYTES, ACCOUNT_TABLES);
    return error;
}

/* ---- hints */

int region_pageout(struct region *r, void *at, size_t bytes)
{
    uint64_t first, count;
    struct piece piece;
    if (!pages_of(r, at, bytes, &first, &count)) {
        return -EINVAL;
    }
    for (uint64_t page = first; next_piece(r, &page, first + count, &piece);) {
        rwlock_read_lock(&r->layout);
        mutex_lock(&r->reclaim_lock);
        evict_cluster(r, piece.number, piece.mask);
        if (staging_waiting(&r->staging) > r->staging_target) {
            reclaim_one(r);
        }
        mutex_unlock(&r->reclaim_lock);
        rwlock_read_unlock(&r->layout);
    }
    return 0;
}

int region_willneed(struct region *r, void *at, size_t bytes)
{
    uint64_t first, count;
    struct piece piece;
    struct server server;
    if (!pages_of(r, at, bytes, &first, &count)) {
        return -EINVAL;
    }
    if (server_init(&server, r)) {
        return 0;
    }
    for (uint64_t page = first; next_piece(r, &page, first + count, &piece);) {
        rwlock_read_lock(&r->layout);
        struct cluster *cluster = region_cluster(r, piece.number);
        uint64_t out = cluster ? atomic_read_acquire(&cluster->out) & piece.mask : 0;
        /* Only into room that is free: a hint should not push other pages out. */
        for (; out && account_total(r->account) < region_mark(&r->low_water); out &= out - 1) {
            fault_serve(&server, piece.number * CLUSTER_PAGES + (unsigned)__builtin_ctzll(out), false, false);
        }
        rwlock_read_unlock(&r->layout);
    }
    server_destroy(&server);
    return 0;
}
