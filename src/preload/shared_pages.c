/* SPDX-License-Identifier: MIT */
#include "preload/shared_pages.h"

#include "base/atomic.h"
#include "base/sys.h"
#include "preload/proc.h"

#define PAGEMAP_PRESENT (1ull << 63)
#define PAGEMAP_EXCLUSIVE (1ull << 56)

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

uint64_t shared_pages_of(const void *at, unsigned n)
{
    uint64_t entries[64], shared = 0;
    size_t bytes = min_size(n, 64) * sizeof entries[0];
    off_t place = (off_t)((uintptr_t)at / PAGE_BYTES * sizeof entries[0]);
    int fd = atomic_read_relaxed(&pagemap);
    if (fd < 0 || sys_pread(fd, entries, bytes, place) != (long)bytes) {
        return ~0ull;
    }
    for (unsigned i = 0; i < bytes / sizeof entries[0]; i++) {
        bool alone =
            (entries[i] & (PAGEMAP_PRESENT | PAGEMAP_EXCLUSIVE)) == (PAGEMAP_PRESENT | PAGEMAP_EXCLUSIVE);
        shared |= (uint64_t)!alone << i;
    }
    return shared;
}
