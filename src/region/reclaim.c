/* SPDX-License-Identifier: MIT */
/*
 * Reclaim: holding the budget.
 *
 *   limit       what the account may hold: resident pages, swap cache, pool, tables
 *   hard limit  a little below: a fault that would pass it reclaims first (what reclaim itself needs, a growing pool
 *               above all, lies between the two)
 *   high water  above it the reclaim thread works ahead of demand ...
 *   low water   ... until it is down to this
 *
 * One step either evicts the oldest cluster into the staging area (frees nothing, but gives its pages their second
 * chance) or compresses the oldest staging cluster into the pool (frees most of it). The staging area is kept at
 * its target, so a page waits there for as long as it takes to evict that many others. The pool makes room by
 * itself when it is at its limit (zswap/shrinker.c); without a device it may grow instead, up to POOL_MAX_PERCENT.
 *
 * When steps no longer lower the total, the region is over budget: the program goes on, is warned about once, and
 * faults try again only now and then, until there is room.
 */
#include <errno.h>

#include "base/futex.h"
#include "base/lending.h"
#include "base/sys.h"
#include "region/internal.h"

#define POOL_MAX_PERCENT 90
#define POOL_STEP_PERCENT 5
#define STEPS_BEFORE_WRITEBACK 4
#define STEPS_BEFORE_TRIM 8
#define STUCK_STEPS 64       /* steps without a new lowest total */
#define OVER_BUDGET_TRIES 64 /* faults a new try comes on */
#define PASS_OVER_MOST 16    /* clusters that are all shared, in a row */
#define DEBT_SHARE 64        /* of the budget: what may be evicted in advance of borrowers */
#define COPIES_A_FAULT 2     /* pages of the pool that a load and a store may copy after a fork */
#define RETRY_MS 100
#define REAP_MS 5

/* ---- one step */

/* A borrower has not followed yet. */
static bool is_in_debt(const struct region *r)
{
    return atomic_read_relaxed(&r->account->debt) > r->account->most / DEBT_SHARE;
}

/* Evicting a page that another process has, too, since a fork, costs a copy, and frees nothing before that one evicts it as
 * well. Which pages of the cluster to take: its own. */
static uint64_t own_pages(struct region *r, uint64_t number)
{
    uint64_t shared = lent_pages_shared(r, number, ~0ull);
    return likely(!shared) ? ~0ull : atomic_read_relaxed(&region_cluster(r, number)->resident) & ~shared;
}

/* The pool is at its limit and nothing can be written back: let it grow while the budget allows. */
static bool raise_pool_limit(struct region *r)
{
    size_t limit = account_limit(r->account), now = r->pool_limit;
    size_t next = min_size(now + limit / 100 * POOL_STEP_PERCENT, limit / 100 * POOL_MAX_PERCENT);
    if (zswap_can_write_back(r->zswap) || next <= now) {
        return false;
    }
    r->pool_limit = next;
    zswap_set_max_pool_bytes(r->zswap, next);
    return true;
}

/* To the limit that is asked for, once it can write back again (the device failed, or was full). */
static void restore_pool_limit(struct region *r)
{
    marks_refresh(r);
    size_t asked = region_mark(&r->pool_limit_asked);
    if (r->pool_limit < asked || (r->pool_limit > asked && zswap_can_write_back(r->zswap))) {
        r->pool_limit = asked;
        zswap_set_max_pool_bytes(r->zswap, asked);
    }
}

/* Nothing is left to evict or compress, or nothing that frees memory: the pool itself takes too much. */
static bool shrink_pool(struct region *r)
{
    restore_pool_limit(r);
    return zswap_shrink(r->zswap, CLUSTER_BYTES, true) != 0;
}

static bool is_above_limit(const struct region *r)
{
    return account_total(r->account) > account_limit(r->account);
}

static bool evict_oldest(struct region *r)
{
    uint64_t number;
    int passed_over = 0;
    for (int tries = 0; tries < 64; tries++) {
        bool looks = passed_over < PASS_OVER_MOST;
        if (!looks && is_above_limit(r) && shrink_pool(r)) {
            return true; /* what is shared takes more memory when it is stored, where this member should have less */
        }
        if (!cluster_queue_take(&r->resident, &r->clusters, &number)) {
            break;
        }
        uint64_t mask = looks ? own_pages(r, number) : is_in_debt(r) ? 0 : ~0ull;
        unsigned evicted = mask ? evict_cluster(r, number, mask) : 0;
        passed_over += !mask;
        /* What could not be taken, or came meanwhile, must stay in the queue. Acquire: see fill_locked. */
        mutex_lock(cluster_lock(r, number));
        if (atomic_read_relaxed(&region_cluster(r, number)->resident) & ~region_locked_pages_of(r, number)) {
            cluster_queue_add(&r->resident, &r->clusters, number);
        }
        mutex_unlock(cluster_lock(r, number));
        if (evicted || !looks) {
            return evicted;
        }
    }
    return false;
}

