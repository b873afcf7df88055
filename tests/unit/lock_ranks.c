/* SPDX-License-Identifier: MIT */
/*
 * The rank checker fires, and only when it should. This program has its own copy of the locks with the checks compiled
 * in, however the library was built; it may use nothing of the library that takes a lock.
 */
#ifndef LOCK_CHECKS
#define LOCK_CHECKS
#endif
#include "base/lock.c"

#include "tests/harness.h"

static char complaint[256];
static unsigned complaints;

static void note_complaint(const char *message)
{
    complaints++;
    snprintf(complaint, sizeof complaint, "%s", message);
}

static struct mutex outer, inner, sibling;
static struct rwlock rwlock;

static void set_up(void)
{
    mutex_init(&outer, LOCK_RANK_WRITEBACK);
    mutex_init(&inner, LOCK_RANK_LRU);
    mutex_init(&sibling, LOCK_RANK_LRU);
    rwlock_init(&rwlock, LOCK_RANK_LAYOUT);
    lock_violation = note_complaint;
    complaints = 0;
    complaint[0] = 0;
}

TEST(locks_in_the_order_of_their_ranks_are_good)
{
    set_up();
    rwlock_read_lock(&rwlock);
    mutex_lock(&outer);
    mutex_lock(&inner);
    mutex_assert_held(&outer);
    mutex_assert_held(&inner);
    mutex_unlock(&outer); /* letting go in any order is good too */
    mutex_unlock(&inner);
    rwlock_read_unlock(&rwlock);
    rwlock_write_lock(&rwlock);
    rwlock_write_unlock(&rwlock);
    CHECK_EQUAL(complaints, 0);
}

TEST(wrong_order_is_reported_with_both_names)
{
    set_up();
    mutex_lock(&inner);
    mutex_lock(&outer);
    CHECK_EQUAL(complaints, 1);
    CHECK(strstr(complaint, "'writeback'") && strstr(complaint, "'lru'"));
    mutex_unlock(&outer);
    mutex_unlock(&inner);
}

TEST(two_locks_of_one_rank_are_reported)
{
    set_up();
    mutex_lock(&inner);
    mutex_lock(&sibling);
    CHECK_EQUAL(complaints, 1);
    mutex_unlock(&sibling);
    mutex_unlock(&inner);
}

TEST(reader_that_reads_again_is_reported)
{
    set_up();
    rwlock_read_lock(&rwlock);
    rwlock_read_lock(&rwlock);
    CHECK_EQUAL(complaints, 1);
    rwlock_read_unlock(&rwlock);
    rwlock_read_unlock(&rwlock);
}

TEST(rwlock_inside_a_higher_rank_is_reported)
{
    set_up();
    mutex_lock(&outer);
    rwlock_read_lock(&rwlock);
    CHECK_EQUAL(complaints, 1);
    rwlock_read_unlock(&rwlock);
    rwlock_write_lock(&rwlock);
    CHECK_EQUAL(complaints, 2);
    rwlock_write_unlock(&rwlock);
    mutex_unlock(&outer);
}

/* It cannot wait, so no order is asked of it; but what it took counts. */
TEST(try_lock_may_come_in_any_order)
{
    set_up();
    mutex_lock(&inner);
    CHECK(mutex_try_lock(&outer));
    CHECK_EQUAL(complaints, 0);
    mutex_unlock(&inner);
    rwlock_read_lock(&rwlock);
    CHECK_EQUAL(complaints, 1);
    rwlock_read_unlock(&rwlock);
    mutex_unlock(&outer);
}

TEST(assert_held_is_reported_if_nobody_holds_it)
{
    set_up();
    mutex_assert_held(&inner);
    CHECK_EQUAL(complaints, 1);
    mutex_lock(&inner);
    mutex_unlock(&inner);
    mutex_assert_held(&inner);
    CHECK_EQUAL(complaints, 2);
}

TEST(assert_held_is_reported_if_another_holds_it)
{
    set_up();
    mutex_lock(&inner);
    atomic_set_relaxed(&inner.owner, inner.owner + 1);
    mutex_assert_held(&inner);
    CHECK_EQUAL(complaints, 1);
    mutex_unlock(&inner);
}

TEST(unlock_without_lock_is_reported)
{
    set_up();
    mutex_unlock(&inner);
    CHECK_EQUAL(complaints, 1);
}

TEST(every_rank_has_a_name)
{
    for (int rank = 1; rank < LOCK_RANKS; rank++) {
        CHECK(strcmp(lock_rank_name((enum lock_rank)rank), "unknown") != 0);
    }
    CHECK(strcmp(lock_rank_name(LOCK_RANKS), "unknown") == 0);
}

int main(void)
{
    RUN(locks_in_the_order_of_their_ranks_are_good);
    RUN(wrong_order_is_reported_with_both_names);
    RUN(two_locks_of_one_rank_are_reported);
    RUN(reader_that_reads_again_is_reported);
    RUN(rwlock_inside_a_higher_rank_is_reported);
    RUN(try_lock_may_come_in_any_order);
    RUN(assert_held_is_reported_if_nobody_holds_it);
    RUN(assert_held_is_reported_if_another_holds_it);
    RUN(unlock_without_lock_is_reported);
    RUN(every_rank_has_a_name);
    return harness_finish();
}
