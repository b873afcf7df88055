/* SPDX-License-Identifier: MIT */
/*
 * Who may have how much of a budget that several processes share. Pure functions; budget.h applies them.
 *
 * Fairness is max-min: no member gets more while another that wants more has less. A member that is hungry (it was
 * refused more a moment ago) wants twice what it uses, so that it takes from others what it needs soon, and not
 * everything at once; any other wants what it uses, and the room without which it would have to evict. One that is idle wants
 * somewhat less than it uses, so that bit by bit the memory of those who sleep goes to those who need it to work. If
 * all wants together are too much, there is a level: who wants less than it gets what it wants, all others get
 * the level.
 *
 * What counts under the level is what each has, paid for or borrowed (lending.h). Were it what each pays, a parent would have to
 * give up for its child what it pays for both, and could not: a page that is shared is not freed by one.
 *
 *     |        ____ level ____            wants    A 2, B 9, C 7 of 14
 *     |       | ##   ##  |                level    6
 *     |  A    | B    C   |                get      A 2, B 6, C 6
 *     |__##___|_##___##__|
 */
#ifndef UZSWAP_BASE_BUDGET_POLICY_H
#define UZSWAP_BASE_BUDGET_POLICY_H

#include "base/types.h"

/* How a limit is kept; region/reclaim.c says what each mark is for. */
struct budget_marks {
    size_t hard, high, low;
};
struct budget_marks budget_marks_of(size_t limit);

/* The least limit with which `used` bytes are not above the high mark. */
size_t budget_limit_for(size_t used);

/* How much more is asked for than is needed now, in a tree of `limit`: asking means a look at all members. */
size_t budget_step(size_t limit);

/* What is kept free in a tree of several members, so that a new process can start at once. */
size_t budget_reserve(size_t limit);

/* What a member wants its limit to be. */
struct budget_need {
    size_t used;
    size_t evictable; /* of it; of interest if it is idle */
    bool hungry, idle;
};
int64_t budget_demand(size_t limit, struct budget_need need);

/* What a member wants for itself, and what it has that another pays for. */
struct budget_want {
    int64_t demand, borrowed;
};

/* The highest level with which the parts of `n` members, of which no number is negative, are `bytes` together, or less. INT64_MAX if
 * all can have what they want. */
int64_t budget_level(const struct budget_want wants[], size_t n, int64_t bytes);

/* What a member gets: what it wants, or so much that with what it has borrowed it comes to the level; but an eighth of an
 * equal part of the `bytes` in any case. */
int64_t budget_part(struct budget_want want, int64_t level, size_t n, int64_t bytes);

#endif
