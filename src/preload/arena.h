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
    bool has_pkeys;     /* pkey_mprotect was used on it */
    int future_lock;    /* mlockall(MCL_FUTURE): the flags of new ranges */
    size_t lock_limit;  /* the RLIMIT_MEMLOCK of who locked last; for what future_lock locks */
    size_t space_limit; /* the program's RLIMIT_AS; SIZE_MAX = none */
    size_t reserved;    /* how much address space is the runtime's, with the arena; immutable */
    char *break_start;  /* arena_break.c; NULL before the first sbrk */
    char *break_end;    /* the break */
    size_t break_bytes; /* kept from break_start on */
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
    ARENA_SEND,      /* the range at `at`, `bytes` goes to `to`, outside, and has `to_bytes` there */
    ARENA_HAND_OVER, /* managed ranges become the kernel's, with what is in them */
    ARENA_COVERS,    /* -ENOMEM if the range has holes; else whether a part of it is locked */
    ARENA_NEXT, /* the first range at or after `at` that is locked with its pages: in `at`, `bytes`. -ENOENT */
    ARENA_LOCK,     /* `flags` is mlock2's; `limit` how much may be locked */
    ARENA_LOCK_ALL, /* `flags` is mlockall's, likewise */
    ARENA_UNLOCK,   /* a range */
    ARENA_LIMIT,    /* `limit` is the program's RLIMIT_AS from now on; what is the runtime's address space */
    ARENA_UNLOCK_ALL, /* all, also of the future */
    ARENA_BREAK, /* the break goes to `at`, if it may be `limit` bytes long; where it is then. -ENOSPC: no room */
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
    size_t limit;
    bool bring_in; /* out: the pages are locked, and the caller should touch them */
};

/* `arena->region` is set; takes the rest from it. 0 or -errno. */
int arena_init(struct arena *arena, struct memory *memory);
void arena_destroy(struct arena *arena);

long arena_serve(struct arena *arena, struct arena_request *request);

/* In a forked child, when its region works: what is not inherited goes (locks; content under MADV_WIPEONFORK, ranges
 * under MADV_DONTFORK). */
int arena_fork_child(struct arena *arena);

#endif
