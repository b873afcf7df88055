/* SPDX-License-Identifier: MIT */
/*
 * Sets of scenarios, by name:
 *
 *   races     the two of 2013
 *   pairs     two threads, a verb each, from every start, with everything that may fail failing
 *   hang      a writeback that the device never answers, and two verbs after one another
 *   keys      two entries, areas
 *   double    two threads, two verbs each
 *   triples   three threads, a verb each, with failures
 *   trios     the same, and nothing fails
 *   sixfold   three threads, two verbs each
 *   fours     four threads, a verb each
 *   alike     two entries with equal pages, that deduplicate: two threads, a verb each, with failures; a few with more
 *   alike-many   the same, three threads, and nothing fails
 *   overflow  more loads than the word counts, and several orphans in a chain: for the program whose word counts one load and
 *             which has one chain
 */
#ifndef UZSWAP_TESTS_VERIFY_SETS_H
#define UZSWAP_TESTS_VERIFY_SETS_H

#include "tests/verify/scenario.h"

/* Calls `explore` for each scenario of the set. False if there is no such set. */
bool sets_run(const char *name, void (*explore)(void *context, struct scenario *s), void *context);

#endif
