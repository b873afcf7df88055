/* SPDX-License-Identifier: MIT */
/* madvise of ranges of the arena, and what it has said about children. */
#include "preload/arena_internal.h"

/* Nothing that drops or evicts may be asked of locked memory. */
static bool is_refused_under_lock(int advice)
{
    return advice == MADV_DONTNEED || advice == MADV_FREE || advice == MADV_COLD || advice == MADV_PAGEOUT;
}

/* The flags of the range under the advice, -1 if they are not its business. */
static int flags_under(int advice, int flags)
{
    switch (advice) {
    case MADV_WIPEONFORK:
        return flags | RANGE_WIPED_BY_FORK;
    case MADV_KEEPONFORK:
        return flags & ~RANGE_WIPED_BY_FORK;
    case MADV_DONTFORK:
        return flags | RANGE_NOT_FORKED;
    case MADV_DOFORK:
        return flags & ~RANGE_NOT_FORKED;
    case MADV_DONTDUMP:
        return flags | RANGE_NOT_DUMPED;
    case MADV_DODUMP:
        return flags & ~RANGE_NOT_DUMPED;
    default:
        return -1;
    }
}

static int advise_for_later(struct arena *arena, struct range r, int advice, int flags)
{
    int error = 0;
    if ((flags ^ r.flags) & RANGE_NOT_DUMPED) {
        error = sys_madvise(address_of(arena, r.first), bytes_of(r), advice);
    }
    return error ? error : arena_set_flags(arena, r, flags);
}

/*
 * MADV_FREE may keep the content until memory is short; memory is always short here, so it is MADV_DONTNEED.
 * Transparent huge pages stay off, so COLLAPSE finds none to make; merging is --deduplicate's business, so advice on
 * it has no effect. POPULATE is the caller's to do, as it touches the pages. What is not named here (REMOVE, guard
 * pages) answers EINVAL, as for memory, or by a kernel, that does not have it.
 */
static int advise_managed(struct arena *arena, struct range r, int advice)
{
    char *at = address_of(arena, r.first);
    size_t bytes = bytes_of(r);
    if ((r.flags & RANGE_LOCKED) && is_refused_under_lock(advice)) {
        return -EINVAL;
    }
    int flags = flags_under(advice, r.flags);
    if (flags >= 0) {
        return advise_for_later(arena, r, advice, flags);
    }
    switch (advice) {
    case MADV_DONTNEED:
    case MADV_FREE:
    case MADV_DONTNEED_LOCKED:
        return region_discard(arena->region, at, bytes);
    case MADV_COLD:
    case MADV_PAGEOUT:
        return region_pageout(arena->region, at, bytes);
    case MADV_WILLNEED:
        return region_willneed(arena->region, at, bytes);
    case MADV_NORMAL:
    case MADV_RANDOM:
    case MADV_SEQUENTIAL:
    case MADV_HUGEPAGE:
    case MADV_NOHUGEPAGE:
    case MADV_MERGEABLE:
    case MADV_UNMERGEABLE:
    case MADV_POPULATE_READ:
    case MADV_POPULATE_WRITE:
        return 0;
    default:
        return -EINVAL;
    }
}

/* As the kernel: holes are stepped over, and reported at the end. */
long arena_advise(struct arena *arena, const struct arena_request *q)
{
    bool hole = false;
    struct span s = span_of(arena, q->at, q->bytes);
    FOR_PARTS(arena, s, r)
    {
        int error = 0;
        if (is_hole(r)) {
            hole = true;
        } else if (r.kind == RANGE_FOREIGN) {
            error = sys_madvise(address_of(arena, r.first), bytes_of(r), q->flags);
        } else {
            error = advise_managed(arena, r, q->flags);
        }
        if (error) {
            return error;
        }
    }
    return hole ? -ENOMEM : 0;
}

/* ---- fork */

static int drop_from_child(struct arena *arena, struct range r)
{
    if (r.flags & RANGE_NOT_FORKED) {
        return arena_unmap(arena, (struct span){r.first, r.first + r.pages});
    }
    return r.flags & RANGE_WIPED_BY_FORK
               ? region_discard(arena->region, address_of(arena, r.first), bytes_of(r))
               : 0;
}

int arena_fork_child(struct arena *arena)
{
    int error = (int)arena_unlock_all(arena);
    if (arena->space.fork_flagged_pages) {
        FOR_PARTS(arena, whole_arena(arena), r)
        {
            error = error ? error : drop_from_child(arena, r);
        }
    }
    return error;
}
