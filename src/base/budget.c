/* SPDX-License-Identifier: MIT */
#include "base/budget.h"

#include "base/budget_policy.h"
#include "base/clock.h"
#include "base/futex.h"
#include "base/lending.h"

/* After the last other member has gone, room for the next is kept for so long: a program that starts others one by one
 * would evict as much for each. */
#define COMPANY_MS 10000

/* One in so many bytes of the budget: who has no more leaves nothing. */
#define LEAVE_FROM 8

/* A hungry member wakes others no more often than this. */
#define WAKE_MS 10

/* Who waits looks again after so long: what others evict is not announced. */
#define LOOK_MS 2

/* What one look at the members finds. */
struct look {
    size_t n;       /* living members; wants[0] is the own */
    int64_t used;   /* by all */
    int64_t claims; /* of the others */
    bool others_hungry;
    struct budget_want wants[SESSION_PROCESSES];
};

static bool is_recent(uint64_t then, uint64_t now, uint64_t span)
{
    return then && now < then + span;
}

static bool is_hungry(const struct session_process *p, uint64_t now)
{
    return is_recent(atomic_read_relaxed(&p->hungry_ms), now, BUDGET_HUNGRY_MS);
}

/* Has the member lowered its limit to give back? One that is stopped does not. */
static bool gives_back(const struct account *a)
{
    return account_limit(a) < budget_limit_for(account_total(a));
}

/* Who is idle has nothing to lose by giving back. */
static bool is_idle(const struct session_process *p, uint64_t now)
{
    uint64_t active = atomic_read_relaxed(&p->active_ms);
    return active && now >= active + BUDGET_IDLE_MS;
}

static int64_t used_by(const struct budget *b, const struct session_process *p)
{
    return (int64_t)lending_used(b->session, p, b->lives);
}

/* Seq-cst: see the head of budget.h. What it uses is a figure, and may be a moment old. */
static int64_t claim_of(const struct budget *b, const struct session_process *p)
{
    int64_t limit = atomic_read_seq_cst(&p->account.limit), used = used_by(b, p);
    return limit > used ? limit : used;
}

static struct budget_need need_of(const struct budget *b, const struct session_process *p, uint64_t now)
{
    int64_t own =
        atomic_read_relaxed(&p->account.bytes[ACCOUNT_RESIDENT]) - atomic_read_relaxed(&p->account.credit);
    if (b->pool_leaves) {
        own += atomic_read_relaxed(&p->account.bytes[ACCOUNT_POOL]);
    }
    return (struct budget_need){.used = (size_t)used_by(b, p),
                                .evictable = own > 0 ? (size_t)own : 0,
                                .hungry = is_hungry(p, now),
                                .idle = is_idle(p, now) && (p == b->self || gives_back(&p->account))};
}

/* One that has nothing and asks for nothing need not be looked at. */
static bool matters(const struct session_process *p)
{
    return atomic_read_seq_cst(&p->account.limit) || account_total(&p->account) ||
           atomic_read_relaxed(&p->account.credit) || atomic_read_relaxed(&p->hungry_ms);
}

/* The next living member but for `but` with a number of at least *place. */
static const struct session_process *next_member(const struct session *s,
                                                 bool (*lives)(const struct session *, uint32_t),
                                                 const struct session_process *but, uint32_t *place)
{
    /* Seq-cst: raised before a member's first claim, which must not be missed. */
    uint32_t places = atomic_read_seq_cst(&s->places);
    for (uint32_t i = *place; i < places; i++) {
        const struct session_process *p = &s->processes[i];
        if (p != but && matters(p) && lives(s, i)) {
            *place = i + 1;
            return p;
        }
    }
    return NULL;
}

static int64_t claims_of_others(const struct budget *b)
{
    const struct session_process *p;
    int64_t sum = 0;
    for (uint32_t place = 0; (p = next_member(b->session, b->lives, b->self, &place));) {
        sum += claim_of(b, p);
    }
    return sum;
}

