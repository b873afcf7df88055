/* SPDX-License-Identifier: MIT */
/*
 * The account lies in the session, where the other members of the tree see it. Before a process has its slot, at its
 * start and as a forked child, it has an account of its own, which then moves there.
 */
#include "preload/tree.h"

#include <string.h>

#include "base/budget.h"
#include "base/budget_policy.h"
#include "base/clock.h"
#include "base/lending.h"
#include "preload/runtime.h"
#include "preload/shared_pages.h"

/* What a process takes before it has tables, and how long it waits for that. */
#define START_BYTES ((size_t)1 << 20)
#define START_WAIT_MS 500

/* How long a fault waits for others to give back what is due to this process; and for how long, after one has waited in
 * vain, none waits again: they may be stopped, or have nothing that can leave. */
#define FAULT_WAIT_MS 200
#define NO_WAIT_MS 300

/* Around a thread's pointer: its static TLS and control block, where the kernel writes what it keeps there for the thread
 * (rseq). */
#define KEPT_BELOW ((size_t)64 << 10)
#define KEPT_ABOVE ((size_t)8 << 10)

/* One in so many bytes of the budget is for a child to begin with: what it shares with its parent can leave only where both
 * evict it. */
#define FORK_SHARE 16

/* How often it is looked whether the program does anything, and how much of a CPU is nothing: one in so many parts. */
#define ACTIVITY_MS 100
#define IDLE_CPU_SHARE 10

/* How often shared pages are looked at at most while that is in vain. */
#define SETTLE_MOST_MS 1000

/* How often the shares are looked at, and while this process wants more. */
#define BALANCE_MS 100
#define BALANCE_HUNGRY_MS 10

static struct budget budget;
static struct lending lending = {
    .lives = session_is_alive, .shared = shared_pages_of, .write_protected = shared_pages_protected};
static size_t lent;                        /* at the fork under way */
static uint32_t lender, lender_generation; /* who forked this process; 0 = nobody of this session */

/* Something done now and then while a figure is not 0: less and less often while that does not change. */
struct turns {
    int64_t figure;   /* as last seen */
    uint64_t due_ms;  /* not before */
    uint64_t wait_ms; /* from one time to the next */
};
static struct turns wakes;   /* of borrowers, while this process has debt; the root thread's */
static struct turns settles; /* of what this process has alone, while its lender has debt; the same */
static bool keeps;           /* what loads leave in the cache for the sake of sharing; the same */
static struct {
    uint64_t looked_ms, cpu_ns, faults;
} activity;                  /* at the last look; the same */
static uint64_t due_ms;      /* when to look at the shares; the root thread's */
static uint64_t patience_ms; /* no fault waits before; atomic hint */
static bool is_forked; /* the parent, who has most to give, stands still until this process has its runtime */

/* The pool may have its part of what is borrowed, too: to write that out would free nothing. */
static void set_limit(void)
{
    int64_t borrowed = lending_borrowed(runtime.session, runtime.process, session_is_alive);
    region_set_limit(runtime.arena.region, budget_reach(&budget) + (size_t)borrowed);
}

