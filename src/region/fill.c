/* SPDX-License-Identifier: MIT */
/* Putting pages into the program: UFFDIO_COPY, the books, and the wake-up. */
#include <errno.h>

#include "base/sys.h"
#include "region/internal.h"

/* The kernel is out of memory, or the address space is changing under the call: neither lasts. */
static bool is_passing(int error)
{
    return error == -EAGAIN || error == -ENOMEM || error == -EINTR;
}

/* Copies the pages in; those already there count as in, and their waiters are woken, but not if pages are to be
 * protected. How many are in before the first that cannot be, with *error. */
static unsigned copy_in(struct region *r, uint64_t page, unsigned count, const unsigned char *from,
                        bool protect, int *error)
{
    unsigned in = 0;
    *error = 0;
    while (in < count) {
        size_t done;
        unsigned char *to = page_address(r, page + in);
        const unsigned char *rest = from + in * PAGE_BYTES;
        size_t bytes = (count - in) * PAGE_BYTES;
        *error = protect ? userfault_copy_protected(&r->userfault, to, rest, bytes, &done)
                         : userfault_copy(&r->userfault, to, rest, bytes, true, &done);
        in += (unsigned)(done >> PAGE_SHIFT);
        if (*error == -EEXIST && in < count && !protect) {
            userfault_wake(&r->userfault, page_address(r, page + in), PAGE_BYTES);
            in++;
        } else if (is_passing(*error) && !done) {
            sys_yield();
        } else if (*error && !is_passing(*error)) {
            break;
        }
    }
    if (in == count) {
        *error = 0;
    }
    return in;
}

/* Under the cluster's lock: copies in and does the books. */
static int fill_locked(struct region *r, struct cluster *cluster, uint64_t page, unsigned count,
                       const void *from, bool protect)
{
    int error;
    uint64_t before = atomic_read_relaxed(&cluster->resident);
    account_charge(r->account, ACCOUNT_RESIDENT, count * PAGE_BYTES);
    unsigned in = copy_in(r, page, count, from, protect, &error);
    uint64_t mask = in ? bit_mask(page % CLUSTER_PAGES, in) : 0;
    if (!protect) {
        kept_forget(r, page / CLUSTER_PAGES, mask);
    }
    /* Release: who sees the bit without the lock may rely on the page being there. */
    atomic_set_release(&cluster->resident, before | mask);
    unsigned new_pages = (unsigned)__builtin_popcountll(mask & ~before);
    account_uncharge(r->account, ACCOUNT_RESIDENT, (count - new_pages) * PAGE_BYTES);
    uint64_t number = page / CLUSTER_PAGES, locked = region_locked_pages_of(r, number);
    if (!(before & ~locked) && (mask & ~locked)) {
        cluster_queue_add(&r->resident, &r->clusters, number);
    }
    return error;
}

static int fill(struct region *r, uint64_t page, unsigned count, const void *from, bool protect)
{
    uint64_t number = page / CLUSTER_PAGES;
    struct cluster *cluster = sparse_get_for_write(&r->clusters, number);
    if (!cluster) {
        return -ENOMEM;
    }
    SCOPED_LOCK(cluster_lock(r, number));
    return fill_locked(r, cluster, page, count, from, protect);
}

int fill_pages(struct region *r, uint64_t page, unsigned count, const void *from)
{
    return fill(r, page, count, from, false);
}

int fill_protected(struct region *r, uint64_t page, const void *from)
{
    return fill(r, page, 1, from, true);
}

int fill_zeros(struct region *r, uint64_t page, unsigned count)
{
    uint64_t number = page / CLUSTER_PAGES;
    struct cluster *cluster = sparse_get_for_write(&r->clusters, number);
    if (!cluster) {
        return -ENOMEM;
    }
    SCOPED_LOCK(cluster_lock(r, number));
    uint64_t used =
        atomic_read_relaxed(&cluster->resident) | atomic_read_relaxed(&cluster->out) | cluster->foreign;
    uint64_t mask = bit_mask(page % CLUSTER_PAGES, count) & ~used;
    unsigned first, run;
    int error = 0;
    while (!error && mask_next_run(&mask, &first, &run)) {
        error = fill_locked(r, cluster, number * CLUSTER_PAGES + first, run, r->zero_pages, false);
    }
    return error;
}

void fill_poison(struct region *r, uint64_t page, int error)
{
    unsigned char *at = page_address(r, page);
    int answer = userfault_poison(&r->userfault, at, PAGE_BYTES);
    if (answer == -EEXIST) {
        /* It is known as lost already: this fault came before the touch that found out was answered. */
        userfault_wake(&r->userfault, at, PAGE_BYTES);
        return;
    }
    region_count(r, REGION_POISONED, 1);
    if (answer) {
        /* Before Linux 6.6: a touch raises SIGSEGV instead. The thread must not wait for ever. */
        sys_mprotect(at, PAGE_BYTES, PROT_NONE);
        userfault_wake(&r->userfault, at, PAGE_BYTES);
    }
    if (r->options.page_lost) {
        r->options.page_lost(r->options.context, at, error);
    }
}

void fill_from_staging(struct region *r, uint64_t page, struct swap_cache_token token, uint64_t name)
{
    int error = kept_fill(r, page, staging_page(&r->staging, name), kept_is_stored(r, page), false);
    if (!error) {
        struct cluster *cluster = region_cluster(r, page / CLUSTER_PAGES);
        /* Acq-rel, with the slot held: nobody else changes this page's bits. */
        atomic_fetch_and_acq_rel(&cluster->out, ~(1ull << page % CLUSTER_PAGES));
        atomic_set_relaxed(&cluster->warm, 1);
        region_count(r, REGION_REFAULTS, 1);
        staging_let_go(&r->staging, name);
        swap_cache_release(r->swap_cache, token);
        return;
    }
    /* The address is not ours any more, or there is no memory for the books: the page waits, the toucher tries
     * again. */
    swap_cache_putback(r->swap_cache, token);
    userfault_wake(&r->userfault, page_address(r, page), PAGE_BYTES);
}
