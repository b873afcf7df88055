/* SPDX-License-Identifier: MIT */
#include "base/memory.h"

#include "base/sys.h"

#ifndef MADV_COLLAPSE /* Linux 6.1 */
#define MADV_COLLAPSE 25
#endif

static bool injected_failure(struct memory *m)
{
    if (likely(atomic_read_relaxed(&m->fail_countdown) <= 0)) {
        return false;
    }
    return atomic_sub_relaxed(&m->fail_countdown, 1) == 0;
}

static void *map_anonymous(size_t bytes, int extra_flags)
{
    long at = sys_mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | extra_flags, -1, 0);
    return sys_is_error(at) ? NULL : (void *)at;
}

void *memory_map(struct memory *m, size_t bytes, enum account_kind kind)
{
    bytes = round_up(bytes, PAGE_BYTES);
    void *at = injected_failure(m) ? NULL : map_anonymous(bytes, 0);
    if (at) {
        account_charge(m->account, kind, bytes);
    }
    return at;
}

void memory_unmap(struct memory *m, void *at, size_t bytes, enum account_kind kind)
{
    if (!at) {
        return;
    }
    bytes = round_up(bytes, PAGE_BYTES);
    sys_munmap(at, bytes);
    account_uncharge(m->account, kind, bytes);
}

void *memory_reserve(struct memory *m, size_t bytes)
{
    bytes = round_up(bytes, PAGE_BYTES);
    void *at = injected_failure(m) ? NULL : map_anonymous(bytes, MAP_NORESERVE);
    if (at) {
        /* A huge page would make one touched page cost 512. */
        sys_madvise(at, bytes, MADV_NOHUGEPAGE);
    }
    return at;
}

void memory_unreserve(struct memory *m, void *at, size_t bytes)
{
    (void)m;
    if (at) {
        sys_munmap(at, round_up(bytes, PAGE_BYTES));
    }
}

void memory_collapse(void *at, size_t bytes)
{
    /* Allowed for this one call: later, a page touched alone must not bring 511 others. */
    if (sys_madvise(at, bytes, MADV_HUGEPAGE) == 0) {
        sys_madvise(at, bytes, MADV_COLLAPSE);
        sys_madvise(at, bytes, MADV_NOHUGEPAGE);
    }
}

bool memory_commit(struct memory *m, size_t bytes, enum account_kind kind)
{
    if (injected_failure(m)) {
        return false;
    }
    account_charge(m->account, kind, bytes);
    return true;
}

void memory_release(struct memory *m, void *at, size_t bytes, enum account_kind kind)
{
    sys_madvise(at, bytes, MADV_DONTNEED);
    account_uncharge(m->account, kind, bytes);
}
