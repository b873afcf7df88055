/* SPDX-License-Identifier: MIT */
/* The interleaving explorer, on toys: what it counts and reports, its limits, replays, and the memory it saves and restores. */
#include "tests/unit/explore_fixture.h"

/* ---- counting */

TEST(schedules_are_counted_exactly)
{
    points = 12;
    struct explore_report r = explored(2, private_points, NULL);
    CHECK_EQUAL(r.schedules, 2704156);  /* 24! / 12!^2 */
    CHECK_EQUAL(r.states, 13 * 13 + 2); /* and before the starts, and between them */
    CHECK_EQUAL(r.longest, 24);
    r = explored(3, private_points, NULL);
    CHECK_EQUAL(r.schedules, 3384731762521200); /* 36! / 12!^3 */
    CHECK_EQUAL(r.ends, 1);
    printf("# 3 threads of 12 points: %.2f us a step\n", r.seconds * 1e6 / (double)r.steps);
    points = 3;
    r = explored(4, private_points, NULL);
    CHECK_EQUAL(r.schedules, 369600); /* 12! / 3!^4 */
    points = 550;
    r = explored(2, private_points, NULL);
    CHECK(r.complete && r.schedules == EXPLORE_SCHEDULES_MAX); /* 1100! / 550!^2 is 3e329 */
}

TEST(without_merging_each_schedule_is_run)
{
    points = 4;
    struct explore_program program = program_of(2, private_points, NULL);
    struct explore_options options = {.max_preemptions = UINT32_MAX, .no_merging = true};
    struct explore_report r;
    explore_run(&program, &options, &r);
    CHECK_CLEAN(r);
    CHECK_EQUAL(r.schedules, 70);
    CHECK_EQUAL(r.ends, 1);
    CHECK(r.steps > 200);
}

TEST(limits_are_kept)
{
    points = 12;
    struct explore_program program = program_of(3, private_points, NULL);
    struct explore_options options = {.max_preemptions = UINT32_MAX, .max_states = 100};
    struct explore_report r;
    explore_run(&program, &options, &r);
    CHECK(!r.complete && r.states <= 101 && !r.violations);
    program = program_of(2, add_one_in_two_steps, expect_two);
    options = (struct explore_options){.max_preemptions = UINT32_MAX, .stop_after = 100};
    explore_run(&program, &options, &r);
    CHECK(r.complete && r.violations >= 1);
}

/* Two switches away from a thread that could go on are needed. */
static void needs_two_preemptions(void *context, unsigned number)
{
    (void)context;
    if (number) {
        atomic_add_acq_rel(&toy->word[0], 1);
        uint64_t other = atomic_read_relaxed(&toy->word[1]);
        toy->result[1] = other;
        atomic_add_acq_rel(&toy->word[0], 1);
    } else {
        uint64_t seen = atomic_read_relaxed(&toy->word[0]);
        atomic_set_relaxed(&toy->word[1], seen);
    }
}

static void expect_not_one(void *context)
{
    (void)context;
    if (toy->result[1] == 1) {
        explore_fail("it has come back");
    }
}

TEST(preemptions_are_bounded)
{
    struct explore_program lost = program_of(2, add_one_in_two_steps, expect_two);
    struct explore_program back = program_of(2, needs_two_preemptions, expect_not_one);
    struct explore_report r;
    for (unsigned bound = 0; bound < 3; bound++) {
        struct explore_options options = {.max_preemptions = bound};
        explore_run(&lost, &options, &r);
        CHECK_EQUAL(r.violations, bound >= 1);
        explore_run(&back, &options, &r);
        CHECK_EQUAL(r.violations, bound >= 1);
    }
    points = 3;
    struct explore_program private = program_of(2, private_points, NULL);
    struct explore_options options = {.max_preemptions = 0};
    explore_run(&private, &options, &r);
    CHECK_EQUAL(r.schedules, 2);
    options.max_preemptions = 1;
    explore_run(&private, &options, &r);
    CHECK_EQUAL(r.schedules, 6); /* either goes first, and is left after 1, 2 or 3 of its points */
}

