/* SPDX-License-Identifier: MIT */
/*
 * A scenario: how the entries are at first, what may fail, and one or a few verbs a thread. As text (for --scenario):
 *
 *     pool: store load | writeback          one thread stores, then loads; the other writes back
 *     hang: pool: invalidate | writeback    the device never answers
 *     faults: device: load | exclusive | area
 *     two keys: pool: store writeback | store.1 area
 *     alike: first: store.1 | move
 *
 * A verb with ".1" is one of entry 1. "alike": two entries that deduplicate; they begin with equal pages, and a store is of a page
 * like those, or of one like all other stores of the second kind.
 */
#ifndef UZSWAP_TESTS_VERIFY_SCENARIO_H
#define UZSWAP_TESTS_VERIFY_SCENARIO_H

#include "tests/lifecycles/lifecycles.h"
#include "tests/verify/explore.h"
#include "tests/verify/world.h"

#define SCENARIO_VERBS_MAX 4 /* a thread */

enum scenario_verb {
    VERB_STORE,
    VERB_LOAD,
    VERB_EXCLUSIVE,
    VERB_INVALIDATE,
    VERB_AREA,
    VERB_WRITEBACK,
    VERB_MOVE,
    VERB_TRIM,
    VERBS,
};

enum scenario_start {
    START_EMPTY,
    START_POOL,   /* stored */
    START_LOADED, /* stored and loaded since: it has a second chance */
    START_DEVICE, /* stored and written back */
    START_FILLED, /* stored, same-filled; for a lifecycle that knows such */
    STARTS,
    START_FIRST = STARTS, /* entry 0 stored, 1 not; in no set but "alike" */
    STARTS_ALL,
};

struct scenario {
    const struct lifecycle_ops *lifecycle;
    enum scenario_start start;
    unsigned keys, faults;
    bool alike;
    unsigned threads;
    struct scenario_step {
        uint8_t verb, key;
    } steps[EXPLORE_THREADS_MAX][SCENARIO_VERBS_MAX];
    uint8_t used[EXPLORE_THREADS_MAX]; /* steps of each thread */

    /* of the run */
    struct cache *cache;
    struct world *world;
};

const char *scenario_verb_name(enum scenario_verb verb);

/* Writes the scenario as text. Returns `text`. */
char *scenario_format(const struct scenario *s, char text[200]);

/* Reads a scenario's text. False if it is none. The lifecycle is the caller's to set. */
bool scenario_parse(const char *text, struct scenario *s);

/* False if the lifecycle has no such verb. */
bool scenario_is_possible(const struct scenario *s);

/* The program to explore. `s` stays in use as long as it. */
struct explore_program scenario_program(struct scenario *s);

#endif
