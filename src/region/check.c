/* SPDX-License-Identifier: MIT */
/* Is everything a region knows true? */
#include <stdio.h>
#include <string.h>

#include "base/sys.h"
#include "region/internal.h"

struct survey {
    uint64_t resident, staged, wrong;
};

static void complain(struct survey *s, uint64_t page, const char *what)
{
    if (s->wrong++ < 10) {
        fprintf(stderr, "region: page %llu: %s\n", (unsigned long long)page, what);
    }
}

/* Which pages of the cluster are mapped, as the kernel says. */
static uint64_t mapped_pages(struct region *r, uint64_t number)
{
    unsigned char present[CLUSTER_PAGES] = {0};
    uint64_t mask = 0;
    sys_call3(SYS_mincore, (long)page_address(r, number * CLUSTER_PAGES), CLUSTER_BYTES, (long)present);
    for (unsigned i = 0; i < CLUSTER_PAGES; i++) {
        mask |= (uint64_t)(present[i] & 1) << i;
    }
    return mask;
}

/* A lost page that was moved. To poison it again tells; without poison nothing does. */
static bool is_lost(struct region *r, uint64_t page)
{
    return !r->userfault.has_poison ||
           userfault_poison(&r->userfault, page_address(r, page), PAGE_BYTES) == -EEXIST;
}

/* Is what is stored of the page what the program has there? True, too, if that cannot be read. */
static bool kept_is_true(struct region *r, uint64_t page)
{
    unsigned char stored[PAGE_BYTES];
    off_t at = (off_t)(uintptr_t)page_address(r, page);
    return r->memory_fd < 0 || sys_pread(r->memory_fd, r->copy_buffer, PAGE_BYTES, at) != (long)PAGE_BYTES ||
           zswap_load(r->zswap, page_entry(r, page), stored) || !memcmp(r->copy_buffer, stored, PAGE_BYTES);
}

static void check_page(struct region *r, uint64_t page, bool resident, bool out, struct survey *s)
{
    struct swap_entry entry = page_entry(r, page);
    bool staged = swap_cache_has(r->swap_cache, entry);
    bool stored = zswap_find(r->zswap, entry) != ZSWAP_NOWHERE;
    s->resident += resident;
    s->staged += staged;
    if (resident && out) {
        complain(s, page, "resident and out");
    }
    bool kept = kept_pages_of(r, page / CLUSTER_PAGES) >> page % CLUSTER_PAGES & 1;
    if (out && staged + stored != 1 && !(staged && kept_is_stored(r, page)) &&
        (staged || !is_lost(r, page))) {
        complain(s, page, staged ? "in the swap cache and stored" : "out, and nowhere");
    }
    if (!out && (staged || (stored && !kept))) {
        complain(s, page, "stored, and not known to be out");
    }
    if (kept && (!stored || !kept_is_true(r, page))) {
        complain(s, page, stored ? "kept, and not what is stored of it" : "kept, and not stored");
    }
}

static void check_cluster(struct region *r, uint64_t number, struct survey *s)
{
    struct cluster *cluster = region_cluster(r, number);
    if (cluster->resident != (mapped_pages(r, number) & ~cluster->foreign)) {
        complain(s, number * CLUSTER_PAGES, "its cluster's resident pages are not those the kernel has");
    }
    if (lent_pages_of(r, number) & ~cluster->resident) {
        complain(s, number * CLUSTER_PAGES, "pages of its cluster are lent, and not resident");
    }
    if ((cluster->resident & ~region_locked_pages_of(r, number)) && !cluster->queued) {
        complain(s, number * CLUSTER_PAGES, "its cluster is resident and not queued");
    }
    for (unsigned i = 0; i < CLUSTER_PAGES; i++) {
        check_page(r, number * CLUSTER_PAGES + i, cluster->resident >> i & 1, cluster->out >> i & 1, s);
    }
}

static void check_locked(struct region *r, struct survey *s)
{
    uint64_t pages = 0;
    for (uint64_t i = 0; (i = sparse_next_committed(&r->locked, i)) < r->locked.slots_total; i++) {
        pages += (uint64_t)__builtin_popcountll(region_locked_pages_of(r, i));
    }
    if (pages * PAGE_BYTES != atomic_read_relaxed(&r->locked_bytes)) {
        fprintf(stderr, "region: %llu pages are locked, and %llu bytes counted\n", (unsigned long long)pages,
                (unsigned long long)r->locked_bytes);
        s->wrong++;
    }
}

bool region_consistent(struct region *r)
{
    struct survey s = {0};
    region_fork_prepare(r);
    for (uint64_t i = 0; (i = sparse_next_committed(&r->clusters, i)) < r->clusters.slots_total; i++) {
        check_cluster(r, i, &s);
    }
    check_locked(r, &s);
    uint64_t held = 0, present = 0;
    for (uint32_t i = 0; i < r->staging.clusters; i++) {
        held += (uint64_t)__builtin_popcountll(r->staging.table[i].held);
        present += (uint64_t)__builtin_popcountll(r->staging.table[i].present);
    }
    if (held != s.staged || present * PAGE_BYTES != account_bytes(r->account, ACCOUNT_SWAP_CACHE) ||
        s.resident * PAGE_BYTES != account_bytes(r->account, ACCOUNT_RESIDENT)) {
        fprintf(stderr,
                "region: %llu resident, %llu waiting (%llu held, %llu frames), charged %zu and %zu pages\n",
                (unsigned long long)s.resident, (unsigned long long)s.staged, (unsigned long long)held,
                (unsigned long long)present, account_bytes(r->account, ACCOUNT_RESIDENT) / PAGE_BYTES,
                account_bytes(r->account, ACCOUNT_SWAP_CACHE) / PAGE_BYTES);
        s.wrong++;
    }
    bool good = !s.wrong & cluster_queue_consistent(&r->resident, &r->clusters);
    good &= zswap_consistent(r->zswap);
    region_fork_parent(r);
    return good;
}
