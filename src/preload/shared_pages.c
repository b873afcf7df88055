/* SPDX-License-Identifier: MIT */
#include "preload/shared_pages.h"

#include "base/atomic.h"
#include "base/sys.h"
#include "preload/proc.h"

#define PAGEMAP_PRESENT (1ull << 63)
#define PAGEMAP_EXCLUSIVE (1ull << 56)
#define PAGEMAP_PROTECTED (1ull << 57)

static int pagemap = -1; /* of this process; written by the root thread; atomic */

bool shared_pages_open(void)
{
    if (pagemap < 0) {
        /* Relaxed: a number. */
        atomic_set_relaxed(&pagemap, proc_open("self/pagemap"));
    }
    return pagemap >= 0;
}

void shared_pages_fork_child(void)
{
    pagemap = -1;
}

/* The page map's entries for up to 64 pages. False if the kernel does not say. */
static bool read_entries(const void *at, unsigned n, uint64_t entries[64])
{
    size_t bytes = min_size(n, 64) * sizeof entries[0];
    off_t place = (off_t)((uintptr_t)at / PAGE_BYTES * sizeof entries[0]);
    int fd = atomic_read_relaxed(&pagemap);
    return fd >= 0 && sys_pread(fd, entries, bytes, place) == (long)bytes;
}

/* Which of the entries have all of these bits. */
static uint64_t entries_with(const uint64_t entries[64], unsigned n, uint64_t bits)
{
    uint64_t mask = 0;
    for (unsigned i = 0; i < n && i < 64; i++) {
        mask |= (uint64_t)((entries[i] & bits) == bits) << i;
    }
    return mask;
}

uint64_t shared_pages_of(const void *at, unsigned n)
{
    uint64_t entries[64];
    if (!read_entries(at, n, entries)) {
        return ~0ull;
    }
    return bit_mask(0, n) & ~entries_with(entries, n, PAGEMAP_PRESENT | PAGEMAP_EXCLUSIVE);
}

uint64_t shared_pages_protected(const void *at, unsigned n)
{
    uint64_t entries[64];
    return read_entries(at, n, entries) ? entries_with(entries, n, PAGEMAP_PRESENT | PAGEMAP_PROTECTED) : 0;
}
