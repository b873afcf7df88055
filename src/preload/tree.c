/* SPDX-License-Identifier: MIT */
/*
 * The account lies in the session, where the other members of the tree see it. Before a process has its slot, at its
 * start and as a forked child, it has an account of its own, which then moves there.
 */
#include "preload/tree.h"

#include "base/budget.h"
#include "base/budget_policy.h"
#include "base/clock.h"
#include "preload/credit.h"
#include "preload/runtime.h"

/* What a process takes before it has tables, and how long it waits for that. */
#define START_BYTES ((size_t)1 << 20)
#define START_WAIT_MS 500

/* How long a fault waits for others to give back what is due to this process; and for how long, after one has waited in
 * vain, none waits again: they may be stopped, or have nothing that can leave. */
#define FAULT_WAIT_MS 200
#define NO_WAIT_MS 2000

/* How often the shares are looked at, and while this process wants more. */
#define BALANCE_MS 100
#define BALANCE_HUNGRY_MS 10

static struct budget budget;
static uint64_t due_ms;      /* when to look at the shares; the root thread's */
static uint64_t patience_ms; /* no fault waits before; atomic hint */
static bool is_forked; /* the parent, who has most to give, stands still until this process has its runtime */

static bool rise(bool rose)
{
    if (rose) {
        region_set_limit(runtime.arena.region, budget_reach(&budget));
    }
    return rose;
}

static bool more(void *context, size_t limit)
{
    (void)context;
    return budget_may_rise(&budget) && rise(budget_more(&budget, limit, clock_ms()));
}

static bool wait_for_more(void *context, size_t limit)
{
    (void)context;
    bool may_wait = clock_ms() >= atomic_read_relaxed(&patience_ms);
    bool had = budget_wait(&budget, limit, may_wait ? FAULT_WAIT_MS : 0);
    if (!had && may_wait) {
        atomic_set_relaxed(&patience_ms, clock_ms() + NO_WAIT_MS);
    }
    rise(true);
    return had;
}

static size_t over(void *context)
{
    (void)context;
    size_t used = budget_used(&budget), most = (size_t)runtime.memory.account->most;
    return used > most ? used - most : 0;
}

static uint64_t shared(void *context, const void *at, unsigned n)
{
    (void)context;
    return credit_shared_pages(at, n);
}

const struct region_budget tree_budget = {
    .more = more, .wait = wait_for_more, .over = over, .shared = shared};

/* The limit becomes `limit` in any case: a process that has no room to start in passes the budget. */
static void take(size_t limit)
{
    if (!budget_wait(&budget, limit, is_forked ? 0 : START_WAIT_MS)) {
        budget_force(&budget, limit);
    }
}

void tree_join(uint32_t place)
{
    struct account *account = &runtime.session->processes[place].account;
    account_copy(account, &runtime.account);
    account->peak = account->total;
    runtime.memory.account = account;
    budget_init(&budget, runtime.session, place, session_is_alive);
    take(START_BYTES);
}

void tree_settle(void)
{
    take(budget_limit_for(account_total(runtime.memory.account)));
    rise(true);
}

/* What was charged not by a fault, and what is no longer another's to pay for. */
static void catch_up(uint64_t now)
{
    size_t used = account_total(runtime.memory.account);
    if (used > budget_marks_of(account_limit(runtime.memory.account)).high) {
        budget_more(&budget, budget_limit_for(used), now);
    }
}

void tree_balance(uint64_t now)
{
    uint32_t before = atomic_read_relaxed(&budget.members); /* a count */
    int due = credit_update(runtime.memory.account, now);
    budget_balance(&budget, now);
    if (atomic_read_relaxed(&budget.members) != before) {
        credit_doubt();
    }
    catch_up(now);
    region_set_limit(runtime.arena.region, budget_reach(&budget));
    int next = budget_is_hungry(&budget, now) ? BALANCE_HUNGRY_MS : BALANCE_MS;
    due_ms = now + (uint64_t)(due >= 0 && due < next ? due : next);
}

uint64_t tree_due(void)
{
    return due_ms;
}

const uint32_t *tree_news(void)
{
    return &runtime.session->hunger;
}

void tree_fork_prepare(void)
{
    account_copy(&runtime.account, runtime.memory.account);
}

void tree_fork_parent(void)
{
    due_ms = clock_ms() + BALANCE_HUNGRY_MS;
    credit_expect(runtime.memory.account, false, clock_ms());
}

void tree_fork_child(void)
{
    is_forked = true;
    runtime.account.limit = 0;
    runtime.memory.account = &runtime.account;
    credit_fork_child(&runtime.account);
}

void tree_fork_child_settled(void)
{
    credit_expect(runtime.memory.account, true, clock_ms());
}
