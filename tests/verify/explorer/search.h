/* SPDX-License-Identifier: MIT */
/*
 * Depth-first search through all that the threads can do, from the state the arena is in (sealed), to which it returns.
 *
 * A step of a thread that is its own affair (a start, a choice) goes first, alone: it commutes with all that others can do.
 * The thread that ran last is tried first, so that the first schedules have few switches.
 *
 * Schedules are counted as the search leaves a state: the sum over its steps of the schedules of where they lead. A step back
 * to a state that the search still stands on closes a cycle, and counts for none.
 */
#ifndef UZSWAP_TESTS_VERIFY_SEARCH_H
#define UZSWAP_TESTS_VERIFY_SEARCH_H

#include "tests/verify/explore.h"

struct search_limits {
    unsigned max_preemptions;
    uint64_t max_states; /* 0 = no limit */
    bool merging;
    unsigned stop_after; /* violations */
};

/* Fills *report but for `seconds`, and *preemptions of the violation reported. */
void search(const struct search_limits *limits, struct explore_report *report, unsigned *preemptions);

#endif
