/* SPDX-License-Identifier: MIT */
/*
 * What a region knows of its pages, 64 neighbours (a cluster) at a time: 32 bytes a cluster, in a sparse array.
 *
 *   resident   bit p: page p is mapped in the program (and charged as resident)
 *   out        bit p: page p has content that is not in the program: in the swap cache, the pool or on the device; or it
 *              was moved when it was lost already, and is nowhere
 *   neither    the page was never touched, or was discarded: it reads as zero
 *   foreign    bit p: something that is not the region's is mapped there (region_disown); it has no other bit
 *
 * The first two bits of a page are never set at once, but for the moment in which its slot in the swap cache is held.
 *
 * Clusters with resident pages stand in the resident queue, oldest first; from there they are evicted as a
 * whole, since taking 64 neighbours out costs little more than taking one.
 */
#ifndef UZSWAP_REGION_CLUSTER_H
#define UZSWAP_REGION_CLUSTER_H

#include "base/lock.h"
#include "base/sparse.h"
#include "base/types.h"

#define CLUSTER_PAGES 64u
#define CLUSTER_BYTES (CLUSTER_PAGES * PAGE_BYTES)

/* Takes the first run of set bits off *mask. False if there is none. */
static inline bool mask_next_run(uint64_t *mask, unsigned *first, unsigned *count)
{
    if (!*mask) {
        return false;
    }
    *first = (unsigned)__builtin_ctzll(*mask);
    uint64_t rest = ~(*mask >> *first);
    *count = rest ? (unsigned)__builtin_ctzll(rest) : CLUSTER_PAGES;
    *mask &= ~bit_mask(*first, *count);
    return true;
}

struct cluster {
    uint64_t resident; /* changed under the cluster's lock; atomic, may be read without */
    uint64_t
        out; /* changed by who holds the page's swap-cache slot, or the layout lock exclusively; atomic */
    uint32_t next;   /* in the resident queue, number + 1. Guard: queue lock */
    uint16_t queued; /* Guard: queue lock */
    uint16_t
        warm; /* a page came back from the swap cache since the cluster was last passed over; atomic hint */
    uint64_t
        foreign; /* bit p: the program has mapped something else there. Guard: layout lock, exclusive to change */
};

_Static_assert((sizeof(struct cluster) & (sizeof(struct cluster) - 1)) == 0,
               "a sparse array wants a power of two");

/* The resident queue: first in, first out, but warm clusters are passed over once. */
struct cluster_queue {
    struct mutex lock;
    uint32_t oldest, newest; /* number + 1, 0 = none. Guard: lock */
    uint64_t length;         /* Guard: lock */
};

void cluster_queue_init(struct cluster_queue *queue);

/* Puts the cluster at the young end, unless it is queued already. */
void cluster_queue_add(struct cluster_queue *queue, struct sparse *clusters, uint64_t number);

/* Takes the oldest cluster off in *number; warm ones go to the young end first. False if there is none. */
bool cluster_queue_take(struct cluster_queue *queue, struct sparse *clusters, uint64_t *number);

/* Checks the chain against flags and length; prints each mismatch. */
bool cluster_queue_consistent(struct cluster_queue *queue, struct sparse *clusters);

#endif