static void look_around(struct budget *b, uint64_t now, int64_t own_demand, struct look *look)
{
    const struct session_process *p;
    size_t most = (size_t)b->self->account.most;
    mutex_assert_held(&b->lock);
    look->n = 1;
    look->used = used_by(b, b->self);
    look->claims = 0;
    look->others_hungry = false;
    look->wants[0] = (struct budget_want){own_demand, lending_borrowed(b->session, b->self, b->lives)};
    for (uint32_t place = 0; (p = next_member(b->session, b->lives, b->self, &place));) {
        struct budget_need need = need_of(b, p, now);
        look->used += (int64_t)need.used;
        look->claims += claim_of(b, p);
        look->others_hungry |= need.hungry;
        look->wants[look->n++] =
            (struct budget_want){budget_demand(most, need), lending_borrowed(b->session, p, b->lives)};
    }
    atomic_raise_relaxed(&b->session->peak, look->used);
    atomic_set_relaxed(&b->members, (uint32_t)look->n);
    b->company_ms = look->n > 1 ? now : b->company_ms;
    int64_t limit = b->self->account.limit, left = (int64_t)most - look->claims;
    atomic_set_relaxed(&b->reach, look->others_hungry || left < limit ? limit : left);
}

/* Room that is kept for members to come. */
static int64_t reserve_of(const struct budget *b, uint64_t now)
{
    return is_recent(b->company_ms, now, COMPANY_MS) ? (int64_t)budget_reserve((size_t)b->self->account.most)
                                                     : 0;
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t fair_share(struct budget *b, uint64_t now, const struct look *look)
{
    int64_t bytes = b->self->account.most - reserve_of(b, now);
    return b->share = budget_part(look->wants[0], budget_level(look->wants, look->n, bytes), look->n, bytes);
}

/* Raises the limit if the sum allows it. True if it did. */
static bool raise_to(struct budget *b, int64_t limit)
{
    int64_t *own = &b->self->account.limit, had = *own;
    mutex_assert_held(&b->lock);
    if (limit <= had) {
        return false;
    }
    /* Seq-cst: see the head of budget.h. */
    atomic_set_seq_cst(own, limit);
    if (limit + claims_of_others(b) > b->self->account.most) {
        atomic_set_seq_cst(own, had);
        return false;
    }
    return true;
}

void budget_note_active(struct budget *b, uint64_t now)
{
    atomic_set_relaxed(&b->self->active_ms, now);
}

void budget_wake(struct budget *b)
{
    /* Release: who wakes up sees why. */
    atomic_add_acq_rel(&b->session->hunger, 1);
    futex_wake_shared(&b->session->hunger, INT_MAX);
}

/* Takes note of a refusal. Others need to know only if they have what is due to this member. */
static void become_hungry(struct budget *b, uint64_t now)
{
    mutex_assert_held(&b->lock);
    uint64_t before = b->self->hungry_ms;
    atomic_set_relaxed(&b->self->hungry_ms, now);
    atomic_set_relaxed(&b->refused, 1);
    if (b->self->account.limit < b->share && !is_recent(before, now, WAKE_MS)) {
        budget_wake(b);
    }
}

void budget_init(struct budget *b, struct session *session, uint32_t place,
                 bool (*lives)(const struct session *, uint32_t))
{
    *b = (struct budget){.session = session, .self = &session->processes[place], .lives = lives};
    mutex_init(&b->lock, LOCK_RANK_LEAF);
    uint32_t seen = atomic_read_relaxed(&session->places);
    while (seen <= place && !atomic_cas_seq_cst(&session->places, &seen, place + 1)) {
    }
}

bool budget_more(struct budget *b, size_t wanted, uint64_t now)
{
    int64_t most = b->self->account.most, goal = smaller((int64_t)wanted, most);
    if (!budget_may_rise(b)) {
        return false;
    }
    struct look look;
    SCOPED_LOCK(&b->lock);
    int64_t ask = smaller(goal + (int64_t)budget_step((size_t)most), most);
    look_around(b, now, ask, &look);
    int64_t share = fair_share(b, now, &look), reserve = reserve_of(b, now);
    int64_t room = most - look.claims - (ask > reserve ? reserve : 0);
    bool rose = raise_to(b, smaller(look.others_hungry ? share : ask, room));
    if (b->self->account.limit < goal) {
        become_hungry(b, now);
    }
    return rose;
}

bool budget_wait(struct budget *b, size_t wanted, int timeout_ms)
{
    int64_t goal = smaller((int64_t)wanted, b->self->account.most);
    uint64_t now = clock_ms(), end = now + (uint64_t)timeout_ms;
    uint32_t never = 0;
    for (;; now = clock_ms()) {
        atomic_set_relaxed(&b->refused, 0);
        budget_more(b, wanted, now);
        int64_t limit = atomic_read_relaxed(&b->self->account.limit);
        /* Relaxed: the share as last seen by any thread will do. */
        if (limit >= goal || now >= end || limit >= atomic_read_relaxed(&b->share)) {
            return limit >= goal;
        }
        futex_wait(&never, 0, LOOK_MS);
    }
}

void budget_force(struct budget *b, size_t limit)
{
    SCOPED_LOCK(&b->lock);
    if (b->self->account.limit < (int64_t)limit) {
        atomic_set_seq_cst(&b->self->account.limit, (int64_t)limit);
    }
}

size_t budget_leave(struct budget *b, size_t bytes, uint64_t now)
{
    struct account *own = &b->self->account;
    struct look look;
    SCOPED_LOCK(&b->lock);
    look_around(b, now, 0, &look);
    int64_t had = claim_of(b, b->self), missing = (int64_t)bytes - (own->most - look.claims - had);
    int64_t can_miss = had - own->most / LEAVE_FROM;
    if (missing > 0 && can_miss > 0) {
        b->company_ms = now;
        /* Seq-cst as all changes of a limit. */
        atomic_set_seq_cst(&own->limit, smaller(own->limit, had - smaller(missing, can_miss)));
    }
    return (size_t)own->limit;
}

bool budget_is_hungry(const struct budget *b, uint64_t now)
{
    return is_hungry(b->self, now);
}

bool budget_is_idle(const struct budget *b, uint64_t now)
{
    return is_idle(b->self, now);
}

bool budget_balance(struct budget *b, uint64_t now)
{
    struct account *own = &b->self->account;
    struct look look;
    SCOPED_LOCK(&b->lock);
    struct budget_need need = need_of(b, b->self, now);
    bool hungry = need.hungry;
    look_around(b, now, budget_demand((size_t)own->most, need), &look);
    atomic_set_relaxed(&b->refused, 0);
    if (!hungry && !look.others_hungry && claim_of(b, b->self) + look.claims <= own->most) {
        return false;
    }
    int64_t share = fair_share(b, now, &look);
    if (share < own->limit) {
        /* Seq-cst as all changes of a limit; the pages follow. */
        atomic_set_seq_cst(&own->limit, share);
        return true;
    }
    return hungry && raise_to(b, smaller(share, own->most - look.claims));
}

size_t budget_reach(const struct budget *b)
{
    size_t reach = (size_t)atomic_read_relaxed(&b->reach); /* a figure */
    return max_size(reach, account_limit(&b->self->account));
}

size_t budget_used(struct budget *b)
{
    const struct session_process *p;
    size_t sum = 0;
    for (uint32_t place = 0; (p = next_member(b->session, b->lives, NULL, &place));) {
        sum += (size_t)used_by(b, p);
    }
    atomic_raise_relaxed(&b->session->peak, (int64_t)sum);
    return sum;
}
