/* SPDX-License-Identifier: MIT */
/*
 * brk: the heap of a program that has one of its own. At the first call a part of the arena is kept for it, which the
 * break grows into as long as nothing else was put there:
 *
 *   break_start   break_end            break_start + break_bytes
 *   |managed, rw ....|  kept ............................|
 *
 * libc's own break (its malloc, if that is used) and the dynamic loader's stay where the kernel has them: they are other
 * addresses, and libc reaches them without us.
 */
#include "preload/arena_internal.h"

#define BREAK_BYTES_MOST ((size_t)64 << 30)
#define BREAK_SHARE 8 /* and one in so many bytes of the arena at most */

static int keep_room(struct arena *arena)
{
    size_t bytes = min_size(BREAK_BYTES_MOST, arena->bytes / BREAK_SHARE) & ~(PAGE_BYTES - 1);
    uint64_t first;
    if (arena->break_start) {
        return 0;
    }
    if (!address_space_find_free(&arena->space, bytes >> PAGE_SHIFT, 1, &first) ||
        address_space_set(&arena->space, first, bytes >> PAGE_SHIFT, RANGE_KEPT, 0)) {
        return -ENOSPC;
    }
    arena->break_start = arena->break_end = address_of(arena, first);
    arena->break_bytes = bytes;
    return 0;
}

void arena_keep_break(struct arena *arena, struct span s)
{
    if (arena->break_start) {
        struct span kept = span_of(arena, arena->break_start, arena->break_bytes);
        uint64_t first = kept.first > s.first ? kept.first : s.first;
        uint64_t end = kept.end < s.end ? kept.end : s.end;
        if (first < end) {
            address_space_set(&arena->space, first, end - first, RANGE_KEPT,
                              0); /* else it is free: as good */
        }
    }
}

static int grow(struct arena *arena, struct span s)
{
    if (!address_space_is(&arena->space, s.first, s.end - s.first, RANGE_KEPT)) {
        return -ENOMEM; /* the program has mapped something there */
    }
    if (!arena_may_grow(arena, s.end - s.first)) {
        return -ENOMEM;
    }
    int flags = arena_flags_of_new(arena, s.end - s.first, PROT_READ | PROT_WRITE);
    long at = flags < 0 ? flags : arena_give_out(arena, s, PROT_READ | PROT_WRITE, flags);
    return sys_is_error(at) ? (int)at : 0;
}

/* As the kernel: a break that cannot be is no error, but not the one asked for. */
long arena_break(struct arena *arena, struct arena_request *q)
{
    int error = keep_room(arena);
    if (error) {
        return error;
    }
    size_t now = (size_t)(arena->break_end - arena->break_start);
    size_t wanted = (size_t)((uintptr_t)q->at - (uintptr_t)arena->break_start); /* huge if it lies below */
    if (wanted > arena->break_bytes || (wanted > now && wanted > q->limit)) {
        return (long)arena->break_end;
    }
    uint64_t first = span_of(arena, arena->break_start, 0).first;
    uint64_t from = first + (round_up(now, PAGE_BYTES) >> PAGE_SHIFT);
    uint64_t to = first + (round_up(wanted, PAGE_BYTES) >> PAGE_SHIFT);
    if (to > from) {
        error = grow(arena, (struct span){from, to});
    } else if (to < from) {
        error = arena_unmap(arena, (struct span){to, from});
    }
    if (!error) {
        arena->break_end = q->at;
        q->bring_in = to > from && arena->future_lock == RANGE_LOCKED;
        q->to = address_of(arena, from);
        q->to_bytes = q->bring_in ? (to - from) << PAGE_SHIFT : 0;
    }
    return (long)arena->break_end;
}
