/* SPDX-License-Identifier: MIT */
/* For tests: this process as a member of a table that its children share, and its threads as the member's. */
#ifndef UZSWAP_TESTS_SUPPORT_MEMBERS_H
#define UZSWAP_TESTS_SUPPORT_MEMBERS_H

#include "base/member.h"
#include "base/thread.h"
#include "tests/support/shared.h"

static struct membership members_self;
static uint32_t members_taken; /* numbers of threads, a bit each; atomic */

static inline void members_bury_nothing(void *context, uint32_t index)
{
    (void)context;
    (void)index;
}

/* The calling thread is thread 0 of a new member, of `table`, or if that is NULL of a new one. Also in a forked child. */
static inline void members_join(struct member_table *table)
{
    table = table ? table : shared_memory(sizeof *table);
    members_taken = 1;
    REQUIRE(member_claim(&members_self, table, (uint32_t)getpid(), members_bury_nothing, NULL) >= 0);
}

/* The calling thread is a further one. Its number, for members_leave. */
static inline unsigned members_enter(void)
{
    unsigned number = 1;
    while (atomic_fetch_or_acq_rel(&members_taken, 1u << number) >> number & 1) {
        number = number % (MEMBER_THREADS - 1) + 1;
    }
    REQUIRE(member_thread_enter(&members_self, number) == 0);
    return number;
}

static inline void members_leave(unsigned number)
{
    member_thread_leave();
    atomic_fetch_and_acq_rel(&members_taken, ~(1u << number));
}

struct members_start {
    void (*run)(void *);
    void *argument;
};

static inline void members_run(void *argument)
{
    struct members_start start = *(struct members_start *)argument;
    free(argument);
    unsigned number = members_enter();
    start.run(start.argument);
    members_leave(number);
}

static inline int members_start_thread(struct thread *t, void (*run)(void *), void *argument,
                                       const char *name)
{
    struct members_start *start = malloc(sizeof *start);
    *start = (struct members_start){.run = run, .argument = argument};
    return thread_ops_pthread.start(t, members_run, start, name);
}

static inline void members_join_thread(struct thread *t)
{
    thread_ops_pthread.join(t);
}

static const struct thread_ops thread_ops_members
    __attribute__((unused)) = {.start = members_start_thread, .join = members_join_thread};

#endif
