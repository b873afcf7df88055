/* SPDX-License-Identifier: MIT */
/*
 * The table has 16 shards, each with its lock, so that threads seldom meet; an owner's number chooses. An entry is a pointer, or,
 * odd, the next free entry. A shard's part of the table is address space until it is reached.
 */
#include "malloc_pool.h"

#include <errno.h>

#include "base/lock.h"

enum { SHARD_BITS = 4, SHARDS = 1 << SHARD_BITS };

struct shard {
    struct mutex lock;
    uint64_t *entries; /* Guard: lock, but for an object's entry, which is its user's */
    uint64_t reached;  /* entries that have been used. Guard: lock */
    uint64_t free;     /* number + 1 of the entry freed last, 0 = none. Guard: lock */
} __attribute__((aligned(64)));

struct malloc_pool {
    struct pool pool;
    const struct malloc_ops *malloc_ops; /* immutable */
    struct memory *memory;               /* immutable */
    uint64_t shard_entries;              /* immutable */
    struct shard shards[SHARDS];
};

static struct malloc_pool *malloc_pool_of(struct pool *pool)
{
    return container_of(pool, struct malloc_pool, pool);
}

static size_t shard_bytes(const struct malloc_pool *m)
{
    return round_up(m->shard_entries * sizeof(uint64_t), PAGE_BYTES);
}

static uint64_t *entry_of(struct malloc_pool *m, uint64_t handle)
{
    return &m->shards[handle % SHARDS].entries[(handle >> SHARD_BITS) - 1];
}

static void close_shards(struct malloc_pool *m)
{
    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard *shard = &m->shards[i];
        for (uint64_t n = 0; n < shard->reached; n++) {
            if (!(shard->entries[n] & 1)) {
                m->malloc_ops->free((void *)shard->entries[n]);
            }
        }
        size_t used = round_up(shard->reached * sizeof(uint64_t), PAGE_BYTES);
        account_uncharge(m->memory->account, ACCOUNT_TABLES, used);
        memory_unreserve(m->memory, shard->entries, shard_bytes(m));
    }
}

static int create(struct pool **pool, struct memory *memory, size_t max_bytes, const struct pool_ops *ops,
                  const struct malloc_ops *malloc_ops)
{
    if (!malloc_ops->open()) {
        return -ENOENT;
    }
    struct malloc_pool *m = memory_map(memory, sizeof *m, ACCOUNT_TABLES);
    if (!m) {
        return -ENOMEM;
    }
    m->pool.ops = ops;
    m->memory = memory;
    m->malloc_ops = malloc_ops;
    m->shard_entries = max_bytes / 64 / SHARDS + 1;
    for (unsigned i = 0; i < SHARDS; i++) {
        mutex_init(&m->shards[i].lock, LOCK_RANK_POOL);
        m->shards[i].entries = memory_reserve(memory, shard_bytes(m));
        if (!m->shards[i].entries) {
            close_shards(m);
            memory_unmap(memory, m, sizeof *m, ACCOUNT_TABLES);
            return -ENOMEM;
        }
    }
    *pool = &m->pool;
    return 0;
}

static void destroy(struct pool *pool)
{
    struct malloc_pool *m = malloc_pool_of(pool);
    close_shards(m);
    m->malloc_ops->close();
    memory_unmap(m->memory, m, sizeof *m, ACCOUNT_TABLES);
}

/* Number + 1 of an entry that nobody uses, 0 if there is none. */
static uint64_t take_entry(struct malloc_pool *m, struct shard *shard)
{
    struct mutex *held __attribute__((cleanup(mutex_unlock_scope))) = &shard->lock;
    mutex_lock(held);
    if (shard->free) {
        uint64_t number = shard->free;
        shard->free = shard->entries[number - 1] >> 1;
        return number;
    }
    if (shard->reached == m->shard_entries) {
        return 0;
    }
    if (shard->reached % (PAGE_BYTES / sizeof(uint64_t)) == 0 &&
        !memory_commit(m->memory, PAGE_BYTES, ACCOUNT_TABLES)) {
        return 0;
    }
    return ++shard->reached;
}

static void give_entry(struct shard *shard, uint64_t number)
{
    mutex_lock(&shard->lock);
    shard->entries[number - 1] = shard->free << 1 | 1;
    shard->free = number;
    mutex_unlock(&shard->lock);
}

static int alloc_object(struct pool *pool, size_t bytes, uint64_t owner, uint64_t *handle)
{
    struct malloc_pool *m = malloc_pool_of(pool);
    if (!bytes || bytes > PAGE_BYTES) {
        return -EINVAL;
    }
    void *at = m->malloc_ops->alloc(bytes);
    uint64_t number = at ? take_entry(m, &m->shards[owner % SHARDS]) : 0;
    if (!number) {
        if (at) {
            m->malloc_ops->free(at);
        }
        return -ENOMEM;
    }
    *handle = number << SHARD_BITS | owner % SHARDS;
    *entry_of(m, *handle) = (uint64_t)at;
    return 0;
}

static void free_object(struct pool *pool, uint64_t handle)
{
    struct malloc_pool *m = malloc_pool_of(pool);
    m->malloc_ops->free((void *)*entry_of(m, handle));
    give_entry(&m->shards[handle % SHARDS], handle >> SHARD_BITS);
}

static void *map(struct pool *pool, uint64_t handle)
{
    return (void *)*entry_of(malloc_pool_of(pool), handle);
}

static void unmap(struct pool *pool, uint64_t handle)
{
    (void)pool, (void)handle;
}

static size_t total_size(struct pool *pool)
{
    return malloc_pool_of(pool)->malloc_ops->held();
}

static size_t peers(struct pool *pool, uint64_t handle, uint64_t *owners, size_t room)
{
    (void)pool, (void)handle, (void)owners, (void)room;
    return 0;
}

static size_t trim(struct pool *pool)
{
    struct malloc_pool *m = malloc_pool_of(pool);
    size_t before = m->malloc_ops->held();
    m->malloc_ops->purge();
    size_t after = m->malloc_ops->held();
    return before > after ? before - after : 0;
}

static bool consistent(struct pool *pool)
{
    (void)pool;
    return true;
}

#define MALLOC_POOL(which)                                                                                   \
    static int create_##which(struct pool **pool, struct memory *memory, size_t max_bytes)                   \
    {                                                                                                        \
        return create(pool, memory, max_bytes, &pool_##which, &malloc_ops_##which);                          \
    }                                                                                                        \
    const struct pool_ops pool_##which = {                                                                   \
        .name = #which,                                                                                      \
        .create = create_##which,                                                                            \
        .destroy = destroy,                                                                                  \
        .alloc = alloc_object,                                                                               \
        .free = free_object,                                                                                 \
        .map = map,                                                                                          \
        .unmap = unmap,                                                                                      \
        .total_size = total_size,                                                                            \
        .peers = peers,                                                                                      \
        .trim = trim,                                                                                        \
        .consistent = consistent,                                                                            \
    }

MALLOC_POOL(jemalloc);
MALLOC_POOL(mimalloc);
