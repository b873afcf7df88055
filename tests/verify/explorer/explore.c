/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/verify/explorer/arena.h"
#include "tests/verify/explorer/replay.h"
#include "tests/verify/explorer/search.h"
#include "tests/verify/explorer/signals.h"
#include "tests/verify/explorer/steps.h"
#include "tests/verify/explorer/threads.h"

/* A violation is looked for again with up to so many preemptions less one. Few need more than two (Musuvathi and
 * Qadeer, "Iterative context bounding for systematic testing of multithreaded programs", 2007). */
#define SIMPLIFY_MAX 4

#define STRAIGHT_STEPS_MAX 10000

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define SANITIZED
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define SANITIZED
#endif
#endif

const char *explore_unavailable(void)
{
#ifdef SANITIZED
    return "a sanitizer cannot follow stacks that are saved and restored";
#else
    return NULL;
#endif
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* The first state of `program`. False: set_up failed. */
static bool begin(const struct explore_program *program, const struct explore_options *options)
{
    if (program->threads > EXPLORE_THREADS_MAX || explore_unavailable()) {
        fprintf(stderr, "explorer: %s\n",
                explore_unavailable() ? explore_unavailable() : "more threads than EXPLORE_THREADS_MAX");
        abort();
    }
    arena_begin();
    signals_begin();
    if (!threads_begin(program, options)) {
        return false;
    }
    arena_seal();
    return true;
}

static void end(void)
{
    threads_end();
    signals_end();
    arena_end();
}

/* Puts a schedule with fewer preemptions that leads to a violation, if there is one, in the place of the one reported. */
static void simplify(struct search_limits limits, struct explore_report *report, unsigned preemptions)
{
    limits.stop_after = 1;
    for (unsigned bound = 0; bound < preemptions && bound < SIMPLIFY_MAX; bound++) {
        struct explore_report simpler = {0};
        unsigned used;
        limits.max_preemptions = bound;
        search(&limits, &simpler, &used);
        report->steps += simpler.steps;
        if (simpler.violations && simpler.seed[0]) {
            memcpy(report->violation, simpler.violation, sizeof report->violation);
            memcpy(report->seed, simpler.seed, sizeof report->seed);
            return;
        }
    }
}

/*
 * The state to which the lowest thread that can go on leads, again and again. It is the same each time, unless the program
 * keeps something outside the arena.
 */
static struct hash straight_run(void)
{
    for (unsigned step = 0; step < STRAIGHT_STEPS_MAX; step++) {
        int forced = threads_forced();
        unsigned t = forced >= 0 ? (unsigned)forced : 0;
        while (t < EXPLORE_THREADS_MAX && !thread_can_go_on(t)) {
            t++;
        }
        if (t == EXPLORE_THREADS_MAX) {
            break;
        }
        if (!threads_step(t, 0)) {
            arena_rewind(false);
            return (struct hash){.low = ~0ull}; /* the search will tell */
        }
    }
    struct hash hash = arena_look();
    arena_rewind(true);
    return hash;
}

/* Does the seed lead to the violation again? The arena is left as it comes. */
static bool is_repeatable(const struct explore_report *report)
{
    char found[sizeof report->violation] = "";
    int result = replay_follow(report->seed);
    if (result == 1) {
        snprintf(found, sizeof found, "%s", threads_failure());
    } else if (!result) {
        replay_judge(found);
    }
    return !strncmp(report->violation, "livelock", strlen("livelock")) || !strcmp(found, report->violation);
}

static void check_repeatable(bool is_straight, struct explore_report *report)
{
    if (is_straight && (!report->violations || !report->seed[0] || is_repeatable(report))) {
        return;
    }
    char found[sizeof report->violation];
    memcpy(found, report->violation, sizeof found);
    snprintf(report->violation, sizeof report->violation,
             "not repeatable: is there memory outside the arena? %.140s", found);
    report->violations += !report->violations;
}

void explore_run(const struct explore_program *program, const struct explore_options *options,
                 struct explore_report *report)
{
    static const struct explore_options defaults = {.max_preemptions = UINT32_MAX};
    options = options ? options : &defaults;
    double start = now();
    memset(report, 0, sizeof *report);
    if (!begin(program, options)) {
        report->violations = 1;
        snprintf(report->violation, sizeof report->violation, "%s", threads_failure());
    } else {
        const struct search_limits limits = {.max_preemptions = options->max_preemptions,
                                             .max_states = options->max_states,
                                             .merging = !options->no_merging,
                                             .stop_after = options->stop_after ? options->stop_after : 1};
        unsigned preemptions;
        struct hash straight = straight_run();
        search(&limits, report, &preemptions);
        if (report->violations && !options->no_simplify) {
            simplify(limits, report, preemptions);
        }
        struct hash again = straight_run();
        check_repeatable(straight.low == again.low && straight.high == again.high, report);
    }
    end();
    report->seconds = now() - start;
}

int explore_replay(const struct explore_program *program, const char *seed, FILE *to, char violation[200])
{
    char found[200] = "";
    int result = 0;
    if (!begin(program, NULL)) {
        snprintf(found, sizeof found, "%s", threads_failure());
    } else {
        steps_print_to(to);
        result = replay_follow(seed);
        if (result == 1) {
            snprintf(found, sizeof found, "%s", threads_failure());
        } else if (!result) {
            replay_judge(found);
        }
        steps_print_to(NULL);
    }
    end();
    if (result != -EINVAL) {
        fprintf(to, "%s%s\n", found[0] ? "violation: " : "no violation", found);
        result = 0;
    }
    if (violation) {
        memcpy(violation, found, sizeof found);
    }
    return result;
}
