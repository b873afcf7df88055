/* SPDX-License-Identifier: MIT */
/*
 * What a pool is: the allocator that holds compressed pages.
 *
 * Contract of the ops table. The caller is `zswap/` and nobody else.
 *  - All ops but create and destroy are called from any thread at any time; the pool locks for itself.
 *  - A handle is never 0, fits POOL_HANDLE_BITS, and names its object until `free`, however the pool
 *    moves things inside. After `free` it may name another object.
 *  - `map` gives the object's bytes as one contiguous range that stays where it is until `unmap`. Maps
 *    nest and run side by side. Nobody frees a mapped object; nobody writes to it after the first fill.
 *  - Memory comes from the `struct memory` given at creation, charged to ACCOUNT_POOL (and to
 *    ACCOUNT_TABLES for the pool's own records if they lie elsewhere). Failure is only ever -ENOMEM.
 *  - `owner` is the caller's name for the object (a packed swap entry, or shared object), of POOL_OWNER_BITS; the pool may keep it to
 *    answer `peers` and to ask a mover, and looks at it no further.
 *  - `total_size` is the bytes of memory the pool holds, whether filled or not; it never blocks.
 *  - Objects have 1 .. object_max bytes; PAGE_BYTES (an incompressible page kept raw) must fit.
 */
#ifndef UZSWAP_POOL_POOL_H
#define UZSWAP_POOL_POOL_H

#include "base/inherited.h"
#include "base/memory.h"
#include "base/types.h"

#define POOL_HANDLE_BITS 39
#define POOL_OWNER_BITS 38

struct pool; /* each pool's own structure begins with this */

/*
 * Who can give an object another handle while others use it: the caller's index, as `compact` sees it. Called by
 * the thread in `compact`, which holds no lock of the pool; both may call the pool's free. Each hold that says true
 * is followed by one commit of the same object, before the next hold.
 */
struct pool_mover {
    /* Is the object under `handle` the one that `owner` names now? True: it is filled, and is not freed before
     * commit. False: it is not there yet, or no longer. */
    bool (*hold)(void *context, uint64_t owner, uint64_t handle);

    /* The held object's bytes lie under `moved` too. True: `owner` names `moved` from now on, and the old object is
     * freed, through the pool's free, by the last to use it, perhaps in this call. False: `owner` has changed
     * meanwhile, and the pool frees its copy. The hold is over either way. */
    bool (*commit)(void *context, uint64_t owner, uint64_t handle, uint64_t moved);
};

struct pool_ops {
    const char *name;

    /* Makes an empty pool that can grow to `max_bytes` (address space is set aside for them, rounded as
     * the pool likes, no memory). 0, -ENOMEM, -EINVAL. */
    int (*create)(struct pool **pool, struct memory *memory, size_t max_bytes);

    /* Frees everything, also objects still in it. Nobody else may be using the pool. */
    void (*destroy)(struct pool *pool);

    /* 0 and *handle; -ENOMEM (no memory, or max_bytes reached); -EINVAL for a size that is no size. */
    int (*alloc)(struct pool *pool, size_t bytes, uint64_t owner, uint64_t *handle);
    void (*free)(struct pool *pool, uint64_t handle);

    /*
     * Hints, NULL where they would be of no use: the object of so many bytes under `handle` may soon be read, or
     * freed, and with `reuse` as much be allocated then; what that needs is cold. Nobody need hold the object, and
     * it may be gone.
     */
    void (*prepare_read)(struct pool *pool, uint64_t handle, size_t bytes);
    void (*prepare_free)(struct pool *pool, uint64_t handle, size_t bytes, bool reuse);

    void *(*map)(struct pool *pool, uint64_t handle);
    void (*unmap)(struct pool *pool, uint64_t handle);

    size_t (*total_size)(struct pool *pool);

    /* What writeback needs: the owners of the other objects that must leave before the memory under
     * `handle` can be given back. Writes at most `room` of them and returns how many. A hint: it may be
     * out of date when it returns. */
    size_t (*peers)(struct pool *pool, uint64_t handle, uint64_t *owners, size_t room);

    /* Which of its memory a fork has left to another process, too: the pool keeps that up to date. */
    struct inherited *(*inherited)(struct pool *pool);

    /* At a fork, with everything at rest: all of it is shared from now on. */
    void (*lend)(struct pool *pool);

    /* Gives whole free pages that it keeps in reserve back to the kernel; bytes given back. */
    size_t (*trim)(struct pool *pool);

    /* Moves objects of sparsely filled memory together until about `bytes` bytes, or all that can be won, have gone
     * back to the kernel; returns how many have. Copies no more than twice `bytes`, or what one step needs. Runs
     * beside all other ops and beside itself. NULL where objects never move. */
    size_t (*compact)(struct pool *pool, size_t bytes, const struct pool_mover *mover, void *context);

    /* Bytes that `compact` could win now if no object were held; a hint, a microsecond's work. NULL where objects
     * never move. */
    size_t (*compactable)(struct pool *pool);

    /* Re-derives every count and list from the memory itself, with everything else standing still. True
     * if all agree; else prints each mismatch to standard error. */
    bool (*consistent)(struct pool *pool);
};

struct pool {
    const struct pool_ops *ops;
};

extern const struct pool_ops pool_zbud;
extern const struct pool_ops pool_zsmalloc;

/* The pool called `name`, NULL if there is none. */
const struct pool_ops *pool_by_name(const char *name);

/* The names of all pools, for help texts: "zbud, zsmalloc". */
const char *pool_list(void);

#endif
