/* SPDX-License-Identifier: MIT */
/* The interleaving explorer (tests/verify/explore.h), on toys: what it finds, and that it tries all. */
#include "tests/unit/explore_fixture.h"

/* ---- finding and not finding */

static void add_one_under_lock(void *context, unsigned number)
{
    (void)context;
    (void)number;
    for (int i = 0; i < 2; i++) {
        SCOPED_LOCK(&toy->lock[0]);
        mutex_assert_held(&toy->lock[0]);
        toy->word[0]++;
    }
}

static void expect_six(void *context)
{
    (void)context;
    SCOPED_LOCK(&toy->lock[0]);
    if (toy->word[0] != 6) {
        explore_fail("the sum is %d", (int)toy->word[0]);
    }
}

TEST(a_lost_update_is_found)
{
    struct explore_report r = explored(2, add_one_in_two_steps, expect_two);
    CHECK_EQUAL(r.violations, 1);
    CHECK(!strcmp(r.violation, "the sum is 1"));
    CHECK(!strcmp(r.seed, "0x1.1x2.0x1") || !strcmp(r.seed, "1x1.0x2.1x1"));
}

TEST(compare_and_swap_loses_nothing)
{
    struct explore_report r = explored(2, add_one_by_cas, expect_two);
    CHECK_CLEAN(r);
    CHECK_EQUAL(r.ends, 1);
    CHECK_EQUAL(r.longest, 5);
}

TEST(a_lock_keeps_its_section_whole)
{
    struct explore_report r = explored(3, add_one_under_lock, expect_six);
    CHECK_CLEAN(r);
    CHECK_EQUAL(r.ends, 1);
    CHECK_EQUAL(r.schedules, 90); /* 6! / (2! 2! 2!): to take a lock is the only point */
}

static void lock_both(void *context, unsigned number)
{
    (void)context;
    mutex_lock(&toy->lock[number]);
    mutex_lock(&toy->lock[!number]);
    mutex_unlock(&toy->lock[!number]);
    mutex_unlock(&toy->lock[number]);
}

TEST(a_deadlock_is_found_and_says_who_waits_for_what)
{
    struct explore_report r = explored(2, lock_both, NULL);
    CHECK(begins(r.violation, "deadlock: thread 0 waits at explore.c:"));
    CHECK(strstr(r.violation, "lock_both (lock &toy->lock[!number]); thread 1 waits at"));
    CHECK(!strcmp(r.seed, "0x1.1x1"));
}

static void unlock_of_another(void *context, unsigned number)
{
    (void)context;
    if (number) {
        mutex_unlock(&toy->lock[0]);
    } else {
        mutex_lock(&toy->lock[0]);
    }
}

TEST(an_unlock_by_who_does_not_hold_the_lock_is_found)
{
    struct explore_report r = explored(2, unlock_of_another, NULL);
    CHECK(strstr(r.violation, "unlock &toy->lock[0], which is not held"));
}

/* ---- waiting */

static void flag_and_spin(void *context, unsigned number)
{
    (void)context;
    if (number) {
        while (!atomic_read_acquire(&toy->flag)) {
            cpu_relax();
        }
        toy->result[1] = toy->word[0];
    } else {
        atomic_set_relaxed(&toy->word[0], 7);
        atomic_set_release(&toy->flag, 1);
    }
}

static void expect_seven(void *context)
{
    (void)context;
    if (toy->result[1] != 7) {
        explore_fail("the reader got %d", (int)toy->result[1]);
    }
}

TEST(a_spinning_thread_waits_for_the_word_it_read)
{
    struct explore_report r = explored(2, flag_and_spin, expect_seven);
    CHECK_CLEAN(r);
    CHECK_EQUAL(r.schedules, 3); /* it reads 0 before the first write or between both, or never */
}

static void spin_on_two_words(void *context, unsigned number)
{
    (void)context;
    if (number) {
        while (!atomic_read_acquire(&toy->word[0]) && !atomic_read_acquire(&toy->word[1])) {
            sys_yield();
        }
    } else {
        atomic_set_release(&toy->word[0], 1);
    }
}

