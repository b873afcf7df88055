/* SPDX-License-Identifier: MIT */
/*
 * mlock and its family. The flag of a range says that it is locked, the region's mask which pages may not leave: every
 * page of a locked range. Two limits hold for the sum of locked ranges, whether their pages are there or not: the
 * program's RLIMIT_MEMLOCK, which it sends along, as the root thread has its own privileges; and what the region can
 * do without.
 *
 * Nothing is brought in here: the caller touches the pages (interpose.c), and waits for its own faults.
 *
 * mlockall does not lock what is inaccessible: reservations can be larger than any memory. mprotect that opens a range
 * under MCL_FUTURE locks it.
 */
#include "preload/arena_internal.h"

#ifndef MLOCK_ONFAULT
#define MLOCK_ONFAULT 1
#endif

bool arena_may_lock(const struct arena *arena, uint64_t pages)
{
    uint64_t most = min_size(arena->lock_limit, region_lock_limit(arena->region)) >> PAGE_SHIFT;
    return arena->space.locked_pages + pages <= most;
}

int arena_flags_of_new(struct arena *arena, uint64_t pages, int protection)
{
    if (!arena->future_lock || protection == PROT_NONE) {
        return 0;
    }
    return arena_may_lock(arena, pages) ? arena->future_lock : -EAGAIN;
}

/* The program had it locked before, so no limit is in the way. */
void arena_lock_foreign(void *at, size_t bytes, int flags)
{
    sys_call3(SYS_mlock2, (long)at, (long)bytes, flags & RANGE_LOCKED_ON_FAULT ? MLOCK_ONFAULT : 0);
}

int arena_set_flags(struct arena *arena, struct range r, int flags)
{
    char *at = address_of(arena, r.first);
    bool locked = r.flags & RANGE_LOCKED, lock = flags & RANGE_LOCKED;
    if (flags == r.flags) {
        return 0;
    }
    int error = address_space_reserve(&arena->space);
    if (!error && lock && !locked) {
        error = region_lock(arena->region, at, bytes_of(r));
    }
    if (error) {
        return error;
    }
    if (locked && !lock) {
        region_unlock(arena->region, at, bytes_of(r));
    }
    r.flags = flags;
    return address_space_put(&arena->space, r);
}

static int lock_flags(bool on_fault)
{
    return RANGE_LOCKED | (on_fault ? RANGE_LOCKED_ON_FAULT : 0);
}

static int lock_part(struct arena *arena, struct range r, int flags)
{
    return arena_set_flags(arena, r, (r.flags & ~RANGE_LOCKED_ON_FAULT) | flags);
}

/* As the kernel: what lies before the first hole is locked. */
long arena_lock(struct arena *arena, const struct arena_request *q)
{
    struct span s = span_of(arena, q->at, q->bytes);
    uint64_t more = 0;
    FOR_PARTS(arena, s, counted)
    {
        more += counted.kind == RANGE_MANAGED && !(counted.flags & RANGE_LOCKED) ? counted.pages : 0;
    }
    arena->lock_limit = q->limit;
    if (more && !arena_may_lock(arena, more)) {
        return -ENOMEM;
    }
    FOR_PARTS(arena, s, r)
    {
        long error = -ENOMEM;
        if (r.kind == RANGE_MANAGED) {
            error = lock_part(arena, r, lock_flags(q->flags & MLOCK_ONFAULT));
        } else if (r.kind == RANGE_FOREIGN) {
            error = sys_call3(SYS_mlock2, (long)address_of(arena, r.first), (long)bytes_of(r), q->flags);
        }
        if (error) {
            return error;
        }
    }
    return 0;
}

static bool is_for_lock_all(struct range r)
{
    return r.kind == RANGE_MANAGED && r.protection != PROT_NONE;
}

long arena_lock_all(struct arena *arena, const struct arena_request *q)
{
    int flags = lock_flags(q->flags & MCL_ONFAULT);
    uint64_t more = 0;
    FOR_PARTS(arena, whole_arena(arena), counted)
    {
        more += is_for_lock_all(counted) && !(counted.flags & RANGE_LOCKED) ? counted.pages : 0;
    }
    arena->lock_limit = q->limit;
    if ((q->flags & MCL_CURRENT) && !arena_may_lock(arena, more)) {
        return -ENOMEM;
    }
    arena->future_lock = q->flags & MCL_FUTURE ? flags : 0;
    if (!(q->flags & MCL_CURRENT)) {
        return 0;
    }
    FOR_PARTS(arena, whole_arena(arena), r)
    {
        int error = is_for_lock_all(r) ? lock_part(arena, r, flags) : 0;
        if (error) {
            return error;
        }
    }
    return 0;
}

static int unlock_part(struct arena *arena, struct range r)
{
    return arena_set_flags(arena, r, r.flags & ~(RANGE_LOCKED | RANGE_LOCKED_ON_FAULT));
}

long arena_unlock(struct arena *arena, struct span s)
{
    FOR_PARTS(arena, s, r)
    {
        long error = -ENOMEM;
        if (r.kind == RANGE_MANAGED) {
            error = unlock_part(arena, r);
        } else if (r.kind == RANGE_FOREIGN) {
            error = sys_call3(SYS_munlock, (long)address_of(arena, r.first), (long)bytes_of(r), 0);
        }
        if (error) {
            return error;
        }
    }
    return 0;
}

long arena_unlock_all(struct arena *arena)
{
    arena->future_lock = 0;
    for (uint64_t page = 0; arena->space.locked_pages && page < arena->space.pages;) {
        struct range r = address_space_part(&arena->space, page, arena->space.pages);
        int error = r.kind == RANGE_MANAGED ? unlock_part(arena, r) : 0;
        if (error) {
            return error;
        }
        page += r.pages;
    }
    return 0;
}

long arena_next_locked(struct arena *arena, struct arena_request *q)
{
    struct span s = {span_of(arena, q->at, 0).first, arena->space.pages};
    FOR_PARTS(arena, s, r)
    {
        if ((r.flags & (RANGE_LOCKED | RANGE_LOCKED_ON_FAULT)) == RANGE_LOCKED) {
            q->at = address_of(arena, r.first);
            q->bytes = bytes_of(r);
            return 0;
        }
    }
    return -ENOENT;
}
