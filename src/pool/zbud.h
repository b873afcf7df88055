/* SPDX-License-Identifier: MIT */
/*
 * The inside of zbud, for zbud.c, its checker and their tests; the design stands at the head of zbud.c.
 *
 *   buddy    one of the at most two objects in a page
 *   chunk    64 bytes: objects are rounded up to whole chunks
 *   listed   said of a page that has room for a second buddy: it is on the list of pages with so many free chunks
 */
#ifndef UZSWAP_POOL_ZBUD_H
#define UZSWAP_POOL_ZBUD_H

#include "base/lock.h"
#include "pool/page_source.h"
#include "pool/pool.h"

#define ZBUD_CHUNK_SHIFT 6
#define ZBUD_CHUNK_BYTES (1u << ZBUD_CHUNK_SHIFT)
#define ZBUD_CHUNKS (1u << (PAGE_SHIFT - ZBUD_CHUNK_SHIFT))

enum zbud_buddy {
    ZBUD_FIRST, /* from the page's beginning */
    ZBUD_LAST,  /* up to its end */
};

/* The record of a page. All zero while the page is not taken. Guard: the pool's lock. */
struct zbud_page {
    uint64_t owners[2];
    uint32_t next; /* page numbers, 0 = end of the list; both 0 if not listed */
    uint32_t prev;
    uint8_t chunks[2]; /* of each buddy, 0 = none there */
    uint8_t unused[6];
};

_Static_assert(sizeof(struct zbud_page) == 32, "two buddies share 32 bytes of record");

/*
 * A handle: where the object lies. `map` needs nothing else, neither lock nor record. Never 0, as page
 * numbers begin at 1.
 *
 *    38          7 6             1   0
 *   |page number  |  first chunk  |buddy|
 */
#define ZBUD_HANDLE_CHUNK_SHIFT 1
#define ZBUD_HANDLE_PAGE_SHIFT 7

_Static_assert(ZBUD_HANDLE_PAGE_SHIFT + 32 == POOL_HANDLE_BITS, "page numbers have 32 bits");

struct zbud {
    struct pool pool;
    struct memory *memory; /* immutable */

    struct mutex lock;           /* not the objects' bytes: those are the callers' */
    struct page_source source;   /* Guard: lock, but for what its header says */
    struct sparse records;       /* struct zbud_page by page number. Guard: lock */
    uint64_t lists_filled;       /* bit n: lists[n] is not empty. Guard: lock */
    uint32_t lists[ZBUD_CHUNKS]; /* [n]: first page with one buddy and n free chunks, 0 = none. Guard: lock */
};

static inline struct zbud *zbud_of(struct pool *pool)
{
    return container_of(pool, struct zbud, pool);
}

/* The record of a page that has been taken once. */
static inline struct zbud_page *zbud_record(const struct zbud *z, uint32_t page)
{
    return (struct zbud_page *)z->records.slots + page;
}

static inline uint64_t zbud_handle(uint32_t page, unsigned first_chunk, enum zbud_buddy buddy)
{
    return (uint64_t)page << ZBUD_HANDLE_PAGE_SHIFT | first_chunk << ZBUD_HANDLE_CHUNK_SHIFT | buddy;
}

static inline uint32_t zbud_handle_page(uint64_t handle)
{
    return (uint32_t)(handle >> ZBUD_HANDLE_PAGE_SHIFT);
}

static inline unsigned zbud_handle_chunk(uint64_t handle)
{
    return handle >> ZBUD_HANDLE_CHUNK_SHIFT & (ZBUD_CHUNKS - 1);
}

static inline enum zbud_buddy zbud_handle_buddy(uint64_t handle)
{
    return (enum zbud_buddy)(handle & 1);
}

/* On which list the page belongs: its free chunks if it has exactly one buddy, else 0, "on none". */
static inline unsigned zbud_list_of(const struct zbud_page *record)
{
    bool one = !record->chunks[ZBUD_FIRST] != !record->chunks[ZBUD_LAST];
    return one ? ZBUD_CHUNKS - record->chunks[ZBUD_FIRST] - record->chunks[ZBUD_LAST] : 0;
}

bool zbud_consistent(struct pool *pool); /* zbud_check.c */

#endif