static void look_and_forget(void *context, unsigned number)
{
    (void)context;
    if (number) {
        atomic_add_acq_rel(&toy->word[0], 1);
    } else {
        volatile uint64_t seen = atomic_read_relaxed(&toy->word[0]);
        (void)seen;
    }
}

static void mark_one_of_two_places(void *context, unsigned number)
{
    (void)context;
    (void)number;
    toy->apart[explore_choose(2, "place")].mark = 1;
}

TEST(states_are_what_they_hold_and_where)
{
    struct explore_report r = explored(2, look_and_forget, NULL);
    CHECK_EQUAL(r.ends, 1); /* what thread 0 saw is gone with its frame */
    r = explored(1, mark_one_of_two_places, NULL);
    CHECK_EQUAL(r.ends, 2);
}

/* ---- violations */

static void fail_late(void *context, unsigned number)
{
    (void)context;
    for (int i = 0; i < 5; i++) {
        atomic_add_acq_rel(&toy->word[number], 1);
    }
    if (!number && atomic_read_relaxed(&toy->word[1]) == 2) {
        explore_fail("it was seen at 2");
    }
}

TEST(the_schedule_reported_has_few_preemptions)
{
    struct explore_report r = explored(2, fail_late, NULL);
    CHECK(!strcmp(r.violation, "it was seen at 2"));
    CHECK(!strcmp(r.seed, "1x2.0x6"));
}

static void fail_in_set_up(void *context)
{
    (void)context;
    explore_fail("no");
}

TEST(set_up_may_fail)
{
    struct explore_program program = program_of(2, private_points, NULL);
    struct explore_report r;
    program.set_up = fail_in_set_up;
    explore_run(&program, NULL, &r);
    CHECK(r.violations == 1 && !r.complete && !strcmp(r.violation, "no") && !r.seed[0]);
}

static void touch_nothing(void *context, unsigned number)
{
    (void)context;
    uint64_t *nothing = (uint64_t *)(uintptr_t)(atomic_read_relaxed(&toy->word[number]) * 64);
    if (!number || nothing) {
        *(volatile uint64_t *)nothing = 1;
    }
}

static int deeper(const volatile char *above, int depth)
{
    volatile char frame[512];
    frame[0] = above[0];
    return depth ? deeper(frame, depth - 1) + frame[0] : 0;
}

static void recurse(void *context, unsigned number)
{
    (void)context;
    atomic_set_relaxed(&toy->word[0], number);
    if (atomic_read_relaxed(&toy->word[0]) != number) {
        toy->result[number] = (uint64_t)deeper("", 1000);
    }
}

static void run_on(void *context, unsigned number)
{
    (void)context;
    atomic_set_relaxed(&toy->word[0], number);
    while (atomic_read_relaxed(&toy->word[0]) != number) {
        for (volatile int i = 1; i; i = 1) {
        }
    }
}

static void touch_nothing_at_end(void *context)
{
    (void)context;
    *(volatile uint64_t *)(uintptr_t)toy->word[0] = 1;
}

TEST(a_crash_is_a_violation_and_the_explorer_goes_on)
{
    struct explore_report r = explored(2, touch_nothing, NULL);
    CHECK(begins(r.violation, "wild access to address"));
    CHECK(!strcmp(r.seed, "0x1"));
    r = explored(2, recurse, NULL);
    CHECK(begins(r.violation, "wild access to address"));
    r = explored(1, spin_for_ever, touch_nothing_at_end);
    CHECK(begins(r.violation, "wild access to address"));
    r = explored(2, run_on, NULL);
    CHECK(strstr(r.violation, "runs on without ever coming to a point"));
}

/* ---- replay */

static void set_up_with_names(void *context)
{
    set_up(context);
    explore_watch(&toy->word[0]);
    explore_name(&toy->word[0], "sum of %d", 2);
}

static void add_with_note(void *context, unsigned number)
{
    explore_note("add begins");
    add_one_in_two_steps(context, number);
}

