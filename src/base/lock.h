/* SPDX-License-Identifier: MIT */
/*
 * Locks with ranks, on futexes, so that they work in threads libc knows nothing of and survive fork.
 *
 * A thread may take a lock only if its rank is higher than that of every lock the thread holds; locks
 * of the same rank are never nested. Debug builds (LOCK_CHECKS) check this at every lock and every
 * `lock_assert_held`, and stop the program with a message that names both ranks; release builds keep
 * no trace of it. The idea is jemalloc's witness.
 */
#ifndef UZSWAP_BASE_LOCK_H
#define UZSWAP_BASE_LOCK_H

#include <stdbool.h>
#include <stdint.h>

/* Outermost first. What each lock guards stands beside the lock. */
enum lock_rank {
    LOCK_RANK_ADDRESS_SPACE = 1, /* preload: which ranges of the arena are given out */
    LOCK_RANK_LAYOUT,     /* region: transitions of pages (shared) against changes of ranges (exclusive) */
    LOCK_RANK_RECLAIM,    /* region: one thread at a time evicts and compresses */
    LOCK_RANK_CLUSTER,    /* region: pages going into and out of one cluster */
    LOCK_RANK_SHRINKER,   /* zswap: one thread at a time makes room */
    LOCK_RANK_WRITEBACK,  /* zswap: one shrinker at a time builds and submits clusters */
    LOCK_RANK_COMPACT,    /* zswap: one compaction at a time; never inside the one above */
    LOCK_RANK_CONTEXT,    /* zswap: first use of a context's codec memory */
    LOCK_RANK_DEVICE,     /* swap: submission and completion of device I/O */
    LOCK_RANK_SWAP_CACHE, /* swap: one shard of the swap cache */
    LOCK_RANK_SWAP_MAP,   /* swap: counts and free runs of device slots */
    LOCK_RANK_ORPHAN,     /* zswap: holders of entries that left the index */
    LOCK_RANK_LRU,        /* zswap: order of the entries in the pool */
    LOCK_RANK_POOL,       /* pool: lists of partly filled pages */
    LOCK_RANK_LEAF,       /* whatever nests nothing */
    LOCK_RANKS
};

const char *lock_rank_name(enum lock_rank rank);

struct mutex {
    uint32_t state; /* 0 free, 1 held, 2 held and waited for; atomic */
#ifdef LOCK_CHECKS
    uint32_t owner; /* thread id of the holder, 0 if free; written by the holder */
#endif
    enum lock_rank rank;
};

#define MUTEX_INIT(rank_)                                                                                    \
    {                                                                                                        \
        .rank = (rank_)                                                                                      \
    }

void mutex_init(struct mutex *m, enum lock_rank rank);
void mutex_lock(struct mutex *m);
bool mutex_try_lock(struct mutex *m);
void mutex_unlock(struct mutex *m);

/* In debug builds stops the program unless the calling thread holds `m`. */
void mutex_assert_held(const struct mutex *m);

/*
 * Many readers or one writer. Writers are preferred: once one waits, new readers queue behind it, so
 * a reader must not take the same lock again.
 */
struct rwlock {
    uint32_t readers; /* readers inside; atomic */
    uint32_t writer;  /* 1 from when a writer waits until it leaves, 2 if readers sleep on it; atomic */
    struct mutex write_side; /* held by the writer from waiting to leaving */
};

void rwlock_init(struct rwlock *l, enum lock_rank rank);
void rwlock_read_lock(struct rwlock *l);
void rwlock_read_unlock(struct rwlock *l);
void rwlock_write_lock(struct rwlock *l);
void rwlock_write_unlock(struct rwlock *l);

/* In a forked child, before a lock that was held at the fork is initialized anew: the calling thread holds none of
 * that rank. Only the rank checker cares. */
void lock_forget_held(enum lock_rank rank);

/* For `mutex *__attribute__((cleanup(mutex_unlock_scope)))`: unlocks at the end of the scope. */
static inline void mutex_unlock_scope(struct mutex **m)
{
    if (*m) {
        mutex_unlock(*m);
    }
}

#define SCOPED_LOCK_NAME2(line) scoped_lock_##line
#define SCOPED_LOCK_NAME(line) SCOPED_LOCK_NAME2(line)
/* Holds `m` from here to the end of the enclosing block. */
#define SCOPED_LOCK(m)                                                                                       \
    __attribute__((cleanup(mutex_unlock_scope), unused)) struct mutex *SCOPED_LOCK_NAME(__LINE__) = (m);     \
    mutex_lock(SCOPED_LOCK_NAME(__LINE__))

/* What the rank checker calls on a violation; replaced by the test of the checker. The default prints
 * `message` to standard error and aborts. Debug builds only. */
extern void (*lock_violation)(const char *message);

#endif
