/* SPDX-License-Identifier: MIT */
/*
 * The arena: one huge range of address space, one region, out of which interposed mmap gives ranges to the program.
 *
 * These functions do to the arena what the system calls of the same names do to a process, with their results
 * (0 or an address, or -errno). They run in the root runtime thread only, through `arena_serve`. Ranges
 * are page-aligned and inside the arena.
 */
#ifndef UZSWAP_PRELOAD_ARENA_H
#define UZSWAP_PRELOAD_ARENA_H

#include "base/memory.h"
#include "preload/address_space.h"
#include "region/region.h"

struct arena {
    char *base; /* immutable, as `bytes` */
    size_t bytes;
    struct region *region;
    struct address_space space;
    bool has_pkeys; /* pkey_mprotect was used on it */
};

enum arena_operation {
    ARENA_MAP,           /* anywhere; `at` is a hint. -ENOSPC: no range of the arena is long enough */
    ARENA_MAP_FIXED,     /* at `at`, in place of what is there */
    ARENA_MAP_NOREPLACE, /* at `at`, if that is free */
    ARENA_UNMAP,
    ARENA_PROTECT,
    ARENA_ADVISE,  /* `flags` is the advice */
    ARENA_REMAP,   /* `at`, `bytes` is the old range, `to`, `to_bytes` the new one */
    ARENA_RECEIVE, /* the mapping at `to`, `to_bytes` from outside goes to `at`, and has `bytes` there */
    ARENA_RECEIVE_NOREPLACE,
    ARENA_FIND, /* the kind of the range at `at`, and the end of it in `to` */
};

struct arena_request {
    enum arena_operation operation;
    int protection;
    int flags;
    int pkey; /* -1 = none */
    char *at;
    size_t bytes;
    char *to;
    size_t to_bytes;
};

/* `arena->region` is set; takes the rest from it. 0 or -errno. */
int arena_init(struct arena *arena, struct memory *memory);
void arena_destroy(struct arena *arena);

long arena_serve(struct arena *arena, struct arena_request *request);

#endif
