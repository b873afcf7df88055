/* SPDX-License-Identifier: MIT */
/* A pool being measured, for the files of bench-density. */
#ifndef UZSWAP_BENCH_DENSITY_H
#define UZSWAP_BENCH_DENSITY_H

#include "objects.h"
#include "pool/pool.h"

struct bench {
    const struct pool_ops *ops;
    struct account account;
    struct memory memory;
    struct pool *pool;
    const struct objects *objects;
    uint64_t *handles; /* [owner]; 0: freed */
    uint32_t *sources; /* [owner]: number of the object that lies there */
    size_t count;
    size_t payload; /* bytes of what lies there now */
    uint64_t seed;
};

/* Allocates for owner `i` an object like number `source`. Ends the program if there is no room. */
void bench_alloc(struct bench *b, size_t i, uint32_t source, bool fill);

/* density_speed.c: with the pool filled; prints members of a JSON object. Objects have no content afterwards. */
void print_speed(struct bench *b);

/* density_losses.c: prints zsmalloc's own account of what is no payload, as a member of a JSON object. */
void print_losses(struct bench *b);

#endif
