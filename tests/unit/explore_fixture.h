/* SPDX-License-Identifier: MIT */
/* The toys that the tests of the interleaving explorer share. */
#ifndef UZSWAP_TESTS_EXPLORE_FIXTURE_H
#define UZSWAP_TESTS_EXPLORE_FIXTURE_H

#include "base/lock.h"
#include "base/sys.h"
#include "tests/harness.h"
#include "tests/verify/explore.h"

/* What the toys share, in the arena. */
struct toy {
    uint64_t word[4];
    uint32_t flag;
    struct mutex lock[2];
    struct rwlock rw;
    uint32_t inside;
    uint64_t result[EXPLORE_THREADS_MAX];
    char *large;
    struct {
        uint64_t mark;
    } __attribute__((aligned(512))) apart[2];
};

__attribute__((unused)) static struct toy *toy;
/* A thread of private_points has so many. */
__attribute__((unused)) static unsigned points;

__attribute__((unused)) static void set_up(void *context)
{
    (void)context;
    /* Aligned, so that both of `apart` look the same in their blocks. */
    toy = (struct toy *)(((uintptr_t)explore_alloc(sizeof *toy + 512) + 511) & ~(uintptr_t)511);
    mutex_init(&toy->lock[0], LOCK_RANK_LEAF);
    mutex_init(&toy->lock[1], LOCK_RANK_WRITEBACK);
    rwlock_init(&toy->rw, LOCK_RANK_LAYOUT);
}

__attribute__((unused)) static struct explore_program
program_of(unsigned threads, void (*thread)(void *, unsigned), void (*check_end)(void *))
{
    return (struct explore_program){
        .name = "toy", .threads = threads, .set_up = set_up, .thread = thread, .check_end = check_end};
}

__attribute__((unused)) static struct explore_report
explored(unsigned threads, void (*thread)(void *, unsigned), void (*check_end)(void *))
{
    struct explore_program program = program_of(threads, thread, check_end);
    struct explore_report report;
    explore_run(&program, NULL, &report);
    return report;
}

__attribute__((unused)) static bool begins(const char *text, const char *with)
{
    return !strncmp(text, with, strlen(with));
}

#define CHECK_CLEAN(report)                                                                                  \
    do {                                                                                                     \
        CHECK(!(report).violations && !(report).violation[0] && (report).complete);                          \
    } while (0)

/* ---- threads that several tests run */

__attribute__((unused)) static void add_one_in_two_steps(void *context, unsigned number)
{
    (void)context;
    (void)number;
    uint64_t seen = atomic_read_relaxed(&toy->word[0]);
    atomic_set_relaxed(&toy->word[0], seen + 1);
}

__attribute__((unused)) static void add_one_by_cas(void *context, unsigned number)
{
    (void)context;
    (void)number;
    uint64_t seen = atomic_read_relaxed(&toy->word[0]);
    while (!atomic_cas_acq_rel(&toy->word[0], &seen, seen + 1)) {
    }
}

__attribute__((unused)) static void private_points(void *context, unsigned number)
{
    (void)context;
    for (unsigned i = 0; i < points; i++) {
        atomic_add_acq_rel(&toy->word[number], 1);
    }
}

__attribute__((unused)) static void choose_twice(void *context, unsigned number)
{
    (void)context;
    unsigned first = explore_choose(3, "first");
    atomic_set_relaxed(&toy->word[2], number);
    toy->result[number] = first * 2 + explore_choose(2, "second");
}

__attribute__((unused)) static void spin_for_ever(void *context, unsigned number)
{
    (void)context;
    while (number && !atomic_read_acquire(&toy->flag)) {
        cpu_relax();
    }
}

__attribute__((unused)) static void expect_two(void *context)
{
    (void)context;
    if (toy->word[0] != 2) {
        explore_fail("the sum is %d", (int)toy->word[0]);
    }
}

#define RUN_EXPLORING(test) harness_run(#test, explore_unavailable() ? skip : test)

__attribute__((unused)) static void skip(void)
{
    SKIP(explore_unavailable());
}

#endif
