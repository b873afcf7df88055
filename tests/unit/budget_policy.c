/* SPDX-License-Identifier: MIT */
#include "base/budget_policy.h"

#include "tests/harness.h"

#define MIB ((size_t)1 << 20)

/* What all get together under a level. */
static int64_t shared_out(const struct budget_want wants[], size_t n, int64_t level, int64_t bytes)
{
    int64_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += budget_part(wants[i], level, n, bytes);
    }
    return sum;
}

/* Deals whole numbers out, each round one to everybody who still wants, while there is one for each. */
static int64_t naive_level(const struct budget_want wants[], size_t n, int64_t bytes)
{
    for (int64_t level = 0;; level++) {
        if (shared_out(wants, n, level, bytes) == shared_out(wants, n, INT64_MAX, bytes)) {
            return INT64_MAX;
        }
        if (shared_out(wants, n, level + 1, bytes) > bytes) {
            return level;
        }
    }
}

TEST(all_get_what_they_want_if_there_is_enough)
{
    struct budget_want wants[] = {{5, 0}, {0, 9}, {7, 3}};
    CHECK_EQUAL(budget_level(wants, 3, 12), INT64_MAX);
    CHECK_EQUAL(budget_level(wants, 0, 12), INT64_MAX);
}

TEST(who_wants_little_gets_it_and_the_others_share_the_rest)
{
    struct budget_want wants[] = {{2, 0}, {9, 0}, {7, 0}};
    CHECK_EQUAL(budget_level(wants, 3, 14), 6);
}

TEST(what_is_borrowed_counts_as_if_it_were_paid_for)
{
    struct budget_want wants[] = {{90, 0}, {90, 40}};
    int64_t level = budget_level(wants, 2, 100);
    CHECK_EQUAL(level, 70);
    CHECK_EQUAL(budget_part(wants[0], level, 2, 100), 70);
    CHECK_EQUAL(budget_part(wants[1], level, 2, 100), 30);
}

TEST(who_has_borrowed_much_gets_an_eighth_of_an_equal_part)
{
    struct budget_want wants[] = {{90, 0}, {90, 400}, {90, 0}, {90, 0}};
    int64_t level = budget_level(wants, 4, 160);
    CHECK_EQUAL(level, 51); /* 160 - 5 to three */
    CHECK_EQUAL(budget_part(wants[1], level, 4, 160), 5);
}

TEST(nothing_to_share_is_a_level_of_zero)
{
    struct budget_want wants[] = {{2, 0}, {9, 0}};
    CHECK_EQUAL(budget_level(wants, 2, 0), 0);
    CHECK_EQUAL(budget_level(wants, 2, -5), 0);
}

TEST(the_level_is_that_of_dealing_out_one_by_one)
{
    uint64_t seed = 20;
    for (int run = 0; run < 5000; run++) {
        struct budget_want wants[12];
        size_t n = 1 + harness_random(&seed) % 12;
        for (size_t i = 0; i < n; i++) {
            wants[i].demand = (int64_t)(harness_random(&seed) % (harness_random(&seed) % 4 ? 40 : 300));
            wants[i].borrowed =
                run % 2 && harness_random(&seed) % 2 ? (int64_t)(harness_random(&seed) % 200) : 0;
        }
        int64_t bytes = (int64_t)(harness_random(&seed) % 400);
        int64_t level = budget_level(wants, n, bytes), naive = naive_level(wants, n, bytes);
        CHECK_EQUAL(shared_out(wants, n, level, bytes), shared_out(wants, n, naive, bytes));
        CHECK(shared_out(wants, n, level, bytes) <= bytes);
    }
}

TEST(marks_lie_in_order_below_any_limit)
{
    for (size_t limit = MIB / 2; limit < (size_t)1 << 41; limit += limit / 7) {
        struct budget_marks m = budget_marks_of(limit);
        CHECK(0 < m.low && m.low < m.high && m.high < m.hard && m.hard < limit);
    }
}

TEST(a_limit_for_a_use_keeps_it_below_the_high_mark_and_is_not_much_more)
{
    for (size_t used = MIB / 4; used < (size_t)1 << 41; used += used / 13) {
        size_t limit = budget_limit_for(used);
        CHECK(used <= budget_marks_of(limit).high);
        CHECK(limit - used <= min_size(used / 2 + PAGE_BYTES, 2 * MIB) + used / 32);
    }
}

TEST(the_hungry_want_more_than_they_have_and_others_only_what_they_use)
{
    size_t tree = (size_t)1 << 30;
    for (size_t used = 0; used < (size_t)1 << 40; used = used * 2 + MIB) {
        int64_t plain = budget_demand(tree, (struct budget_need){.used = used}),
                hungry = budget_demand(tree, (struct budget_need){.used = used, .hungry = true});
        CHECK(plain >= (int64_t)budget_limit_for(used));
        CHECK(hungry >= (int64_t)(2 * used) && hungry > plain);
    }
}

TEST(the_idle_are_asked_for_a_part_of_what_can_leave)
{
    size_t tree = (size_t)1 << 30;
    for (size_t used = MIB / 4; used < (size_t)1 << 40; used += used / 3) {
        for (size_t evictable = 0; evictable <= used; evictable += used / 5) {
            struct budget_need need = {.used = used, .evictable = evictable, .idle = true};
            size_t high = budget_marks_of((size_t)budget_demand(tree, need)).high;
            CHECK(high <= used - evictable / 4 + used / 1000 && high >= used - evictable / 4 - used / 1000);
        }
    }
}

int main(void)
{
    RUN(all_get_what_they_want_if_there_is_enough);
    RUN(who_wants_little_gets_it_and_the_others_share_the_rest);
    RUN(what_is_borrowed_counts_as_if_it_were_paid_for);
    RUN(who_has_borrowed_much_gets_an_eighth_of_an_equal_part);
    RUN(nothing_to_share_is_a_level_of_zero);
    RUN(the_level_is_that_of_dealing_out_one_by_one);
    RUN(marks_lie_in_order_below_any_limit);
    RUN(a_limit_for_a_use_keeps_it_below_the_high_mark_and_is_not_much_more);
    RUN(the_hungry_want_more_than_they_have_and_others_only_what_they_use);
    RUN(the_idle_are_asked_for_a_part_of_what_can_leave);
    return harness_finish();
}