static int store_page(struct region *r, uint64_t page, uint64_t name)
{
    struct swap_entry entry = page_entry(r, page);
    kept_forget(r, page / CLUSTER_PAGES, 1ull << page % CLUSTER_PAGES);
    int error = zswap_store(r->zswap, entry, staging_page(&r->staging, name));
    if (error == -ENOSPC) {
        /* Full, and perhaps only because the writes that make room are not through yet. */
        zswap_shrink(r->zswap, CLUSTER_BYTES, true);
        error = zswap_store(r->zswap, entry, staging_page(&r->staging, name));
    }
    while (error == -ENOSPC && raise_pool_limit(r)) {
        error = zswap_store(r->zswap, entry, staging_page(&r->staging, name));
    }
    return error;
}

/* Stores one waiting page. False if it could not be stored and waits on. */
static bool compress_page(struct region *r, uint64_t page, uint64_t name)
{
    struct swap_cache_token token;
    if (!swap_cache_begin_store(r->swap_cache, page_entry(r, page), name, &token)) {
        return true; /* on its way back to the program: the fault lets go of it */
    }
    bool stored = kept_is_stored(r, page);
    int error = stored ? 0 : store_page(r, page, name);
    if (!error && swap_cache_finish_store(r->swap_cache, token)) {
        staging_let_go(&r->staging, name);
        return true;
    }
    if (error && swap_cache_cancel_store(r->swap_cache, token)) {
        return false;
    }
    /* A fault came meanwhile: the page goes back instead, and what was stored for it is void. */
    if (!stored) {
        zswap_invalidate(r->zswap, page_entry(r, page));
    }
    fill_from_staging(r, page, token, name);
    return true;
}

/* Compresses the oldest staging cluster, and gives its frames back once nothing waits in it. False if it could not. */
static bool compress_oldest(struct region *r)
{
    uint32_t number;
    if (!staging_next(&r->staging, &number)) {
        return false;
    }
    restore_pool_limit(r);
    struct staging_cluster *cluster = &r->staging.table[number];
    bool good = true;
    for (uint64_t rest = atomic_read_acquire(&cluster->held); rest && good; rest &= rest - 1) {
        unsigned index = (unsigned)__builtin_ctzll(rest);
        good = compress_page(r, cluster->source * CLUSTER_PAGES + index,
                             (uint64_t)number * CLUSTER_PAGES + index);
    }
    /* Acquire: a fault that let go of its page has read it. One still at it keeps the cluster waiting. */
    if (atomic_read_acquire(&cluster->held)) {
        staging_publish(&r->staging, number);
        return good;
    }
    lent_end_staged(r, number);
    staging_free(&r->staging, number);
    return true;
}

bool reclaim_one(struct region *r)
{
    mutex_assert_held(&r->reclaim_lock);
    if (staging_waiting(&r->staging) < atomic_read_relaxed(&r->staging_target) && evict_oldest(r)) {
        return true;
    }
    return compress_oldest(r) || shrink_pool(r);
}

void reclaim_free_slots(struct region *r)
{
    mutex_lock(&r->reclaim_lock);
    bool stepped = compress_oldest(r);
    mutex_unlock(&r->reclaim_lock);
    if (!stepped) {
        zswap_writeback_reap(r->zswap, false); /* the others are held by writebacks, or by faults under way */
        sys_yield();
    }
}

/* ---- until there is room */

static void note_over_budget(struct region *r, size_t bytes)
{
    size_t over = marks_over(r, bytes);
    if (!over) {
        return;
    }
    atomic_raise_relaxed((int64_t *)&r->over_bytes, (int64_t)over);
    uint32_t no = 0;
    if (r->options.over_budget && atomic_cas_acq_rel(&r->warned, &no, 1)) {
        r->options.over_budget(r->options.context, over);
    }
}

/* Steps without a new lowest total after which there is no hope. */
static int patience(struct region *r)
{
    return STUCK_STEPS + (int)atomic_read_relaxed(&r->staging_target);
}

/* Steps until the total is at most `target`. False if it cannot be reached. */
static bool reclaim_until(struct region *r, size_t target)
{
    size_t lowest = SIZE_MAX;
    for (int stuck = 0; stuck < patience(r);) {
        size_t total = account_total(r->account);
        if (total <= target) {
            atomic_set_relaxed(&r->over_budget, 0);
            return true;
        }
        stuck = total < lowest ? 0 : stuck + 1;
        lowest = min_size(lowest, total);
        if (stuck % STEPS_BEFORE_WRITEBACK == STEPS_BEFORE_WRITEBACK - 1) {
            /* Pages that do not shrink only change their kind when they are stored: room comes from the pool. */
            zswap_shrink(r->zswap, CLUSTER_BYTES, true);
        }
        if (stuck % STEPS_BEFORE_TRIM == STEPS_BEFORE_TRIM - 1) {
            zswap_trim(r->zswap); /* where pages are few and far between, most of the memory is the index's */
        }
        mutex_lock(&r->reclaim_lock);
        bool stepped = reclaim_one(r);
        mutex_unlock(&r->reclaim_lock);
        if (!stepped) {
            break;
        }
    }
    zswap_trim(r->zswap);
    zswap_writeback_reap(r->zswap, true);
    bool reached = account_total(r->account) <= target;
    atomic_set_relaxed(&r->over_budget, !reached);
    return reached;
}