static char *printed(const struct explore_program *program, const char *seed, int *result,
                     char violation[200])
{
    char *text = NULL;
    size_t bytes;
    FILE *to = open_memstream(&text, &bytes);
    *result = explore_replay(program, seed, to, violation);
    fclose(to);
    return text;
}

TEST(a_replay_shows_each_step_and_the_same_again)
{
    struct explore_program program = program_of(2, add_with_note, expect_two);
    program.set_up = set_up_with_names;
    struct explore_report r;
    explore_run(&program, NULL, &r);
    char violation[200];
    int result;
    char *once = printed(&program, r.seed, &result, violation);
    CHECK_EQUAL(result, 0);
    CHECK(!strcmp(violation, r.violation));
    char *twice = printed(&program, r.seed, &result, violation);
    CHECK(!strcmp(once, twice));
    CHECK(strstr(once, "      T0  add begins\n"));
    CHECK(strstr(once, "   1  T0  explore_fixture.h:"));
    CHECK(strstr(once, " add_one_in_two_steps  read [sum of 2]: 0x0\n"));
    CHECK(strstr(once, " add_one_in_two_steps  set [sum of 2]: 0x0 -> 0x1\n"));
    CHECK(strstr(once, "violation: the sum is 1\n"));
    free(once);
    free(twice);
}

TEST(a_seed_that_does_not_fit_is_refused)
{
    static const char *const damaged[] = {
        "x",          "0",       "0x",     "0x0",  "0x1.",  "0x5",     "2x1",           "9x1",
        "c0",         "0x1,1x1", "0x1.c0", " 0x1", "0x2.0", "0x2.1x3", "99999999999x1", "0x99999999999",
        "0x2.1x2.c0", "-1x1"};
    struct explore_program program = program_of(2, add_one_in_two_steps, expect_two);
    char violation[200];
    int result;
    for (size_t i = 0; i < sizeof damaged / sizeof damaged[0]; i++) {
        char *text = printed(&program, damaged[i], &result, violation);
        CHECK_EQUAL(result, -EINVAL);
        CHECK(!violation[0]);
        free(text);
    }
    program = program_of(2, fail_late, NULL);
    free(printed(&program, "1x2.0x6", &result, violation));
    CHECK_EQUAL(result, 0);
    free(printed(&program, "1x2.0x6.1x1", &result, violation)); /* goes on where it has failed */
    CHECK_EQUAL(result, -EINVAL);
    program = program_of(1, choose_twice, NULL);
    free(printed(&program, "c3", &result, violation));
    CHECK_EQUAL(result, -EINVAL);
    free(printed(&program, "c2.0x1.c1", &result, violation));
    CHECK_EQUAL(result, 0);
    free(printed(&program, "c2.0x1", &result, violation)); /* not to the end */
    CHECK_EQUAL(result, 0);
}

static unsigned changes_told;

static void on_change(void *context, const char *function, uint64_t before, uint64_t after)
{
    (void)context;
    changes_told |= after == before + 1 ? 1u << before : 1u << 31;
    if (strcmp(function, "private_points")) {
        explore_fail("by %s", function);
    }
}

TEST(changes_of_watched_words_are_told)
{
    points = 2;
    struct explore_program program = program_of(2, private_points, NULL);
    program.set_up = set_up_with_names;
    struct explore_options options = {.max_preemptions = UINT32_MAX, .on_change = on_change};
    struct explore_report r;
    changes_told = 0;
    explore_run(&program, &options, &r);
    CHECK_CLEAN(r);
    CHECK_EQUAL(changes_told, 3); /* thread 0's two; thread 1's are not watched */
    program = program_of(2, add_one_by_cas, NULL);
    program.set_up = set_up_with_names;
    explore_run(&program, &options, &r);
    CHECK(!strcmp(r.violation, "by add_one_by_cas"));
}

/* ---- memory */

#define LARGE ((size_t)300 << 10)

static void set_up_large(void *context)
{
    set_up(context);
    toy->large = explore_alloc(LARGE);
    memset(toy->large, 1, LARGE);
}

