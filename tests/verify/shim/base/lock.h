/* SPDX-License-Identifier: MIT */
/*
 * src/base/lock.h as the explorer has it. To take a lock is a scheduling point: the thread stops there until the lock is
 * free, and goes on with it. To release one is none: others can only gain by it, so that nothing new is seen if they
 * come between the release and what the thread did before it.
 *
 * Unless they only try: a failed try tells that the lock was still held. So locks of the ranks that are ever tried
 * (LOCK_TRIED_RANKS) have a point before the release too; to try a lock of another rank is an error.
 *
 * The order of ranks is not checked: a deadlock is found as one.
 */
#ifndef UZSWAP_VERIFY_SHIM_LOCK_H
#define UZSWAP_VERIFY_SHIM_LOCK_H

#include "tests/verify/explore.h"

/* From the real one: the ranks, MUTEX_INIT and what has no state. */
#define mutex mutex_of_futexes
#define mutex_init mutex_of_futexes_init
#define mutex_lock mutex_of_futexes_lock
#define mutex_try_lock mutex_of_futexes_try_lock
#define mutex_unlock mutex_of_futexes_unlock
#define mutex_assert_held mutex_of_futexes_assert_held
#define mutex_unlock_scope mutex_of_futexes_unlock_scope
#define rwlock rwlock_of_futexes
#define rwlock_init rwlock_of_futexes_init
#define rwlock_read_lock rwlock_of_futexes_read_lock
#define rwlock_read_unlock rwlock_of_futexes_read_unlock
#define rwlock_write_lock rwlock_of_futexes_write_lock
#define rwlock_write_unlock rwlock_of_futexes_write_unlock
#include "src/base/lock.h"
#undef mutex
#undef mutex_init
#undef mutex_lock
#undef mutex_try_lock
#undef mutex_unlock
#undef mutex_assert_held
#undef mutex_unlock_scope
#undef rwlock
#undef rwlock_init
#undef rwlock_read_lock
#undef rwlock_read_unlock
#undef rwlock_write_lock
#undef rwlock_write_unlock
#undef SCOPED_LOCK

#define LOCK_TRIED_RANKS (1u << LOCK_RANK_SHRINKER | 1u << LOCK_RANK_WRITEBACK | 1u << LOCK_RANK_COMPACT)

#define EXPLORE_PLACE(what)                                                                                  \
    __extension__({                                                                                          \
        static const struct explore_place explore_place = {__FILE__, __func__, what, __LINE__};              \
        &explore_place;                                                                                      \
    })

struct mutex {
    uint32_t state; /* 0 free, else the number of the holder + 1 */
    enum lock_rank rank;
};

static inline void mutex_init(struct mutex *m, enum lock_rank rank)
{
    *m = (struct mutex)MUTEX_INIT(rank);
}

static inline void mutex_lock_at(struct mutex *m, const struct explore_place *place)
{
    explore_lock(&m->state, place);
    m->state = explore_thread() + 1;
}

static inline bool mutex_try_lock_at(struct mutex *m, const struct explore_place *place)
{
    if (!(LOCK_TRIED_RANKS >> m->rank & 1)) {
        explore_fail("LOCK_TRIED_RANKS lacks the rank of a lock that is tried (%s)", place->what);
    }
    explore_point(EXPLORE_UPDATE, &m->state, sizeof m->state, place);
    bool got = !m->state;
    if (got) {
        m->state = explore_thread() + 1;
    }
    explore_accessed(&m->state, sizeof m->state, place);
    return got;
}

static inline void mutex_assert_held_at(const struct mutex *m, const struct explore_place *place)
{
    if (m->state != explore_thread() + 1) {
        explore_fail("%s:%d %s: %s, which is not held", place->file, place->line, place->function,
                     place->what);
    }
}

static inline void mutex_unlock_at(struct mutex *m, const struct explore_place *place)
{
    mutex_assert_held_at(m, place);
    if (LOCK_TRIED_RANKS >> m->rank & 1) {
        explore_point(EXPLORE_WRITE, NULL, 0, place);
    }
    m->state = 0;
}

static inline void mutex_unlock_scope(struct mutex **m)
{
    if (*m) {
        mutex_unlock_at(*m, EXPLORE_PLACE("unlock at the end of a scope"));
    }
}

#define mutex_lock(m) mutex_lock_at((m), EXPLORE_PLACE("lock " #m))
#define mutex_try_lock(m) mutex_try_lock_at((m), EXPLORE_PLACE("try_lock " #m))
#define mutex_unlock(m) mutex_unlock_at((m), EXPLORE_PLACE("unlock " #m))
#define mutex_assert_held(m) mutex_assert_held_at((m), EXPLORE_PLACE("assert_held " #m))

#define SCOPED_LOCK(m)                                                                                       \
    __attribute__((cleanup(mutex_unlock_scope), unused)) struct mutex *SCOPED_LOCK_NAME(__LINE__) = (m);     \
    mutex_lock_at(SCOPED_LOCK_NAME(__LINE__), EXPLORE_PLACE("lock " #m))

/* As the real one, a writer that waits keeps new readers out. */
struct rwlock {
    uint32_t readers, writer;
    struct mutex write_side;
};

static inline void rwlock_init(struct rwlock *l, enum lock_rank rank)
{
    *l = (struct rwlock){.write_side = MUTEX_INIT(rank)};
}

static inline void rwlock_read_lock_at(struct rwlock *l, const struct explore_place *place)
{
    explore_lock(&l->writer, place);
    l->readers++;
}

static inline void rwlock_read_unlock(struct rwlock *l)
{
    l->readers--;
}

static inline void rwlock_write_lock_at(struct rwlock *l, const struct explore_place *place)
{
    mutex_lock_at(&l->write_side, place);
    explore_point(EXPLORE_WRITE, NULL, 0, place);
    l->writer = 1;
    explore_lock(&l->readers, place);
}

static inline void rwlock_write_unlock_at(struct rwlock *l, const struct explore_place *place)
{
    l->writer = 0;
    mutex_unlock_at(&l->write_side, place);
}

#define rwlock_read_lock(l) rwlock_read_lock_at((l), EXPLORE_PLACE("read_lock " #l))
#define rwlock_write_lock(l) rwlock_write_lock_at((l), EXPLORE_PLACE("write_lock " #l))
#define rwlock_write_unlock(l) rwlock_write_unlock_at((l), EXPLORE_PLACE("write_unlock " #l))

#endif
