/* SPDX-License-Identifier: MIT */
#include "base/lock.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/atomic.h"
#include "base/futex.h"
#include "base/types.h"

static const char *const rank_names[LOCK_RANKS] = {
    [LOCK_RANK_ADDRESS_SPACE] = "address space",
    [LOCK_RANK_LAYOUT] = "layout",
    [LOCK_RANK_RECLAIM] = "reclaim",
    [LOCK_RANK_CLUSTER] = "cluster",
    [LOCK_RANK_SHRINKER] = "shrinker",
    [LOCK_RANK_WRITEBACK] = "writeback",
    [LOCK_RANK_COMPACT] = "compaction",
    [LOCK_RANK_CONTEXT] = "context",
    [LOCK_RANK_DEVICE] = "device",
    [LOCK_RANK_SWAP_CACHE] = "swap cache",
    [LOCK_RANK_SWAP_MAP] = "swap map",
    [LOCK_RANK_ORPHAN] = "orphan",
    [LOCK_RANK_LRU] = "lru",
    [LOCK_RANK_POOL] = "pool",
    [LOCK_RANK_LEAF] = "leaf",
};

const char *lock_rank_name(enum lock_rank rank)
{
    return rank < LOCK_RANKS && rank_names[rank] ? rank_names[rank] : "unknown";
}

#ifdef LOCK_CHECKS
/* How many locks of each rank this thread holds. Initial-exec, so that it never allocates. */
static __thread uint8_t held[LOCK_RANKS] __attribute__((tls_model("initial-exec")));

static void print_and_abort(const char *message)
{
    fprintf(stderr, "uzswap: %s\n", message);
    abort();
}

void (*lock_violation)(const char *message) = print_and_abort;

static void check_before_lock(enum lock_rank rank)
{
    for (int above = LOCK_RANKS - 1; above >= (int)rank; above--) {
        if (held[above]) {
            char message[128];
            snprintf(message, sizeof message, "lock order: takes '%s' while it holds '%s'",
                     lock_rank_name(rank), lock_rank_name((enum lock_rank)above));
            lock_violation(message);
            return;
        }
    }
}

static void note_locked(enum lock_rank rank)
{
    held[rank]++;
}

static void note_unlocked(enum lock_rank rank)
{
    if (!held[rank]) {
        lock_violation("unlock of a lock that this thread does not hold");
        return;
    }
    held[rank]--;
}

/* Relaxed: only the owner compares it with its own id, which nobody else writes. */
#define set_owner(m, id) atomic_set_relaxed(&(m)->owner, (uint32_t)(id))
#else
static void check_before_lock(enum lock_rank rank)
{
    (void)rank;
}
static void note_locked(enum lock_rank rank)
{
    (void)rank;
}
static void note_unlocked(enum lock_rank rank)
{
    (void)rank;
}
#define set_owner(m, id) ((void)(m))
#endif

void lock_forget_held(enum lock_rank rank)
{
#ifdef LOCK_CHECKS
    held[rank] = 0;
#else
    (void)rank;
#endif
}

void mutex_init(struct mutex *m, enum lock_rank rank)
{
    *m = (struct mutex)MUTEX_INIT(rank);
}

bool mutex_try_lock(struct mutex *m)
{
    uint32_t free_state = 0;
    /* Acquire: what the last holder wrote under the lock is seen. */
    if (!atomic_cas_acq_rel(&m->state, &free_state, 1)) {
        return false;
    }
    note_locked(m->rank);
    set_owner(m, sys_gettid());
    return true;
}

/* The third mutex of Drepper, "Futexes Are Tricky", after a short spin: most holds are shorter than a
 * sleep costs. */
void mutex_lock(struct mutex *m)
{
    check_before_lock(m->rank);
    uint32_t seen = 0;
    for (int spin = 0; spin < 100; spin++) {
        seen = 0;
        if (atomic_cas_acq_rel(&m->state, &seen, 1)) {
            goto locked;
        }
        if (seen == 2) {
            break;
        }
        cpu_relax();
    }
    while (atomic_swap_acq_rel(&m->state, 2) != 0) {
        futex_wait(&m->state, 2, -1);
    }
locked:
    note_locked(m->rank);
    set_owner(m, sys_gettid());
}

void mutex_unlock(struct mutex *m)
{
    set_owner(m, 0);
    note_unlocked(m->rank);
    /* Release: the next holder sees what was written under the lock. */
    if (atomic_swap_acq_rel(&m->state, 0) == 2) {
        futex_wake(&m->state, 1);
    }
}

void mutex_assert_held(const struct mutex *m)
{
#ifdef LOCK_CHECKS
    if (atomic_read_relaxed(&m->owner) != (uint32_t)sys_gettid()) {
        char message[96];
        snprintf(message, sizeof message, "lock '%s' should be held here and is not",
                 lock_rank_name(m->rank));
        lock_violation(message);
    }
#else
    (void)m;
#endif
}

void rwlock_init(struct rwlock *l, enum lock_rank rank)
{
    l->readers = 0;
    l->writer = 0;
    mutex_init(&l->write_side, rank);
}

void rwlock_read_lock(struct rwlock *l)
{
    check_before_lock(l->write_side.rank);
    for (;;) {
        /* Seq-cst on both words, here and in write_lock: reader raises `readers` then reads `writer`,
         * writer raises `writer` then reads `readers`; one of them must see the other. */
        __atomic_add_fetch(&l->readers, 1, __ATOMIC_SEQ_CST);
        if (likely(!atomic_read_seq_cst(&l->writer))) {
            break;
        }
        if (__atomic_sub_fetch(&l->readers, 1, __ATOMIC_SEQ_CST) == 0) {
            futex_wake(&l->readers, INT_MAX);
        }
        uint32_t inside = 1;
        if (atomic_cas_acq_rel(&l->writer, &inside, 2) || inside == 2) {
            futex_wait(&l->writer, 2, -1);
        }
    }
    note_locked(l->write_side.rank);
}

void rwlock_read_unlock(struct rwlock *l)
{
    note_unlocked(l->write_side.rank);
    /* Seq-cst: a writer that waits either sees the count fall or is seen here and woken. */
    if (__atomic_sub_fetch(&l->readers, 1, __ATOMIC_SEQ_CST) == 0 && atomic_read_seq_cst(&l->writer)) {
        futex_wake(&l->readers, INT_MAX);
    }
}

void rwlock_write_lock(struct rwlock *l)
{
    mutex_lock(&l->write_side);
    atomic_set_seq_cst(&l->writer, 1);
    uint32_t inside;
    while ((inside = atomic_read_seq_cst(&l->readers)) != 0) {
        futex_wait(&l->readers, inside, -1);
    }
}

void rwlock_write_unlock(struct rwlock *l)
{
    /* Seq-cst: readers that come after see what the writer changed. */
    if (__atomic_exchange_n(&l->writer, 0, __ATOMIC_SEQ_CST) == 2) {
        futex_wake(&l->writer, INT_MAX);
    }
    mutex_unlock(&l->write_side);
}
