/* SPDX-License-Identifier: MIT */
/*
 * One budget for several processes.
 *
 * Each member of a session (base/member.h) has an account there, which all can read and it alone writes. Its `limit`
 * is what it may use. A member *claims* its limit, or what it uses if that is more: where a limit was lowered, what
 * is above it is still being evicted.
 *
 *     sum of the claims of living members <= the tree's limit
 *
 * That is the whole shared state, and the sum is kept nowhere: who wants more adds the claims up. So a member that
 * dies, at any instruction, has given all back, and nothing can drift. The members are looked at rarely: limits are
 * raised in steps (budget_policy.h), and not at all once a single process has the whole budget.
 *
 *   more     under a fault: raises the own limit as far as the sum allows, and if another is hungry only up to the
 *            fair share. Refused: the member is hungry for HUNGRY_MS, and wakes the others' root threads if it
 *            has less than its share.
 *   balance  in each root thread, now and then and when woken: while anybody is hungry, the own limit becomes the fair
 *            share, up or down. If down, the region evicts what is too much, and the claim follows.
 *
 * Two that raise at once: each first raises its own limit and then reads all others'. Both are seq-cst, so at least one
 * sees the other's, and takes its own back. Perhaps both do: the next fault asks again.
 *
 * Who sleeps needs nothing: an idle member wants less than it has while anybody is hungry, and less again the next time
 * (budget_policy.h). So a hundred processes that wait leave the budget to the one that works.
 *
 * A member that is stopped (SIGSTOP) gives nothing back: its claim counts, and the others share the rest. Who has less
 * than the fair share and can make no room waits a little, and then passes the budget rather than stand still;
 * what it uses counts.
 */
#ifndef UZSWAP_BASE_BUDGET_H
#define UZSWAP_BASE_BUDGET_H

#include "base/lock.h"
#include "base/session.h"

/* How long after a refusal a member counts as hungry. */
#define BUDGET_HUNGRY_MS 500

/* For how long a member has done nothing when it counts as idle. */
#define BUDGET_IDLE_MS 300

struct budget {
    /* immutable after budget_init */
    struct session *session;
    struct session_process *self;
    bool (*lives)(const struct session *session, uint32_t place);
    bool
        pool_leaves; /* there is a device: what is compressed can leave, too. False unless set after budget_init */

    struct mutex lock;   /* guards the own limit's changes and: */
    uint64_t company_ms; /* when another member was seen, last */
    int64_t share;       /* the fair share, when last looked at */
    int64_t reach;       /* what the limit could have become then; atomic */
    uint32_t members;    /* that lived then; atomic */
    uint32_t refused;    /* 1 = asking is in vain before the next balance; atomic hint */
};

/* Takes part with slot `place` of the session, whose account has `most` set and a limit of 0. `lives` tells the living
 * from others by the numbers of their slots. */
void budget_init(struct budget *budget, struct session *session, uint32_t place,
                 bool (*lives)(const struct session *, uint32_t));

/* False: budget_more would do nothing. Relaxed, here and there: hints. */
static inline bool budget_may_rise(const struct budget *budget)
{
    const struct account *account = &budget->self->account;
    return atomic_read_relaxed(&account->limit) < account->most && !atomic_read_relaxed(&budget->refused);
}

/* Below: the time is that of base/clock.h. */

/* Raises the limit to `wanted` bytes and somewhat more, or as far as it may. True if it rose. Any thread. */
bool budget_more(struct budget *budget, size_t wanted, uint64_t now_ms);

/* The same, and waits for others to give back until the limit is `wanted` or the fair share, or the time is over. True if
 * it is `wanted`. */
bool budget_wait(struct budget *budget, size_t wanted, int timeout_ms);

/* Raises the limit, come what may. */
void budget_force(struct budget *budget, size_t limit);

/* This member does something. Any thread. */
void budget_note_active(struct budget *budget, uint64_t now_ms);

/* Has the root threads of all members look at their shares. */
void budget_wake(struct budget *budget);

/* Sees to it that `bytes` are left for a member to come, if need be by lowering the own limit, as long as that is large. What
 * it is then. */
size_t budget_leave(struct budget *budget, size_t bytes, uint64_t now_ms);

/* Brings the limit to the fair share while anybody is hungry, and takes note of the tree's peak. True if the limit
 * changed. */
bool budget_balance(struct budget *budget, uint64_t now_ms);

/* Is this member hungry? Or idle? */
bool budget_is_hungry(const struct budget *budget, uint64_t now_ms);
bool budget_is_idle(const struct budget *budget, uint64_t now_ms);

/* What the limit could become if this member wanted more at once: the limit if anybody is hungry, else what the others
 * leave. As of the last look; any thread. */
size_t budget_reach(const struct budget *budget);

/* How much the living members use together. It may be a new peak. */
size_t budget_used(struct budget *budget);

#endif
