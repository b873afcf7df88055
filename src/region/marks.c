/* SPDX-License-Identifier: MIT */
/*
 * The marks that reclaim works between, and where they come from: the account's limit. Where the budget is shared by
 * several processes that limit changes, by this process asking for more, or giving back for others.
 */
#include "base/budget_policy.h"
#include "region/internal.h"

/* A small member of a tree does not set room aside for writeback, which would be much of what it has; the tree's reserve
 * has it. */
#define ASIDE_LIMIT_LEAST ((size_t)16 << 20)

static void set_water_marks(struct region *r)
{
    size_t limit = account_limit(r->account);
    struct budget_marks marks = budget_marks_of(limit);
    bool is_small = limit < (size_t)r->account->most && limit < ASIDE_LIMIT_LEAST;
    size_t aside = is_small ? 0 : zswap_set_aside(r->zswap);
    atomic_set_relaxed(&r->aside, aside);
    atomic_set_relaxed(&r->hard_limit, marks.hard - aside);
    atomic_set_relaxed(&r->high_water, marks.high - aside);
    atomic_set_relaxed(&r->low_water, marks.low - aside);
}

/* The pool's part of `bytes`. */
static size_t pool_part(const struct region *r, size_t bytes)
{
    size_t most = (size_t)r->account->most;
    return bytes < most ? (size_t)((double)bytes / (double)most * (double)r->pool_whole) : r->pool_whole;
}

void marks_set(struct region *r, size_t reach)
{
    size_t target = max_size(account_limit(r->account) / 16 / CLUSTER_BYTES, 2);
    set_water_marks(r);
    atomic_set_relaxed(&r->staging_target, (uint32_t)min_size(target, r->staging.clusters / 2));
    atomic_set_relaxed(&r->pool_limit_asked, pool_part(r, reach));
}

void marks_refresh(struct region *r)
{
    if (region_mark(&r->aside) && zswap_set_aside(r->zswap) != region_mark(&r->aside)) {
        set_water_marks(r);
    }
}

void region_set_limit(struct region *r, size_t reach)
{
    marks_set(r, reach);
    if (account_total(r->account) <= region_mark(&r->hard_limit)) {
        atomic_set_relaxed(&r->over_budget, 0); /* a hint */
    }
    if (account_total(r->account) > region_mark(&r->high_water)) {
        reclaim_wake(r);
    }
}

bool marks_rise(struct region *r, size_t bytes, const size_t *mark)
{
    const struct region_budget *b = r->options.budget;
    return b && b->more(r->options.context, budget_limit_for(account_total(r->account) + bytes)) &&
           account_total(r->account) + bytes <= region_mark(mark);
}

bool marks_rise_or_wait(struct region *r, size_t bytes)
{
    const struct region_budget *b = r->options.budget;
    return b && b->wait(r->options.context, budget_limit_for(account_total(r->account) + bytes)) &&
           account_total(r->account) + bytes <= region_mark(&r->hard_limit);
}

size_t marks_over(struct region *r, size_t bytes)
{
    const struct region_budget *b = r->options.budget;
    size_t total = account_total(r->account) + bytes, limit = account_limit(r->account);
    if (total <= limit) {
        return 0;
    }
    return b ? b->over(r->options.context) : total - limit;
}
