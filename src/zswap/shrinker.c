/* SPDX-License-Identifier: MIT */
/*
 * The shrinker: all decisions about making room in the pool.
 *
 *   bytes
 *     limit + slack |. . . . . . . . . . . . . . . .  a store is refused
 *                   |      /\    /\                   while writes are in flight, stores go on
 *     limit         |- - -/- -\-/- -\- - - - - - - -  high mark: shrinking begins
 *                   |    /     v     \          /
 *     low mark      |- -/- - - - - - -\- - - - /- -   the limit's accept_threshold_percent: shrinking ends
 *                   |  /               \______/
 *                   +--------------------------------- stores
 *
 * A step makes room of `step` bytes from the cheapest source that has it:
 *   1. trim       empty pages that the pool keeps in reserve
 *   2. compact    what invalidates and writebacks that have ended left scattered: it costs a page copied for a page, no entry leaves
 *   3. write back the oldest, in whole write buffers (writeback.c)
 *
 * The rate. Time is counted in stores: while shrinking, a step is due at every TICK-th store. So writeback goes as
 * fast as the pool refills, and stops with it, without a clock; between the marks, stores and writes alternate and
 * neither comes in floods. How much a step is follows what came of the one before:
 *
 *     the pool is no smaller than a tick before    step = min(2 * step, STEP_MAX)    stores were faster
 *     the low mark is reached                      step = max(step / 2, STEP_MIN)    it was enough
 *
 * On the way down it only rises, until the pool shrinks, and it falls once at the end; so it cannot hunt. The bytes
 * in flight count as gone: a step starts `step` bytes less what is in flight, and never more than the pool needs to
 * come a little below its low mark. So it ends at most one step, in whole write buffers, below that mark, however
 * long the device takes.
 *
 * At the limit with nothing in flight a step is due at once: what was in flight has ended and was not enough.
 * Beyond the slack, every store tries.
 *
 * Compaction comes when it is known to win something: the pool says how much (`compactable`), which counts no
 * object before it is really gone, so what is still in a write buffer is not waited for and not moved about.
 * Objects that are held cannot move; where a compaction has won nothing, it is tried again when a write buffer has
 * ended or more has become free, and at the next tick.
 *
 * Threads. One makes room at a time. The others go on while there is slack; beyond it they wait for their turn, or are
 * refused. Nobody waits for a write to end (but zswap_shrink, if it is told to); only where the device takes its
 * time to accept one, who is beyond the slack waits behind the thread that submits it.
 *
 * Why not a step of fixed size: where each store at the limit starts a buffer, a slow device gets all of them
 * before the first is done, four times what was needed. Why not a thread with a target: it would need a clock, or
 * be woken by stores; they can as well do it.
 */
#include "zswap/shrinker.h"

#include "zswap/internal.h"

#define TICK 32 /* stores: some 48 KiB of compressed pages */
#define STEP_MIN ((size_t)64 * 1024)
#define STEP_MAX ((size_t)512 * 1024)

/* What zswap_trim compacts at most: a millisecond's work. */
#define TRIM_STEP ((size_t)1 << 20)

/* Bytes that a step aims below the low mark: stores go on while the device writes, and would keep the pool above it. */
#define AIM_MAX ((size_t)128 * 1024)

struct marks {
    size_t aim, low, limit, full;
};

static struct marks marks_of(const struct zswap *z)
{
    size_t limit = atomic_read_relaxed(&z->max_pool_bytes);
    size_t slack = max_size(limit / 16, 256 * 1024);
    size_t low = min_size(limit / 100 * z->accept_threshold_percent, limit - min_size(limit, PAGE_BYTES));
    return (struct marks){
        .aim = low - min_size(low, min_size(limit / 32, AIM_MAX)),
        .low = low,
        .limit = limit,
        .full = limit + min_size(slack, SIZE_MAX - limit),
    };
}

