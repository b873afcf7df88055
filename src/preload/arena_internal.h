/* SPDX-License-Identifier: MIT */
/* What the files of the arena share, and nobody else. */
#ifndef UZSWAP_PRELOAD_ARENA_INTERNAL_H
#define UZSWAP_PRELOAD_ARENA_INTERNAL_H

#include <errno.h>

#include "base/sys.h"
#include "preload/arena.h"

struct span {
    uint64_t first, end; /* pages of the arena */
};

static inline struct span span_of(const struct arena *arena, const char *at, size_t bytes)
{
    uint64_t first = (uint64_t)(at - arena->base) >> PAGE_SHIFT;
    return (struct span){first, first + (bytes >> PAGE_SHIFT)};
}

static inline struct span whole_arena(const struct arena *arena)
{
    return (struct span){0, arena->space.pages};
}

static inline char *address_of(const struct arena *arena, uint64_t page)
{
    return arena->base + (page << PAGE_SHIFT);
}

static inline size_t bytes_of(struct range r)
{
    return r.pages << PAGE_SHIFT;
}

/* Does the program have nothing there? */
static inline bool is_hole(struct range r)
{
    return r.kind == RANGE_FREE || r.kind == RANGE_KEPT;
}

static inline bool is_free(const struct arena *arena, struct span s)
{
    return address_space_is(&arena->space, s.first, s.end - s.first, RANGE_FREE);
}

/* Runs `r` over the parts of the span. */
#define FOR_PARTS(arena, s, r)                                                                               \
    for (struct range r = {.first = (s).first};                                                              \
         r.first < (s).end && (r = address_space_part(&(arena)->space, r.first, (s).end), true);             \
         r.first += r.pages)

/* ---- arena.c */

/* Under the key `pkey`, or the one it has (-1). */
int arena_protect(const struct arena *arena, struct range r, int protection, int pkey);

/* May the program have so many pages more, under its RLIMIT_AS? */
bool arena_may_grow(const struct arena *arena, uint64_t pages);

/* Gives a span that is free, or kept, out. Its address, or -errno. */
long arena_give_out(struct arena *arena, struct span s, int protection, int flags);

/* munmap of the span. If it fails, all is as it was; or, where a part had gone before that could be known, each part is as
 * it was, or free. */
int arena_unmap(struct arena *arena, struct span s);

/* ARENA_RECEIVE. */
long arena_receive(struct arena *arena, const struct arena_request *q);

/* Managed ranges become ordinary memory of the kernel's, content and holes as they are. */
long arena_hand_over(struct arena *arena, struct span s);

/* ---- arena_lock.c */

/* The flags that a new range of so many pages gets; or -EAGAIN if they may not be locked, as they should. */
int arena_flags_of_new(struct arena *arena, uint64_t pages, int protection);

/* May so many pages more be locked? */
bool arena_may_lock(const struct arena *arena, uint64_t pages);

/* Changes the flags of one part. The region knows of locks after it. 0 or -ENOMEM. */
int arena_set_flags(struct arena *arena, struct range r, int flags);

/* Locks a mapping of the kernel's that was a range with these flags. */
void arena_lock_foreign(void *at, size_t bytes, int flags);

long arena_lock(struct arena *arena, const struct arena_request *q);
long arena_lock_all(struct arena *arena, const struct arena_request *q);
long arena_unlock(struct arena *arena, struct span s);
long arena_unlock_all(struct arena *arena);
long arena_next_locked(struct arena *arena, struct arena_request *q);

/* ---- the others */
long arena_advise(struct arena *arena, const struct arena_request *q);
long arena_remap(struct arena *arena, const struct arena_request *q);
long arena_send(struct arena *arena, const struct arena_request *q);

/* ---- arena_break.c */

/* Of a span that has become free, what lies in the room of the break is kept for it again. */
void arena_keep_break(struct arena *arena, struct span s);
long arena_break(struct arena *arena, struct arena_request *q);

#endif
