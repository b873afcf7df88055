/* SPDX-License-Identifier: MIT */
#include "base/shared_lock.h"

#include <errno.h>

#include "base/atomic.h"
#include "base/futex.h"
#include "base/member.h"
#include "base/sys.h"

#define SPINS 200
#define LOOK_EVERY_MS 2
#define LET_MS 1

/* 0 or -EOWNERDEAD: taken. -EBUSY: a living thread has it. */
static int try_take(struct shared_lock *lock)
{
    uint64_t seen = atomic_read_relaxed(&lock->holder);
    if (seen && !member_thread_is_dead(member_table_self(), seen)) {
        return -EBUSY;
    }
    int result = seen ? -EOWNERDEAD : 0;
    /* Acquire: what the last holder did is seen; if he died, member_thread_is_dead has seen that, too. */
    return atomic_cas_acq_rel(&lock->holder, &seen, member_thread_self()) ? result : -EBUSY;
}

int shared_lock_take(struct shared_lock *lock)
{
    int result = -EBUSY;
    if (unlikely(!member_thread_self())) {
        __builtin_trap(); /* nobody could see it die */
    }
    for (int i = 0; i < SPINS && (result = try_take(lock)) == -EBUSY; i++) {
        cpu_relax();
    }
    if (result != -EBUSY) {
        return result;
    }
    do {
        uint32_t turn = atomic_read_acquire(&lock->turns);
        atomic_swap_acq_rel(&lock->contended, 1);
        if ((result = try_take(lock)) == -EBUSY) {
            futex_wait_shared(&lock->turns, turn, LOOK_EVERY_MS);
        }
    } while (result == -EBUSY);
    /* Others may sleep that were not woken. A wake-up that is missed costs LOOK_EVERY_MS, no more. */
    atomic_swap_acq_rel(&lock->contended, 1);
    return result;
}

void shared_lock_give(struct shared_lock *lock)
{
    /* Release: the next holder sees what was done. */
    atomic_set_release(&lock->holder, 0);
    if (atomic_read_relaxed(&lock->contended) && atomic_swap_acq_rel(&lock->contended, 0)) {
        atomic_add_acq_rel(&lock->turns, 1);
        futex_wake_shared(&lock->turns, 1);
    }
}

uint32_t shared_lock_turn(const struct shared_lock *lock)
{
    return atomic_read_acquire(&lock->turns);
}

void shared_lock_let_others(struct shared_lock *lock, uint32_t turn)
{
    uint32_t now = shared_lock_turn(lock);
    sys_yield();
    if (now != turn) { /* somebody was woken, who would find the lock taken again */
        futex_wait_shared(&lock->turns, now, LET_MS);
    }
}

bool shared_lock_is_mine(const struct shared_lock *lock)
{
    /* Relaxed: only this thread writes its own name. */
    return member_thread_self() && atomic_read_relaxed(&lock->holder) == member_thread_self();
}