static size_t pool_bytes(const struct zswap *z)
{
    return z->pool->ops->total_size(z->pool);
}

static size_t less(size_t a, size_t b)
{
    return a > b ? a - b : 0;
}

/* ---- compaction */

static size_t compactable(const struct zswap *z)
{
    return z->pool->ops->compactable ? z->pool->ops->compactable(z->pool) : 0;
}

/* Wins about `bytes` bytes, if there is something that the last attempt did not find stuck. */
static size_t compact_some(struct zswap *z, size_t bytes)
{
    struct shrinker *s = &z->shrinker;
    mutex_assert_held(&s->lock);
    size_t there = compactable(z);
    if (!bytes || there < PAGE_BYTES ||
        (s->vain && there < s->vain_left + PAGE_BYTES && writeback_completed(z) == s->vain_completed)) {
        return 0;
    }
    uint32_t completed = writeback_completed(z);
    size_t won;
    if (!compact_pool(z, bytes, &won)) {
        return 1; /* another thread is at it: nothing is known to be stuck, and who has slack goes on */
    }
    s->vain = won < PAGE_BYTES;
    if (s->vain) {
        s->vain_left = compactable(z);
        s->vain_completed = completed;
    }
    return won;
}

/* ---- writeback */

/*
 * Bytes of pool that go when `payload` bytes of objects do, and the other way about. Where objects never move,
 * pages go with them, and with those what is lost in them; else that is for compaction to win.
 */
static size_t pool_bytes_of(const struct zswap *z, size_t payload)
{
    uint64_t all = counter_sum(z, COUNTER_PAYLOAD);
    return z->pool->ops->compactable || all < payload
               ? payload
               : (size_t)((double)payload / (double)max_size(all, 1) * (double)pool_bytes(z));
}

static size_t payload_of(const struct zswap *z, size_t bytes)
{
    return z->pool->ops->compactable ? bytes
                                     : (size_t)((double)bytes / (double)max_size(pool_bytes(z), 1) *
                                                (double)counter_sum(z, COUNTER_PAYLOAD));
}

/* Starts writing back what is left to do of a step. 0 if nothing was to be, or could be, started. */
static size_t write_some(struct zswap *z, const struct marks *marks, size_t bytes)
{
    size_t total = pool_bytes(z), in_flight = pool_bytes_of(z, writeback_bytes_in_flight(z));
    /* What compaction can win is as good as gone, unless it has just failed to. */
    size_t known = in_flight + (z->shrinker.vain ? 0 : compactable(z));
    size_t wanted = min_size(less(bytes, in_flight), less(total, marks->aim + known));
    /* While another thread starts writes, perhaps on a device that makes it wait, who has slack goes on. */
    return wanted ? writeback_start(z, max_size(payload_of(z, wanted), 1), total >= marks->full) : 0;
}

/* ---- steps */

static void set_step(struct shrinker *s, size_t bytes)
{
    mutex_assert_held(&s->lock);
    atomic_set_relaxed(&s->step, min_size(max_size(bytes, STEP_MIN), STEP_MAX));
}

static void end_at_low_mark(struct zswap *z, const struct marks *marks)
{
    struct shrinker *s = &z->shrinker;
    mutex_assert_held(&s->lock);
    if (s->active && pool_bytes(z) <= marks->low) {
        atomic_set_relaxed(&s->active, 0);
        set_step(s, s->step / 2);
        counter_add(z, COUNTER_SHRINK_ROUNDS, 1);
    }
}

/* Begins shrinking, or sees to the tick. False if there is nothing to do. */
static bool control(struct zswap *z, const struct marks *marks)
{
    struct shrinker *s = &z->shrinker;
    mutex_assert_held(&s->lock);
    size_t total = pool_bytes(z);
    bool tick = atomic_read_relaxed(&s->stores) >= TICK;
    if (!s->active) {
        atomic_set_relaxed(&s->active, total >= marks->limit);
    } else if (tick) {
        set_step(s, total >= s->total_at_tick ? 2 * s->step : s->step);
        s->vain = false;
    } else {
        return true;
    }
    atomic_set_relaxed(&s->stores, 0);
    s->total_at_tick = total;
    return s->active;
}

