/* SPDX-License-Identifier: MIT */
#include "tests/support/restless.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomic.h"
#include "tests/support/test_pool.h"

/* What is known of an object, by its handle: live, how often it is mapped, and its length. */
#define HANDLES (1u << 22)
#define NEAR                                                                                                 \
    (HANDLES /                                                                                               \
     4) /* handles up to here; the others begin somewhere far, where raw pages do, and small objects */
#define FAR_BASES 3
#define LIVE (1u << 31)
#define POISON_MAX 64

static uint32_t states[HANDLES]; /* atomic */
static uint16_t lengths[HANDLES];
static uint64_t
    far_bases[FAR_BASES]; /* what NEAR far ones each are counted from, 0 = none was seen; atomic */
static uint64_t misuses, objects, moves; /* atomic */
static int64_t highest;                  /* place since the pool was made; atomic */
static uint32_t one_in;                  /* atomic */
static const struct pool_ops *watched;   /* of the cache that uses this pool */

static void give_way(void)
{
    static __thread uint32_t random;
    uint32_t n = atomic_read_relaxed(&one_in);
    if (!n) {
        return;
    }
    random = (random ? random : (uint32_t)(uintptr_t)&random) * 1664525 + 1013904223;
    if ((random >> 8) % n == 0) {
        sched_yield();
    }
}

static void check(bool good, uint64_t handle, const char *what)
{
    if (!good && atomic_add_relaxed(&misuses, 1) <= 10) {
        printf("# pool: object %llx %s\n", (unsigned long long)handle, what);
    }
}

/* In the tables; 0 for none, or one too far. The first chain given out is about the lowest. */
static uint64_t place_of(uint64_t handle)
{
    if (handle < NEAR) {
        return handle;
    }
    for (unsigned i = 0; i < FAR_BASES; i++) {
        uint64_t base = 0, first = handle - NEAR / 4;
        if (atomic_cas_relaxed(&far_bases[i], &base, first)) {
            base = first;
        }
        if (handle >= base && handle - base < NEAR) {
            return (i + 1) * NEAR + (handle - base);
        }
    }
    return 0;
}

static bool is_known(uint64_t handle)
{
    bool known = place_of(handle) != 0;
    check(known, handle, "has a handle beyond what is watched");
    return known;
}

static int create(struct pool **pool, struct memory *memory, size_t max_bytes)
{
    watched = test_pool();
    int error = watched->create(pool, memory, max_bytes);
    if (!error) {
        memset(states, 0, (size_t)(atomic_read_relaxed(&highest) + 1) * sizeof states[0]);
        atomic_set_relaxed(&highest, 0);
        memset(far_bases, 0, sizeof far_bases);
        atomic_set_relaxed(&objects, 0);
        atomic_set_relaxed(&moves, 0);
        (*pool)->ops = &restless_pool;
    }
    return error;
}

static void destroy(struct pool *pool)
{
    watched->destroy(pool);
}

static void note_live(uint64_t handle, size_t bytes)
{
    atomic_add_relaxed(&objects, 1);
    atomic_raise_relaxed(&highest, (int64_t)place_of(handle));
    lengths[place_of(handle)] = (uint16_t)bytes;
    check(atomic_swap_acq_rel(&states[place_of(handle)], LIVE) == 0, handle, "was given out twice");
}

static int alloc(struct pool *pool, size_t bytes, uint64_t owner, uint64_t *handle)
{
    int error = watched->alloc(pool, bytes, owner, handle);
    if (!error && is_known(*handle)) {
        note_live(*handle, bytes);
    }
    give_way();
    return error;
}

static void release(struct pool *pool, uint64_t handle)
{
    give_way();
    if (is_known(handle)) {
        memset(watched->map(pool, handle), 0xdd, min_size(lengths[place_of(handle)], POISON_MAX));
        watched->unmap(pool, handle);
        uint32_t before = atomic_swap_acq_rel(&states[place_of(handle)], 0);
        check(before & LIVE, handle, "was freed twice");
        check(!(before & ~LIVE), handle, "was freed while in use");
        if (!(before & LIVE)) {
            return;
        }
        atomic_sub_relaxed(&objects, 1);
    }
    watched->free(pool, handle);
}

static void *map(struct pool *pool, uint64_t handle)
{
    if (is_known(handle)) {
        check(atomic_add_acq_rel(&states[place_of(handle)], 1) & LIVE, handle, "is used and is not there");
    }
    give_way();
    return watched->map(pool, handle);
}

static void unmap(struct pool *pool, uint64_t handle)
{
    watched->unmap(pool, handle);
    if (is_known(handle)) {
        check(atomic_sub_acq_rel(&states[place_of(handle)], 1) & LIVE, handle, "went while it was in use");
    }
    give_way();
}

