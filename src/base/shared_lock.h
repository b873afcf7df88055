/* SPDX-License-Identifier: MIT */
/*
 * A lock between processes, in memory that they share: it says who holds it, by the name of a thread of a member
 * (base/member.h). Whoever waits looks every few milliseconds whether the holder is dead. If he is, one of
 * those who wait gets the lock and is told so, as what it guards may be half done.
 *
 * Zero is a free lock. Inside a process a `struct mutex` is taken first: it has a rank, and this has none.
 */
#ifndef UZSWAP_BASE_SHARED_LOCK_H
#define UZSWAP_BASE_SHARED_LOCK_H

#include "base/types.h"

struct shared_lock {
    uint64_t holder;    /* member_thread_self() of who holds it, 0 = free; atomic */
    uint32_t turns;     /* changed to wake who sleeps on it; atomic, wraps */
    uint32_t contended; /* 1 = somebody may sleep; atomic */
};

/* The caller is a member's thread, as are all who take the lock, of the same table. 0, or -EOWNERDEAD: the caller has
 * the lock, and the last holder died with it. Who dies before he has repaired what it guards hands that on. */
int shared_lock_take(struct shared_lock *lock);
void shared_lock_give(struct shared_lock *lock);

/* For work in pieces, for each of which the lock is taken: between two, lets who was woken go first, for a moment. `turn` is
 * what shared_lock_turn said before the piece. */
uint32_t shared_lock_turn(const struct shared_lock *lock);
void shared_lock_let_others(struct shared_lock *lock, uint32_t turn);

/* Does the calling thread hold it? */
bool shared_lock_is_mine(const struct shared_lock *lock);

#endif
