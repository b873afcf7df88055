/* SPDX-License-Identifier: MIT */
/*
 * A very large array of which little is used: address space for all of it, memory (charged, page by
 * page) for the parts that were touched. The kernel's page tables are its upper levels, so an access is
 * one add and one load. A bitmap, one bit a page, says which pages have been committed.
 *
 *   bitmap   |1|0|0|1|...            set by compare-and-swap, once the page is charged
 *   slots    |page|  |  |page|...    zero until written
 *
 * Thread-safe without locks. `sparse_get` never commits: it answers NULL where nothing was written.
 */
#ifndef UZSWAP_BASE_SPARSE_H
#define UZSWAP_BASE_SPARSE_H

#include "base/memory.h"

struct sparse {
    char *slots;
    uint64_t *committed;   /* one bit a page of slots; atomic */
    uint8_t *bitmap_pages; /* one byte a page of `committed`, 1 once it is charged; atomic */
    struct memory *memory;
    size_t slot_bytes; /* a power of two of at most PAGE_BYTES */
    uint64_t slots_total;
    enum account_kind kind;
    bool huge; /* see sparse_allow_huge; immutable once it is used */
};

/* 0, -EINVAL or -ENOMEM. */
int sparse_init(struct sparse *s, struct memory *memory, uint64_t slots, size_t slot_bytes,
                enum account_kind kind);
void sparse_destroy(struct sparse *s);

/* Before its first use: 2 MiB of it that are wholly committed become a huge page. For tables that are read at
 * random, and stay: a page of these given back goes to the kernel only once it wants memory, or has all of them. */
void sparse_allow_huge(struct sparse *s);

/* True if the page that holds slot `i` is committed. */
static inline bool sparse_is_committed(const struct sparse *s, uint64_t i)
{
    uint64_t page = i * s->slot_bytes >> PAGE_SHIFT;
    /* Relaxed: the page reads as zero until somebody writes it, so there is nothing to wait for. */
    return atomic_read_relaxed(&s->committed[page / 64]) >> (page % 64) & 1;
}

/* Slot `i` for reading, NULL where nothing has been written or `i` is out of range. */
static inline void *sparse_get(const struct sparse *s, uint64_t i)
{
    return i < s->slots_total && sparse_is_committed(s, i) ? s->slots + i * s->slot_bytes : NULL;
}

/* Slot `i` for writing; commits its page. NULL if there is no memory or `i` is out of range. */
void *sparse_get_for_write(struct sparse *s, uint64_t i);

/* Gives back the page that holds slot `i`, which reads as zero from then on, whether it was committed or not. The
 * caller has made sure that nobody writes it meanwhile. */
void sparse_release_page(struct sparse *s, uint64_t i);

static inline size_t sparse_slots_per_page(const struct sparse *s)
{
    return PAGE_BYTES / s->slot_bytes;
}

/* The first slot at or after `i` whose page is committed; `slots_total` if there is none. */
uint64_t sparse_next_committed(const struct sparse *s, uint64_t i);

#endif
