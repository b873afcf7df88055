/* SPDX-License-Identifier: MIT */
#include "preload/private_stack.h"

#include "tests/harness.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

struct visit {
    uintptr_t caller_stack;
    uint64_t words[8];
};

/* Is `a` far from `b`? Then they are not on one stack frame chain of this small test. */
static bool is_elsewhere(uintptr_t a, uintptr_t b)
{
    return (a > b ? a - b : b - a) > (1u << 20);
}

static long look_around(void *argument)
{
    const struct visit *v = argument;
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    uint64_t sum = 0;
    for (int i = 0; i < 8; i++) {
        sum += v->words[i];
    }
    CHECK(is_elsewhere(here, v->caller_stack));
    CHECK(is_elsewhere((uintptr_t)v, v->caller_stack)); /* the argument was copied */
    CHECK_EQUAL(here % 16, 0);
    return (long)sum;
}

TEST(the_function_runs_elsewhere_with_a_copy_of_its_argument)
{
    struct visit v = {.caller_stack = (uintptr_t)__builtin_frame_address(0),
                      .words = {1, 2, 3, 4, 5, 6, 7, 8}};
    CHECK_EQUAL(private_stack_call(look_around, &v, sizeof v), 36);
    CHECK_EQUAL(private_stack_call(look_around, &v, sizeof v), 36);
}

TEST(an_argument_that_is_too_long_is_refused)
{
    char much[PRIVATE_STACK_ARGUMENT_MAX + 1] = "";
    CHECK_EQUAL(private_stack_call(look_around, much, sizeof much), -EINVAL);
}

static long use_much_stack(void *argument)
{
    volatile char room[48 << 10];
    for (size_t i = 0; i < sizeof room; i += 512) {
        room[i] = *(char *)argument;
    }
    return room[0] + room[sizeof room - 512];
}

TEST(there_is_room_on_it)
{
    char one = 1;
    CHECK_EQUAL(private_stack_call(use_much_stack, &one, 1), 2);
}

static int inside; /* guard: the private stack's own lock, which is what is tested */

static long count_visitors(void *argument)
{
    CHECK_EQUAL(++inside, 1);
    sched_yield();
    CHECK_EQUAL(--inside, 0);
    return *(long *)argument;
}

static void *visit_often(void *number)
{
    long id = (long)number;
    for (int i = 0; i < 500; i++) {
        CHECK_EQUAL(private_stack_call(count_visitors, &id, sizeof id), id);
    }
    return NULL;
}

TEST(threads_come_one_after_the_other)
{
    pthread_t threads[8];
    for (long i = 0; i < 8; i++) {
        REQUIRE(pthread_create(&threads[i], NULL, visit_often, (void *)i) == 0);
    }
    for (int i = 0; i < 8; i++) {
        pthread_join(threads[i], NULL);
    }
}

static long fork_here(void *argument)
{
    (void)argument;
    return fork();
}

TEST(a_child_forked_on_it_comes_back_too)
{
    char nothing = 0;
    pid_t child = (pid_t)private_stack_call(fork_here, &nothing, 1);
    REQUIRE(child >= 0);
    if (!child) {
        long id = 7;
        _exit(private_stack_call(count_visitors, &id, sizeof id) == 7 ? 0 : 1);
    }
    int status = -1;
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK_EQUAL(status, 0);
}

int main(void)
{
    RUN(the_function_runs_elsewhere_with_a_copy_of_its_argument);
    RUN(an_argument_that_is_too_long_is_refused);
    RUN(there_is_room_on_it);
    RUN(threads_come_one_after_the_other);
    RUN(a_child_forked_on_it_comes_back_too);
    return harness_finish();
}
