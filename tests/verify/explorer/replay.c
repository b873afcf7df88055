/* SPDX-License-Identifier: MIT */
#include "tests/verify/explorer/replay.h"

#include <errno.h>
#include <string.h>

#include "tests/verify/explorer/arena.h"
#include "tests/verify/explorer/search.h"
#include "tests/verify/explorer/seed.h"
#include "tests/verify/explorer/steps.h"
#include "tests/verify/explorer/threads.h"

/* How many states a replay looks at to tell whether an end can be reached from where its seed ends. */
#define LIVELOCK_STATES_MAX 1000000

int replay_follow(const char *seed)
{
    struct seed_reader reader = {.at = seed};
    for (;;) {
        int forced = threads_forced();
        const struct thread *t = forced >= 0 ? thread_at((unsigned)forced) : NULL;
        unsigned value = 0, thread = (unsigned)forced;
        if (!t || t->status == THREAD_CHOOSE) {
            enum seed_item item = seed_next(&reader, &value);
            if (item == SEED_END) {
                return 0;
            }
            if (item != (t ? SEED_CHOICE : SEED_STEP)) {
                return -EINVAL;
            }
            if (!t) {
                thread = value;
            }
            if (t ? value >= t->alternatives : value >= EXPLORE_THREADS_MAX || !thread_can_go_on(value)) {
                return -EINVAL;
            }
        }
        if (!threads_step(thread, value)) {
            return seed_next(&reader, &value) == SEED_END ? 1 : -EINVAL;
        }
    }
}

static bool is_deadlock(void)
{
    for (unsigned i = 0; i < EXPLORE_THREADS_MAX; i++) {
        if (thread_can_go_on(i)) {
            return false;
        }
    }
    return !threads_are_done();
}

/* Is no end to be reached from the state at hand? */
static bool is_livelock(void)
{
    const struct search_limits limits = {
        .max_preemptions = UINT32_MAX, .max_states = LIVELOCK_STATES_MAX, .merging = true, .stop_after = 1};
    struct explore_report report = {0};
    unsigned preemptions;
    arena_look();
    arena_keep();
    steps_print_to(NULL);
    search(&limits, &report, &preemptions);
    return report.complete && !report.ends && report.violations == 1 &&
           !strncmp(report.violation, "livelock", strlen("livelock")) && !report.seed[0];
}

void replay_judge(char violation[200])
{
    violation[0] = 0;
    if (threads_are_done()) {
        if (!threads_check_end()) {
            snprintf(violation, 200, "%s", threads_failure());
        }
    } else if (is_deadlock()) {
        snprintf(violation, 200, "deadlock: ");
        threads_describe(violation, 200);
    } else {
        char waits[200] = "";
        threads_describe(waits, sizeof waits);
        if (is_livelock()) {
            snprintf(violation, 200, "livelock: from here on no end can be reached: %.150s", waits);
        }
    }
}