static bool rise(bool rose)
{
    if (rose) {
        set_limit();
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

const struct region_budget tree_budget = {.more = more, .wait = wait_for_more, .over = over};

/* The limit becomes `limit` in any case: a process that has no room to start in passes the budget. */
static void take(size_t limit)
{
    if (!budget_wait(&budget, limit, is_forked ? 0 : START_WAIT_MS)) {
        budget_force(&budget, limit);
    }
}

void tree_begin(size_t most)
{
    runtime.account.most = (int64_t)most;
    runtime.memory.account = lending.account = &runtime.account;
    runtime.memory.lending = &lending;
}

void tree_join(uint32_t place)
{
    struct account *account = &runtime.session->processes[place].account;
    lending_join(&lending, runtime.session, place, lender, lender_generation);
    account_copy(account, &runtime.account);
    account->peak = account->total;
    runtime.memory.account = account;
    budget_init(&budget, runtime.session, place, session_is_alive);
    take(START_BYTES);
}

void tree_settle(void)
{
    budget_note_active(&budget, clock_ms());
    take(budget_limit_for(account_total(runtime.memory.account)));
    rise(true);
    budget.pool_leaves = zswap_can_write_back(runtime.cache.zswap);
}

/* What was charged not by a fault, and what is no longer another's to pay for. */
static void catch_up(uint64_t now)
{
    size_t used = account_total(runtime.memory.account);
    if (!budget_is_idle(&budget, now) && used > budget_marks_of(account_limit(runtime.memory.account)).high) {
        budget_more(&budget, budget_limit_for(used), now);
    }
}

static uint64_t cpu_ns(void)
{
    struct timespec t = {0};
    sys_call3(SYS_clock_gettime, CLOCK_PROCESS_CPUTIME_ID, (long)&t, 0);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* A program that computes, or comes back for what it has lost, is not idle. What it takes to evict, for others, is no work
 * of its. */
static void look_at_activity(uint64_t now)
{
    struct region_stats region;
    const struct account *account = runtime.memory.account;
    bool evicts = account_total(account) > budget_marks_of(account_limit(account)).low;
    if (now < activity.looked_ms + ACTIVITY_MS) {
        return;
    }
    region_get_stats(runtime.arena.region, &region);
    uint64_t cpu = cpu_ns(), idle_ns = (now - activity.looked_ms) * 1000000 / IDLE_CPU_SHARE;
    if (region.faults != activity.faults || (!evicts && cpu - activity.cpu_ns > idle_ns)) {
        budget_note_active(&budget, now);
    }
    activity.looked_ms = now;
    activity.cpu_ns = cpu;
    activity.faults = region.faults;
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static bool is_due(struct turns *t, int64_t figure, uint64_t now)
{
    if (figure != t->figure) {
        t->figure = figure;
        t->wait_ms = BALANCE_HUNGRY_MS;
        t->due_ms = sooner(t->due_ms, now + BALANCE_HUNGRY_MS);
    }
    return figure && now >= t->due_ms;
}

/* `in_vain`: nothing is left to do before the figure changes, as far as can be seen. */
static void set_next(struct turns *t, uint64_t now, bool in_vain)
{
    t->due_ms = now + (in_vain ? t->wait_ms : BALANCE_HUNGRY_MS);
    if (in_vain && t->wait_ms < SETTLE_MOST_MS) {
        t->wait_ms *= 2;
    }
}

/* Pages that several borrow and the lender has no more, nobody can settle: they are looked at again as others die. */
static void settle(uint64_t now)
{
    int64_t credit = atomic_read_relaxed(&lending.account->credit), owed = lending_owed(&lending);
    if (is_due(&settles, owed ? owed + credit : 0, now)) {
        set_next(&settles, now, region_settle(runtime.arena.region));
    }
    if (is_due(&wakes, atomic_read_relaxed(&lending.account->debt), now)) {
        budget_wake(&budget);
        set_next(&wakes, now, true);
    }
}

static uint64_t next_look(uint64_t now, bool hurries)
{
    uint64_t next = now + (hurries || budget_is_hungry(&budget, now) ? BALANCE_HUNGRY_MS : BALANCE_MS);
    next = settles.figure ? sooner(next, settles.due_ms) : next;
    return wakes.figure ? sooner(next, wakes.due_ms) : next;
}

void tree_balance(uint64_t now)
{
    look_at_activity(now);
    lending_update(&lending);
    settle(now);
    bool shares = lending_is_active(&lending);
    keeps = shares || (keeps && !region_end_keeping(runtime.arena.region));
    budget_balance(&budget, now);
    catch_up(now);
    set_limit();
    due_ms = next_look(now, keeps && !shares);
}

uint64_t tree_due(void)
{
    return due_ms;
}

const uint32_t *tree_news(void)
{
    return &runtime.session->hunger;
}

/* What a child cannot share: tables, which both write all the time; and something to work with. */
void tree_fork_make_room(void)
{
    struct account *account = runtime.memory.account;
    size_t bytes =
        budget_limit_for(account_bytes(account, ACCOUNT_TABLES)) + (size_t)account->most / FORK_SHARE;
    size_t limit = budget_leave(&budget, bytes, clock_ms());
    set_limit();
    size_t most = budget_marks_of(limit).hard;
    if (account_total(account) > most) {
        region_reclaim(runtime.arena.region, most);
    }
}

void tree_fork_prepare(const char *thread_pointer)
{
    const struct account *account = runtime.memory.account;
    const char *kept = thread_pointer - KEPT_BELOW;
    lent = 0;
    region_bring_back(runtime.arena.region, kept, KEPT_BELOW + KEPT_ABOVE);
    if (shared_pages_open()) {
        atomic_set_relaxed(&lending.lends, 1); /* all threads are at rest */
        lent = region_lend(runtime.arena.region, kept, KEPT_BELOW + KEPT_ABOVE) +
               account_bytes(account, ACCOUNT_POOL);
    }
    account_copy(&runtime.account, account);
}

void tree_fork_parent(void)
{
    keeps = true;
    due_ms = clock_ms() + BALANCE_HUNGRY_MS;
}

void tree_fork_child(void)
{
    struct account *account = &runtime.account;
    is_forked = keeps = true;
    lender = lending.place + 1;
    lender_generation = lending.generation;
    lending = (struct lending){.account = account,
                               .lives = session_is_alive,
                               .shared = shared_pages_of,
                               .write_protected = shared_pages_protected};
    runtime.memory.account = account;
    memset(&activity, 0, sizeof activity);
    settles = wakes = (struct turns){0};
    account->limit = account->credit = account->debt = account->total = 0;
    for (int kind = 0; kind < ACCOUNT_KINDS; kind++) {
        account->total += account->bytes[kind];
    }
    account_give_credit(account, lent);
    shared_pages_fork_child();
}

void tree_fork_child_settled(void)
{
    shared_pages_open();
}