TEST(a_thread_that_looks_at_two_words_need_not_wait_for_the_latter)
{
    struct explore_report r = explored(2, spin_on_two_words, NULL);
    CHECK_CLEAN(r);
    CHECK_EQUAL(r.ends, 1);
}

TEST(a_wait_that_nobody_ends_is_a_deadlock)
{
    struct explore_report r = explored(2, spin_for_ever, NULL);
    CHECK(begins(r.violation, "deadlock: thread 1 waits at"));
    CHECK(strstr(r.violation, "spin_for_ever (cpu_relax)"));
}

/* Who comes second leaves once the first has left; but if both think that they are second, each gives the turn to the
 * other whenever it has it. */
static void after_you(void *context, unsigned number)
{
    (void)context;
    atomic_add_acq_rel(&toy->word[1], 1);
    if (atomic_read_relaxed(&toy->word[1]) == 1) {
        atomic_set_relaxed(&toy->word[2], 1);
        return;
    }
    while (!atomic_read_relaxed(&toy->word[2])) {
        uint64_t mine = number;
        atomic_cas_acq_rel(&toy->word[0], &mine, !number);
        cpu_relax();
    }
}

TEST(a_livelock_is_found)
{
    struct explore_report r = explored(2, after_you, NULL);
    CHECK(begins(r.violation, "livelock: from here on no end can be reached: thread "));
    CHECK(!strcmp(r.seed, "0x1.1x1"));
    struct explore_program program = program_of(2, after_you, NULL);
    char violation[200];
    FILE *nowhere = fopen("/dev/null", "w");
    CHECK_EQUAL(explore_replay(&program, r.seed, nowhere, violation), 0);
    CHECK(begins(violation, "livelock"));
    CHECK_EQUAL(explore_replay(&program, "0x3", nowhere, violation), 0); /* it was the first, and has left */
    CHECK(!violation[0]);
    fclose(nowhere);
}

static void try_until_it_works(void *context, unsigned number)
{
    (void)context;
    (void)number;
    for (volatile int round = 0;; round = 1) { /* the second is like all that follow */
        if (explore_choose(2, "it works") && round) {
            return;
        }
        atomic_read_relaxed(&toy->word[0]);
    }
}

TEST(a_loop_that_can_be_left_is_no_livelock)
{
    struct explore_program program = program_of(1, try_until_it_works, NULL);
    struct explore_options options = {.max_preemptions = UINT32_MAX};
    struct explore_report r;
    for (int i = 0; i < 2; i++) {
        options.no_merging = i;
        explore_run(&program, &options, &r);
        CHECK_CLEAN(r);
        CHECK(r.schedules >= 1);
        CHECK_EQUAL(r.ends, 1);
    }
}

static void hang_in_thread_one(void *context, unsigned number)
{
    (void)context;
    if (number) {
        SCOPED_LOCK(&toy->lock[context != NULL]);
        atomic_set_relaxed(&toy->word[1], 1);
        explore_hang("the device");
    }
    SCOPED_LOCK(&toy->lock[0]);
    toy->word[0] = 2;
}

TEST(who_hangs_holds_up_only_those_who_need_its_lock)
{
    struct explore_report r;
    struct explore_program program = program_of(2, hang_in_thread_one, expect_two);
    program.context = &r; /* it hangs with the other lock */
    explore_run(&program, NULL, &r);
    CHECK_CLEAN(r);
    program.context = NULL;
    explore_run(&program, NULL, &r);
    CHECK(begins(r.violation, "deadlock: thread 0 waits at"));
    CHECK(strstr(r.violation, "thread 1 hangs in the device"));
}

static void try_it(void *context, unsigned number)
{
    (void)context;
    if (mutex_try_lock(&toy->lock[1])) {
        atomic_set_relaxed(&toy->word[0], 1);
        mutex_unlock(&toy->lock[1]);
        toy->result[number] = 1;
    } else {
        toy->result[number] = 2 + atomic_read_relaxed(&toy->word[0]);
    }
}

static unsigned tries_seen;