static size_t total_size(struct pool *pool)
{
    return watched->total_size(pool);
}

static size_t peers(struct pool *pool, uint64_t handle, uint64_t *owners, size_t room)
{
    return watched->peers(pool, handle, owners, room);
}

static struct inherited *inherited(struct pool *pool)
{
    return watched->inherited(pool);
}

static size_t trim(struct pool *pool)
{
    return watched->trim(pool);
}

/* ---- compaction */

/* The mover of who calls compact, behind which the new object is noted and the old one is in use until the end. */
struct watched_mover {
    const struct pool_mover *mover;
    void *context;
};

static bool hold(void *context, uint64_t owner, uint64_t handle)
{
    struct watched_mover *w = context;
    give_way();
    bool held = w->mover->hold(w->context, owner, handle);
    if (held && is_known(handle)) {
        check(atomic_add_acq_rel(&states[place_of(handle)], 1) & LIVE, handle,
              "is to be moved and is not there");
    }
    give_way();
    return held;
}

static bool commit(void *context, uint64_t owner, uint64_t handle, uint64_t moved)
{
    struct watched_mover *w = context;
    give_way();
    if (!is_known(handle) || !is_known(moved)) {
        return w->mover->commit(w->context, owner, handle, moved);
    }
    note_live(moved, lengths[place_of(handle)]);
    check(atomic_sub_acq_rel(&states[place_of(handle)], 1) & LIVE, handle, "went while it was moved");
    bool done = w->mover->commit(w->context, owner, handle, moved);
    atomic_add_relaxed(&moves, done);
    if (!done) { /* and the pool frees it */
        check(atomic_swap_acq_rel(&states[place_of(moved)], 0) == LIVE, moved,
              "is in use, and was not moved");
        atomic_sub_relaxed(&objects, 1);
    }
    give_way();
    return done;
}

static const struct pool_mover watching_mover = {.hold = hold, .commit = commit};

static size_t compact(struct pool *pool, size_t bytes, const struct pool_mover *mover, void *context)
{
    struct watched_mover w = {.mover = mover, .context = context};
    return watched->compact ? watched->compact(pool, bytes, &watching_mover, &w) : 0;
}

static bool consistent(struct pool *pool)
{
    return watched->consistent(pool);
}

static size_t compactable(struct pool *pool)
{
    return watched->compactable ? watched->compactable(pool) : 0;
}

static void lend(struct pool *pool)
{
    watched->lend(pool);
}

const struct pool_ops restless_pool = {
    .name = "restless",
    .create = create,
    .destroy = destroy,
    .alloc = alloc,
    .free = release,
    .map = map,
    .unmap = unmap,
    .total_size = total_size,
    .peers = peers,
    .inherited = inherited,
    .lend = lend,
    .trim = trim,
    .compact = compact,
    .compactable = compactable,
    .consistent = consistent,
};

void restless_set(unsigned n)
{
    atomic_set_relaxed(&one_in, n);
}

uint64_t restless_misuses(void)
{
    return atomic_swap_acq_rel(&misuses, 0);
}

uint64_t restless_objects(void)
{
    return atomic_read_relaxed(&objects);
}

uint64_t restless_moves(void)
{
    return atomic_read_relaxed(&moves);
}

/* ---- the device */

struct restless_device {
    struct swap_device base;
    struct swap_device *inner;
};

static struct swap_device *inner_of(struct swap_device *device)
{
    return container_of(device, struct restless_device, base)->inner;
}

static void submit(struct swap_device *device, struct swap_io *io)
{
    struct swap_device *inner = inner_of(device);
    give_way();
    inner->ops->submit(inner, io);
    give_way();
}

static size_t reap(struct swap_device *device, bool wait)
{
    struct swap_device *inner = inner_of(device);
    give_way();
    return inner->ops->reap(inner, wait);
}

static void close_both(struct swap_device *device)
{
    struct swap_device *inner = inner_of(device);
    inner->ops->close(inner);
    free(container_of(device, struct restless_device, base));
}

static int fork_child(struct swap_device *device)
{
    struct swap_device *inner = inner_of(device);
    return inner->ops->fork_child(inner);
}

static const struct swap_device_ops restless_ops = {
    .scheme = "restless", .close = close_both, .submit = submit, .reap = reap, .fork_child = fork_child};

struct swap_device *restless_device_create(struct swap_device *inner)
{
    struct restless_device *device = calloc(1, sizeof *device);
    if (!device) {
        abort();
    }
    device->base = *inner;
    device->base.ops = &restless_ops;
    device->inner = inner;
    return &device->base;
}
