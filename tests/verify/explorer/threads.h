/* SPDX-License-Identifier: MIT */
/*
 * The explored threads: each a stack in the arena and a control block that says what it is about to do. One step takes a
 * thread from one point to its next. The control block holds nothing but what decides how the program can go on: two
 * schedules that lead to the same state must leave the same bytes.
 */
#ifndef UZSWAP_TESTS_VERIFY_THREADS_H
#define UZSWAP_TESTS_VERIFY_THREADS_H

#include "tests/verify/explore.h"

enum thread_status {
    THREAD_START,
    THREAD_POINT,
    THREAD_LOCK,
    THREAD_YIELD,
    THREAD_CHOOSE,
    THREAD_HANGS,
    THREAD_ENDED
};

struct thread {
    uint8_t status;       /* thread_status */
    uint8_t alternatives; /* of THREAD_CHOOSE */

    /* The word it has read since it last yielded, if that is all it did; else NULL. */
    uint8_t seen_size; /* 0: nothing done yet */
    uint64_t seen_value;
    const volatile void *seen;

    const volatile uint32_t *lock;     /* THREAD_LOCK: waited for */
    const struct explore_place *place; /* where it stopped; NULL at a choice and before the start */
    const char *what;                  /* of a choice, or where it hangs */
};

/* Calls set_up and puts every thread before its start, in an arena just begun. False: explore_fail, see threads_failure. */
bool threads_begin(const struct explore_program *program, const struct explore_options *options);
void threads_end(void);

/* Runs one thread, which can go on, to its next stop. `answer`: if it stands at a choice. False: explore_fail. */
bool threads_step(unsigned number, unsigned answer);

/* Calls check_end. False: explore_fail. */
bool threads_check_end(void);

const struct thread *thread_at(unsigned number);

/* Is it not at a wait that is not over, nor at an end? */
bool thread_can_go_on(unsigned number);

/* A thread whose next step is its own affair, a start or a choice: nothing is lost if it goes first. -1 if there is none. */
int threads_forced(void);

/* Has every thread ended, or does it hang? */
bool threads_are_done(void);

/* The message of the explore_fail that ended a step, set_up or check_end. */
const char *threads_failure(void);

/* What every thread that is not at its end waits for, appended to `text`. */
void threads_describe(char *text, size_t bytes);

/* How many steps were taken in all; for the watch on a thread that never stops. */
uint64_t threads_steps(void);

/* Is explored code running, set_up and check_end included? */
bool threads_may_fail(void);

/* The explored code went wrong, and cannot be resumed where it is. */
_Noreturn void threads_crash(void);
void threads_set_crash(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