static void note_tries(void *context)
{
    (void)context;
    tries_seen |= 1u << (toy->result[0] * 4 + toy->result[1]);
}

TEST(a_try_fails_before_the_release_and_not_after)
{
    tries_seen = 0;
    struct explore_report r = explored(2, try_it, note_tries);
    CHECK_CLEAN(r);
    CHECK_EQUAL(tries_seen, 1u << (1 * 4 + 1) | 1u << (1 * 4 + 2) | 1u << (1 * 4 + 3) | 1u << (2 * 4 + 1) |
                                1u << (3 * 4 + 1));
}

static void try_a_leaf(void *context, unsigned number)
{
    (void)context;
    (void)number;
    mutex_try_lock(&toy->lock[0]);
}

TEST(a_try_of_a_lock_that_is_released_without_a_point_is_refused)
{
    struct explore_report r = explored(2, try_a_leaf, NULL);
    CHECK(begins(r.violation, "LOCK_TRIED_RANKS lacks the rank"));
}

static void read_or_write(void *context, unsigned number)
{
    (void)context;
    if (number) {
        rwlock_read_lock(&toy->rw);
        uint32_t inside = atomic_add_acq_rel(&toy->inside, 1);
        toy->word[0] = inside > toy->word[0] ? inside : toy->word[0];
        if (inside > 2) {
            explore_fail("a reader beside a writer");
        }
        atomic_sub_acq_rel(&toy->inside, 1);
        rwlock_read_unlock(&toy->rw);
    } else {
        rwlock_write_lock(&toy->rw);
        if (atomic_add_acq_rel(&toy->inside, 4) != 4) {
            explore_fail("a writer beside a reader");
        }
        atomic_sub_acq_rel(&toy->inside, 4);
        rwlock_write_unlock(&toy->rw);
    }
}

static uint64_t most_inside;

static void note_most_inside(void *context)
{
    (void)context;
    most_inside = toy->word[0] > most_inside ? toy->word[0] : most_inside;
}

TEST(readers_share_and_writers_do_not)
{
    most_inside = 0;
    struct explore_report r = explored(3, read_or_write, note_most_inside);
    CHECK_CLEAN(r);
    CHECK_EQUAL(most_inside, 2);
}

/* ---- choices */

static uint64_t choices_seen;

static void note_choices(void *context)
{
    (void)context;
    choices_seen |= 1ull << (toy->result[0] * 6 + toy->result[1]);
}

TEST(all_answers_are_tried)
{
    choices_seen = 0;
    struct explore_report r = explored(2, choose_twice, note_choices);
    CHECK_CLEAN(r);
    CHECK_EQUAL(choices_seen, (1ull << 36) - 1);
    CHECK_EQUAL(r.schedules, 72); /* 36 pairs of answers, the two writes in either order */
    CHECK_EQUAL(r.ends, 72);      /* who wrote last remains to be seen */
}

int main(void)
{
    RUN_EXPLORING(a_lost_update_is_found);
    RUN_EXPLORING(compare_and_swap_loses_nothing);
    RUN_EXPLORING(a_lock_keeps_its_section_whole);
    RUN_EXPLORING(a_deadlock_is_found_and_says_who_waits_for_what);
    RUN_EXPLORING(an_unlock_by_who_does_not_hold_the_lock_is_found);
    RUN_EXPLORING(a_spinning_thread_waits_for_the_word_it_read);
    RUN_EXPLORING(a_thread_that_looks_at_two_words_need_not_wait_for_the_latter);
    RUN_EXPLORING(a_wait_that_nobody_ends_is_a_deadlock);
    RUN_EXPLORING(a_livelock_is_found);
    RUN_EXPLORING(a_loop_that_can_be_left_is_no_livelock);
    RUN_EXPLORING(who_hangs_holds_up_only_those_who_need_its_lock);
    RUN_EXPLORING(a_try_fails_before_the_release_and_not_after);
    RUN_EXPLORING(a_try_of_a_lock_that_is_released_without_a_point_is_refused);
    RUN_EXPLORING(readers_share_and_writers_do_not);
    RUN_EXPLORING(all_answers_are_tried);
    return harness_finish();
}
