/* SPDX-License-Identifier: MIT */
/*
 * Pools made of a malloc, for comparison: jemalloc, mimalloc. As a pointer does not fit a handle, each has a table of
 * pointers, which counts as metadata.
 *
 * The libraries are not linked in: the program is started with LD_PRELOAD, and finds their functions by name. (dlopen will not do:
 * jemalloc wants thread-local memory that only a library loaded at the start can have.)
 */
#ifndef UZSWAP_BENCH_MALLOC_POOL_H
#define UZSWAP_BENCH_MALLOC_POOL_H

#include "pool/pool.h"

/* Each thread-safe, like the pool's ops; `close` is called when all objects are free. */
struct malloc_ops {
    bool (*open)(void); /* false if the library is not there */
    void (*close)(void);
    void *(*alloc)(size_t bytes);
    void (*free)(void *at);
    size_t (*held)(void); /* bytes of memory that the allocator says it holds */
    void (*purge)(void);  /* gives the kernel what it can */
};

extern const struct malloc_ops malloc_ops_jemalloc, malloc_ops_mimalloc;
extern const struct pool_ops pool_jemalloc, pool_mimalloc;

#endif