/* The total that a fault which brings `bytes` in has to make. Others may be waiting for what is above the limit, but the
 * reclaim thread brings that down: a fault only must not add to it. */
static size_t room_to_make(struct region *r, size_t bytes)
{
    size_t total = account_total(r->account), limit = account_limit(r->account);
    bool lowered = r->options.budget && limit < (size_t)r->account->most;
    return (lowered && total > limit ? total : region_mark(&r->hard_limit)) - bytes;
}

void reclaim_make_room(struct region *r, size_t bytes)
{
    if (unlikely(lending_is_active(r->memory->lending))) {
        bytes += COPIES_A_FAULT * PAGE_BYTES;
    }
    if (likely(account_total(r->account) + bytes <= region_mark(&r->hard_limit)) ||
        marks_rise(r, bytes, &r->hard_limit)) {
        return;
    }
    /* Relaxed: a hint; a new try comes soon enough. */
    if (atomic_read_relaxed(&r->over_budget) &&
        atomic_add_relaxed(&r->over_budget_faults, 1) % OVER_BUDGET_TRIES) {
        note_over_budget(r, bytes);
        return;
    }
    if (!reclaim_until(r, room_to_make(r, bytes)) && !marks_rise_or_wait(r, bytes)) {
        note_over_budget(r, bytes);
    }
}

void region_reclaim(struct region *r, size_t bytes)
{
    rwlock_read_lock(&r->layout);
    reclaim_until(r, bytes);
    rwlock_read_unlock(&r->layout);
}

/* ---- the reclaim thread */

void reclaim_wake(struct region *r)
{
    atomic_add_acq_rel(&r->reclaim_wake, 1);
    futex_wake(&r->reclaim_wake, 1);
}

void reclaim_poke(struct region *r)
{
    if (likely(account_total(r->account) <= region_mark(&r->high_water)) ||
        marks_rise(r, 0, &r->high_water) || !atomic_read_relaxed(&r->reclaim_sleeps) ||
        atomic_read_relaxed(&r->over_budget)) {
        return;
    }
    reclaim_wake(r);
}

/* Works down to the low-water mark, giving the layout lock up between steps. False if it gets stuck. */
static bool work_ahead(struct region *r)
{
    size_t lowest = SIZE_MAX;
    int stuck = 0;
    while (account_total(r->account) > region_mark(&r->low_water) && !atomic_read_acquire(&r->stop)) {
        size_t total = account_total(r->account);
        stuck = total < lowest ? 0 : stuck + 1;
        lowest = min_size(lowest, total);
        rwlock_read_lock(&r->layout);
        mutex_lock(&r->reclaim_lock);
        bool stepped = reclaim_one(r);
        mutex_unlock(&r->reclaim_lock);
        rwlock_read_unlock(&r->layout);
        if (!stepped || stuck > patience(r)) {
            /* Above the limit, faults need not wake us before the next try. */
            atomic_set_relaxed(&r->over_budget, account_total(r->account) > region_mark(&r->hard_limit));
            return false;
        }
    }
    atomic_set_relaxed(&r->over_budget, 0);
    return true;
}

/* Completes writes without waiting for them: a hung device must not hold the layout lock up. */
static bool writes_are_in_flight(struct region *r)
{
    rwlock_read_lock(&r->layout);
    zswap_writeback_reap(r->zswap, false);
    bool in_flight = zswap_writeback_in_flight(r->zswap);
    rwlock_read_unlock(&r->layout);
    return in_flight;
}

/* There is room, perhaps without our doing: memory was freed, or the limit was raised. */
static bool is_below_high_water(struct region *r)
{
    bool below = account_total(r->account) <= region_mark(&r->high_water);
    if (below && atomic_read_relaxed(&r->over_budget)) {
        atomic_set_relaxed(&r->over_budget, 0);
    }
    return below;
}

static void run_reclaimer(void *argument)
{
    struct region *r = argument;
    while (!atomic_read_acquire(&r->stop)) {
        uint32_t seen = atomic_read_acquire(&r->reclaim_wake);
        bool done = is_below_high_water(r) || work_ahead(r);
        int sleep_ms = writes_are_in_flight(r) ? REAP_MS : done ? -1 : RETRY_MS;
        /* Seq-cst, so that on most machines either this thread sees the total that rose, or who raised it sees that
         * this thread sleeps; who misses that makes room himself before he passes the hard limit. */
        atomic_set_seq_cst(&r->reclaim_sleeps, 1);
        if (!done || is_below_high_water(r)) {
            futex_wait(&r->reclaim_wake, seen, sleep_ms);
        }
        atomic_set_seq_cst(&r->reclaim_sleeps, 0);
    }
}

int reclaim_start(struct region *r)
{
    return r->threads->start(&r->reclaimer, run_reclaimer, r, "uzswap-reclaim");
}

void reclaim_stop(struct region *r)
{
    atomic_add_acq_rel(&r->reclaim_wake, 1);
    futex_wake(&r->reclaim_wake, INT_MAX);
    r->threads->join(&r->reclaimer);
}
