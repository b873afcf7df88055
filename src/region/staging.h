/* SPDX-License-Identifier: MIT */
/*
 * Where pages wait between the program and the pool: a range of our own, in clusters like the region's, into
 * which pages are moved. A cluster of it takes the evicted pages of one cluster of the region, each at its own
 * place, and gives their frames back to the kernel together once all have gone on (into the pool, or back to the
 * program).
 *
 *   free --staging_take--> filling --staging_publish--> waiting (in the queue, oldest first)
 *        <-- staging_free -- emptied <--staging_next-----+
 *
 * The swap cache names a page here by its number; `held` says which pages have not gone on.
 */
#ifndef UZSWAP_REGION_STAGING_H
#define UZSWAP_REGION_STAGING_H

#include "base/lock.h"
#include "base/memory.h"
#include "region/cluster.h"

struct staging_cluster {
    uint64_t
        present; /* pages whose frame is here, charged to the swap cache; filled by the evictor, emptied by free */
    uint64_t held;   /* pages that wait: cleared by whoever takes the page on; atomic */
    uint64_t source; /* the region's cluster. Set while filling */
    uint32_t next;   /* in the free chain or the queue, number + 1. Guard: lock */
    uint32_t
        lent; /* 1: what is present was here at a fork (lent.c); reclaim lock, or layout lock exclusively */
};

struct staging {
    struct memory *memory;
    unsigned char *base;
    struct staging_cluster *table;
    uint32_t clusters;

    struct mutex lock;
    uint32_t free;           /* chain of free clusters. Guard: lock */
    uint32_t oldest, newest; /* queue of waiting clusters. Guard: lock */
    uint32_t waiting;        /* its length. Guard: lock */
};

/* 0 or -ENOMEM. */
int staging_init(struct staging *s, struct memory *memory, uint32_t clusters);
void staging_destroy(struct staging *s);

static inline size_t staging_bytes(const struct staging *s)
{
    return (size_t)s->clusters * CLUSTER_BYTES;
}

static inline unsigned char *staging_page(const struct staging *s, uint64_t page)
{
    return s->base + (page << PAGE_SHIFT);
}

/* A free cluster, or false. */
bool staging_take(struct staging *s, uint32_t *number);

/* The pages `present` of region cluster `source` are here now and charged; they may be found. */
void staging_fill(struct staging *s, uint32_t number, uint64_t source, uint64_t present);

/* Puts the filled cluster at the young end of the queue. */
void staging_publish(struct staging *s, uint32_t number);

/* Takes the oldest waiting cluster off the queue. False if there is none. */
bool staging_next(struct staging *s, uint32_t *number);

/* The page goes on. */
static inline void staging_let_go(struct staging *s, uint64_t page)
{
    /* Release: what was read from the page was read before its frame can be given back. */
    atomic_fetch_and_acq_rel(&s->table[page / CLUSTER_PAGES].held, ~(1ull << page % CLUSTER_PAGES));
}

/* Gives the frames of an emptied cluster back to the kernel, and the cluster to the free ones. */
void staging_free(struct staging *s, uint32_t number);

uint32_t staging_waiting(struct staging *s);

#endif
