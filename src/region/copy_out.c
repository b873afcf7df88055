/* SPDX-License-Identifier: MIT */
/*
 * Taking out pages that UFFDIO_MOVE cannot take, as their memory is not plain read-write, or as the kernel has no
 * MOVE:
 *
 *   write-protect --> copy --> drop
 *
 * A write meanwhile waits until the page is gone, and becomes an ordinary fault. A page that nobody may read
 * (PROT_NONE) is read through /proc/self/mem, which looks past the protection; where that cannot be opened (no /proc)
 * it stays. Making it readable for a moment instead would let the program touch what it must not.
 */
#include <errno.h>

#include "base/sys.h"
#include "region/internal.h"

/* The copying of some pages of one cluster into one staging cluster. */
struct copying {
    struct region *region;
    uint64_t number;  /* of the region's cluster */
    uint32_t staging; /* of the staging cluster */
    uint64_t moved;   /* pages that are out */
};

static unsigned char *source_of(struct copying *c, unsigned index)
{
    return page_address(c->region, c->number * CLUSTER_PAGES + index);
}

static unsigned char *target_of(struct copying *c, unsigned index)
{
    return staging_page(&c->region->staging, (uint64_t)c->staging * CLUSTER_PAGES + index);
}

/*
 * Where the program has dropped a page by a system call that we do not see, reading it would wait for a fault
 * handler that may wait for us: it gets the zeros that it reads as. A page that is there, also one that the kernel has
 * swapped out, answers EEXIST.
 */
static void fill_source_holes(struct copying *c, uint64_t mask)
{
    unsigned char here[CLUSTER_PAGES];
    struct region *r = c->region;
    if (sys_call3(SYS_mincore, (long)source_of(c, 0), CLUSTER_BYTES, (long)here)) {
        return;
    }
    for (; mask; mask &= mask - 1) {
        unsigned index = (unsigned)__builtin_ctzll(mask);
        if (!(here[index] & 1)) {
            size_t done;
            kept_end(r, c->number, 1ull << index);
            userfault_copy(&r->userfault, source_of(c, index), r->zero_pages, PAGE_BYTES, false, &done);
        }
    }
}

/* A page that cannot be read where it is. */
static bool copy_past_protection(struct copying *c, unsigned index)
{
    struct region *r = c->region;
    size_t done;
    mutex_assert_held(&r->reclaim_lock); /* for the buffer */
    return r->memory_fd >= 0 &&
           sys_pread(r->memory_fd, r->copy_buffer, PAGE_BYTES, (off_t)(uintptr_t)source_of(c, index)) ==
               (long)PAGE_BYTES &&
           !userfault_copy(&r->userfault, target_of(c, index), r->copy_buffer, PAGE_BYTES, false, &done);
}

/* Copies protected pages [first, first + count) out. Which. */
static uint64_t copy_pages(struct copying *c, unsigned first, unsigned count)
{
    uint64_t copied = 0;
    while (count) {
        size_t done;
        userfault_copy(&c->region->userfault, target_of(c, first), source_of(c, first), count * PAGE_BYTES,
                       false, &done);
        unsigned n = (unsigned)(done >> PAGE_SHIFT);
        copied |= n ? bit_mask(first, n) : 0;
        if (n < count) { /* a page stopped it */
            copied |= copy_past_protection(c, first + n) ? 1ull << (first + n) : 0;
            n++;
        }
        first += n;
        count -= n;
    }
    return copied;
}

/* Drops what was copied; where the kernel refuses that, the copy. What could be dropped. */
static uint64_t drop_pages(struct copying *c, uint64_t copied)
{
    uint64_t dropped = 0;
    unsigned first, count;
    while (mask_next_run(&copied, &first, &count)) {
        if (!sys_madvise(source_of(c, first), count * PAGE_BYTES, MADV_DONTNEED)) {
            dropped |= bit_mask(first, count);
        } else {
            sys_madvise(target_of(c, first), count * PAGE_BYTES, MADV_DONTNEED);
        }
    }
    return dropped;
}

static void copy_run(struct copying *c, unsigned first, unsigned count)
{
    struct region *r = c->region;
    unsigned char *from = source_of(c, first);
    uint64_t mask = bit_mask(first, count);
    if (!r->userfault.has_protect || userfault_protect(&r->userfault, from, count * PAGE_BYTES, true)) {
        return;
    }
    uint64_t moved = drop_pages(c, copy_pages(c, first, count));
    c->moved |= moved;
    region_count(r, REGION_COPIED_OUT, (unsigned)__builtin_popcountll(moved));
    unsigned stays, stays_count;
    for (uint64_t rest = mask & ~moved & ~kept_pages_of(r, c->number);
         mask_next_run(&rest, &stays, &stays_count);) {
        userfault_protect(&r->userfault, source_of(c, stays), stays_count * PAGE_BYTES, false);
    }
    userfault_wake(&r->userfault, from, count * PAGE_BYTES);
}

uint64_t copy_out(struct region *r, uint64_t number, uint32_t staging, uint64_t mask)
{
    struct copying c = {.region = r, .number = number, .staging = staging};
    unsigned first, count;
    if (mask) {
        fill_source_holes(&c, mask);
    }
    while (mask_next_run(&mask, &first, &count)) {
        copy_run(&c, first, count);
    }
    return c.moved;
}
