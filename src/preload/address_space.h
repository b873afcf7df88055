/* SPDX-License-Identifier: MIT */
/*
 * Which pages of the arena are given out. The arena is one range of pages 0 .. pages - 1, cut into ranges that
 * cover it without gaps; each has a kind and, if it is given out, a protection. Neighbours that are
 * alike are one range, as in the kernel.
 *
 * Not thread-safe: the root runtime thread alone uses it (arena.h).
 */
#ifndef UZSWAP_PRELOAD_ADDRESS_SPACE_H
#define UZSWAP_PRELOAD_ADDRESS_SPACE_H

#include "base/sparse.h"
#include "base/types.h"

/* Ranges at most. The kernel allows a process 65,530 mappings by default (vm.max_map_count). */
#define ADDRESS_SPACE_RANGES (1u << 18)

enum range_kind {
    RANGE_FREE,    /* inaccessible, without content */
    RANGE_MANAGED, /* given out, anonymous, the region's */
    RANGE_FOREIGN, /* given out, another mapping was put over it: a file, shared memory */
    RANGE_KEPT,    /* as free, but not to be found: what the break may grow into */
};

/* What the program has said about a managed range; to the region it is nothing but memory. */
enum range_flag {
    RANGE_LOCKED = 1,          /* mlock */
    RANGE_LOCKED_ON_FAULT = 2, /* with it: pages are not brought in ahead (MLOCK_ONFAULT) */
    RANGE_WIPED_BY_FORK = 4,   /* a child reads zeros */
    RANGE_NOT_FORKED = 8,      /* a child has nothing there */
    RANGE_NOT_DUMPED = 16,
};

struct range {
    uint64_t first; /* page */
    uint64_t pages;
    enum range_kind kind;
    int protection; /* PROT_*; 0 for all but managed ranges */
    int flags;      /* of enum range_flag; 0 for all but managed ranges */
};

struct address_space {
    struct sparse nodes; /* struct node */
    uint64_t pages;
    uint32_t root;   /* 0 = none */
    uint32_t unused; /* chain of nodes that were used once, by `left` */
    uint32_t fresh;  /* nodes from here on were never used */
    uint32_t count;  /* nodes in the tree */
    uint64_t random; /* state of the priorities' generator */
    uint64_t free_pages;
    uint64_t locked_pages;       /* with RANGE_LOCKED */
    uint64_t fork_flagged_pages; /* with RANGE_WIPED_BY_FORK or RANGE_NOT_FORKED */
    uint32_t limit;              /* ADDRESS_SPACE_RANGES, or what the owner sets */
};

/* All free. 0, -EINVAL, -ENOMEM. */
int address_space_init(struct address_space *space, struct memory *memory, uint64_t pages);
void address_space_destroy(struct address_space *space);

/* Makes `r` one range, whatever was there. 0; -EINVAL (outside the arena, or empty); -ENOMEM (the table is full;
 * nothing has changed). */
int address_space_put(struct address_space *space, struct range r);

/* The same, for a range without flags. */
static inline int address_space_set(struct address_space *space, uint64_t first, uint64_t pages,
                                    enum range_kind kind, int protection)
{
    return address_space_put(
        space, (struct range){.first = first, .pages = pages, .kind = kind, .protection = protection});
}

/* Sees to it that the next set cannot fail for want of memory. 0 or -ENOMEM. */
int address_space_reserve(struct address_space *space);

/* The whole range that holds `page`. `page` < pages. */
struct range address_space_find(const struct address_space *space, uint64_t page);

/* As find, cut to [first, end). For loops: for (at = first; at < end; at += r.pages) r = ..._part(at, end) */
struct range address_space_part(const struct address_space *space, uint64_t first, uint64_t end);

/* Is all of [first, first + pages) of that kind? */
bool address_space_is(const struct address_space *space, uint64_t first, uint64_t pages,
                      enum range_kind kind);

/* The lowest free place for `pages` pages whose number is a multiple of `alignment`. False if there is none. */
bool address_space_find_free(const struct address_space *space, uint64_t pages, uint64_t alignment,
                             uint64_t *first);

/* Checks order, cover, heap order, and re-derives every count; prints each mismatch. */
bool address_space_consistent(const struct address_space *space);

#endif
