/* SPDX-License-Identifier: MIT */
#include "base/budget_policy.h"

#define STEP_LEAST ((size_t)256 << 10)
#define STEP_MOST ((size_t)16 << 20)
#define RESERVE_SHARE 16

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

int64_t budget_demand(size_t limit, size_t used, bool hungry)
{
    size_t least = budget_limit_for(used);
    return (int64_t)(hungry ? least + max_size(used, budget_step(limit)) : least + used / 64);
}

static int64_t share_of(int64_t bytes, size_t n)
{
    return bytes > 0 ? bytes / (int64_t)n : 0;
}

/* The level only rises from one round to the next, and with it who is below; so there are at most n rounds. */
int64_t budget_level(const int64_t demands[], size_t n, int64_t bytes)
{
    int64_t level = -1, next = n ? share_of(bytes, n) : INT64_MAX;
    while (next != level) {
        int64_t rest = bytes;
        size_t above = 0;
        level = next;
        for (size_t i = 0; i < n; i++) {
            if (demands[i] > level) {
                above++;
            } else {
                rest -= demands[i];
            }
        }
        next = above ? share_of(rest, above) : INT64_MAX;
    }
    return level;
}
