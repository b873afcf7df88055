/* SPDX-License-Identifier: MIT */
#include "base/budget_policy.h"

#define STEP_LEAST ((size_t)256 << 10)
#define STEP_MOST ((size_t)16 << 20)
#define RESERVE_SHARE 16
#define LEAST_SHARE 8 /* of an equal part, for who has borrowed much */
#define IDLE_SHARE 4  /* one in so many bytes that can leave does, at a time */

struct budget_marks budget_marks_of(size_t limit)
{
    /* Between hard limit and limit lie a staging cluster of incompressible pages, which is stored whole before its
     * frames are freed, and the readahead of several faults. */
    size_t reserve = max_size(limit / 100, min_size(limit / 8, 512 << 10));
    size_t water = max_size(limit / 64, min_size(limit / 16, 512 << 10));
    size_t hard = limit - reserve;
    return (struct budget_marks){.hard = hard, .high = hard - water, .low = hard - 2 * water};
}

/* high = limit - max(limit / 100, min(limit / 8, 512K)) - max(limit / 64, min(limit / 16, 512K)) is no easy function to
 * turn around, but this is never less than its inverse, and leaves what a first writeback
 * needs (zswap_set_aside). */
size_t budget_limit_for(size_t used)
{
    return used + min_size(used / 2 + PAGE_BYTES, 2 << 20) + used / 32;
}

size_t budget_step(size_t limit)
{
    return min_size(max_size(limit / 128, STEP_LEAST), STEP_MOST);
}

size_t budget_reserve(size_t limit)
{
    return limit / RESERVE_SHARE;
}

/* The limit with which reclaim stops at `used` bytes. Each round is 13/16 nearer. */
static size_t limit_to_come_to(size_t used)
{
    size_t limit = used;
    for (int round = 0; round < 8; round++) {
        limit = used + (limit - budget_marks_of(limit).high);
    }
    return limit;
}

int64_t budget_demand(size_t limit, struct budget_need need)
{
    size_t least = budget_limit_for(need.used);
    if (need.hungry) {
        return (int64_t)(least + max_size(need.used, budget_step(limit)));
    }
    if (need.idle) {
        return (int64_t)limit_to_come_to(need.used - min_size(need.evictable, need.used) / IDLE_SHARE);
    }
    return (int64_t)(least + need.used / 64);
}

static int64_t least_part(size_t n, int64_t bytes)
{
    return bytes > 0 && n ? bytes / LEAST_SHARE / (int64_t)n : 0;
}

static int64_t part_of(struct budget_want want, int64_t level, int64_t least)
{
    int64_t part = level - want.borrowed;
    part = part > least ? part : least;
    return want.demand < part ? want.demand : part;
}

int64_t budget_part(struct budget_want want, int64_t level, size_t n, int64_t bytes)
{
    return part_of(want, level, least_part(n, bytes));
}

static int64_t shared_out(const struct budget_want wants[], size_t n, int64_t level, int64_t bytes)
{
    int64_t sum = 0, least = least_part(n, bytes);
    for (size_t i = 0; i < n; i++) {
        sum += part_of(wants[i], level, least);
    }
    return sum;
}

int64_t budget_level(const struct budget_want wants[], size_t n, int64_t bytes)
{
    if (shared_out(wants, n, INT64_MAX, bytes) <= bytes) {
        return INT64_MAX;
    }
    int64_t fits = 0, too_much = 1;
    for (size_t i = 0; i < n; i++) {
        int64_t all = wants[i].demand + wants[i].borrowed;
        too_much = all > too_much ? all : too_much;
    }
    while (too_much - fits > 1) {
        int64_t level = fits + (too_much - fits) / 2;
        if (shared_out(wants, n, level, bytes) <= bytes) {
            fits = level;
        } else {
            too_much = level;
        }
    }
    return fits;
}