/* True if anything was won or started. */
static bool make_step(struct zswap *z, const struct marks *marks)
{
    struct shrinker *s = &z->shrinker;
    mutex_assert_held(&s->lock);
    z->pool->ops->trim(z->pool); /* or pages that victims have freed would not be seen to be free */
    end_at_low_mark(z, marks);
    if (!control(z, marks)) {
        return false;
    }
    size_t won = compact_some(z, s->step);
    size_t started = write_some(z, marks, less(s->step, won));
    if (started && !zswap_writeback_in_flight(z)) { /* written already */
        won += compact_some(z, s->step);
    }
    end_at_low_mark(z, marks);
    counter_add(z, COUNTER_SHRINK_STEPS, won || started);
    return won || started;
}

static bool is_due(struct zswap *z, const struct marks *marks, size_t total)
{
    struct shrinker *s = &z->shrinker;
    /* Relaxed: counts and hints; one step more or less does not matter. */
    bool active = atomic_read_relaxed(&s->active);
    bool tick = atomic_add_relaxed(&s->stores, 1) >= TICK;
    if (total >= marks->limit) {
        return tick || !active || total >= marks->full || !zswap_writeback_in_flight(z);
    }
    return tick || total <= marks->low;
}

bool shrinker_make_room(struct zswap *z)
{
    struct shrinker *s = &z->shrinker;
    struct marks marks = marks_of(z);
    size_t total = pool_bytes(z);
    /* Relaxed: who sees it late only comes later. */
    if (likely(total < marks.limit && !atomic_read_relaxed(&s->active))) {
        return true;
    }
    if (total >= marks.limit) {
        counter_add(z, COUNTER_LIMIT_HIT, 1);
    }
    zswap_writeback_reap(z, false);
    total = pool_bytes(z);
    bool going_on = total < marks.limit || zswap_writeback_in_flight(z);
    if (is_due(z, &marks, total)) {
        if (total >= marks.full) {
            mutex_lock(&s->lock);
        } else if (!mutex_try_lock(&s->lock)) {
            return true; /* another thread makes room, and there is slack */
        }
        going_on |= make_step(z, &marks);
        mutex_unlock(&s->lock);
        total = pool_bytes(z);
        going_on |= zswap_writeback_in_flight(z);
    }
    return total < marks.limit || (total < marks.full && going_on);
}

size_t shrinker_step(const struct zswap *z)
{
    return atomic_read_relaxed(&z->shrinker.step);
}

void shrinker_init(struct shrinker *s)
{
    mutex_init(&s->lock, LOCK_RANK_SHRINKER);
    s->step = STEP_MIN;
}

/* ---- for callers above */

size_t zswap_shrink(struct zswap *z, size_t bytes, bool wait)
{
    zswap_writeback_reap(z, false);
    mutex_lock(&z->shrinker.lock);
    size_t before = pool_bytes(z);
    size_t won = z->pool->ops->trim(z->pool);
    won += compact_some(z, less(bytes, won));
    won += writeback_bytes_in_flight(z);
    if (won < bytes) {
        won += writeback_start(z, bytes - won, true);
    }
    mutex_unlock(&z->shrinker.lock);
    if (wait) {
        zswap_writeback_reap(z, true);
        mutex_lock(&z->shrinker.lock);
        compact_some(z, less(bytes, less(before, pool_bytes(z))));
        mutex_unlock(&z->shrinker.lock);
    }
    return won;
}

size_t zswap_trim(struct zswap *z)
{
    size_t won = z->pool->ops->trim(z->pool) + trim_index(z);
    size_t compacted;
    compact_pool(z, TRIM_STEP, &compacted);
    return won + compacted;
}
