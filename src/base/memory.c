/* SPDX-License-Identifier: MIT */
#include "base/memory.h"

#include "base/sys.h"

static bool injected_failure(struct memory *m)
{
    if (likely(atomic_read_relaxed(&m->fail_countdown) <= 0)) {
        return false;
    }
    return atomic_sub_relaxed(&m->fail_countdown, 1) == 0;
}

static void *map_anonymous(const struct memory *m, size_t bytes, int extra_flags)
{
    int flags = MAP_ANONYMOUS | (m->shared ? MAP_SHARED : MAP_PRIVATE) | extra_flags;
    long at = sys_mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
    return sys_is_error(at) ? NULL : (void *)at;
}

/*
 * A reservation must not use up the program's RLIMIT_DATA. To the kernel, what is private and writable is data, unless it is a
 * stack, and whether a mapping is one is said by MAP_GROWSDOWN. It is not to grow, though, where the program touches an address
 * below by mistake: so there is an inaccessible page in between, and what lies below that is nobody's stack.
 */
static void *reserve_private(size_t bytes)
{
    const int flags = MAP_ANONYMOUS | MAP_PRIVATE | MAP_NORESERVE;
    size_t unit = bytes % HUGE_BYTES ? PAGE_BYTES : HUGE_BYTES, room = bytes + unit;
    long base = sys_mmap(NULL, room, PROT_NONE, flags, -1, 0);
    if (sys_is_error(base)) {
        return NULL;
    }
    char *begin = (char *)base, *at = (char *)round_up((size_t)base + PAGE_BYTES, unit);
    long result = sys_mmap(at, bytes, PROT_READ | PROT_WRITE, flags | MAP_GROWSDOWN | MAP_FIXED, -1, 0);
    if (sys_is_error(result)) {
        sys_munmap(begin, room);
        return NULL;
    }
    char *guard = at - PAGE_BYTES, *end = at + bytes;
    if (guard > begin) {
        sys_munmap(begin, (size_t)(guard - begin));
    }
    if (end < begin + room) {
        sys_munmap(end, (size_t)(begin + room - end));
    }
    return at;
}

static void *reserve(const struct memory *m, size_t bytes)
{
    return m->shared ? map_anonymous(m, bytes, MAP_NORESERVE) : reserve_private(bytes);
}

static void charge(struct memory *m, size_t bytes, enum account_kind kind)
{
    account_charge(m->account, kind, bytes);
    if (m->shared) {
        atomic_add_relaxed(&m->charged[kind], (int64_t)bytes);
    }
}

void memory_uncharge(struct memory *m, size_t bytes, enum account_kind kind)
{
    account_uncharge(m->account, kind, bytes);
    if (m->shared) {
        atomic_sub_relaxed(&m->charged[kind], (int64_t)bytes);
    }
}

void memory_uncharge_all(struct memory *m)
{
    for (int kind = 0; kind < ACCOUNT_KINDS; kind++) {
        memory_uncharge(m, (size_t)m->charged[kind], (enum account_kind)kind);
    }
}

void *memory_map(struct memory *m, size_t bytes, enum account_kind kind)
{
    bytes = round_up(bytes, PAGE_BYTES);
    void *at = injected_failure(m) ? NULL : map_anonymous(m, bytes, 0);
    if (at) {
        charge(m, bytes, kind);
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
    memory_uncharge(m, bytes, kind);
}

void *memory_reserve(struct memory *m, size_t bytes)
{
    bytes = round_up(bytes, PAGE_BYTES);
    void *at = injected_failure(m) ? NULL : reserve(m, bytes);
    if (at) {
        /* A huge page would make one touched page cost 512. */
        sys_madvise(at, bytes, MADV_NOHUGEPAGE);
    }
    return at;
}

void memory_unreserve(struct memory *m, void *at, size_t bytes)
{
    size_t below = m->shared ? 0 : PAGE_BYTES;
    if (at) {
        sys_munmap((char *)at - below, below + round_up(bytes, PAGE_BYTES));
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

void memory_split(void *at, size_t bytes)
{
    /* Asked to age a part of a huge page, the kernel splits it first. Contents stay. */
    sys_madvise(at, bytes, MADV_COLD);
}

bool memory_commit(struct memory *m, size_t bytes, enum account_kind kind)
{
    if (injected_failure(m)) {
        return false;
    }
    charge(m, bytes, kind);
    return true;
}

void memory_release(struct memory *m, void *at, size_t bytes, enum account_kind kind)
{
    memory_drop(m, at, bytes);
    memory_uncharge(m, bytes, kind);
}

void memory_drop(const struct memory *m, void *at, size_t bytes)
{
    /* Shared memory is a file in the kernel, whose pages outlive a mapping of them. */
    sys_madvise(at, bytes, m->shared ? MADV_REMOVE : MADV_DONTNEED);
}
