/* SPDX-License-Identifier: MIT */
/*
 * Which pages of a range that the runtime alone writes are still those of before the last fork, and so perhaps another
 * process's, too: base/lending.h wants to know when one of them is copied or dropped.
 *
 *   bit of a page   0  inherited, if it holds memory
 *                   1  own: it has been written, or was given memory, since the fork
 *
 * A fork clears them all. Nothing is kept while no fork shares anything. The range is much larger than what is in use of it:
 * the fork says where memory is.
 */
#ifndef UZSWAP_BASE_INHERITED_H
#define UZSWAP_BASE_INHERITED_H

#include "base/lending.h"
#include "base/sparse.h"

#define INHERITED_EXTENTS 3

/* A part of the range that has memory, here and there. */
struct inherited_extent {
    const void *base;
    size_t bytes;
};

struct inherited {
    struct memory *memory;
    const char *base;
    struct sparse own; /* uint64_t for 64 pages; atomic */
    bool
        borrowed; /* this process has lent nothing itself, so what is inherited is borrowed. Changed at forks */
    struct {
        uint64_t first, end;
    } used[INHERITED_EXTENTS]; /* slots of `own`. Changed at forks */
    unsigned settle_extent;    /* where inherited_settle goes on; its callers exclude each other */
    uint64_t settle_at;        /* the same */
};

/* For [base, base + bytes). 0 or -ENOMEM. */
int inherited_init(struct inherited *i, struct memory *memory, const void *base, size_t bytes);
void inherited_destroy(struct inherited *i);

/* At a fork, with everything at rest: all memory of the range is shared from now on. It lies in `count` <= INHERITED_EXTENTS
 * extents. And in the child. */
void inherited_begin(struct inherited *i, const struct inherited_extent *extents, unsigned count);
void inherited_fork_child(struct inherited *i);

/* Looks for pages that are no longer another process's, a step at a time. */
void inherited_settle(struct inherited *i);

/* The next two if lending_is_active: from any thread. */
void inherited_note_fresh(struct inherited *i, const void *at, size_t bytes);
void inherited_note_end(struct inherited *i, const void *at, size_t bytes);

/* Pages that had no memory get some. */
static inline void inherited_fresh(struct inherited *i, const void *at, size_t bytes)
{
    if (unlikely(lending_is_active(i->memory->lending))) {
        inherited_note_fresh(i, at, bytes);
    }
}

/* [at, at + bytes) is about to be written, or pages have lost their memory. */
static inline void inherited_end(struct inherited *i, const void *at, size_t bytes)
{
    if (unlikely(lending_is_active(i->memory->lending))) {
        inherited_note_end(i, at, bytes);
    }
}

#endif
