/* SPDX-License-Identifier: MIT */
#include "region/staging.h"

#include <errno.h>

#include "base/sys.h"

int staging_init(struct staging *s, struct memory *memory, uint32_t clusters)
{
    *s = (struct staging){.memory = memory, .clusters = clusters};
    mutex_init(&s->lock, LOCK_RANK_LEAF);
    s->base = memory_reserve(memory, staging_bytes(s));
    s->table = memory_map(memory, clusters * sizeof s->table[0], ACCOUNT_TABLES);
    if (!s->base || !s->table) {
        staging_destroy(s);
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < clusters; i++) {
        s->table[i].next = i + 1 < clusters ? i + 2 : 0;
    }
    s->free = 1;
    return 0;
}

void staging_destroy(struct staging *s)
{
    if (!s->memory) {
        return;
    }
    for (uint32_t i = 0; s->table && i < s->clusters; i++) {
        account_uncharge(s->memory->account, ACCOUNT_SWAP_CACHE,
                         (size_t)__builtin_popcountll(s->table[i].present) * PAGE_BYTES);
    }
    memory_unreserve(s->memory, s->base, staging_bytes(s));
    memory_unmap(s->memory, s->table, s->clusters * sizeof s->table[0], ACCOUNT_TABLES);
    *s = (struct staging){0};
}

bool staging_take(struct staging *s, uint32_t *number)
{
    SCOPED_LOCK(&s->lock);
    if (!s->free) {
        return false;
    }
    *number = s->free - 1;
    s->free = s->table[*number].next;
    return true;
}

void staging_fill(struct staging *s, uint32_t number, uint64_t source, uint64_t present)
{
    struct staging_cluster *cluster = &s->table[number];
    cluster->source = source;
    cluster->present = present;
    /* Release: who finds a page through the swap cache sees the cluster filled. */
    atomic_set_release(&cluster->held, present);
}

void staging_publish(struct staging *s, uint32_t number)
{
    SCOPED_LOCK(&s->lock);
    s->table[number].next = 0;
    *(s->newest ? &s->table[s->newest - 1].next : &s->oldest) = number + 1;
    s->newest = number + 1;
    s->waiting++;
}

bool staging_next(struct staging *s, uint32_t *number)
{
    SCOPED_LOCK(&s->lock);
    if (!s->oldest) {
        return false;
    }
    *number = s->oldest - 1;
    s->oldest = s->table[*number].next;
    if (!s->oldest) {
        s->newest = 0;
    }
    s->waiting--;
    return true;
}

void staging_free(struct staging *s, uint32_t number)
{
    struct staging_cluster *cluster = &s->table[number];
    if (cluster->present) {
        sys_madvise(staging_page(s, (uint64_t)number * CLUSTER_PAGES), CLUSTER_BYTES, MADV_DONTNEED);
        account_uncharge(s->memory->account, ACCOUNT_SWAP_CACHE,
                         (size_t)__builtin_popcountll(cluster->present) * PAGE_BYTES);
        cluster->present = 0;
    }
    SCOPED_LOCK(&s->lock);
    cluster->next = s->free;
    s->free = number + 1;
}

uint32_t staging_waiting(struct staging *s)
{
    SCOPED_LOCK(&s->lock);
    return s->waiting;
}