static void touch_large(void *context, unsigned number)
{
    private_points(context, number);
    toy->large[number * 100000] = 2;
    atomic_read_relaxed(&toy->word[number]);
    toy->large[number * 100000] = 3;
    atomic_read_relaxed(&toy->word[number]);
    toy->large[number * 100000] = 2;
}

static void touch_all(void *context, unsigned number)
{
    memset(toy->large + number * 100000, 2, 100000);
    touch_large(context, number);
}

static void check_large(void *context)
{
    (void)context;
    for (size_t i = 0; i < LARGE; i++) {
        if (toy->large[i] != (i % 100000 || i == 300000 ? 1 : 2)) {
            explore_fail("byte %d is %d", (int)i, toy->large[i]);
        }
    }
    memset(toy->large, 4, LARGE); /* all is restored */
}

static void check_word(void *context)
{
    (void)context;
    if (toy->word[0] != points) {
        explore_fail("not %u", points);
    }
    memset(toy->word, 4, sizeof toy->word);
}

TEST(large_memory_is_saved_and_restored_and_costs_little)
{
    points = 9;
    struct explore_program program = program_of(3, touch_large, check_large);
    struct explore_report r;
    program.set_up = set_up_large;
    explore_run(&program, NULL, &r);
    CHECK_CLEAN(r);
    CHECK_EQUAL(r.ends, 1);
    program.check_end = check_word;
    explore_run(&program, NULL, &r);
    CHECK_CLEAN(r);
    CHECK_EQUAL(r.states, 12 * 12 * 12 + 3);
    printf("# 300 KiB, 3 pages of it touched: %.2f us a step\n", r.seconds * 1e6 / (double)r.steps);
    program = program_of(3, touch_all, check_word);
    program.set_up = set_up_large;
    explore_run(&program, NULL, &r);
    CHECK_CLEAN(r);
    CHECK_EQUAL(r.states, 12 * 12 * 12 + 3);
    printf("# 300 KiB, all touched: %.2f us a step\n", r.seconds * 1e6 / (double)r.steps);
}

static unsigned outside;

static void count_outside(void *context, unsigned number)
{
    (void)context;
    atomic_set_relaxed(&toy->word[number], outside++);
}

static void expect_few_outside(void *context)
{
    (void)context;
    if (outside > 3) {
        explore_fail("%u", outside++);
    }
    outside++;
}

TEST(memory_outside_the_arena_is_noticed)
{
    struct explore_report r = explored(2, count_outside, NULL);
    CHECK(begins(r.violation, "not repeatable"));
    outside = 0;
    points = 2;
    r = explored(2, private_points, expect_few_outside);
    CHECK_CLEAN(r); /* one end */
    r = explored(2, choose_twice, expect_few_outside);
    CHECK(begins(r.violation, "not repeatable"));
}

TEST(a_run_is_the_same_again)
{
    struct explore_report once = explored(3, add_one_by_cas, NULL), twice = explored(3, add_one_by_cas, NULL);
    CHECK_EQUAL(once.states, twice.states);
    CHECK_EQUAL(once.steps, twice.steps);
    CHECK(once.schedules == twice.schedules);
}

int main(void)
{
    RUN_EXPLORING(schedules_are_counted_exactly);
    RUN_EXPLORING(without_merging_each_schedule_is_run);
    RUN_EXPLORING(limits_are_kept);
    RUN_EXPLORING(preemptions_are_bounded);
    RUN_EXPLORING(states_are_what_they_hold_and_where);
    RUN_EXPLORING(the_schedule_reported_has_few_preemptions);
    RUN_EXPLORING(set_up_may_fail);
    RUN_EXPLORING(a_crash_is_a_violation_and_the_explorer_goes_on);
    RUN_EXPLORING(a_replay_shows_each_step_and_the_same_again);
    RUN_EXPLORING(a_seed_that_does_not_fit_is_refused);
    RUN_EXPLORING(changes_of_watched_words_are_told);
    RUN_EXPLORING(large_memory_is_saved_and_restored_and_costs_little);
    RUN_EXPLORING(memory_outside_the_arena_is_noticed);
    RUN_EXPLORING(a_run_is_the_same_again);
    return harness_finish();
}
