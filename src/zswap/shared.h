/* SPDX-License-Identifier: MIT */
/*
 * Objects that several entries share, and the references by which entries name them. Two tables of numbers:
 *
 *   entry's word            reference 7          shared object 3                   pool
 *   |POOL, name 7| ------>  | 3 |  -----------> |word: POOL, handle|count 2| ---> object, owner "shared 3"
 *   |POOL, name 9| ------>  | 3 |  ------^ reference 9
 *
 * Why a reference has a number of its own, instead of the entry naming the shared object: while anybody holds what
 * an entry names, its name must not come back into the entry's word (rule 4 of lifecycle.h). The shared object's
 * number would: invalidate the entry, store the same page there again. So a reference is what an object is to the
 * lifecycle: made before its word is published, named by one word, ended by the last to hold it. It costs 4 bytes,
 * and no place in the pool, where it would take 21 with zsmalloc and half a page with zbud.
 *
 * A shared object's word is one like an entry's, of kind POOL, and changes by the same rules (lifecycle.h), so the
 * pool can move it.
 *
 * Count: one for each reference, and one for each store that is just looking whether its page is the same. Who
 * would raise it from 0 finds that the object is gone. Who drops it to 0 empties the word and gives the number
 * back. Who holds an entry whose word names a reference can rely on both: the reference is not ended, so the count
 * is not 0.
 */
#ifndef UZSWAP_ZSWAP_SHARED_H
#define UZSWAP_ZSWAP_SHARED_H

#include "base/lock.h"
#include "base/sparse.h"

/* Fewer only for tests of what happens then. A count never runs over: references, and stores that look, are fewer. */
#define REFERENCES_MAX (1u << 30)
#define SHARED_MAX (1u << 28)

struct shared {
    uint64_t word;  /* changed by lifecycle.c only */
    uint32_t count; /* atomic */
    uint32_t
        next; /* of a free number: the next free one, 0 = none. Guard: the tables' lock. Else the checker's own count */
};

/* Numbers 1 .. most, given out lowest first. A free one's slot holds the next free one's number at `link`. */
struct numbers {
    struct sparse slots;
    size_t link;
    uint32_t most;
    uint32_t used; /* no higher number was ever given out */
    uint32_t free; /* the number that came back last, 0 = none */
    uint32_t live;
};

struct shared_tables {
    struct mutex lock;
    struct numbers
        references;        /* uint32_t: the shared object's number. Guard: lock; of a live one: who made it */
    struct numbers shared; /* struct shared. Guard: lock, but not for words and counts */
};

/* 0 or -ENOMEM. */
int shared_init(struct shared_tables *t, struct memory *memory);
void shared_destroy(struct shared_tables *t);

/* A number for a shared object, whose word and count are 0; 0 if there is none. Given back with both 0 again. */
uint32_t shared_make(struct shared_tables *t);
void shared_end(struct shared_tables *t, uint32_t number);

/* The shared object of that number; NULL if it was never given out. */
static inline struct shared *shared_at(const struct shared_tables *t, uint64_t number)
{
    return sparse_get(&t->shared.slots, number);
}

/* One user more. False if it has none: it is gone, or not there yet. */
bool shared_get(struct shared *s);

/* One user less. True if it was the last, who then has the object to himself. */
bool shared_put(struct shared *s);

/* A reference to a shared object, of which the caller gives it one count; 0 if there is none. */
uint32_t reference_make(struct shared_tables *t, uint32_t shared);

/* The reference is no more. The number of the shared object, of which the caller gets the count. */
uint32_t reference_end(struct shared_tables *t, uint32_t reference);

/* What a reference that is not ended meanwhile refers to. */
static inline uint32_t reference_target(const struct shared_tables *t, uint64_t reference)
{
    return ((const uint32_t *)t->references.slots.slots)[reference];
}

#endif
